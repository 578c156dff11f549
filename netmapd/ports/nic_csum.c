/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Headers are read once, into private memory, and lengths are checked there. What is not plain (fragments, extension headers of
 * IPv6) has no unfinished checksum, or is left alone.
 */
#include "nic_csum.h"

#include <string.h>

#include "checksum.h"

enum {
	ETH_HEADER = 14,
	VLAN_TAG = 4,
	IP4_HEADER = 20,
	IP6_HEADER = 40,
	TCP = 6,
	UDP = 17,
};

/* Where the parts of a packet are, bytes from its start. */
struct layout {
	uint8_t protocol;
	uint32_t addresses, addresses_len; /* of IP */
	uint32_t start, len; /* from the TCP or UDP header to the end of the datagram */
};

static uint32_t word(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static bool read_ip4(const uint8_t *frame, uint32_t at, uint32_t len, struct layout *l)
{
	uint8_t ip[IP4_HEADER];
	uint32_t header, total;

	if (len - at < sizeof(ip))
		return false;
	memcpy(ip, frame + at, sizeof(ip));
	header = (ip[0] & 15) * 4;
	total = word(ip + 2);
	if (ip[0] >> 4 != 4 || header < sizeof(ip) || total < header || total > len - at)
		return false;
	if (word(ip + 6) & 0x3fff) /* a fragment */
		return false;
	*l = (struct layout){ip[9], at + 12, 8, at + header, total - header};
	return true;
}

static bool read_ip6(const uint8_t *frame, uint32_t at, uint32_t len, struct layout *l)
{
	uint8_t ip[IP6_HEADER];
	uint32_t payload;

	if (len - at < sizeof(ip))
		return false;
	memcpy(ip, frame + at, sizeof(ip));
	payload = word(ip + 4);
	if (ip[0] >> 4 != 6 || payload > len - at - sizeof(ip))
		return false;
	*l = (struct layout){ip[6], at + 8, 32, at + IP6_HEADER, payload};
	return true;
}

static bool read_layout(const uint8_t *frame, uint32_t len, struct layout *l)
{
	uint32_t at = ETH_HEADER, type;

	if (len < ETH_HEADER)
		return false;
	type = word(frame + at - 2);
	for (int tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8); tags++) {
		if (len - at < VLAN_TAG)
			return false;
		at += VLAN_TAG;
		type = word(frame + at - 2);
	}
	if (type == 0x0800)
		return read_ip4(frame, at, len, l);
	return type == 0x86dd && read_ip6(frame, at, len, l);
}

/* Of the pseudo header, as the sender's stack left it in the field: not complemented. */
static uint16_t pseudo_sum(const uint8_t *frame, const struct layout *l, struct nm_sum *sum)
{
	const uint8_t rest[4] = {0, l->protocol, (uint8_t)(l->len >> 8), (uint8_t)l->len};

	nm_sum_add(sum, frame + l->addresses, l->addresses_len);
	nm_sum_add(sum, rest, sizeof(rest));
	return nm_sum_fold(sum);
}

bool nic_complete_checksum(uint8_t *frame, uint32_t len)
{
	struct nm_sum sum = {0};
	uint32_t field, least;
	struct layout l;
	uint16_t there;

	if (!read_layout(frame, len, &l) || (l.protocol != TCP && l.protocol != UDP))
		return false;
	least = l.protocol == TCP ? 20 : 8;
	if (l.len < least)
		return false;
	field = l.start + (l.protocol == TCP ? 16 : 6);
	memcpy(&there, frame + field, sizeof(there));
	if (there != pseudo_sum(frame, &l, &sum))
		return false;
	there = 0;
	memcpy(frame + field, &there, sizeof(there));
	nm_sum_add(&sum, frame + l.start, l.len);
	there = nm_sum_finish(&sum);
	memcpy(frame + field, &there, sizeof(there));
	return true;
}
