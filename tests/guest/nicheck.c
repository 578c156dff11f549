/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nicheck - netmap ports of network devices, from inside a guest.
 *
 *	nicheck send PORT COUNT BYTES [BATCH]	numbered frames through a port; with a pause of a
 *						few milliseconds behind each batch
 *	nicheck fill PORT COUNT BYTES TIMES	the same, but closes the port without waiting until they are sent,
 *						and opens it again
 *	nicheck receive PORT COUNT		all of them must come, whole and in order
 *	nicheck count PORT SECONDS		receives what comes; prints how many were ours
 *	nicheck raw-send IF COUNT BYTES [BATCH]	the same frames through a packet socket
 *	nicheck bypass-send IF COUNT BYTES	the same past the queueing discipline; each send() must succeed
 *	nicheck raw-receive IF COUNT
 *	nicheck relay PORT PORT			passes frames on, both ways, until SIGTERM; then prints
 *						"passed N wrong N longest N tagged N"
 *	nicheck relay-header PORT PORT		the same on ports with a virtio-net header
 *	nicheck forward IF			NR_FORWARD: device to stack and back, until SIGTERM
 *	nicheck hold PORT			until it is killed
 *	nicheck removal PORT			waits until the port is dead
 *	nicheck ctl REQUEST NAME [NUMBER...]	attach, attach-host, detach, poll, no-poll, newif,
 *						delif, hdr, info
 *	nicheck switch-polling NAME		poll, no-poll and again, until it is killed
 *	nicheck refused-newif NAME TIMES	a persistent port that the kernel refuses to register: meanwhile nobody
 *						gets at it
 *
 * $NICHECK_FD is an open /dev/netmap, to be used in place of one that is opened here.
 * PORT is the name of a network device or another netmap port; with ^ behind it, its host
 * rings; with + the device's and the host's; with =N its ring pair N. Prints "ready" when it is, and "ok" when
 * all went well; else one line that says what did not, and exits with 1.
 *
 * A frame that is passed on must have nothing left to be done: right lengths and checksums of
 * IPv4, IPv6, TCP, UDP; at most the MTU long. `wrong` counts those that have.
 *
 * Thread safety: a program of one thread.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "guestprog.h"

enum {
	WAIT_MS = 60000, /* for what must happen: only a failure takes that long */
	ETHERTYPE = 0x88b5,
	FRAME_MAX = 70000,
	HEADER = 14 + 8, /* Ethernet; number and length of the frame */
};

static volatile sig_atomic_t stopped;

static void stop(int signo)
{
	stopped = 1;
}

/* ---- frames of our own ---------------------------------------------------------------- */

static void make_frame(uint8_t *frame, uint32_t number, uint32_t bytes)
{
	memset(frame, 0xff, 6);
	memcpy(frame + 6, "\x02nichk", 6);
	frame[12] = ETHERTYPE >> 8;
	frame[13] = ETHERTYPE & 0xff;
	memcpy(frame + 14, &number, 4);
	memcpy(frame + 18, &bytes, 4);
	for (uint32_t i = HEADER; i < bytes; i++)
		frame[i] = (uint8_t)(number * 31 + i + (i >> 8));
}

static bool is_ours(const uint8_t *frame, uint32_t bytes)
{
	return bytes >= HEADER && frame[12] == ETHERTYPE >> 8 && frame[13] == (ETHERTYPE & 0xff);
}

static void check_frame(const uint8_t *frame, uint32_t number, uint32_t bytes)
{
	static uint8_t expected[FRAME_MAX];
	uint32_t got, length;

	memcpy(&got, frame + 14, 4);
	memcpy(&length, frame + 18, 4);
	if (got != number)
		fail("frame %u instead of %u", got, number);
	if (length != bytes && !(length < 60 && bytes == 60))
		fail("frame %u: %u bytes instead of %u", number, bytes, length);
	make_frame(expected, number, length);
	for (uint32_t i = 0; i < length; i++)
		if (frame[i] != expected[i])
			fail("frame %u: byte %u is %02x instead of %02x", number, i, frame[i],
				expected[i]);
}

