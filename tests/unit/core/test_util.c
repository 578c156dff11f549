/* SPDX-License-Identifier: BSD-2-Clause */
/* core/util.c, and what the core relies on, on its user-space platform (core/os.h). */
#include "util.h"
#include "os_user.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void snprintf_cuts_and_counts(void **state)
{
	char buf[8];

	memset(buf, 'x', sizeof(buf));
	assert_int_equal(os_snprintf(buf, 4, "%s", "abcdef"), 6);
	assert_memory_equal(buf, "abc\0xxxx", 8);
	assert_int_equal(os_snprintf(buf, sizeof(buf), "%d", -17), 3);
	assert_string_equal(buf, "-17");
	assert_int_equal(os_snprintf(NULL, 0, "%u", 4096u), 4);
}

static bool all_zero(const void *mem, size_t bytes)
{
	const uint8_t *p = mem;

	while (bytes > 0 && *p++ == 0)
		bytes--;
	return bytes == 0;
}

static void memory_is_zeroed_and_aligned(void **state)
{
	static const size_t sizes[] = {0, 1, 63, 64, 65, 4095, 100000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *dirty = os_zalloc(sizes[i]), *mem;

		assert_non_null(dirty);
		memset(dirty, 0xee, sizes[i]);
		os_free(dirty);
		mem = os_zalloc(sizes[i]);
		assert_non_null(mem);
		assert_int_equal((uintptr_t)mem % NM_CACHE_LINE, 0);
		assert_true(all_zero(mem, sizes[i]));
		os_free(mem);
	}
	os_free(NULL);
}

/* A size that would wrap when it is rounded up. */
static void absurd_sizes_fail(void **state)
{
	assert_null(os_zalloc(SIZE_MAX));
	assert_null(os_zalloc(SIZE_MAX - 62));
	assert_null(os_mem_alloc(1ULL << 62, &(struct nm_error){0}));
}

/* Whoever gets the descriptor of a region can't make others fault by shrinking it. */
static void region_memory_is_sealed(void **state)
{
	struct os_mem *mem = os_mem_alloc(1 << 20, &(struct nm_error){0});
	int seals;

	assert_non_null(mem);
	assert_true(all_zero(os_mem_addr(mem), 1 << 20));
	assert_int_equal((uintptr_t)os_mem_addr(mem) % 4096, 0);
	seals = fcntl(os_mem_fd(mem), F_GET_SEALS);
	assert_int_equal(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(ftruncate(os_mem_fd(mem), 4096), -1);
	assert_int_equal(ftruncate(os_mem_fd(mem), 2 << 20), -1);
	os_mem_free(mem);
	os_mem_free(NULL);
}

static void random_differs(void **state)
{
	uint8_t a[64] = {0}, b[64] = {0};

	os_random(a, sizeof(a));
	os_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_false(all_zero(a, sizeof(a)));
}

static uint32_t signals;

static void on_signal(void *arg)
{
	signals += *(const uint32_t *)arg;
}

static void wakeup_calls_who_waits(void **state)
{
	struct os_wakeup w;
	uint32_t two = 2;

	os_wakeup_init(&w);
	os_wakeup_signal(&w); /* nobody waits */
	os_wakeup_set(&w, on_signal, &two);
	os_wakeup_signal(&w);
	os_wakeup_signal(&w);
	assert_int_equal(signals, 4);
	os_wakeup_set(&w, NULL, NULL);
	os_wakeup_signal(&w);
	assert_int_equal(signals, 4);
	os_wakeup_destroy(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(snprintf_cuts_and_counts),
		cmocka_unit_test(memory_is_zeroed_and_aligned),
		cmocka_unit_test(absurd_sizes_fail),
		cmocka_unit_test(region_memory_is_sealed),
		cmocka_unit_test(random_differs),
		cmocka_unit_test(wakeup_calls_who_waits),
	};

	test_seed();
	return cmocka_run_group_tests_name("util", tests, NULL, NULL);
}
