/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The forwarding path of a VALE switch. One pass per step over a batch of packets:
 *
 *      collect    slots are loaded once, checked, and their buffers prefetched
 *      classify   source learnt, destination looked up, packets chained by destination
 *      deliver    per destination: lock its ring, copy, publish, unlock, signal
 *
 * Packet content is hostile and can change at any moment; what a decision rests on
 * (addresses, virtio-net header) is copied once and decided on the copy.
 */
#include "vale_internal.h"

enum {
	ETH_HEADER = 14,
	VNET_FLAGS = 0,      /* byte of the virtio-net header: flags … */
	VNET_GSO_TYPE = 1,   /* … and kind of segmentation that the packet needs */
	VNET_NEEDS_CSUM = 1, /* in flags */
	PREFETCH_AHEAD = 4,  /* slots of the receiver */
};

/* What one sync of a tx ring works with. */
struct vale_tx {
	struct nm_ring *ring;
	struct nm_vale *vale;
	struct vale_batch *batch;
	uint32_t hdr_len;
	uint8_t number; /* of the sending port */
	uint64_t epoch;
	uint64_t last_src; /* learnt in this sync */
};

void nm_vale_batch_init(struct vale_batch *batch)
{
	memset(batch, 0, sizeof(*batch));
	for (int i = 0; i < 256; i++)
		batch->chains[i].first = VALE_END;
}

static void count_drop(struct nm_ring *ring, enum nm_drop cause)
{
	ring->stats.drops[cause]++;
}

/* ---- collect ------------------------------------------------------------------------- */

/* NM_DROPS when the slot is good. */
static inline enum nm_drop check_slot(const struct nm_ring *ring, struct nm_slot_copy slot)
{
	if (unlikely(slot.flags & NS_INDIRECT))
		return NM_DROP_INDIRECT;
	if (unlikely(!nm_region_buf_valid(ring->region, slot.buf_idx)))
		return NM_DROP_BAD_BUFFER;
	if (unlikely(slot.len > ring->region->pool[NM_POOL_BUF].size))
		return NM_DROP_BAD_LENGTH;
	return NM_DROPS;
}

/*
 * Takes one packet, beginning at slot *at, into the batch. False: its end has not been
 * written yet, and *at has not moved.
 */
static bool collect_packet(struct vale_tx *tx, uint32_t *at)
{
	struct nm_ring *ring = tx->ring;
	struct vale_batch *batch = tx->batch;
	struct vale_packet *packet = &batch->packets[batch->num_packets];
	uint32_t i = *at, slots = 0, frags = batch->num_frags, len = 0;
	enum nm_drop cause = NM_DROPS;
	struct nm_slot_copy slot;
	uint16_t flags = 0; /* of all its slots */

	do {
		if (unlikely(i == ring->head))
			return false;
		slot = nm_slot_load(&ring->slots[i]);
		i = nm_ring_advance(i, 1, ring->num_slots);
		flags |= slot.flags;
		if (unlikely(++slots > NETMAP_MAX_FRAGS) && cause == NM_DROPS)
			cause = NM_DROP_FRAGMENTS;
		if (likely(cause == NM_DROPS))
			cause = check_slot(ring, slot);
		if (likely(cause == NM_DROPS)) {
			struct vale_frag *frag = &batch->frags[frags++];

			frag->buf = nm_region_buf(ring->region, slot.buf_idx);
			frag->len = slot.len;
			len += slot.len;
			os_prefetch(frag->buf);
		}
	} while (slot.flags & NS_MOREFRAG);
	*at = i;
	ring->stats.packets++;
	if (likely(cause == NM_DROPS) &&
		unlikely(batch->frags[batch->num_frags].len < tx->hdr_len + ETH_HEADER))
		cause = NM_DROP_TOO_SHORT;
	if (unlikely(cause != NM_DROPS)) {
		count_drop(ring, cause);
		return true;
	}
	ring->stats.bytes += len;
	packet->len = len;
	packet->first = (uint16_t)batch->num_frags;
	packet->frags = (uint8_t)(frags - batch->num_frags);
	packet->learn = !(flags & NS_NO_LEARN);
	batch->num_frags = frags;
	batch->num_packets++;
	return true;
}

