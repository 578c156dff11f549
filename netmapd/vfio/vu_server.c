/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One listening socket, one client. A connection ends in one place, end_connection(), whoever ends
 * it: out of the loop, the device lets go of the client's memory, then the socket is closed, by
 * which the client sees it.
 */
#include "vu_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "closer.h"
#include "listener.h"
#include "log.h"
#include "os.h"
#include "os_user.h"

enum {
	BACKLOG = 4,    /* connections that wait to be accepted */
	PAUSE_MS = 100, /* before the next try when accepting fails, */
	CLOSING_MS = 5, /* or while a descriptor is being closed */
};

struct vu_server {
	struct loop *loop;
	const struct vu_ops *ops;
	void *dev;
	void (*ended)(void *dev);
	const char *name;
	const char *port; /* behind the machine's, in name; NULL: it is of the machine's memory */
	char machine[32];

	uid_t user;    /* who is served; -1: everybody */
	int listen_fd; /* -1: none */
	int spare_fd;  /* given up for a moment when descriptors run out */
	struct loop_handle *listen_handle;
	char path[sizeof(
		((struct sockaddr_un *)0)->sun_path)]; /* empty: there is nothing to remove */

	struct vu_conn *conn; /* NULL: no client is connected */
	struct loop_handle *conn_handle;
	struct loop_budget *budget;   /* for it; NULL: none */
	struct vu_server_stats stats; /* messages and errors: of ended connections */
};

/*
 * The connection
 */

static void end_connection(struct vu_server *server)
{
	struct vu_conn_stats stats;

	if (!server->conn)
		return;
	vu_conn_stats(server->conn, &stats);
	server->stats.messages += stats.messages;
	server->stats.errors += stats.errors;
	loop_del(server->loop, server->conn_handle);
	server->conn_handle = NULL;
	/* The device lets go of the client's memory before the client can see that it is free. */
	server->ended(server->dev);
	vu_conn_free(server->conn);
	server->conn = NULL;
}

/* What is left waits until others have had their turn. */
static void rest_of_turn(struct vu_server *server)
{
	enum vu_conn_more more = vu_conn_more(server->conn);

	if (more == VU_CONN_NOW)
		loop_again(server->loop, server->conn_handle);
	else if (more == VU_CONN_LATER)
		loop_pause(server->loop, server->conn_handle, PAUSE_MS);
}

/* What is logged in a callback. */
static void about(const struct vu_server *server)
{
	log_about(server->port, server->machine);
}

/* From its name, "vm1 vale1:a", or "vm1 memory". */
static void split_name(struct vu_server *server)
{
	const char *space = strchr(server->name, ' ');

	snprintf(server->machine, sizeof(server->machine), "%.*s", (int)strcspn(server->name, " "),
		server->name);
	if (space && strncmp(space + 1, "memory", 6) != 0)
		server->port = space + 1;
}

static void on_message(void *arg, uint32_t events)
{
	struct vu_server *server = arg;
	int error;

	about(server);
	error = vu_conn_ready(server->conn, events);
	if (!error)
		error = loop_mod(server->loop, server->conn_handle, vu_conn_events(server->conn));
	if (!error) {
		rest_of_turn(server);
		return;
	}
	/* Violations have been logged where they were found. */
	if (error == -ECONNRESET || error == -EPIPE)
		os_log(OS_LOG_INFO, "%s: client has disconnected", server->name);
	else if (error != -EPROTO && error != -ENOBUFS) {
		log_error(error);
		os_log(OS_LOG_WARN, "%s: connection lost: %s", server->name, strerror(-error));
	}
	end_connection(server);
}

int vu_server_adopt(struct vu_server *server, int fd)
{
	struct vu_conn *conn;
	int error;

	if (server->conn) {
		server->stats.refused++;
		closer_turn_away(fd);
		return -EBUSY;
	}
	error = vu_conn_new(fd, server->ops, server->dev, server->name, &conn);
	if (error) {
		closer_turn_away(fd);
		return error;
	}
	error = loop_add(
		server->loop, fd, vu_conn_events(conn), on_message, server, &server->conn_handle);
	if (error) {
		vu_conn_free(conn);
		return error;
	}
	loop_share(server->conn_handle, server->budget);
	server->conn = conn;
	server->stats.connections++;
	if (server->ops->connected)
		server->ops->connected(server->dev, fd);
	os_log(OS_LOG_INFO, "%s: client has connected", server->name);
	return 0;
}

/*
 * The listening socket
 */

