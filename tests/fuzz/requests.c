/* SPDX-License-Identifier: BSD-2-Clause */
#include "requests.h"

#include <stddef.h>

enum { PATCHES_MAX = 4 };

static const char *const names[] = {
	"vale0:1",
	"vale0:2",
	"vale0:1{1",
	"vale0:1}1",
	"vale0:2{a",
	"vale1:dev0",
	"vale0:dev0",
	"vale0:dev1",
	"vale1:dev1",
	"dev0",
	"dev1",
	"dev0{1",
	"dev0}1",
	"p{1",
	"p}1",
	"null",
	"",
	"vale0:",
	"vale1:1",
	"vale0:dev0^",
};

enum { NAMES = sizeof(names) / sizeof(names[0]) };

void fuzz_port_name(struct fuzz_in *in, char *name, size_t size)
{
	uint8_t which = fuzz_u8(in);

	if (which < 200)
		snprintf(name, size, "%s", names[which % NAMES]);
	else
		fuzz_text(in, name, size);
}

/* ---- bodies ------------------------------------------------------------------------------------- */

/* What it says is what a program would ask for, but where a bit wants otherwise. */
static void make_register(struct fuzz_in *in, struct nmreq_register *reg)
{
	uint8_t other = fuzz_u8(in);

	if (other & 0x80) {
		fuzz_bytes(in, reg, sizeof(*reg));
		return;
	}
	*reg = (struct nmreq_register){
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 16, .nr_rx_slots = 16};
	if (other & 1) {
		reg->nr_mode = fuzz_below(in, 10);
		reg->nr_ringid = (uint16_t)fuzz_below(in, 4);
	}
	if (other & 2)
		reg->nr_flags = (uint64_t)fuzz_u16(in) << 8;
	if (other & 4) {
		reg->nr_tx_rings = (uint16_t)fuzz_below(in, 5);
		reg->nr_rx_rings = (uint16_t)fuzz_below(in, 5);
	}
	if (other & 8) {
		reg->nr_tx_slots = (uint32_t)fuzz_edge(in, 16384);
		reg->nr_rx_slots = (uint32_t)fuzz_edge(in, 2);
	}
	if (other & 16)
		reg->nr_mem_id = (uint16_t)fuzz_below(in, 8);
	if (other & 32)
		reg->nr_extra_bufs = (uint32_t)fuzz_edge(in, 64);
	if (other & 64) {
		reg->nr_host_tx_rings = (uint16_t)fuzz_below(in, 4);
		reg->nr_host_rx_rings = (uint16_t)fuzz_below(in, 4);
	}
}

static void make_newif(struct fuzz_in *in, struct nmreq_vale_newif *newif)
{
	newif->nr_tx_slots = (uint32_t)fuzz_edge(in, 64);
	newif->nr_rx_slots = (uint32_t)fuzz_edge(in, 64);
	newif->nr_tx_rings = (uint16_t)fuzz_below(in, 5);
	newif->nr_rx_rings = (uint16_t)fuzz_below(in, 5);
	newif->nr_mem_id = (uint16_t)fuzz_below(in, 4);
}

/* Of other types: small numbers, or any bytes. */
static void make_words(struct fuzz_in *in, void *body, size_t bytes)
{
	uint32_t *word = body;

	if (fuzz_u8(in) & 1) {
		fuzz_bytes(in, body, bytes);
		return;
	}
	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		word[i] = fuzz_u8(in);
}

static const size_t body_sizes[] = {
	[NETMAP_REQ_REGISTER] = sizeof(struct nmreq_register),
	[NETMAP_REQ_PORT_INFO_GET] = sizeof(struct nmreq_port_info_get),
	[NETMAP_REQ_VALE_ATTACH] = sizeof(struct nmreq_vale_attach),
	[NETMAP_REQ_VALE_DETACH] = sizeof(struct nmreq_vale_detach),
	[NETMAP_REQ_VALE_LIST] = sizeof(struct nmreq_vale_list),
	[NETMAP_REQ_PORT_HDR_SET] = sizeof(struct nmreq_port_hdr),
	[NETMAP_REQ_PORT_HDR_GET] = sizeof(struct nmreq_port_hdr),
	[NETMAP_REQ_VALE_NEWIF] = sizeof(struct nmreq_vale_newif),
	[NETMAP_REQ_VALE_DELIF] = 0,
	[NETMAP_REQ_VALE_POLLING_ENABLE] = sizeof(struct nmreq_vale_polling),
	[NETMAP_REQ_VALE_POLLING_DISABLE] = sizeof(struct nmreq_vale_polling),
	[NETMAP_REQ_POOLS_INFO_GET] = sizeof(struct nmreq_pools_info),
	[NETMAP_REQ_SYNC_KLOOP_START] = sizeof(struct nmreq_sync_kloop_start),
	[NETMAP_REQ_SYNC_KLOOP_STOP] = 0,
	[NETMAP_REQ_CSB_ENABLE] = 0,
};

