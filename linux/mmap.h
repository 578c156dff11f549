/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmap.h - regions in the memory of applications.
 *
 * A region is mapped page by page, when a page is first touched; a BAR by pages of 2 MiB where mapping
 * and BAR are aligned alike (chardev.c asks for that), from Linux 6.12 on (compat.h says why not before),
 * and by pages of 4 KiB where they aren't, and at the mapping's ends. Its memory is pages of this kernel,
 * pages of an application (extmem.h), or the BAR of a device. A BAR can go away under those who map
 * it: nmk_bar_gone() takes its pages out of all mappings, and whoever touches them
 * afterwards gets SIGBUS.
 *
 *      nmk_bar_add()                the region lies in a BAR     (a memory function is probed)
 *      nmk_view_set()               an open file has a region    (REGISTER)
 *      nmk_view_mmap()              mmap() of the file
 *      nmk_bar_gone()               the device is gone
 *      nmk_view_clear()             the file is released; no mapping of it is left then,
 *                                   for each holds a reference to the file
 *
 * Thread safety: any thread may call any of these, but nmk_view_set() and _clear() of
 * one view, which the file serialises. nmk_view_mmap() takes no lock: it is called with
 * the mmap lock held.
 */
#ifndef LINUX_MMAP_H
#define LINUX_MMAP_H

#include "region.h"

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm_types.h>

struct nmk_bar;

/* The region of an open file. All 0: none yet. */
struct nmk_view {
	struct list_head link; /* all views with a region; under views_lock */
	struct file *file;
	struct nmk_bar *bar;      /* a reference; NULL: pages of this kernel */
	struct nm_region *region; /* a reference; stored last, with release, and once */
};

/* Says that `region` is the BAR at this address. NULL: no memory. */
struct nmk_bar *nmk_bar_add(struct nm_region *region, phys_addr_t address);
/* Unmaps it everywhere, for good, and drops the caller's reference. May sleep; NULL is allowed. */
void nmk_bar_gone(struct nmk_bar *bar);

/* Lets `file` map `region`, which the caller holds a reference to for the time of the call. */
void nmk_view_set(struct nmk_view *view, struct file *file, struct nm_region *region);
void nmk_view_clear(struct nmk_view *view);

/* -ENXIO: no region yet. -EINVAL: beyond the region's end, or a private mapping. */
int nmk_view_mmap(struct nmk_view *view, struct vm_area_struct *vma);

#endif
