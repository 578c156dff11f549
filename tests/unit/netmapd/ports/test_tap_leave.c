/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices that leave, and who waits for them. A "device" is an end of a pipe, and close() of it waits until the test lets it go: who waits
 * in it is another thread, or the test hangs.
 */
#include "tap_leave.h"

#include "closer.h"
#include "device_closer.h"
#include "testutil.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

enum { FDS = 1024, QUEUES = 3 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool held[FDS];   /* close() of it waits */
	bool mute;        /* write() waits */
	int writes, last; /* begun, and to which; how many of them were done */
	int written;
} kernel = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct loop *loop;
static struct tap_leaves *leaves;
static uint32_t calls;
static bool no_patience; /* what is waited for a while doesn't come */

int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_close(int fd)
{
	if (fd < 0 || fd >= FDS)
		return __real_close(fd);
	pthread_mutex_lock(&kernel.lock);
	while (kernel.held[fd])
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	pthread_mutex_unlock(&kernel.lock);
	return __real_close(fd);
}

ssize_t __real_write(int fd, const void *data, size_t bytes);
ssize_t __wrap_write(int fd, const void *data, size_t bytes);

ssize_t __wrap_write(int fd, const void *data, size_t bytes)
{
	ssize_t n;

	if (bytes != sizeof(uint64_t)) /* the log's */
		return __real_write(fd, data, bytes);
	pthread_mutex_lock(&kernel.lock);
	kernel.writes++;
	kernel.last = fd;
	pthread_cond_broadcast(&kernel.changed);
	while (kernel.mute)
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	n = __real_write(fd, data, bytes);
	kernel.written += n == (ssize_t)bytes;
	pthread_cond_broadcast(&kernel.changed);
	pthread_mutex_unlock(&kernel.lock);
	return n;
}

int __real_pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *end);
int __wrap_pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *end);

int __wrap_pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *end)
{
	return no_patience ? ETIMEDOUT : __real_pthread_cond_timedwait(cond, mutex, end);
}

static void let_go(int fd)
{
	pthread_mutex_lock(&kernel.lock);
	kernel.held[fd] = false;
	pthread_cond_broadcast(&kernel.changed);
	pthread_mutex_unlock(&kernel.lock);
}

static int queue(void)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	__real_close(fds[1]);
	assert_true(fds[0] < FDS);
	kernel.held[fds[0]] = true;
	return fds[0];
}

/* Its last queue. */
static int leave(const char *ifname)
{
	int fds[QUEUES] = {-1, queue(), -1};
	struct tap_leaving *leaving = tap_leaving_new(QUEUES);

	assert_non_null(leaving);
	tap_leaving_go(leaves, leaving, ifname, false, fds, QUEUES);
	return fds[1];
}

static void expect_refused(const char *ifname, const char *text)
{
	struct nm_error err;

	assert_int_equal(tap_leaves_refuse(leaves, ifname, &err), -EBUSY);
	assert_non_null(strstr(err.text, text));
	assert_non_null(strstr(err.text, ifname));
}

static void expect_allowed(const char *ifname)
{
	struct nm_error err;

	assert_int_equal(tap_leaves_refuse(leaves, ifname, &err), 0);
}

static void called(void *arg)
{
	calls++;
}

static struct tap_wait waits_for(void (*fn)(void *arg))
{
	return (struct tap_wait){.fn = fn};
}

static void expect_waits(struct tap_wait *wait, enum tap_want want, const char *ifname)
{
	assert_int_equal(tap_leaves_ask(leaves, want, ifname, wait), -EINPROGRESS);
}

static void expect_goes(struct tap_wait *wait, enum tap_want want, const char *ifname)
{
	assert_int_equal(tap_leaves_ask(leaves, want, ifname, wait), 0);
	assert_null(wait->leaves);
}

