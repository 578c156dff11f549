/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * compat.h - older kernels made to look like the newest one.
 *
 * The module is written for the interfaces of the newest kernel it is built for; what an
 * older one names or does differently, or another configuration leaves out, is put right here, and only
 * here. Oldest: 6.1.
 *
 * Thread safety: as the functions that are stood in for.
 */
#ifndef LINUX_COMPAT_H
#define LINUX_COMPAT_H

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/version.h>
#include <linux/virtio_net.h>
#include <linux/vmalloc.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#include <net/page_pool/helpers.h>
#else
#include <net/page_pool.h>
#endif

/* Up to 6.6 a pool whose pages are shared out has to say so. */
#ifndef PP_FLAG_PAGE_FRAG
#define PP_FLAG_PAGE_FRAG 0
#endif

/* What XDP can do on a device, with programs there or only with what programs elsewhere send: older kernels don't ask. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#include <net/xdp.h>
static inline void nmk_set_xdp_features(struct net_device *netdev, bool programs)
{
	netdev->xdp_features = NETDEV_XDP_ACT_NDO_XMIT | NETDEV_XDP_ACT_NDO_XMIT_SG;
	if (programs)
		netdev->xdp_features |=
			NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_RX_SG;
}
#else
static inline void nmk_set_xdp_features(struct net_device *netdev, bool programs)
{
}
#endif

/* The first bytes of a page become the next fragment of a packet, which has fewer than MAX_SKB_FRAGS. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
static inline void nmk_xdp_add_fragment(struct xdp_buff *xdp, struct page *page, uint32_t bytes)
{
	xdp_buff_add_frag(xdp, page_to_netmem(page), 0, bytes, PAGE_SIZE);
}
#else
#include <net/xdp.h>
static inline void nmk_xdp_add_fragment(struct xdp_buff *xdp, struct page *page, uint32_t bytes)
{
	struct skb_shared_info *info = xdp_get_shared_info_from_buff(xdp);

	if (!xdp_buff_has_frags(xdp)) {
		xdp_buff_set_frags_flag(xdp);
		info->nr_frags = 0;
		info->xdp_frags_size = 0;
	}
	__skb_fill_page_desc_noacc(info, info->nr_frags++, page, 0, (int)bytes);
	info->xdp_frags_size += bytes;
	if (page_is_pfmemalloc(page))
		xdp_buff_set_frag_pfmemalloc(xdp);
}
#endif

/* Counters of queues, and which NAPI and interrupt a queue has: shown from 6.11 on. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#include <net/netdev_queues.h>
static inline void nmk_set_stat_ops(struct net_device *netdev, const struct netdev_stat_ops *ops)
{
	netdev->stat_ops = ops;
}
static inline void nmk_link_queue(
	struct net_device *netdev, bool tx, uint32_t index, struct napi_struct *napi, int irq)
{
	netif_queue_set_napi(netdev, index, tx ? NETDEV_QUEUE_TYPE_TX : NETDEV_QUEUE_TYPE_RX, napi);
	netif_napi_set_irq(napi, irq);
}
#else
struct netdev_queue_stats_rx {
	u64 bytes, packets, alloc_fail, hw_drops;
};
struct netdev_queue_stats_tx {
	u64 bytes, packets, hw_drops, stop, wake, hw_gso_packets, hw_gso_bytes;
};
struct netdev_stat_ops {
	void (*get_queue_stats_rx)(
		struct net_device *netdev, int index, struct netdev_queue_stats_rx *stats);
	void (*get_queue_stats_tx)(
		struct net_device *netdev, int index, struct netdev_queue_stats_tx *stats);
	void (*get_base_stats)(struct net_device *netdev, struct netdev_queue_stats_rx *rx,
		struct netdev_queue_stats_tx *tx);
};
static inline void nmk_set_stat_ops(struct net_device *netdev, const struct netdev_stat_ops *ops)
{
}
static inline void nmk_link_queue(
	struct net_device *netdev, bool tx, uint32_t index, struct napi_struct *napi, int irq)
{
}
#endif

/* Byte queue limits: the least limit of a queue, in bytes, before the interface is registered; and the limit right behind
 * netdev_tx_reset_queue(), which leaves 0 or what was there, by version. */
