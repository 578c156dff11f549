/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl attach, detach, rename, limit, full-wait. */
#include "netmapctl.h"

#include <errno.h>
#include <libnetmap.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "proto_client.h"

/* ---- devices on switches ---------------------------------------------------------------------- */

static char reported[512];

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	snprintf(reported, sizeof(reported), "%s", text);
}

/* A control request about `name` ("vale1:eth0"), as applications make it. 0, or an exit status. */
static int request(const struct ctl *ctl, uint16_t type, const char *name, void *body)
{
	struct nmreq_header hdr;
	struct nmport_d *d;
	int error = 0;

	setenv("NETMAP_BACKEND", "daemon", 1);
	if (ctl->socket)
		setenv("NETMAPD_SOCKET", ctl->socket, 1);
	nmctx_get()->error = on_error;
	d = nmport_new();
	if (!d)
		return ctl_fail(CTL_FAILED, "%s", reported);
	nmreq_header_init(&hdr, type, body);
	snprintf(hdr.nr_name, sizeof(hdr.nr_name), "%s", name);
	errno = 0;
	if (nmport_request(d, &hdr) < 0) {
		error = d->fd < 0 ? CTL_UNREACHABLE : ctl_status_of(-errno);
		ctl_fail(error, "%s", reported);
	}
	nmport_close(d);
	return error;
}

static int check_device(const char *what, const char *name)
{
	const char *colon = strchr(name, ':');

	if (strncmp(name, "vale", 4) == 0 && colon && colon[1] &&
		strlen(name) < NETMAP_REQ_IFNAMSIZ)
		return CTL_OK;
	return ctl_fail(CTL_USAGE, "%s: '%.80s' is not SWITCH:DEVICE, as vale0:eth1", what, name);
}

static int say_port(const struct ctl *ctl, const char *what, const char *name, uint32_t number)
{
	if (ctl->json)
		return ctl_put_json(json_pack("{s:s, s:s, s:I}", "done", what, "device", name,
					    "port_index", (json_int_t)number),
			0);
	return CTL_OK;
}

int ctl_attach(int argc, char **argv, const struct ctl *ctl)
{
	struct nmreq_vale_attach body = {.reg = {.nr_mode = NR_REG_ALL_NIC}};
	const char *name = NULL;
	int status;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--host"))
			body.reg.nr_mode = NR_REG_NIC_SW;
		else if (argv[i][0] == '-' || name)
			return ctl_fail(CTL_USAGE,
				"attach takes SWITCH:DEVICE and --host, not '%s'", argv[i]);
		else
			name = argv[i];
	}
	if (!name)
		return ctl_fail(CTL_USAGE, "attach needs SWITCH:DEVICE, as vale0:eth1");
	status = check_device("attach", name);
	if (!status)
		status = request(ctl, NETMAP_REQ_VALE_ATTACH, name, &body);
	return status ? status : say_port(ctl, "attach", name, body.port_index);
}

int ctl_detach(int argc, char **argv, const struct ctl *ctl)
{
	struct nmreq_vale_detach body = {0};
	int status;

	if (argc != 2)
		return ctl_fail(CTL_USAGE, "detach needs SWITCH:DEVICE, as vale0:eth1");
	status = check_device("detach", argv[1]);
	if (!status)
		status = request(ctl, NETMAP_REQ_VALE_DETACH, argv[1], &body);
	return status ? status : say_port(ctl, "detach", argv[1], body.port_index);
}

/* ---- names, limits -------------------------------------------------------------------------------- */

/* One message whose reply says only whether it was done. */
static int call(const struct ctl *ctl, const void *message)
{
	struct nmd_reply reply;
	struct nm_error err;
	int fd, error, status = ctl_connect(ctl, &fd);

	if (status)
		return status;
	error = nmd_call(fd, message, &reply, sizeof(reply), &err);
	close(fd);
	return error ? ctl_failed(&err) : CTL_OK;
}

