// SPDX-License-Identifier: BSD-2-Clause
/*
 * The network function as a device: its registers, in the order that the device specification
 * gives, and the CSB, interrupts and rings that they lead to.
 */
#include "ptnet_bql.h"
#include "ptnet_coalesce.h"
#include "ptnet_xdp.h"
#include "skb_ring.h"
#include "compat.h"
#include "kmod.h"

#include <linux/dma-mapping.h>
#include <linux/if_ether.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

/* With a header in front of each packet the stack leaves checksums and segmentation to the receiver,
 * or to the host when the receiver can't do it. */
static bool ptnet_vnet_hdr = true;
module_param(ptnet_vnet_hdr, bool, 0644);
MODULE_PARM_DESC(ptnet_vnet_hdr,
	"offloads for the stack on passed-through ports that are probed from now on: packets with a virtio-net header of 12 bytes, if the host can do with them (default 1); applications ask for a header of their own");

/* ---- registers ----------------------------------------------------------------------- */

static uint32_t reg_read(const struct ptnet *ptn, uint32_t reg)
{
	return ioread32(ptn->io + reg);
}

static void reg_write(const struct ptnet *ptn, uint32_t reg, uint32_t value)
{
	iowrite32(value, ptn->io + reg);
}

/* High half first: the write of the low half takes effect. */
static void write_csb_addresses(const struct ptnet *ptn, uint64_t atok, uint64_t ktoa)
{
	reg_write(ptn, PTNET_IO_CSB_GH_BAH, upper_32_bits(atok));
	reg_write(ptn, PTNET_IO_CSB_GH_BAL, lower_32_bits(atok));
	reg_write(ptn, PTNET_IO_CSB_HG_BAH, upper_32_bits(ktoa));
	reg_write(ptn, PTNET_IO_CSB_HG_BAL, lower_32_bits(ktoa));
}

static void read_mac(const struct ptnet *ptn, uint8_t mac[ETH_ALEN])
{
	uint32_t hi = reg_read(ptn, PTNET_IO_MAC_HI), lo = reg_read(ptn, PTNET_IO_MAC_LO);

	mac[0] = (uint8_t)(hi >> 8);
	mac[1] = (uint8_t)hi;
	mac[2] = (uint8_t)(lo >> 24);
	mac[3] = (uint8_t)(lo >> 16);
	mac[4] = (uint8_t)(lo >> 8);
	mac[5] = (uint8_t)lo;
}

void ptnet_write_features(const struct ptnet *ptn, bool stack)
{
	if (!ptn->gone)
		reg_write(ptn, PTNET_IO_PTFEAT,
			stack ? ptn->features : ptn->features & ~PTNETMAP_F_STACK);
}

void ptnet_negotiate_hdr_len(struct ptnet *ptn, uint32_t bytes)
{
	uint32_t granted;

	reg_write(ptn, PTNET_IO_VNET_HDR_LEN, bytes);
	granted = reg_read(ptn, PTNET_IO_VNET_HDR_LEN);
	if (granted <= NM_PORT_HDR_MAX)
		ptn->hdr_len = granted;
}

/* ---- probe --------------------------------------------------------------------------- */

static int map_registers(struct ptnet *ptn)
{
	struct pci_dev *pdev = ptn->pdev;

	ptn->io = pci_iomap(pdev, PTNETMAP_IO_PCI_BAR, 0);
	if (!ptn->io)
		return -ENOMEM;
	if (!(pci_resource_flags(pdev, PTNET_DOORBELL_BAR) & IORESOURCE_MEM) ||
		pci_resource_len(pdev, PTNET_DOORBELL_BAR) < PTNET_IO_BAR_SIZE)
		return 0;
	ptn->doorbell = pci_iomap(pdev, PTNET_DOORBELL_BAR, PTNET_IO_BAR_SIZE);
	return ptn->doorbell ? 0 : -ENOMEM;
}

static int make_queues(struct ptnet *ptn)
{
	void __iomem *kick = (ptn->doorbell ? ptn->doorbell : ptn->io) + PTNET_IO_KICK_BASE;
	uint32_t tx = reg_read(ptn, PTNET_IO_NUM_TX_RINGS);
	uint32_t rx = reg_read(ptn, PTNET_IO_NUM_RX_RINGS);

	if (tx < 1 || rx < 1 || tx > PTNET_MAX_RINGS || rx > PTNET_MAX_RINGS - tx) {
		pci_err(ptn->pdev, "%u tx and %u rx rings; 1 each to %u together are possible\n",
			tx, rx, PTNET_MAX_RINGS);
		return -EINVAL;
	}
	ptn->num_rings[NM_TX] = tx;
	ptn->num_rings[NM_RX] = rx;
	ptn->queues = kcalloc(tx + rx, sizeof(*ptn->queues), GFP_KERNEL);
	if (!ptn->queues)
		return -ENOMEM;
	for (uint32_t i = 0; i < tx + rx; i++) {
		struct ptnet_queue *q = &ptn->queues[i];

		q->ptn = ptn;
		q->dir = i < tx ? NM_TX : NM_RX;
		q->id = (uint16_t)(i < tx ? i : i - tx);
		q->kick = kick + 4 * i;
		u64_stats_init(&q->stats.sync);
		ptnet_pause_init(q);
	}
	return 0;
}

