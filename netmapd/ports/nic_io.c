/* SPDX-License-Identifier: BSD-2-Clause */
#include "nic_io.h"

#include "nic_csum.h"
#include "slots.h"

enum {
	ETH_HEADER = 14,
	BATCH = 256, /* packets of one sync, so that other rings get their turn */
	KICKS = 16,  /* system calls of one sync: in copy mode each sends 32 packets */
};

static struct nic_queue *queue_of(const struct nm_ring *ring)
{
	return ring->priv;
}

static void count_drop(struct nm_ring *ring, enum nm_drop cause)
{
	nm_count(&ring->stats.drops[cause], 1);
}

/* ---- receiving ----------------------------------------------------------------------------- */

void nic_post(struct nic_queue *q, uint32_t nth, uint32_t buf_idx)
{
	xsk_put_addr(&q->xsk->fill, nth, nic_chunk(buf_idx));
	q->posted[buf_idx] = 1;
	q->num_posted++;
}

/* The buffer that a descriptor names; 0: none that this queue has posted. */
static uint32_t buffer_of(const struct nic_queue *q, const struct nm_slots *s, uint64_t addr)
{
	uint64_t index = addr >> NIC_CHUNK_SHIFT;

	return index < s->buf_count && nm_slots_buf_valid(s, (uint32_t)index) && q->posted[index]
		       ? (uint32_t)index
		       : 0;
}

/* What is wrong with a packet that lies in a buffer of this queue. */
static enum nm_drop check_desc(const struct nm_slots *s, const struct xdp_desc *desc)
{
	if (unlikely((desc->addr & (NM_NIC_BUF_SIZE - 1)) != NM_NIC_HEADROOM))
		return NM_DROP_BAD_OFFSET;
	return unlikely(desc->len > s->buf_size) ? NM_DROP_TOO_LONG : NM_DROPS;
}

/* Chunk i of n of a packet into slot i from rx->at on, for the buffer that this had: *buf_idx, to be posted; of a drop its own. */
static enum nm_drop take_chunk(struct nic_queue *q, const struct nm_rxq *rx,
	const struct xdp_desc *desc, uint32_t i, uint32_t n, uint32_t *buf_idx)
{
	const struct nm_slots *s = &rx->slots;
	struct netmap_slot *slot = &s->slots[nm_ring_advance(rx->at, i, s->num_slots)];
	uint32_t theirs = OS_LOAD(&slot->buf_idx);
	enum nm_drop cause = check_desc(s, desc);

	if (unlikely(cause != NM_DROPS))
		return cause;
	if (unlikely(!nm_slots_buf_valid(s, theirs) || q->posted[theirs]))
		return NM_DROP_BAD_BUFFER;
	if (q->complete && n == 1)
		nic_complete_checksum((uint8_t *)nm_slots_buf(s, *buf_idx), desc->len);
	nm_slot_store(slot, *buf_idx, desc->len, nm_slots_flags(n, i) | NS_BUF_CHANGED);
	*buf_idx = theirs;
	return NM_DROPS;
}

/* The chunk of a descriptor is this side's; another one is posted for it, or, of a drop, the same. */
static enum nm_drop exchange(struct nic_queue *q, const struct nm_rxq *rx,
	const struct xdp_desc *desc, uint32_t i, uint32_t n, uint32_t *posted)
{
	uint32_t buf_idx = buffer_of(q, &rx->slots, desc->addr);
	enum nm_drop cause;

	if (unlikely(!buf_idx))
		return NM_DROP_BAD_BUFFER;
	q->posted[buf_idx] = 0;
	q->num_posted--;
	cause = take_chunk(q, rx, desc, i, n, &buf_idx);
	nic_post(q, (*posted)++, buf_idx);
	return cause;
}

/* The slots from rx->at on are filled, as a packet. */
static void commit(struct nm_rxq *rx, uint32_t slots, uint32_t bytes)
{
	rx->at = nm_ring_advance(rx->at, slots, rx->slots.num_slots);
	rx->room -= slots;
	rx->packets++;
	rx->bytes += bytes;
}

/* ---- of several chunks ------------------------------------------------------------------- */

/* Descriptors of the packet that begins with the one at `at`, of `n` that there are; 0: its end is not among them. */
static uint32_t count_chunks(const struct xsk_ring *r, uint32_t at, uint32_t n)
{
	for (uint32_t i = at; i < n; i++)
		if (!(xsk_get_desc(r, i).options & XSK_CONTD))
			return i - at + 1;
	return 0;
}

