# SPDX-License-Identifier: BSD-2-Clause
"""Every kind of port for applications of netmapd: pipes, monitors, null ports; extra buffers, memory ids, external memory."""

import errno
import fcntl
import os
import re
import struct
import time

import pytest

from ptnet_real import (
    BROADCAST, BUILD, MONITOR_RX, MONITOR_TX, NMAPP, NULL_REG, ONE_NIC, PIPE_MASTER, POOLS_INFO_GET, PORT_INFO_GET, ZCOPY_MON,
    Connection, Port, Refused, extmem_option, frame, mac, nmreq, run, spawn, wait_until,
)

SMALL = {"tx_slots": 16, "rx_slots": 16}


def numbered(n, length=60):
    return frame(BROADCAST, 1, b"%08d" % n, length)


def nothing_left(daemon):
    def gone():
        s = daemon.status()
        return (s["ports"], s["switches"], s["regions"], s["applications"]) == ([], [], [], [])

    wait_until(gone, "everything is gone")


def port_of(daemon, kind):
    return [p for p in daemon.status()["ports"] if p["kind"] == kind]


# ------------------------------------------------------------ pipes


@pytest.mark.parametrize("base", ["vale1:p", "any"])
def test_pipe_is_zero_copy(open_port, daemon, base):
    """Buffers change sides instead of bytes; both ends lie in the shared region."""
    a, b = open_port(base + "{1", **SMALL), open_port(base + "}1")
    assert a.reg["mem_id"] == b.reg["mem_id"] == 1
    assert {r.slots for r in b.tx + b.rx} == {16}
    sent_in = a.tx[0].slot(a.tx[0].head)[0]
    a.send(numbered(1))
    wait_until(lambda: b.rx[0].space(), "the packet is there")
    assert b.rx[0].slot(b.rx[0].head)[0] == sent_in
    assert b.receive(1) == [numbered(1)]
    b.send(numbered(2), numbered(3))
    assert a.receive(2) == [numbered(2), numbered(3)]
    kinds = {p["name"]: p["kind"] for p in daemon.status()["ports"]}
    assert kinds[base + "{1"] == kinds[base + "}1"] == "pipe"
    for port in a, b:
        port.close()
    nothing_left(daemon)


def test_pipe_blocks_and_loses_nothing(open_port, daemon):
    """A sender whose peer does not read waits; what it has given is delivered, in order, as soon as there is room."""
    a, b = open_port("vale1:p{x", **SMALL), open_port("vale1:p}x")
    sent = received = 0
    tx = a.tx[0]
    for _ in range(40):
        while tx.space():
            tx.publish(a.put(numbered(sent)))
            sent += 1
            time.sleep(0.001)
        assert sent - received <= 30  # two rings with one slot unused
        wait_until(lambda: b.rx[0].space(), "there is a packet")
        for packet in b.received():
            assert packet == numbered(received)
            received += 1
        wait_until(lambda: tx.space(), "there is room again")
    while received < sent:
        for packet in b.received():
            assert packet == numbered(received)
            received += 1
    wait_until(lambda: tx.hw()[0] == tx.head, "all is taken")
    assert daemon.ring("vale1:p{x", "tx")["packets"] == daemon.ring("vale1:p}x", "rx")["packets"] == sent
    assert daemon.ring("vale1:p{x", "tx")["errors"] == daemon.ring("vale1:p}x", "rx")["errors"] == {}


def test_pipe_wakes_both_sides(open_port):
    """Room in a full pipe, and packets in an empty one, are notified to whoever has asked for it."""
    a, b = open_port("vale1:p{w", **SMALL), open_port("vale1:p}w")
    b.rx[0].want_interrupt(1)
    time.sleep(0.05)  # all workers asleep
    a.send(numbered(0))
    assert b.interrupted("rx")
    for _ in range(14):  # a ring with one slot unused; the first packet is there
        wait_until(a.tx[0].space, "there is room")
        a.tx[0].publish(a.put(numbered(1)))
    wait_until(lambda: b.rx[0].space() == 15, "the ring is full")
    a.tx[0].want_interrupt(1)
    time.sleep(0.05)
    assert not a.interrupted("tx", 0)
    b.received()
    assert a.interrupted("tx")


