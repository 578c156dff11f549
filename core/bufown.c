/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map of owners of a region. Each pool has an array of owners, by index, and a stack of the free
 * indices; all arrays are one table. What was never given out is in neither, so that a new map costs nothing
 * however large it is.
 *
 *   exchange    finds in the references of each owner the next one that the other has, and swaps the two
 *   reconcile   marks what the owner references, takes what is another's of it, and gives for it the next buffer of the owner's
 *               list that has no mark. The lists of all owners come from one walk over the map, for all reconciles of a pass
 *   repair      marks what rings that stay reference, then the good slots of the others; bad slots get
 *               number 0, and, in a second walk, the next buffer of the owner that has no mark
 */
#include "bufown.h"
#include "ring.h"

/* One pool. */
struct map {
	uint32_t *owner OS_PT_GUARDED_BY(NM_CORE_LOCK); /* per object */
	/* Stack of free indices below `fresh`. */
	uint32_t *free OS_PT_GUARDED_BY(NM_CORE_LOCK);
	uint32_t num_free OS_GUARDED_BY(NM_CORE_LOCK);
	uint32_t fresh OS_GUARDED_BY(
		NM_CORE_LOCK); /* all from here on are free, and never were given out */
	uint32_t promised OS_GUARDED_BY(NM_CORE_LOCK); /* of the free ones */
	uint32_t count;
};

/* An owner's list. */
struct head {
	uint32_t owner, first;
};

/*
 * Who has which buffers. They may have changed hands since they were listed: the map tells. What is listed of an owner is
 * looked at once, so he can have one reconcile.
 */
struct lists {
	bool tried;
	uint32_t *next;      /* per buffer: the next one of the list, or 0. NULL: no memory */
	struct head *head;   /* a hash table */
	uint32_t bits, used; /* it has 1 << bits places */
	uint64_t key;        /* whoever chooses numbers of owners can't choose their places */
	uint64_t *marks;     /* a bit per buffer; between two reconciles all are 0 */
};

struct nm_bufown {
	struct map map[NM_POOLS];
	struct nm_run part; /* buffers of a foreign region that are set aside for this side */
	bool in_pass;
	struct lists lists;
};

static uint32_t first_index(enum nm_pool pool)
{
	return pool == NM_POOL_BUF ? NM_BUFS_RESERVED : 0;
}

/* ---- making maps --------------------------------------------------------------------------- */

/* In one piece: both arrays of each pool. */
static struct nm_bufown *make_maps(const struct nm_region *region)
{
	struct nm_bufown *own;
	size_t objects = 0;
	uint32_t *at;

	for (int pool = 0; pool < NM_POOLS; pool++)
		objects += region->pool[pool].count;
	own = os_table_alloc(sizeof(*own) + 2 * objects * sizeof(uint32_t));
	if (!own)
		return NULL;
	at = (void *)(own + 1);
	for (int pool = 0; pool < NM_POOLS; pool++) {
		struct map *map = &own->map[pool];

		map->count = region->pool[pool].count;
		map->owner = at;
		map->free = at + map->count;
		at += 2 * (size_t)map->count;
	}
	return own;
}

static void push_free(struct map *map, uint32_t index) OS_REQUIRES(NM_CORE_LOCK)
{
	os_assert(index < map->fresh && map->num_free < map->fresh);
	map->owner[index] = NM_OWNER_NONE;
	map->free[map->num_free++] = index;
}

/* The lowest index is given out first. */
static void push_run(struct map *map, struct nm_run run) OS_REQUIRES(NM_CORE_LOCK)
{
	for (uint32_t i = run.first + run.count; i-- > run.first;)
		push_free(map, i);
}

int nm_bufown_init(struct nm_region *region)
{
	region->own = make_maps(region);
	if (!region->own)
		return -ENOMEM;
	for (int pool = 0; pool < NM_POOLS; pool++) {
		struct map *map = &region->own->map[pool];

		map->fresh = first_index(pool);
	}
	return 0;
}

static bool run_valid(struct nm_run run, enum nm_pool pool, uint32_t count)
{
	if (run.count == 0)
		return true;
	return run.first <= count && run.count <= count - run.first &&
	       run.first >= first_index(pool);
}

int nm_bufown_adopt(struct nm_region *region, const struct nm_run part[NM_POOLS])
{
	uint32_t objects = 0;

	for (int pool = 0; pool < NM_POOLS; pool++) {
		if (!run_valid(part[pool], pool, region->pool[pool].count))
			return -EINVAL;
		objects |= part[pool].count;
	}
	if (objects == 0)
		return 0;
	region->own = make_maps(region);
	if (!region->own)
		return -ENOMEM;
	region->own->part = part[NM_POOL_BUF];
	for (int pool = 0; pool < NM_POOLS; pool++) {
		struct map *map = &region->own->map[pool];

		map->fresh = map->count;
		for (uint32_t i = 0; i < map->count; i++)
			map->owner[i] = NM_OWNER_FOREIGN;
		push_run(map, part[pool]);
	}
	return 0;
}

