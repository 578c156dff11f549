/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * epoll with a handle per descriptor.
 *
 * Handles whose turn has an order stand in the list `queue`: who has asked for a turn, and who had to rest. A round calls back those that
 * are ready and in no order, then the queue, from the first on, each once.
 *
 *      ready ---- its budget is used up, or others who share it wait ----> queue ---- may go, in order ----> callback
 *                                                                        ^      \
 *                                  when it is earned again, these first  |       `- used up: refused, in order
 *                                                                  those behind  `- used up by its callback: rested
 *
 * So of those who share a budget each has a turn before any has two, whatever comes first.
 *
 * A handler may delete any handle, its own or one whose event of this round is still to come. So in
 * a round a deleted handle is only marked (fn NULL) and put on a list of the dead, freed when the
 * round ends.
 */
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "os_user.h"

enum { FIRST_ROOM = 64 };

struct handles {
	struct loop_handle *first, **end;
};

struct loop_handle {
	struct handles *in; /* one of the loop's lists */
	struct loop_handle *next, **link;
	int fd;
	uint32_t events;
	uint64_t paused_until; /* milliseconds of the monotonic clock; 0: not paused */
	struct log_source source;
	bool again;                         /* wants a turn in any case */
	bool waits;                         /* is one of shared->waiting */
	uint32_t ready;                     /* events of this round, until its turn */
	uint64_t turn;                      /* the round of its last one */
	struct loop_budget budget, *shared; /* shared: NULL: none */
	loop_fn *fn;                        /* NULL: dead */
	void *arg;
};

struct loop {
	int epoll_fd;
	bool in_round; /* events of a round are being handed out */
	uint64_t next_source;
	struct epoll_event *events; /* of a round: room for one of each handle */
	uint32_t num_handles, room;
	struct handles live; /* in epoll */
	/* In epoll for errors alone: those that had no turn, in the order of their turns; those that had one, or are paused. */
	struct handles refused, rested;
	struct handles queue; /* in epoll, and have their turns in this order */
	struct handles dead;  /* deleted during this round, freed at its end */
	uint64_t cpu_us;      /* when the last callback was over */
	uint64_t paid_ns;     /* since then */
	struct loop_stats stats;
};

static void list_init(struct handles *list)
{
	*list = (struct handles){.end = &list->first};
}

static void list_append(struct handles *list, struct loop_handle *handle)
{
	handle->in = list;
	handle->next = NULL;
	handle->link = list->end;
	*list->end = handle;
	list->end = &handle->next;
}

static void list_remove(struct loop_handle *handle)
{
	*handle->link = handle->next;
	if (handle->next)
		handle->next->link = handle->link;
	else
		handle->in->end = handle->link;
}

static void list_free(struct handles *list)
{
	struct loop_handle *handle;

	while ((handle = list->first)) {
		list_remove(handle);
		os_free(handle);
	}
}

static void list_move(struct handles *list, struct loop_handle *handle)
{
	list_remove(handle);
	list_append(list, handle);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Whose event a round has no room for would be taken for one who wants nothing, and lose its place in the queue. */
static bool make_room(struct loop *loop)
{
	uint32_t room = loop->room ? 2 * loop->room : FIRST_ROOM;
	struct epoll_event *more;

	if (loop->num_handles < loop->room)
		return true;
	more = realloc(loop->events, room * sizeof(*more));
	if (!more)
		return false;
	loop->events = more;
	loop->room = room;
	return true;
}

int loop_new(struct loop **out)
{
	struct loop *loop = os_zalloc(sizeof(*loop));
	int error;

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = make_room(loop) ? epoll_create1(EPOLL_CLOEXEC) : -1;
	if (loop->epoll_fd < 0) {
		error = loop->events ? -errno : -ENOMEM;
		free(loop->events);
		os_free(loop);
		return error;
	}
	list_init(&loop->live);
	list_init(&loop->refused);
	list_init(&loop->rested);
	list_init(&loop->queue);
	list_init(&loop->dead);
	*out = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	assert(!loop->in_round);
	list_free(&loop->live);
	list_free(&loop->refused);
	list_free(&loop->rested);
	list_free(&loop->queue);
	list_free(&loop->dead);
	close(loop->epoll_fd);
	free(loop->events);
	os_free(loop);
}

/* A connection's lines in the log are those of whoever is at its other end. */
static struct log_source source_of(struct loop *loop, int fd)
{
	struct ucred peer = {.uid = geteuid()};
	socklen_t size = sizeof(peer);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size); /* no socket: our own */
	return (struct log_source){.id = ++loop->next_source, .user = peer.uid};
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *arg,
	struct loop_handle **out)
{
	struct loop_handle *handle = make_room(loop) ? os_zalloc(sizeof(*handle)) : NULL;
	struct epoll_event event = {.events = events};
	int error;

