/* SPDX-License-Identifier: BSD-2-Clause */
#include "ptnet_net.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <net/netmap_virt.h>

#include "guestmem.h"
#include "notify.h"
#include "os.h"
#include "ptnet_regs.h"
#include "vu_pci.h"

enum {
	MSIX_BAR_SIZE = 4096,
	MSIX_PBA_OFFSET = 2048, /* bytes; behind a table of at most 128 vectors */
	CSB_ENTRY_SIZE = sizeof(struct nm_csb_atok),
};

static_assert(sizeof(struct nm_csb_atok) == 64 && sizeof(struct nm_csb_ktoa) == 64, "CSB layout");
static_assert(PTNET_MAX_RINGS * VU_MSIX_ENTRY_SIZE <= MSIX_PBA_OFFSET, "MSI-X table");
static_assert(PTNET_MAX_RINGS <= PORT_SERVICE_RINGS_MAX, "rings");
static_assert(PTNET_IO_KICK_BASE + 4 * PTNET_MAX_RINGS <= PTNET_IO_BAR_SIZE, "kicks");

/* One of the two CSB arrays. */
struct csb_array {
	uint32_t high;                 /* as written to the _BAH register */
	uint64_t addr;                 /* guest-physical; 0: none */
	struct guestmem_window window; /* open while running */
};

/* An MSI-X vector. */
struct vector {
	int fd; /* eventfd; ours; -1: none */
	bool masked;
};

struct ptnet_net {
	struct port_service *service;
	struct port_service_geometry geo;
	uint32_t rings;
	struct ptnet_net_config config; /* .name points to our copy */
	uint32_t first_hdr_len;         /* restored by a reset, bytes */
	struct vu_pci pci;
	struct guestmem *mem;
	struct vu_server *server;

	enum ptnet_state state;
	uint32_t features; /* granted */
	uint32_t result;   /* of the last command in PTCTL */
	struct csb_array gh, hg;
	struct vector vectors[PTNET_MAX_RINGS];
	struct vector request; /* REQ: please unplug */
	bool gone;             /* that was asked for */
	struct ptnet_net_stats stats;
	char name[PTNET_NAME_MAX];
};

/*
 * The CSB
 */

static uint64_t csb_bytes(const struct ptnet_net *net)
{
	return (uint64_t)net->rings * CSB_ENTRY_SIZE;
}

static void csb_close(struct ptnet_net *net)
{
	guestmem_close(net->mem, &net->gh.window);
	guestmem_close(net->mem, &net->hg.window);
}

/* Maps both arrays, or none of them. */
static int csb_open(struct ptnet_net *net)
{
	const unsigned int rw = GUESTMEM_READ | GUESTMEM_WRITE;
	int error = guestmem_open(net->mem, net->gh.addr, csb_bytes(net), rw, &net->gh.window);

	if (!error)
		error = guestmem_open(net->mem, net->hg.addr, csb_bytes(net), rw, &net->hg.window);
	if (error)
		csb_close(net);
	return error;
}

static bool csb_touches(const struct ptnet_net *net, uint64_t address, uint64_t size)
{
	return guestmem_overlap(address, size, net->gh.addr, csb_bytes(net)) ||
	       guestmem_overlap(address, size, net->hg.addr, csb_bytes(net));
}

/*
 * The service
 */

static int service_start(struct ptnet_net *net)
{
	int error;

	if (net->state != PTNET_STOPPED)
		return -EBUSY;
	if (!net->gh.addr || !net->hg.addr)
		return -ENXIO;
	if (net->gh.addr % CSB_ENTRY_SIZE || net->hg.addr % CSB_ENTRY_SIZE)
		return -EINVAL;
	if (guestmem_overlap(net->gh.addr, csb_bytes(net), net->hg.addr, csb_bytes(net)))
		return -EINVAL;
	error = csb_open(net);
	if (error)
		return error == -ENOMEM ? error : -EFAULT;
	error = port_service_start(net->service, net->gh.window.addr, net->hg.window.addr);
	if (error) {
		csb_close(net);
		return error;
	}
	net->state = PTNET_RUNNING;
	return 0;
}

