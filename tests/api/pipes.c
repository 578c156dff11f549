/* SPDX-License-Identifier: BSD-2-Clause */
/* Pipes: two ends, nothing lost, whole packets only. */
#include "api.h"

#include <poll.h>
#include <unistd.h>

TEST(pipe_both_ends)
{
	struct nmport_d *m = open_flags("valep:x{1", 0), *s = open_flags("valep:x}1", 0);

	CHECK_EQ(m->reg.nr_mem_id, s->reg.nr_mem_id);
	CHECK(m->reg.nr_tx_rings == 1 && m->reg.nr_rx_rings == 1);
	for (uint32_t i = 0; i < 3000; i++) {
		send_frame(m, 1, 2, i);
		take_frame(s, 1, 2, i);
		send_frame(s, 2, 1, i);
		take_frame(m, 2, 1, i);
	}
	nmport_close(m);
	nmport_close(s);
}

TEST(pipe_of_named_base)
{
	struct nmport_d *m = open_spec("netmap:base{p"), *s = open_spec("netmap:base}p");

	send_frame(m, 1, 2, 5);
	take_frame(s, 1, 2, 5);
	CHECK_EQ(m->reg.nr_mem_id, s->reg.nr_mem_id);
	nmport_close(m);
	nmport_close(s);
}

/* No copy: the buffer itself goes over. */
TEST(pipe_zero_copy)
{
	struct nmport_d *m = open_flags("valep:x{1", 0), *s = open_flags("valep:x}1", 0);
	uint32_t buf = tx_ring(m, 0)->slot[0].buf_idx;
	struct netmap_ring *rx = rx_ring(s, 0);

	send_frame(m, 1, 2, 5);
	CHECK(wait_slots(s, rx, 1));
	CHECK_EQ(rx->slot[rx->head].buf_idx, buf);
	CHECK(tx_ring(m, 0)->slot[0].buf_idx != buf);
	nmport_close(m);
	nmport_close(s);
}

/* What was sent before the other end was opened is there when it is. */
TEST(pipe_waits_for_its_peer)
{
	struct nmport_d *m = open_flags("valep:x{1", 0), *s;

	for (uint32_t i = 0; i < 10; i++)
		send_frame(m, 1, 2, i);
	s = open_flags("valep:x}1", 0);
	for (uint32_t i = 0; i < 10; i++)
		take_frame(s, 1, 2, i);
	nmport_close(s);
	nmport_close(m);
}

/* Full: the sender keeps its packets, and all of them arrive once there is room. */
TEST(pipe_blocks)
{
	struct nmport_d *m = prepare("valep:x{1"), *s;
	uint32_t sent = 0, i;
	uint8_t frame[FRAME_LEN];
	uint64_t limit;

	m->reg.nr_tx_slots = 16;
	m->reg.nr_rx_slots = 16;
	CHECK_EQ(finish(m), 0);
	s = open_flags("valep:x}1", 0);
	CHECK_EQ(rx_ring(s, 0)->num_slots, 16);
	limit = now_ms() + WAIT_MS;
	while (now_ms() < limit) {
		if (sent == 15 && limit > now_ms() + 300)
			limit = now_ms() + 300;
		make_frame(frame, sizeof(frame), 1, 2, sent);
		if (put_parts(tx_ring(m, 0), frame, sizeof(frame), 0))
			sent++;
		CHECK_EQ(nmport_txsync(m), 0);
	}
	CHECK_EQ(sent, 15); /* its ring is full until the other end gives slots back */
	for (i = 0; i < sent; i++)
		take_frame(s, 1, 2, i);
	CHECK_EQ(nmport_rxsync(s), 0);
	expect_empty(s);
	CHECK(wait_sent(m, tx_ring(m, 0)));
	nmport_close(m);
	nmport_close(s);
}

/* Waits until the tx ring has n free slots; it never had more. */
static void wait_free(struct nmport_d *d, uint32_t n)
{
	const struct netmap_ring *ring = tx_ring(d, 0);
	uint64_t limit = now_ms() + WAIT_MS;

	while (nm_ring_space(tx_ring(d, 0)) != n && now_ms() < limit) {
		CHECK(nm_ring_space(tx_ring(d, 0)) < n);
		CHECK_EQ(nmport_txsync(d), 0);
	}
	CHECK_EQ(nm_ring_space(tx_ring(d, 0)), n);
	CHECK_EQ((ring->head + ring->num_slots - ring->tail - 1) % ring->num_slots,
		ring->num_slots - 1 - n);
}

