# SPDX-License-Identifier: BSD-2-Clause
"""The rules of this project which no tool knows. Each rule yields "FILE:LINE: what is wrong; what to do"."""

import re

from tree import c_files, check, files, is_product, text

FUNCTION_LINES = 60
# Files that can hold no comment.
NO_SPDX = {"LICENSE", ".gitignore", "core/sources.txt", "debian/changelog", "debian/source/format"}

# What only core/ may touch: a pattern, what it is, how to do it instead, and how many lines of which room
# still do it. The numbers only go down.
PRIVATE_TO_CORE = [
    (r"\bregion->(own|owner|free|free_count)\b", "the owner map or the free list of a region", "call a function of core/bufown.h"),
    (r"\bproduce\.", "the producer side of a ring", "call a function of core/ring.h or core/slots.h"),
]


def numbered(name):
    return enumerate(text(name).splitlines(), 1)


def without_comments(source):
    """The source with comments, strings and characters blanked out; lines stay where they are."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), source, flags=re.S)


def licenses():
    for name in files():
        if name not in NO_SPDX and "SPDX-License-Identifier: BSD-2-Clause" not in "".join(text(name)[:400]):
            yield f"{name}:1: no license: begin with the line SPDX-License-Identifier: BSD-2-Clause, as a comment"


def internal_headers():
    for name in c_files():
        room = name.split("/")[0]
        for at, line in numbered(name):
            found = re.match(r'#include "(?:.*/)?(\w+_internal\.h)"', line)
            if not found or room == "tests":
                continue
            if f"{name.rsplit('/', 1)[0]}/{found.group(1)}" not in files():
                yield (f"{name}:{at}: includes {found.group(1)}, which is private to another room: "
                       "declare what you need in that module's header")


def core_stands_alone():
    for name in c_files():
        if name.startswith("core/"):
            for at, line in numbered(name):
                if re.match(r"#\s*include\s*<(?!net/netmap)", line):
                    yield f"{name}:{at}: core/ includes a header of a system: it has only os.h, the same everywhere"


def private_to_core():
    for pattern, what, instead in PRIVATE_TO_CORE:
        for name in c_files():
            if is_product(name) and not name.startswith("core/"):
                for at, line in enumerate(without_comments(text(name)).splitlines(), 1):
                    if re.search(pattern, line):
                        yield f"{name}:{at}: touches {what}, which is the core's: {instead}"


def functions_fit_a_screen():
    for name in c_files():
        if not is_product(name):
            continue
        start = None
        for at, line in numbered(name):
            if line == "{":
                start = at
            elif line == "}" and start:
                if at - start + 1 > FUNCTION_LINES:
                    yield f"{name}:{start}: a function of {at - start + 1} lines, {FUNCTION_LINES} at most: split it"
                start = None


def headers_say_threads():
    for name in c_files():
        if name.endswith(".h") and is_product(name) and not re.search("thread safety|threads:", text(name), re.I):
            yield f"{name}:1: the comment at its head has no part \"Thread safety\": say which threads may call what"


def nothing_unfinished():
    for name in c_files():
        for at, line in numbered(name):
            if re.search(r"\b(TODO|FIXME)\b|^#\s*if 0\b", line):
                yield f"{name}:{at}: unfinished or dead code: finish it or remove it"


def module_takes_no_mmap_lock():
    """Whoever holds that of a process for long would hold up all who wait for the core lock."""
    for name in c_files():
        for at, line in numbered(name) if name.startswith("linux/") else ():
            if re.search(r"\b(mmap_(read|write)_(try)?lock\w*|account_locked_vm)\b", line):
                yield f"{name}:{at}: takes the mmap lock of a process"


def sockets_listen_at_once():
    for name in c_files():
        if not is_product(name) or name == "netmapd/listener.c" or "AF_UNIX" not in text(name):
            continue
        for at, line in numbered(name):
            if re.search(r"(?<!\w)listen\(\w", line):
                yield f"{name}:{at}: a path that exists before it listens: use netmapd/listener.h"


def waits_for_output_end():
    """A repeated group that ends with a repetition takes twice as long not to match with each line, and what would end the wait, a
    thread of Python's, waits meanwhile."""
    for name in files():
        for at, line in numbered(name) if name.endswith(".py") else ():
            if re.search(r"\bwait_output\(.*\)[*+{]", re.sub(r"\\.", "", line)):
                yield f"{name}:{at}: waits for a repeated group, maybe for ever: count matches instead (Command.wait_output(times=))"


RULES = [licenses, internal_headers, core_stands_alone, private_to_core, functions_fit_a_screen,
         headers_say_threads, nothing_unfinished, module_takes_no_mmap_lock, sockets_listen_at_once,
         waits_for_output_end]


@check("rules")
def rules():
    for rule in RULES:
        yield from rule()
