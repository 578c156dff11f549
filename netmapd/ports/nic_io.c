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
	if (unlikely(desc->options & XSK_CONTD))
		return NM_DROP_FRAGMENTS;
	return unlikely(desc->len > s->buf_size) ? NM_DROP_TOO_LONG : NM_DROPS;
}

/* A packet into the next slot, for the buffer that this had: *buf_idx, to be posted; of a drop the packet's own. */
static enum nm_drop take_packet(
	struct nic_queue *q, struct nm_rxq *rx, const struct xdp_desc *desc, uint32_t *buf_idx)
{
	const struct nm_slots *s = &rx->slots;
	uint32_t theirs = OS_LOAD(&s->slots[rx->at].buf_idx), ours = *buf_idx;
	enum nm_drop cause = check_desc(s, desc);

	if (unlikely(cause != NM_DROPS))
		return cause;
	if (unlikely(!nm_slots_buf_valid(s, theirs) || q->posted[theirs]))
		return NM_DROP_BAD_BUFFER;
	if (q->complete)
		nic_complete_checksum((uint8_t *)nm_slots_buf(s, ours), desc->len);
	nm_slot_store(&s->slots[rx->at], ours, desc->len, nm_slots_flags(1, 0) | NS_BUF_CHANGED);
	rx->at = nm_ring_advance(rx->at, 1, s->num_slots);
	rx->room--;
	rx->packets++;
	rx->bytes += desc->len;
	*buf_idx = theirs;
	return NM_DROPS;
}

static void receive(struct nic_queue *q, struct nm_ring *ring) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct xsk *x = q->xsk;
	uint32_t n, posted = 0;
	struct nm_rxq rx;

	nm_rxq_begin(&rx, ring);
	nm_rxq_look(&rx);
	n = xsk_peek(&x->rx, rx.room < BATCH ? rx.room : BATCH);
	if (n == 0)
		return;
	n = xsk_room(&x->fill, n); /* it had room for all that is posted */
	for (uint32_t i = 0; i < n; i++) {
		struct xdp_desc desc = xsk_get_desc(&x->rx, i);
		uint32_t buf_idx = buffer_of(q, &rx.slots, desc.addr);
		enum nm_drop cause = NM_DROP_BAD_BUFFER;

		if (likely(buf_idx)) {
			q->posted[buf_idx] = 0;
			q->num_posted--;
			cause = take_packet(q, &rx, &desc, &buf_idx);
			nic_post(q, posted++, buf_idx);
		}
		if (unlikely(cause != NM_DROPS))
			count_drop(ring, cause);
	}
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

/* A packet of several slots becomes one: behind its first fragment, in its buffer. */
static enum nm_drop put_together(const struct nm_slots *s, struct nm_pkt *pkt)
{
	struct nm_frag *first = &pkt->frags[0];
	uint64_t offset = nm_slots_offset_of(s, first->buf, first->buf_idx);
	char *to = nm_slots_buf(s, first->buf_idx) + offset + first->len;

	if (pkt->bytes > s->buf_size - offset)
		return NM_DROP_TOO_LONG;
	for (uint32_t i = 1; i < pkt->slots; i++) {
		memmove(to, pkt->frags[i].buf, pkt->frags[i].len);
		to += pkt->frags[i].len;
	}
	return NM_DROPS;
}

static enum nm_drop put_packet(
	struct nic_queue *q, const struct nm_slots *s, struct nm_pkt *pkt, uint32_t nth)
{
	const struct nm_frag *first = &pkt->frags[0];
	enum nm_drop cause = pkt->cause;

	if (unlikely(cause != NM_DROPS))
		return cause;
	if (unlikely(!OS_LOAD(q->carrier)))
		return NM_DROP_LINK_DOWN;
	if (unlikely(pkt->bytes < ETH_HEADER))
		return NM_DROP_TOO_SHORT;
	if (unlikely(pkt->bytes > OS_LOAD(&q->longest)))
		return NM_DROP_TOO_LONG;
	if (unlikely(pkt->slots > 1)) {
		cause = put_together(s, pkt);
		if (cause != NM_DROPS)
			return cause;
	}
	xsk_put_desc(&q->xsk->tx, nth,
		nic_chunk(first->buf_idx) + NM_NIC_HEADROOM +
			nm_slots_offset_of(s, first->buf, first->buf_idx),
		pkt->bytes, 0);
	q->sent[pkt->first] = first->buf_idx;
	q->unfinished++;
	return NM_DROPS;
}

/* Slots hwcur..head, as far as the kernel's ring has room. Returns how many packets are in it now. */
static uint32_t put_packets(struct nic_queue *q, struct nm_ring *ring)
{
	uint32_t room = xsk_room(&q->xsk->tx, BATCH), put = 0, at = ring->hwcur, packets = 0;
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	struct nm_slots slots;
	uint64_t bytes = 0;

	nm_slots_init_ring(&slots, ring, 0);
	while (put < room && nm_pkt_next(&slots, &at, ring->head, &pkt) != NM_PKT_PARTIAL) {
		enum nm_drop cause = put_packet(q, &slots, &pkt, put);

		packets++;
		if (likely(cause == NM_DROPS)) {
			bytes += pkt.bytes;
			put++;
		} else {
			count_drop(ring, cause);
		}
		at = pkt.next;
	}
	nm_count(&ring->stats.packets, packets);
	nm_count(&ring->stats.bytes, bytes);
	xsk_submit(&q->xsk->tx, put);
	ring->hwcur = at;
	return put;
}

/* Until the kernel has taken all of its ring, or takes no more. */
static void kick(struct nic_queue *q)
{
	uint32_t left = xsk_pending(&q->xsk->tx);

	q->blocked = q->waits = false;
	for (int i = 0; i < KICKS && left > 0 && xsk_needs_wakeup(&q->xsk->tx); i++) {
		int error = xsk_kick_tx(q->xsk);
		uint32_t now = xsk_pending(&q->xsk->tx);

		q->moved |= now != left;
		q->blocked = error != 0 && now == left;
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
