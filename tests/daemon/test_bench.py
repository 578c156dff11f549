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

# The reports have one place in the build.
pytestmark = [pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark wants two CPUs"), pytest.mark.xdist_group("bench")]


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
    assert [(t["scenario"], t["met"]) for t in report["targets"]] == [("macs100k_60", False)]


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


WITH_EIGHT_CPUS = f"""
import os, runpy, sys
os.sched_getaffinity = lambda pid: set(range(8))
sys.path.insert(0, "{RUN.parent}")
sys.argv[0] = "{RUN}"
runpy.run_path("{RUN}", run_name="__main__")
"""


def test_several_workers(tmp_path):
    """Each worker and each client has a CPU, the limit is that many bare loops; what this machine is too small for is said."""
    env = build_with(tmp_path, limit=f"""echo "limit $*" >>{tmp_path}/calls; echo '{{"count": 10000000, "seconds": 1}}'""",
                     measure=f"""echo "measure $*" >>{tmp_path}/calls
        case $1 in vale) n=8 ;; *) n=14 ;; esac
        printf '{{"count": %s000000, "sent": 0, "seconds": 1, "extra": [0, 0, 0, 0]}}' $n""")
    args = ["--no-peers", "--runs", "1", "--targets", "--only", "vale_60", "workers"]
    done = subprocess.run(["python3", "-c", WITH_EIGHT_CPUS, *args], capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 3, done.stdout + done.stderr  # four workers carry no more than two
    report = json.loads((tmp_path / "bench.json").read_text())
    rows = {r["scenario"]: (r["value"], r.get("limit"), r.get("scale")) for r in report["results"]}
    assert rows == {"vale_60": (8, 10, None), "workers2_60": (14, 20, {"vale_60": 1.75}), "workers4_60": (14, 40, {"vale_60": 1.75})}
    calls = (tmp_path / "calls").read_text()
    cpus = [call.split("--cpus ")[1].split()[0].split(",") for call in calls.splitlines() if call.startswith("measure workers")]
    assert sorted(len(set(c)) for c in cpus) == [4, 8]
    assert [(t["scenario"], t["met"]) for t in report["targets"]] == [
        ("vale_60", True), ("vale_60", None), ("workers2_60", False), ("workers4_60", False)]   # the second: over a peer
    assert "target MISSED: workers2_60 scale.vale_60 1.75, wanted at least 1.8" in done.stdout


@pytest.mark.skipif(len(os.sched_getaffinity(0)) >= 8, reason="this machine has CPUs enough")
def test_a_machine_that_is_too_small():
    """It fails nothing; its targets are not judged, and so not met."""
    done = bench("--no-peers", "--runs", "1", "--only", "workers4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "target not judged: workers4_60 scale.vale_60, wanted at least 3.4" in done.stdout
    assert bench("--no-peers", "--runs", "1", "--targets", "--only", "workers4").returncode == 3
    assert "workers4_60" in done.stdout and "needs 8 CPUs, there are" in done.stdout


def test_two_workers_on_any_machine():
    """All that is sent on a switch with two workers arrives, or is counted as lost."""
    cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2])
    command = [BUILD / "bench/measure", "workers", "--seconds", "0.2", "--cpus", f"{cpus},{cpus}", BUILD / "netmapd/netmapd"]
    for _ in range(5):  # others may take its CPUs
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        if result["count"]:
            break
    assert 0 < result["count"] <= result["sent"] + 4 * 1023     # what is on its way when the counting begins


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
    done = subprocess.run([str(ROOT / "bench/nic"), "--runs", "1", "--seconds", "0.2"], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {(r["what"], r["by"]): r for r in json.loads((BUILD / "nic-bench.json").read_text())}
    assert set(rows) == {(what, by) for what in ("send", "receive", "forward") for by in ("bare", "netmapd", "af_packet")}
