# SPDX-License-Identifier: BSD-2-Clause
"""The control socket of netmapd: what it answers to clients that are wrong, hostile, or many."""

import errno
import json
import os
import random
import select
import socket
import struct
import threading
from pathlib import Path

import pytest

from ptnet_real import (
    ALL_NIC, ATTACH, HDR, HELLO, MAGIC, MONITOR_RX, MONITOR_TX, MSG_MAX, NMREQ, NMREQ_HEADER, NMREQ_REGISTER, NMREQ_REPLY, ONE_NIC,
    EVENTS, LIMIT, ONE_SW, OPTION, POOLS_INFO_GET, PORT_HDR_GET, PORT_HDR_SET, PORT_INFO_GET, REGISTER, RENAME, REPLY, REQ_MAX, STATUS, SW,
    VALE_FLUSH, VALE_LIST, VALE_MACS, VERSION, VM_ADD_PORT, VM_CREATE, Connection, Port, Refused, message, nmreq, register, wait_until,
    NO_MEMORY, SANITIZED, ZCOPY_MON, environment,
)


@pytest.fixture
def connect(daemon):
    connections = []

    def connect():
        connections.append(Connection(daemon.path))
        return connections[-1]

    yield connect
    for c in connections:
        c.close()


def nothing_left(status):
    return (status["ports"], status["switches"], status["regions"], status["vms"]) == ([], [], [], [])


# ------------------------------------------------------------ messages that are none

BODIES = {
    HELLO: b"",
    NMREQ: nmreq(PORT_INFO_GET, "vale1:1", bytes(40)),
    VM_CREATE: bytes(72),
    VM_ADD_PORT: b"vale1:1".ljust(264, b"\0"),
    STATUS: bytes(8),
    VALE_MACS: bytes(8) + b"vale77".ljust(64, b"\0"),
    VALE_FLUSH: b"vale77".ljust(64, b"\0"),
    EVENTS: bytes(16),
    RENAME: b"vale77:a".ljust(64, b"\0") + b"vale77:b".ljust(64, b"\0"),
    LIMIT: b"ports=1".ljust(64, b"\0"),
}


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        message(HELLO)[:-1],
        message(HELLO, magic=MAGIC + 1),
        message(HELLO, magic=0xFFFFFFFF),
        message(HELLO, size=HDR.size + 1),
        message(HELLO, size=0),
        message(HELLO, size=0xFFFFFFFF),
        message(HELLO) + b"\0",
        message(STATUS, BODIES[STATUS], size=HDR.size),
        message(HELLO, bytes(MSG_MAX - HDR.size), magic=0),
        message(NMREQ, bytes(MSG_MAX + 1 - HDR.size)),
        message(NMREQ, bytes(100000)),
        b"\xff" * 16,
        b"\xff" * MSG_MAX,
        b"GET / HTTP/1.1\r\n\r\n",
        b"",
    ],
    ids=lambda data: f"{data[:20].hex()}-{len(data)}",
)
def test_not_our_protocol(daemon, connect, data):
    """The connection is closed, and that is all."""
    other, c = connect(), connect()
    c.send(data)
    assert c.is_closed()
    assert other.hello() == daemon.pid


def answer(c, data):
    """(status, body) of the reply to a message; its text must be there if and only if status is not 0."""
    c.send(data)
    reply, fds = c.receive()
    assert fds == []
    magic, version, kind, size, status = HDR.unpack_from(reply)
    assert (magic, version, kind, size) == (MAGIC, VERSION, HDR.unpack_from(data)[2], len(reply))
    assert (reply[HDR.size] != 0) == (status != 0) and status <= 0
    return -status, reply[REPLY:]


@pytest.mark.parametrize("kind", BODIES)
def test_wrong_size_and_version(connect, kind):
    """An error, and the connection goes on. What follows an error is zero."""
    c = connect()
    good = BODIES[kind]
    sizes = [] if kind == NMREQ else {0, 1, len(good) - 1, len(good) + 1, len(good) + 8, MSG_MAX - HDR.size}
    for size in sizes:
        if size < 0 or size == len(good):
            continue
        status, rest = answer(c, message(kind, good.ljust(size, b"\1")[:size]))
        assert status == errno.EINVAL and not any(rest), size
    for version in 0, 2, 0xFFFF:
        assert answer(c, message(kind, good, version=version)) == (errno.EPROTONOSUPPORT, b"")
    assert c.hello() > 0


@pytest.mark.parametrize("kind", [0, 13, 14, 255, 0x100 + HELLO, 0xFFFF])
def test_unknown_message(connect, kind):
    c = connect()
    for body in b"", bytes(8), bytes(MSG_MAX - HDR.size):
        assert answer(c, message(kind, body)) == (errno.EOPNOTSUPP, b"")
    assert c.hello() > 0


