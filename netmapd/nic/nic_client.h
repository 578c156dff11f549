/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic_client.h - netmapd's side of netmapd-nic: a network interface opened through AF_XDP, without privilege and without waiting.
 *
 * netmapd-nic (nic/) does all that needs privilege, or can block for seconds: it opens sockets, registers the memory, sees to
 * offloads, loads, attaches and detaches the program, binds, waits until the kernel has let go, watches the interface. Here the rings
 * are mapped. A link is the use of one interface:
 *
 *      nic_link_new()  ->  known(): link->facts; nothing is changed yet
 *      nic_link_open() ->  opened(): chunks go into the fill rings of link->queues; they have no others yet, and no socket
 *      nic_link_bind() ->  bound(): link->mode; link->queues have sockets and all rings, packets flow
 *                      or  opened() again: a mode was not granted; the rings are new ones, and all that was posted
 *                          before is the caller's again
 *      nic_link_use()   -> used(): who has which rings, any number of times, one after the other
 *      nic_link_close() -> gone(): the link is freed after it returns
 *
 *      state        may call             what comes
 *      ---------    ------------------   --------------------------------
 *      asked        close                known, failed
 *      known        open, close          changed, failed
 *      opening      close                opened, changed, failed
 *      opened       bind, close          changed, failed
 *      binding      close                bound, opened, changed, failed
 *      bound        use, close           used, changed, failed
 *      failed       close                -
 *      closing      -                    gone, exactly once
 *
 * failed() comes at most once: the request was refused, the interface is gone or moved to another network namespace (-ENODEV),
 * netmapd-nic has died, … The rings stay mapped until nic_link_close(); a socket whose interface is gone moves nothing.
 *
 * Memory that the kernel had is free at gone(0) only. Any other value means that nobody could prove it: then it must never be used
 * for anything else.
 *
 * Callbacks may call everything that the table allows. The link stays where it is until gone().
 *
 * Thread safety: the control thread. queues[] are served by workers (xsk.h) between bound() and nic_link_close().
 */
#ifndef NETMAPD_NIC_CLIENT_H
#define NETMAPD_NIC_CLIENT_H

#include <sys/types.h>

#include "loop.h"
#include "nic_proto.h"
#include "nm_error.h"
#include "xsk.h"

struct nic_link;

struct nic_link_ops {
	void (*known)(void *arg, struct nic_link *link);
	void (*opened)(void *arg, struct nic_link *link);
	void (*bound)(void *arg, struct nic_link *link);
	void (*changed)(void *arg, struct nic_link *link); /* the facts have: up, mtu, ifname, … */
	/* To nic_link_use(). fds: queues of a TAP that leads to the host's stack (struct nic_used), when there are host rings from now
	 * on; they are the callee's. err: not for that user, and all is as it was; NULL: as was asked. Optional, for who doesn't ask. */
	void (*used)(void *arg, struct nic_link *link, const int *fds, uint32_t num_fds,
		const struct nm_error *err);
	void (*failed)(void *arg, struct nic_link *link, const struct nm_error *err);
	void (*gone)(void *arg, int error);
};

enum nic_link_state {
	NIC_LINK_ASKED,
	NIC_LINK_KNOWN,
	NIC_LINK_OPENING,
	NIC_LINK_OPENED,
	NIC_LINK_BINDING,
	NIC_LINK_BOUND,
	NIC_LINK_FAILED,
	NIC_LINK_DETACHING, /* closing; the following two as well */
	NIC_LINK_RELEASED,
	NIC_LINK_GONE,
};

struct nic_link {
	/* For all to read. */
	struct nic_facts facts;
	enum nic_link_state state;
	uint32_t num_queues;    /* sockets, from opened() on */
	uint32_t first_queue;   /* of the device */
	enum nic_mode mode;     /* granted, from bound() on */
	uint32_t prog_id;       /* of the program */
	uint32_t deferred;      /* queues whose interrupts are put off now, while polled */
	char why[NIC_TEXT_MAX]; /* why it isn't a better mode; "" if there is none */
	const struct nic_counters *counters; /* written by others at any time; NULL: none */
	char twin[NIC_NAME_MAX];             /* the TAP; "": none */
	bool using;                          /* used() is to come */
	struct xsk queues[NIC_QUEUES_MAX];

	/* nic_client.c's */
	struct loop *loop;
	const struct nic_link_ops *ops;
	void *arg;
	const char *socket;
	uid_t user;
	int sock;                   /* the connection, or -1 */
	struct loop_handle *handle; /* its */
	int later;                  /* eventfd: gone() is due */
	struct loop_handle *later_handle;
	struct xsk_sizes sizes;
	int posted; /* memfd of what is put into the fill rings before there are sockets, or -1 */
	char *posted_map;
	bool mapped;  /* the rings are, while it binds: NIC_UNBOUND came */
	bool exposed; /* the kernel may have the memory: it was asked to bind so many */
	uint32_t exposed_queues;
	uint32_t asked_host; /* host rings, by nic_link_use() */
	bool died; /* netmapd-nic has; another one is asked whether the kernel has let go */
	int gone_error;
};

/* What is wanted of an interface; see struct nic_open, which it becomes. */
struct nic_params {
	int memory;           /* the region's sealed memfd; it stays the caller's */
	uint64_t umem_offset; /* in it, page-aligned: 256 bytes before the buffer pool */
	uint64_t umem_bytes;
	uint32_t chunk;
	struct xsk_sizes sizes;           /* all four, powers of two */
	uint32_t first_queue, num_queues; /* 0 queues: all from the first one on */
	enum nic_mode mode;               /* demanded, or NIC_MODE_ANY */
	bool sg, no_promisc;
	uint32_t busy_poll_us, busy_poll_budget;
	bool hardware; /* somebody has hardware rings, at first; nic_link_use() */
	uint32_t pass; /* enum nic_pass */
	uint32_t num_ip4, num_ip6;
	uint8_t ip4[NIC_ADDRESSES_MAX][4];
	uint8_t ip6[NIC_ADDRESSES_MAX][16];
};

/*
 * Asks for the interface, for this user, who must have the right to it as well as netmapd's own user. socket: as
 * nic_connect(), lives as long as the link. NULL with err: there is no netmapd-nic, or no memory; no callback comes.
 */
struct nic_link *nic_link_new(struct loop *loop, const char *socket, const char *ifname, uid_t user,
	const struct nic_link_ops *ops, void *arg, struct nm_error *err);

/* An error of sending it is told by failed(), later. */
void nic_link_open(struct nic_link *link, const struct nic_params *params);
void nic_link_bind(struct nic_link *link);

/*
 * Somebody has hardware rings, or not; and host rings, of which there are so many, or none (0); among those who have host rings is
 * this user, who needs a right to them. Not while it is `using`. Who has no more use for host rings has closed their descriptors before.
 */
void nic_link_use(struct nic_link *link, bool hardware, uint32_t host_rings, uid_t user);

/* Workers have let go of queues[], and nothing waits for their descriptors. */
void nic_link_close(struct nic_link *link);

/* At the end of netmapd: without gone(). */
void nic_link_abandon(struct nic_link *link);

#endif
