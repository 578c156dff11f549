# SPDX-License-Identifier: BSD-2-Clause
"""netmapd-nic, and netmapd's side of it (nic_client.h, xsk.h): on veth, in network namespaces of each test's own."""

import array
import concurrent.futures
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

import jsonschema
import pytest

from nic_lab import NETMAPD_NIC, Lab, why_no_nic
from ptnet_real import BUILD, NETMAPCTL, PATIENCE, REPO, SANITIZED, Port, Refused, user as connecting_as, wait_until
from test_isolation import Hanging

SCHEMA = json.loads((REPO / "tools/netmapctl/netmapctl.schema.json").read_text())

REASON = why_no_nic()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"needs root, veth and AF_XDP: {REASON}")

NOBODY = 65534
OLD_KERNEL = ("setarch", "--uname-2.6")  # the number that uname() tells: of one before 6.4, whatever it is
VLAN = "rx-vlan-offload"  # an offload that must be off, which veth has on
ALL_SIZES = (60, 61, 64, 128, 1023, 1024, 1025, 1514)


@pytest.fixture
def lab(place):
    lab = Lab(place)
    yield lab
    lab.close()


# ------------------------------------------------------------ modes and packets


@pytest.mark.parametrize("mode", ["any", "native", "generic"])
def test_packets_go_both_ways_unchanged(lab, mode):
    one, other = lab.use("nic0", mode=mode), lab.use("nic1", mode=mode)
    expected = "native" if mode == "any" else mode
    assert [one.bound(), other.bound()] == [expected, expected]
    count = 0
    for size in ALL_SIZES:
        for sender, receiver in ((one, other), (other, one)):
            sender.send(100, size)
            receiver.receives(count + 100)
        count += 100
    for user in (one, other):
        received, total, _, bad, dropped = user.stats()
        assert (received, total, bad, dropped) == (count, 100 * sum(ALL_SIZES), 0, 0)
        assert user.close() == 0


def test_the_best_mode_says_why_it_is_no_better(lab):
    user = lab.use("nic0")
    assert user.bound() == "native"
    assert "driver veth has no zero copy" in user.lines.seen[-1]
    assert user.close() == 0


def test_zero_copy_that_is_demanded_and_not_there_is_an_error(lab):
    user = lab.use("nic0", mode="zero-copy")
    number, text = user.failed()
    assert number == errno.EOPNOTSUPP and "nic0: driver veth has no zero copy" in text
    assert lab.ns.program("nic0") is None
    assert user.close() == 0


@pytest.mark.skipif(SANITIZED, reason="the sanitizers' library must be the first one that is preloaded")
@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["", "old-kernel"])
@pytest.mark.parametrize("queues", [1, 4])
def test_sockets_that_are_bound_in_a_wrong_mode_are_replaced(lab, queues, prefix):
    lab.pair("nicq0", "nicq1", queues=queues)
    other = lab.use("nicq1")
    assert other.bound() == "native"
    lab.program = lab.wrapper("half", lab.state, preload=BUILD / "tests/daemon/libhalf_zerocopy.so", prefix=" ".join(prefix))
    user = lab.use("nicq0")
    assert user.bound() == "native"
    assert user.lines.seen.count(f"opened {queues}") == 2 and "the kernel copies although it was asked not to" in user.lines.seen[-1]
    for sender, receiver in ((user, other), (other, user)):
        sender.send(100, 1514)
        receiver.receives(100)
        assert receiver.stats()[3:] == [0, 0]
    assert [user.close(), other.close()] == [0, 0]
    number, text = lab.use("nicq0", mode="zero-copy").failed()
    assert number == errno.EOPNOTSUPP and "the kernel copies although it was asked not to" in text


def test_old_kernels_map_rings_before_they_bind(lab):
    """Before Linux 6.4 mmap() of a bound socket is EBUSY. Unbound ones are for those who may have every interface."""
    lab.program = lab.wrapper("old", lab.state, prefix=" ".join(OLD_KERNEL))
    one = lab.use("nic0")
    assert one.bound() == "native"
    path = lab.serve("allow nobody nic*\n", prefix=OLD_KERNEL)
    number, text = lab.use("nic1", socket=path, uid=NOBODY).failed()
    assert number == errno.EACCES and f'"allow {NOBODY} *" in {lab.config}' in text
    lab.config.write_text("allow nobody nic*\nallow nobody x *\n")
    other = lab.use("nic1", socket=path, uid=NOBODY)
    assert other.bound() == "native"
    for sender, receiver in ((one, other), (other, one)):
        sender.send(100, 1514)
        receiver.receives(100)
    assert [user.stats()[3:] for user in (one, other)] == [[0, 0], [0, 0]]
    assert [one.close(), other.close()] == [0, 0]


def test_a_driver_without_xdp_gets_the_generic_mode(lab):
    lab.ns.ip("link add nicd type bridge")
    lab.ns.ip("link set nicd up")
    user = lab.use("nicd")
    assert user.bound() == "generic"
    assert "nicd: driver bridge takes no XDP program of its own" in user.lines.seen[-1]
    assert user.close() == 0


def test_each_queue_has_its_socket(lab):
    lab.pair("nicq0", "nicq1", queues=4)
    one, other = lab.use("nicq0"), lab.use("nicq1")
    assert [one.bound(), other.bound()] == ["native", "native"]
    assert one.lines.seen[-1].split()[2] == "4"
    for sent in range(100, 2001, 100):  # through all queues, and not more than the receiver has room for
        one.send(100, 100)
        other.receives(sent)
    assert other.stats()[3:] == [0, 0]
    assert [one.close(), other.close()] == [0, 0]


def test_some_queues_only(lab):
    lab.pair("nicq0", "nicq1", queues=4)
    user = lab.use("nicq0", first=1, queues=2)
    assert user.bound() == "native"
    assert user.lines.seen[-1].split()[2] == "2"
    user.send(10, 60)
    assert user.close() == 0
    number, text = lab.use("nicq0", first=3, queues=2).failed()
    assert number == errno.EINVAL and "queues 3 to 4" in text and "has 4" in text


def test_long_packets_need_several_chunks(lab):
    lab.pair("nicl0", "nicl1", mtu=9000)
    number, text = lab.use("nicl0").failed()
    assert number == errno.EMSGSIZE and "its MTU is 9000, at most 3822 fit" in text and "ip link set nicl0 mtu 3822" in text
    user = lab.use("nicl0", sg=1)
    assert user.bound() in ("native", "generic")
    assert user.close() == 0


def test_busy_polling(lab):
    path = lab.serve("allow nobody nic*\n")  # which a user may not switch on by himself
    one, other = lab.use("nic0", busy=50, socket=path, uid=NOBODY), lab.use("nic1")
    assert [one.bound(), other.bound()] == ["native", "native"]
    for sender, receiver in ((one, other), (other, one)):
        sender.send(100, 60)
        receiver.receives(100)
    assert [one.close(), other.close()] == [0, 0]


# ------------------------------------------------------------ what stays the stack's


def test_arp_and_addresses_of_the_host_stay_the_hosts(lab):
    outside = lab.namespace()
    lab.pair("nicp0", "nicp1", other_ns=outside)
    lab.ns.ip("address add 10.99.0.1/24 dev nicp0")
    lab.ns.ip("address add 10.99.0.3/24 dev nicp0")
    outside.ip("address add 10.99.0.2/24 dev nicp1")
    ping = ("ping", "-c", "3", "-i", "0.2", "-W", "1")
    user = lab.use("nicp0", **{"pass": 1}, ip4="10.99.0.1")
    assert user.bound() == "native"
    assert outside.run(*ping, "10.99.0.1", check=False).returncode == 0
    assert user.stats()[0] == 0
    assert outside.run(*ping, "10.99.0.3", check=False).returncode != 0
    assert user.stats()[0] == 3
    assert user.close() == 0
    assert outside.run(*ping, "10.99.0.3", check=False).returncode == 0


def test_neighbours_and_ip6_addresses_of_the_host_stay_the_hosts(lab):
    outside = lab.namespace()
    lab.pair("nicp0", "nicp1", other_ns=outside)
    for ns, name, address in ((lab.ns, "nicp0", "fd99::1"), (outside, "nicp1", "fd99::2")):
        ns.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=0")
        ns.ip(f"address add {address}/64 dev {name} nodad")
    ping = ("ping", "-6", "-c", "3", "-i", "0.2", "-W", "1", "fd99::1")
    user = lab.use("nicp0", **{"pass": 2}, ip6="fd99::1")
    assert user.bound() == "native"
    assert outside.run(*ping, check=False).returncode == 0
    assert user.close() == 0
    user = lab.use("nicp0", **{"pass": 2})
    assert user.bound() == "native"
    assert outside.run(*ping, check=False).returncode != 0
    assert user.stats()[0] >= 3
    assert user.close() == 0


