/* SPDX-License-Identifier: BSD-2-Clause */
/* core/port.h: ports and their clients: what they are given, and that all of it comes back. */
#include "vale.h"

#include <stdio.h>

#include "fixture.h"

/* A switch is large: a port that stays keeps it from being made anew in every round. */
static struct nm_client the_keeper;

static void keep_switch(struct nm_region *region)
{
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .num_slots = {2, 2}};

	nm_client_init(&the_keeper, &core);
	the_keeper.own_region = region;
	assert_int_equal(nm_client_bind(&the_keeper, "vale0:keeper", &bind), 0);
}

static int bind_to(struct nm_client *client, struct nm_region *region, const char *name,
	uint32_t rings, uint32_t slots, uint32_t mode, uint16_t ringid)
{
	const struct nm_bind bind = {.mode = mode,
		.ringid = ringid,
		.num_rings = {rings, rings},
		.num_slots = {slots, slots}};

	nm_client_init(client, &core);
	client->own_region = region;
	return nm_client_bind(client, name, &bind);
}

/* ---- what a client finds in the region ---------------------------------------------------------- */

static void netmap_if_and_rings(void **state)
{
	enum { RINGS = 3, SLOTS = 20 }; /* a ring of 20 slots is no multiple of 128 bytes long */
	struct app app;
	uint8_t seen[NM_BUFS_RESERVED + 2 * RINGS * SLOTS] = {0};

	app_open(&core, &app, &(struct app_config){"vale0:abcdefghijklmnop", 2048, SLOTS, RINGS});
	assert_string_equal(app.nifp->ni_name, "vale0:abcdefghi"); /* as much as there is room */
	assert_int_equal(app.nifp->ni_version, NETMAP_API);
	assert_int_equal(app.nifp->ni_tx_rings, RINGS);
	assert_int_equal(app.nifp->ni_rx_rings, RINGS);
	assert_int_equal(app.nifp->ni_host_tx_rings, 1);
	assert_int_equal(app.nifp->ni_host_rx_rings, 1);
	assert_int_equal(app.nifp->ni_bufs_head, 0);
	assert_int_equal(app.nifp->ring_ofs[RINGS], 0); /* there is no host ring */
	assert_int_equal(app.nifp->ring_ofs[2 * RINGS + 1], 0);
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < RINGS; i++) {
			struct netmap_ring *ring = app_ring(&app, dir, i);

			assert_ptr_equal(ring, app_private(&app, dir, i)->shared);
			assert_int_equal((uintptr_t)ring % NM_CACHE_ALIGN, 0);
			assert_int_equal(ring->ringid, i);
			assert_int_equal(ring->dir, dir);
			assert_int_equal(ring->num_slots, SLOTS);
			assert_int_equal(ring->nr_buf_size, 2048);
			assert_int_equal(ring->head, 0);
			assert_int_equal(ring->cur, 0);
			assert_int_equal(ring->tail, dir == NM_TX ? SLOTS - 1 : 0);
			assert_ptr_equal(app_buf(ring, 5), nm_region_buf(app.region, 5));
			for (uint32_t s = 0; s < SLOTS; s++) {
				uint32_t index = ring->slot[s].buf_idx;

				assert_true(nm_region_buf_valid(app.region, index));
				assert_int_equal(seen[index]++, 0);
				assert_int_equal(nm_bufown_owner(app.region, NM_POOL_BUF, index),
					app.client.port->owner);
			}
		}
	}
	region_check(app.region);
	app_close(&app);
}

/* A region that is made for a port holds the port exactly, whatever its shape. */
static void private_regions_fit(void **state)
{
	struct prng r = prng_new(1);

	for (int i = 0; i < 30; i++) {
		uint32_t rings = prng_range(&r, 1, prng_chance(&r, 80) ? 4 : NM_RINGS_MAX);
		uint32_t slots = prng_range(&r, 2, prng_chance(&r, 90) ? 100 : 5000);
		struct nm_client client;
		struct nm_region *region;

		assert_int_equal(
			bind_to(&client, NULL, "vale0:1", rings, slots, NR_REG_ALL_NIC, 0), 0);
		region = client.port->region;
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 0);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_RING), 0);
		region_check(region);
		nm_client_unbind(&client);
		core_check_empty(&core);
	}
}

