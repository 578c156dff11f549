/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * soak_vfio - virtual machines at native speed, for the soak and bench/isolation.
 *
 *	soak_vfio flow SOCKET SWITCH SEED       two machines with a stream each way, every packet checked
 *	soak_vfio rate SOCKET SWITCH SEED       the same, as many packets as go, and it starts no driver again
 *	soak_vfio hostile SOCKET SWITCH SEED    a machine that keeps no rule
 *
 * Both run until SIGTERM, or until they are killed. flow prints a line with the number of packets that came in order
 * and unchanged, at least once a second; drivers stop and start from time to time, which may lose
 * what is on the way, and nothing else (never with seed 0: then nothing may be lost). It exits with 0, with 1 when a packet was lost or changed, or with 75
 * (with a line on stderr) when netmapd refused what it needs: that happens while faults are injected.
 * hostile writes random values into rings, slots, CSB and registers, at random moments, and says nothing; its status is 0.
 *
 * Thread safety: a program of one thread; hostile has a second one, which writes.
 */
#include "machine.h"
#include "traffic.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	RAM = 4 << 20,
	SIDES = 2,
	REFUSED = 75,
	PATIENCE_S = 300 /* on a machine that has other things to do */
};

static volatile sig_atomic_t stop;
static uint64_t seed;

static void on_term(int signo)
{
	(void)signo;
	stop = 1;
}

/* xorshift64* */
static uint32_t random_below(uint32_t n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (uint32_t)((seed * 2685821657736338717ULL) >> 32) % n;
}

static void __attribute__((noreturn, format(printf, 1, 2))) refused(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(REFUSED);
}

static void __attribute__((noreturn)) broken(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-error));
	exit(1);
}

/* ---- machines -------------------------------------------------------------------------- */

static void make_machine(struct machine *m, const char *socket, const char *port)
{
	struct nm_error err = {0};

	if (machine_start(m, socket, port, &err) != 0)
		refused("%s", err.text);
}

/* ---- flow ------------------------------------------------------------------------------ */

static struct machine side[SIDES];
static struct flow flows[SIDES];

static void restart_a_driver(void)
{
	struct vg_port *port = side[random_below(SIDES)].port;
	int error = vg_stop(port);

	if (!error)
		error = vg_start(port, 0);
	for (int i = 0; i < SIDES && !error; i++)
		error = flow_settle(&flows[i]);
	if (error == -EMFILE || error == -ENFILE || error == -ENOMEM)
		refused("a driver can't start again: %s", strerror(-error));
	if (error)
		broken("a driver that stops and starts", error);
}

