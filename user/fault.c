/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fixed table, so that the handler needs no lock: an entry is free (addr 0), being filled or emptied (BUSY), or its
 * other fields are constant. A mapping is not touched while its entry changes, so the handler may pass over
 * such entries. mmap() is the plain system call, and changes errno only.
 */
#include "fault.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>

#define BUSY UINTPTR_MAX

static struct guarded {
	uintptr_t addr;
	size_t bytes, page;
} table[FAULT_MAPPINGS];
static uint32_t used; /* entries from here on were never used */
static uint64_t replaced;

static struct guarded *find(uintptr_t at)
{
	uint32_t n = __atomic_load_n(&used, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n; i++) {
		uintptr_t addr = __atomic_load_n(&table[i].addr, __ATOMIC_ACQUIRE);

		if (addr != 0 && addr != BUSY && at >= addr && at - addr < table[i].bytes)
			return &table[i];
	}
	return NULL;
}

/* Another thread may have replaced the page meanwhile, and written to it: two replacements lose a write to a page
 * that its owner has taken away, which nobody is promised. */
static bool replace(uintptr_t at)
{
	const struct guarded *g = find(at);
	void *page;

	if (!g)
		return false;
	page = mmap((void *)(at & ~(g->page - 1)), g->page, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (page == MAP_FAILED)
		return false;
	__atomic_fetch_add(&replaced, 1, __ATOMIC_RELAXED);
	/* cppcheck-suppress memleak ; it is part of the mapping, and goes with it */
	return true;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int error = errno;

	/* Sent by a process (code <= 0), or not ours: the touch is repeated, and ends the process. */
	if (info->si_code <= 0 || !replace((uintptr_t)info->si_addr))
		signal(SIGBUS, SIG_DFL);
	errno = error;
	if (info->si_code <= 0)
		raise(SIGBUS);
}

int fault_init(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

static bool take(struct guarded *g)
{
	uintptr_t free_entry = 0;

	return __atomic_compare_exchange_n(
		&g->addr, &free_entry, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

int fault_guard(void *addr, size_t bytes, size_t page)
{
	if (page == 0 || (page & (page - 1)) || ((uintptr_t)addr | bytes) & (page - 1))
		return -EINVAL;
	for (uint32_t i = 0; i < FAULT_MAPPINGS; i++) {
		struct guarded *g = &table[i];
		uint32_t n = __atomic_load_n(&used, __ATOMIC_RELAXED);

		if (!take(g))
			continue;
		g->bytes = bytes;
		g->page = page;
		__atomic_store_n(&g->addr, (uintptr_t)addr, __ATOMIC_RELEASE);
		while (n < i + 1 && !__atomic_compare_exchange_n(&used, &n, i + 1, false,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			;
		return 0;
	}
	return -ENOSPC;
}

void fault_unguard(void *addr)
{
	uint32_t n = __atomic_load_n(&used, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < n; i++) {
		if (__atomic_load_n(&table[i].addr, __ATOMIC_RELAXED) == (uintptr_t)addr) {
			__atomic_store_n(&table[i].addr, 0, __ATOMIC_RELEASE);
			return;
		}
	}
}

uint64_t fault_count(void)
{
	return __atomic_load_n(&replaced, __ATOMIC_RELAXED);
}
