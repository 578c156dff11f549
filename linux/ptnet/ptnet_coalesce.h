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

/* Each poll, also one that has used all its budget: it has found so many packets. */
void ptnet_pause_count(struct ptnet_queue *q, uint32_t packets);
/* The poll has emptied the ring. True: there were packets since this was last asked, and a timer schedules the next
 * poll; the caller completes this one, whatever napi_complete_done() says, and asks for no interrupt. */
bool ptnet_pause_begins(struct ptnet_queue *q);

#endif
