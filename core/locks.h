/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * locks.h - the locks of the core, and their order.
 *
 *      NM_CORE_LOCK        nm_core.lock           registry, memory, bind and unbind, regions
 *        VALE_LOCK         nm_vale.lock           a switch's ports: read by forwarding
 *          MACTABLE_LOCK   nm_mactable.lock       changes of a switch's addresses
 *        NM_MONITORS_LOCK  nm_ring.monitor_lock   who watches a ring, for a batch of slots
 *          NM_PRODUCE_LOCK nm_ring.produce.lock   a receiving ring, for one batch; nothing in it
 *
 * Outermost first; a lock stands below all that may be held when it is taken, but MACTABLE_LOCK and
 * NM_MONITORS_LOCK are never held together. All but the first are short: who holds one doesn't
 * sleep. No two locks of one class are held at a time.
 *
 * The platform has locks outside of these, around nm_core_lock() and around a sync (linux/kmod.h,
 * netmapd/daemon_locks.h); a sync takes no NM_CORE_LOCK.
 *
 * Thread safety: no code.
 */
#ifndef CORE_LOCKS_H
#define CORE_LOCKS_H

#include "os.h"

OS_LOCK_CLASS(NM_CORE_LOCK);
OS_LOCK_CLASS(VALE_LOCK) OS_ACQUIRED_AFTER(NM_CORE_LOCK);
OS_LOCK_CLASS(MACTABLE_LOCK) OS_ACQUIRED_AFTER(VALE_LOCK);
OS_LOCK_CLASS(NM_MONITORS_LOCK) OS_ACQUIRED_AFTER(NM_CORE_LOCK);
OS_LOCK_CLASS(NM_PRODUCE_LOCK) OS_ACQUIRED_AFTER(MACTABLE_LOCK, NM_MONITORS_LOCK);

#endif
