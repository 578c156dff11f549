/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * monitor_internal.h - what monitor.c (monitors come and go) and monitor_show.c (packets) share.
 *
 * Thread safety: as struct nm_monitor says; its lock is that of the watched ring.
 */
#ifndef CORE_MONITOR_INTERNAL_H
#define CORE_MONITOR_INTERNAL_H

#include "monitor.h"

enum watch { WATCH_TX_COPY, WATCH_RX_COPY, WATCH_TX_ZCOPY, WATCH_RX_ZCOPY };

/* A watched ring and a ring that shows it. */
struct nm_monitor {
	struct nm_ring *watched, *to;
	enum watch how;
	uint16_t flags; /* NS_TXMON, or 0 */
	struct nm_monitor *next OS_GUARDED_BY(NM_MONITORS_LOCK);
	/* Hasn't been shown anything. */
	bool fresh OS_GUARDED_BY(NM_MONITORS_LOCK);
	/* Copy, tx: `at` is the beginning of a packet whose end is not released yet. */
	bool waiting OS_GUARDED_BY(NM_MONITORS_LOCK);
	/* Zero copy, by so many: buffers stay where they are. */
	uint32_t paused OS_GUARDED_BY(NM_MONITORS_LOCK);
	/* Inside a packet that has been counted already. */
	bool skip OS_GUARDED_BY(NM_MONITORS_LOCK);
	/* Next slot to look at. */
	uint32_t at OS_GUARDED_BY(NM_MONITORS_LOCK);
};

static inline bool is_zcopy(const struct nm_monitor *m)
{
	return m->how == WATCH_TX_ZCOPY || m->how == WATCH_RX_ZCOPY;
}

#endif
