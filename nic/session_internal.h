/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session_internal.h - what the parts of a session share.
 *
 *      session.c        messages and states
 *      session_xdp.c    what they do to the interface
 *
 * Thread safety: one thread.
 */
#ifndef NIC_SESSION_INTERNAL_H
#define NIC_SESSION_INTERNAL_H

#include <stdbool.h>

#include "access.h"
#include "claim.h"
#include "nic_proto.h"
#include "nm_error.h"
#include "program.h"
#include "session.h"
#include "sockets.h"
#include "stack.h"
#include "twin.h"

enum session_state {
	SESSION_FRESH,
	SESSION_KNOWN,
	SESSION_OPENED,
	SESSION_UNMAPPED,
	SESSION_SPOILT,
	SESSION_BOUND,
	SESSION_FAILED,
	SESSION_DETACHED,
	SESSION_ENDED,
};

struct session {
	int sock;
	uid_t peer;
	const struct session_config *config;
	struct access_rules rules;
	enum session_state state;
	bool unheard;  /* the last message to the client couldn't be sent */
	bool sent_fds; /* the client has been sent descriptors */
	bool untold; /* it doesn't read, and so doesn't know yet what has become of the interface */
	struct nic_facts facts;
	char asked[NIC_NAME_MAX]; /* the interface's name when it was asked for: rights go by it */
	struct claim claim;
	struct nic_open open; /* what was asked for */
	int memory;
	int posted;   /* file that came with NIC_BIND, or -1 */
	int watch[2]; /* rtnetlink's, ethtool's */
	struct sockets sockets;
	struct stack stack;
	struct twin twin;
	bool hardware; /* somebody has hardware rings */
	uint8_t cookie[PROGRAM_COOKIE];
	int map, prog, link, promisc; /* descriptors, or -1 */
	bool generic;                 /* the way in which link is attached */
	uint32_t mode;                /* that is tried next, or is granted */
	uint32_t deferred;            /* queues whose interrupts are put off */
	bool undeferrable;            /* the kernel refuses it */
	char why[NIC_TEXT_MAX];       /* why the best one isn't */
};

/* Offloads off, promiscuous, program loaded, sockets made; nothing is attached yet. 0 or a negative errno with a text. */
int session_prepare(struct session *s, struct nm_error *err);

/*
 * Attaches and binds in the best mode that is left, s->mode on success. Else an error: *spoilt: modes are left, with fresh sockets.
 */
int session_bind(struct session *s, bool *spoilt, struct nm_error *err);

/* The client polls busily: interrupts are put off; again when the interface has changed. */
void session_defer(struct session *s);

/* From now on these rings are in use. fds: of the twin, when there is one from now on: *num_fds of them. 0 or a negative errno with a text. */
int session_use(struct session *s, const struct nic_use *use, int fds[NIC_QUEUES_MAX],
	uint32_t *num_fds, struct nm_error *err);

/* Tells the client, by its map, what the twin has lost; if there is one. */
void session_count(struct session *s);

/* All is the stack's again: the program comes off the interface, what the stack sends goes to the wire, and the twin is gone. */
void session_detach(struct session *s);

/* Everything of this session is put back. */
void session_undo(struct session *s);

/* Tries what the interface can do, by queue 0, and leaves it as it was. */
int session_check(struct session *s, struct nic_report *report, struct nm_error *err);

#endif
