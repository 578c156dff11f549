/* SPDX-License-Identifier: BSD-2-Clause */
/* Rings and slots: what is refused, what is dropped; waiting. */
#include "api.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

enum { SLOTS = 64 };

/* An illegal move is refused each time, and put back; then the ring works. */
static void illegal(struct nmport_d *d, struct netmap_ring *ring, uint32_t head, uint32_t cur)
{
	int (*sync)(struct nmport_d *) = ring->dir ? nmport_rxsync : nmport_txsync;
	uint32_t good = ring->head;

	for (int i = 0; i < 3; i++) {
		ring->head = head;
		ring->cur = cur;
		errno = 0;
		if (sync(d) != -1 || errno != EINVAL)
			api_fail(__FILE__, __LINE__,
				"%s ring, head %u cur %u: the sync ends with errno %d",
				ring->dir ? "rx" : "tx", head, cur, errno);
		CHECK_EQ(ring->head, good);
		CHECK_EQ(ring->cur, good);
	}
	CHECK_EQ(sync(d), 0);
}

TEST(illegal_moves)
{
	struct nmport_d *a = open_shape("valed:1", 1, SLOTS, SLOTS);
	struct nmport_d *b = open_shape("valed:2", 1, SLOTS, SLOTS);
	struct netmap_ring *tx = tx_ring(a, 0), *rx = rx_ring(b, 0);

	for (uint32_t i = 0; i < 10; i++)
		send_frame(a, 0, 1, i);
	CHECK(wait_sent(a, tx));
	CHECK(wait_slots(b, rx, 10));
	/* tx: head 10, tail 9; the one slot between them stays unused. */
	illegal(a, tx, 9, 9 + SLOTS);
	illegal(a, tx, SLOTS, SLOTS);
	illegal(a, tx, UINT32_MAX, 10);
	illegal(a, tx, 10, UINT32_MAX);
	illegal(a, tx, 12, 11); /* cur behind head */
	illegal(a, tx, 1u << 31, 1u << 31);
	/* rx: head 0, tail 10 */
	illegal(b, rx, 11, 11);
	illegal(b, rx, 0, 11);
	illegal(b, rx, SLOTS - 1, SLOTS - 1);
	illegal(b, rx, 5, 4);
	illegal(b, rx, SLOTS, 0);
	/* Up to the bound is legal. */
	rx->cur = rx->tail;
	CHECK_EQ(nmport_rxsync(b), 0);
	rx->cur = rx->head;
	CHECK_EQ(nmport_rxsync(b), 0);
	for (uint32_t i = 0; i < 10; i++)
		take_frame(b, 0, 1, i);
	send_frame(a, 0, 1, 50);
	take_frame(b, 0, 1, 50);
	nmport_close(a);
	nmport_close(b);
}

TEST(sync_before_registration)
{
	struct nmport_d *d = prepare("valed:1");

	CHECK_EQ(nmport_txsync(d), -1);
	CHECK_EQ(nmport_rxsync(d), -1);
	nmport_close(d);
}

/* All slots but one. */
TEST(whole_ring)
{
	struct nmport_d *a = open_shape("valed:1", 1, SLOTS, SLOTS);
	struct nmport_d *b = open_shape("valed:2", 1, SLOTS, SLOTS);
	uint8_t frame[FRAME_LEN];

	for (uint32_t round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < SLOTS - 1; i++) {
			make_frame(frame, sizeof(frame), 0, 1, i);
			CHECK(put_parts(tx_ring(a, 0), frame, sizeof(frame), 0));
		}
		CHECK(!put_parts(tx_ring(a, 0), frame, sizeof(frame), 0));
		CHECK_EQ(nmport_txsync(a), 0);
		for (uint32_t i = 0; i < SLOTS - 1; i++)
			take_frame(b, 0, 1, i);
		/* They are free when the port has seen it, which in netmapd is a moment later, and nothing says when. */
		CHECK_EQ(nmport_rxsync(b), 0);
		sleep_ms(300);
		CHECK(wait_sent(a, tx_ring(a, 0)));
	}
	nmport_close(a);
	nmport_close(b);
}

