/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vm.h - virtual machines: their memory regions, ports, and the PCI functions of both.
 *
 *      vm.c         the machine as a whole
 *      vm_dir.c     its directory, where the sockets lie
 *      vm_region.c  a region as the machine sees it: memory function, the guest's part
 *      vm_port.c    a port: from the user's text to a network function
 *
 * A machine exists as long as the control connection that made it. It has a region of its own,
 * closed to all others, for all ports that can lie anywhere, and another one for its NICs (region.h). Ports whose nature is to
 * share (pipe ends, zero-copy monitors, devices), and those for which the user names a
 * region, lie in others; for each of them the machine gets one more memory function.
 *
 * Its sockets lie in a directory of its own beside the control socket:
 *
 *      DIR/vmN/mem          memory function of its own region
 *      DIR/vmN/mem1 …       those of other regions, in the order in which they came
 *      DIR/vmN/net0 …       one network function per port
 *
 * The directory is locked (flock) while the machine exists: two netmapd with their control
 * sockets in one DIR don't take each other's.
 *
 * In each region some objects are set aside for the guest (region.h: a fixed owner), so that it
 * can make pipes, monitors and host rings on its ports by itself. The memory function says which. None
 * are where the host exchanges the buffers of one of the machine's ports (vm_region.c says when).
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_VM_H
#define NETMAPD_VM_H

#include "daemon.h"
#include "accounts.h"
#include "proto.h"
#include "ptnet_net.h"

/* PCI slots of one machine; also the number of its regions' netmap_if objects is larger. */
enum { VM_PORTS_MAX = 32, VM_REGIONS_MAX = 1 + VM_PORTS_MAX };

struct vm_region {
	struct nm_region *region; /* a reference */
	struct vm *vm;
	struct nm_run guest[NM_POOLS]; /* the guest's part; counts 0: none */
	uint32_t owner;                /* of the guest's part */
	bool part_read;                /* by the guest: it stays as it is */
	struct ptnet_mem *mem;         /* NULL until the first port lies in it */
	uint32_t descriptors;          /* paid for by the machine's user */
	char mem_path[NMD_PATH_MAX];
};

struct vm_port {
	struct account *user; /* the machine's */
	uint32_t descriptors; /* paid for by the user */
	struct nm_client client;
	struct port_service *service;
	struct ptnet_net *net;
	const struct vm_region *region;
	uint8_t mac[6];
	char path[NMD_PATH_MAX];
	char ifname[NMD_SPEC_MAX]; /* as the user wrote it */
};

struct vm {
	struct vm *next;
	struct daemon *daemon;
	struct account *user; /* for whom it is made; the connection's */
	bool paid;            /* it is counted as a machine */
	uint32_t number;
	char name[NMD_NAME_MAX];
	uint64_t bar_min;       /* bytes that BAR1 of its memory functions has at least */
	char dir[NMD_PATH_MAX]; /* "": none */
	int dir_fd;             /* open and locked, so that no other netmapd uses it; -1: none */
	struct vm_region regions[VM_REGIONS_MAX]; /* [0]: its own */
	struct nm_region *nic_region; /* its own for NICs; a reference, from the first one on */
	uint32_t num_regions;
	struct vm_port *ports[VM_PORTS_MAX];
	uint32_t num_ports;
	struct vm_port *making; /* the next one, of which there is more to do; NULL: none */
};

/* NULL with *err. `user` pays for it, and outlives it. */
struct vm *vm_new(struct daemon *d, struct account *user, const char *name, uint64_t bar_min,
	struct nm_error *err);
void vm_free(struct vm *vm); /* NULL is allowed */

/*
 * Registers `ifname` (as in the howto, with suffixes). mac all 0: one is chosen. 0, and vm_add_port_go_on() is called
 * until it is done; -EINPROGRESS: somebody else is about to open it; or another negative errno. With *err.
 */
int vm_add_port(struct vm *vm, const char *ifname, const uint8_t mac[6], struct nm_error *err);
/* A part of it, bounded in time. 1: there is more. 0: its device is open, and the port in vm->ports. A negative errno
 * with *err: there is no such port. */
int vm_add_port_go_on(struct vm *vm, const struct vm_port **port, struct nm_error *err);

/* Instead of that: there is no such port. */
void vm_add_port_cancel(struct vm *vm);

/* The last one that was added goes again. */
void vm_drop_port(struct vm *vm);

/* What a user's `ifname` has for nr_name of a request. */
int vm_port_name(const char *ifname, char name[NETMAP_REQ_IFNAMSIZ], struct nm_error *err);

/* Ports may have died (devices that were removed): their hypervisors are told. */
void vm_ports_check(struct daemon *d);

/* ---- parts of it, for vm*.c ------------------------------------------------------------ */

/* vm_dir.c: a directory of the machine's own, with its lock; vm->number goes with it. */
int vm_dir_make(struct vm *vm, struct nm_error *err);
void vm_dir_remove(struct vm *vm);
/* Removes what killed netmapd have left beside the control socket. At the start. */
void vm_dir_clean(const struct daemon *d);

/* vm_region.c: the machine's view of a region, made when there is none yet. Takes a reference of its
 * own. NULL with *err. */
struct vm_region *vm_region_get(struct vm *vm, struct nm_region *region, struct nm_error *err);
/* Its memory function, opened when there is none yet. */
int vm_region_open(struct vm *vm, struct vm_region *region, struct nm_error *err);
/* A port of the machine lies in it. -EBUSY with a text: the host exchanges the port's buffers, and
 * the guest has a part of the region already. */
int vm_region_join(struct vm_region *region, struct nm_port *port, struct nm_error *err);
/* No port of the machine lies in it any more. */
void vm_region_put(struct vm *vm, struct vm_region *region);

/* vm_port.c: a port is made by the first, and then by the second until it returns 0; an error (below 0, with *err), and
 * it is to be freed. */
int vm_port_go_on(struct vm *vm, struct vm_port *port, struct nm_error *err);
struct vm_port *vm_port_new(
	struct vm *vm, const char *ifname, const uint8_t mac[6], struct nm_error *err);
void vm_port_free(struct vm_port *port);

#endif
