/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Monitors: what they show is what has passed, whole packets in their order; and the port that is
 * watched doesn't notice them. See also test_monitor_load.c.
 */
#include "monitor_apps.h"

/* ---- copies -------------------------------------------------------------------------------- */

static void copies_of_both_directions(void **state)
{
	struct app a, b, tx, rx, both, late;
	struct prng r = prng_new(1);
	uint8_t frame[MOST];

	open_app(&a, "vale0:a", 0, 0);
	open_app(&b, "vale0:b", 0, 0);
	open_app(&tx, "vale0:a", NR_MONITOR_TX, 0);
	open_app(&rx, "vale0:a", NR_MONITOR_RX, 0);
	open_app(&both, "vale0:a", NR_MONITOR_TX | NR_MONITOR_RX, 0);
	assert_string_equal(tx.client.port->ops->kind, "monitor");
	assert_int_equal(tx.client.count[NM_RX], 1);
	assert_int_equal(tx.client.count[NM_TX], 1);
	assert_ptr_not_equal(tx.client.port->region, a.client.port->region);
	for (int i = 0; i < 300; i++) {
		uint32_t len = prng_range(&r, 14, MOST), frags = prng_range(&r, 2, 6);
		bool first;

		frame_to(frame, len, NM_TEST_BROADCAST, 1, &r);
		if (prng_chance(&r, 50)) {
			send_one(&a, frame, len, frags);
			expect(&tx, frame, (int)len, NS_TXMON);
			expect(&both, frame, (int)len, NS_TXMON);
			expect_none(&rx);
			expect(&b, frame, (int)len, 0);
		} else {
			send_one(&b, frame, len, frags);
			first = prng_chance(&r, 50); /* before a is told of it */
			if (first)
				expect(&rx, frame, (int)len, 0);
			expect(&a, frame, (int)len, 0);
			if (!first)
				expect(&rx, frame, (int)len, 0);
			expect(&both, frame, (int)len, 0);
			expect_none(&tx);
		}
	}
	assert_int_equal(accounted(&tx), stats(&a, NM_TX)->packets);
	assert_int_equal(accounted(&rx), stats(&a, NM_RX)->packets);
	assert_int_equal(accounted(&both), stats(&a, NM_RX)->packets + stats(&a, NM_TX)->packets);
	open_app(&late, "vale0:a", NR_MONITOR_TX, 0); /* sees what comes, not what was */
	expect_none(&late);
	frame_to(frame, FRAME, NM_TEST_BROADCAST, 1, &r);
	send_one(&a, frame, FRAME, 1);
	expect(&late, frame, FRAME, NS_TXMON);
	assert_int_equal(accounted(&late), 1);
	app_close(&late);
	app_close(&tx);
	app_close(&a);
	app_close(&rx);
	app_close(&both);
	app_close(&b);
}

/* Who owns the watched port never looks, or does so in between: a monitor of its rx ring has each packet, once, in
 * order, as it comes; so has the owner. Of a switch port, and of a pipe end that nobody has opened. */
