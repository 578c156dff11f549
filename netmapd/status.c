/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What NMD_STATUS answers, as JSON: switches, ports with their rings, regions, attached devices,
 * applications, machines, workers, the daemon.
 *
 * Counters are read while workers write them: each is a number of its own, and no two are of one
 * moment.
 */
#include "status.h"
#include "bufown.h"
#include "ctl.h"
#include "accounts.h"
#include "os_user.h"
#include "fault.h"
#include "local.h"
#include "nic.h"
#include "notify.h"
#include "port_service.h"
#include "attachment.h"
#include "vale.h"
#include "vm.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

static void set_u64(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *ring_json(const struct nm_ring *ring)
{
	json_t *out = json_object(), *errors = json_object();

	json_object_set_new(out, "dir", json_string(ring->dir == NM_TX ? "tx" : "rx"));
	set_u64(out, "id", ring->id);
	if (ring->host)
		json_object_set_new(out, "host", json_true());
	set_u64(out, "slots", ring->num_slots);
	set_u64(out, "fill", nm_ring_fill(ring));
	set_u64(out, "packets", OS_LOAD(&ring->stats.packets));
	set_u64(out, "bytes", OS_LOAD(&ring->stats.bytes));
	if (ring->dir == NM_TX) {
		set_u64(out, "copies", OS_LOAD(&ring->stats.copies));
		set_u64(out, "waits", OS_LOAD(&ring->stats.waits));
		set_u64(out, "expired", OS_LOAD(&ring->stats.expired));
	}
	set_u64(out, "syncs", OS_LOAD(&ring->stats.syncs));
	set_u64(out, "bad_syncs", OS_LOAD(&ring->stats.bad_syncs));
	for (int i = 0; i < NM_DROPS; i++)
		if (OS_LOAD(&ring->stats.drops[i]))
			set_u64(errors, nm_drop_name(i), OS_LOAD(&ring->stats.drops[i]));
	json_object_set_new(out, "errors", errors);
	return out;
}

static json_t *port_json(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	json_t *out = json_object(), *rings = json_array();
	json_t *nic = nic_is(port) ? nic_json(port) : NULL; /* brings counters up to date */

	json_object_set_new(out, "name", json_string(port->name));
	json_object_set_new(out, "kind", json_string(port->ops->kind));
	set_u64(out, "id", port->owner);
	if (port->payer)
		set_u64(out, "user", accounts_payer(port->payer));
	if (port->parent)
		json_object_set_new(out, "parent", json_string(port->parent->name));
	set_u64(out, "region", port->region ? port->region->id : 0);
	set_u64(out, "users", port->clients);
	if (port->pins)
		set_u64(out, "holds", port->pins);
	if (port->dead)
		json_object_set_new(out, "dead", json_true());
	set_u64(out, "hdr_len", port->hdr_len);
	set_u64(out, "full_wait_us", port->full_wait_us);
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			json_array_append_new(rings, ring_json(&port->rings[dir][i]));
	json_object_set_new(out, "rings", rings);
	if (nic)
		json_object_set_new(out, "nic", nic);
	return out;
}

static void add_switch(
	void *arg, const void *ns, const char *name, uint32_t index, uint32_t ports, uint32_t macs)
{
	json_t *out = json_object();

	json_object_set_new(out, "name", json_string(name));
	set_u64(out, "index", index);
	set_u64(out, "ports", ports);
	set_u64(out, "macs", macs);
	json_array_append_new(arg, out);
}

static json_t *region_json(const struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK)
{
	json_t *out = json_object(), *left = json_object();

	set_u64(out, "id", region->id);
	set_u64(out, "size", region->size);
	json_object_set_new(
		out, "huge_pages", json_boolean(region->mem && os_mem_is_huge(region->mem)));
	for (int pool = 0; pool < NM_POOLS; pool++)
		set_u64(left, nm_pool_name(pool), nm_bufown_num_free(region, pool));
	json_object_set_new(out, "free", left);
	return out;
}

static json_t *attachment_json(const struct nm_attachment *att)
{
	json_t *out = json_object();

	json_object_set_new(out, "name", json_string(att->name));
	json_object_set_new(
		out, "device", json_string(att->device.port ? att->device.port->name : ""));
	set_u64(out, "pairs", att->pairs);
	json_object_set_new(out, "host_rings", json_boolean(att->host.port));
	json_object_set_new(out, "polling", json_boolean(att->polling));
	json_object_set_new(out, "lent", json_boolean(att->lent));
	return out;
}

/* How much its rings were looked at. */
static void set_service(json_t *out, const struct port_service *service)
{
	struct port_service_stats stats;

	port_service_stats(service, &stats);
	set_u64(out, "steps", stats.steps);
	set_u64(out, "work_steps", stats.work_steps);
	set_u64(out, "interrupts", stats.interrupts);
	set_u64(out, "slow_interrupts", stats.slow_interrupts);
	set_u64(out, "stopped_rings", stats.stopped);
	set_u64(out, "bad_kicks", stats.bad_kicks);
}

static void add_application(void *arg, const struct local *local, const struct ucred *peer)
{
	json_t *out = json_object();

	json_object_set_new(out, "name", json_string(local_port_name(local)));
	set_u64(out, "port", local_port_number(local));
	set_u64(out, "pid", (uint64_t)peer->pid);
	set_u64(out, "user", peer->uid);
	set_service(out, local_service(local));
	json_array_append_new(arg, out);
}

static json_t *vm_port_json(const struct vm_port *port)
{
	static const char *const states[] = {"stopped", "running", "suspended"};
	json_t *out = json_object();
	struct ptnet_net_stats stats;
	char mac[18];

	ptnet_net_stats(port->net, &stats);
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0], port->mac[1],
		port->mac[2], port->mac[3], port->mac[4], port->mac[5]);
	json_object_set_new(out, "name", json_string(port->client.port->name));
	set_u64(out, "port", port->client.port->owner);
	json_object_set_new(out, "mac", json_string(mac));
	json_object_set_new(out, "state", json_string(states[stats.state]));
	set_u64(out, "kicks", stats.kicks);
	set_u64(out, "creates", stats.creates);
	set_u64(out, "failed_creates", stats.failed_creates);
	set_u64(out, "suspends", stats.suspends);
	set_u64(out, "resets", stats.resets);
	set_u64(out, "ignored_writes", stats.ignored_writes);
	set_u64(out, "features", stats.features);
	set_u64(out, "dma_ranges", stats.dma_ranges);
	set_service(out, port->service);
	return out;
}

