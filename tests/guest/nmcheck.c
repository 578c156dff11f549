/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmcheck - checks of /dev/netmap itself, from inside a guest.
 *
 *	nmcheck CHECK [ARGUMENT...]
 *
 * Prints "ok" and exits with 0 when the check held; else one line that says what did not,
 * and 1. It speaks the ioctl interface without a library, so that it can break the
 * rules that a library keeps. Checks which wait for something else say "ready" first.
 *
 * Thread safety: a program; some checks start threads, joined before they end.
 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "guestprog.h"

enum {
	WAIT_MS = 180000, /* for what must happen: only a failure takes that long */
	PAYLOAD = 60,
};

/* ---- a registered port --------------------------------------------------------------- */

struct port {
	int fd;
	char *mem;
	uint64_t size;
	struct netmap_if *nifp;
	struct netmap_ring *tx, *rx; /* ring 0 of each */
};

static int register_fd(int fd, const char *name, uint64_t flags, struct nmreq_register *reg)
{
	memset(reg, 0, sizeof(*reg));
	reg->nr_mode = NR_REG_ALL_NIC;
	reg->nr_flags = flags;
	return request(fd, NETMAP_REQ_REGISTER, name, reg, NULL);
}

static struct port open_port(const char *name, uint64_t flags)
{
	struct port p = {.fd = open_dev()};
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC, .nr_flags = flags};

	register_port(p.fd, name, &reg, NULL);
	p.size = reg.nr_memsize;
	p.mem = map_region(p.fd, p.size);
	p.nifp = NETMAP_IF(p.mem, reg.nr_offset);
	p.tx = NETMAP_TXRING(p.nifp, 0);
	p.rx = NETMAP_RXRING(p.nifp, 0);
	return p;
}

static void close_port(struct port *p)
{
	CHECK(munmap(p->mem, p->size) == 0);
	CHECK(close(p->fd) == 0);
}

static int wait_for(struct port *p, short events)
{
	struct pollfd pfd = {.fd = p->fd, .events = events};

	CHECK(poll(&pfd, 1, WAIT_MS) == 1);
	return pfd.revents;
}

/* Puts a numbered broadcast packet into the next slot. */
static void put_packet(struct port *p, uint32_t number)
{
	struct netmap_ring *ring = p->tx;
	struct netmap_slot *slot = &ring->slot[ring->head];

	fill_packet(NETMAP_BUF(ring, slot->buf_idx), number, PAYLOAD);
	slot->len = PAYLOAD;
	slot->flags = 0;
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

static void send_packet(struct port *p, uint32_t number)
{
	CHECK(wait_for(p, POLLOUT) & POLLOUT);
	CHECK(!nm_ring_empty(p->tx));
	put_packet(p, number);
	CHECK(ioctl(p->fd, NIOCTXSYNC) == 0);
}

/* Takes the next packet out; it must be there. */
static void take_packet(struct port *p, uint32_t number)
{
	struct netmap_ring *ring = p->rx;
	struct netmap_slot *slot = &ring->slot[ring->head];
	const char *buf = NETMAP_BUF(ring, slot->buf_idx);
	uint32_t got;

	CHECK(!nm_ring_empty(ring));
	CHECK(slot->len == PAYLOAD);
	memcpy(&got, buf + 14, sizeof(got));
	if (got != number)
		fail("packet %u instead of %u", got, number);
	CHECK(buf[0] == (char)0xff && buf[PAYLOAD - 1] == (char)number);
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

static void receive_packet(struct port *p, uint32_t number)
{
	CHECK(wait_for(p, POLLIN) & POLLIN);
	take_packet(p, number);
}

/* ---- checks -------------------------------------------------------------------------- */

static void check_unbound(char **args)
{
	struct pollfd pfd = {.fd = open_dev(), .events = POLLIN | POLLOUT};
	struct nmreq_header hdr = {.nr_version = NETMAP_API};
	struct nmreq nmr = {.nr_version = NETMAP_API};

	CHECK_ERRNO(ioctl(pfd.fd, NIOCTXSYNC), ENXIO);
	CHECK_ERRNO(ioctl(pfd.fd, NIOCRXSYNC), ENXIO);
	CHECK_ERRNO(ioctl(pfd.fd, NIOCREGIF, &nmr), EINVAL); /* no name */
	CHECK_ERRNO(ioctl(pfd.fd, TIOCGWINSZ), ENOTTY);
	CHECK_ERRNO(ioctl(pfd.fd, NIOCCTRL, NULL), EFAULT);
	CHECK_ERRNO(ioctl(pfd.fd, NIOCCTRL, (void *)(uintptr_t)-4096), EFAULT);
	hdr.nr_reqtype = 99;
	CHECK_ERRNO(ioctl(pfd.fd, NIOCCTRL, &hdr), EOPNOTSUPP);
	hdr.nr_reqtype = NETMAP_REQ_REGISTER;
	CHECK_ERRNO(ioctl(pfd.fd, NIOCCTRL, &hdr), EFAULT);
	CHECK(poll(&pfd, 1, WAIT_MS) == 1 && (pfd.revents & POLLERR));
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, pfd.fd, 0) == MAP_FAILED && errno == ENXIO);
	close(pfd.fd);
}

