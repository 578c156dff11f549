# SPDX-License-Identifier: BSD-2-Clause
"""The harness itself: boots each kernel with a plain QEMU."""

import signal
import subprocess
import time

import pytest

import ptnguest


@pytest.fixture(scope="module")
def initramfs(kernel):
    return ptnguest.build_initramfs(kernel, programs=["ethtool"], modules=["veth", "e1000"])


def test_commands(kernel, initramfs, make_guest):
    guest = make_guest(initramfs)
    assert guest.run("uname -r").out.strip() == kernel.version
    assert guest.run("exit 7", check=False).rc == 7
    assert guest.run("kill -TERM $$", check=False).rc == 128 + signal.SIGTERM
    with pytest.raises(ptnguest.GuestError, match="exit status 3"):
        guest.run("exit 3")

    # Both streams, a megabyte, any byte.
    assert guest.run("echo out; echo err >&2").out == "out\nerr\n"
    big = guest.spawn("head -c 1000000 /dev/zero | tr '\\0' '\\377'; printf '\\000\\001'")
    assert big.wait().rc == 0
    assert big.output_bytes == b"\xff" * 1000000 + b"\0\1"

    # Programs of the host with their libraries, and modules with those they need.
    assert "ethtool version" in guest.run("ethtool --version").out
    guest.run("modprobe veth && modprobe e1000 && ip link add v0 type veth peer name v1")
    assert "driver: veth" in guest.run("ethtool -i v0").out
    assert guest.shutdown() == 0


_THREADS_THAT_EXIT = """
#include <pthread.h>
#include <stdio.h>
static void *leave(void *arg) { pthread_exit(arg); }
static void *stay(void *arg) { for (;;) pthread_testcancel(); }
int main(void)
{
	pthread_t one, other;
	void *said;
	pthread_create(&one, NULL, leave, "gone");
	pthread_create(&other, NULL, stay, NULL);
	pthread_join(one, &said);
	pthread_cancel(other);
	pthread_join(other, NULL);
	return puts(said) < 0;
}
"""


@pytest.mark.one_kernel
def test_threads_that_exit(kernel, make_guest, tmp_path):
    """The C library loads a library for that which no program is linked with."""
    (tmp_path / "threads.c").write_text(_THREADS_THAT_EXIT)
    subprocess.run(["cc", "-pthread", "-o", tmp_path / "threads", tmp_path / "threads.c"], check=True)
    guest = make_guest(ptnguest.build_initramfs(kernel, programs=[tmp_path / "threads"]))
    assert guest.run("threads").out == "gone\n"


@pytest.mark.one_kernel
def test_concurrent_commands(initramfs, make_guest):
    guest = make_guest(initramfs)
    server = guest.spawn("echo ready; nc -l -p 5000; echo done")
    server.wait_output("^ready$")
    other = guest.spawn("while :; do echo tick; sleep 0.1; done")
    other.wait_output("tick\ntick")
    assert server.running
    # The server may not listen yet.
    guest.run("for i in $(seq 50); do echo hello | nc 127.0.0.1 5000 && break; sleep 0.2; done")
    assert server.wait().out == "ready\nhello\ndone\n"

    assert other.running
    other.kill(signal.SIGINT)
    assert other.wait().rc == 128 + signal.SIGINT
    before = time.monotonic()
    for _ in range(20):
        guest.run("true")
    assert time.monotonic() - before < 20 * 5, "a command takes too long to be useful"


@pytest.mark.one_kernel
def test_output_that_comes_again_and_again(initramfs, make_guest):
    """Each time is waited for on its own, and what does not come ends in time, however often the rest came."""
    guest = make_guest(initramfs)
    talker = guest.spawn("for n in $(seq 60); do echo count $n; echo other; done; sleep 1000")
    assert [talker.wait_output(r"^count (.*)\n", times=n)[1] for n in (1, 2, 60)] == ["1", "2", "60"]
    with pytest.raises(ptnguest.GuestError, match=r"count .* 61 times(.|\n)*processes are:\n(.|\n)*\d+ sleep .*nanosleep"):
        talker.wait_output(r"^count (.*)\n", 1, times=61)
    talker.kill()
    with pytest.raises(ptnguest.GuestError, match="ended without printing .* 61 times"):
        talker.wait_output(r"^count (.*)\n", times=61)


