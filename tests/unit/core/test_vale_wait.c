/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets that wait in their sender's ring for a receiver that is full: order, bound, turns. */
#include "vale.h"

#include <stdio.h>

#include "fixture.h"

enum { HDR = 12, LEN = HDR + 60, BOUND_US = 2000000 };
enum { A = 1, B, C, D }; /* stations: one per port, with its number */

static struct prng fill;
static struct app port[D + 1];
static uint8_t frame[70000], got[70000];
static uint32_t sent[D + 1][D + 1], taken[D + 1][D + 1]; /* from, to */

static int begin(void **state)
{
	fill = prng_new(1);
	memset(sent, 0, sizeof(sent));
	memset(taken, 0, sizeof(taken));
	return core_begin(state);
}

/* A port whose station the others know. */
static void open_port(uint32_t i, uint32_t slots, uint32_t wait_us)
{
	char name[16];

	snprintf(name, sizeof(name), "vale0:%u", i);
	app_open(&core, &port[i],
		&(struct app_config){name, 2048, slots, .hdr_len = wait_us ? HDR : 0});
	port[i].client.port->full_wait_us = wait_us;
	make_frame(frame, LEN, wait_us ? HDR : 0, NM_TEST_BROADCAST, i, &fill);
	assert_true(app_put(&port[i], 0, frame, LEN, 0));
	app_txsync(&port[i], 0);
}

/* What the ports have heard of each other's opening is taken. */
static void settle(uint32_t last)
{
	for (uint32_t i = A; i <= last; i++) {
		app_rxsync(&port[i], 0);
		while (app_take(&port[i], 0, got, sizeof(got)) >= 0)
			;
		app_rxsync(&port[i], 0);
	}
}

static void open_ports(uint32_t last, uint32_t slots, uint32_t wait_us)
{
	for (uint32_t i = A; i <= last; i++)
		open_port(i, slots, wait_us);
	settle(last);
}

static void close_ports(uint32_t last)
{
	struct totals totals = {0};

	for (uint32_t i = A; i <= last; i++)
		totals_add(&totals, &port[i]);
	totals_check(&totals, false);
	for (uint32_t i = A; i <= last; i++)
		app_close(&port[i]);
}

static const struct nm_ring_stats *tx(uint32_t i)
{
	return &app_private(&port[i], NM_TX, 0)->stats;
}

/* A numbered packet; false: the sender's ring has no room. */
static bool put(uint32_t from, uint32_t to, uint32_t len, uint32_t frags)
{
	uint32_t hdr = port[from].hdr_len;

	make_frame(frame, len, hdr, to, from, &fill);
	memcpy(frame + hdr + 16, &sent[from][to], 4);
	if (!app_put(&port[from], 0, frame, len, frags))
		return false;
	sent[from][to]++;
	return true;
}

/* As its worker does: again, as long as that may change something. */
static void sync(uint32_t from)
{
	struct nm_ring *ring = app_private(&port[from], NM_TX, 0);

	do
		app_txsync(&port[from], 0);
	while (ring->port->ops->can_send(ring));
}

/* Takes at most `most` packets, each of which is the next of its sender. Returns their number. */
static uint32_t take(uint32_t i, uint32_t most)
{
	uint32_t n = 0, from, number;

	app_rxsync(&port[i], 0);
	for (; n < most && app_take(&port[i], 0, got, sizeof(got)) >= 0; n++) {
		from = got[port[i].hdr_len + 11];
		memcpy(&number, got + port[i].hdr_len + 16, 4);
		assert_in_range(from, A, D);
		assert_int_equal(number, taken[from][i]);
		taken[from][i]++;
	}
	app_rxsync(&port[i], 0);
	return n;
}

/* Fills B's ring of 16 slots, and some more that wait. */
static void fill_up(uint32_t more)
{
	for (uint32_t i = 0; i < 15 + more; i++)
		assert_true(put(A, B, LEN, 0));
	sync(A);
	assert_int_equal(tx(A)->waits, more);
}

/* ---- waiting ------------------------------------------------------------------------------------ */

