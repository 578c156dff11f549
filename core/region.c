/* SPDX-License-Identifier: BSD-2-Clause */
#include "region.h"
#include "bufown.h"
#include "port.h"
#include "quota.h"
#include "wish.h"

enum {
	IF_SIZE_MIN = 256, /* netmap_if with the ring offsets of a small port */
	OBJECT_SIZE_MAX = 1 << 20,
	LINE = 64, /* objects are a multiple of it long */
	OBJECTS_MAX = NM_BUFS_MAX,
	/* On memory of a given size, with nothing requested: at most so many, in at most this part
	 * of it. */
	SUIT_IFS = 128,
	SUIT_RINGS = 128,
	EXTMEM_PART = 8,
};

const char *nm_pool_name(enum nm_pool pool)
{
	static const char *const names[NM_POOLS] = {"netmap_if", "ring", "buffer"};

	return pool < NM_POOLS ? names[pool] : "?";
}

static uint64_t align_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

static bool params_valid(const struct nm_region_params *params, struct nm_error *err)
{
	static const uint32_t size_min[NM_POOLS] = {
		IF_SIZE_MIN, sizeof(struct netmap_ring), NM_BUF_SIZE_MIN};
	static const uint32_t size_max[NM_POOLS] = {
		OBJECT_SIZE_MAX, OBJECT_SIZE_MAX, NM_BUF_SIZE_MAX};

	for (int i = 0; i < NM_POOLS; i++) {
		uint32_t count_min = i == NM_POOL_BUF ? NM_BUFS_RESERVED + 1 : 1;

		if (params->count[i] < count_min || params->count[i] > OBJECTS_MAX) {
			nm_error_set(err, -EINVAL, "%s pool: %u objects; %u to %u are possible",
				nm_pool_name(i), params->count[i], count_min, OBJECTS_MAX);
			return false;
		}
		if (params->size[i] < size_min[i] || params->size[i] > size_max[i]) {
			nm_error_set(err, -EINVAL,
				"%s pool: objects of %u bytes; %u to %u are possible",
				nm_pool_name(i), params->size[i], size_min[i], size_max[i]);
			return false;
		}
	}
	return true;
}

/* Size of an object as it is laid out. A ring's members are aligned for 128 bytes, so each ring
 * of the pool must be. */
static uint32_t object_size(enum nm_pool pool, uint32_t wanted)
{
	return (uint32_t)align_up(wanted, pool == NM_POOL_RING ? NM_CACHE_ALIGN : LINE);
}

/* Bytes up to the end of the last pool. */
static uint64_t lay_out(
	const struct nm_region_params *params, struct nm_pool_geometry pool[NM_POOLS])
{
	uint64_t offset = 0;

	for (int i = 0; i < NM_POOLS; i++) {
		pool[i].offset = offset;
		pool[i].count = params->count[i];
		pool[i].size = object_size(i, params->size[i]);
		if (i == NM_POOL_BUF && params->nic) {
			pool[i].offset += NM_NIC_HEADROOM;
			pool[i].size = NM_NIC_BUF_SIZE;
		}
		offset = pool[i].offset;
		offset += (uint64_t)pool[i].count * pool[i].size;
		if (i != NM_POOL_BUF)
			offset = align_up(offset, 4096);
	}
	return offset;
}

uint64_t nm_region_layout(const struct nm_region_params *params,
	struct nm_pool_geometry pool[NM_POOLS], struct nm_error *err)
{
	uint64_t bytes, size = 4096;

	if (!params_valid(params, err))
		return 0;
	bytes = lay_out(params, pool);
	while (size < bytes)
		size *= 2;
	return size;
}

static uint16_t free_id(struct nm_core *core) OS_REQUIRES(NM_CORE_LOCK)
{
	for (uint32_t id = NM_REGION_SHARED_ID + 1; id < 0xffff; id++)
		if (!nm_region_find(core, (uint16_t)id))
			return (uint16_t)id;
	return 0;
}

