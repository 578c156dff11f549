/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports other than those of switches, passed through: pipes between machines, monitors, several
 * memory functions per machine, the guest's part of a region, and virtio-net headers.
 */
#include "daemon_child.h"
#include "proto_client.h"
#include "region.h"
#include "testutil.h"
#include "traffic.h"
#include "vfio_guest.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

enum { RAM = 4 << 20, SIDES = 2, HDR = 12 };

static struct daemon_child d;
static struct daemon_holds empty;

static struct side {
	int machine;
	struct nmd_vm_add_port_reply paths;
	struct vg *vg;
	struct vg_mem *mem;
	struct vg_port *port;
	struct vg_ring *tx, *rx;
} side[SIDES];

static struct flow forth, back; /* side 0 to side 1, and back */

static bool own_network; /* a network namespace where devices can be made */

static int group_setup(void **state)
{
	own_network = access("/dev/net/tun", R_OK | W_OK) == 0 && unshare(CLONE_NEWNET) == 0 &&
		      system("ip tuntap add dev tapk0 mode tap && ip link del tapk0") == 0;
	daemon_start(&d);
	daemon_holds(&d, &empty);
	return 0;
}

static int group_teardown(void **state)
{
	daemon_stop(&d);
	return 0;
}

static void start(struct side *s, uint32_t features, uint32_t hdr_len)
{
	assert_int_equal(vg_probe(s->port, features), 0);
	assert_int_equal(vg_start(s->port, hdr_len), 0);
	s->tx = &s->port->rings[0];
	s->rx = &s->port->rings[s->port->tx_rings];
}

static void plug(struct side *s, const char *ifname)
{
	s->machine = daemon_vm(&d, ifname);
	daemon_port(s->machine, ifname, &s->paths);
	assert_int_equal(vg_new(RAM, &s->vg), 0);
	assert_int_equal(vg_add_mem(s->vg, s->paths.mem_path, &s->mem), 0);
	assert_int_equal(vg_add_port(s->vg, s->paths.net_path, &s->port), 0);
}

/* The way a machine ends when QEMU is killed. */
static void pull(struct side *s)
{
	vg_free(s->vg);
	close(s->machine);
}

static void make_flows(void)
{
	flow_init(&forth, side[0].tx, side[1].rx);
	flow_init(&back, side[1].tx, side[0].rx);
}

static int setup_pipe(void **state)
{
	static const char *const names[SIDES] = {"vale3:a{1@conf:slots=256", "vale3:a}1"};

	for (int i = 0; i < SIDES; i++) {
		plug(&side[i], names[i]);
		start(&side[i], 0, 0);
	}
	make_flows();
	return 0;
}

static int setup_switch(void **state)
{
	static const char *const names[SIDES] = {"vale3:a", "vale3:b"};

	for (int i = 0; i < SIDES; i++) {
		plug(&side[i], names[i]);
		start(&side[i], 0, 0);
	}
	make_flows();
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < SIDES; i++)
		pull(&side[i]);
	daemon_expect_holds(&d, &empty);
	return 0;
}

/* ---- pipes ------------------------------------------------------------------------------- */

/* One region for both, each machine with a memory function of its own for it. */
static void test_pipe_memory(void **state)
{
	assert_int_equal(side[0].mem->id, 1);
	assert_int_equal(side[1].mem->id, 1);
	assert_string_not_equal(side[0].paths.mem_path, side[1].paths.mem_path);
	assert_int_equal(side[1].port->rx_slots, 256);
}

/* However much is under way: nothing is lost, nothing overtakes. */
static void test_pipe_traffic(void **state)
{
	forth.window = back.window = 1000000;
	for (int i = 0; i < 50; i++) {
		assert_int_equal(flow_run(&forth, 1000), 0);
		assert_int_equal(flow_run(&back, 500), 0);
	}
	forth.sleepy = back.sleepy = true;
	assert_int_equal(flow_run(&forth, 5000), 0);
	assert_int_equal(forth.received, 55000);
	assert_int_equal(forth.bad + back.bad, 0);
}

static void sleep_ms(int ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000L};

	nanosleep(&pause, NULL);
}

