/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_device.h"

#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <sys/socket.h>

struct fake_device dev;
struct vu_conn *conn;
struct vfc *client;
int dead_error;
int fds_before;

unsigned int calls(void)
{
	return dev.reads + dev.writes + dev.irq_sets + dev.irq_actions + dev.maps + dev.unmaps +
	       dev.unmap_alls + dev.resets;
}

/*
 * The device: region 0 read-write, 1 can be mapped, 2 read only, 5 can be mapped in part,
 * 7 configuration.
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
			.fd_offset = 4096,
			.fd_size = 1ull << 40};
	if (index == 2)
		*region = (struct vu_region){
			.size = 16, .flags = VFIO_REGION_INFO_FLAG_READ, .fd = -1};
	if (index == 5)
		*region = (struct vu_region){.size = 1ull << 32,
			.flags = rw | VFIO_REGION_INFO_FLAG_MMAP,
			.fd = dev.region_fd,
			.fd_size = 8192};
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
	const struct timespec takes = {.tv_nsec = 1000 * dev.reset_us};

	dev.resets++;
	if (dev.reset_us)
		nanosleep(&takes, NULL);
	return dev.error;
}

static const struct vu_ops ops = {
	.region = op_region,
	.region_read = op_read,
	.region_write = op_write,
	.light = 1u << 0,
	.irq = op_irq,
	.irq_set = op_irq_set,
	.irq_action = op_irq_action,
	.dma_map = op_dma_map,
	.dma_unmap = op_dma_unmap,
	.dma_unmap_all = op_dma_unmap_all,
	.reset = op_reset,
};

void pump(void *arg)
{
	while (conn) {
		struct epoll_event event = {.events = vu_conn_events(conn)};
		int epoll = epoll_create1(EPOLL_CLOEXEC), n;

		assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, vu_conn_fd(conn), &event), 0);
		n = epoll_wait(epoll, &event, 1, 0);
		close(epoll);
		if (n == 0)
			return;
		do
			dead_error = vu_conn_ready(conn, event.events);
		while (!dead_error && vu_conn_more(conn) == VU_CONN_NOW);
		if (dead_error) {
			vu_conn_free(conn);
			conn = NULL;
		}
	}
}

int setup_raw(void **state)
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

int setup(void **state)
{
	setup_raw(state);
	assert_int_equal(vfc_negotiate(client), 0);
	return 0;
}

int teardown(void **state)
{
	vfc_close(client);
	vu_conn_free(conn);
	conn = NULL;
	close(dev.region_fd);
	assert_int_equal(count_fds(0), fds_before);
	return 0;
}

void expect_alive(void)
{
	struct vu_device_info info;

	assert_non_null(conn);
	assert_int_equal(vfc_device_info(client, &info), 0);
	assert_int_equal(info.num_regions, VFIO_PCI_NUM_REGIONS);
}

void expect_dead(int error)
{
	pump(NULL);
	assert_null(conn);
	assert_int_equal(dead_error, error);
	assert_int_equal(vfc_wait_closed(client), 0);
}

void open_files(int *fds, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		fds[i] = make_memfd(4096, 0);
		assert_int_equal(lseek(fds[i], 10 + i, SEEK_SET), 10 + i);
	}
}

void close_files(const int *fds, int count)
{
	int i;

	for (i = 0; i < count; i++)
		close(fds[i]);
}
