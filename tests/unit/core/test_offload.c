/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/offload.h: packets that are finished in software, against a reference that knows how the
 * packet was made: it adds up checksums byte by byte, puts segments and fragments together again,
 * and compares. And headers of any kind, with every buffer just as long as it is said to be, for
 * the sanitizers.
 */
#include "made.h"
#include "offload.h"
#include "util.h"

#include <stdlib.h>

/* ---- checks ------------------------------------------------------------------------------------- */

/* Checksum of TCP or UDP in `len` bytes at l4, with the pseudo header at ip. */
static void check_l4_csum(const uint8_t *ip, const uint8_t *l4, uint32_t len)
{
	assert_int_equal(slow_sum(l4, len, slow_pseudo(ip, made.v6, made.proto, len)), 0xffff);
}

static void check_ip(const uint8_t *frame, uint32_t len, uint32_t i)
{
	const uint8_t *ip = frame + made.l3, *was = made.bytes + made.l3;

	assert_memory_equal(frame, made.bytes, made.l3);
	if (made.v6) {
		assert_int_equal(get16(ip + 4), len - made.l3 - 40);
		assert_memory_equal(ip, was, 4);
		return;
	}
	assert_int_equal(get16(ip + 2), len - made.l3);
	assert_int_equal(get16(ip + 4), (get16(was + 4) + i) & 0xffff);
	assert_int_equal(slow_sum(ip, made.l4 - made.l3, 0), 0xffff);
	assert_memory_equal(ip + 12, was + 12, made.l4 - made.l3 - 12);
}

static void check_segment_tcp(uint32_t i, uint32_t done)
{
	const uint8_t *tcp = made_frames[i].bytes + made.l4, *was = made.bytes + made.l4;
	uint8_t flags = was[13];

	if (i > 0)
		flags &= 0x7f; /* CWR */
	if (i + 1 < made_num_frames)
		flags &= (uint8_t)~0x09; /* FIN, PSH */
	assert_memory_equal(tcp, was, 4);
	assert_int_equal(get32(tcp + 4), get32(was + 4) + done);
	assert_memory_equal(tcp + 8, was + 8, 5);
	assert_int_equal(tcp[13], flags);
	assert_memory_equal(tcp + 14, was + 14, 2);
	assert_memory_equal(tcp + 18, was + 18, made.data - made.l4 - 18);
}

/* Segments of `size` data bytes: all the data, in order, under right headers. */
static void check_segments(uint32_t size)
{
	uint32_t data = made.len - made.data, done = 0;

	assert_int_equal(made_num_frames, (data + size - 1) / size);
	for (uint32_t i = 0; i < made_num_frames; i++) {
		uint32_t n = data - done < size ? data - done : size;

		assert_int_equal(made_frames[i].len, made.data + n);
		check_ip(made_frames[i].bytes, made_frames[i].len, i);
		if (made.v6) /* extension headers */
			assert_memory_equal(made_frames[i].bytes + made.l3 + 8,
				made.bytes + made.l3 + 8, made.l4 - made.l3 - 8);
		if (made.proto == TCP)
			check_segment_tcp(i, done);
		else
			assert_int_equal(get16(made_frames[i].bytes + made.l4 + 4), 8 + n);
		check_l4_csum(made_frames[i].bytes + made.l3, made_frames[i].bytes + made.l4,
			made_frames[i].len - made.l4);
		assert_memory_equal(
			made_frames[i].bytes + made.data, made.bytes + made.data + done, n);
		done += n;
	}
	assert_int_equal(done, data);
}

/* One frame: what was sent, but for a checksum that is right now. */
static void check_completed(void)
{
	uint32_t csum = made.l4 + (made.proto == TCP ? 16 : 6);

	assert_int_equal(made_num_frames, 1);
	assert_int_equal(made_frames[0].len, made.len);
	assert_memory_equal(made_frames[0].bytes, made.bytes, csum);
	assert_memory_equal(
		made_frames[0].bytes + csum + 2, made.bytes + csum + 2, made.len - csum - 2);
	check_l4_csum(made.bytes + made.l3, made_frames[0].bytes + made.l4, made.len - made.l4);
	assert_int_not_equal(get16(made_frames[0].bytes + csum), 0);
}

static uint32_t any_data(void)
{
	return prng_below(&made_prng, prng_chance(&made_prng, 70) ? 3000 : 64000);
}

