/* SPDX-License-Identifier: BSD-2-Clause */
#include "mactable.h"

enum {
	MAC_ENTRIES = NM_MAC_WAYS << NM_MAC_BUCKETS_LOG2,
	SWEEP_EPOCHS =
		64,   /* with NM_MAC_AGE well below the 256 that the epoch of an entry counts */
	FUTURE = 240, /* an age that no entry reaches before it is swept */
};

/* At a sweep nothing older stays; the next comes, or none is of use any more, this much later. */
static_assert(NM_MAC_AGE + SWEEP_EPOCHS + NM_MAC_AGE < FUTURE, "ages are ambiguous");

static_assert(NM_MAC_WAYS * sizeof(uint64_t) == 64, "a bucket is one cache line");

#define MAC_MASK 0xffffffffffff0000ULL

static uint64_t make_entry(uint64_t mac, uint32_t port, uint64_t epoch)
{
	return mac | (epoch & 0xff) << 8 | port;
}

/* Epochs since the entry was last seen, as far as 8 bits tell. A thread that read the clock
 * before the learner did sees an entry of the future: it is fresh. */
static uint32_t entry_age(uint64_t entry, uint64_t epoch)
{
	uint32_t age = (uint8_t)(epoch - (entry >> 8));

	return age >= FUTURE ? 0 : age;
}

/* Epochs since the last sweep; 0 for a thread that read the clock before the sweeper did. */
static uint64_t since_sweep(const struct nm_mactable *t, uint64_t epoch)
{
	uint64_t swept = OS_LOAD_ACQUIRE(&t->swept); /* pairs with the one in sweep() */

	return epoch > swept ? epoch - swept : 0;
}

/*
 * Learning sweeps every SWEEP_EPOCHS, so nothing was learnt later than that after the last
 * sweep: after a longer pause all entries are too old, whatever their 8 bits say.
 */
static bool all_too_old(const struct nm_mactable *t, uint64_t epoch)
{
	return since_sweep(t, epoch) > SWEEP_EPOCHS + NM_MAC_AGE;
}

int nm_mactable_init(struct nm_mactable *t)
{
	t->entries = os_zalloc(MAC_ENTRIES * sizeof(uint64_t));
	if (!t->entries)
		return -ENOMEM;
	os_random(t->key, sizeof(t->key));
	t->swept = nm_mac_epoch(os_time_s());
	return 0;
}

void nm_mactable_destroy(struct nm_mactable *t)
{
	os_free(t->entries);
	t->entries = NULL;
}

uint32_t nm_mactable_lookup(const struct nm_mactable *t, uint64_t mac, uint64_t epoch)
{
	const uint64_t *bucket = &t->entries[nm_mac_bucket(t, mac)];

	for (int i = 0; i < NM_MAC_WAYS; i++) {
		uint64_t entry = OS_LOAD(&bucket[i]);

		if ((entry & MAC_MASK) == mac && entry != 0)
			return entry_age(entry, epoch) <= NM_MAC_AGE && !all_too_old(t, epoch)
				       ? entry & 0xff
				       : NM_MAC_NONE;
	}
	return NM_MAC_NONE;
}

static void sweep(struct nm_mactable *t, uint64_t epoch)
{
	bool all = all_too_old(t, epoch);

	if (!all)
		OS_STORE(&t->swept, epoch); /* the others needn't sweep as well */
	for (size_t i = 0; i < MAC_ENTRIES; i++) {
		uint64_t entry = OS_LOAD(&t->entries[i]);

		if (entry != 0 && (all || entry_age(entry, epoch) > NM_MAC_AGE))
			OS_STORE(&t->entries[i], 0);
	}
	OS_STORE_RELEASE(&t->swept, epoch); /* until here nobody trusts an entry of before */
}

void nm_mactable_learn(struct nm_mactable *t, uint64_t mac, uint32_t port, uint64_t epoch)
{
	uint64_t *bucket = &t->entries[nm_mac_bucket(t, mac)];
	uint64_t new_entry = make_entry(mac, port, epoch);
	uint64_t *oldest = bucket;
	uint32_t oldest_age = 0;

	if (unlikely(since_sweep(t, epoch) >= SWEEP_EPOCHS))
		sweep(t, epoch);
	for (int i = 0; i < NM_MAC_WAYS; i++) {
		uint64_t entry = OS_LOAD(&bucket[i]);
		uint32_t age = entry == 0 ? 256 : entry_age(entry, epoch);

		if ((entry & MAC_MASK) == mac && entry != 0) {
			if (entry !=
				new_entry) /* no write for an address that is known and fresh */
				OS_STORE(&bucket[i], new_entry);
			return;
		}
		if (age > oldest_age) {
			oldest_age = age;
			oldest = &bucket[i];
		}
	}
	OS_STORE(oldest, new_entry);
}

void nm_mactable_forget_port(struct nm_mactable *t, uint32_t port)
{
	for (size_t i = 0; i < MAC_ENTRIES; i++) {
		uint64_t entry = OS_LOAD(&t->entries[i]);

		if (entry != 0 && (entry & 0xff) == port)
			OS_STORE(&t->entries[i], 0);
	}
}

uint32_t nm_mactable_count(const struct nm_mactable *t, uint64_t epoch)
{
	uint32_t count = 0;

	if (all_too_old(t, epoch))
		return 0;
	for (size_t i = 0; i < MAC_ENTRIES; i++) {
		uint64_t entry = OS_LOAD(&t->entries[i]);

		if (entry != 0 && entry_age(entry, epoch) <= NM_MAC_AGE)
			count++;
	}
	return count;
}
