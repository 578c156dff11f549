/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report.h - how an application says on stderr what went wrong, and a question whose refusal is
 * nothing to report.
 *
 * One line each, "PROGRAM: what and why"; report_name is defined by the program.
 *
 * Thread safety: complain() and the error functions may be called by any thread;
 * port_header_length() by one at a time per port.
 */
#ifndef APPS_COMMON_REPORT_H
#define APPS_COMMON_REPORT_H

#include <libnetmap.h>

enum { EXIT_USAGE = 2 };

extern const char report_name[];

void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For struct nmctx: the library's reports become the program's, or nobody's. */
void report_error(struct nmctx *ctx, const char *text);
void report_nothing(struct nmctx *ctx, const char *text);

/* Bytes of the port's virtio-net header; 0 where the question is not served. Afterwards errors of
 * its context go to report_error(). */
uint32_t port_header_length(struct nmport_d *d);

#endif
