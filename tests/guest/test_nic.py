# SPDX-License-Identifier: BSD-2-Clause
"""Network devices as netmap ports, in one guest with two network namespaces:

        namespace a                                  namespace b
          stack, or netmap -- left == wire == right -- netmap, host rings, stack

The wire is a veth pair, or a hub of QEMU between two virtio-net or two e1000 devices.
"""

import re
import signal
import time
from pathlib import Path

import pytest

import netlab
import ptnguest

MOSTLY_ONE_KERNEL = True     # see conftest.py

SOURCE = Path(__file__).resolve().parent / "nicheck.c"
KINDS = ("veth", "virtio_net", "e1000")
FRAMES = 200     # not more than a device of QEMU holds: a hub drops what a slow guest has no room for
PORTS = "/sys/kernel/debug/netmap/ports"


def wires():
    """Two virtio-net devices on one hub, two e1000 on another."""
    args = []
    for hub, device in enumerate(("virtio-net-pci", "e1000")):
        for end in range(2):
            args += ["-netdev", f"hubport,id=h{hub}{end},hubid={hub}",
                     "-device", f"{device},netdev=h{hub}{end},mac=00:aa:bb:cc:{hub:02x}:{end:02x}"]
    return args


@pytest.fixture(scope="module")
def booted(kernel, netmap_ko):
    # busybox's own ip and tc can't do namespaces; its shell would prefer them to programs of the same name in /bin.
    initramfs = ptnguest.build_initramfs(
        kernel, programs=[(netlab.build_program(SOURCE), "bin/nicheck"), ("ip", "sbin/ip"), ("tc", "sbin/tc"), "ethtool"],
        modules=["veth", "8021q", "bridge", "virtio_net", "e1000", "sch_tbf"], kos=[netmap_ko])
    with ptnguest.Guest(kernel, initramfs, name=f"nic-{kernel.line}", args=wires()) as guest:
        guest.run("mount -t debugfs debugfs /sys/kernel/debug; sysctl -qw net.ipv6.conf.default.disable_ipv6=1; "
                  "for m in veth 8021q bridge virtio_net e1000 sch_tbf; do modprobe $m; done")
        yield guest


