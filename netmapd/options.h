/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options.h - the command line of netmapd.
 *
 * Thread safety: before other threads run.
 */
#ifndef NETMAPD_OPTIONS_H
#define NETMAPD_OPTIONS_H

#include "daemon.h"
#include "sandbox.h"

struct options {
	struct daemon_config config;
	bool background;
	const char *log_file; /* NULL: stderr, or, in the background, the socket's path + ".log" */
	enum os_log_level log_level;
	enum sandbox_mode sandbox;
};

/* Fills in defaults and what argv says. Doesn't return for --help and --version (exit status
 * 0) and for wrong arguments (one line on stderr, exit status 2). */
void options_parse(struct options *o, int argc, char **argv);

#endif
