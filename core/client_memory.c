/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory for the rings and buffers of a port, whose buffer is which, and the way back. */
#include "client_internal.h"

int nm_pool_error(
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
		region->free_count[pool], region->pool[pool].count,
		more ? ", or have more with " : "", more ? more : "");
}

/* ---- rings --------------------------------------------------------------------------- */

struct nm_ring *nm_ring_guard(struct nm_ring *ring)
{
	struct nm_port *peer = ring->port->peer;

	if (ring->dir == NM_TX && peer)
		return &peer->rings[NM_RX][ring->id];
	return ring;
}

/* An empty ring: tx may fill all slots but one, rx has received nothing. */
static void clear_ring(struct nm_ring *ring) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	const struct nm_port_ops *ops = ring->port->ops;

	ring->head = ring->cur = ring->hwcur = 0;
	ring->dropping = 0;
	ring->tail = ring->dir == NM_TX ? ring->num_slots - 1 : 0;
	ring->produce.hwtail = ring->tail;
	ring->produce.hwcur_seen = 0;
	if (ops->ring_reset)
		ops->ring_reset(ring);
	nm_ring_reset_shared(ring);
}

void nm_ring_restart(struct nm_ring *ring)
{
	nm_produce_lock(nm_ring_guard(ring));
	clear_ring(ring);
	nm_produce_unlock(nm_ring_guard(ring));
}

static void init_slot(const struct nm_ring *ring, struct netmap_slot *slot, uint32_t index)
{
	memset(slot, 0, sizeof(*slot));
	slot->buf_idx = index;
	slot->ptr = ring->port->offsets.initial;
}

/* Fills the shared side of a ring: geometry, slots with buffers. */
static int fill_ring(struct nm_client *client, struct nm_ring *ring) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region *region = ring->region;
	struct netmap_ring *shared = ring->shared;
	uint64_t offset = (uint64_t)((char *)shared - region->base);

	memset(shared, 0, region->pool[NM_POOL_RING].size);
	*(int64_t *)(uintptr_t)&shared->buf_ofs =
		(int64_t)(region->pool[NM_POOL_BUF].offset - offset);
	*(uint32_t *)(uintptr_t)&shared->num_slots = ring->num_slots;
	*(uint32_t *)(uintptr_t)&shared->nr_buf_size = region->pool[NM_POOL_BUF].size;
	*(uint16_t *)(uintptr_t)&shared->ringid = ring->id;
	*(uint16_t *)(uintptr_t)&shared->dir = ring->dir;
	shared->offset_mask = ring->offset_mask;
	shared->buf_align = ring->port->offsets.align;
	for (uint32_t i = 0; i < ring->num_slots; i++) {
		uint32_t index;

		if (nm_region_alloc(region, NM_POOL_BUF, ring->port->owner, &index) != 0)
			return nm_pool_error(client, ring->port, NM_POOL_BUF, ring->num_slots - i);
		init_slot(ring, &ring->slots[i], index);
	}
	return 0;
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
	if (nm_region_alloc(region, NM_POOL_RING, port->owner, &index) != 0)
		return nm_pool_error(client, port, NM_POOL_RING, 1);
	ring->region = region;
	ring->shared = nm_region_object(region, NM_POOL_RING, index);
	ring->slots = ring->shared->slot;
	ring->offset_mask = port->offsets.mask;
	error = fill_ring(client, ring);
	if (error)
		return error;
	memset(&ring->stats, 0, sizeof(ring->stats));
	nm_ring_restart(ring);
	return 0;
}

/* Rings whose memory the core gave: all of a port of ours, host rings of one that brings the rest. */
static bool is_ours(const struct nm_ring *ring)
{
	return ring->shared && (ring->port->own_memory || ring->host);
}

static void each_ring(struct nm_port *port, void (*fn)(struct nm_ring *ring, void *arg), void *arg)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			fn(&port->rings[dir][i], arg);
}

/* ---- owners -------------------------------------------------------------------------- */

struct shown {
	uint32_t *buf;
	uint32_t count, room;
	bool ours; /* of rings whose memory the core gave; else of those that came with the port */
};

static void collect_shown(struct nm_ring *ring, void *arg)
{
	struct shown *shown = arg;

	if (!ring->slots || is_ours(ring) != shown->ours)
		return;
	for (uint32_t i = 0; i < ring->num_slots && shown->count < shown->room; i++)
		shown->buf[shown->count++] = nm_slot_load(&ring->slots[i]).buf_idx;
}

static uint32_t slots_of(const struct nm_port *port)
{
	uint32_t slots = 0;

	for (int dir = 0; dir < NM_DIRS; dir++)
		slots += nm_port_all_rings(port, dir) * port->num_slots[dir];
	return slots;
}