def test_packets_wait_for_the_peer(open_port):
    a = open_port("vale1:p{2", **SMALL)
    a.send(*(numbered(n) for n in range(10)))
    b = open_port("vale1:p}2")
    assert b.receive(10) == [numbered(n) for n in range(10)]


def test_pipe_by_mode(open_port):
    """The older spelling: the parent's name, the mode, and a number."""
    a, b = open_port("vale1:p", mode=PIPE_MASTER, ringid=5, **SMALL), open_port("vale1:p}5")
    a.send(numbered(1))
    assert b.receive(1) == [numbered(1)]


def test_fragments_arrive_whole(open_port):
    a, b = open_port("vale1:p{f", **SMALL), open_port("vale1:p}f")
    big = numbered(7, 5000)
    at = a.put(big, fragments=[2000, 2000, 1000])
    tx = a.tx[0]
    tx.publish(tx.next(tx.head, 2))  # an unfinished packet is not shown
    time.sleep(0.05)
    assert b.rx[0].space() == 0
    tx.publish(at)
    assert b.receive(1) == [big]


def test_a_pipe_that_does_not_fit_beside_its_port(start_netmapd):
    """It lies in the shared region then, and the log says so."""
    daemon = start_netmapd("--spare-buffers", "64")
    with Port(daemon.path, "vale1:p") as p, Port(daemon.path, "vale1:p{1", **SMALL) as near, Port(daemon.path, "vale1:p}2") as far:
        assert p.reg["mem_id"] == near.reg["mem_id"] != 1 == far.reg["mem_id"]
        daemon.logged(f"vale1:p}}2: lies in region 1, not in region {p.reg['mem_id']} as its port: 4 rings, 4096 buffers wanted")
        assert "vale1:p{1: lies" not in daemon.log()


def test_many_pipes_of_one_parent(open_port, daemon):
    """64 and more at a time, with rings of the usual size."""
    pipes = [(open_port(f"vale1:p{{{i}"), open_port(f"vale1:p}}{i}")) for i in range(70)]
    for i, (a, b) in enumerate(pipes):
        a.send(numbered(i))
        b.send(numbered(1000 + i))
    for i, (a, b) in enumerate(pipes):
        assert b.receive(1) == [numbered(i)] and a.receive(1) == [numbered(1000 + i)]
    for ends in pipes:
        for port in ends:
            port.close()
    nothing_left(daemon)


def test_the_shared_region_is_what_options_say(start_netmapd):
    daemon = start_netmapd("--shared-buffers", "100", "--shared-rings", "8", "--shared-ifs", "4")
    with Port(daemon.path, "vale1:p{1", **SMALL), Port(daemon.path, "vale1:p}1"):
        (region,) = [r for r in daemon.status()["regions"] if r["id"] == 1]
        assert region["free"]["ring"] == 4 and region["free"]["netmap_if"] == 2
        with pytest.raises(Refused, match="buffer pool of region 1 is too small: 64 wanted, 3[0-9] of 100 free; "
                           ".* more with netmapd --shared-buffers$"):
            Port(daemon.path, "vale1:p{2", **SMALL)


