/* SPDX-License-Identifier: BSD-2-Clause */
#include "slots.h"

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

/* The packet that begins at slot `at`. A slot that is plain costs no closer look. */
static inline enum nm_pkt_state walk(
	const struct nm_slots *s, uint32_t at, uint32_t end, struct nm_pkt *pkt)
{
	const struct netmap_slot *shared = s->slots;
	const uint32_t num_slots = s->num_slots, stride = s->stride;
	struct nm_frag *frags = pkt->frags;
	uint32_t slots = 0, bytes = 0, any = 0, good = NETMAP_MAX_FRAGS;
	struct nm_slot_copy slot = {.flags = NS_MOREFRAG};

	pkt->first = at;
	pkt->cause = NM_DROPS;
	for (; (slot.flags & NS_MOREFRAG) && likely(at != end); slots++) {
		uint64_t offset = 0;

		slot = nm_slot_load(&shared[at]);
		any |= slot.flags;
		if (slots == 0)
			pkt->first_flags = slot.flags;
		if (unlikely(slots >= good) || unlikely(!nm_slots_plain(s, slot))) {
			offset = nm_slots_offset(s, at);
			if (pkt->cause == NM_DROPS)
				pkt->cause = slots < NETMAP_MAX_FRAGS
						     ? nm_slots_check(s, slot, offset)
						     : NM_DROP_FRAGMENTS;
			if (pkt->cause != NM_DROPS)
				good = 0;
		}
		at = nm_ring_advance(at, 1, num_slots);
		if (unlikely(good == 0))
			continue;
		frags[slots].buf = s->bufs + (uint64_t)slot.buf_idx * stride + offset;
		frags[slots].len = slot.len;
		frags[slots].buf_idx = slot.buf_idx;
		bytes += slot.len;
	}
	pkt->next = at;
	pkt->slots = slots;
	pkt->bytes = bytes;
	pkt->any_flags = (uint16_t)any;
	if (unlikely(slot.flags & NS_MOREFRAG))
		return NM_PKT_PARTIAL;
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
	struct nm_slots given = *s;
	uint32_t dropping = 0;

	given.dropping = &dropping;
	for (; *at != end; *at = nm_ring_advance(*at, 1, s->num_slots)) {
		struct netmap_slot *slot = &s->slots[*at];
		uint16_t flags = nm_slot_load(slot).flags;

		if (likely(!(flags & NS_FORWARD)))
			continue;
		OS_STORE(&slot->flags, (uint16_t)(flags & ~NS_FORWARD));
		if (nm_pkt_next(&given, at, end, pkt) == NM_PKT_PARTIAL)
			pkt->cause = NM_DROP_FRAGMENTS;
		return true;
	}
	return false;
}

uint32_t nm_slots_skip_rest(const struct nm_slots *s, uint32_t at, uint32_t end)
{
	while (*s->dropping && at != end) {
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

int nm_ring_drop_sent(struct nm_ring *ring)
{
	struct nm_slots slots;

	nm_slots_init_ring(&slots, ring, 0);
	for (uint32_t at = ring->hwcur; at != ring->head;) {
		ring->dropping = 1;
		at = nm_slots_skip(&slots, at, ring->head);
		if (ring->dropping)
			continue;
		nm_count(&ring->stats.packets, 1);
		nm_count(&ring->stats.drops[NM_DROP_RECEIVES_ONLY], 1);
	}
	nm_ring_sent(ring, ring->head);
	return 0;
}

/* ---- producer ---------------------------------------------------------------------------- */

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

/* How many slots it takes is known when the last is found, since the receiver chooses the offsets. */
enum nm_drop nm_rxq_reserve_some(
	struct nm_rxq *q, uint32_t bytes, struct nm_piece *pieces, uint32_t *count)
{
	uint32_t n = 0, limit = q->room < NETMAP_MAX_FRAGS ? q->room : NETMAP_MAX_FRAGS;
	enum nm_drop cause = NM_DROPS;

	do {
		if (unlikely(n >= limit)) {
			cause = nm_rxq_check(q, n + 1, n + 1);
			limit = q->room < NETMAP_MAX_FRAGS ? q->room : NETMAP_MAX_FRAGS;
		}
		if (likely(cause == NM_DROPS))
			cause = nm_rxq_piece(q, n, &pieces[n]);
		if (unlikely(cause != NM_DROPS))
			break;
		bytes = pieces[n].len < bytes ? bytes - pieces[n].len : 0;
		n++;
	} while (bytes > 0);
	*count = n;
	return cause;
}

/* Most packets fit one slot. One that can't be had is refused before its slots are looked at. */
enum nm_drop nm_rxq_reserve(
	struct nm_rxq *q, uint32_t bytes, struct nm_piece *pieces, uint32_t *count)
{
	uint32_t most = nm_rxq_slot_bytes(q), least;
	enum nm_drop cause;

	*count = 0;
	if (unlikely(most == 0))
		return NM_DROP_BAD_OFFSET;
	if (likely(bytes <= most && nm_rxq_has_room(q, 1))) {
		cause = nm_rxq_piece(q, 0, pieces);
		if (unlikely(cause != NM_DROPS))
			return cause;
		if (likely(bytes <= pieces->len)) {
			pieces->len = bytes;
			*count = 1;
			return NM_DROPS;
		}
	}
	least = bytes <= most ? 1 : (bytes + most - 1) / most;
	cause = nm_rxq_check(q, least, least);
	if (likely(cause == NM_DROPS))
		cause = nm_rxq_reserve_some(q, bytes, pieces, count);
	if (likely(cause == NM_DROPS))
		nm_pieces_trim(pieces, bytes);
	return cause;
}

void nm_rxq_commit(struct nm_rxq *q, const struct nm_piece *pieces, uint32_t count, uint16_t flags)
{
	uint32_t at = q->at, bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		nm_slot_fill(&q->slots.slots[at], pieces[i].len, flags | nm_slots_flags(count, i));
		bytes += pieces[i].len;
		at = nm_ring_advance(at, 1, q->slots.num_slots);
	}
	q->at = at;
	q->room -= count;
	q->bytes += bytes;
	q->packets++;
}
