/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire.h"

#include <stdlib.h>

struct wire wires[WIRES_MOST];
struct nm_port *wire_device;

/* ---- before and after ------------------------------------------------------------------- */

void wire_begin(void)
{
	for (int i = 0; i < WIRES_MOST; i++) {
		wires[i] = (struct wire){.sent = calloc(WIRE_QUEUE, sizeof(struct wire_packet))};
		assert_non_null(wires[i].sent);
	}
}

void wire_end(void)
{
	for (int i = 0; i < WIRES_MOST; i++)
		free(wires[i].sent);
}

void wire_add(struct nm_core *core, const struct nm_port_ops *ops, const struct nm_shape *shape)
{
	int error;

	nm_core_lock(core);
	wire_device = nm_port_add_locked(core, "dev", ops, shape, &error);
	nm_core_unlock(core);
	assert_non_null(wire_device);
	for (int i = 0; i < WIRES_MOST; i++) {
		wires[i].taken = wires[i].count = wires[i].credit = 0;
		wires[i].sent[0].len = 0;
	}
}

void wire_remove(struct nm_core *core)
{
	if (!wire_device)
		return;
	nm_core_lock(core);
	nm_port_remove_locked(wire_device);
	nm_core_unlock(core);
	wire_device = NULL;
}

/* ---- what the device does ------------------------------------------------------------------ */

static void keep(struct nm_ring *ring, uint32_t from, uint32_t to)
{
	struct wire *wire = &wires[ring->id];

	for (uint32_t at = from; at != to; at = nm_ring_advance(at, 1, ring->num_slots)) {
		struct nm_slot_copy slot = nm_slot_load(&ring->slots[at]);
		struct wire_packet *packet = &wire->sent[wire->count % WIRE_QUEUE];

		if (!nm_region_buf_valid(ring->region, slot.buf_idx) ||
			packet->len + slot.len > WIRE_PACKET_MOST)
			abort();
		memcpy(packet->bytes + packet->len, nm_region_buf(ring->region, slot.buf_idx),
			slot.len);
		packet->len += slot.len;
		if (!(slot.flags & NS_MOREFRAG)) {
			OS_STORE_RELEASE(&wire->count, wire->count + 1);
			wire->sent[wire->count % WIRE_QUEUE].len = 0;
		}
	}
}

static uint32_t take_credit(struct wire *wire, uint32_t most)
{
	uint32_t n = OS_LOAD_ACQUIRE(&wire->credit);

	if (n > most)
		n = most;
	__atomic_fetch_sub(&wire->credit, n, __ATOMIC_SEQ_CST);
	return n;
}

/* All is sent at once; slots are free again later. */
static int nic_txsync(struct nm_ring *ring)
{
	struct wire *wire = &wires[ring->id];
	uint32_t busy, n;

	keep(ring, ring->hwcur, ring->head);
	ring->hwcur = ring->head;
	busy = nm_ring_distance(
		nm_ring_advance(ring->tail, 1, ring->num_slots), ring->hwcur, ring->num_slots);
	n = take_credit(wire, busy);
	ring->tail = nm_ring_advance(ring->tail, n, ring->num_slots);
	ring->produce.hwtail = ring->tail;
	return 0;
}

/* Sent as far as there is room, by slots. */
static int pipe_txsync(struct nm_ring *ring)
{
	uint32_t n = take_credit(
		&wires[ring->id], nm_ring_distance(ring->hwcur, ring->head, ring->num_slots));
	uint32_t to = nm_ring_advance(ring->hwcur, n, ring->num_slots);

	keep(ring, ring->hwcur, to);
	ring->hwcur = to;
	ring->tail = to == 0 ? ring->num_slots - 1 : to - 1;
	ring->produce.hwtail = ring->tail;
	return 0;
}

static bool pipe_can_send(struct nm_ring *ring)
{
	return OS_LOAD(&wires[ring->id].credit) > 0;
}

static int wire_rxsync(struct nm_ring *ring)
{
	OS_STORE_RELEASE(&ring->hwcur, ring->head);
	ring->tail = OS_LOAD_ACQUIRE(&ring->produce.hwtail);
	return 0;
}

static int wire_set_hdr_len(struct nm_port *port, uint32_t bytes)
{
	port->hdr_len = bytes;
	return 0;
}

/* There are slots to complete, and they can be. */
static bool nic_can_send(struct nm_ring *ring)
{
	uint32_t all = ring->head == 0 ? ring->num_slots - 1 : ring->head - 1;

	return ring->tail != all && OS_LOAD(&wires[ring->id].credit) > 0;
}

const struct nm_port_ops wire_nic_ops = {
	.kind = "nic",
	.txsync = nic_txsync,
	.rxsync = wire_rxsync,
	.can_send = nic_can_send,
	.set_hdr_len = wire_set_hdr_len,
	.shares_region = true,
};

const struct nm_port_ops wire_pipe_ops = {
	.kind = "pipe",
	.txsync = pipe_txsync,
	.rxsync = wire_rxsync,
	.can_send = pipe_can_send,
	.set_hdr_len = wire_set_hdr_len,
	.shares_region = true,
};

bool wire_receive(uint32_t i, const void *bytes, uint32_t len, uint32_t frags)
{
	struct nm_ring *ring = &wire_device->rings[NM_RX][i];
	uint32_t at = ring->produce.hwtail, done = 0;
	uint32_t used = nm_ring_distance(OS_LOAD_ACQUIRE(&ring->hwcur), at, ring->num_slots);

	if (frags > ring->num_slots - 1 - used)
		return false;
	for (; frags > 0; frags--) {
		struct netmap_slot *slot = &ring->slots[at];
		uint32_t n = (len - done + frags - 1) / frags;

		memcpy(nm_region_buf(ring->region, OS_LOAD(&slot->buf_idx)),
			(const char *)bytes + done, n);
		OS_STORE(&slot->len, (uint16_t)n);
		OS_STORE(&slot->flags,
			(uint16_t)((frags > 1 ? NS_MOREFRAG : 0) | frags << NS_PORT_SHIFT));
		done += n;
		at = nm_ring_advance(at, 1, ring->num_slots);
	}
	OS_STORE_RELEASE(&ring->produce.hwtail, at);
	os_wakeup_signal(&ring->wakeup);
	return true;
}

void wire_grant(uint32_t i, uint32_t slots)
{
	__atomic_fetch_add(&wires[i].credit, slots, __ATOMIC_SEQ_CST);
	os_wakeup_signal(&wire_device->rings[NM_TX][i].wakeup);
}

const struct wire_packet *wire_sent(uint32_t i)
{
	struct wire *wire = &wires[i];

	if (wire->taken == OS_LOAD_ACQUIRE(&wire->count))
		return NULL;
	return &wire->sent[wire->taken++ % WIRE_QUEUE];
}
