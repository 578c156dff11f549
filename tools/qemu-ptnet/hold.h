/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hold.h - keep ports for a QEMU that somebody else runs, with sockets at fixed places.
 *
 * libvirt writes QEMU's command line when a domain is defined, and runs QEMU itself: no process of ours becomes it, and
 * netmapd has not yet said where its sockets are. So `qemu-ptnet --hold DIR` asks netmapd for the ports, puts links beside each
 * other in DIR, goes to the background, and owns the ports until it gets SIGTERM or netmapd ends:
 *
 *      DIR/net0, net1, …   to the vfio-user socket of each port, in the order of the devices
 *      DIR/mem0, mem1, …   of each memory region, in the order of the ports that use them first
 *      DIR/no-migration    the image of blocker.h
 *      DIR/pid             of the process that owns them
 *
 * All of these are gone with it. It runs as the user that QEMU will run as: netmapd serves nobody else.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_HOLD_H
#define QEMU_PTNET_HOLD_H

#include "command.h"

/* DIR, when a domain of libvirt says none: HOLD_LIBVIRT/NAME. */
#define HOLD_LIBVIRT "/run/ptnetmap"

/* The paths in `dir` that stand for `sockets`: the same count, daemon_free_sockets() after use. */
struct command_sockets *hold_links(
	const char *dir, const struct command_sockets *sockets, size_t count);

/*
 * Makes all that is in `dir`, which exists, and returns in two processes: 0 in the one that was called, when all is there; in the
 * other one, which owns `connection`, only when that is over, with an exit status in *over. A negative errno with a text:
 * nothing was made; -EEXIST: somebody holds ports there.
 */
int hold_ports(const char *dir, const struct command_sockets *sockets, size_t count, int connection,
	int *over, char err[TEXT_ERR]);

#endif
