/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtering.c - a pipe's rival within one process: pointers to packets through DPDK's rte_ring.
 *
 *      rtering BYTES BURST SECONDS CLIENT-CPU WORKER-CPU
 *
 * One thread takes packets that are free, writes each one's length and first 8 bytes, and puts a burst of pointers on a
 * ring; the other takes bursts, reads the length and the first 8 bytes, and puts the pointers on the ring of those that are free.
 * One producer and one consumer each way. There is no protection between the two, no region, no slot; nothing
 * moves packets but the two ends. Prints packets per second at the receiver. Built where DPDK's ring is (libdpdk-dev).
 */
#include "testbed.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ring.h>

enum { PACKETS = 1023, RING = 1024, BURST_MAX = 256, BUF = 2048 };

struct packet {
	uint16_t len;
	char data[BUF] __attribute__((aligned(64)));
};

static struct {
	struct rte_ring *sent, *unused;
	struct packet *packets;
	uint16_t len;
	unsigned int burst;
	double seconds;
	int cpu[2];
	bool stop;
} g;

static volatile uint64_t touched;

static struct rte_ring *new_ring(const char *name)
{
	struct rte_ring *ring = aligned_alloc(64, (size_t)rte_ring_get_memsize(RING));

	if (!ring || rte_ring_init(ring, name, RING, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0)
		die("ring", ENOMEM);
	return ring;
}

static void *sender(void *arg)
{
	static const uint64_t start = 0x0008010203040506;
	void *burst[BURST_MAX];

	pin_to(g.cpu[0]);
	while (!__atomic_load_n(&g.stop, __ATOMIC_RELAXED)) {
		unsigned int n = rte_ring_sc_dequeue_burst(g.unused, burst, g.burst, NULL);

		for (unsigned int i = 0; i < n; i++) {
			struct packet *p = burst[i];

			p->len = g.len;
			memcpy(p->data, &start, sizeof(start));
		}
		if (n > 0) /* there is room for all that exist */
			rte_ring_sp_enqueue_bulk(g.sent, burst, n, NULL);
	}
	return NULL;
}

static uint64_t receive(uint64_t *sum)
{
	void *burst[BURST_MAX];
	unsigned int n = rte_ring_sc_dequeue_burst(g.sent, burst, g.burst, NULL);

	for (unsigned int i = 0; i < n; i++) {
		const struct packet *p = burst[i];
		uint64_t first;

		memcpy(&first, p->data, sizeof(first));
		*sum += first + p->len;
	}
	if (n > 0)
		rte_ring_sp_enqueue_bulk(g.unused, burst, n, NULL);
	return n;
}

/* Packets per second, after a quarter of the time to warm up. */
static double measure(void)
{
	double start = now_s(), warm = start + g.seconds / 4, end = warm + g.seconds, now;
	uint64_t count = 0, sum = 0;
	bool counting = false;

	while ((now = now_s()) < end) {
		if (!counting && now >= warm) {
			counting = true;
			start = now;
			count = 0;
		}
		for (int round = 0; round < 64; round++)
			count += receive(&sum);
	}
	touched = sum;
	return (double)count / (now_s() - start);
}

static void set_up(char **argv)
{
	g.len = (uint16_t)atoi(argv[1]);
	g.burst = (unsigned int)atoi(argv[2]);
	g.seconds = strtod(argv[3], NULL);
	g.cpu[0] = atoi(argv[4]);
	g.cpu[1] = atoi(argv[5]);
	if (g.len < 60 || g.len > BUF || g.burst < 1 || g.burst > BURST_MAX ||
		!(g.seconds > 0 && g.seconds <= 600))
		die("arguments", EINVAL);
	g.sent = new_ring("sent");
	g.unused = new_ring("unused");
	g.packets = aligned_alloc(64, sizeof(*g.packets) * PACKETS);
	if (!g.packets)
		die("packets", ENOMEM);
	memset(g.packets, 0x5a, sizeof(*g.packets) * PACKETS);
	for (int i = 0; i < PACKETS; i++)
		if (rte_ring_sp_enqueue(g.unused, &g.packets[i]) != 0)
			die("room", ENOSPC);
}

int main(int argc, char **argv)
{
	pthread_t thread;
	double rate;

	if (argc != 6) {
		fprintf(stderr, "rtering: wanted: BYTES BURST SECONDS CLIENT-CPU WORKER-CPU\n");
		return 2;
	}
	set_up(argv);
	if (pthread_create(&thread, NULL, sender, NULL) != 0)
		die("thread", EAGAIN);
	pin_to(g.cpu[1]);
	rate = measure();
	__atomic_store_n(&g.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	printf("%.0f\n", rate);
	return 0;
}
