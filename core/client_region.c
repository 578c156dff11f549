/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In which region a port that is started has its rings and buffers.
 *
 * nm_client_region_choose(), at the end of the file, takes the first that applies: external memory, the
 * region that the client names, the one of a relative (parent, pipe, zero-copy monitor), the shared
 * one for kinds that share (unless a ring has more slots than its objects have room for), the client's
 * own, one made for the port. What a port needs is counted
 * with its peer, since both lie in one region.
 */
#include "bufown.h"
#include "client_internal.h"

enum {
	SPARE_RINGS_MIN = 8, /* of a private region with spare buffers */
	BUFS_PER_SPARE_RING = 64,
	EXTRA_BUFS_MOST = 131072, /* that a private region is made for */
};

static bool shares_with_parent(const struct nm_port *port)
{
	return port->parent && (port->same_region || port->ops->shares_region);
}

static const struct nm_port *family_root(const struct nm_port *port)
{
	while (shares_with_parent(port))
		port = port->parent;
	return port;
}

bool nm_client_region_nic(const struct nm_port *port)
{
	return family_root(port)->ops->nic_memory;
}

/* What a port and its peer need. */
struct need {
	uint32_t rings, most_slots;
	uint64_t bufs;
};

static void add_need(const struct nm_port *port, struct need *need)
{
	need->bufs += port->held_bufs;
	for (int dir = 0; dir < NM_DIRS; dir++) {
		uint32_t rings = nm_port_all_rings(port, dir);

		need->rings += rings;
		need->bufs += (uint64_t)rings * port->num_slots[dir];
		if (rings > 0 && port->num_slots[dir] > need->most_slots)
			need->most_slots = port->num_slots[dir];
	}
}

static struct need need_of(const struct nm_port *port)
{
	struct need need = {0, NM_SLOTS_MIN, 0};

	add_need(port, &need);
	if (port->peer)
		add_need(port->peer, &need);
	return need;
}

void nm_client_region_need(const struct nm_port *port, uint64_t *rings, uint64_t *bufs)
{
	struct need need = need_of(port);

	*rings = need.rings;
	*bufs = need.bufs;
}

/* A region made for the client is closed to other users. */
static struct nm_region *owned_by(const struct nm_client *client, struct nm_region *region)
{
	if (region)
		region->user = client->user;
	return region;
}

/* A region for what is needed, some extra buffers, and what is spare for pipes and monitors; buffers are
 * of at least buf_size bytes. */
static struct nm_region *private_region(struct nm_client *client, const struct nm_port *port,
	struct need need, uint32_t extra, uint32_t buf_size) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_core *core = client->core;
	struct nm_region_params params = core->region_params;
	uint64_t most = NM_BUFS_MAX - NM_BUFS_RESERVED;

	params.nic = nm_client_region_nic(port);
	if (need.bufs > most) {
		nm_error_set(&client->err, -ENOMEM,
			"%s: %llu buffers wanted; a region holds at most %llu", port->name,
			(unsigned long long)need.bufs, (unsigned long long)most);
		return NULL;
	}
	if (core->spare_bufs > 0) {
		need.rings += SPARE_RINGS_MIN + core->spare_bufs / BUFS_PER_SPARE_RING;
		if (need.most_slots < NM_SLOTS_DEFAULT)
			need.most_slots = NM_SLOTS_DEFAULT;
	}
	need.bufs += (uint64_t)extra + core->spare_bufs;
	if (need.bufs == 0)
		need.bufs = 1;
	if (need.bufs > most)
		need.bufs = most;
	params.count[NM_POOL_IF] = 2 * NM_RINGS_MAX; /* clients that can share the port */
	params.count[NM_POOL_RING] = need.rings ? need.rings : 1;
	params.size[NM_POOL_RING] = nm_ring_bytes(need.most_slots);
	params.count[NM_POOL_BUF] = (uint32_t)need.bufs + NM_BUFS_RESERVED;
	if (params.size[NM_POOL_BUF] < buf_size)
		params.size[NM_POOL_BUF] = buf_size;
	return owned_by(client, nm_region_create(core, &params, 0, &client->err));
}

