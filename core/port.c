/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry of ports, and their life.
 *
 * A port exists as long as one of these holds: it is registered by a platform; it has clients; it
 * is held (pins: pipe ends, monitors and devices on switches). A port made on demand (ephemeral) is
 * freed when the last client and the last hold are gone, and a pipe's two ends together. A port
 * that is removed while it is in use is dead: it has lost its name, every sync fails, and it goes
 * with the last user.
 */
#include "port.h"
#include "attachment.h"
#include "bufown.h"
#include "monitor.h"
#include "names.h"
#include "pipe.h"
#include "quota.h"
#include "rss.h"

enum {
	DEFAULT_IFS = 128,
	DEFAULT_RINGS = 128,
	DEFAULT_BUFS = 32768,
	DEFAULT_RING_SLOTS = 4096, /* that fit a ring object of a region made by default */
	/* Rings, and as many host rings, both ways. */
	NIFP_SIZE = sizeof(struct netmap_if) + 4UL * NM_RINGS_MAX * sizeof(int64_t),
	/* A region that is made when it is first named: within 64 MiB, for a platform commits all
	 * of it. */
	SHARED_IFS = 256,
	SHARED_RINGS = 320,
	SHARED_RING_SLOTS = 2048,
	SHARED_BUFS = 26000,
	NIC_BUFS = 32768,
};

int nm_core_init(struct nm_core *core)
{
	memset(core, 0, sizeof(*core));
	os_mutex_init(&core->lock);
	os_mutex_init(&core->making);
	OS_STORE(&core->next_owner, NM_OWNER_NONE + 1);
	core->region_params = (struct nm_region_params){
		.count = {DEFAULT_IFS, DEFAULT_RINGS, DEFAULT_BUFS},
		.size = {NIFP_SIZE, nm_ring_bytes(DEFAULT_RING_SLOTS), NM_BUF_SIZE_DEFAULT},
	};
	core->shared_params = (struct nm_region_params){
		.count = {SHARED_IFS, SHARED_RINGS, SHARED_BUFS},
		.size = {NIFP_SIZE, nm_ring_bytes(SHARED_RING_SLOTS), NM_BUF_SIZE_DEFAULT},
	};
	core->nic_bufs = NIC_BUFS;
	return 0;
}

/* A port without pins; what pins others (pipes, monitors) goes first. */
static struct nm_port *unheld(struct nm_core *core) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *port = core->ports;

	while (port && port->pins > 0)
		port = port->next;
	return port;
}

void nm_core_destroy(struct nm_core *core)
{
	struct nm_port *port;

	nm_core_lock(core);
	while ((port = unheld(core)) != NULL)
		nm_port_remove_locked(port);
	nm_core_unlock(core);
	os_mutex_destroy(&core->making);
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

static struct nm_port *registered(struct nm_core *core, const void *ns, const char *name)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *port = core->ports;

	while (port &&
		(port->unnamed || port->dead || port->ns != ns || strcmp(port->name, name) != 0))
		port = port->next;
	return port;
}

struct nm_port *nm_port_find_in_locked(struct nm_core *core, void *ns, const char *name)
{
	struct nm_port *port = registered(core, ns, name);

	nm_core_assert_locked(core);
	if (!port)
		port = nm_pipe_find_locked(core, ns, name);
	if (!port && core->platform_ops && core->platform_ops->lookup)
		port = core->platform_ops->lookup(core, ns, name);
	return port;
}

struct nm_port *nm_port_find_locked(struct nm_core *core, const char *name)
{
	return nm_port_find_in_locked(core, NULL, name);
}

int nm_port_admit_locked(const struct nm_port *port, struct nm_error *err)
{
	int error = 0;

	for (; port && !error; port = port->parent) {
		const struct nm_port *device = nm_attachment_device_locked(port);

		if (port->ops->admit && !port->dead)
			error = port->ops->admit(port, err);
		if (device && !error)
			error = nm_port_admit_locked(device, err);
	}
	return error;
}

/* What is wrong with a shape, in numbers; what is NULL: nothing. */
struct shape_error {
	const char *what;
	uint32_t number, min, max;
};

