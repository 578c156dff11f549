/* SPDX-License-Identifier: BSD-2-Clause */
/* The packets of a pipe: from the tx ring of one end into the rx ring of the other. */
#include "pipe_internal.h"
#include "slots.h"

enum { PREFETCH_AHEAD = 16 }; /* slots */

/* A lane while its lock is held. Both rings lie in one region. */
struct move {
	struct lane *lane;
	struct nm_ring *tx, *rx;
	struct nm_slots slots;                  /* of tx, with the gap that the receiver wants */
	uint32_t from, end;                     /* tx slots that are not done */
	uint32_t to, room;                      /* next rx slot to fill, and how many are free */
	uint64_t packets, bytes, taken, copies; /* delivered; taken from tx */
	bool waiting;                           /* the next packet needs more room than there is */
};

static void count_both(struct move *m, enum nm_drop cause)
{
	m->tx->stats.drops[cause]++;
	m->rx->stats.drops[cause]++;
}

static void look_for_room(struct move *m) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	m->rx->produce.hwcur_seen = OS_LOAD_ACQUIRE(&m->rx->hwcur);
	m->room = nm_ring_room(m->rx, m->to);
}

/* Is there room for `slots`? If not, `blocked` is set, and whoever makes room will see it. */
static bool have_room(struct move *m, uint32_t slots) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	if (likely(m->room >= slots))
		return true;
	look_for_room(m);
	if (m->room >= slots)
		return true;
	OS_STORE(&m->lane->blocked, 1);
	os_mb(); /* pairs with the one in nm_pipe_rxsync() */
	look_for_room(m);
	m->waiting = m->room < slots;
	return !m->waiting;
}

/* One slot with its buffer to the receiver, the receiver's buffer back. */
static inline void exchange(struct move *m, uint32_t from, uint32_t to, uint64_t offset,
	struct nm_slot_copy slot, uint32_t theirs)
{
	struct netmap_slot *rx = &m->rx->slots[to];

	if (unlikely(m->rx->offset_mask))
		OS_STORE(&rx->ptr, offset);
	nm_slot_store(rx, slot.buf_idx, slot.len, slot.flags | NS_BUF_CHANGED);
	nm_slot_store(&m->slots.slots[from], theirs, slot.len, NS_BUF_CHANGED);
}

/* A packet of one slot. False: it has to wait. */
static inline bool move_single(struct move *m, struct nm_slot_copy slot)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	uint64_t offset = nm_slots_offset(&m->slots, m->from);
	enum nm_drop cause = nm_slots_check(&m->slots, slot, offset);
	uint32_t theirs;

	if (unlikely(cause != NM_DROPS)) {
		m->tx->stats.drops[cause]++;
	} else {
		if (unlikely(!have_room(m, 1)))
			return false;
		m->copies++;
		theirs = OS_LOAD(&m->rx->slots[m->to].buf_idx);
		if (likely(nm_slots_buf_valid(&m->slots, theirs))) {
			slot.flags = nm_slots_flags(1, 0);
			exchange(m, m->from, m->to, offset, slot, theirs);
			m->to = nm_ring_advance(m->to, 1, m->rx->num_slots);
			m->room--;
			m->packets++;
			m->bytes += slot.len;
		} else {
			count_both(m, NM_DROP_BAD_BUFFER);
		}
	}
	m->from = nm_ring_advance(m->from, 1, m->slots.num_slots);
	m->taken++;
	return true;
}

static void exchange_all(struct move *m, const struct nm_pkt *pkt, const uint32_t *theirs)
{
	uint32_t from = pkt->first;

	for (uint32_t i = 0; i < pkt->slots; i++) {
		const struct nm_frag *frag = &pkt->frags[i];
		const struct nm_slot_copy slot = {
			frag->buf_idx, (uint16_t)frag->len, nm_slots_flags(pkt->slots, i)};

		exchange(m, from, m->to, nm_slots_offset_of(&m->slots, frag->buf, frag->buf_idx),
			slot, theirs[i]);
		from = nm_ring_advance(from, 1, m->slots.num_slots);
		m->to = nm_ring_advance(m->to, 1, m->rx->num_slots);
	}
	m->room -= pkt->slots;
	m->packets++;
	m->bytes += pkt->bytes;
}

/* A packet of several slots. False: it has to wait, for room or for its end. */
static bool move_chain(struct move *m) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	uint32_t theirs[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	struct nm_slots rx;

	switch (nm_pkt_next(&m->slots, &m->from, m->end, &pkt)) {
	case NM_PKT_PARTIAL:
		return false;
	case NM_PKT_DROP:
		m->tx->stats.drops[pkt.cause]++;
		break;
	case NM_PKT_WHOLE:
		if (!have_room(m, pkt.slots))
			return false;
		m->copies++;
		nm_slots_init_ring(&rx, m->rx, 0);
		if (nm_slots_buffers(&rx, m->to, pkt.slots, theirs))
			exchange_all(m, &pkt, theirs);
		else
			count_both(m, NM_DROP_BAD_BUFFER);
	}
	m->from = pkt.next;
	m->taken++;
	return true;
}

