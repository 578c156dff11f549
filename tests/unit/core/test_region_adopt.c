/* SPDX-License-Identifier: BSD-2-Clause */
/* core/region.h: regions on memory that is there already, another machine's or a program's. */
#include "util.h"

static const struct nm_run none[NM_POOLS];

/* ---- adopt -------------------------------------------------------------------------------- */

/* The rule once more, in numbers that can't wrap. */
static bool geometry_good(const struct nm_pool_geometry pool[NM_POOLS], uint64_t size)
{
	static const uint32_t least[NM_POOLS] = {
		sizeof(struct netmap_if), sizeof(struct netmap_ring), 64};
	unsigned __int128 end = 0;

	for (int i = 0; i < NM_POOLS; i++) {
		if (pool[i].offset < end || pool[i].offset % 64 || pool[i].size % 64 ||
			pool[i].count < 1 || pool[i].size < least[i])
			return false;
		end = (unsigned __int128)pool[i].offset +
		      (unsigned __int128)pool[i].count * pool[i].size;
		if (end > size)
			return false;
	}
	return pool[NM_POOL_BUF].count > 2 && pool[NM_POOL_BUF].size <= 65536;
}

static const struct {
	struct nm_pool_geometry pool[NM_POOLS];
	uint64_t size;
	bool good;
} geometries[] = {
	{{{0, 4, 256}, {4096, 4, 512}, {8192, 8, 2048}}, 32768, true},
	{{{0, 4, 256}, {1024, 4, 512}, {3072, 8, 2048}}, 19456, true}, /* no gaps, to the end */
	{{{0, 4, 256}, {1024, 4, 512}, {3072, 8, 2048}}, 19455, false},
	{{{0, 4, 256}, {1023, 4, 512}, {3072, 8, 2048}}, 32768, false}, /* overlap by one */
	{{{0, 4, 256}, {1024, 4, 512}, {3008, 8, 2048}}, 32768, false},
	{{{8192, 4, 256}, {0, 4, 512}, {16384, 8, 256}}, 32768, false}, /* other order */
	{{{0, 4, 256}, {4096, 4, 512}, {8192, 8, 2040}}, 32768, false}, /* not whole lines */
	{{{0, 4, 256}, {4096, 4, 512}, {8200, 8, 2048}}, 32768, false},
	{{{0, 0, 256}, {4096, 4, 512}, {8192, 8, 2048}}, 32768, false}, /* nothing in it */
	{{{0, 4, 0}, {4096, 4, 512}, {8192, 8, 2048}}, 32768, false},
	{{{0, 4, 256}, {4096, 4, 0}, {8192, 8, 2048}}, 32768, false},
	{{{0, 4, 256}, {4096, 4, 512}, {8192, 2, 2048}}, 32768, false}, /* only reserved ones */
	{{{0, 4, 256}, {4096, 4, 512}, {8192, 8, 0}}, 32768, false},
	{{{0, 4, 256}, {4096, 4, 512}, {8192, 3, 65600}}, 1 << 20, false},
	{{{0, 4, 256}, {4096, 4, 512}, {8192, 3, 65536}}, 1 << 20, true},
	/* sums and products that are small again modulo 2^32 or 2^64 */
	{{{0, 1u << 24, 256}, {4096, 4, 512}, {8192, 8, 2048}}, 32768, false},
	{{{0, 4, 256}, {4096, 4, 512}, {8192, 1u << 16, 65536}}, 32768, false},
	{{{0, 4, 256}, {4096, 4, 512}, {0xffffffffffffffc0, 8, 2048}}, 32768, false},
	{{{0, 4, 256}, {4096, 4, 512}, {0xffffffffffffc000, 8, 2048}}, UINT64_MAX, false},
	{{{0xffffffffffffff00, 1, 256}, {0, 4, 512}, {8192, 8, 2048}}, UINT64_MAX, false},
	{{{0, 4, 256}, {4096, 4, 512}, {8192, 8, 2048}}, 0, false},
};

static void adopt_table(void **state)
{
	char *memory = os_zalloc(64);

	for (size_t i = 0; i < sizeof(geometries) / sizeof(geometries[0]); i++) {
		struct nm_region *region;
		struct nm_core core;
		struct nm_error err = {0};

		nm_core_init(&core);
		region = nm_region_adopt(
			&core, memory, geometries[i].size, geometries[i].pool, none, &err);
		if (!!region != geometries[i].good)
			fail_msg("geometry %zu was %s", i, region ? "adopted" : "refused");
		assert_int_equal(err.code, region ? 0 : -EINVAL);
		assert_int_equal(err.text[0] != '\0', !region);
		nm_region_put(region);
		core_check_empty(&core);
		nm_core_destroy(&core);
	}
	os_free(memory);
}

