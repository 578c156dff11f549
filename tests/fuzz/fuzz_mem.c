/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of regions from the heap, in the place of user/os.c's memfd: for targets without a second
 * process. Faster by far, and what reaches beyond a region is found. What is freed waits, poisoned, for
 * the next region of that size.
 */
#include "fuzz_core.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>

enum { PAGE = 4096, SIZES = 24 };

struct os_mem {
	void *addr;
	uint64_t bytes;
	struct os_mem *next;
};

static struct os_mem *unused[SIZES]; /* by the logarithm of their size */

void __wrap_os_mem_free(struct os_mem *mem);
void __wrap_os_mem_trim(struct os_mem *mem, uint64_t bytes);
void *__wrap_os_mem_addr(const struct os_mem *mem);

static struct os_mem **of_size(uint64_t bytes)
{
	uint32_t log2 = 0;

	while ((1ULL << log2) < bytes)
		log2++;
	fuzz_check(log2 < SIZES, "%llu bytes", (unsigned long long)bytes);
	return &unused[log2];
}

static struct os_mem *make(uint64_t bytes)
{
	struct os_mem *mem = calloc(1, sizeof(*mem));

	fuzz_check(mem && posix_memalign(&mem->addr, PAGE, bytes) == 0, "no memory");
	mem->bytes = bytes;
	return mem;
}

struct os_mem *fuzz_mem_alloc(uint64_t bytes)
{
	struct os_mem **list = of_size(bytes), *mem;

	while (*list && (*list)->bytes != bytes)
		list = &(*list)->next;
	mem = *list;
	if (mem)
		*list = mem->next;
	else
		mem = make(bytes);
	ASAN_UNPOISON_MEMORY_REGION(mem->addr, bytes);
	memset(mem->addr, 0, bytes);
	return mem;
}

void __wrap_os_mem_free(struct os_mem *mem)
{
	struct os_mem **list;

	if (!mem)
		return;
	ASAN_POISON_MEMORY_REGION(mem->addr, mem->bytes);
	list = of_size(mem->bytes);
	mem->next = *list;
	*list = mem;
}

void *__wrap_os_mem_addr(const struct os_mem *mem)
{
	return mem->addr;
}

/* What is given back must not be touched until all of it is free. */
void __wrap_os_mem_trim(struct os_mem *mem, uint64_t bytes)
{
	if (bytes < mem->bytes)
		ASAN_POISON_MEMORY_REGION((char *)mem->addr + bytes, mem->bytes - bytes);
}
