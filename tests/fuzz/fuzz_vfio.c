/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtual machine's devices, as QEMU and its guest have them: vfio-user messages, whole and in
 * pieces, with descriptors; registers, DMA ranges, interrupts; a guest that writes to its CSB, rings and
 * RAM meanwhile. All of netmapd is behind it.
 */
#include "descriptors.h"
#include "netmapd.h"
#include "vm.h"
#include "vu_proto.h"

#include <net/netmap_virt.h>

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STEPS = 40,
	PEERS = 3, /* connections: the first port, the memory, the second port */
	RAM_SIZE = 0x10000,
	RAM_ADDR = 0x100000, /* guest-physical */
	CSB_GH = 0,          /* places in the RAM */
	CSB_HG = 0x1000,
	OUT_MAX = 2 * VU_MSG_MAX,
};

static struct {
	int fd; /* -1: not connected */
	const char *path;
	size_t held; /* bytes of out[] that wait to be sent */
	uint8_t out[OUT_MAX];
} peers[PEERS];

static struct vm *vm;
static int ram_fd;
static char *ram;

void fuzz_begin(void)
{
	netmapd_begin();
	ram_fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fuzz_check(ram_fd >= 0 && ftruncate(ram_fd, RAM_SIZE) == 0, "no RAM");
	fuzz_check(fcntl(ram_fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0, "no seal");
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	fuzz_check(ram != MAP_FAILED, "no RAM");
}

/* ---- talking -------------------------------------------------------------------------------------- */

/* All replies that are there; the first is one. */
static void take_replies(int fd)
{
	static uint8_t bytes[65536];
	char control[CMSG_SPACE(16 * sizeof(int))];
	bool first = true;

	for (;;) {
		struct iovec iov = {bytes, sizeof(bytes)};
		struct msghdr m = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
		struct vu_hdr hdr;

		if (n <= 0)
			return;
		for (size_t i = 0; cmsg && i < (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int got;

			memcpy(&got, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(got));
			close(got);
		}
		memcpy(&hdr, bytes, sizeof(hdr));
		if (first && (size_t)n >= sizeof(hdr)) {
			fuzz_check(
				(hdr.flags & VU_TYPE_MASK) == VU_TYPE_REPLY, "flags %x", hdr.flags);
			fuzz_check(!(hdr.flags & VU_FLAG_ERROR) == !hdr.error && hdr.error < 4096,
				"flags %x, error %u", hdr.flags, hdr.error);
			fuzz_check(hdr.size >= sizeof(hdr), "a reply of %u bytes", hdr.size);
		}
		first = false;
	}
}

static void send_held(uint32_t p, const int *fds, uint32_t nfds)
{
	char control[CMSG_SPACE(20 * sizeof(int))] = {0};
	struct iovec iov = {peers[p].out, peers[p].held};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	fuzz_attach_fds(&m, control, fds, nfds);
	(void)sendmsg(peers[p].fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	peers[p].held = 0;
	netmapd_run();
	take_replies(peers[p].fd);
}

static void *append(uint32_t p, const void *bytes, size_t n)
{
	uint8_t *at = peers[p].out + peers[p].held;

	fuzz_check(peers[p].held + n <= OUT_MAX, "%zu bytes", n);
	if (bytes)
		memcpy(at, bytes, n);
	else
		memset(at, 0, n);
	peers[p].held += n;
	return at;
}

static void put(uint32_t p, uint16_t command, const void *fixed, size_t bytes)
{
	const struct vu_hdr hdr = {
		.command = command, .size = (uint32_t)(sizeof(hdr) + bytes), .id = command};

	append(p, &hdr, sizeof(hdr));
	append(p, fixed, bytes);
}

/* ---- messages as QEMU would send them, but for what the input says --------------------------------- */

static void put_write(uint32_t p, uint32_t region, uint64_t offset, uint32_t value)
{
	const struct vu_region_rw rw = {.offset = offset, .region = region, .count = sizeof(value)};
	uint8_t bytes[sizeof(rw) + sizeof(value)];

	memcpy(bytes, &rw, sizeof(rw));
	memcpy(bytes + sizeof(rw), &value, sizeof(value));
	put(p, VU_REGION_WRITE, bytes, sizeof(bytes));
}

static void put_version(struct fuzz_in *in, uint32_t p)
{
	static const char caps[] = "{\"capabilities\":{\"max_msg_fds\":8,\"write_multiple\":true}}";
	uint8_t how = fuzz_u8(in);
	uint8_t bytes[4 + sizeof(caps)] = {0};

	memcpy(bytes + 4, caps, sizeof(caps));
	if (how & 1)
		fuzz_bytes(in, bytes + 4 + how % 32, 16);
	put(p, VU_VERSION, bytes, how & 2 ? 4 : sizeof(bytes));
}

static void put_dma(struct fuzz_in *in, uint32_t p, bool map)
{
	struct vu_dma_map m = {.argsz = sizeof(m),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.address = RAM_ADDR,
		.size = RAM_SIZE};
	struct vu_dma_unmap u = {.argsz = sizeof(u), .address = RAM_ADDR, .size = RAM_SIZE};
	uint8_t how = fuzz_u8(in);

	if (how & 1)
		u.address = m.address = RAM_ADDR + fuzz_edge(in, 4096) * (how & 2 ? 4096 : 1);
	if (how & 4)
		u.size = m.size = fuzz_edge(in, RAM_SIZE);
	if (how & 8)
		m.offset = fuzz_edge(in, RAM_SIZE);
	if (how & 16)
		u.flags = m.flags = fuzz_u8(in) & 7;
	if (how & 32)
		u.flags = VFIO_DMA_UNMAP_FLAG_ALL;
	if (how & 64)
		u.address = u.size = 0;
	if (map)
		put(p, VU_DMA_MAP, &m, sizeof(m));
	else
		put(p, VU_DMA_UNMAP, &u, sizeof(u));
}

static void put_irqs(struct fuzz_in *in, uint32_t p)
{
	uint8_t how = fuzz_u8(in), bytes[sizeof(struct vu_irq_set) + 32] = {0};
	struct vu_irq_set set = {
		.argsz = sizeof(set),
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.count = fuzz_below(in, 6),
		.start = fuzz_below(in, 6),
		.flags = (1U << (how & 3)) | (8U << (how >> 2 & 3)),
	};

	if (how & 16)
		set.index = fuzz_below(in, 7);
	if (how & 32)
		set.flags = fuzz_u8(in);
	if (how & 64)
		set.count = (uint32_t)fuzz_edge(in, 4);
	memcpy(bytes, &set, sizeof(set));
	fuzz_bytes(in, bytes + sizeof(set), how & 1 ? 0 : set.count % 32);
	put(p, VU_DEVICE_SET_IRQS, bytes,
		sizeof(set) + ((set.flags & VFIO_IRQ_SET_DATA_BOOL) ? set.count % 32 : 0));
}

static void put_access(struct fuzz_in *in, uint32_t p, bool write)
{
	struct {
		struct vu_region_rw rw;
		uint8_t data[64];
	} a = {{.region = fuzz_below(in, 10), .count = 4}, {0}};
	uint8_t how = fuzz_u8(in);

	a.rw.offset = fuzz_u8(in) * 4ULL;
	if (how & 1)
		a.rw.offset = fuzz_edge(in, 256);
	if (how & 2)
		a.rw.count = (uint32_t)fuzz_edge(in, 8);
	fuzz_bytes(in, a.data, how & 4 ? sizeof(a.data) : 4);
	put(p, write ? VU_REGION_WRITE : VU_REGION_READ, &a,
		sizeof(a.rw) + (write ? a.rw.count % (sizeof(a.data) + 1) : 0));
}

static void put_multi(struct fuzz_in *in, uint32_t p)
{
	uint8_t bytes[sizeof(struct vu_write_multi) + 4 * sizeof(struct vu_write_one)] = {0};
	uint64_t count = fuzz_below(in, 6);

	memcpy(bytes, &count, sizeof(count));
	for (uint32_t i = 0; i < 4; i++) {
		struct vu_write_one one = {.rw = {.offset = fuzz_u8(in) * 4ULL,
						   .region = fuzz_below(in, 6),
						   .count = 4}};

		fuzz_bytes(in, one.data, 4);
		memcpy(bytes + sizeof(count) + i * sizeof(one), &one, sizeof(one));
	}
	put(p, VU_REGION_WRITE_MULTI, bytes,
		sizeof(count) + (count < 4 ? count : 4) * sizeof(struct vu_write_one));
}

/* GET_INFO, GET_REGION_INFO, GET_IRQ_INFO: all 0 but two numbers. */
static void put_info(struct fuzz_in *in, uint32_t p, uint16_t command)
{
	uint32_t words[sizeof(struct vu_region_info_msg) / sizeof(uint32_t)] = {0};
	size_t bytes = command == VU_DEVICE_GET_REGION_INFO ? sizeof(words) : 16;
	uint8_t how = fuzz_u8(in);

	words[0] = how & 1 ? (uint32_t)fuzz_edge(in, 64) : 64;
	if (command != VU_DEVICE_GET_INFO)
		words[2] = how >> 4;
	put(p, command, words, bytes);
}

/* Of any command: numbers of 32 bits, small ones or any. */
static void put_words(struct fuzz_in *in, uint32_t p, uint16_t command)
{
	uint32_t words[16], n = fuzz_below(in, 16);

	for (uint32_t i = 0; i < n; i++)
		words[i] = (uint32_t)fuzz_edge(in, 32);
	put(p, command, words, n * sizeof(words[0]));
}

static void put_message(struct fuzz_in *in, uint32_t p, uint16_t command)
{
	switch (command) {
	case VU_VERSION:
		put_version(in, p);
		break;
	case VU_DMA_MAP:
	case VU_DMA_UNMAP:
		put_dma(in, p, command == VU_DMA_MAP);
		break;
	case VU_DEVICE_SET_IRQS:
		put_irqs(in, p);
		break;
	case VU_REGION_READ:
	case VU_REGION_WRITE:
		put_access(in, p, command == VU_REGION_WRITE);
		break;
	case VU_REGION_WRITE_MULTI:
		put_multi(in, p);
		break;
	case VU_DEVICE_GET_INFO:
	case VU_DEVICE_GET_REGION_INFO:
	case VU_DEVICE_GET_IRQ_INFO:
		put_info(in, p, command);
		break;
	case VU_DEVICE_RESET:
		put(p, command, NULL, 0);
		break;
	default:
		put_words(in, p, command);
	}
}

static void say(struct fuzz_in *in, uint32_t p)
{
	uint8_t how = fuzz_u8(in);
	uint16_t command = (uint16_t)fuzz_below(in, VU_COMMANDS + 1);
	size_t before = peers[p].held;
	uint32_t nfds = how & 1 ? 1 : how & 2 ? fuzz_below(in, 20) : 0, n = 0;
	int fds[20];

	if (before > OUT_MAX / 2)
		send_held(p, NULL, 0);
	before = peers[p].held;
	put_message(in, p, command);
	if (how & 4) { /* something in it is otherwise, its header perhaps */
		size_t at = before + fuzz_u8(in) % (peers[p].held - before);

		peers[p].out[at] = fuzz_u8(in);
	}
	if (how & 8) /* a piece is missing */
		peers[p].held -= fuzz_u8(in) % (peers[p].held - before);
	if (how & 16) /* more comes with it */
		return;
	for (; n < nfds; n++)
		fds[n] = how & 32                ? fuzz_make_fd(in)
			 : command == VU_DMA_MAP ? fcntl(ram_fd, F_DUPFD_CLOEXEC, 3)
						 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (how & 64)
		fuzz_fail_allocation(fuzz_below(in, 8));
	send_held(p, fds, nfds);
	fuzz_fail_allocation(0);
	while (n > 0)
		close(fds[--n]);
}

/* ---- a hypervisor and a driver that mean well -------------------------------------------------------- */

static void boot(struct fuzz_in *in, uint32_t p)
{
	const struct vu_dma_map map = {.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.address = RAM_ADDR,
		.size = RAM_SIZE};
	const struct vu_irq_set irqs = {.argsz = sizeof(irqs),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.count = 1};
	uint8_t how = fuzz_u8(in);
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	peers[p].held = 0;
	put(p, VU_VERSION, "\0\0\0", 4);
	send_held(p, NULL, 0);
	put(p, VU_DMA_MAP, &map, sizeof(map));
	send_held(p, &ram_fd, 1);
	put(p, VU_DEVICE_SET_IRQS, &irqs, sizeof(irqs));
	send_held(p, &irq, 1);
	close(irq);
	put_write(p, 0, PTNET_IO_PTFEAT, how & 1);
	put_write(p, 0, PTNET_IO_VNET_HDR_LEN, how & 2 ? 12 : 0);
	put_write(p, 0, PTNET_IO_CSB_GH_BAH, 0);
	put_write(p, 0, PTNET_IO_CSB_GH_BAL, RAM_ADDR + CSB_GH);
	put_write(p, 0, PTNET_IO_CSB_HG_BAH, 0);
	put_write(p, 0, PTNET_IO_CSB_HG_BAL, RAM_ADDR + CSB_HG);
	put_write(p, 0, PTNET_IO_PTCTL, how & 64 ? fuzz_u8(in) : PTNETMAP_PTCTL_CREATE);
	send_held(p, NULL, 0);
}

/* The guest's side of a ring: slots, then the CSB, then a kick. */
static void drive(struct fuzz_in *in, uint32_t p)
{
	struct nm_csb_atok *atok = (struct nm_csb_atok *)(void *)(ram + CSB_GH);
	const struct vm_port *port = vm->ports[p == 2 && vm->num_ports > 1];
	const struct nm_client *client = &port->client;
	uint32_t rings = client->count[NM_TX] + client->count[NM_RX];
	uint32_t i = fuzz_below(in, 4), n = fuzz_below(in, 8);
	struct nm_ring *ring;

	if (rings == 0 || client->port->dead)
		return;
	i %= rings;
	ring = i < client->count[NM_TX] ? nm_client_ring(client, NM_TX, i)
					: nm_client_ring(client, NM_RX, i - client->count[NM_TX]);
	for (uint32_t k = 0; k < n; k++) {
		struct netmap_slot *slot =
			&ring->slots[(OS_LOAD(&atok[i].head) + k) % ring->num_slots];
		uint8_t how = fuzz_u8(in);

		if (how & 1)
			OS_STORE(&slot->len, (uint16_t)fuzz_edge(in, 128));
		if (how & 2)
			OS_STORE(&slot->flags, fuzz_u16(in));
		if (how & 4)
			OS_STORE(&slot->buf_idx, (uint32_t)fuzz_edge(in, 600));
	}
	OS_STORE(&atok[i].appl_need_kick, n & 1);
	OS_STORE(&atok[i].cur, (OS_LOAD(&atok[i].cur) + n) % ring->num_slots);
	OS_STORE(&atok[i].head, OS_LOAD(&atok[i].cur));
	if (peers[p].held < OUT_MAX / 2)
		put_write(p, n & 4 ? PTNET_DOORBELL_BAR : 0, PTNET_IO_KICK_BASE + 4 * i, 0);
	send_held(p, NULL, 0);
}

static void scribble(struct fuzz_in *in)
{
	uint32_t n = fuzz_below(in, 16);

	while (n-- > 0) {
		uint32_t at = fuzz_u16(in) * 4U % (2 * CSB_HG);

		OS_STORE((uint32_t *)(void *)(ram + at), (uint32_t)fuzz_edge(in, 16));
	}
}

/* Many long replies, which nobody takes until the end. */
static void flood(uint32_t p)
{
	const struct vu_region_rw rw = {.region = VFIO_PCI_CONFIG_REGION_INDEX, .count = 256};

	peers[p].held = 0;
	for (int i = 0; i < 1200; i++) {
		put(p, VU_REGION_READ, &rw, sizeof(rw));
		if (i % 100 == 0) {
			(void)send(peers[p].fd, peers[p].out, peers[p].held,
				MSG_NOSIGNAL | MSG_DONTWAIT);
			peers[p].held = 0;
			netmapd_run();
		}
	}
	send_held(p, NULL, 0);
}

static void hang_up(uint32_t p)
{
	if (peers[p].fd >= 0)
		close(peers[p].fd);
	peers[p].fd = -1;
	peers[p].held = 0;
	netmapd_run();
}

static void step(struct fuzz_in *in)
{
	uint8_t what = fuzz_u8(in);
	uint32_t p = what % 4 % PEERS;

	if (!peers[p].path)
		return;
	if (peers[p].fd < 0)
		peers[p].fd = netmapd_connect(peers[p].path, SOCK_STREAM);
	if (peers[p].fd < 0)
		return;
	switch (what >> 2 & 7) {
	case 0:
		if (what >> 5 == 7)
			flood(p);
		else
			hang_up(p);
		break;
	case 1:
		boot(in, p);
		break;
	case 2:
		drive(in, p);
		break;
	case 3:
		scribble(in);
		if (what & 32)
			(void)fallocate(
				ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
		break;
	default:
		say(in, p);
	}
}

/* ---- one input ---------------------------------------------------------------------------------------- */

static void make_machine(struct fuzz_in *in)
{
	static const char *const names[] = {"vale0:1", "vale0:1{a", "vale0:2", "p}1", "p{1",
		"vale1:1@conf:rings=2", "vale0:2}a", "null"};
	static const uint8_t mac[6];
	struct nm_error err = {0};
	uint8_t which = fuzz_u8(in);

	vm = vm_new(&netmapd, account_get(0, &err), "fuzz", NMD_BAR_SMALLEST, &err);
	fuzz_check(vm, "%s", err.text);
	for (int i = 0; i < 2; i++) {
		const struct vm_port *port;
		char spec[64];
		int error;

		snprintf(spec, sizeof(spec), "%s", names[(i ? which >> 3 : which) % 8]);
		if (!strchr(spec, '@'))
			strcat(spec, "@conf:slots=8");
		error = vm_add_port(vm, spec, mac, &err);
		while (!error && (error = vm_add_port_go_on(vm, &port, &err)) > 0)
			error = 0;
		fuzz_check_error(error, err.text);
		if (error)
			continue;
		peers[i ? 2 : 0].path = port->path;
		peers[1].path = port->region->mem_path;
	}
}

void fuzz_one(struct fuzz_in *in)
{
	memset(ram, 0, 2 * CSB_HG);
	for (uint32_t p = 0; p < PEERS; p++) {
		peers[p].fd = -1;
		peers[p].path = NULL;
		peers[p].held = 0;
	}
	make_machine(in);
	for (int i = 0; i < STEPS && vm->num_ports > 0 && fuzz_more(in); i++)
		step(in);
	for (uint32_t p = 0; p < PEERS; p++)
		hang_up(p);
	vm_free(vm);
	netmapd_check_empty();
}
