/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration space: what a driver finds, and what its writes can change. */
#include "vu_pci.h"
#include "testutil.h"

#include <string.h>
#include <linux/pci_regs.h>

static struct vu_pci pci;

static const struct vu_pci_id id = {.vendor = 0x1b36,
	.device = 0x000d,
	.subsys_vendor = 0x1b36,
	.subsys = 0x7074,
	.class_code = 0x0200,
	.revision = 3};

static int setup(void **state)
{
	vu_pci_init(&pci, &id);
	vu_pci_add_bar(&pci, 0, VU_BAR_IO, 256);
	vu_pci_add_bar(&pci, 1, VU_BAR_MEM, 4096);
	vu_pci_add_bar(&pci, 2, VU_BAR_MEM64_PREFETCH, 1ull << 33);
	vu_pci_add_msix(&pci, 1, 5, 0, 2048);
	return 0;
}

static uint32_t get(uint32_t offset, uint32_t bytes)
{
	uint8_t data[4] = {0};

	vu_pci_read(&pci, offset, data, bytes);
	return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

static void set(uint32_t offset, uint32_t value, uint32_t bytes)
{
	const uint8_t data[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
		(uint8_t)(value >> 24)};

	vu_pci_write(&pci, offset, data, bytes);
}

static void test_identity(void **state)
{
	assert_int_equal(get(PCI_VENDOR_ID, 4), 0x000d1b36);
	assert_int_equal(get(PCI_CLASS_REVISION, 4), 0x02000003);
	assert_int_equal(get(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x70741b36);
	assert_int_equal(get(PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(get(PCI_INTERRUPT_PIN, 1), 0); /* no legacy interrupt */
	set(PCI_VENDOR_ID, 0xffffffff, 4);
	set(PCI_CLASS_REVISION, 0, 4);
	set(PCI_SUBSYSTEM_VENDOR_ID, 0, 4);
	assert_int_equal(get(PCI_VENDOR_ID, 4), 0x000d1b36);
	assert_int_equal(get(PCI_CLASS_REVISION, 4), 0x02000003);
	assert_int_equal(get(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x70741b36);
}

/* Ones written, the size read back: as firmware does it. */
static void test_sizing(void **state)
{
	int bar;

	for (bar = 0; bar < VU_PCI_BARS; bar++)
		set(PCI_BASE_ADDRESS_0 + 4 * (uint32_t)bar, 0xffffffff, 4);
	assert_int_equal(get(PCI_BASE_ADDRESS_0, 4), 0xffffff01);
	assert_int_equal(get(PCI_BASE_ADDRESS_1, 4), 0xfffff000);
	assert_int_equal(get(PCI_BASE_ADDRESS_2, 4), 0x0000000c);
	assert_int_equal(get(PCI_BASE_ADDRESS_3, 4), 0xfffffffe);
	assert_int_equal(get(PCI_BASE_ADDRESS_4, 4), 0);
	assert_int_equal(get(PCI_BASE_ADDRESS_5, 4), 0);
}

static void test_addresses(void **state)
{
	set(PCI_BASE_ADDRESS_0, 0xc123, 4);
	assert_int_equal(get(PCI_BASE_ADDRESS_0, 4), 0xc101);
	set(PCI_BASE_ADDRESS_1 + 1, 0xab, 1); /* a byte: only bits 12 to 15 can change */
	assert_int_equal(get(PCI_BASE_ADDRESS_1, 4), 0xa000);
	set(PCI_BASE_ADDRESS_3, 0x17, 4);
	assert_int_equal(get(PCI_BASE_ADDRESS_3, 4), 0x16);
	vu_pci_reset(&pci);
	assert_int_equal(get(PCI_BASE_ADDRESS_0, 4), 1);
	assert_int_equal(get(PCI_BASE_ADDRESS_1, 4), 0);
	assert_int_equal(get(PCI_BASE_ADDRESS_2, 4), 0xc);
	assert_int_equal(get(PCI_BASE_ADDRESS_3, 4), 0);
}

static void test_command(void **state)
{
	const uint32_t on = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	assert_int_equal(get(PCI_COMMAND, 2), 0);
	set(PCI_COMMAND, on, 2);
	assert_int_equal(get(PCI_COMMAND, 2), on);
	set(PCI_COMMAND, 0xffff, 2);
	assert_int_equal(get(PCI_COMMAND, 2),
		on | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	set(PCI_STATUS, 0xffff, 2);
	assert_int_equal(get(PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	set(PCI_INTERRUPT_LINE, 11, 1);
	assert_int_equal(get(PCI_INTERRUPT_LINE, 1), 11);
}

static void test_msix(void **state)
{
	const uint32_t cap = get(PCI_CAPABILITY_LIST, 1);

	assert_true(cap >= 0x40 && cap % 4 == 0);
	assert_int_equal(get(cap, 1), PCI_CAP_ID_MSIX);
	assert_int_equal(get(cap + 1, 1), 0); /* the last one */
	assert_int_equal(get(cap + PCI_MSIX_FLAGS, 2), 4);
	assert_int_equal(get(cap + PCI_MSIX_TABLE, 4), 0 | 1);
	assert_int_equal(get(cap + PCI_MSIX_PBA, 4), 2048 | 1);
	set(cap + PCI_MSIX_FLAGS, 0xffff, 2);
	assert_int_equal(
		get(cap + PCI_MSIX_FLAGS, 2), PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL | 4);
	set(cap, 0, 4);
	set(cap + PCI_MSIX_TABLE, 0, 4);
	assert_int_equal(get(cap, 1), PCI_CAP_ID_MSIX);
	assert_int_equal(get(cap + PCI_MSIX_FLAGS, 2), 4);
	assert_int_equal(get(cap + PCI_MSIX_TABLE, 4), 1);
}

/* Any width at any place: bytes written one by one do the same as all at once. */
static void test_widths(void **state)
{
	uint8_t ones[VU_PCI_CONFIG_SIZE], all[VU_PCI_CONFIG_SIZE], one[VU_PCI_CONFIG_SIZE];
	uint32_t i;

	memset(ones, 0xff, sizeof(ones));
	vu_pci_write(&pci, 0, ones, sizeof(ones));
	vu_pci_read(&pci, 0, all, sizeof(all));
	vu_pci_reset(&pci);
	for (i = 0; i < VU_PCI_CONFIG_SIZE; i++)
		set(i, 0xff, 1);
	for (i = 0; i < VU_PCI_CONFIG_SIZE; i++)
		one[i] = (uint8_t)get(i, 1);
	assert_memory_equal(all, one, sizeof(all));
	vu_pci_read(&pci, VU_PCI_CONFIG_SIZE, one, 0); /* nothing, at the end */
	assert_memory_equal(all, one, sizeof(all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_identity, setup),
		cmocka_unit_test_setup(test_sizing, setup),
		cmocka_unit_test_setup(test_addresses, setup),
		cmocka_unit_test_setup(test_command, setup),
		cmocka_unit_test_setup(test_msix, setup),
		cmocka_unit_test_setup(test_widths, setup),
	};

	return cmocka_run_group_tests_name("vu_pci", tests, NULL, NULL);
}
