#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""qemu-ptnet as a program.

What it says to netmapd and how it becomes QEMU is tested with a netmapd and a
QEMU of our own, which record what they get. Then come the real ones, where they
are there.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ptnet_fakes import (  # noqa: F401: some are fixtures
    DEVICE_A, DEVICE_B, HDR, HELLO, MAGIC, NETMAPD, PATHLEN, PORT_A, PORT_B, QEMU_PTNET, TEXT, VERSION,
    VM_ADD_PORT, VM_CREATE, expect_error, netmapd, program, qemu, reply_bytes, room, run, run_ctl, run_ptnet, short,
)


def devices(args):
    return [args[i + 1] for i, a in enumerate(args) if a == "-device"]


# ------------------------------------------------------------ arguments

BAD = [
    # arguments, a part of the text
    (PORT_A, "has no device"),
    (DEVICE_A, "no -netdev netmap"),
    (PORT_A + PORT_A + DEVICE_A, "two -netdev"),
    (PORT_A + ["-netdev", "user,id=a"] + DEVICE_A, "two -netdev"),
    (PORT_A + DEVICE_A + DEVICE_A, "two -device"),
    (PORT_A + ["-device", "e1000,netdev=a"], "not e1000"),
    (["-netdev", "netmap,ifname=vale1:10,id=a"] + DEVICE_A, "passthrough=on"),
    (["-netdev", "netmap,ifname=vale1:10,id=a,passthrough=off"] + DEVICE_A, "passthrough=on"),
    (["-netdev", "netmap,ifname=vale1:10,id=a,passthrough=maybe"] + DEVICE_A, "maybe"),
    (["-netdev", "netmap,id=a,passthrough=on"] + DEVICE_A, "ifname"),
    (["-netdev", "netmap,ifname=vale1:10,passthrough=on"] + DEVICE_A, "id="),
    (["-netdev", "netmap,ifname=vale1:10,id=1\n2,passthrough=on"] + DEVICE_A, "1?2"),
    (["-netdev", "netmap,ifname=" + "v" * 256 + ",id=a,passthrough=on"] + DEVICE_A, "256 bytes"),
    (["-netdev", PORT_A[1] + ",queues=4"] + DEVICE_A, "'queues'"),
    (["-netdev", PORT_A[1] + "," + "k" * 5000 + "=1"] + DEVICE_A, "kkk"),
    (PORT_A + ["-device", "ptnet-pci,netdev=a,speed=10"], "'speed'"),
    (PORT_A + ["-device", "ptnet-pci,netdev=a,mac=00:11:22:33:44"], "00:11:22:33:44"),
    (PORT_A + ["-device", "ptnet-pci,netdev=a,mac=01:11:22:33:44:55"], "multicast"),
    (PORT_A + ["-device", "ptnet-pci"], "netdev="),
    (PORT_A + DEVICE_A + ["-m", "much"], "much"),
    (PORT_A + DEVICE_A + ["-mem-path", "/x"], "-mem-path"),
    (PORT_A + DEVICE_A + ["-M", "memory-backend=x"], "-object"),
    (PORT_A + DEVICE_A + ["-numa", "node,memdev=x", "-object", "memory-backend-ram,id=x,size=1G"], "memory-backend-memfd"),
    (["--qemu"], "--qemu"),
    (["--netmapd"], "--netmapd"),
    (["--socket"], "--socket"),
    (["--print=1"], "--print"),
]


@pytest.mark.parametrize("args,text", BAD, ids=short)
def test_wrong_argument(room, args, text):
    expect_error(run_ptnet(*args), 2, text)
    expect_error(run_ptnet("--print", *args), 2, text)


def test_help_and_version(room):
    result = run_ptnet("--help")
    assert result.returncode == 0 and "--print" in result.stdout and result.stderr == ""
    result = run_ptnet("--version")
    assert result.returncode == 0 and result.stdout.startswith("qemu-ptnet ")


def test_no_qemu(room, netmapd):
    tools = room / "bin"
    tools.mkdir()
    expect_error(run_ptnet(*PORT_A, *DEVICE_A, env={**os.environ, "PATH": str(tools)}), 1, "no qemu-system-x86_64", "install")
    expect_error(run_ptnet("--qemu", "/nonexistent", *PORT_A, *DEVICE_A), 1, "/nonexistent")
    old = program(room / "old", "#!/bin/sh\necho QEMU emulator version 7.2.9\n")
    expect_error(run_ptnet("--qemu", old, *PORT_A, *DEVICE_A), 1, "7.2.9", "10.1", "trixie-backports")
    assert netmapd.requests == []


