# SPDX-License-Identifier: BSD-2-Clause
"""Applications on netmapd's ports: registration, traffic, wake-ups; and applications that die or lie."""

import errno
import fcntl
import os
import random
import select
import signal
import struct
import threading
import time

import pytest

from ptnet_real import (
    ACCEPT_VNET_HDR, ALL_NIC, BROADCAST, BUF_CHANGED, EXCLUSIVE, INDIRECT, MOREFRAG, NMAPP, NMREQ_HEADER, NO_LEARN, ONE_NIC,
    PATIENCE, PKT_GEN, POOLS_INFO_GET, PORT_HDR_GET, PORT_HDR_SET, PORT_INFO_GET, RX_ONLY, TX_ONLY, VALE_LIST, Connection,
    Port, Refused, environment, expect_line, finish, frame, mac, nmreq, run, spawn, wait_until,
    without_requests,
)


@pytest.fixture
def app(daemon, start_app):
    """app(program, argument…) starts an application that opens a port."""
    return lambda program, *args: start_app(daemon.path, program, *args)


@pytest.fixture
def nmapp(app):
    def start(*args):
        child = app(NMAPP, *args)
        line = child.stdout.readline()
        assert line == "ready\n", child.communicate()
        return child

    return start


# ------------------------------------------------------------ registration


def test_defaults(open_port, daemon):
    """A port of its own region; rings filled with as many buffers as they have slots, no two the same."""
    port = open_port("vale1:1")
    assert (port.reg["tx_rings"], port.reg["rx_rings"]) == (1, 1)
    assert (port.reg["tx_slots"], port.reg["rx_slots"]) == (1024, 1024)
    assert (port.reg["host_tx_rings"], port.reg["host_rx_rings"], port.reg["extra_bufs"]) == (0, 0, 0)
    assert port.reg["mem_id"] > 1 and port.reg["memsize"] == port.attach[0]
    tx, rx = port.tx[0], port.rx[0]
    assert (tx.slots, tx.dir, tx.head, tx.hw()) == (1024, 0, 0, (0, 1023))
    assert (rx.slots, rx.dir, rx.head, rx.hw()) == (1024, 1, 0, (0, 0))
    buffers = [ring.slot(i)[0] for ring in (tx, rx) for i in range(1024)]
    assert len(set(buffers)) == 2048 and min(buffers) == 2
    assert port.region[port.reg["offset"] : port.reg["offset"] + 16] == b"vale1:1".ljust(16, b"\0")
    _, size, fresh = port.attach[0], len(port.csb_map), daemon.status()["regions"]
    assert size == port.attach[1] and [(r["id"], r["free"]["buffer"]) for r in fresh] == [(port.reg["mem_id"], 4096)]


def test_sealed_memory(open_port):
    """Whoever has the descriptors can't pull the memory away."""
    port = open_port("vale1:1")
    for fd in port.fds[:2]:
        for size in 0, 4096, 1 << 40:
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)


def test_shape(open_port):
    port = open_port("vale1:1", tx_rings=2, rx_rings=3, tx_slots=16, rx_slots=100)
    assert [len(port.tx), len(port.rx)] == [2, 3]
    assert {r.slots for r in port.tx} == {16} and {r.slots for r in port.rx} == {100}
    assert [r.id for r in port.tx + port.rx] == [0, 1, 0, 1, 2]
    assert port.connection.info(PORT_INFO_GET, "", "=QIIHHHHH6x")[1:] == (16, 100, 2, 3, 0, 0, port.reg["mem_id"])


@pytest.mark.parametrize("rings", [1, 32])
@pytest.mark.parametrize("slots", [2, 3, 64])
def test_all_rings_carry_packets(open_port, rings, slots):
    """Ring i of the sender goes to ring i of the receiver; the smallest rings are rings."""
    a, b = (open_port(f"vale1:{n}", tx_rings=rings, rx_rings=rings, tx_slots=slots, rx_slots=slots) for n in "ab")
    for n in range(2 * slots):
        for i in range(rings):
            a.send(frame(BROADCAST, 1, b"%d %d" % (n, i)), ring=i)
            assert b.receive(1, ring=i) == [frame(BROADCAST, 1, b"%d %d" % (n, i))]


def test_modes_and_flags(open_port, daemon):
    """Each registration has the rings that it asked for, numbered as in the port."""
    base = {"tx_rings": 4, "rx_rings": 4, "tx_slots": 16, "rx_slots": 16}
    one = open_port("vale1:p", mode=ONE_NIC, ringid=2, **base)
    assert [r.id for r in one.tx] == [2] and [r.id for r in one.rx] == [2]
    tx = open_port("vale1:p", mode=ONE_NIC, ringid=1, flags=TX_ONLY)
    assert [r.id for r in tx.tx] == [1] and tx.rx == []
    rx = open_port("vale1:p", mode=ONE_NIC, ringid=1, flags=RX_ONLY)
    assert [r.id for r in rx.rx] == [1] and rx.tx == []
    assert one.reg["mem_id"] == tx.reg["mem_id"] == rx.reg["mem_id"]
    assert daemon.status()["ports"][0]["users"] == 3

    # Packets from ring 1 come in on ring 1 of all; they go to the other port only.
    other = open_port("vale1:o", mode=ALL_NIC, **base)
    tx.send(frame(BROADCAST, 1, b"out"))
    assert other.receive(1, ring=1) == [frame(BROADCAST, 1, b"out")]
    other.send(frame(BROADCAST, 2, b"in"), ring=2)
    assert one.receive(1) == [frame(BROADCAST, 2, b"in")]
    other.send(frame(BROADCAST, 2, b"nobody has this ring"), ring=3)
    assert daemon.ring("vale1:p", "rx", 3)["errors"] == {"no_receiver": 1}
    assert rx.received() == other.received() == []

    alone = open_port("vale1:x", flags=EXCLUSIVE | ACCEPT_VNET_HDR)
    assert alone.reg["flags"] == EXCLUSIVE | ACCEPT_VNET_HDR


