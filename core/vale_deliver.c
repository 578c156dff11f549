/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The delivering end of a VALE switch: packets of a batch into one ring, under its lock.
 *
 *      plain    one fragment, equal headers, and it fits one slot: copied as it is
 *      stream   several fragments, smaller buffers, offsets, unequal headers: laid out anew
 *      finish   the receiver has no virtio-net header, or doesn't know such packets (nm_port.knows), and the
 *               packet wants an offload: its checksum is completed, or it becomes many (offload.h)
 *
 * Nothing is seen by the receiver before hwtail moves, behind the last packet of the batch. So a
 * packet that fails half-way is taken back as a whole.
 */
#include "vale_internal.h"
#include "monitor.h"
#include "rss.h"

enum {
	SLOTS_AHEAD = 32, /* of the receiver's ring: prefetched before they are looked at */
	BUFS_AHEAD = 8,   /* of the receiver's buffers, before they are filled */
	/* Bytes of a frame around an IP packet whose length fits its header. */
	NOT_BIG_MAX = VALE_ETH_HEADER + UINT16_MAX,
};

/* One receiving ring while its lock is held. */
struct vale_rx {
	struct nm_rxq q;
	uint32_t hdr_len;
	uint32_t cuts;          /* NM_KNOWS_*: the sender does, and the receiver doesn't */
	uint32_t plain_max;     /* longest packet for one slot; 0: each slot has to be looked at */
	struct vale_room *room; /* packets wait when there is none; NULL: they are dropped */
};

/* ---- plain ---------------------------------------------------------------------------- */

/*
 * Nearly all traffic: packets of one fragment, with equal headers, each into a buffer that takes all
 * of it. Returns how many of the packets order[0..n) were delivered; what stopped it is for
 * deliver_any() to find out. `ask` is a constant: two loops, each in its caller (called, they were a tenth slower). A slot is loaded once for its packet; what is loaded ahead of that is only asked for.
 *
 * The receiver has slots and buffers in its cache, for it has read the packets before. Whether buffers are
 * to be asked for in time is for the processor to say; slots are, and for writing at once.
 */
static __always_inline uint32_t deliver_plain_as(struct vale_rx *rx,
	const struct vale_packet *packets, const uint8_t *order, uint32_t n, const bool ask)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	const struct nm_slots s = rx->q.slots; /* copies: they stay in registers */
	const uint32_t plain_max = rx->plain_max;
	struct netmap_slot *slot = &s.slots[rx->q.at], *const end = &s.slots[s.num_slots];
	const struct netmap_slot *ahead = &s.slots[nm_ring_advance(
		rx->q.at, s.num_slots > BUFS_AHEAD ? BUFS_AHEAD : 1, s.num_slots)];
	uint64_t bytes = 0;
	uint32_t done;

	if (!nm_rxq_has_room(&rx->q, n))
		n = rx->q.room;
	for (done = 0; done < n; done++) {
		const struct vale_packet *packet = &packets[order[done]];
		const uint32_t index = OS_LOAD(&slot->buf_idx), len = packet->len;

		os_prefetch_write(slot + SLOTS_AHEAD); /* behind the ring: of no use, and no harm */
		if (ask)
			nm_slots_ask(&s, ahead);
		if (unlikely(len > plain_max || packet->frags != 1) ||
			unlikely(!nm_slots_buf_valid(&s, index)))
			break;
		nm_packet_copy(nm_slots_buf(&s, index), packet->buf, len);
		nm_slot_fill(slot, len, nm_slots_flags(1, 0));
		bytes += len;
		if (unlikely(++slot == end))
			slot = s.slots;
		if (unlikely(++ahead == end))
			ahead = s.slots;
	}
	rx->q.at = (uint32_t)(slot - s.slots);
	rx->q.room -= done;
	rx->q.packets += done;
	rx->q.bytes += bytes;
	return done;
}

static uint32_t deliver_plain(struct vale_rx *rx, const struct vale_packet *packets,
	const uint8_t *order, uint32_t n) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	return os_asks_before_writing() ? deliver_plain_as(rx, packets, order, n, true)
					: deliver_plain_as(rx, packets, order, n, false);
}

/* ---- stream ----------------------------------------------------------------------------- */

static enum nm_drop deliver_frame(struct vale_tx *tx, struct vale_rx *rx,
	const struct nm_frame *frame, struct nm_cursor from) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_piece *pieces = tx->batch->pieces;
	uint32_t slots;
	enum nm_drop cause = nm_rxq_reserve(&rx->q, frame->head_len + frame->len, pieces, &slots);

	if (cause != NM_DROPS)
		return cause;
	nm_frame_write(frame, from, pieces);
	nm_rxq_commit(&rx->q, pieces, slots, 0);
	return NM_DROPS;
}

