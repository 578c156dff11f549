/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Only for programs of 32 bits: the names that the C library gives these functions in programs whose
 * times have 64 bits (-D_TIME_BITS=64). A wait that is longer than 32 bits can say has no end.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>

#include "real.h"

struct timespec64 {
	int64_t tv_sec;
	int32_t tv_nsec, unused;
};

struct timeval64 {
	int64_t tv_sec, tv_usec;
};

int __ppoll64(struct pollfd *fds, nfds_t n, const struct timespec64 *timeout, const sigset_t *mask);
int __select64(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval64 *timeout);
int __pselect64(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec64 *timeout,
	const sigset_t *mask);
int __epoll_pwait2_time64(int ep, struct epoll_event *events, int max,
	const struct timespec64 *timeout, const sigset_t *mask);
int __ioctl_time64(int fd, unsigned long request, ...);
int __fcntl_time64(int fd, int cmd, ...);

static const struct timespec *shorter(const struct timespec64 *timeout, struct timespec *ts)
{
	if (!timeout || timeout->tv_sec > INT32_MAX)
		return NULL;
	ts->tv_sec = (time_t)timeout->tv_sec;
	ts->tv_nsec = timeout->tv_nsec;
	return ts;
}

NMFD_IN_PLACE int __ppoll64(
	struct pollfd *fds, nfds_t n, const struct timespec64 *timeout, const sigset_t *mask)
{
	struct timespec ts;

	return ppoll(fds, n, shorter(timeout, &ts), mask);
}

NMFD_IN_PLACE int __select64(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval64 *timeout)
{
	struct timeval tv;
	int ret;

	if (!timeout || timeout->tv_sec > INT32_MAX)
		return select(n, in, out, ex, NULL);
	tv.tv_sec = (time_t)timeout->tv_sec;
	tv.tv_usec = (suseconds_t)timeout->tv_usec;
	ret = select(n, in, out, ex, &tv);
	timeout->tv_sec = tv.tv_sec;
	timeout->tv_usec = tv.tv_usec;
	return ret;
}

NMFD_IN_PLACE int __pselect64(int n, fd_set *in, fd_set *out, fd_set *ex,
	const struct timespec64 *timeout, const sigset_t *mask)
{
	struct timespec ts;

	return pselect(n, in, out, ex, shorter(timeout, &ts), mask);
}

NMFD_IN_PLACE int __epoll_pwait2_time64(int ep, struct epoll_event *events, int max,
	const struct timespec64 *timeout, const sigset_t *mask)
{
	struct timespec ts;

	return epoll_pwait2(ep, events, max, shorter(timeout, &ts), mask);
}

/* The third argument is a number or an address; both come as a register. */
NMFD_IN_PLACE int __ioctl_time64(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return ioctl(fd, request, arg);
}

NMFD_IN_PLACE int __fcntl_time64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return fcntl(fd, cmd, arg);
}