def test_busy(open_port, daemon):
    """Rings are all in common with another user, or none; the text says what can be had. What is free can be had at once."""
    first = open_port("vale1:p", mode=ONE_NIC, ringid=0, tx_rings=2, rx_rings=2)
    for fields, text in (
        ({}, r"vale1:p: some of its rings are in use .*\(-N\).*/T, /R"),
        ({"mode": ONE_NIC, "ringid": 0, "flags": RX_ONLY}, "vale1:p: some of its rings are in use"),
        ({"flags": EXCLUSIVE}, "vale1:p: tx ring 0 is in use, and is wanted exclusively"),
        ({"mode": ONE_NIC, "ringid": 1, "mem_id": 9999}, "memory region"),
    ):
        with pytest.raises(Refused, match=text) as refused:
            open_port("vale1:p", **fields)
        assert refused.value.errno == (errno.EINVAL if "mem_id" in fields else errno.EBUSY)
    second = open_port("vale1:p", mode=ONE_NIC, ringid=1)
    first.close()
    wait_until(lambda: daemon.status()["ports"][0]["users"] == 1, "the first is gone")
    open_port("vale1:p", mode=ONE_NIC, ringid=0)
    assert second.reg["tx_rings"] == 2


def test_a_machines_memory_is_its_own(open_port, daemon):
    with Connection(daemon.path) as machine:
        machine.vm_create()
        machine.vm_add_port("vale1:vm")
        (region,) = [p["region"] for p in machine.status()["ports"]]
        with pytest.raises(Refused, match=f"vale1:1: memory region {region} belongs to a virtual machine") as refused:
            open_port("vale1:1", mem_id=region)
        assert refused.value.errno == errno.EPERM
        with pytest.raises(Refused, match="vale1:vm: tx ring 0 is in use"):
            open_port("vale1:vm")


def test_questions(open_port, daemon):
    """PORT_INFO_GET, POOLS_INFO_GET, VALE_LIST and PORT_HDR_GET, of ports in use and of none."""
    port = open_port("vale1:1", tx_slots=64, rx_slots=32)
    with Connection(daemon.path) as c:
        info = c.info(PORT_INFO_GET, "vale1:1", "=QIIHHHHH6x")
        assert info == (port.attach[0], 64, 32, 1, 1, 0, 0, port.reg["mem_id"])
        pools = c.info(POOLS_INFO_GET, "vale1:1", "=QH6xQIIQIIQII")
        size, region, if_at, if_count, if_size, ring_at, ring_count, ring_size, buf_at, buf_count, buf_size = pools
        assert (size, region) == info[0::7][:2] and buf_size == 2048 and buf_count == 2 + 96 + 4096 and ring_count >= 2
        assert if_at + if_count * if_size <= ring_at and ring_at + ring_count * ring_size <= buf_at
        assert buf_at + buf_count * buf_size <= size
        assert c.info(POOLS_INFO_GET, "", "=QH6xQIIQIIQII", struct.pack("=QH6x48x", 0, region)) == pools
        assert c.info(PORT_HDR_GET, "vale1:1", "=II") == (0, 0)
        # A port that nobody has is made for the question, and gone behind it.
        assert c.info(PORT_INFO_GET, "vale1:new", "=QIIHHHHH6x")[1:5] == (1024, 1024, 1, 1)
        assert daemon.ports() == ["vale1:1"]


def test_list(open_port, daemon):
    """Stepping through all ports of all switches ends, and names each once."""
    names = ["vale1:a", "vale1:b", "vale:c", "vale_x:d-e.f"]
    for name in names:
        open_port(name, tx_slots=4, rx_slots=4)
    with Connection(daemon.path) as c:
        found, vale, port = [], 0, 0
        while True:
            try:
                _, payload, _ = c.nmreq(nmreq(VALE_LIST, "", struct.pack("=H2xI", vale, port)))
            except Refused as e:
                assert e.errno == errno.ENOENT
                break
            found.append(NMREQ_HEADER.unpack_from(payload)[3].rstrip(b"\0").decode())
            vale, port = struct.unpack_from("=H2xI", payload, NMREQ_HEADER.size)
            at = (vale, port)
            assert c.info(VALE_LIST, found[-1], "=H2xI") == at
            port += 1
        assert sorted(found) == names
    assert sorted((s["name"], s["ports"]) for s in daemon.status()["switches"]) == [("vale", 1), ("vale1", 2), ("vale_x", 1)]


def test_header_length(open_port, daemon):
    """0, 10 and 12; a port that carries one wants to be registered by who knows; it comes off where there is none."""
    a, b = open_port("vale1:a", mode=ONE_NIC, tx_rings=2, rx_rings=2), open_port("vale1:b", tx_rings=2, rx_rings=2)
    c = a.connection
    for length in 10, 12:
        assert c.info(PORT_HDR_SET, "", "=II", struct.pack("=II", length, 0)) == (length, 0)
        assert c.info(PORT_HDR_GET, "vale1:a", "=II") == (length, 0)
        a.send(bytes(length) + frame(BROADCAST, 1, b"plain"))
        assert b.receive(1) == [frame(BROADCAST, 1, b"plain")]
        b.send(frame(BROADCAST, 2, b"back"))
        assert a.receive(1) == [bytes(length) + frame(BROADCAST, 2, b"back")]
    for length in 1, 9, 11, 13, 0xFFFFFFFF:
        with pytest.raises(Refused, match=f"header of {length} bytes refused; 0, 10 and 12") as refused:
            c.info(PORT_HDR_SET, "", "=II", struct.pack("=II", length, 0))
        assert refused.value.errno == errno.EINVAL
    with pytest.raises(Refused, match="register with NR_ACCEPT_VNET_HDR"):
        open_port("vale1:a", mode=ONE_NIC, ringid=1)
    open_port("vale1:a", mode=ONE_NIC, ringid=1, flags=ACCEPT_VNET_HDR)


