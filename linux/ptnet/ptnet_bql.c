// SPDX-License-Identifier: BSD-2-Clause
#include "ptnet_bql.h"

#include <linux/slab.h>

int ptnet_bql_alloc(struct ptnet_queue *q)
{
	if (q->dir != NM_TX)
		return 0;
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
	if (q->dir != NM_TX)
		return;
	memset(q->bql.bytes, 0, q->num_slots * sizeof(*q->bql.bytes));
	q->bql.done = q->next;
	netdev_tx_reset_queue(netdev_get_tx_queue(q->ptn->netdev, q->id));
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
