/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kmod.h - the parts of netmap.ko, and the order of their locks.
 *
 *      main.c      loads and unloads: the core, /dev/netmap, the drivers
 *      params.c    parameters of the module
 *      chardev.c   /dev/netmap: control requests, sync, poll
 *      csb_mode.c  CSB mode of an open file, and kloop.c its sync loop
 *      mmap.c      regions in the memory of applications, and out of it
 *      extmem.c    memory of applications that is used here
 *      mem.c       memory of regions
 *      turns.c     ports that are made in parts: others wait, or go on
 *      nic*.c      network devices: see nic.h; xmit_hook.c in front of their drivers; hostring.c their host rings, attach_threads.c
 *                  devices on switches, persist.c devices that the module makes
 *      skb_ring.c  slots as sk_buffs, and back
 *      ptnet_*.c   passed-through ports: see ptnet.h
 *      debugfs.c   what there is, and what it has counted
 *
 * Lock order, outermost first. What a system call of an application takes:
 *
 *      nmk_file.bound -> core->lock -> os_wakeup.sync (one ring), ptnet.lock
 *      nmk_file.bound -> os_wakeup.sync (one ring) -> locks of the port kind
 *      mmap lock -> nmk_bar.gone_lock
 *
 * A control request copies from and to user memory under nmk_file.bound, which may take the
 * mmap lock; so mmap() and page faults don't take that. No lock of a process or of a file system is taken
 * under core->lock: whoever holds one for long would hold up all. The sync loop holds no lock but `sync` of
 * the ring that it steps.
 *
 * Who waits for a port that another thread makes (turns.h) holds nmk_file.bound of its own file, and no other lock; who makes
 * one takes core->lock alone, again and again, and waits for nobody.
 *
 * What the system does to a network device:
 *
 *      ptnet_probe_lock -> rtnl -> core->lock -> os_wakeup.sync, ptnet.lock
 *
 * Thread safety: netmap_core is the core's: see core/port.h.
 */
#ifndef LINUX_KMOD_H
#define LINUX_KMOD_H

#include "port.h"

extern struct nm_core netmap_core;

/* 0 or a negative errno; the second of each undoes the first. Called by main.c only. */
int nmk_chardev_register(void);
void nmk_chardev_unregister(void);
int ptnet_register(void);
void ptnet_unregister(void);

struct net_device;
/* May the caller take, make or remove this interface? -EPERM with a text without CAP_NET_ADMIN in the network
 * namespace where it is. */
int nmk_admit(const struct net_device *dev, struct nm_error *err);

#endif
