#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""netmapctl with a netmapd: what it shows is what there is, in a shape that its schema describes."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time

import jsonschema
import pytest

from ptnet_real import (
    BUILD, EVENTS, FULL_WAIT, LIMIT, REPO, RENAME, Connection, Port, Refused, environment, finish, frame, run, spawn, wait_until,
)

NETMAPCTL = BUILD / "tools/netmapctl"
SCHEMA = json.loads((REPO / "tools/netmapctl/netmapctl.schema.json").read_text())
SMALL = {"tx_slots": 64, "rx_slots": 64}


def ctl(daemon, *args, **kwargs):
    return run(NETMAPCTL, "--socket", daemon.path, *args, **kwargs)


def check_json(text, kind):
    """The value, which is as the schema says."""
    value = json.loads(text)
    jsonschema.validate(value, {"$ref": f"#/definitions/{kind}", **SCHEMA})
    return value


def good(daemon, *args, **kwargs):
    result = ctl(daemon, *args, **kwargs)
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


def bad(daemon, status, text, *args):
    result = ctl(daemon, *args)
    assert (result.returncode, result.stdout) == (status, "") and text in result.stderr, result
    assert result.stderr.count("\n") == 1


def test_the_schema_refuses(daemon, open_port):
    """A check that can't fail would be none."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    open_port("vale1:a")
    status = json.loads(good(daemon, "status", "--json"))
    del status["ports"][0]["rings"][0]["packets"]
    with pytest.raises(jsonschema.ValidationError, match="'packets' is a required property"):
        check_json(json.dumps(status), "status")


def test_json_of_all(daemon, open_port):
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    open_port("vale1:a{1")
    open_port("vale1:a", flags=0x300)  # a monitor
    machine = Connection(daemon.path)
    machine.vm_create(b"m")
    machine.vm_add_port("vale1:vm")
    a.send(frame(2, 1))
    b.receive(1)
    status = check_json(good(daemon, "status", "--json"), "status")
    assert len(status["ports"]) == 6 and status["vms"][0]["ports"][0]["name"] == "vale1:vm"
    shown = check_json(good(daemon, "show", "vale1:a", "--json"), "show")
    assert [p["user"] for p in shown["applications"]] == [os.getuid()] and shown["port"]["rings"][0]["packets"] == 1
    shown = check_json(good(daemon, "--json", "show", "vale1:vm"), "show")
    assert shown["machine_ports"][0]["machine_name"] == "m" and shown["applications"] == []
    assert len(check_json(good(daemon, "list", "--json"), "list")) == 6
    check_json(good(daemon, "top", "--once", "--json", "--interval", "0.1"), "top")
    macs = check_json(good(daemon, "macs", "--json"), "macs")
    assert [(m["switch"], m["address"], m["port"]) for m in macs] == [("vale1", "02:00:00:00:00:01", "vale1:a")]
    check_json(good(daemon, "limit", "--json"), "limit")
    for args in ["flush", "vale1"], ["limit", "ports=50"], ["rename", "vale1:b", "c"], ["full-wait", "vale1", "50"]:
        check_json(good(daemon, *args, "--json"), "done")
    for line in good(daemon, "watch", "--after", "0", "--count", "10", "--json").splitlines():
        check_json(line, "watch")
    machine.close()


# ------------------------------------------------------------ show, status


def test_status_of_ports_and_machines(daemon, open_port):
    a = open_port("vale1:a", **SMALL)
    machine = Connection(daemon.path)
    machine.vm_create(b"web")
    machine.vm_add_port("vale1:vm")
    a.send(*[frame(b"\xff" * 6, 1, length=1000)] * 3)
    lines = [line.split() for line in good(daemon, "status").splitlines()]
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    (row,) = [line for line in lines if line[:1] == ["vale1:a"]]
    assert row[1:3] == ["vale", user] and row[3].endswith(f"[{os.getpid()}]") and row[4:7] == ["3", "3.00", "kB"], row
    (row,) = [line for line in lines if line[:1] == ["vale1:vm"]]
    assert row[1:5] == ["vale", user, "vm1", "web"]
    assert ["vm1", "web", user, "vale1:vm", "(stopped)"] in lines
    text = good(daemon, "show", "vale1:a")
    assert text.startswith(f"vale1:a, user {user}\n") and "application: name vale1:a" in text
    assert re.search(r"tx 0 +64 +0 +3 +3\.00 kB", text)
    bad(daemon, 4, "vale1:none: no such port", "show", "vale1:none")
    machine.close()


def test_blank_lines_and_width(daemon, open_port):
    """Between parts, and nowhere else; COLUMNS cuts all tables."""
    assert good(daemon, "status").count("\n") == 1
    open_port("vale1:a-port-with-a-name", **SMALL)
    text = good(daemon, "status")
    assert "\n\n\n" not in text and not text.endswith("\n\n") and text.count("\n\n") == 2
    for args in ["status"], ["limit"], ["show", "vale1:a-port-with-a-name"]:
        wide, narrow = (run(NETMAPCTL, "--socket", daemon.path, *args, env=environment(COLUMNS=columns)).stdout.splitlines()
                        for columns in ("300", "40"))
        assert len(wide) == len(narrow)
        table = [i for i, line in enumerate(wide) if re.match(r"(PORT|LIMIT|  RING) ", line)]
        assert table and all(len(wide[i]) > 40 and len(narrow[i]) <= 40 for i in table)


def test_help_of_top(daemon):
    """It is shown on the screen as well, which may have 80 columns."""
    assert max(len(line) for line in good(daemon, "top", "--help").splitlines()) <= 80


def test_fill(daemon, open_port):
    """Slots that wait are shown: of an rx ring that nobody reads, of a pipe that is full."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    a.send(*[frame(2, 1)] * 7)
    assert daemon.ring("vale1:b", "rx")["fill"] == 7 and daemon.ring("vale1:a", "tx")["fill"] == 0
    b.receive(7)
    assert daemon.ring("vale1:b", "rx")["fill"] == 0
    left, right = open_port("x{1", **SMALL), open_port("x}1", **SMALL)
    left.send(*[frame(2, 1)] * 5)
    wait_until(lambda: daemon.ring("x{1", "tx")["fill"] == 5, "five slots wait")
    right.receive(5)


