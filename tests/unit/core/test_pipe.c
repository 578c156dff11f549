/* SPDX-License-Identifier: BSD-2-Clause */
/* core/pipe.h: nothing is lost, nothing is copied, whoever comes and goes. */
#include "pipe_ends.h"
#include "csb_server.h"

#include <stdio.h>

enum { MOST = 600 /* packets that the model holds */ };

/* ---- one packet ------------------------------------------------------------------------- */

static void exchanged_not_copied(void **state)
{
	struct netmap_slot *sent, *got;
	struct app a, b;
	uint32_t theirs, mine;
	uint8_t bytes[100], back[200];
	struct prng r = prng_new(1);

	open_end(&a, "x{1", 16);
	open_end(&b, "x}1", 16);
	assert_ptr_equal(a.client.port->region, b.client.port->region);
	assert_int_equal(a.client.port->region->id, NM_REGION_SHARED_ID);
	assert_ptr_equal(a.client.port->peer, b.client.port);
	sent = &app_ring(&a, NM_TX, 0)->slot[0];
	got = &app_ring(&b, NM_RX, 0)->slot[0];
	mine = sent->buf_idx;
	theirs = got->buf_idx;
	prng_fill(&r, bytes, sizeof(bytes));
	assert_true(app_put(&a, 0, bytes, sizeof(bytes), 0));
	app_txsync(&a, 0);
	assert_int_equal(sent->buf_idx, theirs);
	assert_int_equal(got->buf_idx, mine);
	assert_int_equal(sent->flags, NS_BUF_CHANGED);
	assert_int_equal(got->flags, NS_BUF_CHANGED | 1 << NS_PORT_SHIFT);
	app_rxsync(&b, 0);
	assert_int_equal(app_take(&b, 0, back, sizeof(back)), sizeof(bytes));
	assert_memory_equal(bytes, back, sizeof(bytes));
	/* The other way. */
	assert_true(app_put(&b, 0, bytes, 60, 3));
	app_txsync(&b, 0);
	app_rxsync(&a, 0);
	assert_int_equal(app_take(&a, 0, back, sizeof(back)), 60);
	assert_memory_equal(bytes, back, 60);
	check_buffers(&a, &b);
	check_conservation(&a, &b);
	app_close(&a);
	app_close(&b);
}

/* ---- a model ---------------------------------------------------------------------------- */

/* What is on its way from one end to the other. */
struct queue {
	struct {
		uint32_t len;
		uint8_t bytes[1024];
	} packet[MOST];
	uint32_t first, count;
};

static void send_some(struct app *app, struct queue *q, struct prng *r)
{
	for (uint32_t n = prng_below(r, 20); n > 0 && q->count < MOST; n--) {
		uint32_t at = (q->first + q->count) % MOST;
		uint32_t frags = prng_chance(r, 80) ? 1 : prng_range(r, 2, 14);
		uint32_t len = prng_range(r, frags, frags > 1 ? 1000 : BUF_SIZE);

		prng_fill(r, q->packet[at].bytes, len);
		if ((len + frags - 1) / frags > BUF_SIZE)
			frags = 0;
		if (!app_put(app, 0, q->packet[at].bytes, len, frags))
			break;
		q->packet[at].len = len;
		q->count++;
	}
	if (prng_chance(r, 80))
		app_txsync(app, 0);
}

static void take_some(struct app *app, struct queue *q, struct prng *r)
{
	uint8_t bytes[1024];

	if (prng_chance(r, 80))
		app_rxsync(app, 0);
	for (uint32_t n = prng_below(r, 20); n > 0; n--) {
		int len = app_take(app, 0, bytes, sizeof(bytes));

		if (len < 0)
			return;
		assert_int_not_equal(q->count, 0);
		assert_int_equal(len, q->packet[q->first].len);
		assert_memory_equal(bytes, q->packet[q->first].bytes, (size_t)len);
		q->first = (q->first + 1) % MOST;
		q->count--;
	}
}

