/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes in, whole messages to vu_msg.c, replies out.
 *
 * Descriptors are the hard part of it. A message may come in pieces, and a read may hold the end of
 * one message and the beginning of the next; descriptors come with the first byte of theirs. The
 * kernel ends a read behind the piece that carried some: so what a read has brought belongs to the
 * last message that it touches. Each message owns its descriptors, and those that no handler took
 * are closed after it.
 *
 * Replies that the socket does not take wait in a list; a client that lets it grow beyond its bound
 * has ended its connection.
 */
#include "vu_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os.h"
#include "vu_msg.h"

/* A reply, or the rest of one, that the socket did not take yet. */
struct vu_out {
	struct vu_out *next;
	size_t len, sent; /* bytes of data */
	int fd;           /* -1: none. The device's; it goes with the first byte. */
	uint8_t data[];
};

/* Descriptors that belong to one message. */
struct fd_set_of {
	int fds[VU_FDS_MAX];
	unsigned int count;
	bool lost;
};

struct vu_conn {
	int fd;
	const char *name;
	int error; /* not 0: dead */
	struct vu_session session;
	struct vu_conn_stats stats;

	struct vu_out *out, **out_tail;
	size_t out_bytes; /* of all entries, their headers included */

	/* Received bytes; the first one starts a message, which owns `front`. */
	size_t in_len;
	struct fd_set_of front;
	uint8_t in[VU_MSG_MAX];

	struct vu_reply reply; /* of the message being handled */
};

/*
 * Descriptors
 */

static void fds_close(struct fd_set_of *set)
{
	while (set->count > 0)
		close(set->fds[--set->count]);
	set->lost = false;
}

/* Moves all of `from` to `to`; what does not fit is closed. */
static void fds_move(struct fd_set_of *to, struct fd_set_of *from)
{
	unsigned int i;

	to->lost |= from->lost;
	for (i = 0; i < from->count; i++) {
		if (to->count < VU_FDS_MAX) {
			to->fds[to->count++] = from->fds[i];
		} else {
			close(from->fds[i]);
			to->lost = true;
		}
	}
	from->count = 0;
	from->lost = false;
}

static void fds_receive(struct msghdr *mh, struct fd_set_of *set)
{
	struct cmsghdr *cm;

	for (cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		size_t i, count = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		struct fd_set_of some = {.count = 0};

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < count; i++) {
			memcpy(&some.fds[0], CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			some.count = 1;
			fds_move(set, &some);
		}
	}
	if (mh->msg_flags & MSG_CTRUNC)
		set->lost = true; /* the kernel has closed the rest */
}

/*
 * Replies
 */