/* Both rings are written to: what their lines cost is paid once, not for reading and again for
 * writing. With that a pipe carried half as many packets again. */
static void move_all(struct move *m) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	bool more = true;

	m->from = nm_slots_skip(&m->slots, m->from, m->end);
	while (more && m->from != m->end) {
		struct nm_slot_copy slot = nm_slot_load(&m->tx->slots[m->from]);

		os_prefetch_write(
			&m->tx->slots[nm_ring_advance(m->from, PREFETCH_AHEAD, m->tx->num_slots)]);
		os_prefetch_write(
			&m->rx->slots[nm_ring_advance(m->to, PREFETCH_AHEAD, m->rx->num_slots)]);
		more = likely(!(slot.flags & NS_MOREFRAG)) ? move_single(m, slot) : move_chain(m);
	}
}

int nm_pipe_move(struct lane *lane)
{
	struct nm_ring *tx = lane->tx, *rx = lane->rx;
	uint32_t was_blocked = OS_LOAD(&lane->blocked);
	int result = MOVED_NOTHING;
	struct move m;

	nm_produce_assert_locked(rx);
	if (lane->moved == lane->head || lane->paused)
		return MOVED_NOTHING;
	m.lane = lane;
	m.tx = tx;
	m.rx = rx;
	m.from = lane->moved;
	m.end = lane->head;
	m.to = rx->produce.hwtail;
	m.room = nm_ring_room(rx, m.to);
	m.packets = m.bytes = m.taken = m.copies = 0;
	m.waiting = false;
	nm_slots_init_ring(&m.slots, tx, rx->port->offsets.gap);
	/* `blocked` stays set until it is known that nothing waits: a receiver that looks meanwhile,
	 * and sleeps without asking for a kick, would not be told again. */
	move_all(&m);
	tx->stats.packets += m.taken;
	tx->stats.copies += m.copies;
	tx->stats.bytes += m.bytes;
	rx->stats.packets += m.packets;
	rx->stats.bytes += m.bytes;
	os_assert(m.from < tx->num_slots && m.to < rx->num_slots);
	if (m.to != rx->produce.hwtail) {
		OS_STORE_RELEASE(&rx->produce.hwtail, m.to);
		result |= MOVED_RX;
	}
	if (m.from != lane->moved) {
		OS_STORE_RELEASE(&lane->moved, m.from);
		result |= MOVED_TX;
	}
	if (!m.waiting)
		OS_STORE(&lane->blocked, 0);
	else if (!was_blocked)
		result |= MOVED_BLOCKED;
	return result;
}

/* ---- syncs ---------------------------------------------------------------------------- */

int nm_pipe_txsync(struct nm_ring *ring)
{
	struct lane *lane = ring->priv;

	if (ring->head != OS_LOAD(&lane->head)) { /* which only this thread changes */
		int moved;

		nm_produce_lock(lane->rx);
		lane->head = ring->head;
		moved = nm_pipe_move(lane);
		nm_produce_unlock(lane->rx);
		/* Also when it is full: whoever serves it must hear of slots that are given back. */
		if (moved & (MOVED_RX | MOVED_BLOCKED))
			os_wakeup_signal(&lane->rx->wakeup);
	}
	nm_ring_sent(ring, OS_LOAD_ACQUIRE(&lane->moved));
	return 0;
}

int nm_pipe_rxsync(struct nm_ring *ring)
{
	struct lane *lane = ring->priv;

	if (ring->hwcur != ring->head) {
		OS_STORE_RELEASE(&ring->hwcur, ring->head);
		os_mb(); /* pairs with the one in have_room() */
		if (unlikely(OS_LOAD(&lane->blocked))) {
			int moved;

			nm_produce_lock(lane->rx);
			moved = nm_pipe_move(lane);
			nm_produce_unlock(lane->rx);
			if (moved & MOVED_TX)
				os_wakeup_signal(&lane->tx->wakeup);
		}
	}
	ring->tail = OS_LOAD_ACQUIRE(&ring->produce.hwtail);
	return 0;
}

bool nm_pipe_can_send(struct nm_ring *ring)
{
	const struct lane *lane = ring->priv;

	return OS_LOAD(&lane->moved) != ring->hwcur;
}

bool nm_pipe_wants_room(struct nm_ring *ring)
{
	const struct lane *lane = ring->priv;

	return OS_LOAD(&lane->blocked) != 0;
}
