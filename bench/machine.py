# SPDX-License-Identifier: BSD-2-Clause
"""The machine that is measured: its CPUs, who else uses them, what it is."""

import os
import platform
import re
import time
from pathlib import Path


def first(pattern, path, default=""):
    """What the first match in a file holds."""
    try:
        found = re.search(pattern, Path(path).read_text(errors="replace"), re.M)
    except OSError:
        return default
    return found.group(1).strip() if found else default


def cpus():
    """Those that may be used, one of each core first: the others are second threads of these."""
    allowed = sorted(os.sched_getaffinity(0))
    ours, threads = [], []
    for cpu in allowed:
        siblings = first(r"(.*)", f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", str(cpu))
        of_core = {n for part in siblings.split(",") for n in in_range(part)}
        (threads if of_core & set(ours) else ours).append(cpu)
    return ours + threads


def in_range(text):
    begin, _, end = text.partition("-")
    return range(int(begin), int(end or begin) + 1)


def busy_seconds(wanted):
    """CPU time that anybody has used on these CPUs, the hypervisor's other guests included."""
    names = {f"cpu{c}" for c in wanted}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    ticks = sum(sum(map(int, (f[1], f[2], f[3], f[6], f[7], f[8]))) for f in lines if f and f[0] in names)
    return ticks / os.sysconf("SC_CLK_TCK")


def described():
    return {
        "cpu": first(r"^model name\s*:\s*(.*)$", "/proc/cpuinfo", platform.machine()),
        "cpus": os.cpu_count(),
        "virtual": bool(re.search(r"\bhypervisor\b", Path("/proc/cpuinfo").read_text())),
        "memory_gib": round(int(first(r"^MemTotal:\s*(\d+)", "/proc/meminfo", "0")) / 2**20, 1),
        "kernel": platform.release(),
        "system": first(r'^PRETTY_NAME="(.*)"', "/etc/os-release"),
        "date": time.strftime("%Y-%m-%d"),
    }
