/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * settings.h - what can be changed while netmapd runs: workers, their CPUs, their rings, times.
 *
 * A change moves the rings that it concerns: the worker that a ring had ends its round, the next one begins with what lies in the
 * ring. The thread of a worker that is no longer wanted ends when its rings have others. The worker stays, stopped, and has a
 * thread again when there are to be more: a ring that nobody serves can still signal it.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_SETTINGS_H
#define NETMAPD_SETTINGS_H

#include <jansson.h>

#include "config.h"
#include "daemon.h"

/*
 * CONFIG_SET or CONFIG_PLACE, done at once. A negative errno with a text: -EINVAL (CPUs that netmapd can't run on, workers that
 * are not there, or that ports are placed on), -ENOMEM, -ENOSPC, -EAGAIN (no thread): then all is as it was.
 */
int settings_change(struct daemon *d, const struct config_item *item, struct nm_error *err);

/* Nobody is in a round that had begun before. */
void settings_barrier(struct daemon *d);

/* { "workers": "2", "cpus": "any", … }, values as in netmapd.conf(5); [{ "pattern", "workers": "0,1" }] */
json_t *settings_json(const struct daemon *d);
json_t *settings_placement_json(const struct daemon *d);

/* Frees the rules of placement. */
void settings_end(struct daemon *d);

#endif
