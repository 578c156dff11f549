/* SPDX-License-Identifier: BSD-2-Clause */
/* core/control.h: options: chains of any shape, each option on each request, and the requests that
 * live by their options: CSB_ENABLE and the sync loop. */
#include "request.h"

/* Places of the options in the memory of a request, far enough from each other. */
enum { AT1 = 0x400, AT2 = 0x500, AT3 = 0x600, AT4 = 0x700, AT_EVENTFDS = 0x800 };

static void prepare_exclusive(const char *name)
{
	prepare_register(name);
	reg->nr_flags = NR_EXCLUSIVE;
}

static struct nmreq_option *option(uint32_t i)
{
	return (void *)(memory.bytes + OPTIONS + i * sizeof(struct nmreq_option));
}

static uint64_t option_addr(uint32_t i)
{
	return BASE + OPTIONS + i * sizeof(struct nmreq_option);
}

/* A chain of `count` bare options of these types, on a request. */
static void prepare_chain(uint16_t request, const uint32_t *types, uint32_t count)
{
	prepare(request, "vale0:1");
	reg->nr_mode = request == NETMAP_REQ_REGISTER ? NR_REG_ALL_NIC : 0;
	hdr->nr_options = count ? option_addr(0) : 0;
	for (uint32_t i = 0; i < count; i++)
		*option(i) = (struct nmreq_option){
			.nro_next = i + 1 < count ? option_addr(i + 1) : 0,
			.nro_reqtype = types[i],
			.nro_status = 0x55,
		};
}

/* ---- chains ------------------------------------------------------------------------------ */

static void chains(void **state)
{
	static const struct {
		uint32_t count, types[4], status[4];
		int error;
	} cases[] = {
		{1, {0}, {EOPNOTSUPP}, -EOPNOTSUPP},
		{1, {NETMAP_REQ_OPT_MAX}, {EOPNOTSUPP}, -EOPNOTSUPP},
		{1, {31}, {EOPNOTSUPP}, -EOPNOTSUPP},
		{1, {32 + NETMAP_REQ_OPT_CSB}, {EOPNOTSUPP}, -EOPNOTSUPP},
		{1, {UINT32_MAX}, {EOPNOTSUPP}, -EOPNOTSUPP},
		{2, {2, 4}, {EOPNOTSUPP, EOPNOTSUPP}, -EOPNOTSUPP},
		{2, {3, 3}, {EINVAL, EINVAL}, -EINVAL},
		{3, {3, 4, 3}, {EINVAL, EOPNOTSUPP, EINVAL}, -EINVAL},
		{4, {3, 3, 1, 3}, {EINVAL, EINVAL, 0, EINVAL}, -EINVAL},
		{4, {3, 3, 5, 99}, {EINVAL, EINVAL, 0, EOPNOTSUPP}, -EINVAL},
		{2, {99, 99}, {EOPNOTSUPP, EOPNOTSUPP}, -EOPNOTSUPP},
		{2, {1, 99}, {0, EOPNOTSUPP}, -EOPNOTSUPP},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		prepare_chain(NETMAP_REQ_REGISTER, cases[i].types, cases[i].count);
		assert_int_equal(ask(), cases[i].error);
		for (uint32_t k = 0; k < cases[i].count; k++) {
			assert_int_equal(option(k)->nro_status, cases[i].status[k]);
			assert_int_equal(option(k)->nro_reqtype, cases[i].types[k]);
		}
		assert_null(client.port);
	}
	assert_int_equal(platform.extmems + platform.csbs, 0); /* nothing was begun */
}