/* Afterwards nobody touches guest memory. */
static void service_stop(struct ptnet_net *net)
{
	if (net->state == PTNET_STOPPED)
		return;
	port_service_stop(net->service);
	csb_close(net);
	net->state = PTNET_STOPPED;
}

static void service_suspend(struct ptnet_net *net)
{
	if (net->state != PTNET_RUNNING)
		return;
	port_service_suspend(net->service);
	csb_close(net);
	net->state = PTNET_SUSPENDED;
	net->stats.suspends++;
}

/* Goes on if the memory of both arrays is there. */
static void service_try_resume(struct ptnet_net *net)
{
	if (net->state != PTNET_SUSPENDED || csb_open(net) < 0)
		return;
	if (port_service_resume(net->service, net->gh.window.addr, net->hg.window.addr) < 0)
		csb_close(net);
	else
		net->state = PTNET_RUNNING;
}

/*
 * Registers
 */

static uint32_t read_register(const void *dev, uint32_t offset)
{
	const struct ptnet_net *net = dev;
	const uint8_t *mac = net->config.mac;

	switch (offset) {
	case PTNET_IO_PTFEAT:
		return net->features;
	case PTNET_IO_PTCTL:
		return net->result;
	case PTNET_IO_MAC_LO:
		return (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 |
		       mac[5];
	case PTNET_IO_MAC_HI:
		return (uint32_t)mac[0] << 8 | mac[1];
	case PTNET_IO_NIFP_OFS:
		return (uint32_t)net->geo.nifp_offset;
	case PTNET_IO_NUM_TX_RINGS:
		return net->geo.tx_rings;
	case PTNET_IO_NUM_RX_RINGS:
		return net->geo.rx_rings;
	case PTNET_IO_NUM_TX_SLOTS:
		return net->geo.tx_slots;
	case PTNET_IO_NUM_RX_SLOTS:
		return net->geo.rx_slots;
	case PTNET_IO_VNET_HDR_LEN:
		return port_service_hdr_len(net->service);
	case PTNET_IO_HOSTMEMID:
		return net->geo.region_id;
	default:
		return 0;
	}
}

static void command(struct ptnet_net *net, uint32_t value)
{
	int error = -EINVAL;

	if (value == PTNETMAP_PTCTL_CREATE) {
		error = service_start(net);
		if (error)
			net->stats.failed_creates++;
		else
			net->stats.creates++;
		if (error && error != -EBUSY)
			os_log(OS_LOG_WARN,
				"%s: the driver's CREATE failed, errno %d (CSB at 0x%llx, 0x%llx)",
				net->name, -error, (unsigned long long)net->gh.addr,
				(unsigned long long)net->hg.addr);
	} else if (value == PTNETMAP_PTCTL_DELETE) {
		service_stop(net);
		error = 0;
	}
	net->result = (uint32_t)-error;
}

/* A driver that doesn't ask for headers must not find those of the one before it. */
static void write_features(struct ptnet_net *net, uint32_t wanted)
{
	net->features = wanted & net->config.offered;
	if (!(net->features & PTNETMAP_F_VNET_HDR))
		(void)port_service_set_hdr_len(
			net->service, net->first_hdr_len); /* -EBUSY: running */
}

/* Not while the rings are served: then port_service_set_hdr_len() refuses. */
static void write_hdr_len(struct ptnet_net *net, uint32_t bytes)
{
	if (!(net->features & PTNETMAP_F_VNET_HDR) ||
		port_service_set_hdr_len(net->service, bytes) < 0)
		net->stats.ignored_writes++;
}

static void write_csb_high(struct ptnet_net *net, struct csb_array *array, uint32_t value)
{
	service_stop(net);
	array->high = value;
}

static void write_csb_low(struct ptnet_net *net, struct csb_array *array, uint32_t value)
{
	service_stop(net);
	array->addr = (uint64_t)array->high << 32 | value;
}

static void kick(struct ptnet_net *net, uint32_t offset)
{
	const uint32_t ring = (offset - PTNET_IO_KICK_BASE) / 4;

	if (ring >= net->rings || net->state == PTNET_STOPPED) {
		net->stats.ignored_writes++;
		return;
	}
	net->stats.kicks++;
	port_service_kick(net->service, ring);
}

static void write_register(struct ptnet_net *net, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case PTNET_IO_PTFEAT:
		write_features(net, value);
		break;
	case PTNET_IO_PTCTL:
		command(net, value);
		break;
	case PTNET_IO_VNET_HDR_LEN:
		write_hdr_len(net, value);
		break;
	case PTNET_IO_CSB_GH_BAH:
		write_csb_high(net, &net->gh, value);
		break;
	case PTNET_IO_CSB_GH_BAL:
		write_csb_low(net, &net->gh, value);
		break;
	case PTNET_IO_CSB_HG_BAH:
		write_csb_high(net, &net->hg, value);
		break;
	case PTNET_IO_CSB_HG_BAL:
		write_csb_low(net, &net->hg, value);
		break;
	default:
		if (offset >= PTNET_IO_KICK_BASE)
			kick(net, offset);
		else
			net->stats.ignored_writes++;
	}
}

