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
#include "bufown.h"
#include "ptnet.h"
#include "kmod.h"

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

/* The network function was here before, with the same rings. */
static bool fits(const struct ptnet_hw_rings *hw, const struct ptnet *ptn)
{
	if (hw->nifp_offset != ptn->nifp_offset || hw->num_rings != ptnet_num_queues(ptn))
		return false;
	for (uint32_t i = 0; i < hw->num_rings; i++)
		if (hw->ring[i].slots != ptn->queues[i].slots ||
			hw->ring[i].num_slots != ptn->queues[i].num_slots)
			return false;
	return true;
}

static struct ptnet_hw_rings *find_hw_rings(const struct ptnet *ptn)
{
	struct ptnet_hw_rings *hw;

	list_for_each_entry (hw, &ptn->mem->hw_list, link)
		if (fits(hw, ptn))
			return hw;
	return NULL;
}

/* What is in the slots: put there by the host, or left by a driver before this one. */
static struct ptnet_hw_rings *make_hw_rings(const struct ptnet *ptn)
{
	uint32_t rings = ptnet_num_queues(ptn);
	struct ptnet_hw_rings *hw = kvzalloc(struct_size(hw, ring, rings), GFP_KERNEL_ACCOUNT);

	if (!hw)
		return NULL;
	hw->nifp_offset = ptn->nifp_offset;
	hw->owner = nm_core_new_owner(&netmap_core);
	hw->num_rings = rings;
	for (uint32_t i = 0; i < rings; i++) {
		const struct ptnet_queue *q = &ptn->queues[i];

		hw->ring[i].slots = q->slots;
		hw->ring[i].num_slots = q->num_slots;
		for (uint32_t s = 0; s < q->num_slots; s++)
			nm_bufown_claim(
				ptn->mem->region, hw->owner, nm_slot_load(&q->slots[s]).buf_idx);
	}
	list_add(&hw->link, &ptn->mem->hw_list);
	return hw;
}

static int attach_hw_rings(struct ptnet *ptn)
{
	int error = 0;

	nm_core_lock(&netmap_core);
	if (nm_bufown_tracks(ptn->mem->region)) {
		ptn->hw = find_hw_rings(ptn);
		if (!ptn->hw)
			ptn->hw = make_hw_rings(ptn);
		error = ptn->hw ? 0 : -ENOMEM;
	}
	nm_core_unlock(&netmap_core);
	return error;
}

uint32_t ptnet_rings_owner(const struct ptnet *ptn)
{
	return ptn->hw ? ptn->hw->owner : NM_OWNER_NONE;
}

static void repair(struct nm_bufown_repair *r, const struct ptnet_hw_rings *hw)
{
	for (uint32_t i = 0; i < hw->num_rings; i++)
		nm_bufown_repair_mark(r, hw->ring[i].slots, hw->ring[i].num_slots);
	for (uint32_t i = 0; i < hw->num_rings && r->bad + r->others > 0; i++)
		nm_bufown_repair_fill(r, hw->ring[i].slots, hw->ring[i].num_slots, 0, 0);
}

void ptnet_rings_repair(struct ptnet *ptn)
{
	struct nm_bufown_repair r;

	if (!ptn->hw || !nm_bufown_repair_begin(&r, ptn->mem->region, ptn->hw->owner))
		return; /* packets in bad slots are dropped and counted */
	repair(&r, ptn->hw);
	nm_bufown_repair_end(&r);
	if (r.bad > 0)
		os_log(OS_LOG_INFO,
			"%s: an application left %u slots without a buffer of their own; %u repaired",
			ptn->netdev->name, r.bad, r.replaced - min(r.others, r.replaced));
}

/* Each slot has a buffer of the port's. */
static bool has_its_buffers(const struct ptnet_hw_rings *hw, const struct nm_region *region)
	OS_REQUIRES(NM_CORE_LOCK)
{
	for (uint32_t i = 0; i < hw->num_rings; i++) {
		for (uint32_t s = 0; s < hw->ring[i].num_slots; s++) {
			uint32_t index = nm_slot_load(&hw->ring[i].slots[s]).buf_idx;

			if (!nm_region_buf_valid(region, index) ||
				nm_bufown_owner(region, NM_POOL_BUF, index) != hw->owner)
				return false;
		}
	}
	return true;
}

bool ptnet_rings_same(const struct ptnet *ptn)
{
	bool same;

	iowrite32(ptn->features, ptn->io + PTNET_IO_PTFEAT);
	same = ioread32(ptn->io + PTNET_IO_PTFEAT) == ptn->features &&
	       ioread32(ptn->io + PTNET_IO_NIFP_OFS) == ptn->nifp_offset &&
	       ioread32(ptn->io + PTNET_IO_NUM_TX_RINGS) == ptn->num_rings[NM_TX] &&
	       ioread32(ptn->io + PTNET_IO_NUM_RX_RINGS) == ptn->num_rings[NM_RX] &&
	       ioread32(ptn->io + PTNET_IO_NUM_TX_SLOTS) == ptn->num_slots[NM_TX] &&
	       ioread32(ptn->io + PTNET_IO_NUM_RX_SLOTS) == ptn->num_slots[NM_RX];

	if (!same || !ptn->hw)
		return same;
	nm_core_lock(&netmap_core);
	same = has_its_buffers(ptn->hw, ptn->mem->region);
	nm_core_unlock(&netmap_core);
	return same;
}

/* ---- the end ------------------------------------------------------------------------- */

static void repair_all(const struct ptnet_mem *mem)
{
	const struct ptnet_hw_rings *hw;
	struct nm_bufown_repair r;

	list_for_each_entry (hw, &mem->hw_list, link) {
		if (!nm_bufown_repair_begin(&r, mem->region, hw->owner))
			return;
		repair(&r, hw);
		nm_bufown_repair_end(&r);
	}
}

void ptnet_hw_rings_restore(struct ptnet_mem *mem)
{
	struct nm_bufown_repair r;
	struct ptnet_hw_rings *hw;

	if (list_empty(&mem->hw_list))
		return;
	repair_all(mem);
	if (!nm_bufown_repair_begin(&r, mem->region, NM_OWNER_NONE))
		return; /* as after a crash: the next driver finds buffers of the guest's part there */
	list_for_each_entry (hw, &mem->hw_list, link)
		for (uint32_t i = 0; i < hw->num_rings; i++)
			nm_bufown_repair_used(&r, hw->ring[i].slots, hw->ring[i].num_slots);
	list_for_each_entry (hw, &mem->hw_list, link)
		for (uint32_t i = 0; i < hw->num_rings; i++)
			nm_bufown_restore(&r, hw->ring[i].slots, hw->ring[i].num_slots);
	nm_bufown_repair_end(&r);
}

void ptnet_hw_rings_free(struct ptnet_mem *mem)
{
	struct ptnet_hw_rings *hw, *next;

	list_for_each_entry_safe (hw, next, &mem->hw_list, link) {
		list_del(&hw->link);
		kvfree(hw);
	}
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
	return error ? error : attach_hw_rings(ptn);
}
