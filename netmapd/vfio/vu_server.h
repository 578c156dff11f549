/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vu_server.h - the socket of one vfio-user device and its one client.
 *
 * Listens at a path, takes one connection at a time, runs it in the control
 * thread's loop, and tells the device when it has ended. While a client is
 * connected, another one is accepted and closed at once; afterwards the socket
 * is open for the next. Without a descriptor for a client it is closed as well; when accepting fails
 * for another reason it is tried again a little later.
 *
 * Thread safety: the thread that runs the loop makes all calls.
 */
#ifndef NETMAPD_VU_SERVER_H
#define NETMAPD_VU_SERVER_H

#include <stdbool.h>

#include "loop.h"
#include "vu_conn.h"

struct vu_server;

/*
 * `path` is created as a socket with mode 0600; it must not exist. NULL: no socket, only
 * vu_server_adopt(). `name` is for the log and must outlive the server, as must `ops`, `dev`
 * and `loop`. `ended(dev)` is called whenever a connection has ended, by the client, by
 * a violation, or by vu_server_free(); no other handler is called for it afterwards.
 * 0 and *out, or a negative errno (-EADDRINUSE: path exists; -ENAMETOOLONG).
 */
int vu_server_new(struct loop *loop, const char *path, const struct vu_ops *ops, void *dev,
	void (*ended)(void *dev), const char *name, struct vu_server **out);

/*
 * Whoever else can reach the path, only processes of this user are served, and root's, and those of netmapd's own user. `open`: the
 * path is made open to all users, because they have to get there. Without a call everybody is served.
 */
void vu_server_serve_only(struct vu_server *server, uid_t user, bool open);

/* The control thread's time for its clients comes from this budget (loop_share()), too. NULL: there is none. */
void vu_server_share(struct vu_server *server, struct loop_budget *budget);

/* Ends the connection, closes the socket, removes the path. NULL is allowed. Not from a handler
 * of the device. */
void vu_server_free(struct vu_server *server);

/* Serves `fd`, a connected stream socket, as if it had been accepted. Takes it over, and
 * closes it when it fails: -EBUSY while another client is connected, -ENOMEM, -ENOSPC. */
int vu_server_adopt(struct vu_server *server, int fd);

struct vu_server_stats {
	uint64_t connections;      /* taken */
	uint64_t refused;          /* while another one was there */
	uint64_t messages, errors; /* as struct vu_conn_stats, over all connections */
	bool connected;
};

void vu_server_stats(const struct vu_server *server, struct vu_server_stats *stats);

#endif
