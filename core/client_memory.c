/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory for the rings and buffers of a port, and the way back. */
#include "bufown.h"
#include "client_internal.h"
#include "monitor.h"
#include "quota.h"

int nm_memory_pool_error(
	struct nm_client *client, const struct nm_port *port, enum nm_pool pool, uint64_t wanted)
{
	const struct nm_platform_ops *platform = client->core->platform_ops;
	const struct nm_region *region = port->region;
	const char *more =
		platform && platform->more_objects ? platform->more_objects(region, pool) : NULL;

	if (region->external)
		more = "a larger external memory";
	return nm_error_set(&client->err, -ENOMEM,
		"%s: %s pool of region %u is too small: %llu wanted, %u of %u free; use fewer rings or slots%s%s",
		port->name, nm_pool_name(pool), region->id, (unsigned long long)wanted,
		nm_bufown_num_free(region, pool), region->pool[pool].count,
		more ? ", or have more with " : "", more ? more : "");
}

/* ---- rings --------------------------------------------------------------------------- */

static void init_slot(const struct nm_ring *ring, struct netmap_slot *slot, uint32_t index)
{
	memset(slot, 0, sizeof(*slot));
	slot->buf_idx = index;
	slot->ptr = ring->port->offsets.initial;
}

/* The shared side of a ring but its slots: geometry. */
static void init_shared(const struct nm_ring *ring)
{
	const struct nm_region *region = ring->region;
	struct netmap_ring *shared = ring->shared;
	uint64_t offset = (uint64_t)((char *)shared - region->base);

	memset(shared, 0, sizeof(*shared));
	*(int64_t *)(uintptr_t)&shared->buf_ofs =
		(int64_t)(region->pool[NM_POOL_BUF].offset - offset);
	*(uint32_t *)(uintptr_t)&shared->num_slots = ring->num_slots;
	*(uint32_t *)(uintptr_t)&shared->nr_buf_size = region->pool[NM_POOL_BUF].size;
	*(uint16_t *)(uintptr_t)&shared->ringid = ring->id;
	*(uint16_t *)(uintptr_t)&shared->dir = ring->dir;
	shared->offset_mask = ring->offset_mask;
	shared->buf_align = ring->port->offsets.align;
}

/* Slots from *at on get buffers that are promised to `port`. */
static void fill_slots(struct nm_port *port, struct nm_ring *ring, uint32_t *at, uint32_t *most)
	OS_REQUIRES(NM_CORE_LOCK)
{
	for (; *at<ring->num_slots && * most> 0; (*at)++, (*most)--) {
		os_assert(port->promised > 0);
		port->promised--;
		init_slot(ring, &ring->slots[*at],
			nm_bufown_alloc_promised(ring->region, ring->port->owner));
	}
}

static int promise(struct nm_client *client, struct nm_port *port, uint64_t bufs)
	OS_REQUIRES(NM_CORE_LOCK)
{
	if (bufs > UINT32_MAX || nm_bufown_promise(port->region, (uint32_t)bufs) != 0)
		return nm_memory_pool_error(client, port, NM_POOL_BUF, bufs);
	port->promised += (uint32_t)bufs;
	return 0;
}

static void end_promise(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	if (port->region)
		nm_bufown_unpromise(port->region, port->promised);
	port->promised = 0;
}

static int check_slots(struct nm_client *client, const struct nm_ring *ring)
{
	const struct nm_port *port = ring->port;
	uint32_t size = port->region->pool[NM_POOL_RING].size;

	if (nm_ring_bytes(ring->num_slots) <= size)
		return 0;
	return nm_error_set(&client->err, -ENOMEM,
		"%s: %u slots per ring wanted; a ring object of region %u has room for %llu",
		port->name, ring->num_slots, port->region->id,
		(unsigned long long)((size - sizeof(struct netmap_ring)) /
				     sizeof(struct netmap_slot)));
}

static int setup_ring(struct nm_client *client, struct nm_ring *ring) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *port = ring->port;
	struct nm_region *region = port->region;
	uint32_t index;
	int error = check_slots(client, ring);

	if (error)
		return error;
	if (nm_bufown_alloc(region, NM_POOL_RING, port->owner, &index) != 0)
		return nm_memory_pool_error(client, port, NM_POOL_RING, 1);
	ring->region = region;
	ring->shared = nm_region_object(region, NM_POOL_RING, index);
	ring->slots = ring->shared->slot;
	ring->offset_mask = port->offsets.mask;
	init_shared(ring);
	memset(&ring->stats, 0, sizeof(ring->stats));
	nm_ring_restart(ring);
	return 0;
}

