// SPDX-License-Identifier: BSD-2-Clause
/*
 * The stack receives: packets are copied out of the slots of a rx ring, which go back to
 * the host at the end of each round, and in it whenever a part of the ring has come together:
 * senders wait for them.
 */
#include "ptnet_big.h"
#include "ptnet_coalesce.h"
#include "ptnet_xdp.h"
#include "skb_ring.h"

#include <linux/etherdevice.h>

/* Slots go back when this part of the ring is read. */
#define GIVE_PART 4

static void deliver(struct ptnet_queue *q, const struct nm_pkt *pkt)
{
	const struct nmk_skb_source source = {
		&q->napi, q->pool, ptnet_big_known(q->ptn) ? NMK_BIG_PACKET_MAX : NMK_PACKET_MAX};
	struct virtio_net_hdr_mrg_rxbuf hdr;
	enum nm_drop cause = pkt->cause;
	struct sk_buff *skb = NULL;

	if (likely(cause == NM_DROPS))
		skb = nmk_skb_from_pkt(pkt, q->ptn->hdr_len, q->napi.dev, &source, &hdr, &cause);
	if (unlikely(!skb)) {
		ptnet_count_drop(q, cause);
		return;
	}
	if ((hdr.hdr.flags & VIRTIO_NET_HDR_F_DATA_VALID) && skb->ip_summed == CHECKSUM_NONE)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	ptnet_count_packet(q, skb->len);
	ptnet_big_received(skb);
	if (likely(q->id < READ_ONCE(q->napi.dev->real_num_rx_queues))) /* else it was on its way */
		skb_record_rx_queue(skb, q->id);
	skb->protocol = eth_type_trans(skb, q->napi.dev);
	napi_gro_receive(&q->napi, skb);
}

/* Takes the next packet out of the ring. False: there is none. */
static bool receive(struct ptnet_queue *q)
{
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct bpf_prog *prog = ptnet_xdp_prog(q->ptn);
	struct nm_pkt pkt = {.frags = frags};
	struct nm_slots slots;

	if (q->next == q->csb.hwtail && !nm_csb_appl_load(&q->csb))
		return false;
	nm_slots_init(&slots, q->ptn->mem->region, q->slots, q->num_slots, 0, 0, &q->dropping);
	if (nm_pkt_next(&slots, &q->next, q->csb.hwtail, &pkt) == NM_PKT_PARTIAL)
		return false;
	if (unlikely(prog))
		ptnet_xdp_receive(q, &pkt, prog);
	else
		deliver(q, &pkt);
	q->next = pkt.next;
	return true;
}

/* All slots that were read go back but those that the stack doesn't want to be used; once there are `least`. */
static void give_back(struct ptnet_queue *q, uint32_t least)
{
	uint32_t spare = ptnet_spare_slots(q);
	uint32_t read = nm_ring_distance(q->csb.head, q->next, q->num_slots);
	uint32_t head;

	if (read < spare + least)
		return;
	head = nm_ring_advance(q->csb.head, read - spare, q->num_slots);
	if (nm_csb_appl_publish(&q->csb, head, head))
		ptnet_stack_kick(q);
}

int ptnet_rx_poll(struct napi_struct *napi, int budget)
{
	struct ptnet_queue *q = container_of(napi, struct ptnet_queue, napi);
	int work = 0;

	if (unlikely(budget == 0))
		return 0; /* netpoll, which sends only: interrupts stay as they are */
	nm_csb_appl_awake(&q->csb);
	while (work < budget && receive(q)) {
		work++;
		give_back(q, READ_ONCE(q->limit) / GIVE_PART);
	}
	give_back(q, 0);
	ptnet_xdp_flush(q);
	ptnet_pause_count(q, (uint32_t)work);
	if (work == budget)
		return budget;
	if (ptnet_pause_begins(q)) {
		napi_complete_done(napi, work);
		return work;
	}
	if (nm_csb_appl_sleep(&q->csb))
		return budget;
	napi_complete_done(napi, work);
	return work;
}
