# SPDX-License-Identifier: BSD-2-Clause
"""BIG TCP: packets whose length no IP header can say, between stacks that know them, each in its own way, and to those that don't."""

import netlab
import ptnguest
import pytest

FITS = 65535        # bytes of an IP packet whose header says its length
BYTES = 32 << 20
# With 6.12 IPv6 has a jumbo option, with the newest none; 6.1 does not know such packets.
OTHER = {"6.12": "newest", "newest": "6.1"}


def node(line, netmap_ko, daemon, number):
    kernel = ptnguest.Kernel.get(line)
    initramfs = netlab.build_initramfs(kernel, netmap_ko, ["8021q"], netlab.big_tcp_programs())
    return netlab.Node(kernel, initramfs, daemon, number, f"big-{line}-{number}")


def other_than(kernel):
    return OTHER.get(kernel.line, "6.12")


@pytest.fixture(scope="module")
def nodes_of_kernel(kernel, netmap_ko):
    """Two with this kernel, and one with another."""
    # No test decides by time: a receiver may be slow, and TCP shall not make packets shorter for that (tcp_tso_rtt_log).
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"big-{kernel.line}.netmapd", "--full-wait-ms", "10000") as daemon:
        nodes = [node(kernel.line, netmap_ko, daemon, i) for i in (1, 2)]
        other = other_than(kernel)
        nodes.append(node(other, netlab.build_netmap_ko(ptnguest.Kernel.get(other)), daemon, 3))
        with netlab.running(nodes):
            for each in nodes:
                each.load()
                each.run("sysctl -qw net.ipv6.conf.data.disable_ipv6=0 net.ipv6.conf.data.accept_dad=0; "
                         f"ip -6 addr add fd77::{each.number}/64 dev data; sysctl -qw net.ipv4.tcp_tso_rtt_log=31")
            yield nodes


@pytest.fixture
def nodes(nodes_of_kernel):
    yield nodes_of_kernel
    for each in nodes_of_kernel:
        each.run("bigcheck gso data 65536", check=False)
        each.assert_clean_log()


@pytest.fixture(params=["inet", "inet6"])
def address(request):
    """Of a node."""
    return {"inet": lambda each: each.address, "inet6": lambda each: f"fd77::{each.number}"}[request.param]


def refused(each):
    return {name: n for name, n in each.counters().items() if "_drop_" in name}


def give(a, b, to, longer):
    """From a to b over TCP: what comes is what was sent, and no packet is refused, though some are sent that are longer than fits; with
    `longer` they come so."""
    hears = [each.spawn(f"bigcheck longer data {FITS + 14}") for each in (a, *[b] * longer)]
    takes = b.spawn(f"bigcheck take {BYTES}")
    for waits in (*hears, takes):
        waits.wait_output("^ready$")
    before = refused(b)
    assert a.run(f"bigcheck give {to} {BYTES}", 120).out == "ok\n"
    for ends in (*hears, takes):
        assert ends.wait(60).out == "ready\nok\n", ends.output
    assert refused(b) == before


def test_most(nodes, kernel):
    """As much as 64 slots hold; on 6.1, which knows those over IPv6 only, no more than an IP packet."""
    assert netlab.longest_of_stack(nodes[0], "data") == (FITS + 1 if kernel.line == "6.1" else 64 * 2048 - 30)


@pytest.mark.not_on_6_1     # knows them over IPv6 only
def test_between_two(nodes, address):
    """Such packets come, and all bytes. To a program in the driver, and so without a header, they are cut."""
    a, b = nodes[:2]
    netlab.set_big_tcp(a, "data")
    give(a, b, address(b), longer=True)
    b.run("ethtool -K data tcp-segmentation-offload off")
    give(a, b, address(b), longer=True)
    b.run("ethtool -K data tcp-segmentation-offload on")
    program = b.spawn("xdpcheck run data pass")
    program.wait_output("^ready$")
    give(a, b, address(b), longer=False)
    program.kill()
    program.wait()


@pytest.mark.not_on_6_1
def test_to_another_kernel(nodes, kernel, address):
    """Who doesn't know them gets segments. Who knows them has them as its stack likes them."""
    a, b = nodes[::2]
    netlab.set_big_tcp(a, "data")
    knows = other_than(kernel) != "6.1"
    give(a, b, address(b), longer=knows)
    if knows:
        netlab.set_big_tcp(b, "data")
        give(b, a, address(a), longer=True)


@pytest.mark.not_on_6_1
def test_in_a_vlan(nodes, kernel, address):
    """The tag is in the packet, in front of what a stack has or has not written there."""
    a, b = nodes[::2]
    for each in (a, b):
        each.run("modprobe 8021q; /sbin/ip link add link data name tagged type vlan id 5; ip link set tagged up; "
                 "sysctl -qw net.ipv6.conf.tagged.disable_ipv6=0 net.ipv6.conf.tagged.accept_dad=0; "
                 f"ip addr add 10.5.0.{each.number}/24 dev tagged; ip -6 addr add fd75::{each.number}/64 dev tagged")
    netlab.set_big_tcp(a, "data")
    a.run(f"bigcheck gso tagged {netlab.longest_of_stack(a, 'data')}")
    to = address(b).replace("10.0.", "10.5.").replace("fd77", "fd75")
    try:
        a.run(netlab.pings(to, 1))
        give(a, b, to, longer=other_than(kernel) != "6.1")
    finally:
        for each in (a, b):
            each.run("/sbin/ip link del tagged")


@pytest.mark.not_on_6_1
def test_to_an_application(nodes):
    """One that asks for a header finds nothing that it can't know, and the stack has it all again afterwards."""
    a, b = nodes[:2]
    a.run(f"arp -i data -s {b.address} {b.mac}")
    netlab.set_big_tcp(a, "data")
    netlab.ptcheck(b, "hdr", "data", "12")
    hears = b.spawn("pkt-gen -i data -f rx -w 0 -n 1000")
    hears.wait_output("^rx on ")
    a.run(f"cardcheck segments {b.address} 1000 1400")
    assert "Received 1000 packets" in hears.wait(60).out, hears.output
    netlab.ptcheck(b, "hdr", "data", "0")
    a.run(f"arp -i data -d {b.address}")
    give(a, b, b.address, longer=True)


@pytest.mark.not_on_6_1
def test_through_an_application(nodes):
    """One with a header that forwards what its own stack sends: that is cut before."""
    a, b = nodes[:2]
    netlab.ptcheck(a, "hdr", "data", "12")
    relay = a.spawn("ptcheck relay data")
    relay.wait_output("^ready$")
    a.run(netlab.pings(b.address, 1))
    before = b.counters()["rx0_packets"]
    hears = b.spawn("cardcheck datagrams 1000")
    hears.wait_output("ready")
    a.run(f"cardcheck segments {b.address} 1000 1400")
    assert hears.wait(120).out.endswith("ok\n"), hears.output
    assert b.counters()["rx0_packets"] - before >= 1000
    relay.kill()
    relay.wait()
    netlab.ptcheck(a, "hdr", "data", "0")