static void each_ring(struct nm_port *port, void (*fn)(struct nm_ring *ring, void *arg), void *arg)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			fn(&port->rings[dir][i], arg);
}

/* ---- giving and taking ------------------------------------------------------------------ */

static void forget_ring(struct nm_ring *ring, void *arg)
{
	if (!nm_ring_is_given(ring))
		return;
	nm_monitor_keep_off(ring);
	ring->shared = NULL;
	ring->region = NULL;
	ring->offset_mask = 0;
}

/* For a part of a region that is there for all: see pay_for_part(). */
static void give_back(struct nm_port *port)
{
	nm_quota_give(port->memory_payer, NM_RES_MEMORY, port->memory_paid);
	port->memory_payer = NULL;
	port->memory_paid = 0;
}

static void release_one(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	if (port->held_owner && port->held_kept)
		nm_bufown_keep_sent(port);
	else if (port->held_owner)
		nm_bufown_free_owner(port->region, port->held_owner);
	port->held_owner = 0;
	port->held_kept = false;
	nm_bufown_free_port(port);
	each_ring(port, forget_ring, NULL);
	memset(&port->offsets, 0, sizeof(port->offsets));
	if (!port->own_memory)
		return; /* the rest came with the port */
	nm_region_put(port->region);
	port->region = NULL;
	port->own_memory = false;
}

void nm_memory_release(struct nm_port *port)
{
	struct nm_port *peer = port->peer;
	struct nm_region *region = port->region;

	end_promise(port);
	if (region) {
		nm_region_get(region);
		if (!nm_port_is_being_made(port)) /* nobody has exchanged anything yet */
			nm_bufown_reconcile_region(region, port);
		release_one(port);
		if (peer && peer->region)
			release_one(peer);
		nm_region_put(region);
	}
	give_back(port);
	if (peer)
		give_back(peer);
	memset(&port->offsets, 0, sizeof(port->offsets));
	if (peer)
		memset(&peer->offsets, 0, sizeof(peer->offsets));
}

/* The buffers are promised then. */
static int take_pools(struct nm_client *client, struct nm_port *port, uint64_t rings, uint64_t bufs)
	OS_REQUIRES(NM_CORE_LOCK)
{
	if (rings > nm_bufown_num_free(port->region, NM_POOL_RING))
		return nm_memory_pool_error(client, port, NM_POOL_RING, rings);
	return promise(client, port, bufs);
}

/* Before anything else is taken, so that the text can say what is wanted in all. */
static int take_room(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	uint64_t rings, bufs;
	int error = 0;

	for (int dir = 0; dir < NM_DIRS && !error; dir++)
		if (nm_port_all_rings(port, dir) > 0)
			error = check_slots(client, &port->rings[dir][0]);
	if (error)
		return error;
	nm_client_region_need(port, &rings, &bufs);
	return take_pools(client, port, rings, bufs);
}

/* For what it takes of a region that is there for all: that is memory that others don't get. */
static int pay_for_part(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	const struct nm_pool_geometry *pool = port->region->pool;
	uint64_t rings, bufs, bytes;
	int error;

	if (!port->region->shared)
		return 0;
	nm_client_region_need(port, &rings, &bufs);
	bytes = rings * pool[NM_POOL_RING].size + bufs * pool[NM_POOL_BUF].size;
	error = nm_quota_take(client->core->payer, NM_RES_MEMORY, bytes, &client->err);
	if (error)
		return error;
	port->memory_payer = client->core->payer;
	port->memory_paid = bytes;
	return 0;
}

static int setup_rings(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	int error = 0;

	for (int dir = 0; dir < NM_DIRS && !error; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir) && !error; i++)
			error = setup_ring(client, &port->rings[dir][i]);
	return error;
}

/* What the device has in its hands, besides what is in slots: of what was promised to the port. */
static void take_held(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	if (port->held_bufs == 0)
		return;
	os_assert(port->promised >= port->held_bufs);
	port->held_owner = NM_OWNER_FIXED | nm_core_new_owner(client->core);
	for (uint32_t i = 0; i < port->held_bufs; i++, port->promised--)
		(void)nm_bufown_alloc_promised(port->region, port->held_owner);
}

