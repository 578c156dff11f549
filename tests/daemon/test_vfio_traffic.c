/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets between passed-through ports, every one checked, while the hypervisor and the drivers
 * do what they may do at any time: memory maps come and go, drivers stop and start,
 * guests are reset and killed.
 */
#include "daemon_child.h"
#include "testutil.h"
#include "traffic.h"
#include "vfio_guest.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

enum { RAM = 4 << 20, SIDES = 2 };

static struct daemon_child d;
static struct daemon_holds empty;

static struct side {
	int machine;
	struct nmd_vm_add_port_reply paths;
	struct vg *vg;
	struct vg_port *port;
	struct vg_ring *tx, *rx;
} side[SIDES];

static struct flow forth, back; /* side 0 to side 1, and back */

static int group_setup(void **state)
{
	daemon_start(&d);
	daemon_holds(&d, &empty);
	return 0;
}

static int group_teardown(void **state)
{
	daemon_stop(&d);
	return 0;
}

static void plug(struct side *s)
{
	assert_int_equal(vg_new(RAM, &s->vg), 0);
	assert_int_equal(vg_add_mem(s->vg, s->paths.mem_path, NULL), 0);
	assert_int_equal(vg_add_port(s->vg, s->paths.net_path, &s->port), 0);
}

static void start(struct side *s)
{
	assert_int_equal(vg_probe(s->port, 0), 0);
	assert_int_equal(vg_start(s->port, 0), 0);
	s->tx = &s->port->rings[0];
	s->rx = &s->port->rings[s->port->tx_rings];
}

static void make_flows(void)
{
	flow_init(&forth, side[0].tx, side[1].rx);
	flow_init(&back, side[1].tx, side[0].rx);
}

static int setup(void **state)
{
	static const char *const names[SIDES] = {"vale3:a", "vale3:b"};
	int i;

	for (i = 0; i < SIDES; i++) {
		side[i].machine = daemon_vm(&d, names[i]);
		daemon_port(side[i].machine, names[i], &side[i].paths);
		plug(&side[i]);
		start(&side[i]);
	}
	make_flows();
	return 0;
}

static int teardown(void **state)
{
	int i;

	for (i = 0; i < SIDES; i++) {
		vg_free(side[i].vg);
		close(side[i].machine);
	}
	daemon_expect_holds(&d, &empty);
	return 0;
}

/* Both ways at the same time, `count` packets each. */
static void run_both(uint64_t count)
{
	const uint64_t to_forth = forth.sent + count, to_back = back.sent + count;
	unsigned int idle = 0;

	while (forth.received < to_forth || back.received < to_back) {
		int a = flow_step(&forth, to_forth), b = flow_step(&back, to_back);

		assert_true(a >= 0);
		assert_true(b >= 0);
		idle = a + b ? 0 : idle + 1;
		if (idle > 1000) {
			/* Nothing moves: wait for what is still missing. */
			assert_int_equal(flow_run(&forth, to_forth - forth.sent), 0);
			assert_int_equal(flow_run(&back, to_back - back.sent), 0);
		}
	}
	assert_int_equal(forth.bad + back.bad, 0);
}

static void test_both_ways(void **state)
{
	run_both(50000);
	assert_int_equal(forth.received, 50000);
	assert_int_equal(back.received, 50000);
}

/* Packets of one size, to the smallest and the largest. */
static void test_sizes(void **state)
{
	static const uint32_t sizes[] = {60, 61, 1514, 2048};
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		forth.max_size = sizes[i];
		assert_int_equal(flow_run(&forth, 3000), 0);
	}
}

/* One packet to a receiver that sleeps. False: no kick, for the host happened to look just then (it may wake without cause). */
static bool send_asleep(struct vg_ring *tx, struct vg_ring *rx)
{
	struct pollfd pfd = {.fd = rx->irq_fd, .events = POLLIN};
	uint64_t kicks, count;
	struct flow f;

	flow_init(&f, tx, rx);
	assert_int_equal(flow_settle(&f), 0);
	assert_false(nm_csb_appl_sleep(&rx->csb));
	(void)read(rx->irq_fd, &count, sizeof(count)); /* of before */
	while (!OS_LOAD(&tx->csb.ktoa->kern_need_kick))
		sched_yield();
	kicks = tx->kicks;
	assert_true(flow_step(&f, 1) >= 1); /* it may have arrived already */
	kicks = tx->kicks - kicks;
	assert_in_range(kicks, 0, 1);
	assert_int_equal(poll(&pfd, 1, 10000), 1);
	assert_int_equal(read(rx->irq_fd, &count, sizeof(count)), sizeof(count));
	nm_csb_appl_awake(&rx->csb);
	assert_int_equal(flow_run(&f, 0), 0);
	assert_int_equal(f.received, 1);
	return kicks == 1;
}

