/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VALE switch under several threads: senders at once, ports that come and go meanwhile, and
 * neighbours that rewrite their slots and buffers while they are looked at.
 *
 * Also for ThreadSanitizer (see meson.build); the test with hostile neighbours is left out there,
 * for it consists of races.
 */
#include "os_user.h"
#include "vale.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>

#include "fixture.h"

enum { SENDERS = 3, PACKETS = 20000, FRAME = 60, RECEIVER = 200 };
enum { REGION = 1 << 20, GUARD = 1 << 16 }; /* bytes */

static bool stop; /* atomic */

static int begin(void **state)
{
	OS_STORE(&stop, false);
	return core_begin(state);
}

static void start(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
	assert_int_equal(pthread_create(thread, NULL, fn, arg), 0);
}

/* ---- many senders, one receiver ---------------------------------------------------------------- */

struct sender {
	pthread_t thread;
	struct app app;
	uint32_t number;
	uint32_t errors;
};

/* Numbered packets, unicast and broadcast mixed, in batches of all sizes. */
static void *send_packets(void *arg)
{
	struct sender *s = arg;
	struct prng r = prng_new(10 + s->number);
	uint8_t frame[FRAME];
	uint32_t seq = 0;

	while (seq < PACKETS) {
		uint32_t batch = prng_range(&r, 1, 100);

		for (; batch > 0 && seq < PACKETS; batch--, seq++) {
			uint32_t dst = prng_chance(&r, 30) ? NM_TEST_BROADCAST : RECEIVER;

			make_frame(frame, FRAME, 0, dst, s->number, &r);
			memcpy(frame + 16, &s->number, 4);
			memcpy(frame + 20, &seq, 4);
			if (!app_put(&s->app, 0, frame, FRAME, prng_chance(&r, 10) ? 3 : 1))
				break;
		}
		s->errors += nm_ring_sync_shared(app_private(&s->app, NM_TX, 0)) != 0;
		if (prng_chance(&r, 20))
			sched_yield();
	}
	return NULL;
}

struct receiver {
	pthread_t thread;
	struct app app;
	uint32_t next[SENDERS], received[SENDERS];
	uint32_t errors;
};

/* Not with app_take(): assertions are for the main thread. */
static void receive_slot(struct receiver *rec, const struct netmap_ring *ring, uint32_t at)
{
	const struct netmap_slot *slot = &ring->slot[at];
	const char *buf = app_buf(ring, slot->buf_idx);
	uint32_t number, seq;

	memcpy(&number, buf + 16, 4);
	memcpy(&seq, buf + 20, 4);
	if (slot->len != FRAME || number >= SENDERS || seq < rec->next[number] || seq >= PACKETS) {
		rec->errors++;
		return;
	}
	rec->next[number] = seq + 1;
	rec->received[number]++;
}

static void *receive_packets(void *arg)
{
	struct receiver *rec = arg;
	struct netmap_ring *ring = app_ring(&rec->app, NM_RX, 0);
	bool last;

	do {
		last = OS_LOAD_ACQUIRE(&stop); /* then one more look: it was set after the last */
		rec->errors += nm_ring_sync_shared(app_private(&rec->app, NM_RX, 0)) != 0;
		if (ring->head == ring->tail)
			sched_yield();
		while (ring->head != ring->tail) {
			receive_slot(rec, ring, ring->head);
			ring->head = ring->cur = (ring->head + 1) % ring->num_slots;
		}
	} while (!last);
	return NULL;
}

static void close_all(struct sender *senders, struct receiver *receiver)
{
	for (uint32_t i = 0; i < SENDERS; i++)
		app_close(&senders[i].app);
	app_close(&receiver->app);
}

static void open_all(struct sender *senders, struct receiver *receiver)
{
	static const uint32_t sizes[SENDERS] = {2048, 64, 2048};
	struct prng r = prng_new(9);
	uint8_t frame[FRAME];

	*receiver = (struct receiver){0};
	app_open(&core, &receiver->app, &(struct app_config){"vale0:rx", 2048, 256});
	for (uint32_t i = 0; i < SENDERS; i++) {
		char name[32];

		senders[i] = (struct sender){.number = i};
		snprintf(name, sizeof(name), "vale0:%u", i);
		app_open(&core, &senders[i].app,
			&(struct app_config){name, sizes[i], 128, .flags = NR_TX_RINGS_ONLY});
	}
	make_frame(frame, FRAME, 0, NM_TEST_BROADCAST, RECEIVER, &r);
	assert_true(app_put(&receiver->app, 0, frame, FRAME, 0));
	app_txsync(&receiver->app, 0);
	assert_int_equal(app_private(&receiver->app, NM_TX, 0)->stats.copies, SENDERS);
}

