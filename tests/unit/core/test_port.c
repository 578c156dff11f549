/* SPDX-License-Identifier: BSD-2-Clause */
/* core/port.h: the registry, and what a port kind is called for and when. */
#include "vale.h"

#include <stdio.h>

#include "fixture.h"

/* ---- a kind that writes down what happens to it ----------------------------------------------------- */

static struct {
	uint32_t starts, stops, destroys;
	int start_error, admit_error;
	uint32_t asked;
	struct nm_region *foreign; /* its rings lie there */
} kind;

static void place_ring(struct nm_ring *ring, uint32_t object)
{
	ring->region = kind.foreign;
	ring->shared = nm_region_object(kind.foreign, NM_POOL_RING, object);
	ring->slots = ring->shared->slot;
	ring->head = ring->cur = ring->tail = ring->hwcur = 3; /* as the host says */
}

static int start(struct nm_port *port, struct nm_error *err)
{
	kind.starts++;
	if (kind.start_error)
		nm_error_set(err, kind.start_error, "%s does not start", port->name);
	else if (kind.foreign) {
		place_ring(&port->rings[NM_TX][0], 0);
		place_ring(&port->rings[NM_RX][0], 1);
		port->nifp_offset = 0;
	}
	return kind.start_error;
}

static void stop(struct nm_port *port)
{
	kind.stops++;
}

static int admit(const struct nm_port *port, struct nm_error *err)
{
	kind.asked++;
	return kind.admit_error ? nm_error_set(err, kind.admit_error, "%s: not you", port->name)
				: 0;
}

static void destroy(struct nm_port *port)
{
	kind.destroys++;
}

static int sync_nothing(struct nm_ring *ring)
{
	return 0;
}

static const struct nm_port_ops ops = {.kind = "test",
	.start = start,
	.stop = stop,
	.admit = admit,
	.destroy = destroy,
	.txsync = sync_nothing,
	.rxsync = sync_nothing};

static const struct nm_shape one_pair = {.rings = {1, 1}, .slots = {16, 16}};
static const struct nm_run none[NM_POOLS];
static const struct nm_bind all = {.mode = NR_REG_ALL_NIC};

static struct nm_port *add(const char *name, struct nm_error *error)
{
	struct nm_port *port;

	nm_core_lock(&core);
	port = nm_port_add_locked(&core, name, &ops, &one_pair, error);
	nm_core_unlock(&core);
	return port;
}

static int begin_kind(void **state)
{
	memset(&kind, 0, sizeof(kind));
	return core_begin(state);
}

/* ---- registry ------------------------------------------------------------------------------------------ */

static void names_in_the_registry(void **state)
{
	struct nm_port *a, *b;
	char long_name[100];
	struct nm_error error = {.code = 1};

	a = add("a", &error);
	assert_non_null(a);
	assert_null(add("a", &error));
	assert_int_equal(error.code, -EEXIST);
	assert_null(add("", &error));
	assert_int_equal(error.code, -EINVAL);
	memset(long_name, 'x', sizeof(long_name));
	assert_null(add(long_name, &error));
	assert_int_equal(error.code, -EINVAL);
	long_name[NETMAP_REQ_IFNAMSIZ - 1] = '\0';
	b = add(long_name, &error);
	assert_non_null(b);
	assert_int_not_equal(a->owner, b->owner);
	assert_int_not_equal(a->owner, NM_OWNER_NONE);
	nm_core_lock(&core);
	assert_ptr_equal(nm_port_find_locked(&core, "a"), a);
	assert_ptr_equal(nm_port_find_locked(&core, long_name), b);
	assert_null(nm_port_find_locked(&core, "c"));
	assert_int_equal(nm_port_rename_locked(b, "a"), -EEXIST);
	assert_int_equal(nm_port_rename_locked(b, "b"), 0);
	assert_int_equal(nm_port_rename_locked(b, "b"), 0); /* its own */
	assert_int_equal(nm_port_rename_locked(b, ""), -EINVAL);
	assert_ptr_equal(nm_port_find_locked(&core, "b"), b);
	assert_null(nm_port_find_locked(&core, long_name));
	assert_int_equal(nm_port_set_hdr_len_locked(b, 0), 0);
	assert_int_equal(nm_port_set_hdr_len_locked(b, 12), -EOPNOTSUPP);
	assert_int_equal(nm_port_set_hdr_len_locked(b, 11), -EINVAL);
	nm_core_unlock(&core);
	fixture_remove(a);
	assert_int_equal(kind.destroys, 1);
	nm_core_destroy(&core); /* takes the other one with it */
	assert_int_equal(kind.destroys, 2);
	core_check_empty(&core);
	nm_core_init(&core);
}

