/* SPDX-License-Identifier: BSD-2-Clause */
/* The backend "daemon" against a netmapd that the test plays itself, step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <libnetmap.h>

#include "fake_netmapd.h"

static struct fake_netmapd fake;
static char last_error[512];

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	snprintf(last_error, sizeof(last_error), "%s", text);
}

static int setup(void **state)
{
	(void)state;
	fake_start(&fake);
	nmctx_get()->error = on_error;
	last_error[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_stop(&fake);
	return 0;
}

static struct nmport_d *must_open(const char *name)
{
	struct nmport_d *d = nmport_open(name);

	if (!d)
		fail_msg("%s", last_error);
	return d;
}

static struct netmap_ring *tx(struct nmport_d *d)
{
	return NETMAP_TXRING(d->nifp, 0);
}

static struct netmap_ring *rx(struct nmport_d *d)
{
	return NETMAP_RXRING(d->nifp, 0);
}

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- opening -------------------------------------------------------------------------- */

static void test_open(void **state)
{
	struct nmport_d *d = must_open("vale1:a/x@conf:slots=64");

	(void)state;
	assert_string_equal(nmport_backend(d), "daemon");
	assert_string_equal(fake.header.nr_name, "vale1:a");
	assert_int_equal(fake.header.nr_version, NETMAP_API);
	assert_int_equal(fake.reg.nr_mode, NR_REG_ALL_NIC);
	assert_int_equal(fake.reg.nr_flags, NR_EXCLUSIVE);
	assert_int_equal(fake.reg.nr_rx_slots, 64);
	/* The addresses in the request are the application's again. */
	assert_int_equal(d->hdr.nr_body, (uintptr_t)&d->reg);
	assert_int_equal(d->reg.nr_rx_slots, FAKE_SLOTS);
	assert_int_equal(d->first_tx_ring, 0);
	assert_int_equal(d->last_rx_ring, 0);
	/* The rings show what the CSB says. */
	assert_int_equal(tx(d)->head, 0);
	assert_int_equal(tx(d)->tail, FAKE_SLOTS - 1);
	assert_int_equal(rx(d)->tail, 0);
	assert_int_equal(fake.atok[1].appl_need_kick, 0);
	/* And the region is the server's. */
	NETMAP_BUF(tx(d), 3)[5] = 42;
	assert_int_equal(fake.region[16384 + 3 * 2048 + 5], 42);
	nmport_close(d);
}

static void test_no_leak(void **state)
{
	struct nmport_d *d;
	unsigned int before, i;

	(void)state;
	nmport_close(must_open("vale1:a"));
	fake_settle(&fake);
	before = open_fds();
	for (i = 0; i < 5; i++)
		nmport_close(must_open("vale1:a"));
	fake.one_fd_less = true;
	assert_null(nmport_open("vale1:a"));
	assert_int_equal(errno, EPROTO);
	fake.one_fd_less = false;
	fake.bad_head = true;
	assert_null(nmport_open("vale1:a"));
	assert_int_equal(errno, EINVAL);
	fake.bad_head = false;
	d = must_open("vale1:a");
	nmport_close(d);
	fake_settle(&fake);
	assert_int_equal(open_fds(), before);
	assert_null(nmctx_get()->mem_descs);
}

static void test_refused(void **state)
{
	(void)state;
	fake.status = -EBUSY;
	fake.text = "vale1:a: tx ring 0 is in use";
	assert_null(nmport_open("vale1:a"));
	assert_int_equal(errno, EBUSY);
	assert_string_equal(last_error, fake.text);
	fake.text = NULL;
	assert_null(nmport_open("vale1:a"));
	assert_non_null(strstr(last_error, "vale1:a: register: its rings are in use"));
}

static void test_nobody_there(void **state)
{
	(void)state;
	setenv("NETMAPD_SOCKET", "/tmp/lib-daemon-none/socket", 1);
	assert_null(nmport_open("vale1:a"));
	assert_int_equal(errno, ENOENT);
	assert_non_null(strstr(last_error, "netmapd is not running"));
	setenv("NETMAP_BACKEND", "elsewhere", 1);
	assert_null(nmport_open("vale1:a"));
	assert_int_equal(errno, EINVAL);
	assert_non_null(strstr(last_error, "'elsewhere', must be kernel or daemon"));
}