# ------------------------------------------------------------ becoming QEMU


def test_without_ports_qemu_is_just_executed(qemu):
    args = ["-m", "512", "-append", "a  b", "--enable-kvm", "-help", "disk.img", ""]
    result = run_ptnet(*args)
    lines = result.stdout.splitlines()
    assert json.loads(lines[0]) == args
    assert lines[1] == "[]"
    assert result.stderr == ""


def test_ports(qemu, netmapd):
    result = run_ptnet("--quiet", "-accel", "tcg", "-name", "vm one", "-m", "1G", *PORT_A, *PORT_B, *DEVICE_B, "-S", *DEVICE_A)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    args = json.loads(result.stdout.splitlines()[0])
    paths = [json.loads(d) for d in devices(args)]
    assert [d["driver"] for d in paths] == ["vfio-user-pci"] * 3
    assert [d["socket"] for d in paths] == [
        {"type": "unix", "path": p} for p in ("/r/mem", "/r/net-vale1:11", "/r/net-vale1:10")
    ]
    assert "memory-backend-memfd,id=ptnet-ram,size=1073741824,share=on" in args
    assert not any("netmap" in a for a in args)
    assert args[args.index("-S") - 1] == devices(args)[1]

    assert [kind for _, kind, _ in netmapd.requests] == [HELLO, VM_CREATE, VM_ADD_PORT, VM_ADD_PORT]
    assert {number for number, _, _ in netmapd.requests} == {0}
    assert netmapd.requests[1][2] == b"vm one".ljust(72, b"\0")
    assert netmapd.requests[2][2] == b"vale1:11".ljust(256, b"\0") + bytes(8)
    assert netmapd.requests[3][2] == b"vale1:10".ljust(256, b"\0") + b"\0\xaa\xbb\xcc\x0a\x0a\0\0"


@pytest.mark.parametrize("text,size", [("1M", 1 << 20), ("256", 1 << 28), ("4g", 1 << 32), ("1T", 1 << 40)])
def test_bar_min(qemu, netmapd, text, size):
    result = run_ptnet("--quiet", "--bar-min", text, *PORT_A, *DEVICE_A)
    assert result.returncode == 0, result.stderr
    assert "--bar-min" not in json.loads(result.stdout.splitlines()[0])
    assert netmapd.requests[1][2] == bytes(64) + struct.pack("=Q", size)


def test_the_connection_lives_as_long_as_qemu(qemu, netmapd):
    child = subprocess.Popen([QEMU_PTNET, "--quiet", *PORT_A, *DEVICE_A, "-wait", "x"], stdout=subprocess.PIPE, text=True)
    try:
        child.stdout.readline()
        assert len(json.loads(child.stdout.readline())) == 1  # one socket inherited
        assert not netmapd.closed.acquire(timeout=0.3)
        child.send_signal(signal.SIGKILL)
        assert netmapd.closed.acquire(timeout=10)
    finally:
        child.kill()
        child.wait()


def test_exit_status_and_signals_are_qemus(qemu, netmapd, monkeypatch):
    monkeypatch.setenv("FAKE_EXIT", "37")
    assert run_ptnet("--quiet", *PORT_A, *DEVICE_A).returncode == 37
    child = subprocess.Popen([QEMU_PTNET, "--quiet", *PORT_A, *DEVICE_A, "-wait", "x"], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    assert Path(f"/proc/{child.pid}/cmdline").read_bytes().split(b"\0")[1] == os.fsencode(qemu)  # same pid
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=10)
    assert child.returncode == -signal.SIGTERM


