# SPDX-License-Identifier: BSD-2-Clause
"""Debian systems to try packages in: trees in memory, and guests that boot one.

A System is a Debian of setup/debian in a tmpfs that only its own mount namespace sees: `with System("trixie", "base") as s`.
Its root is a path that we can use as well. boot() writes it into a disk image, and boots that with systemd. Processes run a
script in it, and are asked like a guest.
"""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import ptnguest     # found by conftest.py
from ptnguest import initramfs

REPO = Path(__file__).resolve().parents[2]

NAMES = ["netmapd", "libnetmap1", "libnetmap-dev", "ptnetmap-tools", "netmap-dkms"]
USER_SPACE = [name for name in NAMES if name != "netmap-dkms"]

_AGENT = """[Unit]
Description=runs commands for the tests
DefaultDependencies=no
After=systemd-udevd.service local-fs.target

[Service]
ExecStart=/usr/local/sbin/agent {port}
Environment=HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

[Install]
WantedBy=multi-user.target
"""


def run(*args, **kwargs):
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=1800, **kwargs)
    assert done.returncode == 0, f"{args}: {done.stdout[-4000:]}"
    return done.stdout


def host_suite():
    return re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M).group(1)


def debian(suite, kind):
    """The directory of setup/debian: root.tar and, of "boot", the kernel."""
    done = subprocess.run([REPO / "setup/debian", suite, kind], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


def build_packages(suite=None):
    """{name: path} of the packages, made in a Debian of that suite, or here; without those of debug symbols. PTNETMAP_DEBS: a
    directory of packages to try instead."""
    run(REPO / "setup/packages", "build", "packages")   # what makes and tries them
    if os.environ.get("PTNETMAP_DEBS"):
        paths = Path(os.environ["PTNETMAP_DEBS"]).glob("*.deb")
    else:
        done = subprocess.run([REPO / "setup/deb", *(["--suite", suite] if suite else [])], stdout=subprocess.PIPE, text=True, check=True)
        paths = map(Path, done.stdout.split())
    found = {p.name.split("_")[0]: p for p in paths if "-dbgsym" not in p.name}
    assert sorted(found) == sorted(NAMES)
    return found


class System:
    def __init__(self, suite, kind):
        self.suite, self.kind, self.source = suite, kind, debian(suite, kind)

    def __enter__(self):
        script = ('mount -t tmpfs -o size=6G,mode=755 none /mnt && tar -C /mnt -xf "$0" && mount -t tmpfs none /mnt/dev/shm && echo ready '
                  '&& exec sleep infinity')
        self._holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "-m", "sh", "-c", script, self.source / "root.tar"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.root = Path(f"/proc/{self._holder.pid}/root/mnt")
        try:
            assert self._holder.stdout.readline() == "ready\n", "no Debian in memory"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    def command(self, command):
        """Arguments that run a shell command in it, with processes and a /proc of its own."""
        script = 'mount -t proc proc /mnt/proc && exec chroot /mnt sh -c "$0"'
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt",
                "unshare", "-m", "-p", "-f", "--kill-child", "sh", "-c", script, command]

    ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}

    def run(self, command, status=0):
        done = subprocess.run(self.command(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              stdin=subprocess.DEVNULL, timeout=1200, env=self.ENVIRONMENT)
        assert done.returncode == status, f"{command}: {done.stdout}"
        return done.stdout

    def bring(self, *paths, to="tmp"):
        (self.root / to).mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copy(path, self.root / to)

    def install(self, *debs):
        self.bring(*debs)
        out = self.run("dpkg -i " + " ".join(f"/tmp/{Path(deb).name}" for deb in debs))
        for deb in debs:
            (self.root / "tmp" / Path(deb).name).unlink()
        return out

    def files(self):
        """All that there is, but what dpkg, its helpers and their logs keep for themselves."""
        found = run("find", f"{self.root}/", "-xdev", "-not", "-type", "s", "-printf", "%P\\n").splitlines()
        own = re.compile(r"(var/lib/dpkg|var/cache|var/log|var/lib/systemd/deb-systemd-helper|var/lib/apt|proc|dev|tmp|run/adduser)(/|$)"
                         r"|etc/\w+-$")
        return {f for f in found if not own.match(f)}

    def accounts(self):
        return [(self.root / "etc" / name).read_text() for name in ("passwd", "group", "shadow")]

    def boot(self, place, **kwargs):
        """A guest of this tree as it is now: systemd, and the agent as a service. To be closed by the caller."""
        kernel = ptnguest.Kernel(self.suite, self.source)
        shutil.copy(initramfs.build_agent(), self.root / "usr/local/sbin/agent")
        (self.root / "etc/systemd/system/agent.service").write_text(_AGENT.format(port=initramfs.PORT_DEVICE))
        (self.root / "etc/fstab").write_text("")
        (self.root / "etc/hostname").write_text(f"{self.suite}\n")
        self.run("systemctl enable agent.service; systemctl mask serial-getty@ttyS0 getty@tty1 systemd-timesyncd apt-daily.timer "
                 "apt-daily-upgrade.timer e2scrub_reap.service")
        image = self.write_disk(place)
        ramdisk = ptnguest.build_initramfs(kernel, modules=initramfs.DISK_MODULES)
        return ptnguest.Guest(kernel, ramdisk, cmdline="guest.disk rw systemd.show_status=no", args=disk_args(image),
                              **{"memory": "1G", **kwargs})

    def write_disk(self, place):
        """The tree as it is now becomes a disk image; its path."""
        image = place / "disk.img"
        run("mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum,^has_journal,^64bit", "-d", f"{self.root}/", image, "3G")
        return image


def disk_args(image):
    """Arguments for QEMU."""
    return ["-drive", f"file={image},if=none,id=disk,format=raw,cache=unsafe", "-device", "virtio-blk-pci,drive=disk"]


class Process:
    def __init__(self, child):
        self.child, self.output = child, ""

    def kill(self):
        os.killpg(self.child.pid, signal.SIGKILL)

    def wait(self, timeout=30):
        self.output, _ = self.child.communicate(timeout=timeout)
        return ptnguest.Result(self.child.returncode, self.output)


class Processes:
    """What a script has started in a System, with processes and a network of its own; run() and spawn() are a Guest's."""

    def __init__(self, system, script):
        self.system = system
        args = system.command(f"set -e\n{script}\necho started\nexec sleep infinity")
        at = args.index("-f")
        self.process = subprocess.Popen([*args[:at], "-n", *args[at:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, env=self.environment())
        said = []
        for line in self.process.stdout:
            if line == "started\n":
                break
            said.append(line)
        else:
            raise AssertionError(f"it doesn't start: {''.join(said)}")
        self.pid = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0]

    def environment(self):
        return {**self.system.ENVIRONMENT, "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}

    def spawn(self, command):
        return Process(subprocess.Popen(["nsenter", "-t", self.pid, "-m", "-p", "-n", "-r", "-w", "sh", "-c", command],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env=self.environment(), start_new_session=True))

    def run(self, command, timeout=30, check=True):
        result = self.spawn(command).wait(8 * timeout)
        assert not check or result.rc == 0, f"{command}: {result.rc}: {result.out}"
        return result

    def close(self):
        self.process.kill()      # --kill-child: the namespace's first process goes, and all others with it
        self.process.wait()
        self.process.stdout.close()
