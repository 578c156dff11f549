/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmapp: applications for the tests of netmapd. Each opens a port with libnetmap, writes
 * "ready", does its part, and exits with 0 if all went as it must; else it says why.
 *
 *      nmapp send PORT COUNT SEED RECEIVERS    packets whose every byte follows from SEED
 *      nmapp recv PORT COUNT SEED NUMBER       compares them; NUMBER 0 to RECEIVERS - 1
 *      nmapp ping PORT COUNT                   one packet after the other, asleep in between
 *      nmapp echo PORT COUNT                   sends them back
 *      nmapp scribble PORT MS SEED             rings with slots that a second thread writes
 *
 * Nothing can be lost between send and recv, however slow one of them is: the receivers
 * acknowledge, and no more slots are under way than a ring has. In ping and echo every wait
 * must be ended by a notification: one that is lost is a timeout, and that is an error.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libnetmap.h>

#include "testprog.h"

enum {
	PATIENCE_MS = 30000, /* without any progress */
	WINDOW = 256, /* slots under way; acknowledgements of all receivers fit a ring, too */
	RECEIVERS_MAX = 3,
	LEN_MIN = 60,
	LEN_MAX = 9000,
	FRAG_MIN = 200, /* bytes, so that the longest packet has at most 36 slots */
};

enum kind { DATA = 1, ACK, PING, ECHO };

/* What each packet begins with. */
struct msg {
	uint8_t dst[6], src[6], type[2];
	uint8_t kind, number; /* number: of a receiver */
	uint32_t seq;         /* DATA, PING, ECHO: of the packet; ACK: packets received */
	uint32_t len;         /* bytes of the packet */
};

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dULL;
}

static uint64_t seeded(uint64_t seed, uint64_t seq)
{
	uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15ULL ^ (seq + 1) * 0xbf58476d1ce4e5b9ULL;

	return state ? state : 1;
}

/* ---- the port ------------------------------------------------------------------------- */

static struct nmport_d *open_port(const char *name)
{
	struct nmport_d *d = nmport_open(name);

	if (!d)
		exit(1); /* the reason is on stderr */
	printf("ready\n");
	fflush(stdout);
	return d;
}

static struct netmap_ring *tx_ring(struct nmport_d *d)
{
	return NETMAP_TXRING(d->nifp, d->first_tx_ring);
}

static struct netmap_ring *rx_ring(struct nmport_d *d)
{
	return NETMAP_RXRING(d->nifp, d->first_rx_ring);
}

/* Until one of the events holds. */
static void wait_for(struct nmport_d *d, short events)
{
	int n = nmport_poll(d, events, PATIENCE_MS);

	if (n == 0)
		fail("nothing happened for %d ms", PATIENCE_MS);
	if (n < 0 || (n & ~events))
		fail("poll says %#x, errno %d", (unsigned int)n, errno);
}

static void sync_tx(struct nmport_d *d)
{
	if (nmport_txsync(d) < 0)
		fail("txsync: %s", strerror(errno));
}

/* Puts a packet into the ring, in fragments of random size if it is long. Returns the slots. */
static uint32_t put(struct nmport_d *d, const uint8_t *packet, uint32_t len, uint64_t *random)
{
	struct netmap_ring *ring = tx_ring(d);
	uint32_t slots = 0, done = 0;

	while (done < len) {
		uint32_t left = len - done, n = left, most = ring->nr_buf_size;
		struct netmap_slot *slot;

		if (left > most)
			n = FRAG_MIN + (uint32_t)(next_random(random) % (most - FRAG_MIN + 1));
		while (nm_ring_empty(ring))
			wait_for(d, POLLOUT);
		slot = &ring->slot[ring->head];
		memcpy(NETMAP_BUF(ring, slot->buf_idx), packet + done, n);
		slot->len = (uint16_t)n;
		slot->flags = n < left ? NS_MOREFRAG : 0;
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
		done += n;
		slots++;
	}
	return slots;
}

/* Takes the next packet out of the ring: its bytes, 0 if there is none that is whole. */
static uint32_t take(struct nmport_d *d, uint8_t *packet, uint32_t room)
{
	struct netmap_ring *ring = rx_ring(d);
	uint32_t len = 0, at = ring->head;

	while (at != ring->tail) {
		struct netmap_slot *slot = &ring->slot[at];

		if (len + slot->len > room)
			fail("a packet of more than %u bytes", room);
		memcpy(packet + len, NETMAP_BUF(ring, slot->buf_idx), slot->len);
		len += slot->len;
		at = nm_ring_next(ring, at);
		if (slot->flags & NS_MOREFRAG)
			continue;
		ring->head = ring->cur = at;
		return len;
	}
	return 0;
}

/* ---- packets -------------------------------------------------------------------------- */

