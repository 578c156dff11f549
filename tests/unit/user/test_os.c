/* SPDX-License-Identifier: BSD-2-Clause */
/* user/os.c: tables, and who gives memory back. */
#include "nm_error.h"
#include "os.h"
#include "os_user.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/mman.h>

enum { PAGE = 4096, TABLE = 64 << 20 };

static uint32_t pages_there(const void *mem, size_t bytes)
{
	static unsigned char there[TABLE / PAGE + 1];
	uintptr_t from = (uintptr_t)mem / PAGE * PAGE;
	uint32_t pages = (uint32_t)((bytes + PAGE - 1) / PAGE), count = 0;

	assert_int_equal(mincore((void *)from, (size_t)pages * PAGE, there), 0);
	for (uint32_t i = 0; i < pages; i++)
		count += there[i] & 1;
	return count;
}

static void a_table_costs_what_is_used(void **state)
{
	char *table = os_table_alloc(TABLE);

	assert_non_null(table);
	assert_int_equal((uintptr_t)table % 64, 0);
	assert_true(pages_there(table, TABLE) <= 1);
	assert_int_equal(table[TABLE - 1] + table[0] + table[TABLE / 2], 0);
	table[TABLE - 1] = 1;
	os_table_free(table);
	os_table_free(NULL);
	assert_null(os_table_alloc(SIZE_MAX));
	assert_null(os_table_alloc(SIZE_MAX - PAGE));
	assert_null(os_table_alloc(1ULL << 60));
}

static struct os_job *jobs;

static void later(struct os_job *job)
{
	job->next = jobs;
	jobs = job;
}

static void others_give_it_back(void **state)
{
	struct nm_error err;
	struct os_mem *mem = os_mem_alloc(32 << 20, &err);
	char *table = os_table_alloc(TABLE), *addr;
	uint32_t count = 0;

	assert_non_null(mem);
	assert_non_null(table);
	addr = os_mem_addr(mem);
	memset(addr, 1, 32 << 20);
	os_mem_free_by(later);
	os_mem_free(mem);
	os_table_free(table);
	os_mem_free_by(NULL);
	assert_int_equal(addr[0] + table[0], 1); /* still there */
	while (jobs) {
		struct os_job *job = jobs;

		jobs = job->next;
		job->run(job);
		count++;
	}
	assert_int_equal(count, 2);
	/* All parts of it are gone. */
	assert_int_equal(msync(addr, PAGE, MS_ASYNC), -1);
	assert_int_equal(msync(addr + (32 << 20) - PAGE, PAGE, MS_ASYNC), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_costs_what_is_used),
		cmocka_unit_test(others_give_it_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
