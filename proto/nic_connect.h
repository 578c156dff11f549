/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic_connect.h - a connection to netmapd-nic, and its messages (nic_proto.h).
 *
 * Root starts a netmapd-nic of its own for each connection, which ends with it; others connect to the socket of
 * the one that the system has started.
 *
 * Thread safety: no state, but that the process doesn't care for the exit of children from nic_connect() on, as root.
 */
#ifndef PROTO_NIC_CONNECT_H
#define PROTO_NIC_CONNECT_H

#include <stdbool.h>

#include "nic_proto.h"
#include "nm_error.h"

/*
 * socket: the path, or NULL: as root a child, else NIC_SOCKET_DEFAULT. The program for children is $NETMAPD_NIC, else
 * beside this program, else where it is installed. Never waits for anybody. A non-blocking descriptor, which is the caller's, or
 * a negative errno with its text.
 */
int nic_connect(const char *socket, struct nm_error *err);

/*
 * Root, from now on: children are started by a process that is forked here, before this one gives up what they need; it ends with this
 * one. quiet: it holds no terminal, and nobody's pipe. Before there are threads. 0 or a negative errno.
 */
int nic_starter_fork(bool quiet);

/* Children of that process write their log there from now on; fd stays the caller's. Without such a process: nothing. */
void nic_starter_log(int fd);

/* Fills in the header of a message. */
void nic_header_init(struct nic_header *hdr, enum nic_message_type type);

/* Sends it, and num_fds descriptors with it; they stay the caller's. 0, or a negative errno: -EAGAIN when the other side doesn't
 * read; then there is no use in it any more. */
int nic_send(int sock, const void *message, size_t bytes, const int *fds, uint32_t num_fds);

/*
 * Takes the next message: its bytes, or a negative errno: -EAGAIN: none is there; -EPIPE: the other side has ended; -EPROTO: not
 * one of ours, or not of its type's size. Up to *num_fds descriptors come to fds[], with an error, too, and are the caller's; their
 * number to *num_fds.
 */
int nic_receive(int sock, union nic_message *message, int *fds, uint32_t *num_fds);

/* "any", "zero-copy", "native", "generic"; "?" */
const char *nic_mode_name(uint32_t mode);

#endif
