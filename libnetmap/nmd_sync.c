/* SPDX-License-Identifier: BSD-2-Clause */
/* Backend "daemon": sync and poll, the application side of the CSB. */
#include "nmd.h"

#include <errno.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

enum {
	IDLE_SYNCS = 4096, /* without a result, until the connection is looked at */
	SLICE_MS = 2,      /* of a thread that sleeps while another waits for the interrupt */
	JOINT_MS = 20, /* of programs that share an interrupt: seldom one takes it from another */
	SPINS = 100,   /* until a thread that waits for another program sleeps */
	NAP_US = 50,
	NAPS = 20000, /* a second, more or less: longer no sync lasts */
};

/* ---- other programs that have the same rings ------------------------------------------- */

/* They had them, or have: then what is private here is what the CSB says. */
static bool is_joint(const struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	return unlikely(OS_LOAD(&p->side[dir].common->joint) != 0);
}

/* One program at a time syncs a direction. One that died there has been taken out by netmapd; one that is
 * stopped there (SIGSTOP) is passed after a while, and finds its ring elsewhere when it goes on. */
static void wait_turn(const struct nmlib_daemon_port *p, uint32_t *owner)
{
	uint32_t was = 0;

	for (unsigned int i = 0;; i++) {
		/* It may be our own: a signal handler in the middle of a sync, a child that died in one. */
		if (__atomic_compare_exchange_n(
			    owner, &was, p->sharer, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED) ||
			was == p->sharer)
			return;
		if (i < SPINS + NAPS)
			was = 0;
		if (i > SPINS)
			usleep(NAP_US);
	}
}

/* As proto.h says. Alone it costs two stores: a compare and exchange would make a sync that finds nothing half
 * as slow again. */
static void begin_turn(struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	struct nmd_shared *s = p->side[dir].common;

	if (!p->sharer)
		return;
	if (likely(!OS_LOAD(&s->joint))) {
		OS_STORE(&s->alone, p->sharer);
		__atomic_signal_fence(__ATOMIC_SEQ_CST); /* E: pairs with membarrier() */
		if (likely(!OS_LOAD(&s->joint)))
			return;
		OS_STORE(&s->alone, 0);
	}
	wait_turn(p, &s->owner);
}

static void end_turn(struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	struct nmd_shared *s = p->side[dir].common;

	if (!p->sharer)
		return;
	if (likely(OS_LOAD(&s->alone) == p->sharer))
		OS_STORE_RELEASE(&s->alone, 0);
	else if (OS_LOAD(&s->owner) == p->sharer)
		OS_STORE_RELEASE(&s->owner, 0);
}

void nmlib_daemon_come_second(struct nmlib_daemon_port *p)
{
	if (p->sharer)
		(void)syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
	if (p->sharer < 2)
		return;
	/* E: from here on who was alone sees `joint`, or we see that he is still in a sync. */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) < 0)
		usleep(NAPS * NAP_US / 100);
	for (int dir = 0; dir < NMLIB_DIRS; dir++)
		for (unsigned int i = 0; i < NAPS; i++) {
			if (!__atomic_load_n(&p->side[dir].common->alone, __ATOMIC_ACQUIRE))
				break;
			usleep(NAP_US);
		}
}

/* Takes over what another program has moved. False: it, or netmapd, has left nonsense. */
static bool catch_up(struct nmlib_ring *r)
{
	struct nm_csb_appl *a = &r->csb;
	uint32_t head = OS_LOAD(&a->atok->head), cur = OS_LOAD(&a->atok->cur);

	if (head >= a->num_slots || cur >= a->num_slots || !nm_csb_appl_load(a))
		return false;
	a->head = head;
	a->cur = cur;
	return true;
}

/* ---- sync ------------------------------------------------------------------------------ */

/* An error check tells a signal handler that came in the middle of a sync. The one thread of a port that
 * isn't shared needs no lock: to the analysis it has it. */