def test_ignored_sigchld_does_not_matter(qemu, netmapd):
    result = run_ptnet("--quiet", *PORT_A, *DEVICE_A, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert result.returncode == 0, result.stderr


def test_print(qemu, room):
    """Nothing runs, nothing is made, and the shell reads the command back as it was meant."""
    result = run_ptnet("--print", "--quiet", "-append", "it's $HOME", *PORT_A, *DEVICE_A)
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.count("\n") == 1
    words = shlex.split(result.stdout)
    assert words[0] == str(qemu)
    assert words[words.index("-append") + 1] == "it's $HOME"
    assert [json.loads(d)["socket"]["path"] for d in devices(words)] == [f"{room}/vm1/mem", f"{room}/vm1/net0"]
    assert not (room / "socket").exists() and not (room / "vm1").exists()

    shell = run("sh", "-c", result.stdout)
    assert json.loads(shell.stdout.splitlines()[0]) == words[1:]


# ------------------------------------------------------------ for libvirt

NS = {"ptnet": "urn:ptnetmap:libvirt", "qemu": "http://libvirt.org/schemas/domain/qemu/1.0"}


def test_libvirt_xml(netmapd):
    """Three pieces of a domain: they are XML, name the domain's own sockets, and have the options of the ports as they were given."""
    odd = ["-netdev", "netmap,ifname=vale1:12@conf:slots=64,,rings=1,id=o,passthrough=on", "-device", "ptnet-pci,netdev=o,id=<o>&'"]
    result = run_ptnet("--libvirt-xml", "-name", "web", *PORT_A, *DEVICE_A, *odd)
    assert result.returncode == 2 and "id='<o>&'" in result.stderr
    odd[-1] = "ptnet-pci,netdev=o,bus=pci.1"
    result = run_ptnet("--libvirt-xml", "-name", "web", *PORT_A, *DEVICE_A, *odd)
    assert (result.returncode, result.stderr) == (0, "")
    root = ET.fromstring(f"<domain>{result.stdout}</domain>")
    assert root.find("memoryBacking/source").get("type") == "memfd" and root.find("memoryBacking/access").get("mode") == "shared"
    given = [a.get("value") for a in root.iterfind("metadata/ptnet:ports/ptnet:arg", NS)]
    assert given == PORT_A + DEVICE_A + odd
    args = [a.get("value") for a in root.iterfind("qemu:commandline/qemu:arg", NS)]
    assert args[0] == "-blockdev" and json.loads(args[1])["file"]["filename"] == "/run/ptnetmap/web/no-migration"
    assert [json.loads(d)["socket"]["path"] for d in devices(args)] == [f"/run/ptnetmap/web/{n}" for n in ("mem0", "net0", "net1")]
    assert json.loads(devices(args)[2])["bus"] == "pci.1"
    assert netmapd.closed.acquire(timeout=10)     # it had them for a moment


def test_libvirt_xml_escapes(netmapd):
    """What an attribute can't hold as it is."""
    result = run_ptnet("--libvirt-xml", "-name", "a<b>&'c", *PORT_A, *DEVICE_A)
    root = ET.fromstring(f"<domain>{result.stdout}</domain>")
    args = [a.get("value") for a in root.iterfind("qemu:commandline/qemu:arg", NS)]
    assert json.loads(devices(args)[0])["socket"]["path"] == "/run/ptnetmap/a<b>&'c/mem0"


@pytest.mark.parametrize("args, text", [([*PORT_A, *DEVICE_A], "-name"), (["-name", "a/b", *PORT_A, *DEVICE_A], "-name"),
                                        (["-name", "..", *PORT_A, *DEVICE_A], "-name"), (["-name", "web"], "there is no port")])
def test_libvirt_xml_wrong(netmapd, args, text):
    expect_error(run_ptnet("--libvirt-xml", *args), 2, text)


def test_hold(netmapd, room):
    """It returns when all is there; the ports, the links and its number are there until a signal."""
    place = room / "web"
    place.mkdir()
    result = run_ptnet("--hold", place, *PORT_A, *DEVICE_A)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    links = {p.name: os.readlink(p) for p in place.iterdir() if p.is_symlink()}
    assert links == {"mem0": "/r/mem", "net0": "/r/net-vale1:10"}
    assert (place / "no-migration").read_bytes()[:4] == b"QFI\xfb"
    pid = int((place / "pid").read_text())
    assert sorted(os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)) == ["/dev/null"] * 3
    assert not netmapd.closed.acquire(timeout=0.3)
    expect_error(run_ptnet("--hold", place, *PORT_A, *DEVICE_A), 1, "held already")
    assert {p.name for p in place.iterdir()} == {"mem0", "net0", "no-migration", "pid"}
    assert netmapd.closed.acquire(timeout=10)     # of the one that was refused
    os.kill(pid, signal.SIGTERM)
    assert netmapd.closed.acquire(timeout=30)
    wait_gone(place)


