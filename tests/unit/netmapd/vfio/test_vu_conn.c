/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection as a stream: messages and descriptors in pieces and in heaps, clients that
 * are slow, deaf, or talk nonsense, and what is left behind.
 */
#include "fake_device.h"
#include "closer.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/*
 * Descriptors go with the message they were sent with, however messages are cut and glued.
 */
static void test_fds_in_a_row(void **state)
{
	struct {
		struct vu_hdr hdr;
		struct vu_dma_map map;
	} m[3];
	struct vfc_reply reply;
	int fds[3], i;

	open_files(fds, 3);
	for (i = 0; i < 3; i++) {
		m[i].hdr = (struct vu_hdr){
			.id = (uint16_t)i, .command = VU_DMA_MAP, .size = sizeof(m[i])};
		m[i].map = (struct vu_dma_map){.argsz = sizeof(m[i].map), .flags = 3, .size = 4096};
		/* All three are in the socket before the server looks. */
		assert_int_equal(vfc_send(client, &m[i], sizeof(m[i]), &fds[i], i != 1), 0);
	}
	/* The first read stops behind the first descriptor; all are read in the first turn, unless its time is over. */
	for (i = 0; i < 3; i++)
		assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
	assert_int_equal(dev.maps, 3);
	assert_int_equal(dev.fd_offset, 12);
	for (i = 0; i < 3; i++) {
		assert_int_equal(vfc_receive(client, &reply), 0);
		assert_int_equal(reply.hdr.id, i);
		assert_int_equal(reply.hdr.flags, VU_TYPE_REPLY);
	}
	close_files(fds, 3);
	expect_alive();
}

static void test_fds_in_pieces(void **state)
{
	struct {
		struct vu_hdr hdr;
		struct vu_dma_map map;
	} m[2];
	const char *bytes = (const char *)m;
	int fds[2];
	size_t i;

	open_files(fds, 2);
	for (i = 0; i < 2; i++) {
		m[i].hdr = (struct vu_hdr){
			.command = VU_DMA_MAP, .size = sizeof(m[i]), .flags = VU_FLAG_NO_REPLY};
		m[i].map = (struct vu_dma_map){.argsz = sizeof(m[i].map), .flags = 3, .size = 4096};
	}
	/* Byte by byte, the descriptor with the first one of its message. */
	for (i = 0; i < sizeof(m); i++) {
		assert_int_equal(vfc_send(client, bytes + i, 1, &fds[i / sizeof(m[0])],
					 i % sizeof(m[0]) == 0),
			0);
		pump(NULL);
		assert_int_equal(dev.maps, (i + 1) / sizeof(m[0]));
		if (i + 1 == sizeof(m[0]))
			assert_int_equal(dev.fd_offset, 10);
	}
	assert_int_equal(dev.fd_offset, 11);
	/* The end of one message and the beginning of the next in one piece. */
	assert_int_equal(vfc_send(client, bytes, 30, &fds[0], 1), 0);
	pump(NULL);
	assert_int_equal(vfc_send(client, bytes + 30, sizeof(m) - 40, &fds[1], 1), 0);
	pump(NULL);
	assert_int_equal(dev.maps, 3);
	assert_int_equal(dev.fd_offset, 10);
	assert_int_equal(vfc_send(client, bytes + sizeof(m) - 10, 10, NULL, 0), 0);
	pump(NULL);
	assert_int_equal(dev.maps, 4);
	assert_int_equal(dev.fd_offset, 11);
	close_files(fds, 2);
	expect_alive();
}

static void test_fds_too_many(void **state)
{
	struct vu_dma_map map = {.argsz = sizeof(map), .flags = 3, .size = 4096};
	struct vu_region_rw rw = {.count = 4};
	int fds[100];
	uint32_t i;

	open_files(fds, 100);
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), fds, 2, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), fds, 100, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, VU_REGION_READ, &rw, sizeof(rw), fds, 1, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, VU_DEVICE_RESET, NULL, 0, fds, 1, NULL), -EINVAL);
	assert_int_equal(vfc_call(client, 99, NULL, 0, fds, 3, NULL), -EOPNOTSUPP);
	assert_int_equal(calls(), 0);
	/* Two per byte of a message: more than fit, in one message, over several reads. */
	for (i = 0; i < sizeof(struct vu_hdr); i++) {
		const struct vu_hdr hdr = {
			.command = VU_DEVICE_RESET, .size = sizeof(hdr), .flags = VU_FLAG_NO_REPLY};

		assert_int_equal(vfc_send(client, (const char *)&hdr + i, 1, fds, 2), 0);
		pump(NULL);
	}
	assert_int_equal(calls(), 0);
	assert_int_equal(count_fds(0), fds_before + 3 + 100);
	assert_int_equal(vfc_call(client, VU_DMA_MAP, &map, sizeof(map), fds, 1, NULL), 0);
	close_files(fds, 100);
	expect_alive();
}

