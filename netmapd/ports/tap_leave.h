/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap_leave.h - TAP devices on their way out: nobody waits while the kernel removes one.
 *
 * close() of the last queue of a TAP returns when the kernel has removed the device, which takes 10 to 20 ms on a system that is idle,
 * longer the busier it is, and for ever when the kernel is stuck. So another thread closes it (device_closer.h). Meanwhile the device is
 * still there:
 *
 *      its name    is nobody's. A new port of that name would get a queue of the old device, and a NIC of that name would be the
 *                  old device: who wants one waits until it is gone
 *      how many    TAPS_LEAVING_MAX leave at a time; who wants to make or remove one more port waits, too. So who makes ports and removes
 *                  them as fast as he can has no more devices than that beyond those that he may have
 *
 *      tap_leaving_new()                with the device: its end can't fail for want of memory
 *      tap_leaving_go(), or _free()     the descriptors go; or there never were any
 *      tap_leaves_ask()                 may a request be carried out? No: it waits, and asks again when it is told
 *      tap_leaves_refuse()              the same for who can't wait
 *
 * Who came first is first. A request that waits keeps its place until it may go, however often it asks; one that wants the same name, or
 * wants room while others wait for that, waits behind it, also when the device is gone already and the first one has yet to have its turn.
 *
 *      wants             the name is free      room            behind others who want
 *      TAP_WANT_NEW      x                     x               the name; room
 *      TAP_WANT_NAME     x                                     the name
 *      TAP_WANT_ROOM                           x               room
 *      TAP_WANT_END      the device that had it last is gone, whoever wants or has the name by then
 *
 * Waiting is the connection's, never this thread's. What is left is a part of close() in which the kernel has its lock of all network
 * devices (rtnl): requests that make a device, or set one's carrier, which this thread does, wait for that. A thread for them would have
 * netmapd's privilege and make each request one that waits, to save what was measured as 0.02 to 0.3 ms, and once 6.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_TAP_LEAVE_H
#define NETMAPD_TAP_LEAVE_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "nm_error.h"

enum { TAPS_LEAVING_MAX = 8 };

struct tap_leaves;  /* all of them */
struct tap_leaving; /* one device */

enum tap_want { TAP_WANT_NEW, TAP_WANT_NAME, TAP_WANT_ROOM, TAP_WANT_END };

/* A request that waits. Set fn and arg; the rest is all 0 at first, and this module's. */
struct tap_wait {
	/* It may go now, unless something happens before it asks. Asks nothing itself. */
	void (*fn)(void *arg);
	void *arg;

	struct tap_leaves *leaves; /* in whose list it is; NULL: it doesn't wait */
	struct tap_wait *next;
	enum tap_want want;
	char ifname[IFNAMSIZ];
	uint32_t ahead;  /* how many before it want the same name */
	uint64_t device; /* TAP_WANT_END: its number */
	bool told;       /* since it has asked */
};

/* 0 or a negative errno. */
int tap_leaves_new(struct loop *loop, struct tap_leaves **out);
/* No more events: behind device_closer_exit(), and `left` is what that has left, which goes on until the process ends. */
void tap_leaves_free(struct tap_leaves *leaves, uint32_t left);

/* For a device of so many queues. NULL: no memory. */
struct tap_leaving *tap_leaving_new(uint32_t queues);
void tap_leaving_free(struct tap_leaving *leaving);

/* The device of this name leaves as another thread closes these descriptors, of which there are no more than it has queues; -1 are allowed.
 * gone: others have removed it, so the name isn't its own any more. */
void tap_leaving_go(struct tap_leaves *leaves, struct tap_leaving *leaving, const char *ifname,
	bool gone, const int *fds, uint32_t count);

/* Is a device of this name leaving? NULL: are there so many that no port may be made? */
bool tap_leaves_has(struct tap_leaves *leaves, const char *ifname);

/* The same of either: 0, or -EBUSY with a text. */
int tap_leaves_refuse(struct tap_leaves *leaves, const char *ifname, struct nm_error *err);

/* 0: it may go, and doesn't wait any more. -EINPROGRESS: wait->fn will be called, then ask the same again. */
int tap_leaves_ask(
	struct tap_leaves *leaves, enum tap_want want, const char *ifname, struct tap_wait *wait);

/* Whoever waits doesn't any more. May not be waiting. */
void tap_wait_forget(struct tap_wait *wait);

#endif
