/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets come to the ring of a port that their hash says: any shape, all of a flow in order, also those that wait. */
#include "rss.h"
#include "vale_pair.h"

enum { RINGS = 4, FLOWS = 40, LEN = 60, BOUND_US = NM_FULL_WAIT_MAX_US };

static struct nm_rss_config config;
static struct nm_rss expected;
static uint32_t sent[FLOWS], taken[FLOWS];

static int begin_rss(void **state)
{
	int error = begin(state);

	for (uint32_t i = 0; i < NM_RSS_KEY_LEN; i++)
		config.key[i] = (uint8_t)prng_below(&r, 256);
	for (uint32_t i = 0; i < NM_RSS_TABLE_LEN; i++)
		config.table[i] = (uint8_t)(i % RINGS);
	nm_rss_set(&expected, &config);
	memset(sent, 0, sizeof(sent));
	memset(taken, 0, sizeof(taken));
	return error;
}

static int set_rss(struct app *app, const struct nm_rss_config *c)
{
	int error;

	nm_core_lock(&core);
	error = nm_port_set_rss_locked(app->client.port, c);
	nm_core_unlock(&core);
	return error;
}

/* b has several rings; of a only the first is used. */
static void open_ports(uint32_t slots, uint32_t wait_us)
{
	uint32_t hdr_len = wait_us ? 12 : 0;

	app_open(&core, &a, &(struct app_config){"vale0:a", 2048, 256, 1, hdr_len});
	app_open(&core, &b, &(struct app_config){"vale0:b", 2048, slots, RINGS, hdr_len});
	a.client.port->full_wait_us = b.client.port->full_wait_us = wait_us;
	/* Its station is b's. */
	make_frame(frame, hdr_len + LEN, hdr_len, NM_TEST_BROADCAST, 2, &r);
	assert_true(app_put(&b, 0, frame, hdr_len + LEN, 0));
	app_txsync(&b, 0);
	app_rxsync(&a, 0);
	while (app_take(&a, 0, got, sizeof(got)) >= 0)
		;
	app_rxsync(&a, 0);
	assert_int_equal(set_rss(&b, &config), 0);
}

static void close_ports(void)
{
	struct totals totals = {0};

	totals_add(&totals, &a);
	totals_add(&totals, &b);
	totals_check(&totals, false);
	app_close(&a);
	app_close(&b);
}

/* UDP over IPv4, of a flow: a number of its own for source address and port. Behind its header the packet's number. */
static void make_packet(uint32_t to, uint32_t flow, uint32_t len)
{
	uint32_t hdr = a.hdr_len;
	uint8_t *ip = frame + hdr + 14;
	uint32_t random =
		(flow + 1) *
		2654435761U; /* the hash is linear: with few bits it would not reach each ring */

	make_frame(frame, hdr + len, hdr, to, 1, &r);
	if (hdr)
		memset(frame, 0, hdr);
	memcpy(ip - 2, (uint8_t[]){0x08, 0x00, 0x45, 0x00}, 4);
	memcpy(ip + 6, (uint8_t[]){0x40, 0x00, 0x40, 0x11}, 4);
	memcpy(ip + 12, &random, 4);
	memcpy(ip + 16, (uint8_t[]){10, 0, 0, 200, 0x30, (uint8_t)flow, 0, 53}, 8);
	ip[28] = (uint8_t)flow;
	memcpy(ip + 29, &sent[flow], 2);
}

static uint32_t ring_of(uint32_t flow)
{
	make_packet(2, flow, LEN);
	return nm_rss_ring(&expected, frame + a.hdr_len, LEN);
}

static bool put(uint32_t to, uint32_t flow, uint32_t len, uint32_t frags)
{
	make_packet(to, flow, len);
	if (!app_put(&a, 0, frame, a.hdr_len + len, frags))
		return false;
	sent[flow]++;
	return true;
}

/* Each packet is in the ring of its flow, the next of that. Returns how many there were. */
static uint32_t take(uint32_t ring, uint32_t most)
{
	uint32_t n = 0;

	app_rxsync(&b, ring);
	for (; n < most && app_take(&b, ring, got, sizeof(got)) >= 0; n++) {
		const uint8_t *ip = got + b.hdr_len + 14;
		uint32_t flow = ip[28];
		uint16_t number;

		assert_in_range(flow, 0, FLOWS - 1);
		memcpy(&number, ip + 29, 2);
		assert_int_equal(number, taken[flow]);
		taken[flow]++;
		assert_int_equal(ring_of(flow), ring);
	}
	app_rxsync(&b, ring);
	return n;
}

static uint32_t take_all(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < RINGS; i++)
		n += take(i, UINT32_MAX);
	return n;
}

