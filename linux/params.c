// SPDX-License-Identifier: BSD-2-Clause
/*
 * Parameters of the module that size regions. Each is a wish, 0 for none; what the core has chosen
 * for itself is scaled to the memory of the machine, wishes replace it (apply), and the sum must be
 * a region that can be made (evaluate): else the write fails and nothing changes.
 */
#define pr_fmt(fmt) "netmap: " fmt

#include "params.h"
#include "compat.h"
#include "kmod.h"

#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sizes.h>

enum param {
	IF_NUM,
	IF_SIZE,
	RING_NUM,
	RING_SIZE,
	BUF_NUM,
	BUF_SIZE,
	PRIV_BUF_SIZE,
	PRIV_BUF_NUM,
	PARAMS
};

/* What nm_core_init() has chosen is for a region of this size. */
#define CORE_BYTES SZ_64M

#define FEWEST_BUFS 4096 /* of a shared region */

/* Of a port's region. On a machine of less than a GiB: what has room in the region of a port of usual
 * size anyway, for its size is a power of two. */
#define SPARE_BUFS       4096
#define SPARE_BUFS_SMALL 1536

static uint32_t values[PARAMS]; /* 0: not given */
static struct nm_core *started; /* NULL: the module is being loaded */
static bool verbose, timestamps = true, huge_pages = NMK_HUGE_PAGES_SAFE;
static unsigned int region_max_mb, regions_max_mb; /* 0: the default */

static uint64_t memory_bytes(void)
{
	return (uint64_t)totalram_pages() << PAGE_SHIFT;
}

static uint64_t region_bytes(void)
{
	uint64_t least = min_t(uint64_t, SZ_32M, rounddown_pow_of_two(memory_bytes() / 4));

	return clamp_t(uint64_t, rounddown_pow_of_two(memory_bytes() / 8), least, SZ_512M);
}

/* As many objects as the core has in its region, or more in a larger one. */
static uint32_t scaled(uint32_t core)
{
	uint64_t scale = max_t(uint64_t, region_bytes(), CORE_BYTES) >> 20;

	return core * scale / (CORE_BYTES >> 20);
}

/* Buffers that have room behind the other pools; on a machine with little memory the fewest that
 * are of use. */
static uint32_t buffers_left(const struct nm_region_params *params)
{
	uint64_t bytes = region_bytes(), taken = NM_POOLS * PAGE_SIZE, count;

	for (int pool = 0; pool < NM_POOL_BUF; pool++)
		taken += (uint64_t)params->count[pool] * params->size[pool];
	count = (taken < bytes ? bytes - taken : 0) / max(params->size[NM_POOL_BUF], 1u);
	return clamp_t(uint64_t, count, FEWEST_BUFS, NM_BUFS_MAX);
}

static void take_pool(struct nm_region_params *params, enum nm_pool pool, const uint32_t *given,
	enum param num, enum param size)
{
	if (given[size])
		params->size[pool] = given[size];
	if (given[num])
		params->count[pool] = given[num];
	else if (pool == NM_POOL_BUF)
		params->count[pool] = buffers_left(params);
	else
		params->count[pool] = scaled(params->count[pool]);
}

/* What `given` makes of the core's own choice. */
static int evaluate(const uint32_t *given, const struct nm_core *core,
	struct nm_region_params *shared, struct nm_region_params *own)
{
	struct nm_pool_geometry pool[NM_POOLS];
	struct nm_error err;

	take_pool(shared, NM_POOL_IF, given, IF_NUM, IF_SIZE);
	take_pool(shared, NM_POOL_RING, given, RING_NUM, RING_SIZE);
	take_pool(shared, NM_POOL_BUF, given, BUF_NUM, BUF_SIZE);
	if (given[PRIV_BUF_SIZE])
		own->size[NM_POOL_BUF] = given[PRIV_BUF_SIZE];
	if (!nm_region_layout(shared, pool, &err) || !nm_region_layout(own, pool, &err)) {
		pr_err("parameters: %s\n", err.text);
		return -EINVAL;
	}
	if (given[PRIV_BUF_NUM] > NM_BUFS_MAX) {
		pr_err("parameters: priv_buf_num is %u; 0 to %u are possible\n",
			given[PRIV_BUF_NUM], NM_BUFS_MAX);
		return -EINVAL;
	}
	return 0;
}

/* The core's own choice; constant from the start on. */
static struct nm_region_params core_shared, core_own;

static int apply(struct nm_core *core, const uint32_t *given)
{
	struct nm_region_params shared = core_shared, own = core_own;
	int error = evaluate(given, core, &shared, &own);

	if (error)
		return error;
	core->shared_params = shared;
	core->region_params = own;
	core->spare_bufs = given[PRIV_BUF_NUM];
	return 0;
}

/* ---- reading and writing them ---------------------------------------------------------- */

