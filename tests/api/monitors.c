/* SPDX-License-Identifier: BSD-2-Clause */
/* Monitors: what passes a port's tx rings, rx rings, or both; copied or the buffers themselves. */
#include "api.h"

#include <poll.h>

static const uint64_t both = NR_MONITOR_TX | NR_MONITOR_RX;

static struct nmport_d *open_monitor(const char *name, uint64_t flags)
{
	struct nmport_d *d = open_flags(name, flags);

	CHECK(rx_count(d) >= 1);
	return d;
}

/* Takes `count` frames; all have to be of that direction. */
static void see(struct nmport_d *mon, uint32_t from, uint32_t count, bool tx)
{
	for (uint32_t i = 0; i < count; i++) {
		struct netmap_ring *ring = rx_ring(mon, 0);

		if (!wait_slots(mon, ring, 1))
			api_fail(__FILE__, __LINE__, "packet %u of %u is not seen", i, count);
		CHECK_EQ((ring->slot[ring->head].flags & NS_TXMON) != 0, tx);
		take_frame(mon, 0, tx ? 1 : 2, from + i);
	}
}

static void converse(struct nmport_d *a, struct nmport_d *b, uint32_t from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		send_frame(a, 0, 1, from + i);
		take_frame(b, 0, 1, from + i);
		send_frame(b, 0, 2, from + i);
		take_frame(a, 0, 2, from + i);
		/* Zero copy shows what the application has given back. */
		CHECK_EQ(nmport_rxsync(a), 0);
		CHECK_EQ(nmport_rxsync(b), 0);
	}
	CHECK(wait_sent(a, tx_ring(a, 0)));
}

static void watch(const char *name, const char *other, uint64_t flags)
{
	struct nmport_d *a = open_flags(name, 0), *b = open_flags(other, 0);
	struct nmport_d *mon = open_monitor(name, flags);
	enum { COUNT = 20 };

	for (int round = 0; round < 3; round++) {
		converse(a, b, (uint32_t)round * 100, COUNT);
		if ((flags & both) != both) {
			see(mon, (uint32_t)round * 100, COUNT, flags & NR_MONITOR_TX);
			expect_empty(mon);
			continue;
		}
		for (uint32_t i = 0, tx = 0, rx = 0; i < 2 * COUNT; i++) {
			struct netmap_ring *ring = rx_ring(mon, 0);
			bool is_tx;

			CHECK(wait_slots(mon, ring, 1));
			is_tx = ring->slot[ring->head].flags & NS_TXMON;
			see(mon, (uint32_t)round * 100 + (is_tx ? tx++ : rx++), 1, is_tx);
		}
		expect_empty(mon);
	}
	nmport_close(mon);
	/* Without it the port goes on. */
	converse(a, b, 1000, 3);
	nmport_close(a);
	nmport_close(b);
}

TEST(monitor_tx)
{
	watch("valem:1", "valem:2", NR_MONITOR_TX);
}

TEST(monitor_rx)
{
	watch("valem:1", "valem:2", NR_MONITOR_RX);
}

TEST(monitor_both)
{
	watch("valem:1", "valem:2", both);
}

TEST(monitor_zcopy_tx)
{
	watch("valem:1", "valem:2", NR_MONITOR_TX | NR_ZCOPY_MON);
}

TEST(monitor_zcopy_rx)
{
	watch("valem:1", "valem:2", NR_MONITOR_RX | NR_ZCOPY_MON);
}

TEST(monitor_zcopy_both)
{
	watch("valem:1", "valem:2", both | NR_ZCOPY_MON);
}

TEST(monitor_of_a_pipe)
{
	watch("valem:x{1", "valem:x}1", NR_MONITOR_TX);
	watch("valem:x{1", "valem:x}1", NR_MONITOR_RX);
}

TEST(monitor_zcopy_of_a_pipe)
{
	watch("valem:x{1", "valem:x}1", NR_MONITOR_RX | NR_ZCOPY_MON);
	watch("valem:x{1", "valem:x}1", NR_MONITOR_TX | NR_ZCOPY_MON);
}

TEST(monitor_memory)
{
	struct nmport_d *a = open_flags("valem:1", 0), *copy, *zcopy;

	copy = open_monitor("valem:1", NR_MONITOR_TX);
	zcopy = open_monitor("valem:1", NR_MONITOR_TX | NR_ZCOPY_MON);
	CHECK(copy->reg.nr_mem_id != a->reg.nr_mem_id);
	CHECK_EQ(zcopy->reg.nr_mem_id, a->reg.nr_mem_id);
	nmport_close(copy);
	nmport_close(zcopy);
	nmport_close(a);
}

/* Several at a time see the same. */
TEST(monitors_together)
{
	struct nmport_d *a = open_flags("valem:1", 0), *b = open_flags("valem:2", 0), *mon[3];

	for (int i = 0; i < 3; i++)
		mon[i] = open_monitor("valem:1", NR_MONITOR_TX);
	converse(a, b, 0, 10);
	for (int i = 0; i < 3; i++)
		see(mon[i], 0, 10, true);
	nmport_close(mon[1]);
	converse(a, b, 50, 10);
	see(mon[0], 50, 10, true);
	see(mon[2], 50, 10, true);
	nmport_close(mon[0]);
	nmport_close(mon[2]);
	nmport_close(a);
	nmport_close(b);
}

