/* SPDX-License-Identifier: BSD-2-Clause */
/* core/slots.h: packets out of slots and into them, on rings that nobody else knows. */
#include "slots.h"

#include <pthread.h>
#include <stdlib.h>

#include "fixture.h"

enum { BUF_SIZE = 2048, BUFS = 400, GAP = 10, MASK = 0xffff };

static struct nm_region *region;
static struct nm_port port;
static struct nm_ring *ring;
static struct nm_slots slots;
static struct nm_frag frags[NETMAP_MAX_FRAGS];
static struct nm_pkt pkt = {.frags = frags};
static uint32_t at;

/* A ring of n slots, each with a buffer of its own (the first slot has number NM_BUFS_RESERVED). */
static void make_ring(enum nm_dir dir, uint32_t n)
{
	if (ring)
		free(ring->slots);
	os_free(ring);
	ring = os_zalloc(sizeof(*ring));
	assert_non_null(ring);
	port = (struct nm_port){.core = &core, .region = region};
	ring->port = &port;
	ring->region = region;
	ring->num_slots = n;
	ring->dir = (uint8_t)dir;
	ring->slots = calloc(n, sizeof(*ring->slots)); /* just as many: ASan sees the next */
	assert_non_null(ring->slots);
	for (uint32_t i = 0; i < n; i++)
		ring->slots[i].buf_idx = NM_BUFS_RESERVED + i % (BUFS - NM_BUFS_RESERVED);
	nm_slots_init_ring(&slots, ring, 0);
	at = 0;
}

static int begin(void **state)
{
	core_begin(state);
	region = make_region(&core, BUFS, BUF_SIZE, 64);
	make_ring(NM_TX, 16);
	return 0;
}

static int end(void **state)
{
	free(ring->slots);
	os_free(ring);
	ring = NULL;
	nm_region_put(region);
	return core_end(state);
}

static uint32_t behind(uint32_t i, uint32_t n)
{
	return (i + n) % ring->num_slots;
}

/* A chain of n slots of len bytes each from slot i on; its end may be missing. */
static void put_chain(uint32_t i, uint32_t n, uint16_t len, bool ends)
{
	for (uint32_t k = 0; k < n; k++) {
		struct netmap_slot *slot = &ring->slots[behind(i, k)];

		slot->len = len;
		slot->flags = k + 1 < n || !ends ? NS_MOREFRAG : 0;
	}
}

static const char *buf_of(uint32_t i)
{
	return (const char *)nm_region_buf(region, ring->slots[i].buf_idx);
}

/* The packet at `at`, that ends before `until`, is taken. */
static void take(uint32_t n, uint32_t len, uint32_t until)
{
	assert_int_equal(nm_pkt_next(&slots, &at, until, &pkt), NM_PKT_WHOLE);
	assert_int_equal(pkt.cause, NM_DROPS);
	assert_int_equal(pkt.first, at);
	assert_int_equal(pkt.slots, n);
	assert_int_equal(pkt.bytes, n * len);
	assert_int_equal(pkt.next, behind(at, n));
	for (uint32_t i = 0; i < n; i++) {
		assert_ptr_equal(frags[i].buf, buf_of(behind(at, i)));
		assert_int_equal(frags[i].len, len);
		assert_int_equal(frags[i].buf_idx, ring->slots[behind(at, i)].buf_idx);
	}
	at = pkt.next;
}

static void drop(enum nm_drop cause, uint32_t next, uint32_t until)
{
	assert_int_equal(nm_pkt_next(&slots, &at, until, &pkt), NM_PKT_DROP);
	assert_int_equal(pkt.cause, cause);
	assert_int_equal(pkt.next, next);
	at = pkt.next;
}

static void partial(uint32_t stays, uint32_t until)
{
	assert_int_equal(nm_pkt_next(&slots, &at, until, &pkt), NM_PKT_PARTIAL);
	assert_int_equal(at, stays);
}

/* ---- consumer ----------------------------------------------------------------------------- */

