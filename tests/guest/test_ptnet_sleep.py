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


@pytest.fixture
def hibernating(pair, kernel, netmap_ko, tmp_path):
    """A third guest on the switch, with a disk for its memory."""
    disk = tmp_path / "swap"
    with open(disk, "wb") as f:
        f.truncate(512 << 20)
    initramfs = netlab.build_initramfs(kernel, netmap_ko, modules=["virtio_blk"])
    node = netlab.Node(kernel, initramfs, pair[0].daemon, 3, f"hibernates-{kernel.line}", cmdline="nokaslr",
                       args=["-drive", f"file={disk},if=none,id=disk,format=raw,cache=unsafe", "-device", "virtio-blk-pci,drive=disk"])
    with netlab.running([node]):
        node.load()
        node.run("modprobe virtio_blk; while ! [ -b /dev/vda ]; do sleep 0.1; done; mkswap /dev/vda; swapon /dev/vda")
        yield node


def hibernate(node):
    node.run("echo shutdown > /sys/power/disk")
    node.spawn("echo disk > /sys/power/state")
    assert node.wait_exit(60) == 0


def wake(node):
    """What was said to the machine that sleeps is answered by nobody: it knows this one's connection no more."""
    node.launch().wait_ready()
    node.spawn("modprobe virtio_blk; while ! [ -b /dev/vda ]; do sleep 0.1; done; cat /sys/block/vda/dev > /sys/power/resume")


def test_hibernation(pair, hibernating):
    """The machine is switched off with its memory on the disk. Another QEMU, with another port of the same name, has it again."""
    b = pair[1]
    b.ping(hibernating)
    hibernating.spawn("while :; do echo what was in memory | nc -l -p 5000; done")
    hibernate(hibernating)
    wake(hibernating)
    heard = b.run(f"while ! nc -w 1 {hibernating.address} 5000 2> /dev/null; do sleep 0.1; done", 60)
    assert heard.out == "what was in memory\n"


def test_hibernation_elsewhere(pair, hibernating):
    """The other QEMU's port has its rings elsewhere: the guest leaves alone what is where they were, says so, and goes on."""
    hibernate(hibernating)
    hibernating.argv = [arg.replace("ifname=vale1:3,", "ifname=vale1:3@conf:slots=512,") for arg in hibernating.argv]
    wake(hibernating)
    said = "its rings are elsewhere now"
    assert said in netlab.look_until(hibernating.console, lambda console: said in console, 300)
    pair[1].ping(pair[0])
