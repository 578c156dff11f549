/* SPDX-License-Identifier: BSD-2-Clause */
/* The VALE switch: who gets a packet, and who doesn't. Packets of all shapes: test_vale_packets.c. */
#include "vale.h"

#include <stdio.h>

#include "fixture.h"

static struct prng fill;
static uint8_t frame[65536], got[65536];

static int begin(void **state)
{
	fill = prng_new(1);
	return core_begin(state);
}

static void open_port(struct app *app, const char *name)
{
	app_open(&core, app, &(struct app_config){.name = name, .buf_size = 2048});
}

/* One packet of 60 bytes from an app; its bytes stay in `frame`. */
static void send(struct app *app, uint32_t dst, uint32_t src)
{
	make_frame(frame, 60, 0, dst, src, &fill);
	assert_true(app_put(app, 0, frame, 60, 0));
	app_txsync(app, 0);
}

/* True when the packet in `frame` is the only one that has come. */
static bool has_it(struct app *app)
{
	int len;

	app_rxsync(app, 0);
	len = app_take(app, 0, got, sizeof(got));
	if (len < 0)
		return false;
	assert_int_equal(len, 60);
	assert_memory_equal(got, frame, 60);
	assert_int_equal(app_take(app, 0, got, sizeof(got)), -1);
	return true;
}

static uint64_t drops(const struct app *app, enum nm_dir dir, enum nm_drop cause)
{
	return app_private(app, dir, 0)->stats.drops[cause];
}

/* ---- who gets it ---------------------------------------------------------------------------- */

enum { A = 1, B = 2, C = 4 }; /* ports; their stations have the same numbers */

static const struct {
	uint32_t from, dst, src, to;
	const char *why;
} steps[] = {
	{A, NM_TEST_BROADCAST, A, B | C, "broadcast goes to all but the sender"},
	{A, B, A, B | C, "B is unknown"},
	{B, A, B, A, "A has been heard"},
	{A, B, A, B, "and now B has"},
	{C, B, C, B, "known to everybody"},
	{C, 99, C, A | B, "nobody is 99"},
	{B, A, 50, A, "another station behind B"},
	{A, 50, A, B, "is found there"},
	{C, A, 50, A, "it moves to C"},
	{A, 50, A, C, "and is found there"},
	{C, 50, C, 0, "not sent back to where it lives"},
	{B, NM_TEST_BROADCAST, NM_TEST_BROADCAST, A | C, "a group is no station"},
	{A, NM_TEST_BROADCAST, B, B | C, "A says that it is B"},
	{C, B, C, A, "and is believed"},
	{B, C, B, C, "until B speaks again"},
	{C, B, C, B, "so"},
};

static void forwarding_table(void **state)
{
	struct totals totals = {0};
	struct app a, b, c;

	open_port(&a, "vale0:a");
	open_port(&b, "vale0:b");
	open_port(&c, "vale0:c");
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint32_t to;

		send(steps[i].from == A      ? &a
			: steps[i].from == B ? &b
					     : &c,
			steps[i].dst, steps[i].src);
		to = (has_it(&a) ? A : 0) | (has_it(&b) ? B : 0) | (has_it(&c) ? C : 0);
		if (to != steps[i].to)
			fail_msg("step %zu (%s): to ports %x instead of %x", i, steps[i].why, to,
				steps[i].to);
	}
	assert_int_equal(drops(&c, NM_TX, NM_DROP_NO_RECEIVER), 1);
	totals_add(&totals, &a);
	totals_add(&totals, &b);
	totals_add(&totals, &c);
	totals_check(&totals, false);
	app_close(&a);
	app_close(&b);
	app_close(&c);
}

static void source_zero_is_not_learnt(void **state)
{
	struct app a, b, c;

	open_port(&a, "vale0:a");
	open_port(&b, "vale0:b");
	open_port(&c, "vale0:c");
	for (int round = 0; round < 2; round++) {
		make_frame(frame, 60, 0, 7, 7, &fill);
		memset(frame, 0, 12);
		assert_true(app_put(&a, 0, frame, 60, 0));
		app_txsync(&a, 0);
		assert_true(has_it(&b) && has_it(&c));
	}
	app_close(&a);
	app_close(&b);
	app_close(&c);
}

