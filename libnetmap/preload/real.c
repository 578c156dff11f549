/* SPDX-License-Identifier: BSD-2-Clause */
#include "real.h"

#include <stdlib.h>

#include "../fd/real.h"

struct run_real run_real;
bool run_real_ready;

/* Several threads may do it at once: they all find the same. Without a function nothing would work, not
 * even a report. */
void run_real_find(void)
{
	static const struct {
		size_t offset;
		const char *name;
	} names[] = {
#define NAME(n) {offsetof(struct run_real, n), #n}
		NAME(open),
		NAME(openat),
		NAME(read),
		NAME(write),
		NAME(readv),
		NAME(writev),
		NAME(access),
		NAME(faccessat),
		NAME(fstatat),
		NAME(fstat),
#undef NAME
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		void *f = nmfd_next_function(names[i].name);

		if (!f)
			abort();
		__atomic_store_n((void **)(void *)((char *)&run_real + names[i].offset), f,
			__ATOMIC_RELAXED);
	}
	__atomic_store_n(&run_real_ready, true, __ATOMIC_RELEASE);
}
