/* SPDX-License-Identifier: BSD-2-Clause */
/* Backend "daemon": sync and poll, the application side of the CSB. */
#include "internal.h"
#include "daemon.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

enum { EVENTS_IN = POLLIN | POLLRDNORM, EVENTS_OUT = POLLOUT | POLLWRNORM };

/* The rings of one direction. */
struct rings {
	struct nmlib_ring *first;
	uint32_t count;
};

static struct rings tx_rings(struct nmlib_daemon_port *p)
{
	return (struct rings){p->rings, p->at.tx_rings};
}

static struct rings rx_rings(struct nmlib_daemon_port *p)
{
	return (struct rings){p->rings + p->at.tx_rings, p->at.rx_rings};
}

static void show(struct nmlib_ring *r)
{
	r->ring->head = r->csb.head;
	r->ring->cur = r->csb.cur;
	r->ring->tail = r->csb.hwtail;
}

int nmlib_daemon_attach(struct nmport_d *d)
{
	struct nmlib_daemon_port *p = d->priv->daemon;
	struct nm_csb_atok *atok = (struct nm_csb_atok *)(void *)p->csb;
	struct nm_csb_ktoa *ktoa = (struct nm_csb_ktoa *)(void *)(p->csb + p->at.ktoa_offset);

	for (uint32_t i = 0; i < p->at.rings; i++) {
		struct nmlib_ring *r = &p->rings[i];

		if (i < p->at.tx_rings)
			r->ring = NETMAP_TXRING(d->nifp, p->at.first_tx + i);
		else
			r->ring = NETMAP_RXRING(d->nifp, p->at.first_rx + i - p->at.tx_rings);
		if (nm_csb_appl_init(&r->csb, &atok[i], &ktoa[i], r->ring->num_slots) < 0)
			return -EINVAL;
		nm_csb_appl_awake(&r->csb);
		show(r);
	}
	return 0;
}

