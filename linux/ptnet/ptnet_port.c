// SPDX-License-Identifier: BSD-2-Clause
/* The port kind "ptnet": the rings in the hands of a netmap application. */
#include "bufown.h"
#include "hostring.h"
#include "ptnet.h"
#include "monitor.h"
#include "attach_threads.h"
#include "kmod.h"

/* In each direction; they are there when the guest's part of the region has room for them. */
#define HOST_RINGS 1

/* ---- sync: the application side of the CSB --------------------------------------------- */

/* Takes over how far the host is. The port is the host's; the range alone is checked. */
static int load_ring(struct nm_ring *ring, struct ptnet_queue *q)
{
	if (unlikely(!nm_csb_appl_load(&q->csb)))
		return -EIO;
	ring->hwcur = q->csb.hwcur;
	nm_ring_set_tail(ring, q->csb.hwtail);
	return 0;
}

/*
 * tx: slots up to head are to be sent; rx: slots up to head are free again. Somebody else may sleep
 * on the ring: the interrupt that was asked for is theirs. (They were on the queue before they
 * asked, under the lock that is held here.)
 */
static int sync_csb(struct nm_ring *ring)
{
	struct ptnet_queue *q = ring->priv;

	if (unlikely(OS_LOAD(&q->ptn->asleep)))
		return 0;
	if (!waitqueue_active(&ring->wakeup.wq))
		nm_csb_appl_awake(&q->csb);
	if (nm_csb_appl_publish(&q->csb, ring->head, ring->cur))
		ptnet_kick(q);
	return load_ring(ring, q);
}

static struct ptnet *ptnet_of_ring(const struct nm_ring *ring)
{
	return ring->port->priv;
}

static int ptnet_txsync(struct nm_ring *ring)
{
	if (ring->host)
		return nmk_host_txsync(ring, ptnet_of_ring(ring)->netdev);
	return sync_csb(ring);
}

/* If not, the host's interrupt will wake whoever waits. */
static bool ptnet_can_send(struct nm_ring *ring)
{
	struct ptnet_queue *q = ring->priv;

	return ring->host || nm_csb_appl_sleep(&q->csb);
}

/* ---- NS_FORWARD on a host ring: to the host ---------------------------------------------- */

/* Soft interrupts are off, and the tx ring has a mutex: later. */
static void remember_forwarded(struct nm_port *port, struct sk_buff *skb, uint32_t ring)
{
	struct ptnet *ptn = port->priv;

	__skb_queue_tail(&ptn->forwarded, skb);
}

/* Into the slots at head, with their application's positions. All is checked before the first slot
 * is written. The ring's `sync` is held. */
static enum nm_drop put_packet(struct nm_ring *ring, const struct sk_buff *skb)
{
	const uint32_t hdr_len = ring->port->hdr_len, size = ptnet_slot_bytes(ptnet_of_ring(ring));
	uint32_t slots = DIV_ROUND_UP(hdr_len + skb->len, size), at = ring->head, from = 0;
	uint32_t buf_idx[NETMAP_MAX_FRAGS];
	struct nm_slots to;

	if (ring->cur != ring->head ||
		slots > nm_ring_distance(ring->head, ring->tail, ring->num_slots))
		return NM_DROP_RX_FULL;
	if (slots > NETMAP_MAX_FRAGS)
		return NM_DROP_FRAGMENTS;
	nm_slots_init_ring(&to, ring, 0);
	if (!nm_slots_buffers(&to, at, slots, buf_idx))
		return NM_DROP_BAD_BUFFER;
	for (uint32_t n = 0; n < slots; n++) {
		uint32_t skip = n == 0 ? hdr_len : 0, bytes = min(skb->len - from, size - skip);
		char *buf = nm_slots_buf(&to, buf_idx[n]);

		memset(buf, 0, skip);
		if (skb_copy_bits(skb, (int)from, buf + skip, (int)bytes) != 0)
			return NM_DROP_NO_MEMORY;
		nm_slot_fill(&ring->slots[at], skip + bytes, n + 1 < slots ? NS_MOREFRAG : 0);
		from += bytes;
		at = nm_ring_advance(at, 1, ring->num_slots);
	}
	return nm_ring_sync(ring, at, at) == 0 ? NM_DROPS : NM_DROP_REFUSED;
}

