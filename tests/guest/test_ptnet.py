# SPDX-License-Identifier: BSD-2-Clause
"""Two guests on a switch of netmapd: qemu-ptnet, the devices, the driver, end to end."""

import errno
import re
import signal

import pytest

import netlab
import ptnguest

MOSTLY_ONE_KERNEL = True     # see conftest.py


class Pair:
    """Two guests; the first has a second port, the port of the second has several rings.

    What a test has ended, the next one gets anew.
    """

    def __init__(self, kernel, initramfs, daemon):
        self.daemon = daemon
        self._make = lambda index: netlab.Node(kernel, initramfs, daemon, index + 1, f"ptnet-{kernel.line}-{index + 1}",
                                               conf=("", "rings=3,slots=512")[index], second=index == 0)
        self.nodes = [self._make(0), self._make(1)]
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()

    def restart(self, index):
        """A new guest in the place of one that was killed."""
        self.nodes[index].close()
        self.nodes[index] = self._make(index).start().load()
        return self.nodes[index]

    def close(self):
        for node in self.nodes:
            node.close()


@pytest.fixture(scope="module")
def pair_of_kernel(kernel, netmap_ko):
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"ptnet-{kernel.line}.netmapd") as daemon:
        pair = Pair(kernel, netlab.build_initramfs(kernel, netmap_ko), daemon)
        yield pair
        pair.close()


@pytest.fixture
def pair(pair_of_kernel):
    for node in pair_of_kernel.nodes:
        node.load()
    yield pair_of_kernel
    assert pair_of_kernel.daemon.alive, pair_of_kernel.daemon.log.read_text()
    for node in pair_of_kernel.nodes:
        node.assert_clean_log()


def endless_sender(node, port="data"):
    """Sends until it is killed; it is under way on return."""
    tx = node.spawn(f"pkt-gen -i {port} -f tx -w 0 -T 200 -b 64")
    tx.wait_output(r"^main: .* Mpps")
    return tx


def end(command):
    command.kill(signal.SIGKILL)
    command.wait()


@pytest.mark.every_kernel
def test_interface(pair):
    a, b = pair.nodes
    info = a.run("ethtool -i data").out
    assert "driver: ptnetmap-guest-drivers\n" in info
    assert f"bus-info: {a.network_function().rsplit('/', 1)[1]}\n" in info
    link = a.run("ip link show data").out
    assert a.mac in link and " mtu 1500 " in link and "LOWER_UP" in link
    assert a.run("ethtool -g data").out.count("TX:\t\t1024") == 2
    assert b.run("ethtool -g data").out.count("RX:\t\t512") == 2
    assert b.run("ethtool -l data").out.count("Combined:\t3\n") == 2
    features = a.run("ethtool -k data").out
    for feature in ("tx-checksumming", "tcp-segmentation-offload", "rx-checksumming"):
        assert f"{feature}: on\n" in features


def test_jumbo(pair):
    """Packets of several buffers, which have 2048 bytes."""
    for node in pair.nodes:
        node.run("ip link set data mtu 9000")
    a, b = pair.nodes
    a.run(netlab.pings(b.address, options="-s 8900"), 60)
    for node in pair.nodes:
        node.run("ip link set data mtu 1500")


@pytest.mark.every_kernel
def test_stack(pair):
    a, b = pair.nodes
    before = a.counters()       # tests before this one may have had the stack's packets dropped
    a.ping(b)
    for sender, receiver in ((a, b), (b, a)):
        netlab.tcp(sender, receiver, 5000000)
        # How long segments get depends on how fast either side is; that they may be long does not.
        assert "tcp-segmentation-offload: on\n" in sender.run("ethtool -k data").out
    grown = {name: n - before[name] for name, n in a.counters().items()}
    assert not {name: n for name, n in grown.items() if "_drop_" in name and "while_down" not in name and n}
    assert grown["rx0_packets"] > 100 and grown["tx0_packets"] > 100


