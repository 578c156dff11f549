# SPDX-License-Identifier: BSD-2-Clause
"""Network interfaces as ports, through AF_XDP: veth, in a network namespace of each test's own. v0 is the port, w0 its other end.

Under traffic, in many rounds, and to the last byte: test_nic_long.py.
"""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from ptnet_real import (
    ALL_NIC, BROADCAST, BUILD, EXCLUSIVE, MONITOR_RX, NIC_SW, NMREQ, ONE_NIC, PKT_GEN, PORT_HDR_SET,
    PORT_INFO_GET, RX_ONLY, SW, TX_ONLY, ZCOPY_MON,
    Connection, NETMAPD, Port, Refused, environment,
    extmem_option, frame, mac, message, offsets_option, register, user, wait_until,
)
from nic_lab import Lab
from test_tap import attach, control, detach, device, inside, new_namespace, newif, socket_inside

NOBODY = 65534
HELPER = BUILD / "nic/netmapd-nic"
V, W, V2, W2 = "v0", "w0", "v1", "w1"


def why_no_veth():
    if not HELPER.exists():
        return "no netmapd-nic was built"
    script = f"ip link add {V} type veth peer name {W}"
    child = subprocess.run(["sh", "-c", script], preexec_fn=new_namespace, capture_output=True, text=True)
    return child.stderr.strip() or "no network namespace can be made" if child.returncode else None


REASON = why_no_veth()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"needs root and veth: {REASON}")


def add_pair(daemon, v=V, w=W, mtu=1500, queues=1):
    inside(daemon, "ip", "link", "add", v, "numrxqueues", str(queues), "numtxqueues", str(queues), "type", "veth",
           "peer", "name", w, "numrxqueues", str(queues), "numtxqueues", str(queues))
    for name in v, w:
        inside(daemon, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1", check=False)
        inside(daemon, "ip", "link", "set", name, "mtu", str(mtu), "up")
    wait_until(lambda: all(device(daemon, name)["operstate"] == "UP" for name in (v, w)), "the kernel knows that they are up")


@pytest.fixture
def start(start_netmapd):
    """start(option…, mtu=…, queues=…): a netmapd in a namespace of its own, with a pair of interfaces."""

    def start_(*options, **pair):
        daemon = start_netmapd("--workers", "2", *options, nics=True, preexec_fn=new_namespace)
        add_pair(daemon, **pair)
        start_.daemon = daemon
        return daemon

    return start_


@pytest.fixture
def daemon(start):
    return start()


@pytest.fixture
def stack(start):
    """stack(name) is an AF_PACKET socket on a device of the netmapd that was started."""
    sockets = []

    def open_(name=W):
        daemon = start.daemon
        sockets.append(socket_inside(daemon, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5), name))
        return sockets[-1]

    yield open_
    for s in sockets:
        s.close()


def nic(daemon, name=V):
    return next((p for p in daemon.status()["ports"] if p["name"] == name), None)


def rest(daemon, name=V):
    """Nobody has the interface any more, and the kernel has let go."""
    wait_until(lambda: nic(daemon, name) is None and daemon.status()["regions"] == [], "the interface is free")


def packet(n, length):
    """Every byte follows from n and its place."""
    head = frame(BROADCAST, 1, struct.pack("=I", n), 60)[:18]
    return head + bytes((n * 7 + i * 31 + (i >> 8)) & 0xFF for i in range(18, length))


SIZES = [60, 61, 64, 127, 128, 500, 1000, 1022, 1023, 1024, 1025, 1026, 1500, 1513, 1514]


# ------------------------------------------------------------ packets


def exchange(p, s, sizes, rounds=1, window=32):
    """Numbered packets of these sizes both ways, no more of them on the way than are read."""
    n = 0
    for _ in range(rounds):
        for length in sizes:
            burst = [packet(n + i, length) for i in range(window)]
            n += window
            for one in burst:
                p.send(one)
                s.send(one)
            assert [s.recv(65536) for _ in burst] == burst
            assert p.receive(window) == burst
    return n


def test_packets_both_ways(daemon, stack):
    s = stack()
    with Port(daemon.path, V) as p:
        assert [len(p.tx), len(p.rx)] == [1, 1] and p.rx[0].buf_size == 4096 and p.reg["mem_id"] > 1
        state = nic(daemon)["nic"]
        assert (state["state"], state["driver"], state["mode"], state["link"]) == ("running", "veth", "native", True)
        n = exchange(p, s, SIZES, rounds=8)
        tx, rx = daemon.ring(V, "tx"), daemon.ring(V, "rx")
        assert (tx["packets"], tx["errors"], rx["packets"], rx["errors"]) == (n, {}, n, {})
        assert rx["bytes"] == tx["bytes"] == 8 * 32 * sum(SIZES)
    rest(daemon)


@pytest.mark.parametrize("mtu, mode", [(3400, "native"), (3822, "generic")])
def test_large_packets(start, stack, mtu, mode):
    """What fits a buffer comes through, in whichever mode takes the MTU."""
    daemon = start(mtu=mtu)
    s = stack()
    with Port(daemon.path, V) as p:
        assert nic(daemon)["nic"]["mode"] == mode
        exchange(p, s, [n for n in (1791, 1792, 1793, 2047, 2048, 2049, 3000, mtu + 13, mtu + 14) if n <= mtu + 14], window=8)


@pytest.mark.parametrize("mtu", [3823, 9000, 65262])
def test_packets_of_several_slots(start, stack, mtu):
    """Longer than a buffer: each way a chain of slots, however it was divided."""
    daemon = start(mtu=mtu)
    s = stack()
    with Port(daemon.path, V) as p:
        assert nic(daemon)["nic"]["mode"] in ("native", "generic")
        sizes = sorted({n for n in (60, 3839, 3840, 3841, 7680, 7681, 9014, 30000, mtu + 13, mtu + 14) if n <= mtu + 14})
        for n, length in enumerate(sizes):
            one = packet(n, length)
            for each in (3840, 1500, 4000 - n):
                lengths = [min(each, 3840, length - at) for at in range(0, length, min(each, 3840))]
                if len(lengths) > 64:
                    continue
                p.send(one, fragments=lengths)
                assert s.recv(1 << 17) == one
            s.send(one)
            assert p.receive(1) == [one]
        tx, rx = daemon.ring(V, "tx"), daemon.ring(V, "rx")
        assert (tx["errors"], rx["errors"]) == ({}, {})


