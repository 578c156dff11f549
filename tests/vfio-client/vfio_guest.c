/* SPDX-License-Identifier: BSD-2-Clause */
#include "vfio_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>

enum { PAGE = 4096, KIB = 1024, MIB = 1024 * KIB, CSB_BASE = MIB };

struct vg {
	int ram_fd;
	char *ram;
	uint64_t size;
	struct vg_port *ports[VG_PORTS_MAX];
	struct vg_mem *mems[VG_MEMS_MAX];
	uint32_t num_ports, num_mems;
};

/*
 * The machine
 */

int vg_new(uint64_t ram_bytes, struct vg **out)
{
	struct vg *vg = calloc(1, sizeof(*vg));

	if (!vg)
		return -ENOMEM;
	vg->size = ram_bytes;
	vg->ram = MAP_FAILED;
	vg->ram_fd = memfd_create("vg-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (vg->ram_fd >= 0 && ftruncate(vg->ram_fd, (off_t)ram_bytes) == 0 &&
		fcntl(vg->ram_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		vg->ram = mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vg->ram_fd, 0);
	if (vg->ram == MAP_FAILED) {
		int error = -errno;

		vg_free(vg);
		return error;
	}
	*out = vg;
	return 0;
}

static void mem_free(struct vg_mem *mem)
{
	if (mem->base)
		munmap(mem->base, mem->map_size);
	vfc_close(mem->client);
	free(mem);
}

static void port_free(struct vg_port *port)
{
	uint32_t i;

	vg_close_port(port);
	for (i = 0; i < PTNET_MAX_RINGS; i++) {
		if (port->rings[i].irq_fd >= 0)
			close(port->rings[i].irq_fd);
	}
	pthread_mutex_destroy(&port->kick_lock);
	free(port);
}

void vg_free(struct vg *vg)
{
	uint32_t i;

	if (!vg)
		return;
	for (i = 0; i < vg->num_ports; i++)
		port_free(vg->ports[i]);
	for (i = 0; i < vg->num_mems; i++)
		mem_free(vg->mems[i]);
	if (vg->ram != MAP_FAILED)
		munmap(vg->ram, vg->size);
	if (vg->ram_fd >= 0)
		close(vg->ram_fd);
	free(vg);
}

void *vg_ram(struct vg *vg, uint64_t gpa)
{
	return vg->ram + gpa;
}

int vg_ram_fd(const struct vg *vg)
{
	return vg->ram_fd;
}

/*
 * Hypervisor
 */

struct ram_range {
	uint64_t start, end;
	uint32_t flags;
};

static uint32_t ram_layout(const struct vg *vg, struct ram_range *ranges)
{
	const uint32_t read = VFIO_DMA_MAP_FLAG_READ, write = VFIO_DMA_MAP_FLAG_WRITE;

	ranges[0] = (struct ram_range){0, 640 * KIB, read | write};
	ranges[1] = (struct ram_range){768 * KIB, MIB, read};
	ranges[2] = (struct ram_range){MIB, vg->size, read | write};
	return 3;
}

static int map_ram(struct vg *vg, struct vfc *client)
{
	struct ram_range ranges[3];
	uint32_t i, count = ram_layout(vg, ranges);
	int error = 0;

	for (i = 0; i < count && !error; i++)
		error = vfc_dma_map(client, ranges[i].start, ranges[i].end - ranges[i].start,
			ranges[i].flags, vg->ram_fd, ranges[i].start);
	return error;
}

int vg_map_ram(struct vg_port *port)
{
	return map_ram(port->vg, port->client);
}

int vg_unmap_ram(struct vg_port *port)
{
	struct ram_range ranges[3];
	uint32_t i, count = ram_layout(port->vg, ranges);
	int error = 0;

	for (i = 0; i < count && !error; i++)
		error = vfc_dma_unmap(
			port->client, ranges[i].start, ranges[i].end - ranges[i].start);
	return error;
}

/* What QEMU asks a device before it shows it to the guest. */
static int realize(struct vg *vg, const char *path, uint16_t device, struct vfc **out)
{
	struct vu_region_info_msg region;
	struct vu_device_info info;
	struct vu_irq_info_msg irq;
	uint8_t config[256];
	struct vfc *client;
	int error = vfc_connect(path, &client);
	uint32_t i;
	int fd;

	if (error)
		return error;
	*out = client; /* the caller closes it also when something fails from here on */
	error = vfc_negotiate(client);
	if (!error)
		error = map_ram(vg, client);
	if (!error)
		error = vfc_device_info(client, &info);
	if (!error && !(info.flags & VFIO_DEVICE_FLAGS_PCI))
		error = -EPROTO;
	for (i = 0; i < VFIO_PCI_NUM_REGIONS && !error; i++) {
		error = vfc_region_info(client, i, &region, &fd);
		if (!error && fd >= 0)
			close(fd);
	}
	if (!error)
		error = vfc_read(client, VFIO_PCI_CONFIG_REGION_INDEX, 0, config, sizeof(config));
	if (!error &&
		(config[PCI_VENDOR_ID] | config[PCI_VENDOR_ID + 1] << 8) != PTNETMAP_PCI_VENDOR_ID)
		error = -EPROTO;
	if (!error && (config[PCI_DEVICE_ID] | config[PCI_DEVICE_ID + 1] << 8) != device)
		error = -EPROTO;
	if (!error)
		error = vfc_irq_info(client, VFIO_PCI_MSIX_IRQ_INDEX, &irq);
	if (!error)
		error = vfc_reset(client);
	return error;
}

/* BAR1, mapped. */
static int mem_map(struct vg_mem *mem)
{
	struct vu_region_info_msg info;
	uint64_t bytes;
	void *base;
	int fd, error = vfc_region_area(mem->client, PTNETMAP_MEM_PCI_BAR, &info, &bytes, &fd);

	if (error)
		return error;
	if (fd < 0 || bytes == 0 || bytes > info.size)
		return -EPROTO;
	base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)info.offset);
	error = base == MAP_FAILED ? -errno : 0;
	close(fd);
	if (error)
		return error;
	mem->base = base;
	mem->map_size = bytes;
	return 0;
}

