#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The Debian packages: built, looked at by lintian, and installed, upgraded and purged in a clean system."""

import re
import shutil
import subprocess

import pytest

from lab import REPO, USER_SPACE, System, build_packages, host_suite, run

HOST = host_suite()
# Those that this machine makes are tried in its own release and in Debian 13; and those that are made in a Debian 13, by its compiler.
SYSTEMS = {HOST: HOST, "trixie": HOST, "trixie-made": "trixie"}

pytestmark = pytest.mark.xdist_group("packages")


@pytest.fixture(scope="module")
def packages():
    """{name: path}, and no others but those with debug symbols."""
    return build_packages()


@pytest.mark.everything
def test_made_elsewhere():
    """Debian 13 makes them: no compiler's warning, and its lintian finds no error, no warning."""
    place = build_packages("trixie")["netmapd"].parent
    warnings = re.findall(r"^.*\bwarning: .*", (place / "build.log").read_text(), re.M)
    assert [w for w in warnings if not w.startswith("dpkg-")] == []
    assert re.findall(r"^[EW]: .*", (place / "lintian.log").read_text(), re.M) == []


def test_lintian(packages):
    """No error, no warning. Nobody uploads these packages: no bug to close, no list to write to."""
    local = "bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs"
    out = run("lintian", "--allow-root", "--suppress-tags", local, "--fail-on", "error,warning", *packages.values())
    assert not re.search(r"^[EW]: ", out, re.M), out


def test_contents(packages):
    """Each program, page and unit is in one package."""
    where = {}
    for name, deb in packages.items():
        for line in run("dpkg-deb", "-c", deb).splitlines():
            # Units are in /lib in Debian 12, in /usr/lib from 13 on: both are the same directory.
            path = re.sub(r"^\./lib/", "./usr/lib/", line.split(None, 5)[5].split(" -> ")[0])
            if not path.endswith("/") and "/doc/" not in path:
                assert path not in where, f"{path}: in {where.get(path)} and {name}"
                where[path] = name
    for path, name in {
        "usr/sbin/netmapd": "netmapd", "usr/sbin/netmapd-nic": "netmapd", "usr/lib/systemd/system/netmapd.socket": "netmapd",
        "etc/netmapd/policy.conf": "netmapd", "usr/bin/qemu-ptnet": "ptnetmap-tools", "usr/bin/netmapctl": "ptnetmap-tools",
        "usr/bin/pkt-gen": "ptnetmap-tools", "usr/bin/netmap-run": "ptnetmap-tools", "usr/sbin/vale-ctl": "ptnetmap-tools",
        "usr/sbin/netmap-bridge": "ptnetmap-tools", "usr/include/libnetmap.h": "libnetmap-dev", "usr/include/net/netmap.h": "libnetmap-dev",
        "usr/share/bash-completion/completions/netmapctl": "ptnetmap-tools", "usr/share/ptnetmap/netmapd.rules.yml": "ptnetmap-tools",
        "usr/src/netmap-0.1.0/linux/Kbuild": "netmap-dkms", "usr/src/netmap-0.1.0/dkms.conf": "netmap-dkms",
    }.items():
        assert where.get(f"./{path}") == name, path
    programs = [p for p in where if re.search(r"/s?bin/", p)]
    pages = {re.sub(r"\.\d\.gz$", "", p.split("/")[-1]) for p in where if "/man/" in p}
    assert {p.split("/")[-1] for p in programs} <= pages
    control = subprocess.run(["dpkg-deb", "-I", packages["libnetmap1"], "symbols"], capture_output=True, text=True, check=True)
    assert " nmport_open@LIBNETMAP_1 0.1.0\n" in control.stdout


def test_module_source(packages, tmp_path):
    """netmap.ko compiles from what netmap-dkms installs."""
    run("dpkg-deb", "-x", packages["netmap-dkms"], tmp_path / "x")
    source = tmp_path / "x/usr/src/netmap-0.1.0"
    conf = (source / "dkms.conf").read_text()
    assert 'PACKAGE_VERSION="0.1.0"' in conf and 'AUTOINSTALL="yes"' in conf and "@" not in conf
    out = run(REPO / "setup/module", "6.12", tmp_path / "out", source)
    assert out.strip().endswith("netmap.ko")
    assert (tmp_path / "x/usr/lib/modules-load.d/netmap.conf").read_text().endswith("netmap\n")