def frames(ns, interface):
    """Received by it."""
    return json.loads(ns.run("ip", "-j", "-s", "link", "show", "dev", interface))[0]["stats64"]["rx"]["packets"]


def outer_pair(lab):
    """nicp0 of the host, 10.99.0.1, and nicp1 outside, 10.99.0.2, which know each other."""
    outside = lab.namespace()
    lab.pair("nicp0", "nicp1", other_ns=outside)
    for ns, name, number, other, peer in ((lab.ns, "nicp0", 1, outside, "nicp1"), (outside, "nicp1", 2, lab.ns, "nicp0")):
        ns.ip(f"address add 10.99.0.{number}/24 dev {name}")
        ns.ip(f"neigh add 10.99.0.{3 - number} lladdr {other.link(peer)['address']} dev {name}")
    return outside


PING = ("ping", "-c", "3", "-i", "0.2", "-W", "1")


@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["", "old-kernel"])
def test_the_stack_sends_nothing_meanwhile(lab, prefix):
    """As in the kernel's netmap. By a link, or, before Linux 6.6, by a filter of the traffic control."""
    outside = outer_pair(lab)
    lab.program = lab.wrapper("stack", lab.state, prefix=" ".join(prefix))
    user = lab.use("nicp0")
    assert user.bound() == "native"
    before = frames(outside, "nicp1")
    assert lab.ns.run(*PING, "10.99.0.2", check=False).returncode != 0
    assert frames(outside, "nicp1") == before
    user.send(10, 60)
    wait_until(lambda: frames(outside, "nicp1") == before + 10, "the port's frames get out")
    assert user.close() == 0
    wait_until(lambda: lab.claims() == [], "all is put back")
    assert lab.ns.run(*PING, "10.99.0.2", check=False).returncode == 0
    assert "netmapd_nic" not in lab.ns.run("tc", "filter", "show", "dev", "nicp0", "egress")


def test_what_the_stack_sends_can_be_let_out(lab):
    outside = outer_pair(lab)
    user = lab.use("nicp0", **{"pass": 8})
    assert user.bound() == "native"
    before = frames(outside, "nicp1")
    lab.ns.run(*PING, "10.99.0.2", check=False)
    assert frames(outside, "nicp1") == before + 3
    assert user.close() == 0


def egress(lab):
    return lab.ns.run("tc", "filter", "show", "dev", "nicp0", "egress")


def sends_nothing(lab, outside, to="10.99.0.2"):
    before = frames(outside, "nicp1")
    lab.ns.run(*PING, to, check=False)
    return frames(outside, "nicp1") == before


def add_filter(lab, priority):
    """One of others, which ends the chain: what it sees goes out."""
    lab.ns.run("tc", "filter", "add", "dev", "nicp0", "egress", "prio", priority, "protocol", "all", "u32", "match", "u32", "0", "0",
               "flowid", "1:1")


@pytest.mark.parametrize("meanwhile", [False, True])
def test_filters_of_others_stay(lab, meanwhile):
    """What they have set up is not taken away with ours, not even below the clsact that we have made."""
    outside = outer_pair(lab)
    lab.program = lab.wrapper("stack", lab.state, prefix=" ".join(OLD_KERNEL))
    if not meanwhile:
        lab.ns.run("tc", "qdisc", "add", "dev", "nicp0", "clsact")
        add_filter(lab, 7)
    user = lab.use("nicp0")
    assert user.bound() == "native"
    assert "netmapd_nic" in egress(lab)
    if meanwhile:
        add_filter(lab, 7)
    assert sends_nothing(lab, outside)
    assert user.close() == 0
    wait_until(lambda: lab.claims() == [], "all is put back")
    assert "pref 7 u32" in egress(lab) and "netmapd_nic" not in egress(lab)


def test_the_first_priority_may_be_anothers(lab):
    """Then our filter comes behind it, and what that one lets out goes out."""
    outer_pair(lab)
    lab.ns.run("tc", "qdisc", "add", "dev", "nicp0", "clsact")
    add_filter(lab, 1)
    before = egress(lab)
    lab.program = lab.wrapper("stack", lab.state, prefix=" ".join(OLD_KERNEL))
    user = lab.use("nicp0")
    assert user.bound() == "native"
    assert before in egress(lab) and "netmapd_nic" in egress(lab)
    assert user.close() == 0
    wait_until(lambda: lab.claims() == [], "all is put back")
    assert egress(lab) == before


EGRESS_PROGRAM = """
import ctypes, os, socket, struct, sys
call = ctypes.CDLL(None, use_errno=True).syscall
def bpf(command, attr):
    attr = attr.ljust(128, b"\\0")
    fd = call({"x86_64": 321, "aarch64": 280}[os.uname().machine], command, attr, len(attr))
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return fd
insns, text = ctypes.create_string_buffer(bytes.fromhex(sys.argv[2]), len(sys.argv[2]) // 2), ctypes.create_string_buffer(b"GPL")
program = bpf(5, struct.pack("=IIQQ", 3, len(insns) // 8, ctypes.addressof(insns), ctypes.addressof(text)))
link = bpf(28, struct.pack("=IIII", program, socket.if_nametoindex(sys.argv[1]), 47, 0))
print("attached", flush=True)
sys.stdin.read()
"""


def insn(code, dst=0, imm=0):
    return struct.pack("=BBhi", code, dst, 0, imm).hex()


PASS_ALL = insn(0xB7, 0, 0) + insn(0x95)  # return TCX_PASS
# bpf_skb_vlan_push(skb, htons(0x8100), 5); return TCX_NEXT
PUT_TAG = insn(0xB7, 2, socket.htons(0x8100)) + insn(0xB7, 3, 5) + insn(0x85, 0, 18) + insn(0xB7, 0, -1) + insn(0x95)
needs_tcx = pytest.mark.skipif(
    tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups())) < (6, 6), reason="needs Linux 6.6: tcx")


