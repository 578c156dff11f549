# SPDX-License-Identifier: BSD-2-Clause
"""Builds the initramfs of a guest: busybox, our programs with their libraries, kernel modules."""

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from .env import BUILD

_HERE = Path(__file__).resolve().parent
_AGENT = _HERE.parents[1] / "agent.c"
_CHANNEL_MODULES = ("virtio_pci", "virtio_console")

# The kernel's command line may say "guest.shell": then there is a shell on the
# console besides the agent, and the guest is switched off when it ends; or "guest.disk": then the system
# on the disk is booted, which has the agent as a service of its own.
_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
if grep -q guest.disk /proc/cmdline; then
	for module in {channel} {disk}; do modprobe $module; done
	mkdir /disk
	mount -t ext4 /dev/vda /disk || poweroff -f
	for dir in dev sys proc; do mount -o move /$dir /disk/$dir; done
	exec switch_root /disk /sbin/init
fi
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
for module in {channel}; do modprobe $module; done
ip link set lo up
hostname guest
if grep -q guest.shell /proc/cmdline; then
	(cd /root; setsid cttyhack sh -l; poweroff -f) </dev/console >/dev/console 2>&1 &
fi
if [ -e {port} ]; then exec /bin/agent {port}; fi
exec tail -f /dev/null
"""
PORT_DEVICE = "/dev/vport0p1"
DISK_MODULES = ("virtio_blk", "crc32c_generic", "ext4")    # for a guest that boots from a disk


def _write_cpio(out, entries):
    """Writes entries, {name: (mode, bytes)}, in the "newc" format which the kernel unpacks."""
    def record(number, name, mode, data):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + encoded
        out.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    for number, (name, (mode, data)) in enumerate(sorted(entries.items()), 1):
        record(number, name, mode, data)
    record(0, "TRAILER!!!", 0, b"")


def _libraries(program):
    """Paths of the shared libraries that a program needs, its dynamic linker included."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True)
    if "not a dynamic executable" in done.stdout + done.stderr or "statically linked" in done.stdout:
        return []
    missing = re.findall(r"^\s*(\S+) => not found", done.stdout, re.M)
    if done.returncode != 0 or missing:
        raise RuntimeError(f"{program}: can't find its libraries: {', '.join(missing) or done.stderr.strip()}")
    return [Path(p) for p in re.findall(r"^\s*(?:\S+ => )?(/\S+) \(0x", done.stdout, re.M)]


def _libraries_at_run_time(libraries):
    """What the C library loads by itself: pthread_exit() and pthread_cancel() end the program without it."""
    unwinders = [p.with_name("libgcc_s.so.1") for p in libraries if p.name == "libc.so.6"]
    return [p for p in unwinders if p.exists()]


def _read_module(path):
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", str(path)], stdout=subprocess.PIPE, check=True).stdout
    return path.read_bytes()


def _module_name(path):
    return Path(path).name.split(".ko")[0].replace("-", "_")


class _Modules:
    """The modules of a kernel which a guest gets, in an order which satisfies their dependencies."""

    def __init__(self, kernel):
        self._dir = kernel.modules
        self._deps = {}     # name -> (path below the modules' directory, names)
        self._builtin = {_module_name(p) for p in (self._dir / "modules.builtin").read_text().split()}
        self.chosen = {}    # name -> (path in the guest, source, names of what it needs)
        for line in (self._dir / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            self._deps[_module_name(path)] = (path, [_module_name(n) for n in needs.split()])

    def add(self, name):
        name = name.replace("-", "_")
        if name in self.chosen or name in self._builtin:
            return
        if name not in self._deps:
            raise RuntimeError(f"kernel {self._dir.resolve().name} has no module {name}")
        path, needs = self._deps[name]
        for needed in needs:
            self.add(needed)
        self.chosen[name] = (f"kernel/{name}.ko", self._dir / path, needs)

    def add_file(self, ko):
        """A module of ours."""
        done = subprocess.run(["/sbin/modinfo", "-F", "depends", str(ko)], stdout=subprocess.PIPE, text=True, check=True)
        needs = [n.replace("-", "_") for n in done.stdout.strip().split(",") if n]
        for needed in needs:
            self.add(needed)
        self.chosen[_module_name(ko)] = (f"extra/{Path(ko).name}", Path(ko), needs)

    def _all_needs(self, name):
        """Everything that a module needs, as modprobe wants it: what is loaded first comes last."""
        direct = [n for n in self.chosen[name][2] if n in self.chosen]
        result = []
        for needed in direct:
            for n in [needed, *self._all_needs(needed)]:
                if n in result:
                    result.remove(n)
                result.append(n)
        return result

    def dep_file(self):
        return "".join(f"{path}: {' '.join(self.chosen[n][0] for n in self._all_needs(name))}\n"
                       for name, (path, _, _) in self.chosen.items())


def build_agent():
    """Compiles the agent, statically, unless that was done."""
    out = BUILD / "guest" / ("agent-" + hashlib.sha256(_AGENT.read_bytes()).hexdigest()[:12])
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        new = out.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-static",
                        "-o", str(new), str(_AGENT)], check=True)
        os.replace(new, out)
    return out


