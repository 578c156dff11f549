/* SPDX-License-Identifier: BSD-2-Clause */
/* /dev/netmap itself (also as netmap-run offers it), NICs and host rings. */
#include "api.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the device ----------------------------------------------------------------------- */

static int open_dev(void)
{
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		api_skip("there is no /dev/netmap here");
	return fd;
}

static int dev_register(int fd, const char *name, struct nmreq_register *reg)
{
	struct nmreq_header hdr;

	memset(reg, 0, sizeof(*reg));
	reg->nr_mode = NR_REG_ALL_NIC;
	nmreq_header_init(&hdr, NETMAP_REQ_REGISTER, reg);
	strcpy(hdr.nr_name, name);
	return ioctl(fd, NIOCCTRL, &hdr) < 0 ? -errno : 0;
}

static char *dev_map(int fd, const struct nmreq_register *reg)
{
	char *mem = mmap(NULL, reg->nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(mem != MAP_FAILED);
	return mem;
}

TEST(device_bad_addresses)
{
	static const uint64_t bad[] = {8, 0xdead0000, UINT64_MAX - 4095, 1ull << 63};
	int fd = open_dev();
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};
	struct nmreq_header hdr;

	for (unsigned int i = 0; i < 4; i++) {
		nmreq_header_init(&hdr, NETMAP_REQ_REGISTER, NULL);
		strcpy(hdr.nr_name, "valev:1");
		hdr.nr_body = bad[i];
		CHECK(ioctl(fd, NIOCCTRL, &hdr) < 0 && errno == EFAULT);
		nmreq_header_init(&hdr, NETMAP_REQ_REGISTER, &reg);
		strcpy(hdr.nr_name, "valev:1");
		hdr.nr_options = bad[i];
		CHECK(ioctl(fd, NIOCCTRL, &hdr) < 0 && errno == EFAULT);
		CHECK(ioctl(fd, NIOCCTRL, (void *)(uintptr_t)bad[i]) < 0 && errno == EFAULT);
	}
	CHECK_EQ(dev_register(fd, "valev:1", &reg), 0);
	close(fd);
}

/* With this list of options. */
static int dev_register_with(int fd, const struct nmreq_option *first)
{
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, NETMAP_REQ_REGISTER, &reg);
	strcpy(hdr.nr_name, "valev:1");
	hdr.nr_options = (uintptr_t)first;
	return ioctl(fd, NIOCCTRL, &hdr) < 0 ? -errno : 0;
}

TEST(device_option_lists)
{
	struct nmreq_option endless = {.nro_reqtype = 50, .nro_next = (uintptr_t)&endless};
	struct nmreq_opt_offsets twice = {
		.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_OFFSETS, .nro_next = (uintptr_t)&twice}};
	struct nmreq_option list[100];
	int fd = open_dev();

	CHECK_EQ(dev_register_with(fd, &endless), -EMSGSIZE);
	CHECK_EQ(dev_register_with(fd, &twice.nro_opt), -EINVAL);
	for (unsigned int i = 0; i < 100; i++)
		list[i] = (struct nmreq_option){
			.nro_reqtype = 1000 + i, .nro_next = i < 99 ? (uintptr_t)&list[i + 1] : 0};
	CHECK_EQ(dev_register_with(fd, list), -EOPNOTSUPP);
	list[99].nro_size = 1000;
	CHECK_EQ(dev_register_with(fd, list), -EMSGSIZE);
	list[99].nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE;
	CHECK_EQ(dev_register_with(fd, list), -EMSGSIZE);
	close(fd);
}