class Lab:
    """The guest, with the namespaces a and b."""

    def __init__(self, guest):
        self.guest = guest
        self._spawned = []
        for ns in "ab":
            guest.run(f"/sbin/ip netns add {ns}; "
                      f"/sbin/ip netns exec {ns} sysctl -qw net.ipv6.conf.default.disable_ipv6=1; "
                      f"/sbin/ip -n {ns} link set lo up")

    def close(self):
        for process in self._spawned:
            if process.running:
                process.kill()
                process.wait()
        self.guest.run("for ns in a b; do [ ! -e /run/netns/$ns ] || /sbin/ip netns del $ns; done")
        self._wait_gone()

    def _wait_gone(self):
        """Namespaces and what was in them end in the background; the devices of QEMU come back."""
        self.guest.run("for i in $(seq 100); do [ $(ls -d /sys/bus/pci/drivers/e1000/0*/net/* "
                       "/sys/bus/virtio/drivers/virtio_net/virtio*/net/* 2>/dev/null | wc -l) = 4 ] && break; sleep 0.1; done; "
                       "for i in left right; do [ ! -e /sys/class/net/$i ] || { /sbin/ip link set $i down; "
                       "/sbin/ip link set $i name w$(tr -d : < /sys/class/net/$i/address); }; done; "
                       "[ ! -e /sys/class/net/left ] && [ $(ls -d /sys/class/net/* | wc -l) = 5 ]", 60)

    def __call__(self, ns, command, timeout=60, check=True):
        return self.guest.run(f"/sbin/ip netns exec {ns} {command}", timeout, check=check)

    def spawn(self, ns, command, wait="^ready$"):
        process = self.guest.spawn(f"exec /sbin/ip netns exec {ns} {command}")
        self._spawned.append(process)
        if wait:
            process.wait_output(wait)
        return process

    def connect(self, kind, options=""):
        """Makes `left` in a and `right` in b the ends of a wire, and sets them up with addresses."""
        if kind == "veth":
            self.guest.run(f"/sbin/ip link add left netns a {options} type veth peer name right netns b {options}")
        else:
            hub = ("virtio_net", "e1000").index(kind)
            for end, (ns, name) in enumerate((("a", "left"), ("b", "right"))):
                mac = f"00:aa:bb:cc:{hub:02x}:{end:02x}"
                self.guest.run(f"for i in $(ls /sys/class/net); do grep -qi {mac} /sys/class/net/$i/address && break; done; "
                               f"/sbin/ip link set $i down; /sbin/ip link set $i name {name}; /sbin/ip link set {name} netns {ns}")
        for ns, name, number in (("a", "left", 1), ("b", "right", 2)):
            self.guest.run(f"/sbin/ip -n {ns} link set {name} up; /sbin/ip -n {ns} addr replace 10.0.0.{number}/24 dev {name}")
        self.wait_carrier()
        return self

    def wait_carrier(self):
        for ns, name in (("a", "left"), ("b", "right")):
            self(ns, f"sh -c 'for i in $(seq 100); do /sbin/ip link show {name} | grep -q LOWER_UP && exit; sleep 0.1; done; exit 1'")

    def ping(self, address="10.0.0.2"):
        self("a", f"sh -c '{netlab.pings(address)}'")

    def tcp(self, source, sink, address, megabytes=2):
        """A stream from one namespace to the other, compared end to end."""
        server = self.spawn(sink, "nc -l -p 5000 -e md5sum", wait=None)
        sent = self(source, f"sh -c 'head -c {megabytes}000000 /dev/urandom > /tmp/data; md5sum < /tmp/data; for i in $(seq 50); "
                            f"do nc {address} 5000 < /tmp/data && break; sleep 0.2; done'", 60)
        sums = re.findall(r"^([0-9a-f]{32})  -$", sent.out, re.M)    # among what nc says while nobody listens
        assert len(sums) == 2 and sums[0] == sums[1], sent.out
        server.wait(60)

    def rings(self):
        """What the rings have counted: {(port, "tx" or "host rx" …, number): {"packets": n, cause: n}}."""
        result, port = {}, None
        for line in self.guest.run(f"cat {PORTS}").out.splitlines():
            if not line.startswith(" "):
                port = line.split(": kind ")[0]
                continue
            ring = re.match(r"  ((?:host )?[tr]x) (\d+): .* packets (\d+) .*drops(.*)$", line)
            if ring:
                drops = ring[4].split()
                result[port, ring[1], int(ring[2])] = {
                    "packets": int(ring[3]), **{drops[i]: int(drops[i + 1]) for i in range(0, len(drops), 2)}}
        return result

    def wait_sends(self, port):
        """Somebody does, through its first ring."""
        deadline = time.monotonic() + 60
        while not self.rings().get((port, "tx", 0), {}).get("packets"):
            assert time.monotonic() < deadline, self.rings()


@pytest.fixture
def lab(booted):
    booted.run("modprobe netmap")
    lab = Lab(booted)
    yield lab
    lab.close()
    booted.run("rmmod netmap")
    booted.assert_clean_log()


def ok(process):
    result = process.wait(60)
    assert result.rc == 0 and result.out.endswith("ok\n"), result.out


def stop(process):
    """Ends a relay or the like; its last words."""
    process.kill(signal.SIGTERM)
    out = process.wait(60).out
    assert out.endswith("ok\n"), out
    return out


def relayed(process):
    counts = re.search(r"^passed (\d+) wrong (\d+) longest (\d+) tagged (\d+)$", stop(process), re.M)
    return dict(zip(("passed", "wrong", "longest", "tagged"), map(int, counts.groups())))