void nm_bufown_end(struct nm_region *region)
{
	os_table_free(region->own);
	region->own = NULL;
}

/* ---- allocating and freeing ------------------------------------------------------------------ */

bool nm_bufown_tracks(const struct nm_region *region)
{
	return region->own && (!region->foreign || region->own->part.count > 0);
}

static uint32_t all_free(const struct map *map) OS_REQUIRES(NM_CORE_LOCK)
{
	return map->num_free + (map->count - map->fresh);
}

uint32_t nm_bufown_num_free(const struct nm_region *region, enum nm_pool pool)
{
	const struct map *map;

	if (!region->own)
		return 0;
	map = &region->own->map[pool];
	os_assert(map->promised <= all_free(map));
	return all_free(map) - map->promised;
}

uint32_t nm_bufown_owner(const struct nm_region *region, enum nm_pool pool, uint32_t index)
{
	const struct map *map = region->own ? &region->own->map[pool] : NULL;

	return map && index < map->count ? map->owner[index] : NM_OWNER_NONE;
}

static uint32_t take_any(struct map *map, uint32_t owner) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t index = map->num_free > 0 ? map->free[--map->num_free] : map->fresh++;

	os_assert(index < map->count && map->owner[index] == NM_OWNER_NONE);
	map->owner[index] = owner;
	return index;
}

int nm_bufown_alloc(struct nm_region *region, enum nm_pool pool, uint32_t owner, uint32_t *index)
{
	if (nm_bufown_num_free(region, pool) == 0)
		return -ENOMEM;
	os_assert(!region->own->in_pass);
	*index = take_any(&region->own->map[pool], owner);
	return 0;
}

int nm_bufown_promise(struct nm_region *region, uint32_t count)
{
	if (count > nm_bufown_num_free(region, NM_POOL_BUF))
		return -ENOMEM;
	if (count > 0)
		region->own->map[NM_POOL_BUF].promised += count;
	return 0;
}

void nm_bufown_unpromise(struct nm_region *region, uint32_t count)
{
	if (count == 0)
		return;
	os_assert(count <= region->own->map[NM_POOL_BUF].promised);
	region->own->map[NM_POOL_BUF].promised -= count;
}

uint32_t nm_bufown_alloc_promised(struct nm_region *region, uint32_t owner)
{
	nm_bufown_unpromise(region, 1);
	return take_any(&region->own->map[NM_POOL_BUF], owner);
}

/* Objects below `end` are in the stack, or have an owner. */
static void make_known(struct map *map, uint32_t end) OS_REQUIRES(NM_CORE_LOCK)
{
	while (map->fresh < end) {
		uint32_t index = map->fresh++;

		if (map->owner[index] == NM_OWNER_NONE)
			push_free(map, index);
	}
}

/* The first run of free objects: *first, or false. */
static bool find_run(const struct map *map, uint32_t from, uint32_t count, uint32_t *first)
	OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t length = 0;

	for (uint32_t i = from; i < map->count; i++) {
		length = map->owner[i] == NM_OWNER_NONE ? length + 1 : 0;
		if (length == count) {
			*first = i + 1 - count;
			return true;
		}
	}
	return false;
}

int nm_bufown_alloc_run(struct nm_region *region, enum nm_pool pool, uint32_t owner, uint32_t count,
	uint32_t *first)
{
	uint32_t kept = 0;
	struct map *map;

	if (count == 0 || count > nm_bufown_num_free(region, pool))
		return -ENOMEM;
	map = &region->own->map[pool];
	if (!find_run(map, first_index(pool), count, first))
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		map->owner[*first + i] = owner;
	for (uint32_t i = 0; i < map->num_free; i++)
		if (map->free[i] < *first || map->free[i] - *first >= count)
			map->free[kept++] = map->free[i];
	map->num_free = kept;
	make_known(map, *first + count);
	return 0;
}

int nm_bufown_free(struct nm_region *region, enum nm_pool pool, uint32_t owner, uint32_t index)
{
	if (owner == NM_OWNER_NONE || owner == NM_OWNER_FOREIGN || region->ending ||
		nm_bufown_owner(region, pool, index) != owner)
		return -EINVAL;
	os_assert(!region->own->in_pass);
	push_free(&region->own->map[pool], index);
	return 0;
}

