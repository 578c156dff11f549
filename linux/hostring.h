/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hostring.h - host rings: packets to and from the system's stack of a network device.
 *
 * Used by every port kind that belongs to a network device: the emulated adapter (nic.c)
 * and passed-through ports (ptnet_port.c). The port has host rings in its shape; the
 * kind calls
 *
 *      nmk_host_xmit()    from ndo_start_xmit: the stack sends; into a host rx ring
 *      nmk_host_txsync()  the application's host tx ring: into the stack, as if received
 *      nmk_host_rxsync()  the host rx ring's slots given back
 *      nmk_forward()      before an rx sync gives slots back: NR_FORWARD, NS_FORWARD
 *
 * What can't be handed over as it is (checksum to be computed, segmentation to be done,
 * a VLAN tag beside the packet) is completed in software first: nmk_skb_complete().
 *
 * Thread safety: nmk_host_xmit: any context that may transmit, any CPU. The syncs: as
 * nm_ring_sync().
 */
#ifndef LINUX_HOSTRING_H
#define LINUX_HOSTRING_H

#include "port.h"

#include <linux/netdevice.h>
#include <linux/skbuff.h>

/* Is there somebody who wants what the stack sends? */
bool nmk_host_wanted(const struct nm_port *port);

/* Takes the packet, always. Drops are counted at the ring. */
void nmk_host_xmit(struct nm_port *port, struct sk_buff *skb);

int nmk_host_txsync(struct nm_ring *ring, struct net_device *dev);
int nmk_host_rxsync(struct nm_ring *ring);

/* Released slots with NS_FORWARD of an rx ring: hardware ring to the stack, host ring to the wire
 * (xmit: how a packet is sent by the device; takes the skb). */
void nmk_forward(struct nm_ring *ring, uint32_t old_head, struct net_device *dev,
	void (*xmit)(struct nm_port *port, struct sk_buff *skb, uint32_t ring));

/*
 * One skb, or a list of several (skb->next) when it had to be segmented, without anything left to be
 * done by a device: checksum, GSO, VLAN tag. Takes skb; NULL: it was freed, *cause says why.
 * max_len: the longest frame the receiver takes.
 */
struct sk_buff *nmk_skb_complete(struct sk_buff *skb, uint32_t max_len, enum nm_drop *cause);

/* Copies one completed skb into an rx ring (produce.lock is taken inside). NM_DROPS: delivered; the
 * caller publishes by nmk_rx_publish(). Several buffers are used when one is too small. */
enum nm_drop nmk_rx_deliver(struct nm_ring *ring, const struct sk_buff *skb);

/* An skb with the packet that begins at slot *at of a ring and ends before `end`; *at moves behind
 * it. NULL: dropped, *cause. */
struct sk_buff *nmk_skb_from_ring(struct nm_ring *ring, uint32_t *at, uint32_t end,
	struct net_device *dev, enum nm_drop *cause);

#endif
