# SPDX-License-Identifier: BSD-2-Clause
"""A guest with passed-through ports sleeps and wakes up."""

import contextlib
import time

import pytest

import netlab
import ptnguest

MOSTLY_ONE_KERNEL = True     # see conftest.py


@pytest.fixture(scope="module")
def pair_of_kernel(kernel, netmap_ko):
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"sleep-{kernel.line}.netmapd") as daemon:
        initramfs = netlab.build_initramfs(kernel, netmap_ko)
        nodes = [netlab.Node(kernel, initramfs, daemon, i, f"sleep-{kernel.line}-{i}", second=i == 1, sleeps=i == 1)
                 for i in (1, 2)]
        with netlab.running(nodes):
            yield nodes


@pytest.fixture
def pair(pair_of_kernel):
    for node in pair_of_kernel:
        node.load()
    yield pair_of_kernel
    for node in pair_of_kernel:
        node.assert_clean_log()


def sleep(node, how):
    """The machine sleeps, and is woken. deep: QEMU resets the devices then; devices: only they sleep, and stay as they are."""
    node.run(f"echo {'devices' if how == 'devices' else 'none'} > /sys/power/pm_test; "
             "echo 1 > /sys/module/suspend/parameters/pm_test_delay")   # seconds, in which the kernel spins
    asleep = node.spawn("echo mem > /sys/power/state")
    # After the first time QEMU wakes the machine again by itself, at once.
    while how == "deep" and asleep.running:
        if node.qmp("query-status")["status"] == "suspended":
            with contextlib.suppress(ptnguest.GuestError):      # refused: it has just done so
                node.qmp("system_wakeup")
            break
        time.sleep(0.1)
    result = asleep.wait(60)
    assert result.rc == 0, result.out
    assert node.kmsg().count("PM: suspend exit") > 0


@pytest.mark.parametrize("how", ["deep", "devices"])
def test_stack(pair, how):
    a, b = pair
    for _ in range(2):
        sleep(a, how)
        a.ping(b)
    netlab.stream(a, "data", b, "data")
    netlab.stream(b, "data", a, "data")


@pytest.mark.parametrize("how", ["deep", "devices"])
def test_application(pair, how):
    """An application sends, another one waits: both go on."""
    a, b = pair
    tx = a.spawn("pkt-gen -i data -f tx -w 0 -T 300 -R 2000")
    tx.wait_output(netlab.SOME_PACKETS)
    waiting = a.spawn("nmcheck stream-receive more 100")
    waiting.wait_output("^ready$")
    sleep(a, how)
    rx = b.spawn("pkt-gen -i data -f rx -w 0 -n 1000")
    assert rx.wait(60).rc == 0 and "Received 1000 packets" in rx.output, rx.output
    assert tx.running and waiting.running
    tx.kill()
    waiting.kill()
    tx.wait()
    waiting.wait()
    a.ping(b)
    netlab.stream(a, "data", b, "data")