# ------------------------------------------------------------ the switch


def test_learning(open_port, daemon):
    """Unknown to all, known to one, own address to nobody; who said NO_LEARN stays unknown."""
    ports = [open_port(f"vale1:{i}") for i in range(3)]
    ports[0].send(frame(2, 1, b"unknown"))
    assert [len(p.receive(1)) for p in ports[1:]] == [1, 1]
    ports[1].send(frame(1, 2, b"known"))
    assert len(ports[0].receive(1)) == 1
    ports[0].send(frame(2, 1, b"known now"))
    assert len(ports[1].receive(1)) == 1
    ports[0].send(frame(1, 1, b"to myself"))
    assert daemon.ring("vale1:0", "tx")["errors"] == {"no_receiver": 1}
    ports[2].send(frame(1, 3, b"hidden"), flags=NO_LEARN)
    ports[0].receive(1)
    ports[0].send(frame(3, 1, b"to all"))
    assert [len(p.receive(1)) for p in ports[1:]] == [1, 1]
    assert [p.received() for p in ports] == [[], [], []]
    assert daemon.status()["switches"] == [{"name": "vale1", "index": 0, "ports": 3, "macs": 2}]
    ports[1].close()  # its address goes with it
    wait_until(lambda: daemon.ports() == ["vale1:0", "vale1:2"], "it is gone")
    ports[0].send(frame(2, 1, b"gone"))
    assert len(ports[2].receive(1)) == 1


def test_switches_are_separate(open_port):
    a, b, c = open_port("vale1:x"), open_port("vale2:x"), open_port("vale1:y")
    a.send(frame(BROADCAST, 1))
    c.receive(1)
    assert b.received() == []


@pytest.mark.parametrize("lengths", [[60], [14], [2048], [2048, 2048, 900], [60] * 64, [14, 0, 46], [15, 1, 2047, 3]])
def test_lengths(open_port, lengths):
    """Every byte, and no more than were sent, in one slot or many."""
    a, b = open_port("vale1:a"), open_port("vale1:b")
    for ring in b.rx:  # what lay in the receiver's buffers must not look like the packet
        b.region[ring.buffer(2) : ring.buffer(2048)] = b"\xee" * (2046 * 2048)
    packet = frame(BROADCAST, 1, length=0)[:14] + random.Random(1).randbytes(sum(lengths) - 14)
    a.send(packet, fragments=lengths)
    assert b.receive(1) == [packet]
    slots = (len(packet) + 2047) // 2048
    flags = [b.rx[0].slot(i)[2] for i in range(slots)]
    assert flags == [slots << 8 | MOREFRAG] * (slots - 1) + [slots << 8]
    last = len(packet) - 2048 * (slots - 1)
    start = b.rx[0].buffer(b.rx[0].slot(slots - 1)[0])
    assert set(b.region[start + last : start + 2048]) <= {0xEE}


@pytest.mark.parametrize(
    "slots,cause",
    [
        ([(None, 13, 0)], "too_short"),
        ([(None, 0, 0)], "too_short"),
        ([(None, 2049, 0)], "bad_length"),
        ([(None, 65535, 0)], "bad_length"),
        ([(0, 60, 0)], "bad_buffer"),
        ([(1, 60, 0)], "bad_buffer"),
        ([(2050 + 4096, 60, 0)], "bad_buffer"),
        ([(0xFFFFFFFF, 60, BUF_CHANGED)], "bad_buffer"),
        ([(None, 60, INDIRECT)], "indirect"),
        ([(None, 60, MOREFRAG), (None, 60, INDIRECT)], "indirect"),
        ([(None, 60, MOREFRAG), (None, 2049, 0)], "bad_length"),
        ([(None, 6, MOREFRAG), (None, 7, 0)], "too_short"),
        ([(None, 60, MOREFRAG)] * 64 + [(None, 60, 0)], "too_many_fragments"),
        ([(None, 60, MOREFRAG)] * 300 + [(None, 60, 0)], "too_many_fragments"),
        ([(None, 60, MOREFRAG)] * 1022 + [(None, 60, 0)], "too_many_fragments"),
    ],
    ids=lambda v: v if isinstance(v, str) else f"{len(v)}-{v[-1]}",
)
def test_bad_packets(open_port, daemon, slots, cause):
    """Dropped with their cause; what comes before and behind arrives."""
    a, b = open_port("vale1:a"), open_port("vale1:b")
    tx, first = a.tx[0], a.buffers("tx")
    for text in b"before", b"behind":
        a.send(frame(BROADCAST, 1, text))
        if text == b"before":
            at = tx.head
            for index, length, flags in slots:
                own = tx.slot(at)[0]
                tx.set_slot(at, own if index is None else index, length, flags, 0xDEADBEEF)
                at = tx.next(at)
            tx.publish(at)
            wait_until(lambda: tx.hw()[0] == at, "the bad packet is taken")
            for i in range(len(slots)):
                tx.set_slot(tx.next(0, 1 + i), first[1 + i], 0, 0, 0)  # the buffers it had at first
    assert b.receive(2) == [frame(BROADCAST, 1, b"before"), frame(BROADCAST, 1, b"behind")]
    ring = daemon.ring("vale1:a", "tx")
    assert ring["errors"] == {cause: 1} and ring["packets"] == 3 and ring["bad_syncs"] == 0


