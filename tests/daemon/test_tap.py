# SPDX-License-Identifier: BSD-2-Clause
"""Persistent ports: network devices of the host (TAP), in a network namespace of each test's own; and devices on switches."""

import contextlib
import ctypes
import errno
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from ptnet_real import (
    ACCEPT_VNET_HDR, ALL_NIC, BROADCAST, BUILD, EXCLUSIVE, FULL_WAIT, HDR, NIC_SW, NMREQ, NMREQ_HEADER, NMREQ_REGISTER, ONE_NIC,
    ONE_SW, POLLING_DISABLE, PATIENCE, PKT_GEN, POLLING_ENABLE, PORT_HDR_SET, PORT_INFO_GET, REGISTER_FIELDS, RX_ONLY, SW, TX_ONLY,
    VALE_ATTACH, VALE_DELIF, VALE_DETACH, VALE_NEWIF, Connection, Port, Refused, environment, expect_line, frame, mac, message,
    nmreq, offsets_option, run, wait_until,
)

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET, PR_CAPBSET_DROP, CAP_NET_ADMIN = 0x40000000, 24, 12
P = "tapp0"


def new_namespace():
    if LIBC.unshare(CLONE_NEWNET) < 0:
        os._exit(77)


def why_no_tap():
    """A namespace with a TAP in it is what the tests need."""
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    script = f"ip tuntap add dev {P} mode tap"
    child = subprocess.run(["sh", "-c", script], preexec_fn=new_namespace, capture_output=True, text=True)
    return child.stderr.strip() or "no network namespace can be made" if child.returncode else None


REASON = why_no_tap()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"needs CAP_NET_ADMIN and TUN: {REASON}")


@pytest.fixture
def daemon(start_netmapd):
    return start_netmapd("--workers", "2", preexec_fn=new_namespace)


def inside(daemon, *args, check=True):
    """Runs a program in netmapd's network namespace."""
    child = subprocess.run(
        ["nsenter", "-t", str(daemon.pid), "-n", *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30
    )
    assert not check or child.returncode == 0, child.stderr
    return child.stdout


def device(daemon, name=P):
    """What `ip link` says of it; None: there is none."""
    return next((d for d in json.loads(inside(daemon, "ip", "-j", "link")) if d["ifname"] == name), None)


OPEN_SOCKET = """
import array, socket, sys
family, kind, proto = map(int, sys.argv[1:4])
s = socket.socket(family, kind, proto)
if family == socket.AF_PACKET:
    s.bind((sys.argv[4], 0x88b5))
else:
    s.bind((sys.argv[4], int(sys.argv[5])))
socket.send_fds(socket.socket(fileno=0), [b"x"], [s.fileno()])
"""


def socket_inside(daemon, family, kind, proto, *args):
    """A socket of the namespace, bound, used from here."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.run(
            ["nsenter", "-t", str(daemon.pid), "-n", sys.executable, "-c", OPEN_SOCKET, *map(str, (int(family), int(kind), proto, *args))],
            stdin=theirs, capture_output=True, text=True, timeout=30,
        )
        assert child.returncode == 0, child.stderr
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    s = socket.socket(fileno=fds[0])
    s.settimeout(10)
    return s


@pytest.fixture
def stack(daemon):
    """stack(name) is an AF_PACKET socket on a device: the host's stack as far as frames are concerned."""
    sockets = []

    def open_(name=P):
        sockets.append(socket_inside(daemon, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5), name))
        return sockets[-1]

    yield open_
    for s in sockets:
        s.close()


def newif(connection, name=P, tx_slots=0, rx_slots=0, tx_rings=0, rx_rings=0, mem_id=0):
    connection.nmreq(nmreq(VALE_NEWIF, name, struct.pack("=IIHHH2x", tx_slots, rx_slots, tx_rings, rx_rings, mem_id)))


def delif(connection, name=P):
    connection.nmreq(nmreq(VALE_DELIF, name, b"", body_at=0))


def control(daemon, function, *args, **kwargs):
    with Connection(daemon.path) as c:
        return function(c, *args, **kwargs)


def attach(connection, name, mode=ALL_NIC):
    values = {"mode": mode}
    body = NMREQ_REGISTER.pack(*(values.get(f, 0) for f in REGISTER_FIELDS)) + bytes(8)
    _, payload, _ = connection.nmreq(nmreq(VALE_ATTACH, name, body))
    return struct.unpack_from("=I", payload, NMREQ_HEADER.size + NMREQ_REGISTER.size)[0]


def detach(connection, name):
    connection.nmreq(nmreq(VALE_DETACH, name, bytes(8)))


def polling(connection, name, kind, mode=1, first=0, count=1):
    connection.nmreq(nmreq(kind, name, struct.pack("=IIII", mode, first, count, 0)))


def up(daemon, name=P):
    inside(daemon, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1", check=False)
    inside(daemon, "ip", "link", "set", name, "up")


def wait_for_carrier(daemon, name=P):
    """And until the stack sends on it: until then it drops what it is given."""
    wait_until(lambda: device(daemon, name)["operstate"] == "UP", "carrier")
    # The kernel sets the state and then the queue to work, both under the lock that this takes.
    inside(daemon, "ip", "link", "set", name, "up")


def tap(daemon, name=P):
    return next((p for p in daemon.status()["ports"] if p["name"] == name), None)


def frames_of(socket_, count):
    return [socket_.recv(65536) for _ in range(count)]


# ------------------------------------------------------------ coming and going


def test_it_outlives_who_made_it(daemon):
    control(daemon, newif)
    assert tap(daemon)["kind"] == "tap" and device(daemon)["link_type"] == "ether"
    with Port(daemon.path, P) as p:
        assert p.reg["mem_id"] == 1 and [len(p.tx), len(p.rx)] == [1, 1]
        with Connection(daemon.path) as c, pytest.raises(Refused, match="in use") as refused:
            delif(c)
        assert refused.value.errno == errno.EBUSY
    wait_until(lambda: tap(daemon)["users"] == 0, "its user is gone")
    control(daemon, delif)
    assert tap(daemon) is None and device(daemon) is None
    with Connection(daemon.path) as c, pytest.raises(Refused) as refused:
        delif(c)
    assert refused.value.errno in (errno.ENXIO, errno.ENODEV)


def test_shape(daemon):
    control(daemon, newif, tx_slots=64, rx_slots=32, tx_rings=1, rx_rings=3)
    with Port(daemon.path, P) as p:
        assert [len(p.tx), len(p.rx)] == [1, 3] and p.tx[0].slots == 64 and p.rx[2].slots == 32
    assert device(daemon)["num_tx_queues"] >= 3 if "num_tx_queues" in device(daemon) else True


@pytest.mark.parametrize(
    "name,fields,error,text",
    [
        ("n" * 16, {}, errno.EINVAL, "15 bytes"),
        ("tap%d", {}, errno.EINVAL, "15 bytes"),
        (P, {"rx_rings": 65}, errno.EINVAL, "64"),
        (P, {"tx_slots": 1}, errno.EINVAL, ""),
        (P, {"rx_slots": 1 << 31}, errno.EINVAL, ""),
        (P, {"mem_id": 9}, errno.EOPNOTSUPP, "memory region"),
        ("lo", {}, None, "lo"),
    ],
)
def test_refused(daemon, name, fields, error, text):
    with Connection(daemon.path) as c, pytest.raises(Refused) as refused:
        newif(c, name, **fields)
    assert text in refused.value.text and error in (None, refused.value.errno), refused.value
    assert daemon.status()["ports"] == [] and len(json.loads(inside(daemon, "ip", "-j", "link"))) == 1


def test_twice(daemon):
    control(daemon, newif)
    with Connection(daemon.path) as c, pytest.raises(Refused) as refused:
        newif(c)
    assert refused.value.errno == errno.EEXIST
    assert tap(daemon)


def test_without_privilege(start_netmapd):
    def drop():
        new_namespace()
        LIBC.prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0)

    daemon = start_netmapd(preexec_fn=drop)
    with Connection(daemon.path) as c, pytest.raises(Refused, match="CAP_NET_ADMIN") as refused:
        newif(c)
    assert refused.value.errno == errno.EPERM
    with Port(daemon.path, "vale1:1"):
        pass


