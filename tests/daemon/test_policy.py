#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A netmapd of many users: each request as the wrong user, and as the right one."""

import contextlib
import errno
import json
import os
import pickle
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import traceback

import pytest

from ptnet_real import (
    ALL_NIC, EVENTS, FULL_WAIT, HDR, HELLO, LIMIT, MONITOR_RX, MONITOR_TX, NETMAPCTL, NETMAPD, NIC_SW, NMREQ_HEADER, NULL_REG, ONE_SW,
    POLLING_DISABLE, POLLING_ENABLE, POOLS_INFO_GET, PORT_HDR_GET, PORT_HDR_SET, PORT_INFO_GET, RENAME, REPO, VALE_ATTACH, VALE_DELIF,
    VALE_DETACH, VALE_FLUSH, VALE_LIST, VALE_MACS, VALE_NEWIF, VM_ADD_PORT, VM_CREATE, ZCOPY_MON,
    NMREQ, SET, STATUS, SW, Connection, Port, Refused, environment, expect_line, frame, message, nmreq, register, run, user, wait_until,
)
from test_tap import new_namespace

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="acts as several users: as root only")

ALICE, BOB, ADMIN = 51001, 51002, 0
SMALL = {"tx_slots": 64, "rx_slots": 64}


def own(uid, name="1:a"):
    switch, _, port = name.partition(":")
    return f"valeu{uid}_{switch}:{port}"


