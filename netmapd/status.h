/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * status.h - the daemon's state as JSON text, for netmapctl and whoever asks.
 *
 *      { "daemon":   {"version", "pid", "uptime_s", "workers": [{"rounds", "sleeps", …}]},
 *        "ports":    [{"name", "kind", "region", "users", "hdr_len",
 *                      "rings": [{"dir", "id", "slots", "packets", "bytes", "copies", "syncs",
 *                                 "bad_syncs", "errors": {cause: count}}]}],
 *        "switches": [{"name", "index", "ports", "macs"}],
 *        "regions":  [{"id", "size", "free": {pool: count}}],
 *        "vms":      [{"id", "name", "ports": [{"name", "mac", "state", …}]}] }
 *
 * Counts are of packets unless they say otherwise; "errors" has the causes that occurred.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_STATUS_H
#define NETMAPD_STATUS_H

#include "daemon.h"

/* To be freed with free(); NULL: no memory. */
char *status_text(struct daemon *d);

#endif
