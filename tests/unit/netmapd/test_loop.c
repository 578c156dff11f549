/* SPDX-License-Identifier: BSD-2-Clause */
/* The event loop, with callbacks that take handles out while events are being handed out. */
#include "loop.h"
#include "testutil.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>

enum { HANDLES = 8 };

static struct fixture {
	struct loop *loop;
	int fd[HANDLES];
	struct loop_handle *handle[HANDLES];
	int called[HANDLES];
	int victim[HANDLES]; /* whom this callback takes out; -1: nobody */
} f;

static void callback(void *arg, uint32_t events)
{
	const int i = (int)(intptr_t)arg;
	const int victim = f.victim[i];

	assert_true(events & EPOLLIN);
	f.called[i]++;
	if (victim >= 0 && f.handle[victim]) {
		loop_del(f.loop, f.handle[victim]);
		f.handle[victim] = NULL;
	}
}

static int setup(void **state)
{
	int i;

	assert_int_equal(loop_new(&f.loop), 0);
	for (i = 0; i < HANDLES; i++) {
		f.fd[i] = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
		f.called[i] = 0;
		f.victim[i] = -1;
		assert_int_equal(loop_add(f.loop, f.fd[i], EPOLLIN, callback, (void *)(intptr_t)i,
					 &f.handle[i]),
			0);
	}
	return 0;
}

static int teardown(void **state)
{
	int i;

	loop_free(f.loop);
	for (i = 0; i < HANDLES; i++)
		close(f.fd[i]);
	return 0;
}

static int all_called(void)
{
	int i, sum = 0;

	for (i = 0; i < HANDLES; i++)
		sum += f.called[i];
	return sum;
}

static void test_each_once(void **state)
{
	int i;

	assert_int_equal(loop_run_once(f.loop, -1), HANDLES);
	for (i = 0; i < HANDLES; i++)
		assert_int_equal(f.called[i], 1);
}

static void test_delete_self(void **state)
{
	int i;

	for (i = 0; i < HANDLES; i++)
		f.victim[i] = i;
	assert_int_equal(loop_run_once(f.loop, -1), HANDLES);
	assert_int_equal(loop_run_once(f.loop, 0), 0);
	assert_int_equal(all_called(), HANDLES);
}

/* Each takes out its partner: whoever comes second is not called any more. */
static void test_delete_other(void **state)
{
	int i;

	for (i = 0; i < HANDLES; i++)
		f.victim[i] = i ^ 1;
	assert_int_equal(loop_run_once(f.loop, -1), HANDLES / 2);
	for (i = 0; i < HANDLES; i += 2)
		assert_int_equal(f.called[i] + f.called[i + 1], 1);
	assert_int_equal(loop_run_once(f.loop, 0), HANDLES / 2);
}

static void test_modify(void **state)
{
	uint64_t value;

	assert_int_equal(loop_mod(f.loop, f.handle[3], 0), 0);
	assert_int_equal(loop_run_once(f.loop, 0), HANDLES - 1);
	assert_int_equal(f.called[3], 0);
	assert_int_equal(loop_mod(f.loop, f.handle[3], EPOLLIN), 0);
	assert_int_equal(read(f.fd[4], &value, sizeof(value)), sizeof(value));
	assert_int_equal(loop_run_once(f.loop, 0), HANDLES - 1);
	assert_int_equal(f.called[3], 1);
	assert_int_equal(f.called[4], 1);
}

