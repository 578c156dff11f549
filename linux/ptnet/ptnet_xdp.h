/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_xdp.h - programs (XDP) that see a packet before the stack does, and what they do with it.
 *
 * A packet is copied, once, out of its slots into pages of the queue's page pool (ptnet_xdp_buff.h), with the room in front
 * that programs like to have; the program can't be shown what the host may change meanwhile. PASS makes an skb around these
 * pages, REDIRECT hands them on, TX copies them into slots of a tx ring; pages come back to the pool by themselves.
 *
 * Programs see packets as they are on the wire. So the stack does without the virtio-net header as long as
 * there is one: the switch completes checksums and segmentation for this port, and our own stack does for what it
 * sends. For a program that doesn't take fragments a packet has to fit a slot; longer ones are dropped, as fragments.
 *
 * Thread safety: setup under RTNL; receiving is the NAPI poll's; frames are sent under the lock of the tx queue.
 */
#ifndef LINUX_PTNET_XDP_H
#define LINUX_PTNET_XDP_H

#include "ptnet.h"
#include "slots.h"

#include <net/xdp.h>

/* For ndo_bpf, ndo_xdp_xmit. */
int ptnet_xdp_setup(struct net_device *netdev, struct netdev_bpf *bpf);
int ptnet_xdp_xmit(struct net_device *netdev, int count, struct xdp_frame **frames, uint32_t flags);

/* The longest MTU with that program; NULL: without one. */
uint32_t ptnet_xdp_mtu_max(const struct ptnet *ptn, const struct bpf_prog *prog);

/* One packet of the ring, for the program. Counts it. */
void ptnet_xdp_receive(struct ptnet_queue *q, const struct nm_pkt *pkt, struct bpf_prog *prog);
/* The end of a poll: what programs have sent goes. */
void ptnet_xdp_flush(struct ptnet_queue *q);

/* The program, if packets are to be shown to one now. */
static inline struct bpf_prog *ptnet_xdp_prog(const struct ptnet *ptn)
{
	return READ_ONCE(ptn->xdp_prog);
}

/* The device goes: no interface, no poll. */
void ptnet_xdp_end(struct ptnet *ptn);

#endif
