/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notify.h - signal an eventfd that another process has as well, without ever waiting.
 *
 * write() to an eventfd waits while its counter is full. O_NONBLOCK doesn't prevent that: it
 * belongs to the open file, which the process that got or gave the descriptor shares and can
 * change, and RWF_NOWAIT is not known to eventfds. So an application could fill the counter, clear
 * the flag, and stop the worker that wants to wake it, with all rings of others that it serves.
 *
 * The kernel itself signals eventfds without waiting, and does so on demand when an asynchronous
 * request is completed (IOCB_FLAG_RESFD). The request here is one that is completed at once:
 * a poll of a descriptor that is always ready. It costs about as much as three system calls
 * more than a write(); interrupts are asked for only by who is about to sleep.
 *
 * Thread safety: notify_init() before there are threads; the others: any thread.
 */
#ifndef NETMAPD_NOTIFY_H
#define NETMAPD_NOTIFY_H

#include <stdbool.h>

/* 0 or a negative errno: the kernel has no asynchronous requests for us, and notify_eventfd() will
 * use write(). */
int notify_init(void);
void notify_exit(void); /* no other thread is left */

/*
 * May a descriptor that came from another process be signalled? True: it is an eventfd that can be
 * written, and O_NONBLOCK is set on it now, for where write() has to do.
 */
bool notify_usable(int fd);

/* Adds 1 to the counter. A full counter, or what is no eventfd, is left alone. */
void notify_eventfd(int fd);

#endif
