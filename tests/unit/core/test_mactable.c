/* SPDX-License-Identifier: BSD-2-Clause */
/* core/mactable.h: addresses come, move, age and go. */
#include "mactable.h"
#include "util.h"

#include <pthread.h>

static struct nm_mactable table;
static uint64_t base; /* epoch at which a test begins */

static int begin(void **state)
{
	int error = nm_mactable_init(&table);

	base = nm_mac_epoch(os_time_s());
	return error;
}

static int end(void **state)
{
	nm_mactable_destroy(&table);
	return 0;
}

static uint64_t address(uint64_t number)
{
	const uint8_t bytes[6] = {2, (uint8_t)(number >> 32), (uint8_t)(number >> 24),
		(uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};

	return nm_mac_load(bytes);
}

static uint32_t peek(const struct nm_mactable *t, uint64_t mac, uint64_t epoch)
{
	return nm_mactable_all_too_old(t, epoch)
		       ? (uint32_t)NM_MAC_NONE
		       : nm_mactable_peek(t, mac, nm_mac_place(t, mac), epoch);
}

/* Whoever only peeks may miss an address, but never finds another port; unless threads learn meanwhile. */
static uint32_t look_up_alone(const struct nm_mactable *t, uint64_t mac, uint64_t epoch)
{
	uint32_t port = nm_mactable_lookup(t, mac, nm_mac_place_ahead(t, mac), epoch);
	uint32_t peeked = peek(t, mac, epoch);

	assert_true(peeked == NM_MAC_NONE || peeked == port);
	return port;
}

static uint32_t look_up(const struct nm_mactable *t, uint64_t mac, uint64_t epoch)
{
	return nm_mactable_lookup(t, mac, nm_mac_place_ahead(t, mac), epoch);
}

static uint32_t bucket_of(uint64_t mac)
{
	return nm_mac_place(&table, mac) / NM_MAC_WAYS;
}

/* `count` addresses that fall into the bucket of `like`. */
static void find_neighbours(uint64_t like, uint64_t *macs, uint32_t count)
{
	uint64_t number = 1ULL << 32;

	for (uint32_t found = 0; found < count; number++) {
		uint64_t mac = address(number & ((1ULL << 40) - 1));

		if (bucket_of(mac) == bucket_of(like) && mac != like)
			macs[found++] = mac;
	}
}

static void addresses(void **state)
{
	const uint8_t station[6] = {0x02, 0x34, 0x56, 0x78, 0x9a, 0xbc};
	const uint8_t group[6] = {0x01, 0, 0x5e, 0, 0, 1};

	assert_true(nm_mac_load(station) == 0x023456789abc0000ULL);
	assert_false(nm_mac_is_group(nm_mac_load(station)));
	assert_true(nm_mac_is_group(nm_mac_load(group)));
	assert_true(nm_mac_is_group(~0ULL << 16));
	for (uint64_t i = 0; i < 1000; i++)
		assert_in_range(nm_mac_place(&table, address(i)), 0, NM_MAC_ENTRIES - 1);
}

/* In an epoch that is 0 in an entry's 8 bits, at port 0, an entry is its address alone; and what no address has been learnt for is 0. */
static void a_peek(void **state)
{
	const uint64_t epoch = (base | 0xff) + 1, a = address(1), b = address(2);

	nm_mactable_learn(&table, a, 0, epoch);
	assert_int_equal(look_up_alone(&table, a, epoch), 0);
	nm_mactable_learn(&table, b, 5, epoch);
	assert_int_equal(peek(&table, b, epoch), 5);
	assert_int_equal(peek(&table, b, epoch + NM_MAC_AGE), 5);
	assert_int_equal(peek(&table, b, epoch + NM_MAC_AGE + 1), NM_MAC_NONE);
	assert_int_equal(peek(&table, address(3), epoch), NM_MAC_NONE);
	assert_int_equal(peek(&table, 0, epoch), NM_MAC_NONE);
	assert_int_equal(look_up_alone(&table, 0, epoch), NM_MAC_NONE);
	assert_int_equal(
		look_up_alone(&table, ~NM_MAC_MASK ^ ~0ULL, epoch), NM_MAC_NONE); /* broadcast */
}

static void learn_move_forget(void **state)
{
	uint64_t a = address(1), b = address(2);

	assert_int_equal(look_up(&table, a, base), NM_MAC_NONE);
	nm_mactable_learn(&table, a, 3, base);
	nm_mactable_learn(&table, b, 253, base);
	assert_int_equal(look_up(&table, a, base), 3);
	assert_int_equal(look_up(&table, b, base), 253);
	assert_int_equal(look_up(&table, address(3), base), NM_MAC_NONE);
	assert_int_equal(look_up(&table, 0, base), NM_MAC_NONE);
	assert_int_equal(nm_mactable_count(&table, base), 2);
	nm_mactable_learn(&table, a, 0, base);
	assert_int_equal(look_up(&table, a, base), 0);
	assert_int_equal(nm_mactable_count(&table, base), 2);
	nm_mactable_forget_port(&table, 0);
	assert_int_equal(look_up(&table, a, base), NM_MAC_NONE);
	assert_int_equal(look_up(&table, b, base), 253);
	assert_int_equal(nm_mactable_count(&table, base), 1);
}

/* The lowest bytes of a short or a long pause, and pauses after which the 8 bits say the same. */
static void ageing(void **state)
{
	static const struct {
		uint64_t pause; /* epochs */
		bool known;
	} cases[] = {{0, true}, {1, true}, {74, true}, {75, true}, {76, false}, {127, false},
		{128, false}, {140, false}, {200, false}, {255, false}, {256, false}, {257, false},
		{300, false}, {512, false}, {65536, false}, {1ULL << 32, false}};

	assert_int_equal(NM_MAC_AGE * NM_MAC_EPOCH_S, 300);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		nm_mactable_learn(&table, address(1), 7, base);
		assert_int_equal(look_up(&table, address(1), base + cases[i].pause),
			cases[i].known ? 7 : NM_MAC_NONE);
		assert_int_equal(nm_mactable_count(&table, base + cases[i].pause), cases[i].known);
		base += cases[i].pause;
		/* Another's packet comes first after the pause, and sweeps. */
		nm_mactable_learn(&table, address(2), 8, base);
		assert_int_equal(
			look_up(&table, address(1), base), cases[i].known ? 7 : NM_MAC_NONE);
		assert_int_equal(look_up(&table, address(2), base), 8);
		nm_mactable_forget_port(&table, 7);
		nm_mactable_forget_port(&table, 8);
	}
}

