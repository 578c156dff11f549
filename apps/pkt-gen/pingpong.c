/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkt-gen -f ping: send a numbered packet, wait for its answer, note the time.
 * pkt-gen -f pong: send PING frames back to where they came from; no others, so
 * that two of them don't keep each other busy.
 */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "pacer.h"

enum { ANSWER_NS = 1000000000 }; /* how long ping waits for one answer */

#define TIME_MASK ((1ULL << 48) - 1)

/* A free slot in some tx ring; NULL and *ret 0: none now, -1: failed. */
static struct netmap_ring *room(struct worker *w, int *ret)
{
	struct nmport_d *d = w->port;

	*ret = 0;
	for (uint32_t i = d->first_tx_ring; i <= d->last_tx_ring; i++) {
		struct netmap_ring *ring = NETMAP_TXRING(d->nifp, i);

		if (!nm_ring_empty(ring))
			return ring;
	}
	*ret = worker_poll(w, POLLOUT) < 0 ? -1 : 0;
	return NULL;
}

static void send_one(struct worker *w, struct netmap_ring *ring, const uint8_t *frame, uint32_t len)
{
	struct cut cut = frame_cut(w, ring_room(ring), len);
	uint32_t head = ring->head;

	if (w->o->dump)
		frame_dump("sent", frame, len);
	ring->head = ring->cur = frame_put(w, ring, head, frame, &cut);
	ring->slot[head].flags |= NS_REPORT;
}

/* ---- ping ----------------------------------------------------------------------------- */

struct pinger {
	struct worker *w;
	struct packet *frame;
	struct pacer pacer;
	struct idle idle;
	uint64_t sent, answered;
};

/* Looks at what has come. Returns the number of answers to the last packet (0 or more). */
static int collect(struct pinger *p)
{
	struct nmport_d *d = p->w->port;
	struct packet_info info;
	int found = 0;
	uint32_t len;

	for (uint32_t i = d->first_rx_ring; i <= d->last_rx_ring; i++) {
		struct netmap_ring *ring = NETMAP_RXRING(d->nifp, i);

		while (!nm_ring_empty(ring)) {
			struct netmap_slot *slot = &ring->slot[ring->head];
			uint8_t *frame = slot_frame(p->w, ring, slot, &len);

			if (p->w->o->dump)
				frame_dump("received", frame, len);
			if (check_add(&p->w->check, STAMP_PONG, frame, len, &info) == PACKET_GOOD) {
				rtt_add(&p->w->rtt, (now_ns() - info.time) & TIME_MASK);
				stats_add(&p->w->stats, 1, len, 1);
				p->answered++;
				found += info.seq + 1 == p->sent;
			}
			ring->head = ring->cur = nm_ring_next(ring, ring->head);
		}
	}
	return found;
}

/* Sends the next one. 1: sent, 0: no room or not yet its turn, -1: failed. */
static int ping_send(struct pinger *p)
{
	struct packet_info info = {.kind = STAMP_PING, .seq = p->sent};
	struct netmap_ring *ring;
	uint64_t wake;
	int ret;

	ring = room(p->w, &ret);
	if (!ring)
		return ret;
	if (!pacer_take(&p->pacer, now_ns(), 1, &wake)) {
		idle_progress(&p->idle);
		sleep_until(wake);
		return 0;
	}
	info.time = now_ns() & TIME_MASK;
	packet_stamp(p->frame->bytes, p->frame->len, &info);
	send_one(p->w, ring, p->frame->bytes, p->frame->len);
	packet_next(p->frame);
	p->sent++;
	if (nmport_txsync(p->w->port) < 0) {
		worker_failed(p->w, "txsync");
		return -1;
	}
	return 1;
}

/* Waits for the answer to the last one. 1: it came, 0: it did not, -1: failed. */
static int ping_wait(struct pinger *p)
{
	uint64_t limit = now_ns() + ANSWER_NS;
	int ret;

	while (!gen_stop && now_ns() < limit) {
		ret = worker_poll(p->w, POLLIN);
		if (ret < 0)
			return -1;
		if (ret && collect(p)) {
			idle_progress(&p->idle);
			return 1;
		}
		if (idle_over(&p->idle))
			break;
	}
	return 0;
}

static enum worker_end ping_all(struct pinger *p)
{
	int ret;

