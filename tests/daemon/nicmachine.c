/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nicmachine: two virtual machines, each with one of two network interfaces that are wired to each other, and numbered packets
 * both ways at a time.
 *
 *      nicmachine SOCKET PORT PORT COUNT [stay]      of that netmapd: netmap:a and netmap:b
 *
 * Writes "through" when packets have got through both ways for a second (see nicwire.c), sends COUNT each way, of 60 to
 * 1514 bytes, and writes "ok COUNT COUNT" when each has come once, in order, every byte as it was sent (traffic.h), in a buffer that
 * was given to the device: from the rings' second round on, none lies in the buffer that its slot had when the machine gave it back. Else
 * what is wrong, and exits with 1. stay: the machines are there until SIGTERM then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"
#include "testprog.h"
#include "traffic.h"

enum {
	SIDES = 2,
	SLOTS = 2048,
	TRIES = 60,  /* of two seconds, until there is a link */
	STEADY = 20, /* without a loss: a second */
	PAUSE_US = 50000,
	PATIENCE_S = 60, /* without any progress: only a failure takes so long */
	WINDOW =
		64, /* packets under way, each way: a hub of QEMU drops what its receiver has no room for */
};

/* The buffers of an rx ring's slots, as the machine has given them back; 0: not yet. */
struct buffers {
	const struct vg_ring *rx;
	uint32_t at; /* the first slot that was not looked at */
	uint32_t index[SLOTS];
};

static void look_at_buffers(struct buffers *b, const struct vg_ring *rx)
{
	if (rx->csb.num_slots > SLOTS)
		fail("a ring of %u slots", rx->csb.num_slots);
	*b = (struct buffers){.rx = rx, .at = rx->head};
}

/* Slots that were filled have got other ones. Less than a ring of them since the last time. */
static void check_exchanged(struct buffers *b)
{
	const struct vg_ring *rx = b->rx;

	for (; b->at != rx->csb.hwtail; b->at = nm_ring_advance(b->at, 1, rx->csb.num_slots)) {
		uint32_t index = rx->ring->slot[b->at].buf_idx;

		if (index == b->index[b->at])
			fail("a packet lies in the slot's own buffer %u: it was copied there",
				index);
		b->index[b->at] = index;
	}
}

static int settle(struct flow flows[SIDES])
{
	int error = 0;

	for (int i = 0; i < SIDES && !error; i++)
		error = flow_settle(&flows[i]);
	return error;
}

/* What is lost before there is a link is not missed. */
static void wait_through(struct flow flows[SIDES])
{
	int steady = 0, error;

	for (int i = 0; i < SIDES; i++)
		flows[i].patience_s = 1;
	for (int n = 0; steady < STEADY; n++) {
		error = settle(flows);
		if (error && (error != -ETIMEDOUT || n >= TRIES))
			fail("packets don't get through: %s", strerror(-error));
		steady = error ? 0 : steady + 1;
		(void)usleep(PAUSE_US);
	}
	for (int i = 0; i < SIDES; i++)
		flows[i].patience_s = PATIENCE_S;
}

static void stream(struct flow flows[SIDES], uint64_t count)
{
	struct buffers buffers[SIDES];

	for (int i = 0; i < SIDES; i++)
		look_at_buffers(&buffers[i], flows[i].rx);
	while (flows[0].received < count || flows[1].received < count) {
		int moved = 0;

		for (int i = 0; i < SIDES; i++) {
			int n = flow_step(&flows[i], count);

			if (n < 0)
				fail("from machine %d, after %llu packets: %s", i,
					(unsigned long long)flows[i].received, strerror(-n));
			moved += n;
			check_exchanged(&buffers[i]);
		}
		/* Nothing moves: waits for what is still missing. */
		for (int i = 0; i < SIDES && !moved; i++) {
			int error = flow_run(&flows[i], 0);

			check_exchanged(&buffers[i]);
			if (error)
				fail("lost: machine %d has sent %llu, the other one has %llu: %s",
					i, (unsigned long long)flows[i].sent,
					(unsigned long long)flows[i].received, strerror(-error));
		}
	}
}

int main(int argc, char **argv)
{
	struct machine side[SIDES];
	struct flow flows[SIDES];
	struct nm_error err = {0};

	if (argc < 5)
		fail("usage: nicmachine SOCKET PORT PORT COUNT [stay]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	testprog_until_sigterm();
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < SIDES; i++)
		if (machine_start(&side[i], argv[1], argv[2 + i], &err) != 0)
			fail("%s", err.text);
	/* Packets that are not IP come to the first queue of any device. */
	for (int i = 0; i < SIDES; i++) {
		flow_init(&flows[i], &side[i].port->rings[0],
			&side[1 - i].port->rings[side[1 - i].port->tx_rings]);
		flows[i].window = WINDOW;
	}
	wait_through(flows);
	printf("through\n");
	stream(flows, strtoull(argv[4], NULL, 10));
	printf("ok %llu %llu\n", (unsigned long long)flows[0].received,
		(unsigned long long)flows[1].received);
	while (argc > 5 && !ended)
		(void)usleep(10000);
	for (int i = 0; i < SIDES; i++)
		machine_end(&side[i]);
	return 0;
}