/* What the driver of the memory function reads. */
static int mem_probe(struct vg_mem *mem)
{
	static const uint32_t regs[] = {PTNET_MDEV_IO_MEMSIZE_LO, PTNET_MDEV_IO_MEMSIZE_HI,
		PTNET_MDEV_IO_MEMID, PTNET_MDEV_IO_BUF_POOL_OFS, PTNET_MDEV_IO_BUF_POOL_OBJNUM,
		PTNET_MDEV_IO_BUF_POOL_OBJSZ};
	uint32_t value[sizeof(regs) / sizeof(regs[0])];
	size_t i;
	int error;

	for (i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
		error = vfc_read32(mem->client, PTNETMAP_IO_PCI_BAR, regs[i], &value[i]);
		if (error)
			return error;
	}
	mem->size = value[0] | (uint64_t)value[1] << 32;
	mem->id = value[2];
	mem->buf_ofs = value[3];
	mem->buf_count = value[4];
	mem->buf_size = value[5];
	if (mem->size > mem->map_size || mem->buf_ofs > mem->size ||
		(uint64_t)mem->buf_count * mem->buf_size > mem->size - mem->buf_ofs)
		return -EPROTO;
	return 0;
}

int vg_add_mem(struct vg *vg, const char *path, struct vg_mem **out)
{
	struct vg_mem *mem;
	int error;

	if (vg->num_mems == VG_MEMS_MAX)
		return -ENOSPC;
	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	error = realize(vg, path, PTNETMAP_PCI_DEVICE_ID, &mem->client);
	if (!error)
		error = mem_map(mem);
	if (!error)
		error = mem_probe(mem);
	if (error) {
		mem_free(mem);
		return error;
	}
	vg->mems[vg->num_mems++] = mem;
	if (out)
		*out = mem;
	return 0;
}