/* A receiver that does not read stops the sender; then everything comes. */
static void test_pipe_blocks(void **state)
{
	uint64_t accepted = 0;
	uint8_t packet[60] = {0};

	for (int round = 0; round < 300; round++) {
		assert_int_equal(vg_sync(side[0].tx), 0);
		while (vg_avail(side[0].tx) > 0) {
			memcpy(packet, &accepted, sizeof(accepted));
			assert_int_equal(vg_put(side[0].tx, packet, sizeof(packet)), 0);
			accepted++;
		}
		sleep_ms(round < 20 ? 1 : 0);
	}
	assert_int_equal(accepted, 255); /* its ring is full until the other gives slots back */
	for (uint64_t n = 0; n < accepted; n++) {
		uint64_t got;

		while (vg_avail(side[1].rx) == 0)
			assert_int_equal(vg_sync(side[1].rx), 0);
		assert_int_equal(vg_take(side[1].rx, packet, sizeof(packet)), sizeof(packet));
		memcpy(&got, packet, sizeof(got));
		assert_int_equal(got, n);
	}
	/* And the sender, asleep meanwhile, is told of its room. */
	assert_int_equal(vg_sync(side[1].rx), 0);
	assert_int_equal(vg_sync(side[0].tx), 0);
	assert_int_equal(vg_wait(side[0].tx, 10000), 0);
}

static void test_pipe_sleepy(void **state)
{
	forth.sleepy = back.sleepy = true;
	forth.window = back.window = 1;
	for (int i = 0; i < 300; i++) {
		assert_int_equal(flow_run(&forth, 1), 0);
		assert_int_equal(flow_run(&back, 1), 0);
	}
}

/* One guest is reset, or stops and starts; the pipe goes on. */
static void test_pipe_reset(void **state)
{
	for (int i = 0; i < 20; i++) {
		assert_true(flow_step(&forth, forth.sent + 64) >= 0);
		assert_true(flow_step(&back, back.sent + 64) >= 0);
		if (i % 2) {
			assert_int_equal(vfc_reset(side[1].port->client), 0);
		} else {
			assert_int_equal(vg_stop(side[1].port), 0);
		}
		start(&side[1], 0, 0);
		assert_int_equal(flow_settle(&forth), 0);
		assert_int_equal(flow_settle(&back), 0);
		assert_int_equal(flow_run(&forth, 500), 0);
		assert_int_equal(flow_run(&back, 500), 0);
	}
}

/* A machine is killed in the middle; another takes its end. */
static void test_pipe_killed(void **state)
{
	for (int i = 0; i < 10; i++) {
		for (int k = 0; k < 20; k++) {
			assert_true(flow_step(&forth, forth.sent + 64) >= 0);
			assert_true(flow_step(&back, back.sent + 64) >= 0);
		}
		pull(&side[1]);
		assert_int_equal(vg_sync(side[0].tx), 0);
		sleep_ms(20); /* the machine's end is seen */
		plug(&side[1], "vale3:a}1");
		start(&side[1], 0, 0);
		make_flows();
		assert_int_equal(flow_settle(&forth), 0);
		assert_int_equal(flow_settle(&back), 0);
		assert_int_equal(flow_run(&forth, 500), 0);
		assert_int_equal(flow_run(&back, 500), 0);
	}
}

/* ---- several regions in one machine --------------------------------------------------------- */

static void test_two_regions(void **state)
{
	struct nmd_vm_add_port_reply paths, again;
	struct vg_port *second, *third;
	struct vg_mem *own;
	struct flow f;

	/* Its own region for a switch port, on a function of its own; one each, however many ports. */
	daemon_port(side[0].machine, "vale4:x", &paths);
	assert_string_not_equal(paths.mem_path, side[0].paths.mem_path);
	daemon_port(side[0].machine, "vale4:y", &again);
	assert_string_equal(paths.mem_path, again.mem_path);
	assert_int_equal(vg_add_mem(side[0].vg, paths.mem_path, &own), 0);
	assert_int_not_equal(own->id, side[0].mem->id);
	assert_int_equal(vg_add_port(side[0].vg, paths.net_path, &second), 0);
	assert_int_equal(vg_add_port(side[0].vg, again.net_path, &third), 0);
	assert_int_equal(vg_probe(second, 0), 0);
	assert_int_equal(vg_probe(third, 0), 0);
	assert_ptr_equal(second->mem, own);
	assert_int_equal(vg_start(second, 0), 0);
	assert_int_equal(vg_start(third, 0), 0);
	flow_init(&f, &second->rings[0], &third->rings[third->tx_rings]);
	assert_int_equal(flow_run(&f, 5000), 0);
	assert_int_equal(flow_run(&forth, 5000), 0);
	/* A region that the user names. */
	daemon_port(side[0].machine, "vale4:z@5", &again);
	assert_string_not_equal(again.mem_path, paths.mem_path);
	assert_string_not_equal(again.mem_path, side[0].paths.mem_path);
	daemon_port(side[0].machine, "vale4:w@share=vale4:z", &paths);
	assert_string_equal(again.mem_path, paths.mem_path);
}

