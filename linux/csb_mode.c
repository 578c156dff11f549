// SPDX-License-Identifier: BSD-2-Clause
#include "csb_mode.h"

#include <linux/overflow.h>
#include <linux/slab.h>

static struct nm_csb_atok *atok_of(const struct nmk_csb *csb, uint32_t i)
{
	return (struct nm_csb_atok *)csb->atok.addr + i;
}

static struct nm_csb_ktoa *ktoa_of(const struct nmk_csb *csb, uint32_t i)
{
	return (struct nm_csb_ktoa *)csb->ktoa.addr + i;
}

struct nmk_csb *nmk_csb_new(
	struct nm_client *client, uint64_t atok, uint64_t ktoa, uint32_t entries)
{
	struct nmk_csb *csb = kvzalloc(struct_size(csb, serve, entries), GFP_KERNEL_ACCOUNT);

	client->err.code = -ENOMEM;
	if (!csb)
		return NULL;
	csb->entries = entries;
	client->err.code =
		nmk_pin(&csb->atok, atok, (uint64_t)entries * sizeof(struct nm_csb_atok));
	if (!client->err.code)
		client->err.code =
			nmk_pin(&csb->ktoa, ktoa, (uint64_t)entries * sizeof(struct nm_csb_ktoa));
	if (client->err.code) {
		nmk_csb_free(csb);
		return NULL;
	}
	for (uint32_t i = 0; i < entries; i++) {
		struct nm_ring *ring = nmk_csb_ring(client, i);

		mutex_lock(&ring->wakeup.sync);
		nm_csb_server_start(&csb->serve[i], ring, atok_of(csb, i), ktoa_of(csb, i));
		mutex_unlock(&ring->wakeup.sync);
	}
	return csb;
}

void nmk_csb_free(struct nmk_csb *csb)
{
	if (!csb)
		return;
	nmk_unpin(&csb->atok);
	nmk_unpin(&csb->ktoa);
	kvfree(csb);
}

void nmk_csb_resume(struct nmk_csb *csb, struct nm_client *client, uint32_t i)
{
	struct nm_csb_server *serve = &csb->serve[i];
	struct nm_ring *ring = nmk_csb_ring(client, i);

	mutex_lock(&ring->wakeup.sync);
	if (serve->stopped)
		nm_csb_server_start(serve, ring, atok_of(csb, i), ktoa_of(csb, i));
	else
		nm_csb_server_resume(serve, atok_of(csb, i), ktoa_of(csb, i));
	mutex_unlock(&ring->wakeup.sync);
}
