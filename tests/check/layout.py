# SPDX-License-Identifier: BSD-2-Clause
"""Layout, scripts and manual pages: clang-format, shellcheck, flake8, mandoc."""

import re

from tree import Skip, c_files, check, chunks, each, files, lines_of, output, scripts, tool

LAYOUT_VERSION = "14"   # of clang-format; the next ones lay out a few things in another way


@check("clang-format")
def clang_format():
    program = tool("clang-format")
    version = re.search(r"version (\d+)", output([program, "--version"])[1]).group(1)
    if version != LAYOUT_VERSION:
        raise Skip(f"clang-format is {version} here, and the layout is that of {LAYOUT_VERSION}")

    def findings(names):
        status, printed = output([program, "--dry-run", "-Werror", *names])
        return lines_of(status, printed, r": error: ")
    return each(findings, chunks(c_files()))


@check("shellcheck")
def shellcheck():
    # -x: what a script sources, setup/lib.sh, is read with it.
    return lines_of(*output([tool("shellcheck"), "-x", "-P", "SCRIPTDIR", "-f", "gcc", *scripts("(ba)?sh", ".sh")]))


@check("flake8")
def flake8():
    tool("flake8")
    return lines_of(*output(["/usr/bin/python3", "-m", "flake8", *scripts("python3", ".py")]))


@check("mandoc")
def manual_pages():
    pages = [name for name in files() if re.search(r"\.[1-8]$", name)]
    return lines_of(*output([tool("mandoc"), "-T", "lint", "-W", "warning", *pages]))
