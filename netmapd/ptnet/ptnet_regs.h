/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_regs.h - what the two ptnet functions have in common.
 *
 * Both have a BAR of 32-bit registers whose reading has no side effects, and both
 * announce the two interrupt indexes by which a device can tell the hypervisor
 * of an error or ask to be unplugged. Ours never do, but QEMU asks for them.
 *
 * Thread safety: no state.
 */
#ifndef NETMAPD_PTNET_REGS_H
#define NETMAPD_PTNET_REGS_H

#include <stdint.h>

#include <net/netmap_virt.h>

#include "vu_conn.h"
#include "vu_pci.h"

enum { PTNET_NAME_MAX = 96 }; /* bytes of a name in the log, with its final 0 */

/* The identity that both functions have, but for device id and class. */
static inline void ptnet_init_pci(struct vu_pci *pci, uint16_t device, uint16_t class_code)
{
	const struct vu_pci_id id = {
		.vendor = PTNETMAP_PCI_VENDOR_ID,
		.device = device,
		.subsys_vendor = PTNETMAP_PCI_SUBSYS_VENDOR_ID,
		.subsys = PTNETMAP_PCI_SUBSYS_ID,
		.class_code = class_code,
	};

	vu_pci_init(pci, &id);
}

/* Value of the register at `offset`, a multiple of 4. */
typedef uint32_t ptnet_regs_fn(const void *dev, uint32_t offset);

/* Reads of any width and alignment: each byte is that of the register it lies in, little-endian. */
static inline void ptnet_regs_read(
	const void *dev, ptnet_regs_fn *fn, uint32_t offset, void *data, uint32_t bytes)
{
	uint8_t *out = data;
	uint32_t i;

	for (i = 0; i < bytes; i++) {
		const uint32_t at = offset + i;

		out[i] = (uint8_t)(fn(dev, at & ~3u) >> (at % 4 * 8));
	}
}

static inline uint32_t ptnet_regs_value(const void *data)
{
	const uint8_t *in = data;

	return in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

/* Describes the ERR and REQ indexes; leaves others alone. */
static inline void ptnet_notice_irq(uint32_t index, struct vu_irq *irq)
{
	if (index != VFIO_PCI_ERR_IRQ_INDEX && index != VFIO_PCI_REQ_IRQ_INDEX)
		return;
	irq->count = 1;
	irq->flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
}

#endif
