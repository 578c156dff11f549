// SPDX-License-Identifier: BSD-2-Clause
#include "mem.h"
#include "extmem.h"
#include "nm_error.h"
#include "params.h"

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

enum { LARGE = 1 << 20 }; /* bytes that take long */

#define WHAT_TO_DO                                                                                     \
	"Ask for fewer rings, slots or extra buffers; or set buf_num (the region of NICs and pipes), " \
	"priv_buf_num (of one port)"

/* ---- bounds ------------------------------------------------------------------------------ */

static DEFINE_SPINLOCK(lock);
static struct nmk_mem_use use; /* under `lock`, and so the next one */
static uint64_t making;        /* bytes of it that the system may not count as used yet */

static uint64_t kib_available(void)
{
	return (uint64_t)max(si_mem_available(), 0L) << (PAGE_SHIFT - 10);
}

/* The system keeps some memory for itself: it is all there at once, not when it is touched. */
static bool can_spare(uint64_t bytes)
{
	uint64_t available = kib_available();

	return (bytes + making) >> 10 < available - available / 8;
}

static int check_bounds(uint64_t bytes, struct nm_error *err)
{
	uint64_t each = nmk_region_max(), all = nmk_regions_max();

	if (bytes > each)
		return nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: one may have %llu KiB. " WHAT_TO_DO
			" or region_max_mb of the module",
			bytes >> 10, each >> 10);
	if (use.bytes > all || bytes > all - use.bytes)
		return nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: all may have %llu KiB, and have %llu. " WHAT_TO_DO
			" or regions_max_mb of the module",
			bytes >> 10, all >> 10, use.bytes >> 10);
	if (!can_spare(bytes))
		return nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: %llu KiB of memory are available, of which %llu are about to be used. " WHAT_TO_DO,
			bytes >> 10, kib_available(), making >> 10);
	return 0;
}

static int reserve(uint64_t bytes, struct nm_error *err)
{
	int error;

	spin_lock(&lock);
	error = check_bounds(bytes, err);
	if (!error) {
		use.bytes += bytes;
		use.being_made += bytes >= LARGE;
		making += bytes;
	}
	spin_unlock(&lock);
	return error;
}

/* Of what was reserved. */
static void is_made(uint64_t bytes, bool success)
{
	spin_lock(&lock);
	making -= bytes;
	use.being_made -= bytes >= LARGE;
	use.made += bytes >= LARGE;
	if (!success)
		use.bytes -= bytes;
	spin_unlock(&lock);
}

struct nmk_mem_use nmk_mem_use(void)
{
	struct nmk_mem_use copy;

	spin_lock(&lock);
	copy = use;
	spin_unlock(&lock);
	return copy;
}

/* ---- given back -------------------------------------------------------------------------- */

/* Not that of external memory: nothing here waits for a lock that a user may hold. */
static struct workqueue_struct *free_wq;
static atomic_t giving_back =
	ATOMIC_INIT(0); /* regions; one that is done has been taken off use.bytes */

static void free_pages_of(struct os_mem *mem)
{
	vfree(mem->addr);
	spin_lock(&lock);
	use.bytes -= mem->bytes;
	spin_unlock(&lock);
	kfree(mem);
}

static void free_work(struct work_struct *work)
{
	free_pages_of(container_of(work, struct os_mem, free));
	atomic_dec(&giving_back);
}

void os_mem_free(struct os_mem *mem)
{
	if (!mem)
		return;
	if (mem->pin.count) {
		nmk_extmem_free(mem);
		return;
	}
	if (mem->bytes < LARGE) {
		free_pages_of(mem);
		return;
	}
	atomic_inc(&giving_back);
	queue_work(free_wq, &mem->free);
}

/* ---- made -------------------------------------------------------------------------------- */

/* Also a small one, when it might have to wait for what is being given back. */
bool nmk_mem_takes_long(uint64_t bytes)
{
	return bytes >= LARGE || atomic_read(&giving_back) > 0;
}

static int reserve_or_wait(uint64_t bytes, struct nm_error *err)
{
	bool others = atomic_read(&giving_back) > 0; /* before what they have is looked at */
	int error = reserve(bytes, err);

	if (!error || !others)
		return error;
	flush_workqueue(free_wq);
	return reserve(bytes, err);
}

/* Cleared. */
static struct os_mem *make(uint64_t bytes)
{
	struct os_mem *mem = kzalloc(sizeof(*mem), NMK_GFP_USER);

	if (mem)
		mem->addr = __vmalloc(PAGE_ALIGN(bytes), NMK_GFP_USER | __GFP_ZERO);
	if (!mem || !mem->addr) {
		kfree(mem);
		return NULL;
	}
	mem->bytes = bytes;
	INIT_WORK(&mem->free, free_work);
	return mem;
}

struct os_mem *os_mem_alloc(uint64_t bytes, struct nm_error *err)
{
	struct os_mem *mem;
	bool others;

	if (reserve_or_wait(bytes, err) != 0)
		return NULL;
	others = atomic_read(&giving_back) > 0; /* before it is tried without what they have */
	mem = make(bytes);
	if (!mem && others) {
		flush_workqueue(free_wq);
		mem = make(bytes);
	}
	is_made(bytes, mem != NULL);
	if (!mem)
		nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: the kernel, or the control group, has no memory for it. " WHAT_TO_DO,
			bytes >> 10);
	return mem;
}

/* ---- the module's ------------------------------------------------------------------------ */

int nmk_mem_register(void)
{
	free_wq = alloc_workqueue("netmap-free", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return free_wq ? 0 : -ENOMEM;
}

void nmk_mem_unregister(void)
{
	destroy_workqueue(free_wq);
}

/* External memory is pinned as a whole, and unpinned so. */
void os_mem_trim(struct os_mem *mem, uint64_t bytes)
{
}

void *os_mem_addr(const struct os_mem *mem)
{
	return mem->addr;
}
