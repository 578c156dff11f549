/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapctl.h - look into a running netmapd.
 *
 * A subcommand is one function in one file, listed in the table of main.c. It gets
 * its arguments and the socket to use, prints to stdout, and returns the exit
 * status: 0, 1 for a failure at run time, 2 for wrong arguments. What netmapd
 * reports is JSON; members that this version doesn't know are shown as they are.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef NETMAPCTL_H
#define NETMAPCTL_H

#include <jansson.h>

enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* argv[0] is the name of the subcommand. socket: NULL for the usual place. */
int ctl_status(int argc, char **argv, const char *socket);
int ctl_list(int argc, char **argv, const char *socket);
int ctl_macs(int argc, char **argv, const char *socket);
int ctl_flush(int argc, char **argv, const char *socket);

/* Prints "netmapctl: text" as one line on stderr and returns `status`. */
int ctl_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * The whole report of netmapd as text, to be freed by the caller. NULL: told on
 * stderr already. ctl_report() parses it as well; json_decref() the result.
 */
char *ctl_report_text(const char *socket);
json_t *ctl_report(const char *socket);

/* As asprintf(); the caller frees. */
char *ctl_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Any value in one line: lists as a,b,c, objects as k v, k v. The caller frees. */
char *ctl_text(const json_t *value);

/* A member as text; "-" when it isn't there. The caller frees. */
char *ctl_member(const json_t *object, const char *key);

/* Sum of a number over all rings of a port with dir `dir`. */
json_int_t ctl_ring_sum(const json_t *port, const char *dir, const char *key);

#endif
