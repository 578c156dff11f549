/* SPDX-License-Identifier: BSD-2-Clause */
/* core/client.h: binds in parts; what a port is for others meanwhile; the end of a large one. */
#include "port.h"
#include "vale.h"

#include <sys/mman.h>

#include "fixture.h"
#include "counted_kind.h"

enum { SLOTS = 64, PART = 50, OWNER_OF_OTHERS = 0x7fffffff };

static int begin(void **state)
{
	memset(&kind, 0, sizeof(kind));
	return core_begin(state);
}

static struct nm_port *add_port(void)
{
	static const struct nm_shape shape = {.rings = {3, 2}, .slots = {SLOTS, SLOTS}};

	return fixture_add("p", &kind_ops, &shape);
}

static const struct nm_bind all = {.mode = NR_REG_ALL_NIC};

static int bind(struct nm_client *client, const char *name, const struct nm_bind *how)
{
	nm_client_init(client, &core);
	client->in_parts = true;
	return nm_client_bind(client, name, how);
}

/* The others' one, at once. */
static int bind_other(const char *name, const struct nm_bind *how)
{
	struct nm_client other;
	int error;

	nm_client_init(&other, &core);
	error = nm_client_bind(&other, name, how);
	nm_client_unbind(&other);
	return error;
}

static uint32_t bufs_of(const struct nm_region *region, uint32_t owner)
{
	uint32_t at = NM_BUFS_RESERVED, count = 0;

	while (nm_bufown_next(region, owner, &at))
		count++;
	return count;
}

/* Each slot has a buffer of the port. */
static void check_slots(const struct nm_port *port)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			for (uint32_t s = 0; s < port->num_slots[dir]; s++)
				assert_int_equal(nm_bufown_owner(port->region, NM_POOL_BUF,
							 port->rings[dir][i].slots[s].buf_idx),
					port->owner);
}

static void a_part_is_no_more_than_that(void **state)
{
	struct nm_port *port = add_port();
	uint32_t done = 0, wanted = 5 * SLOTS;
	struct nm_client client;

	assert_int_equal(bind(&client, "p", &all), 0);
	assert_int_equal(bufs_of(port->region, port->owner), 0);
	while (nm_client_go_on(&client, PART) > 0) {
		done += PART;
		assert_int_equal(bufs_of(port->region, port->owner), done);
		assert_int_equal(kind.starts, 0);
		assert_int_equal(port->rings[NM_TX][0].users, 0);
	}
	assert_int_equal(done, wanted / PART * PART);
	assert_int_equal(bufs_of(port->region, port->owner), wanted);
	check_slots(port);
	assert_int_equal(kind.starts, 1);
	assert_int_equal(port->rings[NM_TX][0].users, 1);
	assert_int_equal(nm_client_go_on(&client, PART), 0);
	region_check(port->region);
	nm_client_unbind(&client);
	assert_int_equal(kind.stops, 1);
	fixture_remove(port);
}

/* Its name is taken, and nobody else has it until it is done. */
static void others_meanwhile(void **state)
{
	const struct nm_bind monitor = {.mode = NR_REG_ALL_NIC, .flags = NR_MONITOR_RX};
	char name[NETMAP_REQ_IFNAMSIZ] = "vale0:2";
	uint32_t sw, number;
	struct nm_client client;
	struct nm_port *port;

	assert_int_equal(bind(&client, "vale0:2", &all), 0);
	nm_core_lock(&core);
	assert_int_equal(nm_vale_list_locked(&core, NULL, name, &sw, &number), -ENOENT);
	nm_core_unlock(&core);
	nm_client_unbind(&client);
	assert_int_equal(bind(&client, "vale0:1{x", &all), 0);
	port = client.port;
	do {
		assert_int_equal(bind_other("vale0:1{x", &all), -EINPROGRESS);
		assert_int_equal(bind_other("vale0:1}x", &all), -EINPROGRESS);
		assert_int_equal(bind_other("vale0:1}x", &monitor), -EINPROGRESS);
		assert_int_equal(bind_other("vale0:1", &all), 0);
		assert_int_equal(bind_other("vale0:1}y", &all), 0);
		assert_ptr_equal(client.port, port);
	} while (nm_client_go_on(&client, 200) > 0);
	check_slots(port);
	check_slots(port->peer);
	assert_int_equal(bind_other("vale0:1{x", &all), 0);
	assert_int_equal(bind_other("vale0:1}x", &all), 0);
	assert_int_equal(bind_other("vale0:1}x", &monitor), 0);
	nm_client_unbind(&client);
}

