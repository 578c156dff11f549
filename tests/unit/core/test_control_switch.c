/* SPDX-License-Identifier: BSD-2-Clause */
/* core/control.h: devices on switches, persistent ports, and polling: what the requests check, what
 * they ask of the platform, and what they answer. How packets go is in test_attachment.c. */
#include "request.h"

#include <stdio.h>

#include "attachment.h"
#include "vale.h"

/* ---- a platform with devices ------------------------------------------------------- */

static struct {
	int error; /* of the next call */
	uint32_t newifs, delifs, starts, stops, polls;
	struct nm_shape shape;
	uint16_t mem_id;
	uint32_t first_cpu, cpus;
} devices;

static int no_txsync(struct nm_ring *ring)
{
	ring->hwcur = ring->head;
	return 0;
}

static int no_rxsync(struct nm_ring *ring)
{
	OS_STORE_RELEASE(&ring->hwcur, ring->head);
	return 0;
}

static const struct nm_port_ops device_ops = {
	.kind = "test-device",
	.txsync = no_txsync,
	.rxsync = no_rxsync,
	.shares_region = true,
};

static struct nm_port *find_device(struct nm_core *c, void *ns, const char *name)
{
	const struct nm_shape shape = {.rings = {2, 2}, .host_rings = {1, 1}, .slots = {16, 16}};
	struct nm_error error;

	if (strncmp(name, "dev", 3) != 0)
		return NULL;
	return nm_port_add_locked(c, name, &device_ops, &shape, &error);
}

static int new_interface(struct nm_core *c, void *ns, const char *name,
	const struct nm_shape *shape, uint16_t mem_id, struct nm_error *err)
{
	int error = devices.error;

	devices.newifs++;
	devices.shape = *shape;
	devices.mem_id = mem_id;
	if (error)
		return nm_error_set(err, error, "%s: the test says no", name);
	return nm_port_add_locked(c, name, &device_ops, shape, err) ? 0 : err->code;
}

static int delete_interface(struct nm_core *c, void *ns, const char *name, struct nm_error *err)
{
	struct nm_port *port = nm_port_find_locked(c, name);

	devices.delifs++;
	if (!port || devices.error) {
		nm_error_set(err, devices.error, "%s: the test says no", name);
		return devices.error ? devices.error : -ENXIO;
	}
	nm_port_remove_locked(port);
	return 0;
}

static int start_attachment(struct nm_attachment *att, struct nm_error *err)
{
	devices.starts++;
	if (devices.error)
		nm_error_set(err, devices.error, "%s: the test says no", att->name);
	return devices.error;
}

static void stop_attachment(struct nm_attachment *att)
{
	devices.stops++;
}

static int poll_attachment(
	struct nm_attachment *att, uint32_t first_cpu, uint32_t count, struct nm_error *err)
{
	devices.polls++;
	devices.first_cpu = first_cpu;
	devices.cpus = count;
	if (devices.error)
		nm_error_set(err, devices.error, "%s: the test says no", att->name);
	return devices.error;
}

static const struct nm_platform_ops ops = {
	.lookup = find_device,
	.newif = new_interface,
	.delif = delete_interface,
	.attachment_start = start_attachment,
	.attachment_stop = stop_attachment,
	.attachment_poll = poll_attachment,
};

/* The devices stay until their platform takes them away. */
static void remove_device(const char *name)
{
	struct nm_port *port;

	nm_core_lock(&core);
	core.platform_ops = NULL;
	port = nm_port_find_locked(&core, name);
	if (port)
		nm_port_remove_locked(port);
	core.platform_ops = &ops;
	nm_core_unlock(&core);
}

static int begin(void **state)
{
	memset(&devices, 0, sizeof(devices));
	request_begin(state);
	core.platform_ops = &ops;
	return 0;
}

/* ---- VALE_ATTACH, VALE_DETACH ---------------------------------------------------------------- */

static int ask_attach(const char *name, uint32_t mode)
{
	prepare(NETMAP_REQ_VALE_ATTACH, name);
	attach->reg.nr_mode = mode;
	attach->port_index = 99;
	return ask();
}

static int ask_detach(const char *name)
{
	prepare(NETMAP_REQ_VALE_DETACH, name);
	detach->port_index = 99;
	return ask();
}

