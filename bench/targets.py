# SPDX-License-Identifier: BSD-2-Clause
"""What the figures of bench/run are to be, on any machine: ratios, never rates.

A figure is a path into a row of the report: limit_share (of the bare loop; of the bare round trip for trip_*), cost.X (of a packet,
against scenario X's), scale.X (packets, against X's), peers.X (packets, against that peer's). Targets of scenarios that were
asked for and have no figure are not judged, which is told; where nothing gets through they are missed.
"""

from dataclasses import dataclass


@dataclass
class Target:
    scenario: str
    figure: str
    at_least: float = 0
    at_most: float = 0
    why: str = ""

    @property
    def wanted(self):
        return f"at least {self.at_least:g}" if self.at_least else f"at most {self.at_most:g}"

    def met(self, value):
        return value >= self.at_least if self.at_least else value <= self.at_most


TARGETS = [
    Target("vale_60", "limit_share", at_least=0.75),
    Target("vale_60", "peers.vhost", at_least=2),
    Target("vale_1514", "limit_share", at_least=0.85),
    Target("pipe_60", "limit_share", at_least=0.75),
    Target("pipe_60", "peers.memif", at_least=1.5),
    Target("ports16_1514", "limit_share", at_least=0.7, why="the bare loop has as many buffers"),
    Target("macs1k_60", "cost.macs1_60", at_most=1.15),
    Target("macs100k_60", "cost.macs1_60", at_most=1.4),
    Target("local_vale_monitored_60", "cost.local_vale_60", at_most=1.3, why="the price of the copy that it makes"),
    Target("trip_asleep", "limit_share", at_least=0.38, why="1.3 times two bare wake-ups each way"),
    Target("workers2_60", "scale.vale_60", at_least=1.8),
    Target("workers4_60", "scale.vale_60", at_least=3.4),
]


def figure(row, path):
    """The number at a path of a row, or None."""
    for key in path.split("."):
        row = row.get(key) if isinstance(row, dict) else None
    return row


def verdict(target, row):
    """(figure, met); (None, None): not judged."""
    if row.get("value") == 0:
        return 0, False
    value = figure(row, target.figure)
    return (None, None) if value is None else (value, target.met(value))


def judged(rows, wanted):
    """A dict for each target of the scenarios with these names."""
    by_name = {r["scenario"]: r for r in rows}
    out = []
    for t in TARGETS:
        if t.scenario in wanted:
            value, met = verdict(t, by_name.get(t.scenario, {}))
            out.append({"scenario": t.scenario, "figure": t.figure, "value": value, "wanted": t.wanted, "met": met, "why": t.why})
    return out


def all_met(judged_ones):
    """Peers may be missing; nothing else may."""
    return all(t["met"] or (t["met"] is None and t["figure"].startswith("peers.")) for t in judged_ones)
