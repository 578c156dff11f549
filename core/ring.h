/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ring.h - one ring of a port: the private state behind a struct netmap_ring.
 *
 * The shared ring (struct netmap_ring, in a region) can be written by the
 * application at any moment. struct nm_ring is what is believed. The caller of a
 * sync loads head and cur once, from the shared ring or from a CSB, and passes
 * the values; slots are loaded once each with nm_slot_load().
 *
 *      tx:   hwcur <= head <= cur <= tail      hwcur..head   to be sent now
 *            (modulo num_slots)                head..tail    the application's
 *                                              tail..hwcur   being sent
 *      rx:   hwcur == head <= cur <= tail      head..tail    received packets
 *                                              tail..head    netmap's, to be filled
 *      head == tail is empty; one slot always stays unused.
 *
 * A sync is legal when  old head <= head <= cur <= old tail, modulo num_slots,
 * with the tail that the application was last told.
 *
 * Thread safety: one thread at a time syncs a ring (the platform sees to that).
 * Producers of a VALE port's rx ring come from other threads: they hold
 * `produce.lock`. hwcur and hwtail are the two indices that cross threads; each is
 * stored by one side with release and loaded by the other with acquire.
 */
#ifndef CORE_RING_H
#define CORE_RING_H

#include "locks.h"
#include "os.h"
#include <net/netmap.h>

struct nm_port;
struct nm_region;
struct nm_monitor;
struct nm_csb_server;

enum nm_dir { NM_TX, NM_RX, NM_DIRS };

enum {
	NM_RINGS_MAX = 64, /* per direction; fits the CSB pages and the kick registers */
	NM_SLOTS_MIN = 2,
	NM_SLOTS_MAX = 16384,
	NM_SLOTS_DEFAULT = 1024,
	NM_CACHE_LINE = 64,
};

/* Why a packet was dropped. Each has a name: nm_drop_name(). */
enum nm_drop {
	NM_DROP_RX_FULL,     /* the receiver's ring has no room */
	NM_DROP_NO_RECEIVER, /* no other port on the switch, or it has no rx ring in use */
	NM_DROP_BAD_BUFFER,  /* buffer index out of range (tx: the sender's, rx: the receiver's) */
	NM_DROP_BAD_LENGTH,  /* longer than the buffer */
	NM_DROP_TOO_SHORT,   /* no room for headers */
	NM_DROP_INDIRECT,    /* NS_INDIRECT is not served on this port */
	NM_DROP_FRAGMENTS,   /* more than NETMAP_MAX_FRAGS slots */
	NM_DROP_OFFLOAD,     /* asks for an offload that can't be completed for this receiver */
	NM_DROP_BAD_HEADER,  /* a virtio-net header, or packet headers, that make no sense */
	NM_DROP_BAD_OFFSET,  /* offset and length reach beyond the buffer */
	NM_DROP_TOO_LONG,    /* longer than the receiver can take */
	NM_DROP_RECEIVES_ONLY, /* sent on a port that only receives */
	NM_DROP_MISSED,        /* monitor: no room for what it should have seen */
	NM_DROP_LINK_DOWN,     /* the device or its link is down */
	NM_DROP_NO_MEMORY,     /* of the platform, for a packet on its way */
	NM_DROP_REFUSED,       /* by the device or the system behind it */
	NM_DROPS
};

/* Written by the thread that syncs (tx) or produces (rx); read by anyone, roughly. */
struct nm_ring_stats {
	uint64_t packets, bytes; /* taken from the ring (tx), or delivered into it (rx) */
	/* Tx: deliveries tried; a unicast packet is one, a broadcast one per port */
	uint64_t copies;
	uint64_t drops[NM_DROPS];
	uint64_t syncs;
	uint64_t bad_syncs; /* head or cur outside [old head, tail] */
	/* Tx of a switch: packets that had to wait for a full receiver, and those of them that were
	 * dropped in the end, under RX_FULL (vale_wait.h) */
	uint64_t waits, expired;
};

/* Of a counter that one thread writes, or one at a time, while others read it. */
static inline void nm_count(uint64_t *counter, uint64_t by)
{
	OS_STORE(counter, *counter + by);
}

struct nm_ring {
	/* Constant while a client is bound. */
	struct netmap_ring *shared;
	struct netmap_slot *slots; /* shared->slot */
	struct nm_region *region;
	struct nm_port *port;
	uint32_t num_slots;
	uint16_t id;
	uint8_t dir;             /* enum nm_dir */
	bool host;               /* a host ring: number within the host rings is id - port rings */
	uint32_t users;          /* clients bound to it */
	bool exclusive;          /* the one client wants no other */
	void *priv;              /* of the port kind */
	uint64_t offset_mask;    /* of slot.ptr; 0: packets begin where their buffer begins */
	struct os_wakeup wakeup; /* signalled on new tx room or new rx packets */
	/* Who watches it; see monitor.h. nm_ring_sync() looks whether there is one without the lock. */
	struct nm_monitor *monitors OS_GUARDED_BY(NM_MONITORS_LOCK);
	struct os_spin monitor_lock; /* of monitors, for monitor.c alone */
	/* By which CSB its user moves it, for who looks; NULL: by none. The platform's. */
	const struct nm_csb_server *served;

