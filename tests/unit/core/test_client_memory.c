/* SPDX-License-Identifier: BSD-2-Clause */
/* core/port.h: where a port's memory lies, whose buffer is which, and what a client is given besides
 * rings: extra buffers, offsets, host rings. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fixture.h"

/* ---- a kind that moves nothing, with any shape ------------------------------------------- */

static int sync_nothing(struct nm_ring *ring)
{
	return 0;
}

static uint32_t changes;

static void users_changed(struct nm_port *port)
{
	changes++;
}

static const struct nm_port_ops quiet_ops = {.kind = "quiet",
	.users_changed = users_changed,
	.txsync = sync_nothing,
	.rxsync = sync_nothing};
static const struct nm_port_ops nic_ops = {
	.kind = "nic", .txsync = sync_nothing, .rxsync = sync_nothing, .shares_region = true};

static int begin(void **state)
{
	core_begin(state);
	core.shared_params.count[NM_POOL_BUF] = 5000;
	changes = 0;
	return 0;
}

static struct nm_port *add(
	const char *name, const struct nm_port_ops *ops, uint32_t rings, uint32_t host)
{
	const struct nm_shape shape = {
		.rings = {rings, rings}, .host_rings = {host, host}, .slots = {8, 8}};

	return fixture_add(name, ops, &shape);
}

static int bind_as(struct nm_client *client, const char *name, const struct nm_bind *bind)
{
	nm_client_init(client, &core);
	return nm_client_bind(client, name, bind);
}

static struct netmap_if *nifp_of(const struct nm_client *client)
{
	return (void *)(client->port->region->base + client->nifp_offset);
}

/* ---- who comes to rest ------------------------------------------------------------------------ */

static struct nm_port *resting[8];
static uint32_t num_resting, most_resting, times;

static void rest(struct nm_port *port, bool on)
{
	uint32_t i = 0;

	if (on) {
		resting[num_resting++] = port;
		times++;
		most_resting = num_resting > most_resting ? num_resting : most_resting;
		return;
	}
	while (resting[i] != port)
		assert_true(++i < num_resting);
	resting[i] = resting[--num_resting];
}

static const struct nm_port_ops resting_ops = {
	.kind = "resting", .txsync = sync_nothing, .rxsync = sync_nothing, .pause = rest};

/* One port at a time beside the one that somebody leaves: those who don't share its buffers go on. */
static void the_others_go_on(void **state)
{
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .mem_id = NM_REGION_SHARED_ID};
	const struct nm_bind one = {
		.mode = NR_REG_ONE_NIC, .mem_id = NM_REGION_SHARED_ID, .extra_bufs = 3};
	struct nm_client clients[6], first, second;
	struct nm_port *ports[7];
	char name[8];

	for (int i = 0; i < 7; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		ports[i] = add(name, &resting_ops, 2, 0);
		if (i < 6)
			assert_int_equal(bind_as(&clients[i], name, &bind), 0);
	}
	most_resting = times = 0;
	for (int round = 0; round < 3; round++) {
		assert_int_equal(bind_as(&first, "p6", &one), 0);
		assert_int_equal(bind_as(&second, "p6",
					 &(struct nm_bind){.mode = NR_REG_ONE_NIC, .ringid = 1}),
			0);
		nm_client_reset_rings(&second);
		nm_client_unbind(&first);
		nm_client_unbind(&second);
	}
	assert_true(times > 6); /* they do come to rest, one after the other */
	assert_int_equal(most_resting, 2);
	assert_int_equal(num_resting, 0);
	for (int i = 0; i < 7; i++) {
		if (i < 6)
			nm_client_unbind(&clients[i]);
		fixture_remove(ports[i]);
	}
}

/* ---- which rings -------------------------------------------------------------------------- */

static void host_rings(void **state)
{
	static const struct {
		uint32_t mode;
		uint16_t ringid;
		uint64_t flags;
		int error;
		uint32_t first[NM_DIRS], count[NM_DIRS];
	} cases[] = {
		{NR_REG_ALL_NIC, 0, 0, 0, {0, 0}, {2, 2}}, {NR_REG_SW, 0, 0, 0, {2, 2}, {3, 3}},
		{NR_REG_NIC_SW, 0, 0, 0, {0, 0}, {5, 5}}, {NR_REG_ONE_SW, 0, 0, 0, {2, 2}, {1, 1}},
		{NR_REG_ONE_SW, 2, 0, 0, {4, 4}, {1, 1}},
		{NR_REG_ONE_SW, 2, NR_RX_RINGS_ONLY, 0, {0, 4}, {0, 1}},
		{NR_REG_ONE_SW, 3, 0, -EINVAL, {0, 0}, {0, 0}},
		{NR_REG_ONE_SW, 65535, 0, -EINVAL, {0, 0}, {0, 0}},
		{NR_REG_ONE_NIC, 2, 0, -EINVAL, {0, 0}, {0, 0}}, /* not a way to a host ring */
	};
	struct nm_port *port = add("p", &quiet_ops, 2, 3);
	struct nm_client keeper;

	assert_int_equal(bind_as(&keeper, "p", &(struct nm_bind){.mode = NR_REG_NIC_SW}), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct nm_bind bind = {
			.mode = cases[i].mode, .ringid = cases[i].ringid, .flags = cases[i].flags};
		struct nm_client client;
		uint32_t entry = 0;

		assert_int_equal(bind_as(&client, "p", &bind), cases[i].error);
		if (cases[i].error)
			continue;
		assert_memory_equal(client.first, cases[i].first, sizeof(client.first));
		assert_memory_equal(client.count, cases[i].count, sizeof(client.count));
		assert_int_equal(nifp_of(&client)->ni_host_tx_rings, 3);
		/* ring_ofs[]: the rings that the registration includes, and 0 for the others. */
		for (int dir = 0; dir < NM_DIRS; dir++) {
			for (uint32_t k = 0; k < 5; k++, entry++) {
				bool mine = k >= cases[i].first[dir] &&
					    k < cases[i].first[dir] + cases[i].count[dir];
				const struct netmap_ring *shared = port->rings[dir][k].shared;

				assert_int_equal(nifp_of(&client)->ring_ofs[entry],
					mine ? (const char *)shared - (char *)nifp_of(&client) : 0);
				assert_int_equal(shared->ringid, k);
				assert_int_equal(port->rings[dir][k].host, k >= 2);
			}
		}
		nm_client_unbind(&client);
	}
	nm_client_unbind(&keeper);
	assert_true(changes > 6);
	fixture_remove(port);
}

