/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * monitor_internal.h - what monitor.c (monitors come and go) and monitor_show.c (packets) share.
 *
 * Thread safety: as struct nm_monitor says.
 */
#ifndef CORE_MONITOR_INTERNAL_H
#define CORE_MONITOR_INTERNAL_H

#include "monitor.h"

enum watch { WATCH_TX_COPY, WATCH_RX_COPY, WATCH_TX_ZCOPY, WATCH_RX_ZCOPY };

/* A watched ring and a ring that shows it. All below `how` is under the watched ring's lock. */
struct nm_monitor {
	struct nm_ring *watched, *to;
	enum watch how;
	uint16_t flags; /* NS_TXMON, or 0 */
	struct nm_monitor *next;
	bool fresh;   /* hasn't been shown anything */
	bool waiting; /* copy, tx: `at` is the beginning of a packet whose end is not released yet */
	uint32_t paused; /* zero copy, by so many: buffers stay where they are */
	bool skip;       /* inside a packet that has been counted already */
	uint32_t at;     /* next slot to look at */
};

static inline bool is_zcopy(const struct nm_monitor *m)
{
	return m->how == WATCH_TX_ZCOPY || m->how == WATCH_RX_ZCOPY;
}

#endif
