# SPDX-License-Identifier: BSD-2-Clause
"""A passed-through port as a network card: what administrators set and see, TCP, programs in the driver."""

import hashlib
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import netlab
import ptnguest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import pages  # noqa: E402

MOSTLY_ONE_KERNEL = True     # see conftest.py
MODULES = ("bonding", "netconsole", "dummy")


@pytest.fixture(scope="module")
def pair_of_kernel(kernel, netmap_ko):
    # No test decides by time: a receiver may be slow.
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"card-{kernel.line}.netmapd", "--full-wait-ms", "10000") as daemon:
        initramfs = netlab.build_initramfs(kernel, netmap_ko, MODULES)
        nodes = [netlab.Node(kernel, initramfs, daemon, i, f"card-{kernel.line}-{i}", second=i == 1,
                             conf="rings=2" if i == 2 else "") for i in (1, 2)]
        for node in nodes:
            node.daemon = daemon
        with netlab.running(nodes):
            yield nodes


@pytest.fixture
def pair(pair_of_kernel):
    for node in pair_of_kernel:
        node.load()
    yield pair_of_kernel
    for node in pair_of_kernel:
        node.assert_clean_log()


class Stream:
    """Zeros over TCP, in blocks of 64 KiB."""

    def __init__(self, sender, receiver, port, blocks):
        self._sum = hashlib.md5(bytes(65536 * blocks)).hexdigest()
        self._server = receiver.spawn(f"nc -l -p {port} -e md5sum")
        # It may not listen yet.
        self._client = sender.spawn("for i in $(seq 50); do "
                                    f"dd if=/dev/zero bs=65536 count={blocks} 2> /dev/null | nc {receiver.address} {port} && exit; "
                                    "sleep 0.2; done; false")

    def finish(self):
        assert self._client.wait(120).out.endswith(f"{self._sum}  -\n"), self._client.output
        self._server.wait(60)


def retransmitted(node):
    return int(re.search(r"^Tcp: [\d -]+$", node.run("cat /proc/net/snmp").out, re.M).group().split()[12])


def test_tcp_without_loss(pair):
    """Several streams both ways: the switch drops nothing, though packets of 64 KiB find full rings."""
    before = [retransmitted(node) for node in pair]
    for stream in [Stream(pair[i % 2], pair[1 - i % 2], 5000 + i, 500) for i in range(6)]:
        stream.finish()
    full, waits, expired = netlab.switch_counts(pair[0].daemon, "receiver_full", "waits", "expired")
    print(f"waits {waits}, retransmitted {[retransmitted(node) - n for node, n in zip(pair, before)]}")
    assert (full, expired) == (0, 0)


@pytest.mark.every_kernel
def test_settings(pair):
    """What ethtool and ip set."""
    a, b = pair
    link = a.run("ethtool data").out
    assert "Speed: 10000Mb/s" in link and "Duplex: Full" in link
    a.run("ethtool -s data speed 25000 duplex full")
    assert "Speed: 25000Mb/s" in a.run("ethtool data").out
    a.run("ethtool -s data speed 10000 duplex full")
    assert "software-transmit" in a.run("ethtool -T data").out
    assert a.run("cardcheck maddr data").out == "ok\n"
    # Shorter rings work, and are the host's again afterwards.
    assert a.run("ethtool -G data tx 10", check=False).rc != 0
    for node in pair:
        node.run("ethtool -G data tx 128 rx 128")
        assert "TX:\t\t128" in node.run("ethtool -g data").out
    a.ping(b)
    for stream in (Stream(a, b, 5100, 50), Stream(b, a, 5101, 50)):
        stream.finish()
    netlab.stream(a, "data", b, "data", 3000)
    for node in pair:
        node.run("ethtool -G data tx 1024 rx 1024")
    a.ping(b)
    # A processor for each pair of rings: who sends there, and where their interrupts come.
    wanted = ["1", "2", "1", "2"]
    spread = "cat /sys/class/net/data/queues/tx-{}/xps_cpus"
    assert [b.run(spread.format(i)).out.strip() for i in (0, 1)] == wanted[:2]
    irqs = [re.search(rf"^ *(\d+):.*-{name}$", b.run("cat /proc/interrupts").out, re.M).group(1) for name in ("tx0", "tx1", "rx0", "rx1")]
    for what in ("affinity_hint", "smp_affinity"):
        assert [b.run(f"cat /proc/irq/{irq}/{what}").out.strip() for irq in irqs] == wanted
    # Fewer queues.
    b.run("ethtool -L data combined 1")
    assert b.run("ethtool -l data").out.count("Combined:\t1\n") == 1
    b.ping(a)
    b.run("ethtool -L data combined 2")
    assert [b.run(spread.format(i)).out.strip() for i in (0, 1)] == wanted[:2]
    assert b.run("ethtool -L data rx 1", check=False).rc != 0


