/* SPDX-License-Identifier: BSD-2-Clause */
/* Binding clients to ports: choice of rings, memory for rings and buffers, and the way back. */
#include "port.h"
#include "names.h"
#include "vale.h"

void nm_client_init(struct nm_client *client, struct nm_core *core)
{
	memset(client, 0, sizeof(*client));
	client->core = core;
	client->nifp_index = UINT32_MAX;
}

int nm_client_error(struct nm_client *client, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	os_vsnprintf(client->err, sizeof(client->err), fmt, ap);
	va_end(ap);
	return error;
}

/* ---- which port ---------------------------------------------------------------------- */

static int find_port(struct nm_client *client, const char *name, const struct nm_bind *bind,
	struct nm_port **port)
{
	struct nm_name parsed;
	int error = nm_name_parse(name, &parsed, client->err, sizeof(client->err));

	if (error)
		return error;
	if (parsed.pipe != NM_PIPE_NONE || bind->mode == NR_REG_PIPE_MASTER ||
		bind->mode == NR_REG_PIPE_SLAVE)
		return nm_client_error(
			client, -EOPNOTSUPP, "%s: pipes are not available yet", name);
	if (bind->flags & (NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON))
		return nm_client_error(
			client, -EOPNOTSUPP, "%s: monitors are not available yet", name);
	if (parsed.kind == NM_NAME_VALE) {
		*port = nm_vale_port_get_locked(client->core, name, parsed.vale, bind->num_rings,
			bind->num_slots, &error, client->err, sizeof(client->err));
		return error;
	}
	*port = nm_port_find_locked(client->core, name);
	if (!*port)
		return nm_client_error(
			client, -ENXIO, "%s: no such port; a switch port is valeID:PORT", name);
	return 0;
}

/* ---- which rings --------------------------------------------------------------------- */

static int choose_rings(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
{
	static const uint64_t only[NM_DIRS] = {NR_TX_RINGS_ONLY, NR_RX_RINGS_ONLY};

	for (int dir = 0; dir < NM_DIRS; dir++) {
		uint32_t hw = port->num_rings[dir], host = port->num_host_rings[dir];
		uint32_t first = 0, count = 0, limit = hw;

		switch (bind->mode) {
		case NR_REG_ALL_NIC:
			count = hw;
			break;
		case NR_REG_NIC_SW:
			count = hw + host;
			limit = hw + host;
			break;
		case NR_REG_SW:
			first = hw;
			count = host;
			limit = hw + host;
			break;
		case NR_REG_ONE_NIC:
			first = bind->ringid;
			count = 1;
			break;
		case NR_REG_ONE_SW:
			first = hw + bind->ringid;
			count = 1;
			limit = hw + host;
			break;
		default:
			return nm_client_error(client, -EINVAL,
				"%s: mode %u is not a way to register", port->name, bind->mode);
		}
		if ((bind->flags & (NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY)) &&
			!(bind->flags & only[dir]))
			first = count = 0;
		else if (count == 0 || first + count > limit)
			return nm_client_error(client, -EINVAL,
				"%s: %s ring %u asked for; the port has %u rings and %u host rings there",
				port->name, dir == NM_TX ? "tx" : "rx", bind->ringid, hw, host);
		client->first[dir] = first;
		client->count[dir] = count;
	}
	return 0;
}

static int check_rings_free(struct nm_client *client, struct nm_port *port, bool exclusive)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < client->count[dir]; i++) {
			const struct nm_ring *ring = &port->rings[dir][client->first[dir] + i];

			if (ring->exclusive || (exclusive && ring->users > 0))
				return nm_client_error(client, -EBUSY, "%s: %s ring %u is in use",
					port->name, dir == NM_TX ? "tx" : "rx", ring->id);
		}
	}
	return 0;
}

/* The private indices of an empty ring: tx may fill all slots but one, rx has received nothing. */
static void clear_ring(struct nm_ring *ring)
{
	ring->head = ring->cur = ring->hwcur = 0;
	ring->dropping = 0;
	ring->tail = ring->dir == NM_TX ? ring->num_slots - 1 : 0;
	ring->produce.hwtail = ring->tail;
	ring->produce.hwcur_seen = 0;
}

/* For the first user of a ring: on a port that others kept in use, a former user has left
 * packets, half a packet, or any value in the shared indices. */
static void restart_ring(struct nm_ring *ring)
{
	os_spin_lock(&ring->produce.lock);
	clear_ring(ring);
	nm_ring_reset_shared(ring);
	os_spin_unlock(&ring->produce.lock);
}

