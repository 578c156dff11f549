/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * file.h - the open files of /dev/netmap in a program under netmap-run, by descriptor.
 *
 * A descriptor that the program gets is real: a duplicate of the connection to netmapd.
 * So it can be duplicated, inherited and closed as any other, and the port lives until the
 * last copy is closed, in whatever process. Which of its descriptors are netmap's is in a
 * table, indexed by descriptor:
 *
 *      table[fd]  ->  nothing: not ours
 *                     RUN_FILE       struct run_file: an open file of /dev/netmap
 *                     RUN_EPOLL      struct run_epoll: an epoll set with such files (epoll.h)
 *                     RUN_INTERNAL   of netmap-run itself (eventfds, …): not to be closed
 *
 * A look-up takes no lock: run_get() and run_put() count. Objects are never given back
 * to the system, only used again, so that a late look-up finds an object, and by a second
 * look at the table that it isn't the one.
 *
 * After fork() parent and child have the same files; the state of the rings and the locks
 * are in memory that both share (libnetmap/nmd.h).
 *
 * Thread safety: any thread of any process.
 */
#ifndef NETMAP_RUN_FILE_H
#define NETMAP_RUN_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "../nmd.h"

enum run_kind { RUN_NONE, RUN_FILE, RUN_EPOLL, RUN_INTERNAL };

/* First in each object of the table. */
struct run_object {
	enum run_kind kind;
	uint32_t refs;           /* atomic: entries of the table, and calls under way */
	struct run_object *next; /* unused ones */
};

OS_LOCK_CLASS(RUN_CONTROL_LOCK);

/* What the processes that have the file share. */
struct run_common {
	pthread_mutex_t control; /* one request at a time */
	uint32_t nonblock;       /* O_NONBLOCK, as fcntl() sees it */
};

struct run_file {
	struct run_object object;
	uint64_t id; /* of this open(): objects are used again */
	struct nmport_d *port;
	struct nmlib_daemon_port *daemon; /* atomic; NULL: not registered */
	struct run_common *common;
};

/* Not 0: texts of failed requests go to stderr. */
extern int run_verbose;

/* One line to stderr. */
void run_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Locks of other modules, to be held across fork(). */
void run_epoll_before_fork(void);
void run_epoll_after_fork(void);

/* ---- the table ------------------------------------------------------------------------ */

/* The object at fd, kept until run_put(). NULL: not of this kind. */
void *run_get(int fd, enum run_kind kind);
void run_put(void *object);

/* What fd is, without keeping it: for a first, cheap look. */
enum run_kind run_kind_of(int fd);
/* No descriptor behind it is in the table. */
int run_highest(void);

/* Of an object that no one refers to any more; each kind has its own. */
void run_epoll_end(struct run_object *object);

/* A new object of `bytes` with one reference; NULL: no memory. */
void *run_new(enum run_kind kind, size_t bytes);
/* Puts it at fd; takes over a reference. -EMFILE. */
int run_enter(int fd, void *object);
/* fd is netmap-run's own from now on: moved out of the program's way. Returns its new number. */
int run_internal(int fd);
void run_internal_close(int fd);
/* No longer protected: about to be closed. */
void run_internal_forget(int fd);

/* ---- files ---------------------------------------------------------------------------- */

/* open("/dev/netmap", flags): a descriptor, or a negative errno. */
int run_open(int flags);
/* close(fd), for any fd. As close(). */
int run_close(int fd);
/* Before `to` is replaced by dup2(); -EBUSY: it can't be. */
int run_before_replace(int to);
/* The descriptor `to` is a duplicate of `from` now. Returns `to`, or -1 with errno. */
int run_duplicated(int from, int to);

/* 0 or a negative errno. */
int run_lock_control(struct run_file *f) OS_TRY_ACQUIRE(0, RUN_CONTROL_LOCK);
void run_unlock_control(struct run_file *f) OS_RELEASE(RUN_CONTROL_LOCK);

#endif
