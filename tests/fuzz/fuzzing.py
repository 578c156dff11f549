# SPDX-License-Identifier: BSD-2-Clause
"""The fuzz targets: their builds, inputs and runs, for tests/fuzz/run and tests/run.

Inputs that stay are lines of two text files per target: corpus/TARGET has one input a line, in base64; crashes/TARGET
has what once went wrong, each with a name before it that tells what it was.
"""

import base64
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = Path(os.environ.get("PTNETMAP_BUILD") or ROOT / "build").resolve()
PATIENCE = 600              # seconds for one input, of the clock: beside other work 60 were too few for one of 40 ms
MESON = "/usr/bin/meson"    # of Debian, also when PATH has another Python first
HEADER = "# SPDX-License-Identifier: BSD-2-Clause\n"

# Name, and Meson's options. The first is the one that each target has.
KINDS = {
    "fuzz": ["-Dfuzz=enabled", "-Db_sanitize=address,undefined"],
    "fuzz-tsan": ["-Dfuzz=enabled", "-Db_sanitize=thread"],
    "fuzz-coverage": ["-Dfuzz=coverage"],
}


@dataclass
class Target:
    runs: int               # inputs of one run in make test: a few seconds
    max_len: int = 1024     # bytes of an input
    kinds: tuple = ("fuzz",)


TARGETS = {
    "request": Target(runs=6000),
    "ctl": Target(runs=8000),
    "vfio": Target(runs=5000),
    "packets": Target(runs=10000),
    "tap": Target(runs=8000),
    "nic": Target(runs=2500),
    "nicd": Target(runs=4000),
    "offload": Target(runs=30000, max_len=512),
    "names": Target(runs=40000, max_len=256),
    "libnetmap": Target(runs=8000),
    "pcap": Target(runs=15000),
    "toctou": Target(runs=5000),
    "race": Target(runs=2000, kinds=("fuzz", "fuzz-tsan")),
}


def directory(kind):
    return BUILD.with_name(f"{BUILD.name}-{kind}")


def program(target, kind="fuzz"):
    return directory(kind) / f"tests/fuzz/fuzz_{target}"


def build(kind):
    """Builds all targets of a kind; returns what went wrong, or None."""
    where = directory(kind)
    if not shutil.which("clang"):
        return "clang is missing: setup/packages fuzz installs it"
    if not (where / "build.ninja").exists():
        done = subprocess.run([MESON, "setup", *KINDS[kind], "-Db_lundef=false", str(where), str(ROOT)],
                              stdout=subprocess.PIPE, text=True, env=dict(os.environ, CC="clang"))
        if done.returncode:
            print(done.stdout)
            return f"meson setup {where} fails: see its message above"
    if subprocess.run(["ninja", "--quiet", "-C", str(where), "fuzz-targets"]).returncode:
        return f"the build in {where} fails: see its messages above"
    return None


# ---- inputs ------------------------------------------------------------------------------------

def lines(kind, target):
    """The lines of corpus/TARGET or crashes/TARGET, split into words."""
    file = HERE / kind / target
    if not file.exists():
        return []
    return [line.split() for line in file.read_text().splitlines() if line and not line.startswith("#")]


def unpack(target, where):
    """Writes all inputs of a target as files, as libFuzzer wants them: where/corpus, where/crashes."""
    for kind in ("corpus", "crashes"):
        (where / kind).mkdir(parents=True, exist_ok=True)
        for number, words in enumerate(lines(kind, target)):
            name = words[0] if kind == "crashes" else f"seed-{number:03}"
            (where / kind / name).write_bytes(base64.b64decode(words[-1]))
    return where / "corpus", where / "crashes"


def pack(target, found):
    """corpus/TARGET from a directory of inputs, the shortest first."""
    inputs = sorted({file.read_bytes() for file in found.iterdir()}, key=lambda data: (len(data), data))
    (HERE / "corpus").mkdir(exist_ok=True)
    (HERE / "corpus" / target).write_text(HEADER + "".join(base64.b64encode(data).decode() + "\n" for data in inputs))
    return len(inputs)


# ---- runs --------------------------------------------------------------------------------------

def run(target, kind, arguments, **options):
    """Runs a target's program; its output goes to where the options say."""
    symbolizer = shutil.which("llvm-symbolizer") or ""
    env = dict(os.environ, ASAN_SYMBOLIZER_PATH=symbolizer, TSAN_OPTIONS=f"halt_on_error=1:external_symbolizer_path={symbolizer}")
    return subprocess.run([str(program(target, kind)), f"-timeout={PATIENCE}", "-rss_limit_mb=1024", *arguments],
                          env=dict(env, **options.pop("env", {})), **options)


def why(output):
    """The line of a failing target's output that says most."""
    for pattern in (r"^.*runtime error: .*$", r"^\S+:\d+: .*$", r"^.*ERROR: \w+Sanitizer: .*$", r"^SUMMARY: .*$"):
        found = re.search(pattern, output, re.M)
        if found:
            return found.group().strip()
    return "it fails; see its output"


def test(target, kind):
    """What `make test` runs, for each test: its name, and None or why it failed."""
    work = directory(kind) / "test" / target
    shutil.rmtree(work, ignore_errors=True)
    corpus, crashes = unpack(target, work)
    cases = [(crash.name, [str(crash)]) for crash in sorted(crashes.iterdir())]
    cases.append((f"the corpus and more, {TARGETS[target].runs} inputs",
                  [f"-runs={TARGETS[target].runs}", "-seed=1", f"-max_len={TARGETS[target].max_len}",
                   f"-artifact_prefix={work}/", str(corpus)]))
    for name, arguments in cases:
        done = run(target, kind, arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if done.returncode:
            (work / "output").write_text(done.stdout)
        yield name, f"{why(done.stdout)} (all of it: {work}/output)" if done.returncode else None
