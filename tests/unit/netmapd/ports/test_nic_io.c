/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapd/ports/nic_io.h over rings that a made-up kernel serves: what it receives into, and sends, and when; and the owners of
 * buffers (core/bufown.h), which it must never share with anybody.
 */
#include "nic_io.h"

#include <stdlib.h>

#include "../../core/util.h"

enum { ENTRIES = 64, SLOTS = 32, HELD = 40, OTHER = 8, BUFS = 400 };

/* The kernel's side of a ring. */
struct fake_ring {
	uint32_t producer, consumer, flags;
	uint64_t entries[2 * ENTRIES];
};

struct fake {
	struct nm_core core;
	struct nm_client client;
	struct xsk xsk;
	struct fake_ring fill, rx, tx, completion;
	struct nic_queue queue;
	int carrier;
	uint32_t kicks; /* of tx */
	int kick_error;
	uint32_t kept_owner; /* of buffers that it has after the port ended */
};

static struct fake *fake;

/* ---- what nic_io.c calls --------------------------------------------------------------------- */

int xsk_kick_tx(const struct xsk *s)
{
	fake->kicks++;
	return fake->kick_error;
}

int xsk_kick_rx(const struct xsk *s)
{
	return 0;
}

void nic_poll_arm(struct nic_poll *p)
{
}

void nic_poll_later(struct nic_poll *p, bool progress)
{
	p->due_ms = 1;
}

/* ---- the kind --------------------------------------------------------------------------------- */

static void set_ring(struct xsk_ring *r, struct fake_ring *f, bool produced)
{
	*r = (struct xsk_ring){
		.ours = produced ? &f->producer : &f->consumer,
		.theirs = produced ? &f->consumer : &f->producer,
		.flags = &f->flags,
		.entries = f->entries,
		.size = ENTRIES,
		.mask = ENTRIES - 1,
	};
}

static int fake_start(struct nm_port *port, struct nm_error *err)
{
	struct nic_queue *q = &fake->queue;
	uint32_t at = NM_BUFS_RESERVED;

	set_ring(&fake->xsk.fill, &fake->fill, true);
	set_ring(&fake->xsk.tx, &fake->tx, true);
	set_ring(&fake->xsk.rx, &fake->rx, false);
	set_ring(&fake->xsk.completion, &fake->completion, false);
	*q = (struct nic_queue){.xsk = &fake->xsk, .carrier = &fake->carrier, .longest = 4000};
	q->posted = calloc(port->region->pool[NM_POOL_BUF].count, 1);
	q->sent = calloc(SLOTS, sizeof(*q->sent));
	q->stale = calloc(port->region->pool[NM_POOL_BUF].count, 1);
	for (int dir = 0; dir < NM_DIRS; dir++) {
		q->ring[dir] = &port->rings[dir][0];
		q->ring[dir]->priv = q;
	}
	for (uint32_t i = 0; i < HELD; i++)
		nic_post(q, i, nm_bufown_next(port->region, port->held_owner, &at));
	xsk_submit(&fake->xsk.fill, HELD);
	nic_set_live(q, true);
	return 0;
}

static void fake_stop(struct nm_port *port)
{
	nic_set_live(&fake->queue, false);
	fake->kept_owner = port->held_owner;
	port->held_kept = true;
}

static void fake_destroy(struct nm_port *port)
{
	free(fake->queue.posted);
	free(fake->queue.sent);
	free(fake->queue.stale);
}

static uint32_t fake_held(struct nm_port *port, int dir, uint32_t *refs, uint32_t room)
{
	uint32_t n = 0;

	for (uint32_t i = 0; dir == NM_RX && i < port->region->pool[NM_POOL_BUF].count; i++)
		if (fake->queue.posted[i])
			refs[n++] = i;
	for (uint32_t i = 0; dir == NM_TX && i < SLOTS; i++)
		if (fake->queue.sent[i])
			refs[n++] = fake->queue.sent[i];
	assert_in_range(n, 0, room);
	return n;
}

static void fake_pause(struct nm_port *port, bool on)
{
	nic_set_live(&fake->queue, !on);
}

