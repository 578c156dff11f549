/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pipe_ends.h - what the tests of pipes share: a core with a region 1 of small buffers, the two ends
 * as struct app, and what always holds between them.
 *
 * Thread safety: as util.h.
 */
#ifndef TESTS_UNIT_PIPE_ENDS_H
#define TESTS_UNIT_PIPE_ENDS_H

#include "pipe.h"

#include <stdlib.h>

#include "fixture.h"

enum { BUF_SIZE = 512 };

static inline int begin(void **state)
{
	nm_core_init(&core);
	core.shared_params.count[NM_POOL_BUF] = 30000;
	core.shared_params.count[NM_POOL_RING] = 600;
	core.shared_params.size[NM_POOL_BUF] = BUF_SIZE;
	return 0;
}

static inline int end(void **state)
{
	return core_end(state);
}

static inline void open_end(struct app *app, const char *name, uint32_t slots)
{
	app_open(&core, app, &(struct app_config){.name = name, .slots = slots});
}

static inline uint64_t all_drops(const struct nm_ring *ring)
{
	uint64_t sum = 0;

	for (int i = 0; i < NM_DROPS; i++)
		sum += ring->stats.drops[i];
	return sum;
}

/* packets of tx == packets of rx + drops of tx, both ways. */
static inline void check_conservation(const struct app *a, const struct app *b)
{
	const struct app *ends[] = {a, b};

	for (int i = 0; i < 2; i++) {
		const struct nm_ring *tx = app_private(ends[i], NM_TX, 0);
		const struct nm_ring *rx = app_private(ends[!i], NM_RX, 0);

		assert_int_equal(tx->stats.packets, rx->stats.packets + all_drops(tx));
	}
}

/* Every slot of both ends shows a buffer that exists, and none is shown twice. */
static inline void check_buffers(const struct app *a, const struct app *b)
{
	const struct nm_region *region = a->client.port->region;
	uint8_t *seen = calloc(region->pool[NM_POOL_BUF].count, 1);
	const struct app *ends[] = {a, b};

	for (int i = 0; i < 2; i++) {
		for (int dir = 0; dir < NM_DIRS; dir++) {
			const struct netmap_ring *ring = app_ring(ends[i], dir, 0);

			for (uint32_t s = 0; s < ring->num_slots; s++) {
				uint32_t index = ring->slot[s].buf_idx;

				assert_true(nm_region_buf_valid(region, index));
				assert_int_equal(seen[index]++, 0);
			}
		}
	}
	free(seen);
}

static inline void put_number(struct app *app, uint32_t number)
{
	assert_true(app_put(app, 0, &number, sizeof(number), 0));
}

static inline void take_number(struct app *app, uint32_t expected)
{
	uint32_t number;

	assert_int_equal(app_take(app, 0, &number, sizeof(number)), sizeof(number));
	assert_int_equal(number, expected);
}

#endif
