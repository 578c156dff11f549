# SPDX-License-Identifier: BSD-2-Clause
"""Network interfaces as ports of netmapd: passed through to guests of this host; and, with a guest as the host, drivers of
real devices, zero copy where they have it.
"""

import contextlib
import itertools
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

PACKETS = 1000      # fewer than any ring has slots
STREAM = int(os.environ.get("NIC_PACKETS", 10000))  # packets that guests send each way; make nic-long: 100,000
PARTS = int(os.environ.get("NIC_PACKETS", PACKETS)) // PACKETS      # and as many by pkt-gen

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
    """Numbered packets, each way: none is lost, changed, or out of order. Those of pkt-gen, which waits for no receiver, come in parts
    that a ring has room for."""
    a, b = pair
    for sender, receiver in (a, b), (b, a):
        netlab.stream(sender, "data", receiver, "data", STREAM)
        for _ in range(PARTS):
            rx = receiver.spawn(f"pkt-gen -i data -f rx -w 0 -k -n {PACKETS} -q 60")
            rx.wait_output("^rx on ", 60)
            tx = sender.run(f"pkt-gen -i data -f tx -w 0 -k -n {PACKETS} -R 20000", 60)
            assert f"Sent {PACKETS} packets" in tx.out and netlab.checked(rx) == (PACKETS, 0, 0, 0, 0), rx.output


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


class Place:
    """A network namespace of this host, for what takes guests: its stack has this address."""

    def __init__(self, pid, address, tmp):
        self.pid, self.address, self.tmp = pid, address, tmp

    def spawn(self, text):
        text = text.replace("/tmp/data", f"{self.tmp}/data")     # a guest has /tmp for itself
        return Child(["nsenter", "-t", str(self.pid), "-n", "sh", "-c", 'nc() { busybox nc "$@"; }; ' + text])

    def run(self, text, timeout=60):
        child = self.spawn(text).wait(timeout)
        assert child.rc == 0, f"{text}: {child.out}"
        return child


class Child:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait_output(self, text, timeout=60):
        with netlab.killed_after(timeout, self.process):
            assert any(text in line for line in iter(self.process.stdout.readline, "")), f"it ends, or is ended, without saying {text}"

    def wait(self, timeout=60):
        self.out = self.process.communicate(timeout=timeout)[0]
        self.rc = self.process.returncode
        return self

    def kill(self):
        self.process.kill()


SWITCHED = """
ip link add v1 type veth peer name w1
for v in v1 w1; do sysctl -qw net.ipv6.conf.$v.disable_ipv6=1; done
ip link set v1 up
"""


# How the host's stack comes to the switch, and the interface that it has there.
STACKS = {
    "tap": ("{0} -n tap0 && {0} -a vale1:tap0 && {0} -a vale1:v1", "tap0"),
    "own": ("{0} -h vale1:v1", "v1"),
}


@pytest.fixture(params=STACKS)
def switched(request, kernel, netmap_ko, tmp_path):
    """(daemon, stations): two guests, the host's stack (by a TAP, or that of the NIC itself), and a machine outside, behind a NIC; all on
    one switch."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces and AF_XDP")
    name = f"nic-switch-{request.param}-{kernel.line}"
    attach, interface = STACKS[request.param]
    initramfs = ptnguest.build_initramfs(kernel, programs=["iperf3", "ethtool"], kos=[netmap_ko])
    # No test decides by time: a receiver may be slow.
    with netlab.Daemon(BUILD / "test-logs" / f"{name}.netmapd", "--full-wait-ms", "10000", prepare=SWITCHED) as daemon, \
            subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        keeper.stdout.readline()
        host, outside = (Place(p.pid, f"10.0.0.{n}", tmp_path) for p, n in ((daemon, 3), (keeper, 4)))
        control = f"NETMAPD_SOCKET={daemon.socket} NETMAP_BACKEND=daemon {netlab.VALE_CTL}"
        host.run(f"ip link set w1 netns {keeper.pid}; {attach.format(control)} && sysctl -qw net.ipv6.conf.{interface}.disable_ipv6=1 && "
                 f"ip addr add 10.0.0.3/24 dev {interface} && ip link set {interface} up")
        outside.run("ip addr add 10.0.0.4/24 dev w1; ip link set w1 up")
        nodes = [netlab.Node(kernel, initramfs, daemon, n, f"{name}-{n}") for n in (1, 2)]
        try:
            with netlab.running(nodes):
                yield daemon, [*nodes, host, outside]
                for node in nodes:
                    node.assert_clean_log()
                assert daemon.alive, daemon.log.read_text()
        finally:
            keeper.stdin.close()


@pytest.mark.nic_long
def test_a_switch_with_guests_and_a_machine_outside(switched):
    """iperf3 between all of them, and bytes compared end to end, with and without the virtio-net header on the guests' side."""
    _, stations = switched
    nodes = stations[:2]
    for header in "Y", "N":
        for node in nodes:
            node.run(f"modprobe -r netmap 2>/dev/null; modprobe netmap ptnet_vnet_hdr={header}; "
                     "sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
            node.load()
        servers = [station.spawn("exec iperf3 -s --forceflush") for station in stations]
        try:
            for server in servers:
                server.wait_output("listening")
            for sender, receiver in itertools.permutations(stations, 2):
                done = sender.run(f"iperf3 -J -n 512K -c {receiver.address}", 120).out
                assert json.loads(done)["end"]["sum_sent"]["bytes"] >= 512 * 1024
                netlab.tcp(sender, receiver, 300000)
        finally:
            for server in servers:
                server.kill()
                server.wait()


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
                                "tests/daemon/nicwire", "tests/daemon/nicmachine", "tests/daemon/napis")]
