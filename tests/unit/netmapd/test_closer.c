/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors whose close() hangs, beside others. A TCP socket with SO_LINGER and unsent data hangs, in whoever closes the
 * last reference, until its peer is gone.
 */
#include "closer.h"
#include "os_user.h"
#include "testutil.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

enum { PATIENCE_MS = 20000, HANGING = 100 };

static int peers[HANGING], num_peers;

/* Not a byte of its data is taken before release_all(). */
static int hanging_fd(void)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 1000};
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(addr);
	static char data[65536];
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &size), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	peers[num_peers] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(peers[num_peers++] >= 0);
	close(listener);
	while (send(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	return fd;
}

/* The peers reset their connections. */
static void release_all(void)
{
	while (num_peers > 0)
		close(peers[--num_peers]);
}

static void nap(void)
{
	const struct timespec step = {.tv_nsec = 1000000};

	nanosleep(&step, NULL);
}

static void wait_for(uint32_t waiting, uint32_t busy)
{
	struct closer_stats stats;

	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		closer_stats(&stats);
		if (stats.waiting == waiting && stats.busy == busy)
			return;
		nap();
	}
	fail_msg("%u wait, %u threads are busy; %u and %u are expected", stats.waiting, stats.busy,
		waiting, busy);
}

/* An end of a pipe for each; the other end tells when it was closed. */
static int watched_fd(int *other)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	*other = fds[0];
	return fds[1];
}