def as_user(uid, function, *args):
    """What function(*args) returns, or raises, in a process of this user."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            try:
                result = True, function(*args)
            except Refused as e:
                result = False, (e.errno, e.text)
            with os.fdopen(write, "wb") as out:
                pickle.dump(result, out)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as source:
        good, result = pickle.load(source)
    os.waitpid(pid, 0)
    if good:
        return result
    raise Refused(*result)


class Held:
    """A port, a machine or anything of another user, until close()."""

    def __init__(self, uid, function, *args):
        ready = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                kept = function(*args)
                os.write(ready[1], pickle.dumps(getattr(kept, "told", None)))
                os.close(ready[1])
                signal.pause()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(ready[1])
        with os.fdopen(ready[0], "rb") as source:
            said = source.read()
        assert said, "it could not be opened"
        self.told = pickle.loads(said)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def hold():
    held = []

    def hold(uid, function, *args):
        held.append(Held(uid, function, *args))
        return held[-1]

    yield hold
    for h in held:
        h.close()


@pytest.fixture
def start(start_netmapd, place):
    def start(*rules, **kwargs):
        (place / "policy").write_text("".join(f"{rule}\n" for rule in rules))
        return start_netmapd("--workers", "1", "--policy", place / "policy", **kwargs)

    return start


def open_port(path, name, fields=None):
    with Port(path, name, **{**SMALL, **(fields or {})}) as port:
        return port.reg["mem_id"]


def keep_port(path, name, fields=None):
    return Port(path, name, **{**SMALL, **(fields or {})})


def ask(path, payload):
    with Connection(path) as c:
        c.nmreq(payload)


def call(path, method, *args):
    with Connection(path) as c:
        return getattr(c, method)(*args)


def raw(path, kind, body):
    with Connection(path) as c:
        return c.ask(kind, body)[0]


def refused(uid, text, function, *args, error=errno.EPERM):
    """It is, and the text says which rule is missing."""
    with pytest.raises(Refused, match=text) as e:
        as_user(uid, function, *args)
    assert e.value.errno == error, e.value


class Machine:
    def __init__(self, path, *ports):
        self.connection = Connection(path)
        self.connection.vm_create(b"m")
        self.told = [self.connection.vm_add_port(port)[:2] for port in ports]


def test_own_names(start):
    """By the user's number; that of another user is another one's, also when his begins with the same digits."""
    daemon = start()
    for name in own(ALICE), own(ALICE) + "{1", f"u{ALICE}_x{{1":
        assert as_user(ALICE, open_port, daemon.path, name) > 1    # and not in the memory that is there for all
        refused(BOB, "no rule of .*policy allows it to user 51002; 'allow user 51002 port", open_port, daemon.path, name)
    for name in "vale1:a", "x{1", f"valeu{ALICE}:a", f"valeu{ALICE}0_1:a", f"vale{ALICE}_1:a", f"u{ALICE}0_x{{1":
        refused(ALICE, "no rule", open_port, daemon.path, name)
        assert as_user(ADMIN, open_port, daemon.path, name)


KLOOP_START, KLOOP_STOP, CSB_ENABLE = 13, 14, 15    # that no client of netmapd sends


def attach(name):
    return nmreq(VALE_ATTACH, name, struct.pack("=QQIIHHHHHHII4xQ", *[0] * 10, ALL_NIC, 0, 0) + bytes(8))


REQUESTS = {
    "register": lambda name: register(name, **SMALL),
    "register a pipe": lambda name: register(name + "{1", **SMALL),
    "register the host's rings": lambda name: register(name, mode=2),
    "monitor": lambda name: register(name, flags=MONITOR_RX),
    "monitor what is sent": lambda name: register(name, flags=MONITOR_TX),
    "monitor without a copy": lambda name: register(name, flags=ZCOPY_MON),
    "ask about it": lambda name: nmreq(PORT_INFO_GET, name, bytes(40)),
    "ask for its pools": lambda name: nmreq(POOLS_INFO_GET, name, bytes(64)),
    "ask for its header": lambda name: nmreq(PORT_HDR_GET, name, bytes(8)),
    "change its header": lambda name: nmreq(PORT_HDR_SET, name, struct.pack("=II", 12, 0)),
    "find it in the list": lambda name: nmreq(VALE_LIST, name, bytes(8)),
    "list all": lambda name: nmreq(VALE_LIST, "", bytes(8)),
    "attach a device": lambda name: attach(name.split(":")[0] + ":tap0"),
    "detach a device": lambda name: nmreq(VALE_DETACH, name.split(":")[0] + ":tap0", bytes(8)),
    "poll a device": lambda name: nmreq(POLLING_ENABLE, name.split(":")[0] + ":tap0", bytes(16)),
    "don't poll it": lambda name: nmreq(POLLING_DISABLE, name.split(":")[0] + ":tap0", bytes(16)),
    "make a device": lambda name: nmreq(VALE_NEWIF, "tap0", bytes(16)),
    "remove a device": lambda name: nmreq(VALE_DELIF, "tap0"),
    "start a kernel loop": lambda name: nmreq(KLOOP_START, name, bytes(8)),
    "stop it": lambda name: nmreq(KLOOP_STOP, name),
    "enable a CSB": lambda name: nmreq(CSB_ENABLE, name),
}


def known(daemon):
    """All about ports that no worker changes."""
    return [{k: v for k, v in p.items() if k != "rings"} for p in daemon.status()["ports"]]


@pytest.mark.parametrize("what", REQUESTS)
def test_each_request_as_the_wrong_user(start, hold, what):
    """Nothing of Alice's answers Bob, and nothing that happens to it."""
    daemon = start()
    hold(ALICE, keep_port, daemon.path, own(ALICE))
    wait_until(lambda: own(ALICE) in daemon.ports(), "her port is there")
    before = known(daemon)
    refused(BOB, "no rule|not for user", ask, daemon.path, REQUESTS[what](own(ALICE)))
    assert known(daemon) == before


def field(value, size=64):
    return value.encode().ljust(size, b"\0")


HERS, SWITCH = own(ALICE), f"valeu{ALICE}_1"
SPECS = [HERS, HERS + "{1", HERS + "/r", HERS + "/z", f"{own(BOB)}@share={HERS}"]
# Each message (proto.h) but NMREQ: what Bob may not say with it;
MESSAGES = {
    VM_ADD_PORT: [field(spec, 256) + bytes(8) for spec in SPECS],
    VALE_MACS: [struct.pack("=Q64s", 0, SWITCH.encode())],
    VALE_FLUSH: [field(SWITCH)],
    RENAME: [field(a) + field(b) for a, b in ((HERS, own(ALICE, "1:b")), (own(BOB), own(ALICE, "1:b")), (HERS, own(BOB)))],
    LIMIT: [field("ports=1")],
    SET: [field(line, 256) for line in ("set workers 1", "set full-wait-ms 1", "full-wait vale9 1", f"full-wait {HERS} 1",
                                        f"place {HERS} 0", f"place {HERS} any")],
    FULL_WAIT: [struct.pack("=II64s", 1, 0, name.encode()) for name in (HERS, SWITCH)],
}
# and those that name nothing: what he may say, and hears nothing of hers.
QUESTIONS = {HELLO: b"", VM_CREATE: struct.pack("=64sQ", b"m", 0), STATUS: bytes(8), EVENTS: bytes(16)}