static void settle_rings(struct nm_port *port, uint32_t owner, struct shown *shown, bool ours)
	OS_REQUIRES(NM_CORE_LOCK)
{
	shown->ours = ours;
	shown->count = 0;
	each_ring(port, collect_shown, shown);
	if (shown->count > 0)
		nm_region_settle(port->region, owner, shown->buf, shown->count);
}

/* The port gets what its slots show. Without memory for that the map alone decides: safe, but
 * exchanged buffers stay exchanged. */
static void settle_port(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct shown shown = {.room = slots_of(port)};

	if (shown.room == 0)
		return;
	shown.buf = os_zalloc((size_t)shown.room * sizeof(uint32_t));
	if (!shown.buf)
		return;
	settle_rings(port, port->wire_owner, &shown, false);
	settle_rings(port, port->owner, &shown, true);
	os_free(shown.buf);
}

/*
 * What a port that leaves shows is taken for its own, before the others take what they show. So what
 * it has got for buffers of its own is not left with somebody else's in their place, and freed
 * in their stead, which an application may keep to itself.
 */
static void settle_leaving(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	if (port && port->region && !port->dead)
		settle_port(port);
}

/* Clients get what their lists show, as far as no slot shows it: those come afterwards. For an
 * application that has taken buffers off its list need not keep it up to date. */
static void settle_lists(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t most = 0, *shown;

	for (const struct nm_client *c = port->client_list; c; c = c->next)
		if (c->extra_bufs > most)
			most = c->extra_bufs;
	shown = most > 0 ? os_zalloc((size_t)most * sizeof(uint32_t)) : NULL;
	if (!shown)
		return;
	for (const struct nm_client *c = port->client_list; c; c = c->next)
		if (c->extra_bufs > 0)
			nm_region_settle(
				port->region, c->owner, shown, nm_nifp_list_extra(c, shown));
	os_free(shown);
}

static void settle_all_lists(const struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK)
{
	for (struct nm_port *port = region->core->ports; port; port = port->next)
		if (port->region == region && !port->dead)
			settle_lists(port);
}

/* A port that is not started moves nothing, and stays as it is. */
void nm_memory_pause(const struct nm_region *region, bool on)
{
	for (struct nm_port *port = region->core->ports; port; port = port->next)
		if (port->region == region && port->ops->pause && !port->dead &&
			(port->clients > 0 || (port->peer && port->peer->clients > 0)))
			port->ops->pause(port, on);
}

/* The region's pipes are paused, and lists were settled. */
static void settle_paused(struct nm_region *region, const struct nm_port *leaving,
	const struct nm_port *too) OS_REQUIRES(NM_CORE_LOCK)
{
	for (struct nm_port *port = region->core->ports; port; port = port->next)
		if (port->region == region && !port->dead && port != leaving && port != too)
			settle_port(port);
}

void nm_memory_settle(struct nm_region *region, struct nm_port *leaving)
{
	nm_memory_pause(region, true);
	settle_all_lists(region);
	settle_leaving(leaving);
	settle_leaving(leaving ? leaving->peer : NULL);
	settle_paused(region, leaving, leaving ? leaving->peer : NULL);
	nm_memory_pause(region, false);
}

void nm_memory_settle_extra(struct nm_client *leaving)
{
	struct nm_region *region = leaving->port->region;
	uint32_t *shown;

	if (leaving->extra_bufs == 0)
		return;
	shown = os_zalloc((size_t)leaving->extra_bufs * sizeof(uint32_t));
	if (!shown)
		return;
	nm_memory_pause(region, true);
	nm_region_settle(region, leaving->owner, shown, nm_nifp_list_extra(leaving, shown));
	nm_memory_pause(region, false);
	os_free(shown);
}

void nm_port_settle_others_locked(struct nm_port *leaving)
{
	if (leaving->region)
		nm_memory_settle(leaving->region, leaving);
}

void nm_region_settle_all_locked(struct nm_core *core, struct nm_region *region)
{
	nm_memory_settle(region, NULL);
}

/*
 * A port that brought its rings shows a buffer that was set aside, and whose owner goes: nothing
 * of its own can be given in exchange, the host's buffers being the host's. It becomes the
 * port's, until the port gives its rings back.
 */
static void keep_shown(struct nm_ring *ring, void *arg)
{
	const struct nm_port *leaving = arg;
	struct nm_region *region = leaving->region;
	uint32_t *owner = region->owner[NM_POOL_BUF];

	if (!ring->slots)
		return;
	for (uint32_t i = 0; i < ring->num_slots; i++) {
		uint32_t index = nm_slot_load(&ring->slots[i]).buf_idx;

		if (nm_region_buf_valid(region, index) && owner[index] == leaving->owner)
			owner[index] = ring->port->owner;
	}
}

