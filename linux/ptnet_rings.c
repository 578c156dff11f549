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
#include "world.h"

#include <linux/bitmap.h>
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

static void remember(struct ptnet *ptn)
{
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		for (uint32_t s = 0; s < ptn->queues[i].num_slots; s++)
			ptn->queues[i].remembered[s] =
				nm_slot_load(&ptn->queues[i].slots[s]).buf_idx;
}

/* Marks what the slots show. Returns the number of slots that show nothing good: no buffer, or one
 * that was marked before. */
static uint32_t mark_ring(unsigned long *marks, const struct nm_region *region,
	const struct netmap_slot *slots, uint32_t num_slots)
{
	uint32_t bad = 0;

	for (uint32_t s = 0; s < num_slots; s++) {
		uint32_t index = nm_slot_load(&slots[s]).buf_idx;

		if (!nm_region_buf_valid(region, index) || __test_and_set_bit(index, marks))
			bad++;
	}
	return bad;
}

/* What other ports in this region show is not to be had. */
static void mark_others(unsigned long *marks, const struct ptnet *ptn)
{
	const struct nm_region *region = ptn->mem->region;

	for (const struct nm_port *port = nm_world.ports; port; port = port->next) {
		if (port->region != region || port->priv == ptn || OS_LOAD(&port->dead))
			continue;
		for (int dir = 0; dir < NM_DIRS; dir++)
			for (uint32_t i = 0; i < port->num_rings[dir]; i++)
				mark_ring(marks, region, port->rings[dir][i].slots,
					port->num_slots[dir]);
	}
}

/* The next remembered buffer that nobody shows; 0: there is none. */
static uint32_t next_unmarked(
	const struct ptnet *ptn, unsigned long *marks, uint32_t *ring, uint32_t *slot)
{
	for (; *ring < ptnet_num_queues(ptn); (*ring)++, *slot = 0) {
		const struct ptnet_queue *q = &ptn->queues[*ring];

		while (*slot < q->num_slots) {
			uint32_t index = q->remembered[(*slot)++];

			if (nm_region_buf_valid(ptn->mem->region, index) &&
				!__test_and_set_bit(index, marks))
				return index;
		}
	}
	return 0;
}

/* Puts other buffers into the slots that show nothing good. `shown` is empty, `marks` has all that
 * is shown anywhere. */
static uint32_t replace_bad(struct ptnet *ptn, unsigned long *shown, unsigned long *marks)
{
	const struct nm_region *region = ptn->mem->region;
	uint32_t ring = 0, slot = 0, replaced = 0;

	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		for (uint32_t s = 0; s < ptn->queues[i].num_slots; s++) {
			uint32_t *place = &ptn->queues[i].slots[s].buf_idx;
			uint32_t index = OS_LOAD(place);

			if (nm_region_buf_valid(region, index) && !__test_and_set_bit(index, shown))
				continue;
			index = next_unmarked(ptn, marks, &ring, &slot);
			if (index == 0)
				return replaced;
			OS_STORE(place, index);
			OS_STORE(&ptn->queues[i].slots[s].flags, NS_BUF_CHANGED);
			OS_STORE(&ptn->queues[i].slots[s].len, 0);
			replaced++;
		}
	}
	return replaced;
}

void ptnet_rings_repair(struct ptnet *ptn)
{
	const struct nm_region *region = ptn->mem->region;
	uint32_t bits = region->pool[NM_POOL_BUF].count, bad = 0, replaced;
	unsigned long *marks = bitmap_zalloc(bits, GFP_KERNEL);
	unsigned long *shown = bitmap_zalloc(bits, GFP_KERNEL);

	if (!marks || !shown)
		goto out; /* packets in bad slots are dropped and counted */
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		bad += mark_ring(marks, region, ptn->queues[i].slots, ptn->queues[i].num_slots);
	if (bad > 0) {
		mark_others(marks, ptn);
		replaced = replace_bad(ptn, shown, marks);
		os_log(OS_LOG_INFO,
			"%s: an application left %u slots without a buffer of their own; %u repaired",
			ptn->netdev->name, bad, replaced);
	}
	remember(ptn);
out:
	bitmap_free(marks);
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
	if (!error)
		remember(ptn);
	return error;
}