/* NS_NO_LEARN, in any slot of the packet. */
static void no_learn(void **state)
{
	struct app a, b, c;

	open_port(&a, "vale0:a");
	open_port(&b, "vale0:b");
	open_port(&c, "vale0:c");
	for (uint32_t where = 0; where < 3; where++) {
		struct netmap_ring *ring = app_ring(&a, NM_TX, 0);
		uint32_t head = ring->head;

		make_frame(frame, 60, 0, NM_TEST_BROADCAST, A, &fill);
		assert_true(app_put(&a, 0, frame, 60, 3));
		ring->slot[(head + where) % ring->num_slots].flags |= NS_NO_LEARN;
		app_txsync(&a, 0);
		assert_true(has_it(&b) && has_it(&c));
		send(&b, A, B);
		assert_true(has_it(&a) && has_it(&c)); /* unknown still */
	}
	send(&a, NM_TEST_BROADCAST, A);
	assert_true(has_it(&b) && has_it(&c));
	send(&b, A, B);
	assert_true(has_it(&a) && !has_it(&c));
	app_close(&a);
	app_close(&b);
	app_close(&c);
}

static void switches_are_separate(void **state)
{
	struct app a, b, other_a, other_b;

	open_port(&a, "vale0:a");
	open_port(&b, "vale0:b");
	open_port(&other_a, "vale1:a");
	open_port(&other_b, "vale1:b");
	send(&a, NM_TEST_BROADCAST, A);
	assert_true(has_it(&b) && !has_it(&other_a) && !has_it(&other_b));
	send(&other_b, A, B); /* A is unknown on this switch */
	assert_true(has_it(&other_a) && !has_it(&a) && !has_it(&b));
	app_close(&a);
	app_close(&other_a);
	app_close(&b);
	app_close(&other_b);
}

static void alone_on_a_switch(void **state)
{
	struct totals totals = {0};
	struct app a;

	open_port(&a, "vale0:a");
	send(&a, NM_TEST_BROADCAST, A);
	send(&a, B, A);
	send(&a, A, A);
	assert_false(has_it(&a));
	assert_int_equal(drops(&a, NM_TX, NM_DROP_NO_RECEIVER), 3);
	totals_add(&totals, &a);
	assert_int_equal(totals.tx_packets, 3);
	assert_int_equal(totals.copies, 0);
	totals_check(&totals, true);
	app_close(&a);
}

static void silent_addresses_age(void **state)
{
	struct app a, b, c;

	open_port(&a, "vale0:a");
	open_port(&b, "vale0:b");
	open_port(&c, "vale0:c");
	send(&a, NM_TEST_BROADCAST, A);
	assert_true(has_it(&b) && has_it(&c));
	advance_clock(NM_VALE_AGE_S - 4);
	send(&b, A, B);
	assert_true(has_it(&a) && !has_it(&c));
	advance_clock(8);
	send(&b, A, B); /* A has said nothing for longer than it may; B has */
	assert_true(has_it(&a) && has_it(&c));
	send(&c, B, C);
	assert_true(has_it(&b) && !has_it(&a));
	for (int round = 0; round < 8; round++) { /* also whole turns of the epoch's 8 bits */
		send(&a, NM_TEST_BROADCAST, A);
		assert_true(has_it(&b) && has_it(&c));
		advance_clock(1024 + (uint64_t)round % 2);
		send(&b, A, B);
		assert_true(has_it(&a) && has_it(&c));
	}
	app_close(&a);
	app_close(&b);
	app_close(&c);
}

/* ---- the list of addresses ------------------------------------------------------------------ */

static int list(const char *vale, struct nm_vale_mac *macs, uint32_t most)
{
	uint64_t pos = 0;
	int n = 0, got_now;

	nm_core_lock(&core);
	while ((got_now = nm_vale_macs_locked(&core, NULL, vale, &pos, macs + n, most)) > 0)
		n += got_now;
	nm_core_unlock(&core);
	return got_now < 0 ? got_now : n;
}

