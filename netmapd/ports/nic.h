/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic.h - network interfaces of this host as ports, through AF_XDP.
 *
 *      application, guest, switch, …         netmap:eth0
 *          tx ring i, rx ring i                 a socket for queue i of the device
 *          host tx ring, host rx ring           the host's stack, by a TAP (nic/twin.h)
 *
 * While somebody has hardware rings what the device receives on its queues goes to the port, and not to the host's stack; before and
 * afterwards it is the stack's. What the stack sends goes to the host rings while somebody has these; else, while somebody has hardware
 * rings, nowhere. netmapd-nic is told who has what whenever that changes, and a request is answered when it has done that (nic_host.c). Packets are never copied here (nic_io.h), and not in the kernel either where the driver can do
 * without (zero copy). The region is a NIC region (region.h).
 *
 * The rings are as many as the device has queues, 64 at most; of 1024 slots, or as many as its own rings have; who comes first may
 * choose another number (@conf:slots=N), and as many host rings as it likes: else one each way. Packets have no virtio-net header and no offsets. A packet may
 * be as long as the MTU allows. With one up to 3822 each packet fits a buffer. Above that AF_XDP's packets of several descriptors
 * (Linux 6.6) are packets of several slots, both ways, and the kernel copies: zero copy can't do that, and is refused if it is
 * demanded.
 *
 * What the sender left to do is done where that can be seen: unfinished checksums (nic_csum.h). The device's offloads that would
 * hide something are off meanwhile (netmapd-nic).
 *
 * All that needs privilege, or can block, is netmapd-nic's (nic_client.h), so making a port takes time: a request that concerns one
 * waits, and the control thread serves others meanwhile.
 *
 *      nics_ask()     before the request is carried out: is its port there?
 *                        no: netmapd-nic is asked what the device is, and the port made; the request waits
 *      nics_ready()   after it: does the port move packets?
 *                        no: netmapd-nic opens the device; the reply waits
 *
 *              ask            known          start             opened, bound
 *      (none) -----> ASKED ---------> IDLE ---------> OPENING ---------------> RUNNING
 *                      |               |                 |                        |
 *                      | failed        | freed           | stop, failed           | stop, failed
 *                      v               v                 v                        v
 *                    (none) <------- CLOSING <-----------+------------------------+
 *                             gone
 *
 *      ASKED      there is no port yet
 *      IDLE       the port is there, nobody uses it, nothing is changed at the device
 *      OPENING    its rings exist, and move nothing
 *      RUNNING    packets, as soon as netmapd-nic knows which rings are in use
 *      CLOSING    the kernel may still write to buffers: they are nobody else's (bufown.h) until it has let go. The device
 *                 can be asked for again then; who asks before waits. After a failure the port is there, dead, as long as it
 *                 has users
 *
 * Drops: at a tx ring link_down (no carrier), too_short, too_long (MTU), and those of bad slots; at an rx ring receiver_full (of
 * packets that found no room, counted by the kernel), no_memory (its other losses), bad_buffer. What all host rx rings were too slow
 * for the first one has as receiver_full.
 *
 * Thread safety: control thread, core->lock as port.h says; the syncs run in workers.
 */
#ifndef NETMAPD_NIC_H
#define NETMAPD_NIC_H

#include <jansson.h>

#include "daemon.h"
#include "port_wait.h"
#include "tap_leave.h"

enum { NICS_WAIT_FOR_TAP = 1 };

/* Once, when d->loop is there; d->nics. Negative errno. */
int nics_init(struct daemon *d);
void nics_close(struct daemon *d); /* before nm_core_destroy(): no client is left */
void nics_exit(struct daemon *d);  /* after it */

/*
 * A request of this user is about to concern port `name` (as in nr_name; a pipe's means its parent; attach: a switch port's
 * means the device). 0: carry it out, with the port there if there can be one; -EINPROGRESS: wait->fn will be called, then ask again;
 * NICS_WAIT_FOR_TAP: tap_wait->fn will be, for a TAP device of this name is leaving, then ask again; other errors with a text: it can't
 * be. tap_wait keeps its place from one NICS_WAIT_FOR_TAP to the next; after anything else the caller forgets it.
 */
int nics_ask(struct daemon *d, const char *name, bool attach, uint32_t user, struct port_wait *wait,
	struct tap_wait *tap_wait, struct nm_error *err);

/* This user's request was carried out, or not; host: it has host rings. 0: no port is opening; -EINPROGRESS: wait->fn will be called,
 * with what it is to say. That he may not have host rings it says to those who have some. */
int nics_ready(struct daemon *d, const char *name, bool attach, bool host, uint32_t user,
	struct port_wait *wait);

/* Is it a port of this kind? */
bool nic_is(const struct nm_port *port);

/* Brings counters of the port's rings up to date, and says what it has: mode, driver, … */
json_t *nic_json(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

#endif
