/* SPDX-License-Identifier: BSD-2-Clause */
/* A program that waits for ports by their descriptors, under netmap-run or linked with libnetmap: poll, select,
 * epoll, threads, processes, signals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run_port.h"

/* ---- waiting -------------------------------------------------------------------------- */

/* Ways to wait for packets: return when there are some. */

static void by_poll(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(p.revents, POLLIN);
}

static void by_ppoll(int fd)
{
	struct pollfd p[2] = {{.fd = -1, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	struct timespec limit = {.tv_sec = PATIENCE_MS / 1000};
	sigset_t none;

	sigemptyset(&none);
	assert_int_equal(ppoll(p, 2, &limit, &none), 1);
	assert_int_equal(p[1].revents, POLLIN);
}

static void by_select(int fd)
{
	struct timeval limit = {.tv_sec = PATIENCE_MS / 1000};
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(fd, &in);
	assert_int_equal(select(fd + 1, &in, &out, NULL, &limit), 1);
	assert_true(FD_ISSET(fd, &in));
	assert_true(limit.tv_sec >= 0 && limit.tv_sec <= PATIENCE_MS / 1000);
}

static void by_pselect(int fd)
{
	fd_set in;

	FD_ZERO(&in);
	FD_SET(fd, &in);
	assert_int_equal(pselect(fd + 1, &in, NULL, NULL, NULL, NULL), 1);
	assert_true(FD_ISSET(fd, &in));
}

static void by_epoll_mode(int fd, uint32_t flags)
{
	struct epoll_event event = {.events = EPOLLIN | flags, .data.u64 = 0x1234567890};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event), 0);
	memset(&event, 0, sizeof(event));
	assert_int_equal(epoll_wait(ep, &event, 1, PATIENCE_MS), 1);
	assert_int_equal(event.events, EPOLLIN);
	assert_int_equal(event.data.u64, 0x1234567890);
	close(ep);
}

static void by_epoll(int fd)
{
	by_epoll_mode(fd, 0);
}

static void by_edge(int fd)
{
	by_epoll_mode(fd, EPOLLET);
}

static void by_spinning(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	double end = now() + PATIENCE_MS / 1000.0;

	while (poll(&p, 1, 0) == 0)
		assert_true(now() < end);
}

static void by_ioctl(int fd)
{
	assert_int_equal(ioctl(fd, NIOCRXSYNC), 0);
}

static void (*const ways[])(int fd) = {
	by_poll, by_ppoll, by_select, by_pselect, by_epoll, by_edge, by_spinning, by_ioctl};

enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

static uint32_t receive(struct port *p, void (*way)(int fd))
{
	while (nm_ring_empty(p->rx))
		way(p->fd);
	return take(p);
}

struct echo {
	struct port *port;
	unsigned int rounds, way;
};

/* Sends everything back, waiting in another way each time. */
static void *echo(void *arg)
{
	struct echo *e = arg;

	for (unsigned int i = 0; i < e->rounds; i++) {
		put(e->port, receive(e->port, ways[(e->way + i) % WAYS]) + 1);
		if (ioctl(e->port->fd, NIOCTXSYNC) < 0)
			return NULL;
	}
	return arg;
}

static void ping(struct port *p, unsigned int rounds)
{
	for (unsigned int i = 0; i < rounds; i++) {
		put(p, i * 10);
		assert_int_equal(ioctl(p->fd, NIOCTXSYNC), 0);
		assert_int_equal(receive(p, ways[i / WAYS % WAYS]), i * 10 + 1);
	}
}

static void test_threads(void **state)
{
	struct port a = {0}, b = {0}, c = {0}, d = {0};
	struct echo e[2] = {{&b, ROUNDS, 0}, {&d, ROUNDS, 3}};
	pthread_t thread[2];
	void *ok;

	(void)state;
	open_port(&a, "vale5:a");
	open_port(&b, "vale5:b");
	open_port(&c, "vale6:c");
	open_port(&d, "vale6:d");
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, echo, &e[i]), 0);
	ping(&a, ROUNDS);
	ping(&c, ROUNDS);
	for (int i = 0; i < 2; i++) {
		pthread_join(thread[i], &ok);
		assert_non_null(ok);
	}
	close_port(&a);
	close_port(&b);
	close_port(&c);
	close_port(&d);
}

