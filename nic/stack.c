/* SPDX-License-Identifier: BSD-2-Clause */
#include "stack.h"

#include <sys/mman.h>

#include "fd.h"
#include "kernel.h"
#include "netlink.h"
#include "os.h"

/* Before Linux 6.6. The clsact stays afterwards: others may have put filters there, and an empty one does nothing. */
static int attach_filter(struct claim *claim, const struct nic_facts *f, int prog)
{
	int error = netlink_clsact(f->ifindex);

	if (error && error != -EEXIST)
		return error;
	claim_note(claim, CLAIM_FILTER); /* first: a note of nothing does no harm */
	return netlink_filter(f->ifindex, prog, true);
}

static int attach(struct stack *s, struct claim *claim, const struct nic_facts *f)
{
	if (!kernel_is_at_least(6, 6))
		return attach_filter(claim, f, s->prog);
	s->link = program_attach_stack(s->prog, f->ifindex, true);
	return s->link < 0 ? s->link : 0;
}

static int map_counters(struct stack *s)
{
	void *map = mmap(
		NULL, sizeof(*s->counters), PROT_READ | PROT_WRITE, MAP_SHARED, s->maps.dropped, 0);

	if (map == MAP_FAILED)
		return -errno;
	s->counters = map;
	return 0;
}

static int load(struct stack *s, const struct program_filter *filter)
{
	struct program_exit *maps = &s->maps;

	maps->dropped = program_dropped_map();
	maps->state = maps->dropped < 0 ? maps->dropped : program_state_map();
	maps->alive = maps->state < 0 ? maps->state : program_map(1);
	s->prog = maps->alive < 0 ? maps->alive : program_load_exit(maps, filter);
	return s->prog < 0 ? s->prog : map_counters(s);
}

int stack_shut(struct stack *s, struct claim *claim, const struct nic_facts *f,
	const struct program_filter *filter, struct nm_error *err)
{
	int error = load(s, filter);

	if (!error)
		error = attach(s, claim, f);
	if (!error)
		return 0;
	stack_open(s);
	return nm_error_set(err, error,
		"%s: what the host sends can't be kept off the wire (a BPF program for traffic control): %s; netmapd --nic-pass sent lets it through",
		f->ifname, strerror(-error));
}

int stack_watch(const struct stack *s, int sock)
{
	return s->maps.alive < 0 ? 0 : program_set(s->maps.alive, 0, sock);
}

int stack_direct(const struct stack *s, const struct program_state *to)
{
	return s->maps.state < 0 ? 0 : program_set_state(s->maps.state, to);
}

void stack_count(struct stack *s, uint64_t lost)
{
	if (s->before + lost < s->lost)
		return; /* it is gone: nobody can say any more */
	s->lost = s->before + lost;
	if (s->counters)
		OS_STORE(&s->counters->lost, s->lost);
}

void stack_leave(const struct stack *s)
{
	if (s->maps.alive >= 0)
		program_clear(s->maps.alive, 0);
}

void stack_open(struct stack *s)
{
	if (s->counters)
		munmap(s->counters, sizeof(*s->counters));
	s->counters = NULL;
	s->before = s->lost = 0;
	fd_close(&s->link);
	fd_close(&s->prog);
	fd_close(&s->maps.alive);
	fd_close(&s->maps.state);
	fd_close(&s->maps.dropped);
}
