/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * params.h - parameters of the module: modprobe netmap buf_num=…, /sys/module/netmap/parameters.
 *
 *      if_num, if_size          netmap_if objects of a shared region (NICs and pipes, and those
 *      ring_num, ring_size      named by their id): how many, and bytes of each; rings
 *      buf_num, buf_size        buffers
 *      priv_buf_size            bytes of a buffer in a region that is made for one port
 *      priv_buf_num             buffers there beyond those of the port's rings, for its pipes and
 *                               monitors
 *      region_max_mb            MiB that one region may have, in memory of the kernel; 0: a quarter of the
 *                               machine's memory, 1024 at most: to clear it takes a while
 *      regions_max_mb           MiB that all regions together may have; 0: half of the machine's memory
 *      timestamps               0: rings get the time of a sync only with NR_TIMESTAMP; else rx rings
 *                               get it always
 *      huge_pages               1: applications map the region of a passed-through port by pages of 2 MiB, from
 *                               Linux 6.12 on. The default where the kernel bears it (compat.h); else any
 *                               process that has such a mapping can make the kernel fail
 *      verbose                  1: each control request is logged
 *
 * What is not given follows from the machine's memory: a shared region has about an eighth of
 * it, 32 to 512 MiB, and is made when it is first used. They can be written at any time, and
 * hold for regions made from then on. (The numbers of rings and netmap_if of a port's
 * region follow from the port.)
 *
 * Thread safety: any thread.
 */
#ifndef LINUX_PARAMS_H
#define LINUX_PARAMS_H

#include "os.h"

struct nm_core;

/* Fills in what was not given, and sets the core's. -EINVAL with a line in the log: they make no
 * region. Called by main.c, once, before anything else can use the core. */
int nmk_params_start(struct nm_core *core);
/* Nobody reads the core's or sets them any more: it goes. Also when they were not started. */
void nmk_params_stop(void);

/* Bytes that one region, and all together, may have. */
uint64_t nmk_region_max(void);
uint64_t nmk_regions_max(void);

bool nmk_verbose(void);
bool nmk_timestamps(void);
bool nmk_huge_pages(void); /* for mappings from now on */

#endif
