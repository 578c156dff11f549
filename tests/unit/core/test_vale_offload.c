/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VALE switch and what senders ask for: headers in slots of their own, TSO for a receiver
 * without a virtio-net header, offsets, an explicit destination. What TSO makes of a packet is
 * checked in test_offload.c, here that it arrives as a whole and is counted.
 */
#include "made.h"
#include "offload.h"
#include "vale_pair.h"

/* ---- the header in a slot of its own, as a driver with scattered buffers sends it ------------- */

static void header_alone(void **state)
{
	static const uint32_t headers[] = {10, 12};

	for (size_t i = 0; i < 2; i++) {
		for (uint32_t to = 0; to < 3; to++) {
			struct netmap_ring *ring;

			open_pair(2048, 64, 2048, 64);
			set_hdr_len(&a, headers[i]);
			set_hdr_len(&b, to == 2 ? 0 : headers[to]);
			ring = app_ring(&a, NM_TX, 0);
			/* header | nothing | half of the addresses | the rest */
			for (uint32_t len = 14; len < 300; len += 13) {
				uint32_t h = headers[i], cuts[] = {0, h, h, h + 9, h + len};

				make_frame(frame, h + len, h, 2, 1, &r);
				for (uint32_t k = 0; k < 4; k++) {
					uint32_t n = cuts[k + 1] - cuts[k];
					uint32_t index = ring->slot[ring->head].buf_idx;

					memcpy(app_buf(ring, index), frame + cuts[k], n);
					assert_true(app_put_slot(&a, 0, index, (uint16_t)n,
						k < 3 ? NS_MOREFRAG : 0));
				}
				app_txsync(&a, 0);
				app_rxsync(&b, 0);
				assert_int_equal(
					app_take(&b, 0, got, sizeof(got)), b.hdr_len + len);
				assert_memory_equal(got + b.hdr_len, frame + h, len);
			}
			assert_int_equal(rx()->packets, tx()->packets);
			close_pair();
		}
	}
}

/* ---- TSO to a receiver that has no header ------------------------------------------------------ */

/* A packet with `data` bytes behind its headers, to be cut at `size`: its length in *len. No length in the IP header where the packet is too
 * long for it. Returns its TCP or UDP header. */
static uint8_t *make_gso(bool v6, enum proto proto, uint32_t data, uint16_t size, uint32_t *len)
{
	const bool tcp = proto == TCP;
	const uint32_t l4 = v6 ? 54 : 34, payload = (tcp ? 20 : 8) + data;
	const uint32_t ip_len = v6 ? payload : 20 + payload;
	const struct nm_vnet_hdr vnet = {
		.flags = NM_VNET_NEEDS_CSUM,
		.gso_type = !tcp ? NM_VNET_GSO_UDP_L4
			    : v6 ? NM_VNET_GSO_TCPV6
				 : NM_VNET_GSO_TCPV4,
		.gso_size = size,
		.csum_start = (uint16_t)l4,
		.csum_offset = tcp ? 16 : 6,
	};
	uint8_t *eth = frame + a.hdr_len, *ip = eth + 14;

	*len = a.hdr_len + l4 + payload;
	make_frame(frame, *len, a.hdr_len, 2, 1, &r);
	memset(frame, 0, a.hdr_len);
	memcpy(frame, &vnet, sizeof(vnet));
	put16(eth + 12, v6 ? 0x86dd : 0x0800);
	ip[0] = v6 ? 0x60 : 0x45;
	put16(ip + (v6 ? 4 : 2), ip_len > UINT16_MAX ? 0 : ip_len);
	if (!v6)
		put16(ip + 6, 0);
	ip[v6 ? 6 : 9] = (uint8_t)proto;
	return eth + l4;
}

/* Its length. */
static uint32_t make_tso(bool v6, uint32_t data, uint16_t size)
{
	uint32_t len;

	make_gso(v6, TCP, data, size, &len)[12] = 0x50;
	return len;
}