static void test_fork(void **state)
{
	struct port a = {0}, b = {0}, c = {.reg.nr_flags = NR_EXCLUSIVE};
	struct echo e = {&b, ROUNDS, 0};
	int status, up[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(up), 0);
	open_port(&a, "vale5:a");
	open_port(&b, "vale5:b");
	pid = fork();
	if (pid == 0) {
		close(a.fd);
		_exit(echo(&e) ? 0 : 1);
	}
	ping(&a, ROUNDS);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	/* The parent goes on where the child has stopped: the state is common. */
	put(&a, 5);
	assert_int_equal(ioctl(a.fd, NIOCTXSYNC), 0);
	b.rx->head = b.rx->cur = b.rx->tail;
	assert_int_equal(receive(&b, by_poll), 5);
	/* The port lives as long as one process has it. */
	pid = fork();
	if (pid == 0) {
		close(a.fd);
		close(up[1]);
		_exit(read(up[0], &byte, 1) == 1 ? 0 : 1);
	}
	close_port(&b);
	assert_int_equal(try_port(&c, "vale5:b"), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(write(up[1], "x", 1), 1);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	for (int i = 0; try_port(&c, "vale5:b") < 0; i++) {
		assert_true(i < 1000);
		usleep(10000);
	}
	close_port(&a);
	close_port(&c);
	close(up[0]);
	close(up[1]);
}

/* Threads wait for the same file: all are woken, and not just in time to find the event at the
 * end of their patience. */
static void *wait_in(void *arg)
{
	struct port *p = arg;
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
	double begin = now();

	if (poll(&pfd, 1, PATIENCE_MS) != 1 || pfd.revents != POLLIN)
		return NULL;
	return now() - begin < PATIENCE_MS / 1000.0 ? arg : NULL;
}

static void test_shared_file(void **state)
{
	struct port a = {0}, b = {0};
	pthread_t thread[3];
	void *ok;

	(void)state;
	open_port(&a, "vale5:a");
	open_port(&b, "vale5:b");
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 3; i++)
			assert_int_equal(pthread_create(&thread[i], NULL, wait_in, &b), 0);
		usleep(round * 1000);
		put(&a, 1);
		assert_int_equal(ioctl(a.fd, NIOCTXSYNC), 0);
		for (int i = 0; i < 3; i++) {
			pthread_join(thread[i], &ok);
			assert_non_null(ok);
		}
		take(&b);
		assert_int_equal(ioctl(b.fd, NIOCRXSYNC), 0);
	}
	close_port(&a);
	close_port(&b);
}

/* ---- mixed sets, limits and signals ---------------------------------------------------- */

static void test_mixed(void **state)
{
	struct port a = {0}, b = {0};
	int pipefd[2];
	struct pollfd p[3];
	fd_set in, out, ex;
	double begin;

	(void)state;
	open_port(&a, "vale5:a");
	open_port(&b, "vale5:b");
	assert_int_equal(pipe(pipefd), 0);
	p[0] = (struct pollfd){.fd = pipefd[0], .events = POLLIN};
	p[1] = (struct pollfd){.fd = b.fd, .events = POLLIN};
	p[2] = (struct pollfd){.fd = pipefd[1], .events = 0};
	begin = now();
	assert_int_equal(poll(p, 3, 50), 0);
	assert_true(now() - begin >= 0.05 && now() - begin < 5);
	assert_int_equal(write(pipefd[1], "x", 1), 1);
	assert_int_equal(poll(p, 3, PATIENCE_MS), 1);
	assert_int_equal(p[0].revents, POLLIN);
	assert_int_equal(p[1].revents, 0);
	put(&a, 1);
	assert_int_equal(poll(&(struct pollfd){.fd = a.fd, .events = 0}, 1, 0), 0); /* sends */
	while (poll(p, 3, PATIENCE_MS) < 2)
		;
	assert_int_equal(p[1].revents, POLLIN);
	p[2].fd = 4000;
	assert_int_equal(poll(p, 3, 0), 3);
	assert_int_equal(p[2].revents, POLLNVAL);

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&ex);
	FD_SET(pipefd[0], &in);
	FD_SET(b.fd, &in);
	FD_SET(b.fd, &out);
	FD_SET(b.fd, &ex);
	assert_int_equal(select(900, &in, &out, &ex, NULL), 3);
	assert_true(FD_ISSET(pipefd[0], &in) && FD_ISSET(b.fd, &in) && FD_ISSET(b.fd, &out));
	assert_false(FD_ISSET(b.fd, &ex));
	FD_SET(899, &in);
	assert_int_equal(select(900, &in, NULL, NULL, NULL), -1);
	assert_int_equal(errno, EBADF);
	close(pipefd[0]);
	close(pipefd[1]);
	close_port(&a);
	close_port(&b);
}

static void on_signal(int number)
{
	(void)number;
}

static bool interrupted;

