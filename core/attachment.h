/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attachment.h - two ports joined back to back: how a device sits on a switch.
 *
 * VALE_ATTACH puts a device (a NIC, a persistent port) on a switch. The engine does
 * what an application that bridges would do: it is the client of the device's rings and of a
 * switch port "valeID:NAME", both in one region, and moves packets between them without
 * a copy, by exchanging buffer indices:
 *
 *      device rx ring i  ->  switch port's tx ring i      (received: into the switch)
 *      device tx ring i  <-  switch port's rx ring i      (sent: out of the switch)
 *
 * That region is the one that the request names; else one that is made for the attachment, so
 * that no client of another region can read its packets, unless the device has its memory already.
 *
 * With NR_REG_NIC_SW the device's host rings are attached as well, to a second switch
 * port "valeID:NAME^": the system's stack is on the switch then. Of a device whose own rings lead to the
 * stack (is_stack: a TAP) they are only taken: the stack has its port on the switch already.
 *
 * A persistent port *lends* its place on the switch: a client that binds to "valeID:NAME", or to rings of
 * NAME itself, gets the switch port's rings, and the attachment gets them back when the last such
 * client has left. Meanwhile the stack is cut off: what it sends is dropped, and counted at the device's
 * rx ring (no_receiver). Another attachment is such a client, too: on a second switch the port is a
 * device like any other, whose wire is the first one.
 *
 *      app or device of vale1:NAME  ~  vale0:NAME  ~  switch vale0        lent
 *      stack ~ NAME ~ attachment    ~  vale0:NAME  ~  switch vale0        else
 *
 * Nothing here starts a thread: the platform runs nm_attachment_step() for as long as there is
 * work, then sleeps as with a ring served by a CSB:
 *
 *      say "asleep" to the wakeups     (their functions must not miss a signal from here on)
 *      if (nm_attachment_prepare_sleep(s)) -> there is work after all
 *      wait for the wakeup of one of the rings of nm_attachment_ring()
 *
 * A packet that the other side has no room for waits in the device's ring (the device's tx ring may be full: then the
 * switch port's rx ring fills up, and the switch counts the drops). On the switch, what the system's stack sends
 * waits for receivers that are stacks, too (vale_wait.h); what comes from any other device never waits. Whole packets only: one whose end is not there
 * waits for it. A packet that can't be handed over at all (a slot that makes no sense, more slots
 * than a packet or the other ring may have) is dropped, and counted at the ring that it should have
 * been sent on: packets and drops.
 *
 * The rings are bound exclusively, and their indices are those of the private state alone: the
 * attachment doesn't look at head and cur in the shared rings, which others in the region can
 * write.
 *
 * Thread safety: nm_attachment_*_locked: core->lock; _add and _remove take it. nm_attachment_step()
 * and _prepare_sleep() for one ring pair: one thread at a time, between attachment_start and
 * attachment_stop of the platform; different pairs at a time. They take no core->lock.
 */
#ifndef CORE_ATTACHMENT_H
#define CORE_ATTACHMENT_H

#include "os.h"
#include "client.h"

struct nm_attachment {
	struct nm_attachment *next; /* core->attachments; only those that are attached */
	struct nm_core *core;
	void *ns;                       /* of its name */
	char name[NETMAP_REQ_IFNAMSIZ]; /* "valeID:NAME", of the switch port */
	struct nm_client device, sw;
	struct nm_client host, sw_host; /* bound only when the host rings are attached */
	struct nm_region *region;       /* made for this; a reference; may be NULL */
	struct nm_port *pinned; /* the persistent port, when `device` is its place on a switch */
	bool lent;              /* `sw` has no rings: others have them */
	uint32_t lent_count[NM_DIRS]; /* how many it had */
	uint32_t pairs;               /* of rings, the host rings' included */
	uint32_t device_pairs;        /* the first of them: the device's own */
	bool polling;                 /* VALE_POLLING_ENABLE is in force */
	void *sched;                  /* the platform's: thread, worker */
};

/*
 * VALE_ATTACH and VALE_DETACH; `name` is "valeID:NAME", in a namespace. Attach takes a struct nm_bind for the
 * mode (ALL_NIC, or 0 for the same, or NIC_SW) and mem_id. 0 with *port_index, the number on the
 * switch, or a negative errno with a text: -EBUSY is on a switch, or used, already, or (detach) its
 * place is lent; -ENXIO no such device, or (detach) none attached by this name; -EPERM the caller may not use the device;
 * -EOPNOTSUPP the platform can't run it. Taken off the first of two switches, it is the
 * stack's on the second one; an error then is that it couldn't stay there, or that it is on both as before. _remove is for the
 * platform, and asks for no permission.
 */
int nm_attachment_add(struct nm_core *core, void *ns, const char *name, const struct nm_bind *bind,
	uint32_t *port_index, struct nm_error *err) OS_EXCLUDES(NM_CORE_LOCK);
int nm_attachment_detach(struct nm_core *core, void *ns, const char *name, uint32_t *port_index,
	struct nm_error *err) OS_EXCLUDES(NM_CORE_LOCK);
int nm_attachment_remove(struct nm_core *core, void *ns, const char *name, uint32_t *port_index,
	struct nm_error *err) OS_EXCLUDES(NM_CORE_LOCK);
struct nm_attachment *nm_attachment_find_locked(
	struct nm_core *core, const void *ns, const char *name) OS_REQUIRES(NM_CORE_LOCK);

/* For binding. The port whose rings a client of a namespace gets that asks for rings of `port`: of a persistent
 * port on a switch of that namespace, its port there; else `port`. A port that has moved is on a switch of another
 * one, which its clients don't hold. */
struct nm_port *nm_attachment_place_locked(struct nm_port *port, const void *ns)
	OS_REQUIRES(NM_CORE_LOCK);
/* The device's port that sits on a switch as `port`; NULL: none. */
const struct nm_port *nm_attachment_device_locked(const struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK);
/* A client is about to be bound to rings of `port`; it was not, or is not any more. Nothing, unless it is a
 * place that can be lent, or that is lent and has no other clients. */
void nm_attachment_lend_locked(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);
bool nm_attachment_has_lent_locked(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);
void nm_attachment_take_back_locked(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* Moves what can be moved on one pair of rings, both ways; true if something moved. False for good
 * when one of the ports is dead (a device that was pulled): detach is what is left to do. */
bool nm_attachment_step(struct nm_attachment *att, uint32_t pair);

/*
 * True: something could be moved, and some of it has been: step again. Else whatever makes the next
 * move possible (a packet, or room for one) signals the wakeup of one of the pair's rings. It
 * syncs the rings, as a step does.
 */
bool nm_attachment_prepare_sleep(struct nm_attachment *att, uint32_t pair);

/* Packets of this pair wait on the switch, with a bound in time: whoever sleeps looks again before long, though nobody
 * wakes it. As nm_attachment_prepare_sleep(). */
bool nm_attachment_waits(const struct nm_attachment *att, uint32_t pair);

/* The rings of a pair (enum nm_attachment_which), for the platform to set its wakeup on. NULL
 * where the pair has none: a device can have more rings in one direction. */
enum nm_attachment_which {
	NM_ATTACHMENT_DEVICE_TX,
	NM_ATTACHMENT_DEVICE_RX,
	NM_ATTACHMENT_SWITCH_TX,
	NM_ATTACHMENT_SWITCH_RX,
	NM_ATTACHMENT_RINGS
};
struct nm_ring *nm_attachment_ring(const struct nm_attachment *att, uint32_t pair, uint32_t which);

#endif