/* Two threads that read the clock a moment apart, on either side of a new epoch. */
static void an_older_clock_harms_nothing(void **state)
{
	for (uint64_t step = 0; step < 300; step++) {
		uint64_t now = base + step;

		nm_mactable_learn(&table, address(1), 1, now);
		assert_int_equal(look_up(&table, address(1), now - 1), 1);
		nm_mactable_learn(&table, address(2), 2, now - 1);
		assert_int_equal(look_up(&table, address(1), now), 1);
		assert_int_equal(look_up(&table, address(2), now), 2);
		assert_int_equal(nm_mactable_count(&table, now), 2);
		assert_int_equal(nm_mactable_count(&table, now - 1), 2);
	}
}

/* Who is in the bucket: how many of `count` addresses are known, all at `port`. */
static uint32_t known(const uint64_t *macs, uint32_t count, uint32_t port, uint64_t epoch)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++)
		n += look_up(&table, macs[i], epoch) == port;
	return n;
}

/* In a full bucket the port that has most of it gives up its oldest. */
static void a_full_bucket(void **state)
{
	uint64_t macs[20];

	find_neighbours(address(1), macs, 20);
	for (uint32_t i = 0; i < NM_MAC_WAYS; i++) /* the oldest: number 5 */
		nm_mactable_learn(&table, macs[i], 1, base + 1 + (i != 5));
	nm_mactable_learn(&table, macs[8], 2, base + 10);
	assert_int_equal(look_up(&table, macs[8], base + 10), 2);
	assert_int_equal(look_up(&table, macs[5], base + 10), NM_MAC_NONE);
	assert_int_equal(known(macs, 8, 1, base + 10), 7);
	/* It has 7 of 8: each new address takes the place of another of its own. */
	for (uint32_t i = 9; i < 20; i++) {
		nm_mactable_learn(&table, macs[i], 1, base + 11);
		assert_int_equal(look_up(&table, macs[i], base + 11), 1);
		assert_int_equal(look_up(&table, macs[8], base + 11), 2);
		assert_int_equal(known(macs, 20, 1, base + 11), 7);
	}
	/* Others get their share, until it is even. */
	for (uint32_t i = 0; i < 8; i++)
		nm_mactable_learn(&table, macs[i], 2, base + 12);
	assert_int_equal(known(macs, 20, 1, base + 12), 4);
	assert_int_equal(known(macs, 20, 2, base + 12), 4);
	assert_int_equal(nm_mactable_count(&table, base + 12), 8);
	/* A known address moves in a full bucket without pushing anybody out. */
	nm_mactable_learn(&table, macs[7], 3, base + 12);
	assert_int_equal(look_up(&table, macs[7], base + 12), 3);
	assert_int_equal(nm_mactable_count(&table, base + 12), 8);
	assert_int_equal(known(macs, 20, 2, base + 12), 3);
	/* One that has gone makes room: nobody else is pushed out. */
	nm_mactable_forget_port(&table, 3);
	nm_mactable_learn(&table, macs[7], 1, base + 12);
	assert_int_equal(known(macs, 20, 1, base + 12), 5);
	assert_int_equal(known(macs, 20, 2, base + 12), 3);
	/* Nor is one who has a single address, by another who has none. */
	nm_mactable_flush(&table);
	for (uint32_t i = 0; i < NM_MAC_WAYS; i++)
		nm_mactable_learn(&table, macs[i], i, base + 12);
	nm_mactable_learn(&table, macs[8], 100, base + 12);
	assert_int_equal(look_up(&table, macs[8], base + 12), NM_MAC_NONE);
	assert_int_equal(nm_mactable_count(&table, base + 12), 8);
	/* But what is too old is in nobody's way. */
	for (uint32_t i = 1; i < NM_MAC_WAYS; i++)
		nm_mactable_learn(&table, macs[i], i, base + 12 + NM_MAC_AGE);
	nm_mactable_learn(&table, macs[8], 100, base + 13 + NM_MAC_AGE);
	assert_int_equal(look_up(&table, macs[8], base + 13 + NM_MAC_AGE), 100);
	assert_int_equal(nm_mactable_count(&table, base + 13 + NM_MAC_AGE), 8);
}

