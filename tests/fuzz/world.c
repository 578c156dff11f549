/* SPDX-License-Identifier: BSD-2-Clause */
#include "world.h"
#include "attachment.h"
#include "vale.h"

#include <sanitizer/asan_interface.h>

enum {
	NOBODY = NM_OWNER_FIXED | 0x7777, /* owns every other buffer */
	BUFS = 400,
	SLOTS_MOST = 34,
	FRAGS_MOST = 12,
};

struct world world;

/* ---- poison ------------------------------------------------------------------------------------- */

/* Buffers, and what is behind the last one. */
static void poison_region(const struct nm_region *region, bool on)
{
	uint64_t from = region->pool[NM_POOL_BUF].offset;

	if (on)
		ASAN_POISON_MEMORY_REGION(region->base + from, region->size - from);
	else
		ASAN_UNPOISON_MEMORY_REGION(region->base + from, region->size - from);
}

static void poison_all(bool on)
{
	for (const struct nm_region *r = world.core->regions; r; r = r->next)
		poison_region(r, on);
}

static void allow_buf(const struct nm_region *region, uint32_t index)
{
	if (nm_region_buf_valid(region, index))
		ASAN_UNPOISON_MEMORY_REGION(
			nm_region_buf(region, index), region->pool[NM_POOL_BUF].size);
}

/* Buffers of `count` slots from `at` on may be touched. */
static void allow(const struct nm_ring *ring, uint32_t at, uint32_t count)
{
	for (; count > 0; count--, at = nm_ring_advance(at, 1, ring->num_slots))
		allow_buf(ring->region, ring->slots[at].buf_idx);
}

/* What producers may fill. */
static void allow_free(const struct nm_ring *ring)
{
	uint32_t used = nm_ring_distance(ring->hwcur, ring->produce.hwtail, ring->num_slots);

	allow(ring, ring->produce.hwtail, ring->num_slots - 1 - used);
}

/* What a receiving ring's monitors look at when it, or one of them, is synced. Its application can lie about any slot of it. */
static void allow_watched(const struct nm_ring *ring)
{
	if (ring->monitors)
		allow(ring, 0, ring->num_slots);
}

static void poison_for(const struct nm_ring *synced)
{
	poison_all(true);
	for (uint32_t i = 0; i < world.num_open_bufs; i++)
		allow_buf(world.open_region, world.open_bufs[i]);
	allow(synced, 0, synced->num_slots);
	for (const struct nm_port *port = world.core->ports; port; port = port->next)
		for (uint32_t i = 0; i < nm_port_all_rings(port, NM_RX); i++)
			if (port->rings[NM_RX][i].shared && !port->dead) {
				allow_free(&port->rings[NM_RX][i]);
				allow_watched(&port->rings[NM_RX][i]);
			}
}

/* No two buffers that somebody can get lie side by side. core->lock held. */
static void leave_gaps(struct nm_region *region)
{
	uint32_t taken[BUFS], n = 0;

	while (n < BUFS && nm_bufown_alloc(region, NM_POOL_BUF, NOBODY, &taken[n]) == 0)
		n++;
	while (n-- > 0)
		if (taken[n] % 2 == 0)
			(void)nm_bufown_free(region, NM_POOL_BUF, NOBODY, taken[n]);
}

/* Pipes and monitors of others may lie in an application's region: so each stays to the end. */
static void put_regions(void)
{
	nm_core_lock(world.core);
	while (world.num_regions > 0) {
		struct nm_region *region = world.regions[--world.num_regions];

		nm_bufown_free_owner(region, NOBODY);
		fuzz_check_all_free(region);
		nm_region_put(region);
	}
	nm_core_unlock(world.core);
}

/* ---- syncs -------------------------------------------------------------------------------------- */

struct nm_ring *world_ring(const struct world_app *app, uint32_t i)
{
	const struct nm_client *client = &app->client;
	struct nm_ring *ring;

	if (!client->port || client->port->dead || i >= client->count[NM_TX] + client->count[NM_RX])
		return NULL;
	ring = i < client->count[NM_TX] ? nm_client_ring(client, NM_TX, i)
					: nm_client_ring(client, NM_RX, i - client->count[NM_TX]);
	return ring->shared ? ring : NULL;
}

