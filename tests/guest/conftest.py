# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures for tests in guests.

    def test_something(kernel, netmap_ko, make_guest):
        initramfs = ptnguest.build_initramfs(kernel, programs=[…], kos=[netmap_ko])
        guest = make_guest(initramfs)
        guest.run("modprobe netmap")

A test with the fixture `kernel` runs once per line of guest kernels, or, when it
has the mark `one_kernel`, on one of them. In a file with MOSTLY_ONE_KERNEL = True
that holds for all tests without the mark `every_kernel`: those cover each interface
of the kernel that the module uses. --kernel LINE (may be repeated) runs all on that
kernel. When a test ends, the kernel logs of its
guests must be clean, and the guests are ended.

Fixtures of a module may keep a guest for all its tests on one kernel: those stand
together, whatever their order in the file and the lines they are for, and pytest-xdist
gives them to one worker (--dist loadgroup, see tests/run).
"""

import functools
import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

import netlab  # noqa: E402: they are found by the line above
import ptnguest  # noqa: E402

os.environ.setdefault("NM_DEBUG", "y")  # for setup/module: the module checks its own state

LINES = ("6.1", "6.12", "newest")
ONE_LINE = "6.12"
# They take longest, and are begun first, so that all workers end at about the same time. So is the kernel with most tests.
LONG_FILES = ("test_ptnet", "test_api", "test_nic")


def pytest_addoption(parser):
    parser.addoption("--kernel", action="append", choices=(*LINES, "debug"),
                     help="only this line of guest kernels; debug: the one with KASAN and lockdep, made first if need be")
    parser.addoption("--all-machines", action="store_true", help="test_memtype on all combinations of machine and firmware")


def pytest_configure(config):
    config.addinivalue_line("markers", "one_kernel: what is tested does not depend on the guest's kernel")
    config.addinivalue_line("markers", "every_kernel: on each, in a file with MOSTLY_ONE_KERNEL")
    config.addinivalue_line("markers", "nic_long: in make nic-long only")
    config.addinivalue_line("markers", "not_on_6_1: what Linux 6.1 has not (the test says what)")


def pytest_generate_tests(metafunc):
    if "kernel" in metafunc.fixturenames and "place" not in metafunc.fixturenames:
        lines = metafunc.config.getoption("kernel") or LINES
        marked = metafunc.definition.get_closest_marker
        mostly_one = getattr(metafunc.module, "MOSTLY_ONE_KERNEL", False)
        if marked("one_kernel") or (mostly_one and not marked("every_kernel")):
            lines = [ONE_LINE if ONE_LINE in lines else lines[0]]
        if marked("not_on_6_1"):
            lines = [line for line in lines if line != "6.1"]
        metafunc.parametrize("kernel", lines, indirect=True, scope="session")


def group(item):
    """The file and the line of kernels of a test."""
    line = item.callspec.params.get("kernel") if hasattr(item, "callspec") else None
    return item.path.stem, line if isinstance(line, str) else ""    # pytest's own object: no kernel suits the test


def pytest_itemcollected(item):
    item.add_marker(pytest.mark.xdist_group("-".join(group(item))))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Runs behind pytest's own sorting, which goes by the number of a parameter: 6.12 is the first of one, the second of three."""
    def rank(item):
        name, line = group(item)
        return (line != ONE_LINE, line, LONG_FILES.index(name) if name in LONG_FILES else len(LONG_FILES), name)

    items.sort(key=rank)
    if "NIC_ROUNDS" not in os.environ:
        left_out = [item for item in items if item.get_closest_marker("nic_long")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


# A fixture is made anew whenever its parameter changes.
get_kernel = functools.cache(ptnguest.Kernel.get)


@functools.cache
@pytest.fixture(scope="session")
def kernel(request):
    return get_kernel(request.param)


@pytest.fixture(scope="session")
def netmap_ko(kernel):
    """netmap.ko of this source tree for that kernel."""
    return netlab.build_netmap_ko(kernel)


@pytest.fixture
def make_guest(request, kernel):
    """A function that boots a guest of that kernel; takes what ptnguest.Guest takes, without the kernel.

    start=False gives a guest that was not launched yet.
    """
    guests = []

    def make(initramfs, start=True, **options):
        name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
        options.setdefault("name", f"{name}-{len(guests) + 1}")
        guest = ptnguest.Guest(kernel, initramfs, **options)
        guests.append(guest)
        return guest.start() if start else guest

    yield make
    try:
        for guest in guests:
            guest.assert_clean_log()
    finally:
        for guest in guests:
            guest.close()