/* Every length of chain that fits, from every slot of rings of several sizes. */
static void whole_packets(void **state)
{
	static const uint32_t sizes[] = {2, 3, 16, 66, 200};

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		uint32_t most = sizes[k] - 1;

		make_ring(NM_TX, sizes[k]);
		for (uint32_t n = 1; n <= most && n <= NETMAP_MAX_FRAGS; n++) {
			for (uint32_t i = 0; i < sizes[k]; i++) {
				at = i;
				put_chain(i, n, 100, true);
				take(n, 100, behind(i, n));
				partial(behind(i, n), behind(i, n)); /* no slots at all */
			}
		}
	}
}

static void flags_of_a_packet(void **state)
{
	put_chain(0, 3, 10, true);
	ring->slots[0].flags |= 7 << NS_PORT_SHIFT;
	ring->slots[1].flags |= NS_NO_LEARN;
	take(3, 10, 3);
	assert_int_equal(pkt.first_flags, 7 << NS_PORT_SHIFT | NS_MOREFRAG);
	assert_int_equal(pkt.any_flags, 7 << NS_PORT_SHIFT | NS_MOREFRAG | NS_NO_LEARN);
	put_chain(3, 1, 0, true); /* nothing of the former is left */
	take(1, 0, 4);
	assert_int_equal(pkt.any_flags, 0);
}

/* Nothing is consumed until the end is there. */
static void unfinished_packets_wait(void **state)
{
	make_ring(NM_TX, 100);
	for (uint32_t n = 2; n <= NETMAP_MAX_FRAGS; n++) {
		at = 90;
		put_chain(at, n, 50, true);
		for (uint32_t there = 0; there < n; there++)
			partial(90, behind(90, there));
		assert_int_equal(nm_slots_whole(&slots, 90, behind(90, n - 1)), 90);
		assert_int_equal(nm_slots_whole(&slots, 90, behind(90, n)), behind(90, n));
		take(n, 50, behind(90, n));
	}
	assert_int_equal(ring->dropping, 0);
}

/* 64 slots pass, 65 don't, whether their end is there or not; the rest of a chain is passed over. */
static void chains_that_are_too_long(void **state)
{
	make_ring(NM_TX, 200);
	put_chain(0, 64, 1, true);
	put_chain(64, 65, 1, true);
	put_chain(129, 1, 1, true);
	take(64, 1, 130);
	drop(NM_DROP_FRAGMENTS, 129, 130);
	assert_int_equal(ring->dropping, 0);
	take(1, 1, 130);

	put_chain(0, 150, 1, true);
	put_chain(150, 1, 9, true);
	at = 0;
	partial(0, 64);
	drop(NM_DROP_FRAGMENTS, 65, 65);
	assert_int_equal(ring->dropping, 1);
	partial(70, 70);   /* goes on with it, counted once */
	partial(149, 149); /* up to the last slot but one */
	assert_int_equal(ring->dropping, 1);
	assert_int_equal(nm_slots_skip(&slots, 149, 149), 149);
	at = 149;
	assert_int_equal(nm_pkt_next(&slots, &at, 151, &pkt), NM_PKT_WHOLE);
	assert_int_equal(at, 150); /* behind the rest */
	assert_int_equal(ring->dropping, 0);
	take(1, 9, 151);
}

/* A packet may fill the ring; one that fills it and goes on never ends. */
static void chains_that_fill_the_ring(void **state)
{
	static const uint32_t sizes[] = {2, 3, 16, 65};

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		uint32_t n = sizes[k] - 1;

		make_ring(NM_TX, sizes[k]);
		at = n; /* it wraps */
		put_chain(n, n, 1, true);
		take(n, 1, behind(n, n));
		put_chain(at, n, 1, false);
		if (n > 1)
			partial(at, behind(at, n - 1));
		drop(NM_DROP_FRAGMENTS, behind(at, n), behind(at, n));
		assert_int_equal(ring->dropping, 1);
		put_chain(at, 1, 1, true);
		partial(behind(at, 1), behind(at, 1));
		assert_int_equal(ring->dropping, 0);
	}
}

