/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ptnet network function behind a real connection, with a fake service: registers, the order of
 * CREATE and DELETE, CSB memory that comes and goes, reset, the end of the connection.
 */
#include "fake_port_service.h"
#include "offload.h"
#include "ptnet_net.h"
#include "testutil.h"
#include "vfio_client.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <linux/pci_regs.h>
#include <net/netmap_virt.h>

enum { PAGE = 4096, RAM_SIZE = 1 << 20, TX = 2, RX = 3, RINGS = TX + RX };
enum { GH = 0x10000, HG = 0x20000 }; /* CSB arrays, guest-physical */
enum { RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE };
enum { MSIX = VFIO_PCI_MSIX_IRQ_INDEX };

static struct loop *loop;
static struct port_service service;
static struct ptnet_net *net;
static struct vfc *client;
static int ram_fd;
static char *ram;
static int fds_before;

static void pump(void *arg)
{
	while (loop_run_once(loop, 0) > 0)
		;
}

static struct vfc *connect_to(struct vu_server *server)
{
	struct vfc *c;
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	assert_int_equal(vu_server_adopt(server, ends[0]), 0);
	assert_int_equal(vfc_from_fd(ends[1], &c), 0);
	vfc_set_idle(c, pump, NULL);
	assert_int_equal(vfc_negotiate(c), 0);
	return c;
}

static int setup(void **state)
{
	struct ptnet_net_config config = {.name = "net",
		.mac = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee},
		.offered =
			PTNETMAP_F_VNET_HDR | PTNETMAP_F_RSS | PTNETMAP_F_USO | PTNETMAP_F_BIG_TCP};

	fds_before = count_fds(0);
	assert_int_equal(loop_new(&loop), 0);
	fake_port_service_init(&service, TX, RX);
	ram_fd = make_memfd(RAM_SIZE, RAM_SEALS);
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	assert_true(ram != MAP_FAILED);

	assert_int_equal(ptnet_net_new(loop, NULL, &config, &service, &net), 0);
	client = connect_to(ptnet_net_server(net));
	return 0;
}

static int teardown(void **state)
{
	vfc_close(client);
	ptnet_net_free(net);
	loop_free(loop);
	munmap(ram, RAM_SIZE);
	close(ram_fd);
	assert_int_equal(count_fds(0), fds_before);
	return 0;
}

static uint32_t get(uint32_t reg)
{
	uint32_t value;

	assert_int_equal(vfc_read32(client, 0, reg, &value), 0);
	return value;
}

static void set(uint32_t reg, uint32_t value)
{
	assert_int_equal(vfc_write32(client, 0, reg, value), 0);
}

static void set_csb(uint64_t gh, uint64_t hg)
{
	set(PTNET_IO_CSB_GH_BAH, (uint32_t)(gh >> 32));
	set(PTNET_IO_CSB_GH_BAL, (uint32_t)gh);
	set(PTNET_IO_CSB_HG_BAH, (uint32_t)(hg >> 32));
	set(PTNET_IO_CSB_HG_BAL, (uint32_t)hg);
}

/* The result of a command. */
static int ptctl(uint32_t command)
{
	set(PTNET_IO_PTCTL, command);
	return (int)get(PTNET_IO_PTCTL);
}

static void map_ram(void)
{
	assert_int_equal(vfc_dma_map(client, 0, RAM_SIZE, RW, ram_fd, 0), 0);
}

