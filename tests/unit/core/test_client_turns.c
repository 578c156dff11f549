/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/client.h: a platform of several threads. Others go on between the parts of a bind, here in between_parts(), in the
 * same thread: with the lock held they would wait for ever. Who wants the same port is a second thread.
 */
#include "port.h"
#include "vale.h"

#include <pthread.h>

#include "fixture.h"
#include "counted_kind.h"

enum { SLOTS = NM_SLOTS_MAX, RINGS = 5, PARTS = RINGS * SLOTS / NM_SLOTS_PER_PART, EXTRA = 1000 };

static struct {
	void (*others)(uint32_t turn); /* NULL: nobody does anything */
	uint32_t turns;
	uint32_t unwanted; /* at this turn nobody wants the rest, counted from 1; 0: never */
} maker;

/* The second thread, and what it waits for. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t waiting, waited; /* times */
	bool unwanted;
	pthread_t thread;
	struct nm_client client;
	const char *name;
	struct nm_bind bind;
	int error;
	bool runs;
} waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int between_parts(void)
{
	maker.turns++;
	if (maker.others)
		maker.others(maker.turns);
	return maker.turns == maker.unwanted ? -EINTR : 0;
}

static int await_make(const struct nm_core *of, uint32_t ended)
{
	assert_ptr_equal(of, &core);
	if (!waiter.runs) /* the maker's thread: it would wait for itself */
		return -EINTR;
	pthread_mutex_lock(&waiter.lock);
	waiter.waiting++;
	pthread_cond_broadcast(&waiter.changed);
	while (OS_LOAD(&core.makes_ended) == ended && !waiter.unwanted)
		pthread_cond_wait(&waiter.changed, &waiter.lock);
	waiter.waited++;
	pthread_mutex_unlock(&waiter.lock);
	return waiter.unwanted ? -EINTR : 0;
}

static void make_ended(const struct nm_core *of)
{
	assert_ptr_equal(of, &core);
	pthread_mutex_lock(&waiter.lock);
	pthread_cond_broadcast(&waiter.changed);
	pthread_mutex_unlock(&waiter.lock);
}

static const struct nm_platform_ops platform = {
	.between_parts = between_parts, .await_make = await_make, .make_ended = make_ended};

static int begin(void **state)
{
	memset(&maker, 0, sizeof(maker));
	memset(&kind, 0, sizeof(kind));
	waiter.waiting = waiter.waited = 0;
	waiter.unwanted = waiter.runs = false;
	core_begin(state);
	core.platform_ops = &platform;
	nm_client_init(&waiter.client, &core);
	return 0;
}

static const struct nm_bind all = {.mode = NR_REG_ALL_NIC};
static const struct nm_bind small = {
	.mode = NR_REG_ALL_NIC, .num_rings = {1, 1}, .num_slots = {64, 64}};
static const struct nm_bind large = {
	.mode = NR_REG_ALL_NIC, .num_rings = {3, 2}, .num_slots = {SLOTS, SLOTS}};

static struct nm_port *add_port(uint32_t slots)
{
	const struct nm_shape shape = {.rings = {3, 2}, .slots = {slots, slots}};

	return fixture_add("p", &kind_ops, &shape);
}

static int bind(struct nm_client *client, const char *name, const struct nm_bind *how)
{
	nm_client_init(client, &core);
	return nm_client_bind(client, name, how);
}

static int bind_other(const char *name, const struct nm_bind *how)
{
	struct nm_client other;
	int error = bind(&other, name, how);

	nm_client_unbind(&other);
	return error;
}

/* ---- others, between two parts ----------------------------------------------------------- */

static void small_requests(uint32_t turn)
{
	char name[NETMAP_REQ_IFNAMSIZ] = "vale0:1";
	uint32_t sw, number;

	assert_int_equal(bind_other("vale0:2", &all), 0);
	assert_int_equal(bind_other("vale0:1{x", &small), 0);
	assert_int_equal(bind_other("vale0:1", &all), -EINTR); /* would wait */
	assert_int_equal(kind.starts, 0);
	nm_core_lock(&core);
	assert_int_equal(nm_vale_list_locked(&core, NULL, name, &sw, &number), -ENOENT);
	nm_core_unlock(&core);
}

