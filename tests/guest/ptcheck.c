/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptcheck - what a guest makes of its own on a passed-through port: pipes, monitors, host rings and
 * extra buffers, in the part of the region that the host has set aside for it.
 *
 *	ptcheck room PORT		how many extra buffers can be had: prints the number
 *	ptcheck pipe PORT		packets through a pipe of the port
 *	ptcheck monitor PORT		copy and zero-copy monitors of what the port sends
 *	ptcheck watch PORT SECONDS	the same of what it receives, which others must send
 *	ptcheck extra PORT		buffers of the list go out through the port
 *	ptcheck wander PORT ROUNDS	buffers are exchanged between port, pipe, host rings and
 *					extra list, which then go in any order
 *	ptcheck relay PORT		between port and host rings without copying, until it is killed
 *	ptcheck hdr PORT BYTES		sets the length of the virtio-net header
 *	ptcheck forward PORT		the same with NR_FORWARD and NS_FORWARD
 *	ptcheck trade PORT COUNT	so many packets out through a port whose host exchanges buffers,
 *					and back in, from and into a pipe and an extra list; the
 *					pipe is closed and opened all the time
 *	ptcheck return PORT COUNT	the other end of that: keeps them for a while, and sends them back
 *	ptcheck give PORT COUNT		so many packets out in buffers of a pipe; stays, until it is killed
 *	ptcheck keep PORT COUNT		the other end of that: keeps them, and looks at them all the
 *					time, until a packet more comes
 *	ptcheck churn PORT		opens and closes another pipe, until it is killed
 *	ptcheck removal PORT		until the region is gone, with pipe and monitor open
 *
 * Prints "ok" and exits with 0 when the check held; else one line that says what did not, and 1.
 * Checks which wait for something else say "ready" first.
 *
 * Thread safety: a program of one thread.
 */
#include <poll.h>
#include <stdbool.h>
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

