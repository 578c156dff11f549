/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notify_internal.h - what notify.c (signals, and what they cost) and notifier.c (the thread) share.
 *
 * Thread safety: as each field says.
 */
#ifndef NETMAPD_NOTIFY_INTERNAL_H
#define NETMAPD_NOTIFY_INTERNAL_H

#include "notify.h"
#include "os.h"

struct notify_client {
	uint32_t refs; /* of the owner, and of jobs; atomic */
	uint32_t slow; /* signals go to the notifier; any thread sets it, the notifier clears it */
	uint32_t suspect;   /* so many of the next signals are timed exactly; any thread */
	uint32_t excess_ns; /* what its signals took more than they may; any thread, about */
	uint32_t gone;      /* its owner has freed it: its jobs are dropped */
	uint64_t slow_signals;
	uint32_t user;

	/* The notifier's. */
	bool forgiven; /* has come back, and done nothing expensive since */
	unsigned cheap;
	uint64_t penance_ns, until_ns,
		next_ns; /* how long; until when; when its next signal may be */

	uint32_t slots;
	struct notify_slot {
		int pending; /* 1 more than the number of the descriptor that waits for the notifier */
		uint32_t replaced; /* so often was there another one */
	} slot[];
};

void notify_client_put(struct notify_client *c);

/* Nanoseconds: of the monotonic clock; of processor time of this thread. */
uint64_t notify_now_ns(void);
uint64_t notify_cpu_ns(void);

/* A signal took so much of the processor. True: that is too much, with what those before have taken. */
bool notify_charge(struct notify_client *c, uint64_t cost);

/* Without waiting. False: there are no asynchronous requests, or not now. */
bool notify_submit(int fd);

/* Gets asynchronous requests. False: the kernel has none for us. */
bool notify_get_requests(void);
bool notify_has_requests(void);

/* ---- notifier.c ------------------------------------------------------------------------------- */

int notifier_start(void);
void notifier_stop(void);

/* What the user of a new client still has to pay for. */
void notifier_admit(struct notify_client *c);

/* Drops the jobs of clients that are gone, soon. */
void notifier_forget(void);

/* The descriptor is duplicated. False: no memory, or no descriptor. */
bool notifier_push(struct notify_client *c, uint32_t slot, int fd);

uint64_t notifier_signals(void);
uint64_t notifier_returned(void);

#endif