static void shapes(void **state)
{
	static const struct {
		struct nm_shape shape;
		bool good;
	} cases[] = {
		{{.rings = {1, 1}, .slots = {2, 2}}, true},
		{{.rings = {64, 64}, .slots = {16384, 16384}}, true},
		{{.rings = {0, 1}, .slots = {16, 16}}, true},
		{{.rings = {1, 0}, .slots = {16, 16}}, true},
		{{.rings = {65, 1}, .slots = {16, 16}}, false},
		{{.rings = {1, 65}, .slots = {16, 16}}, false},
		{{.rings = {1, 1}, .slots = {1, 16}}, false},
		{{.rings = {1, 1}, .slots = {16, 1}}, false},
		{{.rings = {1, 1}, .slots = {16385, 16}}, false},
		{{.rings = {1, 1}, .slots = {16, UINT32_MAX}}, false},
		{{.rings = {UINT32_MAX, 1}, .slots = {16, 16}}, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nm_port *port;
		struct nm_error error;

		nm_core_lock(&core);
		port = nm_port_add_locked(&core, "p", &ops, &cases[i].shape, &error);
		assert_int_equal(!!port, cases[i].good);
		if (!port) {
			assert_int_equal(error.code, -EINVAL);
			assert_int_not_equal(error.text[0], '\0');
		}
		if (port)
			nm_port_remove_locked(port);
		nm_core_unlock(&core);
	}
}

static void add_without_memory(void **state)
{
	struct nm_port *port = NULL;
	uint32_t failures = 0;
	struct nm_error error;

	for (uint32_t nth = 1; !port; nth++) {
		fail_allocation(nth);
		port = add("p", &error);
		if (!port)
			assert_int_equal(error.code, -ENOMEM);
		assert_int_equal(core_count_ports(&core), port ? 1 : 0);
		failures += !port;
	}
	fail_allocation(0);
	assert_int_equal(failures, 3);
	fixture_remove(port);
}

/* The platform's own ports: asked for when a name is unknown, and only then. */
static uint32_t lookups;

static struct nm_port *lookup(struct nm_core *c, void *ns, const char *name)
{
	struct nm_error error;

	lookups++;
	return strcmp(name, "nic") == 0 ? nm_port_add_locked(c, name, &ops, &one_pair, &error)
					: NULL;
}

static const struct nm_platform_ops platform = {.lookup = lookup};

static void the_platform_is_asked(void **state)
{
	struct nm_client client;

	core.platform_ops = &platform;
	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "other", &all), -ENXIO);
	assert_int_equal(lookups, 1);
	assert_int_equal(nm_client_bind(&client, "nic", &all), 0);
	assert_int_equal(lookups, 2);
	nm_client_unbind(&client);
	assert_int_equal(core_count_ports(&core), 1); /* it stays: not made on demand */
	assert_int_equal(nm_client_bind(&client, "nic", &all), 0);
	assert_int_equal(lookups, 2);
	nm_client_unbind(&client);
	fixture_remove(core.ports);
}

/* ---- start and stop ------------------------------------------------------------------------------------ */

