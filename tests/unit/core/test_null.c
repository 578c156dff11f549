/* SPDX-License-Identifier: BSD-2-Clause */
/* core/null.h: rings and buffers, exactly those asked for, and no traffic. */
#include "null.h"
#include "csb_server.h"
#include "fixture.h"

static void exactly_what_was_asked_for(void **state)
{
	static const struct {
		uint32_t tx, rx, host_tx, host_rx, tx_slots, rx_slots;
		int error;
	} cases[] = {
		{0, 0, 0, 0, 0, 0, 0},
		{1, 0, 0, 0, 0, 0, 0},
		{0, 3, 0, 0, 16, 32, 0},
		{2, 3, 0, 0, 16, 32, 0},
		{2, 3, 1, 2, 2, 16, 0},
		{0, 0, 1, 1, 16, 16, 0},
		{64, 64, 0, 0, 2, 2, 0},
		{65, 1, 0, 0, 16, 16, -EINVAL},
		{1, 1, 65, 0, 16, 16, -EINVAL},
		{1, 1, 0, 0, 1, 16, -EINVAL},
		{1, 1, 0, 0, 16, 16385, -EINVAL},
		{UINT32_MAX, 1, UINT32_MAX, 1, 16, 16, -EINVAL},
		{1, 1, 0, 0, UINT32_MAX, 16, -EINVAL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct nm_bind bind = {
			.mode = NR_REG_NULL,
			.num_rings = {cases[i].tx, cases[i].rx},
			.num_host_rings = {cases[i].host_tx, cases[i].host_rx},
			.num_slots = {cases[i].tx_slots, cases[i].rx_slots},
		};
		const struct netmap_if *nifp;
		struct nm_client client;

		nm_client_init(&client, &core);
		assert_int_equal(nm_client_bind(&client, "any", &bind), cases[i].error);
		if (cases[i].error) {
			assert_int_not_equal(client.err.text[0], '\0');
			core_check_empty(&core);
			continue;
		}
		nifp = (void *)(client.port->region->base + client.nifp_offset);
		assert_int_equal(nifp->ni_tx_rings, cases[i].tx);
		assert_int_equal(nifp->ni_rx_rings, cases[i].rx);
		assert_int_equal(client.count[NM_TX], cases[i].tx + cases[i].host_tx);
		assert_int_equal(client.count[NM_RX], cases[i].rx + cases[i].host_rx);
		for (int dir = 0; dir < NM_DIRS; dir++)
			for (uint32_t k = 0; k < client.count[dir]; k++)
				assert_int_equal(nm_client_ring(&client, dir, k)->num_slots,
					bind.num_slots[dir] ? bind.num_slots[dir]
							    : NM_SLOTS_DEFAULT);
		region_check(client.port->region);
		nm_client_unbind(&client);
		core_check_empty(&core);
	}
}

/* The name is for texts only, and may be any that a port can have. */
static void names_are_checked(void **state)
{
	static const char *const bad[] = {"a\nb", "\033[2J", "\xff", "a b", "a/b"};
	const struct nm_bind bind = {.mode = NR_REG_NULL, .num_rings = {1, 1}};
	struct nm_client client;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		nm_client_init(&client, &core);
		assert_int_equal(nm_client_bind(&client, bad[i], &bind), -EINVAL);
		core_check_empty(&core);
	}
}

/* What is released stays; nothing comes; and who serves it has no work with it. */
static void no_traffic(void **state)
{
	const struct nm_bind bind = {.mode = NR_REG_NULL, .num_rings = {1, 1}, .num_slots = {8, 8}};
	struct nm_csb_atok atok __attribute__((aligned(64))) = {0};
	struct nm_csb_ktoa ktoa __attribute__((aligned(64))) = {0};
	struct nm_csb_server s = {0};
	struct nm_client client;
	struct nm_ring *tx, *rx;

	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "", &bind), 0);
	tx = nm_client_ring(&client, NM_TX, 0);
	rx = nm_client_ring(&client, NM_RX, 0);
	assert_int_equal(nm_ring_sync(tx, 5, 5), 0);
	assert_int_equal(tx->hwcur, 0);
	assert_int_equal(nm_ring_avail(tx), 2);
	assert_int_equal(nm_ring_sync(tx, 7, 7), 0);
	assert_int_equal(nm_ring_avail(tx), 0);
	assert_int_equal(nm_ring_sync(rx, 0, 0), 0);
	assert_int_equal(nm_ring_avail(rx), 0);
	nm_csb_server_start(&s, tx, &atok, &ktoa);
	assert_int_equal(nm_csb_server_step(&s), NM_CSB_SERVER_IDLE);
	assert_false(nm_csb_server_prepare_sleep(&s));
	assert_int_equal(tx->stats.packets, 0);
	nm_client_unbind(&client);
}

/* Two of the same name are two; no name finds them. */
static void not_to_be_found(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_NULL, .num_rings = {1, 1}, .num_slots = {8, 8}};
	struct nm_client a, b;

	nm_client_init(&a, &core);
	nm_client_init(&b, &core);
	assert_int_equal(nm_client_bind(&a, "x", &bind), 0);
	assert_int_equal(nm_client_bind(&b, "x", &bind), 0);
	assert_ptr_not_equal(a.port, b.port);
	assert_ptr_not_equal(a.port->region, b.port->region);
	nm_client_unbind(&b);
	bind.mem_id = a.port->region->id;                          /* its memory, by number */
	assert_int_equal(nm_client_bind(&b, "x", &bind), -ENOMEM); /* which holds one port */
	bind.mem_id = 30;
	assert_int_equal(nm_client_bind(&b, "x", &bind), 0);
	assert_int_equal(b.port->region->id, 30);
	nm_client_unbind(&b);
	bind.mode = NR_REG_ALL_NIC;
	assert_int_equal(nm_client_bind(&b, "x", &bind), -ENXIO);
	nm_client_unbind(&a);
}

static void placeholders(void **state)
{
	struct nm_port *a, *b, *c;
	struct nm_error error = {.code = 1};

	nm_core_lock(&core);
	a = nm_null_placeholder_locked(&core, NULL, "eth0", &error);
	assert_non_null(a);
	nm_port_pin_locked(a);
	b = nm_null_placeholder_locked(&core, NULL, "eth0", &error);
	assert_ptr_equal(a, b);
	fail_allocation(1);
	c = nm_null_placeholder_locked(&core, NULL, "eth1", &error);
	fail_allocation(0);
	assert_null(c);
	assert_int_equal(error.code, -ENOMEM);
	nm_port_unpin_locked(a);
	assert_null(core.ports);
	nm_core_unlock(&core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(exactly_what_was_asked_for, core_begin, core_end),
		cmocka_unit_test_setup_teardown(names_are_checked, core_begin, core_end),
		cmocka_unit_test_setup_teardown(no_traffic, core_begin, core_end),
		cmocka_unit_test_setup_teardown(not_to_be_found, core_begin, core_end),
		cmocka_unit_test_setup_teardown(placeholders, core_begin, core_end),
	};

	test_seed();
	return cmocka_run_group_tests_name("null", tests, NULL, NULL);
}