/* A client that dies in the middle leaves nothing, wherever the middle is; neither does it where others are. */
static void the_end_in_the_middle(void **state)
{
	struct nm_region *region = make_region(&core, 1000, 64, SLOTS);
	uint32_t bufs = nm_bufown_num_free(region, NM_POOL_BUF), parts = 0, more;
	const struct nm_bind how = {.mode = NR_REG_ALL_NIC,
		.mem_id = region->id,
		.num_rings = {2, 2},
		.num_slots = {SLOTS, SLOTS},
		.extra_bufs = 200};
	struct nm_client client;

	do {
		assert_int_equal(bind(&client, "vale0:1", &how), 0);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), bufs - 4 * SLOTS - 200);
		more = 1;
		for (uint32_t i = 0; i < parts && more > 0; i++)
			more = (uint32_t)nm_client_go_on(&client, PART);
		nm_client_unbind(&client);
		assert_null(client.port);
		assert_int_equal(core_count_ports(&core), 0);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), bufs);
		region_check(region);
		parts++;
	} while (more > 0);
	assert_true(parts > 200);
	nm_region_put(region);
}

/* What a port will need is nobody else's, though it hasn't got it yet. */
static void it_is_set_aside(void **state)
{
	struct nm_region *region = make_region(&core, 2 + 5 * SLOTS, 64, SLOTS);
	struct nm_port *port = add_port();
	struct nm_client client;
	uint32_t index;

	nm_client_init(&client, &core);
	client.own_region = region;
	client.in_parts = true;
	assert_int_equal(nm_client_bind(&client, "p", &all), 0);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 0);
	assert_int_equal(nm_bufown_alloc(region, NM_POOL_BUF, OWNER_OF_OTHERS, &index), -ENOMEM);
	assert_int_equal(
		nm_bufown_alloc_run(region, NM_POOL_BUF, OWNER_OF_OTHERS, 1, &index), -ENOMEM);
	while (nm_client_go_on(&client, 1) > 0)
		;
	check_slots(port);
	nm_client_unbind(&client);
	fixture_remove(port);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 5 * SLOTS);
	nm_region_put(region);
}

/* What others exchange, and leave, in the region meanwhile is not mixed up with it. */
static void others_end_meanwhile(void **state)
{
	struct nm_region *region = make_region(&core, 1000, 64, SLOTS);
	struct nm_client client, other;
	const struct nm_bind how = {
		.mode = NR_REG_ALL_NIC, .mem_id = region->id, .num_slots = {SLOTS, SLOTS}};

	nm_client_init(&other, &core);
	assert_int_equal(nm_client_bind(&other, "vale0:2", &how), 0);
	assert_int_equal(bind(&client, "vale0:1", &how), 0);
	assert_int_equal(nm_client_go_on(&client, SLOTS / 2), 1);
	/* What a former port has left in the memory of the rings. */
	for (uint32_t s = SLOTS / 2; s < SLOTS; s++)
		client.port->rings[NM_TX][0].slots[s].buf_idx =
			other.port->rings[NM_RX][0].slots[s].buf_idx;
	nm_client_unbind(&other);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 998 - 2 * SLOTS);
	while (nm_client_go_on(&client, SLOTS) > 0)
		;
	check_slots(client.port);
	region_check(region);
	nm_client_unbind(&client);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 998);
	nm_region_put(region);
}

static void the_device_goes(void **state)
{
	struct nm_port *port = add_port();
	struct nm_client client;

	assert_int_equal(bind(&client, "p", &all), 0);
	assert_int_equal(nm_client_go_on(&client, PART), 1);
	fixture_remove(port); /* in use: dead */
	assert_int_equal(nm_client_go_on(&client, PART), -ENXIO);
	assert_null(client.port);
	assert_int_equal(kind.starts, 0);
	assert_int_equal(kind.stops, 0);
}

static void a_start_that_fails(void **state)
{
	const struct nm_bind how = {.mode = NR_REG_ALL_NIC, .num_host_rings = {5, 5}};
	struct nm_port *port = add_port();
	struct nm_client client;

	kind.start_error = -EIO;
	assert_int_equal(bind(&client, "p", &how), 0);
	assert_int_equal(port->num_host_rings[NM_TX], 5);
	while (nm_client_go_on(&client, 10000) > 0)
		;
	assert_null(client.port);
	assert_string_equal(client.err.text, "p: no");
	assert_int_equal(kind.starts, 1);
	assert_int_equal(kind.stops, 0);
	assert_int_equal(port->num_host_rings[NM_TX], 0); /* as it was */
	assert_null(port->region);
	fixture_remove(port);
}

/* The bytes of a region can't be read any more: who looks into it dies. */
static void close_region(const struct nm_region *region)
{
	assert_int_equal(mprotect(region->base, region->size, PROT_NONE), 0);
}

/* Nothing is looked at, nor put into order, that goes as a whole. */
static void the_end_of_all_touches_nothing(void **state)
{
	static const char *const names[] = {"vale0:1", "vale0:1{x", "p"};
	const struct nm_bind how = {
		.mode = NR_REG_ALL_NIC, .num_slots = {SLOTS, SLOTS}, .extra_bufs = 100};

	for (uint32_t i = 0; i < 3; i++) {
		struct nm_port *port = i == 2 ? add_port() : NULL;
		struct nm_client client;

		nm_client_init(&client, &core);
		assert_int_equal(nm_client_bind(&client, names[i], &how), 0);
		close_region(client.port->region);
		nm_client_unbind(&client);
		assert_int_equal(core_count_regions(&core), 0);
		/* And so before it is done. */
		assert_int_equal(bind(&client, names[i], &how), 0);
		assert_int_equal(nm_client_go_on(&client, PART), 1);
		close_region(client.port->region);
		nm_client_unbind(&client);
		assert_int_equal(core_count_regions(&core), 0);
		if (port)
			fixture_remove(port);
	}
}

