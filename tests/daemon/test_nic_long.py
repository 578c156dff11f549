# SPDX-License-Identifier: BSD-2-Clause
"""Network interfaces as ports: what must hold in every round and for every packet. Short here; make nic-long is the long form."""

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from nic_lab import Lab
from ptnet_real import BUILD, SANITIZED, Port, wait_until
from test_nic import REASON, V, W, add_pair, nic, packet, rest, start, stack   # noqa: F401
from test_tap import LIBC, inside, socket_inside

pytestmark = pytest.mark.skipif(REASON is not None, reason=f"needs root and veth: {REASON}")

ROUNDS = int(os.environ.get("NIC_ROUNDS", 12))
PACKETS = int(os.environ.get("NIC_PACKETS", 5000))
WARM = 5            # rounds until netmapd has what it keeps
GROWS = 1024        # KiB that its memory may differ by afterwards: the allocator's


# ------------------------------------------------------------ packets


@pytest.mark.parametrize("mtu, mode, queues", [(1500, "native", 1), (1500, "native", 3), (3400, "native", 1), (3822, "generic", 1)])
def test_every_packet_comes_and_no_byte_around_it_changes(start, mtu, mode, queues):
    """Both ways at a time, in one region; each in a buffer that was given to the device (nicwire)."""
    daemon = start(mtu=mtu, queues=queues)
    env = dict(os.environ, NETMAPD_SOCKET=str(daemon.path), NETMAP_BACKEND="daemon")
    child = subprocess.Popen([BUILD / "tests/daemon/nicwire", f"netmap:{V}@9", f"netmap:{W}@9", str(PACKETS), str(mtu + 14)],
                             env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        assert [nic(daemon, name)["nic"]["mode"] for name in (V, W)] == [mode] * 2
        output = child.communicate(timeout=600)[0]
    finally:
        child.kill()
        child.communicate()
    found = re.search(rf"^ok {PACKETS} {PACKETS} (\d+), rx rings (\w+) of {queues}, (\w+) of {queues}$", output, re.M)
    assert found, output
    assert int(found[1]) > 1000 * queues and [int(found[i], 16) for i in (2, 3)] == [(1 << queues) - 1] * 2
    rest(daemon)
    rest(daemon, W)


# ------------------------------------------------------------ rounds


class Rounds:
    """What netmapd has before, and after many rounds."""

    def __init__(self, daemon):
        self.daemon, self.memory, self.locked = daemon, None, None
        self.before = daemon.at_rest()

    def __iter__(self):
        for n in range(WARM + ROUNDS):
            if n == WARM:
                rest(self.daemon)
                self.memory, self.locked = self.daemon.memory_kb(), locked(self.daemon)
            yield n

    def end(self):
        rest(self.daemon)
        wait_until(lambda: self.daemon.descriptors() == self.before, f"its descriptors are {self.before}")
        wait_until(lambda: self.helpers() == [], "no netmapd-nic is left")
        assert locked(self.daemon) == self.locked
        grown = self.daemon.memory_kb() - self.memory
        print(f"{ROUNDS} rounds: {grown} KiB more of {self.memory}")
        assert grown < GROWS or SANITIZED     # which keeps what was freed

    def helpers(self):
        """Each netmapd-nic: a child of the process that netmapd has started for that, before its sandbox."""
        (starter,) = children(self.daemon.pid)
        return children(starter)


def children(pid):
    return subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()


def locked(daemon):
    """VmLck and VmPin of netmapd and of its starter. What AF_XDP pins is in neither: see test_pinned_memory_is_given_back."""
    return [re.findall(r"^Vm(?:Lck|Pin):\s+(\d+) kB$", open(f"/proc/{pid}/status").read(), re.M)
            for pid in (daemon.pid, *children(daemon.pid))]


def stream(daemon, name=W):
    """Packets from the other end, all the time."""
    script = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
        "s.bind((sys.argv[1], 0x88b5))\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    try: s.send(b'\\xff' * 12 + b'\\x88\\xb5' + b'.' * 100)\n"
        "    except OSError: pass\n"
    )
    command = ["nsenter", "-t", str(daemon.pid), "-n", "nice", "python3", "-c", script, name]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


@contextlib.contextmanager
def traffic(daemon):
    child = stream(daemon)
    try:
        yield
    finally:
        child.kill()
        child.communicate()


