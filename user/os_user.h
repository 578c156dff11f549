/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * os_user.h - what the user-space platform offers to its own programs beside core/os.h.
 *
 * The log is in log.h.
 *
 * Thread safety: any thread.
 */
#ifndef USER_OS_USER_H
#define USER_OS_USER_H

#include "log.h"
#include "os.h"

/*
 * Region memory on the first `bytes` (a multiple of the page size) of somebody else's memfd, which
 * has passed sealed_check() (sealed.h). The descriptor is duplicated. NULL with errno.
 */
struct os_mem *os_mem_on_file(int fd, uint64_t bytes);

/*
 * A process whose clients pass descriptors sets numbers from `first` on aside for those: what it opens itself stays
 * below. os_fd_is_reserved(): a descriptor just made is one of them. os_fd_keep(): the descriptor, or, when it is one of
 * them, -1 with EMFILE, and it is closed; -1 for -1. Any thread; os_fd_reserve() before others run.
 */
void os_fd_reserve(int first);
bool os_fd_is_reserved(int fd);
int os_fd_keep(int fd);

/* Work that somebody does later: calls job->run(job) once. Embedded in what it is about. */
struct os_job {
	struct os_job *next; /* of whoever has it */
	void (*run)(struct os_job *job);
};

/* What os_mem_free() and os_table_free() have to do, which takes the longer the more memory was touched, goes to fn; NULL:
 * it is done at once. Before other threads run. */
void os_mem_free_by(void (*fn)(struct os_job *job));

/* Region memory that is made from now on lies on huge pages of 2 MiB (hugetlb), as long as the system has some set
 * aside; else on ordinary ones, and the log says so. Before other threads run; with fault_init(). */
void os_mem_want_huge(bool want);
/* Core dumps have this memory (true), or don't (false, the default). Before there is any. */
void os_mem_want_dump(bool want);
/* For mappings that hold packets, or a guest's memory: unless they are wanted in core dumps. */
void os_mem_keep_out_of_dumps(void *addr, size_t bytes);
bool os_mem_is_huge(const struct os_mem *mem);

/* The sealed memfd behind a region's memory. Stays the region's: duplicate it to keep it. */
int os_mem_fd(const struct os_mem *mem);

#endif
