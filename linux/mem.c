// SPDX-License-Identifier: BSD-2-Clause
/* Memory of regions in the kernel: bounds, what is made, what is given back, wishes. See core/os.h for os_mem_*. */
#include "mem.h"
#include "extmem.h"
#include "nm_error.h"
#include "params.h"

#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

enum {
	LARGE = 1 << 20, /* bytes of a region that is made and given back without the core lock */
	TRIES = 3,
};

#define WHAT_TO_DO                                                                                     \
	"Ask for fewer rings, slots or extra buffers; or set buf_num (the region of NICs and pipes), " \
	"priv_buf_num (of one port)"

/* ---- bounds ------------------------------------------------------------------------------ */

/* Bytes of all regions, of those that are being made, and those that are being given back. Grows under the core
 * lock only. */
static atomic64_t regions_bytes = ATOMIC64_INIT(0);

static uint64_t kib_available(void)
{
	return (uint64_t)max(si_mem_available(), 0L) << (PAGE_SHIFT - 10);
}

/* The system keeps some memory for itself: it is all there at once, not when it is touched. */
static bool can_spare(uint64_t bytes)
{
	uint64_t available = kib_available();

	return bytes >> 10 < available - available / 8;
}

static int check_bounds(uint64_t bytes, struct nm_error *err)
{
	uint64_t each = nmk_region_max(), all = nmk_regions_max();
	uint64_t have = (uint64_t)atomic64_read(&regions_bytes);

	if (bytes > each)
		return nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: one may have %llu KiB. " WHAT_TO_DO
			" or region_max_mb of the module",
			bytes >> 10, each >> 10);
	if (have > all || bytes > all - have)
		return nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: all may have %llu KiB, and have %llu. " WHAT_TO_DO
			" or regions_max_mb of the module",
			bytes >> 10, all >> 10, have >> 10);
	if (!can_spare(bytes))
		return nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: %llu KiB of memory are available. " WHAT_TO_DO,
			bytes >> 10, kib_available());
	return 0;
}

static int no_memory(uint64_t bytes, struct nm_error *err)
{
	return nm_error_set(err, -ENOMEM,
		"a region of %llu KiB: the kernel, or the control group, has no memory for it. " WHAT_TO_DO,
		bytes >> 10);
}

/* ---- made, and given back ---------------------------------------------------------------- */

/* Not that of external memory: nothing here waits for a lock that a user may hold. */
static struct workqueue_struct *free_wq;
static atomic_t giving_back = ATOMIC_INIT(0);

static void free_pages_of(struct os_mem *mem)
{
	vfree(mem->addr);
	atomic64_sub((s64)mem->bytes, &regions_bytes);
	kfree(mem);
}

static void free_work(struct work_struct *work)
{
	free_pages_of(container_of(work, struct os_mem, free));
	atomic_dec(&giving_back);
}

/* Cleared; the caller counts it. */
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

/* ---- wishes ------------------------------------------------------------------------------ */

static DEFINE_SPINLOCK(lock);
static DEFINE_HASHTABLE(wishes, 8); /* of requests that are under way, by thread */

void nmk_mem_begin(struct nmk_wish *wish)
{
	*wish = (struct nmk_wish){.task = current};
	spin_lock(&lock);
	hash_add(wishes, &wish->node, (unsigned long)current);
	spin_unlock(&lock);
}

static struct nmk_wish *mine(void)
{
	struct nmk_wish *wish, *found = NULL;

	spin_lock(&lock);
	hash_for_each_possible(
		wishes, wish, node, (unsigned long)current) if (wish->task == current) found = wish;
	spin_unlock(&lock);
	return found;
}

static void drop(struct nmk_wish *wish)
{
	os_mem_free(wish->mem);
	wish->mem = NULL;
	atomic64_sub((s64)wish->wanted, &regions_bytes);
	wish->wanted = 0;
}

static bool wait_for_others(struct nmk_wish *wish)
{
	wish->wait = false;
	wish->waited = true;
	flush_workqueue(free_wq);
	return true;
}

bool nmk_mem_again(struct nmk_wish *wish)
{
	uint64_t bytes = wish->wanted;

	if (wish->wait)
		return wait_for_others(wish);
	if (bytes == 0)
		return false;
	wish->wanted = 0;
	drop(wish); /* one of another size than was wanted in the end */
	wish->mem = make(bytes);
	if (!wish->mem) {
		flush_workqueue(free_wq);
		wish->mem = make(bytes);
	}
	if (!wish->mem) {
		atomic64_sub((s64)bytes, &regions_bytes);
		wish->denied = bytes;
	}
	wish->tries++;
	return true;
}

void nmk_mem_end(struct nmk_wish *wish)
{
	drop(wish);
	spin_lock(&lock);
	hash_del(&wish->node);
	spin_unlock(&lock);
}

/* Under the core lock. Who meets a bound asks again when the memory of others is free. */
static bool within_bounds(struct nmk_wish *wish, uint64_t bytes, struct nm_error *err)
{
	bool others = atomic_read(&giving_back) > 0; /* before what they have is looked at */

	if (check_bounds(bytes, err) == 0)
		return true;
	if (wish && !wish->waited && others) {
		wish->wait = true;
		nm_error_set(err, -EAGAIN, "regions of others are being given back");
	}
	return false;
}

static void leave_word(struct nmk_wish *wish, uint64_t bytes, struct nm_error *err)
{
	if (wish->wanted == 0) {
		if (!within_bounds(wish, bytes, err))
			return;
		atomic64_add((s64)bytes, &regions_bytes);
		wish->wanted = bytes;
	}
	nm_error_set(err, -EAGAIN, "a region of %llu KiB is being made", bytes >> 10);
}

static struct os_mem *make_in_place(struct nmk_wish *wish, uint64_t bytes, struct nm_error *err)
{
	struct os_mem *mem;

	if (!within_bounds(wish, bytes, err))
		return NULL;
	mem = make(bytes);
	if (mem)
		atomic64_add((s64)bytes, &regions_bytes);
	else
		no_memory(bytes, err);
	return mem;
}

struct os_mem *os_mem_alloc(uint64_t bytes, struct nm_error *err)
{
	struct nmk_wish *wish = mine();
	struct os_mem *mem = wish ? wish->mem : NULL;

	if (mem && mem->bytes == bytes) {
		wish->mem = NULL;
		return mem;
	}
	if (wish && wish->denied > 0 && bytes >= wish->denied) {
		no_memory(bytes, err);
		return NULL;
	}
	if (!wish || bytes < LARGE || wish->tries == TRIES)
		return make_in_place(wish, bytes, err);
	leave_word(wish, bytes, err);
	return NULL;
}

/* ---- the module's ------------------------------------------------------------------------ */

int nmk_mem_register(void)
{
	free_wq = alloc_workqueue("netmap-free", WQ_UNBOUND, 0);
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