def drain(s):
    patience = s.gettimeout()
    s.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while s.recv(65536):
            pass
    s.settimeout(patience)


def test_opened_and_closed_under_traffic(start):
    daemon = start()
    rounds = Rounds(daemon)
    with traffic(daemon):
        for n in rounds:
            with Port(daemon.path, V) as p:
                p.send(packet(n, 60))
                wait_until(p.received, "a packet")
    rounds.end()


def test_link_down_and_up_under_traffic(start, stack):
    """In use all the time; then what is sent arrives, and what comes is received."""
    daemon = start()
    rounds = Rounds(daemon)
    for n in rounds:
        with Port(daemon.path, V) as p, traffic(daemon):
            for name in (V, W) if n % 2 else (W, V):
                inside(daemon, "ip", "link", "set", name, "down")
                wait_until(lambda: not nic(daemon)["nic"]["link"], "the link is down")
                p.send(packet(n, 60))
                inside(daemon, "ip", "link", "set", name, "up")
                wait_until(lambda: nic(daemon)["nic"]["link"], "the link is up")
                p.received()
                wait_until(p.received, "a packet")
        with Port(daemon.path, V) as p:
            s = stack()
            p.send(packet(n, 60))
            assert s.recv(65536) == packet(n, 60)
            s.close()
    rounds.end()


def test_removed_and_back_under_traffic(start):
    daemon = start()
    rounds = Rounds(daemon)
    for n in rounds:
        with traffic(daemon), Port(daemon.path, V) as p:
            wait_until(p.received, "a packet")
            inside(daemon, "ip", "link", "del", V)
            wait_until(lambda: any(x.get("dead") for x in daemon.status()["ports"]), "the port is dead")
            p.put(packet(n, 60))
        wait_until(lambda: daemon.status()["ports"] == [], "nothing is left")
        add_pair(daemon)
    with Port(daemon.path, V):
        pass
    rounds.end()


def test_pinned_memory_is_given_back(place):
    """What netmapd-nic pins counts against RLIMIT_MEMLOCK where it may not exceed that: there is room for it once, in each round."""
    lab = Lab(place)

    def limit(mib):
        lab.program = lab.wrapper("netmapd-nic", lab.state, prefix=f"setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock "
                                  f"prlimit --memlock={mib << 20}")

    try:
        lab.pair(V, W)
        limit(3)
        user = lab.use(V, buffers=1024)     # of 4096 bytes
        error, text = user.failed()
        assert error == errno.ENOMEM and "may not pin so much" in text
        user.kill()
        limit(7)
        for _ in range(ROUNDS):
            user = lab.use(V, buffers=1024)
            user.bound()
            assert user.close() == 0
            user.kill()
    finally:
        lab.close()


def test_killed_under_traffic(start, start_netmapd, place):
    """The interface is the stack's again, and the next netmapd has it."""
    daemon = start()
    keeper = subprocess.Popen(["nsenter", "-t", str(daemon.pid), "-n", "sleep", "600"])
    wait_until(lambda: os.readlink(f"/proc/{keeper.pid}/ns/net") == os.readlink(f"/proc/{daemon.pid}/ns/net"), "it is inside")

    class Place:
        pid = keeper.pid

    def join():
        LIBC.setns(os.open(f"/proc/{keeper.pid}/ns/net", os.O_RDONLY), 0)

    slowest = [0, 0]
    try:
        with traffic(Place), socket_inside(Place, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5), V) as v:
            for n in range(ROUNDS // 4 + 1):
                with Port(daemon.path, V) as p:
                    wait_until(p.received, "a packet")
                    drain(v)
                    killed = time.monotonic()
                    daemon.stop(signal.SIGKILL)
                    assert v.recv(65536)
                    slowest[0] = max(slowest[0], time.monotonic() - killed)
                daemon = start_netmapd("--workers", "2", nics=True, preexec_fn=join, path=place / f"again{n}")
                asked = time.monotonic()
                with Port(daemon.path, V) as p:
                    wait_until(p.received, "a packet")
                    slowest[1] = max(slowest[1], time.monotonic() - asked)
        print("the stack has it again after {:.3f} s at most, the next netmapd after {:.3f} s".format(*slowest))
    finally:
        keeper.kill()
        keeper.wait()