TEST(lengths)
{
	static uint8_t data[UINT16_MAX], got[UINT16_MAX];
	struct nmport_d *a = open_flags("valed:1", 0), *b = open_flags("valed:2", 0);
	struct netmap_ring *tx = tx_ring(a, 0);
	uint32_t size = tx->nr_buf_size, slots, lens[] = {14, 15, 60, 64, 1499, size - 1, size};

	for (unsigned int i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		make_frame(data, lens[i], 0, 1, i);
		CHECK(put_parts(tx, data, lens[i], 0));
		CHECK_EQ(nmport_txsync(a), 0);
		CHECK_EQ(take_packet(b, rx_ring(b, 0), got, sizeof(got), &slots), lens[i]);
		CHECK_EQ(memcmp(data, got, lens[i]), 0);
		CHECK_EQ(slots, 1);
	}
	nmport_close(a);
	nmport_close(b);
}

/* One bad slot; the frame behind it arrives, the bad one does not. */
static void bad_slot(struct nmport_d *a, struct nmport_d *b, uint32_t index, uint16_t len,
	uint16_t flags, uint64_t ptr, uint32_t number)
{
	struct netmap_ring *tx = tx_ring(a, 0);
	struct netmap_slot *slot = &tx->slot[tx->head], good = *slot;

	make_frame((uint8_t *)NETMAP_BUF(tx, slot->buf_idx), FRAME_LEN, 0, 1, 9999);
	slot->buf_idx = index ? index - 1 : good.buf_idx;
	slot->len = len;
	slot->flags = flags;
	slot->ptr = ptr;
	tx->head = tx->cur = nm_ring_next(tx, tx->head);
	CHECK_EQ(nmport_txsync(a), 0);
	CHECK(wait_sent(a, tx));
	*slot = good;
	slot->flags = NS_BUF_CHANGED;
	send_frame(a, 0, 1, number);
	take_frame(b, 0, 1, number);
	expect_empty(b);
}

TEST(bad_slots)
{
	struct nmport_d *a = open_flags("valed:1", 0), *b = open_flags("valed:2", 0);
	struct nmreq_pools_info pools = {0};
	uint32_t size = tx_ring(a, 0)->nr_buf_size, n = 0;

	CHECK_EQ(request_on(a, NETMAP_REQ_POOLS_INFO_GET, "", &pools), 0);
	/* index + 1: reserved ones, and from the end of the pool on */
	bad_slot(a, b, 0 + 1, FRAME_LEN, NS_BUF_CHANGED, 0, n++);
	bad_slot(a, b, 1 + 1, FRAME_LEN, NS_BUF_CHANGED, 0, n++);
	bad_slot(a, b, pools.nr_buf_pool_objtotal + 1, FRAME_LEN, NS_BUF_CHANGED, 0, n++);
	bad_slot(a, b, 1u << 31, FRAME_LEN, NS_BUF_CHANGED, 0, n++);
	bad_slot(a, b, UINT32_MAX, FRAME_LEN, NS_BUF_CHANGED, 0, n++);
	if (size < UINT16_MAX) {
		bad_slot(a, b, 0, (uint16_t)(size + 1), 0, 0, n++);
		bad_slot(a, b, 0, UINT16_MAX, 0, 0, n++);
	}
	bad_slot(a, b, 0, 0, 0, 0, n++);
	bad_slot(a, b, 0, 13, 0, 0, n++); /* shorter than an Ethernet header */
	nmport_close(a);
	nmport_close(b);
}

/* A buffer in two slots: two packets with the same bytes, nothing worse. */
TEST(repeated_buffer)
{
	struct nmport_d *a = open_flags("valed:1", 0), *b = open_flags("valed:2", 0);
	struct netmap_ring *tx = tx_ring(a, 0);
	uint32_t at = tx->head, buf = tx->slot[at].buf_idx;

	make_frame((uint8_t *)NETMAP_BUF(tx, buf), FRAME_LEN, 0, 1, 7);
	for (int i = 0; i < 4; i++) {
		tx->slot[at].buf_idx = buf;
		tx->slot[at].len = FRAME_LEN;
		tx->slot[at].flags = NS_BUF_CHANGED;
		at = nm_ring_next(tx, at);
	}
	tx->head = tx->cur = at;
	CHECK_EQ(nmport_txsync(a), 0);
	for (int i = 0; i < 4; i++)
		take_frame(b, 0, 1, 7);
	nmport_close(a);
	a = open_flags("valed:1", 0);
	send_frame(a, 0, 1, 8);
	take_frame(b, 0, 1, 8);
	nmport_close(a);
	nmport_close(b);
}