# ---------------------------------------------------------------- content

@pytest.mark.every_kernel
@pytest.mark.parametrize("kind", KINDS)
def test_content(lab, kind):
    lab.connect(kind)
    for size in (60, 61, 1514):
        for how, source in (("raw-", ""), ("", "raw-"), ("", "")):
            receiver = lab.spawn("b", f"nicheck {how}receive right {FRAMES}")
            lab("a", f"nicheck {source}send left {FRAMES} {size}")
            ok(receiver)
    # The stack works as before when nobody has the port open.
    lab.ping()


def test_jumbo_frames(lab):
    lab.connect("veth", "mtu 9000")
    for size in (2048, 2049, 9014):
        receiver = lab.spawn("b", f"nicheck receive right {FRAMES}")
        lab("a", f"nicheck send left {FRAMES} {size}")
        ok(receiver)
    # Longer than the device may send: dropped, and counted.
    lab("a", "nicheck send left 10 9100")
    assert lab.rings()["left", "tx", 0] == {"packets": 10, "too_long": 10}


def test_host_rings(lab):
    lab.connect("veth")
    for how, source in (("", "raw-"), ("raw-", "")):
        receiver = lab.spawn("b", f"nicheck {how}receive {'right' if how else 'right^'} {FRAMES}")
        lab("b", f"nicheck {source}send {'right' if source else 'right^'} {FRAMES} 1000")
        ok(receiver)


def test_shape(lab):
    lab.connect("veth", "numtxqueues 3 numrxqueues 2")
    assert lab("a", "nicheck ctl info left").out == "tx 3 rx 2 host 1 1 slots 1024 1024 mem 1\nok\n"
    lab("a", "ethtool -L left tx 2")
    assert "tx 2 rx 2" in lab("a", "nicheck ctl info left").out


# ---------------------------------------------------------------- what the stack leaves to devices

@pytest.mark.every_kernel
@pytest.mark.parametrize("kind", KINDS)
def test_tcp_through_host_rings(lab, kind):
    """b's stack behind netmap: TSO, checksums and VLAN tags are completed in both directions."""
    lab.connect(kind)
    for side, device, address in (("a", "left", "10.5.0.1/24"), ("b", "right", "10.5.0.2/24")):
        lab(side, f"sh -c '/sbin/ip link add link {device} name tagged type vlan id 5; /sbin/ip link set tagged up; "
                  f"/sbin/ip addr add {address} dev tagged'")
    relay = lab.spawn("b", "nicheck relay right right^")
    lab.ping()
    for net in ("10.0.0", "10.5.0"):
        lab.tcp("a", "b", f"{net}.2")
        lab.tcp("b", "a", f"{net}.1")
    counts = relayed(relay)
    assert counts["wrong"] == 0 and counts["passed"] > 5000 and counts["tagged"] > 2500
    assert counts["longest"] == 1518
    drops = {key: value for key, value in lab.rings().items() if len(value) > 1 and set(value) != {"packets", "receiver_full"}}
    assert not drops
    lab.ping()


def test_virtio_net_header(lab):
    """With a header the stack's large packets come through as they are."""
    lab.connect("veth")
    lab("b", "nicheck ctl hdr right 12")
    relay = lab.spawn("b", "nicheck relay-header right right^")
    lab.ping()
    lab.tcp("a", "b", "10.0.0.2")
    lab.tcp("b", "a", "10.0.0.1")
    assert relayed(relay)["longest"] > 10000
    refused = lab("b", "nicheck hold right", check=False)
    assert refused.rc == 1 and "can't be registered" in refused.out
    lab("b", "nicheck ctl hdr right 0")


