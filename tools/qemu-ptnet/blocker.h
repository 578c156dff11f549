/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blocker.h - a machine with passed-through ports can't be migrated, and QEMU says so.
 *
 * The state of a port is in netmapd: what `migrate` or `savevm` would save of the machine doesn't work
 * elsewhere, nor later. QEMU's vfio-user-pci does not refuse it (11.1), and no option of its makes it. But QEMU
 * refuses both while a disk image is open whose format can't be migrated. So it opens one: of one
 * sector, empty, read-only, connected to no device, so that no guest sees it. Its node's name tells the
 * reason:
 *
 *      (qemu) migrate file:x
 *      Error: The qcow format used by node 'passed-through-ptnet-port' does not support live migration
 *
 * With -only-migratable QEMU does not start, for the same reason.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_BLOCKER_H
#define QEMU_PTNET_BLOCKER_H

#include "text.h"

/* The image as a file, for a QEMU that inherits nothing: its name in a directory. */
#define BLOCKER_FILE "no-migration"

/* The image: a descriptor that a program which is executed inherits, or a negative errno with a text. */
int blocker_open(char err[TEXT_ERR]);

/* QEMU's options for the image, which it inherits as `fd`. */
void blocker_args(int fd, struct text_argv *out);

/* The image in a directory, readable for all; 0, or a negative errno with a text. And QEMU's option for it, by its path. */
int blocker_write(const char *dir, char err[TEXT_ERR]);
void blocker_node(const char *path, struct text_argv *out);

#endif
