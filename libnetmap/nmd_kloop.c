/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backend "daemon": a CSB of the application's own, and the loop that serves it.
 *
 * In the kernel the loop syncs the rings. Here netmapd does that, over its CSB;
 * the loop stands between the two, in the thread that has called SYNC_KLOOP_START:
 *
 *      application's atok  -- head, cur -->       loop  -- head, cur -->       netmapd's atok
 *      application's ktoa  <-- hwcur, hwtail --   loop  <-- hwcur, hwtail --   netmapd's ktoa
 *
 * It sleeps until an ioeventfd, an interrupt of netmapd, or STOP wakes it; rings
 * without an ioeventfd are looked at every sleep_us microseconds. DIRECT_TX and
 * DIRECT_RX need nothing more: netmapd works in threads of its own.
 *
 * An illegal head or cur stops its ring, and nothing else.
 */
#include "nmd.h"
#include "usermem.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ring.h"

enum {
	SLEEP_MAX_US = 1000000,
	STOP_LOOK_US = 1000, /* pause of those who wait for the loop's end */
	MODES = NM_OPT_SYNC_KLOOP_DIRECT_TX | NM_OPT_SYNC_KLOOP_DIRECT_RX,
};

/* ---- CSB_ENABLE ----------------------------------------------------------------------- */

int nmlib_csb_check(struct nmreq_opt_csb *opt, uint64_t flags, struct nm_error *why)
{
	int error = 0;

	if (!(flags & NR_EXCLUSIVE))
		error = nm_error_set(
			why, -EINVAL, "a CSB needs an exclusive registration (NR_EXCLUSIVE)");
	else if (!opt->csb_atok || opt->csb_atok % sizeof(struct nm_csb_atok) || !opt->csb_ktoa ||
		 opt->csb_ktoa % sizeof(struct nm_csb_ktoa))
		error = nm_error_set(why, -EINVAL, "the arrays of a CSB are aligned to 64 bytes");
	opt->nro_opt.nro_status = (uint32_t)-error;
	return error;
}

/* The state of each ring goes into both arrays. */
static int fill_csb(struct nmlib_daemon_port *p, uint64_t atok, uint64_t ktoa)
{
	int ret = 0;

	for (uint32_t i = 0; i < p->at.rings && ret == 0; i++) {
		struct nmlib_ring *r = &p->rings[i];
		struct nm_csb_atok a = {.head = r->csb.head, .cur = r->csb.cur};
		struct nm_csb_ktoa k = {.hwcur = r->csb.hwcur, .hwtail = r->csb.hwtail};

		r->published_hwcur = k.hwcur;
		r->published_hwtail = k.hwtail;
		r->stopped = false;
		ret = nmlib_user_write(atok + (uint64_t)i * sizeof(a), &a, sizeof(a));
		if (ret == 0)
			ret = nmlib_user_write(ktoa + (uint64_t)i * sizeof(k), &k, sizeof(k));
	}
	return ret;
}