static bool has_hung_up(const struct vu_conn *conn)
{
	struct pollfd p = {.fd = vu_conn_fd(conn)};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

static void take_client(struct vu_server *server, int fd)
{
	int error;

	/* A client that comes right after the last one has gone: that one's end may not have been
	 * seen yet. */
	if (server->conn && has_hung_up(server->conn))
		on_message(server, EPOLLHUP);
	error = vu_server_adopt(server, fd);
	if (error)
		os_log(OS_LOG_WARN, "%s: a client was refused: %s", server->name,
			error == -EBUSY ? "another one is connected" : strerror(-error));
}

/* The spare descriptor, as long as it can be had. Until the one before is closed, clients wait. */
static bool has_spare(struct vu_server *server)
{
	if (server->spare_fd < 0)
		server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (server->spare_fd < 0) {
		loop_pause(server->loop, server->listen_handle, CLOSING_MS);
		loop_again(server->loop, server->listen_handle);
	}
	return server->spare_fd >= 0;
}

/*
 * A client that can't be taken would stay in the queue, and the loop would spin: it is accepted with the spare
 * descriptor, and sees that it is hung up on. When the system is short of something else, it waits.
 */
static void turn_away(struct vu_server *server, int error)
{
	int fd;

	os_log(OS_LOG_ERR, "%s: a client can't be accepted: %s%s", server->name, strerror(error),
		error == EMFILE ? " (ulimit -n)" : "");
	close(server->spare_fd);
	server->spare_fd = -1;
	fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		closer_turn_away(fd);
		server->stats.refused++;
	} else {
		loop_pause(server->loop, server->listen_handle, PAUSE_MS);
	}
	(void)has_spare(server);
}

static bool is_served(const struct vu_server *server, int fd)
{
	uid_t peer = closer_peer(fd);

	return server->user == (uid_t)-1 || peer == server->user || peer == 0 || peer == geteuid();
}

void vu_server_serve_only(struct vu_server *server, uid_t user, bool open)
{
	server->user = user;
	if (open && chmod(server->path, 0666) < 0)
		os_log(OS_LOG_WARN, "%s: the user's programs can't get to %s: %s", server->name,
			server->path, strerror(errno));
}

static void on_connect(void *arg, uint32_t events)
{
	struct vu_server *server = arg;
	int fd;

	about(server);
	if (!has_spare(server))
		return;
	fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0 && os_fd_is_reserved(fd)) {
		os_log(OS_LOG_ERR,
			"%s: a client is turned away: all descriptors are in use (ulimit -n)",
			server->name);
		server->stats.refused++;
		closer_turn_away(fd);
	} else if (fd >= 0 && !is_served(server, fd)) {
		os_log(OS_LOG_WARN, "%s: a client of user %u is turned away: it is user %u's",
			server->name, (unsigned)closer_peer(fd), (unsigned)server->user);
		server->stats.refused++;
		closer_turn_away(fd);
	} else if (fd >= 0) {
		take_client(server, fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		turn_away(server, errno);
	}
}

static int start_listening(struct vu_server *server, const char *path)
{
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (server->spare_fd < 0)
		return -errno;
	server->listen_fd = listener_open(path, SOCK_STREAM, BACKLOG, false);
	if (server->listen_fd < 0)
		return server->listen_fd;
	strcpy(server->path, path); /* listener_open() has found it short enough */
	return loop_add(server->loop, server->listen_fd, EPOLLIN, on_connect, server,
		&server->listen_handle);
}

int vu_server_new(struct loop *loop, const char *path, const struct vu_ops *ops, void *dev,
	void (*ended)(void *dev), const char *name, struct vu_server **out)
{
	struct vu_server *server = os_zalloc(sizeof(*server));
	int error;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->ops = ops;
	server->dev = dev;
	server->ended = ended;
	server->name = name;
	split_name(server);
	server->listen_fd = -1;
	server->spare_fd = -1;
	server->user = (uid_t)-1;
	error = path ? start_listening(server, path) : 0;
	if (error) {
		vu_server_free(server);
		return error;
	}
	*out = server;
	return 0;
}

void vu_server_share(struct vu_server *server, struct loop_budget *budget)
{
	server->budget = budget;
}

void vu_server_free(struct vu_server *server)
{
	if (!server)
		return;
	/* First the way in, so that a client that sees the connection end can't come back. */
	loop_del(server->loop, server->listen_handle);
	if (server->path[0])
		unlink(server->path);
	if (server->listen_fd >= 0)
		close(server->listen_fd);
	if (server->spare_fd >= 0)
		close(server->spare_fd);
	end_connection(server);
	os_free(server);
}

void vu_server_stats(const struct vu_server *server, struct vu_server_stats *stats)
{
	struct vu_conn_stats now = {0};

	*stats = server->stats;
	if (server->conn)
		vu_conn_stats(server->conn, &now);
	stats->messages += now.messages;
	stats->errors += now.errors;
	stats->connected = server->conn != NULL;
}
