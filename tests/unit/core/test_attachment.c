/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/attachment.h: a device on a switch. The test plays the device and the platform
 * (attachment_ends.h).
 */
#include "attachment_ends.h"

/* ---- the platform ------------------------------------------------------------------ */

static uint32_t starts, stops;
static int start_error;
static struct nm_attachment *running;

static int attachment_start(struct nm_attachment *att, struct nm_error *err)
{
	starts++;
	nm_error_set(err, start_error, "not today");
	if (start_error == 0)
		running = att;
	return start_error;
}

static void attachment_stop(struct nm_attachment *att)
{
	assert_ptr_equal(att, running);
	running = NULL;
	stops++;
}

static const struct nm_platform_ops platform = {
	.attachment_start = attachment_start, .attachment_stop = attachment_stop};

static void step_all(void)
{
	bool moved = true;

	while (moved) {
		moved = false;
		for (uint32_t pair = 0; pair < running->pairs; pair++)
			moved |= nm_attachment_step(running, pair);
	}
	for (uint32_t pair = 0; pair < running->pairs; pair++)
		assert_false(nm_attachment_prepare_sleep(running, pair));
}

/* ---- before and after --------------------------------------------------------------------- */

static int begin(void **state)
{
	start_error = 0;
	starts = stops = 0;
	running = NULL;
	return begin_core(&platform);
}

/* The switch learns who is where, so that nothing is sent to all. */
static void introduce(struct app *app)
{
	make_frame(frame, 60, 0, NM_TEST_BROADCAST, DEV, &r);
	assert_true(fake_nic_receive(0, frame, 60, 1));
	step_all();
	app_rxsync(app, 0);
	assert_int_equal(app_take(app, 0, got, sizeof(got)), 60 + app->hdr_len);
}

/* ---- on and off ----------------------------------------------------------------------------- */

static void attach_and_detach(void **state)
{
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC};
	uint32_t index = 99, index_too = 98;
	struct nm_error err;
	struct app first;

	fake_nic_add(&core, &fake_nic_ops, &one_ring);
	open_app(&first, 64, 1, 0);
	assert_int_equal(nm_attachment_add(&core, NULL, "vale0:dev", &bind, &index, &err), 0);
	assert_int_equal(index, 1); /* the second on its switch */
	assert_int_equal(starts, 1);
	nm_core_lock(&core);
	assert_ptr_equal(nm_attachment_find_locked(&core, NULL, "vale0:dev"), running);
	assert_null(nm_attachment_find_locked(&core, NULL, "vale1:dev"));
	nm_core_unlock(&core);
	assert_int_equal(running->pairs, 1);
	assert_ptr_equal(running->sw.port->region, fake_nic_port->region);
	assert_true(fake_nic_port->region->id > NM_REGION_SHARED_ID);
	assert_ptr_equal(nm_attachment_ring(running, 0, NM_ATTACHMENT_DEVICE_TX),
		&fake_nic_port->rings[NM_TX][0]);
	assert_ptr_equal(nm_attachment_ring(running, 0, NM_ATTACHMENT_DEVICE_RX),
		&fake_nic_port->rings[NM_RX][0]);
	assert_null(nm_attachment_ring(running, 1, NM_ATTACHMENT_DEVICE_RX));
	assert_null(nm_attachment_ring(running, 0, NM_ATTACHMENT_RINGS));
	/* Neither it nor its port on the switch is anybody else's. */
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(attach("vale1:dev", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(detach("vale1:dev"), -ENXIO);
	assert_int_equal(nm_attachment_remove(&core, NULL, "vale0:dev", &index_too, &err), 0);
	assert_int_equal(index_too, index);
	assert_int_equal(stops, 1);
	assert_int_equal(detach("vale0:dev"), -ENXIO);
	assert_int_equal(core_count_ports(&core), 2);
	assert_int_equal(attach("vale0:dev", NR_REG_DEFAULT), 0); /* and again */
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&first);
}

