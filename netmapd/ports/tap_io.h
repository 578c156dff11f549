/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap_io.h - packets between rings and a TAP device: the syncs of persistent ports (tap.h), and of host rings of NICs (nic_host.c).
 * A ring's priv is the struct tap.
 *
 * One packet is one system call. Slots are loaded once each, checked, and become the pieces of
 * a writev() or readv(); behind a packet that is read stands a scratch area, so that one that is
 * longer than the room it was given is recognised.
 *
 * A released rx slot with NS_FORWARD (of a ring with NR_FORWARD) is written to the device: of a NIC
 * ring that is the stack, of a host ring the wire, and a TAP's wire is the stack, too. A NIC's wire is elsewhere: its host rings pass
 * over the flag.
 *
 * Thread safety: as the syncs of port.h: one thread per ring. A queue is read by one of them at a
 * time, also while it changes hands (tap_set_reader).
 */
#ifndef NETMAPD_TAP_IO_H
#define NETMAPD_TAP_IO_H

#include <net/if.h>

#include "daemon_locks.h"
#include "port.h"
#include "tap_open.h"

enum { TAP_PACKET_MAX = 65536 + 64 /* bytes of the longest packet, headers included */ };

struct tap;
struct tap_leaving;

struct tap_queue {
	struct tap *tap;
	uint32_t number; /* also of the NIC rx ring */
	int fd;
	/* Rx ring that it is read into; NULL: none. Changed by the control thread alone. */
	struct nm_ring *reader OS_GUARDED_BY(TAP_QUEUE_LOCK);
	struct os_mutex lock; /* of whoever reads */
	int ready;            /* there may be something to read; see tap.h */
	char *scratch OS_PT_GUARDED_BY(TAP_QUEUE_LOCK);  /* TAP_PACKET_MAX bytes */
	uint32_t mtu OS_GUARDED_BY(TAP_QUEUE_LOCK);      /* of the device, as of mtu_time */
	uint64_t mtu_time OS_GUARDED_BY(TAP_QUEUE_LOCK); /* os_time_s() */
};

struct tap {
	struct tap *next;
	struct taps *taps; /* NULL: it belongs to a NIC */
	struct nm_port *port;
	char ifname[IFNAMSIZ];
	struct tap_leaving *leaving; /* of tap_leave.h; a NIC has none */
	int epoll;                   /* of tap_queues.h */
	const uint32_t *mtu; /* of a NIC's wire, loaded at any time; NULL: the device is asked */
	bool started;        /* a client is registered; control thread */
	/* Of a NIC: descriptors may be written to. Stored under produce.lock of all rings that do: host tx rings, hardware rx rings. */
	bool live;
	uint32_t longest;   /* bytes of a frame that is written; 0: any. As `live` */
	bool gone, removed; /* the device was removed; the port was marked dead */
	uint32_t num_queues;
	struct tap_queue *queues;
	uint32_t turn[NM_RINGS_MAX]; /* of each host rx ring: the queue that it reads first */
};

static inline void tap_queue_lock(struct tap_queue *q) OS_LOCKS(TAP_QUEUE_LOCK)
{
	os_mutex_lock(&q->lock);
}

static inline void tap_queue_unlock(struct tap_queue *q) OS_UNLOCKS(TAP_QUEUE_LOCK)
{
	os_mutex_unlock(&q->lock);
}

/* From now on the queue is read into this rx ring, which is woken; NULL: into none. Control thread. */
void tap_set_reader(struct tap_queue *q, struct nm_ring *ring);

/* Does something wait in a queue that is read into this ring? */
bool tap_wants_room(struct nm_ring *ring);

/* Slots hwcur..head of an rx ring are about to be given back: those that are to be forwarded are written to this queue of the TAP. */
void tap_forward(struct nm_ring *ring, const struct tap *tap, uint32_t queue);

int tap_txsync(struct nm_ring *ring);
int tap_rxsync(struct nm_ring *ring);

#endif
