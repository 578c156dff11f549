# SPDX-License-Identifier: BSD-2-Clause
"""Host rings of network interfaces: netmap:v0^, netmap:v0*, and the host's stack on a switch. v0 is the port, and its other end w0
is in another namespace, where there is a peer with an address.
"""

import concurrent.futures
import contextlib
import errno
import json
import multiprocessing
import os
import re
import signal
import socket
import struct
import subprocess
import sys

import pytest

from ptnet_real import (
    ALL_NIC, BROADCAST, BUILD, EXCLUSIVE, MONITOR_RX, NIC_SW, NMREQ_REGISTER, NMREQ_REPLY, NO_MEMORY, ONE_SW, REFUSED_MEMORY,
    REGISTER_FIELDS, SANITIZED, SET, SW, VALE_ATTACH, Connection, Port, Refused, environment, frame, nmreq, user, wait_until,
)
from test_api import TESTS
from test_nic import NOBODY, REASON, TALK, V, W, add_pair, elsewhere, nic, packet, rest, served  # noqa: F401
from test_netmapd_nic import frame_socket, sessions
from test_tap import attach, control, detach, device, inside, new_namespace, socket_inside

pytestmark = pytest.mark.skipif(REASON is not None, reason=f"needs root and veth: {REASON}")

NMAPI = BUILD / "tests/api/nmapi"
NIC_TESTS = [name for name in TESTS if re.match("nic(_|$)", name)]
BRIDGE = BUILD / "apps/netmap-bridge"
HOST, PEER = "192.0.2.2", "192.0.2.1"


@pytest.fixture
def start(start_netmapd):
    """with start(option…, mtu=…, env=…) as (daemon, peer): a netmapd whose v0 has an address, and a peer at the other end of the wire."""

    @contextlib.contextmanager
    def start_(*options, mtu=1500, queues=1, **kwargs):
        daemon = start_netmapd("--workers", "2", *options, nics=True, preexec_fn=new_namespace, **kwargs)
        add_pair(daemon, mtu=mtu, queues=queues)
        inside(daemon, "ip", "addr", "add", f"{HOST}/24", "dev", V)
        with elsewhere(daemon, W, PEER) as peer:
            wait_until(lambda: device(daemon, V)["operstate"] == "UP", "both ends are up")
            yield daemon, peer

    return start_


@contextlib.contextmanager
def bridge(daemon, *ports):
    """Between two ports, or one and its host rings."""
    words = [word for port in ports for word in ("-i", port)]
    child = subprocess.Popen([BRIDGE, "-w", "0", *words], env={**os.environ, "NETMAPD_SOCKET": daemon.path},
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        line = child.stdout.readline()
        while not line.startswith("Bridging"):
            assert line, child.wait()
            line = child.stdout.readline()
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)


def ping(place, address, count=3, check=True):
    """How many answers have come."""
    child = subprocess.run(["nsenter", "-t", str(place.pid), "-n", "ping", "-c", str(count), "-i", "0.05", "-w", "10", address],
                           capture_output=True, text=True, timeout=30)
    assert not check or child.returncode == 0, child.stdout
    return child.returncode == 0


