/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Queues with something in them, and no thread at work for them, are in the list `ready`. A thread takes the first whose
 * user has no more than its share of threads, closes one descriptor, and puts the queue back, at the end.
 */
#include "closer.h"
#include "crew.h"
#include "privileges.h"
#include "daemon_locks.h"
#include "os.h"
#include "os_user.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* How many threads are at work for a user, and descriptors wait of his; in a list as long as he has queues. */
struct user {
	struct user *next;
	uid_t uid;
	uint32_t queues, busy, waiting;
};

struct closer_queue {
	struct closer_queue *next; /* of the list `ready` */
	struct user *user;
	bool busy, ended; /* a thread is at work for it; it goes with its last descriptor */
	uint32_t first, count, room;
	int fds[]; /* a ring of `room` */
};

/* A descriptor for the thread of known kinds. */
struct later {
	struct os_job job;
	int fd;
};

static void *run(void *arg);

static struct {
	struct os_mutex lock;
	struct crew crew OS_GUARDED_BY(CLOSER_LOCK);
	pthread_cond_t slow_work;
	bool running; /* only the control thread changes it */
	struct user *users OS_GUARDED_BY(CLOSER_LOCK);
	struct closer_queue *ready OS_GUARDED_BY(CLOSER_LOCK),
		**ready_end OS_GUARDED_BY(CLOSER_LOCK);
	struct closer_stats stats OS_GUARDED_BY(CLOSER_LOCK);
	struct os_job *jobs OS_GUARDED_BY(CLOSER_LOCK), **jobs_end OS_GUARDED_BY(CLOSER_LOCK);
	bool slow_waits OS_GUARDED_BY(CLOSER_LOCK);
	pthread_t slow;
} c = {.lock = OS_MUTEX_INIT,
	.crew = CREW_INIT(run, CLOSER_THREADS),
	.slow_work = PTHREAD_COND_INITIALIZER};

static void lock(void) OS_LOCKS(CLOSER_LOCK)
{
	os_mutex_lock(&c.lock);
}

static void unlock(void) OS_UNLOCKS(CLOSER_LOCK)
{
	os_mutex_unlock(&c.lock);
}

/* ---- queues ------------------------------------------------------------------------------ */

static struct user *user_get(uid_t uid) OS_REQUIRES(CLOSER_LOCK)
{
	struct user *user = c.users;

	while (user && user->uid != uid)
		user = user->next;
	if (!user) {
		user = calloc(1, sizeof(*user));
		if (!user)
			return NULL;
		user->uid = uid;
		user->next = c.users;
		c.users = user;
	}
	user->queues++;
	return user;
}

static void user_put(struct user *user) OS_REQUIRES(CLOSER_LOCK)
{
	struct user **link = &c.users;

	if (--user->queues > 0)
		return;
	while (*link != user)
		link = &(*link)->next;
	*link = user->next;
	free(user);
}

static void free_queue(struct closer_queue *q) OS_REQUIRES(CLOSER_LOCK)
{
	user_put(q->user);
	free(q);
}

static struct closer_queue *new_queue(uid_t uid, uint32_t room)
{
	struct closer_queue *q = calloc(1, sizeof(*q) + room * sizeof(q->fds[0]));

	if (!q)
		return NULL;
	q->room = room;
	lock();
	q->user = user_get(uid);
	unlock();
	if (q->user)
		return q;
	free(q);
	return NULL;
}

struct closer_queue *closer_queue_new(uid_t uid)
{
	return new_queue(uid, CLOSER_QUEUE);
}

static void make_ready(struct closer_queue *q) OS_REQUIRES(CLOSER_LOCK)
{
	if (!c.ready)
		c.ready_end = &c.ready;
	q->next = NULL;
	*c.ready_end = q;
	c.ready_end = &q->next;
}

/* Where the first is that may have a thread. */
static struct closer_queue **find_ready(void) OS_REQUIRES(CLOSER_LOCK)
{
	struct closer_queue **link = &c.ready;

	while (*link && (*link)->user->busy >= CLOSER_PER_USER)
		link = &(*link)->next;
	return link;
}

/* NULL: none. */
static struct closer_queue *take_ready(void) OS_REQUIRES(CLOSER_LOCK)
{
	struct closer_queue **link = find_ready(), *q = *link;

	if (!q)
		return NULL;
	*link = q->next;
	if (!q->next)
		c.ready_end = link;
	return q;
}

/* ---- threads of unknown kinds -------------------------------------------------------------- */

/* Closes the first descriptor of a queue. The lock is open meanwhile. */
static void close_one(struct closer_queue *q) OS_REQUIRES(CLOSER_LOCK)
{
	int fd = q->fds[q->first];

	q->first = (q->first + 1) % q->room;
	q->count--;
	q->busy = true;
	q->user->busy++;
	c.stats.busy++;
	unlock();
	close(fd);
	lock();
	c.stats.busy--;
	c.stats.waiting--;
	q->user->busy--;
	q->user->waiting--;
	q->busy = false;
	if (q->count > 0)
		make_ready(q);
	else if (q->ended)
		free_queue(q);
}

static void see_to_it(void) OS_REQUIRES(CLOSER_LOCK)
{
	if (*find_ready())
		crew_call(&c.crew);
}

static bool serve(void) OS_REQUIRES(CLOSER_LOCK)
{
	struct closer_queue *q = c.crew.stop ? NULL : take_ready();

	if (!q)
		return false;
	see_to_it(); /* whoever put it may have put more before this thread woke up */
	close_one(q);
	return true;
}