def rounds(daemon):
    return [w["rounds"] for w in daemon.status()["daemon"]["workers"]]


def test_fill_of_who_has_read_everything(start_netmapd):
    """As he has published it, though no worker is awake to take it, and none is to be woken while half of the ring is free."""
    daemon = start_netmapd("--workers", "1", "--poll-us", "0")
    with Port(daemon.path, "vale1:a", **SMALL) as a, Port(daemon.path, "vale1:b", **SMALL) as b:
        a.send(*[frame(2, 1)] * 20)
        wait_until(lambda: daemon.ring("vale1:b", "rx")["fill"] == 20, "they have come")
        wait_until(lambda: rounds(daemon) == rounds(daemon), "the worker sleeps")
        head = b.rx[0].next(b.rx[0].head, 20)
        b.csb[b.rx[0].atok + 1] = b.csb[b.rx[0].atok] = head    # without a kick
        assert daemon.ring("vale1:b", "rx")["fill"] == 0
        b.rx[0].head = head
        a.send(*[frame(2, 1)] * 3)
        wait_until(lambda: daemon.ring("vale1:b", "rx")["fill"] == 3, "three more have come")


# ------------------------------------------------------------ top


def top(daemon, *args):
    return good(daemon, "top", "--once", "--interval", "0.2", *args)


@pytest.mark.parametrize("ports", [2, 200])
@pytest.mark.parametrize("columns", [80, 200])
def test_top_screen(daemon, ports, columns):
    """Aligned, within the width, one line per port."""
    opened = [Port(daemon.path, f"vale{n // 100}:a-rather-long-port-{n}", tx_slots=8, rx_slots=8) for n in range(ports)]
    try:
        lines = top(daemon, "--width", columns, "--sort", "name").splitlines()
    finally:
        for port in opened:
            port.close()
    assert all(len(line) <= columns for line in lines)
    at = next(i for i, line in enumerate(lines) if line.startswith("PORT"))
    assert f"ports {ports} of {ports}" in lines[0] and len(lines) == at + 1 + ports
    titles = lines[at]
    for title in ["TX p/s", "RX b/s", "DROP/s", "FILL", "INT/s"] + (["USED BY", "KICK/s", "TX BATCH", "CAUSE"] if columns == 200 else []):
        assert title in titles
    end = titles.index("TX p/s") + len("TX p/s")
    assert all(line[:end].split()[-1] == "0" and (len(line) == end or line[end] == " ") for line in lines[at + 1 :])
    names = [line.split()[0] for line in lines[at + 1 :]]
    numbers = [int(name.rsplit("-", 1)[1].rstrip("~")) for name in names if not name.endswith("~")]
    assert numbers == sorted(numbers)


