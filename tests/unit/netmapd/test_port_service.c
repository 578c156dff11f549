/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The service of a port with a real worker: its states, what a suspend and a stop take with them, eventfds
 * that come and go. Two ports of a switch; what one sends the other receives.
 */
#include "daemon.h"
#include "loop.h"
#include "notify.h"
#include "os_user.h"
#include "port_service.h"
#include "testutil.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* A test is the only user of its core. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

enum { SLOTS = 64, RINGS = 2, TX = 0, RX = 1, SECOND_MS = 1000 };

struct end {
	struct nm_client client;
	struct port_service *service;
	struct nm_csb_atok atoks[2][RINGS], *atok; /* in use: one of the two places */
	struct nm_csb_ktoa ktoas[2][RINGS], *ktoa;
	int irq; /* of the tx ring */
};

static struct daemon d;
static struct end a, b;
static int fds_before, epoll_error, stopped;

int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	if (op == EPOLL_CTL_ADD && epoll_error) {
		errno = epoll_error;
		return -1;
	}
	return __real_epoll_ctl(epfd, op, fd, event);
}

static void open_end(struct end *e, const char *name)
{
	const struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC, .num_slots = {SLOTS, SLOTS}, .num_rings = {1, 1}};
	struct nm_error err;

	memset(e, 0, sizeof(*e));
	e->atok = e->atoks[0];
	e->ktoa = e->ktoas[0];
	nm_client_init(&e->client, &d.core);
	assert_int_equal(nm_client_bind(&e->client, name, &bind), 0);
	e->service = port_service_open(&d, &e->client, &err);
	assert_non_null(e->service);
	e->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	port_service_set_irq(e->service, TX, e->irq);
}

static void close_end(struct end *e)
{
	port_service_close(e->service);
	close(e->irq);
	nm_client_unbind(&e->client);
}

static int setup(void **state)
{
	struct worker_config config = {.poll_us = 0, .cpu = -1};

	fds_before = count_fds(0);
	epoll_error = 0;
	stopped = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	memset(&d, 0, sizeof(d));
	assert_int_equal(notify_init(), 0);
	assert_int_equal(nm_core_init(&d.core), 0);
	assert_int_equal(loop_new(&d.loop), 0);
	d.config.workers = 1;
	config.stopped = stopped;
	config.loop = d.loop;
	d.workers[0] = worker_new(&config);
	assert_non_null(d.workers[0]);
	open_end(&a, "vale0:a");
	open_end(&b, "vale0:b");
	return 0;
}

static int teardown(void **state)
{
	close_end(&a);
	close_end(&b);
	worker_free(d.workers[0]);
	loop_free(d.loop);
	close(stopped);
	notify_exit();
	nm_core_destroy(&d.core);
	assert_int_equal(count_fds(0), fds_before);
	return 0;
}

static int start(struct end *e)
{
	return port_service_start(e->service, e->atok, e->ktoa);
}

/* In the other place. */
static void resume(struct end *e)
{
	const int to = e->atok == e->atoks[0];

	memcpy(e->atoks[to], e->atoks[!to], sizeof(e->atoks[0]));
	memcpy(e->ktoas[to], e->ktoas[!to], sizeof(e->ktoas[0]));
	if (port_service_state(e->service) == PORT_SUSPENDED) {
		e->atok = e->atoks[to];
		e->ktoa = e->ktoas[to];
	}
	port_service_resume(e->service, e->atoks[to], e->ktoas[to]);
}

/* One packet more in the tx ring, and not a word about it. */
static void publish(struct end *e)
{
	const struct nm_ring *ring = nm_client_ring(&e->client, NM_TX, 0);
	struct nm_csb_atok *atok = &e->atok[TX];
	uint32_t head = OS_LOAD(&atok->head);
	struct netmap_slot *slot = &ring->slots[head];

	slot->len = 60;
	memset(nm_region_object(ring->region, NM_POOL_BUF, slot->buf_idx), 0xff, 60);
	head = nm_ring_advance(head, 1, SLOTS);
	OS_STORE(&atok->cur, head);
	OS_STORE(&atok->head, head);
}