static void packets_are_seen_when_they_come(void **state)
{
	struct app a, b, rx, again;
	struct prng r = prng_new(11);
	uint8_t frames[32][FRAME];

	open_app(&a, "vale0:a", 0, 0);
	open_app(&b, "vale0:b", 0, 0);
	open_app(&rx, "vale0:a", NR_MONITOR_RX, 0);
	open_app(&again, "vale0:a", NR_MONITOR_RX, 0);
	for (int round = 0; round < 300; round++) {
		uint32_t n = prng_range(&r, 1, 32), seen = 0, told = 0;

		for (uint32_t i = 0; i < n; i++) {
			frame_to(frames[i], FRAME, NM_TEST_BROADCAST, 1, &r);
			send_one(&b, frames[i], FRAME, 1);
			if (prng_chance(&r, 30))
				for (; seen <= i; seen++)
					expect(&rx, frames[seen], FRAME, 0);
			if (prng_chance(&r, 20))
				for (; told <= i; told++)
					expect(&a, frames[told], FRAME, 0);
		}
		for (; seen < n; seen++)
			expect(&rx, frames[seen], FRAME, 0);
		expect_none(&rx);
		for (; told < n; told++)
			expect(&a, frames[told], FRAME, 0);
		for (uint32_t i = 0; i < n; i++)
			expect(&again, frames[i], FRAME, 0);
		expect_none(&again);
	}
	assert_int_equal(accounted(&rx), stats(&a, NM_RX)->packets);
	assert_int_equal(accounted(&again), stats(&a, NM_RX)->packets);
	app_close(&rx);
	app_close(&again);
	app_close(&b);
	app_close(&a);
	open_app(&a, "p{1", 0, 0);
	open_app(&rx, "p}1", NR_MONITOR_RX, 0);
	frame_to(frames[0], FRAME, NM_TEST_BROADCAST, 1, &r);
	send_one(&a, frames[0], FRAME, 1);
	expect(&rx, frames[0], FRAME, 0);
	expect_none(&rx);
	app_close(&a); /* the ring loses its memory */
	expect_none(&rx);
	open_app(&a, "p{1", 0, 0);
	send_one(&a, frames[0], FRAME, 1);
	expect(&rx, frames[0], FRAME, 0);
	app_close(&a);
	app_close(&rx);
}

/* Buffers of another size: the packet is laid out anew. */
static void other_buffer_sizes(void **state)
{
	static const uint32_t sizes[] = {64, 128, 512, 65536};
	struct prng r = prng_new(2);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct app a, b, mon;
		uint8_t frame[8192];

		app_open(&core, &a,
			&(struct app_config){.name = "vale0:a", .buf_size = 2048, .slots = 256});
		app_open(&core, &b,
			&(struct app_config){.name = "vale0:b", .buf_size = 2048, .slots = 256});
		app_open(&core, &mon,
			&(struct app_config){.name = "vale0:a",
				.flags = NR_MONITOR_TX,
				.buf_size = sizes[i],
				.slots = 256});
		for (int n = 0; n < 100; n++) {
			uint32_t len = prng_range(&r, 14, MOST);

			frame_to(frame, len, NM_TEST_BROADCAST, 1, &r);
			send_one(&a, frame, len, 0);
			expect(&mon, frame, (int)len, NS_TXMON);
		}
		frame_to(frame, 8192, NM_TEST_BROADCAST, 1, &r);
		send_one(&a, frame, 8192, 0);
		if (sizes[i] == 64) { /* 128 slots */
			expect_none(&mon);
			assert_int_equal(stats(&mon, NM_RX)->drops[NM_DROP_FRAGMENTS], 1);
		} else {
			assert_int_equal(stats(&mon, NM_RX)->packets, 101);
		}
		app_close(&mon);
		app_close(&b);
		app_close(&a);
	}
}

/* A packet is shown when its last slot is released; the port takes it no earlier either. */
static void unfinished_packets_wait(void **state)
{
	struct prng r = prng_new(3);
	struct app a, b, mon;
	uint8_t frame[FRAME];
	struct netmap_ring *ring;

	open_app(&a, "vale0:a", 0, 0);
	open_app(&b, "vale0:b", 0, 0);
	open_app(&mon, "vale0:a", NR_MONITOR_TX, 0);
	ring = app_ring(&a, NM_TX, 0);
	for (int n = 0; n < 60; n++) {
		frame_to(frame, FRAME, NM_TEST_BROADCAST, 1, &r);
		for (uint32_t part = 0; part < 4; part++) {
			uint32_t index = ring->slot[ring->head].buf_idx;

			memcpy(app_buf(ring, index), frame + part * 50, 50);
			expect_none(&mon);
			assert_true(app_put_slot(&a, 0, index, 50, part < 3 ? NS_MOREFRAG : 0));
			app_txsync(&a, 0);
		}
		expect(&mon, frame, FRAME, NS_TXMON);
		expect(&b, frame, FRAME, 0);
	}
	/* One that comes in the middle of a packet begins with the next. */
	for (int n = 0; n < 2; n++) {
		struct app late;

		app_put_slot(&a, 0, ring->slot[ring->head].buf_idx, 50, NS_MOREFRAG);
		app_txsync(&a, 0);
		open_app(&late, "vale0:a", NR_MONITOR_TX, 0);
		app_put_slot(&a, 0, ring->slot[ring->head].buf_idx, 50, 0);
		app_txsync(&a, 0);
		expect_none(&late);
		assert_int_equal(accounted(&late), 0);
		frame_to(frame, FRAME, NM_TEST_BROADCAST, 1, &r);
		send_one(&a, frame, FRAME, 2);
		expect(&late, frame, FRAME, NS_TXMON);
		app_close(&late);
	}
	app_close(&mon);
	app_close(&b);
	app_close(&a);
}