static void free_objects(struct nm_port *leaving) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region *region = leaving->region;

	for (struct nm_port *p = leaving->core->ports; p; p = p->next)
		if (region->foreign && region->owner[NM_POOL_BUF] && p->region == region &&
			!p->own_memory && !p->wire_owner && p != leaving && !p->dead &&
			p->clients > 0)
			each_ring(p, keep_shown, leaving);
	nm_region_free_owner(region, leaving->owner);
}

/* ---- giving and taking ------------------------------------------------------------------ */

static void forget_ring(struct nm_ring *ring, void *arg)
{
	if (!is_ours(ring))
		return;
	ring->shared = NULL;
	ring->slots = NULL;
	ring->region = NULL;
	ring->offset_mask = 0;
}

static void release_one(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	free_objects(port);
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

	if (region) {
		nm_region_get(region);
		nm_memory_pause(region, true);
		settle_all_lists(region);
		settle_leaving(port);
		settle_leaving(peer);
		settle_paused(region, port, peer);
		release_one(port);
		if (peer && peer->region)
			release_one(peer);
		nm_memory_pause(region, false);
		nm_region_put(region);
	}
	memset(&port->offsets, 0, sizeof(port->offsets));
	if (peer)
		memset(&peer->offsets, 0, sizeof(peer->offsets));
}

static int check_pools(struct nm_client *client, const struct nm_port *port, uint64_t rings,
	uint64_t bufs) OS_REQUIRES(NM_CORE_LOCK)
{
	if (rings > port->region->free_count[NM_POOL_RING])
		return nm_pool_error(client, port, NM_POOL_RING, rings);
	if (bufs > port->region->free_count[NM_POOL_BUF])
		return nm_pool_error(client, port, NM_POOL_BUF, bufs);
	return 0;
}

/* Before anything is taken, so that the text can say what is wanted in all. */
static int check_room(struct nm_client *client, const struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
{
	uint64_t rings, bufs;
	int error = 0;

	for (int dir = 0; dir < NM_DIRS && !error; dir++)
		if (nm_port_all_rings(port, dir) > 0)
			error = check_slots(client, &port->rings[dir][0]);
	if (error)
		return error;
	nm_region_need(port, &rings, &bufs);
	return check_pools(client, port, rings, bufs);
}

static int setup_rings(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	int error = 0;

	for (int dir = 0; dir < NM_DIRS && !error; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir) && !error; i++)
			error = setup_ring(client, &port->rings[dir][i]);
	return error;
}