def talk(listener, listens, caller):
    """8 MiB each way by TCP, with their digests."""
    command = ["nsenter", "-t", str(listener.pid), "-n", sys.executable, "-c", TALK, listens, "0", "listen"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        child = subprocess.run(["nsenter", "-t", str(caller.pid), "-n", sys.executable, "-c", TALK, "0.0.0.0", listens, "connect"],
                               capture_output=True, text=True, timeout=120)
        assert child.returncode == 0, child.stderr
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.communicate()


def twin(daemon):
    """Its name; empty: there is none."""
    return nic(daemon)["nic"].get("host_interface", "")


def others(daemon):
    """Names of all interfaces but v0."""
    return {d["ifname"] for d in json.loads(inside(daemon, "ip", "-j", "link"))} - {V}


def addresses(daemon):
    """What users see of the interface."""
    link = device(daemon, V)
    return [inside(daemon, "ip", "addr", "show", "dev", V), inside(daemon, "ip", "route"), link["address"], link["mtu"]]


def as_seen(daemon):
    """The same without what the interface's use changes by itself."""
    text, route, *rest_ = addresses(daemon)
    return ["\n".join(line for line in text.splitlines() if "inet" in line or "link/" in line), route, *rest_]


# ------------------------------------------------------------ through a bridge


@pytest.mark.parametrize("options, mtu, queues", [
    ((), 1500, 1), (("--nic-mode", "generic"), 1500, 1), ((), 9000, 1), ((), 1500, 3),
], ids=["native", "generic", "jumbo", "queues"])
def test_the_stack_through_a_bridge(start, options, mtu, queues):
    """As if nothing were in between: pings and TCP, both ways, with all checksums; users see the interface as it was."""
    with start(*options, mtu=mtu, queues=queues) as (daemon, peer):
        before, had = as_seen(daemon), others(daemon)
        ping(daemon, PEER)
        with bridge(daemon, f"netmap:{V}", f"netmap:{V}^"):
            wait_until(lambda: nic(daemon)["nic"]["link"], "link")
            dropped = nic(daemon)["nic"]["host_dropped"]    # before the bridge had the host rings
            ping(daemon, PEER)
            ping(peer, HOST)
            if "generic" in options:      # such a program sees what w0 leaves to be segmented as one frame
                inside(peer, "ethtool", "-K", W, "tso", "off")
            if mtu > 1500:
                inside(daemon, "ping", "-c", "2", "-w", "10", "-M", "do", "-s", "8900", PEER)
            talk(peer, PEER, daemon)
            talk(daemon, HOST, peer)
            assert as_seen(daemon) == before and others(daemon) == had | {twin(daemon)} and twin(daemon).startswith("nmhost")
            packets = [daemon.ring(V, way, number)["packets"] for way in ("tx", "rx") for number in range(2)]
            assert queues > 1 or (min(packets) > 100 and nic(daemon)["nic"]["host_dropped"] == dropped), packets
        rest(daemon)
        assert as_seen(daemon) == before and others(daemon) == had
        ping(daemon, PEER)


def test_a_bridge_between_a_port_and_its_stack(start):
    with start() as (daemon, peer), bridge(daemon, f"netmap:{V}"):
        wait_until(lambda: nic(daemon)["nic"]["link"], "link")
        ping(daemon, PEER)
        ping(peer, HOST)


def test_host_rings_come_second_and_go_first(start):
    """Their twin comes with the first user of host rings, and goes with the last, while another one has the hardware rings."""
    with start() as (daemon, peer):
        with Port(daemon.path, V):
            assert twin(daemon) == ""
            for _ in range(3):
                with Port(daemon.path, V, mode=SW) as q:
                    assert twin(daemon) in others(daemon)
                    s = stack_socket(daemon)
                    s.send(packet(1, 60))
                    assert coming(q) == [packet(1, 60)]
                wait_until(lambda: twin(daemon) == "", "nobody has host rings")
                wait_until(lambda: not any(name.startswith("nmhost") for name in others(daemon)), "nor is there a twin")
        rest(daemon)


# ------------------------------------------------------------ by frames


def stack_socket(daemon, name=V):
    return socket_inside(daemon, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5), name)


def received(s):
    """None: there was nothing for a while."""
    with contextlib.suppress(TimeoutError):
        return s.recv(65536)


def of_test(frames):
    return [f for f in frames if f[12:14] == b"\x88\xb5"]


def coming(port, ring=0):
    """The test's packets that come next, one at least; the stack has others to send, too."""
    got = []
    wait_until(lambda: got.extend(of_test(port.received(ring=ring))) or got, "a packet comes")
    return got