/* ---- the guest's part ------------------------------------------------------------------------ */

static void read_part(const struct vg_mem *mem, uint32_t ofs, struct nm_run *run)
{
	assert_int_equal(vfc_read32(mem->client, PTNETMAP_IO_PCI_BAR, ofs, &run->first), 0);
	assert_int_equal(vfc_read32(mem->client, PTNETMAP_IO_PCI_BAR, ofs + 4, &run->count), 0);
}

static bool in_run(const struct nm_run *run, uint32_t index)
{
	return index >= run->first && index - run->first < run->count;
}

static void test_guest_part_own(void **state)
{
	struct nm_run ifs, rings, bufs;

	for (int i = 0; i < SIDES; i++) {
		read_part(side[i].mem, PTNET_MDEV_IO_GUEST_IF_FIRST, &ifs);
		read_part(side[i].mem, PTNET_MDEV_IO_GUEST_RING_FIRST, &rings);
		read_part(side[i].mem, PTNET_MDEV_IO_GUEST_BUF_FIRST, &bufs);
		assert_int_equal(ifs.count, 64);
		assert_int_equal(rings.count, 128);
		assert_int_equal(bufs.count, 8192);
		assert_true(bufs.first >= NM_BUFS_RESERVED);
		for (uint32_t slot = 0; slot < side[i].port->tx_slots; slot++) {
			assert_false(in_run(&bufs, side[i].tx->ring->slot[slot].buf_idx));
			assert_false(in_run(&bufs, side[i].rx->ring->slot[slot].buf_idx));
		}
	}
}

static bool has_part(const struct vg_mem *mem)
{
	uint32_t alone, sum = 0;
	struct nm_run run;

	for (uint32_t ofs = PTNET_MDEV_IO_GUEST_IF_FIRST; ofs < PTNET_MDEV_IO_GUEST_ALONE;
		ofs += 8) {
		read_part(mem, ofs, &run);
		sum += run.count;
	}
	assert_int_equal(
		vfc_read32(mem->client, PTNETMAP_IO_PCI_BAR, PTNET_MDEV_IO_GUEST_ALONE, &alone), 0);
	assert_int_equal(alone, sum > 0);
	return alone;
}

/* In a region that two machines use each has a part, and they are not the same. */
static void test_guest_part_shared(void **state)
{
	struct nmd_vm_add_port_reply paths;
	struct vg_mem *mem[SIDES];
	struct nm_run bufs[SIDES];

	for (int i = 0; i < SIDES; i++) {
		daemon_port(side[i].machine, i ? "vale3:d@9" : "vale3:c@9", &paths);
		assert_int_equal(vg_add_mem(side[i].vg, paths.mem_path, &mem[i]), 0);
		read_part(mem[i], PTNET_MDEV_IO_GUEST_BUF_FIRST, &bufs[i]);
		assert_true(bufs[i].count > 0);
		assert_true(bufs[i].count <= mem[i]->buf_count / 16);
	}
	assert_false(in_run(&bufs[0], bufs[1].first));
	assert_false(in_run(&bufs[1], bufs[0].first));
}

/* Where the daemon exchanges the buffers of a machine's port, its guest has no part. */
static void test_no_part_beside_a_pipe(void **state)
{
	for (int i = 0; i < SIDES; i++)
		assert_false(has_part(side[i].mem));
}