/*
 * The tx ring is the application's: what it has filled in goes first, and slots that it is filling in
 * just now would be lost. So whoever asks for NR_FORWARD leaves sending to one thread.
 */
static void send_forwarded(struct nm_ring *ring, struct sk_buff *skb)
{
	enum nm_drop cause = NM_DROP_REFUSED;

	mutex_lock_nested(&ring->wakeup.sync, SINGLE_DEPTH_NESTING);
	if (!OS_LOAD(&ring->port->dead) && nm_ring_sync_shared(ring) == 0) {
		cause = put_packet(ring, skb);
		nm_ring_reset_shared(ring);
	}
	if (cause != NM_DROPS)
		ring->stats.drops[cause]++;
	mutex_unlock(&ring->wakeup.sync);
	kfree_skb(skb);
}

static int sync_host_rx(struct nm_ring *ring)
{
	struct ptnet *ptn = ptnet_of_ring(ring);
	struct sk_buff *skb;

	nmk_forward(ring, ring->hwcur, ptn->netdev, remember_forwarded);
	while ((skb = __skb_dequeue(&ptn->forwarded)))
		send_forwarded(&ring->port->rings[NM_TX][0], skb);
	return nm_ring_rxsync_produced(ring);
}

static int ptnet_rxsync(struct nm_ring *ring)
{
	const struct ptnet_queue *q = ring->priv;

	if (ring->host)
		return sync_host_rx(ring);
	nmk_forward(ring, q->csb.head, ptnet_of_ring(ring)->netdev, NULL);
	return sync_csb(ring);
}

/* See struct os_wakeup. When something has moved there may be no interrupt for it: others who
 * sleep on the ring are woken here, and ask again. */
static bool ptnet_about_to_sleep(struct nm_ring *ring)
{
	struct ptnet_queue *q = ring->priv;

	if (!nm_csb_appl_sleep(&q->csb))
		return false;
	os_wakeup_signal(&ring->wakeup);
	return true;
}

/* ---- taking the rings over, and giving them back ---------------------------------------- */

static struct nm_ring *ring_of(const struct nm_port *port, const struct ptnet_queue *q)
{
	return &port->rings[q->dir][q->id];
}

static void take_indices(struct nm_ring *ring, const struct ptnet_queue *q)
{
	nm_monitors_lock(ring);
	ring->head = ring->cur = q->csb.head;
	ring->hwcur = q->csb.hwcur;
	nm_ring_set_tail(ring, q->csb.hwtail);
	nm_monitor_rewind(ring);
	nm_monitors_unlock(ring);
	nm_ring_reset_shared(ring);
}

static void give_to_netmap(struct nm_port *port, struct ptnet_queue *q)
{
	struct nm_ring *ring = ring_of(port, q);

	memset(&ring->stats, 0, sizeof(ring->stats));
	take_indices(ring, q);
	smp_store_release(&q->nmring, ring);
}

/* The rings come with their header length, and without packets that only a stack knows. The interface, if it is up, has let go of
 * them. While the host serves it and there is nothing to change, its packets are not lost. */
static int start_service(struct ptnet *ptn, const struct nm_port *port)
{
	bool knows = ptn->hdr_len > 0 && (ptn->features & PTNETMAP_F_STACK);
	int error;

	if (ptn->gone)
		return -ENODEV;
	if (ptn->state == PTNET_STACK) {
		if (ptn->hdr_len == port->hdr_len && !knows)
			return 0;
		ptnet_service_stop(ptn);
	}
	ptnet_rings_repair(ptn);
	error = ptnet_service_hdr_len(ptn, port->hdr_len);
	return error ? error : ptnet_service_start(ptn);
}

/* The stack has them again. If the host doesn't serve them, that was said in the log. */
static void give_to_stack(struct ptnet *ptn)
{
	ptnet_service_hdr_len(ptn, ptnet_stack_hdr_len(ptn));
	ptnet_service_start(ptn);
	ptnet_stack_on(ptn);
}

