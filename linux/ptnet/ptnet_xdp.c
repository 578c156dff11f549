// SPDX-License-Identifier: BSD-2-Clause
#include "ptnet_xdp.h"
#include "compat.h"
#include "kmod.h"
#include "ptnet_xdp_buff.h"
#include "skb_ring.h"

#include <linux/bpf.h>
#include <linux/bpf_trace.h>
#include <linux/etherdevice.h>
#include <linux/filter.h>
#include <linux/if_vlan.h>

enum { POOL_PAGES = 512 }; /* that wait to be used again: as many as a ring's packets take */

static bool takes_fragments(const struct bpf_prog *prog)
{
	return prog->aux->xdp_has_frags;
}

/* The longest packet that a program without fragments can be shown. */
static uint32_t one_slot_max(const struct ptnet *ptn)
{
	return min_t(uint32_t, PTNET_XDP_HEAD_BYTES, ptnet_slot_bytes(ptn));
}

uint32_t ptnet_xdp_mtu_max(const struct ptnet *ptn, const struct bpf_prog *prog)
{
	if (!prog || takes_fragments(prog))
		return ptn->netdev->max_mtu;
	return one_slot_max(ptn) - ETH_HLEN - VLAN_HLEN;
}

/* ---- sending -------------------------------------------------------------------------------- */

/* The ring that this CPU sends on, as many as there are now. */
static struct ptnet_queue *own_tx(struct net_device *netdev)
{
	uint32_t index = (uint32_t)smp_processor_id() % READ_ONCE(netdev->real_num_tx_queues);

	return ptnet_queue(ptnet_of(netdev), NM_TX, index);
}

/* Its queue, whose lock is taken. */
static struct netdev_queue *txq_of(const struct ptnet_queue *tx)
{
	return netdev_get_tx_queue(tx->ptn->netdev, tx->id);
}

/* The frame goes, or is dropped for what it is, and is not the sender's any more. False: there is no room. */
static bool send_frame(struct ptnet_queue *q, struct netdev_queue *txq, struct xdp_frame *frame)
{
	struct nm_frag pieces[PTNET_XDP_PIECES];
	uint32_t bytes = ptnet_xdp_frame_pieces(frame, pieces);
	enum nm_drop cause = ptnet_tx_frame(q, txq, pieces, bytes);

	if (cause == NM_DROP_RX_FULL)
		return false;
	if (unlikely(cause != NM_DROPS))
		ptnet_count_drop(q, cause);
	xdp_return_frame(frame);
	return true;
}

int ptnet_xdp_xmit(struct net_device *netdev, int count, struct xdp_frame **frames, uint32_t flags)
{
	struct netdev_queue *txq;
	struct ptnet_queue *q;
	bool ours;
	int sent = 0;

	if (flags & ~XDP_XMIT_FLAGS_MASK)
		return -EINVAL;
	if (!netif_carrier_ok(netdev))
		return -ENETDOWN;
	q = own_tx(netdev);
	txq = txq_of(q);
	__netif_tx_lock(txq, smp_processor_id());
	ours = READ_ONCE(q->ptn->state) == PTNET_STACK;
	while (ours && sent < count && send_frame(q, txq, frames[sent]))
		sent++;
	for (int i = sent; i < count; i++) /* these the caller frees */
		ptnet_count_drop(q, ours ? NM_DROP_RX_FULL : (uint32_t)PTNET_DROP_NETMAP);
	if (sent > 0 || (flags & XDP_XMIT_FLUSH))
		ptnet_tx_publish(q, txq);
	__netif_tx_unlock(txq);
	return sent;
}

/* NM_DROPS: a copy is on its way. */
static enum nm_drop send_back(struct ptnet_queue *q, struct xdp_buff *xdp)
{
	struct ptnet_queue *tx = q->xdp.tx ? q->xdp.tx : own_tx(q->ptn->netdev);
	struct netdev_queue *txq = txq_of(tx);
	struct nm_frag pieces[PTNET_XDP_PIECES];
	uint32_t bytes = ptnet_xdp_buff_pieces(xdp, pieces);
	enum nm_drop cause;

	__netif_tx_lock(txq, smp_processor_id());
	cause = ptnet_tx_frame(tx, txq, pieces, bytes);
	__netif_tx_unlock(txq);
	q->xdp.tx = tx;
	return cause;
}

