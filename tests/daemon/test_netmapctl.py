#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""netmapctl as a program, against a netmapd of our own."""

import json
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
                {"dir": "rx", "id": 0, "packets": 5, "bytes": 300, "errors": {"no room": 7}},
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
    assert rows[0][:4] == ["PORT", "KIND", "REGION", "USERS"]
    assert ["vale1:10", "vale", "2", "1", "111", "6660", "5", "300"] in rows
    assert ["vale1:a?[2J", "vale", "3", "0", "0", "0", "0", "0"] in rows
    assert ["mtu", "1500"] in rows
    assert ["tx", "0:", "dropped:", "illegal", "head", "2"] in rows
    assert ["tx", "1:", "slots", "8"] in rows
    assert ["rx", "0:", "dropped:", "no", "room", "7"] in rows
    lines = result.stdout.splitlines()
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
    assert run_ctl("list").stdout == "vale1:10\nvale1:a?[2J\nstrange\n"
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
    assert run_ctl("status").returncode == 0
    assert run_ctl("list").returncode == 0


@pytest.mark.parametrize("answer", [None, b"x", reply_bytes(STATUS, -12, "no memory"), reply_bytes(STATUS),
                                    reply_bytes(STATUS, 0, "", struct.pack("=II", 5, 5) + b"abc")], ids=short)
def test_report_refused(netmapd, answer):
    netmapd.override[STATUS] = answer
    expect_error(run_ctl("status", "--json"), 1, name="netmapctl")


@pytest.mark.parametrize(
    "args,text",
    [
        ([], "subcommand"),
        (["reboot"], "'reboot'"),
        (["status", "--yaml"], "'--yaml'"),
        (["status", "--json", "x"], "'x'"),
        (["list", "all\nports"], "all?ports"),
        (["--verbose", "list"], "'--verbose'"),
        (["--socket"], "--socket"),
        (["--socket", "", "list"], "--socket"),
    ],
    ids=short,
)
def test_ctl_wrong_argument(room, args, text):
    expect_error(run_ctl(*args), 2, text, name="netmapctl")


def test_ctl_without_netmapd(room):
    expect_error(run_ctl("status"), 1, "not running", f"{room}/socket", name="netmapctl")
    expect_error(run_ctl("--socket", room / "other", "list"), 1, f"{room}/other", name="netmapctl")
    assert run_ctl("--help").returncode == 0
    assert run_ctl("--version").stdout.startswith("netmapctl ")