@pytest.mark.parametrize("kind", KINDS)
def test_forward(lab, kind):
    lab.connect(kind)
    forward = lab.spawn("b", "nicheck forward right")
    lab.ping()
    lab.tcp("a", "b", "10.0.0.2", 1)
    lab.tcp("b", "a", "10.0.0.1", 1)
    assert int(re.search(r"^forwarded (\d+)$", stop(forward), re.M)[1]) > 1000
    lab.ping()


# ---------------------------------------------------------------- the stack and the wire


def sent(lab, ns="b", name="right"):
    """What the device has put on the wire, as it counts."""
    return int(lab(ns, f"cat /sys/class/net/{name}/statistics/tx_packets").out)


@pytest.mark.every_kernel
def test_stack_is_cut_off(lab):
    """While an application has the device, nothing that the stack sends reaches the wire, read or not."""
    lab.connect("veth")
    lab.ping()
    holder = lab.spawn("b", "nicheck hold right")
    before = sent(lab)
    lab("b", "nicheck raw-send right 100 500")
    lab("b", "nicheck bypass-send right 100 500")
    assert lab("b", "ping -c 1 -W 1 10.0.0.1", check=False).rc != 0
    assert sent(lab) == before
    assert lab.rings()["right", "host rx", 1]["no_receiver"] > 200
    holder.kill()
    holder.wait()
    lab.ping()
    for sender in ("raw-send", "bypass-send"):
        receiver = lab.spawn("a", "nicheck raw-receive left 100")
        lab("b", f"nicheck {sender} right 100 500")
        ok(receiver)


@pytest.mark.every_kernel
@pytest.mark.parametrize("kind", KINDS)
def test_host_rings_alone(lab, kind):
    """They get what the stack sends, however it does, and nothing of the wire, which goes on to the stack."""
    lab.connect(kind)
    for sender in ("raw-send", "bypass-send"):
        receiver = lab.spawn("b", f"nicheck receive right^ {FRAMES}")
        before = sent(lab)
        lab("b", f"nicheck {sender} right {FRAMES} 1000")
        ok(receiver)
        assert sent(lab) == before
    holder = lab.spawn("b", "nicheck hold right^")
    receiver = lab.spawn("b", f"nicheck raw-receive right {FRAMES}")
    lab("a", f"nicheck send left {FRAMES} 1000")
    ok(receiver)
    assert lab.rings()["right", "host rx", 1] == {"packets": 0}
    holder.kill()
    holder.wait()
    lab.ping()


def test_some_of_the_rings(lab):
    """A device of two queues: who has one ring pair takes that queue, the stack has the other."""
    lab.connect("veth", "numtxqueues 2 numrxqueues 2")
    holder = lab.spawn("b", "nicheck hold right=1")
    before = sent(lab)
    lab("b", "taskset 1 nicheck bypass-send right 100 500")  # CPU 0, queue 0
    assert sent(lab) == before + 100
    lab("b", "taskset 2 nicheck bypass-send right 100 500")
    assert sent(lab) == before + 100
    assert lab.rings()["right", "host rx", 2]["no_receiver"] == 100
    holder.kill()
    holder.wait()


@pytest.mark.parametrize("kind", ("virtio_net", "e1000"))
def test_tx_ring_changes_hands(lab, kind):
    """What one application leaves in a tx ring, since the device is behind, is sent when another takes the ring."""
    lab.connect(kind)
    keeper = lab.spawn("a", "nicheck hold left^")
    lab("a", "nicheck fill left 1000 1514 20")
    for _ in range(300):
        counted = lab.rings()["left", "tx", 0]
        if counted["packets"] == 20000 and (kind != "virtio_net" or sent(lab, "a", "left") >= 20000):
            break
        time.sleep(0.1)
    assert counted == {"packets": 20000}
    assert kind != "virtio_net" or sent(lab, "a", "left") >= 20000
    keeper.kill()
    keeper.wait()


# ---------------------------------------------------------------- nothing is lost without a count

