/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client that breaks every rule, against a netmapd that serves others at the same time. Each
 * offence must end in an error reply or a closed connection; the traffic of the others goes on
 * without the loss of a packet; afterwards nothing of the offender is left in the process.
 */
#include "daemon_child.h"
#include "testutil.h"
#include "traffic.h"
#include "vfio_guest.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { RAM = 4 << 20, PAGE = 4096 };
enum { RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE };

static struct daemon_child d;

/* The others: two machines with a stream between them, in a thread of its own. */
static struct {
	int machine[2];
	struct vg *vg[2];
	struct vg_port *port[2];
	struct flow flow;
	pthread_t thread;
	int stop;  /* atomic */
	int error; /* of the flow; read after the thread has ended */
} others;

/* The offender. */
static int machine;
static struct nmd_vm_add_port_reply paths;
static struct vfc *client;
static struct daemon_holds before;

static void *run_others(void *arg)
{
	while (!others.error && !__atomic_load_n(&others.stop, __ATOMIC_ACQUIRE))
		others.error = flow_run(&others.flow, 200);
	return NULL;
}

static int group_setup(void **state)
{
	static const char *const names[2] = {"vale1:a", "vale1:b"};
	struct nmd_vm_add_port_reply reply;
	int i;

	daemon_start(&d);
	for (i = 0; i < 2; i++) {
		others.machine[i] = daemon_vm(&d, names[i]);
		daemon_port(others.machine[i], names[i], &reply);
		assert_int_equal(vg_new(RAM, &others.vg[i]), 0);
		assert_int_equal(vg_add_mem(others.vg[i], reply.mem_path, NULL), 0);
		assert_int_equal(vg_add_port(others.vg[i], reply.net_path, &others.port[i]), 0);
		assert_int_equal(vg_probe(others.port[i], 0), 0);
		assert_int_equal(vg_start(others.port[i], 0), 0);
	}
	flow_init(&others.flow, &others.port[0]->rings[0],
		&others.port[1]->rings[others.port[1]->tx_rings]);
	machine = daemon_vm(&d, "offender");
	daemon_port(machine, "vale2:x", &paths);
	daemon_holds(&d, &before);
	return 0;
}

static int group_teardown(void **state)
{
	int i;

	for (i = 0; i < 2; i++) {
		vg_free(others.vg[i]);
		close(others.machine[i]);
	}
	close(machine);
	daemon_stop(&d);
	return 0;
}

/* A client that comes right after another one has gone is taken. */
static void connect_anew(void)
{
	assert_int_equal(vfc_connect(paths.net_path, &client), 0);
	assert_int_equal(vfc_negotiate(client), 0);
}

static int setup(void **state)
{
	others.stop = 0;
	others.error = 0;
	assert_int_equal(pthread_create(&others.thread, NULL, run_others, NULL), 0);
	connect_anew();
	return 0;
}

static int teardown(void **state)
{
	vfc_close(client);
	/* The others have noticed nothing, and still get through. */
	__atomic_store_n(&others.stop, 1, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(others.thread, NULL), 0);
	assert_int_equal(others.error, 0);
	assert_int_equal(flow_run(&others.flow, 1000), 0);
	assert_int_equal(others.flow.received, others.flow.sent);
	assert_true(daemon_alive(&d));
	daemon_expect_holds(&d, &before);
	return 0;
}

static void expect_alive(void)
{
	uint32_t value;

	assert_int_equal(vfc_read32(client, 0, PTNET_IO_NUM_TX_RINGS, &value), 0);
	assert_true(value >= 1);
}

/* After a violation: closed, and open for the next connection. */
static void expect_closed(void)
{
	assert_int_equal(vfc_wait_closed(client), 0);
	vfc_close(client);
	connect_anew();
}

