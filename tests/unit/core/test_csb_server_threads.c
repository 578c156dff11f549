/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two applications and the thread that serves each, with a CSB and eventfds between them, as a
 * guest and netmapd have. No wake-up may be lost: each side sleeps as soon as it may, and a sleep of
 * SLEEP_MS is a failure. Meanwhile the memory of the CSB goes away and comes back elsewhere.
 *
 *      sender --CSB--> server of a's tx ring --VALE--> server of b's rx ring --CSB--> receiver
 *
 * The sender has never more packets under way than b's ring holds, as b's server tells it in hwcur:
 * so nothing may be dropped, and a server that misses what the receiver gives back stops
 * everything.
 */
#include "csb_server.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixture.h"

enum { PACKETS = 100000, TX_SLOTS = 8, RX_SLOTS = 32, SLEEP_MS = 10000, FRAME = 60 };

static bool failed, done; /* atomic */

/* The two entries of a ring in one page of a memfd: mapped by the application side once, by the
 * kernel side again and again. */
struct entries {
	struct nm_csb_atok atok;
	struct nm_csb_ktoa ktoa;
};

struct side {
	pthread_t server, application;
	struct app app;
	struct nm_ring *ring;
	uint32_t slots;
	int memfd, kick, irq;          /* eventfds: to the server, to the application */
	struct entries *ours, *theirs; /* the application's mapping, the kernel side's */
	struct nm_csb_appl appl;
	struct nm_csb_server kern; /* under gate */
	pthread_mutex_t gate;
	uint32_t server_sleeps, app_sleeps;
};

static void notify(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		OS_STORE(&failed, true);
}

static void on_wakeup(void *arg)
{
	notify(((struct side *)arg)->kick);
}

/* Sleeps until notified. Nobody may sleep long. */
static void wait_for(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t count;

	if (poll(&p, 1, SLEEP_MS) != 1 || read(fd, &count, sizeof(count)) != sizeof(count))
		OS_STORE(&failed, true);
}

static bool over(void)
{
	return OS_LOAD(&done) || OS_LOAD(&failed);
}

/* ---- the kernel side ------------------------------------------------------------------------------ */

/* As a worker of netmapd does, without its polling: sleeps when nothing moves. */
static void *serve(void *arg)
{
	struct side *s = arg;

	while (!over()) {
		bool sleep;
		int result;

		pthread_mutex_lock(&s->gate);
		nm_csb_server_awake(&s->kern);
		result = nm_csb_server_step(&s->kern);
		sleep = result == NM_CSB_SERVER_IDLE && !nm_csb_server_prepare_sleep(&s->kern);
		pthread_mutex_unlock(&s->gate);
		if (result & NM_CSB_SERVER_STOPPED)
			OS_STORE(&failed, true);
		if (result & NM_CSB_SERVER_INTERRUPT)
			notify(s->irq);
		if (sleep) {
			s->server_sleeps++;
			wait_for(s->kick);
		}
	}
	return NULL;
}

/* The hypervisor takes the memory away and puts it back at another address. */
static void move_memory(struct side *s)
{
	struct entries *old = s->theirs, *new;

	pthread_mutex_lock(&s->gate);
	new = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s->memfd, 0);
	if (new == MAP_FAILED) {
		OS_STORE(&failed, true);
	} else {
		munmap(old, 4096);
		s->theirs = new;
		nm_csb_server_resume(&s->kern, &new->atok, &new->ktoa);
	}
	pthread_mutex_unlock(&s->gate);
	notify(s->kick); /* resume has withdrawn what the server had asked for before it slept */
}

/* ---- the applications -------------------------------------------------------------------------------- */

static void publish(struct side *s, uint32_t head)
{
	if (nm_csb_appl_publish(&s->appl, head, head))
		notify(s->kick);
}

static uint32_t available(struct side *s)
{
	if (!nm_csb_appl_load(&s->appl))
		OS_STORE(&failed, true);
	return nm_ring_distance(s->appl.head, s->appl.hwtail, s->slots);
}

/* Waits for tx room or rx packets; 0 when all is over. */
static uint32_t wait_available(struct side *s)
{
	for (;;) {
		uint32_t n = available(s);

		if (n > 0 || over())
			return n;
		if (nm_csb_appl_sleep(&s->appl))
			continue;
		s->app_sleeps++;
		wait_for(s->irq);
		nm_csb_appl_awake(&s->appl);
	}
}

/* Now and then one is late. */
static void dawdle(struct prng *r)
{
	if (prng_below(r, 100) == 0)
		usleep(prng_below(r, 60));
	else if (prng_below(r, 20) == 0)
		sched_yield();
}

struct pair {
	struct side tx, rx;
	uint32_t received, wrong;
};

/* Packets that b's server says are done with. */
static uint32_t taken_back(struct pair *p, uint32_t *hwcur)
{
	uint32_t now = OS_LOAD_ACQUIRE(&p->rx.ours->ktoa.hwcur);
	uint32_t n = nm_ring_distance(*hwcur, now % RX_SLOTS, RX_SLOTS);

	*hwcur = now;
	return n;
}

static void *send_all(void *arg)
{
	struct pair *p = arg;
	struct side *s = &p->tx;
	struct netmap_ring *ring = app_ring(&s->app, NM_TX, 0);
	struct prng r = prng_new(1);
	uint32_t seq = 0, under_way = 0, hwcur = 0;

	while (seq < PACKETS && !over()) {
		uint32_t room = wait_available(s), head = s->appl.head, most;

		under_way -= taken_back(p, &hwcur);
		most = RX_SLOTS - 1 - under_way;
		if (most == 0)
			sched_yield();
		if (room > most)
			room = most;
		for (uint32_t n = prng_below(&r, room + 1); n > 0 && seq < PACKETS; n--, seq++) {
			struct netmap_slot *slot = &ring->slot[head];
			char *buf = app_buf(ring, slot->buf_idx);

			make_frame(buf, FRAME, 0, NM_TEST_BROADCAST, 1, &r);
			memcpy(buf + 16, &seq, 4);
			slot->len = FRAME;
			slot->flags = 0;
			head = nm_ring_advance(head, 1, TX_SLOTS);
			under_way++;
		}
		publish(s, head);
		dawdle(&r);
	}
	return NULL;
}

