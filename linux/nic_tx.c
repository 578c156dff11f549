// SPDX-License-Identifier: BSD-2-Clause
/*
 * The tx rings of the emulated adapter.
 *
 *      hwcur..head   not sent yet: the device's queue is full, or the packet not complete
 *      tail..hwcur   packets, not slots, that the driver has not freed yet, counted by a credit
 *
 * Each packet takes a slot at least, so that there are never more packets out than slots.
 */
#include "hostring.h"
#include "nic.h"
#include "xmit_hook.h"

#include <linux/delay.h>
#include <linux/if_vlan.h>
#include <linux/rculist.h>
#include <linux/slab.h>

enum {
	BATCH = 16,     /* packets under one tx lock */
	RETRY_MS = 4,   /* a queue that is full is looked at again, should no completion come */
	STALL_MS = 100, /* without a completion: the driver frees lazily */
	ABANDONED_MAX = 16,
	STOP_MS = 100, /* for what waits for the device's queue when the last client goes */
	SAY_MS = 1000, /* unloading waits longer: it says for what. A multiple of RETRY_MS */
};

/* Packets that are out. Counted: one reference per skb, and one of the ring that uses it. */
struct nmk_credit {
	atomic_t refs;
	struct nmk_txq __rcu *q; /* NULL: the ring is no more */
	struct list_head link;   /* of q->abandoned; credits_lock */
	bool abandoned;
	struct rcu_head rcu;
};

/* A ring. Fields without a lock of their own: whoever holds ring->wakeup.sync, or runs alone. */
struct nmk_txq {
	struct nmk_nic *nic;
	struct nm_ring *ring;
	struct nmk_credit *credit;
	struct list_head abandoned; /* credits that are no longer waited for; credits_lock */
	uint32_t num_abandoned;     /* credits_lock */
	struct sk_buff *pending;    /* out of the ring, but the device's queue is full */
	struct sk_buff **pending_end;
	bool blocked;            /* a completion is to start `work` */
	bool stopped;            /* nothing is sent any more */
	unsigned long last_done; /* jiffies; of the last completion */
	struct delayed_work work;
};

static DEFINE_SPINLOCK(credits_lock);     /* lists of abandoned credits; taken rarely */
static atomic_t credits = ATOMIC_INIT(0); /* and other reasons not to unload the module */

/* ---- completion ---------------------------------------------------------------------- */

static struct nmk_credit *new_credit(struct nmk_txq *q, gfp_t gfp)
{
	struct nmk_credit *credit = kzalloc(sizeof(*credit), gfp);

	if (!credit)
		return NULL;
	atomic_set(&credit->refs, 1);
	INIT_LIST_HEAD(&credit->link);
	RCU_INIT_POINTER(credit->q, q);
	atomic_inc(&credits);
	return credit;
}

static void free_credit(struct nmk_credit *credit)
{
	struct nmk_txq *q;
	unsigned long flags;

	spin_lock_irqsave(&credits_lock, flags);
	q = rcu_dereference_protected(credit->q, lockdep_is_held(&credits_lock));
	if (credit->abandoned && q) {
		list_del(&credit->link);
		os_assert(q->num_abandoned > 0);
		q->num_abandoned--;
	}
	spin_unlock_irqrestore(&credits_lock, flags);
	kfree_rcu(credit, rcu);
	atomic_dec(&credits);
}

static uint32_t packets_out(const struct nmk_txq *q)
{
	return (uint32_t)atomic_read(&q->credit->refs) - 1;
}

/* Wakes the threads that wait for room, once enough is free. */
static void room_again(struct nmk_txq *q, uint32_t out)
{
	WRITE_ONCE(q->last_done, jiffies);
	if (out > q->ring->num_slots / 2)
		return;
	if (READ_ONCE(q->blocked))
		mod_delayed_work(nmk_wq, &q->work, 0);
	os_wakeup_signal(&q->ring->wakeup);
}

/* The driver frees an skb: any context, any CPU, long after the ring was given up, maybe. */
static void sent(struct sk_buff *skb)
{
	struct nmk_credit *credit = skb_shinfo(skb)->destructor_arg;
	struct nmk_txq *q;
	int refs;

	rcu_read_lock();
	q = rcu_dereference(credit->q);
	refs = atomic_dec_return(&credit->refs);
	if (q && refs > 0)
		room_again(q, (uint32_t)refs - 1);
	if (refs == 0)
		free_credit(credit);
	rcu_read_unlock(); /* last: unloading waits for it, see nmk_nic_tx_wait() */
}

static void put_credit(struct nmk_credit *credit)
{
	if (atomic_dec_and_test(&credit->refs))
		free_credit(credit);
}