@pytest.mark.every_kernel
def test_netmap_between_guests(pair):
    a, b = pair.nodes
    for sender, receiver in ((a, b), (b, a)):
        netlab.pkt_gen(sender, "data", receiver, "data")
        netlab.stream(sender, "data", receiver, "data")
    # The interface need not be up, and its name may change.
    for node in pair.nodes:
        node.run("ip link set data down")
    a.run("ip link set data name data-0")
    netlab.nmcheck(a, "refused", "data", str(errno.ENXIO))
    netlab.stream(a, "data-0", b, "data")
    a.run("ip link set data-0 name data")


def test_full_speed(pair):
    """Rings run full at both ends: what is lost is dropped by the switch, and nothing stands still."""
    a, b = pair.nodes
    rx = b.spawn("pkt-gen -i data -f rx -w 0")
    rx.wait_output(r"^rx on ")
    assert "Sent 300000 packets" in a.run("pkt-gen -i data -f tx -w 0 -n 300000", 60).out
    rx.wait_output(netlab.SOME_PACKETS)
    end(rx)
    a.ping(b)


def test_stack_while_an_application_is_there(pair):
    """The interface stays, what the stack sends is dropped and counted; afterwards it goes on."""
    a, b = pair.nodes
    before = a.counters()["tx0_drop_in_netmap_mode"]
    holder = a.spawn("nmcheck hold data")
    holder.wait_output("^ready$")
    assert a.run(f"ping -c 1 -W 1 {b.address}", check=False).rc != 0
    assert a.counters()["tx0_drop_in_netmap_mode"] > before
    assert "LOWER_UP" in a.run("ip link show data").out
    # Down and up again under the application.
    a.run("ip link set data down; ip link set data up")
    end(holder)
    a.ping(b)


def test_sleeper_and_other_thread(pair):
    a, b = pair.nodes
    sleeper = a.spawn("nmcheck sleeper data")
    sleeper.wait_output("^ready$")
    b.run("pkt-gen -i data -f tx -w 0 -n 1")
    assert sleeper.wait(60).out == "ready\nok\n"


def test_killed_applications(pair):
    a, b = pair.nodes
    rx = b.spawn("pkt-gen -i data -f rx -w 0")
    rx.wait_output(r"^rx on ")
    for _ in range(3):
        end(endless_sender(a))
    end(rx)
    netlab.stream(a, "data", b, "data")


def test_hostile_application(pair):
    """It rewrites the rings while they are synced: the port works again for the next one."""
    a, b = pair.nodes
    netlab.nmcheck(a, "hostile", "data")
    assert "slots without a buffer of their own" in a.kmsg()
    a.ping(b)
    netlab.stream(a, "data", b, "data")
    netlab.stream(b, "data", a, "data")


def room(node):
    """Buffers that an application can have beside those of the rings."""
    return int(netlab.ptcheck(node, "room", "data"))


@pytest.mark.every_kernel
def test_pipes_and_extra_buffers(pair):
    for node in pair.nodes:
        before = room(node)
        assert before > 1000
        netlab.ptcheck(node, "pipe", "data")
        netlab.ptcheck(node, "extra", "data")
        assert room(node) == before


def test_edge_triggered_epoll(pair):
    """Somebody who only syncs until nothing is left is told of what comes next, each time."""
    a, b = pair.nodes
    edge = a.spawn("ptcheck edge data 100")
    edge.wait_output("^ready$")
    b.run("pkt-gen -i data -f tx -w 0 -n 100 -R 20", 120)
    assert edge.wait(90).rc == 0, edge.out


@pytest.mark.every_kernel
def test_monitors(pair):
    a, b = pair.nodes
    netlab.ptcheck(a, "monitor", "data")
    watch = a.spawn("ptcheck watch data 1000")      # a ring has room for them, if a is slow
    watch.wait_output("^ready$")
    b.run("pkt-gen -i data -f tx -w 0 -n 2000 -R 1000", 60)
    assert watch.wait(60).out == "ready\nok\n", watch.output