def constants(header, first):
    """{number: name} of an enum that counts from 1."""
    block = re.search(rf"\b{first} = 1,.*?\}}", (REPO / header).read_text(), re.S).group()
    names = re.findall(r"^\s*([A-Z]\w+)(?: = (\d+))?,", block, re.M)
    assert all(not number or int(number) == at for at, (_, number) in enumerate(names, 1)), names
    return {at: name for at, (name, _) in enumerate(names, 1)}


def test_each_request_is_tried():
    """Whoever adds one says here what another user can do with it."""
    messages = constants("proto/proto.h", "NMD_HELLO")
    assert set(messages) == {NMREQ, *MESSAGES, *QUESTIONS}, messages
    requests = constants("include/net/netmap.h", "NETMAP_REQ_REGISTER")
    assert set(requests) == {NMREQ_HEADER.unpack_from(payload(HERS))[1] for payload in REQUESTS.values()}, requests


def say(path, kind, body):
    with Connection(path) as c:
        if kind == VM_ADD_PORT:
            c.vm_create()
        return c.ask(kind, body)[0]


def test_each_message_as_the_wrong_user(start, hold):
    daemon = start()
    hold(ALICE, keep_port, daemon.path, HERS)
    before, settings = known(daemon), daemon.status()["daemon"]["settings"]
    for kind, bodies in MESSAGES.items():
        for body in bodies:
            refused(BOB, "no rule|not for user|set by root|changed by root", say, daemon.path, kind, body)
            assert known(daemon) == before, (kind, body)
    assert daemon.status()["daemon"]["settings"] == settings and daemon.status()["daemon"]["placement"] == []
    for kind, body in QUESTIONS.items():
        heard = as_user(BOB, say, daemon.path, kind, body)
        assert HERS.encode() not in heard and str(ALICE).encode() not in heard, kind
    as_user(ALICE, call, daemon.path, "macs", SWITCH)
    as_user(ALICE, call, daemon.path, "flush", SWITCH)
    assert as_user(ALICE, raw, daemon.path, FULL_WAIT, MESSAGES[FULL_WAIT][0]) == b""
    assert as_user(ALICE, raw, daemon.path, RENAME, MESSAGES[RENAME][0]) == b""
    assert daemon.ports() == [own(ALICE, "1:b")]


def test_what_each_sees(start, hold):
    """Ports, switches, regions, applications, machines, limits, events: one's own. Root sees all."""
    daemon = start()
    hold(ALICE, keep_port, daemon.path, own(ALICE))
    hold(ALICE, Machine, daemon.path, own(ALICE, "1:vm"))
    hold(BOB, keep_port, daemon.path, own(BOB))
    seen = as_user(BOB, call, daemon.path, "status")
    assert [p["name"] for p in seen["ports"]] == [own(BOB)] and [s["name"] for s in seen["switches"]] == [f"valeu{BOB}_1"]
    assert [a["user"] for a in seen["applications"]] == [BOB] and seen["vms"] == [] and len(seen["regions"]) == 1
    assert {u for e in seen["limits"] for u in e["users"]} == {str(BOB)}
    assert next(e["used"] for e in seen["limits"] if e["name"] == "ports") == 1
    assert str(ALICE) not in json.dumps(seen)
    seen = as_user(ALICE, call, daemon.path, "status")
    assert sorted(p["name"] for p in seen["ports"]) == [own(ALICE), own(ALICE, "1:vm")] and len(seen["vms"]) == 1
    everything = daemon.status()
    assert len(everything["ports"]) == 3 and len(everything["regions"]) == 3

    def events(path):
        body = raw(path, EVENTS, struct.pack("=QII", 0, 0, 0))
        count = struct.unpack_from("=QQI", body)[2]
        return {struct.unpack_from("=QQII64s", body, 24 + 152 * i)[3] for i in range(count)}

    assert as_user(BOB, events, daemon.path) == {BOB} and events(daemon.path) == {ALICE, BOB}
    raw(daemon.path, SET, b"place secret* 0".ljust(256, b"\0"))
    assert as_user(BOB, call, daemon.path, "status")["daemon"]["placement"] == []
    assert [p["pattern"] for p in daemon.status()["daemon"]["placement"]] == ["secret*"]


