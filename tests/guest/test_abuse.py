# SPDX-License-Identifier: BSD-2-Clause
"""/dev/netmap under abuse: nmabuse, interfaces and namespaces that come and go, the ptnet driver unbound and bound.

As part of `make test` a bounded number of processes on the stock kernel. `make soak-module MINUTES=30` is the same on the
debug kernel, with KASAN, lockdep, kmemleak and allocations that fail.
"""

import itertools
import os
import random
import re
import time

import pytest

import netlab
import ptnguest

MOSTLY_ONE_KERNEL = True     # see conftest.py

SOURCE = netlab.NMCHECK_SOURCE.with_name("nmabuse.c")
MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))     # 0: the short form
SEED = int(os.environ.get("SOAK_SEED") or "0") or random.SystemRandom().randrange(1, 1 << 31)

# A busy host, emulation and KASAN together: what takes long is no fault. (What hangs is: nothing would end.)
PATIENT = "echo 300 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout; echo 60 >/proc/sys/kernel/watchdog_thresh; true"

# What goes on beside it, each in a loop of its own.
DISTURBANCES = (
    # An interface that is unplugged, with whoever has it.
    "while :; do ip link add nma0 type veth peer name nma1; ip link set nma0 up; ip link set nma1 up; sleep 0.$((RANDOM % 9)); "
    "ip link set nma0 down; sleep 0.$((RANDOM % 3)); ip link del nma0; done",
    # One that moves to another namespace, and that goes with what is there.
    "n=0; while :; do n=$((n + 1)); ip netns add abuse$n; ip link set nma1 netns abuse$n; sleep 0.$((RANDOM % 5)); ip netns del abuse$n; "
    "sleep 0.2; done",
    "while :; do rmmod netmap && modprobe netmap; sleep 1; cat /sys/kernel/debug/netmap/*; done",
    "while :; do for f in $(ls -d /sys/bus/pci/drivers/ptnet*/0*); do d=${f%/*}; echo ${f##*/} >$d/unbind; sleep 0.1; "
    "echo ${f##*/} >$d/bind; done; sleep 0.$((RANDOM % 9)); ip link set data up; done",
    # Packets for the stacks, and for the host rings.
    "ping -i 0.05 10.0.0.99",
)


@pytest.fixture
def victim(kernel, netmap_ko, request):
    """A guest with a passed-through port on a switch where there is traffic."""
    initramfs = ptnguest.build_initramfs(kernel, kos=[netmap_ko], modules=["veth"], programs=[
        (netlab.build_program(SOURCE), "bin/nmabuse"), ("ip", "sbin/ip")])
    with netlab.Daemon(ptnguest.BUILD / "test-logs/abuse-netmapd.stderr", "--workers", "1") as daemon:
        memory = "1024M" if kernel.line == "debug" else "512M"
        node = netlab.Node(kernel, initramfs, daemon, 1, f"abuse-{kernel.line}", memory=memory, cmdline="kmemleak=on")
        with node.start(120) as guest:     # the debug kernel takes its time
            guest.run(PATIENT)
            guest.run("mount -t debugfs debugfs /sys/kernel/debug; modprobe veth; mkdir -p /run/netns; ln -sf /sbin/ip /bin/ip", 60)
            guest.load()
            guest.run("ip neigh add 10.0.0.99 lladdr 02:00:00:00:00:99 dev data; chmod 666 /dev/netmap")
            yield guest
            assert daemon.alive


def let_allocations_fail(guest):
    """Where the kernel can: nmabuse says which one; not of whole pages, of which the kernel would tell."""
    guest.run("cd /sys/kernel/debug; [ ! -d failslab ] || { echo N >failslab/ignore-gfp-wait; echo 0 >failslab/verbose; "
              "echo 20 >fail_page_alloc/min-order; }")


def end(guest, disturbances):
    for command in disturbances:
        command.kill()
        command.wait(60)
    guest.run("for p in $(ls /var/run/netns /run/netns 2>/dev/null); do ip netns del $p; done; ip link del nma0; "
              "for i in nmp0 nmp1; do ip link del $i; done; true", 60)


def unload(guest):
    """Devices that were left on switches, and persistent ports, go with the module; it may be gone: a modprobe was killed."""
    guest.run("for i in $(seq 100); do [ -d /sys/module/netmap ] || exit 0; rmmod netmap && exit 0; sleep 0.2; done; "
              "cat /sys/kernel/debug/netmap/ports; exit 1", 120)


def memory_leaks(guest):
    """What kmemleak has found after the module is gone; nothing where there is no such thing."""
    guest.run("f=/sys/kernel/debug/kmemleak; [ ! -e $f ] || { echo scan >$f; sleep 6; echo scan >$f; }", 300)
    return guest.run("cat /sys/kernel/debug/kmemleak 2>/dev/null; true", 60).out


def abuse(guest, seconds, processes, seed, rounds=""):
    disturbances = [guest.spawn(text) for text in DISTURBANCES]
    # Its seconds are the clock's, and emulation doesn't lengthen them. Before the test's own limit, so that the guest is asked.
    result = guest.run(f"nmabuse {seconds} {processes} {seed} {rounds}", seconds / ptnguest.PATIENCE + 60, check=False)
    assert result.rc == 0 and result.out.endswith("ok\n"), result.out
    end(guest, disturbances)
    guest.assert_clean_log()
    unload(guest)
    leaks = memory_leaks(guest)
    guest.run("modprobe netmap", 60)
    guest.assert_clean_log()
    assert leaks == "", leaks
    return result.out.splitlines()[-2]


def long_tasks(said):
    """How often what takes long was done, and cut short."""
    return [int(times) for times in re.findall(r"\d+", said.partition(";")[2])]


def test_abuse(victim):
    print(f"seed {SEED}")
    let_allocations_fail(victim)
    if not MINUTES:
        said = abuse(victim, 600, 6, SEED, 30)
        assert all(long_tasks(said)), said
        return
    start, done = time.monotonic(), [0] * 4
    for n in itertools.count():
        said = abuse(victim, 120, 8, SEED + n)
        victim.load()
        print(f"{(time.monotonic() - start) / 60:.1f} minutes, seed {SEED + n}: {said}", flush=True)
        done = list(map(sum, zip(done, long_tasks(said), strict=True)))
        if time.monotonic() - start > MINUTES * 60:
            assert all(done), done
            return
