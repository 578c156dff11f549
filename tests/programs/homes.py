# SPDX-License-Identifier: BSD-2-Clause
"""Where programs run: on the host under netmap-run, or in a guest on /dev/netmap.

Both homes take commands of a shell, and have files in a directory `dir`:

    tx = home.spawn("pkt-gen -i vale1:a -f tx")     -> .wait_output(regex), .interrupt(), .wait() -> .rc, .out
    home.write("in.pcap", data); home.read("out.pcap"); home.now()

`ways` are pairs of ports: what goes into the first comes out at the second. `chains` are four, of which
a program is to join the two in the middle, given by their bare names: then what goes into the first comes
out at the last.
"""

import base64
import os
import re
import signal
import struct
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import capture
import ptnguest
from ptnet_real import BUILD, PATIENCE, environment

TOOLS = BUILD / "apps"
NETMAP_RUN = BUILD / "libnetmap/preload/netmap-run"


@dataclass(frozen=True)
class Result:
    rc: int
    out: str


class HostCommand:
    """As ptnguest.Command. What it starts is ended with it."""

    def __init__(self, text, env, cwd):
        self.text, self.output = text, ""
        self._process = subprocess.Popen(["/bin/sh", "-c", text], env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while data := os.read(self._process.stdout.fileno(), 65536):
            with self._changed:
                self.output += data.decode(errors="replace")
                self._changed.notify_all()
        self._process.wait()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_output(self, pattern, timeout=PATIENCE):
        regex = re.compile(pattern, re.M)
        with self._changed:
            self._changed.wait_for(lambda: regex.search(self.output) or self._ended, timeout)
            match = regex.search(self.output)
        assert match, f"`{self.text}` {'has ended' if self._ended else 'runs on'} without printing /{pattern}/: {self.output}"
        return match

    def wait(self, timeout=PATIENCE):
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, timeout), f"`{self.text}` does not end: {self.output}"
        return Result(self._process.returncode, self.output)

    @property
    def running(self):
        return not self._ended

    def kill(self, signo=signal.SIGKILL):
        try:
            os.killpg(self._process.pid, signo)
        except ProcessLookupError:
            pass


class Home:
    """What both have in common."""

    def run(self, text, timeout=PATIENCE):
        """Runs a command that must succeed; returns what it has printed."""
        result = self.spawn(text).wait(timeout)
        assert result.rc == 0, f"`{text}` ends with {result.rc}: {result.out}"
        return result.out

    def send(self, packets, port, rate=2000):
        """Sends packets once, with pkt-gen."""
        self.write("sent.pcap", packets)
        out = self.run(f"pkt-gen -i {port} -f tx -w 0 -P sent.pcap -R {rate}", 60)
        assert re.search(r"^Sent \d+ packets", out, re.M), out

    def wait_for_packets(self, command, name, count):
        """Until there are so many in a capture file that the command writes; returns them."""
        def packets():
            try:
                return capture.read(self.read(name))
            except (AssertionError, struct.error):      # just being written
                return []

        end = time.monotonic() + self.patience
        while len(got := packets()) < count:
            assert command.running, command.output
            assert time.monotonic() < end, f"{len(got)} of {count} packets in {self.patience} s; {command.text}: {command.output}"
            time.sleep(0.1)
        return got

    @staticmethod
    def interrupt(command, timeout=PATIENCE):
        """Ends it as the user would, with control-C; returns its Result."""
        command.kill(signal.SIGINT)
        return command.wait(timeout)


class HostHome(Home):
    """This machine, with a netmapd."""
    name, patience = "host", PATIENCE
    ways = {"vale": ("vale1:a", "vale1:b"), "pipe": ("netmap:chain{1", "netmap:chain}1")}
    chains = {"pipes": ("netmap:p{1", "p}1", "q{1", "netmap:q}1"),
              # For Suricata, which adds the number by itself.
              "bare_pipes": ("netmap:p{0", "netmap:p", "netmap:q", "netmap:q{0"),
              "switches": ("vale1:a", "vale1:b", "vale2:a", "vale2:b")}

    def __init__(self, daemon):
        self.daemon, self.dir = daemon, daemon.place
        self._commands = []

    def spawn(self, text, libraries=()):
        """Programs of this project run by themselves, those of others under netmap-run."""
        path = f"{TOOLS}:{os.environ['PATH']}:/usr/sbin"
        env = environment(self.daemon.path, PATH=path, LD_LIBRARY_PATH=":".join(map(str, libraries)))
        if libraries:
            text = f"exec {NETMAP_RUN} -v {text}"
        self._commands.append(HostCommand(text, env, self.dir))
        return self._commands[-1]

    def write(self, name, data):
        (self.dir / name).write_bytes(data)

    def read(self, name):
        return (self.dir / name).read_bytes()

    def now(self):
        return time.time()

    def clean(self):
        for command in self._commands:
            if command.running:
                command.kill()
                command.wait()


class GuestHome(Home):
    """A guest with netmap.ko: ptnet ports on switches of the host, virtio-net ports on hubs, veth; 0 and 1, 2 and 3 are connected."""
    name, patience = "guest", 20 * ptnguest.guest.PATIENCE
    ways = {"veth": ("netmap:veth0", "netmap:veth1"), "virtio": ("netmap:virtio0", "netmap:virtio1"),
            "ptnet": ("netmap:ptnet0", "netmap:ptnet1"), "vale": ("vale1:a", "vale1:b"),
            "pipe": ("netmap:chain{1", "netmap:chain}1")}
    chains = {kind: (f"netmap:{kind}0", f"{kind}1", f"{kind}2", f"netmap:{kind}3") for kind in ("veth", "virtio", "ptnet")}
    chains["switches"] = ("vale1:a", "vale1:b", "vale2:a", "vale2:b")
    dir = Path("/tmp")

    def __init__(self, guest, libraries):
        """libraries: where those lie of all programs; there are no others in the guest."""
        self.guest = guest
        self._environment = f"cd {self.dir}; export PATH=/bin:/sbin LD_LIBRARY_PATH={libraries}"
        self._commands = []

    def spawn(self, text, libraries=()):
        self._commands.append(self.guest.spawn(f"{self._environment}; {text}"))
        return self._commands[-1]

    def write(self, name, data):
        text = base64.b64encode(data).decode()
        self.guest.run(f"rm -f {self.dir}/{name} {self.dir}/{name}.64; touch {self.dir}/{name}.64")
        for at in range(0, len(text), 48000):
            self.guest.run(f"echo {text[at:at + 48000]} >> {self.dir}/{name}.64")
        self.guest.run(f"base64 -d {self.dir}/{name}.64 > {self.dir}/{name}; rm {self.dir}/{name}.64")

    def read(self, name):
        command = self.guest.spawn(f"cat {self.dir}/{name}")
        assert command.wait(60).rc == 0, command.output
        return command.output_bytes

    def now(self):
        return int(self.guest.run("date +%s").out)

    def clean(self):
        for command in self._commands:
            if command.running:
                command.kill()
                command.wait()
        self.guest.assert_clean_log()
        self.guest.run(f"rm -rf {self.dir}/*; dmesg -c > /dev/null")
