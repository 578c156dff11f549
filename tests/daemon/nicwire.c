/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nicwire: numbered packets between two network interfaces that are wired to each other, both ways at a time, and what happens to
 * the buffers of their region meanwhile.
 *
 *      nicwire PORT PORT COUNT BYTES [stay]     netmap:a@9 and netmap:b@9, in one region; frames of 60 to BYTES bytes
 *
 * Writes "ready", waits until packets have got through both ways for a second (interfaces take seconds to get their link, and the first
 * packet may be through before netmapd, which drops packets where it knows of no link, has heard of that), sends COUNT each way, and
 * writes "ok COUNT COUNT BUFFERS, rx rings BITS of N, BITS of N": in how many different buffers packets came, and through which rings.
 * stay: it has the ports until SIGTERM then, and begins anew at SIGUSR1, from
 * "through" on. Else it writes what is wrong, and exits with 1:
 *
 *      a packet is lost, comes twice, or any byte of it is another one: when it comes, and when its slot is given back later
 *      a packet lies in a buffer that this program had: it was not received there, but copied there
 *      a byte changes in the room of 3840 bytes of any buffer that this program has: in extra buffers, in the free slots of rx rings, in
 *      the slots of tx rings
 *
 * Each received packet's buffer becomes an extra buffer, and one of these takes its place, so after some rounds every buffer of this
 * program has neighbours that the devices write to.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libnetmap.h>

#include "testprog.h"

enum {
	PATIENCE_MS = 120000, /* without any progress: only a failure takes so long */
	MARK_MS = 50,         /* behind a mark that has come */
	LOST_MS = 500,        /* behind one that has not */
	STEADY_MS = 1000,     /* without the loss of a mark */
	WINDOW =
		128, /* packets under way, each way: a hub of QEMU drops what its receiver has no room for */
	KEEP = 40,   /* packets that stay in their slots for a while */
	ROOM = 3840, /* of a buffer of 4096 bytes */
	EXTRA = 256,
	LOOK = 512, /* packets after which all buffers are looked at */
	RINGS = 16,
	SLOTS = 2048,
	PATTERNS = 16384,
	UNKNOWN = UINT16_MAX, /* length of what isn't looked at */
};

enum kind { MARK = 1, DATA };

/* What each frame begins with: Ethernet, IPv4 of a protocol for experiments, from addresses that reach all queues of a device that
 * spreads by them. */
struct msg {
	uint8_t dst[6], src[6], type[2];
	uint8_t version, tos, total[2], id[4], ttl, protocol, sum[2], from[4], to[4];
	uint8_t kind, way;
	uint32_t number, len;
} __attribute__((packed));

/* A ring with what its slots should have. */
struct side {
	struct netmap_ring *ring;
	uint32_t at;            /* rx: the first slot that was not looked at */
	uint32_t buf[SLOTS];    /* that was left there */
	uint32_t number[SLOTS]; /* of its packet */
	uint32_t len[SLOTS];    /* 0: a pattern */
};

struct end {
	struct nmport_d *d;
	uint32_t num_tx, num_rx, next_tx;
	struct side tx[RINGS], rx[RINGS];
	uint32_t mark;                   /* the last one that has come */
	uint64_t steady_ms;              /* since then none was missing; 0: none has come */
	uint32_t sent, received, queues; /* queues: bits, of rx rings that packets came to */
	uint8_t *came;                   /* per number: it has */
};

static struct {
	struct end end[2];
	uint32_t count, most;
	uint8_t *mine;  /* per buffer: this program has it */
	uint8_t *used;  /* a packet came in it */
	uint32_t *fill; /* generation of its pattern */
	uint32_t num_bufs, num_used;
	uint32_t extra[EXTRA], num_extra, next_extra;
	uint32_t generation, looked;
	uint32_t first_mark, last_mark; /* of this round: numbers */
	uint8_t pattern[PATTERNS + ROOM];
} g;

static volatile sig_atomic_t again;