def test_packets_stay_apart(start):
    """What Alice sends reaches her ports and no others; two users' ports of the same name differ."""
    daemon = start("allow user 51001 port valeboth:a", "allow user 51002 port valeboth:b")

    def alone(path, name):
        with Port(path, name, **SMALL) as a, Port(path, name.replace(":a", ":z"), **SMALL) as z:
            a.send(frame(b"\xff" * 6, 1))
            return z.receive(1) == [frame(b"\xff" * 6, 1)]

    assert as_user(ALICE, alone, daemon.path, own(ALICE))
    refused(ALICE, "no rule", open_port, daemon.path, "valeboth:b")
    refused(BOB, "no rule", open_port, daemon.path, "valeboth:a")


def test_shared_by_a_rule(start, hold):
    """Names that both may have: a switch on which they meet. Nobody gets into what the other one has open."""
    daemon = start("allow user 51001 port vale_lab:*", "allow user 51002 port vale_lab:*   # a comment", "", "# another")
    hold(ALICE, keep_port, daemon.path, "vale_lab:a")
    assert as_user(BOB, open_port, daemon.path, "vale_lab:b")
    assert [p["name"] for p in as_user(BOB, call, daemon.path, "status")["ports"]] == ["vale_lab:a"]
    as_user(BOB, call, daemon.path, "macs", "vale_lab")
    refused(BOB, "'allow user 51002 capture vale_lab:a' would", open_port, daemon.path, "vale_lab:a", {"flags": MONITOR_RX})
    with pytest.raises(Refused, match="private to user 51001|in use"):
        as_user(BOB, open_port, daemon.path, "vale_lab:a")
    with pytest.raises(Refused, match="another user has made it; its user and root can rename it"):
        as_user(BOB, raw, daemon.path, RENAME, b"vale_lab:a".ljust(64, b"\0") + b"vale_lab:c".ljust(64, b"\0"))


def keep_ports(path, names):
    return [keep_port(path, name) for name in names]


def test_one_sees_his_among_many(start, hold):
    """However many of others are looked at before, between and behind them."""
    daemon = start()
    hold(BOB, keep_port, daemon.path, own(BOB, "1:first"))
    hold(ALICE, keep_ports, daemon.path, [own(ALICE, f"1:a{i}") for i in range(64)])
    hold(BOB, keep_port, daemon.path, own(BOB, "1:second"))
    hold(ALICE, keep_ports, daemon.path, [own(ALICE, f"2:a{i}") for i in range(70)])
    seen = as_user(BOB, call, daemon.path, "status")
    assert [p["name"] for p in seen["ports"]] == [own(BOB, "1:second"), own(BOB, "1:first")]
    assert len(daemon.status()["ports"]) == 136


def test_who_may_capture_sees_it(start, hold):
    """A rule of captures, and nothing else: netmapctl capture finds the port; its switch, other ports and machines stay hidden."""
    daemon = start(f"allow user {BOB} capture {own(ALICE)}")
    hold(ALICE, keep_port, daemon.path, own(ALICE))
    hold(ALICE, keep_port, daemon.path, own(ALICE, "1:b"))
    status = as_user(BOB, call, daemon.path, "status")
    assert [p["name"] for p in status["ports"]] == [own(ALICE)] and status["switches"] == [] and status["regions"] == []
    done = as_user(BOB, run, NETMAPCTL, "--socket", daemon.path, "capture", own(ALICE), "-d", "1", "-w", "/dev/null")
    assert done.returncode == 0, done.stderr
    done = as_user(BOB, run, NETMAPCTL, "--socket", daemon.path, "capture", own(ALICE, "1:b"), "-d", "1", "-w", "/dev/null")
    assert done.returncode == 4, done.stderr