static void wait_for(const uint32_t *value, uint32_t wanted)
{
	for (int ms = 0; OS_LOAD(value) != wanted; ms++) {
		assert_true(ms < 10 * SECOND_MS);
		usleep(1000);
	}
}

static bool signalled(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count);
}

/* ---- states ----------------------------------------------------------------------------- */

static void bring_to(struct end *e, enum port_service_state state)
{
	port_service_stop(e->service);
	if (state != PORT_STOPPED)
		assert_int_equal(start(e), 0);
	if (state == PORT_SUSPENDED)
		port_service_suspend(e->service);
	assert_int_equal(port_service_state(e->service), state);
}

/* Each operation in each state, as the header's table has it. */
static void test_table(void **state)
{
	static const struct {
		const char *what;
		int error[3];
		enum port_service_state then[3];
	} table[] = {
		{"start", {0, -EBUSY, -EBUSY}, {PORT_RUNNING, PORT_RUNNING, PORT_SUSPENDED}},
		{"suspend", {0}, {PORT_STOPPED, PORT_SUSPENDED, PORT_SUSPENDED}},
		{"resume", {0}, {PORT_STOPPED, PORT_RUNNING, PORT_RUNNING}},
		{"stop", {0}, {PORT_STOPPED, PORT_STOPPED, PORT_STOPPED}},
		{"reset", {0}, {PORT_STOPPED, PORT_STOPPED, PORT_STOPPED}},
		{"set_hdr_len", {0, -EBUSY, -EBUSY}, {PORT_STOPPED, PORT_RUNNING, PORT_SUSPENDED}},
	};

	for (size_t op = 0; op < sizeof(table) / sizeof(table[0]); op++)
		for (int from = PORT_STOPPED; from <= PORT_SUSPENDED; from++) {
			int error = 0;

			bring_to(&a, (enum port_service_state)from);
			if (op == 0)
				error = start(&a);
			else if (op == 1)
				port_service_suspend(a.service);
			else if (op == 2)
				resume(&a);
			else if (op == 3)
				port_service_stop(a.service);
			else if (op == 4)
				port_service_reset(a.service);
			else
				error = port_service_set_hdr_len(a.service, 12);
			if (error != table[op].error[from] ||
				port_service_state(a.service) != table[op].then[from])
				fail_msg("%s in state %d: error %d, state %d", table[op].what, from,
					error, port_service_state(a.service));
		}
	assert_int_equal(port_service_hdr_len(a.service), 12);
	assert_int_equal(port_service_set_hdr_len(b.service, 11), -EINVAL);
}

/* What was published before a suspend is sent by it, and told; nothing comes twice when it goes on, or stops
 * and starts. */
static void test_suspend_takes_what_was_published(void **state)
{
	assert_int_equal(start(&a), 0);
	assert_int_equal(start(&b), 0);
	for (uint32_t round = 1; round < 200; round++) {
		wait_for(&a.ktoa[TX].kern_need_kick, 1); /* the worker sleeps */
		OS_STORE(&a.atok[TX].appl_need_kick, 1);
		(void)signalled(a.irq);
		publish(&a);
		port_service_suspend(a.service);
		assert_int_equal(a.atok[TX].head, round % SLOTS);
		assert_int_equal(a.ktoa[TX].hwcur, round % SLOTS);
		assert_int_equal(a.ktoa[TX].hwtail, (round + SLOTS - 1) % SLOTS);
		/* By the worker, maybe, which is at it still. */
		assert_int_equal(
			poll(&(struct pollfd){.fd = a.irq, .events = POLLIN}, 1, 10000), 1);
		assert_true(signalled(a.irq));
		if (round % 2) {
			resume(&a);
		} else {
			port_service_stop(a.service);
			assert_int_equal(start(&a), 0);
		}
		assert_int_equal(a.atok[TX].head, round % SLOTS);
		wait_for(&b.ktoa[RX].hwtail, round % SLOTS);
		OS_STORE(&b.atok[RX].cur, round % SLOTS);
		OS_STORE(&b.atok[RX].head, round % SLOTS);
	}
}

