# SPDX-License-Identifier: BSD-2-Clause
"""A guest: QEMU's process, its console log, and commands inside it."""

import contextlib
import itertools
import json
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .channel import Channel
from .env import BUILD, accelerator_args, kvm_usable, ovmf_path, qemu_path

# Emulation is slow, and slower still when other guests run: waits are scaled.
PATIENCE = 1 if kvm_usable() else 8

_CMDLINE = ("console=ttyS0 quiet loglevel=5 panic=-1 mitigations=off tsc=reliable no_timer_check "
            "rcupdate.rcu_expedited=1 random.trust_cpu=on")

# What a healthy kernel never says.
_COMPLAINTS = re.compile(
    r"WARNING: |\bBUG: |kernel BUG at|\bOops\b|Call Trace:|Kernel panic|general protection fault|"
    r"unable to handle|refcount_t|KASAN|KFENCE|UBSAN|INFO: task .* blocked|rcu.*(stall|detected)|soft lockup|"
    r"possible (circular|recursive) locking|suspicious RCU|scheduling while atomic|sleeping function called|"
    r"list_(add|del) corruption|Bad page state|nobody cared|suspected memory leak|use-after-free(?! debug is enabled)|stack guard page|"
    r"still has locks held|bad unlock balance|DMA-API: ")


# What a test has asked for: echo c > /proc/sysrq-trigger, with a second until the restart (kernel.panic=1), or with a kernel that was
# loaded for this, which begins at once.
_WANTED_PANIC = re.compile(r"^[^\n]*sysrq: Trigger a crash(?:(?!Kernel panic|sysrq: ).)*Kernel panic - not syncing: sysrq triggered crash"
                           r"(?:(?!Kernel panic).)*?(?:Rebooting in 1 seconds|Kdump: loaded(?:(?!Kernel panic).)*?(?=^\[ +0\.))",
                           re.M | re.S)


def find_complaints(log):
    """The lines of a kernel log which say that something is wrong with the kernel. A panic that was asked for is none."""
    return [line for line in _WANTED_PANIC.sub("", log).splitlines() if _COMPLAINTS.search(line) and "ommand line: " not in line]


class GuestError(Exception):
    """The guest did not do what it was asked to; the text says what and shows its last output."""


@dataclass(frozen=True)
class Result:
    rc: int
    out: str

    def check(self):
        if self.rc != 0:
            raise GuestError(f"exit status {self.rc}: {self.out}")
        return self


class Command:
    """A command which runs in a guest; see Guest.spawn."""

    def __init__(self, guest, text, ident, state):
        self.text = text
        self._guest, self._ident, self._state = guest, ident, state

    @property
    def output(self):
        """What it has written until now, stdout and stderr together."""
        return self._state.output.decode(errors="replace")

    @property
    def output_bytes(self):
        return bytes(self._state.output)

    @property
    def running(self):
        return self._state.exit is None

    def wait(self, timeout=30):
        """Waits for its end; at most timeout seconds (times PATIENCE under emulation)."""
        self._guest._wait(lambda: not self.running, timeout, f"the end of `{self.text}`", self)
        if self._state.exit == "lost":
            raise GuestError(self._guest._explain(f"the guest went away during `{self.text}`", self))
        return Result(self._state.exit, self.output)

    def wait_output(self, pattern, timeout=30, times=1):
        """Waits until its output has so many matches of a regular expression, and returns the last of these.

        `times` counts, and not the pattern: one that repeats what repeats itself is tried in all ways that there are before it does
        not match, twice as many with each line, and no limit of time ends that."""
        regex = re.compile(pattern, re.M)

        def nth():
            return next(itertools.islice(regex.finditer(self.output), times - 1, None), None)

        what = f"/{pattern}/" if times == 1 else f"/{pattern}/ {times} times"
        self._guest._wait(lambda: nth() or not self.running, timeout, f"{what} in the output of `{self.text}`", self)
        match = nth()
        if not match:
            raise GuestError(self._guest._explain(f"`{self.text}` ended without printing {what}", self))
        return match

    def kill(self, signo=signal.SIGKILL):
        """Sends a signal to the command and its children."""
        self._guest._channel.kill(self._ident, int(signo))


