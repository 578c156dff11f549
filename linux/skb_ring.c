// SPDX-License-Identifier: BSD-2-Clause
#include "skb_ring.h"
#include "compat.h"
#include "monitor.h"

#include <linux/etherdevice.h>
#include <linux/if_vlan.h>

enum {
	LINEAR_MAX = 4096, /* a longer packet doesn't become one piece of memory */
	LINEAR_HEAD = 256, /* then this much of it does, and holds all headers */
	COPY_BREAK =
		256, /* up to here a packet gets memory of its own size, which costs less than a share of a page */
	/* Behind that, pieces of pages of this order, as long as there are such; then pages. */
	LARGE_ORDER = PAGE_ALLOC_COSTLY_ORDER,
	LARGE_BYTES = PAGE_SIZE << LARGE_ORDER,
	POOL_BYTES =
		2
		<< 20, /* that wait in a pool to be used again: as many as a ring's packets take */
};

struct nmk_skb_pool {
	struct page_pool *large, *small;
};

static_assert(sizeof(struct virtio_net_hdr_mrg_rxbuf) == NM_PORT_HDR_MAX);

/* ---- complete in software ------------------------------------------------------------ */

static struct sk_buff *drop_all(struct sk_buff *skb, enum nm_drop why, enum nm_drop *cause)
{
	kfree_skb_list(skb);
	*cause = why;
	return NULL;
}

/* The VLAN tag goes into the packet. NULL: freed. */
static struct sk_buff *with_tag(struct sk_buff *skb, enum nm_drop *cause)
{
	*cause = NM_DROP_NO_MEMORY;
	skb = skb_share_check(skb, GFP_ATOMIC);
	if (skb && skb_vlan_tag_present(skb))
		skb = __vlan_hwaccel_push_inside(skb);
	return skb;
}

static struct sk_buff *segments(struct sk_buff *skb, enum nm_drop *cause)
{
	struct sk_buff *list;

	/* Merged by a device in a way that doesn't tell how to undo it (LRO). */
	if (skb_shinfo(skb)->gso_type == 0)
		return drop_all(skb, NM_DROP_OFFLOAD, cause);
	list = __skb_gso_segment(skb, 0, false);
	if (IS_ERR_OR_NULL(list))
		return drop_all(skb, NM_DROP_OFFLOAD, cause);
	consume_skb(skb);
	return list;
}

struct sk_buff *nmk_skb_complete(struct sk_buff *skb, uint32_t max_len, enum nm_drop *cause)
{
	skb = with_tag(skb, cause);
	if (skb && skb_is_gso(skb))
		skb = segments(skb, cause);
	for (struct sk_buff *s = skb; s; s = s->next) {
		if (s->len > max_len)
			return drop_all(skb, NM_DROP_TOO_LONG, cause);
		if (s->ip_summed == CHECKSUM_PARTIAL && skb_csum_hwoffload_help(s, 0) != 0)
			return drop_all(skb, NM_DROP_OFFLOAD, cause);
	}
	return skb;
}

/* ---- into an rx ring ----------------------------------------------------------------- */

/* The packet behind its header; the lock is held. */
static enum nm_drop deliver_locked(struct nm_ring *ring, const struct sk_buff *skb,
	const struct virtio_net_hdr_mrg_rxbuf *hdr, uint32_t hdr_len) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_piece pieces[NETMAP_MAX_FRAGS];
	uint32_t count, from = 0;
	enum nm_drop cause;
	struct nm_rxq q;

	nm_rxq_begin(&q, ring);
	cause = nm_rxq_reserve(&q, hdr_len + skb->len, pieces, &count);
	if (unlikely(cause != NM_DROPS))
		return cause;
	nm_pieces_put(pieces, hdr, hdr_len);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t skip = min(hdr_len, pieces[i].len), bytes = pieces[i].len - skip;

		if (unlikely(skb_copy_bits(skb, (int)from, pieces[i].buf + skip, (int)bytes)))
			return NM_DROP_BAD_LENGTH;
		hdr_len -= skip;
		from += bytes;
	}
	nm_rxq_commit(&q, pieces, count, 0);
	nm_rxq_publish(&q);
	return NM_DROPS;
}

