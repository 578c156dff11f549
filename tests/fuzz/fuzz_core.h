/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_core.h - the core's platform under a target's control: memory that runs out, a clock that the
 * input moves, random numbers that are the same for each input; and a device, for what wants one.
 *
 *      core.platform_ops = &fuzz_platform;
 *      fuzz_fail_allocation(3); … ; fuzz_core_end(&core);
 *
 * The linker puts the wrappers of this file in the place of the platform's functions (--wrap).
 *
 * Thread safety: the main thread's. The wrappers are for any thread.
 */
#ifndef TESTS_FUZZ_FUZZ_CORE_H
#define TESTS_FUZZ_FUZZ_CORE_H

/* A target's main thread is the only one that uses its core, so most of it takes no lock. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

#include "bufown.h"
#include "client.h"
#include "fuzz.h"

/* Bytes that a region may have; the memory for more "can't be had". */
enum { FUZZ_MEMORY_MAX = 4 << 20 };

/* Undoes what the last input has done to the platform. */
void fuzz_core_reset(void);

/* The n-th next allocation (os_zalloc, os_mem_alloc; 1 is the next) fails; 0: none does. */
void fuzz_fail_allocation(uint32_t nth);

/* Memory of a region; fuzz_mem.c. */
struct os_mem *fuzz_mem_alloc(uint64_t bytes);

/* Moves the clock of os_time_s(). */
void fuzz_advance_clock(uint64_t seconds);

/*
 * Devices, as a platform has them: VALE_NEWIF makes one that sends what it is given at once, and receives
 * by fuzz_device_receive(); VALE_DELIF removes it. Attachments are stepped by fuzz_step_attachments() alone.
 */
extern const struct nm_platform_ops fuzz_platform;
void fuzz_device_receive(struct nm_core *core, const char *name, const void *bytes, uint32_t len);
void fuzz_step_attachments(struct nm_core *core);

/* All devices and attachments go, whose clients must have gone. */
void fuzz_core_release(struct nm_core *core);
/* So they do; then nothing may be left; and then the core goes. */
void fuzz_core_check_empty(struct nm_core *core);
void fuzz_core_end(struct nm_core *core);

/* Nobody owns anything of the region any more. */
void fuzz_check_all_free(struct nm_region *region);

#endif
