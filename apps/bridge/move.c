/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the rx rings of one port to the tx rings of another: by exchanging buffers when both lie in
 * one region, else by copying; packet by packet where packets have several slots, else in runs, for
 * which heads are stored once. Indices and lengths are checked on a copy of the slot: the other
 * side of a region writes, too.
 */
#include "move.h"

/* Bytes that a buffer of the ring holds behind the offset of the slot. */
static uint32_t room_of(const struct netmap_ring *ring, const struct netmap_slot *slot)
{
	uint64_t offset = NETMAP_ROFFSET(ring, slot);

	if (offset >= ring->nr_buf_size)
		return 0;
	return ring->nr_buf_size - offset > UINT16_MAX ? UINT16_MAX
						       : (uint32_t)(ring->nr_buf_size - offset);
}

/* Slots of the packet at head; 0 if its end is not there. */
static uint32_t packet_slots(struct netmap_ring *rx)
{
	uint32_t at = rx->head, there = nm_ring_space(rx);

	for (uint32_t n = 1; n <= there; n++) {
		if (!(rx->slot[at].flags & NS_MOREFRAG))
			return n;
		at = nm_ring_next(rx, at);
	}
	return 0;
}

static void exchange_slot(struct netmap_ring *rx, struct netmap_slot *from, struct netmap_slot *to)
{
	uint32_t buf = to->buf_idx;
	uint64_t ptr = to->ptr;

	to->buf_idx = from->buf_idx;
	to->len = from->len;
	to->flags = (uint16_t)(NS_BUF_CHANGED | (from->flags & NS_MOREFRAG));
	from->buf_idx = buf;
	from->flags = NS_BUF_CHANGED;
	if (rx->offset_mask) {
		to->ptr = from->ptr;
		from->ptr = ptr;
	}
}

static uint64_t exchange_packet(struct netmap_ring *rx, struct netmap_ring *tx, uint32_t slots)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < slots; i++) {
		bytes += rx->slot[rx->head].len;
		exchange_slot(rx, &rx->slot[rx->head], &tx->slot[tx->head]);
		rx->head = rx->cur = nm_ring_next(rx, rx->head);
		tx->head = tx->cur = nm_ring_next(tx, tx->head);
	}
	return bytes;
}

/* What a slot of rx holds, within its buffer. */
struct part {
	const char *data;
	uint32_t len;
	bool more;
};

static struct part part_at(struct netmap_ring *rx, uint32_t at)
{
	struct netmap_slot *slot = &rx->slot[at];
	uint32_t room = room_of(rx, slot);

	return (struct part){
		.data = NETMAP_BUF_OFFSET(rx, slot),
		.len = slot->len < room ? slot->len : room,
		.more = slot->flags & NS_MOREFRAG,
	};
}

/* Slots of tx from its head that the packet of `slots` slots needs; UINT32_MAX: more than `max`. */
static uint32_t slots_needed(
	struct netmap_ring *rx, struct netmap_ring *tx, uint32_t slots, uint32_t max)
{
	uint32_t from = rx->head, to = tx->head, needed = 0;

	for (; slots; slots--, from = nm_ring_next(rx, from)) {
		uint32_t left = part_at(rx, from).len;

		do {
			uint32_t room = room_of(tx, &tx->slot[to]);

			if (!room || needed == max)
				return UINT32_MAX;
			left -= left < room ? left : room;
			to = nm_ring_next(tx, to);
			needed++;
		} while (left);
	}
	return needed;
}

static uint64_t copy_packet(struct netmap_ring *rx, struct netmap_ring *tx, uint32_t slots)
{
	uint64_t bytes = 0;

	for (; slots; slots--, rx->head = rx->cur = nm_ring_next(rx, rx->head)) {
		struct part part = part_at(rx, rx->head);

		bytes += part.len;
		do {
			struct netmap_slot *slot = &tx->slot[tx->head];
			uint32_t room = room_of(tx, slot), n = part.len < room ? part.len : room;

			memcpy(NETMAP_BUF_OFFSET(tx, slot), part.data, n);
			part.data += n;
			part.len -= n;
			slot->len = (uint16_t)n;
			slot->flags = part.len || slots > 1 ? NS_MOREFRAG : 0;
			tx->head = tx->cur = nm_ring_next(tx, tx->head);
		} while (part.len);
	}
	return bytes;
}

