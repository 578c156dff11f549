/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuzz_core.h"
#include "attachment.h"
#include "log.h"
#include "slots.h"

#include <time.h>

/* ---- the platform, wrapped --------------------------------------------------------------------- */

static uint32_t until_failure;
static uint64_t clock_s, random_state;
static __thread bool is_fuzzer;

void *__real_os_zalloc(size_t bytes);
struct os_mem *__real_os_mem_alloc(uint64_t bytes, struct nm_error *err);
int __real_clock_gettime(clockid_t clock, struct timespec *ts);
void *__wrap_os_zalloc(size_t bytes);
void *__wrap_os_table_alloc(size_t bytes);
void __wrap_os_table_free(void *table);
struct os_mem *__wrap_os_mem_alloc(uint64_t bytes, struct nm_error *err);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
void __wrap_os_random(void *buf, size_t bytes);

void fuzz_core_reset(void)
{
	is_fuzzer = true;
	log_setup("fuzz", OS_LOG_ERR);
	OS_STORE(&until_failure, 0);
	OS_STORE(&clock_s, 1000);
	OS_STORE(&random_state, 1);
}

void fuzz_fail_allocation(uint32_t nth)
{
	OS_STORE(&until_failure, nth);
}

void fuzz_advance_clock(uint64_t seconds)
{
	OS_STORE(&clock_s, clock_s + seconds);
}

/* Only some targets have it. */
#pragma weak fuzz_mem_alloc

static bool fails_now(void)
{
	uint32_t left = OS_LOAD(&until_failure);

	if (left == 0)
		return false;
	OS_STORE(&until_failure, left - 1);
	return left == 1;
}

void *__wrap_os_zalloc(size_t bytes)
{
	return fails_now() ? NULL : __real_os_zalloc(bytes);
}

/* On the heap, where what reaches beyond is found. */
void *__wrap_os_table_alloc(size_t bytes)
{
	return __wrap_os_zalloc(bytes);
}

void __wrap_os_table_free(void *table)
{
	os_free(table);
}

struct os_mem *__wrap_os_mem_alloc(uint64_t bytes, struct nm_error *err)
{
	if (fails_now() || bytes > FUZZ_MEMORY_MAX) {
		nm_error_set(err, -ENOMEM, "%llu bytes can't be had", (unsigned long long)bytes);
		return NULL;
	}
	return fuzz_mem_alloc ? fuzz_mem_alloc(bytes) : __real_os_mem_alloc(bytes, err);
}

/*
 * The thread that runs a target uses no time: where it is netmapd's control thread as well, no connection has
 * used up its budget, and each reply comes at once. How fast the machine is decides nothing.
 */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock == CLOCK_THREAD_CPUTIME_ID && is_fuzzer)
		*ts = (struct timespec){0};
	else if (clock == CLOCK_MONOTONIC_COARSE)
		*ts = (struct timespec){.tv_sec = (time_t)OS_LOAD(&clock_s)};
	else
		return __real_clock_gettime(clock, ts);
	return 0;
}

void __wrap_os_random(void *buf, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		uint64_t next =
			__atomic_add_fetch(&random_state, 0x9e3779b97f4a7c15ULL, __ATOMIC_RELAXED);

		next = (next ^ (next >> 30)) * 0xbf58476d1ce4e5b9ULL;
		((uint8_t *)buf)[i] = (uint8_t)(next >> 56);
	}
}

/* ---- devices ----------------------------------------------------------------------------------- */

static int device_txsync(struct nm_ring *ring)
{
	nm_ring_sent(ring, ring->head);
	return 0;
}

static int device_rxsync(struct nm_ring *ring)
{
	OS_STORE_RELEASE(&ring->hwcur, ring->head);
	return 0;
}

static const struct nm_port_ops device_ops = {
	.kind = "device",
	.txsync = device_txsync,
	.rxsync = device_rxsync,
	.shares_region = true,
	.chosen_host_rings = true,
	.persistent = true,
};

static int new_device(struct nm_core *core, void *ns, const char *name,
	const struct nm_shape *shape, uint16_t mem_id, struct nm_error *err)
{
	struct nm_shape with_host = *shape;

	with_host.host_rings[NM_TX] = with_host.host_rings[NM_RX] = 1;
	return nm_port_add_locked(core, name, &device_ops, &with_host, err) ? 0 : err->code;
}

