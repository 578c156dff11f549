// SPDX-License-Identifier: BSD-2-Clause
/*
 * Which buffers are here, when the host exchanges them under our feet.
 *
 * When a passed-through port is a pipe end at the host, a buffer that was sent goes to whoever has the
 * other end, and one of theirs is in its slot afterwards; the same for each packet that comes. Nobody
 * says so, and an application passes what comes on to pipes, monitors and lists of ours, or keeps it to
 * itself, so that it is no use to look for it. So each slot that is lent to the host is noted
 * with its buffer, and looked at again when it comes back:
 *
 *      application             lent[slot]        host
 *        head moves on    ->   buffer X     ->   exchanges X for Y
 *        hwtail moves on  <-   X, but the slot shows Y:  here[X]--, here[Y]++
 *
 * here[] counts, for it may be that X comes back in one slot before its leave in another one is seen.
 * The map of owners is brought up to date when the core asks who owns what, at a time when the host
 * moves nothing (PAUSE): all lent slots are looked at, and then as many buffers that are
 * somebody's in the map are not here as others are here that are nobody's, and each of
 * those gets the owner of one of these. So what has an owner is here, whoever shows it or does not;
 * and only what is here can become free.
 *
 * An application that puts one buffer into two slots can spoil the account. What is not here then
 * loses its owner all the same: it is not used any more, until the memory function comes again.
 */
#include "ptnet.h"
#include "world.h"

#include <linux/mm.h>
#include <linux/slab.h>

/* lent[]: 0 is a slot that is here. */
#define LENT_NOTHING 1 /* no buffer that exists */

/* ---- slots come and go -------------------------------------------------------------------- */

static uint32_t shown(const struct ptnet_mem *mem, const struct netmap_slot *slot)
{
	uint32_t index = nm_slot_load(slot).buf_idx;

	return nm_region_buf_valid(mem->region, index) ? index : LENT_NOTHING;
}

/* A slot that is lent. */
static void look_again(struct ptnet_mem *mem, const struct netmap_slot *slot, uint32_t *lent)
{
	uint32_t index = shown(mem, slot);

	if (likely(index == *lent))
		return;
	if (*lent != LENT_NOTHING)
		atomic_dec(&mem->here[*lent]);
	if (index != LENT_NOTHING)
		atomic_inc(&mem->here[index]);
	*lent = index;
	if (!READ_ONCE(mem->traded))
		WRITE_ONCE(mem->traded, true);
}

void ptnet_lend_slots(struct ptnet_queue *q, uint32_t from, uint32_t count)
{
	spin_lock(&q->lent_lock);
	for (; count > 0; count--) {
		q->lent[from] = shown(q->ptn->mem, &q->slots[from]);
		from = nm_ring_advance(from, 1, q->num_slots);
	}
	spin_unlock(&q->lent_lock);
}

void ptnet_take_slots(struct ptnet_queue *q, uint32_t from, uint32_t count)
{
	spin_lock(&q->lent_lock);
	for (; count > 0; count--) {
		if (likely(q->lent[from])) {
			look_again(q->ptn->mem, &q->slots[from], &q->lent[from]);
			q->lent[from] = 0;
		}
		from = nm_ring_advance(from, 1, q->num_slots);
	}
	spin_unlock(&q->lent_lock);
}

/* ---- the account -------------------------------------------------------------------------- */

static void look_at_queue(struct ptnet_queue *q)
{
	spin_lock(&q->lent_lock);
	for (uint32_t i = 0; i < q->num_slots; i++)
		if (q->lent[i])
			look_again(q->ptn->mem, &q->slots[i], &q->lent[i]);
	spin_unlock(&q->lent_lock);
}

/* All that the host has. Without a network function nobody else looks. */
static void look_at_wire(struct ptnet_mem *mem, struct ptnet_wire *wire)
{
	if (wire->ptn) {
		for (uint32_t i = 0; i < ptnet_num_queues(wire->ptn); i++)
			look_at_queue(&wire->ptn->queues[i]);
		return;
	}
	for (uint32_t i = 0; i < wire->num_slots; i++)
		if (wire->lent[i])
			look_again(mem, wire->slot[i], &wire->lent[i]);
}