def test_rights(start, hold, place):
    """Each that a rule can give is there, and none beside it."""
    daemon = start(
        f"allow user {BOB} capture valeu{ALICE}_*:*", f"allow user {BOB} region 7", f"allow user {BOB} device tap?",
        "allow all port valeopen%u:*", f"allow user {BOB} status", f"limit user {BOB} ports=2 memory=1G",
    )
    hold(ALICE, keep_port, daemon.path, own(ALICE))
    assert as_user(BOB, open_port, daemon.path, own(ALICE), {"flags": MONITOR_RX | MONITOR_TX})
    refused(BOB, "port valeu51001_1:a' would", open_port, daemon.path, own(ALICE))
    assert as_user(BOB, open_port, daemon.path, own(BOB), {"mem_id": 7}) == 7
    for region in 1, 8:
        refused(BOB, f"'allow user 51002 region {region}' would", open_port, daemon.path, own(BOB), {"mem_id": region})
    refused(ALICE, "region 7", open_port, daemon.path, own(ALICE, "1:b"), {"mem_id": 7})
    refused(BOB, "device eth0", ask, daemon.path, attach(own(BOB, "1:eth0")))
    with pytest.raises(Refused, match="tap0: no such port"):
        as_user(BOB, ask, daemon.path, attach(own(BOB, "1:tap0")))
    for uid, other in (ALICE, BOB), (BOB, ALICE):
        assert as_user(uid, open_port, daemon.path, f"valeopen{uid}:x")
        refused(uid, "no rule", open_port, daemon.path, f"valeopen{other}:x")
    assert own(ALICE) in [p["name"] for p in as_user(BOB, call, daemon.path, "status")["ports"]]
    hold(BOB, keep_port, daemon.path, own(BOB))
    hold(BOB, keep_port, daemon.path, own(BOB, "1:b"))
    refused(BOB, "ports: user 51002 has 2 of at most 2, and 1 more are asked for; that is a limit of netmapd's policy: "
            "'limit user 51002 ports=N' there raises it", open_port, daemon.path, own(BOB, "1:c"), error=errno.EDQUOT)
    assert next(e["limit"] for e in as_user(ALICE, call, daemon.path, "status")["limits"] if e["name"] == "ports") == 4096


def limits_of(daemon, uid=0):
    return {e["name"]: e for e in as_user(uid, call, daemon.path, "status")["limits"]}


def test_limits_of_users_are_shown(start, hold):
    """To root, and to each user his own; the last line counts. The tables say who has how much of what."""
    daemon = start(f"limit user {BOB} ports=9 machines=3", f"limit user {BOB} ports=2", f"limit user {ALICE} ports=50",
                   "limit all ports=70")
    hold(BOB, keep_port, daemon.path, own(BOB))
    ports = limits_of(daemon)["ports"]
    assert ports["limit"] == 70 and ports["user_limits"] == {str(BOB): 2, str(ALICE): 50} and ports["users"] == {str(BOB): 1}
    assert limits_of(daemon)["machines"]["user_limits"] == {str(BOB): 3} and limits_of(daemon)["rings"]["user_limits"] == {}
    assert limits_of(daemon, BOB)["ports"]["user_limits"] == {str(BOB): 2} and limits_of(daemon, BOB)["ports"]["limit"] == 2

    def table(subcommand):
        return run(NETMAPCTL, "--socket", daemon.path, subcommand, env=dict(os.environ, COLUMNS="200")).stdout

    assert re.search(rf"^ports +70 .* {BOB} 1 of 2, {ALICE} 0 of 50$", table("limit"), re.M)
    assert "LIMIT" not in table("status")
    hold(BOB, keep_port, daemon.path, own(BOB, "1:b"))
    assert re.search(rf"^ports .* {BOB} 2 of 2, {ALICE} 0 of 50$", table("status"), re.M), "he is near his limit"


def host_attach(name):
    return nmreq(VALE_ATTACH, name, struct.pack("=QQIIHHHHHHII4xQ", *[0] * 10, NIC_SW, 0, 0) + bytes(8))


def test_host_rings_are_a_right_of_their_own(start):
    """Who may have a device may not have what the host sends and receives by it, until a rule says so."""
    rules = [f"allow user {BOB} port tap0", f"allow user {BOB} device tap0", f"allow user {ALICE} capture tap0"]
    daemon = start(*rules, preexec_fn=new_namespace)
    ask(daemon.path, nmreq(VALE_NEWIF, "tap0", bytes(16)))
    assert as_user(BOB, open_port, daemon.path, "tap0")
    as_user(BOB, ask, daemon.path, attach(own(BOB, "1:tap0")))
    as_user(BOB, ask, daemon.path, nmreq(VALE_DETACH, own(BOB, "1:tap0"), bytes(8)))
    for mode in SW, NIC_SW, ONE_SW:
        refused(BOB, f"no rule of .*; 'allow user {BOB} port tap0\\^' would", open_port, daemon.path, "tap0", {"mode": mode})
        refused(ALICE, f"'allow user {ALICE} capture tap0\\^' would", open_port, daemon.path, "tap0", {"mode": mode, "flags": MONITOR_RX})
    refused(BOB, f"'allow user {BOB} port tap0\\^' would", ask, daemon.path, host_attach(own(BOB, "1:tap0")))