/* Until the main thread says so: what comes before it waits interrupts nothing. */
static void *signal_soon(void *arg)
{
	while (!__atomic_load_n(&interrupted, __ATOMIC_ACQUIRE)) {
		usleep(50000);
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
	}
	return NULL;
}

static void start_signals(pthread_t *thread, pthread_t *self)
{
	interrupted = false;
	pthread_create(thread, NULL, signal_soon, self);
}

static void end_signals(pthread_t thread)
{
	__atomic_store_n(&interrupted, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
}

static void test_signal(void **state)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct port a = {0};
	struct pollfd p;
	struct epoll_event event = {.events = EPOLLIN};
	pthread_t self = pthread_self(), thread;
	sigset_t blocked, old;
	int ep = epoll_create1(0);

	(void)state;
	open_port(&a, "vale5:a");
	sigaction(SIGUSR1, &action, NULL);
	p = (struct pollfd){.fd = a.fd, .events = POLLIN};
	start_signals(&thread, &self);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), -1);
	assert_int_equal(errno, EINTR);
	end_signals(thread);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, a.fd, &event), 0);
	start_signals(&thread, &self);
	assert_int_equal(epoll_wait(ep, &event, 1, PATIENCE_MS), -1);
	assert_int_equal(errno, EINTR);
	end_signals(thread);
	/* Blocked but for the time of ppoll(). */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &blocked, &old);
	pthread_kill(self, SIGUSR1);
	assert_int_equal(poll(&p, 1, 10), 0);
	assert_int_equal(ppoll(&p, 1, NULL, &old), -1);
	assert_int_equal(errno, EINTR);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(ep);
	close_port(&a);
}

static void test_epoll(void **state)
{
	struct port a = {0}, b = {0};
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1}, got[4];
	int ep = epoll_create1(0), other = eventfd(0, EFD_NONBLOCK);

	(void)state;
	open_port(&a, "vale5:a");
	open_port(&b, "vale5:b");
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_MOD, b.fd, &event), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, b.fd, &event), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, b.fd, &event), -1);
	assert_int_equal(errno, EEXIST);
	event.data.u32 = 2;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, other, &event), 0);
	assert_int_equal(epoll_wait(ep, got, 4, 20), 0);
	eventfd_write(other, 1);
	assert_int_equal(epoll_wait(ep, got, 4, PATIENCE_MS), 1);
	assert_int_equal(got[0].data.u32, 2);
	put(&a, 1);
	ioctl(a.fd, NIOCTXSYNC);
	while (epoll_wait(ep, got, 4, PATIENCE_MS) < 2)
		;
	/* A level is reported as long as it holds, an edge once, a oneshot once. */
	eventfd_write(other, -1);
	(void)!read(other, got, 8);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(epoll_wait(ep, got, 4, 0), 1);
		assert_int_equal(got[0].data.u32, 1);
	}
	event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.u32 = 3};
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_MOD, b.fd, &event), 0);
	assert_int_equal(epoll_wait(ep, got, 4, 0), 1);
	assert_int_equal(got[0].data.u32, 3);
	assert_int_equal(epoll_wait(ep, got, 4, 30), 0);
	put(&a, 2);
	ioctl(a.fd, NIOCTXSYNC);
	assert_int_equal(epoll_wait(ep, got, 4, PATIENCE_MS), 1);
	event.events = EPOLLIN | EPOLLONESHOT;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_MOD, b.fd, &event), 0);
	assert_int_equal(epoll_wait(ep, got, 4, 0), 1);
	assert_int_equal(epoll_wait(ep, got, 4, 30), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_MOD, b.fd, &event), 0);
	assert_int_equal(epoll_pwait(ep, got, 4, 0, NULL), 1);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_DEL, b.fd, NULL), 0);
	assert_int_equal(epoll_wait(ep, got, 4, 0), 0);
	/* A closed file leaves the set. */
	event.events = EPOLLIN;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, b.fd, &event), 0);
	close_port(&b);
	assert_int_equal(epoll_wait(ep, got, 4, 0), 0);
	close(other);
	close(ep);
	close_port(&a);
}

/* A file comes into a set that a thread waits for already. */
static void *add_later(void *arg)
{
	int *fds = arg;
	struct epoll_event event = {.events = EPOLLOUT, .data.u32 = 9};

	usleep(50000);
	return epoll_ctl(fds[0], EPOLL_CTL_ADD, fds[1], &event) == 0 ? arg : NULL;
}

