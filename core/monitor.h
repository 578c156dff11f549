/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * monitor.h - watching what passes the rings of a port.
 *
 * A monitor is a port of its own, made by a registration with NR_MONITOR_TX, NR_MONITOR_RX
 * or both: it has one rx ring per ring (pair) that it watches, and its application only
 * receives. It holds the watched port and is hung on the watched rings, and
 * nm_ring_sync() shows it what passes:
 *
 *      copy        tx: slots that the application has just released for sending, before
 *                  they are sent. rx: packets that the application is about to be told of.
 *                  Copied into the monitor's own region.
 *      zero copy   the buffers themselves, when the watched port has done with them: tx,
 *                  sent; rx, given back by the application. They are exchanged for buffers of the
 *                  monitor, which lives in the watched port's region. One per ring. For a
 *                  pipe's tx the peer's rx ring is the place.
 *
 * Both with NS_TXMON on packets of a tx ring. Whole packets only. A monitor never holds up
 * the port: a packet that finds no room is counted as missed, at the monitor's ring.
 *
 * Thread safety: monitors come and go under core->lock and the watched ring's
 * monitor lock; nm_monitor_sync() is called by the thread that syncs the watched ring and
 * takes that lock, and each monitor ring's produce.lock. Rings that nobody watches
 * pay one load.
 */
#ifndef CORE_MONITOR_H
#define CORE_MONITOR_H

#include "os.h"
#include "port.h"

/*
 * Makes the monitor port for a client that wants to watch `watched` (the port is held by it from
 * then on); the rings are those that bind->mode, ringid and flags choose. The port is unnamed
 * and ephemeral. NULL with *error and a text. Called by nm_client_bind(), which binds the
 * client to all rings of the result.
 */
struct nm_port *nm_monitor_make_locked(struct nm_port *watched, const struct nm_bind *bind,
	int *error, char *err, size_t err_size);

/* What nm_ring_sync() does with a ring that has monitors: as ring->port->ops->txsync/rxsync, with
 * the monitors shown what passes. old_head, old_tail: from before this sync. */
int nm_monitor_sync(struct nm_ring *ring, uint32_t old_head, uint32_t old_tail);

#endif
