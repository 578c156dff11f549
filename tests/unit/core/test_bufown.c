/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/bufown.h: maps against tables, and the invariant against a model. Two machines and a program
 * exchange buffers through pipes of one region; each begins again at any time.
 *
 *      machine 0  wire{1 ---- wire}1  machine 1
 *      machine 0  wire{2 ---- wire}2  program
 *      machine 1  wire{3 ---- wire}3  program
 *
 * A machine has what its slots show. The program has extra buffers in its hand, too, where nobody can see
 * them: its list is as it was given. Whatever they do, a buffer is in one place and has one owner.
 */
#include "util.h"

#include <stdlib.h>

/* ---- pools -------------------------------------------------------------------------------- */

enum { OWNERS = 5, BUFS = 48 };

/* Any sequence of allocations and frees, right and wrong ones, against a plain table of owners. */
static void pools_against_a_table(void **state)
{
	struct prng r = prng_new(2);
	uint32_t owner_of[NM_POOLS][64] = {0};
	struct nm_region *region;
	struct nm_core core;

	nm_core_init(&core);
	region = make_region(&core, BUFS, 64, 16);
	for (int step = 0; step < 30000; step++) {
		enum nm_pool pool = prng_below(&r, NM_POOLS);
		uint32_t first = pool == NM_POOL_BUF ? NM_BUFS_RESERVED : 0;
		uint32_t count = region->pool[pool].count, owner = prng_range(&r, 1, OWNERS);
		uint32_t index = prng_edge32(&r, count), taken = 0, expected = 0;

		for (uint32_t i = first; i < count; i++)
			taken += owner_of[pool][i] != 0;
		switch (prng_below(&r, 40)) {
		case 0: /* everything of one owner */
			for (int p = 0; p < NM_POOLS; p++) {
				for (uint32_t i = 0; i < region->pool[p].count; i++) {
					expected += owner_of[p][i] == owner;
					if (owner_of[p][i] == owner)
						owner_of[p][i] = 0;
				}
			}
			assert_int_equal(nm_bufown_free_owner(region, owner), expected);
			break;
		case 1: /* in the name of nobody */
			assert_int_equal(
				nm_bufown_free(region, pool, NM_OWNER_NONE, index), -EINVAL);
			break;
		case 2 ... 19: /* by anybody, of anything */
			expected = index < count && owner_of[pool][index] == owner;
			assert_int_equal(
				nm_bufown_free(region, pool, owner, index), expected ? 0 : -EINVAL);
			if (expected)
				owner_of[pool][index] = 0;
			break;
		default:
			if (taken == count - first) {
				assert_int_equal(
					nm_bufown_alloc(region, pool, owner, &index), -ENOMEM);
				break;
			}
			assert_int_equal(nm_bufown_alloc(region, pool, owner, &index), 0);
			assert_in_range(index, first, count - 1);
			assert_int_equal(owner_of[pool][index], 0);
			owner_of[pool][index] = owner;
		}
		if (step % 100 == 0)
			region_check(region);
	}
	for (uint32_t owner = 1; owner <= OWNERS; owner++)
		nm_bufown_free_owner(region, owner);
	for (int pool = 0; pool < NM_POOLS; pool++)
		assert_int_equal(nm_bufown_num_free(region, pool),
			region->pool[pool].count - (pool == NM_POOL_BUF ? NM_BUFS_RESERVED : 0));
	region_check(region);
	nm_region_put(region);
	nm_core_destroy(&core);
}

/* ---- reconcile ---------------------------------------------------------------------------- */

static void count_owners(const struct nm_region *region, uint32_t counts[OWNERS + 1])
{
	memset(counts, 0, (OWNERS + 1) * sizeof(counts[0]));
	for (uint32_t i = NM_BUFS_RESERVED; i < region->pool[NM_POOL_BUF].count; i++)
		counts[nm_bufown_owner(region, NM_POOL_BUF, i)]++;
}

/* Honest ports: what each references is a permutation of what all were given. Ports end in any order;
 * a buffer is never freed while another port still references it. */