def test_the_recording_in_the_howto(daemon, open_port):
    """The same lines, titles, units and columns; other numbers."""
    page = (REPO / "docs/howto.md").read_text()
    args, block = re.search(r"^    \$ netmapctl top --once (.*)\n((?:    .+\n|\n(?=    ))+)", page, re.M).groups()
    recorded = [line[4:] for line in block.splitlines()]
    for name in "vale1:rx", "vale1:tx":
        open_port(name, **SMALL)
    shown = top(daemon, *args.split(), "--sort", "name").splitlines()

    def shape(line):
        return re.sub(r"[\d.]+ ?[kMG]?", " # ", line).split()

    assert [shape(line.replace("by rate", "by name")) for line in recorded] == [shape(line) for line in shown]
    at = next(i for i, line in enumerate(shown) if line.startswith("PORT"))
    assert recorded[at] == shown[at] and [len(line) for line in recorded[at:]] == [len(line) for line in shown[at:]]


def test_top_rates(daemon):
    """Those of a stream of known rate; the sender's and the receiver's are the same. The bounds are for a busy machine."""
    rx = spawn(BUILD / "apps/pkt-gen", "-i", "vale1:in@conf:rx-slots=4096", "-f", "rx", "-T", "100", path=daemon.path)
    wait_until(lambda: "vale1:in" in daemon.ports(), "the receiver is there")
    tx = spawn(BUILD / "apps/pkt-gen", "-i", "vale1:out", "-f", "tx", "-R", "5000", "-l", "1000", "-T", "100", path=daemon.path)
    wait_until(lambda: daemon.ring("vale1:in", "rx")["packets"] > 1000, "packets flow")
    found = check_json(good(daemon, "top", "--once", "--json", "--interval", "1"), "top")
    ports = {p["name"]: p for p in found["ports"]}
    sent, got = ports["vale1:out"]["tx"], ports["vale1:in"]["rx"]
    assert 1000 < sent["packets_per_s"] < 15000 and 8 * 990 < sent["bits_per_s"] / sent["packets_per_s"] < 8 * 1010
    assert abs(got["packets_per_s"] - sent["packets_per_s"]) < 1000
    (ring,) = [r for r in ports["vale1:out"]["rings"] if r["dir"] == "tx"]
    assert ring["packets_per_s"] == pytest.approx(sent["packets_per_s"]) and ring["batch"] >= 1
    assert ports["vale1:out"]["used_by"] == f"pkt-gen[{tx.pid}]" and ports["vale1:out"]["rx"]["packets_per_s"] == 0
    assert all(0 < w["busy"] <= 1.05 for w in found["workers"]) and sum(w["rings"] for w in found["workers"]) == 4
    rows = [line.split() for line in top(daemon, "--width", "80", "--filter", "vale1:o*", "--rings").splitlines()]
    assert [row[0] for row in rows if row][-3:] == ["vale1:out", "tx", "rx"]
    for child in rx, tx:
        child.terminate()
        child.communicate()


