/* SPDX-License-Identifier: BSD-2-Clause */
/* The request REGISTER: modes and flags, who may share what, and too little memory. */
#include "request.h"

static void register_answers(void **state)
{
	struct nm_port *port;

	prepare_register("vale7:x");
	reg->nr_tx_rings = 2;
	reg->nr_rx_rings = 3;
	reg->nr_tx_slots = 32;
	reg->nr_rx_slots = 64;
	reg->nr_extra_bufs = 5;
	assert_int_equal(ask(), 0);
	port = client.port;
	assert_int_equal(reg->nr_tx_rings, 2);
	assert_int_equal(reg->nr_rx_rings, 3);
	assert_int_equal(reg->nr_tx_slots, 32);
	assert_int_equal(reg->nr_rx_slots, 64);
	assert_int_equal(reg->nr_host_tx_rings, 0);
	assert_int_equal(reg->nr_extra_bufs, 5); /* given */
	assert_int_equal(reg->nr_mem_id, port->region->id);
	assert_int_equal(reg->nr_memsize, port->region->size);
	assert_int_equal(reg->nr_offset, client.nifp_offset);
	assert_string_equal(hdr->nr_name, "vale7:x");
	/* Only once. */
	prepare_register("vale7:y");
	assert_int_equal(ask(), -EBUSY);
	check_err_says("vale7:x");
	assert_ptr_equal(client.port, port);
}

/* What a second client of a port gets, which has 3 tx and 2 rx rings and no host rings. */
static const struct {
	uint32_t mode;
	uint16_t ringid;
	uint64_t flags;
	int error;
	uint32_t first[NM_DIRS], count[NM_DIRS];
} modes[] = {
	{NR_REG_ALL_NIC, 0, 0, 0, {0, 0}, {3, 2}},
	{NR_REG_ALL_NIC, 9, 0, 0, {0, 0}, {3, 2}},
	{NR_REG_NIC_SW, 0, 0, -EINVAL, {0, 0}, {0, 0}},
	{NR_REG_ALL_NIC, 0, NR_TX_RINGS_ONLY, 0, {0, 0}, {3, 0}},
	{NR_REG_ALL_NIC, 0, NR_RX_RINGS_ONLY, 0, {0, 0}, {0, 2}},
	{NR_REG_ALL_NIC, 0, NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY, 0, {0, 0}, {3, 2}},
	{NR_REG_ONE_NIC, 0, 0, 0, {0, 0}, {1, 1}},
	{NR_REG_ONE_NIC, 1, 0, 0, {1, 1}, {1, 1}},
	{NR_REG_ONE_NIC, 2, NR_TX_RINGS_ONLY, 0, {2, 0}, {1, 0}},
	{NR_REG_ONE_NIC, 2, 0, 0, {2, 0}, {1, 1}}, /* of two the first */
	{NR_REG_ONE_NIC, 3, NR_TX_RINGS_ONLY, -EINVAL, {0, 0}, {0, 0}},
	{NR_REG_ONE_NIC, 65535, 0, -EINVAL, {0, 0}, {0, 0}},
	{NR_REG_ALL_NIC, 0, NR_DO_RX_POLL | NR_NO_TX_POLL | NR_ACCEPT_VNET_HDR, 0, {0, 0}, {3, 2}},
	{NR_REG_DEFAULT, 0, 0, -EINVAL, {0, 0}, {0, 0}},
	{NR_REG_SW, 0, 0, -EINVAL, {0, 0}, {0, 0}},
	{NR_REG_ONE_SW, 0, 0, -EINVAL, {0, 0}, {0, 0}},
	{NR_REG_ONE_SW, 65535, 0, -EINVAL, {0, 0}, {0, 0}},
	{9, 0, 0, -EINVAL, {0, 0}, {0, 0}},
	{UINT32_MAX, 0, 0, -EINVAL, {0, 0}, {0, 0}},
	{NR_REG_PIPE_MASTER, 0, 0, 0, {0, 0}, {3, 2}},
	{NR_REG_PIPE_SLAVE, 65535, 0, 0, {0, 0}, {3, 2}},
	{NR_REG_NULL, 0, 0, 0, {0, 0}, {3, 2}},
	{NR_REG_ALL_NIC, 0, NR_MONITOR_TX, 0, {0, 0}, {1, 3}},
	{NR_REG_ONE_NIC, 1, NR_MONITOR_TX, 0, {0, 0}, {1, 1}},
	{NR_REG_ONE_NIC, 3, NR_MONITOR_TX, -EINVAL, {0, 0}, {0, 0}},
};

