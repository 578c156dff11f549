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
#include <time.h>
#include <unistd.h>

#include "closer.h"
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
	struct closer_queue *closer;
	const char *name;
	int error; /* not 0: dead */
	struct vu_session session;
	struct vu_conn_stats stats;

	struct vu_out *out, **out_tail;
	size_t out_bytes; /* of all entries, their headers included */

	/* Received bytes, in_len of them behind those that are done; the first one starts a message, which owns
	 * `front`. `got` came with the last read. */
	size_t in_done, in_len;
	struct fd_set_of front, got;
	bool more;  /* the socket may have more */
	bool later; /* but its descriptors can't be taken now */
	uint8_t in[VU_MSG_MAX];

	struct vu_reply reply; /* of the message being handled */
};

/*
 * Descriptors
 */

static void fds_close(struct vu_conn *conn, struct fd_set_of *set)
{
	while (set->count > 0)
		closer_put(conn->closer, set->fds[--set->count]);
	set->lost = false;
}

static void fds_add(struct vu_conn *conn, struct fd_set_of *set, int fd)
{
	if (set->count < VU_FDS_MAX) {
		set->fds[set->count++] = fd;
	} else {
		closer_put(conn->closer, fd);
		set->lost = true;
	}
}

/* Moves all of `from` to `to`; what does not fit is closed. */
static void fds_move(struct vu_conn *conn, struct fd_set_of *to, struct fd_set_of *from)
{
	to->lost |= from->lost;
	for (unsigned int i = 0; i < from->count; i++)
		fds_add(conn, to, from->fds[i]);
	from->count = 0;
	from->lost = false;
}

static void fds_receive(struct vu_conn *conn, struct msghdr *mh, struct fd_set_of *set)
{
	struct cmsghdr *cm;

	for (cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		size_t i, count = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			fds_add(conn, set, fd);
		}
	}
	/* The kernel has closed the rest: a process that may have too few (closer_reserve()). */
	if (mh->msg_flags & MSG_CTRUNC)
		set->lost = true;
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
	fds_close(conn, fds);
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

/* Does the header start a command whose end can be found? */
static bool is_command(const struct vu_hdr *hdr)
{
	return hdr->size >= sizeof(*hdr) && hdr->size <= VU_MSG_MAX &&
	       (hdr->flags & VU_TYPE_MASK) == VU_TYPE_COMMAND;
}

static int check_header(struct vu_conn *conn, const struct vu_hdr *hdr)
{
	if (is_command(hdr))
		return 0;
	os_log(OS_LOG_WARN, "%s: client sends nonsense (size %u, flags 0x%x): closed", conn->name,
		hdr->size, hdr->flags);
	return -EPROTO;
}

/* Is there a whole message in the buffer, or one that is none? */
static bool has_message(const struct vu_conn *conn)
{
	struct vu_hdr hdr;

	if (conn->session.fatal || conn->in_len < sizeof(hdr))
		return false;
	memcpy(&hdr, conn->in + conn->in_done, sizeof(hdr));
	return !is_command(&hdr) || conn->in_len >= hdr.size;
}

/*
 * Handles the first message in the buffer. Descriptors of the last read, conn->got, belong to the message of the last
 * byte: a read ends behind the piece that carried descriptors, and they come with the first byte of their message.
 */
static int handle_first(struct vu_conn *conn)
{
	struct vu_hdr hdr;
	int error;

	memcpy(&hdr, conn->in + conn->in_done, sizeof(hdr));
	error = check_header(conn, &hdr);
	if (error)
		return error;
	if (conn->in_len == hdr.size)
		fds_move(conn, &conn->front, &conn->got);
	error = handle_one(conn, &hdr, conn->in + conn->in_done + sizeof(hdr), &conn->front);
	conn->in_done += hdr.size;
	conn->in_len -= hdr.size;
	return error;
}

/* Reads once; the buffer holds less than a message. 1: something has come; 0: nothing; or a negative errno. */
static int read_once(struct vu_conn *conn)
{
	union {
		char room[CMSG_SPACE(sizeof(int) * CLOSER_MESSAGE)];
		struct cmsghdr align;
	} control;
	struct iovec iov;
	struct msghdr mh = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.room)};
	ssize_t n;

	memmove(conn->in, conn->in + conn->in_done, conn->in_len);
	conn->in_done = 0;
	fds_move(conn, &conn->front, &conn->got);
	iov.iov_base = conn->in + conn->in_len;
	iov.iov_len = VU_MSG_MAX - conn->in_len;
	do {
		n = recvmsg(conn->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	fds_receive(conn, &mh, &conn->got);
	conn->in_len += (size_t)n;
	/* Else the next read would find nothing: that is spared. */
	conn->more = (size_t)n == iov.iov_len || conn->got.count || conn->got.lost;
	return 1;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Messages, read when there is no whole one, until the turn is over or there is no more. */
static int take_turn(struct vu_conn *conn)
{
	const uint64_t end = now_us() + VU_CONN_TURN_US;
	int error = 0, n = 1;

	conn->more = true;
	conn->later = false;
	while (!error && !conn->session.fatal) {
		if (has_message(conn)) {
			error = handle_first(conn);
			if (now_us() >= end)
				break;
			continue;
		}
		if (!n || !conn->more)
			break;
		conn->later = !closer_may_receive(conn->closer, conn->fd);
		if (conn->later)
			break;
		n = read_once(conn);
		error = n < 0 ? n : 0;
	}
	return error;
}

/*
 * Interface
 */

int vu_conn_new(int fd, const struct vu_ops *ops, void *dev, const char *name, struct vu_conn **out)
{
	struct vu_conn *conn = os_zalloc(sizeof(*conn));

	if (!conn)
		return -ENOMEM;
	conn->closer = closer_queue_new(closer_peer(fd));
	if (!conn->closer) {
		os_free(conn);
		return -ENOMEM;
	}
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
	fds_close(conn, &conn->front);
	fds_close(conn, &conn->got);
	while (conn->out)
		out_drop_first(conn);
	closer_queue_end(conn->closer, conn->fd);
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

enum vu_conn_more vu_conn_more(const struct vu_conn *conn)
{
	if (conn->later)
		return VU_CONN_LATER;
	return has_message(conn) ? VU_CONN_NOW : VU_CONN_DONE;
}

int vu_conn_ready(struct vu_conn *conn, uint32_t events)
{
	if (conn->error)
		return conn->error;
	if (events & EPOLLHUP)
		conn->error = -ECONNRESET;
	if (!conn->error)
		conn->error = out_flush(conn);
	if (!conn->error && (events & (EPOLLIN | EPOLLERR | EPOLLRDHUP)))
		conn->error = take_turn(conn);
	if (!conn->error && conn->session.fatal && (!conn->out || (events & EPOLLERR)))
		conn->error = -EPROTO;
	return conn->error;
}

void vu_conn_stats(const struct vu_conn *conn, struct vu_conn_stats *stats)
{
	*stats = conn->stats;
}
