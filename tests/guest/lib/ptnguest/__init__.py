# SPDX-License-Identifier: BSD-2-Clause
"""Guests for the tests and the demo: boot a Debian kernel in QEMU, run commands in it.

    import ptnguest
    kernel = ptnguest.Kernel.get("6.12")
    initramfs = ptnguest.build_initramfs(kernel, programs=["build/apps/pkt-gen"], kos=["netmap.ko"])
    with ptnguest.Guest(kernel, initramfs, qemu=["build/tools/qemu-ptnet"], accelerator=None,
                        args=["-netdev", …]) as guest:
        print(guest.run("uname -r").out)

Standard library only; nothing here needs pytest.
"""

from .env import BUILD, ROOT, Kernel, accelerator_args, build_module, kvm_usable, qemu_path
from .guest import PATIENCE, Command, Guest, GuestError, Result, find_complaints
from .initramfs import build_initramfs

__all__ = ["BUILD", "PATIENCE", "ROOT", "Kernel", "accelerator_args", "build_module", "kvm_usable", "qemu_path",
           "Command", "Guest", "GuestError", "Result", "find_complaints", "build_initramfs"]