static void list_of_addresses(void **state)
{
	struct nm_vale_mac macs[50];
	uint32_t seen = 0;
	struct app a, b;

	assert_int_equal(list("vale0", macs, 1), -ENOENT);
	nm_core_lock(&core);
	assert_int_equal(nm_vale_flush_locked(&core, NULL, "vale0"), -ENOENT);
	nm_core_unlock(&core);
	open_port(&a, "vale0:a");
	open_port(&b, "vale0:b");
	assert_int_equal(list("vale0", macs, 1), 0);
	for (uint32_t i = 0; i < 20; i++) {
		send(i % 2 ? &a : &b, NM_TEST_BROADCAST, i);
		advance_clock(4);
	}
	for (uint32_t step = 1; step < 30; step += 7) {
		seen = 0;
		assert_int_equal(list("vale0", macs, step), 20);
		for (uint32_t i = 0; i < 20; i++) {
			uint32_t station = macs[i].mac[5];

			assert_in_range(station, 0, 19);
			seen |= 1u << station;
			assert_int_equal(macs[i].mac[0], 2);
			assert_int_equal(macs[i].port, station % 2 ? 0 : 1);
			assert_in_range(
				macs[i].age_s, 4 * (20 - station) - 4, 4 * (20 - station) + 4);
		}
		assert_int_equal(seen, (1u << 20) - 1);
	}
	nm_core_lock(&core);
	assert_string_equal(nm_vale_port_name_locked(&core, NULL, "vale0", 0), "vale0:a");
	assert_string_equal(nm_vale_port_name_locked(&core, NULL, "vale0", 1), "vale0:b");
	assert_null(nm_vale_port_name_locked(&core, NULL, "vale0", 2));
	assert_null(nm_vale_port_name_locked(&core, NULL, "vale0", 254));
	assert_null(nm_vale_port_name_locked(&core, NULL, "vale0", UINT32_MAX));
	assert_null(nm_vale_port_name_locked(&core, NULL, "vale1", 0));
	assert_int_equal(nm_vale_flush_locked(&core, NULL, "vale0"), 0);
	nm_core_unlock(&core);
	assert_int_equal(list("vale0", macs, 7), 0);
	send(&a, NM_TEST_BROADCAST, 1);
	send(&b, NM_TEST_BROADCAST, 2);
	assert_int_equal(list("vale0", macs, 7), 2);
	app_close(&a);
	assert_int_equal(list("vale0", macs, 7), 1); /* what was behind it is forgotten */
	assert_int_equal(macs[0].mac[5], 2);
	app_close(&b);
	assert_int_equal(list("vale0", macs, 7), -ENOENT);
}

/* A guest that shows a new address in each packet: it is heard, and costs nobody his place. */
static void one_port_floods(void **state)
{
	struct app a, b, c;

	open_port(&a, "vale0:a");
	open_port(&b, "vale0:b");
	open_port(&c, "vale0:c");
	send(&a, NM_TEST_BROADCAST, A);
	send(&b, NM_TEST_BROADCAST, B);
	for (uint32_t i = 0; i < 400000; i++) {
		struct netmap_ring *ring = app_ring(&c, NM_TX, 0);
		char *buf = app_buf(ring, ring->slot[ring->head].buf_idx);

		make_frame(frame, 60, 0, C, C, &fill);
		memcpy(frame + 7, &i, 4);
		memcpy(buf, frame, 60);
		assert_true(app_put_slot(&c, 0, ring->slot[ring->head].buf_idx, 60, 0));
		if (app_avail(ring) == 0)
			app_txsync(&c, 0);
	}
	app_txsync(&c, 0);
	for (struct app *app = &a;; app = &b) {
		app_rxsync(app, 0);
		while (app_take(app, 0, got, sizeof(got)) >= 0)
			;
		app_rxsync(app, 0);
		if (app == &b)
			break;
	}
	app_rxsync(&c, 0);
	while (app_take(&c, 0, got, sizeof(got)) >= 0)
		;
	send(&a, B, A);
	assert_true(has_it(&b) && !has_it(&c));
	send(&b, A, B);
	assert_true(has_it(&a) && !has_it(&c));
	app_close(&c); /* and all of it is forgotten */
	assert_int_equal(list("vale0", (struct nm_vale_mac[4]){0}, 4), 2);
	app_close(&a);
	app_close(&b);
}

