# SPDX-License-Identifier: BSD-2-Clause
"""The API tests of tests/api, and its stress program, on netmapd's ports."""

import re
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from ptnet_real import BUILD, PKT_GEN, REPO, Netmapd, environment, run, wait_until

NMAPI = BUILD / "tests/api/nmapi"
NMAPI_M32 = BUILD / "tests/api/nmapi-m32"
NMSTRESS = BUILD / "tests/api/nmstress"
TESTS = [name for path in sorted((REPO / "tests/api").glob("*.c"))
         for name in re.findall(r"^TEST\((\w+)\)", path.read_text(), re.M)]
# What needs a file of /dev/netmap runs under netmap-run; network interfaces have test_nic_host.py, and guests.
DEVICE_TESTS = [name for name in TESTS if name.startswith(("device_", "older_"))]
HOST_TESTS = [name for name in TESTS if name not in DEVICE_TESTS and not re.match(r"nic(_|$)", name)]
NETMAP_RUN = BUILD / "libnetmap/preload/netmap-run"


# They share a netmapd.
pytestmark = pytest.mark.xdist_group("api")


def nothing_left(daemon):
    status = daemon.status()
    return not status["ports"] and not status["regions"]


@pytest.fixture(scope="module")
def shared():
    """One netmapd for all tests: what one leaves behind shows at the next."""
    place = Path(tempfile.mkdtemp(prefix="ptnet-"))
    daemon = Netmapd(place, "--workers", "2")
    # What is made once, when it is first needed, stays.
    run(NMAPI, "polling", env=environment(daemon.path))
    wait_until(lambda: nothing_left(daemon), "the port is gone")
    daemon.idle_descriptors = daemon.at_rest()
    yield daemon
    daemon.stop()
    daemon.check_end()
    shutil.rmtree(place)


@pytest.mark.parametrize("test", HOST_TESTS)
def test_api(shared, test):
    result = run(NMAPI, test, env=environment(shared.path), timeout=300)
    skipped = re.search(r"^ok \d+ - \w+ # SKIP (.*)", result.stdout, re.M)
    if skipped:
        pytest.skip(skipped[1])
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^ok 1 - ", result.stdout, re.M), result.stdout
    wait_until(lambda: nothing_left(shared), "ports and regions of the test are gone")


def test_api_of_32_bits(shared):
    """All of them in a program of 32 bits, which shares memory with a netmapd of 64."""
    if not NMAPI_M32.exists():
        pytest.skip("the compiler can't build programs of 32 bits (gcc-multilib)")
    result = run(NMAPI_M32, env=environment(shared.path), timeout=300)
    wrong = re.findall(r"^(?:#.*\n)*not ok .*", result.stdout, re.M)
    assert result.returncode == 0 and not wrong and len(re.findall(r"^ok ", result.stdout, re.M)) > 100, wrong or result.stdout
    wait_until(lambda: nothing_left(shared), "ports and regions of the tests are gone")


@pytest.mark.parametrize("test", DEVICE_TESTS)
def test_api_under_netmap_run(shared, test):
    """What needs a file of /dev/netmap, on the one that netmap-run shows."""
    env = environment(shared.path, NETMAP_BACKEND="kernel", NMAPI_RUN="1")
    env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"  # the preloaded library comes first
    result = run(NETMAP_RUN, NMAPI, test, env=env, timeout=300)
    assert result.returncode == 0 and re.search(rf"^ok 1 - {test}$", result.stdout, re.M), result.stdout + result.stderr
    wait_until(lambda: nothing_left(shared), "ports and regions of the test are gone")


def test_nothing_is_left(shared):
    wait_until(lambda: shared.descriptors() == shared.idle_descriptors, "descriptors of the tests are closed")


# ------------------------------------------------------------ conservation


@pytest.fixture
def app(shared, start_app):
    """app(argument…) starts pkt-gen and waits until it has its port."""

    def start(*args):
        child = start_app(shared.path, PKT_GEN, *args)
        line = child.stdout.readline()
        assert " on " in line, (line, child.communicate())
        return child

    return start