static void check_mmap(char **args)
{
	struct port p = open_port("valem:1", 0);
	struct nmreq_register reg;
	char *part;

	CHECK_ERRNO(register_fd(p.fd, "valem:2", 0, &reg), EBUSY);
	CHECK(mmap(NULL, p.size, PROT_READ, MAP_PRIVATE, p.fd, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, p.size + 4096, PROT_READ, MAP_SHARED, p.fd, 0) == MAP_FAILED &&
		errno == EINVAL);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, p.fd, (off_t)p.size) == MAP_FAILED &&
		errno == EINVAL);
	CHECK(mmap(NULL, 8192, PROT_READ, MAP_SHARED, p.fd, (off_t)p.size - 4096) == MAP_FAILED &&
		errno == EINVAL);
	CHECK(mremap(p.mem, p.size, p.size + 4096, MREMAP_MAYMOVE) == MAP_FAILED);
	part = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, (off_t)p.size - 4096);
	CHECK(part != MAP_FAILED);
	part[7] = 42;
	CHECK(p.mem[p.size - 4096 + 7] == 42);
	for (uint64_t at = 0; at < p.size; at += 4096)
		(void)*(volatile char *)(p.mem + at);
	CHECK(munmap(part, 4096) == 0);
	close_port(&p);
}

/* The ring lives as long as a descriptor or a mapping does, and no longer. */
static void check_keep_mapping(char **args)
{
	struct port p = open_port("valek:1", NR_EXCLUSIVE);
	struct nmreq_register reg;
	int fd = open_dev();

	CHECK(close(p.fd) == 0);
	p.tx->slot[0].len = 17;
	CHECK(p.tx->slot[0].len == 17 && p.tx->num_slots > 0);
	CHECK_ERRNO(register_fd(fd, "valek:1", 0, &reg), EBUSY);
	CHECK(munmap(p.mem, p.size) == 0);
	CHECK(register_fd(fd, "valek:1", NR_EXCLUSIVE, &reg) == 0);
	CHECK(close(fd) == 0);
}

static void check_traffic(char **args)
{
	struct port a = open_port("valet:a", 0), b = open_port("valet:b", 0);

	for (uint32_t i = 0; i < 5000; i++) {
		send_packet(&a, i);
		receive_packet(&b, i);
	}
	/* A whole ring at once. */
	CHECK(ioctl(b.fd, NIOCRXSYNC) == 0);
	for (uint32_t i = 0; i < a.tx->num_slots - 1; i++)
		put_packet(&a, i);
	CHECK(ioctl(a.fd, NIOCTXSYNC) == 0);
	CHECK(ioctl(b.fd, NIOCRXSYNC) == 0);
	for (uint32_t i = 0; i < b.rx->num_slots - 1; i++)
		take_packet(&b, i);
	CHECK(nm_ring_empty(b.rx));
	close_port(&a);
	close_port(&b);
}

