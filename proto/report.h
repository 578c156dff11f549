/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report.h - netmapd's report (NMD_STATUS), which comes in pieces.
 *
 *      error = nmd_report(fd, &root, &err);
 *      ...
 *      json_decref(root);
 *
 * Thread safety: no state; one thread per connection.
 */
#ifndef PROTO_REPORT_H
#define PROTO_REPORT_H

#include <jansson.h>

#include "nm_error.h"

/* The whole text, to be freed. 0, or a negative errno with a text. */
int nmd_report_text(int fd, char **text, struct nm_error *err);

/* The same as a JSON object; a new reference. */
int nmd_report(int fd, json_t **root, struct nm_error *err);

#endif
