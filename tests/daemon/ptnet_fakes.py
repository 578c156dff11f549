#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of the tools share: a netmapd and a QEMU of our own.

FakeNetmapd and FAKE_QEMU record what they get, and do wrong what a test asks
for. The programs under test are those of $PTNETMAP_BUILD, else of build/ beside
tests/. A test module imports the fixtures that it uses by name.
"""

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("PTNETMAP_BUILD", REPO / "build"))
QEMU_PTNET = BUILD / "tools/qemu-ptnet"
NETMAPCTL = BUILD / "tools/netmapctl"
NETMAPD = BUILD / "netmapd/netmapd"

PORT_A = ["-netdev", "netmap,ifname=vale1:10,id=a,passthrough=on"]
PORT_B = ["-netdev", "netmap,ifname=vale1:11,id=b,passthrough=on"]
DEVICE_A = ["-device", "ptnet-pci,netdev=a,mac=00:AA:BB:CC:0a:0a"]
DEVICE_B = ["-device", "ptnet-pci,netdev=b"]

# ------------------------------------------------------------ the protocol

MAGIC, VERSION, TEXT, PATHLEN = 0x746E7470, 1, 256, 108
HELLO, NMREQ, VM_CREATE, VM_ADD_PORT, STATUS = range(1, 6)
HDR = struct.Struct("=IHHIi")


def reply_bytes(kind, status=0, text="", body=b""):
    size = HDR.size + TEXT + len(body)
    return HDR.pack(MAGIC, VERSION, kind, size, status) + text.encode().ljust(TEXT, b"\0") + body


class FakeNetmapd:
    """Listens on a path and answers as told. `override[type]` is bytes, or None to hang up."""

    def __init__(self, path):
        self.path = str(path)
        self.override = {}
        self.report = b'{"ports":[],"switches":[],"vms":[]}'
        self.requests = []  # (connection number, type, body)
        self.closed = threading.Semaphore(0)
        self.busy = set()  # port names that are refused
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        number = 0
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()
            number += 1

    def _serve(self, connection, number):
        with connection:
            while message := connection.recv(16384):
                magic, version, kind, size, status = HDR.unpack_from(message)
                assert (magic, version, size, status) == (MAGIC, VERSION, len(message), 0)
                self.requests.append((number, kind, message[HDR.size :]))
                answer = self.override.get(kind, True)
                if answer is None:
                    break
                connection.send(self._answer(kind, message[HDR.size :]) if answer is True else answer)
        self.closed.release()

    def _answer(self, kind, body):
        if kind == HELLO:
            return reply_bytes(kind, 0, "", struct.pack("=II32s", os.getpid(), 0, b"netmapd 9.9"))
        if kind == VM_CREATE:
            return reply_bytes(kind, 0, "", struct.pack("=II", 7, 0))
        if kind == VM_ADD_PORT:
            name = body[:256].split(b"\0")[0].decode()
            if name in self.busy:
                return reply_bytes(kind, -16, f"port {name} is busy")
            paths = [f"/r/net-{name}".encode(), b"/r/mem"]
            body = b"".join(p.ljust(PATHLEN, b"\0") for p in paths) + body[256:262] + b"\0\0"
            return reply_bytes(kind, 0, "", body)
        start, _ = struct.unpack_from("=II", body)
        part = self.report[start : start + 100]  # small parts, so that there are many
        return reply_bytes(kind, 0, "", struct.pack("=II", len(self.report), len(part)) + part)


# A QEMU that tells what it got. The first line of its output is its arguments as
# JSON, the second its open descriptors that are sockets.
FAKE_QEMU = f"""#!{sys.executable}
import json, os, signal, stat, sys, time
args = sys.argv[1:]
if "help" in args:
    print('name "vfio-user-pci", bus PCI')
    sys.exit(0)
def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False
print(json.dumps(args))
print([fd for fd in range(3, 64) if is_socket(fd)], flush=True)
if "-wait" in args:
    time.sleep(60)
sys.exit(int(os.environ.get("FAKE_EXIT", "0")))
"""


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def room(monkeypatch):
    """A directory for one test; no netmapd, no QEMU and no cache of this machine is found.

    Not tmp_path: other users have to get in, and a socket's path has to be short.
    """
    path = Path(tempfile.mkdtemp(prefix="ptnet-"))
    path.chmod(0o755)
    for name in ("QEMU_PTNET_QEMU", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETMAPD_SOCKET", str(path / "socket"))
    monkeypatch.setenv("PTNETMAP_CACHE", str(path / "cache"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def qemu(room, monkeypatch):
    path = program(room / "qemu", FAKE_QEMU)
    monkeypatch.setenv("QEMU_PTNET_QEMU", str(path))
    return path


@pytest.fixture
def netmapd(room):
    daemon = FakeNetmapd(room / "socket")
    yield daemon
    daemon.close()


def run(*args, **kwargs):
    return subprocess.run(
        [str(a) for a in args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **kwargs
    )


def run_ptnet(*args, **kwargs):
    return run(QEMU_PTNET, *args, **kwargs)


def run_ctl(*args, **kwargs):
    return run(NETMAPCTL, *args, **kwargs)


def expect_error(result, status, *texts, name="qemu-ptnet"):
    """One line on stderr that says who and what, nothing on stdout."""
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith(f"{name}: ") and result.stderr.endswith("\n")
    assert result.stderr.count("\n") == 1, result.stderr
    for text in texts:
        assert text in result.stderr


def short(value):
    """The name of a test's parameter: texts, but no lists and messages."""
    return value[:40] if isinstance(value, str) else ""