/* Extra buffers are given as far as there are: rather none than no port. Who may not have so much is told, and memory
 * that is wished for is waited for (wish.h). */
static struct nm_region *make_private_region(struct nm_client *client, const struct nm_port *port,
	uint32_t extra) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region *region;

	if (extra > EXTRA_BUFS_MOST)
		extra = EXTRA_BUFS_MOST;
	region = private_region(client, port, need_of(port), extra, 0);
	if (!region && extra > 0 && client->err.code != -EDQUOT && client->err.code != -EAGAIN)
		region = private_region(client, port, need_of(port), 0, 0);
	return region;
}

struct nm_region *nm_client_region_mirror(
	struct nm_client *client, const struct nm_port *port, uint32_t mirrors)
{
	struct need need = need_of(port);

	need.rings *= 1 + mirrors;
	need.bufs += (need.bufs - port->held_bufs) * mirrors;
	return private_region(client, port, need, 0, client->core->shared_params.size[NM_POOL_BUF]);
}

static struct nm_region *external_region(struct nm_client *client, const struct nm_port *port,
	const struct nm_bind *bind) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region_params params = bind->extmem_params;
	struct need need = need_of(port);
	struct nm_region *region;

	if (nm_client_region_nic(port)) {
		nm_error_set(&client->err, -EOPNOTSUPP,
			"%s: a NIC receives into memory that netmapd has laid out for it; register without external memory (@extmem)",
			port->name);
		return NULL;
	}
	if (params.size[NM_POOL_RING] == 0)
		params.size[NM_POOL_RING] = nm_ring_bytes(
			need.most_slots < NM_SLOTS_DEFAULT ? NM_SLOTS_DEFAULT : need.most_slots);
	if (params.size[NM_POOL_IF] == 0)
		params.size[NM_POOL_IF] = client->core->region_params.size[NM_POOL_IF];
	region = nm_region_create_on(
		client->core, *bind->extmem, bind->extmem_bytes, &params, &client->err);
	if (region)
		*bind->extmem = NULL;
	return owned_by(client, region);
}

int nm_client_region_admitted(
	struct nm_client *client, const struct nm_port *port, const struct nm_region *region)
{
	if (region->reserved && region != client->own_region)
		return nm_error_set(&client->err, -EPERM,
			"%s: memory region %u belongs to a virtual machine", port->name,
			region->id);
	if (nm_region_admits(region, client->user))
		return 0;
	return nm_error_set(&client->err, -EPERM,
		"%s: memory region %u is private to user %u; ports that users share lie in a region that they name, as in %.40s@%d",
		port->name, region->id, region->user, port->name, NM_REGION_SHARED_ID);
}

/* May this client's port lie there? */
static int check_region(
	struct nm_client *client, const struct nm_port *port, const struct nm_region *region)
{
	int error = nm_client_region_admitted(client, port, region);

	if (error)
		return error;
	if (!nm_bufown_tracks(region))
		return nm_error_set(&client->err, -EINVAL,
			"%s: nothing of memory region %u is set aside for this system (the host exchanges buffers there, or sets none aside); pipes and monitors that copy are possible",
			port->name, region->id);
	if (!nm_client_region_nic(port) || region->nic)
		return 0;
	return nm_error_set(&client->err, -EINVAL,
		"%s: memory region %u has no room in front of its buffers, where a NIC wants %d bytes: a region has that when a NIC is its first port; name one that is not in use yet, or none",
		port->name, region->id, NM_NIC_HEADROOM);
}

static struct nm_region *named_region(
	struct nm_client *client, const struct nm_port *port, uint16_t id) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region *region =
		nm_region_by_id(client->core, id, nm_client_region_nic(port), &client->err);

	if (!region)
		return NULL;
	if (check_region(client, port, region) == 0)
		return region;
	nm_region_put(region);
	return NULL;
}

