// SPDX-License-Identifier: BSD-2-Clause
/* The network device of a passed-through port. */
#include "ptnet_big.h"
#include "ptnet_xdp.h"
#include "compat.h"
#include "kmod.h"

#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/if_vlan.h>
#include <linux/moduleparam.h>
#include <linux/netdevice.h>

static unsigned int ptnet_watchdog_s = 60;
module_param(ptnet_watchdog_s, uint, 0644);
MODULE_PARM_DESC(ptnet_watchdog_s,
	"seconds after which a stopped queue of a passed-through port that is probed from now on is reported: 1 to 3600 (default 60)");

static int ptnet_open(struct net_device *netdev)
{
	struct ptnet *ptn = ptnet_of(netdev);
	int error = 0;

	nm_core_lock(&netmap_core);
	mutex_lock(&ptn->lock);
	if (ptn->gone) {
		error = -ENODEV;
	} else if (ptn->state == PTNET_IDLE) {
		ptnet_service_hdr_len(
			ptn, ptnet_stack_hdr_len(ptn)); /* or what the host has instead */
		ptnet_rings_repair(ptn);
		error = ptnet_service_start(ptn);
	}
	if (!error) {
		ptn->up = true;
		if (ptn->state == PTNET_NETMAP) {
			netif_tx_wake_all_queues(netdev);
		} else {
			WRITE_ONCE(ptn->state, PTNET_STACK);
			ptnet_stack_on(ptn);
		}
		netif_carrier_on(netdev);
	}
	mutex_unlock(&ptn->lock);
	nm_core_unlock(&netmap_core);
	return error;
}

static int ptnet_stop(struct net_device *netdev)
{
	struct ptnet *ptn = ptnet_of(netdev);

	mutex_lock(&ptn->lock);
	netif_carrier_off(netdev);
	if (ptn->state == PTNET_NETMAP) {
		netif_tx_disable(netdev);
	} else {
		ptnet_stack_off(ptn);
		WRITE_ONCE(ptn->state, PTNET_IDLE);
		ptnet_service_stop(ptn);
	}
	ptn->up = false;
	mutex_unlock(&ptn->lock);
	return 0;
}

static void ptnet_get_stats64(struct net_device *netdev, struct rtnl_link_stats64 *stats)
{
	struct ptnet *ptn = ptnet_of(netdev);
	struct ptnet_sums sums[NM_DIRS] = {0};

	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		const struct ptnet_sums one = ptnet_queue_sums(&ptn->queues[i]);
		struct ptnet_sums *sum = &sums[ptn->queues[i].dir];

		sum->packets += one.packets;
		sum->bytes += one.bytes;
		sum->drops += one.drops;
	}
	stats->tx_packets = sums[NM_TX].packets;
	stats->tx_bytes = sums[NM_TX].bytes;
	stats->tx_dropped = sums[NM_TX].drops;
	stats->rx_packets = sums[NM_RX].packets;
	stats->rx_bytes = sums[NM_RX].bytes;
	stats->rx_dropped = sums[NM_RX].drops;
}

/* A switch sends it all that is for it, and the rest is nobody's here: there is no filter to be set. That there could
 * be is what programs want to know. */
static void ptnet_set_rx_mode(struct net_device *netdev)
{
}

/* Without a virtio-net header our own stack does all. */
static netdev_features_t ptnet_fix_features(struct net_device *netdev, netdev_features_t features)
{
	if (ptnet_of(netdev)->xdp)
		features &= ~(NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_RXCSUM | NETIF_F_ALL_TSO |
			      NETIF_F_GSO_UDP_L4);
	return features;
}

static int ptnet_change_mtu(struct net_device *netdev, int mtu)
{
	const struct ptnet *ptn = ptnet_of(netdev);
	uint32_t most = ptnet_xdp_mtu_max(ptn, ptn->xdp_prog);

	if (mtu > (int)most) {
		netdev_warn(netdev,
			"MTU %d: with an XDP program without fragments %u is the most that fits a slot\n",
			mtu, most);
		return -EINVAL;
	}
	WRITE_ONCE(netdev->mtu, mtu);
	return 0;
}

