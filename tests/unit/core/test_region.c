/* SPDX-License-Identifier: BSD-2-Clause */
/* core/region.h: layout, and geometry that somebody else laid out. */
#include "region.h"
#include "util.h"

#include <stdlib.h>

static struct nm_region_params small_params(void)
{
	return (struct nm_region_params){.count = {2, 4, 16}, .size = {256, 512, 2048}};
}

/* ---- layout ------------------------------------------------------------------------------ */

static void layout_limits(void **state)
{
	static const struct {
		enum nm_pool pool;
		uint32_t least_count, most_count, least_size, most_size;
	} limits[] = {
		{NM_POOL_IF, 1, 1000000, 256, 1 << 20},
		{NM_POOL_RING, 1, 1000000, sizeof(struct netmap_ring), 1 << 20},
		{NM_POOL_BUF, 3, 1000000, 64, 65536},
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const struct {
			uint32_t count, size;
			bool good;
		} cases[] = {
			{limits[i].least_count, limits[i].least_size, true},
			{limits[i].most_count, limits[i].least_size, true},
			{limits[i].least_count, limits[i].most_size, true},
			{limits[i].most_count, limits[i].most_size, true},
			{limits[i].least_count - 1, limits[i].least_size, false},
			{limits[i].most_count + 1, limits[i].least_size, false},
			{limits[i].least_count, limits[i].least_size - 1, false},
			{limits[i].least_count, limits[i].most_size + 1, false},
			{0, limits[i].least_size, false},
			{UINT32_MAX, limits[i].least_size, false},
			{limits[i].least_count, 0, false},
			{limits[i].least_count, UINT32_MAX, false},
		};

		for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
			struct nm_region_params params = small_params();
			struct nm_pool_geometry pool[NM_POOLS];
			struct nm_error err = {0};
			char number[16];
			uint64_t size;

			params.count[limits[i].pool] = cases[c].count;
			params.size[limits[i].pool] = cases[c].size;
			size = nm_region_layout(&params, pool, &err);
			assert_int_equal(size != 0, cases[c].good);
			if (cases[c].good)
				continue;
			/* The text names the pool and the number that is wrong. */
			assert_non_null(strstr(err.text, nm_pool_name(limits[i].pool)));
			os_snprintf(number, sizeof(number), " %u ",
				cases[c].count < limits[i].least_count ||
						cases[c].count > limits[i].most_count
					? cases[c].count
					: cases[c].size);
			assert_non_null(strstr(err.text, number));
		}
	}
	assert_string_equal(nm_pool_name(NM_POOLS), "?");
}

static void layout_properties(void **state)
{
	struct prng r = prng_new(1);

	for (int round = 0; round < 5000; round++) {
		struct nm_region_params params = {
			.count = {prng_range(&r, 1, 1000000), prng_range(&r, 1, 1000000),
				prng_range(&r, 3, 1000000)},
			.size = {prng_range(&r, 256, 1 << 20),
				prng_range(&r, sizeof(struct netmap_ring), 1 << 20),
				prng_range(&r, 64, 65536)},
		};
		struct nm_pool_geometry pool[NM_POOLS];
		uint64_t size, end = 0;
		struct nm_error err;

		size = nm_region_layout(&params, pool, &err);
		assert_true(size >= 4096 && (size & (size - 1)) == 0);
		for (int i = 0; i < NM_POOLS; i++) {
			uint32_t to = i == NM_POOL_RING ? 128 : 64;

			assert_true(pool[i].offset >= end && pool[i].offset % 4096 == 0);
			assert_int_equal(pool[i].count, params.count[i]);
			assert_in_range(pool[i].size, params.size[i], params.size[i] + to - 1);
			assert_int_equal(pool[i].size % to, 0);
			end = pool[i].offset + (uint64_t)pool[i].count * pool[i].size;
		}
		assert_true(end <= size);
		assert_true(size == 4096 || end > size / 2); /* not larger than it must be */
	}
}