/* Each option on each request: where it may be it is not refused as unknown. */
static void every_option_on_every_request(void **state)
{
	static const uint32_t allowed[NETMAP_REQ_CSB_ENABLE + 1] = {
		[NETMAP_REQ_REGISTER] = 1u << NETMAP_REQ_OPT_EXTMEM | 1u << NETMAP_REQ_OPT_CSB |
					1u << NETMAP_REQ_OPT_OFFSETS,
		[NETMAP_REQ_SYNC_KLOOP_START] = 1u << NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS |
						1u << NETMAP_REQ_OPT_SYNC_KLOOP_MODE,
		[NETMAP_REQ_CSB_ENABLE] = 1u << NETMAP_REQ_OPT_CSB,
	};

	for (uint16_t request = 1; request <= NETMAP_REQ_CSB_ENABLE; request++) {
		for (uint32_t type = 1; type < NETMAP_REQ_OPT_MAX; type++) {
			bool may = allowed[request] & (1u << type);
			int error;

			prepare_chain(request, &type, 1);
			error = ask();
			nm_client_unbind(&client);
			assert_int_equal(error == -EOPNOTSUPP, !may);
			assert_int_equal(option(0)->nro_status == EOPNOTSUPP, !may);
		}
	}
}

static void chains_that_do_not_end(void **state)
{
	static const uint32_t types[] = {1, 2, 3};

	for (uint32_t back = 0; back < 3; back++) {
		prepare_chain(NETMAP_REQ_REGISTER, types, 3);
		option(2)->nro_next = option_addr(back);
		assert_int_equal(ask(), -EINVAL);
		check_err_says("a loop");
		assert_true(memory.calls < 1000);
	}
	/* Of options that nobody knows: no more than a list that is too long. */
	prepare_chain(NETMAP_REQ_REGISTER, (const uint32_t[]){99, 98}, 2);
	option(1)->nro_next = option_addr(0);
	assert_int_equal(ask(), -EMSGSIZE);
	/* Too many for a request, without a loop; and the most there can be. */
	for (uint32_t count = 115; count < 135; count++) {
		size_t bytes = sizeof(struct nmreq_header) + sizeof(struct nmreq_register) +
			       count * (sizeof(struct nmreq_option) + sizeof(uint64_t));

		prepare_chain(NETMAP_REQ_REGISTER, types, 1);
		for (uint32_t i = 0; i < count; i++)
			*option(i) = (struct nmreq_option){
				.nro_next = i + 1 < count ? option_addr(i + 1) : 0,
				.nro_reqtype = 1000 + i};
		assert_int_equal(ask(), bytes > NETMAP_REQ_MAXSIZE ? -EMSGSIZE : -EOPNOTSUPP);
	}
	/* An option in the header's place, and one that is not aligned. */
	prepare_chain(NETMAP_REQ_REGISTER, types, 1);
	hdr->nr_options = BASE;
	assert_true(ask() < 0);
	prepare_chain(NETMAP_REQ_REGISTER, types, 1);
	hdr->nr_options = BASE + OPTIONS + 1;
	assert_true(ask() < 0);
}

