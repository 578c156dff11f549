/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The forwarding path of a VALE switch. One pass per step over a batch of packets:
 *
 *      collect    slots are loaded once, checked, and their buffers prefetched
 *      classify   source learnt, destination looked up, packets chained by destination
 *      deliver    per destination: lock its ring, copy, publish, unlock, signal (vale_deliver.c)
 *
 * Packet content is hostile and can change at any moment; what a decision rests on
 * (addresses, virtio-net header) is copied once and decided on the copy.
 */
#include "vale_internal.h"

void nm_vale_batch_init(struct vale_batch *batch)
{
	memset(batch, 0, sizeof(*batch));
	os_random(&batch->ident, sizeof(batch->ident));
	for (int i = 0; i < 256; i++)
		batch->chains[i].first = VALE_END;
}

/* ---- collect ------------------------------------------------------------------------- */

#define LEARN UINT64_MAX /* src of a packet until its addresses are loaded */

/*
 * Takes one packet of any shape, beginning at slot *at, into the batch. False: its end has not been
 * written yet, and *at has not moved.
 */
static bool collect_packet(struct vale_tx *tx, uint32_t *at)
{
	struct nm_ring *ring = tx->ring;
	struct vale_batch *batch = tx->batch;
	struct nm_pkt pkt = {.frags = &batch->frags[batch->num_frags]};

	if (nm_pkt_next(&tx->slots, at, ring->head, &pkt) == NM_PKT_PARTIAL)
		return false;
	*at = pkt.next;
	nm_count(&ring->stats.packets, 1);
	if (likely(pkt.cause == NM_DROPS) && unlikely(pkt.bytes < tx->min_len))
		pkt.cause = NM_DROP_TOO_SHORT;
	if (unlikely(pkt.cause != NM_DROPS)) {
		nm_vale_count_drop(ring, pkt.cause);
		tx->gaps = true;
		return true;
	}
	nm_count(&ring->stats.bytes, pkt.bytes);
	for (uint32_t i = 0; i < pkt.slots; i++)
		os_prefetch(pkt.frags[i].buf);
	batch->packets[batch->num_packets++] = (struct vale_packet){
		.buf = pkt.frags[0].buf,
		.len = pkt.bytes,
		.frags = (uint8_t)pkt.slots,
		.first = (uint8_t)batch->num_frags,
		.dst_hint = (uint8_t)(pkt.first_flags >> NS_PORT_SHIFT),
		.src = pkt.any_flags & NS_NO_LEARN ? 0 : LEARN,
	};
	batch->num_frags += pkt.slots;
	return true;
}

/*
 * The same for nearly all packets, one good slot each that is to be learnt from, as long as they come. What is
 * not like that is left to collect_packet(), which believes only what is there then. Returns the
 * first slot that was not taken.
 */
static uint32_t collect_plain(struct vale_tx *tx, uint32_t at)
{
	struct nm_ring *ring = tx->ring;
	struct vale_batch *batch = tx->batch;
	const struct nm_slots s = tx->slots; /* copies: they stay in registers */
	const struct netmap_slot *slot = &s.slots[at], *const end = &s.slots[s.num_slots];
	const struct netmap_slot *const head = &s.slots[ring->head];
	const uint32_t min_len = tx->min_len, plain_span = tx->plain_span;
	struct vale_packet *packet = &batch->packets[batch->num_packets];
	uint32_t n = batch->num_packets, hints = 0;
	uint64_t bytes = 0;

	for (; slot != head && n < NM_VALE_BATCH; packet++) {
		struct nm_slot_copy copy = nm_slot_load(slot);

		os_prefetch(slot + 16);
		if (unlikely(copy.flags & (NS_MOREFRAG | NS_INDIRECT | NS_NO_LEARN)) ||
			unlikely(!nm_slots_buf_valid(&s, copy.buf_idx)) ||
			unlikely(copy.len - min_len >= plain_span)) /* mod 2^32 */
			break;
		packet->buf = nm_slots_buf(&s, copy.buf_idx);
		os_prefetch(packet->buf);
		packet->len = copy.len;
		packet->frags = 1;
		packet->next = (uint8_t)++n;
		packet->dst_hint = (uint8_t)(copy.flags >> NS_PORT_SHIFT);
		packet->src = LEARN;
		hints |= copy.flags;
		bytes += copy.len;
		if (unlikely(++slot == end))
			slot = s.slots;
	}
	batch->hints |= hints & NS_PORT_MASK;
	nm_count(&ring->stats.packets, n - batch->num_packets);
	nm_count(&ring->stats.bytes, bytes);
	batch->num_packets = n;
	return (uint32_t)(slot - s.slots);
}

