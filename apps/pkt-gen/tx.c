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
	bool alike; /* each frame is as the one before it */
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

static bool are_alike(const struct sender *s)
{
	const struct gen_options *o = s->w->o;

	return !s->w->replay && !o->check && !o->dump && !o->indirect && !o->len_min &&
	       !s->frame->changes;
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

/* Lays the next frame into slots that are free, from `head` on. Returns the slot behind it. */
static uint32_t put_next(struct sender *s, struct netmap_ring *ring, uint32_t head,
	const uint8_t *frame, const struct cut *cut)
{
	const struct worker *w = s->w;
	uint32_t len = cut->total - w->hdr_len, next;

	if (w->o->check)
		stamp(s);
	if (w->o->dump && frame)
		frame_dump("sent", frame, len);
	next = frame_put(w, ring, head, w->o->indirect ? NULL : frame, cut);
	if (w->o->indirect) {
		ring->slot[head].ptr = (uintptr_t)s->indirect;
		ring->slot[head].flags |= NS_INDIRECT;
	}
	s->bytes += len;
	s->slots += cut->slots;
	advance(s);
	return next;
}

/* Puts up to n frames into free slots from *head on, which moves on. Returns how many. */
static uint32_t fill_each(struct sender *s, struct netmap_ring *ring, uint32_t n, uint32_t *head)
{
	uint32_t room = ring_room(ring), left = nm_ring_space(ring), done, len;

	for (done = 0; done < n; done++) {
		const uint8_t *frame = next_frame(s, &len);
		struct cut cut = frame_cut(s->w, room, len);

		if (cut.slots > left)
			break;
		left -= cut.slots;
		*head = put_next(s, ring, *head, frame, &cut);
	}
	return done;
}

/* The same when all are alike: half the instructions for each. */
static uint32_t fill_alike(struct sender *s, struct netmap_ring *ring, uint32_t n, uint32_t *head)
{
	uint32_t left = nm_ring_space(ring), done, len, at = *head;
	const uint8_t *frame = next_frame(s, &len);
	const struct cut cut = frame_cut(s->w, ring_room(ring), len);

	for (done = 0; done < n && cut.slots <= left; done++, left -= cut.slots)
		at = frame_put(s->w, ring, at, frame, &cut);
	*head = at;
	s->bytes += (uint64_t)done * len;
	s->slots += (uint64_t)done * cut.slots;
	s->sent += done;
	return done;
}

/* Puts up to n packets into one ring, as long as there is room. Returns how many. */
static uint32_t fill(struct sender *s, struct netmap_ring *ring, uint32_t n)
{
	uint32_t head = ring->head;
	uint32_t done = s->alike ? fill_alike(s, ring, n, &head) : fill_each(s, ring, n, &head);

	/* The last one of a burst is to be reported as soon as it is out. */
	if (done)
		ring->slot[head ? head - 1 : ring->num_slots - 1].flags |= NS_REPORT;
	ring->head = ring->cur = head;
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
	s.alike = are_alike(&s);
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
