/* SPDX-License-Identifier: BSD-2-Clause */
#include "program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <net/ethernet.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 5.18; the same in all headers that have it. */
#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif
#ifndef BPF_F_BEFORE /* 6.6 */
#define BPF_F_BEFORE (1U << 3)
#endif

enum {
	TCX_INGRESS = 46, /* 6.6 */
	TCX_EGRESS = 47,
	TWIN_MARK = 0x6e6d7477, /* of what the exit program sends to a twin */
	INSNS_MAX = 192,
	NO_FIELD = -1,
	AT_TYPE = 12, /* offsets in a frame */
	AT_IP = 14,
	AT_IP4_FROM = AT_IP + 12,
	AT_IP4_TO = AT_IP + 16,
	AT_IP4_END = AT_IP + 20,
	AT_IP6_NEXT = AT_IP + 6,
	AT_IP6_FROM = AT_IP + 8,
	AT_IP6_TO = AT_IP + 24,
	AT_IP6_END = AT_IP + 40,
	AT_MLD_TYPE = AT_IP6_END + 8, /* behind a hop-by-hop header of the least length */
	HOP_BY_HOP = 0,
	ICMP6 = 58,
	MLD_FIRST = 130,
	MLD_LAST = 132,
	MLD2_REPORT = 143,
	ND_FIRST = 133,
	ND_LAST = 137,
	TYPE_LLDP = 0x88cc,
	PASS_FRAMES = NIC_PASS_ARP | NIC_PASS_ND | NIC_PASS_LLDP,
};

static int bpf(enum bpf_cmd cmd, union bpf_attr *attr)
{
	long n = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return n < 0 ? -errno : (int)n;
}

/* ---- instructions ------------------------------------------------------------------------ */

enum label { PASS, REDIRECT, IP6, MLD, ADDRESSES, DROP, WIRE };

/* Where a kind of program finds what it looks at. */
struct view {
	int16_t data, end; /* in its context */
	int16_t tag;       /* that a VLAN tag is kept beside the frame, or NO_FIELD */
	int16_t ip4, ip6;  /* addresses in a frame */
	int32_t pass;      /* what it returns for a frame that stays the stack's */
};

static const struct view received = {offsetof(struct xdp_md, data),
	offsetof(struct xdp_md, data_end), NO_FIELD, AT_IP4_TO, AT_IP6_TO, XDP_PASS};
static const struct view sent = {offsetof(struct __sk_buff, data),
	offsetof(struct __sk_buff, data_end), offsetof(struct __sk_buff, vlan_present), AT_IP4_FROM,
	AT_IP6_FROM, TC_ACT_UNSPEC};

struct code {
	struct bpf_insn insn[INSNS_MAX];
	uint32_t count;
	uint8_t to[INSNS_MAX]; /* jumps: a label + 1, which gets its place later */
};

