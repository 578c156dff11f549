/* SPDX-License-Identifier: BSD-2-Clause */
/* The ptnet memory function behind a real connection. */
#include "ptnet_mem.h"
#include "testutil.h"
#include "vfio_client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/pci_regs.h>
#include <net/netmap_virt.h>

enum { PAGE = 4096, RAM_SIZE = 1 << 20 };
enum { RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE };
/* The region is no power of two, its file is; BAR1 is longer. */
enum { REGION_BYTES = 12288, FILE_BYTES = 16384, BAR_BYTES = 65536 };

static struct loop *loop;
static struct ptnet_mem *mem;
static struct vfc *client;
static int region_fd;
static char *region;
static int fds_before;

static void pump(void *arg)
{
	while (loop_run_once(loop, 0) > 0)
		;
}

/* `client` is of this device now. */
static void connect_to(struct ptnet_mem *device)
{
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	assert_int_equal(vu_server_adopt(ptnet_mem_server(device), ends[0]), 0);
	assert_int_equal(vfc_from_fd(ends[1], &client), 0);
	vfc_set_idle(client, pump, NULL);
	assert_int_equal(vfc_negotiate(client), 0);
}

static uint32_t asked; /* times that the guest's part was asked for */

static void some_part(void *arg, struct nm_run part[NM_POOLS])
{
	assert_ptr_equal(arg, &asked);
	asked++;
	part[NM_POOL_IF] = (struct nm_run){1, 1};
	part[NM_POOL_RING] = (struct nm_run){3, 0};
	part[NM_POOL_BUF] = (struct nm_run){2, 2};
}

static int setup(void **state)
{
	struct ptnet_mem_info info = {.size = REGION_BYTES, .bar_min = BAR_BYTES, .id = 77};

	fds_before = count_fds(0);
	assert_int_equal(loop_new(&loop), 0);
	region_fd = make_memfd(FILE_BYTES, RAM_SEALS);
	region = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, region_fd, 0);
	assert_true(region != MAP_FAILED);
	info.fd = region_fd;
	info.base = region;
	info.pools = (struct nmreq_pools_info){.nr_memsize = REGION_BYTES,
		.nr_if_pool_offset = 0,
		.nr_if_pool_objtotal = 2,
		.nr_if_pool_objsize = 1024,
		.nr_ring_pool_offset = 2048,
		.nr_ring_pool_objtotal = 3,
		.nr_ring_pool_objsize = 512,
		.nr_buf_pool_offset = 4096,
		.nr_buf_pool_objtotal = 4,
		.nr_buf_pool_objsize = 2048};
	info.guest_part = some_part;
	info.arg = &asked;
	asked = 0;
	assert_int_equal(ptnet_mem_new(loop, NULL, "mem", &info, &mem), 0);
	connect_to(mem);
	return 0;
}

static int teardown(void **state)
{
	vfc_close(client);
	ptnet_mem_free(mem);
	loop_free(loop);
	munmap(region, FILE_BYTES);
	close(region_fd);
	assert_int_equal(count_fds(0), fds_before);
	return 0;
}

static uint32_t get(uint32_t bar, uint32_t offset)
{
	uint32_t value;

	assert_int_equal(vfc_read32(client, bar, offset, &value), 0);
	return value;
}

