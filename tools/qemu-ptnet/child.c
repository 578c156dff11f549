/* SPDX-License-Identifier: BSD-2-Clause */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

/* Between two looks whether the child is still there; it ends soon when its output has. */
enum { POLL_MS = 20, POLL_END_MS = 2 };

static __attribute__((noreturn)) void become(const struct child *c, int output)
{
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	dup2(c->capture == CHILD_STDOUT ? output : null, STDOUT_FILENO);
	dup2(c->capture == CHILD_STDERR ? output : null, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	if (c->detach)
		setsid();
	if (c->setenv)
		setenv(c->setenv, c->value, 1);
	execvp(c->argv[0], c->argv);
	dprintf(STDERR_FILENO, "can't execute %s: %s\n", c->argv[0], strerror(errno));
	_exit(127);
}

/* Reads what is there. False at the end of the output. */
static bool drain(int fd, char *text, size_t *length)
{
	char buf[4096];

	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0)
			return false;
		if ((size_t)n > CHILD_OUTPUT_MAX - *length)
			n = CHILD_OUTPUT_MAX - *length;
		memcpy(text + *length, buf, n);
		*length += n;
	}
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int wait_for(const struct child *c, pid_t pid, int fd, char *text, size_t *length)
{
	long end = now_ms() + c->seconds * 1000L;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int status = 0;

	for (;;) {
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (p.fd >= 0 && !drain(fd, text, length))
			p.fd = -1;
		if (done == pid)
			return exit_status(status);
		if (done < 0) /* SIGCHLD is ignored, so nobody knows */
			return 0;
		if (now_ms() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -ETIMEDOUT;
		}
		poll(&p, 1, p.fd >= 0 ? POLL_MS : POLL_END_MS);
	}
}

int child_run(const struct child *c, char **out)
{
	size_t length = 0;
	int pipe_fd[2], ret;
	pid_t pid;

	*out = text_realloc(NULL, CHILD_OUTPUT_MAX + 1, 1);
	(*out)[0] = '\0';
	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		ret = -errno;
		close(pipe_fd[0]);
		close(pipe_fd[1]);
		return ret;
	}
	if (pid == 0)
		become(c, pipe_fd[1]);
	close(pipe_fd[1]);
	fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK);
	ret = wait_for(c, pid, pipe_fd[0], *out, &length);
	close(pipe_fd[0]);
	(*out)[length] = '\0';
	return ret;
}
