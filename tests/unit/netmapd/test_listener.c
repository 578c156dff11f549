/* SPDX-License-Identifier: BSD-2-Clause */
/* A path appears when its socket listens, not before. */
#include "testutil.h"
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[] = "/tmp/listener-XXXXXX";
static char path[64], temp[64];
static int listen_error;
static ino_t seen_at_listen; /* what `path` was then; 0: nothing */

int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);

static ino_t inode_of(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0 ? st.st_ino : 0;
}

int __wrap_listen(int fd, int backlog)
{
	seen_at_listen = inode_of(path);
	errno = listen_error;
	return listen_error ? -1 : __real_listen(fd, backlog);
}

static int setup(void **state)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	snprintf(temp, sizeof(temp), "%s/socket" LISTENER_TEMP, dir);
	listen_error = 0;
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	assert_int_equal(rmdir(dir), 0); /* nothing else is there */
	return 0;
}

static int connected(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;

	assert_true(fd >= 0);
	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		error = -errno;
	close(fd);
	return error;
}

/* Leaves a socket that nobody listens on, as a killed process does. */
static void leave_socket(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(addr.sun_path, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
}

static void the_path_appears_with_the_listener(void **state)
{
	struct stat st;
	int fd = listener_open(path, SOCK_STREAM, 4, false);

	assert_true(fd >= 0);
	assert_int_equal(seen_at_listen, 0);
	assert_int_equal(connected(), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static void a_dead_one_is_replaced_at_once(void **state)
{
	ino_t dead;
	int fd;

	leave_socket(path);
	leave_socket(temp);
	dead = inode_of(path);
	assert_int_equal(listener_open(path, SOCK_STREAM, 4, false), -EADDRINUSE);
	assert_int_equal(inode_of(path), dead);
	fd = listener_open(path, SOCK_STREAM, 4, true);
	assert_true(fd >= 0);
	assert_int_equal(seen_at_listen, dead); /* until then it was there */
	assert_int_equal(connected(), 0);
	close(fd);
}

static void failure_leaves_what_was(void **state)
{
	char longest[sizeof(((struct sockaddr_un *)0)->sun_path)] = "";
	int fd;

	listen_error = ENOBUFS;
	assert_int_equal(listener_open(path, SOCK_STREAM, 4, true), -ENOBUFS);
	assert_int_equal(inode_of(path), 0);
	assert_int_equal(inode_of(temp), 0);
	listen_error = 0;
	fd = open(temp, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* a file of the user's */
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(listener_open(path, SOCK_STREAM, 4, true), -EADDRINUSE);
	assert_int_equal(unlink(temp), 0);
	memset(longest, 'x', sizeof(longest) - 1);
	assert_int_equal(listener_open(longest, SOCK_STREAM, 4, true), -ENAMETOOLONG);
	longest[sizeof(longest) - 2] = '\0';
	memcpy(longest, "/nowhere/", 9);
	assert_int_equal(listener_open(longest, SOCK_STREAM, 4, true), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_path_appears_with_the_listener, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dead_one_is_replaced_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(failure_leaves_what_was, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
