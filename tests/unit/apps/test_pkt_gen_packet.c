/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames, their sums and stamps; what --check makes of damaged ones; pacing; round-trip times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pacer.h"
#include "stats.h"

static struct gen_options o;
static struct packet p;
static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
static const struct stats_style style;

/* The Internet checksum as RFC 1071 describes it, word by word. */
static uint32_t plain_sum(const uint8_t *b, uint32_t len, uint32_t sum)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void assert_sums(const uint8_t *frame, uint32_t len)
{
	uint32_t pseudo = plain_sum(frame + 26, 8, 17 + len - 34);

	assert_int_equal(plain_sum(frame + 14, 20, 0), 0xffff);
	assert_int_equal(plain_sum(frame + 34, len - 34, pseudo), 0xffff);
	assert_int_equal(frame[16] << 8 | frame[17], len - 14);
	assert_int_equal(frame[38] << 8 | frame[39], len - 34);
}

static void make(uint32_t len)
{
	memset(&o, 0, sizeof(o));
	o.len = len;
	o.src.ip[0] = o.src.ip[1] = 0x0a000001;
	o.dst.ip[0] = 0xffffff01;
	o.dst.ip[1] = 0xffffff02;
	o.dst.port[0] = 65534;
	o.dst.port[1] = 65535;
	memset(o.dst_mac, 0xff, 6);
	packet_init(&p, &o, mac);
}

static void test_frames(void **state)
{
	static const uint32_t lens[] = {60, 61, 67, 128, 1514, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		make(lens[i]);
		for (int n = 0; n < 6; n++) {
			assert_sums(p.bytes, p.len);
			packet_next(&p);
		}
	}
}

static void test_ranges(void **state)
{
	static const uint8_t want[][4] = {/* last byte of the address, low byte of the port */
		{1, 254}, {1, 255}, {2, 254}, {2, 255}, {1, 254}};

	(void)state;
	make(60);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(p.bytes[33], want[i][0]);
		assert_int_equal(p.bytes[37], want[i][1]);
		assert_int_equal(p.bytes[29], 1); /* one source */
		packet_next(&p);
	}
}

/* IPv6: the checksum is the UDP one alone, over a longer pseudo header. */
static void assert_sums_v6(const uint8_t *frame, uint32_t len)
{
	uint32_t pseudo = plain_sum(frame + 22, 32, 17 + len - 54);

	assert_int_equal(plain_sum(frame + 54, len - 54, pseudo), 0xffff);
	assert_int_equal(frame[18] << 8 | frame[19], len - 54);
	assert_int_equal(frame[58] << 8 | frame[59], len - 54);
	assert_true(frame[12] == 0x86 && frame[13] == 0xdd && frame[14] == 0x60 && frame[20] == 17);
}

static void make_v6(uint32_t len)
{
	memset(&o, 0, sizeof(o));
	o.len = len;
	o.v6 = true;
	o.src.ip[0] = o.src.ip[1] = (gen_ip)0xfd00 << 112 | 1;
	o.dst.ip[0] = (gen_ip)0xfd00 << 112 | UINT64_MAX;
	o.dst.ip[1] = o.dst.ip[0] + 1;
	packet_init(&p, &o, mac);
}

static void test_frames_v6(void **state)
{
	static const uint32_t lens[] = {62, 80, 81, 128, 1514, 65535};

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		make_v6(lens[i]);
		for (int n = 0; n < 6; n++) {
			assert_sums_v6(p.bytes, p.len);
			/* The range carries into the upper half. */
			assert_int_equal(p.bytes[45], n % 2);
			assert_int_equal(p.bytes[53], n % 2 ? 0 : 0xff);
			packet_next(&p);
		}
	}
}

static void test_stamp_v6(void **state)
{
	struct packet_info info = {.kind = STAMP_PING, .stream = 3, .seq = 77, .time = 5}, got;

	(void)state;
	for (uint32_t len = 80; len < 300; len += 7) {
		make_v6(len);
		assert_int_equal(packet_read(p.bytes, p.len, NULL, &got), PACKET_OTHER);
		packet_stamp(p.bytes, p.len, &info);
		assert_sums_v6(p.bytes, p.len);
		assert_int_equal(packet_read(p.bytes, p.len, NULL, &got), PACKET_GOOD);
		assert_true(got.kind == STAMP_PING && got.seq == 77 && got.time == 5);
		packet_turn(p.bytes, p.len, &got);
		assert_sums_v6(p.bytes, p.len);
		assert_int_equal(packet_read(p.bytes, p.len, NULL, &got), PACKET_GOOD);
		assert_true(got.kind == STAMP_PONG && p.bytes[53] == 1);
		p.bytes[len - 1] ^= 1;
		assert_int_equal(packet_read(p.bytes, p.len, NULL, &got), PACKET_CORRUPT);
	}
	make_v6(80);
	packet_stamp(p.bytes, p.len, &info);
	assert_int_equal(packet_read(p.bytes, 79, NULL, &got), PACKET_OTHER);
}

