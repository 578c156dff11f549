/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * port.h - ports and their registry.
 *
 * A *port* has rings and a kind: a table of operations. It knows nothing of who
 * uses it: that is a client's matter (client.h).
 *
 * VALE ports, pipes, monitors and null ports are made by the bind that names them and
 * end with their last client. A port is found in this order: mode NR_REG_NULL makes
 * one; "BASE{id" is a pipe (pipe.h); "valeID:PORT" a switch port; any other name is
 * looked up in the registry, then by the platform. With monitor flags the client gets a
 * monitor of what was found.
 *
 * Thread safety: core->lock serialises everything here. Functions with the suffix _locked want it held.
 */
#ifndef CORE_PORT_H
#define CORE_PORT_H

#include "core.h"
#include "kind.h"
#include "ring.h"
#include <net/netmap.h>

enum { NM_PORT_HDR_MAX = 12, NM_FULL_WAIT_MAX_US = 10000000 };

struct nm_client;
struct nm_rss_config;

/* Rings and slots of a port that is to be made. */
struct nm_shape {
	uint32_t rings[NM_DIRS];      /* hardware rings */
	uint32_t host_rings[NM_DIRS]; /* to and from the system's stack; 0: the port has none */
	uint32_t slots[NM_DIRS];      /* of each ring */
};

struct nm_port {
	struct nm_port *next OS_GUARDED_BY(NM_CORE_LOCK);
	struct nm_core *core;
	const struct nm_port_ops *ops;
	void *priv; /* of the kind */
	void *ns;   /* the namespace of its name (core.h) */
	char name[NETMAP_REQ_IFNAMSIZ];
	uint64_t
		made; /* the how manieth it is of all that the core has ever had: core->ports has them the other way round */
	uint32_t owner;         /* its number, for the ownership map */
	struct nm_quota *payer; /* for the port, its rings and slots; NULL: nobody */
	/* For its part, and its peer's, of a region that is there for all. */
	struct nm_quota *memory_payer;
	uint64_t memory_paid;     /* bytes */
	struct nm_region *region; /* a reference; NULL while no client is bound, unless foreign */
	struct nm_port *parent;   /* of a pipe end or a monitor; it pins the parent */
	struct nm_port *peer; /* other end of a pipe. Both get their memory when the first client of
			       * either comes, keep what is in their rings when clients change, and
			       * lose all with the last client of both */
	uint32_t num_rings[NM_DIRS];      /* hardware rings */
	uint32_t num_host_rings[NM_DIRS]; /* host rings, 0 where there are none */
	uint32_t num_slots[NM_DIRS];
	struct nm_ring *rings[NM_DIRS]; /* hardware rings, then host rings */
	uint64_t nifp_offset; /* only with a foreign region: the netmap_if that came with it */
	uint32_t hw_owner; /* of the buffers in hardware rings that came with a foreign region; its
			       * objects are the kind's to free and mend. 0: not tracked */
	/* See nm_port_ops.held. The kind sets the number while the port has no memory, and held_kept in `stop` when a device may
	 * still write to them: then they are the kind's to free (nm_bufown_free_owner), who has a reference to the region. */
	uint32_t held_bufs, held_owner;
	bool held_kept;
	uint32_t hdr_len; /* virtio-net header: 0, 10 or 12 bytes */
	/* On a switch, of a network stack: how long a packet of the port waits for another such
	 * port that is full, microseconds, at most NM_FULL_WAIT_MAX_US; 0: it is dropped, and packets
	 * for this port as well. Anybody may store it at any time (OS_STORE). */
	uint32_t full_wait_us;
	/* On a switch: a network stack is behind it, whatever header its packets have. Else those with a virtio-net header
	 * are taken for a stack's. Stored when no thread syncs the port; loaded by any (OS_LOAD). */
	bool stack;
	/* On a switch, NM_KNOWS_* of offload.h: which packets behind virtio-net headers, of those that not everybody knows, the user of the
	 * port sends and takes. For a port that doesn't know one, a switch cuts what such a port sends. Stored by anybody, any time
	 * (OS_STORE). */
	uint32_t knows;
	/* By the hash of packets, the rx ring that they come to; NULL: by the sender's ring. Stored under core->lock; loaded
	 * by any thread that sends to the port, once for what it does. */
	struct nm_rss *rss;
	struct nm_rss *rss_memory; /* what rss is if it isn't NULL; under core->lock */
	uint32_t clients OS_GUARDED_BY(NM_CORE_LOCK);
	/* Pipe ends, monitors and attachments that want it to exist, used or not. */
	uint32_t pins OS_GUARDED_BY(NM_CORE_LOCK);
	struct nm_client *client_list OS_GUARDED_BY(NM_CORE_LOCK);
	/* Whose bind has begun to make its memory, and its peer's, and isn't done yet (client.h); NULL: none. */
	const struct nm_client *maker OS_GUARDED_BY(NM_CORE_LOCK);
	bool started OS_GUARDED_BY(NM_CORE_LOCK);      /* its kind, by nm_port_ops.start */
	uint32_t promised OS_GUARDED_BY(NM_CORE_LOCK); /* buffers, for slots that have none yet */
	struct {
		uint64_t max, initial; /* bytes; granted to the first client that asked */
		uint64_t mask;         /* of slot.ptr; 0: no offsets */
		uint64_t align, gap;   /* of tx data; free bytes behind rx data */
	} offsets;
	bool ephemeral OS_GUARDED_BY(NM_CORE_LOCK); /* freed with its last client and pin */
	bool same_region; /* it must lie in the region of its parent (zero-copy monitors) */
	bool own_memory;  /* region, rings and buffers are those that the core gave it */
	bool unnamed;     /* not found by name (null ports, monitors): name is for texts only */
	bool dead;        /* syncs return -ENXIO (a device that was pulled) */
	/* A guest has it, and a part of its region: nothing may exchange the port's buffers. */
	bool guest_part;
};

