/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * program.h - the XDP program: packets of queues that have a socket go there, all others to the host's stack.
 *
 *      map = program_map(queues);                         queue number -> socket
 *      prog = program_load(map, &filter, sg);
 *      link = program_attach(prog, ifindex, generic);     close(link) detaches, whoever does it, a kill as well
 *      program_set(map, queue, socket);
 *
 * Some packets stay the stack's (struct program_filter); everything else is redirected, and passed on
 * to the stack where the map has no socket. The program is made here, instruction by instruction: it is small, and needs
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

/* The number by which bpftool shows it; 0: not known. */
uint32_t program_id(int prog);

#endif