def test_states(daemon, connect):
    """What is allowed to a connection that owns nothing, a port, or a machine; the rest changes nothing."""
    fresh, bound, machine = connect(), connect(), connect()
    assert bound.nmreq(register("vale1:1"))[2]
    machine.vm_create(b"m")
    machine.vm_add_port("vale1:2")
    before = daemon.descriptors()
    for c in fresh, bound, machine:
        assert c.hello() == daemon.pid
        c.status()
    for c, kind in (
        (fresh, VM_ADD_PORT), (bound, VM_ADD_PORT), (bound, VM_CREATE), (machine, VM_CREATE), (machine, NMREQ),
    ):
        status, rest = answer(c, message(kind, BODIES[kind]))
        assert status == errno.EBUSY and not any(rest)
    with pytest.raises(Refused, match="already registered to vale1:1") as refused:
        bound.nmreq(register("vale1:3"))
    assert refused.value.errno == errno.EBUSY
    for c in fresh, bound:
        assert c.info(PORT_INFO_GET, "vale1:1", "=QIIHHHHH6x")[1:5] == (1024, 1024, 1, 1)
    assert daemon.descriptors() == before
    assert daemon.ports() == ["vale1:1", "vale1:2"] and len(daemon.status()["vms"]) == 1


def test_a_question_does_not_bind(daemon, connect):
    """Neither a request that fails nor one about a port keeps a connection from owning a machine."""
    c = connect()
    c.info(PORT_INFO_GET, "vale1:1", "=QIIHHHHH6x")
    with pytest.raises(Refused):
        c.nmreq(register("vale1:1", mode=0))
    c.vm_create()
    c.vm_add_port("vale1:1")


def test_least_bar(daemon, connect):
    c = connect()
    for size in (1, 1 << 19, (1 << 32) - 1, 3 << 30, 1 << 41, (1 << 64) - 1):
        with pytest.raises(Refused, match=f"{size} bytes.*from 1048576 to 1099511627776") as refused:
            c.vm_create(bar_min=size)
        assert refused.value.errno == errno.EINVAL
    c.vm_create(bar_min=1 << 40)
    c.vm_add_port("vale1:1")


def test_machine_ports(daemon, connect):
    """Wrong names, multicast addresses, ports in use, too many."""
    c = connect()
    c.vm_create()
    for name, error, text in (
        ("", errno.EINVAL, ""), ("vale1:", errno.EINVAL, "valeID:PORT"), ("vale1:a b", errno.EINVAL, ""),
        ("eth7", errno.EINVAL, "netmap: or vale"), ("netmap:eth7", errno.ENXIO, "eth7"),
        ("vale1:1-0", errno.EOPNOTSUPP, "all rings"), ("vale1:1/R", errno.EOPNOTSUPP, "both directions"),
        ("vale1:1/Tx", errno.EOPNOTSUPP, "both directions"), ("vale1:1^", errno.EOPNOTSUPP, "host rings"),
        ("vale1:1*", errno.EOPNOTSUPP, "host rings"), ("vale1:1^0", errno.EOPNOTSUPP, "host rings"),
        ("vale1:1@conf:host-rings=1", errno.EOPNOTSUPP, "host rings"), ("vale1:1@70000", errno.EINVAL, "70000"),
        ("vale1:1@extmem:file=/tmp/x", errno.EOPNOTSUPP, "@extmem"), ("vale1:1@offset:initial=2", errno.EOPNOTSUPP, "@offset"),
        ("vale1:1@share=vale1:none", errno.ENXIO, "no such port"), ("vale1:1@conf:rings=65", errno.EINVAL, "65"),
        ("vale1:1@conf:slots=1", errno.EINVAL, "2 to 16384"), ("vale1:1@conf:slots=16384", errno.ENOMEM, "ring object"),
        ("vale1:1@conf:rings=17,slots=64", errno.EINVAL, "34 rings"), ("vale1:1@conf:shots=17", errno.EINVAL, "shots"),
    ):
        with pytest.raises(Refused) as refused:
            c.vm_add_port(name)
        assert text in refused.value.text and error in (None, refused.value.errno), (name, refused.value)
    for name, text in ("vale1:" + "1" * 58, "63"), ("vale1:" + "1" * 250, "255 bytes"):
        with pytest.raises(Refused, match=text):
            c.vm_add_port(name)
    with pytest.raises(Refused, match="multicast"):
        c.vm_add_port("vale1:1", b"\x01\0\0\0\0\1")
    with Port(daemon.path, "vale1:taken"):
        with pytest.raises(Refused, match="vale1:taken: .* in use"):
            c.vm_add_port("vale1:taken")
    wait_until(lambda: daemon.status()["ports"] == [], "nothing is left of it")
    assert c.vm_add_port("vale1:1", b"\x02\0\0\0\0\1")[2] == b"\x02\0\0\0\0\1"
    chosen = c.vm_add_port("vale1:2@conf:slots=64")[2]
    assert chosen[0] == 2 and chosen != bytes(6)
    for i in range(3, 33):
        c.vm_add_port(f"vale1:{i}@conf:slots=64")
    with pytest.raises(Refused, match="vale1:33.*: the machine has 32 ports already"):
        c.vm_add_port("vale1:33@conf:slots=64")


def test_a_port_that_fails_leaves_nothing(daemon, connect):
    """Not even the region that it alone would have used, as long as the machine is there."""
    c = connect()
    number = c.vm_create()
    directory = os.path.join(os.path.dirname(daemon.path), f"vm{number}")
    in_the_way = os.path.join(directory, "net0")
    os.mkdir(in_the_way)
    regions, before = c.status()["regions"], daemon.descriptors()
    for region in range(100, 140):
        with pytest.raises(Refused, match="no device for it"):
            c.vm_add_port(f"vale1:1@{region}")
    assert c.status()["regions"] == regions
    wait_until(lambda: daemon.descriptors() == before, "all are closed")
    assert os.listdir(directory).count("mem1") == 0
    os.rmdir(in_the_way)
    assert c.vm_add_port("vale1:1@100")[1].endswith("/mem1")