/* One ring and the default of slots, each where the number is 0; host rings stay as they are. */
void nm_shape_complete(struct nm_shape *shape);

/* 0, or -EINVAL with a text: the number that can't be, and its bounds. */
int nm_shape_check(const struct nm_shape *shape, const char *name, struct nm_error *err);

/*
 * For the platform and for port kinds: makes a port and registers it. The shape is checked; 0 rings
 * are allowed where the kind can do without (null). NULL with err: -EEXIST, -ENOMEM, -EINVAL.
 */
struct nm_port *nm_port_add_locked(struct nm_core *core, const char *name,
	const struct nm_port_ops *ops, const struct nm_shape *shape, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK);

/* The same in a namespace; the former is for platforms that have one only. */
struct nm_port *nm_port_add_in_locked(struct nm_core *core, void *ns, const char *name,
	const struct nm_port_ops *ops, const struct nm_shape *shape, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK);

/* The same for a port that is not found by name; the name is for texts and needn't be unique. */
struct nm_port *nm_port_add_unnamed_locked(struct nm_core *core, const char *name,
	const struct nm_port_ops *ops, const struct nm_shape *shape, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK);

/* Keeps a port in existence, as a client does, without using it; and lets go of it: a port made
 * on demand ends with the last pin and client. */
void nm_port_pin_locked(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);
void nm_port_unpin_locked(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* Takes a port without clients off the registry and frees it. A port that still has clients or
 * pins is marked dead (every sync fails with -ENXIO), loses its name, and goes with the last of
 * them; so are its pipes and monitors when they lie in the foreign region that goes with it. The
 * memory of a dead port's rings is not touched any more. */
void nm_port_remove_locked(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* Frees a port made on demand (a pipe: both ends) if it has no client and no pin; else nothing. */
void nm_port_unused_locked(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* Are buffers exchanged between slots of the port and those of another one, or a device, with nobody's syncs but the
 * core's? Those of pipe ends, of zero-copy monitors and of ports that these watch are, and those of NICs. */
bool nm_port_exchanges_locked(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* New numbers of host rings, and of slots of each ring, of a port that has no clients, pins and memory:
 * else -EBUSY. Its hardware rings stay as many as they are. -EINVAL out of range, -ENOMEM: as it was. */
int nm_port_reshape_locked(struct nm_port *port, const uint32_t host_rings[NM_DIRS],
	const uint32_t slots[NM_DIRS]) OS_REQUIRES(NM_CORE_LOCK);

/* New virtio-net header length: 0, 10 or 12 bytes. -EINVAL, or -EOPNOTSUPP by the kind. */
int nm_port_set_hdr_len_locked(struct nm_port *port, uint32_t bytes) OS_REQUIRES(NM_CORE_LOCK);

/* Packets come to the rx rings that their hash says (rss.h); NULL: to those that the kind has for them. At any time; it lasts
 * until it is set again, whoever uses the port. -EINVAL: an entry of the table names no rx ring of the port; -EOPNOTSUPP by
 * the kind; -ENOMEM. */
int nm_port_set_rss_locked(struct nm_port *port, const struct nm_rss_config *config)
	OS_REQUIRES(NM_CORE_LOCK);

/* -EEXIST. Texts that name its pipes follow. */
int nm_port_rename_locked(struct nm_port *port, const char *name) OS_REQUIRES(NM_CORE_LOCK);

/* May the caller use it? Asks its kind, and those of the ports that it belongs to. 0, or -EPERM with a text. */
int nm_port_admit_locked(const struct nm_port *port, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK);

/* The port that a name means in a namespace; the name may be that of a pipe end that exists. Asks the
 * platform, too. */
struct nm_port *nm_port_find_in_locked(struct nm_core *core, void *ns, const char *name)
	OS_REQUIRES(NM_CORE_LOCK);
/* For platforms that have one namespace only. */
struct nm_port *nm_port_find_locked(struct nm_core *core, const char *name)
	OS_REQUIRES(NM_CORE_LOCK);

/* How long packets of this port of a switch wait for others that are full, and theirs for it: microseconds; 0: they don't. */
static inline uint32_t nm_port_full_wait(const struct nm_port *port)
{
	return port->hdr_len > 0 || OS_LOAD(&port->stack) ? OS_LOAD(&port->full_wait_us) : 0;
}

/* Packets of this tx ring wait for receivers on their switch; also when the port's bound, which may change at any time,
 * has become 0 meanwhile: the next sync drops them then. By who syncs the ring. */
static inline bool nm_ring_waits(const struct nm_ring *ring)
{
	return ring->tail != nm_ring_before(ring->hwcur, ring->num_slots) && ring->port->ops->parks;
}

/* A ring whose memory the core gave: any of a port that lies in the core's region, a host ring of one that
 * brings the others. */
static inline bool nm_ring_is_given(const struct nm_ring *ring)
{
	return ring->shared && (ring->port->own_memory || ring->host);
}

/* Somebody's bind is making it: it has rings, but not yet a buffer in each slot, and no other client can have it. */
static inline bool nm_port_is_being_made(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	return port->maker || (port->peer && port->peer->maker);
}

static inline uint32_t nm_port_all_rings(const struct nm_port *port, enum nm_dir dir)
{
	return port->num_rings[dir] + port->num_host_rings[dir];
}

#endif