static void modes_and_flags(void **state)
{
	struct nm_client first;

	nm_client_init(&first, &core);
	for (int alone = 0; alone < 2; alone++) {
		for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
			if (!alone) {
				prepare_register("vale0:1");
				reg->nr_tx_rings = 3;
				reg->nr_rx_rings = 2;
				assert_int_equal(ask_as(&first), 0);
			}
			prepare_register("vale0:1");
			reg->nr_tx_rings = 3;
			reg->nr_rx_rings = 2;
			reg->nr_mode = modes[i].mode;
			reg->nr_ringid = modes[i].ringid;
			reg->nr_flags = modes[i].flags;
			if (ask() != modes[i].error)
				fail_msg("row %zu: %s", i, client.err.text);
			if (modes[i].error == 0) {
				assert_memory_equal(client.first, modes[i].first, 8);
				assert_memory_equal(client.count, modes[i].count, 8);
				assert_true(client.flags == modes[i].flags);
				/* A monitor's rings are its own, whichever it watches. */
				if (modes[i].flags & NR_MONITOR_TX) {
					assert_int_equal(reg->nr_mode, NR_REG_ALL_NIC);
					assert_int_equal(reg->nr_ringid, 0);
				}
			}
			nm_client_unbind(&client);
			nm_client_unbind(&first);
			core_check_empty(&core);
		}
	}
}

/* NR_ZCOPY_MON alone is a monitor of both directions, and is answered as one. */
static void zero_copy_alone(void **state)
{
	prepare_register("vale0:1");
	reg->nr_tx_rings = reg->nr_rx_rings = 2;
	reg->nr_mode = NR_REG_ONE_NIC;
	reg->nr_ringid = 1;
	reg->nr_flags = NR_ZCOPY_MON;
	assert_int_equal(ask(), 0);
	assert_int_equal(reg->nr_mode, NR_REG_ALL_NIC);
	assert_int_equal(reg->nr_ringid, 0);
	assert_int_equal(client.count[NM_RX], 1);
	nm_client_unbind(&client);
	core_check_empty(&core);
}

