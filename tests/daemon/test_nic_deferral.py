# SPDX-License-Identifier: BSD-2-Clause
"""Interrupts of a NIC's queues while they are polled busily (nic/deferral.h): put off, and afterwards as they were."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nic_lab import Lab, why_no_nic
from ptnet_real import Port, wait_until
from test_netmapd_nic import NOBODY, OLD_KERNEL, is_as_before, nic_check
from test_nic import REASON as NO_PORTS, V, W, nic, rest, start   # noqa: F401
from test_tap import inside

PROGRAM = [sys.executable, Path(__file__).with_name("napi.py")]
DEFERRED = [2, 200000]


def why_not():
    reason = why_no_nic() or NO_PORTS
    if reason:
        return f"needs root, veth and AF_XDP: {reason}"
    child = subprocess.run([*PROGRAM, "lo"], capture_output=True)
    return "this kernel has no settings per NAPI instance" if child.returncode else None


REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture
def lab(place):
    lab = Lab(place)
    lab.pair("nicd0", "nicd1", queues=2)
    for interface in ("nic0", "nicd0"):
        lab.ns.run("ethtool", "-K", interface, "gro", "on")     # then a veth has NAPI instances without a program, too
    yield lab
    lab.close()


def settings(lab, interface="nic0", *values):
    return json.loads(lab.ns.run(*PROGRAM, interface, *values))


def wait_settings(lab, wanted, interface="nic0"):
    wait_until(lambda: settings(lab, interface) == wanted, f"the settings of {interface} are {wanted}")


def killed(lab, user):
    user.kill()


def killed_with_netmapd_nic(lab, user):
    """The service sees that."""
    (session,) = [int(n) for n in lab.ns.run("pgrep", "-P", lab.services[0].pid).split()]
    os.kill(session, signal.SIGKILL)
    user.kill()


def closed(lab, user):
    assert user.close() == 0


@pytest.mark.parametrize("end", [closed, killed, killed_with_netmapd_nic])
@pytest.mark.parametrize("before", [[0, 0], [1, 0], [0, 5000]])
def test_as_they_were_afterwards(lab, before, end):
    settings(lab, "nicd0", *before)
    user = lab.use("nicd0", busy=50, socket=lab.serve("allow nobody nic*\n"), uid=NOBODY)
    assert user.bound() == "native"
    assert settings(lab, "nicd0") == [[before[0] or DEFERRED[0], before[1] or DEFERRED[1]]] * 2
    end(lab, user)
    wait_settings(lab, [before] * 2, "nicd0")
    wait_until(lambda: not lab.claims(), "nothing is left to be put back")


def test_what_a_killed_one_left_the_next_one_puts_back(lab):
    """Without a service."""
    settings(lab, "nic0", 0, 1000)
    user = lab.use("nic0", busy=50)
    assert user.bound() == "native" and settings(lab) == [[2, 1000]]
    os.kill(user.helper(), signal.SIGKILL)
    user.failed()
    user.kill()
    assert settings(lab) == [[2, 1000]]
    user = lab.use("nic0")
    assert user.bound() == "native" and settings(lab) == [[0, 1000]]
    assert user.close() == 0
    assert settings(lab) == [[0, 1000]]


def test_what_the_administrator_has_chosen_stays(lab):
    settings(lab, "nic0", 3, 7000)
    user = lab.use("nic0", busy=50)
    assert user.bound() == "native" and settings(lab) == [[3, 7000]]
    settings(lab, "nic0", 4, 8000)
    assert user.close() == 0
    assert settings(lab) == [[4, 8000]]


def test_what_the_administrator_sets_meanwhile_stays(lab):
    user = lab.use("nic0", busy=50)
    assert user.bound() == "native" and settings(lab) == [DEFERRED]
    settings(lab, "nic0", 4, DEFERRED[1])
    assert user.close() == 0
    wait_settings(lab, [[4, 0]])


def test_channels_may_change_meanwhile(lab):
    """Its instances are its queues' by their order only, and there are more of them in the end."""
    for interface in ("nicd0", "nicd1"):
        lab.ns.run("ethtool", "-L", interface, "rx", "1", "tx", "1")
    user = lab.use("nicd0", busy=50)
    assert user.bound() == "native" and settings(lab, "nicd0") == [DEFERRED]
    lab.ns.run("ethtool", "-L", "nicd0", "rx", "2")
    assert user.close() == 0
    wait_settings(lab, [[0, 0]] * 2, "nicd0")
    wait_until(lambda: not lab.claims(), "nothing is left to be put back")


