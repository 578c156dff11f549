#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a packet costs, counted: bench/budget.py [--len BYTES] [--batch PACKETS] [--functions] [--watched] [--full] [--macs N]

Instructions of the worker (callgrind), and cache lines that two CPUs send to each other: lackey lists what
budget.c's two sides load and store, and here are two caches that never forget, as of two CPUs. A line
is sent when a side loads or stores what the other has stored since; a store also when the other
has loaded it since, because its copy has to go. Both are exact, and the same on each machine.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUDGET = Path(os.environ.get("PTNETMAP_BUILD") or ROOT / "build").resolve() / "bench" / "budget"
LINE = 64
ROUNDS, MORE = 16, 48           # what is the same in both is setting up
TRACED, SETTLED = 16, 8         # rounds; those in which each line has had its first use
SIDES = ("application", "worker")


def valgrind(tool, args, *options):
    done = subprocess.run(["valgrind", f"--tool={tool}", *options, str(BUDGET), *map(str, args)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"budget: valgrind {tool} fails: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout), done.stderr


def instructions(args, functions=False):
    """Of the worker, per packet."""
    counts, packets = [], []
    with tempfile.TemporaryDirectory() as directory:
        out = f"{directory}/out"
        for rounds in (ROUNDS, MORE):
            said, log = valgrind("callgrind", [*args, "--rounds", rounds], "--toggle-collect=work",
                                 f"--callgrind-out-file={out}")
            counts.append(int(re.search(r"Collected : (\d+)", log).group(1)))
            packets.append(said["packets"])
        if functions:
            shown = subprocess.run(["callgrind_annotate", "--auto=no", out], stdout=subprocess.PIPE, text=True, check=True)
            print("\n".join(re.findall(r"^ *[\d,]+ \(.*$", shown.stdout, re.M)[:12]))
    return (counts[1] - counts[0]) / (packets[1] - packets[0])


def lines(args):
    """Sent to each side, per packet."""
    with tempfile.NamedTemporaryFile("r") as trace:
        said, _ = valgrind("lackey", [*args, "--rounds", TRACED], "--trace-mem=yes", f"--log-file={trace.name}")
        marks = {int(m, 16): side for side, m in enumerate(said["marks"])}
        sent, turns = follow(trace, marks)
    return [sent[side] * TRACED / (said["packets"] * (TRACED - SETTLED)) for side in range(len(SIDES))], turns


def follow(trace, marks):
    """Lines sent to each side when all have settled; how often it was each side's turn."""
    stored, copies = {}, {}     # line: who has stored it last; set of those with a copy, as bits
    side, turns, sent = None, 0, Counter()
    for access in trace:
        if access[0] != " ":
            continue
        kind, where = access[1], access[3:].partition(",")
        address, size = int(where[0], 16), int(where[2])
        if address in marks:
            side, turns = marks[address], turns + 1
        if side is None:
            continue
        for line in range(address // LINE, (address + size - 1) // LINE + 1):
            other = copies.get(line, 0) & ~(1 << side)
            has = copies.get(line, 0) >> side & 1
            if other and (not has or kind != "L") and turns > 3 * SETTLED and (
                    kind != "L" or stored.get(line) not in (None, side)):
                sent[side] += 1
            copies[line] = copies.get(line, 0) | 1 << side if kind == "L" else 1 << side
            if kind != "L":
                stored[line] = side
    return sent, turns


def main():
    p = argparse.ArgumentParser(description="Instructions and lines that change CPUs, per packet.")
    p.add_argument("--len", default=60)
    p.add_argument("--batch", default=256)
    p.add_argument("--functions", action="store_true", help="where the instructions are")
    p.add_argument("--watched", action="store_true", help="by a monitor that is read")
    p.add_argument("--full", action="store_true", help="by a monitor that nobody reads (vale, pipe)")
    p.add_argument("--macs", default=1, help="addresses that packets go to in turn (vale)")
    p.add_argument("what", nargs="*", default=[])
    options = p.parse_args()
    print(f"{'':10} {'instructions':>12} {'lines to the worker':>20} {'to the application':>20}")
    for what in options.what or (["vale", "pipe"] if options.full else ["copy", "vale", "exchange", "pipe"]):
        args = [what, "--len", options.len, "--batch", options.batch, "--macs", options.macs]
        args += ["--watched"] * options.watched + ["--full"] * options.full
        (application, worker), _ = lines(args)
        print(f"{what:10} {instructions(args, options.functions):12.1f} {worker:20.3f} {application:20.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