def toeplitz(key, data):
    """Bit by bit, as it is defined."""
    bits, of_key, result = int.from_bytes(data, "big"), int.from_bytes(key, "big"), 0
    for i in range(8 * len(data)):
        if bits >> (8 * len(data) - 1 - i) & 1:
            result ^= of_key >> (8 * len(key) - 32 - i) & 0xffffffff
    return result


KEY = bytes(range(7, 47))
PORTS = range(3000, 3024)


def counted(node):
    counters = node.counters()
    return [counters[f"rx{i}_packets"] for i in range(2)]


def flows(a, b):
    """A datagram of each flow from a to b: how many came to each ring of b."""
    before = counted(b)
    assert a.run(f"cardcheck flows {b.address} {PORTS[0]} {len(PORTS)}").out == "ok\n"
    return netlab.look_until(lambda: [n - m for n, m in zip(counted(b), before)], lambda now: sum(now) >= len(PORTS))


def wanted_spread():
    """How many of the flows come to each ring."""
    ends = bytes([10, 0, 0, 1, 10, 0, 0, 2])
    rings = [toeplitz(KEY, ends + port.to_bytes(2, "big") + (9).to_bytes(2, "big")) % 128 % 2 for port in PORTS]
    assert 0 < sum(rings) < len(rings)
    return [rings.count(0), rings.count(1)]


def know(node, other):
    """No questions meanwhile: they would be counted, too. The kernel forgets this as the interface goes down."""
    node.run(f"arp -i data -s {other.address} {other.mac}")


@pytest.fixture
def known(pair):
    """Nobody asks who the other one is."""
    a, b = pair
    know(a, b)
    know(b, a)
    yield a, b
    for node, other in ((a, b), (b, a)):
        node.run(f"arp -i data -d {other.address}", check=False)


@pytest.fixture
def hashed(known):
    """The second node has the key."""
    a, b = known
    b.run(f"ethtool -X data hkey {':'.join(f'{n:02x}' for n in KEY)}")
    return a, b


@pytest.mark.every_kernel
def test_receive_hash(hashed):
    """The host puts each flow into the ring that key and table say."""
    a, b = hashed
    spread = wanted_spread()
    shown = b.run("ethtool -x data").out
    assert "with 2 RX ring(s)" in shown and "toeplitz: on" in shown and re.search("^ *120: +0 +1 +0 +1", shown, re.M)
    assert KEY.hex(":") in shown
    for kind, fields in ("udp4", 4), ("tcp6", 4), ("esp4", 2):
        assert b.run(f"ethtool -n data rx-flow-hash {kind} | grep -cE '^(IP|L4) '").out == f"{fields}\n"
    assert "not supported" in b.run("ethtool -N data rx-flow-hash udp4 sd", check=False).out     # its status says nothing
    assert flows(a, b) == spread
    b.run("ethtool -X data weight 0 1")
    assert flows(a, b) == [0, len(PORTS)]
    # It survives the interface's way down and up, and fewer rings are not possible meanwhile.
    b.run("ip link set data down; ip link set data up")
    know(b, a)
    assert flows(a, b) == [0, len(PORTS)]
    assert b.run("ethtool -L data combined 1", check=False).rc != 0
    b.run("ethtool -X data equal 1")
    assert flows(a, b) == [len(PORTS), 0]
    b.run("ethtool -X data default; ethtool -L data combined 1")
    assert flows(a, b) == [len(PORTS), 0]
    b.run("ethtool -L data combined 2")
    assert flows(a, b) == spread
    # An application finds packets in the ring that they were sent on: a has one.
    netlab.stream(a, "data", b, "data", 3000)
    assert flows(a, b) == spread
    for wrong in "equal 3", "hkey 01:02", "hfunc xor":
        assert b.run(f"ethtool -X data {wrong}", check=False).rc != 0
    assert a.run("ethtool -x data", check=False).rc != 0      # one ring


def test_receive_hash_after_sleep(hashed):
    """The host has forgotten it when the machine has slept: it is told again."""
    a, b = hashed
    b.run("echo devices > /sys/power/pm_test; echo 1 > /sys/module/suspend/parameters/pm_test_delay; "
          "echo mem > /sys/power/state; echo none > /sys/power/pm_test", 60)
    assert flows(a, b) == wanted_spread()


BQL = "/sys/class/net/data/queues/tx-0/byte_queue_limits"


def limits(node):
    """Byte queue limits of the first queue of data."""
    return {name: int(value) for name, value in
            re.findall(r"^(\w+):(\d+)$", node.run(f"cd {BQL}; grep '' inflight limit limit_min limit_max").out, re.M)}


