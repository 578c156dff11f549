/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * loop.h - the control thread's event loop: a thin layer over epoll.
 *
 * The control socket, the vfio-user sockets, signals and timers (signalfd,
 * timerfd) are descriptors with a callback each. The loop calls back while a
 * descriptor is ready (level-triggered), one callback per descriptor and round,
 * so that what a callback leaves for later does not keep others waiting: each has
 * its turn. A callback does little in a turn, and asks for another one (loop_again)
 * when it has more to do.
 *
 * A turn can be long all the same, since one message can be much work. So a handle has
 * a budget of CPU time: LOOP_BURST_US at once, and LOOP_SHARE percent in the long run. Who has used
 * it up is not called back until it is earned again, whatever has happened to its descriptor. What others do while a callback waits
 * for them is its own as well (loop_pay). Handles can share another budget
 * (loop_share): all connections of a user do, for a client that comes again has a new one of its own. When it is used up they have
 * their turns one after the other: who had one stands behind those who wait, and so does who comes only now.
 *
 *      struct loop_handle *h;
 *      int error = loop_add(loop, fd, EPOLLIN, on_ready, arg, &h);
 *      ...
 *      while (!stop)
 *              loop_run_once(loop, -1);
 *      loop_del(loop, h);
 *      close(fd);
 *
 * What a callback logs is counted as its descriptor's, and its peer's user's (log.h).
 *
 * The loop does not own descriptors: take a handle out with loop_del() before
 * its descriptor is closed.
 *
 * Thread safety: one thread makes all calls.
 */
#ifndef NETMAPD_LOOP_H
#define NETMAPD_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_handle;

enum {
	LOOP_BURST_US = 20000, /* CPU time of a handle's callbacks, and what they pay */
	LOOP_SHARE = 50,       /* percent of a CPU */
};

struct loop_budget {
	int64_t us;       /* left at `ms`; negative: overdrawn */
	uint64_t ms;      /* of the monotonic clock; 0: nothing was used yet */
	uint32_t waiting; /* handles that share it, and rest, or wait for their turn after that */
};

/* `events`: what epoll reported, EPOLLHUP and EPOLLERR included. */
typedef void loop_fn(void *arg, uint32_t events);

/* 0 and the loop in *out, or a negative errno. */
int loop_new(struct loop **out);

/* Handles that are still in the loop go with it. NULL is allowed. Not from a callback. */
void loop_free(struct loop *loop);

/*
 * Calls fn(arg, events) whenever `fd` is ready for `events` (EPOLLIN, EPOLLOUT; 0: errors
 * only). The handle goes to *out and lives until loop_del(). Negative errno: -ENOMEM,
 * -ENOSPC, -EEXIST (fd is in the loop), -EPERM (fd can't be waited for).
 */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *arg,
	struct loop_handle **out);

/* Other events for a handle. */
int loop_mod(struct loop *loop, struct loop_handle *handle, uint32_t events);

/* Calls nothing back for a handle until so many milliseconds have passed, but for EPOLLHUP and EPOLLERR if nobody who shares its
 * budget waits: for what is ready and can't be served now, so that the loop does not spin. */
void loop_pause(struct loop *loop, struct loop_handle *handle, uint32_t ms);

/* The handle's callbacks use this budget as well, which is all 0 at first and outlives the handle and the round in which it is taken
 * out. */
void loop_share(struct loop_handle *handle, struct loop_budget *budget);

/* The callback that runs pays so much more: it keeps the control thread while another thread works. Not in one: nobody pays. */
void loop_pay(struct loop *loop, uint64_t ns);

/* Calls back in the next round, with EPOLLIN, also when nothing has come by then; after those that are ready, in the order of asking. */
void loop_again(struct loop *loop, struct loop_handle *handle);

/*
 * Takes a handle out. Its callback is not called again, not even for an event
 * that was reported in the same round. Allowed in any callback, for any handle;
 * NULL is allowed. The descriptor stays open.
 */
void loop_del(struct loop *loop, struct loop_handle *handle);

/*
 * Waits until something is ready, at most timeout_ms milliseconds (-1: for ever,
 * 0: not at all), and calls back. Returns the number of callbacks made; 0 after a
 * timeout, a signal, or the end of a pause; negative errno when the loop itself is broken.
 */
int loop_run_once(struct loop *loop, int timeout_ms);

struct loop_stats {
	uint64_t rounds;
	uint64_t rests;   /* a handle had used up its budget */
	uint32_t most_us; /* of the longest callback: CPU time, and what it paid */
};

void loop_stats(const struct loop *loop, struct loop_stats *stats);

#endif
