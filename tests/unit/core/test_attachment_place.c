/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/attachment.h: a persistent port's place on a switch, lent to applications and to another switch. The
 * test plays the device and the platform (attachment_ends.h).
 */
#include "attachment_ends.h"

static struct nm_port_ops persistent_ops; /* the device stays until the test's end() */
static uint32_t admissions;               /* that the device grants yet */
static uint32_t pauses;                   /* more on than off */

/* ---- the platform ------------------------------------------------------------------ */

static int attachment_start(struct nm_attachment *att, struct nm_error *err)
{
	return 0;
}

static void attachment_stop(struct nm_attachment *att)
{
	assert_int_equal(pauses, 0);
}

static void attachment_pause(struct nm_attachment *att, bool on)
{
	assert_int_equal(pauses, !on);
	pauses = on;
}

/* Each region is wished for: what a request has done before that is not done again. */
static bool takes_long(uint64_t bytes)
{
	return true;
}

static bool killed; /* the thread that asks */
static uint32_t turns;

static int between_parts(void)
{
	turns++;
	return killed ? -EINTR : 0;
}

/* In a thread that isn't killed, and may do all. */
static void run_apart(void (*fn)(void *arg), void *arg)
{
	bool was_killed = killed;

	killed = false;
	admissions = UINT32_MAX;
	fn(arg);
	killed = was_killed;
}

static const struct nm_platform_ops platform = {.attachment_start = attachment_start,
	.attachment_stop = attachment_stop,
	.attachment_pause = attachment_pause,
	.mem_takes_long = takes_long,
	.between_parts = between_parts,
	.run_apart = run_apart};

static bool step_each(bool (*step)(struct nm_attachment *att, uint32_t pair))
{
	bool moved = false;

	nm_core_lock(&core);
	for (struct nm_attachment *att = core.attachments; att; att = att->next)
		for (uint32_t pair = 0; pair < att->pairs; pair++)
			moved |= step(att, pair);
	nm_core_unlock(&core);
	return moved;
}

static void step_all(void)
{
	while (step_each(nm_attachment_step))
		;
	assert_false(step_each(nm_attachment_prepare_sleep));
}

static int begin_shape(const struct nm_shape *shape)
{
	pauses = turns = 0;
	killed = false;
	begin_core(&platform);
	persistent_ops = fake_nic_ops;
	persistent_ops.persistent = true;
	fake_nic_add(&core, &persistent_ops, shape);
	return 0;
}

static int begin(void **state)
{
	return begin_shape(&one_ring);
}

/* A device, and its ports on switches, that are made in parts (client.h). */
static int begin_large(void **state)
{
	const struct nm_shape shape = {
		.rings = {1, 1}, .slots = {NM_SLOTS_PER_PART, NM_SLOTS_PER_PART}};

	return begin_shape(&shape);
}

/* ---- packets ----------------------------------------------------------------------- */

static uint32_t sent;

static void put(struct app *app, uint32_t dst, uint32_t src)
{
	uint32_t len = make_numbered(dst, src, ++sent);

	assert_true(app_put(app, 0, frame, len, prng_range(&r, 1, 5)));
	app_txsync(app, 0);
	step_all();
}

static void from_stack(uint32_t dst)
{
	uint32_t len = make_numbered(dst, DEV, ++sent);

	assert_true(fake_nic_receive(0, frame, len, prng_range(&r, 1, 5)));
	step_all();
}

/* The last one that was sent has come, and nothing else. */
static void expect(struct app *app)
{
	app_rxsync(app, 0);
	assert_true(app_take(app, 0, got, sizeof(got)) > 0);
	assert_int_equal(number_in(got), sent);
	assert_int_equal(app_take(app, 0, got, sizeof(got)), -1);
	app_rxsync(app, 0);
}

static void expect_nothing(struct app *app)
{
	app_rxsync(app, 0);
	assert_int_equal(app_take(app, 0, got, sizeof(got)), -1);
}

static void expect_at_stack(void)
{
	const struct fake_nic_packet *packet = fake_nic_sent(0);

	assert_non_null(packet);
	assert_int_equal(number_in(packet->bytes), sent);
	assert_null(fake_nic_sent(0));
}