static int lock(struct nmlib_daemon_port *p, enum nmlib_dir dir)
	OS_TRY_ACQUIRE(0, NMD_SIDE_LOCK) OS_NO_THREAD_SAFETY_ANALYSIS
{
	int error = 0;

	if (unlikely(p->shared))
		error = pthread_mutex_lock(&p->side[dir].lock);
	if (unlikely(error == EOWNERDEAD)) /* a process died; what it left is checked anyway */
		error = pthread_mutex_consistent(&p->side[dir].lock);
	if (unlikely(error))
		return error == EDEADLK ? -EBUSY : -error;
	begin_turn(p, dir);
	return 0;
}

static void unlock(struct nmlib_daemon_port *p, enum nmlib_dir dir) OS_UNLOCKS(NMD_SIDE_LOCK)
{
	end_turn(p, dir);
	if (unlikely(p->shared))
		pthread_mutex_unlock(&p->side[dir].lock);
}

static void show(struct nmlib_ring *r)
{
	r->ring->head = r->csb.head;
	r->ring->cur = r->csb.cur;
	r->ring->tail = r->csb.hwtail;
}

/* A ring that `entry` of the port's netmap_if leads to. NULL: not all of it is in the region. Who shares
 * one is trusted with it, so what it says is looked at once: a port that can't be is found out. */
static struct netmap_ring *find_ring(
	const struct nmlib_daemon_port *p, void *base, uint64_t nifp_offset, uint64_t entry)
{
	const uint64_t size = p->at.region_size, align = __alignof__(struct netmap_ring);
	const struct netmap_if *nifp = NETMAP_IF(base, nifp_offset);
	struct netmap_ring *ring;
	uint64_t offset;

	if (entry >= (size - nifp_offset - sizeof(*nifp)) / sizeof(nifp->ring_ofs[0]))
		return NULL;
	offset = nifp_offset + (uint64_t)nifp->ring_ofs[entry];
	if (offset % align || offset > size || size - offset < sizeof(*ring))
		return NULL;
	ring = (struct netmap_ring *)(void *)((char *)base + offset);
	return size - offset - sizeof(*ring) < (uint64_t)ring->num_slots * sizeof(ring->slot[0])
		       ? NULL
		       : ring;
}

static struct netmap_ring *ring_of(
	const struct nmlib_daemon_port *p, void *base, uint64_t nifp_offset, uint32_t i)
{
	const struct netmap_if *nifp = NETMAP_IF(base, nifp_offset);

	if (i < p->at.tx_rings)
		return find_ring(p, base, nifp_offset, (uint64_t)p->at.first_tx + i);
	return find_ring(p, base, nifp_offset,
		(uint64_t)p->at.first_rx + i - p->at.tx_rings + nifp->ni_tx_rings +
			nifp->ni_host_tx_rings);
}

int nmlib_daemon_init_rings(struct nmlib_daemon_port *p, void *base, uint64_t nifp_offset)
{
	struct nm_csb_atok *atok = (struct nm_csb_atok *)(void *)p->csb;
	struct nm_csb_ktoa *ktoa = (struct nm_csb_ktoa *)(void *)(p->csb + p->at.ktoa_offset);
	const uint64_t size = p->at.region_size, align = __alignof__(struct netmap_if);

	if (nifp_offset % align || nifp_offset > size ||
		size - nifp_offset < sizeof(struct netmap_if))
		return -EINVAL;
	for (uint32_t i = 0; i < p->at.rings; i++) {
		struct nmlib_ring *r = &p->rings[i];

		r->ring = ring_of(p, base, nifp_offset, i);
		if (!r->ring ||
			nm_csb_appl_init(&r->csb, &atok[i], &ktoa[i], r->ring->num_slots) < 0)
			return -EINVAL;
		if (p->sharer > 1)
			continue; /* the rings show where they are, and others may sleep */
		nm_csb_appl_awake(&r->csb);
		show(r);
	}
	return 0;
}

/* Are the rings that a program walks those that the CSB has? */
static bool fits(uint32_t first, uint32_t last, uint32_t csb_first, uint32_t csb_count)
{
	if (first > last)
		return csb_count == 0;
	return first == csb_first && last - first + 1 == csb_count;
}

