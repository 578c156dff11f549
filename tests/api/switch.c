/* SPDX-License-Identifier: BSD-2-Clause */
/* The VALE switch: who gets what. */
#include "api.h"

#include <stdlib.h>

static struct nmport_d *port[3];

static void begin(void)
{
	for (int i = 0; i < 3; i++) {
		char name[32];

		snprintf(name, sizeof(name), "valew:%d", i + 1);
		port[i] = open_flags(name, 0);
	}
}

static void end(void)
{
	for (int i = 0; i < 3; i++)
		nmport_close(port[i]);
}

/* Station i + 1 is at port[i]. */
static void learn(void)
{
	for (uint8_t i = 0; i < 3; i++) {
		send_frame(port[i], 0, i + 1, 500u + i);
		for (uint8_t j = 0; j < 3; j++)
			if (j != i)
				take_frame(port[j], 0, i + 1, 500u + i);
	}
}

TEST(broadcast_and_unknown)
{
	begin();
	send_frame(port[0], 0, 1, 1);
	take_frame(port[1], 0, 1, 1);
	take_frame(port[2], 0, 1, 1);
	send_frame(port[0], 99, 1, 2);
	take_frame(port[1], 99, 1, 2);
	take_frame(port[2], 99, 1, 2);
	expect_empty(port[0]);
	end();
}

TEST(unicast)
{
	begin();
	learn();
	send_frame(port[0], 2, 1, 1);
	take_frame(port[1], 2, 1, 1);
	expect_empty(port[2]);
	send_frame(port[2], 1, 3, 2);
	take_frame(port[0], 1, 3, 2);
	expect_empty(port[1]);
	/* To where it comes from: nobody. */
	send_frame(port[0], 1, 1, 3);
	expect_empty(port[0]);
	expect_empty(port[1]);
	end();
}

TEST(station_moves)
{
	begin();
	learn();
	send_frame(port[1], 0, 1, 9); /* station 1 is at port 1 now */
	take_frame(port[0], 0, 1, 9);
	take_frame(port[2], 0, 1, 9);
	send_frame(port[2], 1, 3, 10);
	take_frame(port[1], 1, 3, 10);
	expect_empty(port[0]);
	end();
}

static void send_flags(
	struct nmport_d *d, uint8_t to, uint8_t from, uint32_t number, uint16_t flags)
{
	struct netmap_ring *tx = tx_ring(d, 0);
	uint32_t at = tx->head;
	uint8_t frame[FRAME_LEN];

	make_frame(frame, sizeof(frame), to, from, number);
	CHECK(put_parts(tx, frame, sizeof(frame), 0));
	tx->slot[at].flags |= flags;
	CHECK_EQ(nmport_txsync(d), 0);
	CHECK(wait_sent(d, tx));
	tx->slot[at].flags = 0;
}

TEST(no_learn)
{
	begin();
	send_flags(port[0], 0, 77, 1, NS_NO_LEARN);
	take_frame(port[1], 0, 77, 1);
	take_frame(port[2], 0, 77, 1);
	/* The address is not known: all get it. */
	send_frame(port[1], 77, 2, 2);
	take_frame(port[0], 77, 2, 2);
	take_frame(port[2], 77, 2, 2);
	send_flags(port[0], 0, 77, 3, 0);
	take_frame(port[1], 0, 77, 3);
	take_frame(port[2], 0, 77, 3);
	send_frame(port[1], 77, 2, 4);
	take_frame(port[0], 77, 2, 4);
	expect_empty(port[2]);
	end();
}

static uint16_t number_of(int i)
{
	struct nmreq_vale_list list = {0};
	char name[32];

	snprintf(name, sizeof(name), "valew:%d", i + 1);
	CHECK_EQ(request(NETMAP_REQ_VALE_LIST, name, &list), 0);
	return (uint16_t)list.nr_port_idx;
}

