/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptcheck - what a guest makes of its own on a passed-through port: pipes, monitors, host rings and
 * extra buffers, in the part of the region that the host has set aside for it.
 *
 *	ptcheck room PORT		how many extra buffers can be had: prints the number
 *	ptcheck pipe PORT		packets through a pipe of the port
 *	ptcheck apart-pipe PORT		the same where a pipe doesn't lie with its port
 *	ptcheck monitor PORT		copy and zero-copy monitors of what the port sends
 *	ptcheck watch PORT COUNT	the same of what it receives, which others must send
 *	ptcheck edge PORT COUNT		edge-triggered epoll tells of so many packets that others send
 *	ptcheck extra PORT		buffers of the list go out through the port
 *	ptcheck wander PORT ROUNDS	buffers are exchanged between port, pipe, host rings and
 *					extra list, which then go in any order
 *	ptcheck relay PORT		between port and host rings without copying, until it is killed
 *	ptcheck hdr PORT BYTES		sets the length of the virtio-net header
 *	ptcheck forward PORT		the same with NR_FORWARD and NS_FORWARD
 *	ptcheck give PORT COUNT		so many packets out; stays, until it is killed
 *	ptcheck keep PORT COUNT		the other end of that: keeps them, and looks at them all the
 *					time, until a packet more comes
 *	ptcheck spoil PORT		leaves buffers in two slots, and numbers that are none
 *	ptcheck apart PORT		each slot has a buffer of its own
 *	ptcheck parts PORT		mappings of all of the region that are cut, moved, protected, out of step
 *	ptcheck policy PORT		a memory policy for a mapping of all of the region is checked by the kernel
 *	ptcheck removal PORT FILE	until the ports are gone, with pipe and monitor open; and, once there is FILE, the
 *					region: nobody comes in, and all leave
 *
 * Prints "ok" and exits with 0 when the check held; else one line that says what did not, and 1.
 * Checks which wait for something else say "ready" first.
 *
 * Thread safety: a program of one thread.
 */
#include <linux/mempolicy.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "guestprog.h"

enum {
	WAIT_MS = 60000, /* for what must happen: only a failure takes that long */
	PAYLOAD = 80,
	EXTRA = 64,
};

/* ---- ports ----------------------------------------------------------------------------- */

struct port {
	int fd;
	char *mem;
	uint64_t size;
	struct netmap_if *nifp;
	struct netmap_ring *tx, *rx;           /* ring 0 of each */
	struct netmap_ring *host_tx, *host_rx; /* NULL: not included */
	struct nmreq_register reg;
};

static struct netmap_ring *ring_at(const struct port *p, uint32_t entry)
{
	return p->nifp->ring_ofs[entry] == 0 ? NULL
					     : (void *)((char *)p->nifp + p->nifp->ring_ofs[entry]);
}

/* `suffix` is added to the name of the port: "{x" is a pipe of it. slots: 0 for the port's own. */
static struct port open_slots(const char *name, const char *suffix, uint32_t mode, uint64_t flags,
	uint32_t extra, uint16_t slots)
{
	struct port p = {.fd = open_dev()};
	char full[NETMAP_REQ_IFNAMSIZ];
	uint32_t host;

	snprintf(full, sizeof(full), "%s%s", name, suffix);
	p.reg = (struct nmreq_register){.nr_mode = mode,
		.nr_flags = flags,
		.nr_extra_bufs = extra,
		.nr_tx_slots = slots,
		.nr_rx_slots = slots};
	register_port(p.fd, full, &p.reg, NULL);
	p.size = p.reg.nr_memsize;
	p.mem = map_region(p.fd, p.size);
	p.nifp = NETMAP_IF(p.mem, p.reg.nr_offset);
	host = p.nifp->ni_tx_rings + p.nifp->ni_host_tx_rings;
	p.tx = ring_at(&p, 0);
	p.host_tx = ring_at(&p, p.nifp->ni_tx_rings);
	p.rx = ring_at(&p, host);
	p.host_rx = ring_at(&p, host + p.nifp->ni_rx_rings);
	return p;
}

