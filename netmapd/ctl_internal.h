/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ctl_internal.h - what the parts of the control socket share.
 *
 *      ctl.c            connections: taken, read, ended
 *      ctl_messages.c   a handler per message, and the table of who may send it when
 *      ctl_long.c       messages that take more than a turn
 *      ctl_reply.c      replies: made, sent, kept for later
 *      ctl_nics.c       messages that wait for a network interface to come, or to go
 *      ctl_socket.c     the socket's path, with its lock file
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_CTL_INTERNAL_H
#define NETMAPD_CTL_INTERNAL_H

#include "closer.h"
#include "ctl.h"
#include "accounts.h"
#include "nic.h"
#include "proto.h"

enum conn_state { CONN_FRESH, CONN_BOUND, CONN_VM, CONN_STATES };

struct conn {
	struct conn *next; /* the one before it */
	uint64_t number;   /* the how manieth it is */
	struct daemon *daemon;
	int fd;
	struct closer_queue *closer; /* for fd, and what comes through it */
	struct account *user;        /* at the other end: pays for all that the connection makes */
	struct loop_handle *handle;
	enum conn_state state;
	struct local *local; /* from the first NMREQ on */
	struct vm *vm;
	const union ctl_message *in; /* the message being handled */
	int rx_fd;                   /* a descriptor that came with it, or -1 */
	/* A message that takes more than a turn; while one of these is there, no other one is read. */
	union ctl_message *waiting; /* others are about to open its port: it is tried again */
	uint32_t tries;
	union ctl_message *request; /* it is carried out in parts, for the reply in `unsent` */
	union ctl_message *unsent;  /* its reply */
	int unsent_fds[NMD_FDS_MAX];
	uint32_t num_unsent_fds;
	/* A message that waits for a network interface, or whose reply, in `unsent`, does. NULL: none. */
	struct port_wait wait;
	struct tap_wait tap_wait; /* or for TAP devices that are leaving */
	union ctl_message *kept;
	size_t kept_bytes;
	int kept_fd;
	bool taps_gone;          /* it goes on in the connection's next turn */
	bool counted;            /* its message is one of the user's requests */
	bool settles;            /* the reply in `unsent` is that to an NMD_SET that goes on */
	struct status *building; /* the answer to an NMD_STATUS; NULL: none */
	char *status;            /* text of the last NMD_STATUS, until its last piece is sent */
	uint32_t status_len;     /* stays */
	bool watches;            /* it waits for events behind this number */
	uint64_t watches_after;
};

struct ctl {
	int fd, lock_fd;
	int spare_fd; /* given up for a moment when descriptors run out */
	bool bound;   /* the path is ours to remove */
	struct loop_handle *handle;
	struct conn *conns;
	uint32_t num_conns;
	uint64_t connected; /* ever */
	uint64_t none_since;
};

/* One message in, one out: each is handled whole before the next one of anybody is read. */
union ctl_message {
	char bytes[NMD_MSG_MAX];
	struct nmd_hdr hdr;
};

/* ---- ctl_messages.c -------------------------------------------------------------------- */

/* Handles a message of `bytes` bytes, and replies. 0, or a negative errno: the connection is to be ended. */
int ctl_handle(struct conn *c, const union ctl_message *message, size_t bytes);

/* Replies to a message as its handler does that has failed. */
int ctl_answer_error(struct conn *c, const union ctl_message *message, const struct nm_error *err);

/* The reply to an NMD_EVENTS that waits (c->watches), if there is an event, or now: also without one. As ctl_handle(). */
int ctl_tell_events(struct conn *c, bool now);

/* Another part of a status (c->building). As ctl_handle(). */
int ctl_go_on_status(struct conn *c);

/* ---- ctl_long.c ------------------------------------------------------------------------ */

/* Another part of a message that takes longer than a turn: while ctl_is_busy(), and no other message is read. As
 * ctl_handle(). */
int ctl_go_on(struct conn *c);

/* What was begun with ctl_reply_begin() is sent later: when the NIC of port `name` works (attach: as below); when the device that the
 * request was to remove is gone; when all rings have the workers that they are to have; when there is no more to do for c->local or
 * c->vm, and then it is completed. As ctl_handle(). */
int ctl_reply_when_ready(
	struct conn *c, const char *name, bool attach, const union ctl_message *message);
