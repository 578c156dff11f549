/* SPDX-License-Identifier: BSD-2-Clause */
/* pkt-gen -f tx: fill the rings up to their space, one sync per burst. */
#include "worker.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "pacer.h"

enum { DRAIN_SLEEP_NS = 50000, DRAIN_LIMIT_NS = 2000000000 };

struct sender {
	struct worker *w;
	struct packet *frame;
	uint8_t *indirect; /* header and frame, for -I */
	struct pacer pacer;
	struct idle idle;
	uint64_t sent;
	/* Of the burst that is being made. */
	uint64_t bytes, slots;
};

/* Room in all rings, slots. */
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

/* The next frame; *len is its length. NULL: whatever is in the buffers (-r). */
static const uint8_t *next_frame(struct sender *s, uint32_t *len)
{
	const struct worker *w = s->w;
	const struct gen_options *o = w->o;

	if (w->replay) {
		size_t i = (w->id + s->sent * (uint64_t)o->threads) % w->replay->count;

		*len = w->replay->packets[i].len;
		return w->replay->bytes + w->replay->packets[i].offset;
	}
	*len = s->frame->len;
	return o->rubbish ? NULL : s->frame->bytes;
}

/* A frame was sent: on to the next one. */
static void advance(struct sender *s)
{
	const struct gen_options *o = s->w->o;

	s->sent++;
	if (s->w->replay || o->rubbish)
		return;
	packet_next(s->frame);
	if (o->len_min)
		packet_set_len(s->frame, o->len_min + packet_random(s->frame, o->len - o->len_min));
}

/* Lays the next frame into the ring, if there is room for it. */
static bool put_next(struct sender *s, struct netmap_ring *ring)
{
	const struct worker *w = s->w;
	uint32_t len, head = ring->head;
	const uint8_t *frame = next_frame(s, &len);
	struct cut cut = frame_cut(w, ring_room(ring), len);

	if (cut.slots > nm_ring_space(ring))
		return false;
	if (w->o->check)
		stamp(s);
	if (w->o->dump && frame)
		frame_dump("sent", frame, len);
	ring->head = ring->cur = frame_put(w, ring, head, w->o->indirect ? NULL : frame, &cut);
	if (w->o->indirect) {
		ring->slot[head].ptr = (uintptr_t)s->indirect;
		ring->slot[head].flags |= NS_INDIRECT;
	}
	s->bytes += len;
	s->slots += cut.slots;
	advance(s);
	return true;
}

/* Puts up to n packets into one ring. Returns how many. */
static uint32_t fill(struct sender *s, struct netmap_ring *ring, uint32_t n)
{
	uint32_t done = 0;

	while (done < n && put_next(s, ring))
		done++;
	/* The last one of a burst is to be reported as soon as it is out. */
	if (done)
		ring->slot[ring->head ? ring->head - 1 : ring->num_slots - 1].flags |= NS_REPORT;
	return done;
}

/* One burst of up to n over all rings, and its sync. -1: failed. */
static int burst(struct sender *s, uint32_t n)
{
	struct nmport_d *d = s->w->port;
	uint32_t done = 0;

	s->bytes = s->slots = 0;
	for (uint32_t i = d->first_tx_ring; i <= d->last_tx_ring && done < n; i++)
		done += fill(s, NETMAP_TXRING(d->nifp, i), n - done);
	pacer_return(&s->pacer, n - done);
	if (nmport_txsync(d) < 0) {
		worker_failed(s->w, "txsync");
		return -1;
	}
	if (!done) {
		/* There is room, but not for this one: poll() would not wait. */
		sleep_until(now_ns() + DRAIN_SLEEP_NS);
		return 0;
	}
	stats_add(&s->w->stats, done, s->bytes, s->slots);
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
		if (n > 0 && burst(s, (uint32_t)n) < 0)
			return WORKER_FAILED;
		if (idle_over(&s->idle))
			return WORKER_IDLE;
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
	if (w->o->indirect) {
		s.indirect = calloc(1, w->hdr_len + s.frame->len);
		if (!s.indirect) {
			free(s.frame);
			return worker_failed(w, "a frame");
		}
		memcpy(s.indirect + w->hdr_len, s.frame->bytes, s.frame->len);
	}
	w->begin = now_ns();
	pacer_init(&s.pacer, w->rate, w->begin);
	idle_start(&s.idle, w->o);
	end = send_all(&s);
	if (end != WORKER_FAILED)
		drain(&s);
	w->end = now_ns();
	free(s.frame);
	free(s.indirect);
	return end;
}