DEVICES = {     # two of each are on a hub of QEMU
    "igb": "igb",
    "virtio_net": "virtio-net-pci,iommu_platform=on,disable-legacy=on",
}
MODULES = [*DEVICES, "sch_ingress", "cls_bpf", "tun"]
ZERO_COPY = ("newest",)     # kernels where these drivers do without copies
PER_QUEUE = ("newest",)     # where interrupts are put off for each queue
SIZES = (60, 1024, 1025, 1514)
WIRED = int(os.environ.get("NIC_PACKETS", 3000))    # packets that nicwire sends each way; make nic-long: 100,000
RESET = 1500        # packets after each reset: more than a ring has slots
ROUNDS = int(os.environ.get("NIC_ROUNDS", 1))       # make nic-long: 100
ROUNDS_OF = DEVICES if "NIC_ROUNDS" in os.environ else ["virtio_net"]
WARM = 2            # rounds until netmapd and the kernel have what they keep
GROWS = 32768       # KiB that the guest's free memory may differ by afterwards; what is pinned may not


def name(driver, end):
    return f"{driver.replace('_', '')}{end}"


def devices(kinds=None):
    for hub, (driver, device) in enumerate((kinds or DEVICES).items()):
        for end in range(2):
            yield hub, end, driver, device, f"00:aa:bb:cc:{hub:02x}:{end:02x}"


