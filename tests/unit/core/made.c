/* SPDX-License-Identifier: BSD-2-Clause */
#include "made.h"

#include <stdlib.h>

struct prng made_prng;

/* ---- how a packet is made ------------------------------------------------------------------ */

struct made made;

void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

/* The reference: one byte after the other, big endian, from any offset. */
uint32_t slow_sum(const uint8_t *p, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

uint32_t slow_pseudo(const uint8_t *ip, bool v6, enum proto proto, uint32_t len)
{
	uint8_t rest[8] = {0};
	uint32_t sum = v6 ? slow_sum(ip + 8, 32, 0) : slow_sum(ip + 12, 8, 0);

	put16(rest, len >> 16);
	put16(rest + 2, len);
	rest[7] = (uint8_t)proto;
	return slow_sum(rest, 8, sum);
}

static uint32_t ip_header_v4(uint8_t *ip, enum proto proto, uint32_t options)
{
	prng_fill(&made_prng, ip, 20 + options);
	ip[0] = (uint8_t)(0x40 | (20 + options) / 4);
	put16(ip + 6, prng_chance(&made_prng, 50) ? 0x4000 : 0);
	ip[9] = (uint8_t)proto;
	return 20 + options;
}

/* Up to three extension headers; `fragment_at` as RFC 8200 says. */
static uint32_t ip_header_v6(uint8_t *ip, enum proto proto, uint32_t extensions, uint32_t *fragment)
{
	static const uint8_t kinds[3] = {0, 43, 60}; /* hop-by-hop, routing, destination */
	uint32_t at = 40, next = 6;

	prng_fill(&made_prng, ip, 40);
	ip[0] = (uint8_t)(0x60 | prng_below(&made_prng, 16));
	*fragment = 40;
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t size = 8 * prng_range(&made_prng, 1, 3);

		if (!(extensions >> i & 1))
			continue;
		ip[next] = kinds[i];
		prng_fill(&made_prng, ip + at, size);
		ip[at + 1] = (uint8_t)(size / 8 - 1);
		if (kinds[i] == 43)
			ip[at + 3] = 0; /* no segments left */
		next = at;
		at += size;
		if (kinds[i] != 60)
			*fragment = at;
	}
	ip[next] = (uint8_t)proto;
	return at;
}

/* An Ethernet frame of up to two tags, with `data` bytes behind TCP or UDP. Lengths are right; the
 * checksum of TCP or UDP is what a sender leaves: the sum of the pseudo header. */
void make(bool v6, enum proto proto, uint32_t data)
{
	uint32_t tags = prng_below(&made_prng, 3), at = 12, size;
	uint8_t *ip, *l4;

	made.v6 = v6;
	made.proto = proto;
	prng_fill(&made_prng, made.bytes, 12);
	for (uint32_t i = 0; i < tags; i++, at += 4) {
		put16(made.bytes + at, tags == 2 && i == 0 ? 0x88a8 : 0x8100);
		put16(made.bytes + at + 2, prng_below(&made_prng, 4096));
	}
	put16(made.bytes + at, v6 ? 0x86dd : 0x0800);
	made.l3 = at + 2;
	ip = made.bytes + made.l3;
	size = v6 ? ip_header_v6(ip, proto, prng_below(&made_prng, 8), &made.fragment_at)
		  : ip_header_v4(ip, proto, 4 * prng_below(&made_prng, 11));
	made.l4 = made.l3 + size;
	made.fragment_at = v6 ? made.l3 + made.fragment_at : made.l4;
	l4 = made.bytes + made.l4;
	prng_fill(&made_prng, l4, 60);
	size = proto == UDP ? 8 : 20 + 4 * prng_below(&made_prng, 11);
	if (proto == TCP)
		l4[12] = (uint8_t)(size / 4 << 4);
	else
		put16(l4 + 4, 8 + data);
	made.data = made.l4 + size;
	made.len = made.data + data;
	assert_true(made.len <= MADE_MOST);
	prng_fill(&made_prng, made.bytes + made.data, data);
	if (v6)
		put16(ip + 4, made.len - made.l3 - 40);
	else
		put16(ip + 2, made.len - made.l3);
	if (!v6) {
		put16(ip + 10, 0);
		put16(ip + 10, ~slow_sum(ip, made.l4 - made.l3, 0));
	}
	put16(l4 + (proto == TCP ? 16 : 6), slow_pseudo(ip, v6, proto, size + data));
}

