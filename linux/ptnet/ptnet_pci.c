// SPDX-License-Identifier: BSD-2-Clause
/* The network function: what comes and goes with it, and in which order. */
#include "ptnet.h"
#include "kmod.h"

#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

DEFINE_MUTEX(ptnet_probe_lock);

/* ---- probe --------------------------------------------------------------------------- */

/* See is_memory_function(). */
static bool is_network_function(struct pci_dev *pdev)
{
	return (pci_resource_flags(pdev, PTNETMAP_IO_PCI_BAR) & IORESOURCE_IO) &&
	       pci_resource_len(pdev, PTNETMAP_IO_PCI_BAR) >= PTNET_IO_KICK_BASE &&
	       (pci_resource_flags(pdev, PTNETMAP_MSIX_PCI_BAR) & IORESOURCE_MEM);
}

/* The interface and the port get their common name at the same time: nothing can rename one of
 * them, or set it up, in between. */
static int go_public(struct ptnet *ptn)
{
	int error;

	rtnl_lock();
	error = register_netdevice(ptn->netdev);
	if (error) {
		rtnl_unlock();
		return error;
	}
	nm_core_lock(&netmap_core);
	error = ptnet_port_add(ptn);
	nm_core_unlock(&netmap_core);
	if (error)
		unregister_netdevice(ptn->netdev);
	else
		ptnet_spread_senders(ptn, ptn->num_rings[NM_TX]);
	rtnl_unlock();
	return error;
}

/* ---- the way back -------------------------------------------------------------------- */

static void free_ptnet(struct kref *kref)
{
	struct ptnet *ptn = container_of(kref, struct ptnet, kref);

	__skb_queue_purge(&ptn->forwarded);
	kfree(ptn->queues);
	kfree(ptn);
}

void ptnet_put(struct ptnet *ptn)
{
	kref_put(&ptn->kref, free_ptnet);
}

/*
 *  1. The port is dead: no sync is under way or will begin, so nobody touches its rings from
 *     there; those who wait for it are woken.
 *  2. The interface goes: no NAPI, no transmit; the last user of the service is gone.
 *  3. The host stops, and forgets the CSB.
 */
void ptnet_detach(struct ptnet *ptn)
{
	struct net_device *netdev = ptn->netdev;

	if (!netdev)
		return;
	rtnl_lock();
	nm_core_lock(&netmap_core);
	ptnet_port_remove(ptn);
	nm_core_unlock(&netmap_core);
	unregister_netdevice(netdev);
	rtnl_unlock();
	ptnet_device_release(ptn);
}

static int probe_locked(struct pci_dev *pdev)
{
	struct ptnet *ptn = kzalloc(sizeof(*ptn), GFP_KERNEL);
	int error;

	if (!ptn)
		return -ENOMEM;
	kref_init(&ptn->kref);
	mutex_init(&ptn->lock);
	__skb_queue_head_init(&ptn->forwarded);
	ptn->pdev = pdev;
	error = ptnet_device_probe(ptn);
	if (!error)
		error = go_public(ptn);
	if (error)
		goto fail;
	pci_set_drvdata(pdev, ptn);
	netdev_info(ptn->netdev, "passed-through port, %u tx and %u rx rings of memory region %u\n",
		ptn->num_rings[NM_TX], ptn->num_rings[NM_RX], ptn->mem->id);
	return 0;

fail:
	ptnet_device_release(ptn);
	ptnet_put(ptn);
	return error;
}

static int net_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int error;

	if (!is_network_function(pdev))
		return -ENODEV;
	error = pci_enable_device(pdev);
	if (error)
		return error;
	error = pci_request_regions(pdev, PTNET_DRIVER_NAME);
	if (error)
		goto fail_disable;
	pci_set_master(pdev);
	error = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (error)
		goto fail_release;
	mutex_lock(&ptnet_probe_lock);
	error = probe_locked(pdev);
	mutex_unlock(&ptnet_probe_lock);
	if (error)
		goto fail_release;
	return 0;

fail_release:
	pci_release_regions(pdev);
fail_disable:
	pci_disable_device(pdev);
	return error;
}