static void check_pipe(char **args)
{
	struct port nic = open_nic(args[0]);
	struct port a = open_port(args[0], "{7", NR_REG_ALL_NIC, 0, 0);
	struct port b = open_port(args[0], "}7", NR_REG_ALL_NIC, 0, 0);

	CHECK(a.reg.nr_mem_id == nic.reg.nr_mem_id && b.reg.nr_mem_id == nic.reg.nr_mem_id);
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t index = a.tx->slot[a.tx->head].buf_idx;

		send_packet(&a, i);
		wait_for(&b, POLLIN);
		CHECK(b.rx->slot[b.rx->head].buf_idx == index); /* the buffer itself */
		receive_packet(&b, i, 0);
		send_packet(&b, i + 1);
		receive_packet(&a, i + 1, 0);
	}
	/* It blocks, and loses nothing. */
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
static void check_watch(char **args)
{
	struct port nic = open_nic(args[0]);
	struct port copy = open_port(args[0], "", NR_REG_ALL_NIC, NR_MONITOR_RX, 0);
	struct port zcopy = open_port(args[0], "", NR_REG_ALL_NIC, NR_MONITOR_RX | NR_ZCOPY_MON, 0);
	time_t until = time(NULL) + atoi(args[1]);
	uint32_t seen = 0;

	say("ready");
	while (time(NULL) < until || seen == 0) {
		struct pollfd pfd = {.fd = nic.fd, .events = POLLIN};
		struct netmap_slot slot;
		char bytes[2048];

		CHECK(time(NULL) < until + WAIT_MS / 1000);
		if (poll(&pfd, 1, 100) == 0 || nm_ring_empty(nic.rx))
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
	printf("seen %u\n", seen);
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

enum {
	TRADED = 256, /* bytes of a packet */
	LAG = 300,    /* packets that the other end keeps */
	BURST = 32,
	CHURNED = 256, /* slots of the other pipe: both fit into the guest's part of the region */
};

/* The port, a pipe of it, and buffers that are on no list. */
struct trader {
	const char *name;
	struct port nic, pipe[2];
	uint32_t extra[EXTRA];
};

static void check_traded(struct netmap_ring *ring, uint32_t at, uint32_t number)
{
	const struct netmap_slot *slot = &ring->slot[at];
	char want[TRADED];

	fill_packet(want, number, TRADED);
	if (slot->len != TRADED || memcmp(NETMAP_BUF(ring, slot->buf_idx), want, TRADED) != 0)
		fail("packet %u in buffer %u is not what was sent", number, slot->buf_idx);
}

static unsigned char *see(unsigned char *seen, uint32_t index)
{
	if (index >= 1000000 || seen[index]++)
		fail("buffer %u is in two places", index);
	return seen;
}

/* What is in the hands of this program alone: each buffer once. */
static void check_apart(const struct trader *t)
{
	unsigned char *seen = calloc(1, 1000000);

	CHECK(seen);
	for (int end = 0; end < 2; end++)
		for (uint32_t i = 0; i < t->pipe[end].tx->num_slots; i++) {
			see(seen, t->pipe[end].tx->slot[i].buf_idx);
			see(seen, t->pipe[end].rx->slot[i].buf_idx);
		}
	for (uint32_t i = 0; i < EXTRA; i++)
		see(seen, t->extra[i]);
	free(seen);
}

static void spoil(struct netmap_ring *ring)
{
	for (uint32_t i = 0; i < ring->num_slots; i++)
		memset(NETMAP_BUF(ring, ring->slot[i].buf_idx), 0xee, TRADED);
}

/* Whoever has one of its buffers, too, will see it. */
static void open_pipe(struct trader *t)
{
	t->pipe[0] = open_port(t->name, "{t", NR_REG_ALL_NIC, 0, 0);
	t->pipe[1] = open_port(t->name, "}t", NR_REG_ALL_NIC, 0, 0);
	CHECK(t->pipe[0].reg.nr_mem_id == t->nic.reg.nr_mem_id);
	for (int end = 0; end < 2; end++) {
		spoil(t->pipe[end].tx);
		spoil(t->pipe[end].rx);
	}
	check_apart(t);
}

static void close_pipe(struct trader *t)
{
	int first = rand() % 2;

	close_port(&t->pipe[first]);
	close_port(&t->pipe[!first]);
}

/* With a slot of the pipe, nothing being on its way there, or with an extra buffer. */
static void trade(struct trader *t, struct netmap_slot *slot)
{
	int where = rand() % 5;
	const struct port *pipe = &t->pipe[where / 2 % 2];
	struct netmap_ring *ring = where % 2 ? pipe->tx : pipe->rx;
	uint32_t *theirs = where == 4 ? &t->extra[rand() % EXTRA]
				      : &ring->slot[(uint32_t)rand() % ring->num_slots].buf_idx;
	uint32_t index = slot->buf_idx;

	slot->buf_idx = *theirs;
	*theirs = index;
}

static uint32_t send_traded(struct trader *t, uint32_t sent, uint32_t count)
{
	struct netmap_ring *ring = t->nic.tx;
	uint32_t end = sent + (uint32_t)rand() % BURST;

	for (; sent < end && sent < count && !nm_ring_empty(ring); sent++) {
		struct netmap_slot *slot = &ring->slot[ring->head];

		trade(t, slot);
		fill_packet(NETMAP_BUF(ring, slot->buf_idx), sent, TRADED);
		slot->len = TRADED;
		slot->flags = NS_BUF_CHANGED;
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
	}
	return sent;
}

static uint32_t receive_traded(struct trader *t, uint32_t received)
{
	struct netmap_ring *ring = t->nic.rx;

	for (; !nm_ring_empty(ring); received++) {
		check_traded(ring, ring->head, received);
		trade(t, &ring->slot[ring->head]);
		ring->slot[ring->head].flags = NS_BUF_CHANGED;
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
	}
	return received;
}

static void check_trade(char **args)
{
	uint32_t count = (uint32_t)atoi(args[1]), sent = 0, received = 0;
	struct trader t = {
		.name = args[0], .nic = open_port(args[0], "", NR_REG_ALL_NIC, 0, EXTRA)};

	srand(1);
	CHECK(take_list(&t.nic, t.extra) == EXTRA);
	open_pipe(&t);
	while (received < count) {
		struct pollfd pfd = {
			.fd = t.nic.fd, .events = POLLIN | (sent < count ? POLLOUT : 0)};

		CHECK(poll(&pfd, 1, WAIT_MS) == 1 && !(pfd.revents & POLLERR));
		sent = send_traded(&t, sent, count);
		received = receive_traded(&t, received);
		CHECK(ioctl(t.nic.fd, NIOCTXSYNC) == 0 && ioctl(t.nic.fd, NIOCRXSYNC) == 0);
		if (rand() % BURST == 0) {
			check_apart(&t);
			close_pipe(&t);
			open_pipe(&t);
		}
	}
	check_distinct(&t.nic);
	close_pipe(&t);
	close_port(&t.nic);
}

static void return_packet(struct port *p, uint32_t number)
{
	struct netmap_slot *from = &p->rx->slot[p->rx->head], *to = &p->tx->slot[p->tx->head];

	check_traded(p->rx, p->rx->head, number);
	to->len = from->len;
	exchange(from, to);
	p->rx->head = nm_ring_next(p->rx, p->rx->head);
	p->tx->head = p->tx->cur = nm_ring_next(p->tx, p->tx->head);
}

/* Looks at each packet when it comes, and when it goes. */
static void check_return(char **args)
{
	uint32_t count = (uint32_t)atoi(args[1]), seen = 0, returned = 0;
	struct port p = open_nic(args[0]);

	say("ready");
	while (returned < count) {
		uint32_t lag = seen < count ? LAG : 0;
		struct pollfd pfd = {.fd = p.fd,
			.events = (seen < count ? POLLIN : 0) |
				  (seen - returned > lag ? POLLOUT : 0)};

		CHECK(poll(&pfd, 1, WAIT_MS) == 1 && !(pfd.revents & POLLERR));
		for (; p.rx->cur != p.rx->tail; p.rx->cur = nm_ring_next(p.rx, p.rx->cur))
			check_traded(p.rx, p.rx->cur, seen++);
		for (; seen - returned > lag && !nm_ring_empty(p.tx); returned++)
			return_packet(&p, returned);
		CHECK(ioctl(p.fd, NIOCTXSYNC) == 0 && ioctl(p.fd, NIOCRXSYNC) == 0);
	}
	wait_for(&p, POLLOUT);
	while (p.tx->head != nm_ring_next(p.tx, p.tx->tail)) /* until all of it has been taken */
		CHECK(usleep(10000) == 0 && ioctl(p.fd, NIOCTXSYNC) == 0);
	close_port(&p);
}

static void check_give(char **args)
{
	uint32_t count = (uint32_t)atoi(args[1]);
	struct port nic = open_nic(args[0]), pipe[2];

	for (int end = 0; end < 2; end++)
		pipe[end] = open_port(args[0], end ? "}g" : "{g", NR_REG_ALL_NIC, 0, 0);
	CHECK(count <= pipe[0].tx->num_slots);
	for (uint32_t i = 0; i < count; i++) {
		struct netmap_ring *ring = nic.tx;

		wait_for(&nic, POLLOUT);
		exchange(&pipe[0].tx->slot[i], &ring->slot[ring->head]);
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

static void check_churn(char **args)
{
	for (;;) {
		struct port p[] = {open_slots(args[0], "{c", NR_REG_ALL_NIC, 0, EXTRA, CHURNED),
			open_slots(args[0], "}c", NR_REG_ALL_NIC, 0, 0, CHURNED)};

		for (int end = 0; end < 2; end++) {
			spoil(p[end].tx);
			spoil(p[end].rx);
			close_port(&p[end]);
		}
	}
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
	for (int i = 0; i < 4; i++)
		close_port(&p[(i + 1) % 4]);
}

static const struct check checks[] = {
	{"room", check_room, 1},
	{"pipe", check_pipe, 1},
	{"monitor", check_monitor, 1},
	{"watch", check_watch, 2},
	{"extra", check_extra, 1},
	{"wander", check_wander, 2},
	{"relay", check_relay, 1},
	{"hdr", check_hdr, 2},
	{"forward", check_forward, 1},
	{"trade", check_trade, 2},
	{"return", check_return, 2},
	{"give", check_give, 2},
	{"keep", check_keep, 2},
	{"churn", check_churn, 1},
	{"removal", check_removal, 1},
};

int main(int argc, char **argv)
{
	return run_check(checks, sizeof(checks) / sizeof(checks[0]), argc, argv,
		"ptcheck: wrong arguments: see ptcheck.c");
}
