// SPDX-License-Identifier: BSD-2-Clause
/*
 * What ethtool shows and sets: driver (-i), link (-s), rings (-g, -G), channels (-l, -L), interrupts (-c, -C), time
 * stamps (-T), counters by cause (-S); ptnet_rss.c: the receive hash (-x, -X, -n).
 *
 * Rings are the host's: the stack can use less of each, and fewer of them. Where the host has no hash, which of the rings it
 * receives from packets come to is for the senders to say, and all of those are used.
 */
#include "ptnet_coalesce.h"
#include "compat.h"

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
		  BIT(NM_DROP_BAD_HEADER) | BIT(NM_DROP_NO_MEMORY) | BIT(NM_DROP_RX_FULL),
	[NM_RX] = BIT(NM_DROP_TOO_LONG) | BIT(NM_DROP_BAD_BUFFER) | BIT(NM_DROP_BAD_LENGTH) |
		  BIT(NM_DROP_TOO_SHORT) | BIT(NM_DROP_FRAGMENTS) | BIT(NM_DROP_BAD_HEADER) |
		  BIT(NM_DROP_NO_MEMORY) | BIT(NM_DROP_RX_FULL) | BIT(NM_DROP_REFUSED) |
		  BIT(PTNET_DROP_DOWN),
};

static_assert(PTNET_DROPS <= 32, "a set of causes has 32 bits");

/* packets, bytes, kicks, interrupts, and three of xdp or stops and wakes */
#define FIXED_COUNTERS(dir) ((dir) == NM_RX ? 7 : 6)
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

	ring->tx_max_pending = ptn->num_slots[NM_TX];
	ring->rx_max_pending = ptn->num_slots[NM_RX];
	ring->tx_pending = ptnet_queue(ptn, NM_TX, 0)->limit;
	ring->rx_pending = ptnet_queue(ptn, NM_RX, 0)->limit;
}

/* The largest packet twice, or all that there is. */
static uint32_t least_slots(const struct ptnet *ptn, enum nm_dir dir)
{
	return min(2 * NETMAP_MAX_FRAGS, ptn->num_slots[dir]);
}

static int check_slots(const struct ptnet *ptn, enum nm_dir dir, uint32_t slots)
{
	if (slots >= least_slots(ptn, dir))
		return 0;
	netdev_warn(ptn->netdev, "%s rings of %u slots; the least that packets fit is %u\n",
		dir == NM_TX ? "tx" : "rx", slots, least_slots(ptn, dir));
	return -EINVAL;
}

static int set_ringparam(struct net_device *netdev, struct ethtool_ringparam *ring,
	struct kernel_ethtool_ringparam *kernel_ring, struct netlink_ext_ack *extack)
{
	struct ptnet *ptn = ptnet_of(netdev);
	const uint32_t slots[NM_DIRS] = {ring->tx_pending, ring->rx_pending};
	int error = check_slots(ptn, NM_TX, slots[NM_TX]);

	if (!error)
		error = check_slots(ptn, NM_RX, slots[NM_RX]);
	if (error)
		return error;
	mutex_lock(&ptn->lock);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		WRITE_ONCE(ptn->queues[i].limit, slots[ptn->queues[i].dir]);
	/* There may be room now, for here or for senders. */
	local_bh_disable();
	for (uint32_t i = 0; ptn->state == PTNET_STACK && i < ptnet_num_queues(ptn); i++)
		napi_schedule(&ptn->queues[i].napi);
	local_bh_enable();
	mutex_unlock(&ptn->lock);
	return 0;
}

/* Where the host chooses the rings of packets by their hash, rings go in pairs: fewer can be received from, too. */
static bool is_combined(const struct ptnet *ptn)
{
	return (ptn->features & PTNETMAP_F_RSS) && ptn->num_rings[NM_TX] == ptn->num_rings[NM_RX];
}

static void get_channels(struct net_device *netdev, struct ethtool_channels *channels)
{
	const struct ptnet *ptn = ptnet_of(netdev);

	if (is_combined(ptn)) {
		channels->max_combined = ptn->num_rings[NM_RX];
		channels->combined_count = netdev->real_num_rx_queues;
		return;
	}
	channels->max_tx = ptn->num_rings[NM_TX];
	channels->tx_count = netdev->real_num_tx_queues;
	channels->rx_count = channels->max_rx = ptn->num_rings[NM_RX];
}

/* The stack uses more rings before packets come there. When the host refuses that it uses those of before. */
static int set_more(struct ptnet *ptn, uint32_t rings, uint32_t tx_before, uint32_t rx_before)
{
	int error = netif_set_real_num_queues(ptn->netdev, rings, rings);

	if (error)
		return error;
	error = ptnet_rss_set_rings(ptn, rings);
	if (error)
		netif_set_real_num_queues(ptn->netdev, tx_before, rx_before);
	return error;
}

/* And fewer behind that. When the stack refuses that packets come as before. */
static int set_fewer(struct ptnet *ptn, uint32_t rings, uint32_t rx_before)
{
	int error = ptnet_rss_set_rings(ptn, rings);

	if (error)
		return error;
	error = netif_set_real_num_queues(ptn->netdev, rings, rings);
	if (error)
		ptnet_rss_set_rings(ptn, rx_before);
	return error;
}

static int set_combined(struct ptnet *ptn, uint32_t rings)
{
	const uint32_t tx_before = ptn->netdev->real_num_tx_queues;
	const uint32_t rx_before = ptn->netdev->real_num_rx_queues;

	return rings > rx_before ? set_more(ptn, rings, tx_before, rx_before)
				 : set_fewer(ptn, rings, rx_before);
}

