// SPDX-License-Identifier: BSD-2-Clause
/*
 * Processors are counted from the device's own on: number k has ring k modulo the number of rings in use to send on
 * (XPS); the interrupts of ring i go to number i, so that each pair of rings is served by one processor.
 */
#include "ptnet.h"

#include <linux/cpumask.h>
#include <linux/interrupt.h>
#include <linux/netdevice.h>

static unsigned int nth_cpu(const struct ptnet *ptn, uint32_t n)
{
	return cpumask_local_spread(n, dev_to_node(&ptn->pdev->dev));
}

void ptnet_spread_interrupts(struct ptnet *ptn)
{
	const uint32_t cpus = num_online_cpus();

	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		const struct ptnet_queue *q = &ptn->queues[i];

		if (ptn->num_rings[q->dir] > 1) /* else any will do, and the system may choose */
			irq_set_affinity_and_hint(q->irq, cpumask_of(nth_cpu(ptn, q->id % cpus)));
	}
}

void ptnet_spread_senders(struct ptnet *ptn, uint32_t rings)
{
	const uint32_t cpus = num_online_cpus();
	cpumask_var_t mask;

	if (!zalloc_cpumask_var(&mask, GFP_KERNEL))
		return; /* the stack chooses by packets' hashes */
	for (uint32_t i = 0; rings > 1 && i < rings; i++) {
		cpumask_clear(mask);
		for (uint32_t k = i % cpus; k < cpus; k += rings)
			cpumask_set_cpu(nth_cpu(ptn, k), mask);
		netif_set_xps_queue(ptn->netdev, mask, (u16)i);
	}
	free_cpumask_var(mask);
}