/*
 * Nothing of what is out has come back for a while: this driver frees what it has sent when it is given
 * more, or when a receiver reads what it has delivered. The packets were copied, so that the
 * slots can be used again. Not while its queue is full: that one will be told of room.
 */
static void abandon_if_stalled(struct nmk_txq *q)
{
	struct nmk_credit *credit, *old = q->credit;
	unsigned long flags;

	if (packets_out(q) == 0 || q->pending ||
		time_before(jiffies, READ_ONCE(q->last_done) + msecs_to_jiffies(STALL_MS)) ||
		READ_ONCE(q->num_abandoned) >= ABANDONED_MAX)
		return;
	credit = new_credit(q, GFP_ATOMIC | __GFP_NOWARN);
	if (!credit)
		return;
	spin_lock_irqsave(&credits_lock, flags);
	old->abandoned = true;
	list_add(&old->link, &q->abandoned);
	q->num_abandoned++;
	spin_unlock_irqrestore(&credits_lock, flags);
	q->credit = credit;
	WRITE_ONCE(q->last_done, jiffies);
	put_credit(old);
}

/* ---- sending ------------------------------------------------------------------------- */

static void append(struct nmk_txq *q, struct sk_buff *list)
{
	*q->pending_end = list;
	while (*q->pending_end)
		q->pending_end = &(*q->pending_end)->next;
}

static struct netdev_queue *queue_of(struct net_device *dev, const struct nm_ring *ring)
{
	return netdev_get_tx_queue(dev, ring->id % READ_ONCE(dev->real_num_tx_queues));
}

static bool can_carry(const struct net_device *dev)
{
	return netif_running(dev) && netif_carrier_ok(dev);
}

/* Not through the device's netdev_ops: these take what others send (xmit_hook.h). */
static bool start_xmit(const struct net_device_ops *driver, struct sk_buff *skb,
	struct net_device *dev, struct netdev_queue *txq, bool more)
{
	netdev_tx_t result = __netdev_start_xmit(driver, skb, dev, more);

	if (result == NETDEV_TX_OK && READ_ONCE(txq->xmit_lock_owner) != -1)
		WRITE_ONCE(txq->trans_start, jiffies);
	return dev_xmit_complete(result);
}

/* Offers what is pending to the driver. True: it took all. Soft interrupts are off; within RCU. */
static bool push(struct nmk_txq *q, struct net_device *dev)
{
	struct netdev_queue *txq = queue_of(dev, q->ring);
	const struct net_device_ops *driver = nmk_xmit_driver(dev);
	uint16_t index = (uint16_t)(txq - dev->_tx);

	HARD_TX_LOCK(dev, txq, smp_processor_id());
	while (q->pending && !netif_xmit_frozen_or_drv_stopped(txq)) {
		struct sk_buff *skb = q->pending, *next = skb->next;

		skb_mark_not_on_list(skb);
		skb_set_queue_mapping(skb, index);
		if (!start_xmit(driver, skb, dev, txq, next != NULL)) {
			skb->next = next;
			break;
		}
		q->pending = next;
	}
	HARD_TX_UNLOCK(dev, txq);
	if (!q->pending)
		q->pending_end = &q->pending;
	return !q->pending;
}

static bool fits(const struct net_device *dev, const struct sk_buff *skb)
{
	return skb_is_gso(skb) ||
	       skb->len <= READ_ONCE(dev->mtu) + dev->hard_header_len + VLAN_HLEN;
}

/* What the device can't do is done here: segments, checksums, one piece of memory. */
static enum nm_drop prepare(struct nmk_txq *q, struct net_device *dev, struct sk_buff *skb)
{
	bool again = false;

	if (unlikely(!fits(dev, skb))) {
		kfree_skb(skb);
		return NM_DROP_TOO_LONG;
	}
	skb_shinfo(skb)->destructor_arg = q->credit;
	atomic_inc(&q->credit->refs);
	skb->destructor = sent;
	skb = validate_xmit_skb_list(skb, dev, &again);
	if (unlikely(!skb))
		return NM_DROP_OFFLOAD;
	append(q, skb);
	return NM_DROPS;
}

/* Takes up to BATCH packets out of the ring. False: there are no more. */
static bool take_packets(struct nmk_txq *q, struct net_device *dev)
{
	struct nm_ring *ring = q->ring;
	bool up = can_carry(dev);
	uint32_t at = ring->hwcur;
	bool more = at != ring->head;

	if (packets_out(q) == 0)
		WRITE_ONCE(q->last_done, jiffies);
	for (int i = 0; i < BATCH && more; i++) {
		enum nm_drop cause;
		struct sk_buff *skb = nmk_skb_from_ring(ring, &at, ring->head, dev, &cause);

		if (!skb && cause == NM_DROPS) {
			more = false;
			break;
		}
		ring->stats.packets++;
		if (skb) {
			ring->stats.bytes += skb->len;
			if (likely(up)) {
				cause = prepare(q, dev, skb);
			} else {
				kfree_skb(skb);
				cause = NM_DROP_LINK_DOWN;
			}
		}
		if (unlikely(cause != NM_DROPS))
			ring->stats.drops[cause]++;
		more = at != ring->head;
	}
	ring->hwcur = at;
	return more;
}

