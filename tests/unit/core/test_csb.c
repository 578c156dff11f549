/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/csb.h, the application side: going to sleep beside another side that keeps no promise. It moves hwtail
 * between two looks of the application, as a fast one may: in `enough`, which is asked just there.
 */
#include "csb.h"

#include "util.h"

enum { SLOTS = 8, FOR_EVER = 1000 };

static struct nm_csb_atok atok;
static struct nm_csb_ktoa ktoa;
static struct nm_csb_appl appl;

/* What the other side does. */
static struct {
	uint32_t asked;   /* times that `enough` was */
	uint32_t moves;   /* how often it moves hwtail on, after the first time */
	uint32_t invalid; /* it stores nonsense the how manieth time; 0: never */
	uint32_t wanted;  /* slots */
} other;

static int begin(void **state)
{
	memset(&atok, 0, sizeof(atok));
	memset(&ktoa, 0, sizeof(ktoa));
	memset(&other, 0, sizeof(other));
	other.wanted = SLOTS - 1;
	assert_int_equal(nm_csb_appl_init(&appl, &atok, &ktoa, SLOTS), 0);
	return 0;
}

static bool enough(void *arg)
{
	assert_ptr_equal(arg, &other);
	assert_int_equal(atok.appl_need_kick, 0);
	other.asked++;
	assert_in_range(other.asked, 1, FOR_EVER - 1);
	if (nm_ring_distance(0, appl.hwtail, SLOTS) >= other.wanted)
		return true;
	if (other.asked == other.invalid)
		ktoa.hwtail = SLOTS;
	else if (other.asked <= other.moves)
		ktoa.hwtail = ktoa.hwtail == 1 ? 2 : 1; /* to and fro */
	return false;
}

static enum nm_csb_wait wait_for_it(void)
{
	return nm_csb_appl_wait(&appl, enough, &other);
}

static void nothing_moves(void **state)
{
	assert_int_equal(wait_for_it(), NM_CSB_SLEEPS);
	assert_int_equal(atok.appl_need_kick, 1);
	assert_int_equal(other.asked, 0);
}

static void it_moves_far_enough(void **state)
{
	ktoa.hwtail = SLOTS - 1;
	assert_int_equal(wait_for_it(), NM_CSB_ENOUGH);
	assert_int_equal(atok.appl_need_kick, 0);
	assert_int_equal(other.asked, 1);
	assert_int_equal(appl.hwtail, SLOTS - 1);
}

/* Some has gone, and nothing more: who sleeps now is signalled for the next. */
static void it_moves_not_as_far(void **state)
{
	for (other.moves = 0; other.moves < NM_CSB_LOOKS - 1; other.moves++) {
		other.asked = 0;
		ktoa.hwtail = 1;
		appl.hwtail = 0;
		assert_int_equal(wait_for_it(), NM_CSB_SLEEPS);
		assert_int_equal(atok.appl_need_kick, 1);
		assert_int_equal(other.asked, other.moves + 1);
	}
}

static void it_moves_for_ever(void **state)
{
	other.moves = FOR_EVER;
	ktoa.hwtail = 1;
	assert_int_equal(wait_for_it(), NM_CSB_AGAIN);
	assert_int_equal(other.asked, NM_CSB_LOOKS);
	assert_int_equal(atok.appl_need_kick, 0);
}

/* That is no move: the last index that was good counts. */
static void it_stores_nonsense(void **state)
{
	for (other.invalid = 1; other.invalid < NM_CSB_LOOKS; other.invalid++) {
		other.asked = 0;
		other.moves = FOR_EVER;
		ktoa.hwtail = 1;
		appl.hwtail = 0;
		assert_int_equal(wait_for_it(), NM_CSB_SLEEPS);
		assert_int_equal(other.asked, other.invalid);
		assert_in_range(appl.hwtail, 1, 2);
		assert_int_equal(atok.appl_need_kick, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_moves, begin),
		cmocka_unit_test_setup(it_moves_far_enough, begin),
		cmocka_unit_test_setup(it_moves_not_as_far, begin),
		cmocka_unit_test_setup(it_moves_for_ever, begin),
		cmocka_unit_test_setup(it_stores_nonsense, begin),
	};

	return cmocka_run_group_tests_name("csb", tests, NULL, NULL);
}
