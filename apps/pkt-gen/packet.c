/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A frame is made once. The part of its UDP checksum that depends on the length alone is kept, so
 * that other addresses or ports cost no pass over the payload; a stamp does, since it writes into
 * the payload.
 */
#include "packet.h"

#include <endian.h>
#include <string.h>

/* ---- bytes ---------------------------------------------------------------------------- */

static void put16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, 4);
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, 8);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

/* ---- sums ----------------------------------------------------------------------------- */

/* One's complement sum of big-endian 16-bit words, folded to 16 bits. */
static uint32_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)sum;
}

static uint32_t sum_bytes(const uint8_t *p, uint32_t len)
{
	uint64_t sum = 0;
	uint32_t w;

	for (; len >= 4; p += 4, len -= 4) {
		memcpy(&w, p, 4);
		sum += w;
	}
	if (len) {
		w = 0;
		memcpy(&w, p, len);
		sum += w;
	}
	/* Words were added as they lie in memory; the sum of swapped words is the swapped sum. */
	return be16toh((uint16_t)fold(sum));
}

static uint32_t sum_ip(gen_ip ip)
{
	uint32_t sum = 0;

	for (; ip; ip >>= 16)
		sum += (uint32_t)ip & 0xffff;
	return sum;
}

/* A UDP checksum of 0 would mean: none. */
static uint16_t udp_final(uint32_t sum)
{
	uint16_t v = (uint16_t)~fold(sum);

	return v ? v : 0xffff;
}

static bool is_v6(const uint8_t *frame)
{
	return get16(frame + OFS_ETHERTYPE) == 0x86dd;
}

/* What the frame's kind adds to the offsets behind its IP header. */
static uint32_t shift_of(const uint8_t *frame)
{
	return is_v6(frame) ? OFS_V6 : 0;
}

/* Pseudo header and everything from the UDP header on, the checksum field being 0. */
static uint32_t udp_sum(const uint8_t *frame, uint32_t len)
{
	uint32_t udp = OFS_UDP + shift_of(frame), udp_len = len - udp;
	uint32_t addresses = is_v6(frame) ? sum_bytes(frame + OFS_IP + 8, 32)
					  : sum_bytes(frame + OFS_IP + 12, 8);

	return fold((uint64_t)addresses + 17 + udp_len + sum_bytes(frame + udp, udp_len));
}

static void put_ip_sum(uint8_t *frame)
{
	put16(frame + OFS_IP + 10, 0);
	put16(frame + OFS_IP + 10, (uint16_t)~sum_bytes(frame + OFS_IP, 20));
}

/* A 64-bit mixing sum: each step is a bijection of the state, so one changed word shows. */
static uint64_t mix(uint64_t h, uint64_t w)
{
	h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
	return h ^ (h >> 32);
}

static uint64_t mix_bytes(uint64_t h, const uint8_t *p, uint32_t len)
{
	uint64_t w;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		h = mix(h, w);
	}
	if (len) {
		w = 0;
		memcpy(&w, p, len);
		h = mix(h, w);
	}
	return h;
}

static uint32_t stamp_sum(const uint8_t *frame, uint32_t len)
{
	uint32_t shift = shift_of(frame);
	uint64_t h = mix_bytes(len, frame, OFS_UDP_SUM + shift);

	h = mix_bytes(h, frame + OFS_STAMP + shift, OFS_SUM - OFS_STAMP);
	h = mix_bytes(h, frame + OFS_FILL + shift, len - OFS_FILL - shift);
	return (uint32_t)(h ^ (h >> 32));
}

/* ---- making --------------------------------------------------------------------------- */

static void put_ip(uint8_t *p, gen_ip ip, bool v6)
{
	if (!v6) {
		put32(p, (uint32_t)ip);
		return;
	}
	put64(p, (uint64_t)(ip >> 64));
	put64(p + 8, (uint64_t)ip);
}

