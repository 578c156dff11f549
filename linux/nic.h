/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic.h - the emulated adapter: a port of kind "nic" for any network device.
 *
 * The port has a ring for each queue of the device (64 at most), and host rings, one each way unless
 * its first client asks for more (and for another number of slots): that holds until nobody has the
 * port. It is made when a client first asks for a device by its name (nmk_nic_lookup), in the network
 * namespace of who asks (netns.h), and lives until the device goes. While a client is bound:
 *
 *      wire -> driver -> stack's ingress hook -> rx ring       nic.c, nic_rx.c
 *      tx ring -> skb -> driver -> wire                        nic_tx.c
 *      stack -> egress hook, xmit_hook.h -> host rx ring       hostring.h
 *      host tx ring -> stack, as if received
 *
 * The hooks are netfilter's for a single device: they see packets before bridges, VLAN devices,
 * queueing disciplines and protocols, come and go without the rtnl lock, and no driver need know.
 * Those who send past the queueing discipline are caught in front of the driver: xmit_hook.h.
 *
 *      somebody has          what the wire brings      what the stack sends
 *      all rings             rx rings                  host rx rings; dropped, and counted at one of
 *                                                      them (no_receiver), when nobody has these
 *      some of the rings     rx rings that are had;    the same for those of its queues whose rx or tx
 *                            else the stack            ring somebody has; the others' goes to the wire
 *      host rings alone      the stack                 host rx rings
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

/* Where what the stack sends goes. */
enum nmk_stack { NMK_STACK_WIRE, NMK_STACK_BY_QUEUE, NMK_STACK_TAKEN };

struct nmk_nic {
	struct kref kref;             /* the port, and work that is under way */
	struct list_head link;        /* of all; core->lock */
	struct net_device __rcu *dev; /* changes under core->lock; NULL: gone */
	netdevice_tracker tracker;
	struct nm_port *port; /* valid while the hooks are on */
	struct nf_hook_ops ingress, egress;
	bool hooked;          /* core->lock */
	enum nmk_stack stack; /* changes under core->lock */
	struct work_struct lro_off;
	struct nmk_txq *txqs; /* while started: one per hardware tx ring */
};

/* For whatever waits; it is gone when the module is unloaded. */
extern struct workqueue_struct *nmk_wq;

/* Loading and unloading: no lock held. At unloading, no client is left. */
int nmk_nic_register(void);
void nmk_nic_unregister(void);

/* platform_ops.lookup */
struct nm_port *nmk_nic_lookup(struct nm_core *core, void *ns, const char *name);

/* Is what the stack sends by this queue of the device taken? Within RCU, while the hooks are on. */
bool nmk_nic_takes_queue(const struct nmk_nic *nic, uint32_t queue);

/* ---- nic_rx.c ---------------------------------------------------------------------------- */

nf_hookfn nmk_nic_ingress, nmk_nic_egress;
/* For xmit_hook.h: a packet about to be handed to the driver. True: it was taken. Interrupts may be
 * disabled. */
bool nmk_nic_xmit(struct nmk_nic *nic, struct sk_buff *skb);
int nmk_nic_rxsync(struct nm_ring *ring);

/* ---- nic_tx.c ---------------------------------------------------------------------------- */

int nmk_nic_tx_start(struct nmk_nic *nic); /* -ENOMEM */
/* Gives packets that wait for the device's queue some time, unless it is gone; afterwards nothing refers
 * to the rings any more. */
void nmk_nic_tx_stop(struct nmk_nic *nic);
/* The device can't be looked up any more: nothing here must refer to it. */
void nmk_nic_tx_device_gone(struct nmk_nic *nic);
/* A ring gets another user: what the last one has released leaves the ring, and waits for the device
 * if need be; half a packet is dropped. Then its first state: slots for which the device still has
 * packets are not free. The ring's `sync` is held. */
void nmk_nic_tx_hand_over(struct nm_ring *ring);
void nmk_nic_tx_reset(struct nm_ring *ring);
/* Unloading: until no driver, and no queueing discipline, has an skb of ours any more. */
void nmk_nic_tx_wait(void);
/* An skb whose destructor is the module's; a destructor calls _in last, within RCU. */
void nmk_nic_tx_out(void);
void nmk_nic_tx_in(void);
int nmk_nic_txsync(struct nm_ring *ring);
bool nmk_nic_can_send(struct nm_ring *ring);

#endif