/*
 * Regions
 */

static void op_region(void *dev, uint32_t index, struct vu_region *region)
{
	uint64_t size = 0;

	switch (index) {
	case VFIO_PCI_CONFIG_REGION_INDEX:
		size = VU_PCI_CONFIG_SIZE;
		break;
	case PTNETMAP_IO_PCI_BAR:
		size = PTNET_IO_BAR_SIZE;
		break;
	case PTNETMAP_MSIX_PCI_BAR:
		size = MSIX_BAR_SIZE;
		break;
	case PTNET_DOORBELL_BAR:
		size = PTNET_DOORBELL_BAR_SIZE;
		break;
	}
	/* None may be mapped: then the client would no longer post writes to the doorbells. */
	region->size = size;
	if (size)
		region->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
}

static int op_read(void *dev, uint32_t index, uint64_t offset, void *data, uint32_t bytes)
{
	struct ptnet_net *net = dev;

	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		vu_pci_read(&net->pci, (uint32_t)offset, data, bytes);
	else if (index == PTNETMAP_IO_PCI_BAR)
		ptnet_regs_read(net, read_register, (uint32_t)offset, data, bytes);
	else
		memset(data, 0, bytes); /* doorbells; MSI-X: nothing is ever pending here */
	return 0;
}

static int op_write(void *dev, uint32_t index, uint64_t offset, const void *data, uint32_t bytes)
{
	struct ptnet_net *net = dev;

	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		vu_pci_write(&net->pci, (uint32_t)offset, data, bytes);
	else if (index == PTNETMAP_MSIX_PCI_BAR || bytes != 4 || offset % 4)
		net->stats.ignored_writes++;
	else if (index == PTNETMAP_IO_PCI_BAR)
		write_register(net, (uint32_t)offset, ptnet_regs_value(data));
	else if (offset >= PTNET_IO_KICK_BASE)
		kick(net, (uint32_t)offset);
	else
		net->stats.ignored_writes++;
	return 0;
}

/*
 * Interrupts
 */

static void op_irq(void *dev, uint32_t index, struct vu_irq *irq)
{
	const struct ptnet_net *net = dev;

	ptnet_notice_irq(index, irq);
	if (index == VFIO_PCI_MSIX_IRQ_INDEX) {
		irq->count = net->rings;
		irq->flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE;
	}
}

static void trigger(const struct vector *vector)
{
	if (vector->fd >= 0)
		notify_eventfd(vector->fd);
}

/* Duplicates the eventfd that the client gives for REQ; -1: none. */
static int request_set(struct ptnet_net *net, int fd)
{
	int copy = -1;

	if (fd >= 0) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return -errno;
	}
	if (net->request.fd >= 0)
		close(net->request.fd);
	net->request.fd = copy;
	if (net->gone)
		trigger(&net->request);
	return 0;
}

static int vector_apply(struct ptnet_net *net, uint32_t i)
{
	const struct vector *vector = &net->vectors[i];

	return port_service_set_irq(net->service, i, vector->masked ? -1 : vector->fd);
}