def test_receivers_buffers(open_port, daemon):
    """A receiver that puts nonsense in its free slots loses packets; its neighbour has them all."""
    a, b, c = (open_port(f"vale1:{n}") for n in "abc")
    rx = b.rx[0]
    for i, index in ((0, 0), (1, 0xFFFFFFFF), (2, 2050)):
        rx.set_slot(i, index, 0xFFFF, 0xFFFF, 1)
    a.send(frame(BROADCAST, 1, b"one"))
    assert len(c.receive(1)) == 1 and b.received() == []
    for i in range(3):
        rx.set_slot(i, 100 + i, 0, 0, 0)
    a.send(frame(BROADCAST, 1, b"two"))
    assert len(c.receive(1)) == len(b.receive(1)) == 1
    assert daemon.ring("vale1:b", "rx")["errors"] == daemon.ring("vale1:a", "tx")["errors"] == {"bad_buffer": 1}


def test_a_packet_waits_for_its_end(open_port):
    """Fragments that are published one by one are one packet."""
    a, b = open_port("vale1:a"), open_port("vale1:b")
    packet = frame(BROADCAST, 1, bytes(range(200)), length=300)
    head = a.put(packet, fragments=[100, 100, 100])
    for i in 1, 2, 3:
        assert b.received() == []
        a.tx[0].publish(i)
        time.sleep(0.01)
    assert head == 3 and b.receive(1) == [packet]


def test_exchanged_buffers(open_port):
    """A buffer may go from one ring of a port to another: what was received is sent on without a copy."""
    a, b, c = (open_port(f"vale1:{n}") for n in "abc")
    for i in range(1500):  # once around the ring and more
        a.send(frame(b"\2\0\0\0\0\x0b", 1, b"%d" % i))
        rx, tx = b.rx[0], b.tx[0]
        wait_until(lambda: rx.space() == 1, "it has come")
        got, free = rx.slot(rx.head), tx.slot(tx.head)
        tx.set_slot(tx.head, got[0], got[1], BUF_CHANGED, 0)
        rx.set_slot(rx.head, free[0], 0, BUF_CHANGED, 0)
        start = rx.buffer(got[0])
        b.region[start : start + 12] = BROADCAST + b"\2\0\0\0\0\x0b"
        rx.publish(rx.next(rx.head))
        tx.publish(tx.next(tx.head))
        (packet,) = (c.receive(1) if i else c.receive(2)[1:])
        assert packet == frame(BROADCAST, b"\2\0\0\0\0\x0b", b"%d" % i)
        a.receive(1)


# ------------------------------------------------------------ traffic of programs


def test_every_byte(nmapp, daemon):
    """Random lengths up to 9000 bytes, in one slot and in many; nothing is lost between two applications that wait."""
    rx = nmapp("recv", "vale1:b", 60000, 7, 0)
    tx = nmapp("send", "vale1:a", 60000, 7, 1)
    finish(tx), finish(rx)
    wait_until(lambda: daemon.ports() == [], "both are gone")


def test_every_byte_to_three(nmapp):
    """Broadcast; three receivers compare."""
    rx = [nmapp("recv", f"vale1:{i}", 20000, 8, i) for i in range(3)]
    tx = nmapp("send", "vale1:a", 20000, 8, 3)
    for child in [tx, *rx]:
        finish(child)


@pytest.mark.parametrize(
    "options", [("--workers", "1"), ("--workers", "2", "--spread", "ring"), ("--poll-us", "0"), ("--poll-us", "100000")],
    ids=" ".join,
)
def test_pkt_gen_paced(start_netmapd, options):
    """However the rings are served, every numbered packet arrives, in order and intact; the receiver's ring holds all."""
    daemon = start_netmapd(*options)
    rx = spawn(PKT_GEN, "-i", "vale1:b@conf:rx-slots=16384", "-f", "rx", "--check", "-n", 16000, "-q", PATIENCE, path=daemon.path)
    wait_until(lambda: daemon.ports() == ["vale1:b"], "the receiver is there")
    tx = spawn(PKT_GEN, "-i", "vale1:a", "-f", "tx", "--check", "-n", 16000, "-R", "40k", "-l", 200, path=daemon.path)
    assert "Sent 16000 packets" in finish(tx)
    assert "Check: received 16000 lost 0 reordered 0 duplicate 0 corrupt 0" in finish(rx)


@pytest.mark.parametrize("poll_us", [0, 50])
def test_no_wakeup_is_lost(start_netmapd, poll_us):
    """20000 times both applications and the worker sleep, and are woken: one miss, and it would end in a timeout."""
    daemon = start_netmapd("--workers", "1", "--poll-us", str(poll_us))
    echo = spawn(NMAPP, "echo", "vale1:e", "20000", path=daemon.path)
    wait_until(lambda: daemon.ports() == ["vale1:e"], "echo is there")
    finish(spawn(NMAPP, "ping", "vale1:p", 20000, path=daemon.path))
    finish(echo)
    if poll_us == 0:
        assert sum(w["sleeps"] for w in daemon.status()["daemon"]["workers"]) > 2000


def test_ping_pong_with_pkt_gen(daemon):
    pong = spawn(PKT_GEN, "-i", "vale1:e", "-f", "pong", "-n", 2000, path=daemon.path)
    wait_until(lambda: daemon.ports() == ["vale1:e"], "pong is there")
    output = finish(spawn(PKT_GEN, "-i", "vale1:p", "-f", "ping", "--check", "-n", 2000, path=daemon.path))
    assert "Ping: sent 2000 answered 2000 " in output
    finish(pong)


def totals(status):
    tx = [r for p in status["ports"] for r in p["rings"] if r["dir"] == "tx"]
    rx = [r for p in status["ports"] for r in p["rings"] if r["dir"] == "rx"]
    return tx, rx


