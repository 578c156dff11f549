# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's own tests of network drivers, on passed-through ports: see lab.py. --kernel LINE: of that kernel only."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "guest/lib"), str(HERE.parent / "guest"), str(HERE.parent / "packages")]
os.environ.setdefault("NM_DEBUG", "y")  # for setup/module, as in tests/guest

LINES = ("6.12", "newest")      # older ones bring no such tests


def pytest_addoption(parser):
    parser.addoption("--kernel", action="append", choices=LINES, help="only this line of guest kernels (may be repeated)")


def pytest_collection_modifyitems(items):
    for item in items:
        if os.getuid() != 0:
            item.add_marker(pytest.mark.skip(reason="a system in a directory wants root"))
