/* SPDX-License-Identifier: BSD-2-Clause */
/* The VALE switch and packets of all shapes: fragments, bad slots, headers, sizes of buffers. */
#include "offload.h"
#include "vale_pair.h"

/* A frame of len bytes arrives as it was sent. */
static void check_passes(uint32_t len, uint32_t frags)
{
	make_frame(frame, len, 0, 2, 1, &r);
	assert_true(app_put(&a, 0, frame, len, frags));
	app_txsync(&a, 0);
	app_rxsync(&b, 0);
	assert_int_equal(app_take(&b, 0, got, sizeof(got)), len);
	assert_memory_equal(got, frame, len);
	app_rxsync(&b, 0);
	assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 0);
}

/* ---- fragments ------------------------------------------------------------------------------ */

static void up_to_64_fragments(void **state)
{
	open_pair(2048, 1024, 2048, 1024);
	for (uint32_t frags = 1; frags <= NETMAP_MAX_FRAGS; frags++) {
		check_passes(14 * frags, frags);
		check_passes(14 * frags + prng_below(&r, 2034 * frags), frags);
		check_passes(2048 * frags, frags);
	}
	assert_int_equal(tx()->packets, 3 * NETMAP_MAX_FRAGS);
	assert_int_equal(rx()->packets, 3 * NETMAP_MAX_FRAGS);
	assert_int_equal(tx()->bytes, rx()->bytes);
	close_pair();
}

/* Slots of one packet without its last, `count` of them. */
static void put_unfinished(uint32_t count)
{
	struct netmap_ring *ring = app_ring(&a, NM_TX, 0);

	while (count-- > 0)
		assert_true(app_put_slot(&a, 0, ring->slot[ring->head].buf_idx, 20, NS_MOREFRAG));
}

static void put_last(void)
{
	struct netmap_ring *ring = app_ring(&a, NM_TX, 0);

	assert_true(app_put_slot(&a, 0, ring->slot[ring->head].buf_idx, 20, 0));
}

/* Longer packets are dropped, once each, and cost their neighbours nothing. */
static void too_many_fragments(void **state)
{
	static const uint32_t counts[] = {65, 66, 127, 128, 129, 255, 256, 257, 511, 512, 2000};
	uint64_t dropped = 0;

	open_pair(2048, 2048, 2048, 64);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		/* All at once, between two good ones. */
		make_frame(frame, 60, 0, 2, 1, &r);
		assert_true(app_put(&a, 0, frame, 60, 0));
		put_unfinished(counts[i] - 1);
		put_last();
		assert_true(app_put(&a, 0, frame, 60, 0));
		app_txsync(&a, 0);
		dropped++;
		app_rxsync(&b, 0);
		assert_int_equal(app_take(&b, 0, got, sizeof(got)), 60);
		assert_int_equal(app_take(&b, 0, got, sizeof(got)), 60);
		assert_int_equal(tx()->drops[NM_DROP_FRAGMENTS], dropped);

		/* In pieces. */
		for (uint32_t left = counts[i] - 1; left > 0;) {
			uint32_t n = 1 + prng_below(&r, left);

			put_unfinished(n);
			app_txsync(&a, 0);
			left -= n;
		}
		put_last();
		app_txsync(&a, 0);
		dropped++;
		assert_int_equal(tx()->drops[NM_DROP_FRAGMENTS], dropped);
		check_passes(60, 0);
	}
	assert_int_equal(tx()->packets, dropped / 2 * 5);
	close_pair();
}

static void unfinished_packet_waits(void **state)
{
	struct netmap_ring *ring;

	open_pair(2048, 128, 2048, 128);
	ring = app_ring(&a, NM_TX, 0);
	make_frame(frame, 64, 0, 2, 1, &r);
	for (uint32_t i = 0; i < 4; i++) {
		struct netmap_slot *slot = &ring->slot[ring->head];

		memcpy(app_buf(ring, slot->buf_idx), frame + 16 * i, 16);
		assert_true(app_put_slot(&a, 0, slot->buf_idx, 16, i < 3 ? NS_MOREFRAG : 0));
		app_txsync(&a, 0);
		if (i < 3) {
			check_nothing_came();
			assert_int_equal(app_private(&a, NM_TX, 0)->hwcur, 0);
			assert_int_equal(ring->tail, 127);
			assert_int_equal(tx()->packets, 0);
		}
	}
	app_rxsync(&b, 0);
	assert_int_equal(app_take(&b, 0, got, sizeof(got)), 64);
	assert_memory_equal(got, frame, 64);
	/* 64 slots and no end yet: may still become a packet. One more can't. */
	put_unfinished(64);
	app_txsync(&a, 0);
	assert_int_equal(tx()->drops[NM_DROP_FRAGMENTS], 0);
	put_unfinished(1);
	app_txsync(&a, 0);
	assert_int_equal(tx()->drops[NM_DROP_FRAGMENTS], 1);
	assert_int_equal(app_avail(ring), 127);
	put_last();
	app_txsync(&a, 0);
	check_nothing_came();
	check_passes(60, 0);
	assert_int_equal(tx()->packets, 3);
	close_pair();
}