static struct shape_error validate_shape(const struct nm_shape *shape)
{
	static const char *const text[NM_DIRS][3] = {
		[NM_TX] = {"tx rings", "tx host rings", "slots in each tx ring"},
		[NM_RX] = {"rx rings", "rx host rings", "slots in each rx ring"},
	};

	for (int dir = 0; dir < NM_DIRS; dir++) {
		uint32_t rings = shape->rings[dir], host = shape->host_rings[dir];
		uint32_t slots = shape->slots[dir];

		if (rings > NM_RINGS_MAX)
			return (struct shape_error){text[dir][0], rings, 1, NM_RINGS_MAX};
		if (host > NM_RINGS_MAX)
			return (struct shape_error){text[dir][1], host, 0, NM_RINGS_MAX};
		if (rings + host > 0 && (slots < NM_SLOTS_MIN || slots > NM_SLOTS_MAX))
			return (struct shape_error){
				text[dir][2], slots, NM_SLOTS_MIN, NM_SLOTS_MAX};
	}
	return (struct shape_error){0};
}

int nm_shape_check(const struct nm_shape *shape, const char *name, struct nm_error *err)
{
	struct shape_error m = validate_shape(shape);

	if (!m.what)
		return 0;
	return nm_error_set(err, -EINVAL, "%s: %u %s asked for; there can be %u to %u", name,
		m.number, m.what, m.min, m.max);
}

void nm_shape_complete(struct nm_shape *shape)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		if (shape->rings[dir] == 0)
			shape->rings[dir] = 1;
		if (shape->slots[dir] == 0)
			shape->slots[dir] = NM_SLOTS_DEFAULT;
	}
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
		os_spin_init(&rings[i].monitor_lock);
	}
	port->rings[dir] = rings;
	return 0;
}

static void free_rings(struct nm_ring *rings, uint32_t count)
{
	if (!rings)
		return;
	for (uint32_t i = 0; i < count; i++)
		os_wakeup_destroy(&rings[i].wakeup);
	os_free(rings);
}

static void free_all_rings(const struct nm_port *port)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		free_rings(port->rings[dir], nm_port_all_rings(port, dir));
}

/* ---- who pays ------------------------------------------------------------------------- */

static uint64_t slots_of(const struct nm_port *port)
{
	uint64_t slots = 0;

	for (int dir = 0; dir < NM_DIRS; dir++)
		slots += (uint64_t)nm_port_all_rings(port, dir) * port->num_slots[dir];
	return slots;
}

static uint32_t rings_of(const struct nm_port *port)
{
	return nm_port_all_rings(port, NM_TX) + nm_port_all_rings(port, NM_RX);
}

static void give_back(struct nm_port *port)
{
	nm_quota_give(port->payer, NM_RES_SLOTS, slots_of(port));
	nm_quota_give(port->payer, NM_RES_RINGS, rings_of(port));
	nm_quota_give(port->payer, NM_RES_PORTS, port->payer ? 1 : 0);
	port->payer = NULL;
}

/* All of it, or nothing. */
static int pay(struct nm_quota *payer, struct nm_port *port, struct nm_error *err)
{
	int error = nm_quota_take(payer, NM_RES_PORTS, 1, err);

	if (error)
		return error;
	error = nm_quota_take(payer, NM_RES_RINGS, rings_of(port), err);
	if (error)
		goto ports;
	error = nm_quota_take(payer, NM_RES_SLOTS, slots_of(port), err);
	if (error)
		goto rings;
	port->payer = payer;
	return 0;

rings:
	nm_quota_give(payer, NM_RES_RINGS, rings_of(port));
ports:
	nm_quota_give(payer, NM_RES_PORTS, 1);
	return error;
}

static void free_port(struct nm_port *port)
{
	give_back(port);
	free_all_rings(port);
	os_free(port->rss_memory);
	os_free(port);
}

/* Tells the platform. */
static void changed(const struct nm_port *port, bool is_there) OS_REQUIRES(NM_CORE_LOCK)
{
	const struct nm_platform_ops *ops = port->core->platform_ops;

	if (ops && ops->port_changed)
		ops->port_changed(port, is_there);
}

