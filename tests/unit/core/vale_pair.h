/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vale_pair.h - what the tests of packets through a switch share: a core, and two ports alone on
 * one switch, a that sends and b that receives.
 *
 * Thread safety: as util.h.
 */
#ifndef TESTS_UNIT_VALE_PAIR_H
#define TESTS_UNIT_VALE_PAIR_H

#include "vale.h"
#include "fixture.h"

static struct prng r;
static struct app a, b;
static uint8_t frame[200000], got[200000];

static inline int begin(void **state)
{
	r = prng_new(1);
	return core_begin(state);
}

static inline int end(void **state)
{
	return core_end(state);
}

/* Ports a and b of one switch, alone there: what a sends goes to b. */
static inline void open_pair(uint32_t size_a, uint32_t slots_a, uint32_t size_b, uint32_t slots_b)
{
	app_open(&core, &a, &(struct app_config){"vale0:a", size_a, slots_a});
	app_open(&core, &b, &(struct app_config){"vale0:b", size_b, slots_b});
}

/* Everything that was sent must be accounted for. */
static inline void close_pair(void)
{
	struct totals totals = {0};

	totals_add(&totals, &a);
	totals_add(&totals, &b);
	totals_check(&totals, true);
	app_close(&a);
	app_close(&b);
}

static inline void set_hdr_len(struct app *app, uint32_t bytes)
{
	nm_core_lock(&core);
	assert_int_equal(nm_port_set_hdr_len_locked(app->client.port, bytes), 0);
	nm_core_unlock(&core);
	app->hdr_len = bytes;
}

static inline const struct nm_ring_stats *tx(void)
{
	return &app_private(&a, NM_TX, 0)->stats;
}

static inline const struct nm_ring_stats *rx(void)
{
	return &app_private(&b, NM_RX, 0)->stats;
}

static inline void check_nothing_came(void)
{
	app_rxsync(&b, 0);
	assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 0);
}

#endif
