// SPDX-License-Identifier: BSD-2-Clause
/* The memory function: its BAR is a region, which the core adopts. */
#include "mmap.h"
#include "ptnet.h"
#include "kmod.h"

#include <linux/io.h>
#include <linux/slab.h>

static LIST_HEAD(memories); /* under ptnet_probe_lock */

struct ptnet_mem *ptnet_mem_find(uint32_t id)
{
	struct ptnet_mem *mem;

	list_for_each_entry (mem, &memories, link)
		if (mem->id == id)
			return mem;
	return NULL;
}

/*
 * Other devices of QEMU have the same ids. Ours has the class (see the table below) and these
 * BARs. The subsystem id is not asked for: other hosts that speak this protocol leave it 0.
 */
static bool is_memory_function(struct pci_dev *pdev)
{
	return (pci_resource_flags(pdev, PTNETMAP_IO_PCI_BAR) & IORESOURCE_IO) &&
	       pci_resource_len(pdev, PTNETMAP_IO_PCI_BAR) >= PTNET_MDEV_IO_END &&
	       (pci_resource_flags(pdev, PTNETMAP_MEM_PCI_BAR) & IORESOURCE_MEM) &&
	       pci_resource_len(pdev, PTNETMAP_MEM_PCI_BAR) > 0;
}

static uint64_t read_size(const struct ptnet_mem *mem)
{
	uint64_t size = ioread32(mem->io + PTNET_MDEV_IO_MEMSIZE_HI);

	return size << 32 | ioread32(mem->io + PTNET_MDEV_IO_MEMSIZE_LO);
}

static void read_pools(const struct ptnet_mem *mem, struct nm_pool_geometry pool[NM_POOLS])
{
	for (uint32_t i = 0; i < NM_POOLS; i++) {
		void __iomem *regs = mem->io + PTNET_MDEV_IO_IF_POOL_OFS + 12 * i;

		pool[i].offset = ioread32(regs);
		pool[i].count = ioread32(regs + 4);
		pool[i].size = ioread32(regs + 8);
	}
}

static int read_geometry(struct ptnet_mem *mem, struct nm_pool_geometry pool[NM_POOLS])
{
	const uint64_t bar = pci_resource_len(mem->pdev, PTNETMAP_MEM_PCI_BAR);

	mem->id = ioread32(mem->io + PTNET_MDEV_IO_MEMID);
	mem->size = read_size(mem);
	read_pools(mem, pool);
	if (mem->size == 0 || mem->size > bar) {
		pci_err(mem->pdev, "region of %llu bytes in a BAR of %llu\n", mem->size, bar);
		return -EINVAL;
	}
	if (ptnet_mem_find(mem->id)) {
		pci_err(mem->pdev, "another device has memory region %u already\n", mem->id);
		return -EEXIST;
	}
	return 0;
}

static bool knows_guest_part(const struct ptnet_mem *mem)
{
	return pci_resource_len(mem->pdev, PTNETMAP_IO_PCI_BAR) >= PTNET_MDEV_IO_GUEST_END;
}

/*
 * The guest's part. There is none when the host doesn't know of such a thing; and one that
 * exchanges buffers of our ports gives none (others do, but don't say that nobody else moves
 * buffers: it is not used).
 */
static void read_guest_part(const struct ptnet_mem *mem, struct nm_run part[NM_POOLS])
{
	if (!knows_guest_part(mem) || ioread32(mem->io + PTNET_MDEV_IO_GUEST_ALONE) != 1)
		return;
	for (uint32_t i = 0; i < NM_POOLS; i++) {
		void __iomem *regs = mem->io + PTNET_MDEV_IO_GUEST_IF_FIRST + 8 * i;

		part[i].first = ioread32(regs);
		part[i].count = ioread32(regs + 4);
	}
}

static int adopt_region(struct ptnet_mem *mem, const struct nm_pool_geometry pool[NM_POOLS])
{
	struct nm_error err;

	read_guest_part(mem, mem->part);
	nm_core_lock(&netmap_core);
	mem->region = nm_region_adopt(&netmap_core, mem->base, mem->size, pool, mem->part, &err);
	nm_core_unlock(&netmap_core);
	if (!mem->region) {
		pci_err(mem->pdev, "memory region %u can't be used: error %d %s\n", mem->id,
			-err.code, err.text);
		return err.code;
	}
	mem->bar = nmk_bar_add(mem->region, pci_resource_start(mem->pdev, PTNETMAP_MEM_PCI_BAR));
	return mem->bar ? 0 : -ENOMEM;
}

