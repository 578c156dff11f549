// SPDX-License-Identifier: BSD-2-Clause
#include "netns.h"
#include "attach_threads.h"
#include "persist.h"

#include <net/net_namespace.h>

/* Before the namespace's devices are moved or removed, and without the rtnl lock. */
static void __net_exit netns_exit(struct net *net)
{
	nmk_attachment_detach_all(net);
	nmk_persist_netns_exit(net);
}

static struct pernet_operations ops = {
	.exit = netns_exit,
};

int nmk_netns_register(void)
{
	return register_pernet_device(&ops);
}

/* All namespaces end, for the module. */
void nmk_netns_unregister(void)
{
	unregister_pernet_device(&ops);
}