/* It does not read, and the port does not notice. */
TEST(monitor_never_stops_its_port)
{
	static const uint64_t kinds[] = {NR_MONITOR_TX, NR_MONITOR_TX | NR_ZCOPY_MON, NR_MONITOR_RX,
		NR_MONITOR_RX | NR_ZCOPY_MON};

	for (unsigned int i = 0; i < 4; i++) {
		struct nmport_d *a = open_shape("valem:1", 1, 16, 16);
		struct nmport_d *b = open_shape("valem:2", 1, 16, 16);
		struct nmport_d *mon = open_monitor("valem:1", kinds[i]);
		uint32_t there;

		converse(a, b, 0, 2000);
		/* The oldest ones are there, and then new ones once there is room. */
		sleep_ms(300);
		CHECK_EQ(nmport_rxsync(mon), 0);
		there = nm_ring_space(rx_ring(mon, 0));
		CHECK(there > 0 && there < 2000);
		see(mon, 0, there, kinds[i] & NR_MONITOR_TX);
		CHECK_EQ(nmport_rxsync(mon), 0);
		sleep_ms(300); /* netmapd sees it a moment later, and nothing says when */
		converse(a, b, 5000, 5);
		see(mon, 5000, 5, kinds[i] & NR_MONITOR_TX);
		nmport_close(mon);
		nmport_close(a);
		nmport_close(b);
	}
}

TEST(monitor_of_one_ring)
{
	struct nmport_d *a = open_shape("valem:1", 3, 32, 32);
	struct nmport_d *b = open_shape("valem:2", 3, 32, 32), *mon = prepare("valem:1");
	uint8_t frame[FRAME_LEN], got[FRAME_LEN];
	uint32_t slots;

	mon->reg.nr_mode = NR_REG_ONE_NIC;
	mon->reg.nr_ringid = 1;
	mon->reg.nr_flags = NR_MONITOR_TX;
	CHECK_EQ(finish(mon), 0);
	CHECK_EQ(rx_count(mon), 1);
	for (uint32_t i = 0; i < 3; i++) {
		make_frame(frame, sizeof(frame), 0, 1, i);
		CHECK(put_parts(tx_ring(a, i), frame, sizeof(frame), 0));
		CHECK_EQ(nmport_txsync(a), 0);
		CHECK_EQ(take_packet(b, rx_ring(b, i), got, sizeof(got), &slots), FRAME_LEN);
	}
	take_frame(mon, 0, 1, 1);
	expect_empty(mon);
	mon->reg.nr_ringid = 3;
	nmport_close(mon);
	mon = prepare("valem:1");
	mon->reg.nr_mode = NR_REG_ONE_NIC;
	mon->reg.nr_ringid = 3;
	mon->reg.nr_flags = NR_MONITOR_TX;
	CHECK_EQ(finish(mon), -EINVAL);
	nmport_close(mon);
	nmport_close(a);
	nmport_close(b);
}

/* Opened first, it keeps the port in existence and sees what comes later. */
TEST(monitor_before_its_port)
{
	struct nmport_d *mon = open_monitor("valem:1", NR_MONITOR_TX), *a, *b;

	a = open_flags("valem:1", 0);
	b = open_flags("valem:2", 0);
	converse(a, b, 0, 5);
	see(mon, 0, 5, true);
	nmport_close(a);
	a = open_flags("valem:1", 0);
	converse(a, b, 10, 5);
	see(mon, 10, 5, true);
	nmport_close(a);
	nmport_close(mon);
	nmport_close(b);
}

TEST(monitor_wakes)
{
	struct nmport_d *mon = open_monitor("valem:1", NR_MONITOR_TX), *a, *b;
	int pid = part_begin();

	if (pid == 0) {
		sleep_ms(200);
		a = open_flags("valem:1", 0);
		b = open_flags("valem:2", 0);
		converse(a, b, 0, 1);
		part_end();
	}
	CHECK(nmport_poll(mon, POLLIN, WAIT_MS) & POLLIN);
	see(mon, 0, 1, true);
	part_join(pid);
	nmport_close(mon);
}

TEST(monitor_refusals)
{
	/* Zero copy of nothing is nothing. */
	CHECK_EQ(try_mode("nosuchport", NR_REG_ALL_NIC, NR_MONITOR_TX), -ENXIO);
	CHECK_EQ(try_mode("valem:1", 9, NR_MONITOR_TX), -EINVAL);
}

/* The owner of the watched port does not look: its monitor is told of each packet all the same, and the owner
 * finds them there later. */
static void watch_idle_owner(const char *sender, const char *owner)
{
	struct nmport_d *s = open_flags(sender, 0), *o = open_flags(owner, 0);
	struct nmport_d *watch = open_flags(owner, NR_MONITOR_RX);

	for (uint32_t i = 0; i < 20; i++) {
		send_frame(s, 0, 2, i);
		take_frame(watch, 0, 2, i);
	}
	expect_empty(watch);
	for (uint32_t i = 0; i < 20; i++)
		take_frame(o, 0, 2, i);
	expect_empty(watch);
	nmport_close(watch);
	nmport_close(o);
	nmport_close(s);
}

TEST(monitor_idle_owner)
{
	watch_idle_owner("valemi:1", "valemi:2");
	watch_idle_owner("valemi:p{1", "valemi:p}1");
}