/* Two clients one after the other; rings are shared unless one wants them for itself. */
static void exclusive(void **state)
{
	static const struct {
		uint32_t mode1, ring1;
		uint64_t flags1;
		uint32_t mode2, ring2;
		uint64_t flags2;
		int error;
	} cases[] = {
		{NR_REG_ALL_NIC, 0, 0, NR_REG_ALL_NIC, 0, 0, 0},
		{NR_REG_ALL_NIC, 0, NR_EXCLUSIVE, NR_REG_ALL_NIC, 0, 0, -EBUSY},
		{NR_REG_ALL_NIC, 0, 0, NR_REG_ALL_NIC, 0, NR_EXCLUSIVE, -EBUSY},
		{NR_REG_ALL_NIC, 0, NR_EXCLUSIVE, NR_REG_ONE_NIC, 1, 0, -EBUSY},
		{NR_REG_ONE_NIC, 0, NR_EXCLUSIVE, NR_REG_ONE_NIC, 1, NR_EXCLUSIVE, 0},
		{NR_REG_ONE_NIC, 0, NR_EXCLUSIVE, NR_REG_ONE_NIC, 0, 0, -EBUSY},
		{NR_REG_ONE_NIC, 0, NR_EXCLUSIVE, NR_REG_ALL_NIC, 0, 0, -EBUSY},
		{NR_REG_ONE_NIC, 1, 0, NR_REG_ONE_NIC, 1, 0, 0},
		{NR_REG_ALL_NIC, 0, NR_EXCLUSIVE | NR_TX_RINGS_ONLY, NR_REG_ALL_NIC, 0,
			NR_EXCLUSIVE | NR_RX_RINGS_ONLY, 0},
		{NR_REG_ALL_NIC, 0, NR_EXCLUSIVE | NR_TX_RINGS_ONLY, NR_REG_ALL_NIC, 0, 0, -EBUSY},
	};
	struct nm_client first;

	nm_client_init(&first, &core);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		prepare_register("vale0:1");
		reg->nr_tx_rings = reg->nr_rx_rings = 2;
		reg->nr_mode = cases[i].mode1;
		reg->nr_ringid = (uint16_t)cases[i].ring1;
		reg->nr_flags = cases[i].flags1;
		assert_int_equal(ask_as(&first), 0);
		for (int round = 0; round < 2; round++) { /* a refusal changes nothing */
			prepare_register("vale0:1");
			reg->nr_mode = cases[i].mode2;
			reg->nr_ringid = (uint16_t)cases[i].ring2;
			reg->nr_flags = cases[i].flags2;
			assert_int_equal(ask(), cases[i].error);
			if (cases[i].error)
				check_err_says("vale0:1");
			nm_client_unbind(&client);
		}
		nm_client_unbind(&first);
		prepare_register("vale0:1"); /* the first is gone: nobody is in the way */
		reg->nr_flags = NR_EXCLUSIVE;
		assert_int_equal(ask(), 0);
		nm_client_unbind(&client);
	}
	client.exclusive_only = true; /* served through a CSB */
	prepare_register("vale0:1");
	assert_int_equal(ask_as(&first), 0);
	prepare_register("vale0:1");
	assert_int_equal(ask(), -EBUSY);
	nm_client_unbind(&first);
}