uint32_t nm_bufown_free_owner(struct nm_region *region, uint32_t owner)
{
	uint32_t freed = 0;

	for (int pool = 0; pool < NM_POOLS && region->own && !region->ending; pool++)
		for (uint32_t i = 0; i < region->own->map[pool].fresh; i++)
			if (nm_bufown_free(region, pool, owner, i) == 0)
				freed++;
	return freed;
}

void nm_bufown_claim(struct nm_region *region, uint32_t owner, uint32_t index)
{
	struct map *map;
	uint32_t i;

	if (!region->own || !nm_region_buf_valid(region, index))
		return;
	map = &region->own->map[NM_POOL_BUF];
	make_known(map, index + 1);
	if (map->owner[index] == NM_OWNER_NONE) {
		if (all_free(map) == map->promised)
			return;
		for (i = 0; map->free[i] != index; i++)
			os_assert(i + 1 < map->num_free);
		map->free[i] = map->free[--map->num_free];
	} else if (map->owner[index] != NM_OWNER_FOREIGN) {
		return;
	}
	map->owner[index] = owner;
}

void nm_bufown_give(struct nm_region *region, uint32_t from, uint32_t to, uint32_t index)
{
	if (nm_bufown_owner(region, NM_POOL_BUF, index) == from && from != NM_OWNER_NONE)
		region->own->map[NM_POOL_BUF].owner[index] = to;
}

uint32_t nm_bufown_next(const struct nm_region *region, uint32_t owner, uint32_t *at)
{
	const struct map *map = region->own ? &region->own->map[NM_POOL_BUF] : NULL;

	for (; map && *at < map->fresh; (*at)++)
		if (map->owner[*at] == owner)
			return (*at)++;
	return 0;
}

/* ---- marks ---------------------------------------------------------------------------------- */

enum { MARKS = 64 }; /* in a word */

/* One for each buffer of a region. NULL: no memory. */
static uint64_t *new_marks(const struct nm_region *region)
{
	return os_zalloc((region->pool[NM_POOL_BUF].count / MARKS + 1) * sizeof(uint64_t));
}

static void mark(uint64_t *marks, uint32_t index)
{
	marks[index / MARKS] |= 1ull << index % MARKS;
}

static bool is_marked(const uint64_t *marks, uint32_t index)
{
	return marks[index / MARKS] >> index % MARKS & 1;
}

/* ---- lists of owners ------------------------------------------------------------------------ */

enum { FIRST_BITS = 7 };

/* Its place, or the one where it would be. */
static struct head *head_of(const struct lists *l, uint32_t owner)
{
	uint32_t at = (uint32_t)(owner * l->key >> (64 - l->bits));

	while (l->head[at].owner != owner && l->head[at].owner != NM_OWNER_NONE)
		at = (at + 1) & ((1u << l->bits) - 1);
	return &l->head[at];
}

static bool grow(struct lists *l)
{
	struct head *old = l->head;
	uint32_t places = old ? 1u << l->bits : 0, bits = old ? l->bits + 1 : FIRST_BITS;

	l->head = os_zalloc(sizeof(*old) << bits);
	if (!l->head) {
		l->head = old;
		return false;
	}
	l->bits = bits;
	for (uint32_t i = 0; i < places; i++)
		if (old[i].owner != NM_OWNER_NONE)
			*head_of(l, old[i].owner) = old[i];
	os_free(old);
	return true;
}

/* NULL: no memory. */
static struct head *add_head(struct lists *l, uint32_t owner)
{
	struct head *head = head_of(l, owner);

	if (head->owner == owner)
		return head;
	if (2 * ++l->used > 1u << l->bits) {
		if (!grow(l))
			return NULL;
		head = head_of(l, owner);
	}
	head->owner = owner;
	return head;
}

static void list_first(struct lists *l, struct head *head, uint32_t index)
{
	l->next[index] = head->first;
	head->first = index;
}

/* The lowest index comes first. */
static bool list_all(struct lists *l, const struct map *map) OS_REQUIRES(NM_CORE_LOCK)
{
	struct head *head = NULL;

	for (uint32_t i = map->fresh; i-- > NM_BUFS_RESERVED;) {
		uint32_t owner = map->owner[i];

		if (owner == NM_OWNER_NONE || owner == NM_OWNER_FOREIGN)
			continue;
		if (!head || head->owner != owner)
			head = add_head(l, owner);
		if (!head)
			return false;
		list_first(l, head, i);
	}
	return true;
}

static void drop_lists(struct lists *l)
{
	os_table_free(l->next);
	os_free(l->head);
	os_free(l->marks);
	*l = (struct lists){0};
}