/* Before the region is mapped for good: a look into its rings for their numbers of slots. */
static int find_rings(struct nmport_d *d, struct nmlib_daemon_port *p)
{
	void *base;
	int ret;

	base = mmap(NULL, p->at.region_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->region_fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	ret = nmlib_daemon_init_rings(p, base, d->reg.nr_offset);
	munmap(base, p->at.region_size);
	return ret;
}

int nmlib_csb_enable(struct nmport_d *d, struct nmreq_opt_csb *opt, struct nm_error *why)
{
	struct nmlib_daemon_port *p = d->priv->daemon;
	int ret = nmlib_csb_check(opt, p->flags, why);

	if (ret == 0 && p->atok)
		ret = nm_error_set(why, -EBUSY, "the registration has a CSB already");
	if (ret == 0 && !d->mmap_done) {
		ret = find_rings(d, p);
		if (ret < 0)
			nm_error_set(why, ret, "the state of the rings is not valid");
	}
	if (ret == 0) {
		ret = fill_csb(p, opt->csb_atok, opt->csb_ktoa);
		if (ret < 0)
			nm_error_set(why, ret, "the arrays of the CSB can't be written");
	}
	opt->nro_opt.nro_status = (uint32_t)-ret;
	if (ret < 0)
		return ret;
	p->ktoa = (struct nm_csb_ktoa *)(uintptr_t)opt->csb_ktoa;
	p->atok = (struct nm_csb_atok *)(uintptr_t)opt->csb_atok;
	return 0;
}

/* ---- one round ------------------------------------------------------------------------ */

struct loop {
	struct nmlib_daemon_port *p;
	uint32_t sleep_us;
	uint32_t mode;  /* NM_OPT_SYNC_KLOOP_* */
	uint32_t rings; /* entries of event; 0: no eventfds at all */
	struct {
		int32_t ioeventfd, irqfd;
	} event[NMD_RINGS_MAX];
};

/* What the application has moved goes to netmapd. True: something has. */
static bool take_head(struct nmlib_daemon_port *p, uint32_t i)
{
	struct nmlib_ring *r = &p->rings[i];
	struct nm_csb_appl *a = &r->csb;
	uint32_t head, cur;

	nm_csb_kern_load(&p->atok[i], &head, &cur);
	if (head == a->head && cur == a->cur)
		return false;
	if (!nm_ring_move_legal(a->head, r->published_hwtail, head, cur, a->num_slots)) {
		r->stopped = true;
		return false;
	}
	if (nm_csb_appl_publish(a, head, cur))
		nmlib_signal(r->kick);
	return true;
}

/* What netmapd has moved goes to the application. */
static bool give_tail(struct loop *l, uint32_t i)
{
	struct nmlib_daemon_port *p = l->p;
	struct nmlib_ring *r = &p->rings[i];
	bool more;

	if (!nm_csb_appl_load(&r->csb)) {
		r->stopped = true;
		return false;
	}
	if (r->csb.hwcur == r->published_hwcur && r->csb.hwtail == r->published_hwtail)
		return false;
	more = r->csb.hwtail != r->published_hwtail;
	r->published_hwcur = r->csb.hwcur;
	r->published_hwtail = r->csb.hwtail;
	nm_csb_kern_store(&p->ktoa[i], r->published_hwcur, r->published_hwtail);
	os_mb(); /* D: hwtail is out before appl_need_kick is looked at */
	if (more && l->rings && l->event[i].irqfd >= 0 && OS_LOAD(&p->atok[i].appl_need_kick))
		nmlib_signal(l->event[i].irqfd);
	return true;
}

static bool serve_round(struct loop *l, uint32_t *stopped)
{
	bool work = false;

	*stopped = 0;
	for (uint32_t i = 0; i < l->p->at.rings; i++) {
		if (!l->p->rings[i].stopped) {
			work |= take_head(l->p, i);
			work |= give_tail(l, i);
		}
		*stopped += l->p->rings[i].stopped;
	}
	return work;
}

/* ---- sleep ---------------------------------------------------------------------------- */

/* Both sides are asked for notifications. False: something has moved meanwhile. */
static bool prepare_sleep(struct loop *l)
{
	struct nmlib_daemon_port *p = l->p;
	bool moved = false;

	for (uint32_t i = 0; i < p->at.rings; i++) {
		struct nmlib_ring *r = &p->rings[i];

		if (r->stopped)
			continue;
		if (l->rings && l->event[i].ioeventfd >= 0)
			OS_STORE(&p->ktoa[i].kern_need_kick, 1);
		moved |= nm_csb_appl_sleep(&r->csb); /* a full barrier for both: C */
		moved |= OS_LOAD(&p->atok[i].head) != r->csb.head;
	}
	return !moved;
}

static void awake(struct loop *l)
{
	struct nmlib_daemon_port *p = l->p;

	for (uint32_t i = 0; i < p->at.rings; i++) {
		nm_csb_appl_awake(&p->rings[i].csb);
		OS_STORE(&p->ktoa[i].kern_need_kick, 0);
	}
}

static void drain(int fd)
{
	uint64_t count;

	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

/* Waits for any descriptor; at most sleep_us when a ring has none. */
static void wait_events(struct loop *l)
{
	struct nmlib_daemon_port *p = l->p;
	struct pollfd fds[4 + NMD_RINGS_MAX] = {
		{.fd = p->conn},
		{.fd = p->stop, .events = POLLIN},
		{.fd = p->irq[NMLIB_TX], .events = POLLIN},
		{.fd = p->irq[NMLIB_RX], .events = POLLIN},
	};
	struct timespec pause = {
		.tv_sec = l->sleep_us / 1000000, .tv_nsec = l->sleep_us % 1000000 * 1000L};
	bool limit = l->rings == 0;
	nfds_t n = 4;

	for (uint32_t i = 0; i < l->rings; i++) {
		limit |= l->event[i].ioeventfd < 0;
		if (!p->rings[i].stopped)
			fds[n++] = (struct pollfd){.fd = l->event[i].ioeventfd, .events = POLLIN};
	}
	if (ppoll(fds, n, limit ? &pause : NULL, NULL) <= 0)
		return;
	if (fds[0].revents)
		OS_STORE(&p->gone, true);
	for (nfds_t i = 1; i < n; i++)
		if (fds[i].revents & POLLIN)
			drain(fds[i].fd);
}

static void rest(struct loop *l)
{
	struct timespec pause = {
		.tv_sec = l->sleep_us / 1000000, .tv_nsec = l->sleep_us % 1000000 * 1000L};
	struct pollfd fds[2] = {{.fd = l->p->conn}, {.fd = l->p->stop, .events = POLLIN}};

	if (l->rings) {
		if (prepare_sleep(l))
			wait_events(l);
		awake(l);
		return;
	}
	if (l->sleep_us == 0)
		sched_yield();
	else if (ppoll(fds, 2, &pause, NULL) > 0 && fds[0].revents)
		OS_STORE(&l->p->gone, true);
}

/* ---- start and stop ------------------------------------------------------------------- */

static bool is_eventfd(int fd)
{
	char path[32], target[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

static int take_eventfds(
	struct loop *l, struct nmreq_opt_sync_kloop_eventfds *opt, struct nm_error *why)
{
	uint32_t rings = l->p->at.rings;
	uint64_t bytes = sizeof(*opt) + rings * sizeof(opt->eventfds[0]);

	if (opt->nro_opt.nro_size != bytes) {
		return nm_error_set(why, -EINVAL,
			"eventfds for %u rings have %llu bytes (nro_size), not %llu", rings,
			(unsigned long long)bytes, (unsigned long long)opt->nro_opt.nro_size);
	}
	for (uint32_t i = 0; i < rings; i++) {
		l->event[i].ioeventfd = opt->eventfds[i].ioeventfd;
		l->event[i].irqfd = opt->eventfds[i].irqfd;
		if ((l->event[i].ioeventfd >= 0 && !is_eventfd(l->event[i].ioeventfd)) ||
			(l->event[i].irqfd >= 0 && !is_eventfd(l->event[i].irqfd))) {
			return nm_error_set(why, -EBADF,
				"descriptor %d or %d of ring %u is no eventfd",
				l->event[i].ioeventfd, l->event[i].irqfd, i);
		}
	}
	l->rings = rings;
	return 0;
}

static int take_option(
	struct loop *l, struct nmreq_option *opt, uint32_t *seen, struct nm_error *why)
{
	uint32_t bit = opt->nro_reqtype < 32 ? 1u << opt->nro_reqtype : 0;

	if (*seen & bit) {
		return nm_error_set(why, -EINVAL, "the option %s stands twice",
			nmreq_option_name(opt->nro_reqtype));
	}
	*seen |= bit;
	if (opt->nro_reqtype == NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
		return take_eventfds(l, (struct nmreq_opt_sync_kloop_eventfds *)opt, why);
	if (opt->nro_reqtype == NETMAP_REQ_OPT_SYNC_KLOOP_MODE) {
		l->mode = ((struct nmreq_opt_sync_kloop_mode *)opt)->mode;
		return 0;
	}
	return nm_error_set(why, -EOPNOTSUPP, "the sync loop has no option %s (number %u)",
		nmreq_option_name(opt->nro_reqtype), opt->nro_reqtype);
}

static int take_request(struct loop *l, struct nmreq_header *hdr, struct nm_error *why)
{
	const struct nmreq_sync_kloop_start *start =
		(struct nmreq_sync_kloop_start *)(uintptr_t)hdr->nr_body;
	struct nmreq_option *opt;
	uint32_t seen = 0, asleep = 0;
	int ret = 0, error;

	if (!start)
		return nm_error_set(why, -EINVAL, "the sync loop needs its body");
	if (start->sleep_us > SLEEP_MAX_US) {
		return nm_error_set(why, -EINVAL, "sleep_us is %u; at most %d are possible",
			start->sleep_us, SLEEP_MAX_US);
	}
	l->sleep_us = start->sleep_us;
	nmreq_foreach_option(hdr, opt)
	{
		error = take_option(l, opt, &seen, why);
		opt->nro_status = (uint32_t)-error;
		if (error && !ret)
			ret = error;
		if (error == -EINVAL)
			break; /* a loop ends here, too */
	}
	for (uint32_t i = 0; i < l->rings; i++)
		asleep += l->event[i].ioeventfd < 0;
	if (ret == 0 && ((l->mode & ~(uint32_t)MODES) || (l->mode && (!l->rings || asleep)))) {
		opt = nmreq_find_option(hdr, NETMAP_REQ_OPT_SYNC_KLOOP_MODE);
		opt->nro_status = EINVAL;
		return nm_error_set(why, -EINVAL,
			"mode 0x%x of the loop: DIRECT_TX (1) and DIRECT_RX (2) are possible, with an ioeventfd for each ring",
			l->mode);
	}
	return ret;
}

/* 0: stopped. Else what the loop ends with. */
static int run(struct loop *l, struct nm_error *why)
{
	struct nmlib_daemon_port *p = l->p;
	uint32_t stopped;

	drain(p->stop); /* of an earlier loop; it doesn't block */
	awake(l);
	while (__atomic_load_n(&p->loop, __ATOMIC_SEQ_CST) == NMLIB_LOOP_RUNS) {
		if (OS_LOAD(&p->gone))
			return nm_error_set(why, -ENXIO, "the sync loop ended: netmapd is gone");
		if (!serve_round(l, &stopped))
			rest(l);
		if (stopped == p->at.rings)
			return nm_error_set(why, -EINVAL,
				"the sync loop ended: each of its rings had an illegal index");
	}
	return 0;
}

/* From one state to another; false: it is in a third. */
static bool change(struct nmlib_daemon_port *p, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(
		&p->loop, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

int nmlib_kloop_start(struct nmport_d *d, struct nmreq_header *hdr, struct nm_error *why)
{
	struct nmlib_daemon_port *p = d->priv->daemon;
	struct loop l = {.p = p};
	int ret;

	ret = take_request(&l, hdr, why);
	if (ret < 0)
		return ret;
	if (!p->atok)
		return nm_error_set(why, -EINVAL,
			"a sync loop needs CSB_ENABLE, or REGISTER with the option csb");
	if (change(p, NMLIB_LOOP_STOPPED, NMLIB_LOOP_NONE))
		return 0;
	if (!change(p, NMLIB_LOOP_NONE, NMLIB_LOOP_RUNS))
		return nm_error_set(why, -EBUSY, "the sync loop of the registration runs already");
	p->loop_pid = getpid();
	p->loop_tid = gettid();
	for (uint32_t i = 0; i < p->at.rings; i++)
		p->rings[i].stopped = false;
	ret = run(&l, why);
	__atomic_store_n(&p->loop, NMLIB_LOOP_NONE, __ATOMIC_SEQ_CST);
	return ret;
}

int nmlib_kloop_stop(struct nmport_d *d)
{
	struct nmlib_daemon_port *p = d->priv->daemon;

	if (!change(p, NMLIB_LOOP_RUNS, NMLIB_LOOP_STOPS) &&
		change(p, NMLIB_LOOP_NONE, NMLIB_LOOP_STOPPED))
		return 0;
	nmlib_signal(p->stop);
	while (__atomic_load_n(&p->loop, __ATOMIC_SEQ_CST) == NMLIB_LOOP_STOPS &&
		p->loop_tid != gettid()) {
		nmlib_signal(p->stop);
		usleep(STOP_LOOK_US);
		if (p->loop_pid && kill(p->loop_pid, 0) < 0 && errno == ESRCH)
			__atomic_store_n(&p->loop, NMLIB_LOOP_NONE, __ATOMIC_SEQ_CST);
	}
	return 0;
}
