// SPDX-License-Identifier: BSD-2-Clause
#include "hostring.h"
#include "compat.h"
#include "region.h"

#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/percpu.h>
#include <linux/virtio_net.h>

enum {
	LINEAR_MAX = 4096, /* a longer packet doesn't become one piece of memory */
	LINEAR_HEAD = 256, /* then this much of it does, and holds all headers */
	BATCH = 64,        /* packets that go into the stack before others have a turn */
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

/* A packet on its way into the slots of a ring. */
struct delivery {
	const struct sk_buff *skb;
	struct virtio_net_hdr_mrg_rxbuf hdr;
	uint32_t hdr_len;
	uint32_t done, bytes; /* of the packet with its header */
};

/* Copies as much as fits into `room` bytes at dst. 0: the first buffer doesn't hold the header. */
static uint32_t copy_part(struct delivery *d, char *dst, uint32_t room)
{
	uint32_t n = min(room, d->bytes - d->done), hdr = d->done == 0 ? d->hdr_len : 0;

	if (n < hdr)
		return 0;
	memcpy(dst, &d->hdr, hdr);
	if (skb_copy_bits(d->skb, (int)(d->done + hdr - d->hdr_len), dst + hdr, (int)(n - hdr)))
		return 0;
	d->done += n;
	return n;
}

/* Slots that producers may fill; the lock is held. */
static uint32_t rx_room(struct nm_ring *ring)
{
	uint32_t used;

	ring->produce.hwcur_seen = OS_LOAD_ACQUIRE(&ring->hwcur);
	used = nm_ring_distance(ring->produce.hwcur_seen, ring->produce.hwtail, ring->num_slots);
	return ring->num_slots - 1 - used;
}

/* Fills one slot. Each is loaded once; nothing counts before it is published. */
static enum nm_drop fill_slot(struct nm_ring *ring, uint32_t i, struct delivery *d)
{
	const struct nm_region *region = ring->region;
	uint64_t size = min_t(uint64_t, region->pool[NM_POOL_BUF].size, U16_MAX);
	uint64_t gap = ring->port->offsets.gap, offset;
	struct netmap_slot *slot = &ring->slots[i];
	struct nm_slot_copy old = nm_slot_load(slot);
	uint32_t n;

	if (unlikely(!nm_region_buf_valid(region, old.buf_idx)))
		return NM_DROP_BAD_BUFFER;
	offset = nm_slot_offset(ring, slot);
	if (unlikely(offset >= size || gap >= size - offset))
		return NM_DROP_BAD_OFFSET;
	n = copy_part(d, (char *)nm_region_buf(region, old.buf_idx) + offset,
		(uint32_t)(size - offset - gap));
	if (unlikely(n == 0))
		return NM_DROP_BAD_LENGTH;
	OS_STORE(&slot->len, (uint16_t)n);
	return NM_DROPS;
}

static enum nm_drop deliver_locked(struct nm_ring *ring, struct delivery *d)
{
	uint32_t room = rx_room(ring), first = ring->produce.hwtail, i = first, slots = 0;

	while (d->done < d->bytes) {
		enum nm_drop cause;

		if (unlikely(slots == NETMAP_MAX_FRAGS || slots == ring->num_slots - 1))
			return NM_DROP_TOO_LONG;
		if (unlikely(slots == room))
			return NM_DROP_RX_FULL;
		cause = fill_slot(ring, i, d);
		if (unlikely(cause != NM_DROPS))
			return cause;
		i = nm_ring_advance(i, 1, ring->num_slots);
		slots++;
	}
	for (uint32_t s = 0; s < slots; s++) {
		uint32_t at = nm_ring_advance(first, s, ring->num_slots);

		OS_STORE(&ring->slots[at].flags,
			(uint16_t)(slots << NS_PORT_SHIFT | (s + 1 < slots ? NS_MOREFRAG : 0)));
	}
	OS_STORE_RELEASE(&ring->produce.hwtail, i);
	return NM_DROPS;
}

enum nm_drop nmk_rx_deliver(struct nm_ring *ring, const struct sk_buff *skb)
{
	struct delivery d = {.skb = skb, .hdr_len = ring->port->hdr_len};
	enum nm_drop cause;

