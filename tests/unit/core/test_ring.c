/* SPDX-License-Identifier: BSD-2-Clause */
/* core/ring.h: which moves of head and cur are legal, and what an illegal one leaves behind. */
#include "ring.h"
#include "util.h"

/* ---- arithmetic, against stepping slot by slot ---------------------------------------------- */

enum { SMALL = 6 };

static void distance_and_advance(void **state)
{
	for (uint32_t n = 2; n <= SMALL; n++) {
		for (uint32_t a = 0; a < n; a++) {
			uint32_t at = a;

			for (uint32_t steps = 0; steps < n; steps++) {
				assert_int_equal(nm_ring_advance(a, steps, n), at);
				assert_int_equal(nm_ring_distance(a, at, n), steps);
				at = at + 1 == n ? 0 : at + 1;
			}
		}
	}
}

/* Walks from old head to tail one slot at a time: head must be met first, then cur. */
static bool walk_is_legal(uint32_t old_head, uint32_t tail, uint32_t head, uint32_t cur, uint32_t n)
{
	bool head_seen = false;
	uint32_t at = old_head;

	for (;;) {
		if (at == head)
			head_seen = true;
		if (head_seen && at == cur)
			return true;
		if (at == tail)
			return false;
		at = at + 1 == n ? 0 : at + 1;
	}
}

/* Every state and every move of small rings, moves out of range as well. */
static void all_moves_of_small_rings(void **state)
{
	uint32_t legal = 0;

	for (uint32_t n = 2; n <= SMALL; n++)
		for (uint32_t old = 0; old < n; old++)
			for (uint32_t tail = 0; tail < n; tail++)
				for (uint32_t head = 0; head < n + 2; head++)
					for (uint32_t cur = 0; cur < n + 2; cur++) {
						bool good =
							nm_ring_move_legal(old, tail, head, cur, n);

						assert_int_equal(good,
							walk_is_legal(old, tail, head, cur, n));
						legal += good;
					}
	assert_true(legal > 100);
}

static void moves_far_out_of_range(void **state)
{
	static const uint32_t far[] = {
		1024, 1025, 0x7fffffff, 0x80000000, 0xfffffc00, 0xfffffffe, 0xffffffff};

	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		assert_false(nm_ring_move_legal(0, 1023, far[i], 5, 1024));
		assert_false(nm_ring_move_legal(0, 1023, 5, far[i], 1024));
		assert_false(nm_ring_move_legal(1000, 999, far[i], far[i], 1024));
	}
}

static void slots_are_loaded_whole(void **state)
{
	struct prng r = prng_new(1);

	for (int round = 0; round < 1000; round++) {
		struct netmap_slot slot;
		struct nm_slot_copy copy;

		prng_fill(&r, &slot, sizeof(slot));
		copy = nm_slot_load(&slot);
		assert_int_equal(copy.buf_idx, slot.buf_idx);
		assert_int_equal(copy.len, slot.len);
		assert_int_equal(copy.flags, slot.flags);
	}
}

static void drops_have_names(void **state)
{
	for (int i = 0; i < NM_DROPS; i++) {
		assert_non_null(nm_drop_name(i));
		assert_null(strchr(nm_drop_name(i), ' '));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(nm_drop_name(i), nm_drop_name(j));
	}
	assert_null(nm_drop_name(NM_DROPS));
}

/* ---- a sync, with a port kind whose other side is played here -------------------------------- */

static struct {
	uint32_t txsyncs, rxsyncs;
	uint32_t new_tail; /* what the next sync tells */
	int result;
} kind;

static int play_txsync(struct nm_ring *ring)
{
	kind.txsyncs++;
	ring->hwcur = ring->head;
	ring->tail = kind.new_tail;
	return kind.result;
}

static int play_rxsync(struct nm_ring *ring)
{
	kind.rxsyncs++;
	ring->hwcur = ring->head;
	ring->tail = kind.new_tail;
	return kind.result;
}

static const struct nm_port_ops play_ops = {
	.kind = "play", .txsync = play_txsync, .rxsync = play_rxsync};

/* A core with one port of this kind, and an application on it. */
struct play {
	struct nm_core core;
	struct nm_port *port;
	struct app app;
};

static void play_begin(struct play *play, uint32_t slots)
{
	struct nm_error error;

	nm_core_init(&play->core);
	memset(&kind, 0, sizeof(kind));
	nm_core_lock(&play->core);
	play->port = nm_port_add_locked(&play->core, "play", &play_ops,
		&(struct nm_shape){.rings = {1, 1}, .slots = {slots, slots}}, &error);
	nm_core_unlock(&play->core);
	assert_non_null(play->port);
	app_open(&play->core, &play->app,
		&(struct app_config){.name = "play", .buf_size = 64, .slots = slots});
}

