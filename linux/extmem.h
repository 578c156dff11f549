/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * extmem.h - memory of applications that the module works on: CSB arrays, and regions that are
 * built on the caller's memory (option EXTMEM).
 *
 * The pages are pinned, so that they stay where they are whatever the application does with
 * its mapping, counted per user against its RLIMIT_MEMLOCK (unless it may lock memory at will), and
 * mapped here in one piece. What the application writes into them at any moment is hostile as ever.
 *
 * Thread safety: a struct nmk_pin is filled and emptied by one thread at a time.
 */
#ifndef LINUX_EXTMEM_H
#define LINUX_EXTMEM_H

#include "nm_error.h"
#include "os.h"

#include <linux/mm_types.h>
#include <linux/workqueue.h>

struct cred;

struct nmk_pin {
	void *addr; /* of the first byte that was asked for */
	struct page **pages;
	unsigned long count;     /* 0: nothing is pinned */
	unsigned long charged;   /* pages; 0: whoever brought them may lock memory at will */
	const struct cred *cred; /* of that one: the user they are charged to; a reference */
};

/* Of the calling process: 0, or -EFAULT not mapped or not writable, -ENOMEM, also when the limit is
 * reached, -EINVAL. `pin` is all 0 after an error. */
int nmk_pin(struct nmk_pin *pin, uint64_t addr, uint64_t bytes);
/* Any thread; may wait for locks of pages that others hold: never under a lock of more than one file.
 * Nothing pinned: nothing happens. */
void nmk_unpin(struct nmk_pin *pin);

/* Memory of a region: core/os.h. */
struct os_mem {
	void *addr;
	struct nmk_pin pin;      /* count 0: pages of this kernel, from vmalloc() */
	uint64_t bytes;          /* of those */
	struct work_struct free; /* unpins, or frees the pages, and frees this */
};

/* For struct nm_uaccess. `arg` is not looked at; addr: of a page. */
struct os_mem *nmk_extmem(void *arg, uint64_t addr, uint64_t bytes, struct nm_error *err);
/* Ends what nmk_extmem() gave, later. Any thread, also under core->lock. */
void nmk_extmem_free(struct os_mem *mem);

/* Called by main.c only. Nobody has external memory any more when it is unregistered. */
int nmk_extmem_register(void);
void nmk_extmem_unregister(void);

#endif