/* False: no memory for that; then it isn't tried again in this pass. */
static bool have_lists(const struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK)
{
	const struct map *map = &region->own->map[NM_POOL_BUF];
	struct lists *l = &region->own->lists;

	if (l->tried)
		return l->next;
	l->next = os_table_alloc((size_t)map->fresh * sizeof(*l->next));
	l->marks = new_marks(region);
	os_random(&l->key, sizeof(l->key));
	l->key |= 1;
	if (!l->next || !l->marks || !grow(l) || !list_all(l, map))
		drop_lists(l);
	l->tried = true;
	return l->next;
}

/* A buffer of the owner that has no mark, or 0. */
static uint32_t next_surplus(struct lists *l, const struct map *map, uint32_t owner)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct head *head = head_of(l, owner);
	uint32_t index;

	while ((index = head->first) != 0) {
		head->first = l->next[index];
		if (map->owner[index] == owner && !is_marked(l->marks, index))
			return index;
	}
	return 0;
}

void nm_bufown_begin_pass(struct nm_region *region)
{
	if (region->own)
		region->own->in_pass = true;
}

void nm_bufown_end_pass(struct nm_region *region)
{
	if (!region->own)
		return;
	region->own->in_pass = false;
	drop_lists(&region->own->lists);
}

/* ---- reconcile ------------------------------------------------------------------------------ */

bool nm_bufown_has_slots(const struct nm_region *region, uint32_t owner,
	const struct netmap_slot *slots, uint32_t num_slots)
{
	const struct map *map = region->own ? &region->own->map[NM_POOL_BUF] : NULL;

	for (uint32_t i = 0; map && i < num_slots; i++) {
		uint32_t index = nm_slot_load(&slots[i]).buf_idx;

		if (nm_region_buf_valid(region, index) && map->owner[index] != owner)
			return false;
	}
	return true;
}

/* Nothing but its own: then there is nothing to exchange. */
static bool all_own(const struct nm_region *region, uint32_t owner, const uint32_t *refs,
	uint32_t count) OS_REQUIRES(NM_CORE_LOCK)
{
	for (uint32_t i = 0; i < count; i++)
		if (nm_region_buf_valid(region, refs[i]) &&
			nm_bufown_owner(region, NM_POOL_BUF, refs[i]) != owner)
			return false;
	return true;
}

static bool can_be_taken(uint32_t from, uint32_t by)
{
	return from != by && from != NM_OWNER_NONE && !(from & NM_OWNER_FIXED);
}

/* Each that it takes is exchanged for one that it doesn't reference. */
static void take_marked(struct nm_region *region, uint32_t owner, const uint32_t *refs,
	uint32_t count) OS_REQUIRES(NM_CORE_LOCK)
{
	struct map *map = &region->own->map[NM_POOL_BUF];
	struct lists *l = &region->own->lists;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t from = nm_bufown_owner(region, NM_POOL_BUF, refs[i]), surplus;

		if (!nm_region_buf_valid(region, refs[i]) || !can_be_taken(from, owner))
			continue;
		surplus = next_surplus(l, map, owner);
		if (surplus == 0)
			return; /* references more than it can give for: not an exchange */
		map->owner[refs[i]] = owner;
		map->owner[surplus] = from;
		list_first(l, head_of(l, from), surplus);
	}
}

void nm_bufown_reconcile(
	struct nm_region *region, uint32_t owner, const uint32_t *refs, uint32_t count)
{
	uint64_t *marks;

	if (!region->own || region->ending || owner == NM_OWNER_NONE ||
		all_own(region, owner, refs, count))
		return;
	if (have_lists(region)) {
		marks = region->own->lists.marks;
		for (uint32_t i = 0; i < count; i++)
			if (nm_region_buf_valid(region, refs[i]))
				mark(marks, refs[i]);
		take_marked(region, owner, refs, count);
		for (uint32_t i = 0; i < count; i++)
			if (nm_region_buf_valid(region, refs[i]))
				marks[refs[i] / MARKS] = 0;
	}
	if (!region->own->in_pass)
		drop_lists(&region->own->lists);
}

/* From *at on, the next reference of one owner to a buffer that the map has for the other. */
static bool find_swapped(const struct map *map, const uint32_t *refs, uint32_t count,
	uint32_t other, uint32_t *at) OS_REQUIRES(NM_CORE_LOCK)
{
	for (; *at < count; (*at)++)
		if (refs[*at] >= NM_BUFS_RESERVED && refs[*at] < map->count &&
			map->owner[refs[*at]] == other)
			return true;
	return false;
}