/* Headers are in the first chunk, and what is summed up in all: so it is done on a copy. */
static void complete_chunks(
	struct nic_queue *q, const struct nm_slots *s, const struct xdp_desc *desc, uint32_t n)
{
	uint32_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		memcpy(q->scratch + bytes,
			nm_slots_buf(s, (uint32_t)(desc[i].addr >> NIC_CHUNK_SHIFT)), desc[i].len);
		bytes += desc[i].len;
	}
	if (nic_complete_checksum(q->scratch, bytes))
		memcpy(nm_slots_buf(s, (uint32_t)(desc[0].addr >> NIC_CHUNK_SHIFT)), q->scratch,
			desc[0].len);
}

/* A packet of n chunks, from descriptor `at` on; of a drop all of them are posted again, or those of its slots. */
static enum nm_drop take_chunks(
	struct nic_queue *q, struct nm_rxq *rx, uint32_t at, uint32_t n, uint32_t *posted)
{
	struct xdp_desc desc[NIC_CHUNKS_MAX];
	enum nm_drop cause = NM_DROPS, one;
	uint32_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		desc[i] = xsk_get_desc(&q->xsk->rx, at + i);
		one = exchange(q, rx, &desc[i], i, n, posted);
		if (cause == NM_DROPS)
			cause = one;
		bytes += desc[i].len;
	}
	if (cause != NM_DROPS)
		return cause;
	if (q->complete && q->scratch)
		complete_chunks(q, &rx->slots, desc, n);
	commit(rx, n, bytes);
	return NM_DROPS;
}

/* One that no ring has room for, or that has no end: all its chunks are posted again. */
static void refuse_chunks(
	struct nic_queue *q, struct nm_rxq *rx, uint32_t at, uint32_t n, uint32_t *posted)
{
	for (uint32_t i = 0; i < n; i++) {
		struct xdp_desc desc = xsk_get_desc(&q->xsk->rx, at + i);
		uint32_t buf_idx = buffer_of(q, &rx->slots, desc.addr);

		if (!buf_idx)
			continue;
		q->num_posted--;
		nic_post(q, (*posted)++, buf_idx);
	}
}

/*
 * The packet of several chunks at descriptor `at` of n. Returns how many of these are done with; 0: it waits for room. Half a ring
 * is always free when its server sleeps, so what wants more is not waited for.
 */
static uint32_t take_several(
	struct nic_queue *q, struct nm_rxq *rx, uint32_t at, uint32_t n, uint32_t *posted)
{
	uint32_t most = (rx->slots.num_slots + 1) / 2, chunks = count_chunks(&q->xsk->rx, at, n);
	enum nm_drop cause = NM_DROP_FRAGMENTS;

	if (most > NIC_CHUNKS_MAX)
		most = NIC_CHUNKS_MAX;
	if (!q->sg)
		most = 0; /* the kernel was not asked for such packets */
	if (chunks == 0 && n - at <= most)
		return 0; /* its end comes, or its room */
	if (chunks > 0 && chunks <= most) {
		if (chunks > rx->room)
			return 0;
		cause = take_chunks(q, rx, at, chunks, posted);
	} else {
		chunks = chunks ? chunks : n - at;
		refuse_chunks(q, rx, at, chunks, posted);
	}
	if (cause != NM_DROPS)
		count_drop(rx->ring, cause);
	return chunks;
}

/* ---- a batch ----------------------------------------------------------------------------- */

/*
 * The packet of one descriptor, as nearly all are: its chunk is the next slot's, and the buffer that this had is posted for it, so as
 * many are posted as before. With it a packet of 60 bytes costs 135 instructions, by exchange() 184. That one says what is wrong, too.
 */
static inline enum nm_drop take_one(
	struct nic_queue *q, const struct nm_rxq *rx, const struct xdp_desc *desc, uint32_t *posted)
{
	const struct nm_slots *s = &rx->slots;
	struct netmap_slot *slot = &s->slots[rx->at];
	uint32_t theirs = OS_LOAD(&slot->buf_idx), ours = buffer_of(q, s, desc->addr);

