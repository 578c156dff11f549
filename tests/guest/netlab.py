# SPDX-License-Identifier: BSD-2-Clause
"""Guests with netmap.ko, alone or on a switch of a netmapd of their own."""

import hashlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import ptnguest

NMCHECK_SOURCE = Path(__file__).resolve().parent / "nmcheck.c"
PTCHECK_SOURCE = NMCHECK_SOURCE.with_name("ptcheck.c")
CARDCHECK_SOURCE = NMCHECK_SOURCE.with_name("cardcheck.c")
XDPCHECK_SOURCE = NMCHECK_SOURCE.with_name("xdpcheck.c")
BIGCHECK_SOURCE = NMCHECK_SOURCE.with_name("bigcheck.c")
NETMAPD = ptnguest.BUILD / "netmapd" / "netmapd"
QEMU_PTNET = ptnguest.BUILD / "tools" / "qemu-ptnet"
PKT_GEN = ptnguest.BUILD / "apps" / "pkt-gen"
VALE_CTL = ptnguest.BUILD / "apps" / "vale-ctl"
BRIDGE = ptnguest.BUILD / "apps" / "netmap-bridge"
NETMAPCTL = ptnguest.BUILD / "tools" / "netmapctl"

SOME_PACKETS = r"^main: (0\.[0-9]*)?[1-9]"    # what pkt-gen says when some have come, or gone
CHECKED = re.compile(r"^Check: received (\d+) lost (\d+) reordered (\d+) duplicate (\d+) corrupt (\d+)", re.M)


def build_program(source):
    """Compiles a program of one file and guestprog.h, statically, unless that was done."""
    headers = [source.with_name("guestprog.h"), *sorted((ptnguest.ROOT / "include" / "net").glob("netmap*.h"))]
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in (source, *headers))).hexdigest()[:12]
    out = ptnguest.BUILD / "guest" / f"{source.stem}-{digest}"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        new = out.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter",
                        "-Werror", "-static", "-pthread", f"-I{ptnguest.ROOT}/include", "-o", str(new),
                        str(source)], check=True)
        os.replace(new, out)
    return out


def build_nmcheck():
    return build_program(NMCHECK_SOURCE)


def build_netmap_ko(kernel):
    """netmap.ko of this source tree for a kernel."""
    return next(path for path in ptnguest.build_module(kernel) if path.name == "netmap.ko")


def look_until(look, enough, seconds=60):
    """What is seen when it is enough, or after that time."""
    end = time.monotonic() + seconds
    while not enough(now := look()) and time.monotonic() < end:
        time.sleep(0.1)
    return now


def big_tcp_programs():
    """What a guest needs for the two that follow."""
    return [("ip", "sbin/ip"), (build_program(BIGCHECK_SOURCE), "bin/bigcheck")]


def longest_of_stack(guest, interface):
    """Bytes of a packet that the interface can take from the stack."""
    return int(re.search(r"tso_max_size (\d+)", guest.run(f"/sbin/ip -d link show {interface}").out).group(1))


def set_big_tcp(guest, interface):
    """The stack gives it packets so long (BIG TCP)."""
    guest.run(f"bigcheck gso {interface} {longest_of_stack(guest, interface)}")


def build_initramfs(kernel, netmap_ko, modules=(), programs=(), files=None):
    return ptnguest.build_initramfs(kernel, programs=[(build_nmcheck(), "bin/nmcheck"),
                                                      (build_program(PTCHECK_SOURCE), "bin/ptcheck"),
                                                      (build_program(CARDCHECK_SOURCE), "bin/cardcheck"),
                                                      (build_program(XDPCHECK_SOURCE), "bin/xdpcheck"), PKT_GEN, VALE_CTL, BRIDGE,
                                                      "ethtool", *programs],
                                    kos=[netmap_ko], modules=modules, files=files)


def ptcheck(guest, *words, timeout=120):
    """Runs a check of ptcheck.c, which must hold; returns what it has said before "ok"."""
    result = guest.run("ptcheck " + " ".join(words), timeout, check=False)
    assert result.rc == 0 and result.out.endswith("ok\n"), f"ptcheck {' '.join(words)}: {result.out}"
    return result.out[:-3]


def nmcheck(guest, *words, timeout=60):
    """Runs a check of nmcheck.c, which must hold."""
    result = guest.run("nmcheck " + " ".join(words), timeout, check=False)
    assert result.rc == 0 and result.out.endswith("ok\n"), f"nmcheck {' '.join(words)}: {result.out}"


def checked(command):
    """What a `pkt-gen -f rx -k` has counted: received, lost, reordered, duplicate, corrupt."""
    match = CHECKED.search(command.wait(60).out)
    assert match, f"`{command.text}` says nothing of a check:\n{command.output}"
    return tuple(int(n) for n in match.groups())


def stream(sender, source, receiver, sink, count=10000):
    """Numbered packets from a port to another one: all must arrive, intact and in order, however long it takes."""
    rx = receiver.spawn(f"nmcheck stream-receive {sink} {count}")
    rx.wait_output("^ready$")
    nmcheck(sender, "stream-send", source, str(count))
    assert rx.wait(60).out == "ready\nok\n", rx.output


def pkt_gen(sender, source, receiver, sink, count=10000, rate=5000):
    """Numbered packets of pkt-gen: those that arrive are intact and in order.

    They are paced, but a switch drops what a receiver has no room for: on a machine that is slow just now,
    some may be lost.
    """
    rx = receiver.spawn(f"pkt-gen -i {sink} -f rx -w 0 -k -n {count} -q 30")
    rx.wait_output(r"^rx on ")
    sent = sender.run(f"pkt-gen -i {source} -f tx -w 0 -k -n {count} -R {rate}", 60).out
    assert f"Sent {count} packets" in sent
    received, lost, *bad = checked(rx)
    assert bad == [0, 0, 0] and received > 0 and received + lost <= count, rx.output


