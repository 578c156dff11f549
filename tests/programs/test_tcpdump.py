# SPDX-License-Identifier: BSD-2-Clause
"""libpcap's netmap module, by tcpdump."""

import pytest

import capture

COUNT = 400


@pytest.fixture
def tcpdump(program, way):
    """tcpdump(argument…) starts it on the way's sink, and waits until it has the port."""
    libraries = program("libpcap").libraries

    def start(*words):
        # -Z: it would write its files as another user.
        command = way.home.spawn(f"tcpdump -Z root -i {way.sink} {' '.join(words)}", libraries)
        command.wait_output("^(tcpdump: )?listening on ")
        return command

    return start


def test_each_packet(way, tcpdump):
    """Content, order, and times of the moment."""
    packets = capture.frames(COUNT, seed=1)
    begin = way.home.now()
    command = tcpdump("-w out.pcap", f"-c {COUNT}")
    way.home.send(capture.write(packets), way.source)
    result = command.wait(60)
    assert result.rc == 0 and f"{COUNT} packets captured" in result.out, result.out
    capture.expect(capture.read(way.home.read("out.pcap")), packets, int(begin), way.home.now() + 1)


@pytest.mark.ways(host=["vale", "pipe"], guest=["ptnet", "vale"])
def test_large_packets(way, tcpdump):
    """Of several slots: the program sees them whole."""
    packets = capture.frames(50, seed=3, sizes=(2049, 9000))
    begin = way.home.now()
    command = tcpdump("-w out.pcap", f"-c {len(packets)}")
    way.home.send(capture.write(packets), way.source)
    assert command.wait(60).rc == 0
    capture.expect(capture.read(way.home.read("out.pcap")), packets, int(begin), way.home.now() + 1)


def captured(way, command, count):
    """Waits until the file, which is written packet by packet (-U), has so many; ends it; returns them."""
    way.home.wait_for_packets(command, "out.pcap", count)
    result = way.home.interrupt(command)
    assert result.rc == 0, result.out
    return capture.read(way.home.read("out.pcap")), result.out


def test_filter(way, tcpdump):
    """In tcpdump's language, compiled. (With libpcap's netmap module -c counts before the filter, and -s cuts nothing.)"""
    wanted = [capture.udp(bytes([n]) * 100, dport=7) for n in range(20)]
    others = [capture.udp(bytes([n]) * 100, dport=9) for n in range(20)]
    begin = way.home.now()
    command = tcpdump("-U -w out.pcap", "udp port 7")
    way.home.send(capture.write([p for pair in zip(others, wanted) for p in pair]), way.source)
    got, told = captured(way, command, len(wanted))
    capture.expect(got, wanted, int(begin), way.home.now() + 1)
    assert "40 packets received by filter" in told, told


def test_control_c(way, tcpdump):
    """It waits in poll(): a signal ends it, and the port is free for the next."""
    for seed in (2, 3):
        packets = capture.frames(10, seed)
        command = tcpdump("-U -w out.pcap")
        way.home.send(capture.write(packets), way.source)
        got, told = captured(way, command, len(packets))
        assert [c.data for c in got] == packets and "10 packets captured" in told, told


def test_decoded_as_they_come(way, tcpdump):
    """-l: each line is written when its packet has come, with the date of today."""
    command = tcpdump("-l -n -tttt -c 3")
    today = way.home.run("date +%Y-%m-%d").strip()
    way.home.send(capture.write([capture.udp(b"hello " * 10, dport=5000 + n) for n in range(3)]), way.source)
    out = command.wait(60).out
    for n in range(3):
        assert f" IP 10.9.0.1.1000 > 10.9.0.2.{5000 + n}: UDP, length 60" in out, out
    assert out.count(f"\n{today} ") == 3 or way.home.run("date +%Y-%m-%d").strip() != today, out
