/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each control request does: a handler per request, and the table that names them, at the end.
 *
 * A handler works on the private copies in struct request: it checks what needs no lock, does the
 * work under core->lock, and puts the answer into the copy of the body, which control.c writes
 * back.
 */
#include "control_internal.h"
#include "names.h"
#include "attachment.h"
#include "vale.h"
#include "wish.h"

enum {
	SLEEP_US_MAX = 1000000,
	IFNAME_MAX = NETMAP_IFNAMSIZ - 1, /* bytes of the name of a network device */
};

/* ---- asking about a port -------------------------------------------------------------- */

/* What is said about a port and its region. */
typedef void answer_fn(
	struct request *rq, const struct nm_port *port, const struct nm_region *region);

/* Its region is known before a client is bound. Pipes have that of their family. */
static bool is_device(const struct nm_port *port)
{
	return port->ops->shares_region && !port->parent;
}

/* A reference; NULL with client->err. */
static struct nm_region *region_of(struct nm_client *client, const struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
{
	if (!port->region)
		return nm_region_by_id(client->core, NM_REGION_SHARED_ID, false, &client->err);
	nm_region_get(port->region);
	return port->region;
}

/* Of `port`; NULL: the one that the request names, or the client's. -ENXIO without a text: it has no region before a client
 * is bound, or isn't there. */
static int answer_locked(struct nm_client *client, struct request *rq, const struct nm_port *port,
	answer_fn *answer) OS_REQUIRES(NM_CORE_LOCK)
{
	const char *name = rq->hdr.nr_name;
	struct nm_region *region;

	if (!port)
		port = name[0] ? nm_port_find_in_locked(client->core, client->ns, name)
			       : client->port;
	if (!port || !(port->region || is_device(port)))
		return -ENXIO;
	region = region_of(client, port);
	if (!region)
		return client->err.code;
	answer(rq, port, region);
	nm_region_put(region);
	return 0;
}

static int answer_about(
	struct nm_client *client, struct request *rq, const struct nm_port *port, answer_fn *answer)
{
	struct nm_wish wish = {0};
	int error;

	do {
		nm_wish_lock(client->core, &wish);
		error = answer_locked(client, rq, port, answer);
	} while (nm_wish_unlock(client->core, &wish, error));
	return error;
}

/* About a port that is bound for the time of the question, so that it has its memory. */
static int bind_and_answer(
	struct nm_client *client, struct request *rq, const struct nm_bind *bind, answer_fn *answer)
{
	struct nm_client tmp;
	int error;

	nm_client_init(&tmp, client->core);
	tmp.ns = client->ns;
	tmp.own_region = client->own_region;
	tmp.in_parts = true; /* nobody will look into its slots */
	error = nm_client_bind(&tmp, rq->hdr.nr_name, bind);
	if (error)
		return nm_error_set(&client->err, error, "%s", tmp.err.text);
	error = answer_about(client, rq, tmp.port, answer);
	nm_client_unbind(&tmp);
	return error;
}

/* Of a port that exists already, or that is made for the question, as `bind` says. A device is not bound, for that
 * would take it from the system: its region is known. */
static int ask(
	struct nm_client *client, struct request *rq, const struct nm_bind *bind, answer_fn *answer)
{
	int error;

	if (rq->hdr.nr_name[0] == '\0' && !client->port)
		return nm_error_set(&client->err, -ENXIO, "no port named, and none registered");
	error = answer_about(client, rq, NULL, answer);
	return error == -ENXIO ? bind_and_answer(client, rq, bind, answer) : error;
}

/* No port is named, and none registered: the question is about a region, the shared one by default. */
static int region_info_locked(struct nm_client *client, struct nmreq_port_info_get *info)
	OS_REQUIRES(NM_CORE_LOCK)
{
	uint16_t id = info->nr_mem_id ? info->nr_mem_id : NM_REGION_SHARED_ID;
	struct nm_region *region;

	if (id == NM_REGION_SHARED_ID)
		region = nm_region_by_id(client->core, id, false, &client->err);
	else
		region = nm_region_find(client->core, id);
	if (region)
		*info = (struct nmreq_port_info_get){.nr_memsize = region->size, .nr_mem_id = id};
	else if (id != NM_REGION_SHARED_ID)
		nm_error_set(&client->err, -ENOENT, "there is no memory region %u", id);
	if (id == NM_REGION_SHARED_ID)
		nm_region_put(region);
	return region ? 0 : client->err.code;
}

static int do_region_info(struct nm_client *client, struct nmreq_port_info_get *info)
{
	struct nm_wish wish = {0};
	int error;

	do {
		nm_wish_lock(client->core, &wish);
		error = region_info_locked(client, info);
	} while (nm_wish_unlock(client->core, &wish, error));
	return error;
}

/* The number, or 0: the default. */
static uint32_t number_or_default(uint32_t number, uint32_t min, uint32_t max)
{
	return number >= min && number <= max ? number : 0;
}

static void port_info(
	struct request *rq, const struct nm_port *port, const struct nm_region *region)
{
	rq->body.info = (struct nmreq_port_info_get){
		.nr_memsize = region->size,
		.nr_tx_slots = port->num_slots[NM_TX],
		.nr_rx_slots = port->num_slots[NM_RX],
		.nr_tx_rings = (uint16_t)port->num_rings[NM_TX],
		.nr_rx_rings = (uint16_t)port->num_rings[NM_RX],
		.nr_host_tx_rings = (uint16_t)port->num_host_rings[NM_TX],
		.nr_host_rx_rings = (uint16_t)port->num_host_rings[NM_RX],
		.nr_mem_id = region->id,
	};
}

static int do_port_info(struct nm_client *client, struct request *rq)
{
	struct nmreq_port_info_get *info = &rq->body.info;
	/* A port that is made for the question is made as a registration would make it. Programs that
	 * only want the answer leave anything in the body: numbers that can't be are none. */
	const struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC,
		.flags = NR_ACCEPT_VNET_HDR,
		.num_rings = {number_or_default(info->nr_tx_rings, 1, NM_RINGS_MAX),
			number_or_default(info->nr_rx_rings, 1, NM_RINGS_MAX)},
		.num_slots = {number_or_default(info->nr_tx_slots, NM_SLOTS_MIN, NM_SLOTS_MAX),
			number_or_default(info->nr_rx_slots, NM_SLOTS_MIN, NM_SLOTS_MAX)},
	};

	if (rq->hdr.nr_name[0] == '\0' && !client->port)
		return do_region_info(client, info);
	return ask(client, rq, &bind, port_info);
}

