// SPDX-License-Identifier: BSD-2-Clause
/* Ports of network devices: how they are found, come and go. */
#define pr_fmt(fmt) "netmap: " fmt

#include "nic.h"
#include "hostring.h"
#include "persist.h"
#include "ptnet.h"
#include "xmit_hook.h"
#include "attach_threads.h"
#include "kmod.h"

#include <linux/capability.h>
#include <linux/if_arp.h>
#include <linux/module.h>
#include <linux/netfilter_netdev.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <net/net_namespace.h>

static unsigned int nic_host_rings = 1;
module_param(nic_host_rings, uint, 0644);
MODULE_PARM_DESC(nic_host_rings,
	"host rings, per direction, of network devices that are opened for the first time from now on, 1 to 64 (default 1)");

static unsigned int nic_slots = NM_SLOTS_DEFAULT;
module_param(nic_slots, uint, 0644);
MODULE_PARM_DESC(nic_slots,
	"slots per ring of network devices that are opened for the first time from now on, 16 to 16384 (default 1024)");

struct workqueue_struct *nmk_wq;
static LIST_HEAD(nics); /* under core->lock */

static struct net_device *device_of(const struct nmk_nic *nic)
{
	return rcu_dereference_protected(nic->dev, lockdep_is_held(&netmap_core.lock.l));
}

static void free_nic(struct kref *kref)
{
	kfree(container_of(kref, struct nmk_nic, kref));
}

static void put_nic(struct nmk_nic *nic)
{
	kref_put(&nic->kref, free_nic);
}

/* ---- hooks --------------------------------------------------------------------------- */

/* Packets that a device has merged for the stack's sake (LRO) can't be taken apart again. */
static void lro_off(struct work_struct *work)
{
	struct nmk_nic *nic = container_of(work, struct nmk_nic, lro_off);
	struct net_device *dev;

	rtnl_lock();
	dev = rcu_dereference_rtnl(nic->dev); /* it can't go while the rtnl lock is held */
	if (dev)
		dev_disable_lro(dev);
	rtnl_unlock();
	put_nic(nic);
}

static void init_hook(struct nf_hook_ops *ops, struct nmk_nic *nic, struct net_device *dev,
	nf_hookfn *hook, unsigned int num)
{
	*ops = (struct nf_hook_ops){
		.hook = hook,
		.dev = dev,
		.priv = nic,
		.pf = NFPROTO_NETDEV,
		.hooknum = num,
		.priority = INT_MIN,
	};
}

static int hook(struct nmk_nic *nic, struct net_device *dev)
{
	struct net *net = dev_net(dev);
	int error;

	init_hook(&nic->ingress, nic, dev, nmk_nic_ingress, NF_NETDEV_INGRESS);
	init_hook(&nic->egress, nic, dev, nmk_nic_egress, NF_NETDEV_EGRESS);
	error = nf_register_net_hook(net, &nic->ingress);
	if (error)
		return error;
	error = nf_register_net_hook(net, &nic->egress);
	if (error)
		goto fail_ingress;
	error = nmk_xmit_hook_set(dev, nic);
	if (error)
		goto fail_egress;
	nic->hooked = true;
	return 0;

fail_egress:
	nf_unregister_net_hook(net, &nic->egress);
fail_ingress:
	nf_unregister_net_hook(net, &nic->ingress);
	synchronize_net();
	return error;
}

/* No packet is on its way into the rings when it returns. */
static void unhook(struct nmk_nic *nic)
{
	struct net_device *dev = device_of(nic);

	if (!nic->hooked)
		return;
	nmk_xmit_hook_clear(dev);
	nf_unregister_net_hook(dev_net(dev), &nic->egress);
	nf_unregister_net_hook(dev_net(dev), &nic->ingress);
	synchronize_net();
	nic->hooked = false;
	WRITE_ONCE(nic->stack, NMK_STACK_WIRE);
}

/* ---- operations of the port kind ----------------------------------------------------- */

static int nic_start(struct nm_port *port, struct nm_error *err)
{
	struct nmk_nic *nic = port->priv;
	struct net_device *dev = device_of(nic);
	int error;

	if (!dev)
		return nm_error_set(err, -ENXIO, "%s: the device is gone", port->name);
	if (rcu_access_pointer(dev->rx_handler)) {
		return nm_error_set(err, -EBUSY,
			"%s: its packets go to a bridge, bond, team, macvlan or the like; take it out of there first",
			port->name);
	}
	error = nmk_nic_tx_start(nic);
	if (error)
		return nm_error_set(err, error, "%s: no memory for its tx rings", port->name);
	error = hook(nic, dev);
	if (error) {
		nm_error_set(err, error,
			"%s: the kernel refuses to hand over its packets: error %d", port->name,
			-error);
		nmk_nic_tx_stop(nic);
		return error;
	}
	if (dev->features & NETIF_F_LRO) {
		kref_get(&nic->kref);
		if (!queue_work(nmk_wq, &nic->lro_off))
			put_nic(nic);
	}
	return 0;
}

static void nic_stop(struct nm_port *port)
{
	struct nmk_nic *nic = port->priv;

	unhook(nic);
	nmk_nic_tx_stop(nic);
}