TEST(device_epoll_select_poll)
{
	int fd = open_dev(), ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN}, got;
	struct nmport_d *other = open_flags("valev:2", 0);
	struct nmreq_register reg;
	struct timeval tv = {WAIT_MS / 1000, 0};
	struct netmap_ring *rx;
	struct pollfd pfd;
	fd_set set;
	char *mem;

	CHECK_EQ(dev_register(fd, "valev:1", &reg), 0);
	mem = dev_map(fd, &reg);
	rx = NETMAP_RXRING(NETMAP_IF(mem, reg.nr_offset), 0);
	CHECK(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0);
	CHECK_EQ(epoll_wait(ep, &got, 1, 20), 0);
	for (int i = 0; i < 3; i++) {
		send_frame(other, 0, 2, (uint32_t)i);
		if (i == 0) {
			CHECK_EQ(epoll_wait(ep, &got, 1, WAIT_MS), 1);
		} else if (i == 1) {
			pfd = (struct pollfd){fd, POLLIN, 0};
			CHECK(poll(&pfd, 1, WAIT_MS) == 1 && pfd.revents == POLLIN);
		} else {
			FD_ZERO(&set);
			FD_SET(fd, &set);
			CHECK_EQ(select(fd + 1, &set, NULL, NULL, &tv), 1);
		}
		CHECK_EQ(nm_ring_space(rx), 1);
		rx->head = rx->cur = nm_ring_next(rx, rx->head);
		CHECK_EQ(ioctl(fd, NIOCRXSYNC), 0);
	}
	munmap(mem, reg.nr_memsize);
	close(ep);
	close(fd);
	nmport_close(other);
}

TEST(device_registered_already)
{
	struct nmreq_register reg, again;
	int fd = open_dev();

	CHECK_EQ(dev_register(fd, "valev:1", &reg), 0);
	CHECK_EQ(dev_register(fd, "valev:2", &again), -EBUSY);
	CHECK_EQ(ioctl(fd, NIOCTXSYNC), 0);
	close(fd);
}

/* A file may be shared by a fork; it ends with the last one. */
TEST(device_fork)
{
	int fd = open_dev(), pid;
	struct nmreq_vale_list list = {0};
	struct nmreq_register reg;
	char *mem;

	CHECK_EQ(dev_register(fd, "valev:1", &reg), 0);
	mem = dev_map(fd, &reg);
	pid = part_begin();
	if (pid == 0) {
		struct netmap_ring *tx = NETMAP_TXRING(NETMAP_IF(mem, reg.nr_offset), 0);

		for (uint32_t i = 0; i < 100; i++) {
			tx->slot[tx->head].len = FRAME_LEN;
			tx->head = tx->cur = nm_ring_next(tx, tx->head);
			CHECK_EQ(ioctl(fd, NIOCTXSYNC), 0);
		}
		part_end();
	}
	munmap(mem, reg.nr_memsize);
	close(fd);
	part_join(pid);
	for (uint64_t limit = now_ms() + WAIT_MS;
		request(NETMAP_REQ_VALE_LIST, "valev:1", &list) == 0;) {
		CHECK(now_ms() < limit);
		sleep_ms(5);
	}
}

/* ---- the older interface -------------------------------------------------------------- */

static struct nmreq older(const char *name)
{
	struct nmreq nmr = {.nr_version = NETMAP_API};

	snprintf(nmr.nr_name, sizeof(nmr.nr_name), "%s", name);
	return nmr;
}