static void play_end(struct play *play)
{
	app_close(&play->app);
	nm_core_destroy(&play->core);
	core_check_empty(&play->core);
}

static void first_state(void **state)
{
	struct play play;

	play_begin(&play, 16);
	for (int dir = 0; dir < NM_DIRS; dir++) {
		const struct netmap_ring *shared = app_ring(&play.app, dir, 0);

		assert_int_equal(shared->head, 0);
		assert_int_equal(shared->cur, 0);
		assert_int_equal(shared->tail, dir == NM_TX ? 15 : 0);
		assert_int_equal(shared->num_slots, 16);
		assert_int_equal(shared->dir, dir);
		assert_int_equal(nm_ring_avail(app_private(&play.app, dir, 0)), shared->tail);
	}
	play_end(&play);
}

/*
 * Any sequence of moves, legal or not, through the shared ring. A model of three numbers says which
 * are legal. After an illegal one the shared ring holds what is believed, whatever was in it,
 * and the same move fails again.
 */
static void any_sequence(struct play *play, struct prng *r, enum nm_dir dir, uint32_t n)
{
	struct netmap_ring *shared = app_ring(&play->app, dir, 0);
	struct nm_ring *ring = app_private(&play->app, dir, 0);
	uint32_t head = shared->head, cur = shared->cur, tail = shared->tail;
	uint64_t bad = 0, good = 0;

	for (int step = 0; step < 3000; step++) {
		uint32_t to_head = prng_edge32(r, n), to_cur = prng_edge32(r, n), syncs;

		if (prng_chance(r, 60)) { /* mostly legal */
			uint32_t room = (tail + n - head) % n, by = prng_below(r, room + 1);

			to_head = (head + by) % n;
			to_cur = (to_head + prng_below(r, room - by + 1)) % n;
		}
		syncs = kind.txsyncs + kind.rxsyncs;
		/* The other side gives some of what is not the application's. */
		kind.new_tail = tail;
		if (to_head < n)
			kind.new_tail =
				(tail + prng_below(r, (to_head + n - 1 - tail) % n + 1)) % n;
		shared->head = to_head;
		shared->cur = to_cur;
		shared->tail = prng_edge32(r, n); /* of no consequence: it is netmap's */
		if (to_head < n && to_cur < n && walk_is_legal(head, tail, to_head, to_cur, n)) {
			assert_int_equal(nm_ring_sync_shared(ring), 0);
			good++;
			head = to_head;
			cur = to_cur;
			tail = kind.new_tail;
			assert_int_equal(kind.txsyncs + kind.rxsyncs, syncs + 1);
		} else {
			for (int again = 0; again < 2; again++) {
				shared->head = to_head;
				shared->cur = to_cur;
				assert_int_equal(nm_ring_sync_shared(ring), -EINVAL);
				assert_int_equal(shared->head, head);
				assert_int_equal(shared->cur, cur);
				assert_int_equal(shared->tail, tail);
			}
			bad += 2;
			assert_int_equal(kind.txsyncs + kind.rxsyncs, syncs);
		}
		assert_int_equal(ring->head, head);
		assert_int_equal(ring->cur, cur);
		assert_int_equal(ring->tail, tail);
		assert_int_equal(shared->tail, tail);
		assert_int_equal(nm_ring_avail(ring), (tail + n - cur) % n);
	}
	assert_int_equal(ring->stats.bad_syncs, bad);
	assert_int_equal(ring->stats.syncs, good);
	assert_true(bad > 100 && good > 100);
}

static void any_sequence_of_moves(void **state)
{
	static const uint32_t sizes[] = {2, 3, 16, 1000, 1024, 16384};
	struct prng r = prng_new(2);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct play play;

		play_begin(&play, sizes[i]);
		any_sequence(&play, &r, NM_TX, sizes[i]);
		any_sequence(&play, &r, NM_RX, sizes[i]);
		play_end(&play);
	}
}

/* Head in range, once, is not enough: an illegal value must not become the base of the next. */
static void illegal_head_is_not_remembered(void **state)
{
	struct netmap_ring *shared;
	struct play play;

	play_begin(&play, 16);
	shared = app_ring(&play.app, NM_RX, 0);
	shared->head = shared->cur = 5; /* nothing was received */
	assert_int_equal(nm_ring_sync_shared(app_private(&play.app, NM_RX, 0)), -EINVAL);
	assert_int_equal(shared->head, 0);
	assert_int_equal(nm_ring_sync_shared(app_private(&play.app, NM_RX, 0)), 0);
	shared->head = shared->cur = 5;
	assert_int_equal(nm_ring_sync_shared(app_private(&play.app, NM_RX, 0)), -EINVAL);
	play_end(&play);
}

