/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapctl.h - look into a running netmapd, and change what is in it.
 *
 * A subcommand is one function in one file, listed in the table of main.c. It gets its arguments, what stood before them
 * (struct ctl), prints to stdout, and returns the exit status. What netmapd reports is JSON; members that this version
 * doesn't know are shown as they are.
 *
 *      main.c      the table, common options
 *      report.c    the report: fetched, and read
 *      args.c      options, names, numbers among arguments; files that are replaced
 *      text.c      texts for people: units, names, tables
 *      status.c, details.c, show.c, list.c, macs.c       what there is
 *      rates.c     two reports, as rates; top.c, top_screen.c: as a screen
 *      watch.c     events
 *      change.c    attach, detach, rename, limit, full-wait; config.c: apply, save
 *      nic_check.c what a network interface can do
 *      capture.c   packets, as pcapng (capture.h); extcap.c: for Wireshark
 *      metrics.c, metrics_http.c    for Prometheus (metrics.h)
 *      complete.c  words for shells
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef NETMAPCTL_H
#define NETMAPCTL_H

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses, for scripts (netmapctl(1)). */
enum {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3, /* no netmapd, or not for this user */
	CTL_NOT_FOUND = 4,   /* no such port, switch, device */
	CTL_REFUSED = 5,     /* not allowed, or beyond a limit */
};

struct ctl {
	const char *socket; /* NULL: the usual place */
	bool json;
};

/* argv[0] is the name of the subcommand. */
typedef int ctl_command(int argc, char **argv, const struct ctl *ctl);
ctl_command ctl_status, ctl_show, ctl_list, ctl_top, ctl_watch, ctl_macs, ctl_flush, ctl_attach,
	ctl_detach, ctl_rename, ctl_limit, ctl_full_wait, ctl_apply, ctl_save, ctl_nic_check,
	ctl_capture, ctl_extcap, ctl_metrics, ctl_complete;

/* The names of the subcommands, one after the other; NULL behind the last one. */
const char *ctl_command_name(unsigned i);

/* Prints "netmapctl: text" as one line on stderr and returns `status`. */
int ctl_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The exit status for a negative errno of netmapd. */
int ctl_status_of(int error);

struct nm_error;
/* Prints what a request failed with, and returns its exit status. */
int ctl_failed(const struct nm_error *err);

/* ---- arguments --------------------------------------------------------------------------- */

/* Is argv[*i] this option? Then *value is what follows, NULL when nothing does, and *i stands on it. */
bool ctl_option(int argc, char **argv, int *i, const char *option, const char **value);

/* The number that an option has (text NULL: none), in decimal digits. 0, or an exit status, told on stderr. */
int ctl_number(
	const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *number);

/*
 * Can it be the name of what a subcommand wants ("a port, as vale1:10"), and does it fit into a message? It isn't an option that the
 * subcommand doesn't have either. 0, or an exit status, told on stderr.
 */
int ctl_name(const char *subcommand, const char *of_what, const char *name);

/*
 * A file beside the one at `path`, whose place it takes with ctl_replaced(): there is the old or the new one, whole, at any moment. NULL:
 * it can't be, told on stderr. ctl_replaced() closes it, frees `beside`, and returns an exit status, told on stderr.
 */
FILE *ctl_replace(const char *path, char **beside);
int ctl_replaced(FILE *out, char *beside, const char *path);

/* ---- the report -------------------------------------------------------------------------- */

/* 0 and a descriptor, the caller's to close; else an exit status, told on stderr. */
int ctl_connect(const struct ctl *ctl, int *fd);

/* The whole report of netmapd as text, to be freed; or read, json_decref(). 0, or an exit status, told on stderr. */
int ctl_report_text(int fd, char **text);
int ctl_report_on(int fd, json_t **root);
int ctl_report(const struct ctl *ctl, json_t **root);

/* Ends the program, and says why. */
void ctl_out_of_memory(void) __attribute__((noreturn));