class Host(ptnguest.Guest):
    """A guest in which netmapd runs. kinds: its devices; wire: what is behind each of them."""

    def __init__(self, kernel, kinds=None, wire="hubport,hubid={hub}", name="nic-ports-host", **options):
        self.devices = list(devices(kinds))
        initramfs = ptnguest.build_initramfs(kernel, programs=[*PROGRAMS, ("ip", "sbin/ip"), ("tc", "sbin/tc"), "ethtool", "ss"],
                                             modules=[*MODULES, *(["xsk_diag"] if kernel.line in ZERO_COPY else [])])
        args = []
        for hub, end, _, device, mac in self.devices:
            args += ["-device", f"pcie-root-port,id=port{hub}{end},chassis={2 * hub + end + 1}",
                     "-netdev", f"{wire.format(hub=hub, end=end)},id=h{hub}{end}",
                     "-device", f"{device},bus=port{hub}{end},netdev=h{hub}{end},mac={mac}"]
        super().__init__(kernel, initramfs, name=f"{name}-{kernel.line}", args=args, memory="1G", **options)

    def set_up(self):
        self.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; "
                 f"for m in {' '.join(MODULES)}; do modprobe $m; done")
        for _, end, driver, _, mac in self.devices:
            self.set_up_device(name(driver, end), mac)
        self.spawn("exec netmapd --socket /tmp/socket --workers 1").wait_output("serves")
        return self

    def set_up_device(self, interface, mac):
        """It may not be there at once."""
        self.run(f"for n in $(seq 100); do for i in $(ls /sys/class/net); do grep -qi {mac} /sys/class/net/$i/address && break 2; done; "
                 f"sleep 0.1; done; /sbin/ip link set $i down; /sbin/ip link set $i name {interface}; /sbin/ip link set {interface} up")

    def application(self, text):
        return self.spawn(f"NETMAPD_SOCKET=/tmp/socket NETMAP_BACKEND=daemon exec {text}")

    def port(self, port, link=True, socket="/tmp/socket"):
        """What status says of it, as soon as it moves packets and has a link, or has none. igb resets its device, PHY and all, when a
        program comes and when it goes: three seconds each under emulation on an idle machine, ten times that on a loaded one."""
        for _ in range(1000):
            ports = json.loads(self.run(f"netmapctl --socket {socket} status --json").out)["ports"]
            found = next((p for p in ports if p["name"] == port), None)
            if found and found["nic"]["state"] == "running" and found["nic"]["link"] == link:
                return found
            self.run("sleep 0.1")
        raise AssertionError(f"{port}: the link is not {'up' if link else 'down'}: {found}")

    def drain(self, *names):
        """Nobody has them any more, and netmapd-nic has put all back: igb is reset by that, see port(), and what has to do with any
        interface waits meanwhile, longer than netmapd's clients do."""
        self.run("for i in $(seq 1000); do netmapctl --socket /tmp/socket list | grep -qE '^(" + "|".join(names) + ")$' || "
                 f"for n in {' '.join(names)}; do ls /run/netmapd-nic/*-$(cat /sys/class/net/$n/ifindex); done 2>/dev/null | grep -q . || "
                 "exit 0; sleep 0.1; done; exit 1", 60)


@pytest.fixture(scope="module")
def host(kernel):
    with Host(kernel) as host:
        host.set_up()
        yield host
        host.assert_clean_log()


@contextlib.contextmanager
def kept(host, port):
    """Open, with a link, before a sender comes and after it: what it sends without one is dropped. The value is the port's status."""
    keeper = host.application(f"pkt-gen -i {port} -f rx -w 0")
    keeper.wait_output(r"^rx on ", 60)
    try:
        yield host.port(port)
    finally:
        keeper.kill()
        keeper.wait(60)


def numbered(host, source, sink, size, count=PACKETS, rate=2000):
    """Packets of one size; all arrive, each byte as it was sent."""
    with kept(host, source):
        rx = host.application(f"pkt-gen -i {sink} -f rx -k -n {count} -q 60 -w 0 -l {size}")
        rx.wait_output(r"^rx on ", 60)
        host.port(sink)
        tx = host.application(f"pkt-gen -i {source} -f tx -k -n {count} -R {rate} -l {size} -w 0")
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
    with kept(host, a) as port:
        mode = port["nic"]["mode"]
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


def test_what_host_rings_are_too_slow_for_is_counted(host, outside):
    """Whoever of the kernel drops it: a TAP that is full, or the queue in front of it, if that is made to wait."""
    a = outside("virtio_net")
    host.run(f"/sbin/ip neigh add 192.0.2.1 lladdr 00:aa:bb:cc:00:09 dev {a}")
    app = host.application(f"pkt-gen -i netmap:{a}^ -f rx -w 0")
    app.wait_output("^rx on ", 60)
    twin = host.port(a)["nic"]["host_interface"]
    app.kill(signal.SIGSTOP)
    host.run(f"/sbin/tc qdisc replace dev {twin} root pfifo limit 10")
    host.run("for i in $(seq 10); do timeout 30 ping -c 500 -i 0.001 -W 1 -q 192.0.2.1 > /dev/null & done; wait", 120)
    for _ in range(300):
        port, drops = host.port(a), 0
        for line in host.run(f"cat /sys/class/net/{twin}/statistics/tx_dropped; /sbin/tc -s qdisc show dev {twin}").out.splitlines():
            found = re.search(r"^(\d+)$|dropped (\d+)", line)
            drops += int(found[1] or found[2]) if found else 0
        lost = port["nic"]["host_lost"]
        errors = [r["errors"] for r in port["rings"] if r["dir"] == "rx"]
        if lost == drops and errors[-1] == {"receiver_full": lost}:
            break
        host.run("sleep 0.1")   # the numbers are up to a second old
    assert lost == drops >= 1000 and errors == [{}, {"receiver_full": lost}], (drops, port)
    app.kill(signal.SIGCONT)
    app.kill()
    app.wait(60)
    host.drain(a)


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