/* The high byte of the first slot's flags names the port, whatever the addresses say. */
TEST(explicit_destination)
{
	begin();
	learn();
	for (int i = 1; i < 3; i++) {
		if (!number_of(i)) /* 0 means: by address */
			continue;
		send_flags(port[0], 0, 1, (uint32_t)i, (uint16_t)(number_of(i) << NS_PORT_SHIFT));
		take_frame(port[i], 0, 1, (uint32_t)i);
		expect_empty(port[3 - i]);
		/* A known address does not count. */
		send_flags(port[0], (uint8_t)(4 - i), 1, 50u + (uint32_t)i,
			(uint16_t)(number_of(i) << NS_PORT_SHIFT));
		take_frame(port[i], (uint8_t)(4 - i), 1, 50u + (uint32_t)i);
		expect_empty(port[3 - i]);
	}
	/* No such port: nobody. */
	send_flags(port[0], 0, 1, 9, (uint16_t)(250 << NS_PORT_SHIFT));
	expect_empty(port[1]);
	expect_empty(port[2]);
	end();
}

/* An address in process memory is never followed. */
TEST(indirect_is_bounded)
{
	struct netmap_ring *tx;

	begin();
	tx = tx_ring(port[0], 0);
	for (int i = 0; i < 3; i++) {
		static const uint64_t wild[] = {8, 0x4141414141414140, UINT64_MAX - 7};
		struct netmap_slot *slot = &tx->slot[tx->head];

		slot->ptr = wild[i];
		slot->len = FRAME_LEN;
		slot->flags = NS_INDIRECT;
		tx->head = tx->cur = nm_ring_next(tx, tx->head);
		CHECK_EQ(nmport_txsync(port[0]), 0);
		CHECK(wait_sent(port[0], tx));
		slot->flags = 0;
		slot->ptr = 0;
		send_frame(port[0], 0, 1, (uint32_t)i);
		take_frame(port[1], 0, 1, (uint32_t)i);
		take_frame(port[2], 0, 1, (uint32_t)i);
	}
	end();
}

TEST(switches_are_apart)
{
	struct nmport_d *a = open_flags("valew1:1", 0), *b = open_flags("valew2:1", 0);
	struct nmport_d *c = open_flags("valew1:2", 0);

	send_frame(a, 0, 1, 1);
	take_frame(c, 0, 1, 1);
	expect_empty(b);
	nmport_close(a);
	nmport_close(b);
	nmport_close(c);
}

/* A receiver that does not read never stops the sender; the others get everything. */
TEST(full_receiver)
{
	begin();
	for (uint32_t i = 0; i < 5000; i++) {
		send_frame(port[0], 0, 1, i);
		take_frame(port[1], 0, 1, i);
	}
	for (uint32_t i = 0; i < 100; i++)
		take_frame(port[2], 0, 1, i); /* the oldest ones, in order */
	end();
}

TEST(two_rings_to_one)
{
	struct nmport_d *a = open_shape("valew:a", 4, 64, 64), *b = open_flags("valew:b", 0);
	uint8_t frame[FRAME_LEN];

	for (uint32_t i = 0; i < 4; i++) {
		make_frame(frame, sizeof(frame), 0, 1, i);
		CHECK(put_parts(tx_ring(a, i), frame, sizeof(frame), 0));
		CHECK_EQ(nmport_txsync(a), 0);
		take_frame(b, 0, 1, i);
	}
	nmport_close(a);
	nmport_close(b);
}

/* ---- virtio-net headers --------------------------------------------------------------- */

static struct nmport_d *open_hdr(const char *name, uint32_t len)
{
	struct nmport_d *d = open_flags(name, NR_ACCEPT_VNET_HDR);
	struct nmreq_port_hdr body = {.nr_hdr_len = len};

	CHECK_EQ(request_on(d, NETMAP_REQ_PORT_HDR_SET, name, &body), 0);
	return d;
}

/* Plain packets between ports of every pair of lengths. */
TEST(header_lengths)
{
	static const uint32_t lens[] = {0, 10, 12};
	uint8_t data[12 + FRAME_LEN], got[12 + FRAME_LEN];
	uint32_t slots;

	for (unsigned int i = 0; i < 9; i++) {
		uint32_t from = lens[i / 3], to = lens[i % 3];
		struct nmport_d *a = open_hdr("valew:a", from), *b = open_hdr("valew:b", to);

		for (uint32_t n = 0; n < 20; n++) {
			memset(data, 0, from);
			make_frame(data + from, FRAME_LEN, 0, 1, n);
			CHECK(put_parts(tx_ring(a, 0), data, from + FRAME_LEN, 0));
			CHECK_EQ(nmport_txsync(a), 0);
			CHECK_EQ(take_packet(b, rx_ring(b, 0), got, sizeof(got), &slots),
				to + FRAME_LEN);
			CHECK_EQ(memcmp(got + to, data + from, FRAME_LEN), 0);
			for (uint32_t k = 0; k < (to < 10 ? to : 10); k++)
				CHECK_EQ(got[k], 0);
		}
		nmport_close(a);
		nmport_close(b);
	}
}

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned int get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static uint32_t sum(uint32_t s, const uint8_t *p, uint32_t len)
{
	for (; len > 1; p += 2, len -= 2)
		s += get16(p);
	return len ? s + ((uint32_t)p[0] << 8) : s;
}