# ------------------------------------------------------------ descriptors that come along


@pytest.mark.parametrize("number", [1, 16, 17, 253])
def test_descriptors_are_closed(daemon, connect, number):
    """With messages good and bad; however many."""
    other = connect()
    other.hello()
    before = daemon.descriptors()
    for data in (
        message(HELLO), message(STATUS, BODIES[STATUS]), message(NMREQ, BODIES[NMREQ]), message(VM_ADD_PORT, BODIES[VM_ADD_PORT]),
        message(99), message(HELLO, version=7), b"x", message(NMREQ, bytes(MSG_MAX)),
    ):
        c = connect()
        read, write = os.pipe()
        c.send(data, [write] * number)
        os.close(write)
        c.receive()
        assert select.select([read], [], [], 10)[0] and os.read(read, 1) == b""  # nobody has the other end any more
        os.close(read)
        c.close()
    wait_until(lambda: daemon.descriptors() == before, "no descriptor is left")


def test_connections_in_connections(daemon, connect):
    """A socket that carries itself, and one that carries a connection to netmapd."""
    before = daemon.descriptors()
    a, b = connect(), connect()
    a.send(message(HELLO), [a.socket.fileno()])
    a.receive()
    b.send(message(HELLO), [a.socket.fileno(), b.socket.fileno()])
    a.close(), b.close()
    wait_until(lambda: daemon.descriptors() == before, "no descriptor is left")


# ------------------------------------------------------------ control requests

BODY = NMREQ_REGISTER.pack(*([0] * 10), ALL_NIC, 0, 0)
HEAD = NMREQ_HEADER.size
END = HEAD + len(BODY)
TOP = 1 << 64


def option(kind, next_at=0, size=0):
    return OPTION.pack(next_at, kind, 0, size)


def request(**kwargs):
    return nmreq(REGISTER, "vale1:1", BODY, **kwargs)


BAD_REQUESTS = [
    # payload, errno, a part of the text
    (b"", errno.EINVAL, "0 bytes"),
    (request()[: HEAD - 1], errno.EINVAL, f"{HEAD - 1} bytes"),
    (request()[:HEAD], errno.EFAULT, "body"),
    (request()[:-1], errno.EFAULT, "body"),
    (request(body_at=0), errno.EFAULT, "body"),
    (request(body_at=HEAD - 1), errno.EINVAL, "in its header"),
    (request(body_at=HEAD + 1), errno.EFAULT, "body"),
    (request(body_at=END), errno.EFAULT, "body"),
    (request(body_at=TOP - 1), errno.EFAULT, "body"),
    (request(body_at=TOP - len(BODY)), errno.EFAULT, "body"),
    (request(body_at=1 << 63), errno.EFAULT, "body"),
    (request(options_at=1), errno.EINVAL, "in its header"),
    (request(options_at=HEAD - 1), errno.EINVAL, "in its header"),
    (request(options_at=END), errno.EFAULT, "option"),
    (request(options_at=END - 8), errno.EFAULT, "option"),
    (request(options_at=TOP - 8), errno.EFAULT, "option"),
    (request(options_at=TOP - OPTION.size), errno.EFAULT, "option"),
    (request(options=option(5)), errno.EFAULT, "option 5"),
    (request(options=option(0)), errno.EOPNOTSUPP, "option 0"),
    (request(options=option(99)), errno.EOPNOTSUPP, "option 99"),
    (request(options=option(0xFFFFFFFF)), errno.EOPNOTSUPP, "option 4294967295"),
    (request(options=option(1, END + OPTION.size) + option(1)), errno.EINVAL, "twice"),
    (request(options=option(3, END)), errno.EINVAL, "loop"),
    (request(options=option(99, END)), errno.EMSGSIZE, "4096"),
    (request(options=option(1, END + OPTION.size) + option(2, END)), errno.EINVAL, "loop"),
    (request(options=option(1, HEAD)), errno.EOPNOTSUPP, "option"),  # the body, taken for an option
    (request(options=option(1, 8)), None, ""),
    (request(options=option(1, TOP - 1)), errno.EFAULT, "option"),
    (request(options=option(2, 0, REQ_MAX)), errno.EMSGSIZE, "4096"),
    (request(options=option(2, 0, TOP - 1)), errno.EMSGSIZE, "4096"),
    (request(options=option(2, 0, TOP - OPTION.size - END)), errno.EMSGSIZE, "4096"),
    (request(version=13), errno.EINVAL, "version 13"),
    (request(version=16), errno.EINVAL, "version 16"),
    (request(version=0), errno.EINVAL, "version 0"),
    (request(reserved=1), errno.EINVAL, "nr_reserved"),
    (nmreq(REGISTER, b"v" * 64, BODY), errno.EINVAL, "63 bytes"),
    (nmreq(0, "vale1:1", BODY), errno.EOPNOTSUPP, "request 0"),
    (nmreq(3, "vale1:1", bytes(64)), errno.ENXIO, "no such port"),
    (nmreq(13, "", bytes(64)), errno.EOPNOTSUPP, "not served here"),
    (nmreq(16, "vale1:1", BODY), errno.EOPNOTSUPP, "request 16"),
    (nmreq(0xFFFF, "vale1:1", BODY), errno.EOPNOTSUPP, "request 65535"),
    (b"\xff" * HEAD, None, ""),
    (b"\xff" * END, None, ""),
    (b"\xff" * REQ_MAX, None, ""),
    (bytes(REQ_MAX), errno.EINVAL, ""),
    (request().ljust(REQ_MAX + 1, b"\0"), errno.EMSGSIZE, "4096 bytes"),
    (request().ljust(MSG_MAX - HDR.size, b"\0"), errno.EMSGSIZE, "4096 bytes"),
    (nmreq(PORT_INFO_GET, "", struct.pack("=24xH14x", 77)), errno.ENOENT, "no memory region 77"),
    (nmreq(PORT_INFO_GET, "nothing", bytes(40)), errno.ENXIO, "nothing"),
    (nmreq(POOLS_INFO_GET, "", struct.pack("=QH6x48x", 0, 77)), errno.ENOENT, "77"),
    (nmreq(PORT_HDR_SET, "vale1:1", struct.pack("=II", 12, 0)), errno.ENXIO, "vale1:1"),
    (nmreq(VALE_LIST, "vale1:1", bytes(8)), errno.ENOENT, "vale1:1"),
    (nmreq(VALE_LIST, "", struct.pack("=H2xI", 0xFFFF, 0xFFFFFFFF)), errno.ENOENT, "end of the list"),
]