/* ---- eventfds --------------------------------------------------------------------------- */

/* The kick of a ring that is served can't be waited for: the ring is served as before. */
static void test_kick_fails(void **state)
{
	int kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const uint64_t one = 1;

	assert_int_equal(start(&a), 0);
	assert_int_equal(start(&b), 0);
	epoll_error = ENOSPC;
	assert_int_equal(port_service_set_kick(a.service, TX, kick), -ENOSPC);
	publish(&a);
	port_service_kick(a.service, TX);
	wait_for(&b.ktoa[RX].hwtail, 1);
	/* Later it can; two rings may have the same. */
	epoll_error = 0;
	assert_int_equal(port_service_set_kick(a.service, TX, kick), 0);
	assert_int_equal(port_service_set_kick(a.service, RX, kick), 0);
	publish(&a);
	assert_int_equal(write(kick, &one, sizeof(one)), sizeof(one));
	wait_for(&b.ktoa[RX].hwtail, 2);
	port_service_close(a.service);
	close(kick);
	nm_client_unbind(&a.client);
	close(a.irq);
	open_end(&a, "vale0:a");
}

static uint64_t sleeps(void)
{
	struct worker_stats stats;
	uint64_t sum = 0;

	for (unsigned i = 0; i < d.config.workers; i++) {
		worker_stats(d.workers[i], &stats);
		sum += stats.sleeps;
	}
	return sum;
}

/* The workers have gone to sleep, as far as can be seen. */
static void let_it_sleep(void)
{
	uint64_t before, now = sleeps();

	do {
		before = now;
		usleep(2000);
		now = sleeps();
	} while (now != before);
}

/* What has come over the socket, and be it read by another thread already, wakes the worker; when it was published after
 * that, port_service_kick() does. Without a socket, or when it can't be waited for, that alone. */
