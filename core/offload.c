/* SPDX-License-Identifier: BSD-2-Clause */
#include "offload.h"

enum {
	ETH_HEADER = 14,
	ETH_IPV4 = 0x0800,
	ETH_IPV6 = 0x86dd,
	ETH_VLAN = 0x8100,
	ETH_QINQ = 0x88a8,
	ETH_QINQ_OLD = 0x9100,
	TAGS_MAX = 2,

	IPV4_HEADER = 20,
	IPV4_FRAGMENT = 0x3fff, /* more fragments, or not the first */
	IPV6_HEADER = 40,
	IPV6_EXTENSIONS_MAX = 8,
	IP_LEN_MAX = 65535,
	NEXT_HOP_BY_HOP = 0,
	NEXT_TCP = 6,
	NEXT_UDP = 17,
	NEXT_ROUTING = 43,
	NEXT_FRAGMENT = 44,
	NEXT_OPTIONS = 60,
	FRAGMENT_HEADER = 8,

	TCP_HEADER = 20,
	TCP_CSUM = 16,
	TCP_FLAGS = 13,
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_CWR = 0x80,
	UDP_HEADER = 8,
	UDP_CSUM = 6,
};

enum kind { WHOLE, TCP, UDP_DATAGRAMS, UDP_FRAGMENTS };

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)load16(p) << 16 | load16(p + 2);
}

static void store16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void store32(uint8_t *p, uint32_t value)
{
	store16(p, value >> 16);
	store16(p + 2, value);
}

/* ---- headers of a packet -------------------------------------------------------------------- */

/* What the headers of a packet say. They were copied: `have` bytes of them are in head. */
struct headers {
	const uint8_t *head;
	uint32_t have, len; /* len: of the packet */
	uint32_t l3, l4, end;
	uint32_t fragment_at; /* where an IPv6 fragment header would stand … */
	uint32_t next_at;     /* … and the byte that says what stands there */
	uint8_t protocol;
	bool ipv6;
};

static enum nm_drop parse_ethernet(struct headers *h)
{
	uint32_t at = ETH_HEADER - 2, type;

	for (uint32_t tags = 0;; tags++, at += 4) {
		if (at + 2 > h->have)
			return NM_DROP_BAD_HEADER;
		type = load16(h->head + at);
		if (type != ETH_VLAN && type != ETH_QINQ && type != ETH_QINQ_OLD)
			break;
		if (tags == TAGS_MAX)
			return NM_DROP_OFFLOAD;
	}
	h->l3 = at + 2;
	h->ipv6 = type == ETH_IPV6;
	return type == ETH_IPV4 || type == ETH_IPV6 ? NM_DROPS : NM_DROP_BAD_HEADER;
}

/* The IP header's length field ends the packet where it is shorter, because frames are padded. A
 * larger one, or 0, comes from senders who leave the field to their hardware. */
static void set_end(struct headers *h, uint32_t ip_end, bool given)
{
	h->end = given && ip_end < h->len ? ip_end : h->len;
}

static enum nm_drop parse_ipv4(struct headers *h)
{
	const uint8_t *ip = h->head + h->l3;
	uint32_t header, total;

	if (h->have - h->l3 < IPV4_HEADER || ip[0] >> 4 != 4)
		return NM_DROP_BAD_HEADER;
	header = (ip[0] & 0xf) * 4u;
	if (header < IPV4_HEADER || h->have - h->l3 < header)
		return NM_DROP_BAD_HEADER;
	if (load16(ip + 6) & IPV4_FRAGMENT)
		return NM_DROP_OFFLOAD;
	total = load16(ip + 2);
	h->protocol = ip[9];
	h->l4 = h->fragment_at = h->l3 + header;
	set_end(h, h->l3 + total, total != 0);
	return h->end < h->l4 ? NM_DROP_BAD_HEADER : NM_DROPS;
}

static enum nm_drop parse_ipv6(struct headers *h)
{
	const uint8_t *ip = h->head + h->l3;
	uint32_t at = h->l3 + IPV6_HEADER, next_at = h->l3 + 6, payload;

