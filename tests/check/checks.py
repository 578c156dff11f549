# SPDX-License-Identifier: BSD-2-Clause
"""The checks of the source. Each is a function that yields its findings, one text per finding; a
check that finds nothing passes. To add one: write it, with @check("name"), in the module of its kind.

A tool's suppressions stand where the finding is, or in the tool's own file at the top of the tree
(.clang-tidy, .flake8); each has its reason beside it.
"""

import time
from collections import namedtuple

from tree import CHECKS, Skip, say

# These fill CHECKS, in this order.
import layout  # noqa: F401
import rules  # noqa: F401
import compilers  # noqa: F401
import analysers  # noqa: F401

SHOWN = 40      # findings of one check; there are more only when something is wrong with the tool

Result = namedtuple("Result", "name verdict why")


def run(name):
    """Runs one check, prints its line and its findings, and returns the result."""
    start = time.monotonic()
    verdict, why, findings = "ok", "", []
    try:
        findings = list(dict.fromkeys(CHECKS[name]()))
        if findings:
            verdict, why = "FAILED", f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    except Skip as reason:
        verdict, why = "skipped", str(reason)
    say(f"{name:12} {verdict:7} {time.monotonic() - start:4.0f} s  {why}".rstrip())
    for finding in findings[:SHOWN]:
        say("    " + finding.replace("\n", "\n    "))
    if len(findings) > SHOWN:
        say(f"    and {len(findings) - SHOWN} more")
    return Result(name, verdict, why)
