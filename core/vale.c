/* SPDX-License-Identifier: BSD-2-Clause */
/* Switches and their ports: how they come and go. Packets are in vale_forward.c. */
#include "vale_internal.h"
#include "quota.h"

static struct nm_vale *find_vale(struct nm_core *core, const void *ns, const char *name)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale *sw = core->switches;

	while (sw && (sw->ns != ns || strcmp(sw->name, name) != 0))
		sw = sw->next;
	return sw;
}

/* Lowest number that no switch of the namespace has, so that stepping through them ends. */
static uint32_t free_index(struct nm_core *core, const void *ns) OS_REQUIRES(NM_CORE_LOCK)
{
	for (uint32_t index = 0;; index++) {
		const struct nm_vale *sw = core->switches;

		while (sw && (sw->ns != ns || sw->index != index))
			sw = sw->next;
		if (!sw)
			return index;
	}
}

static struct nm_vale *make_vale(struct nm_core *core, void *ns, const char *name,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale *sw;

	if (nm_quota_take(core->payer, NM_RES_SWITCHES, 1, err) != 0)
		return NULL;
	sw = os_zalloc(sizeof(*sw));
	if (!sw || nm_mactable_init(&sw->macs) != 0) {
		nm_error_set(err, -ENOMEM, "%s: no memory for a switch", name);
		nm_quota_give(core->payer, NM_RES_SWITCHES, 1);
		os_free(sw);
		return NULL;
	}
	sw->payer = core->payer;
	memcpy(sw->name, name, strlen(name) + 1);
	sw->core = core;
	sw->ns = ns;
	sw->index = free_index(core, ns);
	os_rwlock_init(&sw->lock);
	sw->next = core->switches;
	core->switches = sw;
	return sw;
}

static void put_vale(struct nm_vale *sw) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale **link = &sw->core->switches;

	if (sw->members > 0)
		return;
	while (*link != sw)
		link = &(*link)->next;
	*link = sw->next;
	os_rwlock_destroy(&sw->lock);
	nm_mactable_destroy(&sw->macs);
	nm_quota_give(sw->payer, NM_RES_SWITCHES, 1);
	os_free(sw);
}

/* ---- operations of the port kind ----------------------------------------------------- */

/* What each ring has besides: a tx ring its batch, an rx ring who waits for it. */
static bool make_private(struct nm_port *port)
{
	for (uint32_t i = 0; i < port->num_rings[NM_TX]; i++) {
		struct vale_batch *batch = os_zalloc(sizeof(*batch));

		if (!batch)
			return false;
		nm_vale_batch_init(batch);
		port->rings[NM_TX][i].priv = batch;
	}
	for (uint32_t i = 0; i < port->num_rings[NM_RX]; i++) {
		port->rings[NM_RX][i].priv = os_zalloc(sizeof(struct vale_room));
		if (!port->rings[NM_RX][i].priv)
			return false;
	}
	return true;
}

static void free_private(struct nm_port *port)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < port->num_rings[dir]; i++) {
			os_free(port->rings[dir][i].priv);
			port->rings[dir][i].priv = NULL;
		}
	}
}

static int vale_start(struct nm_port *port, struct nm_error *err)
{
	struct nm_vale_port *vp = port->priv;
	struct nm_vale *sw = vp->sw;

	if (!make_private(port)) {
		free_private(port);
		return nm_error_set(err, -ENOMEM, "%s: no memory for its batches", port->name);
	}
	vale_write_lock(sw);
	vp->incarnation = ++sw->incarnations;
	os_assert(sw->num_active < NM_VALE_PORTS_MAX && !sw->live[vp->number]);
	sw->active[sw->num_active++] = vp->number;
	sw->live[vp->number] = port;
	vp->started = true;
	vale_write_unlock(sw);
	return 0;
}

static void vale_stop(struct nm_port *port)
{
	struct nm_vale_port *vp = port->priv;
	struct nm_vale *sw = vp->sw;
	uint32_t i = 0;

	vale_write_lock(sw);
	while (i < sw->num_active && sw->active[i] != vp->number)
		i++;
	if (i < sw->num_active)
		sw->active[i] = sw->active[--sw->num_active];
	sw->live[vp->number] = NULL;
	vp->started = false;
	vale_write_unlock(sw);
	/* No thread forwards to it or learns for it any more. Its number is given to no other port
	 * before core->lock is free again, and until then its addresses are unknown to those who
	 * find them. */
	nm_mactable_forget_port(&sw->macs, vp->number);
	free_private(port);
}