static struct port open_port(
	const char *name, const char *suffix, uint32_t mode, uint64_t flags, uint32_t extra)
{
	return open_slots(name, suffix, mode, flags, extra, 0);
}

static void close_port(struct port *p)
{
	CHECK(munmap(p->mem, p->size) == 0);
	CHECK(close(p->fd) == 0);
}

static struct port open_nic(const char *name)
{
	return open_port(name, "", NR_REG_ALL_NIC, 0, 0);
}

static void wait_for(struct port *p, short events)
{
	struct pollfd pfd = {.fd = p->fd, .events = events};

	CHECK(poll(&pfd, 1, WAIT_MS) == 1);
	CHECK(!(pfd.revents & POLLERR));
}

/* ---- packets ---------------------------------------------------------------------------- */

static void send_packet(struct port *p, uint32_t number)
{
	struct netmap_slot *slot;

	wait_for(p, POLLOUT);
	CHECK(!nm_ring_empty(p->tx));
	slot = &p->tx->slot[p->tx->head];
	fill_packet(NETMAP_BUF(p->tx, slot->buf_idx), number, PAYLOAD);
	slot->len = PAYLOAD;
	slot->flags = 0;
	p->tx->head = p->tx->cur = nm_ring_next(p->tx, p->tx->head);
	CHECK(ioctl(p->fd, NIOCTXSYNC) == 0);
}

static void check_packet(struct netmap_ring *ring, uint32_t number, uint16_t txmon)
{
	const struct netmap_slot *slot = &ring->slot[ring->head];
	char want[PAYLOAD];

	CHECK(!nm_ring_empty(ring));
	CHECK(slot->len == PAYLOAD && (slot->flags & NS_TXMON) == txmon);
	fill_packet(want, number, PAYLOAD);
	if (memcmp(NETMAP_BUF(ring, slot->buf_idx), want, PAYLOAD) != 0)
		fail("packet %u is not what was sent", number);
}

static void receive_packet(struct port *p, uint32_t number, uint16_t txmon)
{
	wait_for(p, POLLIN);
	check_packet(p->rx, number, txmon);
	p->rx->head = p->rx->cur = nm_ring_next(p->rx, p->rx->head);
}

/* Of the first slots of two rings. */
static void exchange(struct netmap_slot *a, struct netmap_slot *b)
{
	uint32_t index = a->buf_idx;

	a->buf_idx = b->buf_idx;
	b->buf_idx = index;
	a->flags = b->flags = NS_BUF_CHANGED;
}

/* As many packets as there are and fit. */
static uint32_t move(struct netmap_ring *from, struct netmap_ring *to)
{
	uint32_t moved = 0;

	for (; !nm_ring_empty(from) && !nm_ring_empty(to); moved++) {
		struct netmap_slot *src = &from->slot[from->head], *dst = &to->slot[to->head];
		uint16_t more = src->flags & NS_MOREFRAG;

		dst->len = src->len;
		exchange(src, dst);
		dst->flags |= more;
		from->head = from->cur = nm_ring_next(from, from->head);
		to->head = to->cur = nm_ring_next(to, to->head);
	}
	return moved;
}

/* ---- checks ------------------------------------------------------------------------------ */

static uint32_t count_extra(const char *name)
{
	struct port p = open_port(name, "", NR_REG_ALL_NIC, 0, 1000000);
	uint32_t given = p.reg.nr_extra_bufs;

	close_port(&p);
	return given;
}

static void check_room(char **args)
{
	printf("%u\n", count_extra(args[0]));
}

