// SPDX-License-Identifier: BSD-2-Clause
/* The kernel platform of the core: memory of its own, log, random numbers. See core/os.h; regions: mem.c. */
#define pr_fmt(fmt) "netmap: " fmt

#include "os.h"
#include "mem.h"

#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/slab.h>

/* kmalloc aligns to the size when that is a power of two. */
void *os_zalloc(size_t bytes)
{
	if (bytes == 0)
		bytes = 1;
	if (bytes < PAGE_SIZE)
		bytes = max_t(size_t, roundup_pow_of_two(bytes), 64);
	if (bytes > INT_MAX)
		return NULL;
	return kvzalloc(bytes, NMK_GFP_USER);
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