/* Up to 64 slots are a packet; more are one drop, at the port and at its monitor. */
static void fragments(void **state)
{
	static const uint32_t counts[] = {1, 2, 63, 64, 65, 66, 128, 200, 254};
	struct prng r = prng_new(4);
	uint8_t frame[MOST];
	struct app a, b, mon;
	uint64_t sent = 0;

	open_app(&a, "vale0:a", 0, 256);
	open_app(&b, "vale0:b", 0, 256);
	open_app(&mon, "vale0:a", NR_MONITOR_TX, 256);
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
			frame_to(frame, 1500, NM_TEST_BROADCAST, 1, &r);
			send_one(&a, frame, 1500, counts[i]);
			sent++;
			if (counts[i] <= NETMAP_MAX_FRAGS)
				expect(&mon, frame, 1500, NS_TXMON);
			expect_none(&mon);
			assert_int_equal(accounted(&mon), sent);
			assert_int_equal(stats(&a, NM_TX)->packets, sent);
			app_rxsync(&b, 0);
			while (app_take(&b, 0, frame, sizeof(frame)) >= 0)
				;
		}
	}
	assert_int_equal(stats(&mon, NM_RX)->drops[NM_DROP_FRAGMENTS],
		stats(&a, NM_TX)->drops[NM_DROP_FRAGMENTS]);
	app_close(&mon);
	app_close(&b);
	app_close(&a);
}

/* ---- zero copy ----------------------------------------------------------------------------- */

/* Both directions of a switch port; the monitor has the very buffers. */
static void zero_copy(void **state)
{
	struct nm_region *region = make_region(&core, 1200, 2048, 256);
	struct app a, b, mon, copy;
	struct prng r = prng_new(5);
	uint8_t frame[MOST];
	uint64_t passed = 0;

	open_in(&a, region, "vale0:a", 0, 32);
	open_app(&b, "vale0:b", 0, 64);
	open_in(&mon, region, "vale0:a", NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON, 64);
	open_app(&copy, "vale0:a", NR_MONITOR_TX | NR_MONITOR_RX, 64);
	assert_ptr_equal(mon.client.port->region, region);
	assert_int_equal(
		try_bind("vale0:a", NR_REG_ALL_NIC, NR_MONITOR_RX | NR_ZCOPY_MON, 0), -EBUSY);
	for (int i = 0; i < 500; i++) {
		uint32_t len = prng_range(&r, 14, MOST), frags = prng_range(&r, 2, 6);
		struct netmap_ring *tx = app_ring(&a, NM_TX, 0), *shown = app_ring(&mon, NM_RX, 0);
		uint32_t index = tx->slot[tx->head].buf_idx;

		frame_to(frame, len, NM_TEST_BROADCAST, 1, &r);
		if (prng_chance(&r, 50)) {
			send_one(&a, frame, len, frags);
			app_rxsync(&mon, 0);
			assert_int_equal(shown->slot[shown->head].buf_idx, index);
			expect(&mon, frame, (int)len, NS_TXMON);
			expect(&copy, frame, (int)len, NS_TXMON);
			expect(&b, frame, (int)len, 0);
		} else {
			send_one(&b, frame, len, frags);
			expect(&a, frame, (int)len, 0);
			expect(&copy, frame, (int)len, 0);
			expect_none(&mon); /* a has not given it back */
			app_rxsync(&a, 0);
			expect(&mon, frame, (int)len, 0);
		}
		passed++;
		check_distinct((struct app *const[]){&a, &mon}, 2);
	}
	assert_int_equal(accounted(&mon), passed);
	assert_int_equal(accounted(&copy), passed);
	app_close(&a); /* buffers have wandered: each is freed with its owner all the same */
	region_check(region);
	app_close(&mon);
	assert_int_equal(try_bind("vale0:b", NR_REG_ALL_NIC, NR_MONITOR_RX | NR_ZCOPY_MON, 0), 0);
	app_close(&copy);
	app_close(&b);
	region_check(region);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF),
		region->pool[NM_POOL_BUF].count - NM_BUFS_RESERVED);
	nm_region_put(region);
}