/*
 * The stream
 */

static void test_no_reply(void **state)
{
	assert_int_equal(
		vfc_send_message(client, VU_DEVICE_RESET, VU_FLAG_NO_REPLY, NULL, 0, NULL, 0, NULL),
		0);
	assert_int_equal(
		vfc_send_message(client, VU_DEVICE_RESET, VU_FLAG_NO_REPLY, "x", 1, NULL, 0, NULL),
		0);
	assert_int_equal(vfc_send_message(client, 77, VU_FLAG_NO_REPLY, "x", 1, NULL, 0, NULL), 0);
	expect_alive(); /* and not one reply before that of this */
	assert_int_equal(dev.resets, 1);
}

static void test_closed_for_nonsense(void **state)
{
	const struct vu_hdr *bad = *state;

	assert_int_equal(vfc_send(client, bad, sizeof(*bad), NULL, 0), 0);
	expect_dead(-EPROTO);
	assert_int_equal(calls(), 0);
}

static const struct vu_hdr nonsense[] = {
	{.command = VU_DEVICE_RESET, .size = 0},
	{.command = VU_DEVICE_RESET, .size = 15},
	{.command = VU_REGION_WRITE, .size = VU_MSG_MAX + 1},
	{.command = VU_REGION_WRITE, .size = UINT32_MAX},
	{.command = VU_DEVICE_RESET, .size = 16, .flags = VU_TYPE_REPLY},
	{.command = VU_DEVICE_RESET, .size = 16, .flags = 2},
	{.command = VU_DEVICE_RESET, .size = 16, .flags = 15},
};

/* What came before the nonsense is done, what comes behind it is not. */
static void test_closed_in_order(void **state)
{
	struct vu_hdr three[3] = {{.command = VU_DEVICE_RESET, .size = 16},
		{.command = VU_DEVICE_RESET, .size = 1}, {.command = VU_DEVICE_RESET, .size = 16}};

	assert_int_equal(vfc_send(client, three, sizeof(three), NULL, 0), 0);
	expect_dead(-EPROTO);
	assert_int_equal(dev.resets, 1);
}

static void test_client_closes(void **state)
{
	const char half[20] = {0, 0, VU_REGION_WRITE, 0, 100};

	assert_int_equal(vfc_send(client, half, sizeof(half), NULL, 0), 0);
	pump(NULL);
	assert_non_null(conn);
	assert_int_equal(shutdown(vfc_fd(client), SHUT_WR), 0);
	expect_dead(-ECONNRESET);
	assert_int_equal(calls(), 0);
}

static void test_pipelined(void **state)
{
	struct vu_hdr hdr[500];
	struct vfc_reply reply;
	int i;

	for (i = 0; i < 500; i++)
		hdr[i] = (struct vu_hdr){.id = (uint16_t)i, .command = VU_DEVICE_RESET, .size = 16};
	assert_int_equal(vfc_send(client, hdr, sizeof(hdr), NULL, 0), 0);
	for (i = 0; i < 500; i++) {
		assert_int_equal(vfc_receive(client, &reply), 0);
		assert_int_equal(reply.hdr.id, i);
	}
	assert_int_equal(dev.resets, 500);
	expect_alive();
}

/* The largest message in one byte pieces. */
static void test_large_in_pieces(void **state)
{
	struct {
		struct vu_hdr hdr;
		struct vu_region_rw rw;
		uint8_t data[VU_DATA_MAX];
	} m;
	struct vfc_reply reply;
	size_t i;

	memset(&m, 0x5a, sizeof(m));
	m.hdr = (struct vu_hdr){.id = 9, .command = VU_REGION_WRITE, .size = sizeof(m)};
	m.rw = (struct vu_region_rw){.offset = 0, .region = 0, .count = VU_DATA_MAX};
	for (i = 0; i < sizeof(m); i++) {
		assert_int_equal(vfc_send(client, (char *)&m + i, 1, NULL, 0), 0);
		assert_int_equal(dev.writes, 0);
		assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
	}
	assert_int_equal(dev.writes, 1);
	assert_int_equal(vfc_receive(client, &reply), 0);
	assert_int_equal(reply.hdr.id, 9);
}