static int make_csb(struct ptnet *ptn)
{
	struct device *dev = &ptn->pdev->dev;

	ptn->atok = dma_alloc_coherent(dev, PAGE_SIZE, &ptn->atok_dma, GFP_KERNEL);
	ptn->ktoa = dma_alloc_coherent(dev, PAGE_SIZE, &ptn->ktoa_dma, GFP_KERNEL);
	if (!ptn->atok || !ptn->ktoa)
		return -ENOMEM;
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		ptn->queues[i].csb.atok = &ptn->atok[i];
		ptn->queues[i].csb.ktoa = &ptn->ktoa[i];
	}
	write_csb_addresses(ptn, ptn->atok_dma, ptn->ktoa_dma);
	return 0;
}

/* May come as soon as it is requested, and when nobody uses the ring. */
static irqreturn_t ptnet_interrupt(int irq, void *arg)
{
	struct ptnet_queue *q = arg;
	struct nm_ring *nmring = smp_load_acquire(&q->nmring);

	q->interrupts++;
	/* No more of them until somebody is about to sleep again. That one may be at it on another
	 * CPU just now: then it is woken here, and asks again. */
	nm_csb_appl_awake(&q->csb);
	if (nmring)
		os_wakeup_signal(&nmring->wakeup);
	else
		napi_schedule_irqoff(&q->napi);
	return IRQ_HANDLED;
}

static int request_interrupts(struct ptnet *ptn)
{
	uint32_t n = ptnet_num_queues(ptn);
	int error = pci_alloc_irq_vectors(ptn->pdev, n, n, PCI_IRQ_MSIX);

	if (error < 0) {
		pci_err(ptn->pdev, "%u MSI-X vectors can't be had: error %d\n", n, error);
		return error;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct ptnet_queue *q = &ptn->queues[i];

		q->irq = pci_irq_vector(ptn->pdev, i);
		snprintf(q->irq_name, sizeof(q->irq_name), "%s-%s%u", pci_name(ptn->pdev),
			q->dir == NM_TX ? "tx" : "rx", q->id);
		error = request_irq(q->irq, ptnet_interrupt, 0, q->irq_name, q);
		if (error)
			return error;
		q->irq_requested = true;
	}
	return 0;
}

static int find_memory(struct ptnet *ptn)
{
	uint32_t id = reg_read(ptn, PTNET_IO_HOSTMEMID);

	ptn->mem = ptnet_mem_find(id);
	if (!ptn->mem)
		return dev_err_probe(&ptn->pdev->dev, -EPROBE_DEFER,
			"waiting for the device of memory region %u\n", id);
	list_add(&ptn->mem_link, &ptn->mem->devices);
	ptn->buf_size = ptn->mem->region->pool[NM_POOL_BUF].size;
	return 0;
}

static int read_slots(struct ptnet *ptn)
{
	ptn->num_slots[NM_TX] = reg_read(ptn, PTNET_IO_NUM_TX_SLOTS);
	ptn->num_slots[NM_RX] = reg_read(ptn, PTNET_IO_NUM_RX_SLOTS);
	for (int dir = 0; dir < NM_DIRS; dir++) {
		if (ptn->num_slots[dir] < NM_SLOTS_MIN || ptn->num_slots[dir] > NM_SLOTS_MAX) {
			pci_err(ptn->pdev, "%u slots per ring; %u to %u are possible\n",
				ptn->num_slots[dir], NM_SLOTS_MIN, NM_SLOTS_MAX);
			return -EINVAL;
		}
	}
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		struct ptnet_queue *q = &ptn->queues[i];

		q->num_slots = q->limit = ptn->num_slots[q->dir];
	}
	return 0;
}

static int make_memory(struct ptnet_queue *q)
{
	if (q->dir == NM_TX)
		return ptnet_bql_alloc(q);
	q->pool = nmk_skb_pool_new();
	return q->pool ? 0 : -ENOMEM;
}

/* The first half: up to the interrupts, whose handler needs the NAPIs of the network device. */
static int probe_queues(struct ptnet *ptn)
{
	uint8_t mac[ETH_ALEN];
	int error = make_queues(ptn);

	if (!error)
		error = make_csb(ptn);
	if (error)
		return error;
	read_mac(ptn, mac);
	ptnet_rss_init(ptn);
	ptn->netdev = ptnet_netdev_alloc(ptn, mac);
	return ptn->netdev ? request_interrupts(ptn) : -ENOMEM;
}

