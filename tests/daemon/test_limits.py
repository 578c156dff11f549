# SPDX-License-Identifier: BSD-2-Clause
"""Bounds of what a user, and all users together, can have; and who may use whose memory. Two users, really."""

import errno
import fcntl
import os
import resource
import socket
import struct
from pathlib import Path

import pytest

from ptnet_real import (
    PATIENCE, Connection, Port, Refused, environment, extmem_option, register, run, user, wait_until,
    MONITOR_RX, MONITOR_TX, NETMAPCTL, SANITIZED, ZCOPY_MON,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become other users")

ALICE, BOB = 65533, 65534
MIB = 1 << 20


@pytest.fixture
def start(start_netmapd):
    """start(WHAT=N…, option…): a netmapd that all users may use."""

    def start(*options, preexec_fn=None, path=None, **bounds):
        more = [word for what, n in bounds.items() for word in ("--max", f"{what.replace('_', '-')}={n}")]
        daemon = start_netmapd(*more, *options, preexec_fn=preexec_fn, path=path)
        os.chmod(daemon.path, 0o666)
        return daemon

    return start


def limit(daemon, what):
    return next(one for one in daemon.status()["limits"] if one["name"] == what)


def nothing_used(daemon, *but):
    """All that was counted is given back; what asks is a connection, a descriptor and a request."""
    def all_back():
        return {one["name"]: one["users"] for one in daemon.status()["limits"] if one["users"]} == {
            "connections": {"0": 1}, "descriptors": {"0": 1}, "requests": {"0": 1}}

    wait_until(all_back, "everything is given back")


def refused(what, n, text="user 65533 has"):
    """The error that says so."""
    return pytest.raises(Refused, match=f"{what}: {text} .* of at most {n}.* --max {what}=")


def connection(daemon, uid):
    with user(uid):
        return Connection(daemon.path)


def port(daemon, uid, name, *args, **fields):
    with user(uid):
        return Port(daemon.path, name, *args, **fields)


def memfd(size):
    fd = os.memfd_create("app", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd


# ------------------------------------------------------------ each bound, of one user


def test_connections(start):
    """The one that is too many is told why as it is turned away; another user isn't."""
    daemon = start(connections=3)
    held = [connection(daemon, ALICE) for _ in range(3)]
    for c in held:
        c.hello()
    result = run(NETMAPCTL, "list", env=environment(daemon.path), user=ALICE)
    assert result.returncode == 5 and "connections: user 65533 has 3 of at most 3" in result.stderr, result.stderr
    assert "netmapd --max connections=N" in result.stderr
    with connection(daemon, BOB) as c:
        assert c.hello() == daemon.pid
    assert limit(daemon, "connections")["refused"] == 1 and limit(daemon, "connections")["users"]["65533"] == 3
    held.pop().close()
    wait_until(lambda: limit(daemon, "connections")["users"]["65533"] == 2, "one is gone")
    held.append(connection(daemon, ALICE))
    assert held[-1].hello() == daemon.pid
    for c in held:
        c.close()
    nothing_used(daemon)


def test_machines_and_descriptors(start):
    daemon = start(machines=1)
    with connection(daemon, ALICE) as a, connection(daemon, ALICE) as b, connection(daemon, BOB) as other:
        a.vm_create()
        a.vm_add_port("vale1:a@conf:slots=64")
        with refused("machines", 1):
            b.vm_create()
        other.vm_create()
        other.vm_add_port("vale1:b@conf:slots=64")
    nothing_used(daemon)


def test_descriptors(start):
    daemon = start(descriptors=100)
    with connection(daemon, ALICE) as a, connection(daemon, BOB) as other:
        a.vm_create()
        a.vm_add_port("vale1:a@conf:slots=64")
        with refused("descriptors", 100):
            a.vm_add_port("vale1:b@conf:slots=64")
        with connection(daemon, ALICE) as c, refused("descriptors", 100):
            c.nmreq(register("vale1:c", tx_rings=20, rx_rings=20))
        other.vm_create()
        other.vm_add_port("vale1:b@conf:slots=64")
    nothing_used(daemon)


def test_ports_rings_buffers(start):
    daemon = start(ports=3, rings=8, buffers=5000, switches=2)
    with port(daemon, ALICE, "vale1:a"), port(daemon, ALICE, "vale2:a"):
        with connection(daemon, ALICE) as c:
            with refused("switches", 2):
                c.nmreq(register("vale3:a"))
            with refused("rings", 8):
                c.nmreq(register("vale1:b", tx_rings=3, rx_rings=2))
            with refused("buffers", 5000):
                c.nmreq(register("vale1:b"))
            with refused("ports", 3):  # a pipe is two
                c.nmreq(register("vale1:a{1", tx_slots=64, rx_slots=64))
            *_, fds = c.nmreq(register("vale1:b", tx_slots=64, rx_slots=64))
            for fd in fds:
                os.close(fd)
            with connection(daemon, ALICE) as d, refused("ports", 3):
                d.nmreq(register("vale2:b", tx_slots=64, rx_slots=64))
        with port(daemon, BOB, "vale3:a"), port(daemon, BOB, "vale1:c"):
            pass
    nothing_used(daemon)


def test_extra_buffers(start):
    daemon = start(extra_buffers=1000)
    with connection(daemon, ALICE) as c:
        with refused("extra-buffers", 1000):
            c.nmreq(register("vale1:a", extra_bufs=1001))
        assert c.status()["ports"] == []
    with port(daemon, ALICE, "vale1:a", extra_bufs=1000) as a, port(daemon, BOB, "vale1:b", extra_bufs=1000):
        assert len(set(a.extra_buffers())) == 1000
        with connection(daemon, ALICE) as c, refused("extra-buffers", 1000):
            c.nmreq(register("vale1:c", extra_bufs=1))
    nothing_used(daemon)


def test_memory(start):
    """Of applications and machines; the region of pipes and devices is paid for as far as it is used."""
    daemon = start("--spare-buffers", "0", "--vm-buffers", "1024", memory="24M/100M")
    with port(daemon, ALICE, "vale1:a"):
        assert 4 * MIB < limit(daemon, "memory")["users"]["65533"] < 24 * MIB
        with connection(daemon, ALICE) as c:
            with refused("memory", "24 MiB"):
                c.nmreq(register("vale1:b", tx_slots=8192, rx_slots=8192))
            with refused("memory", "24 MiB"):
                c.nmreq(register("none{1", mem_id=1, tx_slots=4096, rx_slots=4096))
        with port(daemon, ALICE, "none{1"), port(daemon, BOB, "vale1:c"), port(daemon, BOB, "none}1"):
            pass
    nothing_used(daemon)


def mapped(daemon):
    return [line.split() for line in open(f"/proc/{daemon.pid}/maps") if "memfd:app" in line]


def test_external_memory(start):
    """Only what the pools need is mapped, and paid for."""
    daemon = start(external_memory="64M")
    small, large = memfd(1 << 40), memfd(1 << 40)
    with port(daemon, ALICE, "vale1:a", extmem_option(1 << 40, 8, 8, 4096), [small]):
        used = limit(daemon, "external-memory")["users"]["65533"]
        assert 8 * MIB < used < 16 * MIB
        with connection(daemon, ALICE) as c, refused("external-memory", "64 MiB"):
            c.nmreq(register("vale1:b", extmem_option(1 << 40)), [large])
        maps = wait_until(lambda: len(m := mapped(daemon)) == 1 and m, "what was refused is unmapped")
        begin, end = (int(x, 16) for x in maps[0][0].split("-"))
        assert end - begin <= used
    nothing_used(daemon)
    os.close(small), os.close(large)


def test_dma_ranges(start):
    """Announced ranges of a device, refused beyond the bound; all of them back when the client is gone."""
    def call(s, command, payload):
        s.send(struct.pack("=HHIII", 1, command, 16 + len(payload), 0, 0) + payload)
        reply = s.recv(8192)
        return struct.unpack_from("=I", reply, 12)[0]

    daemon = start(dma_ranges=10)
    with connection(daemon, ALICE) as c:
        c.vm_create()
        for path in c.vm_add_port("vale1:a")[:2]:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(PATIENCE)
                s.connect(path)
                assert call(s, 1, struct.pack("=HH", 0, 0) + b"{}\0") == 0
                results = [call(s, 2, struct.pack("=IIQQQ", 32, 3, 0, i << 20, 4096)) for i in range(12)]
                assert results == 10 * [0] + 2 * [errno.EDQUOT]
                assert call(s, 3, struct.pack("=IIQQ", 24, 0, 0, 4096)) == 0
                assert call(s, 2, struct.pack("=IIQQQ", 32, 3, 0, 0, 4096)) == 0
                assert limit(daemon, "dma-ranges")["used"] == 10
            wait_until(lambda: limit(daemon, "dma-ranges")["used"] == 0, "the client is gone")
    nothing_used(daemon)


def test_all_together(start):
    """Many users reach a bound that none of them does."""
    daemon = start(machines="2/3")
    held = [connection(daemon, uid) for uid in (ALICE, ALICE, BOB)]
    for c in held:
        c.vm_create()
    with connection(daemon, BOB) as c, refused("machines", 3, "all users have"):
        c.vm_create()
    held[0].close()
    with connection(daemon, BOB) as c:
        wait_until(lambda: limit(daemon, "machines")["used"] == 2, "one is gone")
        c.vm_create()
    for c in held:
        c.close()
    nothing_used(daemon)


def test_shown_in_status(daemon):
    output = run(NETMAPCTL, "status", "-v", env=environment(daemon.path)).stdout
    for what in ("memory", "external-memory", "ports", "rings", "buffers", "extra-buffers", "switches", "connections",
                 "machines", "dma-ranges", "descriptors", "requests"):
        assert f"limit {what}: limit " in output


# ------------------------------------------------------------ memory that is short


def hungry(daemon):
    """Requests that would take more than there is: each has an error, and nobody else notices."""
    with port(daemon, BOB, "vale9:1") as a, port(daemon, BOB, "vale9:2") as b:
        with connection(daemon, ALICE) as c:
            before = limit(daemon, "memory")["used"]
            with pytest.raises(Refused, match="memory: (user 65533 has|all users have) .* of at most .* --max memory="):
                c.nmreq(register("vale1:a", extra_bufs=131072, tx_rings=8, rx_rings=8, tx_slots=4096, rx_slots=4096))
            with pytest.raises(Refused, match="memory: (user 65533 has|all users have)"):
                c.vm_create()
            assert limit(daemon, "memory")["used"] == before
        a.send(b"\xff" * 60)
        b.receive(1)
    nothing_used(daemon)


if not SANITIZED:   # those take all address space
    def test_address_space(start):
        daemon = start("--vm-buffers", "300000", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (600 * MIB, 600 * MIB)))
        assert limit(daemon, "memory")["limit_all"] == 450 * MIB
        hungry(daemon)
        raised = start("--vm-buffers", "300000", memory="8G", path=daemon.place / "raised",
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (600 * MIB, 600 * MIB)))
        with Connection(raised.path) as c:
            with pytest.raises(Refused, match="bytes of packet memory can't be had: Cannot allocate memory"):
                c.vm_create()
            assert c.hello() == raised.pid