static void adopt_any_geometry(void **state)
{
	struct prng r = prng_new(5);
	uint32_t adopted = 0;
	struct nm_core core;

	nm_core_init(&core);
	for (int round = 0; round < 100000; round++) {
		uint64_t size = prng_chance(&r, 70) ? 1 << 20 : prng_edge64(&r, 1 << 20), at = 0;
		uint64_t mask = prng_chance(&r, 90) ? ~63ULL : ~0ULL;
		struct nm_pool_geometry pool[NM_POOLS];
		struct nm_region *region;
		struct nm_error err;

		for (int i = 0; i < NM_POOLS; i++) {
			pool[i].offset = (at + prng_below(&r, 3) * 64) & mask;
			pool[i].count = 1 + prng_below(&r, 64);
			pool[i].size = (prng_below(&r, 4096) + 256) & (uint32_t)mask;
			if (prng_chance(&r, 4))
				pool[i].offset = prng_edge64(&r, at) & mask;
			if (prng_chance(&r, 4))
				pool[i].count = prng_edge32(&r, 64);
			if (prng_chance(&r, 4))
				pool[i].size = prng_edge32(&r, 4096) & (uint32_t)mask;
			at = pool[i].offset + (uint64_t)pool[i].count * pool[i].size;
		}
		region = nm_region_adopt(&core, NULL, size, pool, none, &err);
		assert_int_equal(!!region, geometry_good(pool, size));
		adopted += !!region;
		nm_region_put(region);
	}
	assert_in_range(adopted, 5000, 90000);
	core_check_empty(&core);
	nm_core_destroy(&core);
}

/* Nothing is ever allocated from a foreign region, and nothing of it is freed with it. */
static void foreign_objects_are_foreign(void **state)
{
	static char memory[32768] __attribute__((aligned(64)));
	uint32_t index = 5;
	struct nm_region *region;
	struct nm_core core;
	struct nm_error err;

	nm_core_init(&core);
	region = nm_region_adopt(&core, memory, sizeof(memory), geometries[0].pool, none, &err);
	assert_non_null(region);
	assert_true(region->foreign);
	assert_ptr_equal(nm_region_find(&core, region->id), region);
	for (int pool = 0; pool < NM_POOLS; pool++) {
		assert_int_equal(nm_bufown_alloc(region, pool, 1, &index), -ENOMEM);
		assert_int_equal(nm_bufown_free(region, pool, 1, 2), -EINVAL);
	}
	assert_int_equal(nm_bufown_free_owner(region, 1), 0);
	nm_bufown_reconcile(region, 1, &index, 1);
	assert_ptr_equal(nm_region_buf(region, 7), memory + 8192 + 7 * 2048);
	nm_region_put(region);
	core_check_empty(&core);

	fail_allocation(1);
	err.text[0] = '\0';
	assert_null(nm_region_adopt(&core, memory, sizeof(memory), geometries[0].pool, none, &err));
	fail_allocation(0);
	assert_int_equal(err.code, -ENOMEM);
	assert_int_not_equal(err.text[0], '\0');
	nm_core_destroy(&core);
}

/* Only what was set aside is given out, and nothing else can be freed. */
static void adopt_with_a_part(void **state)
{
	static char memory[32768] __attribute__((aligned(64)));
	static const struct {
		struct nm_run ours[NM_POOLS];
		bool good;
	} cases[] = {
		{{{0, 4}, {0, 4}, {2, 6}}, true},
		{{{3, 1}, {1, 2}, {7, 1}}, true},
		{{{0, 0}, {0, 0}, {5, 2}}, true},
		{{{9, 0}, {9, 0}, {9, 0}}, true}, /* none: where doesn't matter */
		{{{0, 5}, {0, 4}, {2, 6}}, false},
		{{{1, 4}, {0, 4}, {2, 6}}, false},
		{{{4, 1}, {0, 4}, {2, 6}}, false},
		{{{0, 4}, {0, 4}, {1, 6}}, false}, /* a reserved buffer */
		{{{0, 4}, {0, 4}, {2, 7}}, false},
		{{{0, 4}, {UINT32_MAX, 2}, {2, 6}}, false},
		{{{0, 4}, {2, UINT32_MAX}, {2, 6}}, false},
	};
	struct nm_core core;

	nm_core_init(&core);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct nm_run *ours = cases[i].ours;
		struct nm_region *region;
		struct nm_error err;
		uint32_t index, first;

		region = nm_region_adopt(
			&core, memory, sizeof(memory), geometries[0].pool, ours, &err);
		assert_int_equal(!!region, cases[i].good);
		if (!region)
			continue;
		for (int pool = 0; pool < NM_POOLS; pool++) {
			for (uint32_t n = 0; n < ours[pool].count; n++) {
				assert_int_equal(nm_bufown_alloc(region, pool, 7, &index), 0);
				assert_int_equal(index, ours[pool].first + n);
			}
			assert_int_equal(nm_bufown_alloc(region, pool, 7, &index), -ENOMEM);
			assert_int_equal(
				nm_bufown_free(region, pool, NM_OWNER_FOREIGN, 2), -EINVAL);
		}
		assert_int_equal(nm_bufown_free_owner(region, 7),
			ours[0].count + ours[1].count + ours[2].count);
		if (ours[NM_POOL_BUF].count > 0)
			assert_int_equal(nm_bufown_alloc_run(region, NM_POOL_BUF, 7,
						 ours[NM_POOL_BUF].count, &first),
				0);
		assert_int_equal(nm_bufown_alloc_run(region, NM_POOL_BUF, 7, 1, &first), -ENOMEM);
		nm_region_put(region);
	}
	core_check_empty(&core);
	nm_core_destroy(&core);
}

