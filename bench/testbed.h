/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * testbed.h - a netmapd of one's own with virtual machines played natively, for measuring.
 *
 * Starts netmapd in a fresh directory, its worker on one CPU and the caller on another, and
 * makes machines with passed-through ports: real vfio-user sockets, CSB, kicks, interrupts
 * (vfio_guest.h). What goes wrong ends the program with one line: a measurement that
 * could not be made is no number.
 *
 *      struct testbed w = {.netmapd = path, .worker_cpu = {1}}; client on CPU 0
 *      testbed_start(&w);
 *      struct vg_port *a = testbed_port(&w, testbed_machine(&w), "vale1:1", 0);
 *      ... rings of a ...
 *      testbed_stop(&w);
 *
 * Thread safety: one thread.
 */
#ifndef BENCH_TESTBED_H
#define BENCH_TESTBED_H

#include <stdint.h>
#include <sys/types.h>

#include "vfio_guest.h"

enum { TESTBED_MACHINES = 64, TESTBED_WORKERS = 16 };

struct testbed {
	/* Set by the caller. */
	const char *netmapd;
	const char *profile; /* netmapd runs under perf record, data goes there; or NULL */
	int workers;         /* of netmapd; 0: one */
	int client_cpu[TESTBED_WORKERS],
		worker_cpu[TESTBED_WORKERS]; /* the caller's thread has the first one */
	int poll_us; /* longest polling of the worker without work; -1: its default */

	char dir[32], socket[64];
	pid_t pid;
	struct {
		int conn;
		struct vg *vg;
		char mems[VG_MEMS_MAX][108]; /* sockets of the memory functions it has */
		int num_mems;
	} machines[TESTBED_MACHINES];
	int num_machines;
};

void testbed_start(struct testbed *w);
void testbed_stop(struct testbed *w);

/* A machine of its own: its ports lie in a region of their own. Its number. */
int testbed_machine(struct testbed *w);

/* A port of machine `m`, started. hdr_len: virtio-net header, 0 or 12 bytes. */
struct vg_port *testbed_port(struct testbed *w, int m, const char *ifname, uint32_t hdr_len);

/* CPU time of netmapd, all threads, since its start: ns. */
uint64_t testbed_cpu_ns(const struct testbed *w);

double now_s(void);   /* monotonic */
void pin_to(int cpu); /* the calling thread */
void die(const char *what, int error) __attribute__((__noreturn__));

#endif