static void tso_is_cut(void **state)
{
	open_pair(2048, 64, 2048, 128);
	set_hdr_len(&a, 12);
	for (uint32_t round = 0; round < 50; round++) {
		uint32_t len = make_tso(false, 60000, 1448), done = 0;

		assert_true(app_put(&a, 0, frame, len, 0));
		app_txsync(&a, 0);
		app_rxsync(&b, 0);
		for (uint32_t i = 0; i < 42; i++) {
			uint32_t n = i < 41 ? 1448 : 60000 - 41 * 1448;

			assert_int_equal(app_take(&b, 0, got, sizeof(got)), 54 + n);
			assert_memory_equal(got + 54, frame + 12 + 54 + done, n);
			done += n;
		}
		assert_int_equal(app_take(&b, 0, got, sizeof(got)), -1);
		assert_int_equal(tx()->packets, round + 1);
		assert_int_equal(tx()->copies, 42 * (round + 1));
		assert_int_equal(rx()->packets, 42 * (round + 1));
		assert_int_equal(rx()->bytes, (42 * 54 + 60000) * (round + 1));
	}
	app_close(&a);
	app_close(&b);
}

/* All segments or none: with room for all but one, with a bad slot for the last, and with a ring that
 * is too small for all. */
static void tso_as_a_whole(void **state)
{
	struct netmap_ring *ring;
	uint32_t len, good;

	open_pair(2048, 64, 2048, 64);
	set_hdr_len(&a, 12);
	ring = app_ring(&b, NM_RX, 0);
	len = make_tso(false, 10000, 1000);
	for (uint32_t used = 0; used < 54; used++) { /* from a port that has no say in it */
		make_frame(got, 72, 12, 2, 1, &r);
		assert_true(app_put(&a, 0, got, 72, 0));
	}
	app_txsync(&a, 0);
	assert_true(app_put(&a, 0, frame, len, 0));
	app_txsync(&a, 0);
	assert_int_equal(rx()->drops[NM_DROP_RX_FULL], 1);
	assert_int_equal(rx()->packets, 54);
	app_rxsync(&b, 0);
	assert_int_equal(app_take(&b, 0, got, sizeof(got)), 60);
	app_rxsync(&b, 0); /* one slot more */
	good = ring->slot[63].buf_idx;
	ring->slot[63].buf_idx = 1;
	assert_true(app_put(&a, 0, frame, len, 0));
	app_txsync(&a, 0);
	assert_int_equal(rx()->drops[NM_DROP_BAD_BUFFER], 1);
	assert_int_equal(rx()->packets, 54);
	ring->slot[63].buf_idx = good;
	assert_true(app_put(&a, 0, frame, len, 0));
	app_txsync(&a, 0);
	assert_int_equal(rx()->packets, 64);
	app_rxsync(&b, 0);
	for (uint32_t i = 0; i < 63; i++)
		assert_int_equal(app_take(&b, 0, got, sizeof(got)), i < 53 ? 60 : 1054);
	app_rxsync(&b, 0);
	len = make_tso(false, 60000, 500); /* 120 segments */
	assert_true(app_put(&a, 0, frame, len, 0));
	app_txsync(&a, 0);
	assert_int_equal(rx()->drops[NM_DROP_TOO_LONG], 1);
	assert_int_equal(tx()->drops[NM_DROP_TOO_LONG], 1);
	check_nothing_came();
	app_close(&a);
	app_close(&b);
}

/* ---- USO to a receiver that doesn't know it ------------------------------------------------------ */

/* Its length. */
static uint32_t make_uso(uint32_t data, uint16_t size)
{
	uint32_t len;
	uint8_t *udp = make_gso(false, UDP, data, size, &len);

	put16(udp + 4, 8 + data);
	put16(udp + 6, slow_pseudo(udp - 20, false, UDP, 8 + data));
	return len;
}

/* Of pseudo header, UDP header and data, the checksum included. */
static uint32_t udp_sum(const uint8_t *eth, uint32_t len)
{
	return slow_sum(eth + 34, len - 34, slow_pseudo(eth + 14, false, UDP, len - 34));
}

static void take_datagrams(uint32_t data, uint32_t size)
{
	static const uint8_t nothing[NM_PORT_HDR_MAX];
	const uint8_t *eth = got + b.hdr_len;

	for (uint32_t done = 0; done < data; done += size) {
		uint32_t n = data - done < size ? data - done : size;

		assert_int_equal(app_take(&b, 0, got, sizeof(got)), b.hdr_len + 42 + n);
		assert_memory_equal(got, nothing, b.hdr_len);
		assert_int_equal(get16(eth + 38), 8 + n);
		assert_memory_equal(eth + 42, frame + a.hdr_len + 42 + done, n);
		assert_int_equal(udp_sum(eth, 42 + n), 0xffff);
	}
}

