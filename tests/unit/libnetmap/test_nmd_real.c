/* SPDX-License-Identifier: BSD-2-Clause */
/* libnetmap and a real netmapd: ports of several kinds, external memory, CSB and sync loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <libnetmap.h>

#include "csb.h"
#include "real_netmapd.h"

enum { PATIENCE_MS = 20000, LEN = 60, ROUNDS = 200, MEM_SIZE = 4 << 20 };

static char last_error[512];

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	snprintf(last_error, sizeof(last_error), "%s", text);
}

static struct nmport_d *must_open(const char *name)
{
	struct nmport_d *d = nmport_open(name);

	if (!d)
		fail_msg("%s", last_error);
	return d;
}

static void must_open_desc(struct nmport_d *d)
{
	if (nmport_open_desc(d) < 0)
		fail_msg("%s", last_error);
}

static struct netmap_ring *tx(struct nmport_d *d)
{
	return NETMAP_TXRING(d->nifp, d->first_tx_ring);
}

static struct netmap_ring *rx(struct nmport_d *d)
{
	return NETMAP_RXRING(d->nifp, d->first_rx_ring);
}

/* A packet to everybody, with a number. */
static void fill(char *packet, uint32_t number)
{
	memset(packet, 0xff, LEN);
	packet[6] = 2;
	memcpy(packet + 14, &number, sizeof(number));
}

static void put(struct nmport_d *d, uint32_t number)
{
	char packet[LEN];

	fill(packet, number);
	assert_int_equal(nmport_inject(d, packet, sizeof(packet)), sizeof(packet));
	assert_int_equal(nmport_txsync(d), 0);
}

static uint32_t number_of(struct netmap_ring *ring, struct netmap_slot *slot)
{
	uint32_t number;

	memcpy(&number, NETMAP_BUF_OFFSET(ring, slot) + 14, sizeof(number));
	return number;
}

static uint32_t take(struct nmport_d *d)
{
	struct netmap_ring *ring = rx(d);
	struct netmap_slot *slot;

	while (nm_ring_empty(ring))
		assert_int_equal(nmport_poll(d, POLLIN, PATIENCE_MS), POLLIN);
	slot = &ring->slot[ring->head];
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
	return number_of(ring, slot);
}

/* ---- ports ---------------------------------------------------------------------------- */

static void test_two_ports(void **state)
{
	struct nmport_d *a = must_open("vale7:a"), *b = must_open("vale7:b");

	(void)state;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		put(a, i);
		assert_int_equal(take(b), i);
	}
	nmport_close(a);
	nmport_close(b);
	assert_null(nmctx_get()->mem_descs);
}

static void *send_one(void *arg)
{
	struct nmport_d *d = arg;

	put(d, d->first_tx_ring);
	return arg;
}

/* One descriptor, one connection and one thread for each pair of rings. */
static void test_clone(void **state)
{
	struct nmport_d *d = nmport_prepare("vale7:a-0@conf:rings=3"), *c[3], *b;
	uint32_t seen = 0;
	pthread_t thread[3];

	(void)state;
	assert_non_null(d);
	must_open_desc(d);
	assert_int_equal(d->reg.nr_tx_rings, 3);
	c[0] = d;
	for (uint16_t i = 1; i < 3; i++) {
		c[i] = nmport_clone(d);
		assert_non_null(c[i]);
		c[i]->reg.nr_ringid = i;
		must_open_desc(c[i]);
		assert_int_equal(c[i]->first_tx_ring, i);
		assert_int_equal(c[i]->last_rx_ring, i);
		assert_int_equal(tx(c[i])->ringid, i);
		assert_ptr_equal(c[i]->mem, d->mem); /* one mapping for all */
	}
	b = must_open("vale7:b");
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, send_one, c[i]), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < 3; i++)
		seen |= 1u << take(b);
	assert_int_equal(seen, 7);
	assert_null(nmport_open("vale7:a-1/x"));
	assert_int_equal(errno, EBUSY);
	nmport_close(b);
	for (int i = 0; i < 3; i++)
		nmport_close(c[i]);
}

