/* SPDX-License-Identifier: BSD-2-Clause */
#include "pipe.h"
#include "monitor.h"
#include "null.h"
#include "slots.h"
#include "vale.h"

enum { PREFETCH_AHEAD = 16 }; /* slots */

/* One direction of a pair of rings. priv of both rings. Its lock is the produce.lock of rx. */
struct lane {
	struct nm_ring *tx, *rx;

	/* Of tx, as its thread released it, which alone changes it. */
	uint32_t head OS_GUARDED_BY(NM_PRODUCE_LOCK);
	/* Slots below are done: tx's hwcur. Its thread reads it without the lock. */
	uint32_t moved OS_GUARDED_BY(NM_PRODUCE_LOCK);
	uint32_t paused OS_GUARDED_BY(NM_PRODUCE_LOCK); /* by so many */

	uint32_t blocked __attribute__((aligned(NM_CACHE_LINE))); /* a packet waits for room */
};

/* A pipe; priv of both ends. */
struct pipe {
	struct nm_port *parent; /* held */
	uint32_t ends;          /* that exist */
	uint32_t lanes;
	struct lane lane[];
};

/* ---- moving packets ------------------------------------------------------------------- */

/* A lane while its lock is held. Both rings lie in one region. */
struct move {
	struct lane *lane;
	struct nm_ring *tx, *rx;
	struct nm_slots slots;                  /* of tx, with the gap that the receiver wants */
	uint32_t from, end;                     /* tx slots that are not done */
	uint32_t to, room;                      /* next rx slot to fill, and how many are free */
	uint64_t packets, bytes, taken, copies; /* delivered; taken from tx */
	bool waiting;                           /* the next packet needs more room than there is */
};

static void count_both(struct move *m, enum nm_drop cause)
{
	m->tx->stats.drops[cause]++;
	m->rx->stats.drops[cause]++;
}

static void look_for_room(struct move *m) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	m->rx->produce.hwcur_seen = OS_LOAD_ACQUIRE(&m->rx->hwcur);
	m->room = nm_ring_room(m->rx, m->to);
}

/* Is there room for `slots`? If not, `blocked` is set, and whoever makes room will see it. */
static bool have_room(struct move *m, uint32_t slots) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	if (likely(m->room >= slots))
		return true;
	look_for_room(m);
	if (m->room >= slots)
		return true;
	OS_STORE(&m->lane->blocked, 1);
	os_mb(); /* pairs with the one in pipe_rxsync() */
	look_for_room(m);
	m->waiting = m->room < slots;
	return !m->waiting;
}

/* One slot with its buffer to the receiver, the receiver's buffer back. */
static inline void exchange(struct move *m, uint32_t from, uint32_t to, uint64_t offset,
	struct nm_slot_copy slot, uint32_t theirs)
{
	struct netmap_slot *rx = &m->rx->slots[to];

	if (unlikely(m->rx->offset_mask))
		OS_STORE(&rx->ptr, offset);
	nm_slot_store(rx, slot.buf_idx, slot.len, slot.flags | NS_BUF_CHANGED);
	nm_slot_store(&m->slots.slots[from], theirs, slot.len, NS_BUF_CHANGED);
}

/* A packet of one slot. False: it has to wait. */
static inline bool move_single(struct move *m, struct nm_slot_copy slot)
	OS_REQUIRES(NM_PRODUCE_LOCK)
{
	uint64_t offset = nm_slots_offset(&m->slots, m->from);
	enum nm_drop cause = nm_slots_check(&m->slots, slot, offset);
	uint32_t theirs;

	if (unlikely(cause != NM_DROPS)) {
		m->tx->stats.drops[cause]++;
	} else {
		if (unlikely(!have_room(m, 1)))
			return false;
		m->copies++;
		theirs = OS_LOAD(&m->rx->slots[m->to].buf_idx);
		if (likely(nm_slots_buf_valid(&m->slots, theirs))) {
			slot.flags = nm_slots_flags(1, 0);
			exchange(m, m->from, m->to, offset, slot, theirs);
			m->to = nm_ring_advance(m->to, 1, m->rx->num_slots);
			m->room--;
			m->packets++;
			m->bytes += slot.len;
		} else {
			count_both(m, NM_DROP_BAD_BUFFER);
		}
	}
	m->from = nm_ring_advance(m->from, 1, m->slots.num_slots);
	m->taken++;
	return true;
}

static void exchange_all(struct move *m, const struct nm_pkt *pkt, const uint32_t *theirs)
{
	uint32_t from = pkt->first;

	for (uint32_t i = 0; i < pkt->slots; i++) {
		const struct nm_frag *frag = &pkt->frags[i];
		const struct nm_slot_copy slot = {
			frag->buf_idx, (uint16_t)frag->len, nm_slots_flags(pkt->slots, i)};

		exchange(m, from, m->to, nm_slots_offset_of(&m->slots, frag->buf, frag->buf_idx),
			slot, theirs[i]);
		from = nm_ring_advance(from, 1, m->slots.num_slots);
		m->to = nm_ring_advance(m->to, 1, m->rx->num_slots);
	}
	m->room -= pkt->slots;
	m->packets++;
	m->bytes += pkt->bytes;
}

