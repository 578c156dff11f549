// SPDX-License-Identifier: BSD-2-Clause
/*
 * The stack sends: packets are copied into the slots of a tx ring, which the host takes
 * from there. A ring without room stops its queue until the host has sent a part of it.
 * With a virtio-net header checksums and segmentation are left to the receiver.
 */
#include "hostring.h"
#include "ptnet_big.h"
#include "ptnet_bql.h"

#include <linux/etherdevice.h>
#include <linux/skbuff.h>
#include <linux/virtio_net.h>

/* A stopped queue goes on when this part of its ring is free again, or the longest packet fits. */
#define WAKE_PART 4

static uint32_t room(const struct ptnet_queue *q)
{
	uint32_t free = nm_ring_distance(q->next, q->csb.hwtail, q->num_slots);
	uint32_t spare = ptnet_spare_slots(q);

	return free > spare ? free - spare : 0;
}

static void publish(struct ptnet_queue *q)
{
	if (nm_csb_appl_publish(&q->csb, q->next, q->next))
		ptnet_stack_kick(q);
}

/* What the host has taken meanwhile. */
static void look(struct ptnet_queue *q, struct netdev_queue *txq)
{
	nm_csb_appl_load(&q->csb);
	ptnet_bql_taken(q, txq);
}

/* As nm_csb_appl_sleep(): true when it has taken more. */
static bool sleep_unless_taken(struct ptnet_queue *q, struct netdev_queue *txq)
{
	bool moved = nm_csb_appl_sleep(&q->csb);

	ptnet_bql_taken(q, txq);
	return moved;
}

/* Who waits, with soft interrupts off, for the host to take something. */
struct waiting {
	struct ptnet_queue *q;
	struct netdev_queue *txq;
};

static bool has_room(void *arg)
{
	const struct waiting *w = arg;

	ptnet_bql_taken(w->q, w->txq);
	return room(w->q) >= w->q->ptn->tx_slots_max;
}

static bool below_limit(void *arg)
{
	const struct waiting *w = arg;

	ptnet_bql_taken(w->q, w->txq);
	return !netif_xmit_stopped(w->txq);
}

/* True: what is wanted is there. False: an interrupt or a poll will come: a host that takes something each time
 * it is asked, and never enough, goes on being asked there, where others have their turn. */
static bool wait_unless(struct waiting w, bool (*enough)(void *arg))
{
	enum nm_csb_wait result = nm_csb_appl_wait(&w.q->csb, enough, &w);

	if (result == NM_CSB_AGAIN)
		napi_schedule(&w.q->napi);
	return result == NM_CSB_ENOUGH;
}

/* The longest packet may not fit as far as we know. True: it does after all. Else the queue is
 * stopped, and an interrupt or a poll will come. */
static bool find_room(struct ptnet_queue *q, struct netdev_queue *txq)
{
	look(q, txq);
	if (room(q) >= q->ptn->tx_slots_max)
		return true;
	publish(q);
	netif_tx_stop_queue(txq);
	ptnet_count_event(q, &q->stats.stops);
	if (!wait_unless((struct waiting){q, txq}, has_room))
		return false;
	netif_tx_start_queue(txq);
	ptnet_count_event(q, &q->stats.wakes);
	return true;
}

/* The stack has stopped the queue, for its limit, and all is published. An interrupt or a poll will come
 * unless it goes on. */
static void await_limit(struct ptnet_queue *q, struct netdev_queue *txq)
{
	(void)wait_unless((struct waiting){q, txq}, below_limit);
}

/* A packet on its way into slots. */
struct filling {
	struct sk_buff *skb;                 /* NULL: a frame from elsewhere, */
	struct nm_cursor frame;              /* its next byte */
	uint32_t bytes;                      /* of the packet, without its header */
	struct virtio_net_hdr_mrg_rxbuf hdr; /* the first hdr_len bytes of it */
	uint32_t hdr_len;
	uint32_t slots;
	uint32_t buf_idx[NETMAP_MAX_FRAGS]; /* of the slots, loaded once */
};

/* What is left to be done by whoever receives the packet. Without a header nothing may be. */
static bool make_header(const struct ptnet *ptn, struct filling *f)
{
	struct sk_buff *skb = f->skb;

	memset(&f->hdr, 0, sizeof(f->hdr));
	f->hdr_len = ptn->hdr_len;
	if (f->hdr_len > 0)
		return virtio_net_hdr_from_skb(skb, &f->hdr.hdr, true, false, 0) == 0;
	return !skb_is_gso(skb) && (skb->ip_summed != CHECKSUM_PARTIAL || !skb_checksum_help(skb));
}

/* How many slots it takes, or 0: too many. */
static uint32_t slots_for(const struct ptnet *ptn, const struct filling *f)
{
	uint32_t slots = DIV_ROUND_UP(f->hdr_len + f->bytes, ptnet_slot_bytes(ptn));

	return slots <= ptn->tx_slots_max ? slots : 0;
}