/*
 * Both ends asleep, then one packet: the sender's kick wakes the host, the host's interrupt wakes
 * the receiver. Without either the packet would not get through.
 */
static void wake_up(struct vg_ring *tx, struct vg_ring *rx)
{
	int tries = 0;

	while (!send_asleep(tx, rx))
		assert_true(++tries < 100);
}

/* The guests sleep when they have nothing to do, and the host does, too. */
static void test_sleepy(void **state)
{
	int i, doorbell;

	for (doorbell = 0; doorbell < 2; doorbell++) {
		side[0].port->doorbell = side[1].port->doorbell = doorbell;
		for (i = 0; i < 20; i++) {
			wake_up(side[0].tx, side[1].rx);
			wake_up(side[1].tx, side[0].rx);
		}
		make_flows();
		forth.sleepy = back.sleepy = true;
		forth.window = back.window = 1;
		for (i = 0; i < 300; i++) {
			/* One there, one back, each waits for the other. */
			assert_int_equal(flow_run(&forth, 1), 0);
			assert_int_equal(flow_run(&back, 1), 0);
		}
		forth.window = 64;
		assert_int_equal(flow_run(&forth, 5000), 0);
	}
}

/* The ring goes round with nobody taking packets: what does not fit is dropped, the sender goes on. */
static void test_full_receiver(void **state)
{
	const uint32_t room = side[1].port->rx_slots - 1;
	uint64_t first;

	forth.window = 100000;
	while (forth.sent < 3 * room) {
		uint8_t packet[60] = {0};

		memcpy(packet, side[1].port->mac, 6);
		memcpy(packet + 6, side[0].port->mac, 6);
		assert_int_equal(vg_sync(side[0].tx), 0);
		if (vg_put(side[0].tx, packet, sizeof(packet)) == 0)
			forth.sent++;
	}
	/* All but the last of them were certainly more than fit. */
	do
		assert_int_equal(vg_sync(side[1].rx), 0);
	while (vg_avail(side[1].rx) != room);
	assert_int_equal(flow_settle(&forth), 0);
	/* Then all goes on as before. */
	first = forth.sent;
	forth.window = 256;
	assert_int_equal(flow_run(&forth, 1000), 0);
	assert_int_equal(forth.received, first + 1000);
}

/*
 * DMA maps come and go under load. Guest and host work all the time; nothing may be lost, and
 * while the map is away the host must not write to the CSB.
 */
static void remap(struct side *s, int way)
{
	struct nm_csb_ktoa before[PTNET_MAX_RINGS];
	const uint32_t rings = s->port->tx_rings + s->port->rx_rings;
	int i;

	if (way == 0)
		assert_int_equal(vg_unmap_ram(s->port), 0);
	else if (way == 1)
		assert_int_equal(vfc_dma_unmap_all(s->port->client), 0);
	else
		assert_int_equal(vfc_dma_unmap(s->port->client, 1 << 20, RAM - (1 << 20)), 0);
	memcpy(before, s->port->ktoa, rings * sizeof(before[0]));
	/* The guest doesn't know, and goes on; so does the other side. */
	for (i = 0; i < 20; i++) {
		assert_true(flow_step(&forth, forth.sent + 64) >= 0);
		assert_true(flow_step(&back, back.sent + 64) >= 0);
	}
	assert_memory_equal(before, s->port->ktoa, rings * sizeof(before[0]));
	if (way == 2)
		assert_int_equal(vfc_dma_map(s->port->client, 1 << 20, RAM - (1 << 20),
					 VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
					 vg_ram_fd(s->vg), 1 << 20),
			0);
	else
		assert_int_equal(vg_map_ram(s->port), 0);
}

static void test_remap_under_load(void **state)
{
	struct daemon_holds running;
	int i;

	run_both(1000);
	daemon_holds(&d, &running);
	for (i = 0; i < 200; i++) {
		remap(&side[i % 2], i % 3);
		if (i % 7 == 0) {
			run_both(500);
		} else {
			assert_true(flow_step(&forth, forth.sent + 64) >= 0);
			assert_true(flow_step(&back, back.sent + 64) >= 0);
		}
	}
	run_both(5000);
	assert_int_equal(forth.received, forth.sent);
	assert_int_equal(back.received, back.sent);
	/* Memory was mapped and unmapped, not just mapped. */
	daemon_expect_holds(&d, &running);
}