/* Payloads of every small size, full of zeros, ones, and the size itself, for every command. */
static void test_wrong_sizes(void **state)
{
	uint8_t payload[80];
	uint16_t command;
	size_t len;
	int fill;

	for (command = 0; command < VU_COMMANDS + 2; command++) {
		for (len = 0; len <= sizeof(payload); len += 1 + (len > 40)) {
			for (fill = 0; fill < 3; fill++) {
				int error;

				memset(payload, fill == 1 ? 0xff : 0, sizeof(payload));
				if (fill == 2)
					payload[0] = (uint8_t)len;
				error = vfc_call(client, command, payload, len, NULL, 0, NULL);
				assert_true(error == 0 || error == -EINVAL ||
					    error == -EOPNOTSUPP || error == -ENOTTY ||
					    error == -ENOENT || error == -EEXIST);
			}
		}
	}
	expect_alive();
}

static void test_headers(void **state)
{
	static const struct vu_hdr bad[] = {
		{.command = VU_DEVICE_RESET, .size = 0},
		{.command = VU_DEVICE_RESET, .size = 15},
		{.command = VU_VERSION, .size = VU_MSG_MAX + 1},
		{.command = VU_REGION_WRITE, .size = 0x7fffffff},
		{.command = VU_REGION_WRITE, .size = 0xffffffff},
		{.command = VU_DMA_MAP, .size = 16, .flags = VU_TYPE_REPLY},
		{.command = VU_DMA_MAP, .size = 16, .flags = 7},
	};
	size_t i;
	uint32_t bit;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(vfc_send(client, &bad[i], sizeof(bad[i]), NULL, 0), 0);
		expect_closed();
	}
	for (bit = 5; bit < 32; bit++) {
		struct vfc_reply reply;

		assert_int_equal(vfc_send_message(client, VU_DEVICE_RESET, 1u << bit, NULL, 0, NULL,
					 0, NULL),
			0);
		assert_int_equal(vfc_receive(client, &reply), 0);
		assert_int_equal(reply.hdr.error, EINVAL);
	}
	expect_alive();
}

static void test_out_of_order(void **state)
{
	struct vfc *fresh;
	uint32_t value;

	assert_int_equal(vfc_negotiate(client), -EINVAL); /* again */
	expect_alive();
	vfc_close(client);
	assert_int_equal(vfc_connect(paths.net_path, &client), 0);
	assert_int_equal(vfc_read32(client, 0, 0, &value), -EINVAL);
	assert_int_equal(vfc_dma_map(client, 0, PAGE, RW, -1, 0), -EINVAL);
	assert_int_equal(vfc_negotiate_with(client, 7, 0, NULL), -EPROTONOSUPPORT);
	assert_int_equal(vfc_wait_closed(client), 0);
	vfc_close(client);
	/* Connects, says nothing, and is gone; then one that stops in the middle of a header. */
	assert_int_equal(vfc_connect(paths.net_path, &fresh), 0);
	vfc_close(fresh);
	assert_int_equal(vfc_connect(paths.net_path, &fresh), 0);
	assert_int_equal(vfc_send(fresh, "abc", 3, NULL, 0), 0);
	vfc_close(fresh);
	connect_anew();
}

static void test_descriptors(void **state)
{
	struct vu_dma_map map = {.argsz = sizeof(map), .flags = RW, .size = PAGE};
	struct vu_irq_set set = {.argsz = sizeof(set),
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.count = 1,
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER};
	struct vu_region_rw rw = {.count = 4};
	int fds[200], i;

	for (i = 0; i < 200; i++)
		fds[i] = make_memfd(PAGE, RAM_SEALS);
	/* Too many, or where none belongs. */
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), fds, 2, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), fds, 200, NULL), -EINVAL);
	assert_int_equal(
		vfc_call(client, VU_REGION_READ, &rw, sizeof(rw), fds, 200, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, VU_DEVICE_RESET, NULL, 0, fds, 1, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, 12345, NULL, 0, fds, 16, NULL), -EOPNOTSUPP);
	/* Not as many as announced, not of the kind that is wanted. */
	assert_int_equal(
		vfc_call(client, VU_DEVICE_SET_IRQS, &set, sizeof(set), fds, 1, NULL), -EINVAL);
	assert_int_equal(
		vfc_call(client, VU_DEVICE_SET_IRQS, &set, sizeof(set), fds, 2, NULL), -EINVAL);
	for (i = 0; i < 200; i++)
		close(fds[i]);
	/* With half a message, which never ends. */
	fds[0] = make_memfd(PAGE, RAM_SEALS);
	for (i = 0; i < 16; i++)
		assert_int_equal(
			vfc_send(client, &"\1\1\2\0\60\0\0\0\0\0\0\0\0\0\0\0"[i], 1, fds, 1), 0);
	close(fds[0]);
}