/* ---- ports come and go ---------------------------------------------------------------------- */

/* The number of a port that has left, and its addresses, are not those of the next. */
static void a_port_leaves_and_another_comes(void **state)
{
	struct app a, b, c;

	open_port(&a, "vale0:a");
	open_port(&b, "vale0:b");
	open_port(&c, "vale0:c");
	send(&b, NM_TEST_BROADCAST, B);
	assert_true(has_it(&a) && has_it(&c));
	app_close(&b);
	send(&a, B, A);
	assert_true(has_it(&c)); /* unknown again */
	open_port(&b, "vale0:new");
	send(&a, B, A);
	assert_true(has_it(&b) && has_it(&c));
	app_close(&a);
	app_close(&b);
	app_close(&c);
}

static void most_ports(void **state)
{
	static struct nm_client clients[NM_VALE_PORTS_MAX + 1];
	struct nm_region_params params = {
		.count = {NM_VALE_PORTS_MAX + 1, 2 * NM_VALE_PORTS_MAX + 2, 4096},
		.size = {256, 512, 64},
	};
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .num_rings = {1, 1}, .num_slots = {4, 4}};
	struct nm_region *region;
	struct nm_error err;

	region = nm_region_create(&core, &params, 0, &err);
	assert_non_null(region);
	for (uint32_t i = 0; i <= NM_VALE_PORTS_MAX; i++) {
		char name[32];

		snprintf(name, sizeof(name), "vale0:%u", i);
		nm_client_init(&clients[i], &core);
		clients[i].own_region = region;
		err.code = nm_client_bind(&clients[i], name, &bind);
		assert_int_equal(err.code, i < NM_VALE_PORTS_MAX ? 0 : -ENOSPC);
	}
	assert_non_null(strstr(clients[NM_VALE_PORTS_MAX].err.text, "254"));
	nm_client_unbind(&clients[100]);
	assert_int_equal(nm_client_bind(&clients[NM_VALE_PORTS_MAX], "vale0:more", &bind), 0);
	region_check(region);
	for (uint32_t i = 0; i <= NM_VALE_PORTS_MAX; i++)
		nm_client_unbind(&clients[i]);
	region_check(region);
	nm_region_put(region);
}