static void checksums(void **state)
{
	for (int i = 0; i < 4000; i++) {
		struct nm_vnet_hdr vnet;

		make(prng_chance(&made_prng, 50), prng_chance(&made_prng, 50) ? TCP : UDP,
			any_data());
		vnet = vnet_of(NM_VNET_GSO_NONE, (uint16_t)prng_next(&made_prng));
		assert_int_equal(finish_made(&vnet), NM_DROPS);
		check_completed();
	}
}

/* Data that makes the sum come out as 0: stored as 0xffff. */
static void a_sum_of_zero(void **state)
{
	for (int i = 0; i < 50; i++) {
		struct nm_vnet_hdr vnet;
		uint32_t sum;

		make(i % 2, UDP, 2 * prng_range(&made_prng, 1, 500));
		memset(made.bytes + made.data, 0, 2);
		sum = slow_sum(made.bytes + made.l4, made.len - made.l4, 0);
		put16(made.bytes + made.data, ~sum); /* all of it, the pseudo header included */
		vnet = vnet_of(NM_VNET_GSO_NONE, 0);
		assert_int_equal(finish_made(&vnet), NM_DROPS);
		assert_int_equal(get16(made_frames[0].bytes + made.l4 + 6), 0xffff);
		check_completed();
	}
}

static void tso(void **state)
{
	for (int i = 0; i < 3000; i++) {
		bool v6 = prng_chance(&made_prng, 50);
		uint16_t size = (uint16_t)prng_range(
			&made_prng, 1, prng_chance(&made_prng, 90) ? 1500 : 30000);
		struct nm_vnet_hdr vnet;
		uint32_t data = any_data();

		if (data / size >= NM_OFFLOAD_SEGMENTS_MAX)
			data = NM_OFFLOAD_SEGMENTS_MAX * size;
		make(v6, TCP, data);
		vnet = vnet_of(v6 ? NM_VNET_GSO_TCPV6 : NM_VNET_GSO_TCPV4, size);
		if (prng_chance(&made_prng, 30))
			vnet.gso_type |= NM_VNET_GSO_ECN;
		assert_int_equal(finish_made(&vnet), NM_DROPS);
		if (data <= size)
			check_completed();
		else
			check_segments(size);
	}
}

static void uso(void **state)
{
	for (int i = 0; i < 2000; i++) {
		uint16_t size = (uint16_t)prng_range(&made_prng, 1, 1500);
		struct nm_vnet_hdr vnet;
		uint32_t data = any_data();

		if (data / size >= NM_OFFLOAD_SEGMENTS_MAX)
			data = NM_OFFLOAD_SEGMENTS_MAX * size;
		make(prng_chance(&made_prng, 50), UDP, data);
		vnet = vnet_of(NM_VNET_GSO_UDP_L4, size);
		assert_int_equal(finish_made(&vnet), NM_DROPS);
		if (data <= size)
			check_completed();
		else
			check_segments(size);
	}
}

/* UDP over IPv4 that was sent without a checksum stays so. */
static void uso_without_checksum(void **state)
{
	struct nm_vnet_hdr vnet;

	make(false, UDP, 5000);
	put16(made.bytes + made.l4 + 6, 0);
	vnet = vnet_of(NM_VNET_GSO_UDP_L4, 1000);
	vnet.flags = 0;
	assert_int_equal(finish_made(&vnet), NM_DROPS);
	assert_int_equal(made_num_frames, 5);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(get16(made_frames[i].bytes + made.l4 + 6), 0);
}

/* Fragments put together are the datagram, with a right checksum. `at`: where they begin. */
static void check_fragments(uint32_t size)
{
	static uint8_t whole[MADE_MOST];
	uint32_t step = size & ~7u, done = 0, at = made.fragment_at, extra = made.v6 ? 8 : 0;
	uint32_t udp = made.l4 - at;

	for (uint32_t i = 0; i < made_num_frames; i++) {
		const uint8_t *f = made_frames[i].bytes, *fragment = f + at;
		uint32_t n = made_frames[i].len - at - extra;
		bool last = i + 1 == made_num_frames;

		check_ip(f, made_frames[i].len, 0);
		assert_true(last ? n <= step : n == step);
		if (made.v6) {
			assert_int_equal(get16(fragment + 2), done | !last);
			assert_int_equal(get32(fragment + 4), 0x12345678);
			assert_int_equal(fragment[1], 0);
		} else {
			assert_int_equal(get16(f + made.l3 + 6), done / 8 | (last ? 0 : 0x2000));
		}
		memcpy(whole + done, f + at + extra, n);
		done += n;
	}
	assert_int_equal(done, made.len - at);
	assert_memory_equal(whole, made.bytes + at, udp + 6);
	assert_memory_equal(whole + udp + 8, made.bytes + made.data, made.len - made.data);
	check_l4_csum(made.bytes + made.l3, whole + udp, made.len - made.l4);
}

