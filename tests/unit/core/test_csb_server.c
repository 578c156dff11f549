/* SPDX-License-Identifier: BSD-2-Clause */
/* core/csb.h and core/csb_server.h: both sides of a CSB, one step at a time. Both at once:
 * test_csb_server_threads.c. */
#include "csb_server.h"
#include "fixture.h"

enum { SLOTS = 16 };

/* One ring served: the kernel side, and the application side of the same two entries. */
struct served {
	struct nm_csb_atok atok;
	struct nm_csb_ktoa ktoa;
	struct nm_csb_server kern;
	struct nm_csb_appl appl;
};

static struct prng r;
static struct app a, b;
static struct served tx, rx; /* tx ring of a, rx ring of b */
static uint8_t frame[60];

static void serve(struct served *s, struct nm_ring *ring)
{
	memset(s, 0x5a, sizeof(*s)); /* nothing is relied on */
	s->kern = (struct nm_csb_server){0};
	nm_csb_server_start(&s->kern, ring, &s->atok, &s->ktoa);
	assert_int_equal(nm_csb_appl_init(&s->appl, &s->atok, &s->ktoa, SLOTS), 0);
	nm_csb_appl_awake(&s->appl);
}

static int begin(void **state)
{
	core_begin(state);
	r = prng_new(1);
	app_open(&core, &a, &(struct app_config){"vale0:a", 64, SLOTS});
	app_open(&core, &b, &(struct app_config){"vale0:b", 64, SLOTS});
	serve(&tx, app_private(&a, NM_TX, 0));
	serve(&rx, app_private(&b, NM_RX, 0));
	return 0;
}

static int end(void **state)
{
	app_close(&a);
	app_close(&b);
	return core_end(state);
}

/* a's application fills `count` slots and publishes them. True: a kick is wanted. */
static bool put(uint32_t count)
{
	struct netmap_ring *ring = app_ring(&a, NM_TX, 0);
	uint32_t head = tx.appl.head;

	for (; count > 0; count--) {
		make_frame(frame, sizeof(frame), 0, NM_TEST_BROADCAST, 1, &r);
		memcpy(app_buf(ring, ring->slot[head].buf_idx), frame, sizeof(frame));
		ring->slot[head].len = sizeof(frame);
		ring->slot[head].flags = 0;
		head = nm_ring_advance(head, 1, SLOTS);
	}
	return nm_csb_appl_publish(&tx.appl, head, head);
}

/* b's application gives `count` slots back. True: a kick is wanted. */
static bool give_back(uint32_t count)
{
	uint32_t head = nm_ring_advance(rx.appl.head, count, SLOTS);

	return nm_csb_appl_publish(&rx.appl, head, head);
}

static uint32_t received(void)
{
	assert_true(nm_csb_appl_load(&rx.appl));
	return nm_ring_distance(rx.appl.head, rx.appl.hwtail, SLOTS);
}

/* ---- start ------------------------------------------------------------------------------------ */

static void start_tells_where_the_ring_is(void **state)
{
	const struct nm_ring *ring = app_private(&a, NM_TX, 0);

	put(5);
	assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_WORK);
	for (int round = 0; round < 3; round++) { /* stop and start continue from there */
		serve(&tx, app_private(&a, NM_TX, 0));
		assert_int_equal(tx.atok.head, 5);
		assert_int_equal(tx.atok.cur, 5);
		assert_int_equal(tx.ktoa.hwcur, 5);
		assert_int_equal(tx.ktoa.hwtail, 4);
		assert_int_equal(tx.ktoa.kern_need_kick, 0);
		assert_int_equal(ring->stats.packets, 5);
	}
	put(1);
	assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_WORK);
	assert_int_equal(ring->stats.packets, 6);
}