static void count_rings(struct nm_client *client, bool exclusive, int by)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < client->count[dir]; i++) {
			struct nm_ring *ring = nm_client_ring(client, dir, i);

			if (ring->users == 0 && !client->port->region->foreign)
				restart_ring(ring);
			OS_STORE(&ring->users, ring->users + (uint32_t)by);
			ring->exclusive = exclusive && by > 0;
		}
	}
}

/* ---- memory -------------------------------------------------------------------------- */

static int pool_error(
	struct nm_client *client, const struct nm_port *port, enum nm_pool pool, uint64_t wanted)
{
	const struct nm_region *region = port->region;

	return nm_client_error(client, -ENOMEM,
		"%s: %s pool of region %u is too small: %llu wanted, %u of %u free; use fewer rings or slots, or a larger region",
		port->name, nm_pool_name(pool), region->id, (unsigned long long)wanted,
		region->free_count[pool], region->pool[pool].count);
}

/* A region for this port alone, just large enough for its rings and a few netmap_if. */
static struct nm_region *private_region(
	struct nm_client *client, const struct nm_port *port, int *error)
{
	struct nm_region_params params = client->core->region_params;
	uint64_t slots = 0;
	uint32_t rings = 0, most = 0;

	for (int dir = 0; dir < NM_DIRS; dir++) {
		rings += nm_port_all_rings(port, dir);
		slots += (uint64_t)nm_port_all_rings(port, dir) * port->num_slots[dir];
		if (port->num_slots[dir] > most)
			most = port->num_slots[dir];
	}
	if (slots > NM_BUFS_MAX - NM_BUFS_RESERVED) {
		*error = nm_client_error(client, -ENOMEM,
			"%s: %llu buffers wanted; a region holds at most %u", port->name,
			(unsigned long long)slots, NM_BUFS_MAX - NM_BUFS_RESERVED);
		return NULL;
	}
	params.count[NM_POOL_IF] = 2 * NM_RINGS_MAX; /* clients that can share the port */
	params.count[NM_POOL_RING] = rings;
	params.size[NM_POOL_RING] = sizeof(struct netmap_ring) + most * sizeof(struct netmap_slot);
	params.count[NM_POOL_BUF] = (uint32_t)slots + NM_BUFS_RESERVED;
	return nm_region_create(client->core, &params, 0, error, client->err, sizeof(client->err));
}

static int choose_region(struct nm_client *client, struct nm_port *port, uint16_t mem_id)
{
	struct nm_region *region = client->own_region;
	int error = 0;

	if (mem_id != 0) {
		region = nm_region_find(client->core, mem_id);
		if (!region || region->foreign)
			return nm_client_error(client, -EINVAL, "%s: there is no memory region %u",
				port->name, mem_id);
		if (region->reserved && region != client->own_region)
			return nm_client_error(client, -EPERM,
				"%s: memory region %u belongs to a virtual machine", port->name,
				mem_id);
	}
	if (region)
		nm_region_get(region);
	else
		region = private_region(client, port, &error);
	port->region = region;
	return error;
}

/* Fills the shared side of a ring whose object is `index`: geometry, slots with buffers. */
static int fill_ring(struct nm_client *client, struct nm_ring *ring)
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
	for (uint32_t i = 0; i < ring->num_slots; i++) {
		uint32_t index;

		if (nm_region_alloc(region, NM_POOL_BUF, ring->port->owner, &index) != 0)
			return pool_error(client, ring->port, NM_POOL_BUF, ring->num_slots - i);
		ring->slots[i].buf_idx = index;
	}
	return 0;
}

static int setup_ring(struct nm_client *client, struct nm_ring *ring)
{
	struct nm_port *port = ring->port;
	struct nm_region *region = port->region;
	uint64_t bytes =
		sizeof(struct netmap_ring) + (uint64_t)ring->num_slots * sizeof(struct netmap_slot);
	uint32_t index;
	int error;

	if (bytes > region->pool[NM_POOL_RING].size)
		return nm_client_error(client, -ENOMEM,
			"%s: %u slots per ring wanted; a ring object of region %u has room for %llu",
			port->name, ring->num_slots, region->id,
			(unsigned long long)((region->pool[NM_POOL_RING].size -
						     sizeof(struct netmap_ring)) /
					     sizeof(struct netmap_slot)));
	if (nm_region_alloc(region, NM_POOL_RING, port->owner, &index) != 0)
		return pool_error(client, port, NM_POOL_RING, 1);
	ring->region = region;
	ring->shared = nm_region_object(region, NM_POOL_RING, index);
	ring->slots = ring->shared->slot;
	error = fill_ring(client, ring);
	if (error)
		return error;
	memset(&ring->stats, 0, sizeof(ring->stats));
	clear_ring(ring);
	nm_ring_reset_shared(ring);
	return 0;
}

