/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory regions as a virtual machine sees them: memory function, and the guest's part. */
#include "policy.h"
#include "vu_server.h"
#include "bufown.h"
#include "os_user.h"
#include "ptnet_mem.h"
#include "vm.h"

#include <stdio.h>
#include <unistd.h>

/* Of a region that the machine shares with others, its guest gets at most the first part, and all
 * guests together at most the second: the rest is for the ports that lie there. */
enum { SHARED_PART = 16, SHARED_PART_OF_ALL = 4 };

/* Of a memory function: its socket, one for turning clients away, its client, the memory twice. */
enum { FDS_OF_REGION = 5 };

/* What guests have of a pool. */
static uint32_t guests_have(
	const struct daemon *d, const struct nm_region *region, enum nm_pool pool)
{
	uint32_t sum = 0;

	for (const struct vm *vm = d->vms; vm; vm = vm->next)
		for (uint32_t i = 0; i < vm->num_regions; i++)
			if (vm->regions[i].region == region)
				sum += vm->regions[i].guest[pool].count;
	return sum;
}

/* What a guest may have of a pool of a region that is not its machine's alone. */
static uint32_t shared_part(
	const struct daemon *d, const struct nm_region *region, enum nm_pool pool)
{
	uint32_t part = region->pool[pool].count / SHARED_PART;
	uint32_t all = region->pool[pool].count / SHARED_PART_OF_ALL;
	uint32_t left = all - guests_have(d, region, pool);

	return part < left ? part : left;
}

/* Of one pool; less where there is not so much in a row. None is no error: then the guest can't make
 * pipes and monitors there. core->lock held. */
static void set_aside(struct vm *vm, struct vm_region *r, enum nm_pool pool)
	OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t count = vm->daemon->config.guest[pool];
	uint32_t most = r->region->reserved ? count : shared_part(vm->daemon, r->region, pool);

	if (count > most)
		count = most;
	for (; count > 0; count /= 2) {
		if (nm_bufown_alloc_run(r->region, pool, r->owner, count, &r->guest[pool].first))
			continue;
		r->guest[pool].count = count;
		return;
	}
}

static void say_if_short(const struct vm *vm, const struct vm_region *r)
{
	for (int pool = 0; pool < NM_POOLS; pool++) {
		if (r->guest[pool].count > 0 || vm->daemon->config.guest[pool] == 0)
			continue;
		os_log(OS_LOG_INFO,
			"vm%u: nothing of the %s pool of memory region %u is left for its guest: no pipes, monitors and host rings of its own on the ports there",
			vm->number, nm_pool_name((enum nm_pool)pool), r->region->id);
		return;
	}
}

struct vm_region *vm_region_get(struct vm *vm, struct nm_region *region, struct nm_error *err)
{
	struct nm_core *core = &vm->daemon->core;
	struct vm_region *r;

	for (uint32_t i = 0; i < vm->num_regions; i++)
		if (vm->regions[i].region == region)
			return &vm->regions[i];
	/* There is a port for each of them but the first, so they can't run out. */
	if (vm->num_regions == VM_REGIONS_MAX) {
		nm_error_set(err, -ENOSPC, "the machine uses %u memory regions, the most it can",
			vm->num_regions);
		return NULL;
	}
	r = &vm->regions[vm->num_regions++];
	memset(r, 0, sizeof(*r));
	r->region = region;
	r->vm = vm;
	nm_core_lock(core);
	nm_region_get(region);
	r->owner = NM_OWNER_FIXED | nm_core_new_owner(core);
	for (int pool = 0; pool < NM_POOLS; pool++)
		set_aside(vm, r, pool);
	nm_core_unlock(core);
	say_if_short(vm, r);
	return r;
}

/* ---- which of a machine's regions has a part --------------------------------------------- */

/*
 * A guest moves buffers of its part through the slots of its ports. The host would not know any
 * more which buffer is whose if it exchanged those of the same ports, so a machine has a part of a
 * region, or ports there whose buffers are exchanged (nm_port_exchanges_locked), not both:
 *
 *      until the guest has read what its part is     such a port takes the part away
 *      afterwards                                    such a port is refused
 */
static bool has_part(const struct vm_region *r)
{
	return r->guest[NM_POOL_BUF].count > 0;
}

