/* SPDX-License-Identifier: BSD-2-Clause */
#include "vale_wait.h"
#include "monitor.h"
#include "vale_internal.h"

enum { TURN_US = 10000, TURN_PART = 4 /* of the ring */ };

/* ---- sets of ports ------------------------------------------------------------------------ */

static bool set_has(const struct vale_set *set, uint8_t number)
{
	return set->word[number / 64] >> (number % 64) & 1;
}

static void set_add(struct vale_set *set, uint8_t number)
{
	set->word[number / 64] |= (uint64_t)1 << (number % 64);
}

static void set_remove(struct vale_set *set, uint8_t number)
{
	set->word[number / 64] &= ~((uint64_t)1 << (number % 64));
}

static bool set_empty(const struct vale_set *set)
{
	return (set->word[0] | set->word[1] | set->word[2] | set->word[3]) == 0;
}

static uint32_t now_us(void)
{
	return (uint32_t)os_time_us();
}

/* Both mod 2^32, some 71 minutes: nothing waits for that long; a ring that was idle for it passes for one that was read just now. */
static bool is_over(uint32_t since, uint32_t us, uint32_t now)
{
	return now - since >= us;
}

/* ---- turns --------------------------------------------------------------------------------- */

static void next_cycle(struct vale_room *room)
{
	room->turn = room->refused;
	room->refused = (struct vale_set){0};
	room->cycle = now_us();
}

/* Who has its turn and has not come since the cycle began loses it; who found no room keeps it. */
static void end_cycle(struct vale_room *room)
{
	struct vale_set came;

	for (int i = 0; i < 4; i++) {
		came.word[i] = room->turn.word[i] & room->refused.word[i];
		room->refused.word[i] &= ~came.word[i];
	}
	if (set_empty(&came)) {
		next_cycle(room);
		return;
	}
	room->turn = came;
	room->cycle = now_us();
}

bool nm_vale_turn(struct vale_room *room, const struct vale_tx *tx, const struct nm_rxq *q)
{
	if (room->stuck && room->stuck_at != OS_LOAD_ACQUIRE(&q->ring->hwcur))
		room->stuck = false;
	if (likely(set_empty(&room->turn)) || set_has(&room->turn, tx->number))
		return true;
	if (!is_over(room->cycle, TURN_US, now_us()))
		return false;
	end_cycle(room);
	return set_empty(&room->turn) || set_has(&room->turn, tx->number);
}

void nm_vale_turn_end(struct vale_room *room, const struct vale_tx *tx, bool moved, bool refused)
{
	if (moved)
		set_remove(&room->turn, tx->number);
	if (refused)
		set_add(&room->refused, tx->number);
	else
		set_remove(&room->refused, tx->number);
	if (set_empty(&room->turn) && !set_empty(&room->refused))
		next_cycle(room);
}

/* ---- the receiver ---------------------------------------------------------------------------- */

bool nm_vale_want(struct vale_room *room, struct nm_rxq *q, uint32_t bytes)
{
	uint32_t most = nm_rxq_slot_bytes(q), slots = most ? (bytes + most - 1) / most : 1;
	uint32_t part = q->slots.num_slots / TURN_PART;

	/* Not for each slot: who is woken finds room for some packets. */
	OS_STORE(&room->wanted, slots > part ? slots : part);
	os_mb(); /* E: pairs with F in nm_vale_rxsync() */
	nm_rxq_look(q);
	return q->room >= slots;
}

/* Those who wait on the switch, whatever for: they look. */
void nm_vale_wake_senders(struct nm_vale *sw)
{
	vale_read_lock(sw);
	for (uint32_t i = 0; i < sw->num_active; i++) {
		struct nm_port *port = sw->live[sw->active[i]];

		for (uint32_t k = 0; k < port->num_rings[NM_TX]; k++) {
			struct vale_batch *batch = port->rings[NM_TX][k].priv;

			if (OS_LOAD(&batch->queue.count) == 0)
				continue;
			OS_STORE(&batch->queue.room, true);
			os_wakeup_signal(&port->rings[NM_TX][k].wakeup);
		}
	}
	vale_read_unlock(sw);
}