int nm_memory_take(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
{
	struct nm_port *peer = port->peer;
	int error = 0;

	if (port->region)
		return 0; /* the kind brings its rings, or the peer has its memory already */
	port->region = nm_region_choose(client, port, bind, &error);
	if (!port->region)
		return error;
	port->own_memory = true;
	if (peer) {
		nm_region_get(port->region);
		peer->region = port->region;
		peer->own_memory = true;
	}
	error = check_room(client, port);
	if (!error)
		error = setup_rings(client, port);
	if (!error && peer)
		error = setup_rings(client, peer);
	if (!error)
		return 0;
	if (bind->extmem) /* stays the caller's after a failure */
		port->region->mem = NULL;
	nm_memory_release(port);
	return error;
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
static int check_host_rings(struct nm_client *client, struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
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
	return check_pools(client, port, rings, bufs);
}

int nm_memory_take_host_rings(struct nm_client *client, struct nm_port *port)
{
	int error = check_host_rings(client, port);

	for (int dir = 0; dir < NM_DIRS && !error; dir++) {
		struct nm_ring *ring;

		for (uint32_t i = 0; !error && (ring = next_host_ring(client, port, dir, &i));)
			error = setup_ring(client, ring);
	}
	return error;
}

/* ---- repair -------------------------------------------------------------------------- */

struct repair {
	struct nm_port *port;
	uint8_t *seen;                  /* per buffer; NULL: none */
	uint32_t next;                  /* buffers below have been looked at */
	const struct nm_client *client; /* its rings; NULL: those that nobody uses */
};

static bool has_ring(const struct nm_client *client, const struct nm_ring *ring)
{
	const struct nm_ring *first = nm_client_ring(client, ring->dir, 0);

	return ring >= first && ring < first + client->count[ring->dir];
}

static bool wants_repair(const struct repair *r, const struct nm_ring *ring)
{
	return is_ours(ring) && (r->client ? has_ring(r->client, ring) : ring->users == 0);
}

/* Rings that stay as they are first: what they show is theirs. */
static void see_used(struct nm_ring *ring, void *arg)
{
	struct repair *r = arg;

	if (!ring->slots || wants_repair(r, ring))
		return;
	for (uint32_t i = 0; i < ring->num_slots; i++) {
		uint32_t index = nm_slot_load(&ring->slots[i]).buf_idx;

		if (nm_region_buf_valid(r->port->region, index))
			r->seen[index] = 1;
	}
}

/* Then the good slots of the others; the bad ones are marked by buffer 0. */
static void see_unused(struct nm_ring *ring, void *arg)
{
	struct repair *r = arg;
	const uint32_t *owner = r->port->region->owner[NM_POOL_BUF];

	if (!wants_repair(r, ring))
		return;
	for (uint32_t i = 0; i < ring->num_slots; i++) {
		uint32_t index = nm_slot_load(&ring->slots[i]).buf_idx;

		if (nm_region_buf_valid(r->port->region, index) && owner[index] == r->port->owner &&
			!r->seen[index])
			r->seen[index] = 1;
		else
			OS_STORE(&ring->slots[i].buf_idx, 0);
	}
}

/* A port owns one buffer per slot of its own, and each slot that is seen takes one at most: so there
 * is one for each bad slot. */
static uint32_t next_unseen(struct repair *r)
{
	const struct nm_region *region = r->port->region;

	for (; r->next < region->pool[NM_POOL_BUF].count; r->next++)
		if (region->owner[NM_POOL_BUF][r->next] == r->port->owner &&
			!(r->seen && r->seen[r->next]))
			return r->next++;
	return 0;
}

static void mend_slots(struct nm_ring *ring, void *arg)
{
	struct repair *r = arg;
	uint32_t size = r->port->region->pool[NM_POOL_BUF].size;

	if (!wants_repair(r, ring))
		return;
	nm_produce_lock(nm_ring_guard(ring));
	for (uint32_t i = 0; i < ring->num_slots; i++) {
		struct netmap_slot *slot = &ring->slots[i];
		struct nm_slot_copy copy = nm_slot_load(slot);
		uint64_t offset = nm_slot_offset(ring, slot);

		if (copy.buf_idx == 0)
			OS_STORE(&slot->buf_idx, next_unseen(r));
		if (copy.buf_idx == 0 || copy.len > size || offset > size - copy.len) {
			OS_STORE(&slot->len, 0);
			OS_STORE(&slot->ptr, r->port->offsets.initial);
		}
	}
	nm_produce_unlock(nm_ring_guard(ring));
}

/* The region is reconciled, and what rings that stay as they are show is known. False: no memory; then
 * packets in bad slots are dropped and counted. */
static bool begin_repair(struct repair *r, struct nm_port *port, const struct nm_client *client)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region *region = port->region;

	*r = (struct repair){.port = port, .next = NM_BUFS_RESERVED, .client = client};
	r->seen = os_zalloc(region->pool[NM_POOL_BUF].count);
	if (!r->seen)
		return false;
	nm_memory_pause(region, true);
	settle_all_lists(region);
	if (client)
		settle_leaving(port);
	settle_paused(region, client ? port : NULL, NULL);
	each_ring(port, see_used, r);
	return true;
}

static void end_repair(struct repair *r) OS_REQUIRES(NM_CORE_LOCK)
{
	nm_memory_pause(r->port->region, false);
	os_free(r->seen);
}

static void repair_rings(struct nm_port *port, const struct nm_client *client)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct repair r;

	if (!port->region || !port->region->owner[NM_POOL_BUF] || port->dead)
		return;
	if (!begin_repair(&r, port, client))
		return;
	each_ring(port, see_unused, &r);
	each_ring(port, mend_slots, &r);
	end_repair(&r);
}

void nm_memory_repair(struct nm_port *port)
{
	repair_rings(port, NULL);
}

/* Nobody but the client, which the caller answers for, is in a sync of its rings. */
static void assert_only_user(struct nm_ring *ring, void *arg)
{
	const struct nm_client *client = arg;

	os_assert(!has_ring(client, ring) || ring->users == 1);
}

void nm_client_repair_rings(struct nm_client *client)
{
	nm_core_lock(client->core);
	if (client->port && !client->port->guest_part) {
		each_ring(client->port, assert_only_user, client);
		repair_rings(client->port, client);
	}
	nm_core_unlock(client->core);
}

/* ---- reset --------------------------------------------------------------------------- */

static void refill_ring(struct nm_ring *ring, void *arg)
{
	struct repair *r = arg;

	if (!wants_repair(r, ring))
		return;
	nm_produce_lock(nm_ring_guard(ring));
	for (uint32_t i = 0; i < ring->num_slots; i++)
		init_slot(ring, &ring->slots[i], next_unseen(r));
	clear_ring(ring);
	nm_produce_unlock(nm_ring_guard(ring));
}

void nm_client_reset_rings(struct nm_client *client)
{
	struct nm_port *port = client->port;
	struct repair r;

	nm_core_lock(client->core);
	if (port && port->region && port->own_memory && !port->dead) {
		each_ring(port, assert_only_user, client);
		if (begin_repair(&r, port, client)) {
			each_ring(port, refill_ring, &r);
			end_repair(&r);
		}
	}
	nm_core_unlock(client->core);
}