def pings(address, count=5, options=""):
    """A script that pings one by one: each is answered, however late. Behind the last of several, busybox waits for a second only."""
    return f"for i in $(seq {count}); do ping -c 1 -W 60 {options} {address} || exit 1; done"


def tcp(sender, receiver, size, port=5000):
    """So many bytes from stack to stack, compared end to end."""
    server = receiver.spawn(f"nc -l -p {port} -e md5sum")
    # It may not listen yet.
    sent = sender.run(f"head -c {size} /dev/urandom > /tmp/data; md5sum < /tmp/data; "
                      f"for i in $(seq 50); do nc {receiver.address} {port} < /tmp/data && break; sleep 0.2; done", 60)
    sums = re.findall(r"^([0-9a-f]{32})  -$", sent.out, re.M)    # among what nc says while nobody listens
    assert len(sums) == 2 and sums[0] == sums[1], sent.out
    server.wait(60)


@contextmanager
def running(nodes):
    """Guests that are started side by side, and ended in any case."""
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait_ready()
        yield nodes
    finally:
        for node in nodes:
            node.close()


class Daemon:
    """A netmapd; a context manager. prepare: a script of the shell; netmapd is in a network namespace of its own then, where
    that was run first. Without one it touches no interface of this machine."""

    def __init__(self, log, *options, prepare=None):
        self._options = options if prepare else ("--nic", "off", *options)
        self._prepare = ["unshare", "-n", "sh", "-ec", prepare + '\nexec "$@"', "sh"] if prepare else []
        self._dir = tempfile.TemporaryDirectory(prefix="netlab-")
        self.socket = f"{self._dir.name}/socket"
        self.log = Path(log)
        self.log.parent.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        with open(self.log, "wb") as out:
            command = [*self._prepare, str(NETMAPD), "--socket", self.socket, *self._options]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        deadline = time.monotonic() + 20
        while not os.path.exists(self.socket):
            assert self.alive and time.monotonic() < deadline, f"netmapd does not start: {self.log.read_text()}"
            time.sleep(0.02)
        return self

    @property
    def alive(self):
        return self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(60)
        self._dir.cleanup()


def switch_counts(daemon, *names):
    """Sums over all rings of the ports of vale1."""
    done = subprocess.run([str(NETMAPCTL), "--socket", daemon.socket, "--json", "status"], capture_output=True, text=True, check=True)
    rings = [ring for port in json.loads(done.stdout)["ports"] if port["name"].startswith("vale1:") for ring in port["rings"]]
    return [sum(ring.get(name, 0) + ring["errors"].get(name, 0) for ring in rings) for name in names]


@contextmanager
def killed_after(seconds, process):
    """A program of the host, whose output is read without a limit of its own meanwhile, is ended when that takes longer."""
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    try:
        yield
    finally:
        limit.cancel()


class Node(ptnguest.Guest):
    """A guest with passed-through ports: `data` with the address 10.0.0.NUMBER on switch vale1, and maybe `more` on vale2.

    conf: how the first one is to be made, e.g. "rings=2,slots=512"; ifname: another port of the host in its place;
    options: of qemu-ptnet; before: arguments in front of the ports, keys: more of the device's; machine: what ptnguest.Guest takes.
    """

    def __init__(self, kernel, initramfs, daemon, number, name, conf="", second=False, ifname=None, options=(), before=(), keys="",
                 args=(), **machine):
        suffix = "@conf:" + conf.replace(",", ",,") if conf else ""
        more = ["-netdev", f"netmap,ifname=vale2:{number},id=more,passthrough=on", "-device", "ptnet-pci,netdev=more"]
        super().__init__(
            kernel, initramfs, qemu=[str(QEMU_PTNET), "--quiet", "--socket", daemon.socket, "--qemu", ptnguest.qemu_path(), *options],
            accelerator=None, name=name, **machine,
            args=[*before, "-netdev", f"netmap,ifname={ifname or f'vale1:{number}'}{suffix},id=data,passthrough=on",
                  "-device", f"ptnet-pci,netdev=data,mac=00:aa:bb:cc:00:{number:02x}{keys}", *(more if second else ()), *args])
        self.number = number
        self.address = f"10.0.0.{number}"

    @property
    def mac(self):
        return f"00:aa:bb:cc:00:{self.number:02x}"

    def load(self, up=True):
        """Loads the module, names the interfaces and sets `data` up (then its stack sends), unless that was done.

        What the stack sends is what it is asked for: without IPv6 it looks for no routers and neighbours by itself.
        """
        self.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; modprobe netmap; for i in $(cd /sys/class/net; ls -d eth*); do "
                 f"grep -q {self.mac} /sys/class/net/$i/address && ip link set $i name data || ip link set $i name more; done; "
                 f"ip link set data {'up' if up else 'down'}; ip addr replace {self.address}/24 dev data")
        return self

    def ping(self, other):
        """Some packets there and back through both stacks."""
        self.run(pings(other.address), 60)

    def counters(self):
        """ethtool -S."""
        return {name: int(value) for name, value in
                re.findall(r"^ +(\w+): (\d+)$", self.run("ethtool -S data").out, re.M)}

    def memory_function(self):
        """Path in sysfs."""
        return self.run("ls -d /sys/bus/pci/drivers/ptnet-mem/0*").out.strip()

    def network_function(self):
        """Path in sysfs, of data."""
        return self.run("readlink -f /sys/class/net/data/device").out.strip()
