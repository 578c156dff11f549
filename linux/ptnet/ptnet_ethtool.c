// SPDX-License-Identifier: BSD-2-Clause
/* What ethtool shows: driver (-i), rings (-g), channels (-l), counters by cause (-S). */
#include "ptnet.h"

#include <linux/ethtool.h>

static const char *drop_name(uint32_t cause)
{
	if (cause < NM_DROPS)
		return nm_drop_name(cause);
	return cause == PTNET_DROP_NETMAP ? "in_netmap_mode" : "while_down";
}

/* Causes that a direction has. */
static const uint32_t drop_set[NM_DIRS] = {
	[NM_TX] = BIT(PTNET_DROP_NETMAP) | BIT(NM_DROP_TOO_LONG) | BIT(NM_DROP_BAD_BUFFER) |
		  BIT(NM_DROP_BAD_HEADER),
	[NM_RX] = BIT(NM_DROP_TOO_LONG) | BIT(NM_DROP_BAD_BUFFER) | BIT(NM_DROP_BAD_LENGTH) |
		  BIT(NM_DROP_TOO_SHORT) | BIT(NM_DROP_FRAGMENTS) | BIT(NM_DROP_BAD_HEADER) |
		  BIT(NM_DROP_NO_MEMORY) | BIT(PTNET_DROP_DOWN),
};

static_assert(PTNET_DROPS <= 32, "a set of causes has 32 bits");

/* packets, bytes, kicks, interrupts */
#define FIXED_COUNTERS 4
/* Not counters, but 0 or 1: how the region is mapped. */
#define MEMORY_STATES 2

static void get_drvinfo(struct net_device *netdev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, PTNET_DRIVER_NAME, sizeof(info->driver));
	strscpy(info->bus_info, pci_name(ptnet_of(netdev)->pdev), sizeof(info->bus_info));
}

static void get_ringparam(struct net_device *netdev, struct ethtool_ringparam *ring,
	struct kernel_ethtool_ringparam *kernel_ring, struct netlink_ext_ack *extack)
{
	const struct ptnet *ptn = ptnet_of(netdev);

	ring->tx_pending = ring->tx_max_pending = ptn->num_slots[NM_TX];
	ring->rx_pending = ring->rx_max_pending = ptn->num_slots[NM_RX];
}

static void get_channels(struct net_device *netdev, struct ethtool_channels *channels)
{
	const struct ptnet *ptn = ptnet_of(netdev);

	channels->tx_count = channels->max_tx = ptn->num_rings[NM_TX];
	channels->rx_count = channels->max_rx = ptn->num_rings[NM_RX];
}

static int get_sset_count(struct net_device *netdev, int set)
{
	const struct ptnet *ptn = ptnet_of(netdev);
	int count = MEMORY_STATES;

	if (set != ETH_SS_STATS)
		return -EOPNOTSUPP;
	for (int dir = 0; dir < NM_DIRS; dir++)
		count += (int)ptn->num_rings[dir] * (FIXED_COUNTERS + hweight32(drop_set[dir]));
	return count;
}

static void queue_strings(const struct ptnet_queue *q, uint8_t **data)
{
	const char *dir = q->dir == NM_TX ? "tx" : "rx";

	ethtool_sprintf(data, "%s%u_packets", dir, q->id);
	ethtool_sprintf(data, "%s%u_bytes", dir, q->id);
	ethtool_sprintf(data, "%s%u_kicks", dir, q->id);
	ethtool_sprintf(data, "%s%u_interrupts", dir, q->id);
	for (int cause = 0; cause < PTNET_DROPS; cause++)
		if (drop_set[q->dir] & BIT(cause))
			ethtool_sprintf(data, "%s%u_drop_%s", dir, q->id, drop_name(cause));
}

static void get_strings(struct net_device *netdev, uint32_t set, uint8_t *data)
{
	const struct ptnet *ptn = ptnet_of(netdev);

	if (set != ETH_SS_STATS)
		return;
	ethtool_sprintf(&data, "region_uncached");
	ethtool_sprintf(&data, "region_mtrr_uncached");
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		queue_strings(&ptn->queues[i], &data);
}

static uint64_t *queue_counters(const struct ptnet_queue *q, uint64_t *data)
{
	const struct ptnet_stats *stats = &q->stats;
	unsigned int start;
	uint64_t *at;

	do {
		start = u64_stats_fetch_begin(&stats->sync);
		at = data;
		*at++ = u64_stats_read(&stats->packets);
		*at++ = u64_stats_read(&stats->bytes);
		*at++ = u64_stats_read(&stats->kicks);
		*at++ = READ_ONCE(q->interrupts);
		for (int cause = 0; cause < PTNET_DROPS; cause++)
			if (drop_set[q->dir] & BIT(cause))
				*at++ = u64_stats_read(&stats->drops[cause]);
	} while (u64_stats_fetch_retry(&stats->sync, start));
	return at;
}

static void get_stats(struct net_device *netdev, struct ethtool_stats *stats, uint64_t *data)
{
	const struct ptnet *ptn = ptnet_of(netdev);

	*data++ = ptn->mem->uncached;
	*data++ = ptn->mem->mtrr_uncached;
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		data = queue_counters(&ptn->queues[i], data);
}

const struct ethtool_ops ptnet_ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ringparam = get_ringparam,
	.get_channels = get_channels,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_stats,
};
