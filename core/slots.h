/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slots.h - packets as chains of slots: the only code that walks and fills them.
 *
 * A packet is one slot of a ring, or several in a row; all but the last have NS_MOREFRAG. The slots
 * lie in memory that others can write at any moment. So each is loaded once, the copy is checked,
 * and what was checked is used: no walk is longer than the ring, no byte outside the buffers is
 * ever named.
 *
 *      |<--- dropped --->|<-- packet -->|<-- packet -->|<- its end is not published ->|
 *      at                                                                             end
 *
 * Consumer: what an application (or another producer) has published, slots at .. end - 1.
 *
 *      nm_slots_init_ring(&slots, ring, 0);
 *      while (nm_pkt_next(&slots, &at, end, &pkt) != NM_PKT_PARTIAL) {
 *              if (pkt.cause != NM_DROPS) count it;
 *              else if (!take(pkt.frags, pkt.slots)) break;    no room: the packet stays
 *              at = pkt.next;
 *      }
 *
 *      PARTIAL    no whole packet is there; an unfinished one waits for its end
 *      WHOLE      pkt.frags are the packet
 *      DROP       pkt.cause says why: the first of its slots that is bad, or too many fragments.
 *                 A chain that can never end well, longer than NETMAP_MAX_FRAGS slots or filling
 *                 the ring, is dropped as far as it is there. `dropping` stays set, and the next
 *                 call passes over the rest
 *
 * Port kinds that have a fast path for packets of one slot in front of this call nm_slots_skip() first.
 *
 * Producer of an rx ring, under produce.lock or as the only one:
 *
 *      nm_rxq_begin(&q, ring);
 *      for each packet: cause = nm_rxq_reserve(&q, bytes, pieces, &count);
 *              NM_DROPS: write into the pieces, nm_rxq_commit(&q, pieces, count, 0)
 *      nm_rxq_publish(&q);
 *
 * The receiver sees nothing before it is published: what was reserved and not committed is as if
 * it had not been.
 *
 * Thread safety: a struct nm_slots and what it points to (dropping) belong to the thread that syncs the
 * ring, a struct nm_rxq to the holder of produce.lock. The slots may change under their hands.
 */
#ifndef CORE_SLOTS_H
#define CORE_SLOTS_H

#include "frame.h"
#include "os.h"
#include "port.h"
#include "region.h"
#include "ring.h"

/* ---- slots ------------------------------------------------------------------------------- */

/* The slots of a ring, and the buffers that they may show. All private but the slots. */
struct nm_slots {
	struct netmap_slot *slots;
	char *bufs; /* buffer 0 */
	uint32_t num_slots;
	uint32_t buf_size, buf_count; /* bytes that a packet can have of a buffer; buffers */
	uint32_t stride;              /* bytes from one buffer to the next */
	uint32_t plain;               /* a slot of fewer bytes needs no closer look; 0: each does */
	bool sent;                    /* a tx ring: NS_INDIRECT says something */
	uint64_t offset_mask;         /* of slot.ptr; 0: packets begin where their buffer begins */
	uint64_t gap;       /* bytes of a buffer that stay free behind the data of a packet */
	uint32_t *dropping; /* not 0: inside a packet that is being dropped */
};

/* Slots in a region. Whoever dislikes NS_INDIRECT sets `sent`. */
static inline void nm_slots_init(struct nm_slots *s, const struct nm_region *region,
	struct netmap_slot *slots, uint32_t num_slots, uint64_t offset_mask, uint64_t gap,
	uint32_t *dropping)
{
	const struct nm_pool_geometry *pool = &region->pool[NM_POOL_BUF];

	s->slots = slots;
	s->bufs = region->base + pool->offset;
	s->num_slots = num_slots;
	s->buf_size = region->buf_room;
	s->buf_count = pool->count;
	s->stride = pool->size;
	s->plain = offset_mask == 0 && gap <= s->buf_size ? (uint32_t)(s->buf_size - gap + 1) : 0;
	s->sent = false;
	s->offset_mask = offset_mask;
	s->gap = gap;
	s->dropping = dropping;
}