/* ---- netmap ports ------------------------------------------------------------------------ */

struct port {
	int fd;
	char *mem;
	struct netmap_if *nifp;
	size_t bytes;                /* of mem */
	uint32_t first[2], count[2]; /* rings: tx, rx */
};

static struct port open_port(const char *spec, uint64_t flags)
{
	const char *fd = getenv("NICHECK_FD");
	struct port p = {.fd = fd ? atoi(fd) : open_dev()};
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC, .nr_flags = flags};
	char name[64], *ring;
	size_t len;

	snprintf(name, sizeof(name), "%s", spec);
	ring = strchr(name, '=');
	if (ring) {
		*ring = '\0';
		reg.nr_mode = NR_REG_ONE_NIC;
		reg.nr_ringid = (uint16_t)atoi(ring + 1);
	}
	len = strlen(name);
	if (len > 0 && name[len - 1] == '^')
		reg.nr_mode = NR_REG_SW;
	if (len > 0 && name[len - 1] == '+')
		reg.nr_mode = NR_REG_NIC_SW;
	if (reg.nr_mode == NR_REG_SW || reg.nr_mode == NR_REG_NIC_SW)
		name[len - 1] = '\0';
	if (request(p.fd, NETMAP_REQ_REGISTER, name, &reg, NULL) != 0)
		fail("%s: can't be registered: %s", spec, strerror(errno));
	p.bytes = reg.nr_memsize;
	p.mem = map_region(p.fd, reg.nr_memsize);
	p.nifp = NETMAP_IF(p.mem, reg.nr_offset);
	if (reg.nr_mode == NR_REG_ONE_NIC) {
		p.first[0] = p.first[1] = reg.nr_ringid;
		p.count[0] = p.count[1] = 1;
		return p;
	}
	p.first[0] = reg.nr_mode == NR_REG_SW ? reg.nr_tx_rings : 0;
	p.first[1] = reg.nr_mode == NR_REG_SW ? reg.nr_rx_rings : 0;
	p.count[0] = (reg.nr_mode == NR_REG_SW ? 0u : reg.nr_tx_rings) +
		     (reg.nr_mode == NR_REG_ALL_NIC ? 0u : reg.nr_host_tx_rings);
	p.count[1] = (reg.nr_mode == NR_REG_SW ? 0u : reg.nr_rx_rings) +
		     (reg.nr_mode == NR_REG_ALL_NIC ? 0u : reg.nr_host_rx_rings);
	return p;
}

static struct netmap_ring *tx_ring(const struct port *p, uint32_t i)
{
	return NETMAP_TXRING(p->nifp, p->first[0] + i);
}

static struct netmap_ring *rx_ring(const struct port *p, uint32_t i)
{
	return NETMAP_RXRING(p->nifp, p->first[1] + i);
}

static short wait_for(const struct port *p, short events)
{
	struct pollfd pfd = {.fd = p->fd, .events = events};
	int ready = poll(&pfd, 1, WAIT_MS);

	if (ready == 0)
		fail("nothing happens");
	CHECK(ready == 1 || errno == EINTR);
	if (ready == 1 && (pfd.revents & POLLERR))
		fail("the port is dead");
	return ready == 1 ? pfd.revents : 0;
}

/* Puts a frame into a ring, if it has room. */
static bool put(struct netmap_ring *ring, const uint8_t *frame, uint32_t bytes)
{
	uint32_t slots = (bytes + ring->nr_buf_size - 1) / ring->nr_buf_size;
	uint32_t at = ring->head;

	if (nm_ring_space(ring) < slots)
		return false;
	while (bytes > 0) {
		struct netmap_slot *slot = &ring->slot[at];
		uint32_t n = bytes < ring->nr_buf_size ? bytes : ring->nr_buf_size;

		memcpy(NETMAP_BUF(ring, slot->buf_idx), frame, n);
		slot->len = (uint16_t)n;
		slot->flags = bytes > n ? NS_MOREFRAG : 0;
		frame += n;
		bytes -= n;
		at = nm_ring_next(ring, at);
	}
	ring->head = ring->cur = at;
	return true;
}

