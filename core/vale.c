/* SPDX-License-Identifier: BSD-2-Clause */
/* Switches and their ports: how they come and go. Packets are in vale_forward.c. */
#include "vale_internal.h"

static struct nm_vale *find_vale(struct nm_core *core, const char *name) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale *vale = core->switches;

	while (vale && strcmp(vale->name, name) != 0)
		vale = vale->next;
	return vale;
}

/* Lowest number that no switch has, so that stepping through them ends. */
static uint32_t free_index(struct nm_core *core) OS_REQUIRES(NM_CORE_LOCK)
{
	for (uint32_t index = 0;; index++) {
		const struct nm_vale *vale = core->switches;

		while (vale && vale->index != index)
			vale = vale->next;
		if (!vale)
			return index;
	}
}

static struct nm_vale *make_vale(struct nm_core *core, const char *name) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale *vale = os_zalloc(sizeof(*vale));

	if (!vale)
		return NULL;
	if (nm_mactable_init(&vale->macs) != 0) {
		os_free(vale);
		return NULL;
	}
	memcpy(vale->name, name, strlen(name) + 1);
	vale->core = core;
	vale->index = free_index(core);
	os_rwlock_init(&vale->lock);
	vale->next = core->switches;
	core->switches = vale;
	return vale;
}

static void put_vale(struct nm_vale *vale) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale **link = &vale->core->switches;

	if (vale->members > 0)
		return;
	while (*link != vale)
		link = &(*link)->next;
	*link = vale->next;
	os_rwlock_destroy(&vale->lock);
	nm_mactable_destroy(&vale->macs);
	os_free(vale);
}

/* ---- operations of the port kind ----------------------------------------------------- */

static int vale_start(struct nm_port *port, struct nm_error *err)
{
	struct nm_vale_port *vp = port->priv;
	struct nm_vale *vale = vp->vale;

	for (uint32_t i = 0; i < port->num_rings[NM_TX]; i++) {
		struct vale_batch *batch = os_zalloc(sizeof(*batch));

		if (!batch) {
			nm_error_set(err, -ENOMEM, "%s: no memory for its batches", port->name);
			while (i-- > 0) {
				os_free(port->rings[NM_TX][i].priv);
				port->rings[NM_TX][i].priv = NULL;
			}
			return -ENOMEM;
		}
		nm_vale_batch_init(batch);
		port->rings[NM_TX][i].priv = batch;
	}
	vale_write_lock(vale);
	vale->active[vale->num_active++] = vp->number;
	vale->live[vp->number] = port;
	vp->started = true;
	vale_write_unlock(vale);
	return 0;
}

static void vale_stop(struct nm_port *port)
{
	struct nm_vale_port *vp = port->priv;
	struct nm_vale *vale = vp->vale;
	uint32_t i = 0;

	vale_write_lock(vale);
	while (i < vale->num_active && vale->active[i] != vp->number)
		i++;
	if (i < vale->num_active)
		vale->active[i] = vale->active[--vale->num_active];
	vale->live[vp->number] = NULL;
	vp->started = false;
	vale_write_unlock(vale);
	/* Nobody forwards to it or learns for it any more. Its number is given to no other port before
	 * core->lock is free again, and until then its addresses are unknown to those who find them. */
	nm_mactable_forget_port(&vale->macs, vp->number);
	for (i = 0; i < port->num_rings[NM_TX]; i++) {
		os_free(port->rings[NM_TX][i].priv);
		port->rings[NM_TX][i].priv = NULL;
	}
}

static void vale_destroy(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale_port *vp = port->priv;

	vp->vale->ports[vp->number] = NULL;
	vp->vale->members--;
	put_vale(vp->vale);
	os_free(vp);
}

static int vale_set_hdr_len(struct nm_port *port, uint32_t bytes)
{
	struct nm_vale_port *vp = port->priv;

	vale_write_lock(vp->vale);
	port->hdr_len = bytes;
	vale_write_unlock(vp->vale);
	return 0;
}

static const struct nm_port_ops vale_ops = {
	.kind = "vale",
	.start = vale_start,
	.stop = vale_stop,
	.destroy = vale_destroy,
	.set_hdr_len = vale_set_hdr_len,
	.txsync = nm_vale_txsync,
	.rxsync = nm_ring_rxsync_produced,
};

/* ---- ports --------------------------------------------------------------------------- */

static uint32_t free_number(const struct nm_vale *vale) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t number = 0;

	while (number < NM_VALE_PORTS_MAX && vale->ports[number])
		number++;
	return number;
}

