// SPDX-License-Identifier: BSD-2-Clause
#include "ptnet_big.h"
#include "compat.h"

#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <net/ipv6.h>

enum { TAGS_MAX = 2, JUMBO_BYTES = 4 /* of the option's value */ };

/* A hop-by-hop header with nothing but a jumbo option: RFC 2675. */
struct jumbo_header {
	u8 next, len; /* len: in 8 bytes, behind the first 8 */
	u8 option, option_len;
	__be32 payload_len;
};

static_assert(sizeof(struct jumbo_header) == 8);

/* Where the IPv6 header of a TCP packet is that has no length, with so many bytes behind it in one piece. 0: it is none. */
static uint32_t big_ipv6_at(const struct sk_buff *skb, uint32_t behind)
{
	const uint32_t headers = skb_headlen(skb);
	__be16 proto = ((const struct ethhdr *)skb->data)->h_proto;
	uint32_t at = ETH_HLEN;

	if (!(skb_shinfo(skb)->gso_type & SKB_GSO_TCPV6))
		return 0;
	for (int tags = 0; tags < TAGS_MAX && eth_type_vlan(proto); tags++, at += VLAN_HLEN) {
		if (headers < at + VLAN_HLEN)
			return 0;
		proto = ((const struct vlan_hdr *)(skb->data + at))->h_vlan_encapsulated_proto;
	}
	if (proto != htons(ETH_P_IPV6) || headers < at + sizeof(struct ipv6hdr) + behind ||
		((const struct ipv6hdr *)(skb->data + at))->payload_len != 0)
		return 0;
	return at;
}

bool ptnet_big_sent(struct sk_buff *skb)
{
	const struct jumbo_header *jumbo;
	struct ipv6hdr *ip;
	uint32_t at;
	uint8_t next;

	if (likely(skb->len <= ETH_MAX_MTU) || !NMK_JUMBO_OPTION)
		return true;
	at = big_ipv6_at(skb, sizeof(*jumbo));
	ip = (struct ipv6hdr *)(skb->data + at);
	jumbo = (const struct jumbo_header *)(ip + 1);
	if (at == 0 || ip->nexthdr != NEXTHDR_HOP || jumbo->len != 0 ||
		jumbo->option != IPV6_TLV_JUMBO)
		return true;
	next = jumbo->next;
	if (skb_cow_head(skb, 0) != 0)
		return false;
	memmove(skb->data + sizeof(*jumbo), skb->data, at + sizeof(*ip));
	__skb_pull(skb, sizeof(*jumbo));
	((struct ipv6hdr *)(skb->data + at))->nexthdr = next;
	skb_reset_mac_header(skb);
	skb_set_network_header(skb, (int)at);
	return true;
}

void ptnet_big_received(struct sk_buff *skb)
{
	struct jumbo_header *jumbo;
	struct ipv6hdr *ip;
	uint32_t at, front;

	if (likely(skb->len <= ETH_MAX_MTU) || !NMK_JUMBO_OPTION)
		return;
	at = big_ipv6_at(skb, 0);
	if (at == 0 || ((const struct ipv6hdr *)(skb->data + at))->nexthdr != NEXTHDR_TCP ||
		skb_headroom(skb) < sizeof(*jumbo))
		return;
	front = at + sizeof(*ip);
	skb_push(skb, sizeof(*jumbo));
	memmove(skb->data, skb->data + sizeof(*jumbo), front);
	ip = (struct ipv6hdr *)(skb->data + at);
	jumbo = (struct jumbo_header *)(ip + 1);
	*jumbo = (struct jumbo_header){
		.next = ip->nexthdr,
		.option = IPV6_TLV_JUMBO,
		.option_len = JUMBO_BYTES,
		.payload_len = htonl(skb->len - front),
	};
	ip->nexthdr = NEXTHDR_HOP;
	skb_reset_mac_header(skb);
	skb_set_network_header(skb, ETH_HLEN);
}