static struct nm_port *find_device(struct nm_core *core, const char *name)
{
	struct nm_port *port = core->ports;

	while (port && (port->ops != &device_ops || (name && strcmp(port->name, name) != 0)))
		port = port->next;
	return port;
}

static int remove_device(struct nm_core *core, void *ns, const char *name, struct nm_error *err)
{
	struct nm_port *port = find_device(core, name);

	if (!port || port->dead)
		return nm_error_set(err, -ENXIO, "%s: no such device", name);
	nm_port_remove_locked(port);
	return 0;
}

static int start_attachment(struct nm_attachment *att, struct nm_error *err)
{
	return 0;
}

static void stop_attachment(struct nm_attachment *att)
{
}

static void pause_attachment(struct nm_attachment *att, bool on)
{
}

static int poll_attachment(
	struct nm_attachment *att, uint32_t first_cpu, uint32_t count, struct nm_error *err)
{
	return count > 2 ? nm_error_set(err, -EINVAL, "%u CPUs", count) : 0;
}

static bool takes_long(uint64_t bytes)
{
	return bytes >= 1 << 20;
}

const struct nm_platform_ops fuzz_platform = {
	.newif = new_device,
	.delif = remove_device,
	.attachment_start = start_attachment,
	.attachment_stop = stop_attachment,
	.attachment_pause = pause_attachment,
	.attachment_poll = poll_attachment,
	.mem_takes_long = takes_long,
};

/* As a driver would put it there. */
void fuzz_device_receive(struct nm_core *core, const char *name, const void *bytes, uint32_t len)
{
	struct nm_piece pieces[NETMAP_MAX_FRAGS];
	struct nm_port *port;
	struct nm_ring *ring;
	uint32_t count;
	struct nm_rxq q;

	nm_core_lock(core);
	port = find_device(core, name);
	ring = port && !port->dead ? &port->rings[NM_RX][0] : NULL;
	nm_core_unlock(core);
	if (!ring || !ring->shared)
		return;
	nm_produce_lock(ring);
	nm_rxq_begin(&q, ring);
	if (nm_rxq_reserve(&q, len, pieces, &count) == NM_DROPS) {
		nm_pieces_put(pieces, bytes, len);
		nm_rxq_commit(&q, pieces, count, 0);
		nm_rxq_publish(&q);
	}
	nm_produce_unlock(ring);
	os_wakeup_signal(&ring->wakeup);
}

void fuzz_step_attachments(struct nm_core *core)
{
	for (struct nm_attachment *att = core->attachments; att; att = att->next)
		for (uint32_t pair = 0; pair < att->pairs; pair++)
			if (!nm_attachment_step(att, pair))
				nm_attachment_prepare_sleep(att, pair);
}

/* ---- the end ----------------------------------------------------------------------------------- */

void fuzz_core_release(struct nm_core *core)
{
	struct nm_error err = {0};
	struct nm_port *port;
	uint32_t index;

	fuzz_fail_allocation(0);
	while (core->attachments) {
		char name[NETMAP_REQ_IFNAMSIZ];
		int error;

		memcpy(name, core->attachments->name, sizeof(name));
		error = nm_attachment_remove(core, NULL, name, &index, &err);
		fuzz_check(!error, "%s stays attached: %s", name, err.text);
	}
	nm_core_lock(core);
	while ((port = find_device(core, NULL)))
		nm_port_remove_locked(port);
	nm_core_unlock(core);
}

void fuzz_core_check_empty(struct nm_core *core)
{
	fuzz_core_release(core);
	fuzz_check(!core->ports, "port %s is left", core->ports->name);
	fuzz_check(!core->switches, "a switch is left");
	fuzz_check(!core->regions, "region %u is left", core->regions->id);
}

void fuzz_core_end(struct nm_core *core)
{
	fuzz_core_check_empty(core);
	nm_core_destroy(core);
}

void fuzz_check_all_free(struct nm_region *region)
{
	for (int pool = 0; pool < NM_POOLS; pool++) {
		uint32_t reserved = pool == NM_POOL_BUF ? NM_BUFS_RESERVED : 0;
		uint32_t left = region->pool[pool].count - reserved -
				nm_bufown_num_free(region, (enum nm_pool)pool);

		fuzz_check(left == 0, "%u of pool %s of region %u have an owner", left,
			nm_pool_name((enum nm_pool)pool), region->id);
	}
}
