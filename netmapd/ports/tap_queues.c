/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap_queues.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "device_closer.h"

/* ---- events ---------------------------------------------------------------------------- */

static void watch_queue(struct tap *tap, uint32_t i, int op)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = &tap->queues[i]};

	if (epoll_ctl(tap->epoll, op, tap->queues[i].fd, &event) < 0)
		os_log(OS_LOG_WARN, "%s: epoll: %s", tap->ifname, strerror(errno));
}

/* What comes while no client is registered is dropped. */
static void drain(struct tap_queue *q)
{
	tap_queue_lock(q);
	for (int i = 0; i < 4096 && read(q->fd, q->scratch, TAP_PACKET_MAX) >= 0; i++)
		;
	tap_queue_unlock(q);
}

static void queue_ready(struct tap_queue *q)
{
	struct nm_ring *reader = OS_LOAD(&q->reader);
	struct tap *tap = q->tap;

	if (!tap->started) {
		drain(q);
		watch_queue(tap, q->number, EPOLL_CTL_MOD);
		return;
	}
	OS_STORE_RELEASE(&q->ready, 1);
	if (reader)
		os_wakeup_signal(&reader->wakeup);
}

static void queues_ready(void *arg, uint32_t events)
{
	struct tap_watch *w = arg;
	struct epoll_event list[32];
	bool gone = false;
	int n = epoll_wait(w->epoll, list, 32, 0);

	for (int i = 0; i < n; i++) {
		struct tap_queue *q = list[i].data.ptr;

		if (list[i].events & (EPOLLERR | EPOLLHUP))
			gone = q->tap->gone = true;
		else
			queue_ready(q);
	}
	if (gone)
		w->gone(w->arg);
}

int tap_watch_init(struct tap_watch *w, struct loop *loop, void (*gone)(void *arg), void *arg)
{
	int error;

	*w = (struct tap_watch){.loop = loop, .gone = gone, .arg = arg};
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll < 0)
		return -errno;
	error = loop_add(loop, w->epoll, EPOLLIN, queues_ready, w, &w->handle);
	if (error)
		close(w->epoll);
	return error;
}

void tap_watch_exit(struct tap_watch *w)
{
	loop_del(w->loop, w->handle);
	close(w->epoll);
}

/* ---- queues ---------------------------------------------------------------------------- */

int tap_queues_init(struct tap *tap, struct tap_watch *w, uint32_t queues)
{
	tap->queues = os_zalloc(queues * sizeof(*tap->queues));
	if (!tap->queues)
		return -ENOMEM;
	tap->epoll = w->epoll;
	tap->num_queues = queues;
	for (uint32_t i = 0; i < queues; i++) {
		tap->queues[i].tap = tap;
		tap->queues[i].number = i;
		tap->queues[i].fd = -1;
		os_mutex_init(&tap->queues[i].lock);
	}
	return 0;
}

int tap_set_queue(struct tap *tap, uint32_t i, int fd)
{
	struct tap_queue *q = &tap->queues[i];

	q->fd = fd;
	if (!q->scratch)
		q->scratch = os_zalloc(TAP_PACKET_MAX);
	if (!q->scratch)
		return -ENOMEM;
	watch_queue(tap, i, EPOLL_CTL_ADD);
	return 0;
}

/* Whoever has sent a descriptor may have a copy of it still, and then it stays in the set. */
void tap_queues_unwatch(struct tap *tap)
{
	for (uint32_t i = 0; i < tap->num_queues; i++)
		if (tap->queues[i].fd >= 0)
			epoll_ctl(tap->epoll, EPOLL_CTL_DEL, tap->queues[i].fd, NULL);
}

void tap_queues_take(struct tap *tap, int *fds)
{
	tap_queues_unwatch(tap);
	for (uint32_t i = 0; i < tap->num_queues; i++) {
		fds[i] = tap->queues[i].fd;
		tap->queues[i].fd = -1;
	}
}

void tap_queues_leave(struct tap *tap, const char *port)
{
	int fds[NM_RINGS_MAX];

	tap_queues_take(tap, fds);
	device_closer_later(port, fds, tap->num_queues);
}

void tap_queues_free(struct tap *tap)
{
	for (uint32_t i = 0; i < tap->num_queues; i++) {
		os_assert(tap->queues[i].fd < 0);
		os_mutex_destroy(&tap->queues[i].lock);
		os_free(tap->queues[i].scratch);
	}
	os_free(tap->queues);
	tap->queues = NULL;
	tap->num_queues = 0;
}

void tap_queues_start(struct tap *tap, bool drop_old)
{
	for (uint32_t i = 0; i < tap->num_queues; i++) {
		if (drop_old)
			drain(&tap->queues[i]);
		tap->queues[i].ready = 0;
		watch_queue(tap, i, EPOLL_CTL_MOD);
	}
	tap->started = true;
}

void tap_queues_stop(struct tap *tap)
{
	tap->started = false;
	for (uint32_t i = 0; i < tap->num_queues; i++) {
		tap_set_reader(&tap->queues[i], NULL);
		if (tap->queues[i].fd >= 0)
			watch_queue(tap, i, EPOLL_CTL_MOD);
	}
}

/* ---- rings ------------------------------------------------------------------------------ */

void tap_own_rings(struct tap *tap, struct nm_port *port, bool host_only)
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = host_only ? port->num_rings[dir] : 0;
			i < nm_port_all_rings(port, dir); i++)
			port->rings[dir][i].priv = tap;
}

void tap_choose_readers(
	struct tap *tap, struct nm_port *port, bool hardware, const bool may_read[NM_RINGS_MAX])
{
	struct nm_ring *rings = port->rings[NM_RX], *host[NM_RINGS_MAX];
	uint32_t hosts = 0, first = port->num_rings[NM_RX];

	for (uint32_t i = first; i < nm_port_all_rings(port, NM_RX); i++)
		if (rings[i].users > 0 && (!may_read || may_read[i - first]))
			host[hosts++] = &rings[i];
	for (uint32_t i = 0; i < tap->num_queues; i++) {
		struct nm_ring *reader = hosts > 0 ? host[i % hosts] : NULL;

		if (hardware && rings[i].users > 0)
			reader = &rings[i];
		tap_set_reader(&tap->queues[i], reader);
	}
}