int ctl_reply_when_gone(
	struct conn *c, const struct nmreq_header *hdr, const union ctl_message *message);
int ctl_reply_when_settled(struct conn *c);
int ctl_reply_in_parts(struct conn *c);

/* The message being handled is tried again: for a while, since somebody else is about to open what it is about; or behind a change of
 * settings, which moves rings for some turns, however long that takes. False: no more, or no memory. */
bool ctl_try_later(struct conn *c);
bool ctl_try_behind_settings(struct conn *c);

static inline bool ctl_is_busy(const struct conn *c)
{
	return c->unsent || c->waiting || c->building;
}

/* ---- ctl_reply.c ----------------------------------------------------------------------- */

/* A reply of `bytes` bytes to the message being handled, or to one of a type: zeroes but for its header. It is sent, or kept, before
 * another one is begun. */
struct nmd_reply *ctl_reply_begin(const struct conn *c, size_t bytes);
struct nmd_reply *ctl_reply_begin_as(uint16_t type, size_t bytes);

/* Sends it, with descriptors. As ctl_handle(). */
int ctl_reply_send(struct conn *c, const int *fds, uint32_t nfds);

/* A reply of `bytes` bytes that says only this error, sent at once. */
int ctl_reply_error(struct conn *c, size_t bytes, int error, const char *text);

/* It becomes c->unsent, with descriptors in c->unsent_fds if they come; false: no memory. And what was kept is sent. */
bool ctl_reply_keep(struct conn *c);
int ctl_reply_send_kept(struct conn *c);

/* A message of its own; NULL: no memory. The caller frees it. */
union ctl_message *ctl_copy(const union ctl_message *message);

/* Tells a client that is turned away why, as the reply to the greeting that it is about to send, or has sent. */
void ctl_refuse(int fd, const struct nm_error *err);

/* ---- ctl.c ----------------------------------------------------------------------------- */

/* A message that may take more than a turn: one of the requests that its user may have at a time, until it is done. -EDQUOT with a
 * text. */
int ctl_begin_request(struct conn *c, struct nm_error *err);
/* Behind each part of it. */
void ctl_end_request(struct conn *c);

/* The message is handled, or tried again, then with its descriptor. */
static inline void ctl_put_fd(struct conn *c)
{
	if (c->waiting)
		return;
	closer_put(c->closer, c->rx_fd);
	c->rx_fd = -1;
}

/* Ends a connection and what it owns. */
void ctl_end(struct conn *c);

/* ---- ctl_nics.c ------------------------------------------------------------------------ */

/*
 * Port `name` may be a network interface (attach: the port of a switch that a device of this name is about to have). ask: before
 * the message is handled; ready: behind it, with the reply in c->unsent. 0: go on; -EINPROGRESS: nothing is left to do, the
 * message is kept; ask, any other error: refuse it.
 */
int ctl_nics_ask(struct conn *c, const char *name, bool attach, const union ctl_message *message,
	size_t bytes, struct nm_error *err);
int ctl_nics_ready(struct conn *c, const char *name, bool attach, const union ctl_message *message,
	size_t bytes);
/* ready, for a reply that can't wait: what the port needs is asked for all the same. */
void ctl_nics_start(struct conn *c, const char *name, bool attach, const union ctl_message *message,
	size_t bytes);
void ctl_nics_forget(struct conn *c);

/* The same for a request to make a persistent port, or to remove one: its device, or others, may still be leaving. ask: any other: 0;
 * ready: only for one that has removed a port. */
int ctl_taps_ask(struct conn *c, const struct nmreq_header *hdr, const union ctl_message *message,
	size_t bytes, struct nm_error *err);
int ctl_taps_ready(struct conn *c, const struct nmreq_header *hdr, const union ctl_message *message,
	size_t bytes);
/* c->taps_gone: another try. May end the connection. */
void ctl_taps_go_on(struct conn *c);

/* ---- ctl_socket.c ---------------------------------------------------------------------- */

/* The socket at config.socket_path, or the one that systemd has opened there, and the lock beside it. It is for netmapd's user, for
 * `group` unless that is -1, or, with a policy and without a group, for all. What was made when it fails is in *ctl. */
int ctl_socket_open(struct ctl *ctl, const char *path, gid_t group, struct nm_error *err);
void ctl_socket_close(struct ctl *ctl, const char *path);

#endif