static void refused(void **state)
{
	struct app squatter;

	fake_nic_add(&core, &fake_nic_ops, &one_ring);
	assert_int_equal(attach("vale0:nobody", NR_REG_ALL_NIC), -ENXIO);
	assert_int_equal(attach("dev", NR_REG_ALL_NIC), -EINVAL);
	assert_int_equal(attach("vale0:dev{1", NR_REG_ALL_NIC), -EINVAL);
	assert_int_equal(attach("vale0:", NR_REG_ALL_NIC), -EINVAL);
	assert_int_equal(attach("vale0:dev", NR_REG_ONE_NIC), -EINVAL);
	assert_int_equal(attach("vale0:dev", NR_REG_SW), -EINVAL);
	assert_int_equal(attach("vale0:dev", NR_REG_NIC_SW), -EINVAL); /* it has no host rings */
	start_error = -EAGAIN;
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), -EAGAIN);
	start_error = 0;
	app_open(&core, &squatter, &(struct app_config){"vale0:dev", 2048, 64, 1});
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), -EBUSY);
	assert_int_equal(squatter.client.port->clients, 1);
	app_close(&squatter);
	/* The device itself is used by an application. */
	app_open(&core, &squatter, &(struct app_config){"dev", 0, 64, 1});
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), -EBUSY);
	app_close(&squatter);
	core.platform_ops = NULL;
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), -EOPNOTSUPP);
	core.platform_ops = &platform;
	assert_int_equal(core_count_ports(&core), 1);
	assert_int_equal(core_count_regions(&core), 0);
	assert_null(core.switches);
	assert_int_equal(starts, 1);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	assert_int_equal(detach("vale0:dev"), 0);
}

/* Each allocation fails once: then there is no attachment, and nothing is left of it. */
static void without_memory(void **state)
{
	const struct nm_shape shape = {.rings = {2, 2}, .host_rings = {1, 1}, .slots = {16, 16}};
	uint32_t n = 0;
	int error;

	fake_nic_add(&core, &fake_nic_ops, &shape);
	do {
		fail_allocation(++n);
		error = attach("vale0:dev", NR_REG_NIC_SW);
		if (allocation_failed()) {
			assert_int_equal(error, -ENOMEM);
			assert_int_equal(core_count_ports(&core), 1);
			assert_int_equal(core_count_regions(&core), 0);
		}
	} while (allocation_failed());
	fail_allocation(0);
	assert_int_equal(error, 0);
	assert_true(n > 8);
	assert_int_equal(detach("vale0:dev"), 0);
}

static void the_region_that_is_named(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .mem_id = 7};
	struct nm_error err;
	uint32_t index;

	fake_nic_add(&core, &fake_nic_ops, &one_ring);
	assert_int_equal(nm_attachment_add(&core, NULL, "vale0:dev", &bind, &index, &err), 0);
	assert_int_equal(fake_nic_port->region->id, 7);
	assert_int_equal(running->sw.port->region->id, 7);
	assert_int_equal(detach("vale0:dev"), 0);
}

/* ---- traffic ------------------------------------------------------------------------------------ */