static void test_lengths(void **state)
{
	(void)state;
	make(1514);
	for (uint32_t len = 60; len < 1514; len += 11) {
		packet_set_len(&p, len);
		assert_int_equal(p.len, len);
		assert_sums(p.bytes, len);
	}
	make_v6(1514);
	packet_set_len(&p, 100);
	assert_sums_v6(p.bytes, 100);
}

static void test_random(void **state)
{
	uint32_t seen[2] = {0, 0}, others = 0, last = 0;

	(void)state;
	make(60);
	o.src.random = o.dst.random = true;
	packet_init(&p, &o, mac);
	for (int i = 0; i < 400; i++) {
		packet_next(&p);
		assert_sums(p.bytes, p.len);
		/* A range is kept, anything else is any. */
		assert_in_range(p.bytes[33], 1, 2);
		assert_in_range(p.bytes[37], 254, 255);
		seen[p.bytes[33] - 1]++;
		others += p.bytes[29] != last;
		last = p.bytes[29];
		assert_in_range(packet_random(&p, 7), 0, 6);
	}
	assert_true(seen[0] > 100 && seen[1] > 100 && others > 300);
	make_v6(62);
	o.src.random = true;
	o.src.ip[0] = 0;
	o.src.ip[1] = ~(gen_ip)0;
	packet_init(&p, &o, mac);
	for (int i = 0; i < 50; i++) {
		packet_next(&p);
		assert_sums_v6(p.bytes, p.len);
	}
}

static void stamp(enum stamp_kind kind, uint64_t seq)
{
	struct packet_info info = {.kind = kind, .stream = 3, .seq = seq, .time = 0x123456789abc};

	packet_stamp(p.bytes, p.len, &info);
}

static void test_stamp(void **state)
{
	static const uint32_t lens[] = {60, 63, 64, 68, 132, 1514};
	struct packet_info info;

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		make(lens[i]);
		assert_int_equal(packet_read(p.bytes, p.len, NULL, &info), PACKET_OTHER);
		stamp(STAMP_DATA, 0xff12345678);
		assert_sums(p.bytes, p.len);
		assert_int_equal(packet_read(p.bytes, p.len, NULL, &info), PACKET_GOOD);
		assert_int_equal(info.kind, STAMP_DATA);
		assert_int_equal(info.stream, 3);
		assert_true(info.seq == 0xff12345678);
		assert_true(info.time == 0x123456789abc);
	}
}

