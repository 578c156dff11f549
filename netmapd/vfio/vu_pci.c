/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The space is an array of bytes beside one of the bits that can be written. BARs need nothing
 * more: the bits of an address that can be written are those above its size, so ones written to it
 * read back as the size.
 */
#include "vu_pci.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <linux/pci_regs.h>

enum {
	CAPS_START = 0x40,
	COMMAND_WRITABLE = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			   PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE,
};

static void set16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
}

static void set32(uint8_t *at, uint32_t value)
{
	set16(at, (uint16_t)value);
	set16(at + 2, (uint16_t)(value >> 16));
}

void vu_pci_init(struct vu_pci *pci, const struct vu_pci_id *id)
{
	uint8_t *initial = pci->initial;

	memset(pci, 0, sizeof(*pci));
	set16(initial + PCI_VENDOR_ID, id->vendor);
	set16(initial + PCI_DEVICE_ID, id->device);
	set16(initial + PCI_SUBSYSTEM_VENDOR_ID, id->subsys_vendor);
	set16(initial + PCI_SUBSYSTEM_ID, id->subsys);
	set16(initial + PCI_CLASS_DEVICE, id->class_code);
	initial[PCI_REVISION_ID] = id->revision;
	initial[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_NORMAL;

	set16(pci->writable + PCI_COMMAND, COMMAND_WRITABLE);
	pci->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	pci->writable[PCI_LATENCY_TIMER] = 0xff;
	pci->writable[PCI_INTERRUPT_LINE] = 0xff;
	pci->next_cap = CAPS_START;
	pci->last_cap = PCI_CAPABILITY_LIST;
	vu_pci_reset(pci);
}

void vu_pci_add_bar(struct vu_pci *pci, unsigned int bar, enum vu_bar_kind kind, uint64_t size)
{
	const bool wide = kind == VU_BAR_MEM64_PREFETCH;
	const uint64_t min = kind == VU_BAR_IO ? 4 : 16;
	uint8_t *initial = pci->initial + PCI_BASE_ADDRESS_0 + (size_t)4 * bar;
	uint8_t *writable = pci->writable + PCI_BASE_ADDRESS_0 + (size_t)4 * bar;
	uint32_t type = 0;

	assert(bar + wide < VU_PCI_BARS && !pci->bar_size[bar]);
	assert(size >= min && (size & (size - 1)) == 0 && (wide || size <= 1u << 31));
	if (kind == VU_BAR_IO)
		type = PCI_BASE_ADDRESS_SPACE_IO;
	else if (wide)
		type = PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH;
	set32(initial, type);
	set32(writable, (uint32_t) ~(size - 1));
	if (wide)
		set32(writable + 4, (uint32_t)(~(size - 1) >> 32));
	pci->bar_size[bar] = size;
	vu_pci_reset(pci);
}

void vu_pci_add_msix(struct vu_pci *pci, unsigned int bar, unsigned int vectors,
	uint32_t table_offset, uint32_t pba_offset)
{
	const uint8_t at = pci->next_cap;
	uint8_t *cap = pci->initial + at;

	assert(vectors >= 1 && vectors <= VU_MSIX_VECTORS_MAX);
	assert(bar < VU_PCI_BARS && table_offset % 8 == 0 && pba_offset % 8 == 0);
	assert(table_offset + (uint64_t)vectors * VU_MSIX_ENTRY_SIZE <= pci->bar_size[bar]);
	assert(pba_offset + (uint64_t)(vectors + 63) / 64 * 8 <= pci->bar_size[bar]);

	cap[PCI_CAP_LIST_ID] = PCI_CAP_ID_MSIX;
	set16(cap + PCI_MSIX_FLAGS, (uint16_t)(vectors - 1));
	set32(cap + PCI_MSIX_TABLE, table_offset | bar);
	set32(cap + PCI_MSIX_PBA, pba_offset | bar);
	set16(pci->writable + at + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);

	pci->initial[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	pci->initial[pci->last_cap] = at;
	pci->last_cap = at + PCI_CAP_LIST_NEXT;
	pci->next_cap = at + PCI_CAP_MSIX_SIZEOF;
	vu_pci_reset(pci);
}

void vu_pci_region(const struct vu_pci *pci, uint32_t index, struct vu_region *region)
{
	uint64_t size = 0;

	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		size = VU_PCI_CONFIG_SIZE;
	else if (index < VU_PCI_BARS)
		size = pci->bar_size[index];
	if (size)
		*region = (struct vu_region){.size = size,
			.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
			.fd = -1};
}

void vu_pci_reset(struct vu_pci *pci)
{
	memcpy(pci->config, pci->initial, sizeof(pci->config));
}

void vu_pci_read(const struct vu_pci *pci, uint32_t offset, void *data, uint32_t bytes)
{
	assert(offset <= VU_PCI_CONFIG_SIZE && bytes <= VU_PCI_CONFIG_SIZE - offset);
	memcpy(data, pci->config + offset, bytes);
}

void vu_pci_write(struct vu_pci *pci, uint32_t offset, const void *data, uint32_t bytes)
{
	const uint8_t *in = data;
	uint32_t i;

	assert(offset <= VU_PCI_CONFIG_SIZE && bytes <= VU_PCI_CONFIG_SIZE - offset);
	for (i = 0; i < bytes; i++) {
		const uint8_t can = pci->writable[offset + i];
		uint8_t *config = &pci->config[offset + i];

		*config = (uint8_t)((*config & ~can) | (in[i] & can));
	}
}
