# SPDX-License-Identifier: BSD-2-Clause
"""How a guest maps the region: write-back, in its kernel and in its applications, wherever firmware puts the BAR.

A few machines stand for all; --all-machines runs every combination.
"""

import itertools
import re
import time

import pytest

import netlab
import ptnguest

GIB = 1 << 30
# machine, firmware, memory, kernel. Each value is there at least once.
SOME = [("q35", "seabios", "256M", "6.12"), ("pc", "seabios", "6G", "6.1"), ("q35", "ovmf", "2G", "newest")]
ALL = list(itertools.product(("q35", "pc"), ("seabios", "ovmf"), ("256M", "2G", "6G"), ("6.1", "6.12", "newest")))

# What QEMU says of a page: address, what it maps, flags; C and T are PCD and PWT, of which write-back has neither.
PAGE = re.compile(r"^([0-9a-f]{16}): ([0-9a-f]{16}) (\S{9})\r?$", re.M)


def pytest_generate_tests(metafunc):
    if "place" in metafunc.fixturenames:
        places = ALL if metafunc.config.getoption("--all-machines") else SOME
        lines = metafunc.config.getoption("kernel")
        places = [p for p in places if not lines or p[3] in lines]
        metafunc.parametrize("kernel,place", [(p[3], p) for p in places], indirect=["kernel"], scope="session",
                             ids=["-".join(p) for p in places])


class Machine:
    """A guest with the module loaded."""

    def __init__(self, kernel, netmap_ko, daemon, name, **options):
        self.node = netlab.Node(kernel, netlab.build_initramfs(kernel, netmap_ko), daemon, 1, name, smp=1, **options)
        self.node.start().load()
        self.node.run("mount -t debugfs debugfs /sys/kernel/debug; echo Y > /sys/module/netmap/parameters/huge_pages")

    def bars(self):
        """(address, size) of BAR1 of each memory function."""
        lines = self.node.run("for f in /sys/bus/pci/drivers/ptnet-mem/0*; do sed -n 2p $f/resource; done").out.splitlines()
        return [(int(first, 16), int(last, 16) + 1 - int(first, 16)) for first, last, _ in map(str.split, lines)]

    def noted_types(self):
        """What the kernel has noted: {address: type}."""
        found = re.findall(r"\[mem (\w+)-\w+\] (\S+)", self.node.run("cat /sys/kernel/debug/x86/pat_memtype_list").out)
        return {int(address, 16): kind for address, kind in found}

    def pages(self, address, size):
        """Flags of the pages that map it: (of the kernel, of the running application)."""
        text = self.node.qmp("human-monitor-command", **{"command-line": "info tlb"})
        flags = [f for _, mapped, f in PAGE.findall(text) if address <= int(mapped, 16) < address + size]
        return [f for f in flags if "U" not in f], [f for f in flags if "U" in f]

    def peek(self, address):
        """A word of the guest's physical memory, as QEMU reads it."""
        text = self.node.qmp("human-monitor-command", **{"command-line": f"xp /1gx {address:#x}"})
        return int(text.split(":")[1], 16)


@pytest.fixture
def make_machine(kernel, netmap_ko, request):
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    machines = []
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"{name}.netmapd") as daemon:
        def make(**options):
            machines.append(Machine(kernel, netmap_ko, daemon, name, **options))
            return machines[-1]

        yield make
        try:
            for machine in machines:
                machine.node.assert_clean_log()
            assert daemon.alive, daemon.log.read_text()
        finally:
            for machine in machines:
                machine.node.close()


def check_mappings(machine, bar):
    """Kernel and application have it write-back; the application is one that runs on the only CPU."""
    node = machine.node
    sender = node.spawn("pkt-gen -i data -f tx -w 0 -T 200 -b 64")
    sender.wait_output(r"^main: .* Mpps")
    kernel, application = machine.pages(*bar)
    for _ in range(300):
        if application:
            break
        time.sleep(0.1)
        kernel, application = machine.pages(*bar)
    assert application
    sender.kill()
    sender.wait()
    # P: a page of 2 MiB. Linux 6.1 has none for applications, and none for the kernel where the MTRRs have a say.
    huge = [f for f in application if "P" in f]
    assert huge == application if node.kernel.line != "6.1" else not huge and len(application) > 50
    assert kernel and ("P" in kernel[0]) == (node.counters()["region_mtrr_uncached"] == 0)
    assert not {f for f in kernel + application if "C" in f or "T" in f}
    assert node.counters()["region_uncached"] == 0


def test_write_back(make_machine, place):
    name, firmware, memory, _ = place
    machine = make_machine(machine=name, firmware=firmware, memory=memory)
    node = machine.node
    (address, size), = machine.bars()
    assert address >= 4 * GIB and size == 4 * GIB
    check_mappings(machine, (address, size))
    # EDK2 declares all BARs uncachable: then the kernel notes nothing, for it was not asked.
    refused = firmware == "ovmf"
    assert machine.noted_types().get(address) == (None if refused else "write-back")
    assert node.counters()["region_mtrr_uncached"] == refused
    assert ("the MTRRs forbid caching" in node.kmsg()) == refused

    # The region's file is as long as the region here; behind it there is nothing, and QEMU maps nothing.
    region = int(re.search(r"memory region \d+, (\d+) bytes", node.kmsg())[1])
    assert region < size and region & (region - 1) == 0
    assert machine.peek(address) != 0
    assert machine.peek(address + region) == machine.peek(address + size - 8) == 0
    assert node.alive


@pytest.mark.one_kernel
def test_low(make_machine):
    """A BAR that has room below 4 GiB, where SeaBIOS allows no caching: write-back all the same, and said."""
    machine = make_machine(options=["--bar-min", "1M"])
    node = machine.node
    (address, size), = machine.bars()
    assert address + size <= 4 * GIB
    check_mappings(machine, (address, size))
    assert node.counters()["region_mtrr_uncached"] == 1
    assert re.search(f"forbid caching at {address:#018x}; a BAR of 4 GiB gets another place .qemu-ptnet --bar-min", node.kmsg())
