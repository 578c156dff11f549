/* SPDX-License-Identifier: BSD-2-Clause */
/* The tracker of packet numbers, alone and against a model that remembers everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "seq.h"

static struct seq seq;

static void feed(const uint64_t *numbers, size_t n)
{
	memset(&seq, 0, sizeof(seq));
	for (size_t i = 0; i < n; i++)
		seq_add(&seq, numbers[i]);
}

#define FEED(...)                             \
	feed((const uint64_t[]){__VA_ARGS__}, \
		sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))
#define EXPECT(r, l, o, d)                          \
	do {                                        \
		assert_int_equal(seq.received, r);  \
		assert_int_equal(seq.lost, l);      \
		assert_int_equal(seq.reordered, o); \
		assert_int_equal(seq.duplicate, d); \
	} while (0)

static void test_plain(void **state)
{
	(void)state;
	FEED(0, 1, 2, 3);
	EXPECT(4, 0, 0, 0);
	FEED(1000000, 1000001);
	EXPECT(2, 0, 0, 0);
}

static void test_gap(void **state)
{
	(void)state;
	FEED(5, 6, 9, 10);
	EXPECT(4, 2, 0, 0);
	FEED(5, 9, 6, 7, 8, 10); /* late, but not lost */
	EXPECT(6, 0, 3, 0);
}

static void test_duplicate(void **state)
{
	(void)state;
	FEED(1, 1);
	EXPECT(2, 0, 0, 1);
	FEED(1, 2, 3, 2, 3, 4, 1);
	EXPECT(7, 0, 0, 3);
	FEED(1, 3, 2, 2); /* late, then twice */
	EXPECT(4, 0, 1, 1);
}

static void test_before_first(void **state)
{
	(void)state;
	FEED(7, 5, 8, 5);
	EXPECT(4, 0, 1, 1);
}

static void test_far(void **state)
{
	(void)state;
	FEED(0, 10 * SEQ_WINDOW, 10 * SEQ_WINDOW - SEQ_WINDOW / 2, 3);
	/* The last one is older than the window: late for sure, but it stays lost. */
	EXPECT(4, 10 * SEQ_WINDOW - 2, 2, 0);
	/* A jump of exactly the window leaves no old bits behind. */
	FEED(0, SEQ_WINDOW, 1);
	EXPECT(3, SEQ_WINDOW - 2, 1, 0);
}

/* Numbers share bits with those a window earlier. */
static void test_wrap(void **state)
{
	(void)state;
	memset(&seq, 0, sizeof(seq));
	for (uint64_t n = 0; n < SEQ_WINDOW; n++)
		seq_add(&seq, n);
	seq_add(&seq, SEQ_WINDOW + 10);
	seq_add(&seq, SEQ_WINDOW + 3);
	seq_add(&seq, SEQ_WINDOW + 3);
	seq_add(&seq, 20); /* still in the window */
	EXPECT(SEQ_WINDOW + 4, 9, 1, 2);
}

/* ---- model ---------------------------------------------------------------------------- */

enum { MODEL_MAX = 20000 };

struct model {
	unsigned char seen[MODEL_MAX];
	uint64_t first, highest, received, reordered, duplicate;
};

static void model_add(struct model *m, uint64_t n)
{
	if (!m->received++) {
		m->first = m->highest = n;
	} else if (m->seen[n]) {
		m->duplicate++;
	} else if (n < m->highest) {
		m->reordered++;
	} else {
		m->highest = n;
	}
	m->seen[n] = 1;
}

static uint64_t model_lost(const struct model *m)
{
	uint64_t lost = 0;

	for (uint64_t n = m->first; n < m->highest; n++)
		lost += !m->seen[n];
	return lost;
}

static void test_model(void **state)
{
	static struct model m;

	(void)state;
	srand(1);
	for (int run = 0; run < 200; run++) {
		uint64_t at = 1000;

		memset(&m, 0, sizeof(m));
		memset(&seq, 0, sizeof(seq));
		while (at < MODEL_MAX - 20) {
			int what = rand() % 100;
			uint64_t n = what < 80   ? at++
				     : what < 90 ? (at += (uint64_t)(rand() % 9))
						 : at - (uint64_t)(rand() % 900);

			model_add(&m, n);
			seq_add(&seq, n);
		}
		EXPECT(m.received, model_lost(&m), m.reordered, m.duplicate);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_gap),
		cmocka_unit_test(test_duplicate),
		cmocka_unit_test(test_before_first),
		cmocka_unit_test(test_far),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
