/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netlink_internal.h - messages of netlink, which netlink.c (interfaces) and netdev.c (their queues) send and read.
 *
 *      netlink_message.c    attributes; one request, one answer; families of generic netlink
 *
 * By hand, over the kernel's headers: this program is privileged, and what it asks are some requests with few attributes, each of one
 * message. A library's parts of that (libmnl) are the dozen lines of netlink_add() and netlink_find().
 *
 * Thread safety: any thread; no state.
 */
#ifndef NIC_NETLINK_INTERNAL_H
#define NIC_NETLINK_INTERNAL_H

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { NETLINK_ANSWER_MAX = 32768 };

struct netlink_request {
	struct nlmsghdr hdr;
	union {
		struct ifinfomsg link;
		struct genlmsghdr generic;
		struct tcmsg tc;
	} body;
	char attributes[256];
};

/* A bound socket, which waits 5 s at most; or a negative errno. */
int netlink_open(int protocol);

/* ---- attributes: of requests, and of answers -------------------------------------------------- */

void *netlink_add(struct netlink_request *r, uint16_t type, const void *value, uint16_t bytes);
/* What was added since then belongs to it. */
void netlink_end_nest(struct netlink_request *r, struct rtattr *nest);

/* An attribute of this type among those in `bytes` bytes; NULL: there is none. */
const struct rtattr *netlink_find(const void *from, size_t bytes, uint16_t type);
/* 32 bits; NULL is 0. */
uint32_t netlink_number(const struct rtattr *a);

/* ---- asking --------------------------------------------------------------------------------- */

/* One request, one answer: its bytes or a negative errno. */
ssize_t netlink_converse(int protocol, struct netlink_request *r, char answer[NETLINK_ANSWER_MAX]);

/* All messages of a dump, in turn. 0 or a negative errno. */
typedef void netlink_each(const struct nlmsghdr *hdr, void *arg);
int netlink_dump(int protocol, struct netlink_request *r, netlink_each *each, void *arg);

/* A command of a family of generic netlink, without attributes yet. */
struct netlink_request netlink_generic(uint16_t family, uint8_t command, uint16_t flags);

/* The number of a family, and what the kernel says of it in `answer`; -EOPNOTSUPP: there is none. */
int netlink_family(const char *name, char answer[NETLINK_ANSWER_MAX]);

#endif