/* Events come when they come: the loop waits for them. */
static void run_until(uint32_t wanted)
{
	while (calls < wanted)
		assert_true(loop_run_once(loop, -1) >= 0);
	assert_int_equal(calls, wanted);
}

static int setup(void **state)
{
	calls = 0;
	assert_int_equal(closer_init(), 0);
	assert_int_equal(device_closer_init(), 0);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(tap_leaves_new(loop, &leaves), 0);
	return 0;
}

static int teardown(void **state)
{
	for (int fd = 0; fd < FDS; fd++)
		let_go(fd);
	closer_exit();
	assert_int_equal(device_closer_exit(), 0);
	tap_leaves_free(leaves, 0);
	loop_free(loop);
	return 0;
}

/* The kernel has removed it, and no event has come yet. */
static void wait_until_closed(int fd)
{
	struct pollfd event = {.fd = -1};

	while (fcntl(fd, F_GETFD) >= 0)
		poll(&event, 1, 1);
}

/* Its name is taken until it is gone; who waits is told then, once. */
static void a_name_is_taken_until_the_device_is_gone(void **state)
{
	struct tap_wait wait = waits_for(called);
	int device;

	expect_allowed("tap0");
	device = leave("tap0");
	assert_true(tap_leaves_has(leaves, "tap0"));
	assert_false(tap_leaves_has(leaves, "tap1"));
	assert_false(tap_leaves_has(leaves, NULL));
	expect_refused("tap0", "still removing the network device");
	expect_allowed("tap1");
	expect_waits(&wait, TAP_WANT_NEW, "tap0");
	assert_true(fcntl(device, F_GETFD) >= 0);
	let_go(device);
	run_until(1);
	assert_int_equal(fcntl(device, F_GETFD), -1);
	assert_false(tap_leaves_has(leaves, "tap0"));
	expect_allowed("tap0");
	expect_goes(&wait, TAP_WANT_NEW, "tap0");
}

/* So many, of whatever names; the first that is gone makes room. */
static void no_more_than_some_leave_at_a_time(void **state)
{
	struct tap_wait wait = waits_for(called);
	int devices[TAPS_LEAVING_MAX];
	char name[IFNAMSIZ] = "tap0";

	for (int i = 0; i < TAPS_LEAVING_MAX; i++) {
		assert_false(tap_leaves_has(leaves, NULL));
		expect_allowed("other");
		name[3] = (char)('0' + i);
		devices[i] = leave(name);
	}
	assert_true(tap_leaves_has(leaves, NULL));
	expect_refused("other", "as many as may be leaving");
	expect_waits(&wait, TAP_WANT_ROOM, "other");
	let_go(devices[0]);
	run_until(1);
	assert_false(tap_leaves_has(leaves, NULL));
	expect_allowed("other");
	expect_allowed("tap0");
	expect_refused("tap1", "had this name");
	expect_goes(&wait, TAP_WANT_ROOM, "other");
}

/* One waits for its own device, whatever others are gone; another one has ended. */
static void who_waits_is_told_of_its_own_or_ends(void **state)
{
	struct tap_wait one = waits_for(called), two = waits_for(called), ends = waits_for(called);
	int first = leave("tap0"), second = leave("tap1");

	expect_waits(&ends, TAP_WANT_NAME, "tap0");
	expect_waits(&two, TAP_WANT_NAME, "tap1");
	expect_waits(&one, TAP_WANT_NAME, "tap0");
	tap_wait_forget(&ends);
	assert_int_equal(calls, 0);
	let_go(first);
	run_until(1);
	expect_goes(&one, TAP_WANT_NAME, "tap0");
	expect_waits(&two, TAP_WANT_NAME, "tap1");
	let_go(second);
	run_until(2);
	expect_goes(&two, TAP_WANT_NAME, "tap1");
	tap_wait_forget(&two);
}

