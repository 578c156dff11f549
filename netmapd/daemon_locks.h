/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * daemon_locks.h - the locks of netmapd, and their order; those of the core are in core/locks.h.
 *
 *      NM_CORE_LOCK        nm_core.lock      control thread
 *        WORKER_GATE       worker.gate       one thread at a time is the next to have `rounds`
 *          WORKER_ROUNDS   worker.rounds     the list of rings; a worker holds it for a round
 *            TAP_QUEUE_LOCK  tap_queue.lock  who reads a queue of a TAP, while it is read
 *            VALE_LOCK, NM_MONITORS_LOCK … NM_PRODUCE_LOCK, of the syncs in a round
 *        NIC_POLL_LOCK     of nic_poll.c     who sleeps until a NIC has something; nothing is locked within
 *        CLOSER_LOCK       of closer.c       what waits to be closed; nothing is locked within
 *        DEVICE_CLOSER_LOCK  of device_closer.c  the same of network devices; threads are made with it held, and the log's lock is taken within
 *
 *      control thread   core->lock -> gate -> rounds, gate is released    (a device comes on a switch, or
 *                                                                          leaves: attachment_start, _stop)
 *                                     gate -> rounds, gate is released    (all else that it does to a worker)
 *                       core->lock -> tap_queue.lock                      (users of a port change)
 *      worker           gate, released; rounds -> the locks of a sync
 *
 * So a round, and with it each sync, takes no core->lock: the control thread may hold it while it waits for
 * the round to end.
 *
 * Thread safety: no code.
 */
#ifndef NETMAPD_DAEMON_LOCKS_H
#define NETMAPD_DAEMON_LOCKS_H

#include "locks.h"

OS_LOCK_CLASS(WORKER_GATE) OS_ACQUIRED_AFTER(NM_CORE_LOCK);
OS_LOCK_CLASS(WORKER_ROUNDS)
OS_ACQUIRED_AFTER(WORKER_GATE) OS_ACQUIRED_BEFORE(VALE_LOCK, NM_MONITORS_LOCK);
OS_LOCK_CLASS(TAP_QUEUE_LOCK) OS_ACQUIRED_AFTER(WORKER_ROUNDS);
OS_LOCK_CLASS(NIC_POLL_LOCK) OS_ACQUIRED_AFTER(NM_PRODUCE_LOCK);
OS_LOCK_CLASS(CLOSER_LOCK) OS_ACQUIRED_AFTER(NM_CORE_LOCK);
OS_LOCK_CLASS(DEVICE_CLOSER_LOCK) OS_ACQUIRED_AFTER(NM_CORE_LOCK);

#endif