def test_top_drops(daemon, open_port):
    """By cause, as they happen; what happened before is no rate."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    a.send(*[frame(2, 1)] * 70)
    (found,) = [p for p in json.loads(top(daemon, "--json"))["ports"] if p["name"] == "vale1:b"]
    assert found["drops"] == {} and found["drops_per_s"] == 0 and found["fill"] == 1
    child = subprocess.Popen(
        [NETMAPCTL, "--socket", daemon.path, "top", "--json", "--interval", "0.2", "--count", "30"], stdout=subprocess.PIPE, text=True,
        env=environment(),
    )
    child.stdout.readline()
    a.send(*[frame(2, 1)] * 50)
    seen = {}
    for line in child.stdout:
        for port in json.loads(line)["ports"]:
            if port["name"] == "vale1:b" and port["drops"]:
                seen = port["drops"]
        if seen:
            break
    child.terminate()
    child.communicate()
    assert set(seen) == {"receiver_full"} and seen["receiver_full"] > 0
    assert len(b.received()) == 63


@pytest.mark.parametrize("columns,told", [(80, "receiver_full [0-9.k]+"), (120, r"receiver_full [0-9.k]+, no_receiver [0-9.k]+\)$")])
def test_top_says_why_packets_are_dropped(daemon, open_port, columns, told):
    """The most frequent cause first, on a narrow screen, too."""
    a = open_port("vale1:a", **SMALL)
    open_port("vale1:b", **SMALL)
    lone = open_port("vale2:lone", **SMALL)
    a.send(*[frame(2, 1)] * 63)
    child = subprocess.Popen(
        [NETMAPCTL, "--socket", daemon.path, "top", "--interval", "0.3", "--count", "50", "--width", str(columns)], stdout=subprocess.PIPE,
        text=True, env=environment(),
    )
    said = False
    for line in child.stdout:
        a.send(*[frame(2, 1)] * 40)
        lone.send(*[frame(2, 1)] * 5)
        assert len(line) <= columns + 1
        said = re.search(rf"drops [0-9.]+ k?p/s \({told}", line)
        if said:
            break
    child.terminate()
    child.communicate()
    assert said


def at_terminal(daemon, keys, done, columns=100, lines=24):
    """Runs top at a terminal, types keys, and returns all that it has drawn, when done(text) says so."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(NETMAPCTL, [str(NETMAPCTL), "--socket", str(daemon.path), "top", "--interval", "0.1"], environment())
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    drawn, end = "", time.monotonic() + 30
    for key, expected in [*keys, ("q", None)]:
        while expected and not re.search(expected, drawn, re.S):
            assert time.monotonic() < end, drawn
            if select.select([fd], [], [], 0.2)[0]:
                drawn += os.read(fd, 65536).decode(errors="replace")
        os.write(fd, key.encode())
    try:
        while part := os.read(fd, 65536).decode(errors="replace"):
            drawn += part
    except OSError:
        pass    # the terminal's other side is closed
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 0
    return drawn


def test_top_keys(daemon, open_port):
    open_port("vale1:one", **SMALL)
    open_port("vale2:two", **SMALL)
    drawn = at_terminal(daemon, [
        ("s", r"by rate.*vale1:one.*vale2:two"), ("r", "by name"), ("/", r"tx 0"), ("two", "filter: _"),
        ("\n", r"ports 1 of 2, by name, only two"), ("p", "only two"), ("p", "PAUSED"), ("?", "only two"), ("?", "Usage: netmapctl top"),
        ("S", "only two"),
    ], None)
    screens = drawn.split("\033[H")
    assert all("\033[K" in s for s in screens[2:])
    assert drawn.count("\033[?1049h") == drawn.count("\033[?1049l") == 1 and drawn.rstrip().endswith("\033[?25h\033[?1049l")
    for screen in screens[1:]:
        rows = re.sub(r"\033\[\??[0-9]*[A-Za-z]", "", screen).replace("\r", "").split("\n")
        assert all(len(row) <= 100 for row in rows)


# ------------------------------------------------------------ watch