@contextlib.contextmanager
def egress_program(lab, insns):
    """One of others, on nicp0."""
    other = subprocess.Popen(lab.ns.command("python3", "-c", EGRESS_PROGRAM, "nicp0", insns), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"attached\n"
        yield
    finally:
        other.communicate()


@needs_tcx
def test_a_program_of_others_lets_nothing_out(lab):
    """It was there before, and passes all: ours comes first."""
    outside = outer_pair(lab)
    with egress_program(lab, PASS_ALL):
        user = lab.use("nicp0")
        assert user.bound() == "native"
        assert sends_nothing(lab, outside)
        assert user.close() == 0
        wait_until(lambda: lab.ns.run(*PING, "10.99.0.2", check=False).returncode == 0, "the stack sends")


@needs_tcx
def test_tagged_frames_of_the_stack_are_not_passed(lab):
    """Their tag isn't in the frame yet, the device puts it in; a program before our filter makes such ones."""
    outside = outer_pair(lab)
    lab.program = lab.wrapper("stack", lab.state, prefix=" ".join(OLD_KERNEL))
    user = lab.use("nicp0", **{"pass": 1})
    assert user.bound() == "native"
    assert not sends_nothing(lab, outside, to="10.99.0.9")  # ARP
    with egress_program(lab, PUT_TAG):
        assert sends_nothing(lab, outside, to="10.99.0.10")
    assert user.close() == 0


def frame_socket(ns, interface):
    """An AF_PACKET socket on an interface of another namespace."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    theirs = os.open(f"/proc/{ns.keeper.pid}/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None)
    try:
        assert libc.setns(theirs, 0) == 0
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.bind((interface, 0))
    finally:
        assert libc.setns(own, 0) == 0
        os.close(own)
        os.close(theirs)
    return s


def ip6(next_header, payload):
    return (b"\x33\x33\0\0\0\1" + b"\2\0\0\0\0\7" + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(payload), next_header, 1)
            + socket.inet_pton(socket.AF_INET6, "fe80::7") + socket.inet_pton(socket.AF_INET6, "ff02::1") + payload)


def behind_hop_by_hop(kind, next_header=58, more=0):
    """With a router alert, as MLD has it."""
    return ip6(0, bytes([next_header, more, 5, 2, 0, 0, 1, 0]) + bytes(8 * more) + bytes([kind]) + bytes(23))


HOSTS = [ip6(58, bytes([n]) + bytes(23)) for n in (133, 135, 136, 137)] + [behind_hop_by_hop(n) for n in (130, 131, 132, 143)]
PORTS = [ip6(58, bytes([n]) + bytes(23)) for n in (128, 130, 132, 138, 143)] + [behind_hop_by_hop(n) for n in (128, 129, 133, 142, 144)] + [
    behind_hop_by_hop(130, next_header=17), behind_hop_by_hop(143, more=1), ip6(0, b""), ip6(0, bytes([58, 0, 5, 2, 0, 0, 1, 0]))]


def test_neighbour_discovery_has_listeners(lab):
    """MLD as well: without it a switch that snoops sends no neighbour solicitation. In and out."""
    outside = lab.namespace()
    lab.pair("nicp0", "nicp1", other_ns=outside)
    user = lab.use("nicp0", **{"pass": 2})
    assert user.bound() == "native"
    stack, peer = frame_socket(lab.ns, "nicp0"), frame_socket(outside, "nicp1")
    there = frames(outside, "nicp1")
    for one in HOSTS + PORTS:
        try:
            stack.send(one)
        except OSError:
            pass  # that is how a drop is told
        peer.send(one)
    user.receives(len(PORTS))
    assert user.stats()[0] == len(PORTS)
    assert frames(outside, "nicp1") == there + len(HOSTS)
    stack.close()
    peer.close()
    assert user.close() == 0


@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["", "old-kernel"])
def test_the_stack_sends_again_when_netmapd_nic_was_killed(lab, prefix):
    """A filter that it has left behind does no harm, and is taken away by the next one."""
    outer_pair(lab)
    lab.program = lab.wrapper("stack", lab.state, prefix=" ".join(prefix))
    user = lab.use("nicp0")
    assert user.bound() == "native"
    os.kill(user.helper(), signal.SIGKILL)
    user.failed()
    user.kill()
    wait_until(lambda: lab.ns.run(*PING, "10.99.0.2", check=False).returncode == 0, "the stack sends")
    again = lab.use("nicp0")
    assert again.bound() == "native"
    assert again.close() == 0
    wait_until(lambda: lab.claims() == [], "all is put back")
    assert "netmapd_nic" not in lab.ns.run("tc", "filter", "show", "dev", "nicp0", "egress")


# ------------------------------------------------------------ others on the interface


def test_another_program_is_left_alone_and_named(lab):
    first = lab.use("nic0")
    assert first.bound() == "native"
    there = lab.ns.program("nic0")
    lab.program = lab.wrapper("other-nic", lab.place / "other-state")  # knows nothing of the first one
    second = lab.use("nic0")
    number, text = second.failed()
    assert number == errno.EBUSY and f"another XDP program is on the interface (bpftool prog show id {there} says" in text
    assert lab.ns.program("nic0") == there
    assert second.close() == 0
    first.send(10, 60)
    assert first.close() == 0


def test_an_interface_in_use_is_refused(lab):
    first = lab.use("nic0")
    assert first.bound() == "native"
    second = lab.use("nic0")
    number, text = second.failed()
    assert number == errno.EBUSY and "nic0: in use by another netmapd" in text
    assert first.close() == 0
    third = lab.use("nic0")
    assert third.bound() == "native"
    assert third.close() == 0


@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["", "old-kernel"])
def test_who_is_refused_undoes_nothing(lab, prefix):
    """What is changed is the owner's: offloads stay off, its filter stays where it is."""
    lab.program = lab.wrapper("stack", lab.state, prefix=" ".join(prefix))
    first = lab.use("nic0")
    assert first.bound() == "native"

    def now():
        tc = [lab.ns.run("tc", *what, "show", "dev", "nic0", *where) for what, where in ((("qdisc",), ()), (("filter",), ("egress",)))]
        return lab.ns.run("ethtool", "-k", "nic0"), tc, lab.claims()

    before = now()
    assert lab.ns.offload("nic0", VLAN) == "off" and ("netmapd_nic" in before[1][1]) == bool(prefix)
    second = lab.use("nic0")
    assert second.failed()[0] == errno.EBUSY
    assert second.close() == 0
    assert now() == before
    assert "in use by another netmapd" in nic_check(lab, "nic0").stdout
    assert now() == before
    assert first.close() == 0
    wait_until(lambda: is_as_before(lab) and not lab.claims(), "all is as before")


SOCKET_ON_A_QUEUE = """
import ctypes, mmap, socket, struct, sys
sol_xdp, umem_reg, fill, completion, rx = 283, 4, 5, 6, 2
s = socket.socket(44, socket.SOCK_RAW, 0)
memory = mmap.mmap(-1, 65536)
at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
s.setsockopt(sol_xdp, umem_reg, struct.pack("@QQIIII", at, 65536, 4096, 0, 0, 0))
for ring in (fill, completion, rx):
    s.setsockopt(sol_xdp, ring, 16)
copy = 2
address = struct.pack("@HHIII", 44, copy, socket.if_nametoindex(sys.argv[1]), 0, 0)
assert ctypes.CDLL(None).bind(s.fileno(), address, len(address)) == 0
print("bound", flush=True)
sys.stdin.read()
"""


def test_a_queue_that_another_program_has_is_an_error(lab):
    other = subprocess.Popen(
        lab.ns.command("python3", "-c", SOCKET_ON_A_QUEUE, "nic0"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"bound\n"
        user = lab.use("nic0")
        number, text = user.failed()
        assert number == errno.EBUSY and "queue 0: another program has an AF_XDP socket there" in text
        assert lab.ns.program("nic0") is None
        assert user.close() == 0
    finally:
        other.communicate()


def test_a_queue_that_is_just_being_left_is_waited_for(lab):
    for _ in range(10):
        user = lab.use("nic0")
        assert user.bound() == "native"
        user.kill()


# ------------------------------------------------------------ ends


def is_as_before(lab, interface="nic0"):
    return lab.ns.program(interface) is None and lab.ns.offload(interface, VLAN) == "on" and lab.ns.link(interface)["promiscuity"] == 0


def test_all_is_put_back_at_the_end(lab):
    user = lab.use("nic0")
    assert user.bound() == "native"
    assert lab.ns.program("nic0") and lab.ns.offload("nic0", VLAN) == "off" and lab.ns.link("nic0")["promiscuity"] == 1
    assert user.close() == 0
    wait_until(lambda: is_as_before(lab), "all is as before")
    wait_until(lambda: not lab.claims(), "nothing is noted any more")


def test_an_offload_that_was_off_stays_off(lab):
    lab.ns.run("ethtool", "-K", "nic0", "rxvlan", "off")
    user = lab.use("nic0")
    assert user.bound() == "native"
    assert user.close() == 0
    wait_until(lambda: not lab.claims(), "all is put back")
    assert lab.ns.offload("nic0", VLAN) == "off"


def tags_at_peer(lab):
    return [lab.ns.offload("nic1", feature) for feature in ("tx-vlan-offload", "tx-vlan-stag-hw-insert")]


def test_the_other_end_of_a_veth_keeps_tags_in_the_frame(lab):
    """As long as the interface is in use, also when netmapd-nic was killed meanwhile; what was off there stays off."""
    user = lab.use("nic0")
    user.bound()
    assert tags_at_peer(lab) == ["off", "off"]
    assert user.close() == 0
    wait_until(lambda: not lab.claims() and tags_at_peer(lab) == ["on", "on"], "all is put back")
    lab.ns.run("ethtool", "-K", "nic1", "txvlan", "off")
    user = lab.use("nic0")
    user.bound()
    helper = user.helper()
    os.kill(helper, signal.SIGKILL)
    user.kill()
    wait_until(lambda: not os.path.exists(f"/proc/{helper}"), "it has let go of its claim")
    assert tags_at_peer(lab) == ["off", "off"] and lab.claims()
    lab.serve()     # puts back what one that was killed has left
    wait_until(lambda: not lab.claims() and tags_at_peer(lab) == ["off", "on"], "what was on is on again")


def test_the_other_end_of_a_veth_is_elsewhere(lab):
    """What can't be switched off there is said."""
    other = lab.namespace()
    lab.pair("nic2", "nic3", other_ns=other)
    user = lab.use("nic2")
    assert user.bound() == "native" and other.offload("nic3", "tx-vlan-offload") == "on"
    assert "nic2: its other end is in another network namespace" in (lab.place / "netmapd-nic.log").read_text()
    assert user.close() == 0


def test_the_other_end_of_a_veth_goes_elsewhere(lab):
    """While it is in use: what can't be switched on again there is said."""
    other = lab.namespace()
    user = lab.use("nic0")
    assert user.bound() == "native" and tags_at_peer(lab) == ["off", "off"]
    lab.ns.ip(f"link set nic1 netns {other.keeper.pid}")
    assert user.close() == 0
    wait_until(lambda: not lab.claims(), "all else is put back")
    log = (lab.place / "netmapd-nic.log").read_text()
    for feature in "tx-vlan-hw-insert", "tx-vlan-stag-hw-insert":
        assert f"nic0: its other end has gone to another network namespace, where {feature} stays off" in log


def test_promiscuous_mode_can_be_left_alone(lab):
    user = lab.use("nic0", promisc=0)
    assert user.bound() == "native"
    assert lab.ns.link("nic0")["promiscuity"] == 0
    assert user.close() == 0


def test_a_killed_client_leaves_nothing(lab):
    user, sender = lab.use("nic0"), lab.use("nic1")
    assert [user.bound(), sender.bound()] == ["native", "native"]
    sender.say("send 1000000 60")
    user.receives(1000)
    user.kill()
    wait_until(lambda: is_as_before(lab), "all is as before")
    again = lab.use("nic0")
    assert again.bound() == "native"
    again.receives(1000)
    assert again.close() == 0


def test_a_killed_netmapd_nic_is_survived(lab):
    user = lab.use("nic0")
    assert user.bound() == "native"
    os.kill(user.helper(), signal.SIGKILL)
    number, text = user.failed()
    assert number == errno.EPIPE and "netmapd-nic has ended" in text
    wait_until(lambda: lab.ns.program("nic0") is None, "the program is gone")
    assert lab.ns.offload("nic0", VLAN) == "off" and lab.claims()
    assert user.close() == 0  # another one says so
    assert lab.ns.offload("nic0", VLAN) == "off"  # it had only to look
    again = lab.use("nic0")
    assert again.bound() == "native"
    assert again.close() == 0
    wait_until(lambda: is_as_before(lab), "what the killed one had switched off is on again")


def test_another_interface_of_the_name_is_left_alone(lab):
    """It was made while netmapd-nic didn't look, and never was in use."""
    user = lab.use("nic0")
    assert user.bound() == "native"
    helper = user.helper()
    os.kill(helper, signal.SIGSTOP)
    lab.ns.ip("link del nic0")
    lab.pair("nic0", "nic1")
    lab.ns.run("ethtool", "-K", "nic0", "rxvlan", "off")
    os.kill(helper, signal.SIGCONT)
    user.failed()
    user.close()
    wait_until(lambda: not lab.claims(), "nothing is noted any more")
    assert lab.ns.offload("nic0", VLAN) == "off"


def test_the_service_puts_back_what_a_killed_process_left(lab):
    path = lab.serve()
    user = lab.use("nic0", socket=path)
    assert user.bound() == "native"
    session = int(subprocess.run(["pgrep", "-P", str(lab.services[0].pid)], capture_output=True, text=True, check=True).stdout)
    os.kill(session, signal.SIGKILL)
    assert user.failed()[0] == errno.EPIPE
    wait_until(lambda: is_as_before(lab), "all is as before")
    assert user.close() == 0


def test_the_end_of_the_service_ends_no_use(lab):
    path = lab.serve()
    user, other = lab.use("nic0", socket=path), lab.use("nic1", socket=path)
    assert [user.bound(), other.bound()] == ["native", "native"]
    lab.services[0].send_signal(signal.SIGTERM)
    assert lab.services[0].wait(PATIENCE) == 0 and not path.exists()
    user.send(10, 60)
    other.receives(10)
    assert [user.close(), other.close()] == [0, 0]
    wait_until(lambda: is_as_before(lab), "all is as before")


def test_nothing_is_left_after_many_rounds(lab):
    path = lab.serve()

    def have():
        return len(os.listdir(f"/proc/{lab.services[0].pid}/fd"))

    before = have()
    for _ in range(10):
        user = lab.use("nic0", socket=path)
        assert user.bound() == "native"
        assert user.close() == 0
    wait_until(lambda: is_as_before(lab) and not lab.claims(), "all is as before")
    # A session of its own ends a moment after it has given all back.
    wait_until(lambda: not subprocess.run(["pgrep", "-P", str(lab.services[0].pid)], capture_output=True).stdout, "no session is left")
    wait_until(lambda: have() == before, "no descriptor is left")


# ------------------------------------------------------------ changes of the interface


def test_changes_are_told(lab):
    user = lab.use("nic0")
    assert user.bound() == "native"
    lab.ns.ip("link set nic0 down")
    while " up 0 " not in user.expect("changed nic0"):
        pass
    lab.ns.ip("link set nic0 up")
    while not user.expect("changed nic0").endswith("up 1 carrier 1"):
        pass
    lab.ns.ip("link set nic0 mtu 1400")
    while "mtu 1400" not in user.expect("changed nic0"):
        pass
    other = lab.use("nic1")
    assert other.bound() == "native"
    other.send(10, 60)
    user.receives(10)
    assert [user.close(), other.close()] == [0, 0]


def test_a_renamed_interface_goes_on_and_is_put_back(lab):
    user = lab.use("nic0")
    assert user.bound() == "native"
    lab.ns.ip("link set nic0 name nicx")
    user.expect("changed nicx")
    other = lab.use("nic1")
    assert other.bound() == "native"
    other.send(10, 60)
    user.receives(10)
    assert [user.close(), other.close()] == [0, 0]
    wait_until(lambda: is_as_before(lab, "nicx"), "all is as before")


def test_new_channels_are_told(lab):
    lab.pair("nicq0", "nicq1", queues=2)
    for name in ("nicq1", "nicq0"):
        lab.ns.run("ethtool", "-L", name, "rx", "1", "tx", "1")
    user = lab.use("nicq0")
    assert user.bound() == "native"
    lab.ns.run("ethtool", "-L", "nicq0", "rx", "2", "tx", "2")
    while "queues 2 2" not in user.expect("changed nicq0", skip=()):
        pass
    assert user.close() == 0


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_an_interface_that_goes_is_told_and_let_go(lab, how):
    user = lab.use("nic0")
    assert user.bound() == "native"
    elsewhere = lab.namespace()
    lab.ns.ip("link del nic0" if how == "removed" else f"link set nic0 netns {elsewhere.keeper.pid}")
    number, text = user.failed()
    assert number == errno.ENODEV and "nic0: the interface was removed, or moved" in text
    assert user.close() == 0
    wait_until(lambda: not lab.claims(), "nothing is noted any more")


def test_an_interface_removed_and_back_under_traffic(lab):
    for _ in range(5):
        user, other = lab.use("nic0"), lab.use("nic1")
        assert [user.bound(), other.bound()] == ["native", "native"]
        other.say("send 1000000 60")
        user.receives(1)
        lab.ns.ip("link del nic0")
        assert user.failed()[0] == other.failed()[0] == errno.ENODEV
        assert [user.close(), other.close()] == [0, 0]
        lab.pair("nic0", "nic1")


# ------------------------------------------------------------ who may


def test_a_user_without_the_right_gets_a_reason_and_nothing_else(lab):
    path = lab.serve("")
    number, text = lab.use("nic0", socket=path, uid=NOBODY).failed()
    assert number == errno.EACCES and f"user {NOBODY} may have no interface" in text and str(lab.config) in text
    assert is_as_before(lab)


def test_a_user_has_what_the_configuration_says(lab):
    path = lab.serve("# who\nallow nobody nic0 other*   # what\n")
    user = lab.use("nic0", socket=path, uid=NOBODY)
    assert user.bound() == "native"
    number, text = lab.use("nic1", socket=path, uid=NOBODY).failed()
    assert number == errno.EACCES and "nic1: user 65534 may not have this interface" in text
    other = lab.use("nic1", socket=path)  # root may
    assert other.bound() == "native"
    for sender, receiver in ((user, other), (other, user)):
        sender.send(100, 1514)
        receiver.receives(100)
    assert [user.close(), other.close()] == [0, 0]


def test_the_user_behind_netmapd_needs_the_right_as_well(lab):
    number, text = lab.use("nic0", user=NOBODY).failed()
    assert number == errno.EACCES and "user 65534 may not have this interface" in text
    lab.config.write_text("allow @nogroup nic0\n")
    user = lab.use("nic0", user=NOBODY)
    assert user.bound() == "native"
    assert user.close() == 0


@pytest.mark.parametrize("rules, may", [
    ("allow nobody nic0", False), ("allow nobody nic0 host", True), ("allow nobody nic0\nallow @nogroup nic* host", True),
    ("allow nobody host nic0", False), ("allow nobody nic0 host*", False), ("allow nobody nic0 hosts", False),
    ("allow nobody nic0\nallow nobody nic1 host", False), ("allow nobody nic0\nallow nobody host", False),
])
@pytest.mark.parametrize("asks", [0, NOBODY])
def test_the_right_to_host_rings(lab, rules, may, asks):
    """netmapd is root's, or of a user without privilege, and asks for that one."""
    fd = memory()
    path = lab.serve(rules + "\n")
    with contextlib.ExitStack() as stack:
        with connecting_as(asks):
            client = stack.enter_context(Client(path))
        sockets = in_use(client, fd, user=NOBODY, pass_=0)
        say_use(client, 1, 1, NOBODY)
        _, body, fds = client.hear_all()
        number, text = -struct.unpack_from("=i", body)[0], body[24:].split(b"\0")[0].decode()
        assert len(fds) == may and (number, may) in ((0, True), (errno.EACCES, False))
        assert may or f'"allow {NOBODY} nic0 host" in {lab.config}' in text
        for each in fds + sockets:
            os.close(each)
    os.close(fd)


def test_another_name_of_an_interface_gives_no_right(lab):
    path = lab.serve("allow nobody alias*\n")
    lab.ns.ip("link property add dev nic0 altname alias0")
    number, text = lab.use("alias0", socket=path, uid=NOBODY).failed()
    assert number == errno.EACCES and "nic0: user 65534 may not" in text


def test_how_many_a_user_has_is_bounded(lab):
    path = lab.serve("allow nobody nic*\ninterfaces 1\n")
    user = lab.use("nic0", socket=path, uid=NOBODY)
    assert user.bound() == "native"
    number, text = lab.use("nic1", socket=path, uid=NOBODY).failed()
    assert number == errno.EDQUOT and "has 1 interfaces in use, at most 1" in text
    other = lab.use("nic1", socket=path)  # of somebody else
    assert other.bound() == "native"
    assert [user.close(), other.close()] == [0, 0]


def test_how_much_memory_an_interface_pins_is_bounded(lab):
    lab.config.write_text("memory 1M\n")
    number, text = lab.use("nic0", buffers=257).failed()
    assert number == errno.ENOMEM and f"{257 * 4096} bytes of memory, at most {1 << 20} are allowed" in text
    user = lab.use("nic0", buffers=256)
    assert user.bound() == "native"
    assert user.close() == 0


@pytest.mark.parametrize("line, why", [
    ("allow", "allow wants a user"),
    ("allow nobody", "allow wants interfaces"),
    ("allow no-such-user nic0", "there is no user no-such-user"),
    ("allow @no-such-group nic0", "there is no group @no-such-group"),
    ("permit nobody nic0", '"permit" is not allow'),
    ("interfaces", "interfaces wants a number"),
    ("interfaces 0", "interfaces wants a number"),
    ("interfaces 4 5", "too many words"),
    ("memory 4X", "memory wants bytes"),
    ("memory -1", "memory wants bytes"),
    ("allow nobody " + 600 * "x", "the line is too long"),
])
def test_a_wrong_configuration_is_told_with_its_line(lab, line, why):
    lab.serve(f"# first\n\n{line}\n", wait=False)
    assert lab.services[0].wait(PATIENCE) == 2
    text = lab.services[0].stderr.read()
    assert text.startswith(f"netmapd-nic: {lab.config}:3: ") and why in text and text.count("\n") == 1


def test_a_second_service_on_the_socket_is_refused(lab):
    lab.serve()
    lab.serve(wait=False)
    assert lab.services[1].wait(PATIENCE) == 1
    assert "another netmapd-nic serves" in lab.services[1].stderr.read()
    user = lab.use("nic0", socket=lab.place / "nic.sock")
    assert user.bound() == "native"
    assert user.close() == 0


def test_what_is_no_socket_is_not_replaced(lab):
    (lab.place / "nic.sock").write_text("precious")
    lab.serve(wait=False)
    assert lab.services[0].wait(PATIENCE) == 1
    assert "exists, and is no socket" in lab.services[0].stderr.read()
    assert (lab.place / "nic.sock").read_text() == "precious"


def test_a_socket_that_was_left_is_replaced(lab):
    path = lab.serve()
    lab.services[0].kill()
    lab.services[0].wait()
    assert path.exists()
    user = lab.use("nic0", socket=lab.serve())
    assert user.bound() == "native"
    assert user.close() == 0


def test_no_service_is_told(lab):
    assert "netmapd-nic, which opens network interfaces for netmapd, doesn't run" in lab.use("nic0", socket=lab.place / "none").failed()[1]


@pytest.mark.parametrize("args", [("--no-such",), ("--socket",), ("word",), ("--connection", "x")])
def test_wrong_arguments(args):
    child = subprocess.run([NETMAPD_NIC, *args], capture_output=True, text=True)
    assert child.returncode == 2 and child.stderr.startswith("netmapd-nic: ") and child.stderr.count("\n") == 1


def test_only_the_needed_capabilities_are_kept(lab):
    lab.serve()
    status = open(f"/proc/{lab.services[0].pid}/status").read()
    kept = 1 << 39 | 1 << 12 | 1 << 13 | 1 << 14  # BPF, NET_ADMIN, NET_RAW, IPC_LOCK
    for name in ("CapPrm", "CapEff", "CapBnd"):
        value = int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:")), 16)
        assert value & ~kept == 0
    assert "NoNewPrivs:\t1" in status


# ------------------------------------------------------------ netmapctl nic-check


def nic_check(lab, *args, uid=0):
    command = lab.ns.command("setpriv", f"--reuid={uid}", "--clear-groups", NETMAPCTL, "nic-check", *args)
    return subprocess.run(command, capture_output=True, text=True, env=lab.environment(), timeout=PATIENCE)


def test_nic_check_says_what_there_is(lab):
    result = nic_check(lab, "nic0")
    assert (result.returncode, result.stderr) == (0, "")
    for line in ("nic0: driver veth, MTU 1500, up, with carrier", "  queues          receive 1 (at most 1), send 1",
                 "  zero-copy       no: driver veth has no zero copy on this kernel (queue 0: Operation not supported)",
                 "  native          yes", "  generic         yes",
                 "  offloads        switched off while in use: rx-vlan-hw-parse, rx-vlan-stag-hw-parse, tx-vlan-hw-insert of nic1, "
                 "tx-vlan-stag-hw-insert of nic1"):
        assert line in result.stdout.splitlines()
    wait_until(lambda: is_as_before(lab) and not lab.claims(), "all is as before")
    checked = json.loads(nic_check(lab, "nic0", "--json").stdout)
    jsonschema.validate(checked, {"$ref": "#/definitions/nic-check", **SCHEMA})
    assert {name: mode["granted"] for name, mode in checked["modes"].items()} == {"zero-copy": False, "native": True, "generic": True}


def test_nic_check_of_an_interface_in_use(lab):
    user = lab.use("nic0")
    assert user.bound() == "native"
    result = nic_check(lab, "nic0")
    assert result.returncode == 1 and "modes           not tried: nic0: in use by another netmapd" in result.stdout
    lab.program = lab.wrapper("other-nic", lab.place / "other-state")  # knows nothing of the first one
    result = nic_check(lab, "nic0")
    assert result.returncode == 1 and f"another XDP program is on it (bpftool prog show id {lab.ns.program('nic0')} says" in result.stdout
    assert json.loads(nic_check(lab, "--json", "nic0").stdout)["used_by"] == lab.ns.program("nic0")
    user.send(10, 60)  # it goes on
    assert user.close() == 0


def test_nic_check_says_which_privilege_is_missing(lab):
    result = nic_check(lab, "--nic-socket", lab.place / "none", "nic0", uid=NOBODY)
    assert result.returncode == 1 and "not tried: netmapd-nic, which opens network interfaces" in result.stdout
    path = lab.serve()
    result = nic_check(lab, "--nic-socket", path, "nic0", uid=NOBODY)
    assert result.returncode == 1 and "not tried: netmapd-nic: user 65534 may have no interface" in result.stdout
    jsonschema.validate(json.loads(nic_check(lab, "--json", "nic0", uid=NOBODY).stdout), {"$ref": "#/definitions/nic-check", **SCHEMA})
    lab.config.write_text("allow nobody nic0")
    assert nic_check(lab, "--nic-socket", path, "nic0", uid=NOBODY).returncode == 0


@pytest.mark.parametrize("args, status, why", [
    ((), 2, "needs the name"), (("a", "b"), 2, "takes"), (("--x",), 2, "takes"), (("x" * 16,), 2, "no network interface has such a name"),
    (("nosuch0",), 4, "nosuch0: there is no such network interface"),
])
def test_nic_check_of_nothing(lab, args, status, why):
    result = nic_check(lab, *args)
    assert result.returncode == status and why in result.stderr and result.stderr.count("\n") == 1


# ------------------------------------------------------------ hostile clients

VERSION = 5
ASK, OPEN, BIND, CLOSE, RELEASED, CHECK, USE, KNOWN, OPENED, BOUND, CHANGED, FAILED, USED = 1, 2, 3, 4, 5, 6, 8, 64, 65, 66, 67, 71, 74
MAPPED, UNBOUND = 7, 72
TEXT = 256
MEMORY = 64 * 4096
GOOD = dict(
    mode=0, chunk=4096, umem_offset=0, umem_bytes=MEMORY, fill=64, completion=64, rx=64, tx=64, first=0, queues=0, sg=0,
    no_promisc=0, busy=0, budget=0, pass_=8, ip4=0, ip6=0, hardware=1,
)


def memory(size=MEMORY, seals=2):  # F_SEAL_SHRINK
    if size == "pipe":
        return os.pipe()[0]
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS
    return fd


class Client:
    """Says what no library would."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(path))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def say(self, kind, body=b"", fds=(), version=VERSION):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([struct.pack("=II", version, kind) + body], control)

    def hear_all(self):
        """Type, body, descriptors; None: it has hung up. One that had not read all may have said why, behind the error."""
        try:
            try:
                data, control, _, _ = self.sock.recvmsg(8192, socket.CMSG_SPACE(4 * 64))
            except ConnectionResetError:
                data, control, _, _ = self.sock.recvmsg(8192, socket.CMSG_SPACE(4 * 64))
        except ConnectionResetError:
            return None
        if data and struct.unpack_from("=I", data, 4)[0] == CHANGED:
            return self.hear_all()
        fds = [fd for level, kind, sent in control if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
               for fd in array.array("i", sent[: len(sent) // 4 * 4])]
        return (struct.unpack_from("=I", data, 4)[0], data[8:], fds) if data else None

    def hear(self):
        """Type and body; None: it has hung up. Descriptors are closed."""
        heard = self.hear_all()
        for fd in heard[2] if heard else ():
            os.close(fd)
        return heard and heard[:2]

    def hear_fds(self):
        kind, _, fds = self.hear_all()
        return kind, fds

    def bind(self, posted=16, size=4096):
        """size: of the file with the numbers of chunks; None: there is none."""
        fd = None if size is None else memory(size, seals=0)
        self.say(BIND, struct.pack("=64I", posted, *(63 * [0])), [fd] if fd is not None else [])
        if fd is not None:
            os.close(fd)

    def failed(self):
        kind, body = self.hear()
        assert kind == FAILED
        return -struct.unpack_from("=i", body)[0], body[4:].split(b"\0")[0].decode()

    def ask(self, name=b"nic0", user=0):
        self.say(ASK, struct.pack("=16sII", name, user, 0))

    def open(self, fd, **changes):
        o = GOOD | changes
        body = struct.pack(
            "=IIQQ11I", o["mode"], o["chunk"], o["umem_offset"], o["umem_bytes"], o["fill"], o["completion"], o["rx"], o["tx"],
            o["first"], o["queues"], o["sg"], o["no_promisc"], o["busy"], o["budget"], o["pass_"],
        ) + struct.pack("=III", o["ip4"], o["ip6"], o["hardware"]) + bytes(8 * 4 + 8 * 16)
        self.say(OPEN, body, [fd] if fd is not None else [])


@pytest.mark.parametrize("changes, code, why", [
    (dict(mode=4), errno.EINVAL, "out of range"),
    (dict(mode=1, sg=1), errno.EOPNOTSUPP, "exclude each other"),
    (dict(chunk=0), errno.EINVAL, "chunks of 0 bytes"),
    (dict(chunk=8192), errno.EINVAL, "chunks of 8192 bytes"),
    (dict(umem_bytes=0), errno.EINVAL, "0 bytes"),
    (dict(umem_bytes=MEMORY - 1), errno.EINVAL, "not whole chunks"),
    (dict(umem_bytes=MEMORY + 4096), errno.EINVAL, "not whole chunks within"),
    (dict(umem_offset=4096), errno.EINVAL, "not whole chunks within"),
    (dict(umem_offset=1), errno.EINVAL, "not whole chunks"),
    (dict(umem_offset=2**64 - 4096, umem_bytes=8192), errno.EINVAL, "not whole chunks"),
    (dict(umem_bytes=2**64 - 4096), errno.EINVAL, "not whole chunks"),
    (dict(fill=0), errno.EINVAL, "powers of two"),
    (dict(rx=63), errno.EINVAL, "powers of two"),
    (dict(tx=2**31), errno.EINVAL, "powers of two"),
    (dict(completion=65536), errno.EINVAL, "powers of two"),
    (dict(first=1), errno.EINVAL, "queues 1 to"),
    (dict(queues=2), errno.EINVAL, "queues 0 to 1"),
    (dict(first=2**32 - 1, queues=2), errno.EINVAL, "queues"),
    (dict(pass_=16), errno.EINVAL, "out of range"),
    (dict(ip4=9), errno.EINVAL, "out of range"),
    (dict(ip6=2**32 - 1), errno.EINVAL, "out of range"),
    (dict(busy=2**31), errno.EINVAL, "out of range"),
])
def test_hostile_requests_get_a_text(lab, changes, code, why):
    fd = memory()
    with Client(lab.serve()) as client:
        client.ask()
        assert client.hear()[0] == KNOWN
        client.open(fd, **changes)
        number, text = client.failed()
        assert number == code and why in text and "nic0: " in text
    os.close(fd)
    wait_until(lambda: is_as_before(lab), "nothing was changed")


@pytest.mark.parametrize("kind", ["none", "pipe", "file", "unsealed"])
def test_memory_that_is_none_is_refused(lab, place, kind):
    fd = {"none": lambda: None, "pipe": lambda: os.pipe()[0], "file": lambda: os.open(place / "file", os.O_CREAT | os.O_RDWR),
          "unsealed": lambda: memory(seals=0)}[kind]()
    with Client(lab.serve()) as client:
        client.ask()
        assert client.hear()[0] == KNOWN
        client.open(fd)
        assert "no memfd sealed against shrinking" in client.failed()[1]


@pytest.mark.parametrize("name, why", [
    (b"", "no network interface has such a name"),
    (b"nosuch0", "there is no such network interface"),
    (16 * b"x", "no network interface has such a name"),
    (b"../nic0", "there is no such network interface"),
    (b"lo", "not an Ethernet interface"),
])
def test_names_that_are_no_interface(lab, name, why):
    with Client(lab.serve()) as client:
        client.ask(name)
        assert why in client.failed()[1]


def test_messages_out_of_place_end_the_connection(lab):
    path = lab.serve("interfaces 64\n")  # those that have just ended may count for a moment
    for before in ([], [ASK]):
        for kind in (0, ASK, OPEN, BIND, CLOSE, USE, KNOWN, OPENED, FAILED, USED, 2**32 - 1):
            if (kind == ASK and not before) or (kind == OPEN and before):
                continue
            with Client(path) as client:
                if before:
                    client.ask()
                    assert client.hear()[0] == KNOWN
                sizes = {ASK: 24, OPEN: 4 * 22 + 160, BIND: 256, CLOSE: 0, USE: 16}
                client.say(kind, bytes(sizes.get(kind, 8)))
                assert client.failed()[0] == errno.EPROTO
                assert client.hear() is None
    assert is_as_before(lab)


def has_hung_up(sock):
    """Nothing is read."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(1000 * PATIENCE))


def sessions(lab):
    """Processes of the service's clients."""
    pid = lab.services[-1].pid
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [int(child) for child in children.read().split()]


def test_an_answer_that_nobody_reads_takes_no_place(lab):
    """Those who don't read the error that ended their session, and stay connected, take nothing from their user's limit."""
    path = lab.serve("interfaces 1\n")
    with contextlib.ExitStack() as stay:
        for _ in range(3):
            client = stay.enter_context(Client(path))
            client.say(0, bytes(8))
            assert has_hung_up(client.sock)
            wait_until(lambda: not sessions(lab), "its process is gone")
        client = stay.enter_context(Client(path))
        client.ask()
        assert client.hear()[0] == KNOWN


def test_no_messages_at_all(lab):
    path = lab.serve()
    for size in (0, 1, 7, 8, 9, 100, 8192):
        with Client(path) as client:
            client.sock.send(bytes(size))
            answer = client.hear()
            assert answer is None or answer[0] == FAILED
    with Client(path) as client:
        client.say(ASK, struct.pack("=16sII", b"nic0", 0, 0), version=VERSION + 1)
        assert client.failed()[0] == errno.EPROTO
    with Client(path) as client:
        client.say(ASK, struct.pack("=16sII", b"nic0", 0, 0), fds=[0] * 200)
        assert client.failed()[0] == errno.EPROTO
    user = lab.use("nic0", socket=path)
    assert user.bound() == "native"
    assert user.close() == 0


FACTS = struct.pack("=16sI32s6sBB9I", b"nic0", 1, b"fake", bytes(6), 1, 1, 1500, 1, 1, 1, 0, 0, 0, 0, 0)
KNOWN_BODY = FACTS + struct.pack("=I", 0)


@pytest.mark.parametrize("kind, body, fds", [
    (KNOWN, b"", 0), (KNOWN, KNOWN_BODY + bytes(1), 0), (0, b"", 0), (2**32 - 1, bytes(8), 0), (ASK, bytes(24), 0),
    (OPENED, FACTS + struct.pack("=II", 0, 0), 0), (OPENED, FACTS + struct.pack("=II", 0, 65), 1),
    (OPENED, FACTS + struct.pack("=II", 0, 2**32 - 1), 64),
    (66, FACTS + struct.pack("=III", 7, 0, 0) + bytes(TEXT), 0), (66, FACTS + struct.pack("=III", 2, 0, 0) + bytes(TEXT), 0),
    (68, b"", 0), (69, bytes(8), 0), (FAILED, struct.pack("=i", 5) + TEXT * b"x", 0), (FAILED, struct.pack("=i", -5) + TEXT * b"\xff", 9),
    (KNOWN, KNOWN_BODY, 64), (KNOWN, KNOWN_BODY, 200), (72, b"", 0), (72, b"", 1), (73, b"", 0), (73, b"", 1), (73, b"", 2),
    (USED, bytes(24 + TEXT), 0), (USED, bytes(24 + TEXT), 3), (USED, b"", 1),
])
@pytest.mark.parametrize("after", [0, 1])
def test_a_netmapd_nic_that_says_nonsense_is_an_error(lab, place, kind, body, fds, after):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(place / "fake.sock"))
    listener.listen()
    user = lab.use("nic0", socket=place / "fake.sock")
    sock, _ = listener.accept()
    fd = os.open("/dev/null", os.O_RDONLY)
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds * [fd]))] if fds else []
    assert len(sock.recv(8192)) == 8 + 24
    if after:
        sock.send(struct.pack("=II", VERSION, KNOWN) + KNOWN_BODY)
        assert len(sock.recv(8192)) > 100
    sock.sendmsg([struct.pack("=II", VERSION, kind) + body], control)
    if kind == KNOWN and body == KNOWN_BODY and not after and fds < 200:
        user.expect("known")  # that it came with descriptors doesn't matter, as long as they are closed
        assert sum("/dev/null" in os.readlink(f"/proc/{user.pid}/fd/{n}") for n in os.listdir(f"/proc/{user.pid}/fd")) == 0
    else:
        number, text = user.failed()
        assert number in (errno.EPROTO, 5, errno.ENOTSOCK, errno.ENODEV) and text
    assert user.close() == 0
    for s in (sock, listener):
        s.close()
    os.close(fd)