/* The receiver's slots are as hostile: what has no place is dropped. */
TEST(bad_rx_slots)
{
	struct nmport_d *a = open_shape("valed:1", 1, SLOTS, SLOTS);
	struct nmport_d *b = open_shape("valed:2", 1, SLOTS, SLOTS);
	struct netmap_ring *rx = rx_ring(b, 0);
	uint32_t good[SLOTS];

	for (uint32_t i = 0; i < SLOTS; i++) {
		good[i] = rx->slot[i].buf_idx;
		rx->slot[i].buf_idx = i % 3 ? i : UINT32_MAX - i;
		rx->slot[i].flags = NS_BUF_CHANGED;
	}
	for (uint32_t i = 0; i < 2 * SLOTS; i++) {
		send_frame(a, 0, 1, i);
		CHECK(wait_sent(a, tx_ring(a, 0)));
		CHECK_EQ(nmport_rxsync(b), 0);
		rx->head = rx->cur = rx->tail;
	}
	CHECK_EQ(nmport_rxsync(b), 0);
	for (uint32_t i = 0; i < SLOTS; i++) {
		rx->slot[i].buf_idx = good[i];
		rx->slot[i].flags = NS_BUF_CHANGED;
	}
	CHECK_EQ(nmport_rxsync(b), 0);
	rx->head = rx->cur = rx->tail;
	CHECK_EQ(nmport_rxsync(b), 0);
	send_frame(a, 0, 1, 1000);
	take_frame(b, 0, 1, 1000);
	nmport_close(a);
	nmport_close(b);
}

TEST(fragments)
{
	static uint8_t data[64 * 1000], got[64 * 1000];
	struct nmport_d *a = open_flags("valed:1", 0), *b = open_flags("valed:2", 0);
	uint32_t slots;

	for (uint32_t parts = 1; parts <= NETMAP_MAX_FRAGS; parts++) {
		uint32_t len = parts * 999 + 1;

		make_frame(data, len, 0, 1, parts);
		CHECK(put_parts(tx_ring(a, 0), data, len, (len + parts - 1) / parts));
		CHECK_EQ(nmport_txsync(a), 0);
		CHECK_EQ(take_packet(b, rx_ring(b, 0), got, sizeof(got), &slots), len);
		CHECK(slots <= parts);
		CHECK_EQ(memcmp(data, got, len), 0);
	}
	nmport_close(a);
	nmport_close(b);
}

TEST(too_many_fragments)
{
	static const uint32_t counts[] = {65, 66, 128, 255, 256, 257, 2000};
	static uint8_t data[2000 * 30];
	struct nmport_d *a = open_shape("valed:1", 1, 4096, 4096);
	struct nmport_d *b = open_shape("valed:2", 1, 4096, 4096);

	for (unsigned int i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		make_frame(data, counts[i] * 30, 0, 1, i);
		CHECK(wait_sent(a, tx_ring(a, 0)));
		CHECK(put_parts(tx_ring(a, 0), data, counts[i] * 30, 30));
		CHECK_EQ(nmport_txsync(a), 0);
		send_frame(a, 0, 1, 1000 + i);
		take_frame(b, 0, 1, 1000 + i);
		expect_empty(b);
	}
	nmport_close(a);
	nmport_close(b);
}

/* ---- waiting -------------------------------------------------------------------------- */

TEST(poll_timeout)
{
	struct nmport_d *d = open_flags("valed:1", 0);
	uint64_t before = now_ms();

	CHECK_EQ(nmport_poll(d, POLLIN, 0), 0);
	CHECK_EQ(nmport_poll(d, POLLIN, 120), 0);
	CHECK(now_ms() - before >= 110 && now_ms() - before < 10000);
	CHECK_EQ(nmport_poll(d, POLLOUT, 0), POLLOUT);
	CHECK_EQ(nmport_poll(d, POLLIN | POLLOUT, 0), POLLOUT);
	nmport_close(d);
}

TEST(poll_wakes_receiver)
{
	struct nmport_d *b = open_flags("valed:2", 0);
	int pid = part_begin();

	if (pid == 0) {
		struct nmport_d *a = open_flags("valed:1", 0);

		sleep_ms(150);
		send_frame(a, 0, 1, 3);
		CHECK(wait_sent(a, tx_ring(a, 0)));
		part_end();
	}
	CHECK_EQ(nmport_poll(b, POLLIN, WAIT_MS), POLLIN);
	take_frame(b, 0, 1, 3);
	part_join(pid);
	nmport_close(b);
}

