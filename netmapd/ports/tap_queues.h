/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap_queues.h - the queues of a TAP device: their descriptors, who hears of events, and which ring reads which queue.
 *
 * TAP ports (tap.c) have one, and host rings of NICs (nic_host.c). Descriptors are in an epoll set, one-shot, which hangs in
 * the control thread's loop: an event only marks a queue as ready and signals the ring that reads it (tap.h has the drawing). Of a
 * device that is not started, what has come is thrown away.
 *
 *      tap_queues_init()  ->  tap_set_queue() each  ->  tap_queues_start(), _stop(), again and again
 *      tap_own_rings()        its rings know it
 *      tap_choose_readers()   whenever users of rings have changed
 *      tap_queues_leave()     no sync uses the descriptors any more, which another thread closes; then tap_set_queue() again, or
 *      tap_queues_take()      the same, and it is the caller who has them closed
 *      tap_queues_free()
 *
 * Thread safety: the control thread.
 */
#ifndef NETMAPD_TAP_QUEUES_H
#define NETMAPD_TAP_QUEUES_H

#include "loop.h"
#include "tap_io.h"

/* Of all queues of some devices. */
struct tap_watch {
	int epoll;
	struct loop *loop;
	struct loop_handle *handle;
	/* Devices were removed by others: their `gone` is set. */
	void (*gone)(void *arg);
	void *arg;
};

/* 0 or a negative errno. */
int tap_watch_init(struct tap_watch *w, struct loop *loop, void (*gone)(void *arg), void *arg);
void tap_watch_exit(struct tap_watch *w); /* no queue is left */

/* So many queues, without descriptors. tap is all 0. 0 or -ENOMEM. */
int tap_queues_init(struct tap *tap, struct tap_watch *w, uint32_t queues);
void tap_queues_free(struct tap *tap); /* which have no descriptors */

/* Queue i gets a descriptor, which is its own from now on. 0 or -ENOMEM: then it is of no use. */
int tap_set_queue(struct tap *tap, uint32_t i, int fd);
/* No event of theirs is looked at any more. Stopped. */
void tap_queues_unwatch(struct tap *tap);
/* All of them lose theirs. With the last one the kernel's device goes, for which another thread waits (device_closer.h), in the name of
 * this port. Stopped. */
void tap_queues_leave(struct tap *tap, const char *port);
/* They are in fds, one for each queue, -1 where there was none. */
void tap_queues_take(struct tap *tap, int *fds);

/* Packets are wanted from now on; drop_old: not those that are there. Or not: on return no ring reads any. */
void tap_queues_start(struct tap *tap, bool drop_old);
void tap_queues_stop(struct tap *tap);

/* Rings of the port are synced by tap_io.h from now on: all of them, or host rings alone. */
void tap_own_rings(struct tap *tap, struct nm_port *port, bool host_only);

/*
 * hardware: a queue is read by the hardware ring of its number while somebody has that. Else by one of the host rings that are in use;
 * may_read: by their numbers, those that may be chosen; NULL: all may.
 */
void tap_choose_readers(
	struct tap *tap, struct nm_port *port, bool hardware, const bool may_read[NM_RINGS_MAX]);

#endif
