/* SPDX-License-Identifier: BSD-2-Clause */
#include "rss.h"

enum {
	ETH_HEADER = 14,
	ETH_TYPE_AT = 12,
	VLAN_TAG = 4,
	VLAN_TAGS_MAX = 2,
	TYPE_IPV4 = 0x0800,
	TYPE_IPV6 = 0x86dd,
	TYPE_VLAN = 0x8100,
	TYPE_QINQ = 0x88a8,
	IPV4_HEADER = 20,       /* without options */
	IPV4_FRAGMENT = 0x3fff, /* offset, and more to come */
	IPV6_HEADER = 40,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PORTS = 4,
};

/* ---- the hash ---------------------------------------------------------------------------- */

/* 32 bits of the key, from a bit of it on; bit 0 is the highest of the first byte. */
static uint32_t key_window(const uint8_t *key, uint32_t bit)
{
	uint64_t five = 0;

	for (uint32_t i = 0; i < 5; i++)
		five = five << 8 | key[bit / 8 + i];
	return (uint32_t)(five >> (8 - bit % 8));
}

static_assert(NM_RSS_INPUT_MAX - 1 + 5 <= NM_RSS_KEY_LEN, "a window never ends behind the key");

/* Of each value of a half byte: a single bit's is the key from there on, and that of others is the sum of theirs. */
static void fill_part(uint32_t part[16], const uint8_t *key, uint32_t half)
{
	for (uint32_t value = 1; value < 16; value++) {
		uint32_t bit = (uint32_t)__builtin_ctz(value), rest = value & (value - 1);

		OS_STORE(&part[value], rest ? part[rest] ^ part[value ^ rest]
					    : key_window(key, 4 * half + 3 - bit));
	}
}

void nm_rss_set(struct nm_rss *rss, const struct nm_rss_config *config)
{
	memcpy(rss->config.key, config->key, sizeof(config->key));
	for (uint32_t i = 0; i < NM_RSS_TABLE_LEN; i++)
		OS_STORE(&rss->config.table[i], config->table[i]);
	for (uint32_t half = 0; half < 2 * NM_RSS_INPUT_MAX; half++)
		fill_part(rss->part[half], config->key, half);
}

uint32_t nm_rss_toeplitz(const struct nm_rss *rss, const uint8_t *input, uint32_t len)
{
	const uint32_t(*part)[16] = rss->part;
	uint32_t hash = 0;

	os_assert(len <= NM_RSS_INPUT_MAX);
	for (uint32_t i = 0; i < len; i++, part += 2)
		hash ^= OS_LOAD(&part[0][input[i] >> 4]) ^ OS_LOAD(&part[1][input[i] & 15]);
	return hash;
}

/* ---- what is hashed ------------------------------------------------------------------------ */

static uint32_t load16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/* Addresses, and the ports behind the header if it has some that are there. */
static uint32_t hash_flow(
	const struct nm_rss *rss, const uint8_t *addresses, uint32_t len, const uint8_t *ports)
{
	uint8_t input[NM_RSS_INPUT_MAX];

	memcpy(input, addresses, len);
	if (ports)
		memcpy(input + len, ports, PORTS);
	return nm_rss_toeplitz(rss, input, ports ? len + PORTS : len);
}

static uint32_t hash_ipv4(const struct nm_rss *rss, const uint8_t *ip, uint32_t len)
{
	uint32_t header = 4 * (ip[0] & 15U);
	bool ports = (ip[9] == PROTO_TCP || ip[9] == PROTO_UDP) &&
		     !(load16(ip + 6) & IPV4_FRAGMENT) && header >= IPV4_HEADER &&
		     len >= header + PORTS;

	return hash_flow(rss, ip + 12, 8, ports ? ip + header : NULL);
}

static uint32_t hash_ipv6(const struct nm_rss *rss, const uint8_t *ip, uint32_t len)
{
	bool ports = (ip[6] == PROTO_TCP || ip[6] == PROTO_UDP) && len >= IPV6_HEADER + PORTS;

	return hash_flow(rss, ip + 8, 32, ports ? ip + IPV6_HEADER : NULL);
}

uint32_t nm_rss_hash(const struct nm_rss *rss, const uint8_t *head, uint32_t len)
{
	uint32_t at = ETH_HEADER, type;

	if (len < ETH_HEADER)
		return 0;
	type = load16(head + ETH_TYPE_AT);
	for (int tags = 0; tags < VLAN_TAGS_MAX && (type == TYPE_VLAN || type == TYPE_QINQ) &&
			   len >= at + VLAN_TAG;
		tags++) {
		type = load16(head + at + 2);
		at += VLAN_TAG;
	}
	if (type == TYPE_IPV4 && len >= at + IPV4_HEADER && head[at] >> 4 == 4)
		return hash_ipv4(rss, head + at, len - at);
	if (type == TYPE_IPV6 && len >= at + IPV6_HEADER && head[at] >> 4 == 6)
		return hash_ipv6(rss, head + at, len - at);
	return 0;
}
