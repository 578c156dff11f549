# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures with a real netmapd. Those with a made-up one are in ptnet_fakes.py."""

import shutil
import tempfile
from pathlib import Path

import pytest

from ptnet_real import CheckedTraffic, Netmapd, Port, spawn


@pytest.fixture
def place():
    """A directory for one test. Not tmp_path: other users have to get in, and a socket's path has to be short."""
    path = Path(tempfile.mkdtemp(prefix="ptnet-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start_netmapd(place):
    """start_netmapd(option…) starts one more netmapd in `place`. All have to end well, unless they were killed."""
    started = []

    def start(*options, **kwargs):
        daemon = Netmapd(place, *options, **kwargs)
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        daemon.stop()
    for daemon in started:
        if daemon.process.returncode != -9:
            daemon.check_end()


@pytest.fixture
def daemon(start_netmapd):
    return start_netmapd("--workers", "2")


@pytest.fixture
def start_app():
    """start_app(path, program, argument…) starts an application; the end of the test is its end, too."""
    children = []

    def start(path, program, *args):
        children.append(spawn(program, *args, path=path))
        return children[-1]

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
            child.communicate()


@pytest.fixture
def open_port(daemon):
    """open_port(name, field=value…) registers a port; all are closed behind the test."""
    ports = []

    def open_(name, **fields):
        ports.append(Port(daemon.path, name, **fields))
        return ports[-1]

    yield open_
    for port in ports:
        port.close()


@pytest.fixture
def checked_traffic(daemon):
    """checked_traffic(switch) sends numbered packets from one port of a switch to another until finish() of the
    result is called, which fails if a single one was lost, damaged or out of order."""
    running = []

    def start(switch, rate=5000):
        running.append(CheckedTraffic(daemon, switch, rate))
        return running[-1]

    yield start
    for traffic in running:
        traffic.kill()