static uint32_t resource_of(const struct nm_region *region)
{
	return region->external ? NM_RES_EXTMEM : NM_RES_MEMORY;
}

/* Whole pages, up to the end of the last pool. */
static uint64_t pools_bytes(const struct nm_region *region)
{
	const struct nm_pool_geometry *last = &region->pool[NM_POOL_BUF];

	return align_up(last->offset + (uint64_t)last->count * last->size, 4096);
}

/* For its pools, which all of its users together can touch, and for the maps of owners. */
static int pay(struct nm_core *core, struct nm_region *region, struct nm_error *err)
{
	uint64_t bytes = pools_bytes(region);
	int error;

	for (int pool = 0; pool < NM_POOLS; pool++)
		bytes += 2 * sizeof(uint32_t) * (uint64_t)region->pool[pool].count;
	error = nm_quota_take(core->payer, resource_of(region), bytes, err);

	if (error)
		return error;
	region->payer = core->payer;
	region->paid = bytes;
	return 0;
}

static void free_region(struct nm_region *region)
{
	nm_quota_give(region->payer, resource_of(region), region->paid);
	nm_bufown_end(region);
	os_mem_free(region->mem);
	os_free(region);
}

static void link_region(struct nm_core *core, struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK)
{
	region->core = core;
	region->refs = 1;
	region->next = core->regions;
	core->regions = region;
}

/* 0 or a negative errno, in err as well; the caller frees the region. */
static int set_id(struct nm_core *core, struct nm_region *region, uint16_t id, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK)
{
	region->id = id ? id : free_id(core);
	if (region->id == 0)
		return nm_error_set(err, -ENOMEM, "no region id is free");
	if (nm_region_find(core, region->id)) {
		return nm_error_set(err, -EEXIST, "region %u exists already", id);
	}
	return 0;
}

/* The same, behind its memory: with a wish for that it is made once. */
static int make_map(struct nm_region *region, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	if (nm_bufown_init(region) != 0)
		return nm_error_set(err, -ENOMEM, "no memory for the map of a region");
	return 0;
}

static struct nm_region *new_region(struct nm_error *err)
{
	struct nm_region *region = os_zalloc(sizeof(*region));

	if (region) {
		region->user = NM_USER_ANY;
		return region;
	}
	nm_error_set(err, -ENOMEM, "no memory for a region");
	return NULL;
}

/* Once the pools are laid out. */
static void set_room(struct nm_region *region)
{
	region->buf_room = region->pool[NM_POOL_BUF].size - (region->nic ? NM_NIC_HEADROOM : 0);
}

/* Of one that is there for all, each port pays for what it takes. */
static struct nm_region *create(struct nm_core *core, const struct nm_region_params *params,
	uint16_t id, bool shared, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region *region = new_region(err);

	if (!region)
		return NULL;
	region->size = nm_region_layout(params, region->pool, err);
	region->nic = params->nic;
	set_room(region);
	err->code = region->size ? 0 : -EINVAL;
	if (!err->code && !shared)
		err->code = pay(core, region, err);
	if (!err->code)
		err->code = set_id(core, region, id, err);
	if (err->code)
		goto fail;
	region->shared = shared;
	region->mem = nm_wish_take(core, region->size, err);
	if (!region->mem || make_map(region, err) != 0)
		goto fail;
	region->base = os_mem_addr(region->mem);
	link_region(core, region);
	return region;

fail:
	free_region(region);
	return NULL;
}

struct nm_region *nm_region_create(struct nm_core *core, const struct nm_region_params *params,
	uint16_t id, struct nm_error *err)
{
	return create(core, params, id, false, err);
}

/* ---- on memory that is there already --------------------------------------------------- */

static uint32_t min_u32(uint64_t a, uint32_t b)
{
	return a < b ? (uint32_t)a : b;
}