/* Rings and slots out of range, and in range but more than a region can hold. */
static void wrong_shapes(void **state)
{
	static const struct {
		uint32_t rings[NM_DIRS], slots[NM_DIRS];
		int error;
	} cases[] = {
		{{1, 1}, {1, 64}, -EINVAL},
		{{1, 1}, {64, 16385}, -EINVAL},
		{{65, 1}, {64, 64}, -EINVAL},
		{{1, 65}, {64, 64}, -EINVAL},
		{{UINT32_MAX, 1}, {64, 64}, -EINVAL},
		{{1, 1}, {UINT32_MAX, 64}, -EINVAL},
		{{64, 64}, {16384, 16384}, -ENOMEM}, /* 2^21 buffers */
		{{64, 64}, {2, 2}, 0},
		{{1, 1}, {16384, 16384}, 0},
		{{0, 0}, {0, 0}, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nm_bind bind = {.mode = NR_REG_ALL_NIC};
		struct nm_client client;

		memcpy(bind.num_rings, cases[i].rings, sizeof(bind.num_rings));
		memcpy(bind.num_slots, cases[i].slots, sizeof(bind.num_slots));
		nm_client_init(&client, &core);
		assert_int_equal(nm_client_bind(&client, "vale0:x", &bind), cases[i].error);
		if (cases[i].error)
			assert_int_not_equal(client.err.text[0], '\0');
		nm_client_unbind(&client);
		core_check_empty(&core);
	}
}

/* ---- order, room, rings ---------------------------------------------------------------------- */

static uint32_t take_number(struct app *app)
{
	uint32_t number;

	assert_int_equal(app_take(app, 0, got, sizeof(got)), 60);
	memcpy(&number, got + 20, sizeof(number));
	return number;
}

/* Broadcast and unicast mixed in one sync, of more than one batch: each port sees its share in the
 * order in which it was sent. */
static void order_of_a_mixture(void **state)
{
	enum { PACKETS = 300 };
	struct app a, b, c;

	app_open(&core, &a, &(struct app_config){"vale0:a", 2048, 512});
	app_open(&core, &b, &(struct app_config){"vale0:b", 2048, 512});
	app_open(&core, &c, &(struct app_config){"vale0:c", 2048, 512});
	send(&b, NM_TEST_BROADCAST, B);
	send(&c, NM_TEST_BROADCAST, C);
	for (struct app *app = &a;; app = app == &a ? &b : &c) {
		app_rxsync(app, 0);
		while (app_take(app, 0, got, sizeof(got)) >= 0)
			;
		if (app == &c)
			break;
	}
	for (int round = 0; round < 20; round++) {
		uint8_t kind[PACKETS];

		for (uint32_t i = 0; i < PACKETS; i++) {
			static const uint32_t dst[] = {NM_TEST_BROADCAST, 77, B, C};

			kind[i] = (uint8_t)prng_below(&fill, 4);
			make_frame(frame, 60, 0, dst[kind[i]], A, &fill);
			memcpy(frame + 20, &i, sizeof(i));
			assert_true(app_put(&a, 0, frame, 60, 0));
		}
		app_txsync(&a, 0);
		app_rxsync(&b, 0);
		app_rxsync(&c, 0);
		for (uint32_t i = 0; i < PACKETS; i++) {
			if (kind[i] != 3)
				assert_int_equal(take_number(&b), i);
			if (kind[i] != 2)
				assert_int_equal(take_number(&c), i);
		}
		assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 0);
		assert_int_equal(app_avail(app_ring(&c, NM_RX, 0)), 0);
	}
	app_close(&a);
	app_close(&b);
	app_close(&c);
}

static void a_full_receiver_drops(void **state)
{
	struct totals totals = {0};
	struct app a, b;

	app_open(&core, &a, &(struct app_config){"vale0:a", 2048, 64});
	app_open(&core, &b, &(struct app_config){"vale0:b", 2048, 8});
	for (uint32_t round = 1; round <= 20; round++) {
		for (uint32_t i = 0; i < 20; i++) {
			make_frame(frame, 60, 0, B, A, &fill);
			memcpy(frame + 20, &i, sizeof(i));
			assert_true(app_put(&a, 0, frame, 60, 0));
		}
		app_txsync(&a, 0); /* never waits */
		assert_int_equal(app_avail(app_ring(&a, NM_TX, 0)), 63);
		app_rxsync(&b, 0);
		for (uint32_t i = 0; i < 7; i++)
			assert_int_equal(take_number(&b), i);
		app_rxsync(&b, 0);
		assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 0);
		assert_int_equal(drops(&a, NM_TX, NM_DROP_RX_FULL), 13 * round);
		assert_int_equal(drops(&b, NM_RX, NM_DROP_RX_FULL), 13 * round);
	}
	/* Packets that are read but not given back keep their place. */
	send(&a, B, A);
	app_rxsync(&b, 0);
	assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 1);
	for (int i = 0; i < 10; i++)
		send(&a, B, A);
	app_rxsync(&b, 0);
	assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 7);
	totals_add(&totals, &a);
	totals_add(&totals, &b);
	totals_check(&totals, true);
	assert_int_equal(totals.tx_packets, 411);
	app_close(&a);
	app_close(&b);
}