def test_packets_of_too_many_slots(start, stack):
    """Drivers that want all of a packet in fragments take 17, and 18 stop their queue: they are dropped, and the next one goes out."""
    daemon = start(mtu=65500)
    s = stack()
    with Port(daemon.path, V) as p:
        wait_until(lambda: re.search(r"MTU of 65500.*more than 65280 bytes.*MTU would be 65262", daemon.log()), "the limit is told")
        for length, sent in (65280, True), (65281, False), (65514, False), (60, True):
            one = packet(1, length)
            p.send(one, fragments=[min(3840, length - at) for at in range(0, length, 3840)])
            assert not sent or s.recv(1 << 17) == one
        assert daemon.ring(V, "tx")["errors"] == {"too_long": 2}
        s.send(packet(2, 65514))
        assert p.receive(1) == [packet(2, 65514)]


def test_unfinished_checksums_of_long_packets(start):
    """TCP of the host at the other end of the veth: what the port gets has whole checksums, in whatever number of slots."""
    daemon = start(mtu=9000)
    inside(daemon, "ip", "addr", "add", "192.0.2.9/24", "dev", W)
    inside(daemon, "ip", "neigh", "add", "192.0.2.7", "lladdr", device(daemon, V)["address"], "dev", W)
    udp = socket_inside(daemon, socket.AF_INET, socket.SOCK_DGRAM, 0, "192.0.2.9", 7777)
    with Port(daemon.path, V) as p:
        for length in (100, 4000, 8000):
            udp.sendto(bytes(n * 7 & 0xFF for n in range(length)), ("192.0.2.7", 7))
            datagram = p.receive(1)[0][14:]
            assert len(datagram) == 28 + length
            pseudo = datagram[12:20] + struct.pack("!BBH", 0, 17, 8 + length)
            total = sum(struct.unpack(f"!{(len(pseudo) + 8 + length) // 2}H", pseudo + datagram[20:]))
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            assert total == 0xFFFF
    udp.close()


# The stack gives w0's frame a tag of VLAN 5, beside the frame, as a VLAN device does (bpf_skb_vlan_push, at its egress).
TAG = """
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, *values, layout):
    attributes = ctypes.create_string_buffer(struct.pack(layout, *values), 144)
    fd = libc.syscall(321, command, attributes, 144)
    if fd < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    return fd
def insn(code, dst=0, imm=0):
    return struct.pack("<BBhi", code, dst, 0, imm)
code = insn(0xb7, 2, socket.htons(0x8100)) + insn(0xb7, 3, 5) + insn(0x85, imm=18) + insn(0xb7, 0, -1) + insn(0x95)
code, name = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"Dual BSD/GPL")
program = bpf(5, 3, 5, ctypes.addressof(code), ctypes.addressof(name), layout="<IIQQ")
link = bpf(28, program, socket.if_nametoindex(sys.argv[1]), 47, 0, layout="<IIII")
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
s.send(bytes.fromhex(sys.argv[2]))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64" or tuple(map(int, os.uname().release.split(".")[:2])) < (6, 6),
                    reason="the tag is made by a program at a link of tcx: Linux 6.6; the number of the system call is that of x86-64")
@pytest.mark.parametrize("mode", ["native", "generic"])
def test_tags_that_the_stack_leaves_to_the_device(start, mode):
    """A VLAN's frame comes with its tag, and afterwards the other end of the veth has its offload again."""
    daemon = start("--nic-mode", mode)

    def offload():
        return re.search(r"^tx-vlan-offload: (\w+)", inside(daemon, "ethtool", "-k", W), re.M)[1]

    with Port(daemon.path, V) as p:
        assert nic(daemon)["nic"]["mode"] == mode and offload() == "off"
        one = packet(1, 100)
        inside(daemon, sys.executable, "-c", TAG, W, one.hex())
        assert p.receive(1) == [one[:12] + b"\x81\0\0\5" + one[12:]]
    rest(daemon)
    wait_until(lambda: offload() == "on", "the offload is on again")


def test_buffers_stay_apart(daemon, stack):
    """Slots are permuted: each has a buffer of its own all the time, and another one than before."""
    s = stack()
    with Port(daemon.path, V) as p:
        rx, tx = p.rx[0], p.tx[0]
        before = p.buffers("rx")
        exchange(p, s, [60])
        after, sent = p.buffers("rx"), p.buffers("tx")
        assert not set(before) & set(after[:32]) and before[32:] == after[32:]
        exchange(p, s, [60], rounds=200)
        after = p.buffers("rx")
        assert len(set(after) | set(sent)) == rx.slots + tx.slots and sent == p.buffers("tx")


def test_fragments_are_put_together(daemon, stack):
    s = stack()
    with Port(daemon.path, V) as p:
        for fragments in [14, 46], [20, 1, 1000, 493], [1, 1513]:
            one = packet(1, sum(fragments))
            p.send(one, fragments=fragments)
            assert s.recv(65536) == one


def test_wake_ups(daemon, stack):
    """Everybody asleep: a packet gets through, either way; nobody polls in between."""
    s = stack()
    with Port(daemon.path, V) as p:
        for n in range(5):
            p.rx[0].want_interrupt(1)
            time.sleep(0.05)
            s.send(packet(n, 60))
            assert p.interrupted("rx") and p.received() == [packet(n, 60)]
            p.send(packet(n, 60))
            assert s.recv(65536) == packet(n, 60)
        ticks = daemon.cpu_ticks()
        time.sleep(0.5)
        assert daemon.cpu_ticks() - ticks < 10