def test_watch(daemon):
    with Connection(daemon.path) as c:
        last, _, _ = ask_events(c, 2**64 - 1)
    child = spawn(NETMAPCTL, "--socket", daemon.path, "watch", "--json", "--after", last, "--count", "9", path=daemon.path)
    with Port(daemon.path, "vale1:a", **SMALL):
        assert good(daemon, "rename", "vale1:a", "b") == ""
    machine = Connection(daemon.path)
    machine.vm_create(b"web")
    machine.close()
    wait_until(lambda: daemon.status()["vms"] == [], "the machine is gone")
    good(daemon, "limit", "ports=7/9")
    with Port(daemon.path, "vale1:z", **SMALL):
        events = [json.loads(line) for line in finish(child).splitlines()]
    assert [(e["event"], e["name"]) for e in events] == [
        ("port_new", "vale1:a"), ("link_up", "vale1:a"), ("port_named", "vale1:b"), ("link_down", "vale1:b"), ("port_gone", "vale1:b"),
        ("machine_new", "web"), ("machine_gone", "web"), ("limit", "ports"), ("port_new", "vale1:z"),
    ]
    assert [e["number"] for e in events] == list(range(events[0]["number"], events[0]["number"] + 9))
    assert events[2]["detail"] == "vale1:a" and events[7]["detail"] == "ports=7/9" and events[0]["user"] == os.getuid()
    now = time.time_ns()
    assert all(now - 60e9 < e["time_ns"] <= now for e in events)


def test_watch_for_people(daemon, open_port):
    open_port("vale1:a", **SMALL)
    lines = good(daemon, "watch", "--after", "0", "--count", "2").splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6}  port vale1:a is there \(vale\), user \S+", lines[0])
    assert re.fullmatch(r"\S+  link of vale1:a is up \(vale\), user \S+", lines[1])


def test_watch_ends_with_netmapd(start_netmapd):
    daemon = start_netmapd()
    Port(daemon.path, "vale1:a", **SMALL).close()
    child = spawn(NETMAPCTL, "--socket", daemon.path, "watch", "--after", "0", path=daemon.path)
    assert "port vale1:a is there" in child.stdout.readline()    # then it waits
    daemon.stop()
    assert "netmapd has ended" in finish(child, 3)


def test_top_ends_with_netmapd(start_netmapd):
    daemon = start_netmapd()
    child = spawn(NETMAPCTL, "--socket", daemon.path, "top", "--count", "1000000", "--interval", "0.05", path=daemon.path)
    assert child.stdout.readline()
    daemon.stop()
    _, words = child.communicate(timeout=60)
    assert child.returncode == 3 and words == "netmapctl: netmapd closed the connection\n"


def ask_events(c, after, wait=0):
    body, _ = c.ask(EVENTS, struct.pack("=QII", after, wait, 0))
    last, lost, count, _ = struct.unpack_from("=QQII", body)
    events = [struct.unpack_from("=QQII64s64s", body, 24 + 152 * i) for i in range(count)]
    return last, lost, [(e[0], e[2], e[4].split(b"\0")[0].decode()) for e in events]


def test_events_that_were_missed(daemon):
    """The last 1024 are kept; who comes later is told how many he has missed."""
    for n in range(300):
        Port(daemon.path, f"vale1:{n}", tx_slots=8, rx_slots=8).close()
    wait_until(lambda: daemon.ports() == [], "all are gone")
    with Connection(daemon.path) as c:
        last, _, none = ask_events(c, 2**64 - 1)
        assert last == 1200 and none == []
        at, lost, events = ask_events(c, 0)
        assert lost == 176 and events[0][0] == 177
        while at < last:
            at, lost, more = ask_events(c, at)
            assert lost == 0
            events += more
        assert [e[0] for e in events] == list(range(177, 1201))
        assert ask_events(c, 12345) == (1200, 0, [])  # of a netmapd before this one


def test_who_waits_for_events_can_ask(daemon, connect_raw):
    """The wait ends, without an event, and the other message is answered behind it."""
    c = connect_raw
    last, _, _ = ask_events(c, 2**64 - 1)
    c.send(struct.pack("=IHHIi", 0x746E7470, 1, EVENTS, 32, 0) + struct.pack("=QII", last, 1, 0))
    c.send(struct.pack("=IHHIi", 0x746E7470, 1, 1, 16, 0))
    assert [struct.unpack_from("=IHHIi", c.receive()[0])[2] for _ in range(2)] == [EVENTS, 1]
    with Port(daemon.path, "vale1:a"):
        assert ask_events(c, last, wait=1)[2][0][2] == "vale1:a"


@pytest.fixture
def connect_raw(daemon):
    with Connection(daemon.path) as c:
        yield c


# ------------------------------------------------------------ changes


def bounds(daemon):
    return {port["name"]: port["full_wait_us"] for port in daemon.status()["ports"]}


