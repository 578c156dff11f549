/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options.h - the command line of netmap-bridge, as values.
 *
 * Parsing touches nothing but its arguments, so that it can be tested without a port. What
 * is wrong gives one line that names the option, the value and what would be right.
 *
 * Thread safety: uses getopt's globals: one thread.
 */
#ifndef BRIDGE_OPTIONS_H
#define BRIDGE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cmdline.h"

enum { BRIDGE_NAME_MAX = 512, BRIDGE_BURST_MAX = 65536 };

struct bridge_options {
	/* With their prefixes. The same twice: the port with itself (-L); else the second one is
	 * the host rings of the first when only one was given. */
	char port[2][BRIDGE_NAME_MAX];
	uint32_t burst;   /* packets moved between two syncs */
	double wait_link; /* s; < 0: what suits the ports */
	bool copy;        /* also where buffers could be exchanged */
	bool loopback;
	unsigned int verbose;
	bool help;
};

/* 0, or -1 with one line (without a newline) in err. */
int options_parse(int argc, char **argv, struct bridge_options *o, char err[OPTIONS_ERR]);

const char *options_usage(void);

#endif
