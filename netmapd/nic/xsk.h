/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xsk.h - an AF_XDP socket whose four rings are mapped here: what a worker does with a queue of a NIC.
 *
 *      this process                                  the kernel
 *        produces  fill         -- addresses of free chunks -->      takes them for packets
 *        consumes  rx           <-- packets: address, length --      that have come
 *        produces  tx           -- packets: address, length -->      sends them
 *        consumes  completion   <-- addresses of sent chunks --      has done with them
 *
 * netmapd-nic makes the socket, registers the memory (umem) and binds (nic_client.h); here are only its rings. Addresses are
 * bytes from the start of the umem. Rings are batch oriented: an index is loaded and stored once per batch.
 *
 *      n = xsk_room(&s->tx, want);                      n = xsk_peek(&s->rx, want);
 *      for (i = 0; i < n; i++)                          for (i = 0; i < n; i++)
 *              xsk_put_desc(&s->tx, i, addr, len, 0);           desc = xsk_get_desc(&s->rx, i);
 *      xsk_submit(&s->tx, n);                           xsk_release(&s->rx, n);
 *      if (xsk_needs_wakeup(&s->tx))                    if (xsk_needs_wakeup(&s->fill))
 *              xsk_kick_tx(s);                                  xsk_kick_rx(s);
 *
 *      A: xsk_submit's and xsk_release's store (release) pairs with the kernel's acquire of that index: the kernel sees the
 *         entries that were put, and writes no entry that is still being read.
 *      B: xsk_room's and xsk_peek's load (acquire) pairs with the kernel's release: entries that the kernel has put are
 *         there, and those that it has taken may be written.
 *
 * The kernel is trusted to keep to the rings, but for no address: whoever takes a descriptor checks it. An index of the
 * kernel's that moves by more than the ring holds breaks the ring (`broken`), which then yields nothing any more.
 *
 * Thread safety: one thread at a time per ring. xsk_stats(): any.
 */
#ifndef NETMAPD_XSK_H
#define NETMAPD_XSK_H

#include <linux/if_xdp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os.h"

enum {
	XSK_CONTD = 1,      /* options of a descriptor: the packet goes on in the next one */
	XSK_HEADROOM = 256, /* bytes in front of a received packet, from the start of its chunk */
};

struct xsk_ring {
	uint32_t *ours;         /* the index that this side stores */
	const uint32_t *theirs; /* that of the kernel */
	const uint32_t *flags;
	void *entries;
	uint32_t size, mask; /* entries, a power of two; 0: the socket has no such ring */
	uint32_t mine;       /* what *ours is */
	uint32_t seen;       /* what *theirs was, checked */
	bool broken;
	void *map;
	size_t map_bytes;
};

struct xsk {
	int fd;
	uint32_t queue;
	/* What two threads may work on lies apart: the receiving side, and the sending side. */
	_Alignas(64) struct xsk_ring rx;
	struct xsk_ring fill;
	_Alignas(64) struct xsk_ring tx;
	struct xsk_ring completion;
};

struct xsk_sizes {
	uint32_t fill, completion, rx, tx; /* entries; 0: there is no such ring */
};

/*
 * Maps the rings of a socket that has them in these sizes; it is the xsk's from now on. Negative errno: nothing is
 * mapped, and the socket stays the caller's.
 */
int xsk_init(struct xsk *s, int fd, uint32_t queue, const struct xsk_sizes *sizes);

/*
 * A fill ring alone, in `memory`, which outlives it: NIC_POSTED_HEAD bytes of zeros, and `size` entries. What is put there
 * netmapd-nic puts into the fill ring of a socket that is still to be bound (struct nic_bind).
 */
void xsk_init_unbound(struct xsk *s, uint32_t queue, void *memory, uint32_t size);

/* Unmaps, and closes the socket. The kernel lets go of it only when no process has it any more, and later. A second call
 * does nothing. */
void xsk_destroy(struct xsk *s);

/* ---- rings that this side produces: fill, tx ------------------------------------------- */

/* How many entries may be put: at most `want`. */
static inline uint32_t xsk_room(struct xsk_ring *r, uint32_t want)
{
	uint32_t used = r->mine - r->seen;

	if (unlikely(r->size - used < want)) {
		uint32_t theirs = OS_LOAD_ACQUIRE(r->theirs); /* B */

		if (unlikely(r->mine - theirs > used))
			r->broken = true;
		if (unlikely(r->broken))
			return 0;
		r->seen = theirs;
		used = r->mine - theirs;
	}
	return r->size - used < want ? r->size - used : want;
}