/* A sleeping guest whose CSB moves away is still woken when a packet comes. */
static void test_remap_while_sleeping(void **state)
{
	int i;

	back.sleepy = true;
	for (i = 0; i < 50; i++) {
		assert_int_equal(vg_unmap_ram(side[0].port), 0);
		/* Sent while the receiver's memory is away. */
		assert_true(flow_step(&back, back.sent + 3) >= 0);
		assert_int_equal(vg_map_ram(side[0].port), 0);
		assert_int_equal(flow_run(&back, 0), 0);
		assert_int_equal(back.received, back.sent);
	}
}

/* Other ranges of the map come and go, hundreds of them. */
static void test_other_ranges(void **state)
{
	const uint64_t base = 1ull << 32;
	uint64_t i;
	int round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 300; i++) {
			assert_int_equal(vfc_dma_map(side[0].port->client, base + i * 8192, 4096,
						 VFIO_DMA_MAP_FLAG_READ, -1, 0),
				0);
			assert_true(flow_step(&forth, forth.sent + 8) >= 0);
		}
		for (i = 0; i < 300; i++) {
			assert_int_equal(
				vfc_dma_unmap(side[0].port->client, base + i * 8192, 4096), 0);
			assert_true(flow_step(&back, back.sent + 8) >= 0);
		}
	}
	run_both(1000);
}

/* A driver stops and starts, at once: indices, pending packets and buffers survive. */
static void test_stop_start(void **state)
{
	int i;

	for (i = 0; i < 50; i++) {
		struct side *s = &side[i % 2];
		uint32_t head, pending, tx_head;

		assert_true(flow_step(&forth, forth.sent + 64) >= 0);
		assert_true(flow_step(&back, back.sent + 64) >= 0);
		assert_int_equal(vg_stop(s->port), 0);
		assert_true(nm_csb_appl_load(&s->rx->csb));
		head = s->rx->head;
		tx_head = s->tx->head;
		pending = vg_avail(s->rx);
		assert_int_equal(vg_start(s->port, 0), 0);
		assert_int_equal(s->rx->head, head);
		assert_int_equal(s->tx->head, tx_head);
		assert_true(vg_avail(s->rx) >= pending);
		run_both(200);
	}
	assert_int_equal(forth.received, forth.sent);
	assert_int_equal(back.received, back.sent);
}

/*
 * A driver's memory map goes while it works, and comes back, or it stops meanwhile. What it had published
 * before the map went counts all the same: nothing is lost, and nothing comes twice.
 */
static void test_stop_while_suspended(void **state)
{
	for (int i = 0; i < 60; i++) {
		struct side *s = &side[i % 2];
		uint32_t tx_head, rx_head;

		assert_true(flow_step(&forth, forth.sent + 64) >= 0);
		assert_true(flow_step(&back, back.sent + 64) >= 0);
		assert_int_equal(vg_unmap_ram(s->port), 0);
		if (i % 3 == 0)
			assert_int_equal(vg_stop(s->port), 0);
		assert_int_equal(vg_map_ram(s->port), 0);
		if (i % 3 != 0)
			assert_int_equal(vg_stop(s->port), 0);
		tx_head = s->tx->head;
		rx_head = s->rx->head;
		assert_int_equal(vg_start(s->port, 0), 0);
		assert_int_equal(s->tx->head, tx_head);
		assert_int_equal(s->rx->head, rx_head);
		run_both(100);
	}
	assert_int_equal(forth.received, forth.sent);
	assert_int_equal(back.received, back.sent);
}

/* One guest is reset in the middle; the other one does not notice but for what is missing. */
static void test_reset_in_the_middle(void **state)
{
	int i, k;

	for (i = 0; i < 20; i++) {
		for (k = 0; k <= i; k++) {
			assert_true(flow_step(&forth, forth.sent + 64) >= 0);
			assert_true(flow_step(&back, back.sent + 64) >= 0);
		}
		assert_int_equal(vfc_reset(side[1].port->client), 0);
		start(&side[1]);
		/* What was under way then may be lost; what comes after it must not. */
		assert_int_equal(flow_settle(&forth), 0);
		assert_int_equal(flow_settle(&back), 0);
		run_both(500);
	}
}