static uint64_t cut_off(void)
{
	return fake_nic_port->rings[NM_RX][0].stats.drops[NM_DROP_NO_RECEIVER];
}

static int try_in(void *ns, const char *name, uint64_t flags)
{
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .flags = flags};
	struct nm_client client;
	int error;

	nm_client_init(&client, &core);
	client.ns = ns;
	error = nm_client_bind(&client, name, &bind);
	nm_client_unbind(&client);
	return error;
}

static int try(const char *name, uint64_t flags)
{
	return try_in(NULL, name, flags);
}

static void open_place(struct app *place, const char *name)
{
	app_open(&core, place, &(struct app_config){.name = name});
}

/* ---- tests ------------------------------------------------------------------------- */

static void an_application_takes_the_place(void **state)
{
	static const char *const names[] = {"vale0:dev", "dev"};
	struct app app, place;

	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 100000);
	for (uint32_t i = 0; i < 200; i++) {
		from_stack(APP);
		expect(&app);
		put(&app, DEV, APP);
		expect_at_stack();
		open_place(&place, names[i % 2]);
		assert_string_equal(place.client.port->name, "vale0:dev");
		put(&place, APP, DEV);
		expect(&app);
		put(&app, DEV, APP);
		assert_null(fake_nic_sent(0));
		expect(&place);
		from_stack(APP);
		assert_int_equal(cut_off(), i + 1);
		expect_nothing(&app);
		expect_nothing(&place);
		put(&app, DEV, APP); /* nobody takes it */
		region_check(fake_nic_port->region);
		app_close(&place);
		region_check(fake_nic_port->region);
	}
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* Its memory is gone with a device, maybe: whoever had it leaves, and nobody writes there any more. */
static void a_dead_place_is_not_taken_back(void **state)
{
	struct app place;
	struct netmap_ring *shared;

	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	open_place(&place, "vale0:dev");
	shared = place.client.port->rings[NM_TX][0].shared;
	nm_core_lock(&core);
	nm_port_remove_locked(place.client.port);
	nm_core_unlock(&core);
	shared->head = shared->cur = 7;
	app_close(&place);
	assert_int_equal(shared->head, 7);
	assert_int_equal(detach("vale0:dev"), 0);
}

static void who_shares_it(void **state)
{
	struct app app, place;
	struct nm_error err;
	uint32_t index;

	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	open_place(&place, "vale0:dev");
	assert_int_equal(try("vale0:dev", 0), 0);
	assert_int_equal(try("dev", 0), 0);
	assert_int_equal(try("vale0:dev", NR_EXCLUSIVE), -EBUSY);
	assert_int_equal(nm_attachment_detach(&core, NULL, "vale0:dev", &index, &err), -EBUSY);
	put(&place, APP, DEV); /* it still has it */
	expect(&app);
	app_close(&place);
	app_open(&core, &place, &(struct app_config){.name = "vale0:dev", .flags = NR_EXCLUSIVE});
	assert_int_equal(try("vale0:dev", 0), -EBUSY);
	app_close(&place);
	/* A bind that fails leaves all as it was. */
	assert_int_equal(try("vale0:dev", NR_EXCLUSIVE | NR_MONITOR_TX | NR_MONITOR_RX), 0);
	for (uint32_t n = 1; n < 4; n++) {
		fail_allocation(n);
		(void)try("vale0:dev", 0);
		fail_allocation(0);
		fake_nic_grant(0, 100);
		put(&app, DEV, APP);
		expect_at_stack();
	}
	assert_int_equal(nm_attachment_detach(&core, NULL, "vale0:dev", &index, &err), 0);
	app_close(&app);
}