static struct nm_port *add(struct nm_core *core, void *ns, const char *name, bool unnamed,
	const struct nm_port_ops *ops, const struct nm_shape *shape, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *port;

	if (nm_name_check_made(name, err) != 0)
		return NULL;
	if (nm_shape_check(shape, name, err) != 0)
		return NULL;
	if (!unnamed && registered(core, ns, name)) {
		nm_error_set(err, -EEXIST, "%s: another port has this name", name);
		return NULL;
	}
	port = os_zalloc(sizeof(*port));
	if (!port) {
		nm_error_set(err, -ENOMEM, "%s: no memory for a port", name);
		return NULL;
	}
	memcpy(port->name, name, strlen(name) + 1);
	port->ns = ns;
	port->unnamed = unnamed;
	port->core = core;
	port->ops = ops;
	memcpy(port->num_rings, shape->rings, sizeof(port->num_rings));
	memcpy(port->num_host_rings, shape->host_rings, sizeof(port->num_host_rings));
	memcpy(port->num_slots, shape->slots, sizeof(port->num_slots));
	if (pay(core->payer, port, err) != 0) {
		free_port(port);
		return NULL;
	}
	if (make_rings(port, NM_TX) != 0 || make_rings(port, NM_RX) != 0) {
		free_port(port);
		nm_error_set(err, -ENOMEM, "%s: no memory for its rings", name);
		return NULL;
	}
	port->owner = nm_core_new_owner(core);
	port->made = ++core->ports_made;
	port->next = core->ports;
	core->ports = port;
	changed(port, true);
	return port;
}

struct nm_port *nm_port_add_locked(struct nm_core *core, const char *name,
	const struct nm_port_ops *ops, const struct nm_shape *shape, struct nm_error *err)
{
	nm_core_assert_locked(core);
	return add(core, NULL, name, false, ops, shape, err);
}

struct nm_port *nm_port_add_in_locked(struct nm_core *core, void *ns, const char *name,
	const struct nm_port_ops *ops, const struct nm_shape *shape, struct nm_error *err)
{
	nm_core_assert_locked(core);
	return add(core, ns, name, false, ops, shape, err);
}

struct nm_port *nm_port_add_unnamed_locked(struct nm_core *core, const char *name,
	const struct nm_port_ops *ops, const struct nm_shape *shape, struct nm_error *err)
{
	nm_core_assert_locked(core);
	return add(core, NULL, name, true, ops, shape, err);
}

void nm_port_pin_locked(struct nm_port *port)
{
	nm_core_assert_locked(port->core);
	port->pins++;
}

static bool in_use(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	return port->clients > 0 || port->pins > 0;
}

void nm_port_unused_locked(struct nm_port *port)
{
	struct nm_port *peer = port->peer;

	nm_core_assert_locked(port->core);
	if (!port->ephemeral || in_use(port) || (peer && in_use(peer)))
		return;
	nm_port_remove_locked(port);
	if (peer)
		nm_port_remove_locked(peer);
}

bool nm_port_exchanges_locked(const struct nm_port *port)
{
	nm_core_assert_locked(port->core);
	if (port->peer || port->same_region || port->held_bufs > 0)
		return true;
	for (const struct nm_port *p = port->core->ports; p; p = p->next)
		if (p->same_region && p->parent == port)
			return true;
	return false;
}

void nm_port_unpin_locked(struct nm_port *port)
{
	nm_core_assert_locked(port->core);
	os_assert(port->pins > 0);
	port->pins--;
	nm_port_unused_locked(port);
}

/* Those who wait see that it is over. */
static void signal_all(struct nm_port *port)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			os_wakeup_signal(&port->rings[dir][i].wakeup);
}

/* The memory of others goes with the port that brought it: no port that lies in it can go on. */
static void mark_dead(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	if (port->dead)
		return;
	changed(port, false);
	OS_STORE(&port->dead, true);
	port->name[0] = '\0'; /* free for another */
	port->ephemeral = true;
	signal_all(port);
	nm_monitor_ended_locked(port);
	for (struct nm_port *child = port->core->ports; child; child = child->next)
		if (child->parent == port && port->region && port->region->foreign &&
			child->region == port->region)
			mark_dead(child);
}

static void unlink_port(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port **link = &port->core->ports;

	while (*link != port)
		link = &(*link)->next;
	*link = port->next;
}