/* The chain of headers in front of a fragment header ends with it, and goes on behind it. */
static void check_chain(void)
{
	for (uint32_t i = 0; i < made_num_frames; i++) {
		const uint8_t *f = made_frames[i].bytes, *was = made.bytes;
		uint32_t at = made.l3 + 40, next = made.l3 + 6;

		while (at < made.fragment_at) {
			assert_int_equal(f[next], was[next]);
			next = at;
			at += (was[at + 1] + 1u) * 8;
		}
		assert_int_equal(at, made.fragment_at);
		assert_int_equal(f[next], 44);
		assert_int_equal(f[at], was[next]);
	}
}

static void ufo(void **state)
{
	for (int i = 0; i < 2000; i++) {
		uint16_t size = (uint16_t)prng_range(&made_prng, 80, 1500);
		struct nm_vnet_hdr vnet;

		make(prng_chance(&made_prng, 50), UDP, any_data());
		vnet = vnet_of(NM_VNET_GSO_UDP, size);
		if (made.len - made.fragment_at <= size) {
			assert_int_equal(finish_made(&vnet), NM_DROPS);
			check_completed();
			continue;
		}
		put16(made.bytes + made.l4 + 4,
			prng_below(&made_prng, 65536)); /* left to the hardware */
		assert_int_equal(finish_made(&vnet), NM_DROPS);
		put16(made.bytes + made.l4 + 4, made.len - made.l4);
		check_fragments(size);
		if (made.v6)
			check_chain();
	}
}

/* The data of a datagram that becomes fragments is not summed before somebody takes them: a packet that
 * is dropped for want of room costs no more than its headers. */
static void ufo_is_summed_late(void **state)
{
	for (int i = 0; i < 200; i++) {
		struct nm_vnet_hdr vnet;
		struct nm_offload o;
		struct nm_frag all;
		struct nm_cursor packet = {&all, 0};

		made_forget();
		make(prng_chance(&made_prng, 50), UDP, prng_range(&made_prng, 1500, 9000));
		all = (struct nm_frag){.buf = (char *)made.bytes, .len = made.len};
		vnet = vnet_of(NM_VNET_GSO_UDP, 1400);
		assert_int_equal(
			nm_offload_plan(&o, &vnet, packet, made.len, 0x12345678), NM_DROPS);
		made.bytes[made.data + prng_below(&made_prng, made.len - made.data)] ^= 1;
		for (uint32_t s = 0; s < o.segments; s++) {
			struct nm_frame frame;
			struct nm_piece piece;

			nm_offload_segment(&o, s, &frame);
			piece.len = frame.head_len + frame.len;
			piece.buf = malloc(piece.len);
			assert_non_null(piece.buf);
			nm_frame_write(&frame, packet, &piece);
			made_frames[made_num_frames++] =
				(struct made_frame){(uint8_t *)piece.buf, piece.len};
		}
		check_fragments(1400);
	}
	made_forget();
}

/* Padding of a short frame isn't data. */
static void padding_is_left_off(void **state)
{
	struct nm_vnet_hdr vnet;

	for (uint32_t pad = 1; pad < 30; pad++) {
		uint32_t len;

		make(pad % 2, TCP, 200);
		len = made.len;
		prng_fill(&made_prng, made.bytes + len, pad);
		vnet = vnet_of(made.v6 ? NM_VNET_GSO_TCPV6 : NM_VNET_GSO_TCPV4, 90);
		assert_int_equal(finish(made.bytes, len + pad, &vnet), NM_DROPS);
		check_segments(90);
	}
}