static void first_and_last_client(void **state)
{
	struct nm_client clients[3];
	struct nm_port *port;
	struct nm_error error;

	port = add("p", &error);
	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < 3; i++) {
			nm_client_init(&clients[i], &core);
			assert_int_equal(nm_client_bind(&clients[i], "p", &all), 0);
			assert_int_equal(kind.starts, round);
		}
		assert_int_equal(port->clients, 3);
		assert_ptr_equal(clients[0].port->region, clients[2].port->region);
		assert_true(clients[0].nifp_offset != clients[2].nifp_offset);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(kind.stops, round - 1);
			nm_client_unbind(&clients[i]);
		}
		assert_int_equal(kind.stops, round);
		assert_null(port->region);
		assert_null(core.regions);
	}
	assert_int_equal(kind.destroys, 0);
	fixture_remove(port);
	assert_int_equal(kind.destroys, 1);
}

static void a_start_that_fails(void **state)
{
	struct nm_client client;
	struct nm_port *port;
	struct nm_error error;

	port = add("p", &error);
	kind.start_error = -EIO;
	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "p", &all), -EIO);
	assert_string_equal(client.err.text, "p does not start");
	assert_null(client.port);
	assert_int_equal(kind.stops, 0);
	assert_null(core.regions);
	assert_int_equal(port->clients, 0);
	kind.start_error = 0;
	assert_int_equal(nm_client_bind(&client, "p", &all), 0);
	nm_client_unbind(&client);
	fixture_remove(port);
}

/* Whom the kind refuses has neither the port, nor a pipe or a monitor of it, and leaves nothing there. */
static void who_may_have_it(void **state)
{
	static const struct {
		const char *name;
		struct nm_bind how;
	} ways[] = {
		{"p", {.mode = NR_REG_ALL_NIC}},
		{"p", {.mode = NR_REG_ONE_NIC}},
		{"p{1", {.mode = NR_REG_ALL_NIC}},
		{"p}1", {.mode = NR_REG_ALL_NIC}},
		{"p", {.mode = NR_REG_PIPE_MASTER, .ringid = 1}},
		{"p", {.mode = NR_REG_ALL_NIC, .flags = NR_MONITOR_RX}},
		{"p", {.mode = NR_REG_ALL_NIC, .flags = NR_MONITOR_TX | NR_ZCOPY_MON}},
	};
	struct nm_error error;
	struct nm_port *port = add("p", &error);
	struct nm_client client;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		nm_client_init(&client, &core);
		kind.asked = 0;
		kind.admit_error = -EPERM;
		assert_int_equal(nm_client_bind(&client, ways[i].name, &ways[i].how), -EPERM);
		assert_string_equal(client.err.text, "p: not you");
		assert_true(kind.asked > 0);
		assert_null(client.port);
		assert_int_equal(kind.starts, kind.stops);
		assert_int_equal(core_count_ports(&core), 1);
		assert_int_equal(core_count_regions(&core), 0);
		assert_int_equal(port->pins, 0);
		kind.admit_error = 0;
		assert_int_equal(nm_client_bind(&client, ways[i].name, &ways[i].how), 0);
		nm_client_unbind(&client);
	}
	fixture_remove(port);
}

/* A port whose first client can't have a netmap_if is not even started. */
static void no_netmap_if_no_start(void **state)
{
	struct nm_region *region = make_region(&core, 100, 64, 16);
	struct nm_client client;
	struct nm_port *port;
	uint32_t index;
	struct nm_error error;

	port = add("p", &error);
	while (nm_bufown_alloc(region, NM_POOL_IF, UINT32_MAX, &index) == 0)
		;
	nm_client_init(&client, &core);
	client.own_region = region;
	assert_int_equal(nm_client_bind(&client, "p", &all), -ENOMEM);
	assert_int_equal(kind.starts, 0);
	assert_int_equal(kind.stops, 0);
	assert_null(port->region);
	nm_bufown_free_owner(region, UINT32_MAX);
	region_check(region);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 98);
	fixture_remove(port);
	nm_region_put(region);
}

/* ---- a port in memory that another machine manages -------------------------------------------------------- */

