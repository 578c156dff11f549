/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_big.h - TCP packets whose length no IP header can say (BIG TCP).
 *
 * In rings the length field of such a packet is 0, and that is all (NM_KNOWS_BIG_TCP). Some kernels' stacks give and want a
 * hop-by-hop header with a jumbo option (RFC 2675) between the IPv6 header and TCP.
 *
 * Thread safety: pure functions on the caller's skb.
 */
#ifndef LINUX_PTNET_BIG_H
#define LINUX_PTNET_BIG_H

#include "ptnet.h"

static inline bool ptnet_big_known(const struct ptnet *ptn)
{
	return ptn->features & PTNETMAP_F_BIG_TCP;
}

/* From the stack, on its way into a ring: without the option. False: no memory. */
bool ptnet_big_sent(struct sk_buff *skb);

/* Out of a ring, beginning with its Ethernet header, on its way to the stack: with it, if that is how it is here. */
void ptnet_big_received(struct sk_buff *skb);

#endif