static void vale_destroy(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale_port *vp = port->priv;

	vp->sw->ports[vp->number] = NULL;
	os_assert(vp->sw->members > 0);
	vp->sw->members--;
	put_vale(vp->sw);
	os_free(vp);
}

static int vale_set_hdr_len(struct nm_port *port, uint32_t bytes)
{
	struct nm_vale_port *vp = port->priv;

	vale_write_lock(vp->sw);
	/* What waits has the header of before. */
	for (uint32_t i = 0; bytes != port->hdr_len && i < port->num_rings[NM_TX]; i++)
		nm_vale_queue_clear(&port->rings[NM_TX][i]);
	port->hdr_len = bytes;
	vale_write_unlock(vp->sw);
	return 0;
}

static void vale_set_rss(struct nm_port *port, struct nm_rss *rss)
{
	struct nm_vale_port *vp = port->priv;

	OS_STORE_RELEASE(&port->rss, rss);
	nm_vale_wake_senders(vp->sw); /* what waits may be for another ring now */
}

/* What waited in a tx ring is gone with its slots. */
static void vale_ring_reset(struct nm_ring *ring)
{
	if (ring->dir == NM_TX)
		nm_vale_queue_clear(ring);
}

static const struct nm_port_ops vale_ops = {
	.kind = "vale",
	.start = vale_start,
	.stop = vale_stop,
	.destroy = vale_destroy,
	.set_hdr_len = vale_set_hdr_len,
	.set_rss = vale_set_rss,
	.txsync = nm_vale_txsync,
	.rxsync = nm_vale_rxsync,
	.can_send = nm_vale_can_send,
	.wants_room = nm_vale_wants_room,
	.ring_reset = vale_ring_reset,
	.parks = true,
	.cuts_unknown = true,
};

/* ---- ports --------------------------------------------------------------------------- */

static uint32_t free_number(const struct nm_vale *sw) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t number = 0;

	while (number < NM_VALE_PORTS_MAX && sw->ports[number])
		number++;
	return number;
}

static struct nm_port *add_port(struct nm_vale *sw, uint32_t number, const char *name,
	const struct nm_shape *shape, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_vale_port *vp = os_zalloc(sizeof(*vp));
	struct nm_port *port;

	if (!vp) {
		nm_error_set(err, -ENOMEM, "%s: no memory for a port", name);
		return NULL;
	}
	port = nm_port_add_in_locked(sw->core, sw->ns, name, &vale_ops, shape, err);
	if (!port) {
		os_free(vp);
		return NULL;
	}
	vp->sw = sw;
	vp->number = (uint8_t)number;
	port->priv = vp;
	port->ephemeral = true;
	sw->members++;
	sw->ports[number] = port;
	return port;
}

struct nm_port *nm_vale_port_get_locked(struct nm_core *core, void *ns, const char *name,
	const char *vale_name, const uint32_t num_rings[NM_DIRS], const uint32_t num_slots[NM_DIRS],
	struct nm_error *err)
{
	struct nm_shape shape = {
		.rings = {num_rings[NM_TX], num_rings[NM_RX]},
		.slots = {num_slots[NM_TX], num_slots[NM_RX]},
	};
	struct nm_port *port = nm_port_find_in_locked(core, ns, name);
	struct nm_vale *sw;
	uint32_t number;

	nm_core_assert_locked(core);
	if (port)
		return port;
	nm_shape_complete(&shape);
	sw = find_vale(core, ns, vale_name);
	if (!sw)
		sw = make_vale(core, ns, vale_name, err);
	if (!sw)
		return NULL;
	number = free_number(sw);
	if (number == NM_VALE_PORTS_MAX) {
		nm_error_set(err, -ENOSPC,
			"%s: switch %s has %u ports already, the most it can have", name, vale_name,
			sw->members);
		return NULL;
	}
	port = add_port(sw, number, name, &shape, err);
	if (!port)
		put_vale(sw);
	return port;
}