/* ---- extra buffers ------------------------------------------------------------------------- */

static uint32_t list_length(const struct nm_client *client)
{
	const struct nm_region *region = client->port->region;
	uint32_t n = 0;

	for (uint32_t i = nifp_of(client)->ni_bufs_head; i != 0;
		i = *(uint32_t *)nm_region_buf(region, i)) {
		assert_true(nm_region_buf_valid(region, i));
		assert_int_equal(nm_bufown_owner(region, NM_POOL_BUF, i), client->owner);
		assert_true(++n < 100000);
	}
	return n;
}

static void as_many_as_there_are(void **state)
{
	static const uint32_t asked[] = {0, 1, 7, 467, 468, 469, 100000, UINT32_MAX};
	struct nm_region *region = make_region(&core, 502, 64, 8); /* 500, and the rings take 32 */
	struct nm_port *port = add("p", &quiet_ops, 2, 0);

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .extra_bufs = asked[i]};
		uint32_t given = asked[i] < 468 ? asked[i] : 468;
		struct nm_client client;

		nm_client_init(&client, &core);
		client.own_region = region;
		assert_int_equal(nm_client_bind(&client, "p", &bind), 0);
		assert_int_equal(client.extra_bufs, given);
		assert_int_equal(list_length(&client), given);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 468 - given);
		region_check(region);
		nm_client_unbind(&client);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 500);
	}
	/* A region that is made for the port is made for them, too. */
	for (size_t i = 0; i < 6; i++) {
		const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .extra_bufs = asked[i]};
		struct nm_client client;

		assert_int_equal(bind_as(&client, "p", &bind), 0);
		assert_int_equal(client.extra_bufs, asked[i]);
		assert_int_equal(nm_bufown_num_free(client.port->region, NM_POOL_BUF), 0);
		nm_client_unbind(&client);
	}
	fixture_remove(port);
	nm_region_put(region);
}

/* Of a region that is there for all, nobody's extra buffers take the room for the rings of others. */
static void some_are_left_for_others(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .mem_id = 7, .extra_bufs = UINT32_MAX};
	struct nm_port *a = add("a", &quiet_ops, 2, 0), *b = add("b", &quiet_ops, 2, 0);
	struct nm_client greedy, other;
	struct nm_region *region;

	core.shared_params.count[NM_POOL_BUF] = 400;
	assert_int_equal(bind_as(&greedy, "a", &bind), 0);
	region = greedy.port->region;
	assert_int_equal(greedy.extra_bufs, 398 - 32 - 100);
	assert_int_equal(list_length(&greedy), greedy.extra_bufs);
	bind.extra_bufs = 3;
	assert_int_equal(bind_as(&other, "b", &bind), 0);
	assert_ptr_equal(other.port->region, region);
	assert_int_equal(other.extra_bufs, 0);
	nm_client_unbind(&greedy);
	nm_client_unbind(&other);
	assert_int_equal(bind_as(&other, "b", &bind), 0);
	assert_int_equal(other.extra_bufs, 3);
	nm_client_unbind(&other);
	fixture_remove(a);
	fixture_remove(b);
}

/* Clients of two ports exchange buffers between slots and lists, all over the region, leave lists that
 * are broken, and go in any order: what those who stay show is theirs, and at the end all is free. */
