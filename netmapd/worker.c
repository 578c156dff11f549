/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker's life: round, round, …; no work for poll_ns: prepare to sleep; sleep; adapt.
 *
 * `sleeping` is stored, then a full barrier, then all rings are looked at (prepare_sleep); a
 * producer publishes, then a full barrier, then worker_wake() looks at `sleeping`. So one of the
 * two sees the other. Kick eventfds and devices' sockets are edge-triggered in epoll and never read: their counters are
 * the clients', and messages the control thread's.
 *
 * How long it polls doubles when the last sleep was shorter than the longest polling time, which it
 * would have spared, and halves when it was longer.
 */
#include "worker.h"
#include "daemon_locks.h"
#include "loop.h"
#include "notify.h"
#include "os_user.h"
#include "privileges.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { NS_PER_US = 1000, POLL_MIN_NS = 2000, WAIT_MS = 5 };

struct worker {
	struct worker_config config;
	pthread_t thread;
	struct os_mutex gate, rounds; /* see worker.h, and daemon_locks.h for their order */
	struct worker_ring *rings OS_GUARDED_BY(WORKER_ROUNDS);
	struct worker_attachment *attachments OS_GUARDED_BY(WORKER_ROUNDS);
	uint32_t num_rings OS_GUARDED_BY(WORKER_ROUNDS), num_attachments
		OS_GUARDED_BY(WORKER_ROUNDS);
	bool stop OS_GUARDED_BY(WORKER_ROUNDS);
	bool runs;          /* it has a thread; control thread only */
	cpu_set_t first;    /* CPUs that it can have when it has none of its own */
	bool owes;          /* some ring's `owed`; worker only */
	bool armed;         /* kicks were asked for before the last sleep; worker only */
	bool waits;         /* packets of some ring do, with a bound in time; worker only */
	uint64_t looked_ns; /* when it last had nothing to do; worker only */
	uint64_t busy_since OS_GUARDED_BY(WORKER_ROUNDS); /* 0: it has nothing to do */
	int epoll, wake;                                  /* the eventfd is in the epoll set */
	uint64_t poll_ns; /* polling time without work, adapts; worker only */
	struct worker_stats stats;

	int sleeping __attribute__((aligned(64))); /* 1: a producer must write to `wake` */
};

static void gate_lock(struct worker *w) OS_LOCKS(WORKER_GATE)
{
	os_mutex_lock(&w->gate);
}

static void gate_unlock(struct worker *w) OS_UNLOCKS(WORKER_GATE)
{
	os_mutex_unlock(&w->gate);
}

static void rounds_lock(struct worker *w) OS_LOCKS(WORKER_ROUNDS)
{
	os_mutex_lock(&w->rounds);
}

