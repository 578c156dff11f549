/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `waiting` has what no thread has taken, `busy` what is in close().
 */
#include "device_closer.h"
#include "crew.h"
#include "daemon_locks.h"
#include "os.h"
#include "os_user.h"
#include "privileges.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Descriptors that are nobody's any more. */
struct later {
	struct device_close close;
	uint32_t count;
	int fds[];
};

static void *run(void *arg);

static struct {
	struct os_mutex lock;
	struct crew crew OS_GUARDED_BY(DEVICE_CLOSER_LOCK);
	pthread_cond_t closed; /* something is, or a thread has ended */
	bool running;          /* only the control thread changes it */
	struct device_close *waiting OS_GUARDED_BY(DEVICE_CLOSER_LOCK),
		**waiting_end OS_GUARDED_BY(DEVICE_CLOSER_LOCK),
		*busy OS_GUARDED_BY(DEVICE_CLOSER_LOCK);
	uint32_t num_waiting OS_GUARDED_BY(DEVICE_CLOSER_LOCK), num_busy
		OS_GUARDED_BY(DEVICE_CLOSER_LOCK);
} c = {.lock = OS_MUTEX_INIT, .crew = CREW_INIT(run, DEVICE_CLOSER_THREADS)};

static void lock(void) OS_LOCKS(DEVICE_CLOSER_LOCK)
{
	os_mutex_lock(&c.lock);
}

static void unlock(void) OS_UNLOCKS(DEVICE_CLOSER_LOCK)
{
	os_mutex_unlock(&c.lock);
}

/* ---- threads ------------------------------------------------------------------------------- */

static struct device_close *take_waiting(void) OS_REQUIRES(DEVICE_CLOSER_LOCK)
{
	struct device_close *first = c.waiting;

	if (!first)
		return NULL;
	c.waiting = first->next;
	c.num_waiting--;
	return first;
}

/* The lock is open while it runs, and it may be gone behind that: what is in the list of busy ones is a copy. */
static void close_one(struct device_close *close) OS_REQUIRES(DEVICE_CLOSER_LOCK)
{
	struct device_close mine = *close, **link = &c.busy;

	mine.next = c.busy;
	c.busy = &mine;
	c.num_busy++;
	unlock();
	close->run(close);
	lock();
	while (*link != &mine)
		link = &(*link)->next;
	*link = mine.next;
	c.num_busy--;
	pthread_cond_broadcast(&c.closed);
}

static void see_to_it(void) OS_REQUIRES(DEVICE_CLOSER_LOCK)
{
	if (c.waiting)
		crew_call(&c.crew);
}

/* Also what waits at the stop. */
static bool serve(void) OS_REQUIRES(DEVICE_CLOSER_LOCK)
{
	struct device_close *close = take_waiting();

	if (!close)
		return false;
	see_to_it(); /* whoever put it may have put more before this thread woke up */
	close_one(close);
	return true;
}

static void *run(void *arg)
{
	pthread_setname_np(pthread_self(), "closer-device");
	privileges_none();
	lock();
	crew_serve(&c.crew, &c.lock, serve);
	pthread_cond_broadcast(&c.closed);
	unlock();
	return NULL;
}

/* ---- what is closed -------------------------------------------------------------------------- */

void device_closer_run(struct device_close *close, const char *name)
{
	snprintf(close->name, sizeof(close->name), "%s", name);
	if (!c.running) {
		close->run(close);
		return;
	}
	lock();
	if (!c.waiting)
		c.waiting_end = &c.waiting;
	close->next = NULL;
	*c.waiting_end = close;
	c.waiting_end = &close->next;
	c.num_waiting++;
	see_to_it();
	unlock();
}

static void close_all(const int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

static void close_later(struct device_close *close)
{
	struct later *later = (struct later *)close;

	close_all(later->fds, later->count);
	free(later);
}

void device_closer_later(const char *name, const int *fds, uint32_t count)
{
	struct later *later;

	while (count > 0 && fds[count - 1] < 0)
		count--;
	if (count == 0)
		return;
	later = c.running ? malloc(sizeof(*later) + count * sizeof(*fds)) : NULL;
	if (!later) {
		close_all(fds, count);
		return;
	}
	later->close.run = close_later;
	later->count = count;
	memcpy(later->fds, fds, count * sizeof(*fds));
	device_closer_run(&later->close, name);
}

uint32_t device_closer_count(void)
{
	uint32_t count;

	lock();
	count = c.num_busy + c.num_waiting;
	unlock();
	return count;
}

/* ---- start and end ------------------------------------------------------------------------- */

/* The end's patience is none of the wall clock's. */
static void init_closed(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c.closed, &attr);
	pthread_condattr_destroy(&attr);
}

int device_closer_init(void)
{
	int error;

	init_closed();
	lock();
	error = crew_start(&c.crew);
	unlock();
	c.running = !error;
	return error;
}

/* False: nothing was closed for too long. */
static bool wait_for_one(void) OS_REQUIRES(DEVICE_CLOSER_LOCK)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += DEVICE_CLOSER_END_S;
	return pthread_cond_timedwait(&c.closed, &c.lock.l, &end) != ETIMEDOUT;
}

static void say_left(void) OS_REQUIRES(DEVICE_CLOSER_LOCK)
{
	for (const struct device_close *close = c.busy; close; close = close->next)
		os_log(OS_LOG_ERR,
			"%s: the kernel doesn't let go of its network device (%d s): netmapd ends without waiting for it; its name, and process %d, may stay until it does: see dmesg, or reboot",
			close->name, DEVICE_CLOSER_END_S, (int)getpid());
	if (c.waiting)
		os_log(OS_LOG_ERR, "%s, and %u more network devices: they wait behind these",
			c.waiting->name, c.num_waiting - 1);
}

uint32_t device_closer_exit(void)
{
	uint32_t left;

	if (!c.running)
		return 0;
	lock();
	crew_stop(&c.crew);
	while (c.crew.threads > 0 && wait_for_one())
		;
	say_left();
	left = c.num_busy + c.num_waiting;
	unlock();
	c.running = false;
	return left;
}