/* cur is where to wake up: packets before it don't. */
TEST(poll_behind_cur)
{
	struct nmport_d *a = open_flags("valed:1", 0), *b = open_flags("valed:2", 0);
	struct netmap_ring *rx = rx_ring(b, 0);

	for (uint32_t i = 0; i < 3; i++)
		send_frame(a, 0, 1, i);
	CHECK(wait_slots(b, rx, 3));
	CHECK_EQ(nmport_poll(b, POLLIN, 0), POLLIN);
	rx->cur = rx->tail;
	CHECK_EQ(nmport_poll(b, POLLIN, 50), 0);
	send_frame(a, 0, 1, 3);
	CHECK_EQ(nmport_poll(b, POLLIN, WAIT_MS), POLLIN);
	for (uint32_t i = 0; i < 4; i++)
		take_frame(b, 0, 1, i);
	nmport_close(a);
	nmport_close(b);
}

/* poll() sends what is in the tx rings, also when it waits for packets only. */
TEST(poll_sends)
{
	struct nmport_d *a = open_flags("valed:1", 0), *b = open_flags("valed:2", 0);
	uint8_t frame[FRAME_LEN];

	make_frame(frame, sizeof(frame), 0, 1, 4);
	CHECK(put_parts(tx_ring(a, 0), frame, sizeof(frame), 0));
	CHECK_EQ(nmport_poll(a, POLLIN, 0), 0);
	take_frame(b, 0, 1, 4);
	nmport_close(a);
	a = open_flags("valed:1", NR_NO_TX_POLL);
	make_frame(frame, sizeof(frame), 0, 1, 5);
	CHECK(put_parts(tx_ring(a, 0), frame, sizeof(frame), 0));
	CHECK_EQ(nmport_poll(a, POLLIN, 0), 0);
	expect_empty(b);
	CHECK_EQ(nmport_poll(a, POLLOUT, 0), POLLOUT);
	take_frame(b, 0, 1, 5);
	nmport_close(a);
	nmport_close(b);
}

TEST(poll_receives)
{
	struct nmport_d *a = open_flags("valed:1", 0), *b = open_flags("valed:2", NR_DO_RX_POLL);
	struct netmap_ring *rx = rx_ring(b, 0);

	send_frame(a, 0, 1, 4);
	CHECK(wait_sent(a, tx_ring(a, 0)));
	for (uint64_t limit = now_ms() + WAIT_MS; !nm_ring_space(rx);) {
		CHECK(now_ms() < limit);
		CHECK(nmport_poll(b, POLLOUT, 10) >= 0);
	}
	take_frame(b, 0, 1, 4);
	nmport_close(a);
	nmport_close(b);
}

TEST(timestamps)
{
	struct nmport_d *a = open_flags("valed:1", 0), *b = open_flags("valed:2", 0);
	struct netmap_ring *rx = rx_ring(b, 0);

	rx->flags |= NR_TIMESTAMP;
	send_frame(a, 0, 1, 1);
	CHECK(wait_slots(b, rx, 1));
	for (uint64_t limit = now_ms() + WAIT_MS; rx->ts.tv_sec == 0 && rx->ts.tv_usec == 0;) {
		CHECK(now_ms() < limit);
		CHECK_EQ(nmport_rxsync(b), 0);
	}
	CHECK(rx->ts.tv_usec >= 0 && rx->ts.tv_usec < 1000000);
	nmport_close(a);
	nmport_close(b);
}

