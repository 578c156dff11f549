/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * daemon.h - ask netmapd for a machine and its ports, starting netmapd if need be.
 *
 * The connection is the owner of what it asked for: the ports and their vfio-user
 * sockets exist until its last descriptor is closed. qemu-ptnet leaves it open
 * when it becomes QEMU, so they live exactly as long as QEMU does, however that ends.
 *
 * A netmapd that is started here goes to the background and ends by itself when
 * nobody has used it for DAEMON_UNUSED_SECONDS. Its program is, if --netmapd names
 * no other: ../netmapd/netmapd, netmapd or ../sbin/netmapd as seen from the
 * directory of qemu-ptnet; else the one in PATH.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_DAEMON_H
#define QEMU_PTNET_DAEMON_H

#include "command.h"
#include "ports.h"

enum { DAEMON_UNUSED_SECONDS = 60 };

/*
 * Connects to netmapd at `socket` (NULL: the usual place), and starts `netmapd`
 * (NULL: the usual program) if none listens there. Two that do so at once get the
 * same daemon. Returns the connection, the caller's, or a negative errno with a text.
 */
int daemon_connect(const char *socket, const char *netmapd, char err[TEXT_ERR]);

/*
 * Makes the connection `fd` the owner of a machine called `name` with these ports. bar_min: see
 * struct nmd_vm_create.
 * Fills sockets[i] for port i; daemon_free_sockets() is due in any case (zeroed
 * before). 0, or a negative errno with netmapd's text.
 */
int daemon_make_ports(int fd, const char *name, uint64_t bar_min, const struct ports *ports,
	struct command_sockets *sockets, char err[TEXT_ERR]);

/* Sockets as they might look, for --print: DIR/vm1/mem, DIR/vm1/net0, DIR/vm1/net1, … */
int daemon_example_sockets(const char *socket, const struct ports *ports,
	struct command_sockets *sockets, char err[TEXT_ERR]);

void daemon_free_sockets(struct command_sockets *sockets, size_t count);

#endif
