/* SPDX-License-Identifier: BSD-2-Clause */
#include "netlink.h"
#include "netlink_internal.h"

#include <errno.h>
#include <linux/ethtool_netlink.h>
#include <linux/gen_stats.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	FILTER_FIRST = 1,       /* its priority */
	FILTER_NUMBER = 0x6e6d, /* where that is taken, behind most others; and its handle */
};

/* What the kernel says of an interface; false: nothing. */
static bool ask_link(uint32_t ifindex, char answer[NETLINK_ANSWER_MAX])
{
	struct netlink_request r = {
		.hdr = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST},
		.body.link = {.ifi_index = (int)ifindex},
	};
	const struct nlmsghdr *hdr = (void *)answer;
	ssize_t n = netlink_converse(NETLINK_ROUTE, &r, answer);

	return n >= 0 && NLMSG_OK(hdr, (size_t)n) && hdr->nlmsg_type == RTM_NEWLINK;
}

/* An attribute of that answer; NULL: it has none. */
static const struct rtattr *link_attribute(const char answer[NETLINK_ANSWER_MAX], uint16_t type)
{
	const struct nlmsghdr *hdr = (const void *)answer;

	return netlink_find(IFLA_RTA((struct ifinfomsg *)NLMSG_DATA(hdr)), IFLA_PAYLOAD(hdr), type);
}

uint32_t netlink_program(uint32_t ifindex)
{
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
	const struct rtattr *xdp =
		ask_link(ifindex, answer) ? link_attribute(answer, IFLA_XDP) : NULL;

	return xdp ? netlink_number(netlink_find(RTA_DATA(xdp), RTA_PAYLOAD(xdp), IFLA_XDP_PROG_ID))
		   : 0;
}

uint32_t netlink_peer(uint32_t ifindex)
{
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];

	if (!ask_link(ifindex, answer) || link_attribute(answer, IFLA_LINK_NETNSID))
		return 0;
	return netlink_number(link_attribute(answer, IFLA_LINK));
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
	a = netlink_find((const char *)hdr + fixed, hdr->nlmsg_len - fixed, NLMSGERR_ATTR_MSG);
	if (a)
		snprintf(text, NIC_TEXT_MAX, "%.*s", (int)RTA_PAYLOAD(a), (char *)RTA_DATA(a));
}

