/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a packet costs, counted instead of timed: for machines without counters, or with other work.
 *
 *      budget vale|pipe|copy|exchange [--len BYTES] [--batch PACKETS] [--rounds N] [--watched] [--full] [--macs N]
 *
 * One thread plays both sides in turns: the application sends a batch, netmapd's worker steps both rings,
 * the application takes what has come. With --watched it is watched, by a monitor that the application reads as
 * well, with --full by one that nobody reads. `copy` and `exchange` are the bare loop that the first two
 * are compared with. bench/budget.py runs it under valgrind: callgrind counts the instructions of
 * the worker's part, work(); from lackey's list of accesses, in which loads from `marks` say whose turn it
 * is, come the lines that two CPUs would send to each other.
 */
#include "bare.h"
#include "client.h"
#include "csb_server.h"
#include "measure.h"
#include "port.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SLOTS = BARE_SLOTS };
enum side { APPLICATION, WORKER, SIDES };

/* One ring, as both sides have it. */
struct end {
	struct nm_client client;
	struct nm_csb_server kern;
	struct nm_csb_appl appl;
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
	struct netmap_ring *ring;
};

static struct {
	uint32_t len, batch, rounds, macs;
	bool bare, exchange, watched, full;
	struct nm_core core;
	struct end tx, rx, watch;
	struct bare_side from, to, copy;
	uint32_t at, out;
} g = {.len = 60, .batch = 256, .rounds = 64, .macs = 1};

/* Address i of the receiver. */
static frame_start receiver(uint32_t i)
{
	const uint8_t mac[6] = {2, 0, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 2};

	return frame_to(mac);
}

/* A line each, so that nothing else is read with them. */
static volatile uint32_t marks[SIDES][16] __attribute__((aligned(NM_CACHE_LINE)));

static void turn_of(enum side side)
{
	(void)marks[side][0];
}

static void *map(size_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		die("memory", errno);
	return mem;
}

/* ---- netmapd's way ---------------------------------------------------------------------- */

static void open_end(struct end *e, const char *name, enum nm_dir dir, uint64_t flags)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .flags = flags};
	struct nm_ring *ring;
	int error;

	for (int d = 0; d < NM_DIRS; d++) {
		bind.num_rings[d] = 1;
		bind.num_slots[d] = SLOTS;
	}
	nm_client_init(&e->client, &g.core);
	error = nm_client_bind(&e->client, name, &bind);
	if (error)
		die(e->client.err.text, error);
	ring = &e->client.port->rings[dir][0];
	e->ring = ring->shared;
	e->atok = map(sizeof(*e->atok));
	e->ktoa = map(sizeof(*e->ktoa));
	nm_csb_server_start(&e->kern, ring, e->atok, e->ktoa);
	error = nm_csb_appl_init(&e->appl, e->atok, e->ktoa, SLOTS);
	if (error)
		die("CSB", error);
}

static char *buf_of(struct netmap_ring *ring, const struct netmap_slot *slot)
{
	return (char *)ring + ring->buf_ofs + (size_t)slot->buf_idx * ring->nr_buf_size;
}

static void send_some(uint32_t count)
{
	struct netmap_ring *ring = g.tx.ring;
	uint32_t head = g.tx.appl.head;
	static uint32_t next;

	for (; count > 0; count--) {
		struct netmap_slot *slot = &ring->slot[head];

		send_slot(slot, buf_of(ring, slot), g.len, 0, receiver(next));
		next = next + 1 == g.macs ? 0 : next + 1;
		head = nm_ring_advance(head, 1, SLOTS);
	}
	(void)nm_csb_appl_publish(&g.tx.appl, head, head);
}

