/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * chardev.h - what the files behind /dev/netmap share.
 *
 * Thread safety: nmk_ring_timestamp(): the ring's `sync` is held, and the port is not dead.
 */
#ifndef LINUX_CHARDEV_H
#define LINUX_CHARDEV_H

#include "port.h"

#include <linux/timekeeping.h>

/* A sync has succeeded: NR_TIMESTAMP. */
static inline void nmk_ring_timestamp(struct nm_ring *ring)
{
	struct timespec64 now;

	if (likely(!(OS_LOAD(&ring->shared->flags) & NR_TIMESTAMP)))
		return;
	ktime_get_real_ts64(&now);
	ring->shared->ts.tv_sec = now.tv_sec;
	ring->shared->ts.tv_usec = now.tv_nsec / NSEC_PER_USEC;
}

#endif
