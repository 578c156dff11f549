# SPDX-License-Identifier: BSD-2-Clause
"""/dev/netmap that was opened to users: which ports need CAP_NET_ADMIN, how much memory is theirs, and that they have turns."""

import re

import pytest

import netlab
import ptnguest

MOSTLY_ONE_KERNEL = True     # see conftest.py

SOURCE = netlab.NMCHECK_SOURCE.with_name("nmperm.c")
TURNS_SOURCE = netlab.NMCHECK_SOURCE.with_name("nmturns.c")
PARAMETERS = "/sys/module/netmap/parameters"


@pytest.fixture(scope="module")
def booted(kernel, netmap_ko):
    initramfs = ptnguest.build_initramfs(kernel, kos=[netmap_ko], modules=["veth"], programs=[
        (netlab.build_program(SOURCE), "bin/nmperm"), (netlab.build_program(TURNS_SOURCE), "bin/nmturns"),
        netlab.VALE_CTL, ("ip", "sbin/ip")])
    with ptnguest.Guest(kernel, initramfs, name=f"perm-{kernel.line}") as guest:
        guest.run("mount -t debugfs debugfs /sys/kernel/debug; modprobe veth; /sbin/ip link add nmv0 type veth peer name nmv1")
        yield guest


@pytest.fixture
def guest(booted):
    """The guest with the module loaded and its device open to all; nothing is left of the test."""
    booted.run("modprobe netmap; chmod 666 /dev/netmap")
    yield booted
    booted.run("for f in /sys/kernel/debug/netmap/regions; do [ -z \"$(cat $f)\" ] || { cat $f; exit 1; }; done; rmmod netmap")
    booted.assert_clean_log()


def program(guest, *words):
    result = guest.run(" ".join(words), check=False)
    assert result.rc == 0 and result.out.endswith("ok\n"), f"{' '.join(words)}: {result.out}"
    return result.out[:-3]


def nmperm(guest, *words):
    return program(guest, "nmperm", *words)


@pytest.mark.every_kernel
def test_interfaces_need_the_capability(guest):
    """Real ones, those that are made, those on a switch: EPERM with a text, and nothing has changed."""
    guest.run("vale-ctl -n nmp0; vale-ctl -a valesys:nmv0")
    nmperm(guest, "refused", "nmv1", "valesys:nmv0", "nmp0")
    assert "valesys:nmv0" in guest.run("vale-ctl").out
    guest.run("vale-ctl -d valesys:nmv0; vale-ctl -r nmp0")
    assert re.search(r"nmperm \(\d+\): nmv1: .* needs CAP_NET_ADMIN", guest.kmsg())


def test_other_ports_do_not(guest):
    nmperm(guest, "allowed")


def test_the_capability_counts_where_the_interface_is(guest):
    nmperm(guest, "namespace")


@pytest.mark.every_kernel
def test_locked_memory_is_counted_per_user(guest):
    nmperm(guest, "memlock")


def test_regions_are_bounded(guest):
    """One, and all together: the error names the parameter."""
    total = int(re.search(r"MemTotal: *(\d+)", guest.run("cat /proc/meminfo").out)[1])
    assert nmperm(guest, "region", "128") == "errno 0\n"
    assert nmperm(guest, "region", "4096") == "errno 12\n"
    said = re.search(r"a region of (\d+) KiB: one may have (\d+) KiB\. .* region_max_mb", guest.kmsg())
    assert said and abs(int(said[2]) - total // 4) <= 1, guest.kmsg()
    guest.run(f"echo 16 >{PARAMETERS}/regions_max_mb")
    assert nmperm(guest, "region", "256") == "errno 12\n"
    assert re.search(r"all may have 16384 KiB, and have 0\. .* regions_max_mb", guest.kmsg())
    guest.run(f"echo 4 >{PARAMETERS}/region_max_mb")
    assert nmperm(guest, "region", "256") == "errno 12\n"
    guest.run(f"echo 0 >{PARAMETERS}/region_max_mb; echo 0 >{PARAMETERS}/regions_max_mb")
    assert nmperm(guest, "region", "256") == "errno 0\n"


@pytest.mark.every_kernel
def test_others_go_on_while_a_region_is_made(guest):
    """Its memory is had and cleared without the core lock."""
    print(nmperm(guest, "others"))


@pytest.mark.every_kernel
def test_what_is_given_back_can_be_had_again(guest):
    """Two regions of 32 MiB don't fit: the second one waits for the pages of the first."""
    guest.run(f"echo 40 >{PARAMETERS}/regions_max_mb")
    try:
        nmperm(guest, "again", "100")
    finally:
        guest.run(f"echo 0 >{PARAMETERS}/regions_max_mb")


@pytest.fixture
def small_buffers(guest):
    """Hundreds of thousands of slots are some 30 MiB."""
    guest.run(f"echo 64 >{PARAMETERS}/priv_buf_size; echo 16384 >{PARAMETERS}/nic_slots")
    yield
    guest.run(f"echo 0 >{PARAMETERS}/priv_buf_size; echo 1024 >{PARAMETERS}/nic_slots")


@pytest.mark.every_kernel
def test_others_go_on_while_slots_are_filled(guest, small_buffers):
    """A port that is being made doesn't hold the core lock all the time."""
    print(program(guest, "nmturns", "others"))


@pytest.mark.every_kernel
def test_who_wants_the_same_port_waits_for_it(guest, small_buffers):
    print(program(guest, "nmturns", "same"))


@pytest.mark.every_kernel
def test_who_makes_a_port_and_who_waits_can_be_killed(guest, small_buffers):
    program(guest, "nmturns", "killed")


@pytest.mark.every_kernel
def test_a_device_goes_while_its_port_is_made(guest, small_buffers):
    print(program(guest, "nmturns", "gone", "nmv0", "nmv1"))
