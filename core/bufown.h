/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bufown.h - who owns which buffer. Only bufown.c sees the map of owners and the free lists.
 *
 * The invariant
 * -------------
 * A buffer of a region is free, or has one owner: a number in a private map. Owners are
 *
 *      a port          of as many buffers as its rings have slots         nm_port.owner
 *      a client        of its extra buffers, in a list                    nm_client.owner
 *      a fixed owner   of the part that is set aside for a guest          NM_OWNER_FIXED | number
 *                      of what a device may write to (nm_port_ops.held)   nm_port.held_owner
 *
 *   1. How many buffers an owner has changes by alloc, free and claim alone.
 *   2. What a slot of a port in use references is not free.
 *   3. After a reconcile a port owns what its slots reference.
 *
 * Buffers wander: an application that forwards without copying exchanges the indices of two slots,
 * or of a slot and its list, and tells nobody; a pipe and a zero-copy monitor exchange those of two
 * rings for each packet. So between two reconciles the map says who was given a buffer, not who
 * references it. That does no harm as long as nothing is freed. Before an owner ends, the region is
 * *reconciled*: for each buffer that an owner references and another one has, that one gets a buffer
 * which the first owns and does not reference. Rule 1 holds, and the map tells the truth again.
 *
 *                        A's slots  B's slots   map                      free
 *      start                2 3        4 5      2:A 3:A 4:B 5:B          6 7
 *      an exchange          2 5        4 3      2:A 3:A 4:B 5:B          6 7
 *      reconcile A          2 5        4 3      2:A 3:B 4:B 5:A          6 7     B gets 3 for 5
 *      A ends                          4 3          3:B 4:B              2 5 6 7
 *
 * By the map as it was, 2 and 3 would have become free, with 3 in a slot of B.
 *
 * An application may die between the two halves of an exchange: one buffer is in two slots, one in
 * none. The later of two references counts. So the order is: lists; the port that ends, is repaired
 * or put back to its first state, and its peer; the other ports. Who stays keeps what it references.
 *
 *                        A's slots  B's slots   map
 *      half of it           2 5        4 5      2:A 3:A 4:B 5:B          3 is nowhere
 *      reconcile A          2 5        4 5      2:A 3:B 4:B 5:A
 *      reconcile B          2 5        4 5      2:A 3:A 4:B 5:B          A ends: 2 and 3 are free
 *
 * So nothing is lost (each owner frees as many as it was given) and nothing is given twice (it frees
 * nothing that another one references). A pipe is paused while its slots are read, else a buffer could
 * be on its way from one that is read later to one that was read before. It moves none to or from
 * others, so the others go on; all stop only in a region with zero-copy monitors. Applications go on
 * in any case: what one exchanges just then is reconciled the next time.
 *
 * What is usual costs as much as there are slots, whatever the region has. They are looked at first, and when an owner has all that
 * they show that was all: nothing is collected. The two ends of a pipe have buffers of each other: those are collected. The slots of
 * a port that ends name all that it owns. Only when that is not so are the map, and free lists, gone through: once, for all
 * owners of the region together.
 *
 * A region that goes with the port that is leaving (nm_region.ending) has nothing that could be given to others: its map
 * is left as it is, so the end of a large port costs nothing.
 *
 * What an application has in its hand
 * -----------------------------------
 * A client with extra buffers may have some that no slot references: they are on its list, or in
 * variables of its own. As ports own what their slots reference, what is left is the clients', one
 * for one, wherever it is. But there can be doubt between two:
 *
 *      a list with the head as it was given says nothing, one with another head is believed: whoever
 *          lists a buffer that another client has in its hand takes it when he leaves
 *      when one application died in the middle of an exchange, and another one has buffers in its
 *          hand, the buffer that is nowhere can be taken for one of these
 *
 * Who shares a region with clients that have extra buffers puts them back into slots, or writes the
 * list anew, before others leave.
 *
 * Who trusts whom
 * ---------------
 * Slots and lists are hostile memory: any index is safe. One that is out of range, free or of a
 * fixed owner is not believed. But who references a buffer of another owner takes it, for one of his
 * own: those who share a region trust each other with packets. What they can't do is to get more
 * buffers than they were given, or one that is free.
 *
 * Guests
 * ------
 * A guest's kernel has this module, too, for a *foreign* region: the host's, of which a part is set
 * aside.
 *
 *      host                                     guest
 *        alloc_run(part, fixed owner)             adopt(part): free; all else NM_OWNER_FOREIGN
 *                                                 claim(buffers that the host has put into slots)
 *
 * Fixed owners take no part in a reconcile, and the host exchanges no buffers of a port whose guest
 * has a part (nm_port.guest_part). So the buffers of the part, and those of the port, stay in the
 * guest, which alone reconciles them; and the host's map needs to be true only when the guest is
 * gone: then it frees the part, and the port's own. A guest that goes in good order puts the host's
 * buffers back into the slots (nm_bufown_restore); after one that does not, the port is reset.
 * Where a guest has no part it has no map, and needs none: what its slots reference is what it has.
 *
 * Devices
 * -------
 * A NIC that receives into buffers of the region has some in its hands, which no slot references, and exchanges them with
 * slots: the kind knows which (nm_port_ops.held). Their owner is fixed, so that nobody who puts such a buffer into a slot
 * or list gets it. But it is reconciled, first of all: what a device may write to is a fact. Meanwhile all ports of
 * the region rest.
 *
 * When the port ends, the device may go on for a while with these, and with those that it sends, which are the port's: they
 * become the device's as well (nm_bufown_keep_sent), and stay that until the kind frees them. Then a region has
 * buffers without a port.
 *
 * Repair
 * ------
 * When a ring changes hands each of its slots gets a buffer of its own: one that is owned by the
 * port, and that no other slot of it references. There is one, since a port owns as many buffers as
 * it has slots.
 *
 * Thread safety: core->lock is held (also where no annotation says so: the analysis does not follow
 * pointers to functions). Slots can be written by applications at any time.
 */
