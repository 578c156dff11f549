# SPDX-License-Identifier: BSD-2-Clause
"""What setup/ provides, and what this machine can do."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
BUILD = Path(os.environ.get("PTNETMAP_BUILD") or ROOT / "build").resolve()


def _setup(*command):
    """Runs a script of setup/; its messages go to our stderr."""
    done = subprocess.run([str(ROOT / "setup" / command[0]), *command[1:]], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"setup/{' '.join(command)} failed: see its message")
    return done.stdout.split("\n")[:-1]


@dataclass(frozen=True)
class Kernel:
    """A guest kernel, unpacked by setup/kernel."""
    line: str       # 6.1, 6.12 or newest
    dir: Path

    @classmethod
    def get(cls, line):
        return cls(line, Path(_setup("kernel", line)[0]))

    @property
    def version(self):
        return (self.dir / "version").read_text().strip()

    @property
    def vmlinuz(self):
        return self.dir / "vmlinuz"

    @property
    def image(self):
        """What to boot: under emulation, decompressing would take half of the time."""
        unpacked = self.dir / "vmlinux"
        return unpacked if unpacked.exists() and not kvm_usable() else self.vmlinuz

    @property
    def modules(self):
        """Its /lib/modules/VERSION."""
        return self.dir / "modules"


def qemu_path():
    """A QEMU that can do vfio-user."""
    return _setup("qemu")[0]


def ovmf_path():
    """A UEFI firmware. It boots what is an EFI program: a vmlinuz."""
    return _setup("ovmf")[0]


def build_module(kernel, out=None, src=ROOT):
    """Builds netmap.ko (or the modules of another source tree) for a kernel; returns the paths."""
    out = out or BUILD / "module" / kernel.line
    return [Path(p) for p in _setup("module", kernel.line, str(out), str(src))]


def kvm_usable():
    """A /dev/kvm without VMX or SVM in the CPU hangs stock kernels: it does not count."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    return bool(re.search(r"^flags\s*:.* (vmx|svm)\b", Path("/proc/cpuinfo").read_text(), re.M))


def accelerator_args():
    """For a plain QEMU; qemu-ptnet chooses for itself."""
    if kvm_usable():
        return ["-accel", "kvm", "-cpu", "host"]
    # Without the moves of bytes that emulation does one by one.
    return ["-accel", "tcg,thread=multi", "-cpu", "max,erms=off,fsrm=off,fsrs=off,fzrm=off"]
