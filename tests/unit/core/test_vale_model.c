/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random traffic among up to eight ports of two switches, against a model switch that handles one
 * packet at a time. Ports differ in buffer size, ring size, number of rings and header length;
 * they come and go. After every step each counter of each ring is what the model says, and every
 * packet that is received is the next one the model has for that ring, byte for byte. What
 * offload.h makes of a packet is taken from there (test_offload checks it); that it arrives as a whole
 * or not at all, and is counted, is checked here.
 *
 * One thread: concurrency is in test_vale_threads.c.
 */
#include "offload.h"
#include "vale.h"

#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"

enum {
	PORTS = 8,
	SWITCHES = 2,
	STATIONS = 12, /* addresses in use; more than ports, so that some are unknown */
	RINGS = 3,
	MOST_SLOTS = 256,
	STEPS = 20000,
};

/* A slot as the application wrote it. */
struct slot {
	uint8_t *bytes; /* NULL: it has no valid buffer */
	uint16_t len, flags;
	enum nm_drop cause; /* what is wrong with it; NM_DROPS: nothing */
};

struct packet {
	struct packet *next;
	uint32_t len, slots;
	uint8_t bytes[];
};

struct tx {
	struct slot pending[MOST_SLOTS]; /* put, and not yet taken by the switch */
	uint32_t count;
	bool dropping;
	uint64_t packets, copies, drops[NM_DROPS];
};

struct rx {
	struct packet *first, **last; /* delivered, not yet taken */
	uint32_t used, taken; /* slots not given back; those of them that the app is done with */
	uint64_t packets, bytes, drops[NM_DROPS];
};

struct port {
	bool open, deaf; /* deaf: only its tx rings are registered */
	uint32_t number; /* on its switch */
	uint32_t vale;
	uint32_t last_src;
	struct app app;
	struct tx tx[RINGS];
	struct rx rx[RINGS];
};

static struct prng r;
static struct port ports[PORTS];
static struct port *where[SWITCHES][STATIONS]; /* as learnt */
static uint64_t delivered, dropped, cut;

/* ---- the model ------------------------------------------------------------------------------- */

static uint32_t station(const uint8_t *mac)
{
	return mac[0] & 1 ? NM_TEST_BROADCAST : (uint32_t)mac[4] << 8 | mac[5];
}

/* A packet of `count` slots, put together. */
struct joined {
	uint8_t bytes[64 * 65535];
	uint32_t len, explicitly;
	bool learn;
};

static void refuse(struct tx *tx, struct rx *rx, enum nm_drop cause)
{
	tx->drops[cause]++;
	if (rx)
		rx->drops[cause]++;
	dropped++;
}

static void enqueue(
	struct rx *rx, const struct nm_frame *frame, struct nm_cursor from, uint32_t slots)
{
	uint32_t len = frame->head_len + frame->len;
	struct packet *packet = calloc(1, sizeof(*packet) + len);
	struct nm_piece piece = {.buf = (char *)packet->bytes, .len = len};

	assert_non_null(packet);
	nm_frame_write(frame, from, &piece);
	packet->len = len;
	packet->slots = slots;
	*rx->last = packet;
	rx->last = &packet->next;
	rx->used += slots;
	rx->packets++;
	rx->bytes += len;
	delivered++;
}

static enum nm_drop check_room(
	const struct port *to, const struct rx *rx, uint32_t slots, uint32_t each)
{
	if (each > NETMAP_MAX_FRAGS)
		return NM_DROP_FRAGMENTS;
	if (slots > to->app.slots - 1)
		return NM_DROP_TOO_LONG;
	return slots > to->app.slots - 1 - rx->used ? NM_DROP_RX_FULL : NM_DROPS;
}

