/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_xdp_buff.h - a packet of a ring in the form that programs (XDP) see, and the ways from there.
 *
 *      slots        | 2048 | 2048 | 2048 | 2048 | 822 |
 *                   copied, once
 *      page 0       | XDP_PACKET_HEADROOM | first bytes | skb_shared_info |     all that programs can point to
 *      page 1, 2 …  | next bytes                 | PTNET_XDP_TAILROOM |         fragments
 *
 * The pages are the queue's pool's. A packet that page 0 can hold has no fragments. The longest packet of all
 * needs no more fragments than an skb can have.
 *
 * Thread safety: the NAPI poll's, but ptnet_xdp_frame_pieces(): whoever has the frame.
 */
#ifndef LINUX_PTNET_XDP_BUFF_H
#define LINUX_PTNET_XDP_BUFF_H

#include "ptnet.h"
#include "slots.h"

#include <linux/bpf.h>
#include <linux/skbuff.h>
#include <net/xdp.h>

enum {
	PTNET_XDP_HEAD_BYTES = SKB_WITH_OVERHEAD(PAGE_SIZE) - XDP_PACKET_HEADROOM,
	PTNET_XDP_TAILROOM =
		256, /* bytes by which a program can make a packet with fragments longer, at least */
	PTNET_XDP_PIECES = 1 + MAX_SKB_FRAGS
};

/* Copies a packet, NMK_PACKET_MAX bytes at most, out of its slots. False: no memory. */
bool ptnet_xdp_buff_fill(struct xdp_buff *xdp, struct ptnet_queue *q, const struct nm_pkt *pkt);

/* An skb around these pages, as the program has left them. NULL: no memory, and the pages are still the
 * caller's. */
struct sk_buff *ptnet_xdp_buff_skb(struct xdp_buff *xdp);

/* Where the packet lies: PTNET_XDP_PIECES pieces at most. Returns its bytes. */
uint32_t ptnet_xdp_buff_pieces(struct xdp_buff *xdp, struct nm_frag *pieces);
uint32_t ptnet_xdp_frame_pieces(struct xdp_frame *frame, struct nm_frag *pieces);

#endif
