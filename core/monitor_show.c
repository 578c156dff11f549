/* SPDX-License-Identifier: BSD-2-Clause */
/* What passes a watched ring, on its way to the rings of the monitors. */
#include "monitor_internal.h"
#include "slots.h"

enum {
	SHOW_SLOTS = 64, /* of the watched ring, for which the lock is held at a time */
	ARRIVED_SLOTS = 2 * NETMAP_MAX_FRAGS,
	SLOTS_AHEAD = 32, /* of the monitor's ring: asked for before they are filled */
	BUFS_AHEAD = 8,   /* of its buffers */
};

static void count(struct nm_ring *to, enum nm_drop cause)
{
	nm_produce_lock(to);
	if (OS_LOAD(&to->users) > 0)
		nm_count(&to->stats.drops[cause], 1);
	nm_produce_unlock(to);
}

/* ---- showing it ------------------------------------------------------------------------- */

/*
 * Into as few buffers as it fits in; the monitor's can be of another size. All is checked before the
 * first byte is written. A stack frame of its own, as exchange(): its caller has a packet on it.
 */
static __attribute__((__noinline__)) enum nm_drop copy(const struct nm_monitor *m, struct nm_rxq *q,
	const struct nm_pkt *pkt) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_piece pieces[NETMAP_MAX_FRAGS];
	struct nm_cursor from = {pkt->frags, 0};
	uint32_t slots;
	enum nm_drop cause = nm_rxq_reserve(q, pkt->bytes, pieces, &slots);

	if (cause != NM_DROPS)
		return cause == NM_DROP_RX_FULL ? NM_DROP_MISSED : cause;
	for (uint32_t i = 0; i < slots; i++)
		nm_cursor_copy(&from, pieces[i].buf, pieces[i].len);
	nm_rxq_commit(q, pieces, slots, m->flags);
	return NM_DROPS;
}

/* A buffer with its offset into another slot. */
static void put_buffer(const struct nm_slots *s, uint32_t i, uint32_t buf_idx, uint64_t offset)
{
	struct netmap_slot *slot = &s->slots[i];

	if (unlikely(s->offset_mask))
		OS_STORE(&slot->ptr, (OS_LOAD(&slot->ptr) & ~s->offset_mask) | offset);
	OS_STORE(&slot->buf_idx, buf_idx);
}

/* Buffers for as many fragments; each ring can say the offset of the other's. */
static enum nm_drop find_buffers(const struct nm_slots *s, const struct nm_pkt *pkt,
	const struct nm_rxq *q, struct nm_piece *pieces)
{
	for (uint32_t i = 0; i < pkt->slots; i++) {
		const struct nm_frag *frag = &pkt->frags[i];
		enum nm_drop cause = nm_rxq_piece(q, i, &pieces[i]);

		if (cause != NM_DROPS)
			return cause;
		if ((nm_slots_offset_of(s, frag->buf, frag->buf_idx) & ~q->slots.offset_mask) ||
			(nm_slots_offset_of(s, pieces[i].buf, pieces[i].buf_idx) & ~s->offset_mask))
			return NM_DROP_BAD_OFFSET;
		pieces[i].len = frag->len;
	}
	return NM_DROPS;
}

static __attribute__((__noinline__)) enum nm_drop exchange(const struct nm_monitor *m,
	struct nm_rxq *q, const struct nm_slots *s, const struct nm_pkt *pkt)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_piece pieces[NETMAP_MAX_FRAGS];
	enum nm_drop cause;

	if (m->watched->region != m->to->region || !nm_rxq_has_room(q, pkt->slots))
		return NM_DROP_MISSED;
	cause = find_buffers(s, pkt, q, pieces);
	if (cause != NM_DROPS)
		return cause;
	for (uint32_t i = 0; i < pkt->slots; i++) {
		const struct nm_frag *frag = &pkt->frags[i];
		uint32_t from = nm_ring_advance(pkt->first, i, s->num_slots);

		put_buffer(&q->slots, nm_ring_advance(q->at, i, q->slots.num_slots), frag->buf_idx,
			nm_slots_offset_of(s, frag->buf, frag->buf_idx));
		put_buffer(s, from, pieces[i].buf_idx,
			nm_slots_offset_of(s, pieces[i].buf, pieces[i].buf_idx));
		OS_STORE(&s->slots[from].flags, NS_BUF_CHANGED);
	}
	nm_rxq_commit(q, pieces, pkt->slots, m->flags | NS_BUF_CHANGED);
	return NM_DROPS;
}

