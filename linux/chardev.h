/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * chardev.h - what the files behind /dev/netmap share.
 *
 * Thread safety: nmk_ring_timestamp(): the ring's `sync` is held, and the port is not dead.
 */
#ifndef LINUX_CHARDEV_H
#define LINUX_CHARDEV_H

#include "params.h"
#include "port.h"

#include <linux/timekeeping.h>

/* A sync has succeeded: its time goes into an rx ring, which programs take for that of their packets,
 * and into any ring with NR_TIMESTAMP. */
static inline void nmk_ring_timestamp(struct nm_ring *ring)
{
	struct timespec64 now;

	if ((ring->dir == NM_TX || !nmk_timestamps()) &&
		!(OS_LOAD(&ring->shared->flags) & NR_TIMESTAMP))
		return;
	ktime_get_real_ts64(&now);
	nm_ring_stamp(ring->shared,
		(uint64_t)now.tv_sec * USEC_PER_SEC + now.tv_nsec / NSEC_PER_USEC,
		&ring->stamped_us);
}

#endif
