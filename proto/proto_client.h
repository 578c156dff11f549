/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proto_client.h - the client's side of netmapd's control socket.
 *
 * libnetmap, qemu-ptnet and netmapctl all talk to netmapd; what they say is in
 * proto.h, and how a message gets there and back is here: find the socket,
 * connect, greet, send one request, wait for its one reply, take over the
 * descriptors that come with it. A reply is checked before it is handed out, so
 * that a broken or foreign server gives an error and not a wild read.
 *
 *      struct nm_error err;
 *      int fd = nmd_connect(NULL, NULL, &err);
 *      if (fd < 0)
 *              errx(1, "%s", err.text);
 *      struct nmd_vm_create req = { 0 };
 *      struct nmd_vm_create_reply reply;
 *      nmd_hdr_init(&req.hdr, NMD_VM_CREATE, sizeof(req));
 *      if (nmd_call(fd, &req, &reply, sizeof(reply), &err) < 0)
 *              errx(1, "%s", err.text);
 *      ...
 *      close(fd);              everything the connection owned is released
 *
 * A call that fails fills *err (nm_error.h); one that succeeds leaves it alone.
 *
 * Needs libc and nm_error.c only: the file is compiled into each program and library that uses it.
 *
 * Thread safety: the functions keep no state of their own. One connection
 * carries one request at a time: callers that share a descriptor lock around it.
 */
#ifndef PROTO_PROTO_CLIENT_H
#define PROTO_PROTO_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "nm_error.h"
#include "proto.h"

/* A server that says nothing for so long is given up (-ETIMEDOUT). */
enum { NMD_REPLY_SECONDS = 30 };

/*
 * Where the control socket is: `path` if not NULL, else the order of proto.h.
 * Writes the path to out. -ENAMETOOLONG (text in err) when it doesn't fit.
 */
int nmd_socket_path(const char *path, char out[NMD_PATH_MAX], struct nm_error *err);

/*
 * Connects to netmapd at `path` (NULL: the usual place) and exchanges NMD_HELLO.
 * The greeting goes to *hello unless that is NULL. Returns a descriptor, which is
 * the caller's and has FD_CLOEXEC set, or a negative errno with its text in err:
 *   -ENOENT           there is no socket: netmapd doesn't run
 *   -ECONNREFUSED     there is one, but nobody listens: netmapd died
 *   -EACCES           the socket or its directory is closed to this user
 *   -EPROTONOSUPPORT  netmapd speaks another version
 *   -EPROTO, -ETIMEDOUT, -ECONNRESET  as nmd_request()
 */
int nmd_connect(const char *path, struct nmd_hello *hello, struct nm_error *err);

/* Calls on this socket wait NMD_REPLY_SECONDS at most: of those that nmd_connect() makes they do. */
void nmd_limit_waiting(int fd);

/* Fills in the header of a request of `size` bytes, header included. */
void nmd_hdr_init(struct nmd_hdr *hdr, enum nmd_type type, size_t size);

/*
 * Sends the request that starts with `req` (hdr.size bytes of it) and receives
 * the reply, at most reply_max bytes, into `reply`.
 *
 * `fds` and `nfds` take descriptors that come along: *nfds is the room on entry
 * and the number received on return. They are the caller's to close, whatever
 * hdr.status says, and have FD_CLOEXEC set. NULL, NULL: none are expected.
 *
 * Returns the bytes received: at least sizeof(struct nmd_reply), header checked,
 * text terminated. The caller looks at hdr.status, and checks that there are as
 * many bytes as the message needs. Otherwise a negative errno, no descriptors, and
 * the connection is of no further use:
 *   -EMSGSIZE    the request is larger than NMD_MSG_MAX, or the reply than reply_max
 *   -EPROTO      the reply is not one: wrong header, wrong size, too many descriptors
 *   -EPROTONOSUPPORT  netmapd speaks another version
 *   -EMFILE      this process may not have as many descriptors as come along
 *   -ECONNRESET  netmapd closed the connection
 *   -ETIMEDOUT   no reply within NMD_REPLY_SECONDS
 */
ssize_t nmd_request(
	int fd, const void *req, void *reply, size_t reply_max, int *fds, unsigned int *nfds);

/* As nmd_request(), and the descriptor send_fd (-1: none) goes along. It stays the caller's. */
ssize_t nmd_request_fd(int fd, const void *req, int send_fd, void *reply, size_t reply_max,
	int *fds, unsigned int *nfds);

/*
 * nmd_request() for replies that begin with `head` bytes, and have a list of any length behind: its bytes, or a negative errno, as
 * nmd_call(); -EPROTO also when there are fewer than `head`.
 */
ssize_t nmd_ask(
	int fd, const void *req, void *reply, size_t reply_max, size_t head, struct nm_error *err);

/*
 * nmd_request() for replies of a fixed size without descriptors: 0 when the
 * request succeeded and `reply` holds reply_size bytes; else a negative errno,
 * from the transport or from netmapd, with the text in err.
 */
int nmd_call(int fd, const void *req, void *reply, size_t reply_size, struct nm_error *err);

#endif
