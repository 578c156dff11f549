/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skb_ring.h - a packet as an skb, and in the slots of a ring.
 *
 *      nmk_rx_packet()       an skb into an rx ring, as its producer
 *      nmk_skb_from_ring()   the next packet of a ring as an skb
 *      nmk_skb_from_pkt()    the same of a packet that slots.h has found
 *
 * What can't be handed over as it is (checksum to be computed, segmentation to be done, a VLAN
 * tag beside the packet) is completed in software first: nmk_skb_complete(). On a port with a
 * virtio-net header the first two are left to the receiver, and the header says so. The header may
 * fall on several slots, on either way.
 *
 * All skbs here begin with their Ethernet header.
 *
 * Thread safety: nmk_rx_*: any context that may transmit but with interrupts disabled (a network
 * device that is used so refuses netpoll), any CPU; they rely on the port being started until they
 * return. The others: whoever takes packets from the ring.
 */
#ifndef LINUX_SKB_RING_H
#define LINUX_SKB_RING_H

#include "port.h"
#include "slots.h"

#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/virtio_net.h>

enum {
	/* Longest packet, Ethernet header and VLAN tag included, virtio-net header not. */
	NMK_PACKET_MAX = 65535 + 18,
	/* The same, where those are known whose length no IP header can say (NM_KNOWS_BIG_TCP). */
	NMK_BIG_PACKET_MAX = GSO_MAX_SIZE,
};

/*
 * One skb, or a list of several (skb->next) when it had to be segmented, without anything left to be
 * done by a device: checksum, GSO, VLAN tag. Takes skb; NULL: it was freed, *cause says why.
 * max_len: the longest frame the receiver takes.
 */
struct sk_buff *nmk_skb_complete(struct sk_buff *skb, uint32_t max_len, enum nm_drop *cause);

/* All of it: completes a packet, or describes it in the virtio-net header, delivers it into an rx ring
 * and wakes its waiters. Takes skb. Drops are counted at the ring. */
void nmk_rx_packet(struct nm_ring *ring, struct sk_buff *skb);
void nmk_rx_drop(struct nm_ring *ring, enum nm_drop cause); /* counts */

/*
 * An skb with the packet that begins at slot *at of a ring and ends before `end`; *at moves behind
 * it. NULL: dropped, *cause; or, with cause NM_DROPS, the rest of the packet is not published yet
 * (*at stays). Not counted. The caller is the one who syncs the ring.
 */
struct sk_buff *nmk_skb_from_ring(struct nm_ring *ring, uint32_t *at, uint32_t end,
	struct net_device *dev, enum nm_drop *cause);

/* In a NAPI poll: where the memory of skbs comes from, and comes back to, but that of short packets. */
struct nmk_skb_source {
	struct napi_struct *napi;
	struct nmk_skb_pool *pool;
	uint32_t packet_max; /* NMK_PACKET_MAX, NMK_BIG_PACKET_MAX */
};

/* Pages for the skbs of one NAPI poll. NULL: no memory. Each is freed when it has come back; NULL is allowed. */
struct nmk_skb_pool *nmk_skb_pool_new(void);
void nmk_skb_pool_free(struct nmk_skb_pool *pool);

/* An skb of `dev` with a packet that is good; its virtio-net header, which says what the sender has
 * left to be done, is in *hdr (0, where there is none). In a NAPI poll: `source`. NULL: *cause. */
struct sk_buff *nmk_skb_from_pkt(const struct nm_pkt *pkt, uint32_t hdr_len, struct net_device *dev,
	const struct nmk_skb_source *source, struct virtio_net_hdr_mrg_rxbuf *hdr,
	enum nm_drop *cause);

#endif
