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
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/version.h>
#include <linux/vmalloc.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#include <net/page_pool/helpers.h>
#else
#include <net/page_pool.h>
#endif

/* What XDP can do on a device: older kernels don't ask. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#include <net/xdp.h>
static inline void nmk_set_xdp_features(struct net_device *netdev)
{
	netdev->xdp_features =
		NETDEV_XDP_ACT_BASIC | NETDEV_XDP_ACT_REDIRECT | NETDEV_XDP_ACT_NDO_XMIT;
}
#else
static inline void nmk_set_xdp_features(struct net_device *netdev)
{
}
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#include <net/gso.h> /* before, <linux/netdevice.h> had it */
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define eventfd_signal(ctx) ((void)(eventfd_signal)(ctx, 1))
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