/* Takes a frame out of a ring: its length; 0: there is none. */
static uint32_t take(struct netmap_ring *ring, uint8_t *frame)
{
	uint32_t bytes = 0;

	if (nm_ring_empty(ring))
		return 0;
	for (;;) {
		const struct netmap_slot *slot = &ring->slot[ring->head];
		bool more = slot->flags & NS_MOREFRAG;

		CHECK(bytes + slot->len <= FRAME_MAX && !nm_ring_empty(ring));
		memcpy(frame + bytes, NETMAP_BUF(ring, slot->buf_idx), slot->len);
		bytes += slot->len;
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
		if (!more)
			return bytes;
	}
}

static uint32_t take_any(const struct port *p, uint8_t *frame)
{
	for (uint32_t i = 0; i < p->count[1]; i++) {
		uint32_t bytes = take(rx_ring(p, i), frame);

		if (bytes > 0)
			return bytes;
	}
	return 0;
}

static void flush(const struct port *p)
{
	for (int ms = 0; ms < WAIT_MS; ms++) {
		bool pending = false;

		CHECK(ioctl(p->fd, NIOCTXSYNC) == 0);
		for (uint32_t i = 0; i < p->count[0]; i++)
			pending |= nm_tx_pending(tx_ring(p, i));
		if (!pending)
			return;
		usleep(1000);
	}
	fail("some frames are never sent");
}

static uint32_t number_arg(char **args, int i)
{
	for (int k = 0; k <= i; k++)
		if (!args[k])
			return 0;
	return (uint32_t)strtoul(args[i], NULL, 0);
}

/* Behind each batch: time for the receiver. */
static bool pause_here(uint32_t number, uint32_t batch)
{
	return batch > 0 && number % batch == batch - 1;
}

/* A veth hands each frame to the CPU that sends it, and so frames that a wandering process has
 * sent from another CPU can come before those of the first. */
static void stay_on_this_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)sched_getcpu(), &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static void fill_once(const char *name, uint32_t count, uint32_t bytes)
{
	static uint8_t frame[FRAME_MAX];
	struct port p = open_port(name, 0);

	for (uint32_t number = 0; number < count; number++) {
		make_frame(frame, number, bytes);
		while (!put(tx_ring(&p, 0), frame, bytes))
			wait_for(&p, POLLOUT);
	}
	CHECK(ioctl(p.fd, NIOCTXSYNC) == 0);
	CHECK(munmap(p.mem, p.bytes) == 0 && close(p.fd) == 0);
}

static void cmd_fill(char **args)
{
	for (int times = atoi(args[3]); times > 0; times--)
		fill_once(args[0], (uint32_t)atoi(args[1]), (uint32_t)atoi(args[2]));
}

static void cmd_send(char **args)
{
	static uint8_t frame[FRAME_MAX];
	struct port p = open_port(args[0], 0);
	uint32_t count = (uint32_t)atoi(args[1]), bytes = (uint32_t)atoi(args[2]);
	uint32_t batch = number_arg(args, 3);

	stay_on_this_cpu();
	for (uint32_t number = 0; number < count; number++) {
		make_frame(frame, number, bytes);
		while (!put(tx_ring(&p, 0), frame, bytes))
			wait_for(&p, POLLOUT);
		if (pause_here(number, batch)) {
			CHECK(ioctl(p.fd, NIOCTXSYNC) == 0);
			usleep(5000);
		}
	}
	flush(&p);
}

