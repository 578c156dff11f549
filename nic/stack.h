/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stack.h - the border between an interface and the host's stack while a netmap port has it.
 *
 *      the host's stack  --- what it sends --->  program (program.h)  --->  the interface, while nobody has its rings
 *                                                   |
 *                                                   +---> the host rings, while somebody has these (twin.h)
 *                                                   |
 *                                                   +---> nowhere, and counted
 *
 * As in the kernel's netmap nothing that the stack sends gets to the wire, but for what the port leaves to it (NIC_PASS_SENT: all).
 * The program is attached by a link (Linux 6.6 and later), which goes with its owner; before that as a
 * filter of the traffic control (clsact), which is noted in the claim, and without effect when its owner was killed. Either way it is
 * the first one there, for others may end the chain; what it lets pass goes on to them.
 *
 * Thread safety: one thread.
 */
#ifndef NIC_STACK_H
#define NIC_STACK_H

#include "claim.h"
#include "nm_error.h"
#include "program.h"

struct stack {
	struct program_exit maps; /* dropped: how many frames were */
	int prog, link;
	/* Descriptors, or -1. */
	struct nic_counters *counters; /* maps.dropped; NULL: not mapped */
	uint64_t before, lost;         /* by earlier twins, and by this one as well */
};

/* Nothing is closed yet. */
#define STACK_NONE                                                             \
	{                                                                      \
		.maps = {-1, -1, -1}, .prog = -1, .link = -1, .counters = NULL \
	}

/* Nothing is changed before stack_watch(). 0, or a negative errno with a text. */
int stack_shut(struct stack *s, struct claim *claim, const struct nic_facts *f,
	const struct program_filter *filter, struct nm_error *err);

/* From now on, as long as this AF_XDP socket is open. 0 or a negative errno. These three do nothing when it is not shut. */
int stack_watch(const struct stack *s, int sock);

/* Where frames go. 0 or a negative errno. */
int stack_direct(const struct stack *s, const struct program_state *to);

/* The twin that there is has lost so many; counted for whoever has the map, beside those of earlier ones. */
void stack_count(struct stack *s, uint64_t lost);

/* What the stack sends goes to the wire, until the next stack_watch(): also while the client keeps its sockets. */
void stack_leave(const struct stack *s);

/* As before, but for what is in the claim. May be called for one that is open. */
void stack_open(struct stack *s);

#endif
