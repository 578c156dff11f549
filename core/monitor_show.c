/* SPDX-License-Identifier: BSD-2-Clause */
/* What passes a watched ring, on its way to the rings of the monitors. */
#include "monitor_internal.h"

enum {
	SHOW_SLOTS = 64, /* of the watched ring, for which the lock is held at a time */
};

/* One packet of the watched ring; its slots were loaded once. */
struct fragment {
	uint32_t slot; /* of the watched ring */
	uint32_t buf_idx, offset, len;
};

struct packet {
	struct fragment frag[NETMAP_MAX_FRAGS];
	uint32_t frags, len;
	enum nm_drop cause; /* NM_DROPS: it is good */
};

/* ---- what passes ------------------------------------------------------------------------ */

/* NM_DROPS when the slot is good; then f is filled in. */
static enum nm_drop check_slot(
	const struct nm_ring *ring, uint32_t i, struct nm_slot_copy slot, struct fragment *f)
{
	uint64_t offset = nm_slot_offset(ring, &ring->slots[i]);
	enum nm_drop cause = nm_slot_check(ring, slot, offset);

	if (cause == NM_DROPS)
		*f = (struct fragment){i, slot.buf_idx, (uint32_t)offset, slot.len};
	return cause;
}

static void add_slot(
	const struct nm_ring *ring, uint32_t i, struct nm_slot_copy slot, struct packet *p)
{
	if (p->cause != NM_DROPS)
		return;
	if (unlikely(p->frags == NETMAP_MAX_FRAGS)) {
		p->cause = NM_DROP_FRAGMENTS;
		return;
	}
	p->cause = check_slot(ring, i, slot, &p->frag[p->frags]);
	if (p->cause != NM_DROPS)
		return;
	p->len += slot.len;
	p->frags++;
}

static void count(struct nm_ring *to, enum nm_drop cause)
{
	nm_produce_lock(to);
	if (OS_LOAD(&to->users) > 0)
		to->stats.drops[cause]++;
	nm_produce_unlock(to);
}

/* Moves behind the rest of a packet that has been counted. */
static void skip_rest(struct nm_monitor *m, uint32_t end) OS_REQUIRES(NM_MONITORS_LOCK)
{
	const struct nm_ring *ring = m->watched;

	while (m->skip && m->at != end) {
		m->skip = (nm_slot_load(&ring->slots[m->at]).flags & NS_MOREFRAG) != 0;
		m->at = nm_ring_advance(m->at, 1, ring->num_slots);
	}
}

/* Takes the packet at m->at, which ends before slot `end`; else false, and m->at stays. */
static bool gather(struct nm_monitor *m, uint32_t end, struct packet *p)
	OS_REQUIRES(NM_MONITORS_LOCK)
{
	const struct nm_ring *ring = m->watched;
	uint32_t i = m->at, slots = 0;
	struct nm_slot_copy slot;

	skip_rest(m, end);
	i = m->at;
	p->frags = p->len = 0;
	p->cause = NM_DROPS;
	do {
		if (i == end) {
			/* Its end would be of no use, or never come. */
			if (slots > NETMAP_MAX_FRAGS || slots == ring->num_slots - 1) {
				count(m->to, NM_DROP_FRAGMENTS);
				m->skip = true;
				m->at = end;
			}
			return false;
		}
		slot = nm_slot_load(&ring->slots[i]);
		add_slot(ring, i, slot, p);
		i = nm_ring_advance(i, 1, ring->num_slots);
		slots++;
	} while (slot.flags & NS_MOREFRAG);
	m->at = i;
	return true;
}

/* ---- showing it ------------------------------------------------------------------------- */

/* A slot of the monitor's ring that is to be filled. */
struct place {
	uint32_t buf_idx, offset, room;
};