def test_a_full_ring(daemon, stack):
    """What the application doesn't take waits, then is the kernel's loss, and counted; what it has taken is in order."""
    s = stack()
    with Port(daemon.path, V, rx_slots=64, tx_slots=64) as p:
        assert p.rx[0].slots == 64
        for n in range(4000):
            s.send(packet(n, 60))
        wait_until(lambda: daemon.ring(V, "rx")["errors"].get("receiver_full", 0) > 0, "losses are counted")
        got = []
        wait_until(lambda: got.extend(p.received()) or len(got) >= 1000, "what has waited comes")
        assert got == [packet(n, 60) for n in range(len(got))]


def test_drops_are_counted(daemon, stack):
    s = stack()
    with Port(daemon.path, V) as p:
        tx = p.tx[0]
        own = tx.slot(tx.head)[0]
        for bad in (own, 13, 0, 0), (0, 60, 0, 0), (0xFFFFFFFF, 60, 0, 0), (own, 3841, 0, 0), (own, 4096, 0, 0), (own, 1523, 0, 0):
            tx.send_slots(bad)
        assert daemon.ring(V, "tx")["errors"] == {"too_short": 1, "bad_buffer": 2, "bad_length": 2, "too_long": 1}
        good = p.rx[0].slot(0)
        p.rx[0].set_slot(0, 0xFFFFFFF0, 0, 0, 0)
        s.send(packet(1, 60))
        wait_until(lambda: daemon.ring(V, "rx")["errors"] == {"bad_buffer": 1}, "it is counted")
        p.rx[0].set_slot(0, *good)
        s.send(packet(2, 60))
        assert p.receive(1) == [packet(2, 60)]


def test_unfinished_checksums(daemon):
    """The stack leaves checksums to veth, which doesn't make them: an application sees them complete."""
    inside(daemon, "ip", "addr", "add", "192.0.2.1/24", "dev", W)
    inside(daemon, "ip", "neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:09", "dev", W)
    with Port(daemon.path, V) as p:
        u = socket_inside(daemon, socket.AF_INET, socket.SOCK_DGRAM, 0, "192.0.2.1", "5000")
        with u:
            for length in 0, 1, 33, 1400:
                u.sendto(os.urandom(length), ("192.0.2.9", 5001))
                (got,) = [g for g in p.receive(1) if g[12:14] == b"\x08\x00"]
                ip = got[14 : 14 + struct.unpack_from(">H", got, 16)[0]]
                pseudo = ip[12:20] + struct.pack(">BBH", 0, ip[9], len(ip) - 20)
                data = pseudo + ip[20:] + b"\0" * (len(ip) % 2)
                total = sum(struct.unpack(f">{len(data) // 2}H", data))
                while total >> 16:
                    total = (total & 0xFFFF) + (total >> 16)
                assert total == 0xFFFF


# ------------------------------------------------------------ who may, and how


@pytest.mark.parametrize("fields, options, error, text", [
    ({"mode": ONE_NIC, "ringid": 1}, b"", errno.EINVAL, "ring 1"),
    ({"host_tx_rings": 65}, b"", errno.EINVAL, "65 tx and 1 rx host rings"),
    ({}, offsets_option(128), errno.EOPNOTSUPP, "offsets"),
])
def test_refused(daemon, fields, options, error, text):
    with pytest.raises(Refused) as refused:
        Port(daemon.path, V, options=options, **fields)
    assert refused.value.errno == error and V in refused.value.text and text in refused.value.text
    rest(daemon)


def test_an_mtu_that_is_too_large(start):
    """For zero copy, for which each packet has to fit a buffer."""
    daemon = start("--nic-mode", "zero-copy", mtu=9000)
    with pytest.raises(Refused, match="MTU of 9000.*ip link set v0 mtu 3822") as refused:
        Port(daemon.path, V)
    assert refused.value.errno == errno.EMSGSIZE
    for name in V, W:
        inside(daemon, "ip", "link", "set", name, "mtu", "1500")
    with pytest.raises(Refused, match="no zero copy"):
        Port(daemon.path, V)


def test_a_region_that_is_not_for_nics(daemon):
    with Port(daemon.path, "vale1:1", mem_id=7) as p:
        assert p.tx[0].buf_size == 2048
        with pytest.raises(Refused, match="region 7") as refused:
            Port(daemon.path, V, mem_id=7)
        assert refused.value.errno == errno.EINVAL
    with Port(daemon.path, V, mem_id=7) as p, Port(daemon.path, "vale1:1", mem_id=7) as q:
        assert p.tx[0].buf_size == q.tx[0].buf_size == 4096
    rest(daemon)


def test_external_memory(daemon):
    fd = os.memfd_create("extmem", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 1 << 24)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    with pytest.raises(Refused, match="extmem"):
        Port(daemon.path, V, options=extmem_option(1 << 24), send=[fd])
    os.close(fd)


def test_it_is_paid_for(start):
    daemon = start("--max", "ports=1")
    add_pair(daemon, V2, W2)
    with Port(daemon.path, V):
        with pytest.raises(Refused, match="ports"):
            Port(daemon.path, V2)
        assert nic(daemon, V2) is None
    rest(daemon)
    with Port(daemon.path, V2):
        pass
    rest(daemon, V2)


def test_another_program_has_the_interface(daemon, start):
    """The error says so; nothing of the other is disturbed."""
    with Port(daemon.path, V):
        second = daemon.place / "second"
        child = subprocess.Popen(
            ["nsenter", "-t", str(daemon.pid), "-n", str(BUILD / "netmapd/netmapd"), "--socket", second], stderr=subprocess.PIPE, text=True,
        )
        try:
            wait_until(second.exists, "the second netmapd is there")
            with pytest.raises(Refused) as refused:
                Port(second, V)
            assert refused.value.errno == errno.EBUSY and V in refused.value.text
        finally:
            child.terminate()
            child.communicate()


@pytest.mark.parametrize("options", [("generic",), ("zero-copy", "v*=generic"), (f"{V}=generic", "w*=native")])
def test_a_mode_is_demanded(start, stack, options):
    """The last option that fits the interface counts."""
    daemon = start(*(word for option in options for word in ("--nic-mode", option)))
    with Port(daemon.path, V) as p:
        assert nic(daemon)["nic"]["mode"] == "generic"
        exchange(p, stack(), [60, 1514])