@pytest.fixture
def control_group():
    """One of 100 MiB."""
    first = Path("/sys/fs/cgroup/memory").is_dir()
    path = Path("/sys/fs/cgroup/memory" if first else "/sys/fs/cgroup") / f"ptnet-test-{os.getpid()}"
    try:
        path.mkdir()
        (path / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(100 * MIB))
    except OSError as e:
        if path.exists():
            path.rmdir()
        pytest.skip(f"no control group can be made here: {e}")
    yield path
    wait_until(lambda: not (path / "cgroup.procs").read_text(), "netmapd has left it")
    path.rmdir()


def test_control_group(start, control_group):
    daemon = start("--vm-buffers", "100000", preexec_fn=lambda: (control_group / "cgroup.procs").write_text("0"))
    assert limit(daemon, "memory")["limit_all"] == 75 * MIB
    hungry(daemon)
    daemon.stop()


# ------------------------------------------------------------ whose memory


def region_of(p):
    return p.reg["mem_id"]


def test_private_memory_is_private(start):
    """A region that an application has not shared on purpose: its number, its port, its pipes and its monitors give it
    to nobody but its user and root."""
    daemon = start()
    with port(daemon, ALICE, "vale1:a", tx_rings=2, rx_rings=2) as a:
        number = region_of(a)
        with connection(daemon, BOB) as c:
            for request in (
                register("vale1:b", mem_id=number),
                register("vale2:b", mem_id=number),
                register("none{1", mem_id=number),
                register("vale1:a", flags=MONITOR_RX | MONITOR_TX | ZCOPY_MON),
            ):
                with pytest.raises(Refused, match=f"memory region {number} is private to user 65533") as error:
                    c.nmreq(request)
                assert error.value.errno == errno.EPERM
            assert len(c.status()["ports"]) == 1
            c.vm_create()
            for name in f"vale1:b@{number}", "vale1:b@share=vale1:a":
                with pytest.raises(Refused, match=f"memory region {number} is private to user 65533"):
                    c.vm_add_port(name)
        # A pipe of hers, and a monitor that copies, lie elsewhere.
        for name, flags in (("vale1:a{1", 0), ("vale1:a", MONITOR_RX)):
            with port(daemon, BOB, name, flags=flags) as b:
                assert region_of(b) != number
        for uid in ALICE, 0:
            for name, fields in (("vale1:b", {"mem_id": number}), ("vale1:a{1", {}), ("none{1", {"mem_id": number})):
                with port(daemon, uid, name, **fields) as p:
                    assert region_of(p) == number
    nothing_used(daemon)


