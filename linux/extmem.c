// SPDX-License-Identifier: BSD-2-Clause
/*
 * Memory of an application, as the memory of a region or as a CSB: its pages are pinned for as long
 * as that exists, counted against the process's limit of locked memory, and mapped in a row for the
 * kernel.
 */
#include "extmem.h"

#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* At a time, so that a fatal signal is seen and others get the CPU. */
#define PIN_PAGES 4096

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

static void give_back(struct nmk_pin *pin)
{
	if (pin->count)
		unpin_user_pages_dirty_lock(pin->pages, pin->count, true);
	kvfree(pin->pages);
	memset(pin, 0, sizeof(*pin));
}

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
	pin->pages = kvcalloc(count, sizeof(*pin->pages), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pin->pages)
		return -ENOMEM;
	error = account_locked_vm(current->mm, count, true);
	if (error) {
		give_back(pin);
		return error;
	}
	error = pin_pages(pin, first, count);
	map = error ? NULL : vmap(pin->pages, count, VM_MAP, PAGE_KERNEL);
	if (!map) {
		give_back(pin);
		account_locked_vm(current->mm, count, false);
		return error ? error : -ENOMEM;
	}
	mmgrab(current->mm);
	pin->mm = current->mm;
	pin->addr = map + offset_in_page(addr);
	return 0;
}

void nmk_unpin(struct nmk_pin *pin)
{
	struct mm_struct *mm = pin->mm;
	unsigned long count = pin->count;

	if (!count)
		return;
	vunmap((void *)((unsigned long)pin->addr & PAGE_MASK));
	give_back(pin);
	account_locked_vm(mm, count, false);
	mmdrop(mm);
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
	mem->addr = mem->pin.addr;
	return mem;
}