def wait_gone(place):
    end = time.monotonic() + 30
    while list(place.iterdir()):
        assert time.monotonic() < end, list(place.iterdir())
        time.sleep(0.01)


def test_hold_leftovers(netmapd, room):
    """What one that was killed has left is no obstacle."""
    place = room / "web"
    place.mkdir()
    assert run_ptnet("--hold", place, *PORT_A, *DEVICE_A).returncode == 0
    first = int((place / "pid").read_text())
    os.kill(first, signal.SIGKILL)
    assert netmapd.closed.acquire(timeout=30) and (place / "net0").is_symlink()
    assert run_ptnet("--hold", place, *PORT_B, *DEVICE_B).returncode == 0
    second = int((place / "pid").read_text())
    assert second != first and os.readlink(place / "net0") == "/r/net-vale1:11"
    os.kill(second, signal.SIGTERM)
    wait_gone(place)


def test_hold_refused(netmapd, room):
    """Nothing is left when it can't be; and it says why."""
    expect_error(run_ptnet("--hold", room / "none", *PORT_A, *DEVICE_A), 1, f"{room}/none/pid")
    place = room / "web"
    (place / "net0").mkdir(parents=True)
    expect_error(run_ptnet("--hold", place, *PORT_A, *DEVICE_A), 1, "net0")
    assert [p.name for p in place.iterdir()] == ["net0"]