/* Skips the rest of a packet whose beginning was dropped. */
static uint32_t skip_dropped(struct nm_ring *ring, uint32_t at)
{
	while (ring->dropping && at != ring->head) {
		ring->dropping = !!(nm_slot_load(&ring->slots[at]).flags & NS_MOREFRAG);
		at = nm_ring_advance(at, 1, ring->num_slots);
	}
	return at;
}

/*
 * An unfinished packet waits in the ring for its end; but when it is longer than any packet
 * may be, or fills the ring, its end would be of no use: it is dropped as far as it is there.
 */
static uint32_t drop_endless(struct nm_ring *ring, uint32_t at)
{
	uint32_t slots = nm_ring_distance(at, ring->head, ring->num_slots);

	if (slots <= NETMAP_MAX_FRAGS && slots < ring->num_slots - 1)
		return at;
	ring->stats.packets++;
	count_drop(ring, NM_DROP_FRAGMENTS);
	ring->dropping = 1;
	return ring->head;
}

/* Fills the batch from slots at..head; returns the first slot that was not taken. */
static uint32_t collect(struct vale_tx *tx, uint32_t at)
{
	struct vale_batch *batch = tx->batch;

	batch->num_packets = 0;
	batch->num_frags = 0;
	while (at != tx->ring->head && batch->num_packets < NM_VALE_BATCH &&
		batch->num_frags <= NM_VALE_BATCH) {
		if (!collect_packet(tx, &at))
			return drop_endless(tx->ring, at);
	}
	return at;
}

/* ---- classify ------------------------------------------------------------------------ */

static void load_addresses(struct vale_tx *tx)
{
	struct vale_batch *batch = tx->batch;

	for (uint32_t i = 0; i < batch->num_packets; i++) {
		struct vale_packet *packet = &batch->packets[i];
		uint8_t eth[12];

		memcpy(eth, batch->frags[packet->first].buf + tx->hdr_len, sizeof(eth));
		packet->dst = nm_mac_load(eth);
		packet->src = nm_mac_load(eth + 6);
		nm_mactable_prefetch(&tx->vale->macs, packet->dst);
	}
}