@pytest.mark.every_kernel
def test_byte_queue_limits(known):
    """What lies in the ring is bounded, and all arrives; the account is right after the ring was another's."""
    a, b = known
    for stream in (Stream(a, b, 5300, 100), Stream(b, a, 5301, 100)):
        stream.finish()
    assert limits(a)["limit"] > 0
    # Not less than the longest packet, unless the user wants it.
    before = limits(a)
    assert before["limit_min"] == 65536 <= before["limit"]
    a.run(f"echo 0 > {BQL}/limit_min; echo 3000 > {BQL}/limit_max")
    Stream(a, b, 5302, 20).finish()
    a.ping(b)
    assert limits(a)["limit"] <= 3000
    a.run(f"cd {BQL}; echo {before['limit_min']} > limit_min; echo {before['limit_max']} > limit_max")
    netlab.stream(a, "data", b, "data", 3000)
    assert limits(a)["inflight"] == 0
    a.run("ip link set data down; ip link set data up")
    know(a, b)
    assert limits(a)["limit"] >= 65536
    Stream(a, b, 5303, 50).finish()
    a.ping(b)


def uptime(node):
    return float(node.run("cat /proc/uptime").out.split()[0])


@pytest.mark.every_kernel
def test_coalescing(pair):
    """Interrupts come together: with a time set, and by the driver's choice."""
    a, b = pair
    assert "Adaptive RX: on" in b.run("ethtool -c data").out
    b.run("ethtool -C data adaptive-rx off rx-usecs 2000")
    shown = b.run("ethtool -c data").out
    assert "Adaptive RX: off" in shown and re.search(r"^rx-usecs:\s+2000$", shown, re.M)
    assert b.run("ethtool -C data rx-usecs 20000", check=False).rc != 0
    for stream in (Stream(a, b, 5400, 50), Stream(b, a, 5401, 50)):
        stream.finish()
    a.ping(b)
    # Behind each interrupt there are no others for as long as is set, however fast packets come.
    b.run("ethtool -C data rx-usecs 10000")
    before, began = b.counters(), uptime(b)
    a.run(f"ping -q -c 500 -i 0.002 -w 60 {b.address}", 90, check=False)   # it may be too slow for the last answers
    after, ended = b.counters(), uptime(b)
    for ring in (0, 1):
        packets, interrupts = (after[f"rx{ring}_{what}"] - before[f"rx{ring}_{what}"] for what in ("packets", "interrupts"))
        print(f"ring {ring}: {packets} packets, {interrupts} interrupts in {ended - began} s")
        assert interrupts <= (ended - began) / 0.01 + 2
    assert sum(after[f"rx{ring}_packets"] - before[f"rx{ring}_packets"] for ring in (0, 1)) >= 500
    assert [n for name, n in after.items() if "_drop_" in name] == [n for name, n in before.items() if "_drop_" in name]
    b.run("ip link set data down; ip link set data up; ethtool -C data adaptive-rx on rx-usecs 0")
    Stream(a, b, 5402, 50).finish()


TRACING = "/sys/kernel/tracing"


@pytest.mark.every_kernel
def test_pages_are_used_again(pair):
    """Memory of received packets: what the pool takes from the system is a small part of what the packets take."""
    a, b = pair
    b.run(f"rmmod netmap; [ -e {TRACING}/trace ] || mount -t tracefs tracefs {TRACING}; cd {TRACING}; echo 20000 > buffer_size_kb; "
          "echo > trace; echo 1 > events/page_pool/page_pool_state_hold/enable")
    b.load()
    Stream(a, b, 5600, 600).finish()
    b.run(f"echo 0 > {TRACING}/events/page_pool/page_pool_state_hold/enable")
    taken = int(b.run(f"grep -c page_pool_state_hold: {TRACING}/trace", check=False).out)
    received = sum(n for name, n in b.counters().items() if re.fullmatch(r"rx\d+_bytes", name))
    print(f"{taken} pages for {received} bytes")
    assert received > 600 * 65536 and 0 < taken < received / 4096 / 4


def objects(node, command, **attributes):
    """What netlink's family netdev says: a list of {attribute: value}."""
    words = " ".join(f"{name[1:]}={value}" for name, value in attributes.items())
    out = node.run(f"cardcheck netdev {command} {words}").out
    assert out.endswith("ok\n")
    return [dict(tuple(map(int, pair.split("="))) for pair in line.split()) for line in out.splitlines()[:-1]]


def left_to_be_segmented(node, index):
    """Packets and bytes that were sent so: of qstats-get."""
    whole, = objects(node, 12, _1=index)
    return whole[28], whole[29]