	if (unlikely(!ours || check_desc(s, desc) != NM_DROPS || !nm_slots_buf_valid(s, theirs) ||
		     q->posted[theirs]))
		return exchange(q, rx, desc, 0, 1, posted);
	if (q->complete)
		nic_complete_checksum((uint8_t *)nm_slots_buf(s, ours), desc->len);
	nm_slot_store(slot, ours, desc->len, nm_slots_flags(1, 0) | NS_BUF_CHANGED);
	xsk_put_addr(&q->xsk->fill, (*posted)++, nic_chunk(theirs));
	q->posted[ours] = 0;
	q->posted[theirs] = 1;
	return NM_DROPS;
}

/* Of n descriptors those for which there is room. Returns how many are done with. */
static uint32_t take_batch(struct nic_queue *q, struct nm_rxq *rx, uint32_t n, uint32_t *posted)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct xsk_ring *r = &q->xsk->rx;
	uint32_t at = 0, done, packets = 0;
	uint64_t bytes = 0;

	while (at < n && rx->room > 0) {
		struct xdp_desc desc = xsk_get_desc(r, at);
		enum nm_drop cause;

		if (unlikely(desc.options & XSK_CONTD)) {
			done = take_several(q, rx, at, n, posted);
			if (done == 0)
				break;
			at += done;
			continue;
		}
		at++;
		cause = take_one(q, rx, &desc, posted);
		if (unlikely(cause != NM_DROPS)) {
			count_drop(rx->ring, cause);
			continue;
		}
		rx->at = nm_ring_advance(rx->at, 1, rx->slots.num_slots);
		rx->room--;
		packets++;
		bytes += desc.len;
	}
	rx->packets += packets;
	rx->bytes += bytes;
	return at;
}

static void receive(struct nic_queue *q, struct nm_ring *ring) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct xsk *x = q->xsk;
	uint32_t n, posted = 0;
	struct nm_rxq rx;

	nm_rxq_begin(&rx, ring);
	nm_rxq_look(&rx);
	if (unlikely(q->busy) && xsk_is_empty(&x->rx))
		(void)xsk_kick_rx(x); /* which polls the device once */
	n = rx.room > 0 ? xsk_peek(&x->rx, BATCH) : 0;
	if (n == 0)
		return;
	n = xsk_room(&x->fill, n); /* it had room for all that is posted */
	n = take_batch(q, &rx, n, &posted);
	xsk_submit(&x->fill, posted);
	xsk_release(&x->rx, n);
	nm_rxq_publish(&rx);
	if (xsk_needs_wakeup(&x->fill))
		(void)xsk_kick_rx(x);
}

int nic_rxsync(struct nm_ring *ring)
{
	struct nic_queue *q = queue_of(ring);

	OS_STORE_RELEASE(&ring->hwcur, ring->head);
	nm_produce_lock(ring);
	if (likely(q->live[NM_RX]))
		receive(q, ring);
	nm_produce_unlock(ring);
	return nm_ring_rxsync_produced(ring);
}

/* Asks for a wakeup when nothing is there: a full ring waits for its application. */
bool nic_wants_room(struct nm_ring *ring)
{
	struct nic_queue *q = queue_of(ring);
	bool there;

	nm_produce_lock(ring);
	there = q->live[NM_RX] && !xsk_is_empty(&q->xsk->rx);
	if (q->live[NM_RX] && !there)
		nic_poll_arm(&q->poll); /* tells of what has come before, too */
	nm_produce_unlock(ring);
	return there;
}

/* ---- sending ------------------------------------------------------------------------------- */

/* A packet of a former user of the ring: it was sent before any other that lies in this buffer. */
static bool is_stale(struct nic_queue *q, const struct nm_ring *ring, uint32_t buf_idx)
{
	if (likely(q->num_stale == 0) || !nm_region_buf_valid(ring->region, buf_idx) ||
		q->stale[buf_idx] == 0)
		return false;
	q->stale[buf_idx]--;
	q->num_stale--;
	return true;
}

/* The kernel has done with a buffer. Nearly always it is the one that has waited longest. */
static void finish(struct nic_queue *q, const struct nm_ring *ring, uint32_t buf_idx)
{
	uint32_t n = nm_ring_distance(q->oldest, ring->hwcur, ring->num_slots), at = q->expected;

	if (buf_idx == 0 || is_stale(q, ring, buf_idx))
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (at == ring->hwcur)
			at = q->oldest;
		if (q->sent[at] == buf_idx) {
			q->sent[at] = 0;
			q->unfinished--;
			q->expected = nm_ring_advance(at, 1, ring->num_slots);
			return;
		}
		at = nm_ring_advance(at, 1, ring->num_slots);
	}
}