static void check_refused(int machine, const char *ifname, const char *why)
{
	struct nmd_vm_add_port req = {.ifname = ""};
	struct nmd_vm_add_port_reply reply;
	struct nm_error err = {0};

	snprintf(req.ifname, sizeof(req.ifname), "%s", ifname);
	nmd_hdr_init(&req.hdr, NMD_VM_ADD_PORT, sizeof(req));
	assert_int_equal(nmd_call(machine, &req, &reply, sizeof(reply), &err), -EBUSY);
	if (!strstr(err.text, why))
		fail_msg("%s: %s", ifname, err.text);
}

/* A machine gets such a port before its guest looks for its part, or not any more. */
static void test_part_or_pipe(void **state)
{
	struct nmd_vm_add_port_reply paths;

	assert_true(has_part(side[0].mem));
	check_refused(side[0].machine, "vale3:a{9", "before the machine starts");
	check_refused(side[0].machine, "vale3:a/z", "one that copies can watch it");
	daemon_port(side[0].machine, "vale3:c", &paths);
	assert_true(has_part(side[0].mem));
	daemon_port(side[1].machine, "vale3:b{9", &paths);
	assert_string_equal(paths.mem_path, side[1].paths.mem_path);
	assert_false(has_part(side[1].mem));
	daemon_port(side[1].machine, "vale3:b/z", &paths);
	assert_string_equal(paths.mem_path, side[1].paths.mem_path);
}

static uint32_t collect(const struct side *s, uint32_t *out)
{
	uint32_t n = 0;

	for (uint32_t r = 0; r < s->port->tx_rings + s->port->rx_rings; r++)
		for (uint32_t i = 0; i < s->port->rings[r].csb.num_slots; i++)
			out[n++] = s->port->rings[r].ring->slot[i].buf_idx;
	return n;
}

/* No buffer is in two slots of the two machines. */
static void check_apart(void)
{
	static uint8_t seen[1 << 20];
	uint32_t shown[4096], n;

	assert_true(side[0].mem->buf_count <= sizeof(seen));
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < SIDES; i++) {
		n = collect(&side[i], shown);
		for (uint32_t k = 0; k < n; k++) {
			assert_in_range(shown[k], NM_BUFS_RESERVED, side[i].mem->buf_count - 1);
			assert_int_equal(seen[shown[k]]++, 0);
		}
	}
}

/*
 * An application in the guest dies and leaves one buffer in two slots, and numbers that are none. Its driver
 * begins again, after a reset or as it is: each slot has a buffer of its own, and what waits is not lost.
 */
static void test_guest_leaves_anything(void **state)
{
	forth.window = back.window = 1000000;
	for (int round = 0; round < 20; round++) {
		assert_int_equal(flow_settle(&forth), 0);
		assert_int_equal(flow_settle(&back), 0);
		assert_int_equal(flow_run(&forth, 300), 0);
		assert_int_equal(flow_run(&back, 300), 0);
		assert_int_equal(flow_settle(&forth), 0);
		assert_int_equal(flow_settle(&back), 0);
		assert_int_equal(vg_stop(side[0].port), 0);
		side[0].tx->ring->slot[1].buf_idx = side[0].tx->ring->slot[0].buf_idx;
		side[0].rx->ring->slot[7].buf_idx = side[0].tx->ring->slot[9].buf_idx;
		side[0].rx->ring->slot[8].buf_idx = (uint32_t)round % NM_BUFS_RESERVED;
		side[0].tx->ring->slot[3].buf_idx = UINT32_MAX - (uint32_t)round;
		if (round % 2)
			assert_int_equal(vfc_reset(side[0].port->client), 0);
		start(&side[0], 0, 0);
		check_apart();
		make_flows();
	}
}

/* ---- monitors --------------------------------------------------------------------------------- */

/* A third machine sees all that one of the others sends and receives; what it sends is dropped. */
static void watch(const char *ifname)
{
	struct side m;
	uint8_t packet[2048];
	uint64_t seen = 0, before;

	plug(&m, ifname);
	start(&m, 0, 0);
	assert_true(m.port->tx_rings >= 1);
	before = forth.sent;
	for (int i = 0; i < 200; i++) {
		assert_int_equal(flow_run(&forth, 5), 0);
		assert_int_equal(flow_run(&back, 5), 0);
		memset(packet, 0xff, sizeof(packet));
		if (vg_avail(m.tx) > 0)
			assert_int_equal(vg_put(m.tx, packet, 60), 0);
		assert_int_equal(vg_sync(m.tx), 0);
		for (int wait = 0; wait < 1000 && seen < 10 * (i + 1ull); wait++) {
			assert_int_equal(vg_sync(m.rx), 0);
			while (vg_take(m.rx, packet, sizeof(packet)) > 0)
				seen++;
			if (wait > 100)
				sleep_ms(1);
		}
	}
	assert_int_equal(forth.sent - before, 1000);
	assert_int_equal(seen, 2000);
	pull(&m);
	assert_int_equal(flow_run(&forth, 100), 0);
	assert_int_equal(forth.bad + back.bad, 0);
}