static void create(void)
{
	map_ram();
	set_csb(GH, HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
	assert_int_equal(service.state, PORT_RUNNING);
}

static struct ptnet_net_stats stats(void)
{
	struct ptnet_net_stats s;

	ptnet_net_stats(net, &s);
	return s;
}

/*
 * What a driver finds
 */

static void test_registers(void **state)
{
	assert_int_equal(get(PTNET_IO_MAC_HI), 0x02aa);
	assert_int_equal(get(PTNET_IO_MAC_LO), 0xbbccddee);
	assert_int_equal(get(PTNET_IO_NIFP_OFS), 0x1240);
	assert_int_equal(get(PTNET_IO_NUM_TX_RINGS), TX);
	assert_int_equal(get(PTNET_IO_NUM_RX_RINGS), RX);
	assert_int_equal(get(PTNET_IO_NUM_TX_SLOTS), 1024);
	assert_int_equal(get(PTNET_IO_NUM_RX_SLOTS), 512);
	assert_int_equal(get(PTNET_IO_HOSTMEMID), 77);
	assert_int_equal(get(PTNET_IO_PTCTL), 0);
	assert_int_equal(get(16), 0);
	assert_int_equal(get(100), 0);
	assert_int_equal(get(PTNET_IO_KICK_BASE), 0);
	assert_int_equal(get(PTNET_IO_BAR_SIZE - 4), 0);
	/* What is to be read only is. */
	set(PTNET_IO_MAC_HI, 0);
	set(PTNET_IO_NIFP_OFS, 0);
	set(PTNET_IO_HOSTMEMID, 0);
	set(100, 1);
	assert_int_equal(get(PTNET_IO_MAC_HI), 0x02aa);
	assert_int_equal(get(PTNET_IO_NIFP_OFS), 0x1240);
	assert_int_equal(get(PTNET_IO_HOSTMEMID), 77);
	assert_int_equal(stats().ignored_writes, 4);
}

static void test_widths(void **state)
{
	uint8_t data[8];

	assert_int_equal(vfc_read(client, 0, PTNET_IO_MAC_LO + 1, data, 1), 0);
	assert_int_equal(data[0], 0xdd);
	assert_int_equal(vfc_read(client, 0, PTNET_IO_MAC_LO + 2, data, 2), 0);
	assert_memory_equal(data, "\xcc\xbb", 2);
	assert_int_equal(vfc_read(client, 0, PTNET_IO_MAC_LO, data, 8), 0);
	assert_memory_equal(data, "\xee\xdd\xcc\xbb\xaa\x02\0\0", 8);
	assert_int_equal(vfc_read(client, 0, PTNET_IO_MAC_LO + 3, data, 3), 0);
	assert_memory_equal(data, "\xbb\xaa\x02", 3);

	/* Writes of other widths do nothing. */
	memset(data, 1, sizeof(data));
	map_ram();
	set_csb(GH, HG);
	assert_int_equal(vfc_write(client, 0, PTNET_IO_PTCTL, data, 1), 0);
	assert_int_equal(vfc_write(client, 0, PTNET_IO_PTCTL, data, 2), 0);
	assert_int_equal(vfc_write(client, 0, PTNET_IO_PTCTL - 2, data, 4), 0);
	assert_int_equal(vfc_write(client, 0, PTNET_IO_PTFEAT, data, 8), 0);
	assert_int_equal(vfc_write(client, 0, 0, data, 3), 0);
	assert_int_equal(service.starts, 0);
	assert_int_equal(get(PTNET_IO_PTFEAT), 0);
	assert_int_equal(stats().ignored_writes, 5);
	assert_int_equal(vfc_read(client, 0, PTNET_IO_BAR_SIZE - 4, data, 8), -EINVAL);
}

static void test_features(void **state)
{
	set(PTNET_IO_PTFEAT, 0xffffffff);
	assert_int_equal(get(PTNET_IO_PTFEAT),
		PTNETMAP_F_VNET_HDR | PTNETMAP_F_RSS | PTNETMAP_F_USO | PTNETMAP_F_BIG_TCP);
	set(PTNET_IO_VNET_HDR_LEN, 12);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), 12);
	set(PTNET_IO_VNET_HDR_LEN, 11);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), 12);
	set(PTNET_IO_VNET_HDR_LEN, 0);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), 0);
	/* Without the feature the length stays. */
	set(PTNET_IO_PTFEAT, 0);
	assert_int_equal(get(PTNET_IO_PTFEAT), 0);
	set(PTNET_IO_VNET_HDR_LEN, 12);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), 0);
	/* While the rings are served it stays as well. */
	set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR);
	set(PTNET_IO_VNET_HDR_LEN, 10);
	create();
	set(PTNET_IO_VNET_HDR_LEN, 12);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), 10);
}