static void test_regions(void **state)
{
	static const uint64_t offsets[] = {
		1ull << 63, UINT64_MAX, UINT64_MAX - 3, 1ull << 32, 4097};
	uint8_t data[VU_DATA_MAX] = {0};
	uint32_t region;
	size_t i;

	for (region = 0; region < 12; region++) {
		for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
			assert_int_equal(vfc_read(client, region, offsets[i], data, 4), -EINVAL);
			assert_int_equal(vfc_write(client, region, offsets[i], data, 4), -EINVAL);
			assert_int_equal(vfc_post(client, region, offsets[i], data, 4), 0);
		}
	}
	assert_int_equal(vfc_read(client, UINT32_MAX, 0, data, 4), -EINVAL);
	assert_int_equal(vfc_write(client, 0x80000000, 0, data, 4), -EINVAL);
	/* All of a region at once, in any direction. */
	assert_int_equal(vfc_read(client, 4, 0, data, 4096), 0);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(vfc_write(client, 7, 0, data, 256), 0);
	assert_int_equal(vfc_write(client, 4, 0, data, 4096), 0);
	assert_int_equal(vfc_write(client, 2, 0, data, 4096), 0);
	assert_int_equal(vfc_write(client, 0, 0, data, 256), 0);
	expect_alive();
}

/* Every register, every value that might matter, in a random order: a driver gone mad. */
static void test_registers(void **state)
{
	static const uint32_t values[] = {
		0, 1, 2, 3, 12, 64, 4096, 0x100000, 0x101000, 0xfffff000, 0xffffffff};
	uint64_t seed = 99;
	struct vg *vg;
	struct vg_port *port;
	int i;

	vfc_close(client);
	assert_int_equal(vg_new(RAM, &vg), 0);
	assert_int_equal(vg_add_mem(vg, paths.mem_path, NULL), 0);
	assert_int_equal(vg_add_port(vg, paths.net_path, &port), 0);
	assert_int_equal(vg_probe(port, 0), 0);
	for (i = 0; i < 20000; i++) {
		const uint32_t bar = next_random(&seed) % 4 ? 0 : PTNET_DOORBELL_BAR;
		const uint32_t offset = 4 * (uint32_t)(next_random(&seed) % 64);
		const uint32_t value = values[next_random(&seed) % (sizeof(values) / 4)];

		assert_int_equal(vfc_post32(port->client, bar, offset, value), 0);
		if (i % 100 == 0) {
			assert_int_equal(vfc_write32(port->client, bar, offset, value), 0);
			/* What a guest can do to its CSB at the same time. */
			((uint32_t *)port->atok)[next_random(&seed) % 64] =
				(uint32_t)next_random(&seed);
			((uint32_t *)port->ktoa)[next_random(&seed) % 64] =
				(uint32_t)next_random(&seed);
		}
		if (i % 500 == 0) {
			assert_int_equal(vg_write_csb(port, port->gh, port->hg), 0);
			assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), 0);
		}
	}
	/* After a reset it is as good as new. */
	assert_int_equal(vfc_reset(port->client), 0);
	assert_int_equal(vg_probe(port, 0), 0);
	assert_int_equal(vg_start(port, 0), 0);
	vg_free(vg);
	connect_anew();
}