/* Those of a ring; the gap is that of the port, when it is filled, or of who will get its buffers. */
static inline void nm_slots_init_ring(struct nm_slots *s, struct nm_ring *ring, uint64_t gap)
{
	nm_slots_init(s, ring->region, ring->slots, ring->num_slots, ring->offset_mask, gap,
		&ring->dropping);
	s->sent = ring->dir == NM_TX;
}

static inline bool nm_slots_buf_valid(const struct nm_slots *s, uint32_t index)
{
	return index - NM_BUFS_RESERVED < s->buf_count - NM_BUFS_RESERVED; /* mod 2^32 */
}

static inline char *nm_slots_buf(const struct nm_slots *s, uint32_t index)
{
	return s->bufs + (uint64_t)index * s->stride;
}

/* Where the packet begins in the buffer of slot i: any value. One load; without offsets none. */
static inline uint64_t nm_slots_offset(const struct nm_slots *s, uint32_t i)
{
	return likely(s->offset_mask == 0) ? 0 : OS_LOAD(&s->slots[i].ptr) & s->offset_mask;
}

/* Nearly all slots are: nm_slots_check() would find nothing, and there is no offset. */
static inline bool nm_slots_plain(const struct nm_slots *s, struct nm_slot_copy slot)
{
	return likely(!(slot.flags & NS_INDIRECT)) && likely(nm_slots_buf_valid(s, slot.buf_idx)) &&
	       likely(slot.len < s->plain);
}

/* NM_DROPS when the part of a packet that a slot shows, `offset` bytes into its buffer, lies in a
 * buffer with the gap behind it; else what is wrong. */
static inline enum nm_drop nm_slots_check(
	const struct nm_slots *s, struct nm_slot_copy slot, uint64_t offset)
{
	if (unlikely(slot.flags & NS_INDIRECT) && s->sent)
		return NM_DROP_INDIRECT;
	if (unlikely(!nm_slots_buf_valid(s, slot.buf_idx)))
		return NM_DROP_BAD_BUFFER;
	if (unlikely(slot.len > s->buf_size))
		return NM_DROP_BAD_LENGTH;
	if (unlikely(offset > s->buf_size - slot.len))
		return NM_DROP_BAD_OFFSET;
	if (unlikely(s->gap > s->buf_size - slot.len - offset))
		return NM_DROP_TOO_LONG;
	return NM_DROPS;
}

/* Flags of slot i of a packet of `slots` slots in an rx ring. */
static inline uint16_t nm_slots_flags(uint32_t slots, uint32_t i)
{
	return (uint16_t)(slots << NS_PORT_SHIFT | (i + 1 < slots ? NS_MOREFRAG : 0));
}

/* Stores len and flags of a slot, at once. */
static inline void nm_slot_fill(struct netmap_slot *slot, uint32_t len, uint32_t flags)
{
	const struct {
		uint16_t len, flags;
	} both = {(uint16_t)len, (uint16_t)flags};
	uint32_t word;

	memcpy(&word, &both, sizeof(word));
	OS_STORE((uint32_t *)(void *)&slot->len, word);
}

/* Stores buf_idx, len and flags of a slot, at once. */
static inline void nm_slot_store(
	struct netmap_slot *slot, uint32_t buf_idx, uint32_t len, uint32_t flags)
{
	OS_STORE((uint64_t *)(void *)slot, nm_slot_word(buf_idx, len, flags));
}

/* The buffer of a slot of an rx ring will be written to before long. */
static inline void nm_slots_ask(const struct nm_slots *s, const struct netmap_slot *slot)
{
	uint32_t index = OS_LOAD(&slot->buf_idx);

	if (likely(nm_slots_buf_valid(s, index)))
		os_prefetch_write(nm_slots_buf(s, index));
}

/*
 * Bytes of a packet that fits one slot, into a buffer. A short one costs a few plain moves instead of a call:
 * blocks of constant size, the last of which overlaps the one before. Not a byte more than len is
 * copied: what else lies in the sender's buffer is none of the receiver's business. Both may be the same
 * buffer, whose content is anything then.
 */
static inline void nm_packet_copy(char *dst, const char *src, uint32_t len)
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