@pytest.mark.every_kernel
@pytest.mark.parametrize("how,hdr", [("relay", 0), ("relay", 12), ("forward", 0)])
def test_host_rings(pair, how, hdr):
    """The stack goes on behind an application that hands over its packets, with and without their offloads."""
    a, b = pair.nodes
    netlab.ptcheck(a, "hdr", "data", str(hdr))
    bridge = a.spawn(f"ptcheck {how} data")
    bridge.wait_output("^ready$")
    a.ping(b)
    b.ping(a)
    if how == "relay":
        netlab.tcp(b, a, 2000000, 5001)
    assert bridge.running
    end(bridge)
    netlab.ptcheck(a, "hdr", "data", "0")
    a.ping(b)
    netlab.stream(a, "data", b, "data")
    netlab.stream(b, "data", a, "data")


def test_buffers_wander(pair):
    """Between port, host rings, pipe and extra list; whoever has them at the end, none gets lost or is had twice."""
    a, b = pair.nodes
    before = room(a)
    netlab.ptcheck(a, "wander", "data", "10")
    a.ping(b)
    # The first buffers are in the slots again when the driver goes.
    a.run("rmmod netmap")
    a.load()
    assert room(a) == before
    netlab.stream(a, "data", b, "data")
    # And the device sees to it when it is reset in the middle.
    wander = a.spawn("ptcheck wander data 1000")
    a.run("sleep 1")
    assert wander.running
    a.reboot(hard=True)
    a.load()
    assert room(a) == before
    a.ping(b)
    netlab.stream(a, "data", b, "data")
    netlab.stream(b, "data", a, "data")


def test_region_goes_with_all_in_it(pair):
    a, b = pair.nodes
    before = room(a)
    memory = a.memory_function().rsplit("/", 1)[1]
    waiting = a.spawn("rm -f /tmp/gone; ptcheck removal data /tmp/gone")
    waiting.wait_output("^ready$")
    a.run(f"echo {memory} > /sys/bus/pci/drivers/ptnet-mem/unbind && touch /tmp/gone")
    assert waiting.wait(60).out == "ready\nok\n"
    a.run(f"echo {memory} > /sys/bus/pci/drivers/ptnet-mem/bind")   # its network functions come with it
    a.run("for i in $(seq 100); do [ $(ls -d /sys/class/net/eth* | wc -l) = 2 ] && exit; sleep 0.1; done; exit 1", 60)
    a.load()
    assert room(a) == before
    a.ping(b)


def attach(node):
    """The port sits on a switch of the guest's own, where somebody sends."""
    node.run("vale-ctl -a valea:data")
    sender = node.spawn("pkt-gen -i valea:s -f tx -w 0 -T 300 -b 64")
    sender.wait_output(r"^main: .* Mpps")
    return sender


def ports(node):
    debug = "/sys/kernel/debug"
    return node.run(f"[ -e {debug}/netmap ] || mount -t debugfs debugfs {debug}; cat {debug}/netmap/ports").out


def test_unplug_from_a_switch(pair):
    """The device goes while it is on a switch, with traffic both ways."""
    a, b = pair.nodes
    arriving = endless_sender(b)
    sender = attach(a)
    assert re.search(r"^valea:data: kind vale clients 1", ports(a), re.M)
    a.run(f"echo 1 > {a.network_function()}/remove")
    a.run("for i in $(seq 100); do vale-ctl | grep -q valea:data || exit 0; sleep 0.1; done; exit 1", 60)
    assert sender.running
    end(sender)
    a.run("echo 1 > /sys/bus/pci/rescan")
    a.load()
    end(arriving)
    a.ping(b)


@pytest.mark.every_kernel
def test_unload_with_a_switch(pair):
    """The module takes devices off their switches before it goes."""
    a, b = pair.nodes
    arriving = endless_sender(b)
    a.run("vale-ctl -a valea:data; vale-ctl -a valea:more; vale-ctl -p valea:data -C 0,0; sleep 0.5; rmmod netmap")
    a.load()
    end(arriving)
    a.ping(b)


