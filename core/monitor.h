/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * monitor.h - watching what passes the rings of a port.
 *
 * A monitor is a port of its own (kind "monitor", unnamed, ephemeral), made by a registration with
 * NR_MONITOR_TX, NR_MONITOR_RX or both; NR_ZCOPY_MON alone means both. It has one rx
 * ring per ring (pair) that it watches, and one tx ring, which drops what is sent. It pins the
 * watched port, is linked to the watched rings, and nm_ring_sync() shows it what passes:
 *
 *      copy        tx: what the application has just released for sending, before it is sent.
 *                  rx: what has come into the ring, whether or not its application looks. The monitor's own
 *                  sync takes it, or the watched ring's before its application can give it back:
 *                  who comes first. Who fills the ring signals its monitors, too.
 *                  Copied into the monitor's own region; any number of them per ring.
 *      zero copy   the buffers themselves, when the watched port has done with them: tx, sent;
 *                  rx, given back by the application. They are exchanged for buffers of the
 *                  monitor, which lives in the watched port's region. One per ring. What a pipe
 *                  end sends is shown when the other end gives it back: the buffers are there.
 *
 *      watched ring          .monitors -> struct nm_monitor -> struct nm_monitor -> NULL
 *                                              | to                 | to
 *      rx rings of monitors                    v                    v
 *
 * Whole packets only, with NS_TXMON on those of a tx ring. A packet of an unfinished release waits
 * for its end (copy, tx) as long as it waits in the watched ring; otherwise, when the watched
 * port disposes of half a packet, it is counted as missed. A virtio-net header is passed on: the
 * monitor's header length is the watched port's.
 *
 * A monitor never holds up the port. Each packet of the watched rings is counted once, at the
 * monitor's ring: in `packets` when it was shown, in drops[NM_DROP_MISSED] when there was no room
 * for it (or, zero copy, while owners are reconciled because a port of the region goes), and by its
 * cause when it made no sense. So packets + drops is what has passed.
 *
 * Thread safety: monitors come and go under core->lock and the watched ring's monitor_lock.
 * nm_monitor_sync() is called by the thread that syncs the watched ring; it takes monitor_lock for a
 * batch of slots at a time, and inside it each monitor ring's produce.lock. It doesn't hold
 * them while the port kind works. The thread that syncs a copy monitor's ring does the same with what has
 * arrived in a watched rx ring: slots that its application has not been told of, so that nobody
 * gives them back meanwhile. Rings without a monitor pay one load per sync, and one per batch that arrives.
 */
#ifndef CORE_MONITOR_H
#define CORE_MONITOR_H

#include "os.h"
#include "client.h"

/*
 * Makes the monitor port for a client that wants to watch `watched` (the port pins it from
 * then on); the rings are those that bind->mode, ringid and flags choose, the slots those of
 * bind or as many as the watched rings have. NULL with err: -EINVAL a monitor can't be
 * watched, or there are no such rings; -EBUSY a zero-copy monitor is there already; -ENOMEM.
 * A zero-copy monitor's `parent` is the watched port, in whose region it lives; a copy monitor has
 * none. Called by nm_client_bind(), which binds the client to all rings of the result.
 */
struct nm_port *nm_monitor_make_locked(struct nm_port *watched, const struct nm_bind *bind,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

/* What nm_ring_sync() does with a ring that has monitors: as ring->port->ops->txsync/rxsync, with
 * the monitors shown what passes. old_head, old_tail: ring->head and ring->tail before this sync. */
int nm_monitor_sync(struct nm_ring *ring, uint32_t old_head, uint32_t old_tail);

/* For nm_ring_signal_arrived(). */
void nm_monitor_arrived(struct nm_ring *ring);

/* Signals an rx ring that packets have been put into, and those who watch it. Any thread; no ring's lock is
 * held. */
static inline void nm_ring_signal_arrived(struct nm_ring *ring)
{
	os_wakeup_signal(&ring->wakeup);
	if (unlikely(OS_LOAD(&ring->monitors)))
		nm_monitor_arrived(ring);
}

/* An rx ring's indices were set anew: those who watch it begin at its tail. */
void nm_monitor_rewind(struct nm_ring *ring) OS_REQUIRES(NM_MONITORS_LOCK);

/* A ring is about to lose its memory: its slots are none, and no monitor looks at them any more. */
void nm_monitor_keep_off(struct nm_ring *ring);

/* A port is dead: wakes those who wait at its monitors; their syncs fail with -ENXIO as soon as they
 * have taken what is there. */
void nm_monitor_ended_locked(struct nm_port *watched) OS_REQUIRES(NM_CORE_LOCK);

/* The virtio-net header length of a port has changed: its monitors follow. */
void nm_monitor_hdr_changed_locked(const struct nm_port *watched) OS_REQUIRES(NM_CORE_LOCK);

#endif
