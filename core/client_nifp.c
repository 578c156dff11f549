/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one client of a port gets in the region: a netmap_if, whose offsets lead to the rings that
 * it is bound to (to none elsewhere), and a list of extra buffers, linked through the first word of
 * each.
 *
 * The list is the application's to rewrite; what it holds at the end is read back entry by entry,
 * each index checked, and no further than the number of buffers that were given.
 */
#include "bufown.h"
#include "client_internal.h"
#include "quota.h"

/* Entry of ring_ofs[] for host rings: at least one, also where there are none. */
static uint32_t host_entries(const struct nm_port *port, enum nm_dir dir)
{
	return port->num_host_rings[dir] ? port->num_host_rings[dir] : 1;
}

static bool includes(const struct nm_client *client, enum nm_dir dir, uint32_t i)
{
	return i >= client->first[dir] && i - client->first[dir] < client->count[dir];
}

/* ring_ofs[]: tx rings, host tx rings, rx rings, host rx rings. */
static void fill_offsets(
	const struct nm_client *client, const struct nm_port *port, struct netmap_if *nifp)
{
	uint32_t entry = 0;

	for (int dir = 0; dir < NM_DIRS; dir++) {
		uint32_t entries = port->num_rings[dir] + host_entries(port, dir);

		for (uint32_t i = 0; i < entries; i++, entry++)
			if (includes(client, dir, i))
				*(int64_t *)(uintptr_t)&nifp->ring_ofs[entry] =
					(char *)port->rings[dir][i].shared - (char *)nifp;
	}
}

static bool in_region_of_its_own(const struct nm_client *client, const struct nm_port *port)
{
	return port->own_memory && !client->own_region && !port->region->foreign &&
	       port->region->id != NM_REGION_SHARED_ID;
}

static void fill(const struct nm_client *client, const struct nm_port *port, struct netmap_if *nifp)
{
	size_t len = strnlen(port->name, sizeof(nifp->ni_name) - 1);

	memset(nifp, 0, port->region->pool[NM_POOL_IF].size);
	memcpy(nifp->ni_name, port->name, len);
	*(uint32_t *)(uintptr_t)&nifp->ni_version = NETMAP_API;
	*(uint32_t *)(uintptr_t)&nifp->ni_flags =
		in_region_of_its_own(client, port) ? NI_PRIV_MEM : 0;
	*(uint32_t *)(uintptr_t)&nifp->ni_tx_rings = port->num_rings[NM_TX];
	*(uint32_t *)(uintptr_t)&nifp->ni_rx_rings = port->num_rings[NM_RX];
	*(uint32_t *)(uintptr_t)&nifp->ni_host_tx_rings = host_entries(port, NM_TX);
	*(uint32_t *)(uintptr_t)&nifp->ni_host_rx_rings = host_entries(port, NM_RX);
	fill_offsets(client, port, nifp);
}

/* ---- extra buffers ------------------------------------------------------------------- */

static struct netmap_if *nifp_of(const struct nm_client *client, const struct nm_port *port)
{
	return (void *)(port->region->base + client->nifp_offset);
}

/* Of a region that is there for all, extra buffers leave this part to those who come to open a port. */
enum { LEFT_TO_OTHERS = 4 };

/* What it takes to touch a buffer, a page of memory for two of them, in slots that get one: 256 of these are a page. */
enum { SLOTS_PER_LINK = 128 };

/* As many as there are, up to `wanted`; nobody pays for more than he gets. */
static int give_extra(struct nm_client *client, struct nm_port *port, uint32_t wanted)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_region *region = port->region;
	uint32_t keep = region->shared ? region->pool[NM_POOL_BUF].count / LEFT_TO_OTHERS : 0;
	uint32_t left = nm_bufown_num_free(region, NM_POOL_BUF);
	int error;

	if (left <= keep || wanted == 0)
		return 0;
	if (wanted > left - keep)
		wanted = left - keep;
	error = nm_quota_take(client->core->payer, NM_RES_EXTRA, wanted, &client->err);
	if (error)
		return error;
	client->extra_payer = client->core->payer;
	client->owner = nm_core_new_owner(client->core);
	client->extra_bufs = client->to_link = wanted;
	error = nm_bufown_promise(region, wanted);
	os_assert(error == 0); /* so many are left */
	return error;
}

