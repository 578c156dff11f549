#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""netmapctl as a program, against a netmapd of our own."""

import json
import re
import struct

import pytest

from ptnet_fakes import STATUS, expect_error, netmapd, reply_bytes, room, run_ctl, short  # noqa: F401

REPORT = {
    "ports": [
        {
            "name": "vale1:10",
            "kind": "vale",
            "region": 2,
            "users": 1,
            "mtu": 1500,
            "nothing": 0,
            "rings": [
                {"dir": "tx", "id": 0, "packets": 100, "bytes": 6000, "errors": {"illegal head": 2, "too long": 0}},
                {"dir": "tx", "id": 1, "packets": 11, "bytes": 660, "slots": 8, "errors": {}},
                {"dir": "rx", "id": 0, "packets": 5, "bytes": 300, "errors": {"receiver full": 7}},
            ],
        },
        {"name": "vale1:a\x1b[2J", "kind": "vale", "region": 3, "users": 0, "rings": []},
        {"name": "strange"},
    ],
    "switches": [{"name": "vale1", "ports": ["vale1:10", "vale1:11"], "macs": 3}],
    "vms": [
        {"id": 4, "name": "one", "ports": [{"name": "vale1:10", "kicks": 9}], "new": {"deep": [1, 2]}},
        {"id": 5, "name": "", "ports": []},
    ],
    "daemon": {"pid": 12, "workers": [{"rings": 3}]},
    "new_in_2.0": True,
}


def test_status(netmapd):
    netmapd.report = json.dumps(REPORT).encode()
    result = run_ctl("status")
    assert result.returncode == 0 and result.stderr == ""
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0][:4] == ["netmapd", "-,", "pid", "12,"]
    assert rows[2] == "PORT KIND USER USED BY TX PACKETS TX BYTES RX PACKETS RX BYTES DROPPED".split()
    assert rows[3] == "vale1:10 vale - vm4 one 111 6.66 kB 5 300 B 9 receiver full, …".split()
    assert rows[4] == "vale1:a?[2J vale - - 0 0 B 0 0 B 0".split()
    assert ["vale1", "vale1:10,vale1:11", "3", "-"] in rows
    assert ["vm4", "one", "-", "vale1:10", "()"] in rows and ["vm5", "-", "-", "-"] in rows


def test_status_in_full(netmapd):
    netmapd.report = json.dumps(REPORT).encode()
    result = run_ctl("status", "-v")
    assert result.returncode == 0 and result.stderr == ""
    lines = result.stdout.splitlines()
    at = lines.index("port vale1:10")
    assert "mtu 1500" in lines[at + 1] and "nothing" not in lines[at + 1]
    assert lines[at + 2 : at + 5] == [
        "    tx 0: packets 100, bytes 6000, dropped: illegal head 2",
        "    tx 1: packets 11, bytes 660, slots 8",
        "    rx 0: packets 5, bytes 300, dropped: receiver full 7",
    ]
    assert "port vale1:a?[2J" in lines
    assert "switch vale1: ports vale1:10,vale1:11, macs 3" in lines
    at = lines.index("machine 4 one: new deep 1,2")
    assert lines[at + 1] == "    port vale1:10: kicks 9"
    assert lines[at + 2] == "machine 5"
    at = lines.index("daemon: pid 12")
    assert lines[at + 1] == "    worker: rings 3"
    assert lines[at + 2] == "new_in_2.0 yes"


def test_status_json_and_list(netmapd):
    netmapd.report = json.dumps(REPORT).encode()
    assert json.loads(run_ctl("status", "--json").stdout) == REPORT
    assert json.loads(run_ctl("--json", "status").stdout) == REPORT
    assert run_ctl("list").stdout == "vale1:10\nvale1:a?[2J\nstrange\n"
    assert json.loads(run_ctl("list", "--json").stdout) == ["vale1:10", "vale1:a?[2J", "strange"]
    netmapd.report = b'{"ports":[],"switches":[],"vms":[]}'
    assert run_ctl("status").returncode == 0
    assert run_ctl("list").stdout == ""


@pytest.mark.parametrize("report", [b"", b"{", b"[]", b'{"ports":[}', b'{"a":"\xff"}'])
def test_report_that_is_none(netmapd, report):
    netmapd.report = report
    expect_error(run_ctl("status"), 1, name="netmapctl")
    expect_error(run_ctl("list"), 1, name="netmapctl")