/* Given back in the middle of a packet: it can't be shown whole. */
static void half_a_packet_given_back(void **state)
{
	struct nm_region *region = make_region(&core, 1200, 2048, 256);
	struct netmap_ring *ring;
	struct app a, b, mon;
	struct prng r = prng_new(6);
	uint8_t frame[FRAME];

	open_in(&a, region, "vale0:a", 0, 32);
	open_app(&b, "vale0:b", 0, 64);
	open_in(&mon, region, "vale0:a", NR_MONITOR_RX | NR_ZCOPY_MON, 64);
	ring = app_ring(&a, NM_RX, 0);
	frame_to(frame, FRAME, NM_TEST_BROADCAST, 1, &r);
	send_one(&b, frame, FRAME, 4);
	app_rxsync(&a, 0);
	assert_int_equal(app_avail(ring), 1); /* the switch lays it out anew */
	ring->slot[ring->head].flags |= NS_MOREFRAG;
	ring->head = ring->cur = ring->head + 1;
	app_rxsync(&a, 0);
	expect_none(&mon);
	assert_int_equal(stats(&mon, NM_RX)->drops[NM_DROP_MISSED], 1);
	send_one(&b, frame, FRAME, 1); /* the rest of it */
	app_rxsync(&a, 0);
	ring->head = ring->cur = ring->head + 1;
	app_rxsync(&a, 0);
	expect_none(&mon);
	send_one(&b, frame, FRAME, 1);
	app_rxsync(&a, 0);
	ring->head = ring->cur = ring->head + 1;
	app_rxsync(&a, 0);
	expect(&mon, frame, FRAME, 0);
	assert_int_equal(accounted(&mon), 2);
	app_close(&a);
	app_close(&b);
	app_close(&mon);
	nm_region_put(region);
}

/* What a pipe end sends is with the other end; there it is shown when it is given back. */
static void zero_copy_of_a_pipe(void **state)
{
	struct nm_region *region = make_region(&core, 2000, 2048, 256);
	struct app m, s, mon, other;
	struct prng r = prng_new(7);
	uint8_t frame[FRAME];
	uint64_t passed = 0;

	open_in(&m, region, "x{1", 0, 32);
	open_in(&s, region, "x}1", 0, 32);
	open_in(&mon, region, "x{1", NR_MONITOR_TX | NR_ZCOPY_MON, 64);
	open_in(&other, region, "x}1", NR_MONITOR_TX | NR_ZCOPY_MON, 64);
	assert_int_equal(try_bind("x}1", NR_REG_ALL_NIC, NR_MONITOR_RX | NR_ZCOPY_MON, 0), -EBUSY);
	for (int i = 0; i < 300; i++) {
		prng_fill(&r, frame, FRAME);
		send_one(&m, frame, FRAME, prng_range(&r, 1, 4));
		expect_none(&mon);
		expect(&s, frame, FRAME, 0);
		expect_none(&mon);
		app_rxsync(&s, 0);
		expect(&mon, frame, FRAME, NS_TXMON);
		expect_none(&other);
		passed++;
		check_distinct((struct app *const[]){&m, &s, &mon, &other}, 4);
	}
	assert_int_equal(accounted(&mon), passed);
	assert_int_equal(accounted(&other), 0);
	app_close(&m); /* its monitor keeps it */
	app_close(&s);
	app_close(&other);
	app_close(&mon);
	region_check(region);
	nm_region_put(region);
}