static void show_packet(const struct nm_monitor *m, struct nm_rxq *q, const struct nm_slots *s,
	const struct nm_pkt *pkt) OS_REQUIRES(NM_MONITORS_LOCK) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	enum nm_drop cause = pkt->cause;

	if (unlikely(m->paused) && cause == NM_DROPS)
		cause = NM_DROP_MISSED;
	if (likely(cause == NM_DROPS))
		cause = is_zcopy(m) ? exchange(m, q, s, pkt) : copy(m, q, pkt);
	if (unlikely(cause != NM_DROPS))
		nm_count(&m->to->stats.drops[cause], 1);
}

static bool more_follows(const struct nm_ring *ring, uint32_t i)
{
	return (nm_slot_load(&ring->slots[nm_ring_before(i, ring->num_slots)]).flags &
		       NS_MOREFRAG) != 0;
}

/* Where a monitor begins in the slots that begin at `from`. */
static void find_start(struct nm_monitor *m, uint32_t from) OS_REQUIRES(NM_MONITORS_LOCK)
{
	const struct nm_ring *ring = m->watched;
	uint32_t n = ring->num_slots;

	if (m->state == MONITOR_PARTIAL) {
		if (nm_ring_distance(ring->hwcur, m->at, n) <=
			nm_ring_distance(ring->hwcur, from, n))
			return;
		count(m->to, NM_DROP_MISSED); /* its first part has been disposed of */
		m->state = MONITOR_START;
	}
	if (m->state == MONITOR_START)
		m->state = more_follows(ring, from) ? MONITOR_SKIPPING : MONITOR_IN_SYNC;
	m->at = from;
}

/* ---- plain copies -------------------------------------------------------------------------- */

/* Slots of a watched ring with fewer bytes than that fit one slot of the monitor's; 0: each has to be looked at. */
static uint32_t plain_below(const struct nm_slots *s, const struct nm_rxq *q)
{
	uint32_t most = q->slots.offset_mask == 0 ? nm_rxq_slot_bytes(q) : 0;

	return most == 0 ? 0 : most < s->plain ? most + 1 : s->plain;
}

static inline bool is_plain(const struct nm_slots *s, struct nm_slot_copy slot, uint32_t below)
{
	return likely(!(slot.flags & (NS_MOREFRAG | NS_INDIRECT))) && likely(slot.len < below) &&
	       likely(nm_slots_buf_valid(s, slot.buf_idx));
}

/* Packets that are in another CPU's cache: all are on their way before the first is waited for. */
static void ask_for_packets(
	const struct nm_slots *s, const struct netmap_slot *from, const struct netmap_slot *end)
{
	const struct nm_slots bufs = *s;

	for (; from != end; from++) {
		uint32_t index = OS_LOAD(&from->buf_idx);

		if (likely(nm_slots_buf_valid(&bufs, index)))
			os_prefetch(nm_slots_buf(&bufs, index));
	}
}

/* Copies packets as long as they are plain: n slots that lie in one piece in both rings, and are free in the
 * monitor's. Returns how many. */
static uint32_t copy_run(struct nm_rxq *q, const struct nm_slots *from, uint32_t at, uint32_t n,
	uint32_t below, uint32_t flags) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	const struct nm_slots src = *from, dst = q->slots; /* copies: they stay in registers */
	const struct netmap_slot *slot = &src.slots[at], *const end = slot + n;
	struct netmap_slot *to = &dst.slots[q->at];
	const bool ask = os_asks_before_writing();
	const uint32_t all = nm_slots_flags(1, 0) | flags;
	uint64_t bytes = 0;
	uint32_t done;

	ask_for_packets(&src, slot, end);
	for (; slot != end; slot++, to++) {
		const struct nm_slot_copy copy = nm_slot_load(slot);
		const uint32_t index = OS_LOAD(&to->buf_idx);

		os_prefetch_write(to + SLOTS_AHEAD); /* behind the ring: of no use, and no harm */
		if (ask && end - slot > BUFS_AHEAD)
			nm_slots_ask(&dst, to + BUFS_AHEAD);
		if (unlikely(!is_plain(&src, copy, below)) ||
			unlikely(!nm_slots_buf_valid(&dst, index)))
			break;
		nm_packet_copy(
			nm_slots_buf(&dst, index), nm_slots_buf(&src, copy.buf_idx), copy.len);
		nm_slot_fill(to, copy.len, all);
		bytes += copy.len;
	}
	done = n - (uint32_t)(end - slot);
	q->at = nm_ring_advance(q->at, done, dst.num_slots);
	q->room -= done;
	q->packets += done;
	q->bytes += bytes;
	return done;
}