/* Any damaged bit is noticed; where the frame is still recognised as ours it counts as corrupt. */
static void test_damage(void **state)
{
	struct packet_info info;
	struct packet_like like;

	(void)state;
	make(128);
	stamp(STAMP_DATA, 77);
	memcpy(like.macs, p.bytes, 12);
	like.len = p.len;
	for (uint32_t bit = 0; bit < p.len * 8; bit++) {
		enum packet_kind kind;

		p.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		kind = packet_read(p.bytes, p.len, &like, &info);
		assert_int_not_equal(kind, PACKET_GOOD);
		if (bit / 8 >= 24)
			assert_int_equal(kind, PACKET_CORRUPT);
		p.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* Cut short, or the end of another packet. */
	assert_int_equal(packet_read(p.bytes, 127, &like, &info), PACKET_CORRUPT);
	assert_int_equal(packet_read(p.bytes, 59, &like, &info), PACKET_OTHER);
	memset(p.bytes + 64, 0, 64);
	assert_int_equal(packet_read(p.bytes, p.len, &like, &info), PACKET_CORRUPT);
}

static void test_torn(void **state)
{
	static uint8_t old[1514];
	struct packet_info info;

	(void)state;
	make(1514);
	stamp(STAMP_DATA, 1);
	memcpy(old, p.bytes, sizeof(old));
	stamp(STAMP_DATA, 2);
	memcpy(p.bytes + 1024, old + 1024, sizeof(old) - 1024);
	assert_int_equal(packet_read(p.bytes, p.len, NULL, &info), PACKET_CORRUPT);
}

static void test_turn(void **state)
{
	struct packet_info info;

	(void)state;
	make(100);
	stamp(STAMP_PING, 5);
	assert_int_equal(packet_read(p.bytes, p.len, NULL, &info), PACKET_GOOD);
	packet_turn(p.bytes, p.len, &info);
	assert_sums(p.bytes, p.len);
	assert_int_equal(packet_read(p.bytes, p.len, NULL, &info), PACKET_GOOD);
	assert_int_equal(info.kind, STAMP_PONG);
	assert_int_equal(info.seq, 5);
	assert_true(info.time == 0x123456789abc);
	assert_memory_equal(p.bytes, mac, 6);
	assert_int_equal(p.bytes[6], 0xff);
	assert_int_equal(p.bytes[33], 1); /* to where it came from: 10.0.0.1 */
	assert_int_equal(p.bytes[30], 10);
	assert_int_equal(p.bytes[34] << 8 | p.bytes[35], 65534);
}

/* ---- check ---------------------------------------------------------------------------- */

static struct check c;

static enum packet_kind give(uint8_t stream, uint64_t seq)
{
	struct packet_info info = {.kind = STAMP_DATA, .stream = stream, .seq = seq};

	packet_stamp(p.bytes, p.len, &info);
	return check_add(&c, STAMP_DATA, p.bytes, p.len, &info);
}

static void test_check(void **state)
{
	struct packet_info info;
	struct check_sums s;
	char text[200];

	(void)state;
	memset(&c, 0, sizeof(c));
	make(60);
	assert_int_equal(check_add(&c, STAMP_DATA, p.bytes, p.len, &info), PACKET_OTHER);
	give(0, 10);
	give(0, 11);
	give(1, 0); /* another stream starts elsewhere */
	give(0, 14);
	give(0, 13);
	give(0, 13);
	stamp(STAMP_DATA, 15);
	p.bytes[50] ^= 1;
	assert_int_equal(check_add(&c, STAMP_DATA, p.bytes, p.len, &info), PACKET_CORRUPT);
	give(0, 17); /* 15 corrupt, 16 lost */
	stamp(STAMP_PONG, 18);
	assert_int_equal(check_add(&c, STAMP_DATA, p.bytes, p.len, &info), PACKET_OTHER);

	check_sum(&c, 0, &s);
	assert_false(check_passed(&s));
	assert_int_equal(s.other, 2);
	check_text(&s, text, sizeof(text));
	assert_string_equal(text, "Check: received 8 lost 2 reordered 1 duplicate 1 corrupt 1");
	/* 7 arrived intact or not, once each; of 20 that were sent, 13 are missing. */
	check_sum(&c, 20, &s);
	assert_int_equal(s.lost, 13);
	check_sum(&c, 3, &s);
	assert_int_equal(s.lost, 2);
	check_free(&c);
}

static void test_check_nothing(void **state)
{
	struct check_sums s;

	(void)state;
	memset(&c, 0, sizeof(c));
	check_sum(&c, 0, &s);
	assert_true(check_passed(&s));
	check_sum(&c, 100, &s);
	assert_int_equal(s.lost, 100);
	assert_false(check_passed(&s));
}

/* ---- pacing --------------------------------------------------------------------------- */

/* Packets that leave in `ns` when every wake-up comes on time, and the wake-ups. */
static uint64_t paced(double rate, uint64_t ns, uint32_t burst, unsigned int *wakes)
{
	uint64_t now = 1000000000, end = now + ns, wake = 0, sent = 0;
	struct pacer pacer;
	uint32_t n;

	pacer_init(&pacer, rate, now);
	*wakes = 0;
	while (now < end) {
		n = pacer_take(&pacer, now, burst, &wake);
		sent += n;
		if (n)
			continue;
		assert_true(wake > now);
		now = wake;
		++*wakes;
	}
	return sent;
}

static void test_pacer(void **state)
{
	static const double rates[] = {1, 10, 999, 12345.678, 100e3, 3e6};
	unsigned int wakes;
	uint64_t sent;

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		for (uint32_t burst = 1; burst <= 512; burst += 511) {
			double want = rates[i] * 10;

			sent = paced(rates[i], 10000000000, burst, &wakes);
			/* The rate does not drift: a wake-up's worth more or less. */
			assert_in_range(
				sent, (uint64_t)(want * 0.99998), (uint64_t)(want * 1.00002) + 1);
			/* No busy waiting. */
			assert_in_range(wakes, 1, 100000);
			assert_true(wakes <= sent + 1);
		}
	}
}

