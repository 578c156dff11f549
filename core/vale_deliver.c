/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The delivering end of a VALE switch: packets of a batch into one ring, under its lock.
 *
 *      plain    equal headers, and it fits one slot: copied as it is
 *      stream   smaller buffers, offsets, unequal headers: laid out anew
 *      finish   the receiver has no virtio-net header and the packet wants an offload: its
 *               checksum is completed, or it becomes many (offload.h)
 *
 * Nothing is seen by the receiver before hwtail moves, behind the last packet of the batch. So a
 * packet that fails half-way is taken back as a whole.
 */
#include "vale_internal.h"

enum {
	SLOTS_AHEAD = 8, /* of the receiver: prefetched … */
	BUFS_AHEAD = 3,  /* … and used, to prefetch a buffer */
};

/* One receiving ring while its lock is held. */
struct vale_rx {
	struct nm_ring *ring;
	struct netmap_slot *slots;
	char *bufs;
	uint32_t buf_size, buf_count;
	uint32_t num_slots;
	uint32_t hdr_len;
	uint32_t plain_max; /* longest packet for one slot; 0: each slot has to be looked at */
	uint32_t at;        /* next slot to fill */
	uint32_t room;      /* free slots */
	uint64_t packets, bytes;
};

static void refresh_room(struct vale_rx *rx)
{
	struct nm_ring *ring = rx->ring;

	ring->produce.hwcur_seen = OS_LOAD_ACQUIRE(&ring->hwcur);
	rx->room = rx->num_slots - 1 -
		   nm_ring_distance(ring->produce.hwcur_seen, rx->at, rx->num_slots);
}

static inline bool have_room(struct vale_rx *rx, uint32_t slots)
{
	if (unlikely(rx->room < slots))
		refresh_room(rx);
	return rx->room >= slots;
}

static inline bool buf_valid(const struct vale_rx *rx, uint32_t index)
{
	return index - NM_BUFS_RESERVED < rx->buf_count - NM_BUFS_RESERVED; /* mod 2^32 */
}

static inline char *buf_at(const struct vale_rx *rx, uint32_t index)
{
	return rx->bufs + (uint64_t)index * rx->buf_size;
}

/* len and flags of a slot, at once. */
static inline void fill_slot(struct netmap_slot *slot, uint32_t len, uint32_t flags)
{
	const struct {
		uint16_t len, flags;
	} both = {(uint16_t)len, (uint16_t)flags};
	uint32_t word;

	memcpy(&word, &both, sizeof(word));
	OS_STORE((uint32_t *)(void *)&slot->len, word);
}

static_assert(offsetof(struct netmap_slot, len) == 4 && offsetof(struct netmap_slot, flags) == 6,
	"len and flags are stored at once");

/* ---- plain ---------------------------------------------------------------------------- */

/*
 * One fragment. A short one costs a few plain moves instead of a call:
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

static inline void prefetch_ahead(const struct vale_rx *rx)
{
	uint32_t index =
		OS_LOAD(&rx->slots[nm_ring_advance(rx->at, BUFS_AHEAD, rx->num_slots)].buf_idx);

	os_prefetch(&rx->slots[nm_ring_advance(rx->at, SLOTS_AHEAD, rx->num_slots)]);
	if (likely(buf_valid(rx, index)))
		os_prefetch(buf_at(rx, index));
}

/* Equal headers, and a buffer that takes all of it: nearly all traffic, and nearly always of one
 * fragment. NM_DROPS when it was delivered. */
static inline enum nm_drop deliver_plain(
	struct vale_rx *rx, const struct nm_frag *frag, const struct vale_packet *packet)
{
	struct netmap_slot *slot = &rx->slots[rx->at];
	uint32_t index;
	char *to;

	if (unlikely(!have_room(rx, 1)))
		return NM_DROP_RX_FULL;
	index = OS_LOAD(&slot->buf_idx);
	if (unlikely(!buf_valid(rx, index)))
		return NM_DROP_BAD_BUFFER;
	to = buf_at(rx, index);
	copy_packet(to, frag->buf, frag->len);
	for (uint32_t i = 1; unlikely(i < packet->frags); i++) {
		to += frag->len;
		frag++;
		memcpy(to, frag->buf, frag->len);
	}
	fill_slot(slot, packet->len, 1 << NS_PORT_SHIFT);
	rx->at = nm_ring_advance(rx->at, 1, rx->num_slots);
	rx->room--;
	rx->packets++;
	rx->bytes += packet->len;
	return NM_DROPS;
}

/* ---- stream ----------------------------------------------------------------------------- */

/* Bytes that a slot without an offset takes: a slot's len has 16 bits. 0: none. */
static uint32_t slot_bytes(const struct vale_rx *rx)
{
	uint64_t gap = rx->ring->offset_mask ? rx->ring->port->offsets.gap : 0;
	uint64_t bytes = gap < rx->buf_size ? rx->buf_size - gap : 0;

	return bytes < UINT16_MAX ? (uint32_t)bytes : UINT16_MAX;
}