/* Do its pipes lie with the port? */
static void use_pipe(const char *name, bool with_port)
{
	struct port nic = open_nic(name);
	struct port a = open_port(name, "{7", NR_REG_ALL_NIC, 0, 0);
	struct port b = open_port(name, "}7", NR_REG_ALL_NIC, 0, 0);

	CHECK((a.reg.nr_mem_id == nic.reg.nr_mem_id) == with_port);
	CHECK(b.reg.nr_mem_id == a.reg.nr_mem_id);
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t index = a.tx->slot[a.tx->head].buf_idx;

		send_packet(&a, i);
		wait_for(&b, POLLIN);
		CHECK(b.rx->slot[b.rx->head].buf_idx == index); /* the buffer itself */
		receive_packet(&b, i, 0);
		send_packet(&b, i + 1);
		receive_packet(&a, i + 1, 0);
	}
	/* It blocks until the other end gives slots back, and loses nothing. */
	CHECK(ioctl(b.fd, NIOCRXSYNC) == 0);
	for (uint32_t i = 0; i < a.tx->num_slots - 1; i++)
		send_packet(&a, i);
	for (uint32_t i = 0; i < a.tx->num_slots - 1; i++)
		receive_packet(&b, i, 0);
	close_port(&nic);
	send_packet(&a, 5); /* the pipe needs no port below it */
	receive_packet(&b, 5, 0);
	close_port(&a);
	close_port(&b);
}

static void check_pipe(char **args)
{
	use_pipe(args[0], true);
}

/* Nothing of the port's region is set aside for this system. */
static void check_apart_pipe(char **args)
{
	use_pipe(args[0], false);
}

static void check_monitor(char **args)
{
	struct port nic = open_nic(args[0]);
	struct port copy = open_port(args[0], "", NR_REG_ALL_NIC, NR_MONITOR_TX, 0);
	struct port zcopy = open_port(args[0], "", NR_REG_ALL_NIC, NR_MONITOR_TX | NR_ZCOPY_MON, 0);

	CHECK(zcopy.reg.nr_mem_id == nic.reg.nr_mem_id);
	for (uint32_t i = 0; i < 3000; i++) {
		send_packet(&nic, i);
		receive_packet(&copy, i, NS_TXMON);
	}
	for (uint32_t i = 0; i < 200; i++) /* the host has sent them by and by */
		receive_packet(&zcopy, i, NS_TXMON);
	close_port(&nic);
	close_port(&zcopy);
	close_port(&copy);
}

/* Each packet that the port has is shown by both, in the same order. */
/* Nothing but NIOCRXSYNC between two waits. */
static void check_edge(char **args)
{
	struct port nic = open_nic(args[0]);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	int ep = epoll_create1(0), left = atoi(args[1]);

	CHECK(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, nic.fd, &ev) == 0);
	say("ready");
	while (left > 0) {
		CHECK(epoll_wait(ep, &ev, 1, WAIT_MS) == 1);
		do {
			for (; !nm_ring_empty(nic.rx); left--)
				nic.rx->head = nic.rx->cur = nm_ring_next(nic.rx, nic.rx->head);
			CHECK(ioctl(nic.fd, NIOCRXSYNC) == 0);
		} while (!nm_ring_empty(nic.rx));
	}
	close(ep);
	close_port(&nic);
}

static void check_watch(char **args)
{
	struct port nic = open_nic(args[0]);
	struct port copy = open_port(args[0], "", NR_REG_ALL_NIC, NR_MONITOR_RX, 0);
	struct port zcopy = open_port(args[0], "", NR_REG_ALL_NIC, NR_MONITOR_RX | NR_ZCOPY_MON, 0);
	uint32_t seen = 0, count = (uint32_t)atoi(args[1]);

	say("ready");
	while (seen < count) {
		struct pollfd pfd = {.fd = nic.fd, .events = POLLIN};
		struct netmap_slot slot;
		char bytes[2048];

		CHECK(poll(&pfd, 1, WAIT_MS) == 1);
		if (nm_ring_empty(nic.rx))
			continue;
		slot = nic.rx->slot[nic.rx->head];
		CHECK(slot.len <= sizeof(bytes) && !(slot.flags & NS_MOREFRAG));
		memcpy(bytes, NETMAP_BUF(nic.rx, slot.buf_idx), slot.len);
		nic.rx->head = nic.rx->cur = nm_ring_next(nic.rx, nic.rx->head);
		CHECK(ioctl(nic.fd, NIOCRXSYNC) == 0);
		for (int i = 0; i < 2; i++) {
			struct port *mon = i ? &copy : &zcopy;
			struct netmap_slot *shown = &mon->rx->slot[mon->rx->head];

			CHECK(ioctl(mon->fd, NIOCRXSYNC) == 0 && !nm_ring_empty(mon->rx));
			CHECK(shown->len == slot.len);
			CHECK(!memcmp(NETMAP_BUF(mon->rx, shown->buf_idx), bytes, slot.len));
			CHECK(i || shown->buf_idx == slot.buf_idx);
			mon->rx->head = mon->rx->cur = nm_ring_next(mon->rx, mon->rx->head);
		}
		seen++;
	}
	close_port(&zcopy);
	close_port(&nic);
	close_port(&copy);
}