def test_a_mode_that_cannot_be_had(start):
    daemon = start("--nic-mode", "zero-copy")
    with pytest.raises(Refused, match="zero copy"):
        Port(daemon.path, V)
    rest(daemon)


@pytest.mark.parametrize("option, value, why", [
    ("mode", "fast", '"fast" is not any, zero-copy, native or generic'),
    ("mode", "v0=", '"v0=" is not any'),
    ("mode", "=native", "has 1 to 15 bytes"),
    ("mode", 16 * "v" + "=native", "has 1 to 15 bytes"),
    ("busy-poll", "", '"" is not 0 to 1000000 microseconds'),
    ("busy-poll", "1000001", "is not 0 to 1000000"),
    ("busy-poll", "50/", "is not 0 to 1000000"),
    ("busy-poll", "50/65", "1 to 64 packets"),
    ("busy-poll", "-1", "is not 0"),
    ("pass", "", '"" is not arp, nd, lldp, sent or an address'),
    ("pass", "arp,192.0.2", '"192.0.2" is not'),
    ("pass", "nd,fe80::g", '"fe80::g" is not'),
    ("pass", 100 * "x", "is too long"),
    ("pass", ",".join(f"192.0.2.{n}" for n in range(9)), "more than 8 addresses"),
])
def test_options_that_are_none(place, option, value, why):
    child = subprocess.run([BUILD / "netmapd/netmapd", "--socket", place / "s", f"--nic-{option}", value], capture_output=True, text=True)
    assert child.returncode == 2 and f"--nic-{option}: " in child.stderr and why in child.stderr


def test_what_stays_the_hosts(start, stack):
    """ARP goes to the stack, which learns from it; all else to the port."""
    daemon = start("--nic-pass", "arp")
    inside(daemon, "ip", "addr", "add", "192.0.2.7/24", "dev", V)
    sender, ours = socket.inet_aton("192.0.2.9"), socket.inet_aton("192.0.2.7")
    ask = b"\0\1\x08\0\6\4\0\1" + mac(9) + sender + bytes(6) + ours
    s = stack()
    with Port(daemon.path, V) as p:
        s.send((BROADCAST + mac(9) + b"\x08\x06" + ask).ljust(60, b"\0"))
        wait_until(lambda: "192.0.2.9" in inside(daemon, "ip", "neigh"), "the stack knows it")
        s.send(packet(1, 60))
        assert p.receive(1) == [packet(1, 60)]


