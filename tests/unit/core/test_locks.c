/* SPDX-License-Identifier: BSD-2-Clause */
/* core/locks.h, os_assert() and os_assert_held(): what the core finds out about its own user, and itself,
 * in builds that ask for it (NM_DEBUG). */
#include "util.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef NM_DEBUG
static struct nm_core core;
static struct nm_ring ring;

static void without_the_lock(void)
{
	nm_port_find_locked(&core, "p");
}

static void with_the_lock(void)
{
	nm_core_lock(&core);
	nm_port_find_locked(&core, "p");
	nm_core_unlock(&core);
}

static void after_the_lock(void)
{
	with_the_lock();
	without_the_lock();
}

static void *lock_for_ever(void *arg)
{
	nm_core_lock(&core);
	return NULL;
}

static void with_the_lock_of_another_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, lock_for_ever, NULL) == 0 &&
		pthread_join(thread, NULL) == 0)
		without_the_lock();
}

static void with_the_lock_of_another_core(void)
{
	static struct nm_core other;

	nm_core_init(&other);
	nm_core_lock(&other);
	without_the_lock();
}

static void a_reader(void)
{
	struct os_rwlock lock;

	os_rwlock_init(&lock);
	os_read_lock(&lock);
	os_assert_held(&lock);
	os_read_unlock(&lock);
	os_write_lock(&lock);
	os_assert_held(&lock);
	os_write_unlock(&lock);
	os_rwlock_destroy(&lock);
}

static void no_reader(void)
{
	struct os_rwlock lock;

	os_rwlock_init(&lock);
	os_read_lock(&lock);
	os_read_unlock(&lock);
	os_assert_held(&lock);
}

static void indices_in_range(void)
{
	nm_ring_assert_indices(&ring);
}

static void an_index_out_of_range(void)
{
	ring.produce.hwtail = ring.num_slots;
	nm_ring_assert_indices(&ring);
}

/* How a child that runs it ends: 0, or by which signal. */
static int outcome(void (*fn)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		fn();
		_exit(0);
	}
	assert_true(child > 0 && waitpid(child, &status, 0) == child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void what_is_found(void **state)
{
	static const struct {
		void (*fn)(void);
		int outcome;
	} cases[] = {
		{with_the_lock, 0},
		{without_the_lock, SIGABRT},
		{after_the_lock, SIGABRT},
		{with_the_lock_of_another_thread, SIGABRT},
		{with_the_lock_of_another_core, SIGABRT},
		{a_reader, 0},
		{no_reader, SIGABRT},
		{indices_in_range, 0},
		{an_index_out_of_range, SIGABRT},
	};

	assert_int_equal(nm_core_init(&core), 0);
	ring.num_slots = 16;
	os_spin_init(&ring.produce.lock);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (outcome(cases[i].fn) != cases[i].outcome)
			fail_msg("case %zu", i);
	nm_core_destroy(&core);
}
#endif

/* In the other builds an assertion is no code: what it says is not even evaluated. */
static void nothing_is_evaluated(void **state)
{
	int evaluated = 0;

	os_assert(++evaluated > 0);
#ifdef NM_DEBUG
	assert_int_equal(evaluated, 1);
#else
	assert_int_equal(evaluated, 0);
	assert_int_equal(sizeof(struct os_mutex), sizeof(pthread_mutex_t));
	assert_int_equal(sizeof(struct os_spin), sizeof(pthread_spinlock_t));
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef NM_DEBUG
		cmocka_unit_test(what_is_found),
#endif
		cmocka_unit_test(nothing_is_evaluated),
	};

	return cmocka_run_group_tests_name("locks", tests, NULL, NULL);
}
