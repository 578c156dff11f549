/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * program.h - the XDP program: packets of queues that have a socket go there, all others to the host's stack; and its
 * counterpart, through which what the stack sends has to go.
 *
 *      map = program_map(queues);                         queue number -> socket
 *      prog = program_load(map, &filter, sg);
 *      link = program_attach(prog, ifindex, generic);     close(link) detaches, whoever does it, a kill as well
 *      program_set(map, queue, socket);
 *
 *      dropped = program_dropped_map();                   how many of the stack's frames got nowhere
 *      prog = program_load_exit(map, queue, dropped, &filter);
 *      link = program_attach_exit(prog, ifindex);
 *
 * Some packets stay the stack's (struct program_filter), by their destination when they come, by their source when it sends them.
 * All others are redirected, and passed on to the stack where the map has no socket. Likewise the stack's own frames go
 * out as ever when the socket of `queue` is not in the map, so a program that is left behind does no harm: the kernel
 * takes a socket out of the map when it is closed. The programs are made here, instruction by instruction: they are small, and need
 * no compiler and no library.
 *
 * Thread safety: any thread; no state.
 */
#ifndef NIC_PROGRAM_H
#define NIC_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "nic_proto.h"

struct program_filter {
	uint32_t pass; /* enum nic_pass */
	uint32_t num_ip4, num_ip6;
	uint8_t ip4[NIC_ADDRESSES_MAX][4];
	uint8_t ip6[NIC_ADDRESSES_MAX][16];
};

/* A map of so many queues. Here and below: a descriptor, which is the caller's, or a negative errno. */
int program_map(uint32_t queues);

/* sg: it gets packets over several buffers as well (kernels from 5.18 on). */
int program_load(int map, const struct program_filter *filter, bool sg);

/* generic: behind the driver, on the kernel's packets; else in the driver. */
int program_attach(int prog, uint32_t ifindex, bool generic);

/* 0 or a negative errno. */
int program_set(int map, uint32_t queue, int sock);
void program_clear(int map, uint32_t queue);

/* A number of 64 bits, which everybody who has the descriptor can map. Nothing follows from it. */
int program_dropped_map(void);
int program_load_exit(int map, uint32_t queue, int dropped, const struct program_filter *filter);

/* From Linux 6.6 on. It comes before those of others. */
int program_attach_exit(int prog, uint32_t ifindex);

/* The number by which bpftool shows it; 0: not known. */
uint32_t program_id(int prog);

#endif
