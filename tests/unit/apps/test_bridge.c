/* SPDX-License-Identifier: BSD-2-Clause */
/* netmap-bridge: its options, and packets from ring to ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "move.h"
#include "options.h"

/* ---- options ---------------------------------------------------------------------------- */

static struct bridge_options o;
static char err[OPTIONS_ERR];

static int parse(const char *a, const char *b, const char *c, const char *d, const char *e)
{
	const char *argv[] = {"netmap-bridge", a, b, c, d, e, NULL};
	int argc = 0;

	while (argv[argc])
		argc++;
	err[0] = '\0';
	return options_parse(argc, (char **)argv, &o, err);
}

static void test_options(void **state)
{
	(void)state;
	assert_int_equal(parse("-i", "vale1:a", "-i", "netmap:b", NULL), 0);
	assert_string_equal(o.port[0], "vale1:a");
	assert_string_equal(o.port[1], "netmap:b");
	assert_int_equal(o.burst, 1024);
	assert_true(o.wait_link < 0 && !o.copy && !o.loopback);
	assert_int_equal(parse("eth0", NULL, NULL, NULL, NULL), 0);
	assert_string_equal(o.port[0], "netmap:eth0");
	assert_string_equal(o.port[1], "netmap:eth0^");
	assert_int_equal(parse("-i", "eth0", "-i", "eth0", NULL), 0);
	assert_string_equal(o.port[1], "netmap:eth0^");
	assert_int_equal(parse("-cLv", "-b", "7", "-i", "vale1:a"), 0);
	assert_string_equal(o.port[1], "vale1:a");
	assert_true(o.copy && o.loopback && o.verbose == 1 && o.burst == 7);
	assert_int_equal(parse("a", "b", "33", NULL, NULL), 0);
	assert_int_equal(o.burst, 33);
	assert_int_equal(parse("-w", "1.5", "a", "b", NULL), 0);
	assert_true(o.wait_link == 1.5);
	assert_int_equal(parse("--help", NULL, NULL, NULL, NULL), 0);
	assert_true(o.help);
}

static void test_bad_options(void **state)
{
	static const char *const bad[][5] = {{NULL}, {"-i"}, {"-i", ""}, {"vale1:a"},
		{"-i", "eth0^"}, {"-i", "eth0/x"}, {"-i", "a{1"}, {"a", "b", "0"},
		{"a", "b", "65537"}, {"a", "b", "1", "c"}, {"-L", "a", "b"}, {"-w", "x", "a"},
		{"-w", "-1", "a"}, {"-w", "3601", "a"}, {"-q"}, {"--nope"}, {"-b", "", "a"}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i][0], bad[i][1], bad[i][2], bad[i][3], bad[i][4]), -1);
		assert_true(err[0] != '\0');
		assert_null(strchr(err, '\n'));
	}
}

/* ---- rings ------------------------------------------------------------------------------ */

enum { SLOTS = 32, ROOM = 128 };

struct mem {
	struct netmap_ring ring;
	struct netmap_slot slot[SLOTS];
	uint8_t buf[4 * SLOTS][ROOM];
} __attribute__((aligned(128)));

static struct mem one, two;

static struct netmap_ring *make_ring(
	struct mem *m, uint32_t first_buf, uint32_t room, uint32_t tail)
{
	struct netmap_ring ring = {.num_slots = SLOTS, .nr_buf_size = room};

	memset(m, 0, sizeof(*m));
	memcpy(&m->ring, &ring, sizeof(ring));
	m->ring.buf_ofs = (char *)m->buf - (char *)&m->ring;
	m->ring.tail = tail;
	for (uint32_t i = 0; i < SLOTS; i++)
		m->ring.slot[i].buf_idx = first_buf + i;
	return &m->ring;
}

/* A packet of so many slots behind what is there. */
static void receive(struct netmap_ring *rx, uint32_t slots, uint32_t len, uint8_t fill)
{
	for (uint32_t i = 0; i < slots; i++) {
		struct netmap_slot *slot = &rx->slot[rx->tail];

		slot->len = (uint16_t)len;
		slot->flags = (uint16_t)((i + 1 < slots ? NS_MOREFRAG : 0) | slots << 8);
		memset(NETMAP_BUF(rx, slot->buf_idx), fill + (int)i, len);
		rx->tail = nm_ring_next(rx, rx->tail);
	}
}