int nmlib_daemon_check_ranges(const struct nmport_d *d)
{
	const struct nmd_attach *at = &d->priv->daemon->at;

	return fits(d->first_tx_ring, d->last_tx_ring, at->first_tx, at->tx_rings) &&
			       fits(d->first_rx_ring, d->last_rx_ring, at->first_rx, at->rx_rings)
		       ? 0
		       : -EINVAL;
}

int nmlib_daemon_attach(struct nmport_d *d)
{
	return nmlib_daemon_init_rings(d->priv->daemon, d->mem->mem, d->reg.nr_offset);
}

/* An eventfd's counter can't get full here, so that write() doesn't block. */
void nmlib_signal(int fd)
{
	uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void stamp(struct nmlib_ring *r)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	nm_ring_stamp(r->ring, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000,
		&r->stamped_us);
}

/* 1: something has moved; 0; or a negative errno. */
static int sync_ring(struct nmlib_ring *r)
{
	struct netmap_ring *ring = r->ring;
	struct nm_csb_appl *a = &r->csb;
	uint32_t head = OS_LOAD(&ring->head), cur = OS_LOAD(&ring->cur);
	uint32_t old_head = a->head, old_tail = a->hwtail;

	if (unlikely(!nm_ring_move_legal(a->head, a->hwtail, head, cur, a->num_slots))) {
		show(r);
		return -EINVAL;
	}
	/* A store that changes nothing would still take the cache line from netmapd. */
	if (head != a->head || cur != a->cur) {
		bool wanted = nm_csb_appl_publish(a, head, cur);

		/* What is forwarded goes on now; netmapd may have gone to sleep before NR_FORWARD was set. */
		if (wanted || unlikely(ring->flags & NR_FORWARD))
			nmlib_signal(r->kick);
	}
	if (unlikely(!nm_csb_appl_load(a)))
		return -ENXIO;
	ring->tail = a->hwtail;
	if (r->timestamps || (OS_LOAD(&ring->flags) & NR_TIMESTAMP))
		stamp(r);
	return head != old_head || a->hwtail != old_tail;
}

/* A program that never sleeps learns in this way that netmapd is gone. */
static void check_connection(struct nmlib_daemon_port *p)
{
	struct pollfd fd = {.fd = p->conn};

	if (poll(&fd, 1, 0) > 0)
		OS_STORE(&p->gone, true);
}

/* As nmlib_daemon_sync(), with the lock. */
static int sync_side(struct nmlib_daemon_port *p, enum nmlib_dir dir) OS_REQUIRES(NMD_SIDE_LOCK)
{
	struct nmlib_rings rings = nmlib_rings_of(p, dir);
	int ret, first = 0, moved = 0;
	bool joint = is_joint(p, dir);

	for (uint32_t i = 0; i < rings.count; i++) {
		ret = joint && !catch_up(&rings.first[i]) ? -ENXIO : sync_ring(&rings.first[i]);
		if (ret > 0)
			moved = 1;
		else if (ret < 0 && !first)
			first = ret;
	}
	if (moved || first)
		return first;
	if (++p->side[dir].idle % IDLE_SYNCS == 0)
		check_connection(p);
	return OS_LOAD(&p->gone) ? -ENXIO : 0;
}

int nmlib_daemon_sync(struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	int ret;

	if (unlikely(p->atok != NULL))
		return -EBUSY; /* the rings belong to the CSB */
	ret = lock(p, dir);
	if (unlikely(ret))
		return ret;
	ret = sync_side(p, dir);
	unlock(p, dir);
	return ret;
}

int nmlib_daemon_txsync(struct nmport_d *d)
{
	return nmlib_daemon_sync(d->priv->daemon, NMLIB_TX);
}

int nmlib_daemon_rxsync(struct nmport_d *d)
{
	return nmlib_daemon_sync(d->priv->daemon, NMLIB_RX);
}