/* Whatever the sizes of rings and packets, and whoever is slower: all of it arrives, in order. */
static void nothing_is_lost(void **state)
{
	static struct queue queue[2];
	struct prng r = prng_new(2);

	for (int round = 0; round < 60; round++) {
		struct app end[2];

		memset(queue, 0, sizeof(queue));
		open_end(&end[0], "x{1", prng_range(&r, 16, 80));
		open_end(&end[1], "x}1", 16);
		for (int step = 0; step < 600; step++) {
			uint32_t who = prng_below(&r, 2);

			if (prng_chance(&r, 50))
				send_some(&end[who], &queue[who], &r);
			else
				take_some(&end[!who], &queue[who], &r);
		}
		for (int i = 0; i < 2; i++) {
			app_txsync(&end[i], 0);
			while (queue[i].count > 0) { /* the sender does nothing more */
				app_rxsync(&end[!i], 0);
				take_some(&end[!i], &queue[i], &r);
			}
			app_rxsync(&end[!i], 0);
			assert_int_equal(app_avail(app_ring(&end[!i], NM_RX, 0)), 0);
			assert_int_equal(all_drops(app_private(&end[i], NM_TX, 0)), 0);
		}
		check_buffers(&end[0], &end[1]);
		check_conservation(&end[0], &end[1]);
		app_close(&end[0]);
		app_close(&end[1]);
	}
}

/* ---- half open ---------------------------------------------------------------------------- */

static uint32_t tx_free(struct app *app)
{
	app_txsync(app, 0);
	return app_avail(app_ring(app, NM_TX, 0));
}

/* What a receiver that went has left the next one gets, what a sender that went has left arrives, and a
 * new sender has as many slots as the receiver has given back. */
static void packets_wait(void **state)
{
	struct app a, b;
	uint32_t next = 0;

	open_end(&a, "x{1", 8);
	for (uint32_t i = 0; i < 7; i++)
		put_number(&a, i);
	assert_int_equal(tx_free(&a), 0);
	assert_int_equal(app_private(&a, NM_TX, 0)->hwcur, 7);
	open_end(&b, "x}1", 8);
	app_rxsync(&b, 0);
	for (; next < 3; next++)
		take_number(&b, next);
	assert_int_equal(tx_free(&a), 0); /* taken, not given back */
	app_rxsync(&b, 0);
	assert_int_equal(tx_free(&a), 3);
	for (uint32_t i = 7; i < 10; i++)
		put_number(&a, i);
	app_txsync(&a, 0);
	app_close(&b);
	assert_int_equal(tx_free(&a), 0);
	open_end(&b, "x}1", 8);
	app_close(&a);
	app_rxsync(&b, 0);
	for (; next < 5; next++)
		take_number(&b, next);
	app_rxsync(&b, 0);
	open_end(&a, "x{1", 8);
	assert_int_equal(app_avail(app_ring(&a, NM_TX, 0)), 2);
	put_number(&a, 10);
	app_txsync(&a, 0);
	app_rxsync(&b, 0);
	for (; next < 11; next++)
		take_number(&b, next);
	assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 0);
	app_rxsync(&b, 0);
	assert_int_equal(tx_free(&a), 7);
	assert_int_equal(app_private(&a, NM_TX, 0)->stats.packets, 11);
	check_conservation(&a, &b);
	check_buffers(&a, &b);
	app_close(&a);
	app_close(&b);
	open_end(&b, "x}1", 8); /* both were closed: a new pipe */
	app_rxsync(&b, 0);
	assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 0);
	app_close(&b);
}

/* A sender that dies in the middle of a packet: the half is dropped and counted, whole ones before it
 * are not, and what the next sender sends is not joined to it. */
static void half_a_packet(void **state)
{
	struct app a, b;

	for (uint32_t before = 0; before < 6; before++) {
		open_end(&b, "x}1", 8);
		open_end(&a, "x{1", 8);
		for (uint32_t i = 0; i < before; i++) {
			put_number(&a, i);
			app_txsync(&a, 0);
		}
		for (int i = 0; i < 2; i++)
			assert_true(app_put_slot(&a, 0,
				app_ring(&a, NM_TX, 0)->slot[app_ring(&a, NM_TX, 0)->head].buf_idx,
				10, NS_MOREFRAG));
		app_txsync(&a, 0);
		app_close(&a);
		open_end(&a, "x{1", 8);
		assert_int_equal(app_private(&a, NM_TX, 0)->stats.drops[NM_DROP_FRAGMENTS], 1);
		put_number(&a, before);
		app_txsync(&a, 0);
		for (uint32_t i = 0; i <= before; i++) {
			app_rxsync(&b, 0);
			take_number(&b, i);
		}
		app_rxsync(&b, 0);
		check_conservation(&a, &b);
		app_close(&a);
		app_close(&b);
	}
}