static const struct nm_port_ops fake_ops = {
	.kind = "fake",
	.start = fake_start,
	.stop = fake_stop,
	.destroy = fake_destroy,
	.txsync = nic_txsync,
	.rxsync = nic_rxsync,
	.can_send = nic_can_send,
	.wants_room = nic_wants_room,
	.ring_reset = nic_ring_reset,
	.pause = fake_pause,
	.held = fake_held,
	.nic_memory = true,
};

/* A NIC in a region that outlives it, with another port there. */
static void begin(struct fake *f)
{
	const struct nm_shape shape = {.rings = {1, 1}, .slots = {SLOTS, SLOTS}};
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .mem_id = 5};
	struct nm_error err;
	struct nm_port *port;

	memset(f, 0, sizeof(*f));
	fake = f;
	f->carrier = 1;
	nm_core_init(&f->core);
	f->core.nic_bufs = BUFS;
	nm_core_lock(&f->core);
	port = nm_port_add_locked(&f->core, "nic", &fake_ops, &shape, &err);
	nm_core_unlock(&f->core);
	assert_non_null(port);
	port->held_bufs = HELD;
	port->ephemeral = true;
	nm_client_init(&f->client, &f->core);
	assert_int_equal(nm_client_bind(&f->client, "nic", &bind), 0);
}

static struct nm_region *region_of(const struct fake *f)
{
	return f->client.port->region;
}

static struct nm_ring *ring_of(struct fake *f, enum nm_dir dir)
{
	return f->queue.ring[dir];
}

/* The port ends; what the kernel has is nobody else's, then free. */
static void end(struct fake *f, uint32_t kept)
{
	struct nm_region *region = region_of(f);

	nm_region_get(region);
	nm_client_unbind(&f->client);
	assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF), BUFS - NM_BUFS_RESERVED - kept);
	assert_int_equal(nm_bufown_free_owner(region, f->kept_owner), kept);
	region_check(region);
	nm_region_put(region);
	core_check_empty(&f->core);
	nm_core_destroy(&f->core);
}

/* ---- the kernel ----------------------------------------------------------------------------------- */

/* Takes a chunk to receive into: its buffer. */
static uint32_t kernel_takes(struct fake *f)
{
	uint64_t addr;

	assert_true(f->fill.consumer != f->fill.producer);
	addr = f->fill.entries[f->fill.consumer++ % ENTRIES];
	assert_int_equal(addr % NM_NIC_BUF_SIZE, 0);
	return (uint32_t)(addr / NM_NIC_BUF_SIZE);
}

static void kernel_gives(struct fake *f, uint64_t addr, uint32_t len, uint32_t options)
{
	struct xdp_desc *desc = (struct xdp_desc *)f->rx.entries + f->rx.producer++ % ENTRIES;

	*desc = (struct xdp_desc){addr, len, options};
}

static uint64_t packet_at(uint32_t buf_idx)
{
	return (uint64_t)buf_idx * NM_NIC_BUF_SIZE + NM_NIC_HEADROOM;
}

/* A packet of one byte's value all over. */
static uint32_t kernel_receives(struct fake *f, uint32_t len, int value)
{
	uint32_t buf_idx = kernel_takes(f);

	memset(nm_region_buf(region_of(f), buf_idx), value, len);
	kernel_gives(f, packet_at(buf_idx), len, 0);
	return buf_idx;
}

static uint32_t kernel_has(const struct fake *f)
{
	return f->fill.producer - f->fill.consumer;
}

static void sync_rx(struct fake *f)
{
	struct nm_ring *rx = ring_of(f, NM_RX);

	assert_int_equal(nm_ring_sync(rx, rx->head, rx->cur), 0);
}

/* The application takes all that is there. */
static uint32_t take_all(struct fake *f)
{
	struct nm_ring *rx = ring_of(f, NM_RX);
	uint32_t n = nm_ring_distance(rx->head, rx->tail, SLOTS);

	assert_int_equal(nm_ring_sync(rx, rx->tail, rx->tail), 0);
	return n;
}

/* ---- receiving -------------------------------------------------------------------------------------- */

