/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection over a socket pair, with a device that only records what it is
 * asked: which messages reach it, which are refused, and what is left behind.
 */
#include "testutil.h"
#include "vfio_client.h"
#include "vu_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { REGION_SIZE = 8192, VECTORS = 20 };

static struct device {
	unsigned int reads, writes, irq_sets, irq_actions, maps, unmaps, unmap_alls, resets;
	uint32_t index, start, count, bytes;
	uint64_t offset;
	struct vu_dma_map map;
	enum vu_irq_action action;
	uint8_t which[VECTORS];
	bool with_fds, with_which;
	int fd_offset; /* what the descriptor of a map is at: tells which file came */
	int error;     /* what handlers return */
	int region_fd; /* of region 1 */
	uint8_t memory[REGION_SIZE];
} dev;

static struct vu_conn *conn; /* NULL: dead and freed */
static struct vfc *client;
static int dead_error;
static int fds_before;

static unsigned int calls(void)
{
	return dev.reads + dev.writes + dev.irq_sets + dev.irq_actions + dev.maps + dev.unmaps +
	       dev.unmap_alls + dev.resets;
}

/*
 * The device: region 0 read-write, 1 can be mapped, 2 read only, 7 configuration.
 */

static void op_region(void *arg, uint32_t index, struct vu_region *region)
{
	const uint32_t rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

	if (index == 0)
		*region = (struct vu_region){.size = REGION_SIZE, .flags = rw, .fd = -1};
	if (index == 1)
		*region = (struct vu_region){.size = 1ull << 40,
			.flags = rw | VFIO_REGION_INFO_FLAG_MMAP,
			.fd = dev.region_fd,
			.fd_offset = 4096};
	if (index == 2)
		*region = (struct vu_region){
			.size = 16, .flags = VFIO_REGION_INFO_FLAG_READ, .fd = -1};
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		*region = (struct vu_region){.size = 256, .flags = rw, .fd = -1};
}

static int op_read(void *arg, uint32_t index, uint64_t offset, void *data, uint32_t bytes)
{
	dev.reads++;
	dev.index = index;
	dev.offset = offset;
	dev.bytes = bytes;
	if (index == 0)
		memcpy(data, dev.memory + offset, bytes);
	return dev.error;
}

static int op_write(void *arg, uint32_t index, uint64_t offset, const void *data, uint32_t bytes)
{
	dev.writes++;
	dev.index = index;
	dev.offset = offset;
	dev.bytes = bytes;
	if (index == 0)
		memcpy(dev.memory + offset, data, bytes);
	return dev.error;
}

static void op_irq(void *arg, uint32_t index, struct vu_irq *irq)
{
	if (index == VFIO_PCI_MSIX_IRQ_INDEX)
		*irq = (struct vu_irq){.count = VECTORS, .flags = VFIO_IRQ_INFO_EVENTFD};
	if (index == VFIO_PCI_ERR_IRQ_INDEX)
		*irq = (struct vu_irq){.count = 1, .flags = VFIO_IRQ_INFO_EVENTFD};
}

static int op_irq_set(void *arg, uint32_t index, uint32_t start, uint32_t count, const int *fds)
{
	uint32_t i;

	dev.irq_sets++;
	dev.index = index;
	dev.start = start;
	dev.count = count;
	dev.with_fds = fds != NULL;
	for (i = 0; fds && i < count; i++) {
		const uint64_t value = 100 + i;

		assert_int_equal(write(fds[i], &value, sizeof(value)), sizeof(value));
	}
	return dev.error;
}

static int op_irq_action(void *arg, uint32_t index, uint32_t start, uint32_t count,
	enum vu_irq_action action, const uint8_t *which)
{
	dev.irq_actions++;
	dev.index = index;
	dev.start = start;
	dev.count = count;
	dev.action = action;
	dev.with_which = which != NULL;
	if (which)
		memcpy(dev.which, which, count);
	return dev.error;
}

