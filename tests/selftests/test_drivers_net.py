# SPDX-License-Identifier: BSD-2-Clause
"""Each program of the kernel's tests of network drivers: cases pass, but for those that expected.py names."""

from fnmatch import fnmatchcase

import pytest

import expected
import ptnguest
import testbed

SECONDS = 120       # of a program; emulated, and at the worst eight times as much (Guest.run)


def pytest_generate_tests(metafunc):
    lines = metafunc.config.getoption("kernel") or ("6.12", "newest")
    if "program" in metafunc.fixturenames:
        found = [(line, name) for line in lines for name in testbed.programs(testbed.selftests(line))
                 if not {name, f"{line} {name}"} & expected.LEFT_OUT.keys()]
        metafunc.parametrize("line, program", found, indirect=["line"], scope="module", ids=[f"{line}-{name}" for line, name in found])


@pytest.fixture(scope="module")
def line(request):
    return request.param


@pytest.fixture(scope="module")
def guest(line, tmp_path_factory):
    kernel = ptnguest.Kernel.get(line)
    netmap_ko = next(p for p in ptnguest.build_module(kernel) if p.name == "netmap.ko")
    with testbed.running(kernel, netmap_ko, tmp_path_factory.mktemp("system")) as guest:
        yield guest


def is_expected(program, case):
    """What the tables say of the case is what it says."""
    def has(table):
        return any(fnmatchcase(case.name, pattern) for pattern in table.get(program, {}))

    if has(expected.FAILS):
        return case.verdict == "FAILED"
    if has(expected.SKIPPED):
        return case.verdict in ("skip", "xfail")
    return case.verdict == "ok"


def unmatched(line, program, cases):
    """Patterns of the tables that are for no case, of the newest kernel: older ones have fewer cases."""
    patterns = [*expected.SKIPPED.get(program, {}), *expected.FAILS.get(program, {})] if line == "newest" else []
    return [pattern for pattern in patterns if not any(fnmatchcase(case.name, pattern) for case in cases)]


def test_program(line, guest, program):
    folder, name = program.split(":")
    before = testbed.settings(guest)
    result = guest.run(f"cd /selftests/{folder} && {testbed.ENVIRONMENT} timeout -k 30 {8 * SECONDS} ./{name}", SECONDS + 60, check=False)
    print(result.out)
    cases = testbed.cases(result.out)
    assert cases, f"{program} ends with {result.rc} and says nothing of its cases"
    for case in cases:
        print(f"{case.verdict:6} {case.name} {case.why}")
    assert len(cases) == testbed.planned(result.out), f"{program} ends with {result.rc} before its last case"
    wrong = [f"{case.name}: {case.verdict} {case.why}" for case in cases if not is_expected(program, case)]
    assert not wrong, f"{program}: {'; '.join(wrong)}"
    superfluous = unmatched(line, program, cases)
    assert not superfluous, f"{program} has no such cases: {superfluous}"
    assert testbed.settings(guest) == before, f"{program} leaves other settings"
    guest.assert_clean_log()


def test_what_is_left_out_exists():
    """No line of the table is for a program that is gone."""
    known = {line: testbed.programs(testbed.selftests(line)) for line in ("6.12", "newest")}
    for name in (*expected.LEFT_OUT, *expected.SKIPPED, *expected.FAILS):
        *line, program = name.split(" ")
        assert any(program in known[which] for which in line or known), name