/* The buffer in the slot is the one that was posted, and the slot's goes to the kernel. */
static void a_packet_stays_where_it_was_put(void **state)
{
	struct fake f;
	struct nm_ring *rx;

	begin(&f);
	rx = ring_of(&f, NM_RX);
	for (uint32_t i = 0; i < 500; i++) {
		uint32_t slot = rx->head, had = nm_slot_load(&rx->slots[slot]).buf_idx, got;

		got = kernel_receives(&f, 60 + i, (int)i);
		sync_rx(&f);
		assert_int_equal(nm_slot_load(&rx->slots[slot]).buf_idx, got);
		assert_int_equal(nm_slot_load(&rx->slots[slot]).len, 60 + i);
		assert_int_equal(((uint8_t *)nm_region_buf(region_of(&f), got))[59], i & 255);
		assert_int_equal(f.fill.entries[(f.fill.producer - 1) % ENTRIES],
			(uint64_t)had * NM_NIC_BUF_SIZE);
		assert_int_equal(kernel_has(&f), HELD);
		assert_int_equal(take_all(&f), 1);
	}
	end(&f, HELD);
}

/* Chunks come back in any order; the address says which. */
static void the_address_decides(void **state)
{
	struct nm_ring *rx;
	uint32_t buf[3];
	struct fake f;

	begin(&f);
	rx = ring_of(&f, NM_RX);
	for (int i = 0; i < 3; i++)
		buf[i] = kernel_takes(&f);
	kernel_gives(&f, packet_at(buf[2]), 62, 0);
	kernel_gives(&f, packet_at(buf[0]), 60, 0);
	sync_rx(&f);
	assert_int_equal(nm_slot_load(&rx->slots[0]).buf_idx, buf[2]);
	assert_int_equal(nm_slot_load(&rx->slots[1]).buf_idx, buf[0]);
	end(&f, HELD);
}

/* A slot per chunk, together; and all of it or nothing. */
static void packets_of_several_chunks_have_several_slots(void **state)
{
	struct nm_ring *rx;
	uint32_t buf[3];
	struct fake f;

	begin(&f);
	rx = ring_of(&f, NM_RX);
	f.queue.sg = true;
	for (int i = 0; i < 2; i++) {
		buf[i] = kernel_takes(&f);
		kernel_gives(&f, packet_at(buf[i]), 3840, XSK_CONTD);
		sync_rx(&f);
		assert_int_equal(
			nm_ring_distance(rx->head, rx->tail, SLOTS), 0); /* its end is not there */
	}
	buf[2] = kernel_takes(&f);
	kernel_gives(&f, packet_at(buf[2]), 17, 0);
	sync_rx(&f);
	assert_int_equal(nm_ring_distance(rx->head, rx->tail, SLOTS), 3);
	for (uint32_t i = 0; i < 3; i++) {
		const struct netmap_slot slot = rx->slots[i];

		assert_int_equal(slot.buf_idx, buf[i]);
		assert_int_equal(slot.len, i < 2 ? 3840 : 17);
		assert_int_equal(slot.flags & NS_MOREFRAG, i < 2 ? NS_MOREFRAG : 0);
	}
	assert_int_equal(rx->stats.packets, 1);
	assert_int_equal(rx->stats.bytes, 2 * 3840 + 17);
	assert_int_equal(kernel_has(&f), HELD);
	end(&f, HELD);
}

/* With a chunk or a slot that can't be all of it is dropped, and the kernel has as many chunks as before. */
static void a_bad_chunk_is_the_end_of_its_packet(void **state)
{
	struct nm_ring *rx;
	struct fake f;

	begin(&f);
	rx = ring_of(&f, NM_RX);
	f.queue.sg = true;
	for (int bad = 0; bad < 3; bad++) {
		for (int i = 0; i < 3; i++)
			kernel_gives(&f, packet_at(kernel_takes(&f)) + (i == bad ? 8 : 0), 100,
				i < 2 ? XSK_CONTD : 0);
		sync_rx(&f);
		assert_int_equal(rx->stats.drops[NM_DROP_BAD_OFFSET], bad + 1);
	}
	rx->slots[1].buf_idx = 0;
	for (int i = 0; i < 2; i++)
		kernel_gives(&f, packet_at(kernel_takes(&f)), 100, i < 1 ? XSK_CONTD : 0);
	sync_rx(&f);
	assert_int_equal(rx->stats.drops[NM_DROP_BAD_BUFFER], 1);
	for (int i = 0; i < SLOTS / 2 + 1; i++) /* more than a ring can wait for */
		kernel_gives(&f, packet_at(kernel_takes(&f)), 100, i < SLOTS / 2 ? XSK_CONTD : 0);
	sync_rx(&f);
	assert_int_equal(rx->stats.drops[NM_DROP_FRAGMENTS], 1);
	assert_int_equal(rx->stats.packets, 0);
	assert_int_equal(kernel_has(&f), HELD);
	end(&f, HELD);
}

