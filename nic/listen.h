/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listen.h - the socket that unprivileged netmapds connect to: each connection becomes a process with a session.
 *
 * Everybody may connect; who has no right to any interface is told so and is out. A user has as many connections as the configuration
 * says, all together have LISTEN_MOST. Processes that end badly leave claims behind (claim.h), which are put right at once.
 *
 * Thread safety: one thread; it is the whole program.
 */
#ifndef NIC_LISTEN_H
#define NIC_LISTEN_H

#include "nm_error.h"
#include "session.h"

enum { LISTEN_MOST = 256 };

/* Serves the socket at `path` until SIGTERM or SIGINT: 0; sessions go on. Or a negative errno with a text. */
int listen_run(const char *path, const struct session_config *config, struct nm_error *err);

#endif
