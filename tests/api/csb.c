/* SPDX-License-Identifier: BSD-2-Clause */
/* CSB mode and the sync loop, in all its modes. */
#include "api.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RINGS_MAX = 4, ROUNDS = 300 };

/* A port in CSB mode, its loop, and the thread that runs it. */
struct csb {
	struct nmport_d *d;
	struct nm_csb_atok *atok; /* tx rings first */
	struct nm_csb_ktoa *ktoa;
	struct nmreq_opt_csb opt;
	uint32_t rings; /* of both directions */
	struct {
		struct nmreq_opt_sync_kloop_eventfds head;
		struct {
			int32_t ioeventfd, irqfd;
		} room[2 * RINGS_MAX];
	} events;
	bool with_events, with_mode;
	struct nmreq_opt_sync_kloop_mode mode;
	struct nmreq_sync_kloop_start start;
	pthread_t thread;
	int ret; /* of the loop */
};

static void *entries(uint32_t count)
{
	void *mem = NULL;

	CHECK(posix_memalign(&mem, 4096, 4096 * ((count * 64 + 4095) / 4096)) == 0);
	memset(mem, 0, count * 64);
	return mem;
}

static void csb_prepare(struct csb *c, const char *name, uint16_t rings, uint64_t flags)
{
	memset(c, 0, sizeof(*c));
	c->rings = 2u * rings;
	c->atok = entries(c->rings);
	c->ktoa = entries(c->rings);
	c->d = prepare(name);
	c->d->reg.nr_flags = flags;
	c->d->reg.nr_tx_rings = c->d->reg.nr_rx_rings = rings;
	c->d->reg.nr_tx_slots = c->d->reg.nr_rx_slots = 64;
	c->opt.nro_opt.nro_reqtype = NETMAP_REQ_OPT_CSB;
	c->opt.csb_atok = (uintptr_t)c->atok;
	c->opt.csb_ktoa = (uintptr_t)c->ktoa;
	c->start.sleep_us = 100;
}

static int csb_register(struct csb *c)
{
	int ret;

	nmreq_push_option(&c->d->hdr, &c->opt.nro_opt);
	ret = finish(c->d);
	nmreq_remove_option(&c->d->hdr, &c->opt.nro_opt);
	return ret;
}

static void csb_open(struct csb *c, const char *name, uint16_t rings)
{
	csb_prepare(c, name, rings, NR_EXCLUSIVE);
	CHECK_EQ(csb_register(c), 0);
	CHECK_EQ(c->opt.nro_opt.nro_status, 0);
}

static void csb_close(struct csb *c)
{
	nmport_close(c->d);
	free(c->atok);
	free(c->ktoa);
}

/* ---- the loop ------------------------------------------------------------------------- */

static void want_events(struct csb *c)
{
	struct nmreq_option *opt = &c->events.head.nro_opt;

	c->with_events = true;
	opt->nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS;
	opt->nro_size = sizeof(c->events.head) + c->rings * 8;
	for (uint32_t i = 0; i < c->rings; i++) {
		c->events.room[i].ioeventfd = eventfd(0, EFD_CLOEXEC);
		c->events.room[i].irqfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		CHECK(c->events.room[i].ioeventfd >= 0 && c->events.room[i].irqfd >= 0);
	}
}

static void want_mode(struct csb *c, uint32_t mode)
{
	c->with_mode = true;
	c->mode.nro_opt.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE;
	c->mode.mode = mode;
}

static int loop(struct csb *c)
{
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, NETMAP_REQ_SYNC_KLOOP_START, &c->start);
	if (c->with_events)
		nmreq_push_option(&hdr, &c->events.head.nro_opt);
	if (c->with_mode)
		nmreq_push_option(&hdr, &c->mode.nro_opt);
	return nmport_request(c->d, &hdr) < 0 ? -errno : 0;
}

static void *loop_thread(void *arg)
{
	struct csb *c = arg;

	c->ret = loop(c);
	return NULL;
}

