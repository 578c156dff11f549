/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * deferral.h - interrupts of queues that a netmap port polls busily are put off: its looks at the queue take their place.
 *
 * A busy poll of a socket polls the device once, and switches its interrupt on again afterwards, which is then due for the next packet: it
 * interrupts the one that polls anyway. With the settings here the interrupt stays off as long as somebody polls, and for some tenths of a
 * millisecond beyond. They are those of the queues' NAPI instances (netdev.h), so that nothing changes for others; a kernel before 6.13,
 * and a driver whose instances nobody knows, go on with interrupts.
 *
 * How it was is noted in the claim (claim.h) before it is changed, by queue, for a device that is reset gets other instances. What
 * somebody else has set meanwhile is left to him. Of an interface that is down at the end they are out of reach: the note stays, for the
 * next one who claims it.
 *
 * Interrupts are needed where a socket's busy poll reaches nothing: with drivers that don't register the instance with their queue, or
 * whose devices have got another one since, and always in generic mode. Zero copy tells; in native mode it would take a packet, and is
 * believed.
 *
 * irq-suspend-timeout is left alone: it is for those who poll by epoll, which netmapd doesn't.
 *
 * Thread safety: one thread.
 */
#ifndef NIC_DEFERRAL_H
#define NIC_DEFERRAL_H

#include "claim.h"
#include "sockets.h"

/* In front of such a note. */
#define DEFERRAL_NOTE "napi"

/*
 * Interrupts of these queues, which have bound sockets in this mode, are put off; what the administrator has chosen for them stays. Again
 * whenever the interface has changed: some drivers forget it, and with some the sockets poll an instance that is gone. Returns of how many
 * queues they are. *refused: this process may not, which was logged; then nothing is tried again.
 */
uint32_t deferral_on(struct claim *c, const struct nic_facts *f, const struct sockets *s,
	uint32_t mode, bool *refused);

/* Could they be put off, of the first of these queues? Its socket is bound, and polls busily. */
bool deferral_is_known(const struct nic_facts *f, const struct sockets *s, uint32_t mode);

/* Is it one of these notes, whole? */
bool deferral_is_note(const char *note);

/* A queue is as it was. False: not yet, for the interface is down. */
bool deferral_put_back(uint32_t ifindex, const char *ifname, const char *note);

#endif
