/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * real.h - the C library's functions behind those that only netmap-run puts in their place:
 * as fd/real.h has those on descriptors.
 *
 * Thread safety: any thread.
 */
#ifndef NETMAP_RUN_REAL_H
#define NETMAP_RUN_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct run_real {
	int (*open)(const char *path, int flags, ...);
	int (*openat)(int dir, const char *path, int flags, ...);
	ssize_t (*read)(int fd, void *buf, size_t bytes);
	ssize_t (*write)(int fd, const void *buf, size_t bytes);
	ssize_t (*readv)(int fd, const struct iovec *iov, int n);
	ssize_t (*writev)(int fd, const struct iovec *iov, int n);
	int (*access)(const char *path, int mode);
	int (*faccessat)(int dir, const char *path, int mode, int flags);
	int (*fstatat)(int dir, const char *path, struct stat *st, int flags);
	int (*fstat)(int fd, struct stat *st);
};

extern struct run_real run_real;
extern bool run_real_ready; /* atomic */

void run_real_find(void);

static inline const struct run_real *run_real_get(void)
{
	if (__builtin_expect(!__atomic_load_n(&run_real_ready, __ATOMIC_ACQUIRE), 0))
		run_real_find();
	return &run_real;
}

#define RUN_REAL(name) (run_real_get()->name)

#endif