static void lists_and_slots_exchanged(void **state)
{
	enum { CLIENTS = 4, EXTRA = 6, SLOTS = 16 };
	struct nm_region *region = make_region(&core, 402, 64, 8);
	struct nm_port *ports[2] = {add("p", &quiet_ops, 1, 0), add("q", &quiet_ops, 1, 0)};
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .extra_bufs = EXTRA};
	struct prng r = prng_new(1);

	for (int round = 0; round < 400; round++) {
		struct nm_client client[CLIENTS];
		uint32_t *place[2 * SLOTS + CLIENTS * EXTRA], n = 0, gone = prng_below(&r, CLIENTS);

		for (int i = 0; i < CLIENTS; i++) {
			nm_client_init(&client[i], &core);
			client[i].own_region = region;
			assert_int_equal(nm_client_bind(&client[i], i % 2 ? "q" : "p", &bind), 0);
			assert_int_equal(client[i].extra_bufs, EXTRA);
		}
		for (int p = 0; p < 2; p++)
			for (int dir = 0; dir < NM_DIRS; dir++)
				for (uint32_t s = 0; s < 8; s++)
					place[n++] = &ports[p]->rings[dir][0].slots[s].buf_idx;
		/* A list is changed at its head: the head's number is exchanged with a slot's. */
		for (int k = 0; k < 100; k++) {
			struct nm_client *c = &client[prng_below(&r, CLIENTS)];
			uint32_t *slot = place[prng_below(&r, n)], head = nifp_of(c)->ni_bufs_head;
			uint32_t next = *(uint32_t *)nm_region_buf(region, head), mine = *slot;

			*slot = head;
			*(uint32_t *)nm_region_buf(region, mine) = next;
			*(uint32_t *)(uintptr_t)&nifp_of(c)->ni_bufs_head = mine;
		}
		if (prng_chance(&r, 30)) /* the one that goes breaks its list */
			*(uint32_t *)(uintptr_t)&nifp_of(&client[gone])->ni_bufs_head =
				prng_chance(&r, 50) ? prng_below(&r, NM_BUFS_RESERVED)
						    : 402 + prng_below(&r, 1u << 31);
		else if (prng_chance(&r, 30)) /* or makes it endless */
			*(uint32_t *)nm_region_buf(region, nifp_of(&client[gone])->ni_bufs_head) =
				nifp_of(&client[gone])->ni_bufs_head;
		nm_client_unbind(&client[gone]);
		region_check(region);
		for (uint32_t k = 0; k < n; k++)
			assert_int_not_equal(
				nm_bufown_owner(region, NM_POOL_BUF, *place[k]), NM_OWNER_NONE);
		for (int i = 0; i < CLIENTS; i++)
			if (i != (int)gone)
				assert_int_equal(list_length(&client[i]), EXTRA);
		for (int i = 0; i < CLIENTS; i++)
			nm_client_unbind(&client[i]);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 400);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_IF), 8);
	}
	fixture_remove(ports[0]);
	fixture_remove(ports[1]);
	nm_region_put(region);
}

/* Who leaves has put another's buffer into its list, which goes round: it is one buffer, however often the
 * list comes to it, and one is given for it. */
static void a_list_that_goes_round(void **state)
{
	enum { EXTRA = 6, LENGTHS = 3 };
	struct nm_region *region = make_region(&core, 202, 64, 8);
	struct nm_port *port = add("p", &quiet_ops, 1, 0), *other = add("q", &quiet_ops, 1, 0);
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .extra_bufs = EXTRA};

	for (int theirs = 1; theirs <= LENGTHS; theirs++) {
		struct nm_client leaving, stays;
		uint32_t *link, index, before;

		nm_client_init(&leaving, &core);
		nm_client_init(&stays, &core);
		leaving.own_region = stays.own_region = region;
		assert_int_equal(nm_client_bind(&leaving, "p", &bind), 0);
		assert_int_equal(nm_client_bind(&stays, "q", &bind), 0);
		before = nm_bufown_num_free(region, NM_POOL_BUF);
		index = nifp_of(&stays)->ni_bufs_head;
		link = (uint32_t *)(uintptr_t)&nifp_of(&leaving)->ni_bufs_head;
		for (int i = 0; i < theirs; i++) {
			*link = index;
			link = nm_region_buf(region, index);
			index = *link;
		}
		*link = nifp_of(&leaving)->ni_bufs_head; /* round */
		nm_client_unbind(&leaving);
		region_check(region);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), before + 16 + EXTRA);
		nm_client_unbind(&stays);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 200);
	}
	fixture_remove(port);
	fixture_remove(other);
	nm_region_put(region);
}

/* ---- a ring changes hands --------------------------------------------------------------------- */

/* One client keeps ring 0; ring 1 goes from hand to hand, each leaving anything in its slots, or
 * buffers exchanged with ring 0: each finds a buffer of the port in every slot. */
static void slots_of_a_ring_that_changes_hands(void **state)
{
	struct nm_port *port = add("p", &quiet_ops, 2, 0);
	struct nm_bind bind = {.mode = NR_REG_ONE_NIC};
	struct prng r = prng_new(2);
	struct nm_client keeper;

	assert_int_equal(bind_as(&keeper, "p", &bind), 0);
	bind.ringid = 1;
	for (int round = 0; round < 2000; round++) {
		struct nm_region *region = port->region;
		uint8_t seen[100] = {0};
		struct nm_client client;

		assert_int_equal(bind_as(&client, "p", &bind), 0);
		for (int dir = 0; dir < NM_DIRS; dir++) {
			for (uint32_t i = 0; i < 2; i++) {
				for (uint32_t s = 0; s < 8; s++) {
					uint32_t index = port->rings[dir][i].slots[s].buf_idx;

					assert_true(nm_region_buf_valid(region, index));
					assert_int_equal(seen[index]++, 0);
				}
			}
		}
		for (int k = 0; k < 10; k++) {
			struct netmap_slot *mine = &nm_client_ring(&client, prng_below(&r, 2), 0)
							    ->slots[prng_below(&r, 8)];
			struct netmap_slot *kept = &nm_client_ring(&keeper, prng_below(&r, 2), 0)
							    ->slots[prng_below(&r, 8)];
			uint32_t tmp = mine->buf_idx;

			mine->buf_idx = prng_chance(&r, 50) ? kept->buf_idx : prng_edge32(&r, 34);
			if (mine->buf_idx == kept->buf_idx)
				kept->buf_idx =
					nm_region_buf_valid(region, tmp) ? tmp : kept->buf_idx;
			mine->len = (uint16_t)prng_next(&r);
		}
		/* The keeper is an honest program: whatever it was given, it shows each once. */
		memset(seen, 0, sizeof(seen));
		for (int dir = 0; dir < NM_DIRS; dir++) {
			for (uint32_t s = 0; s < 8; s++) {
				struct netmap_slot *slot = &port->rings[dir][0].slots[s];

				while (!nm_region_buf_valid(region, slot->buf_idx) ||
					seen[slot->buf_idx])
					slot->buf_idx = 2 + prng_below(&r, 32);
				seen[slot->buf_idx] = 1;
			}
		}
		nm_client_unbind(&client);
		region_check(region);
	}
	nm_client_unbind(&keeper);
	fixture_remove(port);
}