/* What the kernel has sent; slots below the oldest that it still has are free. */
static void complete_sent(struct nic_queue *q, struct nm_ring *ring) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct xsk_ring *done = &q->xsk->completion;
	uint32_t n = xsk_peek(done, done->size);

	for (uint32_t i = 0; i < n; i++)
		finish(q, ring, (uint32_t)(xsk_get_addr(done, i) >> NIC_CHUNK_SHIFT));
	if (n > 0)
		xsk_release(done, n);
	q->moved |= n > 0;
	while (q->oldest != ring->hwcur && q->sent[q->oldest] == 0) {
		if (q->expected == q->oldest)
			q->expected = nm_ring_advance(q->oldest, 1, ring->num_slots);
		q->oldest = nm_ring_advance(q->oldest, 1, ring->num_slots);
	}
	nm_ring_set_tail(ring, nm_ring_before(q->oldest, ring->num_slots));
}

/*
 * Fragments move together, so that all but the last fill their buffers: with most packets nothing moves, or all of it into the
 * first buffer. A fragment moves towards the first one only, so what is overwritten has moved before. Returns how many have bytes.
 */
static uint32_t put_together(const struct nm_slots *s, struct nm_pkt *pkt)
{
	uint32_t to = 0, room = 0;

	for (uint32_t i = 0; i < pkt->slots; i++) {
		const struct nm_frag from = pkt->frags[i];

		for (uint32_t done = 0; done < from.len;) {
			uint32_t n = from.len - done, offset;
			struct nm_frag *f;

			if (room ==
				0) { /* fragment `to` is free: it is this one, or one that has moved */
				f = &pkt->frags[to++];
				f->len = 0;
				room = s->buf_size -
				       (uint32_t)nm_slots_offset_of(s, f->buf, f->buf_idx);
			}
			f = &pkt->frags[to - 1];
			offset = (uint32_t)nm_slots_offset_of(s, f->buf, f->buf_idx) + f->len;
			n = n < room ? n : room;
			if (nm_slots_buf(s, f->buf_idx) + offset != from.buf + done)
				memmove(nm_slots_buf(s, f->buf_idx) + offset, from.buf + done, n);
			f->len += n;
			room -= n;
			done += n;
		}
	}
	return to;
}

static void put_chunk(struct nic_queue *q, const struct nm_slots *s, const struct nm_frag *f,
	uint32_t slot, uint32_t nth, uint32_t options)
{
	xsk_put_desc(&q->xsk->tx, nth,
		nic_chunk(f->buf_idx) + NM_NIC_HEADROOM + nm_slots_offset_of(s, f->buf, f->buf_idx),
		f->len, options);
	q->sent[slot] = f->buf_idx;
	q->unfinished++;
}

/* What can't be sent, whatever room there is. */
static enum nm_drop check_packet(const struct nic_queue *q, const struct nm_pkt *pkt)
{
	if (unlikely(pkt->cause != NM_DROPS))
		return pkt->cause;
	if (unlikely(!OS_LOAD(q->carrier)))
		return NM_DROP_LINK_DOWN;
	if (unlikely(pkt->bytes < ETH_HEADER))
		return NM_DROP_TOO_SHORT;
	return unlikely(pkt->bytes > OS_LOAD(&q->longest)) ? NM_DROP_TOO_LONG : NM_DROPS;
}

/* *put: of room, descriptors that are there; advanced. NM_DROP_RX_FULL: it waits for more room. */
static enum nm_drop put_packet(struct nic_queue *q, const struct nm_slots *s, struct nm_pkt *pkt,
	uint32_t room, uint32_t *put)
{
	enum nm_drop cause = check_packet(q, pkt);
	uint32_t n;

	if (unlikely(cause != NM_DROPS))
		return cause;
	if (likely(pkt->slots == 1)) {
		put_chunk(q, s, &pkt->frags[0], pkt->first, (*put)++, 0);
		return NM_DROPS;
	}
	/* It is walked again when it waits: so before anything moves. */
	if ((pkt->bytes + s->buf_size - 1) / s->buf_size + 1 > room - *put)
		return NM_DROP_RX_FULL;
	n = put_together(s, pkt);
	if (n > 1 && !q->sg)
		return NM_DROP_TOO_LONG;
	if (n > NIC_CHUNKS_SENT)
		return NM_DROP_FRAGMENTS;
	for (uint32_t i = 0; i < n; i++)
		put_chunk(q, s, &pkt->frags[i], nm_ring_advance(pkt->first, i, s->num_slots),
			(*put)++, i + 1 < n ? XSK_CONTD : 0);
	return NM_DROPS;
}