static void test_exchange(void **state)
{
	struct netmap_ring *rx = make_ring(&one, 2, ROOM, 0), *tx = make_ring(&two, 40, ROOM, 5);
	struct move_stats s = {0};

	(void)state;
	receive(rx, 1, 60, 'a');
	receive(rx, 3, 100, 'b');
	receive(rx, 2, 10, 'x');
	/* Five slots: the third packet has to wait. */
	assert_int_equal(move_packets(rx, tx, 100, true, &s), MOVE_FULL);
	assert_true(s.packets == 2 && s.bytes == 360 && s.slots == 4 && s.dropped == 0);
	assert_true(rx->head == 4 && rx->cur == 4 && tx->head == 4 && tx->cur == 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(tx->slot[i].buf_idx, 2 + i);
		assert_int_equal(rx->slot[i].buf_idx, 40 + i);
		assert_true(rx->slot[i].flags & NS_BUF_CHANGED);
		assert_int_equal(
			tx->slot[i].flags, NS_BUF_CHANGED | (i == 1 || i == 2 ? NS_MOREFRAG : 0));
		assert_int_equal(tx->slot[i].len, i ? 100 : 60);
	}
	tx->tail = 10;
	assert_int_equal(move_packets(rx, tx, 100, true, &s), MOVE_EMPTY);
	assert_int_equal(s.packets, 3);
}

static void test_copy(void **state)
{
	struct netmap_ring *rx = make_ring(&one, 2, ROOM, 0), *tx = make_ring(&two, 2, 64, 31);
	struct move_stats s = {0};

	(void)state;
	receive(rx, 1, 60, 'a');
	receive(rx, 2, 100, 'b');
	receive(rx, 1, 64, 'c');
	assert_int_equal(move_packets(rx, tx, 100, false, &s), MOVE_EMPTY);
	/* 100 bytes need two buffers of 64 each. */
	assert_true(s.packets == 3 && s.bytes == 324 && s.slots == 6);
	assert_int_equal(tx->slot[0].flags, 0);
	assert_int_equal(tx->slot[1].len, 64);
	assert_int_equal(tx->slot[2].len, 36);
	for (uint32_t i = 1; i < 4; i++)
		assert_int_equal(tx->slot[i].flags, NS_MOREFRAG);
	assert_int_equal(tx->slot[4].flags, 0);
	assert_int_equal(NETMAP_BUF(tx, tx->slot[2].buf_idx)[35], 'b');
	assert_int_equal(NETMAP_BUF(tx, tx->slot[3].buf_idx)[0], 'c');
	assert_int_equal(rx->slot[0].buf_idx, 2);
	assert_int_equal(tx->slot[5].len, 64);
}

static void test_limit(void **state)
{
	struct netmap_ring *rx = make_ring(&one, 2, ROOM, 0), *tx = make_ring(&two, 2, ROOM, 31);
	struct move_stats s = {0};

	(void)state;
	for (int i = 0; i < 10; i++)
		receive(rx, 1, 60, 'a');
	assert_int_equal(move_packets(rx, tx, 7, false, &s), MOVE_LIMIT);
	assert_int_equal(s.packets, 7);
	assert_int_equal(move_packets(rx, tx, 7, false, &s), MOVE_EMPTY);
	assert_int_equal(s.packets, 10);
}

/* What can never go is dropped, so that the rest can. */
static void test_hopeless(void **state)
{
	struct netmap_ring *rx = make_ring(&one, 2, ROOM, 0), *tx = make_ring(&two, 2, 64, 31);
	struct move_stats s = {0};

	(void)state;
	receive(rx, 20, 100, 'a'); /* 40 slots of 64 bytes */
	receive(rx, 1, 60, 'b');
	assert_int_equal(move_packets(rx, tx, 100, false, &s), MOVE_EMPTY);
	assert_true(s.packets == 1 && s.dropped == 1);
	/* Half a packet waits; a ring full of one without an end does not. */
	rx = make_ring(&one, 2, ROOM, 0);
	receive(rx, SLOTS - 2, 10, 'a');
	rx->slot[SLOTS - 3].flags |= NS_MOREFRAG;
	assert_int_equal(move_packets(rx, tx, 100, false, &s), MOVE_EMPTY);
	assert_int_equal(s.dropped, 1);
	receive(rx, 1, 10, 'a');
	rx->slot[SLOTS - 2].flags |= NS_MOREFRAG;
	assert_int_equal(move_packets(rx, tx, 100, false, &s), MOVE_EMPTY);
	assert_int_equal(s.dropped, 2);
	assert_int_equal(rx->head, rx->tail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_bad_options),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_hopeless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
