/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wait.h - poll() over files of /dev/netmap and any other descriptors together.
 *
 *      sync the rings, see what is ready ----> something: done
 *         ^                    |
 *         |                    v nothing
 *         |             ask netmapd for interrupts
 *         |                    v
 *         +------------ ppoll(the others, and the eventfds and connections of ours)
 *
 * Without others and with timeout 0 that takes no system call.
 *
 * Thread safety: any thread; any number of threads on the same files.
 */
#ifndef LIBNETMAP_FD_WAIT_H
#define LIBNETMAP_FD_WAIT_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "file.h"

struct nmfd_item {
	struct nmfd_file *file; /* NULL: fd is not netmap's */
	int fd;                 /* < 0: nothing */
	short events, revents;
};

/*
 * Waits for an event of any item, at most `timeout` (NULL: no limit), with the signals
 * of `mask` (NULL: as they are). Returns the number of items with revents, or -1 with errno.
 */
int nmfd_wait(
	struct nmfd_item *items, size_t n, const struct timespec *timeout, const sigset_t *mask);

/* Nanoseconds of the clock of timeouts. */
int64_t nmfd_now(void);

/* Is there one of netmap's among the descriptors? */
bool nmfd_any(struct pollfd *fds, nfds_t n);

/* Does a poll() in this program come by here? */
bool nmfd_is_in_place(void);

/* poll(), ppoll() and select(), for sets of which some are netmap's. */
int nmfd_poll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
bool nmfd_any_selected(int n, const fd_set *in, const fd_set *out);
int nmfd_select(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *timeout,
	const sigset_t *mask);

#endif