/* A move that is not allowed is refused, undone, refused again, and harms nobody. */
static void check_illegal(char **args)
{
	struct port a = open_port("valei:a", 0), b = open_port("valei:b", 0);
	uint32_t head;
	static const uint32_t absurd[] = {~0u, 1u << 31, 16384, 1024};

	send_packet(&a, 1);
	head = a.tx->head;
	for (unsigned i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
		a.tx->head = absurd[i];
		CHECK_ERRNO(ioctl(a.fd, NIOCTXSYNC), EINVAL);
		CHECK(a.tx->head == head && a.tx->cur == head);
		a.tx->cur = absurd[i];
		CHECK_ERRNO(ioctl(a.fd, NIOCTXSYNC), EINVAL);
		CHECK(a.tx->head == head && a.tx->cur == head);
	}
	a.tx->head = head + 5; /* cur is behind it now */
	CHECK_ERRNO(ioctl(a.fd, NIOCTXSYNC), EINVAL);
	CHECK(a.tx->head == head && a.tx->cur == head);
	b.rx->head = b.rx->cur = 5; /* more than came */
	CHECK_ERRNO(ioctl(b.fd, NIOCRXSYNC), EINVAL);
	CHECK(wait_for(&b, POLLIN) & POLLIN);
	b.rx->head = 700;
	CHECK(wait_for(&b, POLLIN) & POLLERR);
	take_packet(&b, 1);
	send_packet(&a, 2);
	receive_packet(&b, 2);
	close_port(&a);
	close_port(&b);
}

static void *poll_in_thread(void *arg)
{
	struct port *p = arg;
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

	return (void *)(intptr_t)(poll(&pfd, 1, WAIT_MS) == 1 ? pfd.revents : -1);
}

/* One that sleeps in poll() is woken by the packet, time after time. */
static void check_wakeup(char **args)
{
	struct port a = open_port("valew:a", 0), b = open_port("valew:b", 0);

	for (uint32_t i = 0; i < 500; i++) {
		pthread_t thread;
		void *revents;

		CHECK(pthread_create(&thread, NULL, poll_in_thread, &b) == 0);
		if (i % 2)
			usleep(i * 10); /* sometimes asleep by then, sometimes not */
		send_packet(&a, i);
		CHECK(pthread_join(thread, &revents) == 0);
		CHECK((intptr_t)revents == POLLIN);
		take_packet(&b, i);
	}
	close_port(&a);
	close_port(&b);
}

static void check_epoll(char **args)
{
	struct port a = open_port("valee:a", 0), b = open_port("valee:b", 0);
	struct epoll_event ev = {.events = EPOLLIN};
	int ep = epoll_create1(0);

	CHECK(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, b.fd, &ev) == 0);
	CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
	for (uint32_t i = 0; i < 200; i++) {
		send_packet(&a, i);
		CHECK(epoll_wait(ep, &ev, 1, WAIT_MS) == 1 && ev.events == EPOLLIN);
		take_packet(&b, i);
		CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
	}
	/* The file may go before the set does. */
	close_port(&b);
	CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
	close_port(&a);
	close(ep);
}

/* A child has the port as well, and keeps it when the parent lets go. */
static void check_fork(char **args)
{
	struct port a = open_port("valef:a", 0), b = open_port("valef:b", 0);
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		for (uint32_t i = 0; i < 100; i++)
			send_packet(&a, i);
		_exit(0);
	}
	close_port(&a);
	for (uint32_t i = 0; i < 100; i++)
		receive_packet(&b, i);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close_port(&b);
}

