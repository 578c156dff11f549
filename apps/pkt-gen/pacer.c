/* SPDX-License-Identifier: BSD-2-Clause */
#include "pacer.h"

void pacer_init(struct pacer *p, double rate, uint64_t now_ns)
{
	p->ns_per_packet = rate > 0 ? 1e9 / rate : 0;
	p->due = now_ns;
	p->part = 0;
}

/* Moves `due` by n packets; the fraction is carried, so that no rate drifts. */
static void move(struct pacer *p, double n)
{
	double by = n * p->ns_per_packet + p->part;
	int64_t whole = (int64_t)by;

	p->part = by - (double)whole;
	p->due += (uint64_t)whole;
}

uint32_t pacer_take(struct pacer *p, uint64_t now_ns, uint32_t max, uint64_t *wake_ns)
{
	double due;
	uint32_t n;

	if (p->ns_per_packet == 0)
		return max;
	if (now_ns < p->due) {
		*wake_ns = p->due > now_ns + PACER_SLEEP_NS ? p->due : now_ns + PACER_SLEEP_NS;
		return 0;
	}
	if (now_ns - p->due > PACER_CATCH_UP_NS) {
		p->due = now_ns - PACER_CATCH_UP_NS;
		p->part = 0;
	}
	due = 1 + (double)(now_ns - p->due) / p->ns_per_packet;
	n = due < max ? (uint32_t)due : max;
	move(p, n);
	return n;
}

void pacer_return(struct pacer *p, uint32_t n)
{
	if (p->ns_per_packet != 0)
		move(p, -(double)n);
}