static void test_pacer_late(void **state)
{
	struct pacer pacer;
	uint64_t wake;

	(void)state;
	pacer_init(&pacer, 1e6, 0);
	/* 10 s late: only 2 ms of it are made up for. */
	assert_in_range(pacer_take(&pacer, 10000000000, 1000000, &wake), 2000, 2001);
	assert_int_equal(pacer_take(&pacer, 10000000000, 1000000, &wake), 0);
	pacer_return(&pacer, 7);
	assert_in_range(pacer_take(&pacer, 10000000000, 1000000, &wake), 6, 8);
	pacer_init(&pacer, 0, 0);
	assert_int_equal(pacer_take(&pacer, 0, 512, &wake), 512);
}

/* ---- round trips ---------------------------------------------------------------------- */

static void test_rtt(void **state)
{
	static struct rtt r;
	char text[160];

	(void)state;
	assert_int_equal(rtt_percentile(&r, 99), 0);
	for (uint64_t ns = 1; ns <= 100000; ns++)
		rtt_add(&r, ns);
	assert_int_equal(r.min, 1);
	assert_int_equal(r.max, 100000);
	assert_in_range(rtt_percentile(&r, 50), 50000, 50000 + 50000 / RTT_STEPS);
	assert_in_range(rtt_percentile(&r, 99), 99000, 100000);
	assert_int_equal(rtt_percentile(&r, 100), 100000);
	memset(&r, 0, sizeof(r));
	rtt_add(&r, 5000);
	rtt_add(&r, UINT64_MAX / 2);
	assert_int_equal(rtt_percentile(&r, 100), UINT64_MAX / 2);
	memset(&r, 0, sizeof(r));
	rtt_add(&r, 7);
	rtt_add(&r, 9);
	rtt_text(&r, text, sizeof(text));
	assert_string_equal(text, "rtt min/avg/p50/p99/max = 0.0/0.0/0.0/0.0/0.0 us");
	assert_int_equal(rtt_percentile(&r, 50), 7);
	assert_int_equal(rtt_percentile(&r, 51), 9);
}

static void test_lines(void **state)
{
	struct stats a = {.packets = 1000, .bytes = 60000, .batches = 10};
	struct stats b = {.packets = 3001000, .bytes = 180060000, .batches = 10010};
	struct stats_window window = {.count = 0};
	char text[200];

	(void)state;
	stats_interval(&a, &b, 2000000000, style, text, sizeof(text));
	assert_string_equal(
		text, "1.500 Mpps (3.000 Mpkts 0.720 Gbps in 2000000 usec) 300.00 avg_batch");
	stats_speed(&a, 1000000000, style, text, sizeof(text));
	assert_string_equal(text, "Speed: 0.001000 Mpps Bandwidth: 0.000480 Gbps "
				  "(raw 0.000672 Gbps). Average batch: 100.00 packets");
	stats_speed(&a, 0, style, text, sizeof(text)); /* one packet: no time has passed */
	assert_non_null(strstr(text, "Speed: 0.000000 Mpps"));
	/* Plain numbers, and what a wire adds. */
	stats_interval(&a, &b, 2000000000, (struct stats_style){true, true}, text, sizeof(text));
	assert_string_equal(
		text, "1500000 pps (3000000 pkts 1008000000 bps in 2000000 usec) 300.00 avg_batch");
	stats_speed(&a, 1000000000, (struct stats_style){.raw = true}, text, sizeof(text));
	assert_string_equal(text, "Speed: 1000 pps Bandwidth: 480000 bps (raw 672000 bps). "
				  "Average batch: 100.00 packets");
	for (int i = 0; i < 25; i++)
		window_add(&window, i < 15 ? 7 : i % 2 ? 1e6 : 3e6);
	window_text(&window, style, text, sizeof(text));
	assert_string_equal(text, " [mean 2.000000 stddev 1.000000 Mpps]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_frames_v6),
		cmocka_unit_test(test_stamp_v6),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_stamp),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_turn),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_check_nothing),
		cmocka_unit_test(test_pacer),
		cmocka_unit_test(test_pacer_late),
		cmocka_unit_test(test_rtt),
		cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
