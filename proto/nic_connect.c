/* SPDX-License-Identifier: BSD-2-Clause */
#include "nic_connect.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "helper_process.h"

extern char **environ;

enum { CHILD_FD = 3 };

/* ---- connecting --------------------------------------------------------------------------- */

static int connect_to(const char *path, struct nm_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof(addr.sun_path))
		return nm_error_set(err, -ENAMETOOLONG,
			"netmapd-nic: the path of its socket is too long: %.100s", path);
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return nm_error_set(err, -errno, "netmapd-nic: no socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	error = errno;
	close(fd);
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		return nm_error_set(err, -error,
			"netmapd-nic, which opens network interfaces for netmapd, doesn't run (%s: %s); start it: systemctl start netmapd-nic",
			path, strerror(error));
	case EAGAIN:
		return nm_error_set(err, -EBUSY,
			"netmapd-nic (%s) has too many requests; try again later", path);
	default:
		return nm_error_set(err, -error, "netmapd-nic (%s): %s", path, strerror(error));
	}
}

/* Where the program for children is. */
static const char *program(char path[1024])
{
	const char *named = getenv("NETMAPD_NIC");
	ssize_t n = readlink("/proc/self/exe", path, 900);
	char *base;

	if (named && named[0])
		return named;
	if (n > 0) {
		static const char *const places[] = {"netmapd-nic", "../nic/netmapd-nic",
			"../../nic/netmapd-nic", "../sbin/netmapd-nic"};

		path[n] = '\0';
		base = strrchr(path, '/') + 1;
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			strcpy(base, places[i]);
			if (access(path, X_OK) == 0)
				return path;
		}
	}
	return NETMAPD_NIC_PATH;
}

/* Both ends are close-on-exec; the child gets its own one as CHILD_FD. */
static int spawn(int sock)
{
	char path[1024], fd[16];
	const char *file = program(path);
	char *argv[] = {"netmapd-nic", "--connection", fd, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, defaults;
	int error;
	pid_t pid;

	snprintf(fd, sizeof(fd), "%d", CHILD_FD);
	sigemptyset(&none);
	sigfillset(&defaults);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	error = posix_spawn_file_actions_adddup2(&actions, sock, CHILD_FD);
	if (!error)
		error = posix_spawn(&pid, file, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

static int start_child(struct nm_error *err)
{
	int fds[2], error, high;

	/* Nobody waits for it: the kernel doesn't keep it. */
	signal(SIGCHLD, SIG_IGN);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return nm_error_set(err, -errno, "netmapd-nic: no socket: %s", strerror(errno));
	high = fcntl(fds[1], F_DUPFD_CLOEXEC,
		CHILD_FD + 1); /* not CHILD_FD itself, which would stay close-on-exec */
	close(fds[1]);
	error = high < 0 ? -errno : spawn(high);
	if (high >= 0)
		close(high);
	if (!error && fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		error = -errno;
	if (!error)
		return fds[0];
	close(fds[0]);
	return nm_error_set(err, error,
		"netmapd-nic, which opens network interfaces for netmapd, can't be started: %s",
		strerror(-error));
}

/* ---- a process that starts them ------------------------------------------------------------- */

enum { STARTER_START = 's', STARTER_LOG = 'l' }; /* what it is asked for; with a descriptor */

static int starter = -1; /* to it */

/* What the starter answers, with a descriptor, unless it failed. */
static void answer(int sock)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct nm_error err = {0};
	struct iovec iov = {&err, sizeof(err)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int fd = start_child(&err);

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control);
	}
	if (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
		_exit(1);
	if (fd >= 0)
		close(fd);
}

/* 0: netmapd has ended. */
static char next_request(int sock, int *fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control)};
	const struct cmsghdr *cmsg;

	*fd = -1;
	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		return 0;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(cmsg), sizeof(*fd));
	return byte;
}

static void run_starter(void)
{
	char request;
	int log;

	while ((request = next_request(HELPER_FD, &log)) != 0) {
		if (log >= 0) {
			(void)dup2(log, STDERR_FILENO);
			close(log);
		}
		if (request == STARTER_START)
			answer(HELPER_FD);
	}
}

int nic_starter_fork(bool quiet)
{
	int sock = helper_fork(quiet, run_starter);

	if (sock < 0)
		return sock;
	starter = sock;
	return 0;
}

