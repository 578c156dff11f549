/* SPDX-License-Identifier: BSD-2-Clause */
#include "slots.h"
#include "port.h"

static_assert(offsetof(struct netmap_slot, len) == 4 && offsetof(struct netmap_slot, flags) == 6,
	"len and flags are stored at once");
static_assert((uint64_t)NETMAP_MAX_FRAGS * UINT16_MAX <= UINT32_MAX, "bytes of a packet");

bool nm_slots_buffers(const struct nm_slots *s, uint32_t at, uint32_t count, uint32_t *buf_idx)
{
	for (uint32_t i = 0; i < count; i++) {
		buf_idx[i] = OS_LOAD(&s->slots[at].buf_idx);
		if (unlikely(!nm_slots_buf_valid(s, buf_idx[i])))
			return false;
		at = nm_ring_advance(at, 1, s->num_slots);
	}
	return true;
}

/* ---- consumer ---------------------------------------------------------------------------- */

/* Slot i is the next of the packet. Returns its flags. */
static inline uint16_t add_slot(const struct nm_slots *s, uint32_t i, struct nm_pkt *pkt)
{
	struct nm_slot_copy slot = nm_slot_load(&s->slots[i]);
	uint64_t offset = nm_slots_offset(s, i);

	if (pkt->slots == 0)
		pkt->first_flags = slot.flags;
	pkt->any_flags |= slot.flags;
	if (unlikely(pkt->slots >= NETMAP_MAX_FRAGS) && pkt->cause == NM_DROPS)
		pkt->cause = NM_DROP_FRAGMENTS;
	if (likely(pkt->cause == NM_DROPS))
		pkt->cause = nm_slots_check(s, slot, offset);
	if (likely(pkt->cause == NM_DROPS)) {
		pkt->frags[pkt->slots] = (struct nm_frag){
			.buf = nm_slots_buf(s, slot.buf_idx) + offset,
			.len = slot.len,
			.buf_idx = slot.buf_idx,
		};
		pkt->bytes += slot.len;
	}
	pkt->slots++;
	return slot.flags;
}

/* The packet that begins at slot `at`. */
static enum nm_pkt_state walk(
	const struct nm_slots *s, uint32_t at, uint32_t end, struct nm_pkt *pkt)
{
	uint16_t flags;

	pkt->first = pkt->next = at;
	pkt->slots = pkt->bytes = 0;
	pkt->any_flags = 0;
	pkt->cause = NM_DROPS;
	do {
		if (unlikely(pkt->next == end))
			return NM_PKT_PARTIAL;
		flags = add_slot(s, pkt->next, pkt);
		pkt->next = nm_ring_advance(pkt->next, 1, s->num_slots);
	} while (flags & NS_MOREFRAG);
	return likely(pkt->cause == NM_DROPS) ? NM_PKT_WHOLE : NM_PKT_DROP;
}

enum nm_pkt_state nm_pkt_next(
	const struct nm_slots *s, uint32_t *at, uint32_t end, struct nm_pkt *pkt)
{
	enum nm_pkt_state state;

	*at = nm_slots_skip(s, *at, end);
	state = walk(s, *at, end, pkt);
	if (likely(state != NM_PKT_PARTIAL))
		return state;
	/* Its end would be of no use, or never come. */
	if (unlikely(pkt->slots > NETMAP_MAX_FRAGS || pkt->slots == s->num_slots - 1)) {
		pkt->cause = NM_DROP_FRAGMENTS;
		*s->dropping = 1;
		return NM_PKT_DROP;
	}
	return NM_PKT_PARTIAL;
}

bool nm_pkt_next_forward(const struct nm_slots *s, uint32_t *at, uint32_t end, struct nm_pkt *pkt)
{
	for (; *at != end; *at = nm_ring_advance(*at, 1, s->num_slots)) {
		struct netmap_slot *slot = &s->slots[*at];
		uint16_t flags = nm_slot_load(slot).flags;

		if (likely(!(flags & NS_FORWARD)))
			continue;
		OS_STORE(&slot->flags, (uint16_t)(flags & ~NS_FORWARD));
		if (walk(s, *at, end, pkt) == NM_PKT_PARTIAL)
			pkt->cause = NM_DROP_FRAGMENTS;
		return true;
	}
	return false;
}

uint32_t nm_slots_skip(const struct nm_slots *s, uint32_t at, uint32_t end)
{
	while (unlikely(*s->dropping) && at != end) {
		*s->dropping = !!(nm_slot_load(&s->slots[at]).flags & NS_MOREFRAG);
		at = nm_ring_advance(at, 1, s->num_slots);
	}
	return at;
}