/* The list of a port's extra buffers, taken off it. */
static uint32_t take_list(struct port *p, uint32_t *list)
{
	uint32_t n = 0, index = p->nifp->ni_bufs_head;

	for (; index; index = *(uint32_t *)(void *)NETMAP_BUF(p->tx, index)) {
		CHECK(n < EXTRA);
		list[n++] = index;
	}
	return n;
}

static void put_list(struct port *p, const uint32_t *list, uint32_t n)
{
	p->nifp->ni_bufs_head = 0;
	while (n-- > 0) {
		*(uint32_t *)(void *)NETMAP_BUF(p->tx, list[n]) = p->nifp->ni_bufs_head;
		p->nifp->ni_bufs_head = list[n];
	}
}

static void check_extra(char **args)
{
	uint32_t room = count_extra(args[0]), list[EXTRA];
	struct port p;

	CHECK(room >= EXTRA);
	for (int round = 0; round < 4; round++) {
		p = open_port(args[0], "", NR_REG_ALL_NIC, 0, EXTRA);
		CHECK(p.reg.nr_extra_bufs == EXTRA && take_list(&p, list) == EXTRA);
		for (uint32_t i = 0; i < 500; i++) {
			uint32_t *extra = &list[i % EXTRA], index;

			wait_for(&p, POLLOUT);
			index = p.tx->slot[p.tx->head].buf_idx;
			p.tx->slot[p.tx->head].buf_idx = *extra;
			send_packet(&p, i);
			*extra = index;
		}
		if (round % 2) /* a program that ends without a word does not */
			put_list(&p, list, EXTRA);
		close_port(&p);
	}
	CHECK(count_extra(args[0]) == room);
}

/* Each buffer in one slot only. */
static void check_distinct(const struct port *p)
{
	static unsigned char seen[1000000];

	memset(seen, 0, sizeof(seen));
	for (uint32_t e = 0; e < p->nifp->ni_tx_rings + p->nifp->ni_rx_rings + 2; e++) {
		struct netmap_ring *ring = ring_at(p, e);

		for (uint32_t i = 0; ring && i < ring->num_slots; i++) {
			CHECK(ring->slot[i].buf_idx < sizeof(seen));
			CHECK(seen[ring->slot[i].buf_idx]++ == 0);
		}
	}
}

static void check_wander(char **args)
{
	uint32_t room = count_extra(args[0]);

	srand(1);
	for (int round = 0; round < atoi(args[1]); round++) {
		struct port p[3] = {
			open_port(args[0], "", NR_REG_NIC_SW, 0, EXTRA),
			open_port(args[0], "{w", NR_REG_ALL_NIC, 0, EXTRA),
			open_port(args[0], "}w", NR_REG_ALL_NIC, 0, 0),
		};
		struct netmap_ring *rings[] = {p[0].tx, p[0].rx, p[0].host_tx, p[0].host_rx,
			p[1].tx, p[1].rx, p[2].tx, p[2].rx};
		uint32_t list[EXTRA], n = take_list(&p[0], list), first = (uint32_t)rand() % 3;

		CHECK(p[0].host_tx && p[0].host_rx);
		for (int i = 0; i < 5000; i++) { /* nothing is on its way: all slots are free */
			struct netmap_ring *a = rings[rand() % 8], *b = rings[rand() % 8];
			struct netmap_slot *slot = &a->slot[(uint32_t)rand() % a->num_slots];
			uint32_t *extra = &list[(uint32_t)rand() % n], index = slot->buf_idx;

			if (i % 4) {
				exchange(slot, &b->slot[(uint32_t)rand() % b->num_slots]);
				continue;
			}
			slot->buf_idx = *extra;
			*extra = index;
		}
		if (rand() % 2)
			put_list(&p[0], list, n);
		for (uint32_t i = 0; i < 3; i++)
			close_port(&p[(first + i) % 3]);
		p[0] = open_port(args[0], "", NR_REG_NIC_SW, 0, 0);
		check_distinct(&p[0]);
		close_port(&p[0]);
		CHECK(count_extra(args[0]) == room);
	}
}

