// SPDX-License-Identifier: BSD-2-Clause
/*
 * Where a passed-through port has its rings in the region, and what an application may have left
 * in them.
 *
 * All applications of this machine map the whole region and can write any byte of it; one that
 * is killed may leave a buffer in two slots, in the middle of an exchange. So what describes
 * the rings is written anew for each application that finds the port unused; and whenever the
 * rings change hands, slots get buffers that exist, each in one slot only.
 */
#include "ptnet.h"
#include "kmod.h"

#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>

/* ---- finding ------------------------------------------------------------------------- */

/* Object of a pool in which [offset, offset + bytes) of the region lies; NULL: in none. */
static void *checked_object(
	const struct nm_region *region, enum nm_pool pool, uint64_t offset, uint64_t bytes)
{
	const struct nm_pool_geometry *geo = &region->pool[pool];
	uint64_t in_pool = offset - geo->offset; /* too large when it lies before: it wraps */

	if (in_pool >= (uint64_t)geo->count * geo->size || bytes > geo->size ||
		in_pool % geo->size > geo->size - bytes || offset % sizeof(uint64_t) != 0)
		return NULL;
	return region->base + offset;
}

/* Ring at entry `entry` of ring_ofs[]. */
static int find_ring(struct ptnet_queue *q, const struct netmap_if *nifp, uint32_t entry)
{
	uint64_t offset = q->ptn->nifp_offset + (uint64_t)OS_LOAD(&nifp->ring_ofs[entry]);
	uint64_t bytes =
		sizeof(struct netmap_ring) + (uint64_t)q->num_slots * sizeof(struct netmap_slot);

	q->shared = checked_object(q->ptn->mem->region, NM_POOL_RING, offset, bytes);
	if (!q->shared) {
		pci_err(q->ptn->pdev,
			"%s ring %u: no ring of %u slots at offset %llu of the region\n",
			q->dir == NM_TX ? "tx" : "rx", q->id, q->num_slots, offset);
		return -EINVAL;
	}
	q->slots = q->shared->slot;
	return 0;
}

/* ---- describing ---------------------------------------------------------------------- */

static void describe_ring(struct ptnet_queue *q, int64_t *ring_ofs)
{
	const struct nm_region *region = q->ptn->mem->region;
	struct netmap_ring *shared = q->shared;

	shared->buf_ofs =
		(int64_t)region->pool[NM_POOL_BUF].offset - ((char *)shared - region->base);
	shared->num_slots = q->num_slots;
	shared->nr_buf_size = q->ptn->buf_size;
	shared->ringid = q->id;
	shared->dir = q->dir;
	shared->flags = 0;
	shared->offset_mask = 0;
	shared->buf_align = 0;
	*ring_ofs = (char *)shared - (char *)q->ptn->nifp;
}

void ptnet_rings_describe(struct ptnet *ptn, const char *name)
{
	struct netmap_if *nifp = ptn->nifp;
	uint32_t tx = ptn->num_rings[NM_TX], rx = ptn->num_rings[NM_RX];

	memset(nifp->ni_name, 0, sizeof(nifp->ni_name));
	memcpy(nifp->ni_name, name, strnlen(name, sizeof(nifp->ni_name) - 1));
	nifp->ni_version = NETMAP_API;
	nifp->ni_tx_rings = tx;
	nifp->ni_rx_rings = rx;
	nifp->ni_bufs_head = 0;
	nifp->ni_host_tx_rings = ptn->nifp_host_tx;
	nifp->ni_host_rx_rings = 1;
	for (uint32_t i = 0; i < ptn->nifp_host_tx; i++)
		nifp->ring_ofs[tx + i] = 0;
	nifp->ring_ofs[tx + ptn->nifp_host_tx + rx] = 0;
	for (uint32_t i = 0; i < tx; i++)
		describe_ring(ptnet_queue(ptn, NM_TX, i), &nifp->ring_ofs[i]);
	for (uint32_t i = 0; i < rx; i++)
		describe_ring(
			ptnet_queue(ptn, NM_RX, i), &nifp->ring_ofs[tx + ptn->nifp_host_tx + i]);
}

/* ---- buffers ------------------------------------------------------------------------- */

static uint32_t count_slots(const struct ptnet *ptn)
{
	uint32_t slots = 0;

	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		slots += ptn->queues[i].num_slots;
	return slots;
}

/* The network function was here before, with the same rings. */
static bool fits(const struct ptnet_wire *wire, const struct ptnet *ptn)
{
	uint32_t first = 0;

	if (wire->nifp_offset != ptn->nifp_offset || wire->num_slots != count_slots(ptn))
		return false;
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		if (wire->slot[first] != ptn->queues[i].slots)
			return false;
		first += ptn->queues[i].num_slots;
	}
	return true;
}

static struct ptnet_wire *find_wire(const struct ptnet *ptn)
{
	struct ptnet_wire *wire;

	list_for_each_entry (wire, &ptn->mem->wires, link)
		if (fits(wire, ptn))
			return wire;
	return NULL;
}

