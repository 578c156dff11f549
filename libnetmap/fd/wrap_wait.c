/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands in the place of the C library's functions that wait for descriptors. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "epoll.h"
#include "real.h"
#include "wait.h"

/* Names that programs are linked to, but that have no declaration. */
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
	size_t room);

/* Milliseconds as a timespec; NULL for "no limit". */
static const struct timespec *limit(int ms, struct timespec *ts)
{
	if (ms < 0)
		return NULL;
	ts->tv_sec = ms / 1000;
	ts->tv_nsec = ms % 1000 * 1000000L;
	return ts;
}

/* ---- poll ----------------------------------------------------------------------------- */

static struct pollfd probe = {.fd = -1};
static bool probe_came; /* atomic */

/* The program's calls find what this one finds. */
bool nmfd_is_in_place(void)
{
	poll(&probe, 1, 0);
	return OS_LOAD(&probe_came);
}

NMFD_IN_PLACE int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec ts;

	if (!nmfd_any(fds, n)) {
		if (unlikely(fds == &probe))
			OS_STORE(&probe_came, true);
		return REAL(poll)(fds, n, timeout);
	}
	return nmfd_poll(fds, n, limit(timeout, &ts), NULL);
}

NMFD_IN_PLACE int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
	if (room / sizeof(*fds) < n)
		__builtin_trap();
	return poll(fds, n, timeout);
}

NMFD_IN_PLACE int ppoll(
	struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	if (!nmfd_any(fds, n))
		return REAL(ppoll)(fds, n, timeout, mask);
	return nmfd_poll(fds, n, timeout, mask);
}

NMFD_IN_PLACE int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
	const sigset_t *mask, size_t room)
{
	if (room / sizeof(*fds) < n)
		__builtin_trap();
	return ppoll(fds, n, timeout, mask);
}

/* ---- select --------------------------------------------------------------------------- */

/* Linux' select() tells how much time was left. */
static void time_left(struct timeval *timeout, int64_t deadline)
{
	int64_t us = (deadline - nmfd_now()) / 1000;

	us = us < 0 ? 0 : us;
	timeout->tv_sec = us / 1000000;
	timeout->tv_usec = us % 1000000;
}

NMFD_IN_PLACE int select(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval *timeout)
{
	struct timespec ts;
	int64_t deadline;
	int ret, error;

	if (!nmfd_any_selected(n, in, out))
		return REAL(select)(n, in, out, ex, timeout);
	if (!timeout)
		return nmfd_select(n, in, out, ex, NULL, NULL);
	if (timeout->tv_sec < 0 || timeout->tv_usec < 0) {
		errno = EINVAL;
		return -1;
	}
	ts.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000;
	ts.tv_nsec = timeout->tv_usec % 1000000 * 1000;
	if (ts.tv_sec > INT32_MAX)
		ts.tv_sec = INT32_MAX;
	deadline = nmfd_now() + ts.tv_sec * 1000000000LL + ts.tv_nsec;
	ret = nmfd_select(n, in, out, ex, &ts, NULL);
	error = errno;
	time_left(timeout, deadline);
	errno = error;
	return ret;
}

NMFD_IN_PLACE int pselect(int n, fd_set *in, fd_set *out, fd_set *ex,
	const struct timespec *timeout, const sigset_t *mask)
{
	if (!nmfd_any_selected(n, in, out))
		return REAL(pselect)(n, in, out, ex, timeout, mask);
	return nmfd_select(n, in, out, ex, timeout, mask);
}

/* ---- epoll ---------------------------------------------------------------------------- */

NMFD_IN_PLACE int epoll_ctl(int ep, int op, int fd, struct epoll_event *event)
{
	if (nmfd_kind_of(fd) != NMFD_FILE)
		return REAL(epoll_ctl)(ep, op, fd, event);
	return nmfd_epoll_ctl(ep, op, fd, event);
}

/* The set may get its first file of netmap's while a thread waits. */
static int wait_plain(
	int ep, struct epoll_event *events, int max, int timeout, const sigset_t *mask, bool *again)
{
	int n = REAL(epoll_pwait)(ep, events, max, timeout, mask);
	bool changed = false;

	if (n > 0)
		n = nmfd_epoll_filter(events, n, &changed);
	*again = changed && n == 0;
	return n;
}

static int do_epoll_wait(
	int ep, struct epoll_event *events, int max, int timeout, const sigset_t *mask)
{
	struct timespec ts;
	bool again = false;
	int n;

	if (nmfd_kind_of(ep) != NMFD_EPOLL) {
		n = wait_plain(ep, events, max, timeout, mask, &again);
		if (!again)
			return n;
	}
	return nmfd_epoll_wait(ep, events, max, limit(timeout, &ts), mask);
}

NMFD_IN_PLACE int epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
	return do_epoll_wait(ep, events, max, timeout, NULL);
}

NMFD_IN_PLACE int epoll_pwait(
	int ep, struct epoll_event *events, int max, int timeout, const sigset_t *mask)
{
	return do_epoll_wait(ep, events, max, timeout, mask);
}

NMFD_IN_PLACE int epoll_pwait2(int ep, struct epoll_event *events, int max,
	const struct timespec *timeout, const sigset_t *mask)
{
	int64_t ms = -1;

	if (nmfd_kind_of(ep) == NMFD_EPOLL)
		return nmfd_epoll_wait(ep, events, max, timeout, mask);
	/* Not looked up: older C libraries have none. A part of a millisecond is a whole one. */
	if (timeout)
		ms = timeout->tv_sec > INT32_MAX / 1000
			     ? INT32_MAX
			     : timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000;
	return do_epoll_wait(ep, events, max, (int)ms, mask);
}