static void loop_start(struct csb *c)
{
	c->ret = -1;
	CHECK_EQ(pthread_create(&c->thread, NULL, loop_thread, c), 0);
}

/* One STOP is enough, also before the loop has begun; a second one, behind the loop's end, would end the next
 * one before it begins. */
static void loop_end(struct csb *c)
{
	struct nmreq_header hdr;
	struct timespec limit;

	nmreq_header_init(&hdr, NETMAP_REQ_SYNC_KLOOP_STOP, NULL);
	CHECK_EQ(nmport_request(c->d, &hdr), 0);
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += WAIT_MS / 1000;
	CHECK_EQ(pthread_timedjoin_np(c->thread, NULL, &limit), 0);
}

static void loop_stop(struct csb *c)
{
	loop_end(c);
	CHECK_EQ(c->ret, 0);
}

/* ---- traffic -------------------------------------------------------------------------- */

static uint32_t load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void store(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

static void kick(struct csb *c, uint32_t ring)
{
	uint64_t one = 1;

	if (c->with_events && load(&c->ktoa[ring].kern_need_kick))
		CHECK(write(c->events.room[ring].ioeventfd, &one, 8) == 8);
}

static void csb_send(struct csb *c, uint32_t number)
{
	struct netmap_ring *tx = NETMAP_TXRING(c->d->nifp, 0);
	struct netmap_slot *slot = &tx->slot[load(&c->atok[0].head)];
	uint64_t limit = now_ms() + WAIT_MS;
	uint32_t next = nm_ring_next(tx, load(&c->atok[0].head));

	make_frame((uint8_t *)NETMAP_BUF(tx, slot->buf_idx), FRAME_LEN, 0, 1, number);
	slot->len = FRAME_LEN;
	slot->flags = 0;
	store(&c->atok[0].cur, next);
	store(&c->atok[0].head, next);
	kick(c, 0);
	while (load(&c->ktoa[0].hwcur) != next) {
		CHECK(now_ms() < limit);
		sleep_ms(1);
	}
}

/* Waits for the next packet; with events, by the irqfd. */
static void csb_take(struct csb *c, uint32_t number)
{
	uint32_t ring = c->rings / 2, at = load(&c->atok[ring].head), next;
	struct netmap_ring *rx = NETMAP_RXRING(c->d->nifp, 0);
	uint64_t limit = now_ms() + WAIT_MS, count;
	uint8_t want[FRAME_LEN];

	store(&c->atok[ring].appl_need_kick, 1);
	while (load(&c->ktoa[ring].hwtail) == at) {
		CHECK(now_ms() < limit);
		if (c->with_events) {
			struct pollfd pfd = {c->events.room[ring].irqfd, POLLIN, 0};

			CHECK(poll(&pfd, 1, WAIT_MS) == 1);
			CHECK(read(pfd.fd, &count, 8) == 8);
		} else {
			sleep_ms(1);
		}
	}
	store(&c->atok[ring].appl_need_kick, 0);
	make_frame(want, sizeof(want), 0, 2, number);
	CHECK_EQ(rx->slot[at].len, FRAME_LEN);
	CHECK_EQ(memcmp(NETMAP_BUF(rx, rx->slot[at].buf_idx), want, FRAME_LEN), 0);
	next = nm_ring_next(rx, at);
	store(&c->atok[ring].cur, next);
	store(&c->atok[ring].head, next);
	kick(c, ring);
}

static void csb_traffic(bool events, uint32_t mode)
{
	struct nmport_d *b = open_flags("valecsb:2", 0);
	struct csb c;

	csb_open(&c, "valecsb:1", 1);
	if (events)
		want_events(&c);
	if (mode)
		want_mode(&c, mode);
	for (int round = 0; round < 2; round++) {
		loop_start(&c);
		for (uint32_t i = 0; i < ROUNDS; i++) {
			csb_send(&c, i);
			take_frame(b, 0, 1, i);
			send_frame(b, 0, 2, i);
			csb_take(&c, i);
		}
		loop_stop(&c);
	}
	csb_close(&c);
	nmport_close(b);
}

TEST(kloop_sleep)
{
	csb_traffic(false, 0);
}

TEST(kloop_eventfds)
{
	csb_traffic(true, 0);
}

TEST(kloop_direct_tx)
{
	csb_traffic(true, NM_OPT_SYNC_KLOOP_DIRECT_TX);
}

TEST(kloop_direct_rx)
{
	csb_traffic(true, NM_OPT_SYNC_KLOOP_DIRECT_RX);
}

TEST(kloop_direct_both)
{
	csb_traffic(true, NM_OPT_SYNC_KLOOP_DIRECT_TX | NM_OPT_SYNC_KLOOP_DIRECT_RX);
}

/* ---- CSB ------------------------------------------------------------------------------ */

/* Both arrays are filled in. */
TEST(csb_first_state)
{
	struct csb c;

	csb_open(&c, "valecsb:1", 2);
	for (uint32_t i = 0; i < c.rings; i++) {
		CHECK(c.atok[i].head == 0 && c.atok[i].cur == 0);
		CHECK_EQ(c.ktoa[i].hwcur, 0);
		CHECK_EQ(c.ktoa[i].hwtail, i < 2 ? 63 : 0);
	}
	csb_close(&c);
}

TEST(csb_by_request)
{
	struct nmport_d *b = open_flags("valecsb:2", 0);
	struct nmreq_header hdr;
	struct csb c;

	csb_prepare(&c, "valecsb:1", 1, NR_EXCLUSIVE);
	CHECK_EQ(finish(c.d), 0);
	nmreq_header_init(&hdr, NETMAP_REQ_CSB_ENABLE, NULL);
	CHECK_REFUSED(request_header(c.d, &hdr)); /* without the option */
	nmreq_header_init(&hdr, NETMAP_REQ_CSB_ENABLE, NULL);
	nmreq_push_option(&hdr, &c.opt.nro_opt);
	CHECK_EQ(request_header(c.d, &hdr), 0);
	CHECK_EQ(c.ktoa[0].hwtail, 63);
	loop_start(&c);
	csb_send(&c, 5);
	take_frame(b, 0, 1, 5);
	loop_stop(&c);
	csb_close(&c);
	nmport_close(b);
}

TEST(csb_refusals)
{
	struct nmreq_header hdr;
	struct csb c;

	csb_prepare(&c, "valecsb:1", 1, 0); /* not exclusive */
	CHECK_EQ(csb_register(&c), -EINVAL);
	CHECK_EQ(c.opt.nro_opt.nro_status, EINVAL);
	csb_close(&c);
	for (int i = 0; i < 3; i++) {
		csb_prepare(&c, "valecsb:1", 1, NR_EXCLUSIVE);
		if (i == 0)
			c.opt.csb_atok += 4; /* between entries */
		if (i == 1)
			c.opt.csb_ktoa = 0;
		if (i == 2)
			c.opt.csb_atok = UINT64_MAX - 63;
		CHECK_REFUSED(csb_register(&c));
		csb_close(&c);
	}
	/* The refused registrations have left nothing behind. */
	csb_open(&c, "valecsb:1", 1);
	nmreq_header_init(&hdr, NETMAP_REQ_CSB_ENABLE, NULL);
	nmreq_push_option(&hdr, &c.opt.nro_opt);
	CHECK_REFUSED(request_header(c.d, &hdr)); /* it is enabled already */
	csb_close(&c);
	CHECK_REFUSED(request(NETMAP_REQ_CSB_ENABLE, "", NULL));
}

TEST(kloop_refusals)
{
	struct nmreq_sync_kloop_start start = {0};
	struct nmport_d *plain = open_flags("valecsb:2", NR_EXCLUSIVE);
	struct csb c;

	CHECK_REFUSED(request(NETMAP_REQ_SYNC_KLOOP_START, "", &start));
	CHECK_REFUSED(request_on(plain, NETMAP_REQ_SYNC_KLOOP_START, "", &start));
	nmport_close(plain);
	csb_open(&c, "valecsb:1", 1);
	c.start.sleep_us = 1000001;
	CHECK_EQ(loop(&c), -EINVAL);
	c.start.sleep_us = UINT32_MAX;
	CHECK_EQ(loop(&c), -EINVAL);
	c.start.sleep_us = 100;
	want_mode(&c, 4);
	CHECK_EQ(loop(&c), -EINVAL);
	c.with_mode = false;
	want_events(&c);
	c.events.head.nro_opt.nro_size -= 8; /* one ring is missing */
	CHECK_EQ(loop(&c), -EINVAL);
	c.events.head.nro_opt.nro_size += 8;
	c.events.room[0].ioeventfd = 0x7fffffff;
	CHECK_REFUSED(loop(&c));
	csb_close(&c);
}

TEST(kloop_twice)
{
	struct csb c;

	csb_open(&c, "valecsb:1", 1);
	loop_start(&c);
	csb_send(&c, 1); /* it runs */
	CHECK_EQ(loop(&c), -EBUSY);
	loop_stop(&c);
	csb_close(&c);
}

/* What the application writes into the CSB can be anything. */
TEST(kloop_hostile)
{
	static const uint32_t bad[][2] = {
		{64, 64}, {5, 3}, {UINT32_MAX, 0}, {63, 70}, {1u << 31, 1}};
	struct nmport_d *b = open_flags("valecsb:2", 0);
	struct csb c;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		csb_open(&c, "valecsb:1", 1);
		loop_start(&c);
		csb_send(&c, 1);
		take_frame(b, 0, 1, 1);
		c.atok[0].sync_flags = UINT32_MAX;
		store(&c.atok[0].cur, bad[i][1]);
		store(&c.atok[0].head, bad[i][0]);
		sleep_ms(20);
		/* The loop goes on or has ended with an error; the port can be closed. */
		loop_end(&c);
		csb_close(&c);
	}
	CHECK_EQ(nmport_rxsync(b), 0);
	rx_ring(b, 0)->head = rx_ring(b, 0)->cur = rx_ring(b, 0)->tail;
	CHECK_EQ(nmport_rxsync(b), 0);
	csb_open(&c, "valecsb:1", 1);
	loop_start(&c);
	csb_send(&c, 77);
	take_frame(b, 0, 1, 77);
	loop_stop(&c);
	csb_close(&c);
	nmport_close(b);
}