TEST(older_register)
{
	struct nmreq nmr = older("valev:1");
	struct netmap_if *nifp;
	int fd = open_dev();
	char *mem;

	nmr.nr_flags = NR_REG_ALL_NIC;
	nmr.nr_tx_slots = 64;
	nmr.nr_rx_slots = 32;
	nmr.nr_tx_rings = 2;
	nmr.nr_rx_rings = 3;
	nmr.nr_arg3 = 7;
	CHECK_EQ(ioctl(fd, NIOCREGIF, &nmr), 0);
	CHECK_EQ(nmr.nr_version, NETMAP_API);
	CHECK(nmr.nr_tx_slots == 64 && nmr.nr_rx_slots == 32);
	CHECK(nmr.nr_tx_rings == 2 && nmr.nr_rx_rings == 3);
	CHECK(nmr.nr_memsize > 0 && nmr.nr_arg2 > 0 && nmr.nr_arg3 == 7);
	mem = mmap(NULL, nmr.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(mem != MAP_FAILED);
	nifp = NETMAP_IF(mem, nmr.nr_offset);
	CHECK(nifp->ni_tx_rings == 2 && nifp->ni_rx_rings == 3);
	CHECK_EQ(NETMAP_RXRING(nifp, 2)->num_slots, 32);
	CHECK_EQ(ioctl(fd, NIOCTXSYNC), 0);
	munmap(mem, nmr.nr_memsize);
	close(fd);
}

TEST(older_ring_choice)
{
	struct nmreq nmr = older("valev:1");
	int fd = open_dev(), one;

	nmr.nr_tx_rings = nmr.nr_rx_rings = 4;
	nmr.nr_ringid = NETMAP_HW_RING; /* flags 0: by nr_ringid */
	CHECK_EQ(ioctl(fd, NIOCREGIF, &nmr), 0);
	for (int i = 0; i < 2; i++) {
		struct nmreq sel = older("valev:1");
		struct netmap_if *nifp;
		char *mem;

		one = open_dev();
		sel.nr_ringid = 2;
		if (i == 0)
			sel.nr_ringid |= NETMAP_HW_RING;
		else
			sel.nr_flags = NR_REG_ONE_NIC;
		CHECK_EQ(ioctl(one, NIOCREGIF, &sel), 0);
		mem = mmap(NULL, sel.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, one, 0);
		CHECK(mem != MAP_FAILED);
		nifp = NETMAP_IF(mem, sel.nr_offset);
		CHECK(nifp->ring_ofs[2] != 0 && nifp->ring_ofs[0] == 0);
		munmap(mem, sel.nr_memsize);
		close(one);
	}
	close(fd);
}

TEST(older_info)
{
	struct nmreq nmr = older("valev:1");
	int fd = open_dev();

	CHECK_EQ(ioctl(fd, NIOCGINFO, &nmr), 0);
	CHECK(nmr.nr_tx_rings == 1 && nmr.nr_rx_rings == 1 && nmr.nr_tx_slots > 0);
	CHECK(nmr.nr_memsize > 0);
	nmr = older("nosuchport");
	CHECK(ioctl(fd, NIOCGINFO, &nmr) < 0 && errno == ENXIO);
	nmr = older(""); /* only to learn the version, and the shared region */
	CHECK_EQ(ioctl(fd, NIOCGINFO, &nmr), 0);
	CHECK(nmr.nr_memsize > 0 && nmr.nr_arg2 == 1 && nmr.nr_tx_rings == 0);
	nmr = older("valev:shape");
	nmr.nr_tx_rings = 2;
	nmr.nr_tx_slots = 512;
	CHECK_EQ(ioctl(fd, NIOCGINFO, &nmr), 0);
	CHECK(nmr.nr_tx_rings == 2 && nmr.nr_tx_slots == 512);
	nmr = older("valev:1");
	nmr.nr_version = 3;
	CHECK(ioctl(fd, NIOCGINFO, &nmr) < 0 && errno == EINVAL);
	CHECK_EQ(nmr.nr_version, NETMAP_API);
	close(fd);
}

TEST(older_commands)
{
	struct nmreq nmr = older("valev:1");
	int fd = open_dev(), ctl = open_dev();

	CHECK_EQ(ioctl(fd, NIOCREGIF, &nmr), 0);
	nmr = older("valev:1");
	nmr.nr_cmd = NETMAP_BDG_LIST;
	CHECK_EQ(ioctl(ctl, NIOCGINFO, &nmr), 0);
	nmr = older("valev:9");
	nmr.nr_cmd = NETMAP_BDG_LIST;
	CHECK(ioctl(ctl, NIOCGINFO, &nmr) < 0 && errno == ENOENT);
	nmr = older("valev:1");
	nmr.nr_cmd = NETMAP_VNET_HDR_GET;
	nmr.nr_arg1 = 99;
	CHECK_EQ(ioctl(ctl, NIOCREGIF, &nmr), 0);
	CHECK_EQ(nmr.nr_arg1, 0);
	nmr = older("valev:nosuch");
	nmr.nr_cmd = NETMAP_BDG_ATTACH;
	CHECK(ioctl(ctl, NIOCREGIF, &nmr) < 0 && errno == ENXIO);
	nmr = older("valev:1");
	nmr.nr_cmd = NETMAP_PT_HOST_CREATE;
	CHECK(ioctl(ctl, NIOCREGIF, &nmr) < 0 && errno == EOPNOTSUPP);
	nmr.nr_cmd = 999;
	CHECK(ioctl(ctl, NIOCREGIF, &nmr) < 0 && errno == EOPNOTSUPP);
	close(ctl);
	close(fd);
}

/* ---- network interfaces --------------------------------------------------------------- */

static const char *nic(void)
{
	const char *name = getenv("NMAPI_NIC");

	if (!name)
		api_skip("no network interface to take over");
	return name;
}

/* A socket that sees and sends whole frames of that interface; only those of our kind. */
static int raw_socket(const char *name)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(0x88b5)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5));

	to.sll_ifindex = (int)if_nametoindex(name);
	CHECK(fd >= 0 && bind(fd, (void *)&to, sizeof(to)) == 0);
	return fd;
}