/* Random loads both ways: in order, whole, unchanged, and every loss is counted by its cause. */
static void check_traffic(const struct nm_port_ops *ops)
{
	const struct nm_shape shape = {.rings = {1, 1}, .slots = {32, 48}};
	uint64_t in = 0, out = 0, received = 0, sent = 0;
	struct totals totals = {0};
	const struct nm_ring *vale_tx, *vale_rx;
	struct app app;
	uint32_t next_in = 0, next_out = 0;

	fake_nic_add(&core, ops, &shape);
	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 1000);
	introduce(&app);
	vale_tx = nm_attachment_ring(running, 0, NM_ATTACHMENT_SWITCH_TX);
	vale_rx = nm_attachment_ring(running, 0, NM_ATTACHMENT_SWITCH_RX);
	for (int round = 0; round < 3000; round++) {
		const struct fake_nic_packet *packet;
		int len;

		for (uint32_t n = prng_below(&r, 20); n > 0; n--) {
			uint32_t bytes = make_numbered(APP, DEV, (uint32_t)in);

			in += fake_nic_receive(0, frame, bytes, prng_range(&r, 1, 5));
		}
		for (uint32_t n = prng_below(&r, 20); n > 0; n--) {
			uint32_t bytes = make_numbered(DEV, APP, (uint32_t)out);

			out += app_put(&app, 0, frame, bytes, prng_range(&r, 1, 5));
		}
		app_txsync(&app, 0);
		fake_nic_grant(0, prng_below(&r, round < 1500 ? 12 : 60));
		if (prng_chance(&r, 80))
			nm_attachment_step(running, 0);
		else
			step_all();
		while ((packet = fake_nic_sent(0))) {
			assert_in_range(packet->len, 40, 1500);
			assert_in_range(number_in(packet->bytes), next_out, out - 1);
			next_out = number_in(packet->bytes) + 1;
			sent++;
		}
		if (prng_chance(&r, 70)) {
			app_rxsync(&app, 0);
			while ((len = app_take(&app, 0, got, sizeof(got))) >= 0) {
				assert_in_range(len, 40, 1500);
				assert_in_range(number_in(got), next_in, in - 1);
				next_in = number_in(got) + 1;
				received++;
			}
		}
	}
	fake_nic_grant(0, 100000);
	step_all();
	while (fake_nic_sent(0))
		sent++;
	app_rxsync(&app, 0);
	while (app_take(&app, 0, got, sizeof(got)) >= 0)
		received++;
	assert_true(sent > 1000 && received > 1000);
	/* From the wire: all of it was sent to the switch, which counts what it drops. */
	assert_int_equal(vale_tx->stats.packets, in + 1);
	assert_int_equal(received + vale_tx->stats.drops[NM_DROP_RX_FULL], in);
	/* To the wire: what the switch could deliver went out. */
	assert_int_equal(vale_rx->stats.packets, sent);
	assert_int_equal(sent + vale_rx->stats.drops[NM_DROP_RX_FULL], out);
	assert_true(vale_rx->stats.drops[NM_DROP_RX_FULL] > 0);
	totals_add(&totals, &app);
	totals.tx_packets += vale_tx->stats.packets;
	totals.copies += vale_tx->stats.copies;
	totals.rx_packets += vale_rx->stats.packets;
	for (int cause = 0; cause < NM_DROPS; cause++) {
		totals.tx_drops[cause] += vale_tx->stats.drops[cause];
		totals.rx_drops[cause] += vale_rx->stats.drops[cause];
	}
	totals_check(&totals, true);
	region_check(fake_nic_port->region);
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

static void traffic_of_a_nic(void **state)
{
	check_traffic(&fake_nic_ops);
}

static void traffic_of_a_pipe(void **state)
{
	check_traffic(&fake_pipe_ops);
}

