/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frames.h - frames in the slots of rings: one slot each, or several with NS_MOREFRAG.
 *
 * A frame with its virtio-net header is cut into parts: as -F and -M say, else as few as the
 * buffers allow.
 *
 *	-F 3:       [ n / 3 ][ n / 3 ][ rest ]
 *	-F 3 -M m:  [ m ][ m ][ rest ]
 *
 * A frame that fits in one slot is by far the most frequent, and what pkt-gen does for each is what
 * limits the rate that it can show: for those there is neither a call nor a division.
 *
 * Thread safety: a ring belongs to one thread.
 */
#ifndef PKTGEN_FRAMES_H
#define PKTGEN_FRAMES_H

#include <string.h>

#include "worker.h"

/* How a frame is cut: `slots` parts of `part` bytes, the last one has the rest. */
struct cut {
	uint32_t slots, part;
	uint32_t total; /* bytes, header included */
};

/* Cuts c->total bytes, which are too many for a buffer, or to be cut by -F. */
void frame_cut_parts(const struct worker *w, uint32_t room, struct cut *c);
/* Its longest part, bytes. */
uint32_t cut_longest(const struct cut *c);

/* For a frame of len bytes on a ring with buffers of `room` bytes. */
static inline struct cut frame_cut(const struct worker *w, uint32_t room, uint32_t len)
{
	struct cut c = {.slots = 1, .part = room, .total = w->hdr_len + len};

	if (c.total > room || w->o->frags > 1)
		frame_cut_parts(w, room, &c);
	return c;
}

/* Bytes that a buffer of the ring can hold. */
static inline uint32_t ring_room(const struct netmap_ring *ring)
{
	return ring->nr_buf_size < UINT16_MAX ? ring->nr_buf_size : UINT16_MAX;
}

/* As frame_put(), for any number of parts. */
uint32_t frame_put_parts(const struct worker *w, struct netmap_ring *ring, uint32_t head,
	const uint8_t *frame, const struct cut *c);

/* Lays a frame into the slots from `head` on, which are free, behind a cleared virtio-net
 * header. frame NULL: only lengths and flags. Returns the slot behind it. */
static inline uint32_t frame_put(const struct worker *w, struct netmap_ring *ring, uint32_t head,
	const uint8_t *frame, const struct cut *c)
{
	struct netmap_slot *slot = &ring->slot[head];
	uint32_t hdr = w->hdr_len;
	uint8_t *to;

	if (c->slots > 1)
		return frame_put_parts(w, ring, head, frame, c);
	slot->len = (uint16_t)c->total;
	slot->flags = 0;
	if (frame) {
		to = (uint8_t *)NETMAP_BUF_OFFSET(ring, slot);
		if (hdr)
			memset(to, 0, hdr);
		memcpy(to + hdr, frame, c->total - hdr);
	}
	return nm_ring_next(ring, head);
}

/* Prints a frame as hexadecimal numbers and text. */
void frame_dump(const char *what, const uint8_t *frame, uint32_t len);

#endif