/* Fills the batch from slots at..head; returns the first slot that was not taken. */
static uint32_t collect(struct vale_tx *tx, uint32_t at)
{
	struct vale_batch *batch = tx->batch;
	const uint32_t head = tx->ring->head;

	batch->num_packets = 0;
	batch->num_frags = 0;
	batch->hints = 0;
	for (;;) {
		at = collect_plain(tx, at);
		if (likely(at == head) || batch->num_packets == NM_VALE_BATCH ||
			batch->num_frags > NM_VALE_BATCH)
			return at;
		if (!collect_packet(tx, &at))
			return at;
	}
}

/* ---- classify ------------------------------------------------------------------------ */

/* The header of the packet may be alone in the first fragment, or in smaller pieces. */
static void load_scattered(
	const struct vale_tx *tx, const struct vale_packet *packet, uint64_t *dst, uint64_t *src)
{
	struct nm_cursor from = {&tx->batch->frags[packet->first], 0};
	uint8_t eth[12];

	nm_cursor_skip(&from, tx->hdr_len);
	nm_cursor_copy(&from, eth, sizeof(eth));
	nm_mac_load_both(eth, dst, src);
}

/* Where the packets of a batch want to go. */
struct destinations {
	uint64_t mac[NM_VALE_BATCH];
	uint32_t place[NM_VALE_BATCH]; /* nm_mac_place() */
};

/* From packet `at` on; those before have this source. */
static void load_addresses(struct vale_tx *tx, struct destinations *d, uint32_t at, uint64_t first)
{
	struct vale_packet *packets = tx->batch->packets;
	uint64_t last_dst = 0;
	uint32_t place = nm_mac_place(&tx->sw->macs, last_dst);

	for (uint32_t i = 0; i < at; i++)
		packets[i].src &= first;
	for (; at < tx->batch->num_packets; at++) {
		struct vale_packet *packet = &packets[at];
		uint64_t dst, src;

		if (likely(packet->frags == 1))
			nm_mac_load_both(packet->buf + tx->hdr_len, &dst, &src);
		else
			load_scattered(tx, packet, &dst, &src);
		if (dst != last_dst)
			place = nm_mac_place_ahead(&tx->sw->macs, dst);
		last_dst = dst;
		d->mac[at] = dst;
		d->place[at] = place;
		packet->src &= src;
	}
}

/*
 * The same for plain packets of one source, each for an address of its own perhaps, whose buckets are asked for all at once. How many
 * are like that, from the first on.
 */
static uint32_t load_destinations(const struct vale_tx *tx, struct destinations *d, uint64_t *src)
{
	const struct vale_batch *batch = tx->batch;
	const struct nm_mactable *macs = &tx->sw->macs;
	const struct vale_packet *packet = batch->packets;
	const uint32_t hdr_len = tx->hdr_len, n = batch->num_packets;
	struct nm_mac_pair first;
	uint32_t i;

	if (batch->num_frags > 0 || batch->hints || nm_mactable_all_too_old(macs, tx->epoch))
		return 0;
	first = nm_mac_pair_load(packet->buf + hdr_len);
	for (i = 0; i < n; i++, packet++) {
		struct nm_mac_pair pair = nm_mac_pair_load(packet->buf + hdr_len);

		if (!nm_mac_pair_equal_src(pair, first))
			break;
		d->mac[i] = nm_mac_pair_dst(pair);
		d->place[i] = nm_mac_place_ahead(macs, d->mac[i]);
	}
	*src = nm_mac_pair_src(first);
	return i;
}

static void learn(struct vale_tx *tx, uint64_t src)
{
	if (src == 0 || nm_mac_is_group(src))
		return;
	tx->last_src = src;
	nm_mactable_learn(&tx->sw->macs, src, tx->number, tx->epoch);
}

