/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Serving a ring through a CSB: step, and going to sleep.
 *
 * step      load head and cur, sync a share of it, publish hwcur and hwtail, interrupt if asked for
 * sleep     ask for kicks, full barrier, look again. Four things may have come unseen: a new head;
 *           for a tx ring, room that its kind can use (can_send); packets or room behind the tail
 *           that was published; somebody who waits for what this ring's consumer gives back. Any of
 *           them means: don't sleep
 *
 * An index outside its bounds stops the ring for good: `stopped`, until the service is started
 * anew.
 */
#include "csb_server.h"
#include "port.h"

/* Slots of a tx ring that a step takes at least, where there are as many. */
enum { SHARE_MIN = 64 };

static void publish(struct nm_csb_server *s)
{
	nm_csb_kern_store(s->ktoa, s->ring->hwcur, s->ring->tail);
	s->published_hwcur = s->ring->hwcur;
	s->published_hwtail = s->ring->tail;
}

void nm_csb_server_start(struct nm_csb_server *s, struct nm_ring *ring, struct nm_csb_atok *atok,
	struct nm_csb_ktoa *ktoa)
{
	s->ring = ring;
	OS_STORE(&s->stopped, false);
	s->told = false;
	OS_STORE(&atok->head, ring->head);
	OS_STORE(&atok->cur, ring->cur);
	nm_csb_server_resume(s, atok, ktoa);
	s->irq_pending = false;
}

void nm_csb_server_resume(
	struct nm_csb_server *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa)
{
	s->atok = atok;
	s->ktoa = ktoa;
	s->irq_pending = s->irq_pending || s->ring->tail != s->published_hwtail;
	publish(s);
	nm_csb_server_awake(s);
}

/* The other side stored an illegal index: this ring stops, the port's others go on. */
static int stop(struct nm_csb_server *s, int error, uint32_t head, uint32_t cur)
{
	s->fault = (struct nm_csb_fault){
		.error = error,
		.head = head,
		.cur = cur,
		.ring_head = s->ring->head,
		.ring_tail = s->ring->tail,
	};
	OS_STORE_RELEASE(&s->stopped, true);
	return NM_CSB_SERVER_STOPPED;
}

void nm_csb_server_tell(struct nm_csb_server *s)
{
	const struct nm_ring *ring = s->ring;
	const struct nm_csb_fault *f = &s->fault;

	if (!OS_LOAD_ACQUIRE(&s->stopped) || s->told)
		return;
	s->told = true;
	if (f->error == -ENXIO)
		os_log(OS_LOG_INFO, "%s ring %u stopped: its port is gone",
			ring->dir == NM_TX ? "tx" : "rx", ring->id);
	else
		os_log(OS_LOG_WARN,
			"%s: %s ring %u stopped (%d): head %u cur %u are not within head %u tail %u of %u slots",
			ring->port->name, ring->dir == NM_TX ? "tx" : "rx", ring->id, f->error,
			f->head, f->cur, f->ring_head, f->ring_tail, ring->num_slots);
}

/* With nothing new from the application: can a sync of this tx ring change anything? */
static bool tx_done(const struct nm_ring *ring)
{
	return ring->hwcur == ring->head &&
	       ring->tail == nm_ring_before(ring->head, ring->num_slots);
}

/*
 * How far a tx ring goes in one step: a quarter of it, so that no sender that publishes a full ring
 * holds up the others, and a switch's receivers of equal size have time to take one share and give
 * it back before the next but one comes. Without this, 16 ports with full rings of 1024 slots lost
 * every third packet to full receivers; with it, none, and 1.5 times as many come through.
 */
static uint32_t share_most(const struct nm_ring *ring)
{
	return ring->num_slots / 4 > SHARE_MIN ? ring->num_slots / 4 : SHARE_MIN;
}

static uint32_t share_of(const struct nm_ring *ring, uint32_t head, uint32_t cur)
{
	uint32_t most = share_most(ring);

	/* Looked at as a whole, so that what is illegal further on stops the ring at once. */
	if (!nm_ring_move_legal(ring->head, ring->tail, head, cur, ring->num_slots) ||
		nm_ring_distance(ring->head, head, ring->num_slots) <= most)
		return head;
	return nm_ring_advance(ring->head, most, ring->num_slots);
}

/* What has become free since the last step is told before more is sent, which takes a while: a pipe that
 * carries quarters of its ring at a time lost every tenth packet per second to senders that waited for
 * it. Who sleeps is woken after the step. */
static void publish_room(struct nm_csb_server *s)
{
	struct nm_ring *ring = s->ring;

	if (OS_LOAD(&ring->port->dead)) /* its kind has nothing for it any more */
		return;
	if (!ring->port->ops->can_send || !ring->port->ops->can_send(ring) ||
		nm_ring_sync(ring, ring->head, ring->cur) != 0 || ring->tail == s->published_hwtail)
		return;
	publish(s);
	s->irq_pending = true;
}