static void application_checks_what_it_loads(void **state)
{
	static const struct {
		uint32_t head, cur, hwcur, hwtail;
		int error;
	} cases[] = {
		{0, 0, 0, 0, 0},
		{15, 15, 15, 15, 0},
		{16, 0, 0, 0, -EINVAL},
		{0, 16, 0, 0, -EINVAL},
		{0, 0, 16, 0, -EINVAL},
		{0, 0, 0, 16, -EINVAL},
		{0, 0, 0, UINT32_MAX, -EINVAL},
		{0x80000000, 0, 0, 0, -EINVAL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nm_csb_atok atok = {.head = cases[i].head, .cur = cases[i].cur};
		struct nm_csb_ktoa ktoa = {.hwcur = cases[i].hwcur, .hwtail = cases[i].hwtail};
		struct nm_csb_appl appl;

		assert_int_equal(nm_csb_appl_init(&appl, &atok, &ktoa, SLOTS), cases[i].error);
	}
	for (int field = 0; field < 2; field++) { /* later, too; nothing of it is taken over */
		struct nm_csb_appl before = tx.appl;

		(field ? &tx.ktoa.hwcur : &tx.ktoa.hwtail)[0] = SLOTS;
		assert_false(nm_csb_appl_load(&tx.appl));
		assert_memory_equal(&before, &tx.appl, sizeof(before));
		serve(&tx, app_private(&a, NM_TX, 0));
	}
}

/* ---- steps ------------------------------------------------------------------------------------ */

static void steps_move_packets(void **state)
{
	assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_IDLE);
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_IDLE);
	for (int round = 0; round < 100; round++) {
		uint32_t count = prng_range(&r, 1, SLOTS - 1);

		put(count);
		assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_WORK);
		assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_IDLE);
		assert_true(nm_csb_appl_load(&tx.appl));
		assert_int_equal(tx.appl.hwcur, tx.appl.head);
		assert_int_equal(nm_ring_distance(tx.appl.head, tx.appl.hwtail, SLOTS), SLOTS - 1);
		assert_int_equal(received(), 0);
		assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_WORK);
		assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_IDLE);
		assert_int_equal(received(), count);
		give_back(count);
		assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_WORK);
		assert_int_equal(rx.ktoa.hwcur, rx.appl.head);
	}
	assert_int_equal(tx.kern.interrupts + rx.kern.interrupts, 0); /* none was asked for */
	assert_int_equal(tx.kern.work_steps, 100);
	assert_int_equal(rx.kern.work_steps, 200);
	assert_int_equal(tx.kern.steps, 201);
}

/* An interrupt for a new hwtail, when one is wanted; not for slots that came back. */
enum { MANY = 1024 };

/* Publishes `count` more slots of s, a ring of MANY slots. */
static void publish(struct served *s, struct app *from, uint32_t count)
{
	struct netmap_ring *ring = app_ring(from, NM_TX, 0);
	uint32_t head = s->appl.head;

	for (; count > 0; count--) {
		ring->slot[head].len = sizeof(frame);
		ring->slot[head].flags = 0;
		head = nm_ring_advance(head, 1, MANY);
	}
	nm_csb_appl_publish(&s->appl, head, head);
}