/* ---- offsets ------------------------------------------------------------------------------------- */

static void offsets_granted(void **state)
{
	static const struct {
		struct nm_offsets ask;
		int error;
	} cases[] = {
		{{.max = 128, .initial = 64, .bits = 16}, 0},
		{{.max = 0}, 0},
		{{.max = 2047}, 0},
		{{.max = 2048}, -EINVAL}, /* nothing is left of a buffer */
		{{.max = UINT64_MAX}, -EINVAL},
		{{.max = 1000, .min_gap = 1047}, 0},
		{{.max = 1000, .min_gap = 1048}, -EINVAL},
		{{.max = 1000, .min_gap = UINT64_MAX}, -EINVAL},
		{{.max = 255, .bits = 8}, 0},
		{{.max = 256, .bits = 8}, -EINVAL},
		{{.max = 64, .bits = 64}, 0},
		{{.max = 64, .bits = 65}, -EINVAL},
		{{.max = 64, .bits = UINT32_MAX}, -EINVAL},
		{{.max = 64, .initial = 64}, 0},
		{{.max = 64, .initial = 65}, -EINVAL},
		{{.max = 64, .tx_align = 64}, 0},
		{{.max = 64, .tx_align = 2048}, 0},
		{{.max = 64, .tx_align = 4096}, -EINVAL},
		{{.max = 64, .tx_align = 48}, -EINVAL},
	};
	struct nm_port *port = add("p", &quiet_ops, 1, 1);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct nm_offsets *ask = &cases[i].ask;
		const struct nm_bind bind = {.mode = NR_REG_NIC_SW, .offsets = ask};
		struct nm_client client;

		assert_int_equal(bind_as(&client, "p", &bind), cases[i].error);
		if (cases[i].error) {
			assert_int_not_equal(client.err.text[0], '\0');
			assert_null(port->region);
			assert_int_equal(port->offsets.mask, 0);
			continue;
		}
		assert_int_equal(port->offsets.max, ask->max);
		for (int dir = 0; dir < NM_DIRS; dir++) {
			for (uint32_t k = 0; k < 2; k++) {
				const struct netmap_ring *ring = port->rings[dir][k].shared;

				assert_true(ring->offset_mask == port->offsets.mask);
				assert_true(port->rings[dir][k].offset_mask == port->offsets.mask);
				assert_int_equal(ring->buf_align, ask->tx_align);
				for (uint32_t s = 0; s < 8; s++)
					assert_int_equal(ring->slot[s].ptr, ask->initial);
			}
		}
		nm_client_unbind(&client);
		assert_int_equal(port->offsets.mask, 0);
	}
	fixture_remove(port);
}

static void offsets_for_one_are_for_all(void **state)
{
	const struct nm_offsets first = {.max = 128, .initial = 64, .bits = 16, .min_gap = 10};
	static const struct {
		struct nm_offsets ask;
		int error;
	} cases[] = {
		{{.max = 128, .initial = 64, .bits = 16}, 0},
		{{.max = 100, .initial = 64, .bits = 16, .min_gap = 10}, 0},
		{{.max = 129, .initial = 64, .bits = 16}, -EINVAL},
		{{.max = 128, .initial = 0, .bits = 16}, -EINVAL},
		{{.max = 128, .initial = 64, .bits = 15}, -EINVAL},
		{{.max = 128, .initial = 64, .bits = 16, .min_gap = 11}, -EINVAL},
		{{.max = 128, .initial = 64, .bits = 16, .tx_align = 64}, -EINVAL},
	};
	static const char *const names[] = {"p", "x}1"}; /* the same, and the other end */
	struct nm_port *port = add("p", &quiet_ops, 1, 0);
	struct nm_client a, b;

	for (int k = 0; k < 2; k++) {
		struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .offsets = &first};

		assert_int_equal(bind_as(&a, k ? "x{1" : "p", &bind), 0);
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			bind.offsets = &cases[i].ask;
			assert_int_equal(bind_as(&b, names[k], &bind), cases[i].error);
			nm_client_unbind(&b);
		}
		bind.offsets = NULL;
		assert_int_equal(bind_as(&b, names[k], &bind), -EBUSY);
		nm_client_unbind(&a);
		assert_int_equal(bind_as(&a, k ? "x{1" : "p", &bind), 0);
		bind.offsets = &first;
		assert_int_equal(bind_as(&b, names[k], &bind), -EINVAL);
		nm_client_unbind(&a);
	}
	fixture_remove(port);
}

