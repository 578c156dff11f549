/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sockets.h - AF_XDP sockets of an interface, one per queue, over one registered memory (umem).
 *
 *      sockets_make()    sockets with rings; the first registers the memory, the others share it
 *      sockets_post()    chunks that the device may write to
 *      sockets_bind()    to their queues; nothing moves before
 *      sockets_close()   our descriptors of them; others may have some, too
 *      sockets_wait_gone()   the kernel has let go of the queues, and of all memory
 *
 * A queue has one socket. After its last close the kernel takes a while, in which a new one gets EBUSY, and in which
 * the device may still write into the memory. That it has ended is proved by a socket of our own, which can then be bound.
 *
 * Thread safety: one thread.
 */
#ifndef NIC_SOCKETS_H
#define NIC_SOCKETS_H

#include "nic_proto.h"
#include "nm_error.h"

struct sockets {
	uint32_t first, count; /* queues */
	uint32_t bound;        /* of them: the kernel may have memory through so many */
	int fd[NIC_QUEUES_MAX];
};

/* For s->first and s->count queues, as `o` says, with the memory in `memory`. 0 or a negative errno; then there are none. */
int sockets_make(struct sockets *s, const char *ifname, const struct nic_open *o, int memory,
	struct nm_error *err);

/*
 * Posts chunks to their fill rings, before they are bound: posted[i] numbers of the file (struct nic_bind), which its owner may change
 * meanwhile. 0, or a negative errno with a text.
 */
int sockets_post(struct sockets *s, const char *ifname, int file, uint32_t fill,
	const uint32_t *posted, struct nm_error *err);

/*
 * Binds them all: mode is not NIC_MODE_ANY. -EBUSY is tried again for NIC_BUSY_MS. *spoilt: some are bound although it failed, or
 * the device has looked at them: they can't be bound in another mode.
 */
int sockets_bind(struct sockets *s, const struct nic_facts *f, uint32_t mode, bool sg, bool *spoilt,
	struct nm_error *err);

void sockets_close(struct sockets *s);

/* 0, or -ETIMEDOUT after NIC_GONE_MS. */
int sockets_wait_gone(const struct nic_facts *f, uint32_t first, uint32_t count);

#endif
