/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vu_msg.h - what each vfio-user command means.
 *
 * vu_conn.c moves bytes and descriptors; this part takes one whole message, checks
 * it against the table of commands and against the device, calls the device, and
 * fills in the reply. It does no I/O, so tests call it directly.
 *
 *      struct vu_session s;
 *      vu_session_init(&s, &my_ops, my_device);
 *      error = vu_msg_handle(&s, &msg, &reply);
 *
 * Thread safety: one thread makes all calls for one session.
 */
#ifndef NETMAPD_VU_MSG_H
#define NETMAPD_VU_MSG_H

#include <stdbool.h>
#include <stddef.h>

#include "vu_conn.h"

/* What a connection has agreed on. */
struct vu_session {
	const struct vu_ops *ops;
	void *dev;
	bool ready;         /* VERSION is done */
	bool fatal;         /* nothing can follow: close once the reply is out */
	bool peer_takes_fd; /* the client can receive a descriptor */
};

/* One command as received. The payload may be unaligned. */
struct vu_msg {
	struct vu_hdr hdr;
	const uint8_t *payload;
	size_t len; /* bytes of payload */
	const int *fds;
	unsigned int nfds;
	bool fds_lost; /* more came than VU_FDS_MAX */
};

struct vu_reply {
	size_t len; /* bytes of data */
	int fd;     /* to send along; -1: none. Stays the device's. */
	uint8_t data[sizeof(struct vu_region_rw) + VU_DATA_MAX];
};

void vu_session_init(struct vu_session *session, const struct vu_ops *ops, void *dev);

/*
 * Handles a command; its type bits are those of a command, its size is msg->len plus the
 * header. 0 and the reply's payload, or a negative errno for an error reply.
 */
int vu_msg_handle(struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply);

/* "DMA_MAP", …; "?" for an unknown command. For logs. */
const char *vu_msg_name(uint16_t command);

#endif