# What an administrator writes who wants TAP devices (docs/operators.md).
TAP_LINES = re.search(r"^    \[Service\]\n((?:    \S.*\n)+)", (REPO / "docs/operators.md").read_text(), re.M).group(1).replace("    ", "")


@pytest.mark.parametrize("package, unit, more, most", [
    ("netmapd", "netmapd", "", 2.0), ("netmapd", "netmapd", TAP_LINES, 3.5), ("netmapd", "netmapd-nic", "", 3.5),
    ("ptnetmap-tools", "netmapd-metrics", "", 2.0),
], ids=["netmapd", "netmapd-with-tap", "netmapd-nic", "netmapd-metrics"])
def test_sandbox(packages, tmp_path, package, unit, more, most):
    """What systemd finds open in the services: at most 2.0 of 10; of those that have devices, 3.5."""
    run("dpkg-deb", "-x", packages[package], tmp_path / package)
    unit = next((tmp_path / package).rglob(f"{unit}.service"))
    text = unit.read_text()
    assert "@" not in re.sub(r"@(system-service|privileged|resources)", "", text), "something was not replaced"
    unit.write_text(text.replace("Requires=netmapd.socket\n", "").replace("\n[Install]", f"{more}\n[Install]"))
    out = run("systemd-analyze", "security", "--offline=true", unit)
    assert float(re.search(r"exposure level for \S+: ([0-9.]+)", out).group(1)) <= most, out


def other_version(deb, version, place):
    """The same package, of another version."""
    run("dpkg-deb", "-R", deb, place)
    control = place / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", f"Version: {version}", control.read_text(), flags=re.M))
    out = place.parent / f"{deb.name.split('_')[0]}_{version}.deb"
    run("dpkg-deb", "-b", place, out)
    return out


@pytest.mark.parametrize("name", [n if n != "trixie-made" else pytest.param(n, marks=pytest.mark.everything) for n in SYSTEMS])
def test_install_upgrade_purge(name, packages, tmp_path):
    """Installed, it works; upgraded, it keeps what the administrator wrote; purged, nothing is left."""
    with System(name.split("-")[0], "base") as system:
        install_upgrade_purge(packages if SYSTEMS[name] == HOST else build_packages(SYSTEMS[name]), system, tmp_path)


def install_upgrade_purge(packages, system, tmp_path):
    before, accounts = system.files(), system.accounts()
    system.install(*(packages[name] for name in USER_SPACE))
    assert system.run("netmapd --version") == "netmapd 0.1.0\n" and "netmap" in system.run("getent passwd netmap; getent group netmap")
    enabled = system.root / "etc/systemd/system"
    assert (enabled / "sockets.target.wants/netmapd.socket").is_symlink()
    assert (enabled / "multi-user.target.wants/netmapd.service").is_symlink()
    assert not (enabled / "multi-user.target.wants/netmapd-nic.service").exists()
    shutil.copy(REPO / "debian/tests/ports", system.root / "tmp/ports")
    out = system.run("sh /tmp/ports")
    assert "received 1000 lost 0 reordered 0 duplicate 0 corrupt 0" in out
    # As the service is started, and as an ordinary user sees it.
    system.run("mkdir -p /run/netmapd && chown netmap: /run/netmapd && setpriv --reuid netmap --regid netmap --clear-groups "
               "netmapd --socket /run/netmapd/socket --policy /etc/netmapd/policy.conf --nic off --background && "
               "setpriv --reuid 1234 --regid 1234 --clear-groups netmapctl list && netmapctl status")
    policy = system.root / "etc/netmapd/policy.conf"
    policy.write_text("allow all port vale_mine:*\n")
    system.install(other_version(packages["netmapd"], "0.1.0-2", tmp_path / "new"))
    assert policy.read_text() == "allow all port vale_mine:*\n"
    assert system.run("dpkg-query -W -f '${Version}' netmapd") == "0.1.0-2"
    for name in "nic.conf", "saved.conf":
        (system.root / "etc/netmapd" / name).write_text("# an administrator's\n")
    system.run("dpkg -P netmapd ptnetmap-tools libnetmap-dev libnetmap1; rm -f /tmp/ports")
    left = system.files() - before
    assert left == set(), left
    assert system.accounts() == accounts