def test_without_offloads(pair):
    """A driver that doesn't ask for a header, beside one that does."""
    a, b = pair.nodes
    a.run("rmmod netmap; modprobe netmap ptnet_vnet_hdr=0")
    a.load()
    assert "tcp-segmentation-offload: off" in a.run("ethtool -k data").out
    a.ping(b)
    netlab.tcp(b, a, 2000000, 5002)
    a.run("rmmod netmap")
    a.load()
    a.ping(b)


@pytest.mark.one_kernel
def test_monitor_in_a_guest(kernel, netmap_ko):
    """A monitor of another guest's port: it sees what that one sends; what is sent on it is dropped by the host."""
    initramfs = netlab.build_initramfs(kernel, netmap_ko)
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"monitor-{kernel.line}.netmapd") as daemon:
        a, b = (netlab.Node(kernel, initramfs, daemon, n, f"monitor-{kernel.line}-{n}", ifname=ifname)
                for n, ifname in ((1, None), (2, "vale1:1/t")))
        try:
            # A device has the header length that it was probed with; so the port that is watched has none to change.
            a.start().run("modprobe netmap ptnet_vnet_hdr=0")
            a.load().run("ip link set data down")
            b.start().load()
            rx = b.spawn("pkt-gen -i data -f rx -w 0 -k -n 500 -q 30")
            rx.wait_output(r"^rx on ")
            assert "Sent 500 packets" in a.run("pkt-gen -i data -f tx -w 0 -k -n 500 -R 1000", 60).out
            received, lost, *bad = netlab.checked(rx)
            assert bad == [0, 0, 0] and received + lost == 500 and received > 100, rx.output
            assert "Sent 100 packets" in b.run("pkt-gen -i data -f tx -w 0 -n 100").out
            for node in (a, b):
                node.assert_clean_log()
        finally:
            for node in (a, b):
                node.close()


@pytest.mark.one_kernel
def test_memory_without_a_part_for_the_guest(kernel, netmap_ko):
    """As devices have it that don't know of such a part: what doesn't need it works."""
    options = ("--guest-buffers=0", "--guest-rings=0", "--guest-ifs=0")
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"bare-{kernel.line}.netmapd", *options) as daemon:
        node = netlab.Node(kernel, netlab.build_initramfs(kernel, netmap_ko), daemon, 1, f"bare-{kernel.line}")
        try:
            node.start().load()
            assert room(node) == 0
            assert "Sent 100 packets" in node.run("pkt-gen -i data -f tx -w 0 -n 100").out
            for check in ("pipe", "relay"):
                assert node.run(f"ptcheck {check} data", check=False).rc == 1
            netlab.nmcheck(node, "hostile", "data")
            node.run("rmmod netmap")
            node.load()
            assert "Sent 100 packets" in node.run("pkt-gen -i data -f tx -w 0 -n 100").out
            node.assert_clean_log()
        finally:
            node.close()


@pytest.fixture(scope="module")
def pipe_ends(kernel, netmap_ko):
    """Two guests on the ends of one pipe: the host exchanges the buffers of both."""
    initramfs = netlab.build_initramfs(kernel, netmap_ko)
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"pipe-{kernel.line}.netmapd") as daemon:
        nodes = [netlab.Node(kernel, initramfs, daemon, n + 1, f"pipe-{kernel.line}-{n + 1}", ifname="netmap:wire" + "{}"[n] + "1")
                 for n in range(2)]
        with netlab.running(nodes):
            for node in nodes:
                node.load()
            yield nodes


@pytest.mark.one_kernel
def test_pipe_between_guests(pipe_ends):
    """Nothing is lost, and no buffer is in two places."""
    a, b = pipe_ends
    a.ping(b)
    for _ in range(2):
        netlab.stream(a, "data", b, "data")
        netlab.stream(b, "data", a, "data")
        a.ping(b)
        a.run("rmmod netmap")
        a.load()
    b.reboot(hard=True)
    b.load()
    a.ping(b)
    netlab.stream(a, "data", b, "data", 30000)
    for node in pipe_ends:
        assert "slots without a buffer" not in node.kmsg()
        node.assert_clean_log()


