/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_bql.h - byte queue limits: how much of what the stack sends may lie in a ring.
 *
 * A packet is copied out of the stack at once. So a slow receiver would find the whole ring full, and a packet that
 * is sent now would have all that before it. The driver tells the stack how many bytes it has put into
 * slots, and how many of them the host has taken; the stack finds out how many keep the host busy, and keeps the
 * rest in its own queue, where it has an order (/sys/class/net/IF/queues/tx-N/byte_queue_limits).
 *
 *      bytes[]    at the last slot of each packet of the stack: its bytes. 0 at all other slots
 *
 *      |- free -|- taken, to be told -|- in the ring -|- free -|
 *               done                  hwtail + 1      next
 *
 * The limit is 64 KiB at least (limit_min, which the user may change): else it begins with 0, and falls to less than a
 * packet on a quiet port, so that the first packet that the host doesn't take for a while stops the queue.
 *
 * The host can lie about hwtail: each packet is told once all the same, and never before it was sent.
 *
 * Thread safety: the holder of the queue's lock. ptnet_bql_reset(): nobody sends or polls.
 */
#ifndef LINUX_PTNET_BQL_H
#define LINUX_PTNET_BQL_H

#include "ptnet.h"

/* 0 or -ENOMEM. The ring's size is known; the interface exists and is not registered yet. Both: any ring, also one
 * without. */
int ptnet_bql_alloc(struct ptnet_queue *q);
void ptnet_bql_free(struct ptnet_queue *q);

/* The ring begins at q->next, and what is in it is not the stack's. The queue isn't stopped for its limit any more. */
void ptnet_bql_reset(struct ptnet_queue *q);

/* A packet of so many bytes ends at the slot before q->next. The queue may be stopped for its limit then. */
void ptnet_bql_sent(struct ptnet_queue *q, struct netdev_queue *txq, uint32_t bytes);
/* What the host had taken when hwtail was loaded last. The queue may go on then. */
void ptnet_bql_taken(struct ptnet_queue *q, struct netdev_queue *txq);

#endif