/* It stays in the kernel's ring until there are as many slots, and what follows stays behind it. */
static void a_packet_of_several_chunks_waits_for_room(void **state)
{
	struct nm_ring *rx;
	struct fake f;

	begin(&f);
	rx = ring_of(&f, NM_RX);
	f.queue.sg = true;
	for (int i = 0; i < SLOTS - 2; i++)
		(void)kernel_receives(&f, 60, 1);
	sync_rx(&f);
	for (int i = 0; i < 2; i++)
		kernel_gives(&f, packet_at(kernel_takes(&f)), 100, i < 1 ? XSK_CONTD : 0);
	(void)kernel_receives(&f, 60, 1);
	sync_rx(&f);
	assert_int_equal(nm_ring_distance(rx->head, rx->tail, SLOTS), SLOTS - 2);
	assert_true(nic_wants_room(rx));
	assert_int_equal(take_all(&f), SLOTS - 2);
	assert_int_equal(take_all(&f), 3);
	assert_int_equal(kernel_has(&f), HELD);
	end(&f, HELD);
}

/* What can't be is dropped and counted; chunks of the queue's go back to the kernel, others stay what they are. */
static void impossible_descriptors_are_dropped(void **state)
{
	struct nm_ring *rx;
	struct fake f;
	uint32_t own;

	begin(&f);
	rx = ring_of(&f, NM_RX);
	kernel_gives(&f, packet_at(nm_slot_load(&rx->slots[3]).buf_idx), 60, 0); /* not posted */
	kernel_gives(&f, packet_at(0), 60, 0);
	kernel_gives(&f, packet_at(BUFS), 60, 0);
	kernel_gives(&f, UINT64_MAX, 60, 0);
	sync_rx(&f);
	assert_int_equal(rx->stats.drops[NM_DROP_BAD_BUFFER], 4);
	assert_int_equal(kernel_has(&f), HELD);
	own = kernel_takes(&f);
	kernel_gives(&f, packet_at(own) + 64, 60, 0);
	sync_rx(&f);
	assert_int_equal(rx->stats.drops[NM_DROP_BAD_OFFSET], 1);
	kernel_gives(&f, packet_at(kernel_takes(&f)), 3841, 0);
	kernel_gives(&f, packet_at(kernel_takes(&f)), 60, XSK_CONTD);
	sync_rx(&f);
	assert_int_equal(rx->stats.drops[NM_DROP_TOO_LONG], 1);
	assert_int_equal(rx->stats.drops[NM_DROP_FRAGMENTS], 1);
	own = kernel_takes(&f);
	kernel_gives(&f, packet_at(own), 60, 0);
	kernel_gives(&f, packet_at(own), 60, 0); /* twice */
	sync_rx(&f);
	assert_int_equal(rx->stats.drops[NM_DROP_BAD_BUFFER], 5);
	assert_int_equal(take_all(&f), 1);
	assert_int_equal(kernel_has(&f), HELD);
	end(&f, HELD);
}

/* A full ring takes nothing: packets wait in the kernel's, and the fill side stays full. */
static void what_finds_no_slot_waits(void **state)
{
	struct fake f;

	begin(&f);
	for (uint32_t i = 0; i < SLOTS + 5; i++)
		kernel_receives(&f, 60, 1);
	sync_rx(&f);
	assert_int_equal(f.rx.producer - f.rx.consumer, 6);
	assert_true(nic_wants_room(ring_of(&f, NM_RX)));
	assert_int_equal(take_all(&f), SLOTS - 1);
	sync_rx(&f);
	assert_int_equal(take_all(&f), 6);
	assert_false(nic_wants_room(ring_of(&f, NM_RX)));
	assert_int_equal(kernel_has(&f), HELD);
	end(&f, HELD);
}

