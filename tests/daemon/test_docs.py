#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The pages for users: each command is run here, in guests (test_ptnet_card.py), or by the test that is named here; each error text is
one of ours. What the pages for developers name is there.

A section's commands run one after the other, with one netmapd that has the ports and interfaces which the pages name: vale1:10,
eth1 (veth), TAP devices.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import test_nic
from ptnet_fakes import FAKE_QEMU, program
from ptnet_real import BUILD, NETMAPCTL, NETMAPD, REPO, SANITIZED, Port, environment, finish, frame, run, spawn, wait_until
from test_tap import new_namespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import pages  # noqa: E402

pytestmark = [pytest.mark.skipif(test_nic.REASON is not None, reason=f"needs root and veth: {test_nic.REASON}"),
              pytest.mark.skipif(SANITIZED, reason="the pages say nothing else of a build with sanitizers")]

OURS = {"netmapd": NETMAPD, "netmapctl": NETMAPCTL, "pkt-gen": BUILD / "apps/pkt-gen", "vale-ctl": BUILD / "apps/vale-ctl",
        "netmap-bridge": BUILD / "apps/netmap-bridge", "qemu-ptnet": BUILD / "tools/qemu-ptnet",
        "netmap-run": BUILD / "libnetmap/preload/netmap-run"}

# What other tests run: a word that is in them.
ELSEWHERE = [
    (r"make build|PATH=", "tests/run", "BUILD"),    # all tests want them
    (r"make module ", "tests/packages/test_dkms.py", "make module KERNEL=/lib/modules/"),
    (r"make demo", "tests/guest/lib/ptnguest/__init__.py", "the demo"),     # what it is made of
    (r"make test", "tests/run", "Ends with one line"),
    (r"make deb|apt |adduser ", "tests/packages/test_service.py", "adduser alice netmap"),
    (r"apt-mark ", "tests/packages/test_service.py", "apt-mark hold netmapd"),
    (r"journalctl ", "tests/packages/test_service.py", "journalctl -u netmapd"),
    (r"systemctl status", "tests/packages/test_service.py", "systemctl status netmapd.socket netmapd.service"),
    (r"systemctl enable --now netmapd-metrics", "tests/packages/test_service.py", "systemctl enable --now netmapd-metrics"),
    (r"systemctl enable --now netmapd-nic|echo \"allow alice", "tests/packages/test_service.py", "systemctl enable --now netmapd-nic"),
    (r"echo 512 > /proc", "tests/run", "nr_hugepages"),
    (r"netmap-run PROGRAM", "tests/daemon/test_api.py", "NETMAP_RUN"),
    (r"netmapctl metrics --listen", "tests/daemon/test_metrics.py", '"--listen", f"127.0.0.1:'),
    (r"netmapctl metrics --textfile", "tests/daemon/test_metrics.py", '"--textfile", file'),
]
# Sections that tell several ways, not one way in steps.
ALTERNATIVES = {"A physical NIC"}


def is_elsewhere(line):
    return any(re.match(pattern, line) for pattern, _, _ in ELSEWHERE)


def runs_here(page, title, line):
    """Of what is typed in guests, these programs work on hosts as well."""
    return not is_elsewhere(line) and (not pages.is_for_guests(page, title, line) or line.split()[0] in OURS)


def parts():
    """(page, title, lines that are run here)"""
    for page in pages.USERS:
        for title, lines in pages.sections(page).items():
            lines = [line for line in lines if runs_here(page, title, line)]
            for some in [[line] for line in lines] if title in ALTERNATIVES else [lines]:
                if some:
                    yield page, title, some


PARTS = list(parts())


def test_others_are_tested():
    """Whatever is not run here is somebody's; and what is said to be there is there."""
    lines = [line for page in pages.USERS for found in pages.sections(page).values() for line in found]
    assert len(lines) > 70 and sum(len(some) for _, _, some in PARTS) > 45
    for pattern, test, word in ELSEWHERE:
        assert any(re.match(pattern, line) for line in lines), f"no line of the pages is {pattern}"
        assert word in (REPO / test).read_text(), (test, word)
    assert "pages.for_guests()" in (REPO / "tests/guest/test_ptnet_card.py").read_text()


def test_each_page_is_known():
    """A page with commands is one whose commands are tested; those between ``` would be seen by none of these tests."""
    assert pages.with_commands() == sorted([*pages.USERS.values(), *pages.DEVELOPERS.values()])
    for path in pages.with_commands():
        assert "```" not in (REPO / path).read_text(), path