static uint32_t free_slots(struct nm_ring *to) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	to->produce.hwcur_seen = OS_LOAD_ACQUIRE(&to->hwcur);
	return to->num_slots - 1 -
	       nm_ring_distance(to->produce.hwcur_seen, to->produce.hwtail, to->num_slots);
}

/* The n-th free slot, as its application left it. */
static enum nm_drop find_place(const struct nm_ring *to, uint32_t n, struct place *place)
{
	struct netmap_slot *slot =
		&to->slots[nm_ring_advance(to->produce.hwtail, n, to->num_slots)];
	uint32_t size = to->region->pool[NM_POOL_BUF].size;
	uint64_t gap = to->port->offsets.gap, offset = nm_slot_offset(to, slot);

	place->buf_idx = nm_slot_load(slot).buf_idx;
	if (unlikely(!nm_region_buf_valid(to->region, place->buf_idx)))
		return NM_DROP_BAD_BUFFER;
	if (unlikely(offset >= size || gap >= size - offset))
		return NM_DROP_BAD_OFFSET;
	place->offset = (uint32_t)offset;
	place->room = (uint32_t)(size - offset - gap);
	if (place->room > UINT16_MAX)
		place->room = UINT16_MAX; /* what the len of a slot can say */
	return NM_DROPS;
}

static void fill_slot(
	const struct nm_monitor *m, uint32_t n, uint32_t slots, uint32_t len, uint32_t flags)
{
	struct nm_ring *to = m->to;
	struct netmap_slot *slot =
		&to->slots[nm_ring_advance(to->produce.hwtail, n, to->num_slots)];

	flags |= m->flags | slots << NS_PORT_SHIFT | (n + 1 < slots ? NS_MOREFRAG : 0);
	OS_STORE(&slot->len, (uint16_t)len);
	OS_STORE(&slot->flags, (uint16_t)flags);
}

static void publish(struct nm_ring *to, uint32_t slots, uint32_t len)
{
	to->stats.packets++;
	to->stats.bytes += len;
	OS_STORE_RELEASE(
		&to->produce.hwtail, nm_ring_advance(to->produce.hwtail, slots, to->num_slots));
}

/* Copies the next n bytes of a packet; *at is the fragment, *done what was taken of it. */
static void copy_bytes(const struct nm_ring *ring, const struct packet *p, uint32_t *at,
	uint32_t *done, char *dst, uint32_t n)
{
	while (n > 0) {
		const struct fragment *f = &p->frag[*at];
		uint32_t part = f->len - *done;

		if (part > n)
			part = n;
		memcpy(dst, (char *)nm_region_buf(ring->region, f->buf_idx) + f->offset + *done,
			part);
		dst += part;
		n -= part;
		*done += part;
		if (*done == f->len) {
			(*at)++;
			*done = 0;
		}
	}
}

/* Into as few buffers as it fits in; the monitor's can be of another size. All is checked before the
 * first byte is written. produce.lock is held, here and in exchange(). */
static enum nm_drop copy(const struct nm_monitor *m, const struct packet *p)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	uint32_t slots = 0, left = p->len, room = free_slots(m->to), at = 0, done = 0;
	struct place place[NETMAP_MAX_FRAGS];

	do {
		enum nm_drop cause;

		if (slots == NETMAP_MAX_FRAGS)
			return NM_DROP_TOO_LONG;
		if (slots == room)
			return NM_DROP_MISSED;
		cause = find_place(m->to, slots, &place[slots]);
		if (cause != NM_DROPS)
			return cause;
		if (place[slots].room > left)
			place[slots].room = left;
		left -= place[slots++].room;
	} while (left > 0);
	for (uint32_t i = 0; i < slots; i++) {
		char *dst =
			(char *)nm_region_buf(m->to->region, place[i].buf_idx) + place[i].offset;

		copy_bytes(m->watched, p, &at, &done, dst, place[i].room);
		fill_slot(m, i, slots, place[i].room, 0);
	}
	publish(m->to, slots, p->len);
	return NM_DROPS;
}