/* Can `frames` frames be had that fill `slots` slots in all, `each` of them at most in one? */
static enum nm_drop check_room(struct vale_rx *rx, uint64_t slots, uint32_t each)
{
	if (each > NETMAP_MAX_FRAGS)
		return NM_DROP_FRAGMENTS;
	if (slots > rx->num_slots - 1)
		return NM_DROP_TOO_LONG;
	return have_room(rx, (uint32_t)slots) ? NM_DROPS : NM_DROP_RX_FULL;
}

/*
 * Buffers for a frame of len bytes, from rx->at on: each slot is loaded once, and checked. How many
 * slots that takes is known when the last is found, since the receiver chooses the offsets.
 */
static enum nm_drop gather(
	struct vale_rx *rx, uint32_t len, struct nm_piece *pieces, uint32_t *slots)
{
	uint32_t n;

	for (n = 0; len > 0; n++) {
		struct netmap_slot *slot;
		uint64_t offset, room;
		uint32_t index;

		if (n == NETMAP_MAX_FRAGS)
			return NM_DROP_FRAGMENTS;
		if (!have_room(rx, n + 1))
			return NM_DROP_RX_FULL;
		slot = &rx->slots[nm_ring_advance(rx->at, n, rx->num_slots)];
		index = OS_LOAD(&slot->buf_idx);
		if (!buf_valid(rx, index))
			return NM_DROP_BAD_BUFFER;
		offset = nm_slot_offset(rx->ring, slot);
		room = rx->ring->offset_mask ? rx->ring->port->offsets.gap : 0;
		if (room >= rx->buf_size || offset >= rx->buf_size - room)
			return NM_DROP_BAD_OFFSET;
		room = rx->buf_size - room - offset;
		if (room > UINT16_MAX)
			room = UINT16_MAX;
		pieces[n].buf = buf_at(rx, index) + offset;
		pieces[n].len = len < room ? len : (uint32_t)room;
		len -= pieces[n].len;
	}
	*slots = n;
	return NM_DROPS;
}

static enum nm_drop deliver_frame(
	struct vale_tx *tx, struct vale_rx *rx, const struct nm_frame *frame, struct nm_cursor from)
{
	struct nm_piece *pieces = tx->batch->pieces;
	uint32_t len = frame->head_len + frame->len, slots;
	enum nm_drop cause = gather(rx, len, pieces, &slots);

	if (cause != NM_DROPS)
		return cause;
	nm_frame_write(frame, from, pieces);
	for (uint32_t i = 0; i < slots; i++) {
		fill_slot(&rx->slots[rx->at], pieces[i].len,
			slots << NS_PORT_SHIFT | (i + 1 < slots ? NS_MOREFRAG : 0));
		rx->at = nm_ring_advance(rx->at, 1, rx->num_slots);
	}
	rx->room -= slots;
	rx->packets++;
	rx->bytes += len;
	return NM_DROPS;
}

/* ---- finish ----------------------------------------------------------------------------- */

/* The packet behind a virtio-net header that a receiver without one can't see. */
static enum nm_drop deliver_finished(struct vale_tx *tx, struct vale_rx *rx,
	const struct nm_vnet_hdr *vnet, struct nm_cursor from, uint32_t len)
{
	struct nm_offload *o = &tx->batch->offload;
	uint32_t bytes = slot_bytes(rx), each, last;
	struct nm_frame frame;
	enum nm_drop cause = nm_offload_plan(o, vnet, from, len, tx->batch->ident++);

	if (cause != NM_DROPS)
		return cause;
	if (bytes == 0)
		return NM_DROP_BAD_OFFSET;
	each = (nm_offload_longest(o) + bytes - 1) / bytes;
	last = (nm_offload_last(o) + bytes - 1) / bytes;
	cause = check_room(rx, (uint64_t)(o->segments - 1) * each + last, each);
	for (uint32_t i = 0; i < o->segments && cause == NM_DROPS; i++) {
		nm_offload_segment(o, i, &frame);
		cause = deliver_frame(tx, rx, &frame, from);
	}
	return cause;
}

static enum nm_drop deliver_stream(
	struct vale_tx *tx, struct vale_rx *rx, const struct vale_packet *packet)
{
	struct nm_cursor from = {&tx->batch->frags[packet->first], 0};
	uint8_t hdr[NM_PORT_HDR_MAX] = {0};
	struct nm_frame frame = {
		.head = hdr,
		.head_len = rx->hdr_len,
		.len = packet->len - tx->hdr_len,
	};
	uint32_t bytes = slot_bytes(rx), slots;
	struct nm_vnet_hdr vnet;
	enum nm_drop cause;