static void pools_info(
	struct request *rq, const struct nm_port *port, const struct nm_region *region)
{
	nm_region_info(region, &rq->body.pools);
}

static int do_pools_info(struct nm_client *client, struct request *rq)
{
	const struct nm_bind any = {.mode = NR_REG_ALL_NIC, .flags = NR_ACCEPT_VNET_HDR};
	struct nmreq_pools_info *pools = &rq->body.pools;
	struct nm_region *region;
	int error = 0;

	if (rq->hdr.nr_name[0] != '\0' || client->port)
		return ask(client, rq, &any, pools_info);
	nm_core_lock(client->core);
	region = nm_region_find(client->core, pools->nr_mem_id);
	if (region)
		nm_region_info(region, pools);
	else
		error = nm_error_set(
			&client->err, -ENOENT, "there is no memory region %u", pools->nr_mem_id);
	nm_core_unlock(client->core);
	return error;
}

/* ---- REGISTER and CSB_ENABLE ---------------------------------------------------------- */

/* The arrays must be where entries can be, and the rings the caller's alone. */
static int check_csb(struct nm_client *client, struct request *rq, uint64_t flags)
{
	const struct nmreq_opt_csb *csb = &rq->csb;
	int error = 0;

	if (!rq->ua->csb_enable)
		error = nm_error_set(
			&client->err, -EOPNOTSUPP, "the option CSB is not served here");
	else if (!(flags & NR_EXCLUSIVE))
		error = nm_error_set(&client->err, -EINVAL,
			"a CSB is only for rings that nobody else uses: register with NR_EXCLUSIVE");
	else if (csb->csb_atok == 0 || csb->csb_ktoa == 0 ||
		 csb->csb_atok % sizeof(struct nm_csb_atok) != 0 ||
		 csb->csb_ktoa % sizeof(struct nm_csb_ktoa) != 0)
		error = nm_error_set(&client->err, -EINVAL,
			"the CSB arrays must be aligned to %zu bytes, the size of an entry",
			sizeof(struct nm_csb_atok));
	return error ? nm_option_failed(rq, NETMAP_REQ_OPT_CSB, error) : 0;
}