static void *run(void *arg)
{
	pthread_setname_np(pthread_self(), "closer");
	privileges_none();
	lock();
	crew_serve(&c.crew, &c.lock, serve);
	unlock();
	return NULL;
}

static void push(struct closer_queue *q, int fd) OS_REQUIRES(CLOSER_LOCK)
{
	os_assert(q->count < q->room);
	q->fds[(q->first + q->count++) % q->room] = fd;
	c.stats.waiting++;
	q->user->waiting++;
	if (q->busy || q->count > 1)
		return; /* its thread comes back to it; or it is ready already */
	make_ready(q);
	see_to_it();
}

void closer_put(struct closer_queue *q, int fd)
{
	if (fd < 0)
		return;
	if (!c.running) {
		close(fd);
		return;
	}
	lock();
	push(q, fd);
	unlock();
}

void closer_queue_end(struct closer_queue *q, int sock)
{
	if (!q)
		return;
	if (sock >= 0)
		shutdown(sock, SHUT_RDWR);
	if (!c.running && sock >= 0)
		close(sock);
	lock();
	q->ended = true;
	if (c.running && sock >= 0)
		push(q, sock);
	if (q->count == 0 && !q->busy)
		free_queue(q);
	unlock();
}

uid_t closer_peer(int sock)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return (uid_t)-1;
	return peer.uid;
}

/* Without memory for a queue it is closed here, which can wait: better than to keep it open for ever. */
void closer_turn_away(int sock)
{
	struct closer_queue *q = new_queue(closer_peer(sock), 1);

	if (q)
		closer_queue_end(q, sock);
	else
		close(sock);
}

/* ---- room ---------------------------------------------------------------------------------- */

uint32_t closer_reserve(uint32_t files)
{
	uint32_t reserve = files / CLOSER_RESERVE_PART;

	if (files < CLOSER_FILES_MIN)
		reserve = 0;
	if (reserve > CLOSER_RESERVE_MOST)
		reserve = CLOSER_RESERVE_MOST;
	os_fd_reserve(reserve ? (int)(files - reserve) : INT32_MAX);
	lock();
	c.stats.room = reserve;
	unlock();
	return reserve;
}

/* Looks at the next message without taking it; its descriptors stay where they are. */
static bool carries_descriptors(int sock)
{
	struct msghdr mh = {0};

	return recvmsg(sock, &mh, MSG_PEEK | MSG_DONTWAIT) >= 0 && (mh.msg_flags & MSG_CTRUNC);
}

/* A user may have as many as are left to all then: one alone gets half, and leaves the others as much. Those of his
 * connections that have ended count, too. Behind the descriptors of a message comes the socket itself. */
bool closer_may_receive(const struct closer_queue *q, int sock)
{
	uint32_t room, waiting;

	if (!c.running)
		return true;
	lock();
	if (q->room - q->count < CLOSER_MESSAGE + 1) {
		unlock();
		return false;
	}
	room = c.stats.room;
	waiting = c.stats.waiting + q->user->waiting;
	unlock();
	return room == 0 || waiting + 2 * CLOSER_MESSAGE <= room || !carries_descriptors(sock);
}

void closer_stats(struct closer_stats *stats)
{
	lock();
	*stats = c.stats;
	unlock();
}

/* ---- known kinds --------------------------------------------------------------------------- */

static void close_later(struct os_job *job)
{
	struct later *later = (struct later *)job;

	close(later->fd);
	free(later);
}

void closer_later(int fd)
{
	struct later *later;

	if (fd < 0)
		return;
	later = c.running ? malloc(sizeof(*later)) : NULL;
	if (!later) {
		close(fd);
		return;
	}
	later->job.run = close_later;
	later->fd = fd;
	closer_run(&later->job);
}

void closer_run(struct os_job *job)
{
	if (!c.running) {
		job->run(job);
		return;
	}
	lock();
	if (!c.jobs)
		c.jobs_end = &c.jobs;
	job->next = NULL;
	*c.jobs_end = job;
	c.jobs_end = &job->next;
	if (c.slow_waits)
		pthread_cond_signal(&c.slow_work);
	c.slow_waits = false; /* one signal wakes it */
	unlock();
}

/* All jobs, also those that are there at the stop. */
static void *run_jobs(void *arg)
{

	privileges_none();
	lock();
	while (c.jobs || !c.crew.stop) {
		struct os_job *job = c.jobs;

		if (!job) {
			c.slow_waits = true;
			pthread_cond_wait(&c.slow_work, &c.lock.l);
			c.slow_waits = false;
			continue;
		}
		c.jobs = job->next;
		unlock();
		job->run(job);
		lock();
	}
	unlock();
	return NULL;
}

/* ---- start and end ------------------------------------------------------------------------- */

int closer_init(void)
{
	int error;

	lock();
	error = crew_start(&c.crew);
	unlock();
	if (error)
		return error;
	error = -pthread_create(&c.slow, NULL, run_jobs, NULL);
	if (error) {
		lock();
		crew_stop(&c.crew);
		unlock();
		return error;
	}
	pthread_setname_np(c.slow, "closer-known");
	c.running = true;
	return 0;
}

void closer_exit(void)
{
	if (!c.running)
		return;
	lock();
	crew_stop(&c.crew);
	pthread_cond_broadcast(&c.slow_work);
	unlock();
	pthread_join(c.slow, NULL);
	c.running = false;
}