/* ---- nothing stays -------------------------------------------------------------------------------- */

static void unbind_is_idempotent(void **state)
{
	struct nm_client client;

	nm_client_init(&client, &core);
	nm_client_unbind(&client);
	assert_int_equal(bind_to(&client, NULL, "vale0:1", 1, 16, NR_REG_ALL_NIC, 0), 0);
	nm_client_unbind(&client);
	nm_client_unbind(&client);
}

/* Clients of several ports come and go, in one region, in their own, in one made for them. */
static void bind_and_unbind_at_random(void **state)
{
	enum { CLIENTS = 12, ROUNDS = 4000 };
	static const uint32_t modes[] = {
		NR_REG_ALL_NIC, NR_REG_ONE_NIC, NR_REG_NIC_SW, NR_REG_SW, 0};
	struct nm_region *regions[3] = {
		make_region(&core, 120, 64, 8), make_region(&core, 40, 64, 8)};
	struct nm_client clients[CLIENTS];
	struct prng r = prng_new(2);
	uint32_t bound = 0, refused = 0;

	keep_switch(regions[0]);
	for (int i = 0; i < CLIENTS; i++)
		nm_client_init(&clients[i], &core);
	for (int round = 0; round < ROUNDS; round++) {
		struct nm_client *c = &clients[prng_below(&r, CLIENTS)];
		char name[16];

		if (c->port) {
			nm_client_unbind(c);
			continue;
		}
		snprintf(name, sizeof(name), "vale0:%u", prng_below(&r, 6));
		if (bind_to(c, regions[prng_below(&r, round % 50 ? 2 : 3)], name,
			    prng_range(&r, 1, 3), prng_range(&r, 2, 9), modes[prng_below(&r, 5)],
			    (uint16_t)prng_below(&r, 4)) == 0)
			bound++;
		else
			refused++;
		for (int i = 0; i < 2 && round % 50 == 0; i++)
			region_check(regions[i]);
	}
	assert_true(bound > 500 && refused > 200);
	for (int i = 0; i < CLIENTS; i++)
		nm_client_unbind(&clients[i]);
	nm_client_unbind(&the_keeper);
	assert_int_equal(core_count_ports(&core), 0);
	assert_int_equal(core_count_regions(&core), 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(nm_bufown_num_free(regions[i], NM_POOL_BUF),
			regions[i]->pool[NM_POOL_BUF].count - NM_BUFS_RESERVED);
		assert_int_equal(nm_bufown_num_free(regions[i], NM_POOL_RING), 64);
		assert_int_equal(nm_bufown_num_free(regions[i], NM_POOL_IF), 8);
		region_check(regions[i]);
		nm_region_put(regions[i]);
	}
}

/* Every allocation of a bind fails once: alone, and beside a port in the same region. */
static void bind_without_memory(void **state)
{
	struct nm_region *region = make_region(&core, 200, 64, 16);
	struct nm_client neighbour, client;

	assert_int_equal(bind_to(&neighbour, region, "vale0:n", 1, 16, NR_REG_ALL_NIC, 0), 0);
	for (int own = 0; own < 2; own++) {
		uint32_t failures = 0;

		for (uint32_t nth = 1;; nth++) {
			int error;

			fail_allocation(nth);
			error = bind_to(&client, own ? NULL : region, own ? "vale1:x" : "vale0:x",
				2, 16, NR_REG_ALL_NIC, 0);
			if (!allocation_failed())
				break;
			failures++;
			assert_int_equal(error, -ENOMEM);
			assert_int_not_equal(client.err.text[0], '\0');
			assert_null(client.port);
			assert_int_equal(core_count_ports(&core), 1);
			assert_int_equal(core_count_regions(&core), 1);
			assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 198 - 32);
			region_check(region);
		}
		fail_allocation(0);
		assert_true(failures >= 4);
		nm_client_unbind(&client);
	}
	nm_client_unbind(&neighbour);
	nm_region_put(region);
}