def test_one_that_the_administrator_made(daemon):
    """It is used, and stays."""
    inside(daemon, "ip", "tuntap", "add", "dev", P, "mode", "tap", "vnet_hdr")
    control(daemon, newif)
    assert tap(daemon)
    control(daemon, delif)
    assert device(daemon)


def test_the_device_is_removed_by_others(daemon):
    """The port goes with it, used or not; an application sees its rings stop."""
    control(daemon, newif)
    inside(daemon, "ip", "link", "del", P)
    wait_until(lambda: tap(daemon) is None, "the port is gone")
    control(daemon, newif)
    with Port(daemon.path, P) as p:
        up(daemon)
        inside(daemon, "ip", "link", "del", P)
        wait_until(lambda: any(x.get("dead") for x in daemon.status()["ports"]), "the port is dead")
        p.tx[0].publish(p.put(frame(BROADCAST, 1)))
    wait_until(lambda: daemon.status()["ports"] == [], "nothing is left")
    control(daemon, newif)
    assert device(daemon)


def test_a_killed_netmapd_leaves_no_device(start_netmapd):
    first = start_netmapd(preexec_fn=new_namespace)
    keeper = subprocess.Popen(["nsenter", "-t", str(first.pid), "-n", "sleep", "60"])
    wait_until(lambda: os.readlink(f"/proc/{keeper.pid}/ns/net") == os.readlink(f"/proc/{first.pid}/ns/net"), "it is inside")
    control(first, newif)
    first.stop(signal.SIGKILL)
    links = subprocess.run(["nsenter", "-t", str(keeper.pid), "-n", "ip", "-j", "link"], capture_output=True, text=True).stdout
    keeper.kill()
    keeper.wait()
    assert [d["ifname"] for d in json.loads(links)] == ["lo"]


# ------------------------------------------------------------ a kernel that is slow to remove devices


LEAVING_MAX = 8


class Slow:
    """A netmapd with slow_tap.c: the kernel removes a device, or one queue of it, when let_go() says so."""

    def __init__(self, start_netmapd, place, *options, **env):
        fifo = place / "slow_tap"
        os.mkfifo(fifo)
        self.fifo = os.open(fifo, os.O_RDWR)
        env = environment(LD_PRELOAD=str(BUILD / "tests/daemon/libslow_tap.so"), SLOW_TAP=str(fifo), **env)
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.daemon = start_netmapd("--workers", "2", *options, nics=True, sandbox=None, preexec_fn=new_namespace, env=env)
        self.connections = []

    def let_go(self, queues=1):
        os.write(self.fifo, bytes(queues))

    def ask(self, kind, name, body=b"", **kwargs):
        """Sends a request, whose answer comes later."""
        self.connections.append(Connection(self.daemon.path))
        self.connections[-1].send(message(NMREQ, nmreq(kind, name, body, **kwargs)))
        return self.connections[-1]

    def delif(self, name=P):
        return self.ask(VALE_DELIF, name, body_at=0)

    def newif(self, name=P):
        return self.ask(VALE_NEWIF, name, struct.pack("=IIHHH2x", 0, 0, 0, 0, 0))

    def end(self):
        for c in self.connections:
            c.close()
        self.let_go(100)
        os.close(self.fifo)


@pytest.fixture
def slow(start_netmapd, place):
    s = Slow(start_netmapd, place)
    yield s
    s.end()


STUCK = "stuck0"


@pytest.fixture
def stuck(start_netmapd, place):
    """The kernel never removes STUCK; and netmapd has a configuration, which is empty at first, and little patience with itself."""
    (place / "conf").write_text("")
    s = Slow(start_netmapd, place, "--config", place / "conf", STUCK_TAP=STUCK, SHORT_PATIENCE="5")
    yield s
    s.end()


def status_of(connection):
    """That of the answer: 0 or a negative errno."""
    return HDR.unpack_from(connection.receive()[0])[4]


def have_no_answer(*connections):
    """Nor have any that netmapd would answer now."""
    for c in connections:
        with pytest.raises(BlockingIOError):
            c.socket.recv(1, socket.MSG_DONTWAIT)
    return True


def others_are_served(daemon):
    for _ in range(3):
        with Connection(daemon.path) as c:
            assert c.hello() == daemon.pid
    with Port(daemon.path, "vale1:1") as a, Port(daemon.path, "vale1:2") as b:
        a.send(frame(BROADCAST, 1))
        b.receive(1)
    return True


def test_nobody_waits_for_a_device_to_go(slow):
    """But who has removed it, who wants its name, as a persistent port or as an interface; and nobody confuses the two."""
    control(slow.daemon, newif)
    removes = slow.delif()
    assert others_are_served(slow.daemon) and tap(slow.daemon) is None and device(slow.daemon)
    makes = slow.newif()
    asks = slow.ask(PORT_INFO_GET, P, bytes(32))
    ends = slow.newif()
    assert others_are_served(slow.daemon) and have_no_answer(removes, makes, asks, ends)
    ends.close()
    control(slow.daemon, newif, "tapp1")  # another one: it has nothing to do with it
    assert others_are_served(slow.daemon) and have_no_answer(removes, makes, asks)
    slow.let_go()
    assert [status_of(c) for c in (removes, makes, asks)] == [0, 0, 0]
    assert tap(slow.daemon)["kind"] == "tap" and device(slow.daemon)


def test_a_name_that_is_gone_is_no_port(slow):
    """An interface of a name that is leaving was never one: who asks for it is told when it is certain."""
    control(slow.daemon, newif)
    slow.delif()
    assert others_are_served(slow.daemon)
    asks = slow.ask(PORT_INFO_GET, P, bytes(32))
    assert others_are_served(slow.daemon) and have_no_answer(asks)
    slow.let_go()
    assert status_of(asks) == -errno.ENXIO and device(slow.daemon) is None


def test_no_more_than_some_devices_leave_at_a_time(slow):
    names = [f"tapp{i}" for i in range(LEAVING_MAX + 1)]
    for name in names:
        control(slow.daemon, newif, name)
    removes = []
    for name in names:
        removes.append(slow.delif(name))
        assert others_are_served(slow.daemon)
    makes = slow.newif("other")
    assert others_are_served(slow.daemon) and have_no_answer(*removes, makes)
    assert slow.daemon.ports() == names[-1:] and len(json.loads(inside(slow.daemon, "ip", "-j", "link"))) == 2 + LEAVING_MAX
    slow.let_go()
    assert status_of(removes[0]) == 0
    wait_until(lambda: names[-1] not in slow.daemon.ports(), "the last one has its turn")
    slow.let_go(LEAVING_MAX)
    assert [status_of(c) for c in (*removes[1:], makes)] == [0] * (LEAVING_MAX + 1)
    assert slow.daemon.ports() == ["other"]


def test_who_waits_for_a_device_may_go(slow):
    """Neither the one who has removed it nor one who wants its name is there any more when it is gone."""
    control(slow.daemon, newif)
    for c in slow.delif(), slow.newif(), slow.ask(PORT_INFO_GET, P, bytes(32)):
        assert others_are_served(slow.daemon) and have_no_answer(c)
        c.close()
    assert others_are_served(slow.daemon)
    slow.let_go()
    assert status_of(slow.newif()) == 0 and device(slow.daemon)
    requests = next(one for one in slow.daemon.status()["limits"] if one["name"] == "requests")
    assert requests["used"] == 1, requests      # the one that asks


def test_netmapd_ends_while_a_device_leaves(slow):
    control(slow.daemon, newif)
    waiting = slow.delif(), slow.newif()
    assert others_are_served(slow.daemon) and have_no_answer(*waiting)
    slow.daemon.process.send_signal(signal.SIGTERM)
    assert [c.receive() for c in waiting] == [(b"", [])] * 2
    slow.let_go()
    assert slow.daemon.process.wait(PATIENCE) == 0, slow.daemon.log()


def leaving(daemon):
    return daemon.status()["daemon"]["control"]["leaving_devices"]


