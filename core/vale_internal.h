/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vale_internal.h - what the files of the switch share.
 *
 *      vale.c           switches and their ports come and go
 *      vale_forward.c   the txsync: packets are collected and classified
 *      vale_deliver.c   packets go into the receivers' rings
 *      vale_wait.c      packets wait for receivers that are full (vale_wait.h)
 *
 * Thread safety: `live`, `active` and the hdr_len of a port on the switch change under the write
 * lock; forwarding reads them under the read lock. The rest is under core->lock. A
 * struct vale_batch and a struct vale_tx belong to the thread that syncs the tx ring.
 */
#ifndef CORE_VALE_INTERNAL_H
#define CORE_VALE_INTERNAL_H

#include "mactable.h"
#include "offload.h"
#include "slots.h"
#include "vale.h"
#include "vale_wait.h"

struct nm_vale {
	struct nm_quota *payer; /* whose port was the first */
	struct nm_vale *next OS_GUARDED_BY(NM_CORE_LOCK);
	struct nm_core *core;
	uint32_t index;
	uint32_t members OS_GUARDED_BY(NM_CORE_LOCK); /* ports that exist, started or not */
	void *ns;                                     /* of its name */
	char name[NETMAP_REQ_IFNAMSIZ];

	struct os_rwlock lock;
	struct nm_mactable macs;
	struct nm_port *ports[NM_VALE_PORTS_MAX] OS_GUARDED_BY(
		NM_CORE_LOCK); /* by port number; NULL: free */
	struct nm_port *live[256] OS_GUARDED_BY(
		VALE_LOCK); /* those that take part, by number; else NULL */
	uint8_t active[NM_VALE_PORTS_MAX] OS_GUARDED_BY(VALE_LOCK); /* their numbers in a row */
	uint32_t num_active OS_GUARDED_BY(VALE_LOCK);
	uint32_t incarnations OS_GUARDED_BY(VALE_LOCK); /* ports that have taken part */
};

static inline void vale_read_lock(struct nm_vale *sw) OS_LOCKS_SHARED(VALE_LOCK)
{
	os_read_lock(&sw->lock);
}

static inline void vale_read_unlock(struct nm_vale *sw) OS_UNLOCKS_SHARED(VALE_LOCK)
{
	os_read_unlock(&sw->lock);
}

static inline void vale_write_lock(struct nm_vale *sw) OS_LOCKS(VALE_LOCK)
{
	os_write_lock(&sw->lock);
}

static inline void vale_write_unlock(struct nm_vale *sw) OS_UNLOCKS(VALE_LOCK)
{
	os_write_unlock(&sw->lock);
}

static inline void vale_assert_locked(const struct nm_vale *sw)
	OS_ATTRIBUTE(assert_shared_capability(VALE_LOCK))
{
	os_assert_held(&sw->lock);
}

struct nm_vale_port {
	struct nm_vale *sw;
	uint8_t number;
	bool started;
	uint32_t incarnation; /* no other port had it under this number */
};

enum {
	VALE_ETH_HEADER = 14,
	VALE_FRAGS = NM_VALE_BATCH + NETMAP_MAX_FRAGS, /* a packet of several always fits */
	VALE_TO_ALL = 0xff,                            /* destination: broadcast, or unknown */
	VALE_END = 0xff,                               /* end of a chain of packets */
};

static_assert(NM_VALE_BATCH < (int)VALE_END, "packet numbers are 8 bits");
static_assert((int)VALE_FRAGS <= 256, "fragment numbers are 8 bits");
static_assert(NM_VALE_PORTS_MAX <= (int)VALE_TO_ALL, "port numbers are 8 bits");

/* Small, for three passes go over them. */
struct vale_packet {
	const char *buf;  /* of the first fragment */
	uint32_t len;     /* bytes, all fragments */
	uint8_t frags;    /* slots */
	uint8_t first;    /* in batch->frags, when there is more than one */
	uint8_t next;     /* packet for the same destination */
	uint8_t dst_hint; /* number of the port that the sender wants it to go to; 0: none */
	uint64_t src;     /* its address, or 0: not to be learnt */
};

static_assert(sizeof(struct vale_packet) <= NM_CACHE_LINE / 2, "packets are compact");

struct vale_chain {
	uint8_t first, last;
};

/* Packets of one batch, from the snapshot of the slots to the delivery. Private memory, one
 * per tx ring (ring->priv), so that a sync allocates nothing. */
struct vale_batch {
	struct vale_packet packets[NM_VALE_BATCH];
	struct nm_frag frags[VALE_FRAGS];
	uint32_t num_packets, num_frags;
	uint32_t hints;                 /* 0: no packet that is not in frags has a dst_hint */
	bool in_row;                    /* all packets are in one chain */
	struct vale_chain chains[256];  /* by destination number; VALE_TO_ALL is the last */
	uint8_t touched[NM_VALE_BATCH]; /* destinations with a chain, VALE_TO_ALL not among them */
	uint32_t num_touched;

	/* For packets that are laid out anew. */
	struct nm_piece pieces[NETMAP_MAX_FRAGS];
	struct nm_offload offload;
	uint32_t ident; /* of IPv6 fragments */

	struct vale_queue queue __attribute__((aligned(NM_CACHE_LINE)));
};

/* What one sync of a tx ring works with. */
struct vale_tx {
	struct nm_ring *ring;
	struct nm_vale *sw;
	struct vale_batch *batch;
	struct nm_slots slots;
	uint32_t hdr_len;
	uint32_t knows;      /* the sending port's */
	uint32_t min_len;    /* length of a packet */
	uint32_t plain_span; /* how many, from min_len on, fit a slot that needs no closer look */
	uint8_t number;      /* of the sending port */
	uint64_t epoch;
	uint64_t last_src;    /* learnt in this sync */
	uint32_t wait_us;     /* how long packets wait; 0: they don't */
	uint32_t batch_at;    /* slot of the batch's first packet */
	bool gaps;            /* slots of the batch are no packets */
	struct nm_ring *full; /* the rx ring that the first of the refused waits for */
	uint64_t
		full_rings; /* of a port that has a hash: the set of those that others of them wait for, too */
};

void nm_vale_batch_init(struct vale_batch *batch);
int nm_vale_txsync(struct nm_ring *ring);

/*
 * Delivers two chains of the batch (packets for this port, and for all ports), in the order of
 * their packets, to the ring of `port` that belongs to the sender's, or to those that their hash says (rss.h). Read lock of
 * the switch. Returns VALE_END, or the first packet of `mine` that has to wait (vale_wait.h); those behind it in its chain, which
 * may be a shorter one now, have to, too. Then tx->full is the ring that the first one waits for.
 */
uint8_t nm_vale_deliver(struct vale_tx *tx, struct nm_port *port, uint8_t mine, uint8_t all);

/* The rx ring of `port` that a packet of the batch is for. Read lock of the switch. */
struct nm_ring *nm_vale_ring_for(
	const struct vale_tx *tx, const struct nm_port *port, const struct vale_packet *packet);

/* Without a hash. */
static inline struct nm_ring *nm_vale_rx_ring(const struct vale_tx *tx, const struct nm_port *port)
{
	return &port->rings[NM_RX][tx->ring->id % port->num_rings[NM_RX]];
}

static inline void nm_vale_count_drop(struct nm_ring *ring, enum nm_drop cause)
{
	nm_count(&ring->stats.drops[cause], 1);
}

#endif
