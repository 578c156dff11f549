/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * port.h - ports, their registry, and the clients that are bound to them.
 *
 * struct nm_core is one instance of the engine: its ports, switches and regions. A platform has
 * one (the module and the daemon), a test as many as it likes.
 *
 * A *port* has rings and a kind: a table of operations. It knows nothing of who
 * uses it. A *client* is a binding to some of its rings: an open
 * /dev/netmap, an application on netmapd's socket, a virtual machine.
 *
 *      nm_client_init -> nm_client_bind ... nm_ring_sync ... nm_client_unbind
 *
 * The first client that is bound gives a port its rings, buffers and netmap_if
 * (port kinds with a foreign region bring their own); the last takes them away.
 * VALE ports, pipes, monitors and null ports are made by the bind that names them and
 * end with their last client. A port is found in this order: mode NR_REG_NULL makes
 * one; "BASE{id" is a pipe (pipe.h); "valeID:PORT" a switch port; any other name is
 * looked up in the registry, then by the platform. With monitor flags the client gets a
 * monitor of what was found.
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
 * A ring keeps its buffers while the port is in use. When its last user leaves it is repaired: each slot
 * references a buffer that the port owns and no other slot references (bufown.h).
 *
 * Thread safety: core->lock serialises everything here but nm_ring_sync(), which
 * takes no lock and relies on the client being bound. Functions with the suffix
 * _locked want the lock held. A platform must not unbind a client while one of its
 * rings is in a sync.
 */
#ifndef CORE_PORT_H
#define CORE_PORT_H

#include "locks.h"
#include "os.h"
#include "nm_error.h"
#include "region.h"
#include "ring.h"
#include <net/netmap.h>

enum { NM_PORT_HDR_MAX = 12 };

struct nm_port;
struct nm_client;
struct nm_vale;
struct nm_attachment;

/* Rings and slots of a port that is to be made. */
struct nm_shape {
	uint32_t rings[NM_DIRS];      /* hardware rings */
	uint32_t host_rings[NM_DIRS]; /* to and from the system's stack; 0: the port has none */
	uint32_t slots[NM_DIRS];      /* of each ring */
};

/*
 * What a platform does for the core, beyond os.h. Any may be NULL: then requests that need it fail
 * with -EOPNOTSUPP (lookup: there are no such ports). All are called with core->lock held.
 */
struct nm_platform_ops {
	/* The platform's own ports (network devices): asked when a name is not registered; may
	 * register a port (nm_port_add_locked) and return it. NULL: no such port. */
	struct nm_port *(*lookup)(struct nm_core *core, const char *name);
	/* VALE_NEWIF: makes a network device of the system and registers it as a port; its rings and
	 * slots are in bounds, how many host rings it has is the platform's to say. VALE_DELIF.
	 * Negative errno with a text. */
	int (*newif)(struct nm_core *core, const char *name, const struct nm_shape *shape,
		uint16_t mem_id, struct nm_error *err);
	int (*delif)(struct nm_core *core, const char *name, struct nm_error *err);
	/* A device is on a switch (attachment.h): run nm_attachment_step() for it from now on,
	 * until attachment_stop has returned. */
	int (*attachment_start)(struct nm_attachment *att, struct nm_error *err);
	void (*attachment_stop)(struct nm_attachment *att);
	/* Threads of its own that poll, on CPUs first to first + count - 1; count 0: back to
	 * waiting for work. */
	int (*attachment_poll)(struct nm_attachment *att, uint32_t first_cpu, uint32_t count,
		struct nm_error *err);
	/* Words for an error text: what a user can set so that such a pool has more objects. NULL:
	 * nothing. */
	const char *(*more_objects)(const struct nm_region *region, enum nm_pool pool);
};