static int run_flows(const char *socket, const char *sw, bool rests)
{
	const bool may_restart = seed != 1 && rests;
	uint64_t count = 0;
	time_t last = 0;

	for (int i = 0; i < SIDES; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s:%c%d", sw, 'a' + i, (int)getpid());
		make_machine(&side[i], socket, name);
	}
	for (int i = 0; i < SIDES; i++) {
		flow_init(&flows[i], &side[i].port->rings[0],
			&side[1 - i].port->rings[side[1 - i].port->tx_rings]);
		flows[i].patience_s = PATIENCE_S;
	}
	while (!stop) {
		for (int i = 0; i < SIDES; i++) {
			int error = flow_run(&flows[i], 1 + random_below(500));

			if (error)
				broken("a packet that is not the next one, or none", error);
		}
		count = flows[0].received + flows[1].received;
		if (time(NULL) != last) {
			last = time(NULL);
			printf("%llu\n", (unsigned long long)count);
			fflush(stdout);
			if (may_restart && random_below(4) == 0)
				restart_a_driver();
		}
		/* The others have the CPU, too. */
		if (rests)
			nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	printf("%llu\n", (unsigned long long)count);
	for (int i = 0; i < SIDES; i++)
		machine_end(&side[i]);
	return 0;
}

/* ---- hostile --------------------------------------------------------------------------- */

static struct machine offender;

static uint32_t nonsense(uint32_t near)
{
	static const uint32_t values[] = {
		0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xffff, 0x10000};

	switch (random_below(4)) {
	case 0:
		return values[random_below(sizeof(values) / sizeof(values[0]))];
	case 1:
		return near + random_below(3) - 1;
	default:
		return random_below(near + 1);
	}
}

/* Rings, slots, packets and CSB, while they are served. The ring headers say where: they are read before. */
static void *scribble(void *arg)
{
	struct vg_port *port = offender.port;
	const uint32_t rings = port->tx_rings + port->rx_rings;
	uint64_t state = seed + 1;

	(void)arg;
	while (!stop) {
		for (int i = 0; i < 2000; i++) {
			uint32_t at, number;
			struct vg_ring *r;

			state = state * 6364136223846793005ULL + 1442695040888963407ULL;
			number = (uint32_t)(state >> 33);
			r = &port->rings[number % rings];
			at = (number >> 8) % r->csb.num_slots;
			switch ((number >> 4) % 6) {
			case 0:
				__atomic_store_n(
					&r->ring->slot[at].buf_idx, number, __ATOMIC_RELAXED);
				break;
			case 1:
				__atomic_store_n(
					&r->ring->slot[at].len, (uint16_t)number, __ATOMIC_RELAXED);
				break;
			case 2:
				__atomic_store_n(&r->ring->slot[at].flags, (uint16_t)(number >> 3),
					__ATOMIC_RELAXED);
				break;
			case 3:
				__atomic_store_n(&port->atok[r->index].head, at, __ATOMIC_RELAXED);
				break;
			case 4:
				__atomic_store_n(
					&port->atok[r->index].cur, number, __ATOMIC_RELAXED);
				break;
			default:
				__atomic_store_n(&r->ring->slot[at].ptr, state, __ATOMIC_RELAXED);
			}
		}
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return NULL;
}

/* False: the connection is closed, as it should be. */
static bool offend(struct vg_port *port)
{
	uint32_t value;
	int error;

	switch (random_below(8)) {
	case 0:
		error = vfc_write32(port->client, 0, random_below(0x200) & ~3u, nonsense(1000));
		break;
	case 1:
		error = vfc_read32(port->client, 0, random_below(0x400), &value);
		break;
	case 2:
		error = vg_unmap_ram(port);
		break;
	case 3:
		error = vg_map_ram(port);
		break;
	case 4:
		error = vg_stop(port);
		break;
	case 5:
		error = vg_write_csb(
			port, (uint64_t)nonsense(RAM) << random_below(33), nonsense(RAM));
		break;
	case 6:
		error = vg_start(port, 0);
		break;
	default:
		for (int i = 0; i < 100; i++)
			(void)vfc_write32(
				port->client, 0, PTNET_IO_KICK_BASE + 4 * random_below(4), 0);
		error = 0;
	}
	return error != -ECONNRESET && error != -EPIPE && error != -ENOTCONN;
}

static int run_hostile(const char *socket, const char *sw)
{
	char name[64];
	pthread_t thread;

	snprintf(name, sizeof(name), "%s:h%d", sw, (int)getpid());
	make_machine(&offender, socket, name);
	if (pthread_create(&thread, NULL, scribble, NULL) != 0)
		refused("no thread");
	while (!stop && offend(offender.port))
		nanosleep(&(struct timespec){.tv_nsec = (long)random_below(3000000)}, NULL);
	while (!stop)
		pause();
	pthread_join(thread, NULL);
	machine_end(&offender);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = on_term};

	if (argc != 5 || !strchr("frh", argv[1][0])) {
		fprintf(stderr, "usage: soak_vfio flow|rate|hostile SOCKET SWITCH SEED\n");
		return 2;
	}
	sigaction(SIGTERM, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	seed = strtoull(argv[4], NULL, 0) * 2 + 1;
	if (argv[1][0] == 'h')
		return run_hostile(argv[2], argv[3]);
	return run_flows(argv[2], argv[3], argv[1][0] == 'f');
}