@pytest.mark.one_kernel
def test_spoiled_slots_of_a_pipe_end(pipe_ends):
    """The driver doesn't know which buffer is whose there: the host sees to it when the rings are used again."""
    a, b = pipe_ends
    for _ in range(3):
        netlab.ptcheck(a, "spoil", "data")
        for node in pipe_ends:
            netlab.ptcheck(node, "apart", "data")
        a.ping(b)
        netlab.stream(a, "data", b, "data")
        netlab.stream(b, "data", a, "data")
    for node in pipe_ends:
        node.assert_clean_log()


@pytest.mark.one_kernel
@pytest.mark.parametrize("how", ["unload", "reset"])
def test_begins_anew_while_the_other_has_buffers(pipe_ends, how):
    """What was sent stays the other's, whatever becomes of the sender; and no buffer is lost."""
    a, b = pipe_ends
    for node in pipe_ends:
        node.run("ip link set data down")  # the stacks send nothing in between
    keep = b.spawn("ptcheck keep data 400")
    keep.wait_output("^ready$")
    give = a.spawn("ptcheck give data 400")
    give.wait_output("^given$")
    keep.wait_output("^kept$")
    if how == "unload":
        end(give)
        a.run("rmmod netmap")
    else:
        a.reboot(hard=True)
    a.load(up=False)
    netlab.ptcheck(a, "apart", "data")
    assert keep.running, keep.wait(5).out
    a.run("pkt-gen -i data -f tx -n 1 -w 0")
    assert keep.wait(30).out == "ready\nkept\nok\n"
    for node in pipe_ends:
        node.run("ip link set data up")
    a.ping(b)
    netlab.stream(a, "data", b, "data")
    netlab.stream(b, "data", a, "data")
    for node in pipe_ends:
        netlab.ptcheck(node, "apart", "data")
        node.assert_clean_log()


@pytest.mark.one_kernel
def test_what_a_pipe_end_has_not(pipe_ends):
    """Nothing of its region is the guest's: pipes of it copy, the rest is refused, and log and text say why."""
    a, b = pipe_ends
    assert room(a) == 0
    netlab.ptcheck(a, "apart-pipe", "data")
    assert "the host exchanges buffers of ports in region 1" in a.kmsg()
    refused = a.run("pkt-gen -i netmap:data/zr -f rx -w 0 -n 1 2>&1", check=False)
    assert refused.rc != 0 and "the host exchanges buffers there" in refused.out + a.kmsg()
    assert a.run("ptcheck relay data", check=False).rc == 1  # host rings
    netlab.stream(a, "data", b, "data")


def test_unload_while_the_other_side_sends(pair):
    a, b = pair.nodes
    tx = endless_sender(b)
    for _ in range(5):
        a.run("rmmod netmap")
        a.load()
    # In the middle of receiving, it is refused.
    rx = a.spawn("pkt-gen -i data -f rx -w 0 -T 200")
    rx.wait_output(netlab.SOME_PACKETS)
    assert a.run("rmmod netmap", check=False).rc != 0
    end(rx)
    a.run("rmmod netmap")
    assert tx.running
    end(tx)
    a.load()
    a.ping(b)


def test_hostile_neighbour(pair):
    """An application that has one port open rewrites the rings of the other one, which the stack uses."""
    a, b = pair.nodes
    scribbler = a.spawn("nmcheck scribble more")
    scribbler.wait_output("^ready$")
    a.run(f"ping -c 30 -i 0.02 -W 1 {b.address}", check=False)
    assert scribbler.running
    end(scribbler)
    a.run("ip link set data down; ip link set data up; ip link set more up")
    a.ping(b)
    netlab.stream(b, "data", a, "data")
    assert "Sent 100 packets" in a.run("pkt-gen -i more -f tx -w 0 -n 100").out


