/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports of network interfaces: their shape, the operations of the kind, what status shows. */
#include "nic_internal.h"

#include "bufown.h"
#include "os_user.h"
#include "slots.h"

enum {
	SLOTS_DEFAULT = 1024,
	SLOTS_LEAST = 64,
	SLOTS_MOST = 4096, /* that a device's own rings make it have */
	/* Buffers that the kernel has beyond those that its rings can hold. */
	SPARE = 64,
	FRAME_EXTRA = NIC_FRAME_EXTRA + 4, /* bytes beyond the MTU: Ethernet, two VLAN tags */
	MTU_MOST = NM_NIC_BUF_SIZE - NM_NIC_HEADROOM - NIC_FRAME_EXTRA,
	SENT_MOST = NIC_CHUNKS_SENT * (NM_NIC_BUF_SIZE - NM_NIC_HEADROOM), /* bytes of a packet */
};

/* ---- operations of the kind ------------------------------------------------------------------------- */

static void free_queues(struct nic *nic)
{
	for (uint32_t i = 0; i < nic->num_queues; i++) {
		os_free(nic->queues[i].scratch);
		os_free(nic->queues[i].posted);
		os_free(nic->queues[i].sent);
		os_free(nic->queues[i].stale);
		nic->queues[i].scratch = NULL;
		nic->queues[i].posted = NULL;
		nic->queues[i].sent = NULL;
		nic->queues[i].stale = NULL;
	}
}

static int make_queue(struct nic *nic, struct nic_queue *q, uint32_t i)
{
	struct nm_port *port = nic->port;

	for (int dir = 0; dir < NM_DIRS; dir++) {
		q->ring[dir] = &port->rings[dir][i];
		q->ring[dir]->priv = q;
	}
	q->carrier = &nic->carrier;
	q->complete = nic->link->facts.unfinished;
	q->sg = nic->sg;
	q->busy = nic->nics->daemon->config.nics.busy_us > 0;
	q->scratch =
		q->sg && q->complete ? os_zalloc((size_t)NIC_CHUNKS_MAX * NM_NIC_BUF_SIZE) : NULL;
	q->posted = os_zalloc(port->region->pool[NM_POOL_BUF].count);
	q->sent = os_zalloc(port->num_slots[NM_TX] * sizeof(q->sent[0]));
	q->stale = os_zalloc(port->region->pool[NM_POOL_BUF].count);
	q->num_stale = 0;
	q->counted_full = q->counted_dropped = 0;
	q->num_posted = q->oldest = q->expected = q->unfinished = 0;
	q->blocked = q->waits = q->moved = false;
	return q->posted && q->sent && q->stale && (q->scratch || !q->sg || !q->complete) ? 0
											  : -ENOMEM;
}

static uint32_t power_of_two(uint32_t least)
{
	uint32_t n = 64;

	while (n < least)
		n *= 2;
	return n;
}

/* Then there is a link, too. */
static int check_start(const struct nic *nic, struct nm_error *err)
{
	const struct nm_port *port = nic->port;

	if (nic->state != NIC_IDLE)
		return nm_error_set(err, nic->failed.code ? nic->failed.code : -EBUSY, "%s",
			nic->failed.code ? nic->failed.text : "the interface is being closed");
	if (port->offsets.mask)
		return nm_error_set(err, -EOPNOTSUPP,
			"%s: a NIC puts packets at the beginning of a buffer; register without offsets",
			port->name);
	return 0;
}

static int check_mtu(const struct nic *nic, uint32_t mode, struct nm_error *err)
{
	const char *name = nic->port->name;

	if (nic->link->facts.mtu <= MTU_MOST || mode != NIC_MODE_ZEROCOPY)
		return 0;
	return nm_error_set(err, -EMSGSIZE,
		"%s: with an MTU of %u a packet needs several buffers, which zero copy can't do; lower it, ip link set %s mtu %u, or demand another mode",
		name, nic->link->facts.mtu, name, MTU_MOST);
}

