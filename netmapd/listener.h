/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener.h - a listening Unix socket that nobody sees before it listens.
 *
 * bind() makes the path, listen() makes it answer: in between, whoever waits for the path and connects is
 * refused. So the socket is bound to PATH~, and gets its name when it listens:
 *
 *      socket, mode  ->  bind PATH~  ->  listen  ->  PATH~ becomes PATH
 *
 * Thread safety: any thread; two at a time not for one path.
 */
#ifndef NETMAPD_LISTENER_H
#define NETMAPD_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

/* Behind a path, as long as the socket there doesn't listen yet. */
#define LISTENER_TEMP "~"

/*
 * A non-blocking socket of this type (SOCK_STREAM, SOCK_SEQPACKET) at `path` with these mode bits, less the umask, where
 * `backlog` connections may wait to be accepted. `replace`: a socket that is there makes way at once, without a moment in which there is none; else there must be
 * nothing. What a killed process left at PATH~ is removed, when it is a socket.
 * The descriptor, which is the caller's, as is the path; or a negative errno, and nothing has
 * changed: -EADDRINUSE (the path exists, or PATH~ is no socket), -ENAMETOOLONG (with
 * LISTENER_TEMP it must fit a struct sockaddr_un).
 */
int listener_open_as(const char *path, int type, mode_t mode, int backlog, bool replace);

/* For its user alone. */
static inline int listener_open(const char *path, int type, int backlog, bool replace)
{
	return listener_open_as(path, type, 0600, backlog, replace);
}

#endif