def test_the_hosts_addresses_stay_the_hosts(start):
    """ping to one of them is answered, to the others not."""
    daemon = start("--nic-pass", "arp,192.0.2.7,2001:db8::7")
    script = f"""ip link set {W} up; ip addr add 192.0.2.9/24 dev {W}; echo; read x
        for to in 192.0.2.7 192.0.2.8; do ping -c 2 -i 0.2 -W 1 $to > /dev/null; echo $?; done"""
    for address in "192.0.2.7", "192.0.2.8":
        inside(daemon, "ip", "addr", "add", f"{address}/24", "dev", V)
    peer = subprocess.Popen(["nsenter", "-t", str(daemon.pid), "-n", "unshare", "-n", "sh", "-c", "echo $$; read x;" + script],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = peer.stdout.readline().strip()
    inside(daemon, "ip", "link", "set", W, "netns", pid)
    with Port(daemon.path, V):
        out = peer.communicate("\n\n", 60)[0].split()
    assert out == ["0", "1"]


def test_what_the_host_sends_is_counted(start, stack):
    """It gets nowhere, and status says how much it was."""
    daemon = start()
    host, outside = stack(V), stack()
    with Port(daemon.path, V) as p:
        for n in range(10):
            with contextlib.suppress(OSError):   # that is how it is told
                host.send(packet(n, 60))
        assert nic(daemon)["nic"]["host_dropped"] == 10
        exchange(p, outside, [60])     # nothing else has come out
    rest(daemon)


def test_forms_of_registration(start, stack):
    """One ring, one direction, shared by two, exclusively; all queues of the device."""
    daemon = start(queues=3)
    s = stack()
    with Port(daemon.path, V) as p:
        assert [len(p.tx), len(p.rx)] == [3, 3]
        for ring in range(3):
            p.send(packet(ring, 60), ring=ring)
            assert s.recv(65536) == packet(ring, 60)
    with Port(daemon.path, V, mode=ONE_NIC, ringid=1) as p, Port(daemon.path, V, mode=ONE_NIC, ringid=2, flags=EXCLUSIVE) as q:
        with pytest.raises(Refused):
            Port(daemon.path, V, mode=ONE_NIC, ringid=2)
        for port in p, q:
            port.send(packet(7, 60))
            assert s.recv(65536) == packet(7, 60)
    with Port(daemon.path, V, flags=TX_ONLY) as p, Port(daemon.path, V, flags=RX_ONLY) as q:
        p.send(packet(9, 60))
        assert s.recv(65536) == packet(9, 60)
        s.send(packet(10, 60))
        wait_until(lambda: any(q.received(ring=r) for r in range(3)), "it has come")
    rest(daemon)


def test_a_netmapd_without_interfaces(start_netmapd, place):
    """In a namespace of its own, as the system runs it; netmapd-nic is where they are, and knows them."""
    lab = Lab(place)
    try:
        lab.pair(V, W)
        helper = lab.serve()
        daemon = start_netmapd("--nic", helper, nics=True, preexec_fn=new_namespace)
        with pytest.raises(Refused, match="nosuch0"):
            Port(daemon.path, "nosuch0")
        with Port(daemon.path, V) as p, Port(daemon.path, W) as q:
            wait_until(lambda: nic(daemon)["nic"]["link"] and nic(daemon, W)["nic"]["link"], "link")
            p.send(packet(1, 1514))
            assert q.receive(1) == [packet(1, 1514)]
        rest(daemon)
        rest(daemon, W)
    finally:
        lab.close()


# ------------------------------------------------------------ life


def test_it_is_the_stacks_before_and_after(daemon, stack):
    s, v = stack(), stack(V)
    s.send(packet(1, 60))
    assert v.recv(65536) == packet(1, 60)
    with Port(daemon.path, V) as p:
        s.send(packet(2, 60))
        assert p.receive(1) == [packet(2, 60)]
    rest(daemon)
    s.send(packet(3, 60))
    assert v.recv(65536) == packet(3, 60)


def test_removed_and_back(daemon, stack):
    for _ in range(3):
        with Port(daemon.path, V) as p:
            inside(daemon, "ip", "link", "del", V)
            wait_until(lambda: any(x.get("dead") for x in daemon.status()["ports"]), "the port is dead")
            p.tx[0].publish(p.put(packet(1, 60)))
        wait_until(lambda: daemon.status()["ports"] == [], "nothing is left")
        with pytest.raises(Refused) as refused:
            Port(daemon.path, V)
        assert refused.value.errno == errno.ENXIO
        add_pair(daemon)
        with Port(daemon.path, V) as p:
            exchange(p, stack(), [60])


def test_moved_to_another_namespace_and_back(daemon, stack):
    """The port ends as if the device had been pulled; there and here it is the stack's, and when it is back it can be a port."""
    keeper = subprocess.Popen(["sleep", "300"], preexec_fn=new_namespace)
    try:
        with Port(daemon.path, V) as p:
            inside(daemon, "ip", "link", "set", V, "netns", str(keeper.pid))
            wait_until(lambda: any(x.get("dead") for x in daemon.status()["ports"]), "the port is dead")
            p.tx[0].publish(p.put(packet(1, 60)))
            show = ["nsenter", "-t", str(keeper.pid), "-n", "ip", "link", "show", V]
            wait_until(lambda: "xdp" not in subprocess.run(show, capture_output=True, text=True, check=True).stdout, "it is the stack's")
        wait_until(lambda: daemon.status()["ports"] == [], "nothing is left")
        with pytest.raises(Refused) as refused:
            Port(daemon.path, V)
        assert refused.value.errno == errno.ENXIO
        subprocess.run(["nsenter", "-t", str(keeper.pid), "-n", "ip", "link", "set", V, "netns", str(daemon.pid)], check=True)
    finally:
        keeper.kill()
        keeper.wait()
    inside(daemon, "ip", "link", "set", V, "up")
    wait_until(lambda: device(daemon, V)["operstate"] == "UP", "the pair is up")
    with Port(daemon.path, V) as p:
        exchange(p, stack(), [60])


def test_more_channels(start, stack):
    """Frames of the new queue go to the host, and status says how many there are; who opens the port anew has them all."""
    daemon = start(queues=2)
    for name in V, W:
        inside(daemon, "ethtool", "-L", name, "rx", "1", "tx", "1")
    with Port(daemon.path, V) as p:
        assert len(p.rx) == 1
        inside(daemon, "ethtool", "-L", V, "rx", "2", "tx", "2")
        wait_until(lambda: nic(daemon)["nic"]["device_queues"] == 2, "it is told")
        assert nic(daemon)["nic"]["queues"] == 1
        exchange(p, stack(), [60])
    rest(daemon)
    with Port(daemon.path, V) as p:
        assert len(p.rx) == 2
        exchange(p, stack(), [60])
        with pytest.raises((AssertionError, subprocess.CalledProcessError)):
            inside(daemon, "ethtool", "-L", V, "rx", "1", "tx", "1")   # the kernel takes away no queue that a socket has
        exchange(p, stack(), [60])
    rest(daemon)


def set_mtu(daemon, mtu, *names):
    for name in names:
        inside(daemon, "ip", "link", "set", name, "mtu", str(mtu))


def test_mtu_in_use(start, stack):
    """What fits a buffer goes by the new one at once. What doesn't is lost until the port is opened anew, which the log says."""
    daemon = start()
    s = stack()
    with Port(daemon.path, V) as p:
        exchange(p, s, [60, 1514])
        for mtu in 3400, 1400:
            set_mtu(daemon, mtu, W, V)
            wait_until(lambda: nic(daemon)["nic"]["mtu"] == mtu, "it is told")
            exchange(p, s, [60, 1024, mtu + 14], window=8)
        p.send(packet(1, 1400 + 14 + 9))    # two tags would have room
        exchange(p, s, [60])
        assert daemon.ring(V, "tx")["errors"] == {"too_long": 1}
        set_mtu(daemon, 9000, V)
        wait_until(lambda: re.search("v0: an MTU of 9000; packets of more than 3840 bytes.*are lost until the port is opened anew",
                                     daemon.log()), "the log says it")
        exchange(p, s, [60, 1414])
    rest(daemon)
    set_mtu(daemon, 9000, W)
    with Port(daemon.path, V) as p:
        one = packet(2, 9014)
        p.send(one, fragments=[3840, 3840, 1334])
        assert s.recv(1 << 17) == one
        s.send(one)
        assert p.receive(1) == [one]
    rest(daemon)


@pytest.mark.parametrize("value", ["50", "1000/16"])
def test_busy_polling(start, stack, value):
    daemon = start("--nic-busy-poll", value)
    s = stack()
    with Port(daemon.path, V) as p:
        exchange(p, s, SIZES)
        assert daemon.ring(V, "rx")["errors"] == {}
    rest(daemon)


def test_link_down_and_up(daemon, stack):
    """What is sent without a link is counted; afterwards all goes on."""
    s = stack()
    with Port(daemon.path, V) as p:
        for n in range(5):
            inside(daemon, "ip", "link", "set", W, "down")
            wait_until(lambda: not nic(daemon)["nic"]["link"], "it is down")
            p.send(packet(n, 60))
            wait_until(lambda: daemon.ring(V, "tx")["errors"].get("link_down") == n + 1, "it is counted")
            inside(daemon, "ip", "link", "set", W, "up")
            wait_until(lambda: nic(daemon)["nic"]["link"], "it is up")
            p.send(packet(n, 60))
            s = stack()
            p.send(packet(n, 60))
            assert s.recv(65536) == packet(n, 60)


def test_renamed(daemon):
    with Port(daemon.path, V):
        inside(daemon, "ip", "link", "set", V, "name", "other0")
        wait_until(lambda: nic(daemon, "other0"), "the port has the new name")
        with Port(daemon.path, "other0", flags=0):
            pass
    rest(daemon, "other0")


# ------------------------------------------------------------ with others


def test_machines_at_both_ends(daemon):
    """Of a wire: two machines, played natively, each with one interface; numbered packets both ways, every byte compared."""
    child = subprocess.run([BUILD / "tests/daemon/nicmachine", daemon.path, f"netmap:{V}", f"netmap:{W}", "5000"],
                           capture_output=True, text=True, timeout=300)
    assert (child.returncode, child.stdout) == (0, "through\nok 5000 5000\n"), child.stdout
    rest(daemon)
    rest(daemon, W)


def test_two_in_one_region(start, stack):
    """netmap-bridge forwards from one to the other; buffers are exchanged, not copied, and each is back in the end."""
    daemon = start()
    add_pair(daemon, V2, W2)
    a, b = stack(W), stack(W2)
    env = dict(os.environ, NETMAPD_SOCKET=str(daemon.path), NETMAP_BACKEND="daemon")
    bridge = subprocess.Popen(
        [BUILD / "apps/netmap-bridge", "-i", f"netmap:{V}@9", "-i", f"netmap:{V2}@9", "-w", "0"], env=env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )
    try:
        wait_until(lambda: all(nic(daemon, n) and nic(daemon, n)["nic"]["state"] == "running" for n in (V, V2)), "both are open")
        for n, length in enumerate(SIZES * 20):
            for s, t in (a, b), (b, a):
                burst = [packet(32 * n + i, length) for i in range(32)]
                for one in burst:
                    s.send(one)
                assert [t.recv(65536) for _ in burst] == burst
        left = daemon.status()["regions"]
        assert len(left) == 1 and left[0]["id"] == 9
    finally:
        bridge.send_signal(signal.SIGINT)
        output = bridge.communicate(timeout=30)[0]
    assert bridge.returncode == 0 and "zero-copy" in output.replace("zero copy", "zero-copy"), output
    rest(daemon)
    rest(daemon, V2)


def test_on_a_switch(daemon, stack):
    s = stack()
    control(daemon, attach, f"vale1:{V}", ALL_NIC)
    with Port(daemon.path, "vale1:app") as p:
        exchange(p, s, SIZES)
    control(daemon, detach, f"vale1:{V}")
    rest(daemon)


TALK = """
import hashlib, os, socket, sys
here, there, first = sys.argv[1:4]
s = socket.socket()
if first == "listen":
    s.bind((here, 5000))
    s.listen()
    print("ready", flush=True)
    s, _ = s.accept()
else:
    s.settimeout(60)
    s.connect((there, 5000))
s.settimeout(60)
mine, got = os.urandom(1 << 21), b""
if first == "listen":
    s.sendall(hashlib.sha256(mine).digest() + mine)
while len(got) < 32 + len(mine):
    part = s.recv(65536)
    assert part, len(got)
    got += part
assert hashlib.sha256(got[32:]).digest() == got[:32]
if first != "listen":
    s.sendall(hashlib.sha256(mine).digest() + mine)
    s.shutdown(socket.SHUT_WR)
    s.recv(1)
"""


@contextlib.contextmanager
def elsewhere(daemon, name, address):
    """The device is in a namespace of its own, with an address."""
    keeper = subprocess.Popen(["sleep", "300"], preexec_fn=new_namespace)
    try:
        inside(daemon, "ip", "link", "set", name, "netns", str(keeper.pid))

        class Place:
            pid = keeper.pid

        inside(Place, "ip", "addr", "add", f"{address}/24", "dev", name)
        inside(Place, "ip", "link", "set", name, "up")
        yield Place
    finally:
        keeper.kill()
        keeper.wait()


class Station:
    """A stack on the switch: a network namespace, which lives as long as this process, and its address."""

    def __init__(self, process, address):
        self.pid, self.address = process.pid, address

    def start(self, *command):
        return subprocess.Popen(["nsenter", "-t", str(self.pid), "-n", *command], stdout=subprocess.PIPE, text=True)

    def run(self, *command):
        child = subprocess.run(["nsenter", "-t", str(self.pid), "-n", *command], capture_output=True, text=True, timeout=120)
        assert child.returncode == 0, f"{command}: {child.stdout} {child.stderr}"
        return child.stdout


def talk(server, client):
    """Two megabytes each way, compared by their sums."""
    listens = server.start(sys.executable, "-c", TALK, server.address, client.address, "listen")
    try:
        assert listens.stdout.readline() == "ready\n"
        client.run(sys.executable, "-c", TALK, client.address, server.address, "connect")
        assert listens.wait(30) == 0
    finally:
        listens.kill()
        listens.communicate()


@contextlib.contextmanager
def iperf_servers(stations):
    servers = [station.start("iperf3", "-s", "--forceflush") for station in stations]
    try:
        for server in servers:
            assert any("listening" in line for line in iter(server.stdout.readline, ""))
        yield
    finally:
        for server in servers:
            server.kill()
            server.communicate()


@pytest.mark.parametrize("hdr_len", [0, 12])
def test_stacks_on_a_switch_with_an_interface(daemon, hdr_len):
    """TCP between the host's stack and another one, by TAPs, and one behind the interface, all on one switch: iperf3 between all of
    them, and bytes compared; with and without the virtio-net header on the TAPs. Offloads and checksums are what they must be."""
    taps = "tap0", "tap1"
    for tap in taps:
        control(daemon, newif, tap)
        with Connection(daemon.path) as c:
            assert c.info(PORT_HDR_SET, tap, "=I4x", struct.pack("=II", hdr_len, 0)) == (hdr_len,)
        inside(daemon, "sysctl", "-qw", f"net.ipv6.conf.{tap}.disable_ipv6=1", check=False)
    for name in *taps, V:
        control(daemon, attach, f"vale1:{name}")
    inside(daemon, "ip", "addr", "add", "192.0.2.2/24", "dev", "tap0")
    inside(daemon, "ip", "link", "set", "tap0", "up")
    with elsewhere(daemon, W, "192.0.2.1") as outside, elsewhere(daemon, "tap1", "192.0.2.3") as machine:
        stations = [Station(outside, "192.0.2.1"), Station(daemon, "192.0.2.2"), Station(machine, "192.0.2.3")]
        wait_until(lambda: nic(daemon)["nic"]["link"], "link")
        with iperf_servers(stations):
            for client, server in itertools.permutations(stations, 2):
                client.run("ping", "-c", "1", "-w", "20", server.address)
                end = json.loads(client.run("iperf3", "-J", "-n", "1M", "-c", server.address))["end"]
                assert end["sum_sent"]["bytes"] >= 1 << 20
        for server, client in itertools.combinations(stations, 2):
            talk(server, client)
        for name in *taps, V:
            control(daemon, detach, f"vale1:{name}")


def test_wake_ups_on_a_switch(daemon, stack):
    s = stack()
    control(daemon, attach, f"vale1:{V}", ALL_NIC)
    with Port(daemon.path, "vale1:app") as p:
        for n in range(5):
            time.sleep(0.05)
            s.send(packet(n, 60))
            assert p.receive(1) == [packet(n, 60)]
            p.send(packet(n, 60))
            assert s.recv(65536) == packet(n, 60)
        ticks = daemon.cpu_ticks()
        time.sleep(0.5)
        assert daemon.cpu_ticks() - ticks < 10
    control(daemon, detach, f"vale1:{V}")


def test_attaching_fails_later(daemon):
    """The switch has no port then."""
    with Port(daemon.path, V), pytest.raises(Refused) as refused:
        control(daemon, attach, f"vale1:{V}", ALL_NIC)
    assert refused.value.errno == errno.EBUSY
    rest(daemon)


def test_pipes_and_monitors(daemon, stack):
    """A pipe's parent needn't be open; a monitor sees what comes."""
    s = stack()
    with Port(daemon.path, V + "{1") as a, Port(daemon.path, V + "}1") as b:
        a.send(packet(1, 60))
        assert b.receive(1) == [packet(1, 60)]
        assert nic(daemon)["nic"]["state"] == "idle"
        for n in range(3):
            with Port(daemon.path, V) as p, Port(daemon.path, V, flags=MONITOR_RX) as m:
                s.send(packet(n, 60))
                assert p.receive(1) == [packet(n, 60)]
                assert m.receive(1) == [packet(n, 60)]
                with Port(daemon.path, V, flags=MONITOR_RX | ZCOPY_MON) as z:
                    exchange(p, s, [60, 1514])
                    assert len(z.receive(64)) == 64
            wait_until(lambda: nic(daemon)["nic"]["state"] == "idle", "it is at rest again")
    rest(daemon)


def test_a_client_that_goes_while_it_opens(daemon):
    """Nothing is left of what it wanted."""
    for _ in range(20):
        c = Connection(daemon.path)
        c.send(message(NMREQ, register(V)))
        c.close()
    rest(daemon)
    with Port(daemon.path, V):
        pass


def test_many_ask_at_once(daemon):
    """All of them share the port."""
    script = [PKT_GEN, "-i", f"netmap:{V}", "-f", "rx", "-n", "0"]
    env = dict(os.environ, NETMAPD_SOCKET=str(daemon.path), NETMAP_BACKEND="daemon")
    children = [subprocess.Popen(script, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    wait_until(lambda: nic(daemon) and nic(daemon)["users"] == 3, "three users")
    for child in children:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
    rest(daemon)


# ------------------------------------------------------------ ordinary users


def answers(path):
    with contextlib.suppress(OSError), Connection(path) as c:
        return c.hello()


@pytest.mark.parametrize("options", [["--background"], ["--background", "--log"], ["--log"]], ids=["beside", "background", "log"])
def test_what_netmapd_nic_says_is_in_the_log(place, options):
    """Of its children, too."""
    path, log = place / "socket", place / ("log" if "--log" in options else "socket.log")
    command = [NETMAPD, "--socket", path, *options, *([log] if "--log" in options else [])]
    child = subprocess.Popen(command, preexec_fn=new_namespace, env=environment(path))

    class Daemon:
        pid = None

    try:
        if "--background" in options:
            assert child.wait(30) == 0
        wait_until(lambda: answers(path), "it serves")
        with Connection(path) as c:
            Daemon.pid = c.hello()
        add_pair(Daemon)
        with elsewhere(Daemon, W, "192.0.2.1"), Port(path, V):
            wait_until(lambda: f"netmapd-nic: {V}: its other end is in another network namespace" in log.read_text(), "it says so")
    finally:
        if child.poll() is None:
            child.terminate()
        elif Daemon.pid:    # in the background
            os.kill(Daemon.pid, signal.SIGTERM)
        child.wait(30)
        wait_until(lambda: not path.exists(), "it has ended")


@pytest.fixture
def served(start_netmapd, place):
    """served(rule…): (lab, netmapd) that both run as the system runs them: netmapd as a user without privilege, in a network namespace
    without interfaces, and netmapd-nic, which has these rules, where V and W are."""
    lab = Lab(place)

    def as_nobody():
        new_namespace()
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)

    def serve(*rules):
        lab.pair(V, W)
        helper = lab.serve("".join(f"{rule}\n" for rule in rules))
        own = place / "own"
        own.mkdir()
        os.chown(own, NOBODY, NOBODY)
        daemon = start_netmapd("--workers", "2", "--nic", helper, nics=True, preexec_fn=as_nobody, path=own / "socket")
        assert f"Uid:\t{NOBODY}" in open(f"/proc/{daemon.pid}/status").read()
        return lab, daemon

    yield serve
    lab.close()


def test_an_ordinary_user_has_what_he_may(served):
    """Both ways, on a switch, as a machine's port; nothing of it needs a right of netmapd's."""
    lab, daemon = served(f"allow {NOBODY} {V} {W}")
    with user(NOBODY), Port(daemon.path, V) as p, Port(daemon.path, W) as q:
        wait_until(lambda: nic(daemon)["nic"]["link"] and nic(daemon, W)["nic"]["link"], "link")
        for n, length in enumerate(SIZES):
            p.send(packet(n, length))
            assert q.receive(1) == [packet(n, length)]
            q.send(packet(n, length))
            assert p.receive(1) == [packet(n, length)]
    rest(daemon)
    rest(daemon, W)
    with user(NOBODY):
        control(daemon, attach, f"vale1:{V}", ALL_NIC)
        control(daemon, detach, f"vale1:{V}")
        with Connection(daemon.path) as machine:
            machine.vm_create(b"vm")
            assert machine.vm_add_port(f"netmap:{V}")[0]
    rest(daemon)
    wait_until(lambda: lab.ns.program(V) is None and not lab.claims(), "the interface is as it was")


REQUESTS = {
    "register": lambda path: Port(path, V).close(),
    "one ring": lambda path: Port(path, V, mode=ONE_NIC, ringid=0).close(),
    "host rings": lambda path: Port(path, V, mode=SW).close(),
    "all rings": lambda path: Port(path, V, mode=NIC_SW).close(),
    "tx only": lambda path: Port(path, V, flags=TX_ONLY).close(),
    "exclusive": lambda path: Port(path, V, flags=EXCLUSIVE).close(),
    "monitor": lambda path: Port(path, V, flags=MONITOR_RX).close(),
    "pipe": lambda path: Port(path, V + "{1").close(),
    "attach": lambda path: asked(path, attach, f"vale1:{V}", ALL_NIC),
    "attach with the host": lambda path: asked(path, attach, f"vale1:{V}", NIC_SW),
    "info": lambda path: asked(path, Connection.info, PORT_INFO_GET, V, "=QIIIIHHHH"),
    "machine": lambda path: asked(path, add_to_machine, f"netmap:{V}"),
}


def asked(path, function, *args):
    with Connection(path) as c:
        return function(c, *args)


def add_to_machine(connection, name):
    connection.vm_create(b"vm")
    return connection.vm_add_port(name)


@pytest.mark.parametrize("rules, text", [
    ((), f"user {NOBODY} may have no interface"),
    ((f"allow {NOBODY} {W}",), f"{V}: user {NOBODY} may not have this interface"),
])
def test_a_user_who_may_not_gets_a_reason_and_nothing_else(served, rules, text):
    """Whatever he asks for: nothing is made, and nothing changes at the interface."""
    lab, daemon = served(*rules)
    before = daemon.at_rest()
    with user(NOBODY):
        for what, request in REQUESTS.items():
            with pytest.raises(Refused) as refused:
                request(daemon.path)
            assert refused.value.errno == errno.EACCES and text in refused.value.text, f"{what}: {refused.value}"
    assert daemon.status()["ports"] == daemon.status()["regions"] == []
    assert lab.ns.program(V) is None and lab.ns.link(V)["promiscuity"] == 0 and not lab.claims()
    wait_until(lambda: daemon.descriptors() == before, "nothing is kept for him")


def test_a_user_of_roots_netmapd_needs_the_right_himself(start_netmapd, place):
    """netmapd is root's, and open to everybody: he has no more of interfaces than the configuration says."""
    lab = Lab(place)
    try:
        lab.config.write_text(f"allow {NOBODY} {W}\n")
        daemon = start_netmapd("--workers", "2", nics=True, preexec_fn=new_namespace, env={"NETMAPD_NIC": str(lab.program)})
        add_pair(daemon)
        os.chmod(daemon.path, 0o666)
        with user(NOBODY):
            for what, request in REQUESTS.items():
                with pytest.raises(Refused) as refused:
                    request(daemon.path)
                assert refused.value.errno == errno.EACCES and f"user {NOBODY}" in refused.value.text, f"{what}: {refused.value}"
            with Port(daemon.path, W):
                pass
        rest(daemon, W)
    finally:
        lab.close()


def test_a_wait_for_its_last_user_is_announced(start_netmapd, place):
    """A netmapd-nic that is still ending has the interface: the log says how long the next user waits at most, and then he has it."""
    lab = Lab(place)
    ports = []
    try:
        daemon = start_netmapd("--workers", "2", nics=True, preexec_fn=new_namespace, env={"NETMAPD_NIC": str(lab.program)})
        add_pair(daemon)
        with Port(daemon.path, V):
            (claim,) = lab.state.iterdir()
        rest(daemon)
        wait_until(lambda: not claim.exists(), "the claim is gone")
        with open(claim, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write("ending 1".ljust(23) + "\n")
            file.flush()
            opener = threading.Thread(target=lambda: ports.append(Port(daemon.path, V)))
            opener.start()
            said, log = f"{V}: waits, at most 15000 ms, for another netmapd-nic", place / "netmapd-nic.log"
            wait_until(lambda: said in log.read_text(), "it is said")
            assert not ports
            claim.unlink()
        opener.join(30)
        assert len(ports) == 1
        ports[0].close()
        rest(daemon)
    finally:
        lab.close()


def test_its_port_outlives_netmapd_nic(served):
    """A monitor keeps the port, and nobody opens the interface any more: an error, until the service is there again."""
    lab, daemon = served(f"allow {NOBODY} *")
    with Port(daemon.path, V + "{1"):
        with Port(daemon.path, V):
            lab.services[0].send_signal(signal.SIGTERM)
            lab.services[0].wait(30)
        wait_until(lambda: nic(daemon)["nic"]["state"] in ("asked", "closing") and "mode" not in nic(daemon)["nic"], "it is closed")
        for _ in range(2):
            with pytest.raises(Refused, match="netmapd-nic"):
                Port(daemon.path, V)
        lab.serve()
        with Port(daemon.path, V):
            assert nic(daemon)["nic"]["state"] == "running"
    rest(daemon)