static struct nic_params params_of(const struct nic *nic)
{
	const struct nm_port *port = nic->port;
	const struct nic_settings *settings = &nic->nics->daemon->config.nics;
	const struct nm_pool_geometry *bufs = &port->region->pool[NM_POOL_BUF];
	struct nic_params params = {
		.memory = os_mem_fd(port->region->mem),
		.umem_offset = bufs->offset - NM_NIC_HEADROOM,
		.umem_bytes = (uint64_t)bufs->count * bufs->size,
		.chunk = NM_NIC_BUF_SIZE,
		.sizes = {.fill = power_of_two(nic->per_queue),
			.completion = power_of_two(port->num_slots[NM_TX]),
			.rx = nic->rx_entries,
			.tx = power_of_two(port->num_slots[NM_TX])},
		.num_queues = nic->num_queues,
		.mode = nic_settings_mode_of(settings, nic->link->facts.ifname),
		.busy_poll_us = settings->busy_us,
		.busy_poll_budget = settings->busy_budget,
		.pass = settings->pass,
		.num_ip4 = settings->num_ip4,
		.num_ip6 = settings->num_ip6,
		.sg = nic->link->facts.mtu > MTU_MOST,
	};

	memcpy(params.ip4, settings->ip4, sizeof(params.ip4));
	memcpy(params.ip6, settings->ip6, sizeof(params.ip6));
	return params;
}

static int nic_start(struct nm_port *port, struct nm_error *err)
{
	struct nic *nic = port->priv;
	struct nic_params params;
	int error;

	free_queues(nic); /* of the last time that it was in use */
	nic_host_free(nic);
	error = check_start(nic, err);
	if (error)
		return error;
	params = params_of(nic);
	error = check_mtu(nic, params.mode, err);
	if (error)
		return error;
	nic->sg = params.sg;
	error = nic_pay(nic, nic->num_queues + port->num_host_rings[NM_RX],
		err); /* a socket each, and queues of the TAP */
	for (uint32_t i = 0; i < nic->num_queues && !error; i++) {
		error = make_queue(nic, &nic->queues[i], i);
		if (error)
			nm_error_set(err, error, "%s: no memory for its queues", port->name);
	}
	if (!error && nic_host_make(nic) != 0)
		error = nm_error_set(err, -ENOMEM, "%s: no memory for its host rings", port->name);
	if (error) {
		free_queues(nic);
		return error;
	}
	nic->asked = (struct nic_users){false, false};
	memset(nic->right, 0, sizeof(nic->right));
	nic->counted_lost = 0;
	nic->state = NIC_OPENING;
	nic_link_open(nic->link, &params);
	return 0;
}

/* The kernel goes on with buffers for a while: they wait until it has let go. */
static void nic_stop(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nic *nic = port->priv;

	nic_halt(nic);
	nic_close_link(nic);
	if (!nic->link && !nic->unproven)
		return;
	port->held_kept = true;
	nic->held = port->held_owner;
	nic->region = port->region;
	nm_region_get(nic->region);
}

static void nic_destroy(struct nm_port *port)
{
	struct nic *nic = port->priv;

	if (!nic)
		return; /* it was never complete */
	nic_host_free(nic);
	free_queues(nic);
	os_free(nic->queues);
	nic->queues = NULL;
	nic->port = NULL;
	nic_close_link(nic);
	nic_free_unused(nic);
}

static void nic_users_changed(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	nic_tell_users(port->priv);
}

static int txsync(struct nm_ring *ring)
{
	return unlikely(ring->host) ? nic_host_txsync(ring) : nic_txsync(ring);
}

static int rxsync(struct nm_ring *ring)
{
	if (unlikely(ring->host))
		return tap_rxsync(ring);
	nic_host_forward(ring);
	return nic_rxsync(ring);
}

static bool can_send(struct nm_ring *ring)
{
	return unlikely(ring->host) ? nic_host_can_send(ring) : nic_can_send(ring);
}

static bool wants_room(struct nm_ring *ring)
{
	return unlikely(ring->host) ? tap_wants_room(ring) : nic_wants_room(ring);
}

static void ring_reset(struct nm_ring *ring)
{
	if (!ring->host)
		nic_ring_reset(ring);
}

static void nic_pause(struct nm_port *port, bool on)
{
	struct nic *nic = port->priv;

	os_assert(on || nic->paused > 0);
	nic->paused += on ? 1 : -1u;
	if (nic->state != NIC_RUNNING || nic->paused > 1 || (nic->paused == 1 && !on))
		return;
	for (uint32_t i = 0; i < nic->num_queues; i++)
		nic_set_live(&nic->queues[i], !on);
	for (uint32_t i = 0; i < nic->num_queues && !on; i++)
		for (int dir = 0; dir < NM_DIRS; dir++)
			os_wakeup_signal(&nic->queues[i].ring[dir]->wakeup);
}