static void cmd_receive(char **args)
{
	static uint8_t frame[FRAME_MAX];
	struct port p = open_port(args[0], 0);
	uint32_t count = (uint32_t)atoi(args[1]), number = 0;

	say("ready");
	while (number < count) {
		uint32_t bytes = take_any(&p, frame);

		if (bytes == 0)
			wait_for(&p, POLLIN);
		else if (is_ours(frame, bytes))
			check_frame(frame, number++, bytes);
	}
	/* The sender at the other end of a pipe waits for the slots. */
	CHECK(ioctl(p.fd, NIOCRXSYNC) == 0);
}

static void cmd_count(char **args)
{
	static uint8_t frame[FRAME_MAX];
	struct port p = open_port(args[0], 0);
	time_t end = time(NULL) + atoi(args[1]);
	uint32_t ours = 0;

	say("ready");
	while (time(NULL) < end) {
		struct pollfd pfd = {.fd = p.fd, .events = POLLIN};
		uint32_t bytes;

		if (poll(&pfd, 1, 200) > 0 && (pfd.revents & POLLERR))
			fail("the port is dead");
		while ((bytes = take_any(&p, frame)) > 0)
			ours += is_ours(frame, bytes);
	}
	printf("counted %u\n", ours);
}

static void cmd_hold(char **args)
{
	struct port p = open_port(args[0], 0);

	say("ready");
	while (p.fd >= 0)
		pause();
}

static void cmd_removal(char **args)
{
	struct port p = open_port(args[0], 0);
	struct pollfd pfd = {.fd = p.fd, .events = POLLIN};
	int tries = 0;

	say("ready");
	do {
		CHECK(poll(&pfd, 1, WAIT_MS) == 1);
		for (uint32_t i = 0; i < p.count[1]; i++)
			rx_ring(&p, i)->head = rx_ring(&p, i)->cur = rx_ring(&p, i)->tail;
	} while (!(pfd.revents & POLLERR) && ++tries < 1000);
	CHECK(pfd.revents & POLLERR);
	CHECK(ioctl(p.fd, NIOCTXSYNC) == -1 && errno == ENXIO);
	CHECK(ioctl(p.fd, NIOCRXSYNC) == -1 && errno == ENXIO);
}

/* ---- packet sockets ----------------------------------------------------------------------- */

static int packet_socket(const char *ifname, uint16_t proto)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(proto)};
	int size = 32 << 20;
	int fd = socket(AF_PACKET, SOCK_RAW, htons(proto));

	CHECK(fd >= 0);
	addr.sll_ifindex = (int)if_nametoindex(ifname);
	CHECK(addr.sll_ifindex != 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) == 0);
	CHECK(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	return fd;
}

static void cmd_raw_send(char **args)
{
	static uint8_t frame[FRAME_MAX];
	int fd = packet_socket(args[0], ETHERTYPE);
	uint32_t count = (uint32_t)atoi(args[1]), bytes = (uint32_t)atoi(args[2]);
	uint32_t batch = number_arg(args, 3);

	stay_on_this_cpu();
	for (uint32_t number = 0; number < count; number++) {
		make_frame(frame, number, bytes);
		while (send(fd, frame, bytes, 0) != (ssize_t)bytes) {
			CHECK(errno == ENOBUFS);
			usleep(1000);
		}
		if (pause_here(number, batch))
			usleep(5000);
	}
}

static void cmd_bypass_send(char **args)
{
	static uint8_t frame[FRAME_MAX];
	int fd = packet_socket(args[0], ETHERTYPE), on = 1;
	uint32_t count = (uint32_t)atoi(args[1]), bytes = (uint32_t)atoi(args[2]);

	CHECK(setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) == 0);
	stay_on_this_cpu();
	for (uint32_t number = 0; number < count; number++) {
		make_frame(frame, number, bytes);
		if (send(fd, frame, bytes, 0) != (ssize_t)bytes)
			fail("frame %u: %s", number, strerror(errno));
	}
}