/* ---- requests and options ------------------------------------------------------------- */

static void test_request(void **state)
{
	struct nmport_d *d = nmport_new();
	struct nmreq_port_info_get info = {0};
	struct nmreq_header hdr;
	const char *name = "vale1:b@share";

	(void)state;
	nmreq_header_init(&hdr, NETMAP_REQ_PORT_INFO_GET, &info);
	strcpy(hdr.nr_name, "vale1:b");
	assert_int_equal(nmport_request(d, &hdr), 0);
	assert_int_equal(info.nr_mem_id, 4711);
	assert_int_equal(hdr.nr_body, (uintptr_t)&info);
	hdr.nr_reqtype = NETMAP_REQ_REGISTER;
	assert_int_equal(nmport_request(d, &hdr), -1);
	assert_int_equal(errno, EINVAL);
	/* The fake serves one connection after the other. */
	nmport_delete(d);
	assert_int_equal(nmreq_get_mem_id(&name, nmctx_get()), 4711);
	assert_string_equal(name, "@share");
	d = nmport_prepare("vale1:a@share=vale1:b");
	assert_non_null(d);
	assert_int_equal(d->reg.nr_mem_id, 4711);
	nmport_undo_prepare(d);
}

static void test_options(void **state)
{
	struct nmport_d *d = nmport_prepare("vale1:a@offset:initial=64,bits=12");
	struct nmreq_opt_offsets *opt;
	static char memory[4096] __attribute__((aligned(4096)));
	void *gone;

	(void)state;
	assert_non_null(d);
	fake.opt_status = 7;
	assert_int_equal(nmport_open_desc(d), 0);
	assert_true(fake.have_offsets);
	assert_int_equal(fake.offsets.nro_opt.nro_reqtype, NETMAP_REQ_OPT_OFFSETS);
	assert_int_equal(fake.offsets.nro_opt.nro_next, 0);
	assert_int_equal(fake.offsets.nro_initial_offset, 64);
	assert_int_equal(fake.offsets.nro_offset_bits, 12);
	opt = (struct nmreq_opt_offsets *)nmreq_find_option(&d->hdr, NETMAP_REQ_OPT_OFFSETS);
	assert_int_equal(opt->nro_opt.nro_status, 7);
	nmport_close(d);

	/* Memory that netmapd couldn't map isn't even offered. */
	d = nmport_prepare("vale1:a");
	assert_int_equal(nmport_extmem(d, memory + 1, sizeof(memory)), 0);
	assert_int_equal(nmport_extmem_getinfo(d)->nr_memsize, sizeof(memory));
	assert_int_equal(nmport_extmem(d, memory, sizeof(memory)), -1);
	assert_int_equal(errno, EBUSY);
	fake.requests = 0;
	assert_int_equal(nmport_open_desc(d), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(d->extmem->nro_opt.nro_status, EINVAL);
	assert_non_null(strstr(last_error, "not that of a page"));
	d->extmem->nro_usrptr = (uintptr_t)memory;
	d->extmem->nro_info.nr_memsize = 0;
	assert_int_equal(nmport_open_desc(d), -1);
	assert_non_null(strstr(last_error, "no memory of this size"));
	d->extmem->nro_info.nr_memsize = INT64_MAX;
	assert_int_equal(nmport_open_desc(d), -1);
	d->extmem->nro_info.nr_memsize = UINT64_MAX;
	assert_int_equal(nmport_open_desc(d), -1);
	gone = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	d->extmem->nro_usrptr = (uintptr_t)gone;
	d->extmem->nro_info.nr_memsize = 8192;
	assert_int_equal(nmport_open_desc(d), -1);
	assert_int_equal(errno, EFAULT);
	assert_non_null(strstr(last_error, "can't be read"));
	assert_int_equal(fake.requests, 0);
	munmap(gone, 8192);
	nmport_undo_prepare(d);
}

static void test_shared_mapping(void **state)
{
	struct nmport_d *a, *b;

	(void)state;
	a = must_open("vale1:a");
	/* The fake serves one connection: hang up, the mapping stays. */
	fake_hang_up(&fake);
	fake.same_region = true;
	b = must_open("vale1:b");
	assert_ptr_equal(a->mem, b->mem);
	nmport_close(b);
	fake.same_region = false;
	/* The same region id, but another region. */
	b = must_open("vale1:b");
	assert_ptr_not_equal(a->mem, b->mem);
	nmport_close(a);
	tx(b)->flags = 0;
	nmport_close(b);
	assert_null(nmctx_get()->mem_descs);
}

/* ---- sync ----------------------------------------------------------------------------- */

static void test_txsync(void **state)
{
	struct nmport_d *d = must_open("vale1:a");

	(void)state;
	tx(d)->head = tx(d)->cur = 3;
	fake.ktoa[0].kern_need_kick = 0;
	assert_int_equal(nmport_txsync(d), 0);
	assert_int_equal(fake.atok[0].head, 3);
	assert_int_equal(fake.atok[0].cur, 3);
	assert_int_equal(fake_kicks(&fake, 0), 0);

	fake.ktoa[0].kern_need_kick = 1;
	assert_int_equal(nmport_txsync(d), 0);
	assert_int_equal(fake_kicks(&fake, 0), 0); /* nothing has moved */
	tx(d)->head = 4;
	tx(d)->cur = 6;
	assert_int_equal(nmport_txsync(d), 0);
	assert_int_equal(fake_kicks(&fake, 0), 1);
	assert_int_equal(fake_kicks(&fake, 1), 0);
	assert_int_equal(fake.atok[0].cur, 6);

	fake.ktoa[0].hwcur = 4;
	fake.ktoa[0].hwtail = 2;
	assert_int_equal(nmport_txsync(d), 0);
	assert_int_equal(tx(d)->tail, 2);
	nmport_close(d);
}

static void test_illegal(void **state)
{
	struct nmport_d *d = must_open("vale1:a");
	static const uint32_t bad[][2] = {{8, 8}, {4000000000u, 1}, {3, 2}, {0, 8}, {2, 1}};

	(void)state;
	tx(d)->head = tx(d)->cur = 2;
	assert_int_equal(nmport_txsync(d), 0);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tx(d)->head = bad[i][0];
		tx(d)->cur = bad[i][1];
		tx(d)->tail = 1;
		assert_int_equal(nmport_txsync(d), -1);
		assert_int_equal(errno, EINVAL);
		assert_int_equal(tx(d)->head, 2);
		assert_int_equal(tx(d)->cur, 2);
		assert_int_equal(tx(d)->tail, FAKE_SLOTS - 1);
		assert_int_equal(fake.atok[0].head, 2);
	}
	/* Back from 2 to 1 is as illegal as beyond the tail; poll says POLLERR. */
	tx(d)->head = tx(d)->cur = 1;
	assert_int_equal(nmport_poll(d, POLLOUT, 0), POLLERR);
	nmport_close(d);
}