def test_killed_ends_of_a_pipe(daemon):
    """Whoever dies, the other end goes on; a new one takes the place; nothing stays."""
    for _ in range(3):
        with Port(daemon.path, "vale1:k{1", **SMALL) as a:
            child = spawn(NMAPP, "scribble", "vale1:k}1", 10000, 1, path=daemon.path)
            assert child.stdout.readline() == "ready\n", child.communicate()
            for _ in range(50):
                if a.tx[0].space():
                    a.tx[0].publish(a.put(numbered(1)))
                a.received()
            child.kill()
            child.communicate()
            wait_until(lambda: [x["name"] for x in daemon.status()["applications"]] == ["vale1:k{1"], "it is gone")
            with Port(daemon.path, "vale1:k}1") as b:
                b.received()
                a.received()
                wait_until(lambda: a.tx[0].space() == 15 and not b.received(), "what was under way is through")
                a.send(numbered(5))
                assert b.receive(1) == [numbered(5)]
        nothing_left(daemon)


# ------------------------------------------------------------ monitors


@pytest.mark.parametrize("zero_copy", [0, ZCOPY_MON])
@pytest.mark.parametrize("base", ["vale1:m", "vale1:m{1"])
def test_monitor(open_port, daemon, base, zero_copy):
    """What a port sends and receives, in the order in which it did; the port doesn't notice."""
    peer = "vale1:peer" if base == "vale1:m" else "vale1:m}1"
    a, b = open_port(base, **SMALL), open_port(peer)
    both = open_port(base, flags=MONITOR_TX | MONITOR_RX | zero_copy)
    if zero_copy:
        with pytest.raises(Refused, match="zero-copy") as refused:
            open_port(base, flags=MONITOR_TX | zero_copy)
        assert refused.value.errno == errno.EBUSY
        assert both.reg["mem_id"] == a.reg["mem_id"]
    else:
        tx = open_port(base, flags=MONITOR_TX)
    for n in range(5):
        a.send(frame(2, 1, b"out%d" % n))
        b.send(frame(1, 2, b"in%d" % n))
        assert b.receive(1) == [frame(2, 1, b"out%d" % n)]
        assert a.receive(1) == [frame(1, 2, b"in%d" % n)]
        if zero_copy:
            a.rx[0].publish(a.rx[0].head)
    want_out = [frame(2, 1, b"out%d" % n) for n in range(5)]
    want_in = [frame(1, 2, b"in%d" % n) for n in range(5)]
    if not zero_copy:
        assert tx.receive(5) == want_out
    seen = both.receive(10)
    assert [p for p in seen if b"out" in p] == want_out and [p for p in seen if b"in" in p] == want_in


def test_a_monitor_never_holds_up_its_port(open_port, daemon):
    """One that does not read misses packets, and they are counted, at its ring."""
    a, b = open_port("vale1:m", **SMALL), open_port("vale1:peer")
    m = open_port("vale1:m", flags=MONITOR_TX, rx_slots=8)
    for n in range(100):
        a.send(numbered(n))
        assert b.receive(1) == [numbered(n)]
    (monitor,) = port_of(daemon, "monitor")
    (ring,) = [r for r in monitor["rings"] if r["dir"] == "rx"]
    assert ring["packets"] + ring["errors"]["missed"] == 100
    assert len(m.received()) == ring["packets"] > 0
    listing = run(BUILD / "tools/netmapctl", "--socket", daemon.path, "status", "-v").stdout
    assert f"missed {ring['errors']['missed']}" in listing


def test_a_monitor_only_receives(open_port, daemon):
    open_port("vale1:m", **SMALL)
    other = open_port("vale1:peer")
    m = open_port("vale1:m", flags=MONITOR_RX)
    m.send(numbered(1), numbered(2))
    (monitor,) = port_of(daemon, "monitor")
    (ring,) = [r for r in monitor["rings"] if r["dir"] == "tx"]
    assert ring["errors"] == {"receives_only": 2}
    assert other.received() == []


def test_a_monitor_outlives_its_port(open_port, daemon):
    """No more packets, no error; and nothing is left when it ends as well."""
    a = open_port("vale1:m", **SMALL)
    m = open_port("vale1:m", flags=MONITOR_TX | MONITOR_RX)
    a.close()
    wait_until(lambda: len(daemon.status()["applications"]) == 1, "the port's user is gone")
    assert m.received() == []
    m.close()
    nothing_left(daemon)