static int op_dma_map(void *arg, const struct vu_dma_map *map, int fd)
{
	dev.maps++;
	dev.map = *map;
	dev.fd_offset = fd < 0 ? -1 : (int)lseek(fd, 0, SEEK_CUR);
	return dev.error;
}

static int op_dma_unmap(void *arg, uint64_t address, uint64_t size)
{
	dev.unmaps++;
	dev.map.address = address;
	dev.map.size = size;
	return dev.error;
}

static int op_dma_unmap_all(void *arg)
{
	dev.unmap_alls++;
	return dev.error;
}

static int op_reset(void *arg)
{
	dev.resets++;
	return dev.error;
}

static const struct vu_ops ops = {
	.region = op_region,
	.region_read = op_read,
	.region_write = op_write,
	.irq = op_irq,
	.irq_set = op_irq_set,
	.irq_action = op_irq_action,
	.dma_map = op_dma_map,
	.dma_unmap = op_dma_unmap,
	.dma_unmap_all = op_dma_unmap_all,
	.reset = op_reset,
};

/* The daemon's part: runs the connection as far as it goes. */
static void pump(void *arg)
{
	while (conn) {
		struct epoll_event event = {.events = vu_conn_events(conn)};
		int epoll = epoll_create1(EPOLL_CLOEXEC), n;

		assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, vu_conn_fd(conn), &event), 0);
		n = epoll_wait(epoll, &event, 1, 0);
		close(epoll);
		if (n == 0)
			return;
		dead_error = vu_conn_ready(conn, event.events);
		if (dead_error) {
			vu_conn_free(conn);
			conn = NULL;
		}
	}
}

static int setup_raw(void **state)
{
	int ends[2];

	memset(&dev, 0, sizeof(dev));
	fds_before = count_fds(0);
	dead_error = 0;
	dev.region_fd = make_memfd(8192, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(vu_conn_new(ends[0], &ops, &dev, "test", &conn), 0);
	assert_int_equal(vfc_from_fd(ends[1], &client), 0);
	vfc_set_idle(client, pump, NULL);
	return 0;
}

static int setup(void **state)
{
	setup_raw(state);
	assert_int_equal(vfc_negotiate(client), 0);
	return 0;
}

static int teardown(void **state)
{
	vfc_close(client);
	vu_conn_free(conn);
	conn = NULL;
	close(dev.region_fd);
	assert_int_equal(count_fds(0), fds_before);
	return 0;
}

/* Still alive, and in step. */
static void expect_alive(void)
{
	struct vu_device_info info;

	assert_non_null(conn);
	assert_int_equal(vfc_device_info(client, &info), 0);
	assert_int_equal(info.num_regions, VFIO_PCI_NUM_REGIONS);
}

static void expect_dead(int error)
{
	pump(NULL);
	assert_null(conn);
	assert_int_equal(dead_error, error);
	assert_int_equal(vfc_wait_closed(client), 0);
}

static void open_files(int *fds, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		fds[i] = make_memfd(4096, 0);
		assert_int_equal(lseek(fds[i], 10 + i, SEEK_SET), 10 + i);
	}
}

static void close_files(const int *fds, int count)
{
	int i;

	for (i = 0; i < count; i++)
		close(fds[i]);
}

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