static void flows_come_to_their_rings(void **state)
{
	uint32_t used = 0;

	open_ports(256, 0);
	for (uint32_t round = 0; round < 100; round++) {
		uint32_t n = 1 + prng_below(&r, 30);

		for (uint32_t i = 0; i < n; i++) {
			uint32_t flow = prng_below(&r, FLOWS), len = prng_range(&r, LEN, 5000);

			used |= 1U << ring_of(flow);
			assert_true(put(prng_chance(&r, 20) ? NM_TEST_BROADCAST : 2, flow, len,
				prng_chance(&r, 50) ? 0 : prng_range(&r, 4, 8)));
		}
		app_txsync(&a, 0);
		assert_int_equal(take_all(), n);
	}
	assert_int_equal(used, (1U << RINGS) - 1);
	close_ports();
}

/* One that is in pieces of a byte has the same hash. */
static void tiny_fragments(void **state)
{
	open_ports(64, 0);
	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		assert_true(put(2, flow, LEN, LEN));
		app_txsync(&a, 0);
		assert_int_equal(take(ring_of(flow), 1), 1);
	}
	close_ports();
}

/* Tables that name no ring are refused, and what was there stays; NULL is as before: by the sender's ring. */
static void tables(void **state)
{
	struct nm_rss_config bad = config;

	open_ports(64, 0);
	for (uint32_t i = 0; i < NM_RSS_TABLE_LEN; i++) {
		bad.table[i] = RINGS;
		assert_int_equal(set_rss(&b, &bad), -EINVAL);
		bad.table[i] = 255;
		assert_int_equal(set_rss(&b, &bad), -EINVAL);
		bad.table[i] = config.table[i];
	}
	for (uint32_t flow = 0; flow < FLOWS; flow++)
		assert_true(put(2, flow, LEN, 0));
	app_txsync(&a, 0);
	assert_int_equal(take_all(), FLOWS);
	memset(bad.table, 3, sizeof(bad.table));
	assert_int_equal(set_rss(&b, &bad), 0);
	nm_rss_set(&expected, &bad);
	for (uint32_t flow = 0; flow < FLOWS; flow++)
		assert_true(put(2, flow, LEN, 0));
	app_txsync(&a, 0);
	assert_int_equal(take(3, UINT32_MAX), FLOWS);
	assert_int_equal(set_rss(&b, NULL), 0);
	memset(bad.table, 0, sizeof(bad.table));
	nm_rss_set(&expected, &bad);
	for (uint32_t flow = 0; flow < FLOWS; flow++)
		assert_true(put(2, flow, LEN, 0));
	app_txsync(&a, 0);
	assert_int_equal(take(0, UINT32_MAX), FLOWS);
	/* The memory is a port's for good. */
	assert_int_equal(set_rss(&b, &config), 0);
	fail_allocation(1);
	assert_int_equal(set_rss(&b, &config), 0);
	assert_int_equal(set_rss(&b, &bad), 0);
	assert_int_equal(set_rss(&a, &bad), -ENOMEM);
	fail_allocation(0);
	close_ports();
}

/* Pipes, and whatever has no choice. */
static void kinds_without(void **state)
{
	struct app pipe;

	app_open(&core, &pipe, &(struct app_config){.name = "valex{1", .buf_size = 2048});
	assert_int_equal(set_rss(&pipe, &config), -EOPNOTSUPP);
	assert_int_equal(set_rss(&pipe, NULL), 0);
	app_close(&pipe);
}

static void sync(void)
{
	struct nm_ring *ring = app_private(&a, NM_TX, 0);

	do
		app_txsync(&a, 0);
	while (ring->port->ops->can_send(ring));
}

/* Stacks: rings of 16 that are read seldom, and not all at a time. */
static void nothing_is_lost_when_packets_wait(void **state)
{
	uint32_t all = 0, came = 0;

	open_ports(16, BOUND_US);
	for (uint32_t round = 0; round < 300; round++) {
		while (put(2, prng_below(&r, FLOWS), LEN, 0))
			all++;
		sync();
		came += take(prng_below(&r, RINGS), 1 + prng_below(&r, 20));
	}
	assert_true(tx()->waits > 100);
	sync();
	while (came < all) {
		uint32_t n = take_all();

		came += n;
		sync();
		assert_true(n > 0 || came == all);
	}
	assert_int_equal(tx()->drops[NM_DROP_RX_FULL], 0);
	assert_int_equal(tx()->expired, 0);
	close_ports();
}