static void others_have_turns(void **state)
{
	struct nm_client client;

	maker.others = small_requests;
	assert_int_equal(bind(&client, "vale0:1", &large), 0);
	assert_in_range(maker.turns, PARTS - 1, PARTS);
	assert_int_equal(client.port->rings[NM_TX][0].users, 1);
	assert_int_equal(core.makes_ended, 1 + 2 * maker.turns);
	nm_client_unbind(&client);
}

/* A small one is there at once, for all. */
static void not_in_a_small_bind(void **state)
{
	const struct nm_bind bound = {.mode = NR_REG_ALL_NIC,
		.num_slots = {NM_SLOTS_PER_PART / 4, NM_SLOTS_PER_PART / 4},
		.extra_bufs = 10};
	struct nm_client client;

	assert_int_equal(bind(&client, "vale0:1", &bound), 0);
	assert_int_equal(maker.turns, 0);
	nm_client_unbind(&client);
}

/* Also of a client that joins. */
static void extra_buffers_are_linked_in_parts(void **state)
{
	const struct nm_bind extra = {.mode = NR_REG_ALL_NIC, .extra_bufs = EXTRA};
	const struct nm_bind none = {.mode = NR_REG_ALL_NIC, .extra_bufs = 2 * EXTRA};
	struct nm_client first, client;
	uint32_t turns;

	assert_int_equal(bind(&client, "vale0:1", &extra), 0);
	turns = maker.turns;
	assert_in_range(turns, 10, 20);
	nm_client_unbind(&client);
	assert_int_equal(bind(&first, "vale0:1", &none), 0);
	nm_client_unbind(&first);
	core.spare_bufs = EXTRA;
	assert_int_equal(bind(&first, "vale0:1", &all), 0);
	maker.turns = 0;
	assert_int_equal(bind(&client, "vale0:1", &extra), 0);
	assert_int_equal(client.extra_bufs, EXTRA);
	assert_in_range(maker.turns, turns - 1, turns + 1);
	nm_client_unbind(&client);
	/* … and goes in the middle of it. */
	maker.turns = 0;
	maker.unwanted = 3;
	assert_int_equal(bind(&client, "vale0:1", &extra), -EINTR);
	assert_null(client.port);
	assert_int_equal(first.port->clients, 1);
	assert_int_equal(first.port->rings[NM_TX][0].users, 1);
	region_check(first.port->region);
	nm_client_unbind(&first);
}

static const struct nm_bind monitor_rx = {
	.mode = NR_REG_ALL_NIC, .num_slots = {0, SLOTS}, .flags = NR_ZCOPY_MON | NR_MONITOR_RX};

/* The ring isn't linked to the first monitor yet. */
static void watch_too(uint32_t turn)
{
	struct nm_bind how = {.mode = NR_REG_ALL_NIC, .num_slots = {0, 64}};

	how.flags = NR_ZCOPY_MON | NR_MONITOR_RX;
	assert_int_equal(bind_other("vale0:1", &how), -EBUSY);
	how.flags = NR_ZCOPY_MON;
	assert_int_equal(bind_other("vale0:1", &how), -EBUSY);
	how.flags = NR_ZCOPY_MON | NR_MONITOR_TX;
	assert_int_equal(bind_other("vale0:1", &how), 0);
	how.flags = NR_MONITOR_RX;
	assert_int_equal(bind_other("vale0:1", &how), 0);
}

static void one_zero_copy_monitor(void **state)
{
	const struct nm_bind how = {
		.mode = NR_REG_ALL_NIC, .num_rings = {1, 1}, .num_slots = {64, SLOTS}};
	struct nm_client watched, client;

	core.spare_bufs = 2 * SLOTS;
	assert_int_equal(bind(&watched, "vale0:1", &how), 0);
	maker.turns = 0;
	maker.others = watch_too;
	assert_int_equal(bind(&client, "vale0:1", &monitor_rx), 0);
	assert_in_range(maker.turns, 1, 2 * SLOTS / NM_SLOTS_PER_PART);
	watch_too(0);
	nm_client_unbind(&client);
	/* One that was given up leaves the place to others. */
	maker.others = NULL;
	maker.turns = 0;
	maker.unwanted = 1;
	assert_int_equal(bind(&client, "vale0:1", &monitor_rx), -EINTR);
	assert_int_equal(bind(&client, "vale0:1", &monitor_rx), 0);
	nm_client_unbind(&client);
	nm_client_unbind(&watched);
}