@pytest.mark.parametrize("report", [b"{}", b'{"ports":7,"vms":{"a":1}}', b'{"ports":[7,null,{"rings":[3,{"dir":5,"errors":[1]}]}]}'])
def test_report_of_other_shape(netmapd, report):
    netmapd.report = report
    for args in (
        ["status"], ["status", "-v"], ["list"], ["limit"], ["top", "--once", "--rings", "--interval", "0.05"], ["complete", "show", ""],
    ):
        result = run_ctl(*args)
        assert (result.returncode, result.stderr) == (0, ""), args
    expect_error(run_ctl("show", "x"), 4, "no such port", name="netmapctl")


@pytest.mark.parametrize("answer", [None, b"x", reply_bytes(STATUS, -12, "no memory"), reply_bytes(STATUS),
                                    reply_bytes(STATUS, 0, "", struct.pack("=II", 5, 5) + b"abc")], ids=short)
def test_report_refused(netmapd, answer):
    netmapd.override[STATUS] = answer
    expect_error(run_ctl("status", "--json"), 1 if answer else 3, name="netmapctl")


@pytest.mark.parametrize(
    "args,text",
    [
        ([], "subcommand"),
        (["reboot"], "'reboot'"),
        (["status", "--yaml"], "'--yaml'"),
        (["status", "--json", "x"], "'x'"),
        (["show"], "name"),
        (["show", "a", "b"], "name"),
        (["top", "--sort", "size"], "--sort"),
        (["top", "--interval", "0"], "--interval"),
        (["top", "--count", "x"], "--count"),
        (["top", "--count", "1.5"], "not '1.5'"),
        (["top", "--count", "0"], "from 1"),
        (["top", "--interval", "nan"], "--interval"),
        (["top", "--width", "80.5"], "not '80.5'"),
        (["top", "--width", "10"], "--width"),
        (["top", "--fast"], "'--fast'"),
        (["watch", "x"], "'x'"),
        (["watch", "--count", "-1"], "--count"),
        (["watch", "--count", "0"], "from 1"),
        (["watch", "--count", "9" * 30], "--count"),
        (["watch", "--after", "0x"], "not '0x'"),
        (["watch", "--after"], "--after needs a number"),
        (["attach"], "SWITCH:DEVICE"),
        (["attach", "eth0"], "'eth0'"),
        (["attach", "vale0:eth0", "--nic"], "'--nic'"),
        (["detach", "vale0:"], "'vale0:'"),
        (["rename", "vale1:a"], "new name"),
        (["rename", "vale1:a", "b" * 64], "63 bytes"),
        (["rename", "vale1:a", "b" * 60], "63 bytes"),
        (["rename", "", "b"], "'' is not"),
        (["rename", "vale1:a", ""], "'' is not"),
        (["rename", "a", "b", "c"], "new name"),
        (["show", ""], "show needs the name of a port"),
        (["show", "--rings"], "'--rings' is not"),
        (["macs", ""], "macs needs the name of a switch"),
        (["macs", "-x"], "'-x' is not"),
        (["macs", "a", "b"], "one switch"),
        (["flush"], "name of a switch"),
        (["flush", ""], "flush needs the name of a switch"),
        (["flush", "a", "b"], "name of a switch"),
        (["full-wait", "", "1"], "full-wait needs the name of a switch or a port of one, as vale1, which '' is not"),
        (["full-wait", "-x", "1"], "'-x' is not"),
        (["full-wait", "vale1"], "milliseconds"),
        (["full-wait", "vale1", "1", "2"], "milliseconds"),
        (["full-wait", "vale1", "1x"], "not '1x'"),
        (["full-wait", "vale1", ""], "not ''"),
        (["full-wait", "vale1", "10001"], "from 0 to 10000, not"),
        (["full-wait", "v" * 64, "1"], "63 bytes"),
        (["attach", ""], "''"),
        (["attach", "vale1:a", "b"], "'b'"),
        (["detach"], "SWITCH:DEVICE"),
        (["detach", "vale1:a", "b"], "SWITCH:DEVICE"),
        (["save", "a", "b"], "one file"),
        (["save", "-x"], "one file"),
        (["save", ""], "a file has a name"),
        (["apply"], "needs a file"),
        (["apply", ""], "a file has a name"),
        (["apply", "--check"], "needs a file"),
        (["apply", "/dev/fd"], "/dev/fd: no *.conf"),
        (["apply", "/nowhere/x"], "/nowhere/x: No such file"),
        (["capture", ""], "capture needs the name of a port"),
        (["capture", "a", "b"], "'b'"),
        (["capture", "a", "-f"], "--filter needs"),
        (["capture", "a", "-f", "foo bar"], "filter 'foo bar':"),
        (["capture", "a", "-c", "0"], "--count needs a number from 1"),
        (["capture", "a", "-s", "13"], "--snaplen needs a number from 14"),
        (["capture", "a", "-w", ""], "-w needs a file"),
        (["metrics", "x"], "'x'"),
        (["metrics", "--json"], "no JSON"),
        (["metrics", "--textfile", ""], "--textfile needs a file"),
        (["metrics", "--listen"], "--listen an address"),
        (["metrics", "--listen", "unix:"], "unix: needs the path"),
        (["metrics", "--listen", "unix:" + "x" * 200], "too long"),
        (["metrics", "--listen", "0.0.0.0:80"], "'0.0.0.0:80'"),
        (["metrics", "--listen", "127.0.0.1:1", "--textfile", "x"], "exclude each other"),
        (["metrics", "--listen", "127.0.0.1:1", "--openmetrics"], "OpenMetrics"),
        (["nic-check"], "name of a network interface"),
        (["nic-check", ""], "'' is not"),
        (["nic-check", "lo", "x"], "'x'"),
        (["nic-check", "e" * 20], "no network interface has such a name"),
        (["nic-check", "--nic-socket", "", "lo"], "--nic-socket needs a path"),
        (["nic-check", "--nic-socket"], "--nic-socket needs a path"),
        (["limit", "a=1", "b=2"], "one argument"),
        (["limit", "a=" + 64 * "1"], "63 bytes"),
        (["limit", ""], "'' is not"),
        (["complete"], "words"),
        (["list", "all\nports"], "all?ports"),
        (["--verbose", "list"], "'--verbose'"),
        (["--socket"], "--socket"),
        (["--socket", "", "list"], "--socket"),
        (["--socket=", "list"], "--socket needs a path"),
        (["", "list"], "''"),
        (["list", "--help", "x"], "'--help'"),
    ],
    ids=short,
)
def test_ctl_wrong_argument(room, args, text):
    expect_error(run_ctl(*args), 2, text, name="netmapctl")