/* An eventfd's counter can't get full here, so that write() doesn't block. */
static void kick(struct nmlib_ring *r)
{
	uint64_t one = 1;

	while (write(r->kick, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static int sync_ring(struct nmlib_ring *r)
{
	struct netmap_ring *ring = r->ring;
	struct nm_csb_appl *a = &r->csb;
	uint32_t head = OS_LOAD(&ring->head), cur = OS_LOAD(&ring->cur);

	if (unlikely(!nm_ring_move_legal(a->head, a->hwtail, head, cur, a->num_slots))) {
		show(r);
		return -EINVAL;
	}
	/* A store that changes nothing would still take the cache line from netmapd. */
	if ((head != a->head || cur != a->cur) && nm_csb_appl_publish(a, head, cur))
		kick(r);
	if (unlikely(!nm_csb_appl_load(a)))
		return -ENXIO;
	ring->tail = a->hwtail;
	if (ring->flags & NR_TIMESTAMP)
		gettimeofday(&ring->ts, NULL);
	return 0;
}

/* All rings are synced, whatever one of them says; the first error is returned. */
static int sync_rings(struct rings rings)
{
	int ret, first = 0;

	for (uint32_t i = 0; i < rings.count; i++) {
		ret = sync_ring(&rings.first[i]);
		if (ret && !first)
			first = ret;
	}
	return first;
}

int nmlib_daemon_txsync(struct nmport_d *d)
{
	return sync_rings(tx_rings(d->priv->daemon));
}

int nmlib_daemon_rxsync(struct nmport_d *d)
{
	return sync_rings(rx_rings(d->priv->daemon));
}

/* ---- poll ----------------------------------------------------------------------------- */

/* Something is behind cur in one of them? */
static int any_ready(struct rings rings)
{
	for (uint32_t i = 0; i < rings.count; i++)
		if (rings.first[i].csb.cur != rings.first[i].csb.hwtail)
			return 1;
	return 0;
}

/* Asks for interrupts. True: something has moved meanwhile. */
static int ask(struct rings rings)
{
	int moved = 0;

	for (uint32_t i = 0; i < rings.count; i++)
		moved |= nm_csb_appl_sleep(&rings.first[i].csb);
	return moved;
}

static void no_more(struct rings rings)
{
	for (uint32_t i = 0; i < rings.count; i++)
		nm_csb_appl_awake(&rings.first[i].csb);
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* Waits for an interrupt until `deadline` (ns, INT64_MAX: none). 1, 0 at the deadline, -errno. */
static int wait_irq(struct nmport_d *d, short events, int64_t deadline)
{
	struct nmlib_daemon_port *p = d->priv->daemon;
	struct pollfd fds[3] = {
		{.fd = d->fd, .events = 0},
		{.fd = events & EVENTS_OUT ? p->irq[0] : -1, .events = POLLIN},
		{.fd = events & EVENTS_IN ? p->irq[1] : -1, .events = POLLIN},
	};
	struct timespec left = {0, 0}, *limit = NULL;
	uint64_t count;
	int n, i;

	if (deadline != INT64_MAX) {
		int64_t ns = deadline - now_ns();

		if (ns <= 0)
			return 0;
		left.tv_sec = ns / 1000000000;
		left.tv_nsec = ns % 1000000000;
		limit = &left;
	}
	n = ppoll(fds, 3, limit, NULL);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	/* This thread is the only reader, so that read() doesn't block. */
	for (i = 1; i < 3; i++)
		if ((fds[i].revents & POLLIN) && read(fds[i].fd, &count, sizeof(count)) < 0)
			return -errno;
	return fds[0].revents ? -ENXIO : 1;
}

/* Syncs what poll() syncs; returns the events that hold. */
static int poll_sync(struct nmport_d *d, short events)
{
	struct nmlib_daemon_port *p = d->priv->daemon;
	int ret = 0, error = 0;

	if ((events & EVENTS_OUT) || !(d->reg.nr_flags & NR_NO_TX_POLL))
		error |= sync_rings(tx_rings(p));
	if ((events & EVENTS_IN) || (d->reg.nr_flags & NR_DO_RX_POLL))
		error |= sync_rings(rx_rings(p));
	if (error)
		return POLLERR;
	if ((events & EVENTS_OUT) && any_ready(tx_rings(p)))
		ret |= events & EVENTS_OUT;
	if ((events & EVENTS_IN) && any_ready(rx_rings(p)))
		ret |= events & EVENTS_IN;
	return ret;
}

/* Asks, waits, and asks no more. As wait_irq(). */
static int sleep_once(struct nmport_d *d, short events, int64_t deadline)
{
	struct nmlib_daemon_port *p = d->priv->daemon;
	struct rings none = {p->rings, 0};
	struct rings tx = events & EVENTS_OUT ? tx_rings(p) : none;
	struct rings rx = events & EVENTS_IN ? rx_rings(p) : none;
	int moved = ask(tx), ret = 1;

	moved |= ask(rx);
	if (!moved)
		ret = wait_irq(d, events, deadline);
	no_more(tx);
	no_more(rx);
	return ret;
}

int nmlib_daemon_poll(struct nmport_d *d, short events, int timeout_ms)
{
	int64_t deadline = timeout_ms < 0 ? INT64_MAX
			   : timeout_ms   ? now_ns() + timeout_ms * 1000000LL
					  : 0;
	int ret, revents;

	for (;;) {
		revents = poll_sync(d, events);
		if (revents || timeout_ms == 0)
			return revents;
		ret = sleep_once(d, events, deadline);
		if (ret == -ENXIO) {
			/* netmapd is gone; what it has left in the rings can still be read. */
			revents = poll_sync(d, events);
			return revents ? revents : POLLERR | POLLHUP;
		}
		if (ret < 0)
			return ret;
		if (ret == 0)
			return poll_sync(d, events);
	}
}