static void attach_and_detach(void **state)
{
	assert_int_equal(ask_attach("vale0:dev1", NR_REG_ALL_NIC), 0);
	assert_int_equal(attach->port_index, 0);
	assert_true(attach->reg.nr_mem_id > 1);
	assert_int_equal(devices.starts, 1);
	prepare(NETMAP_REQ_VALE_LIST, "vale0:dev1");
	assert_int_equal(ask(), 0);
	assert_int_equal(ask_attach("vale0:dev1", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(ask_attach("vale1:dev1", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(ask_attach("vale0:dev2", NR_REG_NIC_SW), 0);
	assert_true(attach->port_index > 0);
	prepare_register("dev1"); /* its rings are taken */
	assert_int_equal(ask(), -EBUSY);
	assert_int_equal(ask_detach("vale0:dev1"), 0);
	assert_int_equal(detach->port_index, 0);
	assert_int_equal(devices.stops, 1);
	assert_int_equal(ask_detach("vale0:dev1"), -ENXIO);
	assert_int_equal(ask_attach("vale1:dev1", NR_REG_DEFAULT), 0);
	assert_int_equal(ask_detach("vale1:dev1"), 0);
	assert_int_equal(ask_detach("vale0:dev2"), 0);
	assert_int_equal(devices.starts, devices.stops);
	remove_device("dev1");
	remove_device("dev2");
}

static void attach_refused(void **state)
{
	static const struct {
		const char *name;
		uint32_t mode;
		int error;
	} cases[] = {
		{"", NR_REG_ALL_NIC, -EINVAL},
		{"dev1", NR_REG_ALL_NIC, -EINVAL},
		{"vale0:", NR_REG_ALL_NIC, -EINVAL},
		{"vale0:dev1{1", NR_REG_ALL_NIC, -EINVAL},
		{"vale0:eth9", NR_REG_ALL_NIC, -ENXIO},
		{"vale0:dev1", NR_REG_SW, -EINVAL},
		{"vale0:dev1", NR_REG_ONE_NIC, -EINVAL},
		{"vale0:dev1", NR_REG_NULL, -EINVAL},
		{"vale0:dev1", UINT32_MAX, -EINVAL},
	};
	struct app app;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(ask_attach(cases[i].name, cases[i].mode), cases[i].error);
		remove_device("dev1");
		core_check_empty(&core);
	}
	devices.error = -EPERM;
	assert_int_equal(ask_attach("vale0:dev1", NR_REG_ALL_NIC), -EPERM);
	check_err_says("the test says no");
	remove_device("dev1");
	core_check_empty(&core);
	devices.error = 0;

	/* A port of this name is in use by an application. */
	app_open(&core, &app, &(struct app_config){"vale0:dev1", 2048});
	assert_int_equal(ask_attach("vale0:dev1", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(ask_detach("vale0:dev1"), -ENXIO);
	app_close(&app);
	assert_int_equal(ask_detach("dev1"), -EINVAL);
	/* Somebody has the device open. */
	prepare_register("dev1");
	assert_int_equal(ask(), 0);
	assert_int_equal(ask_attach("vale0:dev1", NR_REG_ALL_NIC), -EBUSY);
	nm_client_unbind(&client);
	remove_device("dev1");
}

/* ---- polling ---------------------------------------------------------------------------------- */

static int ask_polling(uint16_t type, uint32_t mode, uint32_t first, uint32_t count)
{
	prepare(type, "vale0:dev1");
	polling->nr_mode = mode;
	polling->nr_first_cpu_id = first;
	polling->nr_num_polling_cpus = count;
	return ask();
}

static void polling_threads(void **state)
{
	static const struct {
		uint32_t mode, first, count;
		int error;
		uint32_t cpus;
	} cases[] = {
		{NETMAP_POLLING_MODE_SINGLE_CPU, 0, 1, 0, 1},
		{NETMAP_POLLING_MODE_SINGLE_CPU, 3, 0, 0, 1},
		{NETMAP_POLLING_MODE_SINGLE_CPU, 0, 2, -EINVAL, 0},
		{NETMAP_POLLING_MODE_MULTI_CPU, 1, 2, 0, 2},
		{NETMAP_POLLING_MODE_MULTI_CPU, 1, 1, 0, 1},
		{NETMAP_POLLING_MODE_MULTI_CPU, 1, 0, -EINVAL, 0},
		{NETMAP_POLLING_MODE_MULTI_CPU, UINT32_MAX, 1, -EINVAL, 0},
		{NETMAP_POLLING_MODE_MULTI_CPU, 2, UINT32_MAX, -EINVAL, 0},
		{0, 0, 1, -EINVAL, 0},
		{3, 0, 1, -EINVAL, 0},
	};

	assert_int_equal(
		ask_polling(NETMAP_REQ_VALE_POLLING_ENABLE, NETMAP_POLLING_MODE_SINGLE_CPU, 0, 1),
		-ENXIO);
	assert_int_equal(ask_polling(NETMAP_REQ_VALE_POLLING_DISABLE, 0, 0, 0), -ENXIO);
	assert_int_equal(ask_attach("vale0:dev1", NR_REG_ALL_NIC), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		devices.polls = 0;
		assert_int_equal(ask_polling(NETMAP_REQ_VALE_POLLING_ENABLE, cases[i].mode,
					 cases[i].first, cases[i].count),
			cases[i].error);
		assert_int_equal(devices.polls, cases[i].error == 0);
		if (cases[i].error)
			continue;
		assert_int_equal(devices.first_cpu, cases[i].first);
		assert_int_equal(devices.cpus, cases[i].cpus);
		assert_int_equal(polling->nr_mode, cases[i].mode);
		assert_int_equal(polling->nr_num_polling_cpus, cases[i].count);
		assert_int_equal(ask_polling(NETMAP_REQ_VALE_POLLING_ENABLE, cases[i].mode,
					 cases[i].first, cases[i].count),
			-EBUSY);
		assert_int_equal(ask_polling(NETMAP_REQ_VALE_POLLING_DISABLE, 0, 0, 0), 0);
		assert_int_equal(devices.cpus, 0);
		assert_int_equal(ask_polling(NETMAP_REQ_VALE_POLLING_DISABLE, 0, 0, 0), -EINVAL);
	}
	devices.error = -EINVAL;
	assert_int_equal(
		ask_polling(NETMAP_REQ_VALE_POLLING_ENABLE, NETMAP_POLLING_MODE_MULTI_CPU, 500, 1),
		-EINVAL);
	check_err_says("the test says no");
	devices.error = 0;
	prepare(NETMAP_REQ_VALE_POLLING_ENABLE, "dev1");
	assert_int_equal(ask(), -EINVAL);
	assert_int_equal(ask_detach("vale0:dev1"), 0);
	remove_device("dev1");
}

/* ---- persistent ports -------------------------------------------------------------------------- */

static int ask_newif(const char *name)
{
	prepare(NETMAP_REQ_VALE_NEWIF, name);
	return ask();
}

static int ask_delif(const char *name)
{
	prepare(NETMAP_REQ_VALE_DELIF, name);
	hdr->nr_body = 0;
	return ask();
}

static void newif_and_delif(void **state)
{
	assert_int_equal(ask_newif("per4"), 0);
	assert_int_equal(newif->nr_tx_rings, 1);
	assert_int_equal(newif->nr_rx_rings, 1);
	assert_int_equal(newif->nr_tx_slots, NM_SLOTS_DEFAULT);
	assert_int_equal(newif->nr_rx_slots, NM_SLOTS_DEFAULT);
	prepare(NETMAP_REQ_VALE_NEWIF, "per5");
	newif->nr_tx_rings = 2;
	newif->nr_rx_rings = 3;
	newif->nr_tx_slots = 64;
	newif->nr_rx_slots = 128;
	newif->nr_mem_id = 7;
	assert_int_equal(ask(), 0);
	assert_int_equal(devices.shape.rings[NM_TX], 2);
	assert_int_equal(devices.shape.rings[NM_RX], 3);
	assert_int_equal(devices.shape.slots[NM_TX], 64);
	assert_int_equal(devices.shape.slots[NM_RX], 128);
	assert_int_equal(devices.mem_id, 7);
	assert_int_equal(ask_newif("per4"), -EEXIST);
	/* It outlives whoever made it, can be registered and put on a switch. */
	prepare_register("per4");
	assert_int_equal(ask(), 0);
	nm_client_unbind(&client);
	assert_int_equal(ask_attach("vale0:per4", NR_REG_ALL_NIC), 0);
	assert_int_equal(ask_detach("vale0:per4"), 0);
	devices.error = -EBUSY;
	assert_int_equal(ask_delif("per4"), -EBUSY);
	devices.error = 0;
	assert_int_equal(ask_delif("per4"), 0);
	assert_int_equal(ask_delif("per5"), 0);
	assert_int_equal(ask_delif("per5"), -ENXIO);
}

static void newif_refused(void **state)
{
	static const char *const names[] = {
		"", "vale0:1", "vale0", "valeX", "a{1", "no/name", "sixteen-bytes-16", "a b"};
	static const struct nmreq_vale_newif bad[] = {
		{.nr_tx_rings = NM_RINGS_MAX + 1},
		{.nr_rx_rings = UINT16_MAX},
		{.nr_tx_slots = 1},
		{.nr_tx_slots = NM_SLOTS_MAX + 1},
		{.nr_rx_slots = UINT32_MAX},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(ask_newif(names[i]), -EINVAL);
		assert_int_equal(ask_delif(names[i]), -EINVAL);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		prepare(NETMAP_REQ_VALE_NEWIF, "per4");
		*newif = bad[i];
		assert_int_equal(ask(), -EINVAL);
	}
	assert_int_equal(devices.newifs + devices.delifs, 0);
	assert_int_equal(ask_newif("fifteen-bytes15"), 0);
	assert_int_equal(ask_delif("fifteen-bytes15"), 0);
	devices.error = -EPERM;
	assert_int_equal(ask_newif("per4"), -EPERM);
	check_err_says("the test says no");
	devices.error = 0;
}

/* ---- questions about a device ------------------------------------------------------------------ */

/* Asking does not take a device from the system: it is not started. */
static void device_info(void **state)
{
	struct nm_port *port;

	prepare(NETMAP_REQ_PORT_INFO_GET, "dev1");
	assert_int_equal(ask(), 0);
	assert_int_equal(info->nr_tx_rings, 2);
	assert_int_equal(info->nr_host_rx_rings, 1);
	assert_int_equal(info->nr_mem_id, NM_REGION_SHARED_ID);
	assert_true(info->nr_memsize > 0);
	prepare(NETMAP_REQ_POOLS_INFO_GET, "dev1");
	assert_int_equal(ask(), 0);
	assert_int_equal(pools->nr_mem_id, NM_REGION_SHARED_ID);
	nm_core_lock(&core);
	port = nm_port_find_locked(&core, "dev1");
	nm_core_unlock(&core);
	assert_null(port->region);
	assert_int_equal(core_count_regions(&core), 0);
	remove_device("dev1");
}

/* A platform without devices. */
static void no_platform(void **state)
{
	core.platform_ops = NULL;
	assert_int_equal(ask_newif("per4"), -EOPNOTSUPP);
	assert_int_equal(ask_delif("per4"), -EOPNOTSUPP);
	assert_int_equal(ask_attach("vale0:dev1", NR_REG_ALL_NIC), -EOPNOTSUPP);
	assert_int_equal(ask_detach("vale0:dev1"), -ENXIO);
}

/* No memory at any point: nothing is left behind. */
static void allocations_that_fail(void **state)
{
	for (uint32_t n = 1;; n++) {
		int error;

		prepare(NETMAP_REQ_VALE_ATTACH, "vale0:dev1");
		attach->reg.nr_mode = NR_REG_NIC_SW;
		fail_allocation(n);
		error = ask();
		if (!allocation_failed()) {
			fail_allocation(0);
			assert_int_equal(error, 0);
			break;
		}
		fail_allocation(0);
		assert_true(error == -ENOMEM || error == -ENXIO || error == 0);
		if (error == 0)
			assert_int_equal(ask_detach("vale0:dev1"), 0);
		remove_device("dev1");
		core_check_empty(&core);
	}
	assert_int_equal(ask_detach("vale0:dev1"), 0);
	remove_device("dev1");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, request_end)
	const struct CMUnitTest tests[] = {
		TEST(attach_and_detach),
		TEST(attach_refused),
		TEST(polling_threads),
		TEST(newif_and_delif),
		TEST(newif_refused),
		TEST(device_info),
		TEST(no_platform),
		TEST(allocations_that_fail),
	};

	test_seed();
	return cmocka_run_group_tests_name("control_switch", tests, NULL, NULL);
}