def test_a_device_that_never_goes_holds_up_nothing_else(stuck):
    """Others go, memory is given back, and netmapd ends, with a line that says what it has left."""
    before = stuck.daemon.at_rest()
    for name in STUCK, P:
        control(stuck.daemon, newif, name)
    hangs, removes = stuck.delif(STUCK), stuck.delif()
    assert others_are_served(stuck.daemon) and have_no_answer(hangs, removes) and leaving(stuck.daemon) == 2
    stuck.let_go()
    assert status_of(removes) == 0 and have_no_answer(hangs) and leaving(stuck.daemon) == 1
    with Port(stuck.daemon.path, "vale1:1"):
        pass
    removes.close()
    hangs.close()
    wait_until(lambda: len(stuck.daemon.descriptors()) == len(before) + 1, "what a port had is closed")
    stuck.daemon.process.send_signal(signal.SIGTERM)
    assert stuck.daemon.process.wait(2 * PATIENCE) == 0
    assert f"{STUCK}: the kernel doesn't let go of its network device" in stuck.daemon.log()


def test_a_configuration_that_has_to_wait_for_ever_is_given_up(stuck, place):
    """It is said, with what it waited for and what to do; the next one is applied."""
    control(stuck.daemon, newif, STUCK)
    hangs = stuck.delif(STUCK)
    assert others_are_served(stuck.daemon) and have_no_answer(hangs)
    (place / "conf").write_text(f"port {STUCK}\nport {P}\n")
    stuck.daemon.process.send_signal(signal.SIGHUP)
    log = stuck.daemon.logged("what the configuration has behind that was not asked for")
    assert re.search(f"conf:1: port {STUCK}: netmapd gave no answer", log) and tap(stuck.daemon) is None, log
    (place / "conf").write_text(f"port {P}\n")
    stuck.daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: tap(stuck.daemon), "the next one is applied")
    stuck.daemon.process.kill()


def test_what_was_given_up_goes_the_next_time(stuck, place):
    """Two that the configuration has no more: the first one never goes, the second one is asked for when it is read again."""
    (place / "conf").write_text(f"port {STUCK}\nport tapp1\n")
    stuck.daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(stuck.daemon.ports()) == 2, "both are there")
    (place / "conf").write_text("")
    stuck.daemon.process.send_signal(signal.SIGHUP)
    stuck.daemon.logged("what the configuration has behind that was not asked for")
    assert stuck.daemon.ports() == ["tapp1"]
    stuck.daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: stuck.daemon.ports() == [], "the other one goes, too")
    stuck.daemon.process.kill()


def test_what_went_before_it_was_given_up_is_forgotten(stuck, place):
    """Who makes a port of that name by hand keeps it."""
    (place / "conf").write_text(f"port tapp1\nport {STUCK}\n")
    stuck.daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(stuck.daemon.ports()) == 2, "both are there")
    (place / "conf").write_text("")
    stuck.let_go()    # the other one
    stuck.daemon.process.send_signal(signal.SIGHUP)
    log = stuck.daemon.logged("what the configuration has behind that was not asked for")
    assert "remove tapp1 (was: port" in log and stuck.daemon.ports() == [], log
    control(stuck.daemon, newif, "tapp1")
    (place / "conf").write_text("set poll-us 77\n")
    stuck.daemon.process.send_signal(signal.SIGHUP)
    stuck.daemon.logged("conf:1: set poll-us 77")    # behind what goes
    assert stuck.daemon.ports() == ["tapp1"]
    stuck.daemon.process.kill()


def test_a_device_that_could_not_be_made_leaves_as_well(slow):
    """Of a port with rings that nobody can have: the device was there already."""
    with Connection(slow.daemon.path) as c, pytest.raises(Refused) as refused:
        newif(c, tx_slots=1)
    assert refused.value.errno == errno.EINVAL
    assert others_are_served(slow.daemon) and have_no_answer(again := slow.newif())
    slow.let_go(2)
    assert status_of(again) == 0


def test_it_counts_as_use(start_netmapd):
    daemon = start_netmapd("--exit-when-unused", "3", preexec_fn=new_namespace)  # more than it takes until the device is there
    control(daemon, newif)
    time.sleep(4.5)
    assert daemon.process.poll() is None
    control(daemon, delif)
    assert daemon.process.wait(30) == 0


# ------------------------------------------------------------ packets


@pytest.mark.parametrize("slots", [4, 16, 1024])
def test_packets_both_ways(daemon, stack, slots):
    """Content compared, every packet, all lengths of a frame; counters exact."""
    control(daemon, newif, tx_slots=slots, rx_slots=slots)
    up(daemon)
    s = stack()
    with Port(daemon.path, P) as p:
        wait_for_carrier(daemon)
        out = [frame(BROADCAST, 1, os.urandom(20), n) for n in (60, 61, 1000, 1513, 1514) * 20]
        back = [frame(1, 9, os.urandom(20), n) for n in (60, 61, 1000, 1513, 1514) * 20]
        for a, b in zip(out, back):
            p.send(a)
            s.send(b)
            assert s.recv(65536) == a
            assert p.receive(1) == [b]
        tx, rx = daemon.ring(P, "tx"), daemon.ring(P, "rx")
        assert (tx["packets"], tx["bytes"], tx["errors"]) == (100, sum(map(len, out)), {})
        assert (rx["packets"], rx["bytes"], rx["errors"]) == (100, sum(map(len, back)), {})


def test_bursts(daemon, stack):
    """More than the ring holds waits in the device's queue; nothing is lost."""
    control(daemon, newif, rx_slots=16)
    inside(daemon, "ip", "link", "set", P, "txqueuelen", "1000")
    up(daemon)
    s = stack()
    with Port(daemon.path, P) as p:
        wait_for_carrier(daemon)
        sent = [frame(1, 9, b"%d" % n) for n in range(300)]
        for packet in sent:
            s.send(packet)
        assert p.receive(300) == sent