def test_full_wait(daemon, open_port):
    """Of ports that are there, of those to come; what can't be."""
    machine = Connection(daemon.path)
    machine.vm_create(b"m")
    machine.vm_add_port("vale1:vm")
    machine.vm_add_port("vale11:vm")
    open_port("vale1:a", **SMALL)
    assert bounds(daemon) == {"vale1:vm": 100000, "vale11:vm": 100000, "vale1:a": 0}
    assert good(daemon, "full-wait", "vale1", "250") == ""
    machine.vm_add_port("vale1:vm2")
    machine.vm_add_port("vale2:vm")
    assert bounds(daemon) == {"vale1:vm": 250000, "vale1:vm2": 250000, "vale11:vm": 100000, "vale2:vm": 100000, "vale1:a": 0}
    check_json(good(daemon, "full-wait", "vale1:a", "10000", "--json"), "done")
    good(daemon, "full-wait", "vale1:vm", "0")
    assert bounds(daemon)["vale1:a"] == 10000000 and bounds(daemon)["vale1:vm"] == 0
    shown = good(daemon, "show", "vale1:a")
    assert "full_wait_us 10000000" in shown and "WAITED" in shown and "EXPIRED" in shown
    for status, text, *args in (
        (4, "vale1:x: no such port", "vale1:x", "1"),
        (2, "from 0 to 10000, not '10001'", "vale1", "10001"),
        (2, '"eth0" is not the name of a switch', "eth0", "1"),
        (2, '"vale1{1" is not the name of a switch', "vale1{1", "1"),
        (2, '" " is not the name of a switch', " ", "1"),
        (2, "too long for the name of a switch", "vale" + "1" * 59, "1"),
        (2, "on switches only", "vale1:a{1", "1"),
        (2, "MS, which may be any, needs a number", "vale1", "-1"),
        (2, "not 'none'", "vale1", "none"),
        (4, "vale1:x: no such port", "vale1:x", "any"),
        (2, '"eth0" is not the name of a switch', "eth0", "any"),
        (2, "needs a switch", "vale1"),
    ):
        bad(daemon, status, text, "full-wait", *args)
    # Taken back: a port is as its switch, an application's without one, a switch as all.
    good(daemon, "full-wait", "vale1:vm", "any")
    good(daemon, "full-wait", "vale1:a", "any")
    assert (bounds(daemon)["vale1:vm"], bounds(daemon)["vale1:a"]) == (250000, 0)
    check_json(good(daemon, "full-wait", "vale1", "any", "--json"), "done")
    assert (bounds(daemon)["vale1:vm"], bounds(daemon)["vale1:vm2"]) == (100000, 100000)
    assert daemon.status()["daemon"]["full_wait"] == []
    # So many switches have a bound of their own; one that is as the others needs no place.
    for i in range(64):
        good(daemon, "full-wait", f"vale1{i:03}" if i else "vale1", "1")
    bad(daemon, 1, "64 switches and ports have a bound of their own", "full-wait", "vale9", "1")
    good(daemon, "full-wait", "vale1", "100")
    good(daemon, "full-wait", "vale9", "1")
    with Connection(daemon.path) as c, pytest.raises(Refused):
        c.ask(FULL_WAIT, b"\xfe" * 72)
    machine.close()


def test_rename(daemon, open_port):
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    assert good(daemon, "rename", "vale1:a", "vale1:x") == ""
    assert daemon.ports() == ["vale1:b", "vale1:x"]
    a.send(frame(2, 1))
    assert b.receive(1) == [frame(2, 1)]  # it goes on working
    for status, text, *args in (
        (4, "vale1:a: no such port", "vale1:a", "y"),
        (1, "vale1:b: another port has this name", "vale1:x", "b"),
        (2, "stays there, not on vale2", "vale1:x", "vale2:x"),
        (1, "only ports of a switch", "eth0", "vale1:x"),
        (1, "only ports of a switch", "vale1:x", "vale1:x{1"),
        (2, "without space and /", "vale1:x", "vale1:a/b"),
        (2, "a switch port is", "vale1:x", "vale1:"),
    ):
        bad(daemon, status, text, "rename", *args)
    open_port("vale1:x{1")
    bad(daemon, 1, "pipes, monitors or a device go by this name", "rename", "vale1:x", "y")
    open_port("vale1:a", **SMALL)  # the name is free
    with Connection(daemon.path) as c, pytest.raises(Refused):
        c.ask(RENAME, b"\xff" * 128)