/* Several buffers are used when one is too small. */
static enum nm_drop deliver(struct nm_ring *ring, const struct sk_buff *skb)
{
	struct virtio_net_hdr_mrg_rxbuf hdr = {0};
	uint32_t hdr_len = ring->port->hdr_len;
	enum nm_drop cause;

	if (hdr_len > 0 && virtio_net_hdr_from_skb(skb, &hdr.hdr, true, true, 0) != 0) {
		nmk_rx_drop(ring, NM_DROP_OFFLOAD);
		return NM_DROP_OFFLOAD;
	}
	hdr.num_buffers = (__force __virtio16)cpu_to_le16(1);
	nm_produce_lock(ring);
	cause = deliver_locked(ring, skb, &hdr, hdr_len);
	if (unlikely(cause != NM_DROPS))
		ring->stats.drops[cause]++;
	nm_produce_unlock(ring);
	return cause;
}

void nmk_rx_drop(struct nm_ring *ring, enum nm_drop cause)
{
	nm_produce_lock(ring);
	ring->stats.drops[cause]++;
	nm_produce_unlock(ring);
}

/* A virtio-net header has words for what is left to be done with the packet. */
static bool header_says_it(const struct sk_buff *skb)
{
	struct virtio_net_hdr hdr;

	/* It has none for packets within packets, and takes them for plain ones. And not all who have the header know USO. */
	return skb->len <= NMK_PACKET_MAX && !(skb_is_gso(skb) && skb->encapsulation) &&
	       !(skb_is_gso(skb) && (skb_shinfo(skb)->gso_type & SKB_GSO_UDP_L4)) &&
	       virtio_net_hdr_from_skb(skb, &hdr, true, true, 0) == 0 &&
	       !(skb->ip_summed == CHECKSUM_PARTIAL && skb_csum_is_sctp((struct sk_buff *)skb));
}

void nmk_rx_packet(struct nm_ring *ring, struct sk_buff *skb)
{
	enum nm_drop cause;

	skb = with_tag(skb, &cause);
	if (skb && !(ring->port->hdr_len > 0 && header_says_it(skb)))
		skb = nmk_skb_complete(skb, NMK_PACKET_MAX, &cause);
	if (unlikely(!skb)) {
		nmk_rx_drop(ring, cause);
		return;
	}
	while (skb) {
		struct sk_buff *next = skb->next;

		skb_mark_not_on_list(skb);
		if (likely(deliver(ring, skb) == NM_DROPS))
			consume_skb(skb);
		else
			kfree_skb(skb);
		skb = next;
	}
	nm_ring_signal_arrived(ring);
}

/* ---- out of a ring ------------------------------------------------------------------- */

static struct page_pool *pool_of(unsigned int order)
{
	const struct page_pool_params params = {
		.flags = PP_FLAG_PAGE_FRAG,
		.order = order,
		.pool_size = POOL_BYTES >> (PAGE_SHIFT + order),
		.nid = NUMA_NO_NODE,
	};
	struct page_pool *pool = page_pool_create(&params);

	return IS_ERR(pool) ? NULL : pool;
}

struct nmk_skb_pool *nmk_skb_pool_new(void)
{
	struct nmk_skb_pool *pool = kzalloc(sizeof(*pool), GFP_KERNEL);

	if (!pool)
		return NULL;
	pool->large = pool_of(LARGE_ORDER);
	pool->small = pool_of(0);
	if (pool->large && pool->small)
		return pool;
	nmk_skb_pool_free(pool);
	return NULL;
}

void nmk_skb_pool_free(struct nmk_skb_pool *pool)
{
	if (pool && pool->large)
		page_pool_destroy(pool->large);
	if (pool && pool->small)
		page_pool_destroy(pool->small);
	kfree(pool);
}