/* core->lock held. */
static void drop_part(struct vm_region *r, const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	if (!has_part(r))
		return;
	nm_bufown_free_owner(r->region, r->owner);
	memset(r->guest, 0, sizeof(r->guest));
	os_log(OS_LOG_INFO,
		"vm%u: netmapd exchanges the buffers of %s, so nothing of memory region %u is set aside for the guest: no zero-copy monitors, host rings and extra buffers of its own on its ports there, and pipes of theirs copy",
		r->vm->number, port->name, r->region->id);
}

int vm_region_join(struct vm_region *r, struct nm_port *port, struct nm_error *err)
{
	struct nm_core *core = &r->vm->daemon->core;
	int error = 0;

	nm_core_lock(core);
	if (!nm_port_exchanges_locked(port)) {
		port->guest_part = r->part_read && has_part(r);
	} else if (r->part_read && has_part(r)) {
		error = nm_error_set(err, -EBUSY,
			"%s: netmapd exchanges its buffers, and the guest that runs has a part of the same memory region %u; add the port before the machine starts",
			port->name, r->region->id);
	} else {
		drop_part(r, port);
	}
	nm_core_unlock(core);
	return error;
}

/* See ptnet_mem.h. Others may have come to watch a port of the machine since it was made. */
static void read_part(void *arg, struct nm_run part[NM_POOLS])
{
	struct vm_region *r = arg;
	struct nm_core *core = &r->vm->daemon->core;

	nm_core_lock(core);
	for (uint32_t i = 0; i < r->vm->num_ports && !r->part_read; i++)
		if (r->vm->ports[i]->region == r &&
			nm_port_exchanges_locked(r->vm->ports[i]->client.port))
			drop_part(r, r->vm->ports[i]->client.port);
	for (uint32_t i = 0; i < r->vm->num_ports; i++)
		if (r->vm->ports[i]->region == r)
			r->vm->ports[i]->client.port->guest_part = has_part(r);
	r->part_read = true;
	memcpy(part, r->guest, sizeof(r->guest));
	nm_core_unlock(core);
}

int vm_region_open(struct vm *vm, struct vm_region *r, struct nm_error *err)
{
	struct ptnet_mem_info info = {
		.fd = os_mem_fd(r->region->mem),
		.size = r->region->size,
		.bar_min = vm->bar_min,
		.base = r->region->base,
		.id = r->region->id,
		.guest_part = read_part,
		.payer = account_quota(vm->user),
		.budget = account_budget(vm->user),
		.arg = r,
	};
	uint32_t index = (uint32_t)(r - vm->regions);
	char name[NMD_NAME_MAX], number[12] = "";
	int error;

	if (r->mem)
		return 0;
	error = nm_quota_take(account_quota(vm->user), LIMIT_DESCRIPTORS, FDS_OF_REGION, err);
	if (error)
		return error;
	r->descriptors = FDS_OF_REGION;
	if (index > 0)
		snprintf(number, sizeof(number), "%u", index);
	nm_region_info(r->region, &info.pools);
	snprintf(name, sizeof(name), "vm%u memory%s", vm->number, number);
	snprintf(r->mem_path, sizeof(r->mem_path), "%.90s/mem%s", vm->dir, number);
	unlink(r->mem_path);
	error = ptnet_mem_new(vm->daemon->loop, r->mem_path, name, &info, &r->mem);
	if (!error)
		vu_server_serve_only(
			ptnet_mem_server(r->mem), account_uid(vm->user), policy_active());
	if (error == -EINVAL)
		nm_error_set(err, error,
			"memory region %u (%llu bytes) can't be a PCI BAR: its size is no power of two",
			r->region->id, (unsigned long long)r->region->size);
	else if (error)
		nm_error_set(err, error, "%s: %s", r->mem_path, strerror(-error));
	return error;
}

void vm_region_put(struct vm *vm, struct vm_region *r)
{
	struct nm_core *core = &vm->daemon->core;

	ptnet_mem_free(r->mem);
	nm_quota_give(account_quota(vm->user), LIMIT_DESCRIPTORS, r->descriptors);
	nm_core_lock(core);
	nm_bufown_free_owner(r->region, r->owner);
	nm_region_put(r->region);
	nm_core_unlock(core);
}
