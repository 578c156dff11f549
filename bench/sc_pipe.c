/* SPDX-License-Identifier: BSD-2-Clause */
/* Pipes: from one machine to another, and through a chain of bridging machines. */
#include "measure.h"

enum { PIPES = 3 };

/* What a middlebox does: exchanges buffers between what it received and what it sends. */
static void bridge(struct vg_ring *rx, struct vg_ring *tx)
{
	vg_bridge(rx, tx);
	sync_or_die(tx);
	sync_or_die(rx);
}

struct chain {
	const struct options *o;
	struct vg_ring *tx, *rx;                /* ends */
	struct vg_ring *in[PIPES], *out[PIPES]; /* of the bridging machines */
	int bridges;
};

static void chain_turn(void *arg, struct result *r)
{
	static const uint8_t to[6] = {2, 0, 0, 0, 0, 2};
	struct chain *c = arg;

	send_batch(c->tx, c->o, frame_to(to));
	sync_or_die(c->tx);
	for (int i = 0; i < c->bridges; i++)
		bridge(c->in[i], c->out[i]);
	sync_or_die(c->rx);
	r->count += take_all(c->rx);
	sync_or_die(c->rx);
}

static void run_pair(struct testbed *w, const struct options *o, struct result *r)
{
	struct vg_port *a = testbed_port(w, testbed_machine(w), "netmap:p{1", o->hdr_len);
	struct vg_port *b = testbed_port(w, testbed_machine(w), "netmap:p}1", o->hdr_len);
	struct chain c = {.o = o, .tx = tx_of(a), .rx = rx_of(b)};

	prepare_ring(c.tx, a->mac, o->len, o->hdr_len);
	run_timed(o, chain_turn, &c, r);
}

static void run_chain(struct testbed *w, const struct options *o, struct result *r)
{
	static const char *const master[PIPES] = {"netmap:p{1", "netmap:p{2", "netmap:p{3"};
	static const char *const slave[PIPES] = {"netmap:p}1", "netmap:p}2", "netmap:p}3"};
	struct chain c = {.o = o, .bridges = PIPES - 1};
	int m = testbed_machine(w);
	struct vg_port *a = testbed_port(w, m, master[0], 0);

	c.tx = tx_of(a);
	prepare_ring(c.tx, a->mac, o->len, 0);
	for (int i = 0; i + 1 < PIPES; i++) {
		m = testbed_machine(w);
		c.in[i] = rx_of(testbed_port(w, m, slave[i], 0));
		c.out[i] = tx_of(testbed_port(w, m, master[i + 1], 0));
	}
	c.rx = rx_of(testbed_port(w, testbed_machine(w), slave[PIPES - 1], 0));
	run_timed(o, chain_turn, &c, r);
}

const struct scenario pipe_pair = {"pipe", "one pipe, zero copy", run_pair};
const struct scenario pipe_chain = {
	"chain", "three pipes through two bridging machines, zero copy", run_chain};
