# SPDX-License-Identifier: BSD-2-Clause
"""Network namespaces with veth pairs, netmapd-nic, and programs that use an interface through it (nicuse)."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time

from ptnet_real import BUILD, PATIENCE, SANITIZERS, wait_until

NETMAPD_NIC = BUILD / "nic/netmapd-nic"
NICUSE = BUILD / "tests/daemon/nicuse"


def why_no_nic():
    if os.geteuid() != 0:
        return "not root"
    script = "ip link add nic0 type veth peer name nic1"
    child = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True)
    if child.returncode:
        return child.stderr.strip() or "no network namespace can be made"
    try:
        socket.socket(44, socket.SOCK_RAW, 0).close()  # AF_XDP
    except OSError as e:
        return f"AF_XDP: {e}"
    return None


class Namespace:
    """A network namespace, which lives as long as a process of ours in it."""

    def __init__(self):
        script = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; ip link set lo up; echo; read x"
        self.keeper = subprocess.Popen(["unshare", "-n", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.keeper.stdout.readline()

    def command(self, *args):
        return ["nsenter", "-t", str(self.keeper.pid), "-n", *map(str, args)]

    def run(self, *args, check=True):
        child = subprocess.run(self.command(*args), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert not check or child.returncode == 0, f"{args}: {child.stderr}"
        return child.stdout if check else child

    def ip(self, text):
        return self.run("ip", *text.split())

    def link(self, name):
        """What ip says of an interface; None: there is none."""
        child = self.run("ip", "-j", "-d", "link", "show", "dev", name, check=False)
        return json.loads(child.stdout)[0] if child.returncode == 0 else None

    def program(self, name):
        """The id of the XDP program on it; None: there is none."""
        link = self.link(name)
        return link and link.get("xdp", {}).get("prog", {}).get("id")

    def offload(self, name, feature):
        lines = self.run("ethtool", "-k", name).splitlines()
        return next(line.split()[1] for line in lines if line.strip().startswith(f"{feature}:"))

    def close(self):
        self.keeper.stdin.close()
        self.keeper.stdout.close()
        self.keeper.wait()


class Lines:
    """A child's stdout, line by line, with a bound of time."""

    def __init__(self, process):
        self.process = process
        self.seen = []
        self.rest = b""

    def next(self, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while b"\n" not in self.rest:
            ready = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]
            assert ready, f"no line within {seconds} s, after {self.seen}"
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, f"it has ended, after {self.seen}: {self.process.wait()}"
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        self.seen.append(line.decode())
        return self.seen[-1]

    def expect(self, *starts, skip=("changed",)):
        """The next line, but for those that begin with a word of `skip`, begins with one of these."""
        while True:
            line = self.next()
            if line.startswith(starts):
                return line
            assert line.split()[0] in skip, f"{starts} should have come, not {line!r}, after {self.seen}"

    def ends(self):
        return not select.select([self.process.stdout], [], [], 0)[0]


class Nicuse:
    """A program that uses an interface; it opens and binds at once."""

    def __init__(self, lab, interface, *options, ns=None, uid=None, **named):
        command = [NICUSE, interface, *options, *(f"{k.replace('_', '-')}={v}" for k, v in named.items())]
        # The user changes inside of the namespace, for only root can enter it.
        prefix = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid is not None else []
        self.process = subprocess.Popen(
            (ns or lab.ns).command(*prefix, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=lab.environment()
        )
        self.lines = Lines(self.process)
        self.pid = self.process.pid

    def expect(self, *starts, **kwargs):
        return self.lines.expect(*starts, **kwargs)

    def bound(self):
        """Waits until packets flow. The mode."""
        self.expect("known")
        while True:
            line = self.expect("opened", "bound")
            if line.startswith("bound"):
                return line.split()[1]

    def failed(self):
        """(errno, text)"""
        number, text = self.expect("failed", skip=("changed", "known", "opened", "socket")).split(maxsplit=2)[1:]
        return int(number), text

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def send(self, count, length):
        self.say(f"send {count} {length}")
        self.expect(f"sent {count}")

    def stats(self):
        """Received, bytes, echoed, bad, dropped."""
        self.say("stats")
        return [int(n) for n in self.expect("stats").split()[1:]]

    def receives(self, count):
        wait_until(lambda: self.stats()[0] >= count, f"{count} frames come")

    def close(self):
        """Until the kernel has let go. The errno."""
        self.say("close")
        number = int(self.expect("gone", skip=("changed", "known", "opened", "bound", "socket", "failed")).split()[1])
        self.process.wait(PATIENCE)
        return number

    def helper(self):
        """The pid of its netmapd-nic, a child of it."""
        return int(subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=True).stdout)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Lab:
    """A namespace with a veth pair nic0, nic1, and what runs in it."""

    def __init__(self, place):
        self.place = place
        self.spaces = []
        self.users = []
        self.services = []
        self.config = place / "nic.conf"
        self.state = place / "state"
        self.ns = self.namespace()
        self.program = self.wrapper("netmapd-nic", self.state)
        self.pair("nic0", "nic1")

    def wrapper(self, name, state, preload="", prefix=""):
        """netmapd-nic with files of this test's own."""
        path = self.place / name
        log = self.place / "netmapd-nic.log"
        path.write_text(f'#!/bin/sh\nLD_PRELOAD="{preload}" exec {prefix} {NETMAPD_NIC} '
                        f'--config {self.config} --state {state} "$@" 2>>{log}\n')
        path.chmod(0o755)
        return path

    def environment(self):
        return {**os.environ, **SANITIZERS, "NETMAPD_NIC": str(self.program)}

    def namespace(self):
        self.spaces.append(Namespace())
        return self.spaces[-1]

    def pair(self, one, other, queues=1, mtu=1500, other_ns=None):
        queues = f"numrxqueues {queues} numtxqueues {queues}"
        self.ns.ip(f"link add {one} mtu {mtu} {queues} type veth peer name {other} mtu {mtu} {queues}")
        if other_ns:
            self.ns.ip(f"link set {other} netns {other_ns.keeper.pid}")
        self.ns.ip(f"link set {one} up")
        (other_ns or self.ns).ip(f"link set {other} up")
        # Each gets its carrier a little later.
        wait_until(lambda: self.ns.link(one)["operstate"] == (other_ns or self.ns).link(other)["operstate"] == "UP", "the pair is up")

    def use(self, interface, **named):
        self.users.append(Nicuse(self, interface, **named))
        return self.users[-1]

    def serve(self, config=None, wait=True, prefix=()):
        """Starts the service. Its socket."""
        if config is not None:
            self.config.write_text(config)
        path = self.place / "nic.sock"
        self.services.append(
            subprocess.Popen(
                self.ns.command(*prefix, NETMAPD_NIC, "--socket", path, "--config", self.config, "--state", self.state),
                stderr=subprocess.PIPE, env={**os.environ, **SANITIZERS}, text=True,
            )
        )
        if wait:
            assert self.services[-1].stderr.readline() == f"netmapd-nic: serves {path}\n"
        return path

    def claims(self):
        """Notes of what is to be put back; one may go while they are read."""
        found = []
        for path in self.state.glob("[0-9]*-*") if self.state.exists() else []:
            with contextlib.suppress(FileNotFoundError):
                found.append(path.read_text().split())
        return found

    def close(self):
        for user in self.users:
            user.kill()
        for service in self.services:
            if service.poll() is None:
                service.send_signal(signal.SIGTERM)
            service.wait(PATIENCE)
            service.stderr.close()
        wait_until(lambda: not any("using" in c for c in self.claims()), "all interfaces are given back")
        for space in self.spaces:
            space.close()
