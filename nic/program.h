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
 *      exit.dropped = program_dropped_map();              how many of the stack's frames got nowhere
 *      exit.state = program_state_map();                  where they go
 *      exit.alive = program_map(1);                       a socket of the interface, as long as somebody has it
 *      prog = program_load_exit(&exit, &filter);
 *      link = program_attach_stack(prog, ifindex, true);
 *
 *      program_load_twin_in(ifindex), _out()              host rings: twin.h
 *
 * Some packets stay the stack's (struct program_filter), by their destination when they come, by their source when it sends them.
 * All others are redirected, and passed on to the stack where the map has no socket. Likewise the stack's own frames go
 * out as ever when no socket is in `alive`, so a program that is left behind does no harm: the kernel
 * takes a socket out of a map when it is closed. The programs are made here, instruction by instruction: they are small, and need
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

/* sg: it gets packets over several buffers as well (kernels from 5.18 on). cookie: what begins with it is the stack's, without
 * it; or NULL. */
int program_load(int map, const struct program_filter *filter, const uint8_t *cookie, bool sg);

/* generic: behind the driver, on the kernel's packets; else in the driver. */
int program_attach(int prog, uint32_t ifindex, bool generic);

/* 0 or a negative errno. */
int program_set(int map, uint32_t queue, int sock);
void program_clear(int map, uint32_t queue);

/* Where the stack's frames go; both 0: to the interface, as ever. */
struct program_state {
	uint32_t hardware; /* bool: somebody has the rings of the interface: nowhere */
	uint32_t twin; /* number of the interface that leads to the host rings (twin.h); 0: none */
};

/* Maps, as descriptors. */
struct program_exit {
	int alive, state, dropped;
};

/* A struct nic_counters, which everybody who has the descriptor can map. Nothing follows from it. */
int program_dropped_map(void);
/* A struct program_state, all 0. */
int program_state_map(void);
/* 0 or a negative errno. */
int program_set_state(int map, const struct program_state *state);

int program_load_exit(const struct program_exit *exit, const struct program_filter *filter);

/*
 * The programs of a twin. out: what the exit program has sent there goes on to the host rings, and nothing of the twin's own. in:
 * what comes out of them is received by interface number `ifindex`, as if it had come from its wire. cookie, if not NULL: in front
 * of it, for a generic program, which sees all that the interface receives, from wherever it comes.
 */
enum { PROGRAM_COOKIE = 14 };
int program_load_twin_out(void);
int program_load_twin_in(uint32_t ifindex, const uint8_t cookie[PROGRAM_COOKIE]);

/* For what the stack sends (egress), or what it receives. From Linux 6.6 on. It comes before those of others. */
int program_attach_stack(int prog, uint32_t ifindex, bool egress);

/* The number by which bpftool shows it; 0: not known. */
uint32_t program_id(int prog);

#endif
