/* SPDX-License-Identifier: BSD-2-Clause */
#include "pipe_internal.h"
#include "monitor.h"
#include "null.h"
#include "slots.h"
#include "vale.h"

static void each_lane(struct nm_port *port, void (*fn)(struct lane *lane))
{
	struct pipe *pipe = port->priv;

	for (uint32_t i = 0; i < pipe->lanes; i++)
		fn(&pipe->lane[i]);
}

/* From the store on its thread moves nothing more, and so has the lock for a moment only: who pauses
 * gets it at once, where a busy thread would let nobody else have it. */
static void lane_pause(struct lane *lane)
{
	OS_STORE(&lane->paused, lane->paused + 1);
	nm_produce_lock(lane->rx); /* what it moves just now is done */
	nm_produce_unlock(lane->rx);
}

/* What came up meanwhile is done now, unless another caller has paused the lane, too. */
static void lane_resume(struct lane *lane)
{
	int moved;

	nm_produce_lock(lane->rx);
	os_assert(lane->paused > 0);
	OS_STORE(&lane->paused, lane->paused - 1);
	moved = nm_pipe_move(lane);
	nm_produce_unlock(lane->rx);
	if (moved & MOVED_RX)
		nm_ring_signal_arrived(lane->rx);
	if (moved & MOVED_TX)
		os_wakeup_signal(&lane->tx->wakeup);
}

static void pipe_pause(struct nm_port *port, bool on)
{
	each_lane(port, on ? lane_pause : lane_resume);
}

/* The lock is held, or no client is bound. What the receiver has not given back is not free, whichever of the
 * two rings begins anew: of rx itself, all is given back. */
static void pipe_ring_reset(struct nm_ring *ring) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct lane *lane = ring->priv;

	if (ring->dir == NM_TX) {
		lane->head = 0;
		OS_STORE(&lane->moved, 0);
	}
	OS_STORE_RELEASE(&lane->lead,
		nm_ring_distance(lane->rx->produce.hwtail, lane->moved, lane->rx->num_slots));
	if (ring->dir == NM_TX)
		nm_ring_set_tail(ring, nm_ring_before(nm_pipe_free(lane), ring->num_slots));
	else
		os_wakeup_signal(&lane->tx->wakeup);
}

/* The sender is gone, and with it the end of a packet that it began. */
static void lane_drop_half(struct lane *lane)
{
	struct nm_ring *tx = lane->tx;
	struct nm_slots slots;
	uint32_t whole;

	if (OS_LOAD(&tx->users) > 0 || tx->port->dead)
		return;
	nm_produce_lock(lane->rx);
	nm_slots_init_ring(&slots, tx, 0);
	whole = nm_slots_whole(&slots, lane->moved, lane->head);
	if (whole == lane->moved && tx->dropping) {
		tx->dropping = 0; /* that one was counted */
	} else if (whole != lane->head) {
		nm_count(&tx->stats.packets, 1);
		nm_count(&tx->stats.drops[NM_DROP_FRAGMENTS], 1);
	}
	lane->head = tx->head = tx->cur = whole;
	nm_produce_unlock(lane->rx);
}

static void pipe_users_changed(struct nm_port *port)
{
	each_lane(port, lane_drop_half);
}

/* One length for both ends; -EBUSY while the other end has clients. */
static int pipe_set_hdr_len(struct nm_port *port, uint32_t bytes) OS_REQUIRES(NM_CORE_LOCK)
{
	if (!port->peer || port->peer->clients > 0)
		return -EBUSY;
	port->hdr_len = bytes;
	port->peer->hdr_len = bytes;
	nm_monitor_hdr_changed_locked(port->peer);
	return 0;
}

static void pipe_destroy(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct pipe *pipe = port->priv;

	os_assert(!pipe || pipe->ends > 0);
	if (!pipe || --pipe->ends > 0)
		return;
	nm_port_unpin_locked(pipe->parent);
	os_free(pipe);
}

static const struct nm_port_ops pipe_ops = {
	.kind = "pipe",
	.destroy = pipe_destroy,
	.set_hdr_len = pipe_set_hdr_len,
	.users_changed = pipe_users_changed,
	.txsync = nm_pipe_txsync,
	.rxsync = nm_pipe_rxsync,
	.can_send = nm_pipe_can_send,
	.wants_room = nm_pipe_wants_room,
	.pause = pipe_pause,
	.ring_reset = pipe_ring_reset,
	.shares_region = true,
};

/* ---- making one ------------------------------------------------------------------------- */

/* The parent, made if need be. The caller pins it. */
static struct nm_port *get_parent(struct nm_core *core, void *ns, const struct nm_name *name,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	static const uint32_t any[NM_DIRS];
	struct nm_port *parent;

	if (name->kind == NM_NAME_VALE)
		return nm_vale_port_get_locked(core, ns, name->base, name->sw_name, any, any, err);
	parent = nm_port_find_in_locked(core, ns, name->base);
	if (!parent)
		parent = nm_null_placeholder_locked(core, ns, name->base, err);
	return parent;
}