	if (d.hdr_len > 0 && virtio_net_hdr_from_skb(skb, &d.hdr.hdr, true, true, 0) != 0) {
		nmk_rx_drop(ring, NM_DROP_OFFLOAD);
		return NM_DROP_OFFLOAD;
	}
	d.hdr.num_buffers = (__force __virtio16)cpu_to_le16(1);
	d.bytes = skb->len + d.hdr_len;
	nm_produce_lock(ring);
	cause = deliver_locked(ring, &d);
	if (likely(cause == NM_DROPS)) {
		ring->stats.packets++;
		ring->stats.bytes += d.bytes;
	} else {
		ring->stats.drops[cause]++;
	}
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

	/* It has none for packets within packets, and takes them for plain ones. */
	return skb->len <= NMK_PACKET_MAX && !(skb_is_gso(skb) && skb->encapsulation) &&
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
		if (likely(nmk_rx_deliver(ring, skb) == NM_DROPS))
			consume_skb(skb);
		else
			kfree_skb(skb);
		skb = next;
	}
	nmk_rx_publish(ring);
}

/* ---- out of a ring ------------------------------------------------------------------- */

/* Slots of one packet, each loaded once. */
struct fragments {
	struct nm_slot_copy slot[NETMAP_MAX_FRAGS];
	uint32_t offset[NETMAP_MAX_FRAGS];
	uint32_t count;
	uint32_t bytes;
};

/* Behind the packet that goes on at `at`. `dropping` when its end has not come yet. */
static uint32_t skip_packet(struct nm_ring *ring, uint32_t at, uint32_t end, bool *dropping)
{
	*dropping = true;
	while (at != end && *dropping) {
		*dropping = nm_slot_load(&ring->slots[at]).flags & NS_MOREFRAG;
		at = nm_ring_advance(at, 1, ring->num_slots);
	}
	return at;
}

/* Loads the slots of the packet at `at`. NM_DROPS: it is all there. */
static enum nm_drop gather(
	const struct nm_ring *ring, uint32_t at, uint32_t end, struct fragments *f, bool *part)
{
	enum nm_drop cause = NM_DROPS;

	f->count = f->bytes = 0;
	*part = false;
	while (f->count < NETMAP_MAX_FRAGS) {
		struct nm_slot_copy slot;
		uint64_t offset;

		if (at == end) {
			*part = true;
			return cause;
		}
		slot = nm_slot_load(&ring->slots[at]);
		offset = nm_slot_offset(ring, &ring->slots[at]);
		if (likely(cause == NM_DROPS))
			cause = nm_slot_check(ring, slot, offset);
		f->slot[f->count] = slot;
		f->offset[f->count++] = (uint32_t)offset;
		f->bytes += slot.len;
		if (!(slot.flags & NS_MOREFRAG))
			return cause;
		at = nm_ring_advance(at, 1, ring->num_slots);
	}
	return NM_DROP_FRAGMENTS;
}

static struct sk_buff *alloc_skb_for(struct net_device *dev, uint32_t bytes)
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