@pytest.mark.parametrize("how", ["taken", "refused", "unread"])
def test_no_descriptor_makes_netmapd_wait(start_netmapd, place, how):
    """The last one to close it waits: no thread that others wait for, be it not needed, of a wrong message, or behind one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, concurrent.futures.ThreadPoolExecutor(1) as pool:
        listener.bind(str(place / "fake.sock"))
        listener.listen()
        daemon = start_netmapd("--nic", place / "fake.sock", nics=True)
        hanging = Hanging(daemon)
        try:
            opened = pool.submit(Port, daemon.path, "nic0")
            with listener.accept()[0] as sock:
                assert len(sock.recv(8192)) == 8 + 24
                with hanging.standstill():
                    if how == "unread":
                        sock.send(struct.pack("=II", VERSION, KNOWN))
                    hanging.send(sock, struct.pack("=II", VERSION, KNOWN) + (KNOWN_BODY if how != "refused" else b""))
                assert daemon.status()
            with pytest.raises(Refused, match="netmapd-nic"):
                opened.result(PATIENCE)
            assert daemon.status()
        finally:
            hanging.end()


def test_no_socket_can_be_bound_to_another_interface(lab):
    """bind() needs no privilege: an unbound socket would be every interface's."""
    fd = memory()
    with Client(lab.serve()) as client:
        client.ask()
        assert client.hear()[0] == KNOWN
        client.open(fd)
        kind, fds = client.hear_fds()
        assert kind == OPENED and fds == []
        client.bind()
        kind, fds = client.hear_fds()
        assert kind == BOUND and len(fds) == 1
        address = struct.pack("@HHIII", 44, 2, lab.ns.link("nic1")["ifindex"], 0, 0)
        assert ctypes.CDLL(None, use_errno=True).bind(fds[0], address, len(address)) == -1
        assert ctypes.get_errno() == errno.EBUSY
        os.close(fds[0])
    os.close(fd)


