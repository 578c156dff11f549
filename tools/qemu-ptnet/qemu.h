/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * qemu.h - find a QEMU that can have its devices in another process.
 *
 * The vfio-user client came with QEMU 10.1. Looked at, in this order:
 *
 *   --qemu PATH, or else $QEMU_PTNET_QEMU      this one and no other
 *   qemu-system-x86_64 in PATH                 if it has vfio-user-pci
 *   CACHE/qemu/bin/qemu-system-x86_64          which setup/qemu unpacks; CACHE is
 *        $PTNETMAP_CACHE, else $XDG_CACHE_HOME/ptnetmap, else ~/.cache/ptnetmap
 *
 * Each is asked anew each time (30 ms); nothing is remembered that could be stale.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_QEMU_H
#define QEMU_PTNET_QEMU_H

#include <stdbool.h>

#include "text.h"

#define QEMU_PROGRAM "qemu-system-x86_64"

/*
 * Finds one. `chosen` is the argument of --qemu or NULL; vfio_user: it has to have
 * vfio-user-pci (else the first that exists will do). Returns 0 with *path, to be
 * freed by the caller, or -ENOENT, -ENOEXEC with a text that says what to install.
 */
int qemu_find(const char *chosen, bool vfio_user, char **path, char err[TEXT_ERR]);

/* Looks a program up as execvp does. NULL: not there. The caller frees. */
char *qemu_in_path(const char *program);

#endif