	/* The application's side: written only by the thread that syncs. */
	struct {
		uint32_t head, cur, tail; /* as of the last good sync; tail: as last told */
		uint32_t hwcur;           /* rx: consumer index, OS_STORE_RELEASE for producers */
		uint32_t dropping;        /* slots.h: inside a packet that is being dropped */
		uint64_t stamped_us;      /* nm_ring_stamp() */
	} __attribute__((aligned(NM_CACHE_LINE)));

	/* The other side: written by producers (rx), under the lock, or by txsync. */
	struct {
		uint32_t hwtail; /* rx: producer index, OS_STORE_RELEASE for rxsync */
		/* Producers' copy of hwcur, refreshed when it runs out. */
		uint32_t hwcur_seen OS_GUARDED_BY(NM_PRODUCE_LOCK);
		struct os_spin lock;
	} produce __attribute__((aligned(NM_CACHE_LINE)));

	struct nm_ring_stats stats __attribute__((aligned(NM_CACHE_LINE)));
} __attribute__((aligned(NM_CACHE_LINE)));

static inline void nm_produce_lock(struct nm_ring *ring) OS_LOCKS(NM_PRODUCE_LOCK)
{
	os_spin_lock(&ring->produce.lock);
}

static inline void nm_produce_unlock(struct nm_ring *ring) OS_UNLOCKS(NM_PRODUCE_LOCK)
{
	os_spin_unlock(&ring->produce.lock);
}

static inline void nm_produce_assert_locked(const struct nm_ring *ring)
	OS_ASSERTS_HELD(NM_PRODUCE_LOCK)
{
	os_assert_held(&ring->produce.lock);
}

static inline void nm_monitors_lock(struct nm_ring *ring) OS_LOCKS(NM_MONITORS_LOCK)
{
	os_spin_lock(&ring->monitor_lock);
}

static inline void nm_monitors_unlock(struct nm_ring *ring) OS_UNLOCKS(NM_MONITORS_LOCK)
{
	os_spin_unlock(&ring->monitor_lock);
}

/*
 * Writes the time of a sync into the shared ring: `us`, wall-clock microseconds, or *last, the time
 * written before, when the clock has gone back since. The thread that syncs the ring.
 */
static inline void nm_ring_stamp(struct netmap_ring *shared, uint64_t us, uint64_t *last)
{
	if (likely(us > *last))
		*last = us;
	shared->ts.tv_sec = (__typeof__(shared->ts.tv_sec))(*last / 1000000);
	shared->ts.tv_usec = (__typeof__(shared->ts.tv_usec))(*last % 1000000);
}

/* Bytes of a ring with so many slots in shared memory. */
static inline uint32_t nm_ring_bytes(uint32_t num_slots)
{
	return (uint32_t)(sizeof(struct netmap_ring) + num_slots * sizeof(struct netmap_slot));
}

/* Indices that are private, whatever the application writes. */
static inline void nm_ring_assert_indices(const struct nm_ring *ring)
{
	os_assert(ring->head < ring->num_slots && ring->cur < ring->num_slots);
	os_assert(ring->tail < ring->num_slots && ring->hwcur < ring->num_slots);
	os_assert(OS_LOAD(&ring->produce.hwtail) < ring->num_slots);
}

/* A slot as loaded once from shared memory. */
struct nm_slot_copy {
	uint32_t buf_idx;
	uint16_t len;
	uint16_t flags;
};

/* The first word of a slot. Put together by shifts: compilers make twice the code of a structure of three. */
static inline uint64_t nm_slot_word(uint32_t buf_idx, uint32_t len, uint32_t flags)
{
	const uint64_t part[] = {buf_idx, (uint16_t)len, (uint16_t)flags};

	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? part[0] | part[1] << 32 | part[2] << 48
							 : part[0] << 32 | part[1] << 16 | part[2];
}

static inline struct nm_slot_copy nm_slot_load(const struct netmap_slot *slot)
{
	struct nm_slot_copy copy;
	uint64_t word = OS_LOAD((const uint64_t *)(const void *)slot);

	memcpy(&copy, &word, sizeof(copy));
	return copy;
}

/* Slots from a (inclusive) to b (exclusive), both < num_slots. */
static inline uint32_t nm_ring_distance(uint32_t a, uint32_t b, uint32_t num_slots)
{
	return b >= a ? b - a : b + num_slots - a;
}

