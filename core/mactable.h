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
 * for NM_MAC_AGE epochs after it was last seen as a source. Learning removes old entries before
 * the epoch wraps: in each epoch it looks at one of NM_MAC_SLICES slices of the table.
 *
 * The hash is keyed at random, so that a guest can't aim at one bucket. Within its bucket an address has a first
 * way, which it gets when that is empty: there it is looked for first. Nearly all are there.
 *
 * No port pushes out the others, however many addresses it shows:
 *
 *      a port has at most NM_MAC_PORT_MAX addresses; with more, a new one takes the place of
 *              another one of its own, or is not learnt
 *      in a full bucket the place comes from the port that has most of it, as long as that
 *              has at least two more than the newcomer; else from the newcomer's own, if
 *              it has some; else the address is not learnt, and its packets go to all ports
 *
 * Thread safety: lookup, count and list from any number of threads at a time, without a lock.
 * learn: any number of threads; without a lock where the address is known and fresh, else under
 * t->lock, which serialises all changes. forget_port: any thread, while no thread learns for that
 * port; lookups may find its addresses until it returns. flush: any thread.
 */
#ifndef CORE_MACTABLE_H
#define CORE_MACTABLE_H

#include "locks.h"
#include "os.h"

enum {
	NM_MAC_EPOCH_S = 4, /* seconds */
	NM_MAC_AGE = 75,    /* epochs: 300 s */
	NM_MAC_WAYS_LOG2 = 3,
	NM_MAC_WAYS = 1 << NM_MAC_WAYS_LOG2, /* entries per bucket */
	NM_MAC_BUCKETS_LOG2 = OS_MAC_BUCKETS_LOG2,
	NM_MAC_ENTRIES = NM_MAC_WAYS << NM_MAC_BUCKETS_LOG2, /* 262144: 2 MiB */
	NM_MAC_PORT_MAX = NM_MAC_ENTRIES / 2,
	NM_MAC_SLICES = 64,
	NM_MAC_NONE = 0xff,  /* no such address; ports are 0 to 253 */
	NM_MAC_FUTURE = 240, /* an age that no entry reaches before it is swept */
};

#define NM_MAC_MASK 0xffffffffffff0000ULL /* of an entry: its address */

struct nm_mactable {
	uint64_t *entries OS_PT_GUARDED_BY(MACTABLE_LOCK); /* NM_MAC_ENTRIES, cache line aligned */
	uint64_t key[2];
	/* Epoch up to which slices were swept, not modulo 256: nothing was learnt later. */
	uint64_t swept OS_GUARDED_BY(MACTABLE_LOCK);
	struct os_spin lock;
	/* Entries per port, also those that are too old. */
	uint32_t counts[NM_MAC_NONE + 1] OS_GUARDED_BY(MACTABLE_LOCK);
};

static inline void nm_mactable_lock(struct nm_mactable *t) OS_LOCKS(MACTABLE_LOCK)
{
	os_spin_lock(&t->lock);
}

static inline void nm_mactable_assert_locked(const struct nm_mactable *t)
	OS_ASSERTS_HELD(MACTABLE_LOCK)
{
	os_assert_held(&t->lock);
}

static inline void nm_mactable_unlock(struct nm_mactable *t) OS_UNLOCKS(MACTABLE_LOCK)
{
	os_spin_unlock(&t->lock);
}

int nm_mactable_init(struct nm_mactable *t); /* -ENOMEM */
void nm_mactable_destroy(struct nm_mactable *t);

/* A word of memory whose first byte counts most. */
static inline uint64_t nm_mac_word(uint64_t word)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(word) : word;
}

/* An address as in the table: its 6 bytes in the upper 48 bits of a word. */
static inline uint64_t nm_mac_load(const uint8_t *mac)
{
	return (uint64_t)mac[0] << 56 | (uint64_t)mac[1] << 48 | (uint64_t)mac[2] << 40 |
	       (uint64_t)mac[3] << 32 | (uint64_t)mac[4] << 24 | (uint64_t)mac[5] << 16;
}

/* The two addresses at the beginning of an Ethernet header as they lie there: bytes 0 to 7, and 4 to 11. */
struct nm_mac_pair {
	uint64_t first, second;
};

/* Each word is loaded once. */
static inline struct nm_mac_pair nm_mac_pair_load(const void *eth)
{
	struct nm_mac_pair pair;

	memcpy(&pair.first, eth, 8);
	memcpy(&pair.second, (const char *)eth + 4, 8);
	return pair;
}

static inline bool nm_mac_pair_equal(struct nm_mac_pair a, struct nm_mac_pair b)
{
	return a.first == b.first && a.second == b.second;
}

static inline bool nm_mac_pair_equal_src(struct nm_mac_pair a, struct nm_mac_pair b)
{
	return ((a.second ^ b.second) & nm_mac_word(0xffffffffffffULL)) == 0;
}

static inline uint64_t nm_mac_pair_dst(struct nm_mac_pair pair)
{
	return nm_mac_word(pair.first) & ~0xffffULL;
}

static inline uint64_t nm_mac_pair_src(struct nm_mac_pair pair)
{
	return nm_mac_word(pair.second) << 16;
}

