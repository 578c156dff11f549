/* SPDX-License-Identifier: BSD-2-Clause */
/* The port kind "monitor": how one is made, hung on the rings it watches, and taken off. */
#include "monitor_internal.h"

enum {
	TX_SLOTS = 16, /* of the tx ring, which leads nowhere */
};

/* priv of a monitor port. */
struct monitor_port {
	struct nm_port *watched, *peer; /* held; peer: of a pipe end, or NULL */
	struct nm_monitor *links;
	uint32_t num_links, rx_links; /* the first of those that watch rx rings */
};

static void link_monitor(struct nm_monitor *m)
{
	nm_monitors_lock(m->watched);
	m->state = MONITOR_START;
	OS_STORE(&m->at,
		OS_LOAD(&m->watched->tail)); /* rx: what its application has been told of is past */
	m->next = m->watched->monitors;
	OS_STORE(&m->watched->monitors, m);
	nm_monitors_unlock(m->watched);
}

static void unlink_monitor(struct nm_monitor *m)
{
	struct nm_monitor *next, *before = NULL;

	nm_monitors_lock(m->watched);
	for (next = m->watched->monitors; next && next != m; next = next->next)
		before = next;
	if (next && before)
		before->next = m->next;
	else if (next)
		OS_STORE(&m->watched->monitors, m->next);
	nm_monitors_unlock(m->watched);
}

static int monitor_start(struct nm_port *port, struct nm_error *err)
{
	struct monitor_port *mp = port->priv;

	for (uint32_t i = 0; i < mp->num_links; i++)
		link_monitor(&mp->links[i]);
	return 0;
}

/* unlink_monitor() takes the link's lock: afterwards no thread is in nm_monitor_sync() with it. */
static void monitor_stop(struct nm_port *port)
{
	struct monitor_port *mp = port->priv;

	for (uint32_t i = 0; i < mp->num_links; i++)
		unlink_monitor(&mp->links[i]);
}

/* While buffer owners are reconciled. The lock was taken, so no exchange is under way. */
static void monitor_pause(struct nm_port *port, bool on)
{
	struct monitor_port *mp = port->priv;

	for (uint32_t i = 0; i < mp->num_links; i++) {
		struct nm_monitor *m = &mp->links[i];

		nm_monitors_lock(m->watched);
		os_assert(on || !is_zcopy(m) || m->paused > 0);
		if (is_zcopy(m))
			m->paused = on ? m->paused + 1 : m->paused - 1;
		nm_monitors_unlock(m->watched);
	}
}

static void monitor_destroy(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct monitor_port *mp = port->priv;

	if (mp->peer)
		nm_port_unpin_locked(mp->peer);
	nm_port_unpin_locked(mp->watched);
	os_free(mp->links);
	os_free(mp);
}

/* The link of a ring that shows what has arrived, or NULL. Rings of a port: tx links, then rx links. */
static struct nm_monitor *arrivals(const struct nm_ring *ring)
{
	const struct monitor_port *mp = ring->port->priv;
	uint32_t i = mp->rx_links + ring->id;

	if (i >= mp->num_links || mp->links[i].how != WATCH_RX_COPY)
		return NULL;
	return &mp->links[i];
}

static bool monitor_wants_room(struct nm_ring *ring)
{
	const struct nm_monitor *m = arrivals(ring);

	return m && nm_monitor_has_news(m);
}

static int monitor_rxsync(struct nm_ring *ring)
{
	const struct monitor_port *mp = ring->port->priv;
	struct nm_monitor *m = arrivals(ring);

	if (m && nm_monitor_has_news(m))
		nm_monitor_look(m);
	nm_ring_rxsync_produced(ring);
	return unlikely(ring->tail == ring->head && OS_LOAD(&mp->watched->dead)) ? -ENXIO : 0;
}

static const struct nm_port_ops monitor_ops = {
	.kind = "monitor",
	.start = monitor_start,
	.stop = monitor_stop,
	.destroy = monitor_destroy,
	.pause = monitor_pause,
	.rxsync = monitor_rxsync,
	.wants_room = monitor_wants_room,
	.receives_only = true, /* so there is no txsync */
};

/* ---- making one ------------------------------------------------------------------------- */

/* The rings of the watched port, per direction; count 0: that direction is not watched. */
struct choice {
	uint32_t first[NM_DIRS], count[NM_DIRS], most;
	bool zcopy;
};