def test_conservation(app, daemon):
    """Under overload, with drops: each packet that was taken was delivered or counted as dropped, exactly."""
    # The receivers: one keeps up more or less, one is slow, one doesn't read at all.
    fast = app(PKT_GEN, "-i", "vale1:fast", "-f", "rx")
    slow = app(PKT_GEN, "-i", "vale1:slow@conf:slots=8", "-f", "rx", "-p", "1")
    wait_until(lambda: len(daemon.ports()) == 2, "receivers are there")
    with Port(daemon.path, "vale1:deaf", rx_slots=64) as deaf, Port(daemon.path, "vale1:by-hand") as hand:
        senders = [
            app(PKT_GEN, "-i", f"vale1:tx{i}", "-f", "tx", "-l", length, "-D", dst)
            for i, (length, dst) in enumerate([(60, "ff:ff:ff:ff:ff:ff"), (1514, "02:00:00:00:00:09")])
        ]
        wait_until(lambda: len(daemon.ports()) == 6, "all are there")
        tx = hand.tx[0]
        for i in range(200):  # and some that are wrong
            at = tx.head
            tx.set_slot(at, tx.slot(at)[0], 13 if i % 2 else 3000, 0, 0)
            tx.publish(tx.next(at))
            wait_until(lambda: tx.hw()[0] == tx.head, "it is taken")
        deaf.received()
        time.sleep(1.5)
        for child in senders:
            child.send_signal(signal.SIGSTOP)  # their ports must not go: the counts would go with them

        def at_rest():
            before, _ = totals(daemon.status())
            time.sleep(0.5)  # also when a worker gets no CPU for a while
            after, _ = totals(daemon.status())
            return after if [r["packets"] for r in before] == [r["packets"] for r in after] else None

        wait_until(at_rest, "nothing moves")
        status = daemon.status()
        tx, rx = totals(status)
        copies = sum(r["copies"] for r in tx)
        delivered = sum(r["packets"] for r in rx)
        dropped = sum(sum(r["errors"].values()) for r in rx)
        assert copies == delivered + dropped
        # The other way round: each drop is told at both ends, but for those that never had a receiver.
        no_copy = {"bad_length", "too_short"}
        tx_drops = {}
        for r in tx:
            for cause, n in r["errors"].items():
                tx_drops[cause] = tx_drops.get(cause, 0) + n
        assert sum(n for cause, n in tx_drops.items() if cause not in no_copy) == dropped > 1000
        assert {cause: tx_drops[cause] for cause in no_copy} == dict.fromkeys(no_copy, 100)
        # Every packet went to all others, five as soon as all were there.
        taken = sum(r["packets"] for r in tx) - 200
        assert 2 * taken < copies <= 5 * taken
        names = {p["name"]: p for p in status["ports"]}
        assert [r["packets"] for r in names["vale1:deaf"]["rings"] if r["dir"] == "rx"][0] <= 2 * 63
        # And what the applications count is what was delivered and taken; they read no more when they are told to end.
        for name in ("fast", "slow"):
            wait_until(lambda n=name: daemon.ring(f"vale1:{n}", "rx")["fill"] == 0, "all is read")
        for child in (fast, slow):
            child.send_signal(signal.SIGINT)
        for child, name in ((fast, "fast"), (slow, "slow")):
            got = int(finish(child).split("Received ")[1].split()[0])
            assert got == next(r["packets"] for r in names[f"vale1:{name}"]["rings"] if r["dir"] == "rx")
        wait_until(lambda: len(daemon.ports()) == 4, "the receivers are gone")
        for child in senders:
            child.send_signal(signal.SIGINT)
            child.send_signal(signal.SIGCONT)
        for i, child in enumerate(senders):
            assert int(finish(child).split("Sent ")[1].split()[0]) > 1000


# ------------------------------------------------------------ applications that die


@pytest.mark.parametrize("victim", ["tx", "rx"])
def test_killed(app, daemon, checked_traffic, victim):
    """SIGKILL in full traffic, again and again: the other side goes on, the port is free at once, nothing is lost elsewhere."""
    other = checked_traffic("vale2")  # the same workers; on vale1 it would have all packets of the others as well
    survivor = app(PKT_GEN, "-i", "vale1:survivor", "-f", "rx" if victim == "tx" else "tx")
    wait_until(lambda: "vale1:survivor" in daemon.ports(), "the survivor is there")
    daemon.status()
    before = daemon.descriptors()
    for _ in range(10):
        child = app(PKT_GEN, "-i", "vale1:victim", "-f", victim)
        direction = "rx" if victim == "tx" else "tx"
        wait_until(lambda: "vale1:victim" in daemon.ports(), "the victim is there")
        count = daemon.ring("vale1:victim", victim)["packets"]
        wait_until(lambda: daemon.ring("vale1:victim", victim)["packets"] > count + 100, "it is at work")
        child.kill()
        child.wait()
        wait_until(lambda: "vale1:victim" not in daemon.ports(), "its port is gone")
        wait_until(lambda: len(daemon.descriptors()) <= len(before), "its descriptors are closed")
        count = daemon.ring("vale1:survivor", direction)["packets"]
    assert survivor.poll() is None
    if victim == "rx":
        wait_until(lambda: daemon.ring("vale1:survivor", "tx")["packets"] > count, "the survivor goes on")
    survivor.send_signal(signal.SIGINT)
    finish(survivor)
    assert other.finish() > 100


def test_a_port_is_free_at_once(app, daemon):
    """For whoever comes behind the end of its user: that is dealt with before the next request."""
    for _ in range(100):
        Port(daemon.path, "vale1:1").close()
    for _ in range(5):
        child = app(PKT_GEN, "-i", "vale1:1", "-f", "tx")
        wait_until(lambda: daemon.ports() == ["vale1:1"], "it is there")
        child.kill()
        child.wait()
        Port(daemon.path, "vale1:1").close()