/* What the receiver has not given back is pending; what it has is free. */
TEST(pipe_tx_pending)
{
	struct nmport_d *m = open_shape("valep:x{1", 1, 32, 32), *s = open_flags("valep:x}1", 0);

	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 10; i++)
			send_frame(m, 1, 2, i);
		CHECK(wait_slots(s, rx_ring(s, 0), 10));
		wait_free(m, 31 - 10);
		for (uint32_t i = 0; i < 7; i++)
			take_frame(s, 1, 2, i);
		CHECK_EQ(nmport_rxsync(s), 0);
		wait_free(m, 31 - 3);
		CHECK(nm_tx_pending(tx_ring(m, 0)));
		for (uint32_t i = 7; i < 10; i++)
			take_frame(s, 1, 2, i);
		CHECK_EQ(nmport_rxsync(s), 0);
		CHECK(wait_sent(m, tx_ring(m, 0)));
		CHECK_EQ(nm_ring_space(tx_ring(m, 0)), 31);
	}
	nmport_close(m);
	nmport_close(s);
}

/* A sender that sleeps is woken by the receiver that makes room. */
TEST(pipe_wakes_the_sender)
{
	struct nmport_d *s;
	enum { COUNT = 2000 };
	int pid = part_begin();

	if (pid == 0) {
		struct nmport_d *m = prepare("valep:w{1");
		uint8_t frame[FRAME_LEN];

		m->reg.nr_tx_slots = m->reg.nr_rx_slots = 32;
		CHECK_EQ(finish(m), 0);
		for (uint32_t i = 0; i < COUNT; i++) {
			make_frame(frame, sizeof(frame), 1, 2, i);
			while (!put_parts(tx_ring(m, 0), frame, sizeof(frame), 0))
				CHECK(nmport_poll(m, POLLOUT, WAIT_MS) & POLLOUT);
		}
		for (uint64_t limit = now_ms() + WAIT_MS; nm_tx_pending(tx_ring(m, 0));) {
			CHECK(now_ms() < limit);
			CHECK_EQ(nmport_txsync(m), 0);
			sleep_ms(1);
		}
		part_end();
	}
	s = prepare("valep:w}1");
	s->reg.nr_tx_slots = s->reg.nr_rx_slots = 32;
	CHECK_EQ(finish(s), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		if (nm_ring_empty(rx_ring(s, 0)))
			CHECK(nmport_poll(s, POLLIN, WAIT_MS) & POLLIN);
		take_frame(s, 1, 2, i);
	}
	CHECK_EQ(nmport_rxsync(s), 0);
	part_join(pid);
	nmport_close(s);
}

TEST(pipe_fragments)
{
	static uint8_t data[64 * 100], got[64 * 100];
	struct nmport_d *m = open_shape("valep:x{1", 1, 256, 256), *s = open_flags("valep:x}1", 0);
	struct netmap_ring *tx = tx_ring(m, 0), *rx = rx_ring(s, 0);
	uint32_t slots;

	for (uint32_t parts = 1; parts <= NETMAP_MAX_FRAGS; parts += parts < 4 ? 1 : 20) {
		make_frame(data, parts * 100, 1, 2, parts);
		CHECK(put_parts(tx, data, parts * 100, 100));
		CHECK_EQ(nmport_txsync(m), 0);
		CHECK_EQ(take_packet(s, rx, got, sizeof(got), &slots), parts * 100);
		CHECK_EQ(slots, parts);
		CHECK_EQ(memcmp(data, got, parts * 100), 0);
	}
	/* Half a packet does not show. */
	make_frame(data, 300, 1, 2, 9);
	CHECK(put_parts(tx, data, 300, 100));
	tx->head = tx->cur = tx->head ? tx->head - 1 : tx->num_slots - 1;
	CHECK_EQ(nmport_txsync(m), 0);
	expect_empty(s);
	tx->head = tx->cur = nm_ring_next(tx, tx->head);
	CHECK_EQ(nmport_txsync(m), 0);
	CHECK_EQ(take_packet(s, rx, got, sizeof(got), &slots), 300);
	nmport_close(m);
	nmport_close(s);
}

TEST(pipe_too_many_fragments)
{
	static const uint32_t counts[] = {65, 255, 256, 2000};
	static uint8_t data[2000 * 20];
	struct nmport_d *m = open_shape("valep:x{1", 1, 2048, 2048);
	struct nmport_d *s = open_flags("valep:x}1", 0);

	for (unsigned int i = 0; i < 4; i++) {
		make_frame(data, counts[i] * 20, 1, 2, i);
		CHECK(wait_sent(m, tx_ring(m, 0)));
		CHECK(put_parts(tx_ring(m, 0), data, counts[i] * 20, 20));
		CHECK_EQ(nmport_txsync(m), 0);
		send_frame(m, 1, 2, 1000 + i);
		take_frame(s, 1, 2, 1000 + i);
		CHECK_EQ(nmport_rxsync(s), 0);
	}
	nmport_close(m);
	nmport_close(s);
}