/* ---- create, find, references ------------------------------------------------------------- */

static void create_and_references(void **state)
{
	struct nm_region_params params = small_params();
	struct nm_region *a, *b;
	struct nm_core core;
	struct nm_error err;

	nm_core_init(&core);
	a = nm_region_create(&core, &params, NM_REGION_SHARED_ID, &err);
	assert_non_null(a);
	assert_int_equal(err.code, 0);
	assert_int_equal(a->id, NM_REGION_SHARED_ID);
	b = nm_region_create(&core, &params, 0, &err);
	assert_non_null(b);
	assert_int_not_equal(b->id, 0);
	assert_int_not_equal(b->id, a->id);
	assert_null(nm_region_create(&core, &params, b->id, &err));
	assert_int_equal(err.code, -EEXIST);
	params.size[NM_POOL_BUF] = 1;
	assert_null(nm_region_create(&core, &params, 0, &err));
	assert_int_equal(err.code, -EINVAL);

	assert_ptr_equal(nm_region_find(&core, a->id), a);
	assert_ptr_equal(nm_region_find(&core, b->id), b);
	assert_null(nm_region_find(&core, 0));
	nm_region_get(a);
	nm_region_put(a);
	assert_ptr_equal(nm_region_find(&core, NM_REGION_SHARED_ID), a);
	nm_region_put(a);
	assert_null(nm_region_find(&core, NM_REGION_SHARED_ID));
	nm_region_put(b);
	nm_region_put(NULL);
	core_check_empty(&core);
	nm_core_destroy(&core);
}

static void create_without_memory(void **state)
{
	struct nm_region_params params = small_params();
	uint32_t failures = 0;
	struct nm_core core;

	nm_core_init(&core);
	for (uint32_t nth = 1;; nth++) {
		struct nm_region *region;
		struct nm_error err = {0};

		fail_allocation(nth);
		region = nm_region_create(&core, &params, 0, &err);
		if (!allocation_failed()) {
			nm_region_put(region);
			break;
		}
		failures++;
		assert_null(region);
		assert_int_equal(err.code, -ENOMEM);
		assert_int_not_equal(err.text[0], '\0');
		core_check_empty(&core);
	}
	fail_allocation(0);
	assert_int_equal(failures, 3); /* itself, the map, the memory */
	nm_core_destroy(&core);
}

static void info_tells_the_geometry(void **state)
{
	struct nm_region_params params = small_params();
	struct nmreq_pools_info info;
	struct nm_region *region;
	struct nm_core core;
	struct nm_error err;

	nm_core_init(&core);
	region = nm_region_create(&core, &params, 7, &err);
	assert_non_null(region);
	memset(&info, 0xff, sizeof(info));
	nm_region_info(region, &info);
	assert_int_equal(info.nr_memsize, region->size);
	assert_int_equal(info.nr_mem_id, 7);
	assert_int_equal(info.nr_if_pool_offset, 0);
	assert_int_equal(info.nr_if_pool_objtotal, 2);
	assert_int_equal(info.nr_if_pool_objsize, 256);
	assert_int_equal(info.nr_ring_pool_offset, 4096);
	assert_int_equal(info.nr_ring_pool_objtotal, 4);
	assert_int_equal(info.nr_ring_pool_objsize, 512);
	assert_int_equal(info.nr_buf_pool_offset, 8192);
	assert_int_equal(info.nr_buf_pool_objtotal, 16);
	assert_int_equal(info.nr_buf_pool_objsize, 2048);
	assert_ptr_equal(nm_region_buf(region, 3), region->base + 8192 + 3 * 2048);
	nm_region_put(region);
	nm_core_destroy(&core);
}

/* ---- pools -------------------------------------------------------------------------------- */