def test_left_behind(open_port, daemon):
    """Half a packet, unread packets and any indices of a former user are not the next one's."""
    other = open_port("vale1:o", tx_rings=2, rx_rings=1)
    keeps = open_port("vale1:p", mode=ONE_NIC, ringid=0, tx_rings=2, rx_rings=2)
    first = open_port("vale1:p", mode=ONE_NIC, ringid=1)
    other.send(frame(BROADCAST, 1, b"unread"), ring=1)
    wait_until(lambda: first.rx[0].space() == 1, "it has come")
    first.tx[0].publish((first.put(frame(BROADCAST, 2, b"half a packet", length=120), fragments=[60, 60]) - 1))
    first.close()
    wait_until(lambda: [p["users"] for p in daemon.status()["ports"] if p["name"] == "vale1:p"] == [1], "it is gone")
    other.send(frame(BROADCAST, 1, b"for nobody"), ring=1)
    second = open_port("vale1:p", mode=ONE_NIC, ringid=1)
    assert (second.tx[0].head, second.tx[0].hw(), second.rx[0].hw()) == (0, (0, 1023), (0, 0))
    second.send(frame(BROADCAST, 3, b"whole"))
    assert other.receive(1) == [frame(BROADCAST, 3, b"whole")]
    assert second.received() == keeps.received() == []


# ------------------------------------------------------------ applications that lie

BAD_MOVES = [
    # direction; head and cur, from the ring's head and number of slots. All slots of the tx ring are free then, so
    # that it has no position which is too far; the rx ring is empty, so that each but one is.
    ("tx", lambda head, n: (n, n)),
    ("tx", lambda head, n: (0xFFFFFFFF, 0xFFFFFFFF)),
    ("tx", lambda head, n: (head, 0xFFFFFFFF)),
    ("tx", lambda head, n: (head, n)),
    ("tx", lambda head, n: (0x80000000, head)),
    ("tx", lambda head, n: ((head + 2) % n, (head + 1) % n)),
    ("tx", lambda head, n: ((head + 1) % n, head)),
    ("rx", lambda head, n: ((head + 1) % n, (head + 1) % n)),
    ("rx", lambda head, n: ((head - 1) % n, (head - 1) % n)),
    ("rx", lambda head, n: (0x80000000, 0x80000000)),
    ("rx", lambda head, n: (head, (head + 1) % n)),
    ("rx", lambda head, n: ((head + 1) % n, head)),
]


@pytest.mark.parametrize("direction,move", BAD_MOVES, ids=range(len(BAD_MOVES)))
def test_illegal_indices(open_port, daemon, direction, move):
    """That ring stops, once and for all; it is counted and told; its other ring and all others go on."""
    bad, other, third = open_port("vale1:bad"), open_port("vale1:o"), open_port("vale1:t")
    bad.send(*[frame(BROADCAST, 1, b"%d" % i) for i in range(5)])
    other.send(*[frame(BROADCAST, 2, b"%d" % i) for i in range(5)])
    assert len(other.receive(5)) == len(bad.receive(5)) == 5 and len(third.receive(10)) == 10
    ring = (bad.tx if direction == "tx" else bad.rx)[0]
    head, tail = ring.head, ring.hw()[1]
    ring.publish(*move(head, ring.slots))
    wait_until(lambda: daemon.ring("vale1:bad", direction)["bad_syncs"] == 1, "it is counted")
    daemon.logged(f"vale1:bad: {direction} ring 0 stopped")

    # It stays stopped, whatever comes then; the attempts are not even counted.
    for again in (head, (head + 1) % ring.slots, 0, 0xFFFFFFFF):
        ring.publish(again)
    if direction == "tx":
        other.send(frame(BROADCAST, 2, b"alive"))
        assert bad.receive(1) == third.receive(1) == [frame(BROADCAST, 2, b"alive")]
        assert other.received() == []
    else:
        bad.send(frame(BROADCAST, 1, b"alive"))
        assert other.receive(1) == third.receive(1) == [frame(BROADCAST, 1, b"alive")]
        other.send(*[frame(BROADCAST, 2)] * 1100)  # more than its ring holds; nobody waits for it
        assert daemon.ring("vale1:bad", "rx")["errors"]["receiver_full"] >= 70
        arrived = []
        wait_until(lambda: arrived.extend(third.received()) or len(arrived) > 1000, "the third has them")
    assert daemon.ring("vale1:bad", direction)["bad_syncs"] == 1
    assert ring.hw()[1] == tail
    assert daemon.log().count("stopped (") == 1
    bad.close()
    wait_until(lambda: "vale1:bad" not in daemon.ports(), "it is gone")
    again = open_port("vale1:bad")
    again.send(frame(BROADCAST, 1, b"new"))
    wait_until(lambda: frame(BROADCAST, 1, b"new") in third.received(), "it works again")


def test_shared_memory_is_not_believed(open_port, daemon):
    """Everything that netmapd wrote into region and CSB, geometry included, can be overwritten while it serves."""
    bad, other, third = open_port("vale1:bad"), open_port("vale1:o"), open_port("vale1:t")
    noise = random.Random(5)
    buffers = bad.tx[0].buffer(2)
    stop = threading.Event()

    def scribble():
        while not stop.is_set():
            n = noise.choice([1, 4, 64, 4096])
            at = noise.randrange(buffers - n)
            bad.region[at : at + n] = noise.randbytes(n)
            at = bad.ktoa_offset // 4 + noise.randrange(32)
            bad.csb[at] = noise.getrandbits(32)  # what only netmapd writes

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for i in range(300):
            bad.tx[0].publish((i + 1) % 1024)
            other.send(frame(BROADCAST, 2, b"%d" % i))
            wait_until(lambda: frame(BROADCAST, 2, b"%d" % i) in third.received(), "others' packets arrive")
            other.received()
    finally:
        stop.set()
        thread.join()
    assert daemon.ring("vale1:bad", "tx")["bad_syncs"] == 0  # its moves were legal
    bad.close()
    wait_until(lambda: "vale1:bad" not in daemon.ports(), "it is gone")
    third.received(), other.received()
    other.send(frame(BROADCAST, 2, b"end"))
    assert third.receive(1) == [frame(BROADCAST, 2, b"end")]