/* A packet begins where the sender says, and fits with its offset and the gap; else it is dropped. */
static void offsets_through_a_pipe(void **state)
{
	static const struct {
		uint64_t ptr;
		uint16_t len;
		enum nm_drop cause;
	} cases[] = {
		{0, 100, NM_DROPS},
		{100, 100, NM_DROPS},
		{0xffff0000 + 100, 100, NM_DROPS}, /* bits that are no offset */
		{100, 1938, NM_DROPS},
		{100, 1939, NM_DROP_TOO_LONG}, /* into the gap */
		{100, 1948, NM_DROP_TOO_LONG},
		{100, 1949, NM_DROP_BAD_OFFSET},
		{2048, 0, NM_DROP_TOO_LONG},
		{2049, 0, NM_DROP_BAD_OFFSET},
		{65535, 10, NM_DROP_BAD_OFFSET},
	};
	const struct nm_offsets ask = {.max = 128, .initial = 64, .bits = 16, .min_gap = 10};
	const struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC, .num_slots = {16, 16}, .offsets = &ask};
	struct nm_client a, b;
	struct nm_ring *tx, *rx;

	assert_int_equal(bind_as(&a, "x{1", &bind), 0);
	assert_int_equal(bind_as(&b, "x}1", &bind), 0);
	tx = nm_client_ring(&a, NM_TX, 0);
	rx = nm_client_ring(&b, NM_RX, 0);
	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t at = tx->head, got = rx->head, index = tx->slots[at].buf_idx;
		bool good = cases[i].cause == NM_DROPS;

		tx->slots[at].ptr = cases[i].ptr;
		tx->slots[at].len = cases[i].len;
		tx->slots[at].flags = 0;
		assert_int_equal(nm_ring_sync(tx, at + 1, at + 1), 0);
		assert_int_equal(nm_ring_sync(rx, got, got), 0);
		assert_int_equal(nm_ring_avail(rx), good);
		if (good) {
			assert_int_equal(rx->slots[got].buf_idx, index);
			assert_int_equal(rx->slots[got].ptr, cases[i].ptr & 0xffff);
			assert_int_equal(nm_ring_sync(rx, got + 1, got + 1), 0);
		} else {
			assert_true(tx->stats.drops[cases[i].cause] > 0);
		}
	}
	nm_client_unbind(&a);
	nm_client_unbind(&b);
}

/* ---- which region ---------------------------------------------------------------------------------- */

static void regions_in_order(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC};
	struct nm_region *own = make_region(&core, 502, 2048, 256);
	struct nm_port *nic = add("nic", &nic_ops, 1, 0), *p = add("p", &quiet_ops, 1, 0);
	struct nm_client a, b;

	/* A NIC's is number 1, whoever comes; by name another. */
	assert_int_equal(bind_as(&a, "nic", &bind), 0);
	assert_int_equal(nic->region->id, NM_REGION_SHARED_ID);
	assert_int_equal(nifp_of(&a)->ni_flags, 0);
	/* Its pipes lie with it; and so they do when they come first. */
	assert_int_equal(bind_as(&b, "nic{1", &bind), 0);
	assert_ptr_equal(b.port->region, nic->region);
	nm_client_unbind(&a);
	nm_client_unbind(&b);
	bind.mem_id = 40;
	assert_int_equal(bind_as(&b, "nic{1", &bind), 0);
	bind.mem_id = 0;
	assert_int_equal(bind_as(&a, "nic", &bind), 0);
	assert_int_equal(nic->region->id, 40);
	nm_client_unbind(&a);
	nm_client_unbind(&b);
	/* Own, private. */
	assert_int_equal(bind_as(&a, "p", &bind), 0);
	assert_int_equal(nifp_of(&a)->ni_flags, NI_PRIV_MEM);
	/* A pipe of a port whose region has no room for it. */
	assert_int_equal(bind_as(&b, "p{1", &bind), 0);
	assert_int_equal(b.port->region->id, NM_REGION_SHARED_ID);
	nm_client_unbind(&b);
	nm_client_unbind(&a);
	nm_client_init(&a, &core);
	a.own_region = own;
	assert_int_equal(nm_client_bind(&a, "p", &bind), 0);
	assert_ptr_equal(p->region, own);
	nm_client_unbind(&a);
	fixture_remove(nic);
	fixture_remove(p);
	nm_region_put(own);
}

/* The region of a virtual machine is for its own clients. */
static void a_machine_keeps_its_memory(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .num_slots = {8, 8}};
	struct nm_region *own = make_region(&core, 502, 2048, 256);
	struct nm_client vm, other;

	own->reserved = true;
	nm_client_init(&vm, &core);
	vm.own_region = own;
	assert_int_equal(nm_client_bind(&vm, "vale0:vm", &bind), 0);
	assert_int_equal(bind_as(&other, "vale0:vm", &bind), -EPERM);
	/* A stranger's pipe of its port lies elsewhere, and does not draw the port after it. */
	assert_int_equal(bind_as(&other, "vale0:vm{1", &bind), 0);
	assert_int_equal(other.port->region->id, NM_REGION_SHARED_ID);
	nm_client_unbind(&vm);
	assert_int_equal(nm_client_bind(&vm, "vale0:vm", &bind), 0);
	assert_ptr_equal(vm.port->region, own);
	nm_client_unbind(&vm);
	/* But who opens the other end of that pipe shares it. */
	assert_int_equal(nm_client_bind(&vm, "vale0:vm}1", &bind), 0);
	assert_int_equal(vm.port->region->id, NM_REGION_SHARED_ID);
	nm_client_unbind(&vm);
	nm_client_unbind(&other);
	/* Its own pipes lie in it. */
	assert_int_equal(nm_client_bind(&vm, "vale0:vm", &bind), 0);
	nm_client_init(&other, &core);
	other.own_region = own;
	assert_int_equal(nm_client_bind(&other, "vale0:vm{1", &bind), 0);
	assert_ptr_equal(other.port->region, own);
	nm_client_unbind(&other);
	nm_client_unbind(&vm);
	nm_region_put(own);
}

