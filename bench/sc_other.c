/* SPDX-License-Identifier: BSD-2-Clause */
/* Local applications, round trips, and what an idle netmapd costs. */
#include "measure.h"

#include <errno.h>
#include <libnetmap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIP_TIMEOUT_MS = 10000 };

/* ---- a local application --------------------------------------------------------------- */

static struct nmport_d *open_local(const struct testbed *w, const char *name)
{
	struct nmport_d *d;

	setenv("NETMAP_BACKEND", "daemon", 1);
	setenv("NETMAPD_SOCKET", w->socket, 1);
	d = nmport_open(name);
	if (!d)
		exit(1); /* said so already */
	return d;
}

static void send_local(struct nmport_d *d, const struct options *o, frame_start to)
{
	struct netmap_ring *ring = NETMAP_TXRING(d->nifp, d->first_tx_ring);

	if ((uint32_t)nm_ring_space(ring) >= o->batch) {
		uint32_t head = ring->head;

		for (uint32_t i = 0; i < o->batch; i++) {
			struct netmap_slot *slot = &ring->slot[head];

			send_slot(slot, NETMAP_BUF(ring, slot->buf_idx), o->len, 0, to);
			head = nm_ring_next(ring, head);
		}
		ring->head = ring->cur = head;
	}
	if (nmport_txsync(d) != 0)
		die("txsync", errno);
}

static void prepare_local(struct nmport_d *d, uint32_t len)
{
	struct netmap_ring *ring = NETMAP_TXRING(d->nifp, d->first_tx_ring);

	for (uint32_t i = 0; i < ring->num_slots; i++) {
		char *buf = NETMAP_BUF(ring, ring->slot[i].buf_idx);

		memset(buf, 0x5a, len);
		memcpy(buf + 6, "\x02\0\0\0\0\x01\x08\0", 8);
	}
}

static uint64_t take_local(struct nmport_d *d)
{
	uint64_t packets = 0, sum = 0;

	if (nmport_rxsync(d) != 0)
		die("rxsync", errno);
	for (uint32_t i = d->first_rx_ring; i <= d->last_rx_ring; i++) {
		struct netmap_ring *ring = NETMAP_RXRING(d->nifp, i);
		uint32_t head = ring->head;

		for (; head != ring->tail; head = nm_ring_next(ring, head), packets++)
			sum += take_slot(
				&ring->slot[head], NETMAP_BUF(ring, ring->slot[head].buf_idx));
		ring->head = ring->cur = head;
	}
	touched = sum;
	return packets;
}

struct local {
	const struct options *o;
	struct nmport_d *from, *to, *watch; /* watch: NULL: nobody */
};

static void local_turn(void *arg, struct result *r)
{
	struct local *l = arg;

	send_local(l->from, l->o, 0xffffffffffffULL);
	r->count += take_local(l->to);
	if (l->watch)
		r->extra[0] += take_local(l->watch);
}

/* From a local application to a port; `watch` is a monitor that may be read too, and what it sees is
 * extra 0. */
static void run_local(const struct testbed *w, const struct options *o, const char *from,
	const char *to, const char *watch, struct result *r)
{
	struct local l = {.o = o};

	l.from = open_local(w, from);
	l.to = open_local(w, to);
	prepare_local(l.from, o->len);
	if (o->monitor)
		l.watch = open_local(w, watch);
	run_timed(o, local_turn, &l, r);
	nmport_close(l.watch);
	nmport_close(l.to);
	nmport_close(l.from);
}

static void run_local_vale(struct testbed *w, const struct options *o, struct result *r)
{
	run_local(w, o, "vale1:1", "vale1:2", "vale1:1/t", r);
}

static void run_local_pipe(struct testbed *w, const struct options *o, struct result *r)
{
	run_local(w, o, "netmap:p{1", "netmap:p}1", "netmap:p{1/t", r);
}

/* ---- round trips --------------------------------------------------------------------- */