static void let_go_of_device(struct nmk_nic *nic)
{
	struct net_device *dev = device_of(nic);

	if (!dev)
		return;
	list_del(&nic->link);
	RCU_INIT_POINTER(nic->dev, NULL);
	synchronize_net(); /* no sync uses it any more */
	nmk_nic_tx_device_gone(nic);
	netdev_put(dev, &nic->tracker);
}

static void nic_destroy(struct nm_port *port)
{
	struct nmk_nic *nic = port->priv;

	let_go_of_device(nic);
	put_nic(nic);
}

static int nic_set_hdr_len(struct nm_port *port, uint32_t bytes)
{
	if (port->clients > 0)
		return -EBUSY;
	port->hdr_len = bytes;
	return 0;
}

int nmk_admit(const struct net_device *dev, struct nm_error *err)
{
	if (ns_capable(dev_net(dev)->user_ns, CAP_NET_ADMIN))
		return 0;
	return nm_error_set(err, -EPERM,
		"%s: taking a network interface, its stack, or its packets needs CAP_NET_ADMIN in its network namespace; switch ports (valeID:PORT), pipes and null ports don't",
		dev->name);
}

static int nic_admit(const struct nm_port *port, struct nm_error *err)
{
	const struct net_device *dev = device_of(port->priv);

	return dev ? nmk_admit(dev, err) : 0; /* a device that is gone is nobody's */
}

/* Work that sends what the device had no room for. A ring that is about to be emptied is sent first. */
static void nic_quiesce(struct nm_ring *ring, bool on)
{
	if (!on) {
		mutex_unlock(&ring->wakeup.sync);
		return;
	}
	mutex_lock(&ring->wakeup.sync);
	if (ring->dir == NM_TX && !ring->host)
		nmk_nic_tx_hand_over(ring);
}

static void nic_ring_reset(struct nm_ring *ring)
{
	if (ring->dir == NM_TX && !ring->host)
		nmk_nic_tx_reset(ring);
}

/* A queue of the device is in use in one direction at least. Queues that have no ring of their own go
 * by those that have. */
static bool queue_in_use(const struct nm_port *port, uint32_t queue)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		if (OS_LOAD(&port->rings[dir][queue % port->num_rings[dir]].users) > 0)
			return true;
	return false;
}

static void nic_users_changed(struct nm_port *port)
{
	uint32_t queues = max(port->num_rings[NM_TX], port->num_rings[NM_RX]), used = 0;
	struct nmk_nic *nic = port->priv;
	enum nmk_stack stack = NMK_STACK_WIRE;

	for (uint32_t i = 0; i < queues; i++)
		used += queue_in_use(port, i);
	if (used == queues || nmk_host_wanted(port))
		stack = NMK_STACK_TAKEN;
	else if (used > 0)
		stack = NMK_STACK_BY_QUEUE;
	WRITE_ONCE(nic->stack, stack);
}

bool nmk_nic_takes_queue(const struct nmk_nic *nic, uint32_t queue)
{
	enum nmk_stack stack = READ_ONCE(nic->stack);

	return stack == NMK_STACK_TAKEN ||
	       (stack == NMK_STACK_BY_QUEUE && queue_in_use(nic->port, queue));
}

static const struct nm_port_ops nic_ops = {
	.kind = "nic",
	.admit = nic_admit,
	.start = nic_start,
	.stop = nic_stop,
	.destroy = nic_destroy,
	.set_hdr_len = nic_set_hdr_len,
	.txsync = nmk_nic_txsync,
	.rxsync = nmk_nic_rxsync,
	.can_send = nmk_nic_can_send,
	.quiesce = nic_quiesce,
	.ring_reset = nic_ring_reset,
	.users_changed = nic_users_changed,
	.shares_region = true,
	.chosen_host_rings = true,
	.chosen_slots = true,
};

/* ---- finding ------------------------------------------------------------------------- */

static struct nm_shape shape_of(const struct net_device *dev)
{
	uint32_t host = clamp_t(uint32_t, READ_ONCE(nic_host_rings), 1, NM_RINGS_MAX);
	uint32_t slots = clamp_t(uint32_t, READ_ONCE(nic_slots), 16, NM_SLOTS_MAX);

	return (struct nm_shape){
		.rings = {clamp_t(uint32_t, READ_ONCE(dev->real_num_tx_queues), 1, NM_RINGS_MAX),
			clamp_t(uint32_t, READ_ONCE(dev->real_num_rx_queues), 1, NM_RINGS_MAX)},
		.host_rings = {host, host},
		.slots = {slots, slots},
	};
}

static struct nmk_nic *find_nic(const struct net_device *dev)
{
	struct nmk_nic *nic;

	list_for_each_entry (nic, &nics, link) {
		if (device_of(nic) == dev)
			return nic;
	}
	return NULL;
}

/* The port has the shape that a new one would have, or it is in use: what its first client has chosen
 * holds until nobody has it. */