struct bad_slot {
	uint32_t buf_idx;
	uint16_t len, flags;
	uint64_t ptr, gap;
	enum nm_drop cause;
};

/* A packet of n slots, one of them bad, another one behind that; and a packet behind them. */
static void bad_slot(const struct bad_slot *c, uint32_t n, uint32_t bad)
{
	struct netmap_slot *slot = &ring->slots[bad], old = *slot;

	at = 0;
	put_chain(0, n, 1, true);
	put_chain(n, 1, 77, true);
	slot->buf_idx = c->buf_idx;
	slot->len = c->len;
	slot->flags |= c->flags;
	slot->ptr = c->ptr;
	if (bad + 1 < n)
		ring->slots[bad + 1].len = BUF_SIZE + 1;
	if (c->cause != NM_DROPS)
		drop(c->cause, n, n + 1);
	else if (bad + 1 < n)
		drop(NM_DROP_BAD_LENGTH, n, n + 1);
	else
		assert_int_equal(nm_pkt_next(&slots, &at, n + 1, &pkt), NM_PKT_WHOLE);
	*slot = old;
	at = n;
	take(1, 77, n + 1);
}

/* One bad slot spoils its packet, wherever it stands, and no other; the first one gives the cause. */
static void bad_slots(void **state)
{
	static const struct bad_slot cases[] = {
		{2, BUF_SIZE, 0, 0, 0, NM_DROPS},
		{BUFS - 1, 1, 0, 0, 0, NM_DROPS},
		{0, 1, 0, 0, 0, NM_DROP_BAD_BUFFER},
		{1, 1, 0, 0, 0, NM_DROP_BAD_BUFFER},
		{BUFS, 1, 0, 0, 0, NM_DROP_BAD_BUFFER},
		{UINT32_MAX, 1, 0, 0, 0, NM_DROP_BAD_BUFFER},
		{2, BUF_SIZE + 1, 0, 0, 0, NM_DROP_BAD_LENGTH},
		{2, UINT16_MAX, 0, 0, 0, NM_DROP_BAD_LENGTH},
		{2, 1, NS_INDIRECT, 0, 0, NM_DROP_INDIRECT},
		{2, BUF_SIZE - 5, 0, 5, 0, NM_DROPS},
		{2, BUF_SIZE - 4, 0, 5, 0, NM_DROP_BAD_OFFSET},
		{2, 0, 0, BUF_SIZE, 0, NM_DROPS},
		{2, 0, 0, BUF_SIZE + 1, 0, NM_DROP_BAD_OFFSET},
		{2, 1, 0, MASK, 0, NM_DROP_BAD_OFFSET},
		{2, 1, 0, UINT64_MAX - MASK, 0, NM_DROPS}, /* bits that are no offset */
		{2, BUF_SIZE - GAP - 5, 0, 5, GAP, NM_DROPS},
		{2, BUF_SIZE - GAP - 4, 0, 5, GAP, NM_DROP_TOO_LONG},
	};

	make_ring(NM_TX, 32);
	for (size_t k = 0; k < 2 * sizeof(cases) / sizeof(cases[0]); k++) {
		ring->offset_mask = k & 1 ? MASK : 0;
		if (!(k & 1) && cases[k / 2].ptr != 0)
			continue;
		nm_slots_init_ring(&slots, ring, cases[k / 2].gap);
		for (uint32_t n = 1; n < 6; n++)
			for (uint32_t bad = 0; bad < n; bad++)
				bad_slot(&cases[k / 2], n, bad);
	}
	nm_slots_init_ring(&slots, ring, UINT64_MAX); /* nothing has such a gap */
	at = 0;
	drop(NM_DROP_TOO_LONG, 5, 5);
	assert_int_equal(ring->dropping, 0);
	/* On a rx ring the flag NS_INDIRECT says nothing. */
	make_ring(NM_RX, 4);
	ring->slots[0].flags = NS_INDIRECT;
	take(1, 0, 1);
}