/* IFF_RUNNING is there before the system sends: it sets that, and then the queue to work, both under
 * the lock that it takes to set flags, be they the same. */
static bool is_running(int fd)
{
	struct sockaddr_ll at = {0};
	socklen_t len = sizeof(at);
	struct ifreq ifr = {0};

	CHECK(getsockname(fd, (void *)&at, &len) == 0 &&
		if_indextoname((unsigned)at.sll_ifindex, ifr.ifr_name));
	CHECK_EQ(ioctl(fd, SIOCGIFFLAGS, &ifr), 0);
	if (!(ifr.ifr_flags & IFF_RUNNING))
		return false;
	CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	return true;
}

/* For a moment the system drops what is sent by an interface that has just got a link. */
static void wait_for_link(int fd)
{
	uint32_t waited = 0;

	for (; !is_running(fd); waited += 10) {
		CHECK(waited < WAIT_MS);
		sleep_ms(10);
	}
}

static void raw_send(int fd, uint8_t to, uint8_t from, uint32_t number)
{
	uint8_t frame[FRAME_LEN];

	wait_for_link(fd);
	make_frame(frame, sizeof(frame), to, from, number);
	CHECK_EQ(send(fd, frame, sizeof(frame), 0), FRAME_LEN);
}

static void raw_take(int fd, uint8_t to, uint8_t from, uint32_t number)
{
	uint8_t want[FRAME_LEN], got[2048];
	struct pollfd pfd = {fd, POLLIN, 0};

	make_frame(want, sizeof(want), to, from, number);
	CHECK_EQ(poll(&pfd, 1, WAIT_MS), 1);
	CHECK_EQ(recv(fd, got, sizeof(got), 0), FRAME_LEN);
	CHECK_EQ(memcmp(got, want, FRAME_LEN), 0);
}

static bool is_ours(struct netmap_ring *ring, const struct netmap_slot *slot)
{
	const uint8_t *frame = (uint8_t *)NETMAP_BUF(ring, slot->buf_idx);

	return slot->len >= 14 && frame[12] == 0x88 && frame[13] == 0xb5;
}

/* Takes a slot that is there. True: it is a frame of our kind, which must be `want`. */
static bool take_slot(struct netmap_ring *rx, const uint8_t *want)
{
	struct netmap_slot *slot = &rx->slot[rx->head];
	bool ours = is_ours(rx, slot);

	if (ours) {
		CHECK_EQ(slot->len, FRAME_LEN);
		CHECK_EQ(memcmp(NETMAP_BUF(rx, slot->buf_idx), want, FRAME_LEN), 0);
	}
	rx->head = rx->cur = nm_ring_next(rx, rx->head);
	return ours;
}

