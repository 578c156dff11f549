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
 * Thread safety: a ring belongs to one thread.
 */
#ifndef PKTGEN_FRAMES_H
#define PKTGEN_FRAMES_H

#include "worker.h"

/* How a frame is cut: `slots` parts of `part` bytes, the last one has the rest. */
struct cut {
	uint32_t slots, part;
	uint32_t total; /* bytes, header included */
};

/* For a frame of len bytes on a ring with buffers of `room` bytes. */
struct cut frame_cut(const struct worker *w, uint32_t room, uint32_t len);
/* Its longest part, bytes. */
uint32_t cut_longest(const struct cut *c);

/* Bytes that a buffer of the ring can hold. */
uint32_t ring_room(const struct netmap_ring *ring);

/* Lays a frame into the slots from `head` on, which are free, behind a cleared virtio-net
 * header. frame NULL: only lengths and flags. Returns the slot behind it. */
uint32_t frame_put(const struct worker *w, struct netmap_ring *ring, uint32_t head,
	const uint8_t *frame, const struct cut *c);

/* Prints a frame as hexadecimal numbers and text. */
void frame_dump(const char *what, const uint8_t *frame, uint32_t len);

#endif
