/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapd's ptnet devices as a driver and a hypervisor meet them: negotiation, registers in
 * the order existing drivers use, and every way in which a driver's life can end.
 */
#include "daemon_child.h"
#include "testutil.h"
#include "traffic.h"
#include "vfio_guest.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { RAM = 4 << 20 };

static struct daemon_child d;
static int machine;
static struct nmd_vm_add_port_reply paths;
static struct vg *vg;
static struct vg_port *port;
static struct daemon_holds empty;

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

static int setup(void **state)
{
	machine = daemon_vm(&d, "driver");
	daemon_port(machine, "vale1:1", &paths);
	assert_int_equal(vg_new(RAM, &vg), 0);
	assert_int_equal(vg_add_mem(vg, paths.mem_path, NULL), 0);
	assert_int_equal(vg_add_port(vg, paths.net_path, &port), 0);
	return 0;
}

static int teardown(void **state)
{
	vg_free(vg);
	close(machine);
	daemon_expect_holds(&d, &empty);
	return 0;
}

static uint32_t get(uint32_t reg)
{
	uint32_t value;

	assert_int_equal(vfc_read32(port->client, 0, reg, &value), 0);
	return value;
}

/* Only the owner can reach the devices. */
static void test_paths(void **state)
{
	struct stat st;

	assert_int_equal(stat(paths.net_path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(paths.mem_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_life(void **state)
{
	uint32_t i;
	int round;

	assert_int_equal(vg_probe(port, PTNETMAP_F_VNET_HDR), 0);
	assert_memory_equal(port->mac, paths.mac, 6);
	assert_true(port->tx_rings >= 1 && port->rx_rings >= 1);
	assert_true(port->tx_slots >= 64 && port->rx_slots >= 64);
	assert_int_equal(get(PTNET_IO_VNET_HDR_LEN), port->hdr_len);
	for (round = 0; round < 20; round++) {
		assert_int_equal(vg_start(port, 0), 0);
		assert_int_equal(get(PTNET_IO_PTCTL), 0);
		for (i = 0; i < port->tx_rings; i++) {
			/* All of a tx ring is free, nothing is in an rx ring. */
			assert_int_equal(vg_avail(&port->rings[i]), port->tx_slots - 1);
			assert_int_equal(port->atok[i].head, port->atok[i].cur);
		}
		for (; i < port->tx_rings + port->rx_rings; i++)
			assert_int_equal(vg_avail(&port->rings[i]), 0);
		if (round % 2)
			assert_int_equal(vg_stop(port), 0);
		assert_int_equal(vg_end(port), 0);
		assert_int_equal(vg_write_csb(port, port->gh, port->hg), 0);
	}
}

static void test_create_errors(void **state)
{
	assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -ENXIO);
	assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_DELETE), 0);
	assert_int_equal(vg_ptctl(port, 99), -EINVAL);
	assert_int_equal(vg_probe(port, 0), 0);
	assert_int_equal(vg_start(port, 0), 0);
	assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -EBUSY);
	/* An address written stops it. */
	assert_int_equal(vg_write_csb(port, port->gh, 0), 0);
	assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -ENXIO);
	assert_int_equal(vg_write_csb(port, RAM, port->hg), 0);
	assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -EFAULT);
	assert_int_equal(vg_write_csb(port, 800 * 1024, port->hg), 0); /* read only */
	assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -EFAULT);
	assert_int_equal(
		vg_write_csb(port, 640 * 1024 - 64, port->hg), 0); /* two rings, one fits */
	assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -EFAULT);
	assert_int_equal(vg_write_csb(port, port->gh + 4, port->hg), 0);
	assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -EINVAL);
	assert_int_equal(vg_write_csb(port, port->gh, port->gh), 0);
	assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -EINVAL);
	assert_int_equal(vg_write_csb(port, port->gh, port->hg), 0);
	assert_int_equal(vg_start(port, 0), 0);
}

/* A guest that reboots without having stopped anything. */
static void test_reset(void **state)
{
	int round;

	for (round = 0; round < 10; round++) {
		assert_int_equal(vg_probe(port, 0), 0);
		if (round != 5)
			assert_int_equal(vg_start(port, 0), 0);
		if (round % 3 == 0)
			assert_int_equal(vg_unmap_ram(port), 0);
		assert_int_equal(vfc_reset(port->client), 0);
		if (round % 3 == 0)
			assert_int_equal(vg_map_ram(port), 0);
		assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -ENXIO);
		/* From now on nobody touches guest memory: it keeps what is written there. */
		memset(port->atok, 0x55, 4096);
		memset(port->ktoa, 0x55, 4096);
		assert_int_equal(get(PTNET_IO_PTCTL), ENXIO);
		assert_int_equal(port->ktoa[0].hwcur, 0x55555555);
		assert_int_equal(port->atok[0].head, 0x55555555);
	}
}