static void sizes(void **state)
{
	enum {
		REST = NETMAP_REQ_MAXSIZE - sizeof(struct nmreq_header) -
		       sizeof(struct nmreq_register) - sizeof(uint64_t),
	};
	static const struct {
		uint32_t type;
		uint64_t size;
		int error;
	} cases[] = {
		{77, 0, -EOPNOTSUPP},
		{77, REST, -EOPNOTSUPP},
		{77, REST + 1, -EMSGSIZE},
		{77, NETMAP_REQ_MAXSIZE, -EMSGSIZE},
		{77, NETMAP_REQ_MAXSIZE + 1, -EOPNOTSUPP}, /* never set: doesn't count */
		{77, UINT64_MAX, -EOPNOTSUPP},
		{NETMAP_REQ_OPT_CSB, REST + 1, -EMSGSIZE},
		{NETMAP_REQ_OPT_CSB, UINT64_MAX, -EINVAL}, /* without arrays */
		{2, REST, -EOPNOTSUPP},
		{2, REST + 1, -EMSGSIZE},
		{2, NETMAP_REQ_MAXSIZE, -EMSGSIZE},
		{2, NETMAP_REQ_MAXSIZE + 1, -EMSGSIZE},
		{2, 1ULL << 32, -EMSGSIZE},
		{2, UINT64_MAX, -EMSGSIZE},
		{2, UINT64_MAX - 100, -EMSGSIZE},
		{2, 1ULL << 63, -EMSGSIZE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		prepare_chain(NETMAP_REQ_REGISTER, &cases[i].type, 1);
		option(0)->nro_size = cases[i].size;
		assert_int_equal(ask(), cases[i].error);
	}
}

/* The length is looked at before the types: what the last one says counts, whatever it is. */
static void a_list_that_is_too_long_by_its_last_option(void **state)
{
	enum { COUNT = 100 };
	uint32_t types[COUNT];

	for (uint32_t last = 0; last <= NETMAP_REQ_OPT_MAX; last++) {
		for (uint32_t i = 0; i < COUNT; i++)
			types[i] = i + 1 < COUNT ? 1000 + i : last;
		prepare_chain(NETMAP_REQ_REGISTER, types, COUNT);
		assert_int_equal(ask(), -EOPNOTSUPP);
		prepare_chain(NETMAP_REQ_REGISTER, types, COUNT);
		option(COUNT - 1)->nro_size = 1000;
		assert_int_equal(ask(), -EMSGSIZE);
	}
}

/* The k-th access fails: -EFAULT, and nothing is left behind. */
static void every_access_fails_once(void **state)
{
	for (uint32_t k = 1;; k++) {
		struct nmreq_opt_offsets *offsets;
		struct nmreq_opt_extmem *extmem;
		struct nmreq_opt_csb *csb;
		int error;

		prepare_exclusive("vale0:1");
		extmem = push_option(AT1, NETMAP_REQ_OPT_EXTMEM);
		extmem->nro_info.nr_memsize = 1 << 20;
		csb = push_option(AT2, NETMAP_REQ_OPT_CSB);
		csb->csb_atok = csb->csb_ktoa = 0x10000;
		offsets = push_option(AT3, NETMAP_REQ_OPT_OFFSETS);
		offsets->nro_max_offset = 64;
		memory.fail_at = k;
		error = ask();
		assert_int_equal(!!client.port, error == 0);
		if (memory.calls < k) {
			assert_int_equal(error, 0);
			assert_int_equal(extmem->nro_opt.nro_status, 0);
			assert_int_equal(csb->nro_opt.nro_status, 0);
			assert_int_equal(offsets->nro_opt.nro_status, 0);
			assert_true(k > 15);
			break;
		}
		assert_int_equal(error, -EFAULT);
		core_check_empty(&core);
	}
}

/* ---- EXTMEM -------------------------------------------------------------------------------- */

static struct nmreq_opt_extmem *prepare_extmem(uint64_t bytes)
{
	struct nmreq_opt_extmem *extmem;

	prepare_register("vale0:1");
	extmem = push_option(AT1, NETMAP_REQ_OPT_EXTMEM);
	extmem->nro_usrptr = 0x123000;
	extmem->nro_info.nr_memsize = bytes;
	return extmem;
}

static void extmem(void **state)
{
	struct nmreq_opt_extmem *opt = prepare_extmem(1 << 20);

	assert_int_equal(ask(), 0);
	assert_int_equal(opt->nro_opt.nro_status, 0);
	assert_int_equal(opt->nro_usrptr, 0x123000);
	assert_int_equal(platform.extmem_addr, 0x123000);
	assert_int_equal(platform.extmem_bytes, 1 << 20);
	assert_int_equal(opt->nro_info.nr_memsize, 1 << 20);
	assert_int_equal(reg->nr_memsize, 1 << 20);
	assert_int_equal(opt->nro_info.nr_mem_id, reg->nr_mem_id);
	assert_true(opt->nro_info.nr_buf_pool_objtotal >= 32);
	assert_true(opt->nro_info.nr_buf_pool_offset > opt->nro_info.nr_ring_pool_offset);
	assert_int_equal(client.port->region->size, 1 << 20);
}

/* The sizes that a caller wishes are what it gets. All that it wishes fills the memory exactly; a page
 * boundary may cost one buffer. */
static void extmem_wishes(void **state)
{
	struct nmreq_opt_extmem *opt = prepare_extmem(2 * 1024 + 64 * 512 + 4096 * 2048);

	opt->nro_info.nr_if_pool_objtotal = 2;
	opt->nro_info.nr_if_pool_objsize = 1024;
	opt->nro_info.nr_ring_pool_objtotal = 64;
	opt->nro_info.nr_ring_pool_objsize = 512;
	opt->nro_info.nr_buf_pool_objtotal = 4096;
	opt->nro_info.nr_buf_pool_objsize = 2048;
	reg->nr_tx_slots = reg->nr_rx_slots = 8;
	assert_int_equal(ask(), 0);
	assert_int_equal(opt->nro_info.nr_ring_pool_objtotal, 64);
	assert_int_equal(opt->nro_info.nr_ring_pool_objsize, 512);
	assert_in_range(opt->nro_info.nr_buf_pool_objtotal, 4095, 4096);
	assert_int_equal(opt->nro_info.nr_buf_pool_objsize, 2048);
	assert_int_equal(opt->nro_info.nr_memsize, 2 * 1024 + 64 * 512 + 4096 * 2048);
	nm_client_unbind(&client);

	opt = prepare_extmem(2 * 1024 + 64 * 512 + 4096 * 2048);
	opt->nro_info.nr_ring_pool_objtotal = 64;
	opt->nro_info.nr_ring_pool_objsize = 1 << 16;
	opt->nro_info.nr_buf_pool_objtotal = 4096;
	opt->nro_info.nr_buf_pool_objsize = 2048;
	assert_int_equal(ask(), -EINVAL); /* more than fits */
	assert_int_equal(opt->nro_opt.nro_status, EINVAL);
	opt = prepare_extmem(1 << 20);
	opt->nro_info.nr_buf_pool_objtotal = opt->nro_info.nr_buf_pool_objsize = UINT32_MAX;
	opt->nro_info.nr_ring_pool_objtotal = opt->nro_info.nr_ring_pool_objsize = UINT32_MAX;
	assert_int_equal(ask(), -EINVAL);
	assert_int_equal(platform.extmems, 1);
}

static void extmem_refused(void **state)
{
	struct nmreq_opt_extmem *opt = prepare_extmem(0);

	assert_int_equal(ask(), -EINVAL);
	assert_int_equal(opt->nro_opt.nro_status, EINVAL);
	opt = prepare_extmem(1 << 20);
	reg->nr_mem_id = 3;
	assert_int_equal(ask(), -EINVAL);
	assert_int_equal(opt->nro_opt.nro_status, EINVAL);
	assert_int_equal(platform.extmems, 0);

	platform.extmem_error = -EPERM;
	opt = prepare_extmem(1 << 20);
	assert_int_equal(ask(), -EPERM);
	assert_int_equal(opt->nro_opt.nro_status, EPERM);
	check_err_says("external memory");
	platform.extmem_error = 0;

	opt = prepare_extmem(1 << 20); /* the memory goes back when the port is refused */
	memcpy(hdr->nr_name, "eth0", 5);
	assert_int_equal(ask(), -ENXIO);
	assert_int_equal(opt->nro_opt.nro_status, 0);
	opt = prepare_extmem(4096); /* too small for anything */
	assert_true(ask() < 0);
	core_check_empty(&core);

	opt = prepare_extmem(1 << 20);
	assert_int_equal(nm_control(&client, &bare_ua, BASE), -EOPNOTSUPP);
	assert_int_equal(opt->nro_opt.nro_status, EOPNOTSUPP);
}

/* ---- OFFSETS ------------------------------------------------------------------------------- */

static void offsets(void **state)
{
	struct nmreq_opt_offsets *opt;

	prepare_register("vale0:1");
	opt = push_option(AT1, NETMAP_REQ_OPT_OFFSETS);
	opt->nro_max_offset = 128;
	opt->nro_initial_offset = 64;
	opt->nro_offset_bits = 16;
	opt->nro_min_gap = 10;
	assert_int_equal(ask(), 0);
	assert_int_equal(opt->nro_opt.nro_status, 0);
	assert_true(opt->nro_max_offset >= 128);
	assert_int_equal(opt->nro_initial_offset, 64);
	assert_int_equal(opt->nro_offset_bits, 16);
	assert_true(opt->nro_min_gap >= 10);
	assert_int_equal(client.port->offsets.mask, 0xffff);
}

static void offsets_refused(void **state)
{
	static const struct nmreq_opt_offsets bad[] = {
		{.nro_max_offset = 128, .nro_initial_offset = 129},
		{.nro_max_offset = 128, .nro_offset_bits = 65},
		{.nro_max_offset = 128, .nro_tx_align = 3},
		{.nro_max_offset = 128, .nro_tx_align = UINT32_MAX},
		{.nro_max_offset = UINT64_MAX, .nro_initial_offset = UINT64_MAX},
		{.nro_max_offset = 128, .nro_offset_bits = 4}, /* 15 at most */
		{.nro_max_offset = 65536},                     /* no buffer is as long */
		{.nro_max_offset = 128, .nro_min_gap = 65536},
		{.nro_max_offset = 2000, .nro_min_gap = 2000},
		{.nro_max_offset = 128, .nro_min_gap = UINT64_MAX},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct nmreq_opt_offsets *opt;

		prepare_register("vale0:1");
		opt = push_option(AT1, NETMAP_REQ_OPT_OFFSETS);
		memcpy((char *)opt + sizeof(opt->nro_opt), (char *)&bad[i] + sizeof(opt->nro_opt),
			sizeof(*opt) - sizeof(opt->nro_opt));
		assert_int_equal(ask(), -EINVAL);
		assert_null(client.port);
		if (i < 4)
			assert_int_equal(opt->nro_opt.nro_status, EINVAL);
		core_check_empty(&core);
	}
}

/* ---- CSB ----------------------------------------------------------------------------------- */

static void csb_at_register(void **state)
{
	struct nmreq_opt_csb *opt;

	prepare_exclusive("vale0:1");
	reg->nr_tx_rings = 3;
	reg->nr_rx_rings = 2;
	opt = push_option(AT1, NETMAP_REQ_OPT_CSB);
	opt->csb_atok = 0x10000;
	opt->csb_ktoa = 0x20040;
	assert_int_equal(ask(), 0);
	assert_int_equal(opt->nro_opt.nro_status, 0);
	assert_int_equal(platform.csbs, 1);
	assert_int_equal(platform.atok, 0x10000);
	assert_int_equal(platform.ktoa, 0x20040);
	assert_int_equal(platform.entries, 5);
	nm_client_unbind(&client);

	prepare_exclusive("vale0:1"); /* one ring alone has one entry */
	reg->nr_tx_rings = reg->nr_rx_rings = 3;
	reg->nr_mode = NR_REG_ONE_NIC;
	reg->nr_ringid = 1;
	reg->nr_flags |= NR_TX_RINGS_ONLY;
	opt = push_option(AT1, NETMAP_REQ_OPT_CSB);
	opt->csb_atok = opt->csb_ktoa = 0x10000;
	assert_int_equal(ask(), 0);
	assert_int_equal(platform.entries, 1);
}

static void csb_refused(void **state)
{
	static const struct {
		uint64_t atok, ktoa, flags;
		int error, csb_error;
	} cases[] = {
		{0x10000, 0x20000, 0, -EINVAL, 0},
		{0x10010, 0x20000, NR_EXCLUSIVE, -EINVAL, 0},
		{0x10000, 0x20020, NR_EXCLUSIVE, -EINVAL, 0},
		{0x10, 0x800, NR_EXCLUSIVE, -EINVAL, 0},
		{0, 0x20000, NR_EXCLUSIVE, -EINVAL, 0},
		{0x10000, 0, NR_EXCLUSIVE, -EINVAL, 0},
		{0x10000, 0x20000, NR_EXCLUSIVE, -EFAULT, -EFAULT},
		{0x10000, 0x20000, NR_EXCLUSIVE, -ENOMEM, -ENOMEM},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int at_register = 0; at_register < 2; at_register++) {
			struct nmreq_opt_csb *opt;

			prepare_register("vale0:1");
			reg->nr_flags = cases[i].flags;
			if (!at_register) {
				assert_int_equal(ask(), 0);
				prepare(NETMAP_REQ_CSB_ENABLE, "vale0:1");
			}
			opt = push_option(AT1, NETMAP_REQ_OPT_CSB);
			opt->csb_atok = cases[i].atok;
			opt->csb_ktoa = cases[i].ktoa;
			platform.csb_error = cases[i].csb_error;
			assert_int_equal(ask(), cases[i].error);
			assert_int_equal(opt->nro_opt.nro_status, -cases[i].error);
			assert_int_equal(!!client.port, !at_register);
			nm_client_unbind(&client);
			core_check_empty(&core);
		}
	}
	assert_int_equal(platform.csbs, 4); /* asked only when the rest was right */
}

