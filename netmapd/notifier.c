/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread that signals what nobody else may.
 *
 *   incoming   a stack of jobs, without a lock, for threads that push; emptied as a whole
 *   waiting    the notifier's own list, in the order of arrival: each job runs when its client may be
 *              signalled again; expensive ones also wait for all expensive ones before them
 *
 * A job has a duplicate of its descriptor, so that the owner closes his own whenever he likes, and
 * waits for nobody. One slot of a client has one job at a time, or one more for each descriptor that
 * was replaced meanwhile; beyond two for each of its slots, those of replaced ones are dropped.
 */
#include "notify_internal.h"
#include "privileges.h"
#include "os_user.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define S_NS         1000000000ULL
#define PENANCE_MAX  (3600 * S_NS)
#define GET_AGAIN_NS S_NS               /* asynchronous requests */
#define INTERRUPT_NS (5L * 1000 * 1000) /* a write() that waits is interrupted */
#define TRY_AGAIN_MS 100                /* what failed for want of something */
#define FOR_EVER     UINT64_MAX

enum { OFFENDERS = 64, JOBS_PER_SLOT = 2 };

struct job {
	struct job *next;
	struct notify_client *client;
	uint32_t slot;
	int fd;            /* the duplicate */
	int number;        /* of the original */
	uint32_t replaced; /* as often as the slot's had been then */
};

/* A user with a client that was expensive. */
struct offender {
	uint32_t user;
	uint64_t penance_ns, until_ns;
};

static struct {
	pthread_t thread;
	bool started, stop;
	int wake;
	uint32_t awake; /* `wake` was signalled */
	struct job *incoming;
	uint64_t signals, returned;

	/* Under the lock, which is held for a look at the table. */
	pthread_mutex_t lock;
	struct offender offenders[OFFENDERS];

	/* The thread's. */
	struct job *waiting;
	uint64_t next_expensive_ns, get_again_ns;
	timer_t interrupter;
	bool has_interrupter;
} n = {.wake = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t notifier_signals(void)
{
	return OS_LOAD_ACQUIRE(&n.signals);
}

uint64_t notifier_returned(void)
{
	return OS_LOAD(&n.returned);
}

/* ---- users ---------------------------------------------------------------------------------- */

/* netmapd's own user can do with it what he likes anyway. */
static bool is_own(uint32_t user)
{
	return user == geteuid();
}

void notifier_admit(struct notify_client *c)
{
	if (is_own(c->user))
		return;
	pthread_mutex_lock(&n.lock);
	for (int i = 0; i < OFFENDERS; i++) {
		const struct offender *o = &n.offenders[i];

		if (o->user != c->user || o->until_ns <= notify_now_ns())
			continue;
		c->slow = 1;
		c->penance_ns = o->penance_ns;
		c->until_ns = o->until_ns;
	}
	pthread_mutex_unlock(&n.lock);
}

/* In the place of the one that has the least left. */
static void remember(const struct notify_client *c)
{
	struct offender *place = &n.offenders[0];

	if (is_own(c->user))
		return;
	pthread_mutex_lock(&n.lock);
	for (int i = 0; i < OFFENDERS; i++) {
		struct offender *o = &n.offenders[i];

		if (o->user == c->user && o->until_ns) {
			place = o;
			break;
		}
		if (o->until_ns < place->until_ns)
			place = o;
	}
	*place = (struct offender){c->user, c->penance_ns, c->until_ns};
	pthread_mutex_unlock(&n.lock);
}

/* ---- what a signal has cost ------------------------------------------------------------------- */

static void was_expensive(struct notify_client *c, uint64_t cost, uint64_t now)
{
	if (c->penance_ns == 0)
		c->penance_ns = NOTIFY_PENANCE_S * S_NS;
	else if (c->forgiven && c->penance_ns < PENANCE_MAX)
		c->penance_ns *= 2;
	c->forgiven = false;
	c->cheap = 0;
	OS_STORE(&c->slow, 1);
	c->until_ns = now + c->penance_ns;
	c->next_ns = now + cost * (NOTIFY_SHARE - 1);
	n.next_expensive_ns = now + cost * (NOTIFY_SHARE_ALL - 1);
	remember(c);
}

static void was_cheap(struct notify_client *c, uint64_t now)
{
	if (++c->cheap < NOTIFY_CHEAP || now < c->until_ns || !OS_LOAD(&c->slow))
		return;
	c->forgiven = true;
	c->cheap = 0;
	OS_STORE(&c->excess_ns, 0);
	OS_STORE(&c->slow, 0);
	OS_STORE(&n.returned, n.returned + 1);
}

/* ---- signalling ----------------------------------------------------------------------------- */

static void interrupted(int sig)
{
}

/* Each thread has its timer: this one's signal reaches this one alone. */
static bool get_interrupter(void)
{
	const struct sigaction action = {.sa_handler = interrupted};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};

	if (n.has_interrupter)
		return true;
	event._sigev_un._tid = (int)syscall(SYS_gettid);
	n.has_interrupter = sigaction(SIGRTMIN, &action, NULL) == 0 &&
			    timer_create(CLOCK_MONOTONIC, &event, &n.interrupter) == 0;
	return n.has_interrupter;
}