static void errors_of_the_kind_come_through(void **state)
{
	struct play play;

	play_begin(&play, 16);
	kind.result = -EIO;
	kind.new_tail = 15;
	assert_int_equal(nm_ring_sync(app_private(&play.app, NM_TX, 0), 3, 3), -EIO);
	assert_int_equal(nm_ring_sync_shared(app_private(&play.app, NM_RX, 0)), -EIO);
	play_end(&play);
}

static uint32_t woken;

static void on_wakeup(void *arg)
{
	woken++;
}

/* A device that is pulled: syncs fail, sleepers wake, the last client frees the port. */
static void a_dead_port(void **state)
{
	struct play play;

	play_begin(&play, 16);
	os_wakeup_set(&app_private(&play.app, NM_RX, 0)->wakeup, on_wakeup, NULL);
	nm_core_lock(&play.core);
	nm_port_remove_locked(play.port);
	assert_null(nm_port_find_locked(&play.core, "play"));
	nm_core_unlock(&play.core);
	assert_int_equal(woken, 1);
	assert_int_equal(nm_ring_sync(app_private(&play.app, NM_TX, 0), 1, 1), -ENXIO);
	assert_int_equal(nm_ring_sync_shared(app_private(&play.app, NM_RX, 0)), -ENXIO);
	assert_int_equal(kind.txsyncs + kind.rxsyncs, 0);
	assert_int_equal(core_count_ports(&play.core), 1);
	app_close(&play.app);
	core_check_empty(&play.core);
	nm_core_destroy(&play.core);
}

/* ---- a port that only receives ------------------------------------------------------------------ */

static const struct nm_port_ops receiver_ops = {
	.kind = "receiver", .txsync = play_txsync, .rxsync = play_rxsync, .receives_only = true};

/* What is sent is gone, packet by packet, and counted; the kind doesn't hear of it. */
static void receives_only(void **state)
{
	struct prng r = prng_new(20);
	uint64_t packets = 0;
	struct play play;
	struct nm_ring *tx;

	play_begin(&play, 16);
	play.port->ops = &receiver_ops;
	tx = app_private(&play.app, NM_TX, 0);
	for (int round = 0; round < 2000; round++) {
		uint32_t n = prng_below(&r, 16);

		for (uint32_t i = 0; i < n; i++) {
			bool more = prng_chance(&r, 30);

			app_put_slot(&play.app, 0, prng_edge32(&r, 20), 9,
				more ? NS_MOREFRAG : NS_INDIRECT);
			packets += !more;
		}
		app_txsync(&play.app, 0);
		assert_int_equal(tx->hwcur, tx->head);
		assert_int_equal(app_avail(app_ring(&play.app, NM_TX, 0)), 15);
		assert_int_equal(tx->stats.packets, packets);
		assert_int_equal(tx->stats.drops[NM_DROP_RECEIVES_ONLY], packets);
	}
	assert_int_equal(kind.txsyncs, 0);
	play.port->ops = &play_ops;
	play_end(&play);
}

/* The time of a sync never goes back, whatever the system's clock does. */
static void stamps(void **state)
{
	struct netmap_ring ring = {0};
	uint64_t last = 0;

	nm_ring_stamp(&ring, 1700000000999999, &last);
	assert_int_equal(ring.ts.tv_sec, 1700000000);
	assert_int_equal(ring.ts.tv_usec, 999999);
	ring.ts.tv_sec = 12; /* the application's memory: not believed */
	nm_ring_stamp(&ring, 1600000000000000, &last);
	assert_int_equal(ring.ts.tv_sec, 1700000000);
	assert_int_equal(ring.ts.tv_usec, 999999);
	nm_ring_stamp(&ring, 1700000001000000, &last);
	assert_int_equal(ring.ts.tv_sec, 1700000001);
	assert_int_equal(ring.ts.tv_usec, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receives_only),
		cmocka_unit_test(stamps),
		cmocka_unit_test(distance_and_advance),
		cmocka_unit_test(all_moves_of_small_rings),
		cmocka_unit_test(moves_far_out_of_range),
		cmocka_unit_test(slots_are_loaded_whole),
		cmocka_unit_test(drops_have_names),
		cmocka_unit_test(first_state),
		cmocka_unit_test(any_sequence_of_moves),
		cmocka_unit_test(illegal_head_is_not_remembered),
		cmocka_unit_test(errors_of_the_kind_come_through),
		cmocka_unit_test(a_dead_port),
	};

	test_seed();
	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
