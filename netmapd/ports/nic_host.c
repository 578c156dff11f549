/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Host rings of network interfaces: the queues of a TAP (nic/twin.h), which comes when somebody uses host rings, and goes with the last
 * of them. Packets are tap_io.c's. netmapd-nic is told whenever hardware rings, or host rings, get their first user or lose the last.
 */
#include "nic_internal.h"

#include <stdio.h>

#include "device_closer.h"

/*
 * In generic mode the kernel puts a cookie in front of each frame (nic/program.h), if both are no longer than an skb's linear part,
 * four pages less what skb_shared_info needs; else the frame is lost, and nobody counts it.
 */
enum { GENERIC_LONGEST = 16000 };

static bool is_used(const struct nm_port *port, uint32_t first, const uint32_t count[NM_DIRS])
{
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < count[dir]; i++) {
			uint32_t at = first ? port->num_rings[dir] + i : i;

			if (port->rings[dir][at].users > 0)
				return true;
		}
	return false;
}

static struct nic_users users_of(const struct nm_port *port)
{
	return (struct nic_users){.hardware = is_used(port, 0, port->num_rings),
		.host = is_used(port, 1, port->num_host_rings)};
}

/* ---- descriptors ----------------------------------------------------------------------------- */

int nic_host_make(struct nic *nic)
{
	struct nm_port *port = nic->port;
	int error = tap_queues_init(&nic->host, &nic->nics->watch, port->num_host_rings[NM_RX]);

	if (error)
		return error;
	nic->host.port = port;
	nic->host.mtu = &nic->mtu;
	tap_own_rings(&nic->host, port, true);
	return 0;
}

void nic_host_free(struct nic *nic)
{
	if (!nic->host.queues)
		return;
	nic_host_halt(nic);
	tap_queues_free(&nic->host);
	memset(&nic->host, 0, sizeof(nic->host));
}

static struct nm_ring *host_ring(const struct nic *nic, enum nm_dir dir, uint32_t i)
{
	return &nic->host.port->rings[dir][nic->host.port->num_rings[dir] + i];
}

static void store_live(struct nic *nic, struct nm_ring *ring, bool live)
{
	nm_produce_lock(ring);
	OS_STORE(&nic->host.live, live);
	nm_produce_unlock(ring);
}

/* Syncs use descriptors, or not: on return none does. */
static void set_live(struct nic *nic, bool live)
{
	const struct nm_port *port = nic->host.port;

	for (uint32_t i = 0; i < port->num_host_rings[NM_TX]; i++)
		store_live(nic, host_ring(nic, NM_TX, i), live);
	for (uint32_t i = 0; i < port->num_rings[NM_RX]; i++)
		store_live(nic, &port->rings[NM_RX][i], live);
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < port->num_host_rings[dir] && live; i++)
			os_wakeup_signal(&host_ring(nic, dir, i)->wakeup);
}

/* On return no sync uses descriptors, which are still there. */
static void stop_host(struct nic *nic)
{
	if (!nic->host.started)
		return;
	set_live(nic, false);
	tap_queues_stop(&nic->host);
	tap_queues_unwatch(&nic->host); /* netmapd-nic removes the device, which is an event */
	nic->host.gone = false;
}

void nic_host_halt(struct nic *nic)
{
	if (!nic->host.queues)
		return;
	stop_host(nic);
	tap_queues_leave(&nic->host, nic->name);
}

static int open_host(struct nic *nic, const int *fds, uint32_t num_fds, struct nm_error *err)
{
	struct tap *tap = &nic->host;
	int error = num_fds == tap->num_queues ? 0 : -EPROTO;
	uint32_t taken = 0;

	while (taken < num_fds && !error) {
		error = tap_set_queue(tap, taken, fds[taken]);
		taken++;
	}
	if (error) {
		device_closer_later(nic->name, fds + taken, num_fds - taken);
		tap_queues_leave(tap, nic->name);
		return nm_error_set(err, error, "%s: its host rings can't be opened: %s", nic->name,
			strerror(-error));
	}
	snprintf(tap->ifname, sizeof(tap->ifname), "%s", nic->link->twin);
	tap->longest = nic->link->mode == NIC_MODE_GENERIC ? GENERIC_LONGEST : 0;
	tap_queues_start(tap, false); /* what is there comes from the stack */
	set_live(nic, true);
	return 0;
}

/* ---- who uses what ----------------------------------------------------------------------------- */

/* In whose name host rings are asked for next: of one who has no answer yet, else of one who may have them; NIC_USERS: of nobody. */
static uint32_t who_asks(const struct nic *nic)
{
	uint32_t who = NIC_USERS;

	for (uint32_t i = 0; i < NIC_USERS; i++)
		if (nic->right[i] == NIC_RIGHT_WANTED ||
			(nic->right[i] == NIC_RIGHT_GRANTED && who == NIC_USERS))
			who = i;
	return who;
}