static void chain(struct vale_batch *batch, uint8_t packet, uint32_t to)
{
	struct vale_chain *c = &batch->chains[to];

	batch->packets[packet].next = VALE_END;
	if (c->first == VALE_END) {
		c->first = packet;
		if (to != VALE_TO_ALL)
			batch->touched[batch->num_touched++] = (uint8_t)to;
	} else {
		batch->packets[c->last].next = packet;
	}
	c->last = packet;
}

/* Number of the port that an address lives at. An address of a port that is leaving may still be
 * found: it is as unknown as one that is not in the table. */
static inline uint32_t look_up(const struct vale_tx *tx, uint64_t mac, uint32_t place)
	OS_REQUIRES_SHARED(VALE_LOCK)
{
	uint32_t to = nm_mactable_lookup(&tx->sw->macs, mac, place, tx->epoch);

	return likely(tx->sw->live[to]) ? to : VALE_TO_ALL;
}

/*
 * Is the whole batch one flow, as nearly all are: plain packets of one address for one other, which the sender
 * wants nothing special for? The first that is of another ends the search, which costs a fifth of the
 * instructions of looking at each packet on its own.
 */
static bool is_one_flow(const struct vale_tx *tx, struct nm_mac_pair *macs)
{
	const struct vale_batch *batch = tx->batch;
	const struct vale_packet *packet = batch->packets, *end = packet + batch->num_packets;
	const uint32_t hdr_len = tx->hdr_len;
	struct nm_mac_pair first;

	if (batch->num_frags > 0 || batch->hints)
		return false;
	first = nm_mac_pair_load(packet->buf + hdr_len);
	for (packet++; packet < end; packet++)
		if (!nm_mac_pair_equal(nm_mac_pair_load(packet->buf + hdr_len), first))
			return false;
	*macs = first;
	return true;
}

/* All packets, which are in a row already, go to one port, or to all. */
static void chain_row(struct vale_tx *tx, uint32_t to)
{
	struct vale_batch *batch = tx->batch;
	uint32_t n = batch->num_packets;

	if (unlikely(to == tx->number)) {
		nm_count(&tx->ring->stats.drops[NM_DROP_NO_RECEIVER], n);
		return;
	}
	batch->in_row = true;
	batch->packets[n - 1].next = VALE_END;
	batch->chains[to] = (struct vale_chain){.first = 0, .last = (uint8_t)(n - 1)};
	if (to != VALE_TO_ALL)
		batch->touched[batch->num_touched++] = (uint8_t)to;
}

static void classify_flow(struct vale_tx *tx, struct nm_mac_pair macs) OS_REQUIRES_SHARED(VALE_LOCK)
{
	const uint64_t src = nm_mac_pair_src(macs), dst = nm_mac_pair_dst(macs);

	if (unlikely(src != tx->last_src))
		learn(tx, src);
	chain_row(tx, look_up(tx, dst, nm_mac_place(&tx->sw->macs, dst)));
}

/* For a port that is leaving, its packets are for all. */
static bool only_to_live(const struct vale_tx *tx, uint8_t to[NM_VALE_BATCH], bool to_one)
	OS_REQUIRES_SHARED(VALE_LOCK)
{
	for (uint32_t i = 0; i < (to_one ? 1 : tx->batch->num_packets); i++)
		if (unlikely(!tx->sw->live[to[i]]))
			to[i] = VALE_TO_ALL;
	return to_one;
}

/* Learns the source, and says where each packet goes. True: all to the same. */
static bool find_from_one(struct vale_tx *tx, const struct destinations *d, uint64_t src,
	uint8_t to[NM_VALE_BATCH]) OS_REQUIRES_SHARED(VALE_LOCK)
{
	const struct nm_mactable *macs = &tx->sw->macs;
	const uint64_t epoch = tx->epoch;
	const uint32_t n = tx->batch->num_packets;
	uint32_t differ = 0;

	if (unlikely(src != tx->last_src))
		learn(tx, src);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t port = nm_mactable_peek(macs, d->mac[i], d->place[i], epoch);

		if (unlikely(port == NM_MAC_NONE))
			port = nm_mactable_lookup(macs, d->mac[i], d->place[i], epoch);
		to[i] = (uint8_t)port;
		differ |= port ^ to[0];
	}
	return only_to_live(tx, to, differ == 0);
}