@pytest.mark.parametrize("options", [(), ("--nic-mode", "generic")], ids=["native", "generic"])
def test_all_rings_of_a_port(start, options):
    """v0*: the wire's rings, then those of the stack; each leads where it should, in order, and nowhere else."""
    with start(*options, queues=2) as (daemon, peer):
        outside = stack_socket(peer, W)
        with Port(daemon.path, V, mode=NIC_SW) as p:
            assert [len(p.tx), len(p.rx)] == [3, 3]
            assert [p.reg[k] for k in ("tx_rings", "rx_rings", "host_tx_rings", "host_rx_rings")] == [2, 2, 1, 1]
            inside_ = stack_socket(daemon)
            for n in range(50):
                p.send(packet(n, 60 + n * 29), ring=2)      # the stack receives
                assert inside_.recv(65536) == packet(n, 60 + n * 29)
                inside_.send(packet(n, 60 + n * 29))         # the stack sends
                assert coming(p, ring=2) == [packet(n, 60 + n * 29)]
                p.send(packet(n + 100, 60), ring=n % 2)     # to the wire
                assert outside.recv(65536) == packet(n + 100, 60)
                outside.send(packet(n + 200, 60))
                got = []
                wait_until(lambda: got.extend(of_test(p.received(ring=0) + p.received(ring=1))) or got, "it came by the wire")
                assert got == [packet(n + 200, 60)]
            for s in inside_, outside:
                s.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    s.recv(65536)
            assert daemon.ring(V, "tx", 2)["packets"] == 50 and daemon.ring(V, "rx", 2)["errors"] == {}
        rest(daemon)


def test_host_rings_alone(start):
    """The wire stays the stack's; what the stack sends is the host ring's, and doesn't get to the wire."""
    with start() as (daemon, peer):
        outside = stack_socket(peer, W)
        with Port(daemon.path, V, mode=SW) as p:
            inside_ = stack_socket(daemon)
            outside.send(packet(1, 60))
            assert inside_.recv(65536) == packet(1, 60)
            inside_.send(packet(2, 60))
            assert coming(p) == [packet(2, 60)]
            p.send(packet(3, 60))
            assert inside_.recv(65536) == packet(3, 60)
            with Port(daemon.path, V, mode=ALL_NIC) as q:     # now it is the port's
                outside.send(packet(4, 60))
                assert coming(q) == [packet(4, 60)]
            inside_.settimeout(0.1)
            wait_until(lambda: outside.send(packet(5, 60)) and received(inside_) == packet(5, 60), "it is the stack's again")
            outside.settimeout(0.2)
            with pytest.raises(TimeoutError):
                outside.recv(65536)
        rest(daemon)


def test_numbers_of_host_rings(start):
    """Who comes first says how many; all that the stack sends comes by one of them."""
    with start() as (daemon, peer):
        with pytest.raises(Refused, match="65 tx and 1 rx host rings.*at most 64"):
            Port(daemon.path, V, mode=SW, host_tx_rings=65)
        with Port(daemon.path, V, mode=SW, host_tx_rings=3, host_rx_rings=4) as p:
            assert [len(p.tx), len(p.rx)] == [3, 4]
            s = stack_socket(daemon)
            for n in range(64):
                s.send(mac_frame(n))
            got = []
            wait_until(lambda: [got.extend(of_test(p.received(ring=r))) for r in range(4)] and len(got) >= 64, "all have come")
            assert sorted(got) == sorted(mac_frame(n) for n in range(64))
            for ring in range(3):
                p.send(packet(ring, 60), ring=ring)
                assert s.recv(65536) == packet(ring, 60)
        rest(daemon)
        with Port(daemon.path, V, mode=SW) as p:
            assert [len(p.tx), len(p.rx)] == [1, 1]
        with Port(daemon.path, V, mode=ONE_SW, ringid=1, host_tx_rings=2, host_rx_rings=2) as p:
            s.send(mac_frame(1))
            assert coming(p) == [mac_frame(1)]     # by whichever queue: it is the only reader
        rest(daemon)


def mac_frame(n):
    return frame(BROADCAST, n, struct.pack("=I", n), 60)[:12] + packet(n, 60)[12:]


