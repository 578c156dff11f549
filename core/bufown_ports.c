/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the ports and clients of a region reference, collected for bufown.c in the order that bufown.h
 * gives, while nothing of the core's moves buffers; and which rings of a port are repaired.
 */
#include "bufown.h"
#include "client_internal.h"
#include "monitor.h"

static void each_ring(struct nm_port *port, void (*fn)(struct nm_ring *ring, void *arg), void *arg)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			fn(&port->rings[dir][i], arg);
}

/* ---- pauses ----------------------------------------------------------------------------------- */

/* Nested. A port that is not started moves nothing, and stays as it is. */
static void pause_port(struct nm_port *port, bool on) OS_REQUIRES(NM_CORE_LOCK)
{
	if (port->ops->pause && !port->dead && !nm_port_is_being_made(port) &&
		(port->clients > 0 || (port->peer && port->peer->clients > 0)))
		port->ops->pause(port, on);
}

/* One that is being made has no slots yet that say anything. */
static bool is_in(const struct nm_port *port, const struct nm_region *region)
	OS_REQUIRES(NM_CORE_LOCK)
{
	return port && port->region == region && !port->dead && !port->maker;
}

/* A zero-copy monitor moves buffers between any ports, and a device's come first; so they come to rest together. */
static bool moves_between_ports(const struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK)
{
	for (const struct nm_port *port = region->core->ports; port; port = port->next)
		if ((port->same_region || port->held_owner) && is_in(port, region))
			return true;
	return false;
}

/* The two ends of a pipe, or one port, where not all come to rest. */
static void pause_ends(struct nm_port *port, bool on) OS_REQUIRES(NM_CORE_LOCK)
{
	pause_port(port, on);
	if (port->peer)
		pause_port(port->peer, on);
}

/*
 * The ports that come to rest with one: itself and its peer; or all of the region. Meanwhile the core moves
 * no buffer into a slot of theirs or out of it.
 */
static void pause_around(struct nm_region *region, struct nm_port *port, bool on)
	OS_REQUIRES(NM_CORE_LOCK)
{
	if (moves_between_ports(region)) {
		for (struct nm_port *p = region->core->ports; p; p = p->next)
			if (p->region == region)
				pause_port(p, on);
	} else if (port) {
		pause_ends(port, on);
	}
}

/* ---- ports ----------------------------------------------------------------------------------- */

/* Does an owner have all that the slots of these rings show? Nearly always: then nothing is collected, and no memory wanted. */
struct look {
	const struct nm_region *region;
	uint32_t owner;
	bool given; /* as refs.given */
	bool wrong;
};

static void look(struct nm_ring *ring, void *arg) OS_REQUIRES(NM_CORE_LOCK)
{
	struct look *look = arg;

	if (!look->wrong && ring->slots && nm_ring_is_given(ring) == look->given)
		look->wrong = !nm_bufown_has_slots(
			look->region, look->owner, ring->slots, ring->num_slots);
}

static bool has_all(struct nm_port *port, uint32_t owner, bool given) OS_REQUIRES(NM_CORE_LOCK)
{
	struct look l = {.region = port->region, .owner = owner, .given = given};

	each_ring(port, look, &l);
	return !l.wrong;
}

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

/* False: there is nothing, or no memory for it; nothing is to be freed then. */
static bool make_room(const struct nm_port *port, bool given, struct refs *refs)
{
	*refs = (struct refs){.room = slots_of(port), .given = given};
	if (refs->room > 0)
		refs->buf = os_zalloc((size_t)refs->room * sizeof(uint32_t));
	return refs->buf != NULL;
}

static void reconcile_rings(struct nm_port *port, uint32_t owner, bool given)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct refs refs;

	if (has_all(port, owner, given) || !make_room(port, given, &refs))
		return;
	each_ring(port, collect, &refs);
	nm_bufown_reconcile(port->region, owner, refs.buf, refs.count);
	os_free(refs.buf);
}

