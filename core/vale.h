/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vale.h - the VALE switch: a learning Ethernet switch between ports.
 *
 * A port is sent to by txsync, which forwards a batch of slots in the caller's
 * thread: known unicast to one port, the rest to all others. Packets are copied
 * into the receiver's buffers, since ports live in regions of owners who don't
 * trust each other. The sender never waits: a receiver without room drops, counted
 * at the sender and at the receiver; but between two network stacks a packet may wait
 * (vale_wait.h).
 *
 *      txsync(ring of A)                         rxsync(ring of B)
 *        read lock of the switch                   hwcur := head   (slots given back)
 *        snapshot 64 slots, prefetch               tail  := hwtail (packets received)
 *        learn sources, look up destinations
 *        per destination ring:
 *          lock, copy, publish hwtail once, unlock, signal
 *
 * Ports come and go under the write lock of the switch, so that a port that has left is
 * in nobody's hands.
 *
 * What a tx slot can say besides: NS_NO_LEARN (in any slot of a packet), and in the high byte of
 * the flags of its first slot the number of the port that the packet goes to, whatever its address
 * (0: none; so port 0 can't be named). A number that no port has: dropped, no_receiver.
 *
 * Packets between ports with unequal virtio-net headers get a header of zeros, or lose theirs;
 * what it asked for is done then (offload.h). A packet that becomes many is one packet of the
 * sender, and as many copies as the receiver counts packets.
 *
 *      copies (tx, all rings) = packets (rx, all rings) + drops counted at both sides
 *
 * Thread safety: vale_* functions with the suffix _locked want core->lock. The forwarding
 * path takes the switch's read lock and, per destination and batch, one ring lock.
 */
#ifndef CORE_VALE_H
#define CORE_VALE_H

#include "os.h"
#include "client.h"

enum {
	NM_VALE_PORTS_MAX = 254, /* per switch: port numbers fit 8 bits, 0xff is "all" */
	NM_VALE_BATCH = 64,      /* packets */
	NM_VALE_AGE_S = 300,     /* a silent address is forgotten after this time */
};

/* Finds or makes the VALE port `name` ("vale1:10"), and its switch. Called by
 * nm_client_bind(). NULL with err. */
struct nm_port *nm_vale_port_get_locked(struct nm_core *core, void *ns, const char *name,
	const char *vale_name, const uint32_t num_rings[NM_DIRS], const uint32_t num_slots[NM_DIRS],
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

/* VALE_LIST. With a name: its switch and port numbers. Without: the first port at or behind
 * (switch *sw_index, port *port), with its name. -ENOENT when there is none. */
int nm_vale_list_locked(struct nm_core *core, void *ns, char name[NETMAP_REQ_IFNAMSIZ],
	uint32_t *sw_index, uint32_t *port) OS_REQUIRES(NM_CORE_LOCK);

/* One address that a switch knows. */
struct nm_vale_mac {
	uint8_t mac[6];
	uint32_t port;  /* its number on the switch */
	uint32_t age_s; /* since it was last seen as a source */
};

/*
 * The addresses of a switch, from position *pos of its table on (0: the beginning); at most `max`
 * go to out. Returns their number; *pos is moved on. 0: the end. -ENOENT: no such switch. The table
 * changes meanwhile: an address may be seen twice or not at all between two calls.
 */
int nm_vale_macs_locked(struct nm_core *core, const void *ns, const char *sw_name, uint64_t *pos,
	struct nm_vale_mac *out, uint32_t max) OS_REQUIRES(NM_CORE_LOCK);

/* Forgets all addresses of a switch. -ENOENT. */
int nm_vale_flush_locked(struct nm_core *core, const void *ns, const char *sw_name)
	OS_REQUIRES(NM_CORE_LOCK);

/* Name of the port with this number; NULL: none. */
const char *nm_vale_port_name_locked(struct nm_core *core, const void *ns, const char *sw_name,
	uint32_t number) OS_REQUIRES(NM_CORE_LOCK);

/* For status: a switch with its number of ports and of known addresses. To count these takes a walk through its table. */
typedef void nm_vale_fn(
	void *arg, const void *ns, const char *name, uint32_t index, uint32_t ports, uint32_t macs);

/* Calls fn for each switch of all namespaces. */
void nm_vale_each_locked(struct nm_core *core, nm_vale_fn *fn, void *arg) OS_REQUIRES(NM_CORE_LOCK);

/* Calls fn for one switch of a namespace: the one with the lowest index from *index on, which becomes the index behind
 * it. False: there is none. */
bool nm_vale_next_locked(struct nm_core *core, const void *ns, uint32_t *index, nm_vale_fn *fn,
	void *arg) OS_REQUIRES(NM_CORE_LOCK);

#endif