def names_what_is_there(line):
    """A command for developers: the target of make, with its variables; the program; the test of meson."""
    first, *words = shlex.split(line)
    if first == "make":
        makefile = (REPO / "Makefile").read_text()
        target = [w for w in words if "=" not in w]
        return all(re.search(rf"^(.* )?{w}( .*)?:", makefile, re.M) for w in target) and \
            all(f"({w.split('=')[0]})" in makefile for w in words if "=" in w)
    if first == "meson":
        return list((REPO / "tests/unit").rglob(f"test_*{words[-1]}.c"))
    if first.startswith("build/tests/"):
        return (REPO / first.removeprefix("build/")).with_suffix(".c").exists()
    return os.access(REPO / first, os.X_OK) and all(w in (REPO / first).read_text() for w in re.findall(r"--[a-z]+", line)
                                                    if w not in ("--kernel", "--help"))


@pytest.mark.parametrize("page", pages.DEVELOPERS)
def test_developers(page):
    for lines in pages.sections(page).values():
        for line in lines:
            for one in re.split(" && |; ", line):
                assert one.startswith(("ninja", "/usr/bin/python3 -m pytest")) or names_what_is_there(one), f"{page}: {one}"


# ------------------------------------------------------------ how a line is run


class Lab:
    """A netmapd with the ports and interfaces of the pages; the sections' files are in `place`."""

    def __init__(self, daemon, place):
        self.daemon, self.place, self.others = daemon, place, 0
        self.env = environment(daemon.path, PATH=f"{NETMAPCTL.parent}:{os.environ['PATH']}")
        (place / "lab.conf").write_text("set full-wait-ms 100\n")
        (place / "conf").mkdir()
        (place / "policy.conf").write_text("allow all port vale_lab:*\n")
        self.qemu = program(place / "qemu", FAKE_QEMU)

    def until_there(self, child, port):
        wait_until(lambda: child.poll() is not None or port in self.daemon.ports(), f"{port} is there")
        assert child.poll() is None, child.communicate()

    def good(self, result):
        assert result.returncode == 0, f"{result.args}: {result.stdout}{result.stderr}"
        return result.stdout

    def netmapd(self, args):
        """It starts and ends, with files of the test's own."""
        self.others += 1
        text = " ".join(args).replace("--group netmap", "--group root").replace("&", "")
        text = text.replace("/etc/netmapd/policy.conf", f"{self.place}/policy.conf").replace("/etc/netmapd", f"{self.place}/conf")
        text = text.replace("2,3", "0,1" if len(os.sched_getaffinity(0)) > 1 else "0,0")
        self.good(run(NETMAPD, *shlex.split(text), "--socket", self.place / f"other{self.others}", "--background",
                      "--exit-when-unused", "1"))

    def netmapctl(self, line):
        """Those that go on without end get one; a capture has packets."""
        first = line.split()[1]
        if first in ("top", "watch") and "--once" not in line and "--count" not in line:
            line += " --count 1" + (" --after 0" if first == "watch" else "")
        line = line.replace("/etc/netmapd", str(self.place)).replace("netmapctl capture", "netmapctl capture -d 1")
        self.port.send(frame(2, 1, length=100))
        out = self.good(subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=self.place, env=self.env, stdin=subprocess.DEVNULL,
                                       capture_output=True, text=True, timeout=120))
        assert "--json" not in line or json.loads(out)

    def pkt_gen(self, args):
        """A sender sends some packets; a receiver gets some, from another port of its switch, or from the other end of eth1."""
        self.others += 1
        port = args[args.index("-i") + 1]
        mine, peer = (port, "netmap:w0") if "eth1" in port else (f"vale{self.others}:doc", f"vale{self.others}:peer")
        args = [mine if a == port else a for a in args]
        if args[args.index("-f") + 1] == "tx":
            args += [] if "-n" in args else ["-n", "0"]
            args[args.index("-n") + 1] = "10"
            assert "Sent 10 packets" in self.good(run(OURS["pkt-gen"], *args, env=self.env))
            return
        child = spawn(OURS["pkt-gen"], *args, path=self.daemon.path)
        self.until_there(child, mine.removeprefix("netmap:"))
        # The first ones may find that the link isn't up yet.
        wait_until(lambda: self.good(run(OURS["pkt-gen"], "-i", peer, "-f", "tx", "-n", "3000", env=self.env)) and self.has_read(mine),
                   f"{mine} has got packets, and has read some")
        child.send_signal(signal.SIGINT)
        assert re.search(r"Received [1-9]\d* packets", finish(child))

    def has_read(self, port):
        """More was put into its rings than there is room for."""
        name = port.removeprefix("netmap:")
        rings = [r for p in self.daemon.status()["ports"] if p["name"] == name for r in p["rings"] if r["dir"] == "rx"]
        return any(r["packets"] > r["slots"] for r in rings)

    def bridge(self, args):
        names = {"ens4": "vale7:a", "ens5": "vale8:a"}
        child = spawn(OURS["netmap-bridge"], *[names.get(a, a) for a in args], path=self.daemon.path)
        self.until_there(child, "vale8:a" if "ens5" in args else "eth1")
        child.terminate()
        finish(child)

    def qemu_ptnet(self, args):
        """A QEMU of ours gets what a real one would (tests/guest boots those): our devices, each with its socket."""
        out = self.good(run(OURS["qemu-ptnet"], "--qemu", self.qemu, *args, env=self.env))
        started = json.loads(out.splitlines()[0])
        assert sum("vfio-user" in a for a in started) == (0 if "memory-backend-memfd" in " ".join(args) else 2), started

    def machine(self, options):
        """One of a row of machines: two devices for each port."""
        out = self.good(run(OURS["qemu-ptnet"], "--qemu", self.qemu, *shlex.split(options), env=self.env))
        started = json.loads(out.splitlines()[0])
        assert sum("vfio-user" in a for a in started) == options.count("-netdev") + 1, started

    def run(self, line):
        if ";" in line:
            for one in line.split(";"):
                self.run(one.strip())
            return
        name, *args = shlex.split(line.replace("…", ""))
        special = {"netmapd": self.netmapd, "pkt-gen": self.pkt_gen, "netmap-bridge": self.bridge, "qemu-ptnet": self.qemu_ptnet}
        if name == "netmapctl":
            self.netmapctl(line)
        elif name in special:
            special[name](args)
        else:
            self.good(run(OURS[name], *args, env=self.env))


