#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""netmapctl capture, read by tshark and tcpdump: every packet, in order, with its content, its direction and its time."""

import itertools
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from types import SimpleNamespace

import pytest

from ptnet_real import BUILD, LIMIT, NETMAPD, PATIENCE, PORT_HDR_SET, REPO, Connection, Port, environment, frame, nmreq, run, wait_until

NETMAPCTL = BUILD / "tools/netmapctl"
SMALL = {"tx_slots": 64, "rx_slots": 64}
# Seconds. Before it captures, tshark reads all that it can dissect, and asks each program in its folder three times what it has: two
# seconds of a processor, of which there may be a tenth. Should it end, nobody waits.
WIRESHARK = 8 * PATIENCE


def capture(daemon, *args, **kwargs):
    """Starts one; it has begun when netmapd has its monitor, and its (first) file a beginning."""
    before = monitors(daemon)
    child = subprocess.Popen(
        [NETMAPCTL, "--socket", daemon.path, "capture", *map(str, args)], env=environment(), stdin=subprocess.DEVNULL,
        stdout=kwargs.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, **kwargs,
    )
    wait_until(lambda: (monitors(daemon) > before and begun(args)) or child.poll() is not None, "the capture has begun")
    assert child.poll() is None, child.stderr.read()
    return child


def begun(args):
    """Whether the file that is to be written has its first bytes: what is opened and asked before is behind it."""
    written = [file for option, file in zip(args, args[1:]) if option in ("-w", "--write")]
    return all(size(file) or size(file.with_name(f"{file.stem}_00001{file.suffix}")) for file in written)


def monitors(daemon):
    return sum(p["kind"] == "monitor" for p in daemon.status()["ports"])


def end(child, how=signal.SIGTERM):
    """Its last words."""
    child.send_signal(how)
    _, words = child.communicate(timeout=60)
    assert child.returncode == 0, words
    return words.decode()


def size(file):
    return file.stat().st_size if file.exists() else 0


def tshark(file, *fields):
    """The fields of each packet, as lists of texts."""
    args = [arg for f in fields for arg in ("-e", f)]
    done = run("tshark", "-n", "-r", file, "-T", "fields", *args, env=dict(os.environ, HOME="/nonexistent"))
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def numbered(n, length=60):
    return frame(2, 1, struct.pack(">I", n), length)


def blocks(file):
    """(type, body) of each block; what their lengths say is so."""
    data, at, found = file.read_bytes(), 0, []
    while at < len(data):
        kind, total = struct.unpack_from("=II", data, at)
        assert total % 4 == 0 and struct.unpack_from("=I", data, at + total - 4) == (total,)
        found.append((kind, data[at + 8 : at + total - 4]))
        at += total
    assert at == len(data)
    return found


def options(body, at):
    found = {}
    while True:
        code, length = struct.unpack_from("=HH", body, at)
        if code == 0:
            assert at + 4 == len(body)
            return found
        found[code] = body[at + 4 : at + 4 + length]
        at += 4 + (length + 3) // 4 * 4


def packets_in(file):
    """That were written so far; a part of one is none."""
    data, at, found = file.read_bytes() if file.exists() else b"", 0, 0
    while at + 8 <= len(data):
        kind, total = struct.unpack_from("=II", data, at)
        at += total
        found += kind == 6 and at <= len(data)
    return found


def statistics(file):
    """Of the last block: received, dropped, accepted, delivered. None: it doesn't say."""
    kind, body = blocks(file)[-1]
    assert kind == 5
    found = options(body, 12)
    return [struct.unpack("=Q", found[code])[0] if code in found else None for code in (4, 5, 6, 8)]