static inline uint32_t nm_ring_advance(uint32_t i, uint32_t n, uint32_t num_slots)
{
	i += n;
	return i >= num_slots ? i - num_slots : i;
}

/* The slot before i. As the tail of a tx ring with hwcur i: every slot but one is the application's. */
static inline uint32_t nm_ring_before(uint32_t i, uint32_t num_slots)
{
	return i == 0 ? num_slots - 1 : i - 1;
}

/* Free slots of an rx ring for a producer that has filled those below `at`, as far as it has seen. */
static inline uint32_t nm_ring_room(const struct nm_ring *ring, uint32_t at)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	return nm_ring_before(
		nm_ring_distance(at, ring->produce.hwcur_seen, ring->num_slots), ring->num_slots);
}

/*
 * True when a sync to (head, cur) is legal after the last one. All arguments may be
 * hostile but old_head and old_tail, which are private and < num_slots.
 */
static inline bool nm_ring_move_legal(
	uint32_t old_head, uint32_t old_tail, uint32_t head, uint32_t cur, uint32_t num_slots)
{
	uint32_t room, to_head, to_cur;

	if (unlikely(head >= num_slots || cur >= num_slots))
		return false;
	room = nm_ring_distance(old_head, old_tail, num_slots);
	to_head = nm_ring_distance(old_head, head, num_slots);
	to_cur = nm_ring_distance(old_head, cur, num_slots);
	return to_head <= to_cur && to_cur <= room;
}

/*
 * One sync of a ring to (head, cur), with the values as loaded, once, from the other side.
 * 0, or -EINVAL when the move is illegal: nothing has changed then but the count of
 * bad_syncs, and the caller either rewrites the shared ring from head, cur and tail of the
 * private state (nm_ring_reset_shared) or stops serving the ring. -ENXIO: the port is gone.
 * After success ring->tail is what to tell the application, ring->hwcur how far netmap is.
 * Calls the port kind's txsync or rxsync. One thread at a time per ring.
 */
int nm_ring_sync(struct nm_ring *ring, uint32_t head, uint32_t cur);

/* Application in the same memory: loads head and cur from the shared ring, syncs, and stores
 * tail (and, after an illegal move, head and cur) back. As nm_ring_sync(). */
int nm_ring_sync_shared(struct nm_ring *ring);

/*
 * The tail, for the engine and the application: of a tx ring some of whose slots are not free again, and of a
 * ring that another system fills. The thread that syncs the ring.
 */
static inline void nm_ring_set_tail(struct nm_ring *ring, uint32_t tail)
{
	ring->tail = ring->produce.hwtail = tail;
}

/* For a port kind's txsync: slots below `at` are sent, and every slot but one is free again. */
static inline void nm_ring_sent(struct nm_ring *ring, uint32_t at)
{
	ring->hwcur = at;
	nm_ring_set_tail(ring, nm_ring_before(at, ring->num_slots));
}

/* The rxsync of a ring that other threads produce into: slots below head are free again, and what
 * the producers have published is the application's. 0. */
int nm_ring_rxsync_produced(struct nm_ring *ring);

/* Writes head, cur and tail of the private state into the shared ring. */
void nm_ring_reset_shared(struct nm_ring *ring);

/* The ring whose produce.lock protects the indices of this one: of a pipe's tx ring, the ring it leads
 * to. */
struct nm_ring *nm_ring_guard(struct nm_ring *ring);

/* First state of a ring's indices, private and shared: tx may fill all slots but one, rx has received
 * nothing. The caller of clear holds the lock of nm_ring_guard(), and the one of the ring's monitors, which
 * it rewinds (monitor.h); that of restart does not. */
void nm_ring_clear(struct nm_ring *ring) OS_REQUIRES(NM_PRODUCE_LOCK);
void nm_ring_restart(struct nm_ring *ring);

/* Slots that the application may use now: tx room or rx packets, from the private state. */
static inline uint32_t nm_ring_avail(const struct nm_ring *ring)
{
	return nm_ring_distance(ring->cur, ring->tail, ring->num_slots);
}

/*
 * Slots that are in use, with the application's head: of a tx ring those that it has released and has not got back, of an rx ring those
 * that it has been sent and has not given back. Any thread that holds core->lock, so that the port keeps its rings; the other side
 * moves on meanwhile.
 */
static inline uint32_t nm_ring_fill(const struct nm_ring *ring, uint32_t head)
{
	if (!ring->shared)
		return 0;
	if (ring->dir == NM_RX)
		return nm_ring_distance(head, OS_LOAD(&ring->produce.hwtail), ring->num_slots);
	return ring->num_slots - 1 - nm_ring_distance(head, OS_LOAD(&ring->tail), ring->num_slots);
}

/* "receiver full", … for logs and status; NULL for an unknown number. */
const char *nm_drop_name(enum nm_drop cause);

#endif
