/* SPDX-License-Identifier: BSD-2-Clause */
/* Registers, reset and construction; ptnet_csb.c and ptnet_irq.c have the rest. */
#include "ptnet_net.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "offload.h"
#include "os.h"
#include "rss.h"
#include "ptnet_csb.h"
#include "ptnet_irq.h"
#include "ptnet_regs.h"

enum {
	MSIX_BAR_SIZE = 4096,
	MSIX_PBA_OFFSET = 2048, /* bytes; behind a table of at most 128 vectors */
};

static_assert(PTNET_MAX_RINGS * VU_MSIX_ENTRY_SIZE <= MSIX_PBA_OFFSET, "MSI-X table");
static_assert(PTNET_MAX_RINGS <= PORT_SERVICE_RINGS_MAX, "rings");
static_assert(sizeof(struct nm_rss_config) / 4 == PTNET_RSS_WORDS, "key and table");
static_assert(offsetof(struct nm_rss_config, table) / 4 == PTNET_RSS_TABLE, "table");
static_assert(PTNET_IO_KICK_BASE + 4 * PTNET_MAX_RINGS <= PTNET_IO_BAR_SIZE, "kicks");

struct ptnet_net {
	struct port_service *service;
	struct port_service_geometry geo;
	uint32_t rings;
	struct ptnet_net_config config; /* .name points to our copy */
	uint32_t first_hdr_len;         /* restored by a reset, bytes */
	struct vu_pci pci;
	struct ptnet_csb csb;
	struct ptnet_irq irq;
	struct vu_server *server;

	struct {
		uint32_t index;              /* a word of `config` */
		struct nm_rss_config config; /* as the driver writes it */
	} rss;
	uint32_t features; /* granted */
	uint32_t result;   /* of the last command in PTCTL */
	struct ptnet_net_stats stats;
	char name[PTNET_NAME_MAX];
};

/* ---- receive-side scaling -------------------------------------------------------------- */

/* Is a word selected? */
static bool has_rss_word(const struct ptnet_net *net)
{
	return (net->features & PTNETMAP_F_RSS) && net->rss.index < PTNET_RSS_WORDS;
}

static uint32_t read_rss(const struct ptnet_net *net)
{
	const uint8_t *bytes = (const uint8_t *)&net->rss.config;

	return has_rss_word(net) ? ptnet_regs_value(bytes + 4 * (size_t)net->rss.index) : 0;
}

static void write_rss(struct ptnet_net *net, uint32_t value)
{
	uint8_t *bytes = (uint8_t *)&net->rss.config;

	if (!has_rss_word(net)) {
		net->stats.ignored_writes++;
		return;
	}
	for (size_t i = 0; i < 4; i++)
		bytes[4 * (size_t)net->rss.index + i] = (uint8_t)(value >> 8 * i);
}

static void select_rss(struct ptnet_net *net, uint32_t index)
{
	if (net->features & PTNETMAP_F_RSS)
		net->rss.index = index;
	else
		net->stats.ignored_writes++;
}

static int switch_rss(struct ptnet_net *net, bool on)
{
	if (!(net->features & PTNETMAP_F_RSS))
		return -EOPNOTSUPP;
	return port_service_set_rss(net->service, on ? &net->rss.config : NULL);
}

/* ---- registers -------------------------------------------------------------------------- */

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
	case PTNET_IO_RSS_INDEX:
		return net->rss.index;
	case PTNET_IO_RSS_DATA:
		return read_rss(net);
	default:
		return 0;
	}
}

static int create(struct ptnet_net *net)
{
	int error = ptnet_csb_start(&net->csb);

	if (!error) {
		net->stats.creates++;
		return 0;
	}
	net->stats.failed_creates++;
	if (error != -EBUSY)
		os_log(OS_LOG_WARN,
			"%s: the driver's CREATE failed, errno %d (CSB at 0x%llx, 0x%llx)",
			net->name, -error, (unsigned long long)net->csb.array[PTNET_CSB_GH].addr,
			(unsigned long long)net->csb.array[PTNET_CSB_HG].addr);
	return error;
}

static void command(struct ptnet_net *net, uint32_t value)
{
	int error = 0;

	if (value == PTNETMAP_PTCTL_CREATE)
		error = create(net);
	else if (value == PTNETMAP_PTCTL_DELETE)
		ptnet_csb_stop(&net->csb);
	else if (value == PTNETMAP_PTCTL_RSS_ON || value == PTNETMAP_PTCTL_RSS_OFF)
		error = switch_rss(net, value == PTNETMAP_PTCTL_RSS_ON);
	else
		error = -EINVAL;
	net->result = (uint32_t)-error;
}