static void test_epoll_add_later(void **state)
{
	struct port a = {0}, b = {0};
	struct epoll_event got;
	pthread_t thread;
	int fds[2];
	void *ok;

	(void)state;
	open_port(&a, "vale5:a");
	open_port(&b, "vale5:b");
	fds[0] = epoll_create1(0);
	fds[1] = a.fd;
	for (int i = 0; i < 2; i++) {
		pthread_create(&thread, NULL, add_later, fds);
		assert_int_equal(epoll_wait(fds[0], &got, 1, PATIENCE_MS), 1);
		assert_int_equal(got.data.u32, 9);
		pthread_join(thread, &ok);
		assert_non_null(ok);
		/* The first one in wait of nothing; now the set has netmap's files already. */
		got.events = EPOLLIN;
		assert_int_equal(epoll_ctl(fds[0], EPOLL_CTL_MOD, a.fd, &got), 0);
		fds[1] = b.fd;
	}
	close(fds[0]);
	close_port(&a);
	close_port(&b);
}

/* ---- everything at once ------------------------------------------------------------------- */

enum { PLACES = 6, STRESS_THREADS = 4, STRESS_MS = 1500 };

struct stress {
	int place[PLACES]; /* descriptors, atomic; -1: none. Any thread may close any */
	int stop;
	unsigned long registered;
};

static void stress_open(struct stress *s, int i)
{
	bool registered;
	char name[16];
	int fd, old;

	snprintf(name, sizeof(name), "vale8:%d", i);
	fd = open_bare(name, &registered);
	if (fd < 0)
		return;
	if (registered)
		__atomic_add_fetch(&s->registered, 1, __ATOMIC_RELAXED);
	old = __atomic_exchange_n(&s->place[i], fd, __ATOMIC_ACQ_REL);
	if (old >= 0)
		close(old);
}

static void stress_epoll(int fd, int other)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	epoll_ctl(ep, EPOLL_CTL_ADD, other, &event);
	epoll_wait(ep, &event, 1, 1);
	close(ep);
}

static void stress_fork(int fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		ioctl(fd, NIOCTXSYNC);
		close(fd);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* Errors are expected: descriptors are closed by others at any moment. */
static void stress_step(struct stress *s, unsigned int *seed)
{
	int i = rand_r(seed) % PLACES, fd = __atomic_load_n(&s->place[i], __ATOMIC_ACQUIRE);
	int other = __atomic_load_n(&s->place[(i + 1) % PLACES], __ATOMIC_ACQUIRE);
	struct pollfd p[2] = {
		{.fd = fd, .events = POLLIN | POLLOUT}, {.fd = other, .events = POLLIN}};

	switch (rand_r(seed) % 64) {
	case 0:
	case 1:
		stress_open(s, i);
		break;
	case 2:
		fd = __atomic_exchange_n(&s->place[i], -1, __ATOMIC_ACQ_REL);
		if (fd >= 0)
			close(fd);
		break;
	case 3:
		stress_epoll(fd, other);
		break;
	case 4:
		if (rand_r(seed) % 16 == 0)
			stress_fork(fd);
		break;
	case 5:
		fd = dup(fd);
		if (fd >= 0)
			close(fd);
		break;
	default:
		ioctl(fd, rand_r(seed) % 2 ? NIOCTXSYNC : NIOCRXSYNC);
		poll(p, 2, rand_r(seed) % 2);
	}
}

static void *stress_thread(void *arg)
{
	struct stress *s = arg;
	unsigned int seed = (unsigned int)gettid();

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED))
		stress_step(s, &seed);
	return NULL;
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_stress(void **state)
{
	struct stress s = {.place = {-1, -1, -1, -1, -1, -1}};
	unsigned int before = open_fds();
	pthread_t thread[STRESS_THREADS];

	(void)state;
	for (int i = 0; i < STRESS_THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, stress_thread, &s), 0);
	usleep(STRESS_MS * 1000);
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < STRESS_THREADS; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < PLACES; i++)
		if (s.place[i] >= 0)
			assert_int_equal(close(s.place[i]), 0);
	assert_true(s.registered > 0);
	assert_int_equal(open_fds(), before);
	/* Nothing keeps a port: each can be had again. */
	for (int i = 0; i < PLACES; i++) {
		struct port p = {0};
		char name[16];

		snprintf(name, sizeof(name), "vale8:%d", i);
		open_port(&p, name);
		close_port(&p);
	}
}

static int tests(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_shared_file),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_epoll),
		cmocka_unit_test(test_epoll_add_later),
		cmocka_unit_test(test_stress),
	};

	return cmocka_run_group_tests(all, NULL, NULL);
}

int main(int argc, char **argv)
{
	return run_main(argc, argv, tests);
}