def test_overload(lab):
    """The receiver doesn't read: what its ring doesn't hold is counted there."""
    lab.connect("veth")
    holder = lab.spawn("b", "nicheck hold right")
    lab("a", "nicheck send left 5000 200")
    assert lab.rings()["left", "tx", 0] == {"packets": 5000}
    # A veth says that they are sent when its other end has them queued.
    deadline = time.monotonic() + 60
    while sum(lab.rings()["right", "rx", 0].values()) < 5000:
        assert time.monotonic() < deadline, lab.rings()
    assert lab.rings()["right", "rx", 0] == {"packets": 1023, "receiver_full": 5000 - 1023}
    holder.kill()
    holder.wait()


@pytest.mark.parametrize("kind", ("virtio_net", "e1000"))
def test_full_device_queue(lab, kind):
    """The sender is faster than the device: it is held back, and nothing is lost on its side."""
    lab.connect(kind)
    lab("a", "nicheck send left 20000 1514")
    assert lab.rings()["left", "tx", 0] == {"packets": 20000}
    deadline = time.monotonic() + 60
    while kind == "virtio_net" and sent(lab, "a", "left") < 20000:     # counted as the device returns them
        assert time.monotonic() < deadline, sent(lab, "a", "left")


def test_device_that_keeps_packets(lab):
    """Behind a VLAN device a slow queue holds what was sent: the sender goes on, and the module can be unloaded later."""
    lab.connect("veth")
    lab("a", "sh -c '/sbin/tc qdisc add dev left root tbf rate 8kbit burst 2000 limit 10000000 && "
             "/sbin/ip link add link left name slow type vlan id 7 && /sbin/ip link set slow up'")
    started = time.monotonic()
    lab("a", "nicheck send slow 4000 1000")
    assert time.monotonic() - started < 60
    assert lab.rings()["slow", "tx", 0] == {"packets": 4000}
    lab("a", "/sbin/tc qdisc del dev left root")


def test_link_down_and_up(lab):
    lab.connect("veth")
    holder = lab.spawn("a", "nicheck hold left")
    lab("b", "/sbin/ip link set right down")
    lab("a", "nicheck send left 100 100")
    assert lab.rings()["left", "tx", 0] == {"packets": 100, "link_down": 100}
    lab("a", "/sbin/ip link set left mtu 1400")
    lab("b", "/sbin/ip link set right up")
    lab.wait_carrier()
    receiver = lab.spawn("b", f"nicheck receive right {FRAMES}")
    lab("a", f"nicheck send left {FRAMES} 1000")
    ok(receiver)
    lab("a", "sh -c '/sbin/ip link set left down; /sbin/ip link set left name other; /sbin/ip link set other up'")
    assert "tx 1 rx 1" in lab("a", "nicheck ctl info other").out
    assert lab("a", "nicheck ctl info left", check=False).rc == 1
    lab("a", "sh -c '/sbin/ip link set other down; /sbin/ip link set other name left; /sbin/ip link set left up'")
    lab.wait_carrier()
    receiver = lab.spawn("b", f"nicheck receive right {FRAMES}")
    lab("a", f"nicheck send left {FRAMES} 1000")
    ok(receiver)
    holder.kill()
    holder.wait()


# ---------------------------------------------------------------- devices that go

@pytest.mark.every_kernel
def test_removal_while_open(lab):
    lab.connect("veth")
    waiting = [lab.spawn(ns, f"nicheck removal {port}") for ns, port in (("a", "left"), ("b", "right"), ("b", "right^"))]
    lab("a", "/sbin/ip link del left")
    for process in waiting:
        ok(process)


def test_removal_while_sending(lab):
    for _ in range(3):
        lab.connect("veth")
        receiver = lab.spawn("b", "nicheck count right 1000")
        sender = lab.spawn("a", "nicheck send left 1000000000 100", wait=None)
        lab.wait_sends("left")
        assert sender.running and receiver.running
        lab("b", "/sbin/ip link del right")
        for process in (sender, receiver):
            result = process.wait(60)
            assert result.rc == 1 and "the port is dead" in result.out
    assert lab.rings() == {}