static int set_param(const char *text, const struct kernel_param *kp)
{
	uint32_t *value = kp->arg, candidate[PARAMS];
	unsigned int number;
	int error = kstrtouint(text, 0, &number);

	if (error)
		return error;
	if (!started) {
		*value = number;
		return 0;
	}
	nm_core_lock(started);
	memcpy(candidate, values, sizeof(values));
	candidate[value - values] = number;
	error = apply(started, candidate);
	if (!error)
		*value = number;
	nm_core_unlock(started);
	return error;
}

/* Of those that follow from others: what they are just now. */
static uint32_t current_value(enum param param)
{
	const struct nm_region_params *shared = &started->shared_params;

	switch (param) {
	case IF_NUM:
	case RING_NUM:
	case BUF_NUM:
		return shared->count[(param - IF_NUM) / 2];
	case IF_SIZE:
	case RING_SIZE:
	case BUF_SIZE:
		return shared->size[(param - IF_SIZE) / 2];
	case PRIV_BUF_SIZE:
		return started->region_params.size[NM_POOL_BUF];
	default:
		return started->spare_bufs;
	}
}

static int get_param(char *buf, const struct kernel_param *kp)
{
	uint32_t value;

	if (!started)
		return -EAGAIN;
	nm_core_lock(started);
	value = current_value((uint32_t *)kp->arg - values);
	nm_core_unlock(started);
	return scnprintf(buf, PAGE_SIZE, "%u\n", value);
}

static const struct kernel_param_ops param_ops = {.set = set_param, .get = get_param};

#define PARAM(name, index, text)                                 \
	module_param_cb(name, &param_ops, &values[index], 0644); \
	MODULE_PARM_DESC(name, text)

PARAM(if_num, IF_NUM, "netmap_if objects of a shared region");
PARAM(if_size, IF_SIZE, "bytes of a netmap_if object of a shared region");
PARAM(ring_num, RING_NUM, "rings of a shared region");
PARAM(ring_size, RING_SIZE, "bytes of a ring of a shared region: 16 per slot and a header");
PARAM(buf_num, BUF_NUM, "buffers of a shared region");
PARAM(buf_size, BUF_SIZE, "bytes of a buffer of a shared region, 64 to 65536");
PARAM(priv_buf_size, PRIV_BUF_SIZE, "bytes of a buffer of the region of one port, 64 to 65536");
PARAM(priv_buf_num, PRIV_BUF_NUM, "buffers of the region of one port, beyond those of its rings");

module_param(region_max_mb, uint, 0644);
MODULE_PARM_DESC(region_max_mb,
	"MiB of kernel memory of one region (default 0: a quarter of the memory, 1024 at most)");

module_param(regions_max_mb, uint, 0644);
MODULE_PARM_DESC(
	regions_max_mb, "MiB of kernel memory of all regions (default 0: half of the memory)");

module_param(timestamps, bool, 0644);
MODULE_PARM_DESC(
	timestamps, "the time of each sync is written into rx rings, without NR_TIMESTAMP as well");

module_param(huge_pages, bool, 0644);
MODULE_PARM_DESC(huge_pages,
	"applications map the region of a passed-through port by pages of 2 MiB (default: where the kernel is safe with them)");

module_param(verbose, bool, 0644);
MODULE_PARM_DESC(verbose, "log each control request");

static uint64_t bytes_or(unsigned int mib, uint64_t otherwise)
{
	return mib ? (uint64_t)mib << 20 : otherwise;
}

uint64_t nmk_region_max(void)
{
	return bytes_or(READ_ONCE(region_max_mb), min_t(uint64_t, memory_bytes() / 4, SZ_1G));
}

uint64_t nmk_regions_max(void)
{
	return bytes_or(READ_ONCE(regions_max_mb), memory_bytes() / 2);
}

bool nmk_timestamps(void)
{
	return READ_ONCE(timestamps);
}

bool nmk_huge_pages(void)
{
	return READ_ONCE(huge_pages);
}

bool nmk_verbose(void)
{
	return READ_ONCE(verbose);
}

/* The files in sysfs are there before the module begins, and go when it has ended: who writes then finds no core. */
int nmk_params_start(struct nm_core *core)
{
	int error;

	kernel_param_lock(THIS_MODULE);
	core_shared = core->shared_params;
	core_own = core->region_params;
	if (!values[PRIV_BUF_NUM])
		values[PRIV_BUF_NUM] = memory_bytes() < SZ_1G ? SPARE_BUFS_SMALL : SPARE_BUFS;
	error = apply(core, values);
	if (!error)
		started = core;
	kernel_param_unlock(THIS_MODULE);
	return error;
}

void nmk_params_stop(void)
{
	kernel_param_lock(THIS_MODULE);
	started = NULL;
	kernel_param_unlock(THIS_MODULE);
}