int nm_vale_rxsync(struct nm_ring *ring)
{
	struct vale_room *room = ring->priv;
	struct nm_vale_port *vp = ring->port->priv;
	uint32_t wanted, before = ring->hwcur;
	int error = nm_ring_rxsync_produced(ring);

	/* Who has given nothing back has nothing to say: no barrier then. */
	if (likely(ring->hwcur == before) || likely(nm_port_full_wait(ring->port) == 0))
		return error;
	if (OS_LOAD(&ring->port->rss))
		OS_STORE(&room->given_at, now_us());
	os_mb(); /* F: pairs with E */
	wanted = OS_LOAD(&room->wanted);
	if (likely(wanted == 0))
		return error;
	if (nm_ring_distance(ring->hwcur, ring->tail, ring->num_slots) + wanted >= ring->num_slots)
		return error;
	OS_STORE(&room->wanted, 0);
	nm_vale_wake_senders(vp->sw);
	return error;
}

bool nm_vale_wants_room(struct nm_ring *ring)
{
	const struct vale_room *room = ring->priv;

	return OS_LOAD(&room->wanted) != 0;
}

/* ---- the sender's queue ------------------------------------------------------------------------ */

bool nm_vale_queue_has(const struct vale_queue *q, uint8_t to)
{
	return set_has(&q->for_, to);
}

/* Removes what has become nothing, and looks what is left. */
static void compact(struct vale_queue *q)
{
	uint32_t n = 0;

	q->for_ = (struct vale_set){0};
	for (uint32_t i = 0; i < q->count; i++) {
		const struct vale_waiting *w = &q->waiting[i];

		if (w->slots == 0)
			continue;
		if (n == 0 || q->since - w->since < UINT32_MAX / 2)
			q->since = w->since;
		set_add(&q->for_, w->to);
		q->waiting[n++] = *w;
	}
	OS_STORE(&q->count, n);
}

void nm_vale_queue_clear(struct nm_ring *ring)
{
	struct vale_batch *batch = ring->priv;

	if (!batch || batch->queue.count == 0)
		return;
	nm_count(&ring->stats.drops[NM_DROP_RX_FULL], batch->queue.count);
	OS_STORE(&batch->queue.count, 0);
	compact(&batch->queue);
	nm_ring_sent(ring, ring->hwcur);
}

/* They are in the order of their slots for each port, not for all. */
uint32_t nm_vale_queue_tail(const struct vale_tx *tx)
{
	const struct vale_queue *q = &tx->batch->queue;
	const struct nm_ring *ring = tx->ring;
	uint32_t oldest = ring->hwcur, most = 0;

	for (uint32_t i = 0; i < q->count; i++) {
		uint32_t back = nm_ring_distance(q->waiting[i].at, ring->hwcur, ring->num_slots);

		if (back > most) {
			most = back;
			oldest = q->waiting[i].at;
		}
	}
	return nm_ring_before(oldest, ring->num_slots);
}

bool nm_vale_can_send(struct nm_ring *ring)
{
	const struct vale_batch *batch = ring->priv;
	const struct vale_queue *q = &batch->queue;

	if (likely(q->count == 0))
		return false;
	return q->again || OS_LOAD(&q->room) ||
	       is_over(q->since, nm_port_full_wait(ring->port), now_us());
}

static void mark_stuck(struct nm_ring *rx, uint32_t drops)
{
	struct vale_room *room = rx->priv;

	nm_produce_lock(rx);
	nm_count(&rx->stats.drops[NM_DROP_RX_FULL], drops);
	room->stuck = true;
	room->stuck_at = OS_LOAD_ACQUIRE(&rx->hwcur);
	nm_produce_unlock(rx);
}

/* Those of its rings that have not given back anything in time either. The clock is read behind given_at, which is not later then. */
static void mark_idle_stuck(const struct vale_tx *tx, struct nm_port *port)
{
	for (uint32_t i = 0; i < port->num_rings[NM_RX]; i++) {
		const struct vale_room *room = port->rings[NM_RX][i].priv;
		const uint32_t given_at = OS_LOAD_ACQUIRE(&room->given_at);

		if (is_over(given_at, tx->wait_us, now_us()))
			mark_stuck(&port->rings[NM_RX][i], 0);
	}
}

/*
 * The receiver has not taken anything in time: all that waits for it is dropped. When it has several rings only packet `first`
 * is, which waits for tx->full: others may be for rings that have room, or are read. Those that are not, in whatever ring, are
 * dropped by the next try, for a receiver costs its senders the time once, not once per ring.
 */