/* ---- finish ----------------------------------------------------------------------------- */

/* A frame of which all is done, behind a virtio-net header that says so, if the receiver has one. */
static enum nm_drop deliver_segment(struct vale_tx *tx, struct vale_rx *rx, struct nm_frame frame,
	struct nm_cursor from) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	uint8_t head[NM_PORT_HDR_MAX + NM_OFFLOAD_HEAD_LEN];

	if (rx->hdr_len > 0) {
		memset(head, 0, rx->hdr_len);
		memcpy(head + rx->hdr_len, frame.head, frame.head_len);
		frame.head = head;
		frame.head_len += rx->hdr_len;
		frame.csum_at += rx->hdr_len;
	}
	return deliver_frame(tx, rx, &frame, from);
}

/* The packet behind a virtio-net header that the receiver can't see, or can't read. */
static enum nm_drop deliver_finished(struct vale_tx *tx, struct vale_rx *rx,
	const struct nm_vnet_hdr *vnet, struct nm_cursor from, uint32_t len)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_offload *o = &tx->batch->offload;
	uint32_t bytes = nm_rxq_slot_bytes(&rx->q), each, last;
	struct nm_frame frame;
	enum nm_drop cause = nm_offload_plan(o, vnet, from, len, tx->batch->ident++);

	if (cause != NM_DROPS)
		return cause;
	if (bytes == 0)
		return NM_DROP_BAD_OFFSET;
	each = (rx->hdr_len + nm_offload_longest(o) + bytes - 1) / bytes;
	last = (rx->hdr_len + nm_offload_last(o) + bytes - 1) / bytes;
	cause = nm_rxq_check(&rx->q, (uint64_t)(o->segments - 1) * each + last, each);
	for (uint32_t i = 0; i < o->segments && cause == NM_DROPS; i++) {
		nm_offload_segment(o, i, &frame);
		cause = deliver_segment(tx, rx, frame, from);
	}
	return cause;
}

/* Has the switch to do what the sender has left undone? Of a packet of len bytes. */
static bool must_finish(const struct vale_rx *rx, const struct nm_vnet_hdr *vnet, uint32_t len)
{
	if (rx->hdr_len > 0)
		return ((rx->cuts & NM_KNOWS_USO) && vnet->gso_type == NM_VNET_GSO_UDP_L4) ||
		       ((rx->cuts & NM_KNOWS_BIG_TCP) && len > NOT_BIG_MAX);
	return (vnet->flags & NM_VNET_NEEDS_CSUM) || vnet->gso_type != NM_VNET_GSO_NONE;
}

static enum nm_drop deliver_stream(struct vale_tx *tx, struct vale_rx *rx,
	const struct vale_packet *packet) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	const struct nm_frag only = {.buf = packet->buf, .len = packet->len};
	struct nm_cursor from = {packet->frags == 1 ? &only : &tx->batch->frags[packet->first], 0};
	uint8_t hdr[NM_PORT_HDR_MAX] = {0};
	struct nm_frame frame = {
		.head = hdr,
		.head_len = rx->hdr_len,
		.len = packet->len - tx->hdr_len,
	};
	struct nm_vnet_hdr vnet;

	nm_cursor_copy(&from, hdr, tx->hdr_len);
	if (tx->hdr_len > 0) {
		memcpy(&vnet, hdr, sizeof(vnet));
		if (must_finish(rx, &vnet, frame.len))
			return deliver_finished(tx, rx, &vnet, from, frame.len);
	}
	return deliver_frame(tx, rx, &frame, from);
}

static_assert(sizeof(struct nm_vnet_hdr) <= NM_PORT_HDR_MAX, "it is read from the port's header");

/* ---- a ring's share of a batch ------------------------------------------------------------- */

static void count_refusal(struct vale_tx *tx, struct vale_rx *rx, enum nm_drop cause)
{
	nm_vale_count_drop(tx->ring, cause);
	nm_vale_count_drop(rx->q.ring, cause);
}

/* Any packet, of any number of fragments. One that can't be had is as if it had not been tried. */
static enum nm_drop try_any(struct vale_tx *tx, struct vale_rx *rx,
	const struct vale_packet *packet) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_rxq *q = &rx->q;
	const uint32_t at = q->at;
	const uint64_t packets = q->packets, bytes = q->bytes;
	enum nm_drop cause = deliver_stream(tx, rx, packet);

	if (cause == NM_DROPS) {
		/* What became many packets was as many copies. */
		nm_count(&tx->ring->stats.copies, q->packets - packets - 1);
		return cause;
	}
	q->at = at;
	q->room = nm_rxq_known_room(q);
	q->packets = packets;
	q->bytes = bytes;
	return cause;
}