static void csb_enable(void **state)
{
	struct nmreq_opt_csb *opt;

	prepare(NETMAP_REQ_CSB_ENABLE, "");
	assert_int_equal(ask(), -ENXIO);
	prepare_exclusive("vale0:1");
	assert_int_equal(ask(), 0);
	prepare(NETMAP_REQ_CSB_ENABLE, "vale0:1");
	assert_int_equal(ask(), -EINVAL); /* without the option */
	check_err_says("CSB");
	prepare(NETMAP_REQ_CSB_ENABLE, "vale0:1");
	hdr->nr_body = 0; /* it has none */
	opt = push_option(AT1, NETMAP_REQ_OPT_CSB);
	opt->csb_atok = 0x1000;
	opt->csb_ktoa = 0x1080;
	assert_int_equal(nm_control(&client, &bare_ua, BASE), -EOPNOTSUPP);
	assert_int_equal(opt->nro_opt.nro_status, EOPNOTSUPP);
	assert_int_equal(ask(), 0);
	assert_int_equal(opt->nro_opt.nro_status, 0);
	assert_int_equal(platform.entries, 2);
	platform.csb_error = -EBUSY;
	assert_int_equal(ask(), -EBUSY);
	assert_non_null(client.port);
}

/* ---- the sync loop -------------------------------------------------------------------------- */