@pytest.mark.parametrize("kind", ("virtio_net", "e1000"))
def test_unplug(lab, kind):
    lab.connect(kind)
    waiting = lab.spawn("b", "nicheck removal right")
    sender = lab.spawn("b", "nicheck send right 1000000000 1000", wait=None)
    lab.wait_sends("right")
    name = lab("b", "readlink -f /sys/class/net/right/device").out.strip().rsplit("/", 1)[1]
    driver = "virtio/drivers/virtio_net" if kind == "virtio_net" else "pci/drivers/e1000"
    lab.guest.run(f"echo {name} > /sys/bus/{driver}/unbind")
    ok(waiting)
    assert sender.wait(60).rc == 1
    lab.guest.run(f"echo {name} > /sys/bus/{driver}/bind")


def test_move_to_another_namespace(lab):
    lab.connect("veth")
    waiting = lab.spawn("b", "nicheck removal right")
    lab.guest.run("/sbin/ip -n b link set right netns a")
    ok(waiting)
    assert lab("b", "nicheck ctl info right", check=False).rc == 1
    lab("a", "/sbin/ip link set right up")
    receiver = lab.spawn("a", f"nicheck receive right {FRAMES}")
    lab("a", f"nicheck send left {FRAMES} 1000")
    ok(receiver)


def test_same_name_in_two_namespaces(lab):
    lab.connect("veth")
    lab("b", "sh -c '/sbin/ip link set right down; /sbin/ip link set right name left; /sbin/ip link set left up'")
    lab("a", "sh -c 'for i in $(seq 100); do /sbin/ip link show left | grep -q LOWER_UP && exit; sleep 0.1; done; exit 1'")
    receiver = lab.spawn("b", f"nicheck receive left {FRAMES}")
    lab("a", f"nicheck send left {FRAMES} 1000")
    ok(receiver)


def test_in_a_bridge(lab):
    lab.connect("veth")
    lab("b", "sh -c '/sbin/ip link add bridge0 type bridge && /sbin/ip link set right master bridge0'")
    refused = lab("b", "nicheck hold right", check=False)
    assert refused.rc == 1 and "Device or resource busy" in refused.out
    assert "right: its packets go to a bridge" in lab.guest.kmsg()
    lab("b", "/sbin/ip link set right nomaster")
    receiver = lab.spawn("b", f"nicheck receive right {FRAMES}")
    lab("a", f"nicheck send left {FRAMES} 1000")
    ok(receiver)


# ---------------------------------------------------------------- on a switch

@pytest.mark.every_kernel
@pytest.mark.parametrize("kind", KINDS)
def test_attach(lab, kind):
    lab.connect(kind)
    lab("b", "nicheck ctl attach valea:right")
    assert "Device or resource busy" in lab("b", "nicheck hold right", check=False).out
    receiver = lab.spawn("b", f"nicheck receive valea:1 {FRAMES}")
    lab("a", f"nicheck send left {FRAMES} 1000")
    ok(receiver)
    receiver = lab.spawn("a", f"nicheck receive left {FRAMES}")
    lab("b", f"nicheck send valea:1 {FRAMES} 1000")
    ok(receiver)
    lab("b", "nicheck ctl detach valea:right")
    lab.ping()


def test_attach_with_host_rings(lab):
    lab.connect("veth")
    lab("b", "nicheck ctl attach-host valea:right")
    lab.ping()
    lab.tcp("a", "b", "10.0.0.2")
    lab.tcp("b", "a", "10.0.0.1")
    lab("b", "nicheck ctl poll valea:right 1")
    lab.ping()
    lab.tcp("a", "b", "10.0.0.2", 1)
    lab("b", "nicheck ctl no-poll valea:right")
    lab.ping()
    lab("b", "nicheck ctl detach valea:right")
    lab.ping()


