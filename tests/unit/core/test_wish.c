/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/wish.h: memory that takes long is had without core->lock. What others do meanwhile is done in
 * on_mem_alloc, in the same thread.
 */
#include "wish.h"
#include "client.h"

#include "request.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { LARGE = 4 << 20, EXTRA = 16384 };

static struct {
	uint32_t times, large; /* calls of os_mem_alloc() */
	bool held;             /* large memory was made under the lock of a request with a wish */
	uint64_t denied;       /* so many bytes, and more, can't be had; 0: all can */
	struct nm_client other;
	const char *
		name; /* that `other` opens when memory is made the next time; NULL: nothing happens */
	struct nm_bind bind; /* as it opens it */
	bool closes;         /* `other`, instead */
} meanwhile;

static bool takes_long(uint64_t bytes)
{
	return bytes >= LARGE;
}

/* The second client, of two_want_the_same(), may find the port with parts of it left to be made. */
static int await_make(const struct nm_core *of, uint32_t ended)
{
	while (OS_LOAD(&of->makes_ended) == ended)
		sched_yield();
	return 0;
}

static const struct nm_platform_ops ops = {.mem_takes_long = takes_long, .await_make = await_make};

/* Others would wait for the lock, which this thread has, for ever. */
static void others_go_on(uint64_t bytes)
{
	const char *name = meanwhile.name;

	meanwhile.times++;
	meanwhile.large += bytes >= LARGE;
	fail_allocation(meanwhile.denied > 0 && bytes >= meanwhile.denied);
	if (bytes < LARGE)
		return;
	meanwhile.held |= core.wish != NULL;
	if (meanwhile.held)
		return;
	if (meanwhile.closes)
		nm_client_unbind(&meanwhile.other);
	meanwhile.closes = false;
	meanwhile.name = NULL;
	if (!name)
		return;
	fail_allocation(0);
	assert_int_equal(nm_client_bind(&meanwhile.other, name, &meanwhile.bind), 0);
	fail_allocation(meanwhile.denied > 0 && bytes >= meanwhile.denied);
}

static int begin(void **state)
{
	memset(&meanwhile, 0, sizeof(meanwhile));
	request_begin(state);
	core.platform_ops = &ops;
	core.spare_bufs = 0;
	nm_client_init(&meanwhile.other, &core);
	meanwhile.bind = (struct nm_bind){
		.mode = NR_REG_ALL_NIC, .num_slots = {64, 64}, .num_rings = {1, 1}};
	on_mem_alloc = others_go_on;
	return 0;
}

static int end(void **state)
{
	on_mem_alloc = NULL;
	fail_allocation(0);
	nm_client_unbind(&meanwhile.other);
	nm_client_unbind(&client);
	assert_false(meanwhile.held);
	return request_end(state);
}

struct second {
	struct nm_client client;
	uint32_t large; /* times that memory was made for it */
	int error;
	pthread_t thread;
	bool runs;
};

static struct second second;
static _Thread_local bool is_second;

static void count_second(uint64_t bytes)
{
	if (bytes >= LARGE)
		__atomic_fetch_add(&second.large, 1, __ATOMIC_RELAXED);
}

static const struct nm_bind large = {
	.mode = NR_REG_ALL_NIC, .num_rings = {4, 4}, .num_slots = {1024, 1024}};

static int bind_large(const char *name)
{
	return nm_client_bind(&client, name, &large);
}

static void *bind_second(void *arg)
{
	is_second = true;
	second.error = nm_client_bind(&second.client, "vale0:1", &large);
	return NULL;
}

