# SPDX-License-Identifier: BSD-2-Clause
"""netmapd as a program: arguments, start, stop, sockets, users, limits."""

import contextlib
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import time
from pathlib import Path

import pytest

from ptnet_fakes import DEVICE_A, FAKE_QEMU, PORT_A, QEMU_PTNET, program
from ptnet_real import (
    BROADCAST, EXCLUSIVE, NETMAPCTL, NETMAPD, PATIENCE, PKT_GEN, SANITIZED, Connection, Port, Refused, environment, expect_line,
    frame, register, run, wait_until,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


def netmapd(*options, path=None, **env):
    """Runs it to its end."""
    return run(NETMAPD, *options, env=environment(path, **env))


# ------------------------------------------------------------ arguments


def test_help_and_version(place):
    result = netmapd("--help")
    assert result.returncode == 0 and result.stderr == ""
    for option in ("--socket", "--workers", "--exit-when-unused", "--log"):
        assert option in result.stdout
    result = netmapd("--version")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith("netmapd ") and result.stdout.count("\n") == 1


WRONG = [
    # options, a part of the text
    (["--nonsense"], "--nonsense"),
    (["-w"], "-w"),
    (["-wx", "2"], "-wx"),
    (["extra"], "extra"),
    (["--", "extra"], "extra"),
    (["--background=yes"], "--background=yes"),
    (["--socket"], "--socket"),
    (["--socket", ""], "--socket"),
    (["--workers"], "--workers"),
    (["--workers", ""], "--workers"),
    (["--workers", "0"], "1 to 64"),
    (["--workers", "65"], "1 to 64"),
    (["--workers", "-1"], "-1"),
    (["--workers", "+1"], "+1"),
    (["--workers", " 1"], "1 to 64"),
    (["--workers", "1x"], "1x"),
    (["--workers", "0x2"], "0x2"),
    (["--workers", "99999999999999999999999"], "9999"),
    (["--workers", "two\nlines"], "two?lines"),
    (["--workers", "9" * 5000], "1 to 64"),
    (["--spread", "rings"], "rings"),
    (["--spread", ""], "--spread"),
    (["--cpus", ""], "--cpus"),
    (["--cpus", "0,"], "0,"),
    (["--cpus", ",0"], ",0"),
    (["--cpus", "-1"], "-1"),
    (["--cpus", "100000"], "100000"),
    (["--cpus", "99999999999999999999999"], "--cpus"),
    (["--cpus", ",".join(["0"] * 65)], "--cpus"),
    (["--cpus", "0,0", "--workers", "3"], "3 workers"),
    (["--poll-us", "1000001"], "1000000"),
    (["--poll-us", "fast"], "fast"),
    (["--vm-buffers", "15"], "16 to"),
    (["--vm-buffers", "1000001"], "1000001"),
    (["--guest-buffers", "1000001"], "1000001"),
    (["--guest-buffers", "x"], "--guest-buffers"),
    (["--vm-buffers", "1000000", "--guest-buffers", "1"], "1000001 together"),
    (["--guest-rings", "65537"], "65537"),
    (["--guest-ifs", "-1"], "--guest-ifs"),
    (["--spare-buffers", "500001"], "500001"),
    (["--shared-buffers", "15"], "16 to"),
    (["--shared-rings", "3"], "4 to"),
    (["--shared-ifs", "1"], "2 to"),
    (["--exit-when-unused", "0"], "--exit-when-unused"),
    (["--exit-when-unused", "1.5"], "1.5"),
    (["--log"], "--log"),
    (["--log-level", "loud"], "loud"),
    (["--log-level", "info "], "info "),
    (["--socket", "/" + "s" * 76], "77 bytes"),
    (["--socket", "/" + "s" * 200], "201 bytes"),
]


@pytest.mark.parametrize("options,text", WRONG, ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "")
def test_wrong_argument(place, options, text):
    expect_line(netmapd(*options, path=place / "socket"), 2, "netmapd", text, "--help")
    assert list(place.iterdir()) == []


def test_wrong_environment(place):
    expect_line(netmapd(path="/" + "s" * 200), 2, "netmapd", "201 bytes")


# ------------------------------------------------------------ start


def test_the_socket_is_the_users_alone(start_netmapd, place):
    """Whatever the umask, and its parents are made."""
    daemon = start_netmapd(path=place / "a/b/socket", umask=0)
    assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(daemon.path.stat().st_mode)
    for parent in (place / "a", place / "a/b"):
        mode = stat.S_IMODE(parent.stat().st_mode)
        assert mode & 0o022 == 0 and mode & 0o700 == 0o700
    with Connection(daemon.path) as c:
        c.vm_create()
        net, mem, _ = c.vm_add_port("vale1:1")
        assert stat.S_IMODE(os.stat(os.path.dirname(net)).st_mode) == 0o700
        for path in net, mem:
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_places_that_cannot_be(place):
    (place / "file").write_text("precious")
    (place / "directory").mkdir()
    for path, text in (
        (place / "file/socket", "Not a directory"),
        (place / "file", f"{place}/file exists, and is not a socket"),
        (place / "directory", f"{place}/directory exists, and is not a socket"),
        (f"{place}/directory/", f"{place}/directory/"),
        ("/proc/nothing/socket", "/proc/nothing"),
    ):
        expect_line(netmapd("--socket", path), 1, "netmapd", text)
    assert (place / "file").read_text() == "precious"
    (place / "link").symlink_to(place / "file")
    expect_line(netmapd("--socket", place / "link"), 1, "netmapd", "is not a socket")
    assert (place / "file").read_text() == "precious" and (place / "link").is_symlink()


@needs_root
def test_no_permission(place):
    """For the directory, and for a lock that is somebody else's."""
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    shutil.copy(NETMAPD, place)
    (place / "closed").mkdir(mode=0o700)
    for path in (place / "closed/socket", place / "new/socket", place / "socket"):
        expect_line(run(place / "netmapd", "--socket", path, **nobody), 1, "netmapd", "Permission denied")
    (place / "open").mkdir()
    (place / "open").chmod(0o777)
    (place / "open/socket.lock").touch(mode=0o600)
    expect_line(run(place / "netmapd", "--socket", place / "open/socket", **nobody), 1, "netmapd", "socket.lock")


def test_second_netmapd(daemon):
    with Port(daemon.path, "vale1:1"):
        expect_line(netmapd("--socket", daemon.path), 3, "netmapd", f"another netmapd serves {daemon.path}")
        expect_line(netmapd("--background", path=daemon.path), 3, "netmapd", f"another netmapd serves {daemon.path}")
        assert daemon.ports() == ["vale1:1"]


def test_many_started_at_once(place):
    """One of them serves, and can be talked to as soon as it says so; the others say that there is one."""
    path = place / "socket"
    children = [
        subprocess.Popen([NETMAPD, "--background"], env=environment(path), stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    statuses = []
    for child in children:
        _, stderr = child.communicate(timeout=PATIENCE)
        statuses.append(child.returncode)
        assert stderr == ("" if child.returncode == 0 else f"netmapd: another netmapd serves {path}\n")
    assert sorted(statuses) == [0, 3, 3, 3, 3, 3]
    with Connection(path) as c:
        end_background(c.hello(), path)


def test_after_a_kill(start_netmapd, place):
    """Socket, lock and machine directories of a killed one don't stand in the way."""
    first = start_netmapd()
    c = Connection(first.path)
    c.vm_create()
    for i in range(3):
        c.vm_add_port(f"vale1:{i}")
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    c.close()
    assert first.path.exists() and len(list((place / "vm1").iterdir())) == 4
    second = start_netmapd()
    assert second.ports() == []
    with Connection(second.path) as c:
        c.vm_create()
        net, mem, _ = c.vm_add_port("vale1:0")
        assert net == f"{place}/vm1/net0" and mem == f"{place}/vm1/mem"
        for path in net, mem:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
        assert len(list((place / "vm1").iterdir())) == 2
    wait_until(lambda: not (place / "vm1").exists(), "the machine's directory is removed")


def test_what_killed_ones_left_is_removed(start_netmapd, place):
    """Directories of machines that are gone, at the next start; not those in use, nor what is not ours."""
    killed, alive = start_netmapd(path=place / "a"), start_netmapd(path=place / "b")
    with Connection(alive.path) as ca:
        connections = [Connection(killed.path) for _ in range(3)]
        for c in connections:
            c.vm_create()
            c.vm_add_port("vale1:p@conf:slots=16" if c is connections[0] else f"vale2:p{id(c)}@conf:slots=16")
        ca.vm_create()
        ours = Path(ca.vm_add_port("vale1:1")[0]).parent
        killed.stop(signal.SIGKILL)
        for c in connections:
            c.close()
        (place / "vm77").mkdir(mode=0o700)
        (place / "vm77/file").touch()
        (place / "vm78").mkdir(mode=0o700)
        (place / "vmx").mkdir(mode=0o700)
        (place / "vm79").symlink_to(place / "vmx")
        assert len(list(place.glob("vm[1-9]"))) == 4
        start_netmapd(path=place / "a")
        assert list(place.glob("vm[1-9]")) == [ours] and (ours / "net0").exists()
        assert (place / "vm77/file").exists() and (place / "vmx").exists() and not (place / "vm78").exists()
        for name in "vm77/file", "vm79":
            (place / name).unlink()
        for name in "vm77", "vmx":
            (place / name).rmdir()


def test_two_in_one_directory(start_netmapd, place):
    """Neither takes the other's machine sockets."""
    a, b = (start_netmapd(path=place / name) for name in "ab")
    with Connection(a.path) as ca, Connection(b.path) as cb:
        ca.vm_create(), cb.vm_create()
        nets = [c.vm_add_port("vale1:1")[0] for c in (ca, cb)]
        assert len(set(nets)) == 2
        for net, daemon in zip(nets, (a, b)):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(net)
                assert struct.unpack("iii", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0] == daemon.pid
    wait_until(lambda: not list(place.glob("vm*")), "both directories are removed")


def test_machine_directory_of_somebody_else(daemon, place):
    (place / "vm1").mkdir()
    (place / "vm1").chmod(0o777)
    with Connection(daemon.path) as c:
        with pytest.raises(Refused, match="vm1 exists and is open to other users"):
            c.vm_create()
        c.vm_create()  # vm2, and the connection could still be used
        assert c.vm_add_port("vale1:1")[0] == f"{place}/vm2/net0"
    assert list((place / "vm1").iterdir()) == []
    (place / "vm1").rmdir()
    (place / "target").mkdir(mode=0o700)
    (place / "vm3").symlink_to(place / "target")
    with Connection(daemon.path) as c:
        with pytest.raises(Refused, match="vm3"):
            c.vm_create()
    assert list((place / "target").iterdir()) == []
    (place / "vm3").unlink()
    wait_until(lambda: not list(place.glob("vm*")), "vm2 is gone")


def test_machine_names_in_log_and_status(daemon):
    with Connection(daemon.path) as c:
        c.vm_create(b"\x1b[2J\nname\xff\xfe")
        assert [vm["name"] for vm in c.status()["vms"]] == ["?[2J?name??"]
    with Connection(daemon.path) as c:
        c.vm_create(b"n" * 64)
        assert [vm["name"] for vm in c.status()["vms"] if "n" * 10 in vm["name"]] == ["n" * 63]
    daemon.logged("(?[2J?name??)")


# ------------------------------------------------------------ stop


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stop(daemon, place, how):
    """With everything in use: an application, a machine, connections."""
    with Port(daemon.path, "vale1:1") as port, Connection(daemon.path) as machine, Connection(daemon.path) as idle:
        machine.vm_create()
        net, mem, _ = machine.vm_add_port("vale1:2")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(net)
            assert daemon.stop(how) == 0
            assert client.recv(1) == b""
        for c in (port.connection, machine, idle):
            assert c.is_closed()
    assert sorted(p.name for p in place.iterdir()) == ["netmapd.stderr", "socket.lock"]
    assert daemon.log().splitlines()[-1] == "netmapd: stopped"


def test_applications_see_the_end(daemon):
    """They don't wait for ever for packets."""
    children = [
        subprocess.Popen([PKT_GEN, "-i", f"vale1:{f}", "-f", f], env=environment(daemon.path), stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
        for f in ("rx", "tx")
    ]
    wait_until(lambda: daemon.ports() == ["vale1:rx", "vale1:tx"], "both are there")
    wait_until(lambda: daemon.ring("vale1:rx", "rx")["packets"] > 0, "packets are sent")
    assert daemon.stop() == 0
    for child in children:
        _, stderr = child.communicate(timeout=PATIENCE)
        assert child.returncode == 1
        assert stderr.count("\n") == 1 and "netmapd has ended" in stderr


def test_exit_when_unused(start_netmapd):
    daemon = start_netmapd("--exit-when-unused", "3")  # more than it takes until the port is there
    with Port(daemon.path, "vale1:1"):
        time.sleep(4.5)
        assert daemon.process.poll() is None
    assert daemon.process.wait(PATIENCE) == 0
    daemon.logged("nobody has been connected for 3 s")


def test_one_that_is_about_to_end(place):
    """qemu-ptnet finds no socket, but its netmapd finds the lock taken: it tries again until that is free."""
    path = place / "socket"
    qemu = program(place / "qemu", FAKE_QEMU)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = subprocess.Popen(
            [QEMU_PTNET, "--quiet", "--netmapd", NETMAPD, *PORT_A, *DEVICE_A],
            env=environment(path, QEMU_PTNET_QEMU=str(qemu)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        time.sleep(1)
        assert child.poll() is None and not path.exists()
    output, errors = child.communicate(timeout=PATIENCE)
    assert (child.returncode, errors) == (0, "") and f"{place}/vm1/net0" in output
    with Connection(path) as c:
        pid = c.hello()
    end_background(pid, path)


# ------------------------------------------------------------ background and log


def end_background(pid, path, how=signal.SIGTERM):
    """Ends a netmapd that is not our child."""
    def has_ended():
        try:
            return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    os.kill(pid, how)
    wait_until(has_ended, "it ends")
    if how == signal.SIGTERM:
        assert not path.exists()


def test_background(place):
    """Ready when it returns, and holds nothing of who started it."""
    path = place / "socket"
    result = netmapd("--background", path=path)  # reads stdout and stderr until all have closed them
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    with Connection(path) as c:
        pid = c.hello()
        assert os.getsid(pid) not in (os.getsid(0), 0)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null", "/dev/null", f"{path}.log"]
        assert stat.S_IMODE(os.stat(f"{path}.log").st_mode) == 0o600
    end_background(pid, path)
    log = Path(f"{path}.log").read_text()
    assert f"serves {path}" in log and "stopped" in log and "Sanitizer" not in log


def test_background_fails(place):
    (place / "file").touch()
    expect_line(netmapd("--background", path=place / "file/socket"), 1, "netmapd", "Not a directory")
    (place / "socket.log").mkdir()
    expect_line(netmapd("--background", path=place / "socket"), 1, "netmapd", f"{place}/socket.log")
    assert not (place / "socket").exists()


def test_relative_path(place):
    """Is one from the root for everybody else, in the background too."""
    result = run(NETMAPD, "--background", "--socket", "here/socket", "--log", "log", cwd=place)
    assert (result.returncode, result.stderr) == (0, "")
    path = place / "here/socket"
    with Connection(path) as c:
        pid = c.hello()
        c.vm_create()
        assert c.vm_add_port("vale1:1")[:2] == (f"{path.parent}/vm1/net0", f"{path.parent}/vm1/mem")
    end_background(pid, path)
    assert not (path.parent / "vm1").exists()
    assert f"serves {path}" in (place / "log").read_text()


def test_log_file(start_netmapd, place):
    """Is appended to."""
    log = place / "log"
    log.write_text("before\n")
    daemon = start_netmapd("--log", log)
    assert daemon.stop() == 0
    lines = log.read_text().splitlines()
    assert lines[0] == "before" and lines[-1] == "netmapd: stopped" and daemon.log() == ""


def test_log_that_cannot_be(place):
    path = place / "socket"
    for log in (place, place / "none/log", ""):
        expect_line(netmapd("--log", log, path=path), 1, "netmapd", f"the log {log} can't be opened")
        assert not path.exists()


def fill(fd):
    """Until not even a byte has room any more."""
    os.set_blocking(fd, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(fd, b"x" * size)
        except BlockingIOError:
            pass
    os.set_blocking(fd, True)


def is_served(daemon):
    """By workers and by the control thread, while the log has something to say: rings that stop, machines."""
    with Port(daemon.path, "vale1:a") as a, Port(daemon.path, "vale1:b") as b:
        for _ in range(30):
            with Port(daemon.path, "vale1:c") as c:
                c.tx[0].publish(0x80000000)
                wait_until(lambda: daemon.ring("vale1:c", "tx")["bad_syncs"] == 1, "it has stopped")
            a.send(frame(BROADCAST, 1))
            assert len(b.receive(1)) == 1
        for _ in range(30):
            with Connection(daemon.path) as machine:
                machine.vm_create()


def test_log_that_nobody_reads(start_netmapd, place):
    """A FIFO without a reader; its buffer is full before netmapd starts."""
    fifo = place / "fifo"
    os.mkfifo(fifo)
    daemon = start_netmapd("--log", fifo)
    is_served(daemon)
    assert daemon.stop() == 0
    end = os.open(fifo, os.O_RDWR)
    fill(end)
    daemon = start_netmapd("--log", fifo, "--log-level", "debug")
    is_served(daemon)
    assert daemon.stop() == 0
    os.close(end)


@pytest.mark.parametrize("how", ["pipe", "terminal"])
def test_stderr_that_nobody_reads(start_netmapd, place, how):
    reader, end = os.pipe() if how == "pipe" else os.openpty()
    fill(end)
    daemon = start_netmapd("--log-level", "debug", stderr=end)
    is_served(daemon)
    assert daemon.stop() == 0
    # Before it served anybody: it can't bind.
    failed = subprocess.run([NETMAPD, "--socket", place / "other", "--log", "/none/log"], stderr=end, timeout=PATIENCE)
    assert failed.returncode == 1
    os.close(reader)
    os.close(end)


def test_log_lines_are_printable(daemon):
    """Names that forge lines are refused, or shown with ? in their places."""
    with Connection(daemon.path) as c:
        c.vm_create(b"x\nnetmapd: forged\x1b[2J")
    assert all(line.isprintable() for line in daemon.logged("forged").splitlines())
    assert "\nnetmapd: forged" not in daemon.log()


def test_a_flooder_hides_his_own_lines(daemon):
    """One connection makes machines for ever; what another one causes is in the log all the same."""
    with Connection(daemon.path) as flooder, Port(daemon.path, "vale1:a", flags=EXCLUSIVE) as quiet:
        for i in range(300):
            with pytest.raises(Refused):
                flooder.nmreq(register("vale1:a"))
        for i in range(40):
            with Connection(daemon.path) as machine:
                machine.vm_create(b"flood")
        quiet.tx[0].publish(0x80000000)
        daemon.logged("vale1:a: tx ring 0 stopped")


def test_log_level(start_netmapd, place):
    daemon = start_netmapd("--log-level", "error")
    Port(daemon.path, "vale1:1").close()
    assert daemon.stop() == 0
    assert daemon.log() == ""


def test_log_for_the_journal(start_netmapd):
    daemon = start_netmapd(env={"JOURNAL_STREAM": "8:1"})
    assert daemon.stop() == 0
    assert all(line.startswith("<6>netmapd: ") for line in daemon.log().splitlines())


# ------------------------------------------------------------ options that change how rings are served


def test_workers(start_netmapd):
    """As many threads as asked for; all rings of a port go to one, ports to one after the other."""
    daemon = start_netmapd("--workers", "3")
    wait_until(lambda: daemon.workers() == ["worker-0", "worker-1", "worker-2"], "all have named themselves")
    with Port(daemon.path, "vale1:a", tx_rings=2, rx_rings=2), Port(daemon.path, "vale1:b"):
        assert sorted(w["rings"] for w in daemon.status()["daemon"]["workers"]) == [0, 2, 4]
    wait_until(lambda: sum(w["rings"] for w in daemon.status()["daemon"]["workers"]) == 0, "nothing is served")


def test_spread_and_cpus(start_netmapd):
    daemon = start_netmapd("--spread", "ring", "--cpus", "0,0", "--poll-us", "0")
    wait_until(lambda: daemon.workers() == ["worker-0", "worker-1"], "both have named themselves")
    with Port(daemon.path, "vale1:a", tx_rings=3, rx_rings=3):
        assert [w["rings"] for w in daemon.status()["daemon"]["workers"]] == [3, 3]
    affinities = []
    for thread in Path(f"/proc/{daemon.pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):   # others come and go
            affinities.append(os.sched_getaffinity(int(thread.name)))
    assert affinities.count({0}) >= 2


def test_buffers_of_machines(start_netmapd):
    """--vm-buffers is a limit that is told."""
    daemon = start_netmapd("--vm-buffers", "1000")
    with Connection(daemon.path) as c:
        c.vm_create()
        with pytest.raises(Refused, match="buffer pool of region [0-9]+ is too small: 2048 wanted, .* of 1250 free.* "
                           "more with netmapd --vm-buffers$"):
            c.vm_add_port("vale1:1")
        c.vm_add_port("vale1:2@conf:slots=256")
        with pytest.raises(Refused, match="buffer pool"):
            c.vm_add_port("vale1:3@conf:slots=256")
        c.vm_add_port("vale1:4@conf:slots=64")
        assert sorted(p["name"] for p in c.status()["ports"]) == ["vale1:2", "vale1:4"]


# ------------------------------------------------------------ huge pages


def huge_pages_free():
    """Bytes that nobody has, or was promised."""
    info = dict(re.findall(r"^(\w+):\s+(\d+)", Path("/proc/meminfo").read_text(), re.M))
    return (int(info["HugePages_Free"]) - int(info["HugePages_Rsvd"])) * int(info["Hugepagesize"]) * 1024


def region_is_huge(daemon):
    (region,) = daemon.status()["regions"]
    return region["huge_pages"]


@pytest.mark.xdist_group("huge-pages")
def test_huge_pages(start_netmapd):
    """Regions lie there when they are wanted, and carry packets."""
    if huge_pages_free() < 64 << 20:
        pytest.skip("32 huge pages are not free: /proc/sys/vm/nr_hugepages")
    before = huge_pages_free()
    daemon = start_netmapd("--huge-pages", "--spare-buffers", "0")
    with Port(daemon.path, "vale1:1") as a:
        assert region_is_huge(daemon)
        assert huge_pages_free() < before
        with Port(daemon.path, "vale1:2") as b:
            a.send(b"\xff" * 60)
            assert b.receive(1) == [b"\xff" * 60]
    wait_until(lambda: huge_pages_free() == before, "all are free again")


@pytest.mark.xdist_group("huge-pages")
def test_too_few_huge_pages(start_netmapd):
    """A region for which there are not enough lies on ordinary ones, and the log says what to do."""
    if huge_pages_free() >= 1 << 30:
        pytest.skip("a GiB of huge pages is free")
    daemon = start_netmapd("--huge-pages", "--vm-buffers", "300000")
    with Connection(daemon.path) as c:
        c.vm_create()
        assert not region_is_huge(daemon)
    daemon.logged("is not on huge pages: Cannot allocate memory; set them aside: /proc/sys/vm/nr_hugepages")


def test_ordinary_pages(daemon):
    """Huge ones are the user's to give."""
    with Port(daemon.path, "vale1:1"):
        assert not region_is_huge(daemon)


@pytest.mark.parametrize("options,dumped", [([], False), (["--dump-packets"], True)], ids=["as-it-is", "asked-for"])
def test_packets_in_core_dumps(start_netmapd, options, dumped):
    """Regions, of applications and of machines, are left out, unless they are wanted (guests' memory: test_guestmem.c)."""
    daemon = start_netmapd(*options)
    with Port(daemon.path, "vale1:1"), Connection(daemon.path) as machine:
        machine.vm_create()
        mappings = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{daemon.pid}/smaps").read_text(), flags=re.M)
    flags = [re.search(r"^VmFlags:(.*)", m, re.M).group(1).split() for m in mappings if "/memfd:netmap-region" in m]
    assert len(flags) >= 2 and {"dd" not in f for f in flags} == {dumped}, flags


# ------------------------------------------------------------ an idle one


def test_idle_costs_nothing(daemon):
    """With ports registered and nothing to do."""
    with Port(daemon.path, "vale1:1") as a, Port(daemon.path, "vale1:2") as b:
        a.send(b"\xff" * 60)
        b.receive(1)
        wait_until(lambda: sum(w["sleeps"] for w in daemon.status()["daemon"]["workers"]) >= 2, "workers sleep")

        def rounds_of_workers():
            return [w["rounds"] for w in daemon.status()["daemon"]["workers"]]

        def at_rest():
            before = rounds_of_workers()
            time.sleep(0.2)
            return before == rounds_of_workers()

        wait_until(at_rest, "workers sleep for good")
        rounds = rounds_of_workers()
        ticks = daemon.cpu_ticks()
        time.sleep(2)
        assert daemon.cpu_ticks() - ticks <= 2
        assert sum(rounds_of_workers()) - sum(rounds) < 10  # a question wakes nobody


# ------------------------------------------------------------ descriptors run out


def test_out_of_descriptors(start_netmapd):
    """Clients that can't be taken are turned away at once; the loop doesn't spin, and nothing else suffers."""
    limit = 60
    daemon = start_netmapd(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    with Port(daemon.path, "vale1:1") as a, Port(daemon.path, "vale1:2") as b:
        before = daemon.descriptors()
        began = time.monotonic()
        crowd = [Connection(daemon.path) for _ in range(2 * limit)]
        served = []
        for c in crowd:
            try:
                assert c.hello() == daemon.pid
                served.append(c)
            except (ConnectionResetError, BrokenPipeError):
                pass
        assert 0 < len(served) < limit
        took = time.monotonic() - began
        ticks = daemon.cpu_ticks()
        time.sleep(1)
        assert daemon.cpu_ticks() - ticks <= 5
        a.send(b"\xff" * 60)
        b.receive(1)
        for c in crowd:
            c.close()
        wait_until(lambda: daemon.descriptors() == before, "all are closed")
        with Port(daemon.path, "vale1:3"):
            pass
    log = daemon.logged("a client is turned away: Too many open files")
    assert log.count("turned away") <= 20 * (took + 2)  # no more than 20 in each second of the clock


def test_registration_without_descriptors(start_netmapd):
    """Whichever of the descriptors of a registration can't be had, those before are given back."""
    limit = 60
    daemon = start_netmapd(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    candidates = [Connection(daemon.path) for _ in range(20)]
    fillers = []
    try:
        while True:
            fillers.append(Connection(daemon.path))
            fillers[-1].hello()
    except (ConnectionResetError, BrokenPipeError):
        pass
    spare = 2  # of /dev/null: standard input, and the one for turning away
    wait_until(lambda: (d := daemon.descriptors()).count("/dev/null") == spare and len(d) == limit, "not one is left")
    refused = []
    for c in candidates:
        before = daemon.descriptors()
        try:
            attach, _, fds = c.nmreq(register("vale1:1"))
        except Refused as e:
            refused.append(e.text)
            assert c.status()["ports"] == [] and c.status()["regions"] == []
            wait_until(lambda: daemon.descriptors() == before, "those that it had made are closed")
            c.close()  # one more
            wait_until(lambda: len(daemon.descriptors()) == len(before) - 1, "it is closed")
        else:
            for fd in fds:
                os.close(fd)
            break
    assert attach[3] == 2 and len(refused) >= 5
    assert "bytes of packet memory can't be had: Too many open files" in refused[0]
    text = f"vale1:1: netmapd may open {limit} files only, and the 2 rings need up to 5: open fewer rings, or"
    assert all(r.startswith(text) for r in refused[1:])
    daemon.logged("bytes of packet memory can't be had: Too many open files")
    for c in candidates + fillers:
        c.close()


# ------------------------------------------------------------ an ordinary user


@needs_root
def test_ordinary_user(place):
    """The whole path without any privilege, at the place where an ordinary user has it."""
    home = place / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    for file in (NETMAPD, PKT_GEN, NETMAPCTL):
        shutil.copy(file, place)
    env = environment(XDG_RUNTIME_DIR=str(home))
    nobody = {"user": 65534, "group": 65534, "extra_groups": [], "env": env}
    path = home / "netmapd/socket"

    result = run(place / "netmapd", "--background", "--exit-when-unused", "60", **nobody)
    assert (result.returncode, result.stderr) == (0, "")
    with Connection(path) as c:
        pid = c.hello()
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status and "Uid:\t65534" in status
        rx = subprocess.Popen(
            [place / "pkt-gen", "-i", "vale1:b@conf:rx-slots=8192", "-f", "rx", "--check", "-n", "5000", "-q", "20"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **nobody)
        wait_until(lambda: run(place / "netmapctl", "list", **nobody).stdout == "vale1:b\n", "the receiver is there")
        tx = run(place / "pkt-gen", "-i", "vale1:a", "-f", "tx", "--check", "-n", "5000", "-R", "20k", **nobody)
        assert tx.returncode == 0, tx.stderr
        output, errors = rx.communicate(timeout=PATIENCE)
        assert rx.returncode == 0, output + errors
        assert "received 5000 lost 0 reordered 0 duplicate 0 corrupt 0" in output

        other = {**nobody, "user": 65533, "group": 65533}
        expect_line(run(place / "netmapctl", "--socket", path, "list", **other), 3, "netmapctl", "no permission")
        os.chmod(home, 0o755)
        os.chmod(path.parent, 0o755)
        expect_line(run(place / "netmapctl", "--socket", path, "list", **other), 3, "netmapctl", "no permission")
    finally:
        end_background(pid, path)
    assert "Sanitizer" not in Path(f"{path}.log").read_text()


@needs_root
def test_nowhere_for_an_ordinary_user(place):
    """Without $XDG_RUNTIME_DIR there is only root's place."""
    shutil.copy(NETMAPD, place)
    if os.path.exists("/run/netmapd"):
        pytest.skip("/run/netmapd is there: a netmapd of root's runs or has run on this machine")
    result = run(place / "netmapd", user=65534, group=65534, extra_groups=[])
    expect_line(result, 1, "netmapd", "can't make /run/netmapd: Permission denied")
    assert not SANITIZED or "Sanitizer" not in result.stderr


def test_a_machine_without_descriptors_leaves_no_directory(daemon):
    """Whichever of those of a machine can't be had."""
    with Connection(daemon.path) as c:
        c.hello()
        used = max(int(fd.name) for fd in Path(f"/proc/{daemon.pid}/fd").iterdir()) + 1
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        for more in range(20):
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + more, limits[1]))
            try:
                c.vm_create()
                break
            except Refused:
                assert list(daemon.place.glob("vm*")) == []
        assert 0 < more < 19
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
