/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * os_platform.h - the user-space platform of the core: see core/os.h for what each name means.
 *
 * Used by netmapd, libnetmap, the tools and the unit tests. Built on libc, pthreads and
 * the compiler's atomics, so that ThreadSanitizer understands it.
 *
 * Thread safety: as core/os.h says.
 */
#ifndef USER_OS_PLATFORM_H
#define USER_OS_PLATFORM_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#ifdef __clang__
#define OS_ATTRIBUTE(x) __attribute__((x))
#else
#define OS_ATTRIBUTE(x)
#endif
#include "annotate.h"

/* A build may choose a smaller table, which is made sooner, and gets full: the fuzz targets do. */
#ifndef OS_MAC_BUCKETS_LOG2
#define OS_MAC_BUCKETS_LOG2 15
#endif
#if defined(__x86_64__) || defined(__i386__)
#define OS_CPU_IS_AMD __builtin_cpu_is("amd")
#else
#define OS_CPU_IS_AMD 0
#endif
#define likely(x)                  __builtin_expect(!!(x), 1)
#define unlikely(x)                __builtin_expect(!!(x), 0)
#define os_prefetch(addr)          __builtin_prefetch(addr)
#define os_prefetch_write(addr)    __builtin_prefetch(addr, 1)
#define os_asks_before_writing()   (!OS_CPU_IS_AMD)
#define os_printf_like(fmt, first) __attribute__((format(printf, fmt, first)))
#ifdef OS_LOAD_HOOK
/* A fuzz target: the other party writes between any two loads (tests/fuzz/fuzz_race.c). */
void os_load_hook(void);
#define OS_LOAD(p)                                                            \
	__extension__({                                                       \
		__auto_type loaded_ = __atomic_load_n((p), __ATOMIC_RELAXED); \
		os_load_hook();                                               \
		loaded_;                                                      \
	})
#else
#define OS_LOAD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#endif
#define OS_STORE(p, v)         __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define OS_LOAD_ACQUIRE(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define OS_STORE_RELEASE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer has no notion of a fence, and needs none: what it orders are the accesses. */
#define os_mb() __asm__ volatile("mfence" ::: "memory")
#else
#define os_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

/* Who holds a lock, for os_assert_held(). */
#ifdef NM_DEBUG
#define os_assert(cond) assert(cond)

struct os_holder {
	pthread_t thread; /* the one that holds it, or writes; 0: none */
	uint32_t readers;
};

static inline void os_holder_set(struct os_holder *h, pthread_t thread)
{
	OS_STORE(&h->thread, thread);
}

static inline void os_holder_add_reader(struct os_holder *h, int by)
{
	__atomic_fetch_add(&h->readers, (uint32_t)by, __ATOMIC_RELAXED);
}

static inline bool os_holder_is_held(const struct os_holder *h)
{
	return OS_LOAD(&h->thread) == pthread_self() || OS_LOAD(&h->readers) > 0;
}
#else
#define os_assert(cond) ((void)sizeof(!(cond)))

struct os_holder {
};

static inline void os_holder_set(struct os_holder *h, pthread_t thread)
{
}

static inline void os_holder_add_reader(struct os_holder *h, int by)
{
}

static inline bool os_holder_is_held(const struct os_holder *h)
{
	return true;
}
#endif

#define os_assert_held(lock) os_assert(os_holder_is_held(&(lock)->holder))

struct OS_CAPABILITY("mutex") os_mutex {
	pthread_mutex_t l;
	struct os_holder holder;
};

#define OS_MUTEX_INIT                          \
	{                                      \
		.l = PTHREAD_MUTEX_INITIALIZER \
	} /* for one that is a variable */

static inline void os_mutex_init(struct os_mutex *m)
{
	pthread_mutex_init(&m->l, NULL);
	m->holder = (struct os_holder){};
}

static inline void os_mutex_destroy(struct os_mutex *m)
{
	pthread_mutex_destroy(&m->l);
}

static inline void os_mutex_lock(struct os_mutex *m) OS_LOCKS(*m)
{
	pthread_mutex_lock(&m->l);
	os_holder_set(&m->holder, pthread_self());
}

static inline void os_mutex_unlock(struct os_mutex *m) OS_UNLOCKS(*m)
{
	os_holder_set(&m->holder, 0);
	pthread_mutex_unlock(&m->l);
}

/* Held for one batch at most; pthread's spin lock is a test-and-set with pause. */
struct OS_CAPABILITY("spin lock") os_spin {
	pthread_spinlock_t l;
	struct os_holder holder;
};

static inline void os_spin_init(struct os_spin *s)
{
	pthread_spin_init(&s->l, PTHREAD_PROCESS_PRIVATE);
	s->holder = (struct os_holder){};
}

static inline void os_spin_lock(struct os_spin *s) OS_LOCKS(*s)
{
	pthread_spin_lock(&s->l);
	os_holder_set(&s->holder, pthread_self());
}

static inline void os_spin_unlock(struct os_spin *s) OS_UNLOCKS(*s)
{
	os_holder_set(&s->holder, 0);
	pthread_spin_unlock(&s->l);
}

struct OS_CAPABILITY("read-write lock") os_rwlock {
	pthread_rwlock_t l;
	struct os_holder holder;
};

static inline void os_rwlock_init(struct os_rwlock *l)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&l->l, &attr);
	pthread_rwlockattr_destroy(&attr);
	l->holder = (struct os_holder){};
}

static inline void os_rwlock_destroy(struct os_rwlock *l)
{
	pthread_rwlock_destroy(&l->l);
}

static inline void os_read_lock(struct os_rwlock *l) OS_LOCKS_SHARED(*l)
{
	pthread_rwlock_rdlock(&l->l);
	os_holder_add_reader(&l->holder, 1);
}

static inline void os_read_unlock(struct os_rwlock *l) OS_UNLOCKS_SHARED(*l)
{
	os_holder_add_reader(&l->holder, -1);
	pthread_rwlock_unlock(&l->l);
}

static inline void os_write_lock(struct os_rwlock *l) OS_LOCKS(*l)
{
	pthread_rwlock_wrlock(&l->l);
	os_holder_set(&l->holder, pthread_self());
}

static inline void os_write_unlock(struct os_rwlock *l) OS_UNLOCKS(*l)
{
	os_holder_set(&l->holder, 0);
	pthread_rwlock_unlock(&l->l);
}

/*
 * Who serves a ring sets fn and arg while no producer can signal (before the port is
 * started, or with the pair unchanged until it is stopped); fn runs in the producer's thread.
 */
struct os_wakeup {
	void (*fn)(void *arg);
	void *arg;
};

static inline void os_wakeup_init(struct os_wakeup *w)
{
	w->fn = NULL;
	w->arg = NULL;
}

static inline void os_wakeup_destroy(struct os_wakeup *w)
{
	(void)w;
}

/* arg is stored before fn and loaded after it, so a signal that races with
 * os_wakeup_set() sees a pair that fits. */
static inline void os_wakeup_set(struct os_wakeup *w, void (*fn)(void *arg), void *arg)
{
	OS_STORE(&w->arg, arg);
	OS_STORE_RELEASE(&w->fn, fn);
}

static inline void os_wakeup_signal(struct os_wakeup *w)
{
	void (*fn)(void *arg) = OS_LOAD_ACQUIRE(&w->fn);

	if (fn)
		fn(OS_LOAD(&w->arg));
}

static inline uint64_t os_time_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec;
}

static inline uint64_t os_time_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

#endif