static void reconcile_after_honest_exchange(void **state)
{
	enum { EACH = 8 };
	struct prng r = prng_new(3);
	struct nm_core core;

	nm_core_init(&core);
	for (int round = 0; round < 2000; round++) {
		struct nm_region *region = make_region(&core, BUFS, 64, 16);
		uint32_t refs[OWNERS * EACH], order[OWNERS];

		for (uint32_t i = 0; i < OWNERS * EACH; i++)
			nm_bufown_alloc(region, NM_POOL_BUF, 1 + i / EACH, &refs[i]);
		for (uint32_t i = 0; i < prng_below(&r, 100); i++) {
			uint32_t a = prng_below(&r, OWNERS * EACH), tmp = refs[a];
			uint32_t b = prng_below(&r, OWNERS * EACH);

			refs[a] = refs[b];
			refs[b] = tmp;
		}
		for (uint32_t i = 0; i < OWNERS; i++) {
			uint32_t j = prng_below(&r, i + 1);

			order[i] = order[j];
			order[j] = i;
		}
		for (uint32_t k = 0; k < OWNERS; k++) {
			const uint32_t *mine = &refs[order[k] * EACH];

			nm_bufown_reconcile(region, 1 + order[k], mine, EACH);
			for (uint32_t i = 0; i < EACH; i++)
				assert_int_equal(nm_bufown_owner(region, NM_POOL_BUF, mine[i]),
					1 + order[k]);
			assert_int_equal(nm_bufown_free_owner(region, 1 + order[k]), EACH);
			for (uint32_t later = k + 1; later < OWNERS; later++)
				for (uint32_t i = 0; i < EACH; i++)
					assert_int_not_equal(nm_bufown_owner(region, NM_POOL_BUF,
								     refs[order[later] * EACH + i]),
						NM_OWNER_NONE);
		}
		region_check(region);
		nm_region_put(region);
	}
	nm_core_destroy(&core);
}

/*
 * As after the packets of a pipe: two owners reference what each of them was given, mixed. Some references
 * name anything. What one has of the other becomes its own; how many each owns, and what others own, doesn't
 * change.
 */
static void exchange_between_two(void **state)
{
	enum { EACH = 8 };
	const uint32_t owner[2] = {1, 2}, count[2] = {EACH, EACH};
	struct prng r = prng_new(11);
	struct nm_core core;

	nm_core_init(&core);
	for (int round = 0; round < 3000; round++) {
		struct nm_region *region = make_region(&core, BUFS, 64, 16);
		uint32_t refs[2][EACH], before[OWNERS + 1], after[OWNERS + 1], index;
		const uint32_t *const both[2] = {refs[0], refs[1]};
		bool honest = prng_chance(&r, 50);

		for (uint32_t i = 0; i < 3 * EACH; i++) {
			nm_bufown_alloc(region, NM_POOL_BUF, 1 + i / EACH, &index);
			if (i < 2 * EACH)
				refs[i / EACH][i % EACH] = index;
		}
		for (uint32_t i = 0; i < prng_below(&r, 40); i++) {
			uint32_t *a = &refs[0][prng_below(&r, EACH)];
			uint32_t *b = &refs[1][prng_below(&r, EACH)], tmp = *a;

			*a = *b;
			*b = tmp;
		}
		if (!honest)
			refs[prng_below(&r, 2)][prng_below(&r, EACH)] = prng_edge32(&r, BUFS);
		count_owners(region, before);
		nm_bufown_exchange(region, owner, both, count);
		count_owners(region, after);
		assert_memory_equal(before, after, sizeof(before));
		for (uint32_t i = 0; i < 2 * EACH && honest; i++)
			assert_int_equal(
				nm_bufown_owner(region, NM_POOL_BUF, refs[i / EACH][i % EACH]),
				1 + i / EACH);
		for (uint32_t o = 1; o <= 3; o++)
			nm_bufown_free_owner(region, o);
		region_check(region);
		nm_region_put(region);
	}
	nm_core_destroy(&core);
}

/* Hostile ones: any list. Nobody's number of buffers changes, and no free buffer gets an owner. */
static void reconcile_any_list(void **state)
{
	struct prng r = prng_new(4);
	struct nm_region *region;
	struct nm_core core;

	nm_core_init(&core);
	region = make_region(&core, BUFS, 64, 16);
	for (int round = 0; round < 5000; round++) {
		uint32_t before[OWNERS + 1], after[OWNERS + 1], refs[100], index;
		uint32_t count = prng_below(&r, 100), owner = prng_range(&r, 0, OWNERS);
		uint8_t was_free[BUFS];

		if (prng_chance(&r, 50))
			(void)nm_bufown_alloc(
				region, NM_POOL_BUF, prng_range(&r, 1, OWNERS), &index);
		else
			nm_bufown_free(region, NM_POOL_BUF, prng_range(&r, 1, OWNERS),
				prng_below(&r, BUFS));
		for (uint32_t i = 0; i < count; i++)
			refs[i] = prng_edge32(&r, BUFS);
		for (uint32_t i = 0; i < BUFS; i++)
			was_free[i] = nm_bufown_owner(region, NM_POOL_BUF, i) == NM_OWNER_NONE;
		count_owners(region, before);
		nm_bufown_reconcile(region, owner, refs, count);
		count_owners(region, after);
		assert_memory_equal(before, after, sizeof(before));
		for (uint32_t i = 0; i < BUFS; i++)
			assert_int_equal(was_free[i],
				nm_bufown_owner(region, NM_POOL_BUF, i) == NM_OWNER_NONE);
		if (round % 100 == 0)
			region_check(region);
	}
	nm_region_put(region);
	nm_core_destroy(&core);
}