static bool is_closed(int other)
{
	struct pollfd p = {.fd = other};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

static void expect_closed(int other)
{
	struct pollfd p = {.fd = other};

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_true(p.revents & POLLHUP);
	close(other);
}

static int setup(void **state)
{
	assert_int_equal(closer_init(), 0);
	return 0;
}

static int teardown(void **state)
{
	release_all();
	wait_for(0, 0);
	closer_exit();
	return 0;
}

/* One of a queue at a time: what hangs holds up its own queue, and no other one, of whichever user. */
static void what_hangs_holds_up_its_own_queue(void **state)
{
	struct closer_queue *a = closer_queue_new(1), *b = closer_queue_new(1);
	int behind, beside;

	closer_put(a, hanging_fd());
	closer_put(a, watched_fd(&behind));
	wait_for(2, 1);
	closer_put(b, watched_fd(&beside));
	expect_closed(beside);
	wait_for(2, 1);
	assert_false(is_closed(behind));
	release_all();
	expect_closed(behind);
	closer_queue_end(a, -1);
	closer_queue_end(b, -1);
}

/* Those that come together, while one thread is idle, have a thread each. */
static void some_at_once(void **state)
{
	enum { USERS = 8 };

	for (int round = 0; round < 20; round++) {
		struct closer_queue *q[USERS], *first = closer_queue_new(USERS);
		int beside, fds[USERS];

		closer_put(first, watched_fd(&beside));
		expect_closed(beside);
		for (int i = 0; i < USERS; i++) {
			q[i] = closer_queue_new((uid_t)i);
			fds[i] = hanging_fd();
		}
		for (int i = 0; i < USERS; i++)
			closer_put(q[i], fds[i]);
		wait_for(USERS, USERS);
		release_all();
		for (int i = 0; i < USERS; i++)
			closer_queue_end(q[i], -1);
		closer_queue_end(first, -1);
		wait_for(0, 0);
	}
}

/* A hundred of one user's, each in a queue of its own, take the user's threads, and no more. */
static void one_user_takes_no_more_than_its_threads(void **state)
{
	struct closer_queue *q[HANGING], *other = closer_queue_new(2);
	int beside;

	for (int i = 0; i < HANGING; i++) {
		q[i] = closer_queue_new(1);
		closer_put(q[i], hanging_fd());
	}
	wait_for(HANGING, CLOSER_PER_USER);
	closer_put(other, watched_fd(&beside));
	expect_closed(beside);
	wait_for(HANGING, CLOSER_PER_USER);
	release_all();
	wait_for(0, 0);
	for (int i = 0; i < HANGING; i++)
		closer_queue_end(q[i], -1);
	closer_queue_end(other, -1);
}

/* Eight users hang all threads: others wait, and are served as soon as one is free. */
static void all_threads_can_hang(void **state)
{
	enum { USERS = CLOSER_THREADS / CLOSER_PER_USER };
	struct closer_queue *q[CLOSER_THREADS], *other = closer_queue_new(USERS);
	int beside;

	for (int i = 0; i < CLOSER_THREADS; i++) {
		q[i] = closer_queue_new((uid_t)(i % USERS));
		closer_put(q[i], hanging_fd());
	}
	wait_for(CLOSER_THREADS, CLOSER_THREADS);
	closer_put(other, watched_fd(&beside));
	wait_for(CLOSER_THREADS + 1, CLOSER_THREADS);
	assert_false(is_closed(beside));
	close(peers[--num_peers]);
	expect_closed(beside);
	release_all();
	wait_for(0, 0);
	for (int i = 0; i < CLOSER_THREADS; i++)
		closer_queue_end(q[i], -1);
	closer_queue_end(other, -1);
}

/* The connection's own socket comes last; the other side sees the end before. */
static void the_end_of_a_connection(void **state)
{
	struct closer_queue *q = closer_queue_new(1);
	int ends[2];
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	closer_put(q, hanging_fd());
	wait_for(1, 1);
	closer_queue_end(q, ends[0]);
	assert_int_equal(read(ends[1], &byte, 1), 0);
	wait_for(2, 1);
	release_all();
	wait_for(0, 0);
	close(ends[1]);
	closer_turn_away(eventfd(0, EFD_CLOEXEC)); /* what is no socket is closed as well */
}

/* While room for the descriptors of a message is missing nothing is received. */
static void a_full_queue_receives_nothing(void **state)
{
	struct closer_queue *q = closer_queue_new(1);
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	closer_put(q, hanging_fd());
	wait_for(1, 1);
	for (int i = 0; i < CLOSER_QUEUE - CLOSER_MESSAGE - 1; i++) {
		assert_true(closer_may_receive(q, ends[0]));
		closer_put(q, eventfd(0, EFD_CLOEXEC));
	}
	assert_true(closer_may_receive(q, ends[0]));
	closer_put(q, eventfd(0, EFD_CLOEXEC));
	assert_false(closer_may_receive(q, ends[0]));
	release_all();
	wait_for(0, 0);
	assert_true(closer_may_receive(q, ends[0]));
	closer_queue_end(q, ends[0]);
	close(ends[1]);
}

static void send_byte(int sock, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.room = {0}};
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control.room);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
	}
	assert_int_equal(sendmsg(sock, &mh, 0), 1);
}

/* When all that is set aside waits to be closed, messages without descriptors go on. */
static void without_room_plain_messages_go_on(void **state)
{
	enum { QUEUES = 2, EACH = 255 };
	struct closer_queue *q[QUEUES], *other = closer_queue_new(2);
	int plain[2], laden[2];

	assert_int_equal(closer_reserve(CLOSER_FILES_MIN), CLOSER_FILES_MIN / CLOSER_RESERVE_PART);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, plain), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, laden), 0);
	send_byte(plain[1], -1);
	send_byte(laden[1], plain[0]);
	assert_true(closer_may_receive(other, laden[0]));
	for (int i = 0; i < QUEUES; i++) {
		q[i] = closer_queue_new(1);
		closer_put(q[i], hanging_fd());
		for (int n = 1; n < EACH; n++)
			closer_put(q[i], eventfd(0, EFD_CLOEXEC));
	}
	assert_true(closer_may_receive(other, plain[0]));
	assert_false(closer_may_receive(other, laden[0]));
	release_all();
	wait_for(0, 0);
	assert_true(closer_may_receive(other, laden[0]));
	for (int i = 0; i < QUEUES; i++)
		closer_queue_end(q[i], -1);
	closer_queue_end(other, plain[0]);
	close(laden[0]);
	close(laden[1]);
	close(plain[1]);
	closer_reserve(0);
}

