/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap_io.h - packets between rings and a TAP device: the syncs of persistent ports (tap.h).
 *
 * One packet is one system call. Slots are loaded once each, checked, and become the pieces of
 * a writev() or readv(); behind a packet that is read stands a scratch area, so that one that is
 * longer than the room it was given is recognised.
 *
 * Thread safety: as the syncs of port.h: one thread per ring.
 */
#ifndef NETMAPD_TAP_IO_H
#define NETMAPD_TAP_IO_H

#include <net/if.h>

#include "port.h"

enum {
	TAP_HDR_MIN = 10, /* bytes of the header between us and the kernel when the port has none */
	TAP_PACKET_MAX = 65536 + 64, /* bytes of the longest packet, headers included */
};

struct tap;

struct tap_queue {
	struct tap *tap;
	uint32_t number; /* also of the rx ring */
	int fd;
	int ready;         /* there may be something to read; see tap.h */
	char *scratch;     /* TAP_PACKET_MAX bytes */
	uint32_t mtu;      /* of the device, as of mtu_time */
	uint64_t mtu_time; /* os_time_s() */
};

struct tap {
	struct tap *next;
	struct taps *taps;
	struct nm_port *port;
	char ifname[IFNAMSIZ];
	int epoll;
	bool started;       /* somebody is registered; control thread */
	bool gone, removed; /* the device is not there any more; the port was told */
	uint32_t num_queues;
	struct tap_queue *queues;
};

int tap_txsync(struct nm_ring *ring);
int tap_rxsync(struct nm_ring *ring);

#endif