/* A ring that holds nothing but the beginning of a packet would wait for ever. */
static void unfinished_packet_fills_the_ring(void **state)
{
	static const uint32_t sizes[] = {2, 3, 16, 64, 65, 66};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		open_pair(2048, sizes[i], 2048, 64);
		for (int round = 0; round < 5; round++) {
			put_unfinished(sizes[i] - 1);
			app_txsync(&a, 0);
			assert_int_equal(app_avail(app_ring(&a, NM_TX, 0)), sizes[i] - 1);
			assert_int_equal(tx()->drops[NM_DROP_FRAGMENTS], round + 1);
			put_unfinished(1);
			app_txsync(&a, 0);
			put_last();
			app_txsync(&a, 0);
			check_nothing_came();
			check_passes(60, 1);
			assert_int_equal(tx()->packets, 2 * (round + 1));
		}
		close_pair();
	}
}

/* ---- bad slots -------------------------------------------------------------------------------- */

enum { COUNT = NM_BUFS_RESERVED + 2 * 64, GOOD = UINT32_MAX - 7 }; /* buffers; any valid one */

static const struct {
	uint32_t buf_idx;
	uint16_t len, flags;
	enum nm_drop cause; /* NM_DROPS: none */
} slots[] = {
	{GOOD, 60, 0, NM_DROPS},
	{2, 2048, 0, NM_DROPS},
	{COUNT - 1, 14, 0, NM_DROPS},
	{GOOD, 60, NS_REPORT | NS_BUF_CHANGED | NS_FORWARD, NM_DROPS},
	{0, 60, 0, NM_DROP_BAD_BUFFER},
	{1, 60, 0, NM_DROP_BAD_BUFFER},
	{COUNT, 60, 0, NM_DROP_BAD_BUFFER},
	{COUNT + 1, 60, 0, NM_DROP_BAD_BUFFER},
	{0x80000000, 60, 0, NM_DROP_BAD_BUFFER},
	{UINT32_MAX - 1, 60, 0, NM_DROP_BAD_BUFFER},
	{UINT32_MAX, 60, 0, NM_DROP_BAD_BUFFER},
	{GOOD, 2049, 0, NM_DROP_BAD_LENGTH},
	{GOOD, 65535, 0, NM_DROP_BAD_LENGTH},
	{GOOD, 60, NS_INDIRECT, NM_DROP_INDIRECT},
	{0, 65535, NS_INDIRECT, NM_DROP_INDIRECT},
};

static void put_row(size_t row, bool more)
{
	struct netmap_ring *ring = app_ring(&a, NM_TX, 0);
	uint32_t good = ring->slot[ring->head].buf_idx;
	uint32_t index = slots[row].buf_idx == GOOD ? good : slots[row].buf_idx;
	struct netmap_slot *slot = &ring->slot[ring->head];

	slot->ptr = (uintptr_t)frame; /* for NS_INDIRECT: an address in this very process */
	assert_true(app_put_slot(
		&a, 0, index, slots[row].len, slots[row].flags | (more ? NS_MOREFRAG : 0)));
}

