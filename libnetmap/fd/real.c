/* SPDX-License-Identifier: BSD-2-Clause */
#include "real.h"

#include <dlfcn.h>
#include <unistd.h>

struct nmfd_real nmfd_real;
bool nmfd_real_ready;

/* A program that is linked with -static has no dlsym(), or one that finds nothing. */
extern __typeof__(dlsym) dlsym __attribute__((weak));
extern __typeof__(dladdr) dladdr __attribute__((weak));

/* Do both lie in one program or library? */
static bool same_object(const void *a, const void *b)
{
	Dl_info of_a, of_b;

	return dladdr && dladdr(a, &of_a) && dladdr(b, &of_b) && of_a.dli_fbase == of_b.dli_fbase;
}

void *nmfd_next_function(const char *name)
{
	void *f;

	if (!dlsym)
		return NULL;
	f = dlsym(RTLD_NEXT, name);
	if (f)
		return f;
	/* The C library was loaded before us; or there is none behind, and we would find ourselves. */
	f = dlsym(RTLD_DEFAULT, name);
	return f && !same_object(f, (const void *)&nmfd_real) ? f : NULL;
}

/* Several threads may do it at once: they all find the same. */
void nmfd_real_find(void)
{
	static const struct {
		size_t offset;
		const char *name;
	} names[] = {
#define NAME(n) {offsetof(struct nmfd_real, n), #n}
		NAME(close),
		NAME(close_range),
		NAME(dup),
		NAME(dup2),
		NAME(dup3),
		NAME(fcntl),
		NAME(ioctl),
		{offsetof(struct nmfd_real, mmap), "mmap64"},
		NAME(poll),
		NAME(ppoll),
		NAME(select),
		NAME(pselect),
		NAME(epoll_ctl),
		NAME(epoll_pwait),
#undef NAME
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		void *f = nmfd_next_function(names[i].name);

		if (!f)
			f = *(void *const *)((const char *)&nmfd_raw + names[i].offset);
		__atomic_store_n((void **)(void *)((char *)&nmfd_real + names[i].offset), f,
			__ATOMIC_RELAXED);
	}
	__atomic_store_n(&nmfd_real_ready, true, __ATOMIC_RELEASE);
}
