/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * directory.h - users and groups by name, as the system's directories have them (nsswitch.conf).
 *
 * The C library loads a library for each directory, and that one makes system calls of its own, which may change with each release. So
 * netmapd asks none of them in its sandbox: a process that is forked before does, and knows nothing else of netmapd's.
 *
 *      directory_user("alice", take, arg);     at the start: this process asks
 *      directory_start(quiet);                 before there are threads
 *      directory_user("bob", take, arg);       from now on the other one
 *      directory_stop();                       who waits for an answer doesn't any more; the other process ends
 *
 * Thread safety: directory_user() and _group(): one thread at a time; directory_stop(): any thread; directory_start(): before there
 * are others.
 */
#ifndef NETMAPD_DIRECTORY_H
#define NETMAPD_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

/* Takes one user; anything but 0 is an error, with which the question ends. The name lives as long as the call. */
typedef int directory_take(void *arg, uint32_t uid, const char *name);

/* The user of that name: one call of take(). What that returned; -ENOENT: there is none; -EPIPE: the
 * other process is gone, or could not be started; another negative errno: nobody knows. */
int directory_user(const char *name, directory_take *take, void *arg);

/* Each member of the group. As above; a group without members is no error. */
int directory_group(const char *name, directory_take *take, void *arg);

/* quiet: the process holds no terminal, and nobody's pipe. It ends with this one. 0 or a negative errno. */
int directory_start(bool quiet);

/* A question from now on, or one that waits: -EPIPE. Does nothing where directory_start() was not called. */
void directory_stop(void);

#endif