	if (h->have - h->l3 < IPV6_HEADER || ip[0] >> 4 != 6)
		return NM_DROP_BAD_HEADER;
	payload = load16(ip + 4);
	set_end(h, at + payload, payload != 0);
	h->fragment_at = at;
	h->next_at = next_at;
	for (uint32_t i = 0; i <= IPV6_EXTENSIONS_MAX; i++) {
		uint8_t next = h->head[next_at];
		uint32_t size;

		if (next == NEXT_TCP || next == NEXT_UDP) {
			h->protocol = next;
			h->l4 = at;
			return h->end < h->l4 ? NM_DROP_BAD_HEADER : NM_DROPS;
		}
		if (next != NEXT_HOP_BY_HOP && next != NEXT_ROUTING && next != NEXT_OPTIONS)
			return NM_DROP_OFFLOAD;
		if (h->len - at < 8)
			return NM_DROP_BAD_HEADER;
		if (h->have - at < 8)
			return NM_DROP_OFFLOAD;
		if (next == NEXT_ROUTING && h->head[at + 3] != 0)
			return NM_DROP_OFFLOAD; /* the pseudo header has another address */
		size = (h->head[at + 1] + 1u) * 8;
		if (size > h->len - at)
			return NM_DROP_BAD_HEADER;
		if (size > h->have - at)
			return NM_DROP_OFFLOAD;
		next_at = at;
		at += size;
		if (next != NEXT_OPTIONS) {
			h->fragment_at = at;
			h->next_at = next_at;
		}
	}
	return NM_DROP_OFFLOAD;
}

static enum nm_drop parse(struct headers *h)
{
	enum nm_drop cause = parse_ethernet(h);

	if (cause == NM_DROPS)
		cause = h->ipv6 ? parse_ipv6(h) : parse_ipv4(h);
	return cause;
}

/* ---- plans -------------------------------------------------------------------------------- */

/* The packet as a whole; its checksum is completed if it has to be. */
static enum nm_drop plan_whole(struct nm_offload *o, const struct nm_vnet_hdr *vnet, uint32_t len)
{
	uint32_t start = vnet->csum_start, at = start + vnet->csum_offset;

	o->kind = WHOLE;
	o->segments = 1;
	o->cut = 0;
	o->head_len = o->first_more = 0;
	o->end = o->step = len;
	o->csum = vnet->flags & NM_VNET_NEEDS_CSUM;
	if (!o->csum)
		return NM_DROPS;
	if (start < ETH_HEADER || at + 2 > len)
		return NM_DROP_BAD_HEADER;
	o->csum_start = start;
	o->csum_at = at;
	return NM_DROPS;
}

/* Length of the TCP or UDP header, checked to lie in the copied headers and in the packet. */
static enum nm_drop transport_header(
	const struct headers *h, uint8_t protocol, const struct nm_vnet_hdr *vnet, uint32_t *size)
{
	uint32_t least = protocol == NEXT_TCP ? TCP_HEADER : UDP_HEADER;
	uint32_t csum = protocol == NEXT_TCP ? TCP_CSUM : UDP_CSUM;

	if (h->protocol != protocol || h->end - h->l4 < least)
		return NM_DROP_BAD_HEADER;
	if (h->have < h->l4 || h->have - h->l4 < least)
		return NM_DROP_OFFLOAD; /* more extension headers than are looked at */
	*size = protocol == NEXT_TCP ? (h->head[h->l4 + 12] >> 4) * 4u : UDP_HEADER;
	if (*size < least || h->end - h->l4 < *size)
		return NM_DROP_BAD_HEADER;
	if (h->have - h->l4 < *size)
		return NM_DROP_OFFLOAD;
	if ((vnet->flags & NM_VNET_NEEDS_CSUM) &&
		(vnet->csum_start != h->l4 || vnet->csum_offset != csum))
		return NM_DROP_BAD_HEADER;
	return NM_DROPS;
}

static enum nm_drop count_segments(struct nm_offload *o)
{
	uint32_t data = o->end - o->cut;

	/* Each is an IP packet of its own, whose length has 16 bits. */
	if (o->head_len - o->l3 + o->step > IP_LEN_MAX)
		return NM_DROP_BAD_HEADER;
	o->segments = (data + o->step - 1) / o->step;
	return o->segments > NM_OFFLOAD_SEGMENTS_MAX ? NM_DROP_OFFLOAD : NM_DROPS;
}

/* TCP, and UDP in datagrams: all headers are repeated. */
static enum nm_drop plan_repeat(struct nm_offload *o, const struct headers *h, enum kind kind,
	const struct nm_vnet_hdr *vnet, uint32_t len)
{
	uint8_t protocol = kind == TCP ? NEXT_TCP : NEXT_UDP;
	const uint8_t *l4 = o->head + h->l4;
	uint32_t size;
	enum nm_drop cause = transport_header(h, protocol, vnet, &size);

	if (cause != NM_DROPS)
		return cause;
	if (h->end - h->l4 - size <= vnet->gso_size)
		return plan_whole(o, vnet, len);
	o->kind = (uint8_t)kind;
	o->head_len = o->cut = h->l4 + size;
	o->step = vnet->gso_size;
	if (kind == TCP) {
		o->seq = load32(l4 + 4);
		o->tcp_flags = l4[TCP_FLAGS];
	}
	/* Over IPv4, UDP does without a checksum if it was sent without. */
	o->csum = kind == TCP || h->ipv6 || (vnet->flags & NM_VNET_NEEDS_CSUM) ||
		  load16(l4 + UDP_CSUM) != 0;
	return count_segments(o);
}

