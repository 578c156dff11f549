# SPDX-License-Identifier: BSD-2-Clause
"""/dev/netmap in CSB mode with its sync loop, on external memory, in epoll sets; parameters and debugfs of the module."""

import signal

import pytest

import netlab
import ptnguest

MOSTLY_ONE_KERNEL = True     # see conftest.py

NMKLOOP_SOURCE = netlab.NMCHECK_SOURCE.with_name("nmkloop.c")
MODES = ("busy", "sleep", "eventfds", "no-irq", "one-missing", "direct-tx", "direct-rx", "direct")
PARAMETERS = "/sys/module/netmap/parameters"
DEBUGFS = "/sys/kernel/debug/netmap"


@pytest.fixture(scope="module")
def booted(kernel, netmap_ko):
    initramfs = ptnguest.build_initramfs(kernel, kos=[netmap_ko], programs=[
        (netlab.build_program(NMKLOOP_SOURCE), "bin/nmkloop"), (netlab.build_nmcheck(), "bin/nmcheck")])
    with ptnguest.Guest(kernel, initramfs, name=f"kloop-{kernel.line}") as guest:
        guest.run("mount -t debugfs debugfs /sys/kernel/debug")
        yield guest


@pytest.fixture
def guest(booted):
    """The guest with the module loaded and no open file of it; nothing is left of the test, its log stays clean."""
    booted.run("modprobe netmap")
    yield booted
    assert booted.run(f"cat {DEBUGFS}/ports {DEBUGFS}/regions {DEBUGFS}/macs").out == ""
    booted.run("rmmod netmap")
    booted.assert_clean_log()


def nmkloop(guest, *words, timeout=60):
    """Runs a check of nmkloop.c, which must hold; returns what it has said before "ok"."""
    result = guest.run("nmkloop " + " ".join(words), timeout, check=False)
    assert result.rc == 0 and result.out.endswith("ok\n"), f"nmkloop {' '.join(words)}: {result.out}"
    return result.out[:-3]


@pytest.mark.every_kernel
@pytest.mark.parametrize("check", ["overload", "errors", "illegal", "signal", "memlock", "epoll-first", "timestamp",
                                   "legacy"])
def test_check(guest, check):
    nmkloop(guest, check)


@pytest.mark.parametrize("mode", MODES)
def test_mode(guest, mode):
    nmkloop(guest, "modes", mode)


@pytest.mark.every_kernel
def test_external_memory(guest):
    guest.run("echo 8 >/proc/sys/vm/nr_hugepages")
    nmkloop(guest, "extmem")
    guest.run("echo 0 >/proc/sys/vm/nr_hugepages")


@pytest.mark.parametrize("mode", MODES)
def test_killed_in_the_loop(guest, mode):
    """A fatal signal ends the loop, in each mode, and with it the registration."""
    loop = guest.spawn(f"nmkloop stay valeq:1 {mode}")
    loop.wait_output("^ready$")
    guest.run("sleep 0.2")
    assert loop.running and guest.run(f"grep -c valeq:1 {DEBUGFS}/ports").out == "1\n"
    loop.kill(signal.SIGKILL)
    assert loop.wait(30).rc == 128 + signal.SIGKILL
    assert guest.run(f"cat {DEBUGFS}/ports").out == ""


def test_debugfs(guest):
    ports = [guest.spawn(f"nmcheck hold valed:{name}") for name in "ab"]
    for port in ports:
        port.wait_output("^ready$")
    nmkloop(guest, "modes", "eventfds")
    out = guest.run(f"cat {DEBUGFS}/ports").out
    assert "valed:a: kind vale clients 1 " in out and "  rx 0: users 1 slots 1024 packets 0 " in out
    regions = guest.run(f"cat {DEBUGFS}/regions").out
    assert "buffer: offset " in regions and regions.count("netmap_if: ") == 2
    # Addresses are learnt, shown, and forgotten on demand.
    sender = guest.spawn("nmcheck stream-send valed:c 1000000")
    netlab_port = "valed 02:02:02:02:02:02 valed:c "
    guest.run(f"for i in $(seq 100); do grep -q '{netlab_port}' {DEBUGFS}/macs && exit 0; sleep 0.1; done; exit 1")
    # Who is there and doesn't read: drops, by cause.
    guest.run(f"for i in $(seq 100); do grep -q 'copies [1-9]' {DEBUGFS}/ports && exit 0; sleep 0.1; done; exit 1")
    sender.kill(signal.SIGSTOP)
    # The sender may be in the middle of a sync still, and its address learnt once more.
    guest.run(f"for i in $(seq 50); do echo valed >{DEBUGFS}/macs && sleep 0.1 && [ -z \"$(cat {DEBUGFS}/macs)\" ] && exit 0; done; exit 1")
    refused = guest.run(f"echo valenone >{DEBUGFS}/macs", check=False)
    assert refused.rc != 0 and "No such file or directory" in refused.out
    assert guest.run(f"stat -c %a {DEBUGFS}/ports {DEBUGFS}/macs").out == "400\n600\n"
    for command in (sender, *ports):
        command.kill()
        command.wait()


def test_parameters(booted):
    """Those given at loading, those changed later, and nonsense."""
    booted.run("modprobe netmap if_num=10 ring_num=20 ring_size=40000 buf_num=3000 buf_size=4000")
    assert nmkloop(booted, "pools 1") == "10 2112 20 40064 3000 4032\n"
    booted.run(f"echo 500 >{PARAMETERS}/buf_num; echo 9000 >{PARAMETERS}/buf_size")
    assert nmkloop(booted, "pools 1") == "10 2112 20 40064 500 9024\n"
    assert booted.run(f"cat {PARAMETERS}/buf_num {PARAMETERS}/ring_num").out == "500\n20\n"
    for name, value in (("buf_size", "63"), ("buf_size", "65537"), ("buf_num", "1000001"), ("ring_size", "7"),
                        ("buf_num", "many"), ("if_num", "-1"), ("priv_buf_num", "1000001")):
        assert booted.run(f"echo {value} >{PARAMETERS}/{name}", check=False).rc != 0, name
    assert booted.run(f"cat {PARAMETERS}/buf_size").out == "9000\n"
    # More than there is: refused with a text that says what to set, and everything else goes on.
    booted.run(f"echo 1000000 >{PARAMETERS}/buf_num")
    assert "errno 12" in booted.run("nmkloop pools 1", check=False).out
    assert "buf_num" in "".join(booted.kmsg().splitlines()[-20:])
    booted.run("nmcheck traffic")
    # verbose
    booted.run(f"echo 1 >{PARAMETERS}/verbose; nmcheck traffic")
    assert "netmap: nmcheck (" in booted.kmsg()
    booted.run("rmmod netmap")
    assert booted.run("modprobe netmap buf_size=10", check=False).rc != 0
    assert "parameters: buffer pool" in booted.kmsg()
    booted.assert_clean_log()