def in_use(client, fd, name=b"nic0", user=0, **changes):
    """Until packets flow. Its sockets."""
    client.ask(name, user)
    assert client.hear()[0] == KNOWN
    client.open(fd, **changes)
    kind = client.hear()[0]
    while kind == 73:
        kind = client.hear()[0]
    assert kind == OPENED
    client.bind()
    kind, fds = client.hear_fds()
    if kind == UNBOUND:     # an old kernel: they are mapped first
        client.say(MAPPED)
        kind = client.hear()[0]
    assert kind == BOUND
    return fds


def say_use(client, hardware, host_rings, user=0):
    client.say(USE, struct.pack("=4I", hardware, host_rings, user, 0))


def use(client, hardware, host_rings, user=0):
    """The errno, the name of the twin, its descriptors."""
    say_use(client, hardware, host_rings, user)
    kind, body, fds = client.hear_all()
    assert kind == USED
    return -struct.unpack_from("=i", body)[0], body[8:24].split(b"\0")[0].decode(), fds


def test_host_rings_of_a_hostile_client(lab):
    """Numbers that can't be are refused, and all goes on; what he makes of his descriptors ends with him."""
    TUNSETPERSIST, TUNSETIFF = 0x400454CB, 0x400454CA
    fd = memory()
    with Client(lab.serve()) as client:
        sockets = in_use(client, fd, pass_=0)
        for number in 65, 2**32 - 1:
            assert use(client, 1, number)[::2] == (errno.EINVAL, [])
        error, name, fds = use(client, 1, 3)
        assert (error, len(fds)) == (0, 3) and lab.ns.link(name)
        assert use(client, 0, 2) == (0, name, [])       # it stays as it is
        fcntl.ioctl(fds[0], TUNSETPERSIST, 1)
        with pytest.raises(OSError):
            fcntl.ioctl(fds[1], TUNSETIFF, struct.pack("16sH22x", b"nic1", 2))
        for each in fds:
            os.close(each)
        assert lab.ns.link(name) and use(client, 1, 0) == (0, "", []) and lab.ns.link(name) is None
        error, name, fds = use(client, 0, 1)
        assert error == 0 and len(fds) == 1
        fcntl.ioctl(fds[0], TUNSETPERSIST, 1)
        for each in fds + sockets:
            os.close(each)
    os.close(fd)
    wait_until(lambda: lab.ns.link(name) is None and is_as_before(lab), "nothing is left")