/* Port at or behind number `from` on a switch. */
static struct nm_port *next_port(const struct nm_vale *sw, uint32_t from) OS_REQUIRES(NM_CORE_LOCK)
{
	for (uint32_t i = from; i < NM_VALE_PORTS_MAX; i++)
		if (sw->ports[i] && !nm_port_is_being_made(sw->ports[i]))
			return sw->ports[i];
	return NULL;
}

int nm_vale_list_locked(struct nm_core *core, void *ns, char name[NETMAP_REQ_IFNAMSIZ],
	uint32_t *index, uint32_t *number)
{
	const struct nm_vale *sw, *best = NULL;
	struct nm_port *port = NULL;
	struct nm_vale_port *vp;

	nm_core_assert_locked(core);
	if (name[0] != '\0') {
		port = nm_port_find_in_locked(core, ns, name);
		if (!port || port->ops != &vale_ops || nm_port_is_being_made(port))
			return -ENOENT;
	} else {
		for (sw = core->switches; sw; sw = sw->next) {
			uint32_t from = sw->index == *index ? *number : 0;

			if (sw->ns != ns || sw->index < *index || !next_port(sw, from))
				continue;
			if (!best || sw->index < best->index)
				best = sw;
		}
		if (!best)
			return -ENOENT;
		port = next_port(best, best->index == *index ? *number : 0);
		memcpy(name, port->name, NETMAP_REQ_IFNAMSIZ);
	}
	vp = port->priv;
	*index = vp->sw->index;
	*number = vp->number;
	return 0;
}

int nm_vale_macs_locked(struct nm_core *core, const void *ns, const char *name, uint64_t *pos,
	struct nm_vale_mac *out, uint32_t max)
{
	const struct nm_vale *sw = find_vale(core, ns, name);
	uint64_t epoch = nm_mac_epoch(os_time_s()), mac;
	uint32_t n = 0, port, age;

	nm_core_assert_locked(core);
	if (!sw)
		return -ENOENT;
	while (n < max && nm_mactable_next(&sw->macs, epoch, pos, &mac, &port, &age)) {
		for (int i = 0; i < 6; i++)
			out[n].mac[i] = (uint8_t)(mac >> (56 - 8 * i));
		out[n].port = port;
		out[n].age_s = age * NM_MAC_EPOCH_S;
		n++;
	}
	return (int)n;
}

int nm_vale_flush_locked(struct nm_core *core, const void *ns, const char *name)
{
	struct nm_vale *sw = find_vale(core, ns, name);

	nm_core_assert_locked(core);
	if (!sw)
		return -ENOENT;
	nm_mactable_flush(&sw->macs);
	return 0;
}

const char *nm_vale_port_name_locked(
	struct nm_core *core, const void *ns, const char *name, uint32_t number)
{
	const struct nm_vale *sw = find_vale(core, ns, name);

	nm_core_assert_locked(core);
	if (!sw || number >= NM_VALE_PORTS_MAX || !sw->ports[number])
		return NULL;
	return sw->ports[number]->name;
}

void nm_vale_each_locked(struct nm_core *core, nm_vale_fn *fn, void *arg)
{
	uint64_t epoch = nm_mac_epoch(os_time_s());

	nm_core_assert_locked(core);
	for (const struct nm_vale *sw = core->switches; sw; sw = sw->next)
		fn(arg, sw->ns, sw->name, sw->index, sw->members,
			nm_mactable_count(&sw->macs, epoch));
}

bool nm_vale_next_locked(
	struct nm_core *core, const void *ns, uint32_t *index, nm_vale_fn *fn, void *arg)
{
	const struct nm_vale *next = NULL;

	nm_core_assert_locked(core);
	for (const struct nm_vale *sw = core->switches; sw; sw = sw->next)
		if (sw->ns == ns && sw->index >= *index && (!next || sw->index < next->index))
			next = sw;
	if (!next)
		return false;
	*index = next->index + 1;
	fn(arg, next->ns, next->name, next->index, next->members,
		nm_mactable_count(&next->macs, nm_mac_epoch(os_time_s())));
	return true;
}