static struct nmreq_opt_sync_kloop_eventfds *push_eventfds(uint32_t count, uint64_t size)
{
	struct nmreq_opt_sync_kloop_eventfds *opt =
		push_option(AT_EVENTFDS, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS);

	opt->nro_opt.nro_size = size;
	for (uint32_t i = 0; i < count; i++) {
		opt->eventfds[i].ioeventfd = (int32_t)(10 + i);
		opt->eventfds[i].irqfd = (int32_t)(100 + i);
	}
	return opt;
}

static uint64_t eventfds_size(uint32_t count)
{
	return sizeof(struct nmreq_opt_sync_kloop_eventfds) + 8ULL * count;
}

static void register_rings(uint16_t tx, uint16_t rx)
{
	prepare_exclusive("vale0:1");
	reg->nr_tx_rings = tx;
	reg->nr_rx_rings = rx;
	assert_int_equal(ask(), 0);
}

static void kloop_sleep(void **state)
{
	static const struct {
		uint32_t sleep_us;
		int error;
	} cases[] = {{0, 0}, {1, 0}, {1000000, 0}, {1000001, -EINVAL}, {UINT32_MAX, -EINVAL}};

	prepare(NETMAP_REQ_SYNC_KLOOP_START, "vale0:1");
	assert_int_equal(ask(), -ENXIO);
	prepare(NETMAP_REQ_SYNC_KLOOP_STOP, "vale0:1");
	assert_int_equal(ask(), -ENXIO);
	register_rings(1, 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		platform.starts = 0;
		prepare(NETMAP_REQ_SYNC_KLOOP_START, "vale0:1");
		kloop->sleep_us = cases[i].sleep_us;
		assert_int_equal(ask(), cases[i].error);
		assert_int_equal(platform.starts, cases[i].error == 0);
		if (platform.starts) {
			assert_int_equal(platform.kloop.start.sleep_us, cases[i].sleep_us);
			assert_int_equal(platform.kloop.rings, 0);
			assert_int_equal(platform.kloop.mode, 0);
		}
	}
}