def test_limit(daemon, open_port):
    good(daemon, "limit", "ports=2")
    open_port("vale1:a", **SMALL)
    open_port("vale1:b", **SMALL)
    with pytest.raises(Refused, match="ports: user .* has 2 of at most 2"):
        Port(daemon.path, "vale1:c", **SMALL)
    good(daemon, "limit", "ports=3")
    open_port("vale1:c", **SMALL)
    good(daemon, "limit", "ports=1/2")  # less than there is: that stays
    assert len(daemon.ports()) == 3
    shown = check_json(good(daemon, "limit", "ports", "--json"), "limit")
    assert [(e["limit"], e["limit_all"], e["used"], e["refused"]) for e in shown] == [(1, 2, 3, 1)]
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert re.search(rf"ports +1 +2 +3 +1 +{user} 3$", good(daemon, "limit"), re.M)
    assert re.search(rf"buffers +4194304 +16777216 +384 +0 +{user} 384$", good(daemon, "limit"), re.M), "all digits"
    assert re.search(rf"memory .* {user} [0-9.]+ [KM]iB$", good(daemon, "limit"), re.M)
    # As they are typed.
    good(daemon, "limit", "memory=2G/3000M")
    good(daemon, "limit", "external-memory=100K/1T")
    table = good(daemon, "limit")
    assert re.search(r"^memory +2\.0 GiB +2\.9 GiB +[0-9.]+ MiB +0 ", table, re.M), table
    assert re.search(r"^external-memory +100 KiB +1\.0 TiB +0 B +0", table, re.M), table
    assert "LIMIT" in good(daemon, "status")
    for text, args in ("ports=N", ["ports=x"]), ("ports=N", ["ports=2/1"]), ("ports=N", ["ports="]), ("ports=N", ["ports=-1"]), \
            ("memory=N", ["memory=1X"]), ("'' is not", [""]), ("'-x' is not", ["-x"]), ("one argument", ["ports=1", "rings=2"]):
        bad(daemon, 2, text, "limit", *args)
    for text, arg in ("none of", "size=1"), ("none of", "=1"), ("'size'", "size"):
        bad(daemon, 4, text, "limit", arg)


@pytest.mark.skipif(os.getuid() != 0, reason="makes a request as another user: as root only")
def test_limit_of_others(start_netmapd, place):
    """Only root, and the user whose netmapd it is."""
    daemon = start_netmapd()
    os.chmod(daemon.path, 0o666)
    program = shutil.copy(NETMAPCTL, place / "netmapctl")
    result = run(program, "--socket", daemon.path, "limit", "ports=1", user=65534, group=65534, extra_groups=[])
    assert result.returncode == 5 and "limits are set by root" in result.stderr
    with Connection(daemon.path) as c:
        c.ask(LIMIT, b"ports=5".ljust(64, b"\0"))


def test_attach_without_a_device(daemon):
    bad(daemon, 4, "nodev", "attach", "vale1:nodev")
    bad(daemon, 4, "nodev", "attach", "vale1:nodev", "--host")
    bad(daemon, 4, "vale1:nodev", "detach", "vale1:nodev")


def test_attach_of_no_name(daemon):
    bad(daemon, 2, "without space and /", "attach", "vale1:a b")


def test_capture_of_what_it_cannot(daemon, open_port, place):
    open_port("vale1:a", **SMALL)
    bad(daemon, 1, f"can't open {place}/none/x: No such file", "capture", "vale1:a", "-w", place / "none/x")
    bad(daemon, 4, "vale1:b: no such port", "capture", "vale1:b", "-w", place / "x")
    # Wrong is wrong, be the port there or not; and no file is touched.
    for port in "vale1:a", "vale1:b":
        bad(daemon, 2, "filter '(':", "capture", port, "-f", "(", "-w", place / "x")
    assert not (place / "x").exists()