static void test_dma_maps(void **state)
{
	const uint64_t top = UINT64_MAX - PAGE + 1;
	int ram = make_memfd(16 * PAGE, RAM_SEALS), loose = make_memfd(16 * PAGE, 0);
	int event = eventfd(0, EFD_CLOEXEC), null = open("/dev/zero", O_RDWR | O_CLOEXEC);
	uint64_t i;

	/* Zero, unaligned, wrapped. */
	assert_int_equal(vfc_dma_map(client, 0, 0, RW, ram, 0), -EINVAL);
	assert_int_equal(vfc_dma_map(client, 1, PAGE, RW, ram, 0), -EINVAL);
	assert_int_equal(vfc_dma_map(client, 0, 1, RW, ram, 0), -EINVAL);
	assert_int_equal(vfc_dma_map(client, top, 2 * PAGE, RW, ram, 0), -EINVAL);
	assert_int_equal(vfc_dma_map(client, PAGE, top + PAGE - 1, RW, ram, 0), -EINVAL);
	assert_int_equal(vfc_dma_map(client, 0, 2 * PAGE, RW, ram, top), -EINVAL);
	assert_int_equal(vfc_dma_map(client, 0, PAGE, 0, ram, 0), -EINVAL);
	assert_int_equal(vfc_dma_map(client, 0, PAGE, 0x80000001, ram, 0), -EINVAL);
	assert_int_equal(vfc_dma_map(client, 0, PAGE, RW, -1, PAGE), -EINVAL);
	/* Overlaps. */
	assert_int_equal(vfc_dma_map(client, 4 * PAGE, 4 * PAGE, RW, ram, 0), 0);
	assert_int_equal(vfc_dma_map(client, 4 * PAGE, 4 * PAGE, RW, ram, 0), -EEXIST);
	assert_int_equal(vfc_dma_map(client, 5 * PAGE, PAGE, RW, ram, 0), -EEXIST);
	assert_int_equal(vfc_dma_map(client, 3 * PAGE, 2 * PAGE, RW, ram, 0), -EEXIST);
	assert_int_equal(vfc_dma_map(client, 7 * PAGE, 2 * PAGE, RW, ram, 0), -EEXIST);
	assert_int_equal(vfc_dma_map(client, 0, top, RW, ram, 0), -EEXIST);
	assert_int_equal(vfc_dma_map(client, 0, 4 * PAGE, RW, ram, 0), 0);
	/* Unmapped: only as it was mapped. */
	assert_int_equal(vfc_dma_unmap(client, 0, 8 * PAGE), -ENOENT);
	assert_int_equal(vfc_dma_unmap(client, 0, 3 * PAGE), -ENOENT);
	assert_int_equal(vfc_dma_unmap(client, PAGE, PAGE), -ENOENT);
	assert_int_equal(vfc_dma_unmap(client, top, UINT64_MAX), -ENOENT);
	assert_int_equal(vfc_dma_unmap(client, 0, 0), -ENOENT);
	assert_int_equal(vfc_dma_unmap(client, 0, 4 * PAGE), 0);
	assert_int_equal(vfc_dma_unmap(client, 0, 4 * PAGE), -ENOENT);
	assert_int_equal(vfc_dma_unmap_all(client), 0);

	/* Files that could take the process down: remembered, never touched. */
	assert_int_equal(vfc_dma_map(client, 0, 16 * PAGE, RW, loose, 0), 0);
	assert_int_equal(vfc_dma_map(client, 1 << 20, 32 * PAGE, RW, ram, 0), 0);
	assert_int_equal(vfc_dma_map(client, 2 << 20, PAGE, RW, event, 0), 0);
	assert_int_equal(vfc_dma_map(client, 3 << 20, PAGE, RW, null, 0), 0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(
			vfc_write32(client, 0, PTNET_IO_CSB_GH_BAL, (uint32_t)(i << 20)), 0);
		assert_int_equal(
			vfc_write32(client, 0, PTNET_IO_CSB_HG_BAL, (uint32_t)(i << 20) + 1024), 0);
		assert_int_equal(vfc_write32(client, 0, PTNET_IO_PTCTL, PTNETMAP_PTCTL_CREATE), 0);
		uint32_t result;

		assert_int_equal(vfc_read32(client, 0, PTNET_IO_PTCTL, &result), 0);
		assert_int_equal(result, i ? EFAULT : ENXIO);
	}
	assert_int_equal(ftruncate(loose, 0), 0);
	/* As many as there may be, and one more. */
	assert_int_equal(vfc_dma_unmap_all(client), 0);
	for (i = 0; i < VU_DMA_MAPS_MAX; i++)
		assert_int_equal(vfc_dma_map(client, 2 * i * PAGE, PAGE, RW, ram, 0), 0);
	assert_int_equal(vfc_dma_map(client, top, PAGE, RW, ram, 0), -ENOSPC);
	close(ram);
	close(loose);
	close(event);
	close(null);
	expect_alive();
}