static bool is_posted(const struct fake *f, uint64_t addr)
{
	return addr / NM_NIC_BUF_SIZE < BUFS && f->queue.posted[addr / NM_NIC_BUF_SIZE];
}

/* Slots of all values: no buffer is posted twice, none but those of the region, and all come back. */
static void hostile_slots_post_nothing_twice(void **state)
{
	struct prng r = prng_new(1);
	struct nm_ring *rx;
	struct fake f;

	begin(&f);
	rx = ring_of(&f, NM_RX);
	for (uint32_t i = 0; i < 20000; i++) {
		uint8_t seen[BUFS] = {0};
		uint64_t addr;

		if (prng_chance(&r, 30))
			rx->slots[prng_below(&r, SLOTS)].buf_idx = prng_edge32(&r, BUFS);
		addr = prng_edge64(&r, BUFS * NM_NIC_BUF_SIZE);
		if (prng_chance(&r, 10) &&
			!is_posted(&f, addr)) /* it lies, but has no chunk that it didn't take */
			kernel_gives(&f, addr, prng_edge32(&r, 3840), prng_chance(&r, 10));
		sync_rx(&f);
		if (prng_chance(&r, 60))
			kernel_receives(&f, 60, 1);
		sync_rx(&f);
		(void)take_all(&f);
		assert_int_equal(kernel_has(&f), f.queue.num_posted);
		for (uint32_t at = f.fill.consumer; at != f.fill.producer; at++) {
			uint64_t index = f.fill.entries[at % ENTRIES] / NM_NIC_BUF_SIZE;

			assert_in_range(index, NM_BUFS_RESERVED, BUFS - 1);
			assert_int_equal(seen[index]++, 0);
		}
	}
	end(&f, HELD);
}

/* ---- sending ------------------------------------------------------------------------------------------ */

static uint32_t put(struct fake *f, uint32_t len, uint16_t flags)
{
	struct nm_ring *tx = ring_of(f, NM_TX);
	uint32_t at = tx->head, head = nm_ring_advance(at, 1, SLOTS);

	tx->slots[at].len = (uint16_t)len;
	tx->slots[at].flags = flags;
	(void)nm_ring_sync(tx, head, head);
	return tx->slots[at].buf_idx;
}

static uint64_t kernel_sends(struct fake *f, uint32_t *len)
{
	const struct xdp_desc *desc = (struct xdp_desc *)f->tx.entries + f->tx.consumer++ % ENTRIES;

	*len = desc->len;
	return desc->addr;
}

static void kernel_has_sent(struct fake *f, uint64_t addr)
{
	f->completion.entries[f->completion.producer++ % ENTRIES] = addr;
}

static uint32_t free_slots(struct fake *f)
{
	struct nm_ring *tx = ring_of(f, NM_TX);

	(void)nm_ring_sync(tx, tx->head, tx->cur);
	return nm_ring_distance(tx->head, tx->tail, SLOTS);
}

/* A slot is free when the kernel has done with its buffer, and those before it are; it keeps the buffer. */
static void slots_are_free_in_order(void **state)
{
	uint64_t addr[3];
	uint32_t len;
	struct fake f;

	begin(&f);
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t buf_idx = put(&f, 60 + i, 0);

		addr[i] = kernel_sends(&f, &len);
		assert_int_equal(addr[i], packet_at(buf_idx));
		assert_int_equal(len, 60 + i);
	}
	assert_int_equal(free_slots(&f), SLOTS - 1 - 3);
	kernel_has_sent(&f, addr[2]);
	kernel_has_sent(&f, addr[1]);
	assert_true(nic_can_send(ring_of(&f, NM_TX)));
	assert_int_equal(free_slots(&f), SLOTS - 1 - 3);
	kernel_has_sent(&f, addr[1]); /* twice, and what never was */
	kernel_has_sent(&f, packet_at(BUFS + 7));
	kernel_has_sent(&f, addr[0]);
	assert_int_equal(free_slots(&f), SLOTS - 1);
	assert_int_equal(f.queue.unfinished, 0);
	end(&f, HELD);
}