/* 0 or a negative errno, with the kernel's words in text. */
static int command(struct netlink_request *r, char text[NIC_TEXT_MAX])
{
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
	const struct nlmsghdr *hdr = (void *)answer;
	ssize_t n = netlink_converse(NETLINK_ROUTE, r, answer);

	if (n < 0 || !NLMSG_OK(hdr, (size_t)n) || hdr->nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	take_text(hdr, text);
	return ((struct nlmsgerr *)NLMSG_DATA(hdr))->error;
}

static struct netlink_request link_request(uint32_t ifindex, uint16_t type)
{
	return (struct netlink_request){
		.hdr = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.body.link = {.ifi_index = (int)ifindex},
	};
}

/* Attaches a program (-1: none). 0 or a negative errno, with the kernel's words in text. */
static int set_program(uint32_t ifindex, int prog, uint32_t flags, char text[NIC_TEXT_MAX])
{
	struct netlink_request r = link_request(ifindex, RTM_SETLINK);
	struct rtattr *nest = netlink_add(&r, IFLA_XDP | NLA_F_NESTED, NULL, 0);

	netlink_add(&r, IFLA_XDP_FD, &prog, sizeof(prog));
	netlink_add(&r, IFLA_XDP_FLAGS, &flags, sizeof(flags));
	netlink_end_nest(&r, nest);
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
	struct netlink_request r = link_request(ifindex, RTM_SETLINK);
	struct rtattr *spec = netlink_add(&r, IFLA_AF_SPEC | NLA_F_NESTED, NULL, 0);
	struct rtattr *ip6 = netlink_add(&r, AF_INET6 | NLA_F_NESTED, NULL, 0);
	uint8_t none = IN6_ADDR_GEN_MODE_NONE;
	char ignored[NIC_TEXT_MAX];

	netlink_add(&r, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
	netlink_end_nest(&r, ip6);
	netlink_end_nest(&r, spec);
	(void)command(&r, ignored);
}

int netlink_up_quietly(uint32_t ifindex, const char *alias)
{
	struct netlink_request r = link_request(ifindex, RTM_SETLINK);
	char ignored[NIC_TEXT_MAX];

	no_addresses(ifindex);
	r.body.link.ifi_flags = r.body.link.ifi_change = IFF_UP | IFF_NOARP;
	netlink_add(&r, IFLA_IFALIAS, alias, (uint16_t)strlen(alias));
	return command(&r, ignored);
}

void netlink_alias(uint32_t ifindex, char alias[NETLINK_ALIAS_MAX])
{
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
	const struct rtattr *a =
		ask_link(ifindex, answer) ? link_attribute(answer, IFLA_IFALIAS) : NULL;

	alias[0] = '\0';
	if (a)
		snprintf(
			alias, NETLINK_ALIAS_MAX, "%.*s", (int)RTA_PAYLOAD(a), (char *)RTA_DATA(a));
}

int netlink_delete(uint32_t ifindex)
{
	struct netlink_request r = link_request(ifindex, RTM_DELLINK);
	char ignored[NIC_TEXT_MAX];

	return command(&r, ignored);
}

/* ---- traffic control ----------------------------------------------------------------------- */

static struct netlink_request tc_request(uint32_t ifindex, uint16_t type, uint16_t flags)
{
	return (struct netlink_request){
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
	struct netlink_request r =
		tc_request(ifindex, RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
	char ignored[NIC_TEXT_MAX];

	netlink_add(&r, TCA_KIND, "clsact", sizeof("clsact"));
	return command(&r, ignored);
}

/* prog -1: off. */
static int set_filter(uint32_t ifindex, uint32_t priority, int prog, bool egress)
{
	struct netlink_request r = prog >= 0 ? tc_request(ifindex, RTM_NEWTFILTER,
						       NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
					     : tc_request(ifindex, RTM_DELTFILTER, NLM_F_ACK);
	uint32_t direct = TCA_BPF_FLAG_ACT_DIRECT;
	char ignored[NIC_TEXT_MAX];
	struct rtattr *nest;

	r.body.tc.tcm_parent = TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
	r.body.tc.tcm_handle = FILTER_NUMBER;
	r.body.tc.tcm_info = TC_H_MAKE(priority << 16, htons(ETH_P_ALL));
	netlink_add(&r, TCA_KIND, "bpf", sizeof("bpf"));
	if (prog >= 0) {
		nest = netlink_add(&r, TCA_OPTIONS | NLA_F_NESTED, NULL, 0);
		netlink_add(&r, TCA_BPF_FD, &prog, sizeof(prog));
		netlink_add(&r, TCA_BPF_NAME, "netmapd_nic", sizeof("netmapd_nic"));
		netlink_add(&r, TCA_BPF_FLAGS, &direct, sizeof(direct));
		netlink_end_nest(&r, nest);
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
	struct netlink_request r = tc_request(ifindex, RTM_GETQDISC, NLM_F_ECHO);
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
	const struct nlmsghdr *hdr = (void *)answer;
	struct gnet_stats_queue queue = {0};
	const struct rtattr *a;
	ssize_t n;

	r.body.tc.tcm_parent = TC_H_ROOT;
	r.body.tc.tcm_handle = 0;
	n = netlink_converse(NETLINK_ROUTE, &r, answer);
	if (n < 0 || !NLMSG_OK(hdr, (size_t)n))
		return false;
	a = hdr->nlmsg_type == RTM_NEWQDISC ? netlink_find(TCA_RTA((struct tcmsg *)NLMSG_DATA(hdr)),
						      TCA_PAYLOAD(hdr), TCA_STATS2)
					    : NULL;
	if (a)
		a = netlink_find(RTA_DATA(a), RTA_PAYLOAD(a), TCA_STATS_QUEUE);
	if (a && RTA_PAYLOAD(a) >= sizeof(queue))
		memcpy(&queue, RTA_DATA(a), sizeof(queue));
	drops->queue = queue.drops;
	drops->discipline = a ? ((struct tcmsg *)NLMSG_DATA(hdr))->tcm_handle : 0;
	return true;
}

bool netlink_dropped(uint32_t ifindex, struct netlink_drops *drops)
{
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
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
	int fd = netlink_open(protocol), error;

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

/* The number of ethtool's group "monitor" in what the kernel says of that family; 0: not there. */
static uint32_t find_group(const struct nlmsghdr *hdr)
{
	const struct rtattr *groups, *group, *name;
	int left;

	groups = netlink_find((char *)NLMSG_DATA(hdr) + GENL_HDRLEN,
		hdr->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), CTRL_ATTR_MCAST_GROUPS);
	if (!groups)
		return 0;
	left = (int)RTA_PAYLOAD(groups);
	for (group = RTA_DATA(groups); RTA_OK(group, left); group = RTA_NEXT(group, left)) {
		name = netlink_find(RTA_DATA(group), RTA_PAYLOAD(group), CTRL_ATTR_MCAST_GRP_NAME);
		if (name && strcmp(RTA_DATA(name), ETHTOOL_MCGRP_MONITOR_NAME) == 0)
			return netlink_number(netlink_find(
				RTA_DATA(group), RTA_PAYLOAD(group), CTRL_ATTR_MCAST_GRP_ID));
	}
	return 0;
}

int netlink_watch_ethtool(void)
{
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
	uint32_t group;

	if (netlink_family(ETHTOOL_GENL_NAME, answer) < 0)
		return -EOPNOTSUPP;
	group = find_group((void *)answer);
	return group ? join(NETLINK_GENERIC, group) : -EOPNOTSUPP;
}

/* The beginning of the next message that waits. An overrun is one of no bytes; false: there is none. */
static bool next_message(int watch, char *begin, size_t *bytes)
{
	ssize_t n = recv(watch, begin, *bytes, MSG_DONTWAIT);

	*bytes = n > 0 ? (size_t)n : 0;
	return n > 0 || (n < 0 && errno == ENOBUFS);
}

bool netlink_drain(int watch)
{
	char away[NLMSG_HDRLEN];
	size_t bytes = sizeof(away);
	bool any = false;

	for (; next_message(watch, away, &bytes); bytes = sizeof(away))
		any = true;
	return any;
}

bool netlink_links_changed(int watch, uint32_t ifindex)
{
	struct {
		struct nlmsghdr hdr;
		struct ifinfomsg link;
	} msg;
	size_t bytes = sizeof(msg);
	bool changed = false;

	for (; next_message(watch, (char *)&msg, &bytes); bytes = sizeof(msg))
		changed |= bytes < sizeof(msg) || msg.link.ifi_index == (int)ifindex;
	return changed;
}
