# SPDX-License-Identifier: BSD-2-Clause
"""netmap.ko in a guest without any device: /dev/netmap, and switches inside the guest."""

import errno
import signal

import pytest

import netlab
import ptnguest


@pytest.fixture(scope="module")
def booted(kernel, netmap_ko):
    """A guest with other devices that have the ids of ours."""
    with ptnguest.Guest(kernel, netlab.build_initramfs(kernel, netmap_ko), name=f"module-{kernel.line}",
                        args=["-device", "pcie-root-port", "-device", "qemu-xhci"]) as guest:
        yield guest


@pytest.fixture
def guest(booted):
    """The guest of all tests here, with the module loaded and no open file of it; its log stays clean."""
    booted.run("modprobe netmap")
    yield booted
    booted.run("rmmod netmap")
    booted.assert_clean_log()


def test_load_and_unload(guest):
    assert guest.run("stat -c '%F %a' /dev/netmap").out == "character special file 600\n"
    for _ in range(5):
        guest.run("rmmod netmap")
        assert guest.run("test -e /dev/netmap", check=False).rc == 1
        guest.run("modprobe netmap")


def test_devices_of_others(guest):
    others = guest.run("cat /sys/bus/pci/devices/*/uevent").out
    assert "PCI_ID=1B36:000C" in others and "PCI_ID=1B36:000D" in others
    assert guest.run("ls -d /sys/bus/pci/drivers/ptnet*/0*", check=False).rc != 0


@pytest.mark.parametrize("check", ["unbound", "mmap", "keep-mapping", "traffic", "illegal", "wakeup", "epoll", "fork",
                                   "poll-flags", "greedy", "hostile"])
def test_device(guest, check):
    netlab.nmcheck(guest, check)


def test_traffic_between_processes(guest):
    netlab.pkt_gen(guest, "valep:1", guest, "valep:2")
    netlab.stream(guest, "valep:1", guest, "valep:2")


def test_two_receivers(guest):
    """A broadcast reaches every other port of the switch, and no port of another switch."""
    receivers = [guest.spawn(f"pkt-gen -i {port} -f rx -w 0 -k -n 500 -q 60") for port in ("valeb:1", "valeb:2")]
    stranger = guest.spawn("pkt-gen -i valec:1 -f rx -w 0 -k -v")
    for command in (*receivers, stranger):
        command.wait_output(r"^rx on ")
    guest.run("pkt-gen -i valeb:3 -f tx -w 0 -k -n 500")   # fits the rings
    for command in receivers:
        assert netlab.checked(command) == (500, 0, 0, 0, 0)
    stranger.kill(signal.SIGINT)
    assert stranger.wait().out.count("Received 0 packets") == 1


def test_exclusive(guest):
    holder = guest.spawn("nmcheck hold valex:1 exclusive")
    holder.wait_output("^ready$")
    netlab.nmcheck(guest, "refused", "valex:1", str(errno.EBUSY))
    assert "valex:1: tx ring 0 is in use" in guest.kmsg()
    holder.kill()
    holder.wait()
    guest.run("pkt-gen -i valex:1 -f tx -w 0 -n 10")


def test_killed_application(guest):
    """One end is killed in the middle of its work, time after time; the other end never notices."""
    rx = guest.spawn("pkt-gen -i valek:1 -f rx -w 0")
    rx.wait_output(r"^rx on ")
    for _ in range(3):
        tx = guest.spawn("pkt-gen -i valek:2 -f tx -w 0 -T 200")
        tx.wait_output(r"^main: .* Mpps")
        tx.kill(signal.SIGKILL)
        assert tx.wait().rc == 128 + signal.SIGKILL
    assert rx.running
    rx.kill(signal.SIGKILL)
    rx.wait()
    netlab.stream(guest, "valek:2", guest, "valek:1")


def test_unload_is_refused_while_open(guest):
    holder = guest.spawn("nmcheck hold valeu:1")
    holder.wait_output("^ready$")
    refused = guest.run("rmmod netmap", check=False)
    assert refused.rc != 0 and "Resource temporarily unavailable" in refused.out
    holder.kill()
    holder.wait()