int ctl_rename(int argc, char **argv, const struct ctl *ctl)
{
	struct nmd_rename req = {.from = ""};
	char to[2 * NMD_NAME_MAX];
	int status;

	if (argc != 3)
		return ctl_fail(CTL_USAGE, "rename needs a port and its new name, as vale1:10 web");
	if (ctl_name("rename", "a port, as vale1:10", argv[1]) != CTL_OK ||
		ctl_name("rename", "a port, as web", argv[2]) != CTL_OK)
		return CTL_USAGE;
	/* The switch needn't be said twice. */
	snprintf(to, sizeof(to), "%.*s%s",
		strchr(argv[2], ':') ? 0 : (int)strcspn(argv[1], ":") + 1, argv[1], argv[2]);
	if (strlen(to) >= NMD_NAME_MAX)
		return ctl_fail(
			CTL_USAGE, "the name of a port has at most %d bytes", NMD_NAME_MAX - 1);
	nmd_hdr_init(&req.hdr, NMD_RENAME, sizeof(req));
	memcpy(req.from, argv[1], strlen(argv[1]));
	memcpy(req.to, to, strlen(to));
	status = call(ctl, &req);
	return status ? status : ctl_done(ctl, "rename", "from", argv[1], "to", to, NULL);
}

/* All limits, or the one of this name. */
static int put_limits(const struct ctl *ctl, const char *name)
{
	struct table *t;
	json_t *root, *found, *limit;
	int status = ctl_report(ctl, &root);
	size_t i;

	if (status)
		return status;
	found = json_array();
	json_array_foreach(json_object_get(root, "limits"), i,
		limit) if (!name || !strcmp(ctl_string(limit, "name"), name))
		json_array_append(found, limit);
	json_decref(root);
	if (name && json_array_size(found) == 0) {
		json_decref(found);
		return ctl_fail(CTL_NOT_FOUND, "there is no limit '%.60s'", name);
	}
	if (ctl->json)
		return ctl_put_json(found, JSON_INDENT(1));
	t = table_new("LIMIT|>OF EACH USER|>OF ALL|>USED|>REFUSED|USERS");
	json_array_foreach(found, i, limit)
	{
		char *users = ctl_limit_users(limit);

		table_cell(t, "%s", ctl_string(limit, "name"));
		table_bound(t, limit, "limit");
		table_bound(t, limit, "limit_all");
		table_bound(t, limit, "used");
		table_bound(t, limit, "refused");
		table_cell(t, "%s", users);
		free(users);
	}
	table_print(t, stdout, ctl_columns(), 0);
	json_decref(found);
	return CTL_OK;
}

int ctl_limit(int argc, char **argv, const struct ctl *ctl)
{
	struct nmd_limit req = {.text = ""};
	int status;

	if (argc > 2)
		return ctl_fail(
			CTL_USAGE, "limit takes one argument: WHAT, or WHAT=N, or WHAT=N/M");
	if (argc == 1)
		return put_limits(ctl, NULL);
	if (ctl_name("limit", "a limit, as ports", argv[1]) != CTL_OK)
		return CTL_USAGE;
	if (!strchr(argv[1], '='))
		return put_limits(ctl, argv[1]);
	nmd_hdr_init(&req.hdr, NMD_LIMIT, sizeof(req));
	memcpy(req.text, argv[1], strlen(argv[1]));
	status = call(ctl, &req);
	return status ? status : ctl_done(ctl, "limit", "limit", argv[1], NULL);
}

/* 0, or an exit status, told on stderr. */
static int take_full_wait(const char *text, uint32_t *ms)
{
	uint64_t number = NMD_FULL_WAIT_ANY;
	int status = CTL_OK;

	if (strcmp(text, "any") != 0)
		status = ctl_number("full-wait: MS, which may be any,", text, 0,
			CONFIG_FULL_WAIT_MAX_MS, &number);
	*ms = (uint32_t)number;
	return status;
}

int ctl_full_wait(int argc, char **argv, const struct ctl *ctl)
{
	struct nmd_full_wait req = {.name = ""};
	int status;

	if (argc != 3)
		return ctl_fail(CTL_USAGE,
			"full-wait needs a switch or a port of one, and milliseconds or any, as vale1 50");
	if (ctl_name("full-wait", "a switch or a port of one, as vale1", argv[1]) != CTL_OK ||
		take_full_wait(argv[2], &req.ms) != CTL_OK)
		return CTL_USAGE;
	nmd_hdr_init(&req.hdr, NMD_FULL_WAIT, sizeof(req));
	memcpy(req.name, argv[1], strlen(argv[1]));
	status = call(ctl, &req);
	return status ? status : ctl_done(ctl, "full-wait", "name", argv[1], "ms", argv[2], NULL);
}