/* However much is published, a step takes a quarter of the ring, and the next goes on behind it. */
static void a_step_takes_a_share(void **state)
{
	struct served many;
	struct nm_ring *ring;
	struct app c;

	app_open(&core, &c, &(struct app_config){"vale0:c", 64, MANY});
	ring = app_private(&c, NM_TX, 0);
	memset(&many, 0, sizeof(many));
	nm_csb_server_start(&many.kern, ring, &many.atok, &many.ktoa);
	assert_int_equal(nm_csb_appl_init(&many.appl, &many.atok, &many.ktoa, MANY), 0);
	publish(&many, &c, 1000);
	for (uint32_t taken = 256; taken < 1000; taken += 256) {
		assert_true(nm_csb_server_prepare_sleep(&many.kern)); /* no time to sleep */
		assert_int_equal(nm_csb_server_step(&many.kern), NM_CSB_SERVER_WORK);
		assert_int_equal(many.ktoa.hwcur, taken);
		assert_int_equal(ring->stats.packets, taken);
	}
	assert_int_equal(nm_csb_server_step(&many.kern), NM_CSB_SERVER_WORK);
	assert_int_equal(many.ktoa.hwcur, 1000);
	assert_int_equal(nm_csb_server_step(&many.kern), NM_CSB_SERVER_IDLE);
	assert_false(nm_csb_server_prepare_sleep(&many.kern));
	/* All at once, around the end of the ring. */
	publish(&many, &c, 1023);
	nm_csb_server_finish(&many.kern);
	assert_int_equal(many.ktoa.hwcur, 999);
	assert_int_equal(ring->stats.packets, 2023);
	/* What is illegal stops the ring, also where it is beyond the share. */
	OS_STORE(&many.atok.cur, MANY);
	OS_STORE(&many.atok.head, 900);
	assert_int_equal(nm_csb_server_step(&many.kern), NM_CSB_SERVER_STOPPED);
	assert_int_equal(ring->stats.packets, 2023);
	app_close(&c);
}

static void interrupts(void **state)
{
	tx.atok.appl_need_kick = 1;
	put(1);
	assert_int_equal(
		nm_csb_server_step(&tx.kern), NM_CSB_SERVER_WORK | NM_CSB_SERVER_INTERRUPT);
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_WORK);
	put(1);
	nm_csb_server_step(&tx.kern);
	rx.atok.appl_need_kick = 1;
	assert_int_equal(
		nm_csb_server_step(&rx.kern), NM_CSB_SERVER_WORK | NM_CSB_SERVER_INTERRUPT);
	assert_int_equal(received(), 2);
	give_back(2);
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_WORK);
	assert_int_equal(rx.kern.interrupts, 1);
	assert_int_equal(tx.kern.interrupts, 2);
}

/* The first half of a packet is taken note of, and no more. */
static void an_unfinished_packet(void **state)
{
	struct netmap_ring *ring = app_ring(&a, NM_TX, 0);

	put(1);
	ring->slot[0].flags = NS_MOREFRAG;
	nm_csb_server_step(&tx.kern);
	for (int i = 0; i < 5; i++)
		assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_IDLE);
	assert_false(nm_csb_server_prepare_sleep(&tx.kern)); /* no reason to stay awake */
	assert_int_equal(tx.ktoa.kern_need_kick, 1);
	nm_csb_server_awake(&tx.kern);
	put(1);
	assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_WORK);
	assert_int_equal(tx.ktoa.hwcur, 2);
}

/* ---- illegal positions ------------------------------------------------------------------------- */

/* What no step has taken is seen; what none could take isn't. */
static void the_published_head_is_seen(void **state)
{
	const struct nm_ring *ring = app_private(&b, NM_RX, 0);

	put(9);
	nm_csb_server_step(&tx.kern);
	nm_csb_server_step(&rx.kern);
	assert_int_equal(received(), 9);
	assert_int_equal(nm_ring_fill(ring, nm_csb_server_head(&rx.kern)), 9);
	for (uint32_t back = 0; back <= 9; back++) {
		rx.atok.head = back;
		assert_int_equal(nm_ring_fill(ring, nm_csb_server_head(&rx.kern)), 9 - back);
	}
	for (uint32_t wrong = 10; wrong < SLOTS + 3; wrong++) {
		rx.atok.head = wrong;
		assert_int_equal(nm_csb_server_head(&rx.kern), 0);
	}
	rx.atok.head = UINT32_MAX;
	assert_int_equal(nm_csb_server_head(&rx.kern), 0);
	rx.atok.head = 0;
	put(3);
	assert_int_equal(nm_csb_server_head(&tx.kern), 12);
	assert_int_equal(nm_ring_fill(app_private(&a, NM_TX, 0), 12), 3);
}