/* In messages of at most VU_FDS_MAX descriptors. */
static int give_vectors(struct vg_port *port)
{
	int fds[PTNET_MAX_RINGS];
	struct vu_irq_info_msg irq;
	uint32_t i, count;
	int error = vfc_irq_info(port->client, VFIO_PCI_MSIX_IRQ_INDEX, &irq);

	if (error)
		return error;
	if (irq.count == 0 || irq.count > PTNET_MAX_RINGS)
		return -EPROTO;
	for (i = 0; i < irq.count; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fds[i] < 0)
			return -errno;
		port->rings[i].irq_fd = fds[i];
	}
	for (i = 0; i < irq.count && !error; i += count) {
		count = irq.count - i < VU_FDS_MAX ? irq.count - i : VU_FDS_MAX;
		error = vfc_irq_eventfds(port->client, VFIO_PCI_MSIX_IRQ_INDEX, i, count, fds + i);
	}
	return error;
}

int vg_add_port(struct vg *vg, const char *path, struct vg_port **out)
{
	struct vg_port *port;
	uint32_t i;
	int error;

	if (vg->num_ports == VG_PORTS_MAX)
		return -ENOSPC;
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	port->vg = vg;
	port->doorbell = true;
	port->gh = CSB_BASE + (uint64_t)vg->num_ports * 2 * PAGE;
	port->hg = port->gh + PAGE;
	pthread_mutex_init(&port->kick_lock, NULL);
	for (i = 0; i < PTNET_MAX_RINGS; i++)
		port->rings[i].irq_fd = -1;
	error = port->hg + PAGE <= vg->size ? 0 : -ENOSPC;
	if (!error)
		error = realize(vg, path, PTNETMAP_PCI_NETIF_ID, &port->client);
	if (!error)
		error = give_vectors(port);
	if (error) {
		port_free(port);
		return error;
	}
	vg->ports[vg->num_ports++] = port;
	*out = port;
	return 0;
}

void vg_close_port(struct vg_port *port)
{
	vfc_close(port->client);
	port->client = NULL;
}

/*
 * Driver
 */

static int read_reg(struct vg_port *port, uint32_t reg, uint32_t *value)
{
	return vfc_read32(port->client, PTNETMAP_IO_PCI_BAR, reg, value);
}

static int write_reg(struct vg_port *port, uint32_t reg, uint32_t value)
{
	return vfc_write32(port->client, PTNETMAP_IO_PCI_BAR, reg, value);
}

static int exchange_reg(struct vg_port *port, uint32_t reg, uint32_t wanted, uint32_t *value)
{
	int error = write_reg(port, reg, wanted);

	return error ? error : read_reg(port, reg, value);
}

int vg_ptctl(struct vg_port *port, uint32_t command)
{
	uint32_t result;
	int error = exchange_reg(port, PTNET_IO_PTCTL, command, &result);

	if (error)
		return error;
	return result > 4095 ? -EPROTO : -(int)result;
}

int vg_write_csb(struct vg_port *port, uint64_t gh, uint64_t hg)
{
	int error = write_reg(port, PTNET_IO_CSB_GH_BAH, (uint32_t)(gh >> 32));

	if (!error)
		error = write_reg(port, PTNET_IO_CSB_GH_BAL, (uint32_t)gh);
	if (!error)
		error = write_reg(port, PTNET_IO_CSB_HG_BAH, (uint32_t)(hg >> 32));
	if (!error)
		error = write_reg(port, PTNET_IO_CSB_HG_BAL, (uint32_t)hg);
	return error;
}

static int read_mac(struct vg_port *port)
{
	uint32_t hi, lo;
	int i, error = read_reg(port, PTNET_IO_MAC_HI, &hi);

	if (!error)
		error = read_reg(port, PTNET_IO_MAC_LO, &lo);
	if (error)
		return error;
	for (i = 0; i < 2; i++)
		port->mac[i] = (uint8_t)(hi >> (8 - 8 * i));
	for (i = 0; i < 4; i++)
		port->mac[2 + i] = (uint8_t)(lo >> (24 - 8 * i));
	return 0;
}

