/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core.h - one instance of the engine: its ports, switches, regions, and the platform under it.
 *
 * A platform (the module, the daemon) has one struct nm_core, a test as many as it likes. What the
 * platform does for the engine beyond os.h is a table of operations.
 *
 *      nm_core_init(&core); core.platform_ops = &ops; ... nm_core_destroy(&core);
 *
 * Names belong to a *namespace*: a pointer that means something to the platform alone, and that it gives
 * each client (client.h). Switches, their ports and pipes of no port are those of the namespace in
 * which they were made; a platform that has one namespace calls it NULL. It stays as long as it has
 * clients or attachments.
 *
 * Thread safety: core->lock serialises the registry of ports, memory and binding. Functions with the
 * suffix _locked want it held. It is the first lock in the order (docs/architecture.md).
 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include "locks.h"
#include "os.h"
#include "nm_error.h"
#include "region.h"
#include <net/netmap.h>

struct nm_port;
struct nm_shape;
struct nm_vale;
struct nm_attachment;
struct nm_quota;
struct nm_wish;

/*
 * What a platform does for the core, beyond os.h. Any may be NULL: then requests that need it fail
 * with -EOPNOTSUPP (lookup: there are no such ports). All but three are called with core->lock held.
 */
struct nm_platform_ops {
	/* The platform's own ports (network devices): asked when a name is not registered; may
	 * register a port (nm_port_add_locked) and return it. NULL: no such port. */
	struct nm_port *(*lookup)(struct nm_core *core, void *ns, const char *name);
	/* VALE_NEWIF: makes a network device of the system and registers it as a port; its rings and
	 * slots are in bounds, how many host rings it has is the platform's to say. VALE_DELIF.
	 * Negative errno with a text. */
	int (*newif)(struct nm_core *core, void *ns, const char *name, const struct nm_shape *shape,
		uint16_t mem_id, struct nm_error *err);
	int (*delif)(struct nm_core *core, void *ns, const char *name, struct nm_error *err);
	/* A device is on a switch (attachment.h): run nm_attachment_step() for it from now on,
	 * until attachment_stop has returned. */
	int (*attachment_start)(struct nm_attachment *att, struct nm_error *err);
	void (*attachment_stop)(struct nm_attachment *att);
	/* Between the two calls, on and off, no thread steps it; the rings that it has may be others
	 * afterwards. Can't fail. */
	void (*attachment_pause)(struct nm_attachment *att, bool on);
	/* Threads of its own that poll, on CPUs first to first + count - 1; count 0: back to
	 * waiting for work. */
	int (*attachment_poll)(struct nm_attachment *att, uint32_t first_cpu, uint32_t count,
		struct nm_error *err);
	/* Words for an error text: what a user can set so that such a pool has more objects. NULL:
	 * nothing. */
	const char *(*more_objects)(const struct nm_region *region, enum nm_pool pool);
	/* Does it take long to get memory of so many bytes for a region? Then others go on meanwhile (wish.h). NULL: no. */
	bool (*mem_takes_long)(uint64_t bytes);
	/*
	 * Where several threads make requests at a time; NULL where one makes all. A bind has let go of the lock between two
	 * of its parts (client.h): 0, or a negative errno: nobody wants the rest. await_make, without the lock: until
	 * core->makes_ended isn't `ended` any more: 0, or a negative errno: nobody waits for that. make_ended, with the lock:
	 * it is another.
	 */
	int (*between_parts)(void);
	int (*await_make)(const struct nm_core *core, uint32_t ended);
	void (*make_ended)(const struct nm_core *core);
	/* Without the lock: fn(arg) in a thread that no signal for the caller ends or holds up; returns when that has. NULL: the
	 * caller's thread is such a one. */
	void (*run_apart)(void (*fn)(void *arg), void *arg);
	/* A port is there, or is about to go, or is dead: its name, its kind and its payer are those that it has, or
	 * had. NULL: nobody wants to know. */
	void (*port_changed)(const struct nm_port *port, bool is_there);
};

struct nm_core {
	struct os_mutex lock;
	struct os_mutex making; /* regions' memory, one at a time (wish.h); before the lock */
	struct nm_port *ports OS_GUARDED_BY(NM_CORE_LOCK);
	uint64_t ports_made OS_GUARDED_BY(NM_CORE_LOCK); /* ever */
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
	uint32_t nic_bufs; /* of a NIC region that is made when it is first named */

	/* For whom ports, regions and switches are made now (quota.h); NULL: nobody pays. */
	struct nm_quota *payer;
	const struct nm_platform_ops *platform_ops; /* may be NULL */
	void *platform;                             /* the platform's */
	struct nm_attachment *attachments OS_GUARDED_BY(NM_CORE_LOCK);
	/* Of ports, done or given up; stored with the lock, loaded by any (OS_LOAD). */
	uint32_t makes_ended;
	struct nm_wish *wish OS_GUARDED_BY(
		NM_CORE_LOCK); /* of who has the lock; NULL: none (wish.h) */
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

int nm_core_init(struct nm_core *core);
/* A number for the ownership map of regions, not used by anyone else. core->lock held. */
uint32_t nm_core_new_owner(struct nm_core *core) OS_REQUIRES(NM_CORE_LOCK);
/* All clients must be unbound. */
void nm_core_destroy(struct nm_core *core) OS_EXCLUDES(NM_CORE_LOCK);

#endif