struct nm_vnet_hdr vnet_of(uint8_t gso_type, uint16_t gso_size)
{
	return (struct nm_vnet_hdr){
		.flags = NM_VNET_NEEDS_CSUM,
		.gso_type = gso_type,
		.hdr_len = (uint16_t)prng_next(&made_prng),
		.gso_size = gso_size,
		.csum_start = (uint16_t)made.l4,
		.csum_offset = made.proto == TCP ? 16 : 6,
	};
}

/* ---- through the module --------------------------------------------------------------------- */

struct made_frame made_frames[MADE_FRAMES_MOST];
uint32_t made_num_frames;

void made_forget(void)
{
	while (made_num_frames > 0)
		free(made_frames[--made_num_frames].bytes);
}

/* The packet in pieces of any length, each in memory of its own. */
struct cut {
	struct nm_frag frags[64];
	uint32_t count;
};

static void cut_up(struct cut *cut, const uint8_t *bytes, uint32_t len)
{
	uint32_t at = 0;

	cut->count = 0;
	while (at < len || cut->count == 0) {
		uint32_t n = prng_below(&made_prng, prng_chance(&made_prng, 50) ? 100 : 5000);
		char *buf;

		if (n > len - at || cut->count == 63)
			n = len - at;
		buf = malloc(n ? n : 1);
		assert_non_null(buf);
		memcpy(buf, bytes + at, n);
		cut->frags[cut->count++] = (struct nm_frag){.buf = buf, .len = n};
		at += n;
	}
}

static void forget_cut(struct cut *cut)
{
	for (uint32_t i = 0; i < cut->count; i++)
		free((void *)(uintptr_t)cut->frags[i].buf);
}

static void write_frame(const struct nm_frame *frame, const struct nm_frag *frags)
{
	uint32_t len = frame->head_len + frame->len, at = 0, n = 0;
	struct nm_piece pieces[64];
	uint8_t *whole = malloc(len);

	assert_non_null(whole);
	while (at < len) {
		uint32_t size = prng_range(&made_prng, 1, prng_chance(&made_prng, 50) ? 64 : 3000);

		if (size > len - at || n == 63)
			size = len - at;
		pieces[n++] = (struct nm_piece){.buf = malloc(size), .len = size};
		assert_non_null(pieces[n - 1].buf);
		at += size;
	}
	nm_frame_write(frame, (struct nm_cursor){frags, 0}, pieces);
	at = 0;
	for (uint32_t i = 0; i < n; i++) {
		memcpy(whole + at, pieces[i].buf, pieces[i].len);
		at += pieces[i].len;
		free(pieces[i].buf);
	}
	made_frames[made_num_frames].bytes = whole;
	made_frames[made_num_frames++].len = len;
}

enum nm_drop finish(const uint8_t *bytes, uint32_t len, const struct nm_vnet_hdr *vnet)
{
	static struct nm_offload o;
	enum nm_drop cause;
	struct cut cut;

	made_forget();
	memset(&o, 0xa5, sizeof(o)); /* as it was left by another packet */
	cut_up(&cut, bytes, len);
	cause = nm_offload_plan(&o, vnet, (struct nm_cursor){cut.frags, 0}, len, 0x12345678);
	if (cause == NM_DROPS) {
		assert_in_range(o.segments, 1, NM_OFFLOAD_SEGMENTS_MAX);
		for (uint32_t i = 0; i < o.segments; i++) {
			struct nm_frame frame;

			nm_offload_segment(&o, i, &frame);
			assert_true(frame.from <= len && frame.len <= len - frame.from);
			assert_true(frame.head_len + frame.len <= nm_offload_longest(&o));
			if (i == o.segments - 1)
				assert_int_equal(frame.head_len + frame.len, nm_offload_last(&o));
			write_frame(&frame, cut.frags);
		}
	}
	forget_cut(&cut);
	return cause;
}

enum nm_drop finish_made(const struct nm_vnet_hdr *vnet)
{
	return finish(made.bytes, made.len, vnet);
}