static void each_ring(struct nm_port *port, void (*fn)(struct nm_ring *ring, void *arg), void *arg)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			fn(&port->rings[dir][i], arg);
}

struct shown {
	uint32_t *buf;
	uint32_t count, room;
};

static void collect_shown(struct nm_ring *ring, void *arg)
{
	struct shown *shown = arg;

	if (!ring->slots)
		return;
	for (uint32_t i = 0; i < ring->num_slots && shown->count < shown->room; i++)
		shown->buf[shown->count++] = nm_slot_load(&ring->slots[i]).buf_idx;
}

static void forget_ring(struct nm_ring *ring, void *arg)
{
	ring->shared = NULL;
	ring->slots = NULL;
	ring->region = NULL;
}

/* A port that stays gets what its slots show, one for one. */
static void settle_port(struct nm_port *port)
{
	struct shown shown = {0};

	for (int dir = 0; dir < NM_DIRS; dir++)
		shown.room += nm_port_all_rings(port, dir) * port->num_slots[dir];
	shown.buf = os_zalloc((size_t)shown.room * sizeof(uint32_t));
	if (!shown.buf)
		return;
	each_ring(port, collect_shown, &shown);
	nm_region_settle(port->region, port->owner, shown.buf, shown.count);
	os_free(shown.buf);
}

/*
 * Before the buffers of a port are freed or given out anew: the other ports of its region get
 * what they show, and the port keeps the rest. What the port itself shows is of no consequence, so
 * it can take nothing with it, and half an exchange (one buffer in two slots) does no harm.
 */
static void settle_others(struct nm_port *leaving)
{
	for (struct nm_port *port = leaving->core->ports; port; port = port->next)
		if (port != leaving && port->region == leaving->region)
			settle_port(port);
}

static void release_memory(struct nm_port *port)
{
	if (!port->region || port->region->foreign)
		return;
	settle_others(port);
	nm_region_free_owner(port->region, port->owner);
	each_ring(port, forget_ring, NULL);
	nm_region_put(port->region);
	port->region = NULL;
}

static int take_memory(struct nm_client *client, struct nm_port *port, uint16_t mem_id)
{
	int error;

	if (port->region)
		return 0; /* foreign: the kind brings its rings */
	error = choose_region(client, port, mem_id);
	for (int dir = 0; dir < NM_DIRS && !error; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir) && !error; i++)
			error = setup_ring(client, &port->rings[dir][i]);
	if (error)
		release_memory(port);
	return error;
}

/* ---- netmap_if ----------------------------------------------------------------------- */

/* ring_ofs[]: tx rings, host tx rings (at least one entry), rx rings, host rx rings (the same). */
static void fill_nifp(struct nm_client *client, struct nm_port *port, struct netmap_if *nifp)
{
	uint32_t host[NM_DIRS], entry = 0;
	size_t len = strnlen(port->name, sizeof(nifp->ni_name) - 1);

	for (int dir = 0; dir < NM_DIRS; dir++)
		host[dir] = port->num_host_rings[dir] ? port->num_host_rings[dir] : 1;
	memset(nifp, 0, port->region->pool[NM_POOL_IF].size);
	memcpy(nifp->ni_name, port->name, len);
	*(uint32_t *)(uintptr_t)&nifp->ni_version = NETMAP_API;
	*(uint32_t *)(uintptr_t)&nifp->ni_flags = client->own_region ? 0 : NI_PRIV_MEM;
	*(uint32_t *)(uintptr_t)&nifp->ni_tx_rings = port->num_rings[NM_TX];
	*(uint32_t *)(uintptr_t)&nifp->ni_rx_rings = port->num_rings[NM_RX];
	*(uint32_t *)(uintptr_t)&nifp->ni_host_tx_rings = host[NM_TX];
	*(uint32_t *)(uintptr_t)&nifp->ni_host_rx_rings = host[NM_RX];
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < port->num_rings[dir] + host[dir]; i++, entry++) {
			if (i >= nm_port_all_rings(port, dir))
				continue; /* no host ring: offset 0 */
			*(int64_t *)(uintptr_t)&nifp->ring_ofs[entry] =
				(char *)port->rings[dir][i].shared - (char *)nifp;
		}
	}
}