class Guest:
    """A virtual machine, from start() to close(); also a context manager.

    kernel, initramfs   a Kernel, and what build_initramfs() returned
    qemu                the command that takes QEMU's arguments, as a list: a QEMU (default), or qemu-ptnet
    accelerator         "auto", or None when the command chooses one itself, as qemu-ptnet does
    args                further arguments
    firmware            "seabios", QEMU's own, or "ovmf", UEFI
    sleeps              it can suspend to memory: a kernel that QEMU itself puts into memory is put there again on waking up
    cmdline             further words for the kernel; "guest.shell" gives a shell on the console
    name                names its logs, log_dir/NAME.console and .stderr

    The console's log grows over reboots. Calls are for one thread at a time;
    commands started with spawn() run concurrently in the guest.
    """

    def __init__(self, kernel, initramfs, qemu=None, accelerator="auto", args=(), memory="256M", smp=2,
                 machine="q35", firmware="seabios", sleeps=False, cmdline="", name="guest", log_dir=None):
        self.kernel, self.name = kernel, name
        self._dir = Path(tempfile.mkdtemp(prefix="ptnguest-"))
        log_dir = Path(log_dir or BUILD / "test-logs")
        log_dir.mkdir(parents=True, exist_ok=True)
        self.console_path = log_dir / f"{name}.console"
        self.stderr_path = log_dir / f"{name}.stderr"
        self.argv = [
            *(qemu or [qemu_path()]), *(accelerator_args() if accelerator == "auto" else ()),
            "-nodefaults", "-no-user-config", "-display", "none", "-machine", machine, "-m", memory, "-smp", str(smp),
            *(("-bios", ovmf_path()) if firmware == "ovmf" else ()),
            "-kernel", str(kernel.vmlinuz if firmware == "ovmf" or sleeps else kernel.image),
            "-initrd", str(initramfs), "-append", f"{_CMDLINE} {cmdline}".strip(),
            "-chardev", f"file,id=console,path={self.console_path}", "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,path={self._dir}/agent,server=on,wait=off",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,nr=1,name=agent",
            "-qmp", f"unix:{self._dir}/qmp,server=on,wait=off", *args]
        self.process = self._channel = self._qmp = None
        self._boots = 0     # restarts that the user of this class knows of

    # ------------------------------------------------------------ life

    def start(self, timeout=30):
        """Boots the guest, and waits until it takes commands; returns itself."""
        self.launch()
        return self.wait_ready(timeout)

    def launch(self):
        """Starts QEMU without waiting for the guest: for several guests that boot at the same time."""
        self._launched = time.monotonic()
        with open(self.stderr_path, "wb") as err:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=err, stderr=err)
        return self

    def wait_ready(self, timeout=30):
        try:
            self._wait_boot(timeout)
            for _ in range(2):
                if self._clock_is_right():
                    break
                self.kill()
                self._channel.close()
                self.launch()._wait_boot(timeout)
        except BaseException:
            self.close()
            raise
        return self

    def _wait_boot(self, timeout):
        self._channel = Channel(self._connect("agent", timeout))
        self._wait(lambda: self._channel.hellos > 0, timeout, "the guest to boot")
        self._boots = self._channel.hellos

    def _clock_is_right(self):
        """Not so if an emulated CPU had to wait while the kernel measured the rate of its clock: then that runs ahead for
        good, timers fire early, and RCU takes pauses of the host for stalls."""
        uptime = float(self.run("cat /proc/uptime").out.split()[0])
        return uptime < 1.2 * (time.monotonic() - self._launched) + 1

    @property
    def pid(self):
        return self.process.pid

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def reboot(self, timeout=30, hard=False):
        """Restarts the guest, by itself (reboot -f) or by the machine's reset button, until it takes commands again."""
        if hard:
            self.qmp("system_reset")
        else:
            self._channel.run("reboot -f")
        self.wait_restart(timeout)

    def wait_restart(self, timeout=30):
        """Waits until the guest has restarted, for whatever reason, and takes commands again."""
        self._wait(lambda: self._channel.hellos > self._boots, timeout, "the guest to restart")
        self._boots = self._channel.hellos

    def shutdown(self, timeout=15):
        """Switches the guest off from inside; returns QEMU's exit status."""
        self._channel.run("sync; poweroff -f")
        return self.wait_exit(timeout)

    def wait_exit(self, timeout=15):
        """Waits for QEMU's end; returns its exit status."""
        try:
            return self.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise GuestError(self._explain(f"QEMU still runs after {timeout * PATIENCE} s")) from None

    def kill(self, signo=signal.SIGKILL):
        """Kills QEMU, as a crash of it would."""
        self.process.send_signal(signo)
        self.process.wait(15 * PATIENCE)

    def close(self):
        """Ends whatever is left; may be called at any time and more than once."""
        if self.alive:
            self.kill()
        if self._channel:
            self._channel.close()
        if self._qmp:
            with contextlib.suppress(ConnectionError):     # it may have words for a QEMU that has ended
                self._qmp.close()
            self._qmp = None
        shutil.rmtree(self._dir, ignore_errors=True)

    def __enter__(self):
        return self if self.alive else self.start()

    def __exit__(self, *_):
        self.close()

    # -------------------------------------------------------- commands

    def spawn(self, text):
        """Starts a shell command in the guest and returns a Command."""
        return Command(self, text, *self._channel.run(text))

    def run(self, text, timeout=30, check=True):
        """Runs a shell command in the guest; without check=False it must succeed."""
        result = self.spawn(text).wait(timeout)
        if check and result.rc != 0:
            raise GuestError(f"{self.name}: `{text}`: exit status {result.rc}\n{result.out}")
        return result

    def qmp(self, command, **arguments):
        """Gives QEMU a command of its machine protocol; returns what it answers."""
        if not self._qmp:
            sock = self._connect("qmp", 5)
            sock.settimeout(30 * PATIENCE)
            self._qmp = sock.makefile("rw")
            self._qmp.readline()
            self._qmp_call("qmp_capabilities", {})
        return self._qmp_call(command, arguments)

    def _qmp_call(self, command, arguments):
        for line in self._qmp_lines(json.dumps({"execute": command, "arguments": arguments}) + "\n"):
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise GuestError(f"{self.name}: QEMU refuses {command}: {answer['error']['desc']}")
        raise GuestError(self._explain(f"QEMU ended during {command}"))

    def _qmp_lines(self, text):
        """What QEMU says after that; it ends with QEMU."""
        try:
            self._qmp.write(text)
            self._qmp.flush()
            for line in self._qmp:
                yield line
        except ConnectionError:
            return

    # ------------------------------------------------------------ logs

    def kmsg(self):
        """The kernel's log since the last boot."""
        return self.run("dmesg").out

    def console(self):
        """What came over the serial console since start(): warnings and worse, also of a guest that died."""
        return self.console_path.read_text(errors="replace") if self.console_path.exists() else ""

    def assert_clean_log(self):
        """Fails when the kernel complained, now or before a reboot."""
        log = self.console() + (self.kmsg() if self.alive else "")
        complaints = find_complaints(log)
        if complaints:
            raise AssertionError(f"{self.name}: its kernel complains: {'; '.join(complaints[:5])}\n{_tail(log, 60)}")

    # -------------------------------------------------------- internal

    def _connect(self, name, timeout):
        """Connects to one of QEMU's sockets, as soon as it is there."""
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(str(self._dir / name))
                return sock
            except OSError:
                sock.close()
            if not self.alive or time.monotonic() > deadline:
                raise GuestError(self._explain("QEMU did not start"))
            time.sleep(0.02)

    def _wait(self, condition, timeout, what, command=None):
        limit = timeout * PATIENCE
        self._channel.wait_for(lambda: condition() or self._channel.closed, limit)
        if condition():
            return
        if self._channel.closed:
            raise GuestError(self._explain(f"QEMU ended while waiting for {what}", command))
        raise GuestError(self._explain(f"waited {limit} s for {what}", command, self._where_all_are()))

    def _where_all_are(self):
        """Where in the kernel each process of the guest is, or sleeps: what a wait in vain is explained by."""
        command = self.spawn("cd /proc; for p in [0-9]*; do [ ! -e $p/exe ] || echo \"$p $(cat $p/comm $p/stack | tr '\\n' ' ')\"; done; "
                             "dmesg | tail -n 60")
        self._channel.wait_for(lambda: not command.running or self._channel.closed, 10 * PATIENCE)
        return command.output or "it runs nothing any more: not even a shell"

    def _explain(self, what, command=None, where=""):
        """An error text with all that helps to understand it."""
        status = "never started" if self.process is None else \
            "runs" if self.alive else f"ended with {self.process.returncode}"
        parts = [f"{self.name}: {what} (QEMU {status}; logs: {self.console_path} {self.stderr_path})"]
        stderr = self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""
        for title, text in (("output", command.output if command else ""), ("QEMU says", stderr),
                            ("console", self.console()), ("where its processes are", where)):
            if text.strip():
                parts.append(f"--- {title}:\n{_tail(text, 400 if text is where else 40)}")
        return "\n".join(parts)


def _tail(text, lines):
    return "\n".join(text.splitlines()[-lines:])