static void external_memory(void **state)
{
	struct nm_port *port = add("p", &quiet_ops, 1, 0);
	struct os_mem *mem = os_mem_alloc(1 << 20, &(struct nm_error){0}), *left = mem;
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .extmem = &left, .extmem_bytes = 1 << 20};
	struct nm_client a, b;

	bind.extmem_bytes = 4096; /* too little: it stays the caller's */
	assert_int_equal(bind_as(&a, "p", &bind), -ENOMEM);
	assert_ptr_equal(left, mem);
	bind.extmem_bytes = 1 << 20;
	/* Too few for the rings: it goes with the region. */
	bind.extmem_params.count[NM_POOL_BUF] = 10;
	assert_int_equal(bind_as(&a, "p", &bind), -ENOMEM);
	assert_null(left);
	bind.extmem_params.count[NM_POOL_BUF] = 0;
	for (uint32_t nth = 1;; nth++) {
		int error;

		os_mem_free(left);
		left = mem = os_mem_alloc(1 << 20, &(struct nm_error){0});
		fail_allocation(nth);
		error = bind_as(&a, "p", &bind);
		if (!allocation_failed())
			break;
		assert_int_equal(error, -ENOMEM);
		assert_int_equal(core_count_regions(&core), 0);
	}
	fail_allocation(0);
	assert_ptr_equal(port->region->base, os_mem_addr(mem));
	assert_null(left);
	left = os_mem_alloc(1 << 20, &(struct nm_error){0});
	assert_int_equal(bind_as(&b, "p", &bind), -EBUSY);
	assert_non_null(left);
	os_mem_free(left);
	left = NULL;
	assert_int_equal(bind_as(&b, "p", &bind), 0);
	nm_client_unbind(&a);
	nm_client_unbind(&b);
	fixture_remove(port);
}

/* ---- in memory of another machine ------------------------------------------------------------------- */

enum { F_BUFS = 200, F_RINGS = 12, F_IFS = 8, F_SIZE = 65536 };

static char foreign_memory[F_SIZE] __attribute__((aligned(4096)));

static struct nm_region *adopt(uint32_t ifs, uint32_t rings, uint32_t bufs)
{
	const struct nm_pool_geometry pool[NM_POOLS] = {
		{0, F_IFS, 512}, {4096, F_RINGS, 512}, {12288, F_BUFS, 64}};
	const struct nm_run ours[NM_POOLS] = {
		{F_IFS - ifs, ifs}, {F_RINGS - rings, rings}, {F_BUFS - bufs, bufs}};
	struct nm_region *region;
	struct nm_error err;

	memset(foreign_memory, 0x55, sizeof(foreign_memory));
	region = nm_region_adopt(&core, foreign_memory, F_SIZE, pool, ours, &err);
	assert_non_null(region);
	return region;
}

/* A port with one pair of rings that came with the region, and host rings. The host's rings are
 * objects 0 and 1, their buffers 2 to 17. */
static struct nm_port *add_brought(struct nm_region *region, const char *name, uint32_t host)
{
	struct nm_port *port = add(name, &quiet_ops, 1, host);

	port->region = region; /* the reference goes to it */
	port->nifp_offset = 0;
	for (int dir = 0; dir < NM_DIRS; dir++) {
		struct nm_ring *ring = &port->rings[dir][0];

		ring->region = region;
		ring->shared = nm_region_object(region, NM_POOL_RING, (uint32_t)dir);
		ring->slots = ring->shared->slot;
		for (uint32_t s = 0; s < 8; s++)
			ring->slots[s] = (struct netmap_slot){.buf_idx = 2 + (uint32_t)dir * 8 + s};
	}
	return port;
}

/* What was not set aside is as it was, but for the slots of the rings that came with the port. */
static void check_untouched(uint32_t ifs, uint32_t rings, uint32_t bufs)
{
	for (uint32_t i = 0; i < (F_IFS - ifs) * 512; i++)
		assert_int_equal(foreign_memory[i], 0x55);
	for (uint32_t i = 4096 + 2 * 512; i < 4096 + (F_RINGS - rings) * 512; i++)
		assert_int_equal(foreign_memory[i], 0x55);
	for (uint32_t i = 12288; i < 12288 + (F_BUFS - bufs) * 64; i++)
		assert_int_equal(foreign_memory[i], 0x55);
}

static void the_part_that_is_set_aside(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .num_slots = {8, 8}, .extra_bufs = 5};
	struct nm_region *region = adopt(4, 8, 100);
	struct nm_port *port = add_brought(region, "ptnet0", 2);
	struct nm_client app, host, pipe[2];

	assert_int_equal(bind_as(&app, "ptnet0", &bind), 0);
	assert_int_equal(app.nifp_offset, 4 * 512); /* one of its own */
	assert_int_equal(app.extra_bufs, 5);
	assert_int_equal(list_length(&app), 5);
	assert_null(port->rings[NM_TX][1].shared); /* nobody wants host rings so far */
	assert_int_equal(nifp_of(&app)->ring_ofs[1], 0);
	bind.mode = NR_REG_SW;
	assert_int_equal(bind_as(&host, "ptnet0", &bind), 0);
	assert_non_null(port->rings[NM_TX][2].shared);
	assert_int_equal(nm_client_ring(&host, NM_RX, 1)->slots[7].len, 0);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_RING), 4);
	bind.mode = NR_REG_ALL_NIC;
	bind.extra_bufs = 0;
	assert_int_equal(bind_as(&pipe[0], "ptnet0{1", &bind), 0);
	assert_int_equal(bind_as(&pipe[1], "ptnet0}1", &bind), 0);
	assert_ptr_equal(pipe[0].port->region, region);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_IF), 0);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_RING), 0);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 100 - 10 - 32 - 32);
	/* The fifth gets the netmap_if that came with the port, and no extra buffers. */
	{
		struct nm_client fifth;

		bind.extra_bufs = 3;
		assert_int_equal(bind_as(&fifth, "ptnet0", &bind), 0);
		assert_int_equal(fifth.nifp_offset, 0);
		assert_int_equal(fifth.extra_bufs, 0);
		nm_client_unbind(&fifth);
		/* A port that needs one doesn't fit; a pipe goes to region 1. */
		assert_int_equal(bind_as(&fifth, "ptnet0{2", &bind), 0);
		assert_int_equal(fifth.port->region->id, NM_REGION_SHARED_ID);
		nm_client_unbind(&fifth);
	}
	nm_client_unbind(&pipe[0]);
	nm_client_unbind(&host);
	assert_non_null(port->rings[NM_TX][2].shared); /* until the port is unused */
	nm_client_unbind(&app);
	assert_null(port->rings[NM_TX][2].shared);
	assert_non_null(port->rings[NM_TX][0].shared);
	nm_client_unbind(&pipe[1]);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 100);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_RING), 8);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_IF), 4);
	check_untouched(4, 8, 100);
	fixture_remove(port);
}