static void copies_of_a_pipe(void **state)
{
	struct app m, s, tx, rx;
	struct prng r = prng_new(8);
	uint8_t frame[FRAME];
	uint64_t sent = 0;

	open_app(&m, "y{1", 0, 8);
	open_app(&s, "y}1", 0, 8);
	open_app(&tx, "y{1", NR_MONITOR_TX, 4096);
	open_app(&rx, "y}1", NR_MONITOR_RX, 4096);
	for (int i = 0; i < 1000; i++) { /* the pipe blocks now and then */
		prng_fill(&r, frame, FRAME);
		memcpy(frame, &i, sizeof(i));
		if (app_put(&m, 0, frame, FRAME, prng_range(&r, 1, 3)))
			sent++;
		app_txsync(&m, 0);
		if (prng_chance(&r, 40)) {
			app_rxsync(&s, 0);
			while (app_take(&s, 0, frame, sizeof(frame)) >= 0)
				;
		}
	}
	app_rxsync(&s, 0);
	assert_int_equal(accounted(&tx), sent);
	assert_int_equal(accounted(&rx), stats(&s, NM_RX)->packets);
	assert_int_equal(stats(&tx, NM_RX)->drops[NM_DROP_MISSED], 0);
	app_close(&s);
	app_close(&m);
	app_close(&tx);
	app_close(&rx);
}

/* ---- offsets and headers ----------------------------------------------------------------------- */

static void open_with_offsets(struct app *app, struct nm_region *region, const char *name,
	uint64_t flags, const struct nm_offsets *offsets)
{
	struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC, .flags = flags, .num_slots = {32, 32}, .offsets = offsets};

	*app = (struct app){.slots = 32, .rings = 1};
	nm_client_init(&app->client, &core);
	app->client.own_region = region;
	if (nm_client_bind(&app->client, name, &bind))
		fail_msg("%s: %s", name, app->client.err.text);
	app->nifp = (void *)(app->client.port->region->base + app->client.nifp_offset);
	app->buf_size = app_ring(app, NM_TX, 0)->nr_buf_size;
}

static void offsets(void **state)
{
	static const struct nm_offsets wide = {.max = 1000, .initial = 100, .bits = 16},
				       narrow = {.max = 64, .initial = 64, .bits = 8};
	struct nm_region *region = make_region(&core, 1000, 2048, 256);
	struct app a, b, copy, zcopy;
	struct prng r = prng_new(12);
	uint8_t frame[FRAME];

	open_with_offsets(&a, region, "vale0:a", 0, &wide);
	open_app(&b, "vale0:b", 0, 64);
	open_with_offsets(&copy, NULL, "vale0:a", NR_MONITOR_TX, &narrow);
	open_with_offsets(&zcopy, region, "vale0:a", NR_MONITOR_TX | NR_ZCOPY_MON, &wide);
	for (uint32_t i = 0; i < 200; i++) {
		struct netmap_ring *tx = app_ring(&a, NM_TX, 0);
		struct netmap_slot *slot = &tx->slot[tx->head];
		struct netmap_ring *ring;
		uint32_t at = prng_below(&r, 1001);

		frame_to(frame, FRAME, NM_TEST_BROADCAST, 1, &r);
		memcpy(app_buf(tx, slot->buf_idx) + at, frame, FRAME);
		slot->ptr = at | 0xabcd0000; /* the other bits are the application's */
		app_put_slot(&a, 0, slot->buf_idx, FRAME, 0);
		app_txsync(&a, 0);
		expect(&b, frame, FRAME, 0);
		app_rxsync(&copy, 0);
		ring = app_ring(&copy, NM_RX, 0);
		slot = &ring->slot[ring->head];
		assert_int_equal(slot->ptr & ring->offset_mask, 64);
		assert_memory_equal(app_buf(ring, slot->buf_idx) + 64, frame, FRAME);
		app_rxsync(&zcopy, 0);
		ring = app_ring(&zcopy, NM_RX, 0);
		slot = &ring->slot[ring->head];
		assert_int_equal(slot->ptr & ring->offset_mask, at);
		assert_memory_equal(app_buf(ring, slot->buf_idx) + at, frame, FRAME);
		ring->head = ring->cur = ring->tail;
		ring = app_ring(&copy, NM_RX, 0);
		ring->head = ring->cur = ring->tail;
	}
	/* Beyond the buffer. */
	for (uint64_t at = 1840; at < 70000; at += 4111) {
		struct netmap_ring *tx = app_ring(&a, NM_TX, 0);
		uint64_t before = stats(&copy, NM_RX)->drops[NM_DROP_BAD_OFFSET];
		bool inside = (at & 0xffff) + FRAME <= 2048;

		tx->slot[tx->head].ptr = at;
		app_put_slot(&a, 0, tx->slot[tx->head].buf_idx, FRAME, 0);
		app_txsync(&a, 0);
		app_rxsync(&copy, 0);
		app_rxsync(&zcopy, 0);
		assert_int_equal(stats(&copy, NM_RX)->drops[NM_DROP_BAD_OFFSET], before + !inside);
	}
	assert_int_equal(accounted(&copy), stats(&a, NM_TX)->packets);
	assert_int_equal(accounted(&zcopy), stats(&a, NM_TX)->packets);
	app_close(&copy);
	app_close(&zcopy);
	app_close(&b);
	app_close(&a);
	nm_region_put(region);
}