static void kloop_eventfds(void **state)
{
	static const struct {
		uint32_t count;
		uint64_t size;
		int error;
	} cases[] = {
		{3, 0, 0}, /* 0: what fits the count */
		{2, 0, -EINVAL},
		{4, 0, -EINVAL},
		{0, 0, -EINVAL},
		{3, 1, -EINVAL},
		{3, sizeof(struct nmreq_option) - 1, -EINVAL},
		{3, sizeof(struct nmreq_option) + 23, -EINVAL},
		{3, sizeof(struct nmreq_option) + 25, -EINVAL},
		{129, 0, -EINVAL},
		{400, 0, -EINVAL},
	};

	register_rings(1, 2);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nmreq_opt_sync_kloop_eventfds *opt;

		platform.starts = 0;
		prepare(NETMAP_REQ_SYNC_KLOOP_START, "vale0:1");
		opt = push_eventfds(cases[i].count,
			cases[i].size ? cases[i].size : eventfds_size(cases[i].count));
		assert_int_equal(ask(), cases[i].error);
		assert_int_equal(opt->nro_opt.nro_status, -cases[i].error);
		assert_int_equal(platform.starts, cases[i].error == 0);
	}
	prepare(NETMAP_REQ_SYNC_KLOOP_START, "vale0:1");
	push_eventfds(3, eventfds_size(3))->eventfds[1].ioeventfd = -1;
	assert_int_equal(ask(), 0);
	assert_int_equal(platform.kloop.rings, 3);
	assert_int_equal(platform.kloop.eventfds[0].ioeventfd, 10);
	assert_int_equal(platform.kloop.eventfds[1].ioeventfd, -1);
	assert_int_equal(platform.kloop.eventfds[2].irqfd, 102);
}