static void test_kicks_from_a_socket(void **state)
{
	char byte = 0;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	port_service_set_socket(a.service, ends[0]);
	assert_int_equal(start(&a), 0);
	assert_int_equal(start(&b), 0);
	for (uint32_t n = 1; n < SLOTS; n++) {
		bool told = n % 3 == 0;

		OS_STORE(&b.atok[RX].head, n - 1);
		OS_STORE(&b.atok[RX].cur, n - 1);
		if (!told)
			publish(&a);
		assert_int_equal(write(ends[1], &byte, 1), 1);
		if (n % 2)
			assert_int_equal(read(ends[0], &byte, 1), 1);
		if (told) {
			let_it_sleep();
			publish(&a);
			port_service_kick(a.service, TX);
		}
		wait_for(&b.ktoa[RX].hwtail, n);
		if (n % 10 == 0) {
			port_service_suspend(a.service);
			resume(&a);
		}
	}
	port_service_set_socket(a.service, -1);
	close(ends[0]);
	close(ends[1]);
	publish(&a);
	port_service_kick(a.service, TX);
	wait_for(&b.ktoa[RX].hwtail, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	epoll_error = ENOSPC;
	port_service_set_socket(a.service, ends[0]);
	publish(&a);
	port_service_kick(a.service, TX);
	wait_for(&b.ktoa[RX].hwtail, 1);
	port_service_set_socket(a.service, -1);
	close(ends[0]);
	close(ends[1]);
}

static void place_all(void)
{
	int waits = 1;

	for (d.move++; !port_services_place(&d, true, &waits);)
		waits = 1;
}

/* Ports whose rings stay take their share of a turn, too: rules are compared with their names. */
static void test_ports_that_stay_are_counted(void **state)
{
	struct port_service *more[14];
	struct nm_error err;
	int turns = 1, waits = 1;

	for (int i = 0; i < 14; i++)
		assert_non_null(more[i] = port_service_open(&d, &a.client, &err));
	for (d.move++; !port_services_place(&d, false, &waits); turns++)
		waits = 1;
	assert_int_equal(turns, 3); /* 8 and 8, the last of which may not have been the last one */
	for (int i = 0; i < 14; i++)
		port_service_close(more[i]);
}

/* Whichever worker has the rings now waits for the socket. */
static void test_kicks_follow_the_rings(void **state)
{
	struct worker_config config = {.poll_us = 0, .cpu = -1, .stopped = -1, .number = 1};
	int ends[2];

	d.workers[1] = worker_new(&config);
	assert_non_null(d.workers[1]);
	d.config.workers = 2;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	port_service_set_socket(a.service, ends[0]);
	assert_int_equal(start(&a), 0);
	assert_int_equal(start(&b), 0);
	for (uint32_t n = 1; n <= 8; n++) {
		d.next_worker = n;
		place_all();
		let_it_sleep();
		publish(&a);
		assert_int_equal(write(ends[1], "", 1), 1);
		wait_for(&b.ktoa[RX].hwtail, n);
	}
	port_service_set_socket(a.service, -1);
	close(ends[0]);
	close(ends[1]);
	d.config.workers = 1;
	place_all();
	worker_free(d.workers[1]);
}

/* ---- what a wait costs -------------------------------------------------------------------- */

static bool
	in_round; /* the worker is in a round that ends once the control thread waits for that */

/* The control thread, the first of this process, spins but for its wait. */
static bool control_thread_waits(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/stat", "r");
	bool waits = f && fgets(line, sizeof(line), f) && strstr(line, ") S ");

	if (f)
		fclose(f);
	return waits;
}

static int work_while_it_waits(struct nm_ring *ring)
{
	if (OS_LOAD(&in_round))
		return 0;
	OS_STORE(&in_round, true);
	while (!control_thread_waits())
		;
	use_cpu(LOOP_BURST_US + 5000);
	return 0;
}

static void wait_in_turn(void *arg, uint32_t events)
{
	publish(&a);
	port_service_kick(a.service, TX);
	while (!OS_LOAD(&in_round))
		;
	worker_barrier(d.workers[0]);
}

/* Who makes the control thread wait for a long round rests afterwards, as if it had done the work itself. */
static void test_waits_are_paid_for(void **state)
{
	const struct nm_port_ops *ops = a.client.port->ops;
	struct nm_port_ops slow = *ops;
	struct loop_handle *handle;
	struct loop_stats stats;
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	slow.txsync = work_while_it_waits;
	a.client.port->ops = &slow;
	assert_int_equal(start(&a), 0);
	assert_int_equal(loop_add(d.loop, fd, EPOLLIN, wait_in_turn, NULL, &handle), 0);
	assert_int_equal(loop_run_once(d.loop, -1), 1);
	loop_del(d.loop, handle);
	close(fd);
	port_service_stop(a.service);
	a.client.port->ops = ops;
	loop_stats(d.loop, &stats);
	assert_int_equal(stats.rests, 1);
	assert_true(stats.most_us >= LOOP_BURST_US + 5000);
}

static void send_one(uint32_t nth)
{
	OS_STORE(&a.atok[TX].appl_need_kick, 1);
	publish(&a);
	port_service_kick(a.service, TX);
	wait_for(&b.ktoa[RX].hwtail, nth);
	port_service_sync_irqs(a.service); /* the round that moved it is over */
}

/* Masked, unmasked, replaced while the ring is served. */
static void test_irq_changes(void **state)
{
	int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(start(&a), 0);
	assert_int_equal(start(&b), 0);
	send_one(1);
	assert_true(signalled(a.irq));
	port_service_set_irq(a.service, TX, -1);
	send_one(2);
	assert_false(signalled(a.irq));
	port_service_set_irq(a.service, TX, other);
	send_one(3);
	assert_true(signalled(other));
	assert_false(signalled(a.irq));
	port_service_set_irq(a.service, TX, -1);
	port_service_sync_irqs(a.service);
	close(other);
	send_one(4);
}

/* What os_log() writes until say_aloud(). */
static int listen_to_log(int *saved)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	*saved = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	return ends[0];
}