static int find_mem(struct vg_port *port)
{
	uint32_t id, i;
	int error = read_reg(port, PTNET_IO_HOSTMEMID, &id);

	if (error)
		return error;
	for (i = 0; i < port->vg->num_mems; i++) {
		if (port->vg->mems[i]->id == id) {
			port->mem = port->vg->mems[i];
			return 0;
		}
	}
	return -ENODEV;
}

/* The rings, by way of the netmap_if. */
static int find_rings(struct vg_port *port, uint32_t nifp_ofs)
{
	const uint64_t size = port->mem->size;
	const struct netmap_if *nifp;
	uint32_t i;

	if (nifp_ofs > size - sizeof(*nifp) || nifp_ofs % 8)
		return -EPROTO;
	nifp = (const struct netmap_if *)(port->mem->base + nifp_ofs);
	if (nifp->ni_tx_rings != port->tx_rings || nifp->ni_rx_rings != port->rx_rings ||
		nifp->ni_host_tx_rings < 1 || nifp->ni_host_rx_rings < 1)
		return -EPROTO;
	for (i = 0; i < port->tx_rings + port->rx_rings; i++) {
		struct vg_ring *r = &port->rings[i];
		uint32_t entry = i;
		int64_t ofs;

		r->port = port;
		r->index = i;
		r->tx = i < port->tx_rings;
		if (!r->tx)
			entry += nifp->ni_host_tx_rings;
		ofs = nifp->ring_ofs[entry] + (int64_t)nifp_ofs;
		if (ofs <= 0 || (uint64_t)ofs > size - sizeof(*r->ring))
			return -EPROTO;
		r->ring = (struct netmap_ring *)(port->mem->base + ofs);
		if (r->ring->num_slots != (r->tx ? port->tx_slots : port->rx_slots))
			return -EPROTO;
	}
	return 0;
}

int vg_probe(struct vg_port *port, uint32_t features)
{
	uint32_t nifp_ofs, rings;
	int error = exchange_reg(port, PTNET_IO_PTFEAT, features, &port->features);

	if (!error)
		error = read_reg(port, PTNET_IO_NUM_TX_RINGS, &port->tx_rings);
	if (!error)
		error = read_reg(port, PTNET_IO_NUM_RX_RINGS, &port->rx_rings);
	if (error)
		return error;
	if (port->tx_rings > PTNET_MAX_RINGS || port->rx_rings > PTNET_MAX_RINGS - port->tx_rings)
		return -EPROTO;
	rings = port->tx_rings + port->rx_rings;
	port->atok = vg_ram(port->vg, port->gh);
	port->ktoa = vg_ram(port->vg, port->hg);
	memset(port->atok, 0, rings * sizeof(*port->atok));
	memset(port->ktoa, 0, rings * sizeof(*port->ktoa));
	error = vg_write_csb(port, port->gh, port->hg);
	if (!error)
		error = read_mac(port);
	if (!error)
		error = read_reg(port, PTNET_IO_NIFP_OFS, &nifp_ofs);
	if (!error)
		error = read_reg(port, PTNET_IO_NUM_TX_SLOTS, &port->tx_slots);
	if (!error)
		error = read_reg(port, PTNET_IO_NUM_RX_SLOTS, &port->rx_slots);
	if (!error)
		error = find_mem(port);
	if (!error)
		error = exchange_reg(port, PTNET_IO_VNET_HDR_LEN, 0, &port->hdr_len);
	if (!error)
		error = find_rings(port, nifp_ofs);
	return error;
}

