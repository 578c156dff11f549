/* SPDX-License-Identifier: BSD-2-Clause */
#include "real.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

struct run_real run_real;
bool run_real_ready;

/* Without it nothing would work, not even a report. */
static void *find(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f)
		abort();
	return f;
}

/* Several threads may do it at once: they all find the same. */
void run_real_find(void)
{
	static const struct {
		size_t offset;
		const char *name;
	} names[] = {
#define NAME(n) {offsetof(struct run_real, n), #n}
		NAME(open),
		NAME(openat),
		NAME(close),
		NAME(close_range),
		NAME(dup),
		NAME(dup2),
		NAME(dup3),
		NAME(fcntl),
		NAME(ioctl),
		NAME(mmap),
		NAME(read),
		NAME(write),
		NAME(readv),
		NAME(writev),
		NAME(poll),
		NAME(ppoll),
		NAME(select),
		NAME(pselect),
		NAME(epoll_ctl),
		NAME(epoll_pwait),
		NAME(access),
		NAME(faccessat),
		NAME(fstatat),
		NAME(fstat),
#undef NAME
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		__atomic_store_n((void **)(void *)((char *)&run_real + names[i].offset),
			find(names[i].name), __ATOMIC_RELAXED);
	__atomic_store_n(&run_real_ready, true, __ATOMIC_RELEASE);
}
