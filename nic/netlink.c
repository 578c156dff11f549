/* SPDX-License-Identifier: BSD-2-Clause */
#include "netlink.h"

#include <errno.h>
#include <linux/ethtool_netlink.h>
#include <linux/gen_stats.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	ANSWER_MAX = 32768,
	FILTER_FIRST = 1,       /* its priority */
	FILTER_NUMBER = 0x6e6d, /* where that is taken, behind most others; and its handle */
};

struct request {
	struct nlmsghdr hdr;
	union {
		struct ifinfomsg link;
		struct genlmsghdr generic;
		struct tcmsg tc;
	} body;
	char attributes[256];
};

static int open_netlink(int protocol)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), one = 1;
	struct timeval limit = {.tv_sec = 5};

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	close(fd);
	return -EPROTO;
}

/* ---- attributes ---------------------------------------------------------------------------- */

static void *add_attribute(struct request *r, uint16_t type, const void *value, uint16_t bytes)
{
	struct rtattr *a = (void *)((char *)r + NLMSG_ALIGN(r->hdr.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(bytes);
	if (bytes > 0)
		memcpy(RTA_DATA(a), value, bytes);
	r->hdr.nlmsg_len = NLMSG_ALIGN(r->hdr.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

/* What was added since then belongs to it. */
static void end_nest(struct request *r, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)((char *)r + r->hdr.nlmsg_len - (char *)nest);
}

/* An attribute of this type among those in `bytes` bytes; NULL: there is none. */
static const struct rtattr *find_attribute(const void *from, size_t bytes, uint16_t type)
{
	const struct rtattr *a = from;

	for (int left = (int)bytes; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

static uint32_t number_in(const struct rtattr *a)
{
	uint32_t value = 0;

	if (a && RTA_PAYLOAD(a) >= sizeof(value))
		memcpy(&value, RTA_DATA(a), sizeof(value));
	return value;
}

/* ---- asking --------------------------------------------------------------------------------- */

/* One request, one answer: its bytes or a negative errno. */
static ssize_t converse(int protocol, struct request *r, char answer[ANSWER_MAX])
{
	int fd = open_netlink(protocol);
	ssize_t n = -EPROTO;

	if (fd < 0)
		return fd;
	if (send(fd, r, r->hdr.nlmsg_len, 0) == (ssize_t)r->hdr.nlmsg_len)
		n = recv(fd, answer, ANSWER_MAX, 0);
	close(fd);
	return n >= (ssize_t)NLMSG_HDRLEN ? n : -EPROTO;
}

/* What the kernel says of an interface; false: nothing. */
static bool ask_link(uint32_t ifindex, char answer[ANSWER_MAX])
{
	struct request r = {
		.hdr = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST},
		.body.link = {.ifi_index = (int)ifindex},
	};
	const struct nlmsghdr *hdr = (void *)answer;
	ssize_t n = converse(NETLINK_ROUTE, &r, answer);

	return n >= 0 && NLMSG_OK(hdr, (size_t)n) && hdr->nlmsg_type == RTM_NEWLINK;
}

/* An attribute of that answer; NULL: it has none. */
static const struct rtattr *link_attribute(const char answer[ANSWER_MAX], uint16_t type)
{
	const struct nlmsghdr *hdr = (const void *)answer;

	return find_attribute(
		IFLA_RTA((struct ifinfomsg *)NLMSG_DATA(hdr)), IFLA_PAYLOAD(hdr), type);
}

uint32_t netlink_program(uint32_t ifindex)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
	const struct rtattr *xdp =
		ask_link(ifindex, answer) ? link_attribute(answer, IFLA_XDP) : NULL;

	return xdp ? number_in(find_attribute(RTA_DATA(xdp), RTA_PAYLOAD(xdp), IFLA_XDP_PROG_ID))
		   : 0;
}

uint32_t netlink_peer(uint32_t ifindex)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];

	if (!ask_link(ifindex, answer) || link_attribute(answer, IFLA_LINK_NETNSID))
		return 0;
	return number_in(link_attribute(answer, IFLA_LINK));
}

/* The kernel's text in the answer to a request that failed. */
static void take_text(const struct nlmsghdr *hdr, char text[NIC_TEXT_MAX])
{
	const size_t fixed = NLMSG_LENGTH(sizeof(struct nlmsgerr));
	const struct rtattr *a;

	if (hdr->nlmsg_type != NLMSG_ERROR || !(hdr->nlmsg_flags & NLM_F_ACK_TLVS) ||
		hdr->nlmsg_len <= fixed)
		return;
	/* NETLINK_CAP_ACK: of the request only its header is repeated. */
	a = find_attribute((const char *)hdr + fixed, hdr->nlmsg_len - fixed, NLMSGERR_ATTR_MSG);
	if (a)
		snprintf(text, NIC_TEXT_MAX, "%.*s", (int)RTA_PAYLOAD(a), (char *)RTA_DATA(a));
}

/* 0 or a negative errno, with the kernel's words in text. */
static int command(struct request *r, char text[NIC_TEXT_MAX])
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
	const struct nlmsghdr *hdr = (void *)answer;
	ssize_t n = converse(NETLINK_ROUTE, r, answer);

	if (n < 0 || !NLMSG_OK(hdr, (size_t)n) || hdr->nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	take_text(hdr, text);
	return ((struct nlmsgerr *)NLMSG_DATA(hdr))->error;
}

static struct request link_request(uint32_t ifindex, uint16_t type)
{
	return (struct request){
		.hdr = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.body.link = {.ifi_index = (int)ifindex},
	};
}

/* Attaches a program (-1: none). 0 or a negative errno, with the kernel's words in text. */
static int set_program(uint32_t ifindex, int prog, uint32_t flags, char text[NIC_TEXT_MAX])
{
	struct request r = link_request(ifindex, RTM_SETLINK);
	struct rtattr *nest = add_attribute(&r, IFLA_XDP | NLA_F_NESTED, NULL, 0);

	add_attribute(&r, IFLA_XDP_FD, &prog, sizeof(prog));
	add_attribute(&r, IFLA_XDP_FLAGS, &flags, sizeof(flags));
	end_nest(&r, nest);
	return command(&r, text);
}

void netlink_words(uint32_t ifindex, int prog, bool generic, char text[NIC_TEXT_MAX])
{
	uint32_t flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	char ignored[NIC_TEXT_MAX];

	text[0] = '\0';
	if (set_program(ifindex, prog, flags | XDP_FLAGS_UPDATE_IF_NOEXIST, text) == 0)
		set_program(ifindex, -1, flags, ignored);
}

/* ---- interfaces ---------------------------------------------------------------------------- */

/* No link-local address when it goes up. A kernel without IPv6 gives none anyway. */
static void no_addresses(uint32_t ifindex)
{
	struct request r = link_request(ifindex, RTM_SETLINK);
	struct rtattr *spec = add_attribute(&r, IFLA_AF_SPEC | NLA_F_NESTED, NULL, 0);
	struct rtattr *ip6 = add_attribute(&r, AF_INET6 | NLA_F_NESTED, NULL, 0);
	uint8_t none = IN6_ADDR_GEN_MODE_NONE;
	char ignored[NIC_TEXT_MAX];

	add_attribute(&r, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
	end_nest(&r, ip6);
	end_nest(&r, spec);
	(void)command(&r, ignored);
}

int netlink_up_quietly(uint32_t ifindex, const char *alias)
{
	struct request r = link_request(ifindex, RTM_SETLINK);
	char ignored[NIC_TEXT_MAX];

	no_addresses(ifindex);
	r.body.link.ifi_flags = r.body.link.ifi_change = IFF_UP | IFF_NOARP;
	add_attribute(&r, IFLA_IFALIAS, alias, (uint16_t)strlen(alias));
	return command(&r, ignored);
}

void netlink_alias(uint32_t ifindex, char alias[NETLINK_ALIAS_MAX])
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
	const struct rtattr *a =
		ask_link(ifindex, answer) ? link_attribute(answer, IFLA_IFALIAS) : NULL;

	alias[0] = '\0';
	if (a)
		snprintf(
			alias, NETLINK_ALIAS_MAX, "%.*s", (int)RTA_PAYLOAD(a), (char *)RTA_DATA(a));
}

int netlink_delete(uint32_t ifindex)
{
	struct request r = link_request(ifindex, RTM_DELLINK);
	char ignored[NIC_TEXT_MAX];

	return command(&r, ignored);
}

/* ---- traffic control ----------------------------------------------------------------------- */

static struct request tc_request(uint32_t ifindex, uint16_t type, uint16_t flags)
{
	return (struct request){
		.hdr = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)),
			.nlmsg_type = type,
			.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)},
		.body.tc = {.tcm_family = AF_UNSPEC,
			.tcm_ifindex = (int)ifindex,
			.tcm_parent = TC_H_CLSACT,
			.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0)},
	};
}

