/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * debugfs.h - /sys/kernel/debug/netmap: what there is, and what it has counted.
 *
 *      ports     each port with kind and clients, and its rings with packets, bytes, and drops by
 *                cause (those that are not 0; their names: nm_drop_name())
 *      regions   each memory region with its pools: place, size, objects that are free
 *      macs      the addresses that switches have learnt: switch, address, port, seconds since it
 *                was last seen. Writing the name of a switch forgets all of its addresses
 *
 * Counters are read while they run: each is right, all together are not of one moment.
 *
 * Thread safety: core->lock is held while a file is filled.
 */
#ifndef LINUX_DEBUGFS_H
#define LINUX_DEBUGFS_H

/* A kernel without debugfs has none: no error. Called by main.c only. */
void nmk_debugfs_register(void);
void nmk_debugfs_unregister(void);

#endif