/* The region where a relative lies: parent, pipe or zero-copy monitor of one parent. */
static struct nm_region *family_region(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	const struct nm_port *root = family_root(port);

	if (port->same_region && port->parent->region)
		return port->parent->region;
	for (const struct nm_port *p = port->core->ports; p; p = p->next)
		if (p != port && p->region && !p->dead && family_root(p) == root)
			return p->region;
	return NULL;
}

/* A virtual machine's port is not drawn out of the machine's region by pipes that others made. */
static bool stays_at_home(const struct nm_client *client, const struct nm_port *port)
{
	return client->own_region && client->own_region->reserved && !shares_with_parent(port);
}

static bool has_room(const struct nm_region *region, const struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct need need = need_of(port);

	return need.rings <= nm_bufown_num_free(region, NM_POOL_RING) &&
	       need.bufs <= nm_bufown_num_free(region, NM_POOL_BUF) &&
	       nm_bufown_num_free(region, NM_POOL_IF) > 0 &&
	       nm_ring_bytes(need.most_slots) <= region->pool[NM_POOL_RING].size;
}

/* With its family where that is possible; a zero-copy monitor there or nowhere. *must: it is. */
static struct nm_region *prefer_region(const struct nm_client *client, const struct nm_port *port,
	bool *must) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region *region = family_region(port);

	*must = port->same_region && region;
	if (*must || !region)
		return region;
	if (port->ops->nic_memory && !region->nic)
		return NULL;
	if (stays_at_home(client, port) || (region->reserved && region != client->own_region) ||
		!nm_region_admits(region, client->user) || !has_room(region, port))
		return NULL;
	return region;
}

/* A ring with so many slots fits into no ring object of a region that is shared. */
static bool is_oversize(struct nm_core *core, const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	const struct nm_region *shared = nm_region_find(core, NM_REGION_SHARED_ID);
	uint32_t bytes =
		shared ? shared->pool[NM_POOL_RING].size : core->shared_params.size[NM_POOL_RING];

	return nm_ring_bytes(need_of(port).most_slots) > bytes;
}

/* A pipe that doesn't lie with its port is told of: it is shared with others there, and exchanges no
 * buffers with the port. */
static struct nm_region *shared_region(struct nm_client *client, const struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
{
	const struct nm_region *region = family_region(port);
	struct need need = need_of(port);

	if (region && shares_with_parent(port) && region->id != NM_REGION_SHARED_ID)
		os_log(OS_LOG_INFO,
			"%s: lies in region %d, not in region %u as its port: %u rings, %llu buffers wanted, %u, %u left there",
			port->name, NM_REGION_SHARED_ID, region->id, need.rings,
			(unsigned long long)need.bufs, nm_bufown_num_free(region, NM_POOL_RING),
			nm_bufown_num_free(region, NM_POOL_BUF));
	return named_region(client, port, NM_REGION_SHARED_ID);
}

struct nm_region *nm_client_region_choose(
	struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
{
	bool must;
	struct nm_region *region = prefer_region(client, port, &must);

	if (must && (nm_bind_has_extmem(bind) || (bind->mem_id && bind->mem_id != region->id))) {
		nm_error_set(&client->err, -EINVAL, "%s: it must lie in memory region %u",
			port->name, region->id);
		return NULL;
	}
	if (nm_bind_has_extmem(bind))
		return external_region(client, port, bind);
	if (bind->mem_id)
		return named_region(client, port, bind->mem_id);
	if (region && check_region(client, port, region) != 0)
		return NULL;
	if (!region && port->ops->shares_region && client->no_shared)
		return make_private_region(client, port, bind->extra_bufs);
	if (!region && port->ops->shares_region && !is_oversize(client->core, port))
		return shared_region(client, port);
	if (!region &&
		!(client->own_region && nm_client_region_nic(port) && !client->own_region->nic))
		region = client->own_region;
	if (!region)
		return make_private_region(client, port, bind->extra_bufs);
	return nm_region_enter(region, &client->err) == 0 ? region : NULL;
}
