/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * util.h - what the unit tests of core/ share: random numbers that can be repeated, a clock and an
 * allocator that can be told to misbehave, and applications at both ends of a switch.
 *
 * Every test program prints its seed at the start ("# seed …", on stderr, which meson shows for a
 * test that failed). PTN_SEED=… in the environment repeats a run.
 *
 *      struct app a;
 *      app_open(&core, &a, &(struct app_config){.name = "vale0:1", .buf_size = 2048});
 *      app_put(&a, 0, bytes, len, 0);          into slots of tx ring 0
 *      app_txsync(&a, 0);
 *      ...
 *      app_rxsync(&b, 0);
 *      len = app_take(&b, 0, bytes, sizeof(bytes));
 *      app_close(&a);
 *      core_check_empty(&core);
 *
 * An app uses nothing but the region it was given: it finds rings and buffers through its
 * netmap_if, as an application does.
 *
 * Thread safety: a struct prng and a struct app belong to one thread. The rest is for the main
 * thread; cmocka's assertions must not be used in another.
 */
#ifndef TESTS_UNIT_UTIL_H
#define TESTS_UNIT_UTIL_H

/* A test is the only one that uses its core, so most of them take no lock. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

#include "bufown.h"
#include "os.h"
#include "client.h"

#include <setjmp.h>
#include <cmocka.h>

/* ---- random numbers ------------------------------------------------------------------- */

struct prng {
	uint64_t state;
};

/* The seed of this run; the first call chooses and prints it. */
uint64_t test_seed(void);

/* A generator for one test: another `stream` gives other numbers. */
struct prng prng_new(uint64_t stream);
uint64_t prng_next(struct prng *r);
uint32_t prng_below(struct prng *r, uint32_t limit);                /* 0 to limit - 1; 0 for 0 */
uint32_t prng_range(struct prng *r, uint32_t least, uint32_t most); /* both included */
bool prng_chance(struct prng *r, uint32_t percent);
void prng_fill(struct prng *r, void *buf, size_t bytes);

/* A number that tests like to forget: 0, 1, near `about`, near 2^31 and 2^32, or any. */
uint32_t prng_edge32(struct prng *r, uint32_t about);
uint64_t prng_edge64(struct prng *r, uint64_t about);

/* ---- the platform, wrapped --------------------------------------------------------- */

/* The n-th next allocation (os_zalloc, os_mem_alloc; 1 is the next) fails; 0: none does. */
void fail_allocation(uint32_t nth);
bool allocation_failed(void); /* since the last fail_allocation() */

/* By os_zalloc() and os_table_alloc(), since the last call of this. */
uint64_t allocated_bytes(void);

/* Called in os_mem_alloc(), before it does anything; NULL: nothing is. */
extern void (*on_mem_alloc)(uint64_t bytes);

/* Moves CLOCK_MONOTONIC forward, for all threads, until the process ends. */
void advance_clock(uint64_t seconds);

/* ---- cores ------------------------------------------------------------------------------ */

/* No port, no switch and no region is left. */
void core_check_empty(const struct nm_core *core);

uint32_t core_count_regions(const struct nm_core *core);
uint32_t core_count_ports(const struct nm_core *core);

/* Region with one reference that is the caller's. */
struct nm_region *make_region(
	struct nm_core *core, uint32_t bufs, uint32_t buf_size, uint32_t max_slots);

/* Each object has one place: free exactly once, or owned; the reserved ones neither. */
void region_check(struct nm_region *region);

/* ---- applications ------------------------------------------------------------------------ */

struct app_config {
	const char *name;
	uint32_t buf_size; /* of a region of its own; 0: the core makes one */
	uint32_t slots;    /* per ring; 0: 64 */
	uint32_t rings;    /* per direction; 0: 1 */
	uint32_t hdr_len;
	uint64_t flags; /* NR_* */
};

struct app {
	struct nm_client client;
	struct nm_region *region; /* own; NULL when the core made one */
	struct netmap_if *nifp;
	uint32_t slots, rings, buf_size, hdr_len;
};

void app_open(struct nm_core *core, struct app *app, const struct app_config *config);
void app_close(struct app *app);

struct netmap_ring *app_ring(const struct app *app, enum nm_dir dir, uint32_t i);
struct nm_ring *app_private(const struct app *app, enum nm_dir dir, uint32_t i);
char *app_buf(const struct netmap_ring *ring, uint32_t index);

/* Slots that the application may use: room on tx, received on rx. */
uint32_t app_avail(const struct netmap_ring *ring);

/*
 * One packet into tx slots, cut into `frags` fragments of nearly equal length (0: as many as its
 * buffers make necessary). False: no room, nothing done. Not synced.
 */
bool app_put(struct app *app, uint32_t ring, const void *bytes, uint32_t len, uint32_t frags);

/* One slot as it is, NS_MOREFRAG and all. False: no room. */
bool app_put_slot(struct app *app, uint32_t ring, uint32_t buf_idx, uint16_t len, uint16_t flags);

/* Bytes of the next received packet, copied and its slots released (not synced), or -1: none.
 * Asserts that fragments are numbered as they should be. */
int app_take(struct app *app, uint32_t ring, void *bytes, size_t size);

void app_txsync(struct app *app, uint32_t ring); /* asserts success */
void app_rxsync(struct app *app, uint32_t ring);

/* An Ethernet frame of len bytes: addresses are numbers (NM_TEST_BROADCAST: all), the rest is
 * filled from `fill`. Behind hdr_len zero bytes of virtio-net header, which are part of len. */
enum { NM_TEST_BROADCAST = 0xffff };
void make_frame(
	void *bytes, uint32_t len, uint32_t hdr_len, uint32_t dst, uint32_t src, struct prng *fill);

/* ---- counters ---------------------------------------------------------------------------- */

struct totals {
	uint64_t tx_packets, copies, rx_packets;
	uint64_t tx_drops[NM_DROPS], rx_drops[NM_DROPS];
};

/* Adds what all rings of an app have counted. */
void totals_add(struct totals *totals, const struct app *app);

/*
 * For all apps of a switch since it began: every copy was delivered or is a drop of a receiver, and
 * every drop of a receiver is one of its sender, too. With unicast only: every packet was a
 * copy or is a drop of its sender alone.
 */
void totals_check(const struct totals *totals, bool unicast_only);

#endif