/* Counts packets that the monitor has no room for as long as they are plain; they are not touched. */
static uint32_t miss_run(struct nm_ring *to, const struct nm_slots *from, uint32_t at, uint32_t n,
	uint32_t below) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	const struct nm_slots src = *from;
	const struct netmap_slot *slot = &src.slots[at], *const end = slot + n;
	uint32_t done;

	for (; slot != end; slot++)
		if (unlikely(!is_plain(&src, nm_slot_load(slot), below)))
			break;
	done = n - (uint32_t)(end - slot);
	nm_count(&to->stats.drops[NM_DROP_MISSED], done);
	return done;
}

/*
 * Nearly all packets that are copied: one good slot each, which fits one of the monitor's. Takes them from
 * m->at on, as long as they come; a watched port of a switch carried three times as many packets with it.
 */
static void take_plain(struct nm_monitor *m, uint32_t end, struct nm_rxq *q,
	const struct nm_slots *s) OS_REQUIRES(NM_MONITORS_LOCK) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	const uint32_t below = plain_below(s, q);
	uint32_t n, done;

	do {
		uint32_t left = q->slots.num_slots - q->at;

		n = (end > m->at ? end : s->num_slots) - m->at;
		if (likely(nm_rxq_has_room(q, n)) || q->room > 0) {
			n = n < q->room ? n : q->room;
			n = n < left ? n : left;
			done = copy_run(q, s, m->at, n, below, m->flags);
		} else {
			done = miss_run(m->to, s, m->at, n, below);
		}
		m->at = nm_ring_advance(m->at, done, s->num_slots);
	} while (done == n && m->at != end);
}

/* ---- any packets ---------------------------------------------------------------------------- */

/* Takes the packets of slots m->at .. end - 1. Without q: nobody is to see or to count them. */
static void take_packets(struct nm_monitor *m, uint32_t end, struct nm_rxq *q)
	OS_REQUIRES(NM_MONITORS_LOCK) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	const bool plain = q && !is_zcopy(m);
	uint32_t dropping = m->state == MONITOR_SKIPPING;
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	struct nm_slots slots;

	nm_slots_init_ring(&slots, m->watched, 0);
	slots.dropping = &dropping;
	for (;;) {
		if (likely(plain) && m->at != end && !dropping)
			take_plain(m, end, q, &slots);
		if (nm_pkt_next(&slots, &m->at, end, &pkt) == NM_PKT_PARTIAL)
			break;
		if (likely(q))
			show_packet(m, q, &slots, &pkt);
		m->at = pkt.next;
	}
	m->state = dropping ? MONITOR_SKIPPING : m->at != end ? MONITOR_PARTIAL : MONITOR_IN_SYNC;
}

/* A part of the slots that pass: up to `end`, and there is no more if `last`. Before the client is
 * bound, and when it goes, the ring has no user: nothing is counted then. True: it has got packets. */
static bool show_part(struct nm_monitor *m, uint32_t end, bool last) OS_REQUIRES(NM_MONITORS_LOCK)
{
	struct nm_rxq q = {.packets = 0};
	bool bound;

	nm_produce_lock(m->to);
	bound = OS_LOAD(&m->to->users) > 0;
	if (likely(bound))
		nm_rxq_begin(&q, m->to);
	take_packets(m, end, bound ? &q : NULL);
	if (last && m->state == MONITOR_PARTIAL && m->how != WATCH_TX_COPY) {
		m->state = MONITOR_SKIPPING;
		m->at = end;
		if (bound)
			nm_count(&m->to->stats.drops[NM_DROP_MISSED], 1);
	}
	if (likely(bound))
		nm_rxq_publish(&q);
	nm_produce_unlock(m->to);
	return q.packets > 0;
}

