/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xmit_hook.h - sees what is handed to a device's driver, whoever hands it over.
 *
 * The kernel's egress hook sees what goes through dev_queue_xmit(). A packet socket with
 * PACKET_QDISC_BYPASS passes it, too, but is told ENOBUFS of each packet that a hook takes; AF_XDP in copy
 * mode, the packet generator and netpoll call the driver directly. So while the device's port is in
 * use its netdev_ops are a copy of the driver's, with a transmit function that asks the port first:
 *
 *      dev_queue_xmit -> egress hook (nic_rx.c) -> queueing discipline --+
 *      packet sockets that bypass it, AF_XDP, pktgen, netpoll -----------+-> ours -> the driver's
 *      tx rings (nic_tx.c) ---------------------------------------------------------^
 *
 * Whoever compares the address of netdev_ops doesn't know the device meanwhile; the order of notifiers is
 * such that all see the driver's again when it unregisters. Readers of netdev_ops hold RCU, or the rtnl
 * lock and sleep: the copy stays until the device goes, or the module. Should another module have put its
 * own ops on top of ours, ours pass packets on for ever, and the module can't be unloaded any more: the
 * kernel log says so.
 *
 * Thread safety: set, clear: core->lock. remove: core->lock and the rtnl lock. The driver's ops: RCU.
 */
#ifndef LINUX_XMIT_HOOK_H
#define LINUX_XMIT_HOOK_H

#include <linux/netdevice.h>

struct nmk_nic;

/* From now on nmk_nic_xmit() is asked. -ENOMEM. */
int nmk_xmit_hook_set(struct net_device *dev, struct nmk_nic *nic);
/* No longer: those who are in it have left after synchronize_net(). Allowed when it is not set. */
void nmk_xmit_hook_clear(struct net_device *dev);
/* The device goes, or the module: nothing of ours refers to it. */
void nmk_xmit_hook_remove(struct net_device *dev);

/* The driver's own, whether the hook is set or not. Within RCU. */
const struct net_device_ops *nmk_xmit_driver(const struct net_device *dev);

#endif