static void forget_rss(struct ptnet_net *net)
{
	memset(&net->rss, 0, sizeof(net->rss));
	(void)port_service_set_rss(net->service, NULL); /* can't fail */
}

static uint32_t known(uint32_t features)
{
	return (features & PTNETMAP_F_USO ? NM_KNOWS_USO : 0) |
	       (features & PTNETMAP_F_BIG_TCP ? NM_KNOWS_BIG_TCP : 0);
}

/* A driver begins: one that doesn't ask for headers must not find those of the one before it, and none finds its key and table. */
static void write_features(struct ptnet_net *net, uint32_t wanted)
{
	net->features = wanted & net->config.offered;
	if (!(net->features & PTNETMAP_F_VNET_HDR)) { /* -EBUSY: running */
		(void)port_service_set_hdr_len(net->service, net->first_hdr_len);
		net->features &= ~PTNETMAP_F_STACK;
	}
	port_service_set_knows(net->service, known(net->features));
	forget_rss(net);
}

/* Not while the rings are served: then port_service_set_hdr_len() refuses. */
static void write_hdr_len(struct ptnet_net *net, uint32_t bytes)
{
	if (!(net->features & PTNETMAP_F_VNET_HDR) ||
		port_service_set_hdr_len(net->service, bytes) < 0)
		net->stats.ignored_writes++;
}

static void kick(struct ptnet_net *net, uint32_t offset)
{
	const uint32_t ring = (offset - PTNET_IO_KICK_BASE) / 4;

	if (ring >= net->rings || port_service_state(net->service) == PORT_STOPPED) {
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
	case PTNET_IO_RSS_INDEX:
		select_rss(net, value);
		break;
	case PTNET_IO_RSS_DATA:
		write_rss(net, value);
		break;
	case PTNET_IO_CSB_GH_BAH:
		ptnet_csb_set_high(&net->csb, PTNET_CSB_GH, value);
		break;
	case PTNET_IO_CSB_GH_BAL:
		ptnet_csb_set_low(&net->csb, PTNET_CSB_GH, value);
		break;
	case PTNET_IO_CSB_HG_BAH:
		ptnet_csb_set_high(&net->csb, PTNET_CSB_HG, value);
		break;
	case PTNET_IO_CSB_HG_BAL:
		ptnet_csb_set_low(&net->csb, PTNET_CSB_HG, value);
		break;
	default:
		if (offset >= PTNET_IO_KICK_BASE)
			kick(net, offset);
		else
			net->stats.ignored_writes++;
	}
}

/* ---- operations of the device ----------------------------------------------------------- */

