/* SPDX-License-Identifier: BSD-2-Clause */
#include "ptnet_csb.h"

#include <assert.h>
#include <errno.h>
#include <linux/vfio.h>

enum { ENTRY = sizeof(struct nm_csb_atok) };

static_assert(sizeof(struct nm_csb_atok) == 64 && sizeof(struct nm_csb_ktoa) == 64, "CSB layout");
static_assert(GUESTMEM_READ == VFIO_DMA_MAP_FLAG_READ, "same bits");
static_assert(GUESTMEM_WRITE == VFIO_DMA_MAP_FLAG_WRITE, "same bits");

int ptnet_csb_init(
	struct ptnet_csb *csb, struct port_service *service, uint32_t rings, const char *name)
{
	*csb = (struct ptnet_csb){.service = service, .bytes = (uint64_t)rings * ENTRY};
	csb->mem = guestmem_new(name);
	return csb->mem ? 0 : -ENOMEM;
}

void ptnet_csb_exit(struct ptnet_csb *csb)
{
	guestmem_free(csb->mem);
}

/* ---- mapping ---------------------------------------------------------------------------- */

static void close_arrays(struct ptnet_csb *csb)
{
	for (int i = 0; i < PTNET_CSBS; i++)
		guestmem_close(csb->mem, &csb->array[i].window);
}

/* Both, or none of them. */
static int open_arrays(struct ptnet_csb *csb)
{
	int error = 0;

	for (int i = 0; i < PTNET_CSBS && !error; i++)
		error = guestmem_open(csb->mem, csb->array[i].addr, csb->bytes,
			GUESTMEM_READ | GUESTMEM_WRITE, &csb->array[i].window);
	if (error)
		close_arrays(csb);
	return error;
}

static bool touches(const struct ptnet_csb *csb, uint64_t address, uint64_t size)
{
	for (int i = 0; i < PTNET_CSBS; i++)
		if (guestmem_overlap(address, size, csb->array[i].addr, csb->bytes))
			return true;
	return false;
}

static int check_addresses(const struct ptnet_csb *csb)
{
	const uint64_t gh = csb->array[PTNET_CSB_GH].addr, hg = csb->array[PTNET_CSB_HG].addr;

	if (!gh || !hg)
		return -ENXIO;
	if (gh % ENTRY || hg % ENTRY || guestmem_overlap(gh, csb->bytes, hg, csb->bytes))
		return -EINVAL;
	return 0;
}

/* ---- service ---------------------------------------------------------------------------- */

int ptnet_csb_start(struct ptnet_csb *csb)
{
	int error;

	if (port_service_state(csb->service) != PORT_STOPPED)
		return -EBUSY;
	error = check_addresses(csb);
	if (error)
		return error;
	error = open_arrays(csb);
	if (error)
		return error == -ENOMEM ? error : -EFAULT;
	return port_service_start(csb->service, csb->array[PTNET_CSB_GH].window.addr,
		csb->array[PTNET_CSB_HG].window.addr);
}

void ptnet_csb_stop(struct ptnet_csb *csb)
{
	port_service_stop(csb->service);
	close_arrays(csb);
}

static void suspend(struct ptnet_csb *csb)
{
	if (port_service_state(csb->service) != PORT_RUNNING)
		return;
	port_service_suspend(csb->service);
	close_arrays(csb);
	csb->suspends++;
}

/* If the memory of both arrays is there. */
static void try_resume(struct ptnet_csb *csb)
{
	if (port_service_state(csb->service) != PORT_SUSPENDED || open_arrays(csb) < 0)
		return;
	port_service_resume(csb->service, csb->array[PTNET_CSB_GH].window.addr,
		csb->array[PTNET_CSB_HG].window.addr);
}

void ptnet_csb_set_high(struct ptnet_csb *csb, enum ptnet_csb_dir dir, uint32_t value)
{
	ptnet_csb_stop(csb);
	csb->array[dir].high = value;
}

void ptnet_csb_set_low(struct ptnet_csb *csb, enum ptnet_csb_dir dir, uint32_t value)
{
	ptnet_csb_stop(csb);
	csb->array[dir].addr = (uint64_t)csb->array[dir].high << 32 | value;
}

void ptnet_csb_reset(struct ptnet_csb *csb)
{
	port_service_reset(csb->service);
	close_arrays(csb);
	for (int i = 0; i < PTNET_CSBS; i++)
		csb->array[i].high = csb->array[i].addr = 0;
}

/* ---- guest memory ----------------------------------------------------------------------- */

int ptnet_csb_dma_map(struct ptnet_csb *csb, const struct vu_dma_map *map, int fd)
{
	int error = guestmem_map(csb->mem, map->address, map->size, map->flags, fd, map->offset);

	if (!error)
		try_resume(csb);
	return error;
}

int ptnet_csb_dma_unmap(struct ptnet_csb *csb, uint64_t address, uint64_t size)
{
	if (!guestmem_has(csb->mem, address, size))
		return -ENOENT;
	if (touches(csb, address, size))
		suspend(csb);
	return guestmem_unmap(csb->mem, address, size);
}

int ptnet_csb_dma_unmap_all(struct ptnet_csb *csb)
{
	suspend(csb);
	return guestmem_unmap_all(csb->mem);
}
