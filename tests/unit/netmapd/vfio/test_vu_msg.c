/* SPDX-License-Identifier: BSD-2-Clause */
/* Every command, over a connection: what reaches the device, what is refused, and how. */
#include "fake_device.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

/*
 * Negotiation
 */

static void test_version(void **state)
{
	struct vfc_reply reply;
	const char caps[] = "\0\0\0\0{\"capabilities\":{\"write_multiple\":true}}";

	assert_int_equal(vfc_call(client, VU_VERSION, caps, sizeof(caps), NULL, 0, &reply), 0);
	assert_non_null(strstr((char *)reply.payload + 4, "\"max_msg_fds\":16"));
	assert_non_null(strstr((char *)reply.payload + 4, "\"max_data_xfer_size\":4096"));
	assert_non_null(strstr((char *)reply.payload + 4, "\"write_multiple\":true"));
	expect_alive();
	/* Once is enough. */
	assert_int_equal(vfc_negotiate(client), -EINVAL);
	expect_alive();
}

static void test_version_plain(void **state)
{
	struct vfc_reply reply;
	const uint8_t bare[4] = {0, 0, 3, 0};

	/* No capabilities at all, and a newer minor version. */
	assert_int_equal(vfc_call(client, VU_VERSION, bare, sizeof(bare), NULL, 0, &reply), 0);
	assert_null(strstr((char *)reply.payload + 4, "write_multiple"));
	assert_int_equal(reply.payload[2], 0);
	expect_alive();
}

static void test_version_malformed(void **state)
{
	static const char *const bad[] = {"", "{", "[]", "17", "{} x", "{\"capabilities\":[]}",
		"{\"capabilities\":1}", "{\"capabilities\":{\"max_msg_fds\":\"1\"}}",
		"{\"capabilities\":{\"max_msg_fds\":-1}}",
		"{\"capabilities\":{\"write_multiple\":1}}",
		"{\"capabilities\":{},\"capabilities\":{}}", "{\"a\":\xff}"};
	const char open_end[] = {0, 0, 0, 0, '{', '}'};
	const char inner[] = "\0\0\0\0{}\0 ";
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vfc_negotiate_with(client, 0, 0, bad[i]), -EINVAL);
	assert_int_equal(
		vfc_call(client, VU_VERSION, open_end, sizeof(open_end), NULL, 0, NULL), -EINVAL);
	assert_int_equal(
		vfc_call(client, VU_VERSION, inner, sizeof(inner), NULL, 0, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, VU_VERSION, inner, 3, NULL, 0, NULL), -EINVAL);
	assert_int_equal(vfc_negotiate_with(client, 0, 0, "{\"capabilities\":{}}"), 0);
	expect_alive();
}

static void test_version_unknown(void **state)
{
	assert_int_equal(vfc_negotiate_with(client, 1, 0, "{}"), -EPROTONOSUPPORT);
	expect_dead(-EPROTO);
}

static void test_before_version(void **state)
{
	struct vu_device_info info;
	uint32_t value;

	assert_int_equal(vfc_device_info(client, &info), -EINVAL);
	assert_int_equal(vfc_read32(client, 0, 0, &value), -EINVAL);
	assert_int_equal(vfc_reset(client), -EINVAL);
	assert_int_equal(vfc_dma_map(client, 0, 4096, 3, -1, 0), -EINVAL);
	assert_int_equal(calls(), 0);
	assert_int_equal(vfc_negotiate(client), 0);
	expect_alive();
}

/* Of a region that can be mapped in part the whole answer is longer: whoever has no room for it learns
 * how long it is, and gets no descriptor. */
