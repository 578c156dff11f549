/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vu_pci.h - configuration space of a PCI function.
 *
 * 256 bytes: ids, class, BARs, and an MSI-X capability. QEMU keeps its own copy of
 * what a guest may see (BAR addresses, MSI-X state) and still forwards each access,
 * so all of it works here as well: writes change only what hardware would let them
 * change, and a BAR answers the writing of ones with its size.
 *
 *      vu_pci_init(&pci, &id);
 *      vu_pci_add_bar(&pci, 0, VU_BAR_IO, 256);
 *      vu_pci_add_bar(&pci, 2, VU_BAR_MEM, 4096);
 *      vu_pci_add_msix(&pci, 2, vectors, 0, 2048);
 *
 * Thread safety: one thread makes all calls for one function.
 */
#ifndef NETMAPD_VU_PCI_H
#define NETMAPD_VU_PCI_H

#include <stdint.h>

#include "vu_conn.h"

enum {
	VU_PCI_CONFIG_SIZE = 256, /* bytes */
	VU_PCI_BARS = 6,
	VU_MSIX_ENTRY_SIZE = 16,    /* bytes of a table entry */
	VU_MSIX_VECTORS_MAX = 2048, /* what the capability can say */
};

struct vu_pci_id {
	uint16_t vendor, device;
	uint16_t subsys_vendor, subsys;
	uint16_t class_code; /* base class in bits 15..8, subclass in 7..0 */
	uint8_t revision;
};

enum vu_bar_kind {
	VU_BAR_IO,             /* I/O space */
	VU_BAR_MEM,            /* 32-bit memory */
	VU_BAR_MEM64_PREFETCH, /* 64-bit prefetchable memory: takes this BAR and the next */
};

struct vu_pci {
	uint64_t bar_size[VU_PCI_BARS]; /* bytes; 0: none */
	uint8_t next_cap;               /* where the next capability goes */
	uint8_t last_cap;               /* byte that will point to it */
	uint8_t config[VU_PCI_CONFIG_SIZE];
	uint8_t initial[VU_PCI_CONFIG_SIZE];  /* after a reset */
	uint8_t writable[VU_PCI_CONFIG_SIZE]; /* bits a write may change */
};

void vu_pci_init(struct vu_pci *pci, const struct vu_pci_id *id);

/* `size` bytes: a power of two, at least 16 (I/O: 4). Wrong arguments are bugs: asserted. */
void vu_pci_add_bar(struct vu_pci *pci, unsigned int bar, enum vu_bar_kind kind, uint64_t size);

/* The table and the pending bits lie in `bar`, at offsets that are multiples of 8. */
void vu_pci_add_msix(struct vu_pci *pci, unsigned int bar, unsigned int vectors,
	uint32_t table_offset, uint32_t pba_offset);

/* The configuration space and the BARs as regions that can be read and written; others are left alone. */
void vu_pci_region(const struct vu_pci *pci, uint32_t index, struct vu_region *region);

void vu_pci_reset(struct vu_pci *pci);

/* [offset, offset + bytes) must lie in the configuration space; any width, any alignment. */
void vu_pci_read(const struct vu_pci *pci, uint32_t offset, void *data, uint32_t bytes);
void vu_pci_write(struct vu_pci *pci, uint32_t offset, const void *data, uint32_t bytes);

#endif
