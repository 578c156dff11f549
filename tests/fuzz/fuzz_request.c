/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Control requests and their options, and the older interface, as several clients make them of one
 * core: every request that the core serves, on a platform that serves all.
 */
#include "control.h"
#include "fuzz_core.h"
#include "legacy.h"
#include "requests.h"

enum {
	CLIENTS = 4,
	BASE = 0x1000, /* the address of what a request lies in */
	STEPS = 40,
};

static struct nm_core core;
static struct nm_client clients[CLIENTS];
static struct fuzz_request rq;
static uint32_t calls, fail_at; /* accesses to the memory of a request; the one that fails, or 0 */
static int platform_error;      /* what the platform's own functions answer */

void fuzz_begin(void)
{
}

/* ---- the platform -------------------------------------------------------------------------------- */

static bool reachable(uint64_t addr, size_t bytes)
{
	if (++calls == fail_at)
		return false;
	return addr >= BASE && addr - BASE <= rq.len && bytes <= rq.len - (addr - BASE);
}

static int read_memory(void *arg, uint64_t addr, void *dst, size_t bytes)
{
	if (!reachable(addr, bytes))
		return -EFAULT;
	memcpy(dst, rq.bytes + (addr - BASE), bytes);
	return 0;
}

static int write_memory(void *arg, uint64_t addr, const void *src, size_t bytes)
{
	if (!reachable(addr, bytes))
		return -EFAULT;
	memcpy(rq.bytes + (addr - BASE), src, bytes);
	return 0;
}

static struct os_mem *give_extmem(void *arg, uint64_t addr, uint64_t bytes, struct nm_error *err)
{
	bool refused = platform_error || bytes > UINT64_MAX - 4095;
	struct os_mem *mem = refused ? NULL : os_mem_alloc((bytes + 4095) & ~4095ULL, err);

	if (!mem)
		nm_error_set(err, -ENOMEM, "no external memory");
	return mem;
}

static int enable_csb(
	void *arg, struct nm_client *client, uint64_t atok, uint64_t ktoa, uint32_t entries)
{
	fuzz_check(client->port, "a CSB for no port");
	fuzz_check(entries == client->count[NM_TX] + client->count[NM_RX], "%u entries", entries);
	fuzz_check(atok % 64 == 0 && ktoa % 64 == 0, "a CSB that is not aligned");
	return platform_error;
}

static int start_kloop(void *arg, struct nm_client *client, const struct nm_kloop_request *request)
{
	fuzz_check(client->port, "a loop for no port");
	fuzz_check(request->rings == 0 ||
			   request->rings == client->count[NM_TX] + client->count[NM_RX],
		"a loop of %u rings", request->rings);
	return platform_error;
}

static int stop_kloop(void *arg, struct nm_client *client)
{
	return platform_error;
}

static const struct nm_uaccess all = {
	.read = read_memory,
	.write = write_memory,
	.extmem = give_extmem,
	.csb_enable = enable_csb,
	.kloop_start = start_kloop,
	.kloop_stop = stop_kloop,
};
static const struct nm_uaccess bare = {.read = read_memory, .write = write_memory};

/* ---- what is done ------------------------------------------------------------------------------- */

static int run(struct nm_client *client, const struct nm_uaccess *ua)
{
	bool was_bound = client->port != NULL;
	int error;

	calls = 0;
	error = nm_control(client, ua, BASE);
	fuzz_check_error(error, client->err.text);
	if (error)
		fuzz_check((client->port != NULL) == was_bound,
			"request %d fails with %d, and binds or unbinds", rq.bytes[2], error);
	return error;
}

static void ask(struct fuzz_in *in, struct nm_client *client)
{
	uint8_t how = fuzz_u8(in);

	fail_at = how & 1 ? fuzz_below(in, 16) : 0;
	platform_error = how & 2 ? -EBUSY : 0;
	if (how & 4)
		fuzz_fail_allocation(fuzz_below(in, 32));
	fuzz_request_make(in, &rq, BASE);
	(void)run(client, how & 8 ? &bare : &all);
	fuzz_fail_allocation(0);
}

