/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of DMA ranges: what is taken, what is refused, which memory a window shows. */
#include "guestmem.h"
#include "os_user.h"
#include "testutil.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { PAGE = GUESTMEM_PAGE };
enum { R = GUESTMEM_READ, W = GUESTMEM_WRITE, RW = R | W };

static bool same_inodes;

int __real_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st);

int __wrap_fstat64(int fd, struct stat *st)
{
	int error = __real_fstat64(fd, st);

	if (same_inodes)
		st->st_ino = 1;
	return error;
}

/* Two files with the same number, which the kernel gives again after 2^32 of them: the range of the larger
 * one is not looked for in the smaller one, where to touch it would be the end. */
static void test_same_inode(void **state)
{
	struct guestmem *gm = guestmem_new("test");
	int small = make_memfd(PAGE, RAM_SEALS), large = make_memfd(3 * PAGE, RAM_SEALS);
	struct guestmem_window window;

	same_inodes = true;
	assert_int_equal(guestmem_map(gm, 0, PAGE, RW, small, 0), 0);
	assert_int_equal(guestmem_map(gm, 4 * PAGE, 2 * PAGE, RW, large, PAGE), 0);
	same_inodes = false;
	assert_int_equal(guestmem_open(gm, 5 * PAGE, PAGE, RW, &window), 0);
	*(volatile char *)window.addr = 7;
	guestmem_close(gm, &window);
	guestmem_unmap_all(gm);
	guestmem_free(gm);
	close(small);
	close(large);
}

/* "dd" among the flags of the mapping that begins there. */
static bool is_left_out_of_dumps(const void *addr)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	unsigned long begin, end, at = 0;
	bool found = false;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) ==
			2) /* NOLINT(cert-err34-c): the kernel's */
			at = begin;
		else if (at == (unsigned long)addr && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, " dd ") || strstr(line, " dd\n");
	}
	fclose(maps);
	return found;
}

/* What a guest has in its memory is not the host's to keep. */
static void test_core_dumps(void **state)
{
	for (int wanted = 0; wanted < 2; wanted++) {
		struct guestmem *gm = guestmem_new("test");
		int fd = make_memfd(4 * PAGE, RAM_SEALS);
		struct guestmem_window window;

		os_mem_want_dump(wanted);
		assert_int_equal(guestmem_map(gm, 0, 4 * PAGE, RW, fd, 0), 0);
		assert_int_equal(guestmem_open(gm, PAGE, PAGE, RW, &window), 0);
		assert_int_equal(is_left_out_of_dumps(window.addr), !wanted);
		guestmem_close(gm, &window);
		guestmem_unmap_all(gm);
		guestmem_free(gm);
		close(fd);
	}
	os_mem_want_dump(false);
}

static void test_arguments(void **state)
{
	struct guestmem *gm = guestmem_new("test");

	assert_int_equal(guestmem_map(gm, 0, 0, RW, -1, 0), -EINVAL);
	assert_int_equal(guestmem_map(gm, 1, PAGE, RW, -1, 0), -EINVAL);
	assert_int_equal(guestmem_map(gm, 0, PAGE + 1, RW, -1, 0), -EINVAL);
	assert_int_equal(guestmem_map(gm, 0, PAGE, 0, -1, 0), -EINVAL);
	assert_int_equal(guestmem_map(gm, 0, PAGE, 4 | RW, -1, 0), -EINVAL);
	assert_int_equal(
		guestmem_map(gm, 0, PAGE, RW, -1, PAGE), -EINVAL); /* offset without file */
	/* One page beyond the end of the address space, and as much as the whole of it. */
	assert_int_equal(guestmem_map(gm, UINT64_MAX - PAGE + 1, 2 * PAGE, RW, -1, 0), -EINVAL);
	assert_int_equal(guestmem_map(gm, 2 * PAGE, UINT64_MAX - PAGE + 1, RW, -1, 0), -EINVAL);
	assert_int_equal(guestmem_ranges(gm), 0);
	/* The last page is a page. */
	assert_int_equal(guestmem_map(gm, UINT64_MAX - PAGE + 1, PAGE, RW, -1, 0), 0);
	assert_true(guestmem_has(gm, UINT64_MAX - PAGE + 1, PAGE));
	assert_int_equal(guestmem_unmap(gm, UINT64_MAX - PAGE + 1, PAGE), 0);
	guestmem_free(gm);
}

