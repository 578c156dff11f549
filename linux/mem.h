/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mem.h - memory of regions in the kernel: os_mem_alloc() and os_mem_free() of core/os.h.
 *
 * To get and clear a large piece takes the longer the larger it is, and to give it back as well. So the
 * core gets it without its lock (core/wish.h), and it is given back by a work item.
 *
 * All that regions have, also what is being made and what is being given back, counts against regions_max_mb; what is
 * being made is set aside from what the system has available, too, as the system may not have seen it yet.
 * Who meets a bound, while others give back, waits for that, and asks again.
 *
 * Thread safety: any thread, with the core lock or without.
 */
#ifndef LINUX_MEM_H
#define LINUX_MEM_H

#include "os.h"

#include <linux/gfp.h>

/* Users cause these allocations and choose their sizes: they are charged to them, may fail, and neither fill the log
 * nor wake the OOM killer. */
#define NMK_GFP_USER (GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

/* platform_ops */
bool nmk_mem_takes_long(uint64_t bytes);

struct nmk_mem_use {
	uint64_t bytes;          /* of all regions, being made and being given back included */
	uint64_t made;           /* how many there have been that took long */
	unsigned int being_made; /* now, of those */
};
struct nmk_mem_use nmk_mem_use(void);

/* Called by main.c only: before the core is there, and when it is gone. */
int nmk_mem_register(void);
void nmk_mem_unregister(void);

#endif