/* What is not wished for, and how many buffers fit behind the other pools. */
static void fill_defaults(struct nm_region_params *params, uint64_t bytes)
{
	const uint32_t sizes[NM_POOLS] = {
		1024, nm_ring_bytes(NM_SLOTS_DEFAULT), NM_BUF_SIZE_DEFAULT};
	static const uint32_t most[NM_POOLS] = {SUIT_IFS, SUIT_RINGS, OBJECTS_MAX};
	struct nm_pool_geometry pool[NM_POOLS];
	uint64_t fit;

	for (int i = 0; i < NM_POOLS; i++) {
		if (params->size[i] == 0)
			params->size[i] = sizes[i];
		if (params->count[i] > 0 || i == NM_POOL_BUF)
			continue;
		params->count[i] =
			min_u32(bytes / EXTMEM_PART / object_size(i, params->size[i]), most[i]);
		if (params->count[i] == 0)
			params->count[i] = 1;
	}
	lay_out(params, pool);
	fit = pool[NM_POOL_BUF].offset < bytes
		      ? (bytes - pool[NM_POOL_BUF].offset) / pool[NM_POOL_BUF].size
		      : 0;
	if (params->count[NM_POOL_BUF] == 0 || params->count[NM_POOL_BUF] > fit)
		params->count[NM_POOL_BUF] = min_u32(fit, OBJECTS_MAX);
}

/* What was requested, as it is: 0, or what nm_region_layout() would take. */
static bool requested_valid(const struct nm_region_params *requested, struct nm_error *err)
{
	struct nm_region_params params = *requested;

	for (int i = 0; i < NM_POOLS; i++) {
		if (params.count[i] == 0)
			params.count[i] = NM_BUFS_RESERVED + 1;
		if (params.size[i] == 0)
			params.size[i] = NM_BUF_SIZE_DEFAULT;
	}
	return params_valid(&params, err);
}

struct nm_region *nm_region_create_on(struct nm_core *core, struct os_mem *mem, uint64_t bytes,
	const struct nm_region_params *requested, struct nm_error *err)
{
	struct nm_region_params params = *requested;
	struct nm_region *region;

	err->code = -EINVAL;
	if (!requested_valid(requested, err))
		return NULL;
	fill_defaults(&params, bytes);
	if (params.count[NM_POOL_BUF] <= NM_BUFS_RESERVED) {
		nm_error_set(err, -ENOMEM,
			"%llu bytes of memory have no room for %u netmap_if, %u rings of %u bytes and a buffer of %u",
			(unsigned long long)bytes, params.count[NM_POOL_IF],
			params.count[NM_POOL_RING], params.size[NM_POOL_RING],
			params.size[NM_POOL_BUF]);
		return NULL;
	}
	region = new_region(err);
	if (!region)
		return NULL;
	lay_out(&params, region->pool);
	set_room(region);
	if (bytes > pools_bytes(region))
		bytes = pools_bytes(region);
	region->size = bytes;
	region->external = true;
	err->code = pay(core, region, err);
	if (!err->code)
		err->code = set_id(core, region, 0, err);
	if (!err->code)
		err->code = make_map(region, err);
	if (err->code) {
		free_region(region);
		return NULL;
	}
	os_mem_trim(mem, region->size);
	region->mem = mem;
	region->base = os_mem_addr(mem);
	link_region(core, region);
	return region;
}

struct nm_region *nm_region_by_id(struct nm_core *core, uint16_t id, bool nic, struct nm_error *err)
{
	struct nm_region *region = nm_region_find(core, id);
	struct nm_region_params params = core->shared_params;

	if (region)
		return nm_region_enter(region, err) == 0 ? region : NULL;
	params.nic = nic;
	if (nic)
		params.count[NM_POOL_BUF] = core->nic_bufs;
	return create(core, &params, id, true, err);
}

/* ---- foreign regions ------------------------------------------------------------------- */