static void an_offset_moves_the_packet(void **state)
{
	ring->offset_mask = MASK;
	nm_slots_init_ring(&slots, ring, 0);
	put_chain(0, 2, 10, true);
	ring->slots[1].ptr = ~(uint64_t)MASK | 100;
	assert_int_equal(nm_pkt_next(&slots, &at, 2, &pkt), NM_PKT_WHOLE);
	assert_ptr_equal(frags[0].buf, buf_of(0));
	assert_ptr_equal(frags[1].buf, buf_of(1) + 100);
	assert_int_equal(nm_slots_offset_of(&slots, frags[1].buf, frags[1].buf_idx), 100);
}

/* Packets that are given back with NS_FORWARD, each once, and half a one. */
static void forwarding(void **state)
{
	make_ring(NM_RX, 100);
	put_chain(0, 1, 1, true);
	put_chain(1, 2, 2, true);
	put_chain(3, 1, 3, true);
	put_chain(4, 70, 4, true);
	put_chain(74, 3, 5, false);
	ring->slots[1].flags |= NS_FORWARD;
	ring->slots[4].flags |= NS_FORWARD;
	ring->slots[74].flags |= NS_FORWARD;
	ring->dropping = 1; /* says nothing here, and stays */
	assert_true(nm_pkt_next_forward(&slots, &at, 77, &pkt));
	assert_int_equal(at, 1);
	assert_int_equal(pkt.cause, NM_DROPS);
	assert_int_equal(pkt.bytes, 4);
	at = pkt.next;
	assert_true(nm_pkt_next_forward(&slots, &at, 77, &pkt));
	assert_int_equal(pkt.cause, NM_DROP_FRAGMENTS);
	assert_int_equal(pkt.next, 74);
	at = pkt.next;
	assert_true(nm_pkt_next_forward(&slots, &at, 77, &pkt));
	assert_int_equal(pkt.cause, NM_DROP_FRAGMENTS);
	assert_int_equal(pkt.next, 77);
	at = 0;
	assert_false(nm_pkt_next_forward(&slots, &at, 77, &pkt)); /* the flags are gone */
	assert_int_equal(at, 77);
	assert_int_equal(ring->dropping, 1);
}

/* Any slots at all, published bit by bit: what is found lies in buffers, and all slots are consumed
 * in order, but for the beginning of one packet. */
static void any_slots(void **state)
{
	struct prng r = prng_new(1);
	uint32_t published = 0, found = 0;

	make_ring(NM_TX, 128);
	ring->offset_mask = UINT64_MAX;
	nm_slots_init_ring(&slots, ring, 0);
	for (int round = 0; round < 100000; round++) {
		uint32_t n = prng_below(&r, 20), room = 127 - (published + 128 - at) % 128;

		for (uint32_t i = 0; i < n && i < room; i++) {
			struct netmap_slot *slot = &ring->slots[published];

			slot->buf_idx = prng_chance(&r, 3) ? prng_edge32(&r, BUFS)
							   : prng_range(&r, 2, BUFS - 1);
			slot->len = (uint16_t)prng_edge32(&r, prng_chance(&r, 3) ? BUF_SIZE : 60);
			if (!prng_chance(&r, 10))
				slot->len %= BUF_SIZE;
			slot->flags =
				(uint16_t)prng_next(&r) & (prng_chance(&r, 2) ? 0xffff : 0xffef);
			if (prng_chance(&r, 40))
				slot->flags |= NS_MOREFRAG;
			slot->ptr = prng_chance(&r, 90) ? 0 : prng_edge64(&r, BUF_SIZE);
			published = behind(published, 1);
		}
		while (nm_pkt_next(&slots, &at, published, &pkt) != NM_PKT_PARTIAL) {
			uint32_t sum = 0;

			assert_int_equal(pkt.first, at);
			for (uint32_t i = 0; pkt.cause == NM_DROPS && i < pkt.slots; i++) {
				const char *buf = nm_region_buf(region, frags[i].buf_idx);

				assert_true(nm_region_buf_valid(region, frags[i].buf_idx));
				assert_true(frags[i].buf >= buf && frags[i].len <= BUF_SIZE);
				assert_true(frags[i].buf + frags[i].len <= buf + BUF_SIZE);
				sum += frags[i].len;
			}
			assert_true(pkt.cause != NM_DROPS || (pkt.slots <= 64 && sum == pkt.bytes));
			found += pkt.cause == NM_DROPS;
			at = pkt.next;
		}
		assert_true((published + 128 - at) % 128 <= NETMAP_MAX_FRAGS);
		assert_true(!ring->dropping || at == published);
	}
	assert_true(found > 1000);
}