/* ---- poll ----------------------------------------------------------------------------- */

/* Something is behind cur in one of them? */
static bool any_ready(struct nmlib_rings rings)
{
	for (uint32_t i = 0; i < rings.count; i++)
		if (rings.first[i].csb.cur != rings.first[i].csb.hwtail)
			return true;
	return false;
}

/* The events of one direction: those that hold of `mask`, or errors. */
static short side_events(struct nmlib_daemon_port *p, enum nmlib_dir dir, short mask)
{
	short ret = 0;
	int error = lock(p, dir);

	if (error)
		return POLLERR;
	error = sync_side(p, dir);
	if (mask && any_ready(nmlib_rings_of(p, dir)))
		ret = mask;
	if (error && (error != -ENXIO || !ret)) /* what netmapd has left can still be read */
		ret = error == -ENXIO ? POLLERR | POLLHUP : POLLERR;
	unlock(p, dir);
	return ret;
}

short nmlib_daemon_events(struct nmlib_daemon_port *p, short events)
{
	short out = events & NMLIB_EVENTS_OUT, in = events & NMLIB_EVENTS_IN, ret = 0;

	if (unlikely(p->atok != NULL))
		return POLLERR;
	if (out || !(p->flags & NR_NO_TX_POLL))
		ret |= side_events(p, NMLIB_TX, out);
	if (in || (p->flags & NR_DO_RX_POLL))
		ret |= side_events(p, NMLIB_RX, in);
	return ret;
}

/* Does this thread wait for the interrupt? */
static bool watches(const struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	return !p->shared || OS_LOAD(&p->side[dir].watcher) == gettid();
}

static void claim_irq_fd(struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	struct nmlib_side *side = &p->side[dir];
	int error;

	if (!p->shared)
		return;
	error = pthread_mutex_trylock(&side->irq_lock);
	if (error == EOWNERDEAD)
		error = pthread_mutex_consistent(&side->irq_lock);
	if (error == 0)
		OS_STORE(&side->watcher, gettid());
}

static void release_irq_fd(struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	struct nmlib_side *side = &p->side[dir];

	if (!p->shared || !watches(p, dir))
		return;
	OS_STORE(&side->watcher, 0);
	pthread_mutex_unlock(&side->irq_lock);
}

/* Asks for interrupts. False: there is something already. */
static bool prepare_side(struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	struct nmlib_rings rings = nmlib_rings_of(p, dir);
	bool moved = false;

	if (lock(p, dir))
		return false;
	p->side[dir].sleepers++;
	claim_irq_fd(p, dir);
	for (uint32_t i = 0; i < rings.count; i++) {
		bool joint = is_joint(p, dir);

		moved |= joint && !catch_up(&rings.first[i]);
		moved |= nm_csb_appl_sleep(&rings.first[i].csb);
		if (joint) /* others may sleep, whether or not this one does */
			OS_STORE(&rings.first[i].csb.atok->appl_need_kick, 1);
	}
	moved |= any_ready(rings);
	unlock(p, dir);
	return !moved;
}

/* Under the lock: another thread may just go to sleep, and wants the interrupts. */
static void finish_side(struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	struct nmlib_rings rings = nmlib_rings_of(p, dir);

	if (lock(p, dir))
		return;
	release_irq_fd(p, dir);
	os_assert(p->side[dir].sleepers > 0);
	if (--p->side[dir].sleepers == 0 && !is_joint(p, dir))
		for (uint32_t i = 0; i < rings.count; i++)
			nm_csb_appl_awake(&rings.first[i].csb);
	unlock(p, dir);
}

bool nmlib_daemon_prepare_wait(struct nmlib_daemon_port *p, short events)
{
	bool sleep = true;

	if (events & NMLIB_EVENTS_OUT)
		sleep &= prepare_side(p, NMLIB_TX);
	if (events & NMLIB_EVENTS_IN)
		sleep &= prepare_side(p, NMLIB_RX);
	return sleep;
}

