/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic_internal.h - what nic.c (who asks, and what netmapd-nic tells) and nic_port.c (the port) share.
 *
 * Thread safety: control thread, but for what nic_io.h says.
 */
#ifndef NETMAPD_NIC_INTERNAL_H
#define NETMAPD_NIC_INTERNAL_H

#include "accounts.h"
#include "nic.h"
#include "nic_client.h"
#include "nic_io.h"

enum nic_state { NIC_ASKED, NIC_IDLE, NIC_OPENING, NIC_RUNNING, NIC_CLOSING };

struct nics {
	struct daemon *daemon;
	struct nic *list;
};

struct nic {
	struct nic *next;
	struct nics *nics;
	enum nic_state state;
	char name
		[NIC_NAME_MAX]; /* as it was asked for; also the port's, until the device is renamed */
	uint32_t user;          /* who asked */
	struct account *account; /* his: pays for the port, and for */
	uint32_t descriptors;    /* so many, as long as there is a link */
	struct nic_link *link;   /* NULL: gone */
	struct nm_port *port;    /* NULL: not yet, or no more */
	struct nic_wait *waits;
	bool telling;           /* them: it stays until all were told */
	struct nm_error failed; /* code 0: it has not */

	uint32_t num_queues;
	struct nic_queue *queues; /* while the port is there */
	uint32_t rx_entries;      /* of a socket's ring of received packets */
	uint32_t per_queue;       /* buffers in the kernel's hands */
	bool sg;                  /* packets may have several descriptors */
	uint32_t paused;
	int carrier;
	struct nm_region *region; /* CLOSING: a reference, for buffers of owner `held` */
	uint32_t held;
	bool unproven; /* nobody knows whether the kernel has let go of buffers */
};

/* ---- nic_port.c -------------------------------------------------------------------------------- */

/* The port of a device that is known. 0 or a negative errno with a text. */
int nic_make_port(struct nic *nic, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

/* The device of a port that was closed is known again: is it as it was? */
int nic_check_port(struct nic *nic, struct nm_error *err);

/* Buffers go into the fill rings of sockets that are open. */
void nic_fill(struct nic *nic) OS_REQUIRES(NM_CORE_LOCK);

/* Packets flow, or not any more: on return no worker uses the sockets. */
int nic_go(struct nic *nic);
void nic_halt(struct nic *nic);

/* As the device is now: carrier, MTU. */
void nic_take_facts(struct nic *nic);

/* Says what of the device's traffic the port doesn't see. */
void nic_warn(const struct nic *nic);

/* ---- nic.c --------------------------------------------------------------------------------------- */

/* The account pays for so many more descriptors, until the link is gone. */
int nic_pay(struct nic *nic, uint32_t descriptors, struct nm_error *err);

/* The link is closed, unless it is already; it will be gone. */
void nic_close_link(struct nic *nic);

/* Neither port nor link is left: frees it. */
void nic_free_unused(struct nic *nic);

#endif