static void swap(uint32_t *a, uint32_t *b)
{
	uint32_t tmp = *a;

	*a = *b;
	*b = tmp;
}

/* What all have exchanged is reconciled in one pass. Some references may name anything: then the honest ones' may be taken. */
static void a_pass_for_all(void **state)
{
	enum { MANY = 300, EACH = 4, ROOM = MANY * EACH + 100 };
	static uint32_t refs[MANY * EACH];
	struct prng r = prng_new(6);
	struct nm_core core;

	nm_core_init(&core);
	for (int round = 0; round < 100; round++) {
		struct nm_region *region = make_region(&core, ROOM, 64, 16);
		bool honest = prng_chance(&r, 50);

		for (uint32_t i = 0; i < MANY * EACH; i++)
			nm_bufown_alloc(region, NM_POOL_BUF, 1 + i % MANY,
				&refs[i % MANY * EACH + i / MANY]);
		for (uint32_t n = prng_below(&r, 2 * MANY * EACH); n > 0; n--)
			swap(&refs[prng_below(&r, MANY * EACH)],
				&refs[prng_below(&r, MANY * EACH)]);
		for (uint32_t n = honest ? 0 : prng_below(&r, 200); n > 0; n--)
			refs[prng_below(&r, MANY * EACH)] = prng_edge32(&r, ROOM);
		nm_bufown_begin_pass(region);
		for (uint32_t o = 0; o < MANY; o++)
			nm_bufown_reconcile(region, 1 + o, &refs[o * EACH], EACH);
		nm_bufown_end_pass(region);
		for (uint32_t i = 0; i < MANY * EACH && honest; i++)
			assert_int_equal(
				nm_bufown_owner(region, NM_POOL_BUF, refs[i]), 1 + i / EACH);
		for (uint32_t o = 1; o <= MANY; o++)
			assert_int_equal(nm_bufown_free_owner(region, o), EACH);
		region_check(region);
		nm_region_put(region);
	}
	nm_core_destroy(&core);
}

/* … and costs as much as there are buffers and slots, not as much as there are buffers for each port. */
static void a_pass_costs_once(void **state)
{
	enum { MANY = 200, LARGE = 60000, EACH = 2 };
	static uint32_t refs[MANY][EACH];
	struct nm_region *region;
	struct nm_core core;
	uint32_t index;

	nm_core_init(&core);
	region = make_region(&core, LARGE, 64, 16);
	while (nm_bufown_alloc(region, NM_POOL_BUF, MANY + 1, &index) == 0 && index < LARGE - 1)
		; /* all have been given out */
	nm_bufown_free_owner(region, MANY + 1);
	for (uint32_t i = 0; i < MANY * EACH; i++)
		nm_bufown_alloc(region, NM_POOL_BUF, 1 + i / EACH, &refs[i / EACH][i % EACH]);
	for (uint32_t i = 1; i < MANY; i++)
		swap(&refs[i - 1][0], &refs[i][0]);
	(void)allocated_bytes();
	nm_bufown_begin_pass(region);
	for (uint32_t i = 0; i < MANY; i++)
		nm_bufown_reconcile(region, 1 + i, refs[i], EACH);
	nm_bufown_end_pass(region);
	assert_in_range(allocated_bytes(), 1, 2 * LARGE * sizeof(uint32_t));
	for (uint32_t i = 0; i < MANY * EACH; i++)
		assert_int_equal(nm_bufown_owner(region, NM_POOL_BUF, refs[i / EACH][i % EACH]),
			1 + i / EACH);
	nm_region_put(region);
	nm_core_destroy(&core);
}

/* Without memory for the exchange the map alone decides, and stays whole. */
static void reconcile_without_memory(void **state)
{
	uint32_t a, b, before[OWNERS + 1], after[OWNERS + 1];
	struct nm_region *region;
	struct nm_core core;

	nm_core_init(&core);
	region = make_region(&core, BUFS, 64, 16);
	nm_bufown_alloc(region, NM_POOL_BUF, 1, &a);
	nm_bufown_alloc(region, NM_POOL_BUF, 2, &b);
	count_owners(region, before);
	for (uint32_t nth = 1; nth <= 3; nth++) { /* lists, marks, who has lists */
		fail_allocation(nth);
		nm_bufown_reconcile(region, 1, &b, 1);
		assert_true(allocation_failed());
		fail_allocation(0);
		count_owners(region, after);
		assert_memory_equal(before, after, sizeof(before));
	}
	nm_bufown_reconcile(region, 1, &b, 1);
	assert_int_equal(nm_bufown_owner(region, NM_POOL_BUF, b), 1);
	assert_int_equal(nm_bufown_owner(region, NM_POOL_BUF, a), 2);
	region_check(region);
	nm_region_put(region);
	nm_core_destroy(&core);
}

