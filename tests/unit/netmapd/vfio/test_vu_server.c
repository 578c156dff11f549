/* SPDX-License-Identifier: BSD-2-Clause */
/* The listening socket: mode, one client at a time, reconnection, descriptors running out. */
#include "testutil.h"
#include "vfio_client.h"
#include "vu_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct loop *loop;
static struct vu_server *server;
static unsigned int ended_count;
static char dir[] = "/tmp/vu-server-XXXXXX";
static char path[64];
static int fds_before;
static int accept_error;
static unsigned int accepts;

int __real_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	accepts++;
	if (!accept_error)
		return __real_accept4(fd, addr, len, flags);
	errno = accept_error;
	return -1;
}

static void op_region(void *dev, uint32_t index, struct vu_region *region)
{
}

static int op_reset(void *dev)
{
	return 0;
}

static const struct vu_ops ops = {.region = op_region, .reset = op_reset};

static void ended(void *dev)
{
	ended_count++;
}

static void pump(void *arg)
{
	while (loop_run_once(loop, 0) > 0)
		;
}

static int setup(void **state)
{
	fds_before = count_fds(0);
	ended_count = 0;
	accept_error = 0;
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(vu_server_new(loop, path, &ops, NULL, ended, "test", &server), 0);
	return 0;
}

static int teardown(void **state)
{
	vu_server_free(server);
	loop_free(loop);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(count_fds(0), fds_before);
	return 0;
}

static struct vfc *connect_client(void)
{
	struct vfc *c;

	assert_int_equal(vfc_connect(path, &c), 0);
	vfc_set_idle(c, pump, NULL);
	return c;
}

static void test_socket(void **state)
{
	struct vu_server *second;
	char longer[200];
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(
		vu_server_new(loop, path, &ops, NULL, ended, "test", &second), -EADDRINUSE);
	assert_int_equal(access(path, F_OK), 0); /* the failed one has not removed it */
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(
		vu_server_new(loop, longer, &ops, NULL, ended, "test", &second), -ENAMETOOLONG);
	assert_int_equal(vu_server_new(loop, "/nowhere/at/all", &ops, NULL, ended, "test", &second),
		-ENOENT);
}

static void test_one_at_a_time(void **state)
{
	struct vfc *first = connect_client(), *second;
	struct vu_server_stats stats;
	int i;

	assert_int_equal(vfc_negotiate(first), 0);
	second = connect_client();
	assert_int_equal(vfc_wait_closed(second), 0);
	vfc_close(second);
	assert_int_equal(vfc_reset(first), 0);
	assert_int_equal(ended_count, 0);
	vfc_close(first);
	pump(NULL);
	assert_int_equal(ended_count, 1);
	for (i = 0; i < 50; i++) {
		first = connect_client();
		assert_int_equal(vfc_negotiate(first), 0);
		assert_int_equal(vfc_reset(first), 0);
		vfc_close(first);
		pump(NULL);
	}
	assert_int_equal(ended_count, 51);
	vu_server_stats(server, &stats);
	assert_int_equal(stats.connections, 51);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.messages, 2 * 51);
	assert_int_equal(stats.errors, 0);
	assert_false(stats.connected);
}

/* The loop meets the new client before the end of the last one: it is taken all the same. */
static void test_quick_successor(void **state)
{
	struct vfc *c = connect_client(), *next;
	int i;

	for (i = 0; i < 10; i++) {
		assert_int_equal(vfc_negotiate(c), 0);
		next = connect_client();
		assert_int_equal(vfc_send(c, "rest", 4, NULL, 0), 0);
		vfc_close(c);
		c = next;
	}
	assert_int_equal(vfc_negotiate(c), 0);
	assert_int_equal(ended_count, 10);
	vfc_close(c);
}

/* Nonsense ends the connection, not the server. */
static void test_violation(void **state)
{
	struct vfc *c = connect_client();
	const struct vu_hdr bad = {.command = VU_VERSION, .size = 3};

	assert_int_equal(vfc_send(c, &bad, sizeof(bad), NULL, 0), 0);
	assert_int_equal(vfc_wait_closed(c), 0);
	assert_int_equal(ended_count, 1);
	vfc_close(c);
	c = connect_client();
	assert_int_equal(vfc_negotiate(c), 0);
	vfc_close(c);
}

/* No descriptor is free: the client is turned away, the loop comes to rest. */
static void test_out_of_descriptors(void **state)
{
	struct vfc *c = connect_client();
	struct vu_server_stats stats;
	struct rlimit limit, tight;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	tight = limit;
	tight.rlim_cur = (rlim_t)vfc_fd(c) + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	assert_int_equal(loop_run_once(loop, 1000), 1);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(vfc_wait_closed(c), 0);
	vfc_close(c);
	vu_server_stats(server, &stats);
	assert_int_equal(stats.connections, 0);
	assert_int_equal(stats.refused, 1);
	c = connect_client();
	assert_int_equal(vfc_negotiate(c), 0);
	vfc_close(c);
}

/* Another reason not to accept, while it lasts: the loop rests, and the client is taken afterwards. */
static void test_accept_fails(void **state)
{
	static const int errors[] = {ENOMEM, ENOBUFS, EPERM};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct vfc *c = connect_client();
		int rounds = 0;

		accept_error = errors[i];
		accepts = 0;
		while (loop_run_once(loop, 0) > 0 && rounds < 100)
			rounds++;
		assert_in_range(rounds, 1, 99);
		accept_error = 0;
		while (loop_run_once(loop, 1000) == 0) /* the pause */
			;
		/* Twice in vain; more often when a pause is over before the loop looks again. */
		assert_true(accepts >= 3);
		assert_int_equal(vfc_negotiate(c), 0);
		vfc_close(c);
		pump(NULL);
	}
}

/* The server goes with a client in the middle of something. */
static void test_freed_while_connected(void **state)
{
	struct vfc *c = connect_client();

	assert_int_equal(vfc_negotiate(c), 0);
	assert_int_equal(vfc_send(c, "half", 4, NULL, 0), 0);
	pump(NULL);
	vu_server_free(server);
	server = NULL;
	assert_int_equal(ended_count, 1);
	assert_int_equal(vfc_wait_closed(c), 0);
	vfc_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quick_successor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_violation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_out_of_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_accept_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed_while_connected, setup, teardown),
	};

	return cmocka_run_group_tests_name("vu_server", tests, NULL, NULL);
}
