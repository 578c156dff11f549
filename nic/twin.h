/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * twin.h - an interface beside a NIC, through which frames come from the host's stack to the NIC's host rings, and back.
 *
 *      the stack sends by eth0  ->  eth0's exit program (stack.h)   ->  twin  ->  netmapd reads: host rx rings
 *      the stack receives on eth0  <-  the twin's program           <-  twin  <-  netmapd writes: host tx rings
 *
 * AF_XDP leads to no stack, and nothing that users see of eth0 may change: so the frames take a TAP without addresses, whose only
 * neighbours are those two programs. What the exit program sends there is marked, for what anybody else sends by the twin must not
 * get into the host rings; nothing of the twin gets into its own stack. Checksums and segments that the stack has left to eth0 are made
 * by the kernel before a frame is read: the TAP promises nothing.
 *
 * A generic XDP program sees all that eth0 receives, and would take these frames for the wire's: there they come behind a cookie,
 * which nobody else knows, and which the program takes off (program.h).
 *
 * The TAP goes with its descriptors, which are the client's alone, so it goes with a client that is killed; and by twin_close(),
 * whatever the client has done with it. Its programs go with it. It is noted in the claim (claim.h): when netmapd-nic is killed, and the
 * client keeps the descriptors, it is removed by whoever puts back the rest. Its alias says that it is still that one.
 *
 * Thread safety: one thread.
 */
#ifndef NIC_TWIN_H
#define NIC_TWIN_H

#include "netlink.h"
#include "nic_proto.h"
#include "nm_error.h"
#include "program.h"

struct twin {
	uint32_t ifindex; /* 0: there is none */
	char ifname[NIC_NAME_MAX];
	int link[2];               /* programs in and out, or -1 */
	struct netlink_drops seen; /* at last */
	uint64_t queue_lost;       /* by queueing disciplines */
};

/* Nothing is made yet. */
#define TWIN_NONE                  \
	{                          \
		.link = { -1, -1 } \
	}

/*
 * For this interface. fds[queues]: its queues, which are the caller's. cookie: of the generic program; NULL: the interface has
 * none. 0, or a negative errno with a text.
 */
int twin_make(struct twin *t, const struct nic_facts *f, const uint8_t *cookie, int *fds,
	uint32_t queues, struct nm_error *err);

/*
 * Frames of the stack that found no room in its queues, since it was made: those of the TAP, and of its queueing discipline, which newer
 * kernels (7.3) can make wait for it.
 */
uint64_t twin_lost(struct twin *t);

/* May be called for one that is closed. */
void twin_close(struct twin *t);

/* That of a netmapd-nic that was killed, if this number is still a twin's. */
void twin_remove(uint32_t ifindex);

#endif