static void check_relay(char **args)
{
	struct port p = open_port(args[0], "", NR_REG_NIC_SW, NR_ACCEPT_VNET_HDR, 0);

	CHECK(p.host_tx && p.host_rx);
	say("ready");
	for (;;) {
		struct pollfd pfd = {.fd = p.fd, .events = POLLIN};

		CHECK(poll(&pfd, 1, -1) == 1 && !(pfd.revents & POLLERR));
		if (move(p.rx, p.host_tx) + move(p.host_rx, p.tx) > 0)
			CHECK(ioctl(p.fd, NIOCTXSYNC) == 0);
	}
}

static void check_hdr(char **args)
{
	struct nmreq_port_hdr body = {.nr_hdr_len = (uint32_t)atoi(args[1])};
	struct nmreq_header hdr = {.nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_PORT_HDR_SET};
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	hdr.nr_body = (uintptr_t)&body;
	snprintf(hdr.nr_name, sizeof(hdr.nr_name), "%s", args[0]);
	CHECK(ioctl(fd, NIOCCTRL, &hdr) == 0);
	CHECK(close(fd) == 0);
}

static void mark(struct netmap_ring *ring)
{
	for (; !nm_ring_empty(ring); ring->head = ring->cur = nm_ring_next(ring, ring->head))
		ring->slot[ring->head].flags |= NS_FORWARD;
}

static void check_forward(char **args)
{
	struct port p = open_port(args[0], "", NR_REG_NIC_SW, 0, 0);

	p.rx->flags |= NR_FORWARD;
	p.host_rx->flags |= NR_FORWARD;
	say("ready");
	for (;;) {
		struct pollfd pfd = {.fd = p.fd, .events = POLLIN};

		CHECK(poll(&pfd, 1, -1) == 1 && !(pfd.revents & POLLERR));
		mark(p.rx);
		mark(p.host_rx);
		CHECK(ioctl(p.fd, NIOCRXSYNC) == 0);
	}
}

/* ---- through a pipe of the host --------------------------------------------------------- */

enum { TRADED = 256 }; /* bytes of a packet */

static void check_traded(struct netmap_ring *ring, uint32_t at, uint32_t number)
{
	const struct netmap_slot *slot = &ring->slot[at];
	char want[TRADED];

	fill_packet(want, number, TRADED);
	if (slot->len != TRADED || memcmp(NETMAP_BUF(ring, slot->buf_idx), want, TRADED) != 0)
		fail("packet %u in buffer %u is not what was sent", number, slot->buf_idx);
}

static void check_give(char **args)
{
	uint32_t count = (uint32_t)atoi(args[1]);
	struct port nic = open_nic(args[0]);

	for (uint32_t i = 0; i < count; i++) {
		struct netmap_ring *ring = nic.tx;

		wait_for(&nic, POLLOUT);
		fill_packet(NETMAP_BUF(ring, ring->slot[ring->head].buf_idx), i, TRADED);
		ring->slot[ring->head].len = TRADED;
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
		CHECK(ioctl(nic.fd, NIOCTXSYNC) == 0);
	}
	say("given");
	pause();
}

static void check_keep(char **args)
{
	uint32_t count = (uint32_t)atoi(args[1]), seen = 0;
	struct port p = open_nic(args[0]);
	struct netmap_ring *ring = p.rx;

	say("ready");
	while (seen < count) {
		wait_for(&p, POLLIN);
		for (; seen < count && ring->cur != ring->tail; seen++)
			ring->cur = nm_ring_next(ring, ring->cur);
	}
	say("kept");
	while (ring->cur == ring->tail) {
		uint32_t at = ring->head;

		for (uint32_t i = 0; i < count; i++, at = nm_ring_next(ring, at))
			check_traded(ring, at, i);
		CHECK(usleep(10000) == 0 && ioctl(p.fd, NIOCRXSYNC) == 0);
	}
	close_port(&p);
}

