/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * move.h - packets from one ring to another.
 *
 *	rx ring   head -> [ a ][ b1 ][ b2 ][ c ] <- tail
 *	                    |     |     |
 *	tx ring   head -> [ a ][ b1 ][ b2 ] <- tail: c waits, whole packets only
 *
 * In one region a packet moves by exchanging the buffers of the two slots; else it is
 * copied. Where a fragment does not fit one buffer of the tx ring it is split.
 *
 * Thread safety: the rings belong to the caller.
 */
#ifndef BRIDGE_MOVE_H
#define BRIDGE_MOVE_H

#include <stdbool.h>
#include <stdint.h>
#include <net/netmap_user.h>

struct move_stats {
	uint64_t packets, bytes, slots;
	uint64_t dropped; /* packets: they can never fit the tx ring, or have no end */
};

enum move_end {
	MOVE_EMPTY, /* no whole packet is left */
	MOVE_FULL,  /* the next one has no room */
	MOVE_LIMIT, /* `limit` packets were moved */
};

/*
 * Moves up to `limit` packets and advances head and cur of both rings; no sync is
 * done. exchange: both rings are in one region and have the same offsets.
 */
enum move_end move_packets(struct netmap_ring *rx, struct netmap_ring *tx, uint32_t limit,
	bool exchange, struct move_stats *stats);

#endif