#ifdef CONFIG_BQL
static inline void nmk_bql_set_least(struct netdev_queue *txq, unsigned int bytes)
{
	txq->dql.min_limit = bytes;
}
static inline void nmk_bql_start(struct netdev_queue *txq)
{
	struct dql *dql = &txq->dql;

	dql->limit = min(max(dql->limit, dql->min_limit), dql->max_limit);
	dql->adj_limit = dql->limit;
}
#else
static inline void nmk_bql_set_least(struct netdev_queue *txq, unsigned int bytes)
{
}
static inline void nmk_bql_start(struct netdev_queue *txq)
{
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void hrtimer_setup(struct hrtimer *timer,
	enum hrtimer_restart (*function)(struct hrtimer *), clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

/* Operations of the receive hash, by name: what they are asked has been one structure since 6.8. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define NMK_RXFH_OPS(get, set)
#define NMK_RXFH_OP(op) op
#else
struct ethtool_rxfh_param {
	u8 hfunc;
	u32 *indir;
	u8 *key;
};
#define NMK_RXFH_OPS(get, set)                                                              \
	static int nmk_old_##get(struct net_device *netdev, u32 *indir, u8 *key, u8 *hfunc) \
	{                                                                                   \
		struct ethtool_rxfh_param rxfh = {.indir = indir, .key = key};              \
		int error = get(netdev, &rxfh);                                             \
                                                                                            \
		if (hfunc)                                                                  \
			*hfunc = rxfh.hfunc;                                                \
		return error;                                                               \
	}                                                                                   \
	static int nmk_old_##set(                                                           \
		struct net_device *netdev, const u32 *indir, const u8 *key, const u8 hfunc) \
	{                                                                                   \
		struct ethtool_rxfh_param rxfh = {hfunc, (u32 *)indir, (u8 *)key};          \
                                                                                            \
		return set(netdev, &rxfh, NULL);                                            \
	}
#define NMK_RXFH_OP(op) nmk_old_##op
#endif

/* How many rings packets come to, and what of them is hashed: had been questions about flow rules, which newer kernels don't ask for
 * that. (6.17 and 6.18 ask for the fields in the new way only: they don't show them.) */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define NMK_RXNFC(ring_count, fields)                                                             \
	static int nmk_new_##fields(struct net_device *netdev, struct ethtool_rxfh_fields *asked) \
	{                                                                                         \
		return fields(netdev, asked->flow_type, &asked->data);                            \
	}
#define NMK_RXNFC_OPS(ring_count, fields) \
	.get_rx_ring_count = ring_count, .get_rxfh_fields = nmk_new_##fields
#else
#define NMK_RXNFC(ring_count, fields)                                               \
	static int nmk_old_##ring_count(                                            \
		struct net_device *netdev, struct ethtool_rxnfc *rxnfc, u32 *rules) \
	{                                                                           \
		u32 data = ring_count(netdev);                                      \
		int error = 0;                                                      \
                                                                                    \
		if (rxnfc->cmd == ETHTOOL_GRXFH)                                    \
			error = fields(netdev, rxnfc->flow_type, &data);            \
		else if (rxnfc->cmd != ETHTOOL_GRXRINGS)                            \
			error = -EOPNOTSUPP;                                        \
		if (!error)                                                         \
			rxnfc->data = data;                                         \
		return error;                                                       \
	}
#define NMK_RXNFC_OPS(ring_count, fields) .get_rxnfc = nmk_old_##ring_count
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#include <net/gso.h> /* before, <linux/netdevice.h> had it */
#endif

/* Before 6.2 the kernel's functions for virtio-net headers don't know USO. */
#ifdef VIRTIO_NET_HDR_GSO_UDP_L4
#define NMK_VNET_USO true
#else
#define NMK_VNET_USO false
#endif

/*
 * TCP packets whose length no IP header can say: over IPv4 and IPv6 from 6.3 on. The stack says it of those over IPv6 in a jumbo
 * option; from 7.0 on in none, as over IPv4.
 */
#define NMK_BIG_TCP      (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0))
#define NMK_JUMBO_OPTION (NMK_BIG_TCP && LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0))

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define eventfd_signal(ctx) ((void)(eventfd_signal)(ctx, 1))
#endif

/* Faults that a huge page answers: the size that is asked for. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define nmk_fault_size enum page_entry_size
#define NMK_FAULT_PMD  PE_SIZE_PMD
#else
#define nmk_fault_size unsigned int
#define NMK_FAULT_PMD  PMD_ORDER
#endif

/* mbind() with MPOL_MF_STRICT looks at the huge entries of any mapping, and takes "special" ones for memory with a struct
 * page: the kernel reads beyond the array of those. So it is in Debian's 6.12.117, and no more in 7.3. */
#if defined(CONFIG_NUMA) && LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)
#define NMK_HUGE_PAGES_SAFE false
#else
#define NMK_HUGE_PAGES_SAFE true
#endif

/*
 * Inserts the huge page of a device, writable if the mapping is. Another thread may have been faster.
 *
 * Before 6.12 a huge entry can't say that there is no struct page behind it ("special"): get_user_pages_fast()
 * would take one from where none is. So on those kernels there are small pages only.
 */
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
static inline vm_fault_t nmk_insert_pmd(
	struct vm_fault *vmf, unsigned long address, unsigned long pfn)
{
	struct vm_area_struct *vma = vmf->vma;
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	pmd_t entry = pmd_mkspecial(pmd_mkhuge(pfn_pmd(pfn, vma->vm_page_prot)));
	spinlock_t *lock = pmd_lock(vma->vm_mm, vmf->pmd);
	vm_fault_t result = VM_FAULT_NOPAGE;

	if (pmd_none(*vmf->pmd))
		set_pmd_at(vma->vm_mm, address, vmf->pmd, entry);
	else if (!pmd_leaf(*vmf->pmd) || (write && !pmd_write(*vmf->pmd)))
		result = VM_FAULT_FALLBACK;
	spin_unlock(lock);
	return result;
}
#else
static inline vm_fault_t nmk_insert_pmd(
	struct vm_fault *vmf, unsigned long address, unsigned long pfn)
{
	return VM_FAULT_FALLBACK;
}
#endif

/* Of any version: drivers select it, no user can. It is declared all the same. */
#ifndef CONFIG_VMAP_PFN
static inline void *nmk_no_vmap_pfn(unsigned long *pfns, unsigned int count, pgprot_t prot)
{
	return NULL;
}
#define vmap_pfn nmk_no_vmap_pfn
#endif

#endif
