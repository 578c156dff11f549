/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client's side of the control socket: find it, connect, say HELLO, then a request and its reply
 * at a time.
 *
 * A reply must have our magic and version, the request's type and, but for texts of any length, the
 * size that the caller expects. Descriptors that come with anything else, or more of them than
 * expected, are closed.
 */
#include "proto_client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { ERRNO_MOST = 4095 }; /* that a system call can return */

_Static_assert(NMD_PATH_MAX == sizeof(((struct sockaddr_un *)0)->sun_path),
	"a socket path is what sockaddr_un can hold");

int nmd_socket_path(const char *path, char out[NMD_PATH_MAX], struct nm_error *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char full[4096];

	if (!path)
		path = getenv("NETMAPD_SOCKET");
	if (path && path[0])
		snprintf(full, sizeof(full), "%s", path);
	else if (runtime && runtime[0] && geteuid() != 0)
		snprintf(full, sizeof(full), "%s/%s", runtime, NMD_USER_SOCKET);
	else
		snprintf(full, sizeof(full), "%s", NMD_SYSTEM_SOCKET);

	if (strlen(full) >= NMD_PATH_MAX)
		return nm_error_set(err, -ENAMETOOLONG,
			"the path of netmapd's socket has %zu bytes, at most %d are possible: %.100s...",
			strlen(full), NMD_PATH_MAX - 1, full);
	memcpy(out, full, strlen(full) + 1);
	return 0;
}

static int connect_error(int error, const char *path, struct nm_error *err)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return nm_error_set(err, -ENOENT, "netmapd is not running: no socket %s", path);
	case ECONNREFUSED:
		return nm_error_set(
			err, -error, "netmapd is not running: nobody listens on %s", path);
	case EACCES:
	case EPERM:
		return nm_error_set(err, -EACCES,
			"no permission to use netmapd's socket %s: its owner and its group have it (ls -l shows them)",
			path);
	case EPROTOTYPE:
		return nm_error_set(err, -error, "%s is a socket, but not netmapd's", path);
	case EAGAIN:
		return nm_error_set(
			err, -ETIMEDOUT, "netmapd doesn't accept the connection on %s", path);
	default:
		return nm_error_set(
			err, -error, "can't connect to netmapd on %s: %s", path, strerror(error));
	}
}

void nmd_limit_waiting(int fd)
{
	const struct timeval limit = {.tv_sec = NMD_REPLY_SECONDS};

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/* A connected socket, not greeted yet. */
static int open_socket(const char *path, struct nm_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, error;

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return nm_error_set(err, -errno, "can't make a socket: %s", strerror(errno));
	nmd_limit_waiting(fd);

	memcpy(addr.sun_path, path, strlen(path) + 1);
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		error = errno;
		if (error == EINTR)
			continue;
		close(fd);
		return connect_error(error, path, err);
	}
	return fd;
}

int nmd_connect(const char *path, struct nmd_hello *hello, struct nm_error *err)
{
	struct nm_error why;
	char full[NMD_PATH_MAX];
	struct nmd_hello greeting;
	struct nmd_hdr req;
	int fd, ret;

	ret = nmd_socket_path(path, full, err);
	if (ret < 0)
		return ret;
	fd = open_socket(full, err);
	if (fd < 0)
		return fd;

	nmd_hdr_init(&req, NMD_HELLO, sizeof(req));
	ret = nmd_call(fd, &req, &greeting, sizeof(greeting), &why);
	if (ret < 0) {
		close(fd);
		return nm_error_set(err, ret, "%.120s on %s", why.text, full);
	}
	greeting.program[sizeof(greeting.program) - 1] = '\0';
	if (hello)
		*hello = greeting;
	return fd;
}

void nmd_hdr_init(struct nmd_hdr *hdr, enum nmd_type type, size_t size)
{
	hdr->magic = NMD_MAGIC;
	hdr->version = NMD_VERSION;
	hdr->type = type;
	hdr->size = size;
	hdr->status = 0;
}

/* One message, with a descriptor unless send_fd is -1. */
static int send_all(int fd, const void *data, size_t size, int send_fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.buf = {0}};
	struct iovec iov = {.iov_base = (void *)data, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (send_fd >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &send_fd, sizeof(int));
	}
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return (size_t)n == size ? 0 : -EMSGSIZE;
	if (errno == EAGAIN)
		return -ETIMEDOUT;
	return errno == EPIPE ? -ECONNRESET : -errno;
}

struct fd_list {
	unsigned int count;
	int fd[NMD_FDS_MAX];
};

static void close_all(struct fd_list *list)
{
	while (list->count)
		close(list->fd[--list->count]);
}