static void test_area(void **state)
{
	struct vu_region_info_msg ask = {.argsz = sizeof(ask), .index = 5}, info;
	uint64_t bytes;
	struct vfc_reply reply;
	int fd;

	for (uint32_t room = sizeof(ask); room <= 2 * sizeof(ask) + 8; room += 8) {
		const bool whole = room >= sizeof(ask) + sizeof(struct vu_region_area);

		ask.argsz = room;
		assert_int_equal(vfc_call(client, VU_DEVICE_GET_REGION_INFO, &ask, sizeof(ask),
					 NULL, 0, &reply),
			0);
		assert_int_equal(reply.len, whole ? 64 : 32);
		assert_int_equal(reply.fd >= 0, whole);
		memcpy(&info, reply.payload, sizeof(info));
		assert_int_equal(info.argsz, 64);
		assert_int_equal(info.cap_offset, 32);
		assert_true(info.flags & VFIO_REGION_INFO_FLAG_CAPS);
		if (whole)
			close(reply.fd);
	}
	assert_int_equal(vfc_region_area(client, 5, &info, &bytes, &fd), 0);
	assert_int_equal(info.size, 1ull << 32);
	assert_int_equal(bytes, 8192);
	close(fd);
	assert_int_equal(vfc_region_area(client, 1, &info, &bytes, &fd), 0);
	assert_int_equal(bytes, 1ull << 40);
	close(fd);
	assert_int_equal(vfc_region_area(client, 0, &info, &bytes, &fd), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(fd, -1);
}

/* A client that can't take a descriptor is not told that it may map. */
static void test_no_fds(void **state)
{
	struct vu_region_info_msg info;
	int fd;

	assert_int_equal(
		vfc_negotiate_with(client, 0, 0, "{\"capabilities\":{\"max_msg_fds\":0}}"), 0);
	for (uint32_t index = 1; index <= 5; index += 4) {
		assert_int_equal(vfc_region_info(client, index, &info, &fd), 0);
		assert_int_equal(fd, -1);
		assert_int_equal(
			info.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
		assert_int_equal(info.argsz, sizeof(info));
	}
}

/*
 * Information
 */

static void test_info(void **state)
{
	struct vu_device_info info;
	struct vu_region_info_msg region;
	struct vu_irq_info_msg irq;
	struct vu_region_io_fds io = {.argsz = sizeof(io), .index = 0};
	int fd;

	assert_int_equal(vfc_device_info(client, &info), 0);
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(info.num_irqs, VFIO_PCI_NUM_IRQS);

	assert_int_equal(vfc_region_info(client, 0, &region, &fd), 0);
	assert_int_equal(region.size, REGION_SIZE);
	assert_int_equal(fd, -1);
	assert_int_equal(vfc_region_info(client, 1, &region, &fd), 0);
	assert_int_equal(region.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
					       VFIO_REGION_INFO_FLAG_MMAP);
	assert_int_equal(region.offset, 4096);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(vfc_region_info(client, 3, &region, &fd), 0);
	assert_int_equal(region.size, 0);
	assert_int_equal(vfc_region_info(client, VFIO_PCI_NUM_REGIONS, &region, &fd), -EINVAL);
	assert_int_equal(vfc_region_info(client, UINT32_MAX, &region, &fd), -EINVAL);

	assert_int_equal(vfc_irq_info(client, VFIO_PCI_MSIX_IRQ_INDEX, &irq), 0);
	assert_int_equal(irq.count, VECTORS);
	assert_int_equal(vfc_irq_info(client, VFIO_PCI_INTX_IRQ_INDEX, &irq), 0);
	assert_int_equal(irq.count, 0);
	assert_int_equal(vfc_irq_info(client, VFIO_PCI_NUM_IRQS, &irq), -EINVAL);

	assert_int_equal(
		vfc_call(client, VU_DEVICE_GET_REGION_IO_FDS, &io, sizeof(io), NULL, 0, NULL),
		-EOPNOTSUPP);
	io.index = 9;
	assert_int_equal(
		vfc_call(client, VU_DEVICE_GET_REGION_IO_FDS, &io, sizeof(io), NULL, 0, NULL),
		-EINVAL);
	expect_alive();
}

static void test_not_served(void **state)
{
	static const uint16_t commands[] = {0, VU_DMA_READ, VU_DMA_WRITE, VU_DIRTY_PAGES,
		VU_MIG_DATA_READ, VU_MIG_DATA_WRITE, VU_COMMANDS, 0x7fff, 0xffff};
	struct vu_feature feature = {.argsz = sizeof(feature), .flags = 1 | 1 << 16};
	uint8_t payload[64] = {0};
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		assert_int_equal(
			vfc_call(client, commands[i], payload, sizeof(payload), NULL, 0, NULL),
			-EOPNOTSUPP);
	assert_int_equal(
		vfc_call(client, VU_DEVICE_FEATURE, &feature, sizeof(feature), NULL, 0, NULL),
		-ENOTTY);
	assert_int_equal(calls(), 0);
	expect_alive();
}

/*
 * Region accesses
 */

static void test_access(void **state)
{
	uint8_t out[VU_DATA_MAX], in[VU_DATA_MAX];
	size_t i;

	for (i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	assert_int_equal(vfc_write(client, 0, REGION_SIZE - sizeof(out), out, sizeof(out)), 0);
	assert_int_equal(vfc_read(client, 0, REGION_SIZE - sizeof(in), in, sizeof(in)), 0);
	assert_memory_equal(out, in, sizeof(out));
	assert_int_equal(vfc_write(client, 0, 3, "abc", 3), 0);
	assert_int_equal(vfc_read(client, 0, 4, in, 1), 0);
	assert_int_equal(in[0], 'b');
	assert_int_equal(vfc_post(client, 0, 4, "x", 1), 0);
	assert_int_equal(vfc_read(client, 0, 3, in, 3), 0); /* keeps behind the posted write */
	assert_memory_equal(in, "axc", 3);
	assert_int_equal(vfc_read(client, 1, (1ull << 40) - 8, in, 8), 0);
	assert_int_equal(dev.offset, (1ull << 40) - 8);
}

static void test_access_bounds(void **state)
{
	struct vu_region_rw rw = {.region = 0};
	struct {
		struct vu_region_rw rw;
		uint8_t data[32];
	} w = {.rw = {.count = 8}};
	uint8_t in[8];
	size_t len;

	assert_int_equal(vfc_read(client, 0, REGION_SIZE, in, 1), -EINVAL);
	assert_int_equal(vfc_read(client, 0, REGION_SIZE - 7, in, 8), -EINVAL);
	assert_int_equal(vfc_read(client, 0, UINT64_MAX - 3, in, 8), -EINVAL);
	assert_int_equal(vfc_read(client, 0, UINT64_MAX, in, 1), -EINVAL);
	assert_int_equal(vfc_read(client, 0, 0, in, 0), -EINVAL);
	assert_int_equal(vfc_read(client, 3, 0, in, 1), -EINVAL); /* no such region */
	assert_int_equal(vfc_read(client, 9, 0, in, 1), -EINVAL);
	assert_int_equal(vfc_read(client, UINT32_MAX, 0, in, 1), -EINVAL);
	assert_int_equal(vfc_write(client, 2, 0, in, 4), -EACCES);
	assert_int_equal(vfc_write(client, 0, REGION_SIZE - 3, in, 4), -EINVAL);
	rw.count = VU_DATA_MAX + 1;
	assert_int_equal(vfc_call(client, VU_REGION_READ, &rw, sizeof(rw), NULL, 0, NULL), -EINVAL);
	rw.count = UINT32_MAX;
	assert_int_equal(vfc_call(client, VU_REGION_READ, &rw, sizeof(rw), NULL, 0, NULL), -EINVAL);
	/* More or less data than announced. */
	for (len = 0; len < sizeof(w.data); len++) {
		int error =
			vfc_call(client, VU_REGION_WRITE, &w, sizeof(w.rw) + len, NULL, 0, NULL);

		assert_int_equal(error, len == 8 ? 0 : -EINVAL);
	}
	assert_int_equal(calls(), 1);
	expect_alive();
}

static void test_device_error(void **state)
{
	uint8_t in[8] = {0};

	dev.error = -EIO;
	assert_int_equal(vfc_read(client, 0, 0, in, 8), -EIO);
	assert_int_equal(vfc_write(client, 0, 0, in, 8), -EIO);
	assert_int_equal(vfc_post(client, 0, 0, in, 8), 0); /* nothing comes back */
	assert_int_equal(vfc_dma_map(client, 0, 4096, 3, -1, 0), -EIO);
	assert_int_equal(vfc_dma_unmap(client, 0, 4096), -EIO);
	assert_int_equal(vfc_dma_unmap_all(client), -EIO);
	assert_int_equal(vfc_reset(client), -EIO);
	expect_alive();
}

static void test_write_multi(void **state)
{
	struct {
		struct vu_write_multi m;
		struct vu_write_one w[200];
	} wire;
	struct vfc_reply reply;
	uint64_t done;
	size_t i;

	memset(&wire, 0, sizeof(wire));
	wire.m.count = 200;
	for (i = 0; i < 200; i++) {
		wire.w[i].rw = (struct vu_region_rw){.offset = 8 * i, .region = 0, .count = 8};
		memset(wire.w[i].data, (int)i, 8);
	}
	assert_int_equal(
		vfc_call(client, VU_REGION_WRITE_MULTI, &wire, sizeof(wire), NULL, 0, &reply), 0);
	assert_int_equal(reply.len, sizeof(done));
	memcpy(&done, reply.payload, sizeof(done));
	assert_int_equal(done, 200);
	assert_int_equal(dev.writes, 200);
	assert_int_equal(dev.memory[8 * 199], 199);

	/* One bad write: none is done. */
	dev.writes = 0;
	wire.w[199].rw.offset = REGION_SIZE - 7;
	assert_int_equal(
		vfc_call(client, VU_REGION_WRITE_MULTI, &wire, sizeof(wire), NULL, 0, NULL),
		-EINVAL);
	wire.w[199].rw.offset = 0;
	wire.w[199].rw.count = 9;
	assert_int_equal(
		vfc_call(client, VU_REGION_WRITE_MULTI, &wire, sizeof(wire), NULL, 0, NULL),
		-EINVAL);
	wire.w[199].rw.count = 8;
	for (i = 0; i < 3; i++) {
		static const uint64_t counts[] = {199, 201, UINT64_MAX / 24 + 1};

		wire.m.count = counts[i];
		assert_int_equal(
			vfc_call(client, VU_REGION_WRITE_MULTI, &wire, sizeof(wire), NULL, 0, NULL),
			-EINVAL);
	}
	wire.m.count = 0;
	assert_int_equal(
		vfc_call(client, VU_REGION_WRITE_MULTI, &wire, sizeof(wire.m), NULL, 0, NULL), 0);
	assert_int_equal(dev.writes, 0);
	expect_alive();
}

/*
 * DMA
 */

static void test_dma(void **state)
{
	struct vu_dma_map map = {.argsz = sizeof(map), .flags = 3, .address = 4096, .size = 8192};
	struct vu_dma_unmap unmap = {.argsz = sizeof(unmap)};
	int fd;

	open_files(&fd, 1);
	assert_int_equal(vfc_dma_map(client, 4096, 8192, 1, fd, 12288), 0);
	assert_int_equal(dev.maps, 1);
	assert_int_equal(dev.fd_offset, 10);
	assert_int_equal(dev.map.offset, 12288);
	assert_int_equal(dev.map.flags, 1);
	assert_int_equal(vfc_dma_map(client, 1 << 20, 4096, 1, -1, 0), 0);
	assert_int_equal(dev.fd_offset, -1);

	map.flags = 4;
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), NULL, 0, NULL), -EINVAL);
	map.flags = 3;
	map.argsz = sizeof(map) - 1;
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), &fd, 1, NULL), -EINVAL);
	assert_int_equal(dev.maps, 2);

	assert_int_equal(vfc_dma_unmap(client, 4096, 8192), 0);
	assert_int_equal(dev.unmaps, 1);
	assert_int_equal(vfc_dma_unmap_all(client), 0);
	assert_int_equal(dev.unmap_alls, 1);
	unmap.flags = VFIO_DMA_UNMAP_FLAG_ALL;
	unmap.size = 4096;
	assert_int_equal(
		vfc_call(client, VU_DMA_UNMAP, &unmap, sizeof(unmap), NULL, 0, NULL), -EINVAL);
	unmap.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	assert_int_equal(
		vfc_call(client, VU_DMA_UNMAP, &unmap, sizeof(unmap), NULL, 0, NULL), -EOPNOTSUPP);
	assert_int_equal(dev.unmaps + dev.unmap_alls, 2);
	close(fd);
	expect_alive();
}