/* A message that takes longer than a turn ends it; what has come behind it waits for the next turn, in order. */
static void test_fair(void **state)
{
	struct vu_hdr hdr[64];
	unsigned int i;

	for (i = 0; i < 64; i++)
		hdr[i] = (struct vu_hdr){
			.command = VU_DEVICE_RESET, .size = 16, .flags = VU_FLAG_NO_REPLY};
	assert_int_equal(vfc_send(client, hdr, sizeof(hdr), NULL, 0), 0);
	dev.reset_us = VU_CONN_TURN_US;
	for (i = 1; i <= 64; i++) {
		assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
		assert_int_equal(dev.resets, i);
		assert_int_equal(vu_conn_more(conn), i < 64 ? VU_CONN_NOW : VU_CONN_DONE);
	}
	assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
	assert_int_equal(dev.resets, 64);
	expect_alive();
}

static bool no_room; /* for what a message can carry */

bool __real_closer_may_receive(const struct closer_queue *q, int sock);
bool __wrap_closer_may_receive(const struct closer_queue *q, int sock);
bool __wrap_closer_may_receive(const struct closer_queue *q, int sock)
{
	return !no_room && __real_closer_may_receive(q, sock);
}

/* While its descriptors could not be closed nothing of a client is read: it waits, and is not forgotten. */
static void test_waits_for_the_closer(void **state)
{
	const struct vu_hdr hdr = {
		.command = VU_DEVICE_RESET, .size = sizeof(hdr), .flags = VU_FLAG_NO_REPLY};

	no_room = true;
	assert_int_equal(vfc_send(client, &hdr, sizeof(hdr), NULL, 0), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
		assert_int_equal(dev.resets, 0);
		assert_int_equal(vu_conn_more(conn), VU_CONN_LATER);
	}
	no_room = false;
	assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
	assert_int_equal(dev.resets, 1);
	assert_int_equal(vu_conn_more(conn), VU_CONN_DONE);
	expect_alive();
}

/* Of a client that has hung up, what it had sent before is not done any more. */
static void test_backlog_of_the_dead(void **state)
{
	struct vu_hdr hdr[64];

	for (unsigned int i = 0; i < 64; i++)
		hdr[i] = (struct vu_hdr){
			.command = VU_DEVICE_RESET, .size = 16, .flags = VU_FLAG_NO_REPLY};
	assert_int_equal(vfc_send(client, hdr, sizeof(hdr), NULL, 0), 0);
	dev.reset_us = VU_CONN_TURN_US;
	assert_int_equal(vu_conn_ready(conn, EPOLLIN), 0);
	assert_int_equal(vu_conn_ready(conn, EPOLLIN | EPOLLHUP), -ECONNRESET);
	assert_int_equal(dev.resets, 1);
}

/* A client that asks and never listens is let go; what it asked before was done in order. */
static void test_deaf_client(void **state)
{
	const struct vu_region_rw rw = {.region = 0, .count = VU_DATA_MAX};
	unsigned int sent;

	vfc_set_idle(client, NULL, NULL);
	for (sent = 0; conn && sent < 100000; sent++) {
		/* The request may fail once the connection is gone. */
		if (vfc_send_message(client, VU_REGION_READ, 0, &rw, sizeof(rw), NULL, 0, NULL))
			break;
		pump(NULL);
	}
	assert_null(conn);
	assert_int_equal(dead_error, -ENOBUFS);
	/* It could have asked for as much as the socket and the queue hold, and no more. */
	assert_true(dev.reads * (uint64_t)VU_DATA_MAX < 8u << 20);
}