static int ptnet_admit(const struct nm_port *port, struct nm_error *err)
{
	const struct ptnet *ptn = port->priv;

	return nmk_admit(ptn->netdev, err);
}

static int ptnet_port_start(struct nm_port *port, struct nm_error *err)
{
	struct ptnet *ptn = port->priv;
	int error;

	mutex_lock(&ptn->lock);
	if (ptn->up)
		ptnet_stack_off(ptn);
	error = start_service(ptn, port);
	if (error) {
		nm_error_set(err, error, "%s: the host does not start the port: error %d",
			port->name, -error);
		goto fail;
	}
	ptn->host = port;
	WRITE_ONCE(ptn->state, PTNET_NETMAP);
	ptnet_rings_describe(ptn, port->name);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		give_to_netmap(port, &ptn->queues[i]);
	if (ptn->up)
		netif_tx_wake_all_queues(ptn->netdev); /* for the host rings, or to be dropped */
	mutex_unlock(&ptn->lock);
	return 0;

fail:
	if (ptn->up) {
		ptnet_service_stop(ptn);
		give_to_stack(ptn);
	}
	mutex_unlock(&ptn->lock);
	return error;
}

/* Also called for a device that is gone: then everything is done already. */
static void ptnet_port_stop(struct nm_port *port)
{
	struct ptnet *ptn = port->priv;

	mutex_lock(&ptn->lock);
	if (ptn->state != PTNET_NETMAP)
		goto out;
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		struct ptnet_queue *q = &ptn->queues[i];

		WRITE_ONCE(q->nmring, NULL);
		synchronize_irq(q->irq);
	}
	if (ptn->up)
		netif_tx_disable(ptn->netdev);
	WRITE_ONCE(ptn->state, ptn->up ? PTNET_STACK : PTNET_IDLE);
	ptn->host = NULL;
	__skb_queue_purge(&ptn->forwarded);
	ptnet_service_stop(ptn);
	nm_bufown_reconcile_region(port->region, port); /* others keep what they reference */
	ptnet_rings_repair(ptn);
	if (ptn->up)
		give_to_stack(ptn);
out:
	mutex_unlock(&ptn->lock);
}

static void ptnet_port_destroy(struct nm_port *port)
{
	ptnet_put(port->priv);
}

/* The header length of applications. It is agreed with the host when they come; the host grants any
 * that it has granted to the stack, or none. */
static int ptnet_set_hdr_len(struct nm_port *port, uint32_t bytes)
{
	struct ptnet *ptn = port->priv;
	int error = 0;

	mutex_lock(&ptn->lock);
	if (ptn->gone)
		error = -ENXIO;
	else if (ptn->state == PTNET_NETMAP)
		error = -EBUSY;
	else if (bytes > 0 && ptn->stack_hdr_len == 0)
		error = -EOPNOTSUPP;
	else
		port->hdr_len = bytes;
	mutex_unlock(&ptn->lock);
	return error;
}

static const struct nm_port_ops ptnet_port_ops = {
	.kind = "ptnet",
	.admit = ptnet_admit,
	.start = ptnet_port_start,
	.stop = ptnet_port_stop,
	.destroy = ptnet_port_destroy,
	.set_hdr_len = ptnet_set_hdr_len,
	.txsync = ptnet_txsync,
	.rxsync = ptnet_rxsync,
	.can_send = ptnet_can_send,
};

/* ---- registration ----------------------------------------------------------------------- */

/* Could host rings be allocated if nobody else had taken anything? */
static bool room_for_host_rings(const struct ptnet *ptn)
{
	const struct nm_region *region = ptn->mem->region;
	const uint32_t wanted[NM_POOLS] = {
		1, 2 * HOST_RINGS, HOST_RINGS * (ptn->num_slots[NM_TX] + ptn->num_slots[NM_RX])};

	for (int pool = 0; pool < NM_POOLS; pool++)
		if (nm_bufown_num_free(region, pool) < wanted[pool])
			return false;
	return true;
}

