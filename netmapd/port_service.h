/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * port_service.h - a port that netmapd serves for somebody through a CSB.
 *
 * A guest behind a ptnet device and a local application on the control socket
 * are the same thing to the daemon: a registered port, two CSB arrays, a kick
 * from the other side, and an eventfd (or nothing) to wake it. This module binds
 * the port in core, spreads its rings over the workers, and starts and stops the
 * service. It is what a device model or the control socket holds.
 *
 *      port_service_open()      port registered, rings and buffers exist    [stopped]
 *      port_service_start()     workers serve the rings                     [running]
 *      port_service_suspend()   CSB memory is about to go away              [suspended]
 *      port_service_resume()    CSB memory is back, perhaps elsewhere       [running]
 *      port_service_stop()      no thread touches the CSB any more          [stopped]
 *      port_service_close()     port released, buffers returned
 *
 *   state      allowed                                      forbidden
 *   stopped    start, set_hdr_len, close                    suspend, resume
 *   running    stop, suspend, kick, close (stops first)     start, set_hdr_len, resume
 *   suspended  resume, stop, kick (remembered), close       start, set_hdr_len, suspend
 *
 * set_irq and the readers of geometry are allowed in any state.
 *
 * port_service_suspend() and port_service_stop() return only when no worker holds a pointer
 * into the CSB; that takes at most one batch of each ring. Indices, pending
 * slots and buffers survive stop and start, and suspend and resume.
 *
 * Thread safety: all calls come from the control thread, except port_service_kick(),
 * which any thread may call.
 */
#ifndef NETMAPD_PORT_SERVICE_H
#define NETMAPD_PORT_SERVICE_H

#include "nm_error.h"
#include <stdbool.h>
#include <stdint.h>
#include <net/netmap.h>

struct port_service;
struct daemon;
struct nm_region;
struct nm_client;

/* tx and rx rings together, host rings included: what a port can have. A user costs memory for
 * the rings that it has, not for so many. */
enum { PORT_SERVICE_RINGS_MAX = 256 };

/* What a device model or an application has to know of the port. */
struct port_service_geometry {
	uint32_t tx_rings,
		rx_rings; /* that are served; tx_rings + rx_rings <= PORT_SERVICE_RINGS_MAX */
	uint32_t tx_slots, rx_slots;
	uint64_t nifp_offset; /* of the netmap_if, bytes from the start of the region */
	uint32_t region_id;
};

/*
 * Serves the port that `client` is bound to (nm_client_bind or a REGISTER request).
 * `client` stays the caller's and must outlive the result. Returns NULL with a text
 * in err (NMD_TEXT_MAX bytes) and a negative errno in *error.
 */
struct port_service *port_service_open(
	struct daemon *d, struct nm_client *client, int *error, struct nm_error *err);
void port_service_close(struct port_service *s); /* NULL is allowed */

void port_service_geometry(const struct port_service *s, struct port_service_geometry *geo);
struct nm_region *port_service_region(const struct port_service *s);

/* Sums over the rings since port_service_open(). */
struct port_service_stats {
	uint64_t steps, work_steps; /* looked at; found something to do */
	uint64_t interrupts;        /* wanted by the other side */
	uint32_t stopped;           /* rings whose user stored nonsense */
	uint64_t bad_kicks;         /* for rings that the port has not */
};

void port_service_stats(const struct port_service *s, struct port_service_stats *stats);

/* Virtio-net header length of the port: 0, 10 or 12 bytes. Others: -EINVAL; -EBUSY while running. */
uint32_t port_service_hdr_len(const struct port_service *s);
int port_service_set_hdr_len(struct port_service *s, uint32_t bytes);
/* May the user choose it? Not on a pipe, whose ends must agree. */
bool port_service_has_hdr(const struct port_service *s);

/*
 * Fills both arrays (head, cur; hwcur, hwtail) from the private state and starts
 * service. The arrays hold one entry per ring, tx first, and stay valid and mapped
 * until port_service_suspend(), port_service_stop() or port_service_close() has returned. 64-byte aligned, else
 * -EINVAL. -EBUSY when not stopped.
 */
int port_service_start(struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa);
/* Allowed in any state. What the other side has published before counts. */
void port_service_stop(struct port_service *s);

/* CSB memory goes away for a while: as stop, but start's filling in is not repeated. What the other side
 * has published before counts, also when a stop follows. */
void port_service_suspend(struct port_service *s);
/* 0, or a negative errno: -EINVAL for arrays that are not aligned or a port that is not suspended,
 * or what the system answered, which the log says. Then it stays suspended, and the arrays are not
 * touched any more. */
int port_service_resume(struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa);

/*
 * The other side wrote KICK for ring i (tx rings first). Out of range: ignored and counted.
 * Wakes the worker of that ring if it sleeps. Any thread.
 */
void port_service_kick(struct port_service *s, uint32_t ring);

/*
 * Stops, and gives the rings their first state: empty, with the port's own buffers in their
 * slots. For a device that was reset, for its guest may have died in the middle of anything.
 */
void port_service_reset(struct port_service *s);

/*
 * eventfd to signal when ring i wants an interrupt; -1: none. The descriptor is
 * duplicated, so the caller may close its own, and made non-blocking. -EINVAL: ring out of
 * range, or not an eventfd.
 */
int port_service_set_irq(struct port_service *s, uint32_t ring, int eventfd);

/* eventfd that the other side signals instead of port_service_kick(); the worker waits for it itself.
 * Otherwise as port_service_set_irq(). */
int port_service_set_kick(struct port_service *s, uint32_t ring, int eventfd);

#endif