/* Guest memory is served while its file is of a kind that can't shrink, whatever is tried. */
static void test_shrink(void **state)
{
	int ram = make_memfd(16 * PAGE, RAM_SEALS);
	uint32_t result;

	assert_int_equal(vfc_dma_map(client, 0, 16 * PAGE, RW, ram, 0), 0);
	assert_int_equal(vfc_write32(client, 0, PTNET_IO_CSB_GH_BAL, 8 * PAGE), 0);
	assert_int_equal(vfc_write32(client, 0, PTNET_IO_CSB_HG_BAL, 9 * PAGE), 0);
	assert_int_equal(vfc_write32(client, 0, PTNET_IO_PTCTL, PTNETMAP_PTCTL_CREATE), 0);
	assert_int_equal(vfc_read32(client, 0, PTNET_IO_PTCTL, &result), 0);
	assert_int_equal(result, 0);
	assert_int_equal(ftruncate(ram, PAGE), -1);
	/* A hole is memory full of zeros. */
	assert_int_equal(
		fallocate(ram, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 16 * PAGE), 0);
	assert_int_equal(vfc_write32(client, 0, PTNET_IO_KICK_BASE, 0), 0);
	close(ram);
	expect_alive();
}

static void test_irqs(void **state)
{
	static const uint32_t numbers[] = {
		0, 1, 2, 16, 31, 32, 33, 64, 0x7fffffff, 0x80000000, 0xffffffff};
	enum { N = sizeof(numbers) / sizeof(numbers[0]) };
	struct vu_irq_info_msg irq;
	uint32_t index, flags;
	int start, count;

	for (index = 0; index < VFIO_PCI_NUM_IRQS + 2; index++) {
		const bool known = vfc_irq_info(client, index, &irq) == 0;

		assert_int_equal(known, index < VFIO_PCI_NUM_IRQS);
		for (flags = 0; flags < 64; flags++) {
			for (start = 0; start < N; start++) {
				for (count = 0; count < N; count += 1 + (flags & 1)) {
					uint64_t end = (uint64_t)numbers[start] + numbers[count];
					int error = vfc_irq_set(client, index, flags,
						numbers[start], numbers[count], NULL);

					assert_true(error == 0 || error == -EINVAL ||
						    error == -EOPNOTSUPP);
					if (error == 0)
						assert_true(known && end <= irq.count);
				}
			}
		}
	}
	expect_alive();
}

/* Absurd counts of posted writes; and writes that are commands. */
static void test_write_multi(void **state)
{
	static const uint64_t counts[] = {
		0, 1, 3, 200, 1ull << 32, 1ull << 61, UINT64_MAX / 24 + 3, UINT64_MAX};
	struct {
		struct vu_write_multi multi;
		struct vu_write_one one[2];
	} wire;
	size_t i;

	memset(&wire, 0, sizeof(wire));
	for (i = 0; i < 2; i++)
		wire.one[i].rw = (struct vu_region_rw){
			.offset = PTNET_IO_KICK_BASE, .region = PTNET_DOORBELL_BAR, .count = 4};
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		wire.multi.count = counts[i];
		assert_int_equal(
			vfc_call(client, VU_REGION_WRITE_MULTI, &wire, sizeof(wire), NULL, 0, NULL),
			-EINVAL);
	}
	wire.multi.count = 2;
	assert_int_equal(
		vfc_call(client, VU_REGION_WRITE_MULTI, &wire, sizeof(wire), NULL, 0, NULL), 0);
	wire.one[1].rw.region = PTNETMAP_IO_PCI_BAR;
	assert_int_equal(
		vfc_call(client, VU_REGION_WRITE_MULTI, &wire, sizeof(wire), NULL, 0, NULL),
		-EINVAL);
	expect_alive();
}