static int enable_csb(struct nm_client *client, struct request *rq)
{
	uint32_t entries = client->count[NM_TX] + client->count[NM_RX];
	int error;

	client->err.text[0] = '\0';
	error = rq->ua->csb_enable(
		rq->ua->arg, client, rq->csb.csb_atok, rq->csb.csb_ktoa, entries);
	if (error && client->err.text[0] == '\0')
		nm_error_set(&client->err, error,
			"the CSB arrays, %u entries each, can't be used: error %d", entries,
			-error);
	return error ? nm_option_failed(rq, NETMAP_REQ_OPT_CSB, error) : 0;
}

static int do_csb_enable(struct nm_client *client, struct request *rq)
{
	int error;

	if (!client->port)
		return nm_error_set(&client->err, -ENXIO, "CSB_ENABLE: no port is registered");
	if (!rq->given[NETMAP_REQ_OPT_CSB])
		return nm_error_set(&client->err, -EINVAL, "CSB_ENABLE needs the option CSB");
	error = check_csb(client, rq, client->flags);
	return error ? error : enable_csb(client, rq);
}

static int wanted_offsets(struct nm_client *client, struct request *rq, struct nm_offsets *offsets)
{
	const struct nmreq_opt_offsets *opt = &rq->offsets;

	*offsets = (struct nm_offsets){
		.max = opt->nro_max_offset,
		.initial = opt->nro_initial_offset,
		.bits = opt->nro_offset_bits,
		.tx_align = opt->nro_tx_align,
		.min_gap = opt->nro_min_gap,
	};
	return nm_offsets_check(client, rq->hdr.nr_name, offsets);
}

/* What was wished for in numbers must have room; the core may need a little for alignment. */
static bool requested_fit(const struct nm_region_params *requested, uint64_t bytes)
{
	uint64_t room = bytes;

	for (int pool = 0; pool < NM_POOLS; pool++) {
		uint64_t wanted = (uint64_t)requested->count[pool] * requested->size[pool];

		if (wanted > room)
			return false;
		room -= wanted;
	}
	return true;
}

/* Takes hold of the caller's memory. */
static int wanted_extmem(
	struct nm_client *client, struct request *rq, struct nm_bind *bind, struct os_mem **mem)
{
	const struct nmreq_pools_info *info = &rq->extmem.nro_info;