static void test_config_space(void **state)
{
	uint32_t id, class, bar[6];
	struct vu_irq_info_msg irq;
	uint8_t cap, config[256];
	struct vu_region_info_msg info;
	int fd, i;

	assert_int_equal(vfc_read32(client, 7, PCI_VENDOR_ID, &id), 0);
	assert_int_equal(id, 0x000d1b36);
	assert_int_equal(vfc_read32(client, 7, PCI_CLASS_REVISION, &class), 0);
	assert_int_equal(class >> 16, 0x0200);
	assert_int_equal(vfc_read32(client, 7, PCI_SUBSYSTEM_VENDOR_ID, &id), 0);
	assert_int_equal(id, 0x70741b36);
	assert_int_equal(vfc_read(client, 7, PCI_BASE_ADDRESS_0, bar, sizeof(bar)), 0);
	assert_int_equal(bar[0], PCI_BASE_ADDRESS_SPACE_IO);
	for (i = 1; i < 6; i++)
		assert_int_equal(bar[i], 0);
	assert_int_equal(vfc_read(client, 7, PCI_CAPABILITY_LIST, &cap, 1), 0);
	assert_int_equal(vfc_read(client, 7, 0, config, 256), 0);
	assert_int_equal(config[cap], PCI_CAP_ID_MSIX);
	assert_int_equal(config[cap + PCI_MSIX_FLAGS], RINGS - 1);
	assert_int_equal(config[cap + PCI_MSIX_TABLE] & PCI_MSIX_TABLE_BIR, 2);
	assert_int_equal(vfc_irq_info(client, MSIX, &irq), 0);
	assert_int_equal(irq.count, RINGS);

	for (i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		static const uint64_t size[VFIO_PCI_NUM_REGIONS] = {
			256, 0, 4096, 0, 4096, 0, 0, 256, 0};

		assert_int_equal(vfc_region_info(client, (uint32_t)i, &info, &fd), 0);
		assert_int_equal(info.size, size[i]);
		assert_false(info.flags & VFIO_REGION_INFO_FLAG_MMAP);
		assert_int_equal(fd, -1);
	}
	assert_int_equal(vfc_read(client, 7, 255, config, 2), -EINVAL);
}

/*
 * CREATE and DELETE
 */

static void test_create(void **state)
{
	struct nm_csb_atok *atok = (struct nm_csb_atok *)(ram + GH);
	struct nm_csb_ktoa *ktoa = (struct nm_csb_ktoa *)(ram + HG);
	int i;

	create();
	for (i = 0; i < RINGS; i++) {
		assert_int_equal(atok[i].head, 5);
		assert_int_equal(atok[i].cur, 6);
		assert_int_equal(ktoa[i].hwcur, FAKE_HWCUR);
		assert_int_equal(ktoa[i].hwtail, FAKE_HWTAIL);
	}
	assert_int_equal(atok[RINGS].head, 0);
	assert_int_equal(ktoa[RINGS].hwcur, 0);
	/* Twice: refused, and nothing happens to the first. */
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EBUSY);
	assert_int_equal(service.state, PORT_RUNNING);
	assert_int_equal(service.starts, 1);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_DELETE), 0);
	assert_int_equal(service.state, PORT_STOPPED);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_DELETE), 0);
	assert_int_equal(service.stops, 1);
	/* Addresses are kept. */
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
	assert_int_equal(service.starts, 2);
	for (uint32_t unknown = 3; unknown < 10; unknown++)
		assert_int_equal(ptctl(unknown), EINVAL);
	assert_int_equal(ptctl(0), EINVAL);
	assert_int_equal(service.state, PORT_RUNNING);
}

static void test_create_errors(void **state)
{
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), ENXIO);
	set_csb(GH, 0);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), ENXIO);
	set_csb(0, HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), ENXIO);
	set_csb(GH, HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EFAULT); /* no RAM */
	map_ram();
	set_csb(GH + 32, HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EINVAL);
	set_csb(GH, GH + 64);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EINVAL); /* overlap */
	set_csb(GH, RAM_SIZE - 64 * (RINGS - 1));
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EFAULT); /* over the end */
	set_csb(UINT64_MAX - 63, HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EFAULT); /* around the end */
	set_csb(GH, 1ull << 32 | HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EFAULT);
	service.start_error = -ENOSPC;
	set_csb(GH, HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), ENOSPC);
	service.start_error = 0;
	assert_int_equal(service.starts, 0);
	assert_int_equal(stats().failed_creates, 10);
	/* To the last entry. */
	set_csb(GH, RAM_SIZE - 64 * RINGS);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
}

static void test_create_memory_kinds(void **state)
{
	int loose = make_memfd(RAM_SIZE, 0);

	set_csb(GH, HG);
	assert_int_equal(vfc_dma_map(client, 0, RAM_SIZE, VFIO_DMA_MAP_FLAG_READ, ram_fd, 0), 0);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EFAULT);
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	assert_int_equal(vfc_dma_map(client, 0, RAM_SIZE, RW, -1, 0), 0);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EFAULT);
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	assert_int_equal(vfc_dma_map(client, 0, RAM_SIZE, RW, loose, 0), 0);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EFAULT);
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	assert_int_equal(vfc_dma_map(client, 0, RAM_SIZE, RW, ram_fd, RAM_SIZE), 0);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EFAULT);
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	map_ram();
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
	close(loose);
}

