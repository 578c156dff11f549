/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_netmapd.h - a netmapd of one port for the tests of libnetmap.
 *
 * It speaks the protocol of proto/proto.h on a socket of its own, in a thread,
 * and answers REGISTER with a small region and a CSB. Nobody serves the rings:
 * the test itself plays the engine, through `atok`, `ktoa`, the kicks and the
 * interrupts, and so sees each step of the library.
 *
 * Thread safety: the test and the server thread take turns: the test changes the
 * knobs only while no request is under way.
 */
#ifndef FAKE_NETMAPD_H
#define FAKE_NETMAPD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <net/netmap.h>

#include "proto.h"

enum { FAKE_SLOTS = 8, FAKE_TX = 1, FAKE_RX = 1, FAKE_RINGS = 2, FAKE_SIZE = 131072 };

struct fake_netmapd {
	char dir[64], path[96];
	int listener, client;
	bool connected; /* atomic */
	pthread_t thread;

	/* Knobs. */
	int status;          /* of the next control request: 0 or a negative errno */
	const char *text;    /* with it */
	bool one_fd_less;    /* REGISTER gives too few descriptors */
	bool bad_head;       /* the CSB starts with an index out of range */
	uint16_t host_rings; /* of the reply, each direction */
	uint16_t rings;      /* of the reply; 0: 1 */
	bool same_region;    /* further registrations get the region of the first */
	uint32_t opt_status; /* nro_status of an option */

	/* What came. */
	struct nmreq_header header;
	struct nmreq_register reg;
	struct nmreq_opt_offsets offsets;
	bool have_offsets;
	unsigned int requests;

	/* The engine's view of the last registration. */
	char *region, *csb;
	int region_fd, csb_fd, irq[2], kick[FAKE_RINGS];
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
};

/* Starts it and points $NETMAPD_SOCKET and $NETMAP_BACKEND at it. */
void fake_start(struct fake_netmapd *f);
void fake_stop(struct fake_netmapd *f);

/* Closes the connection under the client. */
void fake_hang_up(struct fake_netmapd *f);

/* Waits until the server has noticed that the client is gone. */
void fake_settle(struct fake_netmapd *f);

/* Times that ring i was kicked since the last call. */
uint64_t fake_kicks(struct fake_netmapd *f, unsigned int ring);

#endif