/* Also when the device is gone, and the first has not heard of it, or has, and hasn't had its turn. */
static void who_came_first_has_the_name_first(void **state)
{
	struct tap_wait first = waits_for(called), second = waits_for(called),
			third = waits_for(called), other = waits_for(called);
	int device = leave("tap0");

	expect_waits(&first, TAP_WANT_NEW, "tap0");
	let_go(device);
	wait_until_closed(device);
	while (tap_leaves_has(leaves, "tap0"))
		;
	expect_waits(&second, TAP_WANT_NEW, "tap0");
	expect_goes(&other, TAP_WANT_NEW, "tap1");
	run_until(1);
	assert_true(first.told);
	expect_waits(&second, TAP_WANT_NEW, "tap0");
	expect_waits(&third, TAP_WANT_NAME, "tap0");
	expect_goes(&first, TAP_WANT_NEW, "tap0");
	assert_int_equal(calls, 2);
	assert_true(second.told);
	/* It was made, and removed again: they keep their places. */
	device = leave("tap0");
	expect_waits(&first, TAP_WANT_NEW, "tap0");
	expect_waits(&second, TAP_WANT_NEW, "tap0");
	let_go(device);
	run_until(3);
	assert_true(second.told);
	tap_wait_forget(&second); /* it has ended */
	assert_int_equal(calls, 4);
	assert_true(third.told);
	expect_goes(&third, TAP_WANT_NAME, "tap0");
	assert_int_equal(calls, 5);
	expect_goes(&first, TAP_WANT_NEW, "tap0");
}

/* Who waits for a name takes none of it from others. */
static void who_came_first_has_the_room_first(void **state)
{
	struct tap_wait named = waits_for(called), first = waits_for(called),
			second = waits_for(called), late = waits_for(called);
	int devices[TAPS_LEAVING_MAX];
	char name[IFNAMSIZ] = "tap0";

	for (int i = 0; i < TAPS_LEAVING_MAX; i++) {
		name[3] = (char)('0' + i);
		devices[i] = leave(name);
	}
	expect_waits(&named, TAP_WANT_NEW, "tap0");
	expect_waits(&first, TAP_WANT_ROOM, "a");
	expect_waits(&second, TAP_WANT_NEW, "b");
	let_go(devices[1]);
	run_until(1);
	assert_true(first.told);
	expect_waits(&late, TAP_WANT_ROOM, "c");
	expect_goes(&first, TAP_WANT_ROOM, "a");
	assert_int_equal(calls, 2);
	assert_true(second.told);
	/* The first has used the room. */
	devices[1] = leave("a");
	expect_waits(&second, TAP_WANT_NEW, "b");
	let_go(devices[2]);
	run_until(3);
	assert_true(second.told && !late.told && !named.told);
	expect_waits(&late, TAP_WANT_ROOM, "c");
	expect_goes(&second, TAP_WANT_NEW, "b");
	expect_goes(&late, TAP_WANT_ROOM, "c");
	tap_wait_forget(&named);
}

/* Not of the next one that has its name by then. */
static void the_end_is_that_of_one_device(void **state)
{
	struct tap_wait end = waits_for(called), next = waits_for(called);
	int device = leave("tap0"), again;

	expect_waits(&end, TAP_WANT_END, "tap0");
	let_go(device);
	wait_until_closed(device);
	again = leave("tap0");
	run_until(1);
	expect_waits(&next, TAP_WANT_END, "tap0");
	expect_goes(&end, TAP_WANT_END, "tap0");
	let_go(again);
	run_until(2);
	expect_goes(&next, TAP_WANT_END, "tap0");
	expect_goes(&next, TAP_WANT_END, "tap0"); /* long gone */
}