static void test_csb_write_stops(void **state)
{
	static const uint32_t regs[] = {
		PTNET_IO_CSB_GH_BAH, PTNET_IO_CSB_GH_BAL, PTNET_IO_CSB_HG_BAH, PTNET_IO_CSB_HG_BAL};
	size_t i;

	create();
	for (i = 0; i < 4; i++) {
		set(regs[i], 0);
		assert_int_equal(service.state, PORT_STOPPED);
		assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), i % 2 ? ENXIO : 0);
		set_csb(GH, HG);
		assert_int_equal(service.state, PORT_STOPPED);
		assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
	}
	/* Stopped means: the memory may go, nobody holds it. */
	set(PTNET_IO_CSB_GH_BAH, 0);
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	assert_int_equal(service.suspends, 0);
}

/* The order in which existing drivers end. */
static void test_driver_end(void **state)
{
	create();
	assert_int_equal(ptctl(PTNETMAP_PTCTL_DELETE), 0);
	set_csb(0, 0);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), ENXIO);
	set_csb(GH, HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
}

/*
 * Kicks
 */

static void test_kicks(void **state)
{
	uint32_t i, value;

	/* Stopped: nobody to kick. */
	set(PTNET_IO_KICK_BASE, 0);
	assert_int_equal(vfc_post32(client, PTNET_DOORBELL_BAR, PTNET_IO_KICK_BASE, 0), 0);
	assert_int_equal(get(PTNET_IO_PTCTL), 0);
	assert_int_equal(service.kicks[0], 0);

	create();
	for (i = 0; i < RINGS; i++)
		set(PTNET_IO_KICK_BASE + 4 * i, 0xabcd);
	for (i = 0; i < RINGS; i++)
		assert_int_equal(
			vfc_post32(client, PTNET_DOORBELL_BAR, PTNET_IO_KICK_BASE + 4 * i, 1), 0);
	assert_int_equal(get(PTNET_IO_PTCTL), 0); /* behind the posted ones */
	for (i = 0; i < RINGS; i++)
		assert_int_equal(service.kicks[i], 2);
	/* Rings that are not there, registers that are no kicks. */
	set(PTNET_IO_KICK_BASE + 4 * RINGS, 1);
	set(PTNET_IO_BAR_SIZE - 4, 1);
	assert_int_equal(vfc_write32(client, PTNET_DOORBELL_BAR, 4092, 1), 0);
	assert_int_equal(vfc_write32(client, PTNET_DOORBELL_BAR, 4, 1), 0);
	assert_int_equal(vfc_write(client, PTNET_DOORBELL_BAR, 128, &i, 2), 0);
	assert_int_equal(vfc_read32(client, PTNET_DOORBELL_BAR, 128, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(service.state, PORT_RUNNING);
	assert_int_equal(stats().kicks, 2 * RINGS);
	assert_int_equal(stats().ignored_writes, 2 + 5);
}

/*
 * Interrupts
 */

static bool signalled(int fd)
{
	uint64_t value;

	return read(fd, &value, sizeof(value)) == sizeof(value);
}

static void test_interrupts(void **state)
{
	int fds[RINGS], i;

	for (i = 0; i < RINGS; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(vfc_irq_eventfds(client, MSIX, 0, RINGS, fds), 0);
	for (i = 0; i < RINGS; i++) {
		assert_false(signalled(fds[i]));
		assert_true(fake_port_service_interrupt(&service, (uint32_t)i));
		assert_true(signalled(fds[i]));
	}
	/* By hand. */
	assert_int_equal(
		vfc_irq_set(client, MSIX, VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER, 1,
			3, (const uint8_t *)"\1\0\1"),
		0);
	for (i = 0; i < RINGS; i++)
		assert_int_equal(signalled(fds[i]), i == 1 || i == 3);
	/* Some taken away. */
	assert_int_equal(vfc_irq_eventfds(client, MSIX, 1, 2, NULL), 0);
	for (i = 0; i < RINGS; i++)
		assert_int_equal(
			fake_port_service_interrupt(&service, (uint32_t)i), i != 1 && i != 2);
	assert_int_equal(vfc_irq_set(client, MSIX,
				 VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, NULL),
		0);
	for (i = 0; i < RINGS; i++)
		assert_false(fake_port_service_interrupt(&service, (uint32_t)i));
	/* A reset keeps them: they are the hypervisor's. The end of the connection does not. */
	assert_int_equal(vfc_irq_eventfds(client, MSIX, 2, 1, fds), 0);
	assert_int_equal(vfc_reset(client), 0);
	assert_true(service.irq[2] >= 0);
	vfc_close(client);
	pump(NULL);
	assert_true(service.irq[2] < 0);
	client = connect_to(ptnet_net_server(net));
	for (i = 0; i < RINGS; i++)
		close(fds[i]);
}

static void test_masks(void **state)
{
	const uint32_t mask = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK;
	const uint32_t unmask = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(vfc_irq_eventfds(client, MSIX, 1, 1, &fd), 0);
	assert_int_equal(vfc_irq_set(client, MSIX, mask, 1, 1, NULL), 0);
	assert_false(fake_port_service_interrupt(&service, 1));
	/* What came meanwhile is delivered, as one. */
	assert_int_equal(vfc_irq_set(client, MSIX, unmask, 1, 1, NULL), 0);
	assert_true(signalled(fd));
	assert_true(fake_port_service_interrupt(&service, 1));
	assert_true(signalled(fd));
	assert_int_equal(vfc_irq_set(client, MSIX, unmask, 1, 1, NULL), 0);
	assert_false(signalled(fd));
	/* A reset unmasks. */
	assert_int_equal(vfc_irq_set(client, MSIX, mask, 0, RINGS, NULL), 0);
	assert_int_equal(vfc_reset(client), 0);
	assert_true(fake_port_service_interrupt(&service, 1));
	close(fd);
}

/* An eventfd that comes while rings are served is signalled: an interrupt may be due. */
static void test_late_interrupt(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	create();
	assert_int_equal(vfc_irq_eventfds(client, MSIX, 4, 1, &fd), 0);
	assert_true(signalled(fd));
	close(fd);
}

/* A driver that knows nothing of headers comes after one that did. */
static void test_features_withdrawn(void **state)
{
	set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR);
	set(PTNET_IO_VNET_HDR_LEN, 12);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), 12);
	set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), 12);
	set(PTNET_IO_PTFEAT, 0);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), 0);
	/* Not while the rings are served. */
	set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR);
	set(PTNET_IO_VNET_HDR_LEN, 10);
	create();
	set(PTNET_IO_PTFEAT, 0);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), 10);
}

