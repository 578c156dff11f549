// SPDX-License-Identifier: BSD-2-Clause
#include "ptnet_coalesce.h"
#include "compat.h"

#include <linux/ktime.h>

enum {
	WINDOW_NS = NSEC_PER_MSEC,
	/* Packets in a window, and how long to wait then. */
	SOME = 50,
	MANY = 200,
	SOME_USECS = 32,
	MANY_USECS = 64,
};

static enum hrtimer_restart pause_ends(struct hrtimer *timer)
{
	struct ptnet_queue *q = container_of(timer, struct ptnet_queue, pause.timer);

	napi_schedule(&q->napi);
	return HRTIMER_NORESTART;
}

void ptnet_pause_init(struct ptnet_queue *q)
{
	hrtimer_setup(&q->pause.timer, pause_ends, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED);
}

void ptnet_pause_disable(struct ptnet_queue *q)
{
	napi_disable(&q->napi);
	hrtimer_cancel(&q->pause.timer);
}

/* A window without packets, or longer than it should be, counts as long as it was. */
static void measure(struct ptnet_pause *pause, uint32_t packets)
{
	uint64_t now = ktime_get_ns(), length = now - pause->since_ns;
	uint64_t rate;

	pause->packets += packets;
	if (length < WINDOW_NS)
		return;
	rate = div64_u64((uint64_t)pause->packets * WINDOW_NS, length);
	pause->usecs = rate >= MANY ? MANY_USECS : rate >= SOME ? SOME_USECS : 0;
	pause->packets = 0;
	pause->since_ns = now;
}

static uint32_t usecs(const struct ptnet_queue *q)
{
	const struct ptnet *ptn = q->ptn;

	return READ_ONCE(ptn->rx_adaptive) ? q->pause.usecs : READ_ONCE(ptn->rx_usecs);
}

void ptnet_pause_count(struct ptnet_queue *q, uint32_t packets)
{
	if (READ_ONCE(q->ptn->rx_adaptive))
		measure(&q->pause, packets);
	q->pause.some |= packets > 0;
}

/* The poll is still scheduled: napi_disable() waits for it, and the timer is cancelled afterwards. A timer that
 * is over before the poll is complete is noted by napi_schedule(), and the poll runs again. */
bool ptnet_pause_begins(struct ptnet_queue *q)
{
	uint32_t length = usecs(q);
	bool begins = q->pause.some && length > 0;

	q->pause.some = false;
	if (begins)
		hrtimer_start(&q->pause.timer, ns_to_ktime((uint64_t)length * NSEC_PER_USEC),
			HRTIMER_MODE_REL_PINNED);
	return begins;
}
