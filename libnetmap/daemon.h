/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * daemon.h - a port of netmapd, as the backend "daemon" holds it.
 *
 * daemon.c speaks with netmapd: connection, requests, descriptors, mapping.
 * daemon_sync.c moves packets: it plays the application side of the CSB
 * (core/csb.h) for the rings in the region, whose head, cur and tail nobody but
 * the application and this library looks at.
 *
 *      application     head, cur  ->  ring  ->  sync  ->  CSB atok  ->  netmapd
 *                      tail       <-  ring  <-  sync  <-  CSB ktoa  <-
 *
 * netmapd is trusted: it could do anything to the application's packets anyway.
 *
 * Thread safety: one thread at a time per port.
 */
#ifndef LIBNETMAP_DAEMON_H
#define LIBNETMAP_DAEMON_H

#include <stdint.h>
#include <libnetmap.h>

#include "csb.h"
#include "proto.h"

struct nmlib_ring {
	struct nm_csb_appl csb;
	struct netmap_ring *ring;
	int kick; /* eventfd; -1: none */
};

/* Made by a registration. */
struct nmlib_daemon_port {
	struct nmd_attach at;
	int region_fd;
	int irq[2];                /* eventfds: tx, rx */
	char *csb;                 /* mapped, at.csb_size bytes */
	struct nmlib_ring rings[]; /* at.rings; tx first */
};

/* Finds the rings in the region and takes over their state from the CSB. 0 or -EINVAL. */
int nmlib_daemon_attach(struct nmport_d *d);
int nmlib_daemon_txsync(struct nmport_d *d);
int nmlib_daemon_rxsync(struct nmport_d *d);
int nmlib_daemon_poll(struct nmport_d *d, short events, int timeout_ms);

#endif