def test_who_reads_no_answers_keeps_what_he_has(lab):
    """Descriptors that wait to be read count for all of the service: it lets nobody have more of them than it may. But one who only
    stands still, as under a debugger, goes on as if nothing had been when he reads again."""
    fd = memory()
    with Client(lab.serve(prefix=("prlimit", "--nofile=256:256"))) as greedy:
        sockets = in_use(greedy, fd, pass_=0)
        for _ in range(5):
            say_use(greedy, 1, 64)
            say_use(greedy, 1, 0)
        time.sleep(3)
        other = lab.use("nic1", socket=lab.place / "nic.sock")
        assert other.bound() == "native" and other.close() == 0
        wait_until(lambda: len(sessions(lab)) == 1, "the other one has ended")
        assert len(lab.claims()) == 1
        for number in 64, 0, 64, 0:
            kind, body, fds = greedy.hear_all()
            assert kind == USED and struct.unpack_from("=i", body)[0] == 0 and len(fds) == number
            for each in fds:
                os.close(each)
    # He goes, and what he has not read with him.
    user = lab.use("nic0", socket=lab.place / "nic.sock")
    for each in sockets:
        os.close(each)
    assert user.bound() == "native" and user.close() == 0
    os.close(fd)
    wait_until(lambda: is_as_before(lab), "all is as before")


