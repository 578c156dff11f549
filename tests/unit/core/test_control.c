/* SPDX-License-Identifier: BSD-2-Clause */
/* core/control.h: the header, questions about ports, and memory that can't be reached. Options and
 * the requests that live by them: test_control_options.c; devices on switches: test_control_switch.c;
 * REGISTER: test_register.c. */
#include "request.h"

#include <stdio.h>

/* ---- the header ---------------------------------------------------------------------------- */

static void header_checks(void **state)
{
	static const struct {
		uint16_t version, type;
		uint32_t reserved;
		int error;
		const char *says;
	} cases[] = {
		{14, NETMAP_REQ_REGISTER, 0, 0, ""},
		{15, NETMAP_REQ_REGISTER, 0, 0, ""},
		{13, NETMAP_REQ_REGISTER, 0, -EINVAL, "13"},
		{16, NETMAP_REQ_REGISTER, 0, -EINVAL, "16"},
		{0, NETMAP_REQ_REGISTER, 0, -EINVAL, "version 0"},
		{65535, NETMAP_REQ_REGISTER, 0, -EINVAL, "65535"},
		{14, NETMAP_REQ_REGISTER, 1, -EINVAL, "nr_reserved is 1"},
		{14, NETMAP_REQ_REGISTER, UINT32_MAX, -EINVAL, "nr_reserved"},
		{14, 0, 0, -EOPNOTSUPP, "request 0"},
		{14, NETMAP_REQ_VALE_ATTACH, 0, -EOPNOTSUPP, "vale0:1"}, /* no devices here */
		{14, NETMAP_REQ_VALE_DELIF, 0, -EINVAL, "vale0:1"},
		{14, NETMAP_REQ_SYNC_KLOOP_START, 0, -ENXIO, "no port"},
		{14, NETMAP_REQ_SYNC_KLOOP_STOP, 0, -ENXIO, "no port"},
		{14, NETMAP_REQ_CSB_ENABLE, 0, -ENXIO, "no port"},
		{14, NETMAP_REQ_CSB_ENABLE + 1, 0, -EOPNOTSUPP, "request 16"},
		{14, 65535, 0, -EOPNOTSUPP, "request 65535"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		prepare_register("vale0:1");
		hdr->nr_version = cases[i].version;
		hdr->nr_reqtype = cases[i].type;
		hdr->nr_reserved = cases[i].reserved;
		assert_int_equal(ask(), cases[i].error);
		check_err_says(cases[i].says);
		assert_int_equal(hdr->nr_version, NETMAP_API); /* the reply's */
		assert_int_equal(!!client.port, cases[i].error == 0);
		nm_client_unbind(&client);
	}
	prepare_register("vale0:1"); /* a name of 64 bytes has no end */
	memset(hdr->nr_name, 'a', sizeof(hdr->nr_name));
	assert_int_equal(ask(), -EINVAL);
	check_err_says("63");
	prepare_register("no/name");
	assert_int_equal(ask(), -EINVAL);
	prepare_register("");
	assert_int_equal(ask(), -EINVAL);
	prepare_register("eth0");
	assert_int_equal(ask(), -ENXIO);
	check_err_says("eth0");
	assert_int_equal(nm_control(&client, &ua, 0), -EFAULT);
	assert_int_equal(nm_control(&client, &ua, UINT64_MAX), -EFAULT);
	assert_int_equal(nm_control(&client, &ua, BASE + MEMORY - 1), -EFAULT);
}

/* ---- memory that can't be reached, at each point ---------------------------------------------- */

static void addresses_out_of_reach(void **state)
{
	static const uint64_t bad[] = {0, 1, BASE - 1, BASE + MEMORY - 4, BASE + MEMORY, UINT64_MAX,
		UINT64_MAX - sizeof(struct nmreq_register)};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (uint16_t type = 1; type <= NETMAP_REQ_POOLS_INFO_GET; type++) {
			prepare(type, "vale0:1");
			hdr->nr_body = bad[i];
			assert_int_equal(ask(), type == NETMAP_REQ_VALE_DELIF ? -EINVAL : -EFAULT);
			core_check_empty(&core);
			if (bad[i] == 0)
				continue; /* no option is no error */
			prepare_register("vale0:1");
			hdr->nr_options = bad[i];
			assert_int_equal(ask(), -EFAULT);
			core_check_empty(&core);
		}
	}
}