def test_ctl_without_netmapd(room):
    for args in ["status"], ["show", "x"], ["top", "--once"], ["watch"], ["macs"], ["flush", "x"], ["rename", "vale1:a", "b"], ["limit"]:
        expect_error(run_ctl(*args), 3, "not running", f"{room}/socket", name="netmapctl")
    for args in ["attach", "vale1:x"], ["detach", "vale1:x"]:
        expect_error(run_ctl(*args), 3, f"{room}/socket", name="netmapctl")
    expect_error(run_ctl("--socket", room / "other", "list"), 3, f"{room}/other", name="netmapctl")
    result = run_ctl("complete", "show", "")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    expect_error(run_ctl(f"--socket={room}/other", "list"), 3, f"{room}/other", name="netmapctl")
    expect_error(run_ctl("nic-check", "nosuch0"), 4, "nosuch0: there is no such network interface", name="netmapctl")
    assert run_ctl("--help").returncode == 0
    assert run_ctl("--version").stdout.startswith("netmapctl ")


def test_help_of_each():
    """What the list has, one may ask for alone."""
    listed = re.findall(r"^  ([a-z][a-z-]+)(?: |$)", run_ctl("--help").stdout, re.M)
    assert all(line[34] == " " != line[35] for line in run_ctl("--help").stdout.splitlines()[2:2 + len(listed)]), "one column"
    assert {"status", "nic-check", "full-wait", "top"} <= set(listed)
    for name in listed:
        result = run_ctl(name, "--help")
        assert (result.returncode, result.stderr) == (0, "") and result.stdout.startswith(f"Usage: netmapctl {name}"), result