/* Until something is there; asleep: by interrupt. */
static void await(struct vg_ring *rx, bool asleep)
{
	double end = now_s() + 10;

	do {
		sync_or_die(rx);
		if (vg_avail(rx) > 0)
			return;
		if (asleep && vg_wait(rx, TRIP_TIMEOUT_MS) != 0)
			die("round trip", ETIMEDOUT);
	} while (asleep || now_s() < end);
	die("round trip", ETIMEDOUT);
}

static void pass(struct vg_port *from, struct vg_port *to, const struct options *o, bool asleep)
{
	struct options one = *o;

	one.batch = 1;
	send_batch(tx_of(from), &one, frame_to(to->mac));
	sync_or_die(tx_of(from));
	await(rx_of(to), asleep);
	take_all(rx_of(to));
	sync_or_die(rx_of(to));
}

static uint64_t kicks_of(const struct vg_port *port)
{
	return port->rings[0].kicks + port->rings[1].kicks;
}

static uint64_t interrupts_of(const struct vg_port *port)
{
	return port->rings[0].interrupts + port->rings[1].interrupts;
}

/* A packet there and one back. extra: kicks, interrupts, CPU time of netmapd in ns. */
static void run_trips(struct testbed *w, const struct options *o, struct result *r, bool asleep)
{
	struct vg_port *a = testbed_port(w, testbed_machine(w), "vale1:1", 0);
	struct vg_port *b = testbed_port(w, testbed_machine(w), "vale1:2", 0);
	double start, end;
	uint64_t cpu;

	prepare_ring(tx_of(a), a->mac, o->len, 0);
	prepare_ring(tx_of(b), b->mac, o->len, 0);
	announce(a);
	announce(b);
	take_all(rx_of(a));
	take_all(rx_of(b));
	for (int i = 0; i < 100; i++) {
		pass(a, b, o, asleep);
		pass(b, a, o, asleep);
	}
	r->extra[0] = kicks_of(a) + kicks_of(b);
	r->extra[1] = interrupts_of(a) + interrupts_of(b);
	cpu = testbed_cpu_ns(w);
	start = now_s();
	for (end = start + o->seconds; now_s() < end; r->count++) {
		pass(a, b, o, asleep);
		pass(b, a, o, asleep);
	}
	r->seconds = now_s() - start;
	r->extra[0] = kicks_of(a) + kicks_of(b) - r->extra[0];
	r->extra[1] = interrupts_of(a) + interrupts_of(b) - r->extra[1];
	r->extra[2] = testbed_cpu_ns(w) - cpu;
}

static void run_polling(struct testbed *w, const struct options *o, struct result *r)
{
	run_trips(w, o, r, false);
}

static void run_asleep(struct testbed *w, const struct options *o, struct result *r)
{
	run_trips(w, o, r, true);
}

/* ---- idle ---------------------------------------------------------------------------- */

/* Counts the nanoseconds of CPU time that netmapd takes with o->ports ports that do nothing. */
static void run_idle(struct testbed *w, const struct options *o, struct result *r)
{
	char ifname[32];
	double start;

	for (uint32_t i = 0; i < o->ports; i++) {
		snprintf(ifname, sizeof(ifname), "vale1:%u", i + 1);
		testbed_port(w, testbed_machine(w), ifname, 0);
	}
	usleep(1000000);
	r->count = testbed_cpu_ns(w);
	start = now_s();
	usleep((useconds_t)(o->seconds * 1e6));
	r->count = testbed_cpu_ns(w) - r->count;
	r->seconds = now_s() - start;
}

const struct scenario local_vale = {
	"local-vale", "a local application to another, over a switch", run_local_vale};
const struct scenario local_pipe = {
	"local-pipe", "a local application to another, over a pipe", run_local_pipe};
const struct scenario round_trips = {
	"trip", "a packet there and one back, everybody polls", run_polling};
const struct scenario round_trips_asleep = {
	"trip-asleep", "the same, everybody sleeps", run_asleep};
const struct scenario idle_ports = {"idle", "CPU time of netmapd with idle ports, ns", run_idle};