/* Nothing is lost but what is counted, nothing comes twice or out of order. */
static void many_senders(void **state)
{
	static struct sender senders[SENDERS];
	static struct receiver receiver;
	struct totals totals = {0};

	open_all(senders, &receiver);
	start(&receiver.thread, receive_packets, &receiver);
	for (uint32_t i = 0; i < SENDERS; i++)
		start(&senders[i].thread, send_packets, &senders[i]);
	for (uint32_t i = 0; i < SENDERS; i++)
		pthread_join(senders[i].thread, NULL);
	OS_STORE_RELEASE(&stop, true);
	pthread_join(receiver.thread, NULL);

	assert_int_equal(receiver.errors, 0);
	for (uint32_t i = 0; i < SENDERS; i++) {
		const struct nm_ring_stats *tx = &app_private(&senders[i].app, NM_TX, 0)->stats;

		assert_int_equal(senders[i].errors, 0);
		assert_int_equal(tx->packets, PACKETS);
		assert_int_equal(receiver.received[i] + tx->drops[NM_DROP_RX_FULL], PACKETS);
		totals_add(&totals, &senders[i].app);
	}
	totals_add(&totals, &receiver.app);
	totals_check(&totals, false);
	close_all(senders, &receiver);
}

/* The same while ports of the switch are made, change their header, and end. */
static void ports_come_and_go(void **state)
{
	static struct sender senders[SENDERS];
	static struct receiver receiver;
	struct app app;

	open_all(senders, &receiver);
	start(&receiver.thread, receive_packets, &receiver);
	for (uint32_t i = 0; i < SENDERS; i++)
		start(&senders[i].thread, send_packets, &senders[i]);
	for (uint32_t i = 0; i < 200; i++) {
		app_open(&core, &app,
			&(struct app_config){
				"vale0:guest", i % 2 ? 64 : 2048, 16, .hdr_len = i % 3 ? 12 : 0});
		for (uint32_t k = 0; k < 3; k++) {
			app_rxsync(&app, 0);
			sched_yield();
		}
		app_close(&app);
	}
	for (uint32_t i = 0; i < SENDERS; i++)
		pthread_join(senders[i].thread, NULL);
	OS_STORE_RELEASE(&stop, true);
	pthread_join(receiver.thread, NULL);
	assert_int_equal(receiver.errors, 0);
	for (uint32_t i = 0; i < SENDERS; i++)
		assert_int_equal(senders[i].errors, 0);
	close_all(senders, &receiver);
}

/* ---- hostile neighbours --------------------------------------------------------------------------- */

struct vandal {
	pthread_t thread;
	const struct app *app;
	enum nm_dir dir;
	uint64_t stream, writes;
};

static uint16_t any_length(struct prng *r)
{
	return (uint16_t)(prng_chance(r, 80) ? prng_below(r, 300) : prng_next(r));
}

/* Every now and then for a while, so that hardly a packet ends. */
static uint16_t any_flags(const struct vandal *v, struct prng *r)
{
	if (v->writes >> 12 & 1)
		return NS_MOREFRAG;
	if (prng_chance(r, 50))
		return 0;
	return (uint16_t)(prng_chance(r, 80) ? NS_MOREFRAG : prng_next(r));
}

/* A TSO, USO or UFO packet as it may pass, behind a virtio-net header of 12 bytes: 8 bytes at a
 * time, so that what is there can be half of one and half of another. */
static void ask_for_offload(struct prng *r, char *buf)
{
	static const uint8_t types[] = {1, 3, 4, 5, 0x81};
	uint8_t bytes[80] = {1, types[prng_below(r, 5)], 0, 0, (uint8_t)prng_range(r, 1, 200), 0,
		34, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45};
	bool udp = bytes[1] == 3 || bytes[1] == 5, v6 = bytes[1] == 4;

	if (v6) {
		bytes[6] = 54;
		bytes[24] = 0x86;
		bytes[25] = 0xdd;
		bytes[26] = 0x60;
		bytes[32] = 6;
		bytes[78] = 0x50;
	} else {
		bytes[8] = udp ? 6 : 16;
		bytes[35] = udp ? 17 : 6;
		bytes[58] = 0x50;
	}
	for (uint32_t i = 0; i < sizeof(bytes); i += 8) {
		uint64_t word;

		memcpy(&word, bytes + i, 8);
		OS_STORE((uint64_t *)(void *)(buf + i), word);
	}
}

