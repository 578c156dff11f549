/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.h - a core with applications on switches, pipes, monitors and devices, for the targets of the
 * data path.
 *
 *      world_begin(in); … world_step(in); … world_end();
 *
 * Neighbours are poisoned: while a ring is synced, AddressSanitizer lets nobody touch the buffers that the
 * sync has no business with, which are all but those of
 *
 *      the slots of the ring that is synced
 *      the free slots of rx rings, which others may fill
 *
 * and in the world's own regions no two buffers that belong to a port lie side by side: every other
 * one is nobody's. So one byte too many is found.
 *
 * Thread safety: the main thread's; see before_sync.
 */
#ifndef TESTS_FUZZ_WORLD_H
#define TESTS_FUZZ_WORLD_H

#include "csb_server.h"
#include "fuzz_core.h"

enum { WORLD_APPS = 8, WORLD_RINGS = 8, WORLD_REGIONS = 8, WORLD_PACKET_MAX = 4096 };

struct world_app {
	struct nm_client client;  /* port NULL: closed */
	struct nm_region *region; /* a reference; NULL: the core's */
	/* Of each ring, tx first; served: through these, once started. */
	struct nm_csb_server server[WORLD_RINGS];
	struct nm_csb_atok atok[WORLD_RINGS];
	struct nm_csb_ktoa ktoa[WORLD_RINGS];
	bool served;
};

struct world {
	struct nm_core *core; /* whose memory the target may choose before the first input */
	struct world_app apps[WORLD_APPS];
	struct nm_region *regions[WORLD_REGIONS]; /* references; [0]: region 1 */
	uint32_t num_regions;
	/*
	 * Where devices come from; NULL: fuzz_platform. Its devices receive a packet by receive(), which takes it
	 * out of the input, and remove() takes away those that are left at the end, when nobody uses them.
	 */
	const struct nm_platform_ops *platform;
	void *platform_arg;
	void (*receive)(struct fuzz_in *in, const char *name);
	void (*remove)(void);
	/*
	 * Called around each sync; NULL: nothing. From start to after_sync another thread may write to what an
	 * application could: in buffers that before_sync names.
	 */
	void (*before_sync)(void), (*start)(void), (*after_sync)(void);
	const struct nm_region *open_region;
	const uint32_t *open_bufs;
	uint32_t num_open_bufs;
};

extern struct world world;

void world_begin(struct fuzz_in *in);
/* Something is done. */
void world_step(struct fuzz_in *in);
/* All goes, and nothing is left. */
void world_end(void);

/* Ring i of those that an application is bound to, tx first; NULL: it has none. */
struct nm_ring *world_ring(const struct world_app *app, uint32_t i);

/* A packet of at most `most` bytes, with a virtio-net header of hdr_len bytes in front: from bytes as they
 * come to one that is right but for some. Returns its length. */
uint32_t world_packet(struct fuzz_in *in, uint8_t *bytes, uint32_t most, uint32_t hdr_len);

#endif