static void add(struct code *c, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	if (c->count < INSNS_MAX)
		c->insn[c->count] = (struct bpf_insn){
			.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
	c->count++;
}

static void load(struct code *c, uint8_t size, uint8_t dst, uint8_t src, int16_t off)
{
	add(c, BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}

static void load_u64(struct code *c, uint8_t dst, uint8_t src, uint64_t value)
{
	add(c, BPF_LD | BPF_DW | BPF_IMM, dst, src, 0, (int32_t)(uint32_t)value);
	add(c, 0, 0, 0, 0, (int32_t)(uint32_t)(value >> 32));
}

static void jump(struct code *c, uint8_t code, uint8_t dst, uint8_t src, int32_t imm, enum label to)
{
	if (c->count < INSNS_MAX)
		c->to[c->count] = (uint8_t)(to + 1);
	add(c, code, dst, src, 0, imm);
}

/* The jumps to a label lead to the next instruction. */
static void here(struct code *c, enum label label)
{
	for (uint32_t i = 0; i < c->count && i < INSNS_MAX; i++)
		if (c->to[i] == label + 1)
			c->insn[i].off = (int16_t)(c->count - i - 1);
}

/* ---- the program -------------------------------------------------------------------------- */

/* Registers: r6 the context, r2 the frame, r3 its end, r5 its type in the order of the wire. */
static void need(struct code *c, int32_t bytes, enum label without)
{
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_4, BPF_REG_2, 0, 0);
	add(c, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_4, 0, 0, bytes);
	jump(c, BPF_JMP | BPF_JGT | BPF_X, BPF_REG_4, BPF_REG_3, 0, without);
}

static void add_ip4(struct code *c, const struct view *v, const struct program_filter *f)
{
	if (f->num_ip4 == 0)
		return;
	jump(c, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, htons(ETHERTYPE_IP), IP6);
	need(c, AT_IP4_END, REDIRECT);
	load(c, BPF_W, BPF_REG_4, BPF_REG_2, v->ip4);
	for (uint32_t i = 0; i < f->num_ip4; i++) {
		int32_t to;

		memcpy(&to, f->ip4[i], sizeof(to));
		jump(c, BPF_JMP32 | BPF_JEQ | BPF_K, BPF_REG_4, 0, to, PASS);
	}
	jump(c, BPF_JMP | BPF_JA, 0, 0, 0, REDIRECT);
}

/* ICMPv6 whose type is at `at`: of these ones. */
static void add_types(struct code *c, int16_t at, int32_t first, int32_t last)
{
	load(c, BPF_B, BPF_REG_4, BPF_REG_2, at);
	jump(c, BPF_JMP | BPF_JLT | BPF_K, BPF_REG_4, 0, first, ADDRESSES);
	jump(c, BPF_JMP | BPF_JLE | BPF_K, BPF_REG_4, 0, last, PASS);
}

/* Who listens to what (MLD) belongs to it: its frames have a hop-by-hop header with a router alert. */
static void add_mld(struct code *c)
{
	here(c, MLD);
	need(c, AT_MLD_TYPE + 1, ADDRESSES);
	load(c, BPF_H, BPF_REG_4, BPF_REG_2, AT_IP6_END); /* its next header, and its length */
	jump(c, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, htons(ICMP6 << 8), ADDRESSES);
	load(c, BPF_B, BPF_REG_4, BPF_REG_2, AT_MLD_TYPE);
	jump(c, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_4, 0, MLD2_REPORT, PASS);
	add_types(c, AT_MLD_TYPE, MLD_FIRST, MLD_LAST);
}

static void add_nd(struct code *c)
{
	load(c, BPF_B, BPF_REG_4, BPF_REG_2, AT_IP6_NEXT);
	jump(c, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_4, 0, HOP_BY_HOP, MLD);
	jump(c, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, ICMP6, ADDRESSES);
	need(c, AT_IP6_END + 1, ADDRESSES);
	add_types(c, AT_IP6_END, ND_FIRST, ND_LAST);
	jump(c, BPF_JMP | BPF_JA, 0, 0, 0, ADDRESSES);
	add_mld(c);
	here(c, ADDRESSES);
}

static void add_ip6(struct code *c, const struct view *v, const struct program_filter *f)
{
	if (f->num_ip6 == 0 && !(f->pass & NIC_PASS_ND))
		return;
	jump(c, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, htons(ETHERTYPE_IPV6), REDIRECT);
	need(c, AT_IP6_END, REDIRECT);
	if (f->pass & NIC_PASS_ND)
		add_nd(c);
	load(c, BPF_DW, BPF_REG_0, BPF_REG_2, v->ip6);
	load(c, BPF_DW, BPF_REG_1, BPF_REG_2, (int16_t)(v->ip6 + 8));
	for (uint32_t i = 0; i < f->num_ip6; i++) {
		uint64_t half[2];

		memcpy(half, f->ip6[i], sizeof(half));
		load_u64(c, BPF_REG_4, 0, half[0]);
		add(c, BPF_JMP | BPF_JNE | BPF_X, BPF_REG_0, BPF_REG_4, 3,
			0); /* over the next three */
		load_u64(c, BPF_REG_4, 0, half[1]);
		jump(c, BPF_JMP | BPF_JEQ | BPF_X, BPF_REG_1, BPF_REG_4, 0, PASS);
	}
}

static void add_return(struct code *c, int32_t value)
{
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, value);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static bool is_filter(const struct program_filter *f)
{
	return f->pass & PASS_FRAMES || f->num_ip4 > 0 || f->num_ip6 > 0;
}

/* To PASS or REDIRECT. A tag beside the frame is as one in it. */
static void add_filter(struct code *c, const struct view *v, const struct program_filter *f)
{
	load(c, BPF_W, BPF_REG_2, BPF_REG_6, v->data);
	load(c, BPF_W, BPF_REG_3, BPF_REG_6, v->end);
	if (v->tag != NO_FIELD) {
		load(c, BPF_W, BPF_REG_4, BPF_REG_6, v->tag);
		jump(c, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, REDIRECT);
	}
	need(c, AT_IP, REDIRECT);
	load(c, BPF_H, BPF_REG_5, BPF_REG_2, AT_TYPE);
	if (f->pass & NIC_PASS_ARP)
		jump(c, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_5, 0, htons(ETHERTYPE_ARP), PASS);
	if (f->pass & NIC_PASS_LLDP)
		jump(c, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_5, 0, htons(TYPE_LLDP), PASS);
	add_ip4(c, v, f);
	here(c, IP6);
	add_ip6(c, v, f);
	jump(c, BPF_JMP | BPF_JA, 0, 0, 0, REDIRECT);
}

static void add_pass(struct code *c, const struct view *v)
{
	here(c, PASS);
	add_return(c, v->pass);
}

/* return bpf_redirect_map(map, ctx->rx_queue_index, XDP_PASS) */
static void add_redirect(struct code *c, int map)
{
	here(c, REDIRECT);
	load(c, BPF_W, BPF_REG_2, BPF_REG_6, offsetof(struct xdp_md, rx_queue_index));
	load_u64(c, BPF_REG_1, BPF_PSEUDO_MAP_FD, (uint32_t)map);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, XDP_PASS);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int load_program(const struct code *c, enum bpf_prog_type type, uint32_t flags)
{
	static const char license[] = "Dual BSD/GPL";
	union bpf_attr attr = {.prog_type = type};

	if (c->count > INSNS_MAX)
		return -E2BIG;
	attr.insns = (uintptr_t)c->insn;
	attr.insn_cnt = c->count;
	attr.license = (uintptr_t)license;
	attr.prog_flags = flags;
	strcpy(attr.prog_name, "netmapd_nic");
	return bpf(BPF_PROG_LOAD, &attr);
}

/* A frame behind a cookie: the cookie goes, and the frame to the stack. */
static void add_cookie(struct code *c, const uint8_t *cookie)
{
	uint64_t first;
	int32_t second;
	uint16_t type;

	memcpy(&first, cookie, sizeof(first));
	memcpy(&second, cookie + 8, sizeof(second));
	memcpy(&type, cookie + 12, sizeof(type));
	load(c, BPF_W, BPF_REG_2, BPF_REG_6, received.data);
	load(c, BPF_W, BPF_REG_3, BPF_REG_6, received.end);
	need(c, PROGRAM_COOKIE, WIRE);
	load(c, BPF_DW, BPF_REG_0, BPF_REG_2, 0);
	load_u64(c, BPF_REG_4, 0, first);
	jump(c, BPF_JMP | BPF_JNE | BPF_X, BPF_REG_0, BPF_REG_4, 0, WIRE);
	load(c, BPF_W, BPF_REG_0, BPF_REG_2, 8);
	jump(c, BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_0, 0, second, WIRE);
	load(c, BPF_H, BPF_REG_0, BPF_REG_2, 12);
	jump(c, BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_0, 0, type, WIRE);
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0, 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, PROGRAM_COOKIE);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_xdp_adjust_head);
	add_return(c, XDP_PASS);
	here(c, WIRE);
}

