/* SPDX-License-Identifier: BSD-2-Clause */
#include "measure.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 32 }; /* turns between two looks at the clock */

_Thread_local volatile uint64_t touched;

struct vg_ring *tx_of(struct vg_port *port)
{
	return &port->rings[0];
}

struct vg_ring *rx_of(struct vg_port *port)
{
	return &port->rings[port->tx_rings];
}

void prepare_ring(struct vg_ring *tx, const uint8_t from[6], uint32_t len, uint32_t hdr_len)
{
	uint32_t size = tx->port->mem->buf_size;

	for (uint32_t i = 0; i < tx->csb.num_slots; i++) {
		char *buf = vg_buf(tx, &tx->ring->slot[i]);

		memset(buf, 0, hdr_len);
		memset(buf + hdr_len, 0x5a, (len < size ? len : size) - hdr_len);
		memcpy(buf + hdr_len + 6, from, 6);
		buf[hdr_len + 12] = 0x08;
		buf[hdr_len + 13] = 0x00;
	}
}

void announce(struct vg_port *from)
{
	uint8_t frame[NM_PORT_HDR_MAX + 60] = {0};
	uint8_t *eth = frame + from->hdr_len;

	memset(eth, 0xff, 6);
	memcpy(eth + 6, from->mac, 6);
	if (vg_put(tx_of(from), frame, from->hdr_len + 60) != 0 || vg_sync(tx_of(from)) != 0)
		die("announcement", EIO);
	usleep(50000);
}

void sync_or_die(struct vg_ring *ring)
{
	if (vg_sync(ring) != 0)
		die("ring", EPROTO);
}

/* A long packet takes several slots. */
static uint32_t slots_of(const struct vg_ring *tx, uint32_t len)
{
	return (len + tx->port->mem->buf_size - 1) / tx->port->mem->buf_size;
}

static void send_long(struct vg_ring *tx, const struct options *o, uint32_t at, frame_start start)
{
	uint32_t size = tx->port->mem->buf_size, left = o->len;

	while (left > 0) {
		struct netmap_slot *slot = vg_slot(tx, at++);
		uint32_t n = left < size ? left : size;

		if (left == o->len)
			send_slot(slot, vg_buf(tx, slot), n, o->hdr_len, start);
		slot->len = (uint16_t)n;
		left -= n;
		slot->flags = left > 0 ? NS_MOREFRAG : 0;
	}
}

/*
 * A ring and its buffers as a loop over packets wants them, in registers: the client must not be what limits
 * a figure, and through vg_slot() and vg_buf() it was as slow as netmapd's worker.
 */
struct walk {
	struct netmap_slot *slots, *end, *slot; /* slot: the next one */
	char *bufs;
	size_t buf_size;
};

static struct walk walk_from(const struct vg_ring *r)
{
	const struct vg_mem *mem = r->port->mem;

	return (struct walk){
		.slots = r->ring->slot,
		.end = r->ring->slot + r->csb.num_slots,
		.slot = r->ring->slot + r->head,
		.bufs = mem->base + mem->buf_ofs,
		.buf_size = mem->buf_size,
	};
}

static inline struct netmap_slot *walk_next(struct walk *w)
{
	struct netmap_slot *slot = w->slot;

	w->slot = slot + 1 == w->end ? w->slots : slot + 1;
	return slot;
}

static inline char *walk_buf(const struct walk *w, const struct netmap_slot *slot)
{
	return w->bufs + slot->buf_idx * w->buf_size;
}

uint64_t send_batch(struct vg_ring *tx, const struct options *o, frame_start start)
{
	uint32_t each = slots_of(tx, o->len), batch = o->batch;

	if (vg_avail(tx) < each * batch)
		return 0;
	if (each == 1) {
		struct walk w = walk_from(tx);
		const uint32_t len = o->len, hdr_len = o->hdr_len;

		for (uint32_t i = 0; i < batch; i++) {
			struct netmap_slot *slot = walk_next(&w);

			send_slot(slot, walk_buf(&w, slot), len, hdr_len, start);
		}
	} else {
		for (uint32_t i = 0; i < batch; i++)
			send_long(tx, o, i * each, start);
	}
	vg_advance(tx, each * batch);
	return batch;
}

uint64_t take_all(struct vg_ring *rx)
{
	uint32_t n = vg_avail(rx);
	uint64_t packets = 0, sum = 0;
	struct walk w = walk_from(rx);

	for (uint32_t i = 0; i < n; i++) {
		const struct netmap_slot *slot = walk_next(&w);

		sum += take_slot(slot, walk_buf(&w, slot));
		packets += !(slot->flags & NS_MOREFRAG);
	}
	vg_advance(rx, n);
	touched = sum;
	return packets;
}

void run_timed(const struct options *o, void (*turn)(void *arg, struct result *r), void *arg,
	struct result *r)
{
	double start = now_s(), warm = start + o->seconds / 4, end = warm + o->seconds;
	bool counting = false;

	for (double now = start; now < end; now = now_s()) {
		if (!counting && now >= warm) {
			counting = true;
			start = now;
			r->count = r->sent = r->extra[0] = 0;
		}
		for (int round = 0; round < ROUNDS; round++)
			turn(arg, r);
	}
	r->seconds = now_s() - start;
}