/* Again and again, for the first one can come too early. */
static void interrupt_every(long ns)
{
	const struct itimerspec timer = {{.tv_nsec = ns}, {.tv_nsec = ns}};

	timer_settime(n.interrupter, 0, &timer, NULL);
}

/* False: not now. A full counter is signalled already. */
static bool write_to(int fd)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};
	const uint64_t one = 1;
	ssize_t done;

	if (poll(&room, 1, 0) <= 0 || !(room.revents & POLLOUT))
		return true;
	if (!get_interrupter())
		return false;
	interrupt_every(INTERRUPT_NS);
	done = write(fd, &one, sizeof(one));
	interrupt_every(0);
	(void)done;
	return true;
}

static void get_requests_again(uint64_t now)
{
	if (notify_has_requests() || now < n.get_again_ns)
		return;
	n.get_again_ns = now + GET_AGAIN_NS;
	if (notify_get_requests())
		os_log(OS_LOG_INFO, "there are asynchronous requests again");
}

static bool signal_now(int fd)
{
	return notify_submit(fd) || (!notify_has_requests() && write_to(fd));
}

/* Without requests and timers nobody can be signalled: then all wait. What the signal itself took of the
 * processor: the rest is no client's doing. */
static uint64_t signal_timed(int fd)
{
	while (!OS_LOAD(&n.stop)) {
		uint64_t start;

		get_requests_again(notify_now_ns());
		start = notify_cpu_ns();
		if (signal_now(fd))
			return notify_cpu_ns() - start;
		(void)poll(NULL, 0, TRY_AGAIN_MS);
	}
	return 0;
}

/* ---- jobs ------------------------------------------------------------------------------------- */

static void free_job(struct job *job)
{
	close(job->fd);
	notify_client_put(job->client);
	os_free(job);
}