/* Paused handles are silent, also for a change of events; the loop wakes up by itself when it is over. */
static void test_pause(void **state)
{
	struct timespec begin, end;
	int i;

	for (i = 2; i < HANDLES; i++)
		loop_del(f.loop, f.handle[i]);
	assert_int_equal(loop_run_once(f.loop, 0), 2);
	loop_pause(f.loop, f.handle[0], 60000);
	assert_int_equal(loop_run_once(f.loop, 0), 1);
	assert_int_equal(loop_mod(f.loop, f.handle[0], 0), 0);
	assert_int_equal(loop_mod(f.loop, f.handle[0], EPOLLIN), 0);
	assert_int_equal(loop_run_once(f.loop, 0), 1);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	loop_pause(f.loop, f.handle[1], 50);
	while (loop_run_once(f.loop, -1) == 0)
		;
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(
		(end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 >= 49);
	loop_pause(f.loop, f.handle[1], 60000);
	for (i = 0; i < 2; i++) {
		loop_del(f.loop, f.handle[i]);
		f.handle[i] = NULL;
	}
	assert_int_equal(loop_run_once(f.loop, 1), 0);
}

static void test_add_errors(void **state)
{
	struct loop_handle *handle = NULL;
	int file = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(loop_add(f.loop, f.fd[0], EPOLLIN, callback, NULL, &handle), -EEXIST);
	assert_int_equal(loop_add(f.loop, file, EPOLLIN, callback, NULL, &handle), -EPERM);
	assert_null(handle);
	loop_del(f.loop, NULL);
	close(file);
}

static void test_timeout(void **state)
{
	int i;

	for (i = 0; i < HANDLES; i++)
		loop_del(f.loop, f.handle[i]);
	assert_int_equal(loop_run_once(f.loop, 1), 0);
}

static int again; /* turns that are still wanted */

static void want_more(void *arg, uint32_t events)
{
	callback(arg, events);
	if (again > 0) {
		again--;
		loop_again(f.loop, f.handle[0]);
	}
}

/* A handle that asks for it has one turn in each round, whether its descriptor is ready or not. */
static void test_again(void **state)
{
	uint64_t count;

	for (int i = 1; i < HANDLES; i++)
		assert_int_equal(read(f.fd[i], &count, sizeof(count)), sizeof(count));
	loop_del(f.loop, f.handle[0]);
	assert_int_equal(loop_add(f.loop, f.fd[0], EPOLLIN, want_more, NULL, &f.handle[0]), 0);
	again = 3;
	assert_int_equal(loop_run_once(f.loop, -1), 1); /* ready, asks for the first time */
	assert_int_equal(loop_run_once(f.loop, -1), 1); /* ready, and asked: one turn */
	assert_int_equal(f.called[0], 2);
	assert_int_equal(read(f.fd[0], &count, sizeof(count)), sizeof(count));
	assert_int_equal(loop_run_once(f.loop, -1), 1); /* asked only */
	assert_int_equal(loop_run_once(f.loop, -1), 1);
	assert_int_equal(again, 0);
	assert_int_equal(loop_run_once(f.loop, 0), 0);
	assert_int_equal(f.called[0], 4);
	/* One that is taken out asks for nothing any more. */
	again = 0;
	loop_again(f.loop, f.handle[0]);
	loop_del(f.loop, f.handle[0]);
	f.handle[0] = NULL;
	assert_int_equal(loop_run_once(f.loop, 0), 0);
}

static int order[HANDLES], orders;

static void note_order(void *arg, uint32_t events)
{
	assert_true(orders < HANDLES);
	order[orders++] = (int)(intptr_t)arg;
}

/* Those who ask have their turns in the order in which they did. */
static void test_again_in_order(void **state)
{
	int asks[HANDLES];

	for (int i = 0; i < HANDLES; i++) {
		uint64_t count;

		assert_int_equal(read(f.fd[i], &count, sizeof(count)), sizeof(count));
		loop_del(f.loop, f.handle[i]);
		assert_int_equal(loop_add(f.loop, f.fd[i], EPOLLIN, note_order, (void *)(intptr_t)i,
					 &f.handle[i]),
			0);
	}
	orders = 0;
	for (int i = 0; i < HANDLES; i++) {
		asks[i] = (3 * i + 2) % HANDLES;
		loop_again(f.loop, f.handle[asks[i]]);
	}
	loop_again(f.loop, f.handle[asks[0]]); /* it has asked already */
	assert_int_equal(loop_run_once(f.loop, -1), HANDLES);
	assert_memory_equal(order, asks, sizeof(asks));
	assert_int_equal(loop_run_once(f.loop, 0), 0);
}

static void work_long(void *arg, uint32_t events)
{
	callback(arg, events);
	use_cpu(LOOP_BURST_US + 5000);
}

/* Who has used more than its budget rests, and others have their turns; then it has one again. */
static void test_budget(void **state)
{
	struct loop_stats stats;

	loop_del(f.loop, f.handle[0]);
	assert_int_equal(loop_add(f.loop, f.fd[0], EPOLLIN, work_long, NULL, &f.handle[0]), 0);
	assert_int_equal(loop_run_once(f.loop, -1), HANDLES);
	loop_stats(f.loop, &stats);
	assert_int_equal(stats.rests, 1);
	assert_true(stats.most_us >= LOOP_BURST_US + 5000);
	while (f.called[0] < 2) {
		int n = loop_run_once(f.loop, -1);

		assert_true(n == HANDLES - 1 || n == HANDLES);
	}
	loop_stats(f.loop, &stats);
	assert_int_equal(stats.rests, 2);
	/* It rests, and has asked for another turn: that waits as well. */
	loop_again(f.loop, f.handle[0]);
	loop_del(f.loop, f.handle[0]);
	f.handle[0] = NULL;
	assert_int_equal(loop_run_once(f.loop, -1), HANDLES - 1);
}

static void work_very_long(void *arg, uint32_t events)
{
	callback(arg, events);
	use_cpu(LOOP_BURST_US + 80000);
}

/* What one has used of a shared budget the other can't use, in the same round; who has none goes on. */
static void test_shared_budget(void **state)
{
	struct loop_budget budget = {0};
	struct loop_stats stats;

	for (int i = 0; i < 2; i++) {
		loop_del(f.loop, f.handle[i]);
		assert_int_equal(loop_add(f.loop, f.fd[i], EPOLLIN, i ? callback : work_very_long,
					 (void *)(intptr_t)i, &f.handle[i]),
			0);
		loop_share(f.handle[i], &budget);
	}
	assert_int_equal(loop_run_once(f.loop, -1), HANDLES - 1);
	assert_int_equal(f.called[0], 1);
	assert_int_equal(f.called[1], 0);
	loop_stats(f.loop, &stats);
	assert_int_equal(stats.rests, 2);
	while (f.called[1] == 0)
		assert_true(loop_run_once(f.loop, -1) >= HANDLES - 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delete_self, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delete_other, setup, teardown),
		cmocka_unit_test_setup_teardown(test_modify, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_add_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_again_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_budget, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_budget, setup, teardown),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
