/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lookup     hash, compare all entries of the bucket, age
 * learn      the common case, the very entry is there already (address, port, this epoch), takes no
 *            lock; else, under t->lock: sweep the slices that are due since the last epoch, find
 *            the address, or a place for it by the header's rules, and store the entry at once
 */
#include "mactable.h"

enum { SLICE = NM_MAC_ENTRIES / NM_MAC_SLICES };

/* An entry is NM_MAC_AGE epochs old when a sweep lets it stay, the next comes NM_MAC_SLICES later, and
 * this much after the last of all sweeps none is of use any more. */
static_assert(NM_MAC_AGE + NM_MAC_SLICES + NM_MAC_AGE < NM_MAC_FUTURE, "ages are ambiguous");

static_assert(NM_MAC_WAYS * sizeof(uint64_t) == 64, "a bucket is one cache line");

static uint64_t make_entry(uint64_t mac, uint32_t port, uint64_t epoch)
{
	return mac | (epoch & 0xff) << 8 | port;
}

/* That a place is in. */
static uint64_t *bucket_of(const struct nm_mactable *t, uint32_t place)
{
	return &t->entries[place & ~(uint32_t)(NM_MAC_WAYS - 1)];
}

int nm_mactable_init(struct nm_mactable *t)
{
	memset(t, 0, sizeof(*t));
	t->entries = os_table_alloc(NM_MAC_ENTRIES * sizeof(uint64_t));
	if (!t->entries)
		return -ENOMEM;
	os_random(t->key, sizeof(t->key));
	os_spin_init(&t->lock);
	OS_STORE(&t->swept, nm_mac_epoch(os_time_s()));
	return 0;
}

void nm_mactable_destroy(struct nm_mactable *t)
{
	os_table_free(t->entries);
	t->entries = NULL;
}

static inline uint64_t pick(uint64_t found, const uint64_t *place, uint64_t mac)
{
	uint64_t entry = OS_LOAD(place);

	return nm_mac_matches(entry, mac) ? entry : found;
}

static_assert(NM_MAC_WAYS == 8, "lookup knows how many");

/* All entries of the bucket are compared, without a branch that depends on which it is: with many addresses it
 * would be mispredicted. */
uint32_t nm_mactable_search(
	const struct nm_mactable *t, uint64_t mac, uint32_t place, uint64_t epoch)
{
	const uint64_t *bucket = bucket_of(t, place);
	uint64_t a = 0, b = 0;

	a = pick(a, &bucket[0], mac);
	b = pick(b, &bucket[1], mac);
	a = pick(a, &bucket[2], mac);
	b = pick(b, &bucket[3], mac);
	a = pick(a, &bucket[4], mac);
	b = pick(b, &bucket[5], mac);
	a = pick(a, &bucket[6], mac);
	b = pick(b, &bucket[7], mac);
	return nm_mactable_port_of(t, a ? a : b, epoch);
}

/* ---- changes, under t->lock ------------------------------------------------------------- */

static void set_entry(struct nm_mactable *t, uint64_t *place, uint64_t entry)
	OS_REQUIRES(MACTABLE_LOCK)
{
	uint64_t old = *place;

	nm_mactable_assert_locked(t);
	os_assert(old == 0 || t->counts[nm_mac_entry_port(old)] > 0);
	if (old != 0)
		t->counts[nm_mac_entry_port(old)]--;
	if (entry != 0)
		t->counts[nm_mac_entry_port(entry)]++;
	OS_STORE(place, entry);
}

/* One slice for each epoch since the last time. After a long pause that is the whole table. */
static void sweep(struct nm_mactable *t, uint64_t epoch) OS_REQUIRES(MACTABLE_LOCK)
{
	uint64_t from = t->swept;
	bool all = nm_mactable_all_too_old(t, epoch);

	if (epoch - from > NM_MAC_SLICES)
		from = epoch - NM_MAC_SLICES;
	while (from < epoch) {
		uint64_t *slice = &t->entries[++from % NM_MAC_SLICES * SLICE];

		for (uint32_t i = 0; i < SLICE; i++)
			if (slice[i] != 0 && (all || nm_mac_entry_is_old(slice[i], epoch)))
				set_entry(t, &slice[i], 0);
	}
	OS_STORE_RELEASE(&t->swept, epoch); /* until here no lookup trusts an older entry */
}

/* Which ports have a bucket. */
struct shares {
	uint32_t own, most;   /* entries of the newcomer's port, and of the one that has most */
	uint32_t largest;     /* that port */
	uint64_t *oldest_own; /* NULL: none */
	uint64_t *oldest_of_largest;
};

static uint64_t *oldest_of(uint64_t *bucket, uint32_t port, uint64_t epoch)
{
	uint64_t *oldest = NULL;

	for (int i = 0; i < NM_MAC_WAYS; i++)
		if (bucket[i] != 0 && nm_mac_entry_port(bucket[i]) == port &&
			(!oldest || nm_mac_entry_age(bucket[i], epoch) >
					    nm_mac_entry_age(*oldest, epoch)))
			oldest = &bucket[i];
	return oldest;
}

static struct shares scan_shares(uint64_t *bucket, uint32_t port, uint64_t epoch)
{
	struct shares s = {0};

