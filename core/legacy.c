/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The older requests (struct nmreq): made into a control request with one body (in), whose result
 * is put back into a struct nmreq (out). Of NIOCREGIF nr_cmd says which request it is, 0 being
 * REGISTER; of NIOCGINFO it tells VALE_LIST from PORT_INFO_GET.
 */
#include "legacy.h"

enum { OLDEST_VERSION = 11 };

/* ---- in ------------------------------------------------------------------------------ */

/* nr_flags say which rings, or, as programs did before there were flags, bits of nr_ringid do. */
static uint32_t mode_of(const struct nmreq *nmr)
{
	uint32_t mode = nmr->nr_flags & NR_REG_MASK;

	if (mode != NR_REG_DEFAULT)
		return mode;
	if (nmr->nr_ringid & NETMAP_SW_RING)
		return NR_REG_SW;
	return nmr->nr_ringid & NETMAP_HW_RING ? NR_REG_ONE_NIC : NR_REG_ALL_NIC;
}

static void to_register(const struct nmreq *nmr, struct nmreq_register *reg)
{
	reg->nr_mode = mode_of(nmr);
	reg->nr_ringid = nmr->nr_ringid & NETMAP_RING_MASK;
	reg->nr_flags = nmr->nr_flags & ~(uint32_t)NR_REG_MASK;
	if (nmr->nr_ringid & NETMAP_NO_TX_POLL)
		reg->nr_flags |= NR_NO_TX_POLL;
	if (nmr->nr_ringid & NETMAP_DO_RX_POLL)
		reg->nr_flags |= NR_DO_RX_POLL;
	reg->nr_tx_slots = nmr->nr_tx_slots;
	reg->nr_rx_slots = nmr->nr_rx_slots;
	reg->nr_tx_rings = nmr->nr_tx_rings;
	reg->nr_rx_rings = nmr->nr_rx_rings;
	reg->nr_mem_id = nmr->nr_arg2;
	reg->nr_extra_bufs = nmr->nr_arg3;
}

static void set_type(struct nm_legacy *l, uint16_t type, uint32_t body_size)
{
	l->hdr.nr_reqtype = type;
	l->body_size = body_size;
}

static void to_attach(const struct nmreq *nmr, struct nm_legacy *l)
{
	set_type(l, NETMAP_REQ_VALE_ATTACH, sizeof(l->body.attach));
	l->body.attach.reg.nr_mode =
		nmr->nr_arg1 & NETMAP_BDG_HOST ? NR_REG_NIC_SW : NR_REG_ALL_NIC;
	l->body.attach.reg.nr_mem_id = nmr->nr_arg2;
}

static void to_newif(const struct nmreq *nmr, struct nm_legacy *l)
{
	set_type(l, NETMAP_REQ_VALE_NEWIF, sizeof(l->body.newif));
	l->body.newif = (struct nmreq_vale_newif){
		.nr_tx_slots = nmr->nr_tx_slots,
		.nr_rx_slots = nmr->nr_rx_slots,
		.nr_tx_rings = nmr->nr_tx_rings,
		.nr_rx_rings = nmr->nr_rx_rings,
		.nr_mem_id = nmr->nr_arg2,
	};
}

/* nr_flags: all rings on one CPU, or one ring (pair) on each from the first CPU on. */
static void to_polling(const struct nmreq *nmr, struct nm_legacy *l)
{
	bool on = nmr->nr_cmd == NETMAP_BDG_POLLING_ON;
	uint32_t mode = nmr->nr_flags & NR_REG_MASK;

	set_type(l, on ? NETMAP_REQ_VALE_POLLING_ENABLE : NETMAP_REQ_VALE_POLLING_DISABLE,
		sizeof(l->body.polling));
	if (mode == NR_REG_ALL_NIC)
		l->body.polling.nr_mode = NETMAP_POLLING_MODE_SINGLE_CPU;
	else if (mode == NR_REG_ONE_NIC)
		l->body.polling.nr_mode = NETMAP_POLLING_MODE_MULTI_CPU;
	l->body.polling.nr_first_cpu_id = nmr->nr_ringid & NETMAP_RING_MASK;
	l->body.polling.nr_num_polling_cpus = nmr->nr_arg1;
}