static void test_rxsync(void **state)
{
	struct nmport_d *d = must_open("vale1:a");

	(void)state;
	fake.ktoa[1].hwtail = 5;
	assert_true(nm_ring_empty(rx(d)));
	assert_int_equal(nmport_rxsync(d), 0);
	assert_int_equal(nm_ring_space(rx(d)), 5);
	rx(d)->head = rx(d)->cur = 5;
	rx(d)->flags = NR_TIMESTAMP;
	fake.ktoa[1].kern_need_kick = 1;
	assert_int_equal(nmport_rxsync(d), 0);
	assert_int_equal(fake.atok[1].head, 5);
	assert_int_equal(fake_kicks(&fake, 1), 1);
	assert_true(rx(d)->ts.tv_sec > 0);
	/* What is to be forwarded doesn't wait until netmapd wakes up for something else. */
	fake.ktoa[1].kern_need_kick = 0;
	fake.ktoa[1].hwtail = 7;
	assert_int_equal(nmport_rxsync(d), 0);
	rx(d)->head = rx(d)->cur = 6;
	assert_int_equal(nmport_rxsync(d), 0);
	assert_int_equal(fake_kicks(&fake, 1), 0);
	rx(d)->flags = NR_FORWARD;
	assert_int_equal(nmport_rxsync(d), 0);
	assert_int_equal(fake_kicks(&fake, 1), 0); /* nothing was given back */
	rx(d)->head = rx(d)->cur = 7;
	assert_int_equal(nmport_rxsync(d), 0);
	assert_int_equal(fake_kicks(&fake, 1), 1);
	fake.ktoa[1].hwtail = FAKE_SLOTS;
	assert_int_equal(nmport_rxsync(d), -1);
	assert_int_equal(errno, ENXIO);
	assert_int_equal(rx(d)->tail, 7);
	nmport_close(d);
	d = nmport_new();
	assert_int_equal(nmport_rxsync(d), -1);
	assert_int_equal(errno, EINVAL);
	nmport_delete(d);
}