static void kloop_modes(void **state)
{
	static const struct {
		uint32_t mode, eventfds;
		int error;
		bool no_ioeventfd;
	} cases[] = {
		{0, 0, 0, false},
		{0, 2, 0, false},
		{1, 2, 0, false},
		{2, 2, 0, false},
		{3, 2, 0, false},
		{1, 0, -EINVAL, false},
		{2, 0, -EINVAL, false},
		{4, 2, -EINVAL, false},
		{UINT32_MAX, 2, -EINVAL, false},
		{1, 2, -EINVAL, true},
		{0, 2, 0, true},
	};

	register_rings(1, 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nmreq_opt_sync_kloop_mode *opt;

		memset(&platform, 0, sizeof(platform));
		prepare(NETMAP_REQ_SYNC_KLOOP_START, "vale0:1");
		opt = push_option(AT1, NETMAP_REQ_OPT_SYNC_KLOOP_MODE);
		opt->mode = cases[i].mode;
		if (cases[i].eventfds)
			push_eventfds(2, eventfds_size(2))->eventfds[1].ioeventfd =
				cases[i].no_ioeventfd ? -1 : 11;
		assert_int_equal(ask(), cases[i].error);
		assert_int_equal(opt->nro_opt.nro_status, -cases[i].error);
		assert_int_equal(platform.starts, cases[i].error == 0);
		assert_int_equal(platform.kloop.mode, cases[i].error ? 0 : cases[i].mode);
		assert_int_equal(platform.kloop.rings, cases[i].error ? 0 : cases[i].eventfds);
	}
}

static void kloop_results(void **state)
{
	static const int errors[] = {-EBUSY, -EINVAL, -ENXIO, -EBADF, -EINTR};

	register_rings(1, 1);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct nmreq_opt_sync_kloop_eventfds *opt;

		platform.start_error = errors[i];
		prepare(NETMAP_REQ_SYNC_KLOOP_START, "vale0:1");
		opt = push_eventfds(2, eventfds_size(2));
		assert_int_equal(ask(), errors[i]);
		assert_int_equal(opt->nro_opt.nro_status, errors[i] == -EBADF ? EBADF : 0);
		assert_non_null(client.port);
	}
	prepare(NETMAP_REQ_SYNC_KLOOP_STOP, "vale0:1");
	hdr->nr_body = 0;
	assert_int_equal(ask(), 0);
	platform.stop_error = -EINTR;
	assert_int_equal(ask(), -EINTR);
	assert_int_equal(platform.stops, 2);
	assert_int_equal(nm_control(&client, &bare_ua, BASE), -EOPNOTSUPP);
	prepare(NETMAP_REQ_SYNC_KLOOP_START, "vale0:1");
	assert_int_equal(nm_control(&client, &bare_ua, BASE), -EOPNOTSUPP);
}