	for (int i = 0; i < NM_MAC_WAYS; i++) {
		uint32_t other = nm_mac_entry_port(bucket[i]), count = 0;

		if (bucket[i] == 0)
			continue;
		for (int k = 0; k < NM_MAC_WAYS; k++)
			count += bucket[k] != 0 && nm_mac_entry_port(bucket[k]) == other;
		if (other == port)
			s.own = count;
		if (count > s.most) {
			s.most = count;
			s.largest = other;
		}
	}
	s.oldest_own = oldest_of(bucket, port, epoch);
	s.oldest_of_largest = oldest_of(bucket, s.largest, epoch);
	return s;
}

/* Place for an address that its bucket doesn't have, the first of its choice if that is free; or NULL: it can't be learnt. */
static uint64_t *find_place(struct nm_mactable *t, uint64_t *first, uint32_t port, uint64_t epoch)
	OS_REQUIRES(MACTABLE_LOCK)
{
	uint64_t *bucket = bucket_of(t, (uint32_t)(first - t->entries)), *empty = NULL;
	struct shares s;

	for (int i = 0; i < NM_MAC_WAYS; i++) {
		if (bucket[i] != 0 && nm_mac_entry_is_old(bucket[i], epoch))
			set_entry(t, &bucket[i], 0);
		if (bucket[i] == 0 && !empty)
			empty = &bucket[i];
	}
	if (t->counts[port] >= NM_MAC_PORT_MAX)
		return oldest_of(bucket, port, epoch);
	if (empty)
		return *first == 0 ? first : empty;
	s = scan_shares(bucket, port, epoch);
	return s.most >= s.own + 2 ? s.oldest_of_largest : s.oldest_own;
}

static void learn_locked(struct nm_mactable *t, uint64_t mac, uint32_t port, uint64_t epoch)
	OS_REQUIRES(MACTABLE_LOCK)
{
	uint32_t first = nm_mac_place(t, mac);
	uint64_t *bucket = bucket_of(t, first), *place = NULL;

	if (t->swept < epoch)
		sweep(t, epoch);
	for (int i = 0; i < NM_MAC_WAYS && !place; i++)
		if (bucket[i] != 0 && (bucket[i] & NM_MAC_MASK) == mac)
			place = &bucket[i];
	if (place && nm_mac_entry_port(*place) != port && t->counts[port] >= NM_MAC_PORT_MAX)
		return; /* it may move here only if the port may have it */
	if (!place)
		place = find_place(t, &t->entries[first], port, epoch);
	if (place)
		set_entry(t, place, make_entry(mac, port, epoch));
}

void nm_mactable_learn(struct nm_mactable *t, uint64_t mac, uint32_t port, uint64_t epoch)
{
	const uint64_t *bucket = bucket_of(t, nm_mac_place(t, mac));
	uint64_t entry = make_entry(mac, port, epoch);

	if (likely(OS_LOAD(&t->swept) >= epoch))
		for (int i = 0; i < NM_MAC_WAYS; i++)
			if (OS_LOAD(&bucket[i]) == entry)
				return; /* known and fresh */
	nm_mactable_lock(t);
	learn_locked(t, mac, port, epoch);
	nm_mactable_unlock(t);
}

/* A slice at a time, so that no thread that learns waits long. */
void nm_mactable_forget_port(struct nm_mactable *t, uint32_t port)
{
	for (uint32_t from = 0; from < NM_MAC_ENTRIES; from += SLICE) {
		bool more;

		nm_mactable_lock(t);
		more = t->counts[port] > 0;
		for (uint32_t i = from; more && i < from + SLICE; i++)
			if (t->entries[i] != 0 && nm_mac_entry_port(t->entries[i]) == port)
				set_entry(t, &t->entries[i], 0);
		nm_mactable_unlock(t);
		if (!more)
			break;
	}
}

void nm_mactable_flush(struct nm_mactable *t)
{
	for (uint32_t from = 0; from < NM_MAC_ENTRIES; from += SLICE) {
		nm_mactable_lock(t);
		for (uint32_t i = from; i < from + SLICE; i++)
			if (t->entries[i] != 0)
				set_entry(t, &t->entries[i], 0);
		nm_mactable_unlock(t);
	}
}

bool nm_mactable_next(const struct nm_mactable *t, uint64_t epoch, uint64_t *pos, uint64_t *mac,
	uint32_t *port, uint32_t *age)
{
	if (nm_mactable_all_too_old(t, epoch))
		return false;
	while (*pos < NM_MAC_ENTRIES) {
		uint64_t entry = OS_LOAD(&t->entries[(*pos)++]);

		if (entry == 0 || nm_mac_entry_is_old(entry, epoch))
			continue;
		*mac = entry & NM_MAC_MASK;
		*port = nm_mac_entry_port(entry);
		*age = nm_mac_entry_age(entry, epoch);
		return true;
	}
	return false;
}

uint32_t nm_mactable_count(const struct nm_mactable *t, uint64_t epoch)
{
	uint32_t count = 0, port, age;
	uint64_t pos = 0, mac;

	while (nm_mactable_next(t, epoch, &pos, &mac, &port, &age))
		count++;
	return count;
}