static void count_pending_dropped(struct nmk_txq *q, enum nm_drop cause)
{
	for (const struct sk_buff *skb = q->pending; skb; skb = skb->next)
		q->ring->stats.drops[cause]++;
	kfree_skb_list(q->pending);
	q->pending = NULL;
	q->pending_end = &q->pending;
}

/* Sends what the device takes. False: its queue is full, and there is more. */
static bool transmit(struct nmk_txq *q, struct net_device *dev)
{
	bool more = true, pushed = true;

	while (more && pushed) {
		local_bh_disable();
		if (unlikely(q->pending && !can_carry(dev)))
			count_pending_dropped(q, NM_DROP_LINK_DOWN);
		pushed = !q->pending || push(q, dev);
		if (pushed) {
			more = take_packets(q, dev);
			pushed = !q->pending || push(q, dev);
		}
		local_bh_enable();
	}
	return pushed;
}

/* Sends, and sees to it that somebody goes on when the device is behind. */
static void step(struct nmk_txq *q, struct net_device *dev)
{
	struct nm_ring *ring = q->ring;
	uint32_t slots = ring->num_slots;
	bool blocked = !transmit(q, dev);

	if (blocked) {
		/* A completion before this is seen by another try, one after it starts the work. */
		WRITE_ONCE(q->blocked, true);
		smp_mb();
		blocked = !transmit(q, dev);
	}
	WRITE_ONCE(q->blocked, blocked);
	abandon_if_stalled(q);
	if (blocked || packets_out(q) >= slots - 1)
		queue_delayed_work(nmk_wq, &q->work, msecs_to_jiffies(RETRY_MS));
}

static void set_tail(struct nmk_txq *q)
{
	struct nm_ring *ring = q->ring;
	uint32_t room = ring->num_slots - 1 - min(packets_out(q), ring->num_slots - 1);

	nm_ring_set_tail(ring, nm_ring_advance(ring->hwcur, room, ring->num_slots));
}

int nmk_nic_txsync(struct nm_ring *ring)
{
	struct nmk_nic *nic = ring->port->priv;
	struct net_device *dev;
	int error = 0;

	rcu_read_lock();
	dev = rcu_dereference(nic->dev);
	if (unlikely(!dev)) {
		error = -ENXIO;
	} else if (ring->host) {
		error = nmk_host_txsync(ring, dev);
	} else {
		step(ring->priv, dev);
		set_tail(ring->priv);
	}
	rcu_read_unlock();
	return error;
}

bool nmk_nic_can_send(struct nm_ring *ring)
{
	struct nmk_nic *nic = ring->port->priv;
	struct nmk_txq *q = ring->priv;
	struct net_device *dev;
	bool can = false;

	rcu_read_lock();
	dev = rcu_dereference(nic->dev);
	if (dev && ring->host)
		can = false; /* a host ring takes all whole packets */
	else if (dev)
		can = q->blocked && !netif_xmit_frozen_or_drv_stopped(queue_of(dev, ring));
	rcu_read_unlock();
	return can;
}

/* Sends what the device takes now. False: there is more. */
static bool step_unless_stopped(struct nmk_txq *q)
{
	struct net_device *dev;

	rcu_read_lock();
	dev = rcu_dereference(q->nic->dev);
	if (dev && !q->stopped)
		step(q, dev);
	rcu_read_unlock();
	return !dev || (!q->pending && !q->blocked);
}

/* The device's queue was full: it may have room now. The thread that is syncing the ring sees to
 * it. */
static void go_on(struct work_struct *work)
{
	struct nmk_txq *q = container_of(to_delayed_work(work), struct nmk_txq, work);

	if (mutex_trylock(&q->ring->wakeup.sync)) {
		step_unless_stopped(q);
		mutex_unlock(&q->ring->wakeup.sync);
	} else {
		queue_delayed_work(nmk_wq, &q->work, msecs_to_jiffies(RETRY_MS));
	}
	os_wakeup_signal(&q->ring->wakeup);
}

/* ---- another user --------------------------------------------------------------------- */