static void set_hdr_len(struct app *app, uint32_t bytes)
{
	nm_core_lock(&core);
	assert_int_equal(nm_port_set_hdr_len_locked(app->client.port, bytes), 0);
	nm_core_unlock(&core);
}

static void the_header_is_that_of_the_port(void **state)
{
	struct prng r = prng_new(13);
	struct app a, b, mon;
	uint8_t frame[FRAME];

	app_open(&core, &a, &(struct app_config){.name = "vale0:a", .hdr_len = 12});
	app_open(&core, &b, &(struct app_config){.name = "vale0:b", .hdr_len = 12});
	assert_int_equal(try_bind("vale0:a", NR_REG_ALL_NIC, NR_MONITOR_TX, 0), -EIO);
	app_open(&core, &mon,
		&(struct app_config){
			.name = "vale0:a", .hdr_len = 12, .flags = NR_MONITOR_TX | NR_MONITOR_RX});
	assert_int_equal(mon.client.port->hdr_len, 12);
	make_frame(frame, FRAME, 12, NM_TEST_BROADCAST, 1, &r);
	send_one(&a, frame, FRAME, 1);
	expect(&mon, frame, FRAME, NS_TXMON);
	set_hdr_len(&a, 0);
	assert_int_equal(mon.client.port->hdr_len, 0);
	nm_core_lock(&core);
	assert_int_equal(nm_port_set_hdr_len_locked(mon.client.port, 12), -EOPNOTSUPP);
	nm_core_unlock(&core);
	app_close(&mon);
	app_close(&b);
	app_close(&a);
}

/* ---- making and ending --------------------------------------------------------------------------- */

static void which_rings(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_ONE_NIC, .flags = NR_MONITOR_RX, .ringid = 2};
	struct nm_client one;
	struct app a, all;

	app_open(&core, &a, &(struct app_config){.name = "vale0:a", .rings = 3});
	app_open(&core, &all,
		&(struct app_config){.name = "vale0:a", .rings = 3, .flags = NR_MONITOR_TX});
	assert_int_equal(all.client.count[NM_RX], 3);
	assert_int_equal(all.client.count[NM_TX], 1);
	nm_client_init(&one, &core);
	assert_int_equal(nm_client_bind(&one, "vale0:a", &bind), 0);
	assert_int_equal(one.count[NM_RX], 1);
	assert_non_null(app_private(&a, NM_RX, 2)->monitors);
	assert_null(app_private(&a, NM_RX, 1)->monitors);
	assert_non_null(app_private(&a, NM_TX, 2)->monitors);
	assert_int_equal(try_bind("vale0:a", NR_REG_ONE_NIC, NR_MONITOR_TX, 3), -EINVAL);
	assert_int_equal(try_bind("vale0:a", NR_REG_ONE_NIC, NR_MONITOR_RX, 0xffff), -EINVAL);
	assert_int_equal(try_bind("vale0:a", NR_REG_SW, NR_MONITOR_RX, 0), -EINVAL);
	assert_int_equal(try_bind("vale0:a", NR_REG_ONE_SW, NR_MONITOR_RX, 0), -EINVAL);
	assert_int_equal(try_bind("vale0:a", 77, NR_MONITOR_RX, 0), -EINVAL);
	nm_client_unbind(&one);
	assert_null(app_private(&a, NM_RX, 2)->monitors);
	app_close(&all);
	app_close(&a);
}