	if (!handle)
		return -ENOMEM;
	event.data.ptr = handle;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		error = -errno;
		os_free(handle);
		return error;
	}
	handle->fd = fd;
	handle->events = events;
	handle->source = source_of(loop, fd);
	handle->fn = fn;
	handle->arg = arg;
	list_append(&loop->live, handle);
	loop->num_handles++;
	*out = handle;
	return 0;
}

static int wait_for(struct loop *loop, struct loop_handle *handle, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = handle};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, handle->fd, &event) < 0 ? -errno : 0;
}

int loop_mod(struct loop *loop, struct loop_handle *handle, uint32_t events)
{
	int error = 0;

	if (events != handle->events && !handle->paused_until)
		error = wait_for(loop, handle, events);
	if (!error)
		handle->events = events;
	return error;
}

/* ---- pauses ----------------------------------------------------------------------------- */

static void pause_until(
	struct loop *loop, struct handles *list, struct loop_handle *handle, uint64_t until)
{
	if (until > handle->paused_until)
		handle->paused_until = until;
	list_move(list, handle);
	/* That it has hung up is told once meanwhile, and again afterwards. A change of what is there can't fail. */
	(void)wait_for(loop, handle, EPOLLONESHOT);
}

void loop_pause(struct loop *loop, struct loop_handle *handle, uint32_t ms)
{
	pause_until(loop, &loop->rested, handle, now_ms() + ms);
}

/* Ends pauses that are over. Milliseconds until the next one is, at most timeout_ms. */
static int end_pauses(struct loop *loop, struct handles *list, uint64_t now, int timeout_ms)
{
	struct loop_handle *next;

	for (struct loop_handle *h = list->first; h; h = next) {
		next = h->next;
		if (h->paused_until > now) {
			uint64_t left = h->paused_until - now;

			if (timeout_ms < 0 || left < (uint64_t)timeout_ms)
				timeout_ms = (int)left;
			continue;
		}
		h->paused_until = 0;
		list_move(&loop->queue, h);
		(void)wait_for(loop, h, h->events);
	}
	return timeout_ms;
}

/* ---- turns ------------------------------------------------------------------------------ */

void loop_again(struct loop *loop, struct loop_handle *handle)
{
	handle->again = true;
	if (!handle->paused_until && handle->in != &loop->queue)
		list_move(&loop->queue, handle);
}

void loop_share(struct loop_handle *handle, struct loop_budget *budget)
{
	handle->shared = budget;
}

/* Takes from a budget, with what was earned since the last time. When it has something again, which is the same for all who ask
 * until then; 0: it has. */
static uint64_t charge(struct loop_budget *b, uint64_t used_us)
{
	uint64_t now = now_ms(), since = now - b->ms;
	int64_t us = LOOP_BURST_US;

	if (b->ms && since < 1000000)
		us = b->us + (int64_t)since * 10 * LOOP_SHARE;
	if (us > LOOP_BURST_US)
		us = LOOP_BURST_US;
	b->us = us - (int64_t)used_us;
	b->ms = now;
	return b->us < 0 ? now + (uint64_t)(-b->us / ((int64_t)10 * LOOP_SHARE)) + 1 : 0;
}

static void begin_waiting(struct loop_handle *handle)
{
	if (handle->shared && !handle->waits)
		handle->shared->waiting++;
	handle->waits = true;
}

static void end_waiting(struct loop_handle *handle)
{
	if (handle->shared && handle->waits)
		handle->shared->waiting--;
	handle->waits = false;
}

static void rest(
	struct loop *loop, struct handles *list, struct loop_handle *handle, uint64_t until)
{
	loop->stats.rests++;
	begin_waiting(handle);
	pause_until(loop, list, handle, until);
}

void loop_pay(struct loop *loop, uint64_t ns)
{
	loop->paid_ns += ns;
}