static uint32_t number_of(const struct nic *nic, uint32_t who)
{
	return who == NIC_ROOT ? NM_USER_ROOT : nic->user;
}

/* Who attaches it to a switch has host rings alone: his is the only right. */
static bool is_granted(const struct nic *nic, uint32_t user)
{
	const enum nic_right *right = nic->right;

	if (user == NM_USER_ANY)
		return right[NIC_OPENER] != NIC_RIGHT_WANTED && right[NIC_ROOT] != NIC_RIGHT_WANTED;
	return right[user == nic->user ? NIC_OPENER : NIC_ROOT] == NIC_RIGHT_GRANTED;
}

/* A ring whose user has no answer yet, or has been refused and is about to lose it, takes nothing from others. */
static void choose_readers(struct nic *nic) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t hardware = nic->port->num_rings[NM_RX];
	bool may_read[NM_RINGS_MAX] = {false};

	for (const struct nm_client *c = nic->port->client_list; c; c = c->next)
		for (uint32_t i = 0; i < c->count[NM_RX] && is_granted(nic, c->user); i++)
			if (c->first[NM_RX] + i >= hardware)
				may_read[c->first[NM_RX] + i - hardware] = true;
	tap_choose_readers(&nic->host, nic->port, false, may_read);
}

void nic_tell_users(struct nic *nic)
{
	struct nic_users now;
	uint32_t who;

	if (nic->state != NIC_RUNNING || nic->link->using)
		return;
	now = users_of(nic->port);
	if (!now.host)
		memset(nic->right, 0, sizeof(nic->right));
	who = who_asks(nic);
	now.host &= who != NIC_USERS;
	if (now.host && nic->host.started)
		choose_readers(nic);
	if (now.hardware == nic->asked.hardware && now.host == nic->asked.host &&
		(!now.host || nic->right[who] == NIC_RIGHT_GRANTED))
		return;
	if (!now.host) /* descriptors are closed when it has answered: what it still leads there it counts */
		stop_host(nic);
	nic->asked = now;
	nic->asks = now.host ? who : NIC_OPENER;
	nic_link_use(nic->link, now.hardware, now.host ? nic->host.num_queues : 0,
		number_of(nic, nic->asks));
}

void nic_want_host(struct nic *nic, uint32_t user)
{
	enum nic_right *right = &nic->right[user == nic->user ? NIC_OPENER : NIC_ROOT];

	if (*right != NIC_RIGHT_GRANTED)
		*right = NIC_RIGHT_WANTED;
	nic_tell_users(nic);
}

bool nic_users_told(const struct nic *nic)
{
	return nic->state != NIC_RUNNING || !nic->link->using;
}

int nic_host_used(struct nic *nic, const int *fds, uint32_t num_fds, const struct nm_error *refused,
	bool *host, uint32_t *user, struct nm_error *err)
{
	enum nic_right *right = &nic->right[nic->asks];
	bool starts = nic->asked.host && !nic->host.started;
	int error = 0;

	*host = nic->asked.host && *right == NIC_RIGHT_WANTED;
	*user = number_of(nic, nic->asks);
	if (!nic->asked.host)
		tap_queues_leave(&nic->host, nic->name);
	if (refused)
		error = nm_error_set(err, refused->code, "%s", refused->text);
	else if (starts)
		error = open_host(nic, fds, num_fds, err);
	else
		device_closer_later(nic->name, fds,
			num_fds); /* queues are sent only where there are none yet */
	if (*host)
		*right = error ? NIC_RIGHT_REFUSED : NIC_RIGHT_GRANTED;
	if (refused && starts)
		nic->asked.host =
			false; /* else netmapd-nic has a twin, and is told that nobody wants it */
	return error;
}

/* ---- syncs ------------------------------------------------------------------------------------------ */

int nic_host_txsync(struct nm_ring *ring)
{
	const struct tap *tap = ring->priv;

	nm_produce_lock(ring);
	if (likely(OS_LOAD(&tap->live)))
		(void)tap_txsync(ring);
	nm_produce_unlock(ring);
	return 0;
}

void nic_host_forward(struct nm_ring *ring)
{
	const struct nic *nic = ring->port->priv;
	const struct tap *tap = &nic->host;

	if (likely(!(OS_LOAD(&ring->shared->flags) & NR_FORWARD)))
		return;
	nm_produce_lock(ring);
	if (OS_LOAD(&tap->live))
		tap_forward(ring, tap, ring->id % tap->num_queues);
	nm_produce_unlock(ring);
}

/* A sync writes all that there is. */
bool nic_host_can_send(struct nm_ring *ring)
{
	const struct tap *tap = ring->priv;

	return OS_LOAD(&tap->live) && ring->hwcur != ring->head;
}
