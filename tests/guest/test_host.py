# SPDX-License-Identifier: BSD-2-Clause
"""The ptnet driver and a host that shows it nonsense."""

import os
import subprocess
from pathlib import Path

import netlab

MOSTLY_ONE_KERNEL = True     # see conftest.py

SOURCE = netlab.NMCHECK_SOURCE.with_name("hosttail.c")


def memory_of(guest):
    """The file with the memory of a guest, which QEMU and netmapd share."""
    for fd in Path(f"/proc/{guest.pid}/fd").iterdir():
        if os.readlink(fd).startswith("/memfd:") and os.stat(fd).st_size >= 128 << 20:
            return fd
    raise AssertionError("QEMU has no memory in a file")


def test_room_that_comes_and_goes(kernel, netmap_ko, tmp_path):
    """A host moves hwtail to and fro, and never as far as is needed: the queue stops, the CPU that sends does other things, and
    when there is room the queue goes on. That the driver looks a bounded number of times in a row, also at a host that moves hwtail
    between each two looks: nm_csb_appl_wait(), tests/unit/core/test_csb.c."""
    with netlab.Daemon(tmp_path / "netmapd.stderr") as daemon, \
         netlab.Node(kernel, netlab.build_initramfs(kernel, netmap_ko), daemon, 1, f"host-{kernel.line}") as guest:
        guest.load()
        guest.run("ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev data; ping -c 3 -i 0.2 -W 1 10.0.0.9; true")
        host = subprocess.Popen([netlab.build_program(SOURCE), memory_of(guest), "1024"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        try:
            with netlab.killed_after(600, host):
                assert host.stdout.readline() == "look\n"
                guest.run("ping -c 3 -i 0.2 -W 1 10.0.0.9; true")
                host.stdin.write("\n")
                host.stdin.flush()
                assert host.stdout.readline() == "found\n"
                sender = guest.spawn("taskset 1 ping -c 20 -i 0.1 -W 1 10.0.0.9")
                # The same CPU still does other things, and so does the sender.
                guest.run("for i in $(seq 10); do taskset 1 sleep 0.1; done", 60)
                sender.wait(60)
                host.stdin.close()
                assert host.stdout.read() == "ok\n" and host.wait() == 0
        finally:
            host.kill()
            host.wait()
        guest.run("for i in $(seq 100); do ping -c 1 -W 1 10.0.0.9; "
                  "[ $(cat /sys/class/net/data/statistics/tx_packets) -gt 10 ] && exit 0; done; exit 1", 60)
        guest.assert_clean_log()
