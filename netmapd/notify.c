/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A signal is an asynchronous poll of a descriptor that is always ready, with the eventfd as the
 * one to tell. Completions nobody reads fill the kernel's queue, so every REAP_EVERY signals they
 * are taken out; when the kernel is out of requests all the same, the notifier gets the signal.
 *
 * Each signal is timed by the clock, which costs little but counts the time of others as well: who is
 * woken may run first. One that took long makes the next ones be timed by what they took of the
 * processor, which costs a system call more: so many that a client whose signals take long now and then,
 * in between, takes no more than it may for all of them.
 */
#include "notify_internal.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	REQUESTS = 256, /* completed ones that the kernel keeps for us */
	REAP_EVERY = 64,
	TRIES = 100,
	SUSPECT = 16,
	SUSPECT_MAX = 100000,
};

static struct {
	aio_context_t aio; /* 0: none; only ever set */
	int ready;         /* an eventfd that can always be read */
	unsigned int signals;
	uint64_t moved;
} notify = {.ready = -1};

static uint64_t ns_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t notify_now_ns(void)
{
	return ns_of(CLOCK_MONOTONIC);
}

uint64_t notify_cpu_ns(void)
{
	return ns_of(CLOCK_THREAD_CPUTIME_ID);
}

/* ---- requests --------------------------------------------------------------------------- */

bool notify_has_requests(void)
{
	return OS_LOAD_ACQUIRE(&notify.aio) != 0;
}

bool notify_get_requests(void)
{
	aio_context_t aio = 0;

	if (notify_has_requests())
		return true;
	if (syscall(SYS_io_setup, REQUESTS, &aio) < 0)
		return false;
	OS_STORE_RELEASE(&notify.aio, aio);
	return true;
}

int notify_init(void)
{
	int error;

	notify.ready = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (notify.ready < 0)
		return -errno;
	if (!notify_get_requests())
		os_log(OS_LOG_WARN,
			"no asynchronous requests (%s): wake-ups take longer until there are; look at the sysctl fs.aio-nr, and raise fs.aio-max-nr",
			strerror(errno));
	error = notifier_start();
	if (error)
		notify_exit();
	return error;
}

void notify_exit(void)
{
	notifier_stop();
	if (notify.aio)
		syscall(SYS_io_destroy, notify.aio);
	if (notify.ready >= 0)
		close(notify.ready);
	notify.aio = 0;
	notify.ready = -1;
}

/* Makes room for the next completions; what they say is of no interest. */
static void reap(void)
{
	const struct timespec at_once = {0};
	struct io_event done[REAP_EVERY];

	while (syscall(SYS_io_getevents, notify.aio, 0, REAP_EVERY, done, &at_once) == REAP_EVERY)
		;
}

static bool submit(int fd)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = (uint32_t)notify.ready,
		.aio_buf = POLLIN,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *list[1] = {&request};

	return syscall(SYS_io_submit, notify.aio, 1, list) == 1 || errno != EAGAIN;
}

bool notify_submit(int fd)
{
	if (!notify_has_requests())
		return false;
	if (__atomic_add_fetch(&notify.signals, 1, __ATOMIC_RELAXED) % REAP_EVERY == 0)
		reap();
	for (int i = 0; i < TRIES; i++) {
		if (submit(fd))
			return true;
		reap();
	}
	return false;
}

/* ---- clients ---------------------------------------------------------------------------- */

bool notify_usable(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[32], is[sizeof(want)];
	ssize_t len;
	int flags;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, is, sizeof(is));
	if (len != (ssize_t)strlen(want) || memcmp(is, want, strlen(want)) != 0)
		return false;
	flags = fcntl(fd, F_GETFL);
	return flags >= 0 && (flags & O_ACCMODE) == O_RDWR;
}

struct notify_client *notify_client_new(uint32_t slots, uint32_t user)
{
	struct notify_client *c = os_zalloc(sizeof(*c) + slots * sizeof(c->slot[0]));

	if (!c)
		return NULL;
	c->refs = 1;
	c->slots = slots;
	c->user = user;
	notifier_admit(c);
	return c;
}

void notify_client_put(struct notify_client *c)
{
	if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) == 0)
		os_free(c);
}

void notify_client_free(struct notify_client *c)
{
	if (!c)
		return;
	OS_STORE(&c->gone, 1);
	notify_client_put(c);
	notifier_forget();
}

void notify_replaced(struct notify_client *c, uint32_t slot)
{
	os_assert(slot < c->slots);
	OS_STORE(&c->slot[slot].pending, 0);
	__atomic_fetch_add(&c->slot[slot].replaced, 1, __ATOMIC_RELAXED);
}

uint64_t notify_client_slow(const struct notify_client *c)
{
	return OS_LOAD(&c->slow_signals);
}

void notify_stats(struct notify_stats *stats)
{
	*stats = (struct notify_stats){
		.asynchronous = notify_has_requests(),
		.moved = OS_LOAD(&notify.moved),
		.returned = notifier_returned(),
		.signals = notifier_signals(),
	};
}

/* ---- signals ------------------------------------------------------------------------------ */

/* Threads that come in each other's way lose a signal's share. */
bool notify_charge(struct notify_client *c, uint64_t cost)
{
	uint64_t excess = OS_LOAD(&c->excess_ns) + cost;

	excess = excess > NOTIFY_LIMIT_NS ? excess - NOTIFY_LIMIT_NS : 0;
	OS_STORE(&c->excess_ns, excess < NOTIFY_EXCESS_NS ? (uint32_t)excess : NOTIFY_EXCESS_NS);
	return excess > NOTIFY_EXCESS_NS;
}

static bool signal_exactly_timed(struct notify_client *c, int fd)
{
	uint64_t start = notify_cpu_ns();
	bool done = notify_submit(fd);

	__atomic_fetch_sub(&c->suspect, 1, __ATOMIC_RELAXED);
	if (!notify_charge(c, notify_cpu_ns() - start))
		return done;
	if (__atomic_exchange_n(&c->slow, 1, __ATOMIC_RELAXED) == 0)
		__atomic_fetch_add(&notify.moved, 1, __ATOMIC_RELAXED);
	return done;
}

static void suspect(struct notify_client *c, uint64_t took_ns)
{
	uint64_t signals = SUSPECT + took_ns / NOTIFY_LIMIT_NS;

	if (signals > SUSPECT_MAX)
		signals = SUSPECT_MAX;
	if ((int32_t)OS_LOAD(&c->suspect) < (int32_t)signals)
		OS_STORE(&c->suspect, (uint32_t)signals);
}

static bool signal_here(struct notify_client *c, int fd)
{
	uint64_t start, took;
	bool done;

	if (unlikely((int32_t)OS_LOAD(&c->suspect) > 0))
		return signal_exactly_timed(c, fd);
	start = notify_now_ns();
	done = notify_submit(fd);
	took = notify_now_ns() - start;
	if (unlikely(took > NOTIFY_LIMIT_NS))
		suspect(c, took);
	return done;
}

bool notify_signal(struct notify_client *c, uint32_t slot, int fd)
{
	os_assert(slot < c->slots);
	if (likely(!OS_LOAD(&c->slow)) && signal_here(c, fd))
		return true;
	/* Without a descriptor for it an expensive signal is better than none. */
	return notifier_push(c, slot, fd) || notify_submit(fd);
}
