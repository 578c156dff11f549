/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hash of receive-side scaling. Its numbers are those that the specification of the hash gives for its own key, so
 * that the host computes what drivers and programs of guests expect.
 */
#include "rss.h"

#include "util.h"

#include <stdlib.h>

static const struct nm_rss_config known = {
	.key = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
		0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
		0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa},
};

enum { TCP = 6, UDP = 17, ICMP = 1, HEAD = NM_RSS_HEAD_MAX };

struct vector4 {
	uint8_t src[4], dst[4];
	uint16_t src_port, dst_port;
	uint32_t by_addresses, with_ports;
};

static const struct vector4 vectors4[] = {
	{{66, 9, 149, 187}, {161, 142, 100, 80}, 2794, 1766, 0x323e8fc2, 0x51ccc178},
	{{199, 92, 111, 2}, {65, 69, 140, 83}, 14230, 4739, 0xd718262a, 0xc626b0ea},
	{{24, 19, 198, 95}, {12, 22, 207, 184}, 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
	{{38, 27, 205, 30}, {209, 142, 163, 6}, 48228, 2217, 0x82989176, 0xafc7327f},
	{{153, 39, 163, 191}, {202, 188, 127, 2}, 44251, 1303, 0x5d1809c5, 0x10e828a2},
};

struct vector6 {
	uint16_t src[8], dst[8];
	uint16_t src_port, dst_port;
	uint32_t by_addresses, with_ports;
};

static const struct vector6 vectors6[] = {
	{{0x3ffe, 0x2501, 0x200, 0x1fff, 0, 0, 0, 7}, {0x3ffe, 0x2501, 0x200, 3, 0, 0, 0, 1}, 2794,
		1766, 0x2cc18cd5, 0x40207d3d},
	{{0x3ffe, 0x501, 8, 0, 0x260, 0x97ff, 0xfe40, 0xefab}, {0xff02, 0, 0, 0, 0, 0, 0, 1}, 14230,
		4739, 0x0f0c461c, 0xdde51bbf},
	{{0x3ffe, 0x1900, 0x4545, 3, 0x200, 0xf8ff, 0xfe21, 0x67cf},
		{0xfe80, 0, 0, 0, 0x200, 0xf8ff, 0xfe21, 0x67cf}, 44251, 38024, 0x4b61e985,
		0x02d1feef},
};

static struct nm_rss rss;
static uint8_t head[HEAD];

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Ethernet, and so many tags; returns where the IP header goes. */
static uint32_t ethernet(uint32_t tags, uint32_t type)
{
	uint32_t at = 12;

	memset(head, 0xa5, sizeof(head));
	for (uint32_t i = 0; i < tags; i++, at += 4)
		put16(head + at, i + 1 < tags ? 0x88a8 : 0x8100);
	put16(head + at, type);
	return at + 2;
}

/* Its length. */
static uint32_t ipv4(const struct vector4 *v, uint8_t proto, uint32_t tags, uint32_t options)
{
	uint32_t at = ethernet(tags, 0x0800), header = 20 + options;

	head[at] = (uint8_t)(0x40 + header / 4);
	put16(head + at + 6, 0x4000); /* don't fragment */
	head[at + 9] = proto;
	memcpy(head + at + 12, v->src, 4);
	memcpy(head + at + 16, v->dst, 4);
	put16(head + at + header, v->src_port);
	put16(head + at + header + 2, v->dst_port);
	return at + header + 4;
}

static uint32_t ipv6(const struct vector6 *v, uint8_t next, uint32_t tags)
{
	uint32_t at = ethernet(tags, 0x86dd);

	head[at] = 0x60;
	head[at + 6] = next;
	for (uint32_t i = 0; i < 8; i++) {
		put16(head + at + 8 + 2 * i, v->src[i]);
		put16(head + at + 24 + 2 * i, v->dst[i]);
	}
	put16(head + at + 40, v->src_port);
	put16(head + at + 42, v->dst_port);
	return at + 44;
}

static int begin(void **state)
{
	nm_rss_set(&rss, &known);
	return 0;
}

static void known_numbers_of_ipv4(void **state)
{
	for (uint32_t i = 0; i < sizeof(vectors4) / sizeof(vectors4[0]); i++) {
		const struct vector4 *v = &vectors4[i];

		for (uint32_t tags = 0; tags <= 2; tags++) {
			for (uint32_t options = 0; options <= 40; options += 20) {
				uint32_t len = ipv4(v, TCP, tags, options);

				assert_int_equal(nm_rss_hash(&rss, head, len), v->with_ports);
				ipv4(v, UDP, tags, options);
				assert_int_equal(nm_rss_hash(&rss, head, HEAD), v->with_ports);
				ipv4(v, ICMP, tags, options);
				assert_int_equal(nm_rss_hash(&rss, head, len), v->by_addresses);
			}
		}
	}
}

static void known_numbers_of_ipv6(void **state)
{
	for (uint32_t i = 0; i < sizeof(vectors6) / sizeof(vectors6[0]); i++) {
		const struct vector6 *v = &vectors6[i];

		for (uint32_t tags = 0; tags <= 2; tags++) {
			uint32_t len = ipv6(v, TCP, tags);

			assert_int_equal(nm_rss_hash(&rss, head, len), v->with_ports);
			ipv6(v, UDP, tags);
			assert_int_equal(nm_rss_hash(&rss, head, len), v->with_ports);
			ipv6(v, 44, tags); /* a fragment header */
			assert_int_equal(nm_rss_hash(&rss, head, len), v->by_addresses);
		}
	}
}

/* All fragments of a packet come to one ring, the first one, too. */
static void fragments_go_by_addresses(void **state)
{
	static const uint32_t fragments[] = {0x2000, 0x0001, 0x20b9, 0x1fff};
	const struct vector4 *v = &vectors4[0];
	uint32_t len = ipv4(v, UDP, 0, 0);

	for (uint32_t i = 0; i < 4; i++) {
		put16(head + 14 + 6, fragments[i]);
		assert_int_equal(nm_rss_hash(&rss, head, len), v->by_addresses);
	}
}

/* Of each length, and of other versions and lengths than they say: nothing behind the end is looked at (ASan sees it). */
static void short_and_wrong_packets(void **state)
{
	const struct vector4 *v4 = &vectors4[0];
	const struct vector6 *v6 = &vectors6[0];
	uint32_t len;

	for (len = 0; len <= HEAD; len++) {
		uint8_t *copy = malloc(len ? len : 1);

		ipv4(v4, TCP, 0, 0);
		memcpy(copy, head, len);
		assert_int_equal(nm_rss_hash(&rss, copy, len), len < 34   ? 0
							       : len < 38 ? v4->by_addresses
									  : v4->with_ports);
		ipv6(v6, TCP, 2);
		memcpy(copy, head, len);
		assert_int_equal(nm_rss_hash(&rss, copy, len), len < 62   ? 0
							       : len < 66 ? v6->by_addresses
									  : v6->with_ports);
		free(copy);
	}
	len = ipv4(v4, TCP, 0, 0);
	head[14] = 0x44; /* a header of 16 bytes */
	assert_int_equal(nm_rss_hash(&rss, head, len), v4->by_addresses);
	head[14] = 0x65;
	assert_int_equal(nm_rss_hash(&rss, head, len), 0);
	ethernet(0, 0x0806);
	assert_int_equal(nm_rss_hash(&rss, head, HEAD), 0);
	ipv4(v4, TCP, 2, 0);
	put16(head + 12, 0x9100);
	assert_int_equal(nm_rss_hash(&rss, head, HEAD), 0);
}

/* Bit by bit, as the hash is defined, for keys and inputs of any kind. */
static void the_same_as_bit_by_bit(void **state)
{
	struct prng r = prng_new(3);

	for (int round = 0; round < 300; round++) {
		struct nm_rss_config config;
		uint8_t input[NM_RSS_INPUT_MAX];
		uint32_t hash = 0;

		for (uint32_t i = 0; i < NM_RSS_KEY_LEN; i++)
			config.key[i] = (uint8_t)prng_below(&r, 256);
		for (uint32_t i = 0; i < NM_RSS_TABLE_LEN; i++)
			config.table[i] = (uint8_t)prng_below(&r, 4);
		for (uint32_t i = 0; i < NM_RSS_INPUT_MAX; i++)
			input[i] = (uint8_t)prng_below(&r, 256);
		for (uint32_t bit = 0; bit < 8 * NM_RSS_INPUT_MAX; bit++)
			for (uint32_t i = 0; input[bit / 8] >> (7 - bit % 8) & 1 && i < 32; i++)
				hash ^= (uint32_t)(config.key[(bit + i) / 8] >>
							   (7 - (bit + i) % 8) &
						   1)
					<< (31 - i);
		nm_rss_set(&rss, &config);
		assert_int_equal(nm_rss_toeplitz(&rss, input, NM_RSS_INPUT_MAX), hash);
		assert_memory_equal(rss.config.table, config.table, NM_RSS_TABLE_LEN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(known_numbers_of_ipv4, begin),
		cmocka_unit_test_setup(known_numbers_of_ipv6, begin),
		cmocka_unit_test_setup(fragments_go_by_addresses, begin),
		cmocka_unit_test_setup(short_and_wrong_packets, begin),
		cmocka_unit_test_setup(the_same_as_bit_by_bit, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