/* A machine's ports are reset, one after the other, when it is gone: its region goes with them. */
static void the_end_of_a_machine_touches_nothing(void **state)
{
	static const char *const names[] = {"vale0:1", "vale0:2", "vale1:1{x", "vale1:1}x"};
	struct nm_region *region = make_region(&core, 1000, 64, SLOTS);
	const struct nm_bind how = {.mode = NR_REG_ALL_NIC, .num_slots = {SLOTS, SLOTS}};
	struct nm_client clients[4];

	region->reserved = true;
	for (uint32_t i = 0; i < 4; i++) {
		nm_client_init(&clients[i], &core);
		clients[i].own_region = region;
		assert_int_equal(nm_client_bind(&clients[i], names[i], &how), 0);
		if (i < 2)
			assert_ptr_equal(clients[i].port->region, region);
	}
	region->ending = true;
	close_region(region);
	for (uint32_t i = 4; i-- > 0;) {
		nm_client_reset_rings(&clients[i]);
		nm_client_unbind(&clients[i]);
	}
	nm_region_put(region);
}

/* Where others stay, all is put into order as ever. */
static void not_where_others_stay(void **state)
{
	struct nm_client first, second;
	const struct nm_bind how = {.mode = NR_REG_ALL_NIC, .num_slots = {SLOTS, SLOTS}};
	struct nm_region *region;
	uint32_t left;

	nm_client_init(&first, &core);
	assert_int_equal(nm_client_bind(&first, "vale0:1", &how), 0);
	region = first.port->region;
	left = nm_bufown_num_free(region, NM_POOL_BUF);
	nm_client_init(&second, &core);
	for (int i = 0; i < 3; i++) {
		const struct nm_bind there = {.mode = NR_REG_ONE_NIC, .mem_id = region->id};

		nm_client_init(&second, &core);
		assert_int_equal(nm_client_bind(&second, "vale0:1", &there), 0);
		nm_client_unbind(&second);
		assert_false(region->ending);
		assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), left);
	}
	nm_client_unbind(&first);
}

/* Which objects it gives is the same, however they came into the list. */
static void a_map_is_as_quick_for_a_large_region(void **state)
{
	const struct nm_region_params params = {
		.count = {8, 8, NM_BUFS_MAX}, .size = {1024, 1024, 64}};
	struct nm_error err = {0};
	struct nm_region *region = nm_region_create(&core, &params, 0, &err);
	uint32_t first, second, run;

	assert_non_null(region);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), NM_BUFS_MAX - NM_BUFS_RESERVED);
	assert_int_equal(nm_bufown_alloc(region, NM_POOL_BUF, 1, &first), 0);
	assert_int_equal(first, NM_BUFS_RESERVED);
	assert_int_equal(nm_bufown_alloc_run(region, NM_POOL_BUF, 2, 10, &run), 0);
	assert_int_equal(run, first + 1);
	assert_int_equal(nm_bufown_free(region, NM_POOL_BUF, 1, first), 0);
	assert_int_equal(nm_bufown_alloc(region, NM_POOL_BUF, 1, &second), 0);
	assert_int_equal(second, first); /* what was free last */
	assert_int_equal(nm_bufown_alloc(region, NM_POOL_BUF, 1, &second), 0);
	assert_int_equal(second, run + 10);
	assert_int_equal(nm_bufown_free_owner(region, 1) + nm_bufown_free_owner(region, 2), 12);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), NM_BUFS_MAX - NM_BUFS_RESERVED);
	nm_region_put(region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_part_is_no_more_than_that, begin, core_end),
		cmocka_unit_test_setup_teardown(others_meanwhile, begin, core_end),
		cmocka_unit_test_setup_teardown(the_end_in_the_middle, begin, core_end),
		cmocka_unit_test_setup_teardown(it_is_set_aside, begin, core_end),
		cmocka_unit_test_setup_teardown(others_end_meanwhile, begin, core_end),
		cmocka_unit_test_setup_teardown(the_device_goes, begin, core_end),
		cmocka_unit_test_setup_teardown(a_start_that_fails, begin, core_end),
		cmocka_unit_test_setup_teardown(the_end_of_all_touches_nothing, begin, core_end),
		cmocka_unit_test_setup_teardown(
			the_end_of_a_machine_touches_nothing, begin, core_end),
		cmocka_unit_test_setup_teardown(not_where_others_stay, begin, core_end),
		cmocka_unit_test_setup_teardown(
			a_map_is_as_quick_for_a_large_region, begin, core_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