/* The next buffer from *at on that is somebody's and not here (gone), or here and nobody's; 0: none. */
static uint32_t next_of(const struct ptnet_mem *mem, bool gone, uint32_t *at)
{
	const struct nm_region *region = mem->region;
	const uint32_t *map = region->owner[NM_POOL_BUF];

	for (; *at < region->pool[NM_POOL_BUF].count; (*at)++) {
		bool here = atomic_read(&mem->here[*at]) > 0;

		if (here == gone || (map[*at] == NM_OWNER_FOREIGN) == gone ||
			map[*at] == NM_OWNER_NONE)
			continue;
		return (*at)++;
	}
	return 0;
}

/* Gone, and nothing has come for them. */
static void give_up(struct ptnet_mem *mem, uint32_t index, uint32_t *at)
{
	uint32_t count = 0;

	for (; index; index = next_of(mem, true, at), count++)
		mem->region->owner[NM_POOL_BUF][index] = NM_OWNER_FOREIGN;
	if (count > 0 && !mem->gave_up)
		os_log(OS_LOG_INFO,
			"memory region %u: an application has put a buffer into two slots; %u buffers can't be used any more",
			mem->id, count);
	mem->gave_up = mem->gave_up || count > 0;
}

void ptnet_settle_with_host(struct ptnet_mem *mem)
{
	uint32_t *map = mem->region->owner[NM_POOL_BUF], gone_at = NM_BUFS_RESERVED,
		 come_at = NM_BUFS_RESERVED, gone, come;
	struct ptnet_wire *wire;

	if (!mem->here)
		return;
	list_for_each_entry (wire, &mem->wires, link)
		look_at_wire(mem, wire);
	if (!READ_ONCE(mem->traded))
		return;
	WRITE_ONCE(mem->traded, false);
	while ((gone = next_of(mem, true, &gone_at)) && (come = next_of(mem, false, &come_at))) {
		map[come] = map[gone];
		map[gone] = NM_OWNER_FOREIGN;
	}
	if (mem->num_guest_bufs > 0) /* else nothing can be allocated; and the host may not pause */
		give_up(mem, gone, &gone_at);
}

/* ---- the host pauses ------------------------------------------------------------------------ */

static void pause_all(struct ptnet_mem *mem, bool on)
{
	struct ptnet_wire *wire;

	list_for_each_entry (wire, &mem->wires, link)
		if (wire->ptn)
			ptnet_service_pause(wire->ptn, on);
}

void ptnet_hold(struct ptnet_mem *mem)
{
	if (mem->holds++ > 0 || !mem->here)
		return;
	mem->paused = true;
	pause_all(mem, true);
	ptnet_settle_with_host(mem);
}

void ptnet_unhold(struct ptnet_mem *mem)
{
	if (--mem->holds > 0 || !mem->paused)
		return;
	mem->paused = false;
	pause_all(mem, false);
}

/* ---- which buffers there are ---------------------------------------------------------------- */

/* In the beginning: what is set aside for the guest. */
int ptnet_abroad_init(struct ptnet_mem *mem, bool alone)
{
	const struct nm_region *region = mem->region;
	uint32_t count = region->pool[NM_POOL_BUF].count;

	if (alone)
		return 0;
	mem->here = kvcalloc(count, sizeof(*mem->here), GFP_KERNEL);
	if (!mem->here)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		if (region->owner[NM_POOL_BUF][i] != NM_OWNER_FOREIGN)
			atomic_set(&mem->here[i], 1);
	return 0;
}

void ptnet_abroad_end(struct ptnet_mem *mem)
{
	kvfree(mem->here);
	mem->here = NULL;
}

/* And what the host has put into the slots. All of them are lent until somebody uses the rings. */
int ptnet_wire_lend(struct ptnet_mem *mem, struct ptnet_wire *wire)
{
	if (!mem->here)
		return 0;
	if (!wire->lent)
		wire->lent = kvcalloc(wire->num_slots, sizeof(*wire->lent), GFP_KERNEL);
	if (!wire->lent)
		return -ENOMEM;
	for (uint32_t i = 0; i < wire->num_slots; i++)
		wire->lent[i] = shown(mem, wire->slot[i]);
	return 0;
}
