// SPDX-License-Identifier: BSD-2-Clause
/* The kernel platform of the core: memory, log, random numbers. See core/os.h. */
#define pr_fmt(fmt) "netmap: " fmt

#include "os.h"
#include "extmem.h"
#include "nm_error.h"
#include "params.h"

#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* Users cause these allocations and choose their sizes: they are charged to them, may fail, and
 * neither fill the log nor wake the OOM killer. */
static const gfp_t user_driven = GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL;

/* kmalloc aligns to the size when that is a power of two. */
void *os_zalloc(size_t bytes)
{
	if (bytes == 0)
		bytes = 1;
	if (bytes < PAGE_SIZE)
		bytes = max_t(size_t, roundup_pow_of_two(bytes), 64);
	if (bytes > INT_MAX)
		return NULL;
	return kvzalloc(bytes, user_driven);
}

void os_free(void *mem)
{
	kvfree(mem);
}

/* There is no memory here that comes when it is touched: it is cleared in huge pages at least. */
void *os_table_alloc(size_t bytes)
{
	return os_zalloc(bytes);
}

void os_table_free(void *table)
{
	os_free(table);
}

#define WHAT_TO_DO                                                                                     \
	"Ask for fewer rings, slots or extra buffers; or set buf_num (the region of NICs and pipes), " \
	"priv_buf_num (of one port)"

static uint64_t kib_available(void)
{
	return (uint64_t)max(si_mem_available(), 0L) << (PAGE_SHIFT - 10);
}

/* The system keeps some memory for itself: it is all there at once, not when it is touched. */
static bool can_spare(uint64_t bytes)
{
	uint64_t available = kib_available();

	return bytes >> 10 < available - available / 8;
}

/* Of all regions; under the core lock, as those who make and free them. */
static uint64_t regions_bytes;

static int check_bounds(uint64_t bytes, struct nm_error *err)
{
	uint64_t each = nmk_region_max(), all = nmk_regions_max();

	if (bytes > each)
		return nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: one may have %llu KiB. " WHAT_TO_DO
			" or region_max_mb of the module",
			bytes >> 10, each >> 10);
	if (regions_bytes > all || bytes > all - regions_bytes)
		return nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: all may have %llu KiB, and have %llu. " WHAT_TO_DO
			" or regions_max_mb of the module",
			bytes >> 10, all >> 10, regions_bytes >> 10);
	if (!can_spare(bytes))
		return nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: %llu KiB of memory are available. " WHAT_TO_DO,
			bytes >> 10, kib_available());
	return 0;
}

struct os_mem *os_mem_alloc(uint64_t bytes, struct nm_error *err)
{
	struct os_mem *mem;

	if (check_bounds(bytes, err) != 0)
		return NULL;
	mem = kzalloc(sizeof(*mem), GFP_KERNEL_ACCOUNT);
	if (mem)
		mem->addr = __vmalloc(PAGE_ALIGN(bytes), user_driven | __GFP_ZERO);
	if (!mem || !mem->addr) {
		nm_error_set(err, -ENOMEM,
			"a region of %llu KiB: the kernel, or the control group, has no memory for it. " WHAT_TO_DO,
			bytes >> 10);
		kfree(mem);
		return NULL;
	}
	mem->bytes = bytes;
	regions_bytes += bytes;
	return mem;
}

void os_mem_free(struct os_mem *mem)
{
	if (!mem)
		return;
	if (mem->pin.count) {
		nmk_extmem_free(mem);
		return;
	}
	regions_bytes -= mem->bytes;
	vfree(mem->addr);
	kfree(mem);
}

/* It is pinned as a whole, and unpinned so. */
void os_mem_trim(struct os_mem *mem, uint64_t bytes)
{
}

void *os_mem_addr(const struct os_mem *mem)
{
	return mem->addr;
}

void os_random(void *buf, size_t bytes)
{
	get_random_bytes(buf, bytes);
}

int __printf(3, 0) os_vsnprintf(char *buf, size_t bytes, const char *fmt, va_list ap)
{
	return vsnprintf(buf, bytes, fmt, ap);
}

void os_log(enum os_log_level level, const char *fmt, ...)
{
	struct va_format vaf = {.fmt = fmt};
	va_list ap;

	va_start(ap, fmt);
	vaf.va = &ap;
	switch (level) {
	case OS_LOG_ERR:
		pr_err_ratelimited("%pV\n", &vaf);
		break;
	case OS_LOG_WARN:
		pr_warn_ratelimited("%pV\n", &vaf);
		break;
	case OS_LOG_INFO:
		pr_info_ratelimited("%pV\n", &vaf);
		break;
	case OS_LOG_DEBUG:
		pr_debug_ratelimited("%pV\n", &vaf);
		break;
	}
	va_end(ap);
}