/* What has come can be read by its application. */
static void check_received(const struct nm_ring *ring)
{
	uint32_t size = ring->region->pool[NM_POOL_BUF].size;

	for (uint32_t at = ring->head; at != ring->tail;
		at = nm_ring_advance(at, 1, ring->num_slots)) {
		const struct netmap_slot *slot = &ring->slots[at];
		uint64_t offset = slot->ptr & ring->offset_mask;

		fuzz_check(nm_region_buf_valid(ring->region, slot->buf_idx), "%s: buffer %u",
			ring->port->name, slot->buf_idx);
		fuzz_check(slot->len <= size && offset <= size - slot->len,
			"%s: %u bytes at %llu of %u", ring->port->name, slot->len,
			(unsigned long long)offset, size);
	}
}

static void sync_served(struct world_app *app, uint32_t i, uint8_t how)
{
	struct nm_csb_server *server = &app->server[i];
	const struct nm_ring *ring = world_ring(app, i);

	OS_STORE(&app->atok[i].cur, OS_LOAD(&ring->shared->cur));
	OS_STORE(&app->atok[i].head, OS_LOAD(&ring->shared->head));
	OS_STORE(&app->atok[i].appl_need_kick, how & 1);
	if (how & 2)
		(void)nm_csb_server_finish(server);
	else
		(void)nm_csb_server_step(server);
	if (how & 4 && nm_csb_server_prepare_sleep(server))
		(void)nm_csb_server_step(server);
	nm_csb_server_awake(server);
	if (how & 8)
		nm_csb_server_resume(server, &app->atok[i], &app->ktoa[i]);
	OS_STORE(&ring->shared->tail, OS_LOAD(&app->ktoa[i].hwtail));
}

static void sync(struct world_app *app, uint32_t i, uint8_t how)
{
	struct nm_ring *ring = world_ring(app, i);

	if (world.before_sync)
		world.before_sync();
	poison_for(ring);
	if (world.start)
		world.start();
	if (app->served)
		sync_served(app, i, how);
	else
		(void)nm_ring_sync_shared(ring);
	if (world.after_sync)
		world.after_sync();
	poison_all(false);
	if (ring->dir == NM_RX && !world.before_sync)
		check_received(ring);
}

/* ---- what an application does with its slots ------------------------------------------------------ */

static uint32_t room(const struct nm_ring *ring)
{
	return ring->shared->head < ring->num_slots
		       ? nm_ring_distance(ring->shared->head, ring->tail, ring->num_slots)
		       : 0;
}

static void advance(struct nm_ring *ring, uint32_t n)
{
	ring->shared->head = ring->shared->cur =
		nm_ring_advance(ring->shared->head, n, ring->num_slots);
}

/*
 * Only of its own: an application that names a neighbour's buffer would mean it. And it exchanges no index that is none:
 * the other slot can be one that was filled and is not looked at yet (check_received).
 */
static void spoil_slot(struct fuzz_in *in, struct nm_ring *ring, struct netmap_slot *slot)
{
	uint8_t how = fuzz_u8(in);
	uint32_t size = ring->region->pool[NM_POOL_BUF].size;
	uint32_t count = ring->region->pool[NM_POOL_BUF].count;

	if (how & 1)
		slot->len = (uint16_t)fuzz_edge(in, size);
	if (how & 2)
		slot->flags = fuzz_u16(in);
	if (how & 4)
		slot->ptr = fuzz_edge(in, size - slot->len);
	if (how & 8) {
		uint32_t index = (uint32_t)fuzz_edge(in, count);

		slot->buf_idx = nm_region_buf_valid(ring->region, index) ? count + index : index;
	}
	if (how & 16) {
		struct netmap_slot *other = &ring->slots[fuzz_u8(in) % ring->num_slots];
		uint32_t mine = slot->buf_idx;

		if (nm_region_buf_valid(ring->region, mine) &&
			nm_region_buf_valid(ring->region, other->buf_idx)) {
			slot->buf_idx = other->buf_idx;
			other->buf_idx = mine;
		}
	}
}

