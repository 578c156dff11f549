// SPDX-License-Identifier: BSD-2-Clause
/*
 * The stack receives: packets are copied out of the slots of a rx ring, which go back to
 * the host at the end of each round.
 */
#include "ptnet.h"

#include <linux/etherdevice.h>
#include <linux/skbuff.h>
#include <linux/virtio_net.h>

/* A longer packet doesn't become one piece of memory. */
#define LINEAR_MAX 4096
/* Then this much of it does, and holds all headers. */
#define LINEAR_HEAD 256
/* Longest packet that the stack takes, without the virtio-net header. */
#define PACKET_MAX (65535 + VLAN_ETH_HLEN)

/* Slots of one packet, each loaded once. */
struct fragments {
	struct nm_slot_copy slot[NETMAP_MAX_FRAGS];
	uint32_t count;
	uint32_t bytes;
};

enum gathered {
	GATHERED_PART,     /* the rest has not come yet */
	GATHERED_WHOLE,    /* the packet, or the last part of one that is being dropped */
	GATHERED_TOO_MANY, /* more fragments than are possible */
};

/* Loads the slots of the next packet. */
static enum gathered gather(const struct ptnet_queue *q, struct fragments *f)
{
	uint32_t i = q->next;

	f->count = 0;
	while (i != q->csb.hwtail && f->count < NETMAP_MAX_FRAGS) {
		struct nm_slot_copy slot = nm_slot_load(&q->slots[i]);

		f->slot[f->count++] = slot;
		i = nm_ring_advance(i, 1, q->num_slots);
		if (!(slot.flags & NS_MOREFRAG))
			return GATHERED_WHOLE;
	}
	/* A ring that is full of one packet will never hold the rest of it. */
	return f->count == NETMAP_MAX_FRAGS || f->count == q->num_slots - 1 ? GATHERED_TOO_MANY
									    : GATHERED_PART;
}

/* Each buffer exists and holds what its slot says. Negative: all is well, f->bytes is set. */
static int find_fault(const struct ptnet_queue *q, struct fragments *f)
{
	const struct ptnet *ptn = q->ptn;

	f->bytes = 0;
	for (uint32_t i = 0; i < f->count; i++) {
		if (!nm_region_buf_valid(ptn->mem->region, f->slot[i].buf_idx))
			return PTNET_DROP_BAD_BUFFER;
		if (f->slot[i].len > ptn->buf_size)
			return PTNET_DROP_BAD_LENGTH;
		f->bytes += f->slot[i].len;
	}
	/* The header lies in the first buffer as a whole. */
	if (f->slot[0].len < ptn->hdr_len || f->bytes < ptn->hdr_len + ETH_HLEN)
		return PTNET_DROP_TOO_SHORT;
	if (f->bytes - ptn->hdr_len > PACKET_MAX)
		return PTNET_DROP_TOO_LONG;
	return -1;
}

static struct sk_buff *alloc_skb_for(struct ptnet_queue *q, uint32_t bytes)
{
	struct sk_buff *skb;
	int error;

	if (bytes <= LINEAR_MAX) {
		skb = napi_alloc_skb(&q->napi, bytes);
		if (skb)
			skb_put(skb, bytes);
		return skb;
	}
	skb = alloc_skb_with_frags(LINEAR_HEAD, bytes - LINEAR_HEAD, PAGE_ALLOC_COSTLY_ORDER,
		&error, GFP_ATOMIC | __GFP_NOWARN);
	if (!skb)
		return NULL;
	skb_put(skb, LINEAR_HEAD);
	skb->data_len = bytes - LINEAR_HEAD;
	skb->len = bytes;
	return skb;
}

/* Copies all but the virtio-net header. skb has just the length. */
static void copy_fragments(
	const struct ptnet_queue *q, const struct fragments *f, struct sk_buff *skb)
{
	const struct nm_region *region = q->ptn->mem->region;
	uint32_t skip = q->ptn->hdr_len;
	int at = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		const char *buf = nm_region_buf(region, f->slot[i].buf_idx);
		int bytes = (int)(f->slot[i].len - skip);

		skb_store_bits(skb, at, buf + skip, bytes);
		at += bytes;
		skip = 0;
	}
}

/* What the sender has left for the receiver to do. The header is copied first: it can change. */
static bool apply_header(
	const struct ptnet_queue *q, const struct fragments *f, struct sk_buff *skb)
{
	struct virtio_net_hdr hdr;

	if (q->ptn->hdr_len == 0)
		return true;
	memcpy(&hdr, nm_region_buf(q->ptn->mem->region, f->slot[0].buf_idx), sizeof(hdr));
	if (hdr.flags & VIRTIO_NET_HDR_F_DATA_VALID)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	return virtio_net_hdr_to_skb(skb, &hdr, true) == 0;
}

static void deliver(struct ptnet_queue *q, struct fragments *f)
{
	struct sk_buff *skb;
	int fault = find_fault(q, f);

	if (unlikely(fault >= 0)) {
		ptnet_count_drop(q, fault);
		return;
	}
	f->bytes -= q->ptn->hdr_len;
	skb = alloc_skb_for(q, f->bytes);
	if (unlikely(!skb)) {
		ptnet_count_drop(q, PTNET_DROP_NO_MEMORY);
		return;
	}
	copy_fragments(q, f, skb);
	skb->dev = q->napi.dev;
	if (unlikely(!apply_header(q, f, skb))) {
		ptnet_count_drop(q, PTNET_DROP_BAD_HEADER);
		kfree_skb(skb);
		return;
	}
	skb_record_rx_queue(skb, q->id);
	skb->protocol = eth_type_trans(skb, q->napi.dev);
	ptnet_count_packet(q, f->bytes);
	napi_gro_receive(&q->napi, skb);
}

/* Takes the next packet out of the ring. False: there is none. */
static bool receive(struct ptnet_queue *q)
{
	struct fragments f;
	enum gathered how;

	if (q->next == q->csb.hwtail && !nm_csb_appl_load(&q->csb))
		return false;
	how = gather(q, &f);
	if (how == GATHERED_PART)
		return false;
	if (how == GATHERED_TOO_MANY) {
		if (!q->dropping)
			ptnet_count_drop(q, PTNET_DROP_FRAGMENTS);
		q->dropping = true;
	} else if (unlikely(q->dropping)) {
		q->dropping = false;
	} else {
		deliver(q, &f);
	}
	q->next = nm_ring_advance(q->next, f.count, q->num_slots);
	return true;
}

int ptnet_rx_poll(struct napi_struct *napi, int budget)
{
	struct ptnet_queue *q = container_of(napi, struct ptnet_queue, napi);
	int work = 0;

	nm_csb_appl_awake(&q->csb);
	while (work < budget && receive(q))
		work++;
	if (nm_csb_appl_publish(&q->csb, q->next, q->next))
		ptnet_stack_kick(q);
	if (work == budget || nm_csb_appl_sleep(&q->csb))
		return budget;
	napi_complete_done(napi, work);
	return work;
}