/* Host rings for which there is no memory are refused; the others are not. */
static void host_rings_without_memory(void **state)
{
	struct nm_region *region = adopt(4, 1, 100);
	struct nm_port *port = add_brought(region, "ptnet0", 1);
	struct nm_bind bind = {.mode = NR_REG_NIC_SW};
	struct nm_client client, late;

	assert_int_equal(bind_as(&client, "ptnet0", &bind), -ENOMEM);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_RING), 1);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 100);
	bind.mode = NR_REG_ALL_NIC;
	assert_int_equal(bind_as(&client, "ptnet0", &bind), 0);
	/* On a port that others keep in use: nothing stays behind, neither. */
	bind.mode = NR_REG_SW;
	assert_int_equal(bind_as(&late, "ptnet0", &bind), -ENOMEM);
	assert_null(port->rings[NM_TX][1].shared);
	assert_null(port->rings[NM_RX][1].shared);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_RING), 1);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 100);
	bind.flags = NR_TX_RINGS_ONLY; /* what there is is enough for that */
	assert_int_equal(bind_as(&late, "ptnet0", &bind), 0);
	nm_client_unbind(&late);
	nm_client_unbind(&client);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_RING), 1);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 100);
	fixture_remove(port);
}

/* Buffers go between a pipe and the port that came with the region. Whoever of the two goes first: what the
 * other shows is not given to anybody else, and each owns as many as before. */
static void exchanged_with_the_host(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .num_slots = {8, 8}};

	for (int pipe_first = 0; pipe_first < 2; pipe_first++) {
		struct nm_region *region = adopt(4, 8, 40);
		struct nm_port *port = add_brought(region, "ptnet0", 0);
		uint32_t *theirs = &port->rings[NM_RX][0].slots[3].buf_idx, *mine, index, owned = 0;
		struct nm_client app, pipe;

		nm_core_lock(&core);
		port->hw_owner = nm_core_new_owner(&core);
		nm_core_unlock(&core);
		for (uint32_t i = 2; i < 18; i++)
			nm_bufown_claim(region, port->hw_owner, i);
		assert_int_equal(bind_as(&app, "ptnet0", &bind), 0);
		assert_int_equal(bind_as(&pipe, "ptnet0{1", &bind), 0);
		mine = &nm_client_ring(&pipe, NM_TX, 0)->slots[2].buf_idx;
		index = *mine;
		*mine = *theirs;
		*theirs = index;
		if (pipe_first) {
			nm_client_unbind(&pipe);
			assert_int_equal(
				nm_bufown_owner(region, NM_POOL_BUF, index), port->hw_owner);
			assert_int_equal(bind_as(&pipe, "ptnet0{1", &bind), 0);
			for (int dir = 0; dir < NM_DIRS; dir++)
				for (uint32_t s = 0; s < 8; s++)
					assert_int_not_equal(
						nm_client_ring(&pipe, dir, 0)->slots[s].buf_idx,
						index);
		}
		nm_client_unbind(&app);
		nm_client_unbind(&pipe);
		for (uint32_t i = 0; i < F_BUFS; i++)
			owned += nm_bufown_owner(region, NM_POOL_BUF, i) == port->hw_owner;
		assert_int_equal(owned, 16);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 40);
		fixture_remove(port);
	}
}

/* From the end on whoever touches it is ended by a signal. */
static void end_region(struct nm_region *region)
{
	nm_core_lock(&core);
	nm_region_end(region);
	nm_core_unlock(&core);
	assert_int_equal(mprotect(foreign_memory, F_SIZE, PROT_NONE), 0);
}

/* The device is pulled: its pipes end with it, and nothing of that memory is read or written, whoever leaves first. */
static void the_memory_goes(void **state)
{
	for (int first = 0; first < 3; first++) {
		struct nm_bind bind = {.mode = NR_REG_NIC_SW, .num_slots = {8, 8}, .extra_bufs = 2};
		struct nm_region *region = adopt(4, 8, 100);
		struct nm_port *port = add_brought(region, "ptnet0", 1);
		struct nm_client client[3];

		assert_int_equal(bind_as(&client[0], "ptnet0", &bind), 0);
		bind.mode = NR_REG_ALL_NIC;
		assert_int_equal(bind_as(&client[1], "ptnet0{1", &bind), 0);
		assert_int_equal(bind_as(&client[2], "ptnet0}1", &bind), 0);
		fixture_remove(port);
		end_region(region);
		for (int i = 0; i < 3; i++)
			assert_int_equal(
				nm_ring_sync(nm_client_ring(&client[i], NM_TX, 0), 0, 0), -ENXIO);
		for (int i = 0; i < 3; i++)
			nm_client_unbind(&client[(first + i) % 3]);
		assert_int_equal(mprotect(foreign_memory, F_SIZE, PROT_READ | PROT_WRITE), 0);
		core_check_empty(&core);
	}
}