/* A packet of several slots. False: it has to wait, for room or for its end. */
static bool move_chain(struct move *m) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	uint32_t theirs[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	struct nm_slots rx;

	switch (nm_pkt_next(&m->slots, &m->from, m->end, &pkt)) {
	case NM_PKT_PARTIAL:
		return false;
	case NM_PKT_DROP:
		m->tx->stats.drops[pkt.cause]++;
		break;
	case NM_PKT_WHOLE:
		if (!have_room(m, pkt.slots))
			return false;
		m->copies++;
		nm_slots_init_ring(&rx, m->rx, 0);
		if (nm_slots_buffers(&rx, m->to, pkt.slots, theirs))
			exchange_all(m, &pkt, theirs);
		else
			count_both(m, NM_DROP_BAD_BUFFER);
	}
	m->from = pkt.next;
	m->taken++;
	return true;
}

/* Both rings are written to: what their lines cost is paid once, not for reading and again for
 * writing. With that a pipe carried half as many packets again. */
static void move_all(struct move *m) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	bool more = true;

	m->from = nm_slots_skip(&m->slots, m->from, m->end);
	while (more && m->from != m->end) {
		struct nm_slot_copy slot = nm_slot_load(&m->tx->slots[m->from]);

		os_prefetch_write(
			&m->tx->slots[nm_ring_advance(m->from, PREFETCH_AHEAD, m->tx->num_slots)]);
		os_prefetch_write(
			&m->rx->slots[nm_ring_advance(m->to, PREFETCH_AHEAD, m->rx->num_slots)]);
		more = likely(!(slot.flags & NS_MOREFRAG)) ? move_single(m, slot) : move_chain(m);
	}
}

enum moved { MOVED_NOTHING = 0, MOVED_TX = 1, MOVED_RX = 2, MOVED_BLOCKED = 4 };

/* Moves what can be moved; the lock is held. A set of enum moved: who has news. */
static int lane_move(struct lane *lane) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct nm_ring *tx = lane->tx, *rx = lane->rx;
	uint32_t was_blocked = OS_LOAD(&lane->blocked);
	int result = MOVED_NOTHING;
	struct move m;

	nm_produce_assert_locked(rx);
	if (lane->moved == lane->head || lane->paused)
		return MOVED_NOTHING;
	m.lane = lane;
	m.tx = tx;
	m.rx = rx;
	m.from = lane->moved;
	m.end = lane->head;
	m.to = rx->produce.hwtail;
	m.room = nm_ring_room(rx, m.to);
	m.packets = m.bytes = m.taken = m.copies = 0;
	m.waiting = false;
	nm_slots_init_ring(&m.slots, tx, rx->port->offsets.gap);
	/* `blocked` stays set until it is known that nothing waits: a receiver that looks meanwhile,
	 * and sleeps without asking for a kick, would not be told again. */
	move_all(&m);
	tx->stats.packets += m.taken;
	tx->stats.copies += m.copies;
	tx->stats.bytes += m.bytes;
	rx->stats.packets += m.packets;
	rx->stats.bytes += m.bytes;
	os_assert(m.from < tx->num_slots && m.to < rx->num_slots);
	if (m.to != rx->produce.hwtail) {
		OS_STORE_RELEASE(&rx->produce.hwtail, m.to);
		result |= MOVED_RX;
	}
	if (m.from != lane->moved) {
		OS_STORE_RELEASE(&lane->moved, m.from);
		result |= MOVED_TX;
	}
	if (!m.waiting)
		OS_STORE(&lane->blocked, 0);
	else if (!was_blocked)
		result |= MOVED_BLOCKED;
	return result;
}

/* ---- syncs ---------------------------------------------------------------------------- */

static int pipe_txsync(struct nm_ring *ring)
{
	struct lane *lane = ring->priv;

	if (ring->head != OS_LOAD(&lane->head)) { /* which only this thread changes */
		int moved;

		nm_produce_lock(lane->rx);
		lane->head = ring->head;
		moved = lane_move(lane);
		nm_produce_unlock(lane->rx);
		/* Also when it is full: whoever serves it must hear of slots that are given back. */
		if (moved & (MOVED_RX | MOVED_BLOCKED))
			os_wakeup_signal(&lane->rx->wakeup);
	}
	nm_ring_sent(ring, OS_LOAD_ACQUIRE(&lane->moved));
	return 0;
}

static int pipe_rxsync(struct nm_ring *ring)
{
	struct lane *lane = ring->priv;

	if (ring->hwcur != ring->head) {
		OS_STORE_RELEASE(&ring->hwcur, ring->head);
		os_mb(); /* pairs with the one in have_room() */
		if (unlikely(OS_LOAD(&lane->blocked))) {
			int moved;

			nm_produce_lock(lane->rx);
			moved = lane_move(lane);
			nm_produce_unlock(lane->rx);
			if (moved & MOVED_TX)
				os_wakeup_signal(&lane->tx->wakeup);
		}
	}
	ring->tail = OS_LOAD_ACQUIRE(&ring->produce.hwtail);
	return 0;
}

