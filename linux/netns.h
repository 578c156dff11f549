/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netns.h - network namespaces: whose names are whose.
 *
 * A port, a switch, a pipe is looked for in the namespace of who opened /dev/netmap (nm_client.ns is its
 * struct net), whoever uses the file later. An open file holds its namespace, as a socket does. So what
 * is left in one that ends are devices: those on switches are taken off, persistent ports go;
 * one that is in use, moved here from where its user is, goes on to the first namespace like a
 * device of hardware. A switch is such a user: of a port that has moved only clients of the switch's namespace
 * get its place there, so that nobody has it any longer than that is.
 *
 * Thread safety: without locks.
 */
#ifndef LINUX_NETNS_H
#define LINUX_NETNS_H

/* Loading and unloading; a negative errno. */
int nmk_netns_register(void);
void nmk_netns_unregister(void);

#endif