static void fill_header(struct msg *m, enum kind kind, uint8_t from, const uint8_t *to)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0x55, from};

	memset(m, 0, sizeof(*m));
	memcpy(m->dst, to, 6);
	memcpy(m->src, mac, 6);
	m->type[0] = 0x88;
	m->type[1] = 0xb5;
	m->kind = (uint8_t)kind;
	m->number = from;
}

/* The packet with number seq, every byte of it. Returns its length. */
static uint32_t make_data(uint8_t *packet, uint64_t seed, uint32_t seq, const uint8_t *to)
{
	uint64_t random = seeded(seed, seq);
	struct msg m;
	uint32_t len = LEN_MIN + (uint32_t)(next_random(&random) % (1514 - LEN_MIN + 1));

	if (seq % 8 == 7)
		len = LEN_MIN + (uint32_t)(next_random(&random) % (LEN_MAX - LEN_MIN + 1));
	fill_header(&m, DATA, 0xfe, to);
	m.seq = seq;
	m.len = len;
	memcpy(packet, &m, sizeof(m));
	for (uint32_t i = sizeof(m); i < len; i += 8) {
		uint64_t word = next_random(&random);

		memcpy(packet + i, &word, len - i < 8 ? len - i : 8);
	}
	return len;
}

static void send_short(struct nmport_d *d, const struct msg *m)
{
	uint8_t packet[LEN_MIN] = {0};
	uint64_t random = 1;

	memcpy(packet, m, sizeof(*m));
	put(d, packet, sizeof(packet), &random);
	sync_tx(d);
}

/* The header of the next packet of this kind; false: there is none now. */
static bool take_kind(struct nmport_d *d, enum kind kind, struct msg *m)
{
	static uint8_t packet[LEN_MAX];
	uint32_t len;

	while ((len = take(d, packet, sizeof(packet))) > 0) {
		memcpy(m, packet, sizeof(*m));
		if (len >= sizeof(*m) && m->kind == kind)
			return true;
	}
	return false;
}

/* ---- send and recv -------------------------------------------------------------------- */

struct sender {
	struct nmport_d *d;
	uint32_t receivers;
	uint32_t acked[RECEIVERS_MAX]; /* packets */
	uint32_t done;                 /* packets that all have acknowledged */
	uint32_t under_way;            /* slots of the others */
};

/* The slots of packet seq are remembered until it is acknowledged. */
static uint8_t slots_of[WINDOW];

static void take_acks(struct sender *s)
{
	uint32_t done = UINT32_MAX;
	struct msg m;

	while (take_kind(s->d, ACK, &m))
		if (m.number < s->receivers && m.seq > s->acked[m.number])
			s->acked[m.number] = m.seq;
	for (uint32_t i = 0; i < s->receivers; i++)
		done = s->acked[i] < done ? s->acked[i] : done;
	for (; s->done < done; s->done++)
		s->under_way -= slots_of[s->done % WINDOW];
}

static int run_send(const char *port, char **argv)
{
	uint32_t count = (uint32_t)atol(argv[0]);
	struct sender s = {.d = open_port(port), .receivers = (uint32_t)atol(argv[2])};
	uint64_t seed = (uint64_t)atol(argv[1]), random = seeded(seed, count);
	const uint8_t first[6] = {2, 0, 0, 0, 0x55, 0};
	static uint8_t packet[LEN_MAX + 8];

	if (s.receivers < 1 || s.receivers > RECEIVERS_MAX)
		fail("1 to %d receivers", RECEIVERS_MAX);
	for (uint32_t seq = 0; seq < count || s.done < count;) {
		if (seq < count && seq - s.done < WINDOW && s.under_way < WINDOW / 2) {
			uint32_t len =
				make_data(packet, seed, seq, s.receivers > 1 ? everybody : first);
			uint32_t slots = put(s.d, packet, len, &random);

			slots_of[seq++ % WINDOW] = (uint8_t)slots;
			s.under_way += slots;
			continue;
		}
		wait_for(s.d, POLLIN);
		take_acks(&s);
	}
	nmport_close(s.d);
	return 0;
}

static int run_recv(const char *port, char **argv)
{
	struct nmport_d *d = open_port(port);
	uint32_t count = (uint32_t)atol(argv[0]), seq = 0;
	uint64_t seed = (uint64_t)atol(argv[1]);
	static uint8_t packet[LEN_MAX + 8], expected[LEN_MAX + 8];
	const uint8_t sender[6] = {2, 0, 0, 0, 0x55, 0xfe};
	struct msg m;

	while (seq < count) {
		uint32_t len, before = seq;

		wait_for(d, POLLIN);
		while ((len = take(d, packet, sizeof(packet))) > 0) {
			memcpy(&m, packet, sizeof(m));
			if (len < sizeof(m) || m.kind != DATA)
				continue; /* acknowledgements, until the switch knows the sender */
			if (len != make_data(expected, seed, seq, m.dst) ||
				memcmp(packet, expected, len) != 0)
				fail("packet %u is not what was sent: says %u, %u bytes", seq,
					m.seq, len);
			seq++;
		}
		if (seq == before)
			continue;
		fill_header(&m, ACK, (uint8_t)atol(argv[2]), sender);
		m.seq = seq;
		send_short(d, &m);
	}
	while (nm_tx_pending(tx_ring(d)))
		sync_tx(d);
	nmport_close(d);
	return 0;
}

