/* SPDX-License-Identifier: BSD-2-Clause */
#include "netlink_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int netlink_open(int protocol)
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

void *netlink_add(struct netlink_request *r, uint16_t type, const void *value, uint16_t bytes)
{
	struct rtattr *a = (void *)((char *)r + NLMSG_ALIGN(r->hdr.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(bytes);
	if (bytes > 0)
		memcpy(RTA_DATA(a), value, bytes);
	r->hdr.nlmsg_len = NLMSG_ALIGN(r->hdr.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

void netlink_end_nest(struct netlink_request *r, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)((char *)r + r->hdr.nlmsg_len - (char *)nest);
}

const struct rtattr *netlink_find(const void *from, size_t bytes, uint16_t type)
{
	const struct rtattr *a = from;

	for (int left = (int)bytes; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

uint32_t netlink_number(const struct rtattr *a)
{
	uint32_t value = 0;

	if (a && RTA_PAYLOAD(a) >= sizeof(value))
		memcpy(&value, RTA_DATA(a), sizeof(value));
	return value;
}

/* ---- asking --------------------------------------------------------------------------------- */

int netlink_dump(int protocol, struct netlink_request *r, netlink_each *each, void *arg)
{
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
	int fd = netlink_open(protocol), error = -EAGAIN;

	if (fd < 0)
		return fd;
	if (send(fd, r, r->hdr.nlmsg_len, 0) != (ssize_t)r->hdr.nlmsg_len)
		error = -EPROTO;
	while (error == -EAGAIN) {
		const struct nlmsghdr *hdr = (void *)answer;
		ssize_t n = recv(fd, answer, sizeof(answer), 0);

		if (n <= 0)
			error = -EPROTO;
		for (; n > 0 && error == -EAGAIN && NLMSG_OK(hdr, (size_t)n);
			hdr = NLMSG_NEXT(hdr, n))
			error = hdr->nlmsg_type == NLMSG_DONE    ? 0
				: hdr->nlmsg_type == NLMSG_ERROR ? -EPROTO
								 : (each(hdr, arg), -EAGAIN);
	}
	close(fd);
	return error;
}

ssize_t netlink_converse(int protocol, struct netlink_request *r, char answer[NETLINK_ANSWER_MAX])
{
	int fd = netlink_open(protocol);
	ssize_t n = -EPROTO;

	if (fd < 0)
		return fd;
	if (send(fd, r, r->hdr.nlmsg_len, 0) == (ssize_t)r->hdr.nlmsg_len)
		n = recv(fd, answer, NETLINK_ANSWER_MAX, 0);
	close(fd);
	return n >= (ssize_t)NLMSG_HDRLEN ? n : -EPROTO;
}

struct netlink_request netlink_generic(uint16_t family, uint8_t command, uint16_t flags)
{
	return (struct netlink_request){
		.hdr = {.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
			.nlmsg_type = family,
			.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)},
		.body.generic = {.cmd = command, .version = 1},
	};
}

int netlink_family(const char *name, char answer[NETLINK_ANSWER_MAX])
{
	struct netlink_request r = netlink_generic(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	const struct nlmsghdr *hdr = (void *)answer;
	const struct rtattr *id;
	uint16_t family;
	ssize_t n;

	netlink_add(&r, CTRL_ATTR_FAMILY_NAME, name, (uint16_t)(strlen(name) + 1));
	n = netlink_converse(NETLINK_GENERIC, &r, answer);
	if (n < 0 || !NLMSG_OK(hdr, (size_t)n) || hdr->nlmsg_type != GENL_ID_CTRL ||
		hdr->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
		return -EOPNOTSUPP;
	id = netlink_find((char *)NLMSG_DATA(hdr) + GENL_HDRLEN,
		hdr->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), CTRL_ATTR_FAMILY_ID);
	if (!id || RTA_PAYLOAD(id) < sizeof(family))
		return -EOPNOTSUPP;
	memcpy(&family, RTA_DATA(id), sizeof(family));
	return family;
}
