# SPDX-License-Identifier: BSD-2-Clause
"""Network interfaces as ports of netmapd: passed through to guests of this host; and, with a guest as the host, drivers of
real devices, zero copy where they have it.
"""

import json
import os
import re
import signal
import subprocess

import pytest

import netlab
import ptnguest
from ptnguest.env import BUILD

MOSTLY_ONE_KERNEL = True

# ------------------------------------------------------------ guests of this host, wired by a veth

WIRE = """
ip link add v1 type veth peer name v2
for v in v1 v2; do
    sysctl -qw net.ipv6.conf.$v.disable_ipv6=1
    ip link set $v up
done
"""


@pytest.fixture(scope="module")
def wired(kernel, netmap_ko):
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace and AF_XDP")
    with netlab.Daemon(BUILD / "test-logs" / f"nic-ports-{kernel.line}.netmapd", "--workers", "2", prepare=WIRE) as daemon:
        initramfs = netlab.build_initramfs(kernel, netmap_ko)
        nodes = [netlab.Node(kernel, initramfs, daemon, n, f"nic-ports-{kernel.line}-{n}", ifname=f"netmap:v{n}") for n in (1, 2)]
        with netlab.running(nodes):
            yield daemon, nodes
            assert daemon.alive, daemon.log.read_text()


@pytest.fixture
def pair(wired):
    for node in wired[1]:
        node.load()
    yield wired[1]
    for node in wired[1]:
        node.assert_clean_log()


@pytest.mark.every_kernel
def test_applications_of_guests_reach_the_wire(pair):
    """Numbered packets, each way: none is lost, changed, or out of order."""
    a, b = pair
    for sender, receiver in (a, b), (b, a):
        netlab.stream(sender, "data", receiver, "data")
        netlab.pkt_gen(sender, "data", receiver, "data")


def test_stacks_of_guests_reach_the_wire(pair):
    a, b = pair
    a.ping(b)
    netlab.tcp(a, b, 1000000)


def test_a_guest_that_reboots_has_its_interface(wired, pair):
    _, (a, b) = wired
    b.reboot()
    b.load()
    netlab.stream(a, "data", b, "data")
    a.ping(b)


PAIRS = """
for n in 1 2; do
    ip link add x$n type veth peer name y$n
    for v in x$n y$n; do
        sysctl -qw net.ipv6.conf.$v.disable_ipv6=1
        ip link set $v up
    done
done
"""