@pytest.mark.every_kernel
@pytest.mark.not_on_6_1      # the kernel has no such statistics
def test_queue_statistics(known):
    """Each queue has its counters, its NAPI and its interrupt; the sums are the interface's."""
    a, b = known
    index = b.run("cat /sys/class/net/data/ifindex").out.strip()
    a.ping(b)
    before = left_to_be_segmented(b, index)
    Stream(b, a, 5500, 20).finish()
    queues = objects(b, 10, _2=index)     # queue-get: 1 id, 3 type (0: rx), 4 NAPI
    assert sorted((q.get(3, 0), q.get(1, 0)) for q in queues) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    napis = {n[2]: n for n in objects(b, 11, _1=index)}    # napi-get: 2 id, 3 interrupt
    interrupts = b.run("cat /proc/interrupts").out
    for queue in queues:
        if queue.get(3, 0) == 0:
            assert re.search(rf"^ *{napis[queue[4]][3]}:.*rx{queue.get(1, 0)}$", interrupts, re.M)
    stats = objects(b, 12, _1=index, _4=1)     # qstats-get: 8, 9 received packets, bytes; 10, 11 sent
    assert len(stats) == 4
    sums = [sum(s.get(what, 0) for s in stats) for what in (8, 9, 10, 11)]
    shown = [int(n) for n in b.run("cd /sys/class/net/data/statistics; cat rx_packets rx_bytes tx_packets tx_bytes").out.split()]
    assert sums == shown and min(sums) > 0
    # Some are longer than the wire's packets, for the host to cut; what the stack has cut itself is not among them.
    packets, size = (now - then for now, then in zip(left_to_be_segmented(b, index), before))
    assert 0 < packets < sums[2] and 1500 * packets < size < sums[3]
    before = left_to_be_segmented(b, index)
    b.run("ethtool -K data tso off")
    Stream(b, a, 5501, 20).finish()
    b.run("ethtool -K data tso on")
    assert left_to_be_segmented(b, index) == before
    # Queues that are not used any more are part of the sum.
    b.run("ethtool -L data combined 1")
    whole, = objects(b, 12, _1=index)
    b.run("ethtool -L data combined 2")
    assert whole[10] >= shown[2]


@pytest.mark.one_kernel
def test_watchdog(kernel, netmap_ko):
    """The other end of a pipe takes nothing: the driver says so, with the ring's state."""
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / "watchdog.netmapd") as daemon:
        node = netlab.Node(kernel, netlab.build_initramfs(kernel, netmap_ko), daemon, 1, "watchdog", ifname="netmap:wire{1")
        with netlab.running([node]):
            node.run("modprobe netmap ptnet_watchdog_s=1")
            node.load()
            node.run("arp -s 10.0.0.9 02:00:00:00:00:09; ping -c 5 -W 1 -s 60000 10.0.0.9; "
                     "for i in $(seq 300); do dmesg | grep -q 'stands still' && exit; sleep 0.1; done; false", 90)
            assert re.search(r"tx ring 0 stands still: next \d+, published \d+, host at \d+", node.kmsg())


def test_netconsole(pair):
    a, b = pair
    hears = b.spawn("cardcheck hear 6666 'a line for another machine'")
    hears.wait_output("^ready$")
    a.run(f"dmesg -n 8; modprobe netconsole netconsole=6665@{a.address}/data,6666@{b.address}/{b.mac}")
    a.run("echo '<6>a line for another machine' > /dev/kmsg")
    assert hears.wait(60).out == "ready\nok\n", hears.output
    a.run("rmmod netconsole")


def test_bond(pair):
    """802.3ad wants speed and duplex; the two ends find each other over the switch."""
    a, b = pair
    try:
        for node in pair:
            node.run("modprobe bonding max_bonds=0; echo +bond0 > /sys/class/net/bonding_masters; cd /sys/class/net/bond0/bonding; "
                     "echo 802.3ad > mode; echo 100 > miimon; echo fast > lacp_rate; ip addr flush dev data; ip link set data down; "
                     f"echo +data > slaves; ip link set bond0 up; ip addr add 10.0.1.{node.number}/24 dev bond0")
        for node in pair:
            node.run("cd /sys/class/net/bond0/bonding; for i in $(seq 300); do grep -qv 00:00:00:00:00:00 ad_partner_mac && break; "
                     "sleep 0.1; done", 60)
            state = node.run("cat /proc/net/bonding/bond0").out
            assert "Speed: 10000 Mbps" in state and "Duplex: full" in state, state
        assert a.run("cat /sys/class/net/bond0/bonding/ad_partner_mac").out.strip() != "00:00:00:00:00:00"
        for node in pair:   # each end collects and distributes, and knows that the other one does
            node.run("cd /sys/class/net/data/bonding_slave; for i in $(seq 300); do [ $(($(cat ad_actor_oper_port_state) & "
                     "$(cat ad_partner_oper_port_state) & 0x30)) = 48 ] && exit; sleep 0.1; done; grep '' *; exit 1", 60)
        a.run(netlab.pings("10.0.1.2", 3), 60)
    finally:
        for node in pair:
            node.run("ip link set bond0 down; echo -data > /sys/class/net/bond0/bonding/slaves; rmmod bonding", check=False)
    assert b.run("ip link show data").rc == 0