def test_random_slots(app, nmapp, daemon, checked_traffic):
    """Second threads write slots of rings that are served: no crash, and who has to do with it can go on.

    The checked packets are on another switch, but with the same workers: on theirs, the scribblers send all sorts
    of packets, also such that they have received.
    """
    traffic = checked_traffic("vale2", rate=2000)
    bystanders = [app(PKT_GEN, "-i", f"vale1:{f}", "-f", f, "-R", "20k") for f in ("rx", "tx")]
    scribblers = [nmapp("scribble", f"vale1:s{i}", 3000, i) for i in range(2)]
    for child in scribblers:
        finish(child)
    for child in bystanders:
        child.send_signal(signal.SIGINT)
        finish(child)
    # Pieces of packets, and packets of many slots, were among them.
    traffic.finish()


def test_random_moves(open_port, daemon, checked_traffic):
    """Whatever indices come: a legal move is done, the first illegal one is the last."""
    traffic = checked_traffic("vale1", rate=2000)
    choose = random.Random(11)
    for round_ in range(60):
        with Port(daemon.path, "vale1:moves", tx_slots=16, rx_slots=16) as port:
            legal = True
            for _ in range(20):
                ring = choose.choice(port.tx + port.rx)
                space = ring.space()
                if choose.random() < 0.8:
                    ring.publish(ring.next(ring.head, choose.randrange(space + 1)))
                else:
                    head = choose.choice([choose.randrange(20), choose.getrandbits(32)])
                    ring.publish(head, choose.randrange(20))
                    legal = False
                    break
            assert daemon.process.poll() is None
            assert legal is False or daemon.ring("vale1:moves", "tx")["bad_syncs"] == 0
        wait_until(lambda: "vale1:moves" not in daemon.ports(), "it is gone")
    traffic.finish()


def test_kicks_without_end(open_port, daemon):
    """An eventfd that is written all the time wakes its own worker; its port and others work."""
    a, b = open_port("vale1:a"), open_port("vale1:b")
    stop = threading.Event()

    def kick():
        while not stop.is_set():
            for ring in a.tx + a.rx:
                ring.kick()

    thread = threading.Thread(target=kick)
    thread.start()
    try:
        for i in range(50):
            b.send(frame(BROADCAST, 2, b"%d" % i))
            assert a.receive(1) == [frame(BROADCAST, 2, b"%d" % i)]
    finally:
        stop.set()
        thread.join()


# ------------------------------------------------------------ interrupts


def test_interrupts_are_asked_for(open_port):
    """None comes unasked, one comes when asked, for new packets and for new room."""
    a, b = open_port("vale1:a"), open_port("vale1:b")
    a.send(frame(BROADCAST, 1))
    b.receive(1)
    assert not b.interrupted("rx", 0.1) and not a.interrupted("tx", 0)
    b.rx[0].want_interrupt(1)
    a.send(frame(BROADCAST, 1))
    assert b.interrupted("rx")
    b.receive(1)
    a.tx[0].want_interrupt(1)
    a.send(frame(BROADCAST, 1))
    assert a.interrupted("tx")


@pytest.mark.parametrize("requests", [True, False], ids=["requests", "no_requests"])
def test_a_full_interrupt_does_not_block(start_netmapd, requests):
    """O_NONBLOCK of an eventfd is shared by all who have it: an application that fills the counter and clears the flag
    does not stop the worker that signals it, nor anybody whom that serves; also when the kernel has no asynchronous
    requests for netmapd."""
    daemon = start_netmapd("--workers", "1", preexec_fn=None if requests else without_requests)
    if requests and not daemon.status()["daemon"]["notifier"]["asynchronous"]:
        pytest.skip("the kernel has no asynchronous requests for us: see netmapd/notify.h")
    assert daemon.status()["daemon"]["notifier"]["asynchronous"] == requests
    with Port(daemon.path, "vale1:bad") as bad, Port(daemon.path, "vale1:a") as a, Port(daemon.path, "vale1:b") as b:
        for fd in bad.irq.values():
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
            os.write(fd, struct.pack("=Q", (1 << 64) - 2))
        for i in range(1000):  # more than there are asynchronous requests
            bad.rx[0].want_interrupt(1)
            bad.tx[0].want_interrupt(1)
            a.send(frame(BROADCAST, 1, b"%d" % i))
            assert b.receive(1) == [frame(BROADCAST, 1, b"%d" % i)]
            bad.received()
            bad.send(frame(BROADCAST, 9))
            assert [len(p.receive(1)) for p in (a, b)] == [1, 1]
        assert daemon.ports() == ["vale1:a", "vale1:b", "vale1:bad"]
        assert struct.unpack("=Q", os.read(bad.irq["rx"], 8))[0] >= (1 << 64) - 2
        bad.rx[0].want_interrupt(1)  # and it can come to its senses
        a.send(frame(BROADCAST, 1))
        assert bad.interrupted("rx")


