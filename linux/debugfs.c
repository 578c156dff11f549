// SPDX-License-Identifier: BSD-2-Clause
/*
 * Files of /sys/kernel/debug/netmap, each a seq_file that is written in one go under core->lock (`memory`: without).
 * `macs` can be written to: the name of a switch, in the network namespace of who writes, flushes its
 * addresses.
 */
#include "debugfs.h"
#include "bufown.h"
#include "mem.h"
#include "vale.h"
#include "kmod.h"

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <net/net_namespace.h>

#define MACS_AT_A_TIME 32

static struct dentry *directory;

/* ---- ports ----------------------------------------------------------------------------- */

static void show_ring(struct seq_file *out, const struct nm_ring *ring)
{
	const struct nm_ring_stats *stats = &ring->stats;

	seq_printf(out, "  %s%s %u: users %u slots %u packets %llu bytes %llu syncs %llu",
		ring->host ? "host " : "", ring->dir == NM_TX ? "tx" : "rx", ring->id, ring->users,
		ring->num_slots, OS_LOAD(&stats->packets), OS_LOAD(&stats->bytes),
		OS_LOAD(&stats->syncs));
	if (ring->dir == NM_TX)
		seq_printf(out, " copies %llu", OS_LOAD(&stats->copies));
	if (OS_LOAD(&stats->bad_syncs))
		seq_printf(out, " bad_syncs %llu", OS_LOAD(&stats->bad_syncs));
	seq_puts(out, " drops");
	for (int cause = 0; cause < NM_DROPS; cause++)
		if (OS_LOAD(&stats->drops[cause]))
			seq_printf(out, " %s %llu", nm_drop_name(cause),
				OS_LOAD(&stats->drops[cause]));
	seq_putc(out, '\n');
}

/* The inode of a network namespace, as in /proc/PID/ns/net; of the first one nothing. */
static void show_netns(struct seq_file *out, const void *ns)
{
	const struct net *net = ns;

	if (net && !net_eq(net, &init_net))
		seq_printf(out, " netns %u", net->ns.inum);
}

static void show_port(struct seq_file *out, const struct nm_port *port)
{
	seq_printf(out, "%s: kind %s clients %u holds %u header %u",
		port->name[0] ? port->name : "(gone)", port->ops->kind, port->clients, port->pins,
		port->hdr_len);
	if (port->region)
		seq_printf(out, " region %u", port->region->id);
	if (port->parent)
		seq_printf(out, " of %s", port->parent->name);
	show_netns(out, port->ns);
	if (nm_port_is_being_made(port))
		seq_puts(out, " being_made");
	seq_puts(out, port->dead ? " dead\n" : "\n");
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			show_ring(out, &port->rings[dir][i]);
}

static int ports_show(struct seq_file *out, void *unused)
{
	nm_core_lock(&netmap_core);
	for (const struct nm_port *port = netmap_core.ports; port; port = port->next)
		show_port(out, port);
	nm_core_unlock(&netmap_core);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ports);

/* ---- regions --------------------------------------------------------------------------- */

static int regions_show(struct seq_file *out, void *unused)
{
	nm_core_lock(&netmap_core);
	for (const struct nm_region *region = netmap_core.regions; region; region = region->next) {
		seq_printf(out, "%u: bytes %llu refs %u%s%s\n", region->id, region->size,
			region->refs, region->foreign ? " foreign" : "",
			region->reserved ? " reserved" : "");
		for (int pool = 0; pool < NM_POOLS; pool++)
			seq_printf(out, "  %s: offset %llu objects %u of %u bytes, %u free\n",
				nm_pool_name(pool), region->pool[pool].offset,
				region->pool[pool].count, region->pool[pool].size,
				nm_bufown_num_free(region, pool));
	}
	nm_core_unlock(&netmap_core);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(regions);

/* ---- memory ---------------------------------------------------------------------------- */

static int memory_show(struct seq_file *out, void *unused)
{
	struct nmk_mem_use use = nmk_mem_use();

	seq_printf(out, "regions_kib %llu\nbeing_made %u\nmade %llu\n", use.bytes >> 10,
		use.being_made, use.made);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(memory);

/* ---- addresses ------------------------------------------------------------------------- */

static void show_switch(
	void *arg, const void *ns, const char *name, uint32_t index, uint32_t ports, uint32_t macs)
{
	struct nm_vale_mac *found;
	struct seq_file *out = arg;
	uint64_t pos = 0;
	int count;

	found = kcalloc(MACS_AT_A_TIME, sizeof(*found), GFP_KERNEL);
	if (!found)
		return;
	while ((count = nm_vale_macs_locked(&netmap_core, ns, name, &pos, found, MACS_AT_A_TIME)) >
		0) {
		for (int i = 0; i < count; i++) {
			const char *port =
				nm_vale_port_name_locked(&netmap_core, ns, name, found[i].port);

			seq_printf(out, "%s %pM %s %u", name, found[i].mac, port ? port : "-",
				found[i].age_s);
			show_netns(out, ns);
			seq_putc(out, '\n');
		}
	}
	kfree(found);
}

static int macs_show(struct seq_file *out, void *unused)
{
	nm_core_lock(&netmap_core);
	nm_vale_each_locked(&netmap_core, show_switch, out);
	nm_core_unlock(&netmap_core);
	return 0;
}

static int macs_open(struct inode *inode, struct file *file)
{
	return single_open(file, macs_show, NULL);
}

static ssize_t macs_write(struct file *file, const char __user *text, size_t bytes, loff_t *pos)
{
	char name[NETMAP_REQ_IFNAMSIZ];
	int error;

	if (bytes >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, text, bytes))
		return -EFAULT;
	name[bytes] = '\0';
	nm_core_lock(&netmap_core);
	error = nm_vale_flush_locked(&netmap_core, current->nsproxy->net_ns, strim(name));
	nm_core_unlock(&netmap_core);
	return error ? error : (ssize_t)bytes;
}

static const struct file_operations macs_fops = {
	.owner = THIS_MODULE,
	.open = macs_open,
	.read = seq_read,
	.write = macs_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/* ---------------------------------------------------------------------------------------- */

void nmk_debugfs_register(void)
{
	directory = debugfs_create_dir("netmap", NULL);
	debugfs_create_file("ports", 0400, directory, NULL, &ports_fops);
	debugfs_create_file("regions", 0400, directory, NULL, &regions_fops);
	debugfs_create_file("memory", 0400, directory, NULL, &memory_fops);
	debugfs_create_file("macs", 0600, directory, NULL, &macs_fops);
}

void nmk_debugfs_unregister(void)
{
	debugfs_remove(directory);
}
