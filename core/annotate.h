/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * annotate.h - which lock guards what, in words that the compiler checks.
 *
 * clang's thread-safety analysis (-Wthread-safety, part of every build with clang) takes these
 * words for what they say; for gcc they are empty. In C a member can't name the lock beside it, and
 * two expressions for one lock (client->core->lock, port->core->lock) are two to the analysis. So a
 * lock that is a member stands for its *class*, as with lockdep: one name for all locks of a sort,
 * which only the analysis ever sees. A lock that is a variable is named by itself.
 *
 *      OS_LOCK_CLASS(NM_CORE_LOCK);                          declares the class
 *      OS_LOCK_CLASS(VALE_LOCK) OS_ACQUIRED_AFTER(NM_CORE_LOCK);   and its place in the lock order
 *
 *      uint32_t refs OS_GUARDED_BY(NM_CORE_LOCK);            read and written under the lock
 *      char *text OS_PT_GUARDED_BY(NM_CORE_LOCK);            what it points to is
 *      void put(…) OS_REQUIRES(NM_CORE_LOCK);                the caller holds the lock
 *      void show(…) OS_REQUIRES_SHARED(VALE_LOCK);           at least for reading
 *      void bind(…) OS_EXCLUDES(NM_CORE_LOCK);               takes it, so the caller doesn't hold it
 *
 * Each class has two functions of its own that lock and unlock, and nothing else takes such a lock:
 *
 *      static inline void nm_core_lock(struct nm_core *core) OS_LOCKS(NM_CORE_LOCK) { … }
 *      static inline void nm_core_unlock(struct nm_core *core) OS_UNLOCKS(NM_CORE_LOCK) { … }
 *
 * OS_ACQUIRE, OS_RELEASE: a function that calls such a one, and returns with the lock held, or free.
 * OS_ASSERTS_HELD: a function that checks it (os_assert_held), so that it is known from there on.
 * OS_NO_THREAD_SAFETY_ANALYSIS: a function that the analysis can't follow; its comment says why.
 *
 * All that precedes and follows a class stands in one declaration: of several one counts.
 *
 * The analysis knows classes, not locks: whether it is the right lock of its class is what
 * os_assert_held() finds out in tests. It doesn't look through function pointers.
 *
 * Included by os_platform.h, which defines OS_ATTRIBUTE(x): __attribute__((x)) for clang, else
 * empty.
 *
 * Thread safety: no code.
 */
#ifndef CORE_ANNOTATE_H
#define CORE_ANNOTATE_H

#define OS_CAPABILITY(name)          OS_ATTRIBUTE(capability(name))
#define OS_GUARDED_BY(lock)          OS_ATTRIBUTE(guarded_by(lock))
#define OS_PT_GUARDED_BY(lock)       OS_ATTRIBUTE(pt_guarded_by(lock))
#define OS_ACQUIRED_AFTER(...)       OS_ATTRIBUTE(acquired_after(__VA_ARGS__))
#define OS_ACQUIRED_BEFORE(...)      OS_ATTRIBUTE(acquired_before(__VA_ARGS__))
#define OS_REQUIRES(lock)            OS_ATTRIBUTE(requires_capability(lock))
#define OS_REQUIRES_SHARED(lock)     OS_ATTRIBUTE(requires_shared_capability(lock))
#define OS_EXCLUDES(lock)            OS_ATTRIBUTE(locks_excluded(lock))
#define OS_ACQUIRE(lock)             OS_ATTRIBUTE(acquire_capability(lock))
#define OS_RELEASE(lock)             OS_ATTRIBUTE(release_capability(lock))
#define OS_TRY_ACQUIRE(result, lock) OS_ATTRIBUTE(try_acquire_capability(result, lock))
#define OS_ASSERTS_HELD(lock)        OS_ATTRIBUTE(assert_capability(lock))
#define OS_NO_THREAD_SAFETY_ANALYSIS OS_ATTRIBUTE(no_thread_safety_analysis)

/* Of the functions that are the lock: there is nothing below them that the analysis could follow. */
#define OS_LOCKS(lock)   OS_ACQUIRE(lock) OS_NO_THREAD_SAFETY_ANALYSIS
#define OS_UNLOCKS(lock) OS_RELEASE(lock) OS_NO_THREAD_SAFETY_ANALYSIS
#define OS_LOCKS_SHARED(lock) \
	OS_ATTRIBUTE(acquire_shared_capability(lock)) OS_NO_THREAD_SAFETY_ANALYSIS
#define OS_UNLOCKS_SHARED(lock) \
	OS_ATTRIBUTE(release_shared_capability(lock)) OS_NO_THREAD_SAFETY_ANALYSIS

struct OS_CAPABILITY("lock") os_lock_class {
	char unused;
};

/* Nowhere defined: no code refers to it. */
#define OS_LOCK_CLASS(name) extern const struct os_lock_class name

#endif