/* The second: where the rings are. */
static int probe_region(struct ptnet *ptn)
{
	int error;

	ptn->nifp_offset = reg_read(ptn, PTNET_IO_NIFP_OFS);
	error = read_slots(ptn);
	for (uint32_t i = 0; !error && i < ptnet_num_queues(ptn); i++)
		error = make_memory(&ptn->queues[i]);
	if (!error)
		error = find_memory(ptn);
	if (!error)
		error = ptnet_rings_find(ptn);
	return error;
}

/* What the host grants to the stack, and then what is there for applications that ask for nothing. */
static int probe_header(struct ptnet *ptn, bool want_hdr)
{
	if (want_hdr) {
		ptnet_negotiate_hdr_len(ptn, NM_PORT_HDR_MAX);
		ptn->stack_hdr_len = ptn->hdr_len;
	}
	ptnet_negotiate_hdr_len(ptn, 0);
	ptn->always_hdr = ptn->hdr_len > 0;
	if (!want_hdr || ptn->always_hdr)
		ptn->stack_hdr_len = ptn->hdr_len; /* the host knows one length only */
	return ptnet_netdev_set_limits(ptn);
}

int ptnet_device_probe(struct ptnet *ptn)
{
	uint32_t wanted = READ_ONCE(ptnet_vnet_hdr) ? PTNETMAP_F_VNET_HDR : 0;
	int error = map_registers(ptn);

	if (error)
		return error;
	if (wanted && NMK_VNET_USO)
		wanted |= PTNETMAP_F_USO;
	if (wanted && NMK_BIG_TCP)
		wanted |= PTNETMAP_F_BIG_TCP;
	wanted |= PTNETMAP_F_RSS;
	reg_write(ptn, PTNET_IO_PTFEAT, wanted);
	ptn->features = reg_read(ptn, PTNET_IO_PTFEAT) & wanted;
	ptnet_write_features(ptn, false);
	error = probe_queues(ptn);
	if (!error)
		error = probe_region(ptn);
	if (!error) {
		ptnet_qstats_set(ptn);
		ptnet_spread_interrupts(ptn);
	}
	return error ? error : probe_header(ptn, ptn->features & PTNETMAP_F_VNET_HDR);
}

void ptnet_device_introduce(struct ptnet *ptn)
{
	lockdep_assert_held(&ptn->lock);
	ptnet_write_features(ptn, false);
	write_csb_addresses(ptn, ptn->atok_dma, ptn->ktoa_dma);
	ptnet_negotiate_hdr_len(ptn, ptn->hdr_len);
}

/* ---- the way back -------------------------------------------------------------------- */

static void free_interrupts(struct ptnet *ptn)
{
	for (uint32_t i = 0; ptn->queues && i < ptnet_num_queues(ptn); i++) {
		if (ptn->queues[i].irq_requested) {
			irq_update_affinity_hint(ptn->queues[i].irq, NULL);
			free_irq(ptn->queues[i].irq, &ptn->queues[i]);
		}
		ptn->queues[i].irq_requested = false;
	}
	pci_free_irq_vectors(ptn->pdev);
}

void ptnet_device_forget_csb(const struct ptnet *ptn)
{
	write_csb_addresses(ptn, 0, 0);
}

/*
 * What ptnet_device_probe() did, as far as it got, backwards. The host stops serving before the
 * memory of the CSB is given back; no interrupt comes when the network device, with its NAPIs, goes.
 */
void ptnet_device_release(struct ptnet *ptn)
{
	struct device *dev = &ptn->pdev->dev;
	struct net_device *netdev = ptn->netdev;

	mutex_lock(&ptn->lock);
	ptnet_service_end(ptn);
	mutex_unlock(&ptn->lock);
	if (ptn->mem)
		list_del(&ptn->mem_link);
	free_interrupts(ptn);
	if (ptn->io) {
		ptnet_negotiate_hdr_len(ptn, 0);    /* the next driver may not ask for a header, */
		reg_write(ptn, PTNET_IO_PTFEAT, 0); /* nor for anything else */
		ptnet_device_forget_csb(ptn);
	}
	if (ptn->atok)
		dma_free_coherent(dev, PAGE_SIZE, ptn->atok, ptn->atok_dma);
	if (ptn->ktoa)
		dma_free_coherent(dev, PAGE_SIZE, ptn->ktoa, ptn->ktoa_dma);
	if (ptn->doorbell)
		pci_iounmap(ptn->pdev, ptn->doorbell);
	if (ptn->io)
		pci_iounmap(ptn->pdev, ptn->io);
	ptnet_xdp_end(ptn);
	for (uint32_t i = 0; ptn->queues && i < ptnet_num_queues(ptn); i++) {
		ptnet_bql_free(&ptn->queues[i]);
		nmk_skb_pool_free(ptn->queues[i].pool);
		ptn->queues[i].pool = NULL;
	}
	ptn->netdev = NULL;
	if (netdev)
		free_netdev(netdev);
}