/* Takes the next frame of our kind; other traffic of the system is passed over. */
static void nic_take(struct nmport_d *d, uint8_t to, uint8_t from, uint32_t number)
{
	struct netmap_ring *rx = rx_ring(d, 0);
	uint8_t want[FRAME_LEN];

	make_frame(want, sizeof(want), to, from, number);
	do
		CHECK(wait_slots(d, rx, 1));
	while (!take_slot(rx, want));
}

/* The same from any of the rings. */
static void nic_take_any(struct nmport_d *d, uint8_t to, uint8_t from, uint32_t number)
{
	uint8_t want[FRAME_LEN];

	make_frame(want, sizeof(want), to, from, number);
	for (uint32_t ms = 0; ms < WAIT_MS; ms++) {
		CHECK_EQ(nmport_rxsync(d), 0);
		for (uint32_t i = 0; i < rx_count(d); i++)
			while (!nm_ring_empty(rx_ring(d, i)))
				if (take_slot(rx_ring(d, i), want))
					return;
		sleep_ms(1);
	}
	CHECK(!"the frame has come");
}

TEST(nic)
{
	const char *name = nic();
	struct nmport_d *d = open_flags(name, NR_ACCEPT_VNET_HDR);
	int peer = raw_socket(getenv("NMAPI_NIC_PEER"));

	CHECK(d->reg.nr_host_tx_rings >= 1 && d->reg.nr_host_rx_rings >= 1);
	if (in_kernel()) /* netmapd's are in regions of their own */
		CHECK_EQ(d->reg.nr_mem_id, 1);
	for (uint32_t i = 0; i < 500; i++) {
		send_frame(d, 0, 1, i);
		raw_take(peer, 0, 1, i);
		raw_send(peer, 0, 2, i);
		nic_take(d, 0, 2, i);
	}
	close(peer);
	nmport_close(d);
}

TEST(nic_host_rings)
{
	const char *name = nic();
	char spec[64];
	struct nmport_d *host;
	int stack = raw_socket(name);

	snprintf(spec, sizeof(spec), "netmap:%s^", name);
	host = open_spec(spec);
	CHECK(tx_count(host) >= 1 && rx_count(host) >= 1);
	for (uint32_t i = 0; i < 100; i++) {
		/* To the stack, and from it. */
		send_frame(host, 0, 1, i);
		raw_take(stack, 0, 1, i);
		raw_send(stack, 0, 2, i);
		nic_take(host, 0, 2, i);
	}
	close(stack);
	nmport_close(host);
}

TEST(nic_modes)
{
	const char *name = nic();
	struct nmreq_register reg;

	CHECK_EQ(try_mode(name, NR_REG_ALL_NIC, 0), 0);
	CHECK_EQ(try_mode(name, NR_REG_NIC_SW, 0), 0);
	CHECK_EQ(try_mode(name, NR_REG_SW, 0), 0);
	CHECK_EQ(try_mode(name, NR_REG_ONE_NIC, 0), 0);
	CHECK_EQ(try_mode(name, NR_REG_ONE_SW, 0), 0);
	reg = (struct nmreq_register){.nr_mode = NR_REG_ONE_SW, .nr_ringid = 64};
	CHECK_EQ(try_register(name, &reg), -EINVAL);
	reg = (struct nmreq_register){.nr_mode = NR_REG_ONE_NIC, .nr_ringid = 64};
	CHECK_EQ(try_register(name, &reg), -EINVAL);
}

/* Registers and gives up: 0 or a negative errno, with the numbers of rings of the registration. */
static int try_host(const char *name, uint32_t mode, uint16_t ring, uint16_t tx, uint16_t rx,
	uint32_t *count_tx, uint32_t *count_rx)
{
	struct nmport_d *d = prepare(name);
	int error;

	d->reg.nr_mode = mode;
	d->reg.nr_ringid = ring;
	d->reg.nr_host_tx_rings = tx;
	d->reg.nr_host_rx_rings = rx;
	error = finish(d);
	*count_tx = error ? 0 : tx_count(d);
	*count_rx = error ? 0 : rx_count(d);
	nmport_close(d);
	return error;
}