def test_a_known_stream(daemon, open_port, place):
    """Both directions of a port, interleaved: as sent, by tshark's reading."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    child = capture(daemon, "vale1:a", "-w", place / "out.pcapng")
    before = time.time_ns()
    sent = []
    for n in range(300):
        packet = numbered(n, 60 + 4 * n)
        (a if n % 3 else b).send(packet)
        (b if n % 3 else a).receive(1)
        sent.append((packet, 2 if n % 3 else 1))
    wait_until(lambda: size(place / "out.pcapng") > sum(len(p) for p, _ in sent), "all are written")
    words = end(child)
    assert words == "300 packets captured, 300 seen, 0 missed\n"
    seen = tshark(place / "out.pcapng", "frame.time_epoch", "frame.len", "frame.packet_flags_direction", "eth.type", "data.data")
    assert len(seen) == 300
    for (when, length, direction, kind, data), (packet, expected) in zip(seen, sent):
        assert (int(length), int(direction, 0), kind, data) == (len(packet), expected, "0x88b5", packet[14:].hex())
        seconds, fraction = when.split(".")
        assert len(fraction) == 9 and before <= int(seconds) * 10**9 + int(fraction) <= time.time_ns()
    assert [float(s[0]) for s in seen] == sorted(float(s[0]) for s in seen)
    assert statistics(place / "out.pcapng") == [300, 0, 300, 300]


def test_tcpdump_reads_it_live(daemon, open_port):
    """While it is written: each packet is there before the next one is sent."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    child = capture(daemon, "vale1:a", "-c", 20)
    reader = subprocess.Popen(
        ["tcpdump", "-n", "-l", "-e", "-r", "-"], stdin=child.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    child.stdout.close()
    for n in range(20):
        a.send(numbered(n))
        b.receive(1)
        while (line := reader.stdout.readline()).startswith("\t"):
            pass    # the content, in hexadecimal
        assert "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype Unknown (0x88b5), length 60" in line, line
    assert reader.wait(60) == 0 and child.wait(60) == 0
    assert b"20 packets captured" in child.stderr.read()
    child.stderr.close()


def test_filter_snaplen_direction(daemon, open_port, place):
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    whole = place / "tx.pcapng"
    cut = capture(daemon, "vale1:a", "-w", place / "cut.pcapng", "-s", 50, "--filter", "ether[14:4] >= 10 and ether[14:4] < 15")
    sent = capture(daemon, "vale1:a", "--write", whole, "--direction", "tx", "-q")
    for n in range(20):
        a.send(numbered(n, 200))
        b.receive(1)
    b.send(frame(1, 2))
    a.receive(1)
    wait_until(lambda: size(whole) > 20 * 200, "all are written")
    assert end(cut) == "5 packets captured, 21 seen, 0 missed\n" and end(sent) == ""
    seen = tshark(place / "cut.pcapng", "frame.len", "frame.cap_len", "data.data")
    assert seen == [["200", "50", numbered(n, 200)[14:50].hex()] for n in range(10, 15)]
    assert {d for (d,) in tshark(whole, "frame.packet_flags_direction")} == {"0x00000002"}
    assert statistics(place / "cut.pcapng") == [21, 0, 5, 5] and statistics(whole) == [20, 0, 20, 20]
    kind, body = blocks(place / "cut.pcapng")[1]
    assert kind == 1 and options(body, 8)[11] == b"\0ether[14:4] >= 10 and ether[14:4] < 15" and options(body, 8)[2] == b"vale1:a"


def test_rings_and_fragments(daemon, open_port, place):
    """The ring is told; packets of several slots are one."""
    a = open_port("vale1:a", tx_rings=2, rx_rings=2, **SMALL)
    open_port("vale1:b", **SMALL)
    file = place / "out.pcapng"
    child = capture(daemon, "vale1:a", "-w", file)
    a.send(numbered(0), ring=1)
    a.send(numbered(1, 5000), fragments=[2000, 2000, 1000])
    a.send(numbered(2), ring=1)
    wait_until(lambda: size(file) > 5000, "all are written")
    end(child)
    packets = [body for kind, body in blocks(file) if kind == 6]
    found = []
    for body in packets:
        _, _, _, captured, length = struct.unpack_from("=IIIII", body)
        opts = options(body, 20 + (captured + 3) // 4 * 4)
        found.append((struct.unpack("=I", opts[6])[0], body[20 : 20 + captured]))
        assert captured == length
    assert sorted(found) == [(0, numbered(1, 5000)), (1, numbered(0)), (1, numbered(2))]


def test_virtio_net_header_is_left_out(daemon, open_port, place):
    """Whatever its length is, and when it changes."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    file = place / "out.pcapng"
    child = capture(daemon, "vale1:a", "-w", file)
    a.send(numbered(0))
    b.receive(1)
    wait_until(lambda: packets_in(file) == 1, "it is written")
    a.connection.nmreq(nmreq(PORT_HDR_SET, "vale1:a", struct.pack("=II", 12, 0)))
    time.sleep(1.3)  # it looks after at most 100 ms, when it has a CPU
    a.send(bytes(12) + numbered(1))
    assert b.receive(1) == [numbered(1)]
    wait_until(lambda: packets_in(file) == 2, "it is written")
    end(child)
    assert [d for _, d in tshark(file, "frame.len", "data.data")] == [numbered(n)[14:].hex() for n in range(2)]


def test_missed_packets_are_told(daemon, open_port, place):
    """Of a capture that is stopped for a while: what is written and what was missed is what has passed."""
    a, b = open_port("vale1:a", tx_slots=1024, rx_slots=1024), open_port("vale1:b", tx_slots=1024, rx_slots=1024)
    file = place / "out.pcapng"
    child = capture(daemon, "vale1:a", "-w", file, "-S", 64, "--direction", "tx")
    child.send_signal(signal.SIGSTOP)
    for n in range(500):
        a.send(numbered(n))
    b.receive(500)
    child.send_signal(signal.SIGCONT)
    wait_until(lambda: size(file) > 60 * 60, "what was seen is written")
    words = end(child)
    received, dropped, accepted, written = statistics(file)
    assert received == 500 and written == accepted > 0 and dropped == 500 - written > 0
    assert words == f"{written} packets captured, {written} seen, {dropped} missed\n"
    numbers = [int(d[:8], 16) for (d,) in tshark(file, "data.data")]
    assert numbers == sorted(numbers) and len(numbers) == written


def test_files(daemon, open_port, place):
    """A new file when one is full, the oldest goes; each can be read alone, and together they have all of the last packets."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    child = capture(daemon, "vale1:a", "-w", place / "out.pcapng", "--file-size", 1, "--files", 2, "-c", 2300)
    for n in range(2300):
        a.send(numbered(n, 1500))
        b.receive(1)
    _, words = child.communicate(timeout=60)
    assert child.returncode == 0 and b"2300 packets captured" in words
    files = sorted(place.glob("out*.pcapng"))
    assert len(files) == 2 and files[0].name == "out_00003.pcapng"
    assert all(f.stat().st_size < (1 << 20) + 4096 for f in files)
    numbers = [int(d[:8], 16) for f in files for (d,) in tshark(f, "data.data")]
    assert numbers == list(range(2300 - len(numbers), 2300)) and len(numbers) > 680
    assert sum(statistics(f)[3] for f in files) == len(numbers)


def test_a_file_that_can_not_be_opened(daemon, open_port, place):
    """The second one: what was captured is told, and the exit status is not that of success."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    (place / "out").mkdir()
    child = capture(daemon, "vale1:a", "-w", place / "out/x.pcapng", "--file-size", 1)
    shutil.rmtree(place / "out")
    for n in range(800):
        a.send(numbered(n, 1500))
        b.receive(1)
    _, words = child.communicate(timeout=60)
    assert child.returncode == 1, words
    assert words.startswith(f"netmapctl: can't open {place}/out/x_00002.pcapng: No such file".encode()), words


def test_port_that_comes_back(daemon, open_port, place):
    """Its user goes, and another one comes: the capture goes on."""
    file = place / "out.pcapng"
    open_port("vale1:b", **SMALL)
    a = open_port("vale1:a", **SMALL)
    child = capture(daemon, "vale1:a", "-w", file, "-c", 2)
    a.send(numbered(1))
    a.close()
    wait_until(lambda: len(daemon.status()["applications"]) == 2, "its user is gone")
    open_port("vale1:a", **SMALL).send(numbered(2))
    assert child.wait(60) == 0
    child.communicate()
    assert [d for (d,) in tshark(file, "data.data")] == [numbered(n)[14:].hex() for n in (1, 2)]


def test_how_it_ends(daemon, open_port, place):
    """With a time, with its reader; nothing is left."""
    open_port("vale1:b", **SMALL)
    child = capture(daemon, "vale1:b", "-w", place / "time.pcapng", "-d", 1)
    assert child.wait(60) == 0 and statistics(place / "time.pcapng") == [0, 0, 0, 0]
    child.communicate()
    c = open_port("vale1:c", **SMALL)
    child = capture(daemon, "vale1:c")
    child.stdout.close()
    c.send(numbered(1))
    child.stdout = None
    _, words = child.communicate(timeout=60)
    assert child.returncode in (0, 1) and b"captured" in words, words
    wait_until(lambda: monitors(daemon) == 0, "no monitor is left")


def test_netmapd_ends(start_netmapd, place):
    daemon = start_netmapd()
    port = Port(daemon.path, "vale1:a", **SMALL)
    child = capture(daemon, "vale1:a", "-w", place / "out.pcapng")
    port.close()
    daemon.stop()
    _, words = child.communicate(timeout=60)
    assert child.returncode == 3, words
    assert words == (b"netmapctl: vale1:a is gone: netmapd has ended\n"
                     b"0 packets captured, 0 seen; how many were missed isn't known: at least 0\n")
    assert statistics(place / "out.pcapng") == [None, None, 0, 0]


def test_what_is_not_known_is_no_number(start_netmapd, place):
    """How many were missed, when netmapd has ended first: in JSON as well."""
    daemon = start_netmapd()
    with Port(daemon.path, "vale1:a", **SMALL):
        child = capture(daemon, "vale1:a", "-w", place / "out.pcapng", "--json")
    daemon.stop()
    _, words = child.communicate(timeout=60)
    assert child.returncode == 3 and json.loads(words.splitlines()[-1]) == {"captured": 0, "seen": 0, "missed": None}


def test_refused_meanwhile(daemon, open_port, place):
    """netmapd answers nothing more to this user as a file ends, and again later: the capture goes on, and knows the sum."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    child = capture(daemon, "vale1:a", "-w", place / "out.pcapng", "--file-size", 1)
    files = [place / f"out_0000{n}.pcapng" for n in (1, 2, 3)]

    def send_until(there):
        while not there():
            assert child.poll() is None, child.stderr.read()
            sent = next(numbers) + 1
            a.send(numbered(sent - 1, 1500))
            b.receive(1)
            if sent % 50 == 0:
                wait_until(lambda: sum(map(packets_in, files)) > sent - 100, "the capture keeps up")

    with Connection(daemon.path) as c:
        numbers = itertools.count()
        c.ask(LIMIT, b"requests=0".ljust(64, b"\0"))
        send_until(files[1].exists)
        c.ask(LIMIT, b"requests=256/1024".ljust(64, b"\0"))
    send_until(files[2].exists)
    sent = next(numbers)
    wait_until(lambda: sum(map(packets_in, files)) == sent, "all are written")
    assert end(child) == f"{sent} packets captured, {sent} seen, 0 missed\n"
    found = [statistics(file) for file in files]
    assert [f[:2] == [None, None] for f in found] == [True, False, False], found
    assert sum(f[3] for f in found) == sent


def test_netmapd_ends_and_another_one_is_started(place):
    """By whoever listens for both, at once: nothing is asked of the second one, which never had the port."""
    def serve(listener):
        inner = f"""if True:
            import os
            os.dup2({listener.fileno()}, 3)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
            os.execv("{NETMAPD}", ["netmapd", "--socket", "{place}/socket", "--nic", "off"])"""
        return subprocess.Popen(["/usr/bin/python3", "-c", inner], pass_fds=[listener.fileno()], env=environment())

    daemon = SimpleNamespace(path=place / "socket", status=lambda: Connection(place / "socket").status())
    file = place / "out.pcapng"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(daemon.path))
        listener.listen(8)
        first = serve(listener)
        with Port(daemon.path, "vale1:a", tx_slots=1024, rx_slots=1024) as a, Port(daemon.path, "vale1:b", **SMALL):
            child = capture(daemon, "vale1:a", "-w", file, "-S", 64, "--file-size", 1)
            child.send_signal(signal.SIGSTOP)
            for n in range(1000):
                a.send(numbered(n, 1500))
            child.send_signal(signal.SIGCONT)
            first.terminate()
            assert first.wait(60) == 0      # it has the lock until then
            second = serve(listener)
        _, words = child.communicate(timeout=60)
        assert child.returncode == 3, words
        assert words.startswith(b"netmapctl: vale1:a is gone: netmapd has ended\n"), words
        assert daemon.status()["applications"] == []
        second.terminate()
        assert second.wait(60) == 0
    received, dropped, accepted, written = statistics(place / "out_00001.pcapng")
    if received is None:    # it ended before it was asked how many were missed
        assert dropped is None and b"missed isn't known" in words and accepted == written <= 1000
    else:
        assert received == written + dropped <= 1000 and accepted == written


@pytest.mark.parametrize(
    "args,status,text",
    [
        (["vale1:none", "-w", "x"], 4, "vale1:none: no such port"),
        ([], 2, "name of a port"),
        (["vale1:a", "-c", "0"], 2, "--count"),
        (["vale1:a", "-s", "5"], 2, "--snaplen"),
        (["vale1:a", "--direction", "up"], 2, "--direction"),
        (["vale1:a", "--fast"], 2, "'--fast'"),
        (["vale1:a", "--files", "2", "-w", "x"], 2, "--file-size"),
        (["vale1:a", "--file-size", "2"], 2, "-w FILE"),
        (["vale1:a", "--filter", "tcp port nonsense and"], 2, "filter 'tcp port nonsense and'"),
        (["vale1:a", "-w", "/nonexistent/x"], 1, "/nonexistent/x"),
    ],
)
def test_wrong_arguments(daemon, open_port, args, status, text):
    open_port("vale1:a", **SMALL)
    result = run(NETMAPCTL, "--socket", daemon.path, "capture", *args)
    assert (result.returncode, result.stdout) == (status, "") and text in result.stderr
    assert result.stderr.count("\n") == 1


# ------------------------------------------------------------ Wireshark


@pytest.fixture
def extcap(daemon, place, monkeypatch):
    """tshark(argument…) with our capture program in its folder, as it is installed; ssh is this machine."""
    tools, folder = place / "bin", place / "extcap"
    tools.mkdir()
    folder.mkdir()
    (tools / "netmapctl").symlink_to(NETMAPCTL)
    (tools / "ssh").write_text('#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do [ "$1" = -o ] && shift; shift; done\nshift\nexec sh -c "$*"\n')
    (tools / "ssh").chmod(0o755)
    shutil.copy(REPO / "tools/netmapctl/netmap-extcap", folder)
    env = environment(daemon.path, PATH=f"{tools}:{os.environ['PATH']}", WIRESHARK_EXTCAP_DIR=str(folder), HOME=str(place))
    command = ["tshark"]
    if os.getuid() == 0:    # whose environment it doesn't believe: its own folder is replaced, for it alone
        folders = run("tshark", "-G", "folders").stdout
        usual = next(line.split("\t")[-1] for line in folders.splitlines() if line.startswith("Extcap path"))
        command = ["unshare", "-m", "sh", "-c", f'mount --bind "{folder}" "{usual}" && exec tshark "$@"', "sh"]

    def ask(*args, **more):
        return run(*command, *args, env=env | more, timeout=WIRESHARK)

    ask.env, ask.command = env, command
    return ask


def test_extcap_interfaces(extcap, open_port):
    open_port("vale1:a", **SMALL)
    shown = extcap("-D", NETMAP_EXTCAP_HOSTS="other").stdout
    for line in (
        "netmap:vale1:a (netmap port vale1:a)", "netmap@other:vale1:a (netmap port vale1:a of other)", "netmap-ssh (netmap port over ssh)",
    ):
        assert line in shown
    types = extcap("-i", "netmap:vale1:a", "-L")
    assert "EN10MB (Ethernet)" in types.stdout + types.stderr


@pytest.mark.parametrize(
    "args",
    [["-i", "netmap:vale1:a"], ["-i", "netmap@other:vale1:a"],
     ["-i", "netmap-ssh", "-o", "extcap.netmap_ssh.host:other", "-o", "extcap.netmap_ssh.port:vale1:a"]],
    ids=["here", "there", "asked"],
)
def test_extcap_captures(extcap, daemon, open_port, args):
    """Live, by tshark, which starts our program: all that is sent once it has begun."""
    a, b = open_port("vale1:a", **SMALL), open_port("vale1:b", **SMALL)
    child = subprocess.Popen(
        [*extcap.command, "-n", "-l", *args, "-f", "ether[14:4] >= 5", "-c", "10", "-T", "fields", "-e", "data.data"],
        env=extcap.env | {"NETMAP_EXTCAP_HOSTS": "other"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: monitors(daemon) == 1 or child.poll() is not None, "the monitor is there", WIRESHARK)
    assert child.poll() is None, child.communicate()
    for n in range(15):
        a.send(numbered(n))
        b.receive(1)
    output, errors = child.communicate(timeout=WIRESHARK)
    assert output.split() == [numbered(n)[14:].hex() for n in range(5, 15)], errors
    wait_until(lambda: monitors(daemon) == 0, "the capture has ended")


def test_extcap_is_not_fooled(daemon):
    """Hosts and ports are no options of ssh, and no words of a shell."""
    for interface in "netmap@-oProxyCommand=x:vale1:a", "netmap@a'b:c", "netmap-ssh", "other":
        result = run(NETMAPCTL, "extcap", "--capture", "--fifo", "/dev/null", "--extcap-interface", interface)
        assert result.returncode == 2 and "says nothing" in result.stderr, interface
