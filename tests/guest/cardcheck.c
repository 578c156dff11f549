/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cardcheck - what programs want of a network card.
 *
 *	cardcheck maddr IF		an address of a group is added to the interface, and removed
 *	cardcheck hear PORT TEXT	a datagram comes that has the text in it
 *	cardcheck flows ADDRESS PORT COUNT
 *					sends a datagram to port 9 from each of so many ports, beginning with this one
 *	cardcheck datagrams COUNT	so many come to port 10 in their order, as segments sends them
 *	cardcheck segments ADDRESS COUNT SIZE
 *					sends so many datagrams of this size there, 20 at a time for the card to cut
 *
 *	cardcheck netdev COMMAND ATTRIBUTE=VALUE...
 *					the objects that netlink's family of this name has: a line each, of numbers
 *
 * Prints "ok" and exits with 0 when the check held; else one line that says what did not, and 1.
 * Checks which wait for something else say "ready" first.
 *
 * Thread safety: a program of one thread.
 */
#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "guestprog.h"

static void check_maddr(char **args)
{
	struct ifreq ifr = {.ifr_hwaddr.sa_data = {0x01, 0x00, 0x5e, 0x01, 0x02, 0x03}};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	CHECK(fd >= 0);
	strncpy(ifr.ifr_name, args[0], sizeof(ifr.ifr_name) - 1);
	CHECK(ioctl(fd, SIOCADDMULTI, &ifr) == 0);
	CHECK(ioctl(fd, SIOCDELMULTI, &ifr) == 0);
	close(fd);
}

static void check_hear(char **args)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(args[0]))};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char got[2048];

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	set_patience(fd, 50);
	say("ready");
	do {
		ssize_t bytes = recv(fd, got, sizeof(got) - 1, 0);

		CHECK(bytes >= 0);
		got[bytes] = '\0';
	} while (!strstr(got, args[1]));
	close(fd);
}

/* ---- what the kernel says of a device and its queues ---------------------------------------- */

struct question {
	struct nlmsghdr header;
	struct genlmsghdr command;
	char attrs[256];
};

static void add_attr(struct question *q, uint16_t type, const void *value, uint32_t bytes)
{
	struct nlattr *attr = (void *)((char *)q + q->header.nlmsg_len);

	attr->nla_type = type;
	attr->nla_len = (uint16_t)(NLA_HDRLEN + bytes);
	memcpy((char *)attr + NLA_HDRLEN, value, bytes);
	q->header.nlmsg_len += NLA_ALIGN(attr->nla_len);
}

static struct question ask(uint16_t family, uint16_t flags, uint8_t command)
{
	return (struct question){.header = {.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
					 .nlmsg_type = family,
					 .nlmsg_flags = NLM_F_REQUEST | flags},
		.command = {.cmd = command, .version = 1}};
}

/* The attribute's value: 4 or 8 bytes, or 2 of the id of a family. */
static uint64_t attr_value(const struct nlattr *attr)
{
	uint64_t value = 0;
	uint32_t bytes = attr->nla_len - NLA_HDRLEN;

	memcpy(&value, (const char *)attr + NLA_HDRLEN, bytes <= 8 ? bytes : 0);
	return value;
}

/* Calls fn for each attribute of an answer. */
static void each_attr(
	const struct nlmsghdr *msg, void (*fn)(const struct nlattr *, void *), void *arg)
{
	const char *at = (const char *)NLMSG_DATA(msg) + GENL_HDRLEN;
	const char *end = (const char *)msg + msg->nlmsg_len;

	while (end - at >= NLA_HDRLEN) {
		fn((const void *)at, arg);
		at += NLA_ALIGN(((const struct nlattr *)at)->nla_len);
	}
}

static void take_family(const struct nlattr *attr, void *arg)
{
	if (attr->nla_type == CTRL_ATTR_FAMILY_ID)
		*(uint16_t *)arg = (uint16_t)attr_value(attr);
}

static uint16_t find_family(int fd, const char *name)
{
	struct question q = ask(GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY);
	static char answer[65536];
	uint16_t family = 0;

	add_attr(&q, CTRL_ATTR_FAMILY_NAME, name, (uint32_t)strlen(name) + 1);
	CHECK(send(fd, &q, q.header.nlmsg_len, 0) == (ssize_t)q.header.nlmsg_len);
	CHECK(recv(fd, answer, sizeof(answer), 0) > 0);
	each_attr((void *)answer, take_family, &family);
	CHECK(family != 0);
	return family;
}