int program_load(int map, const struct program_filter *filter, const uint8_t *cookie, bool sg)
{
	struct code code = {.count = 0};

	add(&code, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_1, 0, 0);
	if (cookie)
		add_cookie(&code, cookie);
	if (is_filter(filter)) {
		add_filter(&code, &received, filter);
		add_pass(&code, &received);
	}
	add_redirect(&code, map);
	return load_program(&code, BPF_PROG_TYPE_XDP, sg ? BPF_F_XDP_HAS_FRAGS : 0);
}

/* ---- what the stack sends ----------------------------------------------------------------- */

/* Without a socket in the map nobody has the interface. */
static void add_socket_check(struct code *c, int map)
{
	add(c, BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -4, 0);
	load_u64(c, BPF_REG_1, BPF_PSEUDO_MAP_FD, (uint32_t)map);
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0);
	add(c, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -4);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	jump(c, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 0, PASS);
}

/* To the twin, marked; or else, if the hardware rings are in use, nowhere. */
static void add_choice(struct code *c, int state)
{
	here(c, REDIRECT);
	load_u64(c, BPF_REG_2, BPF_PSEUDO_MAP_VALUE, (uint32_t)state);
	load(c, BPF_W, BPF_REG_1, BPF_REG_2, offsetof(struct program_state, twin));
	load(c, BPF_W, BPF_REG_3, BPF_REG_2, offsetof(struct program_state, hardware));
	jump(c, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_1, 0, 0, DROP);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, 0, TWIN_MARK);
	add(c, BPF_STX | BPF_MEM | BPF_W, BPF_REG_6, BPF_REG_4, offsetof(struct __sk_buff, mark),
		0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, 0);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	here(c, DROP);
	jump(c, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_3, 0, 0, PASS);
}

static void add_drop(struct code *c, int dropped)
{
	load_u64(c, BPF_REG_2, BPF_PSEUDO_MAP_VALUE, (uint32_t)dropped);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0, 1);
	add(c, BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_2, BPF_REG_1,
		offsetof(struct nic_counters, dropped), BPF_ADD);
	add_return(c, TC_ACT_SHOT);
}

int program_load_exit(const struct program_exit *exit, const struct program_filter *filter)
{
	struct code code = {.count = 0};

	add(&code, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_1, 0, 0);
	add_socket_check(&code, exit->alive);
	if (is_filter(filter))
		add_filter(&code, &sent, filter);
	add_choice(&code, exit->state);
	add_drop(&code, exit->dropped);
	add_pass(&code, &sent);
	return load_program(&code, BPF_PROG_TYPE_SCHED_CLS, 0);
}