/* Addresses, ports and the sums that depend on them. */
static void put_addresses(struct packet *p)
{
	uint32_t size = p->o->v6 ? 16 : 4, sum;
	uint8_t *b = p->bytes, *at = b + OFS_IP + (p->o->v6 ? 8 : 12);

	put_ip(at, p->ip[0], p->o->v6);
	put_ip(at + size, p->ip[1], p->o->v6);
	if (!p->o->v6)
		put_ip_sum(b);
	put16(b + p->udp, p->port[0]);
	put16(b + p->udp + 2, p->port[1]);
	sum = sum_ip(p->ip[0]) + sum_ip(p->ip[1]) + p->port[0] + p->port[1];
	put16(b + p->udp + 6, udp_final(p->udp_sum + sum));
}

/* The fields and the sum that depend on the length. */
static void put_len(struct packet *p)
{
	uint32_t udp_len = p->len - p->udp;
	uint8_t *b = p->bytes;

	if (p->o->v6)
		put16(b + OFS_IP + 4, (uint16_t)udp_len);
	else
		put16(b + OFS_IP + 2, (uint16_t)(p->len - OFS_IP));
	put16(b + p->udp + 4, (uint16_t)udp_len);
	/* The length stands in the UDP header and in the pseudo header. */
	p->udp_sum = fold((uint64_t)sum_bytes(b + p->udp + 8, udp_len - 8) + 17 + 2ULL * udp_len);
}

static bool range_changes(const struct gen_range *r)
{
	return r->random || r->ip[0] != r->ip[1] || r->port[0] != r->port[1];
}

void packet_init(struct packet *p, const struct gen_options *o, const uint8_t src_mac[6])
{
	static const char text[] = "netmap pkt-gen payload ";
	uint8_t *b = p->bytes;
	uint32_t i;

	p->o = o;
	p->len = o->len;
	p->udp = OFS_UDP + (o->v6 ? OFS_V6 : 0);
	p->random = (uint64_t)(uintptr_t)p * 0x9e3779b97f4a7c15ULL + 1;
	memset(b, 0, o->len);
	memcpy(b, o->dst_mac, 6);
	memcpy(b + 6, src_mac, 6);
	put16(b + OFS_ETHERTYPE, o->v6 ? 0x86dd : 0x0800);
	if (o->v6) {
		b[OFS_IP] = 0x60;
		b[OFS_IP + 6] = 17; /* UDP */
		b[OFS_IP + 7] = 64; /* hops */
	} else {
		b[OFS_IP] = 0x45;
		b[OFS_IP + 8] = 64; /* time to live */
		b[OFS_IP + 9] = 17; /* UDP */
	}
	for (i = p->udp + 8; i < o->len; i++)
		b[i] = (uint8_t)text[(i - p->udp - 8) % (sizeof(text) - 1)];
	p->ip[0] = o->src.ip[0];
	p->ip[1] = o->dst.ip[0];
	p->port[0] = o->src.port[0];
	p->port[1] = o->dst.port[0];
	p->changes = range_changes(&o->src) || range_changes(&o->dst);
	put_len(p);
	put_addresses(p);
}

void packet_set_len(struct packet *p, uint32_t len)
{
	p->len = len;
	put_len(p);
	put_addresses(p);
}