/* poll() syncs tx rings always, unless told not to; rx rings only when asked to. */
static void check_poll_flags(char **args)
{
	struct port a = open_port("valep:a", 0), b = open_port("valep:b", 0);
	struct port quiet = open_port("valep:q", NR_NO_TX_POLL),
		    eager = open_port("valep:e", NR_DO_RX_POLL);
	struct pollfd pfd = {.fd = a.fd, .events = POLLIN};

	put_packet(&a, 1); /* goes out with a poll for something else */
	CHECK(poll(&pfd, 1, 0) == 0);
	receive_packet(&b, 1);
	pfd.fd = quiet.fd;
	put_packet(&quiet, 2);
	CHECK(poll(&pfd, 1, 0) == 1 && pfd.revents == POLLIN); /* packet 1 */
	pfd.fd = b.fd;
	CHECK(poll(&pfd, 1, 0) == 0); /* packet 2 is not out yet */
	pfd = (struct pollfd){.fd = quiet.fd, .events = POLLOUT};
	CHECK(poll(&pfd, 1, 0) == 1 && pfd.revents == POLLOUT);
	receive_packet(&b, 2);
	pfd.fd = eager.fd;
	CHECK(nm_ring_empty(eager.rx));
	CHECK(poll(&pfd, 1, 0) == 1 && pfd.revents == POLLOUT);
	CHECK(nm_ring_space(eager.rx) == 2);
	pfd.fd = b.fd;
	send_packet(&a, 3);
	CHECK(poll(&pfd, 1, 0) == 1 && nm_ring_empty(b.rx));
	close_port(&a);
	close_port(&b);
	close_port(&quiet);
	close_port(&eager);
}

/* All memory that there is, and then some: refused, and nothing else happens. */
static void check_greedy(char **args)
{
	enum { FILES = 64 };
	struct nmreq_register reg;
	int fds[FILES], n = 0, result = 0;
	char name[32];

	while (n < FILES && result == 0) {
		fds[n] = open_dev();
		reg = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC,
			.nr_tx_rings = 2,
			.nr_rx_rings = 2,
			.nr_tx_slots = 8000,
			.nr_rx_slots = 8000};
		snprintf(name, sizeof(name), "valeg:%d", n);
		result = request(fds[n++], NETMAP_REQ_REGISTER, name, &reg, NULL);
	}
	CHECK(n < FILES && errno == ENOMEM);
	reg = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC,
		.nr_tx_rings = 64,
		.nr_rx_rings = 64,
		.nr_tx_slots = 8000,
		.nr_rx_slots = 16384};
	CHECK_ERRNO(request(fds[n - 1], NETMAP_REQ_REGISTER, "valeg:z", &reg, NULL), ENOMEM);
	reg.nr_tx_rings = 65535;
	CHECK_ERRNO(request(fds[n - 1], NETMAP_REQ_REGISTER, "valeg:z", &reg, NULL), EINVAL);
	while (n-- > 0)
		CHECK(close(fds[n]) == 0);
	check_traffic(NULL);
}

/* ---- hostile ------------------------------------------------------------------------- */

struct attack {
	struct port *p;
	unsigned seed;
	volatile bool *stop;
};

static uint32_t next_random(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 8;
}

static void scribble_ring(struct netmap_ring *ring, unsigned *seed)
{
	uint32_t i = next_random(seed) % 1024;
	struct netmap_slot *slot = &ring->slot[i];
	uint32_t r = next_random(seed);

	switch (r % 8) {
	case 0:
		ring->head = next_random(seed) % 1500;
		break;
	case 1:
		ring->cur = next_random(seed);
		break;
	case 2:
		slot->buf_idx = next_random(seed);
		break;
	case 3:
		slot->flags = (uint16_t)next_random(seed);
		break;
	case 4:
		*(volatile uint32_t *)&ring->tail = next_random(seed);
		*(volatile uint32_t *)(uintptr_t)&ring->num_slots = next_random(seed);
		break;
	case 5:
		slot->ptr = next_random(seed);
		break;
	default:
		slot->len = (uint16_t)next_random(seed);
		ring->head = ring->cur = (ring->head + 1) % 1024;
	}
}

