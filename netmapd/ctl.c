/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections of the control socket. A message is one datagram (SOCK_SEQPACKET); it is handled whole before the
 * next one of anybody is read, and the loop gives each connection its turn.
 *
 * Descriptors that come in are closed by the closer, with the socket that they came through: that can take as long as
 * the client likes.
 */
#include "ctl_internal.h"
#include "events.h"
#include "local.h"
#include "log.h"
#include "os_user.h"
#include "proto_client.h"
#include "status.h"
#include "vm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS UINT64_MAX /* a source of the log: those of a user who are turned away */

enum {
	PAUSE_MS = 100, /* before the next try when something is short, */
	CLOSING_MS = 5, /* or a descriptor, and one is about to be closed */
};

/* The message that is handled. */
static union ctl_message in;

/* ---- connections --------------------------------------------------------------------- */

void ctl_end(struct conn *c)
{
	struct ctl *ctl = c->daemon->ctl;
	struct conn **link = &ctl->conns;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	os_assert(ctl->num_conns > 0);
	ctl->num_conns--;
	ctl->none_since = os_time_s();
	loop_del(c->daemon->loop, c->handle);
	nm_quota_give(account_quota(c->user), LIMIT_REQUESTS, c->counted);
	ctl_nics_forget(c);
	vm_free(c->vm);
	local_free(c->local);
	closer_put(c->closer, c->rx_fd);
	closer_queue_end(c->closer, c->fd);
	nm_quota_give(account_quota(c->user), LIMIT_DESCRIPTORS, 1);
	nm_quota_give(account_quota(c->user), LIMIT_CONNECTIONS, 1);
	account_put(c->user);
	free(c->unsent);
	free(c->request);
	free(c->waiting);
	status_free(c->building);
	free(c->status);
	os_free(c);
}

/* The first descriptor of a message is kept; at most one makes sense, the others are closed. */
static void take_received(struct conn *c, struct msghdr *msg)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (c->rx_fd < 0)
				c->rx_fd = fd;
			else
				closer_put(c->closer, fd);
		}
	}
}

static ssize_t receive(struct conn *c)
{
	char control[CMSG_SPACE(CLOSER_MESSAGE * sizeof(int))];
	struct iovec iov = {in.bytes, sizeof(in.bytes)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return -errno;
	take_received(c, &msg);
	return msg.msg_flags & MSG_TRUNC ? -EPROTO : n;
}

int ctl_begin_request(struct conn *c, struct nm_error *err)
{
	int error = c->counted ? 0 : nm_quota_take(account_quota(c->user), LIMIT_REQUESTS, 1, err);

	c->counted = !error;
	return error;
}

void ctl_end_request(struct conn *c)
{
	if (!c->counted || ctl_is_busy(c) || c->kept)
		return;
	nm_quota_give(account_quota(c->user), LIMIT_REQUESTS, 1);
	c->counted = false;
}

/* The next message, or a part of one. What it makes is paid for by the user at the other end. */
static int handle(struct conn *c, size_t bytes)
{
	struct nm_core *core = &c->daemon->core;
	char machine[16] = "";
	int error;

	if (c->vm)
		snprintf(machine, sizeof(machine), "vm%u", c->vm->number);
	log_about(c->local ? local_port_name(c->local) : NULL, machine);
	core->payer = account_quota(c->user);
	error = ctl_is_busy(c) ? ctl_go_on(c) : ctl_handle(c, &in, bytes);
	core->payer = NULL;
	ctl_put_fd(c);
	ctl_end_request(c);
	return error;
}

/* 0: a message is there; 1: none can be read now; -ECONNRESET: that was all. */
static int next_message(struct conn *c, size_t *bytes)
{
	ssize_t n;

	if (c->watches && ctl_tell_events(c, false) < 0)
		return -ECONNRESET;
	if (!closer_may_receive(c->closer, c->fd)) {
		loop_pause(c->daemon->loop, c->handle, PAUSE_MS);
		return 1;
	}
	n = receive(c);
	if (n == -EAGAIN || n == -EINTR)
		return 1;
	if (n <= 0 || (c->watches && ctl_tell_events(c, true) < 0))
		return -ECONNRESET;
	*bytes = (size_t)n;
	return 0;
}

/* One message, or a part of one; of a client that has hung up, none. */
static void conn_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;
	size_t bytes = 0;
	int error = 0;

	if (events & (EPOLLHUP | EPOLLERR)) {
		error = -ECONNRESET;
	} else if (c->kept) {
		if (c->taps_gone)
			ctl_taps_go_on(c);
		return; /* else an event of before it was */
	} else if (!ctl_is_busy(c)) {
		error = next_message(c, &bytes);
	}
	if (error == 0)
		error = handle(c, bytes);
	if (error < 0)
		ctl_end(c);
}

/* The spare descriptor, as long as it can be had. Until the one before is closed, clients wait. */
static bool has_spare(struct loop *loop, struct ctl *ctl)
{
	if (ctl->spare_fd < 0)
		ctl->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (ctl->spare_fd < 0) {
		loop_pause(loop, ctl->handle, CLOSING_MS);
		loop_again(loop, ctl->handle);
	}
	return ctl->spare_fd >= 0;
}

/*
 * A client that can't be taken would stay in the queue, and the loop would spin: it is accepted
 * with the spare descriptor, and sees that it is hung up on.
 */