static void illegal_positions_stop_the_ring(void **state)
{
	static const struct {
		uint32_t head, cur;
	} cases[] = {{4, 5}, {5, 4}, {0, 0}, {5, 3}, {SLOTS, 5}, {5, SLOTS},
		{UINT32_MAX, UINT32_MAX}, {0x80000005, 5}, {7, 6}, {4, 4}};
	struct nm_ring *ring = app_private(&a, NM_TX, 0);
	uint64_t bad = 0;

	put(5);
	assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_WORK);
	/* Legal from here: head in 5..15,0..4 with 4 the tail, cur behind it. */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nm_csb_ktoa before = tx.ktoa;
		bool legal = cases[i].head < SLOTS && cases[i].cur < SLOTS &&
			     nm_ring_move_legal(5, 4, cases[i].head, cases[i].cur, SLOTS);

		if (legal)
			continue;
		tx.atok.head = cases[i].head;
		tx.atok.cur = cases[i].cur;
		for (int again = 0; again < 3; again++)
			assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_STOPPED);
		assert_int_equal(ring->stats.bad_syncs, ++bad);
		tx.atok.head = tx.atok.cur = 6; /* repaired, but too late */
		assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_STOPPED);
		assert_false(nm_csb_server_prepare_sleep(&tx.kern));
		nm_csb_server_awake(&tx.kern);
		assert_memory_equal(&before, &tx.ktoa, sizeof(before)); /* it is told nothing */
		nm_csb_server_resume(
			&tx.kern, &tx.atok, &tx.ktoa); /* memory is back: still stopped */
		assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_STOPPED);
		/* The other ring is served as before. */
		nm_csb_server_step(&rx.kern);
		assert_int_equal(received(), 5);
		serve(&tx, ring);
		assert_int_equal(tx.atok.head, 5);
		assert_int_equal(tx.atok.cur, 5);
		assert_int_equal(ring->stats.packets, 5);
	}
	assert_true(bad >= 6);
	put(1);
	assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_WORK);
}

/* Any values in the entry, step after step: it stops at the first illegal one, and only then. */
static void any_positions(void **state)
{
	struct nm_ring *ring = app_private(&a, NM_TX, 0);
	uint32_t stops = 0, moves = 0;

	for (int i = 0; i < 20000; i++) {
		uint32_t head = ring->head, tail = ring->tail, cur = ring->cur;
		uint32_t to_head = prng_edge32(&r, SLOTS), to_cur = prng_edge32(&r, SLOTS);
		bool legal = nm_ring_move_legal(head, tail, to_head, to_cur, SLOTS);
		int result;

		tx.atok.head = to_head;
		tx.atok.cur = to_cur;
		result = nm_csb_server_step(&tx.kern);
		assert_int_equal(!!(result & NM_CSB_SERVER_STOPPED), !legal);
		assert_int_equal(ring->head, legal ? to_head : head);
		assert_int_equal(ring->cur, legal ? to_cur : cur);
		if (legal) {
			moves++;
			continue;
		}
		stops++;
		serve(&tx, ring);
	}
	assert_true(stops > 1000 && moves > 1000);
	assert_int_equal(ring->stats.bad_syncs, stops);
}

enum { LARGE = 1024, SHARES = 4 };

static uint32_t steps;

/* Before each step but the first: the application has published all that it may again. */
static bool publish_more(struct nm_ring *ring)
{
	steps++;
	tx.atok.head = tx.atok.cur = tx.ktoa.hwtail;
	return false;
}

/* Whoever publishes as fast as it is served doesn't keep who wants to finish. */
static void it_finishes_however_much_is_published(void **state)
{
	struct app large;
	struct nm_port_ops ops;
	const struct nm_port_ops *before;

	app_open(&core, &large, &(struct app_config){"vale0:large", 64, LARGE});
	before = large.client.port->ops;
	ops = *before;
	ops.can_send = publish_more;
	tx = (struct served){0};
	nm_csb_server_start(&tx.kern, app_private(&large, NM_TX, 0), &tx.atok, &tx.ktoa);
	large.client.port->ops = &ops;
	tx.atok.head = tx.atok.cur = LARGE - 1;
	steps = 0;
	(void)nm_csb_server_finish(&tx.kern);
	assert_in_range(steps, SHARES, SHARES + 2);
	large.client.port->ops = before;
	app_close(&large);
}

