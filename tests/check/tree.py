# SPDX-License-Identifier: BSD-2-Clause
"""What all checks share: the files of the tree, running tools, and the table of checks."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Rooms whose code is for use; the others try it or set it up.
PRODUCT = {"core", "user", "proto", "linux", "netmapd", "nic", "libnetmap", "apps", "tools", "include"}
CPUS = len(os.sched_getaffinity(0))
CHECKS = {}
os.environ["LC_ALL"] = "C.UTF-8"    # messages are looked for as compilers say them there, with its quotation marks


class Skip(Exception):
    """Raised by a check that cannot say anything on this machine; its text is the reason."""


def say(text):
    print(text, flush=True)


def check(name):
    """Decorator: enters a function into the table of checks."""
    def enter(function):
        CHECKS[name] = function
        return function
    return enter


@cache
def files():
    """All source files, as paths relative to the root; no git is needed, and nothing built is among them."""
    found = []
    for directory, names, here in os.walk(ROOT):
        top = Path(directory) == ROOT
        names[:] = sorted(n for n in names if n not in ("__pycache__", ".pytest_cache", ".git", ".cache")
                          and not (top and (n == "build" or n.startswith("build-"))))
        found += [str((Path(directory) / n).relative_to(ROOT)) for n in sorted(here)]
    return [f for f in found if f not in (".git", "compile_commands.json")]


def c_files():
    return [f for f in files() if f.endswith((".c", ".h"))]


def is_product(name):
    parts = name.split("/")
    return parts[0] in PRODUCT and "tests" not in parts


@cache
def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def scripts(interpreter, suffix):
    """The scripts for an interpreter, known by their first line or by a suffix."""
    first = re.compile(r"#!\S*/(env )?" + interpreter)
    return [f for f in files() if f.endswith(suffix) or ("." not in Path(f).name and first.match(text(f)))]


def tool(name):
    """The path of a program; a check whose tool is missing has not passed."""
    path = shutil.which(name, path="/usr/bin:/bin")     # Debian's, also when PATH has others first
    if not path:
        raise FileNotFoundError(f"{name} is missing: setup/prepare check installs it")
    return path


def output(command, **options):
    """Runs a tool; returns its exit status and all it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **{"cwd": ROOT, **options})
    return done.returncode, done.stdout


def each(function, items):
    """What the function yields for each of the items, in their order; as many at a time as there are CPUs."""
    with ThreadPoolExecutor(CPUS) as pool:
        for findings in pool.map(lambda item: list(function(item)), items):
            yield from findings


def chunks(items):
    """The items in as many parts as there are CPUs."""
    return [part for part in (items[i::CPUS] for i in range(CPUS)) if part]


def lines_of(status, printed, wanted=r"\S"):
    """Findings from a tool that prints one per line; a tool that fails without one is itself a finding."""
    found = [line for line in printed.splitlines() if re.search(wanted, line)]
    if status and not found:
        found = [printed.strip() or f"it ends with {status} and prints nothing"]
    return found