static void test_inject(void **state)
{
	struct nmport_d *d = must_open("vale1:a");
	static char packet[5000];

	(void)state;
	memset(packet, 'p', sizeof(packet));
	assert_int_equal(nmport_inject(d, packet, sizeof(packet)), sizeof(packet));
	assert_int_equal(tx(d)->head, 3);
	assert_int_equal(tx(d)->slot[0].flags, NS_MOREFRAG);
	assert_int_equal(tx(d)->slot[2].flags, 0);
	assert_int_equal(tx(d)->slot[2].len, 5000 - 2 * 2048);
	assert_int_equal(nmport_inject(d, packet, sizeof(packet)), sizeof(packet));
	assert_int_equal(nmport_inject(d, packet, sizeof(packet)), 0);
	assert_int_equal(tx(d)->head, 6);
	nmport_close(d);
}

/* ---- poll ----------------------------------------------------------------------------- */

static void test_poll_at_once(void **state)
{
	struct nmport_d *d = must_open("vale1:a");

	(void)state;
	tx(d)->head = tx(d)->cur = 2;
	assert_int_equal(nmport_poll(d, POLLIN, 0), 0);
	assert_int_equal(fake.atok[0].head, 2); /* tx is synced always */
	assert_int_equal(nmport_poll(d, POLLIN | POLLOUT, 0), POLLOUT);
	tx(d)->cur = FAKE_SLOTS - 1;
	assert_int_equal(nmport_poll(d, POLLOUT, 0), 0); /* cur says: not before tail moves */
	fake.ktoa[1].hwtail = 1;
	assert_int_equal(nmport_poll(d, POLLOUT, 0), 0);
	assert_int_equal(rx(d)->tail, 0); /* rx is synced for POLLIN */
	assert_int_equal(nmport_poll(d, POLLIN, -1), POLLIN);
	assert_int_equal(rx(d)->tail, 1);
	nmport_close(d);

	d = nmport_prepare("vale1:a");
	d->reg.nr_flags |= NR_NO_TX_POLL | NR_DO_RX_POLL;
	assert_int_equal(nmport_open_desc(d), 0);
	tx(d)->head = tx(d)->cur = 2;
	fake.ktoa[1].hwtail = 1;
	assert_int_equal(nmport_poll(d, POLLIN, 0), POLLIN);
	assert_int_equal(fake.atok[0].head, 0);
	fake.ktoa[1].hwtail = 2;
	assert_int_equal(nmport_poll(d, POLLOUT, 0), POLLOUT);
	assert_int_equal(fake.atok[0].head, 2);
	assert_int_equal(rx(d)->tail, 2);
	nmport_close(d);
}

static void test_poll_timeout(void **state)
{
	struct nmport_d *d = must_open("vale1:a");
	double begin = now();

	(void)state;
	assert_int_equal(nmport_poll(d, POLLIN, 50), 0);
	assert_true(now() - begin >= 0.05);
	assert_int_equal(fake.atok[1].appl_need_kick, 0);
	nmport_close(d);
}