	if (!rq->ua->extmem)
		return nm_error_set(
			&client->err, -EOPNOTSUPP, "the option EXTMEM is not served here");
	if (bind->mem_id != 0)
		return nm_error_set(&client->err, -EINVAL,
			"EXTMEM makes a region, and nr_mem_id %u names another one", bind->mem_id);
	if (info->nr_memsize == 0)
		return nm_error_set(
			&client->err, -EINVAL, "EXTMEM: nr_memsize, the size of the memory, is 0");
	bind->extmem_params = (struct nm_region_params){
		.count = {info->nr_if_pool_objtotal, info->nr_ring_pool_objtotal,
			info->nr_buf_pool_objtotal},
		.size = {info->nr_if_pool_objsize, info->nr_ring_pool_objsize,
			info->nr_buf_pool_objsize},
	};
	if (!requested_fit(&bind->extmem_params, info->nr_memsize))
		return nm_error_set(&client->err, -EINVAL,
			"EXTMEM: %u netmap_if of %u bytes, %u rings of %u and %u buffers of %u don't fit into %llu bytes",
			info->nr_if_pool_objtotal, info->nr_if_pool_objsize,
			info->nr_ring_pool_objtotal, info->nr_ring_pool_objsize,
			info->nr_buf_pool_objtotal, info->nr_buf_pool_objsize,
			(unsigned long long)info->nr_memsize);
	bind->extmem_bytes = info->nr_memsize;
	*mem = rq->ua->extmem(rq->ua->arg, rq->extmem.nro_usrptr, info->nr_memsize, &client->err);
	bind->extmem = mem;
	return *mem ? 0 : client->err.code;
}

static int prepare_bind(struct nm_client *client, struct request *rq, struct nm_bind *bind,
	struct nm_offsets *offsets, struct os_mem **mem)
{
	int error = 0;

	if (rq->given[NETMAP_REQ_OPT_CSB])
		error = check_csb(client, rq, bind->flags);
	if (!error && rq->given[NETMAP_REQ_OPT_OFFSETS]) {
		error = nm_option_failed(
			rq, NETMAP_REQ_OPT_OFFSETS, wanted_offsets(client, rq, offsets));
		bind->offsets = offsets;
	}
	if (!error && rq->given[NETMAP_REQ_OPT_EXTMEM])
		error = nm_option_failed(
			rq, NETMAP_REQ_OPT_EXTMEM, wanted_extmem(client, rq, bind, mem));
	return error;
}

static void fill_register(const struct nm_client *client, struct request *rq)
{
	const struct nm_port *port = client->port;
	struct nmreq_register *reg = &rq->body.reg;

	reg->nr_offset = client->nifp_offset;
	reg->nr_memsize = port->region->size;
	reg->nr_tx_slots = port->num_slots[NM_TX];
	reg->nr_rx_slots = port->num_slots[NM_RX];
	reg->nr_tx_rings = (uint16_t)port->num_rings[NM_TX];
	reg->nr_rx_rings = (uint16_t)port->num_rings[NM_RX];
	reg->nr_host_tx_rings = (uint16_t)port->num_host_rings[NM_TX];
	reg->nr_host_rx_rings = (uint16_t)port->num_host_rings[NM_RX];
	reg->nr_mem_id = port->region->id;
	reg->nr_extra_bufs = client->extra_bufs;
	if (reg->nr_flags & (NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON)) {
		/* The rings are the monitor's own, all of them, whichever it watches. */
		reg->nr_mode = NR_REG_ALL_NIC;
		reg->nr_ringid = 0;
	}
	nm_region_info(port->region, &rq->extmem.nro_info);
	rq->offsets.nro_max_offset = port->offsets.max;
	rq->offsets.nro_initial_offset = port->offsets.initial;
	rq->offsets.nro_tx_align = (uint32_t)port->offsets.align;
	rq->offsets.nro_min_gap = port->offsets.gap;
}

static int do_register(struct nm_client *client, struct request *rq)
{
	const struct nmreq_register *reg = &rq->body.reg;
	struct os_mem *mem = NULL;
	struct nm_offsets offsets;
	struct nm_bind bind = {
		.mode = reg->nr_mode,
		.flags = reg->nr_flags,
		.ringid = reg->nr_ringid,
		.mem_id = reg->nr_mem_id,
		.num_rings = {reg->nr_tx_rings, reg->nr_rx_rings},
		.num_host_rings = {reg->nr_host_tx_rings, reg->nr_host_rx_rings},
		.num_slots = {reg->nr_tx_slots, reg->nr_rx_slots},
		.extra_bufs = reg->nr_extra_bufs,
	};
	int error = prepare_bind(client, rq, &bind, &offsets, &mem);

	if (error)
		return error;
	error = nm_client_bind(client, rq->hdr.nr_name, &bind);
	os_mem_free(mem);
	if (error)
		return error;
	if (rq->given[NETMAP_REQ_OPT_CSB])
		error = enable_csb(client, rq);
	if (error)
		nm_client_unbind(client);
	else
		fill_register(client, rq);
	return error;
}

