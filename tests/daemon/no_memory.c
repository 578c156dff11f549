/* SPDX-License-Identifier: BSD-2-Clause */
/* Preloaded into netmapd: there is never memory for pieces of $NO_MEMORY bytes. */
#include <errno.h>
#include <stdlib.h>

void *__libc_malloc(size_t bytes);

static size_t refused;

__attribute__((constructor)) static void read_size(void)
{
	const char *bytes = getenv("NO_MEMORY");

	refused = bytes ? strtoul(bytes, NULL, 10) : 0;
}

void *malloc(size_t bytes)
{
	if (bytes == 0 || bytes != refused)
		return __libc_malloc(bytes);
	errno = ENOMEM;
	return NULL;
}
