/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapd/notify.h: who makes its signals expensive has them sent by the notifier, and nobody else; without
 * asynchronous requests nobody waits either. The clocks, and what the kernel has, are the test's: also what a
 * signal takes of the processor, of which a virtual machine whose host is busy is told too little, or too much.
 */
#include "notify.h"
#include "testutil.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, OTHER_USER = 12345 };

static bool no_requests, poll_lies;
static int fds_before;

/* The monotonic clock goes on when somebody looks at it, by look_ns: how busy the machine is says nothing. */
enum { LOOK_NS = 20000000 /* more than a signal may take, and few in a penance */ };
static uint64_t clock_ns = 1, look_ns = LOOK_NS;

/* What a thread has had of the processor: only expensive signals take any. */
enum { EXPENSIVE_NS = 20 * NOTIFY_LIMIT_NS };
static __thread uint64_t cpu_ns;

long __wrap_syscall(long number, ...);
long __real_syscall(long number, ...);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

/* A mark of the eventfd, whichever of its descriptors is signalled: it blocks nobody, and netmapd doesn't look at it. */
static void set_expensive(int fd, bool expensive)
{
	assert_int_equal(fcntl(fd, F_SETFL, expensive ? O_NONBLOCK : 0), 0);
}

static bool is_expensive(struct iocb *const *requests)
{
	return fcntl((int)requests[0]->aio_resfd, F_GETFL) & O_NONBLOCK;
}

long __wrap_syscall(long number, ...)
{
	long arg[5];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 5; i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_io_setup && __atomic_load_n(&no_requests, __ATOMIC_RELAXED)) {
		errno = EAGAIN;
		return -1;
	}
	if (number == SYS_io_submit && is_expensive((struct iocb *const *)arg[2])) {
		cpu_ns += EXPENSIVE_NS;
		__atomic_fetch_add(&clock_ns, EXPENSIVE_NS, __ATOMIC_RELAXED);
	}
	return __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4]);
}