def test_who_does_not_poll_has_interrupts(lab):
    user = lab.use("nic0")
    assert user.bound() == "native" and settings(lab) == [[0, 0]]
    assert user.close() == 0


def test_an_interface_that_goes_down_and_up_has_them_put_off_again(lab):
    """It has other instances then, which know nothing."""
    user = lab.use("nic0", busy=50)
    assert user.bound() == "native" and settings(lab) == [DEFERRED]
    lab.ns.ip("link set nic0 down")
    assert settings(lab) == []
    lab.ns.ip("link set nic0 up")
    wait_settings(lab, [DEFERRED])
    assert user.close() == 0
    wait_settings(lab, [[0, 0]])


def test_an_interface_that_is_down_at_the_end_is_remembered(lab):
    user = lab.use("nic0", busy=50)
    assert user.bound() == "native"
    lab.ns.ip("link set nic0 down")
    assert user.close() == 0
    wait_until(lambda: [claim[1:] for claim in lab.claims()] == [["napi/0/0/0"]], "it is noted")
    lab.ns.ip("link set nic0 up")
    wait_settings(lab, [[0, 0]])
    user = lab.use("nic0")
    assert user.bound() == "native"
    assert user.close() == 0
    wait_until(lambda: not lab.claims() and is_as_before(lab), "nothing is left to be put back")


def test_old_kernels_ways(lab):
    """Sockets that are handed out before they are bound."""
    user = lab.use("nic0", busy=50, socket=lab.serve("allow nobody *\n", prefix=OLD_KERNEL), uid=NOBODY)
    assert user.bound() == "native" and settings(lab) == [DEFERRED]
    assert user.close() == 0
    wait_settings(lab, [[0, 0]])


def test_nic_check_says_it(lab):
    assert "  busy polling    interrupts are put off meanwhile (netmapd --nic-busy-poll)" in nic_check(lab, "nic0").stdout.splitlines()
    assert json.loads(nic_check(lab, "nic0", "--json").stdout)["deferrable"] is True
    assert settings(lab) == [[0, 0]]


def wait_deferred(daemon, number, wanted):
    wait_until(lambda: nic(daemon)["nic"]["deferred_queues"] == number, f"interrupts of {number} queues are put off")
    wait_until(lambda: json.loads(inside(daemon, *PROGRAM, V)) == wanted, f"the settings are {wanted}")


def test_status_follows_channels_and_link(start):   # noqa: F811
    """A port has one queue of two, then there is a second one, of which it knows nothing; the interface goes down, and up."""
    daemon = start("--nic-busy-poll", "50", queues=2)
    for interface in (V, W):
        inside(daemon, "ethtool", "-L", interface, "rx", "1", "tx", "1")
    inside(daemon, "ethtool", "-K", V, "gro", "on")
    with Port(daemon.path, V):
        wait_deferred(daemon, 1, [DEFERRED])
        inside(daemon, "ethtool", "-L", V, "rx", "2")
        wait_until(lambda: nic(daemon)["nic"]["device_queues"] == 2, "there are two")
        wait_deferred(daemon, 1, [DEFERRED, [0, 0]])
        inside(daemon, "ip", "link", "set", V, "down")
        wait_deferred(daemon, 0, [])
        inside(daemon, "ip", "link", "set", V, "up")
        wait_deferred(daemon, 1, [DEFERRED, [0, 0]])
        inside(daemon, "ethtool", "-L", V, "rx", "1")
        wait_deferred(daemon, 1, [DEFERRED])
        inside(daemon, "ethtool", "-L", V, "rx", "2")
        wait_until(lambda: nic(daemon)["nic"]["device_queues"] == 2, "there are two")
        wait_deferred(daemon, 1, [DEFERRED, [0, 0]])
        # Said when it becomes so, and not whenever the device is down or up.
        wait_until(lambda: daemon.log().count("the device has 2 queues, the port 1") == 2, "it is said twice")
    rest(daemon)
    wait_until(lambda: json.loads(inside(daemon, *PROGRAM, V)) == [[0, 0]] * 2, "all are as they were")


@pytest.mark.parametrize("options, deferred, wanted", [(("--nic-busy-poll", "50"), 2, DEFERRED), ((), 0, [0, 0])])
def test_a_port_of_netmapd(start, options, deferred, wanted):   # noqa: F811
    daemon = start(*options, queues=2)
    with Port(daemon.path, V):
        assert nic(daemon)["nic"]["deferred_queues"] == deferred
        assert json.loads(inside(daemon, *PROGRAM, V)) == [wanted] * 2
    rest(daemon)