static void test_monitor_of_a_pipe(void **state)
{
	watch("vale3:a{1/tr");
}

static void test_monitor_of_a_switch_port(void **state)
{
	watch("vale3:a/tr");
}

/* Nobody reads the monitor: its port goes on as if it were not there. */
static void test_a_monitor_that_sleeps(void **state)
{
	struct side m;

	plug(&m, "vale3:a/tr@conf:slots=16");
	start(&m, 0, 0);
	assert_int_equal(flow_run(&forth, 5000), 0);
	assert_int_equal(flow_run(&back, 5000), 0);
	pull(&m);
}

/* ---- a network device of the host ------------------------------------------------------------ */

static void newif(const char *name)
{
	struct {
		struct nmd_hdr hdr;
		struct nmreq_header req;
		struct nmreq_vale_newif body;
	} msg = {.req = {.nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_VALE_NEWIF}};
	struct {
		struct nmd_nmreq_reply reply;
		char payload[NETMAP_REQ_MAXSIZE];
	} reply;
	int fd = daemon_connect(&d);

	snprintf(msg.req.nr_name, sizeof(msg.req.nr_name), "%s", name);
	msg.req.nr_body = sizeof(msg.req);
	nmd_hdr_init(&msg.hdr, NMD_NMREQ, sizeof(msg));
	assert_true(nmd_request(fd, &msg, &reply, sizeof(reply), NULL, NULL) > 0);
	assert_int_equal(reply.reply.reply.hdr.status, 0);
	close(fd);
}

/* A TAP as a guest's port; when it is removed the hypervisor is asked to unplug the device. */
static void test_a_device_that_goes(void **state)
{
	struct pollfd pfd = {.events = POLLIN};
	struct side s;

	if (!own_network)
		skip(); /* no privilege, or no /dev/net/tun */
	newif("tapk0");
	plug(&s, "netmap:tapk0");
	start(&s, 0, 0);
	pfd.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(
		vfc_irq_eventfds(s.port->client, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, &pfd.fd), 0);
	assert_int_equal(poll(&pfd, 1, 50), 0);
	assert_int_equal(system("ip link del tapk0"), 0);
	assert_int_equal(poll(&pfd, 1, 10000), 1);
	/* The driver finds a device that does nothing, and can be ended. */
	assert_int_equal(vg_stop(s.port), 0);
	assert_int_equal(vg_end(s.port), 0);
	pull(&s);
	close(pfd.fd);
	daemon_expect_holds(&d, &empty);
}

/* ---- network interfaces -------------------------------------------------------------------------- */

enum { NIC_WINDOW = 128 }; /* packets on the way: a veth holds 256 */

static bool make_interfaces(void)
{
	return own_network &&
	       system("ip link add kv0 type veth peer name kv1 && "
		      "sysctl -qw net.ipv6.conf.kv0.disable_ipv6=1 net.ipv6.conf.kv1.disable_ipv6=1 && "
		      "ip link set kv0 up && ip link set kv1 up") == 0;
}

static void remove_interfaces(void)
{
	daemon_expect_holds(&d, &empty);
	assert_int_equal(system("ip link del kv0"), 0);
}