def test_killed_while_it_switches_polling(lab):
    """Whoever wants threads of another kind may be killed before they are made: then the device keeps those it has."""
    lab.connect("veth")
    lab("b", "nicheck ctl attach-host valea:right")
    for _ in range(10):
        end(lab.spawn("b", "nicheck switch-polling valea:right"))
        lab("a", "ping -c 1 -W 60 10.0.0.2")
    lab("b", "nicheck ctl detach valea:right")


def test_removal_while_attached(lab):
    lab.connect("veth")
    lab("b", "nicheck ctl attach-host valea:right")
    lab.ping()
    lab("a", "/sbin/ip link del left")
    lab.guest.run(f"for i in $(seq 100); do grep -q . {PORTS} || exit 0; sleep 0.1; done; cat {PORTS}; exit 1")


@pytest.mark.every_kernel
def test_unload_while_attached(lab):
    lab.connect("veth")
    lab("b", "nicheck ctl attach-host valea:right")
    lab.ping()
    lab.guest.run("rmmod netmap")
    lab.ping()
    lab.guest.run("modprobe netmap")


# ---------------------------------------------------------------- namespaces


def end(*processes):
    for process in processes:
        process.kill()
        process.wait()


def test_names_of_namespaces(lab):
    """The same names in two namespaces: switches, pipes of no port and of an interface, and nothing crosses."""
    lab.connect("veth")
    for ns, name in (("a", "left"), ("b", "right")):
        lab(ns, f"sh -c '/sbin/ip link set {name} down; /sbin/ip link set {name} name same; /sbin/ip link set same up'")
    for here, there in (("vale8:x", "vale8:y"), ("pp{1", "pp}1"), ("same{1", "same}1")):
        stranger = lab.spawn("b", f"nicheck hold {there}")
        friend = lab.spawn("a", f"nicheck receive {there} 100")
        lab("a", f"nicheck send {here} 100 60")
        ok(friend)
        received = {name: counts["packets"] for (name, ring, _), counts in lab.rings().items() if ring == "rx"}
        assert received[there] == 0
        end(stranger)
    lab("a", "nicheck ctl newif port")
    for name in ("port", "vale8:port"):
        assert lab("b", f"nicheck ctl {'attach' if ':' in name else 'delif'} {name}", check=False).rc == 1
    lab("a", "nicheck ctl attach vale8:port")
    assert lab("b", "nicheck ctl detach vale8:port", check=False).rc == 1
    lab("a", "nicheck ctl detach vale8:port")
    lab("a", "nicheck ctl delif port")


def test_pipes_follow_a_rename(lab):
    """Whatever its interface is called; another one may have the old name, and pipes of its own."""
    lab.connect("veth")
    receiver = lab.spawn("a", "nicheck receive left}1 100")
    lab("a", "sh -c '/sbin/ip link set left down; /sbin/ip link set left name new'")
    lab("a", "/sbin/ip link add left type veth peer name right")
    stranger = lab.spawn("a", "nicheck hold left}1")
    lab("a", "nicheck send new{1 100 60")
    ok(receiver)
    assert lab.rings()["left}1", "rx", 0] == {"packets": 0}
    end(stranger)
    lab("a", "/sbin/ip link del left")


def test_namespace_of_who_opened(lab):
    """A descriptor that another namespace uses means the names of the one in which /dev/netmap was opened."""
    lab.connect("veth")
    receiver = lab.spawn("b", "nicheck receive right 100")
    lab("a", "sh -c 'exec 9<>/dev/netmap; NICHECK_FD=9 /sbin/ip netns exec b nicheck send left 100 60'")
    ok(receiver)
    assert lab("a", "sh -c 'exec 9<>/dev/netmap; NICHECK_FD=9 /sbin/ip netns exec b nicheck send right 100 60'", check=False).rc == 1


