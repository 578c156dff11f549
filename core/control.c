/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"
#include "vale.h"

union body {
	struct nmreq_register reg;
	struct nmreq_port_info_get info;
	struct nmreq_vale_list list;
	struct nmreq_port_hdr hdr;
	struct nmreq_pools_info pools;
};

struct request {
	const struct nm_uaccess *ua;
	uint64_t addr;
	struct nmreq_header hdr;
	union body body;
};

/* ---- helpers ------------------------------------------------------------------------- */

/* What a caller may ask about a port: it exists already, or it is made for the question. */
struct probe {
	struct nm_client tmp;
	const struct nm_port *port;
};

/*
 * Finds the port that a request names, or the one the client is bound to when it names none. A
 * port that nobody uses is bound for the time of the question, so that it has its memory.
 * probe_end() must follow a success.
 */
static int probe_begin(struct nm_client *client, const char *name, struct probe *probe)
{
	const struct nm_bind bind = {.mode = NR_REG_ALL_NIC, .flags = NR_ACCEPT_VNET_HDR};
	int error;

	nm_client_init(&probe->tmp, client->core);
	probe->tmp.own_region = client->own_region;
	if (name[0] == '\0') {
		if (!client->port)
			return nm_client_error(
				client, -ENXIO, "no port named, and none registered");
		os_mutex_lock(&client->core->lock);
		probe->port = client->port;
		return 0;
	}
	os_mutex_lock(&client->core->lock);
	probe->port = nm_port_find_locked(client->core, name);
	if (probe->port && probe->port->region)
		return 0;
	os_mutex_unlock(&client->core->lock);
	error = nm_client_bind(&probe->tmp, name, &bind);
	if (error)
		return nm_client_error(client, error, "%s", probe->tmp.err);
	os_mutex_lock(&client->core->lock);
	probe->port = probe->tmp.port;
	return 0;
}

static void probe_end(struct nm_client *client, struct probe *probe)
{
	os_mutex_unlock(&client->core->lock);
	nm_client_unbind(&probe->tmp);
}

/* ---- requests ------------------------------------------------------------------------ */

static int do_register(struct nm_client *client, struct request *rq)
{
	struct nmreq_register *reg = &rq->body.reg;
	const struct nm_bind bind = {
		.mode = reg->nr_mode,
		.flags = reg->nr_flags,
		.ringid = reg->nr_ringid,
		.mem_id = reg->nr_mem_id,
		.num_rings = {reg->nr_tx_rings, reg->nr_rx_rings},
		.num_slots = {reg->nr_tx_slots, reg->nr_rx_slots},
	};
	const struct nm_port *port;
	int error = nm_client_bind(client, rq->hdr.nr_name, &bind);

	if (error)
		return error;
	port = client->port;
	reg->nr_offset = client->nifp_offset;
	reg->nr_memsize = port->region->size;
	reg->nr_tx_slots = port->num_slots[NM_TX];
	reg->nr_rx_slots = port->num_slots[NM_RX];
	reg->nr_tx_rings = (uint16_t)port->num_rings[NM_TX];
	reg->nr_rx_rings = (uint16_t)port->num_rings[NM_RX];
	reg->nr_host_tx_rings = (uint16_t)port->num_host_rings[NM_TX];
	reg->nr_host_rx_rings = (uint16_t)port->num_host_rings[NM_RX];
	reg->nr_mem_id = port->region->id;
	reg->nr_extra_bufs = 0; /* as many as were given */
	return 0;
}

static int do_port_info(struct nm_client *client, struct request *rq)
{
	struct nmreq_port_info_get *info = &rq->body.info;
	struct probe probe;
	int error = probe_begin(client, rq->hdr.nr_name, &probe);

	if (error)
		return error;
	info->nr_memsize = probe.port->region->size;
	info->nr_tx_slots = probe.port->num_slots[NM_TX];
	info->nr_rx_slots = probe.port->num_slots[NM_RX];
	info->nr_tx_rings = (uint16_t)probe.port->num_rings[NM_TX];
	info->nr_rx_rings = (uint16_t)probe.port->num_rings[NM_RX];
	info->nr_host_tx_rings = (uint16_t)probe.port->num_host_rings[NM_TX];
	info->nr_host_rx_rings = (uint16_t)probe.port->num_host_rings[NM_RX];
	info->nr_mem_id = probe.port->region->id;
	probe_end(client, &probe);
	return 0;
}