/* What is left of a former user's packets frees no slot of the next one, though it lies in the same buffers. */
static void a_former_users_packets_free_nothing(void **state)
{
	struct fake f;
	uint64_t addr[2];
	uint32_t len;

	begin(&f);
	(void)put(&f, 60, 0);
	addr[0] = kernel_sends(&f, &len);
	nm_ring_restart(ring_of(&f, NM_TX));
	(void)put(&f, 61, 0);
	addr[1] = kernel_sends(&f, &len);
	assert_int_equal(addr[0], addr[1]);
	kernel_has_sent(&f, addr[0]);
	assert_int_equal(free_slots(&f), SLOTS - 2);
	kernel_has_sent(&f, addr[1]);
	assert_int_equal(free_slots(&f), SLOTS - 1);
	assert_int_equal(f.queue.num_stale, 0);
	end(&f, HELD);
}

static void packets_of_several_slots_are_put_together(void **state)
{
	struct nm_ring *tx;
	struct fake f;
	uint32_t len, first;
	char *bytes;

	begin(&f);
	tx = ring_of(&f, NM_TX);
	for (int i = 0; i < 3; i++)
		memset(nm_region_buf(region_of(&f), tx->slots[i].buf_idx), 'a' + i, 1000);
	first = put(&f, 20, NS_MOREFRAG);
	(void)put(&f, 1000, NS_MOREFRAG);
	assert_int_equal(f.tx.producer, 0);
	(void)put(&f, 30, 0);
	assert_int_equal(kernel_sends(&f, &len), packet_at(first));
	assert_int_equal(len, 1050);
	bytes = nm_region_buf(region_of(&f), first);
	assert_int_equal(bytes[19], 'a');
	assert_int_equal(bytes[20], 'b');
	assert_int_equal(bytes[1019], 'b');
	assert_int_equal(bytes[1020], 'c');
	kernel_has_sent(&f, packet_at(first));
	assert_int_equal(free_slots(&f), SLOTS - 1);
	(void)put(&f, 3840, NS_MOREFRAG);
	(void)put(&f, 1, 0);
	assert_int_equal(tx->stats.drops[NM_DROP_TOO_LONG], 1);
	assert_int_equal(free_slots(&f), SLOTS - 1);
	end(&f, HELD);
}

/* A descriptor per buffer; all but the last are filled, and go back as such. */
static void long_packets_have_several_descriptors(void **state)
{
	static const uint32_t lengths[4] = {100, 3840, 3840, 500};
	uint32_t buf[4], len, sum = 0;
	struct nm_ring *tx;
	struct fake f;

	begin(&f);
	tx = ring_of(&f, NM_TX);
	f.queue.sg = true;
	f.queue.longest = 9000;
	for (int i = 0; i < 4; i++)
		memset(nm_region_buf(region_of(&f), tx->slots[i].buf_idx), 'a' + i, 3840);
	for (int i = 0; i < 4; i++)
		buf[i] = put(&f, lengths[i], i < 3 ? NS_MOREFRAG : 0);
	assert_int_equal(f.tx.producer, 3);
	for (int i = 0; i < 3; i++) {
		const struct xdp_desc *desc = (struct xdp_desc *)f.tx.entries + i;

		assert_int_equal(desc->options, i < 2 ? XSK_CONTD : 0);
		assert_int_equal(kernel_sends(&f, &len), packet_at(buf[i]));
		assert_int_equal(len, i < 2 ? 3840 : 600);
		for (uint32_t n = 0; n < len; n++, sum++)
			assert_int_equal(((char *)nm_region_buf(region_of(&f), buf[i]))[n],
				sum < 100    ? 'a'
				: sum < 3940 ? 'b'
				: sum < 7780 ? 'c'
					     : 'd');
		assert_int_equal(free_slots(&f), SLOTS - 1 - 4 + (i > 0) + (i > 1));
		kernel_has_sent(&f, packet_at(buf[i]));
	}
	assert_int_equal(free_slots(&f), SLOTS - 1);
	for (int i = 0; i < 20; i++) /* more than the kernel takes */
		(void)put(&f, 3840, i < 19 ? NS_MOREFRAG : 0);
	assert_int_equal(tx->stats.drops[NM_DROP_TOO_LONG], 1);
	f.queue.longest = 100000;
	for (int i = 0; i < 20; i++)
		(void)put(&f, 3840, i < 19 ? NS_MOREFRAG : 0);
	assert_int_equal(tx->stats.drops[NM_DROP_FRAGMENTS], 1);
	assert_int_equal(free_slots(&f), SLOTS - 1);
	end(&f, HELD);
}