/* All but the virtio-net header. */
static void copy_fragments(
	const struct nm_ring *ring, const struct fragments *f, uint32_t skip, struct sk_buff *skb)
{
	int at = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		const char *buf =
			(char *)nm_region_buf(ring->region, f->slot[i].buf_idx) + f->offset[i];
		int bytes = (int)(f->slot[i].len - skip);

		skb_store_bits(skb, at, buf + skip, bytes);
		at += bytes;
		skip = 0;
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

/* What the sender has left to be done. The header is copied first: it can change. */
static bool apply_header(const struct nm_ring *ring, const struct fragments *f, struct sk_buff *skb)
{
	struct virtio_net_hdr hdr;

	if (ring->port->hdr_len == 0)
		return true;
	memcpy(&hdr, (char *)nm_region_buf(ring->region, f->slot[0].buf_idx) + f->offset[0],
		sizeof(hdr));
	return virtio_net_hdr_to_skb(skb, &hdr, true) == 0;
}

static struct sk_buff *make_skb(struct nm_ring *ring, const struct fragments *f,
	struct net_device *dev, enum nm_drop *cause)
{
	uint32_t hdr_len = ring->port->hdr_len;
	struct sk_buff *skb;

	*cause = NM_DROP_TOO_SHORT;
	if (unlikely(f->slot[0].len < hdr_len || f->bytes < hdr_len + ETH_HLEN))
		return NULL;
	*cause = NM_DROP_TOO_LONG;
	if (unlikely(f->bytes - hdr_len > NMK_PACKET_MAX))
		return NULL;
	*cause = NM_DROP_NO_MEMORY;
	skb = alloc_skb_for(dev, f->bytes - hdr_len);
	if (unlikely(!skb))
		return NULL;
	copy_fragments(ring, f, hdr_len, skb);
	set_headers(skb, dev);
	*cause = NM_DROP_BAD_HEADER;
	if (unlikely(!apply_header(ring, f, skb))) {
		kfree_skb(skb);
		return NULL;
	}
	return skb;
}

struct sk_buff *nmk_skb_from_ring(struct nm_ring *ring, uint32_t *at, uint32_t end,
	struct net_device *dev, enum nm_drop *cause)
{
	struct fragments f;
	bool part, dropping = false;

	if (unlikely(ring->dropping)) { /* the rest of one that was counted */
		*at = skip_packet(ring, *at, end, &dropping);
		ring->dropping = dropping;
		if (*at == end) {
			*cause = NM_DROPS;
			return NULL;
		}
	}
	*cause = gather(ring, *at, end, &f, &part);
	/* A ring that is full of one packet will never hold the rest of it. */
	if (part && nm_ring_distance(*at, end, ring->num_slots) == ring->num_slots - 1)
		*cause = NM_DROP_FRAGMENTS;
	else if (part && *cause == NM_DROPS)
		return NULL;
	if (unlikely(*cause != NM_DROPS)) {
		*at = skip_packet(ring, *at, end, &dropping);
		ring->dropping = dropping;
		return NULL;
	}
	*at = nm_ring_advance(*at, f.count, ring->num_slots);
	return make_skb(ring, &f, dev, cause);
}

/* ---- the stack ----------------------------------------------------------------------- */

static DEFINE_PER_CPU(const struct net_device *, passing);

void nmk_pass(const struct net_device *dev)
{
	__this_cpu_write(passing, dev);
}

bool nmk_passing(const struct net_device *dev)
{
	if (likely(__this_cpu_read(passing) != dev))
		return false;
	__this_cpu_write(passing, NULL);
	return true;
}

/* As if the device had received it. */
static bool pass_up(struct sk_buff *skb, struct net_device *dev)
{
	bool taken;

	skb->protocol = eth_type_trans(skb, dev);
	nmk_pass(dev);
	taken = netif_receive_skb_core(skb) == NET_RX_SUCCESS;
	nmk_pass(NULL);
	return taken;
}

static bool is_up(const struct net_device *dev)
{
	return dev && (READ_ONCE(dev->flags) & IFF_UP);
}

/* Sends up to BATCH packets of a host tx ring into the stack. False: there are no more. */
static bool send_up(struct nm_ring *ring, struct net_device *dev)
{
	uint32_t at = ring->hwcur, packets = 0;
	bool more = true;

	while (packets < BATCH) {
		enum nm_drop cause;
		struct sk_buff *skb;

		more = at != ring->head;
		if (!more)
			break;
		skb = nmk_skb_from_ring(ring, &at, ring->head, dev, &cause);
		if (!skb && cause == NM_DROPS) {
			more = false;
			break;
		}
		packets++;
		ring->stats.packets++;
		if (skb) {
			ring->stats.bytes += skb->len;
			if (unlikely(!is_up(dev))) {
				kfree_skb(skb);
				ring->stats.drops[NM_DROP_LINK_DOWN]++;
			} else if (!pass_up(skb, dev)) {
				ring->stats.drops[NM_DROP_REFUSED]++;
			}
		} else {
			ring->stats.drops[cause]++;
		}
	}
	ring->hwcur = at;
	return more;
}

int nmk_host_txsync(struct nm_ring *ring, struct net_device *dev)
{
	bool more = true;

	if (!dev)
		return -ENXIO;
	while (more) {
		local_bh_disable();
		more = send_up(ring, dev);
		local_bh_enable();
	}
	nm_ring_sent(ring, ring->hwcur);
	return 0;
}

bool nmk_host_wanted(const struct nm_port *port)
{
	uint32_t first = port->num_rings[NM_RX];

	for (uint32_t i = 0; i < port->num_host_rings[NM_RX]; i++)
		if (OS_LOAD(&port->rings[NM_RX][first + i].users) > 0)
			return true;
	return false;
}

/* Packets of one flow go into the same ring. Rings without users are passed over. */
static struct nm_ring *host_ring_for(struct nm_port *port, struct sk_buff *skb)
{
	uint32_t count = port->num_host_rings[NM_RX];
	struct nm_ring *rings = &port->rings[NM_RX][port->num_rings[NM_RX]];
	uint32_t at = count > 1 ? skb_get_hash(skb) % count : 0;

	for (uint32_t i = 0; i < count; i++) {
		struct nm_ring *ring = &rings[(at + i) % count];

		if (OS_LOAD(&ring->users) > 0)
			return ring;
	}
	return NULL;
}

void nmk_host_xmit(struct nm_port *port, struct sk_buff *skb)
{
	struct nm_ring *ring = host_ring_for(port, skb);

	if (unlikely(!ring)) /* just gone */
		kfree_skb(skb);
	else
		nmk_rx_packet(ring, skb);
}

/* ---- forwarding ---------------------------------------------------------------------- */

static void forward_one(struct nm_ring *ring, struct sk_buff *skb, struct net_device *dev,
	void (*xmit)(struct nm_port *port, struct sk_buff *skb, uint32_t ring))
{
	bool taken = true;

	local_bh_disable();
	if (ring->host)
		xmit(ring->port, skb, ring->id - ring->port->num_rings[NM_RX]);
	else if (is_up(dev))
		taken = pass_up(skb, dev);
	else
		kfree_skb(skb);
	local_bh_enable();
	if (!taken)
		nmk_rx_drop(ring, NM_DROP_REFUSED);
}

void nmk_forward(struct nm_ring *ring, uint32_t old_head, struct net_device *dev,
	void (*xmit)(struct nm_port *port, struct sk_buff *skb, uint32_t ring))
{
	uint32_t at = old_head;

	if (likely(!(OS_LOAD(&ring->shared->flags) & NR_FORWARD)) || !dev)
		return;
	while (at != ring->head) {
		struct netmap_slot *slot = &ring->slots[at];
		uint16_t flags = nm_slot_load(slot).flags;
		enum nm_drop cause;
		struct sk_buff *skb;

		if (!(flags & NS_FORWARD)) {
			at = nm_ring_advance(at, 1, ring->num_slots);
			continue;
		}
		OS_STORE(&slot->flags, (uint16_t)(flags & ~NS_FORWARD));
		skb = nmk_skb_from_ring(ring, &at, ring->head, dev, &cause);
		if (skb) {
			forward_one(ring, skb, dev, xmit);
		} else if (cause == NM_DROPS) { /* given back in the middle of a packet */
			nmk_rx_drop(ring, NM_DROP_FRAGMENTS);
			break;
		} else {
			nmk_rx_drop(ring, cause);
		}
	}
	ring->dropping = false; /* it says something of tx rings only */
}
