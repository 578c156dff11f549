/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * region.h - memory regions: one mapping with three pools.
 *
 *      offset 0                                                     size
 *      +------------------+------------------+------------------------+
 *      | netmap_if pool   | ring pool        | buffer pool            |
 *      | count x size     | count x size     | count x size           |
 *      +------------------+------------------+------------------------+
 *        buffers 0 and 1 are reserved: never allocated, never valid in a slot
 *
 * The whole region is mapped by those who use its ports, and they can write any
 * byte of it. So nothing about the region is ever read back from it: geometry,
 * free lists and the owner of each object are private. Objects are given out, and freed,
 * by the map of owners alone: bufown.h.
 *
 * A *NIC region* is one into whose buffers network interfaces receive, without a copy. The device's memory (AF_XDP's
 * umem) has a chunk of 4096 bytes for each buffer, and puts a packet 256 bytes into it. So the buffer pool
 * begins there, and a packet lies at the beginning of a netmap buffer:
 *
 *      page  +256                 +4096  +256                 +4096
 *      |      | buffer 0                  | buffer 1
 *      | head |  3840 bytes       | head  |  3840 bytes       | ...
 *      | chunk 0                  | chunk 1                   |
 *
 * A driver may write into the 256 bytes in front of a packet: they are the last ones of the buffer before, and no packet may
 * lie there, on any port of the region (buf_room).
 *
 *
 * A region is *foreign* when another machine manages its objects: a guest's
 * view of the region of the host. Only the objects that the other side has set aside
 * for this one can be allocated.
 *
 * Thread safety: references are counted, and objects given out, under the
 * core lock (port.h). Geometry is constant while a reference is held and may be
 * read by any thread.
 */
#ifndef CORE_REGION_H
#define CORE_REGION_H

#include "locks.h"
#include "os.h"
#include "nm_error.h"
#include <net/netmap.h>

struct nm_core;
struct nm_bufown;

/* Users are the system's numbers; these two may all. What is nobody's is NM_USER_ANY's, and open to all. */
enum { NM_USER_ROOT = 0 };
#define NM_USER_ANY UINT32_MAX

enum nm_pool { NM_POOL_IF, NM_POOL_RING, NM_POOL_BUF, NM_POOLS };

enum {
	NM_REGION_SHARED_ID = 1, /* region of NICs and pipes */
	NM_BUFS_RESERVED = 2,
	NM_BUF_SIZE_MIN = 64,
	NM_BUF_SIZE_MAX = 65536,
	NM_BUF_SIZE_DEFAULT = 2048,
	NM_BUFS_MAX = 1000000,
	NM_NIC_HEADROOM =
		256, /* what AF_XDP leaves free in front of each packet, and drivers write to */
	NM_NIC_BUF_SIZE = 4096,
};

struct nm_pool_geometry {
	uint64_t offset; /* bytes from the start of the region */
	uint32_t count;  /* objects */
	uint32_t size;   /* bytes of one object, a multiple of 64; of a ring, of 128 */
};

/* Objects first .. first + count - 1 of a pool. */
struct nm_run {
	uint32_t first, count;
};

/* What a region is to hold. Sizes are rounded up to 64 bytes, of rings to 128. */
struct nm_region_params {
	uint32_t count[NM_POOLS];
	uint32_t size[NM_POOLS];
	bool nic; /* a NIC region: buffers of NM_NIC_BUF_SIZE, whatever size says */
};

struct nm_region {
	struct nm_region *next OS_GUARDED_BY(NM_CORE_LOCK); /* list of the core */
	struct nm_core *core;
	char *base;    /* address on this platform */
	uint64_t size; /* bytes; a power of two, as a PCI BAR must be, but on external memory */
	struct nm_pool_geometry pool[NM_POOLS];
	uint32_t buf_room; /* bytes of a buffer that a packet can have */
	uint16_t id;       /* nr_mem_id; unique, never 0 */
	bool foreign;
	bool nic; /* a NIC region */
	uint32_t
		user; /* of a private one: whose it is (nm_client.user); others may not have ports there */
	bool external;          /* on memory that is the application's (EXTMEM) */
	bool reserved;          /* only for clients whose own region it is (a virtual machine's) */
	struct nm_quota *payer; /* for what is its memory; NULL: nobody */
	uint64_t paid;          /* bytes, of NM_RES_MEMORY or, external, NM_RES_EXTMEM */
	bool shared;            /* made for all clients that name it by its id, not for one */
	bool ending; /* it goes with those who leave now, or its memory does: nothing of it is given out any more, and its map not kept */
	uint32_t refs OS_GUARDED_BY(NM_CORE_LOCK);
	struct os_mem *mem;    /* NULL when foreign */
	struct nm_bufown *own; /* who owns which object; bufown.c. NULL: nothing can be allocated */
};