/* The same, and it is counted. False: it waits. */
static bool deliver_any(struct vale_tx *tx, struct vale_rx *rx, const struct vale_packet *packet)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	enum nm_drop cause = try_any(tx, rx, packet);

	if (unlikely(cause == NM_DROP_RX_FULL) && rx->room) {
		if (nm_vale_want(rx->room, &rx->q, packet->len))
			cause = try_any(tx, rx, packet);
		if (cause == NM_DROP_RX_FULL && !rx->room->stuck)
			return false;
	}
	if (unlikely(cause != NM_DROPS))
		count_refusal(tx, rx, cause);
	return true;
}

static void begin(struct vale_rx *rx, const struct vale_tx *tx, struct nm_ring *ring)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	uint32_t size = ring->region->buf_room;

	nm_rxq_begin(&rx->q, ring);
	rx->hdr_len = ring->port->hdr_len;
	rx->cuts = 0;
	if (tx->knows && tx->hdr_len > 0 && rx->hdr_len > 0)
		rx->cuts = tx->knows & ~OS_LOAD(&ring->port->knows);
	rx->plain_max = 0;
	/* A packet in one slot is none of the big ones. */
	if (rx->hdr_len == tx->hdr_len && ring->offset_mask == 0 && !(rx->cuts & NM_KNOWS_USO))
		rx->plain_max = size < UINT16_MAX ? size : UINT16_MAX;
}

/* The packets of two chains in their order; how many. VALE_END is larger than any number: when a chain
 * has ended the other goes on. */
static uint32_t merge(const struct vale_batch *batch, uint8_t mine, uint8_t all, uint8_t *order)
{
#define EIGHT(n) (n), (n) + 1, (n) + 2, (n) + 3, (n) + 4, (n) + 5, (n) + 6, (n) + 7
	static const uint8_t in_row[NM_VALE_BATCH] = {EIGHT(0), EIGHT(8), EIGHT(16), EIGHT(24),
		EIGHT(32), EIGHT(40), EIGHT(48), EIGHT(56)};
	const struct vale_packet *packets = batch->packets;
	uint32_t n = 0;

	if (likely(batch->in_row)) { /* one chain has all */
		memcpy(order, in_row, sizeof(in_row));
		return batch->num_packets;
	}
	for (; all != VALE_END; n++) {
		uint8_t *from = mine < all ? &mine : &all;

		order[n] = *from;
		*from = packets[*from].next;
	}
	for (; mine != VALE_END; mine = packets[mine].next)
		order[n++] = mine;
	return n;
}

/* Packets order[0..n) to a ring. Returns how many have not to wait: all of them where `room` is NULL. */
static uint32_t deliver(struct vale_tx *tx, struct nm_ring *ring, const uint8_t *order, uint32_t n,
	struct vale_room *room)
{
	const struct vale_packet *packets = tx->batch->packets;
	struct vale_rx rx = {.room = room};
	uint32_t i = 0;
	bool in_use, waits = false;

	os_assert(n <= NM_VALE_BATCH);
	nm_produce_lock(ring);
	in_use = OS_LOAD(&ring->users) != 0;
	begin(&rx, tx, ring);
	if (unlikely(room) && in_use && !nm_vale_turn(room, tx, &rx.q)) {
		nm_vale_want(room, &rx.q, packets[order[0]].len);
		waits = true;
	}
	while (likely(in_use) && likely(!waits) && i < n) {
		i += deliver_plain(&rx, packets, order + i, n - i);
		if (unlikely(i < n))
			waits = !deliver_any(tx, &rx, &packets[order[i]]);
		if (unlikely(i < n) && !waits)
			i++;
	}
	for (; !in_use && i < n; i++)
		count_refusal(tx, &rx, NM_DROP_NO_RECEIVER);
	nm_count(&tx->ring->stats.copies, i);
	if (unlikely(room))
		nm_vale_turn_end(room, tx, i > 0, waits);
	nm_rxq_publish(&rx.q);
	nm_produce_unlock(ring);
	/* Who is waited for is to say when there is room. */
	if (rx.q.packets > 0 || waits)
		nm_ring_signal_arrived(ring);
	return i;
}

/* ---- several rings ------------------------------------------------------------------------- */

/* The first bytes of a packet, loaded once: they may change, and then it comes to another ring. */
static uint32_t ring_by_hash(
	const struct vale_tx *tx, const struct nm_rss *rss, const struct vale_packet *packet)
{
	const struct nm_frag only = {.buf = packet->buf, .len = packet->len};
	struct nm_cursor from = {packet->frags == 1 ? &only : &tx->batch->frags[packet->first], 0};
	uint32_t len = packet->len - tx->hdr_len;
	uint8_t head[NM_RSS_HEAD_MAX];

	if (len > NM_RSS_HEAD_MAX)
		len = NM_RSS_HEAD_MAX;
	nm_cursor_skip(&from, tx->hdr_len);
	nm_cursor_copy(&from, head, len);
	return nm_rss_ring(rss, head, len);
}