enum { TYPES = sizeof(body_sizes) / sizeof(body_sizes[0]) };

static size_t make_body(struct fuzz_in *in, uint16_t type, void *body)
{
	size_t bytes = type < TYPES ? body_sizes[type] : 64;

	switch (type) {
	case NETMAP_REQ_REGISTER:
		make_register(in, body);
		break;
	case NETMAP_REQ_VALE_ATTACH:
		make_register(in, &((struct nmreq_vale_attach *)body)->reg);
		break;
	case NETMAP_REQ_VALE_NEWIF:
		make_newif(in, body);
		break;
	default:
		make_words(in, body, bytes);
	}
	return bytes;
}

/* ---- options ------------------------------------------------------------------------------------ */

/* As many objects as a small region has, of any size. */
static void make_pools(struct fuzz_in *in, struct nmreq_pools_info *info)
{
	info->nr_if_pool_objtotal = (uint32_t)fuzz_edge(in, 8);
	info->nr_if_pool_objsize = (uint32_t)fuzz_edge(in, 1024);
	info->nr_ring_pool_objtotal = (uint32_t)fuzz_edge(in, 8);
	info->nr_ring_pool_objsize = (uint32_t)fuzz_edge(in, 1024);
	info->nr_buf_pool_objtotal = (uint32_t)fuzz_edge(in, 64);
	info->nr_buf_pool_objsize = (uint32_t)fuzz_edge(in, 2048);
}

/* At `at`, behind which there is room for any; returns its bytes. */
static size_t make_option(struct fuzz_in *in, void *at)
{
	struct nmreq_option *option = at;
	struct nmreq_opt_extmem *extmem = at;
	struct nmreq_opt_csb *csb = at;
	struct nmreq_opt_offsets *offsets = at;

	option->nro_reqtype = fuzz_below(in, NETMAP_REQ_OPT_MAX + 2);
	switch (option->nro_reqtype) {
	case NETMAP_REQ_OPT_EXTMEM:
		extmem->nro_usrptr = fuzz_u8(in) * 4096ULL;
		extmem->nro_info.nr_memsize = fuzz_edge(in, 1 << 20);
		make_pools(in, &extmem->nro_info);
		return sizeof(*extmem);
	case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS: {
		size_t rings = fuzz_below(in, 10);

		option->nro_size = sizeof(*option) + rings * 8;
		fuzz_bytes(in, option + 1, rings * 8);
		return option->nro_size;
	}
	case NETMAP_REQ_OPT_CSB:
		csb->csb_atok = fuzz_edge(in, 64);
		csb->csb_ktoa = fuzz_edge(in, 64);
		return sizeof(*csb);
	case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
		((struct nmreq_opt_sync_kloop_mode *)at)->mode = fuzz_u8(in);
		return sizeof(struct nmreq_opt_sync_kloop_mode) + 4;
	case NETMAP_REQ_OPT_OFFSETS:
		offsets->nro_max_offset = fuzz_edge(in, 128);
		offsets->nro_initial_offset = fuzz_edge(in, 64);
		offsets->nro_offset_bits = fuzz_below(in, 66);
		offsets->nro_tx_align = (uint32_t)fuzz_edge(in, 64);
		offsets->nro_min_gap = fuzz_edge(in, 32);
		return sizeof(*offsets);
	default:
		return sizeof(*option);
	}
}

/* ---- the whole ----------------------------------------------------------------------------------- */

static void *add(struct fuzz_request *rq, size_t bytes)
{
	void *at = rq->bytes + rq->len;

	rq->len += (bytes + 7) & ~(size_t)7;
	return at;
}

void fuzz_request_make(struct fuzz_in *in, struct fuzz_request *rq, uint64_t base)
{
	struct nmreq_header *hdr = (void *)rq->bytes;
	uint64_t *link = &hdr->nr_options;
	uint8_t how = fuzz_u8(in);
	uint32_t options = how >> 4 & 3, patches = how >> 6 == 3 ? fuzz_below(in, PATCHES_MAX) : 0;

	memset(rq, 0, sizeof(*rq));
	add(rq, sizeof(*hdr));
	hdr->nr_version = NETMAP_API;
	hdr->nr_reqtype = how % TYPES;
	fuzz_port_name(in, hdr->nr_name, sizeof(hdr->nr_name));
	hdr->nr_body = base + rq->len;
	add(rq, make_body(in, hdr->nr_reqtype, rq->bytes + rq->len));
	for (uint32_t i = 0; i < options; i++) {
		struct nmreq_option *option = (void *)(rq->bytes + rq->len);

		*link = base + rq->len;
		link = &option->nro_next;
		add(rq, make_option(in, option));
	}
	for (; patches > 0; patches--) {
		size_t at = fuzz_u16(in) % rq->len;

		rq->bytes[at] = fuzz_u8(in);
	}
}