/* An application may want packets with a virtio-net header; the device gets them as ever. */
static void another_header(void **state)
{
	struct app app, place;

	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 1000);
	open_place(&place, "vale0:dev");
	nm_core_lock(&core);
	assert_true(nm_attachment_has_lent_locked(place.client.port));
	assert_int_equal(nm_port_set_hdr_len_locked(place.client.port, 12), 0);
	nm_core_unlock(&core);
	place.hdr_len = 12;
	make_frame(frame, 60, 0, DEV, APP, &r);
	assert_true(app_put(&app, 0, frame, 60, 0));
	app_txsync(&app, 0);
	app_rxsync(&place, 0);
	assert_int_equal(app_take(&place, 0, got, sizeof(got)), 72);
	assert_memory_equal(got + 12, frame, 60);
	app_close(&place);
	put(&app, DEV, APP);
	expect_at_stack();
	from_stack(APP);
	expect(&app);
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* What the device had for the application: the stack gets none of it. */
static void the_ring_changes_hands_empty(void **state)
{
	struct app app, place;

	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 1000);
	open_place(&place, "vale0:dev");
	for (uint32_t i = 0; i < 20; i++)
		put(&app, DEV, APP);
	app_close(&place);
	step_all();
	assert_null(fake_nic_sent(0));
	put(&app, DEV, APP);
	expect_at_stack();
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