/* Who still has something there keeps the number of the region in use, but nobody comes in by it. */
static void nobody_comes_into_what_has_gone(void **state)
{
	struct nm_region *region = adopt(4, 8, 100);
	struct nm_port *port = add_brought(region, "ptnet0", 1);
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .num_slots = {8, 8}};
	struct nm_client app, other;

	assert_int_equal(bind_as(&app, "ptnet0", &bind), 0);
	fixture_remove(port);
	end_region(region);
	bind.mem_id = region->id;
	assert_int_equal(bind_as(&other, "vale0:1", &bind), -ENXIO);
	assert_non_null(strstr(other.err.text, "is gone with its device"));
	/* Nor who lies where a device does: its place on a switch. */
	bind.mem_id = 0;
	nm_client_init(&other, &core);
	other.own_region = region;
	assert_int_equal(nm_client_bind(&other, "vale0:1", &bind), -ENXIO);
	nm_client_unbind(&app);
	assert_int_equal(mprotect(foreign_memory, F_SIZE, PROT_READ | PROT_WRITE), 0);
	core_check_empty(&core);
}

static struct nm_region *kept; /* by a device that has buffers of it in its hands still */

static void keep_region(struct nm_port *port)
{
	kept = port->region;
	nm_region_get(kept);
}

/* A region that is there for all is named again while the last port that has left still holds it, and all comes back. */
static void a_device_holds_the_region_of_all(void **state)
{
	static const struct nm_port_ops holding_ops = {.kind = "nic",
		.stop = keep_region,
		.txsync = sync_nothing,
		.rxsync = sync_nothing,
		.nic_memory = true};
	struct nm_port *port = add("dev0", &holding_ops, 1, 0);
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .mem_id = 5};
	struct nm_client client;
	uint32_t free;

	assert_int_equal(bind_as(&client, "dev0", &bind), 0);
	nm_client_unbind(&client);
	nm_core_lock(&core);
	free = nm_bufown_num_free(kept, NM_POOL_BUF);
	assert_int_equal(free, kept->pool[NM_POOL_BUF].count - NM_BUFS_RESERVED);
	nm_core_unlock(&core);
	assert_int_equal(bind_as(&client, "vale0:1", &bind), 0);
	assert_ptr_equal(client.port->region, kept);
	nm_client_unbind(&client);
	nm_core_lock(&core);
	assert_int_equal(nm_bufown_num_free(kept, NM_POOL_BUF), free);
	nm_region_put(kept);
	nm_core_unlock(&core);
	fixture_remove(port);
	core_check_empty(&core);
}

/* What a device has in its hands is counted once: a region that is made for the port is just large enough. */
static void what_a_device_holds(void **state)
{
	struct nm_port *port = add("dev0", &quiet_ops, 2, 0);
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC};
	struct nm_client client;

	port->held_bufs = 100;
	core.spare_bufs = 0;
	assert_int_equal(bind_as(&client, "dev0", &bind), 0);
	nm_core_lock(&core);
	assert_int_equal(nm_bufown_num_free(port->region, NM_POOL_BUF), 0);
	assert_int_equal(port->promised, 0);
	nm_core_unlock(&core);
	nm_client_unbind(&client);
	fixture_remove(port);
	core_check_empty(&core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_others_go_on, begin, core_end),
		cmocka_unit_test_setup_teardown(host_rings, begin, core_end),
		cmocka_unit_test_setup_teardown(as_many_as_there_are, begin, core_end),
		cmocka_unit_test_setup_teardown(some_are_left_for_others, begin, core_end),
		cmocka_unit_test_setup_teardown(lists_and_slots_exchanged, begin, core_end),
		cmocka_unit_test_setup_teardown(a_list_that_goes_round, begin, core_end),
		cmocka_unit_test_setup_teardown(
			slots_of_a_ring_that_changes_hands, begin, core_end),
		cmocka_unit_test_setup_teardown(offsets_granted, begin, core_end),
		cmocka_unit_test_setup_teardown(offsets_for_one_are_for_all, begin, core_end),
		cmocka_unit_test_setup_teardown(offsets_through_a_pipe, begin, core_end),
		cmocka_unit_test_setup_teardown(regions_in_order, begin, core_end),
		cmocka_unit_test_setup_teardown(a_machine_keeps_its_memory, begin, core_end),
		cmocka_unit_test_setup_teardown(external_memory, begin, core_end),
		cmocka_unit_test_setup_teardown(the_part_that_is_set_aside, begin, core_end),
		cmocka_unit_test_setup_teardown(host_rings_without_memory, begin, core_end),
		cmocka_unit_test_setup_teardown(exchanged_with_the_host, begin, core_end),
		cmocka_unit_test_setup_teardown(the_memory_goes, begin, core_end),
		cmocka_unit_test_setup_teardown(nobody_comes_into_what_has_gone, begin, core_end),
		cmocka_unit_test_setup_teardown(a_device_holds_the_region_of_all, begin, core_end),
		cmocka_unit_test_setup_teardown(what_a_device_holds, begin, core_end),
	};

	test_seed();
	return cmocka_run_group_tests_name("client_memory", tests, NULL, NULL);
}
