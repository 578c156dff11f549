// SPDX-License-Identifier: BSD-2-Clause
/* Whether the host serves the rings, and whether the stack has them here. */
#include "ptnet_bql.h"
#include "ptnet_coalesce.h"

#include <net/netmap_virt.h>

/* ---- CREATE and DELETE --------------------------------------------------------------- */

/* Its result is 0 or a positive errno; anything else is a device that is no more. */
int ptnet_command(struct ptnet *ptn, uint32_t cmd)
{
	uint32_t result;

	lockdep_assert_held(&ptn->lock);
	iowrite32(cmd, ptn->io + PTNET_IO_PTCTL);
	result = ioread32(ptn->io + PTNET_IO_PTCTL);
	return result <= MAX_ERRNO ? -(int)result : -EIO;
}

/* Packets that came while nobody listened. */
static void drop_stale(struct ptnet_queue *q)
{
	struct nm_csb_appl *csb = &q->csb;
	uint32_t stale = nm_ring_distance(csb->head, csb->hwtail, q->num_slots);

	if (nm_csb_appl_publish(csb, csb->hwtail, csb->hwtail))
		ptnet_kick(q);
	u64_stats_update_begin(&q->stats.sync);
	u64_stats_add(&q->stats.drops[PTNET_DROP_DOWN], stale);
	u64_stats_update_end(&q->stats.sync);
}

/* The host has written the state of each ring into both arrays. */
static int take_over(struct ptnet_queue *q)
{
	if (nm_csb_appl_init(&q->csb, q->csb.atok, q->csb.ktoa, q->num_slots) != 0) {
		pci_err(q->ptn->pdev, "%s ring %u: the host's indices are out of range\n",
			q->dir == NM_TX ? "tx" : "rx", q->id);
		return -EIO;
	}
	if (q->dir == NM_RX)
		drop_stale(q);
	return 0;
}

static int start_service(struct ptnet *ptn)
{
	int error;

	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		OS_STORE(&ptn->atok[i].appl_need_kick, ptn->queues[i].dir == NM_RX);
		OS_STORE(&ptn->ktoa[i].kern_need_kick, 1);
	}
	iowrite32(ptn->hdr_len, ptn->io + PTNET_IO_VNET_HDR_LEN);
	error = ptnet_command(ptn, PTNETMAP_PTCTL_CREATE);
	if (error) {
		pci_err(ptn->pdev, "the host does not start the port: error %d\n", -error);
		return error;
	}
	for (uint32_t i = 0; i < ptnet_num_queues(ptn) && !error; i++)
		error = take_over(&ptn->queues[i]);
	if (error)
		ptnet_command(ptn, PTNETMAP_PTCTL_DELETE);
	return error;
}

int ptnet_service_start(struct ptnet *ptn)
{
	lockdep_assert_held(&ptn->lock);
	if (ptn->gone)
		return -ENODEV;
	return ptn->away ? 0 : start_service(ptn);
}

void ptnet_service_stop(struct ptnet *ptn)
{
	lockdep_assert_held(&ptn->lock);
	if (ptn->gone || ptn->away)
		return;
	ptnet_command(ptn, PTNETMAP_PTCTL_DELETE);
	ptnet_write_features(
		ptn, false); /* what the stack has sent is on its way as it was meant */
}

int ptnet_service_hdr_len(struct ptnet *ptn, uint32_t bytes)
{
	lockdep_assert_held(&ptn->lock);
	if (ptn->away)
		ptn->hdr_len = bytes;
	else if (!ptn->gone && ptn->hdr_len != bytes)
		ptnet_negotiate_hdr_len(ptn, bytes);
	return ptn->hdr_len == bytes ? 0 : -EOPNOTSUPP;
}

void ptnet_service_end(struct ptnet *ptn)
{
	lockdep_assert_held(&ptn->lock);
	if (ptn->state != PTNET_IDLE)
		ptnet_service_stop(ptn);
	ptn->gone = true;
}

/* ---- the stack ----------------------------------------------------------------------- */

void ptnet_stack_on(struct ptnet *ptn)
{
	lockdep_assert_held(&ptn->lock);
	if (ptn->away)
		return;
	ptnet_write_features(ptn, true);
	ptnet_rss_on(ptn); /* or packets come as without */
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		struct ptnet_queue *q = &ptn->queues[i];

		q->next = q->csb.head;
		q->dropping = 0;
		ptnet_bql_reset(q);
		if (q->dir == NM_TX)
			nm_csb_appl_awake(&q->csb); /* until a queue stops */
		napi_enable(&q->napi);
	}
	/* What is there already would cause no interrupt. */
	local_bh_disable();
	for (uint32_t i = 0; i < ptn->num_rings[NM_RX]; i++)
		napi_schedule(&ptnet_queue(ptn, NM_RX, i)->napi);
	local_bh_enable();
	netif_tx_wake_all_queues(ptn->netdev);
}

void ptnet_stack_off(struct ptnet *ptn)
{
	lockdep_assert_held(&ptn->lock);
	if (ptn->away)
		return;
	ptnet_rss_off(ptn);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		ptnet_pause_disable(&ptn->queues[i]);
	/* No transmit is under way any more. Behind the polls: these wake queues. */
	netif_tx_disable(ptn->netdev);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		struct ptnet_queue *q = &ptn->queues[i];

		if (nm_csb_appl_publish(&q->csb, q->next, q->next))
			ptnet_kick(q);
		ptnet_bql_reset(q);
	}
}
