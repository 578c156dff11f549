/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wire.h - a device that a test plays, for what sits between a device and a switch.
 *
 * Two kinds: one that sends what it is given and says so later (a NIC), and one that takes packets
 * only while it has room (a pipe). Whichever it is, wire_grant() lets it get on.
 *
 *      wire_begin(); wire_add(&core, &wire_nic_ops, &shape);
 *      wire_receive(0, bytes, len, 1);         a packet comes from the wire
 *      packet = wire_sent(0);                  what has gone out
 *      wire_remove(&core); wire_end();
 *
 * Thread safety: wire_receive, wire_grant and wire_sent are for one thread, the syncs of the
 * device's rings for another.
 */
#ifndef TESTS_UNIT_WIRE_H
#define TESTS_UNIT_WIRE_H

#include "port.h"
#include "util.h"

enum { WIRES_MOST = 4, WIRE_QUEUE = 4096, WIRE_PACKET_MOST = 4096 };

struct wire_packet {
	uint32_t len;
	uint8_t bytes[WIRE_PACKET_MOST];
};

/* One tx ring of the device: what was sent, and how much more may be. */
struct wire {
	struct wire_packet *sent; /* WIRE_QUEUE of them */
	uint32_t count, taken;
	uint32_t credit; /* slots that may still be sent (pipe), or completed (NIC); atomic */
};

extern struct wire wires[WIRES_MOST]; /* by ring, host rings behind the others */
extern struct nm_port *wire_device;   /* "dev"; NULL: there is none */
extern const struct nm_port_ops wire_nic_ops, wire_pipe_ops;

void wire_begin(void);
void wire_end(void);
void wire_add(struct nm_core *core, const struct nm_port_ops *ops, const struct nm_shape *shape);
void wire_remove(struct nm_core *core); /* also when it is gone already */

/* A packet from the wire, in `frags` slots of rx ring i. False: no room. */
bool wire_receive(uint32_t i, const void *bytes, uint32_t len, uint32_t frags);

/* `slots` slots more may be sent, or are completed, on tx ring i. */
void wire_grant(uint32_t i, uint32_t slots);

/* The next packet that was sent on tx ring i, or NULL. */
const struct wire_packet *wire_sent(uint32_t i);

#endif