def test_wake_ups(daemon, stack):
    """Everybody asleep: a packet from the stack, and one to it, get through."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    with Port(daemon.path, P) as p:
        wait_for_carrier(daemon)
        for n in range(5):
            p.rx[0].want_interrupt(1)
            time.sleep(0.05)
            s.send(frame(1, 9, b"%d" % n))
            assert p.interrupted("rx")
            assert p.received() == [frame(1, 9, b"%d" % n)]
            p.send(frame(BROADCAST, 1, b"%d" % n))
            assert s.recv(65536) == frame(BROADCAST, 1, b"%d" % n)
        ticks = daemon.cpu_ticks()
        time.sleep(0.5)
        assert daemon.cpu_ticks() - ticks < 10  # nobody polls


def test_fragments_and_jumbo_frames(daemon, stack):
    control(daemon, newif)
    inside(daemon, "ip", "link", "set", P, "mtu", "9000")
    up(daemon)
    s = stack()
    with Port(daemon.path, P) as p:
        wait_for_carrier(daemon)
        big = frame(BROADCAST, 1, os.urandom(8000), 9014)
        p.send(big, fragments=[14, 2000, 2000, 2000, 2000, 1000])
        assert s.recv(65536) == big
        s.send(big)
        assert p.receive(1) == [big]
        assert daemon.ring(P, "rx")["errors"] == {}


def test_drops_are_counted(daemon, stack):
    """Each packet is in the stack, or in a counter with its cause."""
    control(daemon, newif)
    with Port(daemon.path, P) as p:
        p.send(frame(BROADCAST, 1))
        assert daemon.ring(P, "tx")["errors"] == {"link_down": 1}
        up(daemon)
        stack()
        tx = p.tx[0]
        own = tx.slot(tx.head)[0]
        tx.send_slots((own, 13, 0, 0))
        tx.send_slots((0, 60, 0, 0))
        tx.send_slots((0xFFFFFFFF, 60, 0, 0))
        tx.send_slots((own, 2049, 0, 0))
        tx.send_slots((own, 60, 0x10, 0))
        tx.send_slots(*([(own, 10, 0x20, 0)] * 64 + [(own, 10, 0, 0)]))
        assert daemon.ring(P, "tx")["errors"] == {
            "link_down": 1, "too_short": 1, "bad_buffer": 2, "bad_length": 1, "indirect": 1, "too_many_fragments": 1,
        }
        tx.send_slots(*([(own, 10, 0x20, 0)] * 63 + [(own, 10, 0, 0)]))
        ring = daemon.ring(P, "tx")
        assert ring["packets"] == 8 and ring["bytes"] == 640
        inside(daemon, "ip", "link", "set", P, "down")
        p.send(frame(BROADCAST, 1))
        assert daemon.ring(P, "tx")["errors"]["link_down"] == 2


@contextlib.contextmanager
def bad_slot_in_front(daemon, stack):
    """A receiver whose first slot has no buffer; a socket of the stack. Once it is mended, packets come again."""
    control(daemon, newif, rx_slots=16)
    up(daemon)
    s = stack()
    with Port(daemon.path, P) as p:
        wait_for_carrier(daemon)
        good = p.rx[0].slot(0)
        p.rx[0].set_slot(0, 0xFFFFFFF0, 0, 0, 0)
        yield s
        p.rx[0].set_slot(0, *good)
        s.send(frame(1, 9, b"again"))
        assert p.receive(1) == [frame(1, 9, b"again")]


def test_bad_slots_of_a_receiver(daemon, stack):
    with bad_slot_in_front(daemon, stack) as s:
        s.send(frame(1, 9))
        wait_until(lambda: daemon.ring(P, "rx")["errors"] == {"bad_buffer": 1}, "it is counted")


@pytest.mark.parametrize("offset, gap", [(2048, 0), (2040, 8), (65535, 0)])
def test_bad_offsets_of_a_receiver(daemon, stack, offset, gap):
    """No byte is left behind the offset: that has the same name as on a switch."""
    control(daemon, newif, rx_slots=16)
    up(daemon)
    s = stack()
    with Port(daemon.path, P, options=offsets_option(128, min_gap=gap)) as p:
        wait_for_carrier(daemon)
        index, length, flags, good = p.rx[0].slot(0)
        p.rx[0].set_slot(0, index, length, flags, offset)
        s.send(frame(1, 9))
        wait_until(lambda: daemon.ring(P, "rx")["errors"] == {"bad_offset": 1}, "it is counted")
        p.rx[0].set_slot(0, index, length, flags, good)
        s.send(frame(1, 9, b"again"))
        assert p.receive(1) == [frame(1, 9, b"again")]


def test_many_are_dropped_in_a_row(daemon, stack):
    """More than are read in one go: the worker, which sees no work in that, still gets to the last."""
    with bad_slot_in_front(daemon, stack) as s:
        os.kill(daemon.pid, signal.SIGSTOP)
        for _ in range(400):
            s.send(frame(1, 9))
        os.kill(daemon.pid, signal.SIGCONT)
        wait_until(lambda: daemon.ring(P, "rx")["errors"] == {"bad_buffer": 400}, "all are counted")


def test_queues(daemon, stack):
    """Several rings: whatever queue the stack chooses, its packets come."""
    control(daemon, newif, tx_rings=2, rx_rings=2, rx_slots=64)
    up(daemon)
    s = stack()
    with Port(daemon.path, P) as p:
        wait_for_carrier(daemon)
        sent = [frame(1, 20 + n, b"%d" % n) for n in range(40)]
        for packet in sent:
            s.send(packet)
        got = []
        wait_until(lambda: got.extend(p.received(0) + p.received(1)) or len(got) == 40, "all came")
        assert sorted(got) == sorted(sent)
        for ring in 0, 1:
            p.send(frame(BROADCAST, 1, b"%d" % ring), ring=ring)
            assert s.recv(65536) == frame(BROADCAST, 1, b"%d" % ring)


def test_carrier(daemon):
    """The stack sees whether anybody is registered."""
    control(daemon, newif)
    up(daemon)
    assert "NO-CARRIER" in device(daemon)["flags"]
    with Port(daemon.path, P):
        wait_for_carrier(daemon)
    wait_until(lambda: "NO-CARRIER" in device(daemon)["flags"], "no carrier")


def udp(payload, checksum=None):
    """An IPv4 packet with UDP from 10.9.0.2:9 to 10.9.0.1:77."""

    def fold(data):
        total = sum(struct.unpack(f">{len(data) // 2}H", data))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return total

    addresses = bytes([10, 9, 0, 2, 10, 9, 0, 1])
    length = 8 + len(payload)
    pseudo = fold(addresses + struct.pack(">HH", 17, length))
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 17, 0) + addresses
    head = head[:10] + struct.pack(">H", 0xFFFF ^ fold(head)) + head[12:]
    return head + struct.pack(">HHHH", 9, 77, length, pseudo) + payload


@pytest.mark.parametrize("hdr_len", [10, 12])
def test_virtio_net_header(daemon, hdr_len):
    """Incomplete checksums are passed on with the header, and completed by whoever needs them."""
    control(daemon, newif)
    with Connection(daemon.path) as c:
        assert c.info(PORT_HDR_SET, P, "=I4x", struct.pack("=II", hdr_len, 0)) == (hdr_len,)
        with pytest.raises(Refused, match="virtio-net header"):
            c.nmreq(nmreq(1, P, NMREQ_REGISTER.pack(*({"mode": 1}.get(f, 0) for f in REGISTER_FIELDS))))
    up(daemon)
    inside(daemon, "ip", "addr", "add", "10.9.0.1/24", "dev", P)
    inside(daemon, "ip", "neigh", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", P)
    our_mac = bytes.fromhex(device(daemon)["address"].replace(":", ""))
    with Port(daemon.path, P, flags=ACCEPT_VNET_HDR) as p:
        wait_for_carrier(daemon)
        s = socket_inside(daemon, socket.AF_INET, socket.SOCK_DGRAM, 0, "10.9.0.1", 77)
        needs_csum = struct.pack("=BBHHHH", 1, 0, 0, 0, 34, 6).ljust(hdr_len, b"\0")
        p.send(needs_csum + our_mac + mac(2) + b"\x08\0" + udp(b"hello-even"))
        assert s.recvfrom(100) == (b"hello-even", ("10.9.0.2", 9))
        s.sendto(b"answer", ("10.9.0.2", 9))
        answers = [a for a in p.receive(1) if a[hdr_len + 12 : hdr_len + 14] == b"\x08\0"]
        assert answers and answers[0].endswith(b"answer") and answers[0][0] & 1  # its checksum is left to us
        bad = struct.pack("=BBHHHH", 1, 0, 0, 0, 60000, 60000).ljust(hdr_len, b"\0")
        p.send(bad + our_mac + mac(2) + b"\x08\0" + udp(b"xx"))
        assert daemon.ring(P, "tx")["errors"] == {"bad_header": 1}
        s.close()


# ------------------------------------------------------------ host rings


def test_host_rings_both_ways(daemon, stack):
    """Content compared, every packet; counted at the host rings."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    with Port(daemon.path, P, mode=SW) as p:
        assert (p.reg["host_tx_rings"], p.reg["host_rx_rings"]) == (1, 1) and len(p.tx) == len(p.rx) == 1
        wait_for_carrier(daemon)
        out = [frame(BROADCAST, 1, os.urandom(20), n) for n in (60, 1513, 1514) * 20]
        back = [frame(1, 9, os.urandom(20), n) for n in (60, 1513, 1514) * 20]
        for a, b in zip(out, back):
            p.send(a)
            s.send(b)
            assert s.recv(65536) == a
            assert p.receive(1) == [b]
        tx, rx = daemon.ring(P, "tx", 1), daemon.ring(P, "rx", 1)
        assert tx["host"] and (tx["packets"], tx["bytes"], tx["errors"]) == (60, sum(map(len, out)), {})
        assert rx["host"] and (rx["packets"], rx["bytes"], rx["errors"]) == (60, sum(map(len, back)), {})


VU_VERSION, VU_DEVICE_RESET = 1, 13


class Device:
    """A hypervisor's end of a ptnet function, as far as a reset needs it: vfio/vu_proto.h."""

    HDR = struct.Struct("=HHIII")

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.ask(VU_VERSION, bytes(4))

    def ask(self, command, body=b""):
        self.socket.send(self.HDR.pack(1, command, self.HDR.size + len(body), 0, 0) + body)
        reply = self.socket.recv(4096)
        assert self.HDR.unpack_from(reply)[3] == 1, reply

    def close(self):
        self.socket.close()