static void test_one_direction(void **state)
{
	struct nmport_d *d = must_open("vale7:a/T"), *e = must_open("vale7:a/R");

	(void)state;
	assert_true(d->first_tx_ring == 0 && d->last_tx_ring == 0);
	assert_true(d->first_rx_ring > d->last_rx_ring);
	assert_true(e->first_tx_ring > e->last_tx_ring);
	assert_true(e->first_rx_ring == 0 && e->last_rx_ring == 0);
	assert_int_equal(nmport_inject(e, "x", 1), 0);
	assert_int_equal(nmport_txsync(e), 0);
	nmport_close(d);
	nmport_close(e);
}

static void test_pipe(void **state)
{
	struct nmport_d *a = must_open("vale7:p{1"), *b = must_open("vale7:p}1");
	uint32_t index, spare;

	(void)state;
	assert_ptr_equal(a->mem, b->mem); /* one region, mapped once */
	index = tx(a)->slot[tx(a)->head].buf_idx;
	put(a, 77);
	while (nm_ring_empty(rx(b)))
		assert_int_equal(nmport_poll(b, POLLIN, PATIENCE_MS), POLLIN);
	assert_int_equal(rx(b)->slot[rx(b)->head].buf_idx, index); /* not a copy */
	/* On to the next pipe without a copy, as a program would: an exchange of buffers. */
	spare = tx(b)->slot[tx(b)->head].buf_idx;
	tx(b)->slot[tx(b)->head] = rx(b)->slot[rx(b)->head];
	tx(b)->slot[tx(b)->head].flags = NS_BUF_CHANGED;
	rx(b)->slot[rx(b)->head].buf_idx = spare;
	rx(b)->slot[rx(b)->head].flags = NS_BUF_CHANGED;
	tx(b)->head = tx(b)->cur = nm_ring_next(tx(b), tx(b)->head);
	rx(b)->head = rx(b)->cur = nm_ring_next(rx(b), rx(b)->head);
	assert_int_equal(nmport_rxsync(b), 0);
	assert_int_equal(nmport_txsync(b), 0);
	assert_int_equal(take(a), 77);
	nmport_close(a);
	nmport_close(b);
}

static void test_null_and_extra(void **state)
{
	struct nmport_d *d = nmport_prepare("netmap:nothing");
	uint32_t index, n = 0;

	(void)state;
	d->reg.nr_mode = NR_REG_NULL;
	d->reg.nr_tx_rings = 1;
	d->reg.nr_rx_rings = 2;
	d->reg.nr_tx_slots = d->reg.nr_rx_slots = 64;
	d->reg.nr_extra_bufs = 5;
	must_open_desc(d);
	assert_int_equal(d->last_tx_ring, 0);
	assert_int_equal(d->last_rx_ring, 1);
	assert_int_equal(d->reg.nr_extra_bufs, 5);
	for (index = d->nifp->ni_bufs_head; index; n++)
		memcpy(&index, NETMAP_BUF(tx(d), index), sizeof(index));
	assert_int_equal(n, 5);
	nmport_close(d);
}

static void test_monitor(void **state)
{
	struct nmport_d *m, *a = must_open("vale7:a"), *b = must_open("vale7:b");

	(void)state;
	m = must_open("vale7:a/t");
	put(a, 5);
	assert_int_equal(take(b), 5);
	assert_int_equal(take(m), 5);
	nmport_close(m);
	nmport_close(a);
	nmport_close(b);
}

static void test_offsets(void **state)
{
	struct nmport_d *a = nmport_prepare("vale7:a@offset:initial=64,bits=16"), *b;

	(void)state;
	assert_non_null(a);
	must_open_desc(a);
	assert_int_equal(NETMAP_ROFFSET(tx(a), &tx(a)->slot[0]), 64);
	b = must_open("vale7:b");
	put(a, 9);
	assert_int_equal(take(b), 9);
	put(b, 10);
	assert_int_equal(take(a), 10);
	nmport_close(a);
	nmport_close(b);
}

