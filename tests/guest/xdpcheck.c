/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xdpcheck - programs (XDP) in a driver, and frames to see what they do.
 *
 *	xdpcheck run IF WHAT [frags]	a program in the driver, until it is killed; one that takes fragments with this word:
 *
 *		pass, drop
 *		tx			sent back, with the addresses exchanged
 *		grow=N, shrink=N	so many bytes more or less at the end, then passed; aborted when that is refused
 *		IF			redirected to that interface
 *
 *	xdpcheck refused IF TEXT	a program that takes fragments can't be replaced by one that doesn't, which can't come by
 *					itself, either; the kernel says why: something with this text in it
 *	xdpcheck send IF MAC LENGTH...	sends a frame of each length, of bytes that depend on it and their place
 *	xdpcheck hear IF CHANGE LENGTH...
 *					these come, in this order, each longer by CHANGE (with zeros) or shorter, if that is negative
 *
 * Prints "ok" and exits with 0 when the check held; else one line that says what did not, and 1.
 * Checks which wait for something else say "ready" first.
 *
 * Thread safety: a program of one thread.
 */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "guestprog.h"

/* ---- programs ------------------------------------------------------------------------------ */

static const struct bpf_insn pass[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
	{.code = BPF_JMP | BPF_EXIT},
};

static const struct bpf_insn drop[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_DROP},
	{.code = BPF_JMP | BPF_EXIT},
};

#define LOAD(size, dst, src, at)                                                        \
	{                                                                               \
		.code = BPF_LDX | BPF_MEM | (size), .dst_reg = (dst), .src_reg = (src), \
		.off = (at)                                                             \
	}
#define STORE(size, dst, at, src)                                                       \
	{                                                                               \
		.code = BPF_STX | BPF_MEM | (size), .dst_reg = (dst), .src_reg = (src), \
		.off = (at)                                                             \
	}

/* r2: data, r3: its end; frames of IPv4 and ARP alone are sent back, that is, all but what is too short. */
static const struct bpf_insn tx[] = {
	LOAD(BPF_W, 2, 1, 0),
	LOAD(BPF_W, 3, 1, 4),
	{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 4, .src_reg = 2},
	{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 4, .imm = 14},
	{.code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = 4, .src_reg = 3, .off = 10},
	LOAD(BPF_W, 5, 2, 0),
	LOAD(BPF_H, 6, 2, 4),
	LOAD(BPF_W, 7, 2, 6),
	LOAD(BPF_H, 8, 2, 10),
	STORE(BPF_W, 2, 0, 7),
	STORE(BPF_H, 2, 4, 8),
	STORE(BPF_W, 2, 6, 5),
	STORE(BPF_H, 2, 10, 6),
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_TX},
	{.code = BPF_JMP | BPF_EXIT},
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_DROP},
	{.code = BPF_JMP | BPF_EXIT},
};

static struct bpf_insn redirect[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = 0}, /* index of the interface */
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 0},
	{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect},
	{.code = BPF_JMP | BPF_EXIT},
};

static struct bpf_insn adjust[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 0}, /* bytes */
	{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_xdp_adjust_tail},
	{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .imm = 0, .off = 2},
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_ABORTED},
	{.code = BPF_JMP | BPF_EXIT},
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
	{.code = BPF_JMP | BPF_EXIT},
};

static int load_insns(const struct bpf_insn *insns, uint32_t count, bool frags)
{
	static char log[4096];
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uint64_t)(uintptr_t)insns,
		.insn_cnt = count,
		.license = (uint64_t)(uintptr_t) "Dual BSD/GPL",
		.log_buf = (uint64_t)(uintptr_t)log,
		.log_size = sizeof(log),
		.log_level = 1,
		.prog_flags = frags ? BPF_F_XDP_HAS_FRAGS : 0,
	};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

	if (fd < 0)
		fail("program not loaded: %s: %s", strerror(errno), log);
	return fd;
}

#define LOAD_PROGRAM(insns, frags) \
	load_insns(insns, (uint32_t)(sizeof(insns) / sizeof((insns)[0])), frags)

static int load_adjust(int bytes, bool frags)
{
	adjust[0].imm = bytes;
	return LOAD_PROGRAM(adjust, frags);
}

static int load_program(const char *what, bool frags)
{
	if (strcmp(what, "pass") == 0)
		return LOAD_PROGRAM(pass, frags);
	if (strcmp(what, "drop") == 0)
		return LOAD_PROGRAM(drop, frags);
	if (strcmp(what, "tx") == 0)
		return LOAD_PROGRAM(tx, frags);
	if (strncmp(what, "grow=", 5) == 0)
		return load_adjust(atoi(what + 5), frags);
	if (strncmp(what, "shrink=", 7) == 0)
		return load_adjust(-atoi(what + 7), frags);
	redirect[0].imm = (int)if_nametoindex(what);
	CHECK(redirect[0].imm > 0);
	return LOAD_PROGRAM(redirect, frags);
}

