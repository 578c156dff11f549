/* SPDX-License-Identifier: BSD-2-Clause */
#include "port.h"
#include "vale.h"

enum {
	DEFAULT_IFS = 128,
	DEFAULT_RINGS = 128,
	DEFAULT_BUFS = 32768,
	DEFAULT_RING_SLOTS = 4096, /* that fit a ring object of a region made by default */
	NIFP_SIZE = sizeof(struct netmap_if) + 2 * (NM_RINGS_MAX + 1) * sizeof(int64_t),
};

int nm_core_init(struct nm_core *core)
{
	memset(core, 0, sizeof(*core));
	os_mutex_init(&core->lock);
	core->next_owner = NM_OWNER_NONE + 1;
	core->region_params = (struct nm_region_params){
		.count = {DEFAULT_IFS, DEFAULT_RINGS, DEFAULT_BUFS},
		.size = {NIFP_SIZE,
			sizeof(struct netmap_ring) +
				DEFAULT_RING_SLOTS * sizeof(struct netmap_slot),
			NM_BUF_SIZE_DEFAULT},
	};
	return 0;
}

void nm_core_destroy(struct nm_core *core)
{
	os_mutex_lock(&core->lock);
	while (core->ports)
		nm_port_remove_locked(core->ports);
	os_mutex_unlock(&core->lock);
	os_mutex_destroy(&core->lock);
}

/* Numbers wrap within those that are not fixed; one of 2^31 ports ago is gone. */
uint32_t nm_core_new_owner(struct nm_core *core)
{
	uint32_t owner = core->next_owner++;

	if (core->next_owner & NM_OWNER_FIXED)
		core->next_owner = NM_OWNER_NONE + 1;
	return owner;
}

static struct nm_port *registered(struct nm_core *core, const char *name)
{
	struct nm_port *port = core->ports;

	while (port && (port->unnamed || strcmp(port->name, name) != 0))
		port = port->next;
	return port;
}

struct nm_port *nm_port_find_locked(struct nm_core *core, const char *name)
{
	struct nm_port *port = registered(core, name);

	if (!port && core->home_ops && core->home_ops->lookup)
		port = core->home_ops->lookup(core, name);
	return port;
}

static bool shape_valid(const struct nm_shape *shape)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		uint32_t rings = shape->rings[dir], host = shape->host_rings[dir];

		if (rings > NM_RINGS_MAX || host > NM_RINGS_MAX)
			return false;
		if (rings + host > 0 &&
			(shape->slots[dir] < NM_SLOTS_MIN || shape->slots[dir] > NM_SLOTS_MAX))
			return false;
	}
	return true;
}

static int make_rings(struct nm_port *port, enum nm_dir dir)
{
	uint32_t count = nm_port_all_rings(port, dir);
	struct nm_ring *rings = os_zalloc((size_t)count * sizeof(*rings));

	if (!rings)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		rings[i].port = port;
		rings[i].id = (uint16_t)i;
		rings[i].dir = (uint8_t)dir;
		rings[i].host = i >= port->num_rings[dir];
		rings[i].num_slots = port->num_slots[dir];
		os_wakeup_init(&rings[i].wakeup);
		os_spin_init(&rings[i].produce.lock);
	}
	port->rings[dir] = rings;
	return 0;
}

static void free_port(struct nm_port *port)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		if (!port->rings[dir])
			continue;
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			os_wakeup_destroy(&port->rings[dir][i].wakeup);
		os_free(port->rings[dir]);
	}
	os_free(port);
}

struct nm_port *nm_port_add_locked(struct nm_core *core, const char *name,
	const struct nm_port_ops *ops, const struct nm_shape *shape, int *error)
{
	struct nm_port *port;
	size_t len = strnlen(name, NETMAP_REQ_IFNAMSIZ);

	*error = -EINVAL;
	if (len == 0 || len == NETMAP_REQ_IFNAMSIZ || !shape_valid(shape))
		return NULL;
	*error = -EEXIST;
	if (registered(core, name))
		return NULL;
	*error = -ENOMEM;
	port = os_zalloc(sizeof(*port));
	if (!port)
		return NULL;
	memcpy(port->name, name, len + 1);
	port->core = core;
	port->ops = ops;
	memcpy(port->num_rings, shape->rings, sizeof(port->num_rings));
	memcpy(port->num_host_rings, shape->host_rings, sizeof(port->num_host_rings));
	memcpy(port->num_slots, shape->slots, sizeof(port->num_slots));
	if (make_rings(port, NM_TX) != 0 || make_rings(port, NM_RX) != 0) {
		free_port(port);
		return NULL;
	}
	port->owner = nm_core_new_owner(core);
	port->next = core->ports;
	core->ports = port;
	*error = 0;
	return port;
}

void nm_port_hold_locked(struct nm_port *port)
{
	port->holds++;
}

void nm_port_release_locked(struct nm_port *port)
{
	if (--port->holds == 0 && port->clients == 0 && port->ephemeral)
		nm_port_remove_locked(port);
}

void nm_port_remove_locked(struct nm_port *port)
{
	struct nm_port **link = &port->core->ports;

	if (port->clients > 0 || port->holds > 0) {
		OS_STORE(&port->dead, true);
		port->name[0] = '\0'; /* registered() finds it no more: names aren't empty */
		port->ephemeral = true;
		for (int dir = 0; dir < NM_DIRS; dir++)
			for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
				os_wakeup_signal(&port->rings[dir][i].wakeup);
		return;
	}
	while (*link != port)
		link = &(*link)->next;
	*link = port->next;
	if (port->ops->destroy)
		port->ops->destroy(port);
	nm_region_put(port->region);
	free_port(port);
}

int nm_port_rename_locked(struct nm_port *port, const char *name)
{
	size_t len = strnlen(name, NETMAP_REQ_IFNAMSIZ);

	if (len == 0 || len == NETMAP_REQ_IFNAMSIZ)
		return -EINVAL;
	if (registered(port->core, name) && registered(port->core, name) != port)
		return -EEXIST;
	memcpy(port->name, name, len + 1);
	return 0;
}

int nm_port_set_hdr_len_locked(struct nm_port *port, uint32_t bytes)
{
	if (bytes != 0 && bytes != 10 && bytes != NM_PORT_HDR_MAX)
		return -EINVAL;
	if (bytes == port->hdr_len)
		return 0;
	if (!port->ops->set_hdr_len)
		return -EOPNOTSUPP;
	return port->ops->set_hdr_len(port, bytes);
}
