/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config_apply.h - makes a netmapd what a configuration says, as a client of it.
 *
 * netmapd's report is compared with the configuration, and what differs is asked for, in this order: what is to go, settings,
 * placements, limits, waiting times, ports, devices on switches. Nothing is asked for twice: a second time there is nothing to change.
 *
 *      struct config_apply how = {.fd = fd, .changed = say, .arg = …};
 *      failures = config_apply(&config, &how, &err);
 *
 * netmapctl does so with its connection, netmapd with one to itself, in a thread of its own (configuration.c).
 *
 * Thread safety: one thread per connection.
 */
#ifndef PROTO_CONFIG_APPLY_H
#define PROTO_CONFIG_APPLY_H

#include <jansson.h>

#include "config.h"

struct config_change {
	const struct config_place *at; /* line 0: of no file */
	const char *text;              /* "set poll-us 100", "detach vale1:eth1", … */
	const char *was;               /* "" where there was none */
	const char *error;             /* NULL: it is done, or would be */
};

struct config_apply {
	int fd;     /* connected to netmapd */
	bool check; /* nothing is changed */
	bool exact; /* persistent ports, devices on switches, placements and waiting times that the configuration doesn't have go */
	const struct config *before; /* of those only what this one has; NULL: all */
	/* {0} at first, and to be freed: what there is now because of the configuration, or of `before` still is; it is `before`
	 * the next time. Not what others have made under such a name. NULL: nobody asks */
	struct config *owned;
	void (*changed)(void *arg, const struct config_change *change); /* each, once */
	void *arg;
	unsigned changes; /* how many there were, failures included */
	bool given_up; /* no answer came: what the configuration has behind that was not asked for */
};

/* How many changes failed, each told; or a negative errno with a text: there is no netmapd, or it is none. */
int config_apply(const struct config *config, struct config_apply *how, struct nm_error *err);

/* The configuration that a report shows: items without a place. To be freed. A negative errno with a text. */
int config_of_report(const json_t *report, struct config *config, struct nm_error *err);

#endif