def test_long_frames_in_generic_mode(start):
    """The kernel takes no more than 16000 bytes for the host then: what is longer is refused, and counted."""
    def send(p, frame_):
        rest_ = len(frame_) % 3000
        p.send(frame_, ring=1, fragments=[3000] * (len(frame_) // 3000) + [rest_] * (rest_ > 0))

    with start("--nic-mode", "generic", mtu=20000) as (daemon, peer):
        with Port(daemon.path, V, mode=NIC_SW) as p:
            s = stack_socket(daemon)
            for n, length in enumerate((60, 9000, 16000)):
                send(p, packet(n, length))
                assert s.recv(65536) == packet(n, length)
            for n, length in enumerate((16001, 16100, 17000)):
                send(p, packet(n, length))
            wait_until(lambda: daemon.ring(V, "tx", 1)["errors"] == {"too_long": 3}, "they are refused")
        rest(daemon)


def test_what_isnt_the_stacks_doesnt_come(start):
    """Somebody sends by the twin itself."""
    with start() as (daemon, peer):
        with Port(daemon.path, V, mode=NIC_SW) as p:
            stranger, s = stack_socket(daemon, twin(daemon)), stack_socket(daemon)
            for n in range(10):
                with contextlib.suppress(OSError):
                    stranger.send(packet(n, 60))
            s.send(packet(20, 60))
            assert coming(p, ring=1) == [packet(20, 60)]
        rest(daemon)


def test_vlans_of_the_stack(start):
    """A tag that the stack leaves to the interface is in the frame, and one in the frame is the stack's VLAN."""
    with start() as (daemon, peer):
        inside(daemon, "ip", "link", "add", "link", V, "name", "vlan5", "type", "vlan", "id", "5", check=False)
        if not device(daemon, "vlan5"):
            pytest.skip("this kernel has no VLANs")
        with Port(daemon.path, V, mode=NIC_SW) as p:
            inside(daemon, "ip", "link", "set", "vlan5", "up")
            s = stack_socket(daemon, "vlan5")
            one = packet(20, 60)[:12] + b"\x81\x00\x00\x05" + packet(20, 60)[12:]
            s.send(packet(20, 60))
            got = []
            wait_until(lambda: got.extend(p.received(ring=1)) or one in got, "it has come")
            p.send(one, ring=1)
            assert s.recv(65536) == packet(20, 60)
        rest(daemon)


def test_monitors_and_pipes(start):
    """A monitor of the host rings sees what the stack sends."""
    with start() as (daemon, peer):
        with Port(daemon.path, V, mode=SW) as p, Port(daemon.path, V, mode=SW, flags=MONITOR_RX) as m:
            s = stack_socket(daemon)
            s.send(packet(1, 60))
            assert coming(p) == [packet(1, 60)]
            assert coming(m) == [packet(1, 60)]
        rest(daemon)


def test_what_host_rings_are_too_slow_for_is_counted(start):
    """The kernel has no room for it: the ring says how many frames that were, also when what leads to it is gone."""
    sent = 5000

    def lost(daemon):
        port = nic(daemon)
        errors = next(r["errors"] for r in port["rings"] if (r["dir"], r["id"]) == ("rx", 1))
        count = port["nic"]["host_lost"]
        assert errors == ({"receiver_full": count} if count else {})
        return count

    def dropped():
        return json.loads(inside(daemon, "ip", "-j", "-s", "link", "show", "dev", twin(daemon)))[0]["stats64"]["tx"]["dropped"]

    with start() as (daemon, peer):
        with Port(daemon.path, V):
            with Port(daemon.path, V, mode=SW) as p:
                s = stack_socket(daemon)
                for n in range(sent):
                    with contextlib.suppress(OSError):
                        s.send(packet(n, 60))
                got = []
                wait_until(lambda: got.extend(of_test(p.received())) or len(got) + lost(daemon) >= sent, "all are somewhere")
                wait_until(lambda: lost(daemon) == dropped(), "the same as ip says")
                count = lost(daemon)
                assert count > sent // 4 and len(got) + count <= sent + 20
            wait_until(lambda: twin(daemon) == "", "nobody has host rings")
            with Port(daemon.path, V, mode=SW):
                assert count <= lost(daemon) <= count + 20
        rest(daemon)


def test_what_is_dropped_in_front_of_the_twin_is_counted(start):
    """By its queueing discipline, also when that is replaced and begins anew."""
    def lost():
        return nic(daemon)["nic"]["host_lost"]

    def discipline(kind):
        inside(daemon, "tc", "qdisc", "replace", "dev", twin(daemon), "root", kind, check=False)
        if f"qdisc {kind}" not in inside(daemon, "tc", "qdisc", "show", "dev", twin(daemon)):
            pytest.skip(f"this kernel has no {kind}")

    with start() as (daemon, peer):
        with Port(daemon.path, V, mode=SW):
            s = stack_socket(daemon)
            for count in 100, 200, 300:
                discipline("pfifo")
                discipline("blackhole")
                for _ in range(100):
                    s.send(packet(1, 60))
                wait_until(lambda: lost() >= count, "they are counted")
        rest(daemon)


# ------------------------------------------------------------ the API suite's tests of interfaces


@pytest.mark.parametrize("test", NIC_TESTS)
def test_api(start_netmapd, test):
    """As against the kernel's emulated adapter, in guests."""
    daemon = start_netmapd("--workers", "2", nics=True, preexec_fn=new_namespace)
    add_pair(daemon)
    command = ["nsenter", "-t", str(daemon.pid), "-n", NMAPI, test]
    child = subprocess.run(command, env={**environment(daemon.path), "NMAPI_NIC": V, "NMAPI_NIC_PEER": W},
                           capture_output=True, text=True, timeout=120)
    assert child.returncode == 0 and "ok 1 - " in child.stdout, child.stdout + child.stderr
    if "# SKIP" in child.stdout:
        pytest.skip(child.stdout.split("# SKIP ")[1].splitlines()[0])
    rest(daemon)


# ------------------------------------------------------------ on a switch


def test_nic_and_stack_on_a_switch(start):
    """vale-ctl -h: two ports; the stack, the wire and an application on one switch talk to each other."""
    with start() as (daemon, peer):
        control(daemon, attach, f"vale1:{V}", NIC_SW)
        assert {p["name"] for p in daemon.status()["ports"]} >= {V, f"vale1:{V}", f"vale1:{V}^"}
        wait_until(lambda: nic(daemon)["nic"]["link"], "link")
        ping(daemon, PEER)
        ping(peer, HOST)
        talk(peer, PEER, daemon)
        # Packets wait for a full receiver as the device's name says, at its host rings as well.
        for line, ms in (f"vale1:{V} 7", 7), (f"vale1:{V}^ 0", 0), (f"vale1:{V} any", 100):
            with Connection(daemon.path) as c:
                c.ask(SET, f"full-wait {line}".encode().ljust(256, b"\0"))
            waits = {p["name"]: p["full_wait_us"] for p in daemon.status()["ports"]}
            assert waits[f"vale1:{V}"] == waits[f"vale1:{V}^"] == 1000 * ms
        with Port(daemon.path, "vale1:app") as p:
            stack_socket(daemon).send(packet(1, 60))
            got = []
            wait_until(lambda: got.extend(of_test(p.received())) or got, "the stack's broadcast")
            stack_socket(peer, W).send(packet(2, 60))
            wait_until(lambda: got.extend(of_test(p.received())) or len(got) == 2, "the wire's")
            assert got == [packet(1, 60), packet(2, 60)]
            both = stack_socket(daemon), stack_socket(peer, W)
            p.send(packet(3, 60))
            assert [s.recv(65536) for s in both] == [packet(3, 60)] * 2
        control(daemon, detach, f"vale1:{V}")
        rest(daemon)
        assert not any(name.startswith("nmhost") for name in others(daemon))
        ping(daemon, PEER)


@pytest.mark.skipif(SANITIZED, reason="the allocator is the sanitizers'")
def test_without_memory_for_the_reply_the_stack_is_on_the_switch_as_well(start):
    """The reply comes before the host rings work, and they do."""
    body = NMREQ_REGISTER.pack(*(NIC_SW if f == "mode" else 0 for f in REGISTER_FIELDS)) + bytes(2345)
    request = nmreq(VALE_ATTACH, f"vale1:{V}", body)
    env = environment(LD_PRELOAD=str(NO_MEMORY), NO_MEMORY=str(NMREQ_REPLY + len(request)))
    with start(env=env) as (daemon, _), Connection(daemon.path) as c:
        c.nmreq(request)
        assert REFUSED_MEMORY in daemon.log()
        wait_until(lambda: twin(daemon), "its host rings")
        wait_until(lambda: nic(daemon)["nic"]["link"], "link")
        ping(daemon, PEER)
        assert c.hello() == daemon.pid


def test_two_places_and_the_stack_on_a_switch(start):
    """A namespace behind a second interface, one behind the first, and the host's own stack, all on one switch."""
    with start() as (daemon, peer):
        add_pair(daemon, "v1", "w1")
        with elsewhere(daemon, "w1", "192.0.2.3") as third:
            control(daemon, attach, f"vale1:{V}", NIC_SW)
            control(daemon, attach, "vale1:v1", ALL_NIC)
            wait_until(lambda: all(nic(daemon, name)["nic"]["link"] for name in (V, "v1")), "links")
            for one, address in (daemon, PEER), (peer, "192.0.2.3"), (third, HOST), (third, PEER), (daemon, "192.0.2.3"):
                ping(one, address)
            talk(third, "192.0.2.3", daemon)
            talk(peer, PEER, third)
            control(daemon, detach, "vale1:v1")
            control(daemon, detach, f"vale1:{V}")
        rest(daemon)


# ------------------------------------------------------------ life


def test_a_killed_netmapd(start):
    """Nothing of it is left: neither twin nor programs; the interface is the stack's again."""
    with start() as (daemon, peer):
        had = others(daemon)
        with bridge(daemon, f"netmap:{V}", f"netmap:{V}^"):
            wait_until(lambda: nic(daemon)["nic"]["link"], "link")
            keeper = subprocess.Popen(["nsenter", "-t", str(daemon.pid), "-n", "sleep", "300"])
            try:
                wait_until(lambda: others(keeper) == others(daemon), "it is in the namespace")
                os.kill(daemon.pid, signal.SIGKILL)
                daemon.process.wait(30)
                wait_until(lambda: others(keeper) == had, "the twin is gone")
                wait_until(lambda: ping(keeper, PEER, count=1, check=False), "the stack has its wire")
                assert "xdp" not in inside(keeper, "ip", "link", "show", "dev", V)
            finally:
                keeper.kill()
                keeper.wait()


def test_a_killed_netmapd_nic(start):
    """The port is dead, and says so; the stack has its wire, and no twin is left."""
    with start() as (daemon, peer):
        had = others(daemon)
        with Port(daemon.path, V, mode=NIC_SW):
            wait_until(lambda: twin(daemon), "a twin")
            for pid in helpers(daemon):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: any(p.get("dead") for p in daemon.status()["ports"]), "the port is dead")
            wait_until(lambda: others(daemon) == had, "the twin is gone")
            wait_until(lambda: ping(daemon, PEER, count=1, check=False), "the stack has its wire")
        rest(daemon)
        with Port(daemon.path, V, mode=NIC_SW):
            assert twin(daemon)
        rest(daemon)


def helpers(daemon):
    """Processes of netmapd-nic that have an interface: each has a socket AF_PACKET, or a program; all below this netmapd."""
    found = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True, check=True).stdout.split("\n")[1:]
    rows = [line.split(None, 2) for line in found if line.strip()]
    family = {daemon.pid}
    for _ in range(4):
        family |= {int(pid) for pid, parent, _ in rows if int(parent) in family}
    return [int(pid) for pid, _, name in rows if int(pid) in family and name.strip() == "netmapd-nic"]