/* How many of the first n stations, of 200 ports, are not known (any more). */
static uint32_t unknown(uint32_t n, uint64_t now)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += look_up(&table, address(i), now) != i % 200;
	return count;
}

/* One port shows as many addresses as it can; those of the others stay what they are, those who come
 * later find a place, and no port has more than its bound. The key is random: now and then two
 * addresses of one port meet in a bucket, where flooders have two each; one that comes there
 * may take the place of any of these. */
static void a_flood(void **state)
{
	enum { HONEST = 3000, LATE = 1000, FLOOD = 300000, FLOODERS = 3 }; /* FLOOD: of each */
	enum { MET = 3 }; /* addresses that lose their places so; two are seldom */
	uint32_t late = 0, lost;

	for (uint32_t i = 0; i < HONEST; i++)
		nm_mactable_learn(&table, address(i), i % 200, base);
	for (uint32_t f = 0; f < FLOODERS; f++) {
		for (uint64_t i = 0; i < FLOOD; i++)
			nm_mactable_learn(
				&table, address((f + 1) << 28 | i), 250 + f, base + 1 + i / 30000);
		assert_in_range(table.counts[250 + f], 1000, NM_MAC_PORT_MAX);
		assert_in_range(unknown(HONEST, base + 11), 0, MET);
	}
	for (uint32_t i = HONEST; i < HONEST + LATE; i++) {
		nm_mactable_learn(&table, address(i), 249, base + 11);
		assert_int_equal(look_up(&table, address(i), base + 11), 249);
	}
	lost = unknown(HONEST, base + 11);
	assert_in_range(lost, 0, MET);
	/* Where three flooders are, a bucket has two places for each port: the third address of a
	 * port, should there be one, has taken that of its first. */
	for (uint32_t i = HONEST; i < HONEST + LATE; i++)
		late += look_up(&table, address(i), base + 11) == 249;
	assert_in_range(late, LATE / 100 * 98, LATE);
	/* An address that is shown by somebody who has too many already stays where it is. */
	for (uint32_t f = 0; f < FLOODERS; f++)
		nm_mactable_forget_port(&table, 250 + f);
	assert_int_equal(nm_mactable_count(&table, base + 11), HONEST - lost + late);
	nm_mactable_learn(&table, address(0), 0, base + 11);
	for (uint64_t i = 0; table.counts[250] < NM_MAC_PORT_MAX; i++)
		nm_mactable_learn(&table, address(1ULL << 28 | i), 250, base + 11);
	nm_mactable_learn(&table, address(0), 250, base + 11);
	assert_int_equal(look_up(&table, address(0), base + 11), 0);
}

