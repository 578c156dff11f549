/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine is made in this order: region of its own, directory, memory function; ports as they are
 * added. vm_free() goes back, and is right for a machine that is made in part.
 */
#include "vm.h"
#include "events.h"
#include "log.h"

#include <stdio.h>

/* The machine's own region, closed to all others. */
static int make_own_region(struct vm *vm, struct nm_error *err)
{
	struct nm_core *core = &vm->daemon->core;
	struct nm_region *region;
	int error;

	nm_core_lock(core);
	region = nm_region_create(core, &vm->daemon->config.vm_region, 0, err);
	if (region)
		region->reserved = true;
	nm_core_unlock(core);
	if (!region)
		return err->code;
	error = vm_region_get(vm, region, err) ? 0 : err->code;
	nm_core_lock(core);
	nm_region_put(region); /* vm->regions[0] has a reference of its own */
	nm_core_unlock(core);
	return error;
}

static bool is_bar_min(uint64_t bytes)
{
	return bytes >= NMD_BAR_SMALLEST && bytes <= NMD_BAR_LARGEST && !(bytes & (bytes - 1));
}

static void about(const struct vm *vm)
{
	char machine[16];

	snprintf(machine, sizeof(machine), "vm%u", vm->number);
	log_about(NULL, machine);
}

struct vm *vm_new(struct daemon *d, struct account *user, const char *name, uint64_t bar_min,
	struct nm_error *err)
{
	struct vm *vm;
	int error;

	if (bar_min && !is_bar_min(bar_min)) {
		nm_error_set(err, -EINVAL,
			"a BAR of at least %llu bytes: not a power of two from %llu to %llu",
			(unsigned long long)bar_min, NMD_BAR_SMALLEST, NMD_BAR_LARGEST);
		return NULL;
	}
	vm = os_zalloc(sizeof(*vm));
	if (!vm) {
		nm_error_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	vm->daemon = d;
	vm->user = user;
	vm->dir_fd = -1;
	vm->bar_min = bar_min ? bar_min : NMD_BAR_DEFAULT;
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	os_make_printable(vm->name); /* for logs and status */
	vm->next = d->vms;
	d->vms = vm;
	error = nm_quota_take(account_quota(user), LIMIT_MACHINES, 1, err);
	vm->paid = !error;
	if (!error)
		error = make_own_region(vm, err);
	if (!error)
		error = vm_dir_make(vm, err);
	if (!error)
		error = vm_region_open(vm, &vm->regions[0], err);
	if (error) {
		vm_free(vm);
		return NULL;
	}
	events_add(NMD_EVENT_MACHINE_NEW, vm->name, account_uid(user), "vm%u", vm->number);
	about(vm);
	os_log(OS_LOG_INFO, "vm%u (%s) is there, with %llu MiB of packet memory", vm->number,
		vm->name, (unsigned long long)(vm->regions[0].region->size >> 20));
	return vm;
}

/* The order: ports with their service, memory, directory. */
void vm_free(struct vm *vm)
{
	struct vm **link;
	bool was_there;

	if (!vm)
		return;
	was_there = vm->num_regions > 0 && vm->regions[0].mem;
	if (vm->num_regions > 0) { /* nobody else will have anything of it */
		nm_core_lock(&vm->daemon->core);
		nm_region_end(vm->regions[0].region);
		nm_core_unlock(&vm->daemon->core);
	}
	if (vm->making)
		vm_port_free(vm->making);
	while (vm->num_ports > 0)
		vm_port_free(vm->ports[--vm->num_ports]);
	while (vm->num_regions > 0)
		vm_region_put(vm, &vm->regions[--vm->num_regions]);
	nm_core_lock(&vm->daemon->core);
	nm_region_put(vm->nic_region);
	nm_core_unlock(&vm->daemon->core);
	vm_dir_remove(vm);
	for (link = &vm->daemon->vms; *link != vm;)
		link = &(*link)->next;
	*link = vm->next;
	nm_quota_give(account_quota(vm->user), LIMIT_MACHINES, vm->paid);
	if (was_there) {
		events_add(NMD_EVENT_MACHINE_GONE, vm->name, account_uid(vm->user), "vm%u",
			vm->number);
		about(vm);
		os_log(OS_LOG_INFO, "vm%u (%s) is gone", vm->number, vm->name);
	}
	os_free(vm);
}

int vm_add_port(struct vm *vm, const char *ifname, const uint8_t mac[6], struct nm_error *err)
{
	os_assert(!vm->making);
	if (vm->num_ports == VM_PORTS_MAX)
		return nm_error_set(err, -ENOSPC,
			"%s: the machine has %d ports already, the most it can have", ifname,
			VM_PORTS_MAX);
	vm->making = vm_port_new(vm, ifname, mac, err);
	return vm->making ? 0 : err->code;
}

int vm_add_port_go_on(struct vm *vm, const struct vm_port **out, struct nm_error *err)
{
	uint32_t regions = vm->num_regions;
	struct vm_port *port = vm->making;
	int error = vm_port_go_on(vm, port, err);

	if (error > 0)
		return error;
	vm->making = NULL;
	if (error) { /* what it alone would have used goes with it */
		vm_port_free(port);
		while (vm->num_regions > regions)
			vm_region_put(vm, &vm->regions[--vm->num_regions]);
		return error;
	}
	vm->ports[vm->num_ports++] = port;
	*out = port;
	return 0;
}

void vm_add_port_cancel(struct vm *vm)
{
	vm_port_free(vm->making);
	vm->making = NULL;
}

void vm_drop_port(struct vm *vm)
{
	os_assert(vm->num_ports > 0);
	vm_port_free(vm->ports[--vm->num_ports]);
}

void vm_ports_check(struct daemon *d)
{
	for (const struct vm *vm = d->vms; vm; vm = vm->next)
		for (uint32_t i = 0; i < vm->num_ports; i++)
			if (vm->ports[i]->client.port->dead)
				ptnet_net_request_unplug(vm->ports[i]->net);
}
