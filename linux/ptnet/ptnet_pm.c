// SPDX-License-Identifier: BSD-2-Clause
/*
 * The machine sleeps and wakes: suspend to idle and to memory, hibernation.
 *
 * Before it sleeps, nobody uses the rings any more and the host stops serving them, as it must not
 * write to memory that is about to be frozen or saved. When the machine wakes from suspend to
 * memory, QEMU has reset the device: it knows of no CSB, no header length and no service, and its
 * rings are empty. So everything is told anew and the service begins as at first; who had the rings
 * before has them again: an application finds its rings empty, with the buffers in their slots that it
 * had. Packets that were in a ring are lost, as in a machine that is off. After suspend to idle the
 * host has kept the state of its rings: what was to be sent is sent, what has arrived is dropped
 * and counted, as what arrives while nobody listens.
 *
 * A machine that was saved to a disk (hibernation) wakes in another QEMU, with another port of the same name, maybe of another netmapd. If that
 * is where the former one was in the region it goes on as after suspend to memory; else, or when an application had the
 * rings, it stays off.
 *
 * Processes are frozen meanwhile, and so is what they ask of the driver. Threads of the kernel that
 * sync a port (devices on switches, the stack on host rings) go on: they find a ring that doesn't move.
 *
 * A reset of the function, on request or since the bus has had an error, is such a sleep, too; but processes go on, and set the
 * interface down, open its port and close it: that is taken note of, and the function told when it is back (ptnet.away).
 */
#include "ptnet.h"
#include "kmod.h"

#include <linux/rtnetlink.h>

/* ptnet_probe_lock held. */
static void fall_asleep(struct ptnet *ptn)
{
	rtnl_lock();
	nm_core_lock(&netmap_core);
	mutex_lock(&ptn->lock);
	netif_device_detach(ptn->netdev);
	if (ptn->state == PTNET_STACK)
		ptnet_stack_off(ptn);
	mutex_unlock(&ptn->lock);
	ptnet_port_sleep(ptn); /* takes locks of rings, which are taken before that of ptn */
	mutex_lock(&ptn->lock);
	if (ptn->state != PTNET_IDLE)
		ptnet_service_stop(ptn);
	ptnet_device_forget_csb(ptn);
	ptn->away = true;
	mutex_unlock(&ptn->lock);
	nm_core_unlock(&netmap_core);
	rtnl_unlock();
}

/* Those who had the rings have them again, also when the host doesn't serve: then that is in the log. */
static int begin_anew(struct ptnet *ptn)
{
	int error = 0;

	rtnl_lock();
	nm_core_lock(&netmap_core);
	mutex_lock(&ptn->lock);
	ptn->away = false;
	ptnet_device_introduce(ptn);
	if (ptn->state != PTNET_IDLE) {
		ptnet_rings_repair(ptn);
		error = ptnet_service_start(ptn);
	}
	if (ptn->state == PTNET_STACK)
		ptnet_stack_on(ptn);
	mutex_unlock(&ptn->lock);
	ptnet_port_wake(ptn);
	netif_device_attach(ptn->netdev);
	nm_core_unlock(&netmap_core);
	rtnl_unlock();
	return error;
}

static int ptnet_suspend(struct device *dev)
{
	struct ptnet *ptn = dev_get_drvdata(dev);

	mutex_lock(&ptnet_probe_lock);
	/* Not when its memory function is gone, or an error comes on top of a reset. */
	if (ptn->netdev && !ptn->away)
		fall_asleep(ptn);
	mutex_unlock(&ptnet_probe_lock);
	return 0;
}

static int ptnet_resume(struct device *dev)
{
	struct ptnet *ptn = dev_get_drvdata(dev);
	int error = 0;

	mutex_lock(&ptnet_probe_lock);
	if (ptn->netdev && ptn->away)
		error = begin_anew(ptn);
	mutex_unlock(&ptnet_probe_lock);
	return error;
}

/* Another machine has been given this one's memory. Its host may have put the port elsewhere: there are others' rings and buffers now
 * where this one's have been. And what applications find in the region is not what they had there. */
static bool is_as_it_was(const struct ptnet *ptn)
{
	return ptn->state != PTNET_NETMAP && ptnet_mem_same(ptn->mem) && ptnet_rings_same(ptn);
}

static int ptnet_restore(struct device *dev)
{
	struct ptnet *ptn = dev_get_drvdata(dev);
	int error = 0;

	mutex_lock(&ptnet_probe_lock);
	if (ptn->netdev && ptn->away) {
		error = is_as_it_was(ptn) ? begin_anew(ptn) : -ENODEV;
		if (error == -ENODEV)
			netdev_err(ptn->netdev,
				"its rings are elsewhere now, or an application had them: they stay off until the driver is unbound from %s, and bound\n",
				pci_name(ptn->pdev));
	}
	mutex_unlock(&ptnet_probe_lock);
	return error;
}

const struct dev_pm_ops ptnet_pm_ops = {
	.suspend = ptnet_suspend,
	.resume = ptnet_resume,
	.freeze = ptnet_suspend,
	.thaw = ptnet_resume,
	.poweroff = ptnet_suspend,
	.restore = ptnet_restore,
};

/* ---- errors of the bus, resets ---------------------------------------------------------- */

static pci_ers_result_t error_detected(struct pci_dev *pdev, pci_channel_state_t state)
{
	if (state == pci_channel_io_perm_failure)
		return PCI_ERS_RESULT_DISCONNECT;
	ptnet_suspend(&pdev->dev);
	return PCI_ERS_RESULT_NEED_RESET;
}

static pci_ers_result_t slot_reset(struct pci_dev *pdev)
{
	pci_restore_state(pdev);
	pci_set_master(pdev);
	return PCI_ERS_RESULT_RECOVERED;
}

static void error_resume(struct pci_dev *pdev)
{
	ptnet_resume(&pdev->dev);
}

static void reset_prepare(struct pci_dev *pdev)
{
	ptnet_suspend(&pdev->dev);
}

const struct pci_error_handlers ptnet_error_handlers = {
	.error_detected = error_detected,
	.slot_reset = slot_reset,
	.resume = error_resume,
	.reset_prepare = reset_prepare,
	.reset_done = error_resume,
};
