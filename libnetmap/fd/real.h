/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * real.h - the C library's own functions, behind those that stand in their place.
 *
 * REAL(close)(fd) is what close(fd) would be without them. They are looked up at the
 * first use, for a program's constructors may come before ours. A program without a dynamic
 * loader (linked with -static) has none to look up: there they are system calls (raw.c).
 *
 * Thread safety: any thread.
 */
#ifndef LIBNETMAP_FD_REAL_H
#define LIBNETMAP_FD_REAL_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/types.h>

struct nmfd_real {
	int (*close)(int fd);
	int (*close_range)(unsigned int first, unsigned int last, int flags);
	int (*dup)(int fd);
	int (*dup2)(int fd, int to);
	int (*dup3)(int fd, int to, int flags);
	int (*fcntl)(int fd, int cmd, ...);
	int (*ioctl)(int fd, unsigned long request, ...);
	void *(*mmap)(void *addr, size_t len, int prot, int flags, int fd, off64_t offset);
	int (*poll)(struct pollfd *fds, nfds_t n, int timeout);
	int (*ppoll)(
		struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
	int (*select)(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval *timeout);
	int (*pselect)(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *timeout,
		const sigset_t *mask);
	int (*epoll_ctl)(int ep, int op, int fd, struct epoll_event *event);
	int (*epoll_pwait)(
		int ep, struct epoll_event *events, int max, int timeout, const sigset_t *mask);
};

extern struct nmfd_real nmfd_real;
extern bool nmfd_real_ready; /* atomic */

/* System calls. */
extern const struct nmfd_real nmfd_raw;

void nmfd_real_find(void);

/* The next function of this name behind our own; NULL: there is none. */
void *nmfd_next_function(const char *name);

static inline const struct nmfd_real *nmfd_real_get(void)
{
	if (__builtin_expect(!__atomic_load_n(&nmfd_real_ready, __ATOMIC_ACQUIRE), 0))
		nmfd_real_find();
	return &nmfd_real;
}

#define REAL(name) (nmfd_real_get()->name)

/*
 * A definition in the place of one of the C library's, for the program and its libraries. Weak: in a
 * program that has one of its own that is the one.
 */
#define NMFD_IN_PLACE __attribute__((weak, visibility("default")))

#endif