static uint32_t rss_word(uint32_t index)
{
	set(PTNET_IO_RSS_INDEX, index);
	return get(PTNET_IO_RSS_DATA);
}

static void set_rss_word(uint32_t index, uint32_t value)
{
	set(PTNET_IO_RSS_INDEX, index);
	set(PTNET_IO_RSS_DATA, value);
}

static void test_rss(void **state)
{
	set(PTNET_IO_PTFEAT, PTNETMAP_F_RSS);
	for (uint32_t i = 0; i < PTNET_RSS_WORDS; i++)
		set_rss_word(i, 0x04030201 + 0x04040404 * i);
	for (uint32_t i = 0; i < PTNET_RSS_WORDS; i++)
		assert_int_equal(rss_word(i), 0x04030201 + 0x04040404 * i);
	assert_false(service.rss_on);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_RSS_ON), 0);
	assert_true(service.rss_on);
	for (uint32_t i = 0; i < NM_RSS_KEY_LEN; i++)
		assert_int_equal(service.rss.key[i], i + 1);
	for (uint32_t i = 0; i < NM_RSS_TABLE_LEN; i++)
		assert_int_equal(service.rss.table[i], (NM_RSS_KEY_LEN + i + 1) & 255);
	/* While the rings are served, too; what the port refuses changes nothing. */
	create();
	set_rss_word(PTNET_RSS_TABLE, 0x7f000000);
	assert_int_equal(service.rss.table[3], NM_RSS_KEY_LEN + 4);
	service.rss_error = -EINVAL;
	assert_int_equal(ptctl(PTNETMAP_PTCTL_RSS_ON), EINVAL);
	assert_true(service.rss_on);
	assert_int_equal(service.state, PORT_RUNNING);
	service.rss_error = 0;
	assert_int_equal(ptctl(PTNETMAP_PTCTL_RSS_ON), 0);
	assert_int_equal(service.rss.table[3], 0x7f);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_RSS_OFF), 0);
	assert_false(service.rss_on);
	assert_int_equal(stats().ignored_writes, 0);
}