static void model_deliver(struct port *from, uint32_t ring, struct port *to, const struct joined *j)
{
	static struct nm_offload o;
	uint32_t size = to->app.buf_size > 65535 ? 65535 : to->app.buf_size;
	uint32_t from_hdr = from->app.hdr_len, to_hdr = to->app.hdr_len, each, last;
	struct nm_frag all = {.buf = (const char *)j->bytes + from_hdr, .len = j->len - from_hdr};
	struct rx *rx = &to->rx[ring % to->app.rings];
	struct tx *tx = &from->tx[ring];
	uint8_t hdr[12] = {0};
	struct nm_frame frame = {hdr, to_hdr, 0, all.len, false, 0, 0, 0};
	struct nm_vnet_hdr vnet;
	enum nm_drop cause = NM_DROPS;
	bool finish = from_hdr != 0 && to_hdr == 0 && ((j->bytes[0] & 1) || j->bytes[1]);

	tx->copies++;
	if (to->deaf)
		return refuse(tx, rx, NM_DROP_NO_RECEIVER);
	memcpy(hdr, j->bytes, from_hdr < to_hdr ? from_hdr : to_hdr);
	memcpy(&vnet, j->bytes, sizeof(vnet));
	o.segments = 1;
	if (finish)
		cause = nm_offload_plan(&o, &vnet, (struct nm_cursor){&all, 0}, all.len, 0);
	if (cause != NM_DROPS)
		return refuse(tx, rx, cause);
	each = ((finish ? nm_offload_longest(&o) : to_hdr + all.len) + size - 1) / size;
	last = finish ? (nm_offload_last(&o) + size - 1) / size : each;
	cause = check_room(to, rx, (o.segments - 1) * each + last, each);
	if (cause != NM_DROPS)
		return refuse(tx, rx, cause);
	for (uint32_t i = 0; i < o.segments; i++) {
		if (finish)
			nm_offload_segment(&o, i, &frame);
		enqueue(rx, &frame, (struct nm_cursor){&all, 0}, i + 1 < o.segments ? each : last);
	}
	tx->copies += o.segments - 1;
	cut += o.segments > 1;
}

static void model_forward(struct port *from, uint32_t ring, const struct joined *j)
{
	const uint8_t *eth = j->bytes + from->app.hdr_len;
	uint32_t dst = station(eth), src = station(eth + 6), others = 0;
	struct port *to = NULL;

	if (src != NM_TEST_BROADCAST && j->learn)
		where[from->vale][src] = from;
	if (j->explicitly) {
		for (struct port *p = ports; p < ports + PORTS; p++)
			if (p->open && p->vale == from->vale && p->number == j->explicitly)
				to = p;
		return to && to != from ? model_deliver(from, ring, to, j)
					: refuse(&from->tx[ring], NULL, NM_DROP_NO_RECEIVER);
	}
	to = dst == NM_TEST_BROADCAST ? NULL : where[from->vale][dst];
	if (to && to != from)
		return model_deliver(from, ring, to, j);
	for (struct port *p = ports; !to && p < ports + PORTS; p++) {
		if (!p->open || p->vale != from->vale || p == from)
			continue;
		model_deliver(from, ring, p, j);
		others++;
	}
	if (others == 0)
		refuse(&from->tx[ring], NULL, NM_DROP_NO_RECEIVER);
}

static void model_packet(struct port *from, uint32_t ring, const struct slot *slots, uint32_t count)
{
	static struct joined j;
	struct tx *tx = &from->tx[ring];
	enum nm_drop cause = NM_DROPS;

	tx->packets++;
	j.len = 0;
	j.learn = true;
	j.explicitly = slots[0].flags >> NS_PORT_SHIFT;
	for (uint32_t i = 0; i < count && cause == NM_DROPS; i++) {
		cause = i == NETMAP_MAX_FRAGS ? NM_DROP_FRAGMENTS : slots[i].cause;
		if (cause != NM_DROPS)
			break;
		memcpy(j.bytes + j.len, slots[i].bytes, slots[i].len);
		j.len += slots[i].len;
		if (slots[i].flags & NS_NO_LEARN)
			j.learn = false;
	}
	if (cause == NM_DROPS && j.len < from->app.hdr_len + 14)
		cause = NM_DROP_TOO_SHORT;
	if (cause != NM_DROPS)
		refuse(tx, NULL, cause);
	else
		model_forward(from, ring, &j);
}

