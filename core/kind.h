/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kind.h - what a port kind is: a table of operations.
 *
 * docs/port-kind.md has the steps to add one. A kind knows nothing of who uses its ports: a system
 * call in the kernel, a worker in the daemon.
 *
 * Thread safety: all operations are called with core->lock held, but for txsync, rxsync, can_send and
 * wants_room, which belong to the thread that syncs the ring.
 */
#ifndef CORE_KIND_H
#define CORE_KIND_H

#include "os.h"

struct nm_error;
struct nm_port;
struct nm_ring;
struct nm_rss;

/* What a port kind does. All are called with core->lock held, but for the syncs. */
struct nm_port_ops {
	const char *kind; /* "vale", "ptnet", … for status */

	/* May whoever asks (the thread that calls) take rings of the port, or of its pipes and monitors, and
	 * change it? 0, or -EPERM with a text. Optional: everybody may. */
	int (*admit)(const struct nm_port *port, struct nm_error *err);
	/* The first client is being bound: rings exist, and all slots have buffers (or, with a foreign region, rings
	 * must be set up here: shared, slots and region of each ring, port->nifp_offset). Optional. */
	int (*start)(struct nm_port *port, struct nm_error *err);
	/* The last client is gone; on return no producer touches the rings any more. Optional. */
	void (*stop)(struct nm_port *port);
	/* The port is being freed. Optional. */
	void (*destroy)(struct nm_port *port);
	/* New virtio-net header length (0, 10, 12). Optional: without it only 0 is accepted. */
	int (*set_hdr_len)(struct nm_port *port, uint32_t bytes);
	/* Which rx ring packets come to: as this says (NULL: as the kind has it), and it may have changed what it says. Packets
	 * on their way may still go by the one of before. The kind stores port->rss. Optional: without it nobody has a choice. */
	void (*set_rss)(struct nm_port *port, struct nm_rss *rss);
	/* Clients came or went while the port is started: users and exclusive of its rings have
	 * changed. Optional. */
	void (*users_changed)(struct nm_port *port);

	/*
	 * Move packets. ring->head and ring->cur are new and legal. txsync: send slots hwcur..head,
	 * advance ring->hwcur, set produce.hwtail. rxsync: slots hwcur..head are free again.
	 * 0 or a negative errno.
	 */
	int (*txsync)(struct nm_ring *ring);
	int (*rxsync)(struct nm_ring *ring);
	/* A tx ring on which not all is done (hwcur != head, or slots that are not free again): would a
	 * sync change hwcur or tail now? A full barrier precedes the call, and the thread that
	 * makes the change possible afterwards signals the ring's wakeup. Any thread that may sync
	 * the ring. Optional: without it a ring that is served through a CSB is synced all the time
	 * as long as it has something to do. */
	bool (*can_send)(struct nm_ring *ring);
	/* An rx ring: does a packet, or a sender, wait for a sync, or for slots that the application gives back?
	 * Barrier and wakeup as with can_send. Optional: without it only the next packet is of
	 * interest, and it wakes when hwtail has moved. */
	bool (*wants_room)(struct nm_ring *ring);

	/* Pipes: packets move from ring to ring in whichever thread syncs. While a port is paused
	 * none does; syncs succeed. It goes on when it was called as often without `on` as with it.
	 * Optional. */
	void (*pause)(struct nm_port *port, bool on);
	/* A ring without users gets its first one, and is about to be put back to its first state:
	 * threads of the kind's own, which go on with what the last user has sent, stay away
	 * from it until quiesce(ring, false). Optional. */
	void (*quiesce)(struct nm_ring *ring, bool on);
	/* The indices of a ring were put back to their first state (under the ring's lock, or before
	 * any thread can sync it). Optional. */
	void (*ring_reset)(struct nm_ring *ring);

	/*
	 * Buffers that a device may write to, apart from those in the port's slots: the kind keeps port->held_bufs of them in
	 * its hands, of owner port->held_owner, and exchanges them with slots. Fills `refs` with what it has now (NM_RX), or
	 * with what it sends now, of the port's own (NM_TX); at most `room`; returns how many. Paused, or
	 * stopped. Kinds that set held_bufs have it, and `pause`.
	 */
	uint32_t (*held)(struct nm_port *port, int dir, uint32_t *refs, uint32_t room);

	/* It lies in a NIC region (region.h). */
	bool nic_memory;
	/* In the region of the platform by default (NM_REGION_SHARED_ID), not in one of the port's
	 * or the client's own: NICs, pipes. */
	bool shares_region;
	/* The first client says how many host rings it has, and how many slots its rings have. */
	bool chosen_host_rings, chosen_slots;
	/* Its hardware rings lead to this system's stack, as its host rings do: on a switch the stack
	 * has one port, not two. */
	bool is_stack;
	/* It was made to be put on switches: there, its place is an application's that opens it (attachment.h). */
	bool persistent;
	/* Packets may stay in its tx rings although hwcur has passed over them, and wait for room behind it (switch ports). */
	bool parks;
	/* It cuts for a port what its user doesn't know (port->knows), behind virtio-net headers as well (switch ports). */
	bool cuts_unknown;
	/* Sending makes no sense on it (monitors): what a guest or application sends is dropped. */
	bool receives_only;
};

#endif
