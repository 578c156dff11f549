/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wish.h - memory of a region that takes long to get: others go on meanwhile.
 *
 * How much memory a request needs is known only with core->lock held, for that depends on its port. Where the
 * platform says that so much takes long (nm_platform_ops.mem_takes_long), the section under the lock that needs
 * it *wishes* for it, and fails: it undoes all that it has done before it lets go of the lock, as with any
 * error, so that nobody has seen a thing. The memory is had without the lock, and that section is made again:
 *
 *      struct nm_wish wish = {0};
 *
 *      do {
 *              nm_wish_lock(core, &wish);
 *              error = …                       nm_region_create() and the like: -EAGAIN, or takes what is there
 *      } while (nm_wish_unlock(core, &wish, error));
 *
 * A request of several sections is never made again as a whole: the earlier ones have had their effect (a
 * device that goes off one switch, and on to another again). Whoever has the lock without a wish gets the memory under it.
 *
 * Memory is made for one at a time (nm_core.making): who finds another at it waits, and then looks again, for that one may have made
 * the region that both want. So bounds never count the same region twice.
 *
 * What comes meanwhile may change the size, or make the memory needless: what isn't taken is given back, and
 * after NM_WISH_TRIES sizes the memory is had under the lock. Less than what was denied may be tried, in the
 * same section: it is another wish.
 *
 * Thread safety: a struct nm_wish is its thread's.
 */
#ifndef CORE_WISH_H
#define CORE_WISH_H

#include "core.h"

enum { NM_WISH_TRIES = 3 };

struct nm_wish {
	struct os_mem *mem; /* had, and not taken yet */
	uint64_t bytes;     /* of that */
	uint64_t wanted;    /* by the last section; 0: nothing */
	uint64_t denied;    /* bytes that can't be had; 0: none were */
	bool turn;          /* nobody else makes any */
	uint32_t tries;
	struct nm_error why; /* they were denied */
};

/* The core's lock, with a wish free. */
void nm_wish_lock(struct nm_core *core, struct nm_wish *wish) OS_ACQUIRE(NM_CORE_LOCK);

/* And the way back. `error` of the section: true: make it again. False: it is done, and the wish is empty. */
bool nm_wish_unlock(struct nm_core *core, struct nm_wish *wish, int error) OS_RELEASE(NM_CORE_LOCK);

/* For region.c: os_mem_alloc(); NULL with -EAGAIN: it has become a wish. */
struct os_mem *nm_wish_take(struct nm_core *core, uint64_t bytes, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK);

#endif