static void *receive_all(void *arg)
{
	struct pair *p = arg;
	struct side *s = &p->rx;
	struct netmap_ring *ring = app_ring(&s->app, NM_RX, 0);
	struct prng r = prng_new(2);

	while (p->received < PACKETS && !over()) {
		uint32_t n = wait_available(s), head = s->appl.head;

		for (n = prng_below(&r, n + 1); n > 0; n--) {
			struct netmap_slot *slot = &ring->slot[head];
			uint32_t seq;

			memcpy(&seq, app_buf(ring, slot->buf_idx) + 16, 4);
			p->wrong += slot->len != FRAME || seq != p->received;
			p->received++;
			head = nm_ring_advance(head, 1, RX_SLOTS);
		}
		publish(s, head);
		dawdle(&r);
	}
	OS_STORE(&done, true);
	return NULL;
}

/* ---- the test ------------------------------------------------------------------------------------------ */

static void open_side(
	struct side *s, const char *name, enum nm_dir dir, uint32_t slots, bool memory_moves)
{
	app_open(&core, &s->app, &(struct app_config){name, 64, slots});
	s->slots = slots;
	s->ring = app_private(&s->app, dir, 0);
	s->memfd = memfd_create("csb", MFD_CLOEXEC);
	assert_true(s->memfd >= 0 && ftruncate(s->memfd, 4096) == 0);
	s->ours = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s->memfd, 0);
	/* One mapping where that will do: of two, ThreadSanitizer doesn't know that they are one. */
	s->theirs = memory_moves ? mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s->memfd, 0)
				 : s->ours;
	assert_true(s->ours != MAP_FAILED && s->theirs != MAP_FAILED);
	s->kick = eventfd(0, EFD_CLOEXEC);
	s->irq = eventfd(0, EFD_CLOEXEC);
	assert_true(s->kick >= 0 && s->irq >= 0);
	pthread_mutex_init(&s->gate, NULL);
	nm_csb_server_start(&s->kern, s->ring, &s->theirs->atok, &s->theirs->ktoa);
	assert_int_equal(nm_csb_appl_init(&s->appl, &s->ours->atok, &s->ours->ktoa, slots), 0);
	os_wakeup_set(&s->ring->wakeup, on_wakeup, s);
}

static void close_side(struct side *s)
{
	app_close(&s->app);
	if (s->theirs != s->ours)
		munmap(s->theirs, 4096);
	munmap(s->ours, 4096);
	close(s->memfd);
	close(s->kick);
	close(s->irq);
	pthread_mutex_destroy(&s->gate);
}

static void start(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
	assert_int_equal(pthread_create(thread, NULL, fn, arg), 0);
}

/* Runs all four threads to the end. */
static void run(struct pair *p, bool memory_moves)
{
	uint32_t moves = 0;

	failed = done = false;
	nm_core_init(&core);
	open_side(&p->tx, "vale0:a", NM_TX, TX_SLOTS, memory_moves);
	open_side(&p->rx, "vale0:b", NM_RX, RX_SLOTS, memory_moves);
	start(&p->tx.server, serve, &p->tx);
	start(&p->rx.server, serve, &p->rx);
	start(&p->rx.application, receive_all, p);
	start(&p->tx.application, send_all, p);
	while (!over()) {
		usleep(memory_moves ? 500 : 10000);
		if (!memory_moves)
			continue;
		move_memory(moves % 2 ? &p->tx : &p->rx);
		moves++;
	}
	notify(p->tx.kick);
	notify(p->rx.kick);
	notify(p->tx.irq);
	notify(p->rx.irq);
	pthread_join(p->tx.application, NULL);
	pthread_join(p->rx.application, NULL);
	pthread_join(p->tx.server, NULL);
	pthread_join(p->rx.server, NULL);
	fprintf(stderr, "# sleeps: servers %u, %u; applications %u, %u; memory moved %u times\n",
		p->tx.server_sleeps, p->rx.server_sleeps, p->tx.app_sleeps, p->rx.app_sleeps,
		moves);
	assert_false(failed);
	assert_int_equal(p->received, PACKETS);
	assert_int_equal(p->wrong, 0);
	assert_int_equal(p->tx.ring->stats.packets, PACKETS);
	assert_int_equal(p->rx.ring->stats.packets, PACKETS);
	assert_int_equal(p->rx.ring->stats.drops[NM_DROP_RX_FULL], 0);
	assert_true(p->tx.server_sleeps > 100 && p->rx.server_sleeps > 100);
	assert_true(p->rx.app_sleeps > 100);
	close_side(&p->tx);
	close_side(&p->rx);
	core_check_empty(&core);
	nm_core_destroy(&core);
}

static void no_wakeup_is_lost(void **state)
{
	struct pair p = {0};

	run(&p, false);
}

static void memory_goes_and_comes(void **state)
{
	struct pair p = {0};

#ifdef __SANITIZE_THREAD__
	skip();
#endif
	run(&p, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_wakeup_is_lost),
		cmocka_unit_test(memory_goes_and_comes),
	};

	test_seed();
	return cmocka_run_group_tests_name("csb_server_threads", tests, NULL, NULL);
}
