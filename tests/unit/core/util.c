/* SPDX-License-Identifier: BSD-2-Clause */
#include "util.h"
#include "os_user.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* ---- random numbers ------------------------------------------------------------------- */

uint64_t test_seed(void)
{
	static uint64_t seed;
	const char *given = getenv("PTN_SEED");

	if (seed)
		return seed;
	if (given)
		seed = strtoull(given, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		abort();
	if (seed == 0)
		seed = 1;
	fprintf(stderr, "# seed PTN_SEED=0x%llx\n", (unsigned long long)seed);
	log_setup("unit", OS_LOG_ERR);
	return seed;
}

struct prng prng_new(uint64_t stream)
{
	return (struct prng){test_seed() ^ (stream * 0x9e3779b97f4a7c15ULL)};
}

uint64_t prng_next(struct prng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

uint32_t prng_below(struct prng *r, uint32_t limit)
{
	return limit ? (uint32_t)(prng_next(r) % limit) : 0;
}

uint32_t prng_range(struct prng *r, uint32_t least, uint32_t most)
{
	return least + prng_below(r, most - least + 1);
}

bool prng_chance(struct prng *r, uint32_t percent)
{
	return prng_below(r, 100) < percent;
}

void prng_fill(struct prng *r, void *buf, size_t bytes)
{
	uint8_t *p = buf;

	for (; bytes >= 8; bytes -= 8, p += 8) {
		uint64_t word = prng_next(r);

		memcpy(p, &word, 8);
	}
	while (bytes-- > 0)
		*p++ = (uint8_t)prng_next(r);
}

/* Of a number of so many bits. */
static uint64_t edge(struct prng *r, uint64_t about, uint32_t bits)
{
	uint64_t near = prng_below(r, 5) - 2ULL;

	switch (prng_below(r, 6)) {
	case 0:
		return near;
	case 1:
		return about + near;
	case 2:
		return (1ULL << (bits - 1)) + near;
	case 3:
		return (1ULL << prng_below(r, bits)) + near;
	case 4:
		return about ? prng_next(r) % about : 0;
	default:
		return prng_next(r);
	}
}

uint64_t prng_edge64(struct prng *r, uint64_t about)
{
	return edge(r, about, 64);
}

uint32_t prng_edge32(struct prng *r, uint32_t about)
{
	return (uint32_t)edge(r, about, 32);
}

/* ---- the platform, wrapped (with the linker's --wrap) ------------------------------ */

static uint32_t allocations_until_failure; /* 0: none fails */
static bool has_failed;

void fail_allocation(uint32_t nth)
{
	allocations_until_failure = nth;
	has_failed = false;
}

bool allocation_failed(void)
{
	return has_failed;
}

static uint64_t bytes_asked;

uint64_t allocated_bytes(void)
{
	return __atomic_exchange_n(&bytes_asked, 0, __ATOMIC_RELAXED);
}

static bool fails_now(void)
{
	if (allocations_until_failure == 0 || --allocations_until_failure > 0)
		return false;
	has_failed = true;
	return true;
}

void *__real_os_zalloc(size_t bytes);
struct os_mem *__real_os_mem_alloc(uint64_t bytes, struct nm_error *err);
int __real_clock_gettime(clockid_t clock, struct timespec *ts);
void *__wrap_os_zalloc(size_t bytes);
void *__wrap_os_table_alloc(size_t bytes);
void __wrap_os_table_free(void *table);
struct os_mem *__wrap_os_mem_alloc(uint64_t bytes, struct nm_error *err);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

void *__wrap_os_zalloc(size_t bytes)
{
	__atomic_fetch_add(&bytes_asked, bytes, __ATOMIC_RELAXED);
	return fails_now() ? NULL : __real_os_zalloc(bytes);
}

/* On the heap, where sanitizers see what reaches beyond. */
void *__wrap_os_table_alloc(size_t bytes)
{
	return __wrap_os_zalloc(bytes);
}

void __wrap_os_table_free(void *table)
{
	os_free(table);
}

void (*on_mem_alloc)(uint64_t bytes);

struct os_mem *__wrap_os_mem_alloc(uint64_t bytes, struct nm_error *err)
{
	if (on_mem_alloc)
		on_mem_alloc(bytes);
	if (!fails_now())
		return __real_os_mem_alloc(bytes, err);
	nm_error_set(err, -ENOMEM, "no memory for a region");
	return NULL;
}

static uint64_t clock_offset_s;

void advance_clock(uint64_t seconds)
{
	__atomic_fetch_add(&clock_offset_s, seconds, __ATOMIC_RELAXED);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	int result = __real_clock_gettime(clock, ts);

	ts->tv_sec += (time_t)__atomic_load_n(&clock_offset_s, __ATOMIC_RELAXED);
	return result;
}

/* ---- cores ------------------------------------------------------------------------------ */

uint32_t core_count_regions(const struct nm_core *core)
{
	uint32_t n = 0;

	for (const struct nm_region *region = core->regions; region; region = region->next)
		n++;
	return n;
}

uint32_t core_count_ports(const struct nm_core *core)
{
	uint32_t n = 0;

	for (const struct nm_port *port = core->ports; port; port = port->next)
		n++;
	return n;
}

void core_check_empty(const struct nm_core *core)
{
	assert_null(core->ports);
	assert_null(core->switches);
	assert_null(core->regions);
}

struct nm_region *make_region(
	struct nm_core *core, uint32_t bufs, uint32_t buf_size, uint32_t max_slots)
{
	struct nm_region_params params = {
		.count = {8, 64, bufs},
		.size = {1024, sizeof(struct netmap_ring) + max_slots * sizeof(struct netmap_slot),
			buf_size},
	};
	struct nm_region *region;
	struct nm_error err = {0};

	region = nm_region_create(core, &params, 0, &err);
	if (!region)
		fail_msg("region of %u buffers of %u bytes: %s", bufs, buf_size, err.text);
	return region;
}

/* Who may take all that is free, for a moment. */
enum { TAKES_ALL = 0x7ffffffe };

/* What is free, and nothing else, can be had, each once; it is put back as it was. */
static void pool_check(struct nm_region *region, enum nm_pool pool)
{
	uint32_t count = region->pool[pool].count, left = nm_bufown_num_free(region, pool);
	uint32_t reserved = pool == NM_POOL_BUF ? NM_BUFS_RESERVED : 0, used = 0;
	uint32_t *taken = calloc(left + 1, sizeof(*taken));

	assert_non_null(taken);
	for (uint32_t i = 0; i < count; i++)
		used += nm_bufown_owner(region, pool, i) != NM_OWNER_NONE;
	assert_int_equal(used + left, count - reserved);
	for (uint32_t i = 0; i < left; i++) {
		assert_int_equal(nm_bufown_alloc(region, pool, TAKES_ALL, &taken[i]), 0);
		assert_in_range(taken[i], reserved, count - 1);
	}
	assert_int_equal(nm_bufown_alloc(region, pool, TAKES_ALL, &taken[left]), -ENOMEM);
	for (uint32_t i = 0; i < reserved; i++)
		assert_int_equal(nm_bufown_owner(region, pool, i), NM_OWNER_NONE);
	while (left-- > 0)
		assert_int_equal(nm_bufown_free(region, pool, TAKES_ALL, taken[left]), 0);
	free(taken);
}

void region_check(struct nm_region *region)
{
	for (int pool = 0; pool < NM_POOLS; pool++)
		pool_check(region, pool);
}

/* ---- applications ------------------------------------------------------------------------ */

void app_open(struct nm_core *core, struct app *app, const struct app_config *config)
{
	struct nm_bind bind = {.mode = NR_REG_ALL_NIC,
		.flags = config->flags | (config->hdr_len ? NR_ACCEPT_VNET_HDR : 0)};
	int error;

	*app = (struct app){.hdr_len = config->hdr_len};
	app->slots = config->slots ? config->slots : 64;
	app->rings = config->rings ? config->rings : 1;
	nm_client_init(&app->client, core);
	if (config->buf_size) {
		app->region = make_region(core, NM_BUFS_RESERVED + 2 * app->rings * app->slots,
			config->buf_size, app->slots);
		app->client.own_region = app->region;
	}
	for (int dir = 0; dir < NM_DIRS; dir++) {
		bind.num_rings[dir] = app->rings;
		bind.num_slots[dir] = app->slots;
	}
	error = nm_client_bind(&app->client, config->name, &bind);
	if (error)
		fail_msg("%s: %s", config->name, app->client.err.text);
	app->nifp = (void *)(app->client.port->region->base + app->client.nifp_offset);
	app->buf_size = app->client.port->region->pool[NM_POOL_BUF].size;
	nm_core_lock(core);
	error = nm_port_set_hdr_len_locked(app->client.port, config->hdr_len);
	nm_core_unlock(core);
	assert_int_equal(error, 0);
}

void app_close(struct app *app)
{
	nm_client_unbind(&app->client);
	nm_region_put(app->region);
	app->region = NULL;
}

struct netmap_ring *app_ring(const struct app *app, enum nm_dir dir, uint32_t i)
{
	const struct netmap_if *nifp = app->nifp;
	uint32_t entry = dir == NM_TX ? i : nifp->ni_tx_rings + nifp->ni_host_tx_rings + i;

	return (void *)((char *)(uintptr_t)nifp + nifp->ring_ofs[entry]);
}

struct nm_ring *app_private(const struct app *app, enum nm_dir dir, uint32_t i)
{
	return nm_client_ring(&app->client, dir, i);
}

char *app_buf(const struct netmap_ring *ring, uint32_t index)
{
	return (char *)(uintptr_t)ring + ring->buf_ofs + (uint64_t)index * ring->nr_buf_size;
}

static uint32_t next_slot(const struct netmap_ring *ring, uint32_t i)
{
	return i + 1 == ring->num_slots ? 0 : i + 1;
}

uint32_t app_avail(const struct netmap_ring *ring)
{
	return (ring->tail + ring->num_slots - ring->head) % ring->num_slots;
}

bool app_put_slot(struct app *app, uint32_t i, uint32_t buf_idx, uint16_t len, uint16_t flags)
{
	struct netmap_ring *ring = app_ring(app, NM_TX, i);
	struct netmap_slot *slot = &ring->slot[ring->head];

	if (app_avail(ring) == 0)
		return false;
	slot->buf_idx = buf_idx;
	slot->len = len;
	slot->flags = flags;
	ring->head = ring->cur = next_slot(ring, ring->head);
	return true;
}

bool app_put(struct app *app, uint32_t i, const void *bytes, uint32_t len, uint32_t frags)
{
	struct netmap_ring *ring = app_ring(app, NM_TX, i);
	uint32_t most = app->buf_size > UINT16_MAX ? UINT16_MAX : app->buf_size;
	const char *from = bytes;

	if (frags == 0)
		frags = len == 0 ? 1 : (len + most - 1) / most;
	if (frags > app_avail(ring))
		return false;
	for (; frags > 0; frags--) {
		struct netmap_slot *slot = &ring->slot[ring->head];
		uint32_t n = (len + frags - 1) / frags;

		assert_in_range(n, 0, most);
		memcpy(app_buf(ring, slot->buf_idx), from, n);
		slot->len = (uint16_t)n;
		slot->flags = frags > 1 ? NS_MOREFRAG : 0;
		from += n;
		len -= n;
		ring->head = ring->cur = next_slot(ring, ring->head);
	}
	return true;
}

int app_take(struct app *app, uint32_t i, void *bytes, size_t size)
{
	struct netmap_ring *ring = app_ring(app, NM_RX, i);
	uint32_t slots = 0, total = 0, said;
	const struct netmap_slot *slot;

	if (app_avail(ring) == 0)
		return -1;
	said = NS_RFRAGS(&ring->slot[ring->head]);
	do {
		assert_int_not_equal(app_avail(ring), 0); /* packets are published whole */
		slot = &ring->slot[ring->head];
		assert_in_range(slot->len, 0, ring->nr_buf_size);
		assert_true(total + slot->len <= size);
		memcpy((char *)bytes + total, app_buf(ring, slot->buf_idx), slot->len);
		total += slot->len;
		slots++;
		assert_int_equal(NS_RFRAGS(slot), said);
		ring->head = ring->cur = next_slot(ring, ring->head);
	} while (slot->flags & NS_MOREFRAG);
	assert_int_equal(said, slots);
	return (int)total;
}

void app_txsync(struct app *app, uint32_t ring)
{
	assert_int_equal(nm_ring_sync_shared(app_private(app, NM_TX, ring)), 0);
}

void app_rxsync(struct app *app, uint32_t ring)
{
	assert_int_equal(nm_ring_sync_shared(app_private(app, NM_RX, ring)), 0);
}

static void put_address(uint8_t *mac, uint32_t number)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	const uint8_t station[6] = {2, 0, 0, 0, (uint8_t)(number >> 8), (uint8_t)number};

	memcpy(mac, number == NM_TEST_BROADCAST ? broadcast : station, 6);
}

void make_frame(
	void *bytes, uint32_t len, uint32_t hdr_len, uint32_t dst, uint32_t src, struct prng *fill)
{
	uint8_t *eth = (uint8_t *)bytes + hdr_len;

	assert_true(len >= hdr_len + 14);
	memset(bytes, 0, hdr_len);
	put_address(eth, dst);
	put_address(eth + 6, src);
	prng_fill(fill, eth + 12, len - hdr_len - 12);
}

/* ---- counters ---------------------------------------------------------------------------- */

void totals_add(struct totals *totals, const struct app *app)
{
	for (uint32_t i = 0; i < app->rings; i++) {
		const struct nm_ring_stats *tx = &app_private(app, NM_TX, i)->stats;
		const struct nm_ring_stats *rx = &app_private(app, NM_RX, i)->stats;

		totals->tx_packets += tx->packets;
		totals->copies += tx->copies;
		totals->rx_packets += rx->packets;
		for (int cause = 0; cause < NM_DROPS; cause++) {
			totals->tx_drops[cause] += tx->drops[cause];
			totals->rx_drops[cause] += rx->drops[cause];
		}
	}
}

void totals_check(const struct totals *totals, bool unicast_only)
{
	uint64_t received = totals->rx_packets, sender_only = 0;

	for (int cause = 0; cause < NM_DROPS; cause++) {
		received += totals->rx_drops[cause];
		assert_true(totals->tx_drops[cause] >= totals->rx_drops[cause]);
		sender_only += totals->tx_drops[cause] - totals->rx_drops[cause];
	}
	assert_int_equal(totals->copies, received);
	if (unicast_only)
		assert_int_equal(totals->tx_packets, totals->copies + sender_only);
}