static void a_foreign_region(void **state)
{
	static char memory[65536] __attribute__((aligned(128)));
	const struct nm_pool_geometry pool[NM_POOLS] = {
		{0, 4, 256}, {4096, 4, 512}, {8192, 20, 64}};
	struct netmap_ring *rings = (void *)(memory + 4096);
	struct nm_client a, b;
	struct nm_port *port;
	struct nm_error err;

	kind.foreign = nm_region_adopt(&core, memory, sizeof(memory), pool, none, &err);
	assert_non_null(kind.foreign);
	port = add("ptnet0", &err);
	port->region = kind.foreign; /* the reference goes to the port */
	memset(memory, 0x77, sizeof(memory));
	nm_client_init(&a, &core);
	nm_client_init(&b, &core);
	{
		struct nm_bind wrong = all;

		wrong.mem_id = kind.foreign->id + 1;
		assert_int_equal(nm_client_bind(&a, "ptnet0", &wrong), -EINVAL);
	}
	assert_int_equal(nm_client_bind(&a, "ptnet0", &all), 0);
	assert_int_equal(nm_client_bind(&b, "ptnet0", &all), 0);
	assert_int_equal(kind.starts, 1);
	assert_int_equal(a.nifp_index, UINT32_MAX); /* the one of the region */
	assert_int_equal(a.nifp_offset, 0);
	assert_ptr_equal(nm_client_ring(&a, NM_TX, 0)->shared, rings);
	/* Where the host is is not for a client to restart, nor are the buffers. */
	assert_int_equal(nm_client_ring(&a, NM_TX, 0)->head, 3);
	nm_client_reset_rings(&a);
	assert_int_equal(nm_client_ring(&a, NM_TX, 0)->head, 3);
	nm_client_unbind(&a);
	nm_client_unbind(&b);
	assert_int_equal(kind.stops, 1);
	for (size_t i = 0; i < sizeof(memory); i++)
		assert_int_equal(memory[i], 0x77); /* nothing was written */
	assert_ptr_equal(core.regions, kind.foreign);
	fixture_remove(port);
	assert_null(core.regions);
}

/* A region of others is not one to be asked for by its number. */
static void foreign_memory_is_not_shared(void **state)
{
	static char memory[65536] __attribute__((aligned(128)));
	const struct nm_pool_geometry pool[NM_POOLS] = {
		{0, 4, 256}, {4096, 4, 512}, {8192, 20, 64}};
	struct nm_bind bind = all;
	struct nm_region *region;
	struct nm_client client;
	struct nm_error err;

	region = nm_region_adopt(&core, memory, sizeof(memory), pool, none, &err);
	assert_non_null(region);
	bind.mem_id = region->id;
	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "vale0:1", &bind), -EINVAL);
	assert_null(core.ports);
	nm_region_put(region);
}

/* ---- removed while in use ------------------------------------------------------------------------------------ */

static void removed_with_clients(void **state)
{
	struct nm_client a, b;
	struct nm_port *port, *again;
	struct nm_error error;

	port = add("p", &error);
	nm_client_init(&a, &core);
	nm_client_init(&b, &core);
	assert_int_equal(nm_client_bind(&a, "p", &all), 0);
	assert_int_equal(nm_client_bind(&b, "p", &all), 0);
	fixture_remove(port);
	assert_int_equal(kind.stops + kind.destroys, 0);
	assert_int_equal(nm_ring_sync(nm_client_ring(&a, NM_TX, 0), 0, 0), -ENXIO);
	again = add("p", &error); /* the name is free, the old port is nobody's to find */
	assert_non_null(again);
	nm_client_unbind(&a);
	assert_int_equal(kind.destroys, 0);
	nm_client_unbind(&b);
	assert_int_equal(kind.stops, 1);
	assert_int_equal(kind.destroys, 1);
	assert_ptr_equal(core.ports, again);
	fixture_remove(again);
}

/* ---- first users ------------------------------------------------------------------------------------------------- */

static struct {
	const struct nm_ring *ring; /* held now */
	uint32_t holds, resets;
} quiet_now;