/* Learns sources, and says where each packet goes: tx->number, if nobody shall have it. True: all to the same. */
static bool find_each(struct vale_tx *tx, const struct destinations *d, uint8_t to[NM_VALE_BATCH])
	OS_REQUIRES_SHARED(VALE_LOCK)
{
	const struct vale_packet *packet = tx->batch->packets;
	const uint32_t n = tx->batch->num_packets;
	uint64_t last_dst = 0;
	uint32_t last_to = VALE_TO_ALL; /* of last_dst */
	uint32_t differ = 0;

	for (uint32_t i = 0; i < n; i++, packet++) {
		if (unlikely(packet->src != tx->last_src))
			learn(tx, packet->src);
		if (d->mac[i] != last_dst) {
			last_dst = d->mac[i];
			last_to = look_up(tx, last_dst, d->place[i]);
		}
		to[i] = (uint8_t)last_to;
		if (unlikely(packet->dst_hint))
			to[i] = tx->sw->live[packet->dst_hint] ? packet->dst_hint : tx->number;
		differ |= (uint32_t)to[i] ^ to[0];
	}
	return differ == 0;
}

/* All that was chained goes to one port, or to all. */
static bool is_one_chain(const struct vale_batch *batch)
{
	return batch->num_touched == (batch->chains[VALE_TO_ALL].first == VALE_END ? 1 : 0);
}

static void chain_each(struct vale_tx *tx, const uint8_t to[NM_VALE_BATCH])
{
	struct vale_batch *batch = tx->batch;
	uint32_t chained = 0;

	for (uint32_t i = 0; i < batch->num_packets; i++) {
		if (unlikely(to[i] == tx->number)) {
			/* Its destination is the sender's own port, or a port without clients. */
			nm_vale_count_drop(tx->ring, NM_DROP_NO_RECEIVER);
			continue;
		}
		chain(batch, (uint8_t)i, to[i]);
		chained++;
	}
	batch->in_row = chained == batch->num_packets && is_one_chain(batch);
}

static void classify_each(struct vale_tx *tx) OS_REQUIRES_SHARED(VALE_LOCK)
{
	struct destinations d;
	uint8_t to[NM_VALE_BATCH];
	uint64_t src = 0;
	uint32_t plain = load_destinations(tx, &d, &src);
	bool to_one;

	if (likely(plain == tx->batch->num_packets)) {
		to_one = find_from_one(tx, &d, src, to);
	} else {
		load_addresses(tx, &d, plain, src);
		to_one = find_each(tx, &d, to) && tx->batch->num_frags == 0;
	}
	if (to_one)
		chain_row(tx, to[0]);
	else
		chain_each(tx, to);
}

static void classify(struct vale_tx *tx) OS_REQUIRES_SHARED(VALE_LOCK)
{
	struct nm_mac_pair macs;

	tx->batch->num_touched = 0;
	tx->batch->in_row = false;
	if (likely(is_one_flow(tx, &macs)))
		classify_flow(tx, macs);
	else
		classify_each(tx);
}

static_assert(NM_MAC_NONE == (int)VALE_TO_ALL, "an unknown address goes to all ports");

/* ---- deliver -------------------------------------------------------------------------- */

/* To one port. Behind packets that wait for it others do, too. */
static inline void deliver(struct vale_tx *tx, uint8_t to, uint8_t mine, uint8_t all)
	OS_REQUIRES_SHARED(VALE_LOCK)
{
	uint8_t rest = VALE_END;

	if (unlikely(tx->batch->queue.count > 0) && nm_vale_queue_has(&tx->batch->queue, to)) {
		rest = mine;
		mine = VALE_END;
	}
	if (mine != VALE_END || all != VALE_END) {
		uint8_t refused = nm_vale_deliver(tx, tx->sw->live[to], mine, all);

		if (unlikely(refused != VALE_END))
			rest = refused;
	}
	if (unlikely(rest != VALE_END))
		nm_vale_park(tx, to, rest);
}

