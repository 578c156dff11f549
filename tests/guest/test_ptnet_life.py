# SPDX-License-Identifier: BSD-2-Clause
"""The life of machines with passed-through ports, in rounds, under traffic.

    the first machine ----.
    the second machine ----- vale1, a switch of one netmapd
    two applications -----'

Things happen to the first machine while the second one sends to it; an application receives there, or the stack. After each round
numbered packets go both ways between the machines: all of them arrive, as they were sent. The applications of the host have a
stream of their own the whole time, of which nothing may be lost. And what netmapd holds is what it held after the first round, once
all was closed: descriptors, mappings, locked memory, ports, machines, what is counted for users.

make test has few rounds; make life-long ROUNDS=50 has so many, and machines stand still for a minute there.
"""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

import netlab
import ptnguest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "daemon"))
import ptnet_real as real  # noqa: E402

MOSTLY_ONE_KERNEL = True     # see conftest.py
LONG = "LIFE_ROUNDS" in os.environ
ROUNDS = int(os.environ.get("LIFE_ROUNDS", "3"))
STOPPED_S = 60 if LONG else 1
OTHERS_RATE = 10     # packets a second
GROWS = 4096                # KiB that netmapd's own memory may have more: the allocator's disorder
PATIENCE = 120              # seconds; only a failure takes so long
KEXEC_SOURCE = Path(__file__).with_name("kexec.c")
# Places for hot-plug, and room for a BAR of 4 GiB that Linux assigns: with 40 bits of address, as QEMU's emulated CPUs have, all room is
# where it assigns nothing (the hole of HyperTransport).
PLACES = {"before": ["-device", "pcie-root-port,id=mem-place,chassis=1", "-device", "pcie-root-port,id=net-place,chassis=2"],
          "keys": ",bus=net-place,mem-bus=mem-place",
          "args": ["-cpu", ptnguest.accelerator_args()[-1] + ",phys-bits=46"], "memory": "256M,slots=1,maxmem=1G"}


class Host(real.Netmapd):
    """netmapd, with all that it holds."""

    socket = property(lambda self: str(self.path))
    _asks = None

    def process_kib(self, *names):
        text = Path(f"/proc/{self.pid}/status").read_text()
        return [int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1]) for name in names]

    def mapped(self):
        """KiB of each kind of memory that is shared; the kernel merges and splits mappings as it likes."""
        found = Counter()
        maps = Path(f"/proc/{self.pid}/maps").read_text()
        for first, last, what in re.findall(r"^(\w+)-(\w+) \S+ \w+ \S+ \d+ +/memfd:(\S+)", maps, re.M):
            found[what] += (int(last, 16) - int(first, 16)) >> 10
        return found

    def held(self):
        """Asked for by one connection: one of its own could be still there when descriptors are counted, or not."""
        self._asks = self._asks or real.Connection(self.path)
        status = self._asks.status()
        descriptors = Counter(re.sub(r"/vm\d+$", "/vm", what) for what in self.descriptors())   # machines' directories have numbers
        return {"descriptors": descriptors, "mapped": self.mapped(), "locked": self.process_kib("VmLck", "VmPin"),
                "ports": sorted(p["name"] for p in status["ports"]), "machines": len(status["vms"]),
                "applications": len(status["applications"]), "regions": len(status["regions"]),
                "used": {limit["name"]: limit["used"] for limit in status["limits"]}}

    def leave(self):
        if self._asks:
            self._asks.close()

    def held_at_rest(self):
        """When nothing is being closed any more: it stays the same for a while."""
        seen = []

        def settled():
            seen.append(self.held())
            time.sleep(0.2)
            return len(seen) >= 8 and all(held == seen[-1] for held in seen[-8:])

        real.wait_until(settled, "what netmapd holds doesn't change any more", PATIENCE)
        return seen[-1]