/* ---- switches ------------------------------------------------------------------------- */

/* Of a port on a switch, without a pipe. */
static int check_switch_name(struct nm_client *client, const struct request *rq)
{
	struct nm_name name;
	int error = nm_name_parse(rq->hdr.nr_name, &name, &client->err);

	if (!error && (name.kind != NM_NAME_VALE || name.pipe != NM_PIPE_NONE))
		error = nm_error_set(&client->err, -EINVAL,
			"%s: the name of a device on a switch is valeID:DEVICE", rq->hdr.nr_name);
	return error;
}

static int do_vale_attach(struct nm_client *client, struct request *rq)
{
	struct nmreq_register *reg = &rq->body.attach.reg;
	const struct nm_bind bind = {
		.mode = reg->nr_mode, .flags = reg->nr_flags, .mem_id = reg->nr_mem_id};
	const struct nm_attachment *att;
	int error = nm_attachment_add(client->core, client->ns, rq->hdr.nr_name, &bind,
		&rq->body.attach.port_index, &client->err);

	if (error)
		return error;
	nm_core_lock(client->core);
	att = nm_attachment_find_locked(client->core, client->ns, rq->hdr.nr_name);
	if (att && att->sw.port && att->sw.port->region)
		reg->nr_mem_id = att->sw.port->region->id;
	nm_core_unlock(client->core);
	return 0;
}

static int do_vale_detach(struct nm_client *client, struct request *rq)
{
	int error = check_switch_name(client, rq);

	return error ? error
		     : nm_attachment_detach(client->core, client->ns, rq->hdr.nr_name,
			       &rq->body.detach.port_index, &client->err);
}

static int do_vale_list(struct nm_client *client, struct request *rq)
{
	uint32_t sw_index = rq->body.list.nr_bridge_idx, port = rq->body.list.nr_port_idx;
	int error;

	nm_core_lock(client->core);
	error = nm_vale_list_locked(client->core, client->ns, rq->hdr.nr_name, &sw_index, &port);
	nm_core_unlock(client->core);
	if (error)
		return nm_error_set(&client->err, error, "%s: no such port on a switch",
			rq->hdr.nr_name[0] ? rq->hdr.nr_name : "end of the list");
	rq->body.list.nr_bridge_idx = (uint16_t)sw_index;
	rq->body.list.nr_port_idx = port;
	return 0;
}

/* The CPUs that a request for polling means: one for all rings, or one for each. */
static int polling_cpus(struct nm_client *client, const struct request *rq, uint32_t *count)
{
	const struct nmreq_vale_polling *polling = &rq->body.polling;

	*count = polling->nr_num_polling_cpus;
	if (polling->nr_mode == NETMAP_POLLING_MODE_SINGLE_CPU && *count <= 1)
		*count = 1;
	else if (polling->nr_mode != NETMAP_POLLING_MODE_MULTI_CPU || *count == 0)
		return nm_error_set(&client->err, -EINVAL,
			"%s: polling mode %u with %u CPUs; mode %d has one, mode %d one or more",
			rq->hdr.nr_name, polling->nr_mode, *count, NETMAP_POLLING_MODE_SINGLE_CPU,
			NETMAP_POLLING_MODE_MULTI_CPU);
	if (*count > UINT32_MAX - polling->nr_first_cpu_id)
		return nm_error_set(&client->err, -EINVAL, "%s: there is no CPU %u and %u more",
			rq->hdr.nr_name, polling->nr_first_cpu_id, *count);
	return 0;
}

