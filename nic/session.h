/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session.h - one connection of netmapd-nic: the use of one interface, from its opening until all is as before.
 *
 *      state       messages of the client that fit       leads to
 *      --------    ----------------------------------    -----------------------------
 *      FRESH       ASK                                   KNOWN
 *                  CHECK                                 FRESH
 *      KNOWN       OPEN                                  OPENED
 *                  RELEASED (of one that has died)       ENDED
 *      OPENED      BIND                                  BOUND, SPOILT, or UNMAPPED
 *      UNMAPPED    MAPPED                                BOUND, or SPOILT
 *      SPOILT      RELEASED                              OPENED
 *      BOUND       USE                                   BOUND
 *      FAILED      USE (refused)                         FAILED
 *      DETACHED    RELEASED                              ENDED
 *
 * The client gets sockets when they are bound, and neither map nor program: an unbound socket could be bound to any interface.
 * Linux before 6.4 maps no rings of a bound socket: who may have every interface gets it unbound there (UNMAPPED).
 *
 * CLOSE leads from OPENED, UNMAPPED, SPOILT, BOUND and FAILED to DETACHED. Any other message, and the end of the connection, ends the session.
 * What ends it puts everything back, in this order: the program is detached; the sockets are closed; promiscuous mode ends, and
 * offloads are as they were. A process has one session, and ends with it, so nobody waits for what blocks here.
 *
 * Thread safety: one thread.
 */
#ifndef NIC_SESSION_H
#define NIC_SESSION_H

#include <stdbool.h>
#include <sys/types.h>

struct session_config {
	const char *state;  /* directory (claim.h) */
	const char *access; /* file (access.h) */
	bool logs;          /* what a client is told; else the client does that */
};

/* Serves the connection until its end, and closes it. peer: the user at its other end. */
void session_run(int sock, uid_t peer, const struct session_config *config);

#endif