static void test_overlap(void **state)
{
	struct guestmem *gm = guestmem_new("test");
	const uint64_t base = 16 * PAGE, size = 4 * PAGE;
	int64_t at;
	uint64_t len;

	assert_int_equal(guestmem_map(gm, base, size, RW, -1, 0), 0);
	for (at = -6; at <= 6; at++) {
		for (len = 1; len <= 8; len++) {
			const int64_t from = 16 + at, to = from + (int64_t)len;
			const int apart = to <= 16 || from >= 20;
			int error = guestmem_map(gm, (uint64_t)from * PAGE, len * PAGE, RW, -1, 0);

			assert_int_equal(error, apart ? 0 : -EEXIST);
			if (apart)
				assert_int_equal(
					guestmem_unmap(gm, (uint64_t)from * PAGE, len * PAGE), 0);
			assert_int_equal(guestmem_ranges(gm), 1);
		}
	}
	/* Unmap wants exactly the range. */
	assert_int_equal(guestmem_unmap(gm, base, size - PAGE), -ENOENT);
	assert_int_equal(guestmem_unmap(gm, base + PAGE, size - PAGE), -ENOENT);
	assert_int_equal(guestmem_unmap(gm, base - PAGE, size), -ENOENT);
	assert_int_equal(guestmem_unmap(gm, base, 0), -ENOENT);
	assert_int_equal(guestmem_unmap(gm, base, size), 0);
	assert_int_equal(guestmem_unmap(gm, base, size), -ENOENT);
	guestmem_free(gm);
}

static void test_overlap_helper(void **state)
{
	assert_true(guestmem_overlap(0, 1, 0, 1));
	assert_false(guestmem_overlap(0, 1, 1, 1));
	assert_false(guestmem_overlap(1, 1, 0, 1));
	assert_true(guestmem_overlap(0, UINT64_MAX, UINT64_MAX - 1, 1));
	assert_true(guestmem_overlap(UINT64_MAX - 1, 1, 0, UINT64_MAX));
	assert_false(guestmem_overlap(5, 0, 0, 10));
	assert_false(guestmem_overlap(0, 10, 5, 0));
}

static void test_limit(void **state)
{
	struct guestmem *gm = guestmem_new("test");
	uint64_t i;

	/* From the top down, so that each insertion moves the rest. */
	for (i = GUESTMEM_RANGES_MAX; i > 0; i--)
		assert_int_equal(guestmem_map(gm, i * 2 * PAGE, PAGE, R, -1, 0), 0);
	assert_int_equal(guestmem_map(gm, 0, PAGE, R, -1, 0), -ENOSPC);
	assert_int_equal(guestmem_unmap(gm, 100 * 2 * PAGE, PAGE), 0);
	assert_int_equal(guestmem_map(gm, 0, PAGE, R, -1, 0), 0);
	assert_int_equal(guestmem_unmap_all(gm), 0);
	assert_int_equal(guestmem_ranges(gm), 0);
	guestmem_free(gm);
}