@pytest.mark.every_kernel
def test_end_of_a_namespace(lab):
    """Devices on its switches are taken off, and its persistent ports go."""
    lab.connect("veth")
    lab("b", "nicheck ctl newif port")
    lab("b", "nicheck ctl newif spare")
    lab("b", "nicheck ctl attach valea:port")
    lab("b", "nicheck ctl attach-host valea:right")
    lab.ping()
    lab.guest.run("/sbin/ip netns del b")
    lab.guest.run(f"for i in $(seq 200); do grep -q . {PORTS} || exit 0; sleep 0.1; done; cat {PORTS}; exit 1")
    assert lab.guest.run("/sbin/ip link show port || /sbin/ip link show spare", check=False).rc != 0


@pytest.mark.every_kernel
def test_persistent_port_moves(lab):
    """It stays on the switch of the namespace that it has left, and nobody else gets its place there, until that one ends."""
    lab("a", "nicheck ctl newif port")
    lab("a", "nicheck ctl attach valea:port")
    lab("a", "/sbin/ip link set port netns b")
    for request in ("send port 100 60", "ctl attach valea:port", "ctl attach valeb:port"):
        assert "Device or resource busy" in lab("b", f"nicheck {request}", check=False).out
    lab("a", "nicheck send valea:port 100 60")
    lab.guest.run("/sbin/ip netns del a")
    lab.guest.run(f"for i in $(seq 200); do grep -q valea {PORTS} || exit 0; sleep 0.1; done; cat {PORTS}; exit 1")
    lab("b", "nicheck send port 100 60")
    lab("b", "nicheck ctl attach valea:port")
    lab("b", "nicheck ctl detach valea:port")
    lab("b", "nicheck ctl delif port")


# ---------------------------------------------------------------- persistent ports

@pytest.mark.every_kernel
def test_persistent_port(lab):
    """Its stack talks with that of the other namespace through an application, and through a switch."""
    lab.connect("veth")
    lab("b", "/sbin/ip addr flush dev right")
    lab("b", "nicheck ctl newif port")
    assert "File exists" in lab("b", "nicheck ctl newif port", check=False).out
    assert "driver: netmap\n" in lab("b", "ethtool -i port").out
    assert lab("a", "nicheck ctl info port", check=False).rc == 1
    lab("b", "sh -c '/sbin/ip link set port up; /sbin/ip addr add 10.0.0.2/24 dev port'")
    assert "NO-CARRIER" in lab("b", "/sbin/ip link show port").out
    relay = lab.spawn("b", "nicheck relay port right")
    lab.ping()
    lab.tcp("a", "b", "10.0.0.2")
    lab.tcp("b", "a", "10.0.0.1")
    assert "Device or resource busy" in lab("b", "nicheck ctl delif port", check=False).out
    counts = relayed(relay)
    assert counts["wrong"] == 0 and counts["passed"] > 2000 and counts["longest"] == 1514
    lab("b", "nicheck ctl attach valea:port")
    lab("b", "nicheck ctl attach valea:right")
    lab.ping()
    lab.tcp("a", "b", "10.0.0.2")
    for name in ("port", "right"):
        lab("b", f"nicheck ctl detach valea:{name}")
    lab("b", "nicheck ctl delif port")
    assert lab("b", "/sbin/ip link show port", check=False).rc != 0
    assert "No such device or address" in lab("b", "nicheck ctl delif port", check=False).out
    # What is left goes with the module.
    lab("b", "nicheck ctl newif other")
    lab.guest.run("rmmod netmap")
    assert lab("b", "/sbin/ip link show other", check=False).rc != 0
    lab.guest.run("modprobe netmap")


def test_persistent_port_that_the_kernel_refuses(lab):
    """After it is listed: IPv4 has settings of its own called "all". Nobody gets at it before it is taken back."""
    lab("b", "nicheck refused-newif all 50")