static struct nm_port *find_end(const struct nm_port *parent, const struct nm_name *name)
	OS_REQUIRES(NM_CORE_LOCK)
{
	for (struct nm_port *port = parent->core->ports; port; port = port->next) {
		const struct pipe *pipe = port->priv;

		if (port->ops == &pipe_ops && !port->dead && pipe && pipe->parent == parent &&
			strcmp(pipe->id, name->pipe_id) == 0 &&
			(pipe->master == port) == (name->pipe == NM_PIPE_MASTER))
			return port;
	}
	return NULL;
}

struct nm_port *nm_pipe_find_locked(struct nm_core *core, void *ns, const char *text)
{
	const struct nm_port *parent;
	struct nm_error err;
	struct nm_name name;

	nm_core_assert_locked(core);
	if (nm_name_parse(text, &name, &err) != 0 || name.pipe == NM_PIPE_NONE)
		return NULL;
	parent = nm_port_find_in_locked(core, ns, name.base);
	if (!parent)
		parent = nm_null_find_placeholder_locked(core, ns, name.base);
	return parent ? find_end(parent, &name) : NULL;
}

static void name_end(char text[NETMAP_REQ_IFNAMSIZ], const char *base, bool master, const char *id)
{
	os_snprintf(text, NETMAP_REQ_IFNAMSIZ, "%s%c%s", base, master ? '{' : '}', id);
}

void nm_pipe_parent_renamed_locked(const struct nm_port *parent)
{
	nm_core_assert_locked(parent->core);
	for (struct nm_port *port = parent->core->ports; port; port = port->next) {
		const struct pipe *pipe = port->priv;

		if (port->ops == &pipe_ops && !port->dead && pipe && pipe->parent == parent)
			name_end(port->name, parent->name, pipe->master == port, pipe->id);
	}
}

/* Rings and slots of the end that is opened; those of the other are the same the other way. */
static void shape_of(const struct nm_bind *bind, const struct nm_port *parent,
	struct nm_shape *mine, struct nm_shape *theirs)
{
	*mine = *theirs = (struct nm_shape){0};
	for (int dir = 0; dir < NM_DIRS; dir++) {
		mine->rings[dir] = bind->num_rings[dir];
		mine->slots[dir] =
			bind->num_slots[dir] ? bind->num_slots[dir] : parent->num_slots[dir];
	}
	nm_shape_complete(mine);
	for (int dir = 0; dir < NM_DIRS; dir++) {
		theirs->rings[!dir] = mine->rings[dir];
		theirs->slots[!dir] = mine->slots[dir];
	}
}

static struct lane *join(struct lane *lane, struct nm_port *from, struct nm_port *to)
{
	for (uint32_t i = 0; i < from->num_rings[NM_TX]; i++, lane++) {
		lane->tx = &from->rings[NM_TX][i];
		lane->rx = &to->rings[NM_RX][i];
		lane->tx->priv = lane->rx->priv = lane;
	}
	return lane;
}

static void join_ends(struct pipe *pipe, struct nm_port *a, struct nm_port *b)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *ends[] = {a, b};

	pipe->ends = 2;
	pipe->lanes = a->num_rings[NM_TX] + b->num_rings[NM_TX];
	join(join(pipe->lane, a, b), b, a);
	for (int i = 0; i < 2; i++) {
		ends[i]->priv = pipe;
		ends[i]->peer = ends[!i];
		ends[i]->parent = pipe->parent;
		ends[i]->ephemeral = true;
	}
	nm_port_pin_locked(pipe->parent);
}

/* The end that is asked for, and its peer; what was made is freed again on failure. */
static struct nm_port *make_ends(struct nm_port *parent, const struct nm_name *name,
	const struct nm_shape *mine, const struct nm_shape *theirs, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK)
{
	bool master = name->pipe == NM_PIPE_MASTER;
	char text[2][NETMAP_REQ_IFNAMSIZ];
	struct nm_port *a, *b = NULL;
	struct pipe *pipe;

	name_end(text[0], name->base, master, name->pipe_id);
	name_end(text[1], name->base, !master, name->pipe_id);
	a = nm_port_add_unnamed_locked(parent->core, text[0], &pipe_ops, mine, err);
	if (a)
		b = nm_port_add_unnamed_locked(parent->core, text[1], &pipe_ops, theirs, err);
	pipe = b ? os_zalloc(sizeof(*pipe) +
			     (mine->rings[NM_TX] + mine->rings[NM_RX]) * sizeof(struct lane))
		 : NULL;
	if (pipe) {
		pipe->parent = parent;
		pipe->master = master ? a : b;
		memcpy(pipe->id, name->pipe_id, sizeof(pipe->id));
		join_ends(pipe, a, b);
		return a;
	}
	if (b) {
		nm_error_set(err, -ENOMEM, "%s: no memory for a pipe", text[0]);
		nm_port_remove_locked(b);
	}
	if (a)
		nm_port_remove_locked(a);
	return NULL;
}

struct nm_port *nm_pipe_get_locked(struct nm_core *core, void *ns, const struct nm_name *name,
	const struct nm_bind *bind, struct nm_error *err)
{
	struct nm_port *parent = get_parent(core, ns, name, err), *port;
	struct nm_shape mine, theirs;

	nm_core_assert_locked(core);
	if (!parent)
		return NULL;
	port = find_end(parent, name);
	if (port)
		return port;
	shape_of(bind, parent, &mine, &theirs);
	port = make_ends(parent, name, &mine, &theirs, err);
	if (!port)
		nm_port_unused_locked(parent);
	return port;
}