def test_the_twin_is_removed(start):
    """By an administrator: the port is dead, with a reason; afterwards it can be had again."""
    with start() as (daemon, peer):
        with Port(daemon.path, V, mode=NIC_SW):
            name = twin(daemon)
            inside(daemon, "ip", "link", "del", name)
            wait_until(lambda: any(p.get("dead") for p in daemon.status()["ports"]), "the port is dead")
            daemon.logged(f"{V}: the interface {name} was removed, which led to its host rings")
        rest(daemon)
        with Port(daemon.path, V, mode=NIC_SW):
            pass
        rest(daemon)


def test_no_host_rings_where_the_stack_keeps_the_wire(start):
    """--nic-pass sent: a reason, and who has the hardware rings goes on."""
    with start("--nic-pass", "sent") as (daemon, peer):
        with Port(daemon.path, V) as p:
            for mode in SW, ONE_SW, SW:
                with pytest.raises(Refused, match="--nic-pass sent leaves that to the wire") as refused:
                    Port(daemon.path, V, mode=mode)
                assert refused.value.errno == errno.EOPNOTSUPP
            outside = stack_socket(peer, W)
            outside.send(packet(1, 60))
            assert coming(p) == [packet(1, 60)]
        rest(daemon)
        with pytest.raises(Refused, match="--nic-pass sent"):
            control(daemon, attach, f"vale1:{V}", NIC_SW)
        rest(daemon)