/* The connection ends at any point; the device is as new for the next one. */
static void test_disconnect(void **state)
{
	struct daemon_holds before;
	int step;

	vg_close_port(port);
	vg_free(vg);
	for (step = 0; step < 8; step++) {
		assert_int_equal(vg_new(RAM, &vg), 0);
		assert_int_equal(vg_add_mem(vg, paths.mem_path, NULL), 0);
		assert_int_equal(vg_add_port(vg, paths.net_path, &port), 0);
		assert_int_equal(vg_ptctl(port, PTNETMAP_PTCTL_CREATE), -ENXIO);
		if (step >= 1)
			assert_int_equal(vg_probe(port, 0), 0);
		if (step >= 2)
			assert_int_equal(vg_start(port, 0), 0);
		if (step == 3)
			assert_int_equal(vg_unmap_ram(port), 0);
		if (step == 4)
			assert_int_equal(vg_stop(port), 0);
		if (step == 5)
			assert_int_equal(vfc_send(port->client, "in the middle", 13, NULL, 0), 0);
		vg_free(vg);
	}
	vg = NULL;
	/* Nothing of them is left. */
	assert_int_equal(vg_new(RAM, &vg), 0);
	assert_int_equal(vg_add_mem(vg, paths.mem_path, NULL), 0);
	assert_int_equal(vg_add_port(vg, paths.net_path, &port), 0);
	daemon_holds(&d, &before);
	assert_int_equal(before.guest_maps, 0);
	assert_int_equal(vg_probe(port, 0), 0);
	assert_int_equal(vg_start(port, 0), 0);
	vg_close_port(port);
	assert_int_equal(vg_add_port(vg, paths.net_path, &port), 0);
	daemon_expect_holds(&d, &before);
}

/* One client at a time. */
static void test_second_client(void **state)
{
	struct vfc *other;

	assert_int_equal(vg_probe(port, 0), 0);
	assert_int_equal(vg_start(port, 0), 0);
	assert_int_equal(vfc_connect(paths.net_path, &other), 0);
	assert_int_equal(vfc_wait_closed(other), 0);
	vfc_close(other);
	assert_int_equal(vfc_connect(paths.mem_path, &other), 0);
	assert_int_equal(vfc_wait_closed(other), 0);
	vfc_close(other);
	assert_int_equal(get(PTNET_IO_PTCTL), 0);
	assert_int_equal(vg_stop(port), 0);
}

/* The owner of the machine goes while its devices are in use: so do the devices. */
static void test_owner_goes(void **state)
{
	assert_int_equal(vg_probe(port, 0), 0);
	assert_int_equal(vg_start(port, 0), 0);
	close(machine);
	assert_int_equal(vfc_wait_closed(port->client), 0);
	assert_int_equal(access(paths.net_path, F_OK), -1);
	machine = daemon_connect(&d); /* for teardown */
}

/* Many machines and ports at the same time; they share nothing but the daemon. */
static void test_many(void **state)
{
	enum { MACHINES = 4, PORTS = 3 };
	struct nmd_vm_add_port_reply reply;
	struct vg *vgs[MACHINES];
	struct vg_port *ports[MACHINES][PORTS];
	int owners[MACHINES], i, k;
	char name[32];

	for (i = 0; i < MACHINES; i++) {
		owners[i] = daemon_vm(&d, "many");
		assert_int_equal(vg_new(RAM, &vgs[i]), 0);
		for (k = 0; k < PORTS; k++) {
			snprintf(name, sizeof(name), "vale7:%d_%d", i, k);
			daemon_port(owners[i], name, &reply);
			if (k == 0)
				assert_int_equal(vg_add_mem(vgs[i], reply.mem_path, NULL), 0);
			assert_int_equal(vg_add_port(vgs[i], reply.net_path, &ports[i][k]), 0);
			assert_int_equal(vg_probe(ports[i][k], 0), 0);
			assert_int_equal(vg_start(ports[i][k], 0), 0);
		}
	}
	for (i = 0; i < MACHINES; i++) {
		for (k = 0; k < PORTS; k++) {
			struct flow f;

			flow_init(&f, &ports[i][k]->rings[0],
				&ports[(i + 1) % MACHINES][(k + 1) % PORTS]->rings[1]);
			/* Others got copies while nobody knew where the receiver is. */
			assert_int_equal(flow_settle(&f), 0);
			assert_int_equal(flow_run(&f, 100), 0);
		}
	}
	for (i = 0; i < MACHINES; i++) {
		vg_free(vgs[i]);
		close(owners[i]);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_paths),
		TEST(test_life),
		TEST(test_create_errors),
		TEST(test_reset),
		TEST(test_disconnect),
		TEST(test_second_client),
		TEST(test_owner_goes),
		TEST(test_many),
	};

	return cmocka_run_group_tests_name("vfio driver", tests, group_setup, group_teardown);
}
