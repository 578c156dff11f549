/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the machine can do at best: the bare loop that every result is a share of.
 *
 *      limit copy|exchange|copy-watched|exchange-watched|eventfd [--len BYTES] [--batch PACKETS] [--seconds N] [--cpus A,B] [--pairs N]
 *
 * Two threads, with rings, slots, buffers and index words laid out as those of two ports. One
 * thread sends batches and takes what has come, as the clients of `measure` do. The other moves
 * packets from the tx ring to the rx ring: `copy` copies them into the receiver's
 * buffers, `exchange` exchanges buffer indices. No checks, no lookup, no counters, one ring each
 * way. `watched`: each packet is copied to a second receiver first, which the client reads as well. `eventfd`: two threads wake each other by eventfds, round trips per second. One line of
 * JSON.
 */
#include "bare.h"
#include "testbed.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAIRS_MAX = 32 };

/* Two ports, and what each thread knows of them. */
struct pair {
	struct bare_side tx, rx, watch;
	uint32_t at, out __attribute__((aligned(NM_CACHE_LINE)));           /* the mover's */
	uint32_t head, taken, seen __attribute__((aligned(NM_CACHE_LINE))); /* the client's */
};

static struct {
	struct pair pair[PAIRS_MAX];
	uint32_t len, batch, pairs;
	double seconds;
	int cpu[2];
	bool exchange, watched, stop;
	int event[2];
} g = {.len = 60, .batch = 256, .seconds = 1, .cpu = {0, 1}, .pairs = 1};

/* Slots hold buffers first and up; `bufs` of them lie behind the ring. */
static void make_side(struct bare_side *s, uint32_t bufs, uint32_t first)
{
	size_t bytes = sizeof(struct bare_ring) + (size_t)bufs * BARE_BUF;
	char *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		die("memory", errno);
	s->ring = (struct bare_ring *)(void *)mem;
	s->bufs = mem + sizeof(struct bare_ring);
	memset(s->bufs, 0x5a, (size_t)bufs * BARE_BUF);
	for (uint32_t i = 0; i < BARE_SLOTS; i++)
		s->ring->slot[i] =
			(struct netmap_slot){.buf_idx = first + i, .len = (uint16_t)g.len};
}

static void make_pair(struct pair *p)
{
	make_side(&p->tx, g.exchange ? 2 * BARE_SLOTS : BARE_SLOTS, 0);
	make_side(&p->rx, BARE_SLOTS, g.exchange ? BARE_SLOTS : 0);
	if (g.watched)
		make_side(&p->watch, BARE_SLOTS, 0);
	if (g.exchange) /* one region: the receiver's buffers lie behind the sender's */
		p->rx.bufs = p->tx.bufs;
}

static uint32_t room_of(const struct bare_ring *rx, uint32_t out)
{
	return BARE_SLOTS - 1 - bare_distance(__atomic_load_n(&rx->head, __ATOMIC_ACQUIRE), out);
}

static void move(struct pair *p)
{
	struct bare_ring *tx = p->tx.ring, *rx = p->rx.ring,
			 *watch = g.watched ? p->watch.ring : NULL;
	uint32_t n = bare_distance(p->at, __atomic_load_n(&tx->head, __ATOMIC_ACQUIRE));
	uint32_t room = room_of(rx, p->out);

	if (watch && room > room_of(watch, p->out))
		room = room_of(watch, p->out);
	if (n > room)
		n = room;
	if (n > 64)
		n = 64;
	if (n == 0)
		return;
	if (watch)
		bare_move(&p->tx, &p->watch, p->at, p->out, n, false);
	bare_move(&p->tx, &p->rx, p->at, p->out, n, g.exchange);
	p->at = (p->at + n) & (BARE_SLOTS - 1);
	p->out = (p->out + n) & (BARE_SLOTS - 1);
	if (watch)
		__atomic_store_n(&watch->tail, p->out, __ATOMIC_RELEASE);
	__atomic_store_n(&rx->tail, p->out, __ATOMIC_RELEASE);
	__atomic_store_n(&tx->tail, p->at, __ATOMIC_RELEASE);
}

static void *mover(void *arg)
{
	pin_to(g.cpu[1]);
	while (!__atomic_load_n(&g.stop, __ATOMIC_RELAXED))
		for (uint32_t i = 0; i < g.pairs; i++)
			move(&g.pair[i]);
	return NULL;
}

static volatile uint64_t touched;

/* What `measure` does with a packet, too: see there. */
static void touch_sent(const struct bare_side *s, struct netmap_slot *slot)
{
	static const uint64_t address = 0x0008010203040506;

	slot->len = (uint16_t)g.len;
	slot->flags = 0;
	memcpy(s->bufs + (size_t)slot->buf_idx * BARE_BUF, &address, sizeof(address));
}

static uint64_t touch_received(const struct bare_side *s, const struct netmap_slot *slot)
{
	uint64_t first;

	memcpy(&first, s->bufs + (size_t)slot->buf_idx * BARE_BUF, sizeof(first));
	return first + slot->len;
}