/* True: each slot has a buffer that exists. Else the slots up to the one that has none, included,
 * go out empty, and the packet with them. */
static bool load_buffers(struct ptnet_queue *q, struct filling *f)
{
	uint32_t i = q->next;

	for (uint32_t n = 0; n < f->slots; n++) {
		f->buf_idx[n] = nm_slot_load(&q->slots[i]).buf_idx;
		i = nm_ring_advance(i, 1, q->num_slots);
		if (likely(nm_region_buf_valid(q->ptn->mem->region, f->buf_idx[n])))
			continue;
		for (; q->next != i; q->next = nm_ring_advance(q->next, 1, q->num_slots)) {
			OS_STORE(&q->slots[q->next].len, 0);
			OS_STORE(&q->slots[q->next].flags, 0);
		}
		return false;
	}
	return true;
}

/* The part of the packet that begins at `from`: frames are read in order. */
static void copy_part(struct filling *f, uint32_t from, char *to, uint32_t bytes)
{
	if (unlikely(!f->skb))
		nm_cursor_copy(&f->frame, to, bytes);
	else if (unlikely(skb_copy_bits(f->skb, (int)from, to, (int)bytes)))
		memset(to, 0, bytes); /* can't be: all of it lies within the packet */
}

/* One slot with the part of the packet that begins at `from`. Returns the bytes of the packet in it. */
static uint32_t fill_slot(struct ptnet_queue *q, struct filling *f, uint32_t n, uint32_t from)
{
	char *buf = nm_region_buf(q->ptn->mem->region, f->buf_idx[n]);
	struct netmap_slot *slot = &q->slots[q->next];
	uint32_t hdr_len = n == 0 ? f->hdr_len : 0;
	uint32_t bytes = min(f->bytes - from, ptnet_slot_bytes(q->ptn) - hdr_len);
	uint16_t changed = nm_slot_load(slot).flags & NS_BUF_CHANGED; /* an application was here */

	memcpy(buf, &f->hdr, hdr_len);
	copy_part(f, from, buf + hdr_len, bytes);
	OS_STORE(&slot->len, (uint16_t)(hdr_len + bytes));
	OS_STORE(&slot->flags, changed | (n + 1 < f->slots ? NS_MOREFRAG : 0));
	q->next = nm_ring_advance(q->next, 1, q->num_slots);
	return bytes;
}

/* Copies a packet into the next slots. NM_DROPS: it is on its way. */
static enum nm_drop fill_slots(struct ptnet_queue *q, struct filling *f)
{
	uint32_t from = 0;

	if (unlikely(!load_buffers(q, f)))
		return NM_DROP_BAD_BUFFER;
	for (uint32_t n = 0; n < f->slots; n++)
		from += fill_slot(q, f, n, from);
	return NM_DROPS;
}

static void count_sent(struct ptnet_queue *q, const struct sk_buff *skb)
{
	ptnet_count_packet(q, skb->len);
	if (!skb_is_gso(skb))
		return;
	u64_stats_update_begin(&q->stats.sync);
	u64_stats_inc(&q->stats.gso_packets);
	u64_stats_add(&q->stats.gso_bytes, skb->len);
	u64_stats_update_end(&q->stats.sync);
}

static enum nm_drop send_skb(struct ptnet_queue *q, struct sk_buff *skb)
{
	struct filling f = {.skb = skb};
	enum nm_drop cause;

	if (unlikely(!ptnet_big_sent(skb)))
		return NM_DROP_NO_MEMORY;
	if (unlikely(!make_header(q->ptn, &f)))
		return NM_DROP_BAD_HEADER;
	f.bytes = skb->len;
	f.slots = slots_for(q->ptn, &f);
	if (unlikely(f.slots == 0))
		return NM_DROP_TOO_LONG;
	cause = fill_slots(q, &f);
	if (likely(cause == NM_DROPS))
		count_sent(q, skb);
	return cause;
}

enum nm_drop ptnet_tx_frame(struct ptnet_queue *q, struct netdev_queue *txq,
	const struct nm_frag *pieces, uint32_t bytes)
{
	const struct ptnet *ptn = q->ptn;
	struct filling f = {.frame = {pieces, 0}, .bytes = bytes, .hdr_len = ptn->hdr_len};
	enum nm_drop cause;
	uint32_t wanted;

	f.slots = slots_for(ptn, &f);
	if (unlikely(f.slots == 0))
		return NM_DROP_TOO_LONG;
	/* Those of the stack find room for the longest packet behind it. */
	wanted = f.slots + ptn->tx_slots_max;
	if (netif_tx_queue_stopped(txq))
		return NM_DROP_RX_FULL;
	if (room(q) < wanted)
		look(q, txq);
	if (room(q) < wanted) {
		publish(q); /* for those that follow */
		return NM_DROP_RX_FULL;
	}
	cause = fill_slots(q, &f);
	if (likely(cause == NM_DROPS))
		ptnet_count_packet(q, bytes);
	return cause;
}