static void quiesce_ring(struct nm_ring *ring, bool on)
{
	assert_ptr_equal(quiet_now.ring, on ? NULL : ring);
	quiet_now.ring = on ? ring : NULL;
	quiet_now.holds += on;
}

static void reset_while_held(struct nm_ring *ring)
{
	if (!kind.starts) /* it is being made: nobody can know of it */
		return;
	assert_ptr_equal(quiet_now.ring, ring);
	quiet_now.resets++;
}

/* What a kind does on its own with a ring that lost its user stops while the ring is restarted for
 * the next one, and only then. */
static void held_while_restarted(void **state)
{
	struct nm_port_ops quiescing = ops;
	struct nm_client first, second;
	struct nm_port *port;
	struct nm_error error;

	memset(&quiet_now, 0, sizeof(quiet_now));
	quiescing.quiesce = quiesce_ring;
	quiescing.ring_reset = reset_while_held;
	nm_core_lock(&core);
	port = nm_port_add_locked(&core, "p", &quiescing, &one_pair, &error);
	nm_core_unlock(&core);
	nm_client_init(&first, &core);
	nm_client_init(&second, &core);
	assert_int_equal(nm_client_bind(&first, "p", &all), 0);
	assert_int_equal(quiet_now.holds, 2);
	assert_int_equal(quiet_now.resets, 2);
	assert_int_equal(
		nm_client_bind(&second, "p", &all), 0); /* not the first: nothing happens */
	assert_int_equal(quiet_now.holds, 2);
	nm_client_unbind(&first);
	nm_client_unbind(&second);
	assert_null(quiet_now.ring);
	fixture_remove(port);
}

/* ---- held ----------------------------------------------------------------------------------------------------- */

/* A port that is held stays, used or not; one made on demand goes with the last hold. */
static void held(void **state)
{
	struct nm_client client;
	struct nm_port *port;
	struct nm_error error;

	port = add("p", &error);
	port->ephemeral = true;
	nm_core_lock(&core);
	nm_port_pin_locked(port);
	nm_port_pin_locked(port);
	nm_core_unlock(&core);
	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "p", &all), 0);
	nm_client_unbind(&client);
	assert_int_equal(kind.stops, 1);
	assert_int_equal(kind.destroys, 0);
	nm_core_lock(&core);
	nm_port_unpin_locked(port);
	assert_int_equal(kind.destroys, 0);
	nm_port_unpin_locked(port);
	nm_core_unlock(&core);
	assert_int_equal(kind.destroys, 1);
	/* One that is not made on demand stays, and one that is pulled while it is held is dead. */
	port = add("p", &error);
	nm_core_lock(&core);
	nm_port_pin_locked(port);
	nm_port_unpin_locked(port);
	assert_ptr_equal(nm_port_find_locked(&core, "p"), port);
	nm_port_pin_locked(port);
	nm_port_remove_locked(port);
	assert_true(port->dead);
	assert_null(nm_port_find_locked(&core, "p"));
	assert_null(nm_port_find_locked(&core, ""));
	assert_int_equal(nm_port_rename_locked(port, "q"), -ENXIO);
	nm_port_unpin_locked(port);
	nm_core_unlock(&core);
	assert_int_equal(kind.destroys, 2);
}

static int set_host_rings(struct nm_port *port, uint32_t tx, uint32_t rx)
{
	const uint32_t count[NM_DIRS] = {tx, rx};
	int error;

	nm_core_lock(&core);
	error = nm_port_reshape_locked(port, count, port->num_slots);
	nm_core_unlock(&core);
	return error;
}