def test_killed_monitors(daemon):
    with Port(daemon.path, "vale1:m", **SMALL) as a, Port(daemon.path, "vale1:peer", **SMALL) as b:
        for flags in "tr", "z":
            child = spawn(NMAPP, "scribble", f"vale1:m/{flags}", 10000, 1, path=daemon.path)
            assert child.stdout.readline() == "ready\n", child.communicate()
            for n in range(50):
                a.send(numbered(n))
                assert b.receive(1) == [numbered(n)]
            child.kill()
            child.communicate()
            wait_until(lambda: port_of(daemon, "monitor") == [], "the monitor is gone")
        a.send(numbered(1))
        assert b.receive(1) == [numbered(1)]


# ------------------------------------------------------------ memory


def test_null_port(open_port, daemon):
    """Rings and buffers as asked for, no traffic."""
    n = open_port("nothing", mode=NULL_REG, tx_rings=2, rx_rings=1, tx_slots=8, rx_slots=4, extra_bufs=3)
    assert [len(n.tx), len(n.rx)] == [2, 1]
    assert len(set(n.extra_buffers())) == 3
    (port,) = port_of(daemon, "null")
    assert port["users"] == 1


@pytest.mark.parametrize("name", ["a\nnetmapd: forged", "\x1b[2J", "\udcff\udcfe", "a b", "a/b", "\x7f", "\xe4"], ids=repr)
def test_names_of_null_ports(daemon, name):
    """As all names; and status is JSON that has a name for each port."""
    with pytest.raises(Refused) as refused:
        Port(daemon.path, name.encode("utf-8", "surrogateescape"), mode=NULL_REG, tx_rings=1, rx_rings=1)
    assert refused.value.errno == errno.EINVAL and "a port name is printable" in refused.value.text
    assert refused.value.text.isprintable()
    assert daemon.status()["ports"] == []


def test_extra_buffers(open_port, daemon):
    """As many as asked for, none of them in a ring or twice; they come back at the end."""
    p = open_port("vale1:p{1", extra_bufs=500, **SMALL)
    extra = p.extra_buffers()
    assert p.reg["extra_bufs"] == len(extra) == len(set(extra)) == 500
    assert not set(extra) & set(p.buffers("tx") + p.buffers("rx"))
    peer = open_port("vale1:p}1")
    before = [r["free"]["buffer"] for r in daemon.status()["regions"] if r["id"] == 1]
    # One goes over the pipe in exchange for a slot's own.
    tx = p.tx[0]
    index = extra[0]
    own = tx.slot(tx.head)[0]
    at = tx.buffer(index)
    p.region[at : at + 60] = numbered(1)
    tx.set_slot(tx.head, index, 60, 1, 0)
    tx.publish(tx.next(tx.head))
    assert peer.receive(1) == [numbered(1)]
    p.region[p.reg["offset"] + 32 : p.reg["offset"] + 36] = struct.pack("=I", own)
    p.region[tx.buffer(own) : tx.buffer(own) + 4] = struct.pack("=I", extra[1])
    p.close()
    peer_buffers = peer.buffers("tx") + peer.buffers("rx")
    assert len(set(peer_buffers)) == len(peer_buffers)
    wait_until(
        lambda: [r["free"]["buffer"] for r in daemon.status()["regions"] if r["id"] == 1] == [before[0] + 500], "500 are back"
    )