static void make_nmreq(struct fuzz_in *in, struct nmreq *nmr)
{
	uint8_t other = fuzz_u8(in);

	if (other & 0x80) {
		fuzz_bytes(in, nmr, sizeof(*nmr));
		return;
	}
	*nmr = (struct nmreq){.nr_version = NETMAP_API, .nr_tx_slots = 16, .nr_rx_slots = 16};
	fuzz_port_name(in, nmr->nr_name, sizeof(nmr->nr_name));
	if (other & 1)
		nmr->nr_cmd = (uint16_t)fuzz_below(in, 14);
	if (other & 2)
		nmr->nr_arg1 = (uint16_t)fuzz_edge(in, 12);
	if (other & 4)
		nmr->nr_arg2 = (uint16_t)fuzz_below(in, 8);
	if (other & 8)
		nmr->nr_arg3 = (uint32_t)fuzz_edge(in, 64);
	if (other & 16)
		nmr->nr_flags = fuzz_u32(in) & 0x1ffff;
	if (other & 32)
		nmr->nr_ringid = fuzz_u16(in);
	if (other & 64)
		nmr->nr_version = (uint32_t)fuzz_edge(in, 11);
}

/* As a platform does it: translated, executed, and back. */
static void ask_legacy(struct fuzz_in *in, struct nm_client *client)
{
	struct nm_error err = {0};
	struct nm_legacy l;
	struct nmreq nmr;
	int error;

	make_nmreq(in, &nmr);
	error = nm_legacy_request(&nmr, fuzz_u8(in) & 1, &l, &err);
	fuzz_check_error(error, err.text);
	if (error)
		return;
	fuzz_check(l.body_size <= sizeof(l.body), "a body of %u bytes", l.body_size);
	memset(&rq, 0, sizeof(rq));
	rq.len = sizeof(l.hdr) + l.body_size;
	l.hdr.nr_body = l.body_size ? BASE + sizeof(l.hdr) : 0;
	memcpy(rq.bytes, &l.hdr, sizeof(l.hdr));
	memcpy(rq.bytes + sizeof(l.hdr), &l.body, l.body_size);
	fail_at = 0;
	platform_error = 0;
	error = run(client, &all);
	memcpy(&l.hdr, rq.bytes, sizeof(l.hdr));
	memcpy(&l.body, rq.bytes + sizeof(l.hdr), l.body_size);
	nm_legacy_result(&l, error == 0, &nmr);
	fuzz_check(nmr.nr_version == NETMAP_API, "version %u", nmr.nr_version);
}

/* What the application of a bound client could do: move its indices, and sync. */
static void sync_rings(struct fuzz_in *in, const struct nm_client *client)
{
	uint8_t by = fuzz_u8(in);

	for (int dir = 0; client->port && dir < NM_DIRS; dir++) {
		for (uint32_t i = 0; i < client->count[dir]; i++) {
			struct nm_ring *ring = nm_client_ring(client, (enum nm_dir)dir, i);

			if (!ring->shared || client->port->dead)
				continue;
			ring->shared->head = ring->shared->cur =
				(ring->shared->head + by % 4) % ring->num_slots;
			(void)nm_ring_sync_shared(ring);
		}
	}
}

static void step(struct fuzz_in *in)
{
	uint8_t what = fuzz_u8(in);
	struct nm_client *client = &clients[what % CLIENTS];

	switch (what / CLIENTS % 8) {
	case 0:
		nm_client_unbind(client);
		break;
	case 1:
	case 2:
		ask_legacy(in, client);
		break;
	case 3:
		sync_rings(in, client);
		fuzz_step_attachments(&core);
		break;
	default:
		ask(in, client);
	}
}

/* ---- one input ------------------------------------------------------------------------------------ */

static void begin(struct fuzz_in *in)
{
	uint8_t config = fuzz_u8(in);

	fuzz_check(nm_core_init(&core) == 0, "no core");
	core.platform_ops = config & 1 ? NULL : &fuzz_platform;
	core.region_params = core.shared_params = (struct nm_region_params){
		.count = {config & 2 ? 2 : 16, config & 2 ? 6 : 64, config & 2 ? 80 : 600},
		.size = {1024, 1024, config & 4 ? 64 : 256},
	};
	core.spare_bufs = config >> 4;
	for (int i = 0; i < CLIENTS; i++) {
		nm_client_init(&clients[i], &core);
		clients[i].exclusive_only = config & 8;
	}
}

void fuzz_one(struct fuzz_in *in)
{
	struct nm_error err = {0};
	struct nm_region *shared;

	begin(in);
	nm_core_lock(&core);
	shared = nm_region_by_id(&core, NM_REGION_SHARED_ID, false, &err);
	nm_core_unlock(&core);
	for (int i = 0; i < STEPS && fuzz_more(in); i++)
		step(in);
	for (int i = 0; i < CLIENTS; i++)
		nm_client_unbind(&clients[i]);
	fuzz_core_release(&core);
	if (shared)
		fuzz_check_all_free(shared);
	nm_core_lock(&core);
	nm_region_put(shared);
	nm_core_unlock(&core);
	fuzz_core_end(&core);
}
