/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * port_service.h - a port that netmapd serves for a guest or application through a CSB.
 *
 * A guest behind a ptnet device and a local application on the control socket are the same thing to the
 * daemon: a registered port, two CSB arrays, a kick from the other side, and an eventfd (or nothing) to
 * wake it. This module spreads the rings of the port over the workers, and starts and stops the
 * service. The device model or the control socket holds it.
 *
 *                  open                 start                     suspend
 *      (nothing) --------> PORT_STOPPED -------> PORT_RUNNING ------------> PORT_SUSPENDED
 *                             ^   ^                |      ^                  |      |
 *                             |   +---- stop ------+      +---- resume ------+      |
 *                             +------------------------ stop -----------------------+
 *
 *   operation     stopped               running               suspended
 *   start         -> running            -EBUSY                -EBUSY
 *   suspend       nothing               -> suspended          nothing
 *   resume        nothing               nothing               -> running
 *   stop          nothing               -> stopped            -> stopped
 *   reset         rings are emptied     stops before          stops before
 *   set_hdr_len   allowed               -EBUSY                -EBUSY
 *   close         allowed               stops before          stops before
 *
 * What is not in the table is allowed in any state. The CSB arrays are the caller's; workers access them
 * in PORT_RUNNING only. suspend and stop quiesce the service: no worker accesses the arrays any more,
 * and what the other side published before is taken. That lasts at most one batch of each ring.
 * Ring positions, pending slots and buffers survive stop and start, and suspend and resume.
 *
 * Eventfds stay the caller's: an interrupt's must stay open until port_service_sync_irqs() has returned
 * after another one, or none, was set; a kick's until port_service_close() has.
 *
 * Thread safety: all calls come from the control thread, except port_service_kick(), which any
 * thread may call.
 */
#ifndef NETMAPD_PORT_SERVICE_H
#define NETMAPD_PORT_SERVICE_H

#include "nm_error.h"
#include <stdbool.h>
#include <stdint.h>
#include <net/netmap.h>

struct port_service;
struct daemon;
struct nm_client;
struct nm_rss_config;

/* tx and rx rings together, host rings included: what a port can have. A service costs memory for
 * the rings that it has, not for so many. */
enum { PORT_SERVICE_RINGS_MAX = 256 };

enum port_service_state { PORT_STOPPED, PORT_RUNNING, PORT_SUSPENDED };

/* What a device model or an application has to know of the port. */
struct port_service_geometry {
	uint32_t tx_rings, rx_rings; /* served; their sum is at most PORT_SERVICE_RINGS_MAX */
	uint32_t tx_slots, rx_slots;
	uint64_t nifp_offset; /* of the netmap_if, bytes from the start of the region */
	uint32_t region_id;
};

/*
 * The service of the port that `client` is bound to (nm_client_bind or a REGISTER request), stopped.
 * `client` stays the caller's and must outlive the result. NULL with *err: -ENOMEM.
 */
struct port_service *port_service_open(
	struct daemon *d, struct nm_client *client, struct nm_error *err);
void port_service_close(struct port_service *s); /* NULL is allowed */

/* The client goes; this one of the same port and rings takes its place. */
void port_service_set_client(struct port_service *s, struct nm_client *client);

enum port_service_state port_service_state(const struct port_service *s);
void port_service_geometry(const struct port_service *s, struct port_service_geometry *geo);

/* Logs which of the rings of all services have stopped since the last call, and why. */
void port_services_tell(struct daemon *d);

/*
 * Rings go to the workers that placement.h has for them; anew: also those that no rule concerns, which keep theirs
 * else, as long as it is there. Ports that have the number daemon.move have been there. The caller spares `*waits` waits for a
 * worker's round; those that were needed are subtracted, and one for each 8 ports that were looked at. A port has its rings moved
 * as a whole: it takes up to two for each worker. False: *waits is used up, and there may be more ports.
 */
bool port_services_place(struct daemon *d, bool anew, int *waits);

/* Sums over the rings since port_service_open(). */
struct port_service_stats {
	uint64_t steps, work_steps; /* looked at; found something to do */
	uint64_t interrupts;        /* wanted by the other side */
	uint32_t stopped;           /* rings whose user stored an invalid position */
	uint64_t slow_interrupts;   /* sent by the notifier, not by a worker (notify.h) */
	uint64_t bad_kicks;         /* for rings that the port does not have */
};

void port_service_stats(const struct port_service *s, struct port_service_stats *stats);

/* Virtio-net header length of the port: 0, 10 or 12 bytes. Others: -EINVAL. */
uint32_t port_service_hdr_len(const struct port_service *s);
int port_service_set_hdr_len(struct port_service *s, uint32_t bytes);
/* May the user choose it? Not on a pipe, whose ends must agree. */
bool port_service_has_hdr(const struct port_service *s);

/* Which rx ring of the port packets come to: nm_port_set_rss_locked(). In any state. */
int port_service_set_rss(struct port_service *s, const struct nm_rss_config *config);
/* Is there a choice? */
bool port_service_has_rss(const struct port_service *s);
/* What not everybody knows: does the host cut it for ports that don't? And what who uses the port knows, NM_KNOWS_* of offload.h: nothing
 * at first. In any state. */
bool port_service_cuts_unknown(const struct port_service *s);
void port_service_set_knows(struct port_service *s, uint32_t knows);

/*
 * Fills both arrays (head, cur; hwcur, hwtail) from the private state and starts the service. The
 * arrays hold one entry per ring, tx first, 64-byte aligned, and stay valid and mapped until
 * port_service_suspend(), _stop() or _close() has returned.
 */
int port_service_start(struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa);
void port_service_stop(struct port_service *s);

/* CSB memory is about to go away, and is there again, perhaps elsewhere: what the other side has stored in
 * atok meanwhile counts, only ktoa is filled in. */
void port_service_suspend(struct port_service *s);
void port_service_resume(
	struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa);

/* Gives the rings their first state: empty, with the port's own buffers in their slots. For a device that
 * was reset, for its guest may have died in the middle of anything. */
void port_service_reset(struct port_service *s);

/*
 * The other side wrote KICK for ring i (tx rings first). Out of range: ignored and counted.
 * Wakes the worker of that ring if it sleeps. Any thread.
 */
void port_service_kick(struct port_service *s, uint32_t ring);

/* eventfd (notify_usable) that the worker signals when ring i, which exists, wants an interrupt; -1: none.
 * Doesn't wait, so that it does for masking as well. */
void port_service_set_irq(struct port_service *s, uint32_t ring, int eventfd);
/* Signals an eventfd of the other side as the workers do, for a ring, or, for what is no ring's, for number
 * tx_rings + rx_rings. */
void port_service_notify(struct port_service *s, uint32_t ring, int eventfd);
/* On return no worker uses an eventfd that port_service_set_irq() has replaced. */
void port_service_sync_irqs(struct port_service *s);

/* eventfd that the other side signals instead of port_service_kick(); the worker waits for it itself.
 * Once per ring, which exists; several may have the same. A negative errno as epoll_ctl(): the ring is
 * served as before. */
int port_service_set_kick(struct port_service *s, uint32_t ring, int eventfd);

/*
 * The connection whose messages mean, among other things, port_service_kick(); -1: none any more, before it is
 * closed. While the port is running, and all its rings have one worker, that waits for it as well: a kick is two wake-ups away
 * from the interrupt that it leads to, not three, and port_service_kick() finds that it has been heard. Any other message
 * wakes the worker in vain, as any client can with kicks.
 */
void port_service_set_socket(struct port_service *s, int socket);

#endif
