/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic_io.h - packets between the rings of a NIC's port and its AF_XDP sockets: the syncs (nic.h).
 *
 * Received: the chunk in which a packet lies becomes the buffer of a slot, and the buffer that this slot had goes to the fill ring
 * for it. So the kernel always has as many. Which chunk it is, the descriptor's address says, and it is believed only when this
 * queue has posted the chunk and got nothing for it yet (`posted`). A packet that finds no slot waits in the socket's ring; what
 * doesn't fit there the kernel drops, and counts.
 *
 * Sent: a slot's buffer goes to the kernel and stays in the slot, which is not free before the kernel says that it has done with
 * that address; in whatever order. The packet lies in the region's memory all the time: no byte is copied, but those of
 * packets of several slots that don't fill their buffers: they are put together, in the first one's buffer if they fit there.
 *
 * A packet that needs several buffers has a descriptor for each (`sg`), both ways; where the kernel was not asked for that it is too
 * long to be sent, and can't come.
 *
 *      slots of the tx ring:     oldest ... hwcur   the kernel's (buffer number in sent[]), or done out of turn (0)
 *                                hwcur ... head     to be sent
 *                                head ... oldest    the application's
 *
 * Thread safety: as the syncs of port.h. All fields that a sync changes are under the ring's produce.lock, which the control thread
 * takes to make a queue live or not.
 */
#ifndef NETMAPD_NIC_IO_H
#define NETMAPD_NIC_IO_H

#include "nic_poll.h"
#include "port.h"
#include "xsk.h"

enum {
	NIC_CHUNK_SHIFT = 12,
	NIC_CHUNKS_MAX = 32, /* of a packet that comes */
	/*
	 * Of one that is sent. The kernel makes each a fragment of its own for drivers that copy nothing (virtio-net), and has 17 of
	 * them at least (MAX_SKB_FRAGS); of more it says EOVERFLOW, takes completions back, and the ring stands still.
	 */
	NIC_CHUNKS_SENT = 17,
};

static_assert(1 << NIC_CHUNK_SHIFT == NM_NIC_BUF_SIZE && (int)XSK_HEADROOM == (int)NM_NIC_HEADROOM,
	"a chunk is a buffer");

struct nic_queue {
	struct xsk *xsk;
	struct nm_ring *ring[NM_DIRS];
	struct nic_poll poll;
	bool live[NM_DIRS]; /* a sync may use the socket */
	bool complete;      /* received checksums may be unfinished: complete them */
	bool sg;            /* packets may have several descriptors */
	bool busy;          /* the device works when a sync tells it to */
	const int *carrier; /* the device is up and has a carrier; loaded for each sync */
	uint64_t counted_full, counted_dropped; /* the kernel's losses; control thread */
	uint32_t longest; /* bytes of a frame that the device takes, and NIC_CHUNKS_SENT hold */

	uint8_t *
		scratch; /* for NIC_CHUNKS_MAX chunks, where checksums of several are completed; else NULL */
	uint8_t *posted; /* per buffer: the kernel has it, to receive into */
	uint32_t num_posted;
	uint32_t *sent; /* per tx slot: its buffer, while the kernel has it; else 0 */
	uint8_t *stale; /* per buffer: how often the kernel has it from a user who is gone */
	uint32_t num_stale;
	uint32_t oldest;     /* tx slot */
	uint32_t expected;   /* slot whose buffer should come back next */
	uint32_t unfinished; /* slots whose buffers the kernel has */
	bool blocked;        /* the kernel took nothing from the tx ring the last time */
	bool waits;          /* for nic_poll_later(), because it is blocked */
	bool moved;          /* it has done something since nic_poll_later() */
};

/* What the kernel is given of the region's buffers: its address in the umem; and the other way, any value: the number, or 0. */
static inline uint64_t nic_chunk(uint32_t buf_idx)
{
	return (uint64_t)buf_idx << NIC_CHUNK_SHIFT;
}

/* Makes a buffer the kernel's, to receive into; there is room in the fill ring, which is submitted later. */
void nic_post(struct nic_queue *q, uint32_t nth, uint32_t buf_idx);

/* From now on syncs use the socket, or not: on return none does. */
void nic_set_live(struct nic_queue *q, bool live);

int nic_txsync(struct nm_ring *ring);
int nic_rxsync(struct nm_ring *ring);
bool nic_can_send(struct nm_ring *ring);
bool nic_wants_room(struct nm_ring *ring);
void nic_ring_reset(struct nm_ring *ring);

#endif