static int choose_rings(struct net_device *netdev, const struct ethtool_channels *channels)
{
	if (is_combined(ptnet_of(netdev)))
		return set_combined(ptnet_of(netdev), channels->combined_count);
	if (channels->rx_count != netdev->real_num_rx_queues) {
		netdev_warn(netdev, "packets come on all of its %u rx rings: %u are not possible\n",
			netdev->real_num_rx_queues, channels->rx_count);
		return -EINVAL;
	}
	return netif_set_real_num_tx_queues(netdev, channels->tx_count);
}

static int set_channels(struct net_device *netdev, struct ethtool_channels *channels)
{
	int error = choose_rings(netdev, channels);

	if (!error)
		ptnet_spread_senders(ptnet_of(netdev), netdev->real_num_tx_queues);
	return error;
}

static uint32_t rx_ring_count(struct net_device *netdev)
{
	return netdev->real_num_rx_queues;
}

NMK_RXNFC(rx_ring_count, ptnet_rss_fields)
NMK_RXFH_OPS(ptnet_rss_get, ptnet_rss_set)

static int get_coalesce(struct net_device *netdev, struct ethtool_coalesce *coalesce,
	struct kernel_ethtool_coalesce *kernel_coalesce, struct netlink_ext_ack *extack)
{
	const struct ptnet *ptn = ptnet_of(netdev);

	coalesce->rx_coalesce_usecs = ptn->rx_usecs;
	coalesce->use_adaptive_rx_coalesce = ptn->rx_adaptive;
	return 0;
}

static int set_coalesce(struct net_device *netdev, struct ethtool_coalesce *coalesce,
	struct kernel_ethtool_coalesce *kernel_coalesce, struct netlink_ext_ack *extack)
{
	struct ptnet *ptn = ptnet_of(netdev);

	if (coalesce->rx_coalesce_usecs > PTNET_RX_USECS_MAX) {
		netdev_warn(netdev, "rx-usecs %u: 0 to %u are possible\n",
			coalesce->rx_coalesce_usecs, PTNET_RX_USECS_MAX);
		return -EINVAL;
	}
	WRITE_ONCE(ptn->rx_usecs, coalesce->rx_coalesce_usecs);
	WRITE_ONCE(ptn->rx_adaptive, coalesce->use_adaptive_rx_coalesce);
	return 0;
}

/* Nothing here has a speed: it is what the user wants bonds and the like to see. */
static int get_link_ksettings(struct net_device *netdev, struct ethtool_link_ksettings *link)
{
	const struct ptnet *ptn = ptnet_of(netdev);

	link->base.speed = ptn->speed;
	link->base.duplex = ptn->duplex;
	link->base.port = PORT_OTHER;
	link->base.autoneg = AUTONEG_DISABLE;
	return 0;
}

static int set_link_ksettings(struct net_device *netdev, const struct ethtool_link_ksettings *link)
{
	struct ptnet *ptn = ptnet_of(netdev);

	return ethtool_virtdev_set_link_ksettings(netdev, link, &ptn->speed, &ptn->duplex);
}

static int get_sset_count(struct net_device *netdev, int set)
{
	const struct ptnet *ptn = ptnet_of(netdev);
	int count = MEMORY_STATES;

	if (set != ETH_SS_STATS)
		return -EOPNOTSUPP;
	for (int dir = 0; dir < NM_DIRS; dir++)
		count +=
			(int)ptn->num_rings[dir] * (FIXED_COUNTERS(dir) + hweight32(drop_set[dir]));
	return count;
}

static void queue_strings(const struct ptnet_queue *q, uint8_t **data)
{
	const char *dir = q->dir == NM_TX ? "tx" : "rx";

	ethtool_sprintf(data, "%s%u_packets", dir, q->id);
	ethtool_sprintf(data, "%s%u_bytes", dir, q->id);
	ethtool_sprintf(data, "%s%u_kicks", dir, q->id);
	ethtool_sprintf(data, "%s%u_interrupts", dir, q->id);
	if (q->dir == NM_TX) {
		ethtool_sprintf(data, "tx%u_stops", q->id);
		ethtool_sprintf(data, "tx%u_wakes", q->id);
	} else {
		ethtool_sprintf(data, "rx%u_xdp_drops", q->id);
		ethtool_sprintf(data, "rx%u_xdp_tx", q->id);
		ethtool_sprintf(data, "rx%u_xdp_redirects", q->id);
	}
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
		if (q->dir == NM_TX) {
			*at++ = u64_stats_read(&stats->stops);
			*at++ = u64_stats_read(&stats->wakes);
		} else {
			*at++ = u64_stats_read(&stats->xdp_drops);
			*at++ = u64_stats_read(&stats->xdp_tx);
			*at++ = u64_stats_read(&stats->xdp_redirects);
		}
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
	.supported_coalesce_params = ETHTOOL_COALESCE_RX_USECS | ETHTOOL_COALESCE_USE_ADAPTIVE_RX,
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_link_ksettings = get_link_ksettings,
	.set_link_ksettings = set_link_ksettings,
	.get_ringparam = get_ringparam,
	.set_ringparam = set_ringparam,
	.get_coalesce = get_coalesce,
	.set_coalesce = set_coalesce,
	.get_channels = get_channels,
	.set_channels = set_channels,
	NMK_RXNFC_OPS(rx_ring_count, ptnet_rss_fields),
	.get_rxfh_key_size = ptnet_rss_key_size,
	.get_rxfh_indir_size = ptnet_rss_table_size,
	.get_rxfh = NMK_RXFH_OP(ptnet_rss_get),
	.set_rxfh = NMK_RXFH_OP(ptnet_rss_set),
	.get_ts_info = ethtool_op_get_ts_info,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_stats,
};