static void nothing_is_lost_and_all_in_order(void **state)
{
	struct nm_ring *ring;

	open_ports(B, 16, BOUND_US);
	ring = app_private(&port[A], NM_TX, 0);
	for (uint32_t round = 0; round < 200; round++) {
		while (put(A, B, LEN, 0))
			;
		sync(A);
		take(B, 1 + prng_below(&fill, 20));
	}
	assert_true(tx(A)->waits > 100);
	while (taken[A][B] < sent[A][B]) {
		sync(A);
		assert_true(take(B, 100) > 0);
	}
	sync(A);
	assert_int_equal(ring->tail, nm_ring_before(ring->head, 16));
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 0);
	assert_int_equal(tx(A)->expired, 0);
	close_ports(B);
}

/* Its ring says how far it may go. */
static void a_sender_keeps_its_slots(void **state)
{
	struct nm_ring *ring;
	uint32_t first;

	open_port(A, 64, BOUND_US);
	open_port(B, 16, BOUND_US);
	settle(B);
	ring = app_private(&port[A], NM_TX, 0);
	fill_up(0);
	first = ring->head;
	while (put(A, B, LEN, 0))
		;
	sync(A);
	assert_int_equal(ring->hwcur, ring->head);
	assert_int_equal(ring->tail, nm_ring_before(first, 64));
	assert_false(put(A, B, LEN, 0));
	assert_int_equal(take(B, 15), 15);
	sync(A);
	/* 15 more have gone; those behind wait. */
	assert_int_equal(nm_ring_distance(first, ring->tail + 1, 64), 15);
	while (take(B, 15) > 0)
		sync(A);
	assert_int_equal(taken[A][B], sent[A][B]);
	close_ports(B);
}

static void others_are_not_held_up(void **state)
{
	open_port(A, 64, BOUND_US);
	open_port(B, 16, BOUND_US);
	open_port(C, 64, BOUND_US);
	settle(C);
	fill_up(5);
	for (uint32_t i = 0; i < 20; i++) {
		assert_true(put(A, C, LEN, 0));
		assert_true(put(A, B, LEN, 0));
	}
	sync(A);
	assert_int_equal(take(C, 100), 20);
	assert_int_equal(take(B, 100), 15);
	sync(A);
	assert_int_equal(take(B, 100), 15);
	sync(A);
	assert_int_equal(take(B, 100), 10);
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 0);
	close_ports(C);
}

/* 33 slots each, into a ring that has room for three. */
static void packets_of_many_slots_wait_as_a_whole(void **state)
{
	open_ports(B, 128, BOUND_US);
	for (uint32_t round = 0; round < 50; round++) {
		while (put(A, B, 33 * 2048 - 1000, 0))
			;
		sync(A);
		take(B, 1);
	}
	while (taken[A][B] < sent[A][B]) {
		sync(A);
		assert_true(take(B, 100) > 0);
	}
	assert_true(tx(A)->waits > 40);
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 0);
	close_ports(B);
}

/* ---- the bound ----------------------------------------------------------------------------------- */

static void it_has_a_bound(void **state)
{
	struct nm_ring *ring;

	open_port(A, 64, BOUND_US);
	open_port(B, 16, BOUND_US);
	settle(B);
	ring = app_private(&port[A], NM_TX, 0);
	fill_up(5);
	advance_clock(1);
	assert_false(ring->port->ops->can_send(ring));
	sync(A);
	assert_int_equal(tx(A)->expired, 0);
	advance_clock(2);
	assert_true(ring->port->ops->can_send(ring));
	sync(A);
	assert_int_equal(tx(A)->expired, 5);
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 5);
	assert_int_equal(ring->tail, nm_ring_before(ring->head, 64));
	/* It is stuck: nobody waits for it any more, */
	sent[A][B] = 15;
	for (uint32_t i = 0; i < 10; i++)
		assert_true(put(A, B, LEN, 0));
	sync(A);
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 15);
	assert_int_equal(tx(A)->waits, 5);
	/* until it takes something. */
	assert_int_equal(take(B, 1), 1);
	sent[A][B] = 15;
	for (uint32_t i = 0; i < 10; i++)
		assert_true(put(A, B, LEN, 0));
	sync(A);
	assert_int_equal(tx(A)->waits, 14);
	assert_int_equal(take(B, 100), 15);
	sync(A);
	assert_int_equal(take(B, 100), 9);
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 15);
	close_ports(B);
}

