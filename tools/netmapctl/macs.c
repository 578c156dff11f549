/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl macs, flush: the addresses that switches have learned. */
#include "netmapctl.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto_client.h"

struct listing {
	int fd;
	bool titled;
	uint64_t count;
};

static void put_title(struct listing *l)
{
	if (!l->titled)
		printf("%-12s  %-17s  %-24s  %s\n", "SWITCH", "ADDRESS", "PORT", "AGE");
	l->titled = true;
}

static void put_mac(struct listing *l, const char *sw_name, const struct nmd_mac *m)
{
	char name[NMD_NAME_MAX];

	snprintf(name, sizeof(name), "%.*s", NMD_NAME_MAX - 1, m->name[0] ? m->name : "-");
	put_title(l);
	printf("%-12s  %02x:%02x:%02x:%02x:%02x:%02x  %-24s  %u s\n", sw_name, m->mac[0], m->mac[1],
		m->mac[2], m->mac[3], m->mac[4], m->mac[5], name, m->age_s);
	l->count++;
}

/* One message of the list. *pos: where it goes on. Entries, or a negative errno told on stderr. */
static int fetch(struct listing *l, const char *sw_name, uint64_t *pos)
{
	_Alignas(struct nmd_vale_macs_reply) char message[NMD_MSG_MAX];
	const struct nmd_vale_macs_reply *reply = (const void *)message;
	const struct nmd_mac *macs = (const void *)(reply + 1);
	struct nmd_vale_macs req = {.pos = *pos};
	ssize_t n;

	nmd_hdr_init(&req.hdr, NMD_VALE_MACS, sizeof(req));
	memcpy(req.sw_name, sw_name, strlen(sw_name)); /* measured by the caller */
	n = nmd_request(l->fd, &req, message, sizeof(message), NULL, NULL);
	if (n < 0) {
		ctl_fail(CTL_FAILED, "no list from netmapd: %s", strerror((int)-n));
		return (int)n;
	}
	if (reply->reply.hdr.status < 0) {
		ctl_fail(CTL_FAILED, "%s", reply->reply.text);
		return reply->reply.hdr.status;
	}
	if ((size_t)n < sizeof(*reply) || (n - sizeof(*reply)) / sizeof(*macs) < reply->count) {
		ctl_fail(CTL_FAILED, "the list of netmapd is malformed");
		return -1;
	}
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
	return n < 0 ? CTL_FAILED : CTL_OK;
}

static int check_name(const char *sw_name)
{
	if (sw_name[0] && strlen(sw_name) < NMD_NAME_MAX)
		return CTL_OK;
	return ctl_fail(CTL_USAGE, "'%.80s' can't be the name of a switch, as vale1 is", sw_name);
}

/* All switches, as far as they are still there when their turn comes. */
static int list_all(struct listing *l, const char *socket)
{
	json_t *root = ctl_report(socket), *sw;
	int status = CTL_OK;
	size_t i;

	if (!root)
		return CTL_FAILED;
	json_array_foreach(json_object_get(root, "switches"), i, sw)
	{
		const char *name = json_string_value(json_object_get(sw, "name"));

		if (name && strlen(name) < NMD_NAME_MAX && list_switch(l, name) != CTL_OK)
			status = CTL_FAILED;
	}
	json_decref(root);
	return status;
}

static int connect_to(const char *socket)
{
	struct nm_error err;
	int fd = nmd_connect(socket, NULL, &err);

	if (fd < 0)
		ctl_fail(CTL_FAILED, "%s", err.text);
	return fd;
}

int ctl_macs(int argc, char **argv, const char *socket)
{
	struct listing l = {.fd = -1};
	int status;

	if (argc > 2)
		return ctl_fail(CTL_USAGE, "macs takes the name of one switch, or none");
	if (argc == 2 && check_name(argv[1]) != CTL_OK)
		return CTL_USAGE;
	l.fd = connect_to(socket);
	if (l.fd < 0)
		return CTL_FAILED;
	status = argc == 2 ? list_switch(&l, argv[1]) : list_all(&l, socket);
	if (status == CTL_OK)
		put_title(&l);
	close(l.fd);
	return status;
}

int ctl_flush(int argc, char **argv, const char *socket)
{
	struct nmd_vale_flush req = {.sw_name = ""};
	struct nmd_reply reply;
	struct nm_error err;
	int fd, error;

	if (argc != 2)
		return ctl_fail(CTL_USAGE, "flush needs the name of a switch, as vale1");
	if (check_name(argv[1]) != CTL_OK)
		return CTL_USAGE;
	fd = connect_to(socket);
	if (fd < 0)
		return CTL_FAILED;
	nmd_hdr_init(&req.hdr, NMD_VALE_FLUSH, sizeof(req));
	memcpy(req.sw_name, argv[1], strlen(argv[1]));
	error = nmd_call(fd, &req, &reply, sizeof(reply), &err);
	close(fd);
	return error ? ctl_fail(CTL_FAILED, "%s", err.text) : CTL_OK;
}
