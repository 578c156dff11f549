// SPDX-License-Identifier: BSD-2-Clause
/*
 * The region in the kernel's address space, write-back.
 *
 * The BAR is memory of the host, which maps it write-back as well. For a mapping of a device's memory the
 * kernel asks the memory-type registers (MTRR) first: where firmware has declared the place of the BAR
 * uncachable (SeaBIOS does so below 4 GiB, EDK2 with all BARs), memremap() maps uncached, and doesn't
 * say so; the page tables do. KVM takes the type of an access from the guest's page tables (AMD) or from
 * nowhere (Intel), but not from the guest's MTRRs: so the region is then mapped again, by page numbers, for
 * which the kernel asks no MTRR. A processor that obeys them all the same goes uncached, as before.
 *
 * Applications' mappings are write-back likewise: see insert_pages() in mmap.c.
 */
#include "compat.h"
#include "ptnet.h"

#include <asm/memtype.h>
#include <linux/io.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* With either flag set a mapping is not write-back. */
static bool is_uncached(const void *base)
{
	unsigned int level;
	const pte_t *entry = lookup_address((unsigned long)base, &level);

	return !entry || (pte_flags(*entry) & (_PAGE_PWT | _PAGE_PCD));
}

/* NULL: no memory, or a kernel that can't. */
static void *map_pages(phys_addr_t address, uint64_t size)
{
	const unsigned long count = PAGE_ALIGN(size) >> PAGE_SHIFT;
	unsigned long *pfns;
	void *base;

	if (pfn_valid(PHYS_PFN(address)))
		return NULL; /* it is no BAR that has memory's place */
	pfns = kvmalloc_array(count, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return NULL;
	for (unsigned long i = 0; i < count; i++)
		pfns[i] = PHYS_PFN(address) + i;
	base = vmap_pfn(pfns, count, PAGE_KERNEL);
	kvfree(pfns);
	return base;
}

/* A kernel without PAT doesn't look: then only the address tells what the registers say. */
static void map_against_mtrr(struct ptnet_mem *mem, phys_addr_t address)
{
	void *base;

	mem->mtrr_uncached = pat_enabled() ? is_uncached(mem->base) : address < SZ_4G;
	mem->uncached = is_uncached(mem->base);
	if (!mem->uncached)
		return;
	base = map_pages(address, mem->size);
	if (!base)
		return;
	memunmap(mem->base);
	mem->base = base;
	mem->vmapped = true;
	mem->uncached = false;
}

int ptnet_map_region(struct ptnet_mem *mem)
{
	const phys_addr_t address = pci_resource_start(mem->pdev, PTNETMAP_MEM_PCI_BAR);
	const char *remedy =
		address < SZ_4G ? "; a BAR of 4 GiB gets another place (qemu-ptnet --bar-min)" : "";

	mem->base = memremap(address, mem->size, MEMREMAP_WB);
	if (!mem->base) {
		pci_err(mem->pdev, "%llu bytes of memory region %u can't be mapped\n", mem->size,
			mem->id);
		return -ENOMEM;
	}
	map_against_mtrr(mem, address);
	if (mem->uncached)
		pci_warn(mem->pdev,
			"memory region %u is uncached, packets are slow: the MTRRs forbid caching at %pap%s\n",
			mem->id, &address, remedy);
	else if (mem->mtrr_uncached)
		pci_info(mem->pdev,
			"memory region %u is mapped write-back, as KVM allows, though the MTRRs forbid caching at %pap%s\n",
			mem->id, &address, remedy);
	return 0;
}

void ptnet_unmap_region(struct ptnet_mem *mem)
{
	if (mem->vmapped)
		vunmap(mem->base);
	else if (mem->base)
		memunmap(mem->base);
}