/* ---- runs ---------------------------------------------------------------------------------- */

/* Against a table: a run is free objects in a row, the first there are, or there are none. */
static void runs_against_a_table(void **state)
{
	struct prng r = prng_new(30);
	struct nm_region *region;
	struct nm_core core;
	uint8_t used[BUFS] = {1, 1};

	nm_core_init(&core);
	region = make_region(&core, BUFS, 64, 16);
	for (int round = 0; round < 20000; round++) {
		uint32_t want = prng_chance(&r, 95) ? prng_below(&r, 12) : prng_edge32(&r, BUFS);
		uint32_t first = 12345, best = UINT32_MAX, length = 0, index;
		int error;

		for (uint32_t i = NM_BUFS_RESERVED; i < BUFS && best == UINT32_MAX; i++) {
			length = used[i] ? 0 : length + 1;
			if (length == want)
				best = i + 1 - want;
		}
		error = nm_bufown_alloc_run(region, NM_POOL_BUF, NM_OWNER_FIXED | 1, want, &first);
		assert_int_equal(error, want > 0 && best != UINT32_MAX ? 0 : -ENOMEM);
		if (!error) {
			assert_int_equal(first, best);
			memset(used + first, 1, want);
		}
		while (prng_chance(&r, 70)) {
			index = prng_below(&r, BUFS);
			error = nm_bufown_free(region, NM_POOL_BUF, NM_OWNER_FIXED | 1, index);
			assert_int_equal(
				error, index >= NM_BUFS_RESERVED && used[index] == 1 ? 0 : -EINVAL);
			if (!error)
				used[index] = 0;
		}
		if (prng_chance(&r, 20) && nm_bufown_alloc(region, NM_POOL_BUF, 2, &index) == 0) {
			assert_int_equal(used[index], 0);
			used[index] = 2;
		}
		if (prng_chance(&r, 5)) {
			nm_bufown_free_owner(region, 2);
			for (uint32_t i = 0; i < BUFS; i++)
				if (used[i] == 2)
					used[i] = 0;
		}
		if (round % 100 == 0)
			region_check(region);
	}
	nm_region_put(region);
	nm_core_destroy(&core);
}

/* What belongs to a fixed owner stays with it, whoever references it. */
static void fixed_owners(void **state)
{
	uint32_t fixed, mine, refs[2];
	struct nm_region *region;
	struct nm_core core;

	nm_core_init(&core);
	region = make_region(&core, BUFS, 64, 16);
	assert_int_equal(
		nm_bufown_alloc_run(region, NM_POOL_BUF, NM_OWNER_FIXED | 9, 3, &fixed), 0);
	assert_int_equal(nm_bufown_alloc(region, NM_POOL_BUF, 1, &mine), 0);
	refs[0] = fixed + 1;
	refs[1] = fixed + 2;
	nm_bufown_reconcile(region, 1, refs, 2);
	assert_int_equal(nm_bufown_owner(region, NM_POOL_BUF, fixed + 1), NM_OWNER_FIXED | 9);
	assert_int_equal(nm_bufown_owner(region, NM_POOL_BUF, mine), 1);
	nm_region_put(region);
	nm_core_destroy(&core);
}

/* ---- the model ----------------------------------------------------------------------------- */

enum { MACHINES = 2, PARTIES = 3, PROGRAM = 2, PORTS = 2, SLOTS = 8, EXTRA = 20, ALL = 400 };

static const char *const names[PARTIES][PORTS] = {
	{"wire{1", "wire{2"}, {"wire}1", "wire{3"}, {"wire}2", "wire}3"}};

struct party {
	struct nm_client port[PORTS];
	uint32_t hand[EXTRA], extra; /* the program's */
};

static struct nm_core core;
static struct party party[PARTIES];

static struct nm_region *region(void)
{
	return party[PROGRAM].port[0].port->region;
}

static int begin(void **state)
{
	nm_core_init(&core);
	core.shared_params.count[NM_POOL_BUF] = ALL;
	core.shared_params.count[NM_POOL_RING] = 40;
	core.shared_params.size[NM_POOL_BUF] = 128;
	return 0;
}