uint32_t nm_slots_whole(const struct nm_slots *s, uint32_t at, uint32_t end)
{
	uint32_t whole = at;

	while (at != end) {
		bool more = nm_slot_load(&s->slots[at]).flags & NS_MOREFRAG;

		at = nm_ring_advance(at, 1, s->num_slots);
		if (!more)
			whole = at;
	}
	return whole;
}

/* ---- producer ---------------------------------------------------------------------------- */

void nm_rxq_begin(struct nm_rxq *q, struct nm_ring *ring)
{
	q->slots = nm_ring_slots(ring);
	q->slots.gap = ring->port->offsets.gap;
	q->ring = ring;
	q->at = ring->produce.hwtail;
	q->room = nm_rxq_known_room(q);
	q->looked = ring->num_slots;
	q->packets = q->bytes = 0;
}

void nm_rxq_look(struct nm_rxq *q)
{
	q->ring->produce.hwcur_seen = OS_LOAD_ACQUIRE(&q->ring->hwcur);
	q->room = nm_rxq_known_room(q);
}

void nm_rxq_look_once(struct nm_rxq *q)
{
	if (q->looked == q->at)
		return;
	q->looked = q->at;
	nm_rxq_look(q);
}

enum nm_drop nm_rxq_check(struct nm_rxq *q, uint64_t slots, uint32_t each)
{
	if (each > NETMAP_MAX_FRAGS)
		return NM_DROP_FRAGMENTS;
	if (slots > q->slots.num_slots - 1)
		return NM_DROP_TOO_LONG;
	return nm_rxq_has_room(q, (uint32_t)slots) ? NM_DROPS : NM_DROP_RX_FULL;
}

enum nm_drop nm_rxq_piece(const struct nm_rxq *q, uint32_t n, struct nm_piece *piece)
{
	const struct nm_slots *s = &q->slots;
	uint32_t i = nm_ring_advance(q->at, n, s->num_slots);
	uint32_t index = OS_LOAD(&s->slots[i].buf_idx);
	uint64_t offset = nm_slots_offset(s, i), room;

	if (unlikely(!nm_slots_buf_valid(s, index)))
		return NM_DROP_BAD_BUFFER;
	if (unlikely(s->gap >= s->buf_size || offset >= s->buf_size - s->gap))
		return NM_DROP_BAD_OFFSET;
	room = s->buf_size - s->gap - offset;
	piece->buf = nm_slots_buf(s, index) + offset;
	piece->len = room < UINT16_MAX ? (uint32_t)room : UINT16_MAX;
	piece->buf_idx = index;
	return NM_DROPS;
}

/* How many slots it takes is known when the last is found, since the receiver chooses the offsets. */
enum nm_drop nm_rxq_reserve_some(
	struct nm_rxq *q, uint32_t bytes, struct nm_piece *pieces, uint32_t *count)
{
	for (*count = 0; bytes > 0 || *count == 0; (*count)++) {
		struct nm_piece *piece = &pieces[*count];
		enum nm_drop cause = nm_rxq_check(q, *count + 1, *count + 1);

		if (likely(cause == NM_DROPS))
			cause = nm_rxq_piece(q, *count, piece);
		if (unlikely(cause != NM_DROPS))
			return cause;
		if (piece->len > bytes)
			piece->len = bytes;
		bytes -= piece->len;
	}
	return NM_DROPS;
}

enum nm_drop nm_rxq_reserve(
	struct nm_rxq *q, uint32_t bytes, struct nm_piece *pieces, uint32_t *count)
{
	uint32_t most = nm_rxq_slot_bytes(q), least;
	enum nm_drop cause;

	*count = 0;
	if (unlikely(most == 0))
		return NM_DROP_BAD_OFFSET;
	least = bytes <= most ? 1 : (bytes + most - 1) / most;
	cause = nm_rxq_check(q, least, least);
	return likely(cause == NM_DROPS) ? nm_rxq_reserve_some(q, bytes, pieces, count) : cause;
}

void nm_rxq_commit(struct nm_rxq *q, const struct nm_piece *pieces, uint32_t count, uint16_t flags)
{
	for (uint32_t i = 0; i < count; i++) {
		nm_slot_fill(
			&q->slots.slots[q->at], pieces[i].len, flags | nm_slots_flags(count, i));
		q->bytes += pieces[i].len;
		q->at = nm_ring_advance(q->at, 1, q->slots.num_slots);
	}
	q->room -= count;
	q->packets++;
}

void nm_rxq_publish(struct nm_rxq *q)
{
	struct nm_ring *ring = q->ring;

	ring->stats.packets += q->packets;
	ring->stats.bytes += q->bytes;
	OS_STORE_RELEASE(&ring->produce.hwtail, q->at);
}