/* Whoever leaves a ring leaves anything in its slots; the next finds buffers, each once. */
static void scribbled_slots(void **state)
{
	struct prng r = prng_new(3);
	struct app a, b, keep;
	uint32_t n = 0;

	open_end(&keep, "y{1", 8);
	open_end(&a, "x{1", 16);
	for (int round = 0; round < 200; round++) {
		struct netmap_ring *ring;

		for (uint32_t i = prng_below(&r, 16); i > 0; i--)
			if (app_avail(app_ring(&a, NM_TX, 0)))
				put_number(&a, n++);
		app_txsync(&a, 0);
		open_end(&b, "x}1", 16);
		for (int dir = 0; dir < NM_DIRS; dir++) {
			ring = app_ring(&b, dir, 0);
			for (uint32_t i = 0; i < 16; i++)
				if (prng_chance(&r, 40))
					ring->slot[i] = (struct netmap_slot){
						.buf_idx = prng_edge32(&r, 100),
						.len = (uint16_t)prng_edge32(&r, BUF_SIZE),
						.flags = (uint16_t)(prng_next(&r) & ~NS_MOREFRAG)};
			ring->head = prng_edge32(&r, 16);
			ring->cur = prng_edge32(&r, 16);
		}
		app_close(&b);
		open_end(&b, "x}1", 16);
		check_buffers(&a, &b);
		region_check(a.client.port->region);
		app_rxsync(&b, 0);
		ring = app_ring(&b, NM_RX, 0);
		for (uint32_t i = ring->head; i != ring->tail; i = (i + 1) % 16)
			assert_in_range(ring->slot[i].len, 0, BUF_SIZE);
		ring->head = ring->cur = ring->tail;
		app_rxsync(&b, 0);
		check_conservation(&a, &b);
		app_close(&b);
	}
	app_close(&a);
	app_close(&keep);
}

/* ---- who is there ----------------------------------------------------------------------- */

static void many_pipes_of_one_parent(void **state)
{
	enum { PIPES = 100 };
	static struct app a[PIPES], b[PIPES];
	struct app parent;
	char name[32];

	open_end(&parent, "vale0:p", 16);
	for (uint32_t i = 0; i < PIPES; i++) {
		snprintf(name, sizeof(name), "vale0:p%c%u", i % 2 ? '{' : '}', i);
		open_end(&a[i], name, 16);
		snprintf(name, sizeof(name), "vale0:p%c%u", i % 2 ? '}' : '{', i);
		open_end(&b[i], name, 16);
		assert_ptr_equal(a[i].client.port->parent, parent.client.port);
	}
	assert_int_equal(parent.client.port->pins, PIPES);
	app_close(&parent); /* it stays for its pipes */
	for (uint32_t i = 0; i < PIPES; i++) {
		put_number(&a[i], i);
		app_txsync(&a[i], 0);
	}
	for (uint32_t i = 0; i < PIPES; i++) {
		app_rxsync(&b[i], 0);
		take_number(&b[i], i);
		app_close(i % 3 ? &a[i] : &b[i]);
	}
	assert_non_null(core.switches);
	for (uint32_t i = 0; i < PIPES; i++)
		app_close(i % 3 ? &b[i] : &a[i]);
}

static struct nm_port *find(const char *name)
{
	struct nm_port *port;

	nm_core_lock(&core);
	port = nm_port_find_locked(&core, name);
	nm_core_unlock(&core);
	return port;
}

/* A parent that isn't there is neither in the way of a port of this name, nor to be opened. */
static void placeholder(void **state)
{
	struct nm_bind all = {.mode = NR_REG_ALL_NIC};
	struct nm_client client;
	struct app a, b, c;

	open_end(&a, "eth7{1", 16);
	open_end(&b, "eth7}2", 16);
	open_end(&c, "eth8}2", 16);
	assert_ptr_equal(a.client.port->parent, b.client.port->parent);
	assert_ptr_not_equal(a.client.port->parent, c.client.port->parent);
	assert_null(find("eth7"));
	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "eth7", &all), -ENXIO);
	assert_non_null(find("eth7{1"));
	assert_non_null(find("eth7}1")); /* both ends are there */
	app_close(&a);
	assert_null(find("eth7{1"));
	assert_int_equal(core_count_ports(&core), 6); /* two pairs, two parents */
	app_close(&b);
	app_close(&c);
}