static int end(void **state)
{
	core_check_empty(&core);
	nm_core_destroy(&core);
	return 0;
}

static void open_port(struct nm_client *client, const char *name, uint32_t extra)
{
	const struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC, .num_slots = {SLOTS, SLOTS}, .extra_bufs = extra};

	nm_client_init(client, &core);
	assert_int_equal(nm_client_bind(client, name, &bind), 0);
	assert_int_equal(client->port->region->id, NM_REGION_SHARED_ID);
	assert_int_equal(client->extra_bufs, extra);
}

static void take_extra(struct party *p)
{
	const struct nm_client *client = &p->port[0];
	const struct netmap_if *nifp = (void *)(region()->base + client->nifp_offset);
	uint32_t index = nifp->ni_bufs_head;

	for (p->extra = 0; p->extra < EXTRA; p->extra++) {
		p->hand[p->extra] = index;
		index = *(uint32_t *)nm_region_buf(region(), index);
	}
}

static void open_all(bool hand)
{
	for (int i = 0; i < PARTIES; i++)
		for (int k = 0; k < PORTS; k++)
			open_port(&party[i].port[k], names[i][k],
				hand && i == PROGRAM && k == 0 ? EXTRA : 0);
	party[PROGRAM].extra = 0;
	if (hand)
		take_extra(&party[PROGRAM]);
}

static void close_all(struct prng *r)
{
	struct nm_region *kept = region();
	int first = (int)prng_below(r, PARTIES);

	nm_region_get(kept);
	for (int i = 0; i < PARTIES; i++)
		for (int k = 0; k < PORTS; k++)
			nm_client_unbind(&party[(first + i) % PARTIES].port[k]);
	assert_int_equal(nm_bufown_num_free(kept, NM_POOL_BUF), ALL - NM_BUFS_RESERVED);
	region_check(kept);
	nm_region_put(kept);
}

static struct netmap_slot *any_slot(struct party *p, struct prng *r)
{
	struct nm_ring *ring = nm_client_ring(&p->port[prng_below(r, PORTS)], prng_below(r, 2), 0);

	return &ring->slots[prng_below(r, SLOTS)];
}

/* Each valid buffer that is in a place is there alone, and owned; and each owner has what it was given. */
static void check_model(void)
{
	uint32_t owned[PARTIES][PORTS] = {{0}}, extra = 0, all = 0;
	uint8_t seen[ALL] = {0};

	for (int i = 0; i < PARTIES; i++) {
		const struct party *p = &party[i];

		for (int k = 0; k < PORTS; k++)
			for (int dir = 0; dir < NM_DIRS; dir++)
				for (uint32_t s = 0; s < SLOTS; s++) {
					uint32_t index = nm_client_ring(&p->port[k], dir, 0)
								 ->slots[s]
								 .buf_idx;

					assert_true(nm_region_buf_valid(region(), index));
					assert_int_equal(seen[index]++, 0);
				}
		for (uint32_t n = 0; n < p->extra; n++)
			assert_int_equal(seen[p->hand[n]]++, 0);
	}
	for (uint32_t b = 0; b < ALL; b++) {
		uint32_t owner = nm_bufown_owner(region(), NM_POOL_BUF, b);

		assert_int_equal(seen[b] != 0, owner != NM_OWNER_NONE);
		all += owner != NM_OWNER_NONE;
		extra += owner != NM_OWNER_NONE && owner == party[PROGRAM].port[0].owner;
		for (int i = 0; i < PARTIES; i++)
			for (int k = 0; k < PORTS; k++)
				owned[i][k] += owner == party[i].port[k].port->owner;
	}
	assert_int_equal(extra, party[PROGRAM].extra);
	assert_int_equal(all, PARTIES * PORTS * 2 * SLOTS + extra);
	for (int i = 0; i < PARTIES; i++)
		for (int k = 0; k < PORTS; k++)
			assert_int_equal(owned[i][k], 2 * SLOTS);
}

/* Some packets of a ring go on, in buffers from the hand or from other slots. */
static void move(struct party *p, struct prng *r)
{
	struct nm_ring *private =
		nm_client_ring(&p->port[prng_below(r, PORTS)], prng_below(r, 2), 0);
	struct netmap_ring *ring = private->shared;
	uint32_t n = (ring->tail + SLOTS - ring->head) % SLOTS;

	for (n = prng_below(r, n + 1); n > 0; n--) {
		uint32_t *mine = &ring->slot[ring->head].buf_idx;

		if (p->extra > 0 && prng_chance(r, 40))
			swap(mine, &p->hand[prng_below(r, p->extra)]);
		ring->slot[ring->head].len = 60;
		ring->slot[ring->head].flags = 0;
		ring->head = ring->cur = (ring->head + 1) % SLOTS;
	}
	assert_int_equal(nm_ring_sync_shared(private), 0);
	if (prng_chance(r, 30)) /* forwards between its ports */
		swap(&any_slot(p, r)->buf_idx, &any_slot(p, r)->buf_idx);
}

