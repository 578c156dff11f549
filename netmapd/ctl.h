/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ctl.h - the control socket: connections, their states, their messages (proto.h).
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_CTL_H
#define NETMAPD_CTL_H

#include <sys/socket.h>

#include "daemon.h"

/*
 * Opens the socket at config.socket_path, which must not be served by another netmapd (a lock
 * file beside it tells; a dead one's socket is replaced). Negative errno with a text of
 * NMD_TEXT_MAX bytes; -EALREADY: another netmapd runs there.
 */
int ctl_open(struct daemon *d, struct nm_error *err);
void ctl_close(struct daemon *d); /* ends all connections and what they own */

/* Connections now; and seconds (os_time_s) since when there is none. */
uint32_t ctl_connections(const struct daemon *d, uint64_t *none_since);

struct local;

/* An application that is bound to a port, the last to have connected of those below *number, which becomes its own; *peer: who
 * connected. UINT64_MAX: of all. NULL: there is none. */
const struct local *ctl_next_local(const struct daemon *d, uint64_t *number, struct ucred *peer);

/* A connection to netmapd itself, as by nmd_connect(), for another thread, which closes it. A negative errno with a text. */
int ctl_connect_self(struct daemon *d, struct nm_error *err);

#endif