int ptnet_port_add(struct ptnet *ptn)
{
	uint32_t host_rings = room_for_host_rings(ptn) ? HOST_RINGS : 0;
	struct nm_shape shape = {
		.rings = {ptn->num_rings[NM_TX], ptn->num_rings[NM_RX]},
		.host_rings = {host_rings, host_rings},
		.slots = {ptn->num_slots[NM_TX], ptn->num_slots[NM_RX]},
	};
	struct nm_error err;
	/* It is found through nmk_nic_lookup(), in the namespace of the interface. */
	struct nm_port *port = nm_port_add_unnamed_locked(
		&netmap_core, ptn->netdev->name, &ptnet_port_ops, &shape, &err);

	if (!port) {
		pci_err(ptn->pdev, "port %s can't be added: error %d\n", ptn->netdev->name,
			-err.code);
		return err.code;
	}
	port->priv = ptn;
	kref_get(&ptn->kref);
	port->region = ptn->mem->region;
	nm_region_get(port->region);
	port->nifp_offset = ptn->nifp_offset;
	port->hdr_len = ptn->hdr_len;
	port->hw_owner = ptnet_rings_owner(ptn);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		struct ptnet_queue *q = &ptn->queues[i];
		struct nm_ring *ring = ring_of(port, q);

		ring->shared = q->shared;
		ring->slots = q->slots;
		ring->region = port->region;
		ring->priv = q;
		ring->wakeup.about_to_sleep = ptnet_about_to_sleep;
	}
	ptn->port = port;
	return 0;
}

/* Waits for a sync that is under way; later ones see that the port is dead. */
static void drain(struct nm_port *port)
{
	for (int dir = 0; dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++) {
			mutex_lock(&port->rings[dir][i].wakeup.sync);
			mutex_unlock(&port->rings[dir][i].wakeup.sync);
		}
	}
}

void ptnet_port_remove(struct ptnet *ptn)
{
	struct nm_port *port = ptn->port;

	ptn->port = NULL;
	nm_port_pin_locked(port);
	nm_port_remove_locked(port); /* dead */
	nmk_attachment_stop_dead();  /* their threads hold no lock of the rings */
	drain(port);
	ptnet_port_stop(port);
	nm_port_unpin_locked(port); /* freed unless in use */
}

void ptnet_port_sleep(struct ptnet *ptn)
{
	OS_STORE(&ptn->asleep, true);
	drain(ptn->port);
}

void ptnet_port_wake(struct ptnet *ptn)
{
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		struct ptnet_queue *q = &ptn->queues[i];
		struct nm_ring *ring = ring_of(ptn->port, q);

		if (ptn->state != PTNET_NETMAP)
			continue;
		mutex_lock(&ring->wakeup.sync);
		take_indices(ring, q);
		mutex_unlock(&ring->wakeup.sync);
	}
	OS_STORE(&ptn->asleep, false);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		os_wakeup_signal(&ring_of(ptn->port, &ptn->queues[i])->wakeup);
}

/* The next port in a region that can still be used. */
static struct nm_port *next_alive(const struct nm_region *region)
{
	struct nm_port *port = netmap_core.ports;

	while (port && (port->region != region || OS_LOAD(&port->dead)))
		port = port->next;
	return port;
}

void ptnet_port_end_region(struct nm_region *region)
{
	struct nm_port *port;

	if (!region)
		return;
	while ((port = next_alive(region))) {
		nm_port_pin_locked(port);
		nm_port_remove_locked(port);
		nm_port_unpin_locked(port);
	}
	nmk_attachment_stop_dead();
	/* Those that were dead before as well: the core has ended some with their parents. */
	for (port = netmap_core.ports; port; port = port->next)
		if (port->region == region)
			drain(port);
	/* Who sends to them from other regions, through a switch, a device or a monitored ring, finds
	 * them no more. The last client stops them again, for nothing. */
	for (port = netmap_core.ports; port; port = port->next)
		if (port->region == region && port->clients > 0 && port->ops->stop)
			port->ops->stop(port);
	nm_region_end(region);
}
