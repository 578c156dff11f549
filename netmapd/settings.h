/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * settings.h - what can be changed while netmapd runs: workers, their CPUs, their rings, times.
 *
 * A change moves the rings that it concerns: the worker that a ring had ends its round, the next one begins with what lies in the
 * ring. The thread of a worker that is no longer wanted ends when its rings have others. The worker stays, stopped, and has a
 * thread again when there are to be more: a ring that nobody serves can still signal it.
 *
 * The control thread waits for the end of a round of each worker that loses or gets rings, so it moves those of some ports in a
 * turn, and others have theirs in between:
 *
 *      settings_change()       values and rules are in force, also for ports that come; the first turn
 *      settings_go_on()        while rings are left: no other change
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_SETTINGS_H
#define NETMAPD_SETTINGS_H

#include <jansson.h>

#include "config.h"
#include "daemon.h"

/* Before all others. A negative errno. */
int settings_begin(struct daemon *d);

/*
 * CONFIG_SET, CONFIG_PLACE or CONFIG_FULL_WAIT; not while settings_go_on(). A negative errno with a text: -EINVAL (CPUs that netmapd can't run on,
 * workers that are not there, or that ports are placed on), -ENOMEM, -ENOSPC, -EAGAIN (no thread): then all is as it was.
 */
int settings_change(struct daemon *d, const struct config_item *item, struct nm_error *err);

/* Are there rings that have not the workers yet that they are to have? */
bool settings_go_on(void);

/* Of the control thread, that all changes together have taken. */
uint64_t settings_turns(void);

/*
 * Rings have got other workers by other means. Who has looked up the former one before may have signalled that: when all have
 * ended the rounds that they are in, the workers look at their rings once more. In turns, as a change, which needn't wait for this.
 */
void settings_look_again(struct daemon *d);

/* { "workers": "2", "cpus": "any", … }, values as in netmapd.conf(5); [{ "pattern", "workers": "0,1" }] */
json_t *settings_json(const struct daemon *d);
json_t *settings_placement_json(const struct daemon *d);

/* What is going on does not. Frees the rules of placement. */
void settings_end(struct daemon *d);

#endif
