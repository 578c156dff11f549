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

/*
 * Where a monitor is among the slots that pass. `at` is the next slot to look at.
 *
 *      state      the slots that pass next                              left when
 *      START      no pass has seen any yet                              the first pass: to IN_SYNC, or
 *                                                                       SKIPPING in mid-packet
 *      IN_SYNC    begin a packet                                        its end is not there: PARTIAL;
 *                                                                       it is endless: SKIPPING
 *      PARTIAL    are the rest of a packet that begins at `at` (copy,   its end comes: IN_SYNC; it
 *                 tx: it waits in the watched ring)                     was disposed of: as from START
 *      SKIPPING   are the rest of a packet that was counted, or began   its end comes: IN_SYNC
 *                 before the monitor
 */
enum monitor_state { MONITOR_START, MONITOR_IN_SYNC, MONITOR_PARTIAL, MONITOR_SKIPPING };

/* A watched ring and a ring that shows it. */
struct nm_monitor {
	struct nm_ring *watched, *to;
	enum watch how;
	uint16_t flags; /* NS_TXMON, or 0 */
	struct nm_monitor *next OS_GUARDED_BY(NM_MONITORS_LOCK);
	enum monitor_state state OS_GUARDED_BY(NM_MONITORS_LOCK);
	/* Zero copy, by so many: buffers stay where they are. */
	uint32_t paused OS_GUARDED_BY(NM_MONITORS_LOCK);
	/* Next slot to look at. The thread that syncs `to` looks whether it has moved without the lock. */
	uint32_t at OS_GUARDED_BY(NM_MONITORS_LOCK);
};

/* Shows a copy monitor of an rx ring what has come since it looked last, as far as it can be seen now. The
 * thread that syncs the monitor's ring. */
void nm_monitor_look(struct nm_monitor *m);

/* Is there any such? */
static inline bool nm_monitor_has_news(const struct nm_monitor *m)
{
	return OS_LOAD_ACQUIRE(&m->watched->produce.hwtail) != OS_LOAD(&m->at);
}

static inline bool is_zcopy(const struct nm_monitor *m)
{
	return m->how == WATCH_TX_ZCOPY || m->how == WATCH_RX_ZCOPY;
}

#endif