/* A client that can't take a descriptor is not told that it may map. */
static void test_no_fds(void **state)
{
	struct vu_region_info_msg info;
	int fd;

	assert_int_equal(
		vfc_negotiate_with(client, 0, 0, "{\"capabilities\":{\"max_msg_fds\":0}}"), 0);
	assert_int_equal(vfc_region_info(client, 1, &info, &fd), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(info.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
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
 * Descriptors go with the message they were sent with, however messages are cut and glued.
 */
static void test_fds_in_a_row(void **state)
{
	struct {
		struct vu_hdr hdr;
		struct vu_dma_map map;
	} m[3];
	struct vfc_reply reply;
	int fds[3], i;

	open_files(fds, 3);
	for (i = 0; i < 3; i++) {
		m[i].hdr = (struct vu_hdr){
			.id = (uint16_t)i, .command = VU_DMA_MAP, .size = sizeof(m[i])};
		m[i].map = (struct vu_dma_map){.argsz = sizeof(m[i].map), .flags = 3, .size = 4096};
		/* All three are in the socket before the server looks. */
		assert_int_equal(vfc_send(client, &m[i], sizeof(m[i]), &fds[i], i != 1), 0);
	}
	for (i = 0; i < 3; i++) {
		assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
		if (i == 0) {
			/* The first read stops behind the first descriptor; all were read by now. */
			assert_int_equal(dev.maps, 3);
			assert_int_equal(dev.fd_offset, 12);
		}
	}
	for (i = 0; i < 3; i++) {
		assert_int_equal(vfc_receive(client, &reply), 0);
		assert_int_equal(reply.hdr.id, i);
		assert_int_equal(reply.hdr.flags, VU_TYPE_REPLY);
	}
	close_files(fds, 3);
	expect_alive();
}

static void test_fds_in_pieces(void **state)
{
	struct {
		struct vu_hdr hdr;
		struct vu_dma_map map;
	} m[2];
	const char *bytes = (const char *)m;
	int fds[2];
	size_t i;

	open_files(fds, 2);
	for (i = 0; i < 2; i++) {
		m[i].hdr = (struct vu_hdr){
			.command = VU_DMA_MAP, .size = sizeof(m[i]), .flags = VU_FLAG_NO_REPLY};
		m[i].map = (struct vu_dma_map){.argsz = sizeof(m[i].map), .flags = 3, .size = 4096};
	}
	/* Byte by byte, the descriptor with the first one of its message. */
	for (i = 0; i < sizeof(m); i++) {
		assert_int_equal(vfc_send(client, bytes + i, 1, &fds[i / sizeof(m[0])],
					 i % sizeof(m[0]) == 0),
			0);
		pump(NULL);
		assert_int_equal(dev.maps, (i + 1) / sizeof(m[0]));
		if (i + 1 == sizeof(m[0]))
			assert_int_equal(dev.fd_offset, 10);
	}
	assert_int_equal(dev.fd_offset, 11);
	/* The end of one message and the beginning of the next in one piece. */
	assert_int_equal(vfc_send(client, bytes, 30, &fds[0], 1), 0);
	pump(NULL);
	assert_int_equal(vfc_send(client, bytes + 30, sizeof(m) - 40, &fds[1], 1), 0);
	pump(NULL);
	assert_int_equal(dev.maps, 3);
	assert_int_equal(dev.fd_offset, 10);
	assert_int_equal(vfc_send(client, bytes + sizeof(m) - 10, 10, NULL, 0), 0);
	pump(NULL);
	assert_int_equal(dev.maps, 4);
	assert_int_equal(dev.fd_offset, 11);
	close_files(fds, 2);
	expect_alive();
}

static void test_fds_too_many(void **state)
{
	struct vu_dma_map map = {.argsz = sizeof(map), .flags = 3, .size = 4096};
	struct vu_region_rw rw = {.count = 4};
	int fds[100];
	uint32_t i;

	open_files(fds, 100);
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), fds, 2, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), fds, 100, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, VU_REGION_READ, &rw, sizeof(rw), fds, 1, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, VU_DEVICE_RESET, NULL, 0, fds, 1, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, 99, NULL, 0, fds, 3, NULL), -EOPNOTSUPP);
	assert_int_equal(calls(), 0);
	/* Two per byte of a message: more than fit, in one message, over several reads. */
	for (i = 0; i < sizeof(struct vu_hdr); i++) {
		const struct vu_hdr hdr = {
			.command = VU_DEVICE_RESET, .size = sizeof(hdr), .flags = VU_FLAG_NO_REPLY};

		assert_int_equal(vfc_send(client, (const char *)&hdr + i, 1, fds, 2), 0);
		pump(NULL);
	}
	assert_int_equal(calls(), 0);
	assert_int_equal(count_fds(0), fds_before + 3 + 100);
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), fds, 1, NULL), 0);
	close_files(fds, 100);
	expect_alive();
}