/* Takes over all descriptors of a message. False: there are more than fit. */
static bool collect_fds(struct msghdr *msg, struct fd_list *list)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		/* The control buffer has room for NMD_FDS_MAX, so n can't pass it. */
		for (size_t i = 0; i < n && list->count < NMD_FDS_MAX; i++)
			memcpy(&list->fd[list->count++], CMSG_DATA(c) + i * sizeof(int),
				sizeof(int));
	}
	return !(msg->msg_flags & MSG_CTRUNC);
}

static ssize_t receive(int fd, void *reply, size_t max, struct fd_list *list)
{
	union {
		char buf[CMSG_SPACE(NMD_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = reply, .iov_len = max};
	struct msghdr msg;
	bool again = true;
	ssize_t n;

	do {
		memset(&msg, 0, sizeof(msg));
		msg.msg_iov = &iov;
		msg.msg_iovlen = 1;
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
		/* The other end hung up before it read all: its answer, if there is one, is behind that. */
		if (n < 0 && errno == ECONNRESET && again) {
			again = false;
			errno = EINTR;
		}
	} while (n < 0 && errno == EINTR);

	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (!collect_fds(&msg, list))
		return list->count < NMD_FDS_MAX ? -EMFILE : -EPROTO;
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return n ? n
		 : -ECONNRESET; /* or a message of no bytes, which may bring descriptors as well */
}

static int check_reply(const struct nmd_reply *reply, size_t size, uint16_t type)
{
	if (size < sizeof(struct nmd_hdr) || reply->hdr.magic != NMD_MAGIC)
		return -EPROTO;
	if (reply->hdr.version != NMD_VERSION)
		return -EPROTONOSUPPORT;
	if (size < sizeof(*reply) || reply->hdr.size != size || reply->hdr.type != type)
		return -EPROTO;
	return reply->hdr.status <= 0 && reply->hdr.status >= -ERRNO_MOST ? 0 : -EPROTO;
}

ssize_t nmd_request(
	int fd, const void *req, void *reply, size_t reply_max, int *fds, unsigned int *nfds)
{
	return nmd_request_fd(fd, req, -1, reply, reply_max, fds, nfds);
}

ssize_t nmd_request_fd(int fd, const void *req, int send_fd, void *reply, size_t reply_max,
	int *fds, unsigned int *nfds)
{
	const struct nmd_hdr *hdr = req;
	unsigned int room = nfds ? *nfds : 0;
	struct fd_list list = {.count = 0};
	struct nmd_reply *r = reply;
	ssize_t n;
	int ret;

	if (nfds)
		*nfds = 0;
	if (hdr->size > NMD_MSG_MAX || reply_max < sizeof(*r))
		return -EMSGSIZE;
	ret = send_all(fd, req, hdr->size, send_fd);
	/* Who turns a client away says why before he hangs up. */
	if (ret < 0 && ret != -ECONNRESET)
		return ret;

	n = receive(fd, reply, reply_max, &list);
	if (n >= 0) {
		ret = check_reply(r, n, hdr->type);
		if (ret == 0 && list.count > room)
			ret = -EPROTO;
	} else {
		ret = n;
	}
	if (ret < 0) {
		close_all(&list);
		return ret;
	}

	r->text[sizeof(r->text) - 1] = '\0';
	if (nfds) {
		memcpy(fds, list.fd, list.count * sizeof(int));
		*nfds = list.count;
	}
	return n;
}

static int transport_error(int error, struct nm_error *err)
{
	switch (error) {
	case -ECONNRESET:
		return nm_error_set(err, error, "netmapd closed the connection");
	case -ETIMEDOUT:
		return nm_error_set(
			err, error, "netmapd gave no answer for %d seconds", NMD_REPLY_SECONDS);
	case -EPROTONOSUPPORT:
		return nm_error_set(err, error,
			"netmapd speaks another version of the protocol than %d", NMD_VERSION);
	case -EPROTO:
	case -EMSGSIZE:
		return nm_error_set(err, error, "an answer that is not netmapd's");
	default:
		return nm_error_set(err, error, "can't talk to netmapd: %s", strerror(-error));
	}
}

ssize_t nmd_ask(
	int fd, const void *req, void *reply, size_t reply_max, size_t head, struct nm_error *err)
{
	struct nmd_reply *r = reply;
	ssize_t n = nmd_request(fd, req, reply, reply_max, NULL, NULL);

	if (n < 0)
		return transport_error(n, err);
	if (r->hdr.status < 0) {
		if (r->text[0])
			return nm_error_set(err, r->hdr.status, "%s", r->text);
		return nm_error_set(
			err, r->hdr.status, "netmapd says: %s", strerror(-r->hdr.status));
	}
	if ((size_t)n < head)
		return transport_error(-EPROTO, err);
	return n - (ssize_t)head;
}

int nmd_call(int fd, const void *req, void *reply, size_t reply_size, struct nm_error *err)
{
	ssize_t more = nmd_ask(fd, req, reply, reply_size, reply_size, err);

	return more < 0 ? (int)more : 0;
}