/* Both, as in the table: 12 bytes are loaded. */
static inline void nm_mac_load_both(const void *eth, uint64_t *dst, uint64_t *src)
{
	struct nm_mac_pair pair = nm_mac_pair_load(eth);

	*dst = nm_mac_pair_dst(pair);
	*src = nm_mac_pair_src(pair);
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

/* Where an address is looked for first: number of an entry, in its bucket. A keyed multiplicative hash. */
static inline uint32_t nm_mac_place(const struct nm_mactable *t, uint64_t mac)
{
	uint64_t h = (mac ^ t->key[0]) * (t->key[1] | 1);

	h ^= h >> 29;
	h *= 0x9e3779b97f4a7c15ULL;
	return (uint32_t)(h >> (64 - NM_MAC_BUCKETS_LOG2 - NM_MAC_WAYS_LOG2));
}

/* The same for an address that will be looked up soon: its bucket is on its way to the cache from here on. */
static inline uint32_t nm_mac_place_ahead(const struct nm_mactable *t, uint64_t mac)
{
	uint32_t place = nm_mac_place(t, mac);

	os_prefetch(&t->entries[place]);
	return place;
}

static inline uint32_t nm_mac_entry_port(uint64_t entry)
{
	return entry & 0xff;
}

/* Epochs since the entry was last seen, as far as 8 bits tell. A thread that read the clock
 * before the learner did sees an entry of the future: it is fresh. */
static inline uint32_t nm_mac_entry_age(uint64_t entry, uint64_t epoch)
{
	uint32_t age = (uint8_t)(epoch - (entry >> 8));

	return age >= NM_MAC_FUTURE ? 0 : age;
}

/* Was it seen last too long ago? One comparison: the ages of the future come first. */
static inline bool nm_mac_entry_is_old(uint64_t entry, uint64_t epoch)
{
	const uint32_t future = 256 - NM_MAC_FUTURE;

	return (uint8_t)(epoch - (entry >> 8) + future) > NM_MAC_AGE + future;
}

/*
 * Learning sweeps before it learns, so nothing was learnt later than the last sweep: after a
 * pause all entries are too old, whatever their 8 bits say. Never for a thread that read the clock
 * before the sweeper did.
 */
static inline bool nm_mactable_all_too_old(const struct nm_mactable *t, uint64_t epoch)
{
	uint64_t swept = OS_LOAD_ACQUIRE(&t->swept); /* pairs with the one in sweep() */

	return epoch > swept && epoch - swept > NM_MAC_AGE;
}

/* Port of an entry as it was loaded, or NM_MAC_NONE: it is empty, or too old. */
static inline uint32_t nm_mactable_port_of(
	const struct nm_mactable *t, uint64_t entry, uint64_t epoch)
{
	if (unlikely(entry == 0) || unlikely(nm_mac_entry_is_old(entry, epoch)) ||
		unlikely(nm_mactable_all_too_old(t, epoch)))
		return NM_MAC_NONE;
	return nm_mac_entry_port(entry);
}

/* Is it the entry of this address? */
static inline bool nm_mac_matches(uint64_t entry, uint64_t mac)
{
	return (entry ^ mac) <= ~NM_MAC_MASK;
}

/* For nm_mactable_lookup(): in all ways of the bucket. */
uint32_t nm_mactable_search(
	const struct nm_mactable *t, uint64_t mac, uint32_t place, uint64_t epoch);

/*
 * Port of the address whose nm_mac_place() this is, or NM_MAC_NONE, as for all group addresses. Most are found in their first
 * way, so the branch is predicted.
 */
static inline uint32_t nm_mactable_lookup(
	const struct nm_mactable *t, uint64_t mac, uint32_t place, uint64_t epoch)
{
	uint64_t entry = OS_LOAD(&t->entries[place]);

	if (likely(nm_mac_matches(entry, mac)))
		return nm_mactable_port_of(t, entry, epoch);
	return nm_mac_is_group(mac) ? NM_MAC_NONE : nm_mactable_search(t, mac, place, epoch);
}

/*
 * The same in a third of the instructions for nearly all: NM_MAC_NONE says only that it is to be looked up. For many addresses in
 * one epoch, of which nm_mactable_all_too_old() is asked before. An entry that differs from its address by 0 is of epoch 0 and
 * port 0, or none at all.
 */
static inline uint32_t nm_mactable_peek(
	const struct nm_mactable *t, uint64_t mac, uint32_t place, uint64_t epoch)
{
	uint64_t rest =
		OS_LOAD(&t->entries[place]) ^ mac; /* below 1 << 16: the entry's epoch and port */

	if (unlikely(rest - 1 >= ~NM_MAC_MASK) || unlikely(nm_mac_entry_is_old(rest, epoch)))
		return NM_MAC_NONE;
	return nm_mac_entry_port(rest);
}

/* `mac` (unicast, not 0) was seen as a source at `port`. */
void nm_mactable_learn(struct nm_mactable *t, uint64_t mac, uint32_t port, uint64_t epoch);

/* Removes all addresses of a port that leaves. */
void nm_mactable_forget_port(struct nm_mactable *t, uint32_t port);

/* Removes all addresses. */
void nm_mactable_flush(struct nm_mactable *t);

/* Addresses that are of use now. Walks the whole table. */
uint32_t nm_mactable_count(const struct nm_mactable *t, uint64_t epoch);

/* The next address that is of use now, from entry *pos on; *pos is moved behind it. False: none. */
bool nm_mactable_next(const struct nm_mactable *t, uint64_t epoch, uint64_t *pos, uint64_t *mac,
	uint32_t *port, uint32_t *age);

#endif