int nm_memory_take(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
{
	struct nm_port *peer = port->peer;
	int error;

	if (port->region)
		return 0; /* the kind brings its rings, or the peer has its memory already */
	port->region = nm_client_region_choose(client, port, bind);
	if (!port->region)
		return client->err.code;
	port->own_memory = true;
	if (peer) {
		nm_region_get(port->region);
		peer->region = port->region;
		peer->own_memory = true;
	}
	error = take_room(client, port);
	if (!error)
		error = pay_for_part(client, port);
	if (!error)
		error = setup_rings(client, port);
	if (!error && peer)
		error = setup_rings(client, peer);
	if (!error) {
		take_held(client, port);
		client->fill = (struct nm_fill){.port = port};
		return 0;
	}
	nm_memory_release(port);
	return error;
}

/* The next ring that is to be filled, from fill->ring on; NULL: there is none in this port. */
static struct nm_ring *ring_to_fill(struct nm_fill *fill)
{
	for (; fill->dir < NM_DIRS; fill->dir++, fill->ring = 0)
		if (fill->ring < nm_port_all_rings(fill->port, (enum nm_dir)fill->dir))
			return &fill->port->rings[fill->dir][fill->ring];
	return NULL;
}

bool nm_memory_fill(struct nm_client *client, uint32_t *most)
{
	struct nm_fill *fill = &client->fill;
	struct nm_port *first = client->port;

	while (fill->port && *most > 0) {
		struct nm_ring *ring = ring_to_fill(fill);

		if (!ring) {
			*fill = (struct nm_fill){.port = fill->port == first ? first->peer : NULL};
			continue;
		}
		fill_slots(first, ring, &fill->slot, most);
		if (fill->slot == ring->num_slots) {
			fill->slot = 0;
			fill->ring++;
		}
	}
	return fill->port != NULL;
}

/* The next of the client's host rings, from number *i of those in a direction, without memory. */
static struct nm_ring *next_host_ring(
	const struct nm_client *client, struct nm_port *port, enum nm_dir dir, uint32_t *i)
{
	while (*i < client->count[dir]) {
		struct nm_ring *ring = &port->rings[dir][client->first[dir] + (*i)++];

		if (ring->host && !ring->shared)
			return ring;
	}
	return NULL;
}

/* All or none: memory that is there can be had, under core->lock. */
static int take_host_rings(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	uint64_t rings = 0, bufs = 0;

	for (int dir = 0; dir < NM_DIRS; dir++) {
		const struct nm_ring *ring;

		for (uint32_t i = 0; (ring = next_host_ring(client, port, dir, &i));) {
			int error = check_slots(client, ring);

			if (error)
				return error;
			rings++;
			bufs += ring->num_slots;
		}
	}
	return take_pools(client, port, rings, bufs);
}

static int setup_host_ring(struct nm_client *client, struct nm_port *port, struct nm_ring *ring)
	OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t at = 0, most = ring->num_slots;
	int error = setup_ring(client, ring);

	if (!error)
		fill_slots(port, ring, &at, &most);
	return error;
}

int nm_memory_take_host_rings(struct nm_client *client, struct nm_port *port)
{
	int error = take_host_rings(client, port);

	for (int dir = 0; dir < NM_DIRS && !error; dir++) {
		struct nm_ring *ring;

		for (uint32_t i = 0; !error && (ring = next_host_ring(client, port, dir, &i));)
			error = setup_host_ring(client, port, ring);
	}
	end_promise(port);
	return error;
}

/* ---- rings that change hands ---------------------------------------------------------- */

/* No thread is in a sync of its rings but the client's, for which the caller answers. */
static void assert_only_user(const struct nm_client *client)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < client->count[dir]; i++)
			os_assert(nm_client_ring(client, dir, i)->users == 1);
}

static void renew_rings(struct nm_client *client, bool empty) OS_REQUIRES(NM_CORE_LOCK)
{
	assert_only_user(client);
	nm_bufown_repair_port(client->port, client, empty);
}

void nm_client_repair_rings(struct nm_client *client)
{
	nm_core_lock(client->core);
	if (client->port && !client->port->guest_part)
		renew_rings(client, false);
	nm_core_unlock(client->core);
}

void nm_client_reset_rings(struct nm_client *client)
{
	nm_core_lock(client->core);
	if (client->port && client->port->own_memory)
		renew_rings(client, true);
	nm_core_unlock(client->core);
}
