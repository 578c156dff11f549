# SPDX-License-Identifier: BSD-2-Clause
"""pkt-gen, netmap-bridge and vale-ctl on netmapd's ports."""

import re
import signal
import struct
import time

import pytest

from ptnet_real import BUILD, PKT_GEN, environment, expect_line, run, wait_until

VALE_CTL = BUILD / "apps/vale-ctl"
BRIDGE = BUILD / "apps/netmap-bridge"


@pytest.fixture
def app(daemon, start_app):
    """app(program, argument…) starts an application on netmapd's ports; app.run() also waits for its end."""

    def start(program, *args):
        return start_app(daemon.path, program, *args)

    start.run = lambda program, *args: run(program, *args, env=environment(daemon.path))
    return start


@pytest.fixture
def receive(app):
    """receive(port, argument…) starts pkt-gen -f rx and waits until it has the port."""

    def start(port, *args):
        child = app(PKT_GEN, "-i", port, "-f", "rx", "-q", "30", *args)
        line = child.stdout.readline()
        assert line.startswith("rx on "), (line, child.communicate())
        return child

    return start


def stop(child):
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    return child.returncode, out, err


def all_there(child, count):
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, out + err
    assert f"Check: received {count} lost 0 reordered 0 duplicate 0 corrupt 0" in out, out + err
    return out


# ------------------------------------------------------------ pkt-gen


@pytest.mark.parametrize("frames", [
    ["-F", "3"], ["-F", "64", "-l", "1000"], ["-F", "5", "-l", "9000"], ["-F", "4", "-M", "100", "-l", "500"],
    ["-F", "33", "-l", "65535"],
    ["-6"], ["-6", "-l", "1500", "-F", "2"], ["-z", "-Z"], ["-6", "-z", "-Z"], ["-l", "1500", "-l", "60"],
    ["-s", "10.0.0.1:1-10.0.0.9:3", "-d", "10.1.0.0:7-10.1.255.255:9"], ["-d", "[fd00::1]:5-[fd00::ffff]:6"],
], ids=" ".join)
def test_frames(app, receive, frames):
    """Whatever they look like: numbered packets arrive intact, and the receiver's ring holds all of them."""
    slots = int(frames[frames.index("-F") + 1]) if "-F" in frames else 1
    count = min(300, 8000 // slots)
    rx = receive("vale1:b", "-k", "-n", count, "-C", "1024,8192")
    rate = "300" if "-F" in frames else "2000"
    sent = app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-k", "-n", count, "-R", rate, *frames)
    assert sent.returncode == 0, sent.stderr
    assert f"Sent {count} packets" in sent.stdout
    out = all_there(rx, count)
    if "-F" in frames:
        assert f"{count * slots} slots" in sent.stdout
        assert int(re.search(r"(\d+) slots", out)[1]) <= count * slots


@pytest.mark.parametrize("bytes_", ["10", "12"])
def test_header(app, receive, bytes_):
    """-H gives the port a virtio-net header; a receiver without one gets the packet alone."""
    rx = receive("vale1:b", "-k", "-n", "100")
    other = receive("vale1:c", "-k", "-n", "100", "-H", bytes_)
    sent = app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-k", "-n", "100", "-R", "2000", "-H", bytes_)
    assert f"virtio-net header {bytes_} bytes" in sent.stdout, sent.stderr
    all_there(rx, 100)
    all_there(other, 100)


def test_configuration(app, daemon, receive):
    rx = receive("vale1:b", "-C", "64,128,2,3")
    port = next(p for p in daemon.status()["ports"] if p["name"] == "vale1:b")
    assert sorted((r["dir"], r["id"]) for r in port["rings"]) == [
        ("rx", 0), ("rx", 1), ("rx", 2), ("tx", 0), ("tx", 1)]
    assert stop(rx)[0] == 0


def test_threads(app, receive):
    """Four senders on a ring each; each numbers its own stream."""
    rx = receive("vale1:b", "-k", "-n", "2000", "-C", "1024,1024,4")
    sent = app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-k", "-n", "2000", "-R", "4000", "-p", "4", "-C",
                   "256,256,4,1", "-a", "0", "-c", "2")
    assert sent.returncode == 0 and "Sent 2000 packets" in sent.stdout, sent.stdout + sent.stderr
    all_there(rx, 2000)


