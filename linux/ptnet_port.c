// SPDX-License-Identifier: BSD-2-Clause
/* The port kind "ptnet": the rings in the hands of a netmap application. */
#include "ptnet.h"
#include "world.h"

/* ---- sync: the application side of the CSB --------------------------------------------- */

/* Takes over how far the host is. The port is the host's; the range alone is checked. */
static int load_ring(struct nm_ring *ring, struct ptnet_queue *q)
{
	if (unlikely(!nm_csb_appl_load(&q->csb)))
		return -EIO;
	ring->hwcur = q->csb.hwcur;
	ring->tail = q->csb.hwtail;
	ring->produce.hwtail = q->csb.hwtail;
	return 0;
}

/*
 * tx: slots up to head are to be sent; rx: slots up to head are free again. Somebody else may sleep
 * on the ring: the interrupt that was asked for is theirs. (They were on the queue before they
 * asked, under the lock that is held here.)
 */
static int ptnet_sync(struct nm_ring *ring)
{
	struct ptnet_queue *q = ring->priv;

	if (!waitqueue_active(&ring->wakeup.wq))
		nm_csb_appl_awake(&q->csb);
	if (nm_csb_appl_publish(&q->csb, ring->head, ring->cur))
		ptnet_kick(q);
	return load_ring(ring, q);
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

static void give_to_netmap(struct nm_port *port, struct ptnet_queue *q)
{
	struct nm_ring *ring = ring_of(port, q);

	ring->head = ring->cur = q->csb.head;
	ring->hwcur = q->csb.hwcur;
	ring->tail = ring->produce.hwtail = q->csb.hwtail;
	memset(&ring->stats, 0, sizeof(ring->stats));
	nm_ring_reset_shared(ring);
	smp_store_release(&q->nmring, ring);
}

static int ptnet_port_start(struct nm_port *port, char *err, size_t err_size)
{
	struct ptnet *ptn = port->priv;
	int error;

	mutex_lock(&ptn->lock);
	error = ptnet_service_get(ptn);
	if (error) {
		os_snprintf(err, err_size, "%s: the host does not start the port: error %d",
			port->name, -error);
		goto out;
	}
	if (ptn->up)
		ptnet_stack_off(ptn);
	WRITE_ONCE(ptn->netmap, true);
	ptnet_rings_repair(ptn);
	ptnet_rings_describe(ptn, port->name);
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++)
		give_to_netmap(port, &ptn->queues[i]);
	if (ptn->up)
		netif_tx_wake_all_queues(ptn->netdev); /* to drop what comes */
out:
	mutex_unlock(&ptn->lock);
	return error;
}

/* Also called for a device that is gone: then everything is done already. */
static void ptnet_port_stop(struct nm_port *port)
{
	struct ptnet *ptn = port->priv;

	mutex_lock(&ptn->lock);
	if (!ptn->netmap)
		goto out;
	for (uint32_t i = 0; i < ptnet_num_queues(ptn); i++) {
		struct ptnet_queue *q = &ptn->queues[i];

		WRITE_ONCE(q->nmring, NULL);
		synchronize_irq(q->irq);
	}
	if (ptn->up)
		netif_tx_disable(ptn->netdev);
	ptnet_rings_repair(ptn);
	WRITE_ONCE(ptn->netmap, false);
	if (ptn->up)
		ptnet_stack_on(ptn);
	ptnet_service_put(ptn);
out:
	mutex_unlock(&ptn->lock);
}

static void ptnet_port_destroy(struct nm_port *port)
{
	ptnet_put(port->priv);
}

/* The length is agreed with the host before it starts. */
static int ptnet_set_hdr_len(struct nm_port *port, uint32_t bytes)
{
	struct ptnet *ptn = port->priv;
	int error = 0;

	mutex_lock(&ptn->lock);
	if (ptn->gone)
		error = -ENXIO;
	else if (ptn->users > 0)
		error = -EBUSY;
	else
		ptnet_negotiate_hdr_len(ptn, bytes);
	port->hdr_len = ptn->hdr_len;
	if (!error && ptn->hdr_len != bytes)
		error = -EOPNOTSUPP;
	mutex_unlock(&ptn->lock);
	return error;
}

static const struct nm_port_ops ptnet_port_ops = {
	.kind = "ptnet",
	.start = ptnet_port_start,
	.stop = ptnet_port_stop,
	.destroy = ptnet_port_destroy,
	.set_hdr_len = ptnet_set_hdr_len,
	.txsync = ptnet_sync,
	.rxsync = ptnet_sync,
};

/* ---- registration ----------------------------------------------------------------------- */

int ptnet_port_add(struct ptnet *ptn)
{
	struct nm_shape shape = {
		.rings = {ptn->num_rings[NM_TX], ptn->num_rings[NM_RX]},
		.slots = {ptn->num_slots[NM_TX], ptn->num_slots[NM_RX]},
	};
	int error;
	struct nm_port *port =
		nm_port_add_locked(&nm_world, ptn->netdev->name, &ptnet_port_ops, &shape, &error);

	if (!port) {
		pci_err(ptn->pdev, "port %s can't be added: error %d\n", ptn->netdev->name, -error);
		return error;
	}
	port->priv = ptn;
	kref_get(&ptn->kref);
	port->region = ptn->mem->region;
	nm_region_get(port->region);
	port->nifp_offset = ptn->nifp_offset;
	port->hdr_len = ptn->hdr_len;
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
	bool in_use = port->clients > 0;

	ptn->port = NULL;
	nm_port_remove_locked(port); /* frees it unless in use */
	if (!in_use)
		return;
	drain(port);
	ptnet_port_stop(port);
}