static void host_rings(void **state)
{
	struct nm_client client;
	struct nm_port *port;
	struct nm_error error;

	port = add("p", &error);
	assert_int_equal(set_host_rings(port, 0, 0), 0);
	assert_int_equal(set_host_rings(port, 64, 3), 0);
	assert_int_equal(port->num_host_rings[NM_TX], 64);
	assert_int_equal(port->num_host_rings[NM_RX], 3);
	assert_int_equal(port->rings[NM_TX][64].id, 64);
	assert_int_equal(port->rings[NM_RX][3].num_slots, 16);
	assert_true(port->rings[NM_RX][1].host && !port->rings[NM_RX][0].host);
	assert_int_equal(set_host_rings(port, 65, 3), -EINVAL);
	assert_int_equal(set_host_rings(port, 64, UINT32_MAX), -EINVAL);
	fail_allocation(1);
	assert_int_equal(set_host_rings(port, 64, 2), -ENOMEM);
	fail_allocation(0);
	assert_int_equal(port->num_host_rings[NM_RX], 3);
	nm_core_lock(&core);
	nm_port_pin_locked(port);
	nm_core_unlock(&core);
	assert_int_equal(set_host_rings(port, 1, 1), -EBUSY);
	nm_core_lock(&core);
	nm_port_unpin_locked(port);
	nm_core_unlock(&core);
	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "p", &all), 0);
	assert_int_equal(set_host_rings(port, 1, 1), -EBUSY);
	nm_client_unbind(&client);
	assert_int_equal(set_host_rings(port, 1, 0), 0);
	assert_int_equal(nm_port_all_rings(port, NM_RX), 1);
	fixture_remove(port);
}

/* The first client says how many, where the kind lets it; later ones take what there is. */
static void chosen_host_rings(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_SW, .num_host_rings = {3, 2}};
	struct nm_port_ops choosing = ops;
	struct nm_client first, second;
	struct nm_port *port;
	struct nm_error error;

	choosing.chosen_host_rings = true;
	nm_core_lock(&core);
	port = nm_port_add_locked(&core, "p", &choosing, &one_pair, &error);
	nm_core_unlock(&core);
	nm_client_init(&first, &core);
	nm_client_init(&second, &core);
	assert_int_equal(nm_client_bind(&first, "p", &bind), 0);
	assert_int_equal(first.count[NM_TX], 3);
	assert_int_equal(first.count[NM_RX], 2);
	bind.num_host_rings[NM_TX] = 5;
	assert_int_equal(nm_client_bind(&second, "p", &bind), 0);
	assert_int_equal(second.count[NM_TX], 3);
	nm_client_unbind(&first);
	nm_client_unbind(&second);
	bind.num_host_rings[NM_TX] = 65;
	assert_int_equal(nm_client_bind(&first, "p", &bind), -EINVAL);
	assert_non_null(strstr(first.err.text, "65 tx and 2 rx"));
	bind.num_host_rings[NM_TX] = bind.num_host_rings[NM_RX] = 0; /* as it was */
	assert_int_equal(nm_client_bind(&first, "p", &bind), 0);
	assert_int_equal(first.count[NM_TX], 3);
	nm_client_unbind(&first);
	bind.num_slots[NM_RX] = 32; /* those it may not choose */
	assert_int_equal(nm_client_bind(&first, "p", &bind), 0);
	assert_int_equal(port->num_slots[NM_RX], 16);
	nm_client_unbind(&first);
	fixture_remove(port);
	/* Others have what they were made with. */
	port = add("q", &error);
	bind.mode = NR_REG_ALL_NIC;
	bind.num_host_rings[NM_TX] = 2;
	assert_int_equal(nm_client_bind(&first, "q", &bind), 0);
	assert_int_equal(port->num_host_rings[NM_TX], 0);
	nm_client_unbind(&first);
	fixture_remove(port);
}