/* Without the header, with the option off at either end, or to all: as always. */
static void the_others_lose_packets(void **state)
{
	static const uint32_t waits[][2] = {{0, 0}, {BOUND_US, 0}, {0, BOUND_US}};

	for (size_t k = 0; k < sizeof(waits) / sizeof(waits[0]); k++) {
		open_port(A, 64, waits[k][0]);
		open_port(B, 16, waits[k][1]);
		settle(B);
		for (uint32_t i = 0; i < 30; i++)
			assert_true(put(A, B, LEN, 0));
		sync(A);
		assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 15);
		assert_int_equal(tx(A)->waits, 0);
		close_ports(B);
	}
	open_port(A, 64, BOUND_US);
	open_port(B, 16, BOUND_US);
	settle(B);
	for (uint32_t i = 0; i < 30; i++) {
		make_frame(frame, LEN, HDR, NM_TEST_BROADCAST, A, &fill);
		assert_true(app_put(&port[A], 0, frame, LEN, 0));
	}
	sync(A);
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 15);
	close_ports(B);
}

/* Packets for one port and for all in one batch: the latter don't wait, nor hold up the former. */
static void broadcasts_between_them(void **state)
{
	open_port(A, 64, BOUND_US);
	open_port(B, 16, BOUND_US);
	settle(B);
	fill_up(0);
	for (uint32_t i = 0; i < 5; i++) {
		assert_true(put(A, B, LEN, 0));
		make_frame(frame, LEN, HDR, NM_TEST_BROADCAST, A, &fill);
		assert_true(app_put(&port[A], 0, frame, LEN, 0));
	}
	sync(A);
	assert_int_equal(tx(A)->waits, 5);
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 5);
	assert_int_equal(take(B, 100), 15);
	sync(A);
	assert_int_equal(take(B, 100), 5);
	close_ports(B);
}

/* More than the queue has places: the rest is taken later. */
static void very_many(void **state)
{
	open_port(A, 1024, BOUND_US);
	open_port(B, 16, BOUND_US);
	settle(B);
	while (put(A, B, LEN, 0))
		;
	sync(A);
	assert_true(tx(A)->waits <= 256);
	while (taken[A][B] < sent[A][B]) {
		assert_true(take(B, 100) > 0);
		sync(A);
	}
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 0);
	close_ports(B);
}

/* ---- ends ------------------------------------------------------------------------------------------- */

/* Another port under the receiver's number gets nothing of what waits. */
static void a_receiver_that_leaves(void **state)
{
	open_port(A, 64, BOUND_US);
	open_port(B, 16, BOUND_US);
	settle(B);
	fill_up(5);
	app_close(&port[B]);
	open_port(C, 16, BOUND_US);
	app_rxsync(&port[C], 0);
	sync(A);
	assert_int_equal(tx(A)->drops[NM_DROP_NO_RECEIVER], 5 + 1); /* and A's first broadcast */
	assert_int_equal(take(C, 100), 0);
	app_close(&port[A]);
	app_close(&port[C]);
}

static void a_sender_that_leaves_or_changes_its_header(void **state)
{
	struct nm_ring *ring;

	open_port(A, 64, BOUND_US);
	open_port(B, 16, BOUND_US);
	settle(B);
	fill_up(5);
	app_close(&port[A]);
	assert_int_equal(take(B, 100), 15);
	memset(sent, 0, sizeof(sent));
	memset(taken, 0, sizeof(taken));
	open_port(A, 64, BOUND_US);
	settle(B);
	fill_up(5);
	ring = app_private(&port[A], NM_TX, 0);
	nm_core_lock(&core);
	assert_int_equal(nm_port_set_hdr_len_locked(port[A].client.port, 0), 0);
	nm_core_unlock(&core);
	assert_int_equal(ring->tail, nm_ring_before(ring->hwcur, 64));
	sync(A);
	assert_int_equal(tx(A)->drops[NM_DROP_RX_FULL], 5);
	assert_int_equal(take(B, 100), 15);
	assert_int_equal(take(B, 100), 0);
	app_close(&port[A]);
	app_close(&port[B]);
}