static int set_polling(struct nm_client *client, const struct request *rq, uint32_t count)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_core *core = client->core;
	struct nm_attachment *att = nm_attachment_find_locked(core, client->ns, rq->hdr.nr_name);
	int error;

	if (!att)
		return nm_error_set(&client->err, -ENXIO,
			"%s: no device is attached to a switch by this name", rq->hdr.nr_name);
	error = nm_port_admit_locked(att->device.port, &client->err);
	if (error)
		return error;
	if (att->polling == (count > 0))
		return nm_error_set(&client->err, count ? -EBUSY : -EINVAL, "%s: %s",
			rq->hdr.nr_name, count ? "is being polled already" : "is not being polled");
	if (!core->platform_ops || !core->platform_ops->attachment_poll)
		return nm_error_set(&client->err, -EOPNOTSUPP,
			"%s: there are no polling threads here", rq->hdr.nr_name);
	error = core->platform_ops->attachment_poll(
		att, count ? rq->body.polling.nr_first_cpu_id : 0, count, &client->err);
	if (!error)
		att->polling = count > 0;
	return error;
}

static int do_vale_polling(struct nm_client *client, struct request *rq)
{
	uint32_t count = 0;
	int error = check_switch_name(client, rq);

	if (!error && rq->hdr.nr_reqtype == NETMAP_REQ_VALE_POLLING_ENABLE)
		error = polling_cpus(client, rq, &count);
	if (error)
		return error;
	nm_core_lock(client->core);
	error = set_polling(client, rq, count);
	nm_core_unlock(client->core);
	return error;
}

/* ---- persistent ports ----------------------------------------------------------------- */

static int check_interface_name(struct nm_client *client, const struct request *rq)
{
	const char *text = rq->hdr.nr_name;
	struct nm_name name;
	int error = nm_name_parse(text, &name, &client->err);

	if (error)
		return error;
	if (name.kind != NM_NAME_PLAIN || name.pipe != NM_PIPE_NONE ||
		strncmp(text, "vale", 4) == 0 || strlen(text) > IFNAME_MAX)
		return nm_error_set(&client->err, -EINVAL,
			"%s: a persistent port is named as a network device: 1 to %d bytes, not beginning with \"vale\"",
			text, IFNAME_MAX);
	return 0;
}

static int do_vale_newif(struct nm_client *client, struct request *rq)
{
	const struct nm_platform_ops *platform = client->core->platform_ops;
	struct nmreq_vale_newif *newif = &rq->body.newif;
	struct nm_shape shape = {
		.rings = {newif->nr_tx_rings, newif->nr_rx_rings},
		.slots = {newif->nr_tx_slots, newif->nr_rx_slots},
	};
	int error = check_interface_name(client, rq);

	nm_shape_complete(&shape);
	if (!error)
		error = nm_shape_check(&shape, rq->hdr.nr_name, &client->err);
	if (error)
		return error;
	if (!platform || !platform->newif)
		return nm_error_set(&client->err, -EOPNOTSUPP,
			"%s: persistent ports can't be made here", rq->hdr.nr_name);
	nm_core_lock(client->core);
	error = platform->newif(
		client->core, client->ns, rq->hdr.nr_name, &shape, newif->nr_mem_id, &client->err);
	nm_core_unlock(client->core);
	if (error)
		return error;
	newif->nr_tx_rings = (uint16_t)shape.rings[NM_TX];
	newif->nr_rx_rings = (uint16_t)shape.rings[NM_RX];
	newif->nr_tx_slots = shape.slots[NM_TX];
	newif->nr_rx_slots = shape.slots[NM_RX];
	return 0;
}

