# SPDX-License-Identifier: BSD-2-Clause
"""Snort's daq module for netmap, which opens /dev/netmap itself and uses the requests of before NIOCCTRL."""

import re
import struct

import pytest

import capture
from conftest import build_daqrun

COUNT = 300


@pytest.fixture
def daq(program):
    """daq(home, mode, device) starts it, and waits until it has the device."""
    tool = program("daq")

    def start(home, mode, device):
        name = f"{build_daqrun(tool)}" if home.name == "host" else build_daqrun(tool).name
        if home.name == "guest":
            for interface in device.split(":"):     # the module leaves that to its user
                home.run(f"ip link set {interface} promisc on")
        command = home.spawn(f"{name} {tool.dir}/lib/daq {mode} '{device}' out.pcap", tool.libraries)
        command.wait_output("^ready$")
        return command

    return start


def end(home, command):
    """Ends it; returns what it counted: received, passed, blocked, injected."""
    result = home.interrupt(command)
    assert result.rc == 0, result.out
    return tuple(map(int, re.search(r"^received (\d+) passed (\d+) blocked (\d+) injected (\d+)$", result.out, re.M).groups()))


def retyped(frame, kind):
    return frame[:12] + struct.pack(">H", kind) + frame[14:]


@pytest.mark.ways(host=["pipe"], guest=["veth", "virtio", "ptnet"])
def test_passive(way, daq):
    """Each packet, in its order, with a time of now."""
    packets = capture.frames(COUNT, seed=4)
    begin = way.home.now()
    command = daq(way.home, "passive", way.sink.removeprefix("netmap:"))
    way.home.send(capture.write(packets), way.source)
    got = way.home.wait_for_packets(command, "out.pcap", COUNT)
    assert end(way.home, command) == (COUNT, COUNT, 0, 0)
    capture.expect(got, packets, int(begin), way.home.now() + 1)


@pytest.mark.chains(host=["pipes"], guest=["veth", "virtio", "ptnet"])
def test_inline(program, chain, daq):
    """A bump in the wire, without a copy, both ways: passes, blocks, and injects."""
    home, libraries = chain.home, program("libpcap").libraries
    packets = capture.frames(COUNT, seed=5)
    packets = [retyped(p, capture.EXPERIMENTAL + (n % 3 == 1)) for n, p in enumerate(packets)]
    passed = [p for n, p in enumerate(packets) if n % 3 != 1]
    begin = home.now()
    command = daq(home, "inline", ":".join(chain.devices))
    sink = home.spawn(f"tcpdump -Z root -U -i {chain.sink} -w sink.pcap", libraries)
    sink.wait_output("listening on ")
    home.send(capture.write(packets), chain.source)
    got = home.wait_for_packets(sink, "sink.pcap", len(passed))
    capture.expect(got, passed, int(begin), home.now() + 1)
    assert home.interrupt(sink).rc == 0
    # The other way round, with one that is led.
    source = home.spawn(f"tcpdump -Z root -U -i {chain.source} -w source.pcap", libraries)
    source.wait_output("listening on ")
    frames = capture.frames(9, seed=6)
    back, leader = [*frames, retyped(frames[0], 0x88B7)], retyped(frames[0], 0x88B8)
    home.send(capture.write(back), chain.sink)
    capture.expect(home.wait_for_packets(source, "source.pcap", 11), [*frames, leader, back[-1]], int(begin), home.now() + 1)
    assert home.interrupt(source).rc == 0
    total = COUNT + len(back)
    assert end(home, command) == (total, total - COUNT // 3, COUNT // 3, 1)
    assert len(capture.read(home.read("out.pcap"))) == total