static void reject_client(struct loop *loop, struct ctl *ctl, int error)
{
	int fd;

	log_error(error);
	os_log(OS_LOG_WARN, "a client is turned away: %s", strerror(error));
	close(ctl->spare_fd);
	ctl->spare_fd = -1;
	fd = accept4(ctl->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		closer_turn_away(fd);
	else
		loop_pause(loop, ctl->handle, PAUSE_MS); /* the machine is out of something */
	(void)has_spare(loop, ctl);
}

/* A connection, and its socket, for the user at the other end. */
static int pay(struct account *user, struct nm_error *err)
{
	int error = nm_quota_take(account_quota(user), LIMIT_CONNECTIONS, 1, err);

	if (error)
		return error;
	error = nm_quota_take(account_quota(user), LIMIT_DESCRIPTORS, 1, err);
	if (error)
		nm_quota_give(account_quota(user), LIMIT_CONNECTIONS, 1);
	return error;
}

static struct conn *new_conn(struct daemon *d, int fd, struct nm_error *err)
{
	struct conn *c = os_zalloc(sizeof(*c));

	nm_error_set(err, -ENOMEM, "netmapd is out of memory");
	if (!c)
		return NULL;
	c->daemon = d;
	c->fd = fd;
	c->kept_fd = -1;
	c->rx_fd = -1;
	c->closer = closer_queue_new(closer_peer(fd));
	if (c->closer)
		err->code = loop_add(d->loop, fd, EPOLLIN, conn_ready, c, &c->handle);
	if (!err->code)
		return c;
	nm_error_set(err, err->code, "netmapd can't wait for it: %s", strerror(-err->code));
	closer_queue_end(c->closer, -1);
	os_free(c);
	return NULL;
}

/* 0, or a negative errno; fd is still the caller's then. */
static int add_conn(struct daemon *d, int fd, struct nm_error *err)
{
	struct account *user = account_get(closer_peer(fd), err);
	struct conn *c;

	if (!user)
		return err->code;
	if (pay(user, err) != 0)
		goto put;
	c = new_conn(d, fd, err);
	if (!c)
		goto give;
	c->user = user;
	loop_share(c->handle, account_budget(user));
	c->number = ++d->ctl->connected;
	c->next = d->ctl->conns;
	d->ctl->conns = c;
	d->ctl->num_conns++;
	return 0;

give:
	nm_quota_give(account_quota(user), LIMIT_DESCRIPTORS, 1);
	nm_quota_give(account_quota(user), LIMIT_CONNECTIONS, 1);
put:
	account_put(user);
	return err->code;
}

int ctl_connect_self(struct daemon *d, struct nm_error *err)
{
	int fds[2], error;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return nm_error_set(err, -errno, "no socket: %s", strerror(errno));
	error = fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0
			? nm_error_set(err, -errno, "no socket: %s", strerror(errno))
			: add_conn(d, fds[0], err);
	if (!error) {
		nmd_limit_waiting(fds[1]);
		return fds[1];
	}
	close(fds[0]);
	close(fds[1]);
	return error;
}

static void accept_ready(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	struct nm_error err;
	int fd, error;

	if (!has_spare(d->loop, d->ctl))
		return;
	fd = accept4(d->ctl->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			reject_client(d->loop, d->ctl, errno);
		return;
	}
	if (os_fd_is_reserved(fd))
		error = nm_error_set(&err, -EMFILE, "%s", strerror(EMFILE));
	else
		error = add_conn(d, fd, &err);
	if (error) {
		log_from(&(struct log_source){.id = CLIENTS, .user = closer_peer(fd)});
		log_error(error);
		os_log(OS_LOG_WARN, "a client is turned away: %s", err.text);
		ctl_refuse(fd, &err);
		closer_turn_away(fd);
	}
}

uint32_t ctl_connections(const struct daemon *d, uint64_t *none_since)
{
	*none_since = d->ctl->none_since;
	return d->ctl->num_conns;
}

const struct local *ctl_next_local(const struct daemon *d, uint64_t *number, struct ucred *peer)
{
	const struct conn *c = d->ctl->conns;
	socklen_t size = sizeof(*peer);

	while (c && (c->number >= *number || c->state != CONN_BOUND))
		c = c->next;
	if (!c)
		return NULL;
	*number = c->number;
	memset(peer, 0, sizeof(*peer));
	getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, peer, &size);
	return c->local;
}

/* Who waits for events has a turn; nothing is sent here, in the middle of what somebody else does. */
static void wake_watchers(void *arg)
{
	const struct daemon *d = arg;

	for (struct conn *c = d->ctl ? d->ctl->conns : NULL; c; c = c->next)
		if (c->watches)
			loop_again(d->loop, c->handle);
}

/* ---- life ---------------------------------------------------------------------------- */

int ctl_open(struct daemon *d, struct nm_error *err)
{
	const char *path = d->config.socket_path;
	struct ctl *ctl = os_zalloc(sizeof(*ctl));
	int error;

	if (!ctl)
		return nm_error_set(err, -ENOMEM, "out of memory");
	d->ctl = ctl;
	ctl->none_since = os_time_s();
	events_listen(wake_watchers, d);
	error = ctl_socket_open(ctl, path, d->config.group, err);
	if (!error) {
		error = loop_add(d->loop, ctl->fd, EPOLLIN, accept_ready, d, &ctl->handle);
		if (error)
			nm_error_set(err, error, "%s: %s", path, strerror(-error));
	}
	if (error)
		ctl_close(d);
	return error;
}

void ctl_close(struct daemon *d)
{
	struct ctl *ctl = d->ctl;

	if (!ctl)
		return;
	events_listen(NULL, NULL);
	while (ctl->conns)
		ctl_end(ctl->conns);
	loop_del(d->loop, ctl->handle);
	ctl_socket_close(ctl, d->config.socket_path);
	os_free(ctl);
	d->ctl = NULL;
}
