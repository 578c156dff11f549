// SPDX-License-Identifier: BSD-2-Clause
#include "ptnet_xdp_buff.h"
#include "compat.h"
#include "skb_ring.h"

enum { FRAG_BYTES = PAGE_SIZE - PTNET_XDP_TAILROOM };

static_assert(DIV_ROUND_UP(NMK_PACKET_MAX - PTNET_XDP_HEAD_BYTES, FRAG_BYTES) <= MAX_SKB_FRAGS);

/* ---- out of slots --------------------------------------------------------------------------- */

/* The next bytes of a packet become its next fragment. */
static bool add_fragment(
	struct xdp_buff *xdp, struct page_pool *pool, struct nm_cursor *from, uint32_t bytes)
{
	struct page *page = page_pool_dev_alloc_pages(pool);

	if (unlikely(!page))
		return false;
	nm_cursor_copy(from, page_address(page), bytes);
	nmk_xdp_add_fragment(xdp, page, bytes);
	return true;
}

bool ptnet_xdp_buff_fill(struct xdp_buff *xdp, struct ptnet_queue *q, const struct nm_pkt *pkt)
{
	uint32_t bytes = min_t(uint32_t, pkt->bytes, PTNET_XDP_HEAD_BYTES);
	uint32_t rest = pkt->bytes - bytes;
	struct nm_cursor from = {pkt->frags, 0};
	struct page *page = page_pool_dev_alloc_pages(q->xdp.pool);

	if (unlikely(!page))
		return false;
	xdp_init_buff(xdp, PAGE_SIZE, &q->xdp.rxq);
	xdp_prepare_buff(xdp, page_address(page), XDP_PACKET_HEADROOM, (int)bytes, true);
	nm_cursor_copy(&from, xdp->data, bytes);
	for (; rest > 0; rest -= bytes) {
		bytes = min_t(uint32_t, rest, FRAG_BYTES);
		if (unlikely(!add_fragment(xdp, q->xdp.pool, &from, bytes))) {
			xdp_return_buff(xdp);
			return false;
		}
	}
	return true;
}

/* ---- to the stack --------------------------------------------------------------------------- */

struct sk_buff *ptnet_xdp_buff_skb(struct xdp_buff *xdp)
{
	struct skb_shared_info *info = xdp_get_shared_info_from_buff(xdp);
	/* Read now: the skb begins with none, and leaves what they are. */
	int frags = xdp_buff_has_frags(xdp) ? info->nr_frags : 0;
	struct sk_buff *skb = napi_build_skb(xdp->data_hard_start, PAGE_SIZE);
	uint32_t meta = (uint32_t)(xdp->data - xdp->data_meta);

	if (unlikely(!skb))
		return NULL;
	skb_reserve(skb, (int)(xdp->data - xdp->data_hard_start));
	skb_put(skb, (uint32_t)(xdp->data_end - xdp->data));
	for (int i = 0; i < frags; i++) {
		const skb_frag_t *frag = &info->frags[i];

		skb_add_rx_frag(skb, i, skb_frag_page(frag), (int)skb_frag_off(frag),
			(int)skb_frag_size(frag), PAGE_SIZE);
	}
	info->destructor_arg = NULL; /* where their size was, on newer kernels */
	if (meta > 0)
		skb_metadata_set(skb, (uint8_t)meta);
	skb_mark_for_recycle(skb);
	return skb;
}

/* ---- to a tx ring --------------------------------------------------------------------------- */

/* The bytes of all fragments, if there are some, behind those of the head. */
static uint32_t list_pieces(struct nm_frag *pieces, const char *head, uint32_t bytes,
	const struct skb_shared_info *info)
{
	pieces[0] = (struct nm_frag){.buf = head, .len = bytes};
	for (int i = 0; info && i < info->nr_frags; i++) {
		const skb_frag_t *frag = &info->frags[i];

		pieces[i + 1] =
			(struct nm_frag){.buf = skb_frag_address(frag), .len = skb_frag_size(frag)};
		bytes += skb_frag_size(frag);
	}
	return bytes;
}

uint32_t ptnet_xdp_buff_pieces(struct xdp_buff *xdp, struct nm_frag *pieces)
{
	return list_pieces(pieces, xdp->data, (uint32_t)(xdp->data_end - xdp->data),
		xdp_buff_has_frags(xdp) ? xdp_get_shared_info_from_buff(xdp) : NULL);
}

uint32_t ptnet_xdp_frame_pieces(struct xdp_frame *frame, struct nm_frag *pieces)
{
	return list_pieces(pieces, frame->data, frame->len,
		xdp_frame_has_frags(frame) ? xdp_get_shared_info_from_frame(frame) : NULL);
}
