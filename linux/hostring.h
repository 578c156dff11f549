/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hostring.h - packets between rings and the system's stack.
 *
 * Used by every port kind that belongs to a network device: the emulated adapter (nic.h),
 * passed-through ports (ptnet.h) and persistent ports (persist.c). A port may have host rings
 * in its shape; the kind calls
 *
 *      nmk_host_xmit()    what the stack sends (ndo_start_xmit, say): into a host rx ring
 *      nmk_host_txsync()  the application's host tx ring: into the stack, as if received
 *      nmk_forward()      before an rx sync gives slots back: NR_FORWARD, NS_FORWARD
 *
 * What can't be handed over as it is (checksum to be computed, segmentation to be done, a VLAN
 * tag beside the packet) is completed in software first: nmk_skb_complete(). On a port with a
 * virtio-net header the first two are left to the receiver, and the header says so.
 *
 * All skbs here begin with their Ethernet header.
 *
 * Thread safety: nmk_host_xmit, nmk_rx_*: any context that may transmit but with interrupts
 * disabled (a network device that is used so refuses netpoll), any CPU. They rely on the port
 * being started until they return. The syncs: as nm_ring_sync(); they don't sleep.
 */
#ifndef LINUX_HOSTRING_H
#define LINUX_HOSTRING_H

#include "port.h"

#include <linux/netdevice.h>
#include <linux/skbuff.h>

enum {
	/* Longest packet, Ethernet header and VLAN tag included, virtio-net header not. */
	NMK_PACKET_MAX = 65535 + 18,
};

/* Does a client have a ring for what the stack sends? */
bool nmk_host_wanted(const struct nm_port *port);

/* Takes the packet, always. Drops are counted at the ring. */
void nmk_host_xmit(struct nm_port *port, struct sk_buff *skb);

/* `dev`: whose stack. NULL: gone; packets are dropped, as for one that is down. */
int nmk_host_txsync(struct nm_ring *ring, struct net_device *dev);

/* Released slots with NS_FORWARD of an rx ring, from old_head (ring->hwcur) on: hardware ring to the
 * stack, host ring to the wire (xmit: how a packet is sent by the device; takes the skb;
 * `ring` is the number of the host ring). Soft interrupts are off then. */
void nmk_forward(struct nm_ring *ring, uint32_t old_head, struct net_device *dev,
	void (*xmit)(struct nm_port *port, struct sk_buff *skb, uint32_t ring));

/* Soft interrupts are off. The packet is on its way from a ring through the stack of `dev`, and is
 * not to be caught there again: nmk_passing() says so, once. */
void nmk_pass(const struct net_device *dev);
bool nmk_passing(const struct net_device *dev);

/*
 * One skb, or a list of several (skb->next) when it had to be segmented, without anything left to be
 * done by a device: checksum, GSO, VLAN tag. Takes skb; NULL: it was freed, *cause says why.
 * max_len: the longest frame the receiver takes.
 */
struct sk_buff *nmk_skb_complete(struct sk_buff *skb, uint32_t max_len, enum nm_drop *cause);

/* All of it: completes a packet, or describes it in the virtio-net header, delivers it into an rx ring
 * and wakes its waiters. Takes skb. Drops are counted at the ring. */
void nmk_rx_packet(struct nm_ring *ring, struct sk_buff *skb);

/* Copies one completed skb into an rx ring (produce.lock is taken inside); several buffers are
 * used when one is too small. Counted at the ring. NM_DROPS: delivered; then nmk_rx_publish()
 * is to follow. */
enum nm_drop nmk_rx_deliver(struct nm_ring *ring, const struct sk_buff *skb);
void nmk_rx_drop(struct nm_ring *ring, enum nm_drop cause); /* counts */

static inline void nmk_rx_publish(struct nm_ring *ring)
{
	os_wakeup_signal(&ring->wakeup);
}

/*
 * An skb with the packet that begins at slot *at of a ring and ends before `end`; *at moves behind
 * it. NULL: dropped, *cause; or, with cause NM_DROPS, the rest of the packet is not published yet
 * (*at stays). Not counted. The caller is the one who syncs the ring.
 */
struct sk_buff *nmk_skb_from_ring(struct nm_ring *ring, uint32_t *at, uint32_t end,
	struct net_device *dev, enum nm_drop *cause);

#endif
