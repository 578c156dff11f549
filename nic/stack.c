/* SPDX-License-Identifier: BSD-2-Clause */
#include "stack.h"

#include <unistd.h>

#include "kernel.h"
#include "netlink.h"

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Before Linux 6.6. The clsact stays afterwards: others may have put filters there, and an empty one does nothing. */
static int attach_filter(struct claim *claim, const struct nic_facts *f, int prog)
{
	int error = netlink_clsact(f->ifindex);

	if (error && error != -EEXIST)
		return error;
	claim_note(claim, CLAIM_FILTER); /* first: a note of nothing does no harm */
	return netlink_filter(f->ifindex, prog);
}

static int attach(struct stack *s, struct claim *claim, const struct nic_facts *f)
{
	if (!kernel_is_at_least(6, 6))
		return attach_filter(claim, f, s->prog);
	s->link = program_attach_exit(s->prog, f->ifindex);
	return s->link < 0 ? s->link : 0;
}

int stack_shut(struct stack *s, struct claim *claim, const struct nic_facts *f, int map,
	uint32_t queue, const struct program_filter *filter, struct nm_error *err)
{
	int error;

	s->dropped = program_dropped_map();
	s->prog = s->dropped < 0 ? s->dropped : program_load_exit(map, queue, s->dropped, filter);
	error = s->prog < 0 ? s->prog : attach(s, claim, f);
	if (!error)
		return 0;
	stack_open(s);
	return nm_error_set(err, error,
		"%s: what the host sends can't be kept off the wire (a BPF program for traffic control): %s; netmapd --nic-pass sent lets it through",
		f->ifname, strerror(-error));
}

void stack_open(struct stack *s)
{
	close_one(&s->link);
	close_one(&s->prog);
	close_one(&s->dropped);
}
