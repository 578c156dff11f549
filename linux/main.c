// SPDX-License-Identifier: BSD-2-Clause
/* Loading and unloading netmap.ko. */
#define pr_fmt(fmt) "netmap: " fmt

#include "world.h"

#include <linux/module.h>

struct nm_core nm_world;

static int __init nmk_init(void)
{
	int error = nm_core_init(&nm_world);

	if (error)
		return error;
	error = ptnet_register();
	if (error)
		goto fail_core;
	/* Last: from here on somebody may have it open, and the module can't fail to load. */
	error = nmk_chardev_register();
	if (error)
		goto fail_ptnet;
	pr_info("loaded, API version %d\n", NETMAP_API);
	return 0;

fail_ptnet:
	ptnet_unregister();
fail_core:
	nm_core_destroy(&nm_world);
	return error;
}

/* An open /dev/netmap, and a mapping of it, holds a reference to the module: no client is left. */
static void __exit nmk_exit(void)
{
	nmk_chardev_unregister();
	ptnet_unregister();
	nm_core_destroy(&nm_world);
	pr_info("unloaded\n");
}

module_init(nmk_init);
module_exit(nmk_exit);

MODULE_DESCRIPTION("netmap, with the driver of passed-through ports (ptnet)");
MODULE_LICENSE("Dual BSD/GPL");
