/* SPDX-License-Identifier: BSD-2-Clause */
#include "ptnet_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <net/netmap_virt.h>

#include "closer.h"
#include "guestmem.h"
#include "os.h"
#include "os_user.h"
#include "ptnet_regs.h"

struct ptnet_mem {
	struct ptnet_mem_info info; /* .fd is ours */
	uint64_t map_size;          /* bytes of the file that clients map: a power of two */
	uint64_t bar_size;          /* bytes of BAR1: that, or more */
	struct vu_pci pci;
	struct guestmem *ranges; /* none has a file: they are only checked */
	struct vu_server *server;
	char name[PTNET_NAME_MAX];
};

/* Registers of the guest's part, two per pool, and the one that says that there is one. */
static uint32_t read_part(const struct ptnet_mem *mem, uint32_t offset)
{
	struct nm_run part[NM_POOLS] = {{0}};
	uint32_t i = (offset - PTNET_MDEV_IO_GUEST_IF_FIRST) / 4;

	if (mem->info.guest_part)
		mem->info.guest_part(mem->info.arg, part);
	if (offset == PTNET_MDEV_IO_GUEST_ALONE)
		return part[NM_POOL_BUF].count > 0;
	return i % 2 ? part[i / 2].count : part[i / 2].first;
}

static uint32_t read_register(const void *dev, uint32_t offset)
{
	const struct ptnet_mem *mem = dev;
	const struct nmreq_pools_info *pools = &mem->info.pools;

	switch (offset) {
	case PTNET_MDEV_IO_MEMSIZE_LO:
		return (uint32_t)mem->info.size;
	case PTNET_MDEV_IO_MEMSIZE_HI:
		return (uint32_t)(mem->info.size >> 32);
	case PTNET_MDEV_IO_MEMID:
		return mem->info.id;
	case PTNET_MDEV_IO_IF_POOL_OFS:
		return (uint32_t)pools->nr_if_pool_offset;
	case PTNET_MDEV_IO_IF_POOL_OBJNUM:
		return pools->nr_if_pool_objtotal;
	case PTNET_MDEV_IO_IF_POOL_OBJSZ:
		return pools->nr_if_pool_objsize;
	case PTNET_MDEV_IO_RING_POOL_OFS:
		return (uint32_t)pools->nr_ring_pool_offset;
	case PTNET_MDEV_IO_RING_POOL_OBJNUM:
		return pools->nr_ring_pool_objtotal;
	case PTNET_MDEV_IO_RING_POOL_OBJSZ:
		return pools->nr_ring_pool_objsize;
	case PTNET_MDEV_IO_BUF_POOL_OFS:
		return (uint32_t)pools->nr_buf_pool_offset;
	case PTNET_MDEV_IO_BUF_POOL_OBJNUM:
		return pools->nr_buf_pool_objtotal;
	case PTNET_MDEV_IO_BUF_POOL_OBJSZ:
		return pools->nr_buf_pool_objsize;
	case PTNET_MDEV_IO_GUEST_IF_FIRST:
	case PTNET_MDEV_IO_GUEST_IF_NUM:
	case PTNET_MDEV_IO_GUEST_RING_FIRST:
	case PTNET_MDEV_IO_GUEST_RING_NUM:
	case PTNET_MDEV_IO_GUEST_BUF_FIRST:
	case PTNET_MDEV_IO_GUEST_BUF_NUM:
	case PTNET_MDEV_IO_GUEST_ALONE:
		return read_part(mem, offset);
	default:
		return 0;
	}
}

/* The part of [offset, offset + bytes) that the region has; BAR1 may be longer. */
static uint32_t inside(const struct ptnet_mem *mem, uint64_t offset, uint32_t bytes)
{
	if (offset >= mem->info.size)
		return 0;
	return bytes < mem->info.size - offset ? bytes : (uint32_t)(mem->info.size - offset);
}

/*
 * Operations of the device
 */

static void op_region(void *dev, uint32_t index, struct vu_region *region)
{
	const struct ptnet_mem *mem = dev;

	vu_pci_region(&mem->pci, index, region);
	if (index == PTNETMAP_MEM_PCI_BAR) {
		region->flags |= VFIO_REGION_INFO_FLAG_MMAP;
		region->fd = mem->info.fd;
		region->fd_size = mem->map_size;
	}
}

static int op_read(void *dev, uint32_t index, uint64_t offset, void *data, uint32_t bytes)
{
	struct ptnet_mem *mem = dev;

	switch (index) {
	case VFIO_PCI_CONFIG_REGION_INDEX:
		vu_pci_read(&mem->pci, (uint32_t)offset, data, bytes);
		break;
	case PTNETMAP_IO_PCI_BAR:
		ptnet_regs_read(mem, read_register, (uint32_t)offset, data, bytes);
		break;
	case PTNETMAP_MEM_PCI_BAR:
		memset(data, 0, bytes);
		memcpy(data, (char *)mem->info.base + offset, inside(mem, offset, bytes));
		break;
	}
	return 0;
}