/* The k-th access fails, for every k and every request: -EFAULT, and nothing is left behind. */
static void every_access_fails_once(void **state)
{
	static const uint16_t types[] = {NETMAP_REQ_REGISTER, NETMAP_REQ_PORT_INFO_GET,
		NETMAP_REQ_VALE_LIST, NETMAP_REQ_PORT_HDR_GET, NETMAP_REQ_PORT_HDR_SET,
		NETMAP_REQ_POOLS_INFO_GET};
	struct app other;

	app_open(&core, &other, &(struct app_config){"vale0:other", 2048});
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		bool registers = types[i] == NETMAP_REQ_REGISTER;
		uint32_t failures = 0;

		for (uint32_t k = 1;; k++) {
			int error;

			prepare(types[i], registers ? "vale0:1" : "vale0:other");
			reg->nr_mode = registers ? NR_REG_ALL_NIC : 0;
			memory.fail_at = k;
			error = ask();
			if (memory.calls < k) {
				assert_int_equal(error, 0);
				break;
			}
			failures++;
			assert_int_equal(error, -EFAULT);
			assert_null(client.port);
			assert_int_equal(core_count_ports(&core), 1);
			assert_int_equal(core_count_regions(&core), 1);
		}
		assert_int_equal(failures, 4); /* header and body, in and out */
		assert_int_equal(!!client.port, registers);
		nm_client_unbind(&client);
	}
	app_close(&other);
}

/* ---- the others -------------------------------------------------------------------------------- */

static void port_info(void **state)
{
	struct app app;

	app_open(&core, &app, &(struct app_config){"vale0:app", 2048, 32, 2});
	prepare(NETMAP_REQ_PORT_INFO_GET, "vale0:app");
	assert_int_equal(ask(), 0);
	assert_int_equal(info->nr_memsize, app.region->size);
	assert_int_equal(info->nr_mem_id, app.region->id);
	assert_int_equal(info->nr_tx_slots, 32);
	assert_int_equal(info->nr_rx_slots, 32);
	assert_int_equal(info->nr_tx_rings, 2);
	assert_int_equal(info->nr_rx_rings, 2);
	assert_null(client.port);
	/* Also of a port that somebody has for himself. */
	app_close(&app);
	app_open(&core, &app, &(struct app_config){"vale0:app", 2048, .flags = NR_EXCLUSIVE});
	prepare(NETMAP_REQ_PORT_INFO_GET, "vale0:app");
	assert_int_equal(ask(), 0);
	app_close(&app);

	/* Nobody has it: it is made for the question, and nothing stays. */
	prepare(NETMAP_REQ_PORT_INFO_GET, "vale0:none");
	assert_int_equal(ask(), 0);
	assert_int_equal(info->nr_tx_slots, NM_SLOTS_DEFAULT);
	assert_int_equal(info->nr_tx_rings, 1);
	assert_null(client.port);
	core_check_empty(&core);
	prepare(NETMAP_REQ_PORT_INFO_GET, "eth0");
	assert_int_equal(ask(), -ENXIO);
	prepare(NETMAP_REQ_PORT_INFO_GET, "");
	info->nr_mem_id = 9; /* none registered: about a region, which there is not */
	assert_int_equal(ask(), -ENOENT);
	check_err_says("no memory region 9");
	prepare_register("vale0:1");
	assert_int_equal(ask(), 0);
	prepare(NETMAP_REQ_PORT_INFO_GET, "");
	assert_int_equal(ask(), 0);
	assert_int_equal(info->nr_tx_slots, 16);
}

static void pools_info(void **state)
{
	struct nm_region *region = make_region(&core, 100, 128, 16);

	prepare(NETMAP_REQ_POOLS_INFO_GET, "");
	pools->nr_mem_id = region->id;
	assert_int_equal(ask(), 0);
	assert_int_equal(pools->nr_mem_id, region->id);
	assert_int_equal(pools->nr_memsize, region->size);
	assert_int_equal(pools->nr_buf_pool_objtotal, 100);
	assert_int_equal(pools->nr_buf_pool_objsize, 128);
	prepare(NETMAP_REQ_POOLS_INFO_GET, "");
	pools->nr_mem_id = 999;
	assert_int_equal(ask(), -ENOENT);
	check_err_says("999");
	prepare(NETMAP_REQ_POOLS_INFO_GET, "vale0:none");
	assert_int_equal(ask(), 0);
	assert_int_equal(core_count_regions(&core), 1);
	client.own_region = region;
	prepare_register("vale0:1");
	assert_int_equal(ask(), 0);
	prepare(NETMAP_REQ_POOLS_INFO_GET, "");
	assert_int_equal(ask(), 0);
	assert_int_equal(pools->nr_mem_id, region->id);
	nm_client_unbind(&client);
	client.own_region = NULL;
	nm_region_put(region);
}

