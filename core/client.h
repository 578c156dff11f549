/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client.h - clients: bindings to rings of a port.
 *
 * A *client* is an open /dev/netmap, an application on netmapd's socket, or a virtual machine.
 *
 *      nm_client_init -> nm_client_bind ... nm_ring_sync ... nm_client_unbind
 *
 * The first client that is bound gives a port its rings, buffers and netmap_if
 * (port kinds with a foreign region bring their own); the last takes them away.
 *
 * Where a port's memory lies is decided by the first client: on its external memory; in
 * the region it names; where the port's family lies (parent, pipes and zero-copy monitors
 * of one parent); in region 1 (NICs, pipes); in the client's own region; in one made for
 * the port. A reserved region is for its owner's clients alone (-EPERM).
 *
 * Offsets are granted by the first client that binds to a port or its pipe peer: later
 * ones must ask for no more, with the same mask and initial offset (-EINVAL), and one that
 * asks for none is refused (-EBUSY), since it would look for packets at the wrong place.
 *
 * A bind in parts
 * ---------------
 * What a bind costs beyond a little for each ring are the slots, each of which gets a buffer, and the list of extra buffers,
 * which touches each. So nm_client_bind() lets go of the lock after NM_SLOTS_PER_PART of them, and has it again for the next
 * part. Until the last one is done the port is *being made*: it has its name, its memory and its shape, and what it needs is
 * set aside; but it is not started, its rings have no users, and no other client can bind to it, to its peer, or to a
 * new monitor of it; a monitor begun before may be done first, and its rings show nothing yet. Whoever wants to waits for that
 * (nm_platform_ops.await_make); who makes a port waits for nobody. It may be told between two parts that the rest isn't wanted,
 * and the port's device may go.
 *
 * Where one thread does everything (netmapd) it can't wait for itself: there others find -EINPROGRESS, and ask again. A client
 * with in_parts is bound by nm_client_bind() but for the parts, calls until they are done, and may unbind at any time:
 *
 *      while ((more = nm_client_go_on(client, NM_SLOTS_PER_PART)) > 0)
 *              let others have their turn;
 *
 * The way back has no parts: unbind, reset and repair ask all slots of a region at one moment which buffers they show. That costs
 * as much as the region has buffers, NM_BUFS_MAX at most, however many ports have exchanged what with each other, and nothing
 * where it ends with them. With 950,000 slots of one port, or of 4000 ports of which each has a buffer of another's, the lock was
 * held for 13 ms of CPU time at most (November 2026), where only one of the steps of an unbind had to look: its extra buffers, the
 * region, and its rings where others stay are three.
 *
 * A ring keeps its buffers while the port is in use. When its last user leaves it is repaired: each slot
 * references a buffer that the port owns and no other slot references (bufown.h).
 *
 * Thread safety: core->lock serialises everything here but nm_ring_sync(), which takes no lock and
 * relies on the client being bound. A platform must not unbind a client while one of its rings is in
 * a sync.
 */
#ifndef CORE_CLIENT_H
#define CORE_CLIENT_H

#include "port.h"

/* With core->lock held, at a time: some 200 microseconds. */
enum { NM_SLOTS_PER_PART = 8192 };

/* What a client wants of a port: the input fields of nmreq_register that matter here. */
struct nm_bind {
	uint32_t mode;  /* NR_REG_* */
	uint64_t flags; /* NR_* */
	uint16_t ringid;
	uint16_t mem_id; /* 0: the default for the port. A region that doesn't exist is made */
	uint32_t num_rings[NM_DIRS]; /* 0: the default; only for ports made by the bind */
	uint32_t num_host_rings[NM_DIRS];
	uint32_t num_slots[NM_DIRS];
	/* Wanted; client->extra_bufs is what was given: as many as there are, but in a region that is
	 * there for all a quarter of its buffers stays for rings. */
	uint32_t extra_bufs;
	/* Region on this memory, of which NULL is left when a region has it: it ends with that, whatever becomes of the
	 * bind. NULL, or a pointer to NULL: none. */
	struct os_mem **extmem;
	uint64_t extmem_bytes;
	struct nm_region_params extmem_params; /* requested; 0: the default */
	const struct nm_offsets *offsets;      /* NULL: none wanted */
};

/* Option OFFSETS: requested, and granted. */
struct nm_offsets {
	uint64_t max, initial; /* bytes */
	uint32_t bits;         /* of slot.ptr; 0: all 64 */
	uint32_t tx_align;     /* bytes, a power of two, or 0 */
	uint64_t min_gap;      /* bytes */
};

/* How far the slots of a port, and of its peer, have got their buffers. */
struct nm_fill {
	struct nm_port *port; /* NULL: all have */
	uint32_t dir, ring, slot;
};

