/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Sent, or kept elsewhere, before another message is handled. */
static union ctl_message out;

struct nmd_reply *ctl_reply_begin_as(uint16_t type, size_t bytes)
{
	struct nmd_reply *reply = (struct nmd_reply *)out.bytes;

	memset(out.bytes, 0, bytes);
	reply->hdr = (struct nmd_hdr){
		.magic = NMD_MAGIC,
		.version = NMD_VERSION,
		.type = type,
		.size = (uint32_t)bytes,
	};
	return reply;
}

struct nmd_reply *ctl_reply_begin(const struct conn *c, size_t bytes)
{
	return ctl_reply_begin_as(c->in->hdr.type, bytes);
}

/* A client that has no room for a reply doesn't read them: it is given up. */
static int send_message(int fd, const int *fds, uint32_t nfds)
{
	char control[CMSG_SPACE(NMD_FDS_MAX * sizeof(int))] = {0};
	struct iovec iov = {out.bytes, out.hdr.size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int ctl_reply_send(struct conn *c, const int *fds, uint32_t nfds)
{
	return send_message(c->fd, fds, nfds);
}

void ctl_refuse(int fd, const struct nm_error *err)
{
	struct nmd_reply *reply = ctl_reply_begin_as(NMD_HELLO, sizeof(struct nmd_hello));

	reply->hdr.status = err->code;
	snprintf(reply->text, sizeof(reply->text), "%s", err->text);
	(void)send_message(fd, NULL, 0);
}

int ctl_reply_error(struct conn *c, size_t bytes, int error, const char *text)
{
	struct nmd_reply *reply = ctl_reply_begin(c, bytes);

	reply->hdr.status = error;
	snprintf(reply->text, sizeof(reply->text), "%s", text);
	os_make_printable(reply->text);
	return ctl_reply_send(c, NULL, 0);
}

union ctl_message *ctl_copy(const union ctl_message *message)
{
	union ctl_message *copy = malloc(message->hdr.size);

	if (copy)
		memcpy(copy, message, message->hdr.size);
	return copy;
}

bool ctl_reply_keep(struct conn *c)
{
	c->num_unsent_fds = 0;
	c->unsent = ctl_copy(&out);
	return c->unsent != NULL;
}

int ctl_reply_send_kept(struct conn *c)
{
	memcpy(&out, c->unsent, c->unsent->hdr.size);
	free(c->unsent);
	c->unsent = NULL;
	return ctl_reply_send(c, c->unsent_fds, c->num_unsent_fds);
}