/* The loop of a process that is killed ends with it, and its port with the loop. */
TEST(kloop_killed)
{
	for (int events = 0; events < 2; events++) {
		struct csb c;
		uint64_t limit;
		int status, ready[2], pid;
		char byte;

		CHECK(pipe(ready) == 0);
		pid = fork();
		if (pid == 0) {
			csb_open(&c, "valecsb:1", 1);
			if (events)
				want_events(&c);
			c.start.sleep_us = 1000000;
			CHECK(write(ready[1], "x", 1) == 1);
			loop(&c);
			_exit(3);
		}
		CHECK(read(ready[0], &byte, 1) == 1);
		sleep_ms(100);
		CHECK(kill(pid, SIGKILL) == 0);
		limit = now_ms() + WAIT_MS;
		while (waitpid(pid, &status, WNOHANG) == 0) {
			CHECK(now_ms() < limit);
			sleep_ms(5);
		}
		CHECK(WIFSIGNALED(status));
		/* netmapd notices a moment later. */
		limit = now_ms() + WAIT_MS;
		while (try_mode("valecsb:1", NR_REG_ALL_NIC, NR_EXCLUSIVE) == -EBUSY) {
			CHECK(now_ms() < limit);
			sleep_ms(5);
		}
		close(ready[0]);
		close(ready[1]);
	}
}