static bool must_not_be_asked(struct nm_ring *ring)
{
	fail_msg("the kind of a dead port was asked");
	return false;
}

static void a_dead_port_stops(void **state)
{
	struct nm_ring *ring = app_private(&a, NM_TX, 0);
	const struct nm_port_ops *before = ring->port->ops;
	struct nm_port_ops ops = *before;

	ops.can_send = must_not_be_asked;
	nm_core_lock(&core);
	nm_port_remove_locked(a.client.port);
	nm_core_unlock(&core);
	/* An idle one, too. */
	assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_STOPPED);
	/* And one that has something to send. */
	serve(&tx, ring);
	(void)put(3);
	ring->port->ops = &ops;
	assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_STOPPED);
	ring->port->ops = before;
}

/* ---- sleep -------------------------------------------------------------------------------------- */

static void the_kernel_side_sleeps(void **state)
{
	/* tx: a kick for every move of head. */
	assert_false(put(0));
	assert_false(nm_csb_server_prepare_sleep(&tx.kern));
	assert_int_equal(tx.ktoa.kern_need_kick, 1);
	assert_false(put(0)); /* head has not moved */
	assert_true(put(1));
	assert_true(nm_csb_server_prepare_sleep(&tx.kern)); /* it has: no time to sleep */
	nm_csb_server_awake(&tx.kern);
	assert_int_equal(tx.ktoa.kern_need_kick, 0);
	assert_false(put(1));
	nm_csb_server_step(&tx.kern);

	/* rx: two packets wait to be told. */
	assert_true(nm_csb_server_prepare_sleep(&rx.kern));
	nm_csb_server_awake(&rx.kern);
	nm_csb_server_step(&rx.kern);
	/* Told, and much room: what the application gives back can wait for the next packet. */
	assert_false(nm_csb_server_prepare_sleep(&rx.kern));
	assert_int_equal(rx.ktoa.kern_need_kick, 0);
	/* But a monitor wants to see it now. */
	rx.kern.ring->monitors = (void *)&rx;
	assert_false(nm_csb_server_prepare_sleep(&rx.kern));
	assert_int_equal(rx.ktoa.kern_need_kick, 1);
	rx.kern.ring->monitors = NULL;
	nm_csb_server_awake(&rx.kern);
	/* And so does the system's stack, which gets what is forwarded; where there is one. */
	rx.kern.ring->shared->flags |= NR_FORWARD;
	assert_false(nm_csb_server_prepare_sleep(&rx.kern));
	assert_int_equal(rx.ktoa.kern_need_kick, 0);
	rx.kern.ring->port->num_host_rings[NM_TX] = 1;
	assert_false(nm_csb_server_prepare_sleep(&rx.kern));
	assert_int_equal(rx.ktoa.kern_need_kick, 1);
	rx.kern.ring->port->num_host_rings[NM_TX] = 0;
	nm_csb_server_awake(&rx.kern);
	assert_int_equal(received(), 2);
	assert_false(give_back(1));
	/* Room runs short: every slot counts. */
	put(12);
	nm_csb_server_step(&tx.kern);
	nm_csb_server_step(&rx.kern);
	assert_int_equal(received(), 13);
	assert_false(nm_csb_server_prepare_sleep(&rx.kern));
	assert_int_equal(rx.ktoa.kern_need_kick, 1);
	assert_true(give_back(1));
	assert_true(nm_csb_server_prepare_sleep(&rx.kern));
	nm_csb_server_awake(&rx.kern);
	assert_int_equal(rx.ktoa.kern_need_kick, 0);
	nm_csb_server_step(&rx.kern);
	assert_int_equal(rx.ktoa.hwcur, 2);
}