/* Waits until the ring asks for an interrupt, moves hwtail, interrupts. */
static void *engine(void *arg)
{
	unsigned int ring = *(unsigned int *)arg;
	uint64_t one = 1;

	while (!__atomic_load_n(&fake.atok[ring].appl_need_kick, __ATOMIC_SEQ_CST))
		usleep(1000);
	usleep(20000);
	/* A spare interrupt wakes nobody who has nothing to do. */
	if (write(fake.irq[ring], &one, sizeof(one)) != sizeof(one))
		return NULL;
	usleep(20000);
	__atomic_store_n(&fake.ktoa[ring].hwtail, 2, __ATOMIC_SEQ_CST);
	return write(fake.irq[ring], &one, sizeof(one)) == sizeof(one) ? arg : NULL;
}

static void poll_wakes(unsigned int ring, short event)
{
	struct nmport_d *d = must_open("vale1:a");
	pthread_t thread;
	void *ok;

	tx(d)->head = tx(d)->cur = FAKE_SLOTS - 1; /* full */
	assert_int_equal(pthread_create(&thread, NULL, engine, &ring), 0);
	assert_int_equal(nmport_poll(d, event, 20000), event);
	pthread_join(thread, &ok);
	assert_non_null(ok);
	assert_int_equal(ring ? rx(d)->tail : tx(d)->tail, 2);
	assert_int_equal(fake.atok[ring].appl_need_kick, 0);
	nmport_close(d);
}

static void test_poll_rx_wakes(void **state)
{
	(void)state;
	poll_wakes(1, POLLIN);
}

static void test_poll_tx_wakes(void **state)
{
	(void)state;
	poll_wakes(0, POLLOUT);
}

enum { ROUNDS = 100000 };

/* Gives packets at a pace of its own as long as there is room, and interrupts only when asked
 * to: store hwtail, full barrier, look at appl_need_kick. */
static void *stream(void *arg)
{
	uint32_t tail = 0, next;
	uint64_t one = 1;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		next = (tail + 1) % FAKE_SLOTS;
		while (__atomic_load_n(&fake.atok[1].head, __ATOMIC_SEQ_CST) == next)
			;
		for (volatile uint32_t spin = 0; spin < i * 7 % 500; spin++)
			;
		tail = next;
		__atomic_store_n(&fake.ktoa[1].hwtail, tail, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&fake.atok[1].appl_need_kick, __ATOMIC_SEQ_CST) &&
			write(fake.irq[1], &one, sizeof(one)) != sizeof(one))
			return NULL;
	}
	return arg;
}

static void test_poll_no_lost_wakeup(void **state)
{
	struct nmport_d *d = must_open("vale1:a");
	uint32_t got = 0, n;
	pthread_t thread;
	double begin;
	void *ok;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, stream, d), 0);
	while (got < ROUNDS) {
		begin = now();
		assert_int_equal(nmport_poll(d, POLLIN, 20000), POLLIN);
		assert_true(now() - begin < 15); /* not only at the end of the time */
		n = nm_ring_space(rx(d));
		assert_in_range(n, 1, FAKE_SLOTS - 1);
		got += n;
		rx(d)->head = rx(d)->cur = rx(d)->tail;
	}
	pthread_join(thread, &ok);
	assert_non_null(ok);
	nmport_close(d);
}

static void *hang_up(void *arg)
{
	while (!__atomic_load_n(&fake.atok[1].appl_need_kick, __ATOMIC_SEQ_CST))
		usleep(1000);
	fake_hang_up(&fake);
	return arg;
}

static void test_poll_gone(void **state)
{
	struct nmport_d *d = must_open("vale1:a");
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, hang_up, NULL), 0);
	assert_int_equal(nmport_poll(d, POLLIN, 20000), POLLERR | POLLHUP);
	pthread_join(thread, NULL);
	nmport_close(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(open),
		TEST(no_leak),
		TEST(refused),
		TEST(nobody_there),
		TEST(request),
		TEST(options),
		TEST(shared_mapping),
		TEST(txsync),
		TEST(illegal),
		TEST(rxsync),
		TEST(inject),
		TEST(poll_at_once),
		TEST(poll_timeout),
		TEST(poll_rx_wakes),
		TEST(poll_tx_wakes),
		TEST(poll_no_lost_wakeup),
		TEST(poll_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
