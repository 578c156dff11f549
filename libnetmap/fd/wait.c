/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A round as the header draws it; then poll() and select(), which make items of their sets and
 * back.
 *
 * Interrupts are asked for port by port (prepare_wait); the first that has an event after all ends
 * it, and finish_wait() takes back what was asked for. Several processes may sleep on one port:
 * then one of them has the interrupt, and the others wake after a slice of time to see whether it
 * fell to them.
 */
#include "wait.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "real.h"

enum { FEW = 32 }; /* items that need no memory of their own */

static const int64_t NO_LIMIT = INT64_MAX;

int64_t nmfd_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* ---- one round ------------------------------------------------------------------------ */

static struct nmlib_daemon_port *port_of(const struct nmfd_item *it)
{
	return it->file ? nmfd_port(it->file) : NULL;
}

/* What is ready of netmap's. Returns how many; *others: items that are not. */
static int look_at_ours(struct nmfd_item *items, size_t n, size_t *others)
{
	int ready = 0;

	*others = 0;
	for (size_t i = 0; i < n; i++) {
		struct nmlib_daemon_port *p = port_of(&items[i]);

		items[i].revents = 0;
		if (!items[i].file) {
			*others += items[i].fd >= 0;
			continue;
		}
		/* As /dev/netmap before a registration. */
		items[i].revents = p ? nmlib_daemon_events(p, items[i].events) : POLLERR;
		ready += items[i].revents != 0;
	}
	return ready;
}

/* The descriptors of a sleep: each other's one, three of each of ours. */
static nfds_t fill(const struct nmfd_item *items, size_t n, struct pollfd *fds, bool ours)
{
	nfds_t count = 0;

	for (size_t i = 0; i < n; i++) {
		struct nmlib_daemon_port *p = port_of(&items[i]);

		if (!items[i].file) {
			fds[count++] =
				(struct pollfd){.fd = items[i].fd, .events = items[i].events};
		} else if (ours && p) {
			nmlib_daemon_wait_fds(p, items[i].events, &fds[count]);
			count += NMLIB_WAIT_FDS;
		}
	}
	return count;
}

/* Takes over what ppoll() said. Returns the others that are ready. */
static int take(struct nmfd_item *items, size_t n, const struct pollfd *fds, bool ours)
{
	int ready = 0;

	for (size_t i = 0; i < n; i++) {
		struct nmlib_daemon_port *p = port_of(&items[i]);

		if (!items[i].file) {
			items[i].revents = fds->revents;
			ready += fds++->revents != 0;
		} else if (ours && p) {
			nmlib_daemon_drain_wait(p, fds);
			fds += NMLIB_WAIT_FDS;
		}
	}
	return ready;
}

/* Asks for interrupts, one after the other; *prepared: so many. False: there is an event. */
static bool prepare_wait(struct nmfd_item *items, size_t n, size_t *prepared, int *wait_ms)
{
	*wait_ms = -1;
	for (*prepared = 0; *prepared < n;) {
		struct nmfd_item *it = &items[(*prepared)++];
		struct nmlib_daemon_port *p = port_of(it);
		int s;

		if (!p)
			continue;
		if (!nmlib_daemon_prepare_wait(p, it->events))
			return false;
		s = nmlib_daemon_wait_ms(p, it->events);
		if (s >= 0 && (*wait_ms < 0 || s < *wait_ms))
			*wait_ms = s;
	}
	return true;
}

static void finish_wait(struct nmfd_item *items, size_t prepared)
{
	for (size_t i = 0; i < prepared; i++) {
		struct nmlib_daemon_port *p = port_of(&items[i]);

		if (p)
			nmlib_daemon_finish_wait(p, items[i].events);
	}
}

/* One sleep until `deadline`. Returns the others that are ready, or -1 with errno. */
static int sleep_once(struct nmfd_item *items, size_t n, struct pollfd *fds, int64_t deadline,
	const sigset_t *mask)
{
	struct timespec left, *limit = NULL;
	int64_t ns = NO_LIMIT;
	size_t prepared;
	nfds_t count;
	int ret = 0, wait_ms, error;

	if (prepare_wait(items, n, &prepared, &wait_ms)) {
		count = fill(items, n, fds, true);
		if (deadline != NO_LIMIT) {
			ns = deadline - nmfd_now();
			ns = ns < 0 ? 0 : ns;
		}
		if (wait_ms >= 0 && ns > wait_ms * 1000000LL)
			ns = wait_ms * 1000000LL;
		if (ns != NO_LIMIT) {
			left.tv_sec = ns / 1000000000;
			left.tv_nsec = ns % 1000000000;
			limit = &left;
		}
		ret = REAL(ppoll)(fds, count, limit, mask);
		if (ret > 0)
			ret = take(items, n, fds, true);
	}
	error = errno;
	finish_wait(items, prepared);
	errno = error;
	return ret;
}

/* What is ready now, of all. */
static int look(struct nmfd_item *items, size_t n, struct pollfd *fds)
{
	static const struct timespec at_once = {0, 0};
	size_t others;
	int ours = look_at_ours(items, n, &others), ret;

	if (!others)
		return ours;
	ret = REAL(ppoll)(fds, fill(items, n, fds, false), &at_once, NULL);
	if (ret < 0)
		return ours ? ours : -1;
	return ours + take(items, n, fds, false);
}