class Program:
    """A program in the driver of `data`, for a while; with "frags" one that takes fragments. What it can do: xdpcheck.c."""

    def __init__(self, node, what, *frags):
        self._running = node.spawn(f"xdpcheck run data {what} {' '.join(frags)}")
        self._running.wait_output("^ready$")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._running.kill()
        self._running.wait()


def total(node, pattern):
    """Of counters of the driver, of all rings."""
    return sum(n for name, n in node.counters().items() if re.fullmatch(pattern, name))


@contextmanager
def pages_come_back(node):
    """Of all pools that end meanwhile, which is when the last page is there.

    A processor keeps packets that another one is to free, as many as skb_defer_max, until that one receives something.
    """
    event, defer = "events/page_pool/page_pool_release/enable", "/proc/sys/net/core/skb_defer_max"
    deferred = node.run(f"[ -e {TRACING}/trace ] || mount -t tracefs tracefs {TRACING}; cd {TRACING}; echo > trace; echo 1 > {event}; "
                        f"cat {defer}; echo 0 > {defer}").out.strip()
    try:
        yield
        left = pages_left(node)
    finally:
        node.run(f"echo 0 > {TRACING}/{event}; echo {deferred} > {defer}")
    assert left and not any(left.values()), left


def pages_left(node):
    """Of the pools that have ended; waits until there are none."""
    def left():
        out = node.run(f"grep page_pool_release: {TRACING}/trace", check=False).out
        return {pool: int(n) for pool, n in re.findall(r"page_pool_release: page_pool=(\S+) inflight=(-?\d+)", out)}

    return netlab.look_until(left, lambda now: now and not any(now.values()))


@pytest.mark.every_kernel
def test_programs(pair):
    """XDP: what a program does with packets, and that all goes on as before when it has gone."""
    a, b = pair
    for _ in range(2):
        with pages_come_back(b), Program(b, "pass"):
            assert "tcp-segmentation-offload: off" in b.run("ethtool -k data").out
            a.ping(b)
            for stream in (Stream(a, b, 5200, 100), Stream(b, a, 5201, 100)):
                stream.finish()
    a.run(f"arp -s {b.address} {b.mac}")
    with Program(b, "drop"):
        dropped, received = total(b, "rx[0-9]+_xdp_drops"), total(b, "rx[0-9]+_packets")
        assert "100% packet loss" in a.run(f"ping -c 3 -i 0.1 -w 5 {b.address}", check=False).out
        assert total(b, "rx[0-9]+_xdp_drops") >= dropped + 3
        assert total(b, "rx[0-9]+_packets") >= received + 3     # by the program
    with Program(b, "tx"):
        # Requests come back as they were, and the one who sent them hears of packets from himself.
        before = a.counters()["rx0_packets"]
        a.run(f"ping -c 5 -i 0.1 -w 5 {b.address}", check=False)
        assert total(b, "rx[0-9]+_xdp_tx") >= 5
        assert a.counters()["rx0_packets"] >= before + 5
    # From one port to another, both ours.
    a.run("ip link set more up")
    with Program(a, "more"):
        b.run(f"arp -s {a.address} {a.mac}; ping -c 5 -i 0.1 -w 5 {a.address}", check=False)
        assert a.counters()["rx0_xdp_redirects"] >= 5
        assert int(a.run("cat /sys/class/net/more/statistics/tx_packets").out) >= 5
    a.run(f"arp -d {b.address}; ip link set more down")
    b.run(f"arp -d {a.address}")
    # A netmap application comes and goes meanwhile; too long an MTU and a program exclude each other.
    with Program(b, "pass"):
        netlab.stream(a, "data", b, "data", 3000)
        a.ping(b)
        assert b.run("ip link set data mtu 9000", check=False).rc != 0
        b.run("ip link set data down; ip link set data up")
        a.ping(b)
    assert "tcp-segmentation-offload: on" in b.run("ethtool -k data").out
    a.run("ip link set data mtu 9000")
    assert a.run("timeout 5 xdpcheck run data pass", check=False).rc == 1
    a.run("ip link set data mtu 1500")
    a.ping(b)