static void the_application_sleeps(void **state)
{
	assert_false(nm_csb_appl_sleep(&rx.appl));
	assert_int_equal(rx.atok.appl_need_kick, 1);
	put(1);
	nm_csb_server_step(&tx.kern);
	assert_int_equal(
		nm_csb_server_step(&rx.kern), NM_CSB_SERVER_WORK | NM_CSB_SERVER_INTERRUPT);
	assert_true(nm_csb_appl_sleep(&rx.appl)); /* it has come meanwhile */
	assert_int_equal(rx.atok.appl_need_kick, 0);
	assert_false(nm_csb_appl_sleep(&rx.appl));
	nm_csb_appl_awake(&rx.appl);
	assert_int_equal(rx.atok.appl_need_kick, 0);
	rx.ktoa.hwtail = UINT32_MAX; /* nonsense is no news */
	assert_false(nm_csb_appl_sleep(&rx.appl));
}

/* ---- memory that goes away and comes back --------------------------------------------------------- */

static void resume_keeps_the_position(void **state)
{
	for (int round = 0; round < 100; round++) {
		struct nm_csb_atok *atok = os_zalloc(sizeof(*atok));
		struct nm_csb_ktoa *ktoa = os_zalloc(sizeof(*ktoa));
		uint32_t before = prng_below(&r, 6), after = prng_below(&r, 6);

		put(before);
		*atok = tx.atok; /* the guest's memory, at another address of ours */
		*ktoa = tx.ktoa;
		nm_csb_server_resume(&tx.kern, atok, ktoa);
		memset(&tx.atok, 0xff, sizeof(tx.atok)); /* nobody looks here any more */
		memset(&tx.ktoa, 0xff, sizeof(tx.ktoa));
		tx.appl.atok = atok;
		tx.appl.ktoa = ktoa;
		assert_int_equal(ktoa->kern_need_kick, 0);
		put(after);
		assert_int_equal(nm_csb_server_step(&tx.kern),
			before + after ? NM_CSB_SERVER_WORK : NM_CSB_SERVER_IDLE);
		assert_true(nm_csb_appl_load(&tx.appl));
		assert_int_equal(tx.appl.hwcur, tx.appl.head);
		nm_csb_server_step(&rx.kern);
		assert_int_equal(received(), before + after);
		give_back(before + after);
		nm_csb_server_step(&rx.kern);
		tx.atok = *atok;
		tx.ktoa = *ktoa;
		tx.appl.atok = &tx.atok;
		tx.appl.ktoa = &tx.ktoa;
		nm_csb_server_resume(&tx.kern, &tx.atok, &tx.ktoa);
		os_free(atok);
		os_free(ktoa);
	}
	assert_int_equal(app_private(&b, NM_RX, 0)->stats.drops[NM_DROP_RX_FULL], 0);
}

/* ---- a port kind that fetches its packets when it is synced (a TAP) ---------------------- */

static uint32_t outside; /* packets that wait to be fetched */

static int fetching_rxsync(struct nm_ring *ring)
{
	uint32_t tail = ring->produce.hwtail;

	ring->hwcur = ring->head;
	for (; outside > 0 && nm_ring_distance(ring->hwcur, tail, SLOTS) < SLOTS - 1; outside--)
		tail = nm_ring_advance(tail, 1, SLOTS);
	ring->tail = ring->produce.hwtail = tail;
	return 0;
}

static bool fetching_wants_room(struct nm_ring *ring)
{
	return outside > 0;
}

static int fetching_txsync(struct nm_ring *ring)
{
	return 0;
}

/* Looking whether it may sleep, the kernel side has found a packet, and is interrupted (the
 * memory goes away and is back) before it has said so: the sleeping application hears of it. */
