/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notify.h - signal an eventfd that another process has as well, at a price that others can bear.
 *
 * Two things about such a descriptor are the other process's choice.
 *
 * Whether a write() waits. It does while the counter is full, and O_NONBLOCK doesn't prevent that: it
 * belongs to the open file, which the process that got or gave the descriptor shares and can change,
 * and RWF_NOWAIT is not known to eventfds. The kernel itself signals eventfds without waiting, and
 * does so on demand when an asynchronous request is completed (IOCB_FLAG_RESFD). The request here is
 * one that is completed at once: a poll of a descriptor that is always ready. It costs about as much
 * as three system calls more than a write(); interrupts are asked for only by who is about to sleep.
 *
 * What the signal costs. All who wait for the eventfd are told one after the other, in the signalling
 * thread: with it in 200,000 epoll instances that takes 185 ms. So each signal is timed. Each may take
 * NOTIFY_LIMIT_NS of the processor; what one takes more, others have to take less. For a thread is also
 * charged for interrupts that come meanwhile, and in a virtual machine for what the host does instead.
 * Whose signals have taken NOTIFY_EXCESS_NS more is moved to the notifier, a thread that has no
 * rings: it signals each client at most for 1/NOTIFY_SHARE of its time, and all expensive ones for
 * 1/NOTIFY_SHARE_ALL. When signals have become cheap, and the client has done penance, it comes back;
 * each time later than the time before. A user other than netmapd's own begins there with new
 * connections as long as one of his is there.
 *
 *      worker: notify_signal() ---- cheap ------------------------> asynchronous request
 *                               \-- expensive, or no such requests --> notifier, with a duplicate
 *
 * The kernel may have no asynchronous requests for us: any user can use up fs.aio-max-nr. Then the
 * notifier signals for all, by write(), after poll() has said that there is room; a timer interrupts
 * it when somebody has filled the counter in between. It tries again to get the requests.
 *
 * Thread safety: notify_init() and notify_exit() before and after other threads; the others: any.
 */
#ifndef NETMAPD_NOTIFY_H
#define NETMAPD_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

enum {
	NOTIFY_LIMIT_NS = 50000, /* a signal is cheap up to here */
	NOTIFY_EXCESS_NS = 20 * NOTIFY_LIMIT_NS,
	NOTIFY_SHARE = 20,
	NOTIFY_SHARE_ALL = 5,
	NOTIFY_CHEAP = 8,      /* signals in a row, before a client comes back */
	NOTIFY_PENANCE_S = 10, /* the first time; doubled each time, up to an hour */
};

/* Starts the notifier. 0 or a negative errno. */
int notify_init(void);
void notify_exit(void); /* no other thread is left; what waits is dropped */

/* Who is notified: one that can be expensive by itself, with so many slots for descriptors. */
struct notify_client;

/* `user`: on whose behalf. NULL: no memory. */
struct notify_client *notify_client_new(uint32_t slots, uint32_t user);
void notify_client_free(struct notify_client *c); /* NULL is allowed; no other call is going on */

/*
 * May a descriptor that came from another process be signalled? True: it is an eventfd that can be
 * written.
 */
bool notify_usable(int fd);

/*
 * Adds 1 to the counter of the descriptor in a slot, now or later. A full counter, or what is no
 * eventfd, is left alone. The descriptor may be closed when the call has returned. False: not even
 * later, for want of memory or descriptors; try again.
 */
bool notify_signal(struct notify_client *c, uint32_t slot, int fd);

/* Before another descriptor comes into a slot: what still waits is for the former one, and dropped when that is much. */
void notify_replaced(struct notify_client *c, uint32_t slot);

/* Signals of this client that went to the notifier. */
uint64_t notify_client_slow(const struct notify_client *c);

struct notify_stats {
	bool asynchronous; /* requests can be had */
	uint64_t moved;    /* clients, to the notifier, for what they cost */
	uint64_t returned; /* back */
	uint64_t signals;  /* of the notifier */
};

void notify_stats(struct notify_stats *stats);

#endif
