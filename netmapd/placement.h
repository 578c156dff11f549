/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * placement.h - which worker serves which ring.
 *
 * Rings of a port go to one worker, ports in turn; with --spread ring each ring goes to the next one. A rule says otherwise for ports
 * whose name matches: their rings go to the workers that it names, in turn, also rings of ports that come later. Of several
 * that match the last one that was set counts. settings.h changes rules, and moves rings.
 *
 *      struct placement_turn turn;
 *      placement_begin(d, port->name, &turn);
 *      for each ring   worker = placement_next(&turn);
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_PLACEMENT_H
#define NETMAPD_PLACEMENT_H

#include "config.h"
#include "daemon.h"

/* Of daemon.places; the workers exist, and there is one at least. */
struct placement_rule {
	struct placement_rule *next;
	struct config_item item; /* CONFIG_PLACE */
};

struct placement_turn {
	struct daemon *daemon;
	const struct placement_rule *rule;
	unsigned worker, ring; /* of the daemon's; how manieth one it is */
};

void placement_begin(struct daemon *d, const char *name, struct placement_turn *turn);
struct worker *placement_next(struct placement_turn *turn);

/* Does a rule concern the port? Is the worker one of those that stay? */
bool placement_rules(const struct daemon *d, const char *name);
bool placement_is_there(const struct daemon *d, const struct worker *worker);

#endif