/* Bytes taken by the socket, 0 if it is full; or a negative errno. */
static ssize_t send_some(struct vu_conn *conn, const void *data, size_t len, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *cm = &control.align;

		memset(&control, 0, sizeof(control));
		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control.room);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	}
	do {
		n = sendmsg(conn->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	return n;
}

static void out_drop_first(struct vu_conn *conn)
{
	struct vu_out *out = conn->out;

	conn->out = out->next;
	if (!conn->out)
		conn->out_tail = &conn->out;
	conn->out_bytes -= sizeof(*out) + out->len;
	free(out);
}

static int out_flush(struct vu_conn *conn)
{
	while (conn->out) {
		struct vu_out *out = conn->out;
		ssize_t n = send_some(conn, out->data + out->sent, out->len - out->sent,
			out->sent ? -1 : out->fd);

		if (n <= 0)
			return (int)n;
		out->sent += (size_t)n;
		if (out->sent == out->len)
			out_drop_first(conn);
	}
	return 0;
}

static int out_append(struct vu_conn *conn, const void *data, size_t len, int fd)
{
	const size_t bytes = sizeof(struct vu_out) + len;
	struct vu_out *out;

	if (bytes > VU_CONN_QUEUE_MAX - conn->out_bytes) {
		os_log(OS_LOG_WARN, "%s: client does not take its replies: closed", conn->name);
		return -ENOBUFS;
	}
	out = malloc(bytes);
	if (!out)
		return -ENOMEM;
	out->next = NULL;
	out->len = len;
	out->sent = 0;
	out->fd = fd;
	memcpy(out->data, data, len);
	*conn->out_tail = out;
	conn->out_tail = &out->next;
	conn->out_bytes += bytes;
	return 0;
}

/* Sends now what the socket takes, queues the rest. */
static int out_send(struct vu_conn *conn, const void *data, size_t len, int fd)
{
	ssize_t n = 0;

	if (!conn->out)
		n = send_some(conn, data, len, fd);
	if (n < 0)
		return (int)n;
	if ((size_t)n == len)
		return 0;
	return out_append(conn, (const char *)data + n, len - (size_t)n, n ? -1 : fd);
}

/* `status`: what vu_msg_handle() said. */
static int send_reply(struct vu_conn *conn, const struct vu_hdr *command, int status)
{
	struct {
		struct vu_hdr hdr;
		uint8_t data[sizeof(conn->reply.data)];
	} wire;
	const size_t len = status ? 0 : conn->reply.len;

	wire.hdr = (struct vu_hdr){
		.id = command->id,
		.command = command->command,
		.size = (uint32_t)(sizeof(wire.hdr) + len),
		.flags = VU_TYPE_REPLY | (status ? VU_FLAG_ERROR : 0),
		.error = (uint32_t)-status,
	};
	memcpy(wire.data, conn->reply.data, len);
	return out_send(conn, &wire, sizeof(wire.hdr) + len, status ? -1 : conn->reply.fd);
}

/*
 * Commands
 */

/* One whole message. Closes its descriptors. */
static int handle_one(struct vu_conn *conn, const struct vu_hdr *hdr, const uint8_t *payload,
	struct fd_set_of *fds)
{
	const struct vu_msg msg = {
		.hdr = *hdr,
		.payload = payload,
		.len = hdr->size - sizeof(*hdr),
		.fds = fds->fds,
		.nfds = fds->count,
		.fds_lost = fds->lost,
	};
	int status;

	conn->stats.messages++;
	status = vu_msg_handle(&conn->session, &msg, &conn->reply);
	fds_close(fds);
	if (status) {
		conn->stats.errors++;
		os_log(OS_LOG_DEBUG, "%s: %s (%u) refused, errno %d", conn->name,
			vu_msg_name(hdr->command), hdr->command, -status);
	}
	if (conn->session.fatal)
		os_log(OS_LOG_WARN, "%s: client speaks another version: closed", conn->name);
	if (hdr->flags & VU_FLAG_NO_REPLY)
		return 0;
	return send_reply(conn, hdr, status);
}

/* 0 if the header starts a command whose end can be found. */
static int check_header(struct vu_conn *conn, const struct vu_hdr *hdr)
{
	if (hdr->size >= sizeof(*hdr) && hdr->size <= VU_MSG_MAX &&
		(hdr->flags & VU_TYPE_MASK) == VU_TYPE_COMMAND)
		return 0;
	os_log(OS_LOG_WARN, "%s: client sends nonsense (size %u, flags 0x%x): closed", conn->name,
		hdr->size, hdr->flags);
	return -EPROTO;
}

/*
 * Handles all messages in the buffer that are complete. `got`: descriptors of the last read.
 * A read ends behind the piece that carried descriptors, and they come with the first byte of
 * their message: so they belong to the message of the last byte.
 */
static int handle_all(struct vu_conn *conn, struct fd_set_of *got)
{
	size_t done = 0;
	int error = 0;

	while (!error && !conn->session.fatal && conn->in_len - done >= sizeof(struct vu_hdr)) {
		struct vu_hdr hdr;

		memcpy(&hdr, conn->in + done, sizeof(hdr));
		error = check_header(conn, &hdr);
		if (error || conn->in_len - done < hdr.size)
			break;
		if (conn->in_len - done == hdr.size)
			fds_move(&conn->front, got);
		error = handle_one(conn, &hdr, conn->in + done + sizeof(hdr), &conn->front);
		done += hdr.size;
	}
	conn->in_len -= done;
	memmove(conn->in, conn->in + done, conn->in_len);
	fds_move(&conn->front, got);
	return error;
}

/* Reads once. 1: there may be more to read, `to_end`: unless the socket says no; 0: not now; or a
 * negative errno. */
static int read_once(struct vu_conn *conn, bool to_end)
{
	union {
		char room[CMSG_SPACE(sizeof(int) * VU_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {
		.iov_base = conn->in + conn->in_len, .iov_len = VU_MSG_MAX - conn->in_len};
	struct msghdr mh = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.room)};
	struct fd_set_of got = {.count = 0};
	bool more;
	ssize_t n;
	int error;

	do {
		n = recvmsg(conn->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	fds_receive(&mh, &got);
	more = to_end || (size_t)n == iov.iov_len || got.count || got.lost;
	conn->in_len += (size_t)n;
	error = handle_all(conn, &got);
	return error ? error : more;
}

/*
 * Interface
 */

int vu_conn_new(int fd, const struct vu_ops *ops, void *dev, const char *name, struct vu_conn **out)
{
	struct vu_conn *conn = os_zalloc(sizeof(*conn));

	if (!conn)
		return -ENOMEM;
	conn->fd = fd;
	conn->name = name;
	conn->out_tail = &conn->out;
	vu_session_init(&conn->session, ops, dev);
	*out = conn;
	return 0;
}

void vu_conn_free(struct vu_conn *conn)
{
	if (!conn)
		return;
	fds_close(&conn->front);
	while (conn->out)
		out_drop_first(conn);
	close(conn->fd);
	os_free(conn);
}

int vu_conn_fd(const struct vu_conn *conn)
{
	return conn->fd;
}

uint32_t vu_conn_events(const struct vu_conn *conn)
{
	return (conn->session.fatal ? 0 : EPOLLIN) | (conn->out ? EPOLLOUT : 0);
}

int vu_conn_ready(struct vu_conn *conn, uint32_t events)
{
	int i, more = 1;

	if (conn->error)
		return conn->error;
	conn->error = out_flush(conn);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
		for (i = 0; i < VU_CONN_READS && more && !conn->error && !conn->session.fatal;
			i++) {
			more = read_once(conn, events & EPOLLHUP);
			if (more < 0)
				conn->error = more;
		}
	}
	if (!conn->error && conn->session.fatal && (!conn->out || (events & (EPOLLHUP | EPOLLERR))))
		conn->error = -EPROTO;
	return conn->error;
}

void vu_conn_stats(const struct vu_conn *conn, struct vu_conn_stats *stats)
{
	*stats = conn->stats;
}