/* Each row alone, and as each of three fragments. Then a good packet passes. */
static void bad_slots(void **state)
{
	for (size_t row = 0; row < sizeof(slots) / sizeof(slots[0]); row++) {
		for (uint32_t where = 0; where < 4; where++) {
			uint32_t frags = where == 3 ? 1 : 3;
			uint64_t expected[NM_DROPS] = {0};

			open_pair(2048, 64, 2048, 64);
			for (uint32_t i = 0; i < frags; i++)
				put_row(frags == 1 || i == where ? row : 0, i + 1 < frags);
			app_txsync(&a, 0);
			if (slots[row].cause != NM_DROPS)
				expected[slots[row].cause] = 1;
			assert_memory_equal(tx()->drops, expected, sizeof(expected));
			assert_int_equal(tx()->packets, 1);
			assert_int_equal(rx()->packets, slots[row].cause == NM_DROPS);
			app_rxsync(&b, 0);
			assert_int_equal(app_take(&b, 0, got, sizeof(got)) > 0,
				slots[row].cause == NM_DROPS);
			/* The slots are the application's again, and may be repaired. */
			for (uint32_t i = 0; i < 64; i++)
				app_ring(&a, NM_TX, 0)->slot[i].buf_idx = 2 + i;
			check_passes(60, 0);
			close_pair();
		}
	}
}

/* Every length around the shortest, with each length of header; and begun by a slot that has less
 * than the headers: they may lie in several. */
static void short_packets(void **state)
{
	static const uint32_t headers[] = {0, 10, 12};

	for (size_t h = 0; h < 3; h++) {
		open_pair(2048, 64, 2048, 64);
		set_hdr_len(&a, headers[h]);
		set_hdr_len(&b, headers[h]);
		memset(app_buf(app_ring(&a, NM_TX, 0), 2), 0, 2048);
		for (uint16_t len = 0; len < 30; len++) {
			uint64_t before = tx()->drops[NM_DROP_TOO_SHORT];
			bool passes = len >= headers[h] + 14;

			assert_true(app_put_slot(&a, 0, 2, len, 0));
			app_txsync(&a, 0);
			app_rxsync(&b, 0);
			assert_int_equal(app_take(&b, 0, got, sizeof(got)), passes ? (int)len : -1);
			assert_int_equal(tx()->drops[NM_DROP_TOO_SHORT], before + !passes);
			/* The same followed by a long fragment. */
			assert_true(app_put_slot(&a, 0, 2, len, NS_MOREFRAG));
			assert_true(app_put_slot(&a, 0, 2, 1000, 0));
			app_txsync(&a, 0);
			app_rxsync(&b, 0);
			assert_int_equal(app_take(&b, 0, got, sizeof(got)), len + 1000);
		}
		close_pair();
	}
}

/* Fragments of no length in the middle and at the end. */
static void empty_fragments(void **state)
{
	struct netmap_ring *ring;

	open_pair(2048, 64, 2048, 64);
	ring = app_ring(&a, NM_TX, 0);
	make_frame(frame, 40, 0, 2, 1, &r);
	memcpy(app_buf(ring, 2), frame, 40);
	assert_true(app_put_slot(&a, 0, 2, 20, NS_MOREFRAG));
	assert_true(app_put_slot(&a, 0, 3, 0, NS_MOREFRAG));
	assert_true(app_put_slot(&a, 0, 4, 0, NS_MOREFRAG));
	memcpy(app_buf(ring, 5), frame + 20, 20);
	assert_true(app_put_slot(&a, 0, 5, 20, NS_MOREFRAG));
	assert_true(app_put_slot(&a, 0, 6, 0, 0));
	app_txsync(&a, 0);
	app_rxsync(&b, 0);
	assert_int_equal(app_take(&b, 0, got, sizeof(got)), 40);
	assert_memory_equal(got, frame, 40);
	close_pair();
}

/* The receiver's slots are as hostile as the sender's. */
static void bad_slots_of_the_receiver(void **state)
{
	static const uint32_t bad[] = {0, 1, COUNT, COUNT + 1, 0x80000000, UINT32_MAX};
	struct netmap_ring *ring;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (uint32_t where = 0; where < 3; where++) {
			uint32_t good;

			open_pair(2048, 64, 64, 64); /* 180 bytes are three slots of b's */
			ring = app_ring(&b, NM_RX, 0);
			good = ring->slot[where].buf_idx;
			ring->slot[where].buf_idx = bad[i];
			make_frame(frame, 180, 0, 2, 1, &r);
			assert_true(app_put(&a, 0, frame, 180, 0));
			app_txsync(&a, 0);
			check_nothing_came();
			assert_int_equal(tx()->drops[NM_DROP_BAD_BUFFER], 1);
			assert_int_equal(rx()->drops[NM_DROP_BAD_BUFFER], 1);
			ring->slot[where].buf_idx = good;
			check_passes(180, 0);
			close_pair();
		}
		open_pair(2048, 64, 2048, 64); /* one slot */
		ring = app_ring(&b, NM_RX, 0);
		ring->slot[0].buf_idx = bad[i];
		assert_true(app_put(&a, 0, frame, 60, 0));
		app_txsync(&a, 0);
		check_nothing_came();
		assert_int_equal(rx()->drops[NM_DROP_BAD_BUFFER], 1);
		close_pair();
	}
}