static void nobody_wants_the_rest(void **state)
{
	const struct nm_bind how = {.mode = NR_REG_ALL_NIC, .num_host_rings = {2, 1}};
	struct nm_port *port = add_port(SLOTS);
	struct nm_client client;
	uint32_t turn = 0;
	int error;

	do {
		maker.turns = 0;
		maker.unwanted = ++turn;
		error = bind(&client, "p", &how);
		if (error) {
			assert_int_equal(error, -EINTR);
			assert_non_null(strstr(client.err.text, "p: "));
			assert_null(client.port);
			assert_int_equal(port->num_host_rings[NM_TX], 0); /* as it was */
		}
		nm_client_unbind(&client);
		assert_null(port->region);
		assert_int_equal(core_count_regions(&core), 0);
	} while (error);
	assert_true(turn > PARTS);
	assert_int_equal(kind.starts, 1);
	assert_int_equal(kind.stops, 1);
	fixture_remove(port);
}

static void remove_device(uint32_t turn)
{
	if (turn == 2)
		fixture_remove(core.ports);
}

static void the_device_goes(void **state)
{
	struct nm_client client;

	add_port(SLOTS);
	maker.others = remove_device;
	assert_int_equal(bind(&client, "p", &all), -ENXIO);
	assert_int_equal(maker.turns, 2);
	assert_null(client.port);
	assert_int_equal(kind.starts, 0);
	assert_int_equal(kind.stops, 0);
	assert_int_equal(core_count_ports(&core), 0);
}

/* An error of the kind's that reads as if another client made the port. */
static void the_kind_says_in_progress(void **state)
{
	static const uint32_t slots[] = {64, SLOTS};
	struct nm_client client;

	for (int i = 0; i < 2; i++) {
		struct nm_port *port = add_port(slots[i]);

		kind.start_error = -EINPROGRESS;
		assert_int_equal(bind(&client, "p", &all), -EINPROGRESS);
		assert_string_equal(client.err.text, "p: no");
		assert_int_equal(kind.starts, 1 + 2 * i);
		kind.start_error = 0;
		assert_int_equal(bind(&client, "p", &all), 0);
		nm_client_unbind(&client);
		fixture_remove(port);
	}
}

/* ---- external memory ---------------------------------------------------------------------- */

static struct nm_client guest;

static void join_region(uint32_t turn)
{
	if (turn == 1)
		assert_int_equal(bind(&guest, "vale0:1{x", &small), 0);
}

/* It is theirs as well who have come into it meanwhile. */
static void external_memory_stays_for_others(void **state)
{
	enum { BYTES = 64 << 20 };
	struct os_mem *mem = os_mem_alloc(BYTES, &(struct nm_error){0}), *left = mem;
	struct nm_bind how = large;
	struct nm_client client;

	how.extmem = &left;
	how.extmem_bytes = BYTES;
	how.extmem_params.size[NM_POOL_BUF] = 128;
	maker.others = join_region;
	maker.unwanted = 2;
	assert_int_equal(bind(&client, "vale0:1", &how), -EINTR);
	assert_null(left);
	assert_int_equal(core_count_regions(&core), 1);
	assert_ptr_equal(guest.port->region->base, os_mem_addr(mem));
	memset(guest.port->region->base, 1, 4096);
	region_check(guest.port->region);
	nm_client_unbind(&guest);
	assert_int_equal(core_count_regions(&core), 0);
}

/* ---- who wants the same ---------------------------------------------------------------------- */

static void *run_waiter(void *arg)
{
	waiter.error = nm_client_bind(&waiter.client, waiter.name, &waiter.bind);
	return NULL;
}

/* It has come so far that it waits. */
static void start_waiter(uint32_t turn)
{
	if (turn != 1)
		return;
	waiter.runs = true;
	assert_int_equal(pthread_create(&waiter.thread, NULL, run_waiter, NULL), 0);
	pthread_mutex_lock(&waiter.lock);
	while (waiter.waiting == 0)
		pthread_cond_wait(&waiter.changed, &waiter.lock);
	pthread_mutex_unlock(&waiter.lock);
}