/* Whom the map has for what the ends of a pipe reference, after they have exchanged it with each other:
 * as of one moment, after which they may go on. */
static void reconcile_both(struct nm_port *ends[2], struct refs refs[2], bool pause)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region *region = ends[0]->region;

	if (pause)
		pause_ends(ends[0], true);
	for (int i = 0; i < 2; i++)
		each_ring(ends[i], collect, &refs[i]);
	if (pause)
		pause_ends(ends[0], false);
	nm_bufown_exchange(region, (uint32_t[]){ends[0]->owner, ends[1]->owner},
		(const uint32_t *const[]){refs[0].buf, refs[1].buf},
		(uint32_t[]){refs[0].count, refs[1].count});
	for (int i = 0; i < 2; i++)
		nm_bufown_reconcile(region, ends[i]->owner, refs[i].buf, refs[i].count);
}

/* Also as of one moment: what moves between the ends could be missed at both. */
static bool have_all(struct nm_port *ends[2], bool pause) OS_REQUIRES(NM_CORE_LOCK)
{
	bool all;

	if (pause)
		pause_ends(ends[0], true);
	all = has_all(ends[0], ends[0]->owner, true) && has_all(ends[1], ends[1]->owner, true);
	if (pause)
		pause_ends(ends[0], false);
	return all;
}

static void reconcile_ends(struct nm_port *port, bool pause) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *ends[2] = {port, port->peer};
	struct refs refs[2];

	if (have_all(ends, pause) || !make_room(ends[0], true, &refs[0]))
		return;
	if (make_room(ends[1], true, &refs[1])) {
		reconcile_both(ends, refs, pause);
		os_free(refs[1].buf);
	}
	os_free(refs[0].buf);
}

/* With its peer; pause: it is not at rest yet, and not all of the region are to rest together. */
static void reconcile_port(struct nm_port *port, bool pause) OS_REQUIRES(NM_CORE_LOCK)
{
	if (is_in(port->peer, port->region)) {
		reconcile_ends(port, pause);
		return;
	}
	if (pause)
		pause_ends(port, true);
	if (port->hw_owner != NM_OWNER_NONE)
		reconcile_rings(port, port->hw_owner, false);
	reconcile_rings(port, port->owner, true);
	if (pause)
		pause_ends(port, false);
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* What it shows can change at any time: it has as many as the client was given, however it goes round. */
static bool list_has_own(const struct nm_client *client) OS_REQUIRES(NM_CORE_LOCK)
{
	const struct nm_region *region = client->port->region;
	uint32_t index = nm_nifp_first_extra(client), left = client->extra_bufs;

	for (; left > 0 && index; left--, index = nm_nifp_next_extra(client, index))
		if (nm_bufown_owner(region, NM_POOL_BUF, index) != client->owner)
			return false;
	return true;
}

static void reconcile_list(const struct nm_client *client) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t *refs;

	if (client->extra_bufs == 0 || client->port->region->ending || list_has_own(client))
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
	reconcile_list(leaving);
}

/* ---- devices --------------------------------------------------------------------------------- */

static uint32_t *held_by_device(struct nm_port *port, enum nm_dir dir, uint32_t *count)
{
	uint32_t room = port->held_bufs + slots_of(port);
	uint32_t *refs = port->held_owner ? os_zalloc((size_t)room * sizeof(*refs)) : NULL;

	*count = refs ? port->ops->held(port, dir, refs, room) : 0;
	return refs;
}

static void reconcile_held(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t count, *refs = held_by_device(port, NM_RX, &count);

	if (refs)
		nm_bufown_reconcile(port->region, port->held_owner, refs, count);
	os_free(refs);
}

void nm_bufown_keep_sent(struct nm_port *port)
{
	uint32_t count, *refs = held_by_device(port, NM_TX, &count);

	for (uint32_t i = 0; i < count; i++)
		nm_bufown_give(port->region, port->owner, port->held_owner, refs[i]);
	os_free(refs);
}

/* ---- a region -------------------------------------------------------------------------------- */