/* A ring that nobody reads costs its flows, after the bound; the others of the port lose nothing. */
static void a_ring_that_hangs(void **state)
{
	uint32_t hangs = ring_of(0), lives = 1, before;

	open_ports(16, BOUND_US);
	hangs = ring_of(0);
	while (ring_of(lives) == hangs)
		lives++;
	for (uint32_t i = 0; i < 20; i++)
		assert_true(put(2, 0, LEN, 0));
	for (uint32_t i = 0; i < 10; i++)
		assert_true(put(2, lives, LEN, 0));
	sync();
	assert_int_equal(tx()->waits, 20 - 15);
	assert_int_equal(take(ring_of(lives), UINT32_MAX), 10);
	/* Behind those that wait, too. */
	for (uint32_t i = 0; i < 10; i++)
		assert_true(put(2, lives, LEN, 0));
	sync();
	assert_int_equal(take(ring_of(lives), UINT32_MAX), 10);
	assert_int_equal(tx()->waits, 20 - 15 + 10);
	advance_clock(BOUND_US / 1000000 + 1);
	sync();
	assert_int_equal(tx()->drops[NM_DROP_RX_FULL], 20 - 15);
	assert_int_equal(tx()->expired, 1);
	before = tx()->waits;
	for (uint32_t i = 0; i < 10; i++) {
		make_packet(2, 0, LEN);
		assert_true(app_put(&a, 0, frame, a.hdr_len + LEN, 0));
		assert_true(put(2, lives, LEN, 0));
	}
	sync();
	assert_int_equal(take(ring_of(lives), UINT32_MAX), 10);
	assert_int_equal(tx()->waits, before);
	close_ports();
}

/* Nor do those that are full at that moment, but were read in time: their packets wait on. */
static void a_ring_hangs_one_is_full(void **state)
{
	uint32_t hangs, lives = 1;

	open_ports(16, BOUND_US);
	hangs = ring_of(0);
	while (ring_of(lives) == hangs)
		lives++;
	for (uint32_t i = 0; i < 16; i++)
		assert_true(put(2, 0, LEN, 0));
	for (uint32_t i = 0; i < 10; i++)
		assert_true(put(2, lives, LEN, 0));
	sync();
	advance_clock(BOUND_US / 1000000);
	assert_int_equal(take(ring_of(lives), UINT32_MAX), 10);
	for (uint32_t i = 0; i < 20; i++)
		assert_true(put(2, lives, LEN, 0));
	sync();
	advance_clock(1);
	sync();
	assert_int_equal(tx()->expired, 1);
	sync();
	assert_int_equal(tx()->drops[NM_DROP_RX_FULL], 1);
	assert_int_equal(take(ring_of(lives), UINT32_MAX), 15);
	sync();
	assert_int_equal(take(ring_of(lives), UINT32_MAX), 5);
	assert_int_equal(tx()->drops[NM_DROP_RX_FULL], 1);
	close_ports();
}

/* Whatever its rings: a receiver that takes nothing costs its sender the time once. */
static void all_rings_hang(void **state)
{
	uint32_t n = 0, waits;

	open_ports(16, BOUND_US);
	for (uint32_t flow = 0; flow < FLOWS; flow++)
		for (uint32_t i = 0; i < 17 && ring_of(flow) == ring_of(0); i++, n++)
			put(2, flow, LEN, 0);
	sync();
	assert_true(tx()->waits > 0);
	advance_clock(BOUND_US / 1000000 + 1);
	sync();
	waits = (uint32_t)tx()->waits;
	assert_int_equal(tx()->drops[NM_DROP_RX_FULL], n - 15);
	/* The other rings: full at once, and nothing waits. */
	for (uint32_t flow = 0; flow < FLOWS; flow++)
		for (uint32_t i = 0; i < 4 && ring_of(flow) != ring_of(0); i++)
			put(2, flow, LEN, 0);
	sync();
	assert_true(tx()->drops[NM_DROP_RX_FULL] > n);
	assert_int_equal(tx()->waits, waits);
	close_ports();
}

/* What waits goes where a new table says. */
static void another_table(void **state)
{
	struct nm_rss_config moved = config;

	open_ports(16, BOUND_US);
	for (uint32_t i = 0; i < 20; i++)
		assert_true(put(2, 0, LEN, 0));
	sync();
	assert_int_equal(tx()->waits, 20 - 15);
	memset(moved.table, (int)((ring_of(0) + 1) % RINGS), sizeof(moved.table));
	assert_int_equal(take(ring_of(0), 0), 0);
	assert_int_equal(set_rss(&b, &moved), 0);
	assert_true(app_private(&a, NM_TX, 0)->port->ops->can_send(app_private(&a, NM_TX, 0)));
	sync();
	assert_int_equal(take(ring_of(0), UINT32_MAX), 15);
	nm_rss_set(&expected, &moved);
	assert_int_equal(take(ring_of(0), UINT32_MAX), 20 - 15);
	close_ports();
}