static void buffers_that_are_valid(void **state)
{
	static const struct {
		uint32_t index;
		bool valid;
	} cases[] = {{0, false}, {1, false}, {2, true}, {15, true}, {16, false}, {17, false},
		{UINT32_MAX, false}, {0x80000002, false}};
	struct nm_core core;
	struct nm_region *region;

	nm_core_init(&core);
	region = make_region(&core, 16, 2048, 16);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(nm_region_buf_valid(region, cases[i].index), cases[i].valid);
	nm_region_put(region);
	nm_core_destroy(&core);
}

/* ---- regions by their number --------------------------------------------------------------- */

static void by_number(void **state)
{
	struct nm_region *a, *b;
	struct nm_core core;
	struct nm_error err = {0};

	nm_core_init(&core);
	core.shared_params = small_params();
	a = nm_region_by_id(&core, 7, false, &err);
	assert_non_null(a);
	assert_int_equal(err.code, 0);
	assert_int_equal(a->id, 7);
	assert_int_equal(a->pool[NM_POOL_BUF].count, small_params().count[NM_POOL_BUF]);
	b = nm_region_by_id(&core, 7, false, &err);
	assert_ptr_equal(a, b);
	nm_region_put(a);
	assert_ptr_equal(nm_region_find(&core, 7), b);
	nm_region_put(b);
	core_check_empty(&core);
	fail_allocation(1);
	assert_null(nm_region_by_id(&core, 7, false, &err));
	fail_allocation(0);
	assert_int_equal(err.code, -ENOMEM);
	assert_int_not_equal(err.text[0], '\0');
	nm_core_destroy(&core);
}

/* ---- regions of NICs ----------------------------------------------------------------------- */

/* Chunk i of 4096 bytes, from 256 bytes before the pool on, has buffer i 256 bytes from its start, and lies in the region. */
static void chunks_of_a_nic_region_are_buffers(void **state)
{
	struct nm_region_params params = small_params();
	const struct nm_pool_geometry *bufs;
	struct nm_region *region;
	struct nm_core core;
	struct nm_error err = {0};
	char *umem;

	nm_core_init(&core);
	core.nic_bufs = 9;
	core.shared_params = params;
	region = nm_region_by_id(&core, 7, true, &err);
	assert_non_null(region);
	assert_true(region->nic);
	bufs = &region->pool[NM_POOL_BUF];
	assert_int_equal(bufs->count, 9);
	assert_int_equal(bufs->size, 4096);
	assert_int_equal(region->buf_room, 3840);
	assert_int_equal((bufs->offset - 256) % 4096, 0);
	assert_true(bufs->offset >= region->pool[NM_POOL_RING].offset + 4 * 512 + 256);
	umem = region->base + bufs->offset - 256;
	assert_int_equal((uintptr_t)umem % 4096, 0);
	for (uint32_t i = 0; i < bufs->count; i++)
		assert_ptr_equal(nm_region_buf(region, i), umem + 4096 * (size_t)i + 256);
	assert_true(umem + 4096 * (size_t)bufs->count <= region->base + region->size);
	nm_region_put(region);
	core_check_empty(&core);
	nm_core_destroy(&core);
}

/* All others have buffers of which a packet may fill every byte. */
static void buffers_of_other_regions_are_whole(void **state)
{
	struct nm_region *region;
	struct nm_core core;

	nm_core_init(&core);
	region = make_region(&core, 8, 2048, 64);
	assert_false(region->nic);
	assert_int_equal(region->buf_room, 2048);
	assert_int_equal(region->pool[NM_POOL_BUF].offset % 4096, 0);
	nm_region_put(region);
	nm_core_destroy(&core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_limits),
		cmocka_unit_test(layout_properties),
		cmocka_unit_test(create_and_references),
		cmocka_unit_test(create_without_memory),
		cmocka_unit_test(info_tells_the_geometry),
		cmocka_unit_test(buffers_that_are_valid),
		cmocka_unit_test(by_number),
		cmocka_unit_test(chunks_of_a_nic_region_are_buffers),
		cmocka_unit_test(buffers_of_other_regions_are_whole),
	};

	test_seed();
	return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
