# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark runs, counts what it says, and writes its report. Its numbers decide nothing here."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from nic_lab import why_no_nic

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "bench" / "run"
BUILD = Path(os.environ.get("PTNETMAP_BUILD") or ROOT / "build")

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark wants two CPUs")


def bench(*args, env=None):
    return subprocess.run([str(RUN), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=120, check=False, env=env)


def short_report():
    done = bench("--short", "--no-peers", "--only", "vale_60", "pipe_60", "trip_asleep", "idle")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((BUILD / "bench.json").read_text())
    assert report["machine"]["cpus"] >= 2 and report["failed"] == {}
    assert 0 <= report["machine"]["others_share"] <= 1
    rows = {r["scenario"]: r for r in report["results"]}
    assert set(rows) == {"vale_60", "pipe_60", "trip_asleep", "idle"}
    return done, rows


def test_report():
    # When others take its CPUs, it may happen that no packet gets through in the half second of a short run.
    for _ in range(5):
        done, rows = short_report()
        if rows["vale_60"]["value"] and rows["pipe_60"]["value"]:
            break
    for name in ("vale_60", "pipe_60"):
        row = rows[name]
        assert row["unit"] == "Mpps" and row["value"] > 0 and row["limit"] > 0
        assert row["min"] <= row["value"] <= row["max"]
        assert row["limit_share"] == pytest.approx(row["value"] / row["limit"], rel=0.05, abs=0.01)
        assert f"\n{name} " in done.stdout
    # One kick and one interrupt each way.
    assert rows["trip_asleep"]["parts"]["kicks_per_trip"] <= 4
    assert rows["trip_asleep"]["parts"]["interrupts_per_trip"] <= 4


def build_with(place, **scripts):
    """A build whose programs of that name are these scripts; REAL is what they stand in for."""
    (place / "bench").mkdir()
    for name in ("measure", "limit", "afpacket"):
        real = BUILD / "bench" / name
        path = place / "bench" / name
        if name in scripts:
            path.write_text(f"#!/bin/sh\nREAL={real}\n{scripts[name]}\n")
            path.chmod(0o755)
        else:
            path.symlink_to(real)
    (place / "netmapd").symlink_to(BUILD / "netmapd")
    return dict(os.environ, PTNETMAP_BUILD=str(place))


def bench_in(env, *args):
    done = bench("--short", "--no-peers", "--runs", "2", *args, env=env)
    return done, json.loads((Path(env["PTNETMAP_BUILD"]) / "bench.json").read_text())


def test_the_rest_is_reported_when_one_fails(tmp_path):
    """And that it has failed, with the last line that it said."""
    env = build_with(tmp_path, limit="echo '{\"count\": 1000, \"seconds\": 1}'", measure="""case $1 in
        vale) echo more >&2; echo nobody listens >&2; exit 1 ;;
        *) echo '{"count": 800, "sent": 0, "seconds": 1, "extra": [0, 0, 0, 0]}' ;; esac""")
    done, report = bench_in(env, "--only", "vale_60", "pipe_60")
    assert done.returncode == 1
    assert report["failed"] == {"vale_60": "nobody listens"}
    assert [(r["scenario"], r["limit_share"], r["runs"]) for r in report["results"]] == [("pipe_60", 0.8, 2)]
    assert "nobody listens" in done.stdout and "pipe_60" in done.stdout


def test_nothing_gets_through(tmp_path):
    """That is a result as well, and ends no report."""
    env = build_with(tmp_path, limit="echo '{\"count\": 1000, \"seconds\": 1}'",
                     measure="echo '{\"count\": 0, \"sent\": 0, \"seconds\": 1, \"extra\": [0, 0, 0, 0]}'")
    done, report = bench_in(env, "--only", "macs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {r["scenario"]: r["value"] for r in report["results"]} == {"macs1_60": 0, "macs100k_60": 0}


def test_runs_whose_limit_moves_are_repeated(tmp_path):
    """Each run's own limit counts; a run that saw it move is not in the figure, if a steady one can be had."""
    (tmp_path / "turn").write_text("")
    # Runs of the limit: the machine gets slower after the first, and stays so.
    env = build_with(tmp_path, limit=f"""echo >>{tmp_path}/turn
        [ $(wc -l <{tmp_path}/turn) -le 1 ] && echo '{{"count": 4000, "seconds": 1}}' || echo '{{"count": 1000, "seconds": 1}}'""",
                     measure="""echo '{"count": 500, "sent": 0, "seconds": 1, "extra": [0, 0, 0, 0]}'""")
    _, report = bench_in(env, "--only", "pipe_60")
    (row,) = report["results"]
    assert (row["limit_share"], row["limit_moved"], row["runs"]) == (0.5, 0, 2)
    # They never stand still: it is said.
    (tmp_path / "always").mkdir()
    env = build_with(tmp_path / "always", limit=f"""echo >>{tmp_path}/turn
        echo "{{\\"count\\": $(wc -l <{tmp_path}/turn)000, \\"seconds\\": 0.$(( $(wc -l <{tmp_path}/turn) % 2 ))1}}\"""",
                     measure="""echo '{"count": 500, "sent": 0, "seconds": 1, "extra": [0, 0, 0, 0]}'""")
    done, report = bench_in(env, "--only", "pipe_60")
    (row,) = report["results"]
    assert row["limit_moved"] == 2
    assert "limit moved in 2 of 2 runs" in done.stdout


@pytest.mark.parametrize("args, says", [
    (["--cpus", "one"], "is not CLIENT,WORKER"),
    (["--only", "nothing"], "no scenario begins with nothing"),
    (["--wrong"], "--wrong"),
])
def test_wrong_arguments(args, says):
    done = bench(*args)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]


@pytest.mark.skipif(why_no_nic() is not None, reason=f"needs root, veth and AF_XDP: {why_no_nic()}")
def test_report_of_nics():
    done = subprocess.run([str(ROOT / "bench/nic"), "--runs", "1", "--seconds", "0.2"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {(r["what"], r["by"]): r for r in json.loads((BUILD / "nic-bench.json").read_text())}
    assert set(rows) == {(what, by) for what in ("send", "receive", "forward") for by in ("bare", "netmapd", "af_packet")}