/* Bytes of a page that an skb with so much in one piece takes. */
static uint32_t head_bytes(uint32_t linear)
{
	return SKB_DATA_ALIGN(NET_SKB_PAD + NET_IP_ALIGN + linear) +
	       SKB_DATA_ALIGN(sizeof(struct skb_shared_info));
}

/* Nobody frees memory for these, and nobody touches what is left for others: single pages will do. */
#define LARGE_GFP ((GFP_ATOMIC & ~__GFP_HIGH) | __GFP_NOWARN | __GFP_NORETRY)

/* The next fragment of an skb, with as much as possible of so many bytes: how much. 0: no memory. *large: there are large pages. */
static uint32_t add_piece(
	struct sk_buff *skb, const struct nmk_skb_pool *pool, uint32_t bytes, bool *large)
{
	uint32_t part = min_t(uint32_t, bytes, LARGE_BYTES), size = SKB_DATA_ALIGN(part), offset;
	struct page *page = NULL;

	if (likely(*large))
		page = page_pool_alloc_frag(pool->large, &offset, size, LARGE_GFP);
	if (unlikely(!page)) {
		*large = false;
		part = min_t(uint32_t, bytes, PAGE_SIZE);
		page = page_pool_dev_alloc_frag(pool->small, &offset, SKB_DATA_ALIGN(part));
	}
	if (!page)
		return 0;
	skb_add_rx_frag(
		skb, skb_shinfo(skb)->nr_frags, page, (int)offset, (int)part, SKB_DATA_ALIGN(part));
	return part;
}

/* All that is behind the first piece. */
static bool pieces_behind(struct sk_buff *skb, const struct nmk_skb_pool *pool, uint32_t bytes)
{
	bool large = true;

	while (bytes > 0) {
		uint32_t part = 0;

		if (skb_shinfo(skb)->nr_frags < MAX_SKB_FRAGS)
			part = add_piece(skb, pool, bytes, &large);

		if (part == 0)
			return false;
		bytes -= part;
	}
	return true;
}

static_assert(DIV_ROUND_UP(NMK_PACKET_MAX - LINEAR_HEAD, PAGE_SIZE) <= MAX_SKB_FRAGS);
static_assert(DIV_ROUND_UP(NMK_BIG_PACKET_MAX - LINEAR_HEAD, LARGE_BYTES) <= MAX_SKB_FRAGS);

/* In memory of the pool, which gets it back when the skb is freed. */
static struct sk_buff *alloc_pooled(const struct nmk_skb_pool *pool, uint32_t bytes)
{
	uint32_t linear = head_bytes(bytes) <= PAGE_SIZE ? bytes : LINEAR_HEAD, offset;
	struct page *page = page_pool_dev_alloc_frag(pool->small, &offset, head_bytes(linear));
	struct sk_buff *skb;

	if (!page)
		return NULL;
	skb = napi_build_skb(page_address(page) + offset, head_bytes(linear));
	if (!skb) {
		page_pool_put_full_page(pool->small, page, true);
		return NULL;
	}
	skb_mark_for_recycle(skb);
	skb_reserve(skb, NET_SKB_PAD + NET_IP_ALIGN);
	skb_put(skb, linear);
	if (pieces_behind(skb, pool, bytes - linear))
		return skb;
	kfree_skb(skb);
	return NULL;
}

static struct sk_buff *alloc_plain(struct net_device *dev, uint32_t bytes)
{
	uint32_t headroom = LL_RESERVED_SPACE(dev);
	uint32_t linear = bytes <= LINEAR_MAX ? bytes : LINEAR_HEAD;
	struct sk_buff *skb;
	int error;