static void say_aloud(int *saved)
{
	dup2(*saved, STDERR_FILENO);
	close(*saved);
}

/* The worker says only that there is something; why is told once, by who asks. */
static void test_stopped_rings_are_told(void **state)
{
	struct pollfd fd = {.fd = stopped, .events = POLLIN};
	int saved, log = listen_to_log(&saved);
	char text[4096] = "";
	ssize_t n;

	log_setup("test", OS_LOG_INFO);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(start(&a), 0);
		OS_STORE(&a.atok[TX].head, SLOTS);
		port_service_kick(a.service, TX);
		assert_int_equal(poll(&fd, 1, 10 * SECOND_MS), 1);
		assert_int_equal(read(log, text, sizeof(text)), -1);
		assert_true(signalled(stopped));
		port_services_tell(&d);
		n = read(log, text, sizeof(text) - 1);
		port_services_tell(&d);
		port_service_stop(a.service);
		assert_int_equal(read(log, text + n, sizeof(text) - 1), -1);
		assert_false(signalled(stopped));
		text[n > 0 ? n : 0] = '\0';
		assert_non_null(strstr(text, "vale0:a: tx ring 0 stopped"));
		assert_non_null(strstr(text, "head 64"));
	}
	say_aloud(&saved);
	close(log);
}

/* Rings that the port does not have. */
static void test_bad_kicks(void **state)
{
	struct port_service_stats stats;

	port_service_kick(a.service, RINGS);
	port_service_kick(a.service, UINT32_MAX);
	port_service_stats(a.service, &stats);
	assert_int_equal(stats.bad_kicks, 2);
}

/* Empty rings again, and usable ones. */
static void test_reset(void **state)
{
	assert_int_equal(start(&a), 0);
	assert_int_equal(start(&b), 0);
	send_one(1);
	port_service_reset(b.service);
	port_service_reset(a.service);
	assert_int_equal(start(&a), 0);
	assert_int_equal(start(&b), 0);
	assert_int_equal(a.atok[TX].head, 0);
	assert_int_equal(a.ktoa[TX].hwtail, SLOTS - 1);
	assert_int_equal(b.ktoa[RX].hwtail, 0);
	send_one(1);
}

static uint64_t entries(void)
{
	static uint64_t before;
	struct worker_stats stats;
	uint64_t since;

	worker_stats(d.workers[0], &stats);
	since = stats.entries - before - 1; /* without this one */
	before = stats.entries;
	return since;
}

/* Each step of a service waits for its worker once, however many rings it has there. */
static void one_wait_for_all_rings(void **state)
{
	(void)entries();
	assert_int_equal(start(&a), 0);
	assert_int_equal(entries(), 1);
	port_service_sync_irqs(a.service);
	assert_int_equal(entries(), 1);
	port_service_suspend(a.service);
	assert_int_equal(entries(), 1);
	resume(&a);
	assert_int_equal(entries(), 1);
	port_service_stop(a.service);
	assert_int_equal(entries(), 1);
	port_service_sync_irqs(a.service);
	port_service_stop(a.service);
	assert_int_equal(entries(), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_table),
		TEST(test_suspend_takes_what_was_published),
		TEST(test_kick_fails),
		TEST(test_kicks_from_a_socket),
		TEST(test_ports_that_stay_are_counted),
		TEST(test_kicks_follow_the_rings),
		TEST(test_waits_are_paid_for),
		TEST(test_irq_changes),
		TEST(test_stopped_rings_are_told),
		TEST(test_bad_kicks),
		TEST(test_reset),
		cmocka_unit_test_setup_teardown(one_wait_for_all_rings, setup, teardown),
	};

	return cmocka_run_group_tests_name("port_service", tests, NULL, NULL);
}