/* ---- any chain ------------------------------------------------------------------------------- */

/* Chains of options at random places, some of them torn, over each other, or with wild contents; on
 * random requests, with accesses and allocations that fail. Whatever is answered, nothing is left
 * behind, and a success means that each option was what it must be. */
static void any_chain(void **state)
{
	struct prng r = prng_new(1);
	uint32_t good = 0, bad = 0;

	for (int round = 0; round < 5000; round++) {
		uint32_t count = prng_below(&r, 5), at[5], seen = 0;
		bool whole = prng_chance(&r, 60), twice = false;
		int error;

		prepare_register("vale0:1");
		reg->nr_flags = prng_chance(&r, 80) ? NR_EXCLUSIVE : 0;
		if (prng_chance(&r, 40)) {
			(void)ask();
			prepare(prng_chance(&r, 50) ? NETMAP_REQ_CSB_ENABLE
						    : NETMAP_REQ_SYNC_KLOOP_START,
				"vale0:1");
		}
		for (uint32_t i = 0; i < count; i++) {
			uint32_t type = prng_range(&r, prng_chance(&r, 95), NETMAP_REQ_OPT_MAX - 1);
			struct nmreq_opt_csb *csb;
			struct nmreq_opt_extmem *ext;

			at[i] = whole ? AT1 + i * 0x100 : 8 * prng_range(&r, 32, MEMORY / 8 - 40);
			csb = push_option(at[i], type);
			ext = (void *)csb;
			if (prng_chance(&r, 20))
				prng_fill(&r, (char *)csb + sizeof(struct nmreq_option), 100);
			else if (type == NETMAP_REQ_OPT_CSB)
				csb->csb_atok = csb->csb_ktoa = 0x1000;
			else if (type == NETMAP_REQ_OPT_EXTMEM)
				ext->nro_info.nr_memsize = prng_range(&r, 1, 1 << 20);
			if (type == NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
				csb->nro_opt.nro_size = eventfds_size(prng_below(&r, 4));
			if (type == NETMAP_REQ_OPT_EXTMEM && ext->nro_info.nr_memsize > 1 << 20)
				ext->nro_info.nr_memsize &= (1 << 20) - 1;
			twice |= seen >> type & 1;
			seen |= 1u << type;
		}
		if (prng_chance(&r, 10))
			memory.fail_at = memory.calls + prng_range(&r, 1, 25);
		if (prng_chance(&r, 5))
			fail_allocation(prng_range(&r, 1, 20));
		memory.calls = 0;
		error = ask();
		fail_allocation(0);
		if (error == 0 && whole) {
			assert_false(twice);
			for (uint32_t i = 0; i < count; i++)
				assert_int_equal(
					((struct nmreq_option *)(memory.bytes + at[i]))->nro_status,
					0);
		}
		good += error == 0;
		bad += error != 0;
		nm_client_unbind(&client);
		core_check_empty(&core);
	}
	assert_true(good > 300 && bad > 300);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, request_begin, request_end)
	const struct CMUnitTest tests[] = {
		TEST(chains),
		TEST(every_option_on_every_request),
		TEST(chains_that_do_not_end),
		TEST(sizes),
		TEST(a_list_that_is_too_long_by_its_last_option),
		TEST(every_access_fails_once),
		TEST(extmem),
		TEST(extmem_wishes),
		TEST(extmem_refused),
		TEST(offsets),
		TEST(offsets_refused),
		TEST(csb_at_register),
		TEST(csb_refused),
		TEST(csb_enable),
		TEST(kloop_sleep),
		TEST(kloop_eventfds),
		TEST(kloop_modes),
		TEST(kloop_results),
		TEST(any_chain),
	};

	test_seed();
	return cmocka_run_group_tests_name("control_options", tests, NULL, NULL);
}
