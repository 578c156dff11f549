/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bigcheck - TCP packets whose length no IP header can say (BIG TCP).
 *
 *	bigcheck gso IF BYTES		the stack may give packets so long to the interface, over IPv4 and IPv6
 *	bigcheck longer IF BYTES	a packet comes, or goes, that is longer
 *	bigcheck take BYTES		a connection comes to port 11 with so many, as give sends them
 *	bigcheck give ADDRESS BYTES	sends so many there
 *
 * Prints "ok" and exits with 0 when the check held; else one line that says what did not, and 1.
 * Checks which wait for something else say "ready" first.
 *
 * Thread safety: a program of one thread.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "guestprog.h"

enum {
	PORT = 11,
	/* Bytes after which what is sent begins anew: a prime number, so that no size of packets fits it. */
	PATTERN = 65521,
	AT_A_TIME = 1 << 20,
	PATIENCE_S = 480,
	GSO_IPV4_MAX_SIZE = 63, /* IFLA_GSO_IPV4_MAX_SIZE of Linux 6.3 */
};

static char pattern[PATTERN + AT_A_TIME];

static void make_pattern(void)
{
	for (uint32_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i % PATTERN * 2654435761U >> 24);
}

struct question {
	struct nlmsghdr header;
	struct ifinfomsg link;
	char attrs[64];
};

static void add_size(struct question *q, uint16_t type, uint32_t bytes)
{
	struct rtattr *attr = (void *)((char *)q + NLMSG_ALIGN(q->header.nlmsg_len));

	attr->rta_type = type;
	attr->rta_len = RTA_LENGTH(sizeof(bytes));
	memcpy(RTA_DATA(attr), &bytes, sizeof(bytes));
	q->header.nlmsg_len += RTA_SPACE(sizeof(bytes));
}

static void check_gso(char **args)
{
	struct question q = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
				     .nlmsg_type = RTM_SETLINK,
				     .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(args[0])}};
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char more[256];
	} answer;

	add_size(&q, IFLA_GSO_MAX_SIZE, (uint32_t)atoi(args[1]));
	add_size(&q, GSO_IPV4_MAX_SIZE, (uint32_t)atoi(args[1]));
	CHECK(send(fd, &q, q.header.nlmsg_len, 0) == (ssize_t)q.header.nlmsg_len);
	CHECK(recv(fd, &answer, sizeof(answer), 0) > 0);
	CHECK(answer.header.nlmsg_type == NLMSG_ERROR);
	if (answer.error.error != 0)
		fail("error %d", answer.error.error);
	close(fd);
}

static void check_longer(char **args)
{
	const struct sockaddr_ll here = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(args[0])};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	ssize_t bytes;
	char first;

	CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&here, sizeof(here)) == 0);
	set_patience(fd, PATIENCE_S);
	say("ready");
	do {
		bytes = recv(fd, &first, 1, MSG_TRUNC);
		CHECK(bytes >= 0);
	} while (bytes <= atoi(args[1]));
	close(fd);
}

static void check_take(char **args)
{
	const struct sockaddr_in6 here = {
		.sin6_family = AF_INET6, .sin6_port = htons(PORT), .sin6_addr = in6addr_any};
	int one = 1, fd, from = socket(AF_INET6, SOCK_STREAM, 0);
	static char got[AT_A_TIME];
	long long done = 0;
	ssize_t bytes;

	CHECK(setsockopt(from, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
	CHECK(bind(from, (const struct sockaddr *)&here, sizeof(here)) == 0 &&
		listen(from, 1) == 0);
	set_patience(from, PATIENCE_S);
	say("ready");
	fd = accept(from, NULL, NULL);
	CHECK(fd >= 0);
	set_patience(fd, PATIENCE_S);
	while ((bytes = recv(fd, got, sizeof(got), 0)) > 0) {
		CHECK(memcmp(got, pattern + done % PATTERN, (size_t)bytes) == 0);
		done += bytes;
	}
	CHECK(bytes == 0 && done == atoll(args[0]));
	close(fd);
	close(from);
}

static void check_give(char **args)
{
	const struct sockaddr_in6 to = address_of(args[0], PORT);
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	long long left = atoll(args[1]), done = 0;

	CHECK(connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0);
	while (left > 0) {
		ssize_t bytes = send(fd, pattern + done % PATTERN,
			left < AT_A_TIME ? (size_t)left : AT_A_TIME, 0);

		CHECK(bytes > 0);
		done += bytes;
		left -= bytes;
	}
	close(fd);
}

static const struct check checks[] = {
	{"gso", check_gso, 2},
	{"longer", check_longer, 2},
	{"take", check_take, 1},
	{"give", check_give, 2},
};

int main(int argc, char **argv)
{
	make_pattern();
	return run_check(checks, sizeof(checks) / sizeof(checks[0]), argc, argv,
		"bigcheck: wrong arguments: see bigcheck.c");
}
