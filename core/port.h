/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * port.h - ports, their registry, and the clients that are bound to them.
 *
 * struct nm_core is one netmap world: its ports, switches and regions. A home has
 * one (the module and the daemon), a test as many as it likes.
 *
 * A *port* has rings and a kind: a table of operations. It knows nothing of who
 * uses it. A *client* is whoever is bound to some of its rings: an open
 * /dev/netmap, an application on netmapd's socket, a virtual machine.
 *
 *      nm_client_init -> nm_client_bind ... nm_ring_sync ... nm_client_unbind
 *
 * The first client that is bound gives a port its rings, buffers and netmap_if
 * (port kinds with a foreign region bring their own); the last takes them away.
 * VALE ports are made by the bind that names them and end with their last client.
 *
 * Thread safety: core->lock serialises everything here but nm_ring_sync(), which
 * takes no lock and relies on the client being bound. Functions with the suffix
 * _locked want the lock held. A home must not unbind a client while one of its
 * rings is in a sync.
 */
#ifndef CORE_PORT_H
#define CORE_PORT_H

#include "os.h"
#include "region.h"
#include "ring.h"
#include <net/netmap.h>

enum { NM_ERR_TEXT = 256, NM_PORT_HDR_MAX = 12 };

struct nm_port;
struct nm_client;
struct nm_vale;

struct nm_core {
	struct os_mutex lock;
	struct nm_port *ports;
	struct nm_region *regions;
	struct nm_vale *switches;
	uint32_t next_owner; /* numbers of ports; never reused within 2^32 ports */

	/* Defaults for ports that say nothing, and for regions made for them. */
	struct nm_region_params region_params;

	/*
	 * The home's own ports: called with the lock held when a name is not registered;
	 * may register a port (nm_port_add_locked) and return it. NULL: no such port. Optional.
	 */
	struct nm_port *(*lookup)(struct nm_core *core, const char *name);
	void *home; /* the home's */
};

/* What a port kind does. All are called with core->lock held, but for the syncs. */
struct nm_port_ops {
	const char *kind; /* "vale", "ptnet", … for status */

	/* The first client is being bound: rings exist (or, with a foreign region, must be set up
	 * here: shared, slots and region of each ring, port->nifp_offset). Optional. */
	int (*start)(struct nm_port *port, char *err, size_t err_size);
	/* The last client is gone; on return no producer touches the rings any more. Optional. */
	void (*stop)(struct nm_port *port);
	/* The port is being freed. Optional. */
	void (*destroy)(struct nm_port *port);
	/* New virtio-net header length (0, 10, 12). Optional: without it only 0 is accepted. */
	int (*set_hdr_len)(struct nm_port *port, uint32_t bytes);

	/*
	 * Move packets. ring->head and ring->cur are new and legal. txsync: send slots hwcur..head,
	 * advance ring->hwcur, set produce.hwtail. rxsync: slots hwcur..head are free again.
	 * 0 or a negative errno.
	 */
	int (*txsync)(struct nm_ring *ring);
	int (*rxsync)(struct nm_ring *ring);
};

struct nm_port {
	struct nm_port *next;
	struct nm_core *core;
	const struct nm_port_ops *ops;
	void *priv; /* of the kind */
	char name[NETMAP_REQ_IFNAMSIZ];
	uint32_t owner;           /* its number, for the ownership map */
	struct nm_region *region; /* a reference; NULL while no client is bound, unless foreign */
	uint32_t num_rings[NM_DIRS];      /* hardware rings */
	uint32_t num_host_rings[NM_DIRS]; /* host rings, 0 where there are none */
	uint32_t num_slots[NM_DIRS];
	struct nm_ring *rings[NM_DIRS]; /* hardware rings, then host rings */
	uint64_t nifp_offset; /* only with a foreign region: the one netmap_if of all clients */
	uint32_t hdr_len;     /* virtio-net header: 0, 10 or 12 bytes */
	uint32_t clients;
	bool ephemeral; /* freed with its last client */
	bool dead;      /* syncs return -ENXIO (a device that was pulled) */
};

