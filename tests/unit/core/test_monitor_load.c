/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Monitors under load: what they can't show is counted, slots that are rewritten harm nobody, and they
 * come and go while their rings are synced.
 *
 * The tests with threads are also for ThreadSanitizer (see meson.build).
 */
#include "monitor_apps.h"

#include <pthread.h>
#include <sched.h>

/* ---- overload ------------------------------------------------------------------------------ */

static void a_full_monitor_misses(bool zcopy)
{
	struct nm_region *region = make_region(&core, 2000, 2048, 256);
	uint64_t z = zcopy ? NR_ZCOPY_MON : 0, passed = 0, shown = 0, before;
	struct app a, b, small, large;
	struct prng r = prng_new(9);
	uint8_t frame[MOST];
	uint16_t flags;

	open_in(&a, region, "vale0:a", 0, 64);
	open_app(&b, "vale0:b", 0, 64);
	open_in(&small, region, "vale0:a", NR_MONITOR_TX | z, 4);
	open_in(&large, region, "vale0:a", NR_MONITOR_RX | z, 64);
	for (int i = 0; i < 2000; i++) {
		frame_to(frame, FRAME, NM_TEST_BROADCAST, 1, &r);
		send_one(&a, frame, FRAME, prng_range(&r, 1, 6));
		expect(&b, frame, FRAME, 0); /* the port does not notice */
		passed++;
		if (prng_chance(&r, 10))
			while (take(&small, frame, &flags) >= 0)
				shown++;
	}
	assert_int_equal(accounted(&small), passed);
	assert_int_equal(
		stats(&small, NM_RX)->packets + stats(&small, NM_RX)->drops[NM_DROP_MISSED],
		passed);
	assert_true(stats(&small, NM_RX)->drops[NM_DROP_MISSED] > 1000);
	while (take(&small, frame, &flags) >= 0)
		shown++;
	assert_int_equal(shown, stats(&small, NM_RX)->packets);
	before = stats(&small, NM_RX)->drops[NM_DROP_MISSED];
	frame_to(frame, FRAME, NM_TEST_BROADCAST, 1, &r);
	send_one(&a, frame, FRAME, 1); /* with room again it sees again */
	expect(&small, frame, FRAME, NS_TXMON);
	assert_int_equal(stats(&small, NM_RX)->drops[NM_DROP_MISSED], before);
	check_distinct((struct app *const[]){&a, &small, &large}, 3);
	app_close(&a);
	app_close(&b);
	app_close(&small);
	app_close(&large);
	region_check(region);
	nm_region_put(region);
}

static void a_full_copy_monitor_misses(void **state)
{
	a_full_monitor_misses(false);
}

static void a_full_zero_copy_monitor_misses(void **state)
{
	a_full_monitor_misses(true);
}

/* ---- hostile ------------------------------------------------------------------------------- */

/* What the watched application writes into its slots, and the monitor's into its own, is looked at
 * before it is used; each packet is counted once. */
static void hostile_slots(bool zcopy)
{
	struct nm_region *region = make_region(&core, 4000, 2048, 256);
	uint32_t total = region->pool[NM_POOL_BUF].count;
	struct prng r = prng_new(zcopy ? 10 : 11);
	struct netmap_ring *tx, *shown;
	struct app a, b, mon, good;
	uint64_t passed = 0;

	open_in(&a, region, "vale0:a", 0, 128);
	open_app(&b, "vale0:b", 0, 128);
	open_in(&mon, region, "vale0:a", NR_MONITOR_TX | (zcopy ? NR_ZCOPY_MON : 0), 128);
	open_app(&good, "vale0:a", NR_MONITOR_TX, 256);
	tx = app_ring(&a, NM_TX, 0);
	shown = app_ring(&mon, NM_RX, 0);
	for (int i = 0; i < 5000; i++) {
		uint32_t slots = prng_range(&r, 1, 4);
		uint64_t before = stats(&a, NM_TX)->packets;

		while (slots-- > 0) {
			uint32_t index = prng_chance(&r, 50) ? prng_edge32(&r, total)
							     : tx->slot[tx->head].buf_idx;
			uint16_t len = prng_chance(&r, 50) ? (uint16_t)prng_edge32(&r, 2048) : 60;
			uint16_t flags = prng_chance(&r, 30) ? (uint16_t)prng_next(&r) : 0;

			app_put_slot(&a, 0, index, len, slots ? NS_MOREFRAG : flags & ~NS_MOREFRAG);
		}
		for (int n = 0; n < 3; n++) { /* slots that are not the monitor's own, too */
			struct netmap_slot *slot = &shown->slot[prng_below(&r, shown->num_slots)];

			if (prng_chance(&r, 30))
				slot->buf_idx = prng_edge32(&r, total);
			slot->flags = (uint16_t)prng_next(&r);
		}
		app_txsync(&a, 0);
		passed += stats(&a, NM_TX)->packets - before;
		assert_int_equal(accounted(&mon), passed);
		assert_int_equal(accounted(&good), passed);
		app_rxsync(&mon, 0);
		shown->head = shown->cur = shown->tail;
		app_rxsync(&good, 0);
		app_ring(&good, NM_RX, 0)->head = app_ring(&good, NM_RX, 0)->cur =
			app_ring(&good, NM_RX, 0)->tail;
	}
	assert_int_equal(stats(&good, NM_RX)->drops[NM_DROP_MISSED], 0);
	assert_true(stats(&good, NM_RX)->drops[NM_DROP_BAD_BUFFER] > 100);
	assert_true(stats(&good, NM_RX)->drops[NM_DROP_BAD_LENGTH] > 100);
	assert_true(stats(&good, NM_RX)->drops[NM_DROP_INDIRECT] > 100);
	assert_true(stats(&mon, NM_RX)->drops[NM_DROP_BAD_BUFFER] >
		    stats(&good, NM_RX)->drops[NM_DROP_BAD_BUFFER]);
	app_close(&mon);
	app_close(&a);
	app_close(&good);
	app_close(&b);
	region_check(region);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), total - NM_BUFS_RESERVED);
	nm_region_put(region);
}

