/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * afxdp.h - a kernel whose AF_XDP sockets a target plays: a socket is a file whose pages are the four rings, and the system calls on it
 * are wrapped.
 *
 * What the kernel has to receive into is known from the rings alone, and must be what netmapd thinks: it never gets a buffer that it
 * has, and one for each packet that netmapd took; what it gets to send lies in one buffer.
 *
 * Thread safety: the main thread's.
 */
#ifndef TESTS_FUZZ_AFXDP_H
#define TESTS_FUZZ_AFXDP_H

#include "fuzz_core.h"
#include "nic_proto.h"

enum { KERNEL_RINGS = 4 }; /* of a socket */

/* The kernel's side of a ring. */
struct kring {
	char *map;
	size_t bytes;
	uint32_t size;
	uint32_t seen; /* what netmapd's index was */
};

struct kqueue {
	struct kring ring[KERNEL_RINGS];
	uint8_t *has;    /* a byte for each chunk of the umem: it has it to receive into */
	uint32_t chunks; /* of the umem; 0: none is registered */
	bool used;
};

/* Of the next system calls: 0: they succeed; they fail so often, in some way. */
extern uint8_t kernel_answer;

/* A umem of that many bytes is registered; the queue has none. */
void kernel_registers(struct kqueue *q, uint64_t umem_bytes);
/* The kernel gets the address of a buffer that it hasn't got, before there is a socket. */
void kernel_gets(struct kqueue *q, uint64_t addr);
/* A socket whose rings have these sizes: its descriptor, which is the caller's. It has what it got before. */
int kernel_socket(struct kqueue *q, const struct nic_open *o);
/* The kernel has let go. */
void kernel_forget(struct kqueue *q);

/* Checks what netmapd has done to the rings since the last time. */
void kernel_look(struct kqueue *q);

/* As a kernel would: a packet in a buffer that it has, of that region or NULL; some packets are sent. */
void kernel_receives(struct fuzz_in *in, struct kqueue *q, struct nm_region *region);
void kernel_completes(struct fuzz_in *in, struct kqueue *q);
/* As no kernel should: descriptors, addresses, indices and flags of any value; calls that fail. */
void kernel_lies(struct fuzz_in *in, struct kqueue *q);

#endif
