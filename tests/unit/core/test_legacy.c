/* SPDX-License-Identifier: BSD-2-Clause */
/* core/legacy.h: struct nmreq to a request and back, field by field; and through nm_control(). */
#include "legacy.h"
#include "request.h"

#include <stdio.h>

static struct nmreq nmr_of(const char *name, uint32_t version)
{
	struct nmreq nmr = {.nr_version = version};

	snprintf(nmr.nr_name, sizeof(nmr.nr_name), "%s", name);
	return nmr;
}

static struct nm_legacy translated(const struct nmreq *nmr, bool regif, uint16_t type)
{
	struct nm_legacy l;
	struct nm_error err = {0};

	assert_int_equal(nm_legacy_request(nmr, regif, &l, &err), 0);
	assert_int_equal(l.hdr.nr_version, NETMAP_API);
	assert_int_equal(l.hdr.nr_reqtype, type);
	assert_int_equal(l.hdr.nr_options, 0);
	assert_int_equal(l.hdr.nr_reserved, 0);
	assert_int_equal(l.regif, regif);
	return l;
}

static void versions(void **state)
{
	static const struct {
		uint32_t version;
		int error;
	} cases[] = {{0, -EINVAL}, {10, -EINVAL}, {11, 0}, {12, 0}, {14, 0}, {15, 0}, {16, 0},
		{1000, 0}, {UINT32_MAX, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nmreq nmr = nmr_of("eth0", cases[i].version);
		struct nm_legacy l;
		struct nm_error err = {0};

		for (int regif = 0; regif < 2; regif++) {
			assert_int_equal(nm_legacy_request(&nmr, regif, &l, &err), cases[i].error);
			assert_int_equal(err.text[0] != '\0', cases[i].error != 0);
		}
		nm_legacy_result(&l, false, &nmr);
		assert_int_equal(nmr.nr_version, NETMAP_API);
	}
}

static void commands(void **state)
{
	static const struct {
		uint16_t cmd;
		uint16_t type; /* 0: refused */
		uint32_t body;
	} cases[] = {
		{0, NETMAP_REQ_REGISTER, sizeof(struct nmreq_register)},
		{NETMAP_BDG_ATTACH, NETMAP_REQ_VALE_ATTACH, sizeof(struct nmreq_vale_attach)},
		{NETMAP_BDG_DETACH, NETMAP_REQ_VALE_DETACH, sizeof(struct nmreq_vale_detach)},
		{NETMAP_BDG_REGOPS, 0, 0},
		{NETMAP_BDG_LIST, 0, 0},
		{NETMAP_BDG_VNET_HDR, NETMAP_REQ_PORT_HDR_SET, sizeof(struct nmreq_port_hdr)},
		{NETMAP_BDG_NEWIF, NETMAP_REQ_VALE_NEWIF, sizeof(struct nmreq_vale_newif)},
		{NETMAP_BDG_DELIF, NETMAP_REQ_VALE_DELIF, 0},
		{NETMAP_PT_HOST_CREATE, 0, 0},
		{NETMAP_PT_HOST_DELETE, 0, 0},
		{NETMAP_BDG_POLLING_ON, NETMAP_REQ_VALE_POLLING_ENABLE,
			sizeof(struct nmreq_vale_polling)},
		{NETMAP_BDG_POLLING_OFF, NETMAP_REQ_VALE_POLLING_DISABLE,
			sizeof(struct nmreq_vale_polling)},
		{NETMAP_VNET_HDR_GET, NETMAP_REQ_PORT_HDR_GET, sizeof(struct nmreq_port_hdr)},
		{13, 0, 0},
		{UINT16_MAX, 0, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nmreq nmr = nmr_of("vale0:1", 14);
		struct nm_legacy l;
		struct nm_error err = {0};

		nmr.nr_cmd = cases[i].cmd;
		assert_int_equal(
			nm_legacy_request(&nmr, true, &l, &err), cases[i].type ? 0 : -EOPNOTSUPP);
		if (!cases[i].type) {
			assert_int_not_equal(err.text[0], '\0');
			continue;
		}
		assert_int_equal(l.hdr.nr_reqtype, cases[i].type);
		assert_int_equal(l.body_size, cases[i].body);
		assert_string_equal(l.hdr.nr_name, "vale0:1");
		/* GINFO knows one command. */
		if (cases[i].cmd != NETMAP_BDG_LIST)
			(void)translated(&nmr, false, NETMAP_REQ_PORT_INFO_GET);
	}
}

/* A name of 16 bytes without an end is cut: it never ended there. */
static void names(void **state)
{
	struct nmreq nmr = nmr_of("", 14);
	struct nm_legacy l;

	memset(nmr.nr_name, 'x', sizeof(nmr.nr_name));
	l = translated(&nmr, true, NETMAP_REQ_REGISTER);
	assert_string_equal(l.hdr.nr_name, "xxxxxxxxxxxxxxx");
	nmr = nmr_of("", 14);
	l = translated(&nmr, false, NETMAP_REQ_PORT_INFO_GET);
	assert_string_equal(l.hdr.nr_name, "");
}

/* ---- REGISTER ------------------------------------------------------------------------------- */

static void modes(void **state)
{
	static const struct {
		uint32_t flags;
		uint16_t ringid;
		uint32_t mode, ring;
		uint64_t out;
	} cases[] = {
		{0, 0, NR_REG_ALL_NIC, 0, 0},
		{0, NETMAP_HW_RING | 3, NR_REG_ONE_NIC, 3, 0},
		{0, NETMAP_SW_RING, NR_REG_SW, 0, 0},
		{0, NETMAP_NO_TX_POLL, NR_REG_ALL_NIC, 0, NR_NO_TX_POLL},
		{0, NETMAP_DO_RX_POLL, NR_REG_ALL_NIC, 0, NR_DO_RX_POLL},
		{NR_REG_ALL_NIC, NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL, NR_REG_ALL_NIC, 0,
			NR_NO_TX_POLL | NR_DO_RX_POLL},
		{NR_REG_SW, 0, NR_REG_SW, 0, 0},
		{NR_REG_NIC_SW, 0, NR_REG_NIC_SW, 0, 0},
		{NR_REG_ONE_NIC, 0x0fff, NR_REG_ONE_NIC, 0x0fff, 0},
		{NR_REG_PIPE_MASTER, 5, NR_REG_PIPE_MASTER, 5, 0},
		{NR_REG_PIPE_SLAVE, 5, NR_REG_PIPE_SLAVE, 5, 0},
		{NR_REG_NULL, 0, NR_REG_NULL, 0, 0},
		{NR_REG_ONE_SW, 1, NR_REG_ONE_SW, 1, 0},
		{15, 0, 15, 0, 0}, /* nonsense stays what it is */
		{NR_REG_ALL_NIC | NR_EXCLUSIVE | NR_MONITOR_TX | NR_ACCEPT_VNET_HDR, 0,
			NR_REG_ALL_NIC, 0, NR_EXCLUSIVE | NR_MONITOR_TX | NR_ACCEPT_VNET_HDR},
		{NR_TX_RINGS_ONLY, NETMAP_HW_RING | 1, NR_REG_ONE_NIC, 1, NR_TX_RINGS_ONLY},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nmreq nmr = nmr_of("eth0", 11);
		struct nm_legacy l;

		nmr.nr_flags = cases[i].flags;
		nmr.nr_ringid = cases[i].ringid;
		l = translated(&nmr, true, NETMAP_REQ_REGISTER);
		assert_int_equal(l.body.reg.nr_mode, cases[i].mode);
		assert_int_equal(l.body.reg.nr_ringid, cases[i].ring);
		assert_int_equal(l.body.reg.nr_flags, cases[i].out);
		nm_legacy_result(&l, true, &nmr);
		assert_int_equal(nmr.nr_flags, cases[i].flags); /* as they were */
		assert_int_equal(nmr.nr_ringid, cases[i].ringid);
	}
}

static void register_fields(void **state)
{
	struct nmreq nmr = nmr_of("eth0", 14);
	struct nm_legacy l;

	nmr.nr_tx_slots = 1;
	nmr.nr_rx_slots = 2;
	nmr.nr_tx_rings = 3;
	nmr.nr_rx_rings = 4;
	nmr.nr_arg1 = 5; /* pipes to expect: of no consequence */
	nmr.nr_arg2 = 6;
	nmr.nr_arg3 = 7;
	l = translated(&nmr, true, NETMAP_REQ_REGISTER);
	assert_int_equal(l.body.reg.nr_tx_slots, 1);
	assert_int_equal(l.body.reg.nr_rx_slots, 2);
	assert_int_equal(l.body.reg.nr_tx_rings, 3);
	assert_int_equal(l.body.reg.nr_rx_rings, 4);
	assert_int_equal(l.body.reg.nr_mem_id, 6);
	assert_int_equal(l.body.reg.nr_extra_bufs, 7);
	l.body.reg = (struct nmreq_register){
		.nr_offset = 0x100000010ULL,
		.nr_memsize = 0x80000000,
		.nr_tx_slots = 11,
		.nr_rx_slots = 12,
		.nr_tx_rings = 13,
		.nr_rx_rings = 14,
		.nr_mem_id = 16,
		.nr_extra_bufs = 17,
	};
	nm_legacy_result(&l, false, &nmr);
	assert_int_equal(nmr.nr_arg3, 7);
	assert_int_equal(nmr.nr_memsize, 0);
	nm_legacy_result(&l, true, &nmr);
	assert_int_equal(nmr.nr_offset, 0x10);
	assert_int_equal(nmr.nr_memsize, 0x80000000);
	assert_int_equal(nmr.nr_tx_slots, 11);
	assert_int_equal(nmr.nr_rx_slots, 12);
	assert_int_equal(nmr.nr_tx_rings, 13);
	assert_int_equal(nmr.nr_rx_rings, 14);
	assert_int_equal(nmr.nr_arg1, 5);
	assert_int_equal(nmr.nr_arg2, 16);
	assert_int_equal(nmr.nr_arg3, 17);
}

/* ---- the others ----------------------------------------------------------------------------- */

static void switches(void **state)
{
	struct nmreq nmr = nmr_of("vale0:eth0", 14);
	struct nm_legacy l;

	nmr.nr_cmd = NETMAP_BDG_ATTACH;
	nmr.nr_arg2 = 4;
	l = translated(&nmr, true, NETMAP_REQ_VALE_ATTACH);
	assert_int_equal(l.body.attach.reg.nr_mode, NR_REG_ALL_NIC);
	assert_int_equal(l.body.attach.reg.nr_mem_id, 4);
	nmr.nr_arg1 = NETMAP_BDG_HOST;
	l = translated(&nmr, true, NETMAP_REQ_VALE_ATTACH);
	assert_int_equal(l.body.attach.reg.nr_mode, NR_REG_NIC_SW);
	l.body.attach.reg.nr_mem_id = 9;
	nm_legacy_result(&l, true, &nmr);
	assert_int_equal(nmr.nr_arg2, 9);
	assert_int_equal(nmr.nr_arg1, NETMAP_BDG_HOST);

	nmr = nmr_of("eth0", 14);
	nmr.nr_cmd = NETMAP_BDG_LIST;
	nmr.nr_arg1 = 3;
	nmr.nr_arg2 = 200;
	l = translated(&nmr, false, NETMAP_REQ_VALE_LIST);
	assert_int_equal(l.body.list.nr_bridge_idx, 3);
	assert_int_equal(l.body.list.nr_port_idx, 200);
	snprintf(l.hdr.nr_name, sizeof(l.hdr.nr_name), "valeA:a-port-with-a-long-name");
	l.body.list.nr_bridge_idx = 5;
	l.body.list.nr_port_idx = 6;
	nm_legacy_result(&l, true, &nmr);
	assert_string_equal(nmr.nr_name, "valeA:a-port-wi");
	assert_int_equal(nmr.nr_arg1, 5);
	assert_int_equal(nmr.nr_arg2, 6);
}

static void header_and_interfaces(void **state)
{
	struct nmreq nmr = nmr_of("vale0:1", 14);
	struct nm_legacy l;

	nmr.nr_cmd = NETMAP_BDG_VNET_HDR;
	nmr.nr_arg1 = 12;
	l = translated(&nmr, true, NETMAP_REQ_PORT_HDR_SET);
	assert_int_equal(l.body.hdr.nr_hdr_len, 12);
	nmr.nr_cmd = NETMAP_VNET_HDR_GET;
	nmr.nr_arg1 = 0;
	l = translated(&nmr, true, NETMAP_REQ_PORT_HDR_GET);
	l.body.hdr.nr_hdr_len = 10;
	nm_legacy_result(&l, true, &nmr);
	assert_int_equal(nmr.nr_arg1, 10);

	nmr = nmr_of("per4", 14);
	nmr.nr_cmd = NETMAP_BDG_NEWIF;
	nmr.nr_tx_rings = 1;
	nmr.nr_rx_rings = 2;
	nmr.nr_tx_slots = 3;
	nmr.nr_rx_slots = 4;
	nmr.nr_arg2 = 5;
	l = translated(&nmr, true, NETMAP_REQ_VALE_NEWIF);
	assert_int_equal(l.body.newif.nr_tx_rings, 1);
	assert_int_equal(l.body.newif.nr_rx_rings, 2);
	assert_int_equal(l.body.newif.nr_tx_slots, 3);
	assert_int_equal(l.body.newif.nr_rx_slots, 4);
	assert_int_equal(l.body.newif.nr_mem_id, 5);
	l.body.newif.nr_rx_slots = 1024;
	nm_legacy_result(&l, true, &nmr);
	assert_int_equal(nmr.nr_rx_slots, 1024);
}

static void polling_cpus(void **state)
{
	static const struct {
		uint32_t flags, mode;
	} cases[] = {{NR_REG_ALL_NIC, NETMAP_POLLING_MODE_SINGLE_CPU},
		{NR_REG_ONE_NIC, NETMAP_POLLING_MODE_MULTI_CPU}, {0, 0}, {NR_REG_SW, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nmreq nmr = nmr_of("vale0:eth0", 14);
		struct nm_legacy l;

		nmr.nr_cmd = NETMAP_BDG_POLLING_ON;
		nmr.nr_flags = cases[i].flags;
		nmr.nr_ringid = 2;
		nmr.nr_arg1 = 3;
		l = translated(&nmr, true, NETMAP_REQ_VALE_POLLING_ENABLE);
		assert_int_equal(l.body.polling.nr_mode, cases[i].mode);
		assert_int_equal(l.body.polling.nr_first_cpu_id, 2);
		assert_int_equal(l.body.polling.nr_num_polling_cpus, 3);
	}
}

/* ---- through nm_control() ------------------------------------------------------------------- */

static int execute(struct nm_client *who, struct nmreq *nmr, bool regif)
{
	struct nm_error err;
	struct nm_legacy l;
	int error = nm_legacy_request(nmr, regif, &l, &err);

	if (!error) {
		memset(&memory, 0, sizeof(memory));
		l.hdr.nr_body = BASE + BODY;
		memcpy(memory.bytes, &l.hdr, sizeof(l.hdr));
		memcpy(memory.bytes + BODY, &l.body, l.body_size);
		error = nm_control(who, &ua, BASE);
		memcpy(&l.hdr, memory.bytes, sizeof(l.hdr));
		memcpy(&l.body, memory.bytes + BODY, l.body_size);
	}
	nm_legacy_result(&l, error == 0, nmr);
	return error;
}

static void real_requests(void **state)
{
	struct nmreq nmr = nmr_of("vale0:1", 11);
	uint32_t found = 0;

	nmr.nr_tx_slots = nmr.nr_rx_slots = 32;
	nmr.nr_arg3 = 20;
	assert_int_equal(execute(&client, &nmr, true), 0);
	assert_non_null(client.port);
	assert_int_equal(nmr.nr_tx_rings, 1);
	assert_int_equal(nmr.nr_tx_slots, 32);
	assert_int_equal(nmr.nr_memsize, client.port->region->size);
	assert_int_equal(nmr.nr_offset, client.nifp_offset);
	assert_int_equal(nmr.nr_arg2, client.port->region->id);
	assert_int_equal(nmr.nr_arg3, 20);
	assert_int_equal(execute(&client, &nmr, true), -EBUSY);

	nmr = nmr_of("vale0:1", 14);
	assert_int_equal(execute(&client, &nmr, false), 0);
	assert_int_equal(nmr.nr_rx_slots, 32);
	nmr = nmr_of("vale0:1", 14);
	nmr.nr_cmd = NETMAP_BDG_VNET_HDR;
	nmr.nr_arg1 = 12;
	assert_int_equal(execute(&client, &nmr, true), 0);
	nmr.nr_cmd = NETMAP_VNET_HDR_GET;
	nmr.nr_arg1 = 0;
	assert_int_equal(execute(&client, &nmr, true), 0);
	assert_int_equal(nmr.nr_arg1, 12);

	nmr = nmr_of("", 14); /* as programs step through all ports */
	nmr.nr_cmd = NETMAP_BDG_LIST;
	for (; execute(&client, &nmr, false) == 0; nmr.nr_arg2++, found++) {
		assert_string_equal(nmr.nr_name, "vale0:1");
		memset(nmr.nr_name, 0, sizeof(nmr.nr_name));
	}
	assert_int_equal(found, 1);
	nm_client_unbind(&client);

	nmr = nmr_of("vale0:1", 11); /* a monitor of ring 1 has rings of its own, from 0 on */
	nmr.nr_flags = NR_REG_ONE_NIC | NR_MONITOR_TX | NR_MONITOR_RX;
	nmr.nr_ringid = NETMAP_NO_TX_POLL | 1;
	nmr.nr_tx_rings = nmr.nr_rx_rings = 2;
	nmr.nr_tx_slots = nmr.nr_rx_slots = 16;
	assert_int_equal(execute(&client, &nmr, true), 0);
	assert_int_equal(nmr.nr_flags, NR_REG_ALL_NIC | NR_MONITOR_TX | NR_MONITOR_RX);
	assert_int_equal(nmr.nr_ringid, NETMAP_NO_TX_POLL);
	nm_client_unbind(&client);

	nmr = nmr_of("vale0:1", 11); /* a pipe in the older spelling */
	nmr.nr_flags = NR_REG_PIPE_MASTER;
	nmr.nr_ringid = 7;
	nmr.nr_tx_slots = nmr.nr_rx_slots = 16;
	assert_int_equal(execute(&client, &nmr, true), 0);
	assert_string_equal(client.port->name, "vale0:1{7");
}

/* Any struct nmreq is translated to something that nm_control() survives. */
static void anything(void **state)
{
	static const char *const some[] = {"vale0:1", "vale1:2", "eth0", "", "vale0:1{2"};
	struct prng r = prng_new(1);
	uint32_t good = 0;

	for (int round = 0; round < 2000; round++) {
		struct nmreq nmr;

		prng_fill(&r, &nmr, sizeof(nmr));
		if (prng_chance(&r, 80))
			snprintf(nmr.nr_name, sizeof(nmr.nr_name), "%s", some[prng_below(&r, 5)]);
		nmr.nr_version = prng_chance(&r, 90) ? 14 : nmr.nr_version;
		if (prng_chance(&r, 80)) {
			nmr.nr_cmd = (uint16_t)prng_below(&r, 14);
			nmr.nr_tx_slots = prng_below(&r, 40);
			nmr.nr_rx_slots = prng_below(&r, 40);
			nmr.nr_tx_rings = (uint16_t)prng_below(&r, 4);
			nmr.nr_rx_rings = (uint16_t)prng_below(&r, 4);
			nmr.nr_arg2 = (uint16_t)prng_below(&r, 2);
			nmr.nr_flags = prng_below(&r, 10);
		}
		nmr.nr_arg3 &= 63;
		good += execute(&client, &nmr, prng_chance(&r, 70)) == 0;
		if (prng_chance(&r, 80))
			nm_client_unbind(&client);
	}
	assert_true(good > 50);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, request_begin, request_end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions),
		cmocka_unit_test(commands),
		cmocka_unit_test(names),
		cmocka_unit_test(modes),
		cmocka_unit_test(register_fields),
		cmocka_unit_test(switches),
		cmocka_unit_test(header_and_interfaces),
		cmocka_unit_test(polling_cpus),
		TEST(real_requests),
		TEST(anything),
	};

	test_seed();
	return cmocka_run_group_tests_name("legacy", tests, NULL, NULL);
}