static uint32_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* Ethernet, IPv4, TCP with a payload that follows from its position; checksum of TCP as
 * an offload wants it: the pseudo header's. */
static void make_tcp(uint8_t *f, uint32_t payload)
{
	uint32_t i;

	memset(f, 0, 54);
	make_frame(f, 14, 0, 1, 0);
	put16(f + 12, 0x0800);
	f[14] = 0x45;
	put16(f + 16, 40 + payload);
	f[22] = 64;
	f[23] = 6;
	f[26] = f[30] = 10;
	f[29] = 1;
	f[33] = 2;
	put16(f + 24, ~fold(sum(0, f + 14, 20)) & 0xffff);
	put16(f + 34, 1000);
	put16(f + 36, 2000);
	f[46] = 0x50;
	f[47] = 0x18; /* push, ack */
	for (i = 0; i < payload; i++)
		f[54 + i] = (uint8_t)(i * 7 + (i >> 8));
	put16(f + 50, fold(sum(6 + 20 + payload, f + 26, 8)));
}

static bool tcp_sums_fit(const uint8_t *f)
{
	uint32_t len = get16(f + 16) - 20;

	return fold(sum(0, f + 14, 20)) == 0xffff &&
	       fold(sum(6 + len, f + 26, 8) + sum(0, f + 34, len)) == 0xffff;
}

/* A packet of 40 KB that wants TCP segmentation, to a port that takes no header. */
TEST(tso_to_a_plain_port)
{
	enum { PAYLOAD = 40000, MSS = 1400 };
	static uint8_t data[10 + 54 + PAYLOAD], got[UINT16_MAX];
	struct nmport_d *a = open_hdr("valew:a", 10), *b = open_flags("valew:b", 0);
	uint32_t at = 0, slots;

	memset(data, 0, 10);
	data[0] = 1; /* needs checksum */
	data[1] = 1; /* TSO over IPv4 */
	data[2] = 54;
	data[4] = MSS & 0xff;
	data[5] = MSS >> 8;
	data[6] = 34;
	data[8] = 16;
	make_tcp(data + 10, PAYLOAD);
	CHECK(put_parts(tx_ring(a, 0), data, sizeof(data), 0));
	CHECK_EQ(nmport_txsync(a), 0);
	while (at < PAYLOAD) {
		uint32_t len = take_packet(b, rx_ring(b, 0), got, sizeof(got), &slots), i;

		CHECK(len > 54 && len <= 54 + MSS);
		CHECK_EQ(get16(got + 16) + 14, len);
		CHECK(tcp_sums_fit(got));
		CHECK_EQ(((uint32_t)got[40] << 8 | got[41]) + ((uint32_t)got[38] << 24), at);
		for (i = 0; i < len - 54; i++)
			CHECK_EQ(got[54 + i], data[64 + at + i]);
		at += len - 54;
		CHECK_EQ((got[47] & 8) != 0, at == PAYLOAD); /* push: on the last one */
	}
	expect_empty(b);
	nmport_close(a);
	nmport_close(b);
}

