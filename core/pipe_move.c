/* SPDX-License-Identifier: BSD-2-Clause */
/* The packets of a pipe: from the tx ring of one end into the rx ring of the other. */
#include "pipe_internal.h"
#include "monitor.h"
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
};

static void count_both(struct move *m, enum nm_drop cause)
{
	nm_count(&m->tx->stats.drops[cause], 1);
	nm_count(&m->rx->stats.drops[cause], 1);
}

static void look_for_room(struct move *m) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	m->rx->produce.hwcur_seen = OS_LOAD_ACQUIRE(&m->rx->hwcur);
	m->room = nm_ring_room(m->rx, m->to);
}

/* There is: a sender has no more slots than the receiver has room for (pipe.h). */
static void have_room(struct move *m, uint32_t slots) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	if (unlikely(m->room < slots))
		look_for_room(m);
	os_assert(m->room >= slots);
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

/* A packet of one slot. */
static inline void move_single(struct move *m, struct nm_slot_copy slot)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	uint64_t offset = nm_slots_offset(&m->slots, m->from);
	enum nm_drop cause = nm_slots_check(&m->slots, slot, offset);
	uint32_t theirs;

	if (unlikely(cause != NM_DROPS)) {
		nm_count(&m->tx->stats.drops[cause], 1);
	} else {
		have_room(m, 1);
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

/* A packet of several slots. False: it has to wait for its end. */
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
		nm_count(&m->tx->stats.drops[pkt.cause], 1);
		break;
	case NM_PKT_WHOLE:
		have_room(m, pkt.slots);
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

/* How many slots lie in one piece in both rings, from where the move is. */
static uint32_t run_of(const struct move *m)
{
	uint32_t n = m->slots.num_slots;
	uint32_t run = m->end > m->from ? m->end - m->from : n - m->from;

	return run < n - m->to ? run : n - m->to;
}

/*
 * Nearly all packets: one good slot each, without offsets, for a good buffer of the receiver's. Returns how many
 * of the next `run` slots, which lie in one piece in both rings, were such and have been moved.
 *
 * Everything is in registers: a packet takes 39 instructions here, and 121 in move_single() (bench/budget.py). Both
 * rings are written to: what their lines cost is paid once, not for reading and again for writing.
 * With that a pipe carried half as many packets again.
 */
static uint32_t move_plain(struct move *m, uint32_t run) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct netmap_slot *tx = &m->slots.slots[m->from], *rx = &m->rx->slots[m->to];
	const struct netmap_slot *const end = tx + run;
	const uint32_t plain = m->rx->offset_mask == 0 ? m->slots.plain : 0;
	const struct nm_slots bufs = m->slots;
	uint64_t bytes = 0;
	uint32_t done;

	for (; tx != end; tx++, rx++) {
		struct nm_slot_copy slot = nm_slot_load(tx);
		uint32_t theirs = OS_LOAD(&rx->buf_idx);

		os_prefetch_write(tx + PREFETCH_AHEAD);
		os_prefetch_write(rx + PREFETCH_AHEAD);
		if (unlikely(slot.flags & (NS_MOREFRAG | NS_INDIRECT)) ||
			unlikely(slot.len >= plain) ||
			unlikely(!nm_slots_buf_valid(&bufs, slot.buf_idx)) ||
			unlikely(!nm_slots_buf_valid(&bufs, theirs)))
			break;
		nm_slot_store(rx, slot.buf_idx, slot.len, nm_slots_flags(1, 0) | NS_BUF_CHANGED);
		nm_slot_store(tx, theirs, slot.len, NS_BUF_CHANGED);
		bytes += slot.len;
	}
	done = run - (uint32_t)(end - tx);
	m->from = nm_ring_advance(m->from, done, m->slots.num_slots);
	m->to = nm_ring_advance(m->to, done, m->slots.num_slots);
	m->room -= done;
	m->packets += done;
	m->taken += done;
	m->copies += done;
	m->bytes += bytes;
	return done;
}

static void move_all(struct move *m) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	bool more = true;

	m->from = nm_slots_skip(&m->slots, m->from, m->end);
	while (more && m->from != m->end) {
		uint32_t run = run_of(m);
		struct nm_slot_copy slot;

		have_room(m, run);
		if (likely(move_plain(m, run) == run))
			continue;
		slot = nm_slot_load(&m->tx->slots[m->from]);
		if (likely(!(slot.flags & NS_MOREFRAG)))
			move_single(m, slot);
		else
			more = move_chain(m);
	}
}