static void run(struct job *job)
{
	struct notify_client *c = job->client;
	uint64_t cost, now;
	int number = job->number + 1;

	/* A signal that comes from now on is another one. */
	__atomic_compare_exchange_n(
		&c->slot[job->slot].pending, &number, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	cost = signal_timed(job->fd);
	now = notify_now_ns();
	if (notify_charge(c, cost))
		was_expensive(c, cost, now);
	else if (cost > NOTIFY_LIMIT_NS)
		c->cheap = 0;
	else
		was_cheap(c, now);
	/* Whoever sees it counted sees what it has led to. */
	OS_STORE_RELEASE(&n.signals, n.signals + 1);
}

static uint64_t due_at(const struct job *job)
{
	const struct notify_client *c = job->client;

	if (c->until_ns && c->cheap < NOTIFY_CHEAP && n.next_expensive_ns > c->next_ns)
		return n.next_expensive_ns;
	return c->next_ns;
}

/* Nobody waits for it any more: its client is gone, or has replaced the descriptor, and has many jobs. */
static bool is_dropped(const struct job *job)
{
	const struct notify_client *c = job->client;

	return OS_LOAD(&c->gone) || (OS_LOAD(&c->refs) > JOBS_PER_SLOT * c->slots + 1 &&
					    OS_LOAD(&c->slot[job->slot].replaced) != job->replaced);
}

/* Runs what is due. When the next one is. */
static uint64_t run_waiting(void)
{
	uint64_t next = FOR_EVER;
	struct job **link = &n.waiting;

	while (*link && !OS_LOAD(&n.stop)) {
		struct job *job = *link;
		bool dropped = is_dropped(job);

		if (!dropped && due_at(job) > notify_now_ns()) {
			if (due_at(job) < next)
				next = due_at(job);
			link = &job->next;
			continue;
		}
		if (!dropped)
			run(job);
		*link = job->next;
		free_job(job);
	}
	return next;
}

/* Incoming jobs go behind the others, the oldest first. */
static void take_incoming(void)
{
	struct job *job = __atomic_exchange_n(&n.incoming, NULL, __ATOMIC_ACQUIRE), *oldest = NULL;
	struct job **end = &n.waiting;

	while (job) {
		struct job *next = job->next;

		job->next = oldest;
		oldest = job;
		job = next;
	}
	while (*end)
		end = &(*end)->next;
	*end = oldest;
}

static void wait_until(uint64_t when)
{
	uint64_t now = notify_now_ns(), count, ns = when > now ? when - now : 0;
	const struct timespec ts = {(time_t)(ns / S_NS), (long)(ns % S_NS)};
	struct pollfd fd = {.fd = n.wake, .events = POLLIN};

	if (ppoll(&fd, 1, when == FOR_EVER ? NULL : &ts, NULL) > 0)
		(void)!read(n.wake, &count, sizeof(count));
	/* Who pushes from here on signals again; what was pushed before is taken. */
	__atomic_exchange_n(&n.awake, 0, __ATOMIC_SEQ_CST);
}

static void *notifier(void *arg)
{
	privileges_none();
	while (!OS_LOAD_ACQUIRE(&n.stop)) {
		take_incoming();
		wait_until(run_waiting());
	}
	return NULL;
}

static void wake(void)
{
	const uint64_t one = 1;

	if (__atomic_exchange_n(&n.awake, 1, __ATOMIC_SEQ_CST) == 0)
		(void)!write(n.wake, &one, sizeof(one));
}

void notifier_forget(void)
{
	wake();
}

bool notifier_push(struct notify_client *c, uint32_t slot, int fd)
{
	struct job *job;

	if (__atomic_exchange_n(&c->slot[slot].pending, fd + 1, __ATOMIC_ACQ_REL) == fd + 1)
		return true;
	job = os_zalloc(sizeof(*job));
	if (job)
		*job = (struct job){
			.client = c,
			.slot = slot,
			.number = fd,
			.replaced = OS_LOAD(&c->slot[slot].replaced),
			.fd = os_fd_keep(fcntl(fd, F_DUPFD_CLOEXEC, 3)),
		};
	if (!job || job->fd < 0) {
		os_free(job);
		OS_STORE(&c->slot[slot].pending, 0);
		return false;
	}
	__atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->slow_signals, 1, __ATOMIC_RELAXED);
	job->next = OS_LOAD(&n.incoming);
	while (!__atomic_compare_exchange_n(
		&n.incoming, &job->next, job, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	wake();
	return true;
}

/* ---- start and stop ---------------------------------------------------------------------------- */

int notifier_start(void)
{
	int error;

	n.stop = false;
	n.awake = 0; /* the last stop may have left it, with no thread to take it */
	n.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n.wake < 0)
		return -errno;
	error = pthread_create(&n.thread, NULL, notifier, NULL);
	if (error)
		return -error;
	pthread_setname_np(n.thread, "notifier");
	n.started = true;
	return 0;
}

void notifier_stop(void)
{
	struct job *job;

	if (n.started) {
		OS_STORE_RELEASE(&n.stop, true);
		wake();
		pthread_join(n.thread, NULL);
	}
	n.started = false;
	take_incoming();
	while ((job = n.waiting)) {
		n.waiting = job->next;
		free_job(job);
	}
	if (n.has_interrupter)
		timer_delete(n.interrupter);
	n.has_interrupter = false;
	if (n.wake >= 0)
		close(n.wake);
	n.wake = -1;
}