/* ---- headers and sizes of buffers -------------------------------------------------------------- */

/* One packet between ports with any header lengths. Its header says `offload` when not 0, and the
 * sum is to be completed from byte 14 on, into bytes 20 and 21. */
static void check_headers(uint32_t len, uint32_t frags, uint8_t flags, uint8_t gso)
{
	uint32_t from = a.hdr_len, to = b.hdr_len, both = from < to ? from : to;
	bool finish = to == 0 && from != 0 && ((flags & 1) || gso != 0);
	const struct nm_vnet_hdr vnet = {
		.flags = flags, .gso_type = gso, .csum_start = 14, .csum_offset = 6};
	static const uint8_t zeros[NM_PORT_HDR_MAX];

	make_frame(frame, from + len, from, 2, 1, &r);
	prng_fill(&r, frame, from);
	if (from)
		memcpy(frame, &vnet, sizeof(vnet));
	assert_true(app_put(&a, 0, frame, from + len, frags));
	app_txsync(&a, 0);
	app_rxsync(&b, 0);
	if (finish) {
		struct nm_sum sum = {0};
		uint16_t result;

		assert_int_equal(gso, 0);
		nm_sum_add(&sum, frame + from + 14, len - 14);
		result = nm_sum_finish(&sum);
		memcpy(frame + from + 20, &result, 2);
	}
	assert_int_equal(app_take(&b, 0, got, sizeof(got)), to + len);
	assert_memory_equal(got, frame, both);
	assert_memory_equal(got + both, zeros, to - both);
	assert_memory_equal(got + to, frame + from, len);
}

/* A packet whose header asks for what can't be done: refused where it would have to be done. */
static void check_offload(uint8_t flags, uint8_t gso, enum nm_drop cause)
{
	bool refused = b.hdr_len == 0 && a.hdr_len != 0;
	uint64_t before = rx()->drops[cause];

	make_frame(frame, a.hdr_len + 60, a.hdr_len, 2, 1, &r);
	if (a.hdr_len) {
		memset(frame, 0xff, a.hdr_len);
		frame[0] = flags;
		frame[1] = gso;
	}
	assert_true(app_put(&a, 0, frame, a.hdr_len + 60, 0));
	app_txsync(&a, 0);
	app_rxsync(&b, 0);
	assert_int_equal(app_take(&b, 0, got, sizeof(got)), refused ? -1 : (int)b.hdr_len + 60);
	assert_int_equal(rx()->drops[cause], before + refused);
	assert_int_equal(tx()->drops[cause], before + refused);
}

static void header_lengths(void **state)
{
	static const uint32_t headers[] = {0, 10, 12};

	for (size_t from = 0; from < 3; from++) {
		for (size_t to = 0; to < 3; to++) {
			open_pair(2048, 128, 64, 128);
			set_hdr_len(&a, headers[from]);
			set_hdr_len(&b, headers[to]);
			/* Around one and two of the receiver's buffers. */
			for (uint32_t len = 14; len < 140; len++) {
				check_headers(len, 1, 0, 0);
				check_headers(len + 40, 2, 0, 0);
			}
			for (uint32_t len = 22; len < 140; len++)
				check_headers(len, prng_range(&r, 1, 3), 1, 0);
			check_headers(60, 1, 2, 0); /* DATA_VALID: no work for anybody */
			check_headers(1000, 3, 1, 0);
			check_offload(1, 0, NM_DROP_BAD_HEADER); /* beyond the packet */
			check_offload(0, 1, NM_DROP_BAD_HEADER); /* it isn't TCP */
			check_offload(0, 2, NM_DROP_OFFLOAD);
			check_offload(0x80, 0x80, NM_DROP_OFFLOAD);
			close_pair();
		}
	}
}