static void *scribble(void *arg)
{
	struct attack *attack = arg;

	while (!*attack->stop) {
		scribble_ring(attack->p->tx, &attack->seed);
		scribble_ring(attack->p->rx, &attack->seed);
	}
	return NULL;
}

static void *sync_all(void *arg)
{
	struct attack *attack = arg;

	while (!*attack->stop) {
		struct pollfd pfd = {.fd = attack->p->fd, .events = POLLIN | POLLOUT};

		ioctl(attack->p->fd, NIOCTXSYNC);
		ioctl(attack->p->fd, NIOCRXSYNC);
		poll(&pfd, 1, 0);
	}
	return NULL;
}

/*
 * Memory that everyone maps is rewritten while several threads, over two files of the same port,
 * sync it. Nothing is expected of that port; its neighbours go on.
 */
static void check_hostile(char **args)
{
	struct port bad = open_port(args[0] ? args[0] : "valeh:bad", 0);
	struct port again = open_port(args[0] ? args[0] : "valeh:bad", 0);
	struct port a = open_port("valeg:a", 0), b = open_port("valeg:b", 0);
	volatile bool stop = false;
	struct attack attacks[4] = {
		{&bad, 1, &stop}, {&bad, 2, &stop}, {&again, 3, &stop}, {&bad, 4, &stop}};
	void *(*fn[4])(void *) = {scribble, sync_all, sync_all, scribble};
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, fn[i], &attacks[i]) == 0);
	for (uint32_t i = 0; i < 2000; i++) {
		send_packet(&a, i);
		receive_packet(&b, i);
	}
	stop = true;
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	close_port(&a);
	close_port(&b);
	close_port(&again);
	close_port(&bad);
}

/* Rewrites all rings of the region of a port, those of other ports included, until it is killed. */
static void check_scribble(char **args)
{
	struct port p = open_port(args[0], 0);
	struct nmreq_pools_info info = {0};
	struct nmreq_header hdr = {
		.nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_POOLS_INFO_GET};
	unsigned seed = 1;

	hdr.nr_body = (uintptr_t)&info;
	CHECK(ioctl(p.fd, NIOCCTRL, &hdr) == 0);
	CHECK(info.nr_memsize == p.size && info.nr_ring_pool_objtotal > 1);
	say("ready");
	for (;;) {
		uint32_t ring = next_random(&seed) % info.nr_ring_pool_objtotal;
		uint64_t at = info.nr_ring_pool_offset +
			      (uint64_t)ring * info.nr_ring_pool_objsize +
			      next_random(&seed) % (sizeof(struct netmap_ring) + 1024 * 16) / 4 * 4;

		*(volatile uint32_t *)(p.mem + at) = next_random(&seed) % 65536;
	}
}

/* ---- in concert with the test outside -------------------------------------------------- */

/*
 * A stream of numbered packets from one port to another one, on the same switch, which nothing
 * may be lost of: the receiver acknowledges, and the sender keeps no more packets under way
 * than any ring holds. So how fast either side is doesn't matter.
 */
enum {
	STREAM_TYPE = 0x88b5, /* ethertype for experiments */
	STREAM_LEN = 200,
	STREAM_WINDOW = 128,
	STREAM_ACK_EACH = 32,
};

struct stream_packet {
	uint8_t dst[6], src[6];
	uint8_t type[2];
	uint8_t ack; /* 0: data, 1: number packets have arrived */
	uint8_t pad;
	uint32_t number;
	uint8_t fill[STREAM_LEN - 20];
};

static void put_stream(struct port *p, uint8_t ack, uint32_t number)
{
	struct netmap_slot *slot = &p->tx->slot[p->tx->head];
	struct stream_packet *packet = (void *)NETMAP_BUF(p->tx, slot->buf_idx);

	memset(packet->dst, 0xff, sizeof(packet->dst));
	memset(packet->src, 0x02 + ack * 4, sizeof(packet->src));
	packet->type[0] = STREAM_TYPE >> 8;
	packet->type[1] = STREAM_TYPE & 0xff;
	packet->ack = ack;
	packet->number = number;
	memset(packet->fill, (int)number, sizeof(packet->fill));
	slot->len = sizeof(*packet);
	slot->flags = 0;
	p->tx->head = p->tx->cur = nm_ring_next(p->tx, p->tx->head);
}

