/* SPDX-License-Identifier: BSD-2-Clause */
/* pkt-gen -f rx: count what comes, and look into it with --check. */
#include "worker.h"

#include <poll.h>
#include <stdio.h>

/* What a batch was. */
struct batch {
	uint32_t packets, slots;
	uint64_t bytes;
	uint64_t counted; /* of packets: those that -n counts */
};

/* A packet that ends with this slot. `whole`: it begins with it, too. */
static void look(struct worker *w, struct netmap_ring *ring, struct netmap_slot *slot, bool whole,
	struct batch *b)
{
	struct packet_info info;
	uint8_t *frame;
	uint32_t len;

	if (!w->o->check) {
		b->counted++;
		return;
	}
	if (!whole) {
		/* Numbered packets have one slot. */
		w->check.other++;
		return;
	}
	frame = slot_frame(w, ring, slot, &len);
	if (check_add(&w->check, STAMP_DATA, frame, len, &info) != PACKET_OTHER)
		b->counted++;
}

/* Takes packets from one ring, until `want` have counted (0: no limit) or it is empty. */
static void take(struct worker *w, struct netmap_ring *ring, uint64_t want, struct batch *b)
{
	uint32_t head = ring->head, n = nm_ring_space(ring);
	bool whole = true;

	if (n > w->o->burst)
		n = w->o->burst;
	for (; n && (!want || b->counted < want); n--) {
		struct netmap_slot *slot = &ring->slot[head];

		b->slots++;
		b->bytes += slot->len;
		if (slot->flags & NS_MOREFRAG) {
			whole = false;
		} else {
			b->packets++;
			b->bytes -= b->bytes < w->hdr_len ? b->bytes : w->hdr_len;
			look(w, ring, slot, whole, b);
			whole = true;
		}
		head = nm_ring_next(ring, head);
	}
	ring->head = ring->cur = head;
}

static struct batch take_all(struct worker *w, uint64_t want)
{
	struct nmport_d *d = w->port;
	struct batch b = {0};

	for (uint32_t i = d->first_rx_ring; i <= d->last_rx_ring; i++)
		take(w, NETMAP_RXRING(d->nifp, i), want, &b);
	return b;
}

static enum worker_end receive_all(struct worker *w)
{
	uint64_t counted = 0;
	struct idle idle;
	struct batch b;
	int ret;

	idle_start(&idle, w->o);
	while (!w->count || counted < w->count) {
		if (gen_stop)
			return WORKER_STOPPED;
		ret = worker_poll(w, POLLIN);
		if (ret < 0)
			return WORKER_FAILED;
		if (ret == 0) {
			if (idle_over(&idle))
				return WORKER_IDLE;
			continue;
		}
		b = take_all(w, w->count ? w->count - counted : 0);
		counted += b.counted;
		w->end = now_ns();
		if (!w->begin)
			w->begin = w->end;
		stats_add(&w->stats, b.packets, b.bytes, b.slots);
		/* Frames of others are no progress, or their chatter would keep us here. */
		if (b.counted)
			idle_progress(&idle);
		else if (idle_over(&idle))
			return WORKER_IDLE;
	}
	return WORKER_DONE;
}

enum worker_end rx_run(struct worker *w)
{
	enum worker_end end = receive_all(w);

	/* Gives the slots back. */
	if (end != WORKER_FAILED && nmport_rxsync(w->port) < 0)
		return worker_failed(w, "rxsync");
	return end;
}