def test_resets_of_a_guest_spare_the_host_rings(daemon, stack):
    """A machine has the port, an application its host rings: resets, and ends of the hypervisor, in a loop, while packets
    go from the application to the stack. All arrive, in their order."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    with Connection(daemon.path) as vm, Port(daemon.path, P, mode=SW) as p:
        vm.vm_create(b"resets")
        path, _, _ = vm.vm_add_port(f"netmap:{P}")
        wait_for_carrier(daemon)
        done, resets, received, sent, end = threading.Event(), [], [], 0, 0xFFFFFFFF

        def reset():
            while not done.is_set():
                device = Device(path)
                for _ in range(20):
                    device.ask(VU_DEVICE_RESET)
                device.close()
                resets.append(20)

        def receive():
            while (number := struct.unpack_from("=I", s.recv(100), 14)[0]) != end:
                received.append(number)

        def send(numbers):
            wait_until(lambda: p.tx[0].space() >= len(numbers), "room in the host ring")
            for number in numbers:
                p.tx[0].head = p.put(frame(BROADCAST, 1, struct.pack("=I", number)))
            p.tx[0].publish(p.tx[0].head)

        resetter, receiver = threading.Thread(target=reset), threading.Thread(target=receive, daemon=True)
        resetter.start()
        receiver.start()
        while sent < 20000 or len(resets) < 6:  # a slow resetter makes the sender go on
            wait_until(lambda: sent - len(received) < 8192, "room in the socket")
            send(range(sent, sent + 32))
            sent += 32
        send([end])
        receiver.join(PATIENCE)
        done.set()
        resetter.join()
        assert received == list(range(sent))
        vm.close()  # the NIC rings have nobody any more, so what the stack sends is the host ring's
        s.send(frame(1, 9, b"back"))
        assert p.receive(1) == [frame(1, 9, b"back")]


def port_info(connection, name=P):
    """tx and rx rings, host tx and rx rings."""
    _, payload, _ = connection.nmreq(nmreq(PORT_INFO_GET, name, bytes(32)))
    return struct.unpack_from("=HHHH", payload, NMREQ_HEADER.size + 16)


def test_who_comes_first_chooses_the_host_rings(daemon):
    control(daemon, newif, tx_rings=2, rx_rings=2)
    with Connection(daemon.path) as c:
        assert port_info(c) == (2, 2, 1, 1)
        with pytest.raises(Refused, match="65 tx and 1 rx host rings.*at most 64") as refused:
            Port(daemon.path, P, mode=SW, host_tx_rings=65)
        assert refused.value.errno == errno.EINVAL
        for mode, tx, rx in ((SW, 3, 2), (NIC_SW, 5, 4), (ALL_NIC, 2, 2)):
            with Port(daemon.path, P, mode=mode, host_tx_rings=3, host_rx_rings=2) as p:
                assert (len(p.tx), len(p.rx)) == (tx, rx)
                assert (p.reg["host_tx_rings"], p.reg["host_rx_rings"]) == (3, 2)
        wait_until(lambda: port_info(c) == (2, 2, 3, 2), "it stays so")
        with Port(daemon.path, P, mode=ONE_SW, ringid=1) as p:
            assert (p.tx[0].id, p.rx[0].id) == (3, 3)
            with Port(daemon.path, P, mode=ONE_SW, ringid=0, host_tx_rings=7) as other:
                assert other.reg["host_tx_rings"] == 3  # too late
            for ringid, flags, error in ((1, EXCLUSIVE, errno.EBUSY), (3, TX_ONLY, errno.EINVAL), (3, 0, errno.EINVAL)):
                with pytest.raises(Refused) as refused:
                    Port(daemon.path, P, mode=ONE_SW, ringid=ringid, flags=flags)
                assert refused.value.errno == error, (ringid, flags)
            with Port(daemon.path, P, mode=ONE_SW, ringid=2, flags=TX_ONLY) as third:
                assert len(third.tx) == 1 and not third.rx
        with Port(daemon.path, P, mode=ONE_SW, ringid=2) as p:  # of two rx rings the first
            assert (p.tx[0].id, p.rx[0].id) == (4, 2)
        with Port(daemon.path, P, mode=NIC_SW, host_tx_rings=62, host_rx_rings=62) as p:
            assert len(p.tx) == len(p.rx) == 64


@pytest.mark.parametrize("queues, host_rings", [(1, 63), (33, 32), (32, 33), (64, 1), (64, 64)])
def test_as_many_rings_as_there_can_be(daemon, stack, queues, host_rings):
    """128 rings, around that, and the 256 that no port surpasses: one user has them all, and each moves packets."""
    control(daemon, newif, tx_rings=queues, rx_rings=queues)
    up(daemon)
    s = stack()
    before = daemon.at_rest()
    with Port(daemon.path, P, mode=NIC_SW, host_tx_rings=host_rings, host_rx_rings=host_rings) as p:
        rings = queues + host_rings
        assert len(p.tx) == len(p.rx) == rings
        assert len({r.offset for r in p.tx + p.rx}) == 2 * rings
        wait_for_carrier(daemon)
        for ring in range(rings):
            p.send(frame(BROADCAST, 1, b"%d" % ring), ring=ring)
            assert s.recv(65536) == frame(BROADCAST, 1, b"%d" % ring)
        counted = {(r["dir"], r["id"]): r["packets"] for r in tap(daemon)["rings"]}
        assert [counted["tx", i] for i in range(rings)] == [1] * rings
        sent = flows(500)
        got = []
        for packet in sent:
            send_ip(s, packet)

        def all_came():
            for ring in range(rings):
                got.extend(p.received(ring))
            return len(got) == len(sent)

        wait_until(all_came, "all came")
        assert sorted(got) == sorted(sent)
    wait_until(lambda: daemon.descriptors() == before, "all are closed")


@pytest.mark.parametrize("how", ["libnetmap", "netmap-run"])
def test_programs_with_all_rings(daemon, how):
    """Some rings share a descriptor for their kicks; a program that may not have so many is told."""
    command, backend = ([BUILD / "libnetmap/preload/netmap-run"], "kernel") if how == "netmap-run" else ([], "daemon")
    command += [PKT_GEN, "-i", f"netmap:{P}*@conf:host-rings=64", "-f", "tx", "-l", "60", "-n", "20000", "-w", "0"]
    env = environment(daemon.path, NETMAP_BACKEND=backend)
    env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"  # the preloaded library comes first
    control(daemon, newif, tx_slots=64, rx_slots=64, tx_rings=64, rx_rings=64)
    up(daemon)
    result = run(*command, env=env)
    assert result.returncode == 0 and "Sent 20000 packets" in result.stdout + result.stderr, result.stderr
    sent = [r["packets"] + sum(r["errors"].values()) for r in tap(daemon)["rings"] if r["dir"] == "tx"]
    assert len(sent) == 128 and sum(sent) == 20000 and sum(map(bool, sent)) > 8  # a burst has 512
    if how == "libnetmap":
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

        expect_line(run(*command, env=env, preexec_fn=few), 1, "pkt-gen", P, "up to 132", "ulimit -n")


def flows(count):
    """Frames of as many flows, for the hash by which the stack chooses a queue."""
    packets = [udp(b"%4d" % n) for n in range(count)]
    return [mac(1) + mac(9) + b"\x08\0" + p[:20] + struct.pack(">H", 1000 + n) + p[22:] for n, p in enumerate(packets)]


def send_ip(s, packet):
    """So that the stack knows what it is, and has a hash for it."""
    s.sendto(packet, (P, 0x0800))


@pytest.mark.parametrize("queues, host_rings, used", [(4, 2, [0, 1]), (2, 4, [1, 3]), (1, 2, [1]), (3, 2, [0, 1])])
def test_several_host_rings(daemon, stack, queues, host_rings, used):
    """Queues are read by the host rings that are in use, all of them, once."""
    control(daemon, newif, rx_rings=queues)
    up(daemon)
    s = stack()
    ports = [Port(daemon.path, P, mode=ONE_SW, ringid=i, host_tx_rings=host_rings, host_rx_rings=host_rings) for i in used]
    wait_for_carrier(daemon)
    sent = flows(200)
    for packet in sent:
        send_ip(s, packet)
    got = [[] for _ in ports]

    def all_came():
        for packets, port in zip(got, ports):
            packets += port.received()
        return sum(map(len, got)) == len(sent)

    wait_until(all_came, "all came")
    assert sorted(sum(got, [])) == sorted(sent)
    assert all(got), [len(packets) for packets in got]
    for i, port in zip(used, ports):
        assert daemon.ring(P, "rx", queues + i)["packets"] == len(got[used.index(i)])
        port.send(frame(BROADCAST, 1, b"%d" % i))
        assert s.recv(65536) == frame(BROADCAST, 1, b"%d" % i)
        port.close()


def test_nic_and_host_rings_together(daemon, stack):
    """What the stack sends is the NIC ring's; both tx rings lead to the stack."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    with Port(daemon.path, P, mode=NIC_SW) as p:
        wait_for_carrier(daemon)
        for n in range(20):
            for ring in 0, 1:
                p.send(frame(BROADCAST, 1, b"%d" % n), ring=ring)
                assert s.recv(65536) == frame(BROADCAST, 1, b"%d" % n)
            s.send(frame(1, 9, b"%d" % n))
            assert p.receive(1, ring=0) == [frame(1, 9, b"%d" % n)]
        assert p.received(1) == [] and daemon.ring(P, "rx", 1)["packets"] == 0


