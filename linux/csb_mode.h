/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * csb_mode.h - CSB mode of an open /dev/netmap: its rings move by two arrays in the memory of the
 * application, which a sync loop (kloop.h) serves, and no longer by ioctl and poll.
 *
 * The arrays stay pinned from CSB_ENABLE, or REGISTER with the option CSB, to the end of
 * the registration: see extmem.h.
 *
 * Thread safety: nmk_file.bound is held for writing by those who make and free it. The entries of
 * serve[] belong to the loop that runs.
 */
#ifndef LINUX_CSB_MODE_H
#define LINUX_CSB_MODE_H

#include "extmem.h"
#include "client.h"
#include "csb_server.h"

struct nmk_csb {
	struct nmk_pin atok, ktoa;
	uint32_t entries; /* rings of the registration, tx first */
	struct nm_csb_server serve[];
};

/* Pins both arrays and writes the state of the rings into them. NULL with client->err: as nmk_pin(). */
struct nmk_csb *nmk_csb_new(
	struct nm_client *client, uint64_t atok, uint64_t ktoa, uint32_t entries);
/* No loop runs. NULL is allowed. */
void nmk_csb_free(struct nmk_csb *csb);

/* Ring i of the registration, tx first. */
static inline struct nm_ring *nmk_csb_ring(const struct nm_client *client, uint32_t i)
{
	uint32_t tx = client->count[NM_TX];

	return i < tx ? nm_client_ring(client, NM_TX, i) : nm_client_ring(client, NM_RX, i - tx);
}

/* Takes up service of ring i: as it was left, or from what the private state says if it had been
 * stopped for an illegal index. The ring's `sync` is taken. */
void nmk_csb_resume(struct nmk_csb *csb, struct nm_client *client, uint32_t i);

#endif
