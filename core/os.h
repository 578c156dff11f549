/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * os.h - everything that the core needs from the system it lives in.
 *
 * The core is compiled twice from the same files: into netmap.ko and into user
 * space (netmapd, libnetmap, the unit tests). It includes no system header and
 * has no #ifdef on where it is. What differs is behind this file: each platform has
 * one directory on its include path with an `os_platform.h` (linux/ for the module,
 * netmapd/ for user space) that defines the types and the inline functions
 * listed below, and one os.c with the rest.
 *
 * os_platform.h must provide:
 *   types       uint8_t … uint64_t, int32_t, bool, size_t, uintptr_t, NULL, va_list,
 *               offsetof, static_assert, positive errno constants (EINVAL, …)
 *   strings     memcpy, memmove, memset, memcmp, strlen, strnlen, strcmp, strncmp
 *   compiler    likely(x), unlikely(x), os_printf_like(fmt, first), and to start loading a
 *               cache line: os_prefetch(addr), or os_prefetch_write(addr) to own it;
 *               OS_ATTRIBUTE(x), and annotate.h
 *               bool os_asks_before_writing(): does os_prefetch_write() of buffers that a copy is about
 *               to fill pay on this processor? Measured with VALE, 60 bytes: a sixth more packets on
 *               Sapphire Rapids, a quarter fewer on Zen 4 (256 bytes: 40 % fewer)
 *   struct os_mutex    sleeping lock: os_mutex_init/_destroy/_lock/_unlock
 *   struct os_spin     short lock, never held across a sleep: os_spin_init/_lock/_unlock.
 *                      In the kernel it also keeps soft interrupts out.
 *   struct os_rwlock   many readers or one writer; readers are forwarding threads and
 *                      don't sleep: os_rwlock_init/_destroy, os_read_lock/_unlock,
 *                      os_write_lock/_unlock. A waiting writer is not starved.
 *   struct os_wakeup   the thread that waits for a ring: os_wakeup_init/_destroy/_signal.
 *                      os_wakeup_signal() may be called from any thread, under an os_spin
 *                      or a read lock, and is cheap when no thread sleeps.
 *   memory order       OS_LOAD(p), OS_STORE(p, v): one access, never torn or repeated
 *                      OS_LOAD_ACQUIRE(p), OS_STORE_RELEASE(p, v)
 *                      os_mb(): full barrier
 *   OS_MAC_BUCKETS_LOG2  how large an address table is: mactable.h
 *   os_time_s()        seconds of a monotonic clock, cheap and coarse
 *   os_time_us()       microseconds of one, not coarse
 *   os_assert(cond)    the core's own state is as it must be: never a question of what another
 *                      party has written. Not evaluated, and no code, unless NM_DEBUG is defined.
 *   os_assert_held(l)  the caller holds this os_mutex, os_spin or os_rwlock (some reader, or
 *                      this thread the writer); the same. In the kernel for lockdep.
 *
 * Locks are annotated: see annotate.h, and locks.h for those of the core.
 *
 * Thread safety: as said for each.
 */
#ifndef CORE_OS_H
#define CORE_OS_H

#include "os_platform.h"

/* Memory for control structures: zeroed, suitably aligned for a cache line; NULL when there is
 * none. May sleep. os_free(NULL) is allowed. */
void *os_zalloc(size_t bytes);
void os_free(void *mem);

/* The same for a large table, most of which may never be used: where the platform can do that, no page of it costs anything
 * before it is touched, and what is freed is given back by another thread. */
void *os_table_alloc(size_t bytes);
void os_table_free(void *table);

/*
 * Memory of a region: `bytes` of zeroed, page-aligned memory that can be mapped into
 * applications; the platform keeps what it needs for that (a memfd, pages) in its struct os_mem.
 * Pages are committed when first touched where the platform can do that.
 * os_mem_alloc() returns NULL with err when there is not enough, or when the platform has a bound: the
 * text says which, and how to raise it. os_mem_free(NULL) is allowed. Any thread may call both, with the core lock
 * or without; they wait for nobody else's locks.
 */
struct os_mem;
struct nm_error;
struct os_mem *os_mem_alloc(uint64_t bytes, struct nm_error *err);
void os_mem_free(struct os_mem *mem);
/* Memory of others (EXTMEM): what lies behind the first `bytes`, whole pages, is not accessed any more. */
void os_mem_trim(struct os_mem *mem, uint64_t bytes);
void *os_mem_addr(const struct os_mem *mem);

/* Fills buf with random bytes that an outsider can't guess. */
void os_random(void *buf, size_t bytes);

/* As vsnprintf: always ends buf with 0; returns the length that was wanted. */
int os_vsnprintf(char *buf, size_t bytes, const char *fmt, va_list ap);

enum os_log_level { OS_LOG_ERR, OS_LOG_WARN, OS_LOG_INFO, OS_LOG_DEBUG };

/* One line to the log of the platform, without a newline in fmt. Rate-limited by the platform, for
 * a guest may cause it at will. Any context. */
void os_log(enum os_log_level level, const char *fmt, ...) os_printf_like(2, 3);

/* As snprintf; defined in core/util.c over os_vsnprintf. */
int os_snprintf(char *buf, size_t bytes, const char *fmt, ...) os_printf_like(3, 4);

/* What is not printable ASCII becomes '?': for lines of text that quote what others have said. */
void os_make_printable(char *text);

#endif
