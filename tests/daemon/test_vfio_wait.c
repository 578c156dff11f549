/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets between passed-through ports in the hands of stacks, with more of them on the way than the
 * receiver has room for: they wait in their sender's ring, and netmapd, the guests and its workers go to
 * sleep and wake up meanwhile.
 */
#include "daemon_child.h"
#include "testutil.h"
#include "traffic.h"
#include "vfio_guest.h"

#include <sched.h>
#include <string.h>

enum { RAM = 4 << 20, SIDES = 3, HDR = 12 };

static struct daemon_child d;

static struct side {
	int machine;
	struct nmd_vm_add_port_reply paths;
	struct vg *vg;
	struct vg_port *port;
	struct vg_ring *tx, *rx;
} side[SIDES];

static void begin(const char *option, const char *extra)
{
	char name[32];

	daemon_start_with(&d, option);
	for (int i = 0; i < SIDES; i++) {
		struct side *s = &side[i];

		snprintf(name, sizeof(name), "vale3:%d%s", i, extra);
		s->machine = daemon_vm(&d, name);
		daemon_port(s->machine, name, &s->paths);
		assert_int_equal(vg_new(RAM, &s->vg), 0);
		assert_int_equal(vg_add_mem(s->vg, s->paths.mem_path, NULL), 0);
		assert_int_equal(vg_add_port(s->vg, s->paths.net_path, &s->port), 0);
		assert_int_equal(vg_probe(s->port, PTNETMAP_F_VNET_HDR), 0);
		assert_int_equal(vg_start(s->port, HDR), 0);
		s->tx = &s->port->rings[0];
		s->rx = &s->port->rings[s->port->tx_rings];
	}
}

/* Nothing decides by time: those that should not lose anything may wait for long. */
static int begin_patient(void **state)
{
	begin("--full-wait-ms=10000", "");
	return 0;
}

static int begin_small(void **state)
{
	begin("--full-wait-ms=vale3=10000", "@conf:slots=64");
	return 0;
}

/* The sender has to be done with its tries before the first packet has waited so long. */
static int begin_hasty(void **state)
{
	begin("--full-wait-ms=1000", "");
	return 0;
}

static int end(void **state)
{
	for (int i = 0; i < SIDES; i++) {
		vg_free(side[i].vg);
		close(side[i].machine);
	}
	daemon_stop(&d);
	return 0;
}

/* The switch knows where the receiver is. */
static struct flow flow(struct side *from, struct side *to)
{
	struct flow f;

	flow_init(&f, to->tx, from->rx);
	f.hdr_len = HDR;
	assert_int_equal(flow_settle(&f), 0);
	flow_init(&f, from->tx, to->rx);
	f.hdr_len = HDR;
	f.window = 1000000;
	assert_int_equal(flow_settle(&f), 0);
	return f;
}

/* Sends as long as there is room, and for some tries more, of which none counts before there were so many packets: netmapd may not
 * have had its turn. */
static void fill_up(struct flow *f, uint64_t least)
{
	uint8_t packet[HDR + 60] = {0};

	memcpy(packet + HDR, f->rx->port->mac, 6);
	memcpy(packet + HDR + 6, f->tx->port->mac, 6);
	f->sent = 0;
	for (int idle = 0; idle < 1000; idle += f->sent >= least) {
		assert_int_equal(vg_sync(f->tx), 0);
		if (vg_put(f->tx, packet, sizeof(packet)) == 0) {
			f->sent++;
			idle = 0;
		} else {
			sched_yield();
		}
	}
}

static void nothing_is_lost(void **state)
{
	struct flow f = flow(&side[0], &side[1]);

	for (int sleepy = 0; sleepy < 2; sleepy++) {
		f.sleepy = sleepy;
		assert_int_equal(flow_run(&f, 100000), 0);
		assert_int_equal(f.received, f.sent);
	}
	assert_int_equal(f.bad, 0);
}

/* Both rings are full, everybody sleeps; then the receiver takes one after the other. */
static void who_sleeps_is_woken(void **state)
{
	struct flow f = flow(&side[0], &side[1]);
	const uint32_t room = side[1].port->rx_slots - 1;
	uint8_t got[2048];
	uint64_t taken = 0;

	fill_up(&f, room + side[0].port->tx_slots - 1);
	while (taken < f.sent) {
		assert_int_equal(vg_sync(f.rx), 0);
		if (vg_avail(f.rx) == 0)
			assert_int_equal(vg_wait(f.rx, 10000), 0);
		if (vg_take(f.rx, got, sizeof(got)) > 0)
			taken++;
	}
	assert_int_equal(vg_sync(f.rx), 0);
	assert_int_equal(vg_sync(f.tx), 0);
}

/* The receiver is full for ever: the sender's packets to others go on, and the sender, asleep, gets its
 * slots back some time. */
static void a_receiver_that_is_stuck(void **state)
{
	struct flow other = flow(&side[0], &side[2]), f = flow(&side[0], &side[1]);

	fill_up(&f, side[1].port->rx_slots - 1 + side[0].port->tx_slots - 1);
	while (vg_avail(side[0].tx) < side[0].port->tx_slots - 1) {
		assert_int_equal(vg_wait(side[0].tx, 10000), 0);
		assert_int_equal(vg_sync(side[0].tx), 0);
	}
	other.window = 256;
	assert_int_equal(flow_run(&other, 5000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_lost, begin_patient, end),
		cmocka_unit_test_setup_teardown(nothing_is_lost, begin_small, end),
		cmocka_unit_test_setup_teardown(who_sleeps_is_woken, begin_patient, end),
		cmocka_unit_test_setup_teardown(who_sleeps_is_woken, begin_small, end),
		cmocka_unit_test_setup_teardown(a_receiver_that_is_stuck, begin_hasty, end),
	};

	return cmocka_run_group_tests_name("vfio wait", tests, NULL, NULL);
}
