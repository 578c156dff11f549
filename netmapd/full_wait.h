/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * full_wait.h - how long packets between network stacks wait for a receiver that is full (core/vale_wait.h).
 *
 * A port's bound is, as it is made, that of its switch if one was set (--full-wait-ms vale1=50, netmapctl full-wait vale1 50),
 * else the one for all (--full-wait-ms 100, "set full-wait-ms 100" in a configuration). A switch has its bound by its name: whether
 * it exists or not; so has a port for which a configuration says one ("full-wait vale1:eth1 0"), and that counts more. Setting one for
 * a switch sets it for the ports that are there, too. What a user sets for a port (netmapctl full-wait vale1:10 0, or
 * vale1:10@conf:full-wait-ms=0) lasts until that, or as long as the port; for a device, or a port with one by its name, what an
 * administrator sets takes the place of that. Host rings of a device, vale1:eth1^, have the device's. What was set for a switch or a port
 * can be taken back ("any"): then a switch has the one for all, and a port what it would have if it were made now; what a
 * configuration says for a port is an administrator's to take back.
 *
 * Thread safety: control thread, or before the daemon runs.
 */
#ifndef NETMAPD_FULL_WAIT_H
#define NETMAPD_FULL_WAIT_H

#include <jansson.h>

#include "os.h"
#include "config.h"
#include "nm_error.h"
#include "port.h"

enum {
	FULL_WAIT_DEFAULT_MS = 100,
	FULL_WAIT_MAX_MS = NM_FULL_WAIT_MAX_US / 1000,
	FULL_WAIT_NAMES = 64
};

struct daemon;

/* Milliseconds; 0: nothing waits. */
struct full_wait_bounds {
	uint32_t all;
	uint32_t count;
	struct {
		char name[NETMAP_REQ_IFNAMSIZ]; /* of a switch, or of a port of one */
		uint32_t ms;
	} of[FULL_WAIT_NAMES];
};

/* The option's value: "MS", "SWITCH=MS" or "PORT=MS". -EINVAL, or -ENOSPC: too many names. */
int full_wait_option(struct full_wait_bounds *bounds, const char *text, struct nm_error *err);

/* Stores the bound of a machine's port, or of a place of the host's stack, that has just been made. */
void full_wait_of_new(const struct daemon *d, struct nm_port *port);
/* The one that its user wants. At most FULL_WAIT_MAX_MS. */
void full_wait_of_user(struct nm_port *port, uint32_t ms);

/* CONFIG_FULL_WAIT: of a port or a switch, whether it is there or not; "any": that has none of its own any more. -EINVAL the name;
 * -ENOSPC too many names. Takes core.lock. */
int full_wait_rule(struct daemon *d, const struct config_item *item, struct nm_error *err);

/* [{"name", "ms"}]: those that have one of their own. */
json_t *full_wait_json(const struct daemon *d);

/* For a port ("vale1:10"), or a switch ("vale1"). ms: or NMD_FULL_WAIT_ANY. owner: the user that must have made the port; NM_USER_ANY: anybody.
 * -ENOENT no such port, -EPERM another user's, -EINVAL the name, the value; -ENOSPC too many names. Takes core.lock. */
int full_wait_set(
	struct daemon *d, uint32_t owner, const char *name, uint32_t ms, struct nm_error *err);

/* Instead of the option's, for all switches without one of their own: for ports that are there, too, whatever was set for
 * them. At most FULL_WAIT_MAX_MS. Takes core.lock. */
void full_wait_set_all(struct daemon *d, uint32_t ms);

/* Is this the name of a switch, not of a port of one? */
bool full_wait_is_switch(const char *name);

#endif
