/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * port_wait.h - requests that wait for something to happen to the port of a NIC (nic.h).
 *
 *      struct port_waits waits;  port_waits_init(&waits);
 *      return port_wait_for(&waits, wait);        -EINPROGRESS: wait->fn will be called
 *      port_waits_tell(&waits, NULL, NULL);       it is, and those of others
 *      port_wait_forget(wait);                    or it isn't: who waits has ended
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_PORT_WAIT_H
#define NETMAPD_PORT_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "nm_error.h"

struct port_waits;

struct port_wait {
	struct port_wait *next;
	struct port_waits *list; /* in which it is; NULL: it doesn't wait */
	/* Called once; no longer in a list. err: why it failed, or NULL. */
	void (*fn)(void *arg, const struct nm_error *err);
	void *arg;
	uint64_t round; /* of telling, in which it came */
	bool host;      /* for host rings of a NIC, perhaps among others */
	uint32_t user;  /* who asks */
};

struct port_waits {
	struct port_wait *first; /* who came first is first */
	struct port_wait **end;
	uint64_t rounds; /* of telling them; who came in the last one hears the next */
};

void port_waits_init(struct port_waits *waits);

/* Returns -EINPROGRESS. May not be waiting. */
int port_wait_for(struct port_waits *waits, struct port_wait *wait);

/* Calls those who were there before; whoever is called may end, and others with him, or come in again. host_user: only those who
 * want host rings for him; NULL: all. */
void port_waits_tell(
	struct port_waits *waits, const uint32_t *host_user, const struct nm_error *err);

/* Whoever waits doesn't any more. May not be waiting. */
void port_wait_forget(struct port_wait *wait);

#endif