/* ---- a second thread ------------------------------------------------------------------------ */

static uint32_t stop;

static void *rewrite(void *arg)
{
	struct prng r = prng_new(2);

	while (!OS_LOAD(&stop)) {
		uint64_t word = (uint64_t)prng_next(&r) << 48 |
				(uint64_t)prng_edge32(&r, BUF_SIZE) % 65536 << 32 |
				prng_edge32(&r, BUFS);
		struct netmap_slot *slot = &ring->slots[prng_below(&r, ring->num_slots)];

		OS_STORE((uint64_t *)(void *)slot, word);
		OS_STORE(&slot->ptr, prng_edge64(&r, BUF_SIZE));
	}
	return NULL;
}

/* Slots change while they are looked at: what comes out of both sides still lies in the buffers. */
static void rewritten_meanwhile(void **state)
{
	const char *first, *last;
	struct nm_piece pieces[NETMAP_MAX_FRAGS];
	uint32_t wrong = 0, good = 0, count;
	pthread_t thread;
	struct nm_rxq q;

	nm_rxq_alone(ring);
	make_ring(NM_RX, 70);
	ring->offset_mask = UINT64_MAX;
	nm_slots_init_ring(&slots, ring, 0);
	first = nm_region_buf(region, NM_BUFS_RESERVED);
	last = (const char *)nm_region_buf(region, BUFS - 1) + BUF_SIZE;
	OS_STORE(&stop, 0);
	assert_int_equal(pthread_create(&thread, NULL, rewrite, NULL), 0);
	for (int i = 0; i < 300000; i++) {
		uint32_t until = behind(at, (uint32_t)i % 70), sum = 0;

		if (nm_pkt_next(&slots, &at, until, &pkt) == NM_PKT_WHOLE) {
			wrong += pkt.slots > NETMAP_MAX_FRAGS;
			for (uint32_t k = 0; k < pkt.slots && k < NETMAP_MAX_FRAGS; k++) {
				sum += frags[k].len;
				wrong += frags[k].buf < first || frags[k].buf + frags[k].len > last;
			}
			wrong += sum != pkt.bytes;
			good++;
		}
		nm_rxq_begin(&q, ring);
		if (nm_rxq_reserve(&q, (uint32_t)i % 5000, pieces, &count) == NM_DROPS) {
			for (uint32_t k = 0; k < count; k++)
				wrong += pieces[k].buf < first ||
					 pieces[k].buf + pieces[k].len > last;
			good++;
		}
	}
	OS_STORE(&stop, 1);
	pthread_join(thread, NULL);
	assert_int_equal(wrong, 0);
	assert_true(good > 1000);
}

/* ---- producer ------------------------------------------------------------------------------- */

static struct nm_rxq q;
static struct nm_piece pieces[NETMAP_MAX_FRAGS];
static uint32_t count;

