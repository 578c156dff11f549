/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * monitor_apps.h - what the tests of monitors share: applications on one core, and packets that are
 * compared.
 *
 * Included once by a test program; `core` is made by begin() and checked by end().
 *
 * Thread safety: for the main thread.
 */
#ifndef TESTS_UNIT_MONITOR_APPS_H
#define TESTS_UNIT_MONITOR_APPS_H

#include "monitor.h"
#include "os_user.h"

#include <stdlib.h>

#include "fixture.h"

enum { FRAME = 200, MOST = 4096 };

static inline int begin(void **state)
{
	int error = nm_core_init(&core);

	core.spare_bufs = 1024;
	return error;
}

static inline int end(void **state)
{
	return core_end(state);
}

static inline void open_app(struct app *app, const char *name, uint64_t flags, uint32_t slots)
{
	app_open(&core, app,
		&(struct app_config){.name = name, .flags = flags, .slots = slots ? slots : 64});
}

/* In a region that both use, as zero copy wants it. */
static inline void open_in(
	struct app *app, struct nm_region *region, const char *name, uint64_t flags, uint32_t slots)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .flags = flags, .num_slots = {slots, slots}};

	*app = (struct app){.slots = slots, .rings = 1};
	nm_client_init(&app->client, &core);
	app->client.own_region = region;
	if (nm_client_bind(&app->client, name, &bind))
		fail_msg("%s: %s", name, app->client.err.text);
	app->nifp = (void *)(app->client.port->region->base + app->client.nifp_offset);
	app->buf_size = app_ring(app, NM_TX, 0)->nr_buf_size;
}

static inline int try_bind(const char *name, uint32_t mode, uint64_t flags, uint16_t ringid)
{
	struct nm_bind bind = {.mode = mode, .flags = flags, .ringid = ringid};
	struct nm_client client;
	int error;

	nm_client_init(&client, &core);
	error = nm_client_bind(&client, name, &bind);
	if (error)
		assert_true(client.err.text[0] != '\0');
	nm_client_unbind(&client);
	return error;
}

static inline const struct nm_ring_stats *stats(const struct app *app, enum nm_dir dir)
{
	return &app_private(app, dir, 0)->stats;
}

/* What a monitor has counted: shown, and not shown. */
static inline uint64_t accounted(const struct app *mon)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < mon->client.count[NM_RX]; i++) {
		const struct nm_ring_stats *s = &app_private(mon, NM_RX, i)->stats;

		sum += s->packets;
		for (int cause = 0; cause < NM_DROPS; cause++)
			sum += s->drops[cause];
	}
	return sum;
}

/* The next packet that a monitor (or anybody) has received, and the flags of its first slot. */
static inline int take(struct app *app, void *bytes, uint16_t *flags)
{
	struct netmap_ring *ring = app_ring(app, NM_RX, 0);

	app_rxsync(app, 0);
	if (app_avail(ring) == 0)
		return -1;
	*flags = ring->slot[ring->head].flags;
	return app_take(app, 0, bytes, MOST);
}

static inline void expect(struct app *app, const void *bytes, int len, uint16_t txmon)
{
	uint8_t got[MOST];
	uint16_t flags = 0;

	assert_int_equal(take(app, got, &flags), len);
	assert_memory_equal(got, bytes, (size_t)len);
	assert_int_equal(flags & NS_TXMON, txmon);
}

static inline void expect_none(struct app *app)
{
	uint8_t got[MOST];
	uint16_t flags;

	assert_int_equal(take(app, got, &flags), -1);
}

static inline void send_one(struct app *app, const void *bytes, uint32_t len, uint32_t frags)
{
	assert_true(app_put(app, 0, bytes, len, frags));
	app_txsync(app, 0);
}

/* A frame from station `src` to station `dst` of the switch. */
static inline void frame_to(
	uint8_t *frame, uint32_t len, uint32_t dst, uint32_t src, struct prng *r)
{
	make_frame(frame, len, 0, dst, src, r);
}

/* No buffer is shown by two slots of these rings. */
static inline void check_distinct(struct app *const apps[], size_t count)
{
	const struct nm_region *region = apps[0]->client.port->region;
	uint8_t *seen = calloc(region->pool[NM_POOL_BUF].count, 1);

	assert_non_null(seen);
	for (size_t a = 0; a < count; a++) {
		for (int dir = 0; dir < NM_DIRS; dir++) {
			const struct netmap_ring *ring = app_ring(apps[a], dir, 0);

			for (uint32_t i = 0; i < ring->num_slots; i++) {
				uint32_t index = ring->slot[i].buf_idx;

				assert_true(nm_region_buf_valid(region, index));
				assert_int_equal(seen[index]++, 0);
			}
		}
	}
	free(seen);
}

#endif