@pytest.mark.parametrize("payload,error,text", BAD_REQUESTS, ids=range(len(BAD_REQUESTS)))
def test_bad_request(daemon, connect, payload, error, text):
    """An error with its reason; nothing of it stays; the connection can go on and register."""
    c = connect()
    with pytest.raises(Refused) as refused:
        c.nmreq(payload)
    assert text in refused.value.text
    assert error is None or refused.value.errno == error, refused.value
    assert nothing_left(c.status())
    assert c.nmreq(register("vale1:1"))[0][3] == 2


def test_ports_of_a_machine_by_kind(daemon, connect):
    """One memory function per region, whatever the ports are; the regions go with the machine."""
    c = connect()
    c.vm_create(b"kinds")
    own = c.vm_add_port("vale1:a@conf:slots=64")[1]
    assert c.vm_add_port("vale1:b@conf:slots=64")[1] == own
    assert c.status()["vms"][0]["memory"][0]["guest"] == {"netmap_if": 64, "ring": 128, "buffer": 8192}
    assert c.vm_add_port("vale1:a{1@conf:slots=64")[1] == own  # a pipe lies where its parent does
    pipe = c.vm_add_port("vale1:q{1@conf:slots=64")[1]
    assert pipe != own and c.vm_add_port("vale1:q}1")[1] == pipe
    named = c.vm_add_port("vale1:c@7@conf:slots=64")[1]
    assert len({own, pipe, named}) == 3
    assert c.vm_add_port("vale1:d@share=vale1:c@conf:slots=64")[1] == named
    assert c.vm_add_port("vale1:a/tr@conf:slots=64")[1] == own  # a monitor that copies
    (vm,) = c.status()["vms"]
    assert [m["region"] for m in vm["memory"]][1:] == [1, 7] and vm["memory"][0]["region"] == vm["region"]
    # Of a region in which netmapd exchanges buffers of the machine's ports nothing is set aside for the guest.
    nothing = {"netmap_if": 0, "ring": 0, "buffer": 0}
    assert [m["guest"] == nothing for m in vm["memory"]] == [True, True, False]
    daemon.logged(f"so nothing of memory region {vm['region']} is set aside for the guest")
    kinds = {p["name"]: p["kind"] for p in c.status()["ports"]}
    assert kinds["vale1:a"] == "vale" and kinds["vale1:a{1"] == "pipe" and "monitor" in kinds.values()
    for name, error, text in (
        ("vale1:a{1", errno.EBUSY, "in use"), ("vale1:e@share=vale1:f", errno.ENXIO, "no such port"),
        (f"vale1:a@{vm['region'] + 50}", errno.EINVAL, "uses memory region"),
    ):
        with pytest.raises(Refused) as refused:
            c.vm_add_port(name)
        assert refused.value.errno == error and text in refused.value.text, (name, refused.value)
    # Another machine can't get into the first one's region, by number or by port.
    other = connect()
    other.vm_create()
    for name in f"vale1:x@{vm['region']}", "vale1:x@share=vale1:a", "vale1:a}1", "vale1:a/z":
        with pytest.raises(Refused, match="belongs to a virtual machine"):
            other.vm_add_port(name)
    other.close()
    c.close()
    wait_until(lambda: nothing_left(daemon.status()), "all is gone")


