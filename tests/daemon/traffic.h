/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * traffic.h - a stream of numbered packets from one ring to another, checked on arrival.
 *
 * Packets carry a number and a pattern that depends on it; their length varies. The sender
 * keeps at most `window` packets on the way, so that a switch that drops what does not fit
 * has no reason to (or any number, between ports whose packets wait): whatever is lost, changed, repeated, or out of order is a fault.
 *
 *      flow_init(&f, tx_ring, rx_ring);
 *      error = flow_run(&f, 10000);
 *
 * Thread safety: one thread per flow.
 */
#ifndef TESTS_TRAFFIC_H
#define TESTS_TRAFFIC_H

#include "vfio_guest.h"

struct flow {
	struct vg_ring *tx, *rx;
	uint32_t window;     /* packets; default 256 */
	uint32_t max_size;   /* bytes; default 1514 */
	uint32_t hdr_len;    /* virtio-net header of zeros, of both ports; default 0 */
	uint32_t patience_s; /* how long nothing may move; default 10 */
	bool sleepy;         /* wait for interrupts instead of polling */
	uint64_t sent, received;
	uint64_t bad;   /* not what was expected next */
	uint64_t marks; /* sent by flow_settle() */
};

void flow_init(struct flow *f, struct vg_ring *tx, struct vg_ring *rx);

/* Sends what the window allows, up to `limit` packets in all; takes what has come. Returns the
 * number of packets moved, or a negative errno. Never waits. */
int flow_step(struct flow *f, uint64_t limit);

/*
 * Until `more` further packets have been sent and all have arrived. 0; -ETIMEDOUT: nothing has
 * moved for patience_s; -EBADMSG: a packet was not the one expected; or an error of a ring.
 */
int flow_run(struct flow *f, uint64_t more);

/*
 * After packets may have been lost on purpose (a reset), or copies of others may be in the rx
 * ring: sends a mark and takes everything until it arrives. Then the next packet sent is the
 * next one expected. 0, or as flow_run().
 */
int flow_settle(struct flow *f);

#endif