void ptnet_xdp_flush(struct ptnet_queue *q)
{
	struct ptnet_queue *tx = q->xdp.tx;
	struct netdev_queue *txq;

	if (q->xdp.redirected)
		xdp_do_flush();
	if (tx) {
		txq = txq_of(tx);
		__netif_tx_lock(txq, smp_processor_id());
		ptnet_tx_publish(tx, txq);
		__netif_tx_unlock(txq);
	}
	q->xdp.redirected = false;
	q->xdp.tx = NULL;
}

/* ---- receiving ------------------------------------------------------------------------------ */

static bool pass(struct ptnet_queue *q, struct xdp_buff *xdp)
{
	struct sk_buff *skb = ptnet_xdp_buff_skb(xdp);

	if (unlikely(!skb))
		return false;
	skb_record_rx_queue(skb, q->id);
	skb->protocol = eth_type_trans(skb, q->napi.dev);
	napi_gro_receive(&q->napi, skb);
	return true;
}

static uint32_t act_tx(struct ptnet_queue *q, struct xdp_buff *xdp)
{
	enum nm_drop cause = send_back(q, xdp);

	if (unlikely(cause != NM_DROPS))
		return cause;
	ptnet_count_event(q, &q->stats.xdp_tx);
	return PTNET_XDP_DONE;
}

/* What the program wants. NM_DROPS: the pages have another owner. Else: it is dropped, and REFUSED is an error. */
static uint32_t act(struct ptnet_queue *q, struct xdp_buff *xdp, struct bpf_prog *prog)
{
	struct net_device *netdev = q->ptn->netdev;
	uint32_t action = bpf_prog_run_xdp(prog, xdp);

	switch (action) {
	case XDP_PASS:
		return pass(q, xdp) ? NM_DROPS : NM_DROP_NO_MEMORY;
	case XDP_TX:
		return act_tx(q, xdp);
	case XDP_REDIRECT:
		if (xdp_do_redirect(netdev, xdp, prog) != 0)
			return NM_DROP_REFUSED;
		ptnet_count_event(q, &q->stats.xdp_redirects);
		q->xdp.redirected = true;
		return NM_DROPS;
	case XDP_DROP:
		ptnet_count_event(q, &q->stats.xdp_drops);
		return PTNET_XDP_DONE;
	default:
		bpf_warn_invalid_xdp_action(netdev, prog, action);
		fallthrough;
	case XDP_ABORTED:
		trace_xdp_exception(netdev, prog, action);
		return NM_DROP_REFUSED;
	}
}

static enum nm_drop check(
	const struct ptnet_queue *q, const struct nm_pkt *pkt, const struct bpf_prog *prog)
{
	bool fragments = takes_fragments(prog);

	if (unlikely(pkt->cause != NM_DROPS))
		return pkt->cause;
	if (unlikely(pkt->slots > 1 && !fragments))
		return NM_DROP_FRAGMENTS;
	if (unlikely(pkt->bytes < ETH_HLEN))
		return NM_DROP_TOO_SHORT;
	if (unlikely(pkt->bytes > (fragments ? NMK_PACKET_MAX : one_slot_max(q->ptn))))
		return NM_DROP_TOO_LONG;
	return NM_DROPS;
}

void ptnet_xdp_receive(struct ptnet_queue *q, const struct nm_pkt *pkt, struct bpf_prog *prog)
{
	uint32_t cause = check(q, pkt, prog);
	struct xdp_buff xdp;

	if (likely(cause == NM_DROPS) && unlikely(!ptnet_xdp_buff_fill(&xdp, q, pkt)))
		cause = NM_DROP_NO_MEMORY;
	if (unlikely(cause != NM_DROPS)) {
		ptnet_count_drop(q, cause);
		return;
	}
	ptnet_count_packet(q, pkt->bytes); /* received by the program, whatever becomes of it */
	cause = act(q, &xdp, prog);
	if (cause == NM_DROPS)
		return;
	xdp_return_buff(&xdp);
	if (cause != PTNET_XDP_DONE)
		ptnet_count_drop(q, cause);
}

/* ---- a program comes and goes ------------------------------------------------------------------ */

static void free_pool(struct ptnet_queue *q)
{
	/* Each has a reference of its own: the pool goes with the second, when the last of its pages has come back. */
	if (xdp_rxq_info_is_reg(&q->xdp.rxq))
		xdp_rxq_info_unreg(&q->xdp.rxq);
	if (q->xdp.pool)
		page_pool_destroy(q->xdp.pool);
	q->xdp.pool = NULL;
}