class Others:
    """Two applications of the host on the same switch: numbered packets, few enough for any ring, however slow a machine is. All ports
    get them: what comes to a machine that stands still for a minute leaves room in its ring of 1024 for a stream's window."""

    def __init__(self, host):
        self._host = host
        self._rx = self._start("rx", "vale1:others-rx@conf:rx-slots=16384")
        real.wait_until(lambda: "vale1:others-rx" in host.ports(), "the receiver is there")
        self._tx = self._start("tx", "vale1:others-tx", "-R", str(OTHERS_RATE))
        self.wait_for(1)

    def _start(self, what, port, *more):
        return real.spawn(real.PKT_GEN, "-i", port, "-f", what, "--check", "-w", "0", "-T", "3600000", *more, path=self._host.path)

    def wait_for(self, packets):
        """Until so many more have come."""
        def received():
            return self._host.ring("vale1:others-rx", "rx")["packets"]

        before = received()
        real.wait_until(lambda: received() >= before + packets, f"{packets} packets of others", PATIENCE)

    def finish(self):
        self._tx.send_signal(signal.SIGINT)
        sent = int(real.finish(self._tx).split("Sent ")[1].split()[0])

        def taken():
            ring = self._host.ring("vale1:others-rx", "rx")
            return ring["packets"] >= sent and ring["fill"] == 0

        real.wait_until(taken, f"the receiver has the {sent} packets of others", PATIENCE)
        self._rx.send_signal(signal.SIGINT)
        output = real.finish(self._rx)
        assert f"Check: received {sent} lost 0 reordered 0 duplicate 0 corrupt 0" in output, (sent, output)

    def kill(self):
        for child in self._rx, self._tx:
            child.kill()
            child.communicate()


def end(command):
    command.kill()
    command.wait()


@contextmanager
def traffic(life, by_application):
    """From the second machine to the first, where an application receives it (that is the value), or the stack."""
    a, b = life.nodes
    sender = b.spawn(f"pkt-gen -i data -f tx -w 0 -T 200 -R 2000 -D {a.mac}")
    sender.wait_output(netlab.SOME_PACKETS)
    receiver = None
    if by_application:
        receiver = a.spawn("pkt-gen -i data -f rx -w 0 -T 200")
        receiver.wait_output(netlab.SOME_PACKETS)
    try:
        yield receiver
        assert sender.running, sender.output
    finally:
        end(sender)
        if receiver and life.nodes[0] is a and a.alive and receiver.running:
            end(receiver)


@contextmanager
def no_traffic(_life, _by_application):
    """What happens brings its own."""
    yield None


@contextmanager
def stream_across(life, count=20000):
    """All of it arrives, whatever happens meanwhile."""
    a, b = life.nodes
    receiver = a.spawn(f"nmcheck stream-receive data {count}")
    receiver.wait_output("^ready$")
    sender = b.spawn(f"nmcheck stream-send data {count}")
    yield
    for command in sender, receiver:
        assert command.wait(PATIENCE).out.endswith("ok\n"), command.output


class Life:
    """Two machines and their host. first: what the first machine has in place of what both have, see Node."""

    def __init__(self, kernel, netmap_ko, name, first=None):
        self.place = tempfile.mkdtemp(prefix="life-")
        self._log = ptnguest.BUILD / "test-logs" / f"{name}-{kernel.line}.netmapd"
        self.host = Host(self.place)
        usual = {"initramfs": netlab.build_initramfs(kernel, netmap_ko), **PLACES}
        self._make = lambda index: netlab.Node(kernel, daemon=self.host, number=index + 1, name=f"{name}-{kernel.line}-{index + 1}",
                                               **(first if first and index == 0 else usual))
        self.nodes = []

    def start(self):
        self.nodes = [self._make(0), self._make(1)]
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
            node.load()

    def again(self, index):
        """A new machine in the place of one that has ended."""
        self.nodes[index].assert_clean_log()
        self.nodes[index].close()
        self.nodes[index] = self._make(index).start().load()

    def close_nodes(self):
        for node in self.nodes:
            node.close()

    def close(self):
        try:
            self.close_nodes()
            self.host.leave()
            if self.host.process.poll() != -signal.SIGKILL:
                self.host.check_end()
        finally:
            self.host.stop(signal.SIGKILL)
            self._log.parent.mkdir(parents=True, exist_ok=True)
            self._log.write_text(self.host.log())
            shutil.rmtree(self.place)

    def traffic_goes(self):
        a, b = self.nodes
        for node in self.nodes:
            node.load()
        a.ping(b)
        netlab.stream(a, "data", b, "data", 1000)
        netlab.stream(b, "data", a, "data", 1000)

    def rounds(self, happens, traffic=traffic, count=ROUNDS):
        """happens(life, n, application) each time; traffic goes afterwards, and nothing is left behind."""
        before = own = None
        for n in range(count):
            with traffic(self, n % 2 == 0) as application:
                happens(self, n, application)
            self.traffic_goes()
            if before is None:
                before, own = self.host.held_at_rest(), self.host.process_kib("RssAnon")[0]
            self.is_held(before)
        grown = self.host.process_kib("RssAnon")[0] - own
        print(f"{count} rounds: {grown} KiB more of netmapd's own; held {before}")
        assert grown < GROWS

    def is_held(self, before):
        now = {}

        def same():
            now.update(self.host.held())
            return now == before

        try:
            real.wait_until(same, "the same is held", PATIENCE)
        except AssertionError:
            raise AssertionError({name: (before[name], now[name]) for name in before if now[name] != before[name]}) from None


