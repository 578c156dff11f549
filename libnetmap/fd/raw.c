/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions of real.h as system calls. Those that wait are points of cancellation, as the C
 * library's are. */
#include <linux/types.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "real.h"

enum { SIGNALS_BYTES = 8, PAGE_SHIFT = 12 };

/* A thread may be cancelled during the call. */
#define CANCELLABLE(call)                                                  \
	__extension__({                                                    \
		int old_;                                                  \
		long ret_;                                                 \
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old_); \
		ret_ = (call);                                             \
		pthread_setcanceltype(old_, NULL);                         \
		ret_;                                                      \
	})

static int raw_close(int fd)
{
	return (int)syscall(SYS_close, fd);
}

static int raw_close_range(unsigned int first, unsigned int last, int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

static int raw_dup(int fd)
{
	return (int)syscall(SYS_dup, fd);
}

static int raw_dup3(int fd, int to, int flags)
{
	return (int)syscall(SYS_dup3, fd, to, flags);
}

static int raw_fcntl(int fd, int cmd, ...);

static int raw_dup2(int fd, int to)
{
	if (fd == to)
		return raw_fcntl(fd, F_GETFD) < 0 ? -1 : to;
	return raw_dup3(fd, to, 0);
}

#ifdef SYS_fcntl64
enum { FCNTL = SYS_fcntl64 };
#else
enum { FCNTL = SYS_fcntl };
#endif

static int raw_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return (int)CANCELLABLE(syscall(FCNTL, fd, cmd, arg));
}

static int raw_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

static void *raw_mmap(void *addr, size_t len, int prot, int flags, int fd, off64_t offset)
{
#ifdef SYS_mmap2
	return (void *)syscall(SYS_mmap2, addr, len, prot, flags, fd, (long)(offset >> PAGE_SHIFT));
#else
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
#endif
}

/* The call changes the time: it gets a copy. */
static int raw_ppoll(
	struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec ts = timeout ? *timeout : (struct timespec){0};

	return (int)CANCELLABLE(
		syscall(SYS_ppoll, fds, n, timeout ? &ts : NULL, mask, SIGNALS_BYTES));
}

static int raw_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec ts = {timeout / 1000, timeout % 1000 * 1000000L};

	return raw_ppoll(fds, n, timeout < 0 ? NULL : &ts, NULL);
}

static int raw_pselect(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *timeout,
	const sigset_t *mask)
{
	struct timespec ts = timeout ? *timeout : (struct timespec){0};
	struct {
		const sigset_t *mask;
		size_t bytes;
	} signals = {mask, SIGNALS_BYTES};

	return (int)CANCELLABLE(
		syscall(SYS_pselect6, n, in, out, ex, timeout ? &ts : NULL, &signals));
}

static int raw_select(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval *timeout)
{
	struct timespec ts;
	int ret;

	if (!timeout)
		return raw_pselect(n, in, out, ex, NULL, NULL);
	ts.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000;
	ts.tv_nsec = timeout->tv_usec % 1000000 * 1000L;
	ret = (int)CANCELLABLE(syscall(SYS_pselect6, n, in, out, ex, &ts, NULL));
	timeout->tv_sec = ts.tv_sec; /* what was left */
	timeout->tv_usec = ts.tv_nsec / 1000;
	return ret;
}

static int raw_epoll_ctl(int ep, int op, int fd, struct epoll_event *event)
{
	return (int)syscall(SYS_epoll_ctl, ep, op, fd, event);
}

static int raw_epoll_pwait(
	int ep, struct epoll_event *events, int max, int timeout, const sigset_t *mask)
{
	return (int)CANCELLABLE(
		syscall(SYS_epoll_pwait, ep, events, max, timeout, mask, SIGNALS_BYTES));
}

const struct nmfd_real nmfd_raw = {
	.close = raw_close,
	.close_range = raw_close_range,
	.dup = raw_dup,
	.dup2 = raw_dup2,
	.dup3 = raw_dup3,
	.fcntl = raw_fcntl,
	.ioctl = raw_ioctl,
	.mmap = raw_mmap,
	.poll = raw_poll,
	.ppoll = raw_ppoll,
	.select = raw_select,
	.pselect = raw_pselect,
	.epoll_ctl = raw_epoll_ctl,
	.epoll_pwait = raw_epoll_pwait,
};