/* Out of those that are promised. The first word of each buffer is the number of the next; 0 is the end. */
bool nm_nifp_link(struct nm_client *client, struct nm_port *port, uint32_t *most)
{
	struct nm_region *region = port->region;
	uint32_t left = *most / SLOTS_PER_LINK;

	if (client->to_link == 0)
		return false;
	if (*most > 0 && left == 0)
		left = 1;
	*most = left > client->to_link ? *most - client->to_link * SLOTS_PER_LINK : 0;
	for (; left > 0 && client->to_link > 0; left--, client->to_link--) {
		uint32_t index = nm_bufown_alloc_promised(region, client->owner);

		OS_STORE((uint32_t *)nm_region_buf(region, index), client->bufs_head);
		client->bufs_head = index;
	}
	*(uint32_t *)(uintptr_t)&nifp_of(client, port)->ni_bufs_head = client->bufs_head;
	return client->to_link > 0;
}

static uint32_t valid_or_none(const struct nm_client *client, uint32_t index)
{
	return nm_region_buf_valid(client->port->region, index) ? index : 0;
}

/* As it was given: the application may have taken buffers off it since. */
uint32_t nm_nifp_first_extra(const struct nm_client *client)
{
	uint32_t index = OS_LOAD(&nifp_of(client, client->port)->ni_bufs_head);

	return index == client->bufs_head ? 0 : valid_or_none(client, index);
}

uint32_t nm_nifp_next_extra(const struct nm_client *client, uint32_t index)
{
	const uint32_t *next = (const uint32_t *)nm_region_buf(client->port->region, index);

	return valid_or_none(client, OS_LOAD(next));
}

uint32_t nm_nifp_list_extra(const struct nm_client *client, uint32_t *refs)
{
	uint32_t index = nm_nifp_first_extra(client), count = 0;

	for (; count < client->extra_bufs && index; index = nm_nifp_next_extra(client, index))
		refs[count++] = index;
	return count;
}

/* ---- netmap_if ----------------------------------------------------------------------- */

/* Of a port in a foreign region, when nothing is left of what was set aside: the one that came
 * with the port, which describes all of its rings. */
static bool use_brought_nifp(struct nm_client *client, const struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
{
	if (port->own_memory || nm_bufown_num_free(port->region, NM_POOL_IF) > 0)
		return false;
	client->nifp_offset = port->nifp_offset;
	return true;
}

int nm_nifp_make(struct nm_client *client, struct nm_port *port, uint32_t extra_bufs)
{
	uint64_t entries = (uint64_t)port->num_rings[NM_TX] + host_entries(port, NM_TX) +
			   port->num_rings[NM_RX] + host_entries(port, NM_RX);
	uint64_t bytes = sizeof(struct netmap_if) + entries * sizeof(int64_t);

	int error;

	client->nifp_index = UINT32_MAX;
	client->extra_bufs = client->to_link = client->bufs_head = 0;
	client->owner = NM_OWNER_NONE;
	if (use_brought_nifp(client, port))
		return 0;
	if (bytes > port->region->pool[NM_POOL_IF].size)
		return nm_error_set(&client->err, -ENOMEM,
			"%s: its netmap_if has %llu bytes, an object of region %u only %u",
			port->name, (unsigned long long)bytes, port->region->id,
			port->region->pool[NM_POOL_IF].size);
	if (nm_bufown_alloc(port->region, NM_POOL_IF, port->owner, &client->nifp_index) != 0)
		return nm_memory_pool_error(client, port, NM_POOL_IF, 1);
	client->nifp_offset =
		(uint64_t)((char *)nm_region_object(port->region, NM_POOL_IF, client->nifp_index) -
			   port->region->base);
	fill(client, port, nifp_of(client, port));
	error = give_extra(client, port, extra_bufs);
	if (error)
		nm_nifp_free(client, port);
	return error;
}

void nm_nifp_free(struct nm_client *client, struct nm_port *port)
{
	nm_bufown_unpromise(port->region, client->to_link);
	if (client->owner != NM_OWNER_NONE)
		nm_bufown_free_owner(port->region, client->owner);
	if (client->nifp_index != UINT32_MAX)
		nm_bufown_free(port->region, NM_POOL_IF, port->owner, client->nifp_index);
	nm_quota_give(client->extra_payer, NM_RES_EXTRA, client->extra_bufs);
	client->extra_payer = NULL;
	client->owner = NM_OWNER_NONE;
	client->extra_bufs = client->to_link = 0;
	client->nifp_index = UINT32_MAX;
}