static void test_identity(void **state)
{
	struct vu_irq_info_msg irq;

	assert_int_equal(get(7, PCI_VENDOR_ID), 0x000c1b36);
	assert_int_equal(get(7, PCI_CLASS_REVISION) >> 16, PTNETMAP_PCI_DEVICE_CLASS);
	assert_int_equal(get(7, PCI_SUBSYSTEM_VENDOR_ID), 0x70741b36);
	assert_int_equal(get(7, PCI_BASE_ADDRESS_0), PCI_BASE_ADDRESS_SPACE_IO);
	assert_int_equal(get(7, PCI_BASE_ADDRESS_1),
		PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	assert_int_equal(vfc_irq_info(client, VFIO_PCI_MSIX_IRQ_INDEX, &irq), 0);
	assert_int_equal(irq.count, 0);
}

static void test_registers(void **state)
{
	static const uint32_t want[PTNETMAP_MDEV_IO_BAR_SIZE / 4] = {[0] = REGION_BYTES,
		[2] = 77,
		[16] = 0,
		2,
		1024,
		2048,
		3,
		512,
		4096,
		4,
		2048,
		/* the guest's part: first, number */ 1,
		1,
		3,
		0,
		2,
		2,
		/* nothing else moves buffers there */ 1};
	uint32_t i;

	for (i = 0; i < PTNETMAP_MDEV_IO_BAR_SIZE / 4; i++) {
		assert_int_equal(get(0, 4 * i), want[i]);
		assert_int_equal(vfc_write32(client, 0, 4 * i, 0xffffffff), 0);
		assert_int_equal(get(0, 4 * i), want[i]);
	}
}

/* Nobody is asked before the guest wants to know; and where there is nobody to ask, there is no part. */
static void test_guest_part(void **state)
{
	struct ptnet_mem_info info = {
		.fd = region_fd, .base = region, .size = FILE_BYTES, .bar_min = PAGE, .id = 1};
	struct ptnet_mem *other = NULL;
	struct vfc *first = client;

	for (uint32_t reg = 0; reg < PTNET_MDEV_IO_END; reg += 4)
		(void)get(0, reg);
	assert_int_equal(vfc_reset(client), 0);
	assert_int_equal(asked, 0);
	assert_int_equal(get(0, PTNET_MDEV_IO_GUEST_BUF_NUM), 2);
	assert_int_not_equal(asked, 0);
	assert_int_equal(ptnet_mem_new(loop, NULL, "x", &info, &other), 0);
	connect_to(other);
	for (uint32_t reg = PTNET_MDEV_IO_END; reg < PTNETMAP_MDEV_IO_BAR_SIZE; reg += 4)
		assert_int_equal(get(0, reg), 0);
	vfc_close(client);
	ptnet_mem_free(other);
	client = first;
}

static void test_bar_mapped(void **state)
{
	struct vu_region_info_msg info;
	char data[20], *bar;
	uint64_t bytes;
	int fd;

	assert_int_equal(vfc_region_area(client, 1, &info, &bytes, &fd), 0);
	assert_int_equal(info.size, BAR_BYTES);
	assert_int_equal(bytes, FILE_BYTES);
	bar = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)info.offset);
	assert_true(bar != MAP_FAILED);
	strcpy(bar + 5000, "through the mapping");
	assert_string_equal(region + 5000, "through the mapping");
	assert_int_equal(vfc_read(client, 1, 5000, data, 20), 0);
	assert_string_equal(data, "through the mapping");
	munmap(bar, bytes);
	close(fd);
}

/* Without a mapping; behind the region there is nothing. */
static void test_bar_trapped(void **state)
{
	char data[8];

	assert_int_equal(vfc_write(client, 1, 6001, "trapped", 8), 0);
	assert_string_equal(region + 6001, "trapped");
	memset(region + REGION_BYTES - 4, 'x', 8);
	assert_int_equal(vfc_write(client, 1, REGION_BYTES - 2, "abcd", 4), 0);
	assert_int_equal(vfc_read(client, 1, REGION_BYTES - 4, data, 8), 0);
	assert_memory_equal(data, "xxab\0\0\0\0", 8);
	assert_memory_equal(region + REGION_BYTES, "xxxx", 4);
	for (uint64_t at = FILE_BYTES - 4; at <= BAR_BYTES - 8; at += PAGE) {
		assert_int_equal(vfc_write(client, 1, at, "abcdabcd", 8), 0);
		assert_int_equal(vfc_read(client, 1, at, data, 8), 0);
		assert_memory_equal(data, "\0\0\0\0\0\0\0\0", 8);
	}
	assert_int_equal(vfc_read(client, 1, BAR_BYTES - 7, data, 8), -EINVAL);
	assert_int_equal(vfc_read(client, 1, 1ull << 40, data, 8), -EINVAL);
}