/* Slots hwcur..head, as far as the kernel's ring has room. Returns how many descriptors are in it now. */
static uint32_t put_packets(struct nic_queue *q, struct nm_ring *ring)
{
	uint32_t room = xsk_room(&q->xsk->tx, BATCH), put = 0, at = ring->hwcur, packets = 0;
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	struct nm_slots slots;
	uint64_t bytes = 0;

	nm_slots_init_ring(&slots, ring, 0);
	while (put < room && nm_pkt_next(&slots, &at, ring->head, &pkt) != NM_PKT_PARTIAL) {
		enum nm_drop cause = put_packet(q, &slots, &pkt, room, &put);

		if (unlikely(cause == NM_DROP_RX_FULL))
			break;
		packets++;
		if (likely(cause == NM_DROPS))
			bytes += pkt.bytes;
		else
			count_drop(ring, cause);
		at = pkt.next;
	}
	nm_count(&ring->stats.packets, packets);
	nm_count(&ring->stats.bytes, bytes);
	xsk_submit(&q->xsk->tx, put);
	ring->hwcur = at;
	return put;
}

/* Until the kernel has taken all of its ring, or takes no more. Without a link, a driver may say nothing of that. */
static void kick(struct nic_queue *q)
{
	uint32_t left = xsk_pending(&q->xsk->tx);

	q->blocked = q->waits = false;
	for (int i = 0; i < KICKS && left > 0 && xsk_needs_wakeup(&q->xsk->tx); i++) {
		int error = xsk_kick_tx(q->xsk);
		uint32_t now = xsk_pending(&q->xsk->tx);

		q->moved |= now != left;
		q->blocked = (error != 0 || !OS_LOAD(q->carrier)) && now == left;
		if (q->blocked)
			return;
		left = now;
	}
}

int nic_txsync(struct nm_ring *ring)
{
	struct nic_queue *q = queue_of(ring);

	nm_produce_lock(ring);
	if (likely(q->live[NM_TX])) {
		complete_sent(q, ring);
		while (put_packets(q, ring) == BATCH && !q->blocked)
			kick(q);
		kick(q);
		complete_sent(q, ring);
	}
	nm_produce_unlock(ring);
	return 0;
}

bool nic_can_send(struct nm_ring *ring)
{
	struct nic_queue *q = queue_of(ring);
	bool can = false;

	nm_produce_lock(ring);
	if (q->live[NM_TX]) {
		bool room = ring->hwcur != ring->head && xsk_room(&q->xsk->tx, 1) > 0;
		bool waits = xsk_pending(&q->xsk->tx) > 0 && xsk_needs_wakeup(&q->xsk->tx);

		if (q->waits && !nic_poll_waits(&q->poll))
			q->blocked = q->waits = false; /* it has waited: try again */
		can = !xsk_is_empty(&q->xsk->completion) || (!q->blocked && (room || waits));
		if (!can && (q->unfinished > 0 || ring->hwcur != ring->head)) {
			nic_poll_later(&q->poll, q->moved);
			q->waits = q->blocked;
			q->moved = false;
		}
	}
	nm_produce_unlock(ring);
	return can;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* What the kernel still sends of a former user's packets comes back, and frees no slot of the next one's. */
void nic_ring_reset(struct nm_ring *ring)
{
	struct nic_queue *q = queue_of(ring);

	if (ring->dir == NM_RX || !q || !q->sent)
		return;
	for (uint32_t i = 0; i < ring->num_slots; i++) {
		if (q->sent[i] && q->stale[q->sent[i]] < UINT8_MAX) {
			q->stale[q->sent[i]]++;
			q->num_stale++;
		}
		q->sent[i] = 0;
	}
	q->oldest = q->expected = q->unfinished = 0;
}

void nic_set_live(struct nic_queue *q, bool live)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		nm_produce_lock(q->ring[dir]);
		q->live[dir] = live;
		nm_produce_unlock(q->ring[dir]);
	}
}