/* Number of the next data packet or acknowledgement in a ring; -1: there is none. What others send
 * is skipped. */
static int64_t take_stream(struct netmap_ring *ring, uint8_t ack)
{
	while (!nm_ring_empty(ring)) {
		struct netmap_slot *slot = &ring->slot[ring->head];
		struct stream_packet packet;

		memcpy(&packet, NETMAP_BUF(ring, slot->buf_idx), sizeof(packet));
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
		if (packet.type[0] != STREAM_TYPE >> 8 || packet.type[1] != (STREAM_TYPE & 0xff) ||
			packet.ack != ack)
			continue;
		CHECK(slot->len == sizeof(packet));
		for (size_t i = 0; i < sizeof(packet.fill); i++)
			if (packet.fill[i] != (uint8_t)packet.number)
				fail("packet %u is corrupt at byte %zu", packet.number, i);
		return packet.number;
	}
	return -1;
}

static void check_stream_send(char **args)
{
	struct port p = open_port(args[0], 0);
	uint32_t count = (uint32_t)atoi(args[1]), sent = 0, acked = 0;

	while (acked < count) {
		short events = POLLIN;
		int64_t number;

		if (sent < count && sent - acked < STREAM_WINDOW)
			events |= POLLOUT;
		CHECK(!(wait_for(&p, events) & POLLERR));
		while (sent < count && sent - acked < STREAM_WINDOW && !nm_ring_empty(p.tx))
			put_stream(&p, 0, sent++);
		for (uint32_t r = 0; r < p.nifp->ni_rx_rings; r++)
			while ((number = take_stream(NETMAP_RXRING(p.nifp, r), 1)) >= 0)
				acked = (uint32_t)number;
	}
	close_port(&p);
}

static void check_stream_receive(char **args)
{
	struct port p = open_port(args[0], 0);
	uint32_t count = (uint32_t)atoi(args[1]), received = 0;
	int64_t number;

	say("ready");
	while (received < count) {
		CHECK(!(wait_for(&p, POLLIN) & POLLERR));
		for (uint32_t r = 0; r < p.nifp->ni_rx_rings; r++) {
			while ((number = take_stream(NETMAP_RXRING(p.nifp, r), 0)) >= 0) {
				if (number != received)
					fail("packet %u instead of %u", (unsigned)number, received);
				if (++received % STREAM_ACK_EACH == 0 || received == count)
					put_stream(&p, 1, received);
			}
		}
		CHECK(ioctl(p.fd, NIOCTXSYNC) == 0);
	}
	close_port(&p);
}

/* Registers and stays until it is killed. */
static void check_hold(char **args)
{
	open_port(args[0], args[1] && strcmp(args[1], "exclusive") == 0 ? NR_EXCLUSIVE : 0);
	say("ready");
	for (;;)
		pause();
}

/* REGISTER fails with this errno. */
static void check_refused(char **args)
{
	struct nmreq_register reg;
	int fd = open_dev();

	CHECK_ERRNO(register_fd(fd, args[0], 0, &reg), atoi(args[1]));
	close(fd);
}

/* Takes what has come. True: a packet of IP, as pkt-gen's, was among it, and not only what stacks send by themselves (ARP). */
static bool takes_ip(struct netmap_ring *ring)
{
	bool ip = false;

	for (; !nm_ring_empty(ring); ring->head = ring->cur = nm_ring_next(ring, ring->head)) {
		const uint8_t *frame = (uint8_t *)NETMAP_BUF(ring, ring->slot[ring->head].buf_idx);

		ip |= frame[12] == 0x08 && frame[13] == 0x00;
	}
	return ip;
}