	nm_cursor_copy(&from, hdr, tx->hdr_len);
	if (rx->hdr_len == 0 && tx->hdr_len != 0) {
		memcpy(&vnet, hdr, sizeof(vnet));
		if ((vnet.flags & NM_VNET_NEEDS_CSUM) || vnet.gso_type != NM_VNET_GSO_NONE)
			return deliver_finished(tx, rx, &vnet, from, frame.len);
	}
	if (bytes == 0)
		return NM_DROP_BAD_OFFSET;
	slots = (frame.head_len + frame.len + bytes - 1) / bytes;
	cause = check_room(rx, slots, slots);
	return cause == NM_DROPS ? deliver_frame(tx, rx, &frame, from) : cause;
}

static_assert(sizeof(struct nm_vnet_hdr) <= NM_PORT_HDR_MAX, "it is read from the port's header");

/* ---- a ring's share of a batch ------------------------------------------------------------- */

static void count_refusal(struct vale_tx *tx, struct vale_rx *rx, enum nm_drop cause)
{
	nm_vale_count_drop(tx->ring, cause);
	nm_vale_count_drop(rx->ring, cause);
}

static void deliver_any(struct vale_tx *tx, struct vale_rx *rx, const struct vale_packet *packet)
{
	const struct vale_rx before = *rx;
	enum nm_drop cause = deliver_stream(tx, rx, packet);

	if (cause == NM_DROPS) {
		/* What became many packets was as many copies. */
		tx->ring->stats.copies += rx->packets - before.packets - 1;
		return;
	}
	*rx = before;
	count_refusal(tx, rx, cause);
}

static inline void deliver_packet(
	struct vale_tx *tx, struct vale_rx *rx, const struct vale_packet *packet)
{
	const struct nm_frag *frag = &tx->batch->frags[packet->first];
	enum nm_drop cause;

	if (unlikely(packet->len > rx->plain_max)) {
		deliver_any(tx, rx, packet);
		return;
	}
	cause = deliver_plain(rx, frag, packet);
	if (unlikely(cause != NM_DROPS))
		count_refusal(tx, rx, cause);
}

static void begin(struct vale_rx *rx, const struct vale_tx *tx, const struct nm_port *port)
{
	struct nm_ring *ring = rx->ring;
	const struct nm_pool_geometry *pool = &ring->region->pool[NM_POOL_BUF];

	rx->slots = ring->slots;
	rx->num_slots = ring->num_slots;
	rx->bufs = ring->region->base + pool->offset;
	rx->buf_size = pool->size;
	rx->buf_count = pool->count;
	rx->hdr_len = port->hdr_len;
	rx->plain_max = 0;
	if (rx->hdr_len == tx->hdr_len && ring->offset_mask == 0)
		rx->plain_max = pool->size < UINT16_MAX ? pool->size : UINT16_MAX;
	rx->at = ring->produce.hwtail;
	rx->room = rx->num_slots - 1 -
		   nm_ring_distance(ring->produce.hwcur_seen, rx->at, rx->num_slots);
	rx->packets = rx->bytes = 0;
}

/* VALE_END is larger than any number: when a chain has ended the other goes on. */
static inline const struct vale_packet *take_first(
	const struct vale_batch *batch, uint8_t *mine, uint8_t *all)
{
	uint8_t *from = *mine < *all ? mine : all;
	const struct vale_packet *packet = &batch->packets[*from];

	*from = packet->next;
	return packet;
}

static void refuse_all(struct vale_tx *tx, struct vale_rx *rx, uint8_t mine, uint8_t all)
{
	while (mine != VALE_END || all != VALE_END) {
		(void)take_first(tx->batch, &mine, &all);
		tx->ring->stats.copies++;
		count_refusal(tx, rx, NM_DROP_NO_RECEIVER);
	}
}

void nm_vale_deliver(struct vale_tx *tx, struct nm_port *port, uint8_t mine, uint8_t all)
{
	struct nm_ring *ring = &port->rings[NM_RX][tx->ring->id % port->num_rings[NM_RX]];
	struct vale_rx rx = {.ring = ring};
	uint64_t copies = 0;

	os_spin_lock(&ring->produce.lock);
	if (unlikely(OS_LOAD(&ring->users) == 0)) {
		refuse_all(tx, &rx, mine, all);
		os_spin_unlock(&ring->produce.lock);
		return;
	}
	begin(&rx, tx, port);
	while (mine != VALE_END || all != VALE_END) {
		prefetch_ahead(&rx);
		deliver_packet(tx, &rx, take_first(tx->batch, &mine, &all));
		copies++;
	}
	tx->ring->stats.copies += copies;
	ring->stats.packets += rx.packets;
	ring->stats.bytes += rx.bytes;
	OS_STORE_RELEASE(&ring->produce.hwtail, rx.at);
	os_spin_unlock(&ring->produce.lock);
	if (rx.packets > 0)
		os_wakeup_signal(&ring->wakeup);
}