@pytest.fixture(scope="module")
def life_of_kernel(kernel, netmap_ko):
    life = Life(kernel, netmap_ko, "life")
    try:
        life.start()
        yield life
    finally:
        life.close()


@contextmanager
def with_others(life):
    """Both machines are there, and two applications have a stream meanwhile. At the end nothing of theirs is lost, and nobody complains."""
    for index in range(2):
        if not life.nodes[index].alive:
            life.again(index)
        life.nodes[index].load()
    others = life.others = Others(life.host)
    try:
        yield life
        others.finish()
    finally:
        others.kill()
    assert life.host.process.poll() is None, life.host.log()
    for node in life.nodes:
        node.assert_clean_log()


@pytest.fixture
def life(life_of_kernel):
    with with_others(life_of_kernel):
        yield life_of_kernel


# ------------------------------------------------------------ the guest's own doing


def reboots(life, n, _application):
    life.nodes[0].reboot(hard=n % 2 == 1)


def panics(life, _n, _application):
    a = life.nodes[0]
    a.run("echo 1 > /proc/sys/kernel/panic")    # seconds until it restarts
    a.spawn("echo c > /proc/sysrq-trigger")
    a.wait_restart()


def wait_interface(node):
    """The network function has a driver (again), a thread of the kernel sees to it."""
    node.run("for i in $(seq 300); do ls -d /sys/class/net/eth* > /dev/null 2>&1 && exit; sleep 0.1; done; dmesg | tail; exit 1", 60)


def unbinds_and_binds(life, n, _application):
    """The network function, and the one that has the memory: then both go, and both come back."""
    a = life.nodes[0]
    path, driver = (a.network_function(), "ptnet") if n % 2 == 0 else (a.memory_function(), "ptnet-mem")
    name = path.rsplit("/", 1)[1]
    a.run(f"cd /sys/bus/pci/drivers/{driver} && echo {name} > unbind && [ ! -e /sys/class/net/data ] && echo {name} > bind", 60)
    wait_interface(a)


def unloads_and_loads(life, _n, application):
    a = life.nodes[0]
    if application:
        assert a.run("rmmod netmap", check=False).rc != 0
        end(application)
    a.run("rmmod netmap; modprobe netmap", 60)


@pytest.mark.parametrize("happens", [reboots, panics, unbinds_and_binds, unloads_and_loads])
def test_guest(life, happens):
    life.rounds(happens)


# ------------------------------------------------------------ another kernel, started by the guest's


@contextmanager
def traffic_to_who_can_start_another(life, by_application):
    """A kernel that was started has no other one to start, that of a crash no memory for it: the firmware starts the first one again."""
    a = life.nodes[0]
    if a.run("test -e /boot/vmlinuz", check=False).rc != 0:
        a.reboot(hard=True)
        a.load()
    with traffic(life, by_application) as application:
        yield application


def starts_another_kernel(life, n, _application):
    """One that goes down in order, or one that has crashed: then nobody has told the host, which goes on with the rings until the driver of
    the new one comes."""
    a = life.nodes[0]
    if n % 2 == 0:
        a.spawn("kexec now /boot/vmlinuz /boot/initramfs")
    else:
        a.run("kexec crash /boot/vmlinuz /boot/initramfs", 60)
        a.spawn("echo c > /proc/sysrq-trigger")
    a.wait_restart(60)
    assert (a.run("test -e /proc/vmcore", check=False).rc == 0) == (n % 2 == 1)