/* Without a limit of its own: at its end poll() would look at the ring once more, woken or not. */
static void *sleep_in_thread(void *arg)
{
	struct port *p = arg;
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

	do {
		if (poll(&pfd, 1, -1) != 1)
			return (void *)-1;
	} while (pfd.revents == POLLIN && !takes_ip(p->rx));
	return (void *)(intptr_t)pfd.revents;
}

/* One thread sleeps until a packet of IP comes; another one syncs the same ring all the time. The
 * first is woken nevertheless. */
static void check_sleeper(char **args)
{
	struct port p = open_port(args[0], 0);
	pthread_t thread;
	void *revents;

	CHECK(ioctl(p.fd, NIOCRXSYNC) == 0);
	p.rx->head = p.rx->cur = p.rx->tail;
	CHECK(ioctl(p.fd, NIOCRXSYNC) == 0);
	alarm(WAIT_MS / 1000);
	CHECK(pthread_create(&thread, NULL, sleep_in_thread, &p) == 0);
	for (int i = 0; i < 50; i++) {
		usleep(10000);
		CHECK(ioctl(p.fd, NIOCRXSYNC) == 0);
	}
	say("ready");
	CHECK(pthread_join(thread, &revents) == 0);
	CHECK((intptr_t)revents == POLLIN);
	close_port(&p);
}

static sigjmp_buf bus_jump;

static void on_bus_error(int signo)
{
	siglongjmp(bus_jump, signo);
}

/* The device of the port goes away while it is open, mapped, and waited for; "region": that of its
 * memory, too. */
static void check_removal(char **args)
{
	struct port p = open_port(args[0], 0), other = open_port("valer:a", 0);
	struct pollfd pfd = {.fd = p.fd, .events = POLLIN};

	signal(SIGBUS, on_bus_error);
	for (uint64_t at = 0; at < other.size; at += 4096)
		(void)*(volatile char *)(other.mem + at);
	other.mem[0] = 99;
	p.tx->slot[0].len = 1; /* it is there */
	say("ready");
	do { /* packets that come before don't matter */
		if (sigsetjmp(bus_jump, 1) == 0)
			p.rx->head = p.rx->cur = p.rx->tail;
		CHECK(poll(&pfd, 1, WAIT_MS) == 1);
	} while (pfd.revents == POLLIN);
	CHECK((pfd.revents & (POLLERR | POLLHUP)) == (POLLERR | POLLHUP));
	CHECK_ERRNO(ioctl(p.fd, NIOCTXSYNC), ENXIO);
	CHECK_ERRNO(ioctl(p.fd, NIOCRXSYNC), ENXIO);
	if (strcmp(args[1], "region") == 0 && sigsetjmp(bus_jump, 1) == 0) {
		/* It is taken away after we are told that the port is dead. */
		for (int ms = 0; ms < WAIT_MS; ms++, usleep(1000))
			p.tx->slot[0].len = 2;
		fail("the memory of a device that is gone can be written");
	}
	CHECK(other.mem[0] == 99); /* other regions are not touched by that */
	close_port(&other);
	close_port(&p);
}

static const struct check checks[] = {
	{"unbound", check_unbound, 0},
	{"mmap", check_mmap, 0},
	{"keep-mapping", check_keep_mapping, 0},
	{"traffic", check_traffic, 0},
	{"illegal", check_illegal, 0},
	{"wakeup", check_wakeup, 0},
	{"epoll", check_epoll, 0},
	{"fork", check_fork, 0},
	{"poll-flags", check_poll_flags, 0},
	{"greedy", check_greedy, 0},
	{"hostile", check_hostile, 0},
	{"scribble", check_scribble, 1},
	{"stream-send", check_stream_send, 2},
	{"stream-receive", check_stream_receive, 2},
	{"sleeper", check_sleeper, 1},
	{"hold", check_hold, 1},
	{"refused", check_refused, 2},
	{"removal", check_removal, 2},
};

int main(int argc, char **argv)
{
	return run_check(checks, sizeof(checks) / sizeof(checks[0]), argc, argv,
		"usage: nmcheck CHECK [ARGUMENT...]; see its source");
}