def test_memory_ids(open_port, daemon):
    """A region by its number is made on demand, shared by those who name it, and goes with the last."""
    a, b = open_port("vale1:a", mem_id=7, **SMALL), open_port("vale2:b", mem_id=7, **SMALL)
    c = open_port("vale1:c", **SMALL)
    assert a.reg["mem_id"] == b.reg["mem_id"] == 7 != c.reg["mem_id"]
    assert not set(a.buffers("tx") + a.buffers("rx")) & set(b.buffers("tx") + b.buffers("rx"))
    a.send(frame(BROADCAST, 1, b"x"))
    assert c.receive(1) == [frame(BROADCAST, 1, b"x")]
    with pytest.raises(Refused, match="region 7"):
        open_port("vale1:a", mode=ONE_NIC, mem_id=8)
    for port in a, b, c:
        port.close()
    nothing_left(daemon)


def memfd(size, seals=fcntl.F_SEAL_SHRINK):
    fd = os.memfd_create("extmem", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


@pytest.mark.parametrize("asked", [4 << 20, (4 << 20) - 1000])
def test_external_memory(daemon, open_port, asked):
    """The region lies in the application's file: packets are found there."""
    size = 4 << 20
    fd = memfd(size)
    port = Port(daemon.path, "vale1:e", options=extmem_option(asked, ifs=4, rings=8), send=[fd], **SMALL)
    other = open_port("vale1:o")
    assert port.reg["memsize"] <= asked
    assert os.fstat(port.fds[0]).st_ino == os.fstat(fd).st_ino
    port.send(numbered(1))
    assert other.receive(1) == [numbered(1)]
    other.send(numbered(77))
    assert port.receive(1) == [numbered(77)]
    assert numbered(77) in os.pread(fd, size, 0)
    (region,) = [r for r in daemon.status()["regions"] if r["id"] == port.reg["mem_id"]]
    port.close()
    os.close(fd)
    wait_until(lambda: len(daemon.status()["regions"]) == 1, "its region is gone")
    wait_until(lambda: "/memfd:extmem (deleted)" not in daemon.descriptors(), "the closer has closed its file")


@pytest.mark.parametrize(
    "size,seals,asked,text",
    [
        (1 << 20, 0, 1 << 20, "sealed"),
        (1 << 20, fcntl.F_SEAL_SHRINK, 2 << 20, "smaller"),
        (1 << 20, fcntl.F_SEAL_SHRINK, 1 << 63, "of this size"),
        (1 << 20, fcntl.F_SEAL_SHRINK, (1 << 20) + 1, "smaller"),
        (1 << 20, fcntl.F_SEAL_SHRINK, 0, ""),
        (1 << 20, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE, 1 << 20, "mapped"),
        (4096, fcntl.F_SEAL_SHRINK, 4096, ""),
        (0, fcntl.F_SEAL_SHRINK, 4096, "smaller"),
    ],
)
def test_external_memory_that_is_refused(daemon, size, seals, asked, text):
    fd = memfd(size, seals)
    before = daemon.descriptors(), daemon.mappings()
    with pytest.raises(Refused) as refused:
        Port(daemon.path, "vale1:e", options=extmem_option(asked), send=[fd])
    assert text in refused.value.text
    os.close(fd)
    nothing_left(daemon)
    wait_until(lambda: (daemon.descriptors(), daemon.mappings()) == before, "nothing of it is kept")


def test_external_memory_needs_its_file(daemon):
    with pytest.raises(Refused, match="did not come with the request"):
        Port(daemon.path, "vale1:e", options=extmem_option(1 << 20))
    with open("/dev/zero", "r+b", buffering=0) as zero, pytest.raises(Refused, match="sealed"):
        Port(daemon.path, "vale1:e", options=extmem_option(1 << 20), send=[zero.fileno()])


def test_surplus_descriptors_are_closed(daemon):
    """Whatever message they come with; only the first of a REGISTER is looked at."""
    fds = [memfd(1 << 20) for _ in range(3)]
    with Connection(daemon.path) as c:
        c.hello()
        before = daemon.descriptors()
        c.ask(1, b"", fds)
        c.nmreq(nmreq(PORT_INFO_GET, "vale1:1", bytes(40)), fds)
        wait_until(lambda: daemon.descriptors() == before, "all are closed")
    with Port(daemon.path, "vale1:e", options=extmem_option(1 << 20, ifs=2, rings=4), send=fds, **SMALL):
        wait_until(lambda: daemon.descriptors().count("/memfd:extmem (deleted)") == 1, "only the region's is kept")
    for fd in fds:
        os.close(fd)


# ------------------------------------------------------------ limits, requests


def test_all_rings_that_a_port_can_have(open_port):
    a = open_port("vale1:a", tx_rings=64, rx_rings=64, tx_slots=4, rx_slots=4)
    b = open_port("vale1:b", tx_rings=64, rx_rings=64, tx_slots=4, rx_slots=4)
    for i in 0, 31, 63:
        a.send(numbered(i), ring=i)
        assert b.receive(1, ring=i) == [numbered(i)]


def test_requests_of_a_bound_connection(open_port):
    """Everything but a second registration."""
    p = open_port("vale1:a", **SMALL)
    open_port("vale1:b", **SMALL)
    assert p.connection.info(PORT_INFO_GET, "vale1:b", "=QIIHHHHH6x")[1:5] == (16, 16, 1, 1)
    assert p.connection.info(POOLS_INFO_GET, "vale1:b", "=Q56x")[0] > 0
    assert [m[3] for m in p.connection.macs("vale1")] == []
    p.connection.flush("vale1")
    with pytest.raises(Refused, match="already registered"):
        p.connection.nmreq(nmreq(1, "vale1:c", bytes(56)))


# ------------------------------------------------------------ addresses


def ctl(daemon, *args):
    return run(BUILD / "tools/netmapctl", "--socket", daemon.path, *args)


def test_addresses(open_port, daemon):
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    open_port("vale2:x", **SMALL)
    with Connection(daemon.path) as c:
        assert c.macs("vale1") == []
        a.send(frame(BROADCAST, 1))
        b.send(frame(1, 2))
        known = {address: (name, age) for address, port, age, name in c.macs("vale1")}
        assert {m: n for m, (n, age) in known.items()} == {mac(1): "vale1:a", mac(2): "vale1:b"}
        assert all(age < 200 for _, age in known.values())
        assert c.macs("vale2") == []
        shown = ctl(daemon, "macs", "vale1")
        assert shown.returncode == 0 and "02:00:00:00:00:01  vale1:a" in shown.stdout
        ageless = re.compile(r"\d+ s$", re.M)
        assert ageless.sub("", ctl(daemon, "macs").stdout) == ageless.sub("", shown.stdout) != shown.stdout
        assert ctl(daemon, "flush", "vale1").returncode == 0
        assert c.macs("vale1") == []
        for ask in c.macs, c.flush:
            with pytest.raises(Refused, match="vale9: no such switch") as refused:
                ask("vale9")
            assert refused.value.errno == errno.ENOENT
    for args, status, text in (
        (["macs", "vale9"], 4, "vale9: no such switch"), (["flush", "vale9"], 4, "vale9: no such switch"),
        (["flush"], 2, "needs the name"), (["flush", "a", "b"], 2, "needs the name"), (["macs", "a", "b"], 2, "one switch"),
        (["macs", "v" * 64], 2, "at most 63 bytes"), (["flush", ""], 2, "'' is not"),
    ):
        result = ctl(daemon, *args)
        assert (result.returncode, result.stdout) == (status, "") and text in result.stderr, args


def test_many_addresses(open_port, daemon):
    """More than one message holds."""
    a = open_port("vale1:a")
    open_port("vale1:b")
    for n in range(1000):
        a.send(frame(BROADCAST, b"\x02\0\0\1" + struct.pack(">H", n)))
    with Connection(daemon.path) as c:
        found = c.macs("vale1")
        assert len(found) == len({m for m, *_ in found}) == 1000 and {n for *_, n in found} == {"vale1:a"}