static void bytes_are_what_they_were(void **state)
{
	static struct fake_nic_packet in[200];
	struct app app;

	fake_nic_add(&core, &fake_nic_ops, &one_ring);
	open_app(&app, 256, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 10000);
	introduce(&app);
	for (uint32_t i = 0; i < 200; i++) {
		const struct fake_nic_packet *packet;

		in[i].len = make_numbered(APP, DEV, i);
		memcpy(in[i].bytes, frame, in[i].len);
		assert_true(fake_nic_receive(0, in[i].bytes, in[i].len, prng_range(&r, 1, 30)));
		step_all();
		app_rxsync(&app, 0);
		assert_int_equal(app_take(&app, 0, got, sizeof(got)), in[i].len);
		assert_memory_equal(got, in[i].bytes, in[i].len);
		make_frame(frame, in[i].len, 0, DEV, APP, &r);
		assert_true(app_put(&app, 0, frame, in[i].len, prng_range(&r, 1, 30)));
		app_txsync(&app, 0);
		step_all();
		packet = fake_nic_sent(0);
		assert_non_null(packet);
		assert_int_equal(packet->len, in[i].len);
		assert_memory_equal(packet->bytes, frame, in[i].len);
		assert_null(fake_nic_sent(0));
	}
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* A device that sends nothing: packets wait in three rings, then the switch drops; none comes out of
 * order or twice when it goes on. */
static void a_device_that_stands_still(void **state)
{
	for (int kind = 0; kind < 2; kind++) {
		const struct nm_ring *vale_rx;
		uint32_t sent = 0;
		struct app app;

		fake_nic_add(&core, kind ? &fake_pipe_ops : &fake_nic_ops, &one_ring);
		open_app(&app, 64, 1, 0);
		assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
		introduce(&app);
		vale_rx = nm_attachment_ring(running, 0, NM_ATTACHMENT_SWITCH_RX);
		for (uint32_t i = 0; i < 300; i++) {
			uint32_t len = make_numbered(DEV, APP, i);

			assert_true(app_put(&app, 0, frame, len, 0));
			app_txsync(&app, 0);
			step_all(); /* asserts that it would sleep */
		}
		/* 63 in the device's ring, 63 in that of the switch's port. */
		assert_int_equal(vale_rx->stats.packets, 126);
		assert_int_equal(vale_rx->stats.drops[NM_DROP_RX_FULL], 174);
		for (uint32_t i = 0; i < 126; i++) {
			const struct fake_nic_packet *packet;

			fake_nic_grant(0, 1);
			if (kind == 1 && i == 0)
				assert_true(nm_attachment_prepare_sleep(running, 0));
			step_all();
			while ((packet = fake_nic_sent(0))) {
				assert_int_equal(number_in(packet->bytes), sent);
				sent++;
			}
			assert_int_equal(sent, kind ? i + 1 : 64 + i < 126 ? 64 + i : 126);
		}
		assert_int_equal(detach("vale0:dev"), 0);
		app_close(&app);
		fake_nic_remove(&core);
	}
}

static void unequal_rings(void **state)
{
	const struct nm_shape shape = {.rings = {1, 3}, .slots = {64, 64}};
	struct app app;

	fake_nic_add(&core, &fake_nic_ops, &shape);
	open_app(&app, 64, 3, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	assert_int_equal(running->pairs, 3);
	assert_null(nm_attachment_ring(running, 1, NM_ATTACHMENT_DEVICE_TX));
	assert_null(nm_attachment_ring(running, 2, NM_ATTACHMENT_SWITCH_RX));
	assert_non_null(nm_attachment_ring(running, 2, NM_ATTACHMENT_SWITCH_TX));
	fake_nic_grant(0, 1000);
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t len = make_numbered(APP, DEV, i);

		assert_true(fake_nic_receive(i, frame, len, 1));
		step_all();
		app_rxsync(&app, i);
		assert_int_equal(app_take(&app, i, got, sizeof(got)), len);
		len = make_numbered(DEV, APP, i);
		assert_true(app_put(&app, i, frame, len, 0));
		app_txsync(&app, i);
		step_all();
		assert_non_null(fake_nic_sent(0));
	}
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

static void header_of_the_device(void **state)
{
	struct app app;

	fake_nic_add(&core, &fake_nic_ops, &one_ring);
	nm_core_lock(&core);
	assert_int_equal(nm_port_set_hdr_len_locked(fake_nic_port, 12), 0);
	nm_core_unlock(&core);
	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	assert_int_equal(running->sw.port->hdr_len, 12);
	fake_nic_grant(0, 1000);
	make_frame(frame, 72, 12, APP, DEV, &r);
	assert_true(fake_nic_receive(0, frame, 72, 1));
	step_all();
	app_rxsync(&app, 0);
	assert_int_equal(app_take(&app, 0, got, sizeof(got)), 60);
	assert_memory_equal(got, frame + 12, 60);
	make_frame(frame, 60, 0, DEV, APP, &r);
	assert_true(app_put(&app, 0, frame, 60, 0));
	app_txsync(&app, 0);
	step_all();
	assert_int_equal(fake_nic_rings[0].sent[0].len, 72);
	assert_memory_equal(fake_nic_rings[0].sent[0].bytes + 12, frame, 60);
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* A device whose own rings lead to the stack: its host rings are taken, and that is all. */
static void rings_that_lead_to_the_stack(void **state)
{
	const struct nm_shape shape = {.rings = {2, 2}, .host_rings = {1, 1}, .slots = {64, 64}};
	const struct nm_bind stack_only = {.mode = NR_REG_SW};
	static struct nm_port_ops tap_ops; /* the device stays until the test's end() */
	struct nm_client squatter;
	struct app app;

	tap_ops = fake_nic_ops;
	tap_ops.is_stack = true;
	fake_nic_add(&core, &tap_ops, &shape);
	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_NIC_SW), 0);
	assert_int_equal(running->pairs, 2);
	assert_null(running->sw_host.port);
	assert_int_equal(core_count_ports(&core), 3);
	assert_true(fake_nic_port->rings[NM_RX][2].exclusive);
	fake_nic_grant(0, 1000);
	fake_nic_grant(2, 1000);
	make_frame(frame, 60, 0, NM_TEST_BROADCAST, APP, &r);
	assert_true(app_put(&app, 0, frame, 60, 0));
	app_txsync(&app, 0);
	step_all();
	assert_int_equal(fake_nic_rings[0].count, 1); /* once */
	assert_int_equal(fake_nic_rings[2].count, 0);
	assert_int_equal(detach("vale0:dev"), 0);
	assert_int_equal(fake_nic_port->clients, 0);
	/* Somebody has them already. */
	nm_client_init(&squatter, &core);
	assert_int_equal(nm_client_bind(&squatter, "dev", &stack_only), 0);
	assert_int_equal(attach("vale0:dev", NR_REG_NIC_SW), -EBUSY);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	assert_int_equal(detach("vale0:dev"), 0);
	nm_client_unbind(&squatter);
	app_close(&app);
}

/* So many numbered packets from the device, as far as there is room for them; how many it were. */
static uint32_t from_device(uint32_t *sent, uint32_t most)
{
	uint32_t n = 0;

	for (; n < most; n++, ++*sent) {
		uint32_t len = make_numbered(APP, DEV, *sent);

		if (!fake_nic_receive(0, frame, len, 1))
			break;
	}
	return n;
}

/* The next ones, at most so many, in their order. */
static uint32_t take_numbered(struct app *app, uint32_t *taken, uint32_t most)
{
	uint32_t n = 0;

	app_rxsync(app, 0);
	for (; n < most && app_take(app, 0, got, sizeof(got)) >= 0; n++)
		assert_int_equal(number_in(got + app->hdr_len), (*taken)++);
	app_rxsync(app, 0);
	return n;
}

static void step_while_it_moves(void)
{
	while (nm_attachment_step(running, 0))
		;
}

/* An attached device whose packets are for a port of 16 slots, of a stack. */
static const struct nm_ring_stats *open_stacks(
	struct app *app, struct nm_port_ops *ops, uint32_t wait_us)
{
	*ops = fake_nic_ops;
	ops->is_stack = true;
	fake_nic_add(&core, ops, &one_ring);
	open_app(app, 16, 1, 12);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 1000);
	app->client.port->full_wait_us = running->sw.port->full_wait_us = wait_us;
	make_frame(frame, 72, 12, NM_TEST_BROADCAST, APP, &r);
	assert_true(app_put(app, 0, frame, 72, 0));
	app_txsync(app, 0);
	step_all();
	return &running->sw.port->rings[NM_TX][0].stats;
}