struct nm_core {
	struct os_mutex lock;
	struct nm_port *ports OS_GUARDED_BY(NM_CORE_LOCK);
	struct nm_region *regions OS_GUARDED_BY(NM_CORE_LOCK);
	struct nm_vale *switches OS_GUARDED_BY(NM_CORE_LOCK);
	/* Numbers of ports; never reused within 2^32 ports. */
	uint32_t next_owner OS_GUARDED_BY(NM_CORE_LOCK);

	/*
	 * Regions made by the core. region_params: sizes of objects in the region of one port; how many
	 * there are follows from the port's rings, and spare_bufs more buffers, for its pipes and
	 * monitors. shared_params: regions that are made when they are first named by their id, the
	 * one of NICs and pipes (NM_REGION_SHARED_ID) among them.
	 */
	struct nm_region_params region_params, shared_params;
	uint32_t spare_bufs;

	const struct nm_platform_ops *platform_ops; /* may be NULL */
	void *platform;                             /* the platform's */
	struct nm_attachment *attachments OS_GUARDED_BY(NM_CORE_LOCK);
};

static inline void nm_core_lock(struct nm_core *core) OS_LOCKS(NM_CORE_LOCK)
{
	os_mutex_lock(&core->lock);
}

static inline void nm_core_unlock(struct nm_core *core) OS_UNLOCKS(NM_CORE_LOCK)
{
	os_mutex_unlock(&core->lock);
}

static inline void nm_core_assert_locked(const struct nm_core *core) OS_ASSERTS_HELD(NM_CORE_LOCK)
{
	os_assert_held(&core->lock);
}

/* What a port kind does. All are called with core->lock held, but for the syncs. */
struct nm_port_ops {
	const char *kind; /* "vale", "ptnet", … for status */

	/* The first client is being bound: rings exist (or, with a foreign region, must be set up
	 * here: shared, slots and region of each ring, port->nifp_offset). Optional. */
	int (*start)(struct nm_port *port, struct nm_error *err);
	/* The last client is gone; on return no producer touches the rings any more. Optional. */
	void (*stop)(struct nm_port *port);
	/* The port is being freed. Optional. */
	void (*destroy)(struct nm_port *port);
	/* New virtio-net header length (0, 10, 12). Optional: without it only 0 is accepted. */
	int (*set_hdr_len)(struct nm_port *port, uint32_t bytes);
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
	/* An rx ring: does a packet wait for a sync, or for slots that the application gives back?
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

	/* In the region of the platform by default (NM_REGION_SHARED_ID), not in one of the port's
	 * or the client's own: NICs, pipes. */
	bool shares_region;
	/* The first client says how many host rings it has. */
	bool chosen_host_rings;
	/* Its hardware rings lead to this system's stack, as its host rings do: on a switch the stack
	 * has one port, not two. */
	bool is_stack;
	/* Sending makes no sense on it (monitors): what a guest or application sends is dropped. */
	bool receives_only;
};