def test_receiving_threads(app, receive):
    rx = receive("vale1:b", "-n", "400", "-p", "4", "-C", "64,1024,4")
    app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-n", "400", "-R", "2000", "-p", "4", "-C", "64,64,4")
    out, err = rx.communicate(timeout=60)
    assert rx.returncode == 0 and "Received 400 packets" in out, out + err


def write_pcap(path, packets, link=1):
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link))
        for n, packet in enumerate(packets):
            f.write(struct.pack("<IIII", n, 0, len(packet), len(packet)) + packet)


def test_replay(app, receive, place):
    """Each packet of the file, in its order, once; and what -X shows is what they are."""
    packets = [b"\xff" * 6 + bytes([2, 0, 0, 0, 0, 1]) + b"\x88\xb5" + bytes([n]) * (50 + 700 * n) for n in range(6)]
    write_pcap(place / "file.pcap", packets)
    rx = receive("vale1:b", "-n", "12", "-X")
    once = app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-P", place / "file.pcap")
    assert "Sent 6 packets" in once.stdout, once.stderr
    assert f"{sum(map(len, packets))} bytes" in once.stdout
    again = app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-P", place / "file.pcap", "-n", "6")
    assert "Sent 6 packets" in again.stdout, again.stderr
    out, _ = rx.communicate(timeout=30)
    shown = [bytes.fromhex("".join(line[7 : 7 + 47] for line in block.splitlines()[1:] if re.match(r" *\d+: ", line)))
             for block in out.split("received ")[1:]]
    assert shown == 2 * packets


def test_replay_goes_by_the_rate(app, place):
    """Not by the times in the file, which write_pcap() puts a second apart: that would take 49 seconds."""
    write_pcap(place / "file.pcap", [b"\xff" * 12 + b"\x88\xb5" + bytes(46)] * 50)
    for words, least, most in (([], 0, 40), (["-R", "50"], 0.8, 40)):
        begin = time.monotonic()
        sent = app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-P", place / "file.pcap", *words)
        assert "Sent 50 packets" in sent.stdout, sent.stderr
        assert least <= time.monotonic() - begin <= most, words


