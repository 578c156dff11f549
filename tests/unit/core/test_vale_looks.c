/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How often the switch looks where a receiver is, and that nothing else depends on it. The delivering
 * end is compiled here once more, with a counter in that one load; the library's is not linked then.
 */
#include "util.h"
#include "vale_internal.h"

static uint32_t looks;
static struct nm_ring *moves_at_look; /* its application gives all slots back at the next look */

static uint32_t look(const uint32_t *hwcur)
{
	uint32_t seen = __atomic_load_n(hwcur, __ATOMIC_ACQUIRE);

	looks++;
	if (moves_at_look)
		OS_STORE_RELEASE(&moves_at_look->hwcur, OS_LOAD(&moves_at_look->produce.hwtail));
	moves_at_look = NULL;
	return seen;
}

#undef OS_LOAD_ACQUIRE
#define OS_LOAD_ACQUIRE(p) look(p)
#include "vale_deliver.c"

enum { A = 1, B = 2, SLOTS_B = 8, SHORT = 60, LONG = 3000 /* two slots */ };

static struct nm_core core;
static struct prng r;
static struct app a, b;

static int open_both(void **state)
{
	r = prng_new(1);
	assert_int_equal(nm_core_init(&core), 0);
	app_open(&core, &a, &(struct app_config){"vale0:a", 2048, 256});
	app_open(&core, &b, &(struct app_config){"vale0:b", 2048, SLOTS_B});
	moves_at_look = NULL;
	return 0;
}

static int close_both(void **state)
{
	struct totals totals = {0};

	totals_add(&totals, &a);
	totals_add(&totals, &b);
	totals_check(&totals, true);
	app_close(&a);
	app_close(&b);
	core_check_empty(&core);
	nm_core_destroy(&core);
	return 0;
}

/* One sync of so many packets of len bytes. Returns how many looks it took. */
static uint32_t send(uint32_t packets, uint32_t len)
{
	uint8_t frame[LONG];

	for (uint32_t i = 0; i < packets; i++) {
		make_frame(frame, len, 0, B, A, &r);
		assert_true(app_put(&a, 0, frame, len, 0));
	}
	looks = 0;
	app_txsync(&a, 0);
	return looks;
}

static uint64_t refused(void)
{
	uint64_t count = app_private(&a, NM_TX, 0)->stats.drops[NM_DROP_RX_FULL];

	assert_int_equal(app_private(&b, NM_RX, 0)->stats.drops[NM_DROP_RX_FULL], count);
	return count;
}

static uint64_t delivered(void)
{
	return app_private(&b, NM_RX, 0)->stats.packets;
}

static void receive_all(void)
{
	uint8_t frame[LONG];

	app_rxsync(&b, 0);
	while (app_take(&b, 0, frame, sizeof(frame)) >= 0)
		;
	app_rxsync(&b, 0);
}

static void one_look_for_each_batch_that_is_refused(void **state)
{
	send(SLOTS_B - 1, SHORT);
	assert_int_equal(delivered(), SLOTS_B - 1);
	assert_int_equal(send(2 * NM_VALE_BATCH + 10, SHORT), 3);
	assert_int_equal(refused(), 2 * NM_VALE_BATCH + 10);
	assert_int_equal(send(20, LONG), 1);
	assert_int_equal(refused(), 2 * NM_VALE_BATCH + 30);
	assert_int_equal(delivered(), SLOTS_B - 1);
}

/* What does not fit leaves the look good for what is behind it. */
static void one_look_for_a_batch_without_room_for_two(void **state)
{
	send(SLOTS_B - 2, SHORT);
	assert_int_equal(send(20, LONG), 1);
	assert_int_equal(refused(), 20);
	assert_int_equal(send(1, SHORT), 0); /* that there is one slot is known */
	assert_int_equal(delivered(), SLOTS_B - 1);
}

/* As much as there is room for, then one more look: something may have been taken since. */
static void a_batch_that_fits_in_part(void **state)
{
	assert_int_equal(send(20, SHORT), 2);
	assert_int_equal(delivered(), SLOTS_B - 1);
	assert_int_equal(refused(), 20 - (SLOTS_B - 1));
	receive_all();
	assert_int_equal(send(SLOTS_B - 1, SHORT), 1);
	assert_int_equal(delivered(), 2 * (SLOTS_B - 1));
}

/* The receiver makes room after the look that found none: the batch is refused, the next is not. */
static void room_that_comes_late_is_for_the_next_batch(void **state)
{
	send(SLOTS_B - 1, SHORT);
	app_rxsync(&b, 0);
	moves_at_look = app_private(&b, NM_RX, 0);
	assert_int_equal(send(5, SHORT), 1);
	assert_int_equal(refused(), 5);
	assert_int_equal(send(5, SHORT), 1);
	assert_int_equal(refused(), 5);
	assert_int_equal(delivered(), SLOTS_B - 1 + 5);
	receive_all();
}

/* And after the look that found some: it is used at once. */
static void room_that_comes_in_time_is_used(void **state)
{
	send(2, SHORT);
	app_rxsync(&b, 0);
	moves_at_look = app_private(&b, NM_RX, 0);
	assert_int_equal(send(7, SHORT), 2);
	assert_int_equal(refused(), 0);
	assert_int_equal(delivered(), 9);
	receive_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			one_look_for_each_batch_that_is_refused, open_both, close_both),
		cmocka_unit_test_setup_teardown(
			one_look_for_a_batch_without_room_for_two, open_both, close_both),
		cmocka_unit_test_setup_teardown(a_batch_that_fits_in_part, open_both, close_both),
		cmocka_unit_test_setup_teardown(
			room_that_comes_late_is_for_the_next_batch, open_both, close_both),
		cmocka_unit_test_setup_teardown(
			room_that_comes_in_time_is_used, open_both, close_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
