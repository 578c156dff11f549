/* SPDX-License-Identifier: BSD-2-Clause */
/* A program that loads libnetmap (argv[1]) after the C library: the port's descriptor can't be served, which
 * is said, and whoever uses it is told at once. Preloaded, it works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libnetmap.h>

#include "real_netmapd.h"

static const char *library;
static void *handle;
static char said[600];
static int times;

static void note(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	snprintf(said, sizeof(said), "%s", text);
	times++;
}

static void *function(const char *name)
{
	void *f = dlsym(handle, name);

	assert_non_null(f);
	return f;
}

#define CALL(name) ((__typeof__(&name))function(#name))

static void load(void)
{
	handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		fail_msg("%s", dlerror());
	CALL(nmctx_get)()->error = note;
}

static void loaded_late_it_says_so(void **state)
{
	struct nmport_d *a, *b;
	struct pollfd pfd = {.events = POLLIN};
	struct epoll_event event = {.events = EPOLLIN};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	(void)state;
	load();
	a = CALL(nmport_open)("vale5:a");
	b = CALL(nmport_open)("vale5:b");
	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(times, 1);
	assert_non_null(strstr(said, "nmport_poll()"));
	pfd.fd = b->fd;
	assert_int_equal(poll(&pfd, 1, -1), 1);
	assert_int_equal(pfd.revents, POLLNVAL);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, b->fd, &event), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(ioctl(b->fd, NIOCRXSYNC), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(CALL(nmport_poll)(b, POLLOUT, -1), POLLOUT);
	CALL(nmport_close)(a);
	CALL(nmport_close)(b);
	close(ep);
}

/* In a process of its own, which has the library from the start. */
static void preloaded_it_works(void **state)
{
	struct pollfd pfd = {.events = POLLIN | POLLOUT};
	struct nmport_d *a;

	(void)state;
	load();
	a = CALL(nmport_open)("vale5:a");
	assert_non_null(a);
	assert_int_equal(times, 0);
	pfd.fd = a->fd;
	assert_int_equal(poll(&pfd, 1, -1), 1);
	assert_int_equal(pfd.revents, POLLOUT);
	assert_int_equal(ioctl(a->fd, NIOCTXSYNC), 0);
	CALL(nmport_close)(a);
}

static int again(char *self)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		setenv("LD_PRELOAD", library, 1);
		dup2(STDERR_FILENO, STDOUT_FILENO); /* it has a result of its own */
		execl(self, self, library, "preloaded", (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return status;
}

static char *self;

static void preloaded(void **state)
{
	(void)state;
	assert_int_equal(again(self), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest inside[] = {cmocka_unit_test(preloaded_it_works)};
	const struct CMUnitTest all[] = {
		cmocka_unit_test(loaded_late_it_says_so),
		cmocka_unit_test(preloaded),
	};
	struct real_netmapd netmapd;
	int ret;

	library = argc > 1 ? argv[1] : "libnetmap.so.1";
	self = argv[0];
	alarm(120);
	if (argc > 2)
		return cmocka_run_group_tests(inside, NULL, NULL);
	real_start(&netmapd);
	ret = cmocka_run_group_tests(all, NULL, NULL);
	if (real_stop(&netmapd) != 0)
		return 1;
	return ret;
}