TAPS = """
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link add wire type bridge mcast_snooping 0
for n in 0 1; do
    ip tuntap add tap$n mode tap multi_queue vnet_hdr
    ip link set tap$n master wire up
done
ip link set wire up
exec "$@"
"""


@pytest.mark.not_on_6_1     # where it was not tried
@pytest.mark.every_kernel
def test_all_queues_of_virtio_net(kernel):
    """Two of each device: only TAPs of QEMU's host have several."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for TAPs")
    kinds = {"virtio_net": f"{DEVICES['virtio_net']},mq=on,vectors=6"}
    with Host(kernel, kinds, "tap,ifname=tap{end},queues=2,script=no,downscript=no", "nic-ports-queues",
              qemu=["unshare", "-n", "sh", "-ec", TAPS, "sh", ptnguest.qemu_path()]) as host:
        host.set_up()
        result = nicwire(host, *(name("virtio_net", end) for end in range(2)))
        assert result["modes"] == [best(kernel)] * 2 and result["rings"] == [(0b11, 2)] * 2
        assert result["sockets"].count("zc:1") == (4 if best(kernel) == "zero-copy" else 0), result["sockets"]
        host.assert_clean_log()


# Each resets the device, or its queues.
RESETS = {
    "igb": ("ethtool -G {} rx 512 tx 512", "ethtool -r {}"),
    "virtio_net": ("ethtool -G {} rx 128", "ethtool -G {} tx 128"),
}


@pytest.mark.not_on_6_1     # where it was not tried
@pytest.mark.every_kernel
@pytest.mark.parametrize("driver", DEVICES)
def test_a_device_that_is_reset(host, kernel, driver):
    """By its driver, while a port has it: all packets come again, both ways, and no buffer is lost or used twice."""
    a, b = name(driver, 0), name(driver, 1)
    before = host.run(f"ethtool -g {a} | awk '/^Current/ {{now = 1}} now && /^(RX|TX):/ {{print $2}}'").out.split()
    program = host.application(f"nicwire netmap:{a}@9 netmap:{b}@9 {RESET} 1514 stay")
    try:
        resets = [(interface, command.format(interface)) for interface in (a, b) for command in RESETS[driver]]
        for times, (interface, reset) in enumerate(((a, None), *resets), 1):
            if reset:
                host.run(f"{reset}; until [ $(cat /sys/class/net/{interface}/carrier) = 1 ]; do sleep 0.1; done", 60)
                host.port(interface)    # what netmapd has heard of the link by now it needn't hear while packets are on their way
                program.kill(signal.SIGUSR1)
            program.wait_output("^through$", 120, times)
            program.wait_output(f"^ok {RESET} {RESET} ", 120, times)
        assert [host.port(n)["nic"]["mode"] for n in (a, b)] == [best(kernel)] * 2
        program.kill(signal.SIGTERM)
        assert program.wait(60).rc == 0, program.output
    finally:
        program.kill()
        host.drain(a, b)
        for interface in a, b:
            host.run(f"ethtool -G {interface} rx {before[0]} tx {before[1]}", 60, check=False)


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


@pytest.mark.every_kernel
@pytest.mark.parametrize("driver", DEVICES)
def test_machines_on_devices(host, kernel, driver):
    """The ports of two machines, played natively: each packet arrives once, in order, as it was sent."""
    a, b = name(driver, 0), name(driver, 1)
    program = host.spawn(f"exec nicmachine /tmp/socket netmap:{a} netmap:{b} {WIRED} stay")
    program.wait_output("^through$", 120)
    program.wait_output(f"^ok {WIRED} {WIRED}$", 60 + WIRED / 100)
    assert [host.port(n)["nic"]["mode"] for n in (a, b)] == [best(kernel)] * 2
    program.kill(signal.SIGTERM)
    assert program.wait(60).rc == 0, program.output
    host.drain(a, b)


# ------------------------------------------------------------ busy polling


@contextlib.contextmanager
def polls_busily(host, options=""):
    """A netmapd beside the other one: the path of its socket."""
    daemon = host.spawn(f"exec netmapd --socket /tmp/busy --workers 1 --nic-busy-poll 50 {options}")
    try:
        daemon.wait_output("serves")
        yield "/tmp/busy"
    finally:
        daemon.kill(signal.SIGTERM)
        daemon.wait(60)


def wait_napis(host, interface, queues, wanted):
    """Of so many queues."""
    lines = " ".join(f"'{line}'" for line in wanted)
    host.run(f'for i in $(seq 300); do [ "$(napis {interface} {queues})" = "$(for line in {lines}; do echo $line; done)" ] && exit; '
             f"sleep 0.1; done; napis {interface} {queues}; exit 1", 60)


@pytest.mark.every_kernel
@pytest.mark.parametrize("driver", DEVICES)
def test_interrupts_are_put_off_while_it_is_polled(host, kernel, driver):
    """Where the kernel has that for each queue, and its driver's queues can be polled; afterwards they are as they were, though the
    device was reset. Packets come."""
    a, b = name(driver, 0), name(driver, 1)
    queues = int(host.run(f"ls -d /sys/class/net/{a}/queues/rx-* | wc -l").out)
    known = queues if kernel.line in PER_QUEUE else 0

    def wait_settings(line):
        wait_napis(host, a, queues, [line] * known)

    wait_settings("0 0")
    with kept(host, b), polls_busily(host) as path:
        rx = host.spawn(f"NETMAPD_SOCKET={path} NETMAP_BACKEND=daemon exec pkt-gen -i {a} -f rx -k -n {PACKETS} -q 60 -w 0")
        rx.wait_output(r"^rx on ", 60)
        state = host.port(a, socket=path)["nic"]
        deferred = state["deferred_queues"]
        print(kernel.line, driver, state["mode"], deferred, "of", queues)
        assert deferred == known if driver == "virtio_net" else deferred in (0, known)
        wait_settings("2 200000" if deferred else "0 0")
        tx = host.application(f"pkt-gen -i {b} -f tx -k -n {PACKETS} -R 2000 -w 0")
        assert f"Sent {PACKETS} packets" in tx.wait(120).out, tx.output
        assert netlab.checked(rx) == (PACKETS, 0, 0, 0, 0), rx.output
        wait_settings("0 0")
    host.drain(b)


@pytest.mark.every_kernel
def test_interrupts_of_a_device_whose_channels_change(host, kernel):
    """igb is reset by that, and has other instances afterwards: those of the port's queues have their interrupts put off again, and
    no others; in the end there is nothing left of it."""
    a = name("igb", 0)
    known = kernel.line in PER_QUEUE
    before = int(host.run(f"ls -d /sys/class/net/{a}/queues/rx-* | wc -l").out)
    assert before > 1

    def wait_settings(*lines):
        wait_napis(host, a, len(lines), lines if known else [])

    def wait_status(queues):
        for _ in range(300):
            nic = host.port(a, socket=path)["nic"]
            if (nic["device_queues"], nic["deferred_queues"]) == (queues, known):
                return
            host.run("sleep 0.1")
        raise AssertionError(nic)

    host.run(f"ethtool -L {a} combined 1")
    try:
        with polls_busily(host, f"--nic-mode {a}=native") as path:
            rx = host.spawn(f"NETMAPD_SOCKET={path} NETMAP_BACKEND=daemon exec pkt-gen -i {a} -f rx -w 0")
            rx.wait_output(r"^rx on ", 60)
            wait_status(1)
            wait_settings("2 200000")
            host.run(f"ethtool -L {a} combined {before}", 60)
            wait_status(before)
            wait_settings("2 200000", *["0 0"] * (before - 1))
            rx.kill()
            rx.wait(60)
            wait_settings(*["0 0"] * before)
    finally:
        host.run(f"ethtool -L {a} combined {before} || [ $(ls -d /sys/class/net/{a}/queues/rx-* | wc -l) = {before} ]", 60)


# ------------------------------------------------------------ rounds


class Rounds:
    """What netmapd and the kernel hold before, and after many rounds: descriptors, processes, locked and pinned memory, free memory."""

    HELD = ("echo 1 > /proc/sys/vm/stat_refresh; "      # each CPU counts on its own for a while
            "p=$(pidof netmapd | tr ' ' '\\n' | sort -n | head -n 1); echo /proc/$p/fd/* | wc -w; pidof netmapd netmapd-nic | wc -w; "
            "awk '/VmLck|VmPin/ {print $2}' /proc/$p/status; awk '/nr_foll_pin/ {print $2}' /proc/vmstat; "
            "awk '/Mlocked/ {print $2}' /proc/meminfo")
    FREE = "sync; echo 3 > /proc/sys/vm/drop_caches; awk '/MemAvailable/ {print $2}' /proc/meminfo"

    def __init__(self, host, *names):
        self.host, self.names = host, names

    def held(self):
        descriptors, processes, locked, pinned, acquired, released, mlocked = map(int, self.host.run(self.HELD).out.split())
        return {"descriptors": descriptors, "processes": processes, "locked": (locked, pinned, mlocked), "pinned": acquired - released}

    def free(self):
        return int(self.host.run(self.FREE).out)

    def __iter__(self):
        for n in range(WARM + ROUNDS):
            self.host.drain(*self.names)
            if n == WARM:
                self.before, self.memory = self.held(), self.free()
            yield n

    def is_no_more(self, now):
        """Pages that the whole system has pinned may have become fewer."""
        return now == {**self.before, "pinned": now["pinned"]} and now["pinned"] <= self.before["pinned"]

    def end(self):
        self.host.drain(*self.names)
        for _ in range(100):
            after = self.held()
            if self.is_no_more(after):
                break
            self.host.run("sleep 0.1")
        assert self.is_no_more(after), f"before {self.before}, now {after}"
        for _ in range(100):    # the kernel takes its time
            missing = self.memory - self.free()
            if missing < GROWS:
                break
            self.host.run("sleep 0.1")
        print(f"{ROUNDS} rounds: {missing} KiB less of {self.memory}; {after}")
        assert missing < GROWS


@contextlib.contextmanager
def traffic(host, port):
    """Packets from there, all the time."""
    sender = host.application(f"pkt-gen -i {port} -f tx -R 1000 -w 0")
    sender.wait_output("^tx on ", 60)
    host.port(port)
    try:
        yield
    finally:
        sender.kill()
        sender.wait(60)
        host.drain(port)


@contextlib.contextmanager
def receiver(host, port):
    app = host.application(f"pkt-gen -i {port} -f rx -w 0")
    try:
        app.wait_output("^rx on ", 60)
        yield
    finally:
        app.kill()
        app.wait(60)
        host.drain(port)


def received(host, port):
    return sum(r["packets"] for r in host.port(port)["rings"] if r["dir"] == "rx")


def wait_received(host, port):
    before = received(host, port)
    for _ in range(600):
        if received(host, port) > before:
            return
        host.run("sleep 0.05")
    raise AssertionError(f"{port} receives nothing any more")


@pytest.mark.parametrize("driver", ROUNDS_OF)
def test_rounds_of_opening_under_traffic(host, driver):
    a, b = name(driver, 0), name(driver, 1)
    rounds = Rounds(host, a)
    with traffic(host, b):
        for _ in rounds:
            one = host.application(f"pkt-gen -i {a} -f rx -n 1 -w 0")
            assert one.wait(120).rc == 0, one.output
        rounds.end()


@pytest.mark.parametrize("driver", ROUNDS_OF)
def test_rounds_of_link_down_and_up_under_traffic(host, driver):
    a, b = name(driver, 0), name(driver, 1)
    rounds = Rounds(host, "none")
    with traffic(host, b):
        with receiver(host, a):
            for n in rounds:
                for interface in (a, b) if n % 2 else (b, a):
                    host.run(f"/sbin/ip link set {interface} down")
                    host.port(interface, link=False)
                    host.run(f"/sbin/ip link set {interface} up")
                    host.port(interface)
                wait_received(host, a)
            rounds.end()


@pytest.mark.parametrize("driver", ROUNDS_OF)
def test_rounds_of_removed_and_back_under_traffic(host, driver):
    a, b = name(driver, 0), name(driver, 1)
    mac = next(mac for _, end, other, _, mac in devices() if (other, end) == (driver, 0))
    rounds = Rounds(host, a)
    with traffic(host, b):
        for _ in rounds:
            with receiver(host, a):
                wait_received(host, a)
                host.run(f"at=$(readlink -f /sys/class/net/{a}/device); by=$(readlink -f $at/driver); at=$(basename $at); "
                         "echo $at > $by/unbind; echo $at > $by/bind", 60)
                host.set_up_device(a, mac)
        rounds.end()