int vg_start(struct vg_port *port, uint32_t hdr_len)
{
	const uint32_t rings = port->tx_rings + port->rx_rings;
	uint32_t i;
	int error;

	for (i = 0; i < rings; i++) {
		OS_STORE(&port->atok[i].appl_need_kick, !port->rings[i].tx);
		OS_STORE(&port->ktoa[i].kern_need_kick, 1);
	}
	error = exchange_reg(port, PTNET_IO_VNET_HDR_LEN, hdr_len, &port->hdr_len);
	if (!error)
		error = vg_ptctl(port, PTNETMAP_PTCTL_CREATE);
	if (error)
		return error;
	for (i = 0; i < rings; i++) {
		struct vg_ring *r = &port->rings[i];

		if (nm_csb_appl_init(&r->csb, &port->atok[i], &port->ktoa[i],
			    r->tx ? port->tx_slots : port->rx_slots) < 0)
			return -EPROTO;
		r->head = r->csb.head;
	}
	return 0;
}

int vg_stop(struct vg_port *port)
{
	return vg_ptctl(port, PTNETMAP_PTCTL_DELETE);
}

int vg_end(struct vg_port *port)
{
	int error = vg_stop(port);

	return error ? error : vg_write_csb(port, 0, 0);
}

/*
 * Rings
 */

static int kick(struct vg_ring *r)
{
	struct vg_port *port = r->port;
	const uint32_t reg = PTNET_IO_KICK_BASE + 4 * r->index;
	int error;

	r->kicks++;
	pthread_mutex_lock(&port->kick_lock);
	if (port->doorbell)
		error = vfc_post32(port->client, PTNET_DOORBELL_BAR, reg, 0);
	else
		error = write_reg(port, reg, 0);
	pthread_mutex_unlock(&port->kick_lock);
	return error;
}

void vg_bridge(struct vg_ring *rx, struct vg_ring *tx)
{
	uint32_t n = vg_avail(rx) < vg_avail(tx) ? vg_avail(rx) : vg_avail(tx);

	for (uint32_t i = 0; i < n; i++) {
		struct netmap_slot *from = vg_slot(rx, i), *to = vg_slot(tx, i);
		uint32_t spare = to->buf_idx;

		to->buf_idx = from->buf_idx;
		to->len = from->len;
		to->flags = NS_BUF_CHANGED;
		from->buf_idx = spare;
		from->flags = NS_BUF_CHANGED;
	}
	vg_advance(rx, n);
	vg_advance(tx, n);
}

int vg_sync(struct vg_ring *r)
{
	int error = 0;

	if (nm_csb_appl_publish(&r->csb, r->head, r->head))
		error = kick(r);
	if (!error && !nm_csb_appl_load(&r->csb))
		error = -EPROTO;
	return error;
}

int vg_wait(struct vg_ring *r, int timeout_ms)
{
	struct pollfd pfd = {.fd = r->irq_fd, .events = POLLIN};
	uint64_t count;
	int n;

	if (vg_avail(r) > 0)
		return 0;
	/* A signal of before is no news, and one too many does no harm. */
	if (nm_csb_appl_sleep(&r->csb))
		return 0;
	do {
		n = poll(&pfd, 1, timeout_ms);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n > 0 && read(r->irq_fd, &count, sizeof(count)) == sizeof(count))
		r->interrupts++;
	nm_csb_appl_awake(&r->csb);
	if (!nm_csb_appl_load(&r->csb))
		return -EPROTO;
	return n > 0 ? 0 : -ETIMEDOUT;
}

int vg_put(struct vg_ring *r, const void *data, uint32_t bytes)
{
	struct netmap_slot *slot;

	if (vg_avail(r) == 0)
		return -EAGAIN;
	if (bytes > r->port->mem->buf_size)
		return -EMSGSIZE;
	slot = vg_slot(r, 0);
	memcpy(vg_buf(r, slot), data, bytes);
	slot->len = (uint16_t)bytes;
	slot->flags = 0;
	vg_advance(r, 1);
	return 0;
}

int vg_take(struct vg_ring *r, void *data, uint32_t room)
{
	const struct netmap_slot *slot;
	uint32_t bytes;

	if (vg_avail(r) == 0)
		return -EAGAIN;
	slot = vg_slot(r, 0);
	bytes = slot->len;
	if (bytes > room)
		return -EMSGSIZE;
	memcpy(data, vg_buf(r, slot), bytes);
	vg_advance(r, 1);
	return (int)bytes;
}