static struct nm_port *add_port(struct nm_vale *vale, uint32_t number, const char *name,
	const struct nm_shape *shape, int *error) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale_port *vp = os_zalloc(sizeof(*vp));
	struct nm_port *port;

	*error = -ENOMEM;
	if (!vp)
		return NULL;
	port = nm_port_add_locked(vale->core, name, &vale_ops, shape, error);
	if (!port) {
		os_free(vp);
		return NULL;
	}
	vp->vale = vale;
	vp->number = (uint8_t)number;
	port->priv = vp;
	port->ephemeral = true;
	vale->members++;
	vale->ports[number] = port;
	return port;
}

struct nm_port *nm_vale_port_get_locked(struct nm_core *core, const char *name,
	const char *vale_name, const uint32_t num_rings[NM_DIRS], const uint32_t num_slots[NM_DIRS],
	int *error, struct nm_error *err)
{
	struct nm_shape shape = {
		.rings = {num_rings[NM_TX], num_rings[NM_RX]},
		.slots = {num_slots[NM_TX], num_slots[NM_RX]},
	};
	struct nm_port *port = nm_port_find_locked(core, name);
	struct nm_vale *vale;
	uint32_t number;

	*error = 0;
	if (port)
		return port;
	nm_shape_complete(&shape);
	vale = find_vale(core, vale_name);
	if (!vale)
		vale = make_vale(core, vale_name);
	if (!vale) {
		nm_error_set(err, *error = -ENOMEM, "%s: no memory for a switch", vale_name);
		return NULL;
	}
	number = free_number(vale);
	if (number == NM_VALE_PORTS_MAX) {
		nm_error_set(err, *error = -ENOSPC,
			"%s: switch %s has %u ports already, the most it can have", name, vale_name,
			vale->members);
		return NULL;
	}
	port = add_port(vale, number, name, &shape, error);
	if (!port) {
		nm_shape_strerror(&shape, name, err);
		put_vale(vale);
	}
	return port;
}

/* Port at or behind number `from` on a switch. */
static struct nm_port *next_port(const struct nm_vale *vale, uint32_t from)
	OS_REQUIRES(NM_CORE_LOCK)
{
	for (uint32_t i = from; i < NM_VALE_PORTS_MAX; i++)
		if (vale->ports[i])
			return vale->ports[i];
	return NULL;
}

int nm_vale_list_locked(
	struct nm_core *core, char name[NETMAP_REQ_IFNAMSIZ], uint32_t *index, uint32_t *number)
{
	const struct nm_vale *vale, *best = NULL;
	struct nm_port *port = NULL;
	struct nm_vale_port *vp;

	if (name[0] != '\0') {
		port = nm_port_find_locked(core, name);
		if (!port || port->ops != &vale_ops)
			return -ENOENT;
	} else {
		for (vale = core->switches; vale; vale = vale->next) {
			uint32_t from = vale->index == *index ? *number : 0;

			if (vale->index < *index || !next_port(vale, from))
				continue;
			if (!best || vale->index < best->index)
				best = vale;
		}
		if (!best)
			return -ENOENT;
		port = next_port(best, best->index == *index ? *number : 0);
		memcpy(name, port->name, NETMAP_REQ_IFNAMSIZ);
	}
	vp = port->priv;
	*index = vp->vale->index;
	*number = vp->number;
	return 0;
}

int nm_vale_macs_locked(struct nm_core *core, const char *name, uint64_t *pos,
	struct nm_vale_mac *out, uint32_t max)
{
	const struct nm_vale *vale = find_vale(core, name);
	uint64_t epoch = nm_mac_epoch(os_time_s()), mac;
	uint32_t n = 0, port, age;

	if (!vale)
		return -ENOENT;
	while (n < max && nm_mactable_next(&vale->macs, epoch, pos, &mac, &port, &age)) {
		for (int i = 0; i < 6; i++)
			out[n].mac[i] = (uint8_t)(mac >> (56 - 8 * i));
		out[n].port = port;
		out[n].age_s = age * NM_MAC_EPOCH_S;
		n++;
	}
	return (int)n;
}

int nm_vale_flush_locked(struct nm_core *core, const char *name)
{
	struct nm_vale *vale = find_vale(core, name);

	if (!vale)
		return -ENOENT;
	nm_mactable_flush(&vale->macs);
	return 0;
}

const char *nm_vale_port_name_locked(struct nm_core *core, const char *name, uint32_t number)
{
	const struct nm_vale *vale = find_vale(core, name);

	if (!vale || number >= NM_VALE_PORTS_MAX || !vale->ports[number])
		return NULL;
	return vale->ports[number]->name;
}

void nm_vale_each_locked(struct nm_core *core,
	void (*fn)(void *arg, const char *name, uint32_t index, uint32_t ports, uint32_t macs),
	void *arg)
{
	uint64_t epoch = nm_mac_epoch(os_time_s());

	for (const struct nm_vale *vale = core->switches; vale; vale = vale->next)
		fn(arg, vale->name, vale->index, vale->members,
			nm_mactable_count(&vale->macs, epoch));
}