@pytest.mark.parametrize("pattern", ["tap0^", "tap*", "*^ tap0"])
def test_a_right_to_host_rings(start, pattern):
    """A pattern matches it as a name."""
    rules = [f"allow user {BOB} {right} tap0 {pattern}" for right in ("port", "capture", "device")]
    daemon = start(*rules, preexec_fn=new_namespace)
    ask(daemon.path, nmreq(VALE_NEWIF, "tap0", bytes(16)))
    for mode in SW, NIC_SW, ONE_SW:
        assert as_user(BOB, open_port, daemon.path, "tap0", {"mode": mode})
        assert as_user(BOB, open_port, daemon.path, "tap0", {"mode": mode, "flags": MONITOR_RX})
    as_user(BOB, ask, daemon.path, host_attach(own(BOB, "1:tap0")))


def text_of(reply):
    """Of an error. Behind it there is nothing, above all nothing of netmapd's stack."""
    text, _, rest = reply[HDR.size:HDR.size + 256].partition(b"\0")
    assert not rest.strip(b"\0"), rest
    return text.decode()


def test_nothing_behind_an_errors_text(start):
    daemon = start()
    with Connection(daemon.path) as c:
        for payload in nmreq(99, "x"), register("nothere"), nmreq(VALE_DETACH, "vale1:nothere", bytes(8)):
            c.socket.send(message(NMREQ, payload))
            assert text_of(c.socket.recv(1 << 16))


def greet(path):
    """A connection; who is turned away is told why, and may find that he has been hung up on first."""
    c = Connection(path)
    with contextlib.suppress(ConnectionError):
        c.socket.send(message(HELLO))
    try:
        reply = c.socket.recv(1 << 16)
    except ConnectionResetError:
        reply = c.socket.recv(1 << 16)     # what was said before
    status = HDR.unpack_from(reply)[4]
    if status:
        raise Refused(-status, text_of(reply))
    return c


def exhaust(path, name):
    """Takes what it can get of everything; the names of the limits that it met."""
    met, kept = set(), []

    def take(thing, *args, **kwargs):
        while True:
            try:
                kept.append(thing(*args, **kwargs))
            except Refused as e:
                assert e.errno == errno.EDQUOT, e
                return met.add(e.text.split(":")[0])

    numbers = iter(range(100000))
    take(lambda: Port(path, f"{name}{next(numbers)}", tx_slots=64, rx_slots=64))
    take(lambda: Port(path, f"{name}x{next(numbers)}", tx_slots=16384, rx_slots=16384))
    take(lambda: Machine(path))
    take(greet, path)
    return met


def test_exhausting_is_ones_own(start, hold):
    """One who takes all that he can get meets limits that are named; the other one opens, makes and asks as before."""
    few = "ports=20 machines=3 connections=60 requests=4 memory=2G descriptors=400 buffers=100000 rings=200"
    daemon = start(f"limit user {BOB} {few}")
    hold(ALICE, keep_port, daemon.path, own(ALICE))
    bob = hold(BOB, lambda: Told(exhaust(daemon.path, own(BOB, "1:p"))))
    assert {"ports", "machines", "connections"} <= bob.told, bob.told
    assert as_user(ALICE, open_port, daemon.path, own(ALICE, "1:b"))
    hold(ALICE, Machine, daemon.path, own(ALICE, "1:vm"))
    assert len(as_user(ALICE, call, daemon.path, "status")["ports"]) == 2


class Told:
    def __init__(self, told):
        self.told = told


def statuses(daemon, uid, count):
    """So many of a user's at once, on as many connections: how many were answered, and what the others were told."""
    with user(uid):
        all_ = [Connection(daemon.path) for _ in range(count)]
    for c in all_:
        c.hello()
    daemon.process.send_signal(signal.SIGSTOP)  # it finds all of them there, none of which it has answered
    for c in all_:
        c.socket.send(message(STATUS, struct.pack("=II", 0, 0)))
    daemon.process.send_signal(signal.SIGCONT)
    told = []
    for c in all_:
        reply = c.socket.recv(1 << 16)
        status = HDR.unpack_from(reply)[4]
        told.append((-status, text_of(reply)))
        c.close()
    return sum(error == 0 for error, _ in told), {t for t in told if t[0]}