/* A buffer that the host has put into a slot, or that a driver before this one left there (then it
 * can be of the guest's part). One that belongs to somebody stays what it is. */
static void claim(const struct ptnet_mem *mem, uint32_t index, uint32_t owner)
{
	struct nm_region *region = mem->region;
	uint32_t *map = region->owner[NM_POOL_BUF], *stack = region->free[NM_POOL_BUF];
	uint32_t i = region->free_count[NM_POOL_BUF];

	if (!nm_region_buf_valid(region, index))
		return;
	if (map[index] == NM_OWNER_NONE) {
		while (stack[--i] != index)
			;
		stack[i] = stack[--region->free_count[NM_POOL_BUF]];
	} else if (map[index] != NM_OWNER_FOREIGN) {
		return;
	}
	map[index] = owner;
}

static int make_wire(struct ptnet *ptn)
{
	struct ptnet_wire *wire =
		kvzalloc(struct_size(wire, slot, count_slots(ptn)), GFP_KERNEL_ACCOUNT);

	if (!wire)
		return -ENOMEM;
	wire->nifp_offset = ptn->nifp_offset;
	wire->owner = nm_core_new_owner(&netmap_core);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		for (uint32_t s = 0; s < ptn->queues[i].num_slots; s++) {
			struct netmap_slot *slot = &ptn->queues[i].slots[s];

			wire->slot[wire->num_slots++] = slot;
		}
	}
	for (uint32_t i = 0; i < wire->num_slots; i++)
		claim(ptn->mem, nm_slot_load(wire->slot[i]).buf_idx, wire->owner);
	list_add(&wire->link, &ptn->mem->wires);
	ptn->wire = wire;
	return 0;
}

static int attach_wire(struct ptnet *ptn)
{
	int error = 0;

	nm_core_lock(&netmap_core);
	if (ptn->mem->region->owner[NM_POOL_BUF]) {
		ptn->wire = find_wire(ptn);
		if (!ptn->wire)
			error = make_wire(ptn);
	}
	nm_core_unlock(&netmap_core);
	return error;
}

uint32_t ptnet_rings_owner(const struct ptnet *ptn)
{
	return ptn->wire ? ptn->wire->owner : NM_OWNER_NONE;
}

static void put_buffer(struct netmap_slot *slot, uint32_t index)
{
	OS_STORE(&slot->buf_idx, index);
	OS_STORE(&slot->flags, NS_BUF_CHANGED);
	OS_STORE(&slot->len, 0);
}

void ptnet_wires_free(struct ptnet_mem *mem)
{
	struct ptnet_wire *wire, *next;

	list_for_each_entry_safe (wire, next, &mem->wires, link) {
		list_del(&wire->link);
		kvfree(wire);
	}
}

/* ---- repair -------------------------------------------------------------------------- */

enum shows {
	SHOWS_GOOD,   /* a buffer of the port that no slot before has shown */
	SHOWS_OTHERS, /* the buffer of somebody else here, as at the end of an exchange */
	SHOWS_NONE,   /* no buffer, or one that a slot before has shown */
};

static enum shows look_at(const struct nm_region *region, const struct ptnet_wire *wire,
	unsigned long *shown, uint32_t index)
{
	if (!nm_region_buf_valid(region, index) || __test_and_set_bit(index, shown))
		return SHOWS_NONE;
	return region->owner[NM_POOL_BUF][index] == wire->owner ? SHOWS_GOOD : SHOWS_OTHERS;
}

/* The next buffer of the port from *at on that no slot shows; 0: there is none. */
static uint32_t next_unshown(const struct nm_region *region, const struct ptnet_wire *wire,
	const unsigned long *shown, uint32_t *at)
{
	for (; *at < region->pool[NM_POOL_BUF].count; (*at)++)
		if (region->owner[NM_POOL_BUF][*at] == wire->owner && !test_bit(*at, shown))
			return (*at)++;
	return 0;
}

/* Both walk over all slots, the second with the bits of the first: what changes in between, by the
 * hand of an application that has no business here, ends as a buffer in two slots of the port. */
static uint32_t mark_shown(const struct nm_region *region, const struct ptnet_wire *wire,
	unsigned long *shown, uint32_t *others)
{
	uint32_t none = 0;

	*others = 0;
	for (uint32_t i = 0; i < wire->num_slots; i++) {
		enum shows how = look_at(region, wire, shown, nm_slot_load(wire->slot[i]).buf_idx);

		*others += how == SHOWS_OTHERS;
		none += how == SHOWS_NONE;
	}
	return none;
}

static uint32_t replace_bad(const struct nm_region *region, const struct ptnet_wire *wire,
	const unsigned long *shown, unsigned long *again)
{
	uint32_t at = NM_BUFS_RESERVED, replaced = 0, index;

	for (uint32_t i = 0; i < wire->num_slots; i++) {
		index = nm_slot_load(wire->slot[i]).buf_idx;
		if (look_at(region, wire, again, index) == SHOWS_GOOD)
			continue;
		index = next_unshown(region, wire, shown, &at);
		if (index == 0)
			break;
		put_buffer(wire->slot[i], index);
		replaced++;
	}
	return replaced;
}