@pytest.mark.parametrize("queue", [0, 1])
def test_a_queue_that_no_nic_ring_has(daemon, stack, queue):
    """Its packets are the host ring's."""
    control(daemon, newif, rx_rings=2)
    up(daemon)
    s = stack()
    with Port(daemon.path, P, mode=ONE_NIC, ringid=queue, flags=RX_ONLY) as nic, Port(daemon.path, P, mode=SW) as host:
        wait_for_carrier(daemon)
        sent, got = flows(100), ([], [])
        for packet in sent:
            send_ip(s, packet)
        wait_until(lambda: got[0].extend(nic.received()) or got[1].extend(host.received()) or len(got[0]) + len(got[1]) == 100, "all came")
        assert sorted(got[0] + got[1]) == sorted(sent) and got[0] and got[1]


def test_packets_change_over(daemon, stack):
    """To the NIC ring as long as somebody has it; to the host ring, which sleeps, from then on."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    with Port(daemon.path, P, mode=SW) as host:
        wait_for_carrier(daemon)
        for n in range(5):
            with Port(daemon.path, P) as nic:
                s.send(frame(1, 9, b"nic %d" % n))
                assert nic.receive(1) == [frame(1, 9, b"nic %d" % n)]
                assert host.received() == []
            wait_until(lambda: tap(daemon)["users"] == 1, "the NIC ring's user is gone")
            host.rx[0].want_interrupt(1)
            time.sleep(0.05)
            s.send(frame(1, 9, b"host %d" % n))
            assert host.interrupted("rx")
            assert host.received() == [frame(1, 9, b"host %d" % n)]
        ticks = daemon.cpu_ticks()
        time.sleep(0.5)
        assert daemon.cpu_ticks() - ticks < 10


def test_what_waits_changes_over(daemon, stack):
    """The NIC ring is full and the rest waits in the device; then its user goes: the host ring, asleep, gets the rest."""
    control(daemon, newif, rx_slots=16)
    inside(daemon, "ip", "link", "set", P, "txqueuelen", "1000")
    up(daemon)
    s = stack()
    with Port(daemon.path, P, mode=SW) as host:
        with Port(daemon.path, P):
            wait_for_carrier(daemon)
            sent = [frame(1, 9, b"%d" % n) for n in range(100)]
            for packet in sent:
                s.send(packet)
            wait_until(lambda: daemon.ring(P, "rx", 0)["packets"] >= 8, "the ring is full")

            def taken_for_good():
                before = daemon.ring(P, "rx", 0)["packets"]
                time.sleep(0.3)  # also when a worker gets no CPU for a while
                return before == daemon.ring(P, "rx", 0)["packets"] and before

            taken = wait_until(taken_for_good, "no more is taken")
            assert taken < 16
        assert host.receive(100 - taken) == sent[taken:]


def test_nothing_is_lost_while_packets_change_over(daemon, stack):
    """Others come to the NIC ring and go while the stack sends: each packet is in one of the rings."""
    control(daemon, newif, rx_rings=2)
    inside(daemon, "ip", "link", "set", P, "txqueuelen", "5000")
    up(daemon)
    s = stack()
    count, sent = 0, flows(50)
    with Port(daemon.path, P, mode=SW, host_rx_rings=2) as host:
        wait_for_carrier(daemon)
        got = changes = 0

        def send():
            nonlocal count
            while count < 4000 or changes <= 10 and count < 8000:
                send_ip(s, sent[count % 50])
                count += 1
                time.sleep(0.0002 if count < 4000 else 0.01)

        sender = threading.Thread(target=send)
        sender.start()
        while sender.is_alive():
            with Port(daemon.path, P, mode=ONE_NIC, ringid=changes % 2, flags=RX_ONLY) as nic:
                for _ in range(5):
                    nic.received()
                    got += len(host.received(0)) + len(host.received(1))
            changes += 1
        sender.join()

        def rings():
            return [daemon.ring(P, "rx", i) for i in range(4)]

        wait_until(lambda: host.received(0) + host.received(1) or sum(r["packets"] for r in rings()) == count, "all are in rings")
        assert changes > 10 and all(r["packets"] > 0 and r["errors"] == {} for r in rings())
        assert int(inside(daemon, "cat", "/proc/net/dev").split(P + ":")[1].split()[11]) == 0  # none dropped by the device


NR_FORWARD, NS_FORWARD, RING_FLAGS = 4, 4, 32


def set_ring_flags(ring, flags):
    struct.pack_into("=I", ring.port.region, ring.offset + RING_FLAGS, flags)


@pytest.mark.parametrize("mode, ring", [(ALL_NIC, 0), (SW, 1)])
def test_forwarding(daemon, stack, mode, ring):
    """A marked slot that is given back goes on to the stack, once; others don't; what can't is counted."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    with Port(daemon.path, P, mode=mode) as p:
        wait_for_carrier(daemon)
        rx = p.rx[0]

        def give_back(n, flags, slot=None):
            """One packet comes, and goes with these flags in its slot."""
            s.send(frame(1, 9, b"%d" % n))
            at = rx.head
            wait_until(lambda: rx.hw()[1] == rx.next(at), "it came")
            index, length, was, ptr = rx.slot(at)
            rx.set_slot(at, *(slot or (index, length, was | flags, ptr)))
            rx.publish(rx.next(at))
            wait_until(lambda: rx.hw()[0] == rx.head, "it is given back")
            after = rx.slot(at)[2]
            rx.set_slot(at, index, length, was, ptr)
            return after

        assert give_back(0, NS_FORWARD) & NS_FORWARD  # the ring doesn't say so
        set_ring_flags(rx, NR_FORWARD)
        for n in range(1, 21):
            after = give_back(n, NS_FORWARD if n % 2 else 0)
            assert not after & NS_FORWARD
        assert frames_of(s, 10) == [frame(1, 9, b"%d" % n) for n in range(1, 21, 2)]
        index = rx.slot(rx.head)[0]
        for slot in ((0, 60, NS_FORWARD, 0), (0xFFFFFFFF, 60, NS_FORWARD, 0), (index, 2049, NS_FORWARD, 0), (index, 13, NS_FORWARD, 0),
                     (index, 60, NS_FORWARD | 0x20, 0)):
            give_back(99, 0, slot)
        assert daemon.ring(P, "rx", ring)["errors"] == {"bad_buffer": 2, "bad_length": 1, "too_short": 1, "too_many_fragments": 1}
        give_back(21, NS_FORWARD)
        assert s.recv(65536) == frame(1, 9, b"21")