/* The same with slots. Numbers that can't be are none; what fails leaves the port as it was. */
static void chosen_slots(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .num_slots = {32, 4096}};
	struct nm_port_ops choosing = ops;
	struct nm_client client;
	struct nm_port *port;
	struct nm_error error;

	choosing.chosen_host_rings = choosing.chosen_slots = choosing.shares_region = true;
	nm_core_lock(&core);
	port = nm_port_add_locked(&core, "p", &choosing, &one_pair, &error);
	nm_core_unlock(&core);
	nm_client_init(&client, &core);
	/* More than a ring of the shared region has room for: a region of its own. */
	assert_int_equal(nm_client_bind(&client, "p", &bind), 0);
	assert_int_not_equal(port->region->id, NM_REGION_SHARED_ID);
	assert_int_equal(port->rings[NM_TX][0].shared->num_slots, 32);
	assert_int_equal(port->rings[NM_RX][0].shared->num_slots, 4096);
	nm_client_unbind(&client);
	bind.num_slots[NM_TX] = 1;
	bind.num_slots[NM_RX] = NM_SLOTS_MAX + 1;
	assert_int_equal(nm_client_bind(&client, "p", &bind), 0);
	assert_int_equal(port->num_slots[NM_TX], 32);
	assert_int_equal(port->num_slots[NM_RX], 4096);
	nm_client_unbind(&client);
	bind.num_slots[NM_TX] = bind.num_slots[NM_RX] = 64;
	fail_allocation(2); /* the rings of the other direction */
	assert_int_equal(nm_client_bind(&client, "p", &bind), -ENOMEM);
	fail_allocation(0);
	assert_int_equal(port->num_slots[NM_TX], 32);
	assert_int_equal(nm_client_bind(&client, "p", &bind), 0);
	assert_int_equal(port->region->id, NM_REGION_SHARED_ID);
	assert_int_equal(port->num_slots[NM_TX], 64);
	nm_client_unbind(&client);
	fixture_remove(port);
}

static void bind_in(struct nm_client *client, void *ns, const char *name)
{
	nm_client_init(client, &core);
	client->ns = ns;
	assert_int_equal(nm_client_bind(client, name, &all), 0);
}

/* The same names in two namespaces are other switches, ports and pipes. */
static void namespaces(void **state)
{
	static const char *const names[] = {"vale0:x", "p{1", "vale0:x{1"};
	char name[NETMAP_REQ_IFNAMSIZ];
	struct nm_client a, b, c;
	uint32_t sw, number;
	int here, there;

	for (uint32_t i = 0; i < 3; i++) {
		bind_in(&a, &here, names[i]);
		bind_in(&b, &there, names[i]);
		bind_in(&c, &here, names[i]);
		assert_ptr_equal(a.port, c.port);
		assert_ptr_not_equal(a.port, b.port);
		nm_core_lock(&core);
		assert_ptr_equal(nm_port_find_in_locked(&core, &here, names[i]), a.port);
		assert_ptr_equal(nm_port_find_in_locked(&core, &there, names[i]), b.port);
		assert_null(nm_port_find_locked(&core, names[i]));
		nm_core_unlock(&core);
		nm_client_unbind(&a);
		nm_client_unbind(&b);
		nm_client_unbind(&c);
	}
	/* Each sees its own switches, numbered from 0. */
	bind_in(&a, &here, "vale0:x");
	bind_in(&b, &there, "vale1:y");
	nm_core_lock(&core);
	name[0] = '\0';
	sw = number = 0;
	assert_int_equal(nm_vale_list_locked(&core, &there, name, &sw, &number), 0);
	assert_string_equal(name, "vale1:y");
	assert_int_equal(sw, 0);
	name[0] = '\0';
	sw = 1;
	assert_int_equal(nm_vale_list_locked(&core, &there, name, &sw, &number), -ENOENT);
	assert_int_equal(nm_vale_flush_locked(&core, &there, "vale0"), -ENOENT);
	nm_core_unlock(&core);
	nm_client_unbind(&a);
	nm_client_unbind(&b);
}

/* A pipe is known by its port, whatever that is called meanwhile, and whoever has its old name. */
static void pipes_of_a_renamed_port(void **state)
{
	struct nm_client master, slave, other;
	struct nm_port *port, *another;
	struct nm_error error;

	port = add("p", &error);
	bind_in(&master, NULL, "p{1");
	nm_core_lock(&core);
	assert_int_equal(nm_port_rename_locked(port, "q"), 0);
	nm_core_unlock(&core);
	another = add("p", &error);
	bind_in(&slave, NULL, "q}1");
	bind_in(&other, NULL, "p{1");
	assert_ptr_equal(slave.port->peer, master.port);
	assert_ptr_not_equal(other.port, master.port);
	assert_ptr_equal(other.port->parent, another);
	assert_string_equal(master.port->name, "q{1");
	assert_string_equal(slave.port->name, "q}1");
	nm_client_unbind(&master);
	nm_client_unbind(&slave);
	nm_client_unbind(&other);
	fixture_remove(port);
	fixture_remove(another);
}