/* Also of connections that have ended: whoever has half of what is set aside waits, and others don't. */
static void one_user_leaves_room_for_others(void **state)
{
	enum { QUEUES = 2, EACH = 400, FILES = 4 * CLOSER_FILES_MIN };
	struct closer_queue *q, *same = closer_queue_new(1), *other = closer_queue_new(2);
	int laden[2], something = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(closer_reserve(FILES), FILES / CLOSER_RESERVE_PART);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, laden), 0);
	send_byte(laden[1], something);
	assert_true(closer_may_receive(same, laden[0]));
	for (int i = 0; i < QUEUES; i++) {
		q = closer_queue_new(1);
		closer_put(q, hanging_fd());
		for (int n = 1; n < EACH; n++)
			closer_put(q, eventfd(0, EFD_CLOEXEC));
		closer_queue_end(q, -1);
	}
	assert_false(closer_may_receive(same, laden[0]));
	assert_true(closer_may_receive(other, laden[0]));
	release_all();
	wait_for(0, 0);
	assert_true(closer_may_receive(same, laden[0]));
	closer_queue_end(same, laden[0]);
	closer_queue_end(other, laden[1]);
	close(something);
	closer_reserve(0);
}

/* A process that has enough opens nothing of its own in the part that is set aside. */
static void what_is_set_aside_is_left_free(void **state)
{
	const int reserve = (int)closer_reserve(CLOSER_FILES_MIN),
		  first = CLOSER_FILES_MIN - reserve;
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_true(reserve >= 2 * CLOSER_MESSAGE);
	assert_int_equal(os_fd_keep(fd), fd);
	assert_int_equal(dup2(fd, first - 1), first - 1);
	assert_int_equal(os_fd_keep(first - 1), first - 1);
	assert_int_equal(dup2(fd, first), first);
	assert_true(os_fd_is_reserved(first));
	assert_int_equal(os_fd_keep(first), -1);
	assert_int_equal(errno, EMFILE);
	assert_int_equal(fcntl(first, F_GETFD), -1);
	assert_int_equal(os_fd_keep(-1), -1);
	assert_int_equal(closer_reserve(CLOSER_FILES_MIN - 1), 0);
	assert_false(os_fd_is_reserved(first));
	close(first - 1);
	close(fd);
}

static int done;

static void count_job(struct os_job *job)
{
	done++;
}

/* Known kinds have a thread of their own; the exit waits for it. */
static void known_kinds_do_not_wait_for_others(void **state)
{
	struct closer_queue *q[CLOSER_PER_USER];
	struct os_job jobs[3] = {{.run = count_job}, {.run = count_job}, {.run = count_job}};
	int beside;

	for (int i = 0; i < CLOSER_PER_USER; i++) {
		q[i] = closer_queue_new(1);
		closer_put(q[i], hanging_fd());
	}
	closer_later(watched_fd(&beside));
	expect_closed(beside);
	for (int i = 0; i < 3; i++)
		closer_run(&jobs[i]);
	release_all();
	wait_for(0, 0);
	for (int i = 0; i < CLOSER_PER_USER; i++)
		closer_queue_end(q[i], -1);
	closer_exit();
	assert_int_equal(done, 3);
	closer_run(&jobs[0]); /* now at once */
	assert_int_equal(done, 4);
	assert_int_equal(closer_init(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_hangs_holds_up_its_own_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(some_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			one_user_takes_no_more_than_its_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(all_threads_can_hang, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_a_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_queue_receives_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(without_room_plain_messages_go_on, setup, teardown),
		cmocka_unit_test_setup_teardown(one_user_leaves_room_for_others, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_set_aside_is_left_free, setup, teardown),
		cmocka_unit_test_setup_teardown(
			known_kinds_do_not_wait_for_others, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
