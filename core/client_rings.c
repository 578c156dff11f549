/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which rings of a port a client has: those of its mode, as far as others leave them; and how many use each.
 */
#include "bufown.h"
#include "client_internal.h"

/* Ring `wanted` of `have`; in a direction with fewer than the other one has, its ring 0. */
static void one_ring(
	uint32_t wanted, uint32_t have, uint32_t have_other, uint32_t *first, uint32_t *count)
{
	*first = wanted < have ? wanted : 0;
	*count = have > 0 && (wanted < have || wanted < have_other);
}

bool nm_mode_rings(const struct nm_port *port, const struct nm_bind *bind, enum nm_dir dir,
	uint32_t *first, uint32_t *count)
{
	uint32_t hw = port->num_rings[dir], host = port->num_host_rings[dir];

	*first = 0;
	*count = hw;
	switch (bind->mode) {
	case NR_REG_ALL_NIC:
	case NR_REG_PIPE_MASTER:
	case NR_REG_PIPE_SLAVE:
		return true;
	case NR_REG_NIC_SW:
	case NR_REG_NULL:
		*count = hw + host;
		return true;
	case NR_REG_SW:
		*first = hw;
		*count = host;
		return true;
	case NR_REG_ONE_NIC:
		one_ring(bind->ringid, hw, port->num_rings[!dir], first, count);
		return true;
	case NR_REG_ONE_SW:
		one_ring(bind->ringid, host, port->num_host_rings[!dir], first, count);
		*first += hw;
		return true;
	default:
		return false;
	}
}

/* Ports may have rings in one direction only, and null ports none at all. */
static bool may_be_empty(const struct nm_port *port, const struct nm_bind *bind, enum nm_dir dir)
{
	if (bind->mode == NR_REG_NULL)
		return true;
	return bind->mode != NR_REG_ONE_NIC && bind->mode != NR_REG_ONE_SW &&
	       port->num_rings[dir] == 0 && port->num_rings[!dir] > 0;
}

static bool wants_host(const struct nm_bind *bind)
{
	return bind->mode == NR_REG_SW || bind->mode == NR_REG_ONE_SW;
}

int nm_rings_choose(
	struct nm_client *client, const struct nm_port *port, const struct nm_bind *bind)
{
	static const uint64_t only[NM_DIRS] = {NR_TX_RINGS_ONLY, NR_RX_RINGS_ONLY};

	if (bind->mode == NR_REG_NIC_SW &&
		port->num_host_rings[NM_TX] + port->num_host_rings[NM_RX] == 0)
		return nm_error_set(&client->err, -EINVAL,
			"%s: host rings asked for as well (mode %u); the port has none", port->name,
			bind->mode);
	for (int dir = 0; dir < NM_DIRS; dir++) {
		uint32_t first, count;

		if (!nm_mode_rings(port, bind, dir, &first, &count))
			return nm_error_set(&client->err, -EINVAL,
				"%s: mode %u is not a way to register", port->name, bind->mode);
		if ((bind->flags & (NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY)) &&
			!(bind->flags & only[dir]))
			first = count = 0;
		else if (count == 0 && !may_be_empty(port, bind, dir))
			return nm_error_set(&client->err, -EINVAL,
				"%s: %s %sring %u asked for; the port has %u rings and %u host rings there",
				port->name, dir == NM_TX ? "tx" : "rx",
				wants_host(bind) ? "host " : "", bind->ringid, port->num_rings[dir],
				port->num_host_rings[dir]);
		client->first[dir] = first;
		client->count[dir] = count;
	}
	return 0;
}

static bool share_a_ring(const struct nm_client *a, const struct nm_client *b)
{
	bool shared = false;

	for (int dir = 0; dir < NM_DIRS; dir++)
		shared |= a->first[dir] < b->first[dir] + b->count[dir] &&
			  b->first[dir] < a->first[dir] + a->count[dir];
	return shared;
}

bool nm_client_same_rings(const struct nm_client *a, const struct nm_client *b)
{
	bool same = true;

	for (int dir = 0; dir < NM_DIRS; dir++)
		same &= a->count[dir] == b->count[dir] &&
			(a->count[dir] == 0 || a->first[dir] == b->first[dir]);
	return same;
}

/* All or none of its rings are others'. */
static int check_same_rings(struct nm_client *client, const struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
{
	for (const struct nm_client *c = port->client_list; c && client->same_rings; c = c->next)
		if (share_a_ring(client, c) && !(c->same_rings && nm_client_same_rings(client, c)))
			return nm_error_set(&client->err, -EBUSY,
				"%s: some of its rings are in use by a program that has others as well: register exactly the same, or others (-N), or one direction each (/T, /R)",
				port->name);
	return 0;
}

int nm_rings_check_free(struct nm_client *client, const struct nm_port *port, bool exclusive)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < client->count[dir]; i++) {
			const struct nm_ring *ring = &port->rings[dir][client->first[dir] + i];

			if (ring->exclusive || (exclusive && ring->users > 0))
				return nm_error_set(&client->err, -EBUSY,
					"%s: %s ring %u is in use%s", port->name,
					dir == NM_TX ? "tx" : "rx", ring->id,
					ring->exclusive ? ", exclusively"
							: ", and is wanted exclusively");
		}
	}
	return check_same_rings(client, port);
}

/* For the first user of a ring: on a port that others kept in use, a former user has left packets,
 * half a packet, or any value in the shared indices. What is in a pipe is kept. */
static void begin_use(struct nm_ring *ring)
{
	const struct nm_port_ops *ops = ring->port->ops;

	if (ops->quiesce)
		ops->quiesce(ring, true);
	if (ring->port->peer) {
		(void)(ring->dir == NM_TX ? ops->txsync(ring) : ops->rxsync(ring));
		nm_ring_reset_shared(ring);
	} else if (ring->port->own_memory || ring->host) {
		nm_ring_restart(ring);
	}
	if (ops->quiesce)
		ops->quiesce(ring, false);
}

bool nm_rings_count(struct nm_client *client, struct nm_port *port, bool exclusive, int by)
{
	bool unused = false;

	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < client->count[dir]; i++) {
			struct nm_ring *ring = &port->rings[dir][client->first[dir] + i];

			if (ring->users == 0)
				begin_use(ring);
			os_assert(by > 0 || ring->users > 0);
			OS_STORE(&ring->users, ring->users + (uint32_t)by);
			ring->exclusive = exclusive && by > 0;
			unused |= ring->users == 0;
		}
	}
	return unused;
}

void nm_client_leave_rings(struct nm_client *client)
{
	if (nm_rings_count(client, client->port, false, -1))
		nm_bufown_repair_port(client->port, NULL, false);
	client->count[NM_TX] = client->count[NM_RX] = 0;
}

void nm_client_take_rings(struct nm_client *client, const uint32_t count[NM_DIRS])
{
	memcpy(client->count, count, sizeof(client->count));
	nm_rings_count(client, client->port, true, 1);
}
