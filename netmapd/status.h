/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * status.h - the daemon's state as JSON text, for netmapctl and other clients.
 *
 *      { "daemon":   {"version", "pid", "uptime_s", "control": {"rounds", "rests", "longest_us", "settings_turns"}, "clock_us", "workers": [{"rounds", "sleeps", "busy_us", …}],
 *                     "pollers": the same of workers made for devices that are polled},
 *        "limits":   [{"name", "limit", "limit_all", "used", "refused", "users": {uid: used}, "user_limits": {uid: limit}}], see accounts.h
 *        "ports":    [{"name", "kind", "id", "user", "parent", "region", "users", "holds", "hdr_len", "dead",
 *                      "rings": [{"dir", "id", "host", "slots", "fill", "packets", "bytes", "copies", "syncs",
 *                                 "bad_syncs", "errors": {cause: count}}]}],
 *        "switches": [{"name", "index", "ports", "macs"}],
 *        "attached": [{"name", "device", "pairs", "host_rings", "polling"}],
 *        "regions":  [{"id", "size", "free": {pool: count}}],
 *        "applications": [{"name", "port" (of the port), "pid", "user", "steps", "work_steps", "interrupts",
 *                      "stopped_rings", "bad_kicks"}],
 *        "vms":      [{"id", "name", "user", "region",
 *                      "memory": [{"region", "guest": {pool: count}}],
 *                      "ports": [{"name", "port", "mac", "state", "kicks", "creates", "failed_creates",
 *                                 "suspends", "resets", "ignored_writes", "features",
 *                                 "dma_ranges", and the counts of an application}]}] }
 *
 * Members that are 0 or don't apply may be left out where they are rare (parent, holds, host, dead).
 *
 * What netmapctl passes on of it is described by tools/netmapctl/netmapctl.schema.json.
 *
 * Counts are of packets unless they say otherwise; "errors" has the causes that occurred.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_STATUS_H
#define NETMAPD_STATUS_H

#include "daemon.h"

/*
 * The text is written in parts, for there may be thousands of ports:
 *
 *      s = status_begin(d, NM_USER_ANY);
 *      while ((more = status_go_on(s)) > 0)
 *              let others have their turn;
 *      text = status_end(s);
 *
 * Each part is of a moment of its own. What comes or goes meanwhile may be in it or not; what stays is in it, once.
 */
struct status;

/* What this user may see; NM_USER_ANY: all. NULL: no memory. */
struct status *status_begin(struct daemon *d, uint32_t viewer);
/* One port, one machine, …: 1: there is more; 0; -ENOMEM. */
int status_go_on(struct status *s);
/* To be freed with free(), as s is now. */
char *status_end(struct status *s);
void status_free(struct status *s); /* NULL is allowed */

#endif
