# SPDX-License-Identifier: BSD-2-Clause
"""BIG TCP: packets whose length no IP header can say, between stacks that know them, each in its own way, and to those that don't."""

import re

import netlab
import ptnguest
import pytest

SOURCE = netlab.NMCHECK_SOURCE.with_name("bigcheck.c")
FITS = 65535        # bytes of an IP packet whose header says its length
BYTES = 32 << 20
OTHER = {"6.12": "newest", "newest": "6.1"}     # with 6.12 IPv6 has a jumbo option, with the newest none; 6.1 does not know such packets


def node(line, netmap_ko, daemon, number):
    kernel = ptnguest.Kernel.get(line)
    initramfs = netlab.build_initramfs(kernel, netmap_ko, programs=[(netlab.build_program(SOURCE), "bin/bigcheck"), ("ip", "sbin/ip")])
    return netlab.Node(kernel, initramfs, daemon, number, f"big-{line}-{number}")


def module_of(line):
    return next(path for path in ptnguest.build_module(ptnguest.Kernel.get(line)) if path.name == "netmap.ko")


@pytest.fixture(scope="module")
def nodes_of_kernel(kernel, netmap_ko):
    """Two with this kernel, and maybe one with another."""
    # No test decides by time: a receiver may be slow.
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"big-{kernel.line}.netmapd", "--full-wait-ms", "10000") as daemon:
        nodes = [node(kernel.line, netmap_ko, daemon, i) for i in (1, 2)]
        if other := OTHER.get(kernel.line):
            nodes.append(node(other, module_of(other), daemon, 3))
        with netlab.running(nodes):
            for each in nodes:
                each.load()
                each.run("sysctl -qw net.ipv6.conf.data.disable_ipv6=0 net.ipv6.conf.data.accept_dad=0; "
                         f"ip -6 addr add fd77::{each.number}/64 dev data")
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


def most(each):
    """Bytes of a packet that the interface can take from the stack."""
    return int(re.search(r"tso_max_size (\d+)", each.run("/sbin/ip -d link show data").out).group(1))


def received(each):
    """Packets, bytes, and packets that were refused."""
    counters = each.counters()
    return counters["rx0_packets"], counters["rx0_bytes"], sum(n for name, n in counters.items() if name.startswith("rx0_drop"))


def give(a, b, to, longer):
    """From a to b over TCP: what comes is what was sent, and no packet is refused. Bytes of a packet on average; with `longer` some have
    more than fits."""
    hears = longer and b.spawn(f"bigcheck longer data {FITS + 14}")
    takes = b.spawn(f"bigcheck take {BYTES}")
    for waits in filter(None, (hears, takes)):
        waits.wait_output("^ready$")
    before = received(b)
    assert a.run(f"bigcheck give {to} {BYTES}", 120).out == "ok\n"
    for ends in filter(None, (hears, takes)):
        assert ends.wait(60).out == "ready\nok\n", ends.output
    packets, size, refused = (now - then for now, then in zip(received(b), before))
    assert refused == 0
    return size / packets


def set_most(each):
    each.run(f"bigcheck gso data {most(each)}")


def test_most(nodes, kernel):
    """As much as 64 slots hold; on 6.1, which knows those over IPv6 only, no more than an IP packet."""
    assert most(nodes[0]) == (FITS + 1 if kernel.line == "6.1" else 64 * 2048 - 30)


@pytest.mark.not_on_6_1     # knows them over IPv6 only
def test_between_two(nodes, address):
    """Such packets come, and all bytes. To a program in the driver, and so without a header, they are cut."""
    a, b = nodes[:2]
    set_most(a)
    give(a, b, address(b), longer=True)
    b.run("ethtool -K data tcp-segmentation-offload off")
    give(a, b, address(b), longer=True)
    b.run("ethtool -K data tcp-segmentation-offload on")
    program = b.spawn("xdpcheck run data pass")
    program.wait_output("^ready$")
    assert give(a, b, address(b), longer=False) <= 1514
    program.kill()
    program.wait()


@pytest.mark.not_on_6_1
def test_to_another_kernel(nodes, kernel, address):
    """Who doesn't know them gets segments. Who knows them has them as its stack likes them."""
    a, b = nodes[::2]
    set_most(a)
    knows = OTHER[kernel.line] != "6.1"
    assert (give(a, b, address(b), longer=knows) > FITS / 2) == knows
    if knows:
        set_most(b)
    give(b, a, address(a), longer=knows)


@pytest.mark.not_on_6_1
def test_to_an_application(nodes):
    """One that asks for a header finds nothing that it can't know, and the stack has it all again afterwards."""
    a, b = nodes[:2]
    a.run(f"arp -i data -s {b.address} {b.mac}")
    set_most(a)
    netlab.ptcheck(b, "hdr", "data", "12")
    hears = b.spawn("pkt-gen -i data -f rx -w 0 -n 1000")
    hears.wait_output("^rx on ")
    a.run(f"cardcheck segments {b.address} 1000 1400")
    assert "Received 1000 packets" in hears.wait(60).out, hears.output
    netlab.ptcheck(b, "hdr", "data", "0")
    a.run(f"arp -i data -d {b.address}")
    give(a, b, b.address, longer=True)
