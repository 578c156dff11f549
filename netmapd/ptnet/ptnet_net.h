/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_net.h - the ptnet network function: a served port as a PCI device.
 *
 *      BAR0   I/O, 256 bytes       registers and kicks
 *      BAR2   memory, 4096 bytes   MSI-X table and pending bits (QEMU emulates them)
 *      BAR4   memory, 4096 bytes   the kicks again; writes there are posted
 *
 * Register numbers are in net/netmap_virt.h. Parts of the function:
 *
 *      ptnet_net.c   registers, reset, construction
 *      ptnet_csb.c   the CSB in guest memory that comes and goes; drives the port's service
 *      ptnet_irq.c   interrupts
 *
 * What a driver may rely on, beyond the register list:
 *  - PTCTL CREATE gives 0, or ENXIO (an address is missing), EINVAL (an address is not a
 *    multiple of 64, or the arrays overlap), EFAULT (an array of 64 bytes per ring is not
 *    within one range of guest RAM that can be written), EBUSY (created already: goes on
 *    undisturbed), or ENOMEM (no memory to map them). DELETE gives 0, also when not running.
 *    Any other command gives EINVAL.
 *  - A write to any of the four CSB registers stops the service. Addresses are kept when
 *    it stops: DELETE, CREATE continues with the same arrays.
 *  - VNET_HDR_LEN is taken while stopped, if PTNETMAP_F_VNET_HDR was granted; other
 *    lengths than 0, 10, 12 are ignored. Reading gives the length in use. A write of PTFEAT
 *    without that bit, while stopped, brings back the length of the start.
 *  - PTNETMAP_F_USO and PTNETMAP_F_BIG_TCP are granted with PTNETMAP_F_VNET_HDR only.
 *  - RSS_INDEX beyond the last word selects none: DATA reads 0 then, and writes to it are ignored. Without
 *    PTNETMAP_F_RSS the same holds for both registers. Key and table are 0 at first, after a reset, and after a write of PTFEAT.
 *  - Registers that are not readable, and bytes between registers, read 0. Reads of other
 *    widths than 32 bits give the bytes of the registers. Other writes than aligned ones
 *    of 32 bits are ignored and counted.
 *  - Reset, and the end of the connection: stopped, no addresses, no features, the header
 *    length and the rings of the start (port_service_reset). The end also forgets eventfds and
 *    guest memory.
 *  - The REQ interrupt means: the port is gone (its device was removed), the function will never do
 *    anything again, please unplug it. It is signalled at once when it is given later.
 *  - No interrupt is lost while its vector is masked or has no eventfd: see ptnet_irq.h.
 *
 * Thread safety: the thread that runs the loop makes all calls.
 */
#ifndef NETMAPD_PTNET_NET_H
#define NETMAPD_PTNET_NET_H

#include <stdint.h>

#include "loop.h"
#include "port_service.h"
#include "vu_server.h"

struct ptnet_net;
struct nm_quota;

struct ptnet_net_config {
	const char *name; /* for the log; copied */
	uint8_t mac[6];
	struct loop_budget *budget; /* of the loop, for the client; NULL: none */
	struct nm_quota *payer;     /* for what the client makes; NULL: nobody */
	uint32_t offered;           /* feature bits PTNETMAP_F_* that may be granted */
};

/*
 * Creates the function for a served port that is stopped, and its socket at `path` (see
 * vu_server_new). `service` stays the caller's, and must outlive the function. 0 and *out, or a
 * negative errno: as vu_server_new; -EINVAL: no rings; -E2BIG: more of them than PTNET_MAX_RINGS;
 * -ERANGE: the netmap_if lies above 4 GiB.
 */
int ptnet_net_new(struct loop *loop, const char *path, const struct ptnet_net_config *config,
	struct port_service *service, struct ptnet_net **out);

/* Stops the service, disconnects the client, removes the socket. NULL is allowed. */
void ptnet_net_free(struct ptnet_net *net);

/* The port is gone for good: the client is asked (REQ interrupt) to unplug the device. */
void ptnet_net_request_unplug(struct ptnet_net *net);

/* For vu_server_adopt() and vu_server_stats(). */
struct vu_server *ptnet_net_server(struct ptnet_net *net);

struct ptnet_net_stats {
	enum port_service_state state;
	uint32_t features;   /* granted */
	uint32_t dma_ranges; /* announced by the client */
	uint64_t kicks;      /* for a ring that exists, while not stopped */
	uint64_t creates;    /* successful */
	uint64_t failed_creates;
	uint64_t suspends; /* CSB memory went away while running */
	uint64_t resets;
	uint64_t ignored_writes; /* of a wrong width, to no register, or when not allowed */
};

void ptnet_net_stats(const struct ptnet_net *net, struct ptnet_net_stats *stats);

#endif
