/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_nic.h - a device that a test plays, for what sits between a device and a switch.
 *
 * Two kinds: one that sends what it is given and says so later (a NIC), and one that takes packets
 * only while it has room (a pipe). Whichever it is, fake_nic_grant() lets it get on.
 *
 *      fake_nic_begin(); fake_nic_add(&core, &fake_nic_ops, &shape);
 *      fake_nic_receive(0, bytes, len, 1);         a packet comes from the wire
 *      packet = fake_nic_sent(0);                  what has gone out
 *      fake_nic_remove(&core); fake_nic_end();
 *
 * Thread safety: fake_nic_receive, fake_nic_grant and fake_nic_sent are for one thread, the syncs
 * of the device's rings for another.
 */
#ifndef TESTS_UNIT_FAKE_NIC_H
#define TESTS_UNIT_FAKE_NIC_H

#include "port.h"
#include "util.h"

enum { FAKE_NIC_RINGS_MAX = 4, FAKE_NIC_QUEUE = 4096, FAKE_NIC_PACKET_MAX = 4096 };

struct fake_nic_packet {
	uint32_t len;
	uint8_t bytes[FAKE_NIC_PACKET_MAX];
};

/* One tx ring of the device: what was sent, and how much more may be. */
struct fake_nic_ring {
	struct fake_nic_packet *sent; /* FAKE_NIC_QUEUE of them */
	uint32_t count, taken;
	uint32_t credit; /* slots that may still be sent (pipe), or completed (NIC); atomic */
};

extern struct fake_nic_ring
	fake_nic_rings[FAKE_NIC_RINGS_MAX]; /* by ring, host rings behind the others */
extern struct nm_port *fake_nic_port;       /* "dev"; NULL: there is none */
extern const struct nm_port_ops fake_nic_ops, fake_pipe_ops;

void fake_nic_begin(void);
void fake_nic_end(void);
void fake_nic_add(
	struct nm_core *core, const struct nm_port_ops *ops, const struct nm_shape *shape);
void fake_nic_remove(struct nm_core *core); /* also when it is gone already */

/* A packet from the wire, in `frags` slots of rx ring i. False: no room. */
bool fake_nic_receive(uint32_t i, const void *bytes, uint32_t len, uint32_t frags);

/* `slots` slots more may be sent, or are completed, on tx ring i. */
void fake_nic_grant(uint32_t i, uint32_t slots);

/* The next packet that was sent on tx ring i, or NULL. */
const struct fake_nic_packet *fake_nic_sent(uint32_t i);

#endif