/* At its end a port asks for memory to settle its buffers; without it all comes back as well. */
static void unbind_without_memory(void **state)
{
	struct nm_region *region = make_region(&core, 200, 64, 16);
	struct nm_client client;

	for (uint32_t nth = 1; nth <= 3; nth++) {
		assert_int_equal(bind_to(&client, region, "vale0:x", 1, 16, NR_REG_ALL_NIC, 0), 0);
		fail_allocation(nth);
		nm_client_unbind(&client);
		fail_allocation(0);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 198);
		region_check(region);
	}
	nm_region_put(region);
}

/* ---- buffers that wander --------------------------------------------------------------------------- */

enum { SWAP_SLOTS = 16, SWAP_PORTS = 3 };

/* All slots of a client, as an array of places. */
static uint32_t list_slots(const struct app *app, struct netmap_slot *slots[2 * SWAP_SLOTS])
{
	uint32_t n = 0;

	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < SWAP_SLOTS; i++)
			slots[n++] = &app_ring(app, dir, 0)->slot[i];
	return n;
}

/* Three ports of one region, as an app that binds each of them has them. */
static void open_in_region(struct app *app, struct nm_region *region, const char *name)
{
	*app = (struct app){.slots = SWAP_SLOTS, .rings = 1, .buf_size = 64};
	assert_int_equal(bind_to(&app->client, region, name, 1, SWAP_SLOTS, NR_REG_ALL_NIC, 0), 0);
	app->nifp = (void *)(region->base + app->client.nifp_offset);
}

static void check_shows_own(const struct app *app, const struct nm_region *region)
{
	struct netmap_slot *slots[2 * SWAP_SLOTS];
	uint32_t n = list_slots(app, slots);

	for (uint32_t i = 0; i < n; i++)
		assert_int_not_equal(
			nm_bufown_owner(region, NM_POOL_BUF, slots[i]->buf_idx), NM_OWNER_NONE);
}

/* Slots exchanged between ports, as in forwarding without a copy, then closed in any order: what
 * the remaining ports show is never free, and never given to a new port. */
static void exchange_and_close(void **state)
{
	struct nm_region *region =
		make_region(&core, NM_BUFS_RESERVED + 2 * SWAP_SLOTS * SWAP_PORTS, 64, SWAP_SLOTS);
	struct prng r = prng_new(3);

	keep_switch(NULL);
	for (int round = 0; round < 300; round++) {
		struct netmap_slot *slots[SWAP_PORTS * 2 * SWAP_SLOTS];
		uint32_t n = 0, closed = prng_below(&r, SWAP_PORTS);
		struct app app[SWAP_PORTS];
		uint8_t shown[NM_BUFS_RESERVED + 2 * SWAP_SLOTS * SWAP_PORTS] = {0};

		for (int i = 0; i < SWAP_PORTS; i++) {
			char name[16];

			snprintf(name, sizeof(name), "vale0:%d", i);
			open_in_region(&app[i], region, name);
			n += list_slots(&app[i], slots + n);
		}
		for (uint32_t swaps = prng_below(&r, 200); swaps > 0; swaps--) {
			uint32_t a = prng_below(&r, n), b = prng_below(&r, n);
			uint32_t tmp = slots[a]->buf_idx;

			slots[a]->buf_idx = slots[b]->buf_idx;
			slots[b]->buf_idx = tmp;
		}
		nm_client_unbind(&app[closed].client);
		region_check(region);
		open_in_region(&app[closed], region, "vale0:another");
		for (int i = 0; i < SWAP_PORTS; i++) {
			check_shows_own(&app[i], region);
			list_slots(&app[i], slots);
			for (uint32_t k = 0; k < 2 * SWAP_SLOTS; k++)
				assert_int_equal(shown[slots[k]->buf_idx]++, 0);
		}
		for (uint32_t i = 0; i < SWAP_PORTS; i++) {
			uint32_t which = (closed + i) % SWAP_PORTS;

			nm_client_unbind(&app[which].client);
			for (uint32_t k = i + 1; k < SWAP_PORTS; k++)
				check_shows_own(&app[(closed + k) % SWAP_PORTS], region);
			region_check(region);
		}
		assert_int_equal(
			nm_bufown_num_free(region, NM_POOL_BUF), 2 * SWAP_SLOTS * SWAP_PORTS);
	}
	nm_client_unbind(&the_keeper);
	nm_region_put(region);
}

