/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run_port.h - a port as a program uses it by its descriptor: system calls.
 *
 *      run_port.c   of a program that knows /dev/netmap only, under netmap-run: run_main() starts a
 *                   netmapd and then the same program under $NETMAP_RUN, which is where the tests are
 *      fd_port.c    of a program that is linked with libnetmap, which opens the port
 *      packets.c    what is the same for both
 *
 * Thread safety: one thread at a time per port.
 */
#ifndef RUN_PORT_H
#define RUN_PORT_H

#include <stdbool.h>
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
	struct nmport_d *d;          /* libnetmap's; NULL under netmap-run */
};

/* ioctl(NIOCCTRL) */
int request(int fd, uint16_t type, const char *name, void *body);
/* The steps, of run_port.c. */
int register_port(struct port *p, const char *name);
void map_port(struct port *p);

/* All of it, with the mode and NR_EXCLUSIVE of p->reg; -1 with errno, and nothing is open. */
int try_port(struct port *p, const char *name);
void open_port(struct port *p, const char *name); /* ends the test if it fails */
void close_port(struct port *p);

/* A descriptor, and no more, of a port with 64 slots; registered: whether it has it. */
int open_bare(const char *name, bool *registered);

/* A numbered packet to everybody goes into the ring; one comes out. Neither syncs. */
void put(struct port *p, uint32_t number);
uint32_t take(struct port *p);
/* The next packet, waiting with poll(). */
uint32_t wait_and_take(struct port *p);

/* Seconds. */
double now(void);

int run_main(int argc, char **argv, int (*tests)(void));

#endif