static void begin_time(struct loop *loop)
{
	loop->cpu_us = cpu_us();
	loop->paid_ns = 0;
}

/* CPU time, and what was paid, since it was asked for the last time. */
static uint64_t take_time(struct loop *loop)
{
	uint64_t before = loop->cpu_us, used = loop->paid_ns / 1000;

	begin_time(loop);
	used += loop->cpu_us - before;
	if (used > loop->stats.most_us)
		loop->stats.most_us = used > UINT32_MAX ? UINT32_MAX : (uint32_t)used;
	return used;
}

/* One callback; false: it has to wait. The handle may be gone afterwards, but not yet freed. */
static bool turn(struct loop *loop, struct loop_handle *handle, uint32_t events)
{
	struct loop_budget *shared = handle->shared;
	uint64_t until = shared ? charge(shared, 0) : 0, own, used;

	handle->turn = loop->stats.rounds;
	handle->ready = 0;
	if (until) {
		rest(loop, &loop->refused, handle, until);
		return false;
	}
	end_waiting(handle);
	if (!handle->paused_until)
		list_move(&loop->live, handle);
	handle->again = false;
	log_from(&handle->source);
	handle->fn(handle->arg, events);
	used = take_time(loop);
	until = shared ? charge(shared, used) : 0;
	if (!handle->fn)
		return true;
	own = charge(&handle->budget, used);
	if (until || own)
		rest(loop, &loop->rested, handle, until > own ? until : own);
	return true;
}

/* It has its turn at once, or a place in the queue. */
static bool take_event(struct loop *loop, struct loop_handle *handle, uint32_t events)
{
	bool queued = handle->in == &loop->queue;
	bool others_wait = handle->shared && handle->shared->waiting > 0;

	if (handle->paused_until && (handle->waits || others_wait))
		return false; /* it has hung up, which is told again after the pause */
	if (!queued && !others_wait)
		return turn(loop, handle, events);
	handle->ready = events;
	if (!queued)
		list_move(&loop->queue, handle);
	return false;
}

/* The first of those in the queue that had no turn in this round; who had to rest and wants nothing any more leaves it. */
static struct loop_handle *next_queued(struct loop *loop)
{
	struct loop_handle *handle = loop->queue.first, *next;

	for (; handle; handle = next) {
		next = handle->next;
		if (handle->turn == loop->stats.rounds)
			continue;
		if (handle->again || handle->ready)
			break;
		end_waiting(handle);
		list_move(&loop->live, handle);
	}
	return handle;
}

void loop_del(struct loop *loop, struct loop_handle *handle)
{
	if (!handle)
		return;
	/* Fails only when the caller closed fd too early; then epoll has dropped it already. */
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, handle->fd, NULL);
	end_waiting(handle);
	list_remove(handle);
	loop->num_handles--;
	if (!loop->in_round) {
		os_free(handle);
		return;
	}
	/* This round may hold an event that points to it. */
	handle->fn = NULL;
	list_append(&loop->dead, handle);
}

/* Who was refused stands before who was not. How long to wait for what is ready. */
static int before_round(struct loop *loop, int timeout_ms)
{
	if (loop->refused.first || loop->rested.first) {
		uint64_t now = now_ms();

		timeout_ms = end_pauses(loop, &loop->refused, now, timeout_ms);
		timeout_ms = end_pauses(loop, &loop->rested, now, timeout_ms);
	}
	return loop->queue.first ? 0 : timeout_ms;
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	struct loop_handle *handle;
	int ready, i, called = 0;

	timeout_ms = before_round(loop, timeout_ms);
	ready = epoll_wait(loop->epoll_fd, loop->events, (int)loop->room, timeout_ms);
	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	assert(!loop->in_round);
	loop->in_round = true;
	loop->stats.rounds++;
	begin_time(loop);
	for (i = 0; i < ready; i++) {
		const struct epoll_event event = loop->events[i]; /* a callback may add handles */

		handle = event.data.ptr;
		if (handle->fn)
			called += take_event(loop, handle, event.events);
	}
	while ((handle = next_queued(loop)))
		called += turn(loop, handle, handle->ready ? handle->ready : EPOLLIN);
	log_from(NULL);
	loop->in_round = false;
	list_free(&loop->dead);
	return called;
}

void loop_stats(const struct loop *loop, struct loop_stats *stats)
{
	*stats = loop->stats;
}
