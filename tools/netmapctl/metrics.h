/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics.h - the report as metrics for Prometheus (docs/metrics.md has their names).
 *
 * Thread safety: none needed.
 */
#ifndef NETMAPCTL_METRICS_H
#define NETMAPCTL_METRICS_H

#include "netmapctl.h"

/* root NULL: netmapd can't be reached, which is a metric as well. */
void metrics_write(FILE *out, const json_t *root, bool openmetrics);

/* A report, or NULL; errors are not told. */
json_t *metrics_report(const struct ctl *ctl);

/* Serves HTTP at "unix:PATH", "127.0.0.1:PORT" or "[::1]:PORT" until a signal comes. An exit status. */
int metrics_serve(const struct ctl *ctl, const char *address);

#endif