static int do_pools_info(struct nm_client *client, struct request *rq)
{
	struct nmreq_pools_info *pools = &rq->body.pools;
	struct nm_region *region;
	struct probe probe;
	int error = 0;

	if (rq->hdr.nr_name[0] != '\0' || client->port) {
		error = probe_begin(client, rq->hdr.nr_name, &probe);
		if (error)
			return error;
		nm_region_info(probe.port->region, pools);
		probe_end(client, &probe);
		return 0;
	}
	os_mutex_lock(&client->core->lock);
	region = nm_region_find(client->core, pools->nr_mem_id);
	if (region)
		nm_region_info(region, pools);
	else
		error = nm_client_error(
			client, -ENOENT, "there is no memory region %u", pools->nr_mem_id);
	os_mutex_unlock(&client->core->lock);
	return error;
}

static int do_vale_list(struct nm_client *client, struct request *rq)
{
	uint32_t vale = rq->body.list.nr_bridge_idx, port = rq->body.list.nr_port_idx;
	int error;

	os_mutex_lock(&client->core->lock);
	error = nm_vale_list_locked(client->core, rq->hdr.nr_name, &vale, &port);
	os_mutex_unlock(&client->core->lock);
	if (error)
		return nm_client_error(client, error, "%s: no such port on a switch",
			rq->hdr.nr_name[0] ? rq->hdr.nr_name : "end of the list");
	rq->body.list.nr_bridge_idx = (uint16_t)vale;
	rq->body.list.nr_port_idx = port;
	return 0;
}

/* The header changes what every packet of the port means: only for a port that the caller has
 * for itself, or nobody has. */
static int set_port_hdr(struct nm_client *client, struct nm_port *port, uint32_t bytes)
{
	int error;

	if (bytes != port->hdr_len && port->clients > (client->port == port ? 1 : 0))
		return nm_client_error(client, -EBUSY,
			"%s: the virtio-net header can't be changed while others use the port",
			port->name);
	error = nm_port_set_hdr_len_locked(port, bytes);
	return error ? nm_client_error(client, error,
			       "%s: virtio-net header of %u bytes refused; 0, 10 and 12 are possible where the port kind has one",
			       port->name, bytes)
		     : 0;
}

static int do_port_hdr(struct nm_client *client, struct request *rq)
{
	struct nm_port *port;
	int error = 0;

	os_mutex_lock(&client->core->lock);
	port = rq->hdr.nr_name[0] ? nm_port_find_locked(client->core, rq->hdr.nr_name)
				  : client->port;
	if (!port)
		error = nm_client_error(client, -ENXIO, "%s: no such port", rq->hdr.nr_name);
	else if (rq->hdr.nr_reqtype == NETMAP_REQ_PORT_HDR_SET)
		error = set_port_hdr(client, port, rq->body.hdr.nr_hdr_len);
	if (!error)
		rq->body.hdr.nr_hdr_len = port->hdr_len;
	os_mutex_unlock(&client->core->lock);
	return error;
}

static const struct {
	uint16_t body_size;
	int (*run)(struct nm_client *client, struct request *rq);
} requests[] = {
	[NETMAP_REQ_REGISTER] = {sizeof(struct nmreq_register), do_register},
	[NETMAP_REQ_PORT_INFO_GET] = {sizeof(struct nmreq_port_info_get), do_port_info},
	[NETMAP_REQ_VALE_LIST] = {sizeof(struct nmreq_vale_list), do_vale_list},
	[NETMAP_REQ_PORT_HDR_SET] = {sizeof(struct nmreq_port_hdr), do_port_hdr},
	[NETMAP_REQ_PORT_HDR_GET] = {sizeof(struct nmreq_port_hdr), do_port_hdr},
	[NETMAP_REQ_POOLS_INFO_GET] = {sizeof(struct nmreq_pools_info), do_pools_info},
};

/* ---- options ------------------------------------------------------------------------- */

/*
 * Walks the chain once. Bounded: each step costs at least the size of an option out of the
 * NETMAP_REQ_MAXSIZE bytes that a request may have, so a loop ends, too. No option is served
 * yet: each is told EOPNOTSUPP in its nro_status, a repeated one EINVAL.
 */