/* Loads the buffers of `count` slots from `at` on, each once, for an exchange. False: one is none. */
bool nm_slots_buffers(const struct nm_slots *s, uint32_t at, uint32_t count, uint32_t *buf_idx);

/* ---- consumer ---------------------------------------------------------------------------- */

enum nm_pkt_state { NM_PKT_PARTIAL, NM_PKT_WHOLE, NM_PKT_DROP };

/* A packet: private copies of its slots. */
struct nm_pkt {
	/* The caller's: room for NETMAP_MAX_FRAGS; one per slot when whole */
	struct nm_frag *frags;
	uint32_t first, next; /* its first slot, and the slot behind it */
	uint32_t slots, bytes;
	uint16_t first_flags; /* of its first slot */
	uint16_t any_flags;   /* of one of its slots at least */
	enum nm_drop cause;   /* NM_DROPS: it is good */
};

/* Of nm_slots_skip(). */
uint32_t nm_slots_skip_rest(const struct nm_slots *s, uint32_t at, uint32_t end);

/* The next packet of slots *at .. end - 1. *at is moved behind the rest of a dropped packet, but not
 * behind the packet that is found. */
enum nm_pkt_state nm_pkt_next(
	const struct nm_slots *s, uint32_t *at, uint32_t end, struct nm_pkt *pkt);

/*
 * The next packet with NS_FORWARD in its first slot (the flag is cleared) of slots *at .. end - 1,
 * which an application gives back. The end of these slots ends a packet: the rest of one that is
 * given back in the middle is of no use, so it is a drop. False: there is none. Does not use
 * `dropping`.
 */
bool nm_pkt_next_forward(const struct nm_slots *s, uint32_t *at, uint32_t end, struct nm_pkt *pkt);

/* The slot behind the rest of a packet that is being dropped, as far as it is there. */
static inline uint32_t nm_slots_skip(const struct nm_slots *s, uint32_t at, uint32_t end)
{
	return likely(!*s->dropping) ? at : nm_slots_skip_rest(s, at, end);
}

/* The slot behind the last whole packet, however bad, of slots at .. end - 1: what follows it is the
 * beginning of one that is not finished. */
uint32_t nm_slots_whole(const struct nm_slots *s, uint32_t at, uint32_t end);

/* The txsync of a port that only receives: what is sent there is counted, packet by packet, and gone. */
int nm_ring_drop_sent(struct nm_ring *ring);

/* How far into its buffer a fragment or piece begins, bytes. */
static inline uint64_t nm_slots_offset_of(
	const struct nm_slots *s, const char *buf, uint32_t buf_idx)
{
	return (uint64_t)(buf - nm_slots_buf(s, buf_idx));
}

/* ---- producer ---------------------------------------------------------------------------- */

/* This thread is the only producer of the ring, and needs no lock: for the analysis of locks. */
static inline void nm_rxq_alone(const struct nm_ring *ring) OS_ASSERTS_HELD(NM_PRODUCE_LOCK)
{
	(void)ring;
}

/* An rx ring in the hands of a producer. */
struct nm_rxq {
	struct nm_slots slots;
	struct nm_ring *ring;
	uint32_t at;     /* next slot to fill; hwtail once it is published */
	uint32_t room;   /* free slots from there on, as far as known */
	uint32_t looked; /* the receiver was looked at when `at` was this; num_slots: not yet */
	uint64_t packets, bytes; /* committed, not published */
};

/* Free slots, without another look at the receiver. */
static inline uint32_t nm_rxq_known_room(const struct nm_rxq *q) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	return nm_ring_room(q->ring, q->at);
}

static inline void nm_rxq_begin(struct nm_rxq *q, struct nm_ring *ring) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	nm_slots_init_ring(&q->slots, ring, ring->port->offsets.gap);
	q->ring = ring;
	q->at = ring->produce.hwtail;
	q->room = nm_rxq_known_room(q);
	q->looked = ring->num_slots;
	q->packets = q->bytes = 0;
}

/* How far is the receiver now? */
void nm_rxq_look(struct nm_rxq *q) OS_REQUIRES(NM_PRODUCE_LOCK);

/* The same, but not a second time before something has been committed: the receiver's index is in
 * its own CPU's cache, so one that is full is asked once for all packets that it refuses. */
