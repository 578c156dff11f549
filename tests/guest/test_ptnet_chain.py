# SPDX-License-Identifier: BSD-2-Clause
"""Chains: host, guest, guest, host. In each guest netmap-bridge passes on what one of its ports receives, both ways.

Both ends are with one program of the host, tests/daemon/chainends: it counts, compares every byte, and sees in which buffer packets come.
"""

import os
import re
import signal
import subprocess

import pytest

import netlab
import ptnguest

MOSTLY_ONE_KERNEL = True     # see conftest.py
PACKETS = 100000    # each way
# The first end, both ports of each guest, the last end.
CHAINS = {
    "pipes": ["netmap:chain{1", ("netmap:chain}1", "netmap:chain{2"), ("netmap:chain}2", "netmap:chain{3"), "netmap:chain}3"],
    "switches": ["vale1:host", ("vale1:a", "vale2:a"), ("vale2:b", "vale3:b"), "vale3:host"],
}


def wire(daemon, first, last):
    """What chainends says."""
    env = dict(os.environ, NETMAPD_SOCKET=daemon.socket, NETMAP_BACKEND="daemon")
    done = subprocess.run([ptnguest.BUILD / "tests/daemon/chainends", first, last, str(PACKETS)], env=env, capture_output=True, text=True,
                          timeout=1200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("how", CHAINS)
def test_chain(kernel, netmap_ko, how):
    """Nothing is lost; by pipes each packet comes in the buffer that it was sent in, so nobody has copied it."""
    first, *middle, last = CHAINS[how]
    initramfs = ptnguest.build_initramfs(kernel, programs=[ptnguest.BUILD / "apps/netmap-bridge"], kos=[netmap_ko])
    name = f"chain-{how}-{kernel.line}"
    with netlab.Daemon(ptnguest.BUILD / "test-logs" / f"{name}.netmapd") as daemon:
        nodes = [netlab.Node(kernel, initramfs, daemon, i, f"{name}-{i}", ifname=ports[0], args=[
            "-netdev", f"netmap,ifname={ports[1]},id=more,passthrough=on", "-device", "ptnet-pci,netdev=more"])
            for i, ports in enumerate(middle, 1)]
        with netlab.running(nodes):
            bridges = []
            for node in nodes:
                node.load(up=False)     # the stack sends nothing
                bridges.append(node.spawn("exec netmap-bridge -w 0 -i netmap:data -i netmap:more"))
                bridges[-1].wait_output("^Bridging")
            said = wire(daemon, first, last)
            assert said.startswith("ok ") and (how == "switches" or said == f"ok {PACKETS} {PACKETS}\n"), said
            for node, bridge in zip(nodes, bridges):
                bridge.kill(signal.SIGINT)
                assert bridge.wait().rc == 0, bridge.output
                passed = re.findall(r"-> .*: (\d+) packets, .*, zero copy, 0 dropped$", bridge.output, re.M)
                assert passed == [str(PACKETS)] * 2, bridge.output
                node.assert_clean_log()
            assert daemon.alive, daemon.log.read_text()
