/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap.h - persistent ports: each is a network device of this host (TAP) as well.
 *
 *      application on netmap:P, or vale0:P attached      the host's stack
 *          tx ring i  ------------ write ------------>   packets that P receives
 *          rx ring i  <----------- read -------------    packets that P sends
 *
 * The only wire of such a device is its host's stack, so its host rings (netmap:P^) lead to the same
 * place: a host tx ring is one more tx ring. What the stack sends through a queue goes to the NIC rx
 * ring of that queue as long as somebody has it; else to one of the host rx rings that are in use, in
 * turn by the number of the queue (one more than there are queues gets nothing); else it waits in the
 * queue. A packet that is forwarded (NS_FORWARD) from an rx ring of either sort goes back to the stack.
 * There is one host ring in each direction, or as many as the REGISTER request says that
 * finds the port unused (@conf:host-rings=N; it stays so).
 *
 * Attached to a switch, the stack is on that switch, with its host rings or without: VALE_ATTACH of
 * both kinds of rings makes no second port there, which would give the stack everything twice.
 *
 * VALE_NEWIF makes one and VALE_DELIF removes it; in between it belongs to nobody, whoever made
 * it; that is answered when the device is gone. It has a queue (multi-queue TAP) per rx ring. While nobody is registered on it the
 * device has no carrier, so the stack keeps no packets for it. A TAP that the administrator has
 * made for this user (ip tuntap add) is taken over, and stays when the port goes; any other needs
 * CAP_NET_ADMIN.
 *
 * Every packet from a tx ring is written, or dropped and counted: link_down (the device is not
 * up), bad_header, too_short, no_memory, refused, and those of bad slots. Nothing is read that finds
 * no room: it waits in the device's queue, and what doesn't fit there the kernel counts as
 * dropped by the device. A device that is removed by others takes the port with it.
 *
 * With a virtio-net header (PORT_HDR_SET to 10 or 12) the stack's packets come with offloads:
 * incomplete checksums and up to 64 KiB long; without one they are complete.
 *
 * A queue is looked at only after epoll has said that there is something: the control thread
 * waits for all of them, and wakes the worker of the ring.
 *
 *      control thread                      thread that syncs the rx ring
 *        event: ready = 1, signal   --->     ready: read until it is empty or the ring is full
 *                                   <---     empty: ready = 0, then ask for one more event
 *        reader changed, signal     --->     ready: the new one reads what was left
 *
 * Thread safety: control thread, core->lock as port.h says; the syncs run in workers.
 */
#ifndef NETMAPD_TAP_H
#define NETMAPD_TAP_H

#include "daemon.h"
#include "tap_leave.h"

/* Once, when d->loop is there; d->taps. Negative errno. */
int taps_init(struct daemon *d);
/* After nm_core_destroy() and device_closer_exit(), which has left so many. */
void taps_exit(struct daemon *d, uint32_t left);

/* A request wants something of port `name` that devices which are leaving may have. As tap_leaves_ask(): 0: carry it out; -EINPROGRESS:
 * wait->fn will be called, then ask again. Who can't wait is refused with -EBUSY. */
int taps_ask(struct daemon *d, enum tap_want want, const char *name, struct tap_wait *wait);

uint32_t taps_count(const struct daemon *d);

/* newif and delif of nm_platform_ops. */
int taps_newif(struct nm_core *core, void *ns, const char *name, const struct nm_shape *shape,
	uint16_t mem_id, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);
int taps_delif(struct nm_core *core, void *ns, const char *name, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK);

#endif