/* While memory is made for the first client the second one wants the same port, and has time to make it as well. */
static void second_comes(uint64_t bytes)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	if (is_second) {
		count_second(bytes);
		return;
	}
	meanwhile.large += bytes >= LARGE;
	if (bytes < LARGE || second.runs)
		return;
	second.runs = true;
	assert_int_equal(pthread_create(&second.thread, NULL, bind_second, NULL), 0);
	for (int i = 0; i < 200 && __atomic_load_n(&second.large, __ATOMIC_RELAXED) == 0; i++)
		nanosleep(&moment, NULL);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void others_bind_meanwhile(void **state)
{
	meanwhile.name = "vale1:other";
	assert_int_equal(bind_large("vale0:1"), 0);
	assert_non_null(meanwhile.other.port);
	assert_int_equal(meanwhile.large, 1);
	assert_int_equal(meanwhile.times, 2);
	assert_int_equal(core_count_ports(&core), 2);
	region_check(client.port->region);
}

/* The section that wishes is made again, but not the map of owners, which is as long as the region has buffers. */
static void the_map_is_made_once(void **state)
{
	uint64_t map;

	assert_int_equal(nm_client_bind(&meanwhile.other, "vale0:2", &meanwhile.bind), 0);
	(void)allocated_bytes();
	assert_int_equal(bind_large("vale0:1"), 0);
	assert_int_equal(meanwhile.large, 1);
	map = 2 * sizeof(uint32_t) * client.port->region->pool[NM_POOL_BUF].count;
	assert_in_range(allocated_bytes(), map, 2 * map - 1);
}

/* A small one is made in place: the section is not made again. */
static void small_memory_is_not_wished_for(void **state)
{
	struct nm_wish wish = {0};

	assert_int_equal(nm_client_bind(&client, "vale0:1", &meanwhile.bind), 0);
	assert_int_equal(meanwhile.times, 1);
	assert_int_equal(meanwhile.large, 0);
	nm_wish_lock(&core, &wish);
	assert_ptr_equal(core.wish, &wish);
	assert_false(nm_wish_unlock(&core, &wish, -EINVAL));
	assert_null(core.wish);
}

/* It is theirs then, and we join; what was had for us is given back. */
static void somebody_else_makes_the_port(void **state)
{
	meanwhile.name = "vale0:1";
	assert_int_equal(bind_large("vale0:1"), 0);
	assert_ptr_equal(client.port, meanwhile.other.port);
	assert_int_equal(client.port->clients, 2);
	assert_int_equal(client.port->num_slots[NM_TX], 64);
	assert_int_equal(core_count_regions(&core), 1);
	nm_client_unbind(&client);
	nm_client_unbind(&meanwhile.other);
	/* … with rings that we can't have. */
	meanwhile.name = "vale0:1";
	meanwhile.bind.flags = NR_EXCLUSIVE;
	assert_int_equal(bind_large("vale0:1"), -EBUSY);
	assert_int_equal(core_count_regions(&core), 1);
}

/* Who comes second finds it made. With a bound that has room for one it would get none. */
static void two_want_the_same(void **state)
{
	memset(&second, 0, sizeof(second));
	nm_client_init(&second.client, &core);
	on_mem_alloc = second_comes;
	assert_int_equal(bind_large("vale0:1"), 0);
	assert_true(second.runs);
	assert_int_equal(pthread_join(second.thread, NULL), 0);
	assert_int_equal(second.error, 0);
	assert_ptr_equal(second.client.port, client.port);
	assert_int_equal(meanwhile.large, 1);
	assert_int_equal(second.large, 0);
	nm_client_unbind(&second.client);
}

/* The port isn't there any more, whose shape decided how much is needed. */
static void somebody_else_leaves(void **state)
{
	const struct nm_bind pipe = {.mode = NR_REG_ALL_NIC};
	const struct nm_bind two = {
		.mode = NR_REG_ALL_NIC, .num_rings = {4, 4}, .num_slots = {2048, 2048}};

	assert_int_equal(nm_client_bind(&meanwhile.other, "vale0:1", &two), 0);
	core.shared_params.count[NM_POOL_BUF] = 8192;
	meanwhile.closes = true;
	meanwhile.times = meanwhile.large = 0;
	assert_int_equal(nm_client_bind(&client, "vale0:1{p", &pipe), 0);
	assert_null(meanwhile.other.port);
	assert_non_null(client.port->region);
	assert_in_range(meanwhile.large, 1, NM_WISH_TRIES);
}