static int choose_dir(const struct nm_port *watched, const struct nm_bind *bind, enum nm_dir dir,
	struct choice *c)
{
	if (!nm_mode_rings(watched, bind, dir, &c->first[dir], &c->count[dir]) ||
		c->count[dir] == 0)
		return -EINVAL;
	if (c->count[dir] > c->most)
		c->most = c->count[dir];
	return 0;
}

static int choose(const struct nm_port *watched, const struct nm_bind *bind, struct choice *c)
{
	static const uint64_t flag[NM_DIRS] = {NR_MONITOR_TX, NR_MONITOR_RX};
	bool both = !(bind->flags & (NR_MONITOR_TX | NR_MONITOR_RX));
	int error = 0;

	*c = (struct choice){.zcopy = (bind->flags & NR_ZCOPY_MON) != 0};
	for (int dir = 0; dir < NM_DIRS && !error; dir++)
		if (both || (bind->flags & flag[dir]))
			error = choose_dir(watched, bind, dir, c);
	return !error && c->most > NM_RINGS_MAX ? -EINVAL : error;
}

static bool watches_zcopy(const struct monitor_port *mp, const struct nm_ring *ring)
{
	for (uint32_t i = 0; i < mp->num_links; i++)
		if (mp->links[i].watched == ring && is_zcopy(&mp->links[i]))
			return true;
	return false;
}

/* Or will have, when one that is being made (client.h) is linked. */
static bool has_zcopy(const struct nm_ring *ring) OS_REQUIRES(NM_CORE_LOCK)
{
	const struct nm_port *port = ring->port->core->ports;

	while (port && !(port->ops == &monitor_ops && watches_zcopy(port->priv, ring)))
		port = port->next;
	return port != NULL;
}

/* A link for ring i of those that are watched in a direction. */
static struct nm_monitor make_link(
	struct nm_port *watched, const struct choice *c, enum nm_dir dir, uint32_t i)
{
	struct nm_monitor m = {
		.watched = &watched->rings[dir][c->first[dir] + i],
		.how = dir == NM_TX ? WATCH_TX_COPY : WATCH_RX_COPY,
		.flags = dir == NM_TX ? NS_TXMON : 0,
	};

	if (!c->zcopy)
		return m;
	m.how = dir == NM_TX ? WATCH_TX_ZCOPY : WATCH_RX_ZCOPY;
	if (dir == NM_TX && watched->peer) {
		m.how = WATCH_RX_ZCOPY;
		m.watched = &watched->peer->rings[NM_RX][c->first[dir] + i];
	}
	return m;
}

static int make_links(struct monitor_port *mp, const struct choice *c) OS_REQUIRES(NM_CORE_LOCK)
{
	mp->links = os_zalloc((c->count[NM_TX] + c->count[NM_RX]) * sizeof(*mp->links));
	if (!mp->links)
		return -ENOMEM;
	mp->rx_links = c->count[NM_TX];
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < c->count[dir]; i++) {
			struct nm_monitor *m = &mp->links[mp->num_links++];

			*m = make_link(mp->watched, c, dir, i);
			if (c->zcopy && has_zcopy(m->watched))
				return -EBUSY;
		}
	}
	return 0;
}

static uint32_t choose_slots(
	const struct nm_port *watched, const struct nm_bind *bind, const struct choice *c)
{
	uint32_t slots = bind->num_slots[NM_RX];

	for (int dir = 0; dir < NM_DIRS && !bind->num_slots[NM_RX]; dir++)
		if (c->count[dir] && watched->num_slots[dir] > slots)
			slots = watched->num_slots[dir];
	return slots;
}

static struct nm_port *add_port(struct monitor_port *mp, const struct nm_bind *bind,
	const struct choice *c, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *watched = mp->watched;
	struct nm_shape shape = {
		.rings = {1, c->most},
		.slots = {bind->num_slots[NM_TX] ? bind->num_slots[NM_TX] : TX_SLOTS,
			choose_slots(watched, bind, c)},
	};
	char name[NETMAP_REQ_IFNAMSIZ];
	struct nm_port *port;

	os_snprintf(name, sizeof(name), "%.58s/%s%s%s", watched->name, c->zcopy ? "z" : "",
		c->count[NM_TX] ? "t" : "", c->count[NM_RX] ? "r" : "");
	port = nm_port_add_unnamed_locked(watched->core, name, &monitor_ops, &shape, err);
	if (!port)
		return NULL;
	port->ephemeral = true;
	port->hdr_len = watched->hdr_len;
	port->priv = mp;
	if (c->zcopy) {
		port->parent = watched;
		port->same_region = true;
		port->offsets = watched->offsets;
	}
	for (uint32_t i = 0; i < mp->num_links; i++) {
		struct nm_monitor *m = &mp->links[i];
		uint32_t nth = i < c->count[NM_TX] ? i : i - c->count[NM_TX];

		m->to = &port->rings[NM_RX][nth];
	}
	return port;
}

