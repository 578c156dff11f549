/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options.h - the command line of vale-ctl, as values.
 *
 * One call does one thing: `action` to `name`. Parsing touches nothing but its arguments, so that
 * it can be tested without a switch. What is wrong gives one line that names the
 * option, the value and what would be right.
 *
 * Thread safety: uses getopt's globals: one thread.
 */
#ifndef VALECTL_OPTIONS_H
#define VALECTL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <net/netmap.h>

#include "common/cmdline.h"

enum vale_action {
	VALE_LIST_ALL,    /* no option, or -l alone */
	VALE_LIST_ONE,    /* -l NAME */
	VALE_RINGS,       /* -g */
	VALE_ATTACH,      /* -a */
	VALE_ATTACH_HOST, /* -h */
	VALE_DETACH,      /* -d */
	VALE_NEWIF,       /* -n */
	VALE_DELIF,       /* -r */
	VALE_POLL,        /* -p */
	VALE_NO_POLL,     /* -P */
	VALE_HELP,
};

struct vale_options {
	enum vale_action action;
	char name[NETMAP_REQ_IFNAMSIZ]; /* without "netmap:" */
	uint32_t conf[4];               /* -C; 0: not given, or the default */
	unsigned int confs;             /* how many of them were given */
	uint16_t mem_id;                /* -m; 0: not given */
	bool verbose;
};

/* 0, or -1 with one line (without a newline) in err. */
int options_parse(int argc, char **argv, struct vale_options *o, char err[OPTIONS_ERR]);

const char *options_usage(void);

#endif