/* Two machines, wired by their interfaces: nothing is lost or changed, awake or asleep; also after a reset of one. */
static void test_interfaces(void **state)
{
	static const char *const names[SIDES] = {"netmap:kv0", "netmap:kv1"};

	if (!make_interfaces())
		skip(); /* no privilege */
	for (int i = 0; i < SIDES; i++) {
		plug(&side[i], names[i]);
		start(&side[i], 0, 0);
		assert_int_equal(side[i].mem->buf_size, 4096);
	}
	make_flows();
	forth.window = back.window = NIC_WINDOW;
	for (int i = 0; i < 20; i++) {
		forth.sleepy = back.sleepy = i % 2;
		assert_int_equal(flow_run(&forth, 500), 0);
		assert_int_equal(flow_run(&back, 500), 0);
	}
	assert_int_equal(vfc_reset(side[1].port->client), 0);
	start(&side[1], 0, 0);
	make_flows();
	forth.window = back.window = NIC_WINDOW;
	assert_int_equal(flow_run(&forth, 500), 0);
	assert_int_equal(flow_run(&back, 500), 0);
	assert_int_equal(forth.bad + back.bad, 0);
	for (int i = 0; i < SIDES; i++)
		pull(&side[i]);
	remove_interfaces();
}

/* Both in one machine: they lie in one region, which is not that of its other ports. */
static void test_two_interfaces_of_a_machine(void **state)
{
	static const char *const names[] = {"netmap:kv0", "netmap:kv1", "vale3:other"};
	struct nmd_vm_add_port_reply paths[3];
	int machine;

	if (!make_interfaces())
		skip();
	machine = daemon_vm(&d, "two");
	for (int i = 0; i < 3; i++)
		daemon_port(machine, names[i], &paths[i]);
	assert_string_equal(paths[0].mem_path, paths[1].mem_path);
	assert_string_not_equal(paths[0].mem_path, paths[2].mem_path);
	close(machine);
	remove_interfaces();
}

/* ---- virtio-net header ------------------------------------------------------------------------- */

static void test_header(void **state)
{
	uint8_t sent[HDR + 1500] = {0}, got[2048];

	for (int i = 0; i < SIDES; i++) {
		assert_int_equal(vg_stop(side[i].port), 0);
		start(&side[i], PTNETMAP_F_VNET_HDR, HDR);
		assert_int_equal(side[i].port->features, PTNETMAP_F_VNET_HDR);
		assert_int_equal(side[i].port->hdr_len, HDR);
	}
	/* Equal headers: the packet as it is, with a request to complete a checksum in it. */
	sent[0] = 1;
	sent[6] = 34;
	sent[8] = 16;
	memcpy(sent + HDR, side[1].port->mac, 6);
	memcpy(sent + HDR + 6, side[0].port->mac, 6);
	for (size_t i = HDR + 12; i < sizeof(sent); i++)
		sent[i] = (uint8_t)i;
	assert_int_equal(vg_put(side[0].tx, sent, sizeof(sent)), 0);
	while (vg_avail(side[1].rx) == 0) {
		assert_int_equal(vg_sync(side[0].tx), 0);
		assert_int_equal(vg_sync(side[1].rx), 0);
	}
	assert_int_equal(vg_take(side[1].rx, got, sizeof(got)), sizeof(sent));
	assert_memory_equal(got, sent, sizeof(sent));
	/* A reset takes it back. */
	assert_int_equal(vfc_reset(side[0].port->client), 0);
	start(&side[0], 0, 0);
	assert_int_equal(side[0].port->hdr_len, 0);
	/* Unequal ones: an empty header is added and taken off. */
	memset(sent, 0, HDR);
	assert_int_equal(vg_put(side[0].tx, sent + HDR, 100), 0);
	while (vg_avail(side[1].rx) == 0) {
		assert_int_equal(vg_sync(side[0].tx), 0);
		assert_int_equal(vg_sync(side[1].rx), 0);
	}
	assert_int_equal(vg_take(side[1].rx, got, sizeof(got)), 100 + HDR);
	assert_memory_equal(got + HDR, sent + HDR, 100);
}

/* ---- offloads in software ------------------------------------------------------------------- */

