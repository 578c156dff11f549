/* SPDX-License-Identifier: BSD-2-Clause */
#include "helper_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "signals.h"

static void __attribute__((noreturn)) be_helper(int sock, bool quiet, void (*run)(void))
{
	int null = quiet ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

	(void)signals_block((const int[]){SIGINT, SIGTERM, SIGHUP, 0});
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	if (dup2(sock, HELPER_FD) < 0 || close_range(HELPER_FD + 1, ~0U, 0) < 0 ||
		fcntl(HELPER_FD, F_SETFD, FD_CLOEXEC) < 0)
		_exit(1);
	run();
	_exit(0);
}

int helper_fork(bool quiet, void (*run)(void))
{
	int fds[2], error;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		be_helper(fds[1], quiet, run);
	error = -errno;
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return error;
	}
	signal(SIGCHLD, SIG_IGN);
	return fds[0];
}
