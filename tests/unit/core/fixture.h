/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fixture.h - one core for all tests of a program: empty at the beginning of each test and at its end.
 *
 *      cmocka_unit_test_setup_teardown(test, core_begin, core_end)
 *
 * A program with more to set up calls these in its own functions. To be included last.
 *
 * Thread safety: the main thread.
 */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include "util.h"

static struct nm_core core;

static inline int core_begin(void **state)
{
	return nm_core_init(&core);
}

static inline int core_end(void **state)
{
	core_check_empty(&core);
	nm_core_destroy(&core);
	return 0;
}

#endif