def _plan(kernel, programs, modules, kos, files):
    """What goes where: {name in the guest: source path}, and the kernel modules."""
    plan = {"bin/busybox": Path("/bin/busybox"), "bin/agent": build_agent()}
    for item in programs:
        source, name = item if isinstance(item, tuple) else (item, f"bin/{Path(item).name}")
        found = shutil.which(str(source), path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not found:
            raise RuntimeError(f"no program {source} for the guest")
        plan[name.lstrip("/")] = Path(found)
    for source in list(plan.values()):
        libraries = _libraries(source)
        for library in libraries + _libraries_at_run_time(libraries):
            plan[str(library).lstrip("/")] = library
    for name, source in files.items():
        plan[name.lstrip("/")] = Path(source)
    chosen = _Modules(kernel)
    for name in (*_CHANNEL_MODULES, *modules):
        chosen.add(name)
    for ko in kos:
        chosen.add_file(ko)
    for path, source, _ in chosen.chosen.values():
        plan[f"lib/modules/{kernel.version}/{path}"] = source
    return plan, chosen


def _key(plan):
    """Changes whenever an input does."""
    state = [f"{name} {source.resolve()} {source.stat().st_mtime_ns} {source.stat().st_size}"
             for name, source in sorted(plan.items())]
    state.append(Path(__file__).read_text())
    return hashlib.sha256("\n".join(state).encode()).hexdigest()[:16]


def _names(chosen, modules):
    return " ".join(m for m in modules if m in chosen.chosen)


def _entries(kernel, plan, chosen):
    modules = f"lib/modules/{kernel.version}"
    entries = {
        "init": (stat.S_IFREG | 0o755,
                 _INIT.format(channel=_names(chosen, _CHANNEL_MODULES), disk=_names(chosen, DISK_MODULES), port=PORT_DEVICE).encode()),
        f"{modules}/modules.dep": (stat.S_IFREG | 0o644, chosen.dep_file().encode()),
        f"{modules}/modules.alias": (stat.S_IFREG | 0o644, b""),
        f"{modules}/modules.symbols": (stat.S_IFREG | 0o644, b""),
        "etc/passwd": (stat.S_IFREG | 0o644, b"root::0:0:root:/root:/bin/sh\n"),
        "etc/group": (stat.S_IFREG | 0o644, b"root:x:0:\n"),
    }
    applets = subprocess.run(["/bin/busybox", "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for applet in applets.split():
        entries[f"bin/{applet}"] = (stat.S_IFLNK | 0o777, b"busybox")
    for name, source in plan.items():
        data = _read_module(source) if name.startswith(modules) else source.read_bytes()
        entries[name] = (stat.S_IFREG | (0o755 if os.access(source, os.X_OK) else 0o644), data)
    folders = {"proc", "sys", "dev", "tmp", "run", "root", "sbin"}
    for name in entries:
        folders.update(str(parent) for parent in Path(name).parents if str(parent) != ".")
    for name in folders:
        entries[name] = (stat.S_IFDIR | 0o755, b"")
    return entries


def build_initramfs(kernel, programs=(), modules=(), kos=(), files=None):
    """Returns the path of an initramfs; makes it only when an input changed since the last time.

    programs    paths or names found in PATH, put into /bin with their libraries; or pairs (path, path in the guest)
    modules     names of modules of that kernel, e.g. "veth"; what they need is added. "modprobe NAME" loads one
    kos         paths of modules of ours; "modprobe NAME" loads one
    files       {path in the guest: path here}
    """
    plan, chosen = _plan(kernel, programs, modules, kos, files or {})
    out = BUILD / "guest" / f"initramfs-{kernel.version}-{_key(plan)}.cpio"
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "guest" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if out.exists():
            os.utime(out)
            return out
        new = out.with_suffix(".new")
        with open(new, "wb") as f:
            _write_cpio(f, _entries(kernel, plan, chosen))
        os.replace(new, out)
        # Keep those of other tests and other kernels: a run of all tests has about twenty, and other workers use them now.
        old = sorted(out.parent.glob("initramfs-*.cpio"), key=lambda p: p.stat().st_mtime, reverse=True)
        for path in old[40:]:
            path.unlink()
    return out
