/* SPDX-License-Identifier: BSD-2-Clause */
/* One switch: pairs, pairs with a worker each, all to all, broadcast, many addresses. */
#include "measure.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORTS_MAX = TESTBED_MACHINES };

struct net {
	const struct options *o;
	struct vg_port *port[PORTS_MAX];
	uint32_t ports;
	frame_start to[PORTS_MAX]; /* where packets to a port begin */
	/* Sends what there is in turn `number`, before all that has come is taken. Returns how many
	 * packets are to be received for that. */
	uint64_t (*send)(struct net *n, uint32_t number);
	uint32_t number;
};

/* Each port belongs to a machine of its own: packets are copied between regions. */
static void make_net(struct testbed *w, const struct options *o, struct net *n, uint32_t ports)
{
	char ifname[32];

	if (ports < 2 || ports > PORTS_MAX)
		die("number of ports", EINVAL);
	n->o = o;
	n->ports = ports;
	for (uint32_t i = 0; i < ports; i++) {
		snprintf(ifname, sizeof(ifname), "vale1:%u", i + 1);
		n->port[i] = testbed_port(w, testbed_machine(w), ifname, o->hdr_len);
		prepare_ring(tx_of(n->port[i]), n->port[i]->mac, o->len, o->hdr_len);
		n->to[i] = frame_to(n->port[i]->mac);
	}
	for (uint32_t i = 0; i < ports; i++)
		announce(n->port[i]);
	for (uint32_t i = 0; i < ports; i++)
		take_all(rx_of(n->port[i]));
}

static uint64_t receive_all(struct net *n)
{
	uint64_t packets = 0;

	for (uint32_t i = 0; i < n->ports; i++) {
		struct vg_ring *rx = rx_of(n->port[i]);

		sync_or_die(rx);
		packets += take_all(rx);
		sync_or_die(rx);
	}
	return packets;
}

static void net_turn(void *arg, struct result *r)
{
	struct net *n = arg;

	r->sent += n->send(n, n->number++);
	r->count += receive_all(n);
}

static void run_net(
	struct net *n, uint64_t (*send)(struct net *n, uint32_t number), struct result *r)
{
	n->send = send;
	run_timed(n->o, net_turn, n, r);
}

static uint64_t send_to(struct net *n, uint32_t from, frame_start to)
{
	struct vg_ring *tx = tx_of(n->port[from]);
	uint64_t sent = send_batch(tx, n->o, to);

	sync_or_die(tx);
	return sent;
}

/* 0 to 1, 2 to 3, …; back as well when `both` is set. */
static uint64_t pairs_turn(struct net *n, uint32_t number)
{
	uint64_t sent = 0;

	for (uint32_t i = 0; i + 1 < n->ports; i += 2) {
		sent += send_to(n, i, n->to[i + 1]);
		if (n->o->both)
			sent += send_to(n, i + 1, n->to[i]);
	}
	return sent;
}

static void run_pairs(struct testbed *w, const struct options *o, struct result *r)
{
	struct net n = {0};

	make_net(w, o, &n, o->ports);
	run_net(&n, pairs_turn, r);
}

/* ---- several workers ------------------------------------------------------------------- */

/* One client's part: a pair whose sending port one worker serves. */
struct client {
	struct net net;
	struct result result;
	int cpu;
	pthread_t thread;
	pthread_barrier_t *start;
};

static void *run_client(void *arg)
{
	struct client *c = arg;

	pin_to(c->cpu);
	pthread_barrier_wait(c->start);
	run_net(&c->net, pairs_turn, &c->result);
	return NULL;
}

static void add_up(struct result *all, const struct result *one)
{
	all->count += one->count;
	all->sent += one->sent;
	if (all->seconds < one->seconds)
		all->seconds = one->seconds;
}

/* netmapd gives ports to its workers in turn: first all that send, so that each worker has one of them. */
static void run_workers(struct testbed *w, const struct options *o, struct result *r)
{
	struct client client[TESTBED_WORKERS] = {0};
	uint32_t n = (uint32_t)w->workers;
	pthread_barrier_t start;
	struct net all = {0};

	make_net(w, o, &all, 2 * n);
	pthread_barrier_init(&start, NULL, n);
	for (uint32_t i = 0; i < n; i++) {
		client[i] = (struct client){
			.net = {.o = o,
				.ports = 2,
				.port = {all.port[i], all.port[n + i]},
				.to = {all.to[i], all.to[n + i]}},
			.cpu = w->client_cpu[i],
			.start = &start,
		};
		if (pthread_create(&client[i].thread, NULL, run_client, &client[i]) != 0)
			die("thread", EAGAIN);
	}
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(client[i].thread, NULL);
		add_up(r, &client[i].result);
	}
	pthread_barrier_destroy(&start);
}