/* While the kernel's ring has too little room a packet waits, as it is. */
static void long_packets_wait_for_room(void **state)
{
	struct fake f;
	uint32_t len;

	begin(&f);
	f.queue.sg = true;
	f.queue.longest = 9000;
	f.tx.producer = f.tx.consumer = f.xsk.tx.mine = f.xsk.tx.seen = 7;
	f.tx.consumer -= ENTRIES - 2; /* all but two are under way */
	f.xsk.tx.seen = f.tx.consumer;
	(void)put(&f, 3840, NS_MOREFRAG);
	(void)put(&f, 3840, NS_MOREFRAG);
	(void)put(&f, 10, 0);
	assert_int_equal(f.tx.producer, 7);
	f.tx.consumer = 7;
	assert_int_equal(free_slots(&f), SLOTS - 1 - 3);
	assert_int_equal(f.tx.producer, 10);
	for (int i = 0; i < 3; i++)
		kernel_has_sent(&f, kernel_sends(&f, &len));
	assert_int_equal(free_slots(&f), SLOTS - 1);
	end(&f, HELD);
}

/* A kernel that takes nothing is not asked for ever: only after a while. */
static void a_kernel_that_takes_nothing_has_time(void **state)
{
	struct fake f;
	uint32_t kicks, len;

	begin(&f);
	f.tx.flags = XDP_RING_NEED_WAKEUP;
	f.kick_error = -EAGAIN;
	(void)put(&f, 60, 0);
	kicks = f.kicks;
	assert_in_range(kicks, 1, 4);
	assert_false(nic_can_send(ring_of(&f, NM_TX)));
	assert_int_not_equal(f.queue.poll.due_ms, 0);
	assert_false(nic_can_send(ring_of(&f, NM_TX)));
	f.queue.poll.due_ms = 0;
	assert_true(nic_can_send(ring_of(&f, NM_TX)));
	f.kick_error = 0;
	(void)free_slots(&f);
	assert_true(f.kicks > kicks);
	kernel_has_sent(&f, kernel_sends(&f, &len));
	assert_int_equal(free_slots(&f), SLOTS - 1);
	end(&f, HELD);
}

/* What was put while there was a link, and waits for it in the kernel's ring now: igb says nothing of that. */
static void packets_that_wait_for_the_link_have_time(void **state)
{
	struct fake f;
	uint32_t kicks, len;

	begin(&f);
	f.tx.flags = XDP_RING_NEED_WAKEUP;
	(void)put(&f, 60, 0);
	f.carrier = 0;
	kicks = f.kicks;
	(void)free_slots(&f);
	assert_int_equal(f.kicks, kicks + 1);
	assert_false(nic_can_send(ring_of(&f, NM_TX)));
	assert_int_not_equal(f.queue.poll.due_ms, 0);
	f.queue.poll.due_ms = 0;
	assert_true(nic_can_send(ring_of(&f, NM_TX)));
	f.carrier = 1;
	kernel_has_sent(&f, kernel_sends(&f, &len));
	assert_int_equal(free_slots(&f), SLOTS - 1);
	end(&f, HELD);
}

static void without_a_carrier_packets_are_dropped(void **state)
{
	struct fake f;

	begin(&f);
	f.carrier = 0;
	(void)put(&f, 60, 0);
	assert_int_equal(ring_of(&f, NM_TX)->stats.drops[NM_DROP_LINK_DOWN], 1);
	assert_int_equal(f.tx.producer, 0);
	assert_int_equal(free_slots(&f), SLOTS - 1);
	end(&f, HELD);
}