static bool pipe_can_send(struct nm_ring *ring)
{
	const struct lane *lane = ring->priv;

	return OS_LOAD(&lane->moved) != ring->hwcur;
}

static bool pipe_wants_room(struct nm_ring *ring)
{
	const struct lane *lane = ring->priv;

	return OS_LOAD(&lane->blocked) != 0;
}

/* ---- the other operations --------------------------------------------------------------- */

static void each_lane(struct nm_port *port, void (*fn)(struct lane *lane))
{
	struct pipe *pipe = port->priv;

	for (uint32_t i = 0; i < pipe->lanes; i++)
		fn(&pipe->lane[i]);
}

static void lane_pause(struct lane *lane)
{
	nm_produce_lock(lane->rx);
	lane->paused++;
	nm_produce_unlock(lane->rx);
}

/* What came up meanwhile is done now, unless another caller has paused the lane, too. */
static void lane_resume(struct lane *lane)
{
	int moved;

	nm_produce_lock(lane->rx);
	os_assert(lane->paused > 0);
	lane->paused--;
	moved = lane_move(lane);
	nm_produce_unlock(lane->rx);
	if (moved & (MOVED_RX | MOVED_BLOCKED))
		os_wakeup_signal(&lane->rx->wakeup);
	if (moved & MOVED_TX)
		os_wakeup_signal(&lane->tx->wakeup);
}

static void pipe_pause(struct nm_port *port, bool on)
{
	each_lane(port, on ? lane_pause : lane_resume);
}

/* The lock is held, or no client is bound. */
static void pipe_ring_reset(struct nm_ring *ring) OS_REQUIRES(NM_PRODUCE_LOCK)
{
	struct lane *lane = ring->priv;

	if (ring->dir != NM_TX)
		return;
	lane->head = 0;
	OS_STORE(&lane->moved, 0);
	OS_STORE(&lane->blocked, 0);
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
		tx->stats.packets++;
		tx->stats.drops[NM_DROP_FRAGMENTS]++;
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
	.txsync = pipe_txsync,
	.rxsync = pipe_rxsync,
	.can_send = pipe_can_send,
	.wants_room = pipe_wants_room,
	.pause = pipe_pause,
	.ring_reset = pipe_ring_reset,
	.shares_region = true,
};

/* ---- making one ------------------------------------------------------------------------- */

/* The parent, made if need be. The caller pins it. */
static struct nm_port *find_parent(struct nm_core *core, const struct nm_name *name,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	static const uint32_t any[NM_DIRS];
	struct nm_port *parent;

	if (name->kind == NM_NAME_VALE)
		return nm_vale_port_get_locked(core, name->base, name->sw_name, any, any, err);
	parent = nm_port_find_locked(core, name->base);
	if (!parent)
		parent = nm_null_placeholder_locked(core, name->base, err);
	return parent;
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

/* Both ends; what was made is freed again on failure. */
static struct nm_port *make_ends(struct nm_core *core, const char *names[2],
	const struct nm_shape *mine, const struct nm_shape *theirs, struct nm_port *parent,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *a, *b = NULL;
	struct pipe *pipe;

	a = nm_port_add_locked(core, names[0], &pipe_ops, mine, err);
	if (a)
		b = nm_port_add_locked(core, names[1], &pipe_ops, theirs, err);
	pipe = b ? os_zalloc(sizeof(*pipe) +
			     (mine->rings[NM_TX] + mine->rings[NM_RX]) * sizeof(struct lane))
		 : NULL;
	if (pipe) {
		pipe->parent = parent;
		join_ends(pipe, a, b);
		return a;
	}
	if (b) {
		nm_error_set(err, -ENOMEM, "%s: no memory for a pipe", names[0]);
		nm_port_remove_locked(b);
	}
	if (a)
		nm_port_remove_locked(a);
	return NULL;
}

struct nm_port *nm_pipe_get_locked(struct nm_core *core, const struct nm_name *name,
	const struct nm_bind *bind, struct nm_error *err)
{
	char text[2][NETMAP_REQ_IFNAMSIZ];
	const char *names[2] = {text[0], text[1]};
	bool master = name->pipe == NM_PIPE_MASTER;
	struct nm_shape mine, theirs;
	struct nm_port *parent, *port;

	nm_core_assert_locked(core);
	os_snprintf(
		text[0], sizeof(text[0]), "%s%c%s", name->base, master ? '{' : '}', name->pipe_id);
	os_snprintf(
		text[1], sizeof(text[1]), "%s%c%s", name->base, master ? '}' : '{', name->pipe_id);
	for (port = core->ports; port; port = port->next)
		if (port->ops == &pipe_ops && strcmp(port->name, names[0]) == 0)
			return port;
	parent = find_parent(core, name, err);
	if (!parent)
		return NULL;
	shape_of(bind, parent, &mine, &theirs);
	port = make_ends(core, names, &mine, &theirs, parent, err);
	if (!port)
		nm_port_unused_locked(parent);
	return port;
}