void nm_rxq_look_once(struct nm_rxq *q) OS_REQUIRES(NM_PRODUCE_LOCK);

static inline bool nm_rxq_has_room(struct nm_rxq *q, uint32_t slots) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	if (unlikely(q->room < slots))
		nm_rxq_look_once(q);
	return q->room >= slots;
}

/* Bytes that a slot without an offset takes: a slot's len has 16 bits. 0: none. */
static inline uint32_t nm_rxq_slot_bytes(const struct nm_rxq *q)
{
	uint64_t bytes = q->slots.gap < q->slots.buf_size ? q->slots.buf_size - q->slots.gap : 0;

	return bytes < UINT16_MAX ? (uint32_t)bytes : UINT16_MAX;
}

/* Can packets that fill `slots` slots in all, `each` of them at most in one, be had? NM_DROPS, or
 * FRAGMENTS, TOO_LONG (more than the ring has), RX_FULL. */
static inline enum nm_drop nm_rxq_check(struct nm_rxq *q, uint64_t slots, uint32_t each)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	if (each > NETMAP_MAX_FRAGS)
		return NM_DROP_FRAGMENTS;
	if (slots > q->slots.num_slots - 1)
		return NM_DROP_TOO_LONG;
	return nm_rxq_has_room(q, (uint32_t)slots) ? NM_DROPS : NM_DROP_RX_FULL;
}

/* The n-th free slot as its application left it: its buffer, and in piece->len the bytes that it takes.
 * NM_DROPS, or BAD_BUFFER, BAD_OFFSET. n is less than the room. */
static inline enum nm_drop nm_rxq_piece(const struct nm_rxq *q, uint32_t n, struct nm_piece *piece)
{
	const struct nm_slots *s = &q->slots;
	uint32_t i = nm_ring_advance(q->at, n, s->num_slots);
	uint32_t index = OS_LOAD(&s->slots[i].buf_idx);
	uint64_t offset = nm_slots_offset(s, i), room;

	if (unlikely(!nm_slots_buf_valid(s, index)))
		return NM_DROP_BAD_BUFFER;
	if (unlikely(s->gap >= s->buf_size || offset >= s->buf_size - s->gap))
		return NM_DROP_BAD_OFFSET;
	room = s->buf_size - s->gap - offset;
	piece->buf = nm_slots_buf(s, index) + offset;
	piece->len = room < UINT16_MAX ? (uint32_t)room : UINT16_MAX;
	piece->buf_idx = index;
	return NM_DROPS;
}

/*
 * Room for a packet of `bytes` bytes: pieces[0 .. *count - 1], 1 to NETMAP_MAX_FRAGS, with the bytes
 * that are to be written into each. NM_DROPS, or why not: RX_FULL, FRAGMENTS, TOO_LONG, BAD_BUFFER,
 * BAD_OFFSET. reserve_some: for who doesn't know the length yet. The pieces have all the bytes that
 * they take (nm_pieces_trim, later); on failure *count of them are there as well, and the cause
 * says why they are no more.
 */
enum nm_drop nm_rxq_reserve(struct nm_rxq *q, uint32_t bytes, struct nm_piece *pieces,
	uint32_t *count) OS_REQUIRES(NM_PRODUCE_LOCK);
enum nm_drop nm_rxq_reserve_some(struct nm_rxq *q, uint32_t bytes, struct nm_piece *pieces,
	uint32_t *count) OS_REQUIRES(NM_PRODUCE_LOCK);

/* The packet lies in the pieces that were reserved last, piece->len bytes in each: so say the slots
 * now. Flags: more than those of the chain. */
void nm_rxq_commit(struct nm_rxq *q, const struct nm_piece *pieces, uint32_t count, uint16_t flags);

/* What was committed is the receiver's, and counted. */
static inline void nm_rxq_publish(struct nm_rxq *q) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_ring *ring = q->ring;

	os_assert(q->at < ring->num_slots);
	nm_count(&ring->stats.packets, q->packets);
	nm_count(&ring->stats.bytes, q->bytes);
	OS_STORE_RELEASE(&ring->produce.hwtail, q->at);
}

#endif
