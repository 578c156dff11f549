/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/pipe.h under load: a thread at each end of each direction, that sleeps when it has nothing to
 * do, while others open and close pipes of the same region. Every packet arrives, whole, in order
 * and with its content; no wake-up is lost; and nothing is left.
 */
#include "pipe.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"

enum {
	BUF_SIZE = 256,
	SLOTS = 32,
	PACKETS = 40000, /* each way */
	LOST_S = 20,     /* nobody sleeps so long here, unless a wake-up was lost */
};

/* ---- somebody who sleeps -------------------------------------------------------------- */

struct sleeper {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool woken;
};

static void sleeper_init(struct sleeper *s)
{
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->cond, NULL);
	s->woken = false;
}

static void wake(void *arg)
{
	struct sleeper *s = arg;

	pthread_mutex_lock(&s->lock);
	s->woken = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void about_to_sleep(struct sleeper *s)
{
	pthread_mutex_lock(&s->lock);
	s->woken = false;
	pthread_mutex_unlock(&s->lock);
}

/* False: nobody came. */
static bool sleep_until_woken(struct sleeper *s)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LOST_S;
	pthread_mutex_lock(&s->lock);
	while (!s->woken && !error)
		error = pthread_cond_timedwait(&s->cond, &s->lock, &until);
	pthread_mutex_unlock(&s->lock);
	return !error;
}

/* ---- the two sides of one direction ---------------------------------------------------- */

struct side {
	struct app app; /* bound to one end, both directions */
	struct nm_ring *ring;
	struct netmap_ring *shared;
	struct sleeper sleeper;
	struct prng r;
	pthread_t thread;
	const char *failed;
	bool patient; /* it sleeps; else it goes round */
};

static uint32_t avail(const struct side *s)
{
	return (s->shared->tail + SLOTS - s->shared->head) % SLOTS;
}

/* At least `slots` are to be had, after some time. */
static bool wait_for(struct side *s, uint32_t slots)
{
	while (avail(s) < slots) {
		if (s->patient)
			about_to_sleep(&s->sleeper);
		if (nm_ring_sync_shared(s->ring) != 0) {
			s->failed = "a sync";
			return false;
		}
		if (avail(s) >= slots)
			return true;
		if (s->patient && !sleep_until_woken(&s->sleeper)) {
			s->failed = s->ring->dir == NM_TX ? "a sender that sleeps"
							  : "a receiver that sleeps";
			return false;
		}
	}
	return true;
}

/* What packet `number` looks like. */
static uint32_t frags_of(uint32_t number)
{
	return number % 7 == 3 ? 1 + number % (SLOTS / 2) : 1;
}

static uint8_t byte_of(uint32_t number, uint32_t frag, uint32_t i)
{
	return (uint8_t)(number * 31 + frag * 7 + i);
}

static uint32_t len_of(uint32_t number, uint32_t frag)
{
	return 4 + (number + frag) % (BUF_SIZE - 4);
}

static void advance(struct netmap_ring *ring)
{
	ring->head = ring->cur = ring->head + 1 == SLOTS ? 0 : ring->head + 1;
}

static void write_packet(struct side *s, uint32_t number)
{
	for (uint32_t frag = 0, frags = frags_of(number); frag < frags; frag++) {
		struct netmap_slot *slot = &s->shared->slot[s->shared->head];
		char *buf = app_buf(s->shared, OS_LOAD(&slot->buf_idx));
		uint32_t len = len_of(number, frag);

		for (uint32_t i = 0; i < len; i++)
			buf[i] = (char)byte_of(number, frag, i);
		OS_STORE(&slot->len, (uint16_t)len);
		OS_STORE(&slot->flags, (uint16_t)(frag + 1 < frags ? NS_MOREFRAG : 0));
		advance(s->shared);
	}
}

static bool read_packet(struct side *s, uint32_t number)
{
	for (uint32_t frag = 0, frags = frags_of(number); frag < frags; frag++) {
		const struct netmap_slot *slot = &s->shared->slot[s->shared->head];
		const char *buf = app_buf(s->shared, OS_LOAD(&slot->buf_idx));
		uint32_t len = OS_LOAD(&slot->len);

		if (len != len_of(number, frag) || OS_LOAD(&slot->flags) >> NS_PORT_SHIFT != frags)
			return false;
		for (uint32_t i = 0; i < len; i++)
			if ((uint8_t)buf[i] != byte_of(number, frag, i))
				return false;
		advance(s->shared);
	}
	return true;
}

static void *send_all(void *arg)
{
	struct side *s = arg;

	for (uint32_t i = 0; i < PACKETS; i++) {
		if (!wait_for(s, frags_of(i)))
			return NULL;
		write_packet(s, i);
		if (prng_chance(&s->r, 20))
			nm_ring_sync_shared(s->ring);
	}
	nm_ring_sync_shared(s->ring); /* and that is all: what waits is the receiver's to fetch */
	return NULL;
}

