/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread waits in epoll, with the time of what is due next as its timeout. It holds the lock while it signals, and looks
 * up each event in the list: a socket that was removed meanwhile is not there.
 */
#include "nic_poll.h"
#include "privileges.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon_locks.h"
#include "os_user.h"

enum { DELAY_MAX_MS = 64, EVENTS = 32 };

static struct {
	struct os_mutex lock;
	struct nic_poll *list OS_GUARDED_BY(NIC_POLL_LOCK);
	uint64_t sleeps_until OS_GUARDED_BY(
		NIC_POLL_LOCK); /* UINT64_MAX: for ever; 0: it is awake */
	bool stop OS_GUARDED_BY(NIC_POLL_LOCK);
	int epoll, wake;
	pthread_t thread;
	bool started;
} poller = {.lock = OS_MUTEX_INIT, .epoll = -1, .wake = -1};

static void poll_lock(void) OS_LOCKS(NIC_POLL_LOCK)
{
	os_mutex_lock(&poller.lock);
}

static void poll_unlock(void) OS_UNLOCKS(NIC_POLL_LOCK)
{
	os_mutex_unlock(&poller.lock);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void wake_thread(void)
{
	uint64_t one = 1;

	(void)!write(
		poller.wake, &one, sizeof(one)); /* its own, non-blocking: full is awake as well */
}

/* ---- the thread ------------------------------------------------------------------------- */

static void signal_event(const struct epoll_event *event) OS_REQUIRES(NIC_POLL_LOCK)
{
	uint64_t count;

	if (!event->data.ptr) {
		(void)!read(poller.wake, &count, sizeof(count));
		return;
	}
	for (struct nic_poll *p = poller.list; p; p = p->next)
		if (p == event->data.ptr)
			os_wakeup_signal(&p->rx->wakeup);
}

/* Milliseconds until the next one is due; -1: none is. */
static int signal_due(void) OS_REQUIRES(NIC_POLL_LOCK)
{
	uint64_t now = now_ms(), next = UINT64_MAX;

	for (struct nic_poll *p = poller.list; p; p = p->next) {
		if (p->due_ms && p->due_ms <= now) {
			OS_STORE(&p->due_ms, 0);
			os_wakeup_signal(&p->tx->wakeup);
		}
		if (p->due_ms && p->due_ms < next)
			next = p->due_ms;
	}
	poller.sleeps_until = next;
	return next == UINT64_MAX ? -1 : (int)(next - now);
}

static void *run(void *arg)
{
	struct epoll_event events[EVENTS];
	bool stop = false;
	int n = 0, wait;

	privileges_none();
	log_never_here();
	pthread_setname_np(pthread_self(), "nic-poll");
	while (!stop) {
		poll_lock();
		for (int i = 0; i < n; i++)
			signal_event(&events[i]);
		wait = signal_due();
		stop = poller.stop;
		poll_unlock();
		if (!stop)
			n = epoll_wait(poller.epoll, events, EVENTS, wait);
	}
	return arg;
}

/* ---- what others call ---------------------------------------------------------------------- */

int nic_poll_add(struct nic_poll *p)
{
	struct epoll_event event = {.events = EPOLLONESHOT, .data.ptr = p};

	p->due_ms = 0;
	p->delay_ms = 1;
	if (epoll_ctl(poller.epoll, EPOLL_CTL_ADD, p->fd, &event) < 0)
		return -errno;
	poll_lock();
	p->added = true;
	p->next = poller.list;
	poller.list = p;
	poll_unlock();
	return 0;
}

void nic_poll_remove(struct nic_poll *p)
{
	struct nic_poll **link;

	if (!p->added)
		return;
	epoll_ctl(poller.epoll, EPOLL_CTL_DEL, p->fd, NULL);
	poll_lock();
	for (link = &poller.list; *link != p;)
		link = &(*link)->next;
	*link = p->next;
	p->added = false;
	poll_unlock();
}

void nic_poll_barrier(void)
{
	poll_lock();
	poll_unlock();
}

void nic_poll_arm(struct nic_poll *p)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = p};

	(void)epoll_ctl(poller.epoll, EPOLL_CTL_MOD, p->fd, &event);
}

void nic_poll_later(struct nic_poll *p, bool progress)
{
	uint64_t due;
	bool wake;

	if (nic_poll_waits(p))
		return;
	p->delay_ms = progress ? 1 : p->delay_ms * 2;
	if (p->delay_ms > DELAY_MAX_MS)
		p->delay_ms = DELAY_MAX_MS;
	due = now_ms() + p->delay_ms;
	poll_lock();
	OS_STORE(&p->due_ms, due);
	wake = p->added && due < poller.sleeps_until;
	poll_unlock();
	if (wake)
		wake_thread();
}

int nic_poll_init(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int error = 0;

	poller.epoll = epoll_create1(EPOLL_CLOEXEC);
	poller.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (poller.epoll < 0 || poller.wake < 0 ||
		epoll_ctl(poller.epoll, EPOLL_CTL_ADD, poller.wake, &event) < 0)
		error = errno;
	if (!error)
		error = pthread_create(&poller.thread, NULL, run, NULL);
	poller.started = !error;
	if (error) {
		errno = error;
		nic_poll_exit();
	}
	return -error;
}

void nic_poll_exit(void)
{
	if (poller.started) {
		poll_lock();
		poller.stop = true;
		poll_unlock();
		wake_thread();
		pthread_join(poller.thread, NULL);
		poll_lock();
		poller.stop = false;
		poll_unlock();
	}
	if (poller.epoll >= 0)
		close(poller.epoll);
	if (poller.wake >= 0)
		close(poller.wake);
	poller.epoll = poller.wake = -1;
	poller.started = false;
}
