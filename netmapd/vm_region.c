/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory regions as a virtual machine sees them: memory function, and the guest's part. */
#include "os_user.h"
#include "ptnet_mem.h"
#include "vm.h"

#include <stdio.h>
#include <unistd.h>

/* Of a region that the machine shares with others, its guest gets at most the first part, and all
 * guests together at most the second: the rest is for the ports that lie there. */
enum { SHARED_PART = 16, SHARED_PART_OF_ALL = 4 };

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
{
	uint32_t count = vm->daemon->config.guest[pool];
	uint32_t most = r->region->reserved ? count : shared_part(vm->daemon, r->region, pool);

	if (count > most)
		count = most;
	for (; count > 0; count /= 2) {
		if (nm_region_alloc_run(r->region, pool, r->owner, count, &r->guest[pool].first))
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

struct vm_region *vm_region_get(
	struct vm *vm, struct nm_region *region, int *error, struct nm_error *err)
{
	struct nm_core *core = &vm->daemon->core;
	struct vm_region *r;

	*error = 0;
	for (uint32_t i = 0; i < vm->num_regions; i++)
		if (vm->regions[i].region == region)
			return &vm->regions[i];
	/* There is a port for each of them but the first, so they can't run out. */
	if (vm->num_regions == VM_REGIONS_MAX) {
		nm_error_set(err, *error = -ENOSPC,
			"the machine uses %u memory regions, the most it can", vm->num_regions);
		return NULL;
	}
	r = &vm->regions[vm->num_regions++];
	memset(r, 0, sizeof(*r));
	r->region = region;
	nm_core_lock(core);
	*error = region->reserved ? 0 : nm_region_track_guests(region);
	if (*error) {
		nm_core_unlock(core);
		vm->num_regions--;
		nm_error_set(err, *error, "no memory for the map of memory region %u", region->id);
		return NULL;
	}
	nm_region_get(region);
	r->owner = NM_OWNER_FIXED | nm_core_new_owner(core);
	for (int pool = 0; pool < NM_POOLS; pool++)
		set_aside(vm, r, pool);
	nm_core_unlock(core);
	say_if_short(vm, r);
	return r;
}

/* See ptnet_mem.h. */
static struct nm_run guest_bufs(void *arg, uint32_t from)
{
	const struct vm_region *r = arg;
	struct nm_core *core = r->region->core;
	struct nm_run run;

	nm_core_lock(core);
	if (from == 0)
		nm_guest_settle_locked(r->region, r->owner);
	run = nm_guest_run_locked(r->region, r->owner, from);
	nm_core_unlock(core);
	return run;
}

/* Pipes between its own ports move buffers, too. */
static bool is_alone(void *arg)
{
	const struct vm_region *r = arg;
	struct nm_core *core = r->region->core;
	bool alone = r->region->reserved;

	nm_core_lock(core);
	for (const struct nm_port *port = core->ports; port; port = port->next)
		if (port->region == r->region && port->ops->pause)
			alone = false;
	nm_core_unlock(core);
	return alone;
}

int vm_region_open(struct vm *vm, struct vm_region *r, struct nm_error *err)
{
	struct ptnet_mem_info info = {
		.fd = os_mem_fd(r->region->mem),
		.size = r->region->size,
		.base = r->region->base,
		.id = r->region->id,
		.guest_bufs = guest_bufs,
		.alone = is_alone,
		.arg = r,
	};
	uint32_t index = (uint32_t)(r - vm->regions);
	char name[NMD_NAME_MAX], number[12] = "";
	int error;

	if (r->mem)
		return 0;
	if (index > 0)
		snprintf(number, sizeof(number), "%u", index);
	nm_region_info(r->region, &info.pools);
	memcpy(info.guest, r->guest, sizeof(info.guest));
	snprintf(name, sizeof(name), "vm%u memory%s", vm->number, number);
	snprintf(r->mem_path, sizeof(r->mem_path), "%.90s/mem%s", vm->dir, number);
	unlink(r->mem_path);
	error = ptnet_mem_new(vm->daemon->loop, r->mem_path, name, &info, &r->mem);
	if (error == -EINVAL)
		nm_error_set(err, error,
			"memory region %u (%llu bytes) can't be a PCI BAR: its size is no power of two",
			r->region->id, (unsigned long long)r->region->size);
	else if (error)
		nm_error_set(err, error, "%s: %s", r->mem_path, strerror(-error));
	return error;
}

/* ---- the guest's part comes back --------------------------------------------------------- */

/*
 * Buffers of the guest may have wandered through a pipe to others, who go on using them: they are
 * theirs, for what the guest has got. What there was nothing for stops being fixed, and those
 * who show one get it in exchange for one of theirs.
 */
static void give_back(struct nm_core *core, struct vm_region *r)
{
	uint32_t *owner = r->region->owner[NM_POOL_BUF], *guest = r->region->guest;
	uint32_t loose = r->owner & ~NM_OWNER_FIXED;

	nm_guest_settle_locked(r->region, r->owner);
	for (uint32_t i = 0; i < r->region->pool[NM_POOL_BUF].count; i++) {
		if (owner[i] == r->owner)
			owner[i] = loose;
		if (guest && guest[i] == r->owner)
			nm_region_given(r->region, i, NM_OWNER_NONE);
	}
	nm_region_settle_all_locked(core, r->region);
	nm_region_free_owner(r->region, r->owner);
	nm_region_free_owner(r->region, loose);
}

void vm_region_put(struct vm *vm, struct vm_region *r)
{
	struct nm_core *core = &vm->daemon->core;

	ptnet_mem_free(r->mem);
	nm_core_lock(core);
	give_back(core, r);
	nm_region_put(r->region);
	nm_core_unlock(core);
}