def test_print_to_a_full_disk(qemu):
    with open("/dev/full", "w") as full:
        result = subprocess.run([QEMU_PTNET, "--print", "--quiet", *PORT_A, *DEVICE_A], stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1


def test_acceleration_is_told(qemu):
    result = run_ptnet("--print", *PORT_A, *DEVICE_A)
    assert result.stderr.count("\n") == 1
    words = shlex.split(result.stdout)
    if result.stderr == "qemu-ptnet: KVM\n":
        assert words[1:5] == ["-accel", "kvm", "-cpu", "host"]
    else:
        assert result.stderr.startswith("qemu-ptnet: emulation (")
        assert words[1:5] == ["-accel", "tcg,thread=multi", "-cpu", "max,erms=off,fsrm=off,fsrs=off,fzrm=off"]
    result = run_ptnet("--print", "-accel", "tcg", *PORT_A, *DEVICE_A)
    assert result.stderr == "" and result.stdout.count("-accel") == 1


# ------------------------------------------------------------ netmapd's answers


def test_port_busy(qemu, netmapd):
    netmapd.busy.add("vale1:11")
    expect_error(run_ptnet("--quiet", *PORT_A, *DEVICE_A, *PORT_B, *DEVICE_B), 1, "port vale1:11 is busy")
    assert netmapd.closed.acquire(timeout=10)


@pytest.mark.parametrize(
    "kind,answer,text",
    [
        (HELLO, None, "closed the connection"),
        (HELLO, b"x", "not netmapd's"),
        (HELLO, HDR.pack(MAGIC, 9, HELLO, HDR.size + TEXT, 0) + bytes(TEXT), "another version"),
        (VM_CREATE, reply_bytes(VM_CREATE, -12, "no memory left: 3 of 3 regions are in use"), "3 of 3 regions"),
        (VM_CREATE, reply_bytes(VM_CREATE), "not netmapd's"),
        (VM_CREATE, reply_bytes(HELLO, 0, "", bytes(8)), "not netmapd's"),
        (VM_ADD_PORT, None, "closed the connection"),
        (VM_ADD_PORT, reply_bytes(VM_ADD_PORT, -22), "Invalid argument"),
        (VM_ADD_PORT, reply_bytes(VM_ADD_PORT, -22, "two\nlines"), "two?lines"),
        (VM_ADD_PORT, reply_bytes(VM_ADD_PORT, 0, "", bytes(2 * PATHLEN + 8)), "no sockets"),
        (VM_ADD_PORT, reply_bytes(VM_ADD_PORT, 0, "", bytes(20000)), "not netmapd's"),
    ],
    ids=short,
)
def test_bad_answers(qemu, netmapd, kind, answer, text):
    netmapd.override[kind] = answer
    expect_error(run_ptnet("--quiet", *PORT_A, *DEVICE_A), 1, text)


def test_paths_without_an_end(qemu, netmapd):
    netmapd.override[VM_ADD_PORT] = reply_bytes(VM_ADD_PORT, 0, "", b"/" * (2 * PATHLEN) + bytes(8))
    result = run_ptnet("--quiet", *PORT_A, *DEVICE_A)
    args = json.loads(result.stdout.splitlines()[0])
    assert {len(json.loads(d)["socket"]["path"]) for d in devices(args)} == {PATHLEN - 1}


# ------------------------------------------------------------ starting netmapd

# Does what netmapd does with these options: a lock, the background, a socket.
FAKE_NETMAPD = f"""#!{sys.executable}
import fcntl, json, os, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
path = os.environ["NETMAPD_SOCKET"]
with open(path + ".starts", "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
lock = open(path + ".lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("netmapd: already running", file=sys.stderr)
    sys.exit(3)
time.sleep(0.5)
ready = os.pipe()
if os.fork():
    os.close(ready[1])
    sys.exit(0 if os.read(ready[0], 1) else 1)
import ptnet_fakes
daemon = ptnet_fakes.FakeNetmapd(path)
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 2)
with open(path + ".pid", "w") as f:
    f.write(str(os.getpid()))
os.write(ready[1], b"1")
time.sleep(60)
"""


@pytest.fixture
def startable(room):
    yield program(room / "netmapd", FAKE_NETMAPD)
    pid = room / "socket.pid"
    if pid.exists():
        os.kill(int(pid.read_text()), signal.SIGKILL)


def starts(room):
    return [json.loads(line) for line in (room / "socket.starts").read_text().splitlines()]


def test_netmapd_is_started_once(qemu, room, startable):
    for _ in range(2):
        result = run_ptnet("--quiet", "--netmapd", startable, *PORT_A, *DEVICE_A)
        assert result.returncode == 0, result.stderr
    assert starts(room) == [["--background", "--exit-when-unused", "60"]]
    pid = int((room / "socket.pid").read_text())
    assert os.getsid(pid) != os.getsid(0)  # the terminal's Ctrl-C doesn't reach it


def test_a_stale_socket_is_no_obstacle(qemu, room, startable):
    program(startable, FAKE_NETMAPD.replace("time.sleep(0.5)", "os.unlink(path)"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.bind(str(room / "socket"))
    result = run_ptnet("--quiet", "--netmapd", startable, *PORT_A, *DEVICE_A)
    assert result.returncode == 0, result.stderr


def test_two_that_start_at_once(qemu, room, startable):
    # Nobody has a socket to find before there were two.
    two = "for _ in range(200):\n    if len(open(path + '.starts').readlines()) >= 2:\n        break\n    time.sleep(0.1)"
    program(startable, FAKE_NETMAPD.replace("time.sleep(0.5)", two))
    args = [QEMU_PTNET, "--quiet", "--netmapd", startable, *PORT_A, *DEVICE_A]
    children = [subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for child in children:
        _, stderr = child.communicate(timeout=30)
        assert child.returncode == 0, stderr
    assert len(starts(room)) >= 2


def test_option_socket_is_for_the_started_one_too(qemu, room, startable):
    other = room / "other"
    result = run_ptnet("--quiet", "--socket", other, "--netmapd", startable, *PORT_A, *DEVICE_A)
    os.kill(int((room / "other.pid").read_text()), signal.SIGKILL)
    assert result.returncode == 0, result.stderr
    assert not (room / "socket").exists()


def test_start_fails(qemu, room):
    args = ["--quiet", *PORT_A, *DEVICE_A]
    expect_error(run_ptnet("--netmapd", room / "none", *args), 1, f"{room}/none")
    bad = program(room / "bad", "#!/bin/sh\necho 'netmapd: no huge pages' >&2\necho more >&2\nexit 1\n")
    expect_error(run_ptnet("--netmapd", bad, *args), 1, "bad did not start: no huge pages")
    silent = program(room / "silent", "#!/bin/sh\nexit 0\n")
    expect_error(run_ptnet("--netmapd", silent, *args), 1, "was started, but", f"{room}/socket")


def test_socket_errors(qemu, room):
    args = [*PORT_A, *DEVICE_A]
    expect_error(run_ptnet("--socket", "/x" * 60, *args), 1, "120 bytes")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.bind(str(room / "stream"))
        s.listen()
        expect_error(run_ptnet("--socket", room / "stream", *args), 1, f"{room}/stream")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_no_permission(qemu, netmapd, room):
    os.chmod(room / "socket", 0o700)
    result = run_ptnet(*PORT_A, *DEVICE_A, user=65534, group=65534, extra_groups=[])
    expect_error(result, 1, "no permission", f"{room}/socket")


# ------------------------------------------------------------ the real ones


def find_real_qemu():
    """What qemu-ptnet finds on this machine, or None."""
    if not QEMU_PTNET.exists():
        return None
    result = run_ptnet("--print", "--quiet", *PORT_A, *DEVICE_A)
    return shlex.split(result.stdout)[0] if result.returncode == 0 else None


REAL_QEMU = find_real_qemu()
needs_qemu = pytest.mark.skipif(not REAL_QEMU, reason="no QEMU with vfio-user: run setup/qemu")
needs_both = pytest.mark.skipif(not (REAL_QEMU and NETMAPD.exists()), reason="needs netmapd and setup/qemu")


@needs_qemu
def test_options_without_an_argument():
    """Our list of them is QEMU's: asked for each option that -help names."""
    text = run(REAL_QEMU, "-help").stdout
    names = {n for line in re.findall(r"^-.*", text, re.M) for n in re.findall(r"^-+([\w-]+)", line)} | {"h", "help"}
    assert len(names) > 80
    wrong = []
    for name in names:
        # The word behind an option with an argument isn't looked at.
        stderr = run(REAL_QEMU, f"-{name}", "-zzz", "-yyy").stderr
        if f"-{name}: invalid option" in stderr:
            continue
        assert "invalid option" in stderr, name
        alone = "-zzz: invalid option" in stderr
        result = run_ptnet("--print", "--qemu", REAL_QEMU, f"-{name}", *PORT_A)
        if alone != (result.returncode == 2):
            wrong.append(name)
    assert wrong == []


class Machine:
    """A real QEMU behind qemu-ptnet, with its CPU stopped and its monitor on stdio."""

    def __init__(self, *args, program=(QEMU_PTNET,), **kwargs):
        args = [*program, "--quiet", "--qemu", REAL_QEMU, "-S", "-nodefaults", "-display", "none", "-qmp", "stdio", "-accel", "tcg", *args]
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)

    def start(self):
        """Waits for QEMU; devices are connected then. False: it has ended."""
        if not self.process.stdout.readline():
            return False
        self.ask("qmp_capabilities")
        return True

    def ask(self, command, **arguments):
        self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        while True:
            answer = json.loads(self.process.stdout.readline())
            if "return" in answer:
                return answer["return"]
            assert "error" not in answer, answer

    def pci_ids(self):
        devices = [d for bus in self.ask("query-pci") for d in bus["devices"]]
        return [(d["id"]["vendor"], d["id"]["device"], d["class_info"]["class"]) for d in devices if d["id"]["vendor"] == 0x1B36]

    def end(self, how=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(how)
        _, stderr = self.process.communicate(timeout=20)
        return self.process.returncode, stderr


def netmapd_pid(path):
    """Asks the netmapd at `path` who it is; None: nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        try:
            s.connect(str(path))
        except OSError:
            return None
        s.send(HDR.pack(MAGIC, VERSION, HELLO, HDR.size, 0))
        return struct.unpack_from("=I", s.recv(16384), HDR.size + TEXT)[0]


@pytest.fixture
def real(room):
    """A room where the real netmapd is started by qemu-ptnet, and ended behind the test."""
    yield room
    pid = netmapd_pid(room / "socket")
    if pid:
        os.kill(pid, signal.SIGTERM)
        # It removes its files itself; the room must not go while it does.
        end = time.monotonic() + 30
        while (room / "socket").exists() and time.monotonic() < end:
            time.sleep(0.02)


# Shows the directory $1 to everybody, although $2 above it is closed, to this
# process only; then becomes nobody and executes the rest.
AS_NOBODY = """
set -e
if [ -n "$2" ]; then
    mount --bind "$1" "$3"
    mount -t tmpfs -o mode=755 none "$2"
    mkdir -p "$1"
    mount --bind "$3" "$1"
fi
shift 3
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "$@"
"""


def as_nobody(room):
    """The start of a command that is to run as an ordinary user who can execute REAL_QEMU."""
    cache = Path(REAL_QEMU).parents[2]
    closed = [p for p in reversed(cache.parents) if not p.stat().st_mode & 1]
    if closed and run("unshare", "-m", "true").returncode:
        pytest.skip(f"{closed[0]} is closed to others, and mount namespaces can't be made")
    hold = room / "hold"
    hold.mkdir()
    return ["unshare", "-m", "sh", "-c", AS_NOBODY, "sh", cache, closed[0] if closed else "", hold]


def credentials(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return re.search(r"^Uid:\s+(\d+)", status, re.M)[1], int(re.search(r"^CapEff:\s+(\w+)", status, re.M)[1], 16)


def ports_of():
    report = json.loads(run_ctl("status", "--json").stdout)
    return sorted(p["name"] for p in report["ports"])


def wait_until(condition):
    for _ in range(100):
        if condition():
            return
        threading.Event().wait(0.05)
    assert condition()


@needs_both
def test_real_machine(real):
    machine = Machine("-name", "first", *PORT_A, *DEVICE_A, *PORT_B, *DEVICE_B)
    try:
        assert machine.start(), machine.end()
        assert machine.pci_ids() == [(0x1B36, 0xC, 0xFF00), (0x1B36, 0xD, 0x200), (0x1B36, 0xD, 0x200)]
        assert ports_of() == ["vale1:10", "vale1:11"]
        assert sorted(run_ctl("list").stdout.split()) == ["vale1:10", "vale1:11"]
        status = run_ctl("status")
        assert status.returncode == 0 and "first" in status.stdout

        second = run_ptnet("--quiet", "--qemu", REAL_QEMU, *PORT_B, *DEVICE_B)
        expect_error(second, 1, "vale1:11")
        assert ports_of() == ["vale1:10", "vale1:11"]
    finally:
        machine.end(signal.SIGKILL)
    wait_until(lambda: ports_of() == [])


@needs_both
@pytest.mark.parametrize(
    "args",
    [
        [],
        ["-m", "1.5G,slots=2,maxmem=4G"],
        ["-object", "memory-backend-memfd,id=m,size=256M", "-machine", "memory-backend=m"],
        ["-object", "memory-backend-memfd,id=m,size=256M", "-m", "256", "-numa", "node,memdev=m"],
    ],
    ids=" ".join,
)
def test_real_memory(real, args):
    """netmapd gets the guest's memory, whichever way it was asked for."""
    machine = Machine(*args, *PORT_A, *DEVICE_A)
    try:
        assert machine.start(), machine.end()
        fds = Path(f"/proc/{netmapd_pid(real / 'socket')}/fd")
        wait_until(lambda: any("memory-backend-memfd" in os.readlink(fd) for fd in fds.iterdir() if fd.is_symlink()))
        assert "can't be used" not in (real / "socket.log").read_text()
    finally:
        machine.end()


@needs_both
def test_real_bad_port_name(real):
    for name, status in (("vale1:", 2), ("vale1:a b", 2), ("vale1:10{", 2), ("nosuchport", 2), ("netmap:nosuchport", 1), ("vale1:1-0", 1)):
        result = run_ptnet("--quiet", "--qemu", REAL_QEMU, "-netdev", f"netmap,ifname={name},id=a,passthrough=on", *DEVICE_A)
        expect_error(result, status, name.removeprefix("netmap:"))


@needs_both
def test_real_machines_at_once(real):
    """None of them finds a netmapd; they end up with the same one."""
    machines = [Machine("-netdev", f"netmap,ifname=vale1:{i},id=a,passthrough=on", *DEVICE_A) for i in range(3)]
    try:
        for machine in machines:
            assert machine.start(), machine.end()
        assert ports_of() == ["vale1:0", "vale1:1", "vale1:2"]
    finally:
        for machine in machines:
            machine.end()


def slots(machine):
    """The devices with an id, of the first bus: {id: slot}."""
    return {d["qdev_id"]: d["slot"] for d in machine.ask("query-pci")[0]["devices"] if d["qdev_id"]}


# QEMU makes devices that are given in JSON, as ours are, behind all others.
E1000 = ["-device", '{"driver":"e1000","id":"e"}']
E1000_AT_3 = ["-device", '{"driver":"e1000","id":"e","addr":"3"}']


@needs_both
@pytest.mark.parametrize(
    "args,places",
    [
        # Without addresses: the first free slots, the memory first.
        ([*DEVICE_A, *E1000], {"ptnet-mem0": 2, "ptnet-a": 3, "e": 4}),
        ([*DEVICE_A, "-device", "e1000,id=e"], {"e": 2, "ptnet-mem0": 3, "ptnet-a": 4}),
        # What QEMU places stays out of the way of what has an address.
        ([*DEVICE_A, *E1000_AT_3], {"ptnet-a": 2, "e": 3, "ptnet-mem0": 4}),
        (["-device", "ptnet-pci,netdev=a,addr=2", *E1000_AT_3], {"ptnet-a": 2, "e": 3, "ptnet-mem0": 4}),
        (["-device", "ptnet-pci,netdev=a,mem-addr=9,mem-id=m", *E1000_AT_3], {"m": 9, "ptnet-a": 2, "e": 3}),
    ],
    ids=["none", "first", "another", "both", "all"],
)
def test_real_addresses(real, args, places):
    machine = Machine(*PORT_A, *args)
    try:
        assert machine.start(), machine.end()
        assert slots(machine) == places
    finally:
        machine.end()


@needs_both
def test_real_nic(real):
    machine = Machine("-nic", "netmap,ifname=vale1:10,passthrough=on,mac=00:AA:BB:CC:0a:0a", *PORT_B, *DEVICE_B)
    try:
        assert machine.start(), machine.end()
        assert ports_of() == ["vale1:10", "vale1:11"]
        assert slots(machine) == {"ptnet-mem0": 2, "ptnet-nic0": 3, "ptnet-b": 4}
    finally:
        machine.end()


@needs_both
def test_real_migration(real):
    """What would be saved can't work: it is refused, with a reason; and QEMU says so at once when that matters."""
    machine = Machine(*PORT_A, *DEVICE_A)
    try:
        assert machine.start(), machine.end()
        for line in "migrate file:" + str(real / "saved"), "savevm one":
            text = machine.ask("human-monitor-command", **{"command-line": line})
            assert "passed-through-ptnet-port" in text and "does not support" in text, text
        assert not (real / "saved").exists()
        assert machine.ask("query-migrate")["blocked-reasons"]
    finally:
        machine.end()
    machine = Machine("-only-migratable", *PORT_A, *DEVICE_A)
    assert not machine.start()
    assert "passed-through-ptnet-port" in machine.end()[1]


@needs_both
def test_real_quit(real):
    machine = Machine(*PORT_A, *DEVICE_A)
    assert machine.start(), machine.end()
    machine.ask("quit")
    machine.process.wait(timeout=20)
    assert machine.end() == (0, "")
    wait_until(lambda: ports_of() == [])


@needs_both
@pytest.mark.skipif(os.geteuid() != 0, reason="the others ran as an ordinary user already")
def test_real_ordinary_user(real, monkeypatch):
    """Nobody runs it all, from copies of the programs, with the socket in its usual place."""
    for path in (QEMU_PTNET, NETMAPD):
        shutil.copy(path, real / path.name)
    runtime = real / "runtime"
    runtime.mkdir()
    os.chown(runtime, 65534, 65534)
    environment = {k: v for k, v in os.environ.items() if k != "NETMAPD_SOCKET"}
    environment["XDG_RUNTIME_DIR"] = str(runtime)
    monkeypatch.setenv("NETMAPD_SOCKET", str(runtime / "netmapd/socket"))  # for netmapctl, as root
    machine = Machine(*PORT_A, *DEVICE_A, program=(*as_nobody(real), real / QEMU_PTNET.name), env=environment)
    try:
        assert machine.start(), machine.end()
        assert len(machine.pci_ids()) == 2
        assert ports_of() == ["vale1:10"]
        daemon = netmapd_pid(runtime / "netmapd/socket")
        assert credentials(daemon) == credentials(machine.process.pid) == ("65534", 0)
    finally:
        machine.end()
        daemon = netmapd_pid(runtime / "netmapd/socket")
        if daemon:
            os.kill(daemon, signal.SIGTERM)
