/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vm.h - virtual machines: each with a memory region, ports, and their PCI functions.
 *
 * A machine exists as long as the control connection that made it. Its sockets
 * lie in a directory of its own beside the control socket:
 *
 *      DIR/vmN/mem      memory function of its region
 *      DIR/vmN/net0 …   one network function per port
 *
 * The directory is locked (flock) while the machine exists: two netmapd with their control
 * sockets in one DIR don't take each other's.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_VM_H
#define NETMAPD_VM_H

#include "daemon.h"
#include "proto.h"
#include "ptnet_net.h"

/* PCI slots of one machine; also the number of its regions' netmap_if objects is larger. */
enum { VM_PORTS_MAX = 32 };

struct vm_port {
	struct nm_client client;
	struct served *served;
	struct ptnet_net *net;
	uint8_t mac[6];
	char path[NMD_PATH_MAX];
};

struct vm {
	struct vm *next;
	struct daemon *daemon;
	uint32_t number;
	char name[NMD_NAME_MAX];
	char dir[NMD_PATH_MAX]; /* "": none */
	int dir_fd;             /* open and locked, so that no other netmapd uses it; -1: none */
	char mem_path[NMD_PATH_MAX];
	struct nm_region *region;
	struct ptnet_mem *mem;
	struct vm_port *ports[VM_PORTS_MAX];
	uint32_t num_ports;
};

/* NULL with *error and a text (NMD_TEXT_MAX bytes). */
struct vm *vm_new(struct daemon *d, const char *name, int *error, char *text);
void vm_free(struct vm *vm); /* NULL is allowed */

/* Registers `ifname` (as in the howto, with suffixes) and opens its device. mac all 0: one is
 * chosen. */
int vm_add_port(struct vm *vm, const char *ifname, const uint8_t mac[6],
	const struct vm_port **port, char *text);

#endif