/* A stack behind a device waits for one behind another port, as two machines' do, without a virtio-net header as well. */
static void what_a_stack_sends_waits(void **state)
{
	static struct nm_port_ops ops; /* the device stays until the test's end() */
	uint32_t sent = 0, taken = 0;
	const struct nm_ring_stats *tx;
	struct app app;

	tx = open_stacks(&app, &ops, NM_FULL_WAIT_MAX_US);
	for (uint32_t round = 0; round < 200; round++) {
		from_device(&sent, 1 + prng_below(&r, 20));
		step_while_it_moves();
		assert_false(nm_attachment_prepare_sleep(running, 0));
		assert_int_equal(nm_attachment_waits(running, 0), sent - taken > 15);
		take_numbered(&app, &taken, 1 + prng_below(&r, 20));
	}
	assert_true(tx->waits > 100);
	/* Its own ring is full, then: the device keeps what comes. */
	while (from_device(&sent, 1000) > 0)
		step_while_it_moves();
	assert_int_equal(sent - taken, 15 + 63 + 63);
	while (taken < sent) {
		assert_true(take_numbered(&app, &taken, 100) > 0);
		step_while_it_moves();
	}
	assert_int_equal(tx->drops[NM_DROP_RX_FULL], 0);
	assert_false(nm_attachment_waits(running, 0));
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* The bound, and none: then they are lost as before, which is counted. */
static void a_stack_waits_no_longer_than_that(void **state)
{
	static struct nm_port_ops ops;
	uint32_t sent = 0, taken = 0;
	const struct nm_ring_stats *tx;
	struct app app;

	tx = open_stacks(&app, &ops, 1);
	from_device(&sent, 20);
	while (tx->drops[NM_DROP_RX_FULL] < 5) /* as time goes by */
		nm_attachment_step(running, 0);
	assert_int_equal(tx->expired, 5);
	assert_false(nm_attachment_waits(running, 0));
	assert_int_equal(take_numbered(&app, &taken, 100), 15);
	app.client.port->full_wait_us = 0;
	taken = sent;
	from_device(&sent, 20);
	step_all();
	assert_int_equal(tx->drops[NM_DROP_RX_FULL], 10);
	assert_int_equal(tx->waits, 5);
	assert_int_equal(take_numbered(&app, &taken, 100), 15);
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* It is taken back while packets wait: they are dropped by the next step, without any from the device. */
static void the_bound_is_taken_back(void **state)
{
	static struct nm_port_ops ops;
	uint32_t sent = 0, taken = 0;
	const struct nm_ring_stats *tx;
	struct app app;

	tx = open_stacks(&app, &ops, NM_FULL_WAIT_MAX_US);
	from_device(&sent, 20);
	step_while_it_moves();
	assert_int_equal(tx->waits, 5);
	assert_int_equal(tx->drops[NM_DROP_RX_FULL], 0);
	running->sw.port->full_wait_us = 0;
	assert_true(nm_attachment_waits(running, 0)); /* whoever sleeps comes back for them */
	step_while_it_moves();
	assert_int_equal(tx->drops[NM_DROP_RX_FULL], 5);
	assert_false(nm_attachment_waits(running, 0));
	assert_false(nm_attachment_prepare_sleep(running, 0));
	assert_int_equal(take_numbered(&app, &taken, 100), 15);
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* What comes from a wire doesn't wait. */
static void no_stack_no_waiting(void **state)
{
	static struct nm_port_ops ops;
	uint32_t sent = 0, taken = 0;
	struct app app;

	open_stacks(&app, &ops, NM_FULL_WAIT_MAX_US);
	assert_int_equal(detach("vale0:dev"), 0);
	ops.is_stack = false;
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	running->sw.port->full_wait_us = NM_FULL_WAIT_MAX_US;
	from_device(&sent, 20);
	step_all();
	assert_int_equal(running->sw.port->rings[NM_TX][0].stats.drops[NM_DROP_RX_FULL], 5);
	assert_int_equal(take_numbered(&app, &taken, 100), 15);
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* The system's stack is a second port of the switch. */
static void host_rings(void **state)
{
	const struct nm_shape shape = {.rings = {2, 2}, .host_rings = {1, 1}, .slots = {64, 64}};
	struct app app;

	fake_nic_add(&core, &fake_nic_ops, &shape);
	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_NIC_SW), 0);
	assert_int_equal(running->device_pairs, 2);
	assert_int_equal(running->pairs, 3);
	assert_string_equal(running->sw_host.port->name, "vale0:dev^");
	assert_ptr_equal(running->sw_host.port->region, fake_nic_port->region);
	assert_true(nm_attachment_ring(running, 2, NM_ATTACHMENT_DEVICE_TX)->host);
	fake_nic_grant(0, 1000);
	fake_nic_grant(2, 1000);
	/* The stack speaks: everybody hears it. */
	make_frame(frame, 60, 0, NM_TEST_BROADCAST, 7, &r);
	assert_true(fake_nic_receive(2, frame, 60, 1));
	step_all();
	app_rxsync(&app, 0);
	assert_int_equal(app_take(&app, 0, got, sizeof(got)), 60);
	assert_int_equal(fake_nic_rings[0].count, 1); /* the wire, too */
	assert_int_equal(fake_nic_rings[2].count, 0);
	/* An answer from the wire goes to the stack alone. */
	make_frame(frame, 60, 0, 7, DEV, &r);
	assert_true(fake_nic_receive(0, frame, 60, 1));
	step_all();
	assert_int_equal(fake_nic_rings[2].count, 1);
	assert_memory_equal(fake_nic_rings[2].sent[0].bytes, frame, 60);
	assert_int_equal(fake_nic_rings[0].count, 1);
	app_rxsync(&app, 0);
	assert_int_equal(app_take(&app, 0, got, sizeof(got)), -1);
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* ---- slots that somebody has tampered with --------------------------------------------------- */

static void bad_slots(void **state)
{
	static const uint32_t bad[] = {0, 1, 1U << 20, UINT32_MAX};
	struct nm_ring *rx, *vale_tx;
	struct app app;

	fake_nic_add(&core, &fake_nic_ops, &one_ring);
	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 10000);
	introduce(&app);
	rx = nm_attachment_ring(running, 0, NM_ATTACHMENT_DEVICE_RX);
	vale_tx = nm_attachment_ring(running, 0, NM_ATTACHMENT_SWITCH_TX);
	for (size_t i = 0; i < 4; i++) {
		uint32_t at = rx->produce.hwtail, good;

		/* Received in three slots, the second of which is spoiled. */
		assert_true(fake_nic_receive(0, frame, 60, 3));
		at = nm_ring_advance(at, 1, rx->num_slots);
		good = rx->slots[at].buf_idx;
		rx->slots[at].buf_idx = bad[i];
		step_all();
		assert_int_equal(vale_tx->stats.drops[NM_DROP_BAD_BUFFER], i + 1);
		rx->slots[at].buf_idx = good;
		/* The free slot that it should go to. */
		good = vale_tx->slots[vale_tx->head].buf_idx;
		vale_tx->slots[vale_tx->head].buf_idx = bad[i];
		assert_true(fake_nic_receive(0, frame, 60, 1));
		step_all();
		assert_int_equal(vale_tx->stats.drops[NM_DROP_BAD_BUFFER], i + 2);
		vale_tx->slots[vale_tx->head].buf_idx = good;
		vale_tx->stats.drops[NM_DROP_BAD_BUFFER]--;
		/* Others pass. */
		make_frame(frame, 60, 0, APP, DEV, &r);
		assert_true(fake_nic_receive(0, frame, 60, 1));
		step_all();
		app_rxsync(&app, 0);
		assert_int_equal(app_take(&app, 0, got, sizeof(got)), 60);
		assert_memory_equal(got, frame, 60);
	}
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

/* Chains longer than any packet, and some whose end is not there yet. */
static void long_chains(void **state)
{
	static const uint32_t counts[] = {20, 63, 64, 65, 255, 256, 2000};
	const struct nm_shape shape = {.rings = {1, 1}, .slots = {2048, 2048}};
	struct nm_ring *rx, *vale_tx;
	uint64_t dropped = 0;
	struct app app;

	core.region_params.count[NM_POOL_BUF] = 16384;
	fake_nic_add(&core, &fake_nic_ops, &shape);
	open_app(&app, 256, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 10000);
	introduce(&app);
	rx = nm_attachment_ring(running, 0, NM_ATTACHMENT_DEVICE_RX);
	vale_tx = nm_attachment_ring(running, 0, NM_ATTACHMENT_SWITCH_TX);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (int endless = 0; endless < 2; endless++) {
			uint32_t last;

			make_frame(frame, counts[i] + 60, 0, APP, DEV, &r);
			assert_true(fake_nic_receive(0, frame, counts[i], counts[i]));
			last = rx->produce.hwtail == 0 ? rx->num_slots - 1 : rx->produce.hwtail - 1;
			if (endless)
				rx->slots[last].flags |= NS_MOREFRAG;
			dropped += counts[i] > NETMAP_MAX_FRAGS;
			step_all();
			assert_int_equal(vale_tx->stats.drops[NM_DROP_FRAGMENTS], dropped);
			app_rxsync(&app, 0);
			if (endless) { /* it waits for its end: that is the next packet */
				assert_int_equal(app_take(&app, 0, got, sizeof(got)), -1);
				assert_true(fake_nic_receive(0, frame, 60, 1));
				dropped += counts[i] == NETMAP_MAX_FRAGS;
				step_all();
				assert_int_equal(vale_tx->stats.drops[NM_DROP_FRAGMENTS], dropped);
				app_rxsync(&app, 0);
			}
			assert_int_equal(app_take(&app, 0, got, sizeof(got)),
				counts[i] + endless > NETMAP_MAX_FRAGS ? -1
				: endless                              ? (int)counts[i] + 60
								       : (int)counts[i]);
			assert_int_equal(rx->head, rx->tail); /* nothing is stuck */
		}
	}
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

static void a_device_that_is_pulled(void **state)
{
	struct app app;

	fake_nic_add(&core, &fake_nic_ops, &one_ring);
	open_app(&app, 64, 1, 0);
	assert_int_equal(attach("vale0:dev", NR_REG_ALL_NIC), 0);
	fake_nic_grant(0, 10000);
	introduce(&app);
	assert_true(fake_nic_receive(0, frame, 60, 1));
	fake_nic_remove(&core);
	for (int i = 0; i < 70; i++) {
		make_frame(frame, 60, 0, DEV, APP, &r);
		assert_true(app_put(&app, 0, frame, 60, 0));
		app_txsync(&app, 0);
		step_all();
	}
	assert_int_equal(detach("vale0:dev"), 0);
	app_close(&app);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(attach_and_detach, begin, end),
		cmocka_unit_test_setup_teardown(refused, begin, end),
		cmocka_unit_test_setup_teardown(without_memory, begin, end),
		cmocka_unit_test_setup_teardown(the_region_that_is_named, begin, end),
		cmocka_unit_test_setup_teardown(traffic_of_a_nic, begin, end),
		cmocka_unit_test_setup_teardown(traffic_of_a_pipe, begin, end),
		cmocka_unit_test_setup_teardown(bytes_are_what_they_were, begin, end),
		cmocka_unit_test_setup_teardown(a_device_that_stands_still, begin, end),
		cmocka_unit_test_setup_teardown(unequal_rings, begin, end),
		cmocka_unit_test_setup_teardown(header_of_the_device, begin, end),
		cmocka_unit_test_setup_teardown(host_rings, begin, end),
		cmocka_unit_test_setup_teardown(rings_that_lead_to_the_stack, begin, end),
		cmocka_unit_test_setup_teardown(what_a_stack_sends_waits, begin, end),
		cmocka_unit_test_setup_teardown(a_stack_waits_no_longer_than_that, begin, end),
		cmocka_unit_test_setup_teardown(the_bound_is_taken_back, begin, end),
		cmocka_unit_test_setup_teardown(no_stack_no_waiting, begin, end),
		cmocka_unit_test_setup_teardown(bad_slots, begin, end),
		cmocka_unit_test_setup_teardown(long_chains, begin, end),
		cmocka_unit_test_setup_teardown(a_device_that_is_pulled, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("attachment", tests, NULL, NULL);
}