/* Mostly what may pass, so that packets get far before they turn bad. */
static void vandalise(struct vandal *v, struct prng *r, struct netmap_ring *ring, uint32_t slots,
	uint32_t bufs, char *base, uint32_t size)
{
	struct netmap_slot *slot = &ring->slot[prng_below(r, slots)];
	uint32_t index = prng_below(r, 10) ? 2 + prng_below(r, bufs - 2) : prng_edge32(r, bufs);

	v->writes++;
	switch (prng_below(r, 5)) {
	case 0:
		OS_STORE(&slot->buf_idx, index);
		break;
	case 1:
		OS_STORE(&slot->len, any_length(r));
		break;
	case 2:
		OS_STORE(&slot->flags, any_flags(v, r));
		break;
	case 3: /* the first bytes of a packet: virtio-net header, addresses, other headers */
		base += (uint64_t)(2 + prng_below(r, bufs - 2)) * size;
		if (prng_chance(r, 30))
			ask_for_offload(r, base);
		else
			OS_STORE((uint64_t *)(void *)(base + 8 * (prng_below(r, 10) % (size / 8))),
				prng_chance(r, 50) ? 0 : prng_next(r));
		break;
	default: /* what is for the application to read */
		switch (prng_below(r, 5)) {
		case 0:
			OS_STORE(&ring->head, prng_edge32(r, slots));
			break;
		case 1:
			OS_STORE(&ring->tail, prng_edge32(r, slots));
			break;
		case 2:
			OS_STORE((uint32_t *)(uintptr_t)&ring->num_slots, prng_edge32(r, slots));
			break;
		case 3:
			OS_STORE((int64_t *)(uintptr_t)&ring->buf_ofs,
				(int64_t)prng_edge64(r, 1 << 20));
			break;
		default:
			OS_STORE((uint32_t *)(uintptr_t)&ring->nr_buf_size, prng_edge32(r, 2048));
		}
	}
}

static void *run_vandal(void *arg)
{
	struct vandal *v = arg;
	const struct nm_region *region = v->app->region; /* as it is known to a client */
	struct netmap_ring *ring = app_ring(v->app, v->dir, 0);
	struct prng r = prng_new(v->stream);

	while (!OS_LOAD(&stop))
		vandalise(v, &r, ring, v->app->slots, region->pool[NM_POOL_BUF].count,
			nm_region_buf(region, 0), region->pool[NM_POOL_BUF].size);
	return NULL;
}

/* One honest receiver among them: what must not change in its region. */
struct witness {
	struct app app;
	char before[64 * 64]; /* its tx buffers: nobody has to write there */
};

static void witness_open(struct witness *w, struct prng *r)
{
	struct netmap_ring *ring;

	app_open(&core, &w->app, &(struct app_config){"vale0:witness", 64, 64});
	ring = app_ring(&w->app, NM_TX, 0);
	prng_fill(r, w->before, sizeof(w->before));
	memcpy(app_buf(ring, 2), w->before, sizeof(w->before));
}

static void witness_check(struct witness *w)
{
	static char got[65536 * 2];

	while (app_take(&w->app, 0, got, sizeof(got)) >= 0)
		;
	app_rxsync(&w->app, 0);
	assert_memory_equal(app_buf(app_ring(&w->app, NM_TX, 0), 2), w->before, sizeof(w->before));
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(app_ring(&w->app, NM_RX, 0)->slot[i].buf_idx, 2 + 64 + i);
}

/*
 * A sender whose buffers reach to the very end of its region, with nothing behind: what reads past
 * its last buffer faults. The region is mapped once more at a place (returned) that has a guard.
 */