/* None may be mapped: then the client would no longer post writes to the doorbells. */
static void op_region(void *dev, uint32_t index, struct vu_region *region)
{
	const struct ptnet_net *net = dev;

	vu_pci_region(&net->pci, index, region);
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

static void op_irq(void *dev, uint32_t index, struct vu_irq *irq)
{
	const struct ptnet_net *net = dev;

	ptnet_irq_info(&net->irq, index, irq);
}

static int op_irq_set(void *dev, uint32_t index, uint32_t start, uint32_t count, const int *fds)
{
	struct ptnet_net *net = dev;

	return ptnet_irq_set(&net->irq, index, start, count, fds);
}

static int op_irq_action(void *dev, uint32_t index, uint32_t start, uint32_t count,
	enum vu_irq_action action, const uint8_t *which)
{
	struct ptnet_net *net = dev;

	return ptnet_irq_action(&net->irq, index, start, count, action, which);
}

static int op_dma_map(void *dev, const struct vu_dma_map *map, int fd)
{
	struct ptnet_net *net = dev;

	return ptnet_csb_dma_map(&net->csb, map, fd);
}

static int op_dma_unmap(void *dev, uint64_t address, uint64_t size)
{
	struct ptnet_net *net = dev;

	return ptnet_csb_dma_unmap(&net->csb, address, size);
}

static int op_dma_unmap_all(void *dev)
{
	struct ptnet_net *net = dev;

	return ptnet_csb_dma_unmap_all(&net->csb);
}

static void op_connected(void *dev, int fd)
{
	const struct ptnet_net *net = dev;

	port_service_set_socket(net->service, fd);
}

static void reset(struct ptnet_net *net)
{
	ptnet_csb_reset(&net->csb);
	net->features = 0;
	net->result = 0;
	port_service_set_knows(net->service, 0);
	forget_rss(net);
	/* Stopped, and in use before: can't fail. */
	(void)port_service_set_hdr_len(net->service, net->first_hdr_len);
	ptnet_irq_reset(&net->irq);
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

	port_service_set_socket(net->service, -1);
	ptnet_irq_disconnect(&net->irq);
	reset(net);
	(void)ptnet_csb_dma_unmap_all(&net->csb); /* no window is open */
}

static const struct vu_ops ops = {
	.region = op_region,
	.region_read = op_read,
	.region_write = op_write,
	.light = 1u << PTNET_DOORBELL_BAR,
	.irq = op_irq,
	.irq_set = op_irq_set,
	.irq_action = op_irq_action,
	.dma_map = op_dma_map,
	.dma_unmap = op_dma_unmap,
	.dma_unmap_all = op_dma_unmap_all,
	.reset = op_reset,
	.connected = op_connected,
};

/* ---- construction ----------------------------------------------------------------------- */

static void init_pci(struct ptnet_net *net)
{
	ptnet_init_pci(&net->pci, PTNETMAP_PCI_NETIF_ID, PTNETMAP_PCI_NETIF_CLASS);
	vu_pci_add_bar(&net->pci, PTNETMAP_IO_PCI_BAR, VU_BAR_IO, PTNET_IO_BAR_SIZE);
	vu_pci_add_bar(&net->pci, PTNETMAP_MSIX_PCI_BAR, VU_BAR_MEM, MSIX_BAR_SIZE);
	vu_pci_add_bar(&net->pci, PTNET_DOORBELL_BAR, VU_BAR_MEM, PTNET_DOORBELL_BAR_SIZE);
	vu_pci_add_msix(&net->pci, PTNETMAP_MSIX_PCI_BAR, net->rings, 0, MSIX_PBA_OFFSET);
}

static int check_geometry(const struct port_service_geometry *geo)
{
	if (geo->tx_rings == 0 && geo->rx_rings == 0)
		return -EINVAL;
	if (geo->tx_rings > PTNET_MAX_RINGS || geo->rx_rings > PTNET_MAX_RINGS - geo->tx_rings)
		return -E2BIG;
	return geo->nifp_offset > UINT32_MAX ? -ERANGE : 0;
}

int ptnet_net_new(struct loop *loop, const char *path, const struct ptnet_net_config *config,
	struct port_service *service, struct ptnet_net **out)
{
	struct port_service_geometry geo;
	struct ptnet_net *net;
	int error;

	port_service_geometry(service, &geo);
	error = check_geometry(&geo);
	if (error)
		return error;
	net = os_zalloc(sizeof(*net));
	if (!net)
		return -ENOMEM;
	snprintf(net->name, sizeof(net->name), "%s", config->name);
	net->config = *config;
	net->config.name = net->name;
	net->service = service;
	net->geo = geo;
	net->rings = geo.tx_rings + geo.rx_rings;
	net->first_hdr_len = port_service_hdr_len(service);
	init_pci(net);
	ptnet_irq_init(&net->irq, service, net->rings);
	error = ptnet_csb_init(&net->csb, service, net->rings, net->name);
	if (!error) {
		guestmem_set_payer(net->csb.mem, config->payer);
		error = vu_server_new(loop, path, &ops, net, ended, net->name, &net->server);
	}
	if (error) {
		ptnet_net_free(net);
		return error;
	}
	vu_server_share(net->server, config->budget);
	*out = net;
	return 0;
}

void ptnet_net_free(struct ptnet_net *net)
{
	if (!net)
		return;
	vu_server_free(net->server);
	ptnet_csb_exit(&net->csb);
	os_free(net);
}

void ptnet_net_request_unplug(struct ptnet_net *net)
{
	if (net->irq.unplug)
		return;
	os_log(OS_LOG_INFO, "%s: the port is gone; the hypervisor is asked to unplug its device",
		net->name);
	ptnet_irq_request_unplug(&net->irq);
}

struct vu_server *ptnet_net_server(struct ptnet_net *net)
{
	return net->server;
}

void ptnet_net_stats(const struct ptnet_net *net, struct ptnet_net_stats *stats)
{
	*stats = net->stats;
	stats->state = port_service_state(net->service);
	stats->features = net->features;
	stats->suspends = net->csb.suspends;
	stats->dma_ranges = guestmem_ranges(net->csb.mem);
}