def segments(a, b, address, size):
    """1000 datagrams, 20 at a time for the card to cut: each comes, as it was. How many packets b received meanwhile."""
    before = total(b, "rx[0-9]+_packets")
    hears = b.spawn("cardcheck datagrams 1000")
    hears.wait_output("ready")
    a.run(f"cardcheck segments {address} 1000 {size}")
    assert hears.wait(120).out.endswith("ok\n"), hears.output
    return total(b, "rx[0-9]+_packets") - before


@pytest.mark.every_kernel
@pytest.mark.parametrize("family", ["inet", "inet6"])
def test_uso(known, kernel, family):
    """Datagrams are cut by who needs them so: not between two stacks that know it; by the switch for a program; by the stack when it
    is off."""
    a, b = known
    can = kernel.line != "6.1"      # the kernel's functions for virtio-net headers don't know it
    assert ("tx-udp-segmentation: on" in a.run("ethtool -k data").out) == can
    address = b.address if family == "inet" else "fd77::2"
    if family == "inet6":
        for node, own in ((a, "fd77::1"), (b, address)):
            node.run("sysctl -qw net.ipv6.conf.data.disable_ipv6=0 net.ipv6.conf.data.accept_dad=0; "
                     f"ip -6 addr add {own}/64 dev data", check=False)
        a.run(f"ping -6 -c 1 -w 20 {address}")
    try:
        uso_is_cut(a, b, address, can)
    finally:
        a.run("ethtool -K data tx-udp-segmentation on", check=can)
        for node in (a, b):     # no packets that nobody has asked for, and no addresses
            node.run("sysctl -qw net.ipv6.conf.data.disable_ipv6=1")


def uso_is_cut(a, b, address, can):
    for size in (1400, 90):     # of many slots, and of one
        assert (segments(a, b, address, size) < 500) == can
    with Program(b, "pass"):
        assert segments(a, b, address, 1400) >= 1000
    a.run("ethtool -K data tx-udp-segmentation off")
    assert segments(a, b, address, 1400) >= 1000


# Of frames at an MTU of 9000: slots hold 2048 bytes, a program's head 3520, its fragments 3840.
IN_HEAD = (60, 1514, 2048, 2049, 3520)
IN_FRAGMENTS = (3521, 4096, 7360, 7361, 9014)
LONGEST = 65535 + 14
ALL = "ff:ff:ff:ff:ff:ff"


def frames(sender, mac, receiver, lengths, change=0):
    """Frames to that address come to the receiver, all in order, each so much longer or shorter at its end, whole to the last byte."""
    words = " ".join(map(str, lengths))
    hears = receiver.spawn(f"xdpcheck hear data {change} {words}")
    hears.wait_output("^ready$")
    assert sender.run(f"xdpcheck send data {mac} {words}", 60).out == "ok\n"
    assert hears.wait(120).out == "ready\nok\n", hears.output


def wait_counted(node, pattern, wanted):
    """Until these counters of the driver are so much, in sum."""
    assert netlab.look_until(lambda: total(node, pattern), lambda now: now >= wanted) == wanted


@pytest.fixture
def jumbo(known):
    """Both have an MTU of 9000."""
    for node in known:
        node.run("ip link set data mtu 9000")
    yield known
    for node in known:
        node.run("ip link set data mtu 1500")


@pytest.mark.every_kernel
def test_programs_fragments(jumbo):
    """XDP with packets of several slots, at the bounds of head and fragments: what the program lets through comes whole."""
    a, b = jumbo
    with pages_come_back(b):
        with Program(b, "pass", "frags"):
            frames(a, b.mac, b, IN_HEAD + IN_FRAGMENTS)
            frames(b, a.mac, a, IN_HEAD + IN_FRAGMENTS)      # without a program there, and without a header
            a.run(netlab.pings(b.address, 3, "-s 8972"), 60)
            for stream in (Stream(a, b, 5210, 100), Stream(b, a, 5211, 100)):
                stream.finish()
            netlab.stream(a, "data", b, "data", 3000)
            a.run(netlab.pings(b.address, 1, "-s 8972"), 60)
        with Program(b, "tx", "frags"):
            sent = total(b, "rx[0-9]+_xdp_tx"), total(b, "tx[0-9]+_packets"), total(b, "tx[0-9]+_bytes")
            frames(a, b.mac, a, IN_HEAD + IN_FRAGMENTS)
            count, size = len(IN_HEAD + IN_FRAGMENTS), sum(IN_HEAD + IN_FRAGMENTS)
            assert (total(b, "rx[0-9]+_xdp_tx"), total(b, "tx[0-9]+_packets"), total(b, "tx[0-9]+_bytes")) == \
                (sent[0] + count, sent[1] + count, sent[2] + size)
        with Program(b, "drop", "frags"):
            before = [total(b, f"rx[0-9]+_{what}") for what in ("xdp_drops", "packets", "bytes")]
            assert a.run(f"xdpcheck send data {b.mac} {' '.join(map(str, IN_FRAGMENTS))}").out == "ok\n"
            for what, n, more in zip(("xdp_drops", "packets", "bytes"), before, (len(IN_FRAGMENTS),) * 2 + (sum(IN_FRAGMENTS),)):
                wait_counted(b, f"rx[0-9]+_{what}", n + more)