/* The first registration of an interface that nobody has says how many host rings it has. */
TEST(nic_chosen_host_rings)
{
	const char *name = nic();
	char spec[64];
	struct nmport_d *first, *d;
	uint32_t tx, rx;

	snprintf(spec, sizeof(spec), "netmap:%s^0@conf:host-rings=4", name);
	first = open_spec(spec);
	CHECK(first->reg.nr_host_tx_rings == 4 && first->reg.nr_host_rx_rings == 4);
	for (int i = 1; i < 4; i++) {
		snprintf(spec, sizeof(spec), "netmap:%s^%d", name, i);
		d = open_spec(spec);
		CHECK(tx_count(d) == 1 && rx_count(d) == 1);
		nmport_close(d);
	}
	CHECK_EQ(try_host(name, NR_REG_ONE_SW, 4, 0, 0, &tx, &rx), -EINVAL);
	/* Whoever comes later has what there is. */
	CHECK_EQ(try_host(name, NR_REG_ONE_SW, 1, 2, 9, &tx, &rx), 0);
	CHECK_EQ(try_host(name, NR_REG_ONE_SW, 4, 5, 5, &tx, &rx), -EINVAL);
	nmport_close(first);

	snprintf(spec, sizeof(spec), "netmap:%s^@conf:host-tx-rings=5,host-rx-rings=4", name);
	first = open_spec(spec);
	CHECK(tx_count(first) == 5 && rx_count(first) == 4);
	nmport_close(first);
	CHECK_EQ(try_host(name, NR_REG_SW, 0, 5, 4, &tx, &rx), 0);
	CHECK(tx == 5 && rx == 4);
	CHECK_EQ(try_host(name, NR_REG_ONE_SW, 4, 5, 4, &tx, &rx), 0); /* rx: its ring 0 */
	CHECK(tx == 1 && rx == 1);
	CHECK_EQ(try_host(name, NR_REG_ONE_SW, 5, 5, 4, &tx, &rx), -EINVAL);
	CHECK_EQ(try_host(name, NR_REG_ONE_SW, 1, 2, 2, &tx, &rx), 0);
	CHECK_EQ(try_host(name, NR_REG_NIC_SW, 0, 3, 3, &tx, &rx), 0);
	CHECK_EQ(try_host(name, NR_REG_SW, 0, 65, 1, &tx, &rx), -EINVAL);
	if (in_kernel()) { /* nobody has it: the number is the usual one again */
		CHECK_EQ(try_host(name, NR_REG_ONE_SW, 1, 0, 0, &tx, &rx), -EINVAL);
		CHECK_EQ(try_host(name, NR_REG_SW, 0, 0, 0, &tx, &rx), 0);
		CHECK(tx == 1 && rx == 1);
	}
	CHECK_EQ(try_host(name, NR_REG_SW, 0, 1, 1, &tx, &rx), 0);
}

/* The stack's flows are spread over the host rings that are in use. */
TEST(nic_several_host_rings)
{
	const char *name = nic();
	char spec[64];
	struct nmport_d *host;
	int stack = raw_socket(name);
	uint32_t tx, rx;

	snprintf(spec, sizeof(spec), "netmap:%s^@conf:host-rings=4", name);
	host = open_spec(spec);
	CHECK(tx_count(host) == 4 && rx_count(host) == 4);
	for (uint32_t i = 0; i < 100; i++) {
		send_frame(host, 0, 1, i);
		raw_take(stack, 0, 1, i);
		raw_send(stack, 0, 2, i);
		nic_take_any(host, 0, 2, i);
	}
	close(stack);
	nmport_close(host);
	CHECK_EQ(try_host(name, NR_REG_SW, 0, 1, 1, &tx, &rx), 0);
}