/* Packets of many slots and of one, with headers of either length, into buffers that take a datagram and into smaller ones. */
static void uso_is_cut(void **state)
{
	static const uint32_t headers[] = {12, 10, 0}, sizes[] = {2048, 128};

	for (uint32_t i = 0; i < 6; i++) {
		open_pair(2048, 64, sizes[i / 3], 1024);
		set_hdr_len(&a, 12);
		set_hdr_len(&b, headers[i % 3]);
		for (uint32_t round = 0; round < 200; round++) {
			uint32_t data =
				round & 1 ? prng_range(&r, 100, 1900) : prng_range(&r, 2000, 30000);
			uint16_t size = (uint16_t)prng_range(&r, round & 1 ? 50 : 900, 1472);
			uint32_t len = make_uso(data, size);
			bool knows = sizes[i / 3] == 2048 && b.hdr_len > 0 && prng_chance(&r, 20);

			OS_STORE(&a.client.port->knows, NM_KNOWS_USO);
			OS_STORE(&b.client.port->knows, knows ? NM_KNOWS_USO : 0);
			assert_true(app_put(&a, 0, frame, len, 0));
			app_txsync(&a, 0);
			app_rxsync(&b, 0);
			if (knows) {
				assert_int_equal(
					app_take(&b, 0, got, sizeof(got)), b.hdr_len + len - 12);
				assert_memory_equal(got, frame, 10);
				assert_memory_equal(got + b.hdr_len, frame + 12, len - 12);
			} else {
				take_datagrams(data, size);
			}
			assert_int_equal(app_take(&b, 0, got, sizeof(got)), -1);
		}
		assert_int_equal(tx()->packets, 200);
		app_close(&a);
		app_close(&b);
	}
}

/* What is no USO passes as it is, and so does all that comes from a port which has not said that it knows it. */
static void uso_alone_is_cut(void **state)
{
	struct nm_vnet_hdr vnet;
	uint32_t len;

	open_pair(2048, 64, 2048, 64);
	set_hdr_len(&a, 12);
	set_hdr_len(&b, 12);
	for (int i = 0; i < 3; i++) {
		len = i ? make_tso(false, 10000, 1000) : make_uso(10000, 1000);
		if (i == 2) {
			memset(&vnet, 0, sizeof(vnet));
			memcpy(frame, &vnet, sizeof(vnet));
		}
		OS_STORE(&a.client.port->knows, i > 0 ? NM_KNOWS_USO | NM_KNOWS_BIG_TCP : 0);
		assert_true(app_put(&a, 0, frame, len, 0));
		app_txsync(&a, 0);
		app_rxsync(&b, 0);
		assert_int_equal(app_take(&b, 0, got, sizeof(got)), len);
		assert_memory_equal(got, frame, len);
	}
	close_pair();
}

/* ---- TCP packets longer than an IP packet can say, to a receiver that doesn't know them ------------ */

static void take_segments(bool v6, uint32_t data, uint32_t size)
{
	static const uint8_t nothing[NM_PORT_HDR_MAX];
	const uint8_t *eth = got + b.hdr_len, *ip = eth + 14;
	const uint32_t l4 = v6 ? 54 : 34, seq = get32(frame + a.hdr_len + l4 + 4);

	for (uint32_t done = 0; done < data; done += size) {
		uint32_t n = data - done < size ? data - done : size;

		assert_int_equal(app_take(&b, 0, got, sizeof(got)), b.hdr_len + l4 + 20 + n);
		assert_memory_equal(got, nothing, b.hdr_len);
		assert_int_equal(get16(ip + (v6 ? 4 : 2)), v6 ? 20 + n : 40 + n);
		assert_int_equal(get32(eth + l4 + 4), seq + done);
		assert_int_equal(
			slow_sum(eth + l4, 20 + n, slow_pseudo(ip, v6, TCP, 20 + n)), 0xffff);
		assert_memory_equal(eth + l4 + 20, frame + a.hdr_len + l4 + 20 + done, n);
	}
}