#ifndef CORE_BUFOWN_H
#define CORE_BUFOWN_H

#include "os.h"
#include "region.h"

struct nm_client;
struct nm_port;

enum { NM_OWNER_NONE = 0 }; /* free */

#define NM_OWNER_FIXED   0x80000000u /* bit of owner numbers whose objects stay what they are */
#define NM_OWNER_FOREIGN 0xffffffffu /* objects of a foreign region that are not set aside */

/* ---- bufown.c: the map ------------------------------------------------------------------------ */

/* The map of a region whose geometry is set; all objects are free. -ENOMEM. It costs the same for a large region. */
int nm_bufown_init(struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK);

/* The map of a foreign region: free is what is set aside for this side, counts 0: nothing of a pool.
 * -EINVAL: a run that its pool doesn't have; -ENOMEM. With nothing at all there is no map. */
int nm_bufown_adopt(struct nm_region *region, const struct nm_run part[NM_POOLS])
	OS_REQUIRES(NM_CORE_LOCK);

void nm_bufown_end(struct nm_region *region);

/* Is it known which buffer is whose? Not in a foreign region of which no buffers are set aside. */
bool nm_bufown_tracks(const struct nm_region *region);

uint32_t nm_bufown_num_free(const struct nm_region *region, enum nm_pool pool)
	OS_REQUIRES(NM_CORE_LOCK);

/* NM_OWNER_NONE for what is free, reserved, or does not exist. */
uint32_t nm_bufown_owner(const struct nm_region *region, enum nm_pool pool, uint32_t index)
	OS_REQUIRES(NM_CORE_LOCK);

/* One object for an owner (not NM_OWNER_NONE): 0 and its index, or -ENOMEM. Not cleared. */
int nm_bufown_alloc(struct nm_region *region, enum nm_pool pool, uint32_t owner, uint32_t *index)
	OS_REQUIRES(NM_CORE_LOCK);

/*
 * Sets `count` of the free buffers aside: nm_bufown_num_free() has them no more, and each is had by one call of
 * nm_bufown_alloc_promised(), which can't fail, or given back. -ENOMEM: there are not so many.
 */
int nm_bufown_promise(struct nm_region *region, uint32_t count) OS_REQUIRES(NM_CORE_LOCK);
void nm_bufown_unpromise(struct nm_region *region, uint32_t count) OS_REQUIRES(NM_CORE_LOCK);
uint32_t nm_bufown_alloc_promised(struct nm_region *region, uint32_t owner)
	OS_REQUIRES(NM_CORE_LOCK);

/* As many objects in a row, for an owner: *first, or -ENOMEM and none. */
int nm_bufown_alloc_run(struct nm_region *region, enum nm_pool pool, uint32_t owner, uint32_t count,
	uint32_t *first) OS_REQUIRES(NM_CORE_LOCK);

/* Frees one object if `owner` owns it; else -EINVAL and nothing happens. */
int nm_bufown_free(struct nm_region *region, enum nm_pool pool, uint32_t owner, uint32_t index)
	OS_REQUIRES(NM_CORE_LOCK);

/* Frees all that `owner` owns. Returns the number of objects. */
uint32_t nm_bufown_free_owner(struct nm_region *region, uint32_t owner) OS_REQUIRES(NM_CORE_LOCK);

/* A buffer in a slot that came with a foreign region becomes the owner's, if it is the other side's or
 * free (a driver before this one has left it there). Else, and for any other index, nothing happens; nor where all that is free
 * is promised: such a slot wants repair. */
void nm_bufown_claim(struct nm_region *region, uint32_t owner, uint32_t index)
	OS_REQUIRES(NM_CORE_LOCK);

