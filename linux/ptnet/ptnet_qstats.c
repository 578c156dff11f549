// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the kernel shows of a device's queues by itself (netlink, family "netdev": qstats-get, queue-get, napi-get): the
 * counters that have a common meaning, and which NAPI and interrupt a queue has. The others are in ethtool -S.
 *
 * Counters begin with the device. Those of queues that nothing is sent on (ethtool -L) are part of the
 * device's, and are not shown by themselves. Packets that the host is to cut into segments (hw-gso-packets) are counted
 * as they are; how many are made of them, if any, is the receiver's business.
 */
#include "compat.h"
#include "ptnet.h"

struct ptnet_sums ptnet_queue_sums(const struct ptnet_queue *q)
{
	const struct ptnet_stats *stats = &q->stats;
	struct ptnet_sums sums;
	unsigned int start;

	do {
		start = u64_stats_fetch_begin(&stats->sync);
		sums = (struct ptnet_sums){
			.packets = u64_stats_read(&stats->packets),
			.bytes = u64_stats_read(&stats->bytes),
			.no_memory = u64_stats_read(&stats->drops[NM_DROP_NO_MEMORY]),
			.stops = u64_stats_read(&stats->stops),
			.wakes = u64_stats_read(&stats->wakes),
			.gso_packets = u64_stats_read(&stats->gso_packets),
			.gso_bytes = u64_stats_read(&stats->gso_bytes),
		};
		for (int cause = 0; cause < PTNET_DROPS; cause++)
			sums.drops += u64_stats_read(&stats->drops[cause]);
	} while (u64_stats_fetch_retry(&stats->sync, start));
	return sums;
}

static void get_queue_stats_rx(
	struct net_device *netdev, int index, struct netdev_queue_stats_rx *stats)
{
	struct ptnet_sums sums = ptnet_queue_sums(ptnet_queue(ptnet_of(netdev), NM_RX, index));

	stats->packets = sums.packets;
	stats->bytes = sums.bytes;
	stats->alloc_fail = sums.no_memory;
	stats->hw_drops = sums.drops;
}

static void get_queue_stats_tx(
	struct net_device *netdev, int index, struct netdev_queue_stats_tx *stats)
{
	struct ptnet_sums sums = ptnet_queue_sums(ptnet_queue(ptnet_of(netdev), NM_TX, index));

	stats->packets = sums.packets;
	stats->bytes = sums.bytes;
	stats->hw_drops = sums.drops;
	stats->stop = sums.stops;
	stats->wake = sums.wakes;
	stats->hw_gso_packets = sums.gso_packets;
	stats->hw_gso_bytes = sums.gso_bytes;
}

/* Of queues that are not shown. */
static void get_base_stats(struct net_device *netdev, struct netdev_queue_stats_rx *rx,
	struct netdev_queue_stats_tx *tx)
{
	const struct ptnet *ptn = ptnet_of(netdev);

	rx->packets = rx->bytes = rx->alloc_fail = rx->hw_drops = 0;
	tx->packets = tx->bytes = tx->hw_drops = tx->stop = tx->wake = 0;
	tx->hw_gso_packets = tx->hw_gso_bytes = 0;
	for (uint32_t i = netdev->real_num_rx_queues; i < ptn->num_rings[NM_RX]; i++) {
		struct ptnet_sums sums = ptnet_queue_sums(ptnet_queue(ptn, NM_RX, i));

		rx->packets += sums.packets;
		rx->bytes += sums.bytes;
		rx->alloc_fail += sums.no_memory;
		rx->hw_drops += sums.drops;
	}
	for (uint32_t i = netdev->real_num_tx_queues; i < ptn->num_rings[NM_TX]; i++) {
		struct ptnet_sums sums = ptnet_queue_sums(ptnet_queue(ptn, NM_TX, i));

		tx->packets += sums.packets;
		tx->bytes += sums.bytes;
		tx->hw_drops += sums.drops;
		tx->stop += sums.stops;
		tx->wake += sums.wakes;
		tx->hw_gso_packets += sums.gso_packets;
		tx->hw_gso_bytes += sums.gso_bytes;
	}
}

static const struct netdev_stat_ops stat_ops = {
	.get_queue_stats_rx = get_queue_stats_rx,
	.get_queue_stats_tx = get_queue_stats_tx,
	.get_base_stats = get_base_stats,
};

void ptnet_qstats_set(struct ptnet *ptn)
{
	nmk_set_stat_ops(ptn->netdev, &stat_ops);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		struct ptnet_queue *q = &ptn->queues[i];

		nmk_link_queue(ptn->netdev, q->dir == NM_TX, q->id, &q->napi, q->irq);
	}
}