/* Neither other devices nor what is no device. */
static void one_that_hangs_holds_up_nothing_else(void **state)
{
	struct tap_wait wait = waits_for(called);
	int hangs = leave("tap0"), ends[2], other;
	struct pollfd hup = {.events = 0};

	other = leave("tap1");
	expect_waits(&wait, TAP_WANT_NAME, "tap1");
	let_go(other);
	run_until(1);
	expect_goes(&wait, TAP_WANT_NAME, "tap1");
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	closer_later(ends[1]);
	hup.fd = ends[0];
	assert_int_equal(poll(&hup, 1, -1), 1);
	__real_close(ends[0]);
	assert_true(tap_leaves_has(leaves, "tap0"));
	let_go(hangs);
}

/* All threads hang: the others wait for one of them. */
static void what_finds_no_thread_waits(void **state)
{
	enum { DEVICES = DEVICE_CLOSER_THREADS + 3 };
	struct tap_wait wait = waits_for(called);
	int devices[DEVICES];

	for (int i = 0; i < DEVICES; i++)
		devices[i] = leave(i == DEVICES - 1 ? "last" : "tap0");
	assert_int_equal(device_closer_count(), DEVICES);
	expect_waits(&wait, TAP_WANT_NAME, "last");
	for (int i = DEVICE_CLOSER_THREADS; i < DEVICES; i++)
		let_go(devices[i]);
	assert_int_equal(device_closer_count(), DEVICES);
	for (int i = 0; i < 3; i++)
		let_go(devices[i]);
	run_until(1);
	expect_goes(&wait, TAP_WANT_NAME, "last");
}

/* One of which no queue was opened; and one that others have removed, whose name is free. */
static void what_was_never_there_does_not_leave(void **state)
{
	const int fds[QUEUES] = {-1, -1, -1};
	int device = queue();

	tap_leaving_go(leaves, tap_leaving_new(QUEUES), "tap0", false, fds, QUEUES);
	expect_allowed("tap0");
	tap_leaving_free(tap_leaving_new(QUEUES));
	tap_leaving_free(NULL);
	tap_leaving_go(leaves, tap_leaving_new(1), "tap0", true, &device, 1);
	expect_allowed("tap0");
}

/* The thread's device is gone, and nobody has been told. */
static void wait_until_it_tells(void)
{
	pthread_mutex_lock(&kernel.lock);
	while (kernel.writes == 0)
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	pthread_mutex_unlock(&kernel.lock);
}

static void let_it_tell(void)
{
	pthread_mutex_lock(&kernel.lock);
	kernel.mute = false;
	pthread_cond_broadcast(&kernel.changed);
	while (kernel.written == 0)
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	pthread_mutex_unlock(&kernel.lock);
}

static void end_with(uint32_t left)
{
	no_patience = true;
	closer_exit();
	assert_int_equal(device_closer_exit(), left);
	tap_leaves_free(leaves, left);
	loop_free(loop);
}

/* The last tests: their threads stay. This one's in close(). */
static void the_end_leaves_what_hangs(void **state)
{
	leave("tap0");
	end_with(1);
}

/* What hangs is there still; and what one that is about to be done tells, it tells into what is there. */
static void the_end_leaves_who_has_not_told_yet(void **state)
{
	no_patience = false;
	kernel.mute = true;
	kernel.writes = kernel.written = 0;
	let_go(leave("tap1"));
	wait_until_it_tells();
	end_with(2);
	assert_true(fcntl(kernel.last, F_GETFD) >= 0);
	let_it_tell();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_name_is_taken_until_the_device_is_gone),
		TEST(no_more_than_some_leave_at_a_time),
		TEST(who_waits_is_told_of_its_own_or_ends),
		TEST(who_came_first_has_the_name_first),
		TEST(who_came_first_has_the_room_first),
		TEST(the_end_is_that_of_one_device),
		TEST(one_that_hangs_holds_up_nothing_else),
		TEST(what_finds_no_thread_waits),
		TEST(what_was_never_there_does_not_leave),
		cmocka_unit_test_setup(the_end_leaves_what_hangs, setup),
		cmocka_unit_test_setup(the_end_leaves_who_has_not_told_yet, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