/* Returns the waiter's error. */
static int bind_both(
	struct nm_client *client, const char *name, const struct nm_bind *wanted, int error)
{
	maker.turns = 0;
	waiter.waiting = waiter.waited = 0;
	waiter.name = name;
	waiter.bind = *wanted;
	nm_client_init(&waiter.client, &core);
	maker.others = start_waiter;
	assert_int_equal(bind(client, "vale0:1{x", &large), error);
	assert_int_equal(pthread_join(waiter.thread, NULL), 0);
	waiter.runs = false;
	assert_true(waiter.waited >= 1);
	maker.others = NULL;
	return waiter.error;
}

static void who_wants_the_same_gets_it(void **state)
{
	const struct nm_bind monitor = {.mode = NR_REG_ALL_NIC, .flags = NR_MONITOR_RX};
	const struct nm_bind alone = {.mode = NR_REG_ALL_NIC, .flags = NR_EXCLUSIVE};
	struct nm_client client;

	assert_int_equal(bind_both(&client, "vale0:1{x", &all, 0), 0);
	assert_ptr_equal(waiter.client.port, client.port);
	nm_client_unbind(&client);
	nm_client_unbind(&waiter.client);
	assert_int_equal(bind_both(&client, "vale0:1}x", &all, 0), 0); /* the other end */
	assert_ptr_equal(waiter.client.port, client.port->peer);
	nm_client_unbind(&waiter.client);
	nm_client_unbind(&client);
	assert_int_equal(bind_both(&client, "vale0:1{x", &monitor, 0), 0);
	assert_string_equal(waiter.client.port->ops->kind, "monitor");
	nm_client_unbind(&client);
	nm_client_unbind(&waiter.client);
	assert_int_equal(bind_both(&client, "vale0:1{x", &alone, 0), -EBUSY);
	assert_non_null(strstr(waiter.client.err.text, "exclusively"));
	nm_client_unbind(&client);
}

/* … or makes it, when the first one gives it up. */
static void or_makes_it(void **state)
{
	struct nm_client client;

	maker.unwanted = 3;
	assert_int_equal(bind_both(&client, "vale0:1{x", &all, -EINTR), 0);
	assert_null(client.port);
	assert_int_equal(waiter.client.port->clients, 1);
	assert_int_equal(waiter.client.port->num_slots[NM_TX], NM_SLOTS_DEFAULT);
	nm_client_unbind(&waiter.client);
}

static void stop_waiting(uint32_t turn)
{
	start_waiter(turn);
	if (turn != 2)
		return;
	pthread_mutex_lock(&waiter.lock);
	waiter.unwanted = true;
	pthread_cond_broadcast(&waiter.changed);
	pthread_mutex_unlock(&waiter.lock);
	assert_int_equal(pthread_join(waiter.thread, NULL), 0);
	assert_int_equal(waiter.error, -EINTR);
	assert_null(waiter.client.port);
}

/* … or is ended before. */
static void or_is_ended(void **state)
{
	struct nm_client client;

	maker.others = stop_waiting;
	waiter.name = "vale0:1";
	waiter.bind = all;
	assert_int_equal(bind(&client, "vale0:1", &large), 0);
	assert_int_equal(waiter.waited, 1);
	assert_int_equal(client.port->clients, 1);
	nm_client_unbind(&client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(others_have_turns, begin, core_end),
		cmocka_unit_test_setup_teardown(not_in_a_small_bind, begin, core_end),
		cmocka_unit_test_setup_teardown(extra_buffers_are_linked_in_parts, begin, core_end),
		cmocka_unit_test_setup_teardown(one_zero_copy_monitor, begin, core_end),
		cmocka_unit_test_setup_teardown(nobody_wants_the_rest, begin, core_end),
		cmocka_unit_test_setup_teardown(the_device_goes, begin, core_end),
		cmocka_unit_test_setup_teardown(the_kind_says_in_progress, begin, core_end),
		cmocka_unit_test_setup_teardown(external_memory_stays_for_others, begin, core_end),
		cmocka_unit_test_setup_teardown(who_wants_the_same_gets_it, begin, core_end),
		cmocka_unit_test_setup_teardown(or_makes_it, begin, core_end),
		cmocka_unit_test_setup_teardown(or_is_ended, begin, core_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
