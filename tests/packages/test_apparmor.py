#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""AppArmor that confines: a Debian 13 is booted, its libvirtd starts domains with ports under their profiles, with and without the rules
of netmap-libvirt(7)."""

import json
import re

import pytest

from lab import USER_SPACE, System, build_packages
from test_libvirt import page_commands

pytestmark = [pytest.mark.everything, pytest.mark.xdist_group("packages-apparmor")]

BOOT, LONG = 600, 60    # seconds; emulated, and at the worst eight times as much (Guest.run)
QEMU, LIBVIRTD = "/etc/apparmor.d/local/abstractions/libvirt-qemu", "/etc/apparmor.d/local/usr.sbin.libvirtd"

DOMAIN = """<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>one</name>
  <memory unit='MiB'>128</memory>
  {fragment}
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    packages = build_packages("trixie")
    with System("trixie", "apparmor") as system:
        system.install(*(packages[name] for name in USER_SPACE))
        (system.root / "etc/libvirt/hooks/qemu.d").mkdir(parents=True)
        (system.root / "etc/libvirt/hooks/qemu.d/netmap").symlink_to("/usr/share/ptnetmap/libvirt/netmap-libvirt-hook")
        (system.root / "etc/netmapd/policy.conf").write_text("allow user libvirt-qemu port vale1:*\n")
        guest = system.boot(tmp_path_factory.mktemp("guest"), name="packages-apparmor", memory="2G").start(120)
        try:
            guest.run(f"timeout {BOOT} systemctl is-system-running --wait", timeout=BOOT, check=False)
            fragment = guest.run("qemu-ptnet --libvirt-xml -name one -nic netmap,ifname=vale1:one,passthrough=on", timeout=LONG).out
            guest.run(f"cat >/root/one.xml <<'EOF'\n{DOMAIN.format(fragment=fragment)}EOF")
            guest.run(f"cp -a {LIBVIRTD} /root/libvirtd.before")
            yield guest
        finally:
            guest.close()


@pytest.fixture
def domain(guest):
    """Defined, with profiles as Debian has them; the test takes what it wants of the page's rules."""
    guest.run(f"rm -f {QEMU}; cp -a /root/libvirtd.before {LIBVIRTD}; apparmor_parser -r /etc/apparmor.d/usr.sbin.libvirtd", timeout=LONG)
    guest.run("virsh define /root/one.xml", timeout=LONG)
    yield "one"
    guest.run("virsh destroy one", timeout=LONG, check=False)
    guest.run("virsh undefine one", timeout=LONG)
    assert guest.run("netmapctl list").out == "" and guest.run("ls -A /run/ptnetmap 2>/dev/null", check=False).out == ""


def take_rules(guest, but=None):
    """As the page has them, but for that one."""
    commands = page_commands("APPARMOR", "FILES")
    assert sum(QEMU in c for c in commands) == 1 and sum(f">>{LIBVIRTD}" in c for c in commands) == 1
    for command in commands[:-1]:
        guest.run(command)
    if but:
        guest.run(f"cat {QEMU} {LIBVIRTD} | grep -qF '{but}'")
        guest.run(f"for f in {QEMU} {LIBVIRTD}; do grep -vF '{but}' $f >/tmp/rest; cat /tmp/rest >$f; done")
    guest.run(commands[-1], timeout=LONG)


def profiles(guest):
    """{name: mode} of those that are loaded, and {profile: mode} of the processes that have one."""
    status = json.loads(guest.run("aa-status --json", timeout=LONG).out)
    processes = {p["profile"]: p["status"] for found in status["processes"].values() for p in found}
    return status["profiles"], processes


def test_with_the_rules(guest, domain):
    """libvirtd and its QEMU are confined; the domain has its port, as long as it runs."""
    take_rules(guest)
    guest.run("virsh start --paused one", timeout=LONG)
    loaded, processes = profiles(guest)
    uuid = guest.run("virsh domuuid one", timeout=LONG).out.strip()
    assert loaded["libvirtd"] == "enforce" and loaded[f"libvirt-{uuid}"] == "enforce"
    assert processes["libvirtd"] == "enforce" and processes[f"libvirt-{uuid}"] == "enforce", processes
    assert guest.run("cat /proc/$(cat /run/libvirt/qemu/one.pid)/attr/current").out == f"libvirt-{uuid} (enforce)\n"
    assert guest.run("netmapctl list").out == "vale1:one\n"
    assert guest.run("virsh domstate one", timeout=LONG).out.strip() == "paused"
    # The hook, and who owns the ports for it, run without a profile.
    assert guest.run("cat /proc/$(cat /run/ptnetmap/one/pid)/attr/current").out == "unconfined\n"
    guest.run("virsh destroy one", timeout=LONG)
    assert guest.run("netmapctl list").out == ""


@pytest.mark.parametrize("rule, said", [
    ("/run/ptnetmap/** r,", "no-migration.*Permission denied"),
    ("/usr/share/ptnetmap/libvirt/netmap-libvirt-hook PUx,", "netmap.*Permission denied"),
], ids=["qemu", "hook"])
def test_without_a_rule(guest, domain, rule, said):
    """What shows that the profiles confine: the domain doesn't start, and nothing is left. The rule for netmapd's sockets is for
    AppArmors that look at who connects to one, as Debian 13's doesn't."""
    take_rules(guest, but=rule)
    result = guest.run("virsh start --paused one", timeout=LONG, check=False)
    assert result.rc != 0 and re.search(said, result.out, re.S), result.out
    assert guest.run("virsh domstate one", timeout=LONG).out.strip() == "shut off"
