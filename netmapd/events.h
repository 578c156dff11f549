/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * events.h - what has happened: ports, machines and links that come and go.
 *
 * The last EVENTS_KEPT events are kept, each with a number that is one more than that of the event before. Who watches
 * (NMD_EVENTS, proto.h) says which one it has seen last, and sees by the numbers whether it has missed some: an event
 * waits for nobody.
 *
 *      events_add(NMD_EVENT_PORT_NEW, port->name, uid, "%s", port->ops->kind);
 *      n = events_after(&seen, list, 20, NMD_USER_ALL);
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_EVENTS_H
#define NETMAPD_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "os.h"
#include "proto.h"

enum { EVENTS_KEPT = 1024 };

/* `user`: whose port, machine or link it is; name and detail are cut to what struct nmd_event holds. */
void events_add(enum nmd_event_what what, const char *name, uint32_t user, const char *detail, ...)
	os_printf_like(4, 5);

/*
 * The events behind number *after that concern `user` (NMD_USER_ALL: anybody), at most `max`; *after is that of the last one
 * that was looked at then. UINT64_MAX: none of those that there are.
 */
uint32_t events_after(uint64_t *after, struct nmd_event *list, uint32_t max, uint32_t user);

/* The number of the last event; 0: there was none. */
uint64_t events_last(void);

/* fn(arg) is called after each event; NULL: nobody is any more. */
void events_listen(void (*fn)(void *arg), void *arg);

#endif