static void check_first_state(const struct app *app, uint32_t rings)
{
	struct nm_region *region = app->client.port->region;
	uint8_t seen[1000] = {0};

	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < rings; i++) {
			const struct nm_ring *ring = app_private(app, dir, i);
			uint32_t tail = dir == NM_TX ? ring->num_slots - 1 : 0;

			assert_int_equal(ring->head, 0);
			assert_int_equal(ring->cur, 0);
			assert_int_equal(ring->tail, tail);
			assert_int_equal(ring->hwcur, 0);
			assert_int_equal(ring->dropping, 0);
			assert_int_equal(ring->shared->head, 0);
			assert_int_equal(ring->shared->cur, 0);
			assert_int_equal(ring->shared->tail, tail);
			for (uint32_t s = 0; s < ring->num_slots; s++) {
				uint32_t index = ring->slots[s].buf_idx;

				assert_true(nm_region_buf_valid(region, index));
				assert_int_equal(nm_bufown_owner(region, NM_POOL_BUF, index),
					app->client.port->owner);
				assert_int_equal(seen[index]++, 0);
			}
		}
	}
}

/* A program that dies between the two halves of an exchange leaves one buffer in two slots, and one
 * in none. Whoever owns which, and whichever port ends or is reset first: no buffer of a port that
 * stays is free, and after both were reset each has its own. */
static void half_an_exchange(void **state)
{
	struct nm_region *region = make_region(&core, NM_BUFS_RESERVED + 100, 64, SWAP_SLOTS);

	for (int way = 0; way < 8; way++) {
		struct netmap_slot *of_a, *of_b;
		struct app a, b;

		open_in_region(&a, region, "vale0:a");
		open_in_region(&b, region, "vale0:b");
		of_a = &app_ring(&a, NM_RX, 0)->slot[3];
		of_b = &app_ring(&b, NM_TX, 0)->slot[5];
		if (way & 1)
			of_a->buf_idx = of_b->buf_idx;
		else
			of_b->buf_idx = of_a->buf_idx;
		if (way & 2) {
			nm_client_reset_rings(way & 4 ? &a.client : &b.client);
			nm_client_reset_rings(way & 4 ? &b.client : &a.client);
			check_first_state(&a, 1);
			check_first_state(&b, 1);
		} else {
			nm_client_unbind(way & 4 ? &a.client : &b.client);
			check_shows_own(way & 4 ? &b : &a, region);
		}
		region_check(region);
		nm_client_unbind(&a.client);
		nm_client_unbind(&b.client);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 100);
	}
	nm_region_put(region);
}

/* A port that shows anything at its end: others keep as many buffers as they had. */
static void lies_at_the_end(void **state)
{
	struct nm_region *region = make_region(&core, NM_BUFS_RESERVED + 100, 64, SWAP_SLOTS);
	struct prng r = prng_new(4);

	keep_switch(NULL);
	for (int round = 0; round < 300; round++) {
		struct netmap_slot *slots[2 * SWAP_SLOTS], *theirs[2 * SWAP_SLOTS];
		struct app liar, honest;
		uint32_t owned = 0;

		open_in_region(&liar, region, "vale0:liar");
		open_in_region(&honest, region, "vale0:honest");
		list_slots(&liar, slots);
		list_slots(&honest, theirs);
		for (uint32_t i = 0; i < 2 * SWAP_SLOTS; i++)
			slots[i]->buf_idx = prng_edge32(&r, NM_BUFS_RESERVED + 100);
		nm_client_unbind(&liar.client);
		for (uint32_t i = 0; i < NM_BUFS_RESERVED + 100; i++)
			owned += nm_bufown_owner(region, NM_POOL_BUF, i) ==
				 honest.client.port->owner;
		for (uint32_t i = 0; i < 2 * SWAP_SLOTS; i++) /* they lose nothing that they show */
			assert_int_equal(nm_bufown_owner(region, NM_POOL_BUF, theirs[i]->buf_idx),
				honest.client.port->owner);
		assert_int_equal(owned, 2 * SWAP_SLOTS);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 100 - 2 * SWAP_SLOTS);
		region_check(region);
		nm_client_unbind(&honest.client);
	}
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 100);
	nm_client_unbind(&the_keeper);
	nm_region_put(region);
}