@pytest.mark.every_kernel
def test_mappings(pair):
    """Parts of huge pages are unmapped, protected and moved; mappings where none fit show the same memory."""
    node, other = pair.nodes
    parameter = "/sys/module/netmap/parameters/huge_pages"
    # By default there are none where an application could make the kernel fail with them, by a memory policy.
    default = node.run(f"cat {parameter}").out.strip()
    assert default == ("Y" if node.kernel.line == "newest" else "N")
    netlab.ptcheck(node, "policy", "data")
    for value in ("N", "Y"):
        node.run(f"echo {value} > {parameter}")
        netlab.ptcheck(node, "parts", "data")
    node.run(f"echo {default} > {parameter}")
    node.ping(other)


@pytest.mark.every_kernel
def test_unplug(pair):
    """The device goes while an application waits for its port; and comes back."""
    a, b = pair.nodes
    waiting = a.spawn("nmcheck removal data port")
    waiting.wait_output("^ready$")
    a.run(f"echo 1 > {a.network_function()}/remove")
    assert waiting.wait(60).out == "ready\nok\n"
    assert a.run("ip link show data", check=False).rc != 0
    a.run("ip link show more; echo 1 > /sys/bus/pci/rescan")
    a.load()
    a.ping(b)


@pytest.mark.every_kernel
def test_unplug_memory(pair):
    """With their memory both ports go, and with it they come back: a network function waits for its memory."""
    a, b = pair.nodes
    memory = a.memory_function().rsplit("/", 1)[1]
    networks = a.run("cd /sys/bus/pci/drivers/ptnet; ls -d 0*").out.split()
    assert len(networks) == 2
    waiting = a.spawn("nmcheck removal data region")
    waiting.wait_output("^ready$")
    a.run(f"echo {memory} > /sys/bus/pci/drivers/ptnet-mem/unbind")
    assert waiting.wait(60).out == "ready\nok\n"
    gone = "for i in /sys/class/net/data /sys/class/net/more /sys/class/net/eth*; do [ ! -e $i ] || exit 1; done"
    a.run(gone)
    for network in networks:
        a.run(f"echo {network} > /sys/bus/pci/drivers/ptnet/unbind")
        a.run(f"echo {network} > /sys/bus/pci/drivers_probe", check=False)
    a.run(gone)
    a.run(f"echo {memory} > /sys/bus/pci/drivers/ptnet-mem/bind")
    # The kernel tries again in a thread of its own.
    a.run("for i in $(seq 100); do [ $(ls -d /sys/class/net/eth* | wc -l) = 2 ] && exit; sleep 0.1; done; exit 1", 60)
    a.load()
    a.ping(b)


@pytest.mark.every_kernel
def test_reboot(pair):
    a, b = pair.nodes
    tx = endless_sender(b)
    rx = a.spawn("pkt-gen -i data -f rx -w 0 -T 200")
    rx.wait_output(netlab.SOME_PACKETS)
    a.reboot()
    a.load()
    assert tx.running
    end(tx)
    a.ping(b)
    netlab.stream(b, "data", a, "data")


def test_reset_button(pair):
    a, b = pair.nodes
    rx = b.spawn("pkt-gen -i data -f rx -w 0 -T 200")
    rx.wait_output(r"^rx on ")
    endless_sender(a)
    a.reboot(hard=True)
    a.load()
    end(rx)
    a.ping(b)
    netlab.stream(a, "data", b, "data")


def test_killed_qemu(pair):
    a, b = pair.nodes
    rx = b.spawn("pkt-gen -i data -f rx -w 0 -T 200")
    rx.wait_output(r"^rx on ")
    endless_sender(a)
    rx.wait_output(netlab.SOME_PACKETS)
    a.kill()
    a.assert_clean_log()
    assert rx.running
    end(rx)
    a = pair.restart(0)
    a.ping(b)
    netlab.stream(a, "data", b, "data")