/* Of the buffers that a queue has posted, or is sending. */
static uint32_t list_queue(
	const struct nic_queue *q, int dir, uint32_t bufs, uint32_t *refs, uint32_t room)
{
	uint32_t n = 0;

	if (!q->posted || !q->sent || !q->stale)
		return 0;
	for (uint32_t i = 0; i < bufs && n < room; i++)
		if (dir == NM_RX ? q->posted[i] : q->stale[i])
			refs[n++] = i;
	for (uint32_t i = 0; i < q->ring[NM_TX]->num_slots && n < room && dir == NM_TX; i++)
		if (q->sent[i])
			refs[n++] = q->sent[i];
	return n;
}

static uint32_t nic_held(struct nm_port *port, int dir, uint32_t *refs, uint32_t room)
{
	const struct nic *nic = port->priv;
	uint32_t n = 0;

	for (uint32_t i = 0; i < nic->num_queues; i++)
		n += list_queue(&nic->queues[i], dir, port->region->pool[NM_POOL_BUF].count,
			refs + n, room - n);
	return n;
}

static const struct nm_port_ops nic_ops = {
	.kind = "nic",
	.start = nic_start,
	.stop = nic_stop,
	.destroy = nic_destroy,
	.users_changed = nic_users_changed,
	.txsync = txsync,
	.rxsync = rxsync,
	.can_send = can_send,
	.wants_room = wants_room,
	.ring_reset = ring_reset,
	.pause = nic_pause,
	.held = nic_held,
	.nic_memory = true,
	.chosen_host_rings = true,
	.chosen_slots = true,
};

bool nic_is(const struct nm_port *port)
{
	return port->ops == &nic_ops;
}

/* ---- the port ------------------------------------------------------------------------------------------ */

static uint32_t slots_for(uint32_t hardware)
{
	if (hardware < SLOTS_LEAST)
		return SLOTS_DEFAULT;
	return hardware < SLOTS_MOST ? hardware : SLOTS_MOST;
}

/*
 * A driver that finds no chunk in its fill ring drops packets; igb uses one a second time (Linux up to 7.3 at least). So
 * there is always one for each entry of the device's ring, at its largest there, and one for each of the socket's.
 */
static uint32_t buffers_for(const struct nic_facts *facts, uint32_t rx_entries)
{
	bool at_most = strcmp(facts->driver, "igb") == 0 || strcmp(facts->driver, "igc") == 0;

	return rx_entries + (at_most ? facts->hw_rx_max : facts->hw_rx) + SPARE;
}

/* A ring each way for each. */
static uint32_t queues_of(const struct nic_facts *facts)
{
	uint32_t queues = facts->queues < facts->tx_queues ? facts->queues : facts->tx_queues;

	return queues < NM_RINGS_MAX ? queues : NM_RINGS_MAX;
}

int nic_make_port(struct nic *nic, struct nm_error *err)
{
	const struct nic_facts *facts = &nic->link->facts;
	uint32_t queues = queues_of(facts);
	struct nm_core *core = &nic->nics->daemon->core;
	struct nm_shape shape = {
		.host_rings = {1, 1}, .slots = {slots_for(facts->hw_tx), slots_for(facts->hw_rx)}};

	if (queues == 0)
		return nm_error_set(err, -EOPNOTSUPP,
			"%s: has no queue that both receives and sends (%u and %u)", nic->name,
			facts->queues, facts->tx_queues);
	nic->num_queues = queues;
	shape.rings[NM_TX] = shape.rings[NM_RX] = nic->num_queues;
	nic->queues = os_zalloc(nic->num_queues * sizeof(*nic->queues));
	if (!nic->queues)
		return nm_error_set(err, -ENOMEM, "%s: out of memory", nic->name);
	nic->port = nm_port_add_locked(core, nic->name, &nic_ops, &shape, err);
	if (!nic->port) {
		os_free(nic->queues);
		nic->queues = NULL;
		return err->code;
	}
	nic->port->priv = nic;
	nic->port->ephemeral = true;
	nic->rx_entries = power_of_two(shape.slots[NM_RX]);
	nic->per_queue = buffers_for(facts, nic->rx_entries);
	nic->port->held_bufs = nic->num_queues * nic->per_queue;
	for (uint32_t i = 0; i < nic->num_queues; i++)
		for (int dir = 0; dir < NM_DIRS; dir++)
			nic->port->rings[dir][i].priv = &nic->queues[i];
	nic_take_facts(nic);
	return 0;
}