/*
 * Interrupts
 */

static void test_irq_eventfds(void **state)
{
	struct vu_irq_set set = {.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX};
	int fds[VU_FDS_MAX + 4], i, file;
	uint64_t value;

	for (i = 0; i < VU_FDS_MAX + 4; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(vfc_irq_eventfds(client, VFIO_PCI_MSIX_IRQ_INDEX, 4, VU_FDS_MAX, fds), 0);
	assert_int_equal(dev.irq_sets, 1);
	assert_int_equal(dev.start, 4);
	assert_int_equal(dev.count, VU_FDS_MAX);
	for (i = 0; i < VU_FDS_MAX; i++) {
		assert_int_equal(read(fds[i], &value, sizeof(value)), sizeof(value));
		assert_int_equal(value, 100 + i);
	}
	assert_int_equal(vfc_irq_eventfds(client, VFIO_PCI_MSIX_IRQ_INDEX, 3, 2, NULL), 0);
	assert_false(dev.with_fds);
	assert_int_equal(vfc_irq_eventfds(client, VFIO_PCI_ERR_IRQ_INDEX, 0, 1, fds), 0);
	assert_int_equal(dev.index, VFIO_PCI_ERR_IRQ_INDEX);
	assert_int_equal(dev.irq_sets, 3);

	/* Ranges. */
	assert_int_equal(
		vfc_irq_eventfds(client, VFIO_PCI_MSIX_IRQ_INDEX, VECTORS - 1, 2, fds), -EINVAL);
	assert_int_equal(
		vfc_irq_eventfds(client, VFIO_PCI_MSIX_IRQ_INDEX, UINT32_MAX, 1, fds), -EINVAL);
	assert_int_equal(vfc_irq_eventfds(client, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, fds), -EINVAL);
	assert_int_equal(vfc_irq_eventfds(client, VFIO_PCI_NUM_IRQS, 0, 1, fds), -EINVAL);
	assert_int_equal(vfc_irq_eventfds(client, VFIO_PCI_ERR_IRQ_INDEX, 0, 2, fds), -EINVAL);
	assert_int_equal(
		vfc_irq_eventfds(client, VFIO_PCI_MSIX_IRQ_INDEX, 0, UINT32_MAX, NULL), -EINVAL);
	assert_int_equal(
		vfc_irq_eventfds(client, VFIO_PCI_MSIX_IRQ_INDEX, 0, VU_FDS_MAX + 1, fds), -EINVAL);
	/* More or fewer of them than announced. */
	for (i = 1; i <= VU_FDS_MAX + 4; i++) {
		int error;

		set.count = VU_FDS_MAX;
		error = vfc_call(
			client, VU_DEVICE_SET_IRQS, &set, sizeof(set), fds, (unsigned)i, NULL);
		assert_int_equal(error, i == VU_FDS_MAX ? 0 : -EINVAL);
		set.count = 3;
		error = vfc_call(
			client, VU_DEVICE_SET_IRQS, &set, sizeof(set), fds, (unsigned)i, NULL);
		assert_int_equal(error, i == 3 ? 0 : -EINVAL);
	}
	assert_int_equal(dev.irq_sets, 3 + 2);
	/* Only eventfds. */
	open_files(&file, 1);
	assert_int_equal(vfc_irq_eventfds(client, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, &file), -EINVAL);
	close(file);
	assert_int_equal(dev.irq_sets, 3 + 2);
	close_files(fds, VU_FDS_MAX + 4);
	expect_alive();
}

static void test_irq_actions(void **state)
{
	const uint32_t none = VFIO_IRQ_SET_DATA_NONE, boolean = VFIO_IRQ_SET_DATA_BOOL;
	const uint32_t mask = VFIO_IRQ_SET_ACTION_MASK, unmask = VFIO_IRQ_SET_ACTION_UNMASK;
	const uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER, event = VFIO_IRQ_SET_DATA_EVENTFD;
	const uint32_t msix = VFIO_PCI_MSIX_IRQ_INDEX;
	const uint8_t which[4] = {1, 0, 0, 1};
	struct vu_irq_set set = {
		.argsz = sizeof(set), .flags = none | trigger, .index = msix, .count = 1};
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(vfc_irq_set(client, msix, none | mask, 2, 3, NULL), 0);
	assert_int_equal(dev.action, VU_IRQ_MASK);
	assert_false(dev.with_which);
	assert_int_equal(vfc_irq_set(client, msix, boolean | unmask, 2, 4, which), 0);
	assert_int_equal(dev.action, VU_IRQ_UNMASK);
	assert_memory_equal(dev.which, which, 4);
	assert_int_equal(vfc_irq_set(client, msix, none | trigger, 0, VECTORS, NULL), 0);
	assert_int_equal(dev.action, VU_IRQ_TRIGGER);
	assert_int_equal(dev.irq_actions, 3);
	/* All off. */
	assert_int_equal(vfc_irq_set(client, msix, none | trigger, 0, 0, NULL), 0);
	assert_int_equal(dev.irq_sets, 1);
	assert_int_equal(dev.count, VECTORS);
	assert_false(dev.with_fds);
	assert_int_equal(
		vfc_irq_set(client, VFIO_PCI_INTX_IRQ_INDEX, none | trigger, 0, 0, NULL), 0);
	assert_int_equal(dev.irq_sets, 1);

	assert_int_equal(vfc_irq_set(client, msix, none | trigger, 1, 0, NULL), -EINVAL);
	assert_int_equal(vfc_irq_set(client, msix, none | mask, 0, 0, NULL), -EINVAL);
	assert_int_equal(vfc_irq_set(client, msix, event | trigger, 0, 0, NULL), -EINVAL);
	assert_int_equal(vfc_irq_set(client, msix, none, 0, 1, NULL), -EINVAL);
	assert_int_equal(vfc_irq_set(client, msix, trigger, 0, 1, NULL), -EINVAL);
	assert_int_equal(vfc_irq_set(client, msix, none | event | trigger, 0, 1, NULL), -EINVAL);
	assert_int_equal(vfc_irq_set(client, msix, none | mask | unmask, 0, 1, NULL), -EINVAL);
	assert_int_equal(vfc_irq_set(client, msix, none | trigger | 64, 0, 1, NULL), -EINVAL);
	assert_int_equal(
		vfc_irq_set(client, msix, boolean | trigger, 0, 1, NULL), -EINVAL); /* no data */
	assert_int_equal(
		vfc_irq_set(client, msix, none | trigger, 0, 4, which), -EINVAL); /* data */
	assert_int_equal(vfc_irq_set(client, msix, none | mask, VECTORS, 1, NULL), -EINVAL);
	assert_int_equal(vfc_irq_set(client, msix, event | mask, 0, 1, NULL), -EOPNOTSUPP);
	assert_int_equal(
		vfc_call(client, VU_DEVICE_SET_IRQS, &set, sizeof(set), &fd, 1, NULL), -EINVAL);
	assert_int_equal(dev.irq_actions, 3);
	assert_int_equal(dev.irq_sets, 1);
	close(fd);
	expect_alive();
}

/*
 * Sizes and flags
 */

/* Every size from nothing to more than enough, for every command: refused or done, in step. */
static void test_all_sizes(void **state)
{
	uint8_t payload[96] = {0};
	uint16_t command;
	size_t len;

	for (command = 0; command < VU_COMMANDS + 2; command++) {
		for (len = 0; len <= sizeof(payload); len++) {
			int error = vfc_call(client, command, payload, len, NULL, 0, NULL);

			assert_true(error == 0 || error == -EINVAL || error == -EOPNOTSUPP);
			/* What has no argument is done with none; a payload of zeros is nothing else's. */
			if (error == 0)
				assert_true((command == VU_DEVICE_RESET && len == 0) ||
					    (command == VU_REGION_WRITE_MULTI && len == 8));
		}
	}
	assert_int_equal(calls(), 1);
	expect_alive();
}

static void test_flags(void **state)
{
	struct vfc_reply reply;
	uint32_t bit;

	for (bit = 5; bit < 32; bit++) {
		assert_int_equal(vfc_send_message(client, VU_DEVICE_RESET, 1u << bit, NULL, 0, NULL,
					 0, NULL),
			0);
		assert_int_equal(vfc_receive(client, &reply), 0);
		assert_int_equal(reply.hdr.flags, VU_TYPE_REPLY | VU_FLAG_ERROR);
		assert_int_equal(reply.hdr.error, EINVAL);
	}
	assert_int_equal(calls(), 0);
	expect_alive();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_version, setup_raw, teardown),
		cmocka_unit_test_setup_teardown(test_version_plain, setup_raw, teardown),
		cmocka_unit_test_setup_teardown(test_version_malformed, setup_raw, teardown),
		cmocka_unit_test_setup_teardown(test_version_unknown, setup_raw, teardown),
		cmocka_unit_test_setup_teardown(test_before_version, setup_raw, teardown),
		cmocka_unit_test_setup_teardown(test_no_fds, setup_raw, teardown),
		cmocka_unit_test_setup_teardown(test_info, setup, teardown),
		cmocka_unit_test_setup_teardown(test_area, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_served, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_multi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
		cmocka_unit_test_setup_teardown(test_irq_eventfds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_irq_actions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flags, setup, teardown),
	};

	return cmocka_run_group_tests_name("vu_msg", tests, NULL, NULL);
}