@contextlib.contextmanager
def stopped(processes):
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_a_refusal_is_for_whoever_wants_host_rings(start):
    """Another one, who wants the wire and comes while netmapd-nic has yet to refuse, gets that."""
    with start("--nic-pass", "sent") as (daemon, peer), Port(daemon.path, V), concurrent.futures.ThreadPoolExecutor(2) as pool:
        with stopped(helpers(daemon)):
            host = pool.submit(Port, daemon.path, V, mode=SW)
            wait_until(lambda: len(daemon.status()["applications"]) == 2, "it waits for its host rings")
            wire = pool.submit(Port, daemon.path, V)
            wait_until(lambda: len(daemon.status()["applications"]) == 3, "so does the one who wants none")
            assert not host.done() and not wire.done()
        with pytest.raises(Refused, match="--nic-pass sent leaves that to the wire"):
            host.result(30)
        with wire.result(30) as p:
            stack_socket(peer, W).send(packet(1, 60))
            assert coming(p) == [packet(1, 60)]
    rest(daemon)


def test_host_rings_and_machines(start):
    """A machine gets none, and while it has the interface nobody else does: both are told why, and the machine's port goes on."""
    with start() as (daemon, peer):
        with Connection(daemon.path) as machine:
            machine.vm_create(b"vm")
            for port in f"netmap:{V}^", f"netmap:{V}*":
                with pytest.raises(Refused, match="host rings"):
                    machine.vm_add_port(port)
            machine.vm_add_port(f"netmap:{V}")
            with pytest.raises(Refused, match="belongs to a virtual machine"):
                Port(daemon.path, V, mode=SW)
            assert nic(daemon)["nic"]["state"] == "running" and twin(daemon) == ""
        rest(daemon)


