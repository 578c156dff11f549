/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * measure.h - scenarios: who sends what to whom, and what is counted.
 *
 * A scenario sets up its ports in a fresh netmapd, runs for a while, and returns how many
 * packets (or round trips) got through; main() prints that as one line of JSON, bench/run makes
 * figures of it. All of a scenario's ports are worked by one thread, in turns, as the client;
 * the other CPU is the worker's. Only `workers` has a client for each of several workers.
 *
 * What is done with a packet is the same everywhere, and in the bare loop of limit.c: the
 * sender writes the slot's length and flags and the packet's first 8 bytes (so that a new
 * packet is there each time); the receiver reads the length and the first 8 bytes.
 *
 * Thread safety: a ring, and what is done with it, belongs to one thread.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <string.h>

#include "port.h"
#include "testbed.h"

struct options {
	uint32_t len;     /* bytes of a packet */
	uint32_t batch;   /* packets per sync of a sender */
	double seconds;   /* of measuring */
	uint32_t ports;   /* where the scenario has a number of them */
	uint32_t macs;    /* addresses that packets are sent to */
	uint32_t hdr_len; /* virtio-net header */
	bool monitor;     /* somebody watches */
	bool both;        /* traffic both ways */
};

struct result {
	uint64_t count; /* packets at receivers, round trips, … */
	uint64_t sent;  /* packets for them, where some may be lost on the way; else 0 */
	double seconds;
	uint64_t extra[4]; /* of the scenario, see its comment */
};

struct scenario {
	const char *name, *what;
	void (*run)(struct testbed *w, const struct options *o, struct result *r);
};

extern const struct scenario vale_pairs, vale_workers, vale_all, vale_broadcast, vale_macs,
	pipe_pair, pipe_chain, local_vale, local_pipe, round_trips, round_trips_asleep, idle_ports;

/* ---- packets ------------------------------------------------------------------------- */

/* First 8 bytes of a frame: a destination, and two bytes of the source. */
typedef uint64_t frame_start;

static inline frame_start frame_to(const uint8_t mac[6])
{
	frame_start start = 0;

	memcpy(&start, mac, 6);
	return start;
}

static inline void send_slot(
	struct netmap_slot *slot, char *buf, uint32_t len, uint32_t hdr_len, frame_start start)
{
	slot->len = (uint16_t)len;
	slot->flags = 0;
	memcpy(buf + hdr_len, &start, sizeof(start));
}

static inline uint64_t take_slot(const struct netmap_slot *slot, const char *buf)
{
	frame_start start;

	memcpy(&start, buf, sizeof(start));
	return start + slot->len;
}

/* Content of all buffers of a tx ring, so that only the start changes later. */
void prepare_ring(struct vg_ring *tx, const uint8_t from[6], uint32_t len, uint32_t hdr_len);

/* `from` says where it is, so that it is known as a destination. */
void announce(struct vg_port *from);

struct vg_ring *tx_of(struct vg_port *port);
struct vg_ring *rx_of(struct vg_port *port);

void sync_or_die(struct vg_ring *ring);

/* Sends a batch to `start` if there is room for all of it. Returns how many packets were sent. */
uint64_t send_batch(struct vg_ring *tx, const struct options *o, frame_start start);

/* Takes all that has come; returns the packets (not the slots). */
uint64_t take_all(struct vg_ring *rx);

/* Takes turns for the time that is asked for, after a quarter of it to warm up. A turn adds what got
 * through to r->count, and what it likes to r->extra[0]; both begin anew after the warming up. */
void run_timed(const struct options *o, void (*turn)(void *arg, struct result *r), void *arg,
	struct result *r);

/* What compilers must not drop. */
extern _Thread_local volatile uint64_t touched;

#endif
