// SPDX-License-Identifier: BSD-2-Clause
#include "ptnet_bql.h"
#include "compat.h"

#include <linux/sizes.h>
#include <linux/slab.h>

/* Bytes: the longest packet of a stack that has not been told to send longer ones (BIG TCP). */
#define LEAST_LIMIT SZ_64K

int ptnet_bql_alloc(struct ptnet_queue *q)
{
	if (q->dir != NM_TX)
		return 0;
	nmk_bql_set_least(netdev_get_tx_queue(q->ptn->netdev, q->id), LEAST_LIMIT);
	q->bql.bytes = kvcalloc(q->num_slots, sizeof(*q->bql.bytes), GFP_KERNEL);
	return q->bql.bytes ? 0 : -ENOMEM;
}

void ptnet_bql_free(struct ptnet_queue *q)
{
	kvfree(q->bql.bytes);
	q->bql.bytes = NULL;
}

void ptnet_bql_reset(struct ptnet_queue *q)
{
	struct netdev_queue *txq;

	if (q->dir != NM_TX)
		return;
	txq = netdev_get_tx_queue(q->ptn->netdev, q->id);
	memset(q->bql.bytes, 0, q->num_slots * sizeof(*q->bql.bytes));
	q->bql.done = q->next;
	netdev_tx_reset_queue(txq);
	nmk_bql_start(txq);
}

void ptnet_bql_sent(struct ptnet_queue *q, struct netdev_queue *txq, uint32_t bytes)
{
	q->bql.bytes[nm_ring_advance(q->next, q->num_slots - 1, q->num_slots)] += bytes;
	netdev_tx_sent_queue(txq, bytes);
}

void ptnet_bql_taken(struct ptnet_queue *q, struct netdev_queue *txq)
{
	uint32_t taken = nm_ring_advance(q->csb.hwtail, 1, q->num_slots);
	uint32_t in_ring = nm_ring_distance(q->bql.done, q->next, q->num_slots);
	uint32_t packets = 0, bytes = 0;

	if (nm_ring_distance(q->bql.done, taken, q->num_slots) > in_ring)
		return;
	while (q->bql.done != taken) {
		uint32_t *at = &q->bql.bytes[q->bql.done];

		packets += *at != 0;
		bytes += *at;
		*at = 0;
		q->bql.done = nm_ring_advance(q->bql.done, 1, q->num_slots);
	}
	if (packets > 0)
		netdev_tx_completed_queue(txq, packets, bytes);
}
