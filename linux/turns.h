/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * turns.h - ports that are made in parts (core/client.h): who waits for one, and when it is given up.
 *
 * Between two parts the core's lock is free, and its waiters, who are many threads here, get it in the order in which they came:
 * a mutex of the kernel is handed to a waiter that has woken up in vain once. Whoever wants the very port that is being made
 * waits for the end of any make, and asks again; a fatal signal ends that, and the making itself as well.
 *
 * Nobody waits for ever: who makes a port waits for no other one, and for no user.
 *
 * What must be made although its caller was killed is made by a worker (nmk_run_apart): there is more than these waits that a fatal
 * signal ends, in the kernel itself, as kthread_create() and vmalloc().
 *
 * Thread safety: any thread; nmk_await_make() without the core's lock, which the one waited for needs.
 */
#ifndef LINUX_TURNS_H
#define LINUX_TURNS_H

#include "core.h"

/* platform_ops */
int nmk_between_parts(void);
int nmk_await_make(const struct nm_core *core, uint32_t ended);
void nmk_make_ended(const struct nm_core *core);
void nmk_run_apart(void (*fn)(void *arg), void *arg);

#endif
