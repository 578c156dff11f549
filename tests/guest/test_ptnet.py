# SPDX-License-Identifier: BSD-2-Clause
"""Two guests on a switch of netmapd: qemu-ptnet, the devices, the driver, end to end."""

import errno
import signal

import pytest

import netlab
import ptnguest


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


def test_interface(pair):
    a, b = pair.nodes
    info = a.run("ethtool -i data").out
    assert "driver: ptnetmap-guest-drivers\n" in info
    assert f"bus-info: {a.network_function().rsplit('/', 1)[1]}\n" in info
    link = a.run("ip link show data").out
    assert a.mac in link and " mtu 1500 " in link and "LOWER_UP" in link
    assert a.run("ethtool -g data").out.count("TX:\t\t1024") == 2
    assert b.run("ethtool -g data").out.count("RX:\t\t512") == 2
    assert b.run("ethtool -l data").out.count("RX:\t\t3") == 2
    # Buffers have 2048 bytes.
    a.run("ip link set data mtu 2000")
    assert a.run("ip link set data mtu 2048", check=False).rc != 0
    a.run("ip link set data mtu 1500")


def test_stack(pair):
    a, b = pair.nodes
    a.ping(b)
    for sender, receiver in ((a, b), (b, a)):
        server = receiver.spawn("nc -l -p 5000 -e md5sum")
        # It may not listen yet.
        sent = sender.run("head -c 5000000 /dev/urandom > /tmp/data; md5sum < /tmp/data; "
                          f"for i in $(seq 50); do nc {receiver.address} 5000 < /tmp/data && break; sleep 0.2; done", 60)
        sums = sent.out.split("  -\n")
        assert sums[0] == sums[1] and len(sums[0]) == 32, sent.out
        server.wait(60)
    drops = {name: n for name, n in a.counters().items() if "_drop_" in name and "while_down" not in name and n}
    assert not drops
    assert a.counters()["rx0_packets"] > 1000 and a.counters()["tx0_packets"] > 1000


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
    rx.wait_output(r"^main: 0\.[0-9]*[1-9]")
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


def test_unload_while_the_other_side_sends(pair):
    a, b = pair.nodes
    tx = endless_sender(b)
    for _ in range(5):
        a.run("rmmod netmap")
        a.load()
    # In the middle of receiving, it is refused.
    rx = a.spawn("pkt-gen -i data -f rx -w 0 -T 200")
    rx.wait_output(r"^main: 0\.[0-9]*[1-9]")
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


def test_reboot(pair):
    a, b = pair.nodes
    tx = endless_sender(b)
    rx = a.spawn("pkt-gen -i data -f rx -w 0 -T 200")
    rx.wait_output(r"^main: 0\.[0-9]*[1-9]")
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
    rx.wait_output(r"^main: 0\.[0-9]*[1-9]")
    a.kill()
    a.assert_clean_log()
    assert rx.running
    end(rx)
    a = pair.restart(0)
    a.ping(b)
    netlab.stream(a, "data", b, "data")