void nm_port_remove_locked(struct nm_port *port)
{
	nm_core_assert_locked(port->core);
	if (in_use(port)) {
		mark_dead(port);
		return;
	}
	unlink_port(port);
	if (!port->dead)
		changed(port, false);
	if (port->peer)
		port->peer->peer = NULL;
	if (port->ops->destroy)
		port->ops->destroy(port);
	nm_region_put(port->region);
	free_port(port);
}

int nm_port_rename_locked(struct nm_port *port, const char *name)
{
	const struct nm_port *other = registered(port->core, port->ns, name);
	size_t len = strnlen(name, NETMAP_REQ_IFNAMSIZ);

	nm_core_assert_locked(port->core);
	if (len == 0 || len == NETMAP_REQ_IFNAMSIZ)
		return -EINVAL;
	if (port->dead)
		return -ENXIO;
	if (!port->unnamed && other && other != port)
		return -EEXIST;
	memcpy(port->name, name, len + 1);
	nm_pipe_parent_renamed_locked(port);
	return 0;
}

static bool has_shape(const struct nm_port *port, const struct nm_shape *shape)
{
	return memcmp(port->num_host_rings, shape->host_rings, sizeof(shape->host_rings)) == 0 &&
	       memcmp(port->num_slots, shape->slots, sizeof(shape->slots)) == 0;
}

/* Rings in their first state in place of those that there are. An error: as it was. */
static int remake_rings(struct nm_port *port, const struct nm_shape *shape)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port before = *port;
	struct nm_error err;

	memcpy(port->num_host_rings, shape->host_rings, sizeof(port->num_host_rings));
	memcpy(port->num_slots, shape->slots, sizeof(port->num_slots));
	port->rings[NM_TX] = port->rings[NM_RX] = NULL;
	port->payer = NULL;
	if (pay(before.payer, port, &err) != 0) {
		*port = before;
		return err.code;
	}
	if (make_rings(port, NM_TX) == 0 && make_rings(port, NM_RX) == 0) {
		give_back(&before);
		free_all_rings(&before);
		return 0;
	}
	give_back(port);
	free_all_rings(port);
	*port = before;
	return -ENOMEM;
}

int nm_port_reshape_locked(
	struct nm_port *port, const uint32_t host_rings[NM_DIRS], const uint32_t slots[NM_DIRS])
{
	const struct nm_shape wanted = {
		.rings = {port->num_rings[NM_TX], port->num_rings[NM_RX]},
		.host_rings = {host_rings[NM_TX], host_rings[NM_RX]},
		.slots = {slots[NM_TX], slots[NM_RX]},
	};

	nm_core_assert_locked(port->core);
	if (in_use(port) || port->region)
		return -EBUSY;
	if (validate_shape(&wanted).what)
		return -EINVAL;
	return has_shape(port, &wanted) ? 0 : remake_rings(port, &wanted);
}

int nm_port_set_hdr_len_locked(struct nm_port *port, uint32_t bytes)
{
	int error;

	nm_core_assert_locked(port->core);
	if (bytes != 0 && bytes != 10 && bytes != NM_PORT_HDR_MAX)
		return -EINVAL;
	if (bytes == port->hdr_len)
		return 0;
	if (!port->ops->set_hdr_len)
		return -EOPNOTSUPP;
	error = port->ops->set_hdr_len(port, bytes);
	nm_monitor_hdr_changed_locked(port);
	return error;
}

int nm_port_set_rss_locked(struct nm_port *port, const struct nm_rss_config *config)
{
	nm_core_assert_locked(port->core);
	if (!port->ops->set_rss)
		return config ? -EOPNOTSUPP : 0;
	for (uint32_t i = 0; config && i < NM_RSS_TABLE_LEN; i++)
		if (config->table[i] >= port->num_rings[NM_RX])
			return -EINVAL;
	if (!config || (port->rss && memcmp(&port->rss->config, config, sizeof(*config)) == 0)) {
		if (!config && port->rss)
			port->ops->set_rss(port, NULL);
		return 0;
	}
	/* It lasts as long as the port: nobody has to wait until no thread uses it. */
	if (!port->rss_memory)
		port->rss_memory = os_zalloc(sizeof(*port->rss_memory));
	if (!port->rss_memory)
		return -ENOMEM;
	nm_rss_set(port->rss_memory, config);
	port->ops->set_rss(port, port->rss_memory);
	return 0;
}
