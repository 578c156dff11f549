/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * real.h - the C library's own functions, behind those that netmap-run.so puts in their place.
 *
 * REAL(close)(fd) is what close(fd) would be without netmap-run. They are looked up at the
 * first use, for a program's constructors may come before ours.
 *
 * Thread safety: any thread.
 */
#ifndef NETMAP_RUN_REAL_H
#define NETMAP_RUN_REAL_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct run_real {
	int (*open)(const char *path, int flags, ...);
	int (*openat)(int dir, const char *path, int flags, ...);
	int (*close)(int fd);
	int (*close_range)(unsigned int first, unsigned int last, int flags);
	int (*dup)(int fd);
	int (*dup2)(int fd, int to);
	int (*dup3)(int fd, int to, int flags);
	int (*fcntl)(int fd, int cmd, ...);
	int (*ioctl)(int fd, unsigned long request, ...);
	void *(*mmap)(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
	ssize_t (*read)(int fd, void *buf, size_t bytes);
	ssize_t (*write)(int fd, const void *buf, size_t bytes);
	ssize_t (*readv)(int fd, const struct iovec *iov, int n);
	ssize_t (*writev)(int fd, const struct iovec *iov, int n);
	int (*poll)(struct pollfd *fds, nfds_t n, int timeout);
	int (*ppoll)(
		struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
	int (*select)(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval *timeout);
	int (*pselect)(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *timeout,
		const sigset_t *mask);
	int (*epoll_ctl)(int ep, int op, int fd, struct epoll_event *event);
	int (*epoll_pwait)(
		int ep, struct epoll_event *events, int max, int timeout, const sigset_t *mask);
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

#define REAL(name) (run_real_get()->name)

#endif