/* All packets that wait are taken: what a slot has does not go on to others by itself. */
static void drain(void)
{
	for (int n = 0; n < 2; n++) {
		for (int i = 0; i < PARTIES * PORTS; i++) {
			struct nm_ring *rx =
				nm_client_ring(&party[i / PORTS].port[i % PORTS], NM_RX, 0);

			rx->shared->head = rx->shared->cur = rx->shared->tail;
			assert_int_equal(nm_ring_sync_shared(rx), 0);
			rx->shared->head = rx->shared->cur = rx->shared->tail;
			assert_int_equal(nm_ring_sync_shared(rx), 0);
		}
	}
}

/* How a party begins again: its rings as they are, or in their first state, or with new clients. */
static void restart(struct party *p, const char *const name[PORTS], uint32_t how)
{
	for (int i = 0; i < PORTS; i++) {
		if (how == 0) {
			nm_client_reset_rings(&p->port[i]);
		} else if (how == 1) {
			nm_client_repair_rings(&p->port[i]);
		} else {
			nm_client_unbind(&p->port[i]);
			open_port(&p->port[i], name[i], 0);
		}
	}
}

static void machines_begin_again(void **state)
{
	struct prng r = prng_new(1);

	for (int round = 0; round < 100; round++) {
		open_all(true);
		check_model();
		for (int step = 0; step < 400; step++) {
			uint32_t which = prng_below(&r, MACHINES);

			move(&party[prng_below(&r, PARTIES)], &r);
			if (prng_chance(&r, 4))
				restart(&party[which], names[which], prng_below(&r, 3));
			check_model();
		}
		close_all(&r);
	}
}

/* One dies in the middle of exchanges, or writes any number into its slots, of buffers that are nobody's:
 * others lose nothing, and when it has begun again each of its slots has a buffer of its own. */
static void begins_again_after_anything(void **state)
{
	struct prng r = prng_new(2);

	for (int round = 0; round < 1000; round++) {
		uint32_t which = prng_below(&r, PARTIES);
		struct party *p = &party[which];

		open_all(false);
		for (int step = 0; step < 50; step++)
			move(&party[prng_below(&r, PARTIES)], &r);
		drain();
		for (uint32_t n = prng_below(&r, 10); n > 0; n--) {
			uint32_t *slot = &any_slot(p, &r)->buf_idx, any = prng_next(&r) % 3;

			if (any == 0)
				*slot = any_slot(p, &r)->buf_idx;
			else if (any == 1)
				*slot = prng_chance(&r, 50) ? prng_below(&r, NM_BUFS_RESERVED)
							    : ALL + prng_below(&r, 1u << 31);
			else /* one that is free */
				*slot = ALL - 1 - prng_below(&r, 100);
		}
		restart(p, names[which], prng_below(&r, 3));
		check_model();
		close_all(&r);
	}
}

/* It takes buffers that others have: who stays keeps what it references, and nobody has more than before. */
static void a_liar_begins_again(void **state)
{
	struct prng r = prng_new(3);

	for (int round = 0; round < 500; round++) {
		open_all(false);
		for (int step = 0; step < 50; step++)
			move(&party[prng_below(&r, PARTIES)], &r);
		drain();
		for (uint32_t n = prng_below(&r, 30); n > 0; n--)
			any_slot(&party[0], &r)->buf_idx = prng_edge32(&r, ALL);
		restart(&party[0], names[0], prng_below(&r, 3));
		check_model();
		close_all(&r);
	}
}

/* Without memory for it nothing is reconciled or repaired, and the map stays whole. */
static void without_memory(void **state)
{
	struct prng r = prng_new(4);

	for (uint32_t nth = 1; nth < 40; nth++) {
		open_all(false);
		for (int step = 0; step < 100; step++)
			move(&party[prng_below(&r, PARTIES)], &r);
		fail_allocation(nth);
		nm_client_repair_rings(&party[0].port[0]);
		nm_client_repair_rings(&party[0].port[1]);
		fail_allocation(0);
		region_check(region());
		restart(&party[0], names[0], 1);
		check_model();
		close_all(&r);
	}
}