def test_a_guest_bridges_two_interfaces(kernel, netmap_ko):
    """Both are passed through to it, in one region: its netmap-bridge exchanges buffers, and each packet arrives behind them as it was."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace and AF_XDP")
    initramfs = ptnguest.build_initramfs(kernel, programs=[BUILD / "apps/netmap-bridge"], kos=[netmap_ko])
    with netlab.Daemon(BUILD / "test-logs" / f"nic-bridge-{kernel.line}.netmapd", "--workers", "2", prepare=PAIRS) as daemon, \
            netlab.Node(kernel, initramfs, daemon, 1, f"nic-bridge-{kernel.line}", ifname="netmap:x1",
                        args=["-netdev", "netmap,ifname=netmap:x2,id=more,passthrough=on", "-device", "ptnet-pci,netdev=more"]) as node:
        node.load(up=False)
        bridge = node.spawn("exec netmap-bridge -w 0 -i netmap:data -i netmap:more")
        bridge.wait_output("^Bridging", 60)
        env = dict(os.environ, NETMAPD_SOCKET=daemon.socket, NETMAP_BACKEND="daemon")
        wire = subprocess.run([BUILD / "tests/daemon/nicwire", "netmap:y1@9", "netmap:y2@9", str(WIRED), "1514"], env=env,
                              capture_output=True, text=True, timeout=1200)
        assert wire.returncode == 0 and f"ok {WIRED} {WIRED} " in wire.stdout, wire.stdout
        bridge.kill(signal.SIGINT)
        assert bridge.wait(60).rc == 0, bridge.output
        passed = re.findall(r"-> .*: (\d+) packets, .*, zero copy, 0 dropped$", bridge.output, re.M)
        assert len(passed) == 2 and all(int(n) >= WIRED for n in passed), bridge.output
        node.assert_clean_log()
        assert daemon.alive, daemon.log.read_text()


# ------------------------------------------------------------ a guest as the host

PROGRAMS = [BUILD / p for p in ("netmapd/netmapd", "nic/netmapd-nic", "tools/netmapctl", "apps/pkt-gen", "apps/netmap-bridge",
                                "tests/daemon/nicwire")]
DEVICES = {     # two of each are on a hub of QEMU
    "igb": "igb",
    "virtio_net": "virtio-net-pci,iommu_platform=on,disable-legacy=on",
}
MODULES = [*DEVICES, "sch_ingress", "cls_bpf", "tun"]
ZERO_COPY = ("newest",)     # kernels where these drivers do without copies
SIZES = (60, 1024, 1025, 1514)
PACKETS = 1000
WIRED = int(os.environ.get("NIC_PACKETS", 3000))    # packets that nicwire sends each way; make nic-long: 100,000


def name(driver, end):
    return f"{driver.replace('_', '')}{end}"


def devices():
    for hub, (driver, device) in enumerate(DEVICES.items()):
        for end in range(2):
            yield hub, end, driver, device, f"00:aa:bb:cc:{hub:02x}:{end:02x}"


class Host(ptnguest.Guest):
    """A guest in which netmapd runs."""

    def __init__(self, kernel):
        initramfs = ptnguest.build_initramfs(kernel, programs=[*PROGRAMS, ("ip", "sbin/ip"), "ethtool", "ss"],
                                             modules=[*MODULES, *(["xsk_diag"] if kernel.line in ZERO_COPY else [])])
        args = []
        for hub, end, _, device, mac in devices():
            args += ["-device", f"pcie-root-port,id=port{hub}{end},chassis={2 * hub + end + 1}",
                     "-netdev", f"hubport,id=h{hub}{end},hubid={hub}",
                     "-device", f"{device},bus=port{hub}{end},netdev=h{hub}{end},mac={mac}"]
        super().__init__(kernel, initramfs, name=f"nic-ports-host-{kernel.line}", args=args, memory="1G")

    def set_up(self):
        self.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; "
                 f"for m in {' '.join(MODULES)}; do modprobe $m; done")
        for _, end, driver, _, mac in devices():
            self.run(f"for i in $(ls /sys/class/net); do grep -qi {mac} /sys/class/net/$i/address && break; done; "
                     f"/sbin/ip link set $i down; /sbin/ip link set $i name {name(driver, end)}; "
                     f"/sbin/ip link set {name(driver, end)} up")
        self.spawn("exec netmapd --socket /tmp/socket --workers 1").wait_output("serves")
        return self

    def application(self, text):
        return self.spawn(f"NETMAPD_SOCKET=/tmp/socket NETMAP_BACKEND=daemon exec {text}")

    def port(self, port):
        """What status says of it, when it has a link."""
        for _ in range(200):
            ports = json.loads(self.run("netmapctl --socket /tmp/socket status --json").out)["ports"]
            found = next((p for p in ports if p["name"] == port), None)
            if found and found["nic"].get("link"):
                return found
            self.run("sleep 0.1")
        raise AssertionError(f"{port} has no link: {found}")

    def drain(self, *names):
        """Nobody has them any more."""
        self.run("for i in $(seq 300); do netmapctl --socket /tmp/socket list | grep -qE '^(" + "|".join(names) + ")$' || exit 0; "
                 "sleep 0.1; done; exit 1", 60)


@pytest.fixture(scope="module")
def host(kernel):
    with Host(kernel) as host:
        host.set_up()
        yield host
        host.assert_clean_log()


def numbered(host, source, sink, size, count=PACKETS, rate=2000):
    """Packets of one size; all arrive, each byte as it was sent."""
    rx = host.application(f"pkt-gen -i {sink} -f rx -k -n {count} -q 60 -w 0 -l {size}")
    rx.wait_output(r"^rx on ", 60)
    host.port(sink)
    tx = host.application(f"pkt-gen -i {source} -f tx -k -n {count} -R {rate} -l {size} -w 8")
    assert f"Sent {count} packets" in tx.wait(120).out, tx.output
    assert netlab.checked(rx) == (count, 0, 0, 0, 0), rx.output


@pytest.mark.every_kernel
@pytest.mark.parametrize("driver", DEVICES)
def test_packets_through_devices(host, kernel, driver):
    """In zero copy, where there is that."""
    a, b = name(driver, 0), name(driver, 1)
    for size in SIZES:
        numbered(host, a, b, size)
        host.drain(a, b)
    keep = host.application(f"pkt-gen -i {a} -f rx -w 0")
    keep.wait_output(r"^rx on ", 60)
    mode = host.port(a)["nic"]["mode"]
    keep.kill()
    keep.wait()
    assert mode == ("zero-copy" if kernel.line in ZERO_COPY else "native")
    host.drain(a)


# ------------------------------------------------------------ host rings


def best(kernel):
    return "zero-copy" if kernel.line in ZERO_COPY else "native"


@pytest.fixture
def outside(host):
    """outside(driver): the second device of a driver is elsewhere, 192.0.2.1, and the first is the host's 192.0.2.2."""
    moved = []

    def move(driver):
        a, b = name(driver, 0), name(driver, 1)
        host.run(f"mkdir -p /run/netns; /sbin/ip netns add outside; /sbin/ip link set {b} netns outside; "
                 f"/sbin/ip -n outside addr add 192.0.2.1/24 dev {b}; /sbin/ip -n outside link set {b} up; "
                 f"/sbin/ip addr add 192.0.2.2/24 dev {a}")
        moved.append((a, b))
        return a

    yield move
    for a, b in moved:
        host.run(f"/sbin/ip -n outside link set {b} netns 1; /sbin/ip netns del outside; /sbin/ip addr flush dev {a}; "
                 f"/sbin/ip link set {b} up")


def ping(host):
    return host.run("for i in $(seq 20); do ping -c 1 -W 1 192.0.2.1 && exit; done; exit 1", 60)


