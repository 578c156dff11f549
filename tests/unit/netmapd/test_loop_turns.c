/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Handles that share a budget of the event loop, and want more than it has: whose turn is next. The clocks are the test's, so it is the order
 * of events that decides, and nothing else.
 */
#include "loop.h"
#include "testutil.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

enum {
	HANDLES = 150, /* more than the loop begins with room for */
	SOME = 16,
	TURNS = 400,
	LONG_US = LOOP_BURST_US + 5000, /* of a turn: it uses up the budget */
	ROUNDS_MAX = 100000,
};

static struct fixture {
	struct loop *loop;
	struct loop_budget budget;
	int fd[HANDLES];
	struct loop_handle *handle[HANDLES];
	bool asks[HANDLES]; /* for its next turn, and its descriptor is never ready */
	int order[TURNS], turns;
	uint32_t round_ms; /* of the wall clock, from one to the next */
	bool others_come;  /* all but the first go behind their turn, and others come */
} f;

static uint64_t cpu_us, wall_ms;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	uint64_t us = clock == CLOCK_THREAD_CPUTIME_ID ? cpu_us : wall_ms * 1000;

	*ts = (struct timespec){(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};
	return 0;
}

int __real_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout_ms);

static int reported; /* events, ever */

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout_ms)
{
	int n = __real_epoll_wait(epoll, events, most, timeout_ms);

	reported += n;
	return n;
}

static void add(int i, bool asks);

static void take_out(int i)
{
	if (!f.handle[i])
		return;
	loop_del(f.loop, f.handle[i]);
	close(f.fd[i]);
	f.handle[i] = NULL;
}

static void work(void *arg, uint32_t events)
{
	const int i = (int)(intptr_t)arg;

	assert_true(events & EPOLLIN);
	cpu_us += LONG_US;
	if (f.turns < TURNS)
		f.order[f.turns++] = i;
	if (f.asks[i])
		loop_again(f.loop, f.handle[i]);
	if (f.others_come && i > 0)
		add(i, false);
}

static void add_fd(int i, int fd)
{
	take_out(i);
	f.fd[i] = fd;
	assert_int_equal(
		loop_add(f.loop, f.fd[i], EPOLLIN, work, (void *)(intptr_t)i, &f.handle[i]), 0);
	loop_share(f.handle[i], &f.budget);
}

static void add(int i, bool asks)
{
	add_fd(i, eventfd(asks ? 0 : 1, EFD_CLOEXEC | EFD_NONBLOCK));
	f.asks[i] = asks;
	if (asks)
		loop_again(f.loop, f.handle[i]);
}

/* Its peer is gone, and that takes several turns. */
static void add_hung_up(int i)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	close(fd[1]);
	add_fd(i, fd[0]);
	f.asks[i] = false;
}

static int setup(void **state)
{
	f = (struct fixture){.round_ms = 1};
	cpu_us = wall_ms = 1;
	return loop_new(&f.loop);
}

static int teardown(void **state)
{
	for (int i = 0; i < HANDLES; i++)
		take_out(i);
	assert_int_equal(f.budget.waiting, 0);
	loop_free(f.loop);
	return 0;
}

static void run(void)
{
	for (int round = 0; f.turns < TURNS; round++) {
		assert_true(round < ROUNDS_MAX);
		assert_true(loop_run_once(f.loop, 0) >= 0);
		wall_ms += f.round_ms;
	}
}

static void expect_in_turn(int handles)
{
	run();
	for (int i = 0; i < TURNS; i++) {
		for (int k = 1; k < handles && k <= i; k++)
			assert_int_not_equal(f.order[i], f.order[i - k]);
	}
}

static void each_has_a_turn_before_any_has_two(void **state)
{
	for (int i = 0; i < 3; i++)
		add(i, false);
	expect_in_turn(3);
}

static void so_do_many(void **state)
{
	for (int i = 0; i < SOME; i++)
		add(i, false);
	expect_in_turn(SOME);
}

/* However much is earned until the next round. */
static void so_do_more_than_it_had_room_for(void **state)
{
	for (f.round_ms = 1; f.round_ms < 200; f.round_ms *= 3) {
		for (int i = 0; i < HANDLES; i++)
			add(i, false);
		f.turns = 0;
		expect_in_turn(HANDLES);
	}
}

/* Who goes on with what it was asked for is no better than who is asked, and no worse. */
static void who_asks_for_a_turn_is_as_one_that_is_ready(void **state)
{
	for (int ask = 0; ask < 3; ask++) {
		for (int i = 0; i < 3; i++)
			add(i, i == ask);
		f.turns = 0;
		expect_in_turn(3);
	}
	for (int ready = 0; ready < 3; ready++) {
		for (int i = 0; i < 3; i++)
			add(i, i != ready);
		f.turns = 0;
		expect_in_turn(3);
	}
}

static void who_has_hung_up_is_as_one_that_is_ready(void **state)
{
	for (int hung_up = 0; hung_up < 3; hung_up++) {
		for (int i = 0; i < 3; i++) {
			if (i == hung_up)
				add_hung_up(i);
			else
				add(i, false);
		}
		f.turns = 0;
		expect_in_turn(3);
	}
	for (int i = 0; i < SOME; i++)
		add_hung_up(i);
	f.turns = 0;
	expect_in_turn(SOME);
}

/* While nothing is earned, those who have hung up have no turn, and the loop has its rest. */
static void who_has_hung_up_is_silent_meanwhile(void **state)
{
	int before;

	for (int i = 0; i < 3; i++)
		add_hung_up(i);
	for (int round = 0; round < 3; round++)
		(void)loop_run_once(f.loop, 0);
	assert_int_equal(f.turns, 1);
	before = reported;
	for (int round = 0; round < SOME; round++)
		assert_int_equal(loop_run_once(f.loop, 0), 0);
	assert_int_equal(reported, before);
	run();
}

/* Connections that come anew each time stand behind the one that waits. */
static void who_comes_new_comes_last(void **state)
{
	for (int i = 0; i < 3; i++)
		add(i, false);
	f.others_come = true;
	run();
	for (int i = 3; i < TURNS; i++)
		assert_true(f.order[i] == 0 || f.order[i - 1] == 0 || f.order[i - 2] == 0);
}

/* Others pay for themselves. */
static void another_budget_has_nothing_to_do_with_it(void **state)
{
	struct loop_budget other = {0};
	int others = 0;

	for (int i = 0; i < 3; i++)
		add(i, false);
	loop_share(f.handle[2], &other);
	run();
	for (int i = 0; i < TURNS; i++)
		others += f.order[i] == 2;
	assert_in_range(others, TURNS / 3 + 1, TURNS - 2);
	take_out(2);
	assert_int_equal(other.waiting, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_has_a_turn_before_any_has_two),
		TEST(so_do_many),
		TEST(so_do_more_than_it_had_room_for),
		TEST(who_asks_for_a_turn_is_as_one_that_is_ready),
		TEST(who_has_hung_up_is_as_one_that_is_ready),
		TEST(who_has_hung_up_is_silent_meanwhile),
		TEST(who_comes_new_comes_last),
		TEST(another_budget_has_nothing_to_do_with_it),
	};

	return cmocka_run_group_tests_name("loop_turns", tests, NULL, NULL);
}