static json_t *vm_memory_json(const struct vm_region *r)
{
	json_t *out = json_object(), *guest = json_object();

	set_u64(out, "region", r->region->id);
	for (int pool = 0; pool < NM_POOLS; pool++)
		set_u64(guest, nm_pool_name(pool), r->guest[pool].count);
	json_object_set_new(out, "guest", guest);
	return out;
}

static json_t *vm_json(const struct vm *vm)
{
	json_t *out = json_object(), *ports = json_array(), *memory = json_array();

	set_u64(out, "id", vm->number);
	json_object_set_new(out, "name", json_string(vm->name));
	set_u64(out, "user", account_uid(vm->user));
	set_u64(out, "region", vm->regions[0].region->id);
	for (uint32_t i = 0; i < vm->num_regions; i++)
		json_array_append_new(memory, vm_memory_json(&vm->regions[i]));
	json_object_set_new(out, "memory", memory);
	for (uint32_t i = 0; i < vm->num_ports; i++)
		json_array_append_new(ports, vm_port_json(vm->ports[i]));
	json_object_set_new(out, "ports", ports);
	return out;
}

static json_t *worker_json(struct worker *w)
{
	json_t *worker = json_object();
	struct worker_stats stats;

	worker_stats(w, &stats);
	set_u64(worker, "rings", stats.rings);
	set_u64(worker, "rounds", stats.rounds);
	set_u64(worker, "sleeps", stats.sleeps);
	set_u64(worker, "wakes", stats.wakes);
	set_u64(worker, "kicks", stats.kicks);
	set_u64(worker, "busy_us", stats.busy_ns / 1000);
	set_u64(worker, "cpu_us", stats.cpu_ns / 1000);
	return worker;
}

static json_t *notifier_json(void)
{
	struct notify_stats stats;
	json_t *out = json_object();

	notify_stats(&stats);
	json_object_set_new(out, "asynchronous", json_boolean(stats.asynchronous));
	set_u64(out, "moved", stats.moved);
	set_u64(out, "returned", stats.returned);
	set_u64(out, "signals", stats.signals);
	return out;
}

/* The control thread: how long it has kept everybody waiting at most. */
static json_t *loop_json(const struct loop *loop)
{
	json_t *out = json_object();
	struct loop_stats stats;

	loop_stats(loop, &stats);
	set_u64(out, "rounds", stats.rounds);
	set_u64(out, "rests", stats.rests);
	set_u64(out, "longest_us", stats.most_us);
	return out;
}

/* When this was, for rates. */
static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static json_t *daemon_json(struct daemon *d)
{
	json_t *out = json_object(), *workers = json_array(), *pollers = json_array();

	json_object_set_new(out, "version", json_string(PTNETMAP_VERSION));
	set_u64(out, "pid", (uint64_t)getpid());
	set_u64(out, "uptime_s", (uint64_t)os_time_s() - (uint64_t)d->started);
	set_u64(out, "clock_us", clock_us());
	for (unsigned i = 0; i < d->config.workers; i++)
		json_array_append_new(workers, worker_json(d->workers[i]));
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (d->pollers[i])
			json_array_append_new(pollers, worker_json(d->pollers[i]));
	set_u64(out, "replaced_pages", fault_count());
	json_object_set_new(out, "control", loop_json(d->loop));
	json_object_set_new(out, "workers", workers);
	json_object_set_new(out, "pollers", pollers);
	json_object_set_new(out, "notifier", notifier_json());
	return out;
}

char *status_text(struct daemon *d)
{
	json_t *root = json_object(), *ports = json_array(), *switches = json_array();
	json_t *regions = json_array(), *vms = json_array(), *attached = json_array();
	json_t *applications = json_array();
	char *text;

	nm_core_lock(&d->core);
	for (const struct nm_port *port = d->core.ports; port; port = port->next)
		if (!nm_port_is_being_made(port))
			json_array_append_new(ports, port_json(port));
	nm_vale_each_locked(&d->core, add_switch, switches);
	for (const struct nm_region *region = d->core.regions; region; region = region->next)
		json_array_append_new(regions, region_json(region));
	for (const struct nm_attachment *att = d->core.attachments; att; att = att->next)
		json_array_append_new(attached, attachment_json(att));
	nm_core_unlock(&d->core);
	ctl_each_local(d, add_application, applications);
	for (const struct vm *vm = d->vms; vm; vm = vm->next)
		json_array_append_new(vms, vm_json(vm));
	json_object_set_new(root, "daemon", daemon_json(d));
	json_object_set_new(root, "limits", accounts_json());
	json_object_set_new(root, "ports", ports);
	json_object_set_new(root, "switches", switches);
	json_object_set_new(root, "attached", attached);
	json_object_set_new(root, "regions", regions);
	json_object_set_new(root, "applications", applications);
	json_object_set_new(root, "vms", vms);
	text = json_dumps(root, JSON_INDENT(1));
	json_decref(root);
	return text;
}