def test_guests_parts_of_a_shared_region(start_netmapd):
    """A sixteenth of it for each, a quarter for all together: machines that come later still get their ports."""
    daemon = start_netmapd("--shared-buffers", "1600", "--shared-rings", "320", "--shared-ifs", "160")
    whole, nothing = {"netmap_if": 10, "ring": 20, "buffer": 100}, {"netmap_if": 0, "ring": 0, "buffer": 0}

    def parts():
        return [m["guest"] for vm in sorted(daemon.status()["vms"], key=lambda vm: vm["name"])
                for m in vm["memory"] if m["region"] == 7]

    def machine(i):
        c = Connection(daemon.path)
        c.vm_create(b"machine%d" % i)
        c.vm_add_port(f"vale1:{i}@7@conf:slots=16")
        return c

    machines = [machine(i) for i in range(6)]
    assert parts() == [whole] * 4 + [nothing] * 2
    daemon.logged("nothing of the netmap_if pool of memory region 7 is left for its guest")
    machines.pop(0).close()  # what it leaves is for the next one
    wait_until(lambda: len(parts()) == 5, "one is gone")
    machines.append(machine(6))
    assert parts() == [whole] * 3 + [nothing] * 2 + [whole]
    for c in machines:
        c.close()


def test_monitor_of_a_machines_port(daemon, connect):
    """By an application: a copy, in its own memory. Zero copy would have to lie in the machine's."""
    c = connect()
    c.vm_create()
    c.vm_add_port("vale1:a")
    with Port(daemon.path, "vale1:a", flags=MONITOR_TX | MONITOR_RX) as m:
        assert m.reg["mem_id"] != c.status()["vms"][0]["region"]
    with pytest.raises(Refused, match="belongs to a virtual machine") as refused:
        Port(daemon.path, "vale1:a", flags=MONITOR_TX | ZCOPY_MON)
    assert refused.value.errno == errno.EPERM


def test_sizes_of_the_guests_part(start_netmapd):
    daemon = start_netmapd("--vm-buffers", "1000", "--guest-buffers", "10", "--guest-rings", "0", "--guest-ifs", "1")
    with Connection(daemon.path) as c:
        c.vm_create()
        assert c.status()["vms"][0]["memory"][0]["guest"] == {"netmap_if": 1, "ring": 0, "buffer": 10}
        c.vm_add_port("vale1:a@conf:slots=256")
        (region,) = c.status()["regions"]
        assert region["free"]["buffer"] == 1000 - 2 - 512


def test_the_largest_request(connect):
    c = connect()
    assert c.nmreq(register("vale1:1").ljust(REQ_MAX, b"\xff"))[0][3] == 2


def test_option_status(connect):
    """Each option is told what became of it, also those behind the first wrong one."""
    c = connect()
    at = [END + OPTION.size * i for i in range(4)]
    with pytest.raises(Refused) as refused:
        c.nmreq(request(options=option(77, at[1]) + option(99, at[2]) + option(99, at[3]) + option(98)))
    statuses = [OPTION.unpack_from(refused.value.payload, a)[2] for a in at]
    assert statuses == [errno.EOPNOTSUPP] * 4


def test_version_in_the_reply(connect):
    c = connect()
    for version in 14, 15:
        _, payload, _ = c.nmreq(nmreq(PORT_INFO_GET, "vale1:1", bytes(40), version=version))
        assert NMREQ_HEADER.unpack_from(payload)[0] == 14


REGISTRATIONS = [
    # fields, errno, text
    ({"mode": 0}, errno.EINVAL, "mode 0"),
    ({"mode": 9}, errno.EINVAL, "mode 9"),
    ({"mode": 0xFFFFFFFF}, errno.EINVAL, "mode 4294967295"),
    ({"mode": SW}, errno.EINVAL, "0 host rings"),
    ({"mode": ONE_SW}, errno.EINVAL, "tx host ring 0 asked for; the port has 1 rings and 0 host rings"),
    ({"mode": ONE_NIC, "ringid": 1}, errno.EINVAL, "tx ring 1 asked for; the port has 1 rings"),
    ({"mode": ONE_NIC, "ringid": 0xFFFF}, errno.EINVAL, "ring 65535"),
    ({"tx_rings": 65}, errno.EINVAL, ": 65 tx rings asked for; there can be 1 to 64"),
    ({"rx_rings": 0xFFFF}, errno.EINVAL, ": 65535 rx rings asked for; there can be 1 to 64"),
    ({"tx_slots": 1}, errno.EINVAL, ": 1 slots in each tx ring asked for; there can be 2 to 16384"),
    ({"rx_slots": 16385}, errno.EINVAL, ": 16385 slots in each rx ring asked for; there can be 2 to 16384"),
    ({"tx_slots": 0xFFFFFFFF, "rx_slots": 0xFFFFFFFF}, errno.EINVAL, "4294967295 slots in each tx ring"),
    ({"tx_rings": 32, "rx_rings": 32, "tx_slots": 16384, "rx_slots": 16384}, errno.ENOMEM,
     "1048576 buffers wanted; a region holds at most 999998"),
]


@pytest.mark.parametrize("fields,error,text", REGISTRATIONS, ids=lambda v: str(v)[:50])
def test_refused_registration(connect, fields, error, text):
    """The text names the port, the value and the limit; not even the switch stays."""
    c = connect()
    with pytest.raises(Refused) as refused:
        c.nmreq(register("vale7:port", **fields))
    assert "vale7:port" in refused.value.text and text in refused.value.text
    assert refused.value.errno == error
    assert nothing_left(c.status())


