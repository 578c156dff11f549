/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netlink.h - what only rtnetlink tells: which program is on an interface, the kernel's own words when one can't be attached, and
 * that something about interfaces has changed.
 *
 * Thread safety: any thread; no state.
 */
#ifndef NIC_NETLINK_H
#define NIC_NETLINK_H

#include <stdbool.h>
#include <stdint.h>

#include "nic_proto.h"

/* The number of the program on the interface; 0: there is none, or nobody can say. */
uint32_t netlink_program(uint32_t ifindex);

/* The number of a veth's other end; 0: that is in another network namespace, or it is no veth, or nobody can say. */
uint32_t netlink_peer(uint32_t ifindex);

/*
 * Tries to attach the program in the other way, which gives a text: why the kernel refuses it, "" when it doesn't say. What is
 * attached after all is taken off at once.
 */
void netlink_words(uint32_t ifindex, int prog, bool generic, char text[NIC_TEXT_MAX]);

/* Makes the queueing discipline clsact. 0 or a negative errno; -EEXIST: there is one, or its like. */
int netlink_clsact(uint32_t ifindex);

/*
 * A program for all that the stack sends (egress), or receives, before the filters that others have there; behind most of them, when
 * the first priority is in use for filters of another kind. 0 or a negative errno.
 */
int netlink_filter(uint32_t ifindex, int prog, bool egress);

/* That of what the stack sends is off again, and nothing else. 0 or a negative errno; -ENOENT: it is not there. */
int netlink_filter_off(uint32_t ifindex);

/* An interface goes up without addresses of its own, and says in ip link what it is for. 0 or a negative errno. */
int netlink_up_quietly(uint32_t ifindex, const char *alias);

enum { NETLINK_ALIAS_MAX = 64 };

/* What ip link says it is for, as far as there is room; "": nothing, or there is no such interface. */
void netlink_alias(uint32_t ifindex, char alias[NETLINK_ALIAS_MAX]);

/* Frames that the stack has sent by an interface, and that got nowhere. */
struct netlink_drops {
	uint64_t device;     /* it had no room */
	uint32_t queue;      /* nor its queueing discipline, modulo 2^32, */
	uint32_t discipline; /* which is this one */
};

/* False: nobody can say. */
bool netlink_dropped(uint32_t ifindex, struct netlink_drops *drops);

/* 0 or a negative errno; -ENODEV: there is none. */
int netlink_delete(uint32_t ifindex);

/* A socket that is ready to be read after interfaces have changed. A descriptor, or a negative errno. */
int netlink_watch(void);

/* The same for what ethtool changes (channels, rings). -EOPNOTSUPP: the kernel doesn't tell it. */
int netlink_watch_ethtool(void);

/* Reads away what has come. Was there anything? */
bool netlink_drain(int watch);

/* The same of netlink_watch(). Was any of it about this interface? Yes, too, when some was lost. */
bool netlink_links_changed(int watch, uint32_t ifindex);

#endif