/* Names of ports that aren't found by name are free, and found is the other one. */
static void unnamed(void **state)
{
	struct nm_port *a, *b, *c;
	struct nm_error error;

	nm_core_lock(&core);
	a = nm_port_add_unnamed_locked(&core, "x", &ops, &one_pair, &error);
	b = nm_port_add_unnamed_locked(&core, "x", &ops, &one_pair, &error);
	c = nm_port_add_locked(&core, "x", &ops, &one_pair, &error);
	assert_true(a && b && c);
	assert_ptr_equal(nm_port_find_locked(&core, "x"), c);
	nm_port_remove_locked(c);
	assert_null(nm_port_find_locked(&core, "x"));
	nm_port_remove_locked(a);
	nm_port_remove_locked(b);
	assert_null(nm_port_add_unnamed_locked(&core, "", &ops, &one_pair, &error));
	assert_int_equal(error.code, -EINVAL);
	nm_core_unlock(&core);
}

/* A core goes with pipes that nobody uses any more, and their parents. */
static void a_core_with_pins(void **state)
{
	struct nm_client client;

	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "x{1", &all), 0);
	nm_core_lock(&core);
	nm_port_pin_locked(client.port); /* a monitor, say */
	nm_core_unlock(&core);
	nm_client_unbind(&client);
	assert_int_equal(core_count_ports(&core), 3);
	nm_core_lock(&core);
	nm_port_unpin_locked(core.ports->pins ? core.ports : core.ports->next);
	nm_core_unlock(&core);
	core_check_empty(&core);
}

/* ---- status --------------------------------------------------------------------------------------------------- */

struct seen {
	char text[256];
};

static void see(
	void *arg, const void *ns, const char *name, uint32_t index, uint32_t ports, uint32_t macs)
{
	struct seen *seen = arg;
	size_t len = strlen(seen->text);

	snprintf(seen->text + len, sizeof(seen->text) - len, "%s#%u:%u,%u ", name, index, ports,
		macs);
}

static void status_of_switches(void **state)
{
	struct seen seen = {""};
	struct app a, b, c;
	uint8_t frame[60];
	struct prng r = prng_new(1);

	app_open(&core, &a, &(struct app_config){"vale0:a", 2048});
	app_open(&core, &b, &(struct app_config){"vale1:b", 2048});
	app_open(&core, &c, &(struct app_config){"vale1:c", 2048});
	for (uint32_t src = 1; src <= 5; src++) {
		make_frame(frame, 60, 0, NM_TEST_BROADCAST, src, &r);
		assert_true(app_put(&b, 0, frame, 60, 0));
	}
	app_txsync(&b, 0);
	nm_core_lock(&core);
	nm_vale_each_locked(&core, see, &seen);
	nm_core_unlock(&core);
	assert_string_equal(seen.text, "vale1#1:2,5 vale0#0:1,0 ");
	app_close(&a);
	app_close(&b);
	app_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_in_the_registry, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(shapes, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(add_without_memory, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(the_platform_is_asked, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(first_and_last_client, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(a_start_that_fails, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(who_may_have_it, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(no_netmap_if_no_start, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(a_foreign_region, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(foreign_memory_is_not_shared, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(removed_with_clients, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(held_while_restarted, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(held, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(unnamed, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(host_rings, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(chosen_host_rings, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(chosen_slots, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(namespaces, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(pipes_of_a_renamed_port, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(a_core_with_pins, begin_kind, core_end),
		cmocka_unit_test_setup_teardown(status_of_switches, begin_kind, core_end),
	};

	test_seed();
	return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