@contextlib.contextmanager
def reads_nothing(lab):
    """A client that has host rings' descriptors to read, and would have more of them if he did; kinds() reads what has come."""
    fd = memory()

    def kinds(count):
        return [struct.unpack_from("=I", client.sock.recv(8192), 4)[0] for _ in range(count)]

    def unread():
        return struct.unpack("=i", fcntl.ioctl(client.sock, 0x541B, bytes(4)))[0]   # FIONREAD

    with Client(lab.serve()) as client:
        sockets = in_use(client, fd, pass_=0)
        for host_rings in 1, 0, 1:
            say_use(client, 1, host_rings)
        wait_until(lambda: unread() == 2 * (8 + 4 + 4 + 16 + TEXT), "two answers have come, and the third waits")
        yield client, unread, kinds
        for each in sockets:
            os.close(each)
    os.close(fd)


def test_changes_are_told_while_descriptors_wait(lab):
    """He hears of them when he reads, before what has waited for him."""
    with reads_nothing(lab) as (_, unread, kinds):
        before = unread()
        lab.ns.ip("link set nic0 mtu 1400")
        wait_until(lambda: unread() > before, "a change is told")
        assert kinds(3) == [USED, USED, CHANGED]
        heard = kinds(1)
        while heard == [CHANGED]:   # MTU, and what comes of it
            heard = kinds(1)
        assert heard == [USED]
    wait_until(lambda: lab.ns.program("nic0") is None, "the interface is given back")


