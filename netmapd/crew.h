/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crew.h - threads for work in which they may hang: one is always ready for more, unless as many as there may be are at it.
 *
 * Threads are made when there is work and none of them is idle; one that finds nothing to do ends when another one is idle already.
 *
 *      static struct crew crew = CREW_INIT(run, MOST);
 *
 *      crew_start(&crew)                       the first thread
 *      crew_call(&crew)                        there is something to do
 *      crew_serve(&crew, &lock, serve)         all that a thread does, within run()
 *      crew_stop(&crew)                        the idle ones end
 *
 * Thread safety: a crew belongs to its user's lock, which is held in each call.
 */
#ifndef NETMAPD_CREW_H
#define NETMAPD_CREW_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "os.h"

struct crew {
	void *(*run)(void *arg); /* of each thread; arg is NULL */
	uint32_t most;           /* threads */
	pthread_cond_t work;
	uint32_t threads, idle, starting; /* made, and not running yet */
	bool stop;
};

#define CREW_INIT(fn, n)                                                   \
	{                                                                  \
		.run = (fn), .most = (n), .work = PTHREAD_COND_INITIALIZER \
	}

/* Ends a stop, and makes the first thread. 0 or a negative errno. */
int crew_start(struct crew *crew);

/* A thread for it, if there may be one; that calls for the rest. Without a new one it waits for those that are there. */
void crew_call(struct crew *crew);

/* serve() does one thing, with the lock open meanwhile; false: there is none. Returns when this thread isn't needed any more. */
void crew_serve(struct crew *crew, struct os_mutex *lock, bool (*serve)(void));

void crew_stop(struct crew *crew);

#endif