/* ---- twins -------------------------------------------------------------------------------- */

int program_load_twin_out(void)
{
	struct code code = {.count = 0};

	load(&code, BPF_W, BPF_REG_2, BPF_REG_1, offsetof(struct __sk_buff, mark));
	jump(&code, BPF_JMP32 | BPF_JEQ | BPF_K, BPF_REG_2, 0, TWIN_MARK, PASS);
	add_return(&code, TC_ACT_SHOT);
	add_pass(&code, &sent);
	return load_program(&code, BPF_PROG_TYPE_SCHED_CLS, 0);
}

/* bpf_skb_change_head(ctx, …), bpf_skb_store_bytes(ctx, 0, cookie, …); a frame for which that fails is dropped. */
static void add_store_cookie(struct code *c, const uint8_t cookie[PROGRAM_COOKIE])
{
	uint64_t half[2] = {0, 0};

	memcpy(half, cookie, PROGRAM_COOKIE);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, PROGRAM_COOKIE);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, 0);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_change_head);
	jump(c, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 0, DROP);
	for (int i = 0; i < 2; i++) {
		load_u64(c, BPF_REG_4, 0, half[i]);
		add(c, BPF_STX | BPF_MEM | BPF_DW, BPF_REG_10, BPF_REG_4, (int16_t)(i * 8 - 16), 0);
	}
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0, 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_10, 0, 0);
	add(c, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_3, 0, 0, -16);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, 0, PROGRAM_COOKIE);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_5, 0, 0, 0);
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_store_bytes);
	jump(c, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 0, DROP);
}

int program_load_twin_in(uint32_t ifindex, const uint8_t cookie[PROGRAM_COOKIE])
{
	struct code code = {.count = 0};

	add(&code, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_1, 0, 0);
	if (cookie)
		add_store_cookie(&code, cookie);
	add(&code, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0, (int32_t)ifindex);
	add(&code, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, BPF_F_INGRESS);
	add(&code, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect);
	add(&code, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	if (cookie) {
		here(&code, DROP);
		add_return(&code, TC_ACT_SHOT);
	}
	return load_program(&code, BPF_PROG_TYPE_SCHED_CLS, 0);
}

int program_attach_stack(int prog, uint32_t ifindex, bool egress)
{
	union bpf_attr attr = {.link_create = {.prog_fd = (uint32_t)prog,
				       .target_ifindex = ifindex,
				       .attach_type = egress ? TCX_EGRESS : TCX_INGRESS,
				       .flags = BPF_F_BEFORE}};

	return bpf(BPF_LINK_CREATE, &attr);
}

/* ---- maps ---------------------------------------------------------------------------------- */

static int one_value(uint32_t bytes, uint32_t flags)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = sizeof(uint32_t),
		.value_size = bytes,
		.max_entries = 1,
		.map_flags = flags};

	strcpy(attr.map_name, "netmapd_nic");
	return bpf(BPF_MAP_CREATE, &attr);
}

int program_dropped_map(void)
{
	return one_value(sizeof(struct nic_counters), BPF_F_MMAPABLE);
}

int program_state_map(void)
{
	return one_value(sizeof(struct program_state), 0);
}

int program_set_state(int map, const struct program_state *state)
{
	uint32_t key = 0;
	union bpf_attr attr = {
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)state};

	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

int program_map(uint32_t queues)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_XSKMAP,
		.key_size = sizeof(uint32_t),
		.value_size = sizeof(int),
		.max_entries = queues};

	strcpy(attr.map_name, "netmapd_nic");
	return bpf(BPF_MAP_CREATE, &attr);
}

int program_attach(int prog, uint32_t ifindex, bool generic)
{
	union bpf_attr attr = {.link_create = {.prog_fd = (uint32_t)prog,
				       .target_ifindex = ifindex,
				       .attach_type = BPF_XDP,
				       .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE}};

	return bpf(BPF_LINK_CREATE, &attr);
}

int program_set(int map, uint32_t queue, int sock)
{
	union bpf_attr attr = {
		.map_fd = (uint32_t)map, .key = (uintptr_t)&queue, .value = (uintptr_t)&sock};

	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

void program_clear(int map, uint32_t queue)
{
	union bpf_attr attr = {.map_fd = (uint32_t)map, .key = (uintptr_t)&queue};

	bpf(BPF_MAP_DELETE_ELEM, &attr); /* there may be no entry */
}

uint32_t program_id(int prog)
{
	struct bpf_prog_info info = {0};
	union bpf_attr attr = {.info = {.bpf_fd = (uint32_t)prog,
				       .info_len = sizeof(info),
				       .info = (uintptr_t)&info}};

	return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) == 0 ? info.id : 0;
}
