/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mem.h - memory of regions, and who waits for it: nobody but the one that wants it. It is had, cleared and given back
 * without the core lock when it is large, as each of these takes the longer the larger it is.
 *
 * How much a request needs is known only when it is under way, with the core lock held. So a request that needs a
 * large region fails, without a trace as any that fails, and leaves word how many bytes it wanted. They are had and
 * cleared then, without the lock, and the request is made again:
 *
 *      nmk_mem_begin(&wish);
 *      do
 *              error = nm_control(…);          os_mem_alloc(): -EAGAIN, or takes what is there
 *      while (error && nmk_mem_again(&wish));
 *      nmk_mem_end(&wish);
 *
 * What was left word of counts as memory of regions at once, and what is given back until it is free: so what there
 * is stays within the bounds. Who meets them waits for what is being given back, once. Small regions, and those
 * that other threads make, are made in place; so is the last try of a request whose size is another one each time.
 *
 * Thread safety: a struct nmk_wish is of the thread that began it.
 */
#ifndef LINUX_MEM_H
#define LINUX_MEM_H

#include "os.h"

#include <linux/gfp.h>
#include <linux/list.h>

struct task_struct;

/* Users cause these allocations and choose their sizes: they are charged to them, may fail, and neither fill the log
 * nor wake the OOM killer. */
#define NMK_GFP_USER (GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)

struct nmk_wish {
	struct hlist_node node;
	struct task_struct *task;
	struct os_mem *mem; /* had, not taken yet; NULL: none */
	uint64_t wanted;    /* bytes that are counted and not had */
	uint64_t denied;    /* bytes; the kernel doesn't have as many */
	unsigned int tries;
	bool wait, waited; /* for what is being given back */
};

void nmk_mem_begin(struct nmk_wish *wish);
/* Without the core lock. True: the request has left word, and is to be made again. */
bool nmk_mem_again(struct nmk_wish *wish);
/* Without the core lock. What was not taken is given back. */
void nmk_mem_end(struct nmk_wish *wish);

/* Called by main.c only: before the core is there, and when it is gone. */
int nmk_mem_register(void);
void nmk_mem_unregister(void);

#endif
