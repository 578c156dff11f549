// SPDX-License-Identifier: BSD-2-Clause
#include "hostring.h"
#include "compat.h"

#include <linux/etherdevice.h>
#include <linux/percpu.h>

enum { BATCH = 64 }; /* packets that go into the stack before others have a turn */

/* ---- the stack ----------------------------------------------------------------------- */

static DEFINE_PER_CPU(const struct net_device *, passing);

void nmk_pass(const struct net_device *dev)
{
	__this_cpu_write(passing, dev);
}

bool nmk_passing(const struct net_device *dev)
{
	if (likely(__this_cpu_read(passing) != dev))
		return false;
	__this_cpu_write(passing, NULL);
	return true;
}

/* As if the device had received it. */
static bool pass_up(struct sk_buff *skb, struct net_device *dev)
{
	bool taken;

	skb->protocol = eth_type_trans(skb, dev);
	nmk_pass(dev);
	taken = netif_receive_skb_core(skb) == NET_RX_SUCCESS;
	nmk_pass(NULL);
	return taken;
}

static bool is_up(const struct net_device *dev)
{
	return dev && (READ_ONCE(dev->flags) & IFF_UP);
}

/* Sends up to BATCH packets of a host tx ring into the stack. False: there are no more. */
static bool send_up(struct nm_ring *ring, struct net_device *dev)
{
	uint32_t at = ring->hwcur, packets = 0;
	bool more = true;

	while (packets < BATCH) {
		enum nm_drop cause;
		struct sk_buff *skb;

		more = at != ring->head;
		if (!more)
			break;
		skb = nmk_skb_from_ring(ring, &at, ring->head, dev, &cause);
		if (!skb && cause == NM_DROPS) {
			more = false;
			break;
		}
		packets++;
		ring->stats.packets++;
		if (skb) {
			ring->stats.bytes += skb->len;
			if (unlikely(!is_up(dev))) {
				kfree_skb(skb);
				ring->stats.drops[NM_DROP_LINK_DOWN]++;
			} else if (!pass_up(skb, dev)) {
				ring->stats.drops[NM_DROP_REFUSED]++;
			}
		} else {
			ring->stats.drops[cause]++;
		}
	}
	ring->hwcur = at;
	return more;
}

int nmk_host_txsync(struct nm_ring *ring, struct net_device *dev)
{
	bool more = true;

	if (!dev)
		return -ENXIO;
	while (more) {
		local_bh_disable();
		more = send_up(ring, dev);
		local_bh_enable();
	}
	nm_ring_sent(ring, ring->hwcur);
	return 0;
}

bool nmk_host_wanted(const struct nm_port *port)
{
	uint32_t first = port->num_rings[NM_RX];

	for (uint32_t i = 0; i < port->num_host_rings[NM_RX]; i++)
		if (OS_LOAD(&port->rings[NM_RX][first + i].users) > 0)
			return true;
	return false;
}

/* Packets of one flow go into the same ring, of `count`. Rings without users are passed over, unless
 * none has any. */
static struct nm_ring *host_ring_for(struct nm_port *port, struct sk_buff *skb, uint32_t count)
{
	struct nm_ring *rings = &port->rings[NM_RX][port->num_rings[NM_RX]];
	uint32_t at = count > 1 ? skb_get_hash(skb) % count : 0;

	for (uint32_t i = 0; i < count; i++) {
		struct nm_ring *ring = &rings[(at + i) % count];

		if (OS_LOAD(&ring->users) > 0)
			return ring;
	}
	return &rings[at];
}

void nmk_host_xmit(struct nm_port *port, struct sk_buff *skb)
{
	uint32_t count = port->num_host_rings[NM_RX];
	struct nm_ring *ring = count > 0 ? host_ring_for(port, skb, count) : NULL;

	if (ring && OS_LOAD(&ring->users) > 0) {
		nmk_rx_packet(ring, skb);
		return;
	}
	kfree_skb(skb);
	if (ring)
		nmk_rx_drop(ring, NM_DROP_NO_RECEIVER);
}

/* ---- forwarding ---------------------------------------------------------------------- */

static void forward_one(struct nm_ring *ring, struct sk_buff *skb, struct net_device *dev,
	void (*xmit)(struct nm_port *port, struct sk_buff *skb, uint32_t ring))
{
	enum nm_drop cause = NM_DROPS;

	local_bh_disable();
	if (ring->host) {
		xmit(ring->port, skb, ring->id - ring->port->num_rings[NM_RX]);
	} else if (!is_up(dev)) {
		kfree_skb(skb);
		cause = NM_DROP_LINK_DOWN;
	} else if (!pass_up(skb, dev)) {
		cause = NM_DROP_REFUSED;
	}
	local_bh_enable();
	if (cause != NM_DROPS)
		nmk_rx_drop(ring, cause);
}

/* The next packet that is to be forwarded, in *skb, or its *cause. False: there is none. Its slots
 * are not on the stack any more when the packet goes on its way. */
static noinline bool next_forwarded(struct nm_ring *ring, uint32_t *at, struct net_device *dev,
	struct sk_buff **skb, enum nm_drop *cause)
{
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	struct virtio_net_hdr_mrg_rxbuf hdr;
	struct nm_slots slots;

	nm_slots_init_ring(&slots, ring, 0);
	if (!nm_pkt_next_forward(&slots, at, ring->head, &pkt))
		return false;
	*at = pkt.next;
	*cause = pkt.cause;
	*skb = NULL;
	if (likely(pkt.cause == NM_DROPS))
		*skb = nmk_skb_from_pkt(&pkt, ring->port->hdr_len, dev, NULL, &hdr, cause);
	return true;
}

void nmk_forward(struct nm_ring *ring, uint32_t old_head, struct net_device *dev,
	void (*xmit)(struct nm_port *port, struct sk_buff *skb, uint32_t ring))
{
	uint32_t at = old_head;
	struct sk_buff *skb;
	enum nm_drop cause;

	if (likely(!(OS_LOAD(&ring->shared->flags) & NR_FORWARD)) || !dev)
		return;
	while (next_forwarded(ring, &at, dev, &skb, &cause)) {
		if (likely(skb))
			forward_one(ring, skb, dev, xmit);
		else
			nmk_rx_drop(ring, cause);
	}
}