static uint64_t pseudo_header(const struct nm_offload *o, uint32_t protocol, uint32_t len)
{
	const uint8_t *ip = o->head + o->l3;
	struct nm_sum sum = {0};
	uint8_t rest[8];

	if (o->ipv6)
		nm_sum_add(&sum, ip + 8, 32);
	else
		nm_sum_add(&sum, ip + 12, 8);
	store32(rest, len);
	store32(rest + 4, protocol);
	nm_sum_add(&sum, rest, sizeof(rest));
	return sum.sum;
}

/* The checksum of a datagram that is going to be cut: over all of it, into the first fragment. */
static void complete_datagram(struct nm_offload *o)
{
	struct nm_sum sum = {.sum = pseudo_header(o, NEXT_UDP, o->end - o->l4)};
	uint8_t *udp = o->head + o->l4 + (o->ipv6 ? FRAGMENT_HEADER : 0);
	struct nm_cursor packet = o->packet;
	uint16_t result;

	memset(udp + UDP_CSUM, 0, 2);
	nm_sum_add(&sum, udp, UDP_HEADER);
	nm_cursor_skip(&packet, o->l4 + UDP_HEADER);
	nm_cursor_sum(&packet, &sum, o->end - o->l4 - UDP_HEADER);
	result = nm_sum_finish(&sum);
	memcpy(udp + UDP_CSUM, &result, 2);
}

/* Makes place for a fragment header in the copied headers. */
static void insert_fragment_header(struct nm_offload *o, const struct headers *h, uint32_t ident)
{
	uint8_t *fragment = o->head + h->fragment_at;

	memmove(fragment + FRAGMENT_HEADER, fragment, o->first_more);
	memset(fragment, 0, FRAGMENT_HEADER);
	fragment[0] = o->head[h->next_at];
	store32(fragment + 4, ident);
	o->head[h->next_at] = NEXT_FRAGMENT;
	o->head_len += FRAGMENT_HEADER;
}

/* UDP in IP fragments: what is repeated ends with the IP header. The data begins behind it; as far
 * as it is headers (destination options, UDP), it is in `head` for the first fragment. */
static enum nm_drop plan_fragments(struct nm_offload *o, const struct headers *h,
	const struct nm_vnet_hdr *vnet, uint32_t len, uint32_t ident)
{
	uint32_t size;
	enum nm_drop cause = transport_header(h, NEXT_UDP, vnet, &size);

	if (cause != NM_DROPS)
		return cause;
	if (h->end - h->fragment_at <= vnet->gso_size)
		return plan_whole(o, vnet, len);
	o->kind = UDP_FRAGMENTS;
	o->csum = vnet->flags & NM_VNET_NEEDS_CSUM;
	o->head_len = o->cut = h->fragment_at;
	o->first_more = h->l4 + size - h->fragment_at;
	o->step = vnet->gso_size & ~7u;
	if (o->step < o->first_more || h->end - h->fragment_at > IP_LEN_MAX)
		return NM_DROP_BAD_HEADER;
	if (o->csum)
		store16(o->head + h->l4 + 4, h->end - h->l4);
	if (h->ipv6)
		insert_fragment_header(o, h, ident);
	return count_segments(o);
}

enum nm_drop nm_offload_plan(struct nm_offload *o, const struct nm_vnet_hdr *vnet,
	struct nm_cursor packet, uint32_t len, uint32_t ident)
{
	struct headers h = {.head = o->head, .len = len};
	struct nm_cursor from = packet;
	uint8_t type = vnet->gso_type & ~NM_VNET_GSO_ECN;
	bool tcp = type == NM_VNET_GSO_TCPV4 || type == NM_VNET_GSO_TCPV6;
	enum nm_drop cause;