/* 100,000 stations behind one port: nearly all of them are known. */
static void a_large_network(void **state)
{
	enum { STATIONS = 100000 };
	uint32_t found = 0;

	for (uint32_t i = 0; i < STATIONS; i++)
		nm_mactable_learn(&table, address(i), 1, base);
	for (uint32_t i = 0; i < STATIONS; i++)
		found += look_up(&table, address(i), base) == 1;
	assert_in_range(found, STATIONS / 1000 * 995, STATIONS);
	assert_int_equal(nm_mactable_count(&table, base), found);
}

/* The counts are those of what is in the table. */
static void check_counts(void)
{
	uint32_t counts[NM_MAC_NONE + 1] = {0};

	for (size_t i = 0; i < NM_MAC_ENTRIES; i++)
		counts[table.entries[i] & 0xff] += table.entries[i] != 0;
	assert_memory_equal(counts, table.counts, sizeof(counts));
}

static void list_and_flush(void **state)
{
	static uint8_t seen[1000];
	uint64_t pos = 0, mac;
	uint32_t port, age, n = 0;

	assert_false(nm_mactable_next(&table, base, &pos, &mac, &port, &age));
	for (uint32_t i = 0; i < 1000; i++)
		nm_mactable_learn(&table, address(i), i % 254, base + i / 20);
	for (pos = 0; nm_mactable_next(&table, base + 70, &pos, &mac, &port, &age); n++) {
		uint32_t i = (uint32_t)(mac >> 16 & 0xffff);

		assert_true(mac == address(i));
		assert_in_range(i, 0, 999);
		assert_int_equal(seen[i]++, 0);
		assert_int_equal(port, i % 254);
		assert_int_equal(age, 70 - i / 20);
	}
	assert_int_equal(n, 1000);
	pos = 0;
	assert_false(nm_mactable_next(&table, base + 1000, &pos, &mac, &port, &age));
	check_counts();
	nm_mactable_flush(&table);
	assert_int_equal(nm_mactable_count(&table, base + 70), 0);
	check_counts();
	assert_int_equal(table.counts[1], 0);
}