static uint32_t add(uint32_t sum, const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* An Ethernet frame with TCP over IPv4 whose checksums are right? */
static void check_segment(const uint8_t *f, uint32_t len)
{
	uint8_t pseudo[4] = {0, 6, (uint8_t)((len - 34) >> 8), (uint8_t)(len - 34)};

	assert_int_equal(f[16] << 8 | f[17], len - 14);
	assert_int_equal(add(0, f + 14, 20), 0xffff);
	assert_int_equal(add(add(add(0, f + 26, 8), pseudo, 4), f + 34, len - 34), 0xffff);
}

/* One packet of 4000 bytes of data, to be segmented at 1448, in two slots. */
static void send_large(struct side *from, const struct side *to, const uint8_t *data)
{
	static const uint8_t ip_tcp[40] = {0x45, 0, 4040 >> 8, 4040 & 255, 0, 1, 0x40, 0, 64, 6, 0,
		0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1,
		0};
	uint8_t packet[HDR + 54 + 4000] = {1, 1, 54, 0, 1448 & 255, 1448 >> 8, 34, 0, 16, 0};
	uint8_t pseudo[4] = {0, 6, 4020 >> 8, 4020 & 255};
	struct netmap_slot *slot;
	uint32_t sum, done = 0;

	memcpy(packet + HDR, to->port->mac, 6);
	memcpy(packet + HDR + 6, from->port->mac, 6);
	packet[HDR + 12] = 8;
	memcpy(packet + HDR + 14, ip_tcp, 40);
	sum = 0xffff ^ add(0, packet + HDR + 14, 20);
	packet[HDR + 24] = (uint8_t)(sum >> 8);
	packet[HDR + 25] = (uint8_t)sum;
	sum = add(add(0, packet + HDR + 26, 8), pseudo, 4);
	packet[HDR + 50] = (uint8_t)(sum >> 8);
	packet[HDR + 51] = (uint8_t)sum;
	memcpy(packet + HDR + 54, data, 4000);
	while (done < sizeof(packet)) {
		uint32_t n = sizeof(packet) - done < 2048 ? (uint32_t)sizeof(packet) - done : 2048;

		slot = vg_slot(from->tx, 0);
		memcpy(vg_buf(from->tx, slot), packet + done, n);
		slot->len = (uint16_t)n;
		done += n;
		slot->flags = done < sizeof(packet) ? NS_MOREFRAG : 0;
		vg_advance(from->tx, 1);
	}
	assert_int_equal(vg_sync(from->tx), 0);
}

/* A guest leaves segmentation and checksums to us; the other one gets frames as on a wire. */
static void test_segmentation(void **state)
{
	uint8_t data[4000], got[2048];
	uint32_t at = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(vg_stop(side[0].port), 0);
	start(&side[0], PTNETMAP_F_VNET_HDR, HDR);
	send_large(&side[0], &side[1], data);
	while (at < sizeof(data)) {
		int len;

		while (vg_avail(side[1].rx) == 0)
			assert_int_equal(vg_sync(side[1].rx), 0);
		len = vg_take(side[1].rx, got, sizeof(got));
		assert_true(len > 54 && len <= 54 + 1448);
		check_segment(got, (uint32_t)len);
		assert_int_equal(got[38] << 24 | got[39] << 16 | got[40] << 8 | got[41], 1 + at);
		assert_memory_equal(got + 54, data + at, (size_t)len - 54);
		at += (uint32_t)len - 54;
	}
	assert_int_equal(at, sizeof(data));
}

int main(void)
{
#define PIPE(name)   cmocka_unit_test_setup_teardown(name, setup_pipe, teardown)
#define SWITCH(name) cmocka_unit_test_setup_teardown(name, setup_switch, teardown)
	const struct CMUnitTest tests[] = {
		PIPE(test_pipe_memory),
		PIPE(test_pipe_traffic),
		PIPE(test_pipe_blocks),
		PIPE(test_pipe_sleepy),
		PIPE(test_pipe_reset),
		PIPE(test_pipe_killed),
		PIPE(test_two_regions),
		SWITCH(test_guest_part_own),
		SWITCH(test_guest_part_shared),
		SWITCH(test_part_or_pipe),
		PIPE(test_no_part_beside_a_pipe),
		PIPE(test_guest_leaves_anything),
		PIPE(test_monitor_of_a_pipe),
		SWITCH(test_monitor_of_a_switch_port),
		SWITCH(test_a_monitor_that_sleeps),
		SWITCH(test_header),
		SWITCH(test_segmentation),
		cmocka_unit_test(test_a_device_that_goes),
		cmocka_unit_test(test_interfaces),
		cmocka_unit_test(test_two_interfaces_of_a_machine),
	};

	return cmocka_run_group_tests_name("vfio kinds", tests, group_setup, group_teardown);
}