/* Programs take ring->ts for the time of the packets that a sync or a poll has brought, and never ask for it. */
TEST(timestamps_by_default)
{
	struct nmport_d *a = open_flags("valed:1", 0), *b = open_flags("valed:2", 0);
	struct netmap_ring *rx = rx_ring(b, 0);
	struct timeval before, after;
	struct netmap_timeval last = {0};

	for (int i = 0; i < 4; i++) {
		gettimeofday(&before, NULL);
		send_frame(a, 0, 1, (uint32_t)i + 1);
		for (uint64_t limit = now_ms() + WAIT_MS; !nm_ring_space(rx);) {
			CHECK(now_ms() < limit);
			if (i & 1)
				CHECK(nmport_poll(b, POLLIN, 10) >= 0);
			else
				CHECK_EQ(nmport_rxsync(b), 0);
		}
		gettimeofday(&after, NULL);
		CHECK(rx->ts.tv_usec >= 0 && rx->ts.tv_usec < 1000000);
		CHECK(!timercmp(&rx->ts, &before, <) && !timercmp(&rx->ts, &after, >));
		CHECK(!timercmp(&rx->ts, &last, <));
		last.tv_sec = rx->ts.tv_sec;
		last.tv_usec = rx->ts.tv_usec;
		take_frame(b, 0, 1, (uint32_t)i + 1);
	}
	CHECK(tx_ring(a, 0)->ts.tv_sec == 0); /* nobody has asked for that */
	nmport_close(a);
	nmport_close(b);
}

/* ---- a second thread that rewrites everything ----------------------------------------- */

static volatile bool scribbling;

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void *scribble(void *arg)
{
	struct nmport_d *d = arg;
	uint32_t r = 12345;

	while (scribbling) {
		struct netmap_ring *ring = next_random(&r) & 1 ? tx_ring(d, 0) : rx_ring(d, 0);
		struct netmap_slot *slot = &ring->slot[next_random(&r) % SLOTS];

		switch (next_random(&r) % 8) {
		case 0:
			slot->buf_idx = next_random(&r);
			break;
		case 1:
			slot->buf_idx = next_random(&r) % 300;
			break;
		case 2:
			slot->len = (uint16_t)next_random(&r);
			break;
		case 3:
			slot->flags = (uint16_t)next_random(&r);
			break;
		case 4:
			slot->ptr = next_random(&r);
			break;
		case 5:
			ring->tail = next_random(&r) % SLOTS;
			break;
		case 6:
			ring->cur = next_random(&r) % (2 * SLOTS);
			break;
		default:
			ring->nr_buf_size = next_random(&r);
			ring->buf_ofs = next_random(&r);
			ring->num_slots = next_random(&r);
		}
	}
	return NULL;
}

static void hostile(const char *name, const char *peer, uint64_t flags)
{
	struct nmport_d *d = open_shape(name, 1, SLOTS, SLOTS), *other = open_flags(peer, flags);
	struct nmport_d *fine_a = open_flags("valef:1", 0), *fine_b = open_flags("valef:2", 0);
	uint64_t limit = now_ms() + 700;
	uint32_t r = 4711, n = 0;
	pthread_t thread;

	scribbling = true;
	CHECK_EQ(pthread_create(&thread, NULL, scribble, d), 0);
	while (now_ms() < limit) {
		for (int i = 0; i < 50; i++) {
			struct netmap_ring *ring = i & 1 ? tx_ring(d, 0) : rx_ring(d, 0);

			ring->head = ring->cur = next_random(&r) % SLOTS;
			/* Refused or not: it returns. */
			if (i & 1)
				nmport_txsync(d);
			else
				nmport_rxsync(d);
			if (rx_count(other) && nmport_rxsync(other) == 0)
				rx_ring(other, 0)->head = rx_ring(other, 0)->cur =
					rx_ring(other, 0)->tail;
		}
		/* Others are not disturbed. */
		send_frame(fine_a, 0, 1, n);
		take_frame(fine_b, 0, 1, n++);
	}
	scribbling = false;
	pthread_join(thread, NULL);
	nmport_close(d);
	nmport_close(other);
	/* The port works for the next one. */
	d = open_flags(name, 0);
	if (strchr(peer, '}')) {
		other = open_flags(peer, 0);
		send_frame(d, 0, 1, 1);
		take_frame(other, 0, 1, 1);
		nmport_close(other);
	}
	send_frame(fine_a, 0, 1, n);
	take_frame(fine_b, 0, 1, n);
	nmport_close(d);
	nmport_close(fine_a);
	nmport_close(fine_b);
}

TEST(hostile_on_a_switch)
{
	hostile("valed:1", "valed:2", 0);
}

TEST(hostile_on_a_pipe)
{
	hostile("valed:x{1", "valed:x}1", 0);
}

TEST(hostile_under_a_monitor)
{
	hostile("valed:1", "valed:1", NR_MONITOR_TX | NR_MONITOR_RX);
}

TEST(hostile_under_a_zcopy_monitor)
{
	hostile("valed:1", "valed:1", NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON);
}