@pytest.fixture
def lab(start_netmapd, place):
    daemon = start_netmapd("--workers", "2", nics=True, preexec_fn=new_namespace)
    test_nic.add_pair(daemon, "eth1", "w0")
    return Lab(daemon, place)


@pytest.mark.parametrize("page, title, lines", [pytest.param(*part, id=f"{part[0]}-{part[1]}") for part in PARTS])
def test_section(lab, page, title, lines):
    # "A port in a guest" has the machine's port by that name. A switch with addresses to show has a port.
    mine, beside = "vale1:9" if "qemu-ptnet" in lines[0] else "vale1:10", "vale0:beside"
    with Port(lab.daemon.path, mine, tx_slots=64, rx_slots=64) as lab.port, Port(lab.daemon.path, beside, tx_slots=64, rx_slots=64):
        for line in lines:
            lab.run(line)


@pytest.mark.parametrize("title", pages.machines("howto"))
def test_machines(lab, title):
    """Those of a row, one after the other: their ports are there, and free."""
    machines = pages.machines("howto")[title]
    assert len(machines) == 3
    for options in machines.values():
        lab.machine(options)


def test_error_texts():
    """Each text of the operators' table, between its gaps, is one that some program has."""
    rooms = "core", "netmapd", "proto", "nic", "libnetmap", "tools"
    sources = re.sub(r'"\s+"', "", " ".join(p.read_text() for room in rooms for p in (REPO / room).rglob("*.c")))
    rows = re.findall(r"^\| `([^`]+)`", (REPO / "docs/operators.md").read_text().split("## Errors")[1], re.M)
    assert len(rows) >= 10
    for row in rows:
        for part in row.split("…"):
            words = part.strip(" '()").replace("--max  =", "--max")
            assert not words or words in sources, f"no program says '{words}'"


def test_manual_pages():
    """Each has an example; that of the library has each function that it exports, as libnetmap.h declares it."""
    rooms = "apps", "linux", "libnetmap", "netmapd", "nic", "tools"
    found = {page.name: page.read_text() for room in rooms for page in (REPO / room).rglob("*.[1-8]")}
    wanted = ("netmapd.8 netmapd.conf.5 netmapctl.1 qemu-ptnet.1 pkt-gen.1 netmap-bridge.8 vale-ctl.8 netmap-run.1 netmapd-nic.8 ptnet.4 "
              "vale.4 netmap.4 libnetmap.3").split()
    assert set(wanted) <= set(found)
    assert [name for name in wanted if not re.search(r"^\.S[hH] EXAMPLES?$", found[name], re.M)] == []
    page = found["libnetmap.3"].split("\n.SH FUNCTIONS\n")[1].split("\n.SH ")[0]
    lines = [line for line in page.splitlines() if line.startswith(".BI ")]
    calls = {re.search(r"(nm\w+_\w+)\(", line).group(1): line for line in lines}
    exported = re.findall(r"^\t(\w+);", (REPO / "libnetmap/libnetmap.map").read_text().split("local:")[0], re.M)
    assert len(lines) == len(calls) and sorted(calls) == sorted(exported) and len(exported) > 40
    header = (REPO / "include/libnetmap.h").read_text()
    for name, line in calls.items():
        kind, arguments = re.search(rf"^([a-z][^;{{}}()#]*)\b{name}\(([^;]*?)\)(?=\s*(?:;|__attribute__))", header, re.M).groups()
        assert f'"{kind}{name}(' in line, f"{line}: {kind}"
        assert line.count(",") == arguments.count(","), f"{line}: {arguments}"