static void forget_slots(struct tx *tx, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		free(tx->pending[i].bytes);
	tx->count -= count;
	memmove(tx->pending, tx->pending + count, tx->count * sizeof(tx->pending[0]));
}

static void model_txsync(struct port *from, uint32_t ring)
{
	struct tx *tx = &from->tx[ring];

	while (tx->count > 0) {
		uint32_t n = 0;
		bool ends = false;

		while (n < tx->count && !ends)
			ends = !(tx->pending[n++].flags & NS_MOREFRAG);
		if (tx->dropping) {
			tx->dropping = !ends;
		} else if (ends) {
			model_packet(from, ring, tx->pending, n);
		} else if (n > NETMAP_MAX_FRAGS || n >= from->app.slots - 1) {
			tx->packets++;
			refuse(tx, NULL, NM_DROP_FRAGMENTS);
			tx->dropping = true;
		} else {
			return; /* waits for its end */
		}
		forget_slots(tx, n);
	}
}

static void check_counters(const struct port *p)
{
	for (uint32_t i = 0; i < p->app.rings; i++) {
		const struct nm_ring *tx = app_private(&p->app, NM_TX, i);
		const struct nm_ring *rx = app_private(&p->app, NM_RX, i);

		assert_int_equal(tx->stats.packets, p->tx[i].packets);
		assert_int_equal(tx->stats.copies, p->tx[i].copies);
		assert_memory_equal(tx->stats.drops, p->tx[i].drops, sizeof(p->tx[i].drops));
		assert_int_equal(rx->stats.packets, p->rx[i].packets);
		assert_int_equal(rx->stats.bytes, p->rx[i].bytes);
		assert_memory_equal(rx->stats.drops, p->rx[i].drops, sizeof(p->rx[i].drops));
	}
}

/* ---- the traffic ------------------------------------------------------------------------------ */

static void open_port(struct port *p)
{
	static const uint32_t sizes[] = {64, 128, 2048, 2048, 9216, 65536};
	static const uint32_t headers[] = {0, 0, 10, 12};
	static const uint32_t slots[] = {4, 16, 64, MOST_SLOTS};
	char name[NETMAP_REQ_IFNAMSIZ];
	uint32_t index;

	*p = (struct port){.open = true, .vale = prng_below(&r, SWITCHES)};
	p->deaf = prng_chance(&r, 10);
	snprintf(name, sizeof(name), "vale%u:%u", p->vale, (unsigned)(p - ports));
	app_open(&core, &p->app,
		&(struct app_config){.name = name,
			.buf_size = sizes[prng_below(&r, 6)],
			.slots = slots[prng_below(&r, 4)],
			.rings = prng_range(&r, 1, RINGS),
			.hdr_len = headers[prng_below(&r, 4)],
			.flags = p->deaf ? NR_TX_RINGS_ONLY : 0});
	for (uint32_t i = 0; i < RINGS; i++)
		p->rx[i].last = &p->rx[i].first;
	nm_core_lock(&core);
	assert_int_equal(nm_vale_list_locked(&core, NULL, name, &index, &p->number), 0);
	nm_core_unlock(&core);
}

static void close_port(struct port *p)
{
	for (uint32_t i = 0; i < RINGS; i++) {
		forget_slots(&p->tx[i], p->tx[i].count);
		while (p->rx[i].first) {
			struct packet *packet = p->rx[i].first;

			p->rx[i].first = packet->next;
			free(packet);
		}
	}
	for (uint32_t s = 0; s < STATIONS; s++)
		if (where[p->vale][s] == p)
			where[p->vale][s] = NULL;
	app_close(&p->app);
	p->open = false;
}

