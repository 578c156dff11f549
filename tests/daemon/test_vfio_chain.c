/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A chain: an end, two machines that bridge, another end. Over pipes the buffer that arrives is the one that was sent, since each
 * hop exchanges buffers, host and bridging applications alike; over switches each hop copies, and nothing is lost either.
 */
#include "daemon_child.h"
#include "testutil.h"
#include "vfio_guest.h"

#include <sched.h>
#include <string.h>

enum { RAM = 4 << 20, STATIONS = 4, PACKETS = 20000, WINDOW = 300, ETH = 14, LEN = 60 };

/* Behind the Ethernet header. */
struct mark {
	uint32_t number, buf_idx;
};

/* in: where it receives, out: where it sends. The ends have one of them. */
static struct station {
	int machine;
	struct vg *vg;
	char mem_path[NMD_PATH_MAX]; /* that it has already */
	struct vg_port *in, *out;
} station[STATIONS];

static struct daemon_child d;

static struct vg_port *add_port(struct station *s, const char *name)
{
	struct nmd_vm_add_port_reply paths;
	struct vg_port *port;

	daemon_port(s->machine, name, &paths);
	if (strcmp(s->mem_path, paths.mem_path) != 0)
		assert_int_equal(vg_add_mem(s->vg, paths.mem_path, NULL), 0);
	memcpy(s->mem_path, paths.mem_path, sizeof(s->mem_path));
	assert_int_equal(vg_add_port(s->vg, paths.net_path, &port), 0);
	assert_int_equal(vg_probe(port, 0), 0);
	assert_int_equal(vg_start(port, 0), 0);
	return port;
}

/* Names of hop i, 0 to 2: its sending side and its receiving side. */
static void begin(const char *const out[STATIONS - 1], const char *const in[STATIONS - 1])
{
	char name[16];

	daemon_start(&d);
	memset(station, 0, sizeof(station));
	for (int i = 0; i < STATIONS; i++) {
		struct station *s = &station[i];

		snprintf(name, sizeof(name), "station%d", i);
		s->machine = daemon_vm(&d, name);
		assert_int_equal(vg_new(RAM, &s->vg), 0);
		if (i > 0)
			s->in = add_port(s, in[i - 1]);
		if (i + 1 < STATIONS)
			s->out = add_port(s, out[i]);
	}
}

static int begin_pipes(void **state)
{
	static const char *const out[] = {"netmap:p{1", "netmap:p{2", "netmap:p{3"};
	static const char *const in[] = {"netmap:p}1", "netmap:p}2", "netmap:p}3"};

	begin(out, in);
	return 0;
}

static int begin_switches(void **state)
{
	static const char *const out[] = {"vale1:a", "vale2:a", "vale3:a"};
	static const char *const in[] = {"vale1:b", "vale2:b", "vale3:b"};

	begin(out, in);
	return 0;
}

static int end(void **state)
{
	for (int i = 0; i < STATIONS; i++) {
		vg_free(station[i].vg);
		close(station[i].machine);
	}
	daemon_stop(&d);
	return 0;
}

static struct vg_ring *tx_of(struct vg_port *port)
{
	return &port->rings[0];
}

static struct vg_ring *rx_of(struct vg_port *port)
{
	return &port->rings[port->tx_rings];
}

/* The next packet says which buffer it lies in. */
static void send_one(struct vg_ring *tx, uint32_t number)
{
	struct netmap_slot *slot = vg_slot(tx, 0);
	struct mark mark = {number, slot->buf_idx};
	char *packet = vg_buf(tx, slot);

	memset(packet, 0, LEN);
	memset(packet, 0xff, 6);
	packet[6] = 2;
	memcpy(packet + ETH, &mark, sizeof(mark));
	slot->len = LEN;
	slot->flags = 0;
	vg_advance(tx, 1);
}

/* What an application does that bridges without copying. */
static void bridge(struct station *s)
{
	struct vg_ring *rx = rx_of(s->in), *tx = tx_of(s->out);

	vg_bridge(rx, tx);
	assert_int_equal(vg_sync(tx), 0);
	assert_int_equal(vg_sync(rx), 0);
}

/* Takes what has come: the next ones, in their order. How many came in the buffer they were sent in. */
static uint32_t take_all(struct vg_ring *rx, uint32_t *taken)
{
	uint32_t same = 0, n = vg_avail(rx);

	for (uint32_t i = 0; i < n; i++) {
		const struct netmap_slot *slot = vg_slot(rx, i);
		struct mark mark;

		memcpy(&mark, vg_buf(rx, slot) + ETH, sizeof(mark));
		assert_int_equal(slot->len, LEN);
		assert_int_equal(mark.number, (*taken)++);
		same += mark.buf_idx == slot->buf_idx;
	}
	vg_advance(rx, n);
	assert_int_equal(vg_sync(rx), 0);
	return same;
}

/* Through all of it; how many packets came in the buffer they were sent in. */
static uint32_t run_chain(void)
{
	struct vg_ring *tx = tx_of(station[0].out), *rx = rx_of(station[STATIONS - 1].in);
	uint32_t sent = 0, taken = 0, same = 0;

	while (taken < PACKETS) {
		assert_int_equal(vg_sync(tx), 0);
		while (sent < PACKETS && sent - taken < WINDOW && vg_avail(tx) > 0)
			send_one(tx, sent++);
		assert_int_equal(vg_sync(tx), 0);
		for (int i = 1; i + 1 < STATIONS; i++)
			bridge(&station[i]);
		assert_int_equal(vg_sync(rx), 0);
		same += take_all(rx, &taken);
		sched_yield();
	}
	return same;
}

static void pipes_pass_the_buffer_itself(void **state)
{
	/* One memory for all. */
	for (int i = 1; i < STATIONS; i++)
		assert_int_equal(station[i].in->mem->id, station[0].out->mem->id);
	assert_int_equal(run_chain(), PACKETS);
}

static void switches_lose_nothing(void **state)
{
	for (int i = 1; i < STATIONS; i++)
		assert_int_not_equal(station[i].in->mem->id, station[i - 1].out->mem->id);
	run_chain();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pipes_pass_the_buffer_itself, begin_pipes, end),
		cmocka_unit_test_setup_teardown(switches_lose_nothing, begin_switches, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