static void resume_interrupts_for_what_was_found(void **state)
{
	struct nm_ring *ring = app_private(&b, NM_RX, 0);

	assert_false(nm_csb_appl_sleep(&rx.appl));
	put(1);
	assert_int_equal(nm_csb_server_step(&tx.kern), NM_CSB_SERVER_WORK);
	assert_int_equal(nm_ring_sync(ring, ring->head, ring->cur), 0);
	nm_csb_server_resume(&rx.kern, &rx.atok, &rx.ktoa);
	assert_int_equal(received(), 1);
	assert_int_equal(
		nm_csb_server_step(&rx.kern), NM_CSB_SERVER_WORK | NM_CSB_SERVER_INTERRUPT);
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_IDLE);
	assert_int_equal(rx.kern.interrupts, 1);
	nm_csb_server_resume(&rx.kern, &rx.atok, &rx.ktoa);
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_IDLE);
}

/* A packet that comes after the last step, when whom it signals is not asleep yet. */
static void what_came_before_the_sleep(void **state)
{
	static const struct nm_port_ops ops = {
		.kind = "fetching",
		.txsync = fetching_txsync,
		.rxsync = fetching_rxsync,
		.wants_room = fetching_wants_room,
	};
	const struct nm_shape shape = {.rings = {1, 1}, .slots = {SLOTS, SLOTS}};
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC};
	struct nm_client client;
	struct nm_port *port;

	port = fixture_add("fetching", &ops, &shape);
	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "fetching", &bind), 0);
	serve(&rx, nm_client_ring(&client, NM_RX, 0));
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_IDLE);
	assert_false(nm_csb_server_prepare_sleep(&rx.kern));
	nm_csb_server_awake(&rx.kern);
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_IDLE);
	outside = 1;
	assert_true(nm_csb_server_prepare_sleep(&rx.kern));
	nm_csb_server_awake(&rx.kern);
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_WORK);
	assert_int_equal(received(), 1);
	outside = SLOTS; /* one of them finds no room until slots are given back */
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_WORK);
	assert_false(nm_csb_server_prepare_sleep(&rx.kern));
	assert_true(give_back(1));
	assert_true(nm_csb_server_prepare_sleep(&rx.kern));
	OS_STORE(&port->dead, true);
	assert_true(nm_csb_server_prepare_sleep(&rx.kern)); /* the step says why */
	assert_int_equal(nm_csb_server_step(&rx.kern), NM_CSB_SERVER_STOPPED);
	assert_false(nm_csb_server_prepare_sleep(&rx.kern));
	OS_STORE(&port->dead, false);
	nm_client_unbind(&client);
	fixture_remove(port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(start_tells_where_the_ring_is, begin, end),
		cmocka_unit_test_setup_teardown(application_checks_what_it_loads, begin, end),
		cmocka_unit_test_setup_teardown(steps_move_packets, begin, end),
		cmocka_unit_test_setup_teardown(a_step_takes_a_share, begin, end),
		cmocka_unit_test_setup_teardown(interrupts, begin, end),
		cmocka_unit_test_setup_teardown(an_unfinished_packet, begin, end),
		cmocka_unit_test_setup_teardown(the_published_head_is_seen, begin, end),
		cmocka_unit_test_setup_teardown(illegal_positions_stop_the_ring, begin, end),
		cmocka_unit_test_setup_teardown(any_positions, begin, end),
		cmocka_unit_test_setup_teardown(it_finishes_however_much_is_published, begin, end),
		cmocka_unit_test_setup_teardown(a_dead_port_stops, begin, end),
		cmocka_unit_test_setup_teardown(the_kernel_side_sleeps, begin, end),
		cmocka_unit_test_setup_teardown(the_application_sleeps, begin, end),
		cmocka_unit_test_setup_teardown(resume_keeps_the_position, begin, end),
		cmocka_unit_test_setup_teardown(resume_interrupts_for_what_was_found, begin, end),
		cmocka_unit_test_setup_teardown(what_came_before_the_sleep, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("csb_server", tests, NULL, NULL);
}