def test_an_interface_that_goes_while_descriptors_wait(lab):
    with reads_nothing(lab) as (client, unread, kinds):
        before = unread()
        lab.ns.ip("link del nic0")
        wait_until(lambda: unread() > before, "its end is told")
        heard = kinds(3)
        while heard[-1] == CHANGED:
            heard[-1:] = kinds(1)
        assert heard == [USED, USED, FAILED]
        client.say(CLOSE)
        assert kinds(1) == [68]     # what was behind it never comes
    wait_until(lambda: not lab.claims(), "nothing is left")


def test_each_user_of_host_rings_needs_the_right(lab):
    """Who asks and who is asked for; a refusal leaves what there is."""
    fd = memory()
    path = lab.serve(f"allow {NOBODY} nic0\nallow 51001 nic0 host\n")
    with Client(path) as root:
        sockets = in_use(root, fd, user=NOBODY, pass_=0)
        assert use(root, 1, 1, NOBODY)[::2] == (errno.EACCES, [])
        error, name, fds = use(root, 1, 1, 51001)
        assert error == 0 and len(fds) == 1 and lab.ns.link(name)
        assert use(root, 1, 1, NOBODY) == (errno.EACCES, name, []) and lab.ns.link(name)
        assert use(root, 1, 1, 0) == (0, name, [])
        for each in fds + sockets:
            os.close(each)
    with connecting_as(NOBODY):
        client = Client(path)
    with client:
        sockets = in_use(client, fd, user=NOBODY, pass_=0)
        for asked in NOBODY, 51001, 0:
            assert use(client, 1, 1, asked)[::2] == (errno.EACCES, [])
        for each in sockets:
            os.close(each)
    os.close(fd)


def test_a_user_has_twins_now_and_then(lab):
    """All of the host waits for each: so there is a tenth of a second between one and the next, whatever interfaces they are for."""
    fd, rounds = memory(), 6
    path = lab.serve()
    with Client(path) as one, Client(path) as other:
        sockets = in_use(one, fd, pass_=0) + in_use(other, fd, name=b"nic1", pass_=0)
        start = time.monotonic()
        for _ in range(rounds):
            for client in one, other:
                error, _, fds = use(client, 1, 1)
                assert error == 0
                for each in fds:
                    os.close(each)
                assert use(client, 1, 0)[0] == 0
        assert time.monotonic() - start >= (2 * rounds - 1) * 0.1
        for each in sockets:
            os.close(each)
    os.close(fd)


def test_a_state_directory_of_an_earlier_version_is_opened(lab):
    """That was the owner's alone; the socket is in it."""
    lab.state.mkdir(mode=0o700)
    lab.serve()
    assert lab.state.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("prefix", [(), OLD_KERNEL], ids=["", "old-kernel"])
def test_a_twin_does_not_outlive_a_killed_netmapd_nic(lab, prefix):
    """Its client keeps the descriptors, and has made it last; what the service finds noted it removes."""
    fd = memory()
    with Client(lab.serve(prefix=prefix)) as client:
        sockets = in_use(client, fd, pass_=0)
        error, name, fds = use(client, 1, 1)
        assert error == 0
        fcntl.ioctl(fds[0], 0x400454CB, 1)   # TUNSETPERSIST
        os.kill(sessions(lab)[0], signal.SIGKILL)
        wait_until(lambda: lab.ns.link(name) is None, "it is gone")
        for each in fds + sockets:
            os.close(each)
    os.close(fd)
    wait_until(lambda: is_as_before(lab), "all is as before")


def test_who_closes_and_keeps_the_sockets_leaves_the_stack_its_wire(lab):
    """From NIC_CLOSE on, whether he says NIC_RELEASED or not; and there are no host rings any more."""
    outer_pair(lab)
    fd = memory()
    with Client(lab.serve()) as client:
        sockets = in_use(client, fd, name=b"nicp0", pass_=0)
        error, name, fds = use(client, 1, 1)
        assert error == 0 and lab.ns.run(*PING, "10.99.0.2", check=False).returncode != 0
        client.say(CLOSE)
        assert client.hear()[0] == 68
        assert lab.ns.run(*PING, "10.99.0.2", check=False).returncode == 0
        assert lab.ns.link(name) is None
        for each in fds + sockets:
            os.close(each)
    os.close(fd)


@pytest.mark.parametrize("posted, size", [(65, 4096), (2**32 - 1, 4096), (64, 100), (1, 0), (1, None), (1, "pipe")])
def test_chunks_that_are_none(lab, posted, size):
    fd = memory()
    with Client(lab.serve()) as client:
        client.ask()
        assert client.hear()[0] == KNOWN
        client.open(fd)
        assert client.hear()[0] == OPENED
        client.bind(posted, size)
        number, text = client.failed()
        assert number == errno.EINVAL and f"nic0: queue 0: {posted} chunks can't be posted" in text
    os.close(fd)
    wait_until(lambda: is_as_before(lab), "all is as before")


def test_who_keeps_its_sockets_holds_up_only_itself(lab):
    """A client that says it has let go, and has not."""
    fd = memory()
    with Client(lab.serve()) as client:
        client.ask()
        assert client.hear()[0] == KNOWN
        client.open(fd)
        assert client.hear()[0] == OPENED
        client.bind()
        kind, fds = client.hear_fds()
        assert kind == BOUND
        client.say(CLOSE)
        assert client.hear()[0] == 68
        start = time.monotonic()
        client.say(RELEASED, struct.pack("=II", 0, 1))
        other = lab.use("nic1", socket=lab.place / "nic.sock")
        assert other.bound() == "native"
        kind, body = client.hear()
        assert (kind, -struct.unpack_from("=i", body)[0]) == (69, errno.ETIMEDOUT) and time.monotonic() - start > 5
        os.close(fds[0])
    os.close(fd)
    assert other.close() == 0


def test_where_the_service_listens():
    """One path: of the service, of netmapd's, and the one that is looked for when none is said."""
    paths = set()
    for command, option in ([NETMAPD_NIC, "--help"], "--socket"), ([BUILD / "netmapd/netmapd", "--help"], "--nic "):
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        paths |= set(re.findall(rf"(?s){option}.{{0,200}}?(/run/\S*nic\.sock)", text))
    for unit, option in ("nic/netmapd-nic", "--socket"), ("netmapd/netmapd", "--nic"):
        paths |= set(re.findall(rf"{option} (\S*nic\.sock)", (REPO / f"{unit}.service.in").read_text()))
    assert paths == {"/run/netmapd-nic/nic.sock"}
