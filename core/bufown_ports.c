/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the ports and clients of a region reference, collected for bufown.c in the order that bufown.h
 * gives, while nothing of the core's moves buffers; and which rings of a port are repaired.
 */
#include "bufown.h"
#include "client_internal.h"

static void each_ring(struct nm_port *port, void (*fn)(struct nm_ring *ring, void *arg), void *arg)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			fn(&port->rings[dir][i], arg);
}

/* A port that is not started moves nothing, and stays as it is. */
void nm_bufown_pause(const struct nm_region *region, bool on)
{
	for (struct nm_port *port = region->core->ports; port; port = port->next)
		if (port->region == region && port->ops->pause && !port->dead &&
			(port->clients > 0 || (port->peer && port->peer->clients > 0)))
			port->ops->pause(port, on);
}

/* ---- ports ----------------------------------------------------------------------------------- */

struct refs {
	uint32_t *buf;
	uint32_t count, room;
	bool given; /* of rings whose memory the core gave; else of those that came with the port */
};

static void collect(struct nm_ring *ring, void *arg)
{
	struct refs *refs = arg;

	if (!ring->slots || nm_ring_is_given(ring) != refs->given)
		return;
	for (uint32_t i = 0; i < ring->num_slots && refs->count < refs->room; i++)
		refs->buf[refs->count++] = nm_slot_load(&ring->slots[i]).buf_idx;
}

static uint32_t slots_of(const struct nm_port *port)
{
	uint32_t slots = 0;

	for (int dir = 0; dir < NM_DIRS; dir++)
		slots += nm_port_all_rings(port, dir) * port->num_slots[dir];
	return slots;
}

static void reconcile_rings(struct nm_port *port, uint32_t owner, struct refs *refs, bool given)
	OS_REQUIRES(NM_CORE_LOCK)
{
	refs->given = given;
	refs->count = 0;
	each_ring(port, collect, refs);
	nm_bufown_reconcile(port->region, owner, refs->buf, refs->count);
}

static void reconcile_port(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct refs refs = {.room = slots_of(port)};

	if (refs.room == 0)
		return;
	refs.buf = os_zalloc((size_t)refs.room * sizeof(uint32_t));
	if (!refs.buf)
		return;
	reconcile_rings(port, port->hw_owner, &refs, false);
	reconcile_rings(port, port->owner, &refs, true);
	os_free(refs.buf);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void reconcile_list(const struct nm_client *client) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t *refs;

	if (client->extra_bufs == 0)
		return;
	refs = os_zalloc((size_t)client->extra_bufs * sizeof(uint32_t));
	if (!refs)
		return;
	nm_bufown_reconcile(
		client->port->region, client->owner, refs, nm_nifp_list_extra(client, refs));
	os_free(refs);
}

void nm_bufown_reconcile_list(const struct nm_client *leaving)
{
	nm_bufown_pause(leaving->port->region, true);
	reconcile_list(leaving);
	nm_bufown_pause(leaving->port->region, false);
}

/* ---- a region -------------------------------------------------------------------------------- */

static bool is_in(const struct nm_port *port, const struct nm_region *region)
{
	return port && port->region == region && !port->dead;
}

void nm_bufown_reconcile_paused(struct nm_region *region, struct nm_port *first)
{
	struct nm_port *peer = first ? first->peer : NULL, *port;

	for (port = region->core->ports; port; port = port->next)
		for (const struct nm_client *c = port->client_list; c && is_in(port, region);
			c = c->next)
			reconcile_list(c);
	if (is_in(first, region))
		reconcile_port(first);
	if (is_in(peer, region))
		reconcile_port(peer);
	for (port = region->core->ports; port; port = port->next)
		if (port != first && port != peer && is_in(port, region))
			reconcile_port(port);
}

void nm_bufown_reconcile_region(struct nm_region *region, struct nm_port *first)
{
	nm_bufown_pause(region, true);
	nm_bufown_reconcile_paused(region, first);
	nm_bufown_pause(region, false);
}

/* ---- repair ---------------------------------------------------------------------------------- */

struct port_repair {
	struct nm_bufown_repair r;
	const struct nm_client *client; /* its rings; NULL: those that nobody uses */
	bool empty;
};

static bool has_ring(const struct nm_client *client, const struct nm_ring *ring)
{
	const struct nm_ring *first = nm_client_ring(client, ring->dir, 0);

	return ring >= first && ring < first + client->count[ring->dir];
}

static bool wants_repair(const struct port_repair *p, const struct nm_ring *ring)
{
	return nm_ring_is_given(ring) && (p->client ? has_ring(p->client, ring) : ring->users == 0);
}

static void see_used(struct nm_ring *ring, void *arg)
{
	struct port_repair *p = arg;

	if (ring->slots && !wants_repair(p, ring))
		nm_bufown_repair_used(&p->r, ring->slots, ring->num_slots);
}

static void mark_bad(struct nm_ring *ring, void *arg) OS_REQUIRES(NM_CORE_LOCK)
{
	struct port_repair *p = arg;

	if (wants_repair(p, ring) && !p->empty)
		nm_bufown_repair_mark(&p->r, ring->slots, ring->num_slots);
}

static void fill(struct nm_ring *ring, void *arg) OS_REQUIRES(NM_CORE_LOCK)
{
	struct port_repair *p = arg;

	if (!wants_repair(p, ring))
		return;
	nm_produce_lock(nm_ring_guard(ring));
	if (p->empty)
		memset(ring->slots, 0, ring->num_slots * sizeof(ring->slots[0]));
	nm_bufown_repair_fill(&p->r, ring->slots, ring->num_slots, ring->offset_mask,
		ring->port->offsets.initial);
	if (p->empty)
		nm_ring_clear(ring);
	nm_produce_unlock(nm_ring_guard(ring));
}

void nm_bufown_repair_port(struct nm_port *port, const struct nm_client *client, bool empty)
{
	struct port_repair p = {.client = client, .empty = empty};

	if (!port->region || port->dead || !nm_bufown_repair_begin(&p.r, port->region, port->owner))
		return; /* packets in bad slots are dropped and counted */
	nm_bufown_pause(port->region, true);
	nm_bufown_reconcile_paused(port->region, port);
	each_ring(port, see_used, &p);
	each_ring(port, mark_bad, &p);
	each_ring(port, fill, &p);
	nm_bufown_pause(port->region, false);
	nm_bufown_repair_end(&p.r);
}
