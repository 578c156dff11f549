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
 *      how many    TAPS_LEAVING_MAX leave at a time; who wants to make one more port waits, too. So who makes ports and removes them
 *                  as fast as he can has no more devices than that beyond those that he may have
 *
 *      tap_leaving_new()                with the device: its end can't fail for want of memory
 *      tap_leaving_go(), or _free()     the descriptors go; or there never were any
 *      tap_leaves_has(), tap_leaves_wait()    may a port of this name be made? No: wait, then ask again
 *      tap_leaves_refuse()              the same for who can't wait
 *
 * Waiting is the connection's (port_wait.h), never this thread's. What is left is a part of close() in which the kernel has its lock of
 * all network devices (rtnl): requests that make a device, or set one's carrier, which this thread does, wait for that.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_TAP_LEAVE_H
#define NETMAPD_TAP_LEAVE_H

#include <net/if.h>

#include "loop.h"
#include "nm_error.h"
#include "port_wait.h"

enum { TAPS_LEAVING_MAX = 8 };

struct tap_leaves;  /* all of them */
struct tap_leaving; /* one device */

/* 0 or a negative errno. */
int tap_leaves_new(struct loop *loop, struct tap_leaves **out);
/* No more events: behind device_closer_exit(). What that has left goes on until the process ends. */
void tap_leaves_free(struct tap_leaves *leaves);

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

/* wait->fn is called, without an error, when the next device is gone, whichever that is. Returns -EINPROGRESS. */
int tap_leaves_wait(struct tap_leaves *leaves, struct port_wait *wait);
bool tap_leaves_have(const struct tap_leaves *leaves, const struct port_wait *wait);

#endif
