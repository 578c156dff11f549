// SPDX-License-Identifier: BSD-2-Clause
#define pr_fmt(fmt) "netmap: " fmt

#include "xmit_hook.h"
#include "nic.h"
#include "kmod.h"

#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/slab.h>

/* One per device that was in use once. */
struct xmit_hook {
	struct list_head link; /* of one of the lists below; changes under core->lock */
	struct net_device *dev;
	struct net_device_ops ops; /* the driver's but for ndo_start_xmit */
	const struct net_device_ops *driver;
	struct nmk_nic __rcu *nic; /* NULL: not set */
	bool pinned;               /* somebody else's ops lead here */
};

static LIST_HEAD(hooks);
static LIST_HEAD(left_behind); /* whose devices are gone, but whose ops others may know yet */

static struct xmit_hook *find(const struct net_device *dev)
{
	struct xmit_hook *h;

	list_for_each_entry_rcu(
		h, &hooks, link, lockdep_is_held(&netmap_core.lock.l)) if (h->dev == dev) return h;
	return NULL;
}

const struct net_device_ops *nmk_xmit_driver(const struct net_device *dev)
{
	const struct xmit_hook *h = find(dev);

	return h ? h->driver : READ_ONCE(dev->netdev_ops);
}

/* In place of the driver's: soft interrupts, or all (netpoll), are off. */
static netdev_tx_t start_xmit(struct sk_buff *skb, struct net_device *dev)
{
	netdev_tx_t result = NETDEV_TX_OK;
	const struct xmit_hook *h;
	struct nmk_nic *nic;

	rcu_read_lock();
	h = find(dev);
	nic = h ? rcu_dereference(h->nic) : NULL;
	if (unlikely(!h)) /* it goes: nobody is to come here any more */
		dev_kfree_skb_any(skb);
	else if (!nic || !nmk_nic_xmit(nic, skb))
		result = h->driver->ndo_start_xmit(skb, dev);
	rcu_read_unlock();
	return result;
}

static void copy_ops(struct xmit_hook *h, const struct net_device_ops *driver)
{
	h->driver = driver;
	h->ops = *driver;
	h->ops.ndo_start_xmit = start_xmit;
}

static struct xmit_hook *add(struct net_device *dev)
{
	struct xmit_hook *h = kzalloc(sizeof(*h), GFP_KERNEL);

	if (!h)
		return NULL;
	h->dev = dev;
	copy_ops(h, READ_ONCE(dev->netdev_ops));
	list_add_rcu(&h->link, &hooks);
	return h;
}

int nmk_xmit_hook_set(struct net_device *dev, struct nmk_nic *nic)
{
	const struct net_device_ops *ops = READ_ONCE(dev->netdev_ops);
	struct xmit_hook *h = find(dev);

	if (!h)
		h = add(dev);
	if (!h)
		return -ENOMEM;
	if (!h->pinned && ops != h->driver && ops != &h->ops)
		copy_ops(h, ops); /* the driver has put in others meanwhile */
	rcu_assign_pointer(h->nic, nic);
	if (!h->pinned)
		smp_store_release(&dev->netdev_ops, &h->ops);
	return 0;
}

void nmk_xmit_hook_clear(struct net_device *dev)
{
	struct xmit_hook *h = find(dev);

	if (!h)
		return;
	RCU_INIT_POINTER(h->nic, NULL);
	if (h->pinned || cmpxchg(&dev->netdev_ops, &h->ops, h->driver) == &h->ops ||
		READ_ONCE(dev->netdev_ops) == h->driver)
		return;
	h->pinned = true;
	__module_get(THIS_MODULE);
	pr_warn("%s: another module has replaced its operations; netmap stays loaded\n", dev->name);
}

void nmk_xmit_hook_remove(struct net_device *dev)
{
	struct xmit_hook *h = find(dev);

	if (!h)
		return;
	nmk_xmit_hook_clear(dev);
	if (h->pinned && dev->reg_state == NETREG_REGISTERED) /* moves to another namespace */
		return;
	list_del_rcu(&h->link);
	synchronize_net();
	if (h->pinned)
		list_add(&h->link, &left_behind);
	else
		kfree(h);
}
