# SPDX-License-Identifier: BSD-2-Clause
"""Configuration that stays: files, netmapctl apply and save, reload; settings that change while packets flow."""

import contextlib
import errno
import itertools
import json
import os
import signal
import struct
from pathlib import Path

import jsonschema
import pytest

from ptnet_real import (
    BUILD, HDR, NETMAPCTL, NETMAPD, NO_MEMORY, REFUSED_MEMORY, REPLY, REPO, SANITIZED, SET, VALE_ATTACH, Connection, Port, Refused,
    environment, expect_line, frame, message, nmreq, run, wait_until,
)
from test_policy import as_user, open_port, refused
from test_tap import LIBC, REASON, control, device, new_namespace, newif

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 1 << 18

taps = pytest.mark.skipif(REASON is not None, reason=f"needs CAP_NET_ADMIN and TUN: {REASON}")
root = pytest.mark.skipif(os.getuid() != 0, reason="acts as several users: as root only")


def ctl(daemon, *args, status=0):
    result = run(NETMAPCTL, "--socket", daemon.path, *args)
    assert result.returncode == status, result
    return result


def lines(daemon):
    return [line for line in ctl(daemon, "save").stdout.splitlines() if not line.startswith("#")]


def write(place, text, name="a.conf"):
    (place / "d").mkdir(exist_ok=True)
    (place / "d" / name).write_text(text)
    return place / "d" / name


def change(daemon, line):
    with Connection(daemon.path) as c:
        c.ask(SET, line.encode().ljust(256, b"\0"))


def settings(daemon):
    return daemon.status()["daemon"]["settings"]