/* Asks and asks, and never listens: it is let go, and nobody waits for it. */
static void test_deaf(void **state)
{
	const struct vu_region_rw rw = {.region = PTNET_DOORBELL_BAR, .count = 4096};
	int error = 0, i;

	for (i = 0; !error && i < 100000; i++)
		error = vfc_send_message(client, VU_REGION_READ, 0, &rw, sizeof(rw), NULL, 0, NULL);
	assert_int_equal(error, -ECONNRESET);
	expect_closed();
}

/* Connections without end, some of which say something. */
static void test_reconnect(void **state)
{
	int i;

	vfc_close(client);
	for (i = 0; i < 300; i++) {
		assert_int_equal(vfc_connect(paths.net_path, &client), 0);
		if (i % 3 == 0)
			(void)vfc_send_message(client, VU_VERSION, 0, "\0\0\0\0", 4, NULL, 0, NULL);
		if (i % 5 == 0)
			(void)vfc_send(client, "\1\2\3", 3, NULL, 0);
		vfc_close(client);
	}
	connect_anew();
}

/* Random messages, as many as fit into two seconds. */
static void test_random(void **state)
{
	static const uint32_t some[] = {0, 1, 2, 3, 4, 7, 8, 9, 16, 20, 24, 32, 56, 60, 64, 128,
		132, 4096, 8192, 0x100000, 0x80000000, 0xfffff000, 0xffffffff};
	uint64_t seed = 0xabcdef;
	int fds[4] = {eventfd(0, EFD_CLOEXEC), make_memfd(1 << 20, RAM_SEALS), make_memfd(PAGE, 0),
		eventfd(0, EFD_CLOEXEC)};
	struct timespec start, now;
	int i, closed = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		for (i = 0; i < 100; i++) {
			uint32_t words[12];
			const uint16_t command = (uint16_t)(next_random(&seed) % (VU_COMMANDS + 1));
			const uint32_t flags =
				next_random(&seed) % 500 ? 0 : 1u << (next_random(&seed) % 32);
			const size_t len = 4 * (next_random(&seed) % 13);
			const unsigned int nfds = (unsigned int)(next_random(&seed) % 3);
			unsigned int k;

			for (k = 0; k < 12; k++)
				words[k] = some[next_random(&seed) % (sizeof(some) / 4)];
			if (next_random(&seed) % 2)
				words[0] = 64;
			/* It may have been closed by the one before. */
			if (vfc_send_message(client, command, flags, words, len,
				    fds + next_random(&seed) % 2, nfds, NULL)) {
				expect_closed();
				closed++;
			}
		}
		/* In step, or closed. */
		i = vfc_send_message(client, VU_DEVICE_RESET, 0, NULL, 0, NULL, 0, NULL);
		while (!i) {
			struct vfc_reply reply;

			i = vfc_receive(client, &reply);
			if (!i && reply.fd >= 0)
				close(reply.fd);
			if (!i && reply.hdr.command == VU_DEVICE_RESET &&
				reply.hdr.flags == VU_TYPE_REPLY &&
				recv(vfc_fd(client), &reply, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
				break;
		}
		assert_true(i == 0 || i == -ECONNRESET);
		if (i) {
			expect_closed();
			closed++;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < 2);
	assert_true(closed > 0);
	for (i = 0; i < 4; i++)
		close(fds[i]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_wrong_sizes),
		TEST(test_headers),
		TEST(test_out_of_order),
		TEST(test_descriptors),
		TEST(test_regions),
		TEST(test_registers),
		TEST(test_dma_maps),
		TEST(test_shrink),
		TEST(test_irqs),
		TEST(test_write_multi),
		TEST(test_deaf),
		TEST(test_reconnect),
		TEST(test_random),
	};

	return cmocka_run_group_tests_name("vfio abuse", tests, group_setup, group_teardown);
}
