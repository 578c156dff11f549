/* SPDX-License-Identifier: BSD-2-Clause */
/* pkt-gen -f tx: fill the rings up to their space, one sync per burst. */
#include "worker.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "pacer.h"

enum { DRAIN_SLEEP_NS = 50000, DRAIN_LIMIT_NS = 2000000000 };

struct sender {
	struct worker *w;
	struct packet *frame;
	struct pacer pacer;
	struct idle idle;
	uint64_t sent;
};

/* Room in all rings, packets. */
static uint32_t space(struct nmport_d *d)
{
	uint32_t n = 0;

	for (uint32_t i = d->first_tx_ring; i <= d->last_tx_ring; i++)
		n += nm_ring_space(NETMAP_TXRING(d->nifp, i));
	return n;
}

/* Slots that netmap has not given back yet. */
static uint64_t pending(struct nmport_d *d)
{
	uint64_t n = 0;

	for (uint32_t i = d->first_tx_ring; i <= d->last_tx_ring; i++) {
		struct netmap_ring *ring = NETMAP_TXRING(d->nifp, i);

		n += ring->num_slots - 1 - nm_ring_space(ring);
	}
	return n;
}

static void stamp(struct sender *s)
{
	struct packet_info info = {
		.kind = STAMP_DATA,
		.stream = (uint8_t)s->w->id,
		.seq = s->sent,
		.time = now_ns(),
	};

	packet_stamp(s->frame->bytes, s->frame->len, &info);
}

/* Puts up to n packets into one ring. Returns how many. */
static uint32_t fill(struct sender *s, struct netmap_ring *ring, uint32_t n)
{
	uint32_t head = ring->head, room = nm_ring_space(ring), i;

	if (n > room)
		n = room;
	for (i = 0; i < n; i++) {
		if (s->w->o->check)
			stamp(s);
		slot_fill(s->w, ring, &ring->slot[head], s->frame->bytes, s->frame->len);
		head = nm_ring_next(ring, head);
		packet_next(s->frame);
		s->sent++;
	}
	/* The last one of a burst is to be reported as soon as it is out. */
	if (n)
		ring->slot[head ? head - 1 : ring->num_slots - 1].flags |= NS_REPORT;
	ring->head = ring->cur = head;
	return n;
}

/* One burst of up to n over all rings, and its sync. -1: failed. */
static int burst(struct sender *s, uint32_t n)
{
	struct nmport_d *d = s->w->port;
	uint32_t done = 0;

	for (uint32_t i = d->first_tx_ring; i <= d->last_tx_ring && done < n; i++)
		done += fill(s, NETMAP_TXRING(d->nifp, i), n - done);
	pacer_return(&s->pacer, n - done);
	if (nmport_txsync(d) < 0) {
		worker_failed(s->w, "txsync");
		return -1;
	}
	stats_add(&s->w->stats, done, (uint64_t)done * s->frame->len, done);
	idle_progress(&s->idle);
	return 0;
}

/* Waits until what was sent has left, as long as something moves. */
static void drain(struct sender *s)
{
	struct nmport_d *d = s->w->port;
	uint64_t left = pending(d), now, last = now_ns(), before;

	while (left) {
		if (nmport_txsync(d) < 0)
			break;
		before = left;
		left = pending(d);
		now = now_ns();
		if (left != before)
			last = now;
		else if (now - last > DRAIN_LIMIT_NS)
			break;
		if (left)
			sleep_until(now + DRAIN_SLEEP_NS);
	}
	s->w->pending = left;
}

/* How many may go now; 0 after having waited for whatever was missing. -1: failed. */
static int64_t allowed(struct sender *s)
{
	const struct gen_options *o = s->w->o;
	uint32_t n = o->burst, room = space(s->w->port);
	uint64_t wake;
	int ret;

	if (!room) {
		ret = worker_poll(s->w, POLLOUT);
		if (ret > 0)
			room = space(s->w->port);
		if (ret < 0)
			return -1;
		if (!room)
			return 0;
	}
	if (n > room)
		n = room;
	if (s->w->count && n > s->w->count - s->sent)
		n = (uint32_t)(s->w->count - s->sent);
	n = pacer_take(&s->pacer, now_ns(), n, &wake);
	if (n)
		return n;
	/* Waiting for one's turn is not a lack of progress. */
	idle_progress(&s->idle);
	sleep_until(wake);
	return 0;
}

static enum worker_end send_all(struct sender *s)
{
	struct worker *w = s->w;
	int64_t n;

	while (!w->count || s->sent < w->count) {
		if (gen_stop)
			return WORKER_STOPPED;
		n = allowed(s);
		if (n < 0)
			return WORKER_FAILED;
		if (n == 0) {
			if (idle_over(&s->idle))
				return WORKER_IDLE;
			continue;
		}
		if (burst(s, (uint32_t)n) < 0)
			return WORKER_FAILED;
	}
	return WORKER_DONE;
}

enum worker_end tx_run(struct worker *w)
{
	struct sender s = {.w = w, .frame = malloc(sizeof(*s.frame))};
	enum worker_end end;

	if (!s.frame)
		return worker_failed(w, "a frame");
	packet_init(s.frame, w->o, w->src_mac);
	w->begin = now_ns();
	pacer_init(&s.pacer, w->rate, w->begin);
	idle_start(&s.idle, w->o);
	end = send_all(&s);
	if (end != WORKER_FAILED)
		drain(&s);
	w->end = now_ns();
	free(s.frame);
	return end;
}