int netlink_clsact(uint32_t ifindex)
{
	struct request r = tc_request(ifindex, RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
	char ignored[NIC_TEXT_MAX];

	add_attribute(&r, TCA_KIND, "clsact", sizeof("clsact"));
	return command(&r, ignored);
}

/* prog -1: off. */
static int set_filter(uint32_t ifindex, uint32_t priority, int prog, bool egress)
{
	struct request r = prog >= 0 ? tc_request(ifindex, RTM_NEWTFILTER,
					       NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
				     : tc_request(ifindex, RTM_DELTFILTER, NLM_F_ACK);
	uint32_t direct = TCA_BPF_FLAG_ACT_DIRECT;
	char ignored[NIC_TEXT_MAX];
	struct rtattr *nest;

	r.body.tc.tcm_parent = TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
	r.body.tc.tcm_handle = FILTER_NUMBER;
	r.body.tc.tcm_info = TC_H_MAKE(priority << 16, htons(ETH_P_ALL));
	add_attribute(&r, TCA_KIND, "bpf", sizeof("bpf"));
	if (prog >= 0) {
		nest = add_attribute(&r, TCA_OPTIONS | NLA_F_NESTED, NULL, 0);
		add_attribute(&r, TCA_BPF_FD, &prog, sizeof(prog));
		add_attribute(&r, TCA_BPF_NAME, "netmapd_nic", sizeof("netmapd_nic"));
		add_attribute(&r, TCA_BPF_FLAGS, &direct, sizeof(direct));
		end_nest(&r, nest);
	}
	return command(&r, ignored);
}

/* -EINVAL: filters of another kind or protocol have the priority. */
int netlink_filter(uint32_t ifindex, int prog, bool egress)
{
	int error = set_filter(ifindex, FILTER_FIRST, prog, egress);

	return error == -EINVAL ? set_filter(ifindex, FILTER_NUMBER, prog, egress) : error;
}

int netlink_filter_off(uint32_t ifindex)
{
	int error = set_filter(ifindex, FILTER_FIRST, -1, true);

	return error ? set_filter(ifindex, FILTER_NUMBER, -1, true) : 0;
}

/* ECHO: older kernels tell only those who listen to all changes else. A discipline that can't drop isn't shown. */
static bool queue_dropped(uint32_t ifindex, struct netlink_drops *drops)
{
	struct request r = tc_request(ifindex, RTM_GETQDISC, NLM_F_ECHO);
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
	const struct nlmsghdr *hdr = (void *)answer;
	struct gnet_stats_queue queue = {0};
	const struct rtattr *a;
	ssize_t n;

	r.body.tc.tcm_parent = TC_H_ROOT;
	r.body.tc.tcm_handle = 0;
	n = converse(NETLINK_ROUTE, &r, answer);
	if (n < 0 || !NLMSG_OK(hdr, (size_t)n))
		return false;
	a = hdr->nlmsg_type == RTM_NEWQDISC
		    ? find_attribute(TCA_RTA((struct tcmsg *)NLMSG_DATA(hdr)), TCA_PAYLOAD(hdr),
			      TCA_STATS2)
		    : NULL;
	if (a)
		a = find_attribute(RTA_DATA(a), RTA_PAYLOAD(a), TCA_STATS_QUEUE);
	if (a && RTA_PAYLOAD(a) >= sizeof(queue))
		memcpy(&queue, RTA_DATA(a), sizeof(queue));
	drops->queue = queue.drops;
	drops->discipline = a ? ((struct tcmsg *)NLMSG_DATA(hdr))->tcm_handle : 0;
	return true;
}

bool netlink_dropped(uint32_t ifindex, struct netlink_drops *drops)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
	const struct rtattr *a =
		ask_link(ifindex, answer) ? link_attribute(answer, IFLA_STATS64) : NULL;
	struct rtnl_link_stats64 stats = {0};

	if (!a)
		return false;
	/* Newer kernels know more. */
	memcpy(&stats, RTA_DATA(a),
		RTA_PAYLOAD(a) < sizeof(stats) ? RTA_PAYLOAD(a) : sizeof(stats));
	drops->device = stats.tx_dropped;
	return queue_dropped(ifindex, drops);
}

/* ---- watching ------------------------------------------------------------------------------- */

static int join(int protocol, uint32_t group)
{
	int fd = open_netlink(protocol), error;

	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

int netlink_watch(void)
{
	return join(NETLINK_ROUTE, RTNLGRP_LINK);
}

/* The number of ethtool's group "monitor" in the answer to CTRL_CMD_GETFAMILY; 0: not there. */
static uint32_t find_group(const struct nlmsghdr *hdr)
{
	const char *from = (char *)NLMSG_DATA(hdr) + GENL_HDRLEN;
	const struct rtattr *groups, *group, *name;
	int left;

	if (hdr->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
		return 0;
	groups = find_attribute(
		from, hdr->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), CTRL_ATTR_MCAST_GROUPS);
	if (!groups)
		return 0;
	left = (int)RTA_PAYLOAD(groups);
	for (group = RTA_DATA(groups); RTA_OK(group, left); group = RTA_NEXT(group, left)) {
		name = find_attribute(
			RTA_DATA(group), RTA_PAYLOAD(group), CTRL_ATTR_MCAST_GRP_NAME);
		if (name && strcmp(RTA_DATA(name), ETHTOOL_MCGRP_MONITOR_NAME) == 0)
			return number_in(find_attribute(
				RTA_DATA(group), RTA_PAYLOAD(group), CTRL_ATTR_MCAST_GRP_ID));
	}
	return 0;
}

int netlink_watch_ethtool(void)
{
	struct request r = {
		.hdr = {.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
			.nlmsg_type = GENL_ID_CTRL,
			.nlmsg_flags = NLM_F_REQUEST},
		.body.generic = {.cmd = CTRL_CMD_GETFAMILY, .version = 1},
	};
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
	const struct nlmsghdr *hdr = (void *)answer;
	uint32_t group;
	ssize_t n;

	add_attribute(&r, CTRL_ATTR_FAMILY_NAME, ETHTOOL_GENL_NAME, sizeof(ETHTOOL_GENL_NAME));
	n = converse(NETLINK_GENERIC, &r, answer);
	if (n < 0 || !NLMSG_OK(hdr, (size_t)n) || hdr->nlmsg_type != GENL_ID_CTRL)
		return -EOPNOTSUPP;
	group = find_group(hdr);
	return group ? join(NETLINK_GENERIC, group) : -EOPNOTSUPP;
}

void netlink_drain(int watch)
{
	char away[4096];

	/* An overrun (ENOBUFS) is a change as well. */
	while (recv(watch, away, sizeof(away), MSG_DONTWAIT | MSG_TRUNC) > 0 || errno == ENOBUFS)
		;
}
