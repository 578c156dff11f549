/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/client_guest.c: two machines and a program exchange buffers through pipes. Each has buffers that
 * no slot shows; and a machine may begin anew at any time, with its part of the region.
 *
 *      machine 0  wire{1 ---- wire}1  machine 1
 *      machine 0  wire{2 ---- wire}2  program
 *      machine 1  wire{3 ---- wire}3  program
 *
 * Whatever they do, a buffer is in one place.
 */
#include "util.h"

#include <stdlib.h>

enum { MACHINES = 2, PARTIES = 3, PROGRAM = 2, PORTS = 2, SLOTS = 8, PART = 20, BUFS = 400 };

struct party {
	struct nm_client port[PORTS];
	uint32_t owner; /* of its part; 0: the program, which has extra buffers */
	uint32_t hand[PART];
};

static struct nm_core core;
static struct party party[PARTIES];

static struct nm_region *region(void)
{
	return party[0].port[0].port->region;
}

static int begin(void **state)
{
	nm_core_init(&core);
	core.shared_params.count[NM_POOL_BUF] = BUFS;
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
}

/* All that is set aside: so many buffers, apart from each other. */
static void begin_anew(struct party *p)
{
	uint32_t have = 0;
	struct nm_run run;

	nm_core_lock(&core);
	nm_guest_settle_locked(region(), p->owner);
	for (uint32_t from = 0;; from = run.first + run.count) {
		run = nm_guest_run_locked(region(), p->owner, from);
		if (run.count == 0)
			break;
		assert_true(run.first >= from && have + run.count <= PART);
		for (uint32_t i = 0; i < run.count; i++)
			p->hand[have++] = run.first + i;
	}
	nm_core_unlock(&core);
	assert_int_equal(have, PART);
}

static void make_machine(struct party *p)
{
	uint32_t first;

	nm_core_lock(&core);
	assert_int_equal(nm_region_track_guests(region()), 0);
	p->owner = NM_OWNER_FIXED | nm_core_new_owner(&core);
	assert_int_equal(nm_region_alloc_run(region(), NM_POOL_BUF, p->owner, PART, &first), 0);
	for (int i = 0; i < PORTS; i++)
		nm_port_set_guest_locked(p->port[i].port, p->owner);
	nm_core_unlock(&core);
	begin_anew(p);
}

/* Its list is as it was given, and says nothing of where its buffers are. */
static void take_extra(struct party *p)
{
	const struct nm_client *client = &p->port[0];
	const struct netmap_if *nifp = (void *)(region()->base + client->nifp_offset);
	uint32_t index = nifp->ni_bufs_head;

	assert_int_equal(client->extra_bufs, PART);
	for (int i = 0; i < PART; i++) {
		p->hand[i] = index;
		index = *(uint32_t *)nm_region_buf(region(), index);
	}
}

static void open_all(void)
{
	open_port(&party[0].port[0], "wire{1", 0);
	open_port(&party[1].port[0], "wire}1", 0);
	open_port(&party[0].port[1], "wire{2", 0);
	open_port(&party[2].port[0], "wire}2", PART);
	open_port(&party[1].port[1], "wire{3", 0);
	open_port(&party[2].port[1], "wire}3", 0);
	take_extra(&party[PROGRAM]);
	for (int i = 0; i < MACHINES; i++)
		make_machine(&party[i]);
}

static void see(uint8_t *seen, uint32_t index)
{
	assert_true(nm_region_buf_valid(region(), index));
	assert_int_equal(seen[index]++, 0);
}

static void see_party(const struct party *p, uint8_t *seen)
{
	for (int i = 0; i < PORTS; i++)
		for (int dir = 0; dir < NM_DIRS; dir++)
			for (uint32_t s = 0; s < SLOTS; s++)
				see(seen, nm_client_ring(&p->port[i], dir, 0)->slots[s].buf_idx);
	for (int i = 0; i < PART; i++)
		see(seen, p->hand[i]);
}

static void check_apart(void)
{
	uint8_t seen[BUFS] = {0};

	for (int i = 0; i < PARTIES; i++)
		see_party(&party[i], seen);
}

/* A slot that is the party's, of those from head on: exchanged for one that it has in its hand. */
static void swap_slot(struct party *p, struct netmap_ring *ring, uint32_t ahead, struct prng *r)
{
	uint32_t *mine = &p->hand[prng_below(r, PART)], index = *mine;
	struct netmap_slot *slot = &ring->slot[(ring->head + ahead) % SLOTS];

	*mine = slot->buf_idx;
	slot->buf_idx = index;
}