/* The sender writes to slots of packets that wait: they become other packets, or none, of its own. */
static void slots_that_change_meanwhile(void **state)
{
	struct netmap_ring *ring;
	uint32_t first;

	open_port(A, 64, BOUND_US);
	open_port(B, 16, BOUND_US);
	settle(B);
	ring = app_ring(&port[A], NM_TX, 0);
	for (uint32_t round = 0; round < 300; round++) {
		first = ring->head;
		while (put(A, B, LEN, 0))
			;
		sync(A);
		for (uint32_t i = 0; i < 20; i++) {
			struct netmap_slot *slot = &ring->slot[(first + i) % 64];

			if (prng_chance(&fill, 30))
				slot->len = (uint16_t)prng_edge32(&fill, 2048);
			if (prng_chance(&fill, 30))
				slot->flags = (uint16_t)prng_next(&fill);
		}
		app_rxsync(&port[B], 0);
		while (app_take(&port[B], 0, got, sizeof(got)) >= 0)
			;
		app_rxsync(&port[B], 0);
		sync(A);
	}
	for (uint32_t i = 0; i < 64; i++)
		ring->slot[i].flags = 0;
	close_ports(B);
}

/* ---- several -------------------------------------------------------------------------------------------- */

/* Three who want to send as much as they can, always in this order: each gets through. */
static void each_has_its_turn(void **state)
{
	for (uint32_t i = A; i <= C; i++)
		open_port(i, 256, BOUND_US);
	open_port(D, 64, BOUND_US);
	settle(D);
	for (uint32_t round = 0; round < 1000; round++) {
		for (uint32_t i = A; i <= C; i++) {
			while (put(i, D, LEN, 0))
				;
			sync(i);
		}
		take(D, 16);
	}
	for (uint32_t i = A; i <= C; i++) {
		assert_in_range(taken[i][D], 3000, 9000);
		assert_int_equal(tx(i)->drops[NM_DROP_RX_FULL], 0);
	}
	close_ports(D);
}

/* Whoever doesn't come holds up nobody for long: here, once the clock has moved. */
static void a_turn_that_is_not_taken(void **state)
{
	open_port(A, 64, BOUND_US);
	open_port(B, 16, BOUND_US);
	open_port(C, 64, BOUND_US);
	settle(C);
	fill_up(5);
	for (uint32_t i = 0; i < 5; i++)
		assert_true(put(C, B, LEN, 0));
	sync(C);
	assert_int_equal(take(B, 15), 15);
	advance_clock(1);
	sync(C); /* A never comes */
	assert_true(take(B, 15) > 0);
	assert_true(taken[C][B] > 0);
	sync(C);
	take(B, 15);
	assert_int_equal(taken[C][B], 5);
	app_close(&port[A]);
	app_close(&port[B]);
	app_close(&port[C]);
}

/* Everybody to everybody, packets of all sizes, receivers slow and fast. */
static void random_traffic(void **state)
{
	bool left = true;

	for (uint32_t i = A; i <= D; i++)
		open_port(i, 40 + 17 * i, BOUND_US);
	settle(D);
	for (uint32_t round = 0; round < 5000; round++) {
		uint32_t from = prng_range(&fill, A, D), to = prng_range(&fill, A, D);
		uint32_t frags = prng_chance(&fill, 20) ? prng_range(&fill, 1, 35) : 1;

		if (from != to)
			put(from, to, HDR + 60 + prng_below(&fill, 2000 * frags - 80), 0);
		if (prng_chance(&fill, 50))
			sync(from);
		if (prng_chance(&fill, 10))
			take(to, prng_below(&fill, 10));
	}
	while (left) {
		left = false;
		for (uint32_t i = A; i <= D; i++)
			sync(i);
		for (uint32_t i = A; i <= D; i++)
			left |= take(i, 1000) > 0;
	}
	for (uint32_t i = A; i <= D; i++) {
		for (uint32_t k = A; k <= D; k++)
			assert_int_equal(taken[i][k], sent[i][k]);
		assert_int_equal(tx(i)->drops[NM_DROP_RX_FULL], 0);
	}
	assert_true(tx(A)->waits + tx(B)->waits + tx(C)->waits + tx(D)->waits > 10);
	close_ports(D);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, core_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(nothing_is_lost_and_all_in_order),
		test(a_sender_keeps_its_slots),
		test(others_are_not_held_up),
		test(packets_of_many_slots_wait_as_a_whole),
		test(it_has_a_bound),
		test(the_others_lose_packets),
		test(broadcasts_between_them),
		test(very_many),
		test(a_receiver_that_leaves),
		test(a_sender_that_leaves_or_changes_its_header),
		test(slots_that_change_meanwhile),
		test(each_has_its_turn),
		test(a_turn_that_is_not_taken),
		test(random_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