/* Older spelling; names; modes. */
static void names_and_modes(void **state)
{
	struct nm_bind bind = {.mode = NR_REG_PIPE_MASTER, .ringid = 12};
	struct nm_client a, b;
	char name[NETMAP_REQ_IFNAMSIZ + 1];

	nm_client_init(&a, &core);
	nm_client_init(&b, &core);
	assert_int_equal(nm_client_bind(&a, "x", &bind), 0);
	assert_string_equal(a.port->name, "x{12");
	assert_int_equal(a.port->num_slots[NM_TX], NM_SLOTS_DEFAULT);
	bind.mode = NR_REG_PIPE_SLAVE;
	assert_int_equal(nm_client_bind(&b, "x", &bind), 0);
	assert_string_equal(b.port->name, "x}12");
	assert_ptr_equal(a.port->peer, b.port);
	nm_client_unbind(&b);
	assert_int_equal(nm_client_bind(&b, "x{1", &bind), -EINVAL);
	bind.mode = NR_REG_SW;
	assert_int_equal(nm_client_bind(&b, "x}12", &bind), -EINVAL);
	bind.mode = NR_REG_ONE_NIC;
	assert_int_equal(nm_client_bind(&b, "x}12", &bind), -EINVAL);
	bind.ringid = 0;
	bind.flags = NR_EXCLUSIVE;
	assert_int_equal(nm_client_bind(&b, "x}12", &bind), 0);
	bind.flags = 0;
	nm_client_unbind(&a);
	assert_int_equal(nm_client_bind(&a, "x}12", &bind), -EBUSY);
	nm_client_unbind(&b);
	memset(name, 'n', sizeof(name));
	memcpy(name + NETMAP_REQ_IFNAMSIZ - 3, "{1", 3); /* 63 bytes: the longest */
	assert_int_equal(nm_client_bind(&a, name, &bind), 0);
	nm_client_unbind(&a);
	name[NETMAP_REQ_IFNAMSIZ - 3] = '\0'; /* 61 bytes and {65535 */
	bind.mode = NR_REG_PIPE_MASTER;
	bind.ringid = 65535;
	assert_int_equal(nm_client_bind(&a, name, &bind), -EINVAL);
	bind = (struct nm_bind){.mode = NR_REG_ALL_NIC, .num_rings = {NM_RINGS_MAX + 1, 1}};
	assert_int_equal(nm_client_bind(&a, "x{1", &bind), -EINVAL);
	bind = (struct nm_bind){.mode = NR_REG_ALL_NIC, .num_slots = {1, 16}};
	assert_int_equal(nm_client_bind(&a, "vale5:x{1", &bind), -EINVAL);
	bind = (struct nm_bind){.mode = NR_REG_ALL_NIC, .num_rings = {2, 3}, .num_slots = {8, 16}};
	assert_int_equal(nm_client_bind(&a, "x{1", &bind), 0);
	bind.num_rings[NM_TX] = 64; /* it is there already: not asked */
	assert_int_equal(nm_client_bind(&b, "x}1", &bind), 0);
	assert_int_equal(b.count[NM_TX], 3);
	assert_int_equal(b.count[NM_RX], 2);
	assert_int_equal(b.port->num_slots[NM_RX], 8);
	nm_client_unbind(&a);
	nm_client_unbind(&b);
	/* As many slots as the parent has. */
	bind = (struct nm_bind){.mode = NR_REG_ALL_NIC, .num_slots = {64, 32}};
	assert_int_equal(nm_client_bind(&a, "vale5:x", &bind), 0);
	bind.num_slots[NM_RX] = 0;
	bind.num_slots[NM_TX] = 8;
	assert_int_equal(nm_client_bind(&b, "vale5:x{1", &bind), 0);
	assert_int_equal(b.port->num_slots[NM_TX], 8);
	assert_int_equal(b.port->num_slots[NM_RX], 32);
	nm_client_unbind(&a);
	nm_client_unbind(&b);
}