/* As if there were room, which somebody else takes. */
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	if (!__atomic_load_n(&poll_lies, __ATOMIC_RELAXED) || n != 1 || fds->events != POLLOUT)
		return __real_poll(fds, n, timeout_ms);
	fds->revents = POLLOUT;
	return 1;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	uint64_t ns = cpu_ns;

	if (clock == CLOCK_MONOTONIC)
		ns = __atomic_add_fetch(
			&clock_ns, __atomic_load_n(&look_ns, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
	*ts = (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	return 0;
}

static void set_look(uint64_t ns)
{
	__atomic_store_n(&look_ns, ns, __ATOMIC_RELAXED);
}

static void later(uint64_t seconds)
{
	__atomic_fetch_add(&clock_ns, seconds * 1000000000, __ATOMIC_RELAXED);
}

static struct notify_stats stats(void)
{
	struct notify_stats s;

	notify_stats(&s);
	return s;
}

static int setup(void **state)
{
	set_look(LOOK_NS);
	fds_before = count_fds(0);
	return notify_init();
}

static int teardown(void **state)
{
	no_requests = poll_lies = false;
	notify_exit();
	assert_int_equal(count_fds(0), fds_before);
	return 0;
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Waits for it, and takes it. */
static uint64_t signalled(int fd)
{
	struct pollfd in = {.fd = fd, .events = POLLIN};
	uint64_t count;

	assert_int_equal(__real_poll(&in, 1, PATIENCE_MS), 1);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	return count;
}

/* ---- what a signal costs --------------------------------------------------------------------- */

static void cheap_signals_are_sent_at_once(void **state)
{
	struct notify_client *c = notify_client_new(2, geteuid());
	int fd = new_eventfd();

	set_look(NOTIFY_LIMIT_NS / 2);
	for (int i = 0; i < 1000; i++) {
		assert_true(notify_signal(c, 1, fd));
		assert_int_equal(signalled(fd), 1);
	}
	set_look(LOOK_NS);
	assert_int_equal(notify_client_slow(c), 0);
	assert_int_equal(stats().moved, 0);
	assert_true(stats().asynchronous);
	notify_client_free(c);
	close(fd);
}

/* One signal in so many is expensive. True: then the client is at the notifier. */
static bool moves_with_one_in(int number)
{
	struct notify_client *c = notify_client_new(2, geteuid());
	uint64_t moved = stats().moved;
	int cheap = new_eventfd(), expensive = new_eventfd();

	set_expensive(expensive, true);
	for (int i = 0; i < 100 * number && stats().moved == moved; i++) {
		assert_true(notify_signal(c, i % number == 0, i % number ? cheap : expensive));
		signalled(i % number ? cheap : expensive);
	}
	notify_client_free(c);
	close(cheap);
	close(expensive);
	return stats().moved != moved;
}

/* As one where an interrupt came meanwhile: it is nobody's fault. Also while all are suspect. */
static void a_signal_that_took_long_now_and_then_is_none(void **state)
{
	const int rare = EXPENSIVE_NS / NOTIFY_LIMIT_NS + 2;

	assert_false(moves_with_one_in(rare));
	set_look(0);
	assert_false(moves_with_one_in(rare));
}

/* What is expensive by itself can't hide between what isn't. */
static void expensive_ones_between_cheap_ones_are_found(void **state)
{
	const int often = EXPENSIVE_NS / NOTIFY_LIMIT_NS - 2;

	set_look(0);
	assert_true(moves_with_one_in(often));
}

/* Signals until the client is at the notifier; not many. */
static void make_it_move(struct notify_client *c, int fd)
{
	uint64_t before = notify_client_slow(c);

	for (int i = 0; notify_client_slow(c) == before; i++) {
		assert_true(i < 40);
		assert_true(notify_signal(c, 0, fd));
		signalled(fd);
	}
}

/* What the worker pays is over after a few signals, and comes back only behind penance. */
static void who_is_expensive_goes_to_the_notifier(void **state)
{
	struct notify_client *c = notify_client_new(1, geteuid());
	struct notify_client *victim = notify_client_new(1, geteuid());
	uint64_t moved = stats().moved, returned = stats().returned, slow;
	int fd = new_eventfd(), other = new_eventfd();

	set_expensive(fd, true);
	make_it_move(c, fd);
	assert_int_equal(stats().moved, moved + 1);
	/* Nobody else does, and nobody waits for it. */
	set_look(0);
	slow = notify_client_slow(c);
	for (int i = 0; i < 100; i++) {
		assert_true(notify_signal(c, 0, fd));
		assert_true(notify_signal(victim, 0, other));
		signalled(other);
	}
	assert_int_equal(notify_client_slow(victim), 0);
	/* Many of its signals were one; what was due when the clock stopped was another one. */
	assert_in_range(notify_client_slow(c), slow + 1, slow + 2);
	set_look(LOOK_NS);
	signalled(fd);
	set_expensive(fd, false);

	/* Cheap again, but not yet forgiven. */
	for (int i = 0; i < 3 * NOTIFY_CHEAP; i++) {
		assert_true(notify_signal(c, 0, fd));
		signalled(fd);
	}
	assert_int_equal(stats().returned, returned);
	later(2 * NOTIFY_PENANCE_S);
	for (int i = 0; stats().returned == returned; i++) {
		assert_true(i < 1000);
		assert_true(notify_signal(c, 0, fd));
		signalled(fd);
	}
	slow = notify_client_slow(c);
	assert_true(notify_signal(c, 0, fd));
	signalled(fd);
	assert_int_equal(notify_client_slow(c), slow);
	notify_client_free(c);
	notify_client_free(victim);
	close(fd);
	close(other);
}

/* Another connection of the same user does not start anew; those of others do. */
static void users_are_remembered(void **state)
{
	struct notify_client *c = notify_client_new(1, OTHER_USER), *again, *other;
	uint64_t signals = stats().signals;
	int fd = new_eventfd();

	set_expensive(fd, true);
	make_it_move(c, fd);
	while (stats().signals == signals)
		usleep(1000);
	notify_client_free(c);
	set_expensive(fd, false);
	again = notify_client_new(1, OTHER_USER);
	other = notify_client_new(1, OTHER_USER + 1);
	assert_true(notify_signal(again, 0, fd));
	signalled(fd);
	assert_true(notify_signal(other, 0, fd));
	signalled(fd);
	assert_int_equal(notify_client_slow(again), 1);
	assert_int_equal(notify_client_slow(other), 0);
	notify_client_free(again);
	notify_client_free(other);
	close(fd);
}

/* ---- jobs ------------------------------------------------------------------------------------- */

/* The descriptor in a slot is replaced, by one with the same number at last: none waits for another's. */
static void each_descriptor_is_signalled(void **state)
{
	struct notify_client *c = notify_client_new(1, geteuid());
	int fd = new_eventfd(), last = new_eventfd(), copy;

	set_expensive(fd, true);
	make_it_move(c, fd);
	assert_true(notify_signal(c, 0, fd)); /* waits: it was expensive just now */
	notify_replaced(c, 0);
	copy = dup(fd);
	assert_int_equal(dup2(last, fd), fd);
	assert_true(notify_signal(c, 0, fd));
	close(fd);
	signalled(last);
	signalled(copy);
	notify_client_free(c);
	close(last);
	close(copy);
}

/* However often the descriptor of a slot is replaced, few wait: the one that there is now, and some of the others. */
static void few_wait_for_replaced_descriptors(void **state)
{
	struct notify_client *c = notify_client_new(1, geteuid());
	int fd = new_eventfd(), last, fds;

	set_expensive(fd, true);
	fds = count_fds(0); /* before the notifier has one that it may not have closed yet */
	make_it_move(c, fd);
	set_look(0); /* what is expensive is not due before it goes on */
	for (int i = 0; i < 50; i++) {
		assert_true(notify_signal(c, 0, fd));
		last = new_eventfd();
		notify_replaced(c, 0);
		close(fd);
		fd = last;
	}
	assert_true(notify_signal(c, 0, fd));
	for (int ms = 0; count_fds(0) > fds + 3; ms++) {
		assert_true(ms < PATIENCE_MS);
		usleep(1000);
	}
	set_look(LOOK_NS);
	later(1);
	signalled(fd);
	notify_client_free(c);
	close(fd);
}

/* What waits for one that is gone waits no more: its descriptors are closed. */
static void nothing_is_left_of_who_is_gone(void **state)
{
	struct notify_client *c = notify_client_new(3, geteuid());
	int fd = new_eventfd(), fds;

	set_expensive(fd, true);
	fds = count_fds(0); /* before the notifier has one that it may not have closed yet */
	make_it_move(c, fd);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(notify_signal(c, i, fd));
	notify_client_free(c);
	for (int ms = 0; count_fds(0) != fds; ms++) {
		assert_true(ms < PATIENCE_MS);
		usleep(1000);
	}
	close(fd);
}

/* ---- without asynchronous requests --------------------------------------------------------------- */

static int setup_without_requests(void **state)
{
	no_requests = true;
	return setup(state);
}

/* Its owner has filled the counter of a descriptor that blocks. */
static int full_eventfd(void)
{
	const uint64_t most = UINT64_MAX - 1;
	int fd = new_eventfd();

	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	return fd;
}

static void a_full_counter_blocks_nobody(void **state)
{
	struct notify_client *bad = notify_client_new(1, geteuid());
	struct notify_client *good = notify_client_new(1, geteuid());
	int full = full_eventfd(), fd = new_eventfd();

	assert_false(stats().asynchronous);
	for (int i = 0; i < 50; i++) {
		poll_lies = i % 2; /* or another thread has filled it in between */
		assert_true(notify_signal(bad, 0, full));
		assert_true(notify_signal(good, 0, fd));
		signalled(fd);
	}
	poll_lies = false;
	assert_int_equal(signalled(full), UINT64_MAX - 1);
	assert_true(notify_signal(bad, 0, full)); /* it can come to its senses */
	assert_int_equal(signalled(full), 1);
	notify_client_free(bad);
	notify_client_free(good);
	close(full);
	close(fd);
}

static void requests_are_got_when_they_are_there(void **state)
{
	struct notify_client *c = notify_client_new(1, geteuid());
	int fd = new_eventfd();
	uint64_t slow;

	assert_true(notify_signal(c, 0, fd));
	signalled(fd);
	assert_int_equal(notify_client_slow(c), 1);
	__atomic_store_n(&no_requests, false, __ATOMIC_RELAXED);
	later(2);
	assert_true(notify_signal(c, 0, fd));
	signalled(fd);
	assert_true(stats().asynchronous);
	slow = notify_client_slow(c);
	assert_true(notify_signal(c, 0, fd));
	signalled(fd);
	assert_int_equal(notify_client_slow(c), slow);
	notify_client_free(c);
	close(fd);
}

int main(void)
{
#define TEST(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_WITHOUT(name) cmocka_unit_test_setup_teardown(name, setup_without_requests, teardown)
	const struct CMUnitTest tests[] = {
		TEST(cheap_signals_are_sent_at_once),
		TEST(a_signal_that_took_long_now_and_then_is_none),
		TEST(expensive_ones_between_cheap_ones_are_found),
		TEST(who_is_expensive_goes_to_the_notifier),
		TEST(users_are_remembered),
		TEST(each_descriptor_is_signalled),
		TEST(few_wait_for_replaced_descriptors),
		TEST(nothing_is_left_of_who_is_gone),
		TEST_WITHOUT(a_full_counter_blocks_nobody),
		TEST_WITHOUT(requests_are_got_when_they_are_there),
	};

	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
