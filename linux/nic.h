/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic.h - the emulated adapter: a port of kind "nic" for any network device.
 *
 * The port has a ring for each queue of the device (64 at most), and host rings, one each way unless
 * its first client asks for more (and for another number of slots): that holds until nobody has the
 * port. It is made when a client first asks for a device by its name (nmk_nic_lookup), in the network
 * namespace of who asks, and lives until the device goes. While a client is bound:
 *
 *      wire -> driver -> stack's ingress hook -> rx ring       nic.c, nic_rx.c
 *      tx ring -> skb -> driver -> wire                        nic_tx.c
 *      stack -> egress hook -> host rx ring                    hostring.h
 *      host tx ring -> stack, as if received
 *
 * The hooks are netfilter's for a single device: they see packets before bridges, VLAN devices,
 * queueing disciplines and protocols, come and go without the rtnl lock, and no driver need know.
 * A packet for a ring without clients goes to the stack, as ever.
 *
 * Sending copies a packet into an skb and passes it to the driver's transmit function, below the
 * queueing discipline. A slot counts as free again when the driver has freed the skb; so the device's
 * own queue holds the sender back, and nothing is lost. A driver that frees late (only when it is
 * given more to send) stalls no client for good: after STALL_MS without a completion what it
 * holds is counted as done, a bounded number of times.
 *
 * Thread safety: nmk_nic_*: core->lock, unless said otherwise. What belongs to the device is read
 * under RCU by syncs and hooks: nic->dev is NULL when it is gone.
 */
#ifndef LINUX_NIC_H
#define LINUX_NIC_H

#include "port.h"

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/workqueue.h>

struct nmk_txq;

struct nmk_nic {
	struct kref kref;             /* the port, and work that is under way */
	struct list_head link;        /* of all; core->lock */
	struct net_device __rcu *dev; /* changes under core->lock; NULL: gone */
	netdevice_tracker tracker;
	struct nm_port *port; /* valid while the hooks are on */
	struct nf_hook_ops ingress, egress;
	bool hooked; /* core->lock */
	struct work_struct lro_off;
	struct nmk_txq *txqs; /* while started: one per hardware tx ring */
};

/* For whatever waits; it is gone when the module is unloaded. */
extern struct workqueue_struct *nmk_wq;

/* Loading and unloading: no lock held. At unloading, no client is left. */
int nmk_nic_register(void);
void nmk_nic_unregister(void);

/* platform_ops.lookup */
struct nm_port *nmk_nic_lookup(struct nm_core *core, const char *name);

/* ---- nic_rx.c ---------------------------------------------------------------------------- */

nf_hookfn nmk_nic_ingress, nmk_nic_egress;
int nmk_nic_rxsync(struct nm_ring *ring);

/* ---- nic_tx.c ---------------------------------------------------------------------------- */

int nmk_nic_tx_start(struct nmk_nic *nic); /* -ENOMEM */
/* Gives packets that wait for the device's queue some time, unless it is gone; afterwards nothing refers
 * to the rings any more. */
void nmk_nic_tx_stop(struct nmk_nic *nic);
/* The device can't be looked up any more: nothing here must refer to it. */
void nmk_nic_tx_device_gone(struct nmk_nic *nic);
/* Unloading: until no driver has an skb of ours any more. */
void nmk_nic_tx_wait(void);
int nmk_nic_txsync(struct nm_ring *ring);
bool nmk_nic_can_send(struct nm_ring *ring);

#endif