static void vale_list_by_name(void **state)
{
	struct app app[3];

	app_open(&core, &app[0], &(struct app_config){"vale0:a", 2048});
	app_open(&core, &app[1], &(struct app_config){"vale0:b", 2048});
	app_open(&core, &app[2], &(struct app_config){"valeX:b", 2048});
	prepare(NETMAP_REQ_VALE_LIST, "vale0:b");
	assert_int_equal(ask(), 0);
	assert_int_equal(list->nr_bridge_idx, 0);
	assert_int_equal(list->nr_port_idx, 1);
	prepare(NETMAP_REQ_VALE_LIST, "valeX:b");
	assert_int_equal(ask(), 0);
	assert_int_equal(list->nr_bridge_idx, 1);
	assert_int_equal(list->nr_port_idx, 0);
	prepare(NETMAP_REQ_VALE_LIST, "vale0:c");
	assert_int_equal(ask(), -ENOENT);
	prepare(NETMAP_REQ_VALE_LIST, "eth0");
	assert_int_equal(ask(), -ENOENT);
	assert_int_equal(core_count_ports(&core), 3); /* asking makes no port */
	for (int i = 0; i < 3; i++)
		app_close(&app[i]);
}

/* Ports of several switches, some gone again: stepping finds each that is there exactly once. */
static void vale_list_steps(void **state)
{
	enum { MOST = 40 };
	static struct nm_client clients[MOST];
	struct nm_region_params params = {.count = {MOST, 2 * MOST, 500}, .size = {256, 512, 64}};
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .num_slots = {4, 4}};
	struct nm_region *region;
	struct prng r = prng_new(1);
	struct nm_error err;

	region = nm_region_create(&core, &params, 0, &err);
	assert_non_null(region);
	for (uint32_t i = 0; i < MOST; i++) {
		nm_client_init(&clients[i], &core);
		clients[i].own_region = region;
	}
	for (int round = 0; round < 50; round++) {
		uint32_t seen = 0, there = 0;
		uint64_t last = 0;

		for (uint32_t i = 0; i < MOST; i++) {
			char name[32];

			snprintf(name, sizeof(name), "vale%u:p%u", i % 7, i);
			if (!clients[i].port && prng_chance(&r, 30))
				assert_int_equal(nm_client_bind(&clients[i], name, &bind), 0);
			else if (clients[i].port && prng_chance(&r, 30))
				nm_client_unbind(&clients[i]);
			there += clients[i].port != NULL;
		}
		prepare(NETMAP_REQ_VALE_LIST, "");
		while (ask() == 0) {
			uint64_t place = (uint64_t)list->nr_bridge_idx << 32 | list->nr_port_idx;
			uint32_t i;

			assert_true(seen == 0 || place > last);
			last = place;
			assert_int_equal(sscanf(hdr->nr_name, "vale%*u:p%u", &i), 1);
			assert_true(i < MOST && clients[i].port);
			seen++;
			memset(hdr->nr_name, 0, sizeof(hdr->nr_name));
			list->nr_port_idx++;
		}
		assert_int_equal(seen, there);
	}
	prepare(NETMAP_REQ_VALE_LIST, "");
	list->nr_bridge_idx = 65535;
	list->nr_port_idx = UINT32_MAX;
	assert_int_equal(ask(), -ENOENT);
	for (uint32_t i = 0; i < MOST; i++)
		nm_client_unbind(&clients[i]);
	nm_region_put(region);
}