/* A buffer with its offset from one slot to the other. */
static void put_buffer(
	const struct nm_ring *ring, struct netmap_slot *slot, uint32_t buf_idx, uint64_t offset)
{
	if (unlikely(ring->offset_mask))
		OS_STORE(&slot->ptr, (OS_LOAD(&slot->ptr) & ~ring->offset_mask) | offset);
	OS_STORE(&slot->buf_idx, buf_idx);
}

static enum nm_drop exchange(const struct nm_monitor *m, const struct packet *p)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_ring *ring = m->watched, *to = m->to;
	struct place place[NETMAP_MAX_FRAGS];
	struct netmap_slot *slot;

	if (ring->region != to->region || p->frags > free_slots(to))
		return NM_DROP_MISSED;
	for (uint32_t i = 0; i < p->frags; i++) {
		enum nm_drop cause = find_place(to, i, &place[i]);

		if (cause != NM_DROPS)
			return cause;
		if ((p->frag[i].offset & ~to->offset_mask) ||
			(place[i].offset & ~ring->offset_mask))
			return NM_DROP_BAD_OFFSET; /* the other ring could not say it */
	}
	for (uint32_t i = 0; i < p->frags; i++) {
		slot = &to->slots[nm_ring_advance(to->produce.hwtail, i, to->num_slots)];
		put_buffer(to, slot, p->frag[i].buf_idx, p->frag[i].offset);
		fill_slot(m, i, p->frags, p->frag[i].len, NS_BUF_CHANGED);
		slot = &ring->slots[p->frag[i].slot];
		put_buffer(ring, slot, place[i].buf_idx, place[i].offset);
		OS_STORE(&slot->flags, NS_BUF_CHANGED);
	}
	publish(to, p->frags, p->len);
	return NM_DROPS;
}

/* Before the client is bound, and when it goes, the ring is nobody's: then nothing is counted. */
static bool show_packet(const struct nm_monitor *m, const struct packet *p)
	OS_REQUIRES(NM_MONITORS_LOCK)
{
	struct nm_ring *to = m->to;
	enum nm_drop cause = p->cause;
	bool bound;

	nm_produce_lock(to);
	bound = OS_LOAD(&to->users) > 0;
	if (unlikely(m->paused) && cause == NM_DROPS)
		cause = NM_DROP_MISSED;
	if (likely(bound && cause == NM_DROPS))
		cause = is_zcopy(m) ? exchange(m, p) : copy(m, p);
	if (bound && cause != NM_DROPS)
		to->stats.drops[cause]++;
	nm_produce_unlock(to);
	return bound && cause == NM_DROPS;
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

	if (m->waiting &&
		nm_ring_distance(ring->hwcur, m->at, n) <= nm_ring_distance(ring->hwcur, from, n))
		return;
	if (m->waiting)
		count(m->to, NM_DROP_MISSED); /* its first part has been disposed of */
	if (m->waiting || m->fresh)
		m->skip = more_follows(ring, from);
	m->waiting = m->fresh = false;
	m->at = from;
}

/* A part of the slots that pass: up to `to`, and there is no more if `last`. */
static void show_part(struct nm_monitor *m, uint32_t to, bool last) OS_REQUIRES(NM_MONITORS_LOCK)
{
	struct packet p;
	bool shown = false;

	while (m->at != to && gather(m, to, &p))
		shown |= show_packet(m, &p);
	m->waiting = m->at != to;
	if (last && m->waiting && m->how != WATCH_TX_COPY) {
		count(m->to, NM_DROP_MISSED);
		m->skip = true;
		m->waiting = false;
	}
	if (shown)
		os_wakeup_signal(&m->to->wakeup);
}

/* Shows slots from..to to all monitors of one sort. */
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
			if (m->fresh || start == from)
				find_start(m, start);
			show_part(m, at, at == to);
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
		show(ring, WATCH_RX_COPY, old_tail, ring->tail);
	return error;
}