static void hostile_slots_copied(void **state)
{
	hostile_slots(false);
}

static void hostile_slots_exchanged(void **state)
{
	hostile_slots(true);
}

/* ---- threads ------------------------------------------------------------------------------------- */

enum { PACKETS = 30000, OPENINGS = 150 };

static bool stop; /* atomic */

static void *sender(void *arg)
{
	struct app *a = arg;
	struct prng r = prng_new(16);
	uint8_t frame[60];
	uint32_t seq = 0;

	while (seq < PACKETS) {
		for (uint32_t batch = prng_range(&r, 1, 30); batch > 0; batch--) {
			make_frame(frame, sizeof(frame), 0, NM_TEST_BROADCAST, 1, &r);
			memcpy(frame + 16, &seq, sizeof(seq));
			if (seq == PACKETS ||
				!app_put(a, 0, frame, sizeof(frame), prng_chance(&r, 20) ? 3 : 1))
				break;
			seq++;
		}
		if (nm_ring_sync_shared(app_private(a, NM_TX, 0)))
			abort();
		if (prng_chance(&r, 30))
			sched_yield();
	}
	return NULL;
}

/* Releases all that is received. Numbers rise, or it aborts. */
static uint64_t drain(struct app *app, uint32_t *last)
{
	struct netmap_ring *ring = app_ring(app, NM_RX, 0);
	uint64_t packets = 0;
	uint32_t seq;

	if (nm_ring_sync_shared(app_private(app, NM_RX, 0)))
		abort();
	for (; ring->head != ring->tail;
		ring->head = ring->cur = ring->head + 1 == ring->num_slots ? 0 : ring->head + 1) {
		const struct netmap_slot *slot = &ring->slot[ring->head];

		if (slot->flags & NS_MOREFRAG && slot->len < 20)
			abort();
		if (slot->len >= 20 && (slot->flags >> NS_PORT_SHIFT) >= 1 && slot->len != 20) {
			memcpy(&seq, app_buf(ring, slot->buf_idx) + 16, sizeof(seq));
			if (*last != UINT32_MAX && seq <= *last)
				abort();
			*last = seq;
		}
		packets += !(slot->flags & NS_MOREFRAG);
	}
	return packets;
}

static void *receiver(void *arg)
{
	uint32_t last = UINT32_MAX;

	while (!OS_LOAD(&stop))
		if (drain(arg, &last) == 0)
			sched_yield();
	return NULL;
}

/* Monitors come and go while their rings are synced by two threads; one of each sort stays. */
static void monitors_come_and_go(bool zcopy)
{
	struct nm_region *region = make_region(&core, 4000, 2048, 256);
	uint64_t z = zcopy ? NR_ZCOPY_MON : 0, shown = 0;
	uint32_t last = UINT32_MAX;
	struct app a, b, tx, rx;
	pthread_t threads[2];

	OS_STORE(&stop, false);
	open_in(&a, region, "vale0:a", 0, 128);
	open_in(&b, region, "vale0:b", 0, 128);
	open_in(&tx, region, "vale0:a", NR_MONITOR_TX | z, 128);
	open_in(&rx, region, "vale0:b", NR_MONITOR_RX | z, 128);
	assert_int_equal(pthread_create(&threads[0], NULL, sender, &a), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, receiver, &b), 0);
	for (int i = 0; i < OPENINGS; i++) {
		struct app guest;

		open_app(&guest, i % 2 ? "vale0:a" : "vale0:b", NR_MONITOR_TX | NR_MONITOR_RX, 32);
		shown += drain(&tx, &last);
		sched_yield();
		nm_ring_sync_shared(app_private(&guest, NM_RX, 0));
		app_close(&guest);
	}
	pthread_join(threads[0], NULL);
	OS_STORE(&stop, true);
	pthread_join(threads[1], NULL);
	shown += drain(&tx, &last);
	assert_int_equal(stats(&a, NM_TX)->packets, PACKETS);
	assert_int_equal(accounted(&tx), PACKETS);
	assert_int_equal(shown, stats(&tx, NM_RX)->packets);
	app_rxsync(&b, 0);
	app_ring(&b, NM_RX, 0)->head = app_ring(&b, NM_RX, 0)->cur = app_ring(&b, NM_RX, 0)->tail;
	app_rxsync(&b, 0);
	assert_int_equal(accounted(&rx), stats(&b, NM_RX)->packets);
	check_distinct((struct app *const[]){&a, &b, &tx, &rx}, 4);
	app_close(&tx);
	app_close(&a);
	app_close(&b);
	app_close(&rx);
	region_check(region);
	nm_region_put(region);
}

static void copy_monitors_come_and_go(void **state)
{
	monitors_come_and_go(false);
}

static void zero_copy_monitors_and_others(void **state)
{
	monitors_come_and_go(true);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(a_full_copy_monitor_misses),
		TEST(a_full_zero_copy_monitor_misses),
		TEST(hostile_slots_copied),
		TEST(hostile_slots_exchanged),
		TEST(copy_monitors_come_and_go),
		TEST(zero_copy_monitors_and_others),
	};

	test_seed();
	return cmocka_run_group_tests_name("monitor_load", tests, NULL, NULL);
}
