/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * turn.h - a user's turn: what takes something of everybody is had by each user now and then only.
 *
 * A process of netmapd-nic serves one interface, and a user may have several, one after the other or at a time. So what a user of a
 * netmapd has had is noted in a file of the state directory, turn-UID-UID, netmapd's user first, that all of them lock: they take turns,
 * and others don't wait for them.
 *
 * Thread safety: any thread; no state.
 */
#ifndef NIC_TURN_H
#define NIC_TURN_H

#include <stdint.h>
#include <sys/types.h>

/* Waits until the user's last turn, of all processes, is so long ago; this is the next one. Without a file, which is logged, always. */
void turn_wait(const char *dir, uid_t peer, uid_t user, uint32_t ms);

#endif