struct nm_port {
	struct nm_port *next OS_GUARDED_BY(NM_CORE_LOCK);
	struct nm_core *core;
	const struct nm_port_ops *ops;
	void *priv; /* of the kind */
	char name[NETMAP_REQ_IFNAMSIZ];
	uint32_t owner;           /* its number, for the ownership map */
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
	uint32_t hdr_len;  /* virtio-net header: 0, 10 or 12 bytes */
	uint32_t clients OS_GUARDED_BY(NM_CORE_LOCK);
	/* Pipe ends, monitors and attachments that want it to exist, used or not. */
	uint32_t pins OS_GUARDED_BY(NM_CORE_LOCK);
	struct nm_client *client_list OS_GUARDED_BY(NM_CORE_LOCK);
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
	struct os_mem *extmem; /* region on this memory; the reference is taken over on success */
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

struct nm_client {
	struct nm_core *core;
	/* Where its ports go by default; not a reference; may be NULL */
	struct nm_region *own_region;
	struct nm_port *port; /* NULL: not bound */
	/* Rings it is bound to; numbers as in port->rings */
	uint32_t first[NM_DIRS], count[NM_DIRS];
	uint64_t flags;                                     /* NR_* of the registration */
	struct nm_client *next OS_GUARDED_BY(NM_CORE_LOCK); /* of port->client_list */
	uint64_t nifp_offset;                               /* of its netmap_if in port->region */
	uint32_t nifp_index; /* in the pool, or UINT32_MAX: none of its own */
	uint32_t owner;      /* of its extra buffers; NM_OWNER_NONE: it has none */
	uint32_t extra_bufs; /* how many it was given */
	uint32_t bufs_head;  /* of their list, as it was given */
	bool exclusive_only; /* the platform can serve it only when it shares no ring (CSB) */
	struct nm_error err; /* why the last call failed: one line */
};

int nm_core_init(struct nm_core *core);
/* A number for the ownership map of regions, not used by anyone else. core->lock held. */
uint32_t nm_core_new_owner(struct nm_core *core) OS_REQUIRES(NM_CORE_LOCK);
/* All clients must be unbound. */
void nm_core_destroy(struct nm_core *core) OS_EXCLUDES(NM_CORE_LOCK);

/* While it is bound a client is in the port's list: the struct must stay where it is. */
void nm_client_init(struct nm_client *client, struct nm_core *core);

/*
 * Binds to the rings of port `name`, making the port when it is one that is made on demand
 * (VALE). 0 or a negative errno with client->err: -EBUSY rings in use, -ENXIO no such port,
 * -ENOMEM with the pool, wanted and left, -EINVAL … Takes the lock.
 */
int nm_client_bind(struct nm_client *client, const char *name, const struct nm_bind *bind)
	OS_EXCLUDES(NM_CORE_LOCK);
/* Allowed when not bound; takes the lock. */
void nm_client_unbind(struct nm_client *client) OS_EXCLUDES(NM_CORE_LOCK);

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

/* Ring i of those that the client is bound to in a direction. */
static inline struct nm_ring *nm_client_ring(
	const struct nm_client *client, enum nm_dir dir, uint32_t i)
{
	return &client->port->rings[dir][client->first[dir] + i];
}

/* 0, or -EINVAL with client->err: no port could grant such offsets. The bind asks, too; whoever has a use
 * for the answer before asks first. */
int nm_offsets_check(struct nm_client *client, const char *name, const struct nm_offsets *offsets);

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

/* Are buffers exchanged between slots of the port and those of another one, with nobody's syncs but the
 * core's? Those of pipe ends, of zero-copy monitors and of ports that these watch are. */
bool nm_port_exchanges_locked(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* New numbers of host rings, of a port that has no clients, pins and memory: else -EBUSY. -EINVAL
 * out of range, -ENOMEM. */
int nm_port_set_host_rings_locked(struct nm_port *port, const uint32_t count[NM_DIRS])
	OS_REQUIRES(NM_CORE_LOCK);

/* New virtio-net header length: 0, 10 or 12 bytes. -EINVAL, or -EOPNOTSUPP by the kind. */
int nm_port_set_hdr_len_locked(struct nm_port *port, uint32_t bytes) OS_REQUIRES(NM_CORE_LOCK);

/* -EEXIST. */
int nm_port_rename_locked(struct nm_port *port, const char *name) OS_REQUIRES(NM_CORE_LOCK);

/* Asks core->lookup, too. */
struct nm_port *nm_port_find_locked(struct nm_core *core, const char *name)
	OS_REQUIRES(NM_CORE_LOCK);

/* A ring whose memory the core gave: any of a port that lies in the core's region, a host ring of one that
 * brings the others. */
static inline bool nm_ring_is_given(const struct nm_ring *ring)
{
	return ring->shared && (ring->port->own_memory || ring->host);
}

static inline uint32_t nm_port_all_rings(const struct nm_port *port, enum nm_dir dir)
{
	return port->num_rings[dir] + port->num_host_rings[dir];
}

#endif
