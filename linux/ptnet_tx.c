// SPDX-License-Identifier: BSD-2-Clause
/*
 * The stack sends: packets are copied into the slots of a tx ring, which the host takes
 * from there. A ring without room stops its queue until the host has sent a part of it.
 */
#include "ptnet.h"

#include <linux/etherdevice.h>
#include <linux/skbuff.h>

/* A stopped queue goes on when this part of its ring is free again. */
#define WAKE_PART 4

static uint32_t room(const struct ptnet_queue *q)
{
	return nm_ring_distance(q->next, q->csb.hwtail, q->num_slots);
}

static void publish(struct ptnet_queue *q)
{
	if (nm_csb_appl_publish(&q->csb, q->next, q->next))
		ptnet_stack_kick(q);
}

/* The ring is full as far as we know. True: there is room after all. Else the queue is stopped,
 * and an interrupt will come. */
static bool find_room(struct ptnet_queue *q, struct netdev_queue *txq)
{
	if (nm_csb_appl_load(&q->csb) && room(q) > 0)
		return true;
	publish(q);
	netif_tx_stop_queue(txq);
	if (!nm_csb_appl_sleep(&q->csb))
		return false;
	netif_tx_start_queue(txq);
	return true;
}

/* Copies a packet into the next slot. A slot whose buffer doesn't exist goes out empty, and the
 * packet with it. */
static void fill_slot(struct ptnet_queue *q, struct sk_buff *skb)
{
	const struct nm_region *region = q->ptn->mem->region;
	struct netmap_slot *slot = &q->slots[q->next];
	const struct nm_slot_copy old = nm_slot_load(slot);
	uint32_t hdr_len = q->ptn->hdr_len;
	bool good = nm_region_buf_valid(region, old.buf_idx);

	if (likely(good)) {
		char *buf = nm_region_buf(region, old.buf_idx);

		memset(buf, 0, hdr_len);
		good = skb_copy_bits(skb, 0, buf + hdr_len, (int)skb->len) == 0;
	}
	OS_STORE(&slot->len, good ? (uint16_t)(hdr_len + skb->len) : 0);
	OS_STORE(&slot->flags, old.flags & NS_BUF_CHANGED); /* an application may have been here */
	q->next = nm_ring_advance(q->next, 1, q->num_slots);
	if (likely(good))
		ptnet_count_packet(q, skb->len);
	else
		ptnet_count_drop(q, PTNET_DROP_BAD_BUFFER);
}

static netdev_tx_t drop(struct ptnet_queue *q, struct sk_buff *skb, enum ptnet_drop cause)
{
	ptnet_count_drop(q, cause);
	dev_kfree_skb_any(skb);
	return NETDEV_TX_OK;
}

netdev_tx_t ptnet_start_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	struct ptnet *ptn = ptnet_of(netdev);
	uint16_t index = skb_get_queue_mapping(skb);
	struct ptnet_queue *q = ptnet_queue(ptn, NM_TX, index);
	struct netdev_queue *txq = netdev_get_tx_queue(netdev, index);
	bool more = netdev_xmit_more();

	if (unlikely(READ_ONCE(ptn->netmap)))
		return drop(q, skb, PTNET_DROP_NETMAP);
	if (unlikely(room(q) == 0) && !find_room(q, txq))
		return NETDEV_TX_BUSY;
	if (unlikely(
		    skb->len > ptn->buf_size - ptn->hdr_len || skb->len > U16_MAX - ptn->hdr_len)) {
		drop(q, skb, PTNET_DROP_TOO_LONG);
	} else {
		skb_tx_timestamp(skb);
		fill_slot(q, skb);
		dev_consume_skb_any(skb);
	}
	/* Stop now rather than refuse the next packet. find_room() publishes, too. */
	if (unlikely(room(q) == 0))
		find_room(q, txq);
	if (!more || netif_xmit_stopped(txq))
		publish(q);
	return NETDEV_TX_OK;
}

/* The host has sent something, and a queue had asked for that. */
int ptnet_tx_poll(struct napi_struct *napi, int budget)
{
	struct ptnet_queue *q = container_of(napi, struct ptnet_queue, napi);
	struct netdev_queue *txq = netdev_get_tx_queue(napi->dev, q->id);
	bool again = false;

	__netif_tx_lock(txq, smp_processor_id());
	if (netif_tx_queue_stopped(txq)) {
		nm_csb_appl_load(&q->csb);
		if (room(q) >= q->num_slots / WAKE_PART)
			netif_tx_wake_queue(txq);
		else
			again = nm_csb_appl_sleep(&q->csb);
	}
	__netif_tx_unlock(txq);
	if (again)
		return budget;
	napi_complete_done(napi, 0);
	return 0;
}
