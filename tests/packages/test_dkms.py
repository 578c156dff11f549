#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""netmap-dkms: made for the packaged kernels of Debian 12 and 13, and when one is installed; loaded in a guest, at boot; removed."""

import re

import pytest

from lab import System, build_packages

pytestmark = [pytest.mark.everything, pytest.mark.xdist_group("packages-service")]


def made(system):
    out = system.run("dkms status netmap")
    return re.findall(r"^netmap/0\.1\.0, (\S+), x86_64: installed", out, re.M)


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_built_and_loaded(suite, tmp_path):
    with System(suite, "boot") as system:
        version = (system.source / "version").read_text().strip()
        before, packages = system.files(), build_packages()
        system.install(*(packages[name] for name in ("netmap-dkms", "ptnetmap-tools", "libnetmap1")))
        assert made(system) == [version]
        # A kernel that is installed has its package call those who wait for it.
        system.run(f"dkms unbuild netmap/0.1.0 -k {version}")
        assert made(system) == [] and not list((system.root / "usr/lib/modules").rglob("netmap.ko*"))
        system.run(f"INITRD=No dpkg-reconfigure linux-image-{version}")
        assert made(system) == [version]
        with system.boot(tmp_path, name=f"packages-dkms-{suite}") as guest:
            guest.run("timeout 600 systemctl is-system-running --wait", timeout=600, check=False)
            assert re.search(r"^netmap ", guest.run("cat /proc/modules").out, re.M) and guest.run("test -c /dev/netmap")
            guest.run("modprobe -r netmap && test ! -e /dev/netmap && modprobe netmap && test -c /dev/netmap")
            guest.run("(pkt-gen -i vale3:b -f rx -n 200 -T 100 --check >/tmp/rx 2>&1) & "
                      "for i in $(seq 600); do vale-ctl | grep -q vale3:b && break; sleep 0.1; done; "
                      "pkt-gen -i vale3:a -f tx -n 200 -T 100 --check && wait && grep 'received 200 lost 0' /tmp/rx")
            guest.assert_clean_log()
        system.run("dpkg -P netmap-dkms ptnetmap-tools libnetmap1")
        # Others': the agent, dkms's key to sign with, systemd's links, what depmod writes.
        others = r"agent|var/lib/dkms/mok\.|lib/modules/[^/]*/modules\.|etc/systemd/system/[^/]*$"
        left = {f for f in system.files() - before if not re.search(others, f)}
        assert left == set(), left
