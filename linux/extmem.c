// SPDX-License-Identifier: BSD-2-Clause
/*
 * Memory of an application, as the memory of a region or as a CSB: its pages are pinned for as long
 * as that exists, and mapped in a row for the kernel.
 *
 * They are counted per user, against the limit of locked memory of the process that brings them, as
 * with sockets of AF_XDP: an atomic number, where the count of a process (VmLck) takes its mmap lock.
 *
 * A region ends under core->lock, by whoever uses it last. To unpin pages may wait for locks of
 * pages that the user's file system holds: a work item does it, each its own. What it has not done
 * yet still counts; who meets the limit then waits for a while.
 */
#include "extmem.h"

#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

/* At a time, so that a fatal signal is seen and others get the CPU. */
#define PIN_PAGES 4096
/* What was given back can be had again: so long one waits for it, on a busy machine. */
#define UNPIN_SECONDS 10

static int pin_pages(struct nmk_pin *pin, unsigned long addr, unsigned long count)
{
	while (pin->count < count) {
		unsigned long n = min(count - pin->count, (unsigned long)PIN_PAGES);
		int done = pin_user_pages_fast(addr + (pin->count << PAGE_SHIFT), (int)n,
			FOLL_WRITE | FOLL_LONGTERM, pin->pages + pin->count);

		if (done <= 0)
			return done ? done : -EFAULT;
		pin->count += done;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* ---- the limit ------------------------------------------------------------------------ */

/* Regions that are being unpinned, and those who wait for that. */
static atomic_t unpinning = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(unpinned);

static bool try_charge(const struct cred *cred, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long old = atomic_long_read(&cred->user->locked_vm);

	do {
		if (old < 0 || (unsigned long)old > limit || pages > limit - (unsigned long)old)
			return false;
	} while (!atomic_long_try_cmpxchg(&cred->user->locked_vm, &old, old + (long)pages));
	return true;
}

/*
 * Whether there is nothing to wait for. A work item lowers the user's count first and `unpinning`
 * after it: if that is read first, a 0 means that what the count refuses then is refused for good.
 */
static bool charged_or_last(const struct cred *cred, unsigned long pages, bool *charged)
{
	bool last = !atomic_read_acquire(&unpinning);

	*charged = try_charge(cred, pages);
	return *charged || last;
}

static int charge(struct nmk_pin *pin, unsigned long pages)
{
	bool charged = false;

	pin->cred = get_current_cred();
	if (capable(CAP_IPC_LOCK))
		return 0;
	wait_event_killable_timeout(
		unpinned, charged_or_last(pin->cred, pages, &charged), UNPIN_SECONDS * HZ);
	if (!charged)
		return -ENOMEM;
	pin->charged = pages;
	return 0;
}

static void give_back(struct nmk_pin *pin)
{
	if (pin->count)
		unpin_user_pages_dirty_lock(pin->pages, pin->count, true);
	kvfree(pin->pages);
	if (pin->cred) {
		atomic_long_sub((long)pin->charged, &pin->cred->user->locked_vm);
		put_cred(pin->cred);
	}
	memset(pin, 0, sizeof(*pin));
}

/* ---- pinning --------------------------------------------------------------------------- */

int nmk_pin(struct nmk_pin *pin, uint64_t addr, uint64_t bytes)
{
	unsigned long first = addr & PAGE_MASK, count;
	uint64_t end;
	void *map;
	int error;

	memset(pin, 0, sizeof(*pin));
	if (bytes == 0 || check_add_overflow(addr, bytes, &end) || end > TASK_SIZE_MAX)
		return -EFAULT;
	count = (PAGE_ALIGN(end) - first) >> PAGE_SHIFT;
	/* Before anything is taken in proportion to what a user asks for. */
	error = charge(pin, count);
	if (!error)
		pin->pages =
			kvcalloc(count, sizeof(*pin->pages), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!error)
		error = pin->pages ? pin_pages(pin, first, count) : -ENOMEM;
	map = error ? NULL : vmap(pin->pages, count, VM_MAP, PAGE_KERNEL);
	if (!map) {
		give_back(pin);
		return error ? error : -ENOMEM;
	}
	pin->addr = map + offset_in_page(addr);
	return 0;
}

void nmk_unpin(struct nmk_pin *pin)
{
	if (!pin->count)
		return;
	vunmap((void *)((unsigned long)pin->addr & PAGE_MASK));
	give_back(pin);
}

static struct workqueue_struct *unpin_wq;

static void free_extmem(struct work_struct *work)
{
	struct os_mem *mem = container_of(work, struct os_mem, free);

	nmk_unpin(&mem->pin);
	kfree(mem);
	(void)atomic_dec_return_release(&unpinning);
	wake_up_all(&unpinned);
}

void nmk_extmem_free(struct os_mem *mem)
{
	atomic_inc(&unpinning);
	queue_work(unpin_wq, &mem->free);
}

struct os_mem *nmk_extmem(void *arg, uint64_t addr, uint64_t bytes, struct nm_error *err)
{
	struct os_mem *mem;
	int error;

	if (offset_in_page(addr)) {
		nm_error_set(err, -EINVAL,
			"EXTMEM: the memory doesn't begin at a page of %lu bytes", PAGE_SIZE);
		return NULL;
	}
	mem = kzalloc(sizeof(*mem), GFP_KERNEL_ACCOUNT);
	if (!mem) {
		nm_error_set(err, -ENOMEM, "EXTMEM: no memory");
		return NULL;
	}
	error = nmk_pin(&mem->pin, addr, bytes);
	if (error) {
		nm_error_set(err, error,
			"EXTMEM: %llu bytes of memory can't be held (error %d); they must be mapped and writable, and within the limit of locked memory (ulimit -l)",
			bytes, -error);
		kfree(mem);
		return NULL;
	}
	INIT_WORK(&mem->free, free_extmem);
	mem->addr = mem->pin.addr;
	return mem;
}

int nmk_extmem_register(void)
{
	unpin_wq = alloc_workqueue("netmap-unpin", WQ_UNBOUND, 0);
	return unpin_wq ? 0 : -ENOMEM;
}

void nmk_extmem_unregister(void)
{
	destroy_workqueue(unpin_wq);
}