/* From one byte more than fits, up to what the most slots hold. One byte less passes as it is. */
static void big_tcp_is_cut(void **state)
{
	static const uint32_t headers[] = {12, 10, 0};
	const struct nm_vnet_hdr *vnet = (const struct nm_vnet_hdr *)got;

	for (uint32_t i = 0; i < 6; i++) {
		const bool v6 = i & 1;
		const uint32_t fits = UINT16_MAX - (v6 ? 60 : 40);

		open_pair(2048, 256, 2048, 512); /* room for two packets of the most segments */
		set_hdr_len(&a, 12);
		set_hdr_len(&b, headers[i / 2]);
		for (uint32_t round = 0; round < 60; round++) {
			uint32_t data =
				round < 2 ? fits + round : prng_range(&r, fits - 1000, 130900);
			uint16_t size = (uint16_t)prng_range(&r, 900, 1448);
			uint32_t len = make_tso(v6, data, size);
			bool knows = b.hdr_len > 0 && round >= 2 && prng_chance(&r, 50);

			OS_STORE(&a.client.port->knows, NM_KNOWS_BIG_TCP);
			OS_STORE(&b.client.port->knows, knows ? NM_KNOWS_BIG_TCP : NM_KNOWS_USO);
			assert_true(app_put(&a, 0, frame, len, 0));
			app_txsync(&a, 0);
			app_rxsync(&b, 0);
			if (b.hdr_len > 0 && (knows || data <= fits)) {
				assert_int_equal(
					app_take(&b, 0, got, sizeof(got)), b.hdr_len + len - 12);
				assert_int_equal(vnet->gso_size, size);
				assert_memory_equal(got + b.hdr_len, frame + 12, len - 12);
			} else {
				take_segments(v6, data, size);
			}
			assert_int_equal(app_take(&b, 0, got, sizeof(got)), -1);
		}
		app_close(&a);
		app_close(&b);
	}
}

/* ---- offsets ---------------------------------------------------------------------------------- */

/* As the core sets up rings of a port with offsets. */
static void set_offsets(struct app *app, uint64_t mask, uint64_t gap)
{
	app->client.port->offsets.gap = gap;
	app_private(app, NM_TX, 0)->offset_mask = mask;
	app_private(app, NM_RX, 0)->offset_mask = mask;
}

static void offsets_of_the_sender(void **state)
{
	struct netmap_ring *ring;

	open_pair(2048, 64, 2048, 64);
	set_offsets(&a, 0xffff, 0);
	ring = app_ring(&a, NM_TX, 0);
	for (uint32_t i = 0; i < 2000; i++) {
		struct netmap_slot *slot = &ring->slot[ring->head];
		uint32_t len = prng_range(&r, 14, 1000);
		uint64_t offset = prng_edge32(&r, 2048 - len) & 0xffff;
		bool good = offset <= 2048 - len;
		uint64_t before = tx()->drops[NM_DROP_BAD_OFFSET];

		make_frame(frame, len, 0, 2, 1, &r);
		if (good)
			memcpy(app_buf(ring, slot->buf_idx) + offset, frame, len);
		slot->ptr = offset | 0xabcd0000; /* bits that are not of the offset */
		assert_true(app_put_slot(&a, 0, slot->buf_idx, (uint16_t)len, 0));
		app_txsync(&a, 0);
		app_rxsync(&b, 0);
		assert_int_equal(app_take(&b, 0, got, sizeof(got)), good ? (int)len : -1);
		assert_int_equal(tx()->drops[NM_DROP_BAD_OFFSET], before + !good);
		if (good)
			assert_memory_equal(got, frame, len);
	}
	assert_true(tx()->drops[NM_DROP_BAD_OFFSET] > 100 && rx()->packets > 100);
	close_pair();
}

/* The receiver's offset takes room from its buffer, and so does the gap. A packet that doesn't fit
 * goes on in the next slot. */