void ptnet_tx_publish(struct ptnet_queue *q, struct netdev_queue *txq)
{
	if (READ_ONCE(q->ptn->state) == PTNET_STACK && !netif_tx_queue_stopped(txq))
		publish(q);
}

static netdev_tx_t drop(struct ptnet_queue *q, struct sk_buff *skb, uint32_t cause)
{
	ptnet_count_drop(q, cause);
	dev_kfree_skb_any(skb);
	return NETDEV_TX_OK;
}

/* State netmap: an application may have asked for what the stack sends. */
static netdev_tx_t to_host_ring(struct ptnet_queue *q, struct sk_buff *skb)
{
	struct nm_port *port = q->ptn->host;

	/* Interrupts are off when the kernel's log is sent (netpoll): host rings can't have that. */
	if (!nmk_host_wanted(port) || irqs_disabled())
		return drop(q, skb, PTNET_DROP_NETMAP);
	nmk_host_xmit(port, skb);
	return NETDEV_TX_OK;
}

netdev_tx_t ptnet_start_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	struct ptnet *ptn = ptnet_of(netdev);
	uint16_t index = skb_get_queue_mapping(skb);
	struct ptnet_queue *q = ptnet_queue(ptn, NM_TX, index);
	struct netdev_queue *txq = netdev_get_tx_queue(netdev, index);
	bool more = netdev_xmit_more();
	enum nm_drop cause;

	if (unlikely(READ_ONCE(ptn->state) == PTNET_NETMAP))
		return to_host_ring(q, skb);
	look(q, txq);
	if (unlikely(room(q) < ptn->tx_slots_max) && !find_room(q, txq))
		return NETDEV_TX_BUSY;
	skb_tx_timestamp(skb);
	cause = send_skb(q, skb);
	if (unlikely(cause != NM_DROPS)) {
		drop(q, skb, cause);
	} else {
		ptnet_bql_sent(q, txq, skb->len);
		dev_consume_skb_any(skb);
	}
	/* Stop now rather than refuse the next packet. find_room() publishes, too. */
	if (unlikely(room(q) < ptn->tx_slots_max))
		find_room(q, txq);
	if (!more || netif_xmit_stopped(txq))
		publish(q);
	if (unlikely(netif_xmit_stopped(txq)) && !netif_tx_queue_stopped(txq))
		await_limit(q, txq);
	return NETDEV_TX_OK;
}

/* The queue goes on if there is room, and less in the ring than its limit. True: look again soon. */
static bool go_on(struct ptnet_queue *q, struct netdev_queue *txq)
{
	look(q, txq);
	if (netif_tx_queue_stopped(txq) &&
		room(q) >= max(READ_ONCE(q->limit) / WAKE_PART, q->ptn->tx_slots_max)) {
		netif_tx_wake_queue(txq);
		ptnet_count_event(q, &q->stats.wakes);
	}
	return netif_xmit_stopped(txq) && sleep_unless_taken(q, txq);
}

/* The host has sent something, and a queue had asked for that. */
int ptnet_tx_poll(struct napi_struct *napi, int budget)
{
	struct ptnet_queue *q = container_of(napi, struct ptnet_queue, napi);
	struct netdev_queue *txq = netdev_get_tx_queue(napi->dev, q->id);
	bool again;

	/* netpoll's has no budget, and may have interrupted whoever holds the lock. */
	if (budget > 0)
		__netif_tx_lock(txq, smp_processor_id());
	else if (!__netif_tx_trylock(txq))
		return 0;
	again = go_on(q, txq);
	__netif_tx_unlock(txq);
	if (unlikely(budget == 0)) {
		if (again)
			napi_schedule(napi); /* nobody else will, and interrupts are off */
		return 0;
	}
	if (again)
		return budget;
	napi_complete_done(napi, 0);
	return 0;
}

/* A queue has been stopped for long: the host doesn't take what is there, or a wake-up was lost. Once more
 * both sides are told. */
void ptnet_tx_timeout(struct net_device *netdev, unsigned int index)
{
	struct ptnet_queue *q = ptnet_queue(ptnet_of(netdev), NM_TX, index);
	const struct nm_csb_appl *csb = &q->csb;

	netdev_warn(netdev,
		"tx ring %u stands still: next %u, published %u, host at %u, tail %u of %u slots; kick wanted %u, interrupt wanted %u, %lu interrupts\n",
		index, q->next, csb->head, OS_LOAD(&csb->ktoa->hwcur), OS_LOAD(&csb->ktoa->hwtail),
		q->num_slots, OS_LOAD(&csb->ktoa->kern_need_kick),
		OS_LOAD(&csb->atok->appl_need_kick), q->interrupts);
	ptnet_stack_kick(q);
	napi_schedule(&q->napi);
}