/* Packets of one slot, which are by far the most frequent, move in runs: both heads are stored once for
 * all of them. */
struct run {
	uint32_t from, to, max; /* heads; packets that both rings have slots for */
};

static struct run begin_run(struct netmap_ring *rx, struct netmap_ring *tx, uint32_t limit)
{
	struct run run = {.from = rx->head, .to = tx->head, .max = nm_ring_space(rx)};
	uint32_t space = nm_ring_space(tx);

	if (run.max > space)
		run.max = space;
	if (run.max > limit)
		run.max = limit;
	return run;
}

static void end_run(struct netmap_ring *rx, struct netmap_ring *tx, const struct run *run,
	uint32_t packets, struct move_stats *stats)
{
	rx->head = rx->cur = run->from;
	tx->head = tx->cur = run->to;
	stats->packets += packets;
	stats->slots += packets;
}

static uint32_t exchange_run(
	struct netmap_ring *rx, struct netmap_ring *tx, uint32_t limit, struct move_stats *stats)
{
	struct run run = begin_run(rx, tx, limit);
	uint64_t bytes = 0;
	uint32_t n;

	for (n = 0; n < run.max; n++) {
		struct netmap_slot *from = &rx->slot[run.from];

		if (from->flags & NS_MOREFRAG)
			break;
		bytes += from->len;
		exchange_slot(rx, from, &tx->slot[run.to]);
		run.from = nm_ring_next(rx, run.from);
		run.to = nm_ring_next(tx, run.to);
	}
	stats->bytes += bytes;
	end_run(rx, tx, &run, n, stats);
	return n;
}

/* As long as they fit in one slot each. */
static uint32_t copy_run(
	struct netmap_ring *rx, struct netmap_ring *tx, uint32_t limit, struct move_stats *stats)
{
	uint32_t fits = rx->nr_buf_size < tx->nr_buf_size ? rx->nr_buf_size : tx->nr_buf_size;
	struct run run = begin_run(rx, tx, rx->offset_mask || tx->offset_mask ? 0 : limit);
	uint64_t bytes = 0;
	uint32_t n;

	for (n = 0; n < run.max; n++) {
		struct netmap_slot *from = &rx->slot[run.from], *to = &tx->slot[run.to];
		uint16_t len = from->len;

		if (from->flags & NS_MOREFRAG || len > fits)
			break;
		memcpy(NETMAP_BUF(tx, to->buf_idx), NETMAP_BUF(rx, from->buf_idx), len);
		to->len = len;
		to->flags = 0;
		bytes += len;
		run.from = nm_ring_next(rx, run.from);
		run.to = nm_ring_next(tx, run.to);
	}
	stats->bytes += bytes;
	end_run(rx, tx, &run, n, stats);
	return n;
}

static void skip(struct netmap_ring *rx, uint32_t slots, struct move_stats *stats)
{
	while (slots--)
		rx->head = rx->cur = nm_ring_next(rx, rx->head);
	stats->dropped++;
}

enum move_end move_packets(struct netmap_ring *rx, struct netmap_ring *tx, uint32_t limit,
	bool exchange, struct move_stats *stats)
{
	for (;;) {
		uint32_t slots, space, needed;

		limit -= exchange ? exchange_run(rx, tx, limit, stats)
				  : copy_run(rx, tx, limit, stats);
		if (!limit)
			return MOVE_LIMIT;
		slots = packet_slots(rx);
		space = nm_ring_space(tx);
		if (!slots) {
			/* A ring full of a packet without an end would stay full for ever. */
			if (nm_ring_space(rx) < rx->num_slots - 1)
				return MOVE_EMPTY;
			skip(rx, rx->num_slots - 1, stats);
			continue;
		}
		needed = exchange ? slots : slots_needed(rx, tx, slots, tx->num_slots - 1);
		if (needed > tx->num_slots - 1) {
			skip(rx, slots, stats);
			continue;
		}
		if (needed > space)
			return MOVE_FULL;
		stats->bytes +=
			exchange ? exchange_packet(rx, tx, slots) : copy_packet(rx, tx, slots);
		stats->packets++;
		stats->slots += needed;
		limit--;
	}
}