/* Reserves, commits and publishes one packet; how it lies in the ring is checked. */
static void produce(uint32_t bytes, uint32_t expected)
{
	uint32_t first = ring->produce.hwtail, sum = 0;
	uint64_t packets = ring->stats.packets, all = ring->stats.bytes;

	nm_rxq_alone(ring);
	nm_rxq_begin(&q, ring);
	assert_int_equal(nm_rxq_reserve(&q, bytes, pieces, &count), NM_DROPS);
	assert_int_equal(count, expected);
	for (uint32_t i = 0; i < count; i++)
		assert_ptr_equal(pieces[i].buf, buf_of(behind(first, i)));
	nm_rxq_commit(&q, pieces, count, NS_TXMON);
	assert_int_equal(ring->produce.hwtail, first); /* not yet */
	nm_rxq_publish(&q);
	assert_int_equal(ring->produce.hwtail, behind(first, count));
	for (uint32_t i = 0; i < count; i++) {
		const struct netmap_slot *slot = &ring->slots[behind(first, i)];

		sum += slot->len;
		assert_int_equal(slot->flags,
			NS_TXMON | count << NS_PORT_SHIFT | (i + 1 < count ? NS_MOREFRAG : 0));
	}
	assert_int_equal(sum, bytes);
	assert_int_equal(ring->stats.packets, packets + 1);
	assert_int_equal(ring->stats.bytes, all + bytes);
}

static void refuse(uint32_t bytes, enum nm_drop cause)
{
	uint32_t first = ring->produce.hwtail;

	nm_rxq_alone(ring);
	nm_rxq_begin(&q, ring);
	assert_int_equal(nm_rxq_reserve(&q, bytes, pieces, &count), cause);
	nm_rxq_publish(&q);
	assert_int_equal(ring->produce.hwtail, first);
}

static void room_for_packets(void **state)
{
	make_ring(NM_RX, 200);
	for (int round = 0; round < 10; round++) {
		produce(0, 1);
		produce(1, 1);
		produce(BUF_SIZE, 1);
		produce(BUF_SIZE + 1, 2);
		produce(NETMAP_MAX_FRAGS * BUF_SIZE, NETMAP_MAX_FRAGS);
		refuse(NETMAP_MAX_FRAGS * BUF_SIZE + 1, NM_DROP_FRAGMENTS);
		refuse(UINT32_MAX / 2, NM_DROP_FRAGMENTS);
		ring->hwcur = ring->produce.hwtail;
	}
	make_ring(NM_RX, 4);
	produce(3 * BUF_SIZE, 3);
	refuse(1, NM_DROP_RX_FULL);
	refuse(3 * BUF_SIZE + 1, NM_DROP_TOO_LONG); /* more than the ring has */
	ring->hwcur = 2;
	produce(BUF_SIZE + 1, 2);
	refuse(0, NM_DROP_RX_FULL);
}

static void bad_places(void **state)
{
	static const uint32_t indices[] = {0, 1, BUFS, UINT32_MAX};
	static const uint64_t offsets[] = {BUF_SIZE - GAP, BUF_SIZE, UINT64_MAX};

	nm_rxq_alone(ring);
	make_ring(NM_RX, 16);
	ring->offset_mask = UINT64_MAX;
	port.offsets.gap = GAP;
	for (uint32_t bad = 0; bad < 3; bad++) {
		struct netmap_slot *slot = &ring->slots[bad], old = *slot;

		for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
			slot->buf_idx = indices[i];
			refuse(3 * (BUF_SIZE - GAP), NM_DROP_BAD_BUFFER);
			assert_int_equal(count, bad); /* those before it are there */
		}
		*slot = old;
		for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
			slot->ptr = offsets[i];
			refuse(3 * (BUF_SIZE - GAP), NM_DROP_BAD_OFFSET);
		}
		*slot = old;
	}
	ring->slots[0].ptr = BUF_SIZE - GAP - 1; /* one byte */
	nm_rxq_begin(&q, ring);
	assert_int_equal(nm_rxq_reserve(&q, 3, pieces, &count), NM_DROPS);
	assert_int_equal(count, 2);
	assert_int_equal(pieces[0].len, 1);
	assert_ptr_equal(pieces[0].buf, buf_of(0) + BUF_SIZE - GAP - 1);
	assert_int_equal(pieces[1].len, 2);
	port.offsets.gap = BUF_SIZE; /* nothing fits any slot */
	refuse(1, NM_DROP_BAD_OFFSET);
	port.offsets.gap = UINT64_MAX;
	refuse(1, NM_DROP_BAD_OFFSET);
}

