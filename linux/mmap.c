// SPDX-License-Identifier: BSD-2-Clause
/*
 * BARs, views (open files that have a region), and three kinds of page faults: pages of this
 * kernel, pinned pages of an application, and BARs.
 *
 * A BAR that goes away: first `gone` under its lock, so that no fault inserts a page any more;
 * then unmap_mapping_range() over all views takes out those that are there. A fault later sees
 * `gone`: SIGBUS.
 */
#include "mmap.h"
#include "compat.h"
#include "extmem.h"
#include "kmod.h"
#include "params.h"

#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* Pages of a BAR that one fault brings in at most: those from the one that was touched on. */
#define FAULT_PAGES 16

struct nmk_bar {
	struct kref kref;
	struct list_head link;    /* under views_lock, as long as the device is there */
	struct nm_region *region; /* to compare with; not a reference */
	phys_addr_t address;
	struct mutex lock; /* a page is inserted, or `gone` is set, by one at a time */
	bool gone;
};

static DEFINE_MUTEX(views_lock);
static LIST_HEAD(views);
static LIST_HEAD(bars);

/* ---- BARs ---------------------------------------------------------------------------- */

static void bar_free(struct kref *kref)
{
	kfree(container_of(kref, struct nmk_bar, kref));
}

struct nmk_bar *nmk_bar_add(struct nm_region *region, phys_addr_t address)
{
	struct nmk_bar *bar = kzalloc(sizeof(*bar), GFP_KERNEL);

	if (!bar)
		return NULL;
	kref_init(&bar->kref);
	bar->region = region;
	bar->address = address;
	mutex_init(&bar->lock);
	mutex_lock(&views_lock);
	list_add(&bar->link, &bars);
	mutex_unlock(&views_lock);
	return bar;
}

void nmk_bar_gone(struct nmk_bar *bar)
{
	struct nmk_view *view;

	if (!bar)
		return;
	mutex_lock(&bar->lock);
	bar->gone = true; /* from here on no page comes in */
	mutex_unlock(&bar->lock);

	mutex_lock(&views_lock);
	list_del(&bar->link);
	/* All of the inode's mappings, of other regions as well: those fault in again. */
	list_for_each_entry (view, &views, link)
		if (view->bar == bar)
			unmap_mapping_range(view->file->f_mapping, 0, 0, 1);
	mutex_unlock(&views_lock);
	kref_put(&bar->kref, bar_free);
}

static struct nmk_bar *bar_find(const struct nm_region *region)
{
	struct nmk_bar *bar;

	list_for_each_entry (bar, &bars, link)
		if (bar->region == region)
			return bar;
	return NULL;
}

/* ---- views --------------------------------------------------------------------------- */

void nmk_view_set(struct nmk_view *view, struct file *file, struct nm_region *region)
{
	nm_core_lock(&netmap_core);
	nm_region_get(region);
	nm_core_unlock(&netmap_core);

	mutex_lock(&views_lock);
	view->file = file;
	view->bar = region->foreign ? bar_find(region) : NULL;
	if (view->bar)
		kref_get(&view->bar->kref);
	list_add(&view->link, &views);
	mutex_unlock(&views_lock);
	smp_store_release(&view->region, region); /* pairs with the load in nmk_view_mmap() */
}

void nmk_view_clear(struct nmk_view *view)
{
	if (!view->region)
		return;
	mutex_lock(&views_lock);
	list_del(&view->link);
	mutex_unlock(&views_lock);
	if (view->bar)
		kref_put(&view->bar->kref, bar_free);
	nm_core_lock(&netmap_core);
	nm_region_put(view->region);
	nm_core_unlock(&netmap_core);
	view->region = NULL;
}

/* ---- faults -------------------------------------------------------------------------- */