static void expire(struct vale_tx *tx, uint8_t to, uint32_t first) OS_REQUIRES_SHARED(VALE_LOCK)
{
	struct nm_port *port = tx->sw->live[to];
	const bool only_first = OS_LOAD(&port->rss);
	struct vale_queue *q = &tx->batch->queue;
	uint32_t packets = 0;

	for (uint32_t i = 0; i < q->count; i++) {
		if (q->waiting[i].to != to || q->waiting[i].slots == 0 ||
			(only_first && i != first))
			continue;
		q->waiting[i].slots = 0;
		packets++;
	}
	q->again |= only_first;
	nm_count(&tx->ring->stats.copies, packets);
	nm_count(&tx->ring->stats.drops[NM_DROP_RX_FULL], packets);
	nm_count(&tx->ring->stats.expired, packets);
	mark_stuck(tx->full, packets);
	if (only_first)
		mark_idle_stuck(tx, port);
}

/* rx NULL: there was none yet. */
static void count_refused(struct vale_tx *tx, struct nm_ring *rx, uint32_t n)
{
	if (!rx)
		return;
	nm_count(&tx->ring->stats.copies, n);
	nm_count(&tx->ring->stats.drops[NM_DROP_RX_FULL], n);
	nm_produce_lock(rx);
	nm_count(&rx->stats.drops[NM_DROP_RX_FULL], n);
	nm_produce_unlock(rx);
}

/*
 * Packets whose place in the ring is not known: something between them was dropped. Each is counted at the ring that it is for,
 * those in a row for one at once.
 */
static void refuse(struct vale_tx *tx, const struct nm_port *port, uint8_t first)
{
	const struct vale_packet *packets = tx->batch->packets;
	struct nm_ring *rx = NULL;
	uint32_t n = 0;

	for (; first != VALE_END; first = packets[first].next, n++) {
		struct nm_ring *to = nm_vale_ring_for(tx, port, &packets[first]);

		if (to != rx) {
			count_refused(tx, rx, n);
			n = 0;
		}
		rx = to;
	}
	count_refused(tx, rx, n);
}

void nm_vale_park(struct vale_tx *tx, uint8_t to, uint8_t first)
{
	const struct vale_packet *packets = tx->batch->packets;
	struct vale_queue *q = &tx->batch->queue;
	const struct nm_port *port = tx->sw->live[to];
	const struct nm_vale_port *vp = port->priv;
	uint32_t at = tx->batch_at, now = now_us(), before = q->count;
	/* Of a port of several rings: behind packets that wait for others of them, not tried yet. */
	const bool untried = OS_LOAD(&port->rss) && set_has(&q->for_, to);

	vale_assert_locked(tx->sw);
	if (unlikely(tx->gaps)) {
		refuse(tx, port, first);
		return;
	}
	for (uint8_t i = 0; first != VALE_END; i++) {
		uint32_t slots = packets[i].frags;

		if (i == first) {
			os_assert(q->count < NM_VALE_WAITING_MAX);
			q->waiting[q->count] = (struct vale_waiting){
				.since = now,
				.incarnation = vp->incarnation,
				.at = (uint16_t)at,
				.slots = (uint16_t)slots,
				.to = to,
			};
			OS_STORE(&q->count, q->count + 1);
			first = packets[i].next;
		}
		at = nm_ring_advance(at, slots, tx->ring->num_slots);
	}
	if (before == 0)
		q->since = now;
	q->again |= untried;
	set_add(&q->for_, to);
	nm_count(&tx->ring->stats.waits, q->count - before);
}

/* ---- another try ---------------------------------------------------------------------------------- */

/* Packets of one port, out of the queue and into the batch: numbers[] are their places in the queue. */
struct vale_try {
	uint8_t to;
	bool more;     /* others are left for the next try */
	uint64_t full; /* set of its rings for which there is none */
	uint16_t numbers[NM_VALE_BATCH];
};

/* Loads one packet into the batch. False: it is none any more. */
static bool load(struct vale_tx *tx, struct vale_waiting *w)
{
	struct vale_batch *batch = tx->batch;
	struct nm_pkt pkt = {.frags = &batch->frags[batch->num_frags]};
	uint32_t at = w->at, dropping = 0;
	struct nm_slots slots = tx->slots;

	slots.dropping = &dropping;
	if (nm_pkt_next(&slots, &at, nm_ring_advance(at, w->slots, slots.num_slots), &pkt) ==
		NM_PKT_PARTIAL)
		pkt.cause = NM_DROP_FRAGMENTS;
	else if (pkt.cause == NM_DROPS && pkt.bytes < tx->min_len)
		pkt.cause = NM_DROP_TOO_SHORT;
	if (unlikely(pkt.cause != NM_DROPS)) {
		nm_vale_count_drop(tx->ring, pkt.cause);
		w->slots = 0;
		return false;
	}
	batch->packets[batch->num_packets++] = (struct vale_packet){
		.buf = pkt.frags[0].buf,
		.len = pkt.bytes,
		.frags = (uint8_t)pkt.slots,
		.first = (uint8_t)batch->num_frags,
		.next = VALE_END,
	};
	batch->num_frags += pkt.slots;
	return true;
}

