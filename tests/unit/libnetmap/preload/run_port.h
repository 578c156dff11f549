/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run_port.h - a port as a program sees it that knows /dev/netmap only: system calls,
 * nothing of libnetmap. For the tests of netmap-run.
 *
 * run_main() starts a netmapd and then the same program under $NETMAP_RUN, which is where
 * the tests are.
 *
 * Thread safety: one thread at a time per port.
 */
#ifndef RUN_PORT_H
#define RUN_PORT_H

#include <stdint.h>
#include <net/netmap_user.h>

enum { PATIENCE_MS = 20000, ROUNDS = 300, LEN = 60 };

/* A port, opened by hand. */
struct port {
	int fd;
	struct nmreq_register reg;
	char *mem;
	struct netmap_if *nifp;
	struct netmap_ring *tx, *rx; /* the first ones, or those of the mode ONE_NIC */
};

/* ioctl(NIOCCTRL) */
int request(int fd, uint16_t type, const char *name, void *body);
int register_port(struct port *p, const char *name);
void map_port(struct port *p);
void open_port(struct port *p, const char *name); /* all of it; ends the test if it fails */
void close_port(struct port *p);

/* A numbered packet to everybody goes into the ring; one comes out. Neither syncs. */
void put(struct port *p, uint32_t number);
uint32_t take(struct port *p);
/* The next packet, waiting with poll(). */
uint32_t wait_and_take(struct port *p);

/* Seconds. */
double now(void);

int run_main(int argc, char **argv, int (*tests)(void));

#endif