static uint32_t take_from(struct end *e)
{
	struct netmap_ring *ring = e->ring;
	uint32_t head = e->appl.head, count = 0;

	if (!nm_csb_appl_load(&e->appl))
		die("CSB", EPROTO);
	for (; head != e->appl.hwtail; head = nm_ring_advance(head, 1, SLOTS), count++)
		touched += take_slot(&ring->slot[head], buf_of(ring, &ring->slot[head]));
	(void)nm_csb_appl_publish(&e->appl, head, head);
	return count;
}

static uint32_t take_some(void)
{
	if (!nm_csb_appl_load(&g.tx.appl))
		die("CSB", EPROTO);
	if (g.watched && !g.full)
		(void)take_from(&g.watch);
	return take_from(&g.rx);
}

/* The receiver's addresses are known to the switch, as those of any machine that has sent once. */
static void announce_receiver(void)
{
	struct nm_ring *ring = &g.rx.client.port->rings[NM_TX][0];
	char *frame = buf_of(ring->shared, &ring->slots[0]);

	memset(frame, 0xff, 6);
	memset(frame + 12, 0, 48);
	for (uint32_t i = 0, head = 0; i < g.macs; i++, head = nm_ring_advance(head, 1, SLOTS)) {
		frame_start start = receiver(i);

		memcpy(frame + 6, &start, 6);
		ring->slots[head] =
			(struct netmap_slot){.buf_idx = ring->slots[0].buf_idx, .len = 60};
		if (nm_ring_sync(ring, nm_ring_advance(head, 1, SLOTS),
			    nm_ring_advance(head, 1, SLOTS)) != 0)
			die("announcement", EIO);
		take_some();
	}
}

/* ---- the bare loop ------------------------------------------------------------------------ */

static void make_bare(struct bare_side *s, uint32_t bufs, uint32_t first)
{
	s->ring = map(sizeof(*s->ring));
	s->bufs = map((size_t)bufs * BARE_BUF);
	for (uint32_t i = 0; i < SLOTS; i++)
		s->ring->slot[i] =
			(struct netmap_slot){.buf_idx = first + i, .len = (uint16_t)g.len};
}

static void send_bare(uint32_t count)
{
	uint32_t head = g.from.ring->head;

	for (; count > 0; count--) {
		struct netmap_slot *slot = &g.from.ring->slot[head];

		send_slot(slot, g.from.bufs + (size_t)slot->buf_idx * BARE_BUF, g.len, 0, 1);
		head = (head + 1) & (SLOTS - 1);
	}
	OS_STORE_RELEASE(&g.from.ring->head, head);
}

static uint32_t take_bare(const struct bare_side *s)
{
	uint32_t head = s->ring->head, count = 0;

	for (; head != OS_LOAD_ACQUIRE(&s->ring->tail); head = (head + 1) & (SLOTS - 1)) {
		const struct netmap_slot *slot = &s->ring->slot[head];

		touched += take_slot(slot, s->bufs + (size_t)slot->buf_idx * BARE_BUF);
		count++;
	}
	OS_STORE_RELEASE(&s->ring->head, head);
	return count;
}

static uint32_t take_both_bare(void)
{
	if (g.watched)
		(void)take_bare(&g.copy);
	return take_bare(&g.to);
}

static bool move_bare(bool exchange)
{
	struct bare_ring *tx = g.from.ring, *rx = g.to.ring;
	uint32_t n = bare_distance(g.at, OS_LOAD_ACQUIRE(&tx->head));

	if (n > 64)
		n = 64;
	if (g.watched)
		bare_move(&g.from, &g.copy, g.at, g.out, n, false);
	bare_move(&g.from, &g.to, g.at, g.out, n, exchange);
	g.at = (g.at + n) & (SLOTS - 1);
	g.out = (g.out + n) & (SLOTS - 1);
	if (g.watched)
		OS_STORE_RELEASE(&g.copy.ring->tail, g.out);
	OS_STORE_RELEASE(&rx->tail, g.out);
	OS_STORE_RELEASE(&tx->tail, g.at);
	return n > 0;
}

