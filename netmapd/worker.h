/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker.h - the threads that serve rings.
 *
 * A worker goes round its rings (struct worker_ring), and ring pairs of devices on switches
 * (struct worker_attachment), and steps each. As long as
 * there is work it doesn't rest. Without work it polls for a while, which adapts: it gets longer when
 * sleeps turn out to be short, and shorter when they are long. Then it asks the
 * other sides for kicks and sleeps in epoll, until (or for some milliseconds, when packets wait for a receiver
 * that is full)
 *
 *      worker_wake()        a producer has put packets into one of its rings, or a kick has come
 *                           in over a vfio-user socket; cheap while the worker is awake
 *      a kick eventfd       of a local application, or the socket of a device, which the worker waits for itself
 *
 * Lists of rings change only while the worker stands between two rounds:
 *
 *      control thread                       worker
 *        lock(gate)                           lock(gate); unlock(gate)
 *        lock(rounds)   <- waits at most      lock(rounds)
 *        unlock(gate)      one round            one round over all rings
 *        change the list                      unlock(rounds)
 *        unlock(rounds)
 *
 * What the worker works meanwhile is charged to the client whose turn it is, or to netmapd's own handle (loop_pay), for it keeps
 * all others waiting. Time in which the worker has no processor isn't.
 *
 * The gate makes sure that the control thread gets its turn. Hence after
 * worker_remove() the worker holds no pointer into the ring's CSB any more.
 *
 * A worker never logs: whoever reads the log, and what it costs, is none of its business. That a ring
 * has stopped it says by config.stopped, and the control thread looks why (port_service_tell).
 *
 * Thread safety: control thread; worker_wake: any.
 */
#ifndef NETMAPD_WORKER_H
#define NETMAPD_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "csb_server.h"
#include "attachment.h"

struct loop;
struct worker;

/* A pair of rings of a device on a switch. Lives in attachments.c. */
struct worker_attachment {
	struct nm_attachment *att;
	uint32_t pair;
	struct worker_attachment *next;
};

/* A ring while it is served. Lives in struct port_service. */
struct worker_ring {
	struct nm_csb_server serve;
	int irq;   /* eventfd for NM_CSB_SERVER_INTERRUPT, or -1; loaded once per use */
	bool owed; /* it could not be signalled (notify_signal): is tried again */
	struct notify_client *notify; /* the owner's, and the slot there */
	uint32_t slot;
	bool stop_seen; /* the worker has signalled config.stopped */
	bool leaves;    /* the control thread's: it is about to be removed */
	struct worker_ring *next;
};

struct worker_config {
	uint32_t poll_us;  /* longest polling without work, microseconds; 0: sleep at once */
	int cpu;           /* to run on, or -1 */
	bool never_sleeps; /* polls for ever */
	int stopped; /* the worker adds 1 to this eventfd when a ring has stopped; -1: to none */
	unsigned number; /* for the thread's name */
	struct loop *
		loop; /* the control thread's: who makes it wait for a round pays for what is done in it; NULL: nobody does */
};

/* Starts a thread. NULL with errno. */
struct worker *worker_new(const struct worker_config *config);
/* Other ones of these for a worker that runs; cpu -1: where netmapd may run. A negative errno: it stays on the CPU it had. */
int worker_set_cpu(struct worker *w, int cpu);
void worker_set_poll(struct worker *w, uint32_t poll_us);
/* Its thread ends, if it has one; its list must be empty. Rings that nobody serves may signal it still, so it stays what
 * worker_wake() and worker_barrier() can be called with. */
void worker_stop(struct worker *w);
bool worker_runs(const struct worker *w);
/* One that has been stopped runs again, as a new one. A negative errno: it doesn't. */
int worker_restart(struct worker *w, const struct worker_config *config);
/* Stopped, too. No ring can signal it any more; NULL is allowed. */
void worker_free(struct worker *w);

/* Serves `count` rings from now on; all of them are removed before their memory goes away, and those that are not there
 * needn't be. One wait for the end of a round, however many they are; none without any. */
void worker_add(struct worker *w, struct worker_ring *const rings[], uint32_t count);
void worker_remove(struct worker *w, struct worker_ring *const rings[], uint32_t count);

/* Tells the other side of the ring, if it has given an eventfd. False: not now (notify_signal). */
bool worker_signal(const struct worker_ring *ring);

/* A signal of the eventfd, or what comes in over a socket, wakes the worker, which reads neither. It stays the caller's, and
 * open until worker_unwatch(). Twice is once. A negative errno as epoll_ctl(). */
int worker_watch(struct worker *w, int fd);
void worker_unwatch(struct worker *w, int fd); /* may not be watched; -1 is allowed */

void worker_add_attachment(struct worker *w, struct worker_attachment *s);
void worker_remove_attachment(
	struct worker *w, struct worker_attachment *s); /* may be in no list */

void worker_wake(struct worker *w);

/* On return the worker has left the round it was in. */
void worker_barrier(struct worker *w);

struct worker_stats {
	uint64_t rounds, sleeps, wakes; /* wakes: written to its eventfd by worker_wake() */
	uint64_t entries; /* of the control thread, between two rounds: this one, too */
	uint64_t kicks;   /* of applications, that ended a sleep */
	uint64_t busy_ns; /* from the first round that found work to the first that found none */
	uint64_t cpu_ns;  /* of the thread, polling included */
	uint32_t rings;   /* and pairs of rings */
};

void worker_stats(struct worker *w, struct worker_stats *stats);

#endif
