// SPDX-License-Identifier: BSD-2-Clause
/*
 * A network device of the module's own, whose packets to and from the stack are the port's: what
 * the stack sends (persist_xmit) goes into an rx ring, what a tx ring holds the device receives.
 *
 * Device and port are made and removed together. Registering and unregistering take the rtnl lock,
 * which comes before core->lock: so that is released around them, and `hidden` says that nobody else
 * gets at the port meanwhile: registering may fail when the device is listed already.
 */
#include "persist.h"
#include "hostring.h"
#include "nic.h"
#include "kmod.h"

#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/if_vlan.h>
#include <linux/list.h>
#include <linux/rtnetlink.h>
#include <net/net_namespace.h>

enum {
	MTU_MAX = 65535 - VLAN_ETH_HLEN,
};

/* Behind struct net_device. */
struct persist {
	struct list_head link; /* of all that are registered; core->lock */
	struct net_device *dev;
	struct nm_port *port;          /* core->lock; NULL: it went with the region of its rings */
	bool hidden;                   /* core->lock: NEWIF or DELIF is at work */
	struct nm_port __rcu *started; /* while a client is bound; else NULL */
};

static LIST_HEAD(all); /* under core->lock */

/* ---- the network device --------------------------------------------------------------- */

static struct nm_ring *rx_ring_for(struct nm_port *port, const struct sk_buff *skb)
{
	return &port->rings[NM_RX][skb_get_queue_mapping(skb) % port->num_rings[NM_RX]];
}

static uint64_t dropped(const struct nm_ring *ring)
{
	uint64_t sum = 0;

	for (int cause = 0; cause < NM_DROPS; cause++)
		sum += OS_LOAD(&ring->stats.drops[cause]);
	return sum;
}

/* The stack sends. Within RCU, soft interrupts off, under the queue's tx lock, so that nobody else
 * produces into this ring: the difference is this packet's. */
static netdev_tx_t persist_xmit(struct sk_buff *skb, struct net_device *dev)
{
	const struct persist *p = netdev_priv(dev);
	struct nm_port *port = rcu_dereference_bh(p->started);
	struct nm_ring *ring = port ? rx_ring_for(port, skb) : NULL;
	uint32_t bytes = skb->len;
	uint64_t before;

	if (!ring || OS_LOAD(&ring->users) == 0) {
		DEV_STATS_INC(dev, tx_dropped);
		kfree_skb(skb);
		return NETDEV_TX_OK;
	}
	skb_tx_timestamp(skb);
	before = dropped(ring);
	nmk_rx_packet(ring, skb);
	if (dropped(ring) != before) {
		DEV_STATS_INC(dev, tx_dropped);
	} else {
		DEV_STATS_INC(dev, tx_packets);
		DEV_STATS_ADD(dev, tx_bytes, bytes);
	}
	return NETDEV_TX_OK;
}

static const struct net_device_ops persist_netdev_ops = {
	.ndo_start_xmit = persist_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

static void persist_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "netmap", sizeof(info->driver));
}

static const struct ethtool_ops persist_ethtool_ops = {
	.get_drvinfo = persist_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ts_info = ethtool_op_get_ts_info,
};

bool nmk_persist_is_ours(const struct net_device *dev)
{
	return dev->netdev_ops == &persist_netdev_ops;
}

static void setup_device(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &persist_netdev_ops;
	dev->ethtool_ops = &persist_ethtool_ops;
	dev->min_mtu = ETH_MIN_MTU;
	dev->max_mtu = MTU_MAX;
	/* netpoll would call with interrupts disabled. */
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE | IFF_DISABLE_NETPOLL;
	dev->features = NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HIGHDMA | NETIF_F_HW_CSUM |
			NETIF_F_TSO | NETIF_F_TSO6 | NETIF_F_TSO_ECN | NETIF_F_HW_VLAN_CTAG_TX |
			NETIF_F_HW_VLAN_STAG_TX;
	dev->hw_features = dev->features & ~(NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HIGHDMA);
	dev->vlan_features = NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HW_CSUM | NETIF_F_TSO |
			     NETIF_F_TSO6 | NETIF_F_TSO_ECN | NETIF_F_HIGHDMA;
	eth_hw_addr_random(dev);
	netif_carrier_off(dev);
}

/* ---- the port -------------------------------------------------------------------------- */

static int persist_admit(const struct nm_port *port, struct nm_error *err)
{
	const struct persist *p = port->priv;

	return nmk_admit(p->dev, err);
}

static int persist_start(struct nm_port *port, struct nm_error *err)
{
	struct persist *p = port->priv;

	rcu_assign_pointer(p->started, port);
	netif_carrier_on(p->dev);
	return 0;
}

static void persist_stop(struct nm_port *port)
{
	struct persist *p = port->priv;

	netif_carrier_off(p->dev);
	RCU_INIT_POINTER(p->started, NULL);
	synchronize_net();
}

/* Behind the device; or with the last client, when the region of another device was chosen and went. */
static void persist_destroy(struct nm_port *port)
{
	struct persist *p = port->priv;

	p->port = NULL;
}

/* What the device receives is counted as the ring's packets without its drops. */
static int persist_txsync(struct nm_ring *ring)
{
	struct persist *p = ring->port->priv;
	uint64_t packets = ring->stats.packets, bytes = ring->stats.bytes, drops = dropped(ring);
	int error = nmk_host_txsync(ring, p->dev);

	DEV_STATS_ADD(p->dev, rx_packets, ring->stats.packets - packets);
	DEV_STATS_ADD(p->dev, rx_bytes, ring->stats.bytes - bytes);
	DEV_STATS_ADD(p->dev, rx_dropped, dropped(ring) - drops);
	return error;
}

