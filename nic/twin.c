/* SPDX-License-Identifier: BSD-2-Clause */
#include "twin.h"

#include <net/if.h>
#include <stdio.h>

#include "fd.h"
#include "kernel.h"
#include "netlink.h"
#include "tap_open.h"

#define TWIN_NAMES  "nmhost%d"
#define ALIAS_START "host rings of "
#define ALIAS_END   " (netmapd)"

/* On error all of them are closed. */
static int open_queues(char ifname[IFNAMSIZ], int *fds, uint32_t queues)
{
	for (uint32_t i = 0; i < queues; i++) {
		int error = tap_open(ifname, queues > 1, &fds[i]);

		if (!error)
			continue;
		for (uint32_t j = 0; j <= i; j++)
			fd_close(&fds[j]);
		return error;
	}
	return 0;
}

/* prog: a program, or why there is none. By a link, or before Linux 6.6 by a filter, for which there is a clsact: the TAP's end is
 * theirs, too. */
static int attach(struct twin *t, int prog, bool egress)
{
	int error = prog < 0 ? prog : 0;

	if (!error && kernel_is_at_least(6, 6)) {
		t->link[egress] = program_attach_stack(prog, t->ifindex, egress);
		error = t->link[egress] < 0 ? t->link[egress] : 0;
	} else if (!error) {
		error = netlink_filter(t->ifindex, prog, egress);
	}
	fd_close(&prog);
	return error;
}

static int attach_both(struct twin *t, uint32_t ifindex, const uint8_t *cookie)
{
	int error = kernel_is_at_least(6, 6) ? 0 : netlink_clsact(t->ifindex);

	if (!error)
		error = attach(t, program_load_twin_in(ifindex, cookie), false);
	return error ? error : attach(t, program_load_twin_out(), true);
}

static int set_up(struct twin *t, const struct nic_facts *f, const uint8_t *cookie)
{
	char alias[NETLINK_ALIAS_MAX];
	int error = attach_both(t, f->ifindex, cookie);

	snprintf(alias, sizeof(alias), ALIAS_START "%s" ALIAS_END, f->ifname);
	return error ? error : netlink_up_quietly(t->ifindex, alias);
}

int twin_make(struct twin *t, const struct nic_facts *f, const uint8_t *cookie, int *fds,
	uint32_t queues, struct nm_error *err)
{
	char ifname[IFNAMSIZ] = TWIN_NAMES;
	int error = open_queues(ifname, fds, queues);

	if (error)
		return nm_error_set(err, error,
			"%s: no TAP for its host rings can be made (/dev/net/tun): %s", f->ifname,
			strerror(-error));
	memcpy(t->ifname, ifname, sizeof(t->ifname));
	t->seen = (struct netlink_drops){0, 0, 0};
	t->queue_lost = 0;
	t->ifindex = if_nametoindex(ifname);
	error = t->ifindex ? set_up(t, f, cookie) : -errno;
	if (!error)
		return 0;
	for (uint32_t i = 0; i < queues; i++)
		fd_close(&fds[i]);
	twin_close(t);
	return nm_error_set(err, error,
		"%s: what the host sends and receives can't be led through %s, to its host rings: %s",
		f->ifname, ifname, strerror(-error));
}

/* Another discipline begins anew. */
static uint32_t queue_more(const struct netlink_drops *now, const struct netlink_drops *seen)
{
	uint32_t more = now->queue - seen->queue;

	return now->discipline != seen->discipline || more > INT32_MAX ? now->queue : more;
}

uint64_t twin_lost(struct twin *t)
{
	struct netlink_drops now;

	if (netlink_dropped(t->ifindex, &now)) {
		t->queue_lost += queue_more(&now, &t->seen);
		t->seen = now;
	}
	return t->seen.device + t->queue_lost;
}

void twin_close(struct twin *t)
{
	fd_close(&t->link[0]);
	fd_close(&t->link[1]);
	if (t->ifindex)
		(void)netlink_delete(t->ifindex); /* -ENODEV, if the client has let go of it */
	t->ifindex = 0;
	t->ifname[0] = '\0';
}

/* The interface that was served may be called something else by now. */
static bool is_twin(const char *alias)
{
	size_t length = strlen(alias), end = strlen(ALIAS_END);

	return length > strlen(ALIAS_START) + end &&
	       strncmp(alias, ALIAS_START, strlen(ALIAS_START)) == 0 &&
	       strcmp(alias + length - end, ALIAS_END) == 0;
}

void twin_remove(uint32_t ifindex)
{
	char alias[NETLINK_ALIAS_MAX];

	netlink_alias(ifindex, alias);
	if (is_twin(alias))
		(void)netlink_delete(ifindex);
}
