/* SPDX-License-Identifier: BSD-2-Clause */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

volatile bool gen_stop;

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void idle_start(struct idle *idle, const struct gen_options *o)
{
	idle->limit = (uint64_t)(o->timeout * 1e9);
	idle->last = now_ns();
}

void idle_progress(struct idle *idle)
{
	if (idle->limit)
		idle->last = now_ns();
}

bool idle_over(const struct idle *idle)
{
	return idle->limit && now_ns() - idle->last >= idle->limit;
}

enum worker_end worker_failed(struct worker *w, const char *what)
{
	snprintf(w->err, sizeof(w->err), "%.100s: %s: %s", w->o->port, what, strerror(errno));
	return WORKER_FAILED;
}

int worker_poll(struct worker *w, short events)
{
	int n = nmport_poll(w->port, events, WORKER_POLL_MS);

	if (n < 0) {
		if (errno == EINTR)
			return 0;
		worker_failed(w, "poll");
		return -1;
	}
	if (n & (POLLERR | POLLHUP | POLLNVAL)) {
		snprintf(w->err, sizeof(w->err), "%.100s: %s", w->o->port,
			n & POLLHUP ? "the port is gone: netmapd has ended"
				    : "the port is gone or has refused its rings");
		return -1;
	}
	return (n & events) != 0;
}

void sleep_until(uint64_t wake)
{
	uint64_t limit = now_ns() + WORKER_POLL_MS * 1000000ULL;
	struct timespec ts;

	if (wake > limit)
		wake = limit;
	ts.tv_sec = (time_t)(wake / 1000000000u);
	ts.tv_nsec = (long)(wake % 1000000000u);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

uint8_t *slot_frame(
	const struct worker *w, struct netmap_ring *ring, struct netmap_slot *slot, uint32_t *len)
{
	*len = slot->len > w->hdr_len ? slot->len - w->hdr_len : 0;
	return (uint8_t *)NETMAP_BUF_OFFSET(ring, slot) + w->hdr_len;
}
