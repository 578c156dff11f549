/* SPDX-License-Identifier: BSD-2-Clause */
/* pkt-gen -f rx: count what comes, and look into it with --check. */
#include "worker.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"

/* What a batch was. */
struct batch {
	uint32_t packets, slots;
	uint64_t bytes;
	uint64_t counted; /* of packets: those that -n counts */
};

/* A packet of several slots, put together. */
struct gathered {
	uint8_t bytes[UINT16_MAX + 12];
	uint32_t len;
	bool too_long;
};

static void gather(struct gathered *g, struct netmap_ring *ring, struct netmap_slot *slot)
{
	if (slot->len > sizeof(g->bytes) - g->len) {
		g->too_long = true;
		return;
	}
	memcpy(g->bytes + g->len, NETMAP_BUF_OFFSET(ring, slot), slot->len);
	g->len += slot->len;
}

/* A whole packet, without its virtio-net header. */
static void look(struct worker *w, const uint8_t *frame, uint32_t len, struct batch *b)
{
	struct packet_info info;

	if (w->o->dump)
		frame_dump("received", frame, len);
	if (!w->o->check || check_add(&w->check, STAMP_DATA, frame, len, &info) != PACKET_OTHER)
		b->counted++;
}

/* A packet ends with this slot, and is looked into. */
static void packet_end(struct worker *w, struct gathered *g, struct netmap_ring *ring,
	struct netmap_slot *slot, struct batch *b)
{
	uint32_t len;
	uint8_t *frame;

	b->packets++;
	if (!g->len && !g->too_long) {
		frame = slot_frame(w, ring, slot, &len);
		look(w, frame, len, b);
	} else {
		gather(g, ring, slot);
		len = g->len > w->hdr_len ? g->len - w->hdr_len : 0;
		if (g->too_long)
			w->check.other++;
		else
			look(w, g->bytes + w->hdr_len, len, b);
	}
	g->len = 0;
	g->too_long = false;
}

/* Takes up to n slots, until `want` packets have counted (0: no limit). */
static void take_looking(struct worker *w, struct gathered *g, struct netmap_ring *ring, uint32_t n,
	uint64_t want, struct batch *b)
{
	uint32_t head = ring->head;

	for (; n && (!want || b->counted < want); n--) {
		struct netmap_slot *slot = &ring->slot[head];

		b->slots++;
		b->bytes += slot->len;
		if (slot->flags & NS_MOREFRAG) {
			gather(g, ring, slot);
		} else {
			b->bytes -= b->bytes < w->hdr_len ? b->bytes : w->hdr_len;
			packet_end(w, g, ring, slot, b);
		}
		head = nm_ring_next(ring, head);
	}
	ring->head = ring->cur = head;
}

/* The same for packets that are only counted. */
static void take_counting(
	struct worker *w, struct netmap_ring *ring, uint32_t n, uint64_t want, struct batch *b)
{
	uint32_t head = ring->head, slots, packets = 0;
	uint64_t bytes = 0, most = want ? want - b->counted : UINT64_MAX, headers;

	for (slots = 0; slots < n && packets < most; slots++) {
		const struct netmap_slot *slot = &ring->slot[head];

		bytes += slot->len;
		packets += !(slot->flags & NS_MOREFRAG);
		head = nm_ring_next(ring, head);
	}
	ring->head = ring->cur = head;
	headers = (uint64_t)packets * w->hdr_len;
	b->bytes += bytes - (bytes < headers ? bytes : headers);
	b->slots += slots;
	b->packets += packets;
	b->counted += packets;
}

/* Takes packets from one ring, until `want` have counted (0: no limit) or it is empty. */
static void take(struct worker *w, struct gathered *g, struct netmap_ring *ring, uint64_t want,
	struct batch *b)
{
	uint32_t n = nm_ring_space(ring);

	if (n > w->o->burst)
		n = w->o->burst;
	if (w->o->check || w->o->dump)
		take_looking(w, g, ring, n, want, b);
	else
		take_counting(w, ring, n, want, b);
}

static struct batch take_all(struct worker *w, struct gathered *parts, uint64_t want)
{
	struct nmport_d *d = w->port;
	struct batch b = {0};

	for (uint32_t i = d->first_rx_ring; i <= d->last_rx_ring; i++)
		take(w, &parts[i - d->first_rx_ring], NETMAP_RXRING(d->nifp, i), want, &b);
	return b;
}

/* -W: is there a packet now? */
static bool empty(struct nmport_d *d)
{
	for (uint32_t i = d->first_rx_ring; i <= d->last_rx_ring; i++)
		if (nm_ring_space(NETMAP_RXRING(d->nifp, i)))
			return false;
	return true;
}

static enum worker_end receive_all(struct worker *w, struct gathered *parts)
{
	uint64_t counted = 0;
	struct idle idle;
	struct batch b;
	int ret;

	idle_start(&idle, w->o);
	if (w->o->exit_if_empty) {
		if (nmport_rxsync(w->port) < 0)
			return worker_failed(w, "rxsync");
		if (empty(w->port))
			return WORKER_IDLE;
	}
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
		b = take_all(w, parts, w->count ? w->count - counted : 0);
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
	struct nmport_d *d = w->port;
	/* A packet may be spread over several bursts: each ring has a place of its own. */
	struct gathered *parts = calloc(d->last_rx_ring - d->first_rx_ring + 1u, sizeof(*parts));
	enum worker_end end;

	if (!parts)
		return worker_failed(w, "room for packets");
	end = receive_all(w, parts);
	free(parts);
	/* Gives the slots back. */
	if (end != WORKER_FAILED && nmport_rxsync(w->port) < 0)
		return worker_failed(w, "rxsync");
	return end;
}
