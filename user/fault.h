/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fault.h - memory that somebody else can take away, without a loss but his own.
 *
 * A page of a file can be gone when it is touched, although the file can't shrink: on huge pages (hugetlb),
 * whoever has the descriptor can punch a hole and use up what the system has of them. The touch is then
 * SIGBUS, which ends a process. A *guarded* mapping gets a page of zeros of this process's own in that place, and
 * the touch is repeated: who took the page away no longer sees what is written there, all others go on.
 *
 *      fault_init();                                   once; SIGBUS elsewhere still ends the process
 *      addr = mmap(…); fault_guard(addr, bytes, page);
 *      ...
 *      fault_unguard(addr); munmap(addr, bytes);
 *
 * Thread safety: fault_init() before other threads run; the rest from any thread. A mapping is touched by others
 * only between guard and unguard.
 */
#ifndef USER_FAULT_H
#define USER_FAULT_H

#include <stddef.h>
#include <stdint.h>

enum { FAULT_MAPPINGS = 4096 }; /* that can be guarded at a time */

/* 0, or a negative errno. */
int fault_init(void);

/* `addr` and `bytes` are multiples of `page`, a power of two: bytes that are replaced at once. 0; -ENOSPC; -EINVAL. */
int fault_guard(void *addr, size_t bytes, size_t page);

/* Nothing happens for one that isn't guarded. */
void fault_unguard(void *addr);

/* Pages that were replaced since the process began. */
uint64_t fault_count(void);

#endif
