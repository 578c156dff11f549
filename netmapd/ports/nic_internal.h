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
#include "tap_queues.h"

enum nic_state { NIC_ASKED, NIC_IDLE, NIC_OPENING, NIC_RUNNING, NIC_CLOSING };

struct nics {
	struct daemon *daemon;
	struct nic *list;
	struct tap_watch watch; /* of their host rings */
};

/* Rings that are in use. */
struct nic_users {
	bool hardware, host;
};

/* May one of those who use the port have host rings? netmapd-nic says so. */
enum nic_right { NIC_RIGHT_UNKNOWN, NIC_RIGHT_WANTED, NIC_RIGHT_GRANTED, NIC_RIGHT_REFUSED };

/* Who can use it: who has opened it, and root. */
enum { NIC_OPENER, NIC_ROOT, NIC_USERS };

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
	struct port_waits waits;
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
	struct tap host;                    /* its queues, while the port is there: host rings */
	struct nic_users asked;             /* netmapd-nic was told so, */
	uint32_t asks;                      /* in the name of this one of the users */
	enum nic_right right[NIC_USERS];    /* until nobody has host rings any more */
	uint64_t counted_lost;              /* frames for host rings, which are in a ring's drops */
	uint32_t mtu;                       /* of the device; loaded at any time */
	uint32_t warned_queues, warned_mtu; /* nic_warn() has said what is to be said of them */
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
void nic_warn(struct nic *nic);

/* ---- nic_host.c -------------------------------------------------------------------------------- */

/* Host rings, which lead nowhere yet. 0 or -ENOMEM. */
int nic_host_make(struct nic *nic);
void nic_host_free(struct nic *nic); /* may be called when there are none */

/* The user has host rings, or has tried: netmapd-nic is asked whether he may, unless it has said that he may. */
void nic_want_host(struct nic *nic, uint32_t user) OS_REQUIRES(NM_CORE_LOCK);
/* netmapd-nic is told which rings are in use, unless it knows, or has yet to answer. */
void nic_tell_users(struct nic *nic) OS_REQUIRES(NM_CORE_LOCK);
/* Does it know? */
bool nic_users_told(const struct nic *nic);
/*
 * It has answered; as nic_link_ops.used. An error with a text concerns host rings (*host) of that user, who has none, or else hardware
 * rings; when whoever wants them has been told: nic_tell_users().
 */
int nic_host_used(struct nic *nic, const int *fds, uint32_t num_fds, const struct nm_error *refused,
	bool *host, uint32_t *user, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

/* On return no worker uses descriptors of host rings, and there are none; the kernel may have to do with them still. */
void nic_host_halt(struct nic *nic);

/* The syncs of host rings, as those of nic_io.h. */
int nic_host_txsync(struct nm_ring *ring);
bool nic_host_can_send(struct nm_ring *ring);

/* Before the sync of a hardware rx ring: what it is to forward (NS_FORWARD) the stack receives, while somebody has host rings. */
void nic_host_forward(struct nm_ring *ring);

/* ---- nic.c --------------------------------------------------------------------------------------- */

/* The account pays for so many more descriptors, until the link is gone. */
int nic_pay(struct nic *nic, uint32_t descriptors, struct nm_error *err);

/* The link is closed, unless it is already; it will be gone. */
void nic_close_link(struct nic *nic);

/* Neither port nor link is left: frees it. */
void nic_free_unused(struct nic *nic);

#endif