static void test_window(void **state)
{
	struct guestmem *gm = guestmem_new("test");
	const uint64_t ram = 64 * PAGE;
	int fd = make_memfd(ram, RAM_SEALS);
	struct guestmem_window w, v;
	char *mine = mmap(NULL, ram, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(mine != MAP_FAILED);
	/* File pages 8..15 at guest page 100, file pages 0..7 right behind them. */
	assert_int_equal(guestmem_map(gm, 100 * PAGE, 8 * PAGE, RW, fd, 8 * PAGE), 0);
	assert_int_equal(guestmem_map(gm, 108 * PAGE, 8 * PAGE, R, fd, 0), 0);

	assert_int_equal(guestmem_open(gm, 103 * PAGE + 192, 4096, RW, &w), 0);
	strcpy(mine + 11 * PAGE + 192, "guest");
	assert_string_equal(w.addr, "guest");
	strcpy(w.addr, "host");
	assert_string_equal(mine + 11 * PAGE + 192, "host");

	/* While it is open, the range stays; another one may go. */
	assert_int_equal(guestmem_unmap(gm, 100 * PAGE, 8 * PAGE), -EBUSY);
	assert_int_equal(guestmem_unmap_all(gm), -EBUSY);
	assert_int_equal(guestmem_unmap(gm, 108 * PAGE, 8 * PAGE), 0);
	assert_int_equal(guestmem_map(gm, 108 * PAGE, 8 * PAGE, R, fd, 0), 0);

	/* Two windows, closed in either order; closing a closed one does nothing. */
	assert_int_equal(guestmem_open(gm, 108 * PAGE, PAGE, R, &v), 0);
	guestmem_close(gm, &w);
	guestmem_close(gm, &w);
	guestmem_close(gm, &v);

	assert_int_equal(guestmem_open(gm, 108 * PAGE, PAGE, RW, &w), -EACCES);
	assert_null(w.addr);
	assert_int_equal(guestmem_open(gm, 100 * PAGE, 0, R, &w), -EINVAL);
	assert_int_equal(guestmem_open(gm, 100 * PAGE, UINT64_MAX, R, &w), -EINVAL);
	assert_int_equal(guestmem_open(gm, 107 * PAGE, 2 * PAGE, R, &w), -EFAULT); /* two ranges */
	assert_int_equal(guestmem_open(gm, 99 * PAGE, 2 * PAGE, R, &w), -EFAULT);
	assert_int_equal(guestmem_open(gm, 116 * PAGE, 1, R, &w), -EFAULT);
	assert_int_equal(guestmem_open(gm, 99 * PAGE, PAGE, R, &w), -EFAULT);
	assert_int_equal(guestmem_open(gm, 115 * PAGE + 1, PAGE, R, &w), -EFAULT);
	assert_int_equal(guestmem_open(gm, 115 * PAGE + 1, PAGE - 1, R, &w), 0);
	guestmem_close(gm, &w);

	guestmem_free(gm);
	munmap(mine, ram);
	close(fd);
}

/* A range whose file could take the process down is kept, and never mapped. */
static void expect_unusable(int fd, uint64_t size, uint64_t offset)
{
	struct guestmem *gm = guestmem_new("test");
	struct guestmem_window w;

	assert_int_equal(guestmem_map(gm, 0, size, RW, fd, offset), 0);
	assert_true(guestmem_has(gm, 0, size));
	assert_int_equal(guestmem_open(gm, 0, PAGE, R, &w), -EFAULT);
	assert_int_equal(guestmem_map(gm, 0, size, RW, -1, 0), -EEXIST);
	assert_int_equal(guestmem_unmap(gm, 0, size), 0);
	guestmem_free(gm);
}

static void test_unusable(void **state)
{
	int before = count_fds(0);
	int loose = make_memfd(4 * PAGE, 0);
	int grows = make_memfd(4 * PAGE, F_SEAL_GROW);
	int sealed = make_memfd(4 * PAGE, RAM_SEALS);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int event = eventfd(0, EFD_CLOEXEC);
	int ends[2];
	char path[] = "/tmp/guestmem-XXXXXX";
	int file = mkostemp(path, O_CLOEXEC);

	assert_true(file >= 0 && null >= 0 && event >= 0);
	assert_int_equal(ftruncate(file, 4 * PAGE), 0);
	unlink(path);
	assert_int_equal(pipe(ends), 0);

	expect_unusable(loose, 4 * PAGE, 0);
	expect_unusable(grows, 4 * PAGE, 0);
	expect_unusable(file, 4 * PAGE, 0);
	expect_unusable(null, 4 * PAGE, 0);
	expect_unusable(event, 4 * PAGE, 0);
	expect_unusable(ends[0], 4 * PAGE, 0);
	expect_unusable(sealed, 5 * PAGE, 0);
	expect_unusable(sealed, 4 * PAGE, PAGE);
	expect_unusable(sealed, PAGE, 4 * PAGE);
	expect_unusable(sealed, PAGE, 1ull << 62);
	expect_unusable(1000, PAGE, 0); /* not open at all */

	close(loose);
	close(grows);
	close(sealed);
	close(null);
	close(event);
	close(ends[0]);
	close(ends[1]);
	close(file);
	assert_int_equal(count_fds(0), before);
}

/* offset + size wraps around: refused, not even remembered. */
static void test_offset_wraps(void **state)
{
	struct guestmem *gm = guestmem_new("test");
	int fd = make_memfd(4 * PAGE, RAM_SEALS);

	assert_int_equal(guestmem_map(gm, 0, 2 * PAGE, RW, fd, UINT64_MAX - PAGE + 1), -EINVAL);
	assert_int_equal(guestmem_map(gm, 0, PAGE, RW, fd, 1), -EINVAL);
	guestmem_free(gm);
	close(fd);
}

/* A descriptor that can't be written gives no window to write. */
static void test_readonly_file(void **state)
{
	struct guestmem *gm = guestmem_new("test");
	int fd = make_memfd(4 * PAGE, RAM_SEALS);
	struct guestmem_window w;
	char path[64];
	int ro;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ro >= 0);
	/* The same file twice, with different rights: they must not be mixed up. */
	assert_int_equal(guestmem_map(gm, 0, PAGE, RW, fd, 0), 0);
	assert_int_equal(guestmem_map(gm, PAGE, PAGE, RW, ro, PAGE), 0);
	assert_int_equal(guestmem_open(gm, PAGE, PAGE, RW, &w), -EACCES);
	assert_int_equal(guestmem_open(gm, PAGE, PAGE, R, &w), 0);
	guestmem_close(gm, &w);
	assert_int_equal(guestmem_open(gm, 0, PAGE, RW, &w), 0);
	guestmem_close(gm, &w);
	guestmem_free(gm);
	close(ro);
	close(fd);
}