/* ---- others ---------------------------------------------------------------------------- */

static uint64_t all_turn(struct net *n, uint32_t number)
{
	uint64_t sent = 0;

	for (uint32_t i = 0; i < n->ports; i++)
		sent += send_to(n, i, n->to[(i + 1 + number % (n->ports - 1)) % n->ports]);
	return sent;
}

static void run_all(struct testbed *w, const struct options *o, struct result *r)
{
	struct net n = {0};

	make_net(w, o, &n, o->ports);
	run_net(&n, all_turn, r);
}

static uint64_t broadcast_turn(struct net *n, uint32_t number)
{
	return (n->ports - 1) * send_to(n, 0, 0xffffffffffffULL);
}

/* Counts deliveries: one per receiver. */
static void run_broadcast(struct testbed *w, const struct options *o, struct result *r)
{
	struct net n = {0};

	make_net(w, o, &n, o->ports);
	run_net(&n, broadcast_turn, r);
}

/* ---- many addresses ------------------------------------------------------------------ */

static struct {
	frame_start *to; /* in an order that no prefetcher guesses */
	uint32_t count, next;
} macs;

static void make_macs(uint32_t count)
{
	macs.to = malloc(count * sizeof(*macs.to));
	if (!macs.to)
		die("addresses", ENOMEM);
	macs.count = count;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t mac[6] = {0x02, 0xad, (uint8_t)(i >> 24), (uint8_t)(i >> 16),
			(uint8_t)(i >> 8), (uint8_t)i};
		uint32_t j = (uint32_t)random() % (i + 1);

		macs.to[i] = macs.to[j];
		macs.to[j] = frame_to(mac);
	}
}

/* Port 1 shows each of its addresses as a source, in frames to port 0. */
static void announce_macs(struct net *n)
{
	struct vg_ring *tx = tx_of(n->port[1]), *rx = rx_of(n->port[0]);
	uint8_t frame[60] = {0};
	uint32_t done = 0;

	memcpy(frame, n->port[0]->mac, 6);
	while (done < macs.count) {
		memcpy(frame + 6, &macs.to[done], 6);
		if (vg_put(tx, frame, sizeof(frame)) == 0)
			done++;
		sync_or_die(tx);
		take_all(rx);
		sync_or_die(rx);
	}
	while (vg_avail(tx) + 1 < tx->csb.num_slots)
		sync_or_die(tx);
}

static uint64_t macs_turn(struct net *n, uint32_t number)
{
	struct vg_ring *tx = tx_of(n->port[0]);
	uint64_t sent = 0;

	if (vg_avail(tx) >= n->o->batch) {
		for (uint32_t i = 0; i < n->o->batch; i++) {
			struct netmap_slot *slot = vg_slot(tx, i);

			send_slot(slot, vg_buf(tx, slot), n->o->len, 0, macs.to[macs.next]);
			macs.next = macs.next + 1 == macs.count ? 0 : macs.next + 1;
		}
		vg_advance(tx, n->o->batch);
		sent = n->o->batch;
	}
	sync_or_die(tx);
	return sent;
}

/* Between two ports of three: what is not known goes to the third as well, and is counted
 * apart (extra 0). */
static void run_macs(struct testbed *w, const struct options *o, struct result *r)
{
	struct net n = {0};
	struct vg_port *third;

	make_net(w, o, &n, 3);
	third = n.port[2];
	make_macs(o->macs);
	announce_macs(&n);
	sync_or_die(rx_of(third));
	take_all(rx_of(third));
	sync_or_die(rx_of(third));
	n.ports = 2;
	run_net(&n, macs_turn, r);
	sync_or_die(rx_of(third));
	r->extra[0] = vg_avail(rx_of(third));
	free(macs.to);
}

const struct scenario vale_pairs = {"vale", "pairs of ports on one switch", run_pairs};
const struct scenario vale_workers = {
	"workers", "a pair of ports for each of several workers", run_workers};
const struct scenario vale_all = {"all", "each port of a switch to all others in turn", run_all};
const struct scenario vale_broadcast = {
	"broadcast", "one port to all others; deliveries are counted", run_broadcast};
const struct scenario vale_macs = {"macs", "to one port with many addresses", run_macs};