struct nm_ring *nm_vale_ring_for(
	const struct vale_tx *tx, const struct nm_port *port, const struct vale_packet *packet)
{
	const struct nm_rss *rss = OS_LOAD_ACQUIRE(&port->rss);

	return likely(!rss) ? nm_vale_rx_ring(tx, port)
			    : &port->rings[NM_RX][ring_by_hash(tx, rss, packet)];
}

/*
 * Packets order[0..n), each to the ring to[] of its number. Each ring is locked once, and has its packets in their order. `waits`: those
 * without room do. Returns the set of those, by their numbers.
 */
static uint64_t deliver_by_ring(struct vale_tx *tx, struct nm_port *port, const uint8_t *order,
	const uint8_t *to, uint32_t n, bool waits)
{
	uint8_t share[NM_VALE_BATCH];
	uint64_t done = 0, left = 0; /* sets of rings, of packets */

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t number = to[order[i]];
		struct nm_ring *ring = &port->rings[NM_RX][number];
		uint32_t of_ring = 0, took;

		if (done >> number & 1)
			continue;
		for (uint32_t k = i; k < n; k++)
			if (to[order[k]] == number)
				share[of_ring++] = order[k];
		took = deliver(tx, ring, share, of_ring, waits ? ring->priv : NULL);
		if (took < of_ring)
			tx->full_rings |= (uint64_t)1 << number;
		for (; took < of_ring; took++)
			left |= (uint64_t)1 << share[took];
		done |= (uint64_t)1 << number;
	}
	return left;
}

static_assert(NM_RINGS_MAX <= 64 && NM_VALE_BATCH <= 64, "sets have 64 bits");

/* A chain of the packets of a set, in their order. */
static uint8_t chain(struct vale_packet *packets, uint64_t set)
{
	uint8_t first = VALE_END;

	for (int i = NM_VALE_BATCH - 1; set && i >= 0; i--) {
		if (!(set >> i & 1))
			continue;
		packets[i].next = first;
		first = (uint8_t)i;
		set &= ~((uint64_t)1 << i);
	}
	return first;
}

/* Returns a chain of those that have to wait, when `waits`. */
static uint8_t deliver_hashed(struct vale_tx *tx, struct nm_port *port, const struct nm_rss *rss,
	const uint8_t *order, uint32_t n, bool waits)
{
	struct vale_packet *packets = tx->batch->packets;
	uint8_t to[NM_VALE_BATCH], first;

	for (uint32_t i = 0; i < n; i++)
		to[order[i]] = (uint8_t)ring_by_hash(tx, rss, &packets[order[i]]);
	tx->full_rings = 0;
	first = chain(packets, deliver_by_ring(tx, port, order, to, n, waits));
	if (first != VALE_END)
		tx->full = &port->rings[NM_RX][to[first]];
	return first;
}

/* The same for a port whose packets come to the ring that belongs to the sender's. */
static uint8_t deliver_one_ring(struct vale_tx *tx, const struct nm_port *port,
	const uint8_t *order, uint32_t n, bool waits)
{
	struct nm_ring *ring = nm_vale_rx_ring(tx, port);
	uint32_t done;

	if (likely(!waits)) {
		deliver(tx, ring, order, n, NULL);
		return VALE_END;
	}
	tx->full = ring;
	done = deliver(tx, ring, order, n, ring->priv);
	return done < n ? order[done] : VALE_END;
}

static inline uint8_t deliver_order(
	struct vale_tx *tx, struct nm_port *port, const uint8_t *order, uint32_t n, bool waits)
{
	const struct nm_rss *rss = OS_LOAD_ACQUIRE(&port->rss);

	return unlikely(rss) ? deliver_hashed(tx, port, rss, order, n, waits)
			     : deliver_one_ring(tx, port, order, n, waits);
}

uint8_t nm_vale_deliver(struct vale_tx *tx, struct nm_port *port, uint8_t mine, uint8_t all)
{
	uint8_t order[NM_VALE_BATCH], rest = VALE_END;
	uint32_t n;

	vale_assert_locked(tx->sw);
	if (unlikely(tx->wait_us) && mine != VALE_END && nm_port_full_wait(port)) {
		n = merge(tx->batch, mine, VALE_END, order);
		rest = deliver_order(tx, port, order, n, true);
		mine = VALE_END;
		if (likely(all == VALE_END))
			return rest;
	}
	n = merge(tx->batch, mine, all, order);
	deliver_order(tx, port, order, n, false);
	return rest;
}
