/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_coalesce.h - interrupts of rx rings come together: ethtool -C.
 *
 * A poll that finds the ring empty asks the host for an interrupt when the next packet comes. At some rates that is
 * one interrupt for each packet. With rx-usecs the next poll after some packets comes by a timer
 * instead; the host interrupts again once such a poll has found nothing. So a packet is late by that time at most, and
 * one that comes after a silence isn't.
 *
 *      adaptive-rx on (the default): 0 below 50,000 packets a second, measured by ring over a millisecond, so that
 *      requests and answers don't wait; 32 us above, 64 us above 200,000
 *
 * A poll takes what is there: rx-frames would mean nothing. On the way out an interrupt is asked for only while a queue
 * is stopped.
 *
 * Thread safety: the poll of the ring. _enable, _disable: ptnet.lock.
 */
#ifndef LINUX_PTNET_COALESCE_H
#define LINUX_PTNET_COALESCE_H

#include "ptnet.h"

enum { PTNET_RX_USECS_MAX = 10000 };

/* Once, any ring. */
void ptnet_pause_init(struct ptnet_queue *q);
/* No poll is under way afterwards, and no timer. Any ring. */
void ptnet_pause_disable(struct ptnet_queue *q);

/* The poll has emptied the ring, and found so many packets. True: a timer will schedule the next one, when this is
 * completed by the caller at once; the host must not interrupt meanwhile. */
bool ptnet_pause_wanted(struct ptnet_queue *q, int packets);
void ptnet_pause_begin(struct ptnet_queue *q);

#endif