static int op_write(void *dev, uint32_t index, uint64_t offset, const void *data, uint32_t bytes)
{
	struct ptnet_mem *mem = dev;

	switch (index) {
	case VFIO_PCI_CONFIG_REGION_INDEX:
		vu_pci_write(&mem->pci, (uint32_t)offset, data, bytes);
		break;
	case PTNETMAP_IO_PCI_BAR:
		break; /* all read only */
	case PTNETMAP_MEM_PCI_BAR:
		memcpy((char *)mem->info.base + offset, data, inside(mem, offset, bytes));
		break;
	}
	return 0;
}

static void op_irq(void *dev, uint32_t index, struct vu_irq *irq)
{
	ptnet_notice_irq(index, irq);
}

static int op_dma_map(void *dev, const struct vu_dma_map *map, int fd)
{
	struct ptnet_mem *mem = dev;

	return guestmem_map(mem->ranges, map->address, map->size, map->flags, -1, 0);
}

static int op_dma_unmap(void *dev, uint64_t address, uint64_t size)
{
	struct ptnet_mem *mem = dev;

	return guestmem_unmap(mem->ranges, address, size);
}

static int op_dma_unmap_all(void *dev)
{
	struct ptnet_mem *mem = dev;

	return guestmem_unmap_all(mem->ranges);
}

static int op_reset(void *dev)
{
	struct ptnet_mem *mem = dev;

	vu_pci_reset(&mem->pci);
	return 0;
}

static void ended(void *dev)
{
	struct ptnet_mem *mem = dev;

	guestmem_unmap_all(mem->ranges);
	vu_pci_reset(&mem->pci);
}

static const struct vu_ops ops = {
	.region = op_region,
	.region_read = op_read,
	.region_write = op_write,
	.irq = op_irq,
	.dma_map = op_dma_map,
	.dma_unmap = op_dma_unmap,
	.dma_unmap_all = op_dma_unmap_all,
	.reset = op_reset,
};

/*
 * Life
 */

static void init_pci(struct ptnet_mem *mem)
{
	ptnet_init_pci(&mem->pci, PTNETMAP_PCI_DEVICE_ID, PTNETMAP_PCI_DEVICE_CLASS);
	vu_pci_add_bar(&mem->pci, PTNETMAP_IO_PCI_BAR, VU_BAR_IO, PTNETMAP_MDEV_IO_BAR_SIZE);
	vu_pci_add_bar(&mem->pci, PTNETMAP_MEM_PCI_BAR, VU_BAR_MEM64_PREFETCH, mem->bar_size);
}

static bool is_bar_size(uint64_t bytes)
{
	return bytes >= GUESTMEM_PAGE && (bytes & (bytes - 1)) == 0;
}

static int check_info(const struct ptnet_mem_info *info, uint64_t *map_size)
{
	const struct nmreq_pools_info *pools = &info->pools;
	struct stat st;
	uint64_t size = GUESTMEM_PAGE;

	if (info->size == 0 || info->size > 1ull << 62 || !is_bar_size(info->bar_min))
		return -ERANGE;
	if (pools->nr_if_pool_offset > UINT32_MAX || pools->nr_ring_pool_offset > UINT32_MAX ||
		pools->nr_buf_pool_offset > UINT32_MAX)
		return -ERANGE;
	while (size < info->size)
		size *= 2;
	if (fstat(info->fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size < size)
		return -EINVAL;
	*map_size = size;
	return 0;
}

int ptnet_mem_new(struct loop *loop, const char *path, const char *name,
	const struct ptnet_mem_info *info, struct ptnet_mem **out)
{
	struct ptnet_mem *mem;
	uint64_t map_size = 0;
	int error = check_info(info, &map_size);

	if (error)
		return error;
	mem = os_zalloc(sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	snprintf(mem->name, sizeof(mem->name), "%s", name);
	mem->info = *info;
	mem->map_size = map_size;
	mem->bar_size = map_size > info->bar_min ? map_size : info->bar_min;
	init_pci(mem);
	mem->info.fd = os_fd_keep(fcntl(info->fd, F_DUPFD_CLOEXEC, 3));
	if (mem->info.fd < 0) {
		error = -errno;
		goto fail;
	}
	error = -ENOMEM;
	mem->ranges = guestmem_new(mem->name);
	if (!mem->ranges)
		goto fail;
	guestmem_set_payer(mem->ranges, info->payer);
	error = vu_server_new(loop, path, &ops, mem, ended, mem->name, &mem->server);
	if (error)
		goto fail;
	vu_server_share(mem->server, info->budget);
	*out = mem;
	return 0;
fail:
	ptnet_mem_free(mem);
	return error;
}

void ptnet_mem_free(struct ptnet_mem *mem)
{
	if (!mem)
		return;
	vu_server_free(mem->server);
	guestmem_free(mem->ranges);
	closer_later(mem->info.fd); /* the region may be gone already */
	os_free(mem);
}

struct vu_server *ptnet_mem_server(struct ptnet_mem *mem)
{
	return mem->server;
}