/* ---- both ------------------------------------------------------------------------------------ */

static void __attribute__((noinline)) work(void)
{
	if (!g.bare) {
		(void)nm_csb_server_step(&g.tx.kern);
		(void)nm_csb_server_step(&g.rx.kern);
		if (g.watched)
			(void)nm_csb_server_step(&g.watch.kern);
	} else if (g.exchange) {
		while (move_bare(true))
			;
	} else {
		while (move_bare(false))
			;
	}
}

static uint32_t round_trip(uint32_t count)
{
	turn_of(APPLICATION);
	if (g.bare)
		send_bare(count);
	else
		send_some(count);
	turn_of(WORKER);
	work();
	turn_of(APPLICATION);
	return g.bare ? take_both_bare() : take_some();
}

static void set_up(const char *what)
{
	g.bare = strcmp(what, "copy") == 0 || strcmp(what, "exchange") == 0;
	g.exchange = strcmp(what, "exchange") == 0;
	if (g.bare) {
		make_bare(&g.from, g.exchange ? 2 * SLOTS : SLOTS, 0);
		make_bare(&g.to, SLOTS, g.exchange ? SLOTS : 0);
		make_bare(&g.copy, SLOTS, 0);
		if (g.exchange) /* one region */
			g.to.bufs = g.from.bufs;
	} else if (strcmp(what, "vale") == 0 || strcmp(what, "pipe") == 0) {
		bool pipe = *what == 'p';

		if (nm_core_init(&g.core) != 0)
			die("core", ENOMEM);
		open_end(&g.tx, pipe ? "x{1" : "vale0:a", NM_TX, 0);
		open_end(&g.rx, pipe ? "x}1" : "vale0:b", NM_RX, 0);
		if (g.watched)
			open_end(&g.watch, pipe ? "x{1" : "vale0:a", NM_RX, NR_MONITOR_TX);
		if (!pipe)
			announce_receiver();
	} else {
		die(what, EINVAL);
	}
}

static void tear_down(void)
{
	if (g.bare)
		return;
	if (g.watched)
		nm_client_unbind(&g.watch.client);
	nm_client_unbind(&g.rx.client);
	nm_client_unbind(&g.tx.client);
	nm_core_destroy(&g.core);
}

static void set_option(int c, uint32_t n)
{
	switch (c) {
	case 'l':
		g.len = n;
		break;
	case 'b':
		g.batch = n;
		break;
	case 'r':
		g.rounds = n;
		break;
	case 'm':
		g.macs = n;
		break;
	case 'f':
		g.full = g.watched = true;
		break;
	case 'w':
		g.watched = true;
		break;
	default:
		exit(2); /* getopt has said why */
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"len", 1, 0, 'l'}, {"batch", 1, 0, 'b'},
		{"rounds", 1, 0, 'r'}, {"watched", 0, 0, 'w'}, {"macs", 1, 0, 'm'},
		{"full", 0, 0, 'f'}, {0}};
	uint64_t count = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		set_option(c, (uint32_t)strtoul(optarg ? optarg : "", NULL, 10));
	/* A step takes a quarter of a ring. */
	if (optind + 1 != argc || g.len < 60 || g.len > BARE_BUF || g.batch < 1 || g.macs < 1 ||
		g.macs > 100000 || g.batch > SLOTS / 4 ||
		(g.full &&
			(strcmp(argv[optind], "vale") != 0 && strcmp(argv[optind], "pipe") != 0)))
		die("options", EINVAL);
	set_up(argv[optind]);
	for (uint32_t i = 0; i < g.rounds; i++)
		count += round_trip(g.batch);
	tear_down();
	printf("{\"packets\": %llu, \"marks\": [\"%p\", \"%p\"]}\n", (unsigned long long)count,
		(void *)&marks[APPLICATION], (void *)&marks[WORKER]);
	return count == (uint64_t)g.rounds * g.batch ? 0 : 1;
}
