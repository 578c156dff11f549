/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages that are gone when they are touched: a memfd that shrinks is the simplest of them, and needs no huge pages. */
#include "fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { PAGE = 4096, PAGES = 8 };

static char *map_file(int *fd)
{
	char *mem;

	assert_int_equal(
		fault_init(), 0); /* in each test: cmocka has a handler of its own for each */
	*fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(*fd >= 0);
	assert_int_equal(ftruncate(*fd, PAGES * PAGE), 0);
	mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	memset(mem, 0x5a, PAGES * PAGE);
	return mem;
}

/* Both are gone. */
static void end(char *mem, int fd)
{
	fault_unguard(mem);
	assert_int_equal(munmap(mem, PAGES * PAGE), 0);
	close(fd);
}

static void a_page_that_is_gone_is_replaced(void **state)
{
	uint64_t before = fault_count();
	int fd;
	char *mem = map_file(&fd);

	assert_int_equal(fault_guard(mem, PAGES * PAGE, PAGE), 0);
	assert_int_equal(ftruncate(fd, 3 * PAGE), 0);
	errno = ENOTTY;
	assert_int_equal(mem[3 * PAGE + 17], 0); /* read: zeros */
	assert_int_equal(errno, ENOTTY);
	memset(mem + 5 * PAGE, 1, PAGE); /* written: stays */
	assert_int_equal(mem[6 * PAGE - 1], 1);
	assert_int_equal(mem[0], 0x5a); /* what is there is untouched, and shared */
	mem[0] = 7;
	assert_int_equal(pwrite(fd, "x", 1, 1), 1);
	assert_int_equal(mem[1], 'x');
	assert_int_equal(fault_count() - before, 2);
	end(mem, fd);
}

static void larger_pages_are_replaced_whole(void **state)
{
	uint64_t before = fault_count();
	int fd;
	char *mem = map_file(&fd);
	char *whole = (char *)(((uintptr_t)mem + 2 * PAGE - 1) & ~(uintptr_t)(2 * PAGE - 1));

	assert_int_equal(fault_guard(whole, 4 * PAGE, 2 * PAGE), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(whole[PAGE], 0);
	assert_int_equal(whole[0], 0);
	assert_int_equal(fault_count() - before, 1);
	fault_unguard(whole);
	end(mem, fd);
}

/* The signal that ended a child which touches the page. */
static int touched_by_a_child(volatile char *page)
{
	const struct rlimit none = {0};
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		alarm(20);
		(void)*page;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void what_is_not_guarded_ends_the_process(void **state)
{
	int fd;
	char *mem = map_file(&fd);

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(touched_by_a_child(mem), SIGBUS);
	assert_int_equal(fault_guard(mem, 2 * PAGE, PAGE), 0);
	assert_int_equal(touched_by_a_child(mem + PAGE), 0);
	assert_int_equal(touched_by_a_child(mem + 2 * PAGE), SIGBUS); /* behind it */
	fault_unguard(mem);
	assert_int_equal(touched_by_a_child(mem), SIGBUS);
	end(mem, fd);
}

static void arguments_and_room_have_bounds(void **state)
{
	static char at[(FAULT_MAPPINGS + 1) * 64] __attribute__((aligned(64)));

	assert_int_equal(fault_guard(at + 1, 64, 64), -EINVAL);
	assert_int_equal(fault_guard(at, 65, 64), -EINVAL);
	assert_int_equal(fault_guard(at, 64, 0), -EINVAL);
	assert_int_equal(fault_guard(at, 96, 96), -EINVAL);
	for (int i = 0; i < FAULT_MAPPINGS; i++)
		assert_int_equal(fault_guard(at + 64 * i, 64, 64), 0);
	assert_int_equal(fault_guard(at + 64 * FAULT_MAPPINGS, 64, 64), -ENOSPC);
	fault_unguard(at + 64 * 77);
	assert_int_equal(fault_guard(at + 64 * FAULT_MAPPINGS, 64, 64), 0);
	for (int i = 0; i <= FAULT_MAPPINGS; i++)
		fault_unguard(at + 64 * i);
}

static char *shared_page;

static void *touch_pages(void *arg)
{
	for (int i = 0; i < PAGES; i++)
		((volatile char *)shared_page)[i * PAGE] = 1;
	return NULL;
}

static void several_threads_at_a_time(void **state)
{
	pthread_t thread[4];
	int fd;

	for (int round = 0; round < 50; round++) {
		shared_page = map_file(&fd);
		assert_int_equal(fault_guard(shared_page, PAGES * PAGE, PAGE), 0);
		assert_int_equal(ftruncate(fd, 0), 0);
		for (int i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&thread[i], NULL, touch_pages, NULL), 0);
		for (int i = 0; i < 4; i++)
			pthread_join(thread[i], NULL);
		end(shared_page, fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_that_is_gone_is_replaced),
		cmocka_unit_test(larger_pages_are_replaced_whole),
		cmocka_unit_test(what_is_not_guarded_ends_the_process),
		cmocka_unit_test(arguments_and_room_have_bounds),
		cmocka_unit_test(several_threads_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
