/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fixture.h - one core for all tests of a program: empty at the beginning of each test and at its end.
 *
 *      cmocka_unit_test_setup_teardown(test, core_begin, core_end)
 *
 * A program with more to set up calls these in its own functions. fixture_add() makes a port that stays when nobody uses it. To be
 * included last.
 *
 * Thread safety: the main thread.
 */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include "port.h"
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

static inline struct nm_port *fixture_add(
	const char *name, const struct nm_port_ops *ops, const struct nm_shape *shape)
{
	struct nm_error error;
	struct nm_port *port;

	nm_core_lock(&core);
	port = nm_port_add_locked(&core, name, ops, shape, &error);
	nm_core_unlock(&core);
	assert_non_null(port);
	return port;
}

static inline void fixture_remove(struct nm_port *port)
{
	nm_core_lock(&core);
	nm_port_remove_locked(port);
	nm_core_unlock(&core);
}

#endif