static int make_nifp(struct nm_client *client, struct nm_port *port)
{
	uint64_t bytes = sizeof(struct netmap_if) +
			 (nm_port_all_rings(port, NM_TX) + nm_port_all_rings(port, NM_RX) + 2ULL) *
				 sizeof(int64_t);
	struct netmap_if *nifp;

	client->nifp_index = UINT32_MAX;
	client->nifp_offset = port->nifp_offset;
	if (port->region->foreign)
		return 0;
	if (bytes > port->region->pool[NM_POOL_IF].size)
		return nm_client_error(client, -ENOMEM,
			"%s: its netmap_if has %llu bytes, an object of region %u only %u",
			port->name, (unsigned long long)bytes, port->region->id,
			port->region->pool[NM_POOL_IF].size);
	if (nm_region_alloc(port->region, NM_POOL_IF, port->owner, &client->nifp_index) != 0)
		return pool_error(client, port, NM_POOL_IF, 1);
	nifp = nm_region_object(port->region, NM_POOL_IF, client->nifp_index);
	client->nifp_offset = (uint64_t)((char *)nifp - port->region->base);
	fill_nifp(client, port, nifp);
	return 0;
}

/* ---- bind and unbind ----------------------------------------------------------------- */

/* Undoes take_memory() and start() when nobody is bound; frees a port made on demand. */
static void release_port(struct nm_port *port, bool started)
{
	if (port->clients > 0)
		return;
	if (started && port->ops->stop)
		port->ops->stop(port);
	release_memory(port);
	if (port->ephemeral && port->holds == 0)
		nm_port_remove_locked(port);
}

static int first_client(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
{
	int error = take_memory(client, port, bind->mem_id);

	if (error)
		return error;
	return port->ops->start ? port->ops->start(port, client->err, sizeof(client->err)) : 0;
}

static int bind_locked(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
{
	bool exclusive = (bind->flags & NR_EXCLUSIVE) || client->exclusive_only;
	bool started = port->clients > 0;
	int error;

	if (port->hdr_len > 0 && !(bind->flags & NR_ACCEPT_VNET_HDR))
		return nm_client_error(client, -EIO,
			"%s: packets carry a virtio-net header of %u bytes; register with NR_ACCEPT_VNET_HDR",
			port->name, port->hdr_len);
	error = choose_rings(client, port, bind);
	if (!error)
		error = check_rings_free(client, port, exclusive);
	if (!error && port->region && bind->mem_id && bind->mem_id != port->region->id)
		error = nm_client_error(client, -EINVAL, "%s: uses memory region %u, not %u",
			port->name, port->region->id, bind->mem_id);
	if (!error && !started) {
		error = first_client(client, port, bind);
		started = !error;
	}
	if (!error)
		error = make_nifp(client, port);
	if (error) {
		release_port(port, started);
		return error;
	}
	client->port = port;
	client->flags = bind->flags;
	port->clients++;
	count_rings(client, exclusive, 1);
	return 0;
}

int nm_client_bind(struct nm_client *client, const char *name, const struct nm_bind *bind)
{
	struct nm_port *port;
	int error;

	if (client->port)
		return nm_client_error(
			client, -EBUSY, "already registered to %s", client->port->name);
	os_mutex_lock(&client->core->lock);
	error = find_port(client, name, bind, &port);
	if (!error)
		error = bind_locked(client, port, bind);
	os_mutex_unlock(&client->core->lock);
	return error;
}

void nm_client_unbind(struct nm_client *client)
{
	struct nm_port *port = client->port;

	if (!port)
		return;
	os_mutex_lock(&client->core->lock);
	count_rings(client, false, -1);
	if (client->nifp_index != UINT32_MAX)
		nm_region_free(port->region, NM_POOL_IF, port->owner, client->nifp_index);
	client->nifp_index = UINT32_MAX;
	client->port = NULL;
	port->clients--;
	release_port(port, true);
	os_mutex_unlock(&client->core->lock);
}

struct refill {
	uint32_t next; /* buffers below have been looked at */
};

static void refill_ring(struct nm_ring *ring, void *arg)
{
	struct refill *refill = arg;
	struct nm_region *region = ring->region;
	const uint32_t *owner = region->owner[NM_POOL_BUF];

	os_spin_lock(&ring->produce.lock);
	for (uint32_t i = 0; i < ring->num_slots; i++) {
		while (owner[refill->next] != ring->port->owner)
			refill->next++;
		memset(&ring->slots[i], 0, sizeof(ring->slots[i]));
		ring->slots[i].buf_idx = refill->next++;
	}
	clear_ring(ring);
	nm_ring_reset_shared(ring);
	os_spin_unlock(&ring->produce.lock);
}

void nm_client_reset_rings(struct nm_client *client)
{
	struct nm_port *port = client->port;
	struct refill refill = {.next = NM_BUFS_RESERVED};

	/* The port owns exactly one buffer per slot: settle exchanges one for one. So the walk
	 * over the map ends with the last slot. */
	os_mutex_lock(&client->core->lock);
	if (port && port->region && !port->region->foreign) {
		settle_others(port);
		each_ring(port, refill_ring, &refill);
	}
	os_mutex_unlock(&client->core->lock);
}