/* Duplicates fd; -1: none. */
static int vector_set(struct ptnet_net *net, uint32_t i, int fd)
{
	struct vector *vector = &net->vectors[i];
	int old = vector->fd, copy = -1, error;

	if (fd >= 0) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return -errno;
	}
	vector->fd = copy;
	error = vector_apply(net, i);
	if (error) {
		vector->fd = old;
		old = copy;
	} else if (old < 0 && net->state != PTNET_STOPPED) {
		trigger(vector); /* what would have come before is not known */
	}
	if (old >= 0)
		close(old);
	return error;
}

static int op_irq_set(void *dev, uint32_t index, uint32_t start, uint32_t count, const int *fds)
{
	struct ptnet_net *net = dev;
	uint32_t i;
	int error = 0;

	if (index == VFIO_PCI_REQ_IRQ_INDEX)
		return count ? request_set(net, fds ? fds[0] : -1) : 0;
	if (index != VFIO_PCI_MSIX_IRQ_INDEX)
		return 0; /* nothing is ever signalled */
	for (i = 0; i < count && !error; i++)
		error = vector_set(net, start + i, fds ? fds[i] : -1);
	return error;
}

static int vector_action(struct ptnet_net *net, uint32_t i, enum vu_irq_action action)
{
	struct vector *vector = &net->vectors[i];
	const bool was_masked = vector->masked;
	int error;

	if (action == VU_IRQ_TRIGGER) {
		trigger(vector);
		return 0;
	}
	vector->masked = action == VU_IRQ_MASK;
	error = vector_apply(net, i);
	if (error)
		vector->masked = was_masked;
	else if (was_masked && !vector->masked)
		trigger(vector); /* what came while it was masked is not known */
	return error;
}

static int op_irq_action(void *dev, uint32_t index, uint32_t start, uint32_t count,
	enum vu_irq_action action, const uint8_t *which)
{
	struct ptnet_net *net = dev;
	uint32_t i;
	int error = 0;

	if (index != VFIO_PCI_MSIX_IRQ_INDEX)
		return -EOPNOTSUPP;
	for (i = 0; i < count && !error; i++) {
		if (!which || which[i])
			error = vector_action(net, start + i, action);
	}
	return error;
}

/*
 * Guest memory
 */

static int op_dma_map(void *dev, const struct vu_dma_map *map, int fd)
{
	static_assert(GUESTMEM_READ == VFIO_DMA_MAP_FLAG_READ, "same bits");
	static_assert(GUESTMEM_WRITE == VFIO_DMA_MAP_FLAG_WRITE, "same bits");
	struct ptnet_net *net = dev;
	int error = guestmem_map(net->mem, map->address, map->size, map->flags, fd, map->offset);

	if (!error)
		service_try_resume(net); /* the memory is there, whatever comes of it */
	return error;
}

static int op_dma_unmap(void *dev, uint64_t address, uint64_t size)
{
	struct ptnet_net *net = dev;

	if (!guestmem_has(net->mem, address, size))
		return -ENOENT;
	if (csb_touches(net, address, size)) {
		service_suspend(net);
	}
	return guestmem_unmap(net->mem, address, size);
}

static int op_dma_unmap_all(void *dev)
{
	struct ptnet_net *net = dev;

	service_suspend(net);
	return guestmem_unmap_all(net->mem);
}

/*
 * Back to the initial state
 */

static void reset(struct ptnet_net *net)
{
	uint32_t i;

	port_service_reset(net->service);
	csb_close(net);
	net->state = PTNET_STOPPED;
	net->features = 0;
	net->result = 0;
	net->gh.high = net->hg.high = 0;
	net->gh.addr = net->hg.addr = 0;
	(void)port_service_set_hdr_len(
		net->service, net->first_hdr_len); /* was in use: can't fail */
	for (i = 0; i < net->rings; i++) {
		if (net->vectors[i].masked)
			(void)vector_action(net, i, VU_IRQ_UNMASK);
	}
	vu_pci_reset(&net->pci);
}

/* The eventfds and the memory map are the hypervisor's, not the guest's: they stay. */
static int op_reset(void *dev)
{
	struct ptnet_net *net = dev;

	reset(net);
	net->stats.resets++;
	return 0;
}