/* The len of a slot has 16 bits, whatever the buffer has. */
static void large_buffers(void **state)
{
	struct nm_region *large = make_region(&core, 10, 65536, 64);

	nm_rxq_alone(ring);
	make_ring(NM_RX, 8);
	ring->region = large;
	nm_rxq_begin(&q, ring);
	assert_int_equal(nm_rxq_slot_bytes(&q), UINT16_MAX);
	assert_int_equal(nm_rxq_reserve(&q, 65536, pieces, &count), NM_DROPS);
	assert_int_equal(count, 2);
	assert_int_equal(pieces[0].len, UINT16_MAX);
	assert_int_equal(pieces[1].len, 1);
	nm_region_put(large);
}

/* As much as there is, and why not more. */
static void as_much_as_there_is(void **state)
{
	nm_rxq_alone(ring);
	make_ring(NM_RX, 4);
	nm_rxq_begin(&q, ring);
	assert_int_equal(nm_rxq_reserve_some(&q, 4 * BUF_SIZE, pieces, &count), NM_DROP_TOO_LONG);
	assert_int_equal(count, 3);
	ring->produce.hwtail = 2;
	nm_rxq_begin(&q, ring);
	assert_int_equal(nm_rxq_reserve_some(&q, 3 * BUF_SIZE, pieces, &count), NM_DROP_RX_FULL);
	assert_int_equal(count, 1);
	make_ring(NM_RX, 100);
	nm_rxq_begin(&q, ring);
	assert_int_equal(nm_rxq_reserve_some(&q, 65 * BUF_SIZE, pieces, &count), NM_DROP_FRAGMENTS);
	assert_int_equal(count, NETMAP_MAX_FRAGS);
}

/* A receiver that is full is asked once for all packets that it refuses, and again only when
 * something was committed since, or by the next who produces. */
static void one_look_at_the_receiver(void **state)
{
	nm_rxq_alone(ring);
	make_ring(NM_RX, 8);
	ring->hwcur = 3;
	nm_rxq_begin(&q, ring);
	assert_int_equal(q.room, 7); /* as known: hwcur 0 */
	assert_true(nm_rxq_has_room(&q, 7));
	ring->produce.hwcur_seen = 3;
	nm_rxq_begin(&q, ring);
	assert_int_equal(q.room, 2);
	assert_false(nm_rxq_has_room(&q, 3));
	ring->hwcur = 6; /* too late for this one */
	assert_false(nm_rxq_has_room(&q, 3));
	assert_int_equal(nm_rxq_reserve(&q, 3 * BUF_SIZE, pieces, &count), NM_DROP_RX_FULL);
	assert_int_equal(nm_rxq_reserve(&q, BUF_SIZE, pieces, &count), NM_DROPS);
	nm_rxq_commit(&q, pieces, count, 0);
	assert_int_equal(q.room, 1); /* that there is one is known: no look */
	assert_true(nm_rxq_has_room(&q, 3));
	assert_int_equal(q.room, 4);
	nm_rxq_publish(&q);
	make_ring(NM_RX, 8);
	ring->produce.hwcur_seen = 1;
	ring->hwcur = 1;
	nm_rxq_begin(&q, ring);
	assert_false(nm_rxq_has_room(&q, 1));
	ring->hwcur = 5;
	assert_false(nm_rxq_has_room(&q, 1));
	nm_rxq_publish(&q);
	nm_rxq_begin(&q, ring);
	assert_true(nm_rxq_has_room(&q, 4));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(whole_packets),
		TEST(flags_of_a_packet),
		TEST(unfinished_packets_wait),
		TEST(chains_that_are_too_long),
		TEST(chains_that_fill_the_ring),
		TEST(bad_slots),
		TEST(an_offset_moves_the_packet),
		TEST(forwarding),
		TEST(any_slots),
		TEST(rewritten_meanwhile),
		TEST(room_for_packets),
		TEST(bad_places),
		TEST(large_buffers),
		TEST(as_much_as_there_is),
		TEST(one_look_at_the_receiver),
	};

	test_seed();
	return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