/* A packet of len bytes in up to `slots` slots from head on; as much as there is room for. */
static uint32_t scatter(struct fuzz_in *in, struct nm_ring *ring, const uint8_t *bytes,
	uint32_t len, uint32_t slots)
{
	uint32_t size = ring->region->pool[NM_POOL_BUF].size, at = ring->shared->head, n = 0;

	while (n < slots) {
		struct netmap_slot *slot = &ring->slots[at];
		uint32_t offset = (uint32_t)(slot->ptr & ring->offset_mask), each;

		if (!nm_region_buf_valid(ring->region, slot->buf_idx) || offset >= size)
			break;
		each = n + 1 == slots ? len : fuzz_u8(in);
		each = each < size - offset ? each : size - offset;
		each = each < len ? each : len;
		memcpy((char *)nm_region_buf(ring->region, slot->buf_idx) + offset, bytes, each);
		bytes += each;
		len -= each;
		n++;
		slot->len = (uint16_t)each;
		slot->flags = len && n < slots ? NS_MOREFRAG : 0;
		at = nm_ring_advance(at, 1, ring->num_slots);
		if (!len)
			break;
	}
	return n;
}

static void send_packet(struct fuzz_in *in, struct world_app *app, struct nm_ring *ring)
{
	static uint8_t packet[WORLD_PACKET_MAX];
	uint8_t how = fuzz_u8(in);
	uint32_t len, slots = 1 + how % FRAGS_MOST, n, at = ring->shared->head;

	if (room(ring) == 0)
		return;
	len = world_packet(in, packet, sizeof(packet), app->client.port->hdr_len);
	slots = slots < room(ring) ? slots : room(ring);
	n = scatter(in, ring, packet, len, slots);
	if (how & 0x80)
		ring->slots[at].flags |= (uint16_t)(fuzz_u16(in) & 0xff0f);
	if ((how & 0x60) == 0x60 && n > 0)
		spoil_slot(in, ring, &ring->slots[at]);
	advance(ring, n);
}

/* Slots of the ring that the application has are given back, or sent, as they are or spoilt. */
static void give_slots(struct fuzz_in *in, struct nm_ring *ring)
{
	uint8_t how = fuzz_u8(in);
	uint32_t n = room(ring) ? how % (room(ring) + 1) : 0, at = ring->shared->head;

	ring->shared->flags = how & 0x80 ? NR_FORWARD | NR_TIMESTAMP : 0;
	for (uint32_t i = 0; i < n; i++, at = nm_ring_advance(at, 1, ring->num_slots)) {
		if (how & 0x80)
			ring->slots[at].flags |= NS_FORWARD;
		if (how & 0x40 && i < 4)
			spoil_slot(in, ring, &ring->slots[at]);
	}
	if (n > 0)
		advance(ring, n);
}

static void lie_about_indices(struct fuzz_in *in, struct nm_ring *ring)
{
	ring->shared->head = (uint32_t)fuzz_edge(in, ring->num_slots);
	ring->shared->cur = (uint32_t)fuzz_edge(in, ring->num_slots);
}

/* A ring that was stopped stays so: the indices are put back as an application would. */
static void put_back_indices(struct world_app *app, uint32_t i)
{
	struct nm_ring *ring = world_ring(app, i);

	nm_ring_reset_shared(ring);
	if (app->served && app->server[i].stopped)
		nm_csb_server_start(&app->server[i], ring, &app->atok[i], &app->ktoa[i]);
}

static void use_ring(struct fuzz_in *in, struct world_app *app)
{
	uint8_t how = fuzz_u8(in);
	uint32_t rings = app->client.count[NM_TX] + app->client.count[NM_RX];
	uint32_t i = rings ? how % rings : 0;
	struct nm_ring *ring = world_ring(app, i);

	if (!ring)
		return;
	switch (how >> 5) {
	case 0:
		give_slots(in, ring);
		break;
	case 1:
		lie_about_indices(in, ring);
		break;
	case 2:
		if (ring->dir == NM_TX)
			give_slots(in, ring);
		break;
	default:
		if (ring->dir == NM_TX)
			send_packet(in, app, ring);
		else
			give_slots(in, ring);
	}
	sync(app, i, fuzz_u8(in));
	if (how >> 5 == 1)
		put_back_indices(app, i);
}

