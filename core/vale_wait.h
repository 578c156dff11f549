/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vale_wait.h - packets that wait for a receiver that is full, in their sender's ring.
 *
 * A switch drops what a full receiver can't take, and a netmap application likes it so: nobody waits
 * for anybody. A network stack likes it less, since TCP takes each loss for congestion. So between two
 * ports of stacks (nm_port_full_wait()) a packet for one receiver (not a broadcast) that is full waits. Its slots stay the engine's meanwhile: hwcur passes
 * over them, and the tail stays before the oldest of them. So packets to others overtake it, until the
 * sender's ring is full of what waits:
 *
 *      |<- sent, not free again ->|<- the application's ->|
 *      W1   sent   W2   sent   sent
 *      tail + 1                   hwcur
 *
 * Order is kept for each receiver: as long as one packet waits for it, those behind wait, too. For one that has several rings, by a
 * hash (rss.h), order is kept for each ring: those behind are tried once more at once.
 *
 * The bound: a packet that has waited for full_wait_us of its sender is dropped, as NM_DROP_RX_FULL, and
 * counted as `expired` besides. From then on the receiver counts as stuck: what it has no room for is dropped at once
 * until it has given back a slot. So a receiver that has gone away costs a sender one such time, not one
 * per packet; nor one per ring, when it has several: those of its rings that have not given back a slot in that time are stuck, too,
 * also those that had nothing to give back.
 *
 * Turns: when several senders wait for a ring they are let in one after the other, each for a quarter of
 * the ring at most. Who does not come in TURN_US loses its turn.
 *
 * Who makes room: the receiver's rxsync finds out that it is waited for (`wanted`), and wakes the senders.
 *
 *      sender                              receiver
 *        wanted = slots                      hwcur = head
 *        full barrier (E)                    full barrier (F)
 *        look at hwcur once more             look at wanted: signal the senders
 *
 * Slots of packets that wait are as hostile as any: each try loads and checks them anew. Where a packet
 * goes was decided when it came: to that port, as long as it is the same one.
 *
 * Thread safety: struct vale_queue belongs to the thread that syncs the tx ring, but for `room`; struct
 * vale_room to the holder of the rx ring's produce.lock, but for `wanted` and `given_at`.
 */
#ifndef CORE_VALE_WAIT_H
#define CORE_VALE_WAIT_H

#include "os.h"
#include "slots.h"
#include "vale.h"

struct vale_tx;
struct nm_vale;

enum { NM_VALE_WAITING_MAX = 256 }; /* packets per tx ring; when so many wait no others are taken */

/* A set of port numbers. */
struct vale_set {
	uint64_t word[4];
};

/* One packet that waits. */
struct vale_waiting {
	uint32_t since;       /* microseconds */
	uint32_t incarnation; /* of the port */
	uint16_t at, slots;   /* in the sender's ring; slots 0: no more */
	uint8_t to;           /* number of the port */
};

/* Of a tx ring: in the order of their slots. */
struct vale_queue {
	uint32_t count;
	uint32_t since;       /* of the oldest packet */
	bool again;           /* the last try left some for which there may be room */
	bool room;            /* stored by receivers: there is room */
	struct vale_set for_; /* numbers of the ports */
	struct vale_waiting waiting[NM_VALE_WAITING_MAX];
};

/* Of an rx ring. */
struct vale_room {
	uint32_t wanted; /* slots that a sender waits for; 0: none does */
	bool stuck;
	uint32_t stuck_at; /* hwcur */
	uint32_t given_at; /* slots, by the receiver; microseconds, of a port of several rings */
	uint32_t cycle;    /* when `turn` was filled, microseconds */
	/* Senders that may come in now, and those that were refused since; by port number. */
	struct vale_set turn, refused;
};

/* All who wait on the switch look, whatever for they wait. Takes the switch's read lock. */
void nm_vale_wake_senders(struct nm_vale *sw);

/* ---- the sender ------------------------------------------------------------------------- */

/* Packets `first` and its followers in a chain of the batch wait for port `to`. Read lock of the switch. */
void nm_vale_park(struct vale_tx *tx, uint8_t to, uint8_t first) OS_REQUIRES_SHARED(VALE_LOCK);

/* Tries all that wait; what has waited too long is dropped. Read lock of the switch. */
void nm_vale_retry(struct vale_tx *tx) OS_REQUIRES_SHARED(VALE_LOCK);

/* Is there a place for each packet of another batch? */
static inline bool nm_vale_queue_takes(const struct vale_queue *q)
{
	return q->count <= NM_VALE_WAITING_MAX - NM_VALE_BATCH;
}

/* The tail of the sender's ring while packets wait. */
uint32_t nm_vale_queue_tail(const struct vale_tx *tx);

/* Do packets for this port wait? */
bool nm_vale_queue_has(const struct vale_queue *q, uint8_t to);

/* Nothing waits any more: for a ring that begins anew, or whose packets get another header. Nobody syncs it. */
void nm_vale_queue_clear(struct nm_ring *ring);

/* Operation can_send of the kind. */
bool nm_vale_can_send(struct nm_ring *ring);

/* ---- the receiver ------------------------------------------------------------------------ */

/* Is it this sender's turn? */
bool nm_vale_turn(struct vale_room *room, const struct vale_tx *tx, const struct nm_rxq *q)
	OS_REQUIRES(NM_PRODUCE_LOCK);

/* The sender has been there: something of it has moved, and there is more that was refused. */
void nm_vale_turn_end(struct vale_room *room, const struct vale_tx *tx, bool moved, bool refused)
	OS_REQUIRES(NM_PRODUCE_LOCK);

/* A packet of so many bytes finds the ring full. True: there is room after all. */
bool nm_vale_want(struct vale_room *room, struct nm_rxq *q, uint32_t bytes)
	OS_REQUIRES(NM_PRODUCE_LOCK);

/* Operations of the kind: rxsync, wants_room. */
int nm_vale_rxsync(struct nm_ring *ring);
bool nm_vale_wants_room(struct nm_ring *ring);

#endif