	if (vnet->gso_type == NM_VNET_GSO_NONE)
		return plan_whole(o, vnet, len);
	if (!tcp && type != NM_VNET_GSO_UDP && type != NM_VNET_GSO_UDP_L4)
		return NM_DROP_OFFLOAD;
	if (vnet->gso_size == 0 || (!tcp && (vnet->gso_type & NM_VNET_GSO_ECN)))
		return NM_DROP_BAD_HEADER;
	h.have = len < NM_OFFLOAD_HEAD_MAX ? len : NM_OFFLOAD_HEAD_MAX;
	nm_cursor_copy(&from, o->head, h.have);
	cause = parse(&h);
	if (cause != NM_DROPS)
		return cause;
	if (tcp && h.ipv6 != (type == NM_VNET_GSO_TCPV6))
		return NM_DROP_BAD_HEADER;
	o->ipv6 = h.ipv6;
	o->l3 = h.l3;
	o->l4 = h.l4;
	o->end = h.end;
	o->first_more = 0;
	o->packet = packet;
	o->id = h.ipv6 ? 0 : load16(o->head + h.l3 + 4);
	if (type == NM_VNET_GSO_UDP)
		return plan_fragments(o, &h, vnet, len, ident);
	return plan_repeat(o, &h, tcp ? TCP : UDP_DATAGRAMS, vnet, len);
}

/* ---- segments ------------------------------------------------------------------------------ */

static uint32_t data_of(const struct nm_offload *o, uint32_t i)
{
	uint32_t from = o->cut + i * o->step, left = o->end - from;

	return left < o->step ? left : o->step;
}

uint32_t nm_offload_longest(const struct nm_offload *o)
{
	return o->head_len + data_of(o, 0);
}

uint32_t nm_offload_last(const struct nm_offload *o)
{
	return o->head_len + data_of(o, o->segments - 1);
}

/* IP header of segment i, whose IP packet is `len` bytes long. */
static void write_ip(struct nm_offload *o, uint32_t i, uint32_t len)
{
	uint8_t *ip = o->head + o->l3;
	bool fragment = o->kind == UDP_FRAGMENTS, last = i == o->segments - 1;
	uint32_t offset = i * o->step; /* a multiple of 8 when it is of use */
	struct nm_sum sum = {0};
	uint16_t csum;

	if (o->ipv6) {
		store16(ip + 4, len - IPV6_HEADER);
		if (fragment)
			store16(o->head + o->head_len - FRAGMENT_HEADER + 2,
				offset | (last ? 0 : 1));
		return;
	}
	store16(ip + 2, len);
	store16(ip + 4, fragment ? o->id : o->id + i);
	if (fragment)
		store16(ip + 6, offset >> 3 | (last ? 0 : 0x2000));
	memset(ip + 10, 0, 2);
	nm_sum_add(&sum, ip, (ip[0] & 0xf) * 4u);
	csum = nm_sum_finish(&sum);
	memcpy(ip + 10, &csum, 2);
}

/* TCP or UDP header of segment i. What is behind it is `data` bytes; its checksum's seed. */
static uint64_t write_transport(struct nm_offload *o, uint32_t i, uint32_t data)
{
	uint8_t *l4 = o->head + o->l4;
	uint32_t size = o->head_len - o->l4, flags = o->tcp_flags;
	struct nm_sum sum = {0};

	if (o->kind == TCP) {
		store32(l4 + 4, o->seq + i * o->step);
		if (i > 0)
			flags &= ~(uint32_t)TCP_CWR;
		if (i != o->segments - 1)
			flags &= ~(uint32_t)(TCP_FIN | TCP_PSH);
		l4[TCP_FLAGS] = (uint8_t)flags;
		memset(l4 + TCP_CSUM, 0, 2);
	} else {
		store16(l4 + 4, size + data);
		memset(l4 + UDP_CSUM, 0, 2);
	}
	if (!o->csum)
		return 0;
	sum.sum = pseudo_header(o, o->kind == TCP ? NEXT_TCP : NEXT_UDP, size + data);
	nm_sum_add(&sum, l4, size);
	return sum.sum;
}

void nm_offload_segment(struct nm_offload *o, uint32_t i, struct nm_frame *frame)
{
	uint32_t data = data_of(o, i), more = i == 0 ? o->first_more : 0;

	if (more > 0 && o->csum)
		complete_datagram(o);
	*frame = (struct nm_frame){
		.head = o->head,
		.head_len = o->head_len + more,
		.from = o->cut + i * o->step + more,
		.len = data - more,
		.csum = o->csum && o->kind != UDP_FRAGMENTS,
	};
	if (o->kind == WHOLE) {
		frame->csum_skip = o->csum_start;
		frame->csum_at = o->csum_at;
		return;
	}
	write_ip(o, i, o->head_len + data - o->l3);
	if (o->kind == UDP_FRAGMENTS)
		return;
	frame->csum_at = o->l4 + (o->kind == TCP ? TCP_CSUM : UDP_CSUM);
	frame->seed = write_transport(o, i, data);
}
