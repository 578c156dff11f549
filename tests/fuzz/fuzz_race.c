/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path of fuzz_packets.c, while somebody else rewrites what one of the applications could: its
 * slots, the indices and flags of its rings, its CSB, and the bytes of its packets. Two targets:
 *
 *      race     a second thread does, all the time. With AddressSanitizer, and with ThreadSanitizer: its
 *               writes are atomic, as the engine's loads are; the bytes of packets, which nobody loads
 *               atomically, stay as they are there
 *      toctou   a hook in each OS_LOAD() of the engine does (OS_LOAD_HOOK), when the input says so: what is
 *               loaded twice, or not by OS_LOAD(), is found every time, on one CPU as well
 */
#include "world.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

enum { STEPS = 24, WRITES_MOST = 16, BUFS_MOST = 256 };

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WRITES_PACKETS false
#endif
#endif
#ifndef WRITES_PACKETS
#define WRITES_PACKETS true
#endif

#ifdef OS_LOAD_HOOK
#define IS_THREAD false
#else
#define IS_THREAD true
#endif

/* What is written, over and over. */
static struct write {
	uint8_t what, ring, slot;
	uint8_t after; /* loads; toctou */
	uint64_t value;
} writes[WRITES_MOST];
static uint32_t num_writes;

/* To whom. */
static struct {
	struct nm_ring *rings[WORLD_RINGS];
	uint32_t at[WORLD_RINGS]; /* the slot that the engine looks at next */
	uint32_t num_rings;
	uint32_t bufs[BUFS_MOST]; /* of the application, as of the last stop */
	uint32_t num_bufs;
	struct nm_region *region;
	struct world_app *app;
} target;

/* ---- the writer ----------------------------------------------------------------------------------- */

/* A buffer of the application's, or none at all; never a neighbour's, whom it could only name by being
 * trusted. */
static FUZZ_NOT_COVERED uint32_t choose_buf(uint64_t value)
{
	uint32_t count = target.region->pool[NM_POOL_BUF].count;

	if (target.num_bufs > 0 && (value & 3) != 3)
		return target.bufs[(value >> 3) % target.num_bufs];
	return value & 8 ? count + (uint32_t)(value >> 4) % 3 : (uint32_t)(value >> 4) & 1;
}

static FUZZ_NOT_COVERED void store_slot(
	struct netmap_slot *slot, uint32_t buf_idx, uint64_t len, uint64_t flags)
{
	const struct nm_slot_copy copy = {buf_idx, (uint16_t)len, (uint16_t)flags};
	uint64_t word;

	memcpy(&word, &copy, sizeof(word));
	OS_STORE((uint64_t *)(void *)slot, word);
}

/* A thread writes to and fro, so that whoever loads it twice sees two values. */
static FUZZ_NOT_COVERED void write_slot(struct netmap_slot *slot, uint64_t value)
{
	store_slot(slot, choose_buf(value), value >> 16, value >> 32);
	if (IS_THREAD)
		store_slot(slot, choose_buf((value & ~7ULL) + 1), 60, 0);
}

static FUZZ_NOT_COVERED void write_packet(uint64_t value)
{
	uint32_t size = target.region->pool[NM_POOL_BUF].size;
	uint8_t *buf;

	if (!WRITES_PACKETS || target.num_bufs == 0)
		return;
	buf = nm_region_buf(target.region, target.bufs[(value >> 3) % target.num_bufs]);
	OS_STORE(buf + (value >> 16) % (size < 128 ? size : 128), (uint8_t)(value >> 32));
}

static FUZZ_NOT_COVERED void do_write(const struct write *w)
{
	uint32_t i = w->ring % target.num_rings;
	struct nm_ring *ring = target.rings[i];
	uint32_t ahead = w->slot % (w->slot & 0x80 ? ring->num_slots : 3);
	struct netmap_slot *slot = &ring->slots[(target.at[i] + ahead) % ring->num_slots];

	switch (w->what % 8) {
	case 0:
		OS_STORE(&slot->ptr, w->value);
		break;
	case 1:
		OS_STORE(&ring->shared->head, (uint32_t)w->value % (ring->num_slots + 1));
		break;
	case 2:
		OS_STORE(&ring->shared->cur, (uint32_t)w->value % (ring->num_slots + 1));
		break;
	case 3:
		OS_STORE(&ring->shared->flags, (uint32_t)w->value);
		break;
	case 4:
		OS_STORE(&target.app->atok[i].head, (uint32_t)w->value % (ring->num_slots + 1));
		OS_STORE(&target.app->atok[i].cur,
			(uint32_t)(w->value >> 32) % (ring->num_slots + 1));
		OS_STORE(&target.app->ktoa[i].hwtail, (uint32_t)w->value);
		break;
	case 5:
		write_packet(w->value);
		break;
	default:
		write_slot(slot, w->value);
	}
}