/* Each pool inside the region, and behind the one before it; objects that hold what they must. */
static bool geometry_valid(const struct nm_pool_geometry pool[NM_POOLS], uint64_t size)
{
	static const uint32_t size_min[NM_POOLS] = {
		sizeof(struct netmap_if), sizeof(struct netmap_ring), NM_BUF_SIZE_MIN};
	uint64_t end = 0;

	for (int i = 0; i < NM_POOLS; i++) {
		uint64_t bytes = (uint64_t)pool[i].count * pool[i].size;

		if (pool[i].offset < end || pool[i].offset > size || bytes > size - pool[i].offset)
			return false;
		if (pool[i].count == 0 || pool[i].size < size_min[i] || pool[i].size % LINE != 0 ||
			pool[i].offset % LINE != 0)
			return false;
		end = pool[i].offset + bytes;
	}
	return pool[NM_POOL_BUF].count > NM_BUFS_RESERVED &&
	       pool[NM_POOL_BUF].size <= NM_BUF_SIZE_MAX;
}

struct nm_region *nm_region_adopt(struct nm_core *core, void *base, uint64_t size,
	const struct nm_pool_geometry pool[NM_POOLS], const struct nm_run part[NM_POOLS],
	struct nm_error *err)
{
	struct nm_region *region;

	region = new_region(err);
	if (!region)
		return NULL;
	region->foreign = true;
	region->base = base;
	region->size = size;
	memcpy(region->pool, pool, sizeof(region->pool));
	set_room(region);
	err->code = -EINVAL;
	if (geometry_valid(pool, size))
		err->code = nm_bufown_adopt(region, part);
	if (err->code == -ENOMEM) {
		nm_error_set(err, err->code, "no memory for the map of a region");
		goto fail;
	}
	if (err->code) {
		nm_error_set(err, err->code,
			"the pools do not lie one behind the other inside the %llu bytes of the region, or their objects are unusable",
			(unsigned long long)size);
		goto fail;
	}
	region->id = free_id(core);
	if (region->id == 0) {
		nm_error_set(err, -ENOMEM, "no region id is free");
		goto fail;
	}
	link_region(core, region);
	return region;

fail:
	free_region(region);
	return NULL;
}

void nm_region_end(struct nm_region *region)
{
	nm_core_assert_locked(region->core);
	region->ending = true;
}

bool nm_region_admits(const struct nm_region *region, uint32_t user)
{
	return region->shared || region->user == NM_USER_ANY || region->user == user ||
	       user == NM_USER_ANY || user == NM_USER_ROOT;
}

struct nm_region *nm_region_find(struct nm_core *core, uint16_t id)
{
	struct nm_region *region = core->regions;

	while (region && region->id != id)
		region = region->next;
	return region;
}

void nm_region_get(struct nm_region *region)
{
	os_assert(region->refs > 0);
	region->refs++;
}

int nm_region_enter(struct nm_region *region, struct nm_error *err)
{
	if (region->ending)
		return nm_error_set(err, -ENXIO,
			"memory region %u is gone with its device; name another one, or none",
			region->id);
	nm_region_get(region);
	return 0;
}

void nm_region_put(struct nm_region *region)
{
	struct nm_region **link;

	os_assert(!region || region->refs > 0);
	if (!region || --region->refs > 0)
		return;
	for (link = &region->core->regions; *link != region;)
		link = &(*link)->next;
	*link = region->next;
	free_region(region);
}

void nm_region_info(const struct nm_region *region, struct nmreq_pools_info *info)
{
	memset(info, 0, sizeof(*info));
	info->nr_memsize = region->size;
	info->nr_mem_id = region->id;
	info->nr_if_pool_offset = region->pool[NM_POOL_IF].offset;
	info->nr_if_pool_objtotal = region->pool[NM_POOL_IF].count;
	info->nr_if_pool_objsize = region->pool[NM_POOL_IF].size;
	info->nr_ring_pool_offset = region->pool[NM_POOL_RING].offset;
	info->nr_ring_pool_objtotal = region->pool[NM_POOL_RING].count;
	info->nr_ring_pool_objsize = region->pool[NM_POOL_RING].size;
	info->nr_buf_pool_offset = region->pool[NM_POOL_BUF].offset;
	info->nr_buf_pool_objtotal = region->pool[NM_POOL_BUF].count;
	info->nr_buf_pool_objsize = region->pool[NM_POOL_BUF].size;
}