def counted(daemon, port, direction):
    """Packets of a port in one direction, and those dropped there by cause."""
    rings = [r for p in daemon.status()["ports"] if p["name"] == port for r in p["rings"] if r["dir"] == direction]
    assert rings, f"{port} has no {direction} ring"
    drops = {}
    for ring in rings:
        for cause, n in ring.get("errors", {}).items():
            drops[cause] = drops.get(cause, 0) + n
    return sum(r["packets"] for r in rings), drops


def fill(daemon, port):
    """Packets that a port has received and not given back."""
    return sum(r["fill"] for p in daemon.status()["ports"] if p["name"] == port for r in p["rings"] if r["dir"] == "rx")


def received(child):
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    return int(re.search(r"^Received (\d+) packets", out, re.M)[1])


def send(daemon, port, count, *args):
    result = run(PKT_GEN, "-i", port, "-f", "tx", "-n", str(count), *args, env=environment(daemon.path))
    assert f"Sent {count} packets" in result.stdout and "Pending" not in result.stdout, result.stdout + result.stderr


def test_conservation_on_a_switch(shared, app):
    """More than its receivers take: each packet is in a receiver's ring, or counted there as dropped, with its cause."""
    count = 200_000
    reader = app("-i", "valec:b", "-f", "rx")
    app("-i", "valec:c", "-f", "rx", "-R", "1", "-b", "1", "-T", "3600000").send_signal(signal.SIGSTOP)
    app("-i", "valec:a/R", "-f", "rx")     # keeps the sender's port, with its counters
    send(shared, "valec:a/T", count)
    sent, errors = counted(shared, "valec:a", "tx")
    assert sent == count
    lost = 0
    for port in ("valec:b", "valec:c"):
        got, drops = counted(shared, port, "rx")
        assert got + sum(drops.values()) == count, (port, got, drops)
        lost += sum(drops.values())
        if port == "valec:c":
            assert 0 < got < 10_000
            assert len(drops) == 1, drops
    # The sender's side counts the same drops.
    assert sum(errors.values()) == lost, errors
    wait_until(lambda: fill(shared, "valec:b") == 0, "all is read")
    in_ring, _ = counted(shared, "valec:b", "rx")
    assert received(reader) == in_ring


def test_conservation_in_a_pipe(shared, app):
    """A pipe loses nothing, whoever is faster."""
    count = 100_000
    reader = app("-i", "valec:x}p", "-f", "rx", "-n", str(count))
    app("-i", "valec:x{p/R", "-f", "rx")
    send(shared, "valec:x{p/T", count)
    out, _ = reader.communicate(timeout=60)
    assert f"Received {count} packets" in out
    sent, errors = counted(shared, "valec:x{p", "tx")
    assert sent == count and not errors, errors


@pytest.mark.parametrize("flags", ["t", "zt"])
def test_conservation_of_a_monitor(shared, app, flags):
    """What a monitor that does not read has no room for is counted, and its port has lost nothing by it."""
    count = 50_000
    app("-i", "valec:a/R", "-f", "rx")
    app("-i", f"valec:a/{flags}", "-f", "rx").send_signal(signal.SIGSTOP)
    app("-i", "valec:b", "-f", "rx")
    send(shared, "valec:a/T", count)
    assert counted(shared, "valec:a", "tx")[0] == count
    monitor = next(p["name"] for p in shared.status()["ports"] if p["kind"] == "monitor")
    seen, drops = counted(shared, monitor, "rx")
    assert seen + sum(drops.values()) == count and set(drops) == {"missed"}, (seen, drops)


def test_stress(shared):
    """Many processes on few ports, killed at any moment: then nothing is left of them."""
    result = run(NMSTRESS, "8", "8", env=environment(shared.path))
    assert result.returncode == 0, result.stdout + result.stderr
    wait_until(lambda: nothing_left(shared), "ports and regions are gone")
    wait_until(lambda: shared.descriptors() == shared.idle_descriptors, "descriptors are closed")