/* ---- first state again ------------------------------------------------------------------------------- */

/* A guest was reset in the middle of anything: half a packet sent, packets received, slots that
 * were exchanged with another port of its region, or overwritten with anything. */
static void reset_rings(void **state)
{
	struct nm_region *region = make_region(&core, 200, 64, SWAP_SLOTS);
	struct app guest, neighbour, other;
	struct prng r = prng_new(5);
	uint8_t frame[60], got[200];

	app_open(&core, &other, &(struct app_config){"vale0:other", 2048});
	open_in_region(&guest, region, "vale0:guest");
	open_in_region(&neighbour, region, "vale0:neighbour");
	for (int round = 0; round < 300; round++) {
		struct netmap_slot *mine[2 * SWAP_SLOTS], *theirs[2 * SWAP_SLOTS];
		uint32_t held[2 * SWAP_SLOTS];

		make_frame(frame, 60, 0, NM_TEST_BROADCAST, 9, &r);
		for (uint32_t n = prng_below(&r, 20); n > 0; n--)
			assert_true(app_put(&other, 0, frame, 60, 0));
		app_txsync(&other, 0);
		app_rxsync(&guest, 0);
		(void)app_take(&guest, 0, got, sizeof(got));
		for (uint32_t n = prng_below(&r, SWAP_SLOTS); n > 0; n--)
			app_put_slot(&guest, 0, app_ring(&guest, NM_TX, 0)->slot[0].buf_idx, 60,
				NS_MOREFRAG);
		app_txsync(&guest, 0);
		list_slots(&guest, mine);
		list_slots(&neighbour, theirs);
		for (uint32_t n = prng_below(&r, 40); n > 0; n--) {
			uint32_t a = prng_below(&r, 2 * SWAP_SLOTS);
			uint32_t b = prng_below(&r, 2 * SWAP_SLOTS), tmp = mine[a]->buf_idx;

			mine[a]->buf_idx = theirs[b]->buf_idx;
			theirs[b]->buf_idx = tmp;
		}
		for (uint32_t i = 0; i < 2 * SWAP_SLOTS; i++)
			held[i] = theirs[i]->buf_idx;
		app_ring(&guest, NM_RX, 0)->head = prng_edge32(&r, SWAP_SLOTS);

		nm_client_reset_rings(&guest.client);
		check_first_state(&guest, 1);
		region_check(region);
		list_slots(&guest, mine);
		for (uint32_t i = 0; i < 2 * SWAP_SLOTS;
			i++) { /* the neighbour keeps what it shows */
			assert_int_equal(theirs[i]->buf_idx, held[i]);
			for (uint32_t k = 0; k < 2 * SWAP_SLOTS; k++)
				assert_int_not_equal(mine[k]->buf_idx, held[i]);
		}
		/* And it works. */
		app_rxsync(&guest, 0);
		assert_int_equal(app_take(&guest, 0, got, sizeof(got)), -1);
		assert_true(app_put(&other, 0, frame, 60, 0));
		app_txsync(&other, 0);
		app_rxsync(&guest, 0);
		assert_int_equal(app_take(&guest, 0, got, sizeof(got)), 60);
		assert_memory_equal(got, frame, 60);
		if (prng_chance(&r, 20)) { /* nonsense in all slots, then all ports are reset */
			for (uint32_t i = 0; i < 2 * SWAP_SLOTS; i++) {
				mine[i]->buf_idx = prng_edge32(&r, 200);
				theirs[i]->buf_idx = prng_edge32(&r, 200);
			}
			nm_client_reset_rings(&guest.client);
			nm_client_reset_rings(&neighbour.client);
			check_first_state(&guest, 1);
			check_first_state(&neighbour, 1);
			region_check(region);
		}
	}
	nm_client_unbind(&guest.client);
	nm_client_reset_rings(&guest.client); /* not bound: nothing happens */
	nm_client_unbind(&neighbour.client);
	app_close(&other);
	nm_region_put(region);
}

