/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * persist.h - persistent ports: network devices made by VALE_NEWIF.
 *
 * The device belongs to the network namespace of who made it, and lives until VALE_DELIF, or until
 * the module is unloaded. On the other end of its wire is its port: what an application puts
 * into a tx ring the device receives, and what the stack sends through the device arrives in a rx ring.
 * Its link is up while the port is in use. What finds no room in the rx ring, or comes while
 * nobody is there, is dropped and counted as tx_dropped of the device.
 *
 * The stack leaves checksums, segmentation and VLAN tags to the device: they are completed in
 * software, or go into the port's virtio-net header when it has one.
 *
 * Thread safety: core->lock, unless said otherwise. nmk_persist_newif() and _delif() let go of it for
 * a while, since the rtnl lock comes before it.
 */
#ifndef LINUX_PERSIST_H
#define LINUX_PERSIST_H

#include "port.h"

#include <linux/netdevice.h>

/* platform_ops */
int nmk_persist_newif(struct nm_core *core, void *ns, const char *name,
	const struct nm_shape *shape, uint16_t mem_id, struct nm_error *err);
int nmk_persist_delif(struct nm_core *core, void *ns, const char *name, struct nm_error *err);

bool nmk_persist_is_ours(const struct net_device *dev); /* any context */
/* Its port; NULL: it is just being made or removed. */
struct nm_port *nmk_persist_port(const struct net_device *dev);

/* A namespace ends: its ports that nobody uses go. Without core->lock. */
void nmk_persist_netns_exit(const struct net *ns);

/* Unloading: no client is left. Without core->lock. */
void nmk_persist_unregister(void);

#endif