int nic_check_port(struct nic *nic, struct nm_error *err)
{
	uint32_t queues = queues_of(&nic->link->facts);

	nic_take_facts(nic);
	if (queues == nic->num_queues)
		return 0;
	return nm_error_set(err, -EAGAIN,
		"%s: it has %u queues now, and had %u when its port was made; end its pipes and monitors, and try again",
		nic->name, queues, nic->num_queues);
}

void nic_take_facts(struct nic *nic)
{
	const struct nic_facts *facts = &nic->link->facts;
	uint32_t longest = facts->mtu < SENT_MOST ? facts->mtu + FRAME_EXTRA : SENT_MOST;

	longest = longest < SENT_MOST ? longest : SENT_MOST;
	OS_STORE(&nic->carrier, facts->up && facts->carrier);
	OS_STORE(&nic->mtu, facts->mtu);
	for (uint32_t i = 0; i < nic->num_queues && nic->queues; i++)
		OS_STORE(&nic->queues[i].longest, longest);
}

void nic_warn(struct nic *nic)
{
	const struct nic_facts *facts = &nic->link->facts;

	nic->warned_queues = facts->queues;
	nic->warned_mtu = facts->mtu;
	if (facts->queues > nic->num_queues)
		os_log(OS_LOG_WARN,
			"%s: the device has %u queues, the port %u: what comes to the others goes to the host; fewer are set by ethtool -L",
			nic->name, facts->queues, nic->num_queues);
	if (facts->mtu > MTU_MOST && !nic->sg)
		os_log(OS_LOG_WARN,
			"%s: an MTU of %u; packets of more than %u bytes, with which the MTU would be %u, are lost until the port is opened anew",
			nic->name, facts->mtu, NM_NIC_BUF_SIZE - NM_NIC_HEADROOM, MTU_MOST);
	if (facts->mtu > SENT_MOST - NIC_FRAME_EXTRA && nic->sg)
		os_log(OS_LOG_WARN,
			"%s: an MTU of %u; packets of more than %u bytes, with which the MTU would be %u, can't be sent: not all drivers take more than %u buffers of one",
			nic->name, facts->mtu, SENT_MOST, SENT_MOST - NIC_FRAME_EXTRA,
			NIC_CHUNKS_SENT);
}

void nic_fill(struct nic *nic)
{
	struct nm_port *port = nic->port;
	uint32_t at = NM_BUFS_RESERVED;

	for (uint32_t i = 0; i < nic->num_queues; i++) {
		struct nic_queue *q = &nic->queues[i];
		uint32_t n, index;

		q->xsk = &nic->link->queues[i];
		memset(q->posted, 0, port->region->pool[NM_POOL_BUF].count);
		q->num_posted = 0;
		n = xsk_room(&q->xsk->fill, nic->per_queue);
		while (q->num_posted < n &&
			(index = nm_bufown_next(port->region, port->held_owner, &at)) != 0)
			nic_post(q, q->num_posted, index);
		xsk_submit(&q->xsk->fill, q->num_posted);
	}
}

int nic_go(struct nic *nic)
{
	int error = 0;

	for (uint32_t i = 0; i < nic->num_queues && !error; i++) {
		struct nic_queue *q = &nic->queues[i];

		q->poll.fd = q->xsk->fd;
		q->poll.rx = q->ring[NM_RX];
		q->poll.tx = q->ring[NM_TX];
		error = nic_poll_add(&q->poll);
		if (!error && nic->paused == 0)
			nic_set_live(q, true);
	}
	for (uint32_t i = 0; i < nic->num_queues; i++)
		for (int dir = 0; dir < NM_DIRS; dir++)
			os_wakeup_signal(&nic->queues[i].ring[dir]->wakeup);
	return error;
}

