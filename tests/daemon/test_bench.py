# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark runs, counts what it says, and writes its report. Its numbers decide nothing here."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "bench" / "run"
BUILD = Path(os.environ.get("PTNETMAP_BUILD") or ROOT / "build")

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark wants two CPUs")


def bench(*args):
    return subprocess.run([str(RUN), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=120, check=False)


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


@pytest.mark.parametrize("args, says", [
    (["--cpus", "one"], "is not CLIENT,WORKER"),
    (["--only", "nothing"], "no scenario begins with nothing"),
    (["--wrong"], "--wrong"),
])
def test_wrong_arguments(args, says):
    done = bench(*args)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]