static void *receive_all(void *arg)
{
	struct side *s = arg;

	for (uint32_t i = 0; i < PACKETS; i++) {
		if (!wait_for(s, frags_of(i)))
			return NULL;
		if (!read_packet(s, i)) {
			s->failed = "a packet";
			return NULL;
		}
		if (prng_chance(&s->r, 20))
			nm_ring_sync_shared(s->ring);
	}
	nm_ring_sync_shared(s->ring);
	return NULL;
}

/* ---- others ------------------------------------------------------------------------------ */

static int stop_others;

/* Opens and closes pipes in the same region, with extra buffers: owners are settled each time. */
static void *others(void *arg)
{
	struct prng r = prng_new(77);
	uintptr_t rounds = 0;

	while (!OS_LOAD(&stop_others)) {
		struct nm_bind bind = {
			.mode = NR_REG_ALL_NIC, .num_slots = {8, 8}, .extra_bufs = 5};
		struct nm_client a, b;

		nm_client_init(&a, &core);
		nm_client_init(&b, &core);
		if (nm_client_bind(&a, prng_chance(&r, 50) ? "x{9" : "y{1", &bind) != 0)
			return (void *)0;
		if (nm_client_bind(&b, a.port->peer->name, &bind) != 0)
			return (void *)0;
		if (prng_chance(&r, 50)) { /* half an exchange between the two, and with a list */
			struct netmap_slot *slot = nm_client_ring(&a, NM_TX, 0)->slots;
			uint32_t index = OS_LOAD(&nm_client_ring(&b, NM_RX, 0)->slots->buf_idx);

			OS_STORE(&slot->buf_idx, index);
		}
		if (prng_chance(&r, 50))
			nm_client_reset_rings(&a);
		nm_client_unbind(prng_chance(&r, 50) ? &a : &b);
		nm_client_unbind(&a);
		nm_client_unbind(&b);
		rounds++;
		usleep(1000);
	}
	return (void *)rounds;
}

/* ---- all together -------------------------------------------------------------------------- */

static void open_side(struct side *s, const char *name, enum nm_dir dir, bool patient, uint32_t n)
{
	app_open(&core, &s->app,
		&(struct app_config){.name = name,
			.slots = SLOTS,
			.flags = dir == NM_TX ? NR_TX_RINGS_ONLY : NR_RX_RINGS_ONLY});
	s->ring = nm_client_ring(&s->app.client, dir, 0);
	s->shared = s->ring->shared;
	s->patient = patient;
	s->failed = NULL;
	s->r = prng_new(n);
	sleeper_init(&s->sleeper);
	os_wakeup_set(&s->ring->wakeup, wake, &s->sleeper);
}

static void run(bool sender_sleeps, bool receiver_sleeps)
{
	static struct side side[4]; /* tx and rx of one direction, then of the other */
	static const char *const names[4] = {"x{1", "x}1", "x}1", "x{1"};
	uint64_t drops = 0;
	struct nm_port *ends[2];
	pthread_t other;
	void *rounds;

	nm_core_init(&core);
	core.shared_params.count[NM_POOL_BUF] = 1000;
	core.shared_params.count[NM_POOL_RING] = 16;
	core.shared_params.size[NM_POOL_BUF] = BUF_SIZE;
	for (uint32_t i = 0; i < 4; i++)
		open_side(&side[i], names[i], i % 2 ? NM_RX : NM_TX,
			i % 2 ? receiver_sleeps : sender_sleeps, i);
	stop_others = 0;
	assert_int_equal(pthread_create(&other, NULL, others, NULL), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&side[i].thread, NULL,
					 i % 2 ? receive_all : send_all, &side[i]),
			0);
	for (int i = 0; i < 4; i++)
		pthread_join(side[i].thread, NULL);
	OS_STORE(&stop_others, 1);
	pthread_join(other, &rounds);
	for (int i = 0; i < 4; i++)
		if (side[i].failed)
			fail_msg("%s (%d) was lost", side[i].failed, i);
	assert_true((uintptr_t)rounds > 0);
	ends[0] = side[0].app.client.port;
	ends[1] = side[1].app.client.port;
	for (int i = 0; i < 2; i++) {
		const struct nm_ring *tx = &ends[i]->rings[NM_TX][0];

		for (int cause = 0; cause < NM_DROPS; cause++)
			drops += tx->stats.drops[cause];
		assert_int_equal(tx->stats.packets, PACKETS);
		assert_int_equal(ends[i]->rings[NM_RX][0].stats.packets, PACKETS);
	}
	assert_int_equal(drops, 0);
	region_check(ends[0]->region);
	for (int i = 0; i < 4; i++)
		app_close(&side[i].app);
	core_check_empty(&core);
	nm_core_destroy(&core);
}

static void both_sleep(void **state)
{
	run(true, true);
}

static void the_sender_sleeps(void **state)
{
	run(true, false);
}

static void the_receiver_sleeps(void **state)
{
	run(false, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sleep),
		cmocka_unit_test(the_sender_sleeps),
		cmocka_unit_test(the_receiver_sleeps),
	};

	test_seed();
	return cmocka_run_group_tests_name("pipe_threads", tests, NULL, NULL);
}