/* It needs no DMA, but keeps the books; it keeps no file. */
static void test_dma(void **state)
{
	int ram_fd = make_memfd(RAM_SIZE, RAM_SEALS);
	int fds = count_fds(0);

	assert_int_equal(vfc_dma_map(client, 0, RAM_SIZE, RW, ram_fd, 0), 0);
	assert_int_equal(vfc_dma_map(client, PAGE, PAGE, RW, ram_fd, PAGE), -EEXIST);
	assert_int_equal(vfc_dma_map(client, RAM_SIZE, PAGE, RW, ram_fd, PAGE), 0);
	assert_int_equal(count_fds(0), fds);
	assert_int_equal(vfc_dma_unmap(client, 0, PAGE), -ENOENT);
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	assert_int_equal(vfc_reset(client), 0);
	assert_int_equal(vfc_dma_unmap(client, RAM_SIZE, PAGE), 0);
	assert_int_equal(vfc_dma_unmap_all(client), 0);
	close(ram_fd);
}

static void test_limits(void **state)
{
	static const uint64_t no_bars[] = {0, 1, PAGE / 2, PAGE + 1, 3 * PAGE, UINT64_MAX};
	struct ptnet_mem_info info = {.fd = region_fd, .bar_min = PAGE, .base = region, .id = 1};
	struct ptnet_mem *other = NULL;

	info.size = FILE_BYTES + 1; /* the file would have to be twice as long */
	assert_int_equal(ptnet_mem_new(loop, NULL, "x", &info, &other), -EINVAL);
	info.size = 0;
	assert_int_equal(ptnet_mem_new(loop, NULL, "x", &info, &other), -ERANGE);
	info.size = UINT64_MAX;
	assert_int_equal(ptnet_mem_new(loop, NULL, "x", &info, &other), -ERANGE);
	info.size = FILE_BYTES;
	info.pools.nr_buf_pool_offset = 1ull << 32;
	assert_int_equal(ptnet_mem_new(loop, NULL, "x", &info, &other), -ERANGE);
	info.pools.nr_buf_pool_offset = 0;
	for (size_t i = 0; i < sizeof(no_bars) / sizeof(no_bars[0]); i++) {
		info.bar_min = no_bars[i];
		assert_int_equal(ptnet_mem_new(loop, NULL, "x", &info, &other), -ERANGE);
	}
}

/* BAR1 is as long as the file when that is longer than the least; then all of it can be mapped. */
static void test_bar_sizes(void **state)
{
	static const uint64_t least[] = {PAGE, FILE_BYTES, 2 * FILE_BYTES, 1ull << 32, 1ull << 62};
	struct ptnet_mem_info info = {
		.fd = region_fd, .size = REGION_BYTES, .base = region, .id = 1};
	struct vfc *first = client;

	for (size_t i = 0; i < sizeof(least) / sizeof(least[0]); i++) {
		const uint64_t size = least[i] > FILE_BYTES ? least[i] : FILE_BYTES;
		struct vu_region_info_msg bar;
		uint64_t bytes, ones = UINT64_MAX, mask;
		struct ptnet_mem *other = NULL;
		int fd;

		info.bar_min = least[i];
		assert_int_equal(ptnet_mem_new(loop, NULL, "x", &info, &other), 0);
		connect_to(other);
		assert_int_equal(vfc_region_area(client, 1, &bar, &bytes, &fd), 0);
		assert_int_equal(bar.size, size);
		assert_int_equal(bytes, FILE_BYTES);
		close(fd);
		assert_int_equal(vfc_write(client, 7, PCI_BASE_ADDRESS_1, &ones, 8), 0);
		assert_int_equal(vfc_read(client, 7, PCI_BASE_ADDRESS_1, &mask, 8), 0);
		assert_int_equal(mask & ~0xfull, ~(size - 1));
		vfc_close(client);
		ptnet_mem_free(other);
	}
	client = first;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_identity),
		TEST(test_registers),
		TEST(test_guest_part),
		TEST(test_bar_mapped),
		TEST(test_bar_trapped),
		TEST(test_dma),
		TEST(test_limits),
		TEST(test_bar_sizes),
	};

	return cmocka_run_group_tests_name("ptnet_mem", tests, NULL, NULL);
}