/* ---- what arrives ------------------------------------------------------------------------ */

/* Shows some slots from m->at on, of those up to `to`. True: it has got on, and there is more. */
static bool show_some(struct nm_monitor *m, uint32_t to, bool *shown) OS_REQUIRES(NM_MONITORS_LOCK)
{
	uint32_t n = m->watched->num_slots, from = m->at, left = nm_ring_distance(from, to, n), end;

	/* A packet that begins among the first of so many slots ends there, or is too long. */
	end = nm_ring_advance(from, left < ARRIVED_SLOTS ? left : ARRIVED_SLOTS, n);
	if (unlikely(m->state == MONITOR_START))
		find_start(m, from);
	*shown |= show_part(m, end, end == to);
	return end != to && m->at != from;
}

/* The watched ring's own thread: slots from..to are what its application is about to be told of. */
static void show_arrived(struct nm_ring *ring, uint32_t from, uint32_t to)
{
	uint32_t n = ring->num_slots, told = nm_ring_distance(from, to, n);
	bool more = told > 0;

	while (more) {
		more = false;
		nm_monitors_lock(ring);
		for (struct nm_monitor *m = ring->monitors; m; m = m->next) {
			bool shown = false;

			if (m->how != WATCH_RX_COPY || nm_ring_distance(from, m->at, n) >= told)
				continue; /* it has looked itself */
			more |= show_some(m, to, &shown);
			if (shown)
				os_wakeup_signal(&m->to->wakeup);
		}
		nm_monitors_unlock(ring);
	}
}

/* A ring that is given no memory, or a dead one's: see nm_monitor_keep_off(). */
void nm_monitor_look(struct nm_monitor *m)
{
	struct nm_ring *ring = m->watched;
	bool more, shown = false; /* the caller itself looks */

	do {
		uint32_t to;

		nm_monitors_lock(ring);
		to = OS_LOAD_ACQUIRE(&ring->produce.hwtail);
		more = OS_LOAD(&ring->slots) && !OS_LOAD(&ring->port->dead) && to != m->at &&
		       show_some(m, to, &shown);
		nm_monitors_unlock(ring);
	} while (more);
}

/* ---- what passes ------------------------------------------------------------------------- */

/* Shows slots from..to to all monitors of one sort, not WATCH_RX_COPY. */
static void show(struct nm_ring *ring, enum watch how, uint32_t from, uint32_t to)
{
	uint32_t at = from, start = from;

	while (at != to) {
		uint32_t left = nm_ring_distance(at, to, ring->num_slots);

		at = nm_ring_advance(at, left < SHOW_SLOTS ? left : SHOW_SLOTS, ring->num_slots);
		nm_monitors_lock(ring);
		for (struct nm_monitor *m = ring->monitors; m; m = m->next) {
			if (m->how != how)
				continue;
			if (m->state == MONITOR_START || start == from)
				find_start(m, start);
			if (show_part(m, at, at == to))
				os_wakeup_signal(&m->to->wakeup);
		}
		nm_monitors_unlock(ring);
		start = at;
	}
}

int nm_monitor_sync(struct nm_ring *ring, uint32_t old_head, uint32_t old_tail)
{
	const struct nm_port_ops *ops = ring->port->ops;
	int error;

	if (ring->dir == NM_TX) {
		show(ring, WATCH_TX_COPY, old_head, ring->head);
		error = ops->txsync(ring);
		/* The slot before the first that is not sent is not the application's yet, but sent. */
		if (!error)
			show(ring, WATCH_TX_ZCOPY, nm_ring_advance(old_tail, 1, ring->num_slots),
				nm_ring_advance(ring->tail, 1, ring->num_slots));
		return error;
	}
	show(ring, WATCH_RX_ZCOPY, old_head, ring->head);
	error = ops->rxsync(ring);
	if (!error)
		show_arrived(ring, old_tail, ring->tail);
	return error;
}
