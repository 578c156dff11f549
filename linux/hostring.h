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
 * Thread safety: nmk_host_xmit: any context that may transmit but with interrupts disabled (a network
 * device that is used so refuses netpoll), any CPU; it relies on the port being started until it
 * returns. The others: as nm_ring_sync(); they don't sleep.
 */
#ifndef LINUX_HOSTRING_H
#define LINUX_HOSTRING_H

#include "port.h"
#include "skb_ring.h"

/* Does a client have a ring for what the stack sends? */
bool nmk_host_wanted(const struct nm_port *port);

/* Takes the packet, always. Drops are counted at the ring; where nobody has a host rx ring, at one of
 * them, as no_receiver. */
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

#endif