/* The same between ports with headers: one packet, untouched. */
TEST(tso_between_headers)
{
	enum { PAYLOAD = 60000 };
	static uint8_t data[12 + 54 + PAYLOAD], got[UINT16_MAX];
	struct nmport_d *a = open_hdr("valew:a", 12), *b = open_hdr("valew:b", 12);
	uint32_t slots;

	memset(data, 0, 12);
	data[0] = data[1] = 1;
	data[2] = 54;
	data[5] = 5;
	data[6] = 34;
	data[8] = 16;
	make_tcp(data + 12, PAYLOAD);
	for (int i = 0; i < 10; i++) {
		CHECK(put_parts(tx_ring(a, 0), data, sizeof(data), 0));
		CHECK_EQ(nmport_txsync(a), 0);
		CHECK_EQ(take_packet(b, rx_ring(b, 0), got, sizeof(got), &slots), sizeof(data));
		CHECK_EQ(memcmp(data, got, sizeof(data)), 0);
	}
	nmport_close(a);
	nmport_close(b);
}

/* A checksum to be completed, for a port without header. */
TEST(checksum_to_a_plain_port)
{
	uint8_t data[10 + 54 + 300], got[2048];
	struct nmport_d *a = open_hdr("valew:a", 10), *b = open_flags("valew:b", 0);
	uint32_t slots;

	memset(data, 0, 10);
	data[0] = 1;
	data[6] = 34;
	data[8] = 16;
	make_tcp(data + 10, 300);
	CHECK(put_parts(tx_ring(a, 0), data, sizeof(data), 0));
	CHECK_EQ(nmport_txsync(a), 0);
	CHECK_EQ(take_packet(b, rx_ring(b, 0), got, sizeof(got), &slots), 354);
	CHECK(tcp_sums_fit(got));
	CHECK_EQ(memcmp(got + 54, data + 64, 300), 0);
	nmport_close(a);
	nmport_close(b);
}

/* Headers that make no sense: dropped, and the port goes on. */
TEST(bad_headers)
{
	uint8_t data[10 + 54 + 300];
	struct nmport_d *a = open_hdr("valew:a", 10), *b = open_flags("valew:b", 0);
	struct netmap_ring *rx = rx_ring(b, 0);
	unsigned int seed = 1;

	for (uint32_t i = 0; i < 600; i++) {
		uint32_t len = i % 3 ? sizeof(data) : 10 + 14 + (uint32_t)(rand_r(&seed) % 80);

		make_tcp(data + 10, 300);
		for (int k = 0; k < 10; k++)
			data[k] = (uint8_t)rand_r(&seed);
		data[1] = (uint8_t)(i % 8);
		if (i % 2)
			data[10 + 14 + (uint32_t)(rand_r(&seed) % 40)] = (uint8_t)rand_r(&seed);
		CHECK(put_parts(tx_ring(a, 0), data, len, 0));
		CHECK_EQ(nmport_txsync(a), 0);
		CHECK(wait_sent(a, tx_ring(a, 0)));
		CHECK_EQ(nmport_rxsync(b), 0);
		rx->head = rx->cur = rx->tail;
	}
	CHECK_EQ(nmport_rxsync(b), 0);
	rx->head = rx->cur = rx->tail;
	memset(data, 0, 10);
	make_frame(data + 10, FRAME_LEN, 0, 1, 5);
	CHECK(put_parts(tx_ring(a, 0), data, 10 + FRAME_LEN, 0));
	CHECK_EQ(nmport_txsync(a), 0);
	take_frame(b, 0, 1, 5);
	nmport_close(a);
	nmport_close(b);
}

/* ---- the switch's ports ---------------------------------------------------------------- */

TEST(ports_of_a_switch)
{
	enum { PORTS = 254 };
	static struct nmport_d *d[PORTS];
	char name[NETMAP_REQ_IFNAMSIZ];
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};

	if (sizeof(void *) < 8)
		api_skip("the regions of %d ports are more than a program of 32 bits can map",
			PORTS);
	for (int i = 0; i < PORTS; i++) {
		snprintf(name, sizeof(name), "valew:%d", i);
		d[i] = open_shape(name, 1, 4, 4);
	}
	reg.nr_tx_slots = reg.nr_rx_slots = 4;
	CHECK_REFUSED(try_register("valew:onemore", &reg));
	nmport_close(d[17]);
	CHECK_EQ(try_register("valew:onemore", &reg), 0);
	d[17] = open_shape("valew:17", 1, 4, 4);
	send_frame(d[3], 0, 1, 1);
	for (int i = 0; i < PORTS; i += 25)
		if (i != 3)
			take_frame(d[i], 0, 1, 1);
	for (int i = 0; i < PORTS; i++)
		nmport_close(d[i]);
}