@taps
def test_at_the_start_and_again(start_netmapd, place):
    """Settings, placements, ports and devices are there; what the files don't say any more goes at the next reading."""
    write(place, "set workers 2\nset poll-us 70\nplace vale1:* 1\nport tapc0 tx-rings=2  # a comment\nattach vale1:tapc0\n")
    daemon = start_netmapd("--config", place / "d", preexec_fn=new_namespace)
    daemon.logged("attach vale1:tapc0")
    want = ["set workers 2", "set poll-us 70", "place vale1:* 1", "attach vale1:tapc0"]
    assert [line for line in lines(daemon) if line in want] == want and device(daemon, "tapc0")
    assert ctl(daemon, "apply", place / "d").stdout == "nothing to change\n"
    before = daemon.status()
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("reads its configuration again")
    with Connection(daemon.path) as c:
        c.nmreq(nmreq(VALE_ATTACH, "vale9:tapc0", struct.pack("=QQIIHHHHHHII4xQ", *[0] * 10, 1, 0, 0) + bytes(8)))
    assert {p["id"] for p in before["ports"]} <= {p["id"] for p in daemon.status()["ports"]}
    write(place, "set poll-us 80\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("a.conf:1: set poll-us 80 (was: set poll-us 70)")
    left = lines(daemon)
    # What somebody else has made stays: the device on a second switch, and so the device.
    assert "place vale1:* 1" not in left and "attach vale1:tapc0" not in left and "set poll-us 80" in left


def read_again(daemon, place, text, until):
    """The last line of the text is applied behind what goes, and is new each time."""
    write(place, text)
    daemon.process.send_signal(signal.SIGHUP)
    return daemon.logged(until)


@taps
def test_what_could_not_go_goes_the_next_time(start_netmapd, place):
    """A port that an application has is not removed; nor forgotten."""
    write(place, "port tapc0\n")
    daemon = start_netmapd("--config", place / "d", preexec_fn=new_namespace)
    daemon.logged("port tapc0")
    with Port(daemon.path, "tapc0"):
        log = read_again(daemon, place, "set poll-us 71\n", "set poll-us 71")
        assert "tapc0: the port is in use" in log, log
        read_again(daemon, place, "set poll-us 72\n", "set poll-us 72")
        assert daemon.ports() == ["tapc0"]
    wait_until(lambda: [p["users"] for p in daemon.status()["ports"]] == [0], "the application is gone")
    read_again(daemon, place, "set poll-us 73\n", "set poll-us 73")
    assert daemon.ports() == []


@taps
def test_what_others_have_made_under_its_name_stays(start_netmapd, place):
    """Of other rings than the configuration wants: that is said, and when it wants none any more, nothing is removed."""
    (place / "d").mkdir(exist_ok=True)
    daemon = start_netmapd("--config", place / "d", preexec_fn=new_namespace)
    control(daemon, newif, "tapc0")
    log = read_again(daemon, place, "set poll-us 71\nport tapc0 tx-rings=3\n", "is there with other rings")
    assert "a.conf:2: tapc0 is there" in log, log
    read_again(daemon, place, "set poll-us 72\n", "set poll-us 72")
    assert daemon.ports() == ["tapc0"]


@taps
def test_what_a_line_has_not_made_stays(start_netmapd, place):
    """There was no such device for it. One that somebody has made and attached since doesn't go when the line does."""
    (place / "d").mkdir(exist_ok=True)
    daemon = start_netmapd("--config", place / "d", preexec_fn=new_namespace)
    read_again(daemon, place, "set poll-us 71\nattach vale1:tapc0 poll=0\n", "a.conf:2: tapc0: ")
    control(daemon, newif, "tapc0")
    ctl(daemon, "attach", "vale1:tapc0")
    read_again(daemon, place, "set poll-us 72\n", "set poll-us 72")
    assert [a["name"] for a in daemon.status()["attached"]] == ["vale1:tapc0"]


@taps
def test_what_a_line_has_made_in_part_goes(start_netmapd, place):
    """The device is attached, but not polled as the line wants it."""
    (place / "d").mkdir(exist_ok=True)
    daemon = start_netmapd("--config", place / "d", preexec_fn=new_namespace)
    read_again(daemon, place, "port tapc0\nattach vale1:tapc0 poll=0+4\n", "a.conf:2: ")
    assert [a["name"] for a in daemon.status()["attached"]] == ["vale1:tapc0"]
    read_again(daemon, place, "set poll-us 72\n", "detach vale1:tapc0")
    wait_until(lambda: daemon.status()["attached"] == [], "it is detached")


@taps
def test_apply(start_netmapd, place):
    """Says what it changes, and then there is nothing to change; --check changes nothing; --exact removes."""
    daemon = start_netmapd("--workers", "1", preexec_fn=new_namespace)
    text = "set workers 3\nset cpus 0,0\nplace vale* 2\nlimit all ports=77\nport tapc0\nport tapc1 rx-slots=64\nattach vale1:tapc0\n"
    file = write(place, text)
    before = daemon.status()
    would = ctl(daemon, "apply", "--check", file).stdout
    assert would.splitlines() == ["would " + line for line in (
        "set workers 3 (was: set workers 1)", "set cpus 0,0 (was: set cpus any)", "place vale* 2", "limit all ports=77", "port tapc0",
        "port tapc1 rx-slots=64", "attach vale1:tapc0")]
    assert daemon.status()["ports"] == before["ports"] and settings(daemon)["workers"] == "1"
    assert ctl(daemon, "apply", file).stdout == would.replace("would ", "")
    wait_until(lambda: daemon.workers() == ["worker-0", "worker-1", "worker-2"], "all have named themselves")
    assert ctl(daemon, "apply", file).stdout == "nothing to change\n"
    again = json.loads(ctl(daemon, "--json", "apply", file).stdout)
    assert again == []
    saved = place / "saved"
    ctl(daemon, "save", saved)
    assert ctl(daemon, "apply", "--exact", saved).stdout == "nothing to change\n"
    file = write(place, "port tapc1\nset workers 1\nset cpus any\n")
    changes = json.loads(ctl(daemon, "--json", "apply", "--exact", file).stdout)
    assert [c["change"] for c in changes] == ["detach vale1:tapc0", "remove tapc0", "place vale* any", "set workers 1", "set cpus any"]
    assert all(c["done"] for c in changes) and changes[3] | {"file": ""} == {
        "change": "set workers 1", "was": "set workers 3", "file": "", "line": 2, "done": True}
    schema = json.loads((REPO / "tools/netmapctl/netmapctl.schema.json").read_text())
    for kind, value in ("apply", changes), ("save", json.loads(ctl(daemon, "--json", "save").stdout)), ("status", daemon.status()):
        jsonschema.validate(value, {**schema, "$ref": f"#/definitions/{kind}"})
    wait_until(lambda: daemon.workers() == ["worker-0"], "the others are gone")


def waits(daemon):
    """Of each port; applications' have none."""
    return {port["name"]: port["full_wait_us"] // 1000 for port in daemon.status()["ports"] if port["full_wait_us"]}


@taps
def test_full_waits(start_netmapd, place):
    """Of switches and ports by their names, whether they are there or not; saved, applied, taken back; of the user for his port."""
    daemon = start_netmapd("--full-wait-ms", "vale3=7", preexec_fn=new_namespace)
    with Connection(daemon.path) as machine:
        machine.vm_create(b"m")
        for name in "vale1:a", "vale1:b", "vale2:a", "vale3:a":
            machine.vm_add_port(name)
        machine.vm_add_port("vale1:own@conf:slots=64,full-wait-ms=0")
        machine.vm_add_port("vale1:more@conf:full_wait_ms=3")
        assert waits(daemon) == {"vale1:a": 100, "vale1:b": 100, "vale2:a": 100, "vale3:a": 7, "vale1:more": 3}
        for name, text in ("vale1:x@conf:full-wait-ms=10001", "full-wait-ms"), ("netmap:p{1@conf:full-wait-ms=1", "on switches only"), \
                ("vale1:a/r@conf:full-wait-ms=1", "on switches only"):
            with pytest.raises(Refused, match=text):
                machine.vm_add_port(name)
        file = write(place, "full-wait vale1 50\nfull-wait vale1:b 0\nfull-wait vale1:later 9\nport tapc0\nattach vale2:tapc0\n")
        assert ctl(daemon, "apply", "--check", file).stdout.startswith("would full-wait vale1 50\nwould full-wait vale1:b 0\n")
        assert "vale1:b" in waits(daemon)
        assert "full-wait vale1 50\n" in ctl(daemon, "apply", file).stdout
        assert ctl(daemon, "apply", file).stdout == "nothing to change\n"
        assert waits(daemon) == {"vale1:a": 50, "vale1:own": 50, "vale1:more": 50, "vale2:a": 100, "vale2:tapc0": 100, "vale3:a": 7}
        machine.vm_add_port("vale1:later")
        assert waits(daemon)["vale1:later"] == 9
        # What is set for a device, or a port that has a line, is kept and saved; that of a machine's port goes with it.
        ctl(daemon, "full-wait", "vale2:tapc0", "0")
        ctl(daemon, "full-wait", "vale2:a", "1")
        ctl(daemon, "full-wait", "vale2", "200")
        ctl(daemon, "full-wait", "vale1:b", "2")
        assert (waits(daemon).get("vale2:tapc0"), waits(daemon)["vale2:a"], waits(daemon)["vale1:b"]) == (None, 200, 2)
        assert ctl(daemon, "apply", file).stdout == "full-wait vale1:b 0 (was: full-wait vale1:b 2)\n"
        saved = place / "saved"
        ctl(daemon, "save", saved)
        wanted = {"full-wait vale3 7", "full-wait vale1 50", "full-wait vale1:b 0", "full-wait vale1:later 9", "full-wait vale2 200",
                  "full-wait vale2:tapc0 0"}
        assert {line for line in saved.read_text().splitlines() if line.startswith("full-wait")} == wanted
        assert ctl(daemon, "apply", "--exact", saved).stdout == "nothing to change\n"
        change(daemon, "full-wait vale2 150")
        assert "vale2:tapc0" not in waits(daemon) and waits(daemon)["vale2:a"] == 150
        # As for all others, but said: it stays when that changes. Without its line a port is as its switch, a switch as all.
        file = write(place, "set full-wait-ms 60\nfull-wait vale1 60\nport tapc0\nattach vale2:tapc0\n")
        out = ctl(daemon, "apply", "--exact", file).stdout
        assert "full-wait vale1:b any (was: full-wait vale1:b 0)\n" in out
        assert set(waits(daemon).values()) == {60}
        assert ctl(daemon, "apply", "--exact", file).stdout == "nothing to change\n"
        change(daemon, "set full-wait-ms 61")
        assert waits(daemon)["vale1:a"] == 60 and waits(daemon)["vale2:a"] == 61
        for wrong in "full-wait vale1:a{1 1", "full-wait vale1 any more":
            with pytest.raises(Refused):
                change(daemon, wrong)
        for i in range(63):
            change(daemon, f"full-wait vale5:{i} 5")
        with pytest.raises(Refused, match="64 switches and ports have a bound of their own"):
            change(daemon, "full-wait vale5:x 5")
        change(daemon, "full-wait vale5:0 any")
        change(daemon, "full-wait vale5:x 5")
        # The same by hand, whether the port is there or not.
        ctl(daemon, "full-wait", "vale5:x", "any")
        change(daemon, "full-wait vale1:a 9")
        ctl(daemon, "full-wait", "vale1:a", "any")
        assert waits(daemon)["vale1:a"] == 60
        # An application's has one when it is said; a line for its name or none.
        with Port(daemon.path, "vale1:app"):
            for line in None, "full-wait vale1:app 9":
                if line:
                    change(daemon, line)
                ctl(daemon, "full-wait", "vale1:app", "20")
                assert waits(daemon)["vale1:app"] == 20
                ctl(daemon, "full-wait", "vale1:app", "any")
                assert "vale1:app" not in waits(daemon)
        names = [w["name"] for w in daemon.status()["daemon"]["full_wait"]]
        assert "vale1:a" not in names and "vale5:x" not in names and "vale5:1" in names


@taps
def test_what_fails(start_netmapd, place):
    """It is said with file and line; the rest is done."""
    daemon = start_netmapd("--workers", "1", preexec_fn=new_namespace)
    file = write(place, "attach vale1:nothere\nport tapc0 tx-rings=2\nplace vale1:* 7\nset poll-us 30\n")
    result = ctl(daemon, "apply", file, status=1)
    assert result.stdout == "set poll-us 30 (was: set poll-us 50)\nport tapc0 tx-rings=2\n"
    assert f"{file}:1: vale1:nothere: " in result.stderr or f"{file}:1: nothere: " in result.stderr, result.stderr
    assert f"{file}:3: vale1:*: there is no worker 7, the last one is number 0" in result.stderr
    result = ctl(daemon, "apply", write(place, "port tapc0 tx-rings=1\n"), status=1)
    assert "is there with other rings" in result.stderr
    result = ctl(daemon, "apply", write(place, "allow all port x\nset poll-us 30\n"))
    assert "1 line says what users may" in result.stderr and result.stdout == "nothing to change\n"


@taps
def test_host_rings_and_polling(start_netmapd, place):
    daemon = start_netmapd("--workers", "1", preexec_fn=new_namespace)
    ctl(daemon, "apply", write(place, "port tapc0\nattach vale1:tapc0\n"))
    for line, was in ("attach vale1:tapc0 poll=0", "attach vale1:tapc0"), ("attach vale1:tapc0 host", "attach vale1:tapc0 poll=0"):
        assert ctl(daemon, "apply", write(place, line + "\n")).stdout == f"{line} (was: {was})\n"
        assert ctl(daemon, "apply", write(place, line + "\n")).stdout == "nothing to change\n"
        assert line in lines(daemon)


@pytest.mark.parametrize("text,wrong", [
    ("sat poll-us 1", "1: a line begins with set, place, port, attach, full-wait, allow or limit, not 'sat'"),
    ("# one\nset poll-us", "2: a name and one value should follow"),
    ("set poll-us 1000001", "1: poll-us is a number from 0 to 1000000, not '1000001'"),
    ("set workers 0", "1: workers is a number from 1 to 64, not '0'"),
    ("set workers 65", "1: workers is"),
    ("set cpus 1,x", "1: cpus is any, or CPUs, as in 2,3, not '1,x'"),
    ("set cpus 1,", "1: cpus is"),
    ("set cpus 1024", "1: cpus is"),
    ("set spread rings", "1: spread is port or ring, not 'rings'"),
    ("set full-wait-ms -1", "1: full-wait-ms is"),
    ("set speed 1", "can be set, not 'speed'"),
    ("place vale1:* 64", "workers are any, or numbers from 0 to 63"),
    ("place vale1:*", "a pattern and workers"),
    ("place " + "x" * 64 + " 1", "at most 63 bytes"),
    ("port", "the name of a port"),
    ("port vale1:x", "has a name of its own"),
    ("port x rings=1", "tx-rings=N"),
    ("port x tx-rings=65", "tx-rings=N"),
    ("attach eth0", "SWITCH:DEVICE"),
    ("attach vale1:", "SWITCH:DEVICE"),
    ("attach vale1:x guest", "host, poll=CPU"),
    ("attach vale1:x poll=", "host, poll=CPU"),
    ("attach vale1:x poll=1+0", "host, poll=CPU"),
    ("full-wait vale1", "a switch or a port of one, as vale1, and milliseconds"),
    ("full-wait eth0 1", "a switch or a port of one, as vale1, and milliseconds"),
    ("full-wait vale1 10001", "1: milliseconds are any, or a number from 0 to 10000, not '10001'"),
    ("full-wait vale1 x", "1: milliseconds are any"),
    ("full-wait vale" + "1" * 60 + " 1", "at most 63 bytes"),
    ("full-wait vale1 1\nfull-wait vale1 2", ":2: vale1 is in "),
    ("set poll-us 1\nset workers 1\nset poll-us 2", ":3: poll-us is in "),
    ("port x\nport x tx-rings=2", ":2: x is in "),
    ("set " + "x" * 5000, "a line is too long"),
    ("allow all ports x", "1: port, capture, device, region or status, not 'ports'"),
    ("allow all port", "1: which ones? behind 'port'"),
    ("allow user root status x", "1: nothing follows 'status'"),
    ("allow", "1: user NAME, group NAME or all, and what they may, should follow 'allow'"),
    ("allow nobody-here port x", "1: user NAME, group NAME or all"),
    ("allow user root region 6553%u9", "1: no number of a region, 1 to 65535: '6553"),
    ("allow all region %u", "1: no number of a region, 1 to 65535: '%u'"),
    ("limit user root port%us=1", '1: "port'),
    ("allow group root region 65536", "1: no number of a region, 1 to 65535: '65536'"),
    ("allow user root port vale%x:*", "1: a % that is neither %u nor %n, or too long: 'vale%x:*'"),
    ("allow all port vale%n:*", "1: %n is for users and groups, %u for all:"),
    ("allow user root port " + "x" * 128, "1: a % that is neither %u nor %n, or too long:"),
    ("set poll-us 1\nallow all port" + " x" * 61, "2: a line has at most 63 words, begin another one with 'x'"),
    ("limit user root ports=1/2", '1: "ports=1/2": a bound of one user is ports=N'),
    ("limit group root portz=1", '1: "portz" is none of ports, rings,'),
    ("limit all ports=2/1", '1: "ports=2/1": a bound is ports=N of each user, or N/M with M of all, not less'),
    ("limit all portz=1", '1: "portz" is none of ports, rings,'),
])
def test_wrong_lines(place, text, wrong):
    """netmapd doesn't start, netmapctl changes nothing; both name file and line."""
    file = write(place, text + "\n")
    expect_line(run(NETMAPD, "--socket", place / "socket", "--config", place / "d"), 2, "netmapd", f"--config: {file}:", wrong)
    for option in "--check", "--exact":
        expect_line(run(NETMAPCTL, "--socket", place / "socket", "apply", option, file), 2, "netmapctl", f"{file}:", wrong)


def test_a_wrong_file_changes_nothing(start_netmapd, place):
    """Read again while it runs, with an error: all stays. Files that aren't *.conf, and netmapd-nic's, are none."""
    write(place, "set poll-us 60\n")
    write(place, "nonsense\n", "nic.conf")
    write(place, "nonsense\n", "a.conf.old")
    daemon = start_netmapd("--config", place / "d", "--workers", "1")
    daemon.logged("set poll-us 60")
    write(place, "set full-wait-ms 5\nset nonsense\n", "b.conf")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("b.conf:2: a name and one value should follow 'set'; nothing is changed")
    assert settings(daemon)["poll-us"] == "60"
    (place / "d/b.conf").unlink()
    write(place, "set poll-us 62\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("set poll-us 62")


def test_background_is_ready_when_it_is_applied(place):
    write(place, "set poll-us 63\nset workers 2\nplace x 1\n")
    path = place / "socket"
    assert run(NETMAPD, "--socket", path, "--config", place / "d", "--nic", "off", "--background").returncode == 0
    with Connection(path) as c:
        status = c.status()
        pid = c.hello()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not path.exists(), "it has ended")
    assert status["daemon"]["settings"]["poll-us"] == "63" and status["daemon"]["placement"] == [{"pattern": "x", "workers": "1"}]


@root
def test_rules_of_users_are_read_again(start_netmapd, place):
    """allow and limit stand in the same files; on SIGHUP they are those of the files, and an error leaves the former."""
    alice = 51001
    write(place, f"set poll-us 60\nallow user {alice} port vale_a:*\nlimit user {alice} ports=1\n")
    daemon = start_netmapd("--config", place / "d", "--workers", "1")
    assert as_user(alice, open_port, daemon.path, "vale_a:x")
    refused(alice, f"no rule of {place}/d allows", open_port, daemon.path, "vale_b:x")
    write(place, f"allow user {alice} port vale_b:*\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.log().count("reads its configuration") == 1 and settings(daemon)["poll-us"] == "60", "it has read")

    def moved():
        try:
            return as_user(alice, open_port, daemon.path, "vale_b:x")
        except Refused:
            return False

    wait_until(moved, "the new rule is in force")
    refused(alice, "no rule", open_port, daemon.path, "vale_a:x")
    write(place, "allow user nobody-here port x\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("no such user: 'nobody-here'; nothing is changed")
    assert moved()
    refused(alice, "settings are changed by root", change, daemon.path and daemon, "set poll-us 1")


def odd_directory(place):
    """In a child, before exec: users are in files, and in a directory whose library does what the sandbox forbids (nss_odd.c)."""
    if LIBC.unshare(CLONE_NEWNS) or LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) or LIBC.mount(
            bytes(place / "nsswitch.conf"), b"/etc/nsswitch.conf", None, MS_BIND, None):
        os._exit(77)


@root
def test_users_of_a_directory_service(start_netmapd, place):
    """They are looked up outside of the sandbox: at the start, and again when limits name others; one that hangs holds up nobody."""
    (place / "nsswitch.conf").write_text("passwd: files odd\ngroup: files odd\n")
    write(place, "set poll-us 60\n")
    env = {"LD_LIBRARY_PATH": f"{BUILD}/tests/daemon"}
    daemon = start_netmapd("--config", place / "d", "--policy", write(place, "limit user oddly ports=3\n", "x.rules"), env=env,
                           preexec_fn=lambda: odd_directory(place))
    keep = [as_user(51003, open_port, daemon.path, "valeu51003_x:a")]
    helper, = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    assert keep
    wait_until(lambda: Path(f"/proc/{helper}/comm").read_text() == "netmapd-names\n", "the process that asks is there")
    write(place, "allow user oddly port vale_a:*\nlimit group odd-ones ports=0\nallow group odd-ones port vale_%n:*\n", "x.rules")
    daemon.process.send_signal(signal.SIGHUP)

    def limited():
        try:
            return as_user(51003, open_port, daemon.path, "vale_a:x") is None
        except Refused as e:
            return e.errno == errno.EDQUOT

    wait_until(limited, "the rules of the directory's user are in force")
    refused(51004, "ports: user 51004", open_port, daemon.path, "vale_odder:x", error=errno.EDQUOT)
    for line, said in ("limit user nobody-here ports=1", "no such user: 'nobody-here'"), (
            "limit user out-of-order ports=1", "user 'out-of-order' can't be looked up: Input/output error"), (
            "limit group half-there ports=1", "group 'half-there' can't be looked up: Connection refused"):
        write(place, f"{line}\n", "x.rules")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.logged(f"x.rules:1: {said}; nothing is changed")
    refused(51004, "ports: user 51004", open_port, daemon.path, "vale_odder:x", error=errno.EDQUOT)    # still
    write(place, "limit user never ports=1\n", "x.rules")
    daemon.process.send_signal(signal.SIGHUP)
    pause = "34 "
    wait_until(lambda: Path(f"/proc/{helper}/syscall").read_text().startswith(pause), "the directory is asked")
    assert daemon.status() and daemon.stop() == 0
    wait_until(lambda: not Path(f"/proc/{helper}").exists(), "the process that asks is gone")


def test_rings_move_without_loss(daemon, checked_traffic):
    """Workers come, go and take rings from each other while numbered packets flow: each arrives, once, in order."""
    traffic = checked_traffic("vale1", rate=20000)
    orders = itertools.cycle([
        "place vale1:* 1", "place vale1:checked-tx 0", "place vale1:* 1,0", "place vale1:checked-tx any", "place vale1:* any",
        "set workers 4", "set spread ring", "place vale1:checked-rx 3", "place vale1:checked-rx any", "set poll-us 0", "set workers 1",
        "set spread port", "set poll-us 200", "set workers 2",
    ])
    for line in itertools.islice(orders, 14 * 12):
        change(daemon, line)
    assert traffic.finish() > 0
    wait_until(lambda: daemon.workers() == ["worker-0", "worker-1"], "the others are gone")


def test_many_rings_move_in_turns(daemon, checked_traffic):
    """Others have their turns between ports, none of which loses a packet; the reply comes behind the last one, and so does the next
    change; who hangs up has changed it all the same."""
    turns, waits_of_a_turn, waits_of_a_port = 4, 32, 2    # netmapd/settings.c; a port here leaves one worker, and goes to another

    def rings():
        return [w["rings"] for w in daemon.status()["daemon"]["workers"]]

    def turns_of(line):
        """The control thread's, for this change alone."""
        before = daemon.status()["daemon"]["control"]["settings_turns"]
        change(daemon, line)
        return daemon.status()["daemon"]["control"]["settings_turns"] - before

    traffic = checked_traffic("vale9", rate=5000)
    change(daemon, "place vale* 0")
    ports = [Port(daemon.path, f"vale1:{i}", tx_slots=8, rx_slots=8) for i in range(turns * waits_of_a_turn // waits_of_a_port + 2)]
    all_ = 2 * (len(ports) + 2)
    wait_until(lambda: rings() == [all_, 0], "all are served by one worker")
    moved, unmoved = turns_of("place vale* 1"), turns_of("place vale* 1")
    assert rings() == [0, all_] and moved > turns and unmoved == 1, (moved, unmoved)
    with Connection(daemon.path) as a, Connection(daemon.path) as b:
        for _ in range(10):
            for c, worker in (a, 0), (b, 1):
                c.send(message(SET, f"place vale* {worker}".encode().ljust(256, b"\0")))
            assert all(HDR.unpack_from(c.receive()[0])[4] == 0 for c in (a, b))
            at = int(daemon.status()["daemon"]["placement"][0]["workers"])
            assert rings() == [all_ * (at == 0), all_ * (at == 1)]
    change(daemon, "place vale* 1")     # whichever was the last one
    with Connection(daemon.path) as a:
        a.send(message(SET, b"set workers 1".ljust(256, b"\0")))
        assert HDR.unpack_from(a.receive()[0])[4] == -errno.EINVAL
        a.send(message(SET, b"place vale* any".ljust(256, b"\0")))
        wait_until(lambda: daemon.status()["daemon"]["placement"] == [], "the change has been taken")
    wait_until(lambda: sorted(rings()) == [all_ // 2, all_ // 2], "who has hung up is served")
    change(daemon, "set workers 64")
    assert turns_of("place vale-nobody 0") == 2, "nothing moves, 32 workers a turn are waited for"
    with Connection(daemon.path) as a, Connection(daemon.path) as asks:
        a.send(message(SET, b"set workers 1".ljust(256, b"\0")))
        shown = [0, 0]
        while len(shown) > 1:
            shown = [w["rings"] for w in asks.status()["daemon"]["workers"]]
            assert sum(shown) == all_, "also those of workers that are to go are shown"
        assert HDR.unpack_from(a.receive()[0])[4] == 0
    assert rings() == [all_]
    wait_until(lambda: daemon.workers() == ["worker-0"], "the others are gone")
    assert traffic.finish() > 0
    for port in ports:
        port.close()


@pytest.mark.skipif(SANITIZED, reason="the allocator is the sanitizers'")
def test_without_memory_a_change_goes_on(start_netmapd):
    """Whoever asked is told before all rings have moved; the next one, which would have to wait for that, is refused."""
    order = message(SET, b"place vale* 1".ljust(300, b"\0"))
    for size, statuses in (REPLY, [0]), (len(order), [-errno.ENOMEM, 0]):
        starved = start_netmapd("--workers", "2", env=environment(LD_PRELOAD=str(NO_MEMORY), NO_MEMORY=str(size)))
        change(starved, "place vale* 0")
        ports = [Port(starved.path, f"vale1:{i}", tx_slots=8, rx_slots=8) for i in range(100)]    # of more than a turn: see above
        with contextlib.ExitStack() as stack:
            asks = [stack.enter_context(Connection(starved.path)) for _ in statuses]
            starved.process.send_signal(signal.SIGSTOP)
            for c in asks:
                c.send(order)
            starved.process.send_signal(signal.SIGCONT)
            assert sorted(HDR.unpack_from(c.receive()[0])[4] for c in asks) == statuses
            wait_until(lambda: [w["rings"] for w in starved.status()["daemon"]["workers"]] == [0, 200], "all rings have moved")
            assert all(c.hello() == starved.pid for c in asks)
            assert REFUSED_MEMORY in starved.log()
        for port in ports:
            port.close()
        starved.stop()


def test_a_ring_wakes_its_new_worker(daemon):
    """Workers that sleep: the first packet after a move gets there, by the sender's kick and by the switch's signal."""
    change(daemon, "set poll-us 0")
    with Port(daemon.path, "vale1:a") as a, Port(daemon.path, "vale1:b") as b:
        a.send(frame(b"\xff" * 6, 0))
        assert len(b.receive(1)) == 1
        for i in range(1, 60):
            change(daemon, f"place vale1:{'ab'[i % 2]} {i // 2 % 2}")
            a.send(frame(b"\xff" * 6, i))
            assert b.receive(1) == [frame(b"\xff" * 6, i)]


@pytest.mark.parametrize("gone,stays", ["{}", "}{"])
def test_a_closed_ring_names_a_worker_that_has_ended(daemon, gone, stays):
    """What is received from a pipe whose other end is gone signals that end's ring, and so the worker that it had."""
    for _ in range(3):
        change(daemon, f"place vale1:p{gone}1 1")
        with Port(daemon.path, f"vale1:p{stays}1") as b:
            with Port(daemon.path, f"vale1:p{gone}1") as a:
                a.send(frame(b"\xff" * 6, 1))
            wait_until(lambda: len(daemon.status()["applications"]) == 1, "the other end is gone")
            change(daemon, f"place vale1:p{gone}1 any")
            change(daemon, "set workers 1")
            wait_until(lambda: daemon.workers() == ["worker-0"], "the other one is gone")
            assert b.receive(1) == [frame(b"\xff" * 6, 1)]
            b.tx[0].publish(b.put(frame(b"\xff" * 6, 2)))
        change(daemon, "set workers 2")
    with Port(daemon.path, "vale1:a") as a, Port(daemon.path, "vale1:b") as b:  # the one that runs again serves
        for worker in 0, 1:
            change(daemon, f"place vale1:* {worker}")
            a.send(frame(b"\xff" * 6, worker))
            assert b.receive(1) == [frame(b"\xff" * 6, worker)]


def test_saved_limits_make_no_several_users(start_netmapd, place):
    """Options are no changes; what was changed is saved again, and the next netmapd is one user's as before."""
    daemon = start_netmapd("--max", "rings=99", "--workers", "1")
    assert not any("limit" in line for line in lines(daemon))
    ctl(daemon, "limit", "ports=77")
    assert [line for line in lines(daemon) if "limit" in line] == ["limit all ports=77/16384"]
    (place / "d").mkdir()
    ctl(daemon, "save", place / "d/saved.conf")
    (place / "second").mkdir()
    second = start_netmapd("--config", place / "d", path=place / "second/socket")
    assert second.path.stat().st_mode & 0o777 == 0o600
    assert [line for line in lines(second) if "limit" in line] == ["limit all ports=77/16384"]
    write(place, "allow all port x\nlimit all ports=66\n")
    (place / "d/saved.conf").unlink()
    second.process.send_signal(signal.SIGHUP)
    second.logged("rules of users are for the next start")
    wait_until(lambda: "limit all ports=66/16384" in lines(second), "what concerns all holds")


def test_limits_are_numbers(start_netmapd, place):
    daemon = start_netmapd("--workers", "1")
    for text in "memory=1G", "memory=512M/2G", "ports=5/6":
        file = write(place, f"limit all {text}\n")
        assert ctl(daemon, "apply", file).stdout == f"limit all {text}\n"
        assert ctl(daemon, "apply", file).stdout == "nothing to change\n"


def test_placements_have_the_order_of_the_file(daemon, place):
    """Also after one that is not the last was edited, or two have changed places."""
    def placed():
        return [p["pattern"] for p in daemon.status()["daemon"]["placement"]]

    for text, changes in (
        ("place vale* 0\nplace vale1:* 1\nplace vale1:b 0\n", 3), ("place vale* 1\nplace vale1:* 1\nplace vale1:b 0\n", 3),
        ("place vale1:* 1\nplace vale* 1\nplace vale1:b 0\n", 2), ("place vale1:* 1\nplace vale* 1\nplace vale1:b 1\n", 1),
    ):
        file = write(place, text)
        assert len(ctl(daemon, "apply", file).stdout.splitlines()) == changes
        assert placed() == [line.split()[1] for line in text.splitlines()]
        assert ctl(daemon, "apply", file).stdout == "nothing to change\n"


def test_the_same_twice_and_long_lists(daemon, place):
    """Words that stand in two files; as many CPUs, with as long numbers, as a line can have, arrive as they are or are refused."""
    write(place, "set poll-us 60\nplace vale1:* 0,1\n")
    write(place, "place vale1:*  0,1\n", "b.conf")
    assert len(ctl(daemon, "apply", place / "d").stdout.splitlines()) == 2
    pattern, workers = "x" * 63, ",".join(["0", "1"] * 32)
    cpus = ",".join([str(min(os.sched_getaffinity(0)))] * 64)
    file = write(place, f"set workers 64\nplace {pattern} {workers}\nset cpus {cpus}\n", "b.conf")
    assert ctl(daemon, "apply", file).stdout.count("\n") == 3
    assert settings(daemon)["cpus"] == cpus and f"place {pattern} {workers}" in lines(daemon)
    assert ctl(daemon, "apply", file).stdout == "nothing to change\n"
    long = ",".join(["1023"] * 64)
    result = ctl(daemon, "apply", write(place, f"set cpus {long}\n", "b.conf"), status=1)
    assert "netmapd can't run on CPU 1023" in result.stderr
    many = ",".join(["63"] * 64)
    ctl(daemon, "apply", write(place, f"place {pattern} {many}\n", "b.conf"))
    assert f"place {pattern} {many}" in lines(daemon)
    assert ctl(daemon, "apply", place / "d/b.conf").stdout == "nothing to change\n"


def test_placement(daemon):
    """Rings are where the rules say, of ports that are there and that come; without a rule they go in turn."""
    def rings():
        return [w["rings"] for w in daemon.status()["daemon"]["workers"]]

    change(daemon, "place vale1:* 1")
    with Port(daemon.path, "vale1:a"), Port(daemon.path, "vale2:a"):
        assert rings() == [2, 2]
        with Port(daemon.path, "vale1:b"):
            assert rings() == [2, 4]
            change(daemon, "place vale2:a 0,1")
            assert rings() == [1, 5]
            change(daemon, "place vale1:b 0")
            assert rings() == [3, 3]
            with pytest.raises(Refused, match="place vale2:a any"):
                change(daemon, "set workers 1")
            for pattern in "vale1:*", "vale1:b", "vale2:a":
                change(daemon, f"place {pattern} any")
            assert sorted(rings()) == [2, 4]
            change(daemon, "set workers 1")
            assert rings() == [6]
    for wrong in "set cpus 0,0,0", "set cpus 1023", "place x 1", "nonsense", "", "port x":
        with pytest.raises(Refused):
            change(daemon, wrong)