@pytest.mark.every_kernel
def test_programs_adjust_fragments(jumbo):
    """A program makes packets longer (up to 256 bytes are there behind a fragment) and shorter (fragments go, and a part of the head)."""
    a, b = jumbo
    with pages_come_back(b):
        with Program(b, "grow=256", "frags"):
            frames(a, b.mac, b, (60, 1514, *IN_FRAGMENTS), 256)
        with Program(b, "grow=257", "frags"):
            refused = total(b, "rx[0-9]+_drop_refused")
            frames(a, b.mac, b, (1514, 3521, 7361, 9014), 257)
            assert a.run(f"xdpcheck send data {b.mac} 3520 7360").out == "ok\n"      # at the end of a page
            wait_counted(b, "rx[0-9]+_drop_refused", refused + 2)
        with Program(b, "shrink=100", "frags"):
            frames(a, b.mac, b, (1514, *IN_FRAGMENTS), -100)
        with Program(b, "shrink=4000", "frags"):
            frames(a, b.mac, b, (4096, 7360, 7361, 9014), -4000)


@pytest.mark.every_kernel
def test_programs_redirect_fragments(jumbo):
    """To the interface that they came from: a broadcast comes back. Linux 6.1 redirects no packets with fragments (-EOPNOTSUPP)."""
    a, b = jumbo
    with pages_come_back(a), Program(a, "data", "frags"):
        redirects, refused, sent = (total(a, name) for name in ("rx0_xdp_redirects", "rx0_drop_refused", "tx0_packets"))
        if a.kernel.line == "6.1":
            frames(b, ALL, b, IN_HEAD)
            assert b.run(f"xdpcheck send data {ALL} {' '.join(map(str, IN_FRAGMENTS))}").out == "ok\n"
            wait_counted(a, "rx0_drop_refused", refused + len(IN_FRAGMENTS))
        else:
            frames(b, ALL, b, IN_HEAD + IN_FRAGMENTS)
            wait_counted(a, "rx0_xdp_redirects", redirects + len(IN_HEAD + IN_FRAGMENTS))
            wait_counted(a, "tx0_packets", sent + len(IN_HEAD + IN_FRAGMENTS))
    b.ping(a)       # the switch has seen its address at a's port


@pytest.mark.every_kernel
def test_programs_longest(jumbo):
    """The longest MTU that there is: 33 slots, 17 fragments."""
    a, b = jumbo
    for node in (a, b):
        node.run("ip link set data mtu 65535")
    with pages_come_back(b):
        with Program(b, "pass", "frags"):
            frames(a, b.mac, b, (LONGEST, 60, LONGEST))
            a.run(netlab.pings(b.address, 1, "-s 65507"), 60)
        with Program(b, "tx", "frags"):
            frames(a, b.mac, a, (LONGEST, 60, LONGEST))


@pytest.mark.one_kernel
@pytest.mark.not_on_6_1      # it redirects no packets with fragments
def test_programs_full_ring(kernel, netmap_ko):
    """Packets with fragments are redirected to a pipe whose other end takes nothing: what finds no room is dropped, counted, and its
    pages come back. The same of what is too long for a short ring."""
    count = 300         # of five slots; the ring has 1024
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / "full-ring.netmapd") as daemon:
        initramfs = netlab.build_initramfs(kernel, netmap_ko)
        nodes = [netlab.Node(kernel, initramfs, daemon, 1, "full-ring-1", ifname="netmap:wire{1", second=True),
                 netlab.Node(kernel, initramfs, daemon, 2, "full-ring-2", ifname="vale2:2", conf="slots=64")]
        with netlab.running(nodes) as (a, b):
            for node in nodes:
                node.load().run("ip link set data mtu 9000")
            a.run("ip link set more mtu 9000 up")
            with pages_come_back(a):
                before = total(a, "tx0_packets|tx0_drop_receiver_full")
                program = a.spawn("xdpcheck run more data frags")
                program.wait_output("^ready$")
                for sent in range(100, count + 1, 100):     # as many as the receiver's ring holds: nobody waits for broadcasts
                    b.run(f"xdpcheck send data {ALL} $(for i in $(seq 100); do echo 9014; done)", 60)
                    wait_counted(a, "tx0_packets|tx0_drop_receiver_full", before + sent)
                assert total(a, "tx0_drop_receiver_full") >= count - 1024 // 5
                program.kill()
                program.wait()
            with pages_come_back(b), Program(b, "tx", "frags"):     # 31 slots are half a ring, 33 the packet's
                a.run(f"ip link set more mtu 65535; xdpcheck send more {ALL} {LONGEST}")
                wait_counted(b, "rx0_drop_too_long", 1)
            for node in nodes:
                node.assert_clean_log()


