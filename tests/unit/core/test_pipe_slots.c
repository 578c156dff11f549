/* SPDX-License-Identifier: BSD-2-Clause */
/* core/pipe.h: what is in a slot makes no sense, or changes. */
#include "pipe_ends.h"

static void bad_slots(void **state)
{
	static const struct {
		uint32_t buf_idx; /* 0: a good one */
		uint16_t len, flags;
		enum nm_drop cause; /* NM_DROPS: it gets through */
	} cases[] = {
		{0, BUF_SIZE, 0, NM_DROPS},
		{0, 0, 0, NM_DROPS},
		{0, BUF_SIZE + 1, 0, NM_DROP_BAD_LENGTH},
		{0, UINT16_MAX, 0, NM_DROP_BAD_LENGTH},
		{1, 60, 0, NM_DROP_BAD_BUFFER},
		{30000, 60, 0, NM_DROP_BAD_BUFFER},
		{UINT32_MAX, 60, 0, NM_DROP_BAD_BUFFER},
		{0, 60, NS_INDIRECT, NM_DROP_INDIRECT},
		{0, 60, NS_REPORT | NS_FORWARD | NS_NO_LEARN | 0xff00, NM_DROPS},
	};
	struct app a, b;

	open_end(&a, "x{1", 32);
	open_end(&b, "x}1", 32);
	for (int chain = 0; chain < 2; chain++) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct netmap_ring *tx = app_ring(&a, NM_TX, 0);
			struct nm_ring *ring = app_private(&a, NM_TX, 0);
			uint64_t before =
				cases[i].cause < NM_DROPS ? ring->stats.drops[cases[i].cause] : 0;
			uint32_t old[2] = {
				tx->slot[tx->head].buf_idx, tx->slot[(tx->head + 1) % 32].buf_idx};
			uint32_t at = tx->head;

			if (chain)
				app_put_slot(&a, 0, old[0], 10, NS_MOREFRAG);
			app_put_slot(&a, 0, cases[i].buf_idx ? cases[i].buf_idx : old[chain],
				cases[i].len, cases[i].flags);
			app_txsync(&a, 0);
			app_rxsync(&b, 0);
			if (cases[i].cause < NM_DROPS) {
				assert_int_equal(ring->stats.drops[cases[i].cause], before + 1);
				assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 0);
				tx->slot[at].buf_idx = old[0];
				tx->slot[(at + 1) % 32].buf_idx = old[1];
			} else {
				uint8_t bytes[2 * BUF_SIZE];

				assert_int_equal(app_take(&b, 0, bytes, sizeof(bytes)),
					cases[i].len + (chain ? 10 : 0));
			}
			app_rxsync(&b, 0);
		}
	}
	check_conservation(&a, &b);
	check_buffers(&a, &b);
	app_close(&a);
	app_close(&b);
}

