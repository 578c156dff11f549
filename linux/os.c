// SPDX-License-Identifier: BSD-2-Clause
/* The kernel platform of the core: memory, log, random numbers. See core/os.h. */
#define pr_fmt(fmt) "netmap: " fmt

#include "os.h"
#include "extmem.h"

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

/* The system keeps some memory for itself: it is all there at once, not when it is touched. */
static bool can_spare(uint64_t bytes)
{
	uint64_t available = (uint64_t)max(si_mem_available(), 0L) << PAGE_SHIFT;

	return bytes < available - available / 8;
}

struct os_mem *os_mem_alloc(uint64_t bytes)
{
	struct os_mem *mem = kzalloc(sizeof(*mem), GFP_KERNEL);

	if (!mem)
		return NULL;
	if (can_spare(bytes))
		mem->addr = __vmalloc(PAGE_ALIGN(bytes), user_driven | __GFP_ZERO);
	if (!mem->addr) {
		os_log(OS_LOG_WARN,
			"a memory region of %llu KiB does not fit: %llu KiB of memory are available. Ask for fewer rings, slots or extra buffers, or set parameters of the module: buf_num, ring_num, if_num for the region that NICs and pipes share, priv_buf_num for that of one port",
			bytes >> 10, (uint64_t)max(si_mem_available(), 0L) << (PAGE_SHIFT - 10));
		kfree(mem);
		return NULL;
	}
	return mem;
}

void os_mem_free(struct os_mem *mem)
{
	if (!mem)
		return;
	if (mem->pin.count)
		nmk_unpin(&mem->pin);
	else
		vfree(mem->addr);
	kfree(mem);
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
