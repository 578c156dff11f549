/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world.h - a netmapd of one's own with virtual machines played natively, for measuring.
 *
 * Starts netmapd in a fresh directory, its worker on one CPU and the caller on another, and
 * makes machines with passed-through ports: real vfio-user sockets, CSB, kicks, interrupts
 * (vfio_guest.h). What goes wrong ends the program with one line: a measurement that
 * could not be made is no number.
 *
 *      struct world w = {.netmapd = path, .cpu = {0, 1}};
 *      world_start(&w);
 *      struct vg_port *a = world_port(&w, world_machine(&w), "vale1:1", 0);
 *      ... rings of a ...
 *      world_stop(&w);
 *
 * Thread safety: one thread.
 */
#ifndef BENCH_WORLD_H
#define BENCH_WORLD_H

#include <stdint.h>
#include <sys/types.h>

#include "vfio_guest.h"

enum { WORLD_MACHINES = 64 };

struct world {
	/* Set by the caller. */
	const char *netmapd;
	const char *profile; /* netmapd runs under perf record, data goes there; or NULL */
	int cpu[2];          /* of the caller's thread, of the worker; -1: anywhere */
	int poll_us;         /* longest polling of the worker without work; -1: its default */

	char dir[32], socket[64];
	pid_t pid;
	struct {
		int conn;
		struct vg *vg;
		char mems[VG_MEMS_MAX][108]; /* sockets of the memory functions it has */
		int num_mems;
	} machines[WORLD_MACHINES];
	int num_machines;
};

void world_start(struct world *w);
void world_stop(struct world *w);

/* A machine of its own: its ports lie in a region of their own. Its number. */
int world_machine(struct world *w);

/* A port of machine `m`, started. hdr_len: virtio-net header, 0 or 12 bytes. */
struct vg_port *world_port(struct world *w, int m, const char *ifname, uint32_t hdr_len);

/* CPU time of netmapd, all threads, since its start: ns. */
uint64_t world_cpu_ns(const struct world *w);

double now_s(void);   /* monotonic */
void pin_to(int cpu); /* the calling thread; -1: nothing */
void die(const char *what, int error) __attribute__((__noreturn__));

#endif