static void ended(void *dev)
{
	struct ptnet_net *net = dev;
	uint32_t i;

	for (i = 0; i < net->rings; i++) {
		net->vectors[i].masked = false;
		(void)vector_set(net, i, -1); /* to take one away can't fail */
	}
	(void)request_set(net, -1);
	reset(net);
	guestmem_unmap_all(net->mem);
}

static const struct vu_ops ops = {
	.region = op_region,
	.region_read = op_read,
	.region_write = op_write,
	.irq = op_irq,
	.irq_set = op_irq_set,
	.irq_action = op_irq_action,
	.dma_map = op_dma_map,
	.dma_unmap = op_dma_unmap,
	.dma_unmap_all = op_dma_unmap_all,
	.reset = op_reset,
};

/*
 * Life
 */

static void init_pci(struct ptnet_net *net)
{
	static const struct vu_pci_id id = {
		.vendor = PTNETMAP_PCI_VENDOR_ID,
		.device = PTNETMAP_PCI_NETIF_ID,
		.subsys_vendor = PTNETMAP_PCI_SUBSYS_VENDOR_ID,
		.subsys = PTNETMAP_PCI_SUBSYS_ID,
		.class_code = PTNETMAP_PCI_NETIF_CLASS,
	};

	vu_pci_init(&net->pci, &id);
	vu_pci_add_bar(&net->pci, PTNETMAP_IO_PCI_BAR, VU_BAR_IO, PTNET_IO_BAR_SIZE);
	vu_pci_add_bar(&net->pci, PTNETMAP_MSIX_PCI_BAR, VU_BAR_MEM, MSIX_BAR_SIZE);
	vu_pci_add_bar(&net->pci, PTNET_DOORBELL_BAR, VU_BAR_MEM, PTNET_DOORBELL_BAR_SIZE);
	vu_pci_add_msix(&net->pci, PTNETMAP_MSIX_PCI_BAR, net->rings, 0, MSIX_PBA_OFFSET);
}

int ptnet_net_new(struct loop *loop, const char *path, const struct ptnet_net_config *config,
	struct port_service *service, struct ptnet_net **out)
{
	struct port_service_geometry geo;
	struct ptnet_net *net;
	uint32_t i;
	int error;

	port_service_geometry(service, &geo);
	if (geo.tx_rings == 0 && geo.rx_rings == 0)
		return -EINVAL;
	if (geo.tx_rings > PTNET_MAX_RINGS || geo.rx_rings > PTNET_MAX_RINGS - geo.tx_rings)
		return -E2BIG;
	if (geo.nifp_offset > UINT32_MAX)
		return -ERANGE;
	net = calloc(1, sizeof(*net));
	if (!net)
		return -ENOMEM;
	snprintf(net->name, sizeof(net->name), "%s", config->name);
	net->config = *config;
	net->config.name = net->name;
	net->service = service;
	net->geo = geo;
	net->rings = geo.tx_rings + geo.rx_rings;
	net->first_hdr_len = port_service_hdr_len(service);
	for (i = 0; i < PTNET_MAX_RINGS; i++)
		net->vectors[i].fd = -1;
	net->request.fd = -1;
	init_pci(net);
	error = -ENOMEM;
	net->mem = guestmem_new(net->name);
	if (!net->mem)
		goto fail;
	error = vu_server_new(loop, path, &ops, net, ended, net->name, &net->server);
	if (error)
		goto fail;
	*out = net;
	return 0;
fail:
	ptnet_net_free(net);
	return error;
}

void ptnet_net_free(struct ptnet_net *net)
{
	if (!net)
		return;
	vu_server_free(net->server);
	guestmem_free(net->mem);
	free(net);
}

void ptnet_net_request_unplug(struct ptnet_net *net)
{
	if (net->gone)
		return;
	net->gone = true;
	os_log(OS_LOG_INFO, "%s: the port is gone; the hypervisor is asked to unplug its device",
		net->name);
	trigger(&net->request);
}

struct vu_server *ptnet_net_server(struct ptnet_net *net)
{
	return net->server;
}

void ptnet_net_stats(const struct ptnet_net *net, struct ptnet_net_stats *stats)
{
	*stats = net->stats;
	stats->state = net->state;
	stats->features = net->features;
	stats->dma_ranges = guestmem_ranges(net->mem);
}