/* The program writes its list anew, the other way round. */
static void list_anew(const struct party *p)
{
	const struct nm_client *client = &p->port[0];
	struct netmap_if *nifp = (void *)(region()->base + client->nifp_offset);
	uint32_t head = 0;

	for (uint32_t i = 0; i < p->extra; i++) {
		*(uint32_t *)nm_region_buf(region(), p->hand[i]) = head;
		head = p->hand[i];
	}
	*(uint32_t *)(uintptr_t)&nifp->ni_bufs_head = head;
}

static bool reconciles_without_memory(struct nm_port *first)
{
	bool wanted;

	nm_core_lock(&core);
	fail_allocation(1);
	nm_bufown_reconcile_region(region(), first);
	wanted = allocation_failed();
	fail_allocation(0);
	nm_core_unlock(&core);
	return !wanted;
}

/* Everybody is looked at first: where all have what they were given nothing is collected, so no memory is wanted. Where they haven't it
 * is. */
static void what_is_right_is_only_looked_at(void **state)
{
	struct nm_port *first;
	struct prng r = prng_new(5);

	open_all(true);
	first = party[PROGRAM].port[0].port;
	assert_true(reconciles_without_memory(NULL));
	assert_true(reconciles_without_memory(first));
	list_anew(&party[PROGRAM]);
	assert_true(reconciles_without_memory(NULL));
	assert_true(reconciles_without_memory(first));
	swap(&nm_client_ring(&party[PROGRAM].port[0], NM_RX, 0)->slots[0].buf_idx,
		&party[PROGRAM].hand[0]);
	list_anew(&party[PROGRAM]);
	assert_false(reconciles_without_memory(NULL));
	nm_core_lock(&core);
	nm_bufown_reconcile_region(region(), first);
	nm_core_unlock(&core);
	assert_true(reconciles_without_memory(first));
	check_model();
	close_all(&r);
}

/* ---- a part of somebody else's region ------------------------------------------------------------- */

enum { F_BUFS = 64, F_FIRST = 40, F_PART = 20, F_SLOTS = 8 };

static char memory[16384] __attribute__((aligned(4096)));

static struct nm_region *adopt(struct nm_core *c)
{
	const struct nm_pool_geometry pool[NM_POOLS] = {
		{0, 4, 256}, {4096, 4, 512}, {8192, F_BUFS, 64}};
	const struct nm_run part[NM_POOLS] = {{0}, {0}, {F_FIRST, F_PART}};
	struct nm_region *r;
	struct nm_error err;

	r = nm_region_adopt(c, memory, sizeof(memory), pool, part, &err);
	assert_non_null(r);
	return r;
}

/* Buffers that were in the slots are claimed, those of the part as well; what has an owner keeps it. */
static void claims(void **state)
{
	uint32_t mine, at = NM_BUFS_RESERVED;
	struct nm_region *r;
	struct nm_core c;

	nm_core_init(&c);
	r = adopt(&c);
	assert_true(nm_bufown_tracks(r));
	assert_int_equal(nm_bufown_alloc(r, NM_POOL_BUF, 5, &mine), 0);
	for (uint32_t i = 0; i < 8; i++)
		nm_bufown_claim(
			r, 7, (uint32_t[]){0, 1, F_BUFS, UINT32_MAX, 2, 9, mine, F_FIRST + 3}[i]);
	assert_int_equal(nm_bufown_owner(r, NM_POOL_BUF, mine), 5);
	assert_int_equal(nm_bufown_next(r, 7, &at), 2);
	assert_int_equal(nm_bufown_next(r, 7, &at), 9);
	assert_int_equal(nm_bufown_next(r, 7, &at), F_FIRST + 3);
	assert_int_equal(nm_bufown_next(r, 7, &at), 0);
	assert_int_equal(nm_bufown_num_free(r, NM_POOL_BUF), F_PART - 2);
	for (uint32_t i = 0; i < F_PART - 2; i++) {
		assert_int_equal(nm_bufown_alloc(r, NM_POOL_BUF, 6, &mine), 0);
		assert_int_not_equal(mine, F_FIRST + 3);
	}
	assert_int_equal(nm_bufown_alloc(r, NM_POOL_BUF, 6, &mine), -ENOMEM);
	nm_region_put(r);
	nm_core_destroy(&c);
}