static void header_length_of_both(void **state)
{
	struct nm_bind all = {.mode = NR_REG_ALL_NIC};
	struct nm_client client;
	struct app a;

	app_open(&core, &a, &(struct app_config){.name = "x{1", .hdr_len = 12});
	assert_int_equal(a.client.port->peer->hdr_len, 12);
	nm_client_init(&client, &core);
	assert_int_equal(nm_client_bind(&client, "x}1", &all), -EIO);
	all.flags = NR_ACCEPT_VNET_HDR;
	assert_int_equal(nm_client_bind(&client, "x}1", &all), 0);
	nm_core_lock(&core);
	assert_int_equal(nm_port_set_hdr_len_locked(a.client.port, 0), -EBUSY);
	assert_int_equal(nm_port_set_hdr_len_locked(a.client.port, 12), 0);
	nm_core_unlock(&core);
	nm_client_unbind(&client);
	app_close(&a);
}

static void without_memory(void **state)
{
	const struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC, .num_slots = {16, 16}, .extra_bufs = 3};
	static const char *const names[] = {"x{1", "vale0:x}1"};

	for (size_t i = 0; i < 2; i++) {
		struct nm_client client;
		uint32_t failures = 0;

		nm_client_init(&client, &core);
		for (uint32_t nth = 1;; nth++) {
			int error;

			fail_allocation(nth);
			error = nm_client_bind(&client, names[i], &bind);
			if (!allocation_failed())
				break;
			assert_int_equal(error, -ENOMEM);
			assert_int_not_equal(client.err.text[0], '\0');
			failures++;
			core_check_empty(&core);
		}
		assert_true(failures >= 10);
		for (uint32_t nth = 1; nth < 4; nth++) {
			fail_allocation(nth);
			nm_client_unbind(&client);
			fail_allocation(0);
			core_check_empty(&core);
			assert_int_equal(nm_client_bind(&client, names[i], &bind), 0);
		}
		nm_client_unbind(&client);
	}
}

/* ---- reset of one end --------------------------------------------------------------------- */

/* A guest is reset while the other end goes on: that has its packets and buffers. */
static void one_end_is_reset(void **state)
{
	struct prng r = prng_new(6);
	struct app a, b;

	open_end(&a, "x{1", 16);
	for (int round = 0; round < 300; round++) {
		bool peer_open = prng_chance(&r, 70);
		uint32_t sent = 0;

		if (peer_open)
			open_end(&b, "x}1", 16);
		for (uint32_t i = prng_below(&r, 40); i > 0; i--) {
			if (prng_chance(&r, 60) && app_avail(app_ring(&a, NM_TX, 0)))
				put_number(&a, sent++);
			if (peer_open && app_avail(app_ring(&b, NM_TX, 0)))
				put_number(&b, i);
			app_txsync(&a, 0);
			if (peer_open)
				app_txsync(&b, 0);
			app_rxsync(&a, 0);
		}
		for (uint32_t i = 0; i < 16; i++)
			if (prng_chance(&r, 30))
				app_ring(&a, NM_RX, 0)->slot[i].buf_idx = prng_edge32(&r, 100);
		nm_client_reset_rings(&a.client);
		assert_int_equal(app_private(&a, NM_TX, 0)->head, 0);
		/* What the other end has not given back is not free. */
		assert_int_equal(app_avail(app_ring(&a, NM_TX, 0)), 15 - sent);
		if (!peer_open)
			open_end(&b, "x}1", 16);
		check_buffers(&a, &b);
		app_rxsync(&b, 0);
		for (uint32_t i = 0; i < sent; i++)
			take_number(&b, i);
		app_ring(&b, NM_RX, 0)->head = app_ring(&b, NM_RX, 0)->cur =
			app_ring(&b, NM_RX, 0)->tail;
		app_rxsync(&b, 0);
		/* It works again. */
		assert_int_equal(tx_free(&a), 15);
		put_number(&a, 77);
		app_txsync(&a, 0);
		app_rxsync(&b, 0);
		take_number(&b, 77);
		app_rxsync(&b, 0);
		app_rxsync(&a, 0);
		app_ring(&a, NM_RX, 0)->head = app_ring(&a, NM_RX, 0)->cur =
			app_ring(&a, NM_RX, 0)->tail;
		app_rxsync(&a, 0);
		app_close(&b);
	}
	app_close(&a);
}