/* A slot with something wrong, sometimes. */
static void spoil(const struct port *p, struct slot *slot, uint32_t *index, uint16_t *len)
{
	switch (prng_below(&r, 3)) {
	case 0:
		slot->cause = NM_DROP_BAD_BUFFER;
		*index = prng_chance(&r, 50) ? prng_below(&r, 2) : UINT32_MAX - prng_below(&r, 9);
		break;
	case 1:
		if (p->app.buf_size >= 65535)
			break;
		slot->cause = NM_DROP_BAD_LENGTH;
		*len = (uint16_t)prng_range(&r, p->app.buf_size + 1, 65535);
		break;
	default:
		slot->cause = NM_DROP_INDIRECT;
		slot->flags |= NS_INDIRECT;
	}
}

static void put_slot(struct port *p, uint32_t i, const uint8_t *bytes, uint16_t len, uint16_t flags)
{
	struct netmap_ring *ring = app_ring(&p->app, NM_TX, i);
	struct tx *tx = &p->tx[i];
	struct slot *slot = &tx->pending[tx->count];
	/* The buffer that the slot had at first, which another slot never has. */
	uint32_t index = NM_BUFS_RESERVED + i * p->app.slots + ring->head;

	*slot = (struct slot){.len = len, .flags = flags, .cause = NM_DROPS};
	if (prng_chance(&r, 1))
		spoil(p, slot, &index, &len);
	if (slot->cause == NM_DROPS) {
		slot->bytes = malloc(len + 1u);
		assert_non_null(slot->bytes);
		memcpy(slot->bytes, bytes, len);
		memcpy(app_buf(ring, index), bytes, len);
	}
	tx->count++;
	assert_true(app_put_slot(&p->app, i, index, len, slot->flags));
}

/* A frame that asks for TSO, and may have it. */
static void make_tso(uint8_t *hdr, uint32_t hdr_len, uint32_t len)
{
	const struct nm_vnet_hdr vnet = {
		.flags = NM_VNET_NEEDS_CSUM,
		.gso_type = NM_VNET_GSO_TCPV4,
		.gso_size = (uint16_t)prng_range(&r, 40, prng_chance(&r, 70) ? 150 : 1500),
		.csum_start = 34,
		.csum_offset = 16,
	};
	uint8_t *eth = hdr + hdr_len;

	memcpy(hdr, &vnet, sizeof(vnet));
	eth[12] = 8;
	eth[13] = 0;
	eth[14] = 0x45;
	eth[16] = (uint8_t)((len - hdr_len - 14) >> 8);
	eth[17] = (uint8_t)(len - hdr_len - 14);
	eth[20] = eth[21] = 0;
	eth[23] = 6;
	eth[46] = 0x50;
}

