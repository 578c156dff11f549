/* SPDX-License-Identifier: BSD-2-Clause */
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

static uint32_t sum_ip(uint32_t ip)
{
	return (ip >> 16) + (ip & 0xffff);
}

/* A UDP checksum of 0 would mean: none. */
static uint16_t udp_final(uint32_t sum)
{
	uint16_t v = (uint16_t)~fold(sum);

	return v ? v : 0xffff;
}

/* Pseudo header and everything from the UDP header on, the checksum field being 0. */
static uint32_t udp_sum(const uint8_t *frame, uint32_t len)
{
	uint32_t udp_len = len - OFS_UDP;

	return fold((uint64_t)sum_bytes(frame + OFS_IP + 12, 8) + 17 + udp_len +
		    sum_bytes(frame + OFS_UDP, udp_len));
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
	uint64_t h = mix_bytes(len, frame, OFS_UDP_SUM);

	h = mix_bytes(h, frame + OFS_STAMP, OFS_SUM - OFS_STAMP);
	h = mix_bytes(h, frame + OFS_FILL, len - OFS_FILL);
	return (uint32_t)(h ^ (h >> 32));
}

/* ---- making --------------------------------------------------------------------------- */

/* Addresses, ports and the sums that depend on them. */
static void put_addresses(struct packet *p)
{
	uint8_t *b = p->bytes;
	uint32_t addresses = sum_ip(p->ip[0]) + sum_ip(p->ip[1]) + p->port[0] + p->port[1];

	put32(b + OFS_IP + 12, p->ip[0]);
	put32(b + OFS_IP + 16, p->ip[1]);
	put_ip_sum(b);
	put16(b + OFS_UDP, p->port[0]);
	put16(b + OFS_UDP + 2, p->port[1]);
	put16(b + OFS_UDP_SUM, udp_final(p->udp_sum + addresses));
}

void packet_init(struct packet *p, const struct gen_options *o, const uint8_t src_mac[6])
{
	static const char text[] = "netmap pkt-gen payload ";
	uint8_t *b = p->bytes;
	uint32_t i;

	p->o = o;
	p->len = o->len;
	memset(b, 0, o->len);
	memcpy(b, o->dst_mac, 6);
	memcpy(b + 6, src_mac, 6);
	put16(b + OFS_ETHERTYPE, 0x0800);
	b[OFS_IP] = 0x45;
	put16(b + OFS_IP + 2, (uint16_t)(o->len - OFS_IP));
	b[OFS_IP + 8] = 64; /* time to live */
	b[OFS_IP + 9] = 17; /* UDP */
	put16(b + OFS_UDP + 4, (uint16_t)(o->len - OFS_UDP));
	for (i = OFS_STAMP; i < o->len; i++)
		b[i] = (uint8_t)text[(i - OFS_STAMP) % (sizeof(text) - 1)];
	p->udp_sum = udp_sum(b, p->len);

	p->ip[0] = o->src.ip[0];
	p->ip[1] = o->dst.ip[0];
	p->port[0] = o->src.port[0];
	p->port[1] = o->dst.port[0];
	p->changes = o->src.ip[0] != o->src.ip[1] || o->dst.ip[0] != o->dst.ip[1] ||
		     o->src.port[0] != o->src.port[1] || o->dst.port[0] != o->dst.port[1];
	put_addresses(p);
}

static void next_in_range(const struct gen_range *r, uint32_t *ip, uint16_t *port)
{
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
	next_in_range(&p->o->src, &p->ip[0], &p->port[0]);
	next_in_range(&p->o->dst, &p->ip[1], &p->port[1]);
	put_addresses(p);
}

void packet_stamp(uint8_t *frame, uint32_t len, const struct packet_info *info)
{
	uint64_t word = mix(info->stream, info->seq);
	uint32_t i;

	put64(frame + OFS_STAMP, (uint64_t)info->kind << 48 | (uint64_t)info->stream << 40 |
					 (info->seq & STAMP_SEQ_MASK));
	put16(frame + OFS_TIME, (uint16_t)(info->time >> 32));
	put32(frame + OFS_TIME + 2, (uint32_t)info->time);
	for (i = OFS_FILL; i + 8 <= len; i += 64)
		memcpy(frame + i, &word, 8);
	put32(frame + OFS_SUM, stamp_sum(frame, len));
	put16(frame + OFS_UDP_SUM, 0);
	put16(frame + OFS_UDP_SUM, udp_final(udp_sum(frame, len)));
}

/* ---- reading -------------------------------------------------------------------------- */

static bool is_udp(const uint8_t *frame)
{
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
	return sum_bytes(frame + OFS_IP, 20) == 0xffff && udp_sum(frame, len) == 0xffff &&
	       get32(frame + OFS_SUM) == stamp_sum(frame, len);
}

enum packet_kind packet_read(const uint8_t *frame, uint32_t len, const struct packet_like *like,
	struct packet_info *info)
{
	bool same = like && len >= 12 && len == like->len && memcmp(frame, like->macs, 12) == 0;
	uint64_t id;

	if (len < GEN_LEN_MIN || !is_udp(frame))
		return PACKET_OTHER;
	id = get64(frame + OFS_STAMP);
	if (!is_kind((uint16_t)(id >> 48)))
		return same ? PACKET_CORRUPT : PACKET_OTHER;
	if (!sums_fit(frame, len))
		return PACKET_CORRUPT;
	info->kind = (enum stamp_kind)(id >> 48);
	info->stream = (uint8_t)(id >> 40);
	info->seq = id & STAMP_SEQ_MASK;
	info->time = (uint64_t)get16(frame + OFS_TIME) << 32 | get32(frame + OFS_TIME + 2);
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
	swap(frame + OFS_IP + 12, frame + OFS_IP + 16, 4);
	swap(frame + OFS_UDP, frame + OFS_UDP + 2, 2);
	back.kind = STAMP_PONG;
	packet_stamp(frame, len, &back);
}