@pytest.mark.parametrize(
    "name",
    ["", "vale1:", "vale1", "vale:", ":1", "vale1:a b", "vale1:a/b", "vale1:a:b", "vale-1:x", "vale1:\n", "vale1:\xff", "eth0",
     "vale1:1{", "vale1:1}a-b"],
)
def test_bad_names(connect, name):
    c = connect()
    with pytest.raises(Refused) as refused:
        c.nmreq(register(name))
    assert refused.value.errno in (errno.EINVAL, errno.ENXIO)
    assert nothing_left(c.status())


# ------------------------------------------------------------ clients that don't behave


def test_never_reads(daemon, connect, checked_traffic):
    """Who doesn't read the replies is given up, and nobody else waits for that."""
    traffic = checked_traffic("vale1")
    clients = [connect() for _ in range(4)]
    for c in clients:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100000):
                c.send(message(STATUS, BODIES[STATUS]))
    assert connect().hello() == daemon.pid
    traffic.finish()


def test_closed_in_the_middle(daemon, connect):
    """Of a registration, of a machine, of a status: whoever comes next finds everything free."""
    connect().hello()
    before = daemon.descriptors()
    for data in (
        message(NMREQ, register("vale1:1")), message(VM_CREATE, BODIES[VM_CREATE]), message(STATUS, BODIES[STATUS]),
        message(VM_CREATE, BODIES[VM_CREATE]) + b"", message(HELLO),
    ):
        for how in (None, socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            c = Connection(daemon.path)
            c.send(data)
            if how is not None:
                c.socket.shutdown(how)
            c.close()
    wait_until(lambda: daemon.descriptors() == before, "all descriptors are closed")
    c = connect()
    assert nothing_left(c.status())
    c.nmreq(register("vale1:1"))


def test_one_that_is_slow(daemon, connect):
    """A reply is waited for by nobody: other connections are served while one has unread replies."""
    slow = connect()
    for _ in range(5):
        slow.send(message(STATUS, BODIES[STATUS]))
    assert connect().hello() == daemon.pid
    for _ in range(5):
        assert slow.receive()[0]
    assert slow.hello() == daemon.pid


def test_status_in_parts(connect):
    """Offsets that can't be; a text that is longer than a message; it doesn't change while it is read."""
    c, ports = connect(), []
    with pytest.raises(Refused, match="from its beginning first"):
        c.ask(STATUS, struct.pack("=II", 1, 0))
    for i in range(40):
        ports.append(connect())
        ports[-1].nmreq(register(f"vale1:{i}", tx_slots=16, rx_slots=16))
    assert len(c.status()["ports"]) == 40
    part, _ = c.ask(STATUS, bytes(8))
    total, length = struct.unpack_from("=II", part)
    assert total > MSG_MAX and length == MSG_MAX - REPLY - 8
    ports.pop().close()
    for start in (total, total + 1, 0xFFFFFFFF):
        assert struct.unpack("=II", c.ask(STATUS, struct.pack("=II", start, 0))[0]) == (total, 0)
    part, _ = c.ask(STATUS, struct.pack("=II", total - 1, 0))
    assert struct.unpack_from("=II", part) == (total, 1) and part[8:] == b"}"
    # That was the last piece: nothing is kept for who doesn't ask again.
    assert struct.unpack("=II", c.ask(STATUS, struct.pack("=II", total, 0))[0]) == (total, 0)
    with pytest.raises(Refused, match="from its beginning first"):
        c.ask(STATUS, struct.pack("=II", total - 1, 0))


@pytest.mark.skipif(SANITIZED, reason="the allocator of sanitizers keeps what is freed")
def test_memory_of_a_large_reply(daemon, connect):
    """What a text of 1.4 MB took goes back to the system, and the next ones don't come from a heap that keeps as much."""
    ports = [connect() for _ in range(80)]
    for i, c in enumerate(ports):
        for fd in c.nmreq(register(f"vale1:{i}", tx_slots=16, rx_slots=16, tx_rings=64, rx_rings=64))[2]:
            os.close(fd)

    def own_kb():
        rollup = Path(f"/proc/{daemon.pid}/smaps_rollup").read_text()
        return int(rollup.split("Anonymous:")[1].split()[0])

    before = own_kb()
    for _ in range(3):
        c = Connection(daemon.path)
        text_kb = len(json.dumps(c.status())) >> 10
        c.close()
    assert text_kb > 1024
    assert connect().hello() == daemon.pid      # the connection's end has been seen
    wait_until(lambda: own_kb() < before + text_kb // 2, "the memory is given back")


def test_many_connections(daemon, connect):
    """500 at once, half of them with ports of one switch, which can have 254 of them; then none."""
    connect().hello()

    def crowd():
        all_of_them = [Connection(daemon.path) for _ in range(500)]
        for c in all_of_them:
            assert c.hello() == daemon.pid
        for i, c in enumerate(all_of_them[:254]):
            for fd in c.nmreq(register(f"vale1:{i}", tx_slots=16, rx_slots=16))[2]:
                os.close(fd)
        with pytest.raises(Refused, match="vale1:x: switch vale1 has 254 ports already"):
            all_of_them[254].nmreq(register("vale1:x"))
        assert len(all_of_them[255].status()["ports"]) == 254
        for c in all_of_them:
            c.close()

    before = daemon.descriptors(), daemon.mappings()
    memory = []
    for _ in range(4):
        crowd()
        wait_until(lambda: (daemon.descriptors(), daemon.mappings()) == before, "nothing is left")
        memory.append(daemon.memory_kb())
    # malloc keeps some of the first ones; that of the sanitizers keeps more, for longer
    assert memory[3] < memory[1] + (8192 if SANITIZED else 1024)
    assert nothing_left(connect().status())


def test_come_and_go(daemon, connect):
    """Threads that connect, register the same few ports, and leave, all the time. Whoever has a port has it alone."""
    connect().hello()
    before = daemon.descriptors()
    counts = {"registered": 0, "busy": 0}
    owners = [None, None, None]

    def one(number):
        choose = random.Random(number)
        for _ in range(100):
            port = choose.randrange(3)
            try:
                with Port(daemon.path, f"vale1:{port}", tx_slots=32, rx_slots=32):
                    assert owners[port] is None
                    owners[port] = number
                    counts["registered"] += 1
                    owners[port] = None
            except Refused as e:
                assert e.errno == errno.EBUSY and "in use" in e.text
                counts["busy"] += 1

    threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert counts["registered"] + counts["busy"] == 400 and counts["registered"] > 50
    wait_until(lambda: daemon.descriptors() == before, "no descriptor is left")
    assert nothing_left(connect().status())


# ------------------------------------------------------------ noise

FUZZ_MESSAGES = 5000


class Fuzzer:
    """Sends messages that are nearly right, half right, or nothing like it, over a few connections."""

    def __init__(self, daemon, seed):
        self.path = daemon.path
        self.random = random.Random(seed)
        self.connections = []
        self.statuses = {}
        self.closed = 0
        self.spare = os.pipe()

    def number(self, bits):
        r = self.random
        edge = r.choice([0, 1, 2, 16, 63, 64, 65, 88, 144, 255, 1024, 4096, 16384, 1 << (bits - 1), (1 << bits) - 1])
        return r.choice([edge, edge + 1, edge - 1, r.getrandbits(bits), r.randrange(200)]) & ((1 << bits) - 1)

    def name(self):
        r = self.random
        name = r.choice(["vale1:f1", "vale1:f2", "vale2:f3", "vale:f", "vale1:f1-0", "netmap:x", "", "vale1:f1@conf:rings=4"]).encode()
        if r.random() < 0.1:
            name = bytes(r.getrandbits(8) for _ in range(r.randrange(64)))
        return name

    def register_body(self):
        r = self.random
        values = dict.fromkeys(range(13), 0)
        values[10] = r.choice([ALL_NIC, ALL_NIC, ONE_NIC, r.randrange(10), self.number(32)])
        for i in r.sample(range(13), r.randrange(4)):
            bits = struct.Struct("=" + "QQIIHHHHHHIIQ"[i]).size * 8
            values[i] = self.number(bits)
        if r.random() < 0.7:  # small, so that it can succeed
            values[2] = values[3] = r.choice([0, 2, 3, 16, 64])
            values[4] = values[5] = r.choice([0, 1, 2])
        return NMREQ_REGISTER.pack(*values.values())

    def nmreq(self):
        r = self.random
        size = {PORT_INFO_GET: 40, VALE_LIST: 8, PORT_HDR_SET: 8, PORT_HDR_GET: 8, POOLS_INFO_GET: 64}
        kind = r.choice([REGISTER] * 4 + list(size) + [self.number(16)])
        if r.random() < 0.1:
            size[kind] = r.choice([0, 8, 40, 64])
        body = self.register_body() if kind == REGISTER else bytes(r.choice([0, r.getrandbits(8)]) for _ in range(size.get(kind, 8)))
        options = b""
        for _ in range(r.choice([0] * 9 + [1, 2, 5])):
            next_at = r.choice([0, HEAD + len(body) + len(options) + OPTION.size, self.number(64)])
            options += option(r.choice([1, 2, 3, 5, self.number(32)]), next_at, r.choice([0, 0, self.number(64)]))
        return nmreq(
            kind, self.name()[:64], body,
            body_at=HEAD if r.random() < 0.9 else self.number(64),
            options=options,
            options_at=None if r.random() < 0.9 else self.number(64),
            version=14 if r.random() < 0.95 else self.number(16),
            reserved=0 if r.random() < 0.95 else 1,
        )

    def body(self, kind):
        r = self.random
        if kind == NMREQ:
            return self.nmreq()
        if kind == VM_ADD_PORT:
            return self.name()[:256].ljust(256, b"\0") + bytes(r.choice([0, 2, 255]) for _ in range(6)) + b"\0\0"
        if kind == STATUS:
            return struct.pack("=II", r.choice([0, self.number(32)]), 0)
        if kind in (VALE_MACS, VALE_FLUSH):
            name = r.choice([b"vale1", b"vale2", b"vale", self.name()])[:64].ljust(64, b"\0")
            return (struct.pack("=Q", r.choice([0, self.number(64)])) if kind == VALE_MACS else b"") + name
        if kind == VM_CREATE:
            return bytes(64) + struct.pack("=Q", r.choice([0] * 5 + [1 << 20, 1 << r.randrange(64), self.number(64)]))
        return b""

    def message(self):
        r = self.random
        kinds = [HELLO, NMREQ, VM_CREATE, VM_ADD_PORT, STATUS, VALE_MACS, VALE_FLUSH, self.number(16)]
        kind = r.choices(kinds, [2, 20, 1, 3, 2, 1, 1, 1])[0]
        data = bytearray(message(kind, self.body(kind)))
        for _ in range(r.choice([0] * 5 + [1, 4])):  # bytes behind the magic, so that not all of it ends at the door
            if len(data) > 4:
                data[r.randrange(4, len(data))] = r.getrandbits(8)
        if r.random() < 0.05:
            data = data[: r.randrange(len(data) + 1)] + bytes(r.choice([0, 1, 100]))
        if r.random() < 0.8 and len(data) >= HDR.size:
            struct.pack_into("=I", data, 8, len(data))
        return bytes(data) or b"\xff"

    def connection(self):
        r = self.random
        if len(self.connections) < 8 and (not self.connections or r.random() < 0.1):
            self.connections.append(Connection(self.path))
        c = r.choice(self.connections)
        if r.random() < 0.05:
            self.drop(c)
            return self.connection()
        return c

    def drop(self, c):
        self.connections.remove(c)
        c.close()

    def step(self):
        c = self.connection()
        try:
            c.send(self.message(), [self.spare[1]] * self.random.choice([0] * 9 + [1, 20]))
            reply, fds = c.receive()
        except BrokenPipeError:
            reply, fds = b"", []
        for fd in fds:
            os.close(fd)
        if not reply:
            self.closed += 1
            self.drop(c)
            return
        _, _, kind, size, status = HDR.unpack_from(reply)
        assert size == len(reply) >= REPLY and status <= 0
        assert (fds != []) == (kind == NMREQ and status == 0 and ATTACH.unpack_from(reply, REPLY)[0] > 0)
        assert kind != NMREQ or status == -errno.EPROTONOSUPPORT or size >= NMREQ_REPLY
        self.statuses[kind, -status] = self.statuses.get((kind, -status), 0) + 1

    def close(self):
        for c in list(self.connections):
            self.drop(c)
        for fd in self.spare:
            os.close(fd)


def test_noise(daemon, connect, checked_traffic):
    """netmapd lives, others' packets arrive, and nothing is left behind."""
    connect().hello()
    before = daemon.descriptors(), daemon.mappings()
    traffic = checked_traffic("vale1")
    fuzzer = Fuzzer(daemon, 20260)
    for _ in range(FUZZ_MESSAGES):
        fuzzer.step()
    fuzzer.close()
    # The noise was of use only if much of it got far.
    assert fuzzer.statuses[NMREQ, 0] > 200 and fuzzer.statuses[VM_ADD_PORT, 0] > 10 and fuzzer.closed > 50
    assert {kind for kind, status in fuzzer.statuses if status == 0} == {
        HELLO, NMREQ, VM_CREATE, VM_ADD_PORT, STATUS, VALE_MACS, VALE_FLUSH,
    }
    assert {e for _, e in fuzzer.statuses} >= {errno.EINVAL, errno.EBUSY, errno.EOPNOTSUPP, errno.EFAULT}
    assert traffic.finish() > 500
    wait_until(lambda: (daemon.descriptors(), daemon.mappings()) == before, "nothing is left")
    assert nothing_left(connect().status())


def reply_to(connection, kind, body):
    """All of it."""
    connection.send(message(kind, body))
    return connection.receive()[0]


@pytest.mark.skipif(SANITIZED, reason="the allocator is the sanitizers'")
def test_without_memory_for_its_reply_a_request_is_answered(start_netmapd):
    """What is done at once is told at once, what goes on in parts is undone; neither ends the connection."""
    info = nmreq(PORT_INFO_GET, "vale1:7", bytes(2345))
    add = b"vale1:2".ljust(264, b"\0")
    daemon = start_netmapd()
    with Port(daemon.path, "vale1:7"), Connection(daemon.path) as c, Connection(daemon.path) as vm:
        vm.vm_create()
        sizes = [len(reply_to(c, NMREQ, info)), len(reply_to(vm, VM_ADD_PORT, add))]
        assert c.nmreq(info)
    daemon.stop()

    def starve(size):
        return start_netmapd(env=environment(LD_PRELOAD=str(NO_MEMORY), NO_MEMORY=str(size)))

    starved = starve(sizes[0])
    with Port(starved.path, "vale1:7"), Connection(starved.path) as c:
        assert c.nmreq(info)
        request = register("vale1:1")
        long_one = request + bytes(len(info) - len(request))
        for _ in range(2):
            with pytest.raises(Refused, match="out of memory") as refused:
                c.nmreq(long_one)
            assert refused.value.errno == errno.ENOMEM and starved.ports() == ["vale1:7"]
        for fd in c.nmreq(request)[2]:
            os.close(fd)
        assert starved.ports() == ["vale1:1", "vale1:7"]
    starved.stop()
    starved = starve(sizes[1])
    with Connection(starved.path) as vm:
        vm.vm_create()
        for _ in range(2):
            with pytest.raises(Refused, match="out of memory"):
                vm.ask(VM_ADD_PORT, add)
            assert starved.ports() == []
        assert vm.hello() == starved.pid