static void a_monitor_is_not_watched(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .flags = NR_MONITOR_RX};
	struct nm_error err = {0};
	struct app a, mon;

	open_app(&a, "vale0:a", 0, 0);
	open_app(&mon, "vale0:a", NR_MONITOR_RX, 0);
	nm_core_lock(&core);
	assert_null(nm_monitor_make_locked(mon.client.port, &bind, &err));
	nm_core_unlock(&core);
	assert_int_equal(err.code, -EINVAL);
	assert_true(err.text[0] != '\0');
	app_close(&a);
	app_close(&mon);
}

/* It has a tx ring because a device needs one; what is sent there is counted and gone. */
static void sending_on_a_monitor(void **state)
{
	struct app a, mon;
	uint8_t frame[FRAME] = {0};

	open_app(&a, "vale0:a", 0, 0);
	open_app(&mon, "vale0:a", NR_MONITOR_RX, 0);
	for (int i = 0; i < 200; i++)
		send_one(&mon, frame, FRAME, 1 + i % 3);
	assert_int_equal(stats(&mon, NM_TX)->packets, 200);
	assert_int_equal(stats(&mon, NM_TX)->drops[NM_DROP_RECEIVES_ONLY], 200);
	app_close(&mon);
	app_close(&a);
}

/* The port outlives its user for the monitor's sake, and serves the next. */
static void users_of_the_port_change(void **state)
{
	struct prng r = prng_new(14);
	struct app a, b, mon;
	uint8_t frame[FRAME];

	open_app(&mon, "vale0:a", NR_MONITOR_TX | NR_MONITOR_RX, 0); /* makes the port */
	open_app(&b, "vale0:b", 0, 0);
	for (int i = 0; i < 5; i++) {
		open_app(&a, "vale0:a", 0, 0);
		assert_int_equal(core_count_ports(&core), 3);
		frame_to(frame, FRAME, NM_TEST_BROADCAST, 1, &r);
		send_one(&a, frame, FRAME, 2);
		expect(&mon, frame, FRAME, NS_TXMON);
		send_one(&b, frame, FRAME, 2);
		expect(&a, frame, FRAME, 0);
		expect(&mon, frame, FRAME, 0);
		/* Something that is left behind: it has not passed. */
		assert_true(app_put(&a, 0, frame, FRAME, 1));
		send_one(&b, frame, FRAME, 2);
		app_close(&a);
		expect_none(&mon);
	}
	assert_int_equal(accounted(&mon), 10);
	app_close(&b);
	app_close(&mon);
}

static uint32_t woken;

static void on_wakeup(void *arg)
{
	OS_STORE(&woken, OS_LOAD(&woken) + 1);
}

static void wakeups(void **state)
{
	struct prng r = prng_new(15);
	uint8_t frame[FRAME];
	struct app a, b, mon;

	open_app(&a, "vale0:a", 0, 0);
	open_app(&b, "vale0:b", 0, 0);
	open_app(&mon, "vale0:a", NR_MONITOR_TX, 0);
	woken = 0;
	os_wakeup_set(&app_private(&mon, NM_RX, 0)->wakeup, on_wakeup, NULL);
	app_txsync(&a, 0);
	assert_int_equal(woken, 0);
	frame_to(frame, FRAME, NM_TEST_BROADCAST, 1, &r);
	for (int i = 0; i < 20; i++)
		assert_true(app_put(&a, 0, frame, FRAME, 1));
	app_txsync(&a, 0);
	assert_int_equal(woken, 1); /* once for all of them */
	app_close(&mon);
	app_close(&b);
	app_close(&a);
}