static vm_fault_t memory_fault(struct vm_fault *vmf)
{
	const struct nmk_view *view = vmf->vma->vm_private_data;
	uint64_t offset = (uint64_t)vmf->pgoff << PAGE_SHIFT;
	struct page *page;

	if (offset >= view->region->size)
		return VM_FAULT_SIGBUS;
	page = vmalloc_to_page(view->region->base + offset);
	if (!page)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct memory_ops = {
	.fault = memory_fault,
};

/* Pinned pages of an application are mapped by their number alone: they may be anonymous ones of
 * another process. The view holds the region, and that holds them. */
static vm_fault_t pinned_fault(struct vm_fault *vmf)
{
	const struct nmk_view *view = vmf->vma->vm_private_data;
	const struct nmk_pin *pin = &view->region->mem->pin;

	if (vmf->pgoff >= pin->count)
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(
		vmf->vma, vmf->address & PAGE_MASK, page_to_pfn(pin->pages[vmf->pgoff]));
}

static const struct vm_operations_struct pinned_ops = {
	.fault = pinned_fault,
};

struct insertion {
	struct vm_area_struct *vma;
	unsigned long first_pfn; /* of the mapping */
};

/* Another thread may have been faster. The lock of the page table is held. */
static int insert_page(pte_t *entry, unsigned long address, void *arg)
{
	const struct insertion *in = arg;
	unsigned long pfn = in->first_pfn + ((address - in->vma->vm_start) >> PAGE_SHIFT);

	if (pte_none(ptep_get(entry)))
		set_pte_at(in->vma->vm_mm, address, entry,
			pte_mkspecial(pfn_pte(pfn, in->vma->vm_page_prot)));
	return 0;
}

/* Inserts the page that was touched, and its neighbours within the mapping. Write-back, whatever the
 * MTRRs say (ptnet_map.c): vmf_insert_pfn() would ask those. Another thread may have inserted a huge page
 * there since this one was told to take a small one: that will do. None can while the BAR is locked. */
static vm_fault_t insert_pages(struct vm_fault *vmf, const struct nmk_bar *bar)
{
	struct vm_area_struct *vma = vmf->vma;
	struct insertion in = {vma, PHYS_PFN(bar->address) + vma->vm_pgoff};
	unsigned long address = vmf->address & PAGE_MASK;
	unsigned long last = min(address | (FAULT_PAGES * PAGE_SIZE - 1), vma->vm_end - 1);

	if (pmd_leaf(READ_ONCE(*vmf->pmd)))
		return VM_FAULT_NOPAGE;
	if (apply_to_page_range(vma->vm_mm, address, last + 1 - address, insert_page, &in))
		return VM_FAULT_OOM;
	return VM_FAULT_NOPAGE;
}

static vm_fault_t bar_fault_with(
	struct vm_fault *vmf, vm_fault_t (*insert)(struct vm_fault *vmf, const struct nmk_bar *bar))
{
	const struct nmk_view *view = vmf->vma->vm_private_data;
	vm_fault_t result = VM_FAULT_SIGBUS;

	mutex_lock(&view->bar->lock);
	if (!view->bar->gone)
		result = insert(vmf, view->bar);
	mutex_unlock(&view->bar->lock);
	return result;
}

static vm_fault_t bar_fault(struct vm_fault *vmf)
{
	return bar_fault_with(vmf, insert_pages);
}

/*
 * The huge page around the one that was touched, if all of it is in the mapping and none of it is there by
 * small pages. A fault for reading inserts it writable as well. Write-back, as above: vmf_insert_pfn_pmd() would
 * take the type that the MTRRs have allowed.
 */
static vm_fault_t insert_huge_page(struct vm_fault *vmf, const struct nmk_bar *bar)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long address = vmf->address & PMD_MASK;
	unsigned long pfn =
		PHYS_PFN(bar->address) + vma->vm_pgoff + ((address - vma->vm_start) >> PAGE_SHIFT);

	if (!nmk_huge_pages() || address < vma->vm_start || vma->vm_end - address < PMD_SIZE ||
		!IS_ALIGNED(pfn, PMD_SIZE >> PAGE_SHIFT))
		return VM_FAULT_FALLBACK;
	return nmk_insert_pmd(vmf, address, pfn);
}

static vm_fault_t bar_huge_fault(struct vm_fault *vmf, nmk_fault_size size)
{
	return size == NMK_FAULT_PMD ? bar_fault_with(vmf, insert_huge_page) : VM_FAULT_FALLBACK;
}

static const struct vm_operations_struct bar_ops = {
	.fault = bar_fault,
	.huge_fault = bar_huge_fault,
};

int nmk_view_mmap(struct nmk_view *view, struct vm_area_struct *vma)
{
	const struct nm_region *region = smp_load_acquire(&view->region);
	uint64_t pages, wanted = vma_pages(vma);

	if (!region || (region->foreign && !view->bar))
		return -ENXIO;
	pages = PAGE_ALIGN(region->size) >> PAGE_SHIFT;
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_pgoff > pages || wanted > pages - vma->vm_pgoff)
		return -EINVAL;
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = view;
	if (view->bar) {
		vm_flags_set(vma, VM_PFNMAP | VM_IO);
		vma->vm_ops = &bar_ops;
	} else if (region->mem->pin.count) {
		vm_flags_set(vma, VM_PFNMAP);
		vma->vm_ops = &pinned_ops;
	} else {
		vma->vm_ops = &memory_ops;
	}
	return 0;
}