static void rounds_unlock(struct worker *w) OS_UNLOCKS(WORKER_ROUNDS)
{
	os_mutex_unlock(&w->rounds);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* An eventfd of netmapd's own, non-blocking, which no other process has: full is signalled as well. */
static void signal_own(int eventfd)
{
	uint64_t one = 1;
	ssize_t n = write(eventfd, &one, sizeof(one));

	/* NOLINTNEXTLINE(bugprone-sizeof-expression): os_assert() may be no code */
	os_assert(n == sizeof(one) || errno == EAGAIN);
	(void)n;
}

void worker_wake(struct worker *w)
{
	os_mb(); /* what the caller stored is out before `sleeping` is looked at */
	if (!OS_LOAD(&w->sleeping))
		return;
	if (__atomic_exchange_n(&w->sleeping, 0, __ATOMIC_ACQ_REL)) {
		__atomic_fetch_add(&w->stats.wakes, 1, __ATOMIC_RELAXED);
		signal_own(w->wake);
	}
}

bool worker_signal(const struct worker_ring *ring)
{
	int irq = OS_LOAD(&ring->irq);

	return irq < 0 || notify_signal(ring->notify, ring->slot, irq);
}

static void tell(struct worker *w, struct worker_ring *ring)
{
	ring->owed = !worker_signal(ring);
	w->owes |= ring->owed;
}

static void tell_owed(struct worker *w) OS_REQUIRES(WORKER_ROUNDS)
{
	w->owes = false;
	for (struct worker_ring *ring = w->rings; ring; ring = ring->next)
		if (ring->owed)
			tell(w, ring);
}

/* Nobody but a new start makes it go again. */
static void ring_stopped(const struct worker *w, struct worker_ring *ring)
{
	if (ring->stop_seen)
		return;
	ring->stop_seen = true;
	if (w->config.stopped >= 0)
		signal_own(w->config.stopped);
}

/* One step of each ring. True when anything moved. */
static bool round_of_rings(struct worker *w) OS_REQUIRES(WORKER_ROUNDS)
{
	bool work = false;

	for (struct worker_ring *ring = w->rings; ring; ring = ring->next) {
		int result;

		if (w->armed)
			nm_csb_server_awake(&ring->serve);
		result = nm_csb_server_step(&ring->serve);
		if (result & NM_CSB_SERVER_WORK)
			work = true;
		if (result & NM_CSB_SERVER_INTERRUPT)
			tell(w, ring);
		if (unlikely(result & NM_CSB_SERVER_STOPPED))
			ring_stopped(w, ring);
	}
	for (struct worker_attachment *s = w->attachments; s; s = s->next)
		if (nm_attachment_step(s->att, s->pair))
			work = true;
	if (unlikely(w->owes))
		tell_owed(w);
	w->armed = false;
	w->stats.rounds++;
	return work;
}

/* Asks for kicks. True when there is work after all. */
static bool prepare_sleep(struct worker *w) OS_REQUIRES(WORKER_ROUNDS)
{
	bool work = false;

	w->armed = true;
	w->waits = false;
	for (struct worker_ring *ring = w->rings; ring; ring = ring->next) {
		if (nm_csb_server_prepare_sleep(&ring->serve))
			work = true;
		w->waits |= nm_csb_server_waits(&ring->serve);
	}
	for (struct worker_attachment *s = w->attachments; s; s = s->next) {
		if (nm_attachment_prepare_sleep(s->att, s->pair))
			work = true;
		w->waits |= nm_attachment_waits(s->att, s->pair);
	}
	return work || w->owes || w->config.never_sleeps;
}

static void begin_round(struct worker *w) OS_ACQUIRE(WORKER_ROUNDS)
{
	gate_lock(w);
	gate_unlock(w);
	rounds_lock(w);
}

static void end_round(struct worker *w) OS_RELEASE(WORKER_ROUNDS)
{
	rounds_unlock(w);
}

/* Polling pays when the sleep it would have saved was short. */
static void adapt(struct worker *w, uint64_t slept_ns)
{
	uint64_t most = (uint64_t)OS_LOAD(&w->config.poll_us) * NS_PER_US;

	if (slept_ns < most)
		w->poll_ns = w->poll_ns * 2 + POLL_MIN_NS;
	else
		w->poll_ns /= 2;
	if (w->poll_ns > most)
		w->poll_ns = most;
}

static void wait_for_wake(struct worker *w)
{
	struct epoll_event events[8];
	uint64_t count, start = now_ns();
	int n;

	OS_STORE(&w->stats.sleeps, w->stats.sleeps + 1); /* not under `rounds` */
	n = epoll_wait(w->epoll, events, 8, w->waits ? WAIT_MS : -1);
	OS_STORE(&w->sleeping, 0);
	/* Kicks are edge-triggered and not read; the worker's own eventfd is emptied. */
	if (read(w->wake, &count, sizeof(count)) < 0)
		os_assert(errno == EAGAIN);
	else
		n--;
	OS_STORE(&w->stats.kicks, w->stats.kicks + (n > 0 ? (uint64_t)n : 0));
	w->looked_ns = now_ns();
	adapt(w, w->looked_ns - start);
}

/* Nothing has moved for a while. */
static void go_to_sleep(struct worker *w)
{
	bool work;

	OS_STORE(&w->sleeping, 1);
	begin_round(w);
	os_mb(); /* `sleeping` is out before the rings are looked at; pairs with worker_wake() */
	work = w->stop || prepare_sleep(w);
	end_round(w);
	if (!work)
		wait_for_wake(w);
	else
		OS_STORE(&w->sleeping, 0);
}

/* How long it works: from when it last had nothing to do. No work without a look at the clock before. */
static void account(struct worker *w, bool work) OS_REQUIRES(WORKER_ROUNDS)
{
	if (work) {
		if (w->busy_since == 0)
			w->busy_since = w->looked_ns;
		return;
	}
	w->looked_ns = now_ns();
	if (w->busy_since == 0)
		return;
	w->stats.busy_ns += w->looked_ns - w->busy_since;
	w->busy_since = 0;
}

/* By itself: another one would have to write to /proc. */
static void set_name(const struct worker *w)
{
	char name[16];

	snprintf(name, sizeof(name), "worker-%u", w->config.number);
	pthread_setname_np(pthread_self(), name);
}

static void *run(void *arg)
{
	struct worker *w = arg;
	uint64_t idle_since = 0;

	w->looked_ns = now_ns();

	set_name(w);
	privileges_none();
	log_never_here();
	for (;;) {
		bool stop, work;

		begin_round(w);
		stop = w->stop;
		work = !stop && round_of_rings(w);
		account(w, work);
		end_round(w);
		if (stop)
			return NULL;
		if (work) {
			idle_since = 0;
			continue;
		}
		if (idle_since == 0)
			idle_since = w->looked_ns;
		if (w->looked_ns - idle_since >= w->poll_ns) {
			go_to_sleep(w);
			idle_since = 0;
		} else {
			__builtin_ia32_pause();
		}
	}
}

int worker_set_cpu(struct worker *w, int cpu)
{
	cpu_set_t set = w->first;
	int error;

	if (cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET((size_t)cpu, &set);
	}
	error = pthread_setaffinity_np(w->thread, sizeof(set), &set);
	if (!error)
		w->config.cpu = cpu;
	return -error;
}

void worker_set_poll(struct worker *w, uint32_t poll_us)
{
	OS_STORE(&w->config.poll_us, poll_us);
}

static void set_affinity(struct worker *w)
{
	if (pthread_getaffinity_np(w->thread, sizeof(w->first), &w->first) != 0)
		memset(&w->first, 0xff, sizeof(w->first));
	if (w->config.cpu >= 0 && worker_set_cpu(w, w->config.cpu) != 0)
		os_log(OS_LOG_WARN, "worker %u can't run on CPU %d", w->config.number,
			w->config.cpu);
}

static int start(struct worker *w, const struct worker_config *config)
{
	int error;

	w->config = *config;
	error = pthread_create(&w->thread, NULL, run, w);
	if (error)
		return error;
	w->runs = true;
	set_affinity(w);
	return 0;
}

struct worker *worker_new(const struct worker_config *config)
{
	struct worker *w = os_zalloc(sizeof(*w));
	struct epoll_event event = {.events = EPOLLIN};
	int error;

	if (!w)
		return NULL;
	os_mutex_init(&w->gate);
	os_mutex_init(&w->rounds);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = w->epoll < 0 || w->wake < 0 ||
				epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &event) < 0
			? errno
			: start(w, config);
	if (error) {
		if (w->epoll >= 0)
			close(w->epoll);
		if (w->wake >= 0)
			close(w->wake);
		os_free(w);
		errno = error;
		return NULL;
	}
	return w;
}