/* Both ends of a pipe, or one port: the first of them that the list has. */
static bool comes_first(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	return !is_in(port->peer, port->region) || port->owner < port->peer->owner;
}

/* In a pause around `first`. */
static void reconcile_all(struct nm_region *region, struct nm_port *first) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *peer = first ? first->peer : NULL, *port;
	bool together = moves_between_ports(region);

	nm_bufown_begin_pass(region);
	for (port = region->core->ports; port; port = port->next)
		if (port->held_owner && is_in(port, region))
			reconcile_held(port);
	for (port = region->core->ports; port; port = port->next)
		for (const struct nm_client *c = port->client_list; c && is_in(port, region);
			c = c->next)
			reconcile_list(c);
	if (is_in(first, region))
		reconcile_port(first, false);
	else if (is_in(peer, region))
		reconcile_port(peer, false);
	for (port = region->core->ports; port; port = port->next) {
		if (port == first || port == peer || !is_in(port, region) || !comes_first(port))
			continue;
		reconcile_port(port, !together);
	}
	nm_bufown_end_pass(region);
}

void nm_bufown_reconcile_region(struct nm_region *region, struct nm_port *first)
{
	if (region->ending)
		return;
	pause_around(region, first, true);
	reconcile_all(region, first);
	pause_around(region, first, false);
}

/* ---- the end of a port ------------------------------------------------------------------------ */

struct freeing {
	struct nm_port *port;
	uint32_t left; /* owned, and not freed yet */
};

static void free_ring(struct nm_ring *ring, void *arg) OS_REQUIRES(NM_CORE_LOCK)
{
	struct freeing *f = arg;
	struct nm_region *region = f->port->region;
	uint32_t index;

	if (!nm_ring_is_given(ring))
		return;
	f->left += ring->num_slots + 1;
	for (uint32_t i = 0; i < ring->num_slots && !f->port->maker; i++)
		if (nm_bufown_free(region, NM_POOL_BUF, f->port->owner,
			    nm_slot_load(&ring->slots[i]).buf_idx) == 0)
			f->left--;
	index = (uint32_t)((uint64_t)((char *)ring->shared - region->base -
				      region->pool[NM_POOL_RING].offset) /
			   region->pool[NM_POOL_RING].size);
	if (nm_bufown_free(region, NM_POOL_RING, f->port->owner, index) == 0)
		f->left--;
}

/* Slots can be written meanwhile: what they don't name, or have no more, the map knows. */
void nm_bufown_free_port(struct nm_port *port)
{
	struct freeing f = {.port = port};

	if (port->region->ending)
		return;
	each_ring(port, free_ring, &f);
	if (f.left > 0)
		nm_bufown_free_owner(port->region, port->owner);
	os_assert(nm_bufown_free_owner(port->region, port->owner) == 0);
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
	nm_monitors_lock(ring);
	nm_produce_lock(nm_ring_guard(ring));
	if (p->empty)
		memset(ring->slots, 0, ring->num_slots * sizeof(ring->slots[0]));
	nm_bufown_repair_fill(&p->r, ring->slots, ring->num_slots, ring->offset_mask,
		ring->port->offsets.initial);
	if (p->empty)
		nm_ring_clear(ring);
	nm_produce_unlock(nm_ring_guard(ring));
	if (p->empty)
		nm_monitor_rewind(ring);
	nm_monitors_unlock(ring);
}

void nm_bufown_repair_port(struct nm_port *port, const struct nm_client *client, bool empty)
{
	struct port_repair p = {.client = client, .empty = empty};

	if (!port->region || port->dead || port->region->ending ||
		!nm_bufown_repair_begin(&p.r, port->region, port->owner))
		return; /* packets in bad slots are dropped and counted */
	pause_around(port->region, port, true);
	reconcile_all(port->region, port);
	each_ring(port, see_used, &p);
	each_ring(port, mark_bad, &p);
	each_ring(port, fill, &p);
	pause_around(port->region, port, false);
	nm_bufown_repair_end(&p.r);
}