static void swap_bufs(struct netmap_slot *a, struct netmap_slot *b)
{
	uint32_t buf_idx = a->buf_idx;

	a->buf_idx = b->buf_idx;
	b->buf_idx = buf_idx;
}

/* A guest with ring 0 of a port is reset, or starts again, while an application has ring 1: with packets
 * on their way in both directions, and buffers that went from one ring to the other. */
static void a_reset_spares_other_clients(void **state)
{
	struct app app, guest, other;
	struct prng r = prng_new(7);
	uint8_t frame[60], got[200];

	app_open(&core, &other, &(struct app_config){"vale0:other", 2048, 64, 2});
	app_open(&core, &app, &(struct app_config){"vale0:port", 2048, 16, 2});
	nm_client_unbind(&app.client);
	assert_int_equal(
		bind_to(&app.client, app.region, "vale0:port", 2, 16, NR_REG_ONE_NIC, 1), 0);
	assert_int_equal(bind_to(&guest.client, NULL, "vale0:port", 0, 0, NR_REG_ONE_NIC, 0), 0);
	for (uint32_t round = 0; round < 200; round++) {
		struct netmap_ring *tx = nm_client_ring(&app.client, NM_TX, 0)->shared;
		struct netmap_ring *rx = nm_client_ring(&app.client, NM_RX, 0)->shared;
		struct netmap_ring *reset = nm_client_ring(&guest.client, NM_RX, 0)->shared;
		struct netmap_slot slots[2][16];
		struct nm_ring before[2];

		for (uint32_t n = 0; n < 3; n++) {
			make_frame(frame, 60, 0, NM_TEST_BROADCAST, 9, &r);
			assert_true(app_put(&other, 1, frame, 60, 0));
		}
		app_txsync(&other, 1);
		assert_int_equal(nm_ring_sync_shared(nm_client_ring(&app.client, NM_RX, 0)), 0);
		tx->slot[tx->head].len = 60;
		tx->slot[tx->head].flags = NS_MOREFRAG;
		tx->head = tx->cur = (tx->head + 1) % 16;
		assert_int_equal(nm_ring_sync_shared(nm_client_ring(&app.client, NM_TX, 0)), 0);
		swap_bufs(&reset->slot[prng_below(&r, 16)], &tx->slot[prng_below(&r, 16)]);
		if (round % 3 == 0) /* half of it: two slots with the same buffer */
			reset->slot[prng_below(&r, 16)] = rx->slot[prng_below(&r, 16)];
		memcpy(slots[NM_TX], tx->slot, sizeof(slots[NM_TX]));
		memcpy(slots[NM_RX], rx->slot, sizeof(slots[NM_RX]));
		before[NM_TX] = *nm_client_ring(&app.client, NM_TX, 0);
		before[NM_RX] = *nm_client_ring(&app.client, NM_RX, 0);

		if (round % 2)
			nm_client_reset_rings(&guest.client);
		else
			nm_client_repair_rings(&guest.client);
		region_check(app.region);
		assert_memory_equal(slots[NM_TX], tx->slot, sizeof(slots[NM_TX]));
		assert_memory_equal(slots[NM_RX], rx->slot, sizeof(slots[NM_RX]));
		assert_memory_equal(
			&before[NM_TX], nm_client_ring(&app.client, NM_TX, 0), sizeof(*before));
		assert_memory_equal(
			&before[NM_RX], nm_client_ring(&app.client, NM_RX, 0), sizeof(*before));
		for (uint32_t i = 0; i < 16; i++)
			for (uint32_t k = 0; k < 16; k++) {
				assert_int_not_equal(reset->slot[i].buf_idx, tx->slot[k].buf_idx);
				assert_int_not_equal(reset->slot[i].buf_idx, rx->slot[k].buf_idx);
			}
		if (round % 2)
			assert_int_equal(reset->tail, 0);
		rx->head = rx->cur = rx->tail;
		tx->slot[(tx->head + 15) % 16].flags = 0;
		assert_int_equal(nm_ring_sync_shared(nm_client_ring(&app.client, NM_RX, 0)), 0);
		while (app_take(&other, 1, got, sizeof(got)) >= 0)
			;
	}
	nm_client_unbind(&guest.client);
	nm_client_unbind(&app.client);
	nm_region_put(app.region);
	app_close(&other);
}