int nm_pipe_move(struct lane *lane)
{
	struct nm_ring *tx = lane->tx, *rx = lane->rx;
	int result = MOVED_NOTHING;
	struct move m;

	nm_produce_assert_locked(rx);
	if (lane->moved == lane->head || OS_LOAD(&lane->paused))
		return MOVED_NOTHING;
	m.lane = lane;
	m.tx = tx;
	m.rx = rx;
	m.from = lane->moved;
	m.end = lane->head;
	m.to = rx->produce.hwtail;
	m.room = nm_ring_room(rx, m.to);
	m.packets = m.bytes = m.taken = m.copies = 0;
	nm_slots_init_ring(&m.slots, tx, rx->port->offsets.gap);
	move_all(&m);
	nm_count(&tx->stats.packets, m.taken);
	nm_count(&tx->stats.copies, m.copies);
	nm_count(&tx->stats.bytes, m.bytes);
	nm_count(&rx->stats.packets, m.packets);
	nm_count(&rx->stats.bytes, m.bytes);
	os_assert(m.from < tx->num_slots && m.to < rx->num_slots);
	if (m.to != rx->produce.hwtail) {
		OS_STORE_RELEASE(&rx->produce.hwtail, m.to);
		result |= MOVED_RX;
	}
	if (m.from != lane->moved) {
		OS_STORE_RELEASE(&lane->moved, m.from);
		OS_STORE_RELEASE(&lane->lead, nm_ring_distance(m.to, m.from, tx->num_slots));
		result |= MOVED_TX;
	}
	return result;
}

/* ---- syncs ---------------------------------------------------------------------------- */

uint32_t nm_pipe_free(const struct lane *lane)
{
	uint32_t lead = OS_LOAD_ACQUIRE(&lane->lead);

	return nm_ring_advance(OS_LOAD_ACQUIRE(&lane->rx->hwcur), lead, lane->rx->num_slots);
}

/*
 * What is done, and what is free again. The receiver's index and `lead` were loaded before `moved`, so that
 * what is free is done; unless rx is just being reset: then it stays what it was.
 */
static void take_room(struct nm_ring *tx, const struct lane *lane)
{
	uint32_t n = tx->num_slots, free_before = nm_ring_advance(tx->tail, 1, n);
	uint32_t free_now = nm_pipe_free(lane);

	tx->hwcur = OS_LOAD_ACQUIRE(&lane->moved);
	if (likely(nm_ring_distance(free_before, free_now, n) <=
		    nm_ring_distance(free_before, tx->hwcur, n)))
		nm_ring_set_tail(tx, nm_ring_before(free_now, n));
}

int nm_pipe_txsync(struct nm_ring *ring)
{
	struct lane *lane = ring->priv;

	if (ring->head != OS_LOAD(&lane->head)) { /* which only this thread changes */
		int moved;

		nm_produce_lock(lane->rx);
		lane->head = ring->head;
		moved = nm_pipe_move(lane);
		nm_produce_unlock(lane->rx);
		if (moved & MOVED_RX)
			nm_ring_signal_arrived(lane->rx);
	}
	take_room(ring, lane);
	return 0;
}

/* The sender may wait for what is given back, asleep; the signal has the barrier that this needs. */
int nm_pipe_rxsync(struct nm_ring *ring)
{
	const struct lane *lane = ring->priv;

	if (ring->hwcur != ring->head) {
		OS_STORE_RELEASE(&ring->hwcur, ring->head);
		os_wakeup_signal(&lane->tx->wakeup);
	}
	ring->tail = OS_LOAD_ACQUIRE(&ring->produce.hwtail);
	return 0;
}

bool nm_pipe_can_send(struct nm_ring *ring)
{
	const struct lane *lane = ring->priv;

	return OS_LOAD(&lane->moved) != ring->hwcur ||
	       nm_ring_before(nm_pipe_free(lane), ring->num_slots) != ring->tail;
}

/* Whatever the receiver gives back the sender wants to know of. */
bool nm_pipe_wants_room(struct nm_ring *ring)
{
	return ring->hwcur != OS_LOAD(&ring->produce.hwtail);
}