/* Up to 64 slots pass, more don't; an endless packet doesn't stop the ring. */
static void fragments(void **state)
{
	static const uint32_t counts[] = {1, 2, 63, 64, 65, 255, 256, 2000};
	uint8_t bytes[5000], back[5000];
	struct prng r = prng_new(4);
	struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC, .num_rings = {1, 1}, .num_slots = {2048, 32}};
	struct app a, b;

	prng_fill(&r, bytes, sizeof(bytes));
	open_end(&a, "x{1", 2048);
	open_end(&b, "x}1", 2048);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		bool good = counts[i] <= NETMAP_MAX_FRAGS;

		assert_true(app_put(&a, 0, bytes, counts[i], counts[i]));
		put_number(&a, 7);
		app_txsync(&a, 0);
		app_rxsync(&b, 0);
		if (good)
			assert_int_equal(app_take(&b, 0, back, sizeof(back)), counts[i]);
		take_number(&b, 7);
		app_rxsync(&b, 0);
	}
	assert_int_equal(app_private(&a, NM_TX, 0)->stats.drops[NM_DROP_FRAGMENTS], 4);
	/* One slot at a time, and never an end. */
	for (uint32_t i = 0; i < 5000; i++) {
		struct netmap_ring *tx = app_ring(&a, NM_TX, 0);

		assert_true(app_put_slot(&a, 0, tx->slot[tx->head].buf_idx, 1, NS_MOREFRAG));
		app_txsync(&a, 0);
	}
	put_number(&a, 8); /* its end, after all */
	put_number(&a, 9);
	app_txsync(&a, 0);
	app_rxsync(&b, 0);
	take_number(&b, 9);
	app_rxsync(&b, 0);
	assert_int_equal(app_private(&a, NM_TX, 0)->stats.drops[NM_DROP_FRAGMENTS], 5);
	check_conservation(&a, &b);
	check_buffers(&a, &b);
	app_close(&a);
	app_close(&b);

	memset(&b, 0, sizeof(b)); /* b sends from 32 slots into 32; a from 2048 into 2048 */
	nm_client_init(&b.client, &core);
	bind.num_slots[NM_TX] = 2048;
	bind.num_slots[NM_RX] = 32;
	assert_int_equal(nm_client_bind(&b.client, "x}1", &bind), 0);
	assert_int_equal(b.client.port->peer->num_slots[NM_TX], 32);
	assert_int_equal(b.client.port->peer->num_slots[NM_RX], 2048);
	b.rings = 1;
	b.nifp = (void *)(b.client.port->region->base + b.client.nifp_offset);
	b.buf_size = BUF_SIZE;
	open_end(&a, "x{1", 0);
	for (uint32_t i = 0; i < 31; i++) { /* 31 slots without an end fill the ring */
		struct netmap_ring *tx = app_ring(&a, NM_TX, 0);

		assert_true(app_put_slot(&a, 0, tx->slot[tx->head].buf_idx, 1, NS_MOREFRAG));
		app_txsync(&a, 0);
	}
	put_number(&a, 1);
	put_number(&a, 2);
	app_txsync(&a, 0);
	app_rxsync(&b, 0);
	take_number(&b, 2);
	app_rxsync(&b, 0);
	check_conservation(&a, &b);
	app_close(&a);
	nm_client_unbind(&b.client);
}

/* A packet may fill the ring. */
static void as_long_as_the_ring(void **state)
{
	struct app a, b;
	uint8_t bytes[64], back[64];

	open_end(&a, "x{1", 16);
	open_end(&b, "x}1", 16);
	memset(bytes, 1, sizeof(bytes));
	for (uint32_t frags = 13; frags <= 15; frags++) {
		for (int round = 0; round < 5; round++) {
			assert_true(app_put(&a, 0, bytes, 60, frags));
			app_txsync(&a, 0);
			app_rxsync(&b, 0);
			assert_int_equal(app_take(&b, 0, back, sizeof(back)), 60);
			app_rxsync(&b, 0);
			app_txsync(&a, 0);
		}
	}
	check_conservation(&a, &b);
	app_close(&a);
	app_close(&b);
}

/* The receiver scribbles over the slots that are netmap's: its packets are lost, counted at both, and
 * the sender gets no buffer that isn't one. */
static void hostile_receiver(void **state)
{
	struct prng r = prng_new(5);
	struct app a, b;
	uint32_t n = 0, lost;

	open_end(&a, "x{1", 32);
	open_end(&b, "x}1", 32);
	for (int round = 0; round < 2000; round++) {
		struct netmap_ring *rx = app_ring(&b, NM_RX, 0), *tx = app_ring(&a, NM_TX, 0);

		if (prng_chance(&r, 30))
			rx->slot[prng_below(&r, 32)].buf_idx = prng_edge32(&r, 30000);
		if (prng_chance(&r, 50) && app_avail(tx) > 5)
			app_put(&a, 0, &n, sizeof(n), prng_range(&r, 1, 4));
		app_txsync(&a, 0);
		for (uint32_t i = 0; i < 32; i++)
			assert_true(
				nm_region_buf_valid(a.client.port->region, tx->slot[i].buf_idx));
		app_rxsync(&b, 0);
		rx->head = rx->cur = rx->tail;
		app_rxsync(&b, 0);
		check_conservation(&a, &b);
	}
	lost = (uint32_t)app_private(&a, NM_TX, 0)->stats.drops[NM_DROP_BAD_BUFFER];
	assert_true(lost > 10);
	assert_int_equal(lost, app_private(&b, NM_RX, 0)->stats.drops[NM_DROP_BAD_BUFFER]);
	app_close(&b);
	app_close(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bad_slots, begin, end),
		cmocka_unit_test_setup_teardown(fragments, begin, end),
		cmocka_unit_test_setup_teardown(as_long_as_the_ring, begin, end),
		cmocka_unit_test_setup_teardown(hostile_receiver, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("pipe_slots", tests, NULL, NULL);
}