/* The receiver's header may need one slot more than the sender's, and the 65th is too many. */
static void header_needs_a_slot_more(void **state)
{
	open_pair(2048, 128, 64, 128);
	set_hdr_len(&b, 12);
	check_headers(64 * 64 - 12, 0, 0, 0);
	make_frame(frame, 64 * 64 - 11, 0, 2, 1, &r);
	assert_true(app_put(&a, 0, frame, 64 * 64 - 11, 0));
	app_txsync(&a, 0);
	app_rxsync(&b, 0);
	assert_int_equal(app_take(&b, 0, got, sizeof(got)), -1);
	assert_int_equal(tx()->drops[NM_DROP_FRAGMENTS], 1);
	assert_int_equal(rx()->drops[NM_DROP_FRAGMENTS], 1);
	close_pair();
	/* Room for the packet with its header, not just for the packet. */
	open_pair(2048, 128, 64, 4);
	set_hdr_len(&b, 12);
	check_headers(3 * 64 - 12, 0, 0, 0);
	app_rxsync(&b, 0);
	assert_true(app_put(&a, 0, frame, 3 * 64 - 11, 0));
	app_txsync(&a, 0);
	check_nothing_came();
	assert_int_equal(rx()->drops[NM_DROP_TOO_LONG], 1); /* more than b's ring has slots */
	close_pair();
}

static void sizes_of_buffers(void **state)
{
	static const uint32_t sizes[] = {64, 128, 2048, 9216, 65536};
	enum { N = sizeof(sizes) / sizeof(sizes[0]) };

	for (size_t from = 0; from < N; from++) {
		for (size_t to = 0; to < N; to++) {
			/* The longest both can hold: a slot's len has 16 bits. */
			uint32_t most_a = sizes[from] > 65535 ? 65535 : sizes[from];
			uint32_t most_b = sizes[to] > 65535 ? 65535 : sizes[to];
			uint32_t most = 64 * (most_a < most_b ? most_a : most_b);

			if (most > sizeof(frame))
				most = sizeof(frame);
			open_pair(sizes[from], 128, sizes[to], 128);
			for (uint32_t at = 64; at < most; at *= 2)
				for (uint32_t len = at - 1; len <= at + 1; len++)
					check_passes(len, 0);
			check_passes(most, 0);
			if (sizes[from] == 65536 && most > 131071) { /* two slots, full */
				check_passes(131070, 2);
				check_passes(131071, 0);
			}
			for (int i = 0; i < 20; i++)
				check_passes(prng_range(&r, 14, most), 0);
			close_pair();
		}
	}
}

/* What lies behind a packet in the sender's buffer is none of the receiver's business, and what
 * lies in the receiver's own buffer stays. */
static void not_a_byte_more(void **state)
{
	struct netmap_ring *from, *to;

	open_pair(2048, 16, 2048, 16);
	from = app_ring(&a, NM_TX, 0);
	to = app_ring(&b, NM_RX, 0);
	for (uint32_t len = 14; len <= 2048; len += len < 600 ? 1 : 61) {
		const struct netmap_slot *slot = &to->slot[to->head];
		const char *buf = app_buf(to, slot->buf_idx);

		memset(app_buf(from, from->slot[from->head].buf_idx), 0x55, 2048);
		memset(app_buf(to, 2), 0xaa, 2048 * 32);
		make_frame(frame, len, 0, 2, 1, &r);
		assert_true(app_put(&a, 0, frame, len, 0));
		app_txsync(&a, 0);
		app_rxsync(&b, 0);
		assert_int_equal(slot->len, len);
		assert_memory_equal(buf, frame, len);
		for (uint32_t i = len; i < 2048; i++)
			assert_int_equal((uint8_t)buf[i], 0xaa);
		assert_int_equal(app_take(&b, 0, got, sizeof(got)), len);
		app_rxsync(&b, 0);
	}
	close_pair();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(up_to_64_fragments, begin, end),
		cmocka_unit_test_setup_teardown(too_many_fragments, begin, end),
		cmocka_unit_test_setup_teardown(unfinished_packet_waits, begin, end),
		cmocka_unit_test_setup_teardown(unfinished_packet_fills_the_ring, begin, end),
		cmocka_unit_test_setup_teardown(bad_slots, begin, end),
		cmocka_unit_test_setup_teardown(short_packets, begin, end),
		cmocka_unit_test_setup_teardown(empty_fragments, begin, end),
		cmocka_unit_test_setup_teardown(bad_slots_of_the_receiver, begin, end),
		cmocka_unit_test_setup_teardown(header_lengths, begin, end),
		cmocka_unit_test_setup_teardown(header_needs_a_slot_more, begin, end),
		cmocka_unit_test_setup_teardown(sizes_of_buffers, begin, end),
		cmocka_unit_test_setup_teardown(not_a_byte_more, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("vale_packets", tests, NULL, NULL);
}