/* As asprintf(), vasprintf(); the caller frees. They don't fail. */
char *ctl_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *ctl_vformat(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

/* Any value in one line: lists as a,b,c, objects as k v, k v. The caller frees. */
char *ctl_text(const json_t *value);

/* A member as text; "-" when it isn't there. The caller frees. */
char *ctl_member(const json_t *object, const char *key);

/* A member's value; 0 or "" when it is none. */
json_int_t ctl_int(const json_t *object, const char *key);
double ctl_real(const json_t *object, const char *key);
const char *ctl_string(const json_t *object, const char *key);

/* The element of root's list whose member is the text, or the number; NULL: none. */
json_t *ctl_find(const json_t *root, const char *list, const char *key, const char *text);
json_t *ctl_find_int(const json_t *root, const char *list, const char *key, json_int_t number);

/* Sum of a number over all rings of a port with dir `dir`. */
json_int_t ctl_ring_sum(const json_t *port, const char *dir, const char *key);

/* Of a limit, who has how much, and of what where he has a limit of his own: "alice 2, bob 1 of 6". The caller frees. */
char *ctl_limit_users(const json_t *limit);

/* { cause: count } of all rings of a port. A new reference. */
json_t *ctl_drops(const json_t *port);

/* Prints a value as netmapctl does with --json, and gives up the reference. An exit status. */
int ctl_put_json(json_t *value, size_t flags);

/* { "done": what, key: value, …, NULL } when --json was asked for. An exit status. */
int ctl_done(const struct ctl *ctl, const char *what, ...);

/* All that a report has and a table hasn't room for, indented; what is 0 isn't shown. */
int ctl_put_details(const json_t *root);

/* Who uses a port ("pkt-gen[12]", "vm4 one", "2 applications", "-"). The caller frees. */
char *ctl_used_by(const json_t *root, const json_t *port);

/* ---- rates ---------------------------------------------------------------------------------- */

/*
 * Two reports of one netmapd, `before` and `now`, as rates, per second:
 * { "interval_s", "uptime_s", "version", "workers": [{ "busy", "cpu" (shares of 1), "rings", "rounds_per_s", "wakes_per_s", "kicks_per_s" }],
 *   "ports": [{ "id", "name", "kind", "user", "used_by", "fill" (share of 1, of the fullest ring), "tx": { "packets_per_s",
 *               "bits_per_s", "packets", "bytes" }, "rx": the same, "drops_per_s", "drops": { cause: per second },
 *               "interrupts_per_s", "kicks_per_s" (left out where nobody counts them),
 *               "rings": [{ "dir", "id", "fill", "slots", "packets_per_s", "bits_per_s", "batch", "drops_per_s" }] }] }
 * A new reference.
 */
json_t *ctl_rates(const json_t *before, const json_t *now);

struct top_view {
	const char *sort,
		*filter; /* sort: as top_sort_name(); filter: a pattern, or a part of the name; NULL: all */
	bool rings, paused;
	unsigned columns, lines; /* of the screen; lines 0: as many as it takes */
	unsigned skip;           /* ports above the first one shown */
};

/* Writes the screen, lines ended by \n, none longer than view->columns. */
void top_screen(FILE *out, const json_t *rates, const struct top_view *view);
/* What can be sorted by; NULL behind the last one. */
const char *top_sort_name(unsigned i);

/* ---- texts for people -------------------------------------------------------------------------- */

/* 1234567 as "1.23 M" ("1.23M" where space is 0), 0 as "0". Returns buf. */
enum { CTL_UNIT = 16 };
const char *ctl_unit(double value, const char *space, char buf[CTL_UNIT]);

/* 1234567 as "1.23 Mp/s", 12 as "12 p/s". Returns buf. */
const char *ctl_amount(double value, const char *unit, char buf[32]);

/* A user by name, or by number; "-": nobody. Returns buf. */
enum { CTL_USER = 36 };
const char *ctl_user(const json_t *object, char buf[CTL_USER]);

/* What a limit of the report has by this key: "no limit", a number, or, of memory, "16.0 GiB", in the units of --max. Returns buf. */
const char *ctl_bound(const json_t *limit, const char *key, json_int_t value, char buf[32]);

/* 3723 as "1 h 2 min". Returns buf. */
const char *ctl_duration(uint64_t seconds, char buf[32]);

/* Columns of the terminal, or UINT_MAX when stdout is none and COLUMNS doesn't say. */
unsigned ctl_columns(void);

/*
 * A table: titles separated by |, those with > in front are of columns that are aligned to the right. Cells come row by row;
 * what a cell holds is made printable. Without cells nothing is printed.
 */
struct table;
struct table *table_new(const char *titles);
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* ctl_bound() of what the limit has by this key. */
void table_bound(struct table *t, const json_t *limit, const char *key);
bool table_is_empty(const struct table *t);
/* Lines are cut behind `columns`, and begin with `indent` spaces. Frees it. */
void table_print(struct table *t, FILE *out, unsigned columns, unsigned indent);

#endif