static void a_nic_lends_nothing(void **state)
{
	persistent_ops.persistent = false;
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	assert_int_equal(try("vale0:dev", 0), -EBUSY);
	assert_int_equal(try("dev", 0), -EBUSY);
	assert_int_equal(attach("vale1:dev", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(detach("vale0:dev"), 0);
}

static void open_other(struct app *app)
{
	app_open(&core, app, &(struct app_config){"vale1:app", 2048, 64, 1});
}

/* The two switches are one network then; the stack is cut off. */
static void on_a_second_switch(void **state)
{
	struct app app, other;

	open_app(&app, 64, 1, 0);
	open_other(&other);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(attach("vale1:dev", NR_REG_ALL_NIC), 0);
	assert_int_equal(attach("vale1:dev", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(attach("vale2:dev", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(try("vale0:dev", 0), -EBUSY);
	assert_int_equal(try("vale1:dev", 0), -EBUSY);
	assert_int_equal(fake_nic_port->pins, 1);
	fake_nic_grant(0, 100000);
	for (uint32_t i = 0; i < 200; i++) {
		put(&app, 8, APP);
		expect(&other);
		put(&other, APP, 8);
		expect(&app);
		from_stack(APP);
		expect_nothing(&app);
		expect_nothing(&other);
	}
	assert_int_equal(cut_off(), 200);
	region_check(fake_nic_port->region);
	assert_int_equal(detach("vale1:dev"), 0);
	assert_int_equal(fake_nic_port->pins, 0);
	from_stack(APP);
	expect(&app);
	put(&other, APP, 8);
	expect_nothing(&app);
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
	app_close(&other);
}

/* Off the first one before the second: there it is the stack's then. */
static void off_the_first_switch_first(void **state)
{
	struct app app, other;
	struct nm_error err;
	uint32_t index;

	open_app(&app, 64, 1, 0);
	open_other(&other);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	assert_int_equal(attach("vale1:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 1000);
	assert_int_equal(nm_attachment_detach(&core, NULL, "vale0:dev", &index, &err), 0);
	assert_int_equal(index, 1);
	assert_int_equal(fake_nic_port->clients, 1);
	assert_int_equal(fake_nic_port->pins, 0);
	from_stack(8);
	expect(&other);
	put(&other, DEV, 8);
	expect_at_stack();
	put(&app, 8, APP);
	expect_nothing(&other);
	assert_int_equal(nm_attachment_detach(&core, NULL, "vale0:dev", &index, &err), -ENXIO);
	assert_int_equal(nm_attachment_detach(&core, NULL, "vale1:dev", &index, &err), 0);
	assert_int_equal(fake_nic_port->clients, 0);
	app_close(&app);
	app_close(&other);
}

/* Who detaches it is killed: it is his that is off, not the one on the other switch. */
static void killed_off_the_first_switch(void **state)
{
	const struct nm_attachment *second;
	struct nm_error err;
	uint32_t index;

	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	assert_int_equal(attach("vale1:dev", NR_REG_ALL_NIC), 0);
	killed = true;
	turns = 0;
	assert_int_equal(nm_attachment_detach(&core, NULL, "vale0:dev", &index, &err), 0);
	assert_true(turns >= 2); /* the device and its port on the switch */
	nm_core_lock(&core);
	second = nm_attachment_find_locked(&core, NULL, "vale1:dev");
	assert_non_null(second);
	assert_ptr_equal(second->device.port, fake_nic_port);
	assert_null(nm_attachment_find_locked(&core, NULL, "vale0:dev"));
	nm_core_unlock(&core);
	assert_int_equal(detach("vale1:dev"), 0);
	assert_int_equal(attach("vale1:dev", NR_REG_ALL_NIC), -EINTR); /* his own */
}

static int admit(const struct nm_port *port, struct nm_error *err)
{
	if (admissions == 0)
		return nm_error_set(err, -EPERM, "%s: not for you", port->name);
	admissions--;
	return 0;
}

/* The second one was on its way off already: it is put back. */
static void the_first_switch_keeps_it(void **state)
{
	bool first, second;
	struct nm_error err;
	uint32_t index;

	persistent_ops.admit = admit;
	for (uint32_t n = 0; n < 2; n++) {
		admissions = UINT32_MAX;
		assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
		assert_int_equal(attach("vale1:dev", NR_REG_ALL_NIC), 0);
		admissions = n;
		assert_int_equal(
			nm_attachment_detach(&core, NULL, "vale0:dev", &index, &err), -EPERM);
		assert_string_equal(err.text, "dev: not for you");
		nm_core_lock(&core);
		first = nm_attachment_find_locked(&core, NULL, "vale0:dev");
		second = nm_attachment_find_locked(&core, NULL, "vale1:dev");
		nm_core_unlock(&core);
		assert_true(first && second);
		assert_int_equal(detach("vale1:dev"), 0);
		assert_int_equal(detach("vale0:dev"), 0);
	}
}

/* The device is in another namespace by now. Its place stays in the first one, which clients of the other don't
 * hold. */
static void the_device_moves(void **state)
{
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC};
	struct nm_error err;
	struct app app;
	uint32_t index;
	int there;

	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 100);
	fake_nic_port->ns = &there;
	assert_int_equal(try_in(&there, "dev", 0), -EBUSY);
	assert_int_equal(
		nm_attachment_add(&core, &there, "vale0:dev", &bind, &index, &err), -EBUSY);
	assert_int_equal(
		nm_attachment_add(&core, &there, "vale1:dev", &bind, &index, &err), -EBUSY);
	from_stack(APP);
	expect(&app);
	put(&app, DEV, APP);
	expect_at_stack();
	assert_int_equal(try("vale0:dev", 0), 0);
	assert_int_equal(detach("vale0:dev"), 0);
	assert_int_equal(try_in(&there, "dev", 0), 0);
	app_close(&app);
}

/* The platform takes both off, in whichever order it finds them. */
static void the_platform_detaches(void **state)
{
	struct app place;

	for (int order = 0; order < 2; order++) {
		assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
		assert_int_equal(attach("vale1:dev", NR_REG_ALL_NIC), 0);
		assert_int_equal(detach(order ? "vale0:dev" : "vale1:dev"), 0);
		assert_int_equal(detach(order ? "vale1:dev" : "vale0:dev"), 0);
	}
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	open_place(&place, "vale0:dev");
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&place);
	assert_int_equal(core_count_ports(&core), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_application_takes_the_place, begin, end),
		cmocka_unit_test_setup_teardown(a_dead_place_is_not_taken_back, begin, end),
		cmocka_unit_test_setup_teardown(who_shares_it, begin, end),
		cmocka_unit_test_setup_teardown(another_header, begin, end),
		cmocka_unit_test_setup_teardown(the_ring_changes_hands_empty, begin, end),
		cmocka_unit_test_setup_teardown(a_nic_lends_nothing, begin, end),
		cmocka_unit_test_setup_teardown(on_a_second_switch, begin, end),
		cmocka_unit_test_setup_teardown(off_the_first_switch_first, begin, end),
		cmocka_unit_test_setup_teardown(killed_off_the_first_switch, begin_large, end),
		cmocka_unit_test_setup_teardown(the_first_switch_keeps_it, begin, end),
		cmocka_unit_test_setup_teardown(the_device_moves, begin, end),
		cmocka_unit_test_setup_teardown(the_platform_detaches, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("attachment_place", tests, NULL, NULL);
}