	if (linear == bytes)
		skb = alloc_skb(headroom + bytes + dev->needed_tailroom, GFP_ATOMIC | __GFP_NOWARN);
	else
		skb = alloc_skb_with_frags(headroom + linear, bytes - linear,
			PAGE_ALLOC_COSTLY_ORDER, &error, GFP_ATOMIC | __GFP_NOWARN);
	if (!skb)
		return NULL;
	skb_reserve(skb, headroom);
	skb_put(skb, linear);
	skb->data_len = bytes - linear;
	skb->len = bytes;
	return skb;
}

static struct sk_buff *alloc_skb_for(
	struct net_device *dev, const struct nmk_skb_source *source, uint32_t bytes)
{
	struct sk_buff *skb;

	if (!source)
		return alloc_plain(dev, bytes);
	if (bytes > COPY_BREAK)
		return alloc_pooled(source->pool, bytes);
	skb = napi_alloc_skb(source->napi, bytes);
	if (skb)
		skb_put(skb, bytes);
	return skb;
}

/* All but the first `skip` bytes. */
static void copy_fragments(const struct nm_pkt *pkt, uint32_t skip, struct sk_buff *skb)
{
	int at = 0;

	for (uint32_t i = 0; i < pkt->slots; i++) {
		const struct nm_frag *frag = &pkt->frags[i];
		uint32_t head = min(skip, frag->len);

		skb_store_bits(skb, at, frag->buf + head, (int)(frag->len - head));
		at += (int)(frag->len - head);
		skip -= head;
	}
}

static void set_headers(struct sk_buff *skb, struct net_device *dev)
{
	__be16 proto = ((const struct ethhdr *)skb->data)->h_proto;

	skb->dev = dev;
	skb->protocol = eth_proto_is_802_3(proto) ? proto : htons(ETH_P_802_2);
	skb_reset_mac_header(skb);
	skb_set_network_header(skb, ETH_HLEN);
	skb_reset_mac_len(skb);
}

struct sk_buff *nmk_skb_from_pkt(const struct nm_pkt *pkt, uint32_t hdr_len, struct net_device *dev,
	const struct nmk_skb_source *source, struct virtio_net_hdr_mrg_rxbuf *hdr,
	enum nm_drop *cause)
{
	struct nm_cursor from = {pkt->frags, 0};
	struct sk_buff *skb;

	*cause = NM_DROP_TOO_SHORT;
	if (unlikely(pkt->bytes < hdr_len + ETH_HLEN))
		return NULL;
	*cause = NM_DROP_TOO_LONG;
	if (unlikely(pkt->bytes - hdr_len > (source ? source->packet_max : NMK_PACKET_MAX)))
		return NULL;
	*cause = NM_DROP_NO_MEMORY;
	skb = alloc_skb_for(dev, source, pkt->bytes - hdr_len);
	if (unlikely(!skb))
		return NULL;
	memset(hdr, 0, sizeof(*hdr));
	nm_cursor_copy(&from, hdr, hdr_len); /* once: it can change */
	copy_fragments(pkt, hdr_len, skb);
	set_headers(skb, dev);
	*cause = NM_DROP_BAD_HEADER;
	if (hdr_len > 0 && unlikely(virtio_net_hdr_to_skb(skb, &hdr->hdr, true) != 0)) {
		kfree_skb(skb);
		return NULL;
	}
	*cause = NM_DROPS;
	return skb;
}

struct sk_buff *nmk_skb_from_ring(struct nm_ring *ring, uint32_t *at, uint32_t end,
	struct net_device *dev, enum nm_drop *cause)
{
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	struct virtio_net_hdr_mrg_rxbuf hdr;
	struct nm_slots slots;

	*cause = NM_DROPS;
	nm_slots_init_ring(&slots, ring, 0);
	if (nm_pkt_next(&slots, at, end, &pkt) == NM_PKT_PARTIAL)
		return NULL;
	*at = pkt.next;
	*cause = pkt.cause;
	if (unlikely(pkt.cause != NM_DROPS))
		return NULL;
	return nmk_skb_from_pkt(&pkt, ring->port->hdr_len, dev, NULL, &hdr, cause);
}