struct nm_client {
	struct nm_core *core;
	void *ns; /* namespace of the names it gives (core.h); the platform's to set, and keep */
	/* Where its ports go by default; not a reference; may be NULL */
	struct nm_region *own_region;
	/* Whose private regions it may use, and whose a region is that is made for it. At first NM_USER_ANY */
	uint32_t user;
	struct nm_port *port; /* NULL: not bound */
	/* Rings it is bound to; numbers as in port->rings */
	uint32_t first[NM_DIRS], count[NM_DIRS];
	uint64_t flags;                                     /* NR_* of the registration */
	struct nm_client *next OS_GUARDED_BY(NM_CORE_LOCK); /* of port->client_list */
	uint64_t nifp_offset;                               /* of its netmap_if in port->region */
	uint32_t nifp_index;          /* in the pool, or UINT32_MAX: none of its own */
	uint32_t owner;               /* of its extra buffers; NM_OWNER_NONE: it has none */
	uint32_t extra_bufs;          /* how many it was given */
	struct nm_quota *extra_payer; /* for them; NULL: nobody */
	uint32_t to_link;             /* how many are promised, and not in the list yet */
	uint32_t bufs_head;           /* of their list, as it was given */
	bool in_parts;                /* its binds are finished by nm_client_go_on() */
	bool waits;                   /* its last bind has found the port being made */
	bool exclusive;               /* has its rings alone */
	struct nm_fill fill;
	struct { /* the shape of a port that lets its client choose one */
		bool chosen;
		uint32_t host_rings[NM_DIRS], slots[NM_DIRS];
	} before;
	bool no_shared; /* its pipes and devices lie in a region of its own, unless it names one, not in that for all */
	bool exclusive_only; /* the platform can serve it only when it shares no ring (CSB) */
	bool same_rings; /* … or all its rings, with others that have the same and this flag */
	struct nm_error err; /* why the last call failed: one line */
};

/* While it is bound a client is in the port's list: the struct must stay where it is. */
void nm_client_init(struct nm_client *client, struct nm_core *core);

/*
 * Binds to the rings of port `name`, making the port when it is one that is made on demand
 * (VALE). 0 or a negative errno with client->err: -EBUSY rings in use, -ENXIO no such port,
 * -ENOMEM with the pool, wanted and left, -EINPROGRESS being made, where nobody waits for that, -EINVAL … Takes the lock.
 */
int nm_client_bind(struct nm_client *client, const char *name, const struct nm_bind *bind)
	OS_EXCLUDES(NM_CORE_LOCK);
/* Allowed when not bound; takes the lock. */
void nm_client_unbind(struct nm_client *client) OS_EXCLUDES(NM_CORE_LOCK);

/*
 * Another part of a bind: about `most` slots, or as many extra buffers as take that time. 1: there is more, and the
 * application must not see its rings yet; 0: it is bound; or a negative errno with client->err, and it is unbound. 0 for a
 * client that is not bound. Takes the lock.
 */
int nm_client_go_on(struct nm_client *client, uint32_t most) OS_EXCLUDES(NM_CORE_LOCK);

/*
 * Gives each ring of the client its first state: empty, with buffers of the port in the slots that no
 * ring of another client shows; those stay as they are. For a guest that was reset. The client must be
 * the only user of its rings (asserted), and none of them in a sync. Takes the lock.
 */
void nm_client_reset_rings(struct nm_client *client) OS_EXCLUDES(NM_CORE_LOCK);

/*
 * Repairs the client's rings (bufown.h): good slots stay as they are, with the packets that wait in them. For a guest
 * whose driver begins to use the rings, since its applications may have left anything in the slots. Nothing
 * happens when the guest has a part of the region (guest_part): then its driver alone knows which buffer
 * is whose. Otherwise as nm_client_reset_rings().
 */
void nm_client_repair_rings(struct nm_client *client) OS_EXCLUDES(NM_CORE_LOCK);

/*
 * The rings of a port that a registration mode means in a direction, without regard to flags; *count 0:
 * there are none, or not the one that bind->ringid names. False: bind->mode is not a mode.
 */
bool nm_mode_rings(const struct nm_port *port, const struct nm_bind *bind, enum nm_dir dir,
	uint32_t *first, uint32_t *count);

/* Have two clients of a port the same rings, or both none? */
bool nm_client_same_rings(const struct nm_client *a, const struct nm_client *b);

/* Ring i of those that the client is bound to in a direction. */
static inline struct nm_ring *nm_client_ring(
	const struct nm_client *client, enum nm_dir dir, uint32_t i)
{
	return &client->port->rings[dir][client->first[dir] + i];
}

/* 0, or -EINVAL with client->err: no port could grant such offsets. The bind asks, too; whoever has a use
 * for the answer before asks first. */
int nm_offsets_check(struct nm_client *client, const char *name, const struct nm_offsets *offsets);

#endif