static void net_remove(struct pci_dev *pdev)
{
	struct ptnet *ptn = pci_get_drvdata(pdev);

	mutex_lock(&ptnet_probe_lock);
	ptnet_detach(ptn); /* unless it went with its memory function */
	pci_set_drvdata(pdev, NULL);
	mutex_unlock(&ptnet_probe_lock);
	ptnet_put(ptn);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
}

/* The machine goes down or starts another kernel: the host must not write to this one's memory. */
static void net_shutdown(struct pci_dev *pdev)
{
	struct ptnet *ptn = pci_get_drvdata(pdev);

	mutex_lock(&ptnet_probe_lock);
	if (ptn->netdev) {
		nm_core_lock(&netmap_core);
		mutex_lock(&ptn->lock);
		ptnet_service_end(ptn);
		ptnet_device_forget_csb(ptn);
		mutex_unlock(&ptn->lock);
		nm_core_unlock(&netmap_core);
	}
	mutex_unlock(&ptnet_probe_lock);
}

/* ---- a memory function comes back ------------------------------------------------------ */

/* Is it bound to this driver, but went with its memory function? Who unbinds it has its device_lock, and waits for whoever looks
 * through the devices of the driver: so here nobody takes that. */
static int is_orphan(struct device *dev, const void *nothing)
{
	const struct ptnet *ptn;
	bool orphan;

	mutex_lock(&ptnet_probe_lock);
	ptn = dev_get_drvdata(dev); /* NULL: it is on its way */
	orphan = ptn && !ptn->netdev;
	mutex_unlock(&ptnet_probe_lock);
	return orphan;
}

/* Those that wait for a memory function are probed by the system; those that had one, here. */
static void adopt_orphans(struct work_struct *work)
{
	struct device *dev;

	while ((dev = driver_find_device(&ptnet_net_driver.driver, NULL, NULL, is_orphan))) {
		int error = device_reprobe(dev); /* no orphan any more, whatever the result */

		if (error)
			dev_warn(dev, "not probed again: error %d\n", -error);
		put_device(dev);
	}
}

static DECLARE_WORK(adoption, adopt_orphans);
static bool adoption_ended; /* under ptnet_probe_lock */

void ptnet_adopt_orphans(void)
{
	lockdep_assert_held(&ptnet_probe_lock);
	if (!adoption_ended)
		schedule_work(&adoption);
}

static void end_adoption(void)
{
	mutex_lock(&ptnet_probe_lock);
	adoption_ended = true;
	mutex_unlock(&ptnet_probe_lock);
	cancel_work_sync(&adoption);
}

static const struct pci_device_id net_ids[] = {
	{
		PCI_DEVICE(PTNETMAP_PCI_VENDOR_ID, PTNETMAP_PCI_NETIF_ID),
		.class = (uint32_t)PTNETMAP_PCI_NETIF_CLASS << 8,
		.class_mask = 0xffff00,
	},
	{},
};
MODULE_DEVICE_TABLE(pci, net_ids);

struct pci_driver ptnet_net_driver = {
	.name = "ptnet",
	.id_table = net_ids,
	.probe = net_probe,
	.remove = net_remove,
	.shutdown = net_shutdown,
	.err_handler = &ptnet_error_handlers,
	.driver.pm = pm_sleep_ptr(&ptnet_pm_ops),
};

/* ---- both drivers -------------------------------------------------------------------- */

int ptnet_register(void)
{
	int error = ptnet_notifier_register();

	if (error)
		return error;
	error = pci_register_driver(&ptnet_mem_driver);
	if (error)
		goto fail_notifier;
	error = pci_register_driver(&ptnet_net_driver);
	if (error)
		goto fail_mem;
	return 0;

fail_mem:
	end_adoption();
	pci_unregister_driver(&ptnet_mem_driver);
fail_notifier:
	ptnet_notifier_unregister();
	return error;
}

void ptnet_unregister(void)
{
	end_adoption();
	pci_unregister_driver(&ptnet_net_driver);
	pci_unregister_driver(&ptnet_mem_driver);
	ptnet_notifier_unregister();
}