/* Rings of an interface can have more slots than those of the shared region have room for. */
TEST(nic_large_rings)
{
	const char *name = nic();
	char spec[64];
	struct nmport_d *d;
	int peer = raw_socket(getenv("NMAPI_NIC_PEER"));

	if (!in_kernel() || getenv("NMAPI_RUN"))
		api_skip("an interface of netmapd has the slots that it was made with");
	snprintf(spec, sizeof(spec), "netmap:%s@conf:tx-slots=4096,rx-slots=8192", name);
	d = open_spec(spec);
	CHECK_EQ(d->reg.nr_tx_slots, 4096);
	CHECK_EQ(d->reg.nr_rx_slots, 8192);
	for (uint32_t i = 0; i < 10000; i++) {
		raw_send(peer, 0, 2, i);
		nic_take(d, 0, 2, i);
	}
	nmport_close(d);
	d = open_flags(name, 0); /* the usual rings again */
	CHECK(d->reg.nr_tx_slots < 4096 && d->reg.nr_rx_slots < 4096);
	nmport_close(d);
	close(peer);
}

/* With NR_FORWARD and NS_FORWARD a packet that is given back goes on to the stack. */
TEST(nic_forward)
{
	const char *name = nic();
	int stack = raw_socket(name), peer = raw_socket(getenv("NMAPI_NIC_PEER"));
	struct nmport_d *d = prepare(name);
	struct netmap_ring *rx;

	d->reg.nr_mode = NR_REG_NIC_SW;
	CHECK_EQ(finish(d), 0);
	rx = rx_ring(d, 0);
	rx->flags |= NR_FORWARD;
	for (uint32_t i = 0; i < 50; i++) {
		bool ours = false;

		raw_send(peer, 0, 2, i);
		while (!ours) { /* the system may send something, too */
			CHECK(wait_slots(d, rx, 1));
			ours = is_ours(rx, &rx->slot[rx->head]);
			rx->slot[rx->head].flags |= NS_FORWARD;
			rx->head = rx->cur = nm_ring_next(rx, rx->head);
			CHECK_EQ(nmport_rxsync(d), 0);
		}
		raw_take(stack, 0, 2, i);
	}
	close(stack);
	close(peer);
	nmport_close(d);
}

TEST(nic_on_a_switch)
{
	const char *name = nic();
	int peer = raw_socket(getenv("NMAPI_NIC_PEER"));
	bool own_peer =
		strcmp(name, getenv("NMAPI_NIC_PEER")) == 0; /* its wire ends at its stack */
	struct nmport_d *d = open_flags("valenic:1", 0);
	char port[NETMAP_REQ_IFNAMSIZ];

	for (int host = 0; host < 2; host++) {
		struct nmreq_vale_attach body = {
			.reg.nr_mode = host ? NR_REG_NIC_SW : NR_REG_ALL_NIC};
		struct nmreq_vale_detach off = {0};
		int stack = raw_socket(name);

		snprintf(port, sizeof(port), "valenic:%s", name);
		CHECK_EQ(request(NETMAP_REQ_VALE_ATTACH, port, &body), 0);
		/* A persistent port's place is for programs to have. */
		CHECK_EQ(try_mode(name, NR_REG_ALL_NIC, NR_EXCLUSIVE), own_peer ? 0 : -EBUSY);
		CHECK_EQ(try_mode(port, NR_REG_ALL_NIC, NR_EXCLUSIVE), own_peer ? 0 : -EBUSY);
		CHECK_EQ(request_when_free(NETMAP_REQ_VALE_DETACH, port, &off), 0);
		CHECK_EQ(request(NETMAP_REQ_VALE_ATTACH, port, &body), 0);
		for (uint32_t i = 0; i < 50; i++) {
			send_frame(d, 0, 1, i);
			raw_take(peer, 0, 1, i);
			if (host)
				raw_take(stack, 0, 1, i);
			raw_send(peer, 0, 2, i);
			nic_take(d, 0, 2, i);
			if (host && !own_peer)
				raw_take(stack, 0, 2, i);
		}
		CHECK_EQ(request(NETMAP_REQ_VALE_DETACH, port, &off), 0);
		close(stack);
	}
	close(peer);
	nmport_close(d);
	CHECK_EQ(try_mode(name, NR_REG_ALL_NIC, NR_EXCLUSIVE), 0);
}