def test_exclusive_host_rings(start):
    with start() as (daemon, peer):
        with Port(daemon.path, V, mode=SW, flags=EXCLUSIVE), Port(daemon.path, V):
            with pytest.raises(Refused):
                Port(daemon.path, V, mode=SW)
        rest(daemon)


def test_an_ordinary_user_has_host_rings(served):  # noqa: F811
    """netmapd without privilege, by the service: the twin is the service's, and its descriptors netmapd's."""
    lab, daemon = served(f"allow {NOBODY} {V} {W} host")
    with contextlib.ExitStack() as stack_:
        with user(NOBODY):
            p = stack_.enter_context(Port(daemon.path, V, mode=NIC_SW))
        name = twin(daemon)
        link = lab.ns.link(name)
        assert link["ifalias"] == f"host rings of {V} (netmapd)" and link["operstate"] in ("UP", "UNKNOWN")
        assert "inet" not in lab.ns.ip(f"addr show dev {name}")

        class Place:
            pid = lab.ns.keeper.pid

        s = stack_socket(Place)
        s.send(packet(1, 60))
        assert coming(p, ring=1) == [packet(1, 60)]
        p.send(packet(2, 60), ring=1)
        assert s.recv(65536) == packet(2, 60)
    rest(daemon)
    wait_until(lambda: lab.ns.link(name) is None, "the twin is gone")