def test_requests_at_a_time(start, hold):
    """Those that take more than a turn are counted, until they are answered; other users' aren't."""
    daemon = start(f"limit user {BOB} requests=2")
    for i in range(30):
        hold(BOB, keep_port, daemon.path, own(BOB, f"1:{i}"))
    good, told = statuses(daemon, BOB, 25)
    assert 2 <= good < 25 and {error for error, _ in told} == {errno.EDQUOT}
    assert all("requests: user 51002 has 2 of at most 2" in text for _, text in told)
    assert statuses(daemon, ALICE, 25) == (25, set())
    assert statuses(daemon, BOB, 2) == (2, set())
    used = next(e for e in daemon.status()["limits"] if e["name"] == "requests")
    assert used["used"] == 1 and used["refused"] == 25 - good    # the one that asks


def test_own_regions(start, hold):
    """One's own region may be named by its number; another one's may not, for nothing."""
    daemon = start()
    hold(ALICE, keep_port, daemon.path, own(ALICE))
    region = next(p["region"] for p in daemon.status()["ports"] if p["name"] == own(ALICE))
    refused(BOB, f"region {region}' would", open_port, daemon.path, own(BOB), {"mem_id": region})
    refused(BOB, f"region {region}' would", open_port, daemon.path, "n", {"mem_id": region, "mode": NULL_REG, "tx_rings": 1, "rx_rings": 1})
    refused(BOB, "region 1' would", ask, daemon.path, nmreq(POOLS_INFO_GET, "", struct.pack("=QH54x", 0, 1)))
    assert as_user(ALICE, open_port, daemon.path, own(ALICE, "1:b"), {"mem_id": region, "tx_slots": 8, "rx_slots": 8}) == region


def test_pipes_between_own_machines(start, hold):
    """Both ends are one user's, so is their memory; the other user has nothing to do with it."""
    daemon = start()
    hold(ALICE, Machine, daemon.path, f"netmap:u{ALICE}_x{{1")
    hold(ALICE, Machine, daemon.path, f"netmap:u{ALICE}_x}}1")
    refused(BOB, "no rule", Machine, daemon.path, f"netmap:u{ALICE}_x}}1")
    assert len({p["region"] for p in daemon.status()["ports"] if p["kind"] == "pipe"}) == 1
    assert all(r["id"] != 1 for r in daemon.status()["regions"])


def connects(path, seconds=0.3):
    """Is somebody there who doesn't hang up meanwhile?"""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        try:
            s.connect(path)
            s.setblocking(False)
            select.select([s], [], [], seconds)
            return s.recv(1) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


def test_sockets_of_machines(start, hold):
    """Everybody gets there, and only the user whose machine it is, and root, is served."""
    daemon = start()
    held = hold(ALICE, Machine, daemon.path, own(ALICE))
    for path in held.told[0]:
        assert not as_user(BOB, connects, path, 30)
        assert as_user(ALICE, connects, path)
        wait_until(lambda p=path: connects(p), "root is served, when Alice has gone")
    daemon.logged("a client of user 51002 is turned away: it is user 51001's")


# ------------------------------------------------------------ the file, the socket


@pytest.mark.parametrize(
    "line,text",
    [
        ("permit all port x", "2: a line begins with allow or limit"),
        ("allow nobody-here port x", "should follow"),
        ("allow user nobody-here port x", "no such user: 'nobody-here'"),
        ("allow group nobody-here port x", "no such group: 'nobody-here'"),
        ("allow all ports x", "port, capture, device, region or status, not 'ports'"),
        ("allow all port", "which ones?"),
        ("allow all status x", "nothing follows"),
        ("allow all region 0", "no number of a region"),
        ("allow all region x", "no number of a region"),
        ("allow all region 07", "no number of a region"),
        ("allow all region 65536", "no number of a region"),
        ("allow user root region %u65535", "2: no number of a region, 1 to 65535: '"),
        ("allow all region %u", "no number of a region"),
        ("allow user 65536 region %u", "2: no number of a region, 1 to 65535: '65536'"),
        ("allow user 7 region %ux", "2: no number of a region, 1 to 65535: '"),
        ("allow user daemon region %n", "2: no number of a region, 1 to 65535: 'daemon'"),
        ("limit user daemon ports=%n", "ports=N"),
        ("allow all port vale%x:*", "neither %u nor %n"),
        ("allow all port vale%n:*", "%n is for users and groups"),
        ("limit user 7 ports", "ports=N"),
        ("limit user 7 size=1", "none of"),
        ("limit user 7 ports=1/2", "ports=N"),
        ("limit", "should follow"),
        ("allow all port " + "x" * 5000, "too long"),
    ],
)
def test_wrong_files(place, line, text):
    """Said with the line; and netmapd doesn't start."""
    (place / "policy").write_text(f"# one\n{line}\n")
    result = run(NETMAPD, "--socket", place / "socket", "--policy", place / "policy")
    expect_line(result, 2, "netmapd", text)