def test_an_expensive_interrupt_is_nobody_elses(start_netmapd):
    """An application has its eventfd in so many epoll instances that a signal takes milliseconds: its signals become the
    notifier's. The worker serves the others as before."""
    daemon = start_netmapd("--workers", "1")
    crowd = []
    with Port(daemon.path, "vale1:bad") as bad, Port(daemon.path, "vale1:a") as a, Port(daemon.path, "vale1:b") as b:
        dups = [os.dup(bad.irq["rx"]) for _ in range(150)]
        for _ in range(150):
            crowd.append(select.epoll())
            for fd in dups:
                crowd[-1].register(fd, select.EPOLLIN)

        def exchange():
            bad.rx[0].want_interrupt(1)
            b.rx[0].want_interrupt(1)
            a.send(frame(BROADCAST, 1))
            assert b.interrupted("rx") and len(b.receive(1)) == 1
            bad.received()

        def interrupts(name, kind):
            return next(x[kind] for x in daemon.status()["applications"] if x["name"] == name)

        def is_notified():
            exchange()
            notifier = daemon.status()["daemon"]["notifier"]
            return notifier["moved"] >= 1 and notifier["signals"] >= 1

        for _ in range(50):
            exchange()
        wait_until(is_notified, "the notifier has signalled")       # it has the time that it takes
        assert interrupts("vale1:bad", "slow_interrupts") > 0
        before = interrupts("vale1:bad", "interrupts"), interrupts("vale1:b", "interrupts")
        for _ in range(50):
            exchange()
        assert interrupts("vale1:b", "interrupts") >= before[1] + 50
        wait_until(lambda: interrupts("vale1:bad", "interrupts") > before[0], "it still gets interrupts")
        for fd in dups:
            os.close(fd)
        for e in crowd:
            e.close()
        while bad.interrupted("rx", 0):
            pass
        bad.rx[0].want_interrupt(1)
        a.send(frame(BROADCAST, 1))
        assert bad.interrupted("rx")


# ------------------------------------------------------------ wrong arguments of pkt-gen

PKT_GEN_WRONG = [
    # arguments, a part of the text
    ([], "-i PORT"),
    (["vale1:1"], "vale1:1"),
    (["-i"], "-i"),
    (["-i", ""], "empty"),
    (["-i", "vale1:"], "valeID:PORT"),
    (["-i", "vale1"], "valeID:PORT"),
    (["-i", "vale1:a b"], ""),
    (["-i", "vale1:a\nb"], ""),
    (["-i", "vale1:1", "-f", "x\n\x1b[2J"], "x??[2J"),
    (["-i", "vale1:1/y"], "'y'"),
    (["-i", "vale1:1@conf:shots=2"], "shots"),
    (["-i", "vale1:1@conf:slots=4294967296"], "4294967296"),
    (["-i", "vale1:" + "x" * 400], "406 bytes"),
    (["-i", "vale1:" + "x" * 1000], "longer than"),
    (["-i", "vale1:1", "-f", "forward"], "forward"),
    (["-i", "vale1:1", "-n", "-1"], "-n"),
    (["-i", "vale1:1", "-n", "many"], "many"),
    (["-i", "vale1:1", "-l", "59"], "59"),
    (["-i", "vale1:1", "-l", "70000"], "70000"),
    (["-i", "vale1:1", "-f", "tx", "-l", "2049"], "at most 2048 bytes"),
    (["-i", "vale1:1", "-b", "0"], "-b"),
    (["-i", "vale1:1", "-R", "fast"], "fast"),
    (["-i", "vale1:1", "-D", "1:2:3"], "1:2:3"),
    (["-i", "vale1:1", "-d", "10.0.0.256"], "10.0.0.256"),
    (["-i", "vale1:1", "-s", "10.0.0.9-10.0.0.1"], "below"),
    (["-i", "vale1:1", "-T", "0"], "-T"),
    (["-i", "vale1:1", "-w", "-1"], "-w"),
    (["-i", "vale1:1", "-p", "0"], "-p"),
    (["-i", "vale1:1", "-p", "2", "-f", "tx"], "-p 2"),
    (["-i", "vale1:1-0", "-p", "2", "-f", "tx"], "-p 2"),
    (["-i", "vale1:1", "-p", "2", "-f", "ping"], "one thread"),
    (["-i", "vale1:1/R", "-f", "tx"], "no tx rings"),
    (["-i", "vale1:1/T", "-f", "rx"], "no rx rings"),
    (["-i", "vale1:1", "-a", "x"], "-a"),
    (["-i", "vale1:1", "--timeout"], "--timeout"),
    (["-i", "vale1:1", "--frobnicate"], "--frobnicate"),
    (["-i", "vale1:1", "-Y"], "-Y"),
]


def test_pkt_gen_wrong_arguments(daemon):
    """Each gives one line and exit status 2, and leaves no port behind."""
    env = environment(daemon.path)
    for args, text in PKT_GEN_WRONG:
        expect_line(run(PKT_GEN, *args, env=env), 2, "pkt-gen", text)
    assert daemon.ports() == []


def test_pkt_gen_failures(daemon):
    """What is not the arguments' fault is exit status 1, and one line as well."""
    env = environment(daemon.path)
    with Port(daemon.path, "vale1:1", flags=EXCLUSIVE):
        expect_line(run(PKT_GEN, "-i", "vale1:1", env=env), 1, "pkt-gen", "vale1:1: tx ring 0 is in use")
    expect_line(run(PKT_GEN, "-i", "nosuchport", env=env), 1, "pkt-gen", "nosuchport")
    expect_line(run(PKT_GEN, "-i", "vale1:1", env=environment(daemon.place / "none")), 1, "pkt-gen", "netmapd is not running")
    expect_line(run(PKT_GEN, "-i", "vale1:1@conf:slots=1", env=env), 1, "pkt-gen", "2 to 16384")
    assert mac(3)[5] == 3