/* No index leads anywhere else, and nothing is there without the feature. */
static void test_rss_bounds(void **state)
{
	static const uint32_t indices[] = {PTNET_RSS_WORDS, PTNET_RSS_WORDS + 1, 0x3fffffff,
		0x40000000, 0x80000000, 0xfffffff6, 0xffffffff};
	uint32_t n = sizeof(indices) / sizeof(indices[0]);

	set(PTNET_IO_PTFEAT, PTNETMAP_F_RSS);
	for (uint32_t i = 0; i < n; i++) {
		set_rss_word(indices[i], 0xffffffff);
		assert_int_equal(get(PTNET_IO_RSS_DATA), 0);
		assert_int_equal(stats().ignored_writes, i + 1);
	}
	for (uint32_t i = 0; i < PTNET_RSS_WORDS; i++)
		assert_int_equal(rss_word(i), 0);
	set_rss_word(0, 7);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_RSS_ON), 0);
	/* A driver that knows nothing of it comes after one that did. */
	set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR);
	assert_false(service.rss_on);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_RSS_ON), EOPNOTSUPP);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_RSS_OFF), EOPNOTSUPP);
	set_rss_word(0, 7);
	assert_int_equal(stats().ignored_writes, n + 2);
	set(PTNET_IO_PTFEAT, PTNETMAP_F_RSS);
	assert_int_equal(rss_word(0), 0);
	/* One that knows it, after one that has not put it off: a kernel that crashed. */
	set_rss_word(0, 7);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_RSS_ON), 0);
	set(PTNET_IO_PTFEAT, PTNETMAP_F_RSS);
	assert_false(service.rss_on);
	assert_int_equal(rss_word(0), 0);
	/* A reset. */
	set_rss_word(0, 7);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_RSS_ON), 0);
	assert_int_equal(vfc_reset(client), 0);
	assert_false(service.rss_on);
	set(PTNET_IO_PTFEAT, PTNETMAP_F_RSS);
	assert_int_equal(rss_word(0), 0);
}

/* The port knows it as long as the driver that asked for it is there. */
static void test_known(void **state)
{
	static const struct {
		uint32_t features, knows;
	} each[] = {{PTNETMAP_F_USO, NM_KNOWS_USO}, {PTNETMAP_F_BIG_TCP, NM_KNOWS_BIG_TCP},
		{PTNETMAP_F_USO | PTNETMAP_F_BIG_TCP, NM_KNOWS_USO | NM_KNOWS_BIG_TCP}};

	for (uint32_t i = 0; i < 3; i++) {
		set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR | each[i].features);
		assert_int_equal(service.knows, each[i].knows);
		set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR);
		assert_int_equal(service.knows, 0);
		/* Without the header there is no place for it. */
		set(PTNET_IO_PTFEAT, each[i].features);
		assert_int_equal(get(PTNET_IO_PTFEAT), 0);
		assert_int_equal(service.knows, 0);
		set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR | each[i].features);
		assert_int_equal(service.knows, each[i].knows);
		assert_int_equal(vfc_reset(client), 0);
		assert_int_equal(service.knows, 0);
	}
}

/* The port is gone: the client is asked to unplug, whether it gave its eventfd before or after. */
static void test_request_unplug(void **state)
{
	const uint32_t index = VFIO_PCI_REQ_IRQ_INDEX;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(vfc_irq_eventfds(client, index, 0, 1, &fd), 0);
	assert_int_equal(vfc_reset(client), 0);
	assert_false(signalled(fd));
	ptnet_net_request_unplug(net);
	assert_true(signalled(fd));
	ptnet_net_request_unplug(net);
	assert_false(signalled(fd));
	assert_int_equal(vfc_irq_eventfds(client, index, 0, 1, NULL), 0);
	assert_false(signalled(fd));
	assert_int_equal(vfc_irq_eventfds(client, index, 0, 1, &fd), 0);
	assert_true(signalled(fd));
	close(fd);
}

/*
 * Memory that goes away and comes back
 */