def test_kexec(kernel, netmap_ko):
    initramfs = netlab.build_initramfs(kernel, netmap_ko)
    starts_others = netlab.build_initramfs(kernel, netmap_ko, programs=[(netlab.build_program(KEXEC_SOURCE), "bin/kexec")],
                                           files={"boot/vmlinuz": kernel.vmlinuz, "boot/initramfs": initramfs})
    life = Life(kernel, netmap_ko, "kexec", {"initramfs": starts_others, "memory": "640M", "cmdline": "crashkernel=192M"})
    try:
        life.start()
        with with_others(life):
            life.rounds(starts_another_kernel, traffic_to_who_can_start_another, ROUNDS if LONG else 2)
    finally:
        life.close()


# ------------------------------------------------------------ QEMU's monitor


def devices(node):
    """Names of the devices that have one."""
    return [entry["name"] for entry in node.qmp("qom-list", path="/machine/peripheral")]


def unplug(node, device):
    node.qmp("device_del", id=device)
    real.wait_until(lambda: device not in devices(node), f"{device} is gone", PATIENCE)


def how_added(node, device):
    """The arguments of that device, as qemu-ptnet has written them."""
    words = Path(f"/proc/{node.pid}/cmdline").read_text().split("\0")
    return next(what for what in (json.loads(word) for word in words if word.startswith('{"driver"')) if what.get("id") == device)


def plug(node, how):
    """QEMU says that a device is gone before it has left the host: who comes at once is refused, and comes again."""
    until = time.monotonic() + PATIENCE
    while how["id"] not in devices(node):
        assert time.monotonic() < until
        try:
            node.qmp("device_add", **how)
        except ptnguest.GuestError as error:
            if "timed out" not in str(error):
                raise


# How QEMU 11.1.3 aborts: a moment after a network function is gone, as it has freed a BAR's memory region when it takes the one of
# MSI-X's pending bits out of it; in device_add, sometimes, when the device's socket is not served in time, as it tells of two errors.
TAKES_OUT_FREED = "`subregion->container == mr' failed"
TELLS_TWICE = "error_setv: Assertion `*errp == NULL' failed"


@contextmanager
def qemu_may_abort(life, *ways):
    """Another machine takes its place then."""
    a = life.nodes[0]
    try:
        yield a
    except ptnguest.GuestError:
        assert a.process.wait(PATIENCE) == -signal.SIGABRT
        assert any(way in a.stderr_path.read_text() for way in ways), a.stderr_path.read_text()
        life.again(0)


def memory_is_unplugged_and_plugged(life, _n, _application):
    """The network function is without its driver meanwhile."""
    with qemu_may_abort(life, TELLS_TWICE) as a:
        again = how_added(a, "ptnet-mem0")
        unplug(a, "ptnet-mem0")
        a.run("! ls -d /sys/class/net/data 2> /dev/null")
        plug(a, again)
        wait_interface(a)


def network_function_is_unplugged(life, n, _application):
    order = ["ptnet-data"] if n % 2 == 0 else ["ptnet-mem0", "ptnet-data"]
    with qemu_may_abort(life, TAKES_OUT_FREED, TELLS_TWICE) as a:
        again = [how_added(a, device) for device in order]
        for device in order:
            unplug(a, device)
        for how in again:
            plug(a, how)
        wait_interface(a)


@pytest.mark.parametrize("happens", [memory_is_unplugged_and_plugged, network_function_is_unplugged])
def test_monitor(life, happens):
    life.rounds(happens)


def gets_and_loses_memory(life, _n, _application):
    """128 MiB more are used by the guest, and netmapd sees them; then they are taken away."""
    a = life.nodes[0]
    blocks = "/sys/devices/system/memory"
    online = f"$(cat {blocks}/memory*/state | grep -c '^online')"
    a.run(f"echo online_movable > {blocks}/auto_online_blocks; echo {online} > /tmp/blocks")
    with stream_across(life):
        a.qmp("object-add", **{"qom-type": "memory-backend-memfd", "id": "more-memory", "size": 128 << 20, "share": True})
        a.qmp("device_add", driver="pc-dimm", id="dimm", memdev="more-memory")
        a.run(f"for i in $(seq 300); do [ {online} -gt $(cat /tmp/blocks) ] && exit; sleep 0.1; done; exit 1", 60)
    with stream_across(life):
        unplug(a, "dimm")
        a.qmp("object-del", id="more-memory")
    a.run(f"[ {online} = $(cat /tmp/blocks) ]")


