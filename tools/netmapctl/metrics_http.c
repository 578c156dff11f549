/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Metrics over HTTP, for who is on this machine: at a socket of the file system, or at the loopback address. Each request has a
 * process of its own, which ends after a few seconds whatever the client does; there are CHILDREN_MAX of them at most.
 */
#include "metrics.h"
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 16, CHILD_SECONDS = 10, REQUEST_MAX = 8192, BACKLOG = 16 };

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	stopped = 1;
}

/* ---- one request -------------------------------------------------------------------------------- */

/* The head of a request, up to its blank line. False: it is none. */
static bool read_request(int fd, char request[REQUEST_MAX])
{
	size_t length = 0;

	while (length < REQUEST_MAX - 1) {
		ssize_t n = read(fd, request + length, REQUEST_MAX - 1 - length);

		if (n <= 0)
			return false;
		length += (size_t)n;
		request[length] = '\0';
		if (strstr(request, "\r\n\r\n") || strstr(request, "\n\n"))
			return true;
	}
	return false;
}

static void answer(FILE *out, const char *status, const char *type, const char *text, size_t length,
	bool head_only)
{
	fprintf(out,
		"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
		status, type, length);
	if (!head_only)
		fwrite(text, 1, length, out);
	fflush(out);
}

static void answer_text(FILE *out, const char *status, const char *text)
{
	answer(out, status, "text/plain; charset=utf-8", text, strlen(text), false);
}

static void answer_metrics(FILE *out, const struct ctl *ctl, const char *request, bool head_only)
{
	bool openmetrics = strcasestr(request, "application/openmetrics-text") != NULL;
	json_t *root;
	char *text = NULL;
	size_t length;
	FILE *f = open_memstream(&text, &length);

	if (!f)
		return;
	root = metrics_report(ctl);
	metrics_write(f, root, openmetrics);
	json_decref(root);
	if (fclose(f) != 0) {
		free(text);
		return;
	}
	answer(out, "200 OK",
		openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			    : "text/plain; version=0.0.4; charset=utf-8",
		text, length, head_only);
	free(text);
}

static void answer_request(FILE *out, const struct ctl *ctl, const char *request)
{
	bool head = strncmp(request, "HEAD ", 5) == 0;

	if (!head && strncmp(request, "GET ", 4) != 0)
		answer_text(out, "405 Method Not Allowed", "GET /metrics\n");
	else if (strncmp(request + 4 + head, "/metrics", 8) != 0 ||
		 !strchr(" ?", request[12 + head]))
		answer_text(out, "404 Not Found", "GET /metrics\n");
	else
		answer_metrics(out, ctl, request, head);
}

/* In a process of its own. */
static void serve_one(int fd, const struct ctl *ctl)
{
	char request[REQUEST_MAX];
	FILE *out = fdopen(fd, "w");

	signal(SIGALRM, SIG_DFL);
	alarm(CHILD_SECONDS);
	if (!out)
		return;
	if (read_request(fd, request))
		answer_request(out, ctl, request);
	fclose(out);
}

/* ---- the socket ---------------------------------------------------------------------------------- */

static int listen_unix(const char *path)
{
	struct stat st;
	int fd;

	if (!*path)
		return -ctl_fail(CTL_USAGE, "metrics: unix: needs the path of a socket");
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return -ctl_fail(CTL_FAILED, "%s exists, and is not a socket", path);
	/* Who may read it is what the umask and its directory say. */
	fd = listener_open_as(path, SOCK_STREAM, 0777, BACKLOG, true);
	if (fd == -ENAMETOOLONG)
		return -ctl_fail(CTL_USAGE, "metrics: '%.120s' is too long for a socket", path);
	if (fd < 0 || fcntl(fd, F_SETFL, 0) < 0) /* accept() waits */
		return -ctl_fail(
			CTL_FAILED, "can't listen at %s: %s", path, strerror(fd < 0 ? -fd : errno));
	return fd;
}

/* "127.0.0.1:9812" or "[::1]:9812": no other machine can get there. */
static int listen_inet(const char *address)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	struct sockaddr_in four = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	bool is_six = strncmp(address, "[::1]:", 6) == 0;
	const char *port = address + (is_six ? 6 : strlen("127.0.0.1:"));
	struct sockaddr *addr = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	char *end = NULL;
	unsigned long number = 0;
	int fd, on = 1;

	if (is_six || strncmp(address, "127.0.0.1:", strlen("127.0.0.1:")) == 0)
		number = strtoul(port, &end, 10);
	if (!end || *end || end == port || number < 1 || number > 65535)
		return -ctl_fail(CTL_USAGE,
			"metrics: '%.80s' is not unix:PATH, 127.0.0.1:PORT or [::1]:PORT", address);
	six.sin6_port = four.sin_port = htons((uint16_t)number);
	fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, addr, is_six ? sizeof(six) : sizeof(four)) < 0 ||
		listen(fd, BACKLOG) < 0)
		return -ctl_fail(CTL_FAILED, "can't listen at %s: %s", address, strerror(errno));
	return fd;
}

static void hear_signals(void)
{
	struct sigaction action = {.sa_handler = stop}; /* without SA_RESTART: it ends accept() */

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Children that have ended are gone; while there are too many, one is waited for. */
static unsigned reap(unsigned children)
{
	while (children > 0 && waitpid(-1, NULL, children < CHILDREN_MAX ? WNOHANG : 0) > 0)
		children--;
	return children;
}

static void serve(int listener, const struct ctl *ctl)
{
	unsigned children = 0;

	while (!stopped) {
		int fd;
		pid_t pid;

		children = reap(children);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		pid = fork();
		if (pid == 0) {
			serve_one(fd, ctl);
			_exit(0);
		}
		children += pid > 0;
		close(fd);
	}
}

int metrics_serve(const struct ctl *ctl, const char *address)
{
	bool is_unix = strncmp(address, "unix:", 5) == 0;
	int fd = is_unix ? listen_unix(address + 5) : listen_inet(address);

	if (fd < 0)
		return -fd;
	hear_signals();
	serve(fd, ctl);
	close(fd);
	if (is_unix)
		unlink(address + 5);
	return CTL_OK;
}
