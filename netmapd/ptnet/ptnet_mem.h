/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_mem.h - the ptnet memory function: a memory region as a PCI device.
 *
 *      BAR0   I/O, 128 bytes   size, id and pools of the region, read only
 *      BAR1   memory, 64-bit   the region, in a mapping of its file, and nothing behind that:
 *
 *             |<- region ->|<- rest of file ->|<- reads as 0, ignores writes ->|
 *             0            size               next power of two                bar_min, if more
 *
 * BAR1 is larger than the region for the guest's sake: firmware declares the hole for devices below
 * 4 GiB uncachable (MTRR), and then a driver that asks for a write-back mapping of a BAR there gets an
 * uncached one. A BAR of 4 GiB can't be placed there.
 *
 * One per region and virtual machine. The function has no state of its own and
 * touches no guest memory; DMA messages are checked and forgotten. Register
 * numbers are in net/netmap_virt.h.
 *
 * Thread safety: the thread that runs the loop makes all calls.
 */
#ifndef NETMAPD_PTNET_MEM_H
#define NETMAPD_PTNET_MEM_H

#include <stdint.h>
#include <net/netmap.h>

#include "loop.h"
#include "region.h"
#include "vu_server.h"

struct ptnet_mem;
struct nm_quota;

struct ptnet_mem_info {
	/* The region's file, duplicated; its length: the next power of two from `size`, 4096 or more. */
	int fd;
	uint64_t size;    /* bytes of the region */
	uint64_t bar_min; /* bytes that BAR1 has at least: a power of two, 4096 or more */
	void *base;       /* the region in this process, `size` bytes; must outlive the function */
	uint16_t id;      /* region id */
	struct nmreq_pools_info pools;
	struct loop_budget *budget; /* of the loop, for the client; NULL: none */
	struct nm_quota *payer;     /* for what the client makes; NULL: nobody */
	/* What is set aside for the guest's own use, counts 0: nothing. Called with `arg` when the guest asks
	 * for it; the answer is the same ever after. NULL: nothing. */
	void (*guest_part)(void *arg, struct nm_run part[NM_POOLS]);
	void *arg;
};

/*
 * Creates the function and its socket at `path` (see vu_server_new). `name` is for the log, and
 * is copied. 0 and *out, or a negative errno: as vu_server_new; -ERANGE: an offset or a size
 * does not fit its register, or bar_min can't be a BAR's; -EINVAL: the file is too short.
 */
int ptnet_mem_new(struct loop *loop, const char *path, const char *name,
	const struct ptnet_mem_info *info, struct ptnet_mem **out);

/* Disconnects the client and removes the socket. NULL is allowed. */
void ptnet_mem_free(struct ptnet_mem *mem);

/* For vu_server_adopt() and vu_server_stats(). */
struct vu_server *ptnet_mem_server(struct ptnet_mem *mem);

#endif