static int do_vale_delif(struct nm_client *client, struct request *rq)
{
	const struct nm_platform_ops *platform = client->core->platform_ops;
	int error = check_interface_name(client, rq);

	if (error)
		return error;
	if (!platform || !platform->delif)
		return nm_error_set(&client->err, -EOPNOTSUPP,
			"%s: there are no persistent ports here", rq->hdr.nr_name);
	nm_core_lock(client->core);
	error = platform->delif(client->core, client->ns, rq->hdr.nr_name, &client->err);
	nm_core_unlock(client->core);
	return error;
}

/* ---- virtio-net header ---------------------------------------------------------------- */

/* The header changes what every packet of the port means: only for a port that the caller has
 * for itself, or nobody has. */
static int set_port_hdr(struct nm_client *client, struct nm_port *port, uint32_t bytes)
	OS_REQUIRES(NM_CORE_LOCK)
{
	int error = nm_port_admit_locked(port, &client->err);
	uint32_t mine = (client->port == port) + nm_attachment_has_lent_locked(port);

	if (error)
		return error;
	if (bytes != port->hdr_len && port->clients > mine)
		return nm_error_set(&client->err, -EBUSY,
			"%s: the virtio-net header can't be changed while others use the port",
			port->name);
	error = nm_port_set_hdr_len_locked(port, bytes);
	return error ? nm_error_set(&client->err, error,
			       "%s: virtio-net header of %u bytes refused; 0, 10 and 12 are possible where the port kind has one",
			       port->name, bytes)
		     : 0;
}

static int do_port_hdr(struct nm_client *client, struct request *rq)
{
	struct nm_port *port;
	int error = 0;

	nm_core_lock(client->core);
	port = rq->hdr.nr_name[0]
		       ? nm_port_find_in_locked(client->core, client->ns, rq->hdr.nr_name)
		       : client->port;
	if (!port)
		error = nm_error_set(&client->err, -ENXIO, "%s: no such port", rq->hdr.nr_name);
	else if (rq->hdr.nr_reqtype == NETMAP_REQ_PORT_HDR_SET)
		error = set_port_hdr(client, port, rq->body.hdr.nr_hdr_len);
	if (port && !error)
		rq->body.hdr.nr_hdr_len = port->hdr_len;
	nm_core_unlock(client->core);
	return error;
}

/* ---- the sync loop -------------------------------------------------------------------- */

static int check_eventfds(struct nm_client *client, struct request *rq)
{
	const uint32_t direct = NM_OPT_SYNC_KLOOP_DIRECT_TX | NM_OPT_SYNC_KLOOP_DIRECT_RX;
	uint32_t rings = client->count[NM_TX] + client->count[NM_RX], sleeping = 0;

	if (rq->given[NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS] && rq->kloop.rings != rings)
		return nm_option_failed(rq, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
			nm_error_set(&client->err, -EINVAL,
				"eventfds for %u rings; the registration has %u", rq->kloop.rings,
				rings));
	if (!rq->given[NETMAP_REQ_OPT_SYNC_KLOOP_MODE])
		return 0;
	for (uint32_t i = 0; i < rq->kloop.rings; i++)
		sleeping += rq->kloop.eventfds[i].ioeventfd < 0;
	if ((rq->mode.mode & ~direct) || (rq->mode.mode && (rq->kloop.rings == 0 || sleeping)))
		return nm_option_failed(rq, NETMAP_REQ_OPT_SYNC_KLOOP_MODE,
			nm_error_set(&client->err, -EINVAL,
				"loop mode %#x; DIRECT_TX (1) and DIRECT_RX (2) are possible, with an ioeventfd for each ring",
				rq->mode.mode));
	rq->kloop.mode = rq->mode.mode;
	return 0;
}

