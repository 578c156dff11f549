/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/attachment.h, run by a platform with a thread that sleeps when there is nothing to do. The
 * test plays the device (attachment_ends.h). Also for ThreadSanitizer.
 */
#include "attachment_ends.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>

/* ---- the platform ------------------------------------------------------------------ */

/* A platform with one thread per attachment, which sleeps when there is nothing to do. */
static struct {
	pthread_t thread;
	sem_t wake;
	bool stop; /* atomic */
	struct nm_attachment *att;
	uint64_t sleeps;
} worker;

static void wake_worker(void *arg)
{
	sem_post(&worker.wake);
}

static void *work(void *arg)
{
	struct nm_attachment *s = worker.att;

	while (!OS_LOAD_ACQUIRE(&worker.stop)) {
		bool more = false;

		for (uint32_t pair = 0; pair < s->pairs; pair++)
			more |= nm_attachment_step(s, pair);
		for (uint32_t pair = 0; !more && pair < s->pairs; pair++)
			more |= nm_attachment_prepare_sleep(s, pair);
		if (more)
			continue;
		worker.sleeps++;
		sem_wait(&worker.wake);
	}
	return NULL;
}

static void set_wakeups(struct nm_attachment *att, void (*fn)(void *arg))
{
	for (uint32_t pair = 0; pair < att->pairs; pair++) {
		for (uint32_t i = 0; i < NM_ATTACHMENT_RINGS; i++) {
			struct nm_ring *ring = nm_attachment_ring(att, pair, i);

			if (ring)
				os_wakeup_set(&ring->wakeup, fn, NULL);
		}
	}
}

static int threaded_start(struct nm_attachment *att, struct nm_error *err)
{
	sem_init(&worker.wake, 0, 0);
	OS_STORE(&worker.stop, false);
	worker.att = att;
	set_wakeups(att, wake_worker);
	return -pthread_create(&worker.thread, NULL, work, NULL);
}

static void threaded_stop(struct nm_attachment *att)
{
	OS_STORE_RELEASE(&worker.stop, true);
	sem_post(&worker.wake);
	pthread_join(worker.thread, NULL);
	set_wakeups(att, NULL);
}

static const struct nm_platform_ops platform = {
	.attachment_start = threaded_start, .attachment_stop = threaded_stop};

/* ---- before and after --------------------------------------------------------------------- */

static int begin(void **state)
{
	return begin_core(&platform);
}

/* ---- tests --------------------------------------------------------------------------------- */

/* One packet at a time each way, with a device that has to be asked: a lost wakeup stops it. */
static void sleeping_and_waking(void **state)
{
	for (int kind = 0; kind < 2; kind++) {
		struct app app;

		fake_nic_add(&core, kind ? &fake_pipe_ops : &fake_nic_ops, &one_ring);
		open_app(&app, 64, 1, 0);
		assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
		for (uint32_t i = 0; i < 3000; i++) {
			time_t deadline = time(NULL) + 20;
			const struct fake_nic_packet *packet = NULL;

			make_frame(frame, 60, 0, APP, DEV, &r);
			memcpy(frame + 16, &i, 4);
			assert_true(fake_nic_receive(0, frame, 60, 1));
			do {
				app_rxsync(&app, 0);
				sched_yield();
			} while (app_avail(app_ring(&app, NM_RX, 0)) == 0 && time(NULL) < deadline);
			assert_int_equal(app_take(&app, 0, got, sizeof(got)), 60);
			assert_int_equal(number_in(got), i);
			make_frame(frame, 60, 0, DEV, APP, &r);
			memcpy(frame + 16, &i, 4);
			assert_true(app_put(&app, 0, frame, 60, 0));
			app_txsync(&app, 0);
			if (prng_chance(&r, 50))
				sched_yield();
			fake_nic_grant(0, 1);
			while (!packet && time(NULL) < deadline) {
				packet = fake_nic_sent(0);
				sched_yield();
			}
			assert_non_null(packet);
			assert_int_equal(number_in(packet->bytes), i);
		}
		assert_int_equal(detach("vale0:dev"), 0);
		assert_true(worker.sleeps > 0);
		app_close(&app);
		fake_nic_remove(&core);
	}
}

/* The switch goes on, and the device comes back, as often as one likes. */
static void detached_under_load(void **state)
{
	uint32_t number = 0;
	struct app app;

	fake_nic_add(&core, &fake_nic_ops, &one_ring);
	open_app(&app, 64, 1, 0);
	for (int round = 0; round < 100; round++) {
		uint32_t next = number;

		app_rxsync(&app, 0); /* what came before the device went */
		while (app_take(&app, 0, got, sizeof(got)) >= 0)
			;
		fake_nic_rings[0].credit = 0;
		assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
		for (uint32_t n = prng_range(&r, 1, 300); n > 0; n--) {
			uint32_t len = make_numbered(APP, DEV, number);

			number += fake_nic_receive(0, frame, len, prng_range(&r, 1, 3));
			make_numbered(DEV, APP, n);
			(void)app_put(&app, 0, frame, 60, 0);
			app_txsync(&app, 0);
			fake_nic_grant(0, 1);
			app_rxsync(&app, 0);
			while (app_take(&app, 0, got, sizeof(got)) >= 0) {
				assert_true(number_in(got) >= next);
				next = number_in(got) + 1;
			}
			while (fake_nic_sent(0))
				;
		}
		assert_int_equal(detach("vale0:dev"), 0);
		assert_int_equal(core_count_ports(&core), 2);
		assert_int_equal(core_count_regions(&core), 1); /* the application's */
	}
	app_close(&app);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sleeping_and_waking, begin, end),
		cmocka_unit_test_setup_teardown(detached_under_load, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("attachment_threads", tests, NULL, NULL);
}