/* ---- owners --------------------------------------------------------------------------------------------- */

/* What is being sent when the port ends stays with the kernel as well, and is free with the rest. */
static void what_is_being_sent_is_kept(void **state)
{
	struct fake f;

	begin(&f);
	for (int i = 0; i < 4; i++)
		(void)put(&f, 60, 0);
	end(&f, HELD + 4);
}

/* Another port of the region exchanges buffers with the NIC's rings; each ends first, by turns. Nothing that the kernel has
 * is ever anybody else's. */
static void buffers_that_wander_between_ports(void **state)
{
	const struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC, .mem_id = 5, .num_slots = {OTHER, OTHER}};
	struct prng r = prng_new(2);

	for (int round = 0; round < 50; round++) {
		struct nm_client other;
		struct nm_ring *rx, *theirs;
		struct fake f;

		begin(&f);
		nm_client_init(&other, &f.core);
		assert_int_equal(nm_client_bind(&other, "vale1:other", &bind), 0);
		rx = ring_of(&f, NM_RX);
		theirs = &other.port->rings[NM_TX][0];
		for (int i = 0; i < 200; i++) {
			struct netmap_slot *a = &rx->slots[prng_below(&r, SLOTS)];
			struct netmap_slot *b = &theirs->slots[prng_below(&r, OTHER)];
			uint32_t index = a->buf_idx;

			a->buf_idx = b->buf_idx;
			b->buf_idx = index;
			kernel_receives(&f, 60, 1);
			sync_rx(&f);
			(void)take_all(&f);
		}
		if (round % 2) {
			nm_client_unbind(&other);
			for (uint32_t i = 0; i < BUFS; i++)
				if (f.queue.posted[i])
					assert_int_equal(
						nm_bufown_owner(region_of(&f), NM_POOL_BUF, i),
						f.client.port->held_owner);
			end(&f, HELD);
			continue;
		}
		nm_region_get(region_of(&f));
		rx = NULL;
		{
			struct nm_region *region = region_of(&f);

			nm_client_unbind(&f.client);
			assert_int_equal(nm_bufown_num_free(region, NM_POOL_BUF),
				BUFS - NM_BUFS_RESERVED - HELD - 2 * OTHER);
			for (uint32_t i = 0; i < OTHER; i++)
				assert_int_not_equal(nm_bufown_owner(region, NM_POOL_BUF,
							     theirs->slots[i].buf_idx),
					f.kept_owner);
			assert_int_equal(nm_bufown_free_owner(region, f.kept_owner), HELD);
			nm_client_unbind(&other);
			region_check(region);
			nm_region_put(region);
		}
		core_check_empty(&f.core);
		nm_core_destroy(&f.core);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_stays_where_it_was_put),
		cmocka_unit_test(the_address_decides),
		cmocka_unit_test(impossible_descriptors_are_dropped),
		cmocka_unit_test(what_finds_no_slot_waits),
		cmocka_unit_test(hostile_slots_post_nothing_twice),
		cmocka_unit_test(slots_are_free_in_order),
		cmocka_unit_test(a_former_users_packets_free_nothing),
		cmocka_unit_test(packets_of_several_slots_are_put_together),
		cmocka_unit_test(long_packets_have_several_descriptors),
		cmocka_unit_test(long_packets_wait_for_room),
		cmocka_unit_test(packets_of_several_chunks_have_several_slots),
		cmocka_unit_test(a_bad_chunk_is_the_end_of_its_packet),
		cmocka_unit_test(a_packet_of_several_chunks_waits_for_room),
		cmocka_unit_test(a_kernel_that_takes_nothing_has_time),
		cmocka_unit_test(packets_that_wait_for_the_link_have_time),
		cmocka_unit_test(without_a_carrier_packets_are_dropped),
		cmocka_unit_test(what_is_being_sent_is_kept),
		cmocka_unit_test(buffers_that_wander_between_ports),
	};

	test_seed();
	return cmocka_run_group_tests_name("nic_io", tests, NULL, NULL);
}
