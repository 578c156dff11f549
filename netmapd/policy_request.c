/* SPDX-License-Identifier: BSD-2-Clause */
/* Which rights a control request wants. */
#include "policy.h"
#include "names.h"
#include "port.h"

#include <stdio.h>
#include <string.h>

struct asked {
	struct nm_core *core;
	uint32_t uid;
	struct nmreq_header hdr;
	char name[NETMAP_REQ_IFNAMSIZ];
	const char *body; /* NULL: there is none, or not all of it is in the message */
	size_t body_bytes;
};

/* The device in "valeID:DEVICE". */
static int check_attachment(const struct asked *a, struct nm_error *err)
{
	const char *device = strchr(a->name, ':');
	int error = policy_port(a->uid, a->name, err);

	return error || !device ? error : policy_device(a->uid, device + 1, err);
}

static int check_attach(const struct asked *a, struct nm_error *err)
{
	struct nmreq_vale_attach body;
	int error = check_attachment(a, err);

	if (error || a->body_bytes < sizeof(body))
		return error;
	memcpy(&body, a->body, sizeof(body));
	if (policy_host_mode(body.reg.nr_mode) && strchr(a->name, ':'))
		error = policy_host(a->uid, strchr(a->name, ':') + 1, err);
	if (error)
		return error;
	/* Of the name it has been asked already. */
	return policy_bind(a->core, a->uid, a->name, NR_REG_NULL, 0, body.reg.nr_mem_id, err);
}

static int check_newif(const struct asked *a, struct nm_error *err)
{
	struct nmreq_vale_newif body;
	int error = policy_device(a->uid, a->name, err);

	if (error || a->body_bytes < sizeof(body))
		return error;
	memcpy(&body, a->body, sizeof(body));
	return policy_bind(a->core, a->uid, a->name, NR_REG_NULL, 0, body.nr_mem_id, err);
}

static int check_register(const struct asked *a, struct nm_error *err)
{
	struct nmreq_register body;

	if (a->body_bytes < sizeof(body))
		return policy_port(a->uid, a->name, err);
	memcpy(&body, a->body, sizeof(body));
	return policy_bind(
		a->core, a->uid, a->name, body.nr_mode, body.nr_flags, body.nr_mem_id, err);
}

/* Questions about a region, when no port is named. */
static int check_info(const struct asked *a, struct nm_error *err)
{
	struct nmreq_port_info_get info;
	struct nmreq_pools_info pools;
	uint16_t id = 0;

	if (a->hdr.nr_reqtype == NETMAP_REQ_PORT_INFO_GET && a->body_bytes >= sizeof(info)) {
		memcpy(&info, a->body, sizeof(info));
		id = info.nr_mem_id;
	} else if (a->hdr.nr_reqtype == NETMAP_REQ_POOLS_INFO_GET &&
		   a->body_bytes >= sizeof(pools)) {
		memcpy(&pools, a->body, sizeof(pools));
		id = pools.nr_mem_id;
	}
	if (a->name[0])
		return policy_bind(a->core, a->uid, a->name, NR_REG_ALL_NIC, 0, id, err);
	return policy_bind(a->core, a->uid, "", NR_REG_NULL, 0, id, err);
}

static int check(const struct asked *a, struct nm_error *err)
{
	switch (a->hdr.nr_reqtype) {
	case NETMAP_REQ_REGISTER:
		return check_register(a, err);
	case NETMAP_REQ_VALE_ATTACH:
		return check_attach(a, err);
	case NETMAP_REQ_VALE_DETACH:
	case NETMAP_REQ_VALE_POLLING_ENABLE:
	case NETMAP_REQ_VALE_POLLING_DISABLE:
		return check_attachment(a, err);
	case NETMAP_REQ_VALE_NEWIF:
		return check_newif(a, err);
	case NETMAP_REQ_VALE_DELIF:
		return policy_device(a->uid, a->name, err);
	case NETMAP_REQ_VALE_LIST:
		/* Without a name it is a list of all switches: of those who may see them. */
		if (!a->name[0] && !policy_sees_all(a->uid))
			return nm_error_set(err, -EPERM,
				"the list of all switches is not for user %u; netmapctl status has what he may see",
				(unsigned)a->uid);
		return policy_port(a->uid, a->name, err);
	case NETMAP_REQ_PORT_HDR_SET:
		return a->name[0] ? policy_port(a->uid, a->name, err) : 0;
	case NETMAP_REQ_PORT_HDR_GET:
		/* Who may watch it needs to know. */
		return a->name[0] ? policy_open(a->core, a->uid, a->name, err) : 0;
	default:
		return check_info(a, err);
	}
}

int policy_open(struct nm_core *core, uint32_t uid, const char *name, struct nm_error *err)
{
	if (policy_port(uid, name, err) == 0)
		return 0;
	return policy_bind(core, uid, name, NR_REG_ALL_NIC, NR_MONITOR_RX, 0, err);
}

/* False: there is none. */
static bool take(struct asked *a, const void *payload, size_t bytes)
{
	if (bytes < sizeof(a->hdr))
		return false;
	memcpy(&a->hdr, payload, sizeof(a->hdr));
	snprintf(a->name, sizeof(a->name), "%.*s", NETMAP_REQ_IFNAMSIZ - 1, a->hdr.nr_name);
	if (a->hdr.nr_body >= sizeof(a->hdr) && a->hdr.nr_body < bytes) {
		a->body = (const char *)payload + a->hdr.nr_body;
		a->body_bytes = bytes - a->hdr.nr_body;
	}
	return true;
}

int policy_request(
	struct nm_core *core, uint32_t uid, const void *payload, size_t bytes, struct nm_error *err)
{
	struct asked a = {.core = core, .uid = uid};

	return policy_is_admin(uid) || !take(&a, payload, bytes) ? 0 : check(&a, err);
}

bool policy_host_mode(uint32_t mode)
{
	return mode == NR_REG_SW || mode == NR_REG_NIC_SW || mode == NR_REG_ONE_SW;
}

bool policy_host_rings(const void *payload, size_t bytes)
{
	struct nmreq_vale_attach attach;
	struct nmreq_register reg;
	struct asked a = {.core = NULL};

	if (!take(&a, payload, bytes))
		return false;
	if (a.hdr.nr_reqtype == NETMAP_REQ_REGISTER && a.body_bytes >= sizeof(reg)) {
		memcpy(&reg, a.body, sizeof(reg));
		return policy_host_mode(reg.nr_mode);
	}
	if (a.hdr.nr_reqtype != NETMAP_REQ_VALE_ATTACH || a.body_bytes < sizeof(attach))
		return false;
	memcpy(&attach, a.body, sizeof(attach));
	return policy_host_mode(attach.reg.nr_mode);
}