/* A length of 0 in the IP header: the sender leaves it to the hardware. */
static void no_length_in_the_header(void **state)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct nm_vnet_hdr vnet;

		make(v6, TCP, 3000);
		put16(made.bytes + made.l3 + (v6 ? 4 : 2), 0);
		vnet = vnet_of(v6 ? NM_VNET_GSO_TCPV6 : NM_VNET_GSO_TCPV4, 1000);
		assert_int_equal(finish_made(&vnet), NM_DROPS);
		check_segments(1000);
	}
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void check_refused(const struct nm_vnet_hdr *vnet, enum nm_drop cause)
{
	enum nm_drop got = finish_made(vnet);

	if (got != cause)
		fail_msg("%s instead of %s (gso %x size %u start %u offset %u)",
			got == NM_DROPS ? "accepted" : nm_drop_name(got), nm_drop_name(cause),
			vnet->gso_type, vnet->gso_size, vnet->csum_start, vnet->csum_offset);
}

static void checksum_beyond_the_packet(void **state)
{
	static const uint32_t far[] = {0, 1, 2, 3, 0xffff};

	for (size_t i = 0; i < 5; i++) {
		struct nm_vnet_hdr vnet;

		make(false, UDP, 20);
		vnet = vnet_of(NM_VNET_GSO_NONE, 0);
		vnet.csum_start = 14;
		vnet.csum_offset = (uint16_t)(made.len - 14 - 2);
		assert_int_equal(finish_made(&vnet), NM_DROPS); /* the last that is in it */
		vnet.csum_offset++;
		check_refused(&vnet, NM_DROP_BAD_HEADER);
		vnet.csum_offset = (uint16_t)far[i];
		vnet.csum_start = (uint16_t)(made.len - 1 - far[i] % 2);
		if (vnet.csum_start + vnet.csum_offset + 2u > made.len)
			check_refused(&vnet, NM_DROP_BAD_HEADER);
		vnet.csum_start = 0xffff;
		check_refused(&vnet, NM_DROP_BAD_HEADER);
		vnet.csum_start = (uint16_t)prng_below(&made_prng, 14); /* in the Ethernet header */
		vnet.csum_offset = 20;
		check_refused(&vnet, NM_DROP_BAD_HEADER);
	}
}

/* Each with one thing wrong. */
static void wrong_headers(void **state)
{
	struct nm_vnet_hdr vnet;
	uint32_t len;

	make(false, TCP, 3000);
	vnet = vnet_of(NM_VNET_GSO_TCPV4, 0);
	check_refused(&vnet, NM_DROP_BAD_HEADER); /* gso_size */
	vnet = vnet_of(NM_VNET_GSO_TCPV6, 1000);
	check_refused(&vnet, NM_DROP_BAD_HEADER); /* the other IP */
	vnet = vnet_of(NM_VNET_GSO_UDP_L4, 1000);
	check_refused(&vnet, NM_DROP_BAD_HEADER); /* TCP */
	vnet = vnet_of(NM_VNET_GSO_UDP, 1000);
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	vnet = vnet_of(NM_VNET_GSO_UDP_L4 | NM_VNET_GSO_ECN, 1000);
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	vnet = vnet_of(NM_VNET_GSO_TCPV4, 1000);
	vnet.csum_start++;
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	vnet = vnet_of(NM_VNET_GSO_TCPV4, 1000);
	vnet.csum_offset = 6;
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	for (uint8_t type = 1; type != 0; type++) {
		uint8_t plain = type & 0x7f;

		if (plain == 1 || plain == 3 || plain == 4 || plain == 5)
			continue;
		vnet = vnet_of(type, 1000);
		check_refused(&vnet, NM_DROP_OFFLOAD);
	}
	vnet = vnet_of(NM_VNET_GSO_TCPV4, 1000);
	made.bytes[made.l4 + 12] = 0x40; /* TCP header of 16 bytes */
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	made.bytes[made.l4 + 12] = 0xf0;
	len = made.len;
	made.len = made.l4 + 59; /* of 60, cut short */
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	for (made.len = 14; made.len < made.l4 + 20; made.len++)
		check_refused(&vnet, NM_DROP_BAD_HEADER);
	made.len = len;
	made.bytes[made.l3] = 0x44; /* IP header of 16 bytes */
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	made.bytes[made.l3] = 0x65;
	check_refused(&vnet, NM_DROP_BAD_HEADER);

	make(false, TCP, 3000);
	vnet = vnet_of(NM_VNET_GSO_TCPV4, 1000);
	put16(made.bytes + made.l3 + 6, 0x2000); /* a fragment already */
	check_refused(&vnet, NM_DROP_OFFLOAD);
	put16(made.bytes + made.l3 + 6, 0x0001);
	check_refused(&vnet, NM_DROP_OFFLOAD);
	put16(made.bytes + made.l3 + 6, 0);
	put16(made.bytes + made.l3 + 2, 10); /* ends within its IP header */
	check_refused(&vnet, NM_DROP_BAD_HEADER);

	/* Segments that no IP packet can be, and too many of them. */
	make(false, TCP, 66000);
	vnet = vnet_of(NM_VNET_GSO_TCPV4, 65530);
	put16(made.bytes + made.l3 + 2, 0);
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	vnet = vnet_of(NM_VNET_GSO_TCPV4, 1);
	check_refused(&vnet, NM_DROP_OFFLOAD);

	/* Fragments that have no room for the headers they begin with, or none at all. */
	make(false, UDP, 3000);
	vnet = vnet_of(NM_VNET_GSO_UDP, 7);
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	make(false, UDP, 66000);
	vnet = vnet_of(NM_VNET_GSO_UDP, 1000);
	put16(made.bytes + made.l3 + 2, 0);
	check_refused(&vnet, NM_DROP_BAD_HEADER);
}