/*
 * Interrupts
 */

static void test_irq_eventfds(void **state)
{
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
		/* Nobody can make us wait on it. */
		assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
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
	/* Only eventfds. */
	open_files(&file, 1);
	assert_int_equal(vfc_irq_eventfds(client, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, &file), -EINVAL);
	close(file);
	assert_int_equal(dev.irq_sets, 3);
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
 * The stream
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

static void test_no_reply(void **state)
{
	assert_int_equal(
		vfc_send_message(client, VU_DEVICE_RESET, VU_FLAG_NO_REPLY, NULL, 0, NULL, 0, NULL),
		0);
	assert_int_equal(
		vfc_send_message(client, VU_DEVICE_RESET, VU_FLAG_NO_REPLY, "x", 1, NULL, 0, NULL),
		0);
	assert_int_equal(vfc_send_message(client, 77, VU_FLAG_NO_REPLY, "x", 1, NULL, 0, NULL), 0);
	expect_alive(); /* and not one reply before that of this */
	assert_int_equal(dev.resets, 1);
}

static void test_closed_for_nonsense(void **state)
{
	const struct vu_hdr *bad = *state;

	assert_int_equal(vfc_send(client, bad, sizeof(*bad), NULL, 0), 0);
	expect_dead(-EPROTO);
	assert_int_equal(calls(), 0);
}

static const struct vu_hdr nonsense[] = {
	{.command = VU_DEVICE_RESET, .size = 0},
	{.command = VU_DEVICE_RESET, .size = 15},
	{.command = VU_REGION_WRITE, .size = VU_MSG_MAX + 1},
	{.command = VU_REGION_WRITE, .size = UINT32_MAX},
	{.command = VU_DEVICE_RESET, .size = 16, .flags = VU_TYPE_REPLY},
	{.command = VU_DEVICE_RESET, .size = 16, .flags = 2},
	{.command = VU_DEVICE_RESET, .size = 16, .flags = 15},
};

/* What came before the nonsense is done, what comes behind it is not. */
static void test_closed_in_order(void **state)
{
	struct vu_hdr three[3] = {{.command = VU_DEVICE_RESET, .size = 16},
		{.command = VU_DEVICE_RESET, .size = 1}, {.command = VU_DEVICE_RESET, .size = 16}};

	assert_int_equal(vfc_send(client, three, sizeof(three), NULL, 0), 0);
	expect_dead(-EPROTO);
	assert_int_equal(dev.resets, 1);
}

static void test_client_closes(void **state)
{
	const char half[20] = {0, 0, VU_REGION_WRITE, 0, 100};

	assert_int_equal(vfc_send(client, half, sizeof(half), NULL, 0), 0);
	pump(NULL);
	assert_non_null(conn);
	assert_int_equal(shutdown(vfc_fd(client), SHUT_WR), 0);
	expect_dead(-ECONNRESET);
	assert_int_equal(calls(), 0);
}

static void test_pipelined(void **state)
{
	struct vu_hdr hdr[500];
	struct vfc_reply reply;
	int i;

	for (i = 0; i < 500; i++)
		hdr[i] = (struct vu_hdr){.id = (uint16_t)i, .command = VU_DEVICE_RESET, .size = 16};
	assert_int_equal(vfc_send(client, hdr, sizeof(hdr), NULL, 0), 0);
	for (i = 0; i < 500; i++) {
		assert_int_equal(vfc_receive(client, &reply), 0);
		assert_int_equal(reply.hdr.id, i);
	}
	assert_int_equal(dev.resets, 500);
	expect_alive();
}

/* The largest message in one byte pieces. */
static void test_large_in_pieces(void **state)
{
	struct {
		struct vu_hdr hdr;
		struct vu_region_rw rw;
		uint8_t data[VU_DATA_MAX];
	} m;
	struct vfc_reply reply;
	size_t i;

	memset(&m, 0x5a, sizeof(m));
	m.hdr = (struct vu_hdr){.id = 9, .command = VU_REGION_WRITE, .size = sizeof(m)};
	m.rw = (struct vu_region_rw){.offset = 0, .region = 0, .count = VU_DATA_MAX};
	for (i = 0; i < sizeof(m); i++) {
		assert_int_equal(vfc_send(client, (char *)&m + i, 1, NULL, 0), 0);
		assert_int_equal(dev.writes, 0);
		assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
	}
	assert_int_equal(dev.writes, 1);
	assert_int_equal(vfc_receive(client, &reply), 0);
	assert_int_equal(reply.hdr.id, 9);
}

/* The work of one call is bounded, however much there is to do. */
static void test_fair(void **state)
{
	struct vu_hdr hdr[512];
	unsigned int rounds = 0, last = 0;
	int i;

	for (i = 0; i < 512; i++)
		hdr[i] = (struct vu_hdr){
			.command = VU_DEVICE_RESET, .size = 16, .flags = VU_FLAG_NO_REPLY};
	for (i = 0; i < 16; i++)
		assert_int_equal(vfc_send(client, hdr, sizeof(hdr), NULL, 0), 0);
	while (dev.resets < 16 * 512) {
		assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
		assert_true(dev.resets > last);
		assert_true(dev.resets - last <= VU_CONN_READS * VU_MSG_MAX / 16);
		last = dev.resets;
		rounds++;
	}
	assert_true(rounds > 1);
}

/* A client that asks and never listens is let go; what it asked before was done in order. */
static void test_deaf_client(void **state)
{
	const struct vu_region_rw rw = {.region = 0, .count = VU_DATA_MAX};
	unsigned int sent;

	vfc_set_idle(client, NULL, NULL);
	for (sent = 0; conn && sent < 100000; sent++) {
		/* The request may fail once the connection is gone. */
		if (vfc_send_message(client, VU_REGION_READ, 0, &rw, sizeof(rw), NULL, 0, NULL))
			break;
		pump(NULL);
	}
	assert_null(conn);
	assert_int_equal(dead_error, -ENOBUFS);
	/* It could have asked for as much as the socket and the queue hold, and no more. */
	assert_true(dev.reads * (uint64_t)VU_DATA_MAX < 8u << 20);
}

/* Replies that did not fit are sent later, complete, in order, with their descriptor. */
static void test_slow_client(void **state)
{
	const struct vu_region_rw rw = {.region = 0, .count = VU_DATA_MAX};
	const struct vu_region_info_msg ask = {.argsz = sizeof(ask), .index = 1};
	int small = 4096, replies = 0, i;
	struct vfc_reply reply;
	uint16_t id;

	assert_int_equal(
		setsockopt(vu_conn_fd(conn), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (i = 0; i < 20; i++) {
		assert_int_equal(
			vfc_send_message(client, VU_REGION_READ, 0, &rw, sizeof(rw), NULL, 0, NULL),
			0);
		pump(NULL);
	}
	assert_int_equal(vfc_send_message(client, VU_DEVICE_GET_REGION_INFO, 0, &ask, sizeof(ask),
				 NULL, 0, &id),
		0);
	pump(NULL);
	assert_non_null(conn);
	assert_true(vu_conn_events(conn) & EPOLLOUT);
	for (;;) {
		assert_int_equal(vfc_receive(client, &reply), 0);
		replies++;
		if (reply.hdr.command == VU_DEVICE_GET_REGION_INFO)
			break;
		assert_int_equal(reply.fd, -1);
		assert_int_equal(reply.len, sizeof(rw) + VU_DATA_MAX);
	}
	assert_int_equal(replies, 21);
	assert_int_equal(reply.hdr.id, id);
	assert_true(reply.fd >= 0);
	close(reply.fd);
	assert_false(vu_conn_events(conn) & EPOLLOUT);
	expect_alive();
}

/*
 * Random messages, often almost right: nothing may crash, leak, or get out of step. A new
 * connection is made when the old one was closed.
 */
static void random_message(uint64_t *seed, int *fds)
{
	static const uint32_t interesting[] = {0, 1, 2, 3, 4, 7, 8, 16, 20, 24, 32, 4095, 4096,
		4097, 8191, 8192, 0x7fffffff, 0x80000000, 0xffffffff};
	const unsigned int count = sizeof(interesting) / sizeof(interesting[0]);
	uint32_t words[16];
	uint16_t command = (uint16_t)(next_random(seed) % (VU_COMMANDS + 1));
	uint32_t flags = next_random(seed) % 8 ? 0 : VU_FLAG_NO_REPLY;
	unsigned int nfds = next_random(seed) % 4 ? 0 : (unsigned int)(next_random(seed) % 6);
	size_t len = 4 * (next_random(seed) % 16), i;

	for (i = 0; i < 16; i++)
		words[i] = interesting[next_random(seed) % count];
	if (next_random(seed) % 2)
		words[0] = 64; /* argsz */
	if (next_random(seed) % 100 == 0)
		flags ^= 1u << (next_random(seed) % 32);
	/* The client may find the connection closed. */
	(void)vfc_send_message(client, command, flags, words, len, fds, nfds, NULL);
}

static void test_random(void **state)
{
	uint64_t seed = 0xfeedbeef;
	unsigned int closed = 0;
	int fds[6], i, before;

	for (i = 0; i < 3; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		fds[3 + i] = make_memfd(8192, RAM_SEALS);
	}
	before = count_fds(0);
	for (i = 0; i < 30000; i++) {
		struct vfc_reply reply;

		random_message(&seed, fds);
		pump(NULL);
		while (conn && recv(vfc_fd(client), &reply, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
			assert_int_equal(vfc_receive(client, &reply), 0);
			assert_int_equal(reply.hdr.flags & VU_TYPE_MASK, VU_TYPE_REPLY);
			if (reply.fd >= 0)
				close(reply.fd);
		}
		if (conn)
			continue;
		closed++;
		assert_int_equal(dead_error, -EPROTO);
		close_files(fds, 6);
		teardown(state);
		setup(state);
		close(dev.region_fd); /* the numbers of descriptors come out as before */
		for (int k = 0; k < 3; k++) {
			fds[k] = eventfd(0, EFD_CLOEXEC);
			fds[3 + k] = make_memfd(8192, RAM_SEALS);
		}
		dev.region_fd = make_memfd(8192, 0);
		assert_int_equal(count_fds(0), before);
	}
	assert_true(closed > 0);
	expect_alive();
	assert_int_equal(count_fds(0), before);
	close_files(fds, 6);
}

#define NONSENSE(i)                                                                        \
	{                                                                                  \
		"test_closed_for_nonsense_" #i, test_closed_for_nonsense, setup, teardown, \
			(void *)&nonsense[i]                                               \
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
		cmocka_unit_test_setup_teardown(test_not_served, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_multi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fds_in_a_row, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fds_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fds_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_irq_eventfds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_irq_actions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_reply, setup, teardown),
		NONSENSE(0),
		NONSENSE(1),
		NONSENSE(2),
		NONSENSE(3),
		NONSENSE(4),
		NONSENSE(5),
		NONSENSE(6),
		cmocka_unit_test_setup_teardown(test_closed_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deaf_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests_name("vu_conn", tests, NULL, NULL);
}