static int make_pool(struct ptnet_queue *q)
{
	const struct page_pool_params params = {
		.pool_size = POOL_PAGES,
		.nid = NUMA_NO_NODE,
		.dev = &q->ptn->pdev->dev,
		.dma_dir = DMA_BIDIRECTIONAL,
	};
	struct page_pool *pool = page_pool_create(&params);
	int error;

	if (IS_ERR(pool))
		return (int)PTR_ERR(pool);
	error = __xdp_rxq_info_reg(&q->xdp.rxq, q->ptn->netdev, q->id, q->napi.napi_id, PAGE_SIZE);
	if (!error) {
		error = xdp_rxq_info_reg_mem_model(&q->xdp.rxq, MEM_TYPE_PAGE_POOL, pool);
		if (error)
			xdp_rxq_info_unreg(&q->xdp.rxq);
	}
	if (error)
		page_pool_destroy(pool);
	else
		q->xdp.pool = pool;
	return error;
}

static void free_pools(struct ptnet *ptn)
{
	for (uint32_t i = 0; i < ptn->num_rings[NM_RX]; i++)
		free_pool(ptnet_queue(ptn, NM_RX, i));
}

static int make_pools(struct ptnet *ptn)
{
	int error = 0;

	for (uint32_t i = 0; i < ptn->num_rings[NM_RX] && !error; i++)
		error = make_pool(ptnet_queue(ptn, NM_RX, i));
	if (error)
		free_pools(ptn);
	return error;
}

/* The rings begin anew with the header that the stack has now. -EOPNOTSUPP: the host has another one. */
static int restart(struct ptnet *ptn, struct bpf_prog *prog)
{
	int error = 0, refused;

	nm_core_lock(&netmap_core);
	mutex_lock(&ptn->lock);
	if (ptn->state == PTNET_STACK) {
		ptnet_stack_off(ptn);
		ptnet_service_stop(ptn);
	}
	WRITE_ONCE(ptn->xdp_prog, prog);
	if (ptn->state == PTNET_STACK) {
		refused = ptnet_service_hdr_len(ptn, ptnet_stack_hdr_len(ptn));
		ptnet_rings_repair(ptn);
		error = ptnet_service_start(ptn);
		ptnet_stack_on(ptn);
		error = error ? error : refused;
	}
	mutex_unlock(&ptn->lock);
	nm_core_unlock(&netmap_core);
	return error;
}

static int first_program(struct ptnet *ptn, struct bpf_prog *prog)
{
	int error = make_pools(ptn);

	if (error)
		return error;
	ptn->xdp = true;
	netdev_update_features(ptn->netdev);
	error = restart(ptn, prog);
	if (!error)
		return 0;
	restart(ptn, NULL);
	ptn->xdp = false;
	netdev_update_features(ptn->netdev);
	free_pools(ptn);
	return error;
}

static void no_program(struct ptnet *ptn)
{
	restart(ptn, NULL);
	ptn->xdp = false;
	netdev_update_features(ptn->netdev);
	free_pools(ptn);
}

int ptnet_xdp_setup(struct net_device *netdev, struct netdev_bpf *bpf)
{
	struct ptnet *ptn = ptnet_of(netdev);
	struct bpf_prog *prog = bpf->prog, *old = ptn->xdp_prog;
	int error = 0;

	if (bpf->command != XDP_SETUP_PROG)
		return -EINVAL;
	if (prog && netdev->mtu > ptnet_xdp_mtu_max(ptn, prog)) {
		NL_SET_ERR_MSG(bpf->extack,
			"the MTU is too large: a packet must fit one slot, unless the program takes fragments (xdp.frags)");
		return -EOPNOTSUPP;
	}
	/* Whatever state it is in: a program that is there is taken to be one that can run. */
	if (prog && ptn->always_hdr) {
		NL_SET_ERR_MSG(bpf->extack,
			"the host puts a virtio-net header in front of each packet: programs can't be shown these");
		return -EOPNOTSUPP;
	}
	if (prog && !old)
		error = first_program(ptn, prog);
	else if (!prog && old)
		no_program(ptn);
	else
		WRITE_ONCE(ptn->xdp_prog, prog);
	if (!error && old)
		bpf_prog_put(old);
	return error;
}

void ptnet_xdp_end(struct ptnet *ptn)
{
	if (ptn->queues)
		free_pools(ptn);
}