static void what_is_denied(void **state)
{
	meanwhile.denied = LARGE;
	assert_int_equal(bind_large("vale0:1"), -ENOMEM);
	assert_non_null(strstr(client.err.text, "no memory"));
	assert_int_equal(meanwhile.large, 1);
	fail_allocation(0);
	core_check_empty(&core);
}

/* Rather none than no port: another wish, for less. */
static void less_may_be_had(void **state)
{
	struct nm_bind extra = large;
	uint64_t all;

	extra.extra_bufs = EXTRA;
	assert_int_equal(nm_client_bind(&client, "vale0:1", &extra), 0);
	assert_int_equal(client.extra_bufs, EXTRA);
	all = client.port->region->size;
	nm_client_unbind(&client);
	meanwhile.denied = all;
	meanwhile.large = 0;
	assert_int_equal(nm_client_bind(&client, "vale0:1", &extra), 0);
	assert_in_range(client.extra_bufs, 0, EXTRA - 1);
	assert_in_range(client.port->region->size, LARGE, all - 1);
	assert_int_equal(meanwhile.large, 2);
}

/* Who wants another size each time gets it under the lock at last. */
static void sizes_that_change(void **state)
{
	struct nm_wish wish = {0};
	struct os_mem *mem = NULL;
	uint32_t runs = 0;
	bool again;

	do {
		struct nm_error err = {0};

		nm_wish_lock(&core, &wish);
		if (++runs > NM_WISH_TRIES + 1)
			on_mem_alloc = NULL; /* it is held */
		mem = nm_wish_take(&core, (uint64_t)LARGE * runs, &err);
		if (!mem)
			assert_int_equal(err.code, -EAGAIN);
		again = nm_wish_unlock(&core, &wish, mem ? 0 : err.code);
	} while (again);
	assert_non_null(mem);
	assert_null(wish.mem);
	assert_int_equal(runs, NM_WISH_TRIES + 2); /* and a look when it was its turn */
	assert_int_equal(meanwhile.large, NM_WISH_TRIES);
	os_mem_free(mem);
}

/* Region 1 is made for the question, and goes with it; the port is one that is made for it, too. */
static void questions(void **state)
{
	core.shared_params.count[NM_POOL_BUF] = 8192;
	meanwhile.name = "vale1:other";
	prepare(NETMAP_REQ_PORT_INFO_GET, "");
	assert_int_equal(ask(), 0);
	assert_int_equal(info->nr_mem_id, NM_REGION_SHARED_ID);
	assert_int_equal(meanwhile.large, 1);
	meanwhile.large = 0;
	prepare(NETMAP_REQ_PORT_INFO_GET, "vale0:1");
	info->nr_tx_slots = info->nr_rx_slots = 1024;
	info->nr_tx_rings = info->nr_rx_rings = 4;
	assert_int_equal(ask(), 0);
	assert_int_equal(info->nr_tx_rings, 4);
	assert_int_equal(meanwhile.large, 1);
	assert_int_equal(core_count_ports(&core), 1);
	assert_int_equal(core_count_regions(&core), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(others_bind_meanwhile, begin, end),
		cmocka_unit_test_setup_teardown(the_map_is_made_once, begin, end),
		cmocka_unit_test_setup_teardown(small_memory_is_not_wished_for, begin, end),
		cmocka_unit_test_setup_teardown(somebody_else_makes_the_port, begin, end),
		cmocka_unit_test_setup_teardown(two_want_the_same, begin, end),
		cmocka_unit_test_setup_teardown(somebody_else_leaves, begin, end),
		cmocka_unit_test_setup_teardown(what_is_denied, begin, end),
		cmocka_unit_test_setup_teardown(less_may_be_had, begin, end),
		cmocka_unit_test_setup_teardown(sizes_that_change, begin, end),
		cmocka_unit_test_setup_teardown(questions, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("wish", tests, NULL, NULL);
}