def test_no_file(place):
    expect_line(run(NETMAPD, "--policy", place / "none"), 2, "netmapd", "none: No such file")
    expect_line(run(NETMAPD, "--group", "nobody-here"), 2, "netmapd", "no group")


def test_numbers_of_users(start):
    """As numbers of regions, and in limits, also for a group; and who has no name has his number in its place."""
    daemon = start(f"allow user {BOB} region %u", f"allow user {ALICE} region %n", "allow group daemon region %u",
                   f"limit user {BOB} ports=%u")
    for uid in ALICE, BOB, 1:
        assert as_user(uid, open_port, daemon.path, own(uid), {"mem_id": uid}) == uid
    refused(BOB, f"region {ALICE}' would", open_port, daemon.path, own(BOB, "1:b"), {"mem_id": ALICE})
    assert next(e["limit"] for e in as_user(BOB, call, daemon.path, "status")["limits"] if e["name"] == "ports") == BOB


def test_groups_and_names(start):
    """Those of the system: daemon's group and user are Debian's, and have the number 1."""
    daemon = start("allow group daemon port vale_group:*", "allow user daemon port vale_%n:%u")
    for name in "vale_group:x", "vale_daemon:1":
        assert as_user(1, open_port, daemon.path, name)
        refused(BOB, "no rule", open_port, daemon.path, name)


def test_who_can_connect(start, start_netmapd, place):
    """With a policy all, or a group; without one only its user, as ever."""
    assert stat.S_IMODE(start().path.stat().st_mode) == 0o666
    group = start_netmapd("--policy", place / "policy", "--group", "daemon", path=place / "b")
    assert stat.S_IMODE(group.path.stat().st_mode) == 0o660 and group.path.stat().st_gid == 1
    with pytest.raises(PermissionError):
        try:
            as_user(BOB, call, group.path, "hello")
        except EOFError:
            raise PermissionError from None
    assert stat.S_IMODE(start_netmapd(path=place / "c").path.stat().st_mode) == 0o600


def test_socket_activation(place):
    """The socket is systemd's: it was there before, and stays."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.bind(str(place / "socket"))
        s.listen(8)
        inner = f"""if True:
            import os
            os.dup2({s.fileno()}, 3)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
            os.execv("{NETMAPD}", ["netmapd", "--socket", "{place}/socket"])"""
        with open(place / "log", "wb") as log:
            child = subprocess.Popen(["/usr/bin/python3", "-c", inner], pass_fds=[s.fileno()], env=environment(), stderr=log)
        with Connection(place / "socket") as c:
            assert c.hello() == child.pid
        child.terminate()
        assert child.wait(60) == 0, (place / "log").read_text()
        assert (place / "socket").exists()


def test_netmapctl_tells(start, hold, place):
    """As an ordinary user's program: exit status 5, and the rule that is missing."""
    daemon = start()
    hold(ALICE, keep_port, daemon.path, own(ALICE))
    program = shutil.copy(NETMAPCTL, place / "netmapctl")
    bob = {"user": BOB, "group": BOB, "extra_groups": []}
    result = run(program, "--socket", daemon.path, "flush", f"valeu{ALICE}_1", **bob)
    assert result.returncode == 5 and f"'allow user {BOB} port valeu{ALICE}_1' would" in result.stderr
    assert run(program, "--socket", daemon.path, "list", **bob).stdout == ""
    assert run(program, "--socket", daemon.path, "show", own(ALICE), **bob).returncode == 4