def test_forwarding_of_long_packets(daemon, stack):
    control(daemon, newif)
    inside(daemon, "ip", "link", "set", P, "mtu", "9000")
    up(daemon)
    s = stack()
    with Port(daemon.path, P, mode=SW) as p:
        wait_for_carrier(daemon)
        set_ring_flags(p.rx[0], NR_FORWARD)
        big = frame(1, 9, os.urandom(8000), 9014)
        s.send(big)
        rx = p.rx[0]
        wait_until(lambda: rx.hw()[1] == 5, "it came")
        rx.set_slot(0, *(v | NS_FORWARD * (i == 2) for i, v in enumerate(rx.slot(0))))
        rx.publish(5)
        assert s.recv(65536) == big


def test_bad_slots_of_host_rings(daemon, stack):
    control(daemon, newif, rx_slots=16)
    up(daemon)
    s = stack()
    with Port(daemon.path, P, mode=SW) as p:
        wait_for_carrier(daemon)
        tx, rx = p.tx[0], p.rx[0]
        own = tx.slot(tx.head)[0]
        for slot in ((0, 60, 0, 0), (0xFFFFFFFF, 60, 0, 0), (own, 2049, 0, 0), (own, 13, 0, 0), (own, 60, 0x10, 0)):
            tx.set_slot(tx.head, *slot)
            tx.publish(tx.next(tx.head))
            wait_until(lambda: tx.hw()[0] == tx.head, "taken")
        assert daemon.ring(P, "tx", 1)["errors"] == {"bad_buffer": 2, "bad_length": 1, "too_short": 1, "indirect": 1}
        good = rx.slot(0)
        rx.set_slot(0, 0xFFFFFFF0, 0, 0, 0)
        s.send(frame(1, 9))
        wait_until(lambda: daemon.ring(P, "rx", 1)["errors"] == {"bad_buffer": 1}, "it is counted")
        rx.set_slot(0, *good)
        s.send(frame(1, 9, b"again"))
        assert p.receive(1) == [frame(1, 9, b"again")]


@pytest.mark.parametrize("test", ["nic", "nic_modes", "nic_host_rings", "nic_chosen_host_rings", "nic_several_host_rings",
                                  "nic_forward", "nic_on_a_switch"])
def test_api_of_nics(daemon, test):
    """The tests of tests/api of network interfaces, on one whose wire ends at its own stack."""
    control(daemon, newif)
    up(daemon)
    env = environment(daemon.path, NMAPI_NIC=P, NMAPI_NIC_PEER=P)
    result = run("nsenter", "-t", str(daemon.pid), "-n", BUILD / "tests/api/nmapi", test, env=env)
    assert result.returncode == 0 and re.search(rf"^ok 1 - {test}$", result.stdout, re.M), result.stdout + result.stderr


# ------------------------------------------------------------ on a switch


def test_attached_with_its_host_rings(daemon, stack):
    """The stack has one port on the switch, not two, and the host rings are nobody else's."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    with Port(daemon.path, "vale1:app") as app, Connection(daemon.path) as c:
        with Port(daemon.path, P, mode=SW):
            with pytest.raises(Refused) as refused:
                attach(c, "vale1:" + P, mode=NIC_SW)
            assert refused.value.errno == errno.EBUSY
        wait_until(lambda: tap(daemon)["users"] == 0, "its user is gone")
        attach(c, "vale1:" + P, mode=NIC_SW)
        assert daemon.status()["attached"][0]["host_rings"]
        assert [name for name in daemon.ports() if name.startswith("vale1:")] == ["vale1:app", "vale1:" + P]
        with pytest.raises(Refused) as refused:
            Port(daemon.path, P, mode=SW)
        assert refused.value.errno == errno.EBUSY
        wait_for_carrier(daemon)
        for n in range(50):
            s.send(frame(BROADCAST, 9, b"from the stack %d" % n))
            assert app.receive(1) == [frame(BROADCAST, 9, b"from the stack %d" % n)]
            app.send(frame(BROADCAST, 1, b"to it %d" % n))
            assert s.recv(65536) == frame(BROADCAST, 1, b"to it %d" % n)
        assert daemon.ring(P, "tx", 0)["packets"] == 50 and daemon.ring(P, "tx", 1)["packets"] == 0
        detach(c, "vale1:" + P)
        with Port(daemon.path, P, mode=NIC_SW):
            pass


def test_attached_to_a_switch(daemon, stack):
    """The host's stack is a station of the switch, until it is detached."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    with Port(daemon.path, "vale1:app") as app:
        control(daemon, attach, "vale1:" + P)
        (attached,) = daemon.status()["attached"]
        assert (attached["name"], attached["device"], attached["pairs"]) == ("vale1:" + P, P, 1)
        wait_for_carrier(daemon)
        for n in range(50):
            s.send(frame(BROADCAST, 9, b"from the stack %d" % n))
            assert app.receive(1) == [frame(BROADCAST, 9, b"from the stack %d" % n)]
            app.send(frame(9, 1, b"to it %d" % n))
            assert s.recv(65536) == frame(9, 1, b"to it %d" % n)
        with Connection(daemon.path) as c:
            for ask, args in ((attach, ["vale1:" + P]), (delif, [])):
                with pytest.raises(Refused) as refused:
                    ask(c, *args)
                assert refused.value.errno == errno.EBUSY
            detach(c, "vale1:" + P)
            with pytest.raises(Refused):
                detach(c, "vale1:" + P)
            assert daemon.status()["attached"] == []
            delif(c)


def test_what_the_stack_sends_waits(start_netmapd):
    """For a port that is full and a stack's too, as that of a machine: nothing is lost, and TAP is not read meanwhile."""
    daemon = start_netmapd("--workers", "2", "--full-wait-ms", "vale1=10000", preexec_fn=new_namespace)
    control(daemon, newif)
    up(daemon)
    control(daemon, attach, "vale1:" + P)
    wait_for_carrier(daemon)
    place = "vale1:" + P
    header = bytes(12)
    with Port(daemon.path, "vale1:app", rx_slots=64) as app, Connection(daemon.path) as c, \
            socket_inside(daemon, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5), P) as s:
        assert app.connection.info(PORT_HDR_SET, "vale1:app", "=I4x", struct.pack("=II", len(header), 0)) == (len(header),)
        c.ask(FULL_WAIT, struct.pack("=II64s", 10000, 0, b"vale1:app"))
        app.send(header + frame(BROADCAST, 1))
        assert s.recv(65536) == frame(BROADCAST, 1)
        packets = [frame(1, 9, b"%d" % n) for n in range(500)]
        for packet in packets:
            s.send(packet)
        wait_until(lambda: daemon.ring(place, "tx", 0)["waits"] > 100, "packets wait")
        assert app.receive(500) == [header + packet for packet in packets]
        assert daemon.ring(place, "tx", 0)["errors"] == {} and daemon.ring("vale1:app", "rx", 0)["errors"] == {}
        # Without: what is too much is lost.
        c.ask(FULL_WAIT, struct.pack("=II64s", 0, 0, b"vale1"))
        waits = daemon.ring(place, "tx", 0)["waits"]
        for packet in packets[:200]:
            s.send(packet)
        wait_until(lambda: daemon.ring(place, "tx", 0)["packets"] == 700, "all are sent")
        lost = daemon.ring(place, "tx", 0)["errors"]["receiver_full"]
        assert app.receive(200 - lost) == [header + packet for packet in packets[:200 - lost]]
        assert lost == 200 - 63 and daemon.ring(place, "tx", 0)["waits"] == waits