/* Tx ring i goes to rx ring i, modulo. */
static void unequal_numbers_of_rings(void **state)
{
	struct app a, b;

	app_open(&core, &a, &(struct app_config){"vale0:a", 2048, 16, 5});
	app_open(&core, &b, &(struct app_config){"vale0:b", 2048, 16, 2});
	for (uint32_t i = 0; i < 5; i++) {
		make_frame(frame, 60, 0, B, A, &fill);
		assert_true(app_put(&a, i, frame, 60, 0));
		app_txsync(&a, i);
		app_rxsync(&b, 0);
		app_rxsync(&b, 1);
		assert_int_equal(app_take(&b, i % 2, got, sizeof(got)), 60);
		assert_int_equal(app_take(&b, 1 - i % 2, got, sizeof(got)), -1);
	}
	app_close(&a);
	app_close(&b);
}

/* A port whose rx rings nobody has registered: dropped, counted on both sides. */
static void nobody_receives_there(void **state)
{
	struct totals totals = {0};
	struct app a, b, c;

	open_port(&a, "vale0:a");
	app_open(&core, &b,
		&(struct app_config){
			.name = "vale0:b", .buf_size = 2048, .flags = NR_TX_RINGS_ONLY});
	open_port(&c, "vale0:c");
	send(&b, NM_TEST_BROADCAST, B);
	assert_true(has_it(&a) && has_it(&c));
	send(&a, B, A);
	send(&a, NM_TEST_BROADCAST, A);
	assert_true(has_it(&c));
	assert_int_equal(drops(&a, NM_TX, NM_DROP_NO_RECEIVER), 2);
	assert_int_equal(drops(&b, NM_RX, NM_DROP_NO_RECEIVER), 2);
	totals_add(&totals, &a);
	totals_add(&totals, &b);
	totals_add(&totals, &c);
	totals_check(&totals, false);
	app_close(&a);
	app_close(&b);
	app_close(&c);
}

static uint32_t wakeups;

static void on_wakeup(void *arg)
{
	wakeups++;
}

/* One signal for all that one batch brings to a ring; none when it brings nothing. */
static void receivers_are_woken(void **state)
{
	struct app a, b;

	open_port(&a, "vale0:a");
	app_open(&core, &b, &(struct app_config){"vale0:b", 2048, 32});
	os_wakeup_set(&app_private(&b, NM_RX, 0)->wakeup, on_wakeup, NULL);
	wakeups = 0;
	for (int i = 0; i < 31; i++) {
		make_frame(frame, 60, 0, B, A, &fill);
		assert_true(app_put(&a, 0, frame, 60, 0));
	}
	app_txsync(&a, 0);
	assert_int_equal(wakeups, 1);
	send(&a, B, A); /* no room */
	assert_int_equal(wakeups, 1);
	app_txsync(&a, 0); /* nothing to send */
	assert_int_equal(wakeups, 1);
	app_close(&a);
	app_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(forwarding_table, begin, core_end),
		cmocka_unit_test_setup_teardown(source_zero_is_not_learnt, begin, core_end),
		cmocka_unit_test_setup_teardown(no_learn, begin, core_end),
		cmocka_unit_test_setup_teardown(switches_are_separate, begin, core_end),
		cmocka_unit_test_setup_teardown(alone_on_a_switch, begin, core_end),
		cmocka_unit_test_setup_teardown(silent_addresses_age, begin, core_end),
		cmocka_unit_test_setup_teardown(list_of_addresses, begin, core_end),
		cmocka_unit_test_setup_teardown(one_port_floods, begin, core_end),
		cmocka_unit_test_setup_teardown(a_port_leaves_and_another_comes, begin, core_end),
		cmocka_unit_test_setup_teardown(most_ports, begin, core_end),
		cmocka_unit_test_setup_teardown(wrong_shapes, begin, core_end),
		cmocka_unit_test_setup_teardown(order_of_a_mixture, begin, core_end),
		cmocka_unit_test_setup_teardown(a_full_receiver_drops, begin, core_end),
		cmocka_unit_test_setup_teardown(unequal_numbers_of_rings, begin, core_end),
		cmocka_unit_test_setup_teardown(nobody_receives_there, begin, core_end),
		cmocka_unit_test_setup_teardown(receivers_are_woken, begin, core_end),
	};

	test_seed();
	return cmocka_run_group_tests_name("vale", tests, NULL, NULL);
}
