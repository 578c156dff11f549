#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The Debian packages: built, looked at by lintian, and installed, upgraded and purged in a clean system."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("PTNETMAP_CACHE") or Path.home() / ".cache/ptnetmap")
NAMES = ["netmapd", "libnetmap1", "libnetmap-dev", "ptnetmap-tools", "netmap-dkms"]
# What they depend on; of netmap-dkms only the source is tried: dkms brings a compiler and headers.
DEPENDENCIES = "adduser,libjansson4,libpcap0.8"

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="a system in a directory wants root"),
    pytest.mark.xdist_group("packages"),
]


def run(*args, **kwargs):
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=1800, **kwargs)
    assert done.returncode == 0, f"{args}: {done.stdout[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def packages():
    """{name: path}, and no others but those with debug symbols."""
    run(REPO / "setup/packages", "build", "packages")
    paths = [Path(line) for line in run(REPO / "setup/deb").splitlines() if line.endswith(".deb")]
    found = {p.name.split("_")[0]: p for p in paths if "-dbgsym" not in p.name}
    assert sorted(found) == sorted(NAMES)
    return found


@pytest.fixture(scope="module")
def base():
    """A minimal Debian of this machine's release, from its own mirror; it is kept in the cache."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = release["VERSION_CODENAME"]
    archive = CACHE / f"packages-{suite}.tar"
    if not archive.exists():
        targets = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages", f"Codename: {suite}")
        assert targets.strip(), f"apt knows no mirror of {suite}"
        root = CACHE / f"packages-{suite}.new"
        shutil.rmtree(root, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={DEPENDENCIES}", suite, root, targets.split()[0])
        run("tar", "-C", root, "-cf", f"{archive}.new", ".")
        os.rename(f"{archive}.new", archive)
        shutil.rmtree(root)
    return archive


class System:
    def __init__(self, root):
        self.root = root

    def run(self, command, status=0):
        """A shell command in it, with processes and a /proc of its own."""
        script = 'mount -t proc proc "$0/proc" && mount -t tmpfs none "$0/dev/shm" && exec chroot "$0" sh -c "$1"'
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        done = subprocess.run(
            ["unshare", "-m", "-p", "-f", "sh", "-c", script, self.root, command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, stdin=subprocess.DEVNULL, timeout=600, env=env,
        )
        assert done.returncode == status, f"{command}: {done.stdout}"
        return done.stdout

    def install(self, *debs):
        for deb in debs:
            shutil.copy(deb, self.root / "tmp")
        out = self.run("dpkg -i " + " ".join(f"/tmp/{Path(deb).name}" for deb in debs))
        for deb in debs:
            (self.root / "tmp" / Path(deb).name).unlink()
        return out

    def files(self):
        """All that there is, but what dpkg, its helpers and their logs keep for themselves."""
        found = run("find", self.root, "-xdev", "-not", "-type", "s", "-printf", "%P\\n").splitlines()
        own = re.compile(r"(var/lib/dpkg|var/cache|var/log|var/lib/systemd/deb-systemd-helper|var/lib/apt|proc|dev|tmp|run/adduser)(/|$)"
                         r"|etc/\w+-$")
        return {f for f in found if not own.match(f)}

    def accounts(self):
        return [(self.root / "etc" / name).read_text() for name in ("passwd", "group", "shadow")]


@pytest.fixture
def system(base, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    run("tar", "-C", root, "-xf", base)
    yield System(root)
    shutil.rmtree(root, ignore_errors=True)


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
            path = line.split(None, 5)[5].split(" -> ")[0]
            if not path.endswith("/") and "/doc/" not in path:
                assert path not in where, f"{path}: in {where.get(path)} and {name}"
                where[path] = name
    for path, name in {
        "usr/sbin/netmapd": "netmapd", "usr/sbin/netmapd-nic": "netmapd", "lib/systemd/system/netmapd.socket": "netmapd",
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


def test_sandbox(packages, tmp_path):
    """What systemd finds open in the services: at most 2.0 of 10; of the metrics, which reach the network, as much."""
    for package, name in ("netmapd", "netmapd"), ("ptnetmap-tools", "netmapd-metrics"):
        run("dpkg-deb", "-x", packages[package], tmp_path / package)
        unit = tmp_path / package / f"lib/systemd/system/{name}.service"
        text = unit.read_text()
        assert "@" not in re.sub(r"@(system-service|privileged|resources)", "", text), "something was not replaced"
        unit.write_text(text.replace("Requires=netmapd.socket\n", ""))
        out = run("systemd-analyze", "security", "--offline=true", unit)
        assert float(re.search(r"exposure level for \S+: ([0-9.]+)", out).group(1)) <= 2.0, out


def other_version(deb, version, place):
    """The same package, of another version."""
    run("dpkg-deb", "-R", deb, place)
    control = place / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", f"Version: {version}", control.read_text(), flags=re.M))
    out = place.parent / f"{deb.name.split('_')[0]}_{version}.deb"
    run("dpkg-deb", "-b", place, out)
    return out


def test_install_upgrade_purge(packages, system, tmp_path):
    """Installed, it works; upgraded, it keeps what the administrator wrote; purged, nothing is left."""
    before, accounts = system.files(), system.accounts()
    system.install(*(packages[name] for name in ("netmapd", "libnetmap1", "libnetmap-dev", "ptnetmap-tools")))
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
    system.run("dpkg -P netmapd ptnetmap-tools libnetmap-dev libnetmap1; rm -f /tmp/ports")
    left = system.files() - before
    assert left == set(), left
    assert system.accounts() == accounts