@pytest.mark.parametrize("args", [["save"], ["metrics", "--textfile"]])
def test_files_that_are_written(daemon, place, args):
    """An error names what was typed, and why; nothing else is left; what isn't a file stays what it is."""
    def listing():
        return sorted(p.name for p in place.iterdir())

    good(daemon, *args, place / "x")
    text, before = (place / "x").read_text(), listing()
    assert text
    good(daemon, *args, place / "x")
    (place / "x").chmod(0o600)
    bad(daemon, 1, f"can't write {place}/none/x: No such file or directory\n", *args, place / "none/x")
    bad(daemon, 1, f"can't write {place}/x/y: Not a directory\n", *args, place / "x/y")
    bad(daemon, 1, f"can't write {place}: Is a directory\n", *args, place)
    fifo = place / "fifo"
    os.mkfifo(fifo)
    bad(daemon, 1, f"can't write {fifo}: it is not a file\n", *args, fifo)
    assert fifo.is_fifo()
    fifo.unlink()
    assert listing() == before
    # Where another user can make links.
    (place / "target").write_text("")
    (place / "link").symlink_to(place / "target")
    good(daemon, *args, place / "link")
    assert (place / "target").read_text() == "" and not (place / "link").is_symlink()


# ------------------------------------------------------------ completion


COMPLETIONS = [
    (["sta"], ["status"]), (["show", ""], ["vale1:a", "vale1:b"]), (["show", "vale1:b"], ["vale1:b"]), (["top", "--so"], ["--sort"]),
    (["top", "--sort", "na"], ["name"]), (["flush", ""], ["vale1"]), (["limit", "mem"], ["memory"]), (["--js"], ["--json"]),
    (["--json", "li"], ["limit", "list"]),
    # Options' values, and what stands behind a name.
    (["capture", "--direction", ""], ["both", "rx", "tx"]),
    (["capture", "-w", ""], []),
    (["capture", "-c", "3", "-q", "vale1:a"], ["vale1:a"]),
    (["capture", "vale1:a", ""], []),
    (["rename", "vale1:a", ""], []),
    (["full-wait", "vale1"], ["vale1", "vale1:a", "vale1:b"]),
    (["full-wait", "vale1", ""], ["any"]),
    (["nic-check", "--n"], ["--nic-socket"]),
]


@pytest.fixture
def two_ports(open_port):
    return open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)


def test_complete(daemon, two_ports):
    for words, expected in COMPLETIONS:
        assert sorted(good(daemon, "complete", *words).split()) == expected, words
        assert sorted(run(NETMAPCTL, "complete", "--socket", daemon.path, *words).stdout.split()) == expected, words


def test_complete_bash(daemon, two_ports):
    """As the shell calls it; without and with bash-completion, which knows of colons, this is the same."""
    script = f"""
        . {REPO}/tools/netmapctl/netmapctl.bash
        COMP_WORDS=({NETMAPCTL} "$@"); COMP_CWORD=$#
        _netmapctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    for words, expected in COMPLETIONS:
        result = run("bash", "-c", script, "bash", *words, env=environment(daemon.path))
        assert (sorted(result.stdout.split()), result.stderr) == (expected, ""), words
    registered = run("bash", "-c", f". {REPO}/tools/netmapctl/netmapctl.bash; complete -p netmapctl")
    assert registered.stdout.strip() == "complete -o default -F _netmapctl netmapctl"


def test_complete_zsh(daemon, two_ports):
    script = f"""
        compadd() {{ shift; print -l -- "$@"; }}
        _files() {{ print files; }}
        words=({NETMAPCTL} "$@"); CURRENT=$(( $# + 1 ))
        . {REPO}/tools/netmapctl/_netmapctl
    """
    for words, expected in COMPLETIONS:
        result = run("zsh", "-fc", script, "zsh", *words, env=environment(daemon.path))
        assert (sorted(result.stdout.split()), result.stderr) == (expected or ["files"], ""), words
    assert run("zsh", "-fc", script, "zsh", "show", "x", env=environment(daemon.path)).stdout == "files\n"
    assert (REPO / "tools/netmapctl/_netmapctl").read_text().startswith("#compdef netmapctl\n")
