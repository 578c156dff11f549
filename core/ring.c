/* SPDX-License-Identifier: BSD-2-Clause */
#include "ring.h"
#include "monitor.h"
#include "port.h"
#include "slots.h"

static_assert(
	sizeof(struct nm_slot_copy) == sizeof(uint64_t), "a slot's first word is loaded at once");
static_assert(offsetof(struct netmap_slot, ptr) == 8, "a slot's first word is loaded at once");

const char *nm_drop_name(enum nm_drop cause)
{
	static const char *const names[NM_DROPS] = {
		[NM_DROP_RX_FULL] = "receiver_full",
		[NM_DROP_NO_RECEIVER] = "no_receiver",
		[NM_DROP_BAD_BUFFER] = "bad_buffer",
		[NM_DROP_BAD_LENGTH] = "bad_length",
		[NM_DROP_TOO_SHORT] = "too_short",
		[NM_DROP_INDIRECT] = "indirect",
		[NM_DROP_FRAGMENTS] = "too_many_fragments",
		[NM_DROP_OFFLOAD] = "offload",
		[NM_DROP_BAD_HEADER] = "bad_header",
		[NM_DROP_BAD_OFFSET] = "bad_offset",
		[NM_DROP_TOO_LONG] = "too_long",
		[NM_DROP_RECEIVES_ONLY] = "receives_only",
		[NM_DROP_MISSED] = "missed",
		[NM_DROP_LINK_DOWN] = "link_down",
		[NM_DROP_NO_MEMORY] = "no_memory",
		[NM_DROP_REFUSED] = "refused",
	};

	return cause < NM_DROPS ? names[cause] : NULL;
}

int nm_ring_rxsync_produced(struct nm_ring *ring)
{
	OS_STORE_RELEASE(&ring->hwcur, ring->head);
	ring->tail = OS_LOAD_ACQUIRE(&ring->produce.hwtail);
	return 0;
}

int nm_ring_sync(struct nm_ring *ring, uint32_t head, uint32_t cur)
{
	const struct nm_port *port = ring->port;
	uint32_t old_head = ring->head, old_tail = ring->tail;

	if (unlikely(OS_LOAD(&port->dead)))
		return -ENXIO;
	nm_ring_assert_indices(ring);
	if (unlikely(!nm_ring_move_legal(old_head, old_tail, head, cur, ring->num_slots))) {
		nm_count(&ring->stats.bad_syncs, 1);
		return -EINVAL;
	}
	OS_STORE(&ring->head, head); /* others look how far it is */
	OS_STORE(&ring->cur, cur);
	nm_count(&ring->stats.syncs, 1);
	if (unlikely(OS_LOAD(&ring->monitors)))
		return nm_monitor_sync(ring, old_head, old_tail);
	if (ring->dir == NM_RX)
		return port->ops->rxsync(ring);
	if (likely(!port->ops->receives_only))
		return port->ops->txsync(ring);
	return nm_ring_drop_sent(ring);
}

void nm_ring_reset_shared(struct nm_ring *ring)
{
	OS_STORE(&ring->shared->head, ring->head);
	OS_STORE(&ring->shared->cur, ring->cur);
	OS_STORE(&ring->shared->tail, ring->tail);
}

int nm_ring_sync_shared(struct nm_ring *ring)
{
	uint32_t head = OS_LOAD(&ring->shared->head);
	uint32_t cur = OS_LOAD(&ring->shared->cur);
	int error = nm_ring_sync(ring, head, cur);

	if (unlikely(error == -EINVAL))
		nm_ring_reset_shared(ring);
	else
		OS_STORE(&ring->shared->tail, ring->tail);
	return error;
}

struct nm_ring *nm_ring_guard(struct nm_ring *ring)
{
	struct nm_port *peer = ring->port->peer;

	if (ring->dir == NM_TX && peer)
		return &peer->rings[NM_RX][ring->id];
	return ring;
}

void nm_ring_clear(struct nm_ring *ring)
{
	const struct nm_port_ops *ops = ring->port->ops;

	ring->head = ring->cur = ring->hwcur = 0;
	ring->dropping = 0;
	ring->tail = ring->dir == NM_TX ? ring->num_slots - 1 : 0;
	ring->produce.hwtail = ring->tail;
	ring->produce.hwcur_seen = 0;
	if (ops->ring_reset)
		ops->ring_reset(ring);
	nm_ring_reset_shared(ring);
}

void nm_ring_restart(struct nm_ring *ring)
{
	nm_monitors_lock(ring);
	nm_produce_lock(nm_ring_guard(ring));
	nm_ring_clear(ring);
	nm_produce_unlock(nm_ring_guard(ring));
	nm_monitor_rewind(ring);
	nm_monitors_unlock(ring);
}