/* As an application that dies in the middle of exchanges: buffers in two slots, and numbers that are none. */
static void check_spoil(char **args)
{
	struct port p = open_nic(args[0]);

	for (uint32_t i = 0; i + 1 < p.tx->num_slots; i += 3) {
		p.tx->slot[i + 1].buf_idx = p.tx->slot[i].buf_idx;
		p.rx->slot[i].buf_idx = p.tx->slot[i].buf_idx;
		p.rx->slot[i + 1].buf_idx = i % 2 ? i / 2 % 2 : UINT32_MAX - i;
	}
	close_port(&p);
}

static void check_apart(char **args)
{
	struct port p = open_nic(args[0]);

	check_distinct(&p);
	close_port(&p);
}

/* ---- mappings: pages of 2 MiB where that is possible ------------------------------------- */

enum { SMALL = 4096, HUGE = 2 << 20 };

static void touch(const char *mem, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += SMALL)
		(void)*(const volatile char *)(mem + at);
}

/* The region once more, so many bytes behind a border of 2 MiB. */
static char *map_at(const struct port *p, uint64_t shift)
{
	char *room = mmap(NULL, p->size + 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(((uintptr_t)room + HUGE - 1) & -(uintptr_t)HUGE) + shift;

	CHECK(room != MAP_FAILED);
	CHECK(mmap(at, p->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, p->fd, 0) == at);
	touch(at, p->size);
	return at;
}

/* Both show the same memory at that place. */
static void check_same(char *a, char *b, uint64_t at)
{
	static char value;

	a[at] = ++value;
	CHECK(b[at] == value);
	b[at] = ++value;
	CHECK(a[at] == value);
}

static sigjmp_buf fault_jump;

static void on_fault(int signo)
{
	siglongjmp(fault_jump, signo);
}

static bool may_write(char *at)
{
	if (sigsetjmp(fault_jump, 1) != 0)
		return false;
	*(volatile char *)at = 3;
	return true;
}

static void check_child(char *mem, char *same, uint64_t at)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0) {
		check_same(mem, same, at);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* Places of the first and the last of the extra buffers, in the region: nobody else writes there. */
static void find_extra(const struct port *p, uint64_t *first, uint64_t *last)
{
	uint32_t index = p->nifp->ni_bufs_head;

	CHECK(index != 0);
	*first = (uint64_t)(NETMAP_BUF(p->tx, index) - p->mem);
	for (int i = 0; i < EXTRA && index != 0; i++) {
		*last = (uint64_t)(NETMAP_BUF(p->tx, index) - p->mem);
		index = *(uint32_t *)NETMAP_BUF(p->tx, index);
	}
	CHECK(*first / SMALL != *last / SMALL);
	*first += sizeof(index); /* behind the link */
	*last += sizeof(index);
}

static void check_parts(char **args)
{
	struct port p = open_port(args[0], "", NR_REG_ALL_NIC, 0, EXTRA);
	char *even = map_at(&p, 0), *odd = map_at(&p, SMALL), *moved = map_at(&p, 0);
	uint64_t first, last;
	struct iovec iov;
	int pipes[2];

	find_extra(&p, &first, &last);
	touch(p.mem, p.size);
	check_same(even, odd, first);
	check_same(even, p.mem, last);
	check_child(even, odd, first);
	/* Nobody gets a reference to these pages. */
	CHECK(pipe(pipes) == 0);
	iov = (struct iovec){even + first, 64};
	CHECK_ERRNO(vmsplice(pipes[1], &iov, 1, 0), EFAULT);
	CHECK(write(pipes[1], even + first, 64) == 64);

	CHECK(signal(SIGSEGV, on_fault) != SIG_ERR);
	CHECK(mprotect(even + first / SMALL * SMALL, SMALL, PROT_READ) == 0);
	CHECK(!may_write(even + first) && even[first] == odd[first]);
	check_same(even, odd, last);
	CHECK(mprotect(even + first / SMALL * SMALL, SMALL, PROT_READ | PROT_WRITE) == 0);
	check_same(even, odd, first);
	CHECK(mprotect(moved, p.size, PROT_READ) == 0 && !may_write(moved + first));
	CHECK(mprotect(moved, p.size, PROT_READ | PROT_WRITE) == 0);
	check_same(moved, odd, first);

	CHECK(munmap(even + last / SMALL * SMALL, SMALL) == 0);
	CHECK(!may_write(even + last));
	check_same(even, odd, first);
	CHECK(munmap(odd + first / SMALL * SMALL, SMALL) == 0);
	check_same(odd, p.mem, last);
	/* Over it, and to where addresses are out of step. */
	CHECK(mremap(moved, p.size, p.size, MREMAP_MAYMOVE | MREMAP_FIXED, odd + HUGE / 2) ==
		odd + HUGE / 2);
	check_same(odd + HUGE / 2, p.mem, first);
	close_port(&p);
}

/* The kernel looks at each page, or leaves them alone: there is nothing behind them that has a node. */
static void check_policy(char **args)
{
	struct port p = open_port(args[0], "", NR_REG_ALL_NIC, 0, 0);
	unsigned long nodes = 1;
	char *even = map_at(&p, 0);

	CHECK(syscall(SYS_mbind, even, p.size, MPOL_BIND, &nodes, 8 * sizeof(nodes),
		      MPOL_MF_STRICT) == 0);
	close_port(&p);
}

/* The number of the region is in use for as long as somebody hasn't left. */
static void check_nobody_comes_in(uint16_t mem_id)
{
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC, .nr_mem_id = mem_id};
	int fd = open_dev();

	CHECK(request(fd, NETMAP_REQ_REGISTER, "valep:1", &reg, NULL) == -1 && errno == ENXIO);
	CHECK(close(fd) == 0);
}