/* One packet in any number of slots; now and then without its end. */
static void put_packet(struct port *p, uint32_t ring)
{
	static uint8_t frame[200000];
	uint32_t room = p->app.slots - 1 - p->tx[ring].count;
	uint32_t src = prng_chance(&r, 70) ? p->last_src : prng_below(&r, STATIONS);
	uint32_t most = p->app.buf_size > 65535 ? 65535 : p->app.buf_size, dst, len, frags, at = 0;
	bool unfinished = prng_chance(&r, 2);

	do
		dst = prng_chance(&r, 15) ? NM_TEST_BROADCAST : prng_below(&r, STATIONS);
	while (dst == src);
	len = p->app.hdr_len + 14 + prng_below(&r, prng_chance(&r, 90) ? 200 : 20000);
	if (prng_chance(&r, 1))
		len = p->app.hdr_len + 14 + prng_below(&r, (uint32_t)sizeof(frame) - 30);
	frags = (len + most - 1) / most;
	if (prng_chance(&r, 30))
		frags += prng_below(&r, prng_chance(&r, 80) ? 6 : 80);
	if (frags > room)
		return;
	p->last_src = src;
	make_frame(frame, len, p->app.hdr_len, dst, src, &r);
	if (p->app.hdr_len)
		prng_fill(&r, frame + 2, p->app.hdr_len - 2);
	if (p->app.hdr_len && prng_chance(&r, 10))
		frame[prng_below(&r, 2)] = (uint8_t)prng_below(&r, 4);
	if (p->app.hdr_len && len >= p->app.hdr_len + 54 && prng_chance(&r, 30))
		make_tso(frame, p->app.hdr_len, len);
	for (; frags > 0; frags--) {
		uint32_t left = len - at, n = (left + frags - 1) / frags;

		if (frags > 1 && left <= most * (frags - 1) && prng_chance(&r, 50)) {
			uint32_t limit = left < most ? left : most;

			n = prng_below(&r, limit + 1); /* uneven, perhaps empty */
			if (left - n > most * (frags - 1))
				n = left - most * (frags - 1);
		}
		put_slot(p, ring, frame + at, (uint16_t)n,
			(uint16_t)((frags > 1 || unfinished ? NS_MOREFRAG : 0) |
				   (prng_chance(&r, 3) ? NS_NO_LEARN : 0) |
				   (prng_chance(&r, 3) ? prng_below(&r, 6) << NS_PORT_SHIFT : 0)));
		at += n;
	}
}

static void receive(struct port *p, uint32_t ring)
{
	static uint8_t got[300000];
	struct rx *rx = &p->rx[ring];
	uint32_t most = prng_chance(&r, 70) ? UINT32_MAX : prng_below(&r, 10);

	app_rxsync(&p->app, ring);
	rx->used -= rx->taken;
	rx->taken = 0;
	while (most-- > 0) {
		struct packet *packet = rx->first;
		int len = app_take(&p->app, ring, got, sizeof(got));

		assert_int_equal(len, packet ? (int)packet->len : -1);
		if (!packet)
			return;
		assert_memory_equal(got, packet->bytes, packet->len);
		rx->taken += packet->slots;
		rx->first = packet->next;
		if (!rx->first)
			rx->last = &rx->first;
		free(packet);
	}
}

static void step(void)
{
	struct port *p = &ports[prng_below(&r, PORTS)];
	uint32_t ring, packets;

	if (!p->open) {
		if (prng_chance(&r, 20))
			open_port(p);
		return;
	}
	if (prng_below(&r, 300) == 0)
		return close_port(p);
	ring = prng_below(&r, p->app.rings);
	if (!p->deaf && prng_chance(&r, 60))
		return receive(p, ring);
	for (packets = prng_below(&r, prng_chance(&r, 90) ? 8 : 200); packets > 0; packets--)
		put_packet(p, ring);
	if (prng_chance(&r, 80)) {
		app_txsync(&p->app, ring);
		model_txsync(p, ring);
		assert_int_equal(app_avail(app_ring(&p->app, NM_TX, ring)),
			p->app.slots - 1 - p->tx[ring].count);
	}
}

static void random_traffic(void **state)
{
	r = prng_new(1);
	nm_core_init(&core);
	for (int i = 0; i < STEPS; i++) {
		step();
		for (const struct port *p = ports; p < ports + PORTS; p++)
			if (p->open)
				check_counters(p);
	}
	for (struct port *p = ports; p < ports + PORTS; p++)
		if (p->open)
			close_port(p);
	core_check_empty(&core);
	nm_core_destroy(&core);
	assert_true(delivered > 2000 && dropped > 1000 && cut > 30);
	fprintf(stderr, "# %llu delivered, %llu dropped, %llu cut\n", (unsigned long long)delivered,
		(unsigned long long)dropped, (unsigned long long)cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(random_traffic)};

	test_seed();
	return cmocka_run_group_tests_name("vale_model", tests, NULL, NULL);
}