void nm_bufown_exchange(struct nm_region *region, const uint32_t owner[2],
	const uint32_t *const refs[2], const uint32_t count[2])
{
	uint32_t at[2] = {0, 0};
	struct map *map;

	if (!region->own || owner[0] == NM_OWNER_NONE || owner[1] == NM_OWNER_NONE)
		return;
	map = &region->own->map[NM_POOL_BUF];
	while (find_swapped(map, refs[0], count[0], owner[1], &at[0]) &&
		find_swapped(map, refs[1], count[1], owner[0], &at[1])) {
		map->owner[refs[0][at[0]++]] = owner[0];
		map->owner[refs[1][at[1]++]] = owner[1];
	}
}

/* ---- repair --------------------------------------------------------------------------------- */

bool nm_bufown_repair_begin(
	struct nm_bufown_repair *r, const struct nm_region *region, uint32_t owner)
{
	*r = (struct nm_bufown_repair){.region = region, .owner = owner, .at = NM_BUFS_RESERVED};
	if (nm_bufown_tracks(region))
		r->seen = new_marks(region);
	return r->seen != NULL;
}

void nm_bufown_repair_end(struct nm_bufown_repair *r)
{
	os_free(r->seen);
}

void nm_bufown_repair_used(
	struct nm_bufown_repair *r, const struct netmap_slot *slots, uint32_t num_slots)
{
	for (uint32_t i = 0; i < num_slots; i++) {
		uint32_t index = nm_slot_load(&slots[i]).buf_idx;

		if (nm_region_buf_valid(r->region, index))
			mark(r->seen, index);
	}
}

void nm_bufown_repair_mark(
	struct nm_bufown_repair *r, struct netmap_slot *slots, uint32_t num_slots)
{
	for (uint32_t i = 0; i < num_slots; i++) {
		uint32_t index = nm_slot_load(&slots[i]).buf_idx;

		if (!nm_region_buf_valid(r->region, index) || is_marked(r->seen, index)) {
			r->bad++;
		} else if (nm_bufown_owner(r->region, NM_POOL_BUF, index) != r->owner) {
			r->others++;
		} else {
			mark(r->seen, index);
			continue;
		}
		OS_STORE(&slots[i].buf_idx, 0);
	}
}

static uint32_t next_unreferenced(struct nm_bufown_repair *r) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t index;

	do
		index = nm_bufown_next(r->region, r->owner, &r->at);
	while (index && is_marked(r->seen, index));
	return index;
}

void nm_bufown_repair_fill(struct nm_bufown_repair *r, struct netmap_slot *slots,
	uint32_t num_slots, uint64_t offset_mask, uint64_t initial)
{
	uint32_t size = r->region->buf_room;

	for (uint32_t i = 0; i < num_slots; i++) {
		struct nm_slot_copy copy = nm_slot_load(&slots[i]);
		uint64_t offset = OS_LOAD(&slots[i].ptr) & offset_mask;

		if (copy.buf_idx == 0) {
			uint32_t index = next_unreferenced(r);

			OS_STORE(&slots[i].buf_idx, index);
			OS_STORE(&slots[i].flags, NS_BUF_CHANGED); /* no packet goes on behind it */
			r->replaced += index != 0;
		}
		if (copy.buf_idx == 0 || copy.len > size || offset > size - copy.len) {
			OS_STORE(&slots[i].len, 0);
			OS_STORE(&slots[i].ptr, initial);
		}
	}
}

static bool in_part(const struct nm_region *region, uint32_t index)
{
	const struct nm_run *part = &region->own->part;

	return index >= part->first && index - part->first < part->count;
}

/* A buffer that came from the other side, in a slot, and is in none now. */
static uint32_t next_of_theirs(struct nm_bufown_repair *r) OS_REQUIRES(NM_CORE_LOCK)
{
	for (; r->at < r->region->pool[NM_POOL_BUF].count; r->at++)
		if (nm_bufown_owner(r->region, NM_POOL_BUF, r->at) != NM_OWNER_FOREIGN &&
			!in_part(r->region, r->at) && !is_marked(r->seen, r->at))
			return r->at++;
	return 0;
}

void nm_bufown_restore(struct nm_bufown_repair *r, struct netmap_slot *slots, uint32_t num_slots)
{
	for (uint32_t i = 0; i < num_slots; i++) {
		uint32_t index;

		if (!in_part(r->region, nm_slot_load(&slots[i]).buf_idx))
			continue;
		index = next_of_theirs(r);
		if (index == 0)
			return;
		OS_STORE(&slots[i].buf_idx, index);
		OS_STORE(&slots[i].len, 0);
		r->replaced++;
	}
}
