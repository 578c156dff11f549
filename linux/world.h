/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.h - the parts of netmap.ko, and the order of their locks.
 *
 *      main.c      loads and unloads: the core, /dev/netmap, the ptnet drivers
 *      chardev.c   /dev/netmap: control requests, sync, poll
 *      mmap.c      regions in the memory of applications, and out of it
 *      ptnet_*.c   passed-through ports: see ptnet.h
 *
 * Lock order, outermost first. What a system call of an application takes:
 *
 *      nmk_file.bound -> core->lock -> ptnet.lock
 *      nmk_file.bound -> os_wakeup.sync (one ring) -> locks of the port kind
 *      mmap lock -> nmk_bar.gone_lock
 *
 * A control request copies from and to user memory under nmk_file.bound, which may take the
 * mmap lock; so mmap() and page faults take neither that nor core->lock.
 *
 * What the system does to a network device:
 *
 *      ptnet_probe_lock -> rtnl -> core->lock -> os_wakeup.sync, ptnet.lock
 *
 * Thread safety: nm_world is the core's: see core/port.h.
 */
#ifndef LINUX_WORLD_H
#define LINUX_WORLD_H

#include "port.h"

extern struct nm_core nm_world;

/* 0 or a negative errno; the second of each undoes the first. Called by main.c only. */
int nmk_chardev_register(void);
void nmk_chardev_unregister(void);
int ptnet_register(void);
void ptnet_unregister(void);

#endif