static void header_length(void **state)
{
	static const struct {
		uint32_t bytes;
		int error;
	} cases[] = {{12, 0}, {12, 0}, {10, 0}, {0, 0}, {1, -EINVAL}, {11, -EINVAL}, {13, -EINVAL},
		{UINT32_MAX, -EINVAL}};
	prepare_register("vale0:app");
	assert_int_equal(ask(), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t before = client.port->hdr_len;

		prepare(NETMAP_REQ_PORT_HDR_SET, "vale0:app");
		port_hdr->nr_hdr_len = cases[i].bytes;
		assert_int_equal(ask(), cases[i].error);
		prepare(NETMAP_REQ_PORT_HDR_GET, "vale0:app");
		port_hdr->nr_hdr_len = 77;
		assert_int_equal(ask(), 0);
		assert_int_equal(port_hdr->nr_hdr_len, cases[i].error ? before : cases[i].bytes);
	}
	prepare(NETMAP_REQ_PORT_HDR_GET, "vale0:none");
	assert_int_equal(ask(), -ENXIO);
	nm_client_unbind(&client);
	prepare(NETMAP_REQ_PORT_HDR_GET, "");
	assert_int_equal(ask(), -ENXIO);
	assert_int_equal(core_count_ports(&core), 0);
}

/* Nobody changes the header under another one who uses the port. */
static void header_of_others(void **state)
{
	struct app app;

	app_open(&core, &app, &(struct app_config){"vale0:app", 2048});
	prepare(NETMAP_REQ_PORT_HDR_SET, "vale0:app");
	port_hdr->nr_hdr_len = 12;
	assert_int_equal(ask(), -EBUSY);
	check_err_says("others");
	assert_int_equal(app.client.port->hdr_len, 0);
	prepare(NETMAP_REQ_PORT_HDR_SET, "vale0:app");
	port_hdr->nr_hdr_len = 0; /* no change */
	assert_int_equal(ask(), 0);
	prepare_register("vale0:app"); /* now both have it */
	assert_int_equal(ask(), 0);
	prepare(NETMAP_REQ_PORT_HDR_SET, "");
	port_hdr->nr_hdr_len = 12;
	assert_int_equal(ask(), -EBUSY);
	nm_client_unbind(&client);
	app_close(&app);
}

/* A port whose packets carry the header is only for those who say that they know. */
static void header_must_be_accepted(void **state)
{
	struct app app;

	app_open(&core, &app, &(struct app_config){"vale0:app", 2048, .hdr_len = 12});
	prepare_register("vale0:app");
	assert_int_equal(ask(), -EIO);
	check_err_says("12");
	prepare_register("vale0:app");
	reg->nr_flags = NR_ACCEPT_VNET_HDR;
	assert_int_equal(ask(), 0);
	nm_client_unbind(&client);
	app_close(&app);
}

/* ---- names that are none ------------------------------------------------------------------------- */

/* What an error quotes of a name may hold anything: its text is one line that can be shown anywhere
 * (ask() sees to that), and has the name with \xNN in such places, here where a '?' is. */
static void names_that_are_none(void **state)
{
	static const char bytes[] = {'\n', '\r', '\t', '\x1b', '\x7f', '\x80', '\xff', '\x01'};
	static const char *const shown[] = {
		"?", "a?", "?a", "vale0:?", "vale0:a?", "vale?:a", "vale0:a{?", "eth0}1?"};
	char name[16], quoted[32];

	for (size_t f = 0; f < sizeof(shown) / sizeof(shown[0]); f++) {
		for (size_t b = 0; b < sizeof(bytes); b++) {
			snprintf(name, sizeof(name), "%s", shown[f]);
			*strchr(name, '?') = bytes[b];
			for (uint16_t type = 1; type <= NETMAP_REQ_POOLS_INFO_GET; type++) {
				prepare(type, name);
				reg->nr_mode = NR_REG_ALL_NIC;
				assert_true(ask() < 0);
				core_check_empty(&core);
			}
			prepare_register(name);
			assert_int_equal(ask(), -EINVAL);
			snprintf(quoted, sizeof(quoted), "\"%.*s\\x%02x%s\"",
				(int)strcspn(shown[f], "?"), shown[f], (unsigned char)bytes[b],
				strchr(shown[f], '?') + 1);
			check_err_says(quoted);
		}
	}
	for (size_t b = 0; b < sizeof(bytes); b++) { /* without an end */
		prepare_register("");
		memset(hdr->nr_name, bytes[b], sizeof(hdr->nr_name));
		assert_int_equal(ask(), -EINVAL);
	}
}

/* A bind that is no request, as for a virtual machine. */
static void names_that_are_none_bound(void **state)
{
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC};

	assert_int_equal(nm_client_bind(&client, "vale0:a{\n\x1b[2J\xff", &bind), -EINVAL);
	check_err_says("\"vale0:a{\\x0a\\x1b[2J\\xff\"");
	assert_null(strpbrk(client.err.text, "\n\x1b\xff"));
}