static void test_remap(void **state)
{
	const uint64_t half = RAM_SIZE / 2;

	create();
	/* A range beside it comes and goes: nothing happens. */
	assert_int_equal(vfc_dma_map(client, 1ull << 30, PAGE, RW, -1, 0), 0);
	assert_int_equal(vfc_dma_unmap(client, 1ull << 30, PAGE), 0);
	assert_int_equal(service.suspends, 0);
	/* No such range: nothing happens. */
	assert_int_equal(vfc_dma_unmap(client, 0, half), -ENOENT);
	assert_int_equal(service.suspends, 0);

	/* All of RAM goes, and comes back in pieces, as when a BAR moves. */
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	assert_int_equal(service.state, PORT_SUSPENDED);
	set(PTNET_IO_KICK_BASE, 1); /* remembered by the service */
	assert_int_equal(service.kicks[0], 1);
	assert_int_equal(vfc_dma_map(client, half, half, RW, ram_fd, half), 0);
	assert_int_equal(service.state, PORT_SUSPENDED);
	assert_int_equal(vfc_dma_map(client, 0, half, RW, ram_fd, 0), 0);
	assert_int_equal(service.state, PORT_RUNNING);
	assert_int_equal(service.resumes, 1);
	assert_int_equal(service.starts, 1); /* not filled in anew */
	assert_int_equal(stats().suspends, 1);
	/* It is the guest's memory that is served. */
	service.ktoa[RINGS - 1].hwtail = 4711;
	assert_int_equal(((struct nm_csb_ktoa *)(ram + HG))[RINGS - 1].hwtail, 4711);
	/* The half without CSB goes and comes. */
	assert_int_equal(vfc_dma_unmap(client, half, half), 0);
	assert_int_equal(service.suspends, 1);
	assert_int_equal(vfc_dma_unmap_all(client), 0);
	assert_int_equal(service.state, PORT_SUSPENDED);
	assert_int_equal(stats().dma_ranges, 0);
	map_ram();
	assert_int_equal(service.state, PORT_RUNNING);
}

/* The two arrays lie in different ranges; each of them going is enough, both must be back. */
static void test_remap_apart(void **state)
{
	assert_int_equal(vfc_dma_map(client, GH, PAGE, RW, ram_fd, GH), 0);
	assert_int_equal(vfc_dma_map(client, HG, PAGE, RW, ram_fd, HG), 0);
	set_csb(GH, HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
	assert_int_equal(vfc_dma_unmap(client, HG, PAGE), 0);
	assert_int_equal(service.state, PORT_SUSPENDED);
	assert_int_equal(vfc_dma_unmap(client, GH, PAGE), 0);
	assert_int_equal(vfc_dma_map(client, HG, PAGE, RW, ram_fd, HG), 0);
	assert_int_equal(service.state, PORT_SUSPENDED);
	/* Back, but read only: not yet. */
	assert_int_equal(vfc_dma_map(client, GH, PAGE, VFIO_DMA_MAP_FLAG_READ, ram_fd, GH), 0);
	assert_int_equal(service.state, PORT_SUSPENDED);
	assert_int_equal(vfc_dma_unmap(client, GH, PAGE), 0);
	assert_int_equal(vfc_dma_map(client, GH, PAGE, RW, ram_fd, GH), 0);
	assert_int_equal(service.state, PORT_RUNNING);
	assert_int_equal(service.suspends, 1);
}

/* A driver that ends while its memory is away. */
static void test_end_while_suspended(void **state)
{
	create();
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), EBUSY);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_DELETE), 0);
	assert_int_equal(service.state, PORT_STOPPED);
	map_ram();
	assert_int_equal(service.state, PORT_STOPPED);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	set_csb(GH, HG);
	assert_int_equal(service.state, PORT_STOPPED);
	map_ram();
	assert_int_equal(service.state, PORT_STOPPED);
	assert_int_equal(service.resumes, 0);
}

/*
 * Reset and end
 */

static void expect_initial(void)
{
	assert_int_equal(service.state, PORT_STOPPED);
	assert_int_equal(service.hdr_len, 0);
	assert_int_equal(get(PTNET_IO_PTFEAT), 0);
	assert_int_equal(get(PTNET_IO_PTCTL), 0);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), ENXIO);
}