def test_memory(life):
    life.rounds(gets_and_loses_memory, traffic=no_traffic)


# ------------------------------------------------------------ machines that stand still


def is_paused(life, _n, _application):
    with stream_across(life):
        life.nodes[0].qmp("stop")
        assert life.nodes[0].qmp("query-status")["status"] == "paused"
        life.others.wait_for(OTHERS_RATE * STOPPED_S)
        life.nodes[0].qmp("cont")


def is_stopped(life, _n, _application):
    """QEMU itself: nobody hears what netmapd signals. Others' packets pass all the time, and netmapd answers."""
    a, b = life.nodes
    if LONG:    # the kernel would take a minute for a fault of its own
        a.run("echo 0 > /proc/sys/kernel/watchdog; echo 1 > /sys/module/rcupdate/parameters/rcu_cpu_stall_suppress")
    with stream_across(life):
        os.kill(a.pid, signal.SIGSTOP)
        try:
            life.others.wait_for(OTHERS_RATE * STOPPED_S)
        finally:
            os.kill(a.pid, signal.SIGCONT)
    # A stack that sends to one that doesn't receive: its packets wait, others' don't.
    os.kill(a.pid, signal.SIGSTOP)
    try:
        assert b.run(f"ping -c 3 -i 0.2 -W 1 {a.address}", check=False).rc != 0
        life.others.wait_for(OTHERS_RATE)
    finally:
        os.kill(a.pid, signal.SIGCONT)


@pytest.mark.parametrize("happens", [is_paused, is_stopped])
def test_stands_still(life, happens):
    life.rounds(happens, traffic=no_traffic)


# ------------------------------------------------------------ killed


def is_killed(life, _n, _application):
    life.nodes[0].kill()
    life.again(0)


def test_qemu_is_killed(life):
    life.rounds(is_killed)


def what_the_guest_sees(node, other):
    """Nothing passes any more; who has the port open waits, and the carrier is there. What begins is refused, at once."""
    assert node.run("cat /sys/class/net/data/carrier").out == "1\n"
    assert node.run(f"ping -c 1 -W 1 {other.address}", check=False).rc != 0
    assert "Input/output error" in node.run("ip link set data down; ip link set data up", check=False).out
    assert "the host does not start the port" in node.kmsg()
    assert node.run("pkt-gen -i data -f tx -w 0 -n 1", check=False).rc != 0
    node.run("rmmod netmap; modprobe netmap", 60)
    node.run("! ls -d /sys/class/net/data /sys/class/net/eth* 2> /dev/null")
    node.assert_clean_log()


def is_without_netmapd(node, other, application):
    """The guest goes on, and can be switched off; or, when it sends at that moment, QEMU 11.1.3 may abort: it reports an error where it has
    noted one already."""
    try:
        if application:
            node.run("true")
            assert application.running
            end(application)
        what_the_guest_sees(node, other)
        assert node.shutdown() == 0
    except (ptnguest.GuestError, AssertionError):
        assert node.process.wait(PATIENCE) == -signal.SIGABRT and "Assertion `*errp == NULL' failed" in node.stderr_path.read_text()
        print(f"{node.name}: QEMU has aborted")


def test_netmapd_is_killed(kernel, netmap_ko):
    """The machines are started again, with a netmapd that has been. One that restarts by itself is lost: QEMU ends then."""
    life = Life(kernel, netmap_ko, "netmapd-killed")
    try:
        life.start()
        life.traffic_goes()
        before = life.host.held_at_rest()
        for _ in range(max(2, ROUNDS // 5)):
            a, b = life.nodes
            sender = b.spawn(f"pkt-gen -i data -f tx -w 0 -T 200 -R 2000 -D {a.mac}")
            sender.wait_output(netlab.SOME_PACKETS)
            life.host.stop(signal.SIGKILL)
            is_without_netmapd(a, b, None)
            is_without_netmapd(b, a, sender)
            life.close_nodes()
            life.host.leave()
            life.host = Host(life.place)
            life.start()
            life.traffic_goes()
            life.is_held(before)
            for node in life.nodes:
                node.assert_clean_log()
    finally:
        life.close()