static void stream_again(int signo)
{
	again = 1;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static uint32_t length_of(uint32_t number)
{
	static const uint32_t edges[] = {60, 61, 64, 127, 128, 256, 511, 1022, 1023, 1024, 1025,
		1026, 1280, 1513, 1514, 1790, 1791, 1792, 1793, 1794, 2046, 2047, 2048, 2049, 2050,
		3000, 3072, 3835, 3838, 3839, 3840};
	uint32_t edge = edges[number / 2 % (sizeof(edges) / sizeof(edges[0]))];

	if (number % 2 || edge > g.most)
		return number % 7 ? 60 + number * 2654435761u % (g.most - 59) : g.most;
	return edge;
}

static const uint8_t *bytes_of(uint32_t number)
{
	return g.pattern + number * 97 % PATTERNS;
}

static void set_ip(struct msg *msg, uint32_t number, uint32_t len)
{
	const uint8_t *ip = &msg->version;
	uint32_t sum = 0;

	msg->type[0] = 8;
	msg->version = 0x45;
	msg->total[0] = (uint8_t)((len - 14) >> 8);
	msg->total[1] = (uint8_t)(len - 14);
	msg->ttl = 64;
	msg->protocol = 253;
	memcpy(msg->from, (uint8_t[]){192, 0, 2, 1 + number % 200}, 4);
	memcpy(msg->to, (uint8_t[]){198, 51, 100, 1 + number / 200 % 200}, 4);
	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~(sum + (sum >> 16));
	msg->sum[0] = (uint8_t)(sum >> 8);
	msg->sum[1] = (uint8_t)sum;
}

static void make_frame(uint8_t *frame, enum kind kind, int way, uint32_t number, uint32_t len)
{
	struct msg msg = {.kind = kind, .way = (uint8_t)way, .number = number, .len = len};

	memset(msg.dst, 0xff, sizeof(msg.dst));
	memcpy(msg.src, "\2wire", sizeof(msg.src));
	set_ip(&msg, number, len);
	memcpy(frame, &msg, sizeof(msg));
	memcpy(frame + sizeof(msg), bytes_of(number), len - sizeof(msg));
}

/* The frame is the one of that number and length. */
static void check_frame(
	const uint8_t *frame, int way, uint32_t number, uint32_t len, const char *when)
{
	static uint8_t right[ROOM];

	make_frame(right, DATA, way, number, len);
	if (memcmp(frame, right, len) == 0)
		return;
	for (uint32_t i = 0; i < len; i++)
		if (frame[i] != right[i])
			fail("packet %u of %u bytes, %s: byte %u is %02x, not %02x", number, len,
				when, i, frame[i], right[i]);
}

/* ---- buffers --------------------------------------------------------------------------------- */

static uint8_t *buffer(uint32_t index)
{
	return (uint8_t *)NETMAP_BUF(g.end[0].tx[0].ring, index);
}

static const uint8_t *pattern_of(uint32_t index)
{
	return g.pattern + (index * 31 + g.fill[index]) % PATTERNS;
}

static void take(uint32_t index)
{
	if (index == 0 || index >= g.num_bufs)
		fail("a slot with buffer %u of %u", index, g.num_bufs);
	if (g.mine[index])
		fail("buffer %u comes from a device, and was not given to one", index);
	g.mine[index] = 1;
}

static void set_pattern(uint32_t index)
{
	g.fill[index] = ++g.generation;
	memcpy(buffer(index), pattern_of(index), ROOM);
}

/* slot: where it is, or NULL: then nobody else may take it meanwhile. */
static void check_pattern(uint32_t index, const struct netmap_slot *slot, const char *where)
{
	const uint8_t *is = buffer(index), *right = pattern_of(index);

	if (memcmp(is, right, ROOM) == 0)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (slot && __atomic_load_n(&slot->buf_idx, __ATOMIC_ACQUIRE) != index)
		return; /* the device has it now */
	for (uint32_t i = 0; i < ROOM; i++)
		if (is[i] != right[i])
			fail("buffer %u, %s: byte %u has become %02x, not %02x", index, where, i,
				is[i], right[i]);
}

/* What was sent, and the rest of its buffer. */
static void check_sent(const struct end *end, const struct side *s, uint32_t slot)
{
	uint32_t index = s->buf[slot], len = s->len[slot];
	const uint8_t *is = buffer(index);

	if (s->ring->slot[slot].buf_idx != index)
		fail("tx slot %u has another buffer", slot);
	if (len == 0)
		check_pattern(index, NULL, "never sent");
	if (len == 0 || len == UNKNOWN)
		return;
	check_frame(is, end == &g.end[1], s->number[slot], len, "after it was sent");
	if (memcmp(is + len, pattern_of(index) + len, ROOM - len) != 0)
		fail("buffer %u: something behind packet %u was written while it was sent", index,
			s->number[slot]);
}

static void look_at_all(void)
{
	for (uint32_t i = 0; i < g.num_extra; i++)
		check_pattern(g.extra[i], NULL, "extra");
	for (int e = 0; e < 2; e++) {
		struct end *end = &g.end[e];

		for (uint32_t r = 0; r < end->num_tx; r++)
			for (uint32_t i = 0; i < end->tx[r].ring->num_slots; i++)
				check_sent(end, &end->tx[r], i);
		for (uint32_t r = 0; r < end->num_rx; r++) {
			struct netmap_ring *ring = end->rx[r].ring;

			for (uint32_t i = ring->tail; i != ring->head; i = nm_ring_next(ring, i))
				check_pattern(end->rx[r].buf[i], &ring->slot[i], "in a free slot");
		}
	}
}

/* ---- sending --------------------------------------------------------------------------------- */

static bool put(struct end *end, enum kind kind, uint32_t number, uint32_t len)
{
	struct side *s = &end->tx[end->next_tx];
	struct netmap_ring *ring = s->ring;
	uint32_t slot = ring->head;

	end->next_tx = (end->next_tx + 1) % end->num_tx;
	if (nm_ring_empty(ring))
		return false;
	check_sent(end, s, slot);
	set_pattern(s->buf[slot]);
	make_frame(buffer(s->buf[slot]), kind, end == &g.end[1], number, len);
	s->number[slot] = number;
	s->len[slot] = kind == DATA ? len : UNKNOWN;
	ring->slot[slot].len = (uint16_t)len;
	ring->slot[slot].flags = 0;
	ring->head = ring->cur = nm_ring_next(ring, slot);
	return true;
}

static uint32_t send_some(struct end *end, const struct end *to)
{
	uint32_t n = 0;

	while (end->sent < g.count && end->sent - to->received < WINDOW &&
		put(end, DATA, end->sent, length_of(end->sent))) {
		end->sent++;
		n++;
	}
	return n;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void mark_came(struct end *end, uint32_t number)
{
	if (number < g.first_mark)
		return; /* of a former round */
	if (end->steady_ms == 0 || number != end->mark + 1)
		end->steady_ms = now_ms();
	end->mark = number;
}

static bool marks_came(void)
{
	return g.end[0].mark == g.last_mark && g.end[1].mark == g.last_mark;
}

static bool is_steady(const struct end *end)
{
	return end->steady_ms && now_ms() - end->steady_ms >= STEADY_MS;
}

static void arrived(struct end *end, struct side *s, uint32_t slot)
{
	const struct netmap_slot *ours = &s->ring->slot[slot];
	int way = end == &g.end[0];
	struct msg msg;

	if (ours->buf_idx == s->buf[slot])
		fail("a packet lies in the slot's own buffer %u: it was copied there",
			ours->buf_idx);
	g.mine[s->buf[slot]] = 0;
	take(ours->buf_idx);
	s->buf[slot] = ours->buf_idx;
	s->len[slot] = 0;
	if (!g.used[ours->buf_idx]) {
		g.used[ours->buf_idx] = 1;
		g.num_used++;
	}
	memcpy(&msg, buffer(ours->buf_idx), sizeof(msg));
	if (ours->len < sizeof(msg) || msg.protocol != 253 || memcmp(msg.src, "\2wire", 6) != 0)
		return; /* not ours */
	if (msg.kind == MARK && msg.way == way)
		mark_came(end, msg.number);
	if (msg.kind == MARK)
		return;
	if (msg.way != way || msg.number >= g.count || ours->len != length_of(msg.number))
		fail("a packet of %u bytes says that it is number %u", ours->len, msg.number);
	if (end->came[msg.number]++)
		fail("packet %u comes twice", msg.number);
	check_frame(buffer(ours->buf_idx), way, msg.number, ours->len, "as it comes");
	s->number[slot] = msg.number;
	s->len[slot] = ours->len;
	end->received++;
	end->queues |= 1u << (s - end->rx);
}

/* The oldest slot goes back, with another buffer. */
static void give_back(struct end *end, struct side *s)
{
	struct netmap_ring *ring = s->ring;
	uint32_t slot = ring->head, *extra = &g.extra[g.next_extra], index = s->buf[slot];

	if (s->len[slot])
		check_frame(buffer(index), end == &g.end[0], s->number[slot], s->len[slot],
			"some time later");
	check_pattern(*extra, NULL, "extra");
	set_pattern(index);
	s->buf[slot] = ring->slot[slot].buf_idx = *extra;
	ring->slot[slot].flags = NS_BUF_CHANGED;
	*extra = index;
	g.next_extra = (g.next_extra + 1) % g.num_extra;
	ring->head = ring->cur = nm_ring_next(ring, slot);
}

static uint32_t receive_some(struct end *end, uint32_t keep)
{
	uint32_t n = 0;

	for (uint32_t r = 0; r < end->num_rx; r++) {
		struct side *s = &end->rx[r];
		struct netmap_ring *ring = s->ring;
		uint32_t kept;

		for (; s->at != ring->tail; s->at = nm_ring_next(ring, s->at), n++)
			arrived(end, s, s->at);
		kept = (s->at + ring->num_slots - ring->head) % ring->num_slots;
		for (; kept > keep; kept--)
			give_back(end, s);
	}
	return n;
}

static void sync_all(void)
{
	for (int e = 0; e < 2; e++)
		if (nmport_txsync(g.end[e].d) < 0 || nmport_rxsync(g.end[e].d) < 0)
			fail("%s: %s", g.end[e].d->hdr.nr_name, strerror(errno));
}

/* ---- start ----------------------------------------------------------------------------------- */

static void open_end(struct end *end, const char *spec, uint32_t extra)
{
	end->d = nmport_prepare(spec);
	if (!end->d)
		fail("%s: %s", spec, strerror(errno));
	end->d->reg.nr_extra_bufs = extra;
	if (nmport_open_desc(end->d) < 0)
		fail("%s: %s", spec, strerror(errno));
	end->num_tx = end->d->last_tx_ring - end->d->first_tx_ring + 1u;
	end->num_rx = end->d->last_rx_ring - end->d->first_rx_ring + 1u;
	if (end->num_tx > RINGS || end->num_rx > RINGS)
		fail("%s: more than %d rings", spec, RINGS);
	end->came = calloc(g.count + 1, 1);
}

static void take_ring(struct side *s, struct netmap_ring *ring)
{
	s->ring = ring;
	s->at = ring->head;
	if (ring->num_slots > SLOTS || ring->nr_buf_size != 4096)
		fail("a ring of %u slots and buffers of %u bytes", ring->num_slots,
			ring->nr_buf_size);
	for (uint32_t i = 0; i < ring->num_slots; i++) {
		s->buf[i] = ring->slot[i].buf_idx;
		take(s->buf[i]);
		set_pattern(s->buf[i]);
	}
}

static void take_buffers(void)
{
	struct end *ends = g.end;

	if (ends[0].d->mem != ends[1].d->mem)
		fail("two regions");
	g.num_bufs = (uint32_t)(ends[0].d->mem->size / 4096);
	g.mine = calloc(g.num_bufs, 1);
	g.used = calloc(g.num_bufs, 1);
	g.fill = calloc(g.num_bufs, sizeof(*g.fill));
	ends[0].tx[0].ring = NETMAP_TXRING(ends[0].d->nifp, ends[0].d->first_tx_ring);
	for (struct end *e = ends; e < ends + 2; e++) {
		for (uint32_t r = 0; r < e->num_tx; r++)
			take_ring(&e->tx[r], NETMAP_TXRING(e->d->nifp, e->d->first_tx_ring + r));
		for (uint32_t r = 0; r < e->num_rx; r++)
			take_ring(&e->rx[r], NETMAP_RXRING(e->d->nifp, e->d->first_rx_ring + r));
	}
	for (uint32_t i = ends[0].d->nifp->ni_bufs_head; i; i = *(uint32_t *)(void *)buffer(i)) {
		if (g.num_extra == EXTRA)
			fail("too many extra buffers");
		g.extra[g.num_extra++] = i;
	}
	for (uint32_t i = 0; i < g.num_extra; i++) {
		take(g.extra[i]);
		set_pattern(g.extra[i]);
	}
}

/* The list of extra buffers that goes back is the one of those that are here now. */
static void give_extra_back(void)
{
	uint32_t next = 0;

	for (uint32_t i = 0; i < g.num_extra; i++) {
		*(uint32_t *)(void *)buffer(g.extra[i]) = next;
		next = g.extra[i];
	}
	g.end[0].d->nifp->ni_bufs_head = next;
}

static void send_marks(void)
{
	g.last_mark++;
	(void)put(&g.end[0], MARK, g.last_mark, 60);
	(void)put(&g.end[1], MARK, g.last_mark, 60);
}

static void wait_for_links(void)
{
	uint64_t start = now_ms(), sent = start;

	send_marks();
	while (!marks_came() || !is_steady(&g.end[0]) || !is_steady(&g.end[1])) {
		struct pollfd p = {.fd = -1};

		if (now_ms() - start > PATIENCE_MS)
			fail("packets don't get through, or not each one: of %u the second has %u, the first %u",
				g.last_mark, g.end[1].mark, g.end[0].mark);
		if (now_ms() - sent >= (marks_came() ? MARK_MS : LOST_MS)) {
			send_marks();
			sent = now_ms();
		}
		sync_all();
		if (receive_some(&g.end[0], 0) + receive_some(&g.end[1], 0) == 0)
			(void)poll(&p, 0, 5);
	}
}

static void stream(void)
{
	uint64_t last = now_ms();

	while (g.end[0].received < g.count || g.end[1].received < g.count) {
		uint32_t n = send_some(&g.end[0], &g.end[1]) + send_some(&g.end[1], &g.end[0]);

		sync_all();
		n += receive_some(&g.end[0], KEEP) + receive_some(&g.end[1], KEEP);
		g.looked += n;
		if (g.looked >= LOOK) {
			g.looked = 0;
			look_at_all();
		}
		if (n > 0) {
			last = now_ms();
		} else if (now_ms() - last > PATIENCE_MS) {
			fail("lost: the first sent %u, the second has %u; back %u and %u",
				g.end[0].sent, g.end[1].received, g.end[1].sent, g.end[0].received);
		} else {
			struct pollfd p = {.fd = -1};

			(void)poll(&p, 0, 1);
		}
	}
}

static void begin(struct end *end)
{
	end->mark = 0;
	end->steady_ms = 0;
	end->sent = end->received = end->queues = 0;
	memset(end->came, 0, g.count);
}

/* All packets, from the first on, as soon as there are links. */
static void run(void)
{
	const struct end *end = g.end;

	g.first_mark = g.last_mark + 1;
	g.num_used = 0;
	memset(g.used, 0, g.num_bufs);
	begin(&g.end[0]);
	begin(&g.end[1]);
	wait_for_links();
	printf("through\n");
	stream();
	receive_some(&g.end[0], 0);
	receive_some(&g.end[1], 0);
	look_at_all();
	printf("ok %u %u %u, rx rings %x of %u, %x of %u\n", end[1].received, end[0].received,
		g.num_used, end[0].queues, end[0].num_rx, end[1].queues, end[1].num_rx);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		fail("usage: nicwire PORT PORT COUNT BYTES [stay]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	testprog_until_sigterm();
	signal(SIGUSR1, stream_again);
	g.count = (uint32_t)strtoul(argv[3], NULL, 10);
	g.most = (uint32_t)strtoul(argv[4], NULL, 10);
	if (g.most < 60 || g.most > ROOM)
		fail("frames of 60 to %d bytes", ROOM);
	for (uint32_t i = 0; i < sizeof(g.pattern); i++)
		g.pattern[i] = (uint8_t)(i * 2654435761u >> 13);
	open_end(&g.end[0], argv[1], EXTRA);
	open_end(&g.end[1], argv[2], 0);
	take_buffers();
	printf("ready\n");
	run();
	while (argc > 5 && !ended) {
		(void)usleep(10000);
		if (again) {
			again = 0;
			run();
		}
	}
	give_extra_back();
	nmport_close(g.end[1].d);
	nmport_close(g.end[0].d);
	return 0;
}
