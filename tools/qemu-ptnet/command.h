/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * command.h - the command line for a stock QEMU.
 *
 *   QEMU [-accel … -cpu …] [-object … -machine memory-backend=…] [-nic none]  the user's options
 *
 * The user's options keep their order. Each -netdev netmap is left out; each
 * -device ptnet-pci, or -nic netmap, is replaced where it stood, by the vfio-user
 * device of its port. Several -machine options add up in QEMU, so the user's stays
 * as it is.
 *
 * The memory devices stand before the first of these, so that a guest sees them
 * where it always did (on a pc, slot 3 is the memory and slot 4, ens4, the first
 * port). But QEMU gives a device without an address the first slot that is free at
 * its turn, which a later device may have been given by the user: where devices have
 * addresses, memory devices without one come last. (QEMU makes all devices that are
 * given in JSON, as ours and libvirt's are, behind those that are given as key=value.) Devices without an id get one
 * (ptnet-mem0, ptnet-ID), to be named in QEMU's monitor and in its messages.
 *
 * QEMU makes a network card of its own choice when no network option is given; a
 * -netdev netmap counts as one, so -nic none replaces it if no other is there.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_COMMAND_H
#define QEMU_PTNET_COMMAND_H

#include <stdio.h>

#include "memory.h"
#include "ports.h"
#include "scan.h"

enum command_accel {
	COMMAND_ACCEL_USER, /* add nothing */
	COMMAND_ACCEL_KVM,
	COMMAND_ACCEL_TCG,
};

/* vfio-user sockets of one port; ports with the same region have the same mem_path. */
struct command_sockets {
	char *net_path, *mem_path;
};

/* All that a command is made of. Nothing of it is kept. */
struct command {
	const char *qemu;
	const struct scan *scan;
	const struct ports *ports;
	const struct memory *memory;
	const struct command_sockets *sockets; /* one per port, in the order of ports */
	enum command_accel accel;
	bool add_cpu; /* -cpu as well */
	int blocker; /* descriptor of blocker.h, inherited by QEMU; 0: migration is not forbidden */
};

/*
 * Builds the argument list into `out` (zeroed by the caller, text_argv_free() after use).
 * -EINVAL with a text when ports of one region contradict each other, with nothing in `out`.
 */
int command_build(const struct command *c, struct text_argv *out, char err[TEXT_ERR]);

/* Only the devices that serve the ports, as command_build() writes them. -EINVAL in the same cases. */
int command_devices(const struct command *c, struct text_argv *out, char err[TEXT_ERR]);

/* The user's arguments as they are, behind `qemu`. */
void command_plain(const char *qemu, const struct scan *s, struct text_argv *out);

/* Prints the list as one line for a shell. -EIO when the stream fails. */
int command_print(const struct text_argv *a, FILE *f);

/* What to call the machine in netmapd's logs: -name, or "". Writes at most `size` bytes. */
void command_vm_name(const struct scan *s, char *out, size_t size);

#endif