XDP_FEATURES = 0x01 | 0x02 | 0x04 | 0x20 | 0x40    # enum netdev_xdp_act: basic, redirect, ndo_xmit, rx_sg, ndo_xmit_sg


@pytest.mark.every_kernel
def test_programs_without_fragments(jumbo):
    """They are refused at an MTU of 9000, and that MTU with them; what the interface can do is shown."""
    a, b = jumbo
    assert b.run("xdpcheck refused data 'a packet must fit one slot'").out == "ok\n"
    assert b.run("timeout 5 xdpcheck run data pass", check=False).rc == 1
    b.run("ip link set data mtu 2030")
    with Program(b, "pass"):
        assert b.run("ip link set data mtu 2031", check=False).rc != 0
        dropped = total(b, "rx[0-9]+_drop_too_many_fragments")
        assert a.run(f"xdpcheck send data {b.mac} {IN_FRAGMENTS[0]}").out == "ok\n"
        wait_counted(b, "rx[0-9]+_drop_too_many_fragments", dropped + 1)
        frames(a, b.mac, b, (60, 2044))
    assert b.run("ip link set data mtu 2031; timeout 5 xdpcheck run data pass", check=False).rc == 1
    with Program(b, "pass", "frags"):
        b.run("ip link set data mtu 65535; ip link set data mtu 9000")
    if b.kernel.line != "6.1":      # it doesn't ask, and shows nothing
        index = int(b.run("cat /sys/class/net/data/ifindex").out)
        shown, = (device for device in objects(b, 1) if device[1] == index)     # dev-get: 1 ifindex, 3 xdp-features
        assert shown[3] == XDP_FEATURES


def howto_sends(node, line):
    out = node.run(line if " -n " in line else f"{line} -n 20", 60).out
    assert re.search(r"^Sent \d+ packets", out, re.M), out


def howto_receives(pair, line):
    """The second guest does; the first one sends."""
    receiver = pair[1].spawn(f"exec {line}")
    receiver.wait_output("^rx on ")
    howto_sends(pair[0], "pkt-gen -i data -f tx -n 500 -R 1k --check")
    if "--check" in line:
        received, lost, *bad = netlab.checked(receiver)
        assert bad == [0, 0, 0] and received > 0, receiver.output
        return
    receiver.wait_output(netlab.SOME_PACKETS, 60)
    receiver.kill(signal.SIGINT)
    assert re.search(r"^Received [1-9]\d* packets", receiver.wait(60).out, re.M), receiver.output


def howto_bridges(node, line):
    bridge = node.spawn(f"exec {line}")
    bridge.wait_output("^Bridging ")
    bridge.kill(signal.SIGINT)
    assert bridge.wait(60).rc == 0, bridge.output


def howto_runs(pair, line):
    """As it stands there, but that the interfaces have other names here, and packets an end."""
    line = line.replace("ens4", "data").replace("ens5", "more").replace("eth1", "wire").replace("-n 100000 ", "-n 500 ")
    if line.startswith("pkt-gen") and "-f rx" in line:
        howto_receives(pair, line)
    elif line.startswith("pkt-gen"):
        howto_sends(pair[0], line)
    elif line.startswith("netmap-bridge"):
        howto_bridges(pair[0], line)
    elif line.startswith("insmod"):
        pair[0].run("rmmod netmap; " + re.sub(r"build/\S+", "/lib/modules/$(uname -r)/extra/netmap.ko", line))
        pair[0].load()
    else:
        out = pair[0].run(line, 60).out
        assert "grep region_" not in line or re.findall(r": (\d+)$", out, re.M) == ["0", "0"], out


@pytest.mark.every_kernel
def test_howto(pair):
    """The commands of the pages that are typed in guests. Switches in the kernel have a dummy, which isn't called eth1: Node.load()."""
    # Nothing here tells the kernel which module has a kind of links.
    pair[0].run("modprobe dummy numdummies=0; ip link add wire type dummy && ip link set wire up; ip link set more up")
    commands = pages.for_guests()
    assert len(commands) >= 24
    for page, title, line in commands:
        print(f"{page}, {title}: {line}")
        howto_runs(pair, line)
    assert pair[0].run("vale-ctl").out.count("vale0:wire") > 0
    pair[0].run("vale-ctl -d vale0:wire; ip link del wire; ip link set more down")