TEST(pipe_rings)
{
	struct nmport_d *m = prepare("valep:x{1"), *s;
	uint8_t frame[FRAME_LEN], got[FRAME_LEN];
	uint32_t slots;

	m->reg.nr_tx_rings = 3;
	m->reg.nr_rx_rings = 2;
	m->reg.nr_tx_slots = 64;
	m->reg.nr_rx_slots = 32;
	CHECK_EQ(finish(m), 0);
	s = open_flags("valep:x}1", 0);
	/* What one end sends the other receives. */
	CHECK(m->reg.nr_tx_rings == 3 && m->reg.nr_rx_rings == 2);
	CHECK(s->reg.nr_tx_rings == 2 && s->reg.nr_rx_rings == 3);
	CHECK(rx_ring(s, 0)->num_slots == 64 && tx_ring(s, 0)->num_slots == 32);
	for (uint32_t i = 0; i < 3; i++) {
		make_frame(frame, sizeof(frame), 1, 2, i);
		CHECK(put_parts(tx_ring(m, i), frame, sizeof(frame), 0));
		CHECK_EQ(nmport_txsync(m), 0);
		CHECK_EQ(take_packet(s, rx_ring(s, i), got, sizeof(got), &slots), FRAME_LEN);
		CHECK_EQ(memcmp(frame, got, sizeof(got)), 0);
	}
	nmport_close(m);
	nmport_close(s);
}

/* Many of one parent, which is used, too. */
TEST(pipes_of_one_parent)
{
	enum { PIPES = 70 };
	struct nmport_d *parent = open_shape("valep:x", 1, 32, 32), *other, *m[PIPES], *s[PIPES];
	char name[NETMAP_REQ_IFNAMSIZ];

	other = open_flags("valep:y", 0);
	for (int i = 0; i < PIPES; i++) {
		snprintf(name, sizeof(name), "valep:x{%d", i);
		m[i] = open_shape(name, 1, 16, 16);
		snprintf(name, sizeof(name), "valep:x}%d", i);
		s[i] = open_shape(name, 1, 16, 16);
	}
	for (int i = 0; i < PIPES; i++)
		send_frame(m[i], 1, 2, (uint32_t)i);
	for (int i = 0; i < PIPES; i++) {
		take_frame(s[i], 1, 2, (uint32_t)i);
		expect_empty(s[i]);
		i += 6;
	}
	send_frame(parent, 0, 1, 1);
	take_frame(other, 0, 1, 1);
	/* The parent may go first. */
	nmport_close(parent);
	send_frame(m[0], 1, 2, 77);
	take_frame(s[0], 1, 2, 77);
	for (int i = 0; i < PIPES; i++) {
		nmport_close(m[i]);
		nmport_close(s[i]);
	}
	nmport_close(other);
}

TEST(pipe_older_spelling)
{
	struct nmport_d *m = prepare("valep:x"), *s = prepare("valep:x");

	m->reg.nr_mode = NR_REG_PIPE_MASTER;
	s->reg.nr_mode = NR_REG_PIPE_SLAVE;
	m->reg.nr_ringid = s->reg.nr_ringid = 3;
	CHECK_EQ(finish(m), 0);
	CHECK_EQ(finish(s), 0);
	send_frame(m, 1, 2, 5);
	take_frame(s, 1, 2, 5);
	nmport_close(m);
	m = open_flags("valep:x{3", 0);
	send_frame(m, 1, 2, 6);
	take_frame(s, 1, 2, 6);
	nmport_close(m);
	nmport_close(s);
}

/* A pipe whose ends are gone begins empty. */
TEST(pipe_ends)
{
	struct nmport_d *m = open_flags("valep:x{1", 0), *s;
	struct nmreq_port_info_get info;

	send_frame(m, 1, 2, 5);
	nmport_close(m);
	m = open_flags("valep:x{1", 0);
	s = open_flags("valep:x}1", 0);
	send_frame(m, 1, 2, 6);
	take_frame(s, 1, 2, 6);
	expect_empty(s);
	nmport_close(s);
	nmport_close(m);
	CHECK_EQ(request(NETMAP_REQ_PORT_INFO_GET, "base{1", &info), 0);
}

/* The slot's buffer index can be any number: refused and counted, the pipe goes on. */
TEST(pipe_bad_slots)
{
	static const uint32_t indices[] = {0, 1, 1u << 20, 1u << 31, UINT32_MAX};
	struct nmport_d *m = open_flags("valep:x{1", 0), *s = open_flags("valep:x}1", 0);
	struct netmap_ring *tx = tx_ring(m, 0);

	for (unsigned int i = 0; i < 6; i++) {
		struct netmap_slot *slot = &tx->slot[tx->head];
		uint32_t good = slot->buf_idx;

		slot->len = FRAME_LEN;
		slot->flags = NS_BUF_CHANGED;
		if (i < 5)
			slot->buf_idx = indices[i];
		else
			slot->len = UINT16_MAX;
		tx->head = tx->cur = nm_ring_next(tx, tx->head);
		CHECK_EQ(nmport_txsync(m), 0);
		CHECK(wait_sent(m, tx));
		slot->buf_idx = good;
		send_frame(m, 1, 2, i);
		take_frame(s, 1, 2, i);
		CHECK_EQ(nmport_rxsync(s), 0);
	}
	nmport_close(m);
	nmport_close(s);
}