/* ---- ping and echo -------------------------------------------------------------------- */

static int run_ping(const char *port, char **argv)
{
	struct nmport_d *d = open_port(port);
	uint32_t count = (uint32_t)atol(argv[0]);
	struct msg m, answer;

	fill_header(&m, PING, 1, everybody);
	for (m.seq = 0; m.seq < count; m.seq++) {
		send_short(d, &m);
		do
			wait_for(d, POLLIN);
		while (!take_kind(d, ECHO, &answer));
		if (answer.seq != m.seq)
			fail("answer %u to packet %u", answer.seq, m.seq);
	}
	nmport_close(d);
	return 0;
}

static int run_echo(const char *port, char **argv)
{
	struct nmport_d *d = open_port(port);
	uint32_t count = (uint32_t)atol(argv[0]), done = 0;
	struct msg m, answer;

	while (done < count) {
		wait_for(d, POLLIN);
		while (take_kind(d, PING, &m)) {
			fill_header(&answer, ECHO, 2, m.src);
			answer.seq = m.seq;
			send_short(d, &answer);
			done++;
		}
	}
	while (nm_tx_pending(tx_ring(d)))
		sync_tx(d);
	nmport_close(d);
	return 0;
}

/* ---- scribble ------------------------------------------------------------------------- */

struct scribbler {
	struct nmport_d *d;
	uint64_t random;
	int stop;
};

/* One slot, at once or field by field, sometimes with values that could be meant. */
static void scribble_slot(struct netmap_ring *ring, uint64_t *random)
{
	volatile struct netmap_slot *slot = &ring->slot[next_random(random) % ring->num_slots];
	uint64_t value = next_random(random), how = next_random(random);

	if (how & 1)
		slot->buf_idx = how & 2 ? (uint32_t)value : (uint32_t)(value % 2050);
	if (how & 4)
		slot->len = how & 8 ? (uint16_t)value : (uint16_t)(value % 2048);
	if (how & 16)
		slot->flags = how & 32 ? (uint16_t)value : 0;
	if (how & 64)
		slot->ptr = value;
	if ((how & 0xf80) == 0) /* addresses, so that switch tables see many */
		memcpy(NETMAP_BUF(ring, 2 + value % 2048), &value, sizeof(value));
}

static void *scribble(void *arg)
{
	struct scribbler *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		scribble_slot(tx_ring(s->d), &s->random);
		scribble_slot(rx_ring(s->d), &s->random);
	}
	return NULL;
}

/* A legal move of head and cur. */
static void move_on(struct netmap_ring *ring, uint64_t *random)
{
	uint32_t room = nm_ring_space(ring), head = ring->head;
	uint32_t by = room ? (uint32_t)(next_random(random) % (room + 1)) : 0;

	head += by;
	ring->head = ring->cur = head >= ring->num_slots ? head - ring->num_slots : head;
}

static int run_scribble(const char *port, char **argv)
{
	struct scribbler s = {.d = open_port(port), .random = seeded((uint64_t)atol(argv[1]), 1)};
	uint64_t until = now_ms() + (uint64_t)atol(argv[0]),
		 random = seeded((uint64_t)atol(argv[1]), 2);
	uint64_t moved = 0;
	pthread_t thread;

	if (tx_ring(s.d)->num_slots != 1024 || rx_ring(s.d)->num_slots != 1024)
		fail("a port of 1024 slots is needed"); /* for the numbers of buffers above */
	if (pthread_create(&thread, NULL, scribble, &s) != 0)
		fail("no thread");
	while (now_ms() < until) {
		uint32_t before = tx_ring(s.d)->head;

		move_on(tx_ring(s.d), &random);
		move_on(rx_ring(s.d), &random);
		if (nmport_txsync(s.d) < 0 || nmport_rxsync(s.d) < 0)
			fail("sync: %s", strerror(errno));
		moved += tx_ring(s.d)->head != before;
	}
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	nmport_close(s.d);
	if (moved < 10)
		fail("its tx ring moved %llu times only", (unsigned long long)moved);
	return 0;
}

/* ---- the line ------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int args; /* behind PORT */
	int (*run)(const char *port, char **argv);
} commands[] = {
	{"send", 3, run_send},
	{"recv", 3, run_recv},
	{"ping", 1, run_ping},
	{"echo", 1, run_echo},
	{"scribble", 2, run_scribble},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc == 3 + commands[i].args && strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argv[2], argv + 3);
	fprintf(stderr, "nmapp: see the beginning of nmapp.c\n");
	return 2;
}
