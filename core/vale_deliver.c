/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The delivering end of a VALE switch: packets of a batch into one ring, under its lock.
 *
 *      plain    one fragment, equal headers, and it fits one slot: copied as it is
 *      stream   several fragments, smaller buffers, offsets, unequal headers: laid out anew
 *      finish   the receiver has no virtio-net header and the packet wants an offload: its
 *               checksum is completed, or it becomes many (offload.h)
 *
 * Nothing is seen by the receiver before hwtail moves, behind the last packet of the batch. So a
 * packet that fails half-way is taken back as a whole.
 */
#include "vale_internal.h"

enum {
	SLOTS_AHEAD = 16, /* of the receiver's ring: prefetched before they are looked at */
	BUFS_AHEAD = 8,   /* of the receiver's buffers, before they are filled */
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
	uint32_t room;      /* free slots, as far as known */
	uint32_t looked;    /* the receiver was looked at when `at` was this; num_slots: not yet */
	uint64_t packets, bytes;
};

static inline uint32_t known_room(const struct vale_rx *rx) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	return rx->num_slots - 1 -
	       nm_ring_distance(rx->ring->produce.hwcur_seen, rx->at, rx->num_slots);
}

/*
 * How far is the receiver now? Its index is in its own CPU's cache; so one that is full is asked once
 * for all packets that it refuses, and again only when something has been filled since.
 */
static void look_for_room(struct vale_rx *rx) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_ring *ring = rx->ring;

	if (rx->looked == rx->at)
		return;
	rx->looked = rx->at;
	ring->produce.hwcur_seen = OS_LOAD_ACQUIRE(&ring->hwcur);
	rx->room = known_room(rx);
}

static inline bool have_room(struct vale_rx *rx, uint32_t slots) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	if (unlikely(rx->room < slots))
		look_for_room(rx);
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

/*
 * Pairs packets with buffers, from rx->at on: each slot is loaded once. Returns how many of the
 * packets order[0..n) are plain and have a good buffer, to[].
 *
 * The receiver has slots and buffers in its cache, for it has read the packets before. Asking for
 * them in time, and for writing at once, makes a sixth more packets per second; asking for
 * reading made none.
 */
static uint32_t find_buffers(struct vale_rx *rx, const struct vale_packet *packets,
	const uint8_t *order, uint32_t n, char **to) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	uint32_t found, at = rx->at;

	if (rx->room < n)
		look_for_room(rx);
	if (n > rx->room)
		n = rx->room;
	for (found = 0; found < n; found++) {
		const struct vale_packet *packet = &packets[order[found]];
		uint32_t index = OS_LOAD(&rx->slots[at].buf_idx);

		os_prefetch_write(&rx->slots[nm_ring_advance(at, SLOTS_AHEAD, rx->num_slots)]);
		if (unlikely(packet->len > rx->plain_max || packet->frags != 1) ||
			unlikely(!buf_valid(rx, index)))
			break;
		to[found] = buf_at(rx, index);
		if (found < BUFS_AHEAD)
			os_prefetch_write(to[found]);
		at = nm_ring_advance(at, 1, rx->num_slots);
	}
	return found;
}

/*
 * Nearly all traffic: packets of one fragment, with equal headers, each into a buffer that takes all
 * of it. Returns how many of the packets order[0..n) were delivered; what stopped it is for
 * deliver_any() to find out.
 */
static uint32_t deliver_plain(struct vale_rx *rx, const struct vale_packet *packets,
	const uint8_t *order, uint32_t n) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	char *to[NM_VALE_BATCH];
	uint32_t found = find_buffers(rx, packets, order, n, to), at = rx->at;

	for (uint32_t i = 0; i < found; i++) {
		const struct vale_packet *packet = &packets[order[i]];

		if (i + BUFS_AHEAD < found)
			os_prefetch_write(to[i + BUFS_AHEAD]);
		copy_packet(to[i], packet->buf, packet->len);
		fill_slot(&rx->slots[at], packet->len, 1 << NS_PORT_SHIFT);
		rx->bytes += packet->len;
		at = nm_ring_advance(at, 1, rx->num_slots);
	}
	rx->at = at;
	rx->room -= found;
	rx->packets += found;
	return found;
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
	OS_REQUIRES(NM_PRODUCE_LOCK)
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
static enum nm_drop gather(struct vale_rx *rx, uint32_t len, struct nm_piece *pieces,
	uint32_t *slots) OS_REQUIRES(NM_PRODUCE_LOCK)
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

static enum nm_drop deliver_frame(struct vale_tx *tx, struct vale_rx *rx,
	const struct nm_frame *frame, struct nm_cursor from) OS_REQUIRES(NM_PRODUCE_LOCK)
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
	OS_REQUIRES(NM_PRODUCE_LOCK)
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

/* Any packet, of any number of fragments. */
static void deliver_any(struct vale_tx *tx, struct vale_rx *rx, const struct vale_packet *packet)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	const uint32_t at = rx->at;
	const uint64_t packets = rx->packets, bytes = rx->bytes;
	enum nm_drop cause = deliver_stream(tx, rx, packet);

	if (cause == NM_DROPS) {
		/* What became many packets was as many copies. */
		tx->ring->stats.copies += rx->packets - packets - 1;
		return;
	}
	rx->at = at;
	rx->room = known_room(rx);
	rx->packets = packets;
	rx->bytes = bytes;
	count_refusal(tx, rx, cause);
}

static void begin(struct vale_rx *rx, const struct vale_tx *tx, const struct nm_port *port)
	OS_REQUIRES(NM_PRODUCE_LOCK)
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
	rx->room = known_room(rx);
	rx->looked = rx->num_slots;
	rx->packets = rx->bytes = 0;
}

/* The packets of two chains in their order; how many. VALE_END is larger than any number: when a chain
 * has ended the other goes on. */
static uint32_t merge(const struct vale_packet *packets, uint8_t mine, uint8_t all, uint8_t *order)
{
	uint32_t n = 0;

	for (; all != VALE_END; n++) {
		uint8_t *from = mine < all ? &mine : &all;

		order[n] = *from;
		*from = packets[*from].next;
	}
	for (; mine != VALE_END; mine = packets[mine].next)
		order[n++] = mine;
	return n;
}

void nm_vale_deliver(struct vale_tx *tx, struct nm_port *port, uint8_t mine, uint8_t all)
{
	struct nm_ring *ring = &port->rings[NM_RX][tx->ring->id % port->num_rings[NM_RX]];
	const struct vale_packet *packets = tx->batch->packets;
	struct vale_rx rx = {.ring = ring};
	uint8_t order[NM_VALE_BATCH];
	uint32_t n = merge(packets, mine, all, order), i = 0;
	bool in_use;

	tx->ring->stats.copies += n;
	nm_produce_lock(ring);
	in_use = OS_LOAD(&ring->users) != 0;
	begin(&rx, tx, port);
	while (likely(in_use) && i < n) {
		i += deliver_plain(&rx, packets, order + i, n - i);
		if (unlikely(i < n))
			deliver_any(tx, &rx, &packets[order[i++]]);
	}
	for (; i < n; i++)
		count_refusal(tx, &rx, NM_DROP_NO_RECEIVER);
	ring->stats.packets += rx.packets;
	ring->stats.bytes += rx.bytes;
	OS_STORE_RELEASE(&ring->produce.hwtail, rx.at);
	nm_produce_unlock(ring);
	if (rx.packets > 0)
		os_wakeup_signal(&ring->wakeup);
}