static uint64_t next_random(struct packet *p)
{
	uint64_t x = p->random += 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

uint32_t packet_random(struct packet *p, uint32_t below)
{
	return (uint32_t)(next_random(p) % below);
}

/* A range of one address, or of one port, stands for all of them. */
static void random_in_range(struct packet *p, const struct gen_range *r, gen_ip *ip, uint16_t *port)
{
	gen_ip bits = (gen_ip)next_random(p) << 64 | next_random(p);
	gen_ip count = r->ip[1] - r->ip[0] + 1; /* 0: all of them */

	if (count > 1)
		*ip = r->ip[0] + bits % count;
	else
		*ip = p->o->v6 ? bits : (uint32_t)bits;
	if (r->port[0] != r->port[1])
		*port = (uint16_t)(r->port[0] + packet_random(p, r->port[1] - r->port[0] + 1u));
	else
		*port = (uint16_t)next_random(p);
}

static void next_in_range(struct packet *p, const struct gen_range *r, int end)
{
	gen_ip *ip = &p->ip[end];
	uint16_t *port = &p->port[end];

	if (r->random) {
		random_in_range(p, r, ip, port);
		return;
	}
	if (*port != r->port[1]) {
		(*port)++;
		return;
	}
	*port = r->port[0];
	*ip = *ip == r->ip[1] ? r->ip[0] : *ip + 1;
}

void packet_next(struct packet *p)
{
	if (!p->changes)
		return;
	next_in_range(p, &p->o->src, 0);
	next_in_range(p, &p->o->dst, 1);
	put_addresses(p);
}

void packet_stamp(uint8_t *frame, uint32_t len, const struct packet_info *info)
{
	uint64_t word = mix(info->stream, info->seq);
	uint8_t *at = frame + shift_of(frame);
	uint32_t i;

	put64(at + OFS_STAMP, (uint64_t)info->kind << 48 | (uint64_t)info->stream << 40 |
				      (info->seq & STAMP_SEQ_MASK));
	put16(at + OFS_TIME, (uint16_t)(info->time >> 32));
	put32(at + OFS_TIME + 2, (uint32_t)info->time);
	for (i = OFS_FILL + shift_of(frame); i + 8 <= len; i += 64)
		memcpy(frame + i, &word, 8);
	put32(at + OFS_SUM, stamp_sum(frame, len));
	put16(at + OFS_UDP_SUM, 0);
	put16(at + OFS_UDP_SUM, udp_final(udp_sum(frame, len)));
}

/* ---- reading -------------------------------------------------------------------------- */

/* UDP, and long enough for a stamp? */
static bool is_udp(const uint8_t *frame, uint32_t len)
{
	if (len < GEN_LEN_MIN)
		return false;
	if (is_v6(frame))
		return len >= GEN_LEN_MIN_V6 && frame[OFS_IP] >> 4 == 6 && frame[OFS_IP + 6] == 17;
	return get16(frame + OFS_ETHERTYPE) == 0x0800 && frame[OFS_IP] == 0x45 &&
	       frame[OFS_IP + 9] == 17;
}

static bool is_kind(uint16_t kind)
{
	return kind == STAMP_DATA || kind == STAMP_PING || kind == STAMP_PONG;
}

/* With its checksum field, the sum of correct data is 0xffff. */
static bool sums_fit(const uint8_t *frame, uint32_t len)
{
	return (is_v6(frame) || sum_bytes(frame + OFS_IP, 20) == 0xffff) &&
	       udp_sum(frame, len) == 0xffff &&
	       get32(frame + OFS_SUM + shift_of(frame)) == stamp_sum(frame, len);
}

enum packet_kind packet_read(const uint8_t *frame, uint32_t len, const struct packet_like *like,
	struct packet_info *info)
{
	bool same = like && len >= 12 && len == like->len && memcmp(frame, like->macs, 12) == 0;
	const uint8_t *at;
	uint64_t id;

	if (!is_udp(frame, len))
		return PACKET_OTHER;
	at = frame + shift_of(frame);
	id = get64(at + OFS_STAMP);
	if (!is_kind((uint16_t)(id >> 48)))
		return same ? PACKET_CORRUPT : PACKET_OTHER;
	if (!sums_fit(frame, len))
		return PACKET_CORRUPT;
	info->kind = (enum stamp_kind)(id >> 48);
	info->stream = (uint8_t)(id >> 40);
	info->seq = id & STAMP_SEQ_MASK;
	info->time = (uint64_t)get16(at + OFS_TIME) << 32 | get32(at + OFS_TIME + 2);
	return PACKET_GOOD;
}

static void swap(uint8_t *a, uint8_t *b, uint32_t len)
{
	uint8_t t;

	while (len--) {
		t = *a;
		*a++ = *b;
		*b++ = t;
	}
}

void packet_turn(uint8_t *frame, uint32_t len, const struct packet_info *info)
{
	struct packet_info back = *info;

	swap(frame, frame + 6, 6);
	/* The IP header's checksum does not mind the order. */
	if (is_v6(frame))
		swap(frame + OFS_IP + 8, frame + OFS_IP + 24, 16);
	else
		swap(frame + OFS_IP + 12, frame + OFS_IP + 16, 4);
	swap(frame + OFS_UDP + shift_of(frame), frame + OFS_UDP + shift_of(frame) + 2, 2);
	back.kind = STAMP_PONG;
	packet_stamp(frame, len, &back);
}