void nic_starter_log(int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	char byte = STARTER_LOG;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	/* If it has ended, whoever asks for a child is told. */
	if (starter >= 0)
		(void)sendmsg(starter, &msg, MSG_NOSIGNAL);
}

/* It needs as long as posix_spawn() does. */
static int ask_starter(struct nm_error *err)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct nm_error answered;
	struct iovec iov = {&answered, sizeof(answered)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control)};
	const struct cmsghdr *cmsg;
	char byte = STARTER_START;
	int fd;

	if (send(starter, &byte, 1, MSG_NOSIGNAL) != 1 ||
		recvmsg(starter, &msg, MSG_CMSG_CLOEXEC) != sizeof(answered))
		return nm_error_set(err, -EPIPE,
			"the process that starts netmapd-nic has ended: restart netmapd");
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return nm_error_set(err, answered.code ? answered.code : -EMFILE, "%s",
			answered.code ? answered.text : "netmapd-nic: no descriptor for it");
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

int nic_connect(const char *socket, struct nm_error *err)
{
	if (!socket && geteuid() == 0)
		return starter >= 0 ? ask_starter(err) : start_child(err);
	return connect_to(socket ? socket : NIC_SOCKET_DEFAULT, err);
}

/* ---- messages ----------------------------------------------------------------------------- */

static size_t size_of(uint32_t type)
{
	switch (type) {
	case NIC_ASK:
		return sizeof(struct nic_ask);
	case NIC_OPEN:
		return sizeof(struct nic_open);
	case NIC_BIND:
		return sizeof(struct nic_bind);
	case NIC_CLOSE:
	case NIC_DETACHED:
	case NIC_MAPPED:
	case NIC_UNBOUND:
	case NIC_DROPPED:
		return sizeof(struct nic_plain);
	case NIC_RELEASED:
		return sizeof(struct nic_released);
	case NIC_CHECK:
		return sizeof(struct nic_check);
	case NIC_KNOWN:
	case NIC_CHANGED:
		return sizeof(struct nic_told);
	case NIC_OPENED:
		return sizeof(struct nic_opened);
	case NIC_BOUND:
		return sizeof(struct nic_bound);
	case NIC_GONE:
		return sizeof(struct nic_gone);
	case NIC_REPORT:
		return sizeof(struct nic_report);
	case NIC_FAILED:
		return sizeof(struct nic_failed);
	case NIC_USE:
		return sizeof(struct nic_use);
	case NIC_USED:
		return sizeof(struct nic_used);
	}
	return 0;
}

void nic_header_init(struct nic_header *hdr, enum nic_message_type type)
{
	*hdr = (struct nic_header){.version = NIC_VERSION, .type = type};
}

int nic_send(int sock, const void *message, size_t bytes, const int *fds, uint32_t num_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(NIC_QUEUES_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)message, .iov_len = bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (num_fds > NIC_QUEUES_MAX)
		return -EINVAL;
	if (num_fds > 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
		control.align = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(num_fds * sizeof(int))};
		memcpy(CMSG_DATA(&control.align), fds, num_fds * sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* What has come too much is closed. */
static uint32_t take_fds(struct msghdr *msg, int *fds, uint32_t room)
{
	uint32_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
			int fd;

			memcpy(&fd, (char *)c + at, sizeof(fd));
			if (count < room)
				fds[count++] = fd;
			else
				close(fd);
		}
	}
	return count;
}

int nic_receive(int sock, union nic_message *message, int *fds, uint32_t *num_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(NIC_QUEUES_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = message, .iov_len = sizeof(*message)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	uint32_t count;

	/* It has not read what we sent, but may have said why. */
	if (n < 0 && errno == ECONNRESET)
		n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0) {
		*num_fds = 0;
		return errno == ECONNRESET ? -EPIPE : -errno;
	}
	count = take_fds(&msg, fds, *num_fds); /* a message of no bytes may bring some as well */
	if (!(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && (size_t)n >= sizeof(message->hdr) &&
		message->hdr.version == NIC_VERSION && (size_t)n == size_of(message->hdr.type)) {
		*num_fds = count;
		return (int)n;
	}
	*num_fds = count;
	return n ? -EPROTO : -EPIPE;
}

const char *nic_mode_name(uint32_t mode)
{
	static const char *const names[NIC_MODES] = {"any", "zero-copy", "native", "generic"};

	return mode < NIC_MODES ? names[mode] : "?";
}