/* ---- served through a CSB ------------------------------------------------------------------ */

static uint32_t wakes;

static void wake(void *arg)
{
	wakes++;
}

/* A full tx ring: the step that serves it has nothing to do until slots are given back, and then tells
 * what has become free; somebody who sleeps on it is woken. */
static void served(void **state)
{
	struct nm_csb_atok atok __attribute__((aligned(64))) = {0};
	struct nm_csb_ktoa ktoa __attribute__((aligned(64))) = {0};
	struct nm_csb_server s = {0};
	struct app a, b;

	open_end(&a, "x{1", 8);
	open_end(&b, "x}1", 8);
	os_wakeup_set(&app_private(&a, NM_TX, 0)->wakeup, wake, NULL);
	nm_csb_server_start(&s, app_private(&a, NM_TX, 0), &atok, &ktoa);
	assert_int_equal(nm_csb_server_step(&s), NM_CSB_SERVER_IDLE);
	atok.head = atok.cur = 7;
	assert_int_equal(nm_csb_server_step(&s), NM_CSB_SERVER_WORK);
	assert_int_equal(ktoa.hwcur, 7);
	assert_int_equal(ktoa.hwtail, 7);
	for (int i = 0; i < 3; i++)
		assert_int_equal(nm_csb_server_step(&s), NM_CSB_SERVER_IDLE);
	assert_false(nm_csb_server_prepare_sleep(&s));
	assert_int_equal(ktoa.kern_need_kick, 1);
	wakes = 0;
	app_rxsync(&b, 0);
	assert_int_equal(wakes, 0); /* nothing was given back */
	app_ring(&b, NM_RX, 0)->head = app_ring(&b, NM_RX, 0)->cur = 3;
	app_rxsync(&b, 0);
	assert_int_equal(wakes, 1);
	assert_true(nm_csb_server_prepare_sleep(&s)); /* before it could sleep */
	nm_csb_server_awake(&s);
	atok.appl_need_kick = 1;
	assert_int_equal(nm_csb_server_step(&s), NM_CSB_SERVER_WORK | NM_CSB_SERVER_INTERRUPT);
	assert_int_equal(ktoa.hwcur, 7);
	assert_int_equal(ktoa.hwtail, 2);
	assert_int_equal(nm_csb_server_step(&s), NM_CSB_SERVER_IDLE);
	app_close(&a);
	app_close(&b);
}

/* The serving side of an rx ring asks for kicks while there is something to give back, however empty the
 * ring is. */
static void served_receiver(void **state)
{
	struct nm_csb_atok atok __attribute__((aligned(64))) = {0};
	struct nm_csb_ktoa ktoa __attribute__((aligned(64))) = {0};
	struct nm_csb_server s = {0};
	uint8_t bytes[100] = {0};
	struct app a, b;

	open_end(&a, "x{1", 64);
	open_end(&b, "x}1", 64);
	os_wakeup_set(&app_private(&b, NM_RX, 0)->wakeup, wake, NULL);
	nm_csb_server_start(&s, app_private(&b, NM_RX, 0), &atok, &ktoa);
	assert_false(nm_csb_server_prepare_sleep(&s));
	assert_int_equal(ktoa.kern_need_kick, 0); /* nothing is there */
	wakes = 0;
	assert_true(app_put(&a, 0, bytes, 30, 3));
	app_txsync(&a, 0);
	assert_int_equal(wakes, 1);
	assert_true(nm_csb_server_prepare_sleep(&s)); /* it has not been told */
	nm_csb_server_awake(&s);
	nm_csb_server_step(&s);
	assert_int_equal(ktoa.hwtail, 3);
	assert_false(nm_csb_server_prepare_sleep(&s));
	assert_int_equal(ktoa.kern_need_kick, 1);
	atok.head = atok.cur = 2;
	nm_csb_server_awake(&s);
	assert_int_equal(tx_free(&a), 60);
	assert_true(nm_csb_server_step(&s) & NM_CSB_SERVER_WORK);
	assert_int_equal(tx_free(&a), 62);
	app_close(&a);
	app_close(&b);
}