static int check_options(struct nm_client *client, struct request *rq, size_t used)
{
	uint64_t addr = rq->hdr.nr_options;
	uint32_t seen = 0;
	int result = 0;

	while (addr != 0) {
		struct nmreq_option opt;
		uint32_t bit;
		int error = rq->ua->read(rq->ua->arg, addr, &opt, sizeof(opt));

		if (error)
			return nm_client_error(client, error, "an option can't be read");
		used += sizeof(opt);
		if (opt.nro_size > NETMAP_REQ_MAXSIZE || used + opt.nro_size > NETMAP_REQ_MAXSIZE)
			return nm_client_error(client, -EINVAL,
				"options of more than %d bytes, or in a loop", NETMAP_REQ_MAXSIZE);
		used += opt.nro_size;
		bit = opt.nro_reqtype < NETMAP_REQ_OPT_MAX ? 1u << opt.nro_reqtype : 0;
		opt.nro_status = (seen & bit) ? EINVAL : EOPNOTSUPP;
		seen |= bit;
		error = rq->ua->write(rq->ua->arg, addr, &opt, sizeof(opt));
		if (error)
			return nm_client_error(client, error, "an option can't be written");
		if (result != -EINVAL)
			result = nm_client_error(client, -(int)opt.nro_status,
				opt.nro_status == EINVAL ? "option %u stands twice"
							 : "option %u is not supported",
				opt.nro_reqtype);
		addr = opt.nro_next;
	}
	return result;
}

/* ---- the way in and out -------------------------------------------------------------- */

static int check_header(struct nm_client *client, const struct request *rq)
{
	uint16_t type = rq->hdr.nr_reqtype;

	if (rq->hdr.nr_version < NETMAP_MIN_API || rq->hdr.nr_version > NETMAP_MAX_API)
		return nm_client_error(client, -EINVAL, "API version %u; %d to %d are served",
			rq->hdr.nr_version, NETMAP_MIN_API, NETMAP_MAX_API);
	if (rq->hdr.nr_reserved != 0)
		return nm_client_error(
			client, -EINVAL, "nr_reserved is %u; it must be 0", rq->hdr.nr_reserved);
	if (type >= sizeof(requests) / sizeof(requests[0]) || !requests[type].run)
		return nm_client_error(client, -EOPNOTSUPP, "request %u is not supported", type);
	if (strnlen(rq->hdr.nr_name, sizeof(rq->hdr.nr_name)) == sizeof(rq->hdr.nr_name))
		return nm_client_error(client, -EINVAL, "a port name has at most %d bytes",
			NETMAP_REQ_IFNAMSIZ - 1);
	return 0;
}

static int copy_out(struct nm_client *client, const struct request *rq, size_t body_size)
{
	int error = rq->ua->write(rq->ua->arg, rq->hdr.nr_body, &rq->body, body_size);

	return error ? nm_client_error(client, error, "the request's body can't be written") : 0;
}

static int run(struct nm_client *client, struct request *rq)
{
	size_t body_size;
	int error = check_header(client, rq);

	if (error)
		return error;
	body_size = requests[rq->hdr.nr_reqtype].body_size;
	error = rq->ua->read(rq->ua->arg, rq->hdr.nr_body, &rq->body, body_size);
	if (error)
		return nm_client_error(client, error, "the request's body can't be read");
	error = check_options(client, rq, sizeof(rq->hdr) + body_size);
	if (error)
		return error;
	error = requests[rq->hdr.nr_reqtype].run(client, rq);
	if (error)
		return error;
	error = copy_out(client, rq, body_size);
	if (error && rq->hdr.nr_reqtype == NETMAP_REQ_REGISTER)
		nm_client_unbind(client);
	return error;
}

int nm_control(struct nm_client *client, const struct nm_uaccess *ua, uint64_t header_addr)
{
	struct request rq = {.ua = ua, .addr = header_addr};
	int error, write_error;

	client->err[0] = '\0';
	error = ua->read(ua->arg, header_addr, &rq.hdr, sizeof(rq.hdr));
	if (error)
		return nm_client_error(client, error, "the request's header can't be read");
	error = run(client, &rq);
	rq.hdr.nr_version = NETMAP_API;
	write_error = ua->write(ua->arg, header_addr, &rq.hdr, sizeof(rq.hdr));
	if (!error && write_error) {
		error = nm_client_error(
			client, write_error, "the request's header can't be written");
		if (rq.hdr.nr_reqtype == NETMAP_REQ_REGISTER)
			nm_client_unbind(client);
	}
	return error;
}