/* Entry i of those that xsk_room() has found. */
static inline void xsk_put_addr(struct xsk_ring *r, uint32_t i, uint64_t addr)
{
	((uint64_t *)r->entries)[(r->mine + i) & r->mask] = addr;
}

static inline void xsk_put_desc(
	struct xsk_ring *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t options)
{
	((struct xdp_desc *)r->entries)[(r->mine + i) & r->mask] =
		(struct xdp_desc){.addr = addr, .len = len, .options = options};
}

/* The first n entries are the kernel's. */
static inline void xsk_submit(struct xsk_ring *r, uint32_t n)
{
	r->mine += n;
	OS_STORE_RELEASE(r->ours, r->mine); /* A */
}

/* Entries that were put, and that the kernel has not taken yet. */
static inline uint32_t xsk_pending(struct xsk_ring *r)
{
	xsk_room(r, r->size); /* looks where the kernel is */
	return r->mine - r->seen;
}

/*
 * The kernel goes on with this ring only after a kick. Asked after xsk_submit(), and after os_mb() when nothing is asked
 * again before this thread sleeps. For the fill ring: xsk_kick_rx() or poll(); tx: xsk_kick_tx().
 */
static inline bool xsk_needs_wakeup(const struct xsk_ring *r)
{
	return OS_LOAD(r->flags) & XDP_RING_NEED_WAKEUP;
}

/* ---- rings that this side consumes: completion, rx -------------------------------------- */

/* How many entries are there: at most `want`. */
static inline uint32_t xsk_peek(struct xsk_ring *r, uint32_t want)
{
	uint32_t there = r->seen - r->mine;

	if (there < want) {
		uint32_t theirs = OS_LOAD_ACQUIRE(r->theirs); /* B */

		if (unlikely(theirs - r->mine > r->size || theirs - r->mine < there))
			r->broken = true;
		if (unlikely(r->broken))
			return 0;
		r->seen = theirs;
		there = theirs - r->mine;
	}
	return there < want ? there : want;
}

/* Is there nothing to take? */
static inline bool xsk_is_empty(struct xsk_ring *r)
{
	return xsk_peek(r, 1) == 0;
}

/* Entry i of those that xsk_peek() has found; a copy: check it, and use the copy. */
static inline uint64_t xsk_get_addr(const struct xsk_ring *r, uint32_t i)
{
	return OS_LOAD(&((const uint64_t *)r->entries)[(r->mine + i) & r->mask]);
}

static inline struct xdp_desc xsk_get_desc(const struct xsk_ring *r, uint32_t i)
{
	const struct xdp_desc *desc =
		&((const struct xdp_desc *)r->entries)[(r->mine + i) & r->mask];

	return (struct xdp_desc){.addr = OS_LOAD(&desc->addr),
		.len = OS_LOAD(&desc->len),
		.options = OS_LOAD(&desc->options)};
}

/* The first n entries may be overwritten by the kernel. */
static inline void xsk_release(struct xsk_ring *r, uint32_t n)
{
	r->mine += n;
	OS_STORE_RELEASE(r->ours, r->mine); /* A */
}

/* ---- the socket ------------------------------------------------------------------------ */

/*
 * Makes the kernel send what is in the tx ring; never waits. 0, or a negative errno: -EAGAIN (some of it is sent, in copy
 * mode 32 packets at a time; kick again), -EBUSY (the device has no room; in copy mode one packet may be lost),
 * -ENOBUFS, -ENETDOWN (the device is down, or gone), -ENXIO (not bound any more).
 */
int xsk_kick_tx(const struct xsk *s);

/* Makes the kernel go on receiving, when it waits for that; never waits. As xsk_kick_tx(). */
int xsk_kick_rx(const struct xsk *s);

/* What the kernel has counted since the socket was made. */
struct xsk_stats {
	uint64_t rx_dropped;             /* for other reasons than the following */
	uint64_t rx_ring_full;           /* nobody took packets from the rx ring */
	uint64_t fill_empty;             /* there was no chunk for a packet */
	uint64_t rx_invalid, tx_invalid; /* addresses or descriptors that the kernel refuses */
	uint64_t tx_empty;               /* not a loss: there was nothing to send */
};

/* 0 or a negative errno. */
int xsk_stats(const struct xsk *s, struct xsk_stats *stats);

#endif