static void sync_of(struct app *app)
{
	struct nm_ring *ring = app_private(app, NM_TX, 0);

	do
		app_txsync(app, 0);
	while (ring->port->ops->can_send(ring));
}

/* Two senders, two flows each in turn, for two rings that are full: when there is room it is used, by both. */
static void two_senders(void **state)
{
	static struct app c;
	struct app *senders[2] = {&a, &c};
	uint32_t flows[2] = {0, 1}, of_sender[2] = {0}, came = 0;
	struct totals totals = {0};

	open_ports(16, BOUND_US);
	app_open(&core, &c, &(struct app_config){"vale0:c", 2048, 256, 1, 12});
	c.client.port->full_wait_us = BOUND_US;
	while (ring_of(flows[1]) == ring_of(flows[0]))
		flows[1]++;
	for (uint32_t i = 0; i < 400; i++) {
		struct app *from = senders[i / 2 % 2];

		make_packet(2, flows[i % 2], LEN);
		frame[12 + 14 + 28] = 0xff; /* of no flow that is looked at */
		frame[12 + 14 + 29] = (uint8_t)(i / 2 % 2);
		assert_true(app_put(from, 0, frame, from->hdr_len + LEN, 0));
	}
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t s = 0; s < 8; s++)
			sync_of(senders[s % 2]);
		for (uint32_t k = 0; k < 2; k++) {
			app_rxsync(&b, ring_of(flows[k]));
			while (app_take(&b, ring_of(flows[k]), got, sizeof(got)) >= 0) {
				of_sender[got[12 + 14 + 29]]++;
				came++;
			}
			app_rxsync(&b, ring_of(flows[k]));
		}
		assert_true(came >= (round + 1) * 24 || came == 400); /* of 30 */
	}
	assert_int_equal(came, 400);
	assert_int_equal(of_sender[0], 200);
	assert_int_equal(of_sender[1], 200);
	assert_int_equal(tx()->drops[NM_DROP_RX_FULL], 0);
	totals_add(&totals, &c);
	totals_add(&totals, &a);
	totals_add(&totals, &b);
	totals_check(&totals, false);
	app_close(&c);
	app_close(&a);
	app_close(&b);
}

static uint64_t refused_at(uint32_t ring)
{
	return app_private(&b, NM_RX, ring)->stats.drops[NM_DROP_RX_FULL];
}

/* Behind a packet that is none others can't wait: each counts at the ring that it is for, none at the sender's. */
static void refused_at_their_rings(void **state)
{
	uint32_t full = 0, other = 0;

	open_ports(16, BOUND_US);
	while (ring_of(full) == 0)
		full++;
	while (ring_of(other) == 0 || ring_of(other) == ring_of(full))
		other++;
	for (uint32_t i = 0; i < 15; i++)
		assert_true(put(2, other, LEN, 0));
	sync();
	assert_true(app_put(&a, 0, frame, a.hdr_len + 4, 0));
	for (uint32_t i = 0; i < 17; i++)
		assert_true(put(2, full, LEN, 0));
	for (uint32_t i = 0; i < 10; i++)
		assert_true(put(2, i % 2 ? full : other, LEN, 0));
	for (uint32_t i = 0; i < 3; i++)
		assert_true(put(2, other, LEN, 0));
	sync();
	assert_int_equal(tx()->waits, 0);
	assert_int_equal(tx()->drops[NM_DROP_TOO_SHORT], 1);
	assert_int_equal(tx()->drops[NM_DROP_RX_FULL], 17 - 15 + 10 + 3);
	assert_int_equal(refused_at(ring_of(full)), 17 - 15 + 5);
	assert_int_equal(refused_at(ring_of(other)), 5 + 3);
	assert_int_equal(refused_at(0), 0);
	assert_int_equal(take(ring_of(full), UINT32_MAX), 15);
	close_ports();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(flows_come_to_their_rings, begin_rss, end),
		cmocka_unit_test_setup_teardown(tiny_fragments, begin_rss, end),
		cmocka_unit_test_setup_teardown(tables, begin_rss, end),
		cmocka_unit_test_setup_teardown(kinds_without, begin_rss, end),
		cmocka_unit_test_setup_teardown(nothing_is_lost_when_packets_wait, begin_rss, end),
		cmocka_unit_test_setup_teardown(a_ring_that_hangs, begin_rss, end),
		cmocka_unit_test_setup_teardown(a_ring_hangs_one_is_full, begin_rss, end),
		cmocka_unit_test_setup_teardown(all_rings_hang, begin_rss, end),
		cmocka_unit_test_setup_teardown(another_table, begin_rss, end),
		cmocka_unit_test_setup_teardown(two_senders, begin_rss, end),
		cmocka_unit_test_setup_teardown(refused_at_their_rings, begin_rss, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