void nmk_nic_tx_hand_over(struct nm_ring *ring)
{
	struct nmk_txq *q = ring->priv;
	struct net_device *dev;

	rcu_read_lock();
	dev = q ? rcu_dereference(q->nic->dev) : NULL;
	if (dev) {
		local_bh_disable();
		while (take_packets(q, dev))
			;
		local_bh_enable();
		if (ring->hwcur != ring->head) {
			ring->stats.packets++;
			ring->stats.drops[NM_DROP_FRAGMENTS]++;
		}
		if (q->pending)
			queue_delayed_work(nmk_wq, &q->work, 0);
	}
	rcu_read_unlock();
}

void nmk_nic_tx_reset(struct nm_ring *ring)
{
	if (ring->priv)
		set_tail(ring->priv);
}

/* ---- start and stop ------------------------------------------------------------------ */

int nmk_nic_tx_start(struct nmk_nic *nic)
{
	struct nm_port *port = nic->port;

	nic->txqs = kcalloc(port->num_rings[NM_TX], sizeof(*nic->txqs), GFP_KERNEL);
	if (!nic->txqs)
		return -ENOMEM;
	for (uint32_t i = 0; i < port->num_rings[NM_TX]; i++) {
		struct nmk_txq *q = &nic->txqs[i];

		q->nic = nic;
		q->ring = &port->rings[NM_TX][i];
		q->pending_end = &q->pending;
		q->last_done = jiffies;
		INIT_LIST_HEAD(&q->abandoned);
		INIT_DELAYED_WORK(&q->work, go_on);
		q->credit = new_credit(q, GFP_KERNEL);
		if (!q->credit) {
			nmk_nic_tx_stop(nic);
			return -ENOMEM;
		}
		q->ring->priv = q;
	}
	return 0;
}

/* No other thread syncs the ring any more. `end`: jiffies. */
static void finish(struct nmk_txq *q, unsigned long end)
{
	struct nm_ring *ring = q->ring;
	bool done = false;

	while (!done && time_before(jiffies, end)) {
		mutex_lock(&ring->wakeup.sync);
		done = step_unless_stopped(q);
		mutex_unlock(&ring->wakeup.sync);
		if (!done)
			msleep(RETRY_MS);
	}
	mutex_lock(&ring->wakeup.sync);
	q->stopped = true;
	if (q->pending)
		os_log(OS_LOG_WARN,
			"%s: tx ring %u: closed while the device's queue was full; the last packets are lost",
			ring->port->name, ring->id);
	count_pending_dropped(q, NM_DROP_REFUSED);
	mutex_unlock(&ring->wakeup.sync);
}

/* Completions don't find the ring any more. */
static void disconnect(struct nmk_txq *q)
{
	struct nmk_credit *credit;
	unsigned long flags;

	spin_lock_irqsave(&credits_lock, flags);
	RCU_INIT_POINTER(q->credit->q, NULL);
	list_for_each_entry (credit, &q->abandoned, link)
		RCU_INIT_POINTER(credit->q, NULL);
	spin_unlock_irqrestore(&credits_lock, flags);
}

void nmk_nic_tx_stop(struct nmk_nic *nic)
{
	uint32_t rings = nic->port->num_rings[NM_TX];
	unsigned long end = jiffies + msecs_to_jiffies(STOP_MS);

	if (!nic->txqs) /* stopped before, with the region of its rings */
		return;
	for (uint32_t i = 0; i < rings && nic->txqs[i].credit; i++) {
		finish(&nic->txqs[i], end);
		disconnect(&nic->txqs[i]);
	}
	synchronize_net();
	for (uint32_t i = 0; i < rings && nic->txqs[i].credit; i++) {
		struct nmk_txq *q = &nic->txqs[i];

		cancel_delayed_work_sync(&q->work);
		put_credit(q->credit);
		q->ring->priv = NULL;
	}
	kfree(nic->txqs);
	nic->txqs = NULL;
}

void nmk_nic_tx_device_gone(struct nmk_nic *nic)
{
	for (uint32_t i = 0; nic->txqs && i < nic->port->num_rings[NM_TX]; i++) {
		struct nmk_txq *q = &nic->txqs[i];

		mutex_lock(&q->ring->wakeup.sync);
		count_pending_dropped(q, NM_DROP_LINK_DOWN);
		mutex_unlock(&q->ring->wakeup.sync);
	}
}

void nmk_nic_tx_out(void)
{
	atomic_inc(&credits);
}

void nmk_nic_tx_in(void)
{
	atomic_dec(&credits);
}

void nmk_nic_tx_wait(void)
{
	for (uint32_t ms = 0; atomic_read(&credits) > 0; ms += RETRY_MS) {
		if (ms == SAY_MS)
			os_log(OS_LOG_WARN,
				"unloading waits for packets that drivers have not sent yet; set their devices down");
		msleep(RETRY_MS);
	}
	synchronize_rcu(); /* the last completion has left this module */
}