/* Of the free ones: what is promised to others is not for who finds it in a slot. The host's own is. */
static void claims_no_promised_buffer(void **state)
{
	uint32_t index, at = NM_BUFS_RESERVED;
	struct nm_region *r;
	struct nm_core c;

	nm_core_init(&c);
	r = adopt(&c);
	assert_int_equal(nm_bufown_promise(r, F_PART - 1), 0);
	nm_bufown_claim(r, 7, F_FIRST + 3); /* one is nobody's */
	nm_bufown_claim(r, 7, F_FIRST + 4);
	nm_bufown_claim(r, 7, 9);
	assert_int_equal(nm_bufown_next(r, 7, &at), 9);
	assert_int_equal(nm_bufown_next(r, 7, &at), F_FIRST + 3);
	assert_int_equal(nm_bufown_next(r, 7, &at), 0);
	assert_int_equal(nm_bufown_num_free(r, NM_POOL_BUF), 0);
	for (uint32_t i = 0; i < F_PART - 1; i++) {
		index = nm_bufown_alloc_promised(r, 6);
		assert_in_range(index, F_FIRST, F_FIRST + F_PART - 1);
		assert_int_not_equal(index, F_FIRST + 3);
	}
	assert_int_equal(nm_bufown_free_owner(r, 6), F_PART - 1);
	nm_region_put(r);
	nm_core_destroy(&c);
}

/* Slots of the host and buffers of the part are exchanged all over, and spoiled. In the end the slots have the
 * host's buffers again, each one. */
static void restores(void **state)
{
	struct prng r = prng_new(6);

	for (int round = 0; round < 500; round++) {
		struct netmap_slot slots[F_SLOTS] = {{0}};
		struct nm_bufown_repair repair;
		uint32_t mine[F_PART], refs[F_SLOTS];
		uint8_t seen[F_BUFS] = {0};
		struct nm_region *reg;
		struct nm_core c;

		nm_core_init(&c);
		reg = adopt(&c);
		for (uint32_t i = 0; i < F_SLOTS; i++) {
			slots[i].buf_idx = NM_BUFS_RESERVED + i;
			nm_bufown_claim(reg, 7, slots[i].buf_idx);
		}
		for (uint32_t i = 0; i < F_PART; i++)
			assert_int_equal(nm_bufown_alloc(reg, NM_POOL_BUF, 5, &mine[i]), 0);
		for (int n = 0; n < 20; n++)
			swap(&slots[prng_below(&r, F_SLOTS)].buf_idx,
				&mine[prng_below(&r, F_PART)]);
		for (uint32_t n = prng_below(&r, 4); n > 0; n--)
			slots[prng_below(&r, F_SLOTS)].buf_idx =
				prng_chance(&r, 50) ? slots[prng_below(&r, F_SLOTS)].buf_idx
						    : prng_edge32(&r, 2);
		for (uint32_t i = 0; i < F_SLOTS; i++)
			refs[i] = slots[i].buf_idx;
		nm_bufown_reconcile(reg, 7, refs, F_SLOTS);
		assert_int_equal(nm_bufown_free_owner(reg, 5), F_PART);
		assert_true(nm_bufown_repair_begin(&repair, reg, 7));
		nm_bufown_repair_mark(&repair, slots, F_SLOTS);
		nm_bufown_repair_fill(&repair, slots, F_SLOTS, 0, 0);
		nm_bufown_repair_end(&repair);
		assert_true(nm_bufown_repair_begin(&repair, reg, NM_OWNER_NONE));
		nm_bufown_repair_used(&repair, slots, F_SLOTS);
		nm_bufown_restore(&repair, slots, F_SLOTS);
		nm_bufown_repair_end(&repair);
		for (uint32_t i = 0; i < F_SLOTS; i++) {
			assert_in_range(
				slots[i].buf_idx, NM_BUFS_RESERVED, NM_BUFS_RESERVED + F_SLOTS - 1);
			assert_int_equal(seen[slots[i].buf_idx]++, 0);
		}
		nm_region_put(reg);
		nm_core_destroy(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pools_against_a_table),
		cmocka_unit_test(reconcile_after_honest_exchange),
		cmocka_unit_test(exchange_between_two),
		cmocka_unit_test(reconcile_any_list),
		cmocka_unit_test(a_pass_for_all),
		cmocka_unit_test(a_pass_costs_once),
		cmocka_unit_test(reconcile_without_memory),
		cmocka_unit_test(runs_against_a_table),
		cmocka_unit_test(fixed_owners),
		cmocka_unit_test_setup_teardown(machines_begin_again, begin, end),
		cmocka_unit_test_setup_teardown(begins_again_after_anything, begin, end),
		cmocka_unit_test_setup_teardown(a_liar_begins_again, begin, end),
		cmocka_unit_test_setup_teardown(without_memory, begin, end),
		cmocka_unit_test_setup_teardown(what_is_right_is_only_looked_at, begin, end),
		cmocka_unit_test(claims),
		cmocka_unit_test(claims_no_promised_buffer),
		cmocka_unit_test(restores),
	};

	test_seed();
	return cmocka_run_group_tests_name("bufown", tests, NULL, NULL);
}
