// SPDX-License-Identifier: BSD-2-Clause
/* What a device receives, and what the stack sends through it: into rings. */
#include "hostring.h"
#include "nic.h"

#include <linux/etherdevice.h>

/* As the device has spread the packets over its queues. */
static struct nm_ring *rx_ring_for(struct nm_port *port, const struct sk_buff *skb)
{
	uint32_t rings = port->num_rings[NM_RX], i = 0;

	if (rings > 1 && skb_rx_queue_recorded(skb))
		i = skb_get_rx_queue(skb) % rings;
	return &port->rings[NM_RX][i];
}

/* Called within RCU, soft interrupts off; skb begins behind its Ethernet header. */
unsigned int nmk_nic_ingress(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct nmk_nic *nic = priv;
	struct nm_ring *ring = rx_ring_for(nic->port, skb);

	if (nmk_passing(state->in) || OS_LOAD(&ring->users) == 0)
		return NF_ACCEPT;
	skb = skb_share_check(skb, GFP_ATOMIC);
	if (unlikely(!skb)) {
		nmk_rx_drop(ring, NM_DROP_NO_MEMORY);
		return NF_STOLEN;
	}
	skb_push(skb, (unsigned int)(skb->data - skb_mac_header(skb)));
	nmk_rx_packet(ring, skb);
	return NF_STOLEN;
}

/* On an skb: it is on its way from a host ring to the wire of the device in destructor_arg. */
static void forwarded(struct sk_buff *skb)
{
	rcu_read_lock();
	nmk_nic_tx_in();
	rcu_read_unlock();
}

static bool is_forwarded(const struct sk_buff *skb, const struct net_device *dev)
{
	return skb->destructor == forwarded && skb_shinfo(skb)->destructor_arg == dev;
}

/* Called within RCU. A packet socket that bypasses the queueing discipline comes with soft interrupts
 * on: what is taken here it takes for an error, so nmk_nic_xmit() takes it. */
unsigned int nmk_nic_egress(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct nmk_nic *nic = priv;

	if (READ_ONCE(nic->stack) != NMK_STACK_TAKEN || softirq_count() == 0 ||
		is_forwarded(skb, state->out))
		return NF_ACCEPT;
	nmk_host_xmit(nic->port, skb);
	return NF_STOLEN;
}

bool nmk_nic_xmit(struct nmk_nic *nic, struct sk_buff *skb)
{
	if (!nmk_nic_takes_queue(nic, skb_get_queue_mapping(skb)) || is_forwarded(skb, skb->dev))
		return false;
	if (unlikely(irqs_disabled())) { /* netpoll: no ring can be locked */
		dev_core_stats_tx_dropped_inc(skb->dev);
		dev_kfree_skb_any(skb);
	} else {
		nmk_host_xmit(nic->port, skb);
	}
	return true;
}

/* A host ring's packet that is forwarded: through the device's queueing discipline. */
static void to_wire(struct nm_port *port, struct sk_buff *skb, uint32_t ring)
{
	struct nm_ring *from = &port->rings[NM_RX][port->num_rings[NM_RX] + ring];
	struct net_device *dev = skb->dev;
	bool again = false;
	struct sk_buff *next;
	int error;

	if (!netif_running(dev) || !netif_carrier_ok(dev)) {
		kfree_skb(skb);
		nmk_rx_drop(from, NM_DROP_LINK_DOWN);
		return;
	}
	skb = validate_xmit_skb_list(skb, dev, &again); /* segments would lose the destructor */
	if (!skb)
		nmk_rx_drop(from, NM_DROP_OFFLOAD);
	for (; skb; skb = next) {
		next = skb->next;
		skb_mark_not_on_list(skb);
		nmk_nic_tx_out();
		skb->destructor = forwarded;
		skb_shinfo(skb)->destructor_arg = dev;
		error = dev_queue_xmit(skb);
		if (net_xmit_eval(error) != 0) /* a macro that evaluates twice */
			nmk_rx_drop(from, NM_DROP_REFUSED);
	}
}

int nmk_nic_rxsync(struct nm_ring *ring)
{
	struct nmk_nic *nic = ring->port->priv;

	rcu_read_lock();
	nmk_forward(ring, ring->hwcur, rcu_dereference(nic->dev), to_wire);
	rcu_read_unlock();
	return nm_ring_rxsync_produced(ring);
}