/* A buffer of one owner becomes another's; any other index: nothing happens. */
void nm_bufown_give(struct nm_region *region, uint32_t from, uint32_t to, uint32_t index)
	OS_REQUIRES(NM_CORE_LOCK);

/* The next buffer of the owner from *at on, or 0: there is none. *at: NM_BUFS_RESERVED at first. */
uint32_t nm_bufown_next(const struct nm_region *region, uint32_t owner, uint32_t *at)
	OS_REQUIRES(NM_CORE_LOCK);

/* Does `owner` have each buffer that these slots show? Slots that show none don't count; without a map nobody has any. */
bool nm_bufown_has_slots(const struct nm_region *region, uint32_t owner,
	const struct netmap_slot *slots, uint32_t num_slots) OS_REQUIRES(NM_CORE_LOCK);

/*
 * Reconciles the map with the `count` indices (any value) that `owner` references: each that belongs to
 * another owner, who is not fixed, is exchanged for one of `owner`'s that is not among them.
 * Without memory for that nothing happens: what was exchanged stays so in the map.
 *
 * The first one that has something to exchange goes through all of the map. In a pass the others have that as well, and cost as
 * much as they reference. Each owner is reconciled once in it, and nothing is given out or freed meanwhile.
 */
void nm_bufown_reconcile(struct nm_region *region, uint32_t owner, const uint32_t *refs,
	uint32_t count) OS_REQUIRES(NM_CORE_LOCK);

void nm_bufown_begin_pass(struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK);
void nm_bufown_end_pass(struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK);

/* The same for two owners who have exchanged buffers with each other, as far as one for one is possible. */
void nm_bufown_exchange(struct nm_region *region, const uint32_t owner[2],
	const uint32_t *const refs[2], const uint32_t count[2]) OS_REQUIRES(NM_CORE_LOCK);

/*
 * Slots get buffers of their own. In this order, each for all its rings:
 *
 *      begin -> used (rings that stay as they are) -> mark -> fill -> end
 */
struct nm_bufown_repair {
	const struct nm_region *region;
	uint32_t owner;
	uint32_t bad;    /* slots with no buffer, or one that a slot before it has */
	uint32_t others; /* slots with a buffer of somebody else, as in the middle of an exchange */
	uint32_t replaced; /* buffers put into slots */
	uint32_t at;
	uint64_t *seen; /* a bit per buffer: referenced */
};

/* False: no memory, or no map; then there is nothing to end. */
bool nm_bufown_repair_begin(
	struct nm_bufown_repair *r, const struct nm_region *region, uint32_t owner);
void nm_bufown_repair_used(
	struct nm_bufown_repair *r, const struct netmap_slot *slots, uint32_t num_slots);
/* Slots that need another buffer show number 0 from here on. */
void nm_bufown_repair_mark(struct nm_bufown_repair *r, struct netmap_slot *slots,
	uint32_t num_slots) OS_REQUIRES(NM_CORE_LOCK);
/* Also mends lengths and offsets (bits of slot.ptr in offset_mask) that reach beyond the buffer.
 * `initial`: slot.ptr of what was mended. */
void nm_bufown_repair_fill(struct nm_bufown_repair *r, struct netmap_slot *slots,
	uint32_t num_slots, uint64_t offset_mask, uint64_t initial) OS_REQUIRES(NM_CORE_LOCK);
void nm_bufown_repair_end(struct nm_bufown_repair *r);

/* In the place of fill, for a foreign region that this side leaves (any owner): slots with buffers of
 * its part get buffers of the other side's, which these had been exchanged for. */
void nm_bufown_restore(struct nm_bufown_repair *r, struct netmap_slot *slots, uint32_t num_slots)
	OS_REQUIRES(NM_CORE_LOCK);

/* ---- bufown_ports.c: what the ports of a region reference ---------------------------------------- */

/* All lists and ports of a region, in the order above; `first` (may be NULL) with its peer before the
 * other ports. */
void nm_bufown_reconcile_region(struct nm_region *region, struct nm_port *first)
	OS_REQUIRES(NM_CORE_LOCK);

/* Frees all that a port owns, its rings' objects included, behind a reconcile. */
void nm_bufown_free_port(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* What the port's device sends becomes the device's (port->held_owner), behind a reconcile. */
void nm_bufown_keep_sent(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* The list of a client that leaves: what it has put there is freed with it. */
void nm_bufown_reconcile_list(const struct nm_client *leaving) OS_REQUIRES(NM_CORE_LOCK);

/* Repairs rings that the core gave the port: those of a client that is not in a sync, or, NULL, those
 * that have no user. Reconciles the region before. empty: they get their first state, and buffers that
 * no other ring of the port references. Nothing happens in a region that is about to go: nobody will have the rings. */
void nm_bufown_repair_port(struct nm_port *port, const struct nm_client *client, bool empty)
	OS_REQUIRES(NM_CORE_LOCK);

#endif
