/* SPDX-License-Identifier: BSD-2-Clause */
/* DMA ranges on huge pages: any window of them, and files whose owner takes pages away. */
#include "guestmem.h"
#include "fault.h"
#include "testutil.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = GUESTMEM_PAGE };
enum { RW = GUESTMEM_READ | GUESTMEM_WRITE };
enum { HUGE = 2 << 20 };

/* A memfd on huge pages, two of them, sealed; -1: this machine can't give as many. */
static int make_huge(void)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
	void *map = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, 2 * HUGE) == 0)
		map = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	munmap(map, 2 * HUGE);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, RAM_SEALS), 0);
	return fd;
}

/* Punches a hole over the first of two huge pages, and takes all that the system has left. What is to be closed to
 * give it back. */
static int take_huge_pages(int fd)
{
	int all = memfd_create("all", MFD_CLOEXEC | MFD_HUGETLB);
	off_t at = 0;

	assert_true(all >= 0);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE), 0);
	while (fallocate(all, 0, at, HUGE) == 0)
		at += HUGE;
	return all;
}

/* Windows of any pages. A hole that the owner punches, with nothing left to fill it, is the owner's loss alone. */
static void test_huge_pages(void **state)
{
	struct guestmem *gm = guestmem_new("test");
	struct guestmem_window w, all;
	uint64_t before = fault_count();
	int fd = make_huge(), taken;

	assert_true(fd >= 0);
	assert_int_equal(fault_init(), 0);
	assert_int_equal(guestmem_map(gm, 0, 2 * HUGE, RW, fd, 0), 0);
	assert_int_equal(guestmem_open(gm, HUGE + 3 * PAGE + 8, 16, RW, &w), 0);
	assert_int_equal(guestmem_open(gm, 0, 2 * HUGE, RW, &all), 0);
	memcpy(w.addr, "across", 7);
	assert_string_equal((char *)all.addr + HUGE + 3 * PAGE + 8, "across");
	guestmem_close(gm, &w);
	assert_int_equal(guestmem_open(gm, HUGE - PAGE, 2 * PAGE, RW, &w), 0);
	memset(w.addr, 1, 2 * PAGE);
	assert_int_equal(((char *)all.addr)[HUGE + PAGE - 1], 1);
	assert_int_equal(fault_count(), before);
	taken = take_huge_pages(fd);
	((char *)w.addr)[0] = 9;
	assert_int_equal(((char *)w.addr)[0], 9);
	assert_int_equal(fault_count(), before + 1);
	guestmem_close(gm, &w);
	guestmem_close(gm, &all);
	guestmem_free(gm);
	close(taken);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_huge_pages),
	};
	int fd = make_huge();

	if (fd < 0) {
		puts("1..0 # SKIP no two huge pages are free: /proc/sys/vm/nr_hugepages");
		return 0;
	}
	close(fd);
	return cmocka_run_group_tests_name("guestmem_huge", tests, NULL, NULL);
}
