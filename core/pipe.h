/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pipe.h - pipes: two ports joined back to back.
 *
 *      BASE{id  (master)                          BASE}id  (slave)
 *        tx ring i  ---------------------------->   rx ring i
 *        rx ring i  <----------------------------   tx ring i
 *
 * Both ends are ports that are made together, by the client that opens one of them first, and share
 * one region. A packet moves by exchanging the buffers of two slots; nothing is copied. Its tx slot is
 * free when the receiver has given back the slot that it lies in: so a sender can tell by its tail
 * what has not been taken yet, and a full ring is full until the receiver, open or not, goes on. Nothing is
 * lost. What is dropped makes no sense (bad buffer, length or offset, NS_INDIRECT, more than
 * NETMAP_MAX_FRAGS slots) and is counted at the tx ring:
 *
 *      packets of the tx ring == packets of the rx ring + drops of the tx ring
 *
 * Both rings of a lane have the same number of slots, and the sender has no more of its own than are free in
 * the receiver's: so there is room for all that is sent, at once.
 * Only whole packets move. When the last user of a tx ring leaves, half a packet is dropped and
 * counted.
 *
 * The parent BASE is pinned by the pipe: a registered port, one that the platform knows, a switch
 * port that is made now, or, where there is no such thing, a placeholder that has no rings.
 * Header length and offsets are the same at both ends.
 *
 *      one lane = tx ring T and rx ring R, under R's produce.lock
 *
 *        txsync(T): new head?  lock, move, unlock; signal R. What is free: as far as R's hwcur
 *        rxsync(R): hwcur := head; signal T
 *
 *      R:  |<- free ->|<- moved, not given back: k slots ->|<- free ->|
 *                     hwcur                             hwtail
 *      T:  |<- free ->|<- k slots ------------------------>|<- of a packet whose end is to come ->|
 *                     tail + 1                          hwcur                                  head
 *
 *      Slots of dropped packets are free at once: then T's hwcur is ahead of R's hwtail by more (`lead`).
 *
 * Thread safety: nm_pipe_get_locked: core->lock. The syncs: one thread per ring; the two
 * threads of a lane meet in T's tail and R's tail alone; the lock keeps pause and reset away from T.
 */
#ifndef CORE_PIPE_H
#define CORE_PIPE_H

#include "names.h"
#include "os.h"
#include "client.h"

/*
 * The end `name` = name->base with its pipe part, in a namespace; made with its peer when it doesn't exist:
 * one pair of rings with as many slots as the parent's, or what bind asks for (tx rings of this end
 * are rx rings of the other). NULL with err. The ports are ephemeral, and known by their parent and id:
 * whatever the parent is called, and whatever else is called so.
 */
struct nm_port *nm_pipe_get_locked(struct nm_core *core, void *ns, const struct nm_name *name,
	const struct nm_bind *bind, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

/* The end that a text names; NULL: there is none. */
struct nm_port *nm_pipe_find_locked(struct nm_core *core, void *ns, const char *text)
	OS_REQUIRES(NM_CORE_LOCK);

/* The texts that name its pipes follow. */
void nm_pipe_parent_renamed_locked(const struct nm_port *parent) OS_REQUIRES(NM_CORE_LOCK);

#endif