def test_an_application_takes_its_place(daemon, stack):
    """The stack is cut off while an application has the port, by either name, and is on the switch again behind it."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    control(daemon, attach, "vale1:" + P)
    with Port(daemon.path, "vale1:app") as app:
        wait_for_carrier(daemon)
        for n, name in enumerate(("vale1:" + P, P) * 5):
            s.send(frame(BROADCAST, 9, b"from the stack %d" % n))
            assert app.receive(1) == [frame(BROADCAST, 9, b"from the stack %d" % n)]
            app.send(frame(BROADCAST, 1, b"to it %d" % n))
            assert s.recv(65536) == frame(BROADCAST, 1, b"to it %d" % n)
            with Port(daemon.path, name) as place, Connection(daemon.path) as c:
                assert daemon.status()["attached"][0]["lent"]
                s.send(frame(BROADCAST, 9, b"cut off"))
                wait_until(lambda: daemon.ring(P, "rx", 0)["errors"] == {"no_receiver": n + 1}, "it is dropped")
                place.send(frame(BROADCAST, 2, b"%d" % n))
                assert app.receive(1) == [frame(BROADCAST, 2, b"%d" % n)]
                app.send(frame(BROADCAST, 1, b"%d" % n))
                assert place.receive(1) == [frame(BROADCAST, 1, b"%d" % n)]
                with pytest.raises(Refused) as refused:
                    detach(c, "vale1:" + P)
                assert refused.value.errno == errno.EBUSY
            wait_until(lambda: not daemon.status()["attached"][0]["lent"], "it is given back")
        app.send(frame(BROADCAST, 1, b"end"))
        assert s.recv(65536) == frame(BROADCAST, 1, b"end")


def test_on_two_switches(daemon, stack):
    """It joins them, and the stack is cut off; off the first one, it is the stack's on the second."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    control(daemon, attach, "vale1:" + P)
    control(daemon, attach, "vale2:" + P)
    with Port(daemon.path, "vale1:app") as a, Port(daemon.path, "vale2:app") as b:
        wait_for_carrier(daemon)
        for n in range(20):
            a.send(frame(BROADCAST, 1, b"%d" % n))
            assert b.receive(1) == [frame(BROADCAST, 1, b"%d" % n)]
            b.send(frame(BROADCAST, 2, b"%d" % n))
            assert a.receive(1) == [frame(BROADCAST, 2, b"%d" % n)]
        control(daemon, detach, "vale1:" + P)
        s.send(frame(BROADCAST, 9, b"from the stack"))
        assert b.receive(1) == [frame(BROADCAST, 9, b"from the stack")]
        with Connection(daemon.path) as c, pytest.raises(Refused):
            delif(c)
    control(daemon, detach, "vale2:" + P)
    control(daemon, delif)


def test_nothing_is_lost_on_the_way(daemon, stack):
    """Stack to switch to application: packets in are packets out and drops."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    control(daemon, attach, "vale1:" + P)
    with Port(daemon.path, "vale1:app", rx_slots=16) as app:
        wait_for_carrier(daemon)
        for n in range(400):
            s.send(frame(BROADCAST, 9, b"%d" % n))
        wait_until(lambda: daemon.ring(P, "rx")["packets"] == 400, "all are taken from the device")
        tx = wait_until(lambda: (r := daemon.ring("vale1:" + P, "tx"))["packets"] == 400 and r, "all went into the switch")
        rx = daemon.ring("vale1:app", "rx")
        assert rx["packets"] + rx["errors"].get("receiver_full", 0) == 400
        assert tx["errors"].get("receiver_full", 0) == rx["errors"].get("receiver_full", 0)
        assert len(app.received()) == rx["packets"]


def test_attached_it_sleeps_and_wakes(daemon, stack):
    control(daemon, newif)
    up(daemon)
    s = stack()
    control(daemon, attach, "vale1:" + P)
    with Port(daemon.path, "vale1:app") as app:
        wait_for_carrier(daemon)
        for n in range(5):
            time.sleep(0.05)
            ticks = daemon.cpu_ticks()
            time.sleep(0.2)
            assert daemon.cpu_ticks() - ticks < 10
            s.send(frame(BROADCAST, 9, b"%d" % n))
            assert app.receive(1) == [frame(BROADCAST, 9, b"%d" % n)]
            app.send(frame(BROADCAST, 1, b"%d" % n))
            assert s.recv(65536) == frame(BROADCAST, 1, b"%d" % n)


def test_it_outlives_the_connection_and_its_device(daemon):
    control(daemon, newif)
    control(daemon, attach, "vale1:" + P)
    time.sleep(0.1)
    assert len(daemon.status()["attached"]) == 1
    inside(daemon, "ip", "link", "del", P)
    wait_until(lambda: tap(daemon) is None, "the device is gone")
    time.sleep(0.1)
    ticks = daemon.cpu_ticks()
    time.sleep(0.3)
    assert daemon.cpu_ticks() - ticks < 15
    control(daemon, detach, "vale1:" + P)
    wait_until(lambda: daemon.status()["ports"] == [], "all is gone")


def test_polling(daemon, stack):
    """Threads of its own, on the CPUs that were asked for, until it is switched off."""
    control(daemon, newif)
    up(daemon)
    s = stack()
    control(daemon, attach, "vale1:" + P)
    before = len(daemon.status()["daemon"]["workers"])

    def has_pollers(count):
        """A thread is named when it runs, and is still listed for a while when it has been waited for."""
        return wait_until(lambda: len(daemon.workers()) == before + count, f"there are {count} threads more")

    with Connection(daemon.path) as c:
        for fields in ({"first": 4000}, {"mode": 2, "first": 0, "count": 2}, {"mode": 2, "first": 0xFFFFFFFF, "count": 1}, {"mode": 3}):
            with pytest.raises(Refused) as refused:
                polling(c, "vale1:" + P, POLLING_ENABLE, **fields)
            assert refused.value.errno == errno.EINVAL, fields
        polling(c, "vale1:" + P, POLLING_ENABLE)
        assert has_pollers(1) and daemon.status()["attached"][0]["polling"]
        with Port(daemon.path, "vale1:app") as app:
            wait_for_carrier(daemon)
            for n in range(20):
                s.send(frame(BROADCAST, 9, b"%d" % n))
                assert app.receive(1) == [frame(BROADCAST, 9, b"%d" % n)]

            def rounds():
                poller = daemon.status()["daemon"]["pollers"][0]
                assert poller["sleeps"] == 0 and poller["rings"] == 1
                return poller["rounds"]

            first = rounds()
            wait_until(lambda: rounds() > first + 1000, "it polls")
            polling(c, "vale1:" + P, POLLING_DISABLE)
            assert daemon.status()["daemon"]["pollers"] == [] and has_pollers(0)
            s.send(frame(BROADCAST, 9, b"end"))
            assert app.receive(1) == [frame(BROADCAST, 9, b"end")]
        for _ in range(3):
            polling(c, "vale1:" + P, POLLING_ENABLE)
            assert has_pollers(1)
            polling(c, "vale1:" + P, POLLING_DISABLE)
        assert has_pollers(0)
        polling(c, "vale1:" + P, POLLING_ENABLE)
        detach(c, "vale1:" + P)
        assert has_pollers(0)


def test_polling_ends_in_turns(start_netmapd):
    """However many workers there are: none is waited for before others have had their turn. Then the stack's packets come."""
    workers, waits_of_a_turn = 64, 32      # netmapd/settings.c
    daemon = start_netmapd("--workers", str(workers), preexec_fn=new_namespace)
    control(daemon, newif)
    control(daemon, attach, "vale1:" + P)

    def turns():
        return daemon.status()["daemon"]["control"]["settings_turns"]

    for _ in range(3):
        before = turns()
        control(daemon, polling, "vale1:" + P, POLLING_ENABLE)
        assert daemon.threads() and len(daemon.status()["daemon"]["pollers"]) == 1 and turns() == before
        control(daemon, polling, "vale1:" + P, POLLING_DISABLE)
        assert daemon.status()["daemon"]["pollers"] == []
        wait_until(lambda: turns() == before + workers // waits_of_a_turn + 1, "each of its turns")
    up(daemon)
    with Port(daemon.path, "vale1:app") as app, \
            socket_inside(daemon, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5), P) as s:
        wait_for_carrier(daemon)
        s.send(frame(BROADCAST, 9, b"end"))
        assert app.receive(1) == [frame(BROADCAST, 9, b"end")]


def test_stopped_while_attached(start_netmapd):
    """SIGTERM finds devices on switches, polled, in use; everything ends in order."""
    daemon = start_netmapd(preexec_fn=new_namespace)
    control(daemon, newif)
    control(daemon, attach, "vale1:" + P)
    control(daemon, polling, "vale1:" + P, POLLING_ENABLE)
    with Port(daemon.path, "vale1:app"):
        daemon.check_end()
