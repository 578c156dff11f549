# SPDX-License-Identifier: BSD-2-Clause
"""User space compiled by gcc and by clang, with warnings as errors; and the public headers in each language."""

import os
import re
from functools import cache

from tree import ROOT, check, each, files, lines_of, output, tool

MESON = "/usr/bin/meson"    # of Debian, also when PATH has another Python first
# Compiler, how it is to read the headers, and the standards: the last is the newest that the compiler has.
LANGUAGES = [(c, ("-x", "c", "-Wpedantic"), ("c99", "c11", "c17"), ("c2y", "c23", "c2x")) for c in ("gcc", "clang")] + \
            [(c, ("-x", "c++"), ("c++11", "c++14", "c++17", "c++20"), ("c++26", "c++2c", "c++23", "c++2b"))
             for c in ("g++", "clang++")]
# What else a 32-bit program must find where a 64-bit kernel puts it, with times of 32 bits and of 64.
LAYOUT = ("test_abi.c", "test_abi_source.c")
TIMES_64 = ("-D_FILE_OFFSET_BITS=64", "-D_TIME_BITS=64")
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


def newest(compiler, flags, candidates):
    return next(s for s in candidates if not output([tool(compiler), "-fsyntax-only", *flags, f"-std={s}", "-"], input="")[0])


def header_cases():
    """Compiler, flags, standard, first lines of a source."""
    first_lines = [f"#include <{f.removeprefix('include/')}>" for f in files()
                   if f.startswith("include/") and f.endswith(".h") and f not in INCLUDED_BY_OTHERS]
    first_lines.append("#define NETMAP_WITH_LIBS\n#include <net/netmap_user.h>")
    for compiler, flags, standards, candidates in LANGUAGES:
        last = newest(compiler, flags, candidates)
        for line in first_lines:
            yield from ((compiler, flags, standard, line) for standard in (*standards, last))
            yield from ((compiler, (*flags, "-m32", *times), standard, line)
                        for standard in (standards[0], last) for times in ((), TIMES_64))
    for compiler in ("gcc", "clang"):
        yield from ((compiler, ("-x", "c", "-m32", "-D_GNU_SOURCE", *times, "-Itests/unit/include"), "gnu11",
                     f'#include "{source}"') for source in LAYOUT for times in ((), TIMES_64))


@check("headers")
def headers():
    """What programs include, as the first line of a source, in each standard of C and C++, for 64 bits and 32."""

    def findings(case):
        compiler, flags, standard, line = case
        # Functions of headers may stay unused; flexible arrays are the ABI, and no ISO C++.
        command = [tool(compiler), "-fsyntax-only", *flags, f"-std={standard}", "-Iinclude", "-Wall", "-Wextra", "-Werror",
                   "-Wno-unused-function", "-"]
        status, printed = output(command, input=f"{line}\nextern int something;\n")
        for found in lines_of(status, printed, r": (fatal )?error: "):
            yield f"{found} ({' '.join((compiler, *flags))} -std={standard}, {line.splitlines()[0]})"

    return each(findings, list(header_cases()))