/* It goes with the descriptor. */
static int attach(int program, const char *ifname)
{
	union bpf_attr attr = {
		.link_create.prog_fd = (uint32_t)program,
		.link_create.target_ifindex = if_nametoindex(ifname),
		.link_create.attach_type = BPF_XDP,
		.link_create.flags = XDP_FLAGS_DRV_MODE,
	};

	return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

static void check_run(char **args)
{
	CHECK(attach(load_program(args[1], args[2] && strcmp(args[2], "frags") == 0), args[0]) >=
		0);
	say("ready");
	for (;;)
		pause();
}

/* ---- what the kernel says of a program --------------------------------------------------------- */

/* A program for an interface, in the way that tells why not. */
struct set_program {
	struct nlmsghdr header;
	struct ifinfomsg link;
	struct nlattr xdp;
	struct nlattr fd_attr;
	int32_t fd; /* -1: none */
	struct nlattr flags_attr;
	uint32_t flags;
};

/* The text of an answer that is an error; "": none. */
static const char *text_of(const struct nlmsghdr *msg)
{
	const char *end = (const char *)msg + msg->nlmsg_len;
	const char *at = (const char *)NLMSG_DATA(msg) + sizeof(struct nlmsgerr);

	while (end - at >= NLA_HDRLEN) {
		const struct nlattr *attr = (const void *)at;

		if ((attr->nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG)
			return at + NLA_HDRLEN;
		at += NLA_ALIGN(attr->nla_len);
	}
	return "";
}

/* Returns 0 or a negative errno; *text: what the kernel says about it, until the next call. */
static int set_program(int fd, const char *ifname, int program, const char **text)
{
	static char answer[4096] __attribute__((aligned(8)));
	const struct nlmsghdr *msg = (const void *)answer;
	struct set_program set = {
		.header = {.nlmsg_len = sizeof(set),
			.nlmsg_type = RTM_SETLINK,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_index = (int)if_nametoindex(ifname)},
		.xdp = {.nla_len = sizeof(set) - offsetof(struct set_program, xdp),
			.nla_type = IFLA_XDP | NLA_F_NESTED},
		.fd_attr = {.nla_len = NLA_HDRLEN + 4, .nla_type = IFLA_XDP_FD},
		.fd = program,
		.flags_attr = {.nla_len = NLA_HDRLEN + 4, .nla_type = IFLA_XDP_FLAGS},
		.flags = XDP_FLAGS_DRV_MODE,
	};

	CHECK(send(fd, &set, sizeof(set), 0) == sizeof(set));
	CHECK(recv(fd, answer, sizeof(answer), 0) > 0 && msg->nlmsg_type == NLMSG_ERROR);
	*text = text_of(msg);
	return ((const struct nlmsgerr *)NLMSG_DATA(msg))->error;
}

static void check_refused(char **args)
{
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), on = 1;
	int without = load_program("pass", false), with = load_program("pass", true);
	const char *text;

	CHECK(fd >= 0);
	CHECK(setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on)) == 0);
	CHECK(setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) == 0);
	for (int i = 0; i < 2; i++) {
		if (i == 0 && set_program(fd, args[0], with, &text) != 0)
			fail("a program that takes fragments is refused: %s", text);
		CHECK(set_program(fd, args[0], without, &text) == -EOPNOTSUPP);
		if (!strstr(text, args[1]))
			fail("the kernel says '%s'", text);
		CHECK(set_program(fd, args[0], -1, &text) == 0);
	}
	close(fd);
}

/* ---- frames ---------------------------------------------------------------------------------- */

enum { LENGTH_MAX = 1 << 17, PROTO = 0x88b5 }; /* bytes; for experiments */

/* A socket for these frames. */
static int open_frames(const char *ifname)
{
	const struct sockaddr_ll at = {.sll_family = AF_PACKET,
		.sll_protocol = htons(PROTO),
		.sll_ifindex = (int)if_nametoindex(ifname)};
	int fd = socket(AF_PACKET, SOCK_RAW, 0), bytes = 1 << 24;

	CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) == 0);
	set_patience(fd, 50);
	return fd;
}

static uint8_t byte_of(uint32_t length, uint32_t at)
{
	return (uint8_t)(length + at * 31 + (at >> 8) * 7);
}

static void check_send(char **args)
{
	static uint8_t frame[LENGTH_MAX];
	struct ifreq ifr = {0};
	int fd = open_frames(args[0]);

	strncpy(ifr.ifr_name, args[0], sizeof(ifr.ifr_name) - 1);
	CHECK(ioctl(fd, SIOCGIFHWADDR, &ifr) == 0);
	CHECK(ether_aton_r(args[1], (struct ether_addr *)frame));
	memcpy(frame + 6, ifr.ifr_hwaddr.sa_data, 6);
	memcpy(frame + 12, &(uint16_t){htons(PROTO)}, 2);
	for (args += 2; *args; args++) {
		uint32_t length = (uint32_t)atoi(*args);

		CHECK(length >= 14 && length <= LENGTH_MAX);
		for (uint32_t i = 14; i < length; i++)
			frame[i] = byte_of(length, i);
		CHECK(send(fd, frame, length, 0) == (ssize_t)length);
	}
	close(fd);
}

static void hear_one(int fd, uint32_t length, int change)
{
	static uint8_t frame[LENGTH_MAX];
	ssize_t bytes = recv(fd, frame, sizeof(frame), 0);

	CHECK(bytes >= 0);
	if (bytes != (ssize_t)length + change)
		fail("a frame of %zd bytes, where one of %u %+d should come", bytes, length,
			change);
	for (uint32_t i = 14; i < (uint32_t)bytes; i++) {
		uint8_t wanted = i < length ? byte_of(length, i) : 0;

		if (frame[i] != wanted)
			fail("frame of %u %+d bytes: byte %u is %u, not %u", length, change, i,
				frame[i], wanted);
	}
}

static void check_hear(char **args)
{
	int fd = open_frames(args[0]), change = atoi(args[1]);

	say("ready");
	for (args += 2; *args; args++)
		hear_one(fd, (uint32_t)atoi(*args), change);
	close(fd);
}

static const struct check checks[] = {
	{"run", check_run, 2},
	{"refused", check_refused, 2},
	{"send", check_send, 3},
	{"hear", check_hear, 3},
};

int main(int argc, char **argv)
{
	return run_check(checks, sizeof(checks) / sizeof(checks[0]), argc, argv,
		"xdpcheck: wrong arguments: see xdpcheck.c");
}