static int do_kloop_start(struct nm_client *client, struct request *rq)
{
	int error;

	if (!rq->ua->kloop_start)
		return nm_error_set(&client->err, -EOPNOTSUPP, "the sync loop is not served here");
	if (!client->port)
		return nm_error_set(
			&client->err, -ENXIO, "SYNC_KLOOP_START: no port is registered");
	if (rq->body.kloop.sleep_us > SLEEP_US_MAX)
		return nm_error_set(&client->err, -EINVAL,
			"sleep_us is %u; 0 to %d microseconds are possible",
			rq->body.kloop.sleep_us, SLEEP_US_MAX);
	error = check_eventfds(client, rq);
	if (error)
		return error;
	rq->kloop.start = rq->body.kloop;
	client->err.text[0] = '\0';
	error = rq->ua->kloop_start(rq->ua->arg, client, &rq->kloop);
	if (error == -EBADF)
		nm_option_failed(rq, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, error);
	if (error && client->err.text[0] == '\0')
		nm_error_set(&client->err, error, "the sync loop ended with error %d", -error);
	return error;
}

static int do_kloop_stop(struct nm_client *client, struct request *rq)
{
	int error;

	if (!rq->ua->kloop_stop)
		return nm_error_set(&client->err, -EOPNOTSUPP, "the sync loop is not served here");
	if (!client->port)
		return nm_error_set(&client->err, -ENXIO, "SYNC_KLOOP_STOP: no port is registered");
	client->err.text[0] = '\0';
	error = rq->ua->kloop_stop(rq->ua->arg, client);
	if (error && client->err.text[0] == '\0')
		nm_error_set(
			&client->err, error, "the sync loop can't be stopped: error %d", -error);
	return error;
}

/* ---- the table ------------------------------------------------------------------------ */

#define OPT(name) (1u << NETMAP_REQ_OPT_##name)

const struct request_type *nm_request_type(uint16_t reqtype)
{
	static const struct request_type types[] = {
		[NETMAP_REQ_REGISTER] = {sizeof(struct nmreq_register),
			OPT(EXTMEM) | OPT(CSB) | OPT(OFFSETS), do_register},
		[NETMAP_REQ_PORT_INFO_GET] = {sizeof(struct nmreq_port_info_get), 0, do_port_info},
		[NETMAP_REQ_VALE_ATTACH] = {sizeof(struct nmreq_vale_attach), 0, do_vale_attach},
		[NETMAP_REQ_VALE_DETACH] = {sizeof(struct nmreq_vale_detach), 0, do_vale_detach},
		[NETMAP_REQ_VALE_LIST] = {sizeof(struct nmreq_vale_list), 0, do_vale_list},
		[NETMAP_REQ_PORT_HDR_SET] = {sizeof(struct nmreq_port_hdr), 0, do_port_hdr},
		[NETMAP_REQ_PORT_HDR_GET] = {sizeof(struct nmreq_port_hdr), 0, do_port_hdr},
		[NETMAP_REQ_VALE_NEWIF] = {sizeof(struct nmreq_vale_newif), 0, do_vale_newif},
		[NETMAP_REQ_VALE_DELIF] = {0, 0, do_vale_delif},
		[NETMAP_REQ_VALE_POLLING_ENABLE] = {sizeof(struct nmreq_vale_polling), 0,
			do_vale_polling},
		[NETMAP_REQ_VALE_POLLING_DISABLE] = {sizeof(struct nmreq_vale_polling), 0,
			do_vale_polling},
		[NETMAP_REQ_POOLS_INFO_GET] = {sizeof(struct nmreq_pools_info), 0, do_pools_info},
		[NETMAP_REQ_SYNC_KLOOP_START] = {sizeof(struct nmreq_sync_kloop_start),
			OPT(SYNC_KLOOP_EVENTFDS) | OPT(SYNC_KLOOP_MODE), do_kloop_start},
		[NETMAP_REQ_SYNC_KLOOP_STOP] = {0, 0, do_kloop_stop},
		[NETMAP_REQ_CSB_ENABLE] = {0, OPT(CSB), do_csb_enable},
	};

	if (reqtype >= sizeof(types) / sizeof(types[0]) || !types[reqtype].run)
		return NULL;
	return &types[reqtype];
}