/* 0 without a thread. */
static uint64_t cpu_ns(const struct worker *w)
{
	struct timespec ts;
	clockid_t clock;

	if (!w->runs || pthread_getcpuclockid(w->thread, &clock) != 0 ||
		clock_gettime(clock, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The control thread's turn between two rounds. */
static void enter(struct worker *w) OS_ACQUIRE(WORKER_ROUNDS)
{
	uint64_t before, after;

	gate_lock(w);
	before = cpu_ns(w);
	rounds_lock(w);
	after = cpu_ns(w);
	gate_unlock(w);
	if (w->config.loop && after > before)
		loop_pay(w->config.loop, after - before);
	w->stats.entries++;
}

static void leave(struct worker *w) OS_RELEASE(WORKER_ROUNDS)
{
	rounds_unlock(w);
}

void worker_stop(struct worker *w)
{
	if (!w->runs)
		return;
	enter(w);
	w->stop = true;
	leave(w);
	worker_wake(w);
	pthread_join(w->thread, NULL);
	w->runs = false;
}

bool worker_runs(const struct worker *w)
{
	return w->runs;
}

/* As a new one: what the thread before has counted is gone. */
int worker_restart(struct worker *w, const struct worker_config *config)
{
	os_assert(!w->runs);
	enter(w);
	w->stop = false;
	w->busy_since = 0;
	w->stats = (struct worker_stats){0};
	leave(w);
	w->owes = w->armed = w->waits = false;
	w->poll_ns = 0;
	return -start(w, config);
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	worker_stop(w);
	close(w->epoll);
	close(w->wake);
	os_mutex_destroy(&w->gate);
	os_mutex_destroy(&w->rounds);
	os_free(w);
}

int worker_watch(struct worker *w, int fd)
{
	/* EPOLLOUT, which is nearly always true: else what the control thread has read from a socket, before this
	 * thread had a processor, would be no event any more. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};

	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

void worker_unwatch(struct worker *w, int fd)
{
	if (fd >= 0)
		epoll_ctl(w->epoll, EPOLL_CTL_DEL, fd, NULL);
}

void worker_add(struct worker *w, struct worker_ring *const rings[], uint32_t count)
{
	if (count == 0)
		return;
	for (uint32_t i = 0; i < count; i++) {
		rings[i]->stop_seen = false;
		rings[i]->leaves = false;
	}
	enter(w);
	for (uint32_t i = 0; i < count; i++) {
		rings[i]->next = w->rings;
		w->rings = rings[i];
		w->owes |= rings[i]->owed;
	}
	w->num_rings += count;
	leave(w);
	worker_wake(w);
}

void worker_remove(struct worker *w, struct worker_ring *const rings[], uint32_t count)
{
	struct worker_ring **link, *ring;

	if (count == 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		rings[i]->leaves = true;
	enter(w);
	for (link = &w->rings; (ring = *link);) {
		if (!ring->leaves) {
			link = &ring->next;
			continue;
		}
		*link = ring->next;
		os_assert(w->num_rings > 0);
		w->num_rings--;
	}
	leave(w);
}

void worker_stats(struct worker *w, struct worker_stats *stats)
{
	enter(w);
	stats->busy_ns = w->stats.busy_ns + (w->busy_since ? now_ns() - w->busy_since : 0);
	stats->kicks = OS_LOAD(&w->stats.kicks);
	stats->cpu_ns = cpu_ns(w);
	stats->rounds = w->stats.rounds;
	stats->entries = w->stats.entries;
	stats->sleeps = OS_LOAD(&w->stats.sleeps);
	stats->wakes = OS_LOAD(&w->stats.wakes);
	stats->rings = w->num_rings + w->num_attachments;
	leave(w);
}

void worker_add_attachment(struct worker *w, struct worker_attachment *s)
{
	enter(w);
	s->next = w->attachments;
	w->attachments = s;
	w->num_attachments++;
	leave(w);
	worker_wake(w);
}

void worker_remove_attachment(struct worker *w, struct worker_attachment *s)
{
	struct worker_attachment **link;

	enter(w);
	link = &w->attachments;
	while (*link && *link != s)
		link = &(*link)->next;
	if (*link) {
		*link = s->next;
		os_assert(w->num_attachments > 0);
		w->num_attachments--;
	}
	leave(w);
}

void worker_barrier(struct worker *w)
{
	enter(w);
	leave(w);
}