/* ---- a port that is pulled ------------------------------------------------------------------------ */

static int pull_sync(struct nm_ring *ring)
{
	ring->hwcur = ring->head;
	ring->tail = ring->dir == NM_TX ? (ring->head + ring->num_slots - 1) % ring->num_slots
					: ring->tail;
	return 0;
}

static const struct nm_port_ops pull_ops = {
	.kind = "pulled", .txsync = pull_sync, .rxsync = pull_sync};

static void the_port_is_pulled(void **state)
{
	struct nm_port *port;
	struct app a, mon;
	uint8_t frame[FRAME] = {1};
	struct nm_error error;

	nm_core_lock(&core);
	port = nm_port_add_locked(&core, "dev", &pull_ops,
		&(struct nm_shape){.rings = {1, 1}, .slots = {16, 16}}, &error);
	nm_core_unlock(&core);
	assert_non_null(port);
	open_app(&a, "dev", 0, 0);
	open_app(&mon, "dev", NR_MONITOR_TX, 0);
	send_one(&a, frame, FRAME, 1);
	woken = 0;
	os_wakeup_set(&app_private(&mon, NM_RX, 0)->wakeup, on_wakeup, NULL);
	nm_core_lock(&core);
	nm_port_remove_locked(port);
	nm_core_unlock(&core);
	assert_int_equal(woken, 1);
	expect(&mon, frame, FRAME, NS_TXMON); /* what is there can be had */
	assert_int_equal(nm_ring_sync_shared(app_private(&mon, NM_RX, 0)), -ENXIO);
	assert_int_equal(try_bind("dev", NR_REG_ALL_NIC, NR_MONITOR_TX, 0), -ENXIO);
	app_close(&a);
	app_close(&mon);
}

/* ---- no memory ----------------------------------------------------------------------------------- */

static void no_memory(void **state)
{
	static const uint64_t flags[] = {
		NR_MONITOR_TX | NR_MONITOR_RX, NR_MONITOR_RX | NR_ZCOPY_MON};
	struct app a;

	open_app(&a, "vale0:a", 0, 0);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		uint32_t ports = core_count_ports(&core), regions = core_count_regions(&core);
		bool failed;
		uint32_t nth = 0;

		do {
			int error;

			fail_allocation(++nth);
			error = try_bind("vale0:a", NR_REG_ALL_NIC, flags[i], 0);
			failed = allocation_failed();
			fail_allocation(0);
			if (error)
				assert_int_equal(error, -ENOMEM);
			assert_int_equal(core_count_ports(&core), ports);
			assert_int_equal(core_count_regions(&core), regions);
			assert_null(app_private(&a, NM_TX, 0)->monitors);
			assert_null(app_private(&a, NM_RX, 0)->monitors);
		} while (failed && nth < 100);
		assert_in_range(nth, 3, 99);
	}
	app_close(&a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(copies_of_both_directions),
		TEST(packets_are_seen_when_they_come),
		TEST(other_buffer_sizes),
		TEST(unfinished_packets_wait),
		TEST(fragments),
		TEST(zero_copy),
		TEST(half_a_packet_given_back),
		TEST(zero_copy_of_a_pipe),
		TEST(copies_of_a_pipe),
		TEST(offsets),
		TEST(the_header_is_that_of_the_port),
		TEST(which_rings),
		TEST(a_monitor_is_not_watched),
		TEST(sending_on_a_monitor),
		TEST(users_of_the_port_change),
		TEST(wakeups),
		TEST(the_port_is_pulled),
		TEST(no_memory),
	};

	test_seed();
	return cmocka_run_group_tests_name("monitor", tests, NULL, NULL);
}