	while (!p->w->count || p->sent < p->w->count) {
		if (gen_stop)
			return WORKER_STOPPED;
		ret = ping_send(p);
		if (ret > 0)
			ret = ping_wait(p);
		if (ret < 0)
			return WORKER_FAILED;
		if (ret == 0 && idle_over(&p->idle))
			return WORKER_IDLE;
	}
	return WORKER_DONE;
}

enum worker_end ping_run(struct worker *w)
{
	struct pinger p = {.w = w, .frame = malloc(sizeof(*p.frame))};
	enum worker_end end;

	if (!p.frame)
		return worker_failed(w, "a frame");
	packet_init(p.frame, w->o, w->src_mac);
	w->begin = now_ns();
	pacer_init(&p.pacer, w->rate, w->begin);
	idle_start(&p.idle, w->o);
	end = ping_all(&p);
	w->end = now_ns();
	w->asked = p.sent;
	free(p.frame);
	return end;
}

/* ---- pong ----------------------------------------------------------------------------- */

struct ponger {
	struct worker *w;
	struct idle idle;
	uint64_t answered;
	uint8_t frame[GEN_LEN_MAX];
};

/* Answers one frame if it is a PING. 1: answered, 0: not for us, -1: failed, -2: stopped. */
static int answer(struct ponger *p, const uint8_t *frame, uint32_t len)
{
	struct worker *w = p->w;
	struct packet_info info;
	struct netmap_ring *ring;
	int ret;

	if (check_add(&w->check, STAMP_PING, frame, len, &info) != PACKET_GOOD)
		return 0;
	while (!(ring = room(w, &ret))) {
		if (ret < 0)
			return -1;
		if (gen_stop || idle_over(&p->idle))
			return -2;
	}
	if (w->hdr_len + len > ring->nr_buf_size)
		return 0;
	memcpy(p->frame, frame, len);
	packet_turn(p->frame, len, &info);
	send_one(w, ring, p->frame, len);
	stats_add(&w->stats, 1, len, 1);
	p->answered++;
	return 1;
}

/* Answers what is in the rings; one sync for all answers. -1: failed. */
static int answer_all(struct ponger *p)
{
	struct nmport_d *d = p->w->port;
	int ret, sent = 0;
	uint32_t len;

	for (uint32_t i = d->first_rx_ring; i <= d->last_rx_ring; i++) {
		struct netmap_ring *ring = NETMAP_RXRING(d->nifp, i);

		while (!nm_ring_empty(ring) && (!p->w->count || p->answered < p->w->count)) {
			struct netmap_slot *slot = &ring->slot[ring->head];
			uint8_t *frame = slot_frame(p->w, ring, slot, &len);

			if (p->w->o->dump)
				frame_dump("received", frame, len);
			ret = answer(p, frame, len);
			if (ret < 0)
				return ret == -1 ? -1 : 0;
			sent += ret;
			ring->head = ring->cur = nm_ring_next(ring, ring->head);
		}
	}
	if (!sent)
		return 0;
	idle_progress(&p->idle);
	if (nmport_txsync(d) < 0) {
		worker_failed(p->w, "txsync");
		return -1;
	}
	return 0;
}

static enum worker_end pong_all(struct ponger *p)
{
	struct worker *w = p->w;
	int ret;

	while (!w->count || p->answered < w->count) {
		if (gen_stop)
			return WORKER_STOPPED;
		ret = worker_poll(w, POLLIN);
		if (ret > 0)
			ret = answer_all(p);
		if (ret < 0)
			return WORKER_FAILED;
		if (!w->begin && p->answered)
			w->begin = now_ns();
		if (p->answered)
			w->end = now_ns();
		if (idle_over(&p->idle))
			return WORKER_IDLE;
	}
	return WORKER_DONE;
}

/* The last answers must leave before the port is closed. */
static void pong_drain(struct worker *w)
{
	uint64_t limit = now_ns() + ANSWER_NS;
	struct nmport_d *d = w->port;

	for (uint32_t i = d->first_tx_ring; i <= d->last_tx_ring; i++)
		while (nm_tx_pending(NETMAP_TXRING(d->nifp, i)) && now_ns() < limit) {
			if (nmport_txsync(d) < 0)
				return;
			sleep_until(now_ns() + 50000);
		}
}

enum worker_end pong_run(struct worker *w)
{
	struct ponger *p = calloc(1, sizeof(*p));
	enum worker_end end;

	if (!p)
		return worker_failed(w, "a frame");
	p->w = w;
	idle_start(&p->idle, w->o);
	end = pong_all(p);
	if (end != WORKER_FAILED)
		pong_drain(w);
	free(p);
	return end;
}