static int persist_set_hdr_len(struct nm_port *port, uint32_t bytes)
{
	if (port->clients > 0)
		return -EBUSY;
	port->hdr_len = bytes;
	return 0;
}

static const struct nm_port_ops persist_ops = {
	.kind = "persistent",
	.admit = persist_admit,
	.start = persist_start,
	.stop = persist_stop,
	.destroy = persist_destroy,
	.set_hdr_len = persist_set_hdr_len,
	.txsync = persist_txsync,
	.rxsync = nm_ring_rxsync_produced,
	.shares_region = true,
	.persistent = true,
};

struct nm_port *nmk_persist_port(const struct net_device *dev)
{
	const struct persist *p = netdev_priv(dev);

	return p->hidden ? NULL : p->port;
}

/* ---- making and removing --------------------------------------------------------------- */

/* Hidden. The port is found through nmk_nic_lookup(), in the namespace of the device. */
static int add_port(struct nm_core *core, struct persist *p, const struct nm_shape *shape)
{
	struct nm_error err;
	struct nm_port *port =
		nm_port_add_unnamed_locked(core, p->dev->name, &persist_ops, shape, &err);

	if (!port)
		return err.code;
	port->priv = p;
	p->port = port;
	p->hidden = true;
	list_add(&p->link, &all);
	return 0;
}

static void remove_port(struct persist *p)
{
	list_del(&p->link);
	if (p->port)
		nm_port_remove_locked(p->port);
}

static struct net_device *alloc_device(
	struct net *ns, const char *name, const struct nm_shape *shape)
{
	struct net_device *dev = alloc_netdev_mqs(sizeof(struct persist), name, NET_NAME_USER,
		setup_device, shape->rings[NM_RX], shape->rings[NM_TX]);

	if (!dev)
		return NULL;
	dev_net_set(dev, ns);
	((struct persist *)netdev_priv(dev))->dev = dev;
	return dev;
}

static int check_wishes(const char *name, uint16_t mem_id, struct nm_error *err)
{
	if (!dev_valid_name(name) || strchr(name, '%'))
		return nm_error_set(err, -EINVAL,
			"%s: the name of a network device has at most %d bytes, and none of / : %%",
			name, IFNAMSIZ - 1);
	if (mem_id > NM_REGION_SHARED_ID) {
		return nm_error_set(err, -EOPNOTSUPP,
			"%s: whoever registers it first chooses its memory region (@ID), not who makes it",
			name);
	}
	return 0;
}

/* Lets go of core->lock for a while. */
static int register_device(struct nm_core *core, struct persist *p)
{
	int error;

	nm_core_unlock(core);
	error = register_netdev(p->dev);
	nm_core_lock(core);
	if (error) {
		remove_port(p);
		return error;
	}
	p->hidden = false;
	(void)nm_port_rename_locked(p->port, p->dev->name); /* who did so meanwhile found no port */
	return 0;
}

int nmk_persist_newif(struct nm_core *core, void *ns, const char *name,
	const struct nm_shape *shape, uint16_t mem_id, struct nm_error *err)
{
	struct net_device *dev;
	int error = check_wishes(name, mem_id, err);

	if (error)
		return error;
	dev = alloc_device(ns, name, shape);
	if (!dev)
		return nm_error_set(err, -ENOMEM, "%s: no memory for a network device", name);
	error = nmk_admit(dev, err);
	if (error) {
		free_netdev(dev);
		return error;
	}
	error = add_port(core, netdev_priv(dev), shape);
	if (!error)
		error = register_device(core, netdev_priv(dev));
	if (error) {
		nm_error_set(err, error, "%s: the network device can't be made: %s", name,
			error == -EEXIST ? "there is one of this name"
					 : "the kernel, or the shape of its rings, is against it");
		free_netdev(dev);
	}
	return error;
}

static bool in_use(const struct persist *p)
{
	return p->port && (p->port->clients > 0 || p->port->pins > 0);
}

/* Of a device that nobody uses. Lets go of core->lock for a while. */
static void remove_device(struct nm_core *core, struct persist *p)
{
	p->hidden = true;
	nm_core_unlock(core);
	unregister_netdev(p->dev);
	nm_core_lock(core);
	remove_port(p);
	free_netdev(p->dev);
}

/* It stays while core->lock is held. */
static struct persist *find(struct net *net, const char *name)
{
	struct net_device *dev = dev_get_by_name(net, name);
	struct persist *p = dev && nmk_persist_is_ours(dev) ? netdev_priv(dev) : NULL;

	dev_put(dev);
	return p;
}

int nmk_persist_delif(struct nm_core *core, void *ns, const char *name, struct nm_error *err)
{
	struct persist *p = find(ns, name);
	int error;

	if (!p || p->hidden)
		return nm_error_set(err, -ENXIO, "%s: no persistent port of this name", name);
	error = nmk_admit(p->dev, err);
	if (error)
		return error;
	if (in_use(p))
		return nm_error_set(err, -EBUSY, "%s: in use", name);
	remove_device(core, p);
	return 0;
}

/* The next one of a namespace, NULL: of any, that nobody uses. */
static struct persist *next_unused(const struct net *ns)
{
	struct persist *p;

	list_for_each_entry (p, &all, link)
		if (!p->hidden && !in_use(p) && (!ns || net_eq(dev_net(p->dev), ns)))
			return p;
	return NULL;
}

static void remove_unused(const struct net *ns)
{
	struct persist *p;

	nm_core_lock(&netmap_core);
	while ((p = next_unused(ns)) != NULL)
		remove_device(&netmap_core, p);
	nm_core_unlock(&netmap_core);
}

void nmk_persist_netns_exit(const struct net *ns)
{
	remove_unused(ns);
}

void nmk_persist_unregister(void)
{
	remove_unused(NULL);
}