/* One application has a port's ring 0 while others come and go on ring 1, ending anywhere. */
static void a_ring_changes_hands(void **state)
{
	struct prng r = prng_new(6);
	struct app keeper, other;
	uint8_t frame[60];

	app_open(&core, &other, &(struct app_config){"vale0:other", 2048, 64, 2});
	app_open(&core, &keeper, &(struct app_config){"vale0:port", 2048, 16, 2});
	nm_client_unbind(&keeper.client);
	assert_int_equal(
		bind_to(&keeper.client, keeper.region, "vale0:port", 2, 16, NR_REG_ONE_NIC, 0), 0);
	for (int round = 0; round < 50; round++) {
		struct nm_client client;
		struct netmap_ring *tx, *rx;

		assert_int_equal(bind_to(&client, NULL, "vale0:port", 0, 0, NR_REG_ONE_NIC, 1), 0);
		tx = nm_client_ring(&client, NM_TX, 0)->shared;
		rx = nm_client_ring(&client, NM_RX, 0)->shared;
		assert_int_equal(tx->ringid, 1);
		assert_int_equal(tx->head, 0);
		assert_int_equal(tx->tail, 15);
		assert_int_equal(rx->head, 0);
		assert_int_equal(rx->tail, 0);
		assert_int_equal(nm_ring_sync_shared(nm_client_ring(&client, NM_TX, 0)), 0);
		assert_int_equal(nm_ring_sync_shared(nm_client_ring(&client, NM_RX, 0)), 0);
		assert_int_equal(rx->tail, 0); /* nothing is left over */
		make_frame(frame, 60, 0, NM_TEST_BROADCAST, 9, &r);
		for (uint32_t n = prng_below(&r, 20); n > 0; n--)
			assert_true(app_put(&other, 1, frame, 60, 0));
		app_txsync(&other, 1);
		assert_int_equal(nm_ring_sync_shared(nm_client_ring(&client, NM_RX, 0)), 0);
		tx->slot[0].flags = NS_MOREFRAG;
		tx->slot[0].len = 60;
		tx->head = tx->cur = 1;
		assert_int_equal(nm_ring_sync_shared(nm_client_ring(&client, NM_TX, 0)), 0);
		tx->head = prng_edge32(&r, 16); /* killed while it wrote */
		rx->head = prng_edge32(&r, 16);
		nm_client_unbind(&client);
	}
	nm_client_unbind(&keeper.client);
	nm_region_put(keeper.region);
	app_close(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(netmap_if_and_rings, core_begin, core_end),
		cmocka_unit_test_setup_teardown(private_regions_fit, core_begin, core_end),
		cmocka_unit_test_setup_teardown(unbind_is_idempotent, core_begin, core_end),
		cmocka_unit_test_setup_teardown(bind_and_unbind_at_random, core_begin, core_end),
		cmocka_unit_test_setup_teardown(bind_without_memory, core_begin, core_end),
		cmocka_unit_test_setup_teardown(unbind_without_memory, core_begin, core_end),
		cmocka_unit_test_setup_teardown(exchange_and_close, core_begin, core_end),
		cmocka_unit_test_setup_teardown(half_an_exchange, core_begin, core_end),
		cmocka_unit_test_setup_teardown(lies_at_the_end, core_begin, core_end),
		cmocka_unit_test_setup_teardown(reset_rings, core_begin, core_end),
		cmocka_unit_test_setup_teardown(a_reset_spares_other_clients, core_begin, core_end),
		cmocka_unit_test_setup_teardown(a_ring_changes_hands, core_begin, core_end),
	};

	test_seed();
	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