def test_replay_refusals(app, place):
    write_pcap(place / "ppp.pcap", [b"x" * 60], link=9)
    expect_line(app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-P", place / "ppp.pcap"), 1, "pkt-gen", "ppp.pcap",
                "not Ethernet")
    expect_line(app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-P", place / "none"), 1, "pkt-gen", "none")
    (place / "text").write_text("hello, this is no capture file at all")
    expect_line(app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-P", place / "text"), 1, "pkt-gen", "text")


def test_indirect_and_rubbish(app, daemon, receive):
    """Rubbish is what it is; addresses in a process are not followed by another process, but counted."""
    rx = receive("vale1:b", "-n", "50")
    sent = app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-r", "-n", "50", "-l", "100")
    assert "Sent 50 packets, 5000 bytes" in sent.stdout, sent.stderr
    out, _ = rx.communicate(timeout=30)
    assert "Received 50 packets" in out
    rx = receive("vale1:b")
    holder = receive("vale1:a/R")
    app.run(PKT_GEN, "-i", "vale1:a/T", "-f", "tx", "-I", "-n", "20", "-l", "100")
    assert "indirect" in str(daemon.ring("vale1:a", "tx")["errors"])
    assert "Received 0 packets" in stop(rx)[1]
    stop(holder)


def test_exit_if_empty(app):
    done = app.run(PKT_GEN, "-i", "vale1:b", "-f", "rx", "-W")
    assert done.returncode == 0 and "Received 0 packets" in done.stdout


def test_units(app, receive):
    rx = receive("vale1:b", "-NAB", "-T", "100")
    app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-n", "300", "-R", "1000", "-N")
    _, out, _ = stop(rx)
    assert re.search(r"^main: \d+ pps \(\d+ pkts \d+ bps in \d+ usec\) [\d.]+ avg_batch \[mean \d+ stddev \d+ pps\]$",
                     out, re.M), out
    assert re.search(r"^Speed: \d+ pps Bandwidth: \d+ bps", out, re.M)


@pytest.mark.parametrize("args, text", [
    (["-f", "tx", "-F", "2", "-l", "5000"], "a slot of vale1:a has at most 2048 bytes"),
    (["-f", "tx", "-F", "20", "-C", "16"], "needs 20 slots"),
    (["-f", "tx", "-p", "3", "-C", "64,64,2"], "rings"),
    (["-i", "vale1:a-0", "-p", "2"], "chooses its rings already"),
])
def test_refusals(app, args, text):
    result = app.run(PKT_GEN, *([] if "-i" in args else ["-i", "vale1:a"]), *args)
    assert result.returncode in (1, 2) and result.stdout == ""
    assert text in result.stderr and result.stderr.count("\n") == 1, result.stderr


# ------------------------------------------------------------ netmap-bridge


@pytest.fixture
def bridge(app):
    def start(*args):
        child = app(BRIDGE, *args)
        line = child.stdout.readline()
        assert line.startswith("Bridging "), (line, child.communicate())
        return child

    return start


@pytest.mark.parametrize("how, names", [
    ("zero copy", ["vale1:x@5", "vale2:x@5"]), ("copied", ["vale1:x", "vale2:x"]), ("copied", ["-c", "vale1:x@5", "vale2:x@5"]),
    ("copied", ["vale1:x@conf:rings=3", "vale2:x@conf:tx-rings=2,,rx-rings=1"]),
    ("zero copy", ["-b", "3", "vale1:p{1@6", "vale2:x@6"]),
])
def test_bridge(app, bridge, receive, how, names):
    """Both ways, packets of one slot and of several; no more than each ring on the way holds."""
    names = [n.replace(",,", ",") for n in names]
    child = bridge(*names)
    ends = ["vale1:p}1" if "{" in " ".join(names) else "vale1:a", "vale2:b"]
    for source, sink in (ends, ends[::-1]):
        for count, frames in ((700, ["-l", "60"]), (300, ["-l", "5000", "-F", "3"])):
            rx = receive(sink, "-k", "-n", count)
            sent = app.run(PKT_GEN, "-i", source, "-f", "tx", "-k", "-n", count, "-R", "5000", *frames)
            assert f"Sent {count} packets" in sent.stdout, sent.stderr
            all_there(rx, count)
    status, out, err = stop(child)
    assert status == 0, err
    assert len(out.splitlines()) == 2, out
    for line in out.splitlines():
        assert re.search(rf": 1000 packets, \d+ bytes, \d+ slots, {how}, 0 dropped$", line), out


def test_bridge_waits_for_room(app, bridge, receive):
    """Through a pipe nothing is lost, however slow its reader is."""
    bridge("vale1:x@7", "vale3:p{1@7")
    sender = app(PKT_GEN, "-i", "vale1:p{z@7", "-f", "tx", "-k", "-n", "5000")
    child = bridge("vale1:p}z@7", "vale2:p{y@7")
    rx = receive("vale2:p}y@7", "-k", "-n", "5000", "-b", "1")
    all_there(rx, 5000)
    out, err = sender.communicate(timeout=30)
    assert sender.returncode == 0, out + err
    status, out, err = stop(child)
    assert status == 0 and ": 5000 packets" in out, out + err


def test_bridge_loops_back(app, bridge):
    bridge("-L", "vale1:x")
    ping = app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-k", "-n", "1")
    assert ping.returncode == 0
    rx = app(PKT_GEN, "-i", "vale1:a", "-f", "rx", "-n", "1", "-q", "10", "-k")
    assert rx.stdout.readline().startswith("rx on ")
    app.run(PKT_GEN, "-i", "vale1:b", "-f", "tx", "-k", "-n", "1")
    out, err = rx.communicate(timeout=30)
    assert rx.returncode == 0, out + err


def test_bridge_one_direction(app, bridge, receive):
    """A monitor only receives: what it sees goes on."""
    rx = receive("vale2:b", "-k", "-n", "100")
    sink = receive("vale1:b", "-k", "-n", "100")
    child = bridge("vale1:a/t", "vale2:x")
    app.run(PKT_GEN, "-i", "vale1:a", "-f", "tx", "-k", "-n", "100", "-R", "2000")
    all_there(rx, 100)
    all_there(sink, 100)
    status, out, _ = stop(child)
    assert status == 0 and len(out.splitlines()) == 1, out


def test_bridge_refusals(app):
    result = app.run(BRIDGE, "vale1:a")
    expect_line(result, 2, "netmap-bridge", "no host rings")
    result = app.run(BRIDGE, "vale1:a", "netmap:nosuchport")
    assert result.returncode == 1 and "nosuchport" in result.stderr and result.stderr.count("\n") == 1
    result = app.run(BRIDGE, "vale1:a/r", "vale1:b/t")
    expect_line(result, 2, "netmap-bridge", "neither")


def test_bridge_header_lengths(app, receive):
    holder = receive("vale1:x/R", "-H", "12")
    result = app.run(BRIDGE, "vale1:y", "vale1:x/T")
    expect_line(result, 1, "netmap-bridge", "virtio-net header")
    stop(holder)


# ------------------------------------------------------------ vale-ctl


def test_list(app, receive):
    assert app.run(VALE_CTL).stdout == ""
    ports = [receive(name) for name in ("vale1:a", "vale1:b", "vale2:c")]
    out = app.run(VALE_CTL)
    assert out.returncode == 0 and out.stderr == ""
    lines = sorted(out.stdout.splitlines())
    assert [line.split()[-1] for line in lines] == ["vale1:a", "vale1:b", "vale2:c"], out.stdout
    assert all(re.fullmatch(r"bridge:\d+ port:\d+ vale\d:\w", line) for line in lines)
    assert sorted(app.run(VALE_CTL, "-l").stdout.splitlines()) == lines
    assert app.run(VALE_CTL, "-l", "vale2:c").stdout == lines[2] + "\n"
    expect_line(app.run(VALE_CTL, "-l", "vale2:nosuch"), 1, "vale-ctl", "vale2:nosuch")
    assert app.run(VALE_CTL, "-g", "vale1:a").stdout == "1\n"
    for port in ports:
        stop(port)


def test_ctl_refusals(app):
    for option in "ahdP":
        expect_line(app.run(VALE_CTL, f"-{option}", "vale1:nosuch"), 1, "vale-ctl", "nosuch")
    expect_line(app.run(VALE_CTL, "-p", "vale1:nosuch", "-C", "0,0"), 1, "vale-ctl", "nosuch")
    expect_line(app.run(VALE_CTL, "-r", "nosuch"), 1, "vale-ctl", "nosuch")
    expect_line(app.run(VALE_CTL, "-g", "netmap:nosuch"), 1, "vale-ctl", "nosuch")
    expect_line(app.run(VALE_CTL, "-a", "nosuch"), 2, "vale-ctl", "valeX:NAME")


def test_ctl_without_netmapd(place):
    result = run(VALE_CTL, env=environment(place / "nobody"))
    expect_line(result, 1, "vale-ctl")


def test_persistent_port(app, daemon):
    made = app.run(VALE_CTL, "-v", "-n", "nmctl0", "-C", "128,64,1")
    if made.returncode and ("ermitted" in made.stderr or "privilege" in made.stderr or "tun" in made.stderr):
        pytest.skip(made.stderr.strip())
    assert made.returncode == 0 and made.stdout == "nmctl0 is made\n", made.stderr
    try:
        expect_line(app.run(VALE_CTL, "-n", "nmctl0"), 1, "vale-ctl", "nmctl0")
        attached = app.run(VALE_CTL, "-v", "-h", "vale1:nmctl0")
        if attached.returncode:
            attached = app.run(VALE_CTL, "-v", "-a", "vale1:nmctl0")
        assert attached.returncode == 0 and "vale1:nmctl0 is attached as port" in attached.stdout, attached.stderr
        assert "vale1:nmctl0" in app.run(VALE_CTL).stdout
        polled = app.run(VALE_CTL, "-v", "-p", "vale1:nmctl0", "-C", "0,0")
        assert polled.stdout == "vale1:nmctl0 is polled\n", polled.stderr
        assert app.run(VALE_CTL, "-P", "vale1:nmctl0").returncode == 0
        expect_line(app.run(VALE_CTL, "-r", "nmctl0"), 1, "vale-ctl", "nmctl0")
        assert app.run(VALE_CTL, "-d", "vale1:nmctl0").returncode == 0
        assert app.run(VALE_CTL).stdout == ""
    finally:
        app.run(VALE_CTL, "-d", "vale1:nmctl0")
        gone = app.run(VALE_CTL, "-v", "-r", "nmctl0")
    assert gone.stdout == "nmctl0 is removed\n", gone.stderr
    wait_until(lambda: not daemon.status()["ports"], "the port is gone")