static void test_reset(void **state)
{
	uint32_t bar;

	set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR);
	set(PTNET_IO_VNET_HDR_LEN, 12);
	assert_int_equal(vfc_write32(client, 7, PCI_BASE_ADDRESS_4, 0xfe000000), 0);
	create();
	assert_int_equal(vfc_reset(client), 0);
	assert_int_equal(service.resets, 1);
	expect_initial();
	assert_int_equal(vfc_read32(client, 7, PCI_BASE_ADDRESS_4, &bar), 0);
	assert_int_equal(bar, 0);
	/* The memory map stays; high halves are forgotten. */
	assert_int_equal(stats().dma_ranges, 1);
	set(PTNET_IO_CSB_GH_BAH, 1);
	assert_int_equal(vfc_reset(client), 0);
	set(PTNET_IO_CSB_GH_BAL, GH);
	set(PTNET_IO_CSB_HG_BAL, HG);
	assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
	/* While suspended. */
	assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
	assert_int_equal(vfc_reset(client), 0);
	expect_initial();
}

static void test_disconnect(void **state)
{
	int step;

	/* At any step of a driver's life. */
	for (step = 0; step < 6; step++) {
		if (step >= 1)
			set(PTNET_IO_PTFEAT, PTNETMAP_F_VNET_HDR);
		if (step >= 2)
			set_csb(GH, HG);
		if (step >= 3)
			map_ram();
		if (step >= 4)
			assert_int_equal(ptctl(PTNETMAP_PTCTL_CREATE), 0);
		if (step >= 5)
			assert_int_equal(vfc_dma_unmap(client, 0, RAM_SIZE), 0);
		vfc_close(client);
		pump(NULL);
		assert_int_equal(service.state, PORT_STOPPED);
		assert_int_equal(stats().dma_ranges, 0);
		assert_int_equal(service.socket, -1);
		client = connect_to(ptnet_net_server(net));
		assert_true(service.socket >= 0);
		expect_initial();
	}
}

/* The device goes while its client is there. */
static void test_device_goes(void **state)
{
	const struct ptnet_net_config config = {.name = "net"};

	create();
	ptnet_net_free(net);
	assert_int_equal(service.state, PORT_STOPPED);
	assert_int_equal(vfc_wait_closed(client), 0);
	assert_int_equal(ptnet_net_new(loop, NULL, &config, &service, &net), 0);
}

static void test_second_client(void **state)
{
	struct vu_server_stats s;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(vu_server_adopt(ptnet_net_server(net), ends[0]), -EBUSY);
	close(ends[1]);
	vu_server_stats(ptnet_net_server(net), &s);
	assert_int_equal(s.connections, 1);
	assert_int_equal(s.refused, 1);
	assert_true(s.connected);
	assert_int_equal(get(PTNET_IO_NUM_TX_RINGS), TX);
}

static void test_ring_limits(void **state)
{
	const struct ptnet_net_config config = {.name = "big"};
	struct ptnet_net *other = NULL;
	struct port_service big;

	fake_port_service_init(&big, 16, 17);
	assert_int_equal(ptnet_net_new(loop, NULL, &config, &big, &other), -E2BIG);
	fake_port_service_init(&big, UINT32_MAX, 2);
	assert_int_equal(ptnet_net_new(loop, NULL, &config, &big, &other), -E2BIG);
	fake_port_service_init(&big, 0, 0);
	assert_int_equal(ptnet_net_new(loop, NULL, &config, &big, &other), -EINVAL);
	fake_port_service_init(&big, 1, 1);
	big.geo.nifp_offset = 1ull << 32;
	assert_int_equal(ptnet_net_new(loop, NULL, &config, &big, &other), -ERANGE);
	fake_port_service_init(&big, 16, 16);
	assert_int_equal(ptnet_net_new(loop, NULL, &config, &big, &other), 0);
	ptnet_net_free(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_registers),
		TEST(test_widths),
		TEST(test_features),
		TEST(test_config_space),
		TEST(test_create),
		TEST(test_create_errors),
		TEST(test_create_memory_kinds),
		TEST(test_csb_write_stops),
		TEST(test_driver_end),
		TEST(test_kicks),
		TEST(test_interrupts),
		TEST(test_masks),
		TEST(test_late_interrupt),
		TEST(test_rss),
		TEST(test_rss_bounds),
		TEST(test_known),
		TEST(test_request_unplug),
		TEST(test_features_withdrawn),
		TEST(test_remap),
		TEST(test_remap_apart),
		TEST(test_end_while_suspended),
		TEST(test_reset),
		TEST(test_disconnect),
		TEST(test_device_goes),
		TEST(test_second_client),
		TEST(test_ring_limits),
	};

	return cmocka_run_group_tests_name("ptnet_net", tests, NULL, NULL);
}