static void test_requests(void **state)
{
	struct nmport_d *d = nmport_new();
	struct nmreq_pools_info pools = {0};
	struct nmreq_port_hdr len = {.nr_hdr_len = 12};
	struct nmreq_header hdr;

	(void)state;
	nmreq_header_init(&hdr, 4711, NULL);
	assert_int_equal(nmport_request(d, &hdr), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	nmreq_header_init(&hdr, NETMAP_REQ_VALE_DELIF, NULL);
	strcpy(hdr.nr_name, "nonesuch");
	assert_int_equal(nmport_request(d, &hdr), -1);
	assert_int_not_equal(errno, EINVAL); /* a body is not missed */
	nmport_delete(d);
	d = must_open("vale7:a");
	nmreq_header_init(&hdr, NETMAP_REQ_PORT_HDR_SET, &len);
	strcpy(hdr.nr_name, "vale7:a");
	assert_int_equal(nmport_request(d, &hdr), 0);
	nmreq_header_init(&hdr, NETMAP_REQ_POOLS_INFO_GET, &pools);
	assert_int_equal(nmport_request(d, &hdr), 0);
	assert_int_equal(pools.nr_memsize, d->reg.nr_memsize);
	nmport_close(d);
}

static void test_fork(void **state)
{
	struct nmport_d *a = must_open("vale7:a"), *b = must_open("vale7:b");
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		put(a, 1);
		_exit(take(b) == 1 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	/* The child's syncs count for the parent, too. */
	put(a, 2);
	assert_int_equal(take(b), 2);
	nmport_close(a);
	nmport_close(b);
}

/* ---- external memory ------------------------------------------------------------------- */

static void test_extmem(void **state)
{
	char *mem =
		mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct nmport_d *a = nmport_prepare("vale7:a@conf:slots=64"), *b = must_open("vale7:b"), *c;
	struct nmreq_pools_info *info;
	uint64_t end;

	(void)state;
	memset(mem, 'k', MEM_SIZE);
	assert_int_equal(nmport_extmem(a, mem, MEM_SIZE), 0);
	must_open_desc(a);
	assert_ptr_equal(a->mem->mem, mem);
	assert_true((char *)a->nifp >= mem && (char *)a->nifp < mem + MEM_SIZE);
	info = nmport_extmem_getinfo(a);
	assert_true(info->nr_memsize <= MEM_SIZE);
	assert_true(info->nr_buf_pool_objtotal > 128);
	end = info->nr_buf_pool_offset +
	      (uint64_t)info->nr_buf_pool_objtotal * info->nr_buf_pool_objsize;
	assert_true(end <= MEM_SIZE);
	/* What lay in it is still there, where the region has put nothing. */
	assert_int_equal(
		mem[info->nr_buf_pool_offset + 5 * (size_t)info->nr_buf_pool_objsize], 'k');
	put(a, 4);
	assert_int_equal(take(b), 4);
	put(b, 5);
	assert_int_equal(take(a), 5);
	/* Another port in the same memory, without a copy of the mapping. */
	c = nmport_prepare("vale7:c@conf:slots=64");
	c->reg.nr_mem_id = a->reg.nr_mem_id;
	must_open_desc(c);
	assert_ptr_equal(c->mem, a->mem);
	nmport_close(c);
	nmport_close(a);
	assert_int_equal(mem[MEM_SIZE - 1], 'k'); /* the application's still */
	munmap(mem, MEM_SIZE);
	nmport_close(b);
}

static void test_extmem_file(void **state)
{
	char path[] = "/tmp/lib-real-mem-XXXXXX", name[128];
	int fd = mkstemp(path);
	struct nmport_d *a;

	(void)state;
	assert_int_equal(ftruncate(fd, MEM_SIZE), 0);
	snprintf(name, sizeof(name), "vale7:a@conf:slots=64@extmem:file=%s", path);
	a = must_open(name);
	put(a, 1);
	nmport_close(a);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_null(nmport_open(name));
	assert_int_equal(errno, EINVAL);
	assert_non_null(strstr(last_error, "the file is empty"));
	close(fd);
	unlink(path);
}

static void test_extmem_small(void **state)
{
	static char mem[8192] __attribute__((aligned(4096)));
	struct nmport_d *a = nmport_prepare("vale7:a");

	(void)state;
	mem[0] = 'k';
	assert_int_equal(nmport_extmem(a, mem, sizeof(mem)), 0);
	assert_int_equal(nmport_open_desc(a), -1);
	assert_int_equal(mem[0], 'k');
	nmport_undo_prepare(a);
}

/* ---- CSB and sync loop ------------------------------------------------------------------ */

struct csb {
	struct nm_csb_atok atok[2];
	struct nm_csb_ktoa ktoa[2];
} __attribute__((aligned(64)));

static struct csb csb;

static int csb_request(struct nmport_d *d, void *atok, void *ktoa)
{
	struct nmreq_opt_csb opt = {.nro_opt.nro_reqtype = NETMAP_REQ_OPT_CSB,
		.csb_atok = (uintptr_t)atok,
		.csb_ktoa = (uintptr_t)ktoa};
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, NETMAP_REQ_CSB_ENABLE, NULL);
	nmreq_push_option(&hdr, &opt.nro_opt);
	return nmport_request(d, &hdr);
}

static void test_csb_errors(void **state)
{
	struct nmport_d *d = nmport_new();
	struct nmreq_sync_kloop_start start = {.sleep_us = 1};
	struct nmreq_header hdr, stop;
	void *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	nmreq_header_init(&hdr, NETMAP_REQ_SYNC_KLOOP_START, &start);
	nmreq_header_init(&stop, NETMAP_REQ_SYNC_KLOOP_STOP, NULL);
	assert_int_equal(csb_request(d, csb.atok, csb.ktoa), -1);
	assert_int_equal(errno, ENXIO);
	assert_int_equal(nmport_request(d, &hdr), -1);
	assert_int_equal(errno, ENXIO);
	assert_int_equal(nmport_request(d, &stop), -1);
	assert_int_equal(errno, ENXIO);
	nmport_delete(d);
	d = must_open("vale7:a");
	assert_int_equal(csb_request(d, csb.atok, csb.ktoa), -1);
	assert_int_equal(errno, EINVAL); /* not exclusive */
	nmport_close(d);
	d = must_open("vale7:a/x");
	assert_int_equal(nmport_request(d, &hdr), -1);
	assert_int_equal(errno, EINVAL); /* no CSB */
	assert_int_equal(csb_request(d, (char *)csb.atok + 8, csb.ktoa), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(csb_request(d, csb.atok, gone), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(csb_request(d, csb.atok, csb.ktoa), 0);
	assert_int_equal(csb_request(d, csb.atok, csb.ktoa), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(csb.ktoa[0].hwtail, tx(d)->num_slots - 1);
	assert_int_equal(nmport_txsync(d), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(nmport_poll(d, POLLIN, -1), POLLERR);
	start.sleep_us = 1000001;
	assert_int_equal(nmport_request(d, &hdr), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(nmport_request(d, &stop), 0); /* there is none */
	hdr.nr_version = 3;
	assert_int_equal(nmport_request(d, &hdr), -1);
	assert_int_equal(errno, EINVAL);
	munmap(gone, 4096);
	nmport_close(d);
}

/* A loop in a thread of its own, and the application side of its CSB. */
struct loop {
	struct nmport_d *d;
	struct nmreq_sync_kloop_start start;
	struct nmreq_opt_sync_kloop_mode mode;
	struct {
		struct nmreq_opt_sync_kloop_eventfds opt;
		struct {
			int32_t ioeventfd, irqfd;
		} fd[2];
	} events;
	int use_events;
	int result;
	pthread_t thread;
	struct nm_csb_appl ring[2];
};

static void *run_loop(void *arg)
{
	struct loop *l = arg;
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, NETMAP_REQ_SYNC_KLOOP_START, &l->start);
	if (l->use_events) {
		nmreq_push_option(&hdr, &l->events.opt.nro_opt);
		if (l->mode.mode)
			nmreq_push_option(&hdr, &l->mode.nro_opt);
	}
	l->result = nmport_request(l->d, &hdr) < 0 ? errno : 0;
	return NULL;
}

static void start_loop(struct loop *l)
{
	l->mode.nro_opt.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE;
	l->events.opt.nro_opt.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS;
	l->events.opt.nro_opt.nro_size = sizeof(l->events);
	for (int i = 0; i < 2; i++) {
		struct netmap_ring *ring = i ? rx(l->d) : tx(l->d);

		assert_int_equal(
			nm_csb_appl_init(&l->ring[i], &csb.atok[i], &csb.ktoa[i], ring->num_slots),
			0);
	}
	assert_int_equal(pthread_create(&l->thread, NULL, run_loop, l), 0);
}

static void stop_loop(struct loop *l)
{
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, NETMAP_REQ_SYNC_KLOOP_STOP, NULL);
	assert_int_equal(nmport_request(l->d, &hdr), 0);
	pthread_join(l->thread, NULL);
	assert_int_equal(l->result, 0);
}

static void loop_put(struct loop *l, uint32_t number)
{
	struct nm_csb_appl *a = &l->ring[0];
	struct netmap_ring *ring = tx(l->d);
	struct netmap_slot *slot = &ring->slot[a->head];
	uint32_t head = nm_ring_next(ring, a->head);

	while (a->head == a->hwtail)
		nm_csb_appl_load(a);
	fill(NETMAP_BUF(ring, slot->buf_idx), number);
	slot->len = LEN;
	slot->flags = 0;
	if (nm_csb_appl_publish(a, head, head) && l->use_events && l->events.fd[0].ioeventfd >= 0)
		eventfd_write(l->events.fd[0].ioeventfd, 1);
}

static uint32_t loop_take(struct loop *l)
{
	struct nm_csb_appl *a = &l->ring[1];
	struct netmap_ring *ring = rx(l->d);
	uint32_t number, head;
	eventfd_t count;

	nm_csb_appl_load(a);
	while (a->head == a->hwtail) {
		if (!l->use_events || l->events.fd[1].irqfd < 0) {
			usleep(10);
			nm_csb_appl_load(a);
		} else if (!nm_csb_appl_sleep(a)) {
			struct pollfd p = {.fd = l->events.fd[1].irqfd, .events = POLLIN};

			assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
			eventfd_read(p.fd, &count);
			nm_csb_appl_awake(a);
			nm_csb_appl_load(a);
		}
	}
	number = number_of(ring, &ring->slot[a->head]);
	head = nm_ring_next(ring, a->head);
	if (nm_csb_appl_publish(a, head, head) && l->use_events && l->events.fd[1].ioeventfd >= 0)
		eventfd_write(l->events.fd[1].ioeventfd, 1);
	return number;
}

static void loop_traffic(struct loop *l, struct nmport_d *b)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		loop_put(l, i);
		assert_int_equal(take(b), i);
		put(b, i + 1000);
		assert_int_equal(loop_take(l), i + 1000);
	}
}

static void test_loop_sleep(void **state)
{
	struct nmport_d *b = must_open("vale7:b");
	struct loop l = {.d = must_open("vale7:a/x"), .start.sleep_us = 20};

	(void)state;
	assert_int_equal(csb_request(l.d, csb.atok, csb.ktoa), 0);
	for (int i = 0; i < 2; i++) {
		start_loop(&l);
		loop_traffic(&l, b);
		stop_loop(&l);
		l.start.sleep_us = 0;
	}
	/* One loop at a time; a long sleep is interrupted. */
	l.start.sleep_us = 1000000;
	start_loop(&l);
	loop_put(&l, ROUNDS); /* it runs */
	assert_int_equal(take(b), ROUNDS);
	{
		struct loop second = {.d = l.d, .start.sleep_us = 1};

		run_loop(&second);
		assert_int_equal(second.result, EBUSY);
	}
	stop_loop(&l);
	nmport_close(l.d);
	nmport_close(b);
}

static void test_loop_events(void **state)
{
	struct nmport_d *b = must_open("vale7:b");
	struct loop l = {.d = must_open("vale7:a/x"), .use_events = 1, .start.sleep_us = 100};
	static const uint32_t modes[] = {0, NM_OPT_SYNC_KLOOP_DIRECT_TX,
		NM_OPT_SYNC_KLOOP_DIRECT_TX | NM_OPT_SYNC_KLOOP_DIRECT_RX};

	(void)state;
	assert_int_equal(csb_request(l.d, csb.atok, csb.ktoa), 0);
	for (int i = 0; i < 2; i++) {
		l.events.fd[i].ioeventfd = eventfd(0, 0);
		l.events.fd[i].irqfd = eventfd(0, 0);
	}
	for (int i = 0; i < 3; i++) {
		l.mode.mode = modes[i];
		start_loop(&l);
		usleep(20000); /* it sleeps */
		loop_traffic(&l, b);
		stop_loop(&l);
	}
	/* No ioeventfd: it looks every 100 us. */
	close(l.events.fd[0].ioeventfd);
	l.events.fd[0].ioeventfd = -1;
	l.mode.mode = 0;
	start_loop(&l);
	usleep(20000);
	loop_traffic(&l, b);
	stop_loop(&l);
	/* What it refuses. */
	l.mode.mode = 4;
	run_loop(&l);
	assert_int_equal(l.result, EINVAL);
	l.mode.mode = 0;
	l.events.opt.nro_opt.nro_size -= 8;
	run_loop(&l);
	assert_int_equal(l.result, EINVAL);
	l.events.opt.nro_opt.nro_size += 8;
	l.events.fd[0].ioeventfd = 0; /* not an eventfd */
	run_loop(&l);
	assert_int_equal(l.result, EBADF);
	assert_non_null(strstr(last_error, "no eventfd"));
	l.events.fd[0].ioeventfd = -1;
	l.mode.mode = NM_OPT_SYNC_KLOOP_DIRECT_TX; /* needs an ioeventfd for each ring */
	run_loop(&l);
	assert_int_equal(l.result, EINVAL);
	close(l.events.fd[0].irqfd);
	close(l.events.fd[1].ioeventfd);
	close(l.events.fd[1].irqfd);
	nmport_close(l.d);
	nmport_close(b);
}

/* The option CSB on the registration; and what an illegal head does: its ring stops. */
static void test_loop_illegal(void **state)
{
	struct nmport_d *b = must_open("vale7:b"), *a = nmport_prepare("vale7:a/x");
	struct nmreq_opt_csb opt = {.nro_opt.nro_reqtype = NETMAP_REQ_OPT_CSB,
		.csb_atok = (uintptr_t)csb.atok,
		.csb_ktoa = (uintptr_t)csb.ktoa};
	struct loop l = {.d = a, .start.sleep_us = 20};
	struct nmreq_header hdr;

	(void)state;
	opt.csb_atok++;
	nmreq_push_option(&a->hdr, &opt.nro_opt);
	assert_int_equal(nmport_open_desc(a), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(opt.nro_opt.nro_status, EINVAL);
	opt.csb_atok--;
	must_open_desc(a);
	assert_int_equal(csb.ktoa[0].hwtail, tx(a)->num_slots - 1);
	start_loop(&l);
	loop_traffic(&l, b);
	__atomic_store_n(&csb.atok[0].head, 5000, __ATOMIC_SEQ_CST);
	put(b, 3);
	assert_int_equal(loop_take(&l), 3);
	__atomic_store_n(&csb.atok[1].head, 5000, __ATOMIC_SEQ_CST);
	pthread_join(l.thread, NULL);
	assert_int_equal(l.result, EINVAL); /* no ring is left */
	/* A stop that comes first ends the next loop at once. */
	nmreq_header_init(&hdr, NETMAP_REQ_SYNC_KLOOP_STOP, NULL);
	assert_int_equal(nmport_request(a, &hdr), 0);
	run_loop(&l);
	assert_int_equal(l.result, 0);
	nmreq_remove_option(&a->hdr, &opt.nro_opt);
	nmport_close(a);
	nmport_close(b);
}

/* netmapd ends: last, for it is gone then. */
static struct real_netmapd netmapd;

static void test_gone(void **state)
{
	struct nmport_d *a = must_open("vale7:a");
	int i;

	(void)state;
	assert_int_equal(real_stop(&netmapd), 0);
	assert_int_equal(nmport_poll(a, POLLIN, PATIENCE_MS), POLLERR | POLLHUP);
	/* Also who only looks, without waiting. */
	nmport_close(a);
	real_start(&netmapd);
	a = must_open("vale7:a");
	assert_int_equal(real_stop(&netmapd), 0);
	for (i = 0; i < 1000000 && nmport_rxsync(a) == 0; i++)
		;
	assert_int_equal(errno, ENXIO);
	nmport_close(a);
	real_start(&netmapd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_ports),
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_one_direction),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_null_and_extra),
		cmocka_unit_test(test_monitor),
		cmocka_unit_test(test_offsets),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_extmem),
		cmocka_unit_test(test_extmem_file),
		cmocka_unit_test(test_extmem_small),
		cmocka_unit_test(test_csb_errors),
		cmocka_unit_test(test_loop_sleep),
		cmocka_unit_test(test_loop_events),
		cmocka_unit_test(test_loop_illegal),
		cmocka_unit_test(test_gone),
	};
	int failed;

	alarm(120);
	real_start(&netmapd);
	nmctx_get()->error = on_error;
	nmctx_set_threadsafe();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (real_stop(&netmapd) != 0) {
		printf("Bail out! netmapd didn't end well\n");
		return 1;
	}
	return failed;
}
