/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * os_platform.h - the kernel platform of the core: see core/os.h for what each name means.
 *
 * What is shared with the other side of a CSB is shared with another machine: the
 * barriers are the virt_ ones, which stay barriers in a kernel for one CPU, too.
 *
 * Thread safety: as core/os.h says.
 */
#ifndef LINUX_OS_PLATFORM_H
#define LINUX_OS_PLATFORM_H

#include <linux/bug.h>
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/prefetch.h>
#include <linux/spinlock.h>
#include <linux/stdarg.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <asm/barrier.h>

/* As <stdint.h> names them; some kernels have one or the other. */
#ifndef UINT16_MAX
#define UINT16_MAX U16_MAX
#endif
#ifndef UINT32_MAX
#define UINT32_MAX U32_MAX
#endif
#ifndef UINT64_MAX
#define UINT64_MAX U64_MAX
#endif

#define OS_ATTRIBUTE(x) /* lockdep looks after locks here */
#include "annotate.h"

#define OS_MAC_BUCKETS_LOG2     15
#define os_prefetch(addr)       prefetch(addr)
#define os_prefetch_write(addr) prefetchw(addr)
#ifdef CONFIG_X86
#define os_asks_before_writing() (boot_cpu_data.x86_vendor != X86_VENDOR_AMD)
#else
#define os_asks_before_writing() true
#endif
#define os_printf_like(fmt, first) __printf(fmt, first)
#define OS_LOAD(p)                 READ_ONCE(*(p))
#define OS_STORE(p, v)             WRITE_ONCE(*(p), v)
#define OS_LOAD_ACQUIRE(p)         virt_load_acquire(p)
#define OS_STORE_RELEASE(p, v)     virt_store_release(p, v)
#define os_mb()                    virt_mb()

/* Own corruption is reported once per place, with where it was found. */
#ifdef NM_DEBUG
#define os_assert(cond) WARN_ON_ONCE(!(cond))
#else
#define os_assert(cond) ((void)sizeof(!(cond)))
#endif

#define os_assert_held(lock) lockdep_assert_held(&(lock)->l)

struct os_mutex {
	struct mutex l;
};

#define os_mutex_init(m) mutex_init(&(m)->l) /* a macro: each place is a lock class */

static inline void os_mutex_destroy(struct os_mutex *m)
{
	mutex_destroy(&m->l);
}

static inline void os_mutex_lock(struct os_mutex *m)
{
	mutex_lock(&m->l);
}

static inline void os_mutex_unlock(struct os_mutex *m)
{
	mutex_unlock(&m->l);
}

struct os_spin {
	spinlock_t l;
};

#define os_spin_init(s) spin_lock_init(&(s)->l)

static inline void os_spin_lock(struct os_spin *s)
{
	spin_lock_bh(&s->l);
}

static inline void os_spin_unlock(struct os_spin *s)
{
	spin_unlock_bh(&s->l);
}

/*
 * The kernel's rwlock lets a waiting writer go first, unless the reader is in a soft interrupt or
 * keeps them out. So readers don't, and may nevertheless be soft interrupts; writers do.
 */
struct os_rwlock {
	rwlock_t l;
};

#define os_rwlock_init(rw) rwlock_init(&(rw)->l)

static inline void os_rwlock_destroy(struct os_rwlock *rw)
{
}

static inline void os_read_lock(struct os_rwlock *rw)
{
	read_lock(&rw->l);
}

static inline void os_read_unlock(struct os_rwlock *rw)
{
	read_unlock(&rw->l);
}

static inline void os_write_lock(struct os_rwlock *rw)
{
	write_lock_bh(&rw->l);
}

static inline void os_write_unlock(struct os_rwlock *rw)
{
	write_unlock_bh(&rw->l);
}

struct nm_ring;

/*
 * What the module keeps per ring: who waits for it, and the lock that makes one thread at a
 * time sync it (the core asks its platform to see to that).
 *
 * about_to_sleep: set by port kinds whose packets come from another machine, before a client
 * is bound. Called under `sync` when nobody has anything to do on the ring and somebody waits
 * on `wq`: asks for a signal. True: something has moved meanwhile, sync again.
 */
struct os_wakeup {
	wait_queue_head_t wq;
	struct mutex sync;
	bool (*about_to_sleep)(struct nm_ring *ring);
};

#define os_wakeup_init(w)                      \
	do {                                   \
		init_waitqueue_head(&(w)->wq); \
		mutex_init(&(w)->sync);        \
		(w)->about_to_sleep = NULL;    \
	} while (0)

static inline void os_wakeup_destroy(struct os_wakeup *w)
{
	mutex_destroy(&w->sync);
}

/*
 * Also from a hard interrupt. The barrier in wq_has_sleeper() pairs with the one behind
 * poll_wait() in chardev.c: either the waiter sees the new index or it is seen here.
 */
static inline void os_wakeup_signal(struct os_wakeup *w)
{
	if (wq_has_sleeper(&w->wq))
		wake_up_interruptible_poll(&w->wq, EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM);
}

static inline uint64_t os_time_s(void)
{
	return (uint64_t)ktime_get_seconds();
}

static inline uint64_t os_time_us(void)
{
	return (uint64_t)ktime_to_us(ktime_get());
}

#endif