static int from_regif(const struct nmreq *nmr, struct nm_legacy *l)
{
	switch (nmr->nr_cmd) {
	case 0:
		set_type(l, NETMAP_REQ_REGISTER, sizeof(l->body.reg));
		to_register(nmr, &l->body.reg);
		return 0;
	case NETMAP_BDG_ATTACH:
		to_attach(nmr, l);
		return 0;
	case NETMAP_BDG_DETACH:
		set_type(l, NETMAP_REQ_VALE_DETACH, sizeof(l->body.detach));
		return 0;
	case NETMAP_BDG_VNET_HDR:
		set_type(l, NETMAP_REQ_PORT_HDR_SET, sizeof(l->body.hdr));
		l->body.hdr.nr_hdr_len = nmr->nr_arg1;
		return 0;
	case NETMAP_VNET_HDR_GET:
		set_type(l, NETMAP_REQ_PORT_HDR_GET, sizeof(l->body.hdr));
		return 0;
	case NETMAP_BDG_NEWIF:
		to_newif(nmr, l);
		return 0;
	case NETMAP_BDG_DELIF:
		set_type(l, NETMAP_REQ_VALE_DELIF, 0);
		return 0;
	case NETMAP_BDG_POLLING_ON:
	case NETMAP_BDG_POLLING_OFF:
		to_polling(nmr, l);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static void from_ginfo(const struct nmreq *nmr, struct nm_legacy *l)
{
	if (nmr->nr_cmd == NETMAP_BDG_LIST) {
		set_type(l, NETMAP_REQ_VALE_LIST, sizeof(l->body.list));
		l->body.list.nr_bridge_idx = nmr->nr_arg1;
		l->body.list.nr_port_idx = nmr->nr_arg2;
	} else {
		set_type(l, NETMAP_REQ_PORT_INFO_GET, sizeof(l->body.info));
		l->body.info.nr_tx_rings = nmr->nr_tx_rings;
		l->body.info.nr_rx_rings = nmr->nr_rx_rings;
		l->body.info.nr_tx_slots = nmr->nr_tx_slots;
		l->body.info.nr_rx_slots = nmr->nr_rx_slots;
		l->body.info.nr_mem_id = nmr->nr_arg2;
	}
}

int nm_legacy_request(
	const struct nmreq *nmr, bool regif, struct nm_legacy *out, struct nm_error *err)
{
	int error = 0;

	memset(out, 0, sizeof(*out));
	out->regif = regif;
	out->hdr.nr_version = NETMAP_API;
	memcpy(out->hdr.nr_name, nmr->nr_name, strnlen(nmr->nr_name, sizeof(nmr->nr_name) - 1));
	if (nmr->nr_version < OLDEST_VERSION)
		return nm_error_set(err, -EINVAL, "API version %u; the oldest that is served is %d",
			nmr->nr_version, OLDEST_VERSION);
	if (regif)
		error = from_regif(nmr, out);
	else
		from_ginfo(nmr, out);
	if (error)
		nm_error_set(err, error, "command %u of NIOCREGIF is not served", nmr->nr_cmd);
	return error;
}

/* ---- out ----------------------------------------------------------------------------- */

static void from_register(const struct nmreq_register *reg, struct nmreq *nmr)
{
	nmr->nr_offset = (uint32_t)reg->nr_offset;
	nmr->nr_memsize = (uint32_t)reg->nr_memsize;
	nmr->nr_tx_slots = reg->nr_tx_slots;
	nmr->nr_rx_slots = reg->nr_rx_slots;
	nmr->nr_tx_rings = reg->nr_tx_rings;
	nmr->nr_rx_rings = reg->nr_rx_rings;
	nmr->nr_arg2 = reg->nr_mem_id;
	nmr->nr_arg3 = reg->nr_extra_bufs;
	if (reg->nr_flags & (NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON)) {
		nmr->nr_flags = (nmr->nr_flags & ~(uint32_t)NR_REG_MASK) | reg->nr_mode;
		nmr->nr_ringid &= (uint16_t)(NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL);
	}
}

static void from_info(const struct nmreq_port_info_get *info, struct nmreq *nmr)
{
	nmr->nr_memsize = (uint32_t)info->nr_memsize;
	nmr->nr_tx_slots = info->nr_tx_slots;
	nmr->nr_rx_slots = info->nr_rx_slots;
	nmr->nr_tx_rings = info->nr_tx_rings;
	nmr->nr_rx_rings = info->nr_rx_rings;
	nmr->nr_arg2 = info->nr_mem_id;
}

static void from_list(const struct nm_legacy *l, struct nmreq *nmr)
{
	size_t len = strnlen(l->hdr.nr_name, sizeof(nmr->nr_name) - 1);

	memset(nmr->nr_name, 0, sizeof(nmr->nr_name));
	memcpy(nmr->nr_name, l->hdr.nr_name, len);
	nmr->nr_arg1 = l->body.list.nr_bridge_idx;
	nmr->nr_arg2 = (uint16_t)l->body.list.nr_port_idx;
}

void nm_legacy_result(const struct nm_legacy *l, bool success, struct nmreq *nmr)
{
	nmr->nr_version = NETMAP_API;
	if (!success)
		return;
	switch (l->hdr.nr_reqtype) {
	case NETMAP_REQ_REGISTER:
		from_register(&l->body.reg, nmr);
		break;
	case NETMAP_REQ_PORT_INFO_GET:
		from_info(&l->body.info, nmr);
		break;
	case NETMAP_REQ_VALE_ATTACH:
		nmr->nr_arg2 = l->body.attach.reg.nr_mem_id;
		break;
	case NETMAP_REQ_VALE_LIST:
		from_list(l, nmr);
		break;
	case NETMAP_REQ_PORT_HDR_SET:
	case NETMAP_REQ_PORT_HDR_GET:
		nmr->nr_arg1 = (uint16_t)l->body.hdr.nr_hdr_len;
		break;
	case NETMAP_REQ_VALE_NEWIF:
		nmr->nr_tx_slots = l->body.newif.nr_tx_slots;
		nmr->nr_rx_slots = l->body.newif.nr_rx_slots;
		nmr->nr_tx_rings = l->body.newif.nr_tx_rings;
		nmr->nr_rx_rings = l->body.newif.nr_rx_rings;
		nmr->nr_arg2 = l->body.newif.nr_mem_id;
		break;
	default:
		break;
	}
}