/* Bytes of a region with these params (a power of two) and the place of its pools. 0 when a
 * number is out of range; err then says which. */
uint64_t nm_region_layout(const struct nm_region_params *params,
	struct nm_pool_geometry pool[NM_POOLS], struct nm_error *err);

/*
 * Creates a region, for which core->payer pays; the caller holds one reference. id 0: any free one is taken. NULL with err.
 */
struct nm_region *nm_region_create(struct nm_core *core, const struct nm_region_params *params,
	uint16_t id, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

/*
 * As nm_region_create(), on memory that is there already (EXTMEM), `bytes` of it: netmap_if and rings
 * as params requests (a count or size of 0: the default), and as many of the requested buffers
 * as fit behind them (0: all that fit). -ENOMEM when not one does. The region owns mem on success, and what lies behind
 * the last buffer is not mapped any more.
 */
struct nm_region *nm_region_create_on(struct nm_core *core, struct os_mem *mem, uint64_t bytes,
	const struct nm_region_params *params, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

/*
 * The region with this id (not 0), made from core->shared_params if there is none; the caller
 * gets a reference. nic: one that is made becomes a NIC region, of core->nic_bufs buffers. NULL with err.
 */
struct nm_region *nm_region_by_id(struct nm_core *core, uint16_t id, bool nic, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK);

/*
 * A foreign region: memory at base that another machine has laid out as `pool` says, with the
 * objects `part` set aside for this side (counts 0: none). Checked: pools lie inside, do not
 * overlap, objects are of a usable size; runs lie in their pools. The memory stays the
 * caller's and must outlive the last reference.
 */
struct nm_region *nm_region_adopt(struct nm_core *core, void *base, uint64_t size,
	const struct nm_pool_geometry pool[NM_POOLS], const struct nm_run part[NM_POOLS],
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

/*
 * A region ends before its last reference: a foreign one when its ports are dead and its memory is about to go, a machine's own
 * one with the machine, any other with the last port in it. From here on nobody comes in, and who leaves gives nothing back:
 * nothing is looked for in the slots and lists that lie there.
 */
void nm_region_end(struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK);

/* May ports of this user (nm_client.user) lie in it, or be used there? All, if it is there for all, or is nobody's. */
bool nm_region_admits(const struct nm_region *region, uint32_t user);

/* NULL: there is none. Takes no reference. */
struct nm_region *nm_region_find(struct nm_core *core, uint16_t id) OS_REQUIRES(NM_CORE_LOCK);
/* For who comes in, with a port: 0, and he has a reference; or -ENXIO with a text: the region ends. */
int nm_region_enter(struct nm_region *region, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);
void nm_region_get(struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK);
/* Frees it with the last reference; NULL is allowed. */
void nm_region_put(struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK);

static inline bool nm_region_buf_valid(const struct nm_region *region, uint32_t index)
{
	return index >= NM_BUFS_RESERVED && index < region->pool[NM_POOL_BUF].count;
}

/* Address of an object; the index must be valid. */
static inline void *nm_region_object(
	const struct nm_region *region, enum nm_pool pool, uint32_t index)
{
	return region->base + region->pool[pool].offset + (uint64_t)index * region->pool[pool].size;
}

static inline void *nm_region_buf(const struct nm_region *region, uint32_t index)
{
	return nm_region_object(region, NM_POOL_BUF, index);
}

void nm_region_info(const struct nm_region *region, struct nmreq_pools_info *info);

/* "netmap_if", "ring", "buffer". */
const char *nm_pool_name(enum nm_pool pool);

#endif
