/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * os_user.h - what the user-space platform offers to its own programs beside core/os.h.
 *
 * The log is in log.h.
 *
 * Thread safety: any thread.
 */
#ifndef USER_OS_USER_H
#define USER_OS_USER_H

#include "log.h"
#include "os.h"

/*
 * Region memory on the first `bytes` (a multiple of the page size) of somebody else's memfd, which
 * has passed sealed_check() (sealed.h). The descriptor is duplicated. NULL with errno.
 */
struct os_mem *os_mem_on_file(int fd, uint64_t bytes);

/* The sealed memfd behind a region's memory. Stays the region's: duplicate it to keep it. */
int os_mem_fd(const struct os_mem *mem);

#endif