bool ptnet_mem_same(const struct ptnet_mem *mem)
{
	struct nm_pool_geometry pool[NM_POOLS] = {0};
	struct nm_run part[NM_POOLS] = {0};

	lockdep_assert_held(&ptnet_probe_lock);
	read_pools(mem, pool);
	read_guest_part(mem, part);
	for (uint32_t i = 0; i < NM_POOLS; i++) {
		const struct nm_pool_geometry *is = &mem->region->pool[i];

		if (pool[i].offset != is->offset || pool[i].count != is->count ||
			pool[i].size != is->size || part[i].first != mem->part[i].first ||
			part[i].count != mem->part[i].count)
			return false;
	}
	return ioread32(mem->io + PTNET_MDEV_IO_MEMID) == mem->id && read_size(mem) == mem->size;
}

/* As far as it got. Applications may keep references to the region, but don't touch it any more:
 * their ports are dead, and their mappings are taken away here. */
static void free_memory(struct ptnet_mem *mem)
{
	nm_core_lock(&netmap_core);
	ptnet_port_end_region(mem->region);
	nm_core_unlock(&netmap_core);
	nmk_bar_gone(mem->bar);
	nm_core_lock(&netmap_core);
	ptnet_hw_rings_restore(mem); /* no application can reach the slots any more */
	ptnet_hw_rings_free(mem);
	nm_region_put(mem->region);
	nm_core_unlock(&netmap_core);
	ptnet_unmap_region(mem);
	if (mem->io)
		pci_iounmap(mem->pdev, mem->io);
	kfree(mem);
}

static int map_memory(struct ptnet_mem *mem)
{
	struct nm_pool_geometry pool[NM_POOLS];
	int error;

	mem->io = pci_iomap(mem->pdev, PTNETMAP_IO_PCI_BAR, 0);
	if (!mem->io)
		return -ENOMEM;
	error = read_geometry(mem, pool);
	if (error)
		return error;
	error = ptnet_map_region(mem);
	return error ? error : adopt_region(mem, pool);
}

static int probe_locked(struct pci_dev *pdev)
{
	struct ptnet_mem *mem = kzalloc(sizeof(*mem), GFP_KERNEL);
	int error;

	if (!mem)
		return -ENOMEM;
	mem->pdev = pdev;
	INIT_LIST_HEAD(&mem->devices);
	INIT_LIST_HEAD(&mem->hw_list);
	error = map_memory(mem);
	if (error) {
		free_memory(mem);
		return error;
	}
	list_add(&mem->link, &memories);
	ptnet_adopt_orphans();
	pci_set_drvdata(pdev, mem);
	pci_info(pdev, "memory region %u, %llu bytes, %u buffers for pipes and host rings here\n",
		mem->id, mem->size, mem->part[NM_POOL_BUF].count);
	if (mem->part[NM_POOL_BUF].count == 0)
		pci_info(pdev,
			"the host exchanges buffers of ports in region %u, or sets none aside: on ports there no zero-copy monitors, host rings and extra buffers; pipes of them copy\n",
			mem->id);
	return 0;
}

static int mem_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int error;

	if (!is_memory_function(pdev))
		return -ENODEV;
	error = pci_enable_device(pdev);
	if (error)
		return error;
	error = pci_request_regions(pdev, PTNET_DRIVER_NAME);
	if (error)
		goto fail_disable;
	mutex_lock(&ptnet_probe_lock);
	error = probe_locked(pdev);
	mutex_unlock(&ptnet_probe_lock);
	if (error)
		goto fail_release;
	return 0;

fail_release:
	pci_release_regions(pdev);
fail_disable:
	pci_disable_device(pdev);
	return error;
}

/* Network functions whose region this is can't go on without it. */
static void mem_remove(struct pci_dev *pdev)
{
	struct ptnet_mem *mem = pci_get_drvdata(pdev);

	mutex_lock(&ptnet_probe_lock);
	list_del(&mem->link);
	while (!list_empty(&mem->devices))
		ptnet_detach(list_first_entry(&mem->devices, struct ptnet, mem_link));
	free_memory(mem);
	mutex_unlock(&ptnet_probe_lock);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
}

/* Another kernel is to find the rings as this one has found them. The network functions have
 * been shut down before: they came later. */
static void mem_shutdown(struct pci_dev *pdev)
{
	nm_core_lock(&netmap_core);
	ptnet_hw_rings_restore(pci_get_drvdata(pdev));
	nm_core_unlock(&netmap_core);
}

static const struct pci_device_id mem_ids[] = {
	{
		PCI_DEVICE(PTNETMAP_PCI_VENDOR_ID, PTNETMAP_PCI_DEVICE_ID),
		.class = (uint32_t)PTNETMAP_PCI_DEVICE_CLASS << 8,
		.class_mask = 0xff0000,
	},
	{},
};
MODULE_DEVICE_TABLE(pci, mem_ids);

struct pci_driver ptnet_mem_driver = {
	.name = "ptnet-mem",
	.id_table = mem_ids,
	.probe = mem_probe,
	.remove = mem_remove,
	.shutdown = mem_shutdown,
};