static const struct net_device_ops ptnet_netdev_ops = {
	.ndo_open = ptnet_open,
	.ndo_stop = ptnet_stop,
	.ndo_start_xmit = ptnet_start_xmit,
	.ndo_tx_timeout = ptnet_tx_timeout,
	.ndo_set_rx_mode = ptnet_set_rx_mode,
	.ndo_fix_features = ptnet_fix_features,
	.ndo_change_mtu = ptnet_change_mtu,
	.ndo_bpf = ptnet_xdp_setup,
	.ndo_xdp_xmit = ptnet_xdp_xmit,
	.ndo_get_stats64 = ptnet_get_stats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

bool ptnet_is_ours(const struct net_device *netdev)
{
	return netdev->netdev_ops == &ptnet_netdev_ops;
}

struct nm_port *ptnet_port_of(const struct net_device *netdev)
{
	return ptnet_of(netdev)->port;
}

struct net_device *ptnet_netdev_alloc(struct ptnet *ptn, const uint8_t mac[ETH_ALEN])
{
	struct net_device *netdev = alloc_etherdev_mqs(
		sizeof(struct ptnet_netdev_priv), ptn->num_rings[NM_TX], ptn->num_rings[NM_RX]);

	if (!netdev)
		return NULL;
	((struct ptnet_netdev_priv *)netdev_priv(netdev))->ptn = ptn;
	SET_NETDEV_DEV(netdev, &ptn->pdev->dev);
	netdev->netdev_ops = &ptnet_netdev_ops;
	netdev->ethtool_ops = &ptnet_ethtool_ops;
	netdev->priv_flags |= IFF_LIVE_ADDR_CHANGE | IFF_UNICAST_FLT;
	/* A pipe's other end may be slow, and a host may be suspended for a while. */
	netdev->watchdog_timeo = (int)(clamp(READ_ONCE(ptnet_watchdog_s), 1U, 3600U) * HZ);
	ptn->speed = SPEED_10000;
	ptn->duplex = DUPLEX_FULL;
	ptn->rx_adaptive = true;
	if (is_valid_ether_addr(mac))
		eth_hw_addr_set(netdev, mac);
	else
		eth_hw_addr_random(netdev);
	netif_carrier_off(netdev);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		struct ptnet_queue *q = &ptn->queues[i];

		if (q->dir == NM_TX)
			netif_napi_add_tx(netdev, &q->napi, ptnet_tx_poll);
		else
			netif_napi_add(netdev, &q->napi, ptnet_rx_poll);
	}
	return netdev;
}

/* Segmentation and checksums are left to the receiver, as long as a packet fits into half a ring. */
static void set_offloads(struct ptnet *ptn, uint32_t packet_max)
{
	struct net_device *netdev = ptn->netdev;

	if (ptn->stack_hdr_len == 0)
		return;
	netdev->hw_features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_RXCSUM;
	if (packet_max > 4 * ETH_DATA_LEN) {
		netdev->hw_features |= NETIF_F_TSO | NETIF_F_TSO_ECN | NETIF_F_TSO6;
		if (ptn->features & PTNETMAP_F_USO)
			netdev->hw_features |= NETIF_F_GSO_UDP_L4;
		netif_set_tso_max_size(
			netdev, min_t(uint32_t, packet_max,
					ptnet_big_known(ptn) ? GSO_MAX_SIZE : GSO_LEGACY_MAX_SIZE));
	}
	netdev->features |= netdev->hw_features;
	netdev->vlan_features |= netdev->hw_features;
}

/* A packet goes into as many buffers as it needs, behind a header of any length that may be agreed. */
int ptnet_netdev_set_limits(struct ptnet *ptn)
{
	uint32_t overhead = NM_PORT_HDR_MAX + ETH_HLEN + VLAN_HLEN;
	uint32_t slots = clamp_t(uint32_t, (ptn->num_slots[NM_TX] - 1) / 2, 1, NETMAP_MAX_FRAGS);
	uint64_t bytes = (uint64_t)slots * ptnet_slot_bytes(ptn);

	if (bytes < overhead + ETH_MIN_MTU) {
		pci_err(ptn->pdev, "%u buffers of %u bytes hold no packet\n", slots, ptn->buf_size);
		return -EINVAL;
	}
	bytes = min_t(uint64_t, bytes - overhead, GSO_MAX_SIZE);
	ptn->tx_slots_max = slots;
	ptn->netdev->min_mtu = ETH_MIN_MTU;
	ptn->netdev->max_mtu = min_t(uint32_t, (uint32_t)bytes, ETH_MAX_MTU);
	ptn->netdev->mtu = min_t(uint32_t, ETH_DATA_LEN, (uint32_t)bytes);
	set_offloads(ptn, (uint32_t)bytes);
	nmk_set_xdp_features(ptn->netdev, !ptn->always_hdr);
	return 0;
}

/* ---- the port is called as the interface -------------------------------------------------- */

static int netdev_event(struct notifier_block *nb, unsigned long event, void *info)
{
	struct net_device *netdev = netdev_notifier_info_to_dev(info);
	struct ptnet *ptn;
	int error;

	if (event != NETDEV_CHANGENAME || !ptnet_is_ours(netdev))
		return NOTIFY_DONE;
	ptn = ptnet_of(netdev);
	nm_core_lock(&netmap_core);
	error = ptn->port ? nm_port_rename_locked(ptn->port, netdev->name) : 0;
	if (error)
		netdev_warn(
			netdev, "its port keeps the name %s: error %d\n", ptn->port->name, -error);
	nm_core_unlock(&netmap_core);
	return NOTIFY_DONE;
}

static struct notifier_block netdev_notifier = {
	.notifier_call = netdev_event,
};

int ptnet_notifier_register(void)
{
	return register_netdevice_notifier(&netdev_notifier);
}

void ptnet_notifier_unregister(void)
{
	unregister_netdevice_notifier(&netdev_notifier);
}