@pytest.mark.every_kernel
@pytest.mark.parametrize("driver", DEVICES)
def test_the_stack_through_a_bridge(host, kernel, driver, outside):
    """The host's pings and TCP go through a program between host rings and the device, both ways, and are as they were."""
    a = outside(driver)
    ping(host)
    bridge = host.application(f"netmap-bridge -w 0 -i netmap:{a}")
    bridge.wait_output("^Bridging", 60)
    state = host.port(a)["nic"]
    assert state["mode"] == best(kernel) and state["host_interface"] in host.run("/sbin/ip link").out
    ping(host)
    digest = host.run("dd if=/dev/urandom of=/tmp/sent bs=64k count=32 2>/dev/null; md5sum < /tmp/sent").out
    server = host.spawn("exec /sbin/ip netns exec outside nc -l -p 5000 -e md5sum")
    echoed = host.run("for i in $(seq 50); do nc 192.0.2.1 5000 < /tmp/sent && exit; sleep 0.2; done; exit 1", 60).out
    assert digest.split()[0] in echoed, echoed     # behind what nc says while nobody listens
    server.wait(60)
    bridge.kill(signal.SIGINT)
    assert bridge.wait(60).rc == 0, bridge.output
    passed = re.findall(r"-> .*: (\d+) packets, .*, zero copy, 0 dropped$", bridge.output, re.M)
    assert len(passed) == 2 and all(int(n) >= 10 for n in passed), bridge.output
    host.drain(a)
    assert "nmhost" not in host.run("/sbin/ip link").out
    ping(host)


# ------------------------------------------------------------ what happens to buffers (nicwire)

LONG = {"igb": 3046, "virtio_net": 3400}    # MTUs that these drivers take, zero copy included: around 1792 and 2048 bytes as well


def nicwire(host, first, second, longest=1514, count=WIRED):
    """Numbered packets between these two, both ways at a time; no other byte changes. Which rx rings they came through; modes."""
    program = host.application(f"nicwire netmap:{first}@9 netmap:{second}@9 {count} {longest} stay")
    program.wait_output("^through$", 120)
    program.wait_output("^ok ", 60 + count / 100)
    found = re.search(rf"^ok {count} {count} (\d+), rx rings (\w+) of (\d+), (\w+) of (\d+)$", program.output, re.M)
    assert found and int(found[1]) > 1000, program.output
    modes = [host.port(n)["nic"]["mode"] for n in (first, second)]
    zero_copy = host.run("modprobe xsk_diag 2>/dev/null; ss --xdp -e").out
    program.kill(signal.SIGTERM)
    assert program.wait(60).rc == 0, program.output
    host.drain(first, second)
    return {"rings": [(int(found[i], 16), int(found[i + 1])) for i in (2, 4)], "modes": modes, "sockets": zero_copy}


def set_mtu(host, mtu, *interfaces):
    for interface in interfaces:
        host.run(f"/sbin/ip link set {interface} mtu {mtu}")


@pytest.mark.not_on_6_1     # where it was not tried
@pytest.mark.every_kernel
@pytest.mark.parametrize("driver", DEVICES)
def test_no_byte_of_another_packet_changes(host, kernel, driver):
    """Each packet is read where the device has put it, and what lies in the buffers around it stays as it is."""
    a, b = name(driver, 0), name(driver, 1)
    for mtu in 1500, LONG[driver]:
        set_mtu(host, mtu, a, b)
        try:
            result = nicwire(host, a, b, mtu + 14, WIRED if mtu == 1500 else WIRED // 3)
        finally:
            set_mtu(host, 1500, a, b)
        assert result["modes"] == [best(kernel)] * 2
        assert all(used == (1 << rings) - 1 for used, rings in result["rings"])     # all queues
        # The kernel says so, too, of each queue of both.
        wanted = sum(rings for _, rings in result["rings"]) if best(kernel) == "zero-copy" else 0
        assert result["sockets"].count("zc:1") == wanted, result["sockets"]


@pytest.mark.not_on_6_1     # where it was not tried
@pytest.mark.every_kernel
def test_two_drivers_bridged(host, kernel):
    """igb and virtio-net in one region: netmap-bridge exchanges buffers between them, both ways, and each packet arrives as it was."""
    first, second = (name(driver, 1) for driver in DEVICES)
    bridge = host.application(f"netmap-bridge -w 0 -i netmap:{first}@7 -i netmap:{second}@7")
    bridge.wait_output("^Bridging", 60)
    modes = [host.port(n)["nic"]["mode"] for n in (first, second)]
    assert modes == [best(kernel)] * 2
    result = nicwire(host, *(name(driver, 0) for driver in DEVICES))
    assert result["modes"] == modes and all(used == (1 << rings) - 1 for used, rings in result["rings"])
    bridge.kill(signal.SIGINT)
    assert bridge.wait(60).rc == 0, bridge.output
    passed = re.findall(r"-> .*: (\d+) packets, .*, zero copy, 0 dropped$", bridge.output, re.M)
    assert len(passed) == 2 and all(int(n) >= WIRED for n in passed), bridge.output
    host.drain(first, second)