static void extension_headers(void **state)
{
	static const uint8_t refused[] = {44, 50, 51, 58, 59, 135, 255};
	struct nm_vnet_hdr vnet;
	uint8_t *ip;

	for (size_t i = 0; i < sizeof(refused); i++) {
		make(true, TCP, 3000);
		vnet = vnet_of(NM_VNET_GSO_TCPV6, 1000);
		made.bytes[made.l3 + 6] = refused[i];
		check_refused(&vnet, NM_DROP_OFFLOAD);
	}
	/* An endless chain: each header says that it is followed by another like it. */
	make(true, TCP, 60000);
	vnet = vnet_of(NM_VNET_GSO_TCPV6, 1000);
	ip = made.bytes + made.l3;
	memset(ip + 6, 0, 60000);
	check_refused(&vnet, NM_DROP_OFFLOAD);
	/* One that is longer than what is looked at, and one longer than the packet. */
	ip[41] = 40;
	check_refused(&vnet, NM_DROP_OFFLOAD);
	made.len = made.l3 + 100;
	check_refused(&vnet, NM_DROP_BAD_HEADER);
	/* One that ends with the packet. */
	make(true, TCP, 3000);
	vnet = vnet_of(NM_VNET_GSO_TCPV6, 1000);
	made.bytes[made.l3 + 6] = 60;
	for (made.len = made.l3 + 40; made.len < made.l3 + 48; made.len++)
		check_refused(&vnet, NM_DROP_BAD_HEADER);
	/* Segments left: the pseudo header has an address that isn't in the IPv6 header. */
	do
		make(true, TCP, 3000);
	while (made.bytes[made.l3 + 6] != 43);
	vnet = vnet_of(NM_VNET_GSO_TCPV6, 1000);
	assert_int_equal(finish_made(&vnet), NM_DROPS);
	made.bytes[made.l3 + 43] = 1;
	check_refused(&vnet, NM_DROP_OFFLOAD);
}

/* Headers up to the last byte that is looked at, and TCP options that end behind it. */
static void headers_at_the_limit(void **state)
{
	for (uint32_t size = 20; size <= 60; size += 4) {
		const uint32_t at = 14 + 40, extension = 176, l4 = at + extension;
		struct nm_vnet_hdr vnet = {NM_VNET_NEEDS_CSUM, NM_VNET_GSO_TCPV6, 0, 1000, l4, 16};
		uint8_t bytes[4000];

		prng_fill(&made_prng, bytes, sizeof(bytes));
		put16(bytes + 12, 0x86dd);
		bytes[14] = 0x60;
		put16(bytes + 18, sizeof(bytes) - at);
		bytes[20] = 60;
		bytes[at] = TCP;
		bytes[at + 1] = extension / 8 - 1;
		bytes[l4 + 12] = (uint8_t)(size / 4 << 4);
		assert_int_equal(finish(bytes, sizeof(bytes), &vnet),
			l4 + size <= NM_OFFLOAD_HEAD_MAX ? NM_DROPS : NM_DROP_OFFLOAD);
	}
}

static void three_tags(void **state)
{
	struct nm_vnet_hdr vnet;

	make(false, TCP, 3000);
	vnet = vnet_of(NM_VNET_GSO_TCPV4, 1000);
	for (uint32_t i = 0; i < 3; i++)
		put16(made.bytes + 12 + 4 * i, 0x8100);
	check_refused(&vnet, NM_DROP_OFFLOAD);
	put16(made.bytes + 12, 0x1234); /* neither a tag nor IP */
	check_refused(&vnet, NM_DROP_BAD_HEADER);
}

