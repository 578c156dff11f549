/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * epoll.h - epoll sets that hold files of /dev/netmap.
 *
 * The set that the program has is real, and its other descriptors are in it. Its files
 * of netmap are on a list beside it; a wait is one for these and for the set itself (wait.h).
 *
 * One descriptor of ours is in the set as well: it is signalled when the list changes, so
 * that threads that wait already learn of it. Its event carries a random number, by which
 * it is taken out of what the program sees.
 *
 * A level: an event is reported as long as it holds. EPOLLET: when the rings have moved
 * since the last report. EPOLLONESHOT: once, until EPOLL_CTL_MOD.
 *
 * Thread safety: any thread. After fork() the lists of parent and child are separate.
 */
#ifndef LIBNETMAP_FD_EPOLL_H
#define LIBNETMAP_FD_EPOLL_H

#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

#include "file.h"

/* epoll_ctl() for an fd that is netmap's. 0, or -1 with errno. */
int nmfd_epoll_ctl(int ep, int op, int fd, struct epoll_event *event);

/* epoll_wait() for a set with netmap's files; as epoll_pwait2(). */
int nmfd_epoll_wait(int ep, struct epoll_event *events, int max, const struct timespec *timeout,
	const sigset_t *mask);

/* Takes the number out of what the real epoll_wait() gave. Returns how many are left;
 * *changed: there was one. */
int nmfd_epoll_filter(struct epoll_event *events, int n, bool *changed);

#endif
