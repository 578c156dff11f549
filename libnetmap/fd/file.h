/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * file.h - the open files of netmapd's ports in this program, by descriptor: what /dev/netmap's are
 * with the kernel.
 *
 * What: a table, indexed by descriptor, of what is netmap's, for the functions that stand in the
 *	place of poll(), ioctl(), dup(), close() and so on (wrap_fd.c, wrap_wait.c):
 *
 *      table[fd]  ->  nothing: not ours
 *                     NMFD_FILE       struct nmfd_file: an open file
 *                     NMFD_EPOLL      struct nmfd_epoll: an epoll set with such files (epoll.h)
 *                     NMFD_INTERNAL   of the library itself (eventfds, …): not to be closed
 *
 * Why: programs wait for a port with poll(), and sync it with ioctl(), on its descriptor. Twice in the
 *	tree, for two sorts of programs: libnetmap has it for those that are linked with it, whose
 *	d->fd it is (port.c); netmap-run.so for those that open /dev/netmap (preload/).
 * How: the descriptor that the program gets is a real one, so that it can be duplicated, inherited and
 *	closed as any other. But it leads nowhere (open(2), O_PATH): a poll() or ioctl() that does not
 *	come by here fails at once, and nobody waits in vain. Connection, memory and eventfds are
 *	descriptors of the library's, at high numbers. A file ends with the last of its descriptors and
 *	calls under way, in whatever process.
 *
 * A look-up takes no lock: nmfd_get() and nmfd_put() count. Objects are never given back
 * to the system, only used again, so that a late look-up finds an object, and by a second
 * look at the table that it isn't the one.
 *
 * After fork() parent and child have the same files; the state of the rings and the locks
 * are in memory that both share (nmd.h).
 *
 * Thread safety: any thread of any process.
 */
#ifndef LIBNETMAP_FD_FILE_H
#define LIBNETMAP_FD_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "../nmd.h"

enum nmfd_kind { NMFD_NONE, NMFD_FILE, NMFD_EPOLL, NMFD_INTERNAL };

/* First in each object of the table. */
struct nmfd_object {
	enum nmfd_kind kind;
	uint32_t refs;            /* atomic: entries of the table, and calls under way */
	struct nmfd_object *next; /* unused ones */
};

OS_LOCK_CLASS(NMFD_CONTROL_LOCK);

/* What the processes that have the file share. */
struct nmfd_common {
	pthread_mutex_t control; /* one request at a time */
	uint32_t nonblock;       /* O_NONBLOCK, as fcntl() sees it */
};

struct nmfd_file {
	struct nmfd_object object;
	uint64_t id;           /* of this open(): objects are used again */
	struct nmport_d *port; /* its connection, and, when registered, port and mapping */
	struct nmlib_daemon_port *daemon; /* atomic; NULL: not registered */
	struct nmfd_common *common;
};

/* Not 0: texts of failed requests go to stderr. netmap-run's. */
extern int nmfd_verbose;

/* One line of netmap-run's to stderr. */
void nmfd_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Locks of other modules, to be held across fork(). */
void nmfd_epoll_before_fork(void);
void nmfd_epoll_after_fork(void);

/* ---- the table ------------------------------------------------------------------------ */

/* The object at fd, kept until nmfd_put(). NULL: not of this kind. */
void *nmfd_get(int fd, enum nmfd_kind kind);
void nmfd_put(void *object);

/* What fd is, without keeping it: for a first, cheap look. */
enum nmfd_kind nmfd_kind_of(int fd);
/* No descriptor behind it is in the table. */
int nmfd_highest(void);

/* Of an object that no one refers to any more; each kind has its own. */
void nmfd_epoll_end(struct nmfd_object *object);

/* A new object of `bytes` with one reference; NULL: no memory. */
void *nmfd_new(enum nmfd_kind kind, size_t bytes);
/* Puts it at fd; takes over a reference. -EMFILE. */
int nmfd_enter(int fd, void *object);
/* fd is the library's own from now on: moved out of the program's way. Returns its new number. */
int nmfd_internal(int fd);
void nmfd_internal_close(int fd);
/* No longer protected: about to be closed. */
void nmfd_internal_forget(int fd);

/* ---- files ---------------------------------------------------------------------------- */

/* A new file, connected to netmapd: a descriptor, close-on-exec if `flags` have O_CLOEXEC; or a negative
 * errno with a text. */
int nmfd_open(int flags, struct nm_error *why);
/* close(fd), for any fd. As close(). */
int nmfd_close(int fd);
/* Before `to` is replaced by dup2(); -EBUSY: it can't be. */
int nmfd_before_replace(int to);
/* The descriptor `to` is a duplicate of `from` now. Returns `to`, or -1 with errno. */
int nmfd_duplicated(int from, int to);

/* The registered port, for callers of any thread and process; NULL: none. */
struct nmlib_daemon_port *nmfd_port(struct nmfd_file *f);

/* 0 or a negative errno. */
int nmfd_lock_control(struct nmfd_file *f) OS_TRY_ACQUIRE(0, NMFD_CONTROL_LOCK);
void nmfd_unlock_control(struct nmfd_file *f) OS_RELEASE(NMFD_CONTROL_LOCK);

#endif