static int wait_with(struct nmfd_item *items, size_t n, struct pollfd *fds,
	const struct timespec *timeout, const sigset_t *mask)
{
	int64_t seconds = timeout ? timeout->tv_sec : 0, ns = timeout ? timeout->tv_nsec : 0;
	int64_t deadline = NO_LIMIT;
	int ready = look(items, n, fds), error;

	if (ready != 0 || (timeout && !timeout->tv_sec && !timeout->tv_nsec))
		return ready;
	if (timeout && seconds < INT64_MAX / 1000000000 / 4)
		deadline = nmfd_now() + seconds * 1000000000LL + ns;
	for (;;) {
		ready = sleep_once(items, n, fds, deadline, mask);
		error = errno;
		if (ready < 0) {
			errno = error;
			return -1;
		}
		ready = look(items, n, fds);
		if (ready != 0 || (deadline != NO_LIMIT && nmfd_now() >= deadline))
			return ready;
	}
}

int nmfd_wait(
	struct nmfd_item *items, size_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct pollfd few[FEW * NMLIB_WAIT_FDS], *fds = few;
	int ret, error;

	if (n > FEW)
		fds = malloc(n * NMLIB_WAIT_FDS * sizeof(*fds));
	if (!fds) {
		errno = ENOMEM;
		return -1;
	}
	ret = wait_with(items, n, fds, timeout, mask);
	error = errno;
	if (fds != few)
		free(fds);
	errno = error;
	return ret;
}

/* ---- poll ----------------------------------------------------------------------------- */

bool nmfd_any(struct pollfd *fds, nfds_t n)
{
	for (nfds_t i = 0; i < n; i++)
		if (nmfd_kind_of(fds[i].fd) == NMFD_FILE)
			return true;
	return false;
}

static void put_all(struct nmfd_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (items[i].file)
			nmfd_put(items[i].file);
}

int nmfd_poll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct nmfd_item few[FEW], *items = few;
	int ret, error;

	if (n > FEW)
		items = malloc(n * sizeof(*items));
	if (!items) {
		errno = ENOMEM;
		return -1;
	}
	for (nfds_t i = 0; i < n; i++)
		items[i] = (struct nmfd_item){.file = nmfd_get(fds[i].fd, NMFD_FILE),
			.fd = fds[i].fd,
			.events = fds[i].events};
	ret = nmfd_wait(items, n, timeout, mask);
	error = errno;
	for (nfds_t i = 0; i < n && ret >= 0; i++)
		fds[i].revents = items[i].revents;
	put_all(items, n);
	if (items != few)
		free(items);
	errno = error;
	return ret;
}

/* ---- select --------------------------------------------------------------------------- */

/* Programs may have sets of more than FD_SETSIZE descriptors. */
enum { WORD_BITS = 8 * sizeof(unsigned long) };

static bool is_set(const fd_set *set, int fd)
{
	const unsigned long *words = (const unsigned long *)(const void *)set;

	return set && (words[fd / WORD_BITS] >> (fd % WORD_BITS) & 1);
}

static void clear(fd_set *set, int n)
{
	if (set)
		memset(set, 0, ((size_t)n + WORD_BITS - 1) / WORD_BITS * sizeof(unsigned long));
}

static int mark(fd_set *set, int fd)
{
	unsigned long *words = (unsigned long *)(void *)set;

	words[fd / WORD_BITS] |= 1UL << (fd % WORD_BITS);
	return 1;
}

bool nmfd_any_selected(int n, const fd_set *in, const fd_set *out)
{
	for (int fd = 0; fd < n; fd++)
		if ((is_set(in, fd) || is_set(out, fd)) && nmfd_kind_of(fd) == NMFD_FILE)
			return true;
	return false;
}

static size_t select_items(
	int n, const fd_set *in, const fd_set *out, const fd_set *ex, struct nmfd_item *items)
{
	size_t count = 0;

	for (int fd = 0; fd < n; fd++) {
		short events = 0;

		if (is_set(in, fd))
			events |= POLLIN;
		if (is_set(out, fd))
			events |= POLLOUT;
		if (is_set(ex, fd))
			events |= POLLPRI;
		if (events)
			items[count++] = (struct nmfd_item){
				.file = nmfd_get(fd, NMFD_FILE), .fd = fd, .events = events};
	}
	return count;
}

/* As the kernel counts: an error is something to read and something to write. */
static int select_result(
	int n, const struct nmfd_item *items, size_t count, fd_set *in, fd_set *out, fd_set *ex)
{
	int ready = 0;

	for (size_t i = 0; i < count; i++)
		if (!items[i].file && (items[i].revents & POLLNVAL)) {
			errno = EBADF;
			return -1;
		}
	clear(in, n);
	clear(out, n);
	clear(ex, n);
	for (size_t i = 0; i < count; i++) {
		const struct nmfd_item *it = &items[i];

		if ((it->events & POLLIN) && (it->revents & (POLLIN | POLLHUP | POLLERR)))
			ready += mark(in, it->fd);
		if ((it->events & POLLOUT) && (it->revents & (POLLOUT | POLLERR)))
			ready += mark(out, it->fd);
		if ((it->events & POLLPRI) && (it->revents & POLLPRI))
			ready += mark(ex, it->fd);
	}
	return ready;
}

int nmfd_select(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *timeout,
	const sigset_t *mask)
{
	struct nmfd_item *items = malloc((size_t)(n ? n : 1) * sizeof(*items));
	size_t count;
	int ret, error;

	if (!items) {
		errno = ENOMEM;
		return -1;
	}
	count = select_items(n, in, out, ex, items);
	ret = nmfd_wait(items, count, timeout, mask);
	if (ret >= 0)
		ret = select_result(n, items, count, in, out, ex);
	error = errno;
	put_all(items, count);
	free(items);
	errno = error;
	return ret;
}
