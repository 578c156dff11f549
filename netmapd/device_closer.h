/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * device_closer.h - closes what a network device of this host hangs on, in threads of its own: the kernel may never return.
 *
 * close() of the last queue of a TAP returns when the kernel has removed the device; so does that of a socket in which such a queue
 * lies unread. That takes milliseconds, longer on a busy system, and for ever when the kernel is stuck. Nothing else may wait for it
 * then: memory, eventfds and sockets have closers of their own (closer.h), and what hangs here hangs alone.
 *
 *      device_closer_run(&close, name)        close.run(&close) is called, in a thread
 *      device_closer_later(name, fds, count)  closes these
 *
 * DEVICE_CLOSER_THREADS are at work at a time; what is more waits, in the order of the calls. The end of netmapd waits as long as
 * something goes on: when DEVICE_CLOSER_END_S have passed in which nothing was closed, it says in the log what is left, and leaves it.
 *
 * Thread safety: device_closer_init(), _exit(): the control thread. The others: any thread. Without device_closer_init(), as in tests of
 * single modules, all is closed at once.
 */
#ifndef NETMAPD_DEVICE_CLOSER_H
#define NETMAPD_DEVICE_CLOSER_H

#include <stdint.h>

enum {
	DEVICE_CLOSER_THREADS =
		16, /* twice as many as TAPs may be leaving at a time (tap_leave.h) */
	DEVICE_CLOSER_END_S = 10,
	DEVICE_CLOSER_NAME = 32, /* bytes */
};

/* Embedded in what it is about, which is the thread's until run() has been called. */
struct device_close {
	struct device_close *next;
	void (*run)(struct device_close *close); /* closes, and may free */
	char name[DEVICE_CLOSER_NAME];           /* of the port, for the log */
};

/* Starts the first thread: 0 or a negative errno. */
int device_closer_init(void);

/* How many are left: to the end of the process, and the log names them. They go on as long as that; their memory stays theirs. */
uint32_t device_closer_exit(void);

void device_closer_run(struct device_close *close, const char *name);

/* -1 are allowed. */
void device_closer_later(const char *name, const int *fds, uint32_t count);

/* How many are not closed yet. */
uint32_t device_closer_count(void);

#endif