/* ---- what is free -------------------------------------------------------------------------- */

/* 10 sent, 7 given back: all are free but 3. Around the ring, with packets of several slots, and with some that
 * are dropped: those are nobody's to give back. */
static void free_is_what_was_given_back(void **state)
{
	struct prng r = prng_new(7);
	struct app a, b;
	uint32_t out = 0; /* slots of b that were filled and not given back */

	open_end(&a, "x{1", 32);
	open_end(&b, "x}1", 32);
	for (int round = 0; round < 2000; round++) {
		const struct netmap_ring *tx = app_ring(&a, NM_TX, 0);
		struct netmap_ring *ring = app_ring(&b, NM_RX, 0);
		uint32_t slots = prng_range(&r, 1, 4), back;
		uint8_t bytes[100] = {0};

		while (prng_chance(&r, 80) && app_put(&a, 0, bytes, slots * 10, slots))
			out += slots;
		if (prng_chance(&r, 20) && app_avail(app_ring(&a, NM_TX, 0)) > 0)
			assert_true(
				app_put_slot(&a, 0, tx->slot[tx->head].buf_idx, BUF_SIZE + 1, 0));
		assert_int_equal(tx_free(&a), 31 - out);
		back = prng_below(&r, out + 1);
		app_rxsync(&b, 0);
		assert_int_equal(app_avail(ring), out);
		ring->head = ring->cur = (ring->head + back) % 32;
		assert_int_equal(tx_free(&a), 31 - out);
		app_rxsync(&b, 0);
		out -= back;
		assert_int_equal(tx_free(&a), 31 - out);
	}
	check_conservation(&a, &b);
	app_close(&a);
	app_close(&b);
}

/* A guest with the receiving end is reset: all is free, and who waits for it is woken. */
static void the_receiver_is_reset(void **state)
{
	struct app a, b;

	open_end(&a, "x{1", 16);
	open_end(&b, "x}1", 16);
	for (int round = 0; round < 40; round++) {
		for (uint32_t i = 0; i < 10; i++)
			put_number(&a, i);
		assert_int_equal(tx_free(&a), 5);
		app_rxsync(&b, 0);
		for (uint32_t i = 0; i < 4; i++)
			take_number(&b, i);
		if (round & 1)
			app_rxsync(&b, 0);
		os_wakeup_set(&app_private(&a, NM_TX, 0)->wakeup, wake, NULL);
		wakes = 0;
		nm_client_reset_rings(&b.client);
		assert_int_not_equal(wakes, 0);
		assert_int_equal(tx_free(&a), 15);
		app_rxsync(&b, 0);
		assert_int_equal(app_avail(app_ring(&b, NM_RX, 0)), 0);
		put_number(&a, 77);
		assert_int_equal(tx_free(&a), 14);
		app_rxsync(&b, 0);
		take_number(&b, 77);
		app_rxsync(&b, 0);
		assert_int_equal(tx_free(&a), 15);
	}
	app_close(&a);
	app_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(exchanged_not_copied, begin, end),
		cmocka_unit_test_setup_teardown(nothing_is_lost, begin, end),
		cmocka_unit_test_setup_teardown(packets_wait, begin, end),
		cmocka_unit_test_setup_teardown(half_a_packet, begin, end),
		cmocka_unit_test_setup_teardown(scribbled_slots, begin, end),
		cmocka_unit_test_setup_teardown(many_pipes_of_one_parent, begin, end),
		cmocka_unit_test_setup_teardown(placeholder, begin, end),
		cmocka_unit_test_setup_teardown(names_and_modes, begin, end),
		cmocka_unit_test_setup_teardown(header_length_of_both, begin, end),
		cmocka_unit_test_setup_teardown(without_memory, begin, end),
		cmocka_unit_test_setup_teardown(one_end_is_reset, begin, end),
		cmocka_unit_test_setup_teardown(served, begin, end),
		cmocka_unit_test_setup_teardown(served_receiver, begin, end),
		cmocka_unit_test_setup_teardown(free_is_what_was_given_back, begin, end),
		cmocka_unit_test_setup_teardown(the_receiver_is_reset, begin, end),
	};

	test_seed();
	return cmocka_run_group_tests_name("pipe", tests, NULL, NULL);
}
