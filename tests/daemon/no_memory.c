/* SPDX-License-Identifier: BSD-2-Clause */
/* Preloaded into netmapd: there is never memory for pieces of $NO_MEMORY bytes; each time it writes so. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t bytes);

static size_t refused;
static const char said[] = "no_memory.c: there is none\n";

__attribute__((constructor)) static void read_size(void)
{
	const char *bytes = getenv("NO_MEMORY");

	refused = bytes ? strtoul(bytes, NULL, 10) : 0;
}

void *malloc(size_t bytes)
{
	if (bytes == 0 || bytes != refused)
		return __libc_malloc(bytes);
	if (write(STDERR_FILENO, said, sizeof(said) - 1) < 0) {
		/* the test that looks for it fails */
	}
	errno = ENOMEM;
	return NULL;
}
