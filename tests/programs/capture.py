# SPDX-License-Identifier: BSD-2-Clause
"""Packets, and files of them as libpcap writes them."""

import random
import struct
from dataclasses import dataclass

MAC_A, MAC_B = bytes.fromhex("02aabbcc0001"), bytes.fromhex("02aabbcc0002")
EXPERIMENTAL = 0x88B5       # an Ethernet type that no stack answers
_FILE = struct.Struct("<IHHIIII")
_RECORD = struct.Struct("<IIII")
_MICROSECONDS, _NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D


@dataclass(frozen=True)
class Captured:
    time: float     # seconds since 1970
    length: int     # of the packet, as it was on the wire
    data: bytes     # what is there of it


def write(packets, link=1):
    """A capture file, as bytes; the times in it are of no use."""
    records = (_RECORD.pack(n // 1000, n % 1000, len(p), len(p)) + p for n, p in enumerate(packets))
    return _FILE.pack(_MICROSECONDS, 2, 4, 0, 0, 1 << 18, link) + b"".join(records)


def read(data):
    """The packets of a capture file, given as bytes; refuses one that is cut off."""
    magic, *_, link = _FILE.unpack_from(data)
    assert magic in (_MICROSECONDS, _NANOSECONDS) and link == 1, (hex(magic), link)
    unit = 1e-6 if magic == _MICROSECONDS else 1e-9
    at, packets = _FILE.size, []
    while at < len(data):
        seconds, fraction, there, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        assert at + there <= len(data), "the file is cut off"
        packets.append(Captured(seconds + fraction * unit, length, data[at : at + there]))
        at += there
    return packets


def frames(count, seed, sizes=(60, 1514)):
    """Frames of random lengths and content, each different."""
    rng = random.Random(seed)
    return [MAC_B + MAC_A + struct.pack(">HI", EXPERIMENTAL, n) + rng.randbytes(rng.randint(*sizes) - 18) for n in range(count)]


def _sum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(payload, sport=1000, dport=2000, src="10.9.0.1", dst="10.9.0.2"):
    """A frame with a UDP datagram, checksums and all."""
    src, dst = (bytes(map(int, a.split("."))) for a in (src, dst))
    head = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0)
    check = _sum(src + dst + struct.pack(">HH", 17, 8 + len(payload)) + head + payload) or 0xFFFF
    head = head[:6] + struct.pack(">H", check)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), 1, 0, 64, 17, 0) + src + dst
    ip = ip[:10] + struct.pack(">H", _sum(ip)) + ip[12:]
    return (MAC_B + MAC_A + b"\x08\x00" + ip + head + payload).ljust(60, b"\0")


def expect(captured, sent, begin, end):
    """Exactly these packets, in this order, byte by byte; the times are of that span, and never go back.

    Times are given out per sync, in the clock's microseconds: begin and end are rounded outwards by the caller.
    """
    assert len(captured) == len(sent), f"{len(captured)} of {len(sent)} packets"
    for n, (got, want) in enumerate(zip(captured, sent)):
        assert got.data == want and got.length == len(want), f"packet {n}: {got.data.hex()} ({got.length}), not {want.hex()}"
    times = [c.time for c in captured]
    assert times == sorted(times), "times go back"
    assert begin <= times[0] and times[-1] <= end, f"times from {times[0]} to {times[-1]}, while it was {begin} to {end}"