struct repaired {
	uint32_t none;     /* slots that showed nothing good */
	uint32_t replaced; /* of them, those that do now */
};

static struct repaired repair(struct nm_region *region, const struct ptnet_wire *wire)
{
	uint32_t bits = region->pool[NM_POOL_BUF].count, others;
	unsigned long *shown = bitmap_zalloc(bits, GFP_KERNEL);
	unsigned long *again = bitmap_zalloc(bits, GFP_KERNEL);
	struct repaired r = {0};

	if (!shown || !again)
		goto out; /* packets in bad slots are dropped and counted */
	r.none = mark_shown(region, wire, shown, &others);
	if (r.none + others > 0)
		r.replaced = replace_bad(region, wire, shown, again);
	r.replaced -= min(others, r.replaced);
out:
	bitmap_free(shown);
	bitmap_free(again);
	return r;
}

void ptnet_rings_repair(struct ptnet *ptn)
{
	struct repaired r;

	if (!ptn->wire)
		return;
	r = repair(ptn->mem->region, ptn->wire);
	if (r.none > 0)
		os_log(OS_LOG_INFO,
			"%s: an application left %u slots without a buffer of their own; %u repaired",
			ptn->netdev->name, r.none, r.replaced);
}

/* ---- the end ------------------------------------------------------------------------- */

static bool is_of_guest(const struct ptnet_mem *mem, uint32_t index)
{
	const struct nm_run *part = &mem->part[NM_POOL_BUF];

	return index >= part->first && index - part->first < part->count;
}

/* The next buffer that came from the host, is nobody else's now, and is in no ring; 0: none. */
static uint32_t next_of_host(const struct ptnet_mem *mem, const unsigned long *shown, uint32_t *at)
{
	const struct nm_region *region = mem->region;

	for (; *at < region->pool[NM_POOL_BUF].count; (*at)++)
		if (region->owner[NM_POOL_BUF][*at] != NM_OWNER_FOREIGN && !is_of_guest(mem, *at) &&
			!test_bit(*at, shown) && *at >= NM_BUFS_RESERVED)
			return (*at)++;
	return 0;
}

static void mark_all(const struct ptnet_mem *mem, unsigned long *shown)
{
	const struct ptnet_wire *wire;

	list_for_each_entry (wire, &mem->wires, link) {
		repair(mem->region, wire);
		for (uint32_t i = 0; i < wire->num_slots; i++) {
			uint32_t index = nm_slot_load(wire->slot[i]).buf_idx;

			if (nm_region_buf_valid(mem->region, index))
				__set_bit(index, shown);
		}
	}
}

void ptnet_wires_restore(struct ptnet_mem *mem)
{
	unsigned long *shown;
	struct ptnet_wire *wire;
	uint32_t at = NM_BUFS_RESERVED, index;

	if (list_empty(&mem->wires))
		return;
	shown = bitmap_zalloc(mem->region->pool[NM_POOL_BUF].count, GFP_KERNEL);
	if (!shown)
		return; /* as after a crash: the next driver finds buffers of the guest's part there */
	mark_all(mem, shown);
	list_for_each_entry (wire, &mem->wires, link) {
		for (uint32_t i = 0; i < wire->num_slots; i++) {
			if (!is_of_guest(mem, nm_slot_load(wire->slot[i]).buf_idx))
				continue;
			index = next_of_host(mem, shown, &at);
			if (index)
				put_buffer(wire->slot[i], index);
		}
	}
	bitmap_free(shown);
}

/* ---- probe --------------------------------------------------------------------------- */

int ptnet_rings_find(struct ptnet *ptn)
{
	const struct nm_region *region = ptn->mem->region;
	uint32_t tx = ptn->num_rings[NM_TX], rx = ptn->num_rings[NM_RX], host_tx;
	struct netmap_if *nifp = checked_object(region, NM_POOL_IF, ptn->nifp_offset,
		sizeof(*nifp) + (tx + rx + 2) * sizeof(int64_t));
	int error = 0;

	if (!nifp) {
		pci_err(ptn->pdev, "no netmap_if at offset %llu of the region\n", ptn->nifp_offset);
		return -EINVAL;
	}
	host_tx = OS_LOAD(&nifp->ni_host_tx_rings);
	if (host_tx < 1 || host_tx > NM_RINGS_MAX ||
		!checked_object(region, NM_POOL_IF, ptn->nifp_offset,
			sizeof(*nifp) + (tx + host_tx + rx + 1) * sizeof(int64_t))) {
		pci_err(ptn->pdev, "netmap_if with %u host tx rings\n", host_tx);
		return -EINVAL;
	}
	ptn->nifp = nifp;
	ptn->nifp_host_tx = host_tx;
	for (uint32_t i = 0; i < tx && !error; i++)
		error = find_ring(ptnet_queue(ptn, NM_TX, i), nifp, i);
	for (uint32_t i = 0; i < rx && !error; i++)
		error = find_ring(ptnet_queue(ptn, NM_RX, i), nifp, tx + host_tx + i);
	return error ? error : attach_wire(ptn);
}
