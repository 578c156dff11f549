/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * extmem.h - memory of applications that the module works on: CSB arrays, and regions that are
 * built on the caller's memory (option EXTMEM).
 *
 * The pages are pinned, so that they stay where they are whatever the application does with
 * its mapping, counted against its RLIMIT_MEMLOCK (unless it may lock memory at will), and mapped
 * here in one piece. What the application writes into them at any moment is hostile as ever.
 *
 * Thread safety: a struct nmk_pin is filled and emptied by one thread at a time.
 */
#ifndef LINUX_EXTMEM_H
#define LINUX_EXTMEM_H

#include "nm_error.h"
#include "os.h"

#include <linux/mm_types.h>

struct nmk_pin {
	void *addr; /* of the first byte that was asked for */
	struct page **pages;
	unsigned long count;  /* 0: nothing is pinned */
	struct mm_struct *mm; /* where the pages are counted; a reference to the structure */
};

/* Of the calling process: 0, or -EFAULT not mapped or not writable, -ENOMEM, also when the limit is
 * reached, -EINVAL. `pin` is all 0 after an error. */
int nmk_pin(struct nmk_pin *pin, uint64_t addr, uint64_t bytes);
/* Any thread; may sleep, and takes the mmap lock. Nothing pinned: nothing happens. */
void nmk_unpin(struct nmk_pin *pin);

/* Memory of a region: core/os.h. */
struct os_mem {
	void *addr;
	struct nmk_pin pin; /* count 0: pages of this kernel, from vmalloc() */
};

/* For struct nm_uaccess. `arg` is not looked at; addr: of a page. */
struct os_mem *nmk_extmem(void *arg, uint64_t addr, uint64_t bytes, struct nm_error *err);

#endif