/* Behind what waits for the same ring: not in the batch then. */
static bool unload_blocked(struct vale_tx *tx, const struct nm_port *port, uint64_t full)
{
	struct vale_batch *batch = tx->batch;
	const struct vale_packet *packet = &batch->packets[batch->num_packets - 1];

	if (likely(full == 0) || !(full >> nm_vale_ring_for(tx, port, packet)->id & 1))
		return false;
	batch->num_frags -= packet->frags;
	batch->num_packets--;
	return true;
}

/* As many as one turn has: a quarter of the receiver's ring, or one packet. */
static void gather(struct vale_tx *tx, struct vale_try *try, uint32_t from)
	OS_REQUIRES_SHARED(VALE_LOCK)
{
	struct nm_port *port = tx->sw->live[try->to];
	const struct nm_vale_port *vp = port ? port->priv : NULL;
	struct vale_batch *batch = tx->batch;
	uint32_t most = port ? port->num_slots[NM_RX] / TURN_PART : 0;

	batch->num_packets = batch->num_frags = 0;
	batch->in_row = false;
	for (uint32_t i = from; i < batch->queue.count; i++) {
		struct vale_waiting *w = &batch->queue.waiting[i];
		uint32_t n = batch->num_packets;

		if (w->to != try->to || w->slots == 0)
			continue;
		if (!vp || w->incarnation != vp->incarnation) {
			nm_vale_count_drop(tx->ring, NM_DROP_NO_RECEIVER);
			w->slots = 0;
			continue;
		}
		if (n == NM_VALE_BATCH || batch->num_frags > NM_VALE_BATCH ||
			(n > 0 && batch->num_frags + w->slots > most)) {
			try->more = true;
			return;
		}
		if (!load(tx, w) || unload_blocked(tx, port, try->full))
			continue;
		try->numbers[n] = (uint16_t)i;
		if (n > 0)
			batch->packets[n - 1].next = (uint8_t)n;
	}
}

/* The batch to its port. What is delivered leaves the queue. Returns the first that waits on, or VALE_END. */
static uint8_t deliver_tried(struct vale_tx *tx, const struct vale_try *try)
	OS_REQUIRES_SHARED(VALE_LOCK)
{
	struct vale_batch *batch = tx->batch;
	const uint32_t n = batch->num_packets;
	const uint8_t first = nm_vale_deliver(tx, tx->sw->live[try->to], 0, VALE_END);
	uint8_t left = first;

	for (uint32_t i = 0; i < n; i++) {
		if (i == left)
			left = batch->packets[i].next;
		else
			batch->queue.waiting[try->numbers[i]].slots = 0;
	}
	return first;
}

/*
 * The first of those that wait for one port, in queue place `from`. Behind one that waits for a ring others may be for rings
 * that have room: when the port has several, those are tried next.
 */
static void retry_port(struct vale_tx *tx, uint32_t from, uint32_t now)
	OS_REQUIRES_SHARED(VALE_LOCK)
{
	struct vale_queue *q = &tx->batch->queue;
	struct vale_try try = {.to = q->waiting[from].to};
	const struct nm_port *port = tx->sw->live[try.to];

	for (uint32_t ring = 0; ring == 0 || ring < port->num_rings[NM_RX]; ring++) {
		uint8_t first;

		try.more = false;
		gather(tx, &try, from);
		if (tx->batch->num_packets == 0)
			return;
		first = deliver_tried(tx, &try);
		if (first == VALE_END) {
			q->again |= try.more;
			return;
		}
		if (is_over(q->waiting[try.numbers[first]].since, tx->wait_us, now)) {
			expire(tx, try.to, try.numbers[first]);
			return;
		}
		if (!try.more || !OS_LOAD(&port->rss))
			return;
		try.full |= tx->full_rings;
	}
}

void nm_vale_retry(struct vale_tx *tx)
{
	struct vale_queue *q = &tx->batch->queue;
	uint32_t now = now_us();
	struct vale_set seen = {0};

	vale_assert_locked(tx->sw);
	q->again = false;
	OS_STORE(&q->room, false);
	os_mb(); /* who makes room from here on says so again */
	for (uint32_t i = 0; i < q->count; i++) {
		if (q->waiting[i].slots == 0 || set_has(&seen, q->waiting[i].to))
			continue;
		set_add(&seen, q->waiting[i].to);
		retry_port(tx, i, now);
	}
	compact(q);
}