/* ---- any request -------------------------------------------------------------------------------- */

/* Requests with a few wrong fields, three clients, memory that fails. Whatever is answered, nobody is
 * harmed, and all is gone in the end. */
static void any_request(void **state)
{
	static const char *const names[] = {
		"vale0:a", "vale0:b", "vale1:a", "", "eth0", "vale0:", "vale0:a{1", "vale"};
	struct nm_region *region = make_region(&core, 300, 64, 64);
	static const uint16_t types[] = {1, 2, 5, 6, 7, 12};
	uint32_t results[2] = {0, 0};
	struct prng r = prng_new(2);
	struct app keep[2]; /* the switches need not be made anew for each request */
	struct nm_client who[3];

	app_open(&core, &keep[0], &(struct app_config){"vale0:keep", 64, 4});
	app_open(&core, &keep[1], &(struct app_config){"vale1:keep", 64, 4});

	for (int i = 0; i < 3; i++) {
		nm_client_init(&who[i], &core);
		who[i].own_region = i == 2 ? NULL : region;
	}
	for (int round = 0; round < 8000; round++) {
		struct nm_client *c = &who[prng_below(&r, 3)];

		prepare(prng_chance(&r, 90) ? types[prng_below(&r, 6)]
					    : (uint16_t)prng_edge32(&r, 17),
			names[prng_below(&r, prng_chance(&r, 80) ? 4 : 8)]);
		reg->nr_mode = prng_chance(&r, 70) ? NR_REG_ALL_NIC : prng_below(&r, 10);
		reg->nr_flags = prng_chance(&r, 70) ? 0 : prng_next(&r) & 0x3ff00;
		reg->nr_tx_slots = prng_chance(&r, 70) ? 16 : prng_edge32(&r, 100);
		reg->nr_rx_slots = prng_chance(&r, 70) ? 16 : prng_edge32(&r, 100);
		reg->nr_tx_rings = (uint16_t)prng_below(&r, prng_chance(&r, 80) ? 3 : 70);
		reg->nr_mem_id = prng_chance(&r, 80) ? 0 : (uint16_t)prng_below(&r, 5);
		if (prng_chance(&r, 10))
			memory.bytes[prng_below(&r, OPTIONS)] = (uint8_t)prng_next(&r);
		if (prng_chance(&r, 5))
			memory.fail_at = prng_range(&r, 1, 5);
		if (prng_chance(&r, 5))
			fail_allocation(prng_range(&r, 1, 20));
		results[ask_as(c) == 0]++;
		fail_allocation(0);
		if (prng_chance(&r, 20))
			nm_client_unbind(&who[prng_below(&r, 3)]);
		if (round % 200 == 0)
			region_check(region);
	}
	assert_true(results[0] > 500 && results[1] > 500);
	for (int i = 0; i < 3; i++)
		nm_client_unbind(&who[i]);
	assert_int_equal(core_count_ports(&core), 2);
	assert_int_equal(core_count_regions(&core), 3);
	app_close(&keep[0]);
	app_close(&keep[1]);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), 298);
	region_check(region);
	nm_region_put(region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(header_checks, request_begin, request_end),
		cmocka_unit_test_setup_teardown(addresses_out_of_reach, request_begin, request_end),
		cmocka_unit_test_setup_teardown(
			every_access_fails_once, request_begin, request_end),
		cmocka_unit_test_setup_teardown(port_info, request_begin, request_end),
		cmocka_unit_test_setup_teardown(pools_info, request_begin, request_end),
		cmocka_unit_test_setup_teardown(vale_list_by_name, request_begin, request_end),
		cmocka_unit_test_setup_teardown(vale_list_steps, request_begin, request_end),
		cmocka_unit_test_setup_teardown(header_length, request_begin, request_end),
		cmocka_unit_test_setup_teardown(header_of_others, request_begin, request_end),
		cmocka_unit_test_setup_teardown(
			header_must_be_accepted, request_begin, request_end),
		cmocka_unit_test_setup_teardown(names_that_are_none, request_begin, request_end),
		cmocka_unit_test_setup_teardown(
			names_that_are_none_bound, request_begin, request_end),
		cmocka_unit_test_setup_teardown(any_request, request_begin, request_end),
	};

	test_seed();
	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