static char *open_to_the_end(struct app *app, uint32_t slots)
{
	const struct nm_region_params params = {.count = {1, 2, 504}, .size = {4096, 6144, 2048}};
	const struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC, .flags = NR_ACCEPT_VNET_HDR, .num_slots = {slots, slots}};
	char *place = mmap(NULL, REGION + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct nm_error err;

	*app = (struct app){.slots = slots, .rings = 1, .buf_size = 2048, .hdr_len = 12};
	app->region = nm_region_create(&core, &params, 0, &err);
	assert_non_null(app->region);
	assert_true(place != MAP_FAILED);
	assert_ptr_equal(mmap(place, REGION, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
				 os_mem_fd(app->region->mem), 0),
		place);
	app->region->base = place;
	assert_ptr_equal(nm_region_buf(app->region, 504), place + REGION);
	nm_client_init(&app->client, &core);
	app->client.own_region = app->region;
	assert_int_equal(nm_client_bind(&app->client, "vale0:tx", &bind), 0);
	app->nifp = (void *)(place + app->client.nifp_offset);
	nm_core_lock(&core);
	assert_int_equal(nm_port_set_hdr_len_locked(app->client.port, 12), 0);
	nm_core_unlock(&core);
	return place;
}

static void hostile_neighbours(void **state)
{
	enum { SYNCS = 15000, SLOTS = 250 };
	struct app tx, rx, plain;
	struct vandal vandals[] = {
		{.app = &tx, .dir = NM_TX, .stream = 20}, {.app = &rx, .dir = NM_RX, .stream = 21}};
	struct prng r = prng_new(22);
	struct totals totals = {0};
	struct witness witness;
	uint32_t head = 0;
	char *place;

#ifdef __SANITIZE_THREAD__
	skip();
#endif
	place = open_to_the_end(&tx, SLOTS);
	app_open(&core, &rx, &(struct app_config){"vale0:rx", 128, 64, .hdr_len = 0});
	app_open(&core, &plain, &(struct app_config){"vale0:plain", 2048, 64, .hdr_len = 12});
	witness_open(&witness, &r);
	for (int i = 0; i < 2; i++)
		start(&vandals[i].thread, run_vandal, &vandals[i]);
	for (uint32_t i = 0; i < SYNCS; i++) {
		struct nm_ring *ring = app_private(&tx, NM_TX, 0), *back;
		uint32_t room = nm_ring_distance(ring->head, ring->tail, SLOTS);

		/* The main thread plays the CSB: these positions are not in the region. */
		head = nm_ring_advance(ring->head, prng_below(&r, room + 1), SLOTS);
		assert_int_equal(nm_ring_sync(ring, head, head), 0);
		assert_true(nm_ring_distance(ring->hwcur, ring->head, SLOTS) <= NETMAP_MAX_FRAGS);
		back = app_private(&rx, NM_RX, 0);
		head = prng_chance(&r, 90) ? back->tail : back->head;
		assert_int_equal(nm_ring_sync(back, head, head), 0);
		back = app_private(&plain, NM_RX, 0);
		assert_int_equal(nm_ring_sync(back, back->tail, back->tail), 0);
		if (i % 4 == 0)
			app_rxsync(&witness.app, 0);
		if (i % 4 == 0)
			witness_check(&witness);
	}
	OS_STORE(&stop, true);
	for (int i = 0; i < 2; i++) {
		pthread_join(vandals[i].thread, NULL);
		assert_true(vandals[i].writes > 0);
	}
	totals_add(&totals, &tx);
	totals_add(&totals, &rx);
	totals_add(&totals, &plain);
	totals_add(&totals, &witness.app);
	totals_check(&totals, false);
	assert_true(totals.rx_packets > 1000);
	fprintf(stderr,
		"# %llu delivered of %llu; bad buffer %llu, bad length %llu, fragments %llu, offload %llu, bad header %llu\n",
		(unsigned long long)totals.rx_packets, (unsigned long long)totals.tx_packets,
		(unsigned long long)totals.tx_drops[NM_DROP_BAD_BUFFER],
		(unsigned long long)totals.tx_drops[NM_DROP_BAD_LENGTH],
		(unsigned long long)totals.tx_drops[NM_DROP_FRAGMENTS],
		(unsigned long long)totals.tx_drops[NM_DROP_OFFLOAD],
		(unsigned long long)totals.tx_drops[NM_DROP_BAD_HEADER]);
	region_check(tx.region);
	region_check(rx.region);
	app_close(&tx);
	munmap(place, REGION + GUARD);
	app_close(&rx);
	app_close(&plain);
	app_close(&witness.app);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(many_senders, begin, core_end),
		cmocka_unit_test_setup_teardown(ports_come_and_go, begin, core_end),
		cmocka_unit_test_setup_teardown(hostile_neighbours, begin, core_end),
	};

	test_seed();
	return cmocka_run_group_tests_name("vale_threads", tests, NULL, NULL);
}