void nmlib_daemon_finish_wait(struct nmlib_daemon_port *p, short events)
{
	if (events & NMLIB_EVENTS_OUT)
		finish_side(p, NMLIB_TX);
	if (events & NMLIB_EVENTS_IN)
		finish_side(p, NMLIB_RX);
}

/* The interrupt's eventfd, if it is for this thread to wait for it. */
static int wait_fd(const struct nmlib_daemon_port *p, enum nmlib_dir dir, int wanted)
{
	return wanted && watches(p, dir) ? p->irq[dir] : -1;
}

void nmlib_daemon_wait_fds(
	const struct nmlib_daemon_port *p, short events, struct pollfd fds[NMLIB_WAIT_FDS])
{
	fds[0] = (struct pollfd){.fd = p->conn};
	fds[1] = (struct pollfd){
		.fd = wait_fd(p, NMLIB_TX, events & NMLIB_EVENTS_OUT), .events = POLLIN};
	fds[2] = (struct pollfd){
		.fd = wait_fd(p, NMLIB_RX, events & NMLIB_EVENTS_IN), .events = POLLIN};
}

void nmlib_daemon_drain_wait(struct nmlib_daemon_port *p, const struct pollfd fds[NMLIB_WAIT_FDS])
{
	uint64_t count;

	if (fds[0].revents)
		OS_STORE(&p->gone, true);
	/* netmapd's eventfds don't block: another thread may have been faster. */
	for (int i = 1; i < NMLIB_WAIT_FDS; i++)
		if ((fds[i].revents & POLLIN) && read(fds[i].fd, &count, sizeof(count)) < 0 &&
			errno != EAGAIN && errno != EINTR)
			OS_STORE(&p->gone, true);
}

int nmlib_daemon_wait_ms(const struct nmlib_daemon_port *p, short events)
{
	if (((events & NMLIB_EVENTS_OUT) && !watches(p, NMLIB_TX)) ||
		((events & NMLIB_EVENTS_IN) && !watches(p, NMLIB_RX)))
		return SLICE_MS;
	return is_joint(p, NMLIB_RX) ? JOINT_MS : -1;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* Waits for an interrupt until `deadline` (ns, INT64_MAX: none). 1, 0 at the deadline, -errno. */
static int wait_irq(struct nmlib_daemon_port *p, short events, int64_t deadline)
{
	int wait_ms = nmlib_daemon_wait_ms(p, events), n;
	struct pollfd fds[NMLIB_WAIT_FDS];
	struct timespec left = {0, 0}, *limit = NULL;
	int64_t ns = INT64_MAX;

	if (deadline != INT64_MAX) {
		ns = deadline - now_ns();
		if (ns <= 0)
			return 0;
	}
	if (wait_ms >= 0 && wait_ms * 1000000LL < ns)
		ns = wait_ms * 1000000LL;
	if (ns != INT64_MAX) {
		left.tv_sec = ns / 1000000000;
		left.tv_nsec = ns % 1000000000;
		limit = &left;
	}
	nmlib_daemon_wait_fds(p, events, fds);
	n = ppoll(fds, NMLIB_WAIT_FDS, limit, NULL);
	if (n < 0)
		return -errno;
	if (n > 0)
		nmlib_daemon_drain_wait(p, fds);
	return 1;
}

int nmlib_daemon_poll(struct nmport_d *d, short events, int timeout_ms)
{
	struct nmlib_daemon_port *p = d->priv->daemon;
	int64_t deadline = timeout_ms < 0 ? INT64_MAX
			   : timeout_ms   ? now_ns() + timeout_ms * 1000000LL
					  : 0;
	short revents;
	int ret;

	for (;;) {
		revents = nmlib_daemon_events(p, events);
		if (revents || timeout_ms == 0)
			return revents;
		ret = nmlib_daemon_prepare_wait(p, events) ? wait_irq(p, events, deadline) : 1;
		nmlib_daemon_finish_wait(p, events);
		if (ret < 0)
			return ret;
		if (ret == 0)
			return nmlib_daemon_events(p, events);
	}
}