int nm_csb_server_step(struct nm_csb_server *s)
{
	struct nm_ring *ring = s->ring;
	uint32_t head, cur, old_head = ring->head;
	int error, result;

	if (unlikely(s->stopped))
		return NM_CSB_SERVER_STOPPED;
	nm_csb_kern_load(s->atok, &head, &cur);
	nm_count(&s->steps, 1);
	/* An idle tx ring costs two loads: with nothing new to send its state can't change. */
	if (head == old_head && cur == ring->cur && ring->dir == NM_TX &&
		!OS_LOAD(&ring->port->dead) &&
		(tx_done(ring) || (ring->port->ops->can_send && !ring->port->ops->can_send(ring))))
		return NM_CSB_SERVER_IDLE;
	if (ring->dir == NM_TX) {
		head = share_of(ring, head, cur);
		if (head != old_head)
			publish_room(s);
	}
	error = nm_ring_sync(ring, head, cur);
	if (unlikely(error))
		return stop(s, error, head, cur);
	result = ring->head != old_head ? NM_CSB_SERVER_WORK : NM_CSB_SERVER_IDLE;
	if (ring->tail != s->published_hwtail || ring->hwcur != s->published_hwcur ||
		unlikely(s->irq_pending)) {
		bool more = ring->tail != s->published_hwtail || s->irq_pending;

		s->irq_pending = false;
		publish(s);
		result |= NM_CSB_SERVER_WORK;
		os_mb(); /* D: hwtail is out before appl_need_kick is looked at */
		if (more && OS_LOAD(&s->atok->appl_need_kick)) {
			nm_count(&s->interrupts, 1);
			result |= NM_CSB_SERVER_INTERRUPT;
		}
	}
	nm_count(&s->work_steps, result & NM_CSB_SERVER_WORK);
	return result;
}

int nm_csb_server_finish(struct nm_csb_server *s)
{
	/* As many as a full ring has shares: whoever publishes more meanwhile finds that in its ring later. */
	uint32_t steps = s->ring->num_slots / share_most(s->ring) + 1;
	int step, all = NM_CSB_SERVER_IDLE;

	do {
		step = nm_csb_server_step(s);
		all |= step;
	} while ((step & NM_CSB_SERVER_WORK) && steps-- > 0);
	return all;
}

/* Has anything come that the other side was not told of? What waits for room may have come after
 * the last step, and find it. */
static bool has_come(struct nm_csb_server *s, bool waits)
{
	struct nm_ring *ring = s->ring;

	if (waits && nm_ring_sync(ring, ring->head, ring->cur) != 0)
		return true; /* as the next step will say */
	return ring->tail != s->published_hwtail ||
	       OS_LOAD_ACQUIRE(&ring->produce.hwtail) != ring->tail;
}

/* Is there somebody who waits for what this rx ring's application gives back: a monitor, or whoever
 * gets what is forwarded? */
static bool passes_on(const struct nm_ring *ring)
{
	return OS_LOAD(&ring->monitors) || (ring->port->num_host_rings[NM_TX] > 0 &&
						   (OS_LOAD(&ring->shared->flags) & NR_FORWARD));
}

bool nm_csb_server_prepare_sleep(struct nm_csb_server *s)
{
	struct nm_ring *ring = s->ring;
	const struct nm_port_ops *ops = ring->port->ops;
	bool waits = ring->dir == NM_RX && ops->wants_room && ops->wants_room(ring);
	uint32_t used;

	if (s->stopped)
		return false;
	if (ring->dir == NM_RX && !waits && !passes_on(ring)) {
		/* Slots that the receiver gives back are of interest only when room runs short; as
		 * long as half the ring is free, the next packet wakes us and that is enough. */
		used = nm_ring_distance(
			ring->hwcur, OS_LOAD_ACQUIRE(&ring->produce.hwtail), ring->num_slots);
		if (used < ring->num_slots / 2)
			return used != nm_ring_distance(ring->hwcur, ring->tail, ring->num_slots);
	}
	OS_STORE(&s->ktoa->kern_need_kick, 1);
	os_mb(); /* C */
	if (OS_LOAD(&s->atok->head) != ring->head)
		return true;
	if (ring->dir == NM_RX)
		return has_come(s, waits);
	return !tx_done(ring) && ops->can_send && ops->can_send(ring);
}

bool nm_csb_server_waits(const struct nm_csb_server *s)
{
	const struct nm_ring *ring = s->ring;

	return ring->dir == NM_TX && !s->stopped && nm_ring_waits(ring);
}

uint32_t nm_csb_server_head(const struct nm_csb_server *s)
{
	const struct nm_ring *ring = s->ring;
	uint32_t published = OS_LOAD_ACQUIRE(&s->atok->head), head = OS_LOAD(&ring->head);

	return nm_ring_move_legal(head, OS_LOAD(&ring->tail), published, published, ring->num_slots)
		       ? published
		       : head;
}

void nm_csb_server_awake(struct nm_csb_server *s)
{
	if (!s->stopped)
		OS_STORE(&s->ktoa->kern_need_kick, 0);
}