/* Replies that did not fit are sent later, complete, in order, with their descriptor. */
static void test_slow_client(void **state)
{
	const struct vu_region_rw rw = {.region = 0, .count = VU_DATA_MAX};
	const struct vu_region_info_msg ask = {.argsz = sizeof(ask), .index = 1};
	int small = 4096, replies = 0, i;
	struct vfc_reply reply;
	uint16_t id;

	assert_int_equal(
		setsockopt(vu_conn_fd(conn), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (i = 0; i < 20; i++) {
		assert_int_equal(
			vfc_send_message(client, VU_REGION_READ, 0, &rw, sizeof(rw), NULL, 0, NULL),
			0);
		pump(NULL);
	}
	assert_int_equal(vfc_send_message(client, VU_DEVICE_GET_REGION_INFO, 0, &ask, sizeof(ask),
				 NULL, 0, &id),
		0);
	pump(NULL);
	assert_non_null(conn);
	assert_true(vu_conn_events(conn) & EPOLLOUT);
	for (;;) {
		assert_int_equal(vfc_receive(client, &reply), 0);
		replies++;
		if (reply.hdr.command == VU_DEVICE_GET_REGION_INFO)
			break;
		assert_int_equal(reply.fd, -1);
		assert_int_equal(reply.len, sizeof(rw) + VU_DATA_MAX);
	}
	assert_int_equal(replies, 21);
	assert_int_equal(reply.hdr.id, id);
	assert_true(reply.fd >= 0);
	close(reply.fd);
	assert_false(vu_conn_events(conn) & EPOLLOUT);
	expect_alive();
}

/*
 * Random messages, often almost right: nothing may crash, leak, or get out of step. A new
 * connection is made when the old one was closed.
 */
static void random_message(uint64_t *seed, int *fds)
{
	static const uint32_t interesting[] = {0, 1, 2, 3, 4, 7, 8, 16, 20, 24, 32, 4095, 4096,
		4097, 8191, 8192, 0x7fffffff, 0x80000000, 0xffffffff};
	const unsigned int count = sizeof(interesting) / sizeof(interesting[0]);
	uint32_t words[16];
	uint16_t command = (uint16_t)(next_random(seed) % (VU_COMMANDS + 1));
	uint32_t flags = next_random(seed) % 8 ? 0 : VU_FLAG_NO_REPLY;
	unsigned int nfds = next_random(seed) % 4 ? 0 : (unsigned int)(next_random(seed) % 6);
	size_t len = 4 * (next_random(seed) % 16), i;

	for (i = 0; i < 16; i++)
		words[i] = interesting[next_random(seed) % count];
	if (next_random(seed) % 2)
		words[0] = 64; /* argsz */
	if (next_random(seed) % 100 == 0)
		flags ^= 1u << (next_random(seed) % 32);
	/* The client may find the connection closed. */
	(void)vfc_send_message(client, command, flags, words, len, fds, nfds, NULL);
}

static void test_random(void **state)
{
	uint64_t seed = 0xfeedbeef;
	unsigned int closed = 0;
	int fds[6], i, before;

	for (i = 0; i < 3; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		fds[3 + i] = make_memfd(8192, RAM_SEALS);
	}
	before = count_fds(0);
	for (i = 0; i < 30000; i++) {
		struct vfc_reply reply;

		random_message(&seed, fds);
		pump(NULL);
		while (conn && recv(vfc_fd(client), &reply, 1, MSG_PEEK | MSG_DONTWAIT) == 1) {
			assert_int_equal(vfc_receive(client, &reply), 0);
			assert_int_equal(reply.hdr.flags & VU_TYPE_MASK, VU_TYPE_REPLY);
			if (reply.fd >= 0)
				close(reply.fd);
		}
		if (conn)
			continue;
		closed++;
		assert_int_equal(dead_error, -EPROTO);
		close_files(fds, 6);
		teardown(state);
		setup(state);
		close(dev.region_fd); /* the numbers of descriptors come out as before */
		for (int k = 0; k < 3; k++) {
			fds[k] = eventfd(0, EFD_CLOEXEC);
			fds[3 + k] = make_memfd(8192, RAM_SEALS);
		}
		dev.region_fd = make_memfd(8192, 0);
		assert_int_equal(count_fds(0), before);
	}
	assert_true(closed > 0);
	expect_alive();
	assert_int_equal(count_fds(0), before);
	close_files(fds, 6);
}

#define NONSENSE(i)                                                                        \
	{                                                                                  \
		"test_closed_for_nonsense_" #i, test_closed_for_nonsense, setup, teardown, \
			(void *)&nonsense[i]                                               \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fds_in_a_row, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fds_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fds_too_many, setup, teardown),
		NONSENSE(0),
		NONSENSE(1),
		NONSENSE(2),
		NONSENSE(3),
		NONSENSE(4),
		NONSENSE(5),
		NONSENSE(6),
		cmocka_unit_test_setup_teardown(test_no_reply, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits_for_the_closer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backlog_of_the_dead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deaf_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests_name("vu_conn", tests, NULL, NULL);
}