static void deliver_to_all(struct vale_tx *tx) OS_REQUIRES_SHARED(VALE_LOCK)
{
	struct vale_batch *batch = tx->batch;
	const struct nm_vale *sw = tx->sw;
	uint8_t all = batch->chains[VALE_TO_ALL].first;

	if (sw->num_active < 2)
		for (uint8_t i = all; i != VALE_END; i = batch->packets[i].next)
			nm_vale_count_drop(tx->ring, NM_DROP_NO_RECEIVER);
	for (uint32_t i = 0; i < sw->num_active; i++) {
		uint8_t to = sw->active[i];

		if (to == tx->number)
			continue;
		deliver(tx, to, batch->chains[to].first, all);
		batch->chains[to].first = VALE_END;
	}
	batch->chains[VALE_TO_ALL].first = VALE_END;
}

static void forward(struct vale_tx *tx) OS_REQUIRES_SHARED(VALE_LOCK)
{
	struct vale_batch *batch = tx->batch;

	classify(tx);
	if (unlikely(batch->chains[VALE_TO_ALL].first != VALE_END))
		deliver_to_all(tx);
	for (uint32_t i = 0; i < batch->num_touched; i++) {
		struct vale_chain *c = &batch->chains[batch->touched[i]];

		if (c->first != VALE_END)
			deliver(tx, batch->touched[i], c->first, VALE_END);
		c->first = VALE_END;
	}
}

/* ---- the sync ------------------------------------------------------------------------ */

/* What the port may change between two batches. */
static void look_at_port(struct vale_tx *tx) OS_REQUIRES_SHARED(VALE_LOCK)
{
	const struct nm_port *port = tx->ring->port;

	tx->hdr_len = port->hdr_len;
	tx->knows = OS_LOAD(&port->knows);
	tx->wait_us = nm_port_full_wait(port);
	tx->min_len = tx->hdr_len + VALE_ETH_HEADER;
	/* With offsets, every slot is looked at closely. */
	tx->plain_span = tx->slots.offset_mask == 0 ? tx->slots.buf_size - tx->min_len + 1 : 0;
}

/*
 * One batch from slots at..head; returns the first slot that was not taken. The lock is held for
 * a batch, not for a sync: a port that comes or goes waits for its writer's turn, and a sync of
 * large rings to many ports can take long.
 */
static uint32_t forward_batch(struct vale_tx *tx, uint32_t at)
{
	vale_read_lock(tx->sw);
	look_at_port(tx);
	tx->batch_at = at;
	tx->gaps = tx->ring->dropping;
	at = collect(tx, at);
	os_assert(tx->batch->num_packets <= NM_VALE_BATCH && tx->batch->num_frags <= VALE_FRAGS);
	if (tx->batch->num_packets > 0)
		forward(tx);
	vale_read_unlock(tx->sw);
	return at;
}

/* The shortest packet is never longer than the longest: buffers have at least 64 bytes. */
static_assert(NM_PORT_HDR_MAX + VALE_ETH_HEADER <= NM_BUF_SIZE_MIN, "a header fits a buffer");

static void retry(struct vale_tx *tx)
{
	vale_read_lock(tx->sw);
	look_at_port(tx);
	nm_vale_retry(tx);
	vale_read_unlock(tx->sw);
}

int nm_vale_txsync(struct nm_ring *ring)
{
	struct nm_vale_port *vp = ring->port->priv;
	struct vale_tx tx = {
		.ring = ring,
		.sw = vp->sw,
		.batch = ring->priv,
		.number = vp->number,
	};
	uint32_t at = ring->hwcur;

	if (at == ring->head && likely(tx.batch->queue.count == 0))
		return 0;
	nm_slots_init_ring(&tx.slots, ring, 0);
	if (unlikely(tx.batch->queue.count > 0))
		retry(&tx);
	tx.epoch = nm_mac_epoch(os_time_s());
	at = nm_slots_skip(&tx.slots, at, ring->head);
	while (at != ring->head && likely(nm_vale_queue_takes(&tx.batch->queue))) {
		uint32_t from = at;

		at = forward_batch(&tx, at);
		if (at == from)
			break; /* an unfinished packet */
	}
	nm_ring_sent(ring, at); /* copies are done */
	if (unlikely(tx.batch->queue.count > 0))
		nm_ring_set_tail(ring, nm_vale_queue_tail(&tx));
	return 0;
}
