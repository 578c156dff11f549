/* SPDX-License-Identifier: BSD-2-Clause */
/* Which buffers virtual machines have, where their ports exchange buffers with those of others. */
#include "client_internal.h"

static void each_slot(struct nm_port *port,
	void (*fn)(struct nm_port *port, uint32_t index, uint8_t *shown), uint8_t *shown)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t r = 0; r < nm_port_all_rings(port, dir); r++) {
			const struct nm_ring *ring = &port->rings[dir][r];

			for (uint32_t i = 0; ring->slots && i < ring->num_slots; i++) {
				uint32_t index = nm_slot_load(&ring->slots[i]).buf_idx;

				if (nm_region_buf_valid(port->region, index))
					fn(port, index, shown);
			}
		}
	}
}

static void give(struct nm_port *port, uint32_t index, uint8_t *shown)
{
	nm_region_given(port->region, index, port->guest);
}

static void mark(struct nm_port *port, uint32_t index, uint8_t *shown)
{
	shown[index] = 1;
}

void nm_guest_has_shown(struct nm_port *port)
{
	if (port->region->guest)
		each_slot(port, give, NULL);
}

void nm_port_set_guest_locked(struct nm_port *port, uint32_t guest)
{
	if (port->guest == guest)
		return;
	nm_memory_pause(port->region, true);
	port->guest = guest;
	if (!port->dead)
		nm_guest_has_shown(port);
	nm_memory_pause(port->region, false);
}

/* The guest had it, and no slot shows it. */
static bool is_left(
	const struct nm_region *region, uint32_t guest, const uint8_t *shown, uint32_t index)
{
	return region->guest[index] == guest && !shown[index];
}

/* The owner gets what was left and is others', for what of its own is elsewhere. */
static void exchange_left(
	struct nm_region *region, uint32_t guest, uint32_t owner, const uint8_t *shown)
{
	uint32_t *map = region->owner[NM_POOL_BUF], left = NM_BUFS_RESERVED;
	uint32_t total = region->pool[NM_POOL_BUF].count;

	for (uint32_t i = NM_BUFS_RESERVED; i < total; i++) {
		if (map[i] != owner || is_left(region, guest, shown, i))
			continue;
		while (left < total &&
			(!is_left(region, guest, shown, left) || map[left] == owner ||
				map[left] == guest || map[left] == NM_OWNER_NONE))
			left++;
		if (left == total)
			break; /* it has sent what it had not got */
		map[i] = map[left];
		map[left] = owner;
	}
}

/* The region is paused. Slots of `but` (may be NULL) don't count. */
static void settle(
	struct nm_region *region, uint32_t guest, uint32_t owner, const struct nm_port *but)
{
	uint8_t *shown = os_zalloc(region->pool[NM_POOL_BUF].count);

	if (!shown)
		return;
	for (struct nm_port *port = region->core->ports; port; port = port->next)
		if (port->region == region && port != but && !port->dead)
			each_slot(port, mark, shown);
	exchange_left(region, guest, owner, shown);
	os_free(shown);
}

void nm_guest_settle_port(struct nm_port *port)
{
	if (port->region->guest && port->guest != NM_OWNER_NONE)
		settle(port->region, port->guest, port->owner, port);
}

void nm_guest_settle_locked(struct nm_region *region, uint32_t guest)
{
	if (!region->guest)
		return;
	nm_memory_pause(region, true);
	settle(region, guest, guest, NULL);
	nm_memory_pause(region, false);
}

struct nm_run nm_guest_run_locked(const struct nm_region *region, uint32_t guest, uint32_t from)
{
	const uint32_t *map = region->owner[NM_POOL_BUF];
	struct nm_run run = {from, 0};

	for (uint32_t i = from; i < region->pool[NM_POOL_BUF].count; i++) {
		bool here = map[i] == guest && (!region->guest || region->guest[i] == guest);

		if (!here && run.count > 0)
			break;
		if (here && run.count++ == 0)
			run.first = i;
	}
	return run;
}