static void offsets_of_the_receiver(void **state)
{
	struct netmap_ring *ring;

	for (uint64_t gap = 0; gap <= 128; gap += 64) {
		open_pair(2048, 64, 256, 64);
		set_offsets(&b, 0xfff, gap);
		ring = app_ring(&b, NM_RX, 0);
		for (uint32_t i = 0; i < 64; i++)
			ring->slot[i].ptr = prng_below(&r, 256 - (uint32_t)gap);
		for (uint32_t i = 0; i < 1000; i++) {
			uint32_t len = prng_range(&r, 14, 200), done = 0;
			bool more = true;

			make_frame(frame, len, 0, 2, 1, &r);
			assert_true(app_put(&a, 0, frame, len, 0));
			app_txsync(&a, 0);
			app_rxsync(&b, 0);
			while (app_avail(ring) > 0 && more) {
				const struct netmap_slot *slot = &ring->slot[ring->head];

				assert_true(slot->ptr + slot->len <= 256 - gap);
				memcpy(got + done, app_buf(ring, slot->buf_idx) + slot->ptr,
					slot->len);
				done += slot->len;
				more = slot->flags & NS_MOREFRAG;
				ring->head = ring->cur = (ring->head + 1) % 64;
			}
			if (done > 0) {
				assert_int_equal(done, len);
				assert_memory_equal(got, frame, len);
			}
		}
		assert_int_equal(rx()->packets + rx()->drops[NM_DROP_RX_FULL] +
					 rx()->drops[NM_DROP_FRAGMENTS],
			1000);
		/* An offset beyond what a buffer has. */
		ring->slot[ring->head].ptr = 256 - gap;
		assert_true(app_put(&a, 0, frame, 60, 0));
		app_txsync(&a, 0);
		assert_int_equal(rx()->drops[NM_DROP_BAD_OFFSET], 1);
		close_pair();
	}
}

/* ---- explicit destination --------------------------------------------------------------------- */

static void explicit_destination(void **state)
{
	struct app c;

	open_pair(2048, 64, 2048, 64); /* numbers 0 and 1 */
	app_open(&core, &c, &(struct app_config){"vale0:c", 2048, 64});
	for (uint32_t to = 1; to < 256; to++) {
		struct netmap_ring *ring = app_ring(&a, NM_TX, 0);
		uint32_t slot = ring->head;

		make_frame(frame, 60, 0, prng_chance(&r, 50) ? NM_TEST_BROADCAST : 2, 1, &r);
		assert_true(app_put(&a, 0, frame, 60, 2));
		ring->slot[slot].flags |= (uint16_t)(to << NS_PORT_SHIFT);
		app_txsync(&a, 0);
		app_rxsync(&b, 0);
		app_rxsync(&c, 0);
		assert_int_equal(app_take(&b, 0, got, sizeof(got)), to == 1 ? 60 : -1);
		assert_int_equal(app_take(&c, 0, got, sizeof(got)), to == 2 ? 60 : -1);
	}
	assert_int_equal(tx()->drops[NM_DROP_NO_RECEIVER], 253);
	assert_int_equal(tx()->copies, 2);
	/* To itself; and what the second slot says is of no consequence. */
	make_frame(frame, 60, 0, NM_TEST_BROADCAST, 3, &r);
	assert_true(app_put(&b, 0, frame, 60, 2));
	app_ring(&b, NM_TX, 0)->slot[0].flags |= 1 << NS_PORT_SHIFT;
	assert_true(app_put(&b, 0, frame, 60, 2));
	app_ring(&b, NM_TX, 0)->slot[3].flags |= 1 << NS_PORT_SHIFT;
	app_txsync(&b, 0);
	assert_int_equal(app_private(&b, NM_TX, 0)->stats.drops[NM_DROP_NO_RECEIVER], 1);
	app_rxsync(&a, 0);
	app_rxsync(&c, 0);
	assert_int_equal(app_take(&a, 0, got, sizeof(got)), 60);
	assert_int_equal(app_take(&c, 0, got, sizeof(got)), 60);
	/* A port that has left. */
	app_close(&c);
	make_frame(frame, 60, 0, 2, 1, &r);
	assert_true(app_put(&a, 0, frame, 60, 1));
	app_ring(&a, NM_TX, 0)->slot[(app_ring(&a, NM_TX, 0)->head + 63) % 64].flags |=
		2 << NS_PORT_SHIFT;
	app_txsync(&a, 0);
	assert_int_equal(tx()->drops[NM_DROP_NO_RECEIVER], 254);
	app_close(&a);
	app_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(header_alone, begin, end),
		cmocka_unit_test_setup_teardown(tso_is_cut, begin, end),
		cmocka_unit_test_setup_teardown(tso_as_a_whole, begin, end),
		cmocka_unit_test_setup_teardown(uso_is_cut, begin, end),
		cmocka_unit_test_setup_teardown(uso_alone_is_cut, begin, end),
		cmocka_unit_test_setup_teardown(big_tcp_is_cut, begin, end),
		cmocka_unit_test_setup_teardown(offsets_of_the_sender, begin, end),
		cmocka_unit_test_setup_teardown(offsets_of_the_receiver, begin, end),
		cmocka_unit_test_setup_teardown(explicit_destination, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("vale_offload", tests, NULL, NULL);
}