/* ---- applications that come and go ----------------------------------------------------------------- */

static struct nm_region *make_region(struct fuzz_in *in)
{
	static const uint32_t sizes[] = {64, 128, 192, 256, 512, 1024, 2048, 4096};
	struct nm_region_params params = {
		.count = {8, 16, 2 * 4 * SLOTS_MOST},
		.size = {1024, 1024, sizes[fuzz_below(in, 8)]},
	};
	struct nm_error err = {0};
	struct nm_region *region;

	if (world.num_regions == WORLD_REGIONS)
		return NULL;
	nm_core_lock(world.core);
	region = nm_region_create(world.core, &params, 0, &err);
	fuzz_check(region, "%s", err.text);
	leave_gaps(region);
	nm_core_unlock(world.core);
	world.regions[world.num_regions++] = region;
	return region;
}

static void choose_name(struct fuzz_in *in, uint8_t how, char *name, struct nm_bind *bind)
{
	static const uint32_t modes[] = {NR_REG_ALL_NIC, NR_REG_NIC_SW, NR_REG_SW, NR_REG_ONE_NIC};
	uint32_t number = fuzz_below(in, 4), of = fuzz_below(in, 2);

	switch (how & 7) {
	case 5:
		snprintf(name, NETMAP_REQ_IFNAMSIZ, "vale%u:%u%c1", of, number, "{}"[of]);
		break;
	case 6:
		snprintf(name, NETMAP_REQ_IFNAMSIZ, "p%c%u", "{}"[of], number);
		break;
	case 7:
		snprintf(name, NETMAP_REQ_IFNAMSIZ, "dev%u", of);
		bind->mode = modes[number];
		break;
	default:
		snprintf(name, NETMAP_REQ_IFNAMSIZ, "vale%u:%u", of, number);
	}
	if (how & 8)
		bind->flags |= (uint64_t)(1 + number % 7) << 8; /* monitors of all sorts */
}

static void start_service(struct world_app *app)
{
	uint32_t rings = app->client.count[NM_TX] + app->client.count[NM_RX];

	app->served = true;
	for (uint32_t i = 0; i < rings && i < WORLD_RINGS; i++)
		if (world_ring(app, i))
			nm_csb_server_start(
				&app->server[i], world_ring(app, i), &app->atok[i], &app->ktoa[i]);
}

static void close_app(struct world_app *app)
{
	nm_client_unbind(&app->client);
	app->served = false;
}

/* `kind`: as choose_name() has them; 8: as the input says. */
static void open_app(struct fuzz_in *in, struct world_app *app, uint8_t kind)
{
	uint8_t how = fuzz_u8(in), shape = fuzz_u8(in);
	struct nm_offsets offsets = {0};
	struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC,
		.flags = NR_ACCEPT_VNET_HDR,
		.num_slots = {4 + shape % 30, 4 + shape % 7 * 5},
		.num_rings = {1 + (shape >> 7), 1 + (shape >> 6 & 1)},
	};
	char name[NETMAP_REQ_IFNAMSIZ];
	int error;

	nm_client_init(&app->client, world.core);
	choose_name(in, kind < 8 ? kind : how, name, &bind);
	if (how & 16)
		app->client.own_region = make_region(in);
	if (how & 32) {
		offsets.max = fuzz_edge(in, 64);
		offsets.initial = fuzz_edge(in, 32);
		offsets.bits = how & 64 ? 12 : 0;
		offsets.min_gap = fuzz_below(in, 3) * 16;
		bind.offsets = &offsets;
	}
	error = nm_client_bind(&app->client, name, &bind);
	fuzz_check_error(error, app->client.err.text);
	if (error) {
		close_app(app);
		return;
	}
	if (how & 128 && app->client.count[NM_TX] + app->client.count[NM_RX] <= WORLD_RINGS)
		start_service(app);
}

static void set_hdr_len(struct fuzz_in *in, const struct world_app *app)
{
	static const uint32_t lengths[] = {0, 10, 12, 11};
	uint32_t what = fuzz_below(in, 8);

	nm_core_lock(world.core);
	(void)nm_port_set_hdr_len_locked(app->client.port, lengths[what & 3]);
	nm_core_unlock(world.core);
	OS_STORE(&app->client.port->knows, what & 4 ? fuzz_below(in, 4) : 0);
}

