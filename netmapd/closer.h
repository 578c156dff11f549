/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * closer.h - closes what clients have passed, in other threads: it can take as long as the client likes.
 *
 * close() of the last reference to a file waits for what the file is: a TCP socket with SO_LINGER for its peer, a file of
 * FUSE or NFS for its server, a memfd until its pages are free, an eventfd until all epoll entries on it are gone. A
 * client chooses all of that. And it needn't be our close(): a descriptor that the kernel has no room for in a received
 * message (MSG_CTRUNC, EMFILE), or that waits unread in a socket that is closed, is closed by the kernel, in the thread
 * that receives, or closes.
 *
 * So the control thread closes no descriptor of a client, and no socket of one; and it receives only when there is room
 * for all descriptors that a message can carry:
 *
 *      q = closer_queue_new(uid);                    for each connection
 *      if (closer_may_receive(q, sock))              else later; nothing of the client's is read
 *              recvmsg(…, room for CLOSER_MESSAGE descriptors …)
 *      closer_put(q, fd);                            each of them, when it was used
 *      closer_queue_end(q, sock);                    the connection's end
 *
 * What hangs, hangs alone: one close() of a queue at a time, so a client's descriptors wait for one another; and at most
 * CLOSER_PER_USER of a user's, so the other threads are left to others. A full queue is a connection that is not read any
 * more. All together are bounded by the descriptors that are set aside for it (closer_reserve): from a user of whom as
 * many wait as are left to all, messages that carry descriptors are left unread, other messages go on.
 *
 * Known kinds (memfds, eventfds: checked by somebody) take time, and don't hang: closer_later() and closer_run() have
 * a thread of their own for them. What the kernel can hang on, network devices, is not among them: device_closer.h.
 *
 * Thread safety: closer_init(), closer_exit() and queues: the control thread. closer_later(), closer_run(): any thread.
 * Without closer_init(), as in tests of single modules, all is closed and run at once.
 */
#ifndef NETMAPD_CLOSER_H
#define NETMAPD_CLOSER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	CLOSER_MESSAGE = 253,        /* descriptors in one message: the kernel's limit */
	CLOSER_QUEUE = 512,          /* descriptors that wait, of one connection */
	CLOSER_PER_USER = 8,         /* calls of close() at a time, of one user's connections */
	CLOSER_THREADS = 64,         /* of all */
	CLOSER_RESERVE_PART = 4,     /* one part in so many of all descriptors is set aside, */
	CLOSER_RESERVE_MOST = 65536, /* at most so many, */
	CLOSER_FILES_MIN = 2048,     /* and none where a process may have fewer than these */
};

struct closer_queue;
struct os_job;

/* Starts the first threads: 0 or a negative errno. */
int closer_init(void);

/* Waits for the known kinds; what hangs is left to the end of the process. */
void closer_exit(void);

/* Sets descriptors aside for received ones, from all that this process may have (os_fd_reserve()). Returns how many: 0
 * when it may have too few; then a client can make the control thread wait. Before clients come. */
uint32_t closer_reserve(uint32_t files);

/* For a connection of this user; NULL: no memory. */
struct closer_queue *closer_queue_new(uid_t uid);

/* The user whose process is at the other end of a Unix socket; (uid_t)-1: nobody can say. */
uid_t closer_peer(int sock);

/* May the next message of a socket be received? It is not read by that. */
bool closer_may_receive(const struct closer_queue *q, int sock);

/* Closes a descriptor that came with a message. -1 is allowed. */
void closer_put(struct closer_queue *q, int fd);

/* Both sides of the connection's socket are shut down now, and it is closed behind all others; q is gone. NULL is
 * allowed, with fd -1. */
void closer_queue_end(struct closer_queue *q, int sock);

/* The same for a socket just accepted that nobody serves. */
void closer_turn_away(int sock);

/* Closes a descriptor of a known kind: a memfd, an eventfd. -1 is allowed. */
void closer_later(int fd);

/* Calls job->run(job) in the thread of known kinds; in the order of the calls. */
void closer_run(struct os_job *job);

struct closer_stats {
	uint32_t waiting; /* descriptors to be closed, of unknown kinds */
	uint32_t busy;    /* threads that are in close() with one */
	uint32_t room;    /* how many may wait; 0: nothing is set aside */
};

void closer_stats(struct closer_stats *stats);

#endif