static void check_removal(char **args)
{
	struct port p[4] = {open_port(args[0], "", NR_REG_NIC_SW, 0, EXTRA),
		open_port(args[0], "{r", NR_REG_ALL_NIC, 0, EXTRA),
		open_port(args[0], "}r", NR_REG_ALL_NIC, 0, 0),
		open_port(args[0], "", NR_REG_ALL_NIC, NR_MONITOR_RX | NR_ZCOPY_MON, 0)};
	struct pollfd pfd[4];

	for (int i = 0; i < 4; i++)
		pfd[i] = (struct pollfd){.fd = p[i].fd, .events = POLLIN};
	CHECK(poll(pfd, 4, 0) >= 0);
	say("ready");
	for (int i = 0; i < 4; i++) {
		while (!(pfd[i].revents & POLLERR))
			CHECK(poll(&pfd[i], 1, WAIT_MS) == 1);
		CHECK(ioctl(p[i].fd, NIOCRXSYNC) == -1 && errno == ENXIO);
		CHECK(ioctl(p[i].fd, NIOCTXSYNC) == -1 && errno == ENXIO);
	}
	for (int ms = 0; access(args[1], F_OK) != 0; ms++) {
		CHECK(ms < WAIT_MS);
		usleep(1000);
	}
	check_nobody_comes_in(p[1].reg.nr_mem_id);
	for (int i = 0; i < 4; i++)
		close_port(&p[(i + 1) % 4]);
}

static const struct check checks[] = {
	{"room", check_room, 1},
	{"pipe", check_pipe, 1},
	{"apart-pipe", check_apart_pipe, 1},
	{"monitor", check_monitor, 1},
	{"watch", check_watch, 2},
	{"edge", check_edge, 2},
	{"extra", check_extra, 1},
	{"wander", check_wander, 2},
	{"relay", check_relay, 1},
	{"hdr", check_hdr, 2},
	{"forward", check_forward, 1},
	{"give", check_give, 2},
	{"keep", check_keep, 2},
	{"spoil", check_spoil, 1},
	{"apart", check_apart, 1},
	{"parts", check_parts, 1},
	{"policy", check_policy, 1},
	{"removal", check_removal, 2},
};

int main(int argc, char **argv)
{
	return run_check(checks, sizeof(checks) / sizeof(checks[0]), argc, argv,
		"ptcheck: wrong arguments: see ptcheck.c");
}