static void cmd_raw_receive(char **args)
{
	static uint8_t frame[FRAME_MAX];
	int fd = packet_socket(args[0], ETHERTYPE);
	uint32_t count = (uint32_t)atoi(args[1]), number = 0;

	say("ready");
	while (number < count) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		struct sockaddr_ll from;
		socklen_t len = sizeof(from);
		ssize_t bytes;

		if (poll(&pfd, 1, WAIT_MS) != 1)
			fail("nothing comes behind frame %u", number);
		bytes = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &len);
		CHECK(bytes > 0);
		if (from.sll_pkttype != PACKET_OUTGOING && is_ours(frame, (uint32_t)bytes))
			check_frame(frame, number++, (uint32_t)bytes);
	}
}

/* ---- relay --------------------------------------------------------------------------------- */

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t sum(const uint8_t *data, uint32_t bytes, uint32_t s)
{
	uint32_t i;

	for (i = 0; i + 1 < bytes; i += 2)
		s += get16(data + i);
	if (i < bytes)
		s += (uint32_t)data[i] << 8;
	return s;
}

static bool sum_is_right(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s == 0xffff;
}

/* `addresses`: of the pseudo header. */
static bool transport_is_right(const uint8_t *at, uint32_t bytes, uint8_t proto,
	const uint8_t *addresses, uint32_t address_bytes)
{
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return true;
	if (bytes < 8)
		return false;
	if (proto == IPPROTO_UDP && get16(at + 6) == 0)
		return address_bytes == 8; /* no checksum; on IPv6 there must be one */
	return sum_is_right(sum(at, bytes, sum(addresses, address_bytes, proto + bytes)));
}

static bool frame_is_right(const uint8_t *frame, uint32_t bytes, bool *tagged)
{
	uint32_t at = 12, total, header;

	if (bytes < 14)
		return false;
	*tagged = get16(frame + at) == ETH_P_8021Q;
	if (*tagged)
		at += 4;
	at += 2;
	if (get16(frame + at - 2) == ETH_P_IP && bytes >= at + 20) {
		header = (frame[at] & 15) * 4u;
		total = get16(frame + at + 2);
		if (total > bytes - at || header > total ||
			!sum_is_right(sum(frame + at, header, 0)))
			return false;
		if (get16(frame + at + 6) & 0x3fff) /* a fragment */
			return true;
		return transport_is_right(
			frame + at + header, total - header, frame[at + 9], frame + at + 12, 8);
	}
	if (get16(frame + at - 2) == ETH_P_IPV6 && bytes >= at + 40) {
		total = get16(frame + at + 4);
		return total <= bytes - at - 40 && transport_is_right(frame + at + 40, total,
							   frame[at + 6], frame + at + 8, 32);
	}
	return true;
}

struct counts {
	uint64_t passed, wrong, longest, tagged;
};

/* From all rings of one port to ring 0 of the other. `check`: nothing may be left to be done. */
static void pass_all(const struct port *from, const struct port *to, bool check, struct counts *c)
{
	static uint8_t frame[FRAME_MAX];
	uint32_t bytes;

	for (uint32_t room = 64; room > 0; room--) {
		bool tagged = false;

		if (nm_ring_space(tx_ring(to, 0)) < 40)
			return;
		bytes = take_any(from, frame);
		if (bytes == 0)
			return;
		c->wrong += check && !frame_is_right(frame, bytes, &tagged);
		c->tagged += tagged;
		c->passed++;
		if (bytes > c->longest)
			c->longest = bytes;
		CHECK(put(tx_ring(to, 0), frame, bytes));
	}
}

static bool any_rx(const struct port *p)
{
	for (uint32_t i = 0; i < p->count[1]; i++)
		if (!nm_ring_empty(rx_ring(p, i)))
			return true;
	return false;
}

