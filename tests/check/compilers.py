# SPDX-License-Identifier: BSD-2-Clause
"""User space compiled by gcc and by clang, with warnings as errors; and the public headers in each language."""

import os
import re
from functools import cache

from tree import ROOT, check, each, files, lines_of, output, tool

MESON = "/usr/bin/meson"    # of Debian, also when PATH has another Python first
# Compiler, how it is to read the headers, and the standards that both releases' compilers have.
LANGUAGES = [(c, ("-x", "c", "-Wpedantic"), ("c99", "c11", "c17", "c2x")) for c in ("gcc", "clang")] + \
            [(c, ("-x", "c++"), ("c++11", "c++14", "c++17", "c++20")) for c in ("g++", "clang++")]
INCLUDED_BY_OTHERS = {"include/net/netmap_open.h"}


# -O2: many of gcc's warnings come from what the optimiser knows.
OPTIONS = {"gcc": ["-Doptimization=2"], "clang": []}


@cache
def built(compiler):
    """Compiles all of user space in build-check-COMPILER, which keeps its objects; returns what is wrong."""
    directory = ROOT / f"build-check-{compiler}"
    if not (directory / "build.ninja").exists():
        status, printed = output([MESON, "setup", "-Dbuildtype=plain", *OPTIONS[compiler], str(directory)],
                                 env=dict(os.environ, CC=tool(compiler)))
        if status:
            return [f"meson setup {directory.name} fails: {printed.strip()}"]
    # -k 0: what is wrong in all files, not in the first one only.
    status, printed = output(["ninja", "--quiet", "-k", "0", "-C", str(directory)])
    printed = re.sub(r"\x1b\[[0-9;]*[mK]", "", printed).replace("../", "")
    return lines_of(status, printed, r": (fatal )?(error|warning): ")


@check("gcc")
def gcc():
    return built("gcc")


@check("clang")
def clang():
    return built("clang")


@check("headers")
def headers():
    """What programs include, as the first line of a source, in each standard of C and C++."""
    first_lines = [f"#include <{f.removeprefix('include/')}>" for f in files()
                   if f.startswith("include/") and f.endswith(".h") and f not in INCLUDED_BY_OTHERS]
    first_lines.append("#define NETMAP_WITH_LIBS\n#include <net/netmap_user.h>")

    def findings(case):
        compiler, flags, standard, line = case
        # Functions of headers may stay unused; flexible arrays are the ABI, and no ISO C++.
        command = [tool(compiler), "-fsyntax-only", *flags, f"-std={standard}", "-Iinclude", "-Wall", "-Wextra", "-Werror",
                   "-Wno-unused-function", "-"]
        status, printed = output(command, input=f"{line}\nextern int something;\n")
        for found in lines_of(status, printed, r": (fatal )?error: "):
            yield f"{found} ({compiler} -std={standard}, {line.splitlines()[0]})"

    return each(findings, [(compiler, flags, standard, line) for compiler, flags, standards in LANGUAGES
                           for standard in standards for line in first_lines])
