/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_nic.h"

#include <stdlib.h>

struct fake_nic_ring fake_nic_rings[FAKE_NIC_RINGS_MAX];
struct nm_port *fake_nic_port;

/* ---- before and after ------------------------------------------------------------------- */

void fake_nic_begin(void)
{
	for (int i = 0; i < FAKE_NIC_RINGS_MAX; i++) {
		fake_nic_rings[i] = (struct fake_nic_ring){
			.sent = calloc(FAKE_NIC_QUEUE, sizeof(struct fake_nic_packet))};
		assert_non_null(fake_nic_rings[i].sent);
	}
}

void fake_nic_end(void)
{
	for (int i = 0; i < FAKE_NIC_RINGS_MAX; i++)
		free(fake_nic_rings[i].sent);
}

void fake_nic_add(struct nm_core *core, const struct nm_port_ops *ops, const struct nm_shape *shape)
{
	struct nm_error error;

	nm_core_lock(core);
	fake_nic_port = nm_port_add_locked(core, "dev", ops, shape, &error);
	nm_core_unlock(core);
	assert_non_null(fake_nic_port);
	for (int i = 0; i < FAKE_NIC_RINGS_MAX; i++) {
		fake_nic_rings[i].taken = fake_nic_rings[i].count = fake_nic_rings[i].credit = 0;
		fake_nic_rings[i].sent[0].len = 0;
	}
}

void fake_nic_remove(struct nm_core *core)
{
	if (!fake_nic_port)
		return;
	nm_core_lock(core);
	nm_port_remove_locked(fake_nic_port);
	nm_core_unlock(core);
	fake_nic_port = NULL;
}

/* ---- what the device does ------------------------------------------------------------------ */

static void keep(struct nm_ring *ring, uint32_t from, uint32_t to)
{
	struct fake_nic_ring *fake = &fake_nic_rings[ring->id];

	for (uint32_t at = from; at != to; at = nm_ring_advance(at, 1, ring->num_slots)) {
		struct nm_slot_copy slot = nm_slot_load(&ring->slots[at]);
		struct fake_nic_packet *packet = &fake->sent[fake->count % FAKE_NIC_QUEUE];

		if (!nm_region_buf_valid(ring->region, slot.buf_idx) ||
			packet->len + slot.len > FAKE_NIC_PACKET_MAX)
			abort();
		memcpy(packet->bytes + packet->len, nm_region_buf(ring->region, slot.buf_idx),
			slot.len);
		packet->len += slot.len;
		if (!(slot.flags & NS_MOREFRAG)) {
			OS_STORE_RELEASE(&fake->count, fake->count + 1);
			fake->sent[fake->count % FAKE_NIC_QUEUE].len = 0;
		}
	}
}

static uint32_t take_credit(struct fake_nic_ring *fake, uint32_t most)
{
	uint32_t n = OS_LOAD_ACQUIRE(&fake->credit);

	if (n > most)
		n = most;
	__atomic_fetch_sub(&fake->credit, n, __ATOMIC_SEQ_CST);
	return n;
}

/* All is sent at once; slots are free again later. */
static int nic_txsync(struct nm_ring *ring)
{
	struct fake_nic_ring *fake = &fake_nic_rings[ring->id];
	uint32_t busy, n;

	keep(ring, ring->hwcur, ring->head);
	ring->hwcur = ring->head;
	busy = nm_ring_distance(
		nm_ring_advance(ring->tail, 1, ring->num_slots), ring->hwcur, ring->num_slots);
	n = take_credit(fake, busy);
	ring->tail = nm_ring_advance(ring->tail, n, ring->num_slots);
	ring->produce.hwtail = ring->tail;
	return 0;
}

/* Sent as far as there is room, by slots. */
static int pipe_txsync(struct nm_ring *ring)
{
	uint32_t n = take_credit(&fake_nic_rings[ring->id],
		nm_ring_distance(ring->hwcur, ring->head, ring->num_slots));
	uint32_t to = nm_ring_advance(ring->hwcur, n, ring->num_slots);

	keep(ring, ring->hwcur, to);
	ring->hwcur = to;
	ring->tail = to == 0 ? ring->num_slots - 1 : to - 1;
	ring->produce.hwtail = ring->tail;
	return 0;
}

static bool pipe_can_send(struct nm_ring *ring)
{
	return OS_LOAD(&fake_nic_rings[ring->id].credit) > 0;
}

static int fake_nic_rxsync(struct nm_ring *ring)
{
	OS_STORE_RELEASE(&ring->hwcur, ring->head);
	ring->tail = OS_LOAD_ACQUIRE(&ring->produce.hwtail);
	return 0;
}

static int fake_nic_set_hdr_len(struct nm_port *port, uint32_t bytes)
{
	port->hdr_len = bytes;
	return 0;
}

/* There are slots to complete, and they can be. */
static bool nic_can_send(struct nm_ring *ring)
{
	uint32_t all = ring->head == 0 ? ring->num_slots - 1 : ring->head - 1;

	return ring->tail != all && OS_LOAD(&fake_nic_rings[ring->id].credit) > 0;
}

const struct nm_port_ops fake_nic_ops = {
	.kind = "nic",
	.txsync = nic_txsync,
	.rxsync = fake_nic_rxsync,
	.can_send = nic_can_send,
	.set_hdr_len = fake_nic_set_hdr_len,
	.shares_region = true,
};

const struct nm_port_ops fake_pipe_ops = {
	.kind = "pipe",
	.txsync = pipe_txsync,
	.rxsync = fake_nic_rxsync,
	.can_send = pipe_can_send,
	.set_hdr_len = fake_nic_set_hdr_len,
	.shares_region = true,
};

bool fake_nic_receive(uint32_t i, const void *bytes, uint32_t len, uint32_t frags)
{
	struct nm_ring *ring = &fake_nic_port->rings[NM_RX][i];
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

void fake_nic_grant(uint32_t i, uint32_t slots)
{
	__atomic_fetch_add(&fake_nic_rings[i].credit, slots, __ATOMIC_SEQ_CST);
	os_wakeup_signal(&fake_nic_port->rings[NM_TX][i].wakeup);
}

const struct fake_nic_packet *fake_nic_sent(uint32_t i)
{
	struct fake_nic_ring *fake = &fake_nic_rings[i];

	if (fake->taken == OS_LOAD_ACQUIRE(&fake->count))
		return NULL;
	return &fake->sent[fake->taken++ % FAKE_NIC_QUEUE];
}
