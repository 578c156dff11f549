/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mactable.h - the address table of a switch: Ethernet address -> port number.
 *
 * A hash table of buckets of one cache line, eight entries each. An entry is one
 * 64-bit word, so it is read and written at once and no reader needs a lock:
 *
 *      63                          16 15        8 7         0
 *      +-----------------------------+-----------+-----------+
 *      | Ethernet address (48 bits)  | epoch     | port      |     0 is an empty entry
 *      +-----------------------------+-----------+-----------+
 *
 * The epoch counts units of NM_MAC_EPOCH_S seconds, modulo 256; an entry is of use
 * for NM_MAC_AGE epochs after it was last seen as a source. A sweep, which learning
 * does at most once per epoch, removes what is older before the epoch wraps.
 *
 * The hash is keyed at random, so that a guest can't aim at one bucket. A full
 * bucket gives up its oldest entry.
 *
 * Thread safety: lookup and learn from any number of threads at a time; two that learn
 * into one entry at once: one wins, which is as if the other's packet had come first.
 * forget_port: any thread, no concurrent learning for that port.
 */
#ifndef CORE_MACTABLE_H
#define CORE_MACTABLE_H

#include "os.h"

enum {
	NM_MAC_EPOCH_S = 4, /* seconds */
	NM_MAC_AGE = 75,    /* epochs: 300 s */
	NM_MAC_WAYS = 8,    /* entries per bucket */
	NM_MAC_BUCKETS_LOG2 = 15,
	NM_MAC_NONE = 0xff, /* no such address; ports are 0 to 253 */
};

struct nm_mactable {
	uint64_t *entries; /* NM_MAC_WAYS << NM_MAC_BUCKETS_LOG2, cache line aligned */
	uint64_t key[2];
	uint64_t swept; /* epoch of the last sweep, not modulo 256 */
};

int nm_mactable_init(struct nm_mactable *t); /* -ENOMEM */
void nm_mactable_destroy(struct nm_mactable *t);

/* An address as in the table: its 6 bytes in the upper 48 bits of a word. */
static inline uint64_t nm_mac_load(const uint8_t *mac)
{
	return (uint64_t)mac[0] << 56 | (uint64_t)mac[1] << 48 | (uint64_t)mac[2] << 40 |
	       (uint64_t)mac[3] << 32 | (uint64_t)mac[4] << 24 | (uint64_t)mac[5] << 16;
}

static inline bool nm_mac_is_group(uint64_t mac)
{
	return (mac >> 56) & 1;
}

/* `now_s` is os_time_s(). */
static inline uint64_t nm_mac_epoch(uint64_t now_s)
{
	return now_s / NM_MAC_EPOCH_S;
}

/* Keyed multiplicative hash, reduced to the index of a bucket's first entry. */
static inline size_t nm_mac_bucket(const struct nm_mactable *t, uint64_t mac)
{
	uint64_t h = (mac ^ t->key[0]) * (t->key[1] | 1);

	h ^= h >> 29;
	h *= 0x9e3779b97f4a7c15ULL;
	return (size_t)(h >> (64 - NM_MAC_BUCKETS_LOG2)) * NM_MAC_WAYS;
}

/* Starts loading the bucket of an address. */
static inline void nm_mactable_prefetch(const struct nm_mactable *t, uint64_t mac)
{
	os_prefetch(&t->entries[nm_mac_bucket(t, mac)]);
}

/* Port of a unicast address, or NM_MAC_NONE. */
uint32_t nm_mactable_lookup(const struct nm_mactable *t, uint64_t mac, uint64_t epoch);

/* `mac` (unicast, not 0) was seen as a source at `port`. */
void nm_mactable_learn(struct nm_mactable *t, uint64_t mac, uint32_t port, uint64_t epoch);

/* Removes all addresses of a port that leaves. */
void nm_mactable_forget_port(struct nm_mactable *t, uint32_t port);

/* Addresses that are of use now. Walks the whole table. */
uint32_t nm_mactable_count(const struct nm_mactable *t, uint64_t epoch);

#endif
