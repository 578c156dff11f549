# SPDX-License-Identifier: BSD-2-Clause
"""What takes minutes is run by `make test-packages` alone: tests/run packages -- --everything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "guest/lib")]
os.environ.setdefault("NM_DEBUG", "y")  # for setup/module, as in tests/guest


def pytest_addoption(parser):
    parser.addoption("--everything", action="store_true", help="also what is built and booted for minutes")


def pytest_configure(config):
    config.addinivalue_line("markers", "everything: only with --everything")


def pytest_collection_modifyitems(config, items):
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="a system in a directory wants root, and CAP_SYS_ADMIN"))
    if not config.getoption("--everything"):
        left = [i for i in items if i.get_closest_marker("everything")]
        config.hook.pytest_deselected(items=left)
        items[:] = [i for i in items if i not in left]