static void relay(char **args, uint64_t flags)
{
	struct port a = open_port(args[0], flags), b = open_port(args[1], flags);
	bool check = !(flags & NR_ACCEPT_VNET_HDR);
	struct counts c = {0};

	signal(SIGTERM, stop);
	say("ready");
	while (!stopped) {
		struct pollfd pfd[] = {{.fd = a.fd}, {.fd = b.fd}};

		/* Where there is something to pass on, room for it is what is waited for. */
		pfd[0].events = any_rx(&b) ? POLLOUT : POLLIN;
		pfd[1].events = any_rx(&a) ? POLLOUT : POLLIN;
		poll(pfd, 2, any_rx(&a) || any_rx(&b) ? 1 : 200);
		if ((pfd[0].revents | pfd[1].revents) & POLLERR)
			fail("a port is dead");
		CHECK(ioctl(a.fd, NIOCRXSYNC) == 0 && ioctl(b.fd, NIOCRXSYNC) == 0);
		pass_all(&a, &b, check, &c);
		pass_all(&b, &a, check, &c);
		CHECK(ioctl(a.fd, NIOCTXSYNC) == 0 && ioctl(b.fd, NIOCTXSYNC) == 0);
	}
	printf("passed %llu wrong %llu longest %llu tagged %llu\n", (unsigned long long)c.passed,
		(unsigned long long)c.wrong, (unsigned long long)c.longest,
		(unsigned long long)c.tagged);
}

static void cmd_relay(char **args)
{
	relay(args, 0);
}

static void cmd_relay_header(char **args)
{
	relay(args, NR_ACCEPT_VNET_HDR);
}

static void cmd_forward(char **args)
{
	char name[70];
	struct port p;
	uint64_t forwarded = 0;

	snprintf(name, sizeof(name), "%s+", args[0]);
	p = open_port(name, 0);
	signal(SIGTERM, stop);
	for (uint32_t i = 0; i < p.count[1]; i++)
		rx_ring(&p, i)->flags |= NR_FORWARD;
	say("ready");
	while (!stopped) {
		struct pollfd pfd = {.fd = p.fd, .events = POLLIN};

		if (poll(&pfd, 1, 200) > 0 && (pfd.revents & POLLERR))
			fail("the port is dead");
		for (uint32_t i = 0; i < p.count[1]; i++) {
			struct netmap_ring *ring = rx_ring(&p, i);

			while (!nm_ring_empty(ring)) {
				ring->slot[ring->head].flags |= NS_FORWARD;
				ring->head = ring->cur = nm_ring_next(ring, ring->head);
				forwarded++;
			}
		}
		CHECK(ioctl(p.fd, NIOCRXSYNC) == 0);
	}
	printf("forwarded %llu\n", (unsigned long long)forwarded);
}

/* ---- control --------------------------------------------------------------------------------- */

static void cmd_ctl(char **args)
{
	const char *what = args[0], *name = args[1];
	union {
		struct nmreq_vale_attach attach;
		struct nmreq_vale_detach detach;
		struct nmreq_vale_polling polling;
		struct nmreq_vale_newif newif;
		struct nmreq_port_hdr hdr;
		struct nmreq_port_info_get info;
	} body = {0};
	int fd = open_dev(), result = -1;

	if (strcmp(what, "attach") == 0 || strcmp(what, "attach-host") == 0) {
		body.attach.reg.nr_mode = what[6] ? NR_REG_NIC_SW : NR_REG_ALL_NIC;
		result = request(fd, NETMAP_REQ_VALE_ATTACH, name, &body, NULL);
	} else if (strcmp(what, "detach") == 0) {
		result = request(fd, NETMAP_REQ_VALE_DETACH, name, &body, NULL);
	} else if (strcmp(what, "poll") == 0) {
		body.polling.nr_mode = NETMAP_POLLING_MODE_SINGLE_CPU;
		body.polling.nr_first_cpu_id = number_arg(args, 2);
		body.polling.nr_num_polling_cpus = 1;
		result = request(fd, NETMAP_REQ_VALE_POLLING_ENABLE, name, &body, NULL);
	} else if (strcmp(what, "no-poll") == 0) {
		body.polling.nr_mode = NETMAP_POLLING_MODE_SINGLE_CPU;
		result = request(fd, NETMAP_REQ_VALE_POLLING_DISABLE, name, &body, NULL);
	} else if (strcmp(what, "newif") == 0) {
		result = request(fd, NETMAP_REQ_VALE_NEWIF, name, &body, NULL);
	} else if (strcmp(what, "delif") == 0) {
		result = request(fd, NETMAP_REQ_VALE_DELIF, name, NULL, NULL);
	} else if (strcmp(what, "hdr") == 0) {
		body.hdr.nr_hdr_len = number_arg(args, 2);
		result = request(fd, NETMAP_REQ_PORT_HDR_SET, name, &body, NULL);
	} else if (strcmp(what, "info") == 0) {
		result = request(fd, NETMAP_REQ_PORT_INFO_GET, name, &body, NULL);
		if (result == 0)
			printf("tx %u rx %u host %u %u slots %u %u mem %u\n", body.info.nr_tx_rings,
				body.info.nr_rx_rings, body.info.nr_host_tx_rings,
				body.info.nr_host_rx_rings, body.info.nr_tx_slots,
				body.info.nr_rx_slots, body.info.nr_mem_id);
	} else {
		fail("there is no request %s", what);
	}
	if (result != 0)
		fail("%s %s: %s", what, name, strerror(errno));
}