/* QEMU is killed in the middle: the connections close, the guest's memory with them. */
static void test_killed_in_the_middle(void **state)
{
	struct daemon_holds running;
	int i;

	daemon_holds(&d, &running);
	for (i = 0; i < 20; i++) {
		assert_true(flow_step(&forth, forth.sent + 64) >= 0);
		assert_true(flow_step(&back, back.sent + 64) >= 0);
		vg_free(side[1].vg);
		/* The other one goes on sending into the void. */
		forth.rx = NULL;
		assert_int_equal(vg_sync(side[0].tx), 0);
		plug(&side[1]);
		start(&side[1]);
		make_flows();
		assert_int_equal(flow_settle(&forth), 0);
		assert_int_equal(flow_settle(&back), 0);
		run_both(300);
	}
	daemon_expect_holds(&d, &running);
}

/* Several rings: each has its place in the CSB, its kick, its vector. */
static void test_many_rings(void **state)
{
	struct side s[SIDES];
	struct flow f;
	uint32_t i;
	int k;

	for (k = 0; k < SIDES; k++) {
		s[k].machine = daemon_vm(&d, "rings");
		daemon_port(s[k].machine,
			k ? "vale4:b@conf:rings=4" : "vale4:a@conf:tx-rings=3,rx-rings=2",
			&s[k].paths);
		plug(&s[k]);
		start(&s[k]);
	}
	assert_int_equal(s[0].port->tx_rings, 3);
	assert_int_equal(s[0].port->rx_rings, 2);
	assert_int_equal(s[1].port->tx_rings, 4);
	assert_int_equal(s[1].port->rx_rings, 4);
	for (i = 0; i < 3; i++) {
		struct vg_ring *tx = &s[0].port->rings[i], *rx = NULL;
		uint8_t packet[60] = {0};
		uint32_t r;

		/* Which rx ring a tx ring's packets come to is the switch's choice. */
		memcpy(packet, s[1].port->mac, 6);
		memcpy(packet + 6, s[0].port->mac, 6);
		assert_int_equal(vg_put(tx, packet, sizeof(packet)), 0);
		for (r = 0; !rx; r = (r + 1) % 4) {
			struct vg_ring *next = &s[1].port->rings[s[1].port->tx_rings + r];

			assert_int_equal(vg_sync(tx), 0);
			assert_int_equal(vg_sync(next), 0);
			if (vg_avail(next) > 0)
				rx = next;
		}
		assert_int_equal(vg_avail(rx), 1);
		flow_init(&f, &s[0].port->rings[i], rx);
		assert_int_equal(flow_settle(&f), 0);
		f.sleepy = true;
		assert_int_equal(flow_run(&f, 2000), 0);
		wake_up(tx, rx);
	}
	for (k = 0; k < SIDES; k++) {
		vg_free(s[k].vg);
		close(s[k].machine);
	}
}

/* Two ports of one machine share its region, and reach each other all the same. */
static void test_same_machine(void **state)
{
	struct nmd_vm_add_port_reply paths;
	struct vg_port *second;
	struct flow f;

	daemon_port(side[0].machine, "vale3:c", &paths);
	assert_string_equal(paths.mem_path, side[0].paths.mem_path);
	assert_int_equal(vg_add_port(side[0].vg, paths.net_path, &second), 0);
	assert_int_equal(vg_probe(second, 0), 0);
	assert_int_equal(vg_start(second, 0), 0);
	flow_init(&f, side[0].tx, &second->rings[second->tx_rings]);
	assert_int_equal(flow_run(&f, 5000), 0);
	flow_init(&f, &second->rings[0], side[0].rx);
	assert_int_equal(flow_settle(&f), 0);
	assert_int_equal(flow_run(&f, 5000), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_both_ways),
		TEST(test_sizes),
		TEST(test_sleepy),
		TEST(test_full_receiver),
		TEST(test_remap_under_load),
		TEST(test_remap_while_sleeping),
		TEST(test_other_ranges),
		TEST(test_stop_start),
		TEST(test_stop_while_suspended),
		TEST(test_reset_in_the_middle),
		TEST(test_killed_in_the_middle),
		TEST(test_many_rings),
		TEST(test_same_machine),
	};

	return cmocka_run_group_tests_name("vfio traffic", tests, group_setup, group_teardown);
}