/* Any sequence, against a list. So few addresses that no bucket is ever full. */
static void any_sequence(void **state)
{
	enum { MACS = 150, PORTS = 8, STEPS = 4000 };
	struct {
		bool known;
		uint32_t port;
		uint64_t epoch;
	} model[MACS] = {0};
	struct prng r = prng_new(1);
	uint64_t now = base;

	for (int step = 0; step < STEPS; step++) {
		uint32_t i = prng_below(&r, MACS), port = prng_below(&r, PORTS), count = 0;
		bool known = model[i].known && now - model[i].epoch <= NM_MAC_AGE;

		switch (prng_below(&r, 100)) {
		case 0 ... 39:
			nm_mactable_learn(&table, address(i), port, now);
			model[i].known = true;
			model[i].port = port;
			model[i].epoch = now;
			break;
		case 40 ... 79:
			assert_int_equal(look_up_alone(&table, address(i), now),
				known ? model[i].port : NM_MAC_NONE);
			break;
		case 80 ... 83:
			nm_mactable_forget_port(&table, port);
			for (i = 0; i < MACS; i++)
				model[i].known &= model[i].port != port;
			break;
		case 84 ... 87:
			for (i = 0; i < MACS; i++)
				count += model[i].known && now - model[i].epoch <= NM_MAC_AGE;
			assert_int_equal(nm_mactable_count(&table, now), count);
			break;
		case 88 ... 97:
			now += prng_below(&r, 12);
			break;
		case 98:
			now += prng_below(&r, 200);
			break;
		default: /* also a whole number of turns of the 8 bits */
			now += 256 * prng_below(&r, 3) + prng_below(&r, 3);
		}
		if (step % 500 == 0)
			check_counts();
	}
}

static void without_memory(void **state)
{
	struct nm_mactable t;

	fail_allocation(1);
	assert_int_equal(nm_mactable_init(&t), -ENOMEM);
	fail_allocation(0);
}

/* ---- many threads -------------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 200, ROUNDS = 100 };

struct worker {
	pthread_t thread;
	uint32_t number, wrong;
};

/* Each has addresses of its own, and all have some in common. */
static void *work(void *arg)
{
	struct worker *w = arg;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < EACH; i++) {
			uint64_t own = address(1000 * (w->number + 1) + i), common = address(i);
			uint64_t now = base + round / 10;
			uint32_t port;

			nm_mactable_learn(&table, own, w->number, now);
			nm_mactable_learn(&table, common, w->number, now);
			w->wrong += look_up(&table, own, now) != w->number;
			port = look_up(&table, common, now);
			w->wrong += port >= THREADS;
		}
	}
	return NULL;
}

/* Where a lookup looks first; what comes later to a way that is taken gets another, and is found there. */
static void an_address_gets_its_first_way_when_that_is_empty(void **state)
{
	uint32_t elsewhere = 0;

	for (uint64_t i = 0; i < 100000; i++) {
		uint64_t mac = address(i);
		const uint64_t *way = &table.entries[nm_mac_place(&table, mac)];
		bool empty = *way == 0;

		nm_mactable_learn(&table, mac, (uint32_t)i % 7, base);
		assert_true(!empty || nm_mac_matches(*way, mac));
		elsewhere += !nm_mac_matches(*way, mac) && look_up(&table, mac, base) == i % 7;
	}
	assert_true(elsewhere > 1000);
}

static void many_threads(void **state)
{
	struct worker workers[THREADS];
	uint32_t own;

	for (uint32_t i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.number = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].wrong, 0);
	}
	own = nm_mactable_count(&table, base + ROUNDS / 10);
	assert_int_equal(own, EACH * (THREADS + 1));
	check_counts();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(addresses, begin, end),
		cmocka_unit_test_setup_teardown(a_peek, begin, end),
		cmocka_unit_test_setup_teardown(learn_move_forget, begin, end),
		cmocka_unit_test_setup_teardown(ageing, begin, end),
		cmocka_unit_test_setup_teardown(an_older_clock_harms_nothing, begin, end),
		cmocka_unit_test_setup_teardown(a_full_bucket, begin, end),
		cmocka_unit_test_setup_teardown(a_flood, begin, end),
		cmocka_unit_test_setup_teardown(a_large_network, begin, end),
		cmocka_unit_test_setup_teardown(list_and_flush, begin, end),
		cmocka_unit_test_setup_teardown(any_sequence, begin, end),
		cmocka_unit_test_setup_teardown(
			an_address_gets_its_first_way_when_that_is_empty, begin, end),
		cmocka_unit_test(without_memory),
		cmocka_unit_test_setup_teardown(many_threads, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("mactable", tests, NULL, NULL);
}
