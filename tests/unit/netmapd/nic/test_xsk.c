/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rings of an AF_XDP socket, without a socket: this test is the kernel, and moves its index as it likes. A model (two plain
 * counters) says what must come out.
 */
#include "testutil.h"
#include "xsk.h"

#include <stdlib.h>
#include <string.h>

enum { SIZE = 8, STEPS = 200000 };

static struct {
	uint32_t ours, theirs, flags;
	uint64_t addrs[SIZE];
	struct xdp_desc descs[SIZE];
	struct xsk_ring ring;
} k;

/* $PTN_SEED repeats a run. */
static uint64_t a_seed(void)
{
	const char *given = getenv("PTN_SEED");
	uint64_t seed =
		given ? strtoull(given, NULL, 0) : (uint64_t)getpid() * 0x9e3779b97f4a7c15ULL | 1;

	fprintf(stderr, "# seed %#lx\n", seed);
	return seed;
}

/* Indices begin somewhere: they wrap. */
static void start(uint32_t at, void *entries, bool full)
{
	memset(&k, 0, sizeof(k));
	k.ours = at;
	k.theirs = full ? at + SIZE : at;
	k.ring = (struct xsk_ring){.ours = &k.ours,
		.theirs = &k.theirs,
		.flags = &k.flags,
		.entries = entries,
		.size = SIZE,
		.mask = SIZE - 1,
		.mine = at,
		.seen = k.theirs};
}

static uint32_t beginning(int round)
{
	static const uint32_t at[] = {0, 5, UINT32_MAX - 3, UINT32_MAX, 0x7fffffff};

	return at[round % 5];
}

static void all_that_is_put_arrives_once_and_in_order(void **state)
{
	uint64_t put = 0, taken = 0, seed = a_seed();

	for (int round = 0; round < 5; round++) {
		start(beginning(round), k.addrs, false);
		put = taken = 0;
		for (int step = 0; step < STEPS / 5; step++) {
			uint32_t want = (uint32_t)(next_random(&seed) % (SIZE + 3)),
				 room = xsk_room(&k.ring, want);
			uint32_t there = (uint32_t)(put - taken), take;

			/* What the kernel has not taken may look like room only when it is. */
			assert_true(room <= SIZE - there && room <= want);
			if (want <= SIZE - there)
				assert_int_equal(room, want);
			for (uint32_t i = 0; i < room; i++)
				xsk_put_addr(&k.ring, i, put + i);
			xsk_submit(&k.ring, room);
			put += room;
			assert_int_equal(k.ours - k.theirs, put - taken);
			take = (uint32_t)(next_random(&seed) % (put - taken + 1));
			for (uint32_t i = 0; i < take; i++)
				assert_int_equal(k.addrs[(k.theirs + i) % SIZE], taken + i);
			k.theirs += take;
			taken += take;
			assert_int_equal(xsk_pending(&k.ring), put - taken);
		}
		assert_true(put > STEPS / 10 && !k.ring.broken);
	}
}

static void all_that_comes_is_seen_once_and_in_order(void **state)
{
	uint64_t come = 0, seen = 0, seed = a_seed();

	for (int round = 0; round < 5; round++) {
		start(beginning(round), k.descs, false);
		come = seen = 0;
		for (int step = 0; step < STEPS / 5; step++) {
			uint32_t more = (uint32_t)(next_random(&seed) % (SIZE - (come - seen) + 1));
			uint32_t want = (uint32_t)(next_random(&seed) % (SIZE + 3)), n;

			for (uint32_t i = 0; i < more; i++)
				k.descs[(k.theirs + i) % SIZE] =
					(struct xdp_desc){come + i, more, step & 1};
			k.theirs += more;
			come += more;
			assert_int_equal(xsk_is_empty(&k.ring), come == seen);
			n = xsk_peek(&k.ring, want);
			assert_true(n <= want && n <= come - seen);
			if (want <= come - seen)
				assert_int_equal(n, want);
			for (uint32_t i = 0; i < n; i++)
				assert_int_equal(xsk_get_desc(&k.ring, i).addr, seen + i);
			xsk_release(&k.ring, n);
			seen += n;
			assert_int_equal(k.ours + (uint32_t)(come - seen), k.theirs);
		}
		assert_true(come > STEPS / 10 && !k.ring.broken);
	}
}

