/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pipe_internal.h - what pipe.c (pipes come and go) and pipe_move.c (packets) share.
 *
 * Thread safety: as each field says.
 */
#ifndef CORE_PIPE_INTERNAL_H
#define CORE_PIPE_INTERNAL_H

#include "pipe.h"

/* One direction of a pair of rings. priv of both rings. Its lock is the produce.lock of rx. */
struct lane {
	struct nm_ring *tx, *rx;

	/* Of tx, as its thread released it, which alone changes it. */
	uint32_t head OS_GUARDED_BY(NM_PRODUCE_LOCK);
	/* Slots below are done: tx's hwcur. Its thread reads it and `lead` without the lock. */
	uint32_t moved OS_GUARDED_BY(NM_PRODUCE_LOCK);
	/* How far moved is ahead of rx's hwtail, modulo the slots of a ring: what was dropped went from tx,
	 * and never came to rx. Stored behind `moved`. */
	uint32_t lead OS_GUARDED_BY(NM_PRODUCE_LOCK);
	uint32_t paused; /* by so many; changed under core->lock, looked at under the other */
} __attribute__((aligned(NM_CACHE_LINE)));

/* A pipe; priv of both ends. */
struct pipe {
	struct nm_port *parent; /* held */
	struct nm_port *master;
	char id[NETMAP_REQ_IFNAMSIZ];
	uint32_t ends; /* that exist */
	uint32_t lanes;
	struct lane lane[];
};

enum moved { MOVED_NOTHING = 0, MOVED_TX = 1, MOVED_RX = 2 };

/* The tx slot behind those that are free: those whose packets the receiver has given back, and as many as were
 * dropped. The thread of tx, or nobody. */
uint32_t nm_pipe_free(const struct lane *lane);

/* Moves what can be moved. A set of enum moved: who has news. */
int nm_pipe_move(struct lane *lane) OS_REQUIRES(NM_PRODUCE_LOCK);

/* Operations of the kind. */
int nm_pipe_txsync(struct nm_ring *ring);
int nm_pipe_rxsync(struct nm_ring *ring);
bool nm_pipe_can_send(struct nm_ring *ring);
bool nm_pipe_wants_room(struct nm_ring *ring);

#endif