/* ---- around a sync ----------------------------------------------------------------------------------- */

static void find_target(void)
{
	struct nm_ring *ring;

	target.num_rings = target.num_bufs = 0;
	for (uint32_t i = 0; i < WORLD_RINGS && (ring = world_ring(target.app, i)); i++) {
		target.at[i] = ring->dir == NM_TX ? ring->hwcur : ring->produce.hwtail;
		target.rings[target.num_rings++] = ring;
		target.region = ring->region;
		for (uint32_t s = 0; s < ring->num_slots && target.num_bufs < BUFS_MOST; s++)
			if (nm_region_buf_valid(ring->region, ring->slots[s].buf_idx))
				target.bufs[target.num_bufs++] = ring->slots[s].buf_idx;
	}
	world.open_region = target.region;
	world.open_bufs = target.bufs;
	world.num_open_bufs = target.num_bufs;
}

/* So that the next sync of its rings moves something. */
static void put_back(void)
{
	for (uint32_t i = 0; i < target.num_rings; i++)
		nm_ring_reset_shared(target.rings[i]);
}

#ifdef OS_LOAD_HOOK
static bool hooked;
static uint32_t next_write, loads; /* until it is done */

void os_load_hook(void)
{
	if (!hooked || loads-- > 0)
		return;
	hooked = false;
	do_write(&writes[next_write]);
	next_write = (next_write + 1) % num_writes;
	loads = writes[next_write].after;
	hooked = true;
}

static void start(void)
{
	hooked = target.num_rings > 0 && num_writes > 0;
	loads = writes[next_write].after;
}

static void stop(void)
{
	hooked = false;
	put_back();
}

static void start_thread(void)
{
}
#else
static sem_t begin;
static int go, running;

static FUZZ_NOT_COVERED void *run(void *arg)
{
	for (;;) {
		while (sem_wait(&begin) != 0)
			;
		OS_STORE_RELEASE(&running, 1);
		while (OS_LOAD_ACQUIRE(&go))
			for (uint32_t i = 0; i < num_writes; i++)
				do_write(&writes[i]);
		OS_STORE_RELEASE(&running, 0);
	}
	return arg;
}

static void wait_for(int state)
{
	while (OS_LOAD_ACQUIRE(&running) != state)
		sched_yield();
}

static void start(void)
{
	if (target.num_rings == 0 || num_writes == 0)
		return;
	OS_STORE_RELEASE(&go, 1);
	sem_post(&begin);
	wait_for(1);
}

static void stop(void)
{
	if (!OS_LOAD(&go))
		return;
	OS_STORE_RELEASE(&go, 0);
	wait_for(0);
	put_back();
}

static void start_thread(void)
{
	pthread_t thread;

	fuzz_check(sem_init(&begin, 0, 0) == 0, "no semaphore");
	fuzz_check(pthread_create(&thread, NULL, run, NULL) == 0, "no thread");
}
#endif

/* ---- one input ----------------------------------------------------------------------------------------- */

void fuzz_begin(void)
{
	start_thread();
	world.before_sync = find_target;
	world.start = start;
	world.after_sync = stop;
}

void fuzz_one(struct fuzz_in *in)
{
	target.app = &world.apps[fuzz_below(in, 4)];
	num_writes = fuzz_below(in, WRITES_MOST + 1);
	for (uint32_t i = 0; i < num_writes; i++) {
		writes[i].what = fuzz_u8(in);
		writes[i].ring = fuzz_u8(in);
		writes[i].slot = fuzz_u8(in);
		writes[i].after = fuzz_u8(in) % 32;
		fuzz_bytes(in, &writes[i].value, 6);
	}
	target.num_rings = 0;
	world_begin(in);
	for (int i = 0; i < STEPS && fuzz_more(in); i++)
		world_step(in);
	world_end();
}
