// SPDX-License-Identifier: BSD-2-Clause
/* Loading and unloading netmap.ko. */
#define pr_fmt(fmt) "netmap: " fmt

#include "debugfs.h"
#include "extmem.h"
#include "kloop.h"
#include "mem.h"
#include "netns.h"
#include "nic.h"
#include "params.h"
#include "persist.h"
#include "attach_threads.h"
#include "turns.h"
#include "kmod.h"

#include <linux/module.h>

struct nm_core netmap_core;

static const char *more_objects(const struct nm_region *region, enum nm_pool pool)
{
	static const char *const shared[NM_POOLS] = {"parameter if_num of the module",
		"parameter ring_num of the module", "parameter buf_num of the module"};
	static const char *const foreign[NM_POOLS] = {"netmapd --guest-ifs on the host",
		"netmapd --guest-rings on the host", "netmapd --guest-buffers on the host"};

	if (region->foreign)
		return foreign[pool];
	if (region->shared)
		return shared[pool];
	return pool == NM_POOL_BUF ? "parameter priv_buf_num of the module" : NULL;
}

static const struct nm_platform_ops platform_ops = {
	.lookup = nmk_nic_lookup,
	.newif = nmk_persist_newif,
	.delif = nmk_persist_delif,
	.attachment_start = nmk_attachment_start,
	.attachment_stop = nmk_attachment_stop,
	.attachment_pause = nmk_attachment_pause,
	.attachment_poll = nmk_attachment_poll,
	.more_objects = more_objects,
	.mem_takes_long = nmk_mem_takes_long,
	.between_parts = nmk_between_parts,
	.await_make = nmk_await_make,
	.make_ended = nmk_make_ended,
	.run_apart = nmk_run_apart,
};

static int __init nmk_init(void)
{
	int error = nmk_mem_register();

	if (error)
		return error;
	error = nm_core_init(&netmap_core);
	if (error)
		goto fail_mem;
	netmap_core.platform_ops = &platform_ops;
	error = nmk_params_start(&netmap_core);
	if (!error)
		error = nmk_extmem_register();
	if (error)
		goto fail_core;
	error = nmk_kloop_register();
	if (error)
		goto fail_extmem;
	error = nmk_nic_register();
	if (error)
		goto fail_kloop;
	error = ptnet_register();
	if (error)
		goto fail_nic;
	error = nmk_netns_register();
	if (error)
		goto fail_ptnet;
	/* Last: from here on a program may have it open, and the module can't fail to load. */
	error = nmk_chardev_register();
	if (error)
		goto fail_netns;
	nmk_debugfs_register();
	pr_info("loaded, API version %d\n", NETMAP_API);
	return 0;

fail_netns:
	nmk_netns_unregister();
fail_ptnet:
	ptnet_unregister();
fail_nic:
	nmk_nic_unregister();
fail_kloop:
	nmk_kloop_unregister();
fail_extmem:
	nmk_extmem_unregister();
fail_core:
	nmk_params_stop();
	nm_core_destroy(&netmap_core);
fail_mem:
	nmk_mem_unregister();
	return error;
}

/* An open /dev/netmap, and a mapping of it, holds a reference to the module: no client is left but
 * those of devices on switches. */
static void __exit nmk_exit(void)
{
	nmk_debugfs_unregister();
	nmk_chardev_unregister();
	nmk_netns_unregister();
	nmk_attachment_detach_all(NULL);
	ptnet_unregister();
	nmk_nic_unregister();
	nmk_kloop_unregister();
	nmk_extmem_unregister();
	nmk_params_stop();
	nm_core_destroy(&netmap_core);
	nmk_mem_unregister();
	pr_info("unloaded\n");
}

module_init(nmk_init);
module_exit(nmk_exit);

MODULE_DESCRIPTION("netmap, with the driver of passed-through ports (ptnet)");
MODULE_LICENSE("Dual BSD/GPL");