static void a_kernel_that_takes_what_was_not_put_breaks_the_ring(void **state)
{
	static const int32_t moves[] = {3, SIZE, 100, INT32_MAX, -1, -100, INT32_MIN};

	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		start(beginning((int)i), k.addrs, false);
		assert_int_equal(xsk_room(&k.ring, SIZE), SIZE);
		xsk_submit(&k.ring, 2);
		k.theirs += (uint32_t)moves[i];
		assert_int_equal(xsk_room(&k.ring, SIZE), 0);
		assert_true(k.ring.broken);
		k.theirs = k.ours; /* too late */
		assert_int_equal(xsk_room(&k.ring, SIZE), 0);
	}
}

static void a_kernel_that_gives_more_than_fits_breaks_the_ring(void **state)
{
	static const int32_t moves[] = {SIZE + 1, 100, INT32_MAX, -1, -SIZE, INT32_MIN};

	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		start(beginning((int)i), k.descs, false);
		k.theirs += (uint32_t)moves[i];
		assert_int_equal(xsk_peek(&k.ring, SIZE), 0);
		assert_true(k.ring.broken);
		k.theirs = k.ours + 1;
		assert_int_equal(xsk_peek(&k.ring, 1), 0);
	}
}

static void what_was_seen_is_not_taken_back(void **state)
{
	start(0, k.descs, false);
	k.theirs = 5;
	assert_int_equal(xsk_peek(&k.ring, 3), 3);
	k.theirs = 4;
	assert_int_equal(xsk_peek(&k.ring, SIZE), 0);
	assert_true(k.ring.broken);
}

static void a_full_ring_has_no_room_and_an_empty_one_nothing(void **state)
{
	start(7, k.addrs, false);
	assert_int_equal(xsk_room(&k.ring, SIZE + 1), SIZE);
	xsk_submit(&k.ring, SIZE);
	assert_int_equal(xsk_room(&k.ring, 1), 0);
	start(7, k.descs, true);
	assert_int_equal(xsk_peek(&k.ring, SIZE + 1), SIZE);
	xsk_release(&k.ring, SIZE);
	assert_int_equal(xsk_peek(&k.ring, 1), 0);
	assert_false(k.ring.broken);
}

static void a_wakeup_is_needed_when_the_kernel_says_so(void **state)
{
	start(0, k.addrs, false);
	assert_false(xsk_needs_wakeup(&k.ring));
	k.flags = XDP_RING_NEED_WAKEUP;
	assert_true(xsk_needs_wakeup(&k.ring));
}

static void no_socket_gives_no_rings(void **state)
{
	struct xsk_sizes sizes = {SIZE, SIZE, SIZE, SIZE};
	struct xsk_stats stats;
	struct xsk s;

	assert_true(xsk_init(&s, -1, 0, &sizes) < 0);
	assert_int_equal(xsk_room(&s.fill, 1) + xsk_room(&s.tx, 1) + xsk_peek(&s.rx, 1) +
				 xsk_peek(&s.completion, 1),
		0);
	assert_true(xsk_stats(&s, &stats) < 0 && xsk_kick_tx(&s) < 0 && xsk_kick_rx(&s) < 0);
	xsk_destroy(&s);
	xsk_destroy(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_is_put_arrives_once_and_in_order),
		cmocka_unit_test(all_that_comes_is_seen_once_and_in_order),
		cmocka_unit_test(a_kernel_that_takes_what_was_not_put_breaks_the_ring),
		cmocka_unit_test(a_kernel_that_gives_more_than_fits_breaks_the_ring),
		cmocka_unit_test(what_was_seen_is_not_taken_back),
		cmocka_unit_test(a_full_ring_has_no_room_and_an_empty_one_nothing),
		cmocka_unit_test(a_wakeup_is_needed_when_the_kernel_says_so),
		cmocka_unit_test(no_socket_gives_no_rings),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