static bool keeps_shape(const struct nm_port *port, const struct nm_shape *shape)
{
	if (port->clients > 0 || port->pins > 0)
		return true;
	return memcmp(port->num_rings, shape->rings, sizeof(port->num_rings)) == 0 &&
	       memcmp(port->num_host_rings, shape->host_rings, sizeof(port->num_host_rings)) == 0 &&
	       memcmp(port->num_slots, shape->slots, sizeof(port->num_slots)) == 0;
}

static struct nm_port *add_nic(struct nm_core *core, struct net_device *dev,
	const struct nm_shape *shape, uint32_t hdr_len)
{
	struct nmk_nic *nic = kzalloc(sizeof(*nic), GFP_KERNEL);
	struct nm_port *port = NULL;
	struct nm_error err = {.code = -ENOMEM};

	if (nic)
		/* It is found through nmk_nic_lookup(), for names are those of a namespace. */
		port = nm_port_add_unnamed_locked(core, dev->name, &nic_ops, shape, &err);
	if (!port) {
		os_log(OS_LOG_WARN, "%s: no port can be made for it: error %d", dev->name,
			-err.code);
		kfree(nic);
		return NULL;
	}
	port->priv = nic;
	port->hdr_len = hdr_len;
	nic->port = port;
	kref_init(&nic->kref);
	INIT_WORK(&nic->lro_off, lro_off);
	rcu_assign_pointer(nic->dev, dev);
	netdev_hold(dev, &nic->tracker, GFP_KERNEL);
	list_add(&nic->link, &nics);
	return port;
}

static struct nm_port *port_of(struct nm_core *core, struct net_device *dev)
{
	struct nmk_nic *nic = find_nic(dev);
	struct nm_shape shape = shape_of(dev);
	uint32_t hdr_len = 0;

	if (nic && keeps_shape(nic->port, &shape))
		return nic->port;
	if (nic) {
		hdr_len = nic->port->hdr_len;
		nm_port_remove_locked(nic->port);
	}
	return add_nic(core, dev, &shape, hdr_len);
}

static bool is_ethernet(const struct net_device *dev)
{
	return (dev->type == ARPHRD_ETHER || dev->type == ARPHRD_LOOPBACK) &&
	       dev->hard_header_len >= ETH_HLEN;
}

struct nm_port *nmk_nic_lookup(struct nm_core *core, void *ns, const char *name)
{
	struct net_device *dev;
	struct nm_port *port = NULL;

	if (!ns)
		return NULL;
	dev = dev_get_by_name(ns, name);
	if (!dev)
		return NULL;
	if (nmk_persist_is_ours(dev))
		port = nmk_persist_port(dev);
	else if (ptnet_is_ours(dev))
		port = ptnet_port_of(dev);
	else if (!is_ethernet(dev))
		os_log(OS_LOG_INFO, "%s: not an Ethernet device", name);
	else
		port = port_of(core, dev);
	dev_put(dev);
	return port;
}

/* ---- what happens to devices --------------------------------------------------------- */

/* Its clients find the port dead. The rtnl lock is held. */
static void device_gone(struct nmk_nic *nic)
{
	struct nm_port *port = nic->port;
	bool in_use = port->clients > 0;

	unhook(nic);
	let_go_of_device(nic);
	nm_port_remove_locked(port); /* frees it unless in use */
	if (in_use)
		nmk_attachment_reap();
}

/* In texts only: it may fail. */
static void renamed(const struct net_device *dev, struct nm_port *port)
{
	if (port)
		(void)nm_port_rename_locked(port, dev->name);
}

/* Called with the rtnl lock held. */
static int netdev_event(struct notifier_block *nb, unsigned long event, void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);
	struct nmk_nic *nic;

	if (event != NETDEV_UNREGISTER && event != NETDEV_CHANGENAME)
		return NOTIFY_DONE;
	nm_core_lock(&netmap_core);
	nic = find_nic(dev);
	if (nic && event == NETDEV_UNREGISTER)
		device_gone(nic); /* or it moves to another namespace */
	else if (nic)
		renamed(dev, nic->port);
	else if (event == NETDEV_CHANGENAME && nmk_persist_is_ours(dev))
		renamed(dev, nmk_persist_port(dev));
	if (event == NETDEV_UNREGISTER)
		nmk_xmit_hook_remove(dev);
	nm_core_unlock(&netmap_core);
	return NOTIFY_DONE;
}

static struct notifier_block netdev_notifier = {
	.notifier_call = netdev_event,
	.priority = INT_MAX, /* others are to see the driver's netdev_ops: xmit_hook.h */
};

int nmk_nic_register(void)
{
	int error;

	nmk_wq = alloc_workqueue("netmap", WQ_UNBOUND, 0);
	if (!nmk_wq)
		return -ENOMEM;
	error = register_netdevice_notifier(&netdev_notifier);
	if (error)
		destroy_workqueue(nmk_wq);
	return error;
}

/* Unregistering the notifier tells it of all devices that they are gone. */
void nmk_nic_unregister(void)
{
	unregister_netdevice_notifier(&netdev_notifier);
	nmk_persist_unregister();
	destroy_workqueue(nmk_wq);
	nmk_nic_tx_wait();
}
