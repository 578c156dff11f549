/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pipe.h - pipes: two ports joined back to back.
 *
 *      BASE{id  (master)                          BASE}id  (slave)
 *        tx ring i  ---------------------------->   rx ring i
 *        rx ring i  <----------------------------   tx ring i
 *
 * Both ends are ports that are made together, by the client that opens one of them first, and share
 * one region. A packet moves by exchanging the buffers of two slots; nothing is copied. A
 * packet that the other end has no room for waits in the tx ring (hwcur stays): nothing is
 * lost, in either direction, whether the other end is open or not. What is dropped makes no sense
 * (bad buffer, length or offset, NS_INDIRECT, more than NETMAP_MAX_FRAGS slots) and is counted
 * at the tx ring:
 *
 *      packets of the tx ring == packets of the rx ring + drops of the tx ring
 *
 * Both rings of a lane have the same number of slots, so a whole packet always fits some time.
 * Only whole packets move. When the last user of a tx ring leaves, half a packet is dropped and
 * counted; whole ones still move as room comes up.
 *
 * The parent BASE is pinned by the pipe: a registered port, one that the platform knows, a switch
 * port that is made now, or, where there is no such thing, a placeholder that has no rings.
 * Header length and offsets are the same at both ends.
 *
 *      one lane = tx ring T and rx ring R, under R's produce.lock
 *
 *        txsync(T): new head?  lock, move what fits, unlock; signal R
 *        rxsync(R): hwcur := head; full barrier; is T blocked? lock, move, unlock, signal T
 *
 *      T sets `blocked` when a packet doesn't fit, issues a full barrier, and looks at R's
 *      hwcur once more. So either T sees the room or R sees the flag, and a packet that waits
 *      is moved by the receiver, when it makes room: the sender can be asleep.
 *
 * Thread safety: nm_pipe_get_locked: core->lock. The syncs: one thread per ring; the two
 * threads of a lane meet in its lock only when T has something new, or R has made room that T
 * waits for.
 */
#ifndef CORE_PIPE_H
#define CORE_PIPE_H

#include "names.h"
#include "os.h"
#include "client.h"

/*
 * The port `name` = name->base with its pipe part; made with its peer when it doesn't exist: one
 * pair of rings with as many slots as the parent's, or what bind asks for (tx rings of this end are
 * rx rings of the other). NULL with err. The ports are ephemeral.
 */
struct nm_port *nm_pipe_get_locked(struct nm_core *core, const struct nm_name *name,
	const struct nm_bind *bind, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

#endif
