/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sandbox.h - what netmapd can't do any more once it serves.
 *
 * Whoever finds a fault in netmapd has all that it may do. So it gives up what it needs only to start:
 *
 *      who                  has
 *      ------------------   --------------------------------------------------------------------------
 *      threads that serve   no capability; no file can be opened (Landlock)
 *      the control thread   of the capabilities CAP_NET_ADMIN, for TAP devices, if it had that; files can be read, written and
 *                           made in the directory of the control socket, and nowhere else (Landlock, where the kernel has it)
 *      all                  no new privileges; the system calls of a list (sandbox.c, seccomp); no program can be executed
 *
 *      sandbox_setup(mode);                    before any thread
 *      thread:  sandbox_thread();              first of all
 *      error = sandbox_enter(dir, &err);       all threads are there; those that come later inherit it
 *
 * As root, netmapd-nic is started by a process from before (nic_starter_fork() of nic_connect.h). Another one looks up users
 * (directory.h).
 *
 * A build with sanitizers has none of it: they want files and system calls of their own.
 *
 * Thread safety: sandbox_thread(): each for itself; the others: control thread.
 */
#ifndef NETMAPD_SANDBOX_H
#define NETMAPD_SANDBOX_H

#include "nm_error.h"

enum sandbox_mode {
	SANDBOX_ON,     /* a system call that isn't on the list fails: EPERM */
	SANDBOX_STRICT, /* it ends netmapd, and its name is on stderr: for tests */
	SANDBOX_OFF,
};

void sandbox_setup(enum sandbox_mode mode);

/* dir: of the control socket. A negative errno with a text: netmapd is as it was, or has given up a part of it. */
int sandbox_enter(const char *dir, struct nm_error *err);

#endif