/* ---- devices --------------------------------------------------------------------------------------- */

static void receive(struct fuzz_in *in, const char *name)
{
	static uint8_t packet[WORLD_PACKET_MAX];
	uint32_t len = world_packet(in, packet, 1514, 0);

	fuzz_device_receive(world.core, name, packet, len);
}

static void use_device(struct fuzz_in *in)
{
	const struct nm_bind bind = {.mode = fuzz_below(in, 2) ? NR_REG_NIC_SW : NR_REG_ALL_NIC};
	uint8_t how = fuzz_u8(in);
	const char *name = how & 1 ? "vale0:dev0" : "vale1:dev1";
	struct nm_error err = {0};
	uint32_t index;

	switch (how >> 1 & 3) {
	case 0:
		(void)nm_attachment_add(world.core, NULL, name, &bind, &index, &err);
		break;
	case 1:
		(void)nm_attachment_remove(world.core, NULL, name, &index, &err);
		break;
	default:
		(world.receive ? world.receive : receive)(in, name + 6);
	}
	fuzz_step_attachments(world.core);
}

static void add_device(const char *name)
{
	const struct nm_shape shape = {.rings = {2, 1}, .slots = {16, 16}};
	struct nm_error err = {0};

	nm_core_lock(world.core);
	fuzz_check(world.core->platform_ops->newif(world.core, NULL, name, &shape, 0, &err) == 0,
		"%s", err.text);
	nm_core_unlock(world.core);
}

/* ---- one input -------------------------------------------------------------------------------------- */

void world_begin(struct fuzz_in *in)
{
	static struct nm_core own;
	struct nm_error err = {0};
	uint8_t config = fuzz_u8(in);

	world.core = world.core ? world.core : &own;
	fuzz_check(nm_core_init(world.core) == 0, "no core");
	world.core->platform_ops = world.platform ? world.platform : &fuzz_platform;
	world.core->platform = world.platform_arg;
	world.core->spare_bufs = 4;
	world.core->region_params = world.core->shared_params = (struct nm_region_params){
		.count = {32, 64, BUFS}, .size = {1024, 1024, config & 1 ? 128 : 2048}};
	nm_core_lock(world.core);
	world.regions[0] = nm_region_by_id(world.core, NM_REGION_SHARED_ID, false, &err);
	fuzz_check(world.regions[0], "%s", err.text);
	world.num_regions = 1;
	leave_gaps(world.regions[0]);
	nm_core_unlock(world.core);
	for (uint32_t i = 0; i < WORLD_APPS; i++)
		nm_client_init(&world.apps[i].client, world.core);
	add_device("dev0");
	add_device("dev1");
	/* Two that can talk to each other are there at once, or to devices where these are the subject. */
	for (uint32_t i = 0; i < 2; i++)
		open_app(in, &world.apps[i], world.platform ? 7 : 8);
}

void world_step(struct fuzz_in *in)
{
	uint8_t what = fuzz_u8(in);
	struct world_app *app = &world.apps[what % WORLD_APPS];

	switch (what / WORLD_APPS) {
	case 0:
		if (app->client.port)
			close_app(app);
		break;
	case 1:
		use_device(in);
		break;
	case 2:
		fuzz_advance_clock(fuzz_u8(in) * 4ULL);
		nm_core_lock(world.core);
		if (what & 1)
			(void)nm_vale_flush_locked(world.core, NULL, what & 2 ? "vale0" : "vale1");
		nm_core_unlock(world.core);
		break;
	case 3:
		if (app->client.port)
			set_hdr_len(in, app);
		break;
	default:
		if (app->client.port)
			use_ring(in, app);
		else
			open_app(in, app, 8);
	}
}

void world_end(void)
{
	for (uint32_t i = 0; i < WORLD_APPS; i++)
		close_app(&world.apps[i]);
	fuzz_core_release(world.core);
	if (world.remove)
		world.remove();
	put_regions();
	fuzz_core_end(world.core);
}
