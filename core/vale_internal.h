/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vale_internal.h - what vale.c (ports come and go) and vale_forward.c (packets) share.
 *
 * Thread safety: `ports`, `active` and the hdr_len of a port on the switch change under the
 * write lock; forwarding reads them under the read lock. The rest is under core->lock.
 */
#ifndef CORE_VALE_INTERNAL_H
#define CORE_VALE_INTERNAL_H

#include "mactable.h"
#include "vale.h"

struct nm_vale {
	struct nm_vale *next;
	struct nm_core *core;
	uint32_t index;
	uint32_t members; /* ports that exist, started or not */
	char name[NETMAP_REQ_IFNAMSIZ];

	struct os_rwlock lock;
	struct nm_mactable macs;
	struct nm_port *ports[NM_VALE_PORTS_MAX]; /* by port number; NULL: free */
	uint8_t active[NM_VALE_PORTS_MAX];        /* numbers of ports that take part */
	uint32_t num_active;
};

struct nm_vale_port {
	struct nm_vale *vale;
	uint8_t number;
	bool started;
};

enum {
	VALE_FRAGS = NM_VALE_BATCH + NETMAP_MAX_FRAGS, /* slots of a batch: a packet always fits */
	VALE_TO_ALL = 0xff,                            /* destination: broadcast, or unknown */
	VALE_END = 0xff,                               /* end of a chain of packets */
};

static_assert(NM_VALE_BATCH < (int)VALE_END, "packet numbers are 8 bits");
static_assert(NM_VALE_PORTS_MAX <= (int)VALE_TO_ALL, "port numbers are 8 bits");

struct vale_frag {
	const char *buf;
	uint32_t len;
};

struct vale_packet {
	uint64_t dst, src; /* addresses as in mactable.h */
	uint32_t len;      /* bytes, all fragments */
	uint16_t first;    /* fragment */
	uint8_t frags;
	uint8_t next; /* packet for the same destination */
	bool learn;
};

struct vale_chain {
	uint8_t first, last;
};

/* Packets of one batch, from the snapshot of the slots to the delivery. Private memory, one
 * per tx ring (ring->priv), so that a sync allocates nothing. */
struct vale_batch {
	struct vale_packet packets[NM_VALE_BATCH];
	struct vale_frag frags[VALE_FRAGS];
	uint32_t num_packets, num_frags;
	struct vale_chain chains[256];  /* by destination number; VALE_TO_ALL is the last */
	uint8_t touched[NM_VALE_BATCH]; /* destinations with a chain, VALE_TO_ALL not among them */
	uint32_t num_touched;
};

void nm_vale_batch_init(struct vale_batch *batch);
int nm_vale_txsync(struct nm_ring *ring);
int nm_vale_rxsync(struct nm_ring *ring);

#endif