static void move(struct party *p, struct prng *r)
{
	struct nm_ring *private =
		nm_client_ring(&p->port[prng_below(r, PORTS)], prng_below(r, 2), 0);
	struct netmap_ring *ring = private->shared;
	uint32_t n = (ring->tail + SLOTS - ring->head) % SLOTS;

	for (n = prng_below(r, n + 1); n > 0; n--) {
		if (prng_chance(r, 60))
			swap_slot(p, ring, prng_chance(r, 50) ? 0 : n - 1, r);
		ring->slot[ring->head].len = 60;
		ring->slot[ring->head].flags = 0;
		ring->head = ring->cur = (ring->head + 1) % SLOTS;
	}
	assert_int_equal(nm_ring_sync_shared(private), 0);
}

/* With its rings as they are, as when a driver is loaded again, or put back to their first state. */
static void restart(struct party *p, bool reset)
{
	for (int i = 0; i < PORTS && reset; i++)
		nm_client_reset_rings(&p->port[i]);
	begin_anew(p);
}

/* As its memory is given back: what becomes free nobody has. */
static void end_machine(struct party *p)
{
	nm_core_lock(&core);
	for (int i = 0; i < PORTS; i++)
		nm_port_set_guest_locked(p->port[i].port, NM_OWNER_NONE);
	nm_guest_settle_locked(region(), p->owner);
	assert_int_equal(nm_region_free_owner(region(), p->owner), PART);
	nm_core_unlock(&core);
	region_check(region());
}

static void check_not_free(const struct party *p)
{
	uint8_t seen[BUFS] = {0};

	see_party(p, seen);
	for (uint32_t i = 0; i < BUFS; i++)
		if (seen[i])
			assert_int_not_equal(region()->owner[NM_POOL_BUF][i], NM_OWNER_NONE);
}

static void close_all(void)
{
	struct nm_region *kept = region();

	nm_region_get(kept);
	for (int i = 0; i < PARTIES; i++)
		for (int k = 0; k < PORTS; k++)
			nm_client_unbind(&party[i].port[k]);
	assert_int_equal(kept->free_count[NM_POOL_BUF], BUFS - NM_BUFS_RESERVED);
	nm_region_put(kept);
}

static void machines_begin_anew(void **state)
{
	struct prng r = prng_new(1);

	for (int round = 0; round < 100; round++) {
		open_all();
		check_apart();
		for (int step = 0; step < 400; step++) {
			move(&party[prng_below(&r, PARTIES)], &r);
			if (prng_chance(&r, 4))
				restart(&party[prng_below(&r, MACHINES)], prng_chance(&r, 50));
			check_apart();
		}
		for (int i = 0; i < MACHINES; i++) {
			end_machine(&party[i]);
			for (int k = i + 1; k < PARTIES; k++)
				check_not_free(&party[k]);
		}
		close_all();
	}
}

/* It sends buffers that it was never given: others lose nothing by its beginning anew, and it begins
 * with nothing that a slot of others shows. */
static void liar_begins_anew(void **state)
{
	struct prng r = prng_new(2);

	for (int round = 0; round < 200; round++) {
		struct nm_run run = {0};

		open_all();
		for (int step = 0; step < 50; step++) {
			party[0].hand[prng_below(&r, PART)] = prng_edge32(&r, BUFS);
			move(&party[prng_below(&r, PARTIES)], &r);
		}
		nm_core_lock(&core);
		nm_guest_settle_locked(region(), party[0].owner);
		for (uint32_t n = 0;; n += run.count) {
			run = nm_guest_run_locked(region(), party[0].owner, run.first + run.count);
			if (run.count == 0)
				break;
			assert_true(n + run.count <= PART);
		}
		nm_core_unlock(&core);
		region_check(region());
		for (int i = 0; i < MACHINES; i++)
			end_machine(&party[i]);
		close_all();
	}
}

/* Without memory for the account nothing changes, and nothing that others have is shown as home. */
static void without_memory(void **state)
{
	struct prng r = prng_new(3);
	uint8_t seen[BUFS] = {0};
	uint32_t have = 0;
	struct nm_run run = {0};

	open_all();
	for (int step = 0; step < 1000; step++)
		move(&party[prng_below(&r, PARTIES)], &r);
	for (int i = 1; i < PARTIES; i++)
		see_party(&party[i], seen);
	nm_core_lock(&core);
	fail_allocation(1);
	nm_guest_settle_locked(region(), party[0].owner);
	assert_true(allocation_failed());
	fail_allocation(0);
	while ((run = nm_guest_run_locked(region(), party[0].owner, run.first + run.count)).count) {
		for (uint32_t i = 0; i < run.count; i++)
			assert_int_equal(seen[run.first + i], 0);
		have += run.count;
	}
	nm_core_unlock(&core);
	assert_in_range(have, 1, PART - 1);
	for (int i = 0; i < MACHINES; i++)
		end_machine(&party[i]);
	close_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(machines_begin_anew, begin, end),
		cmocka_unit_test_setup_teardown(liar_begins_anew, begin, end),
		cmocka_unit_test_setup_teardown(without_memory, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("guest_part", tests, NULL, NULL);
}