/* What was left by one that was killed may be refused. */
static void cmd_switch_polling(char **args)
{
	struct nmreq_vale_polling body = {
		.nr_mode = NETMAP_POLLING_MODE_SINGLE_CPU, .nr_num_polling_cpus = 1};
	int fd = open_dev();

	say("ready");
	for (;;) {
		(void)request(fd, NETMAP_REQ_VALE_POLLING_ENABLE, args[0], &body, NULL);
		(void)request(fd, NETMAP_REQ_VALE_POLLING_DISABLE, args[0], &body, NULL);
	}
}

/* It is listed already when the kernel refuses it. */
static void want_again_and_again(const char *name)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};
		int fd = open_dev();

		CHECK_ERRNO(request(fd, NETMAP_REQ_REGISTER, name, &reg, NULL), ENXIO);
		CHECK_ERRNO(request(fd, NETMAP_REQ_VALE_DELIF, name, NULL, NULL), ENXIO);
		CHECK(close(fd) == 0);
	}
}

static void cmd_refused_newif(char **args)
{
	pid_t other = fork();
	int fd = open_dev(), status;

	CHECK(other >= 0);
	if (other == 0)
		want_again_and_again(args[0]);
	for (uint32_t i = number_arg(args, 1); i > 0; i--) {
		struct nmreq_vale_newif newif = {0};

		CHECK_ERRNO(request(fd, NETMAP_REQ_VALE_NEWIF, args[0], &newif, NULL), EINVAL);
	}
	CHECK(kill(other, SIGKILL) == 0 && waitpid(other, &status, 0) == other);
	if (!WIFSIGNALED(status))
		fail("somebody got at it");
}

int main(int argc, char **argv)
{
	static const struct check commands[] = {
		{"send", cmd_send, 3},
		{"fill", cmd_fill, 4},
		{"receive", cmd_receive, 2},
		{"count", cmd_count, 2},
		{"raw-send", cmd_raw_send, 3},
		{"bypass-send", cmd_bypass_send, 3},
		{"raw-receive", cmd_raw_receive, 2},
		{"relay", cmd_relay, 2},
		{"relay-header", cmd_relay_header, 2},
		{"forward", cmd_forward, 1},
		{"hold", cmd_hold, 1},
		{"removal", cmd_removal, 1},
		{"ctl", cmd_ctl, 2},
		{"switch-polling", cmd_switch_polling, 1},
		{"refused-newif", cmd_refused_newif, 2},
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return run_check(commands, sizeof(commands) / sizeof(commands[0]), argc, argv,
		"nicheck: what is to be done? See the beginning of nicheck.c");
}