static void learn(struct vale_tx *tx, const struct vale_packet *packet)
{
	if (packet->src == tx->last_src || !packet->learn || nm_mac_is_group(packet->src) ||
		packet->src == 0)
		return;
	tx->last_src = packet->src;
	nm_mactable_learn(&tx->vale->macs, packet->src, tx->number, tx->epoch);
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

static void classify(struct vale_tx *tx)
{
	struct vale_batch *batch = tx->batch;
	uint64_t last_dst = 0;
	uint32_t to = VALE_TO_ALL; /* of last_dst */

	batch->num_touched = 0;
	load_addresses(tx);
	for (uint32_t i = 0; i < batch->num_packets; i++) {
		struct vale_packet *packet = &batch->packets[i];

		learn(tx, packet);
		if (packet->dst != last_dst) {
			last_dst = packet->dst;
			to = nm_mac_is_group(last_dst)
				     ? VALE_TO_ALL
				     : nm_mactable_lookup(&tx->vale->macs, last_dst, tx->epoch);
		}
		if (unlikely(to == tx->number)) {
			count_drop(tx->ring, NM_DROP_NO_RECEIVER); /* lives where it comes from */
			continue;
		}
		chain(batch, (uint8_t)i, to);
	}
}

static_assert(NM_MAC_NONE == (int)VALE_TO_ALL, "an unknown address goes to all ports");

/* ---- deliver ------------------------------------------------------------------------- */

/* One receiving ring while its lock is held. */
struct vale_rx {
	struct nm_ring *ring;
	uint32_t hdr_len;
	uint32_t at;   /* next slot to fill */
	uint32_t room; /* free slots */
};

static void refresh_room(struct vale_rx *rx)
{
	struct nm_ring *ring = rx->ring;

	ring->produce.hwcur_seen = OS_LOAD_ACQUIRE(&ring->hwcur);
	rx->room = ring->num_slots - 1 -
		   nm_ring_distance(ring->produce.hwcur_seen, rx->at, ring->num_slots);
}

static inline bool have_room(struct vale_rx *rx, uint32_t slots)
{
	if (unlikely(rx->room < slots))
		refresh_room(rx);
	return rx->room >= slots;
}

/* Buffer of the receiver's slot i, or NULL when the receiver wrote nonsense there. */
static inline char *rx_buffer(const struct nm_ring *ring, uint32_t i)
{
	uint32_t index = OS_LOAD(&ring->slots[i].buf_idx);

	return likely(nm_region_buf_valid(ring->region, index)) ? nm_region_buf(ring->region, index)
								: NULL;
}

static inline void fill_slot(const struct nm_ring *ring, uint32_t i, uint32_t len, uint32_t flags)
{
	OS_STORE(&ring->slots[i].len, (uint16_t)len);
	OS_STORE(&ring->slots[i].flags, (uint16_t)flags);
}

/*
 * A packet of at least ETH_HEADER bytes. A short one costs a few plain moves instead of a call:
 * blocks of constant size, the last of which overlaps the one before. Not a byte more than len is
 * copied: what else lies in the sender's buffer is none of the receiver's business.
 */
static inline void copy_packet(char *dst, const char *src, uint32_t len)
{
	uint32_t done;

	if (unlikely(len > 512 || len < 16)) {
		memcpy(dst, src, len);
	} else if (len < 32) {
		memcpy(dst, src, 16);
		memcpy(dst + len - 16, src + len - 16, 16);
	} else if (len < 64) {
		memcpy(dst, src, 32);
		memcpy(dst + len - 32, src + len - 32, 32);
	} else {
		for (done = 0; done + 64 < len; done += 64)
			memcpy(dst + done, src + done, 64);
		memcpy(dst + len - 64, src + len - 64, 64);
	}
}

/* One fragment and equal headers: nearly all traffic. NM_DROPS when it was delivered. */
static inline enum nm_drop deliver_plain(struct vale_rx *rx, const struct vale_frag *frag)
{
	char *dst;

	if (unlikely(!have_room(rx, 1)))
		return NM_DROP_RX_FULL;
	dst = rx_buffer(rx->ring, rx->at);
	if (unlikely(!dst))
		return NM_DROP_BAD_BUFFER;
	copy_packet(dst, frag->buf, frag->len);
	fill_slot(rx->ring, rx->at, frag->len, 1 << NS_PORT_SHIFT);
	rx->at = nm_ring_advance(rx->at, 1, rx->ring->num_slots);
	rx->room--;
	return NM_DROPS;
}

/* Position in the fragments of a packet. */
struct vale_cursor {
	const struct vale_frag *frag;
	uint32_t offset;
};

static void copy_stream(char *dst, struct vale_cursor *from, uint32_t len)
{
	while (len > 0) {
		uint32_t n = from->frag->len - from->offset;

		if (n > len)
			n = len;
		memcpy(dst, from->frag->buf + from->offset, n);
		dst += n;
		len -= n;
		from->offset += n;
		if (from->offset == from->frag->len) {
			from->frag++;
			from->offset = 0;
		}
	}
}

/* Bytes of a packet at the receiver, header included. */
static inline uint32_t delivered_len(
	const struct vale_tx *tx, const struct vale_rx *rx, const struct vale_packet *packet)
{
	return packet->len - tx->hdr_len + rx->hdr_len;
}

static bool slots_usable(const struct vale_rx *rx, uint32_t slots)
{
	for (uint32_t i = 0; i < slots; i++)
		if (!rx_buffer(rx->ring, nm_ring_advance(rx->at, i, rx->ring->num_slots)))
			return false;
	return true;
}

/*
 * Any other packet: many fragments, other buffer sizes, unequal headers. It is laid out anew
 * in the receiver's buffers, behind a header of the receiver's length. All is checked before
 * the first slot is written.
 */
static enum nm_drop deliver_stream(
	struct vale_tx *tx, struct vale_rx *rx, const struct vale_packet *packet)
{
	struct vale_cursor from = {&tx->batch->frags[packet->first], tx->hdr_len};
	uint32_t size = rx->ring->region->pool[NM_POOL_BUF].size;
	uint32_t len = delivered_len(tx, rx, packet), slots, left = len;
	uint8_t hdr[NM_PORT_HDR_MAX] = {0};

	if (from.frag->len == from.offset)
		from = (struct vale_cursor){from.frag + 1, 0};
	memcpy(hdr, tx->batch->frags[packet->first].buf, tx->hdr_len);
	if (rx->hdr_len == 0 && ((hdr[VNET_FLAGS] & VNET_NEEDS_CSUM) || hdr[VNET_GSO_TYPE]))
		return NM_DROP_OFFLOAD;
	if (size > UINT16_MAX)
		size = UINT16_MAX; /* what the len of a slot can say */
	slots = (len + size - 1) / size;
	if (slots > NETMAP_MAX_FRAGS)
		return NM_DROP_FRAGMENTS;
	if (!have_room(rx, slots))
		return NM_DROP_RX_FULL;
	if (!slots_usable(rx, slots))
		return NM_DROP_BAD_BUFFER;
	for (uint32_t i = 0; i < slots; i++) {
		uint32_t skip = i == 0 ? rx->hdr_len : 0;
		uint32_t n = left < size ? left : size;
		char *dst = rx_buffer(rx->ring, rx->at);

		if (!dst) /* changed by the receiver in this very moment: its packet is torn */
			return NM_DROP_BAD_BUFFER;
		memcpy(dst, hdr, skip);
		copy_stream(dst + skip, &from, n - skip);
		fill_slot(rx->ring, rx->at, n,
			slots << NS_PORT_SHIFT | (i + 1 < slots ? NS_MOREFRAG : 0));
		rx->at = nm_ring_advance(rx->at, 1, rx->ring->num_slots);
		rx->room--;
		left -= n;
	}
	return NM_DROPS;
}

static void deliver_packet(struct vale_tx *tx, struct vale_rx *rx, const struct vale_packet *packet)
{
	const struct vale_frag *frag = &tx->batch->frags[packet->first];
	uint32_t at = rx->at, room = rx->room;
	enum nm_drop cause;

	if (likely(packet->frags == 1 && rx->hdr_len == tx->hdr_len &&
		    frag->len <= rx->ring->region->pool[NM_POOL_BUF].size)) {
		cause = deliver_plain(rx, frag);
	} else {
		cause = deliver_stream(tx, rx, packet);
		if (cause == NM_DROP_BAD_BUFFER) {
			rx->at = at; /* nothing of it is published */
			rx->room = room;
		}
	}
	if (unlikely(cause != NM_DROPS)) {
		count_drop(tx->ring, cause);
		count_drop(rx->ring, cause);
		return;
	}
	rx->ring->stats.packets++;
	rx->ring->stats.bytes += delivered_len(tx, rx, packet);
}

static uint8_t take_first(const struct vale_batch *batch, uint8_t *chain_at)
{
	uint8_t packet = *chain_at;

	*chain_at = batch->packets[packet].next;
	return packet;
}

/* Delivers two chains (for this port, for all ports) in the order of their packets. */
static void deliver(struct vale_tx *tx, struct nm_port *port, uint8_t mine, uint8_t all)
{
	struct nm_ring *ring = &port->rings[NM_RX][tx->ring->id % port->num_rings[NM_RX]];
	struct vale_rx rx = {.ring = ring, .hdr_len = port->hdr_len};
	uint32_t start;

	os_spin_lock(&ring->produce.lock);
	start = rx.at = ring->produce.hwtail;
	rx.room = ring->num_slots - 1 -
		  nm_ring_distance(ring->produce.hwcur_seen, rx.at, ring->num_slots);
	while (mine != VALE_END || all != VALE_END) {
		/* VALE_END is larger than any number: the other chain goes on. */
		uint8_t packet = take_first(tx->batch, mine < all ? &mine : &all);

		tx->ring->stats.copies++;
		if (unlikely(OS_LOAD(&ring->users) == 0)) {
			count_drop(tx->ring, NM_DROP_NO_RECEIVER);
			count_drop(ring, NM_DROP_NO_RECEIVER);
			continue;
		}
		os_prefetch(&ring->slots[nm_ring_advance(rx.at, PREFETCH_AHEAD, ring->num_slots)]);
		deliver_packet(tx, &rx, &tx->batch->packets[packet]);
	}
	OS_STORE_RELEASE(&ring->produce.hwtail, rx.at);
	os_spin_unlock(&ring->produce.lock);
	if (rx.at != start)
		os_wakeup_signal(&ring->wakeup);
}

static void deliver_to_all(struct vale_tx *tx)
{
	struct vale_batch *batch = tx->batch;
	const struct nm_vale *vale = tx->vale;
	uint8_t all = batch->chains[VALE_TO_ALL].first;

	if (vale->num_active < 2)
		for (uint8_t i = all; i != VALE_END; i = batch->packets[i].next)
			count_drop(tx->ring, NM_DROP_NO_RECEIVER);
	for (uint32_t i = 0; i < vale->num_active; i++) {
		uint8_t to = vale->active[i];

		if (to == tx->number)
			continue;
		deliver(tx, vale->ports[to], batch->chains[to].first, all);
		batch->chains[to].first = VALE_END;
	}
	batch->chains[VALE_TO_ALL].first = VALE_END;
}

static void forward(struct vale_tx *tx)
{
	struct vale_batch *batch = tx->batch;

	classify(tx);
	if (unlikely(batch->chains[VALE_TO_ALL].first != VALE_END))
		deliver_to_all(tx);
	for (uint32_t i = 0; i < batch->num_touched; i++) {
		struct vale_chain *c = &batch->chains[batch->touched[i]];

		if (c->first != VALE_END)
			deliver(tx, tx->vale->ports[batch->touched[i]], c->first, VALE_END);
		c->first = VALE_END;
	}
}

/* ---- the two syncs ------------------------------------------------------------------- */

/*
 * One batch from slots at..head; returns the first slot that was not taken. The lock is held for
 * a batch, not for a sync: a port that comes or goes waits for its writer's turn, and a sync of
 * large rings to many ports can take long.
 */
static uint32_t forward_batch(struct vale_tx *tx, uint32_t at)
{
	os_read_lock(&tx->vale->lock);
	tx->hdr_len = tx->ring->port->hdr_len;
	at = collect(tx, at);
	if (tx->batch->num_packets > 0)
		forward(tx);
	os_read_unlock(&tx->vale->lock);
	return at;
}

int nm_vale_txsync(struct nm_ring *ring)
{
	struct nm_vale_port *vp = ring->port->priv;
	struct vale_tx tx = {
		.ring = ring,
		.vale = vp->vale,
		.batch = ring->priv,
		.number = vp->number,
	};
	uint32_t at = ring->hwcur;

	if (at == ring->head)
		return 0;
	tx.epoch = nm_mac_epoch(os_time_s());
	at = skip_dropped(ring, at);
	while (at != ring->head) {
		uint32_t from = at;

		at = forward_batch(&tx, at);
		if (at == from)
			break; /* an unfinished packet */
	}
	ring->hwcur = at;
	/* Copies are done: every slot but one is the application's again. */
	ring->tail = at == 0 ? ring->num_slots - 1 : at - 1;
	ring->produce.hwtail = ring->tail;
	return 0;
}

int nm_vale_rxsync(struct nm_ring *ring)
{
	OS_STORE_RELEASE(&ring->hwcur, ring->head);
	ring->tail = OS_LOAD_ACQUIRE(&ring->produce.hwtail);
	return 0;
}
