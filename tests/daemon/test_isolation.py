# SPDX-License-Identifier: BSD-2-Clause
"""Nobody pays for somebody else: clients that keep netmapd busy, or waiting, and others who notice nothing of it."""

import errno
import os
import signal
import socket
import struct
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from ptnet_real import (
    EXCLUSIVE, HDR, HELLO, NMREQ, PATIENCE, STATUS, VM_ADD_PORT, Connection, Port, message, register, wait_until
)

LINGER = struct.pack("ii", 1, 1000)  # a close() waits for so many seconds, until the peer has all data or is gone


class Hanging:
    """Sockets whose close() hangs, in whoever closes the last reference, until end()."""

    def __init__(self, daemon):
        self.daemon, self.peers = daemon, []

    def socket(self):
        with socket.socket(socket.AF_INET) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            s = socket.create_connection(listener.getsockname())
            self.peers.append(listener.accept()[0])
        s.setblocking(False)
        try:
            while True:
                s.send(bytes(65536))
        except BlockingIOError:
            pass
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        return s

    @contextmanager
    def standstill(self):
        self.daemon.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: self.state() == "T", "netmapd stands still")
            yield
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)

    def send(self, connection, data, count=1):
        """A message that carries them. While netmapd stands still: so it has the last references."""
        sockets = [self.socket() for _ in range(count)]
        socket.send_fds(connection, [data], [s.fileno() for s in sockets])
        for s in sockets:
            s.close()

    def pass_on(self, connection, data, count=1):
        with self.standstill():
            self.send(connection, data, count)

    def state(self):
        return Path(f"/proc/{self.daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    def end(self):
        for s in self.peers:
            s.close()
        self.peers = []


@pytest.fixture
def hanging(daemon):
    h = Hanging(daemon)
    yield h
    h.end()


def vfio_connection(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(PATIENCE)
    s.connect(path)
    return s


def hangs_up(s):
    """Does netmapd? With or without having read all."""
    try:
        return s.recv(100) == b""
    except ConnectionResetError:
        return True


VU_RESET = struct.pack("=HHIII", 1, 13, 16, 0, 0)


def other_clients_are_served(daemon, place):
    """Requests, a new port with traffic, a machine's registers: none of it waits."""
    with Connection(daemon.path) as c:
        assert c.hello() == daemon.pid
        c.status()
    with Port(daemon.path, "vale9:1") as a, Port(daemon.path, "vale9:2") as b:
        a.send(b"\xff" * 60)
        b.receive(1)
    with Connection(daemon.path) as c:
        c.vm_create()
        net, _, _ = c.vm_add_port("vale9:3")
        with vfio_connection(net) as s:
            s.send(VU_RESET)
            assert s.recv(100)


# ------------------------------------------------------------ descriptors whose close() hangs


def test_descriptors_that_hang(daemon, place, hanging):
    """As the one of a request, as those that are too many, in a message that is none."""
    with Connection(daemon.path) as a, Connection(daemon.path) as b, Connection(daemon.path) as c:
        hanging.pass_on(a.socket, message(HELLO))
        assert a.receive()[0]
        hanging.pass_on(b.socket, message(HELLO), 100)
        assert b.receive()[0]
        hanging.pass_on(c.socket, b"nonsense", 2)
        assert c.is_closed()
        other_clients_are_served(daemon, place)
        assert a.hello() == b.hello() == daemon.pid
    other_clients_are_served(daemon, place)
    hanging.end()
    daemon.at_rest()


def test_unread_descriptors_that_hang(daemon, place, hanging):
    """In the queue of a socket that netmapd closes: behind nonsense, behind a client's end."""
    for i in range(10):
        with Connection(daemon.path) as c:
            with hanging.standstill():
                c.send(b"nonsense")
                hanging.send(c.socket, b"nonsense" if i % 2 else message(HELLO))
    other_clients_are_served(daemon, place)
    hanging.end()
    daemon.at_rest()


def test_descriptors_of_a_device_that_hang(daemon, place, hanging):
    """One, as many as a message may have, more than that, unread ones; also when the client's machine goes."""
    with Connection(daemon.path) as machine:
        machine.vm_create()
        net, mem, _ = machine.vm_add_port("vale1:1")
        for path in net, mem:
            for count in 1, 16, 17, 100:
                with vfio_connection(path) as s:
                    hanging.pass_on(s, VU_RESET, count)
                    assert s.recv(100)
                    with hanging.standstill():
                        s.send(b"nonsense" * 2)
                        hanging.send(s, VU_RESET)
                    assert hangs_up(s)
                    other_clients_are_served(daemon, place)
            with vfio_connection(path) as s:
                s.send(VU_RESET)
                assert s.recv(100)
                with hanging.standstill():
                    refused = vfio_connection(path)
                    hanging.send(refused, VU_RESET)
                with refused:
                    assert hangs_up(refused)
                s.send(VU_RESET)
                assert s.recv(100)
    other_clients_are_served(daemon, place)
    hanging.end()
    daemon.at_rest()


def test_a_client_with_too_much_to_close_waits(daemon, place, hanging):
    """Its messages are not read any more until there is room; those of others are."""
    with Connection(daemon.path) as c:
        hanging.pass_on(c.socket, message(HELLO))
        assert c.receive()[0]
        eventfds = [socket.socket(socket.AF_UNIX) for _ in range(250)]
        for _ in range(2):
            c.send(message(HELLO), [s.fileno() for s in eventfds])
            assert c.receive()[0]
        c.send(message(HELLO))
        other_clients_are_served(daemon, place)
        time.sleep(0.3)
        c.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            c.receive()
        c.socket.setblocking(True)
        hanging.end()
        assert c.receive()[0]
        for s in eventfds:
            s.close()


def test_the_end_does_not_wait_for_what_hangs(daemon, place, hanging):
    with Connection(daemon.path) as c:
        hanging.pass_on(c.socket, message(HELLO), 3)
        assert c.receive()[0]
        assert daemon.stop() == 0


def test_hanging_connections_of_many(daemon, place, hanging):
    """A hundred clients, each with one: the user's threads are all taken, but no descriptor more than they have passed."""
    before = daemon.descriptors()
    for _ in range(100):
        with Connection(daemon.path) as c:
            hanging.pass_on(c.socket, message(HELLO))
            assert c.receive()[0]
    other_clients_are_served(daemon, place)
    assert daemon.threads(closers=True) < 20
    hanging.end()
    wait_until(lambda: daemon.descriptors() == before, "all are closed")


# ------------------------------------------------------------ what takes long


PIPE = {"tx_rings": 4, "rx_rings": 2, "tx_slots": 2048, "rx_slots": 2048}
LARGE = {"tx_rings": 64, "rx_rings": 64, "tx_slots": 4096, "rx_slots": 2048}


def outcome(connection):
    """The status of the reply to a REGISTER; its descriptors are closed."""
    data, fds = connection.receive()
    for fd in fds:
        os.close(fd)
    return HDR.unpack_from(data)[4]


@pytest.mark.parametrize("names", [("vale0:large", "vale0:large"), ("vale0:1{p", "vale0:1}p"), ("vale0:1}p", "vale0:1{p")])
def test_who_comes_while_a_port_is_made(daemon, place, names):
    """Who asks for a port that somebody is about to open gets it when it is there; the other end of a pipe as well."""
    with Connection(daemon.path) as a, Connection(daemon.path) as b:
        for c, name in zip((a, b), names):
            c.send(message(NMREQ, register(name, **(PIPE if "p" in name else LARGE))))
        assert (outcome(a), outcome(b)) == (0, 0)
        other_clients_are_served(daemon, place)
    wait_until(lambda: daemon.ports() == [], "they are gone")


def test_who_leaves_while_a_port_is_made(daemon, place):
    """Nothing is left of it; who has waited for the port, and wants it for himself, gets it."""
    before = daemon.descriptors()
    large = message(NMREQ, register("vale0:large", extra_bufs=50000, **LARGE))
    for _ in range(10):
        with Connection(daemon.path) as a:
            a.send(large)
        with Connection(daemon.path) as a, Connection(daemon.path) as b:
            a.send(large)
            b.send(message(NMREQ, register("vale0:large", flags=EXCLUSIVE)))
            a.close()
            assert outcome(b) in (0, -errno.EBUSY)  # a may have had it before it left
    wait_until(lambda: daemon.descriptors() == before, "all is closed")
    assert daemon.ports() == []
    with Port(daemon.path, "vale0:large", **LARGE):
        other_clients_are_served(daemon, place)


def test_a_large_port_of_a_machine(daemon, place):
    """It is made in parts as well; its machine may end in the middle."""
    before = daemon.descriptors()
    with Port(daemon.path, "vale0:memory", extra_bufs=131072, tx_rings=16, rx_rings=16, tx_slots=4096, rx_slots=4096) as memory:
        spec = f"vale0:large@{memory.reg['mem_id']}@conf:rings=2,slots=4096".encode().ljust(256, b"\0") + bytes(8)
        for _ in range(5):
            with Connection(daemon.path) as vm:
                vm.vm_create()
                vm.send(message(VM_ADD_PORT, spec))
        with Connection(daemon.path) as vm:
            vm.vm_create()
            vm.send(message(VM_ADD_PORT, spec))
            vm.receive()
            other_clients_are_served(daemon, place)
    wait_until(lambda: daemon.descriptors() == before, "all is closed")


def test_a_long_status_is_written_in_parts(daemon, place):
    """Others have their turns between its ports; those that stay are in it once, whatever comes and goes."""
    ports = [Port(daemon.path, f"vale{i // 20}:{i}", tx_rings=8, rx_rings=8, tx_slots=16, rx_slots=16) for i in range(60)]
    with Connection(daemon.path) as a, Connection(daemon.path) as b, Connection(daemon.path) as vm:
        vm.vm_create()
        vm.vm_add_port("vale0:machine")
        expected = sorted(["vale0:machine"] + [p.name for p in ports])
        before = b.status()["daemon"]["control"]["rounds"]
        assert b.status()["daemon"]["control"]["rounds"] >= before + len(ports)
        for _ in range(10):
            a.send(message(STATUS, struct.pack("=II", 0, 0)))
            with Port(daemon.path, "vale0:comes-and-goes"):
                assert b.hello() == daemon.pid
            a.receive()
            status = a.status()
            names = [p["name"] for p in status["ports"]]
            assert sorted(n for n in names if "goes" not in n) == expected
            assert len({s["name"] for s in status["switches"]}) == len(status["switches"]) >= 3
            assert len([x for x in status["applications"] if "goes" not in x["name"]]) == len(ports)
            assert [v["ports"][0]["name"] for v in status["vms"]] == ["vale0:machine"]
        a.send(message(STATUS, struct.pack("=II", 0, 0)))  # nobody will read it
    for p in ports:
        p.close()
    other_clients_are_served(daemon, place)