void nic_halt(struct nic *nic)
{
	for (uint32_t i = 0; i < nic->num_queues && nic->queues; i++) {
		if (nic->queues[i].ring[NM_TX])
			nic_set_live(&nic->queues[i], false);
		nic_poll_remove(&nic->queues[i].poll);
	}
	nic_host_halt(nic);
}

/* ---- status ---------------------------------------------------------------------------------------------- */

/* What is there beyond what has been counted. */
static void count_more(struct nm_ring *rx, enum nm_drop cause, uint64_t now, uint64_t *counted)
{
	nm_count(&rx->stats.drops[cause], now - *counted);
	*counted = now;
}

/* What the kernel has lost belongs to a ring like other drops. Who forwards (nic_host.c) counts there, too, with this lock. */
static void count_losses(struct nic_queue *q, struct xsk_stats *sum)
{
	struct nm_ring *rx = q->ring[NM_RX];
	struct xsk_stats s;

	if (!q->xsk || !q->live[NM_RX] || xsk_stats(q->xsk, &s) != 0)
		return;
	nm_produce_lock(rx);
	count_more(rx, NM_DROP_RX_FULL, s.rx_ring_full, &q->counted_full);
	count_more(rx, NM_DROP_NO_MEMORY, s.rx_dropped, &q->counted_dropped);
	nm_produce_unlock(rx);
	sum->rx_dropped += s.rx_dropped;
	sum->rx_ring_full += s.rx_ring_full;
	sum->fill_empty += s.fill_empty;
	sum->rx_invalid += s.rx_invalid;
	sum->tx_invalid += s.tx_invalid;
}

/* What host rings were too slow for the kernel counts for all of them together: the first one has it. */
static struct nic_counters count_host(struct nic *nic)
{
	struct nm_port *port = nic->port;
	struct nic_counters now = {0};
	struct nm_ring *rx;

	if (!nic->link || !nic->link->counters)
		return now;
	now.dropped = OS_LOAD(&nic->link->counters->dropped);
	now.lost = OS_LOAD(&nic->link->counters->lost);
	if (port->num_host_rings[NM_RX] == 0 || now.lost < nic->counted_lost)
		return now;
	rx = &port->rings[NM_RX][port->num_rings[NM_RX]];
	nm_produce_lock(rx);
	count_more(rx, NM_DROP_RX_FULL, now.lost, &nic->counted_lost);
	nm_produce_unlock(rx);
	return now;
}

json_t *nic_json(const struct nm_port *port)
{
	static const char *const states[] = {"asked", "idle", "opening", "running", "closing"};
	static const char *const modes[NIC_MODES] = {"", "zero-copy", "native", "generic"};
	struct nic *nic = port->priv;
	struct nic_counters host = count_host(nic);
	struct xsk_stats sum = {0};

	for (uint32_t i = 0; i < nic->num_queues && nic->state == NIC_RUNNING; i++)
		count_losses(&nic->queues[i], &sum);
	if (!nic->link)
		return json_pack("{s:s, s:s}", "state", states[nic->state], "error",
			nic->failed.code ? nic->failed.text : "");
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:i, s:I, s:I, s:s, s:i, s:{s:I, s:I, s:I, s:I, s:I}}",
		"state", states[nic->state], "mode",
		modes[nic->state == NIC_RUNNING ? nic->link->mode : 0], "why_not_better",
		nic->state == NIC_RUNNING ? nic->link->why : "", "driver", nic->link->facts.driver,
		"link", nic->carrier, "mtu", (int)nic->link->facts.mtu, "queues",
		(int)nic->num_queues, "device_queues", (int)nic->link->facts.queues, "host_dropped",
		(json_int_t)host.dropped, "host_lost", (json_int_t)host.lost, "host_interface",
		nic->host.started ? nic->host.ifname : "", "deferred_queues",
		nic->state == NIC_RUNNING ? (int)nic->link->deferred : 0, "kernel", "rx_dropped",
		(json_int_t)sum.rx_dropped, "rx_ring_full", (json_int_t)sum.rx_ring_full,
		"fill_empty", (json_int_t)sum.fill_empty, "rx_invalid", (json_int_t)sum.rx_invalid,
		"tx_invalid", (json_int_t)sum.tx_invalid);
}