def test_each_user_is_asked_for(served):  # noqa: F811
    """Root may have host rings of a port that another user has opened, who may not; whoever comes later is asked for as well."""
    other = 51004
    lab, daemon = served(f"allow {NOBODY} {V} host", f"allow {other} {V}")
    os.chmod(daemon.path, 0o666)    # as --group does it for some
    refused = f'{V}: user {other} may not have its host rings.*"allow {other} {V} host" in '

    def refuse():
        with user(other), pytest.raises(Refused, match=refused):
            Port(daemon.path, V, mode=ONE_SW, ringid=1)

    with user(other):
        keep = Port(daemon.path, V, host_tx_rings=2, host_rx_rings=2)
    with keep:
        refuse()
        with Port(daemon.path, V, mode=ONE_SW) as p:
            refuse()
            assert lab.ns.link(twin(daemon)) and nic(daemon)["nic"]["state"] == "running"
            s = frame_socket(lab.ns, V)
            s.send(packet(1, 60))
            assert coming(p) == [packet(1, 60)]
            s.close()
            refuse()
        refuse()
        wait_until(lambda: twin(daemon) == "", "nobody has host rings")
    rest(daemon)


def as_another(uid, fn):
    """A process of that user's calls it. Where what it was refused for will come."""
    ours, its = multiprocessing.Pipe()
    child = os.fork()
    if child == 0:
        try:
            os.seteuid(uid)
            fn()
            its.send("")
        except Refused as e:
            its.send(str(e))
        finally:
            os._exit(0)
    its.close()
    return ours, child


def flow(n):
    """A datagram of another flow for each n: they take all queues of a device."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 46, n, 0, 64, 17, 0, bytes((192, 0, 2, 2)), bytes((192, 0, 2, n)))
    return BROADCAST + bytes((2, 0, 0, 0, 0, 1)) + b"\x08\x00" + ip + struct.pack("!HHHH", 1000 + n, 2000 + 7 * n, 26, 0) + bytes(18)


def test_who_is_about_to_be_refused_takes_nothing(served):  # noqa: F811
    """Root has one host ring, and another user asks for the second one: as long as he has no answer root's gets what there is."""
    other = 51004
    lab, daemon = served(f"allow {NOBODY} {V} host", f"allow {other} {V}")
    os.chmod(daemon.path, 0o666)    # as --group does it for some
    with user(other):
        keep = Port(daemon.path, V, host_tx_rings=2, host_rx_rings=2)
    with keep, Port(daemon.path, V, mode=ONE_SW) as p:
        frames = [flow(n) for n in range(32)]
        found = []
        s = frame_socket(lab.ns, V)
        with stopped(sessions(lab)):
            asks, child = as_another(other, lambda: Port(daemon.path, V, mode=ONE_SW, ringid=1))
            wait_until(lambda: len(daemon.status()["applications"]) == 3, "he waits for his answer")
            for each in frames:
                s.send(each)
            wait_until(lambda: found.extend(f for f in p.received() if f in frames) or len(found) >= len(frames), "root has all of them")
        assert "may not have its host rings" in asks.recv()
        os.waitpid(child, 0)
        assert sorted(found) == sorted(frames)
        s.close()
    rest(daemon)


def test_host_rings_are_a_right_of_their_own(served):  # noqa: F811
    """Who may have the wire has not therefore what the host says there; the reason names the line, and the wire goes on."""
    lab, daemon = served(f"allow {NOBODY} {V}", f"allow {NOBODY} {W} host")
    with user(NOBODY):
        for mode in SW, NIC_SW, ONE_SW:
            with pytest.raises(Refused, match=f'{V}: user {NOBODY} may not have its host rings.*"allow {NOBODY} {V} host" in ') as refused:
                Port(daemon.path, V, mode=mode)
            assert refused.value.errno == errno.EACCES
        with Port(daemon.path, V):
            with pytest.raises(Refused, match="may not have its host rings"):
                Port(daemon.path, V, mode=SW)
            assert twin(daemon) == "" and nic(daemon)["nic"]["state"] == "running"
        Port(daemon.path, W, mode=SW).close()
    rest(daemon)