struct nm_port *nm_monitor_make_locked(
	struct nm_port *watched, const struct nm_bind *bind, struct nm_error *err)
{
	struct monitor_port *mp = NULL;
	struct nm_port *port = NULL;
	struct choice c;
	int error = -ENOMEM;

	nm_core_assert_locked(watched->core);
	if (nm_port_admit_locked(watched, err) != 0)
		return NULL;
	if (watched->ops == &monitor_ops) {
		nm_error_set(err, -EINVAL, "%s: a monitor can't be watched", watched->name);
		return NULL;
	}
	if (choose(watched, bind, &c) != 0) {
		nm_error_set(err, -EINVAL,
			"%s: no such rings to watch: mode %u, ring %u; the port has %u tx and %u rx rings, %u and %u host rings",
			watched->name, bind->mode, bind->ringid, watched->num_rings[NM_TX],
			watched->num_rings[NM_RX], watched->num_host_rings[NM_TX],
			watched->num_host_rings[NM_RX]);
		return NULL;
	}
	if (c.zcopy && watched->guest_part) {
		nm_error_set(err, -EBUSY,
			"%s: its guest has a part of memory region %u, and a zero-copy monitor would exchange buffers with it; one that copies can watch it",
			watched->name, watched->region->id);
		return NULL;
	}
	mp = os_zalloc(sizeof(*mp));
	if (mp) {
		mp->watched = watched;
		mp->peer = watched->peer;
		error = make_links(mp, &c);
	}
	if (!error) {
		port = add_port(mp, bind, &c, err);
		error = port ? 0 : err->code;
	}
	if (port) {
		nm_port_pin_locked(watched);
		if (mp->peer)
			nm_port_pin_locked(mp->peer);
		return port;
	}
	if (error == -EBUSY)
		nm_error_set(err, error,
			"%s: another zero-copy monitor watches one of these rings; copy monitors can be several",
			watched->name);
	else
		nm_error_set(err, error, "%s: no monitor of %u rings can be made: error %d",
			watched->name, c.most, -error);
	if (mp)
		os_free(mp->links);
	os_free(mp);
	return NULL;
}

/* ---- what happens to the watched port ----------------------------------------------------- */

void nm_monitor_arrived(struct nm_ring *ring)
{
	nm_monitors_lock(ring);
	for (const struct nm_monitor *m = ring->monitors; m; m = m->next)
		if (m->how == WATCH_RX_COPY)
			os_wakeup_signal(&m->to->wakeup);
	nm_monitors_unlock(ring);
}

void nm_monitor_rewind(struct nm_ring *ring)
{
	for (struct nm_monitor *m = ring->monitors; m; m = m->next) {
		if (m->how != WATCH_RX_COPY)
			continue;
		m->state = MONITOR_START;
		OS_STORE(&m->at, OS_LOAD(&ring->tail));
	}
}

void nm_monitor_keep_off(struct nm_ring *ring)
{
	nm_monitors_lock(ring);
	OS_STORE(&ring->slots, NULL);
	ring->tail = 0;
	OS_STORE(&ring->produce.hwtail, 0);
	nm_monitor_rewind(ring);
	nm_monitors_unlock(ring);
}

void nm_monitor_ended_locked(struct nm_port *watched)
{
	nm_core_assert_locked(watched->core);
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < nm_port_all_rings(watched, dir); i++) {
			struct nm_ring *ring = &watched->rings[dir][i];

			nm_monitors_lock(ring);
			for (struct nm_monitor *m = ring->monitors; m; m = m->next)
				os_wakeup_signal(&m->to->wakeup);
			nm_monitors_unlock(ring);
		}
	}
}

void nm_monitor_hdr_changed_locked(const struct nm_port *watched)
{
	nm_core_assert_locked(watched->core);
	for (struct nm_port *port = watched->core->ports; port; port = port->next) {
		const struct monitor_port *mp = port->priv;

		if (port->ops == &monitor_ops && mp->watched == watched)
			port->hdr_len = watched->hdr_len;
	}
}