/* ---- anything -------------------------------------------------------------------------------- */

static void spoil(void)
{
	for (uint32_t n = prng_below(&made_prng, 4); n > 0; n--) {
		uint32_t limit = made.data < made.len ? made.data : made.len;

		made.bytes[12 + prng_below(&made_prng, limit - 12)] =
			(uint8_t)prng_next(&made_prng);
	}
	if (prng_chance(&made_prng, 20))
		made.len = prng_range(&made_prng, 14, made.len);
}

static void any_headers(void **state)
{
	static const uint8_t types[] = {0, 1, 3, 4, 5, 0x81, 0x84, 0x85};
	uint64_t good = 0, refusals = 0;

	for (int i = 0; i < 30000; i++) {
		struct nm_vnet_hdr vnet;
		enum nm_drop cause;

		make(prng_chance(&made_prng, 50), prng_chance(&made_prng, 50) ? TCP : UDP,
			prng_below(&made_prng, prng_chance(&made_prng, 90) ? 300 : 66000));
		vnet = vnet_of(types[prng_below(&made_prng, sizeof(types))],
			(uint16_t)prng_edge32(&made_prng, 100));
		spoil();
		if (prng_chance(&made_prng, 10))
			prng_fill(&made_prng, &vnet, sizeof(vnet));
		if (prng_chance(&made_prng, 10))
			vnet.csum_start = (uint16_t)prng_edge32(&made_prng, made.len);
		if (prng_chance(&made_prng, 10))
			vnet.csum_offset = (uint16_t)prng_edge32(&made_prng, made.len);
		if (prng_chance(&made_prng, 20))
			vnet.flags = 0;
		cause = finish_made(&vnet);
		good += cause == NM_DROPS;
		refusals += cause != NM_DROPS;
		assert_true(cause == NM_DROPS || cause == NM_DROP_BAD_HEADER ||
			    cause == NM_DROP_OFFLOAD);
	}
	assert_true(good > 1000 && refusals > 1000);
}

/* The sums themselves: any bytes, in runs of any length. */
static void sums(void **state)
{
	static uint8_t bytes[3000];

	for (int i = 0; i < 3000; i++) {
		uint32_t len = prng_below(&made_prng, sizeof(bytes)), at = 0, slow;
		struct nm_sum sum = {0};
		uint16_t result;

		prng_fill(&made_prng, bytes, len);
		if (prng_chance(&made_prng, 20))
			memset(bytes, prng_chance(&made_prng, 50) ? 0xff : 0, len);
		while (at < len) {
			uint32_t n = prng_range(&made_prng, 1, 40);

			if (n > len - at)
				n = len - at;
			nm_sum_add(&sum, bytes + at, n);
			at += n;
		}
		result = nm_sum_finish(&sum);
		slow = ~slow_sum(bytes, len, 0) & 0xffff;
		assert_int_equal(get16((const uint8_t *)&result), slow ? slow : 0xffff);
	}
}

static int begin(void **state)
{
	made_prng = prng_new(1);
	return 0;
}

static int end(void **state)
{
	made_forget();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sums, begin, end),
		cmocka_unit_test_setup_teardown(checksums, begin, end),
		cmocka_unit_test_setup_teardown(a_sum_of_zero, begin, end),
		cmocka_unit_test_setup_teardown(tso, begin, end),
		cmocka_unit_test_setup_teardown(uso, begin, end),
		cmocka_unit_test_setup_teardown(uso_without_checksum, begin, end),
		cmocka_unit_test_setup_teardown(ufo, begin, end),
		cmocka_unit_test_setup_teardown(ufo_is_summed_late, begin, end),
		cmocka_unit_test_setup_teardown(padding_is_left_off, begin, end),
		cmocka_unit_test_setup_teardown(no_length_in_the_header, begin, end),
		cmocka_unit_test_setup_teardown(checksum_beyond_the_packet, begin, end),
		cmocka_unit_test_setup_teardown(wrong_headers, begin, end),
		cmocka_unit_test_setup_teardown(extension_headers, begin, end),
		cmocka_unit_test_setup_teardown(headers_at_the_limit, begin, end),
		cmocka_unit_test_setup_teardown(three_tags, begin, end),
		cmocka_unit_test_setup_teardown(any_headers, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("offload", tests, NULL, NULL);
}