/* What a client wants of a port: the input fields of nmreq_register that matter here. */
struct nm_bind {
	uint32_t mode;  /* NR_REG_* */
	uint64_t flags; /* NR_* */
	uint16_t ringid;
	uint16_t mem_id;             /* 0: the client's own region, or what suits the port */
	uint32_t num_rings[NM_DIRS]; /* 0: the default; only for ports made by the bind */
	uint32_t num_slots[NM_DIRS];
};

struct nm_client {
	struct nm_core *core;
	struct nm_region
		*own_region;  /* where its ports go by default; not a reference; may be NULL */
	struct nm_port *port; /* NULL: not bound */
	uint32_t first[NM_DIRS],
		count[NM_DIRS]; /* rings it is bound to; numbers as in port->rings */
	uint64_t flags;         /* NR_* of the registration */
	uint64_t nifp_offset;   /* of its netmap_if in port->region */
	uint32_t nifp_index;    /* in the pool, or UINT32_MAX: none of its own */
	bool exclusive_only;    /* the home can serve it only when it shares no ring (CSB) */
	char err[NM_ERR_TEXT];  /* why the last call failed: one line */
};

int nm_core_init(struct nm_core *core);
/* All clients must be unbound. */
void nm_core_destroy(struct nm_core *core);

void nm_client_init(struct nm_client *client, struct nm_core *core);

/*
 * Binds to the rings of port `name`, making the port when it is one that is made on demand
 * (VALE). 0 or a negative errno with client->err: -EBUSY rings in use, -ENXIO no such port,
 * -ENOMEM with the pool, wanted and left, -EINVAL … Takes the lock.
 */
int nm_client_bind(struct nm_client *client, const char *name, const struct nm_bind *bind);
void nm_client_unbind(struct nm_client *client); /* allowed when not bound; takes the lock */

/*
 * Gives every ring of the client's port its first state: empty, with the port's own buffers in
 * the slots. For a guest that was reset; the client must be the only one of the port and no ring
 * in a sync. Takes the lock.
 */
void nm_client_reset_rings(struct nm_client *client);

/* Ring i of those that the client is bound to in a direction. */
static inline struct nm_ring *nm_client_ring(
	const struct nm_client *client, enum nm_dir dir, uint32_t i)
{
	return &client->port->rings[dir][client->first[dir] + i];
}

/* Sets client->err; returns error, so that it can be used in a return statement. */
int nm_client_error(struct nm_client *client, int error, const char *fmt, ...) os_printf_like(3, 4);

/*
 * For the home and for port kinds: makes a port and registers it. num_rings, num_slots are
 * checked. NULL with *error: -EEXIST, -ENOMEM, -EINVAL.
 */
struct nm_port *nm_port_add_locked(struct nm_core *core, const char *name,
	const struct nm_port_ops *ops, const uint32_t num_rings[NM_DIRS],
	const uint32_t num_slots[NM_DIRS], int *error);

/* Takes a port without clients off the registry and frees it. A port that still has clients is
 * marked dead (every sync fails with -ENXIO), loses its name, and goes with its last client. */
void nm_port_remove_locked(struct nm_port *port);

/* New virtio-net header length: 0, 10 or 12 bytes. -EINVAL, or -EOPNOTSUPP by the kind. */
int nm_port_set_hdr_len_locked(struct nm_port *port, uint32_t bytes);

int nm_port_rename_locked(struct nm_port *port, const char *name); /* -EEXIST */
struct nm_port *nm_port_find_locked(
	struct nm_core *core, const char *name); /* asks core->lookup too */

static inline uint32_t nm_port_all_rings(const struct nm_port *port, enum nm_dir dir)
{
	return port->num_rings[dir] + port->num_host_rings[dir];
}

#endif
