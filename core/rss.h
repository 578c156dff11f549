/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rss.h - receive-side scaling: which ring of a port a packet comes to, by its addresses.
 *
 *      packet --> Toeplitz hash of addresses and ports --> low 7 bits --> table --> ring
 *                        ^ key                                             ^
 *                        +------------- set by the port's user ------------+
 *
 * What is hashed, in the order of the packet: source and destination address of IPv4 or IPv6, and source and destination
 * port of a TCP or UDP packet that is not a fragment and has no IPv6 extension headers. One or two VLAN tags are skipped.
 * What is not IP has the hash 0.
 *
 * How: the hash is linear, so each half byte of the input has its part of it, which is looked up.
 *
 * Thread safety: one thread at a time sets a struct nm_rss, while any number of others take hashes of packets: who does so
 * meanwhile has a hash of the old key, the new one, or of both, and in any case a ring of the old table or the new one.
 * Packets are private copies.
 */
#ifndef CORE_RSS_H
#define CORE_RSS_H

#include "os.h"

enum {
	NM_RSS_KEY_LEN = 40,    /* bytes */
	NM_RSS_TABLE_LEN = 128, /* entries; a power of two */
	NM_RSS_INPUT_MAX = 36,  /* bytes: two IPv6 addresses, two ports */
	/* Bytes of a packet that can matter: Ethernet, two tags, the longest IPv4 header, ports. */
	NM_RSS_HEAD_MAX = 14 + 8 + 60 + 4,
};

/* As the user sets it. */
struct nm_rss_config {
	uint8_t key[NM_RSS_KEY_LEN];
	uint8_t table
		[NM_RSS_TABLE_LEN]; /* rx ring of the port for each value of the hash's low bits */
};

struct nm_rss {
	struct nm_rss_config config;
	uint32_t part[2 * NM_RSS_INPUT_MAX][16]; /* of each half byte of the input, by its value */
};

/* Whether each entry of the table is below `rings` is for the caller to see to. */
/* It was zero, or set, before. */
void nm_rss_set(struct nm_rss *rss, const struct nm_rss_config *config);

/* Toeplitz hash of at most NM_RSS_INPUT_MAX bytes. */
uint32_t nm_rss_toeplitz(const struct nm_rss *rss, const uint8_t *input, uint32_t len);

/* Hash of a packet whose first bytes, from the Ethernet header on, are these: as many as there are, or NM_RSS_HEAD_MAX. */
uint32_t nm_rss_hash(const struct nm_rss *rss, const uint8_t *head, uint32_t len);

static inline uint32_t nm_rss_ring(const struct nm_rss *rss, const uint8_t *head, uint32_t len)
{
	return OS_LOAD(&rss->config.table[nm_rss_hash(rss, head, len) % NM_RSS_TABLE_LEN]);
}

#endif