def test_external_memory_is_private(start):
    daemon = start()
    fd = memfd(32 * MIB)
    with port(daemon, ALICE, "vale1:a", extmem_option(32 * MIB), [fd]) as a:
        with connection(daemon, BOB) as c, pytest.raises(Refused, match="is private to user 65533"):
            c.nmreq(register("vale1:b", mem_id=region_of(a)))
    os.close(fd)


def test_roots_memory_is_private(start):
    daemon = start()
    with port(daemon, 0, "vale1:a") as a, connection(daemon, BOB) as c:
        with pytest.raises(Refused, match="is private to user 0"):
            c.nmreq(register("vale1:b", mem_id=region_of(a)))


def test_a_pipe_in_private_memory(start):
    """Both ends in the region of the port: the other end is its user's as well. Users meet in a region with a name."""
    daemon = start()
    with port(daemon, ALICE, "vale1:a") as a, port(daemon, ALICE, "vale1:a{1") as master:
        assert region_of(a) == region_of(master)
        with connection(daemon, BOB) as c, pytest.raises(Refused, match=r"is private to user 65533.*vale1:a}1@1"):
            c.nmreq(register("vale1:a}1"))
        with port(daemon, ALICE, "vale1:a}1") as slave:
            master.send(b"\xff" * 60)
            assert slave.receive(1)
    with port(daemon, ALICE, "shared{1", mem_id=1) as master, port(daemon, BOB, "shared}1") as slave:
        master.send(b"\xff" * 60)
        assert slave.receive(1)
    with port(daemon, ALICE, "vale1:a", mem_id=77) as a, port(daemon, BOB, "vale1:b", mem_id=77) as b:
        assert region_of(a) == region_of(b) == 77
