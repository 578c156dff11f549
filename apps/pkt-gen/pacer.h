/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pacer.h - how many packets may be sent now.
 *
 * Packets become due evenly in time. What is due is sent at once, so that at a
 * high rate a wake-up, at least PACER_SLEEP_NS after the last, sends several; at a
 * low rate the thread sleeps from one to the next. A sender that was held up may
 * catch up on PACER_CATCH_UP_NS, not more: a long burst would overrun the receiver.
 *
 * The caller gives the time and does the sleeping.
 *
 * Thread safety: one thread per pacer.
 */
#ifndef PKTGEN_PACER_H
#define PKTGEN_PACER_H

#include <stdint.h>

enum { PACER_SLEEP_NS = 100000, PACER_CATCH_UP_NS = 2000000 };

struct pacer {
	double ns_per_packet; /* 0: no limit */
	uint64_t due;         /* when the next packet is, ns */
	double part;          /* of a ns, behind due */
};

/* rate in packets per second, 0: no limit. The first packet is due now. */
void pacer_init(struct pacer *p, double rate, uint64_t now_ns);

/* How many, at most max. 0: sleep until *wake_ns. They count as sent. */
uint32_t pacer_take(struct pacer *p, uint64_t now_ns, uint32_t max, uint64_t *wake_ns);

/* n of those taken were not sent after all. */
void pacer_return(struct pacer *p, uint32_t n);

#endif