/* One descriptor per file, not per range; files beyond the limit are not held. */
static void test_descriptors(void **state)
{
	struct guestmem *gm = guestmem_new("test");
	int fd = make_memfd(256 * PAGE, RAM_SEALS);
	int before = count_fds(0);
	struct guestmem_window w;
	uint64_t i;

	for (i = 0; i < 256; i++)
		assert_int_equal(guestmem_map(gm, i * PAGE, PAGE, RW, fd, (255 - i) * PAGE), 0);
	assert_int_equal(count_fds(0), before + 1);
	for (i = 0; i < 255; i++)
		assert_int_equal(guestmem_unmap(gm, i * PAGE, PAGE), 0);
	assert_int_equal(count_fds(0), before + 1);
	assert_int_equal(guestmem_unmap(gm, 255 * PAGE, PAGE), 0);
	assert_int_equal(count_fds(0), before);

	for (i = 0; i < GUESTMEM_FILES_MAX + 3; i++) {
		int other = make_memfd(PAGE, RAM_SEALS);

		assert_int_equal(guestmem_map(gm, i * PAGE, PAGE, RW, other, 0), 0);
		close(other);
	}
	assert_int_equal(count_fds(0), before + GUESTMEM_FILES_MAX);
	assert_int_equal(guestmem_open(gm, (GUESTMEM_FILES_MAX - 1) * PAGE, PAGE, RW, &w), 0);
	guestmem_close(gm, &w);
	assert_int_equal(guestmem_open(gm, GUESTMEM_FILES_MAX * PAGE, PAGE, RW, &w), -EFAULT);
	guestmem_free(gm);
	assert_int_equal(count_fds(0), before);
	close(fd);
}

/*
 * Random maps, unmaps and lookups against a model: an array that says for each page
 * which range it belongs to.
 */
enum { MODEL_PAGES = 64 };

struct model {
	int owner[MODEL_PAGES]; /* first page of its range, -1: none */
	int len[MODEL_PAGES];   /* of the range that starts here */
};

static bool model_free(const struct model *m, int from, int len)
{
	int i;

	for (i = from; i < from + len; i++) {
		if (m->owner[i] >= 0)
			return false;
	}
	return true;
}

static void test_model(void **state)
{
	struct guestmem *gm = guestmem_new("test");
	int fd = make_memfd(MODEL_PAGES * PAGE, RAM_SEALS);
	char *mine = mmap(NULL, MODEL_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct model m;
	uint64_t seed = 0x1234567;
	int i, k;

	assert_true(mine != MAP_FAILED);
	for (i = 0; i < MODEL_PAGES; i++) {
		m.owner[i] = -1;
		memset(mine + i * PAGE, i + 1, PAGE);
	}
	for (i = 0; i < 20000; i++) {
		const int from = (int)(next_random(&seed) % MODEL_PAGES);
		const int len = 1 + (int)(next_random(&seed) % 6);
		struct guestmem_window w;
		int error;

		if (from + len > MODEL_PAGES)
			continue;
		switch (next_random(&seed) % 3) {
		case 0:
			error = guestmem_map(gm, (uint64_t)from * PAGE, (uint64_t)len * PAGE, RW,
				fd, (uint64_t)from * PAGE);
			assert_int_equal(error, model_free(&m, from, len) ? 0 : -EEXIST);
			for (k = from; !error && k < from + len; k++)
				m.owner[k] = from;
			if (!error)
				m.len[from] = len;
			break;
		case 1:
			error = guestmem_unmap(gm, (uint64_t)from * PAGE, (uint64_t)len * PAGE);
			assert_int_equal(
				error, m.owner[from] == from && m.len[from] == len ? 0 : -ENOENT);
			for (k = from; !error && k < from + len; k++)
				m.owner[k] = -1;
			break;
		case 2:
			error = guestmem_open(
				gm, (uint64_t)from * PAGE, (uint64_t)len * PAGE, RW, &w);
			if (m.owner[from] >= 0 && m.owner[from] == m.owner[from + len - 1]) {
				assert_int_equal(error, 0);
				assert_int_equal(((char *)w.addr)[0], from + 1);
				assert_int_equal(((char *)w.addr)[len * PAGE - 1], from + len);
				guestmem_close(gm, &w);
			} else {
				assert_int_equal(error, -EFAULT);
			}
			break;
		}
	}
	guestmem_free(gm);
	munmap(mine, MODEL_PAGES * PAGE);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_core_dumps),
		cmocka_unit_test(test_same_inode),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_overlap_helper),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_unusable),
		cmocka_unit_test(test_offset_wraps),
		cmocka_unit_test(test_readonly_file),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests_name("guestmem", tests, NULL, NULL);
}