/* Takes what has come to a receiver. Returns how much. */
static inline uint32_t take(const struct bare_side *s, uint32_t *taken, uint64_t *sum)
{
	struct bare_ring *rx = s->ring;
	uint32_t n = bare_distance(*taken, __atomic_load_n(&rx->tail, __ATOMIC_ACQUIRE));

	for (uint32_t i = 0; i < n; i++)
		*sum += touch_received(s, &rx->slot[(*taken + i) & (BARE_SLOTS - 1)]);
	if (n > 0) {
		*taken = (*taken + n) & (BARE_SLOTS - 1);
		__atomic_store_n(&rx->head, *taken, __ATOMIC_RELEASE);
	}
	return n;
}

static void send_some(struct pair *p)
{
	struct bare_ring *tx = p->tx.ring;
	uint32_t used = bare_distance(__atomic_load_n(&tx->tail, __ATOMIC_ACQUIRE), p->head);

	if (BARE_SLOTS - 1 - used < g.batch)
		return;
	for (uint32_t i = 0; i < g.batch; i++)
		touch_sent(&p->tx, &tx->slot[(p->head + i) & (BARE_SLOTS - 1)]);
	p->head = (p->head + g.batch) & (BARE_SLOTS - 1);
	__atomic_store_n(&tx->head, p->head, __ATOMIC_RELEASE);
}

/* As the clients of `measure`: all send, then all take. */
static uint64_t turn(uint64_t *sum)
{
	uint64_t received = 0;

	for (uint32_t i = 0; i < g.pairs; i++)
		send_some(&g.pair[i]);
	for (uint32_t i = 0; i < g.pairs; i++) {
		received += take(&g.pair[i].rx, &g.pair[i].taken, sum);
		if (g.watched)
			take(&g.pair[i].watch, &g.pair[i].seen, sum);
	}
	return received;
}

static uint64_t client(double *seconds)
{
	double start = now_s();
	uint64_t received = 0, sum = 0;

	while (now_s() < start + g.seconds)
		for (int round = 0; round < 64; round++)
			received += turn(&sum);
	*seconds = now_s() - start;
	touched = sum;
	return received;
}

/* ---- eventfds ------------------------------------------------------------------------ */

static void signal_fd(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		die("eventfd", errno);
}

static void wait_fd(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		die("eventfd", errno);
}

static void *echo(void *arg)
{
	pin_to(g.cpu[1]);
	for (;;) {
		wait_fd(g.event[0]);
		if (__atomic_load_n(&g.stop, __ATOMIC_RELAXED))
			return NULL;
		signal_fd(g.event[1]);
	}
}

static uint64_t ping(double *seconds)
{
	double start = now_s();
	uint64_t trips = 0;

	while (now_s() < start + g.seconds) {
		signal_fd(g.event[0]);
		wait_fd(g.event[1]);
		trips++;
	}
	*seconds = now_s() - start;
	return trips;
}

/* ---- main ---------------------------------------------------------------------------- */

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr,
		"limit: wanted: copy, exchange, copy-watched, exchange-watched or eventfd, and any of --len 60..%d --batch 1..%d --seconds N --cpus A,B --pairs 1..%d\n",
		BARE_BUF, BARE_SLOTS - 1, PAIRS_MAX);
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {{"len", 1, 0, 'l'}, {"batch", 1, 0, 'b'},
		{"seconds", 1, 0, 's'}, {"cpus", 1, 0, 'c'}, {"pairs", 1, 0, 'p'}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'l')
			g.len = (uint32_t)atoi(optarg);
		else if (c == 'b')
			g.batch = (uint32_t)atoi(optarg);
		else if (c == 'p')
			g.pairs = (uint32_t)atoi(optarg);
		else if (c == 's')
			g.seconds = strtod(optarg, NULL);
		else if (c != 'c' || sscanf(optarg, "%d,%d", &g.cpu[0], &g.cpu[1]) != 2)
			usage();
	}
	if (optind + 1 != argc || g.len < 60 || g.len > BARE_BUF || g.batch < 1 ||
		g.batch >= BARE_SLOTS || g.pairs < 1 || g.pairs > PAIRS_MAX ||
		!(g.seconds > 0 && g.seconds <= 600))
		usage();
}

static bool is_move(const char *mode)
{
	static const char *const known[] = {"copy", "exchange", "copy-watched", "exchange-watched"};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(mode, known[i]) == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	const char *mode;
	bool event;
	double seconds;
	pthread_t thread;
	uint64_t count;

	parse(argc, argv);
	mode = argv[optind];
	event = strcmp(mode, "eventfd") == 0;
	g.exchange = strncmp(mode, "exchange", 8) == 0;
	g.watched = strstr(mode, "-watched") != NULL;
	if (!event && !is_move(mode))
		usage();
	for (uint32_t i = 0; i < g.pairs; i++)
		make_pair(&g.pair[i]);
	g.event[0] = eventfd(0, EFD_CLOEXEC);
	g.event[1] = eventfd(0, EFD_CLOEXEC);
	if (pthread_create(&thread, NULL, event ? echo : mover, NULL) != 0)
		die("thread", EAGAIN);
	pin_to(g.cpu[0]);
	count = event ? ping(&seconds) : client(&seconds);
	__atomic_store_n(&g.stop, true, __ATOMIC_RELAXED);
	signal_fd(g.event[0]);
	pthread_join(thread, NULL);
	printf("{\"count\": %llu, \"seconds\": %.6f}\n", (unsigned long long)count, seconds);
	return 0;
}