/* Too little of each pool: which, how much, and how much there is. */
static void small_pools(void **state)
{
	static const struct {
		uint32_t count[NM_POOLS], size[NM_POOLS];
		uint32_t slots;
		const char *says[3];
	} cases[] = {
		{{4, 2, 34}, {256, 512, 64}, 16, {""}}, /* just enough */
		{{4, 2, 33}, {256, 512, 64}, 16, {"buffer pool", "32 wanted", "31 of 33 free"}},
		{{4, 2, 17}, {256, 512, 64}, 16, {"buffer pool", "32 wanted", "15 of 17 free"}},
		{{4, 1, 34}, {256, 512, 64}, 16, {"ring pool", "2 wanted", "1 of 1 free"}},
		{{4, 2, 34}, {256, 512, 64}, 17, {"17 slots", "has room for 16"}},
		{{4, 2, 4000}, {256, 512, 64}, 1000, {"1000 slots", "has room for 16"}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nm_region_params params;
		struct nm_region *region;
		struct nm_error err;

		memcpy(params.count, cases[i].count, sizeof(params.count));
		memcpy(params.size, cases[i].size, sizeof(params.size));
		region = nm_region_create(&core, &params, 0, &err);
		assert_non_null(region);
		client.own_region = region;
		prepare_register("vale0:1");
		reg->nr_tx_slots = reg->nr_rx_slots = cases[i].slots;
		assert_int_equal(ask(), cases[i].says[0][0] ? -ENOMEM : 0);
		for (int k = 0; k < 3 && cases[i].says[k]; k++)
			check_err_says(cases[i].says[k]);
		nm_client_unbind(&client);
		client.own_region = NULL;
		for (int pool = 0; pool < NM_POOLS; pool++)
			assert_int_equal(nm_bufown_num_free(region, pool),
				cases[i].count[pool] - (pool == NM_POOL_BUF ? 2 : 0));
		region_check(region);
		nm_region_put(region);
		core_check_empty(&core);
	}
}

/* The netmap_if: too many clients for the pool, and too many rings for an object. */
static void small_netmap_if_pool(void **state)
{
	struct nm_region_params params = {.count = {2, 80, 400}, .size = {256, 512, 64}};
	struct nm_client more[2];
	struct nm_region *region;
	struct nm_error err;

	region = nm_region_create(&core, &params, 0, &err);
	assert_non_null(region);
	client.own_region = region;
	for (int i = 0; i < 2; i++) {
		nm_client_init(&more[i], &core);
		more[i].own_region = region;
		prepare_register("vale0:1");
		assert_int_equal(ask_as(&more[i]), 0);
	}
	prepare_register("vale0:1");
	assert_int_equal(ask(), -ENOMEM);
	check_err_says("netmap_if pool");
	nm_client_unbind(&more[0]);
	prepare_register("vale0:1");
	assert_int_equal(ask(), 0);
	nm_client_unbind(&client);
	nm_client_unbind(&more[1]);
	prepare_register("vale0:1");
	reg->nr_tx_rings = 40;
	reg->nr_tx_slots = reg->nr_rx_slots = 4;
	assert_int_equal(ask(), -ENOMEM);
	check_err_says("netmap_if");
	region_check(region);
	client.own_region = NULL;
	nm_region_put(region);
}

/* nr_mem_id: a region that there is, one that is made, one that is another's alone. */
static void memory_ids(void **state)
{
	struct nm_region *region = make_region(&core, 200, 2048, 64);
	struct nm_region *other = make_region(&core, 200, 2048, 64);

	prepare_register("vale0:1");
	reg->nr_mem_id = region->id;
	assert_int_equal(ask(), 0);
	assert_int_equal(reg->nr_mem_id, region->id);
	assert_ptr_equal(client.port->region, region);
	nm_client_unbind(&client);
	prepare_register("vale0:1"); /* one that is made when it is named */
	reg->nr_mem_id = 999;
	assert_int_equal(ask(), 0);
	assert_int_equal(client.port->region->id, 999);
	nm_client_unbind(&client);
	assert_int_equal(core_count_regions(&core), 2);

	other->reserved = true;
	prepare_register("vale0:1");
	reg->nr_mem_id = other->id;
	assert_int_equal(ask(), -EPERM);
	client.own_region = other;
	assert_int_equal(ask(), 0);
	assert_ptr_equal(client.port->region, other);
	client.own_region = NULL;
	nm_client_unbind(&client);

	/* A port that has its memory already. */
	client.own_region = region;
	prepare_register("vale0:1");
	assert_int_equal(ask(), 0);
	{
		struct nm_client second;

		nm_client_init(&second, &core);
		prepare_register("vale0:1");
		reg->nr_mem_id = other->id;
		assert_int_equal(ask_as(&second), -EINVAL);
		prepare_register("vale0:1");
		reg->nr_mem_id = region->id;
		assert_int_equal(ask_as(&second), 0);
		nm_client_unbind(&second);
	}
	nm_client_unbind(&client);
	client.own_region = NULL;
	nm_region_put(region);
	nm_region_put(other);
}

/* Every allocation of a REGISTER fails once. */
static void register_without_memory(void **state)
{
	uint32_t failures = 0;

	for (uint32_t nth = 1;; nth++) {
		int error;

		prepare_register("vale0:1");
		fail_allocation(nth);
		error = ask();
		if (!allocation_failed())
			break;
		failures++;
		assert_int_equal(error, -ENOMEM);
		core_check_empty(&core);
	}
	fail_allocation(0);
	assert_non_null(client.port);
	assert_true(failures >= 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(register_answers, request_begin, request_end),
		cmocka_unit_test_setup_teardown(modes_and_flags, request_begin, request_end),
		cmocka_unit_test_setup_teardown(zero_copy_alone, request_begin, request_end),
		cmocka_unit_test_setup_teardown(exclusive, request_begin, request_end),
		cmocka_unit_test_setup_teardown(small_pools, request_begin, request_end),
		cmocka_unit_test_setup_teardown(small_netmap_if_pool, request_begin, request_end),
		cmocka_unit_test_setup_teardown(memory_ids, request_begin, request_end),
		cmocka_unit_test_setup_teardown(
			register_without_memory, request_begin, request_end),
	};

	test_seed();
	return cmocka_run_group_tests_name("register", tests, NULL, NULL);
}