static void print_attr(const struct nlattr *attr, void *arg)
{
	printf("%u=%llu ", attr->nla_type, (unsigned long long)attr_value(attr));
}

/* Prints an object a line. False: that was the last. */
static bool print_objects(const char *answer, ssize_t bytes)
{
	for (const struct nlmsghdr *msg = (const void *)answer; NLMSG_OK(msg, bytes);
		msg = NLMSG_NEXT(msg, bytes)) {
		if (msg->nlmsg_type == NLMSG_DONE)
			return false;
		if (msg->nlmsg_type == NLMSG_ERROR)
			fail("error %d", ((const struct nlmsgerr *)NLMSG_DATA(msg))->error);
		each_attr(msg, print_attr, NULL);
		printf("\n");
	}
	return true;
}

static void check_netdev(char **args)
{
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	struct question q = ask(find_family(fd, "netdev"), NLM_F_DUMP, (uint8_t)atoi(args[0]));
	static char answer[65536];
	ssize_t bytes;

	for (int i = 1; args[i]; i++) {
		uint32_t value = (uint32_t)atoi(strchr(args[i], '=') + 1);

		add_attr(&q, (uint16_t)atoi(args[i]), &value, sizeof(value));
	}
	CHECK(send(fd, &q, q.header.nlmsg_len, 0) == (ssize_t)q.header.nlmsg_len);
	do {
		bytes = recv(fd, answer, sizeof(answer), 0);
		CHECK(bytes > 0);
	} while (print_objects(answer, bytes));
}

/* A datagram to port 9 from each of so many ports of ours. */
static void check_flows(char **args)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int first = atoi(args[1]), count = atoi(args[2]);

	CHECK(inet_pton(AF_INET, args[0], &to.sin_addr) == 1);
	for (int i = 0; i < count; i++) {
		const struct sockaddr_in from = {
			.sin_family = AF_INET, .sin_port = htons((uint16_t)(first + i))};
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&from, sizeof(from)) == 0);
		CHECK(sendto(fd, "flow", 4, 0, (const struct sockaddr *)&to, sizeof(to)) == 4);
		close(fd);
	}
}

enum { AT_A_TIME = 20, DATAGRAM_MAX = 2048, CUT_PORT = 10 };

/* What it has to have in it. */
static void fill_datagram(char *data, int size, int number)
{
	for (int i = 0; i < size; i++)
		data[i] = (char)(number + i * 7 + (i >> 8));
}

static void check_datagrams(char **args)
{
	const struct sockaddr_in6 here = {
		.sin6_family = AF_INET6, .sin6_port = htons(CUT_PORT)}; /* IPv4 as well */
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), count = atoi(args[0]), room = 4 << 20;
	char got[DATAGRAM_MAX], wanted[DATAGRAM_MAX];

	CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&here, sizeof(here)) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) == 0);
	set_patience(fd, 50);
	say("ready");
	for (int n = 0; n < count; n++) {
		ssize_t bytes = recv(fd, got, sizeof(got), 0);

		CHECK(bytes > 0);
		fill_datagram(wanted, (int)bytes, n);
		CHECK(memcmp(got, wanted, (size_t)bytes) == 0);
	}
	close(fd);
}

static void check_segments(char **args)
{
	const struct sockaddr_in6 to = address_of(args[0], CUT_PORT);
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), count = atoi(args[1]), size = atoi(args[2]);
	static char data[AT_A_TIME * DATAGRAM_MAX];

	CHECK(fd >= 0 && size > 0 && size <= DATAGRAM_MAX);
	CHECK(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) == 0);
	for (int n = 0; n < count; n += AT_A_TIME) {
		int several = count - n < AT_A_TIME ? count - n : AT_A_TIME;

		for (int i = 0; i < several; i++)
			fill_datagram(data + i * size, size, n + i);
		CHECK(sendto(fd, data, (size_t)(several * size), 0, (const struct sockaddr *)&to,
			      sizeof(to)) == several * size);
	}
	close(fd);
}

static const struct check checks[] = {
	{"datagrams", check_datagrams, 1},
	{"segments", check_segments, 3},
	{"flows", check_flows, 3},
	{"maddr", check_maddr, 1},
	{"hear", check_hear, 2},
	{"netdev", check_netdev, 1},
};

int main(int argc, char **argv)
{
	return run_check(checks, sizeof(checks) / sizeof(checks[0]), argc, argv,
		"cardcheck: wrong arguments: see cardcheck.c");
}