/* ---- memory that is there, regions by their number ------------------------------------------ */

static void on_external_memory(void **state)
{
	static const struct {
		uint64_t bytes;
		struct nm_region_params wishes;
		int error;
	} cases[] = {
		{1 << 20, {{0}}, 0},
		{64 << 20, {{0}}, 0},
		{1 << 20, {{1, 2, 100}, {256, 1024, 2048}}, 0},
		{1 << 20, {{1, 2, 1000000}, {256, 1024, 2048}}, 0}, /* as many as fit */
		{16384, {{1, 1, 3}, {256, 512, 64}}, 0},
		{8192 + 3 * 64, {{1, 1, 3}, {256, 512, 64}}, 0},
		{8192 + 3 * 64 - 1, {{1, 1, 3}, {256, 512, 64}}, -ENOMEM}, /* reserved ones only */
		{4096, {{0}}, -ENOMEM},
		{0, {{0}}, -ENOMEM},
		{1 << 20, {{1000000, 1000000, 1000000}, {0}}, -ENOMEM},
		{1 << 20, {{1000001, 0, 0}, {0}}, -EINVAL},
		{1 << 20, {{0, 0, 2}, {0}}, -EINVAL},
		{1 << 20, {{0}, {0, 0, 65537}}, -EINVAL},
		{1 << 20, {{0}, {0, 0, 63}}, -EINVAL},
		{1 << 20, {{0}, {UINT32_MAX, 0, 0}}, -EINVAL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct os_mem *mem =
			os_mem_alloc(cases[i].bytes ? cases[i].bytes : 1, &(struct nm_error){0});
		const struct nm_pool_geometry *pool;
		struct nm_region *region;
		struct nm_core core;
		struct nm_error err = {0};

		nm_core_init(&core);
		region = nm_region_create_on(&core, mem, cases[i].bytes, &cases[i].wishes, &err);
		if (err.code != cases[i].error)
			fail_msg("case %zu: %d, %s", i, err.code, err.text);
		assert_int_equal(!!region, !err.code);
		assert_int_equal(err.text[0] != '\0', !region);
		if (!region) {
			os_mem_free(mem); /* it is still the caller's */
			nm_core_destroy(&core);
			continue;
		}
		pool = region->pool;
		assert_true(geometry_good(pool, cases[i].bytes));
		assert_ptr_equal(region->base, os_mem_addr(mem));
		for (int p = 0; p < NM_POOLS; p++) {
			assert_true(pool[p].size >= cases[i].wishes.size[p]);
			if (p != NM_POOL_BUF && cases[i].wishes.count[p])
				assert_int_equal(pool[p].count, cases[i].wishes.count[p]);
		}
		if (pool[NM_POOL_BUF].count != cases[i].wishes.count[NM_POOL_BUF]) {
			uint64_t end = pool[NM_POOL_BUF].offset +
				       (uint64_t)pool[NM_POOL_BUF].count * pool[NM_POOL_BUF].size;

			assert_true(end + pool[NM_POOL_BUF].size > cases[i].bytes);
		}
		region_check(region);
		nm_region_put(region); /* and the memory with it */
		core_check_empty(&core);
		nm_core_destroy(&core);
	}
}

static void external_without_memory(void **state)
{
	const struct nm_region_params wishes = {{0}, {0}};
	struct os_mem *mem = os_mem_alloc(1 << 20, &(struct nm_error){0});
	struct nm_region *region = NULL;
	uint32_t failures = 0;
	struct nm_core core;
	struct nm_error err;

	nm_core_init(&core);
	for (uint32_t nth = 1; !region; nth++) {
		fail_allocation(nth);
		region = nm_region_create_on(&core, mem, 1 << 20, &wishes, &err);
		assert_int_equal(err.code, region ? 0 : -ENOMEM);
		failures += !region;
	}
	fail_allocation(0);
	assert_int_equal(failures, 2);
	nm_region_put(region);
	nm_core_destroy(&core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adopt_table),
		cmocka_unit_test(adopt_any_geometry),
		cmocka_unit_test(foreign_objects_are_foreign),
		cmocka_unit_test(adopt_with_a_part),
		cmocka_unit_test(on_external_memory),
		cmocka_unit_test(external_without_memory),
	};

	test_seed();
	return cmocka_run_group_tests_name("region_adopt", tests, NULL, NULL);
}
