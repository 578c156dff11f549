/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl macs, flush: the addresses that switches have learned. */
#include "netmapctl.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto_client.h"

static const char A_SWITCH[] = "a switch, as vale1";

struct listing {
	int fd;
	bool titled;
	json_t *json; /* the entries; NULL: they are printed */
};

static void put_title(struct listing *l)
{
	if (!l->titled)
		printf("%-12s  %-17s  %-24s  %s\n", "SWITCH", "ADDRESS", "PORT", "AGE");
	l->titled = true;
}

static void put_mac(struct listing *l, const char *sw_name, const struct nmd_mac *m)
{
	char name[NMD_NAME_MAX], address[18];

	snprintf(name, sizeof(name), "%.*s", NMD_NAME_MAX - 1, m->name[0] ? m->name : "-");
	snprintf(address, sizeof(address), "%02x:%02x:%02x:%02x:%02x:%02x", m->mac[0], m->mac[1],
		m->mac[2], m->mac[3], m->mac[4], m->mac[5]);
	if (l->json) {
		json_array_append_new(
			l->json, json_pack("{s:s, s:s, s:s, s:I}", "switch", sw_name, "address",
					 address, "port", name, "age_s", (json_int_t)m->age_s));
		return;
	}
	put_title(l);
	printf("%-12s  %s  %-24s  %u s\n", sw_name, address, name, m->age_s);
}

/* One message of the list. *pos: where it goes on. Entries, or minus an exit status, told on stderr. */
static int fetch(struct listing *l, const char *sw_name, uint64_t *pos)
{
	_Alignas(struct nmd_vale_macs_reply) char message[NMD_MSG_MAX];
	const struct nmd_vale_macs_reply *reply = (const void *)message;
	const struct nmd_mac *macs = (const void *)(reply + 1);
	struct nmd_vale_macs req = {.pos = *pos};
	struct nm_error err;
	ssize_t n;

	nmd_hdr_init(&req.hdr, NMD_VALE_MACS, sizeof(req));
	memcpy(req.sw_name, sw_name, strlen(sw_name)); /* measured by the caller */
	n = nmd_ask(l->fd, &req, message, sizeof(message), sizeof(*reply), &err);
	if (n < 0)
		return -ctl_failed(&err);
	if ((size_t)n / sizeof(*macs) < reply->count)
		return -ctl_fail(CTL_FAILED, "the list of netmapd is malformed");
	for (uint32_t i = 0; i < reply->count; i++)
		put_mac(l, sw_name, &macs[i]);
	*pos = reply->pos;
	return (int)reply->count;
}

static int list_switch(struct listing *l, const char *sw_name)
{
	uint64_t pos = 0;
	int n;

	do {
		n = fetch(l, sw_name, &pos);
	} while (n > 0);
	return -n;
}

/* All switches, as far as they are still there when their turn comes. */
static int list_all(struct listing *l)
{
	json_t *root, *sw;
	int status = ctl_report_on(l->fd, &root);
	size_t i;

	if (status)
		return status;
	json_array_foreach(json_object_get(root, "switches"), i, sw)
	{
		const char *name = json_string_value(json_object_get(sw, "name"));

		if (name && strlen(name) < NMD_NAME_MAX && !status)
			status = list_switch(l, name);
	}
	json_decref(root);
	return status;
}

int ctl_macs(int argc, char **argv, const struct ctl *ctl)
{
	struct listing l = {.fd = -1};
	int status;

	if (argc > 2)
		return ctl_fail(CTL_USAGE, "macs takes the name of one switch, or none");
	if (argc == 2 && ctl_name("macs", A_SWITCH, argv[1]) != CTL_OK)
		return CTL_USAGE;
	status = ctl_connect(ctl, &l.fd);
	if (status)
		return status;
	l.json = ctl->json ? json_array() : NULL;
	status = argc == 2 ? list_switch(&l, argv[1]) : list_all(&l);
	close(l.fd);
	if (status)
		json_decref(l.json);
	else if (l.json)
		return ctl_put_json(l.json, JSON_INDENT(1));
	else
		put_title(&l);
	return status;
}

int ctl_flush(int argc, char **argv, const struct ctl *ctl)
{
	struct nmd_vale_flush req = {.sw_name = ""};
	struct nmd_reply reply;
	struct nm_error err;
	int fd, error;

	if (argc != 2)
		return ctl_fail(CTL_USAGE, "flush needs the name of a switch, as vale1");
	if (ctl_name("flush", A_SWITCH, argv[1]) != CTL_OK)
		return CTL_USAGE;
	error = ctl_connect(ctl, &fd);
	if (error)
		return error;
	nmd_hdr_init(&req.hdr, NMD_VALE_FLUSH, sizeof(req));
	memcpy(req.sw_name, argv[1], strlen(argv[1]));
	error = nmd_call(fd, &req, &reply, sizeof(reply), &err);
	close(fd);
	if (error)
		return ctl_failed(&err);
	return ctl_done(ctl, "flush", "switch", argv[1], NULL);
}