@pytest.mark.one_kernel
def test_reboot_and_death(initramfs, make_guest):
    guest = make_guest(initramfs)
    guest.run("touch /tmp/here")
    sleeper = guest.spawn("sleep 1000")
    guest.reboot()
    with pytest.raises(ptnguest.GuestError, match="went away"):
        sleeper.wait()
    guest.run("test ! -e /tmp/here")
    assert guest.qmp("query-status")["status"] == "running"
    guest.reboot(hard=True)
    sleeper = guest.spawn("sleep 1000")
    guest.kill()
    with pytest.raises(ptnguest.GuestError):
        sleeper.wait()
    assert not guest.alive
    guest.close()


@pytest.mark.one_kernel
def test_complaints_are_found(initramfs, make_guest):
    guest = make_guest(initramfs)
    guest.assert_clean_log()
    guest.run("echo 'WARNING: CPU: 0 PID: 1 at drivers/net/x.c:1' > /dev/kmsg")
    with pytest.raises(AssertionError, match="drivers/net/x.c"):
        guest.assert_clean_log()
    # Also when the guest died of it. This one reboots at once.
    guest.spawn("echo c > /proc/sysrq-trigger")
    guest.wait_restart()
    assert any("Kernel panic" in line for line in ptnguest.find_complaints(guest.console()))
    guest.console_path.unlink()
    guest.close()


def test_wanted_panic_is_no_complaint():
    """What the kernel says then isn't; what it says before and after is, and what looks like it without having been asked for."""
    wanted = "\n".join(["[ 7.5] sysrq: Trigger a crash", "[ 7.5] Kernel panic - not syncing: sysrq triggered crash", "[ 7.5] Call Trace:",
                        "[ 7.5]  <TASK>", "[ 7.6] Kernel Offset: disabled", "[ 7.6] Rebooting in 1 seconds.."])
    assert ptnguest.find_complaints(f"[ 7.4] fine\n{wanted}\n[ 0.1] fine\n{wanted}") == []
    assert ptnguest.find_complaints(f"[ 7.4] BUG: a\n{wanted}\n[ 0.1] BUG: b\n{wanted}") == ["[ 7.4] BUG: a", "[ 0.1] BUG: b"]
    other_kernel = wanted.replace(" Call Trace:", " Kdump: loaded\n[ 7.5] Call Trace:").replace("Rebooting in 1 seconds..", "last")
    assert ptnguest.find_complaints(f"{other_kernel}\n[    0.000000] BUG: d\n[ 0.1] fine") == ["[    0.000000] BUG: d"]
    # After a crash on another CPU than the first the first thing it says is later.
    assert ptnguest.find_complaints(f"{other_kernel}\n[    0.084440] CPU topo: fine") == []
    assert ptnguest.find_complaints(other_kernel.replace("Kdump: loaded", "") + "\n[    0.000000] fine")
    for broken in (wanted.replace("sysrq triggered crash", "Fatal exception"), wanted.replace("sysrq: ", ""),
                   wanted.replace("sysrq: Trigger a crash", "BUG: c\n[ 7.5] sysrq: Trigger a crash")):
        assert ptnguest.find_complaints(broken)


@pytest.mark.one_kernel
def test_qemu_that_does_not_start(initramfs, make_guest):
    guest = make_guest(initramfs, start=False, args=["-device", "no-such-device"])
    with pytest.raises(ptnguest.GuestError, match="no-such-device"):
        guest.start()
    assert not guest.alive


@pytest.mark.one_kernel
def test_initramfs_is_built_once(kernel, initramfs, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho 1\n")
    program.chmod(0o755)
    first = ptnguest.build_initramfs(kernel, programs=[program])
    made = first.stat().st_ino
    assert ptnguest.build_initramfs(kernel, programs=[program]) == first
    assert first.stat().st_ino == made
    program.write_text("#!/bin/sh\necho 22\n")
    assert ptnguest.build_initramfs(kernel, programs=[program]) != first
