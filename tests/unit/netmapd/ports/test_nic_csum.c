/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapd/ports/nic_csum.h: what is unfinished is completed, and nothing else is touched. */
#include "nic_csum.h"

#include "../../core/util.h"
#include "checksum.h"

enum { TCP = 6, UDP = 17, MOST = 1600 };

struct packet {
	uint8_t bytes[MOST];
	uint32_t len, ip, l4; /* where they begin */
	uint8_t protocol;
	bool six;
};

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* The sum of the pseudo header: where a sum begins. */
static struct nm_sum pseudo(const struct packet *p)
{
	uint32_t bytes = p->len - p->l4;
	const uint8_t rest[4] = {0, p->protocol, (uint8_t)(bytes >> 8), (uint8_t)bytes};
	struct nm_sum sum = {0};

	nm_sum_add(&sum, p->bytes + p->ip + (p->six ? 8 : 12), p->six ? 32 : 8);
	nm_sum_add(&sum, rest, sizeof(rest));
	return sum;
}

static uint8_t *field(struct packet *p)
{
	return p->bytes + p->l4 + (p->protocol == TCP ? 16 : 6);
}

static void put_sum(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* Any packet, with an unfinished checksum, as a stack leaves it. */
static void make(struct prng *r, struct packet *p)
{
	uint32_t tags = prng_below(r, 3), payload = prng_below(r, 1400), at = 14, header;
	struct nm_sum sum;

	p->six = prng_chance(r, 50);
	p->protocol = prng_chance(r, 50) ? TCP : UDP;
	prng_fill(r, p->bytes, sizeof(p->bytes));
	for (uint32_t i = 0; i < tags; i++, at += 4)
		put16(p->bytes + at - 2, i == 0 && tags == 2 ? 0x88a8 : 0x8100);
	put16(p->bytes + at - 2, p->six ? 0x86dd : 0x0800);
	p->ip = at;
	header = p->six ? 40 : 20 + 4 * prng_below(r, 11);
	p->l4 = at + header;
	p->len = p->l4 + (p->protocol == TCP ? 20 : 8) + payload;
	if (p->six) {
		p->bytes[at] = 0x60;
		p->bytes[at + 6] = p->protocol;
		put16(p->bytes + at + 4, p->len - p->l4);
	} else {
		p->bytes[at] = (uint8_t)(0x40 | header / 4);
		p->bytes[at + 9] = p->protocol;
		put16(p->bytes + at + 2, p->len - at);
		put16(p->bytes + at + 6, 0x4000);
	}
	sum = pseudo(p);
	if (nm_sum_finish(&sum) == 0xffff) /* 0 and 0xffff are the same; stacks leave this one */
		put_sum(field(p), 0xffff);
	else
		put_sum(field(p), (uint16_t)~nm_sum_finish(&sum));
}

/* As a receiver looks at it. */
static bool is_right(struct packet *p)
{
	struct nm_sum sum = pseudo(p);

	nm_sum_add(&sum, p->bytes + p->l4, p->len - p->l4);
	return nm_sum_finish(&sum) == 0xffff;
}

static void unfinished_ones_are_completed(void **state)
{
	struct prng r = prng_new(1);
	struct packet p;

	for (int i = 0; i < 20000; i++) {
		make(&r, &p);
		assert_true(nic_complete_checksum(p.bytes, p.len));
		assert_true(is_right(&p));
	}
}

/* Padding behind the datagram is no part of it. */
static void padding_does_not_count(void **state)
{
	struct prng r = prng_new(2);
	struct packet p;

	for (int i = 0; i < 1000; i++) {
		make(&r, &p);
		assert_true(nic_complete_checksum(p.bytes, p.len + prng_below(&r, 40)));
		assert_true(is_right(&p));
	}
}

/* One that is finished stays as it is, also if it looks like the other kind; a wrong one stays wrong. */
static void finished_ones_stay(void **state)
{
	struct prng r = prng_new(3);
	struct packet p, before;
	uint32_t same = 0;

	for (int i = 0; i < 20000; i++) {
		make(&r, &p);
		assert_true(nic_complete_checksum(p.bytes, p.len));
		before = p;
		same += nic_complete_checksum(p.bytes, p.len);
		assert_memory_equal(p.bytes, before.bytes, p.len);
		field(&p)[0] ^= 0x55;
		before = p;
		if (!nic_complete_checksum(p.bytes, p.len))
			assert_memory_equal(p.bytes, before.bytes, p.len);
	}
	assert_in_range(same, 0, 20); /* one in 65536 */
}

/* Whatever the headers say: nothing outside of the packet is read or written (ASan), and it ends. */
static void any_bytes_are_safe(void **state)
{
	struct prng r = prng_new(4);
	struct packet p;

	for (int i = 0; i < 50000; i++) {
		uint32_t len;
		uint8_t *copy;

		make(&r, &p);
		for (int n = prng_below(&r, 4); n >= 0; n--)
			p.bytes[prng_below(&r, p.l4 + 20)] = (uint8_t)prng_next(&r);
		len = prng_chance(&r, 50) ? prng_below(&r, p.len + 1) : p.len;
		copy = test_malloc(len ? len : 1);
		memcpy(copy, p.bytes, len);
		(void)nic_complete_checksum(copy, len);
		test_free(copy);
	}
}

/* Fragments, other protocols: not touched. */
static void others_are_not_touched(void **state)
{
	struct prng r = prng_new(5);
	struct packet p;

	for (int i = 0; i < 2000; i++) {
		make(&r, &p);
		if (!p.six && prng_chance(&r, 50))
			put16(p.bytes + p.ip + 6,
				prng_chance(&r, 50) ? 0x2000 : prng_range(&r, 1, 0x1fff));
		else
			p.bytes[p.ip + (p.six ? 6 : 9)] = 1;
		assert_false(nic_complete_checksum(p.bytes, p.len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unfinished_ones_are_completed),
		cmocka_unit_test(padding_does_not_count),
		cmocka_unit_test(finished_ones_stay),
		cmocka_unit_test(any_bytes_are_safe),
		cmocka_unit_test(others_are_not_touched),
	};

	test_seed();
	return cmocka_run_group_tests_name("nic_csum", tests, NULL, NULL);
}
