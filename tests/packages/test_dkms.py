#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""netmap-dkms: made for the packaged kernels of Debian 12 and 13, and for a second one when that is installed; loaded in a guest, at
boot; removed. The module from the source tree for an installed kernel."""

import re

import pytest

from lab import REPO, System, build_packages, debian, run

pytestmark = [pytest.mark.everything, pytest.mark.xdist_group("packages-service")]


def made(system):
    out = system.run("dkms status netmap")
    return sorted(re.findall(r"^netmap/0\.1\.0, (\S+), x86_64: installed", out, re.M))


def packages(system):
    return set(system.run("dpkg-query -f '${Package}\\n' -W").split())


def second_kernel(system, suite, version):
    """Its package calls those who wait for kernels, when it comes and when it goes: dkms makes the module, and removes it."""
    before = packages(system)
    system.run("mkdir /tmp/debs")
    system.bring(*debian(suite, "second").glob("*.deb"), to="tmp/debs")
    system.run("INITRD=No dpkg -i /tmp/debs/*.deb && rm -r /tmp/debs")
    second, = (name.removeprefix("vmlinuz-") for name in system.run("ls /boot").split() if name.startswith("vmlinuz-") and
               name != f"vmlinuz-{version}")
    assert made(system) == sorted([version, second])
    assert system.run(f"modinfo -k {second} -F vermagic netmap").split()[0] == second
    # What came with it, and no newer version of what was there: that has other users.
    system.run(f"INITRD=No dpkg -P {' '.join(packages(system) - before)}")
    assert made(system) == [version]


def module_of_tree(system, version):
    """As docs/howto.md has it, with the compiler and the headers of that system."""
    tree = system.root / "tmp/tree"
    tree.mkdir()
    for room in "Makefile", "setup", "linux", "core", "include":
        run("cp", "-r", REPO / room, tree)
    system.run(f"cd /tmp/tree && HOME=/root make module KERNEL=/lib/modules/{version}/build && test -e build/module/installed/netmap.ko")
    system.run(f"modinfo -F vermagic /tmp/tree/build/module/installed/netmap.ko | grep -q ^{version} && rm -r /tmp/tree")


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_built_and_loaded(suite, tmp_path):
    with System(suite, "boot") as system:
        version = (system.source / "version").read_text().strip()
        before, debs = system.files(), build_packages()
        system.install(*(debs[name] for name in ("netmap-dkms", "ptnetmap-tools", "libnetmap1")))
        assert made(system) == [version]
        second_kernel(system, suite, version)
        if suite == "trixie":
            module_of_tree(system, version)
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
